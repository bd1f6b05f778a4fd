"""Whole figures of spikes, results and networks, as ``evsim plot`` writes them."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from evsim.network import Network
from evsim.plots.choice import (
    Units,
    Window,
    check_recording,
    drawn_window,
    one_in,
    unit_numbers,
)
from evsim.plots.contents import Contents, contents_of
from evsim.plots.histograms import delays, weights
from evsim.plots.rasters import counted, raster, rate_in_time, rate_of_units
from evsim.plots.result_parts import (
    MAX_ROWS,
    first_rows,
    result_headline,
    told_window,
    units_of_result,
)
from evsim.plots.style import (
    CYCLE,
    DARK,
    GREY,
    HEADLINE,
    SHORT,
    class_name,
    name_of,
    new_figure,
    styled,
)
from evsim.plots.time_axis import share_time
from evsim.plots.voltages import MAX_LINES, marked, readout_voltage, told_units, voltage
from evsim.result import Result
from evsim.spikes import Spikes
from evsim.taken_spikes import as_arrays
from evsim.words import drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec

MAX_BARS = 1000  # of a panel

Cells = tuple["SubplotSpec", "SubplotSpec"]


def plot_spikes(
    spikes: Spikes,
    recording: int = 0,
    classes: Sequence[str] | None = None,
    headline: str | None = None,
    units: Units = None,
    window: Window = None,
) -> Figure:
    """Draw one recording: raster, rate over time, rate of every unit.

    Parameters
    ----------
    spikes : Spikes
        Where the recording is.
    recording : int
        Which one.
    classes : sequence of str or None
        Names of the classes, by label.
    headline : str or None
        ``"Recording <n>"`` if left out; the label is added.
    units, window
        As for `raster`. Rates are those of the window.

    Returns
    -------
    Figure
        Axes labelled ``"raster"``, ``"rate"`` and ``"units"``.

    Raises
    ------
    ValueError
        If there is no such recording or unit, or nothing is recorded in the window.
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    spikes = as_arrays(spikes, "plot_spikes")
    check_recording(recording, len(spikes))
    one = spikes[recording]
    numbers = unit_numbers(units, one.size)
    extent = drawn_window(window, one.duration, [one])
    headline = headline or f"Recording {recording}"
    if one.labels is not None:
        headline += f", label {class_name(int(one.labels[0]), classes)}"
    with styled():
        figure = new_figure(8.0, 5.0, headline + told_window(extent, one.duration))
        grid = figure.add_gridspec(2, 2, height_ratios=[3.5, 1], width_ratios=[5, 1])
        dots = figure.add_subplot(grid[0, 0], label="raster")
        raster(dots, one, 0, numbers, extent)
        dots.set_title(counted(one, numbers, extent))
        each = figure.add_subplot(grid[0, 1], sharey=dots, label="units")
        rate_of_units(each, one, numbers, extent)
        rate = figure.add_subplot(grid[1, 0], sharex=dots, label="rate")
        rate_in_time(rate, one, numbers, extent)
        share_time([dots, rate], extent)
    return figure


