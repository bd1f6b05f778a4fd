"""What a spike, network or result file holds, told in plain text.

`describe` reads a file of any kind a bounded number of spikes at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from evsim.arrays import IntArray
from evsim.bits import network_bits
from evsim.budget import UNIT
from evsim.commands.networks import read_network, refuse_nir_options
from evsim.commands.tally import Answers, Tally
from evsim.files import SpikeFile, network_digest
from evsim.files.hdf5 import Folder, InputFile, as_floats, as_integers
from evsim.files.kinds import class_names, identify, refuse_population
from evsim.files.network_files import stored_bits
from evsim.files.spike_layouts import ShdRecordings, read_recordings, stretches
from evsim.files.stored_parts import PARTS, stored_parts
from evsim.levels import Levels
from evsim.models import MODELS
from evsim.network import Network, Population
from evsim.projections import Projection, payload
from evsim.spikes import Spikes
from evsim.words import LINE, count, milliseconds, number, plain, span, text_histogram

if TYPE_CHECKING:
    from evsim.datasets import Dataset

BATCH, MOST = 16, 1 << 12  # recordings of a data set that are in memory at once
FEW = 1 << 16  # spikes of a batch that might as well be larger
_FILES = {"nir": "NIR"}
SHOWN = 200  # labels that are listed


def describe(path: str | PathLike[str], population: str | None = None, **nir: float | None) -> str:
    """Tell what a file holds.

    Parameters
    ----------
    path : path
        Of a spike, network or result file, or a NIR graph.
    population : str or None
        For a SONATA file with more than one population: which one.
    **nir
        As for `evsim.commands.networks.read_network`.

    Returns
    -------
    str
        Several lines.

    Raises
    ------
    FileError
        If it is none of these, or not sound.
    """
    kind, notes = identify(path)
    if kind != "spike":
        refuse_population(path, population, f"is a {kind} file")
    if kind != "nir":
        refuse_nir_options(path, **nir)
    if kind in ("network", "nir"):
        net = read_network(path, **nir)
        size = str(network_bits(net))
        if kind == "network":
            size += f"; the file spends {stored_bits(path) / 1e6:.3g} Mbit"
        lines = _describe_network(net, size)
        notes["sha256"] = network_digest(path)
    elif kind == "result":
        lines = _describe_result(path)
    else:
        lines = _describe_spikes(path, population)
    lines = [f"{plain(path, LINE)}: {_FILES.get(kind, kind)} file", *lines]
    if notes:
        lines += ["", "notes in the file"]
        lines += [f"  {plain(name)}: {_note(value)}" for name, value in notes.items()]
    return "\n".join(lines)


def _note(value: object) -> str:
    """Return an attribute in one line; numpy breaks what it says of long arrays."""
    return plain(value if isinstance(value, str) else " ".join(str(value).split()), LINE)


def describe_dataset(path: str | PathLike[str], data: Dataset) -> str:
    """Tell what a data set holds.

    Parameters
    ----------
    path : path
        Where it is.
    data : data set
        Such as `evsim.datasets.Dataset`.

    Returns
    -------
    str
        Several lines.
    """
    tally = Tally(data.size, data.duration)
    for batch in _batches(data):
        tally.add(batch)
    units = f"{data.size:,}"
    if data.sensor is not None:
        units += f" ({' x '.join(map(str, data.sensor))}: polarity x row x column)"
    lines = [
        f"{plain(path, LINE)}: {type(data).__name__.lstrip('_')} data set",
        f"  recordings  {len(data):,}",
        f"  duration    {data.duration:g} s; last spike at {tally.last_time:.6g} s",
        f"  units       {units}",
        *_spike_lines(tally),
        *_label_lines(data.labels, data.class_names),
    ]
    return "\n".join(lines)


def _batches(data: Dataset) -> Iterator[Spikes]:
    """Read a data set a few recordings at a time, more where they hold little."""
    first, size = 0, BATCH
    while first < len(data):
        batch = data[first : first + size].spikes()
        yield batch
        first += size
        size = min(2 * size, MOST) if len(batch.times) < FEW else max(size // 2, BATCH)


def _describe_spikes(path: str | PathLike[str], population: str | None) -> list[str]:
    with SpikeFile(path, population) as file:
        origin = "as the file says"
        if file.duration is None:
            origin = "multiple of 0.1 s after the last spike; the file does not say"
        size, duration = file.extent()
        tally = Tally(size, duration)
        for batch in file.batches(size=size, duration=duration):
            tally.add(batch)
        file.warn_about_late(tally.n_late)
        labels, layout = file.labels, file.layout
        parts = stored_parts(path, len(file))
    lines = [
        f"  layout      {layout if layout == 'packed' else layout.upper()}",
        f"  recordings  {len(tally.per_recording):,}",
        f"  duration    {duration:g} s ({origin}); last spike at {tally.last_time:.6g} s",
        f"  units       {size:,}",
        *_spike_lines(tally),
        *_part_lines(parts),
    ]
    return lines + _label_lines(labels, class_names(path))


def _part_lines(parts: IntArray | None) -> list[str]:
    """Tell how many recordings are in each part, if the file says it."""
    if parts is None:
        return []
    numbers = np.bincount(parts, minlength=len(PARTS))
    told = (f"{name} {n:,}" for name, n in zip(PARTS, numbers, strict=True))
    return [f"  parts       {', '.join(told)}"]


def _spike_lines(tally: Tally) -> list[str]:
    lines = [f"  spikes      {tally.summary()}"]
    counts = tally.per_recording
    if len(counts):
        lines.append(f"  a recording {span(counts.astype(float), 'spikes')}")
    if len(tally.per_unit):
        rates = tally.unit_rates
        lines.append(f"  a unit      {span(rates, 'Hz')}")
        lines += text_histogram(rates, "Hz", "units")
    return lines


def _label_lines(labels: IntArray | None, names: Sequence[str] | None) -> list[str]:
    if labels is None:
        return ["  labels      none"]
    lines = ["  labels"]
    found, counts = np.unique(labels, return_counts=True)
    for label, n in zip(found[:SHOWN].tolist(), counts[:SHOWN].tolist(), strict=True):
        name = plain(names[label]) if names is not None and 0 <= label < len(names) else ""
        lines.append(f"    {label:>4} {name:<10} {count(n, 'recording')}")
    if len(found) > SHOWN:
        lines.append(f"    and {len(found) - SHOWN:,} more, up to {found[-1]}")
    return lines


def _describe_result(path: str | PathLike[str]) -> list[str]:
    with InputFile(path) as file:
        root = file.root
        labels = as_integers(root, "labels") if "labels" in root else None
        duration = root.number("duration")
        if duration is None or not duration > 0:
            raise root.error("", f"attribute 'duration' is {duration}, must be > 0 [s]")
        lines = [f"  duration    {duration:g} s"]
        populations = root.folder("populations")
        for name in populations.names():
            folder = populations.folder(name)
            lines += ["", plain(name), *_describe_recorded(folder, duration, labels)]
    return [*lines, "", *_label_lines(labels, class_names(path))]


def _describe_recorded(folder: Folder, duration: float, labels: IntArray | None) -> list[str]:
    lines = []
    if "spikes" in folder:
        lines += _spike_lines(_tally_recorded(folder, duration))
    if "voltage" in folder:
        times = as_floats(folder, "voltage_times", (1,))
        shape = " x ".join(f"{n:,}" for n in folder.dataset("voltage").shape)
        lines.append(f"  voltage     {shape} (recording x time x unit)")
        if len(times):
            lines.append(f"              sampled from {times[0]:g} s to {times[-1]:g} s")
    if "output" in folder:
        output = as_floats(folder, "output", (2,))
        lines.append(f"  readout     {span(output.ravel(), '')} in {output.shape[1]:,} units")
        if labels is not None and len(labels) == len(output):
            answers = Answers()
            answers.add(output, labels)
            lines.append(f"              {answers.summary()}")
    return lines


def _tally_recorded(folder: Folder, duration: float) -> Tally:
    """Count the spikes of one population of a result file, one recording at a time."""
    size = folder.integer("size")
    if size is None or size < 0:
        raise folder.error("", f"attribute 'size' is {size}, must not be negative")
    folder.lend("", size, UNIT, "units")
    tally = Tally(size, duration)
    recordings = ShdRecordings(folder.folder("spikes"))
    offsets = np.concatenate([[0], np.cumsum(recordings.lengths)])
    everything = np.arange(len(recordings.lengths))
    for a, b in stretches(everything, offsets, recordings.stretch):
        tally.add(read_recordings(recordings, range(a, b), size, duration, None))
    return tally


def _describe_network(net: Network, size: str) -> list[str]:
    ends = f"  input {plain(repr(net.input))}, output {plain(repr(net.output))}"
    lines = [ends, f"  {size}", "", "populations"]
    for population in net.populations.values():
        lines += _population_lines(population)
    lines += ["", "projections"]
    for projection in net.projections.values():
        lines += _projection_lines(projection, net.populations[projection.pre].size)
    return lines


def _population_lines(population: Population) -> list[str]:
    notes = [count(population.size, "unit")]
    if population.spiking and population.parameters:
        notes.append(f"{population.reset_mode} reset")
    if population.output is not None:
        notes.append(f"output {population.output!r}")
    if population.tau_output is not None:
        tau, unit = milliseconds(np.array([population.tau_output]))
        notes.append(f"tau_output {tau[0]:g} {unit}")
    lines = [f"  {plain(population.name)}: {population.model}, {', '.join(notes)}"]
    for name, rule in MODELS[population.model].parameters.items():
        values, unit = population.parameters[name], ""
        if rule.unit == "s":
            values, unit = milliseconds(values)
        lines.append(f"    {name:<11} {span(values, unit)}")
    return lines


def _projection_lines(projection: Projection, pre_size: int) -> list[str]:
    data, levels = payload(projection), projection.levels
    weights = data.pop(projection.weights_name)
    shape = " x ".join(str(n) for n in weights.shape)
    n_synapses = projection.n_synapses
    lines = [
        f"  {plain(projection.name)}: {projection.kind}, {projection.weights_name} {shape}, "
        f"{n_synapses:,} synapses ({n_synapses / pre_size:.1f} per pre unit)",
        f"    {projection.weights_name:<14} {span(weights.ravel(), '')}",
        *_level_lines(levels.get(projection.weights_name)),
    ]
    for name in ("axonal_delay", "delay"):
        if data[name] is None:
            continue
        delay, unit = milliseconds(data[name].ravel())
        told = _level_lines(levels.get(name), unit)
        if name == "delay" and data[name].ndim:
            name = "axonal delay" if projection.synaptic is None else "synaptic delay"
        lines.append(f"    {name.replace('_', ' '):<14} {span(delay, unit)}")
        lines += told
        lines += text_histogram(delay, unit, "synapses" if "synaptic" in name else "axons")
    return lines


def _level_lines(levels: Levels | None, unit: str = "") -> list[str]:
    """Tell of quantised weights, or of delays in a unit, in a line."""
    if levels is None:
        return []
    array = levels.array()
    scale, unit = 1e3 if unit == "ms" else 1.0, f" {unit}" if unit else ""
    if levels.step is not None:
        worth = f"step {number(scale * levels.step)}{unit}"
        worth += f" from {number(scale * levels.offset)}{unit} on" if levels.offset else ""
    else:
        worth = f"{count(levels.n_values, 'value')} in a table"
    low, high = (number(scale * v) for v in (array.min(initial=np.inf), array.max(initial=-np.inf)))
    told = [count(levels.bits, "bit"), count(levels.n_levels, "distinct level"), worth]
    if array.size:
        told += [f"range {low} to {high}{unit}", f"{(array == 0).mean():.1%} zeros"]
    return [f"    {'  levels':<14} {', '.join(told)}"]
