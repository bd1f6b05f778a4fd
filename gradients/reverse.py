"""One population forwards and backwards: what layers do with arrays.

`forward` runs a network of an input and one population with the compiled engine and keeps
what the reverse pass needs of every spike; `backward` turns the gradient of a loss on spike
times and voltages into those of everything else. Recordings are spread over threads in
portions that don't depend on how many threads there are, and their gradients are added in
order, so the sums are the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import e
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from evsim import Dense, Network, Population, Spikes
from evsim._layout import AT_REST, CUBA, LIF, SRM, Out, Samples
from evsim._plan import lay_inputs
from evsim._run import Room, run_plan
from evsim.arrays import FloatArray, IntArray
from evsim.clock import check_clock
from evsim.overflow import check_magnitudes
from evsim.requests import MAX_RATE
from evsim.threads import run_jobs

from .in_flight import Flights, plan_with

PORTIONS = 8  # of a batch at most, each with sums of its own
WORTHWHILE = 200_000  # synaptic events of a portion
MOST_WINDOWS = 1 << 24  # of a recording: 0.4 GB for each thread
WIDEST = 1.0  # of the shortest time constant; kicks grow by e^WIDEST at most on the way back
# Where exponentials of the delays may be used: not if the time constants are so close that
# their difference cancels, nor if the delays are so long that digits get lost.
NEARLY_EQUAL, LONGEST = 0.05, 200.0
_FLOW = {"CubaLIF": CUBA, "CubaLI": CUBA, "LI": LIF, "SRM": SRM}


class Kicks(NamedTuple):
    """What a loss on voltages does to the costates: dL/dV at instants, recording by recording.

    Attributes
    ----------
    times : float64 array [kick]
        When [s].
    units : int64 array [kick]
        Whose voltage.
    values : float64 array [kick]
        dL/dV.
    slants : float64 array [kick]
        dV/dt before the instant, where the instant is that of an arrival and moves with it.
    offsets : int64 array [recording + 1]
        Recording ``b`` owns ``offsets[b]:offsets[b+1]``.
    ends : float64 array [recording, 2, unit]
        dL/dV and dL/dI at the end of the recording.
    drives : float64 array [recording, unit], or of length 0
        An arrival of weight w at t adds w ``drives`` e^(-``rates`` t) to the loss.
    rates : float64 array [unit]
        [1/s].
    """

    times: FloatArray
    units: IntArray
    values: FloatArray
    slants: FloatArray
    offsets: IntArray
    ends: FloatArray
    drives: FloatArray
    rates: FloatArray


@dataclass(frozen=True)
class Run:
    """A population's run on a batch, and what the reverse pass needs to know of it.

    Attributes
    ----------
    net : Network
        Of the input, the population and the projections between them.
    inputs : Spikes
        What arrived.
    spikes : Spikes
        What the population fired.
    records : float64 array [2, spike]
        Slope of the voltage at each spike [1/s], and the current at the unit's last release
        before it.
    freed : float64 array [recording, unit]
        The current at the unit's last release of all.
    final : float64 array [recording, 6, unit]
        For readouts, see `evsim._layout.Out`.
    voltage : float64 array [recording, time, unit]
        At the sample times asked for.
    state : float64 array [recording, 16, unit], or of length 0
        At the end, as `evsim._layout.Scratch.state`: what the next stretch starts from.
    unit : float
        In which all times here are counted [s]: a tick, or 1.
    """

    net: Network
    inputs: Spikes
    spikes: Spikes
    records: FloatArray
    freed: FloatArray
    final: FloatArray
    voltage: FloatArray
    state: FloatArray
    unit: float = 1.0


@dataclass(frozen=True)
class Gradients:
    """What a loss gains per unit of everything; None where the layer has no such thing."""

    in_times: FloatArray
    weight: FloatArray
    delay: FloatArray | None
    own_weight: FloatArray | None
    own_axonal: FloatArray
    own_delay: FloatArray | None
    tau_mem: FloatArray
    tau_syn: FloatArray
    tau_r: FloatArray
    threshold: FloatArray
    reset: FloatArray
    refractory: FloatArray
    smallest_slope: FloatArray
    n_bounded: int


def forward(
    net: Network,
    spikes: Spikes,
    sample_times: FloatArray | None = None,
    threads: int = 1,
    begin: float | None = None,
    state: FloatArray | None = None,
    flights: Flights = (),
) -> Run:
    """Run the population on a batch: whole recordings, or a stretch of them.

    Parameters
    ----------
    net : Network
        Of the input, the population and the projections between them.
    spikes : Spikes
        What the input sends. Their duration is the end of the stretch [s].
    sample_times : float64 array [time], optional
        When the voltage is wanted [s], from the beginning to the end of the stretch.
    threads : int
        Over which recordings are spread.
    begin : float, optional
        Where the stretch begins [s]; its state at the end is kept then. All times count from
        the beginning of the recording. What arrives before was in an earlier stretch and is
        left out, so ``spikes`` may hold spikes that left before and are still on their way.
    state : float64 array [recording, 16, unit], optional
        At the beginning: `Run.state` of the stretch before. At rest if left out.
    flights : sequence of (Spikes, Dense)
        Spikes that left in earlier stretches, each with the projection they take to the
        population: above all its own, see `in_flight.in_flight`. What they are called and
        their durations don't matter.

    Returns
    -------
    Run
        With the spikes of the stretch. `backward` takes whole recordings only.

    Raises
    ------
    ValueError
        If the stretch ends before it begins, or state or flights are not those of so many
        recordings and units.
    """
    check_magnitudes(net)
    check_clock(net, spikes.duration)
    (plan, trains), stop = plan_with(net, flights), np.zeros(1, np.int64)
    trains[net.input] = spikes
    keep_state, begin = begin is not None, 0.0 if begin is None else begin
    size = plan.sizes[0]
    at = np.empty(0) if sample_times is None else sample_times
    order = np.argsort(at, kind="stable")
    samples = Samples(at[order], np.zeros(len(at), np.int64), size * order)
    _check_stretch(spikes, begin, state, flights, size)
    before = AT_REST if state is None else np.ascontiguousarray(state, np.float64)

    def run(first: int, last: int) -> Out:
        inputs = lay_inputs(plan, {name: train[first:last] for name, train in trains.items()})
        return run_plan(
            plan, inputs._replace(state=before[first:last]), samples, size * len(at),
            spikes.duration, MAX_RATE, Room(), first, stop, True, begin, keep_state,
        )  # fmt: skip

    outs = in_portions(run, spikes, size, threads, stop)
    counts = [out.offsets[-1] for out in outs]
    starts = np.cumsum([0, *counts])
    offsets = [out.offsets[:-1] + start for out, start in zip(outs, starts, strict=False)]
    fired = spikes.replace(
        np.concatenate([out.times[:n] for out, n in zip(outs, counts, strict=True)]),
        np.concatenate([out.units[:n] for out, n in zip(outs, counts, strict=True)]),
        np.concatenate([*offsets, starts[-1:]]),
        size=size,
    )
    records = [out.records[:, :n] for out, n in zip(outs, counts, strict=True)]
    voltage = np.concatenate([out.voltage for out in outs]).reshape(len(spikes), len(at), size)
    return Run(
        net,
        spikes,
        fired,
        np.concatenate(records, axis=1),
        np.concatenate([out.freed for out in outs]),
        np.concatenate([out.final for out in outs]),
        voltage,
        np.concatenate([out.state for out in outs]),
    )


def _check_stretch(
    spikes: Spikes, begin: float, state: FloatArray | None, flights: Flights, size: int
) -> None:
    if not 0 <= begin <= spikes.duration:
        raise ValueError(
            f"begin = {begin:g} s, must be from 0 to the end of the stretch, {spikes.duration:g} s"
        )
    if state is not None and state.shape != (len(spikes), 16, size):
        raise ValueError(
            f"state has shape {list(state.shape)}, must be [recording, 16, unit] = "
            f"{[len(spikes), 16, size]}: Run.state of the stretch before"
        )
    for k, (train, _) in enumerate(flights):
        if len(train) != len(spikes):
            raise ValueError(
                f"flights[{k}] has {len(train)} recordings, the spikes of the stretch {len(spikes)}"
            )


def no_kicks(n: int, size: int) -> Kicks:
    """Return kicks for a loss on spike times only."""
    none = np.empty(0)
    return Kicks(
        none, np.empty(0, np.int64), none, none, np.zeros(n + 1, np.int64),
        np.zeros((n, 2, size)), np.empty((0, size)), np.zeros(size),
    )  # fmt: skip


def backward(
    run: Run,
    g_times: FloatArray,
    kicks: Kicks | None = None,
    time_constants: bool = False,
    bound: float = np.inf,
    threads: int = 1,
) -> Gradients:
    """Return the gradients of a loss, given those with respect to spike times and voltages."""
    from ._adjoint import adjoint

    layer = _Layer(run.net, run.spikes.duration, time_constants)
    kicks = no_kicks(len(run.inputs), run.spikes.size) if kicks is None else kicks
    d_in_times = np.zeros(len(run.inputs.times))
    n_rows = 5 if time_constants else 2

    def work(first: int, last: int) -> list[FloatArray]:
        sums = layer.zeros()
        most = _most(run, kicks, first, last)
        scratch = layer.scratch(n_rows, most, 64)
        while first < last:
            first, n_slots = adjoint(
                *layer.constants, bound, *layer.projections,
                run.inputs.times, run.inputs.units, run.inputs.offsets,
                run.spikes.times, run.spikes.units, run.records, run.spikes.offsets, run.freed,
                g_times, *kicks, *scratch, d_in_times, *sums, first, last,
            )  # fmt: skip
            if n_slots:
                scratch = layer.scratch(n_rows, most, n_slots + n_slots // 4)
        return sums

    parts = in_portions(work, run.inputs, run.spikes.size, threads, np.zeros(1, np.int64))
    total = parts[0]
    for part in parts[1:]:
        for sum_, more in zip(total[:-1], part[:-1], strict=True):
            sum_ += more
        total[-1][0] = np.minimum(total[-1][0], part[-1][0])
        total[-1][1] += part[-1][1]
    return layer.gradients(d_in_times, total)


class _Layer:
    """The arrays of a population and its projections, as the kernels want them."""

    def __init__(self, net: Network, duration: float, time_constants: bool) -> None:
        self.population = _population(net)
        size, pre_size = self.population.size, net.populations[net.input].size
        flow, self.scale, cells = flow_of(net)
        spans = cells[:2] if flow != SRM else cells[:3]
        width = min(WIDEST * float(spans.min()), duration)
        if duration > MOST_WINDOWS * width:
            raise ValueError(
                f"a recording of {duration:g} s is too long for gradients with a time constant of "
                f"{spans.min():g} s: at most {MOST_WINDOWS * width:g} s; cut it, or check the unit"
            )
        self.n_windows = int(duration / width) + 1
        uniform = bool((cells[:2] == cells[:2, :1]).all())
        self.constants = (flow, uniform, cells, width, duration)
        projections = list(net.projections.values())
        own = next((p for p in projections if p.pre != net.input), None)
        into = next((p for p in projections if p.pre == net.input), None)
        self.into = self._arrays(into, pre_size, size)
        self.own = self._arrays(own, size, size)
        alike = uniform and flow != LIF and not time_constants
        growth = [self._growth(arrays[2], alike) for arrays in (self.into, self.own)]
        self.projections = (*self.into, growth[0], *self.own, growth[1])

    def _arrays(
        self, projection: Any, pre_size: int, size: int
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return weight [pre, post], axonal delay [pre] and synaptic delay [pre, post] or none."""
        if projection is None:
            return np.zeros((0, size)), np.zeros(pre_size), np.zeros((0, size))
        assert isinstance(projection, Dense)
        synaptic = projection.synaptic
        late = np.zeros((0, size)) if synaptic is None else np.ascontiguousarray(synaptic.T)
        weight = np.ascontiguousarray(projection.weight.T) * self.scale
        return weight, projection.axonal(pre_size), late

    def _growth(self, delay: FloatArray, alike: bool) -> FloatArray:
        """Return e^(delay/tau) for both time constants, [2, pre, post], or none if it won't do."""
        if not (alike and len(delay) and factors_will_do(self.constants[2][:2], delay.max())):
            return np.empty((0, 1, 1))
        tau = self.constants[2][:2, 0]
        return np.exp(delay / tau[:, None, None])

    def zeros(self) -> list[FloatArray]:
        """Return room for the sums of a portion of the batch."""
        size = self.population.size
        stats = np.zeros((2, size))
        stats[0] = np.inf
        return [
            np.zeros(self.into[0].shape),
            np.zeros(self.into[2].shape),
            np.zeros(size),
            np.zeros(self.own[0].shape),
            np.zeros(self.own[2].shape),
            np.zeros((6, size)),
            stats,
        ]

    def scratch(self, n_rows: int, n_events: int, n_slots: int) -> list[npt.NDArray[Any]]:
        """Return the working arrays of a thread."""
        size = self.population.size
        return [
            np.empty((n_slots, n_rows, size)),
            np.empty(self.n_windows, np.int64),
            np.empty((2, n_slots), np.int64),
            np.empty((n_slots, size), np.int64),
            np.empty((n_rows, size)),
            np.empty((n_rows + 1, size)),
            np.empty((3, n_events)),
            np.empty((4, n_events), np.int64),
            np.zeros((n_events, n_rows)),
            np.empty(size),
            np.empty(7),
            np.empty(7),
            np.empty((2, self.n_windows + 1)),
        ]

    def gradients(self, in_times: FloatArray, sums: list[FloatArray]) -> Gradients:
        """Sort the sums of the kernels by name."""
        weight, delay, own_axonal, own_weight, own_delay, cells, stats = sums
        tau_mem, tau_syn, tau_r, threshold, reset, refractory = cells
        if self.population.model == "SRM":
            tau_mem, tau_syn = np.zeros_like(tau_mem), tau_mem + tau_syn
        return Gradients(
            in_times,
            weight.T * self.scale,
            delay.T if len(delay) else None,
            own_weight.T * self.scale if len(own_weight) else None,
            own_axonal,
            own_delay.T if len(own_delay) else None,
            tau_mem,
            tau_syn,
            tau_r,
            threshold,
            reset,
            refractory,
            stats[0],
            int(stats[1].sum()),
        )


