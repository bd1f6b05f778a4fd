"""``plot_frames``: what an event camera saw, a few slices of time side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from evsim import Spikes
from evsim.arrays import IntArray
from evsim.plots.style import BLUE, VERMILION, class_name, new_figure, styled
from evsim.taken_spikes import as_arrays

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

SLICES = 4
MAX_PIXELS = 1 << 21  # of an image; larger sensors are drawn in blocks of pixels


def plot_frames(
    spikes: Spikes,
    sensor: tuple[int, ...],
    recording: int = 0,
    classes: Sequence[str] | None = None,
) -> Figure:
    """Draw one recording of a camera: events of every pixel in four slices of time.

    Parameters
    ----------
    spikes : Spikes
        Where the recording is.
    sensor : (int, int, int)
        Polarities (1 or 2), rows, columns, as a data set's ``sensor``.
    recording : int
        Which one.
    classes : sequence of str or None
        Names of the classes, by label.

    Returns
    -------
    Figure
        A row of images for ON events and one for OFF events, all in one scale; axes
        labelled ``"ON 0"`` to ``"ON 3"``, ``"OFF 0"`` to ``"OFF 3"`` (``"events 0"``, ...
        if there is one polarity).

    Raises
    ------
    ValueError
        If there is no such recording, or the sensor has another number of units.
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    spikes = as_arrays(spikes, "plot_frames")
    counts = frames(*_coarser(spikes, sensor), recording, SLICES)
    headline = f"Recording {recording}"
    if spikes.labels is not None:
        headline += f", label {class_name(int(spikes.labels[recording]), classes)}"
    kinds = [("OFF", VERMILION), ("ON", BLUE)] if len(counts) == 2 else [("events", BLUE)]
    # A few pixels that never rest would leave all others pale.
    top = max(1.0, float(np.percentile(counts[counts > 0], 99))) if counts.any() else 1.0
    with styled():
        figure = new_figure(8.0, 0.6 + 1.8 * len(kinds), headline)
        rows = figure.subplots(len(kinds), SLICES, squeeze=False)[::-1]
        for row, of_kind, (name, colour) in zip(rows, counts, kinds, strict=True):
            image = _draw_row(row, of_kind, top, name, colour)
            figure.colorbar(image, ax=row, label="events", shrink=0.8, extend="max")
        edges = 1e3 * np.linspace(0, spikes.duration, SLICES + 1)
        for axes, begin, end in zip(rows[-1], edges, edges[1:], strict=False):
            axes.set_title(f"{begin:.0f} to {end:.0f} ms")
    return figure


def frames(spikes: Spikes, sensor: tuple[int, ...], recording: int, slices: int) -> IntArray:
    """Count the events of every pixel in equal slices of time.

    Returns
    -------
    int64 array [polarity, slice, row, column]

    Raises
    ------
    ValueError
        If there is no such recording, or the sensor has another number of units.
    """
    if not 0 <= recording < len(spikes):
        raise ValueError(f"recording {recording} does not exist; there are {len(spikes)}, from 0")
    if len(sensor) != 3 or np.prod(sensor) != spikes.size:
        raise ValueError(f"a sensor of {sensor} pixels does not have the {spikes.size} units")
    one = spikes[recording]
    when = np.minimum((one.times / spikes.duration * slices).astype(np.int64), slices - 1)
    flat = np.bincount(when * spikes.size + one.units, minlength=slices * spikes.size)
    return flat.reshape(slices, *sensor).swapaxes(0, 1)


def _coarser(spikes: Spikes, sensor: tuple[int, ...]) -> tuple[Spikes, tuple[int, ...]]:
    """Return the spikes of a sensor of fewer pixels, each a block of pixels of the true one."""
    if len(sensor) != 3 or sensor[1] * sensor[2] <= MAX_PIXELS:
        return spikes, sensor
    polarities, rows, columns = sensor
    side = math.ceil(math.sqrt(rows * columns / MAX_PIXELS))
    height, width = -(-rows // side), -(-columns // side)
    p, pixel = np.divmod(spikes.units, rows * columns)
    y, x = np.divmod(pixel, columns)
    units = (p * height + y // side) * width + x // side
    size = polarities * height * width
    return spikes.replace(spikes.times, units, spikes.offsets, size), (polarities, height, width)


def _draw_row(
    row: Sequence[Axes], counts: IntArray, top: float, name: str, colour: str
) -> AxesImage:
    """Draw the images of one polarity, [slice, row, column]; return the last one."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list(name, ["white", colour])
    for i, axes in enumerate(row):
        image = axes.imshow(counts[i], cmap=colours, vmin=0, vmax=top, interpolation="nearest")
        axes.set_label(f"{name} {i}")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(True)
    row[0].set_ylabel(name)
    return image
