"""A column of variable-length arrays, read entry by entry and never on trust.

A data set of variable-length arrays stores one descriptor per entry (length, address of a
heap collection, index in it). They are read raw and the arrays are fetched from the heap
here, not by the HDF5 library: so every length is known beforehand, a batch needs the
memory of its own entries only, and a damaged descriptor is an error about one entry.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from evsim.budget import RECORDING
from evsim.files.hdf5 import FileError, Folder, InputFile, described, library_errors
from evsim.files.heaps import HEADER, DamagedHeap, heap_objects

DESCRIPTOR = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])
_GZIP, _SHUFFLE = 1, 2


class RaggedColumn:
    """The entries of a data set of variable-length number arrays or strings.

    Attributes
    ----------
    where : str
        File and data set, for messages.
    shape : tuple of int
        [entry], or nothing for a single one.
    dtype : numpy data type
        Of the arrays, as stored; single bytes for strings.
    lengths : int64 array [entry]
        Known without reading any entry.

    Raises
    ------
    FileError
        If the data set is of another type or shape, or claims more than the file holds.
    """

    def __init__(self, folder: Folder, name: str) -> None:
        self.where = folder.where(name)
        self._file = folder.file
        dataset = folder.dataset(name)
        with library_errors(self.where):
            self.shape: tuple[int, ...] = dataset.shape
            self.dtype = self._entry_type(dataset)
            if len(self.shape) > 1:
                raise self._error(f"has shape {list(self.shape)}, must be [recording]")
            folder.lend(name, math.prod(self.shape), RECORDING, "entries")
            descriptors = np.frombuffer(_raw_entries(dataset, self._file), DESCRIPTOR)
        self.lengths = descriptors["length"].astype(np.int64)
        self._address = descriptors["address"]
        self._index = descriptors["index"]
        self._collections: dict[int, npt.NDArray[np.int64]] = {}
        self._n_objects = 0
        self._check()

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self.lengths)

    def read(self, entry: int) -> npt.NDArray[Any]:
        """Return one array, as stored."""
        length = int(self.lengths[entry])
        if length == 0:
            return np.empty(0, self.dtype)
        address = int(self._address[entry]) + self._file.base
        index, starts, sizes = self._collection(entry, address)
        at = int(np.searchsorted(index, self._index[entry]))
        found = at < len(index) and index[at] == self._index[entry]
        start, size = (int(starts[at]), int(sizes[at])) if found else (0, -1)
        if size != length * self.dtype.itemsize:
            raise self._error(f"entry {entry} is damaged: {length} values are not where it says")
        values = np.frombuffer(self._file.read(start, size), self.dtype)
        if len(values) != length:
            raise self._error(f"entry {entry} ends beyond the file")
        return values

    def _entry_type(self, dataset: h5py.Dataset) -> np.dtype[Any]:
        if self._file.h5.id.get_create_plist().get_sizes() != (8, 8):
            raise self._error("uses short addresses; rewrite the file with h5repack")
        if h5py.check_string_dtype(dataset.dtype) is not None:
            return np.dtype("S1")
        dtype = h5py.check_vlen_dtype(dataset.dtype)
        if dtype is None:
            raise self._error(
                f"holds {described(dataset.dtype)}, must hold one variable-length array per "
                "recording"
            )
        if not isinstance(dtype, np.dtype) or dtype.kind not in "fiu" or dtype.itemsize > 8:
            raise self._error(f"holds arrays of {dtype}, must hold arrays of numbers")
        # h5py names the nearest numpy type; the bytes are ours to read only if it is exact.
        if dataset.id.get_type().get_super() != h5py.h5t.py_create(dtype):
            raise self._error(f"holds an unusual variant of {dtype}; rewrite it as {dtype}")
        return dtype

    def _check(self) -> None:
        outside = (self.lengths > 0) & (self._address >= self._file.n_bytes)
        if outside.any():
            raise self._error(f"entry {int(np.argmax(outside))} lies outside the file")
        claimed = int(self.lengths.sum()) * self.dtype.itemsize
        if claimed > self._file.n_bytes:
            raise self._error(
                f"claims {claimed} bytes, but the file has {self._file.n_bytes}; the longest "
                f"is entry {int(np.argmax(self.lengths))} with {self.lengths.max()} values"
            )

    def _collection(self, entry: int, address: int) -> npt.NDArray[np.int64]:
        """Return index, start and size of the objects of a heap collection, by index.

        Each collection is walked once: entries of a crafted file may jump between two.
        """
        if address not in self._collections:
            try:
                objects = list(heap_objects(self._file.read, address))
            except DamagedHeap as error:
                raise self._error(f"entry {entry} is damaged: {error}") from error
            self._n_objects += len(objects) + 1
            if self._n_objects > self._file.n_bytes // HEADER:
                raise self._error(f"entry {entry} is damaged: its heap overlaps with others")
            last = {index: (index, start, size) for index, start, size in objects if index}
            table = np.array(sorted(last.values()), np.int64).reshape(-1, 3)
            self._collections[address] = np.ascontiguousarray(table.T)
        return self._collections[address]

    def _error(self, what: str) -> FileError:
        return FileError(f"{self.where}: {what}")


def text_bytes(folder: Folder, name: str) -> int:
    """Return how many bytes the strings of a data set take in memory.

    Many may be one in the file; where their lengths can't be read, each may be all of it.
    """
    dataset = folder.dataset(name)
    entries = math.prod(dataset.shape)
    folder.lend(name, entries, RECORDING, "entries")
    try:
        raw = _raw_entries(dataset, folder.file)
    except ValueError:
        return entries * folder.file.n_bytes
    return int(np.frombuffer(raw, DESCRIPTOR)["length"].sum(dtype=np.int64)) + RECORDING * entries


def ragged_texts(folder: Folder, name: str) -> list[str]:
    """Read texts of any length, one an entry."""
    column = RaggedColumn(folder, name)
    folder.lend(name, len(column), RECORDING, "texts")
    return [column.read(i).tobytes().decode(errors="replace") for i in range(len(column))]


def _raw_entries(dataset: h5py.Dataset, file: InputFile) -> bytes:
    """Return the descriptors of all entries, zeros where none was written."""
    n_bytes = math.prod(dataset.shape) * DESCRIPTOR.itemsize
    plist = dataset.id.get_create_plist()
    layout, stored = plist.get_layout(), dataset.id.get_storage_size()
    if layout == h5py.h5d.CHUNKED and dataset.ndim == 1:
        return _chunked_entries(dataset, file, plist)
    if layout != h5py.h5d.CONTIGUOUS:
        raise ValueError(
            "its layout is neither contiguous nor in chunks of one dimension; use h5repack"
        )
    if stored == 0:
        return bytes(n_bytes)
    # The library's offset counts from the start of the file, user block included.
    raw = file.read(dataset.id.get_offset(), n_bytes)
    if len(raw) < n_bytes:
        raise ValueError("ends beyond the file")
    return raw


def _chunked_entries(dataset: h5py.Dataset, file: InputFile, plist: Any) -> bytes:
    n_entries, per_chunk = dataset.shape[0], dataset.chunks[0]
    if file.base:
        raise ValueError("is in chunks behind a user block; rewrite the file with h5repack")
    filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    entries = bytearray(n_entries * DESCRIPTOR.itemsize)
    stored: list[Any] = []
    dataset.id.chunk_iter(stored.append)
    for chunk in stored:
        first = chunk.chunk_offset[0]
        if not 0 <= first < n_entries or first % per_chunk:
            raise ValueError(f"has a chunk at entry {first}")
        # Not read_direct_chunk: it believes the size that the index of the chunks gives.
        data = file.read(chunk.byte_offset, chunk.size)
        data = _unpacked(data, filters, chunk.filter_mask, per_chunk * DESCRIPTOR.itemsize)
        start = first * DESCRIPTOR.itemsize
        n = min(len(data), len(entries) - start)
        entries[start : start + n] = data[:n]
    return bytes(entries)


def _unpacked(data: bytes, filters: list[int], mask: int, n_bytes: int) -> bytes:
    for i in reversed(range(len(filters))):
        if mask >> i & 1:
            continue  # the writer left this filter out for this chunk
        if filters[i] == _GZIP:
            data = _inflated(data, n_bytes)
        elif filters[i] == _SHUFFLE:
            data = np.frombuffer(data, np.uint8).reshape(DESCRIPTOR.itemsize, -1).T.tobytes()
        else:
            raise ValueError(f"is packed with filter {filters[i]}; use h5repack")
    if len(data) != n_bytes:
        raise ValueError(f"has a chunk of {len(data)} bytes, must be {n_bytes}")
    return data


def _inflated(data: bytes, n_bytes: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, n_bytes)
    except zlib.error as error:
        raise ValueError(f"has a damaged chunk: {error}") from error
