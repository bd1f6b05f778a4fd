"""``evsim plot``: which picture a file becomes, by its kind and by the name of the output."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple

from evsim.commands.networks import network_of, read_network, refuse_nir_options
from evsim.files.kinds import identify, refuse_population
from evsim.network import Network
from evsim.result import Result
from evsim.spikes import Spikes
from evsim.words import LINE, plain

if TYPE_CHECKING:
    from evsim.datasets import Dataset
    from evsim.plots.choice import Units, Window
    from evsim.plots.contents import Contents


@dataclass
class PlotOptions:
    """What `plot_to_file` can be asked for.

    Attributes
    ----------
    recording : int or None
        Which recording; the first if left out.
    of_class : str or None
        In its place: the first recording of a class, by name or number.
    population : str or None
        Of a SONATA file with more than one: which.
    units : str or None
        Which units, such as ``"0-20,35"``.
    begin, end : float or None
        Of the stretch of time that is drawn [s].
    network : path or None
        The network that made a result: evsim's or in NIR.
    spike_width, loop_delay : float or None
        Of a NIR graph, see `evsim.interop.load_nir` [s].
    overwrite : bool
        Whether an existing picture may be replaced.
    """

    recording: int | None = None
    of_class: str | None = None
    population: str | None = None
    units: str | None = None
    begin: float | None = None
    end: float | None = None
    network: str | PathLike[str] | None = None
    spike_width: float | None = None
    loop_delay: float | None = None
    overwrite: bool = False

    @property
    def nir(self) -> dict[str, float | None]:
        """What only a NIR graph is read with."""
        return {"spike_width": self.spike_width, "loop_delay": self.loop_delay}


class _Choice(NamedTuple):
    units: Units
    window: Window


def plot_to_file(path: str | PathLike[str], output: str, options: PlotOptions) -> str:
    """Draw what a file holds.

    Parameters
    ----------
    path : path
        Of a spike, network or result file, or of a data set.
    output : str
        The picture: .html is a page, .gif an animation, all else a figure.
    options : PlotOptions
        What of it.

    Returns
    -------
    str
        What the command prints.

    Raises
    ------
    FileError
        If a file is not sound.
    ValueError
        If there is no such recording, class, unit or time, or the file has no such picture.
    FileExistsError
        If the picture exists and must not be replaced.
    ModuleNotFoundError
        If a library is missing.
    """
    from evsim.datasets.recognise import recognise

    if options.recording is not None and options.of_class is not None:
        raise ValueError("--recording and --class exclude each other")
    kind = os.path.splitext(output)[1].lower()
    data = recognise(path)
    held = _contents(path, options) if data is None else _one_of(data, path, options)
    if isinstance(held.data, Network):
        _refuse_choices(path, options)
    choice = _choice(options)
    net = _network(path, held, options, kind)
    sensor = None if data is None else data.sensor
    if kind == ".html":
        _draw_page(path, held, output, options, choice, net)
    elif kind == ".gif":
        _draw_animation(path, held, output, options, choice, net)
    elif sensor is not None and isinstance(held.data, Spikes):
        _draw_camera(held.data, held.classes, sensor, output, options, choice)
    else:
        _draw_figure(held, output, options, choice)
    what = {".html": "page", ".gif": "animation"}.get(kind, "picture")
    return f"{what} in {plain(output, LINE)}"


def _contents(path: str | PathLike[str], options: PlotOptions) -> Contents:
    """Read what is drawn, a NIR graph as the network that it is."""
    from evsim.plots.contents import Contents, contents_of

    kind, notes = identify(path)
    if kind == "nir":
        refuse_population(path, options.population, "is a NIR graph")
        return Contents(read_network(path, **options.nir), 0, None, notes)
    if kind != "result":  # whose network may be a graph
        refuse_nir_options(path, **options.nir)
    return contents_of(path, options.recording or 0, options.population, options.of_class)


def _one_of(data: Dataset, path: str | PathLike[str], options: PlotOptions) -> Contents:
    """Read one recording of a data set."""
    from evsim.plots.choice import check_recording, first_of_class
    from evsim.plots.contents import Contents

    refuse_population(path, options.population, "is a data set")
    refuse_nir_options(path, **options.nir)
    recording = options.recording or 0
    if options.of_class is not None:
        recording = first_of_class(data.labels, options.of_class, data.class_names)
    check_recording(recording, len(data))
    return Contents(data[recording][0], recording, data.class_names, {})


def _network(
    path: str | PathLike[str], held: Contents, options: PlotOptions, kind: str
) -> Network | None:
    """Return the network that made a result, for a page or an animation of it."""
    is_result = isinstance(held.data, Result)
    if is_result and kind in (".html", ".gif"):
        net = network_of(path, held.notes, options.network, **options.nir)
        if net is not None:
            return net
    elif options.network is not None:
        raise ValueError(
            f"{path}: --network is only for a page (.html) or an animation (.gif) of a result"
        )
    if is_result:
        refuse_nir_options(path, **options.nir)
    return None


def _refuse_choices(path: str | PathLike[str], options: PlotOptions) -> None:
    """Refuse to choose from a network."""
    for option, value in (
        ("--recording", options.recording),
        ("--class", options.of_class),
        ("--units", options.units),
        ("--from", options.begin),
        ("--to", options.end),
    ):
        if value is not None:
            raise ValueError(f"{path}: is a network, which is drawn whole; leave out {option}")


def _choice(options: PlotOptions) -> _Choice:
    """Return the units and the stretch of time that are asked for."""
    from evsim.plots.choice import parse_units

    units = None if options.units is None else parse_units(options.units)
    window = None
    if options.begin is not None or options.end is not None:
        end = float("inf") if options.end is None else options.end
        window = (options.begin or 0.0, end)
    return _Choice(units, window)


def _draw_figure(held: Contents, output: str, options: PlotOptions, choice: _Choice) -> None:
    from evsim.plots import save_figure
    from evsim.plots.figures import figure_of

    save_figure(output, figure_of(held, choice.units, choice.window), options.overwrite)


def _draw_page(
    path: str | PathLike[str],
    held: Contents,
    output: str,
    options: PlotOptions,
    choice: _Choice,
    net: Network | None,
) -> None:
    from evsim.plots.page import save_page

    if isinstance(held.data, Network):
        raise ValueError(f"{path}: is a network; a page shows spikes or a result, see --network")
    result, recording = held.data, held.recording
    if isinstance(result, Spikes):
        result, recording = _as_result(result), 0
    save_page(
        output, result, recording, held.classes, choice.units, choice.window, net,
        options.overwrite, f"Recording {held.recording}",
    )  # fmt: skip


def _draw_animation(
    path: str | PathLike[str],
    held: Contents,
    output: str,
    options: PlotOptions,
    choice: _Choice,
    net: Network | None,
) -> None:
    from evsim.plots.animation import save_animation

    if not isinstance(held.data, Result):
        raise ValueError(f"{path}: is no result; an animation shows a result and its network")
    if net is None:
        raise ValueError(f"{path}: an animation needs the network that made it: --network NET")
    if choice.units is not None:
        raise ValueError(f"{path}: an animation shows the units that fire most; leave out --units")
    save_animation(
        output, held.data, net, held.recording, held.classes, choice.window, options.overwrite
    )


def _draw_camera(
    spikes: Spikes,
    classes: Sequence[str] | None,
    sensor: tuple[int, ...],
    output: str,
    options: PlotOptions,
    choice: _Choice,
) -> None:
    """Draw what a camera saw."""
    from evsim.datasets.formats.frames import plot_frames
    from evsim.plots import save_figure

    if choice.units is not None or choice.window is not None:
        raise ValueError("pictures of a camera are drawn whole, without --units, --from, --to")
    save_figure(output, plot_frames(spikes, sensor, 0, classes), options.overwrite)


def _as_result(spikes: Spikes) -> Result:
    """Return spikes as what a page shows."""
    return Result(spikes={"spikes": spikes}, duration=spikes.duration, labels=spikes.labels)
