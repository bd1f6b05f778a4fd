"""What a spike, network or result file holds, told in plain text.

`describe` reads a file of any kind a bounded number of spikes at a time. `Tally` counts
the spikes of a population batch by batch; the command line uses it for its summary too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from evsim.arrays import FloatArray, IntArray
from evsim.files import SpikeFile, load_network, network_digest
from evsim.files.hdf5 import Folder, InputFile, as_floats, as_integers, as_texts
from evsim.files.spike_layouts import ShdRecordings, read_recordings
from evsim.models import MODELS
from evsim.network import Network, Population
from evsim.projections import Projection, payload
from evsim.spikes import Spikes, default_duration

BATCH = 16  # recordings of a data set that are in memory at once
BAR = 32  # characters of the longest bar of a histogram
_KNOWN = {"format", "version", "input", "output", "size", "duration"}


class Recordings(Protocol):
    """What there is to tell of a data set."""

    size: int
    duration: float
    class_names: list[str]
    sensor: tuple[int, ...] | None

    @property
    def labels(self) -> IntArray:
        """One class per recording."""
        ...

    def __len__(self) -> int:
        """Return the number of recordings."""
        ...

    def batches(self, size: int) -> Iterator[Spikes]:
        """Read several recordings at a time."""
        ...


class Tally:
    """Counts of a population's spikes, added up batch by batch.

    Attributes
    ----------
    per_unit : int64 array [unit]
        Spikes of every unit in all recordings.
    per_recording : list of int
        Spikes of every recording.
    last_time : float
        Time of the last spike of all [s].
    """

    def __init__(self, size: int, duration: float) -> None:
        self.duration = duration
        self.per_unit: IntArray = np.zeros(size, np.int64)
        self.per_recording: list[int] = []
        self.last_time = 0.0

    def add(self, spikes: Spikes) -> None:
        """Count one batch."""
        self.per_unit += np.bincount(spikes.units, minlength=len(self.per_unit))
        self.per_recording += np.diff(spikes.offsets).tolist()
        if len(spikes.times):
            self.last_time = max(self.last_time, float(spikes.times.max()))

    @property
    def n_spikes(self) -> int:
        """Spikes in all recordings."""
        return int(self.per_unit.sum())

    @property
    def unit_rates(self) -> FloatArray:
        """Mean rate of every unit over the recordings [Hz]."""
        return self.per_unit / (max(len(self.per_recording), 1) * self.duration)

    def summary(self) -> str:
        """Return spikes, mean rate and silent units in one line."""
        size = len(self.per_unit)
        rate = float(self.unit_rates.mean()) if size else 0.0
        silent = int((self.per_unit == 0).sum())
        spikes, units = count(self.n_spikes, "spike"), count(size, "unit")
        return f"{spikes}, {rate:.2f} Hz per unit; {silent:,} of {units} silent"


class Answers:
    """How often a readout's largest value stands at the label, batch by batch."""

    def __init__(self) -> None:
        self.right = self.total = 0

    def add(self, output: FloatArray, labels: IntArray) -> None:
        """Count one batch: values [recording, unit] and labels [recording]."""
        self.right += int((output.argmax(axis=1) == labels).sum())
        self.total += len(labels)

    def summary(self) -> str:
        """Return the accuracy in words."""
        return f"accuracy {self.right / max(self.total, 1):.1%} ({self.right} of {self.total})"


