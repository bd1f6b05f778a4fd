"""The delays on a page: those of one unit by channel, and when spikes arrive there.

The unit is chosen on the page; a few lines of JavaScript pick its synapses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evsim.arrays import FloatArray, IntArray
from evsim.network import Network
from evsim.plots.page_panels import TOOLS, new_panel, text_of
from evsim.plots.style import BLUE, GREEN, VERMILION
from evsim.spikes import Spikes

if TYPE_CHECKING:
    from bokeh.models import ColumnDataSource, Range1d
    from bokeh.plotting import figure

MAX_SYNAPSES, MAX_ROWS, MAX_ARRIVALS = 1 << 20, 4, 1 << 18
_COLOURS = (BLUE, VERMILION)  # of inhibition and of excitation

_BEYOND = 1e30  # what 32 bits hold
# The twin of `_chosen`, for a unit that is chosen on the page.
_CHOOSE = """
const j = Math.round(unit.value), s = synapses.data, first = starts.data.first
const colour = k => s.weight[k] < 0 ? colours[0] : colours[1]
const size = k => 2 + 6 * Math.sqrt(Math.abs(s.weight[k]) / largest)
const own = {delay: [], channel: [], weight: [], size: [], colour: []}
const of_channel = new Map()
for (let k = first[j]; k < first[j + 1]; k++) {
  own.delay.push(1e3 * s.delay[k]); own.channel.push(s.pre[k]); own.weight.push(s.weight[k])
  own.size.push(size(k)); own.colour.push(colour(k))
  if (!of_channel.has(s.pre[k])) of_channel.set(s.pre[k], [])
  of_channel.get(s.pre[k]).push(k)
}
const found = {time: [], channel: [], weight: [], size: [], colour: []}
const sent = spikes.data
for (let i = 0; i < sent.time.length && found.time.length < most; i++) {
  for (const k of of_channel.get(sent.channel[i]) ?? []) {
    found.time.push(sent.time[i] + s.delay[k]); found.channel.push(s.pre[k])
    found.weight.push(s.weight[k]); found.size.push(size(k)); found.colour.push(colour(k))
  }
}
const times = []
for (let i = 0; i < fired.data.unit.length; i++) {
  if (fired.data.unit[i] == j) times.push(fired.data.time[i])
}
delays.data = own; arrivals.data = found; marks.data = {time: times}
"""


class _Synapses(NamedTuple):
    """The synapses of a projection, sorted by post unit."""

    pre: IntArray
    delay: FloatArray
    weight: FloatArray
    first: IntArray

    def of(self, unit: int) -> slice:
        """Return which belong to a post unit."""
        return slice(int(self.first[unit]), int(self.first[unit + 1]))


def delay_rows(
    net: Network,
    spikes: Mapping[str, Spikes],
    times: Range1d,
    rows: Mapping[str, Range1d],
) -> Iterator[tuple[list[Any], str, Any]]:
    """Yield a row for every projection whose input was recorded, if it is small enough.

    Parameters
    ----------
    net : Network
        The network.
    spikes : mapping of str to Spikes
        One recording of every recorded population.
    times : Range1d
        The range of time that all panels share.
    rows : mapping of str to Range1d
        Of every recorded population, the range of units that its raster shows.

    Yields
    ------
    row : [figure, figure]
        Arrivals over time; delays by channel.
    post : str
        The population whose unit is chosen.
    choice : layout
        Where it is.
    """
    n_rows = 0
    for name, projection in net.projections.items():
        there = projection.pre in spikes and 0 < projection.n_synapses <= MAX_SYNAPSES
        if there and n_rows < MAX_ROWS:
            synapses = _sorted(net, name)
            if synapses.delay.any():
                n_rows += 1
                row, choice = _row(net, name, synapses, spikes, times, rows[projection.pre])
                yield row, projection.post, choice


def _sorted(net: Network, name: str) -> _Synapses:
    projection = net.projections[name]
    pre_size, post_size = (
        net.populations[projection.pre].size,
        net.populations[projection.post].size,
    )
    all_of = projection.synapses(pre_size)
    order = np.lexsort((all_of.pre, all_of.post))
    delay = np.minimum(all_of.delay + projection.axonal(pre_size)[all_of.pre], _BEYOND)
    first = np.searchsorted(all_of.post[order], np.arange(post_size + 1))
    return _Synapses(all_of.pre[order], delay[order], all_of.weight[order], first)


def _row(
    net: Network,
    name: str,
    synapses: _Synapses,
    spikes: Mapping[str, Spikes],
    times: Range1d,
    channels: Range1d,
) -> tuple[list[Any], Any]:
    from bokeh.layouts import column
    from bokeh.models import ColumnDataSource, CustomJS, Div, Spinner

    projection = net.projections[name]
    sent, fired = spikes[projection.pre], spikes.get(projection.post)
    size = net.populations[projection.post].size
    unit = _liveliest(fired, synapses, size)
    largest = float(np.abs(synapses.weight).max()) or 1.0
    own, found, marks = _chosen(unit, synapses, sent, fired, largest)
    shown = dict(
        delays=ColumnDataSource(own),
        arrivals=ColumnDataSource(found, name="arrivals"),
        marks=ColumnDataSource(marks),
    )
    title = f"{text_of(name)}: when spikes arrive at the unit chosen, later by their delays"
    left = new_panel(title, f"unit of {text_of(projection.pre, 20)}", times, 240, channels)
    _draw_arrivals(left, shown["arrivals"], shown["marks"])

    label = f"unit of {text_of(projection.post, 20)}"
    choice = Spinner(title=label, low=0, high=size - 1, step=1, value=unit, width=240)
    data = dict(
        synapses=_source(pre=synapses.pre, delay=synapses.delay, weight=synapses.weight),
        starts=_source(first=synapses.first),
        spikes=ColumnDataSource({"time": sent.times, "channel": sent.units.astype(np.int32)}),
        fired=_of_spikes(fired),
    )
    numbers = dict(unit=choice, colours=list(_COLOURS), largest=largest, most=MAX_ARRIVALS)
    choice.js_on_change("value", CustomJS(code=_CHOOSE, args={**shown, **data, **numbers}))
    key = "Vermilion excites, blue inhibits, larger is stronger; green: spikes of the unit."
    right = _delays_panel(shown["delays"], channels)
    return [left, right], column(choice, Div(text=key, width=240))


def _draw_arrivals(panel: figure, arrivals: ColumnDataSource, marks: ColumnDataSource) -> None:
    from bokeh.models import HoverTool

    panel.vspan(x="time", source=marks, line_color=GREEN, line_width=1, line_alpha=0.6)
    dots = panel.scatter("time", "channel", source=arrivals, **_DOTS)
    panel.add_tools(HoverTool(renderers=[dots], tooltips=_TIPS))


def _delays_panel(delays: ColumnDataSource, channels: Range1d) -> figure:
    from bokeh.plotting import figure

    panel = figure(title="its delays", y_range=channels, width=260, height=240, tools=TOOLS)
    panel.scatter("delay", "channel", source=delays, **_DOTS)
    panel.xaxis.axis_label = "delay [ms]"
    panel.outline_line_color, panel.grid.grid_line_alpha = None, 0.3
    panel.toolbar.logo = None
    return panel


_DOTS: Any = dict(size="size", color="colour", alpha=0.8, line_color=None)
_TIPS = [("unit", "@channel"), ("arrives at", "@time{0.00000} s"), ("weight", "@weight{0.000}")]


def _source(**columns: IntArray | FloatArray) -> ColumnDataSource:
    """Return columns of half the size, which is enough for a picture."""
    from bokeh.models import ColumnDataSource

    return ColumnDataSource(
        {
            name: values.astype(np.int32)
            if values.dtype.kind == "i"
            else np.clip(values, -_BEYOND, _BEYOND).astype(np.float32)
            for name, values in columns.items()
        }
    )


def _of_spikes(fired: Spikes | None) -> ColumnDataSource:
    from bokeh.models import ColumnDataSource

    times = np.empty(0) if fired is None else fired.times
    units = np.empty(0, np.int64) if fired is None else fired.units
    return ColumnDataSource({"time": times, "unit": units.astype(np.int32)})


def _liveliest(fired: Spikes | None, synapses: _Synapses, size: int) -> int:
    """Return the unit that fires most; without its spikes, that of the strongest input."""
    if fired is not None and len(fired.times):
        return int(np.argmax(fired.counts()[0]))
    total = np.add.reduceat(np.append(synapses.weight, 0.0), synapses.first[:-1])
    return int(np.argmax(total[:size]))


def _chosen(
    unit: int, synapses: _Synapses, sent: Spikes, fired: Spikes | None, largest: float
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return delays, arrivals and spikes of a unit; the page does the same for others."""
    mine = synapses.of(unit)
    pre, delay, weight = synapses.pre[mine], synapses.delay[mine], synapses.weight[mine]
    colour = np.where(weight < 0, *_COLOURS)
    size = 2 + 6 * np.sqrt(np.abs(weight) / largest)
    own = dict(delay=1e3 * delay, channel=pre, weight=weight, size=size, colour=colour)
    begin, end = np.searchsorted(pre, sent.units), np.searchsorted(pre, sent.units, side="right")
    spike = np.repeat(np.arange(len(sent.units)), end - begin)[:MAX_ARRIVALS]
    offsets = np.concatenate([[0], np.cumsum(end - begin)])
    k = begin[spike] + np.arange(len(spike)) - offsets[spike]
    found = dict(
        time=sent.times[spike] + delay[k],
        channel=pre[k],
        weight=weight[k],
        size=size[k],
        colour=colour[k],
    )
    marks = np.empty(0) if fired is None else fired.times[fired.units == unit]
    return own, found, {"time": marks}
