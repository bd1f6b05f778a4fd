"""``Summed``: a data set with fewer channels, neighbouring ones taken together."""

from __future__ import annotations

from evsim import Spikes
from evsim.arrays import IntArray

from .dataset import Dataset
from .transforms import sum_channels


class Summed(Dataset):
    """The recordings of a data set, with every ``factor`` neighbouring units as one.

    Parameters
    ----------
    data : Dataset
        Is read when recordings are asked for.
    factor : int
        See `sum_channels`.

    Raises
    ------
    ValueError
        If ``factor`` is not an integer >= 1.

    Examples
    --------
    >>> import evsim
    >>> from evsim.datasets import SpikeFileData
    >>> Summed(SpikeFileData(evsim.demo_path("digits-spikes.h5")), 5)
    Summed(11 recordings of 140 units, 1 s, 20 classes)
    """

    def __init__(self, data: Dataset, factor: int) -> None:
        size = sum_channels(data[:0].spikes(), factor).size
        super().__init__(data.labels, size, data.duration, data.class_names, data.speakers)
        self._data, self._factor = data, factor

    def _read(self, recordings: IntArray) -> Spikes:
        return sum_channels(self._data[recordings].spikes(), self._factor)
