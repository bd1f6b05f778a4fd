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
from evsim.plots.style import BLUE, VERMILION
from evsim.spikes import Spikes

if TYPE_CHECKING:
    from bokeh.models import ColumnDataSource, Range1d

MAX_SYNAPSES, MAX_ROWS, MAX_ARRIVALS = 1 << 20, 4, 1 << 18
_COLOURS = (BLUE, VERMILION)  # of inhibition and of excitation

# The twin of `Synapses.arrivals`, for a unit that is chosen on the page.
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
    delay = all_of.delay + projection.axonal(pre_size)[all_of.pre]
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
    from bokeh.models import ColumnDataSource, CustomJS, Div, HoverTool, Spinner
    from bokeh.plotting import figure

    projection = net.projections[name]
    sent, post = spikes[projection.pre], net.populations[projection.post]
    fired = spikes.get(projection.post)
    unit = _liveliest(fired, synapses, post.size)
    largest = float(np.abs(synapses.weight).max()) or 1.0
    own, found, marks = _chosen(unit, synapses, sent, fired, largest)
    delays, mark = ColumnDataSource(own), ColumnDataSource(marks)
    arrivals = ColumnDataSource(found, name="arrivals")

    title = f"{text_of(name)}: when spikes arrive at the unit chosen, later by their delays"
    left = new_panel(title, f"unit of {text_of(projection.pre, 20)}", times, 240, channels)
    left.vspan(x="time", source=mark, line_color="#009E73", line_width=1, line_alpha=0.6)
    dots = left.scatter(
        "time", "channel", source=arrivals, size="size", color="colour", alpha=0.8, line_color=None
    )
    left.add_tools(HoverTool(renderers=[dots], tooltips=_TIPS))

    right = figure(
        title="its delays", y_range=channels, width=260, height=240, tools=TOOLS,

    )  # fmt: skip
    right.scatter(
        "delay", "channel", source=delays, size="size", color="colour", alpha=0.8, line_color=None
    )
    right.xaxis.axis_label = "delay [ms]"
    right.outline_line_color, right.grid.grid_line_alpha = None, 0.3
    right.toolbar.logo = None

    label = f"unit of {text_of(projection.post, 20)}"
    choice = Spinner(title=label, low=0, high=post.size - 1, step=1, value=unit, width=240)
    key = "Vermilion excites, blue inhibits, larger is stronger; green: spikes of the unit."
    code = CustomJS(
        code=_CHOOSE,
        args=dict(
            unit=choice,
            synapses=ColumnDataSource(
                {
                    "pre": synapses.pre.astype(np.int32),
                    "delay": synapses.delay.astype(np.float32),
                    "weight": synapses.weight.astype(np.float32),
                }
            ),
            starts=ColumnDataSource({"first": synapses.first.astype(np.int32)}),
            spikes=_of_spikes(sent, "channel"),
            fired=_of_spikes(fired, "unit"),
            delays=delays,
            arrivals=arrivals,
            marks=mark,
            colours=list(_COLOURS),
            largest=largest,
            most=MAX_ARRIVALS,
        ),
    )
    choice.js_on_change("value", code)
    return [left, right], column(choice, Div(text=key, width=240))


_TIPS = [("unit", "@channel"), ("arrives at", "@time{0.00000} s"), ("weight", "@weight{0.000}")]


def _of_spikes(one: Spikes | None, unit: str) -> ColumnDataSource:
    from bokeh.models import ColumnDataSource

    if one is None:
        return ColumnDataSource({"time": np.empty(0), unit: np.empty(0, np.int32)})
    return ColumnDataSource({"time": one.times, unit: one.units.astype(np.int32)})


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
