"""The network that made a result: named by the user or lying beside it, and whether it fits."""

from __future__ import annotations

import os
from collections.abc import Mapping
from os import PathLike
from typing import Any

from evsim.files import load_network, network_digest
from evsim.files.kinds import identify
from evsim.network import Network
from evsim.result import Result
from evsim.words import plain


def network_of(
    result: str | PathLike[str], notes: Mapping[str, Any], given: str | PathLike[str] | None
) -> Network | None:
    """Return the network that a result file was made with.

    Parameters
    ----------
    result : path
        Of the result file.
    notes : mapping
        Its attributes: ``network_digest`` says which network it was, ``network_file`` how its
        file was called.
    given : path or None
        The network's file, if the user names it. If not, a file of that name in the folder of
        the result is taken, if it is the one.

    Returns
    -------
    Network or None
        None if none was named and none lies there.

    Raises
    ------
    ValueError
        If the file named is another network.
    FileError
        If it is none, or not sound.
    """
    digest = notes.get("network_digest")
    if given is not None:
        net = load_network(given)
        if digest is not None and network_digest(given) != digest:
            raise ValueError(
                f"{os.fspath(given)}: is not the network that made {os.fspath(result)} (the "
                "digests differ); name that one, or simulate again"
            )
        return net
    name = os.path.basename(str(notes.get("network_file", "")))
    beside = os.path.join(os.path.dirname(os.fspath(result)), name)
    if not name or plain(name) != name or not os.path.isfile(beside):
        return None
    if network_digest(beside) != digest or identify(beside)[0] != "network":
        return None
    return load_network(beside)


def check_fits(net: Network, result: Result) -> None:
    """Refuse a network that does not have the populations of a result.

    Raises
    ------
    ValueError
        If one is missing, or has another number of units.
    """
    sizes = {name: spikes.size for name, spikes in result.spikes.items()}
    sizes |= {name: values.shape[2] for name, values in result.voltage.items()}
    for name, size in sizes.items():
        held = net.populations[name].size if name in net.populations else 0
        if held != size:
            raise ValueError(
                f"the network is not the one of the result: population {plain(name)!r} has "
                f"{held} units there, {size} in the result"
            )
