"""Reading HDF5 files without believing them.

What a file says about itself (a shape, a size, an address, a link) is compared with the
bytes that are there before anything is allocated or followed. Every way in which a file
can be wrong ends as a `FileError`. What the data mean is known to `evsim.files.spike_files`,
`evsim.files.network_files` and `evsim.files.result_files`, not here.
"""

from __future__ import annotations

import math
import os
import stat
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from os import PathLike
from typing import Any

import h5py
import numpy as np

from evsim.arrays import FloatArray, IntArray
from evsim.budget import NUMBER, Budget
from evsim.errors import FileError as FileError
from evsim.files.heaps import endless_heap
from evsim.words import LINE, one_line, plain

# Filters that come with every HDF5 or h5py; any other would load a plug-in.
FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}
MAX_COMPRESSION = 1032  # what deflate can reach
UNWRITTEN = 1 << 20  # bytes that a data set may claim without any of them being stored
MAX_ATTRIBUTE = 1 << 16
MAX_HOPS = 8

LIBRARY_ERRORS = (
    OSError,
    RuntimeError,
    LookupError,
    ValueError,
    TypeError,
    ArithmeticError,
    MemoryError,
    AttributeError,
    SystemError,
)


def reason(error: BaseException) -> str:
    """Return what a library's exception has to say, without its frills."""
    if isinstance(error, MemoryError):
        return "needs more memory than there is"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = one_line(str(error.args[0] if error.args else error))
    # "Unable to synchronously open file (truncated file: eof = 96, ...)"
    head, bracket, inner = text.partition("(")
    return inner[:-1] if bracket and head.startswith(("Unable", "Can't")) else text


@contextmanager
def library_errors(where: str) -> Iterator[None]:
    """Turn whatever h5py raises in the body into a `FileError` about ``where``."""
    try:
        yield
    except FileError:
        raise
    except LIBRARY_ERRORS as error:
        raise FileError(f"{where}: can't be read: {reason(error)}") from error


def open_regular(path: str | PathLike[str], buffering: int = -1) -> Any:
    """Open a file for reading bytes; every reader opens its files here.

    Pipes, sockets and devices are refused and never waited for.

    Parameters
    ----------
    path : path
        Of the file.
    buffering : int
        As for `open`.

    Raises
    ------
    FileError
        If it is neither a regular file nor a folder.
    OSError, ValueError
        As `open` raises them.
    """
    name = os.fspath(path)
    if os.path.exists(name) and not os.path.isfile(name) and not os.path.isdir(name):
        raise FileError(f"{name}: is not a regular file")
    # What takes the file's place in between is not waited for either.
    wait = getattr(os, "O_NONBLOCK", 0)
    file = open(name, "rb", buffering, opener=lambda path, flags: os.open(path, flags | wait))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise FileError(f"{name}: is not a regular file")
    return file


class InputFile:
    """An HDF5 file open for reading.

    Attributes
    ----------
    path : str
        As given; every message starts with it.
    n_bytes : int
        Its size: no plain data set can hold more.
    budget : Budget
        What readers may ask for in memory.
    base : int
        Length of the user block, which addresses in the file don't count.
    root : Folder
        The root group.

    Raises
    ------
    FileError
        If there is no such file, or it is not HDF5, or cut off.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = os.fspath(path)
        if os.path.isdir(self.path):
            inside = os.path.join(self.path, "network.h5")
            told = f"a folder; give {inside}" if os.path.isfile(inside) else "not a regular file"
            raise FileError(f"{self.path}: is {told}")
        try:
            self._raw = open_regular(self.path)
        except FileError:
            raise
        except (OSError, ValueError) as error:
            raise FileError(f"{self.path}: can't be opened: {reason(error)}") from error
        self.n_bytes = os.fstat(self._raw.fileno()).st_size
        self.budget = Budget(self.n_bytes)
        self._heaps_are_sound = False
        with ExitStack() as opened:
            opened.enter_context(self._raw)
            self.h5 = opened.enter_context(self._open())
            self.root = Folder(self, self.h5, "")
            with library_errors(self.path):
                self.base = int(self.h5.userblock_size)
            opened.pop_all()
        # Data sets keep their file open as long as they live: no warning of that when they end.
        weakref.finalize(self, self._raw.close)

    def _open(self) -> h5py.File:
        with library_errors(self.path):
            if not h5py.is_hdf5(self.path):
                raise FileError(f"{self.path}: is not an HDF5 file")
        try:
            return h5py.File(self.path, "r")
        except LIBRARY_ERRORS as error:
            raise FileError(f"{self.path}: cut off or damaged: {reason(error)}") from error

    def __enter__(self) -> InputFile:
        """Return the file."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; more than once does no harm."""
        self._raw.close()
        with library_errors(self.path):
            self.h5.close()

    def read(self, start: int, n: int) -> bytes:
        """Return ``n`` bytes from byte ``start`` on, fewer at the end of the file."""
        if not 0 <= start < self.n_bytes:
            return b""
        self._raw.seek(start)
        return self._raw.read(min(n, self.n_bytes - start))

    def check_heaps(self) -> None:
        """Refuse a file whose global heap would send the HDF5 library into a loop.

        To be called before the library itself reads variable-length data (strings in
        attributes, mostly). Costs one pass over the file, once.
        """
        if not self._heaps_are_sound:
            at = endless_heap(self.read, self.n_bytes)
            if at is not None:
                raise FileError(
                    f"{self.path}: the heap of variable-length data at byte {at} is damaged; "
                    "if other programs can read the file, rewrite it with h5repack"
                )
            self._heaps_are_sound = True


