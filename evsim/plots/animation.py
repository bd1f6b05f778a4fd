"""``save_animation``: a recording running through the delays of a network, as a GIF.

From left to right: spikes of the input drift in, by channel; each sets out on the strongest
synapses that it has and is on its way as long as the delay lasts; units flash when they fire;
the readout's values grow.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from evsim.arrays import FloatArray
from evsim.files import WholeFile
from evsim.network import Network
from evsim.plots.choice import Window, check_recording, drawn_window
from evsim.plots.flights import MAX_SPIKES, Flights, find_flights
from evsim.plots.result_parts import check_fits
from evsim.plots.style import BLUE, DARK, DIM, GREEN, GREY, VERMILION, name_of, styled
from evsim.readouts import values_so_far
from evsim.result import Result
from evsim.words import drawn

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTH, HEIGHT, DPI = 720, 400, 100  # pixels
FRAME, MAX_FRAMES, HOLD = 0.05, 240, 1.5  # [s] a frame lasts; how many; [s] the last one stays
SLOWER = 10
COLOURS = 128  # of the palette
_IN, _SENDERS, _UNITS, _OUT, _ZERO = 14, 150, 446, 540, 648  # where things stand [pixel]
_HALF_BAR = 52
_BOTTOM, _TOP = 42, 318
_GLOW = 0.03  # [s] in which a flash fades


def save_animation(
    path: str | PathLike[str],
    result: Result,
    net: Network,
    recording: int = 0,
    classes: Sequence[str] | None = None,
    window: Window = None,
    overwrite: bool = False,
) -> None:
    """Write a GIF of a recording that runs through delays, ten times slower, whole or not at all.

    Shown are the twelve units that fire most and the six strongest synapses of each; a GIF of
    the same result is the same to the last bit. Long recordings are slowed down less. Of the
    spikes of the input the first 65,536 set out; if there are more, the picture says so.

    Parameters
    ----------
    path : path
        Of the picture.
    result : Result
        With the spikes of the input and of a population behind delays, and, if the values of the
        readout are to grow, its voltage.
    net : Network
        The network that made the result.
    recording : int
        Which recording.
    classes : sequence of str or None
        Names of the classes, by label.
    window : (float, float) or None
        From when to when [s]; None: from 0 to a little after the last spike, and the last
        arrival at the end of a synapse that is shown, or to the end of the recording if that is
        near.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    ValueError
        If there is no such recording, or the result does not hold what is to be shown.
    FileExistsError
        If the file exists and ``overwrite`` is false.
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    if not result.spikes:
        raise ValueError("the result holds no spikes to animate")
    check_recording(recording, len(result))
    check_fits(net, result)
    flights = find_flights(net, result, recording)
    parts = [spikes[recording] for spikes in result.spikes.values()]
    begin, end = drawn_window(window, result.duration, parts, flights.end)
    times = np.linspace(begin, end, min(round((end - begin) * SLOWER / FRAME) + 1, MAX_FRAMES))
    with styled():
        scene = _Scene(net, result, recording, classes, flights, (begin, end), len(times))
        frames = _with_one_palette(list(map(scene.at, times)))
    lasts = [round(1e3 * FRAME)] * (len(frames) - 1) + [round(1e3 * HOLD)]
    with WholeFile(path, overwrite) as temporary:
        frames[0].save(
            temporary, "GIF", save_all=True, append_images=frames[1:], duration=lasts, loop=0
        )


