"""``CameraData``: recordings of an event camera, each read by a part of its own.

What the files of event cameras have in common: a pixel and a polarity become a unit, a
clock of microseconds becomes seconds, and what comes at or after the horizon is left out.
Where an event lies in which file is known to the parts (`evsim.datasets.formats.address_events`,
`evsim.datasets.formats.aedat`, `evsim.datasets.formats.event_file`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from evsim import FileError, Spikes
from evsim.arrays import FloatArray, IntArray
from evsim.budget import Budget
from evsim.quantities import positive

from ..dataset import Dataset, numbered

Sensor = tuple[int, int, int]

UNLABELLED = "unlabelled"  # the one class of recordings without labels
MICROSECOND = 1e6  # of them in a second; t / 1e6 is the double nearest to the true time


class Events(NamedTuple):
    """Events of one recording, in the order of the file.

    Attributes
    ----------
    times : float64 array [event]
        Since the start of the recording [s].
    x, y : int array [event]
        Column and row of the pixel.
    p : int array [event]
        Polarity: 1 brighter (ON), 0 darker (OFF).
    where : str
        File and place, as messages name it.
    """

    times: FloatArray
    x: npt.NDArray[Any]
    y: npt.NDArray[Any]
    p: npt.NDArray[Any]
    where: str


class Part(Protocol):
    """What reads one recording; it can be pickled."""

    def events(self, duration: float) -> Events:
        """Read the events; those at or after ``duration`` [s] may be left out."""


class CameraData(Dataset):
    """Recordings of an event camera.

    Parameters
    ----------
    parts : sequence of Part
        One per recording.
    labels : int array [recording] or None
        Without labels, all recordings are of one class, ``"unlabelled"``.
    sensor : (int, int, int)
        Polarities, rows, columns. Unit = (p * rows + y) * columns + x.
    duration : float
        Horizon [s]; later events are left out.
    class_names : sequence of str or None
        What the labels mean; the numbers themselves if left out.
    speakers : int array [recording] or None
        Who is seen.
    """

    sensor: Sensor

    def __init__(
        self,
        parts: Sequence[Part],
        labels: npt.ArrayLike | None,
        sensor: Sensor,
        duration: float,
        class_names: Sequence[str] | None = None,
        speakers: npt.ArrayLike | None = None,
    ) -> None:
        positive("duration", duration, "s")
        if labels is None:
            labels, class_names = np.zeros(len(parts), np.int64), [UNLABELLED]
        if class_names is None:
            class_names = numbered(labels, Budget(len(parts)), type(self).__name__)
        size = math.prod(sensor)
        super().__init__(labels, size, duration, class_names, speakers, sensor)
        self._parts = parts

    def _read(self, recordings: IntArray) -> Spikes:
        trains = [self._train(int(i)) for i in recordings]
        return Spikes.from_recordings(trains, self.size, self.duration)

    def _train(self, recording: int) -> tuple[FloatArray, IntArray]:
        events = self._parts[recording].events(self.duration)
        check_times(events.times, events.where)
        units = pixel_units(events, self.sensor)
        early = events.times < self.duration
        return events.times[early], units[early]


def pixel_units(events: Events, sensor: Sensor) -> IntArray:
    """Return the unit of every event, (p * rows + y) * columns + x.

    Raises
    ------
    FileError
        If an event lies outside the sensor; names the first one.
    """
    polarities, rows, columns = sensor
    unit = np.zeros(len(events.times), np.int64)
    for name, values, n in (
        ("p", events.p, polarities),
        ("y", events.y, rows),
        ("x", events.x, columns),
    ):
        wrong = np.flatnonzero((values < 0) | (values >= n))
        if len(wrong):
            raise FileError(
                f"{events.where}: event {wrong[0]} has {name} = {values[wrong[0]]}, must be "
                f"from 0 to {n - 1} on a sensor of {rows} x {columns} pixels"
            )
        unit *= n
        unit += values.astype(np.int64)
    return unit


def check_times(times: FloatArray, where: str) -> None:
    """Refuse times [s] that are negative or not finite; the message names the first one."""
    wrong = np.flatnonzero(~((times >= 0) & (times < np.inf)))
    if len(wrong):
        raise FileError(
            f"{where}: event {wrong[0]} is at {times[wrong[0]]} s; times must be finite and "
            "not negative"
        )