class Folder:
    """A group of an open file.

    Attributes
    ----------
    file : InputFile
    group : h5py.Group
        Or a data set, see `notes`.
    path : str
        Where the group stands in the file, as messages name it.
    """

    def __init__(self, file: InputFile, group: h5py.Group, path: str) -> None:
        self.file, self.group, self.path = file, group, path

    def where(self, name: str = "") -> str:
        """Return ``file: /path/name``."""
        inside = [plain(part) for part in self.path.split("/")] + [plain(name)] * bool(name)
        return f"{plain(self.file.path, LINE)}: {'/'.join(inside) or '/'}"

    def error(self, name: str, what: str) -> FileError:
        """Return an error about ``name`` in this group."""
        return FileError(f"{self.where(name)}: {what}")

    def names(self) -> list[str]:
        """Return the names in this group, in the order of creation where it is kept."""
        with library_errors(self.where()):
            return list(self.group)

    def __contains__(self, name: str) -> bool:
        """Return whether there is a link ``name`` (wherever it leads)."""
        with library_errors(self.where(name)):
            return self.group.get(name, getlink=True) is not None

    def folder(self, name: str) -> Folder:
        """Return the group ``name``."""
        found = self._object(self.group, name, self.where(name))
        if not isinstance(found, h5py.Group):
            raise self.error(name, "is a data set, must be a group")
        return Folder(self.file, found, f"{self.path}/{name}")

    def is_folder(self, name: str) -> bool:
        """Return whether ``name`` exists and is a group."""
        return name in self and isinstance(
            self._object(self.group, name, self.where(name)), h5py.Group
        )

    def dataset(self, name: str) -> h5py.Dataset:
        """Return the data set ``name``, its claims checked but nothing read."""
        found = self._object(self.group, name, self.where(name))
        if not isinstance(found, h5py.Dataset):
            raise self.error(name, "is not a data set")
        with library_errors(self.where(name)):
            check_dataset(found, self.file.n_bytes, self.where(name))
            _ = found.dtype  # one that h5py can't name is told here, not where it is looked at
            if found.chunks:
                chunk = math.prod(found.chunks) * found.id.get_type().get_size()
                self.file.budget.lend(chunk, self.where(name), "one chunk")
        return found

    def keep(self, name: str, n: int, each: int, what: str) -> None:
        """Draw ``n`` things of ``each`` bytes from the file's budget; see `evsim.budget`."""
        self.file.budget.keep(n * each, self.where(name), f"{n:,} {what}")

    def lend(self, name: str, n: int, each: int, what: str) -> None:
        """Ask for ``n`` things of ``each`` bytes that will be given back."""
        self.file.budget.lend(n * each, self.where(name), f"{n:,} {what}")

    def numbers(
        self, name: str, kinds: str = "fiu", n_dims: Sequence[int] = (1,), kept: bool = True
    ) -> Any:
        """Read a data set of plain numbers.

        Parameters
        ----------
        name : str
            Of the data set.
        kinds : str
            Allowed kinds of numpy data type: ``f`` floats, ``i`` and ``u`` integers.
        n_dims : sequence of int
            Allowed numbers of dimensions.
        kept : bool
            Whether they stay, and count for the file's budget from now on.

        Returns
        -------
        array
            As stored.
        """
        dataset = self.dataset(name)
        with library_errors(self.where(name)):
            dtype, shape = dataset.dtype, dataset.shape
        if dtype.kind not in kinds or dtype.itemsize > 8:
            allowed = "integers" if "f" not in kinds else "numbers"
            raise self.error(name, f"holds {described(dtype)}, must hold {allowed}")
        if len(shape) not in n_dims:
            allowed = " or ".join(str(n) for n in n_dims)
            raise self.error(name, f"has shape {list(shape)}, must have {allowed} dimensions")
        # An axis of length 0 hides how long the others are.
        draw = self.keep if kept else self.lend
        draw(name, max(math.prod(shape), *shape, 1), NUMBER, "numbers")
        with library_errors(self.where(name)):
            return np.asarray(dataset[()])

    def attributes(self) -> list[str]:
        """Return the names of the group's attributes."""
        with library_errors(self.where()):
            return list(self.group.attrs)

    def attribute(self, name: str) -> Any:
        """Return an attribute as h5py gives it, None if there is none."""
        return read_attribute(self.file, self.group, name, self.where())

    def notes(self, name: str) -> Folder:
        """Return the data set ``name`` for what it shares with a group: attributes."""
        return Folder(self.file, self.dataset(name), f"{self.path}/{name}")

    def text(self, name: str, default: str | None = None) -> str | None:
        """Return an attribute that must be a string."""
        value = _single(self.attribute(name))
        if value is None:
            return default
        with library_errors(f"{self.where()}, attribute {name!r}"):
            value = value.decode() if isinstance(value, bytes) else value
        if not isinstance(value, str):
            raise self.error("", f"attribute {name!r} is {value!r}, must be a string")
        return str(value)

    def integer(self, name: str) -> int | None:
        """Return an attribute that must be an integer."""
        value = self.number(name)
        if value is None:
            return None
        if not float(value).is_integer():
            raise self.error("", f"attribute {name!r} is {value}, must be an integer")
        return int(value)

    def number(self, name: str) -> float | int | None:
        """Return an attribute that must be a number."""
        value = _single(self.attribute(name))
        if value is not None and not isinstance(value, (int, float)):
            raise self.error("", f"attribute {name!r} is {value!r}, must be a number")
        return value

    def _object(
        self, group: h5py.Group, name: str, where: str, hops: list[str] | None = None
    ) -> Any:
        """Follow one link; never one that leads out of the file.

        ``hops`` are the soft links that were followed on the way.
        """
        hops = [] if hops is None else hops
        with library_errors(where):
            link = group.get(name, getlink=True)
            if link is None:
                raise FileError(f"{where}: is missing")
            if isinstance(link, h5py.ExternalLink):
                raise FileError(f"{where}: is a link to another file; those are not followed")
            if not isinstance(link, h5py.SoftLink):
                return group[name]
            if len(hops) >= MAX_HOPS:
                raise FileError(f"{where}: is a link that leads to links without end")
            hops.append(link.path)
            found = self.file.h5 if link.path.startswith("/") else group
            for step in link.path.split("/"):
                if step not in ("", "."):
                    found = self._object(found, step, where, hops)
            return found