def factors_will_do(taus: FloatArray, longest: float) -> bool:
    """Whether exponentials of delays may stand for those of times, in units with ``taus`` [2, n].

    They must be the same for all, and neither nearly equal nor short beside the longest delay.
    """
    tau = taus[:, 0]
    apart = abs(tau[0] - tau[1]) / tau.max()
    nearly = 0 < apart < NEARLY_EQUAL
    return bool((taus == tau[:, None]).all()) and not nearly and longest <= LONGEST * tau.min()


def _population(net: Network) -> Population:
    (population,) = (p for p in net.populations.values() if p.model != "Input")
    return population


def flow_of(net: Network) -> tuple[int, float, FloatArray]:
    """Return how the kernels know the population of a network.

    Returns
    -------
    flow : int
        See `evsim._layout`.
    scale : float
        Of weights: the synaptic kernel of `SRM` has a peak of 1.
    cells : float64 array [6, unit]
        Rows as in `evsim.gradients._arrivals`; voltages are measured from v_leak.
    """
    population = _population(net)
    flow = _FLOW[population.model]
    p, size = population.parameters, population.size
    v_leak = p.get("v_leak", np.zeros(size))
    tau_mem = np.minimum(p["tau_syn"] if flow == SRM else p["tau_mem"], 1e300)
    cells = [
        tau_mem,
        p.get("tau_syn", tau_mem),
        p.get("tau_r", np.ones(size)),
        p.get("threshold", np.ones(size)) - v_leak,
        p.get("reset", np.zeros(size)) - v_leak,
        p.get("refractory", np.zeros(size)),
    ]
    return flow, e if flow == SRM else 1.0, np.stack(cells)


def _most(run: Run, kicks: Kicks, first: int, last: int) -> int:
    """Return how many events the busiest recording has, at most."""
    spikes = np.diff(run.spikes.offsets[first : last + 1])
    return int((2 * spikes + np.diff(kicks.offsets[first : last + 1])).max(initial=0)) + 1


def in_portions(
    work: Callable[[int, int], Any], spikes: Spikes, size: int, threads: int, stop: IntArray
) -> list[Any]:
    """Do the portions of a batch on some threads; return their results in order.

    ``work`` is called with the first recording of a portion and the one behind its last;
    ``size`` units of the population make the portions.
    """
    n = len(spikes)
    portions = min(max(len(spikes.times) * size // WORTHWHILE, 1), PORTIONS, max(n, 1))
    if portions == 1:
        return [work(0, n)]
    borders = np.unique(np.linspace(0, n, portions + 1).astype(int))
    jobs = list(zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True))
    if threads == 1:
        return [work(a, b) for a, b in jobs]
    return run_jobs(work, jobs, threads, stop)
