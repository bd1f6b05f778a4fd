"""IDX files: one array of numbers each, the format in which MNIST is published.

Two zero bytes, a byte for the type, a byte for the number of dimensions, the dimensions
(32 bits each), the numbers; all big-endian, the whole often packed with gzip.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from os import PathLike
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from evsim import FileError
from evsim.budget import RECORDING, Budget
from evsim.files.hdf5 import MAX_COMPRESSION, open_regular, reason

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP = b"\x1f\x8b"
_PIECE = 1 << 20  # what is read at once, whatever the file says it holds


def read_idx(path: str | PathLike[str]) -> npt.NDArray[Any]:
    """Read the array of an IDX file.

    Parameters
    ----------
    path : path
        Of the file; whether it is packed with gzip is seen from its first bytes.

    Returns
    -------
    array
        uint8, int8, int16, int32, float32 or float64, as the file says.

    Raises
    ------
    FileError
        If the file can't be read, is not IDX, or is shorter or longer than it says.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "two-idx1-ubyte")
    >>> with open(path, "wb") as file:
    ...     _ = file.write(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]))
    >>> read_idx(path)
    array([7, 9], dtype=uint8)
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            packed = file.read(2) == _GZIP
            file.seek(0)
            budget = Budget(size)
            if not packed:
                return _read(path, file, size, budget)
            with gzip.open(file) as content:
                return _read(path, cast(BinaryIO, content), size * MAX_COMPRESSION, budget)
    except FileError:
        raise
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise FileError(f"{os.fspath(path)}: can't be read: {reason(error)}") from error


def _read(path: str | PathLike[str], file: BinaryIO, most: int, budget: Budget) -> npt.NDArray[Any]:
    """Read the array, if the ``most`` bytes that can be there are enough for it."""
    name = os.fspath(path)
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES:
        raise FileError(f"{name}: is not an IDX file: begins with {magic.hex(' ') or 'nothing'}")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise FileError(f"{name}: ends within its {magic[3]} dimensions")
    shape = np.frombuffer(sizes, ">u4").tolist()
    dtype = np.dtype(_TYPES[magic[2]])
    wanted = math.prod(shape) * dtype.itemsize
    says = f"its {' x '.join(map(str, shape[:8]))} numbers of {dtype.itemsize} bytes"
    if wanted > most:
        raise FileError(f"{name}: is far too short for {says}")
    budget.lend(4 * wanted + RECORDING * (shape[0] if shape else 1), name, says)
    content = bytearray()
    while piece := file.read(min(_PIECE, wanted + 1 - len(content))):
        content += piece
    if len(content) != wanted:
        less = "fewer" if len(content) < wanted else "more"
        raise FileError(f"{name}: holds {less} than {says}")
    try:
        array = np.frombuffer(content, dtype).reshape(shape)
    except ValueError as error:  # more dimensions than numpy has, or empty but for its sides
        raise FileError(f"{name}: can't hold {says}: {reason(error)}") from error
    return array.astype(dtype.newbyteorder("="), copy=False)
