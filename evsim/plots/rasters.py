"""``raster``: a dot for every spike; and how often units fire."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evsim.arrays import IntArray
from evsim.plots.choice import (
    Units,
    Window,
    check_recording,
    drawn_window,
    one_in,
    unit_numbers,
    within,
)
from evsim.plots.style import BLUE, DARK
from evsim.plots.time_axis import label_time
from evsim.spikes import Spikes
from evsim.taken_spikes import as_arrays

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NAMED = 12  # rows, each of which is named
MAX_DOTS = 1 << 17  # of a panel, so that it is drawn within seconds; what is left out is told


def raster(
    axes: Axes,
    spikes: Spikes,
    recording: int = 0,
    units: Units = None,
    window: Window = None,
    colour: str = DARK,
) -> Axes:
    """Draw the spikes of one recording into your own axes: a dot each, a row for every unit.

    Parameters
    ----------
    axes : matplotlib Axes
        Where to draw. Times are in seconds there; a stretch shorter than 0.2 s is only labelled
        in ms.
    spikes : Spikes
        Where the recording is.
    recording : int
        Which one.
    units : int, slice, range, sequence of int or None
        Which units; None: all. If there are gaps between them, rows are drawn without.
    window : (float, float) or None
        From when to when [s]; None: from 0 to a little after the last spike, or to the end of
        the recording if that is near.
    colour : str
        Of the dots.

    Returns
    -------
    matplotlib Axes
        Those given.

    Raises
    ------
    ValueError
        If there is no such recording or unit, or nothing is recorded in the window.
    """
    spikes = as_arrays(spikes, "raster")
    check_recording(recording, len(spikes))
    one = spikes[recording]
    numbers = unit_numbers(units, one.size)
    extent = drawn_window(window, one.duration, [one])
    times, of = within(one, numbers, extent)
    step = one_in(len(times), MAX_DOTS)
    # One dot per spike; smaller where many units share the height.
    size = float(np.clip(300 / max(len(numbers), 1), 0.6, 12.0))
    rows = rows_of(numbers, of[::step])
    axes.scatter(times[::step], rows, s=size, color=colour, linewidths=0, rasterized=True)
    _label_rows(axes, numbers)
    label_time(axes, extent)
    return axes


def rows_of(numbers: IntArray, units: IntArray) -> IntArray:
    """Return the row of every spike: its unit, or its place among chosen units with gaps."""
    return np.searchsorted(numbers, units) if _has_gaps(numbers) else units


def _has_gaps(numbers: IntArray) -> bool:
    return len(numbers) > 1 and int(numbers[-1] - numbers[0]) >= len(numbers)


def _label_rows(axes: Axes, numbers: IntArray) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

    axes.set_ylabel("unit")
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))
    if not len(numbers):
        return
    first, last = int(numbers[0]), int(numbers[-1])
    if _has_gaps(numbers):
        first, last = 0, len(numbers) - 1
        names = {row: str(unit) for row, unit in enumerate(numbers.tolist())}
        axes.yaxis.set_major_formatter(FuncFormatter(lambda row, _: names.get(round(row), "")))
        if len(numbers) <= _NAMED:
            axes.yaxis.set_major_locator(FixedLocator(range(len(numbers))))
    margin = 0.5 + 0.01 * (last - first + 1)
    axes.set_ylim(first - margin, last + margin)


def rate_in_time(axes: Axes, one: Spikes, numbers: IntArray, window: tuple[float, float]) -> None:
    """Draw the rate of a recording over time, in bins."""
    times, _ = within(one, numbers, window)
    n_bins = round(min(max((window[1] - window[0]) / 0.01, 10), 400))
    counts, edges = np.histogram(times, bins=n_bins, range=window)
    rates = counts / (np.diff(edges) * max(len(numbers), 1))
    axes.stairs(rates, edges, fill=True, color=BLUE)
    axes.set_ylabel("rate [Hz per unit]")
    axes.set_title(f"rate in bins of {1e3 * (edges[1] - edges[0]):.3g} ms")


def rate_of_units(axes: Axes, one: Spikes, numbers: IntArray, window: tuple[float, float]) -> None:
    """Draw how often every unit fires, along the rows of a raster."""
    _, units = within(one, numbers, window)
    rows = rows_of(numbers, units)
    first = 0 if _has_gaps(numbers) or not len(numbers) else int(numbers[0])
    n_rows = len(numbers)
    # Many units are drawn in groups, else the outline is nothing but noise.
    group = max(1, n_rows // 100)
    edges = np.append(np.arange(0, n_rows, group), n_rows) if n_rows else np.array([0, 1])
    each = np.bincount(rows - first, minlength=max(n_rows, 1))
    counts = np.add.reduceat(each, edges[:-1])
    rates = counts / (np.diff(edges) * (window[1] - window[0]))
    axes.stairs(rates, first + edges - 0.5, orientation="horizontal", fill=True, color=BLUE)
    axes.set_title("Hz per unit")
    axes.set_xlim(left=0.0)
    axes.tick_params(axis="y", left=False, labelleft=False)


def counted(one: Spikes, numbers: IntArray, window: tuple[float, float]) -> str:
    """Tell how many spikes are drawn, of how many units, and their rate in that time."""
    times, _ = within(one, numbers, window)
    rate = len(times) / max(len(numbers), 1) / (window[1] - window[0])
    step = one_in(len(times), MAX_DOTS)
    share = f" (one in {step} drawn)" if step > 1 else ""
    some = f"{len(numbers):,} of " if len(numbers) < one.size else ""
    return f"{len(times):,} spikes{share} of {some}{one.size:,} units, {rate:.1f} Hz per unit"
