"""Event files of five bytes an event: N-MNIST's ``.bin``, SLAYER's ``.bs1`` and ``.bs2``.

Big-endian: an address of 16 bits (x and y of a pixel, or a channel), 1 bit polarity, 23 bits
microseconds. There is no header, so only the name of a file tells what its addresses are.
"""

from __future__ import annotations

import os
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from evsim import FileError
from evsim.arrays import FloatArray, IntArray
from evsim.files.hdf5 import library_errors, open_regular

from .camera import MICROSECOND, Events

EVENT = 5  # bytes
OVERFLOW_ROW = 240
OVERFLOW = 1 << 13  # microseconds


class AddressFile(NamedTuple):
    """One camera recording of a data set, an address event file of its own."""

    path: str

    def events(self, duration: float) -> Events:
        """Read the events."""
        return read_camera_events(self.path)


def read_camera_events(path: str | PathLike[str]) -> Events:
    """Read the events of a camera (N-MNIST ``.bin``, SLAYER ``.bs2``).

    Parameters
    ----------
    path : path
        Of the file: 8 bits x, 8 bits y, 1 bit polarity, 23 bits microseconds an event.

    Returns
    -------
    Events
        In the order of the file.

    Raises
    ------
    FileError
        If the file can't be read, or its length is not a multiple of five.

    Notes
    -----
    An event in row 240 is none: recorders write it when their clock of 13 bits has run
    over, and all later times are 2**13 us later than they say (Orchard et al. 2015, the
    reader that comes with N-MNIST).

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "one.bin")
    >>> with open(path, "wb") as file:
    ...     n_bytes = file.write(bytes([18, 16, 0x80, 0x03, 0x7D]))
    >>> events = read_camera_events(path)
    >>> events.times, events.x, events.y, events.p
    (array([0.000893]), array([18], dtype=uint8), array([16], dtype=uint8), array([1], dtype=uint8))
    """
    words = _words(path)
    x, y, p, ticks = words[:, 0], words[:, 1], words[:, 2] >> 7, _ticks(words)
    overflows = y == OVERFLOW_ROW
    if overflows.any():
        ticks += OVERFLOW * np.cumsum(overflows)
        x, y, ticks, p = (column[~overflows] for column in (x, y, ticks, p))
    return Events(ticks / MICROSECOND, x, y, p, os.fspath(path))


def read_channel_events(path: str | PathLike[str]) -> tuple[FloatArray, IntArray]:
    """Read the events of a line of channels (SLAYER ``.bs1``).

    Parameters
    ----------
    path : path
        Of the file: 16 bits unit, 1 bit polarity, 23 bits microseconds an event.

    Returns
    -------
    times : float64 array [event]
        In the order of the file [s].
    units : int64 array [event]
        The channels. Polarities are left out: these files have but one.

    Raises
    ------
    FileError
        If the file can't be read, or its length is not a multiple of five.
    """
    words = _words(path)
    return _ticks(words) / MICROSECOND, _integers(words[:, :2])


def _words(path: str | PathLike[str]) -> npt.NDArray[np.uint8]:
    """Return the bytes of a file, [event, 5]."""
    path = os.fspath(path)
    with library_errors(path), open_regular(path) as file:
        data = file.read()
    if len(data) % EVENT:
        raise FileError(
            f"{path}: has {len(data)} bytes, must be a multiple of {EVENT}; it is cut off or "
            "not an address event file"
        )
    return np.frombuffer(data, np.uint8).reshape(-1, EVENT)


def _ticks(words: npt.NDArray[np.uint8]) -> IntArray:
    """Return microseconds."""
    return _integers(words[:, 2:]) & 0x7FFFFF


def _integers(columns: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    """Return the integers that big-endian bytes, [event, byte], stand for."""
    return columns.astype(np.int64) @ (256 ** np.arange(columns.shape[1])[::-1])
