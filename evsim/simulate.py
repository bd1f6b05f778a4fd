"""``simulate``: run a network on a batch of recordings with either engine.

The public side of the engine: it checks what the user asks for, splits the batch over
threads, runs the groups of the network in order and collects a `Result`. Numba is imported
on the first run, not here, so that ``import evsim`` stays quick.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evsim.network import Network, Population
from evsim.result import Result
from evsim.spikes import FloatArray, Spikes, concatenate

if TYPE_CHECKING:
    from evsim._layout import Inputs, Out, Samples
    from evsim._plan import Plan

ENGINES = ("compiled", "reference")


def simulate(
    net: Network,
    spikes: Spikes,
    record: Iterable[str] | None = None,
    voltage: Mapping[str, npt.ArrayLike] | None = None,
    duration: float | None = None,
    threads: int | None = None,
    engine: str = "compiled",
    max_rate: float = 1e4,
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
        Input; ``spikes.size`` must not exceed the size of the input population.
    record : iterable of str, optional
        Populations whose spikes are kept; every spiking one but the input if left out.
    voltage : mapping of str to float array [time], optional
        Sample times [s] of the populations whose voltage is wanted, in [0, duration].
    duration : float, optional
        Horizon [s]; ``spikes.duration`` if left out.
    threads : int, optional
        Threads over which the recordings are spread; one per core if left out.
    engine : {"compiled", "reference"}
        The fast engine, or the slow one in plain Python that it is checked against.
    max_rate : float
        A population that fires more than this per unit [Hz], averaged over a recording,
        stops the run.

    Returns
    -------
    Result
        Spikes, voltages and readout values.

    Raises
    ------
    ValueError
        If a name is unknown, or sizes, times or options don't fit.
    RunawayError
        If a population fires without bound.
    """
    return Simulator(net, record, voltage, duration, threads, engine, max_rate).run(spikes)


class Simulator:
    """A network made ready to run on many batches; takes the arguments of `simulate`."""

    def __init__(
        self,
        net: Network,
        record: Iterable[str] | None = None,
        voltage: Mapping[str, npt.ArrayLike] | None = None,
        duration: float | None = None,
        threads: int | None = None,
        engine: str = "compiled",
        max_rate: float = 1e4,
    ) -> None:
        if engine not in ENGINES:
            raise ValueError(f"engine = {engine!r}, must be one of {', '.join(ENGINES)}")
        if threads is not None and threads < 1:
            raise ValueError(f"threads = {threads}, must be at least 1")
        if not max_rate > 0:
            raise ValueError(f"max_rate = {max_rate}, must be > 0 [Hz]")
        if duration is not None and not 0 < duration < np.inf:
            raise ValueError(f"duration = {duration}, must be finite and > 0 [s]")
        self.net = net
        self.record = check_record(net, record)
        self.voltage = check_voltage(net, voltage)
        self.duration = duration
        self.threads = threads or _cores()
        self.engine = engine
        self.max_rate = max_rate
        self._plans: list[Plan] | None = None

    def run(self, spikes: Spikes) -> Result:
        """Simulate one batch; see `simulate`."""
        size = self.net.populations[self.net.input].size
        if spikes.size > size:
            raise ValueError(
                f"the spikes come from {spikes.size} units, but input population "
                f"{self.net.input!r} has {size}"
            )
        duration = spikes.duration if self.duration is None else self.duration
        check_sample_times(self.voltage, duration)
        spikes = spikes.before(duration)
        if self.engine == "reference":
            from evsim import reference

            return reference.simulate(
                self.net, spikes, self.record, self.voltage, duration, self.max_rate
            )
        from evsim._plan import plan_network

        if self._plans is None:
            self._plans = plan_network(self.net)
        chunks = _chunks(spikes, self.threads)
        with ThreadPoolExecutor(self.threads) as pool:
            jobs = [pool.submit(self._run_chunk, spikes, a, b, duration) for a, b in chunks]
            results = [job.result() for job in jobs]
        return _joined(results, spikes, duration)

    def _run_chunk(self, spikes: Spikes, first: int, last: int, duration: float) -> Result:
        """Run recordings ``first`` to ``last`` through all groups, on one thread."""
        from evsim._run import Room, run_plan

        batch = spikes[first:last]
        trains = {self.net.input: batch}
        result = Result(duration=duration, labels=batch.labels)
        result.voltage_times.update(self.voltage)
        room = Room()
        for plan in self._plans or []:
            inputs = _inputs(plan, trains)
            samples, n_places = _samples(plan, self.voltage)
            out = run_plan(
                plan, inputs, samples, n_places, len(batch), duration, self.max_rate, room, first
            )
            trains |= _split(self.net, plan, out, batch)
            _collect(self.net, plan, samples, self.voltage, out, result)
        result.spikes.update({name: trains[name] for name in self.record})
        return result


