"""Networks as commands are given them: evsim's own files, and graphs in NIR."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from os import PathLike
from typing import Any

from evsim.files import FileError, load_network, network_digest
from evsim.files.kinds import identify
from evsim.network import Network
from evsim.words import plain

_SUFFIXES = {".h5": "network", ".hdf5": "network", ".nir": "nir"}
_NO_INTEGERS = (
    "NIR has no integers with a step; weights and delays are written as the numbers that the "
    "levels stand for"
)


def read_network(path: str | PathLike[str], **nir: float | None) -> Network:
    """Read a network file or a NIR graph.

    Parameters
    ----------
    path : path
        Of the file; its content says which it is.
    **nir
        ``spike_width`` and ``loop_delay`` of `evsim.interop.from_nir`.

    Returns
    -------
    Network

    Raises
    ------
    FileError
        If it is neither, or not sound; or if it is no graph and something of ``nir`` is given.
    """
    if identify(path)[0] == "nir":
        from evsim.interop import load_nir

        return load_nir(path, None, nir.get("spike_width"), loop_delay=nir.get("loop_delay"))
    refuse_nir_options(path, **nir)
    return load_network(path)


def refuse_nir_options(path: str | PathLike[str], **nir: float | None) -> None:
    """Refuse what has a meaning for graphs in NIR only.

    Raises
    ------
    FileError
        Names the file and the option.
    """
    for name, value in nir.items():
        if value is not None:
            option = name.replace("_", "-")
            raise FileError(f"{path}: is no NIR graph; --{option} is for these only")


def network_of(
    result: str | PathLike[str],
    notes: Mapping[str, Any],
    given: str | PathLike[str] | None,
    **nir: float | None,
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
    **nir
        As for `read_network`; what is None is as the result notes it.

    Returns
    -------
    Network or None
        None if none was named and none lies there.

    Raises
    ------
    ValueError
        If the file named is another network.
    FileError
        If it is none, or not sound; or if it is no graph and something of ``nir`` is given.
    """
    digest = notes.get("network_digest")
    if given is not None:
        net = _read_as_noted(given, notes, nir)
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
    if network_digest(beside) != digest or identify(beside)[0] not in ("network", "nir"):
        return None
    return _read_as_noted(beside, notes, nir)


def _read_as_noted(
    path: str | PathLike[str], notes: Mapping[str, Any], nir: Mapping[str, float | None]
) -> Network:
    """Read a network, a graph with the lengths that were given to the run."""
    if identify(path)[0] == "nir":
        nir = {k: notes.get(k) if value is None else value for k, value in nir.items()}
    return read_network(path, **nir)


def convert(
    source: str | PathLike[str], target: str | PathLike[str], overwrite: bool, **nir: float | None
) -> str:
    """Write a network file or NIR graph as the one that the name of the target says.

    Parameters
    ----------
    source, target : path
        The target, ``.nir`` or ``.h5``, is whole or absent.
    overwrite : bool
        Whether it may replace a file.
    **nir
        As for `read_network`.

    Returns
    -------
    str
        What was written, for a person.

    Raises
    ------
    ValueError
        If the target has another suffix, or the network has what NIR can't say.
    FileError, FileExistsError
        If a file is not sound, or exists.
    """
    suffix = os.path.splitext(target)[1].lower()
    if suffix not in _SUFFIXES:
        raise ValueError(f"{target}: must end in .nir (a NIR graph) or .h5 (evsim's network file)")
    net = read_network(source, **nir)
    if _SUFFIXES[suffix] == "nir":
        from evsim.interop import save_nir

        save_nir(target, net, overwrite)
        if any(projection.levels for projection in net.projections.values()):
            warnings.warn(f"{target}: {_NO_INTEGERS}", stacklevel=2)
    else:
        net.save(target, overwrite)
    return repr(net)
