"""Weights and delays of a network file that are integers, and the attributes beside them.

    weight      int8, uint8, int16, ..., with the attributes of `evsim.Levels`:
    step        float, and perhaps offset; or values, float [n]
    bits        integer

Such arrays exist from version 2 of the format on. An older reader would take the integers for
the numbers themselves; in version 1 they are refused.
"""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from evsim.arrays import FloatArray
from evsim.files.hdf5 import Folder, as_floats, described, library_errors, reason
from evsim.levels import Levels

VERSION = 2  # of network files, from which on there are such arrays
_ATTRIBUTES = ("step", "offset", "bits", "values")


def read_numbers(folder: Folder, name: str, version: int) -> FloatArray | Levels:
    """Read an array of weights or delays.

    Parameters
    ----------
    folder : Folder
        Of the projection.
    name : str
        Of the data set.
    version : int
        Of the file.

    Returns
    -------
    float64 array or Levels

    Raises
    ------
    FileError
        If attributes are unknown, missing or contradict each other, or the levels are not
        sound; names data set and attribute.
    """
    dtype = _checked_type(folder, name, version, _ATTRIBUTES)
    if version < VERSION or dtype.kind not in "iu":
        return as_floats(folder, name, range(5))
    if dtype.itemsize > 4:
        raise folder.error(name, f"holds {dtype}, must hold integers of 8, 16 or 32 bits")
    notes = folder.notes(name)
    given: dict[str, Any] = {
        "step": notes.number("step"), "offset": notes.number("offset"),
        "bits": notes.integer("bits"), "values": _values(notes),
    }  # fmt: skip
    given = {key: value for key, value in given.items() if value is not None}
    if "step" not in given and "values" not in given:
        raise folder.error(
            name,
            "holds integers, but neither attribute 'step' nor 'values' says what they stand for; "
            "give one, or write the numbers as floats",
        )
    levels = folder.numbers(name, "iu", range(5))
    try:
        return Levels(levels, **given)
    except (ValueError, MemoryError) as error:
        raise folder.error(name, reason(error)) from error


def refuse_levels(folder: Folder, name: str, version: int) -> None:
    """Refuse attributes of levels at an array that is neither weights nor delays.

    Raises
    ------
    FileError
        Names data set and attribute.
    """
    _checked_type(folder, name, version, ())


def write_levels(group: h5py.Group, name: str, levels: Levels) -> None:
    """Write levels as integers of their own type, with attributes.

    Parameters
    ----------
    group : h5py.Group
        Of the projection.
    name : str
        Of the data set.
    levels : Levels
        All bits of ``step``, ``offset`` and ``values`` are kept.
    """
    attributes = group.create_dataset(name, data=levels.levels).attrs
    if levels.values is not None:
        attributes["values"] = levels.values
    else:
        attributes["step"] = np.float64(levels.step)
        if levels.offset:
            attributes["offset"] = np.float64(levels.offset)
    attributes["bits"] = np.int64(levels.bits)


def _checked_type(
    folder: Folder, name: str, version: int, known: tuple[str, ...]
) -> np.dtype[np.generic]:
    """Return a data set's type if its attributes are what this version knows of it."""
    dataset = folder.dataset(name)
    with library_errors(folder.where(name)):
        dtype: np.dtype[Any] = dataset.dtype
    found = folder.notes(name).attributes()
    if version < VERSION:
        found = [key for key in found if key in _ATTRIBUTES and dtype.kind in "iu"]
        if found:
            raise folder.error(
                name,
                f"holds integers with attribute {found[0]!r}, which version {version} does not "
                f"know; if they are levels, set the file's attribute 'version' to {VERSION}",
            )
    for key in found:
        if key not in known:
            rule = f"known are {', '.join(known)}" if known else "none is known"
            raise folder.error(name, f"attribute {key!r} is unknown here; {rule}")
    if found and dtype.kind not in "iu":
        raise folder.error(
            name,
            f"holds {described(dtype)}, but attribute {found[0]!r} is for integers; leave it out, "
            "or write the levels as integers",
        )
    return dtype


def _values(notes: Folder) -> npt.NDArray[Any] | None:
    found = notes.attribute("values")
    if found is None:
        return None
    array = np.asarray(found)
    if array.dtype.kind not in "fiu" or array.dtype.itemsize > 8:
        raise notes.error(
            "", f"attribute 'values' holds {described(array.dtype)}, must hold floats"
        )
    return array
