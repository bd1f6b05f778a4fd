"""The engine in plain Python: slow, meant to be read, and what the compiled one must equal.

Start with `_Group.run`: it is the whole simulation. Time goes from event to event, and
there are two kinds of event: threshold crossings and arrivals.

What happens when
-----------------
* Populations are advanced group by group in the order of `Network.groups`; the members
  of a group form a cycle. A group is given the whole spike trains of earlier ones.
* A spike of pre unit i at t reaches its post units at (t + axonal delay) + synaptic
  delay. A weight of 0 is no connection. What would arrive or fire at or after
  ``duration`` does not happen.
* At one instant: (1) units that cross now spike together, in order of population and
  unit; (2) everything that arrives now, their own undelayed spikes included, is summed
  per unit; (3) where that makes units cross at once, go to (1).
* A voltage sample is taken after everything that happens at its instant; at ``duration``
  it is the limit from the left.

What a unit does at each event stands in `evsim.reference.units`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sortedcontainers import SortedDict, SortedList, SortedSet

from evsim.arrays import FloatArray, IntArray
from evsim.clock import check_clock
from evsim.errors import NotFiniteError, RunawayError
from evsim.network import Network, Population
from evsim.overflow import check_magnitudes
from evsim.projections import Projection
from evsim.reference.units import Unit, make_unit, readout_value
from evsim.requests import MAX_RATE, check_record, check_sample_times, check_voltage
from evsim.result import Result
from evsim.spikes import Spikes


def simulate(
    net: Network,
    spikes: Spikes,
    record: Iterable[str] | None = None,
    voltage: Mapping[str, npt.ArrayLike] | None = None,
    duration: float | None = None,
    max_rate: float = MAX_RATE,
) -> Result:
    """Simulate a batch of recordings, one event after the other.

    This is `evsim.simulate` with ``engine="reference"``.

    Parameters
    ----------
    net : Network
        The network.
    spikes : Spikes
        Spikes of the input population; those at or after ``duration`` are ignored.
    record : iterable of str, optional
        Populations whose spikes are kept; every spiking one but the input if left out.
    voltage : mapping of str to float array [time], optional
        Sample times [s] by population, 0 <= time <= ``duration``.
    duration : float, optional
        Horizon [s]; that of ``spikes`` if left out.
    max_rate : float
        Stop a population that fires more than this per unit and second (plus 1000).

    Returns
    -------
    Result
        Spikes, sampled voltages, and the value of each readout with an ``output``.

    Raises
    ------
    ValueError
        If a name, a size, a sample time or the duration does not fit.
    RunawayError
        If a population fires without bound.
    """
    end = spikes.duration if duration is None else float(duration)
    check_magnitudes(net)
    check_clock(net, end)
    samples = check_voltage(net, voltage)
    check_sample_times(samples, end)
    names = check_record(net, record)
    if spikes.size > net.populations[net.input].size:
        raise ValueError(f"spikes of {spikes.size} units are too many for {net.input!r}")
    projections = [_Routes(p, net.populations[p.pre].size) for p in net.projections.values()]
    logs = []
    for b, recording in enumerate(spikes):
        fed = zip(recording.times.tolist(), recording.units.tolist(), strict=True)
        log = _Log({net.input: [spike for spike in fed if spike[0] < end]}, {}, {})
        for members in net.groups():
            group = _Group([net.populations[name] for name in members], projections, end)
            group.run(log, samples, max_rate, where=f"recording {b}")
        logs.append(log)
    return _result(net, logs, names, samples, end, spikes.labels)


class _Log(NamedTuple):
    """What one recording has produced so far, by population."""

    trains: dict[str, list[tuple[float, int]]]  # (time, unit)
    voltages: dict[str, FloatArray]  # [time, unit]
    outputs: dict[str, list[float]]  # [unit]


class _Routes:
    """A projection as its pre units see it."""

    def __init__(self, projection: Projection, pre_size: int) -> None:
        self.pre, self.post = projection.pre, projection.post
        self.axonal = projection.axonal(pre_size).tolist()
        self.rows: list[list[tuple[int, float, float]]] = [[] for _ in range(pre_size)]
        columns = (column.tolist() for column in projection.synapses(pre_size))
        for pre, post, weight, delay in zip(*columns, strict=True):
            if weight != 0:
                self.rows[pre].append((post, weight, delay))

    def arrivals(self, time: float, unit: int) -> list[tuple[float, int, float]]:
        """Return (time, post unit, weight) for everything that one spike causes."""
        start = time + self.axonal[unit]
        return [(start + delay, post, weight) for post, weight, delay in self.rows[unit]]


# --- the event loop -------------------------------------------------------------------


class _Group:
    """Populations that form a cycle, advanced together through one recording.

    Their units are numbered through, population after population: ties go in this order.
    """

    def __init__(
        self, populations: list[Population], projections: list[_Routes], end: float
    ) -> None:
        self.populations, self.end = {p.name: p for p in populations}, end
        self.routes = [r for r in projections if r.post in self.populations]
        self.owner = [(p.name, j) for p in populations for j in range(p.size)]
        self.first = {p.name: self.owner.index((p.name, 0)) for p in populations}
        self.units = [make_unit(p, j) for p in populations for j in range(p.size)]
        self.pending = SortedDict()  # time -> {unit: sum of the weights that arrive then}
        self.crossings = SortedSet()  # (time, unit) of all crossings to come
        self.crossing = [inf] * len(self.units)  # the one of each unit

    def run(
        self, log: _Log, samples: Mapping[str, FloatArray], max_rate: float, where: str
    ) -> None:
        """Go from event to event, and add what happens to ``log``."""
        for name, train in log.trains.items():
            for time, unit in train:
                self.send(name, unit, time)
        log.trains.update({name: [] for name in self.populations})
        probe = self.start_probe(log, samples)
        while (now := self.next_event()) < self.end:
            self.take_samples(probe, log, before=now)
            if self.crossings and self.crossings[0][0] == now:
                self.fire(now, log)
                self.stop_runaway(log, max_rate, now, where)
            else:
                self.deliver(now, where)
        self.take_samples(probe, log, before=inf)
        for p in self.populations.values():
            if p.output is not None:
                log.outputs[p.name] = [readout_value(p, unit, self.end) for unit in self.of(p.name)]

    def of(self, name: str) -> list[Unit]:
        """Return the units of one population."""
        return self.units[self.first[name] :][: self.populations[name].size]

    def next_event(self) -> float:
        """Return when something happens next."""
        crossing = self.crossings[0][0] if self.crossings else inf
        arrival = self.pending.peekitem(0)[0] if self.pending else inf
        return min(crossing, arrival)

    def fire(self, now: float, log: _Log) -> None:
        """Let all units that cross now spike, then send their spikes."""
        firing = [k for _, k in self.crossings.irange((now, -1), (now, len(self.units)))]
        for k in firing:
            self.units[k].spike(now)
            self.predict(k)
        for k in firing:
            name, unit = self.owner[k]
            log.trains[name].append((now, unit))
            self.send(name, unit, now)

    def refuse_overflow(self, k: int, now: float, where: str) -> None:
        """Raise if the state of a unit is no finite number any more."""
        if not self.units[k].is_finite():
            name, unit = self.owner[k]
            raise NotFiniteError(
                f"population {name!r}, unit {unit}: the state is no finite number any more in "
                f"{where} from t = {now:.6g} s on; its weights are too large"
            )

    def deliver(self, now: float, where: str) -> None:
        """Give every unit the sum of what arrives now."""
        _, sums = self.pending.popitem(0)
        for k, weight in sums.items():
            self.units[k].arrive(now, weight)
            self.refuse_overflow(k, now, where)
            self.predict(k)

    def send(self, name: str, unit: int, time: float) -> None:
        """Enter those arrivals of a spike that concern this group."""
        for routes in self.routes:
            if routes.pre == name:
                first = self.first[routes.post]
                for arrival, post, weight in routes.arrivals(time, unit):
                    sums = self.pending.setdefault(arrival, {})
                    sums[first + post] = sums.get(first + post, 0.0) + weight

    def predict(self, k: int) -> None:
        """Ask a unit whose state has jumped when it is going to cross."""
        self.crossings.discard((self.crossing[k], k))
        self.crossing[k] = self.units[k].next_crossing(self.end)
        if self.crossing[k] < self.end:
            self.crossings.add((self.crossing[k], k))

    def stop_runaway(self, log: _Log, max_rate: float, now: float, where: str) -> None:
        """Raise if a population has fired more than it may in a whole recording."""
        for p in self.populations.values():
            count = len(log.trains[p.name])
            if count > max_rate * p.size * self.end + 1000:
                rate = f"{count / (p.size * now):.4g}" if now > 0 else "infinitely many"
                raise RunawayError(
                    f"population {p.name!r}, {where}: {count} spikes up to t = {now:.6g} s, "
                    f"{rate} per unit and second; the limit is max_rate = {max_rate:g} "
                    f"over {self.end:g} s, plus 1000 spikes. If this is meant, raise max_rate"
                )

    def start_probe(self, log: _Log, samples: Mapping[str, FloatArray]) -> SortedList:
        """Return (time, population, index) of every voltage sample asked of this group."""
        asked = {name: times for name, times in samples.items() if name in self.populations}
        for name, times in asked.items():
            log.voltages[name] = np.empty((len(times), self.populations[name].size))
        return SortedList(
            (t, name, k) for name in asked for k, t in enumerate(asked[name].tolist())
        )

    def take_samples(self, probe: SortedList, log: _Log, before: float) -> None:
        """Take the samples at times when nothing happens any more."""
        while probe and probe[0][0] < before:
            time, name, k = probe.pop(0)
            log.voltages[name][k] = [unit.voltage(time) for unit in self.of(name)]


# --- in and out -----------------------------------------------------------------------


def _result(
    net: Network,
    logs: list[_Log],
    record: list[str],
    samples: dict[str, FloatArray],
    end: float,
    labels: IntArray | None,
) -> Result:
    """Join the recordings."""
    result = Result(voltage_times=samples, duration=end, labels=labels)
    for name, p in net.populations.items():
        if name in record:
            trains = [log.trains[name] for log in logs]
            columns = [([time for time, _ in train], [j for _, j in train]) for train in trains]
            result.spikes[name] = Spikes.from_recordings(columns, p.size, end, labels)
        if name in samples:
            shape = (len(logs), len(samples[name]), p.size)
            result.voltage[name] = np.array([log.voltages[name] for log in logs]).reshape(shape)
        if p.output is not None:
            values = [log.outputs[name] for log in logs]
            result.output[name] = np.array(values, np.float64).reshape(len(logs), p.size)
    return result
