"""The files of a run folder, looked at before a training goes on: none is believed.

Each function raises a `FileError` that names the file and what is wrong in it, or returns.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from evsim import Network, Spikes
from evsim.files import FileError, SpikeFile, load_network
from evsim.files.hdf5 import open_regular, reason
from evsim.schema import Schema, checked, shown

from .logs import log_of
from .states import EpochRecord

_LONGEST = 1 << 16  # bytes of options, and of a line of the log


def read_options(path: Path, schema: type[Schema], lacking: dict[str, Any]) -> Schema:
    """Read a JSON file of options.

    Parameters
    ----------
    path : Path
        Of the file.
    schema : Struct class
        The options; each must be there, once.
    lacking : dict
        What is taken for those that older runs don't tell.

    Returns
    -------
    Struct
        The options.

    Raises
    ------
    FileError
        If the file is not sound; names the option.
    """
    text = _start_of(path, _LONGEST + 1)
    if len(text) > _LONGEST:
        raise FileError(f"{path}: is longer than {_LONGEST:,} bytes")
    try:
        values = json.loads(text.decode("utf-8"), object_pairs_hook=_once)
    except RecursionError as error:
        raise FileError(f"{path}: is not sound: it is nested too deeply") from error
    except ValueError as error:
        raise FileError(f"{path}: is not sound: {error}") from error
    try:
        known = lacking if isinstance(values, dict) else {}
        return checked(schema, {**known, **values} if known else values)
    except ValueError as error:
        raise FileError(f"{path}: {error}") from error


def check_log(path: Path, history: list[dict[str, float]]) -> None:
    """Refuse a log that does not tell this history; a next epoch may stand there already.

    A run that was killed between the log and the checkpoint does that epoch again.
    """
    if not path.exists():
        return
    wanted = log_of(history).encode()
    found = _start_of(path, len(wanted) + _LONGEST)
    next_one = found[len(wanted) :]
    if found.startswith(wanted) and _is_line(next_one, len(history) + 1):
        return
    pairs = zip(wanted.splitlines(), found.splitlines(), strict=False)
    same = next((i for i, (a, b) in enumerate(pairs) if a != b), -1)
    place = f"line {same + 1}" if same >= 0 else "its end"
    raise FileError(
        f"{path}: {place} is not what the checkpoint tells; move the file away to go on, it is "
        "written anew"
    )


def check_network(path: Path, like: Network) -> None:
    """Refuse a file that holds no network, or one of other populations or projections."""
    if _structure(load_network(path)) != _structure(like):
        raise FileError(f"{path}: is another network than that of the checkpoint")


def check_recordings(path: Path, batches: Iterable[Spikes]) -> None:
    """Refuse a spike file that does not hold these recordings."""
    with SpikeFile(path) as file:
        first = 0
        for batch in batches:
            last = first + len(batch)
            if not _same_form(file, batch, last) or not _same_spikes(
                file.read(recordings=range(first, last)), batch
            ):
                first = -1
                break
            first = last
        if first != len(file):
            raise FileError(
                f"{path}: holds other recordings than the data set has to test with; one of them "
                "was changed after the start"
            )


def _start_of(path: Path, n_bytes: int) -> bytes:
    try:
        with open_regular(path) as file:
            start: bytes = file.read(n_bytes)
            return start
    except OSError as error:
        raise FileError(f"{path}: can't be read: {reason(error)}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members of an object; refuse a name that stands twice."""
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{shown(twice)} stands there twice")
    return members


def _is_line(text: bytes, epoch: int) -> bool:
    """Whether a text is empty or the line of an epoch."""
    fields = text.split(b",")
    known = len(EpochRecord.__struct_fields__)
    whole = text.endswith(b"\n") and text.count(b"\n") == 1
    return not text or (whole and fields[0] == b"%d" % epoch and len(fields) == known)


def _structure(net: Network) -> tuple[str, dict[str, type]]:
    return repr(net), {name: type(projection) for name, projection in net.projections.items()}


def _same_form(file: SpikeFile, batch: Spikes, n: int) -> bool:
    form = (file.size, file.duration) == (batch.size, batch.duration)
    return form and len(file) >= n and file.labels is not None


def _same_spikes(a: Spikes, b: Spikes) -> bool:
    names = ("times", "units", "offsets", "labels")
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)
