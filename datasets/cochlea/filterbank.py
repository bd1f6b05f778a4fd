"""The membrane as a filter bank: the velocity of every place while a sound is played.

The definition is an inverse Fourier transform of gain times spectrum, for every place and
at as many points as the sound has bins. Taken literally that is slow: gains are Hankel
functions, and the number of points may be a prime. So gains are tabulated once, on a
logarithmic scale of frequency; and each wave, a trigonometric polynomial, is evaluated by
a fast transform on a somewhat finer grid, then at the points themselves by a short window
(the non-uniform transform of Barnett, Magland and af Klinteberg, SIAM J. Sci. Comput. 41
(2019) C479, with the window of Kaiser and Bessel, whose transform has a closed form).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from evsim.arrays import FloatArray

from .audio import TARGET
from .membrane import places, velocity_gain

RATE = TARGET  # of the sound; waves have half of it [Hz]
TOP = RATE // 2  # highest frequency of the gains [Hz]

_LOG_STEP = 0.006  # between rows of the table: the interpolation is good to 1e-8
_NEGLIGIBLE = 1e-8  # of a place's largest gain; also what a rounding error of floats may do
_FINER = 1.5  # the grid of a wave, in points per period of its highest frequency, halved


class Wave(NamedTuple):
    """A block of waves on their common grid.

    Attributes
    ----------
    grid : float32 array [row * lane]
        One period of the waves, convolved with the window.
    ratio : float
        Rows of the grid a step.
    """

    grid: npt.NDArray[np.float32]
    ratio: float


class FilterBank:
    """The membrane at equally spaced places.

    Parameters
    ----------
    channels : int
        Number of places.
    first_place : float
        Of the first channel, from the base [cm].
    """

    def __init__(self, channels: int, first_place: float = 0.0) -> None:
        self.channels = channels
        self._tables = _tables(channels, first_place)

    def __len__(self) -> int:
        """Return the number of blocks."""
        return len(self._tables)

    def waves(self, sound: FloatArray) -> Iterator[Wave]:
        """Yield the velocities, a block of units after the other, the base first.

        Parameters
        ----------
        sound : float64 array [sample]
            At 48 kHz.
        """
        import scipy.fft

        from . import _filterbank as kernels

        spectrum = scipy.fft.rfft(sound).astype(np.complex64)
        n_steps = len(spectrum)
        first = np.empty(n_steps, np.int64)
        weights = np.empty((n_steps, kernels.TAPS), np.float32)
        kernels.bin_weights(n_steps, float(TOP), _LOG_STEP, first, weights)
        low, high = np.zeros((2, 2 * kernels.LANES), np.float32)
        room = np.empty(0, np.float32)  # for the bins; the first block has most
        for table in self._tables:
            last = len(table) // (2 * kernels.LANES) - kernels.TAPS
            n_bins = min(int(np.searchsorted(first, last, "right")), n_steps // 2 + 1)
            n_rows = scipy.fft.next_fast_len(
                max(math.ceil(2 * _FINER * n_bins), 2 * kernels.WIDTH), real=True
            )
            # irfft divides by n_rows and counts every bin but 0 twice
            scale = n_rows / (2 * n_steps) / window_transform(np.arange(n_bins) / n_rows)
            scale[0] *= 2
            if not len(room):
                room = np.empty((n_rows // 2 + 1) * 2 * kernels.LANES, np.float32)
            bins = room[: (n_rows // 2 + 1) * 2 * kernels.LANES]
            bins[n_bins * 2 * kernels.LANES :] = 0
            kernels.fold_spectrum(
                table, first, weights, spectrum, scale.astype(np.float32), low, high, bins
            )
            rows = bins.view(np.complex64).reshape(-1, kernels.LANES)
            grid = scipy.fft.irfft(rows, n_rows, axis=0, overwrite_x=True)
            yield Wave(grid.ravel(), n_rows / n_steps)

    def velocity(self, sound: FloatArray) -> FloatArray:
        """Return the velocities of all places, float64 [unit, step]."""
        from . import _filterbank as kernels

        n_steps = len(sound) // 2 + 1
        velocity = np.empty((len(self) * kernels.LANES, n_steps))
        block = np.empty((n_steps, kernels.LANES))
        for b, wave in enumerate(self.waves(sound)):
            kernels.resample(wave.grid, wave.ratio, 0, *resampling_buffers(), block)
            velocity[b * kernels.LANES : (b + 1) * kernels.LANES] = block.T
        return velocity[: self.channels]


def window(distance: npt.ArrayLike) -> FloatArray:
    """Return I0(s sqrt(1 - (2 z / width)^2)) / e^s at distance z from a point of the grid."""
    from scipy.special import i0e

    width, shape = _window_shape()
    inside = np.sqrt(np.maximum(1 - (2 * np.asarray(distance) / width) ** 2, 0))
    values = i0e(shape * inside) * np.exp(shape * (inside - 1))
    return np.where(np.abs(distance) <= width / 2, values, 0.0)


def window_transform(frequency: npt.ArrayLike) -> FloatArray:
    """Return the Fourier transform of `window`, at periods per point of the grid."""
    width, shape = _window_shape()
    root = np.sqrt(shape**2 - (np.pi * width * np.asarray(frequency)) ** 2)
    return width * (np.exp(root - shape) - np.exp(-root - shape)) / (2 * root)


def resampling_buffers() -> tuple[npt.NDArray[np.float32], ...]:
    """Return the table of windows and the scratch arrays of the kernel `resample`."""
    from ._filterbank import LANES, WIDTH

    scratch = [np.empty(n, np.float32) for n in (4, WIDTH, WIDTH * LANES)]
    return _window_table(), *scratch


def _window_shape() -> tuple[int, float]:
    """Return the width and the shape that errs least for waves on a finer grid."""
    from ._filterbank import WIDTH

    return WIDTH, np.pi * WIDTH * (1 - 1 / (2 * _FINER))


@lru_cache(maxsize=1)
def _window_table() -> npt.NDArray[np.float32]:
    """Return windows around points -1/FINE, 0, 1/FINE, ... 1 + 2/FINE after a row."""
    from ._filterbank import FINE, WIDTH

    after = (np.arange(FINE + 4) - 1) / FINE
    rows = np.arange(WIDTH) - (WIDTH // 2 - 1)
    return window(after[:, None] - rows).astype(np.float32).ravel()


@lru_cache(maxsize=4)
def _tables(channels: int, first_place: float) -> tuple[npt.NDArray[np.float32], ...]:
    """Return for each block the gains [row, (real, imaginary), lane], as far as they matter.

    The highest frequencies that matter are those of the block's first unit. The last
    block is filled up with copies of the last unit.
    """
    from ._filterbank import LANES, TAPS

    n_rows = math.ceil(math.log(TOP) / _LOG_STEP) + TAPS
    frequency = np.exp((np.arange(n_rows) - (TAPS // 2 - 1)) * _LOG_STEP)
    where = places(channels, first_place)
    tables: list[Any] = []
    for b in range(0, channels, LANES):
        units = np.minimum(np.arange(b, b + LANES), channels - 1)
        size = np.abs(velocity_gain(frequency, where[b]))
        matters = int(np.flatnonzero(size > _NEGLIGIBLE * size.max())[-1]) + TAPS
        gain = velocity_gain(frequency[:matters, None], where[units])
        tables.append(np.concatenate([gain.real, gain.imag], axis=1).astype(np.float32).ravel())
    return tuple(tables)