def plot_result(
    result: Result,
    recording: int = 0,
    classes: Sequence[str] | None = None,
    units: Units = None,
    window: Window = None,
) -> Figure:
    """Draw what was recorded of one recording: rasters, voltages, the readout's answer.

    Parameters
    ----------
    result : Result
        What `evsim.simulate` returned or `evsim.load_result` read.
    recording : int
        Which recording.
    classes : sequence of str or None
        Names of the classes, by label.
    units : int, slice, range, sequence of int or None
        Of every population, those of these that it has; readouts are drawn whole. None: all, and
        of voltages the five that move most.
    window : (float, float) or None
        From when to when [s]; None: from 0 to a little after the last spike, or to the end of
        the recording if that is near. Rates are those of this time.

    Returns
    -------
    Figure
        One row per recorded population, in the result's order: raster (axes labelled
        ``"<name>"``) and rates of its units (``"<name> units"``); voltage (``"<name>
        voltage"``) and, for a readout, its value (``"<name> output"``).

    Raises
    ------
    ValueError
        If there is no such recording, no population has any of the units, nothing is recorded
        in the window, or nothing was recorded at all.
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    result, n_left_out = first_rows(result)
    readouts = [name for name in result.output if name not in result.voltage]
    heights = [1.0 + 1.1 * (s.size > 30) + 0.7 * (s.size > 300) for s in result.spikes.values()]
    heights += [1.6] * len(result.voltage) + [1.6] * len(readouts)
    if not heights:
        raise ValueError("the result holds no spikes, voltages or readout values to draw")
    check_recording(recording, len(result))
    chosen = units_of_result(result, units)
    parts = {name: spikes[recording] for name, spikes in result.spikes.items()}
    extent = drawn_window(window, result.duration or 1.0, parts.values())
    with styled():
        headline = result_headline(result, recording, classes, n_left_out=n_left_out)
        if parts or result.voltage:
            headline += told_window(extent, result.duration)
        figure = new_figure(8.0, 0.9 + sum(heights), headline)
        grid = figure.add_gridspec(len(heights), 2, height_ratios=heights, width_ratios=[5, 1])
        rows = iter((grid[row, 0], grid[row, 1]) for row in range(len(heights)))
        in_time: list[Axes] = []
        for name, one in parts.items():
            in_time.append(_spikes_row(figure, next(rows), name, one, chosen.get(name), extent))
        for name in result.voltage:
            cells = next(rows)
            if name in result.output:
                axes = _readout_row(figure, cells, name, result, recording, classes, extent)
            else:
                numbers = chosen.get(name)
                axes = _voltage_row(figure, cells, name, result, recording, numbers, extent)
            in_time.append(axes)
        for name in readouts:
            axes = figure.add_subplot(next(rows)[0], label=f"{name} output")
            _draw_output(axes, name, result, recording, classes)
        share_time(in_time, extent)
    return figure


def plot_network(net: Network) -> Figure:
    """Draw how the delays and the weights of every projection are spread.

    Parameters
    ----------
    net : Network
        Projections through which nothing can pass (no synapses) get an empty panel.

    Returns
    -------
    Figure
        One row per projection; axes labelled ``"<name> delay"`` and ``"<name> weight"``.

    Raises
    ------
    ValueError
        If the network has no projections.
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    if not net.projections:
        raise ValueError("the network has no projections to draw")
    projections = list(net.projections.values())[:MAX_ROWS]
    n_rows = len(projections)
    shown = list(net.populations.values())[:MAX_ROWS]
    sizes = ", ".join(f"{p.name} {p.model}[{p.size}]" for p in shown)
    for what, n in (("populations", len(net.populations)), ("projections", len(net.projections))):
        if n > MAX_ROWS:
            sizes += f"; {n - MAX_ROWS} more {what} are not shown"
    with styled():
        figure = new_figure(8.0, 0.6 + 1.9 * n_rows, drawn(f"Network: {sizes}", HEADLINE))
        axes = figure.subplots(n_rows, 2, squeeze=False)
        for (left, right), projection in zip(axes, projections, strict=True):
            left.set_label(f"{projection.name} delay")
            left.set_title(f"{drawn(projection.name)}: {projection.n_synapses:,} synapses")
            delays(left, net, projection.name)
            right.set_label(f"{projection.name} weight")
            weights(right, net, projection.name)
    return figure


