"""What kind of file it is, and what it tells of itself."""

from __future__ import annotations

from os import PathLike
from typing import Any

from evsim.budget import CLASS
from evsim.files.hdf5 import FileError, InputFile, as_texts

_KNOWN = {"format", "version", "input", "output", "size", "duration"}


def identify(path: str | PathLike[str]) -> tuple[str, dict[str, Any]]:
    """Return what kind of file it is, and the attributes that are not evsim's own.

    Returns
    -------
    kind : {"spike", "network", "result", "nir"}
    notes : dict
        Attributes of the root group, by name.

    Raises
    ------
    FileError
        If it can't be read.
    """
    with InputFile(path) as file:
        root = file.root
        found = root.attribute("format")
        other = "nir" if "node" in root and "spikes" not in root else "spike"
        kind = {"evsim-network": "network", "evsim-result": "result"}.get(str(found), other)
        notes = {name: root.attribute(name) for name in root.attributes() if name not in _KNOWN}
    return kind, notes


def class_names(path: str | PathLike[str]) -> list[str] | None:
    """Return the names of the classes from ``/extra/keys``, as SHD files have them, or None."""
    with InputFile(path) as file:
        if not file.root.is_folder("extra"):
            return None
        extra = file.root.folder("extra")
        if "keys" not in extra or extra.dataset("keys").dtype.kind != "S":
            return None
        extra.lend("keys", extra.dataset("keys").size, CLASS, "classes")
        return as_texts(extra, "keys")


def refuse_population(path: str | PathLike[str], population: str | None, why: str) -> None:
    """Refuse a population that is asked for where there are none to choose from."""
    if population is not None:
        raise FileError(f"{path}: {why}; only SONATA files have a population to choose")
