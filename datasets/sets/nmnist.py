"""N-MNIST: the images of MNIST as an event camera sees them while it moves.

Orchard, Jayawant, Cohen and Thakor, Frontiers in Neuroscience 9 (2015) 437: 34 x 34 pixels,
three saccades of 0.1 s, one file a recording in a folder of its class.
"""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path

from evsim import FileError

from ..formats.address_events import AddressFile
from ..formats.camera import CameraData, Sensor
from ..published import fetch, find

SENSOR: Sensor = (2, 34, 34)
DIGITS = tuple("0123456789")
_FOLDERS = {"train": "Train", "test": "Test"}
_SOURCE = "https://www.garrickorchard.com/datasets/n-mnist"


class NMNIST(CameraData):
    """N-MNIST: handwritten digits before an event camera, 10 classes.

    Recordings are in the order of their file names, which is the order of MNIST's images.

    Parameters
    ----------
    folder : path
        With the unpacked folders ``Train`` and ``Test``, in each a folder for every digit.
    split : {"train", "test"}
        Which part: 60,000 or 10,000 recordings.
    duration : float
        Horizon [s]; later events are left out. Recordings last about 0.31 s, the longest
        of 1,100 looked at 0.336 s.
    download : bool
        Whether tonic (``evsim[download]``) may fetch the files into ``folder``.

    Raises
    ------
    FileError
        If the folder is missing or still packed; when a recording is read, if its file is
        not sound.
    ValueError
        If there is no such split.

    Examples
    --------
    >>> train = NMNIST("N-MNIST/", "train")               # doctest: +SKIP
    >>> spikes, label = train[0]                          # doctest: +SKIP
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        split: str = "train",
        duration: float = 0.35,
        download: bool = False,
    ) -> None:
        if split not in _FOLDERS:
            raise ValueError(f"split = {split!r}, must be one of {', '.join(_FOLDERS)}")
        if download:
            fetch("NMNIST", folder, train=split == "train")
        name = _FOLDERS[split]
        root = find(folder, name, f"NMNIST/{name}", hint=_hint(Path(folder), name))
        files = sorted(
            (entry.name, digit)
            for digit in DIGITS
            if (root / digit).is_dir()
            for entry in os.scandir(root / digit)
            if entry.name.endswith(".bin")
        )
        if not files:
            raise FileError(f"{root}: has no {DIGITS[0]}/*.bin to {DIGITS[-1]}/*.bin")
        parts = [AddressFile(os.path.join(root, digit, file)) for file, digit in files]
        super().__init__(parts, [int(digit) for _, digit in files], SENSOR, duration, DIGITS)


def _hint(folder: Path, name: str) -> str:
    for packed in (f"{name}.zip", f"{name.lower()}.zip"):
        for place in (folder, folder / "NMNIST"):
            if (place / packed).exists():
                return f"unpack {place / packed}"
    return f"{name}.zip, unpacked, from {_SOURCE}"
