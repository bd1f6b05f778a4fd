"""N-TIDIGITS18: spoken digits through a silicon cochlea of 64 channels.

Anumula, Neil, Delbruck and Liu, Frontiers in Neuroscience 12 (2018) 23: the digits and digit
sequences of TIDIGITS played to a cochlea chip, in one HDF5 file with times in seconds.
"""

from __future__ import annotations

import re
from os import PathLike
from typing import NamedTuple

import h5py
import numpy as np

from evsim import FileError, Spikes
from evsim.arrays import FloatArray, IntArray
from evsim.budget import RECORDING, STREAMED_SPIKE
from evsim.files.hdf5 import Folder, InputFile, described, library_errors
from evsim.files.ragged import text_bytes
from evsim.quantities import positive

from ..dataset import Dataset
from ..formats.camera import check_times
from ..published import PerProcess, fetch, find

CHANNELS = 64
DIGITS = ("z", "1", "2", "3", "4", "5", "6", "7", "8", "9", "o")
FILE = "n-tidigits.hdf5"
_SPLITS = ("train", "test")
_DURATION = {"single": 2.0, "all": 8.0}
_SOURCE = "https://docs.google.com/document/d/1Uxe7GsKKXcy6SlDUX4hoJVAC0-UkH-8kr5UXp0Ndi1M"
_KEY = re.compile(r"([^-/.]+-[^-/.]+)-[^-/.]+-([1-9oz]+)")
_LAST = 1000.0  # a time after that is not in seconds


class Key(NamedTuple):
    """What the name of a recording says, such as ``man-ae-a-3z7``.

    Attributes
    ----------
    name : str
        The name itself.
    speaker : str
        ``man-ae``.
    spoken : str
        ``3z7``: z is zero, o is oh.
    """

    name: str
    speaker: str
    spoken: str


