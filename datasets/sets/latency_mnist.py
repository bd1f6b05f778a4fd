"""MNIST as spike times: the darker the ink, the earlier its pixel spikes."""

from __future__ import annotations

from os import PathLike

import numpy as np

from evsim import Spikes
from evsim.arrays import IntArray

from .mnist import MNIST, SIDE


class LatencyMNIST(MNIST):
    """Images of digits, each pixel a unit that spikes once or never.

    Unit 28 y + x is the pixel in row y and column x. A pixel of value p > ``threshold``
    spikes at (1 - p / 255) t_max; others never do.

    Parameters
    ----------
    folder : path
        Where MNIST is; see `mnist_images`.
    split : {"train", "test"}
        Which part: 60,000 or 10,000 images.
    t_max : float
        When the palest ink would spike [s].
    threshold : int
        Largest value that counts as background.
    duration : float or None
        Horizon [s]. If left out, twice ``t_max``.
    download : bool
        Whether tonic (``evsim[download]``) may fetch the files into ``folder``.

    Raises
    ------
    FileError
        If a file is missing or not sound; that of the images, when the first is asked for.
    ValueError
        If there is no such split, ``threshold`` is not from 0 to 255, or not
        0 < t_max <= duration.

    Notes
    -----
    The coding and defaults are those of Wunderlich and Pehle (Sci. Rep. 11, 12829, 2021),
    who followed the network until it was silent. With their network and first weights,
    tau_mem 20 ms and tau_syn 5 ms, all readout voltages peak before the default horizon of
    40 ms (the latest of 3000 at 35 ms; 1.5 % of them after 30 ms).
    MNIST has no validation part: cut one off the training part, as in ``train[:5000]`` and
    ``train[5000:]``, or by ``train.split(1 / 12)``.

    Examples
    --------
    >>> data = LatencyMNIST("mnist/", "test")             # doctest: +SKIP
    >>> spikes, label = data[0]                           # doctest: +SKIP
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        split: str = "train",
        t_max: float = 20e-3,
        threshold: int = 1,
        duration: float | None = None,
        download: bool = False,
    ) -> None:
        duration = 2 * t_max if duration is None else duration
        if not 0 < t_max <= duration < np.inf:
            raise ValueError(
                f"t_max = {t_max}, duration = {duration}; must be 0 < t_max <= duration [s]"
            )
        if not 0 <= threshold <= 255:
            raise ValueError(f"threshold = {threshold}, must be a grey value, 0 to 255")
        self._t_max, self._threshold = t_max, threshold
        super().__init__(folder, split, download, SIDE * SIDE, duration)
        self.sensor = (1, SIDE, SIDE)

    def _read(self, recordings: IntArray) -> Spikes:
        pixels = self._images(recordings).reshape(len(recordings), self.size)
        image, unit = np.nonzero(pixels > self._threshold)
        value = pixels[image, unit]
        # One sort of integers puts the spikes in order of image, time and unit.
        order = np.argsort((image * 256 + 255 - value) * self.size + unit)
        return Spikes(
            (1 - value[order] / 255) * self._t_max,
            unit[order],
            np.searchsorted(image, np.arange(len(recordings) + 1)),
            self.size,
            self.duration,
        )