def plot_file(
    path: str | PathLike[str],
    recording: int = 0,
    population: str | None = None,
    units: Units = None,
    window: Window = None,
    of_class: str | None = None,
) -> Figure:
    """Draw what a file holds: spikes or a result (one recording), or a network.

    Parameters
    ----------
    path : path
        Of the file; classes take their names from its ``/extra/keys``.
    recording : int
        Which recording; without meaning for a network.
    population : str or None
        For a SONATA file with more than one population: which one.
    units, window
        As for `plot_spikes` and `plot_result`.
    of_class : str or None
        In place of ``recording``: the first one of this class, by name or number.

    Returns
    -------
    Figure
        Of `plot_spikes`, `plot_result` or `plot_network`.

    Raises
    ------
    FileError
        If the file is not sound.
    ValueError
        If there is no such recording, class or unit, or nothing is recorded in the window.
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    return figure_of(contents_of(path, recording, population, of_class), units, window)


def figure_of(held: Contents, units: Units = None, window: Window = None) -> Figure:
    """Return the figure of what a file holds."""
    if isinstance(held.data, Network):
        return plot_network(held.data)
    if isinstance(held.data, Result):
        return plot_result(held.data, held.recording, held.classes, units, window)
    headline = f"Recording {held.recording}"
    return plot_spikes(held.data, 0, held.classes, headline, units, window)


def _spikes_row(
    figure: Figure, cells: Cells, name: str, one: Spikes, units: Units, window: tuple[float, float]
) -> Axes:
    numbers = unit_numbers(units, one.size)
    dots = figure.add_subplot(cells[0], label=name)
    raster(dots, one, 0, numbers, window)
    dots.set_title(f"{drawn(name)}: {counted(one, numbers, window)}")
    each = figure.add_subplot(cells[1], sharey=dots, label=f"{name} units")
    rate_of_units(each, one, numbers, window)
    return dots


def _voltage_row(
    figure: Figure,
    cells: Cells,
    name: str,
    result: Result,
    recording: int,
    units: Units,
    window: tuple[float, float],
) -> Axes:
    axes = figure.add_subplot(cells[0], label=f"{name} voltage")
    numbers = None if units is None else unit_numbers(units, result.voltage[name].shape[2])
    voltage(axes, result, name, recording, numbers, window)
    lines = axes.get_lines()
    n_units = result.voltage[name].shape[2]
    n_shown = min(n_units, len(CYCLE)) if numbers is None else len(numbers)
    axes.set_title(f"{drawn(name)}: {told_units(n_shown, n_units, numbers is not None)}")
    key = figure.add_subplot(cells[1], label=f"{name} key")
    key.axis("off")
    named = [line for line in lines if not str(line.get_label()).startswith("_")]
    if 0 < len(named) <= 2 * len(CYCLE):
        key.legend(handles=named, loc="center left", fontsize=8, handlelength=1.4)
    return axes


def _readout_row(
    figure: Figure,
    cells: Cells,
    name: str,
    result: Result,
    recording: int,
    classes: Sequence[str] | None,
    window: tuple[float, float],
) -> Axes:
    axes = figure.add_subplot(cells[0], label=f"{name} voltage")
    readout_voltage(axes, name, result, recording, classes, window)
    n_units = result.voltage[name].shape[2]
    axes.set_title(f"{drawn(name)}: {told_units(min(n_units, MAX_LINES), n_units, False)}")
    value = figure.add_subplot(cells[1], label=f"{name} output")
    _draw_output(value, name, result, recording, classes)
    return axes


def _draw_output(
    axes: Axes, name: str, result: Result, recording: int, classes: Sequence[str] | None
) -> None:
    """Draw the value of every unit of a readout as a bar."""
    values = result.output[name][recording]
    axes.set_title(f"value of {drawn(name, SHORT)}")
    if len(values) > MAX_BARS:
        group = one_in(len(values), MAX_BARS)
        edges = np.append(np.arange(0, len(values), group), len(values))
        highest = np.maximum.reduceat(values, edges[:-1])
        axes.stairs(highest, edges - 0.5, orientation="horizontal", fill=True, color=GREY)
        axes.invert_yaxis()
        return
    pointed_out = marked(result, name, recording)
    colours = [pointed_out[u][0] if u in pointed_out else GREY for u in range(len(values))]
    axes.barh(np.arange(len(values)), values, color=colours, height=0.75)
    axes.axvline(0.0, color=DARK, linewidth=0.8)
    axes.invert_yaxis()
    if len(values) <= 25:
        names = [name_of(unit, classes) or str(unit) for unit in range(len(values))]
        axes.set_yticks(np.arange(len(values)), names, fontsize=7)
        axes.tick_params(axis="y", length=0)
