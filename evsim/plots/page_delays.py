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
    from bokeh.models import ColumnDataSource, CustomJS, Range1d
    from bokeh.plotting import figure

MAX_SYNAPSES, MAX_ROWS, MAX_ARRIVALS = 1 << 20, 4, 1 << 18
_FEW = 5  # spikes
_COLOURS = (BLUE, VERMILION)  # of inhibition and of excitation

_BEYOND = 1e30  # what 32 bits hold
# Runs when the page has been loaded, and whenever another unit is chosen.
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


class DelayRow(NamedTuple):
    """What a page shows of a projection.

    Attributes
    ----------
    panels : [figure, figure]
        Arrivals over time; delays by channel.
    post : str
        The population whose unit is chosen.
    choice : layout
        Where it is.
    choose : CustomJS
        Fills the panels; to be run once the page is loaded.
    """

    panels: list[Any]
    post: str
    choice: Any
    choose: CustomJS


class _Synapses(NamedTuple):
    """The synapses of a projection, sorted by post unit."""

    pre: IntArray
    delay: FloatArray
    weight: FloatArray
    first: IntArray


def delay_rows(
    net: Network,
    spikes: Mapping[str, Spikes],
    times: Range1d,
    rows: Mapping[str, Range1d],
) -> Iterator[DelayRow]:
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
    DelayRow
    """
    n_rows = 0
    for name, projection in net.projections.items():
        there = projection.pre in spikes and 0 < projection.n_synapses <= MAX_SYNAPSES
        if there and n_rows < MAX_ROWS:
            synapses = _sorted(net, name)
            if synapses.delay.any():
                n_rows += 1
                yield _row(net, name, synapses, spikes, times, rows[projection.pre])


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
) -> DelayRow:
    from bokeh.layouts import column
    from bokeh.models import ColumnDataSource, CustomJS, Div, Spinner

    projection = net.projections[name]
    sent, fired = spikes[projection.pre], spikes.get(projection.post)
    size = net.populations[projection.post].size
    unit = _shown_first(fired, synapses, size)
    largest = float(np.abs(synapses.weight).max()) or 1.0
    dots = ("channel", "weight", "size", "colour")
    shown = dict(
        delays=_empty("delay", *dots), arrivals=_empty("time", *dots), marks=_empty("time")
    )
    shown["arrivals"].name = "arrivals"
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
    choose = CustomJS(code=_CHOOSE, args={**shown, **data, **numbers})
    choice.js_on_change("value", choose)
    key = "Vermilion excites, blue inhibits, larger is stronger; green: spikes of the unit."
    right = _delays_panel(shown["delays"], channels)
    return DelayRow(
        [left, right], projection.post, column(choice, Div(text=key, width=240)), choose
    )


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


def _empty(*columns: str) -> ColumnDataSource:
    """Return columns that the page fills."""
    from bokeh.models import ColumnDataSource

    return ColumnDataSource({name: [] for name in columns})


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


def _shown_first(fired: Spikes | None, synapses: _Synapses, size: int) -> int:
    """Return a unit with few spikes, among which a coincidence is seen.

    It is in the middle of those that fire one to five times; without them, the unit that fires
    least but does; without spikes, that of the strongest input.
    """
    if fired is not None and len(fired.times):
        counts = fired.counts()[0]
        order = np.argsort(counts, kind="stable")
        order = order[counts[order] > 0]
        few = order[counts[order] <= _FEW]
        return int(few[len(few) // 2] if len(few) else order[0])
    total = np.add.reduceat(np.append(synapses.weight, 0.0), synapses.first[:-1])
    return int(np.argmax(total[:size]))
