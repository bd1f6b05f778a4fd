"""Groups of plain data in a file that is not trusted: copied, or checked for other readers.

HDF5 has a function for this, but it believes the file: a damaged header takes the
process down. So everything is read with the checks of `evsim.files.hdf5` and written anew.
All that is met is kept in the file's budget: hard links make much of little.
"""

from __future__ import annotations

import math
from typing import Any

import h5py
import numpy as np

from evsim.budget import NUMBER, OBJECT, RECORDING
from evsim.files.hdf5 import (
    MAX_HOPS,
    FileError,
    Folder,
    InputFile,
    described,
    library_errors,
    read_attribute,
)
from evsim.files.ragged import RaggedColumn, text_bytes


def copy_plain(source: Folder, target: h5py.Group, depth: int = 0) -> None:
    """Copy groups, data sets and attributes with numbers or text.

    Parameters
    ----------
    source : Folder
        What to copy.
    target : h5py.Group
        An empty group of a file open for writing.
    depth : int
        How deep ``source`` stands in what is copied.

    Raises
    ------
    FileError
        If something is damaged, leads out of the file, or is neither numbers nor text.
    """
    if depth > MAX_HOPS:
        raise source.error("", "groups are nested too deeply")
    _copy_attributes(source.file, source.group, target, source.where())
    for name in source.names():
        source.keep(name, 1, OBJECT, "more object")
        if source.is_folder(name):
            with library_errors(source.where(name)):
                group = target.create_group(name)
            copy_plain(source.folder(name), group, depth + 1)
        else:
            _copy_dataset(source, name, target)


def _copy_dataset(source: Folder, name: str, target: h5py.Group) -> None:
    dataset = source.dataset(name)
    where = source.where(name)
    with library_errors(where):
        text, array = h5py.check_string_dtype(dataset.dtype), h5py.check_vlen_dtype(dataset.dtype)
        if array is not None or (text is not None and text.length is None):
            copied = _copy_ragged(source, name, target, text)
        elif dataset.dtype.hasobject:
            raise FileError(f"{where}: holds {dataset.dtype}, must hold numbers or text")
        else:
            source.keep(name, math.prod(dataset.shape), 2 * dataset.dtype.itemsize, "entries")
            copied = target.create_dataset(name, data=dataset[()], dtype=dataset.dtype)
    _copy_attributes(source.file, dataset, copied, where)


def _copy_ragged(source: Folder, name: str, target: h5py.Group, text: Any) -> h5py.Dataset:
    """Copy variable-length arrays or strings, entry by entry."""
    column = RaggedColumn(source, name)
    source.keep(name, len(column), RECORDING, "entries")
    source.keep(name, int(column.lengths.sum()), 2 * column.dtype.itemsize, "values")
    values = np.empty(len(column), object)
    for i in range(len(column)):
        entry = column.read(i)
        values[i] = entry.tobytes() if text else entry
    dtype = h5py.string_dtype(text.encoding) if text else h5py.vlen_dtype(column.dtype)
    copied = target.create_dataset(name, column.shape, dtype)
    if len(values):
        place, memory = copied.id.get_space(), h5py.h5s.create_simple((len(values),))
        copied.id.write(memory, place, values, h5py.h5t.py_create(dtype))
    return copied


def _copy_attributes(file: InputFile, source: Any, target: Any, where: str) -> None:
    with library_errors(where):
        names = list(source.attrs)
    for name in names:
        value = read_attribute(file, source, name, where)
        with library_errors(f"{where}, attribute {name!r}"):
            target.attrs[name] = value


def check_tree(folder: Folder, depth: int = 0) -> None:
    """Check a group and all below it, for a reader that reads everything and is less careful.

    Refuses what is neither numbers nor text: a damaged type of variable-length data takes the
    library down.

    Raises
    ------
    FileError
        If something is damaged, leads out of the file, or is more than the file may ask for.
    """
    folder.file.check_heaps()
    if depth > MAX_HOPS:
        raise folder.error("", "groups are nested too deeply")
    for name in folder.names():
        folder.keep(name, 1, OBJECT, "more object")
        if folder.is_folder(name):
            check_tree(folder.folder(name), depth + 1)
            continue
        dataset = folder.dataset(name)
        with library_errors(folder.where(name)):
            dtype, size = dataset.dtype, math.prod(dataset.shape)
            if dtype.hasobject and h5py.check_string_dtype(dtype) is None:
                raise folder.error(name, f"holds {described(dtype)}, must hold numbers or text")
            if dtype.hasobject:
                folder.keep(name, text_bytes(folder, name), 2, "bytes of text")
            else:
                folder.keep(name, size, NUMBER + dtype.itemsize, "numbers")