class _Scene:
    """The figure, of which a few artists move."""

    def __init__(
        self,
        net: Network,
        result: Result,
        recording: int,
        classes: Sequence[str] | None,
        flights: Flights,
        window: tuple[float, float],
        n_frames: int,
    ) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.flights = flights
        self.sent = result.spikes[flights.projection.pre][recording]
        self.fired = result.spikes[flights.projection.post][recording]
        self.figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI)
        self.canvas = FigureCanvasAgg(self.figure)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))
        self.axes.axis("off")
        self.channel_y = _spread(self.sent.size)
        self.unit_y = _spread(len(flights.units))[::-1]
        self._draw_titles(result, recording, classes, window, n_frames)
        self._draw_network()
        self._prepare_dots()
        self.bars = _Bars(self.axes, net, result, recording, classes)

    def _draw_titles(
        self,
        result: Result,
        recording: int,
        classes: Sequence[str] | None,
        window: tuple[float, float],
        n_frames: int,
    ) -> None:
        what = f"Recording {recording}"
        if result.labels is not None:
            label = int(result.labels[recording])
            name = name_of(label, classes, 20)
            what = f"class {label}" if name is None else f'"{name}"'
        big: Any = dict(fontsize=13, fontweight="bold", color=DARK, va="baseline")
        self.axes.text(_IN, HEIGHT - 28, f"{what}, spike by spike through the delays", **big)
        self.clock = self.axes.text(WIDTH - 14, HEIGHT - 28, "", ha="right", **big)
        told = f"{(n_frames - 1) * FRAME / (window[1] - window[0]):.3g} times slower"
        if len(self.sent.times) > MAX_SPIKES:
            told += f"; only the first {MAX_SPIKES:,} spikes set out"
        small: Any = dict(fontsize=8, color=DIM, va="baseline")
        self.axes.text(WIDTH - 14, HEIGHT - 46, told, ha="right", **small)
        projection, delay = self.flights.projection, 1e3 * self.flights.delay
        pre, post = drawn(projection.pre, 14), drawn(projection.post, 14)
        way = f"on their way for {delay.min():.0f} to {delay.max():.0f} ms"
        n_units = f"{len(self.flights.units)} of {self.fired.size} units"
        for x, colour, word in ((_IN, VERMILION, "excites"), (_IN + 70, BLUE, "inhibits")):
            self.axes.scatter([x + 4], [HEIGHT - 43], s=16, color=colour, linewidths=0)
            self.axes.text(x + 12, HEIGHT - 46, word, **small)
        self.axes.scatter([_IN + 149], [HEIGHT - 43], s=16, color=GREEN, linewidths=0)
        self.axes.text(_IN + 157, HEIGHT - 46, "fires", **small)
        self.axes.text(_IN, 14, f"{pre}, {self.sent.size} channels", **small)
        self.axes.text((_SENDERS + _UNITS) / 2 - 20, 14, way, ha="center", **small)
        self.axes.text(_UNITS + 8, 14, f"{post}, {n_units}", ha="center", **small)

    def _draw_network(self) -> None:
        """Draw what does not move: the strongest synapses, the channels and the units."""
        from matplotlib.collections import LineCollection

        begin, end, weight = self._ends()
        strong = np.abs(weight) / np.abs(weight).max()
        colours = np.where(weight < 0, BLUE, VERMILION).tolist()
        lines = [((x, y), (u, v)) for (x, y), (u, v) in zip(begin, end, strict=True)]
        self.axes.add_collection(
            LineCollection(lines, colors=colours, linewidths=0.4 + 1.2 * strong, alpha=0.22)
        )
        senders = np.full(len(self.channel_y), _SENDERS)
        self.axes.scatter(senders, self.channel_y, s=3, color=GREY, linewidths=0)

    def _ends(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return where the chosen synapses begin and end, and their weights."""
        pre, row = self.flights.pre, self.flights.row
        begin = np.column_stack([np.full(len(pre), _SENDERS), self.channel_y[pre]])
        end = np.column_stack([np.full(len(row), _UNITS), self.unit_y[row]])
        return begin.astype(float), end.astype(float), self.flights.weight

    def _prepare_dots(self) -> None:
        """Make the artists that move, empty."""
        plain: Any = dict(linewidths=0)
        self.coming = self.axes.scatter([], [], s=4, color=DARK, **plain)
        self.leaving = self.axes.scatter([], [], s=7, color=GREEN, **plain)
        self.flash = self.axes.scatter([], [], s=16, color=DARK, **plain)
        self.flying = self.axes.scatter([], [], s=14, zorder=4, **plain)
        x = np.full(len(self.unit_y), _UNITS)
        self.halo = self.axes.scatter(
            x, self.unit_y, s=10, color=GREEN, alpha=0.3, zorder=3, **plain
        )
        self.units = self.axes.scatter(
            x, self.unit_y, s=70, facecolor="white", edgecolor=DARK, linewidths=1.0, zorder=5
        )

    def at(self, time: float) -> Image:
        """Return the picture at an instant."""
        from PIL import Image as pil

        self.clock.set_text(f"{time:.3f} s")
        self._move_spikes(time)
        self._move_flights(time)
        self._light_units(time)
        self.bars.grow(time)
        self.canvas.draw()
        return pil.fromarray(np.asarray(self.canvas.buffer_rgba())[..., :3].copy())

    def _move_spikes(self, time: float) -> None:
        """Let spikes drift in on the left, a pixel a millisecond, and out on the right."""
        x = _SENDERS - 1e3 * (self.sent.times - time)
        there = (x >= _IN) & (x < _SENDERS)
        self.coming.set_offsets(np.column_stack([x[there], self.channel_y[self.sent.units[there]]]))
        now = (x >= _SENDERS) & (x < _SENDERS + 8)
        self.flash.set_offsets(
            np.column_stack([np.full(now.sum(), _SENDERS), self.channel_y[self.sent.units[now]]])
        )
        rows = {unit: row for row, unit in enumerate(self.flights.units.tolist())}
        x = _UNITS + 8 + 1e3 * (time - self.fired.times)
        there = (x >= _UNITS + 8) & (x < _OUT) & np.isin(self.fired.units, self.flights.units)
        y = [self.unit_y[rows[unit]] for unit in self.fired.units[there].tolist()]
        self.leaving.set_offsets(np.column_stack([x[there], y]))

    def _move_flights(self, time: float) -> None:
        begin, end, weight = self._ends()
        synapse, share = self.flights.at(time)
        share = share[:, None]
        self.flying.set_offsets(begin[synapse] * (1 - share) + end[synapse] * share)
        self.flying.set_facecolor(np.where(weight[synapse] < 0, BLUE, VERMILION).tolist())
        strong = np.abs(weight[synapse]) / np.abs(weight).max()
        self.flying.set_sizes(5 + 14 * strong)

    def _light_units(self, time: float) -> None:
        from matplotlib.colors import to_rgb

        glow = np.zeros(len(self.flights.units))
        for row, unit in enumerate(self.flights.units):
            past = time - self.fired.times[self.fired.units == unit]
            past = past[past >= 0]
            if len(past):
                glow[row] = np.exp(-past.min() / _GLOW)
        green = np.array(to_rgb(GREEN))
        self.units.set_facecolor([tuple(1.0 - g * (1.0 - green)) for g in glow])
        self.halo.set_sizes(400 * glow)


class _Bars:
    """The values of the readout so far, if its voltage was sampled."""

    def __init__(
        self,
        axes: Any,
        net: Network,
        result: Result,
        recording: int,
        classes: Sequence[str] | None,
    ) -> None:
        name = next((n for n in result.output if n in result.voltage), None)
        self.bars: Any = []
        if name is None or result.voltage[name].shape[2] > 20:
            return
        self.times = result.voltage_times[name]
        self.values = values_so_far(
            net.populations[name], self.times, result.voltage[name][recording]
        )
        n_units = self.values.shape[1]
        self.scale = _HALF_BAR / (np.abs(self.values).max() or 1.0)
        y = _spread(n_units)[::-1]
        height = 0.62 * (y[0] - y[1]) if n_units > 1 else 12
        self.bars = axes.barh(y, np.zeros(n_units), left=_ZERO, height=height, color=GREY)
        axes.plot([_ZERO, _ZERO], [_BOTTOM - 8, _TOP + 8], color=DARK, linewidth=0.8)
        self.names = []
        for unit in range(n_units):
            text = name_of(unit, classes, 8) or str(unit)
            where = (_ZERO - _HALF_BAR - 4, y[unit])
            self.names.append(axes.text(*where, text, fontsize=8, ha="right", va="center_baseline"))
        small: Any = dict(fontsize=8, color=DIM, ha="center", va="baseline")
        axes.text(_ZERO, 14, f"{drawn(name, 14)}, value so far", **small)

    def grow(self, time: float) -> None:
        """Give bars the length of their values, and the leading one a colour."""
        if not len(self.bars):
            return
        sample = max(int(np.searchsorted(self.times, time, side="right")) - 1, 0)
        values = self.values[sample]
        leader = int(np.argmax(values)) if values.any() else -1
        for unit, bar in enumerate(self.bars):
            bar.set_width(self.scale * values[unit])
            bar.set_color(BLUE if unit == leader else GREY)
            self.names[unit].set_color(BLUE if unit == leader else DIM)
            self.names[unit].set_fontweight("bold" if unit == leader else "normal")


def _spread(n: int) -> FloatArray:
    """Return heights for ``n`` rows, from the lowest."""
    return np.linspace(_BOTTOM, _TOP, n) if n > 1 else np.array([(_BOTTOM + _TOP) / 2])


def _with_one_palette(frames: list[Image]) -> list[Image]:
    """Give all frames the same few colours, those of a few frames side by side."""
    from PIL import Image as pil

    some = frames[:: max(1, len(frames) // 6)]
    wide = pil.new("RGB", (WIDTH, HEIGHT * len(some)))
    for i, frame in enumerate(some):
        wide.paste(frame, (0, HEIGHT * i))
    palette = wide.quantize(COLOURS, kmeans=1, dither=pil.Dither.NONE)
    few = [frame.quantize(palette=palette, dither=pil.Dither.NONE) for frame in frames]
    colours = np.array(few[0].getpalette()).reshape(-1, 3)
    colours[int(np.asarray(few[0])[0, 0])] = 255  # paper stays white
    for frame in few:
        frame.putpalette(colours.ravel().tolist())
    return few
