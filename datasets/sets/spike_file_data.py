"""``SpikeFileData``: a data set that is one spike file, read recording by recording.

What SHD, SSC, spoken digits and a user's own labelled spike files have in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from typing import Self

import numpy as np

from evsim import FileError, SpikeFile, Spikes
from evsim.arrays import IntArray
from evsim.files.hdf5 import InputFile, as_integers
from evsim.files.kinds import class_names
from evsim.files.stored_parts import PARTS, stored_parts

from ..dataset import Dataset, numbered
from ..published import PerProcess


class SpikeFileData(Dataset):
    """The labelled recordings of a spike file.

    Recordings are read when they are asked for; the file stays open.

    Parameters
    ----------
    path : path
        Of a file in SHD, packed or SONATA layout, with ``/labels``. Names of classes are
        taken from ``/extra/keys``, speakers from ``/extra/speaker`` and the part that a
        recording is in from ``/extra/part`` (`evsim.files.stored_parts`), if they are there.
    size : int or None
        Number of units. If left out, what the file says, else the largest unit + 1.
    duration : float or None
        Horizon [s]; later spikes are left out. If left out, what the file says, else the
        smallest multiple of 0.1 s after the last spike of the whole file.
    names : sequence of str or None
        Of the classes, in place of the file's own.

    Raises
    ------
    FileError
        If the file is not a sound spike file, or has no labels, or a recording is in no part.

    Examples
    --------
    >>> import evsim
    >>> data = SpikeFileData(evsim.demo_path("digits-spikes.h5"))
    >>> data
    SpikeFileData(11 recordings of 700 units, 1 s, 20 classes)
    >>> spikes, label = data[5]
    >>> data.class_names[label]
    'five'
    """

    def __init__(
        self,
        path: str | PathLike[str],
        size: int | None = None,
        duration: float | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self._file = PerProcess(SpikeFile, fspath(path))
        file = self._file.get()
        if file.labels is None:
            raise FileError(f"{file.path}: /labels: is missing; a data set needs one per recording")
        size, duration = file.extent(size, duration)
        if names is None:
            labels = f"{file.path}: /labels"
            names = class_names(path) or numbered(file.labels, file.budget, labels)
        speakers = _speakers(file.path, len(file))
        try:
            super().__init__(file.labels, size, duration, names, speakers)
        except ValueError as error:
            raise FileError(f"{file.path}: {error}") from error
        self._parts = stored_parts(file.path, len(file))

    @property
    def parts(self) -> IntArray | None:
        """Part of each recording, int64 [recording]: 0 to train, 1 to validate, 2 to test.

        None if the file does not say.
        """
        return None if self._parts is None else self._parts[self._chosen]

    def part(self, name: str) -> Self:
        """Return the recordings of a part that the file tells.

        Parameters
        ----------
        name : {"train", "validation", "test"}
            Of the part.

        Returns
        -------
        data set
            In the order of this one; empty if no recording is in that part.

        Raises
        ------
        ValueError
            If there is no such part, or the file does not say who is in which.
        """
        if name not in PARTS:
            raise ValueError(f"part = {name!r}, must be one of {', '.join(PARTS)}")
        if self.parts is None:
            raise ValueError(f"{self._file.get().path}: has no /extra/part; use split")
        return self[np.flatnonzero(self.parts == PARTS.index(name))]

    def _read(self, recordings: IntArray) -> Spikes:
        spikes = self._file.get().read(self.size, self.duration, recordings)
        return spikes.before(self.duration)


def _speakers(path: str, n: int) -> IntArray | None:
    with InputFile(path) as file:
        if not file.root.is_folder("extra") or "speaker" not in file.root.folder("extra"):
            return None
        speakers = as_integers(file.root.folder("extra"), "speaker")
    if len(speakers) != n:
        raise FileError(f"{path}: /extra/speaker: has {len(speakers)} entries for {n} recordings")
    return speakers
