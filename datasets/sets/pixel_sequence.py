"""What MNIST as a sequence of pixels shares, whatever becomes a spike: their order and times."""

from __future__ import annotations

from os import PathLike

import numpy as np
import numpy.typing as npt

from evsim.arrays import IntArray

from ..transform_steps import whole_number
from .mnist import MNIST, SIDE

STEPS = SIDE * SIDE


class PixelSequence(MNIST):
    """Images of digits, one pixel after the other; the k-th comes at k dt.

    Parameters
    ----------
    folder, split, download
        As for `mnist_images`.
    permuted : bool
        Whether the pixels come in a random order, the same for all images and both parts.
    seed : int
        Of that order.
    size : int
        Units of a recording.
    dt : float
        Time of a pixel [s].
    more : int
        Steps after the image.

    Attributes
    ----------
    order : int64 array [784]
        The pixel that comes k-th, 28 y + x.
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        split: str,
        download: bool,
        permuted: bool,
        seed: int,
        size: int,
        dt: float,
        more: int = 0,
    ) -> None:
        if not 0 < dt < np.inf:
            raise ValueError(f"dt = {dt}, must be positive [s]")
        self._dt = dt
        self.order: IntArray = np.arange(STEPS)
        if permuted:
            self.order = np.random.default_rng(whole_number("seed", seed, 0, None)).permutation(
                STEPS
            )
        super().__init__(folder, split, download, size, (STEPS + more) * dt)

    def _sequences(self, recordings: IntArray) -> npt.NDArray[np.uint8]:
        """Return the grey values of images, [recording, 784], in their order."""
        return self._images(recordings).reshape(len(recordings), STEPS)[:, self.order]
