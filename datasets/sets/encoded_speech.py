"""From recordings of words to spike files, which are made once: for `SpokenDigits` and `GSC10`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

import evsim
from evsim import FileError, Spikes
from evsim.arrays import FloatArray
from evsim.files.new_hdf5 import NewHdf5
from evsim.files.new_spike_files import write_packed
from evsim.terminal import on_terminal

from ..cochlea.audio import emphasised
from ..cochlea.cochlea import STEPS_PER_SECOND, Cochlea
from ..transforms import sum_channels


class Sound(NamedTuple):
    """A recording that is read when it is wanted.

    Attributes
    ----------
    where : str
        For messages.
    read : callable
        Returns samples (int16, or floats in [-1, 1]) and how many there are in a second.
    """

    where: str
    read: Callable[[], tuple[npt.NDArray[np.int16] | FloatArray, int]]


class Encoder(NamedTuple):
    """How sounds become spikes.

    Attributes
    ----------
    channels : int
        Units of a recording.
    first_place : float
        Of the first channel, see `Cochlea` [cm].
    places : int
        Of the cochlea that share a channel (`sum_channels`).
    emphasis : float
        Of high frequencies before the cochlea (`evsim.datasets.cochlea.audio.emphasised`).
    constants : str
        See `Cochlea`.
    seed : int
        Recording ``b`` is encoded with ``(seed, b)``.
    """

    channels: int
    first_place: float
    places: int
    emphasis: float
    constants: str = "article"
    seed: int = 0

    def __str__(self) -> str:
        """Return what files say of it."""
        return (
            f"evsim {evsim.__version__} cochlea, {self.channels} x {self.places} places from "
            f"{self.first_place:g} cm, {self.constants} constants, emphasis {self.emphasis:g}, "
            f"seed {self.seed}"
        )

    def encode(self, sounds: Sequence[Sound], unit: str) -> Spikes:
        """Send sounds through the cochlea, on all cores; a bar counts them in ``unit``."""
        cochlea = Cochlea(self.channels * self.places, self.constants, first_place=self.first_place)

        def one(b: int) -> Spikes:
            audio, rate = sounds[b].read()
            try:
                spikes = cochlea.encode(emphasised(audio, self.emphasis), rate, (self.seed, b))
            except ValueError as error:
                raise FileError(f"{sounds[b].where}: {error}") from error
            return sum_channels(spikes, self.places)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            spikes = pool.map(one, range(len(sounds)))
            hidden = not on_terminal()
            bar = tqdm(spikes, "cochlea", len(sounds), unit=f" {unit}", disable=hidden)
            try:
                return evsim.concatenate(list(bar))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def write_encoded(
    new: NewHdf5,
    spikes: Spikes,
    labels: npt.ArrayLike,
    extra: Mapping[str, npt.ArrayLike],
    notes: Mapping[str, str],
) -> None:
    """Write encoded recordings and what is known of them; times are steps of the cochlea.

    Parameters
    ----------
    new : NewHdf5
        File to write.
    spikes : Spikes
        Its horizon is that of the file after rounding up to a multiple of 0.1 s.
    labels : int array [recording]
        Of the words that ``extra/keys`` names.
    extra : dict of arrays
        For the group ``/extra``.
    notes : dict of str
        Attributes of the file.
    """
    with new.writing():
        file = new.h5
        file.attrs["size"] = spikes.size
        file.attrs["duration"] = float(np.ceil(10 * spikes.duration) / 10)
        write_packed(file.create_group("spikes"), spikes, STEPS_PER_SECOND)
        file["labels"] = np.asarray(labels, np.uint8)
        for name, values in extra.items():
            file[f"extra/{name}"] = values
        file.attrs.update(notes)


def made_once(
    name: str, source: str | PathLike[str], way: Encoder, make: Callable[[Path], None]
) -> Path:
    """Return a spike file in the user's cache folder; make it if it isn't there yet.

    Parameters
    ----------
    name : str
        Of the data set.
    source : path
        Of the recordings; told from others by names and sizes of its files.
    way : Encoder
        Another one makes another file.
    make : callable
        Given the path of the file to make.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evsim"
    path = cache / f"{name}-{way.channels}-{_digest(Path(source), way)}.h5"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        make(path)
    return path


def _digest(source: Path, way: Encoder) -> str:
    files = sorted(source.rglob("*.wav")) if source.is_dir() else [source]
    listed = "\n".join(
        f"{path.relative_to(source)} {path.stat().st_size}" for path in files if path.is_file()
    )
    return hashlib.sha256(f"{way}\n{listed}".encode()).hexdigest()[:12]
