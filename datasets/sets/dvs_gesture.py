"""DVS128 Gesture: eleven hand and arm gestures before an event camera.

Amir et al., CVPR (2017) 7243: 29 people under several lights, 128 x 128 pixels. Read from the
published AEDAT 3.1 files and their tables of labels, or from tonic's NumPy files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from evsim import FileError
from evsim.files.hdf5 import library_errors, open_regular

from ..formats.aedat import AedatFile, AedatInterval
from ..formats.camera import CameraData, Events, Part, Sensor
from ..published import PerProcess, fetch, find

SENSOR: Sensor = (2, 128, 128)
GESTURES = (
    "hand clapping",
    "right hand wave",
    "left hand wave",
    "right arm clockwise",
    "right arm counter clockwise",
    "left arm clockwise",
    "left arm counter clockwise",
    "arm roll",
    "air drums",
    "air guitar",
    "other gestures",
)
_HEADING = "class,startTime_usec,endTime_usec"
_LISTS = {"train": "trials_to_train.txt", "test": "trials_to_test.txt"}
_TONIC = {"train": "ibmGestureTrain", "test": "ibmGestureTest"}
_SOURCE = "https://research.ibm.com/dvsgesture/"
_MILLISECOND = 1e3
_NUMPY = re.compile(  # magic, version 1.0, length of the header, header
    rb"\x93NUMPY\x01\x00..\{'descr': '([<>|](?:[iu][1248]|f[248]))', "
    rb"'fortran_order': (True|False), 'shape': \((\d{1,15}), 4\), \} *\n",
    re.DOTALL,
)


class Recording(NamedTuple):
    """One recording: where it is, what it shows, and whom."""

    part: Part
    label: int
    user: int


class NumpyFile(NamedTuple):
    """One recording as tonic has it, a file of its own."""

    path: str

    def events(self, duration: float) -> Events:
        """Read the events; tonic's times are milliseconds."""
        x, y, p, milliseconds = _read_numpy(self.path)
        return Events(milliseconds / _MILLISECOND, x, y, p, self.path)


