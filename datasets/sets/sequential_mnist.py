"""MNIST as a sequence of pixels, in order or permuted (psMNIST), coded as spikes.

The coding of Bellec, Salaj, Subramoney, Legenstein and Maass, NeurIPS 2018 (arXiv
1803.09574): spikes say when the grey value crosses one of many thresholds.
"""

from __future__ import annotations

from os import PathLike

import numpy as np
import numpy.typing as npt

from evsim import Spikes
from evsim.arrays import IntArray

from .pixel_sequence import STEPS, PixelSequence


class SequentialMNIST(PixelSequence):
    """Images of digits, one pixel after the other.

    The k-th pixel comes at k dt. Of 2 n units, with the thresholds 255 j / (n - 1),

    - unit 2 j spikes where a pixel reaches threshold j and the one before it did not,
    - unit 2 j + 1 where it does not reach it and the one before it did, j = 0 to n - 2;
    - unit 2 n - 2 spikes at every pixel of 255, the last threshold;
    - unit 2 n - 1 is the cue to answer: it spikes in each of ``cue`` steps after the image.

    No pixel is below threshold 0, so units 0 and 1 are silent: kept for the published
    count, 80 units.

    Parameters
    ----------
    folder : path
        Where MNIST is; see `mnist_images`.
    split : {"train", "test"}
        Which part: 60,000 or 10,000 images.
    permuted : bool
        Whether the pixels come in a random order, the same for all images and both parts.
    seed : int
        Of that order.
    n_thresholds : int
        n, at least 2.
    dt : float
        Time of a pixel [s].
    cue : int
        Steps after the image, at least 0.
    download : bool
        Whether tonic (``evsim[download]``) may fetch the files into ``folder``.

    Attributes
    ----------
    order : int64 array [784]
        The pixel that comes k-th, 28 y + x.

    Raises
    ------
    FileError
        If a file is missing or not sound; that of the images, when the first is asked for.
    ValueError
        If there is no such split, or a number is out of range.

    Notes
    -----
    The released program puts a crossing at the step of the pixel before it, here it is at
    that of the pixel that crosses: nothing is known ahead of its time. Thresholds are
    compared in whole numbers. Where no spikes but grey values are fed, as in most work with
    surrogate gradients, use `grey_values`.

    Examples
    --------
    >>> data = SequentialMNIST("mnist/", "test", seed=0)  # doctest: +SKIP
    >>> data[:64].grey_values().shape                     # doctest: +SKIP
    (784, 64, 1)
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        split: str = "train",
        permuted: bool = True,
        seed: int = 0,
        n_thresholds: int = 40,
        dt: float = 1e-3,
        cue: int = 56,
        download: bool = False,
    ) -> None:
        if not 2 <= n_thresholds <= 256:
            raise ValueError(f"n_thresholds = {n_thresholds}, must be from 2 to 256")
        if cue < 0:
            raise ValueError(f"cue = {cue}, must not be negative")
        self._n_thresholds, self._cue = n_thresholds, cue
        super().__init__(folder, split, download, permuted, seed, 2 * n_thresholds, dt, cue)

    def grey_values(self) -> npt.NDArray[np.float32]:
        """Return what the spikes code: the pixels of every image in their order.

        Returns
        -------
        float32 array [784, recording, 1]
            From 0 to 1; without the steps of the cue.
        """
        sequences = self._sequences(self._chosen).astype(np.float32) / np.float32(255)
        return np.ascontiguousarray(sequences.T)[:, :, np.newaxis]

    def _read(self, recordings: IntArray) -> Spikes:
        last = self._n_thresholds - 1
        values = self._sequences(recordings).astype(np.int64)
        # Thresholds reached besides threshold 0; the last one has no crossings.
        row, step, threshold, falling = _crossings(np.minimum(values * last // 255, last - 1))
        crossing = (row, step, 2 * threshold + falling)
        white_row, white_step = np.nonzero(values == 255)
        white = (white_row, white_step, np.full(len(white_row), self.size - 2))
        cue_row, cue_step = np.indices((len(values), self._cue)).reshape(2, -1)
        cue = (cue_row, STEPS + cue_step, np.full(len(cue_row), self.size - 1))
        parts = zip(crossing, white, cue, strict=True)
        return self._sorted(len(values), *(np.concatenate(part) for part in parts))

    def _sorted(self, n: int, row: IntArray, step: IntArray, unit: IntArray) -> Spikes:
        """Make spikes of rows, steps and units by one sort of whole numbers."""
        steps = STEPS + self._cue
        keys = np.sort((row * steps + step) * self.size + unit, kind="stable")  # it merges runs
        row_and_step, unit = np.divmod(keys, self.size)
        row, step = np.divmod(row_and_step, steps)
        offsets = np.searchsorted(row, np.arange(n + 1))
        return Spikes(step.astype(np.float64) * self._dt, unit, offsets, self.size, self.duration)


def _crossings(levels: IntArray) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Find the thresholds that sequences cross, [row, step] being the thresholds reached.

    Returns the row, the step, the threshold and whether it was crossed downwards.
    """
    before, after = levels[:, :-1], levels[:, 1:]
    row, step = np.nonzero(before != after)
    before, after = before[row, step], after[row, step]
    n = np.abs(after - before)
    first = np.minimum(before, after) + 1
    within = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    falling = (after < before).astype(np.int64)
    return (
        np.repeat(row, n),
        np.repeat(step + 1, n),
        np.repeat(first, n) + within,
        np.repeat(falling, n),
    )
