"""``SpokenDigits``: real spoken digits as spikes, embedded in the package.

The recordings of four speakers of the Free Spoken Digit Dataset (`evsim.datasets.sets.fsdd`)
as the spikes of an artificial cochlea (`evsim.datasets.cochlea`), from the place of 4.5 kHz to
its apex; two neighbouring places share a channel. High frequencies are raised first, as is usual
for speech: without that hardly a spike tells of the second formant, and "two" sounds like
"three". 70 channels come with evsim; any other number is made on demand and kept in the user's
cache folder.
"""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path

import numpy as np

import evsim
from evsim.files.hdf5 import InputFile, as_integers, as_texts
from evsim.files.new_hdf5 import NewHdf5

from .encoded_speech import Encoder, Sound, made_once, write_encoded
from .fsdd import SpokenDigit, read_fsdd
from .spike_file_data import SpikeFileData

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
EMBEDDED = "spoken-digits-70.h5"
EMBEDDED_CHANNELS = 70
FIRST_PLACE = 1.0  # best frequency 4.5 kHz: there is nothing above 4 kHz in these recordings [cm]
PLACES = 2  # of the membrane that a channel collects
EMPHASIS = 0.97
TEST_TAKES = 5
_SPLITS = ("train", "test", "all")


class SpokenDigits(SpikeFileData):
    """Spoken English digits, 2,000 recordings of four speakers, 10 classes.

    Parameters
    ----------
    split : {"train", "test", "all"}
        Which part: the set's own (takes 0 to 4 are for testing, 10 %), or that of
        ``held_out``.
    channels : int
        Of the cochlea: 70 are embedded, any other number is made from ``source``.
    held_out : str or None
        A speaker, who is then the whole test part and not in the training part.
    duration : float or None
        Horizon [s]; later spikes are left out. If left out, 2.3 s, longer than any
        recording; nine of ten are shorter than 0.6 s.
    source : path or None
        For another number of channels: the folder of the Free Spoken Digit Dataset, or an
        HDF5 file of its recordings (`evsim.datasets.sets.fsdd`). The spikes are made once, and
        kept in ``$XDG_CACHE_HOME/evsim`` (or ``~/.cache/evsim``).

    Attributes
    ----------
    speaker_names : list of str
        What the numbers in ``speakers`` mean.

    Raises
    ------
    ValueError
        If there is no such split or speaker, or other channels are asked for without a
        source.
    FileError
        If the source is not sound.

    Examples
    --------
    >>> SpokenDigits("train")
    SpokenDigits(1800 recordings of 70 units, 2.3 s, 10 classes)
    >>> len(SpokenDigits("test", held_out="theo"))
    500
    """

    def __init__(
        self,
        split: str = "all",
        channels: int = EMBEDDED_CHANNELS,
        held_out: str | None = None,
        duration: float | None = None,
        source: str | PathLike[str] | None = None,
    ) -> None:
        if split not in _SPLITS:
            raise ValueError(f"split = {split!r}, must be one of {', '.join(_SPLITS)}")
        path = _spikes_of(channels, source)
        super().__init__(path, duration=duration)
        with InputFile(path) as file:
            extra = file.root.folder("extra")
            self.speaker_names = as_texts(extra, "speaker_name")
            takes, speakers = as_integers(extra, "take"), as_integers(extra, "speaker")
        if held_out is None:
            testing = takes < TEST_TAKES
        elif held_out in self.speaker_names:
            testing = speakers == self.speaker_names.index(held_out)
        else:
            known = ", ".join(self.speaker_names)
            raise ValueError(f"held_out = {held_out!r}, must be one of {known}")
        if split != "all":
            self._chosen = np.flatnonzero(testing == (split == "test"))


def make_spoken_digits(
    source: str | PathLike[str],
    output: str | PathLike[str],
    channels: int = EMBEDDED_CHANNELS,
    constants: str = "article",
    seed: int = 0,
    overwrite: bool = False,
    first_place: float = FIRST_PLACE,
    places: int = PLACES,
    emphasis: float = EMPHASIS,
) -> None:
    """Send the recordings of the Free Spoken Digit Dataset through the cochlea.

    Parameters
    ----------
    source : path
        See `evsim.datasets.sets.fsdd.read_fsdd`.
    output : path
        Packed spike file to write, with labels and ``extra/{keys,speaker,speaker_name,take}``.
    channels : int
        Units of the file.
    constants : str
        See `Cochlea`.
    seed : int
        Recording ``b``, in the order of `read_fsdd`, is encoded with ``(seed, b)``.
    overwrite : bool
        Whether an existing file may be replaced.
    first_place : float
        See `Cochlea`; 0 is the whole cochlea, as in SHD.
    places : int
        Of the cochlea that share a channel (`sum_channels`).
    emphasis : float
        Of high frequencies before the cochlea (`evsim.datasets.cochlea.audio.emphasised`); 0 is
        none, as in SHD.

    Raises
    ------
    FileError
        If the source is not sound or the file can't be written.
    FileExistsError
        If the file exists and ``overwrite`` is false.
    """
    way = Encoder(channels, first_place, places, emphasis, constants, seed)
    recordings = list(read_fsdd(source))
    sounds = [_sound(source, recording) for recording in recordings]
    speakers = sorted({recording.speaker for recording in recordings})
    extra = {
        "keys": np.array(WORDS, "S"),
        "speaker": np.array([speakers.index(r.speaker) for r in recordings], np.uint8),
        "speaker_name": np.array(speakers, "S"),
        "take": np.array([r.take for r in recordings], np.uint8),
    }
    notes = {
        "source": "Free Spoken Digit Dataset, github.com/Jakobovski",
        "licence": "CC BY-SA 4.0",
        "encoder": str(way),
    }
    with NewHdf5(output, overwrite) as new:
        spikes = way.encode(sounds, "digits")
        write_encoded(new, spikes, [r.digit for r in recordings], extra, notes)


def _sound(source: str | PathLike[str], recording: SpokenDigit) -> Sound:
    audio, rate, digit, speaker, take = recording
    return Sound(f"{fspath(source)}: {speaker}, {digit}, take {take}", lambda: (audio, rate))


def _spikes_of(channels: int, source: str | PathLike[str] | None) -> Path:
    """Return the spike file for so many channels; make it if it isn't there yet."""
    if channels == EMBEDDED_CHANNELS and source is None:
        return evsim.demo_path(EMBEDDED)
    if source is None:
        raise ValueError(
            f"channels = {channels}: {EMBEDDED_CHANNELS} come with evsim, others are made from the "
            "recordings; give source=, the folder of the Free Spoken Digit Dataset"
        )
    way = Encoder(channels, FIRST_PLACE, PLACES, EMPHASIS)
    return made_once(
        "spoken-digits", source, way, lambda path: make_spoken_digits(source, path, channels)
    )
