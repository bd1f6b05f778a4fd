"""AEDAT 3.1: what iniVation's event cameras record, such as the files of DVS128 Gesture.

A header of text, then packets of events, each with a header of its own. A file is gone
through once, from packet to packet; afterwards only the packets of a wanted interval are
read. Format: iniVation's documentation of AEDAT 3.1 and libcaer's events/common.h and
events/polarity.h.
"""

from __future__ import annotations

import os
import re
import struct
import threading
from os import PathLike
from typing import NamedTuple

import numpy as np

from evsim import FileError
from evsim.arrays import IntArray
from evsim.files.hdf5 import library_errors, open_regular, reason

from ..published import PerProcess
from .camera import MICROSECOND, Events, Sensor

MAGIC = b"#!AER-DAT"
VERSION = b"3.1"
END = b"#!END-HEADER"
MAX_HEADER = 1 << 16  # bytes
POLARITY = 1
PACKET = struct.Struct("<hhiiiiii")
EVENT = struct.Struct("<Ii")
OVERFLOW_BITS = 31
SMALL, MANY = 1 << 17, 64  # events of a file that are kept once it is read so often
MAX_OVERFLOW = 1 << 20  # 71 years
SENSORS: dict[str, Sensor] = {
    "DVS128": (2, 128, 128),
    "DAVIS240": (2, 180, 240),
    "DAVIS346": (2, 260, 346),
}


class _Packets(NamedTuple):
    """Where the polarity events of a file are, one entry per packet, int64."""

    start: IntArray  # byte of the first event
    number: IntArray
    overflow: IntArray
    all_valid: IntArray
    first: IntArray  # microseconds
    last: IntArray


