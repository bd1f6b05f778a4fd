"""Sound files and sampling rates: what comes in is one channel of float64 samples."""

from __future__ import annotations

import math
import os
import struct
from os import PathLike

import numpy as np
import numpy.typing as npt

from evsim.arrays import FloatArray
from evsim.budget import NUMBER, Budget
from evsim.files.hdf5 import FileError, open_regular, reason

TARGET = 48_000  # rate of the cochlea [Hz]
LOWEST_RATE, HIGHEST_RATE = 1_000, 1_000_000  # [Hz]
_SAMPLES = 1 << 20  # read at a time: what a header says about lengths is not trusted
SHARE = 3072  # bytes of memory for a byte of sound: speech at 8 kHz takes 8 kB a second
SECOND = 24_000_000  # bytes of a second of sound on its way through the cochlea
_TAP = 48  # bytes of a tap of the filter between two rates, while it is made
_ENDLESS = 1 << 62  # what libsndfile tells of a FLAC file whose header tells nothing
_UNKNOWN = 0x7FFFF000  # programs that write to a pipe give such a length


def read_audio(path: str | PathLike[str]) -> tuple[FloatArray, int]:
    """Read a WAV or FLAC file.

    Parameters
    ----------
    path : path
        Of the file.

    Returns
    -------
    audio : float64 array [sample]
        In [-1, 1]; several channels are averaged.
    rate : int
        Samples per second [Hz].

    Raises
    ------
    FileError
        If there is no such file, or it is no sound file, damaged, or cut off.
    ModuleNotFoundError
        If soundfile is not installed.
    """
    soundfile = _soundfile()
    name = os.fspath(path)
    try:
        with open_regular(name) as file:
            n_bytes = os.fstat(file.fileno()).st_size
            _check_length(name, file.read(12), n_bytes)
            file.seek(0)
            with soundfile.SoundFile(file) as sound:
                budget, rate = Budget(n_bytes, SHARE), sound.samplerate
                if sound.format == "FLAC" and sound.frames < _ENDLESS:
                    _draw(budget, name, sound.frames, rate)
                parts: list[FloatArray] = []
                size = max(1, _SAMPLES // sound.channels)
                while len(part := sound.read(size, dtype="float64", always_2d=True)):
                    parts.append(part.mean(axis=1))
                    _draw(budget, name, sum(map(len, parts)), rate)
                audio = np.concatenate(parts) if parts else np.empty(0)
                if sound.format == "FLAC" and len(audio) != sound.frames:
                    raise FileError(f"{name}: ends after {len(audio)} of {sound.frames} samples")
                return audio, int(sound.samplerate)
    except FileError:
        raise
    except (OSError, ValueError) as error:
        raise FileError(f"{name}: can't be read: {reason(error)}") from error
    except soundfile.SoundFileError as error:
        what = str(error).rsplit(": ", 1)[-1]
        raise FileError(f"{name}: is not a sound WAV or FLAC file: {what}") from error


def _draw(budget: Budget, name: str, n_samples: int, rate: int) -> None:
    """Refuse a sound that is longer than a file of its size may be."""
    seconds = n_samples / max(rate, 1)
    what = f"{n_samples:,} samples, {seconds:.3g} s of sound on its way to spikes"
    taps = 20 * max(rate, TARGET) // math.gcd(rate, TARGET)  # as scipy's resample_poly has them
    n_bytes = n_samples * NUMBER + seconds * SECOND + (rate != TARGET) * taps * _TAP
    budget.lend(n_bytes, name, what)


def emphasised(audio: npt.ArrayLike, coefficient: float) -> FloatArray:
    """Raise high frequencies by up to 6 dB an octave: y[n] = x[n] - coefficient x[n - 1].

    Parameters
    ----------
    audio : float or int16 array [sample]
        Mono.
    coefficient : float
        0 changes nothing, 1 is the difference; 0.95 to 0.97 is usual for speech, whose
        higher formants are weak.

    Returns
    -------
    float64 array [sample]
        As many samples.

    Raises
    ------
    ValueError
        If ``coefficient`` is not in [0, 1].
    """
    if not 0 <= coefficient <= 1:
        raise ValueError(f"coefficient = {coefficient}, must be from 0 to 1")
    audio = np.asarray(audio, np.float64)
    return audio - coefficient * np.concatenate([[0.0], audio[:-1]])


def resampled(audio: npt.ArrayLike, rate: float, target: int) -> FloatArray:
    """Bring a sound to another sampling rate.

    Parameters
    ----------
    audio : float or int16 array [sample]
        Mono; int16 is scaled to [-1, 1).
    rate, target : float, int
        Old and new number of samples per second [Hz].

    Returns
    -------
    float64 array [sample]
        Through a polyphase filter, unless the rates are equal.

    Raises
    ------
    ValueError
        If the audio is empty, not finite or not mono, or the rate is not a whole number
        from 1 kHz to 1 MHz.

    Examples
    --------
    >>> len(resampled(np.ones(800), 8000, 48000))
    4800
    """
    samples = _samples(audio)
    if not LOWEST_RATE <= rate <= HIGHEST_RATE or rate != int(rate):
        raise ValueError(
            f"rate = {rate}, must be a whole number from {LOWEST_RATE} to {HIGHEST_RATE} [Hz]"
        )
    if rate == target:
        return samples
    from scipy.signal import resample_poly

    common = math.gcd(int(rate), target)
    return np.asarray(resample_poly(samples, target // common, int(rate) // common))


def _samples(audio: npt.ArrayLike) -> FloatArray:
    array = np.asarray(audio)
    if array.ndim != 1:
        raise ValueError(f"audio: has shape {array.shape}; must be mono, [sample]")
    if not len(array):
        raise ValueError("audio: is empty")
    if array.dtype == np.int16:
        return array / 32768.0
    if array.dtype.kind != "f":
        raise ValueError(f"audio: is of type {array.dtype}; must be float or int16")
    wrong = np.flatnonzero(~np.isfinite(array))
    if len(wrong):
        raise ValueError(f"audio: sample {wrong[0]} is {array[wrong[0]]}; must be finite")
    return array.astype(np.float64)


def _check_length(name: str, head: bytes, size: int) -> None:
    """Refuse a WAV file that is shorter than it says: libsndfile reads on in silence."""
    if len(head) == 12 and head[:4] == b"RIFF" and head[8:] == b"WAVE":
        told = struct.unpack("<I", head[4:8])[0]
        if size < told + 8 and 0 < told < _UNKNOWN:
            raise FileError(f"{name}: ends after {size} of {told + 8} bytes")


def _soundfile():  # type: ignore[no-untyped-def]
    try:
        import soundfile
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "reading sound files needs soundfile; install it with: pip install evsim[audio]"
        ) from error
    return soundfile
