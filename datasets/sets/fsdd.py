"""The recordings of the Free Spoken Digit Dataset: audio, digit, speaker and take.

Read from the project's own folder of WAV files, or from one HDF5 file that holds them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from evsim import FileError
from evsim.arrays import FloatArray
from evsim.files.hdf5 import InputFile, as_integers
from evsim.files.ragged import RaggedColumn, ragged_texts

from ..cochlea.audio import read_audio

_NAME = re.compile(r"(\d)_([a-z]+)_(\d+)\.wav")
_SOURCE = "https://github.com/Jakobovski/free-spoken-digit-dataset"


class SpokenDigit(NamedTuple):
    """One recording.

    Attributes
    ----------
    audio : int16 or float64 array [sample]
        Floats are in [-1, 1].
    rate : int
        Samples a second.
    digit : int
        What is spoken, 0 to 9.
    speaker : str
        Who speaks.
    take : int
        Which time; takes 0 to 4 are the set's test part.
    """

    audio: npt.NDArray[np.int16] | FloatArray
    rate: int
    digit: int
    speaker: str
    take: int


def read_fsdd(source: str | PathLike[str]) -> Iterator[SpokenDigit]:
    """Read the recordings one by one, by speaker, digit and take.

    Parameters
    ----------
    source : path
        The project's folder or its ``recordings``, with WAV files named
        digit_speaker_take.wav; or an HDF5 file with variable-length ``audio`` and, per
        recording, ``sample_rate``, ``digit``, ``speaker`` (index into
        ``extra/speaker_name``) and ``index`` (the take).

    Yields
    ------
    SpokenDigit
        In the order told.

    Raises
    ------
    FileError
        If there is no recording, or one is not sound.
    """
    source = Path(source)
    return _from_folder(source) if source.is_dir() else _from_file(source)


def _from_folder(folder: Path) -> Iterator[SpokenDigit]:
    if (folder / "recordings").is_dir():
        folder = folder / "recordings"
    named = [(_NAME.fullmatch(path.name), path) for path in folder.iterdir()]
    found = sorted((match[2], int(match[1]), int(match[3]), path) for match, path in named if match)
    if not found:
        raise FileError(f"{folder}: has no digit_speaker_take.wav; they come from {_SOURCE}")
    for speaker, digit, take, path in found:
        audio, rate = read_audio(path)
        yield SpokenDigit(audio, rate, digit, speaker, take)


def _from_file(path: Path) -> Iterator[SpokenDigit]:
    with InputFile(path) as file:
        root = file.root
        audio = RaggedColumn(root, "audio")
        columns = {
            name: as_integers(root, name) for name in ("sample_rate", "digit", "speaker", "index")
        }
        for name, column in columns.items():
            if len(column) != len(audio):
                raise root.error(name, f"has {len(column)} entries for {len(audio)} recordings")
        names = ragged_texts(root.folder("extra"), "speaker_name")
        wrong = np.flatnonzero((columns["speaker"] < 0) | (columns["speaker"] >= len(names)))
        if len(wrong):
            raise root.error("speaker", f"recording {wrong[0]} is of a speaker without a name")
        keys = np.lexsort([columns[name] for name in ("index", "digit", "speaker")])
        for i in keys.tolist():
            rate, digit, speaker, take = (int(column[i]) for column in columns.values())
            yield SpokenDigit(audio.read(i), rate, digit, names[speaker], take)
