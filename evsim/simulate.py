"""``simulate``: run a network on a batch of recordings with either engine.

The public side of the engine: it checks what the user asks for, splits the batch over
threads, runs the groups of the network in order and collects a `Result`. Numba is imported
on the first run, not here, so that ``import evsim`` stays quick.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evsim.arrays import FloatArray, IntArray
from evsim.clock import check_clock
from evsim.doubts import large_lift, network_times, warn_of_long_times, warn_of_slow_spikes
from evsim.errors import NotFiniteError, RunawayError
from evsim.network import Network
from evsim.overflow import check_finite, check_magnitudes
from evsim.quantities import positive
from evsim.readouts import readout_values
from evsim.requests import (
    ENGINES,
    MAX_RATE,
    check_network,
    check_record,
    check_sample_times,
    check_voltage,
)
from evsim.result import Result
from evsim.spike_checks import check_size
from evsim.spikes import Spikes
from evsim.taken_spikes import as_arrays, concatenate
from evsim.threads import run_jobs, useful_threads
from evsim.ticks import network_in_ticks, result_in_seconds, spikes_in_ticks

_CHUNK = 1 << 26  # bytes of what a thread works on at a time, besides spikes
_WIDTH = "weights of a graph in NIR may need its spike_width (--spike-width)"

if TYPE_CHECKING:
    from evsim._layout import Out, Samples
    from evsim._plan import Plan


def simulate(
    net: Network,
    spikes: Spikes,
    record: Iterable[str] | None = None,
    voltage: Mapping[str, npt.ArrayLike] | None = None,
    duration: float | None = None,
    threads: int | None = None,
    engine: str = "compiled",
    max_rate: float = MAX_RATE,
    tick: float | None = None,
) -> Result:
    """Simulate every recording of ``spikes`` from rest, exactly.

    Events at one instant are summed before thresholds are looked at, ties between units go
    in order of their index, and nothing that would arrive or fire at or after ``duration``
    happens. Recordings don't influence each other, and the result does not depend on the
    number of threads, to the last bit.

    Parameters
    ----------
    net : Network
        What to run.
    spikes : Spikes
        Input, of arrays or tensors, or a data set, or a list of recordings. They come from as
        many units as the input population has; a size that nobody told may be smaller.
    record : iterable of str, optional
        Populations whose spikes are kept; every spiking one but the input if left out.
    voltage : mapping of str to float array [time], optional
        Sample times [s] of the populations whose voltage is wanted, in [0, duration], such as
        ``{"hidden": np.arange(0, 1.0, 1e-3)}``.
    duration : float, optional
        Horizon [s]; ``spikes.duration`` if left out.
    threads : int, optional
        Threads over which the recordings are spread; one per core if left out.
    engine : {"compiled", "reference"}
        The fast engine, or the slow one in plain Python that it is checked against.
    max_rate : float
        A population that fires more than this per unit [Hz], averaged over a recording,
        stops the run.
    tick : float, optional
        Count times in ticks of this length [s]: input times, delays, refractory periods and
        the duration must be whole numbers of them, to a millionth of a tick, and what meets on
        that grid then meets exactly. Without it, arrivals meet where their sums of float64
        seconds are the same number.

    Returns
    -------
    Result
        Spikes, voltages and readout values.

    Raises
    ------
    TypeError
        If ``net`` or ``spikes`` is something else; the message tells how to get there.
    ValueError
        If a name is unknown, or sizes, times or options don't fit.
    RunawayError
        If a population fires without bound.
    """
    simulator = Simulator(net, record, voltage, duration, threads, engine, max_rate, tick)
    spikes = as_arrays(spikes, "simulate")
    warn_of_slow_spikes(spikes)  # here, since files have words of their own
    return simulator.run(spikes)


class Simulator:
    """A network made ready to run on many batches.

    Parameters
    ----------
    net, record, voltage, duration, threads, engine, max_rate, tick
        As for `simulate`.
    in_seconds : bool
        Whether times are seconds. If they are numbers of steps no doubt about seconds is told.
    """

    def __init__(
        self,
        net: Network,
        record: Iterable[str] | None = None,
        voltage: Mapping[str, npt.ArrayLike] | None = None,
        duration: float | None = None,
        threads: int | None = None,
        engine: str = "compiled",
        max_rate: float = MAX_RATE,
        tick: float | None = None,
        *,
        in_seconds: bool = True,
    ) -> None:
        check_network(net)
        check_magnitudes(net)
        if engine not in ENGINES:
            raise ValueError(f"engine = {engine!r}, must be one of {', '.join(ENGINES)}")
        self.net = net
        self.record = check_record(net, record)
        self.voltage = check_voltage(net, voltage)
        self.duration = None if duration is None else positive("duration", duration, "s")
        self.threads = useful_threads(threads)
        self.engine = engine
        self.max_rate = positive("max_rate", max_rate, "Hz", infinite=True)
        self._plans: list[Plan] | None = None
        self._in_seconds = in_seconds
        self._resolved = 0.0  # the duration that the clock was found to do for
        self.tick = tick
        self._in_ticks: Simulator | None = None
        if tick is not None:
            self._in_ticks = Simulator(
                network_in_ticks(net, tick), self.record,
                {name: times / tick for name, times in self.voltage.items()},
                threads=self.threads, engine=engine, max_rate=self.max_rate * tick,
                in_seconds=False,
            )  # fmt: skip

    def run(self, spikes: Spikes) -> Result:
        """Simulate one batch; see `simulate`."""
        try:
            return self._run(as_arrays(spikes, "simulate"))
        except RunawayError as error:
            lift = large_lift(self.net) if self._in_seconds else ""
            if not lift:
                raise
            raise RunawayError(f"{error}; {lift}; {_WIDTH}") from None

    def _run(self, spikes: Spikes) -> Result:
        size = self.net.populations[self.net.input].size
        check_size(spikes, size, f"input population {self.net.input!r} has {size}")
        duration = spikes.duration if self.duration is None else self.duration
        check_sample_times(self.voltage, duration)
        if duration != self._resolved:
            check_clock(self.net, duration)
            self._resolved = duration
            if self._in_seconds:
                warn_of_long_times(network_times(self.net), duration)
        spikes = spikes.before(duration)
        if self._in_ticks is not None and self.tick is not None:
            return self._run_in_ticks(self._in_ticks, self.tick, spikes, duration)
        if self.engine == "reference":
            from evsim import reference

            result = reference.simulate(
                self.net, spikes, self.record, self.voltage, duration, self.max_rate
            )
            check_finite(result)
            return self._with_thresholds(result)
        from evsim._plan import plan_network

        if self._plans is None:
            self._plans = plan_network(self.net)
        chunks = cut(spikes, self.threads, self.bytes_per_recording())
        stop = np.zeros(1, np.int64)
        jobs = [(spikes, a, b, duration, stop) for a, b in chunks]
        result = joined(run_jobs(self._run_chunk, jobs, self.threads, stop))
        check_finite(result)
        return self._with_thresholds(result)

    def _with_thresholds(self, result: Result) -> Result:
        """Add what tells a reader of voltages when a unit fires."""
        for name in self.voltage:
            threshold = self.net.populations[name].parameters.get("threshold")
            if threshold is not None:
                result.threshold[name] = threshold
        return result

    def _run_in_ticks(
        self, simulator: Simulator, tick: float, spikes: Spikes, duration: float
    ) -> Result:
        try:
            found = simulator.run(spikes_in_ticks(spikes, tick, duration))
        except (RunawayError, NotFiniteError) as error:
            raise type(error)(f"with times and rates in ticks of {tick:g} s: {error}") from None
        return result_in_seconds(found, self.net, tick, duration, self.voltage)

    def bytes_per_recording(self) -> int:
        """Return what a recording takes besides its spikes: samples and values of readouts."""
        populations = self.net.populations
        samples = sum(len(at) * populations[name].size for name, at in self.voltage.items())
        units = sum(p.size for p in populations.values() if not p.spiking)
        return 8 * (3 * samples + 7 * units) + 64 * len(populations)

    def _run_chunk(
        self, spikes: Spikes, first: int, last: int, duration: float, stop: IntArray
    ) -> Result:
        """Run recordings ``first`` to ``last`` through all groups, on one thread."""
        from evsim._plan import lay_inputs
        from evsim._run import Room, run_plan

        batch = spikes[first:last]
        trains = {self.net.input: batch}
        result = Result(duration=duration, labels=batch.labels)
        result.voltage_times.update(self.voltage)
        room = Room()
        for plan in self._plans or []:
            inputs = lay_inputs(plan, trains)
            samples, n_places = _samples(plan, self.voltage)
            out = run_plan(
                plan, inputs, samples, n_places, duration, self.max_rate, room, first, stop
            )
            trains |= _split(self.net, plan, out, batch)
            _collect(self.net, plan, samples, self.voltage, out, result)
        result.spikes.update({name: trains[name] for name in self.record})
        return result


def cut(spikes: Spikes, threads: int, bytes_each: int) -> list[tuple[int, int]]:
    """Cut a batch into runs of recordings with about equally many spikes.

    Parameters
    ----------
    spikes : Spikes
        The batch.
    threads : int
        Over which it is going to be spread.
    bytes_each : int
        What a recording takes besides its spikes; a run stays below `_CHUNK`.

    Returns
    -------
    list of (int, int)
        First recording of each run, and the one after its last.
    """
    n = len(spikes)
    if n == 0:
        return [(0, 0)]
    pieces = 1 if threads == 1 else 4 * threads
    pieces = min(n, max(pieces, -(-n * bytes_each // _CHUNK)))
    if pieces == 1:
        return [(0, n)]
    work = spikes.offsets + np.arange(n + 1)
    cuts = np.searchsorted(work, np.linspace(0, work[-1], pieces + 1)[1:-1])
    borders = np.unique([0, *cuts, n])
    return [(int(a), int(b)) for a, b in zip(borders[:-1], borders[1:], strict=True)]


def _samples(plan: Plan, voltage: Mapping[str, FloatArray]) -> tuple[Samples, int]:
    """List the sample times of the group's populations, by time, and the places they fill."""
    from evsim._layout import Samples

    times, pops, places = [np.empty(0)], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    n_places = 0
    for pop, (name, size) in enumerate(zip(plan.names, plan.sizes, strict=True)):
        if name in voltage:
            at = voltage[name]
            times.append(at)
            pops.append(np.full(len(at), pop))
            places.append(n_places + size * np.arange(len(at)))
            n_places += size * len(at)
    order = np.argsort(np.concatenate(times), kind="stable")
    return Samples(
        np.concatenate(times)[order], np.concatenate(pops)[order], np.concatenate(places)[order]
    ), n_places