def read_attribute(file: InputFile, node: Any, name: str, where: str) -> Any:
    """Return an attribute of a group or data set as h5py gives it, None if there is none."""
    where = f"{where}, attribute {name!r}"
    with library_errors(where):
        if name not in node.attrs:
            return None
        stored = h5py.h5a.open(node.id, name.encode())
        dtype, shape = stored.dtype, stored.shape
        if shape is None or math.prod(shape) * dtype.itemsize > MAX_ATTRIBUTE:
            raise FileError(f"{where}: has shape {shape}, must be a short value")
        if dtype.kind == "O":
            if h5py.check_string_dtype(dtype) is None:
                raise FileError(f"{where}: is neither a number nor a string")
            file.check_heaps()
        return node.attrs[name]


def check_dataset(dataset: h5py.Dataset, n_bytes: int, where: str) -> None:
    """Refuse a data set that lies elsewhere or claims more than the file can hold."""
    plist = dataset.id.get_create_plist()
    if plist.get_layout() == h5py.h5d.VIRTUAL or plist.get_external_count() > 0:
        raise FileError(f"{where}: its data lie in other files; those are not followed")
    for i in range(plist.get_nfilters()):
        code, _, _, name = plist.get_filter(i)
        if code not in FILTERS:
            raise FileError(
                f"{where}: is packed with filter {code} ({name!r}), allowed are "
                f"{', '.join(FILTERS.values())}; rewrite the file with h5repack"
            )
    shape = dataset.shape
    if shape is None:
        raise FileError(f"{where}: is empty (a null data space)")
    stored = dataset.id.get_storage_size()
    packed = plist.get_layout() == h5py.h5d.CHUNKED and plist.get_nfilters() > 0
    limit = stored * (MAX_COMPRESSION if packed else 1) + UNWRITTEN
    # A whole chunk is unpacked at a time, but only if there is one.
    claims = [shape] + ([dataset.chunks] if dataset.chunks and stored else [])
    largest = max(math.prod(claim) for claim in claims) * dataset.id.get_type().get_size()
    if stored > n_bytes or largest > limit:
        raise FileError(
            f"{where}: claims shape {list(shape)}, {largest} bytes, but the file holds "
            f"{min(stored, n_bytes)} bytes of it"
        )
    if dataset.chunks:
        _check_chunks(dataset, n_bytes, where)


