"""From files to a file: run a network on a spike file, batch by batch.

Memory is bounded by a batch, however long the spike file is. `evsim simulate` is a thin
layer over `run_file`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from typing import Any

import numpy as np

from evsim.arrays import FloatArray, IntArray
from evsim.budget import Budget
from evsim.commands.networks import read_network
from evsim.commands.tally import Answers, Tally
from evsim.compiling import watch
from evsim.files import ResultWriter, SpikeFile, network_digest
from evsim.network import Network
from evsim.quantities import positive
from evsim.requests import MAX_RATE
from evsim.result import Result
from evsim.simulate import Simulator
from evsim.spikes import Spikes, default_duration
from evsim.terminal import on_terminal
from evsim.threads import useful_threads
from evsim.words import LINE, count, plain

SPIKES_PER_THREAD = 1 << 17  # of a batch: enough to share out, small enough to show progress
BATCH = 1 << 28  # bytes of a batch, besides its spikes
VOLTAGES = 1 << 25  # samples of a recording, at most
LISTED = 512  # bytes of a synapse in Python
STATE = 400  # bytes of a unit for a thread of the engine
_Run = Callable[[Iterable[Spikes]], Iterator[tuple[int, int, Result]]]


@dataclass
class RunOptions:
    """What `run_file` can be asked for; see `evsim.simulate` for what is not told here.

    Attributes
    ----------
    voltage : sequence of str
        Populations whose voltage is sampled at 0, dt, 2 dt, ... before the horizon.
    dt : float or None
        Interval of the samples [s]; 1 ms if left out.
    population : str or None
        Of a SONATA file with more than one: which is the input.
    spike_width, loop_delay : float or None
        Of a network in NIR, see `evsim.interop.from_nir` [s].
    dask : str or None
        Address of a Dask scheduler whose workers run the recordings.
    overwrite : bool
        Whether an existing result may be replaced.
    quiet : bool
        Whether no bar is shown.
    """

    record: tuple[str, ...] = ()
    voltage: tuple[str, ...] = ()
    dt: float | None = None
    duration: float | None = None
    threads: int | None = None
    engine: str = "compiled"
    population: str | None = None
    max_rate: float = MAX_RATE
    tick: float | None = None
    spike_width: float | None = None
    loop_delay: float | None = None
    dask: str | None = None
    overwrite: bool = False
    quiet: bool = False


@dataclass
class Report:
    """What a run did, in numbers; ``str()`` tells it to a person.

    Attributes
    ----------
    spikes : dict of str to Tally
        Of the recorded populations.
    voters : str
        Name of the population whose most active unit is the class, empty if there is none.
    answers : dict of str to Answers
        Of the readouts that have an output, or of the voters, if the input has labels.
    n_recordings, n_input_spikes : int
        Totals.
    duration : float
        Horizon of every recording [s].
    duration_origin : str
        Where it was taken from.
    seconds : float
        Wall time of the simulation, files included, starting the engine and compiling not [s].
    engine : str
        Which engine, where, and what starting it took.
    n_late : int
        Spikes that were left out, since they are at or after the horizon.
    output : str
        Name of the result file.
    """

    output: str
    duration: float
    duration_origin: str
    voters: str = ""
    spikes: dict[str, Tally] = field(default_factory=dict)
    answers: dict[str, Answers] = field(default_factory=dict)
    n_recordings: int = 0
    n_input_spikes: int = 0
    seconds: float = 0.0
    engine: str = ""
    n_late: int = 0

    def add(self, n_recordings: int, n_spikes: int, result: Result) -> None:
        """Count one batch: what went in, and what came out."""
        self.n_recordings += n_recordings
        self.n_input_spikes += n_spikes
        for name, spikes in result.spikes.items():
            self.spikes.setdefault(name, Tally(spikes.size, self.duration)).add(spikes)
        if result.labels is not None:
            for name, values in result.output.items():
                self.answers.setdefault(name, Answers()).add(values, result.labels)
            if self.voters in result.spikes:
                counts = result.spikes[self.voters].counts()
                self.answers.setdefault(self.voters, Answers("most spikes")).add(
                    counts, result.labels
                )

    def __str__(self) -> str:
        """Return the summary that the command line prints."""
        simulated = self.n_recordings * self.duration
        output = plain(self.output, LINE)
        picture = plain(os.path.splitext(self.output)[0] + ".png", LINE)
        lines = [
            f"{count(self.n_recordings, 'recording')} of {self.duration:g} s "
            f"({self.duration_origin}), "
            f"{count(self.n_input_spikes, 'input spike')}"
        ]
        lines += [f"  {plain(name)}: {tally.summary()}" for name, tally in self.spikes.items()]
        lines += [f"  {plain(name)}: {answers.summary()}" for name, answers in self.answers.items()]
        lines += [
            f"simulated {simulated:g} s in {self.seconds:.3g} s, "
            f"{simulated / self.seconds:.3g} times real time ({self.engine})",
            f"result in {output}; to see it: evsim plot {output} -o {picture}",
        ]
        return "\n".join(lines)


def run_file(
    model: str | PathLike[str],
    spikes: str | PathLike[str],
    output: str | PathLike[str],
    options: RunOptions,
) -> Report:
    """Run a network file on a spike file and write a result file.

    Parameters
    ----------
    model, spikes : path
        Network (evsim's or NIR) and spike file.
    output : path
        Result file; whole when this returns, absent after an exception.
    options : RunOptions
        How.

    Returns
    -------
    Report
        What the run did.

    Raises
    ------
    FileError
        If a file is not sound.
    ValueError
        If names, sizes or options don't fit.
    RunawayError
        If a population fires without bound.
    FileExistsError
        If the result exists and must not be replaced.
    """
    net = read_network(model, spike_width=options.spike_width, loop_delay=options.loop_delay)
    if options.engine == "reference":
        n_synapses = sum(projection.n_synapses for projection in net.projections.values())
        what = f"{n_synapses:,} synapses for the reference engine"
        Budget(os.path.getsize(model)).lend(n_synapses * LISTED, os.fspath(model), what)
    with SpikeFile(spikes, options.population) as source:
        if not len(source):
            raise ValueError(f"{source.path}: holds no recordings; there is nothing to simulate")
        report = Report(
            str(output), *_horizon(source, options.duration), _voters(net, source.labels)
        )
        threads = _threads(net, options, Budget(os.path.getsize(model)))
        simulator = _simulator(net, report.duration, options, threads)
        notes = _notes(model, spikes, options)
        with (
            ResultWriter(output, net, options.overwrite, notes) as writer,
            _runner(simulator, threads, options.dask) as (run, where),
            _bar(len(source), options.quiet) as bar,
        ):
            writer.copy_extra(source)
            report.engine = _start_engine(simulator, where)
            start, compiled = time.perf_counter(), watch.seconds()
            for n_recordings, n_spikes, result in run(_batches(source, simulator, threads, report)):
                writer.append(result)
                report.add(n_recordings, n_spikes, result)
                bar.update(n_recordings)
            if options.duration is None:
                source.warn_about_late(report.n_late)
            report.seconds = time.perf_counter() - start - (watch.seconds() - compiled)
    return report


def sample_times(duration: float, dt: float) -> FloatArray:
    """Return 0, dt, 2 dt, ... before ``duration`` [s].

    Examples
    --------
    >>> sample_times(1.0, 0.25)
    array([0.  , 0.25, 0.5 , 0.75])
    """
    positive("dt", dt, "s")
    n_samples = np.ceil(duration / dt * (1 - 1e-12))  # 0.3 / 0.1 is a bit more than 3
    if n_samples > VOLTAGES:
        raise ValueError(
            f"dt = {dt}: {n_samples:.3g} samples of every unit and recording are too many; "
            "choose a larger one"
        )
    return np.arange(int(n_samples), dtype=np.float64) * dt


def _voters(net: Network, labels: IntArray | None) -> str:
    """Return the name of the output if it spikes and has a unit for each label."""
    output = net.populations[net.output]
    if labels is None or not output.spiking or int(np.max(labels)) >= output.size:
        return ""
    return net.output


def _horizon(source: SpikeFile, duration: float | None) -> tuple[float, str]:
    if duration is not None:
        return positive("duration", duration, "s"), "as asked for"
    if source.duration is not None:
        source.doubt_duration()
        return source.duration, "as the spike file says"
    last = source.scan().last_time
    return float(default_duration(np.array([last]))), f"the last spike is at {last:.6g} s"


def _threads(net: Network, options: RunOptions, budget: Budget) -> int:
    """Return for how many threads batches are made: as many as are wanted and there is room for."""
    if options.threads is not None and options.dask is not None:
        raise ValueError(
            "--threads: with --dask the workers have threads of their own; leave it out"
        )
    n_units = sum(population.size for population in net.populations.values())
    budget.lend(n_units * STATE, "the network", f"the state of {n_units:,} units")
    return min(useful_threads(options.threads), max(1, int(budget.total) // (n_units * STATE)))


def _simulator(net: Network, duration: float, options: RunOptions, threads: int) -> Simulator:
    """Make the network ready; a worker of a cluster does each piece on one thread."""
    if options.dt is not None and not options.voltage:
        raise ValueError("dt is the interval of voltage samples; say whose voltage is wanted")
    voltage = {}
    if options.voltage:
        times = sample_times(duration, 1e-3 if options.dt is None else options.dt)
        voltage = dict.fromkeys(options.voltage, times)
    return Simulator(
        net,
        options.record or None,
        voltage,
        duration,
        threads if options.dask is None else 1,
        options.engine,
        options.max_rate,
        options.tick,
    )


def _batches(
    source: SpikeFile, simulator: Simulator, threads: int, report: Report
) -> Iterator[Spikes]:
    """Read the recordings, without spikes at or after the horizon, and count those."""
    net = simulator.net
    batches = source.batches(
        max_spikes=SPIKES_PER_THREAD * max(2, threads),
        size=net.populations[net.input].size if source.size is None else source.size,
        duration=report.duration,
        max_recordings=max(1, BATCH // simulator.bytes_per_recording()),
    )
    for batch in batches:
        early = batch.before(report.duration)
        report.n_late += len(batch.times) - len(early.times)
        yield early


def _bar(n_recordings: int, quiet: bool) -> Any:
    """Return a bar that is shown on a terminal if the run takes more than a second."""
    from tqdm import tqdm

    hidden = quiet or not on_terminal()
    return tqdm(total=n_recordings, unit=" recordings", delay=1.0, disable=hidden, leave=False)


@contextmanager
def _runner(simulator: Simulator, threads: int, dask: str | None) -> Iterator[tuple[_Run, str]]:
    """Return what runs batches, this process or a cluster, and who that is in words."""
    if dask is None:
        yield partial(_run_here, simulator), count(threads, "thread")
        return
    from evsim.cluster import connected
    from evsim.commands.sharing import run_on

    with connected(dask, "numpy", "numba") as client:
        workers = count(len(client.nthreads()), "worker")
        yield partial(run_on, client, simulator, max(2, threads)), workers


def _run_here(simulator: Simulator, batches: Iterable[Spikes]) -> Iterator[tuple[int, int, Result]]:
    for batch in batches:
        yield len(batch), len(batch.times), simulator.run(batch)


def _notes(
    model: str | PathLike[str], spikes: str | PathLike[str], options: RunOptions
) -> dict[str, object]:
    """Return what the result file tells about its making; nothing that does not change it."""
    notes: dict[str, object] = {
        "network_file": os.path.basename(model),
        "network_digest": network_digest(model),
        "spike_file": os.path.basename(spikes),
        "engine": options.engine,
        "max_rate": options.max_rate,
    }
    for name in ("tick", "spike_width", "loop_delay"):
        if getattr(options, name) is not None:
            notes[name] = getattr(options, name)
    if options.voltage:
        notes["voltage_dt"] = 1e-3 if options.dt is None else options.dt
    return notes


def _start_engine(simulator: Simulator, where: str) -> str:
    """Load the engine, compile what is missing, and say what loading took, and who runs it.

    Before a cluster is asked for anything, what is wrong with network or options is told here.
    """
    if simulator.engine == "reference":
        return "reference engine"
    start, compiled = time.perf_counter(), watch.seconds()
    size = simulator.net.populations[simulator.net.input].size
    nothing = Spikes(np.empty(0), np.empty(0, np.int64), np.zeros(2, np.int64), size, 1e-3)
    simulator.run(nothing)
    seconds = time.perf_counter() - start - (watch.seconds() - compiled)
    return f"compiled engine, {where}; {seconds:.2g} s to start it"
