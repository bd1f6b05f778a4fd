"""Pictures of spikes, networks and results, drawn with matplotlib (``evsim[plot]``).

Every function returns a matplotlib ``Figure`` that belongs to nobody: no pyplot, no
global state, no window. Colours are those of Okabe and Ito (2008), which stay apart for
colour-blind readers. matplotlib is imported when a picture is drawn, not before.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from evsim.arrays import FloatArray, IntArray
from evsim.files import SpikeFile, WholeFile, load_network, load_result
from evsim.files.kinds import class_names, identify, refuse_population
from evsim.network import Network
from evsim.result import Result
from evsim.spikes import Spikes, as_arrays
from evsim.spreads import Spread, spreads
from evsim.words import bin_edges, drawn, milliseconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec

# Of a panel or a picture, so that it is drawn within seconds; what is left out is told.
MAX_DOTS, MAX_LINES, MAX_SAMPLES, MAX_BARS, MAX_ROWS = 1 << 17, 200, 20_000, 1000, 24

Cells = tuple["SubplotSpec", "SubplotSpec"]

BLUE, VERMILION, GREY, DARK = "#0072B2", "#D55E00", "#B8B8B8", "#222222"
_CYCLE = (BLUE, "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
_SHORT, _HEADLINE = 30, 120  # characters of a name beside a small panel; of a list of names
_STYLE: Any = {  # keys that matplotlib knows
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "text.usetex": False,  # names are no TeX
}


def plot_spikes(
    spikes: Spikes,
    recording: int = 0,
    classes: Sequence[str] | None = None,
    headline: str | None = None,
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

    Returns
    -------
    Figure
        Axes labelled ``"raster"``, ``"rate"`` and ``"units"``.

    Raises
    ------
    ValueError
        If there is no such recording.
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    spikes = as_arrays(spikes, "plot_spikes")
    check_recording(recording, len(spikes))
    one = spikes[recording]
    headline = headline or f"Recording {recording}"
    if one.labels is not None:
        headline += f", label {class_name(int(one.labels[0]), classes)}"
    with styled():
        figure = new_figure(8.0, 5.0, headline)
        grid = figure.add_gridspec(2, 2, height_ratios=[3.5, 1], width_ratios=[5, 1])
        raster = figure.add_subplot(grid[0, 0], label="raster")
        _draw_raster(raster, one)
        raster.set_title(_counts(one))
        units = figure.add_subplot(grid[0, 1], sharey=raster, label="units")
        _draw_unit_rates(units, one)
        rate = figure.add_subplot(grid[1, 0], sharex=raster, label="rate")
        _draw_rate(rate, one)
        _finish_times([raster, rate], one.duration)
    return figure


def plot_result(result: Result, recording: int = 0, classes: Sequence[str] | None = None) -> Figure:
    """Draw what was recorded of one recording: rasters, voltages, the readout's answer.

    Parameters
    ----------
    result : Result
        What `evsim.simulate` returned or `evsim.load_result` read.
    recording : int
        Which recording.
    classes : sequence of str or None
        Names of the classes, by label.

    Returns
    -------
    Figure
        One row per recorded population, in the result's order: raster (axes labelled
        ``"<name>"``) and rates of its units (``"<name> units"``); voltage (``"<name>
        voltage"``) and, for a readout, its value (``"<name> output"``).

    Raises
    ------
    ValueError
        If there is no such recording, or nothing was recorded.
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    result, n_left_out = _first_rows(result)
    readouts = [name for name in result.output if name not in result.voltage]
    heights = [1.0 + 1.1 * (s.size > 30) + 0.7 * (s.size > 300) for s in result.spikes.values()]
    heights += [1.6] * len(result.voltage) + [1.6] * len(readouts)
    if not heights:
        raise ValueError("the result holds no spikes, voltages or readout values to draw")
    check_recording(recording, _n_recordings(result))
    with styled():
        headline = _result_headline(result, recording, classes)
        if n_left_out:
            headline += f"; {n_left_out} more populations are not drawn"
        figure = new_figure(8.0, 0.9 + sum(heights), headline)
        grid = figure.add_gridspec(len(heights), 2, height_ratios=heights, width_ratios=[5, 1])
        rows = iter((grid[row, 0], grid[row, 1]) for row in range(len(heights)))
        in_time: list[Axes] = []
        for name, spikes in result.spikes.items():
            in_time.append(_spikes_row(figure, next(rows), name, spikes[recording]))
        for name in result.voltage:
            in_time.append(_voltage_row(figure, next(rows), name, result, recording, classes))
        for name in readouts:
            axes = figure.add_subplot(next(rows)[0], label=f"{name} output")
            _draw_output(axes, name, result, recording, classes)
        _finish_times(in_time, result.duration)
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
        figure = new_figure(8.0, 0.6 + 1.9 * n_rows, drawn(f"Network: {sizes}", _HEADLINE))
        axes = figure.subplots(n_rows, 2, squeeze=False)
        for (left, right), projection in zip(axes, projections, strict=True):
            delays, weights = spreads(projection, net.populations[projection.pre].size)
            left.set_label(f"{projection.name} delay")
            left.set_title(f"{drawn(projection.name)}: {projection.n_synapses:,} synapses")
            late, unit = milliseconds(delays.values)
            _draw_spread(left, Spread(late, delays.counts), unit, BLUE, "delay")
            right.set_label(f"{projection.name} weight")
            _draw_spread(right, weights, "", VERMILION, "weight")
    return figure


def plot_file(
    path: str | PathLike[str], recording: int = 0, population: str | None = None
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

    Returns
    -------
    Figure
        Of `plot_spikes`, `plot_result` or `plot_network`.

    Raises
    ------
    FileError
        If the file is not sound.
    ValueError
        If there is no such recording.
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    kind, _ = identify(path)
    if kind != "spike":
        refuse_population(path, population, f"is a {kind} file")
    if kind == "network":
        return plot_network(load_network(path))
    classes = class_names(path)
    if kind == "result":
        return plot_result(load_result(path), recording, classes)
    with SpikeFile(path, population) as file:
        check_recording(recording, len(file))
        size, duration = file.extent()
        one = file.read(size, duration, [recording])
    return plot_spikes(one, 0, classes, headline=f"Recording {recording}")


def save_figure(path: str | PathLike[str], figure: Figure, overwrite: bool = False) -> None:
    """Write a picture that is whole or absent.

    Parameters
    ----------
    path : path
        Its suffix says the format: .png (also without a suffix), .pdf, .svg, ...
    figure : Figure
        What to write.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    FileExistsError
        If the file exists and ``overwrite`` is false.
    ValueError
        If matplotlib does not know the format.
    """
    suffix = os.path.splitext(path)[1]
    with WholeFile(path, overwrite) as temporary:
        figure.savefig(temporary, format=suffix[1:] or "png", dpi=150)


def class_name(label: int, classes: Sequence[str] | None = None) -> str:
    """Return ``"3 (three)"`` if the class has a name, ``"3"`` if not."""
    if classes is not None and 0 <= label < len(classes):
        return f"{label} ({drawn(classes[label], _SHORT)})"
    return str(label)


def _first_rows(result: Result) -> tuple[Result, int]:
    """Return the result without the populations that are too many to draw, and how many."""
    names = list(dict.fromkeys([*result.spikes, *result.voltage, *result.output]))
    left_out = set(names[MAX_ROWS // 2 :]) if len(names) > MAX_ROWS else set()
    parts: Any = {
        part: {name: v for name, v in getattr(result, part).items() if name not in left_out}
        for part in ("spikes", "voltage", "voltage_times", "output")
    }
    return replace(result, **parts), len(left_out)


def _spikes_row(figure: Figure, cells: Cells, name: str, one: Spikes) -> Axes:
    raster = figure.add_subplot(cells[0], label=name)
    _draw_raster(raster, one)
    raster.set_title(f"{drawn(name)}: {_counts(one)}")
    units = figure.add_subplot(cells[1], sharey=raster, label=f"{name} units")
    _draw_unit_rates(units, one)
    return raster


def _voltage_row(
    figure: Figure,
    cells: Cells,
    name: str,
    result: Result,
    recording: int,
    classes: Sequence[str] | None,
) -> Axes:
    axes = figure.add_subplot(cells[0], label=f"{name} voltage")
    times, voltage = result.voltage_times[name], result.voltage[name][recording]
    axes.set_ylabel("voltage")
    axes.set_title(f"{drawn(name)}: voltage of {voltage.shape[1]} units")
    if name not in result.output:
        n_shown = _draw_voltages(axes, times, voltage)
        key = figure.add_subplot(cells[1], label=f"{name} key")
        key.axis("off")
        key.legend(handles=axes.get_lines(), loc="center left", fontsize=8, handlelength=1.2)
        if n_shown < voltage.shape[1]:
            title = f"voltage of {n_shown} of {voltage.shape[1]} units, those that move most"
            axes.set_title(f"{drawn(name)}: {title}")
        return axes
    times, voltage = _thinned(times, voltage)
    moving = _movers(voltage, MAX_LINES)
    axes.plot(times, voltage[:, moving], color=GREY, linewidth=0.8)
    marked = _marked(result.output[name][recording], _label(result, recording))
    for unit, (colour, meaning) in marked.items():
        text = f"{meaning}: {class_name(unit, classes)}"
        axes.plot(times, voltage[:, unit], color=colour, linewidth=1.8, label=text)
    axes.legend(loc="upper left", fontsize=8, handlelength=1.2, borderaxespad=0.2)
    value = figure.add_subplot(cells[1], label=f"{name} output")
    _draw_output(value, name, result, recording, classes)
    return axes


def _draw_raster(axes: Axes, one: Spikes) -> None:
    from matplotlib.ticker import MaxNLocator

    # One dot per spike; smaller where many units share the height.
    size = float(np.clip(300 / max(one.size, 1), 0.6, 12.0))
    step = -(-max(len(one.times), 1) // MAX_DOTS)
    times, units = one.times[::step], one.units[::step]
    axes.scatter(times, units, s=size, color=DARK, linewidths=0, rasterized=True)
    axes.set_ylim(-0.5 - 0.01 * one.size, one.size - 0.5 + 0.01 * one.size)
    axes.set_ylabel("unit")
    axes.yaxis.set_major_locator(MaxNLocator("auto", integer=True))


def _draw_rate(axes: Axes, one: Spikes) -> None:
    n_bins = round(min(max(one.duration / 0.01, 10), 400))
    counts, edges = np.histogram(one.times, bins=n_bins, range=(0.0, one.duration))
    rates = counts / (np.diff(edges) * max(one.size, 1))
    axes.stairs(rates, edges, fill=True, color=BLUE)
    axes.set_ylabel("rate [Hz per unit]")
    axes.set_title(f"rate in bins of {1e3 * (edges[1] - edges[0]):.3g} ms")


def _draw_unit_rates(axes: Axes, one: Spikes) -> None:
    # Many units are drawn in groups, else the outline is nothing but noise.
    group = max(1, one.size // 100)
    edges = np.append(np.arange(0, one.size, group), one.size) if one.size else np.array([0, 1])
    counts = np.add.reduceat(np.append(one.counts()[0], 0), edges[:-1])
    rates = counts / (np.diff(edges) * one.duration)
    axes.stairs(rates, edges - 0.5, orientation="horizontal", fill=True, color=BLUE)
    axes.set_title("Hz per unit", fontsize=8)
    axes.set_xlim(left=0.0)
    axes.tick_params(axis="y", left=False, labelleft=False)


def _draw_voltages(axes: Axes, times: FloatArray, voltage: FloatArray) -> int:
    """Draw a handful of units, those whose voltage moves most; return how many."""
    times, voltage = _thinned(times, voltage)
    shown = _movers(voltage, len(_CYCLE))
    for colour, unit in zip(_CYCLE, shown, strict=False):
        axes.plot(times, voltage[:, unit], color=colour, linewidth=1.0, label=f"unit {unit}")
    return len(shown)


def _movers(voltage: FloatArray, n: int) -> IntArray:
    """Return the units whose voltage moves most, in order."""
    if not len(voltage):
        return np.arange(min(n, voltage.shape[1]))
    return np.sort(np.argsort(-np.ptp(voltage, axis=0), kind="stable")[:n])


def _thinned(times: FloatArray, voltage: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return every so manieth sample, as many as a picture can show."""
    step = -(-max(len(times), 1) // MAX_SAMPLES)
    return times[::step], voltage[::step]


def _draw_output(
    axes: Axes, name: str, result: Result, recording: int, classes: Sequence[str] | None
) -> None:
    values = result.output[name][recording]
    axes.set_title(f"value of {name}", fontsize=8)
    if len(values) > MAX_BARS:
        group = -(-len(values) // MAX_BARS)
        edges = np.append(np.arange(0, len(values), group), len(values))
        highest = np.maximum.reduceat(values, edges[:-1])
        axes.stairs(highest, edges - 0.5, orientation="horizontal", fill=True, color=GREY)
        axes.invert_yaxis()
        return
    marked = _marked(values, _label(result, recording))
    colours = [marked[u][0] if u in marked else GREY for u in range(len(values))]
    axes.barh(np.arange(len(values)), values, color=colours, height=0.75)
    axes.axvline(0.0, color=DARK, linewidth=0.8)
    axes.invert_yaxis()
    axes.set_title(f"value of {drawn(name, _SHORT)}", fontsize=8)
    if len(values) <= 25:
        known = [drawn(name, _SHORT) for name in (classes or [])[: len(values)]]
        names = known + [str(unit) for unit in range(len(known), len(values))]
        axes.set_yticks(np.arange(len(values)), names, fontsize=7)
        axes.tick_params(axis="y", length=0)


def _draw_spread(axes: Axes, spread: Spread, unit: str, colour: str, name: str) -> None:
    values, power = _at_scale(spread.values)
    counts = spread.counts
    unit = f"1e{power} {unit}".strip() if power else unit
    axes.set_xlabel(f"{name} [{unit}]" if unit else name)
    axes.set_ylabel("synapses")
    if counts is not None:
        values, counts = values[counts > 0], counts[counts > 0]
    spread = Spread(values, counts)
    if not len(values):
        return
    n_bins = int(np.clip(np.sqrt(len(np.unique(values))), 10, 60))
    edges = bin_edges(values, n_bins)
    if edges is None:  # one bar of a visible width
        n = len(values) if counts is None else int(counts.sum())
        half = max(abs(float(values[0])), 1.0) / 40
        axes.bar(values[:1], [n], width=half, color=colour)
        axes.set_xlim(float(values[0]) - 20 * half, float(values[0]) + 20 * half)
        axes.set_title(f"all {values[0]:.4g}", loc="right")
        return
    axes.hist(values, bins=edges.tolist(), weights=counts, color=colour, histtype="stepfilled")
    middle = spread.median()
    axes.axvline(middle, color=DARK, linewidth=0.8, linestyle="--")
    axes.set_title(f"median {middle:.3g}", loc="right")


def _at_scale(values: FloatArray) -> tuple[FloatArray, int]:
    """Return values of a size that axes can be laid out for, and the power of ten left out."""
    top = float(np.abs(values).max(initial=0.0))
    if top == 0.0 or 1e-12 < top < 1e15:
        return values, 0
    power = max(math.floor(math.log10(top)), -307)  # a smaller one would be next to nothing
    return values / 10.0**power, power


def _marked(values: FloatArray, label: int | None) -> dict[int, tuple[str, str]]:
    """Return colour and meaning of the units to point out: the answer and the truth."""
    answer = int(np.argmax(values))
    if label is None or not 0 <= label < len(values):
        return {answer: (BLUE, "answer")}
    if label == answer:
        return {answer: (BLUE, "answer and label")}
    return {answer: (BLUE, "answer"), label: (VERMILION, "label")}


def _result_headline(result: Result, recording: int, classes: Sequence[str] | None) -> str:
    parts = [f"Recording {recording}"]
    label = _label(result, recording)
    if label is not None:
        parts.append(f"label {class_name(label, classes)}")
    for name, values in result.output.items():
        answer = class_name(int(np.argmax(values[recording])), classes)
        parts.append(f"{drawn(name)} answers {answer}")
    return ", ".join(parts)


def _label(result: Result, recording: int) -> int | None:
    return None if result.labels is None else int(result.labels[recording])


def _n_recordings(result: Result) -> int:
    found: list[Any] = [*result.spikes.values(), *result.voltage.values(), *result.output.values()]
    return len(found[0])


def _counts(one: Spikes) -> str:
    rate = len(one.times) / max(one.size, 1) / one.duration
    step = -(-max(len(one.times), 1) // MAX_DOTS)
    share = f" (one in {step} drawn)" if step > 1 else ""
    return f"{len(one.times):,} spikes{share} of {one.size:,} units, {rate:.1f} Hz per unit"


def check_recording(recording: int, n_recordings: int) -> None:
    """Refuse a recording that does not exist."""
    if not 0 <= recording < n_recordings:
        raise ValueError(f"recording {recording} does not exist; there are {n_recordings}, from 0")


def _finish_times(axes: list[Axes], duration: float) -> None:
    """Give all panels over time the same extent; only the lowest names it."""
    for one in axes:
        one.set_xlim(0.0, duration)
        one.tick_params(labelbottom=one is axes[-1])
    if axes:
        axes[-1].set_xlabel("time [s]")
        axes[-1].figure.align_ylabels(axes)


def styled() -> AbstractContextManager[None]:
    """Return a context in which figures have the look of this module."""
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "drawing needs matplotlib; install it with: pip install evsim[plot]"
        ) from error
    return matplotlib.rc_context(_STYLE)


def new_figure(width: float, height: float, headline: str) -> Figure:
    """Return an empty figure [inch] under a headline."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(headline, x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure
