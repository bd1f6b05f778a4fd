"""The panels of a page over time: rasters, voltages, readouts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evsim.arrays import FloatArray, IntArray
from evsim.plots.choice import Units, one_in
from evsim.plots.rasters import MAX_DOTS
from evsim.plots.style import CYCLE, DARK, GREY, class_name
from evsim.plots.voltages import (
    MAX_LINES,
    marked,
    movers,
    shown_units,
    thinned,
    told_units,
    voltage_label,
)
from evsim.result import Result
from evsim.spikes import Spikes
from evsim.words import DRAWN, plain

if TYPE_CHECKING:
    from bokeh.models import ColumnDataSource, Range1d
    from bokeh.plotting import figure

TOOLS = "pan,xwheel_zoom,box_zoom,save,reset"
MAX_NAMED = 24  # lines that a legend has room for
LEFT, RIGHT = 70, 12  # pixels beside a panel, alike so that times stand below each other


def text_of(words: object, limit: int = DRAWN) -> str:
    """Return text that bokeh draws as it is: no formula begins in it."""
    shown = plain(words, limit)
    for begin in ("$$", r"\(", r"\["):
        shown = shown.replace(begin, f"{begin[0]} {begin[1]}")
    return shown


def new_panel(title: str, y_label: str, times: Range1d, height: int, y_range: Any = None) -> figure:
    """Return an empty panel over time."""
    from bokeh.plotting import figure

    panel = figure(
        title=title,
        x_range=times,
        height=height,
        sizing_mode="stretch_width",
        tools=TOOLS,
        min_border_left=LEFT,
        min_border_right=RIGHT,
        **({} if y_range is None else {"y_range": y_range}),
    )
    panel.yaxis.axis_label, panel.xaxis.axis_label = y_label, "time [s]"
    panel.grid.grid_line_alpha = 0.3
    panel.outline_line_color = None
    panel.toolbar.logo = None
    return panel


def raster_panel(name: str, one: Spikes, numbers: IntArray, times: Range1d, told: str) -> figure:
    """Return the spikes of a population, a dot each."""
    from bokeh.models import ColumnDataSource, HoverTool, Range1d

    keep = np.isin(one.units, numbers) if len(numbers) < one.size else slice(None)
    when, units = one.times[keep], one.units[keep]
    step = one_in(len(when), MAX_DOTS)
    source = ColumnDataSource(
        {"time": when[::step], "unit": units[::step].astype(np.int32)}, name=f"spikes of {name}"
    )
    low, high = (int(numbers[0]), int(numbers[-1])) if len(numbers) else (0, 0)
    rows = Range1d(low - 1, high + 1, bounds=(low - 1, high + 1))
    height = 140 + 60 * (one.size > 30) + 60 * (one.size > 300)
    panel = new_panel(f"{text_of(name)}: {told}", "unit", times, height, rows)
    dots = panel.scatter(
        "time",
        "unit",
        source=source,
        size=3.5 if one.size <= 300 else 2.5,
        color=DARK,
        line_color=None,
    )
    panel.add_tools(
        HoverTool(renderers=[dots], tooltips=[("unit", "@unit"), ("time", "@time{0.00000} s")])
    )
    return panel


def voltage_panel(
    result: Result, name: str, recording: int, units: Units, times: Range1d
) -> figure:
    """Return voltages of a few units, and their threshold."""
    at, values = _samples(result, name, recording)
    n_units = values.shape[1]
    shown = shown_units(values, units)
    levels = result.threshold.get(name)
    levels = None if levels is None else levels[shown]
    panel = new_panel(
        f"{text_of(name)}: {told_units(len(shown), n_units, units is not None)}",
        voltage_label(levels), times, 200,
    )  # fmt: skip
    lines = _lines(at, values, shown.tolist())
    for i, unit in enumerate(shown.tolist()):
        look: Any = dict(color=CYCLE[i % len(CYCLE)], line_width=1.3)
        panel.line("time", str(unit), source=lines, legend_label=f"unit {unit}", **look)
    for level in [] if levels is None else np.unique(levels).tolist():
        _line_across(panel, level, f"threshold {level:.4g}")
    _legend_above(panel)
    return panel


def readout_panel(
    result: Result, name: str, recording: int, classes: Sequence[str] | None, times: Range1d
) -> figure:
    """Return the voltages of a readout, the answer and the label in colour."""
    at, values = _samples(result, name, recording)
    n_units, shown = values.shape[1], movers(values, MAX_LINES)
    panel = new_panel(
        f"{text_of(name)}: {told_units(len(shown), n_units, False)}",
        voltage_label(None), times, 200,
    )  # fmt: skip
    pointed_out = marked(result, name, recording)
    lines = _lines(at, values, [*shown.tolist(), *pointed_out])
    for unit in shown.tolist():
        if unit not in pointed_out:
            panel.line("time", str(unit), source=lines, color=GREY, line_width=1.0)
    for unit, (colour, meaning) in pointed_out.items():
        label = f"{meaning}: {class_name(unit, classes, text_of)}"
        look: Any = dict(color=colour, line_width=2.2)
        panel.line("time", str(unit), source=lines, legend_label=label, **look)
    _legend_above(panel)
    return panel


def _samples(result: Result, name: str, recording: int) -> tuple[FloatArray, FloatArray]:
    times, values = result.voltage_times[name], result.voltage[name][recording]
    return thinned(times, values, (0.0, result.duration))


def _lines(at: FloatArray, values: FloatArray, units: list[int]) -> ColumnDataSource:
    """Return the voltages of units as columns beside the one of the times."""
    from bokeh.models import ColumnDataSource

    return ColumnDataSource({"time": at, **{str(unit): values[:, unit] for unit in units}})


def _line_across(panel: figure, level: float, label: str) -> None:
    panel.hspan(y=[level], line_color=DARK, line_dash="dashed", line_width=1, legend_label=label)


def _legend_above(panel: figure) -> None:
    """Put the legend above the curves, and let a click on an entry hide its line."""
    if not panel.legend:
        return
    legend = panel.legend[0]
    if len(legend.items) > MAX_NAMED:
        legend.visible = False
        return
    legend.orientation, legend.location, legend.click_policy = "horizontal", "right", "hide"
    legend.border_line_color, legend.padding, legend.margin, legend.spacing = None, 0, 0, 12
    legend.label_text_font_size, legend.background_fill_alpha = "9pt", 0.0
    panel.add_layout(legend, "above")
