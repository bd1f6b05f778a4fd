"""Which recordings of a spike file are to train with, to validate and to test, if it says so."""

from __future__ import annotations

from os import PathLike

import numpy as np

from evsim.arrays import IntArray
from evsim.files.hdf5 import Folder, InputFile, as_integers, as_texts
from evsim.files.ragged import ragged_texts
from evsim.words import plain

PARTS = ("train", "validation", "test")
_ALSO = {"valid": "validation"}  # as in SSC


def stored_parts(path: str | PathLike[str], n_recordings: int) -> IntArray | None:
    """Read ``/extra/part``, or ``/part`` beside the labels.

    Parameters
    ----------
    path : path
        Of a spike file.
    n_recordings : int
        That it holds.

    Returns
    -------
    int64 array [recording] or None
        Indices into `PARTS`; None if the file does not say. Where it has
        ``/extra/part_name``, its numbers are indices into that.

    Raises
    ------
    FileError
        If there are not as many as recordings, or one is no part.
    """
    with InputFile(path) as file:
        root = file.root
        extra = root.folder("extra") if root.is_folder("extra") else None
        places = [place for place in (extra, root) if place is not None and "part" in place]
        if not places:
            return None
        parts = as_integers(places[0], "part")
        names = list(PARTS) if extra is None or "part_name" not in extra else _names(extra)
        if len(parts) != n_recordings:
            raise places[0].error("part", f"has {len(parts)} entries for {n_recordings} recordings")
        wrong = np.flatnonzero((parts < 0) | (parts >= len(names)))
        if len(wrong):
            told = ", ".join(f"{i} {name}" for i, name in enumerate(names))
            value = parts[wrong[0]]
            raise places[0].error(
                "part", f"recording {wrong[0]} has {value}, must be one of {told}"
            )
        meant = np.array([PARTS.index(name) for name in names], np.int64)
        return meant[parts]


def _names(extra: Folder) -> list[str]:
    """Return what the file calls its parts, in the names that are known here."""
    fixed = extra.dataset("part_name").dtype.kind == "S"
    names = (as_texts if fixed else ragged_texts)(extra, "part_name")
    names = [_ALSO.get(name, name) for name in names]
    for i, name in enumerate(names):
        if name not in PARTS:
            known = ", ".join(PARTS)
            raise extra.error("part_name", f"{i} is {plain(name)!r}, must be one of {known}")
    return names