def _cores() -> int:
    """Return the number of cores this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_record(net: Network, record: Iterable[str] | None) -> list[str]:
    """Return the populations to record, or refuse names that can't be."""
    if record is None:
        return [p.name for p in net.populations.values() if p.spiking and p.model != "Input"]
    names = [record] if isinstance(record, str) else list(dict.fromkeys(record))
    for name in names:
        if name not in net.populations:
            raise ValueError(f"record: no population {name!r}; there are {_list(net)}")
        if not net.populations[name].spiking:
            raise ValueError(f"record: population {name!r} is a readout and has no spikes")
    return names


def check_voltage(
    net: Network, voltage: Mapping[str, npt.ArrayLike] | None
) -> dict[str, FloatArray]:
    """Return the sample times as arrays, or refuse populations without a voltage."""
    times = {}
    for name, values in (voltage or {}).items():
        if name not in net.populations or name == net.input:
            raise ValueError(
                f"voltage: no population {name!r} with a voltage; there are {_list(net)}"
            )
        times[name] = np.atleast_1d(np.asarray(values, np.float64))
        if times[name].ndim != 1:
            raise ValueError(f"voltage: sample times of {name!r} must be one-dimensional")
    return times


def check_sample_times(voltage: Mapping[str, FloatArray], duration: float) -> None:
    """Refuse sample times outside [0, duration]."""
    for name, times in voltage.items():
        wrong = np.flatnonzero(~((times >= 0) & (times <= duration)))
        if len(wrong):
            raise ValueError(
                f"voltage: sample time {times[wrong[0]]} s of {name!r} (index {wrong[0]}) is "
                f"outside [0, {duration}]"
            )


def _list(net: Network) -> str:
    return ", ".join(repr(name) for name in net.populations)


def _chunks(spikes: Spikes, threads: int) -> list[tuple[int, int]]:
    """Cut the batch into runs of recordings with about equally many spikes."""
    n = len(spikes)
    if n == 0:
        return [(0, 0)]
    pieces = min(n, 1 if threads == 1 else 4 * threads)
    work = spikes.offsets + np.arange(n + 1)
    cuts = np.searchsorted(work, np.linspace(0, work[-1], pieces + 1)[1:-1])
    borders = np.unique([0, *cuts, n])
    return [(int(a), int(b)) for a, b in zip(borders[:-1], borders[1:], strict=True)]


def _inputs(plan: Plan, trains: dict[str, Spikes]) -> Inputs:
    from evsim._layout import Inputs

    parts = [trains[name] for name in plan.sources]
    if len(parts) == 1:
        times, units, offsets = parts[0].times, parts[0].units, parts[0].offsets[np.newaxis]
    else:
        n = len(next(iter(trains.values())))
        base = np.cumsum([0] + [len(p.times) for p in parts])
        times = np.concatenate([np.empty(0), *(p.times for p in parts)])
        units = np.concatenate([np.empty(0, np.int64), *(p.units for p in parts)])
        offsets = np.empty((len(parts), n + 1), np.int64)
        for s, part in enumerate(parts):
            offsets[s] = part.offsets + base[s]
    return Inputs(times, units, np.ascontiguousarray(offsets), plan.fan_out)


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
            result.output[name] = readout_values(net.populations[name], out.final, result.duration)


def readout_values(population: Population, final: FloatArray, duration: float) -> FloatArray:
    """Return the values [recording, unit] of a readout from its final state.

    The integrals follow from the equations of motion, integrated over the recording with
    the weight w(t) = e^(-t/T) by parts; only the arrivals and the final state are left.
    """
    p = population.parameters
    u, i, arrivals, peak = final[:, 0], final[:, 1], final[:, 2], final[:, 3]
    if population.output == "max":
        return peak + p["v_leak"]
    if population.output == "last":
        return u + p["v_leak"]
    rate = 0.0 if population.tau_output is None else 1 / population.tau_output
    w = np.exp(-duration * rate)
    if "tau_syn" in p:
        current = p["tau_syn"] * (arrivals - w * i) / (1 + p["tau_syn"] * rate)
        integral = (current - p["tau_mem"] * w * u) / (1 + p["tau_mem"] * rate)
    else:
        integral = (arrivals - w * u) / (1 / p["tau_mem"] + rate)
    span = duration if rate == 0 else -np.expm1(-duration * rate) / rate
    return integral + p["v_leak"] * span


def _joined(results: list[Result], spikes: Spikes, duration: float) -> Result:
    """Put the chunks of a batch together again."""
    first = results[0] if results else Result()
    return Result(
        spikes={k: concatenate([r.spikes[k] for r in results]) for k in first.spikes},
        voltage={k: np.concatenate([r.voltage[k] for r in results]) for k in first.voltage},
        voltage_times=first.voltage_times,
        output={k: np.concatenate([r.output[k] for r in results]) for k in first.output},
        duration=duration,
        labels=spikes.labels,
    )
