"""``save_page``: one HTML file with rasters, voltages and delays that zoom and pan together.

Drawn with bokeh (``evsim[html]``), whose scripts stand in the file, so that it needs no network.
Names that come from files become plain text there, never markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from os import PathLike
from typing import TYPE_CHECKING, Any

from evsim.files import WholeFile
from evsim.network import Network
from evsim.plots.choice import Units, Window, check_recording, drawn_window, unit_numbers
from evsim.plots.page_delays import delay_rows
from evsim.plots.page_panels import raster_panel, readout_panel, text_of, voltage_panel
from evsim.plots.rasters import counted
from evsim.plots.result_parts import (
    check_fits,
    first_rows,
    result_headline,
    told_window,
    units_of_result,
)
from evsim.result import Result

if TYPE_CHECKING:
    from bokeh.models import CustomJS

_HELP = (
    "Drag to move and turn the wheel to zoom: all panels over time go along, and so do rows with "
    "the same channels. The tools at the right zoom into a box, save a picture and put all back."
)


def save_page(
    path: str | PathLike[str],
    result: Result,
    recording: int = 0,
    classes: Sequence[str] | None = None,
    units: Units = None,
    window: Window = None,
    net: Network | None = None,
    overwrite: bool = False,
    headline: str | None = None,
) -> None:
    """Write a page that shows one recording of a result, whole or not at all.

    Parameters
    ----------
    path : path
        Of the page.
    result : Result
        What was recorded.
    recording : int
        Which recording.
    classes : sequence of str or None
        Names of the classes, by label.
    units : int, slice, range, sequence of int or None
        Of every population, those of these that it has.
    window : (float, float) or None
        What is shown at first [s].
    net : Network or None
        The network that made the result. With it the page shows the delays, and when spikes
        arrive at a unit that can be chosen there.
    overwrite : bool
        Whether an existing file may be replaced.
    headline : str or None
        In place of ``"Recording <n>"``; the label and the answer are added.

    Raises
    ------
    ValueError
        If there is no such recording or unit, nothing was recorded, or the network is another.
    FileExistsError
        If the file exists and ``overwrite`` is false.
    ModuleNotFoundError
        If bokeh is not installed.
    """
    _need_bokeh()
    from bokeh.models import Range1d

    result, n_left_out = first_rows(result)
    if not result.spikes and not result.voltage:
        raise ValueError("the result holds no spikes or voltages to draw")
    check_recording(recording, len(result))
    chosen = units_of_result(result, units)
    parts = {name: spikes[recording] for name, spikes in result.spikes.items()}
    extent = drawn_window(window, result.duration, parts.values())
    times = Range1d(*extent, bounds=(0.0, result.duration))
    headline = result_headline(result, recording, classes, headline, text_of, n_left_out)
    rows: list[list[Any]] = []
    for name, one in parts.items():
        numbers = unit_numbers(chosen.get(name), one.size)
        told = counted(one, numbers, extent)
        rows.append([raster_panel(name, one, numbers, times, told), None])
    ranges = {name: row[0].y_range for name, row in zip(parts, rows, strict=True)}
    at_first: list[CustomJS] = []
    if net is not None:
        check_fits(net, result)
        places = dict(zip(parts, rows, strict=True))
        for row in delay_rows(net, parts, times, ranges):
            at_first.append(row.choose)
            # Beside the raster of the population, if there is room.
            if row.post in places and places[row.post][1] is None:
                places[row.post][1] = row.choice
                rows.append(row.panels)
            else:
                rows += [row.panels, [None, row.choice]]
    for name in result.voltage:
        if name in result.output:
            rows.append([readout_panel(result, name, recording, classes, times), None])
        else:
            rows.append([voltage_panel(result, name, recording, chosen.get(name), times), None])
    told = told_window(extent, result.duration).strip()
    html = _as_html(rows, headline, told, net is None, at_first)
    with WholeFile(path, overwrite) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(html)


def _need_bokeh() -> None:
    try:
        import bokeh  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "a page needs bokeh; install it with: pip install evsim[html]"
        ) from error


def _as_html(
    rows: list[list[Any]],
    headline: str,
    told: str,
    without_delays: bool,
    at_first: list[CustomJS],
) -> str:
    from bokeh.document import Document
    from bokeh.embed import file_html
    from bokeh.events import DocumentReady
    from bokeh.layouts import column, gridplot
    from bokeh.models import Div
    from bokeh.resources import INLINE

    said = [told] if told else []
    said.append(_HELP)
    if without_delays:
        said.append("To see delays, name the network: --network NET.")
    text = f"<h2>{escape(headline)}</h2>"
    text += "".join(f"<p>{escape(sentence)}</p>" for sentence in said)
    grid = gridplot(rows, sizing_mode=None, merge_tools=True, toolbar_location="right")
    grid.sizing_mode, grid.cols = "stretch_width", ["1fr", "max-content"]
    _turn_wheels_on(grid)
    styles = {"font-family": "sans-serif", "padding-left": "12px"}
    page = column(Div(text=text, styles=styles), grid, sizing_mode="stretch_width")
    document = Document(title=headline)
    document.add_root(page)
    document.js_on_event(DocumentReady, *at_first)
    return file_html(document, INLINE, title=headline)


def _turn_wheels_on(grid: Any) -> None:
    """Let the wheel zoom from the start: in every panel, and on the button that stands for all."""
    from bokeh.models import Plot, ToolProxy, WheelZoomTool

    for plot in grid.select({"type": Plot}):
        plot.toolbar.active_scroll = plot.select_one(WheelZoomTool)
    for tool in grid.toolbar.tools:
        if isinstance(tool, ToolProxy) and isinstance(tool.tools[0], WheelZoomTool):
            grid.toolbar.active_scroll = tool