class DVSGesture(CameraData):
    """DVS128 Gesture: hand and arm gestures before an event camera, 11 classes.

    Every labelled interval is one recording; its time is counted from the interval's start.
    x and y are as in the files, origin upper left. ``speakers`` are the users' numbers.

    Parameters
    ----------
    folder : path
        With ``trials_to_train.txt``, ``trials_to_test.txt`` and the files they list, as
        unpacked from ``DvsGesture.tar.gz``; or with tonic's ``ibmGestureTrain`` and
        ``ibmGestureTest``, which hold fewer recordings and times in whole milliseconds.
    split : {"train", "test"}
        Which part: different users.
    duration : float
        Horizon [s]; later events are left out, and not read. The default is the part that
        Shrestha and Orchard (SLAYER, 2018) train on; whole gestures take some 6 s.
    download : bool
        Whether tonic (``evsim[download]``) may fetch its files into ``folder``.

    Raises
    ------
    FileError
        If a file is missing, or a table of labels is not sound; when a recording is read,
        if its file is not sound.
    ValueError
        If there is no such split.

    Examples
    --------
    >>> train = DVSGesture("DvsGesture/", "train")        # doctest: +SKIP
    >>> train, validation = train.hold_out([20, 21, 22])  # doctest: +SKIP
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        split: str = "train",
        duration: float = 1.45,
        download: bool = False,
    ) -> None:
        if split not in _LISTS:
            raise ValueError(f"split = {split!r}, must be one of {', '.join(_LISTS)}")
        if download:
            fetch("DVSGesture", folder, train=split == "train")
        trials, tonic = _LISTS[split], _TONIC[split]
        names = (trials, f"DvsGesture/{trials}", tonic, f"DVSGesture/{tonic}")
        found = find(folder, *names, hint=_hint(Path(folder)))
        recordings = numpy_recordings(found) if found.is_dir() else listed_recordings(found)
        super().__init__(
            [r.part for r in recordings],
            [r.label for r in recordings],
            SENSOR,
            duration,
            GESTURES,
            [r.user for r in recordings],
        )


def listed_recordings(path: Path) -> list[Recording]:
    """Return the labelled intervals of all files in a list such as ``trials_to_train.txt``.

    Raises
    ------
    FileError
        If the list names something else than ``userNN_<light>.aedat``, or a file is missing.
    """
    names = _text(path).split()
    recordings = []
    for name in names:
        user = re.fullmatch(r"user(\d{1,9})_\w+\.aedat", name, re.ASCII)
        if user is None:
            raise FileError(f"{path}: lists {name[:60]!r}, must be userNN_<light>.aedat")
        file = path.parent / name
        if not file.is_file():
            raise FileError(f"{file}: is missing, but {path.name} lists it")
        opened = PerProcess(AedatFile, str(file))
        for label, begin, end in read_labels(labels_path(file)):
            recordings.append(Recording(AedatInterval(opened, begin, end), label, int(user[1])))
    if not recordings:
        raise FileError(f"{path}: lists no recordings")
    return recordings


def numpy_recordings(folder: Path) -> list[Recording]:
    """Return tonic's recordings, ``userNN_<light>/<class>.npy``, users and classes in order.

    Raises
    ------
    FileError
        If there are none.
    """
    recordings = []
    paths = folder.glob("user*_*/*.npy")
    for path in sorted(paths, key=lambda path: (path.parent.name, len(path.stem), path.stem)):
        user = re.match(r"user(\d{1,9})_", path.parent.name, re.ASCII)
        if user is None or path.stem not in map(str, range(len(GESTURES))):
            raise FileError(f"{path}: must be userNN_<light>/<class 0 to {len(GESTURES) - 1}>.npy")
        recordings.append(Recording(NumpyFile(str(path)), int(path.stem), int(user[1])))
    if not recordings:
        raise FileError(f"{folder}: has no userNN_<light>/<class>.npy")
    return recordings


def labels_path(path: Path) -> Path:
    """Return where the table of labels of an AEDAT file is."""
    return path.with_name(f"{path.stem}_labels.csv")


def read_labels(path: Path) -> Sequence[tuple[int, int, int]]:
    """Read the table of labels of a recording.

    Parameters
    ----------
    path : path
        CSV: a heading, then class (from 1), start and end [us] in each line.

    Returns
    -------
    list of (int, int, int)
        Class (from 0), start and end [us]. Intervals may overlap, and do in one file.

    Raises
    ------
    FileError
        If a line is not sound; names it.
    """
    lines = _text(path).splitlines()
    if not lines or lines[0].strip() != _HEADING:
        raise FileError(f"{path}: must start with the line {_HEADING}")
    intervals = []
    for n, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        row = re.fullmatch(r"\s*(\d{1,2})\s*,\s*(\d{1,15})\s*,\s*(\d{1,15})\s*", line, re.ASCII)
        label, begin, end = (int(v) for v in row.groups()) if row else (0, 0, 0)
        if not 1 <= label <= len(GESTURES) or begin >= end:
            raise FileError(
                f"{path}: line {n} is {line[:60]!r}, must be a class from 1 to {len(GESTURES)}, "
                "a start and a later end [us]"
            )
        intervals.append((label - 1, begin, end))
    return intervals


def _text(path: Path) -> str:
    """Return the text of a small file of ASCII."""
    with library_errors(str(path)), open_regular(path) as file:
        return str(file.read().decode("ascii", errors="replace"))


def _read_numpy(path: str) -> npt.NDArray[Any]:
    """Return the columns x, y, p, t of a NumPy file, believing none of its sizes."""
    with library_errors(path), open_regular(path) as file:
        data = file.read()
    header = _NUMPY.match(data)
    if header is None:
        raise FileError(f"{path}: is not a NumPy file of numbers [event, 4]")
    dtype = np.dtype(header[1].decode())
    n, left = int(header[3]), len(data) - header.end()
    if n * 4 * dtype.itemsize != left:
        raise FileError(
            f"{path}: claims {n} events of {4 * dtype.itemsize} bytes, but {left} bytes follow; "
            "it is cut off or damaged"
        )
    flat = np.frombuffer(data, dtype, offset=header.end())
    columns = flat.reshape(4, -1) if header[2] == b"True" else flat.reshape(-1, 4).T
    wrong = np.flatnonzero((columns[:3] != np.floor(columns[:3])).any(axis=0))
    if len(wrong):
        raise FileError(f"{path}: event {wrong[0]} is {columns[:, wrong[0]]}, must be x, y, p, t")
    return columns


def _hint(folder: Path) -> str:
    packed = "DvsGesture.tar.gz"
    if (folder / packed).exists():
        return f"unpack {folder / packed}"
    return f"{packed}, unpacked, from {_SOURCE}"