class NTIDIGITS(Dataset):
    """N-TIDIGITS18: spoken digits as spikes of a silicon cochlea, 64 channels.

    Parameters
    ----------
    folder : path
        With ``n-tidigits.hdf5``, or that file.
    split : {"train", "test"}
        Which part; no speaker is in both.
    digits : {"single", "all"}
        ``"single"``: only the recordings of one digit (2464 for training, 2486 for
        testing, as published), 11 classes: z (zero), 1 to 9, o (oh). ``"all"``: also the
        sequences of up to seven digits; every sequence in the file is a class, named by
        what is spoken.
    duration : float or None
        Horizon [s]; later spikes are left out. If left out, 2 s for single digits and
        8 s for all.
    download : bool
        Whether tonic (``evsim[download]``) may fetch the file into ``folder``.

    Attributes
    ----------
    speaker_names : list of str
        What the numbers in ``speakers`` mean, such as ``man-ae``; the same for both parts.

    Raises
    ------
    FileError
        If the file is missing or not sound; when a recording is read, if that is not.
    ValueError
        If there is no such split or choice of digits.

    Examples
    --------
    >>> train = NTIDIGITS("n-tidigits/", "train")         # doctest: +SKIP
    >>> spikes, label = train[0]                          # doctest: +SKIP
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        split: str = "train",
        digits: str = "single",
        duration: float | None = None,
        download: bool = False,
    ) -> None:
        if split not in _SPLITS:
            raise ValueError(f"split = {split!r}, must be one of {', '.join(_SPLITS)}")
        if digits not in _DURATION:
            raise ValueError(f"digits = {digits!r}, must be one of {', '.join(_DURATION)}")
        duration = _DURATION[digits] if duration is None else duration
        positive("duration", duration, "s")
        if download:
            fetch("NTIDIGITS18", folder, train=split == "train")
        path = find(folder, FILE, f"NTIDIGITS18/{FILE}", f"NTIDIGITS/{FILE}", hint=_SOURCE)
        self._file = PerProcess(_Trains, str(path), split)
        keys = {part: self._file.get().keys(part) for part in _SPLITS}
        everyone = [key for part in _SPLITS for key in keys[part]]
        classes = list(DIGITS)
        if digits == "all":
            classes = sorted({key.spoken for key in everyone}, key=lambda s: (len(s), s))
        self.speaker_names = sorted({key.speaker for key in everyone})
        mine = [key for key in keys[split] if digits == "all" or len(key.spoken) == 1]
        self._names = [key.name for key in mine]
        labels = {name: i for i, name in enumerate(classes)}
        speakers = {name: i for i, name in enumerate(self.speaker_names)}
        super().__init__(
            [labels[key.spoken] for key in mine],
            CHANNELS,
            duration,
            classes,
            [speakers[key.speaker] for key in mine],
        )

    def _read(self, recordings: IntArray) -> Spikes:
        trains = [self._train(self._names[i]) for i in recordings]
        return Spikes.from_recordings(trains, self.size, self.duration)

    def _train(self, name: str) -> tuple[FloatArray, IntArray]:
        times, units = self._file.get().read(name)
        early = times < self.duration
        return times[early], units[early]


class _Trains:
    """An N-TIDIGITS18 file, open for reading one part of it."""

    def __init__(self, path: str, split: str) -> None:
        self._file = InputFile(path)
        try:
            self._times = self._file.root.folder(f"{split}_timestamps")
            self._addresses = self._file.root.folder(f"{split}_addresses")
            self._drawn: set[str] = set()
        except BaseException:
            self._file.close()
            raise

    def keys(self, split: str) -> list[Key]:
        """Return the names of the recordings of a part, taken to pieces."""
        name = f"{split}_labels"
        keys = [self._key(name, i, text) for i, text in enumerate(_texts(self._file, name))]
        seen: set[Key] = set()
        for key in keys:
            if key in seen:
                raise self._file.root.error(name, f"names the recording {key.name!r} twice")
            seen.add(key)
        return keys

    def read(self, name: str) -> tuple[FloatArray, IntArray]:
        """Read times [s] and channels of a recording."""
        times = np.asarray(self._times.numbers(name, kept=False), np.float64)
        if name not in self._drawn:  # many names may be one in the file
            self._times.keep(name, len(times), STREAMED_SPIKE, "spikes more")
            self._drawn.add(name)
        where = self._times.where(name)
        check_times(times, where)
        if len(times) and times.max() > _LAST:
            raise FileError(f"{where}: holds {times.max():g}; times must be in seconds")
        return times, self._channels(name, len(times))

    def _channels(self, name: str, n: int) -> IntArray:
        channels = self._addresses.numbers(name, kept=False)
        if len(channels) != n:
            raise self._addresses.error(name, f"has {len(channels)} entries for {n} times")
        wrong = np.flatnonzero(
            ~((channels >= 0) & (channels < CHANNELS) & (np.floor(channels) == channels))
        )
        if len(wrong):
            raise self._addresses.error(
                name,
                f"entry {wrong[0]} is {channels[wrong[0]]}, must be a channel from 0 to "
                f"{CHANNELS - 1}",
            )
        return channels.astype(np.int64)

    def _key(self, dataset: str, i: int, text: str) -> Key:
        parts = _KEY.fullmatch(text)
        if parts is None:
            raise self._file.root.error(
                dataset, f"entry {i} is {text[:60]!r}, must be like man-ae-a-3z7"
            )
        return Key(text, parts[1], parts[2])


def _texts(file: InputFile, name: str) -> list[str]:
    """Read a data set of strings, of fixed or variable length."""
    root: Folder = file.root
    dataset = root.dataset(name)
    with library_errors(root.where(name)):
        dtype, shape = dataset.dtype, dataset.shape
        if h5py.check_string_dtype(dtype) is None or len(shape) != 1:
            raise root.error(name, f"holds {described(dtype)}, must be strings [recording]")
        file.check_heaps()
        n_bytes = text_bytes(root, name) if dtype.hasobject else shape[0] * dtype.itemsize
        root.lend(name, 8 * n_bytes + RECORDING * shape[0], 1, "bytes of text")
        return [bytes(text).decode("utf-8", "replace") for text in dataset[()]]