def _check_chunks(dataset: h5py.Dataset, n_bytes: int, where: str) -> None:
    """Refuse chunks whose stored size can't be, before the library believes it."""
    full = math.prod(dataset.chunks) * dataset.id.get_type().get_size()
    packed = dataset.id.get_create_plist().get_nfilters() > 0
    wrong: list[Any] = []

    def look(chunk: Any) -> bool | None:
        plausible = chunk.size <= 2 * full + 1024 if packed else chunk.size == full
        if plausible and chunk.byte_offset + chunk.size <= n_bytes:
            return None
        wrong.append(chunk)
        return True  # stops the iteration

    dataset.id.chunk_iter(look)
    if wrong:
        raise FileError(
            f"{where}: the chunk at {list(wrong[0].chunk_offset)} claims {wrong[0].size} bytes "
            f"at byte {wrong[0].byte_offset}; a full chunk has {full}, the file {n_bytes}"
        )


def as_floats(folder: Folder, name: str, n_dims: Sequence[int]) -> FloatArray:
    """Read a data set of numbers as float64."""
    values = folder.numbers(name, n_dims=n_dims)
    with library_errors(folder.where(name)):  # memory, if anything
        return np.asarray(values, dtype=np.float64)


def as_integers(folder: Folder, name: str, kept: bool = True) -> IntArray:
    """Read a one-dimensional data set of integers as int64."""
    values = folder.numbers(name, kinds="iu", kept=kept)
    if values.dtype.kind == "u" and values.size and values.max() > np.iinfo(np.int64).max:
        raise folder.error(name, f"holds {values.max()}, which is out of range")
    with library_errors(folder.where(name)):
        return np.asarray(values, dtype=np.int64)


def as_texts(folder: Folder, name: str) -> list[str]:
    """Read a one-dimensional data set of byte strings of one length."""
    texts = folder.dataset(name)
    with library_errors(folder.where(name)):
        if texts.dtype.kind != "S" or texts.ndim != 1:
            raise folder.error(name, f"holds {described(texts.dtype)}, must hold a list of bytes")
        # A decoded character takes up to four bytes.
        folder.keep(name, len(texts), 256 + 8 * texts.dtype.itemsize, "texts")
        return [text.decode(errors="replace") for text in texts[()]]


def described(dtype: np.dtype[Any]) -> str:
    """Name a data type as a message does."""
    if h5py.check_string_dtype(dtype) is not None:
        return "text"
    if h5py.check_vlen_dtype(dtype) is not None:
        return "variable-length arrays"
    return str(dtype)


def _single(value: Any) -> Any:
    """Unwrap numpy scalars and arrays of one entry."""
    if isinstance(value, (np.ndarray, np.generic)) and value.size == 1:
        return np.ravel(value).tolist()[0]
    return value
