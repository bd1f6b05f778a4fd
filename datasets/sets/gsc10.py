"""``GSC10``: ten spoken words of 199 strangers as spikes, embedded in the package.

Of the test files of Speech Commands v0.02 (P. Warden, arXiv:1804.03209, 2018), encoded as
`SpokenDigits` are, but from the place of 8.5 kHz on: these recordings reach 8 kHz. Whoever is
heard in one part is not in another, so the test is of voices that were never heard.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np

import evsim
from evsim.files.hdf5 import InputFile, as_texts
from evsim.files.new_hdf5 import NewHdf5
from evsim.files.stored_parts import PARTS

from .encoded_speech import Encoder, made_once, write_encoded
from .speech_commands import WORDS, parts_of, read_speech_commands
from .spike_file_data import SpikeFileData
from .spoken_digits import EMPHASIS, PLACES

EMBEDDED = "gsc10-70.h5"
EMBEDDED_CHANNELS = 70
FIRST_PLACE = 0.6  # best frequency 8.5 kHz: there is nothing above 8 kHz in these recordings [cm]
_SPLITS = (*PARTS, "all")
_NOTES = {
    "source": "Speech Commands v0.02, test files, by Pete Warden (Google) and the volunteers who "
    "spoke; arXiv:1804.03209",
    "licence": "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/",
    "changes": "ten words only; sounds are the spikes of an artificial cochlea",
}


class GSC10(SpikeFileData):
    """Ten spoken words, 3,560 recordings of 199 speakers, no speaker in two parts.

    Parameters
    ----------
    split : {"train", "validation", "test", "all"}
        Which part: 2,496 recordings of 133 speakers, 370 of 24, or 694 of 42.
    channels : int
        Of the cochlea: 70 are embedded, any other number is made from ``source``.
    duration : float or None
        Horizon [s]; later spikes are left out. If left out, 1.1 s; recordings last 1 s.
    source : path or None
        Other recordings, or those for another number of channels: the folder of Speech
        Commands' test files, or an HDF5 file (`evsim.datasets.sets.speech_commands`). The
        spikes are made once, and kept in ``$XDG_CACHE_HOME/evsim`` (or ``~/.cache/evsim``).

    Attributes
    ----------
    speaker_names : list of str
        What the numbers in ``speakers`` mean.

    Raises
    ------
    ValueError
        If there is no such split, or other channels are asked for without a source.
    FileError
        If the source is not sound.

    Examples
    --------
    >>> GSC10("train")
    GSC10(2496 recordings of 70 units, 1.1 s, 10 classes)
    >>> GSC10().class_names[:4]
    ['down', 'go', 'left', 'no']
    """

    def __init__(
        self,
        split: str = "all",
        channels: int = EMBEDDED_CHANNELS,
        duration: float | None = None,
        source: str | PathLike[str] | None = None,
    ) -> None:
        if split not in _SPLITS:
            raise ValueError(f"split = {split!r}, must be one of {', '.join(_SPLITS)}")
        path = _spikes_of(channels, source)
        super().__init__(path, duration=duration)
        with InputFile(path) as file:
            self.speaker_names = as_texts(file.root.folder("extra"), "speaker_name")
        if split != "all":
            self._chosen = self.part(split)._chosen


def make_gsc10(
    source: str | PathLike[str],
    output: str | PathLike[str],
    channels: int = EMBEDDED_CHANNELS,
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Send ten words of Speech Commands through the cochlea.

    Parameters
    ----------
    source : path
        See `evsim.datasets.sets.speech_commands.read_speech_commands`.
    output : path
        Packed spike file to write, with labels and
        ``extra/{keys,part,part_name,speaker,speaker_name,take}``.
    channels : int
        Units of the file.
    seed : int
        Recording ``b``, in the order of the source's reader, is encoded with ``(seed, b)``.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    FileError
        If the source is not sound or the file can't be written.
    FileExistsError
        If the file exists and ``overwrite`` is false.
    """
    way = Encoder(channels, FIRST_PLACE, PLACES, EMPHASIS, seed=seed)
    recordings = read_speech_commands(source)
    speakers = sorted({r.speaker for r in recordings})
    number = {speaker: i for i, speaker in enumerate(speakers)}
    extra = {
        "keys": np.array(WORDS, "S"),
        "part": parts_of([r.speaker for r in recordings]).astype(np.uint8),
        "part_name": np.array(PARTS, "S"),
        "speaker": np.array([number[r.speaker] for r in recordings], np.uint16),
        "speaker_name": np.array(speakers, "S"),
        "take": np.array([r.take for r in recordings], np.uint16),
    }
    with NewHdf5(output, overwrite) as new:
        spikes = way.encode([r.sound for r in recordings], "words")
        notes = {**_NOTES, "encoder": str(way)}
        write_encoded(new, spikes, [r.word for r in recordings], extra, notes)


def _spikes_of(channels: int, source: str | PathLike[str] | None) -> Path:
    """Return the spike file for so many channels; make it if it isn't there yet."""
    if channels == EMBEDDED_CHANNELS and source is None:
        return evsim.demo_path(EMBEDDED)
    if source is None:
        raise ValueError(
            f"channels = {channels}: {EMBEDDED_CHANNELS} come with evsim, others are made from the "
            "recordings; give source=, the folder of Speech Commands' test files"
        )
    way = Encoder(channels, FIRST_PLACE, PLACES, EMPHASIS)
    return made_once("gsc10", source, way, lambda path: make_gsc10(source, path, channels))