def describe(path: str | PathLike[str]) -> str:
    """Tell what a file holds.

    Parameters
    ----------
    path : path
        Of a spike, network or result file.

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
    if kind == "network":
        lines = _describe_network(load_network(path))
        notes["sha256"] = network_digest(path)
    elif kind == "result":
        lines = _describe_result(path)
    else:
        lines = _describe_spikes(path)
    lines = [f"{path}: {kind} file", *lines]
    if notes:
        lines += ["", "notes in the file"]
        lines += [f"  {name}: {value}" for name, value in notes.items()]
    return "\n".join(lines)


def describe_dataset(path: str | PathLike[str], data: Recordings) -> str:
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
    for batch in data.batches(BATCH):
        tally.add(batch)
    units = f"{data.size:,}"
    if data.sensor is not None:
        units += f" ({' x '.join(map(str, data.sensor))}: polarity x row x column)"
    lines = [
        f"{path}: {type(data).__name__.lstrip('_')} data set",
        f"  recordings  {len(data):,}",
        f"  duration    {data.duration:g} s; last spike at {tally.last_time:.6g} s",
        f"  units       {units}",
        *_spike_lines(tally),
        *_label_lines(data.labels, data.class_names),
    ]
    return "\n".join(lines)


def identify(path: str | PathLike[str]) -> tuple[str, dict[str, Any]]:
    """Return what kind of file it is, and the attributes that are not evsim's own.

    Returns
    -------
    kind : {"spike", "network", "result"}
    notes : dict
        Attributes of the root group, by name.

    Raises
    ------
    FileError
        If it can't be read.
    """
    with InputFile(path) as file:
        root = file.root
        found = root.attribute("format")
        kind = {"evsim-network": "network", "evsim-result": "result"}.get(str(found), "spike")
        notes = {name: root.attribute(name) for name in root.attributes() if name not in _KNOWN}
    return kind, notes


def class_names(path: str | PathLike[str]) -> list[str] | None:
    """Return the names of the classes from ``/extra/keys``, as SHD files have them, or None."""
    with InputFile(path) as file:
        if not file.root.is_folder("extra"):
            return None
        extra = file.root.folder("extra")
        if "keys" not in extra or extra.dataset("keys").dtype.kind != "S":
            return None
        return as_texts(extra, "keys")


def _describe_spikes(path: str | PathLike[str]) -> list[str]:
    with SpikeFile(path) as file:
        found = file.scan()
        duration, origin = file.duration, "as the file says"
        if duration is None:
            duration = default_duration(np.array([found.last_time]))
            origin = "multiple of 0.1 s after the last spike; the file does not say"
        size = found.largest_unit + 1 if file.size is None else file.size
        tally = Tally(size, duration)
        for batch in file.batches(size=size, duration=duration):
            tally.add(batch)
        labels, layout = file.labels, file.layout
    lines = [
        f"  layout      {layout if layout == 'packed' else layout.upper()}",
        f"  recordings  {len(tally.per_recording):,}",
        f"  duration    {duration:g} s ({origin}); last spike at {tally.last_time:.6g} s",
        f"  units       {size:,}",
        *_spike_lines(tally),
    ]
    return lines + _label_lines(labels, class_names(path))


def _spike_lines(tally: Tally) -> list[str]:
    lines = [f"  spikes      {tally.summary()}"]
    if tally.per_recording:
        counts = np.array(tally.per_recording)
        lines.append(f"  a recording {_span(counts.astype(float), 'spikes')}")
    if len(tally.per_unit):
        lines.append(f"  a unit      {_span(tally.unit_rates, 'Hz')}")
        lines += text_histogram(tally.unit_rates, "Hz", "units")
    return lines


def _label_lines(labels: IntArray | None, names: Sequence[str] | None) -> list[str]:
    if labels is None:
        return ["  labels      none"]
    lines = ["  labels"]
    for label, n in zip(*np.unique(labels, return_counts=True), strict=True):
        name = names[label] if names is not None and 0 <= label < len(names) else ""
        lines.append(f"    {label:>4} {name:<10} {count(n, 'recording')}")
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
            lines += ["", name, *_describe_recorded(populations.folder(name), duration, labels)]
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
        lines.append(f"  readout     {_span(output.ravel(), '')} in {output.shape[1]:,} units")
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
    tally = Tally(size, duration)
    recordings = ShdRecordings(folder.folder("spikes"))
    for b in range(len(recordings.lengths)):
        tally.add(read_recordings(recordings, [b], size, duration, None))
    return tally


def _describe_network(net: Network) -> list[str]:
    lines = [f"  input {net.input!r}, output {net.output!r}", "", "populations"]
    for population in net.populations.values():
        lines += _population_lines(population)
    lines += ["", "projections"]
    for projection in net.projections.values():
        lines += _projection_lines(projection, net.populations[projection.pre].size)
    return lines


def _population_lines(population: Population) -> list[str]:
    notes = [f"{population.size:,} units"]
    if population.spiking and population.parameters:
        notes.append(f"{population.reset_mode} reset")
    if population.output is not None:
        notes.append(f"output {population.output!r}")
    if population.tau_output is not None:
        notes.append(f"tau_output {1e3 * population.tau_output:g} ms")
    lines = [f"  {population.name}: {population.model}, {', '.join(notes)}"]
    for name, rule in MODELS[population.model].parameters.items():
        values, unit = population.parameters[name], ""
        if rule.unit == "s":
            values, unit = 1e3 * values, "ms"
        lines.append(f"    {name:<11} {_span(values, unit)}")
    return lines


def _projection_lines(projection: Projection, pre_size: int) -> list[str]:
    data = payload(projection)
    weights = data.pop(projection.weights_name)
    shape = " x ".join(str(n) for n in weights.shape)
    n_synapses = len(projection.synapses(pre_size).weight)
    lines = [
        f"  {projection.name}: {projection.kind}, {projection.weights_name} {shape}, "
        f"{n_synapses:,} synapses ({n_synapses / pre_size:.1f} per pre unit)",
        f"    {projection.weights_name:<14} {_span(weights.ravel(), '')}",
    ]
    for name in ("axonal_delay", "delay"):
        if data[name] is None:
            continue
        delay = 1e3 * data[name].ravel()
        if name == "delay" and data[name].ndim:
            name = "axonal delay" if projection.synaptic is None else "synaptic delay"
        lines.append(f"    {name.replace('_', ' '):<14} {_span(delay, 'ms')}")
        lines += text_histogram(delay, "ms", "synapses" if "synaptic" in name else "axons")
    return lines


def count(n: int, what: str) -> str:
    """Return a number and what it counts, in the singular or the plural.

    Examples
    --------
    >>> count(1, "spike"), count(12345, "spike")
    ('1 spike', '12,345 spikes')
    """
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def _span(values: FloatArray, unit: str) -> str:
    """Tell the extremes and the median of some values in one line."""
    unit = f" {unit}" if unit else ""
    if not len(values):
        return "none"
    low, middle, high = float(values.min()), float(np.median(values)), float(values.max())
    if low == high:
        return f"{_number(low)}{unit}" + (", all alike" if len(values) > 1 else "")
    return f"min {_number(low)}, median {_number(middle)}, max {_number(high)}{unit}"


def _number(value: float) -> str:
    """Return four digits, and never an exponent where a person would not write one."""
    return f"{value:,.0f}" if 1e3 <= abs(value) < 1e9 else f"{value:.4g}"


def text_histogram(
    values: npt.ArrayLike, unit: str, what: str, n_bins: int = 8, indent: str = " " * 6
) -> list[str]:
    r"""Return a histogram as lines of text; nothing if all values are alike.

    Parameters
    ----------
    values : float array [value]
        What to count.
    unit, what : str
        Of the values; what is counted.
    n_bins : int
        Lines.
    indent : str
        Start of every line.

    Examples
    --------
    >>> print("\n".join(text_histogram([1, 1, 1, 4], "ms", "axons", n_bins=3, indent="")))
    1.0 - 2.0 ms |################################ 3 axons
    2.0 - 3.0 ms | 0
    3.0 - 4.0 ms |########### 1
    """
    array = np.asarray(values, np.float64)
    if not len(array) or array.min() == array.max():
        return []
    heights, edges = np.histogram(array, bins=n_bins)
    digits = max(0, 1 - int(np.floor(np.log10(edges[1] - edges[0]))))
    shown = [f"{edge:,.{digits}f}" for edge in edges]
    width = max(map(len, shown))
    lines = []
    for height, low, high in zip(heights, shown[:-1], shown[1:], strict=True):
        bar = "#" * int(np.ceil(BAR * height / heights.max()))
        lines.append(f"{indent}{low:>{width}} - {high:>{width}} {unit} |{bar} {height:,}")
    lines[0] += f" {what}"
    return lines
