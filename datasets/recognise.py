"""``recognise``: which data set a file is, told from its content.

For the command line, which is given a file and nothing else. Only formats without a header
are told by their suffix.
"""

from __future__ import annotations

import os
import re
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from evsim import Spikes
from evsim.arrays import IntArray
from evsim.files.hdf5 import InputFile, library_errors, open_regular
from evsim.spikes import default_duration

from .dataset import Dataset
from .formats.address_events import EVENT, read_camera_events, read_channel_events
from .formats.aedat import MAGIC, AedatFile, AedatInterval
from .formats.camera import MICROSECOND, UNLABELLED, CameraData, Events, Sensor
from .formats.event_file import COLUMNS, EventFile
from .published import PerProcess
from .sets.dvs_gesture import GESTURES, labels_path, read_labels
from .sets.latency_mnist import LatencyMNIST
from .sets.ntidigits import NTIDIGITS

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_MNIST = re.compile(r"(train|t10k)-(?:images|labels)[-.]idx[13]-ubyte(?:\.gz)?")
# N-MNIST's camera, the DVS128, and all that two bytes can say.
_SENSORS: tuple[Sensor, ...] = ((2, 34, 34), (2, 128, 128), (2, 256, 256))


def recognise(path: str | PathLike[str]) -> Dataset | None:
    """Open a file as the data set that it is.

    Parameters
    ----------
    path : path
        Of an HDF5 file of N-TIDIGITS18 (its training part is taken) or of packed camera
        events, one of MNIST's IDX files (the images as latencies), an AEDAT 3.1 recording
        (with its ``<name>_labels.csv`` beside it, if there is one), or five bytes an event:
        N-MNIST ``.bin``, SLAYER ``.bs1``, ``.bs2``.

    Returns
    -------
    Dataset or None
        None if it is something else. Recordings without labels are of the one class
        ``"unlabelled"``; the horizon of a single recording is the smallest multiple of
        0.1 s after its last event.

    Raises
    ------
    FileError
        If it is one of these, but not sound.
    """
    path = Path(path)
    if not path.exists() or path.is_dir():
        return None
    with library_errors(str(path)), open_regular(path) as file:
        magic = file.read(len(MAGIC))
    if magic.startswith(HDF5_MAGIC):
        return _hdf5(path)
    if magic == MAGIC:
        return _aedat(path)
    if path.suffix in (".bin", ".bs2") and path.stat().st_size % EVENT == 0:
        return _camera(read_camera_events(path))
    if path.suffix == ".bs1":
        return _Channels(path)
    mnist = _MNIST.fullmatch(path.name)
    if mnist:
        return LatencyMNIST(path.parent, "train" if mnist[1] == "train" else "test")
    return None


def _hdf5(path: Path) -> Dataset | None:
    with InputFile(path) as file:
        root = file.root
        packed = root.is_folder("events") and "offsets" in root
        packed = packed and all(name in root.folder("events") for name in COLUMNS)
        digits = "train_labels" in root and "train_timestamps" in root
    if packed:
        return EventFile(path)
    return NTIDIGITS(path) if digits else None


def _aedat(path: Path) -> Dataset:
    opened = PerProcess(AedatFile, os.fspath(path))
    file = opened.get()
    sensor, table = file.sensor(), labels_path(path)
    if not table.is_file():
        length = (file.last - file.first) / MICROSECOND
        whole = AedatInterval(opened, file.first, file.last + 1)
        return CameraData([whole], None, sensor, default_duration(np.array([length])))
    rows = read_labels(table)
    longest = max((end - begin for _, begin, end in rows), default=1) / MICROSECOND
    parts = [AedatInterval(opened, begin, end) for _, begin, end in rows]
    return CameraData(parts, [label for label, _, _ in rows], sensor, longest, GESTURES)


class _Read(NamedTuple):
    """One recording that has been read already."""

    all: Events

    def events(self, duration: float) -> Events:
        """Return the events."""
        return self.all


def _camera(events: Events) -> Dataset | None:
    if np.any(np.diff(events.times) < 0):  # no recording; .bin may be anything
        return None
    for sensor in _SENSORS:
        _, rows, columns = sensor
        if np.all(events.y < rows) and np.all(events.x < columns):
            break
    return CameraData([_Read(events)], None, sensor, default_duration(events.times))


class _Channels(Dataset):
    """One recording of a line of channels."""

    def __init__(self, path: Path) -> None:
        times, units = read_channel_events(path)
        self._spikes = Spikes(times, units)
        size, duration = self._spikes.size, self._spikes.duration
        super().__init__([0], size, duration, [UNLABELLED])

    def _read(self, recordings: IntArray) -> Spikes:
        return self._spikes[recordings]
