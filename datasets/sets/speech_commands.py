"""Ten words of Speech Commands: sound, word, speaker, number, and which part a speaker is in.

Read from the folder of the published test files, or from one HDF5 file that holds them.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

from evsim import FileError
from evsim.arrays import IntArray
from evsim.budget import NUMBER
from evsim.files.hdf5 import InputFile, as_integers, library_errors
from evsim.files.ragged import ragged_texts

from ..cochlea.audio import read_audio
from ..published import PerProcess
from .encoded_speech import Sound

WORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
_NAME = re.compile(r"([0-9a-f]+)_nohash_(\d+)\.wav")
_TESTED = "testing_list.txt"  # in the folder of all of Speech Commands
_SOURCE = "http://download.tensorflow.org/data/speech_commands_test_set_v0.02.tar.gz"
_TRAIN, _VALIDATION = 0.7, 0.8  # of the recordings, up to which a speaker is in these parts
_HASHES = 2**27  # Speech Commands' own


class SpokenWord(NamedTuple):
    """One recording.

    Attributes
    ----------
    word : int
        What is spoken, an index into `WORDS`.
    speaker : str
        Who speaks, eight hexadecimal digits.
    take : int
        Which time.
    sound : Sound
        What is heard.
    """

    word: int
    speaker: str
    take: int
    sound: Sound


def read_speech_commands(source: str | PathLike[str]) -> list[SpokenWord]:
    """List the recordings, by word, speaker and number; sounds are read when they are wanted.

    Parameters
    ----------
    source : path
        The folder of the published test files: WAV files named speaker_nohash_number.wav in
        a folder for each word, of which the ten of `WORDS` are read. Of the folder of all of
        Speech Commands, those of its ``testing_list.txt``. Or an HDF5 file with ``audio``
        (int16), all recordings end to end, recording i from ``offsets[i]`` to
        ``offsets[i + 1]``; per recording ``sample_rate``, ``word`` (index into `WORDS`),
        ``speaker`` (index into ``extra/speaker_name``) and ``index`` (the number).

    Returns
    -------
    list of SpokenWord
        In the order told.

    Raises
    ------
    FileError
        If there is no recording, or the file is not sound.
    """
    source = Path(source)
    return _from_folder(source) if source.is_dir() else _from_file(source)


def parts_of(speakers: Sequence[str]) -> IntArray:
    """Say which part each recording is in, so that no speaker is in two.

    Speakers are walked along by their SHA-1 modulo 2^27, Speech Commands' own measure: one is
    trained with while less than 70 % of the recordings are before, validated with while less
    than 80 % are, else tested with.

    Parameters
    ----------
    speakers : sequence of str [recording]
        Who speaks.

    Returns
    -------
    int64 array [recording]
        0 to train with, 1 to validate, 2 to test.

    Examples
    --------
    >>> parts_of(["ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal", "ida", "jan"])
    array([0, 1, 0, 0, 0, 0, 2, 0, 0, 2])
    """
    numbers = Counter(speakers)
    before, parts = 0, {}
    for speaker in sorted(numbers, key=_hash):
        share = before / len(speakers)
        parts[speaker] = 0 if share < _TRAIN else 1 if share < _VALIDATION else 2
        before += numbers[speaker]
    return np.array([parts[speaker] for speaker in speakers], np.int64)


def _hash(speaker: str) -> int:
    return int(hashlib.sha1(speaker.encode(), usedforsecurity=False).hexdigest(), 16) % _HASHES


def _from_folder(folder: Path) -> list[SpokenWord]:
    found = [
        SpokenWord(word, match[1], int(match[2]), Sound(fspath(path), partial(read_audio, path)))
        for word, name in enumerate(WORDS)
        for path in (folder / name).glob("*.wav")
        if (match := _NAME.fullmatch(path.name))
    ]
    if (folder / _TESTED).is_file():
        tested = set((folder / _TESTED).read_text().split())
        found = [one for one in found if "/".join(Path(one.sound.where).parts[-2:]) in tested]
    if not found:
        raise FileError(
            f"{folder}: has no {WORDS[0]}/speaker_nohash_number.wav; they come from {_SOURCE}"
        )
    return sorted(found)


def _from_file(path: Path) -> list[SpokenWord]:
    opened = PerProcess(_File, path)
    file = opened.get()
    return sorted(
        SpokenWord(word, file.names[speaker], take, Sound(file.where(i), partial(_read, opened, i)))
        for i, (word, speaker, take) in enumerate(
            zip(
                *(file.columns[name].tolist() for name in ("word", "speaker", "index")), strict=True
            )
        )
    )


def _read(opened: PerProcess[_File], i: int) -> tuple[npt.NDArray[np.int16], int]:
    return opened.get().read(i)


class _File:
    """An HDF5 file of all recordings, whose sounds are read one by one."""

    def __init__(self, path: Path) -> None:
        self._file = InputFile(path)  # stays open
        root = self._file.root
        self._offsets = as_integers(root, "offsets")
        self._audio = self._checked_audio()
        self.names = ragged_texts(root.folder("extra"), "speaker_name")
        self.columns = {
            name: as_integers(root, name) for name in ("sample_rate", "word", "speaker", "index")
        }
        n = len(self._offsets) - 1
        for name, column in self.columns.items():
            if len(column) != n:
                raise root.error(name, f"has {len(column)} entries for {n} recordings")
        for name, n_known in (("word", len(WORDS)), ("speaker", len(self.names))):
            column = self.columns[name]
            wrong = np.flatnonzero((column < 0) | (column >= n_known))
            if len(wrong):
                value = column[wrong[0]]
                raise root.error(name, f"recording {wrong[0]} has {value}; there are {n_known}")

    def where(self, i: int) -> str:
        """Return where a recording is, for messages."""
        return f"{self._file.root.where('audio')}: recording {i}"

    def read(self, i: int) -> tuple[npt.NDArray[np.int16], int]:
        """Return samples of a recording, and how many there are in a second."""
        with library_errors(self.where(i)):
            samples = self._audio[self._offsets[i] : self._offsets[i + 1]]
        return samples, int(self.columns["sample_rate"][i])

    def _checked_audio(self) -> h5py.Dataset:
        """Return what holds all recordings, of which none is read yet."""
        root, offsets = self._file.root, self._offsets
        audio = root.dataset("audio")
        if audio.dtype != np.int16 or audio.ndim != 1:
            raise root.error("audio", "must hold int16 samples of all recordings, end to end")
        lengths = np.diff(offsets)
        if not len(lengths) or lengths.min() < 0 or offsets[0] != 0 or offsets[-1] != len(audio):
            raise root.error("offsets", f"must rise from 0 to the {len(audio)} samples of /audio")
        root.lend("audio", int(lengths.max()), NUMBER, "samples")
        return audio