def _split(net: Network, plan: Plan, out: Out, batch: Spikes) -> dict[str, Spikes]:
    """Sort the spikes of a group by population."""
    total = out.offsets[-1]
    times, units, offsets = out.times[:total].copy(), out.units[:total].copy(), out.offsets
    trains = {}
    for low, name, size in zip(plan.start, plan.names, plan.sizes, strict=True):
        if not net.populations[name].spiking:
            continue
        if len(plan.names) == 1:
            mine = times, units, offsets
        else:
            here = (units >= low) & (units < low + size)
            before = np.concatenate([[0], np.cumsum(here)])
            mine = times[here], units[here] - low, before[offsets]
        trains[name] = batch.replace(*mine, size=size)
    return trains


def _collect(
    net: Network,
    plan: Plan,
    samples: Samples,
    voltage: Mapping[str, FloatArray],
    out: Out,
    result: Result,
) -> None:
    """Add the voltages and readout values of a group to the result."""
    place = 0
    for pop, (name, size) in enumerate(zip(plan.names, plan.sizes, strict=True)):
        low = plan.start[pop]
        v_leak = plan.v_leak[low : low + size]
        if name in voltage:
            shape = (len(out.voltage), len(voltage[name]), size)
            there = out.voltage[:, place : place + shape[1] * size]
            result.voltage[name] = there.reshape(shape) + v_leak
            place += shape[1] * size
        if net.populations[name].output is not None:
            with np.errstate(over="ignore"):
                values = readout_values(net.populations[name], out.final, result.duration)
            result.output[name] = values


def joined(results: list[Result]) -> Result:
    """Put the runs of a batch together again.

    Parameters
    ----------
    results : list of Result
        Of each run, in order; one at least.
    """
    first = results[0]
    labels = [r.labels for r in results if r.labels is not None]
    return Result(
        spikes={k: concatenate([r.spikes[k] for r in results]) for k in first.spikes},
        voltage={k: np.concatenate([r.voltage[k] for r in results]) for k in first.voltage},
        voltage_times=first.voltage_times,
        threshold=first.threshold,
        output={k: np.concatenate([r.output[k] for r in results]) for k in first.output},
        duration=first.duration,
        labels=np.concatenate(labels) if labels else None,
    )
