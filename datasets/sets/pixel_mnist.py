"""MNIST as a sequence of pixels in bits: one spike for each bit of a grey value."""

from __future__ import annotations

from os import PathLike

import numpy as np

from evsim import Spikes
from evsim.arrays import FloatArray, IntArray

from .pixel_sequence import PixelSequence

_BITS = 8
_WHITE = 2**_BITS - 1


class PixelMNIST(PixelSequence):
    """Images of digits, one pixel after the other, whose grey values lose nothing as spikes.

    The k-th pixel comes at k dt; unit j spikes there if bit j of its grey value is 1. So the sum
    of ``worth`` over the units that spike is the grey value, from 0 to 1, which networks on a
    grid are given in most work with surrogate gradients. Units with delta synapses whose weights
    are w ``worth`` take w times the value.

    Parameters
    ----------
    folder : path
        Where MNIST is; see `mnist_images`.
    split : {"train", "test"}
        Which part: 60,000 or 10,000 images.
    permuted : bool
        Whether the pixels come in a random order, the same for all images and both parts
        (permuted sequential MNIST).
    seed : int
        Of that order.
    dt : float
        Time of a pixel [s].
    download : bool
        Whether tonic (``evsim[download]``) may fetch the files into ``folder``.

    Attributes
    ----------
    order : int64 array [784]
        The pixel that comes k-th, 28 y + x.
    worth : float array [8]
        What a spike of each unit adds to the grey value, 2^j / 255.

    Raises
    ------
    FileError
        If a file is missing or not sound; that of the images, when the first is asked for.
    ValueError
        If there is no such split, or ``dt`` is not positive.

    Examples
    --------
    >>> data = PixelMNIST("mnist/", "test")               # doctest: +SKIP
    >>> data.size, data.duration                          # doctest: +SKIP
    (8, 0.784)
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        split: str = "train",
        permuted: bool = True,
        seed: int = 0,
        dt: float = 1e-3,
        download: bool = False,
    ) -> None:
        self.worth: FloatArray = 2.0 ** np.arange(_BITS) / _WHITE
        super().__init__(folder, split, download, permuted, seed, _BITS, dt)

    def _read(self, recordings: IntArray) -> Spikes:
        values = self._sequences(recordings)
        bits = np.unpackbits(values[:, :, np.newaxis], axis=2, bitorder="little")
        row, step, unit = np.nonzero(bits)
        offsets = np.searchsorted(row, np.arange(len(values) + 1))
        times = (step * self._dt).astype(np.float64)
        return Spikes(times, unit, offsets, self.size, self.duration)
