"""MNIST: where its images and labels are in a folder, and `MNIST`, which keeps them.

The published IDX files, as they come or as torchvision or tonic lay them out, or the file
``mnist.npz`` of Keras. How images become spikes is said by `LatencyMNIST` and
`SequentialMNIST`.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from evsim import FileError
from evsim.arrays import IntArray
from evsim.budget import Budget
from evsim.files.hdf5 import reason

from ..dataset import Dataset
from ..formats.idx import read_idx
from ..published import PerProcess, fetch, find

ByteArray = npt.NDArray[np.uint8]

SIDE = 28
_PREFIX = {"train": "train", "test": "t10k"}
_FOLDERS = ("", "MNIST/raw/", "MNIST/", "smnist/")  # as published, torchvision twice, tonic
_HINT = (
    "from https://storage.googleapis.com/cvdf-datasets/mnist/, from torchvision's "
    "datasets.MNIST, or as Keras' mnist.npz"
)


def mnist_images(
    folder: str | PathLike[str], split: str = "train", download: bool = False
) -> tuple[ByteArray, ByteArray]:
    """Read the images and labels of MNIST.

    Parameters
    ----------
    folder : path
        With ``train-images-idx3-ubyte`` and its like, packed with gzip or not, there or in
        ``MNIST/raw``, ``MNIST`` or ``smnist``; or with ``mnist.npz``, or that file itself.
    split : {"train", "test"}
        Which part: 60,000 or 10,000 images.
    download : bool
        Whether tonic (``evsim[download]``) may fetch the files into ``folder``.

    Returns
    -------
    images : uint8 array [image, 28, 28]
        Row by row from the top; 0 is background, 255 ink.
    labels : uint8 array [image]
        The digits.

    Raises
    ------
    FileError
        If a file is missing or not sound.
    ValueError
        If there is no such split.

    Examples
    --------
    >>> images, labels = mnist_images("mnist/", "test")   # doctest: +SKIP
    """
    labels = _labels(folder, split, download)
    path, images = _array(folder, split, "images")
    if images.shape != (len(labels), SIDE, SIDE) or images.dtype != np.uint8:
        raise FileError(
            f"{path}: has {_kind(images)}, must be uint8 [{len(labels)}, {SIDE}, {SIDE}] "
            "to go with the labels"
        )
    return images, labels


class MNIST(Dataset):
    """Images of MNIST, read when they are first asked for, coded as spikes by a subclass.

    Parameters
    ----------
    folder, split, download
        As for `mnist_images`.
    size : int
        Units of a recording.
    duration : float
        Horizon of every recording [s].
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        split: str,
        download: bool,
        size: int,
        duration: float,
    ) -> None:
        labels = _labels(folder, split, download)
        super().__init__(labels, size, duration, [str(digit) for digit in range(10)])
        self._file = PerProcess(mnist_images, folder, split)

    @property
    def images(self) -> ByteArray:
        """The images themselves, uint8 [recording, 28, 28]."""
        return self._images(self._chosen)

    def _images(self, recordings: IntArray) -> ByteArray:
        images, _ = self._file.get()
        return images[recordings]


def _labels(folder: str | PathLike[str], split: str, download: bool) -> ByteArray:
    if split not in _PREFIX:
        raise ValueError(f"split = {split!r}, must be one of {', '.join(_PREFIX)}")
    if download:
        fetch("SMNIST", folder, train=split == "train")  # the files are those of MNIST
    path, labels = _array(folder, split, "labels")
    if labels.ndim != 1 or labels.dtype != np.uint8:
        raise FileError(f"{path}: has {_kind(labels)}, must be uint8 [image]")
    wrong = np.flatnonzero(labels > 9)
    if len(wrong):
        raise FileError(f"{path}: label {wrong[0]} is {labels[wrong[0]]}, must be a digit")
    return labels


def _array(folder: str | PathLike[str], split: str, what: str) -> tuple[Path, npt.NDArray[Any]]:
    """Read the ``"images"`` or the ``"labels"``, from whichever file there is."""
    dimensions = 3 if what == "images" else 1
    stem = f"{_PREFIX[split]}-{what}"
    names = [
        f"{place}{stem}{dot}idx{dimensions}-ubyte{packed}"
        for place in _FOLDERS
        for dot in "-."
        for packed in ("", ".gz")
    ]
    path = find(folder, *names, "mnist.npz", hint=_HINT)
    if path.suffix != ".npz":
        return path, read_idx(path)
    return path, _read_npz(path, f"{'x' if what == 'images' else 'y'}_{split}")


def _read_npz(path: Path, name: str) -> npt.NDArray[Any]:
    """Read one array of a ``.npz`` file."""
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo(f"{name}.npy")
            what = f"{member.file_size:,} bytes, unpacked"
            Budget(os.path.getsize(path)).lend(4 * member.file_size, f"{path}: {name}", what)
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("is packed in an unusual way; numpy.savez_compressed writes zip")
            content = io.BytesIO(archive.read(member))
        shape, in_columns, dtype = _read_npy_header(content)
        data = content.read()
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(data):
            raise ValueError(f"{len(data)} bytes are not {list(shape)} {dtype}")
        return np.frombuffer(data, dtype).reshape(shape, order="F" if in_columns else "C")
    except FileError:
        raise
    except KeyError as error:
        raise FileError(f"{path}: has no {name}; is it Keras' mnist.npz?") from error
    except Exception as error:  # on broken files zipfile, zlib and numpy raise what they like
        raise FileError(f"{path}: {name} can't be read: {reason(error)}") from error


def _read_npy_header(content: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    if np.lib.format.read_magic(content) == (1, 0):
        return np.lib.format.read_array_header_1_0(content)
    return np.lib.format.read_array_header_2_0(content)


def _kind(array: npt.NDArray[Any]) -> str:
    return f"{array.dtype} {list(array.shape)}"
