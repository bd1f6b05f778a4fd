"""``voltage``: membrane voltages over time, and the threshold they have to reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evsim.arrays import FloatArray, IntArray
from evsim.plots.choice import Units, Window, check_recording, drawn_window, one_in, unit_numbers
from evsim.plots.style import BLUE, CYCLE, DARK, GREY, VERMILION, class_name
from evsim.plots.time_axis import label_time
from evsim.result import Result
from evsim.words import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_LINES, MAX_SAMPLES = 200, 20_000  # of a panel


def voltage(
    axes: Axes,
    voltages: Result | tuple[npt.ArrayLike, npt.ArrayLike],
    population: str | None = None,
    recording: int = 0,
    units: Units = None,
    window: Window = None,
    threshold: npt.ArrayLike | None = None,
) -> Axes:
    """Draw voltages of one recording into your own axes, with the threshold as a dashed line.

    Lines are labelled ``"unit <n>"`` and ``"threshold <v>"``; ``axes.legend()`` shows that.

    Parameters
    ----------
    axes : matplotlib Axes
        Where to draw. Times are in seconds there; a stretch shorter than 0.2 s is only labelled
        in ms.
    voltages : Result, or (times, values)
        A result with sampled voltages; or sample times [time] [s] and voltages [time, unit].
    population : str or None
        Of a result: whose; may be left out if it holds the voltage of only one.
    recording : int
        Of a result: which.
    units : int, slice, range, sequence of int or None
        Which units, at most 200; None: the five whose voltage moves most.
    window : (float, float) or None
        From when to when [s]; None: all samples.
    threshold : float, float array [unit] or None
        Where units fire; None: as the result says, or not drawn.

    Returns
    -------
    matplotlib Axes
        Those given.

    Raises
    ------
    ValueError
        If there is no such population, recording or unit, or nothing is sampled in the window.
    """
    if isinstance(voltages, Result):
        name = _population(voltages, population)
        check_recording(recording, len(voltages.voltage[name]))
        times, values = voltages.voltage_times[name], voltages.voltage[name][recording]
        threshold = voltages.threshold.get(name) if threshold is None else threshold
        duration = voltages.duration
    else:
        times, values = (np.asarray(part, np.float64) for part in voltages)
        if values.shape[:1] != times.shape or values.ndim != 2:
            raise ValueError(
                f"voltages of shape {list(values.shape)} at times of shape {list(times.shape)}; "
                "must be [time, unit] and [time]"
            )
        duration = float(times.max(initial=0.0)) or 1.0
    extent = drawn_window(window, duration, [])
    times, values = thinned(times, values, extent)
    shown = shown_units(values, units)
    for i, unit in enumerate(shown):
        colour = CYCLE[i % len(CYCLE)]
        axes.plot(times, values[:, unit], color=colour, linewidth=1.0, label=f"unit {unit}")
    level = None if threshold is None else np.broadcast_to(threshold, values.shape[1])[shown]
    _draw_threshold(axes, level)
    axes.set_ylabel(voltage_label(level))
    label_time(axes, extent)
    return axes


def _population(result: Result, name: str | None) -> str:
    held = list(result.voltage)
    if name is None and len(held) == 1:
        return held[0]
    if name not in result.voltage:
        what = "population: say which" if name is None else f"no voltage of {plain(name)!r}"
        known = plain(", ".join(held)) or "none"
        raise ValueError(f"{what}; the result holds the voltage of: {known}")
    return str(name)


def voltage_label(threshold: FloatArray | None) -> str:
    """Return the label of an axis: voltages have no unit, unless all thresholds are 1."""
    of_threshold = threshold is not None and len(threshold) and (threshold == 1.0).all()
    return "voltage [threshold]" if of_threshold else "voltage [no unit]"


def _draw_threshold(axes: Axes, levels: FloatArray | None) -> None:
    """Draw one line, or one in the colour of each unit if their thresholds differ."""
    if levels is None or not len(levels):
        return
    if (levels == levels[0]).all():
        label = f"threshold {levels[0]:.4g}"
        axes.axhline(levels[0], color=DARK, linewidth=0.9, linestyle="--", label=label)
        return
    for i, level in enumerate(levels):
        axes.axhline(level, color=CYCLE[i % len(CYCLE)], linewidth=0.9, linestyle="--")


def shown_units(values: FloatArray, units: Units) -> IntArray:
    """Return the units whose voltage [time, unit] is drawn: those chosen, or five that move most.

    Raises
    ------
    ValueError
        If there is no such unit, or if they are more than a panel has room for.
    """
    shown = movers(values, len(CYCLE)) if units is None else unit_numbers(units, values.shape[1])
    if len(shown) > MAX_LINES:
        raise ValueError(f"units: {len(shown)} voltages are too many to tell apart; choose fewer")
    return shown


def told_units(n_shown: int, n_units: int, chosen: bool) -> str:
    """Tell of how many units the voltage is drawn, and which they are if nobody chose them."""
    if n_shown == n_units:
        return f"voltage of {n_units} units"
    return f"voltage of {n_shown} of {n_units} units" + ("" if chosen else ", those that move most")


def movers(values: FloatArray, n: int) -> IntArray:
    """Return the units whose voltage [time, unit] moves most, in order."""
    if not len(values):
        return np.arange(min(n, values.shape[1]))
    return np.sort(np.argsort(-np.ptp(values, axis=0), kind="stable")[:n])


def thinned(
    times: FloatArray, values: FloatArray, window: tuple[float, float]
) -> tuple[FloatArray, FloatArray]:
    """Return the samples in a stretch of time; every so manieth, if a picture can't show all."""
    keep = (times >= window[0]) & (times <= window[1])
    step = one_in(int(keep.sum()), MAX_SAMPLES)
    return times[keep][::step], values[keep][::step]


def readout_voltage(
    axes: Axes,
    name: str,
    result: Result,
    recording: int,
    classes: Sequence[str] | None,
    window: tuple[float, float],
) -> None:
    """Draw all voltages of a readout in grey, the answer and the label in colour."""
    times, values = thinned(result.voltage_times[name], result.voltage[name][recording], window)
    axes.plot(times, values[:, movers(values, MAX_LINES)], color=GREY, linewidth=0.8)
    for unit, (colour, meaning) in marked(result, name, recording).items():
        text = f"{meaning}: {class_name(unit, classes)}"
        axes.plot(times, values[:, unit], color=colour, linewidth=1.8, label=text)
    axes.set_ylabel(voltage_label(None))
    # On the line of the title, where no curve runs.
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, fontsize=8, handlelength=1.2,
        borderaxespad=0.2,
    )  # fmt: skip


def marked(result: Result, name: str, recording: int) -> dict[int, tuple[str, str]]:
    """Return colour and meaning of the units to point out: the answer and the truth."""
    values = result.output[name][recording]
    answer = int(np.argmax(values))
    label = None if result.labels is None else int(result.labels[recording])
    if label is None or not 0 <= label < len(values):
        return {answer: (BLUE, "answer")}
    if label == answer:
        return {answer: (BLUE, "answer and label")}
    return {answer: (BLUE, "answer"), label: (VERMILION, "label")}
