"""``evsim plot``: which picture a file becomes, by its kind and by the name of the output."""

from __future__ import annotations

import os
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple

from evsim.commands.networks import read_network, refuse_nir_options
from evsim.files.kinds import identify, refuse_population
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
        The network that made a result.
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


class _Choice(NamedTuple):
    recording: int
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
    if data is not None:
        refuse_population(path, options.population, "is a data set")
        _draw_dataset(data, output, options, kind)
    else:
        held = _contents(path, options)
        choice = _choice(options, held.recording)
        if kind == ".html":
            _draw_page(path, held, output, options, choice)
        elif kind == ".gif":
            _draw_animation(path, held, output, options, choice)
        else:
            _draw_figure(held, output, options, choice)
    what = {".html": "page", ".gif": "animation"}.get(kind, "picture")
    return f"{what} in {plain(output, LINE)}"


def _contents(path: str | PathLike[str], options: PlotOptions) -> Contents:
    """Read what is drawn, a NIR graph as the network that it is."""
    from evsim.plots.contents import Contents, contents_of

    nir = {"spike_width": options.spike_width, "loop_delay": options.loop_delay}
    kind, notes = identify(path)
    if kind == "nir":
        refuse_population(path, options.population, "is a NIR graph")
        return Contents(read_network(path, **nir), 0, None, notes)
    refuse_nir_options(path, **nir)
    return contents_of(path, options.recording or 0, options.population, options.of_class)


def _choice(options: PlotOptions, recording: int) -> _Choice:
    from evsim.plots.choice import parse_units

    units = None if options.units is None else parse_units(options.units)
    window = None
    if options.begin is not None or options.end is not None:
        end = float("inf") if options.end is None else options.end
        window = (options.begin or 0.0, end)
    return _Choice(recording, units, window)


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
) -> None:
    from evsim.plots.network_of import network_of
    from evsim.plots.page import save_page

    result, recording, net = held.data, choice.recording, None
    if isinstance(result, Result):
        net = network_of(path, held.notes, options.network)
    elif isinstance(result, Spikes):
        result, recording = _as_result(result), 0
    else:
        raise ValueError(f"{path}: is a network; a page shows spikes or a result, see --network")
    save_page(
        output, result, recording, held.classes, choice.units, choice.window, net,
        options.overwrite, f"Recording {choice.recording}",
    )  # fmt: skip


def _draw_animation(
    path: str | PathLike[str],
    held: Contents,
    output: str,
    options: PlotOptions,
    choice: _Choice,
) -> None:
    from evsim.plots.animation import save_animation
    from evsim.plots.network_of import network_of

    if not isinstance(held.data, Result):
        raise ValueError(f"{path}: is no result; an animation shows a result and its network")
    net = network_of(path, held.notes, options.network)
    if net is None:
        raise ValueError(f"{path}: an animation needs the network that made it: --network NET")
    save_animation(
        output, held.data, net, choice.recording, held.classes, choice.window, options.overwrite
    )


def _draw_dataset(data: Dataset, output: str, options: PlotOptions, kind: str) -> None:
    """Draw one recording of a data set: what a camera saw, or a raster."""
    from evsim.datasets.formats.frames import plot_frames
    from evsim.plots import plot_spikes, save_figure
    from evsim.plots.choice import check_recording, first_of_class
    from evsim.plots.page import save_page

    if kind == ".gif":
        raise ValueError("a data set has no network to animate; choose .png or .html")
    recording = options.recording or 0
    if options.of_class is not None:
        recording = first_of_class(data.labels, options.of_class, data.class_names)
    check_recording(recording, len(data))
    choice, (spikes, _) = _choice(options, recording), data[recording]
    headline = f"Recording {recording}"
    if kind == ".html":
        save_page(
            output, _as_result(spikes), 0, data.class_names, choice.units, choice.window, None,
            options.overwrite, headline,
        )  # fmt: skip
        return
    if data.sensor is not None:
        if choice.units is not None or choice.window is not None:
            raise ValueError("pictures of a camera are drawn whole, without --units, --from, --to")
        figure = plot_frames(spikes, data.sensor, 0, data.class_names)
    else:
        figure = plot_spikes(spikes, 0, data.class_names, headline, choice.units, choice.window)
    save_figure(output, figure, options.overwrite)


def _as_result(spikes: Spikes) -> Result:
    """Return spikes as what a page shows."""
    return Result(spikes={"spikes": spikes}, duration=spikes.duration, labels=spikes.labels)