class AedatFile:
    """An AEDAT 3.1 file, open for reading.

    Parameters
    ----------
    path : path
        Of the file.

    Attributes
    ----------
    path : str
        As given.
    source : str
        The camera, as the header names it; empty if it does not.
    n_events : int
        Polarity events in the file.
    first, last : int
        Times of the first and the last event on the camera's clock [us]; 0 without events.

    Raises
    ------
    FileError
        If the file is not AEDAT 3.1, or cut off.

    Notes
    -----
    Origin of x and y is the upper left pixel. They are kept as the file has them.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = os.fspath(path)
        with library_errors(self.path):
            self._file = open_regular(self.path, buffering=0)
        self._lock = threading.Lock()
        self._small: tuple[IntArray, IntArray] | None = None
        self._n_reads = 0
        try:
            self._n_bytes = os.fstat(self._file.fileno()).st_size
            self.source, start = self._header()
            self._packets = self._index(start)
        except BaseException:
            self._file.close()
            raise
        self.n_events = int(self._packets.number.sum())
        self.first = int(min(self._packets.first, default=0))
        self.last = int(max(self._packets.last, default=0))

    def sensor(self) -> Sensor:
        """Return polarities, rows, columns of the camera that the header names.

        Raises
        ------
        FileError
            If it is not a camera known here.
        """
        for name, sensor in SENSORS.items():
            if self.source.startswith(name):
                return sensor
        raise FileError(
            f"{self.path}: was recorded by {self.source or 'an unnamed camera'}, known are "
            f"{', '.join(SENSORS)}"
        )

    def read(self, begin: int, end: int) -> Events:
        """Read the events of an interval.

        Parameters
        ----------
        begin, end : int
            On the camera's clock [us]; ``end`` is not in the interval.

        Returns
        -------
        Events
            Their times are counted from ``begin`` [s]. Events that the camera's driver
            has marked as not valid are left out.

        Raises
        ------
        FileError
            If an event is not sound.
        """
        packets = self._packets
        wanted = np.flatnonzero((packets.last >= begin) & (packets.first < end))
        self._n_reads += 1
        if self.n_events > SMALL or self._n_reads < MANY:
            ticks, data = self._events(wanted)
        else:  # a table of labels may list thousands of intervals of few events
            if self._small is None:
                self._small = self._events(np.arange(len(packets.number)))
            ticks, data = self._small
        inside = (ticks >= begin) & (ticks < end)
        ticks, data = ticks[inside], data[inside]
        return Events(
            (ticks - begin) / MICROSECOND, data >> 17, data >> 2 & 0x7FFF, data >> 1 & 1, self.path
        )

    def _events(self, wanted: IntArray) -> tuple[IntArray, IntArray]:
        """Return microseconds and addresses of the valid events of some packets."""
        pieces = [self._packet(i) for i in wanted.tolist()]
        ticks, data = (
            np.concatenate([np.empty(0, np.int64), *column])
            for column in ([t for t, _ in pieces], [d for _, d in pieces])
        )
        return ticks, data

    def _packet(self, i: int) -> tuple[IntArray, IntArray]:
        """Return microseconds and addresses of the valid events of a packet."""
        packets = self._packets
        start, number = int(packets.start[i]), int(packets.number[i])
        words = np.frombuffer(self._bytes(start, number * EVENT.size), "<u4").reshape(-1, 2)
        data, ticks = words[:, 0].astype(np.int64), words[:, 1].astype(np.int64)
        wrong = np.flatnonzero(ticks >> OVERFLOW_BITS)
        if len(wrong):
            at = start + EVENT.size * int(wrong[0])
            raise FileError(f"{self.path}: the event at byte {at} has a negative time")
        ticks |= packets.overflow[i] << OVERFLOW_BITS
        valid = (data & 1 == 1) | (packets.all_valid[i] == 1)
        return ticks[valid], data[valid]

    def _header(self) -> tuple[str, int]:
        """Return the camera's name and the byte at which the packets begin."""
        head = self._bytes(0, min(self._n_bytes, MAX_HEADER))
        if not head.startswith(MAGIC):
            raise FileError(f"{self.path}: is not an AEDAT file; those start with {MAGIC.decode()}")
        version = head[len(MAGIC) :].split(b"\n", 1)[0].strip()
        if version != VERSION:
            found = version[:8].decode("ascii", "replace")
            raise FileError(f"{self.path}: is AEDAT {found}, must be {VERSION.decode()}")
        end = re.search(rb"^#!END-HEADER\r?\n", head, re.MULTILINE)
        if end is None:
            raise FileError(f"{self.path}: its header has no end, a line {END.decode()}")
        lines = head[: end.start()].splitlines()
        form = [line for line in lines if line.startswith(b"#Format:")]
        if form and form[0].split(b":", 1)[1].strip() != b"RAW":
            found = form[0][1:40].decode("ascii", "replace")
            raise FileError(f"{self.path}: has {found!r}, must be 'Format: RAW'")
        sources = (re.match(rb"#Source \d+: *(\S+)", line) for line in lines)
        names = [found[1].decode("ascii", "replace") for found in sources if found]
        return names[0] if names else "", end.end()

    def _index(self, at: int) -> _Packets:
        """Go from packet to packet; keep those of polarity events."""
        rows: list[tuple[int, ...]] = []
        while at < self._n_bytes:
            head = self._read(at, PACKET.size + EVENT.size)
            if len(head) < PACKET.size:
                raise self._cut_off(at + len(head))
            kind, _, size, offset, overflow, _, number, valid = PACKET.unpack_from(head)
            start = at + PACKET.size
            left = self._n_bytes - start
            if size < 1 or number < 0 or number * size > left:
                raise FileError(
                    f"{self.path}: the packet at byte {at} claims {number} events of {size} "
                    f"bytes, but {left} bytes follow; it is cut off or damaged"
                )
            if kind == POLARITY and number:
                if (size, offset) != (EVENT.size, 4) or not 0 <= overflow <= MAX_OVERFLOW:
                    raise FileError(
                        f"{self.path}: the packet at byte {at} is damaged: events of {size} "
                        f"bytes with a time at byte {offset}, overflow {overflow}"
                    )
                tail = self._bytes(start + (number - 1) * size, EVENT.size)
                times = EVENT.unpack_from(head, PACKET.size)[1], EVENT.unpack(tail)[1]
                first, last = (overflow << OVERFLOW_BITS | time for time in sorted(times))
                rows.append((start, number, overflow, int(valid == number), first, last))
            at = start + number * size
        return _Packets(*np.array(rows, np.int64).reshape(-1, len(_Packets._fields)).T)

    def _bytes(self, start: int, n: int) -> bytes:
        """Return ``n`` bytes; refuse a file that ends before."""
        data = self._read(start, n)
        if len(data) < n:
            raise self._cut_off(start + len(data))
        return data

    def _read(self, start: int, n: int) -> bytes:
        """Return ``n`` bytes, fewer at the end of the file."""
        try:
            with self._lock:
                self._file.seek(start)
                return self._file.read(n)
        except OSError as error:
            raise FileError(f"{self.path}: can't be read: {reason(error)}") from error

    def _cut_off(self, at: int) -> FileError:
        return FileError(f"{self.path}: is cut off at byte {at}")


class AedatInterval(NamedTuple):
    """One recording of a data set, an interval of an AEDAT file."""

    file: PerProcess[AedatFile]
    begin: int
    end: int

    def events(self, duration: float) -> Events:
        """Read the events before ``duration`` [s]."""
        end = min(self.end, self.begin + int(np.ceil(duration * MICROSECOND)))
        return self.file.get().read(self.begin, end)
