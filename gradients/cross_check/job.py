"""``cross_check``: what a network does event by event against what it does on a grid.

Runs the event engine and the dense layers on the same recordings, for several lengths of a
step, and compares spikes, voltages and decisions. `evsim check` is a thin layer over it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tqdm import tqdm

from evsim import Network, Simulator, Spikes, concatenate, simulate
from evsim.arrays import FloatArray, IntArray
from evsim.quantities import positive
from evsim.requests import MAX_RATE
from evsim.spike_checks import check_size
from evsim.taken_spikes import as_arrays
from evsim.terminal import on_terminal

from ..dense.raster import n_steps
from .grid import (
    GridRun,
    grid_model,
    last_spikes,
    quiet_after,
    run_on_grid,
)
from .records import (
    CrossCheck,
    Decisions,
    VoltageErrors,
)
from .rounding import network_in_steps, spikes_in_steps
from .spike_errors import Compared, compare, fit_order
from .voltage_errors import VoltageSums, sampled

DT = (1e-3, 5e-4, 2e-4, 1e-4)
TRAINED = ("exact", "grid")
_ENTRIES = 1 << 24  # of a raster (128 MB)
_MAX_ENTRIES = 1 << 27  # of that of a single recording


def cross_check(
    net: Network,
    spikes: Spikes,
    dt: Sequence[float] = DT,
    trained: str = "exact",
    device: str = "cpu",
    numbers: IntArray | None = None,
    progress: bool = False,
) -> CrossCheck:
    """Compare the event engine with dense layers.

    Parameters
    ----------
    net : Network
        A chain of populations, each with at most one projection onto itself.
    spikes : Spikes
        Recordings, with labels if accuracy is of interest.
    dt : sequence of float
        Lengths of a step [s].
    trained : {"exact", "grid"}
        How the network was trained, which says what is right. ``"exact"``: the event engine.
        ``"grid"``: the grid; then the events that it is compared with are those of the network
        and the input rounded to the grid, since that is what was trained.
    device : str
        Of torch, for the dense layers.
    numbers : int array [recording] or None
        What the recordings are called in the report; 0, 1, 2, ... if left out.
    progress : bool
        Whether to show a bar, if stderr is a terminal.

    Returns
    -------
    CrossCheck
        Errors by population and step.

    Raises
    ------
    ValueError
        If no dense layers can say the network, or an argument is not legal.
    RunawayError
        If a population fires without bound.

    Examples
    --------
    >>> from evsim import Dense, Population
    >>> cells = Population("cells", "CubaLIF", 1, tau_mem=20e-3, tau_syn=5e-3)
    >>> into = Dense(pre="in", post="cells", weight=[[8.0]], delay=1.5e-3)
    >>> net = Network([Population("in", "Input", 1), cells], [into])
    >>> check = cross_check(net, Spikes([0.01, 0.05], [0, 0], duration=0.1), dt=[1e-4])
    >>> (errors,) = check.spikes
    >>> errors.matched, errors.missing, errors.extra, bool(errors.largest_error < 2e-4)
    (2, 0, 0, True)
    """
    if trained not in TRAINED:
        raise ValueError(f"trained = {trained!r}, must be 'exact' or 'grid'")
    steps = _checked_steps(dt)
    device = _checked_device(device)
    spikes = as_arrays(spikes, "cross_check")
    numbers = np.arange(len(spikes)) if numbers is None else numbers
    job = _Job(net, _padded(net, spikes), trained, device, numbers)
    total = sum(n_steps(float(q), step) for step in steps for q in job.quiet)
    hidden = not (progress and on_terminal())
    bar = tqdm(total=total, unit=" steps", unit_scale=True, delay=1.0, disable=hidden, leave=False)
    with bar:
        found = [job.at(step, bar) for step in steps]
    compared = {name: [at.compared[name] for at in found] for name in found[0].compared}
    orders = []
    if trained == "exact":
        # A longer step than that follows no current at all; its errors have no order.
        fine = [at <= _shortest(net) / 2 for at in steps]
        for name, pairs in compared.items():
            used = [c for c, use in zip(pairs, fine, strict=True) if use]
            orders.append(fit_order(name, job.exact.spikes[name], used or pairs))
    return CrossCheck(
        duration=spikes.duration,
        n_recordings=len(spikes),
        trained=trained,
        dt=steps,
        spikes=[at.errors for pair in compared.values() for at in pair],
        voltages=[v for name in found[0].voltages for v in (at.voltages[name] for at in found)],
        orders=orders,
        decisions=[at.decisions for at in found if at.decisions is not None],
    )


@dataclass
class _AtStep:
    """What was found at one length of a step."""

    compared: dict[str, Compared]
    voltages: dict[str, VoltageErrors]
    decisions: Decisions | None


class _Job:
    """Recordings that are run on several grids; exact events are found once."""

    def __init__(
        self, net: Network, spikes: Spikes, trained: str, device: str, numbers: IntArray
    ) -> None:
        self.net, self.spikes, self.trained, self.device = net, spikes, trained, device
        self.numbers = numbers
        _refuse_unsaid(net)
        self.exact = simulate(net, spikes)
        last = {name: last_spikes(s) for name, s in self.exact.spikes.items()}
        quiet = quiet_after(net, {net.input: last_spikes(spikes), **last}, 0.0)
        self.quiet = np.minimum(quiet, spikes.duration)
        self.order = np.argsort(self.quiet, kind="stable")  # batches of like durations

    def at(self, dt: float, bar: tqdm[None]) -> _AtStep:
        """Run and compare everything at one length of a step."""
        spikes, n = self.spikes, n_steps(self.spikes.duration, dt)
        net, given, unit = self.net, spikes, 1.0
        rounded = None
        if self.trained == "grid" or self.net.populations[self.net.output].output is not None:
            steps = network_in_steps(self.net, dt), spikes_in_steps(spikes, dt, n)
            rounded = _in_steps(steps[0], dt).run(steps[1])
            if self.trained == "grid":
                (net, given), unit = steps, dt
        model = grid_model(self.net, dt, self.device)
        parts, voltages = [], VoltageSums()
        for batch in self._batches(dt):
            until = float(self.quiet[batch].max()) + 3 * dt
            kept = sampled(n_steps(min(until, spikes.duration), dt))
            run = run_on_grid(model, self.net, spikes[batch], dt, until, kept)
            times = dict.fromkeys(run.voltage, kept * (dt / unit))
            voltage = _in_steps(net, unit, [], times).run(given[batch]).voltage
            voltages.add(run.voltage, voltage)
            parts.append(replace(run, voltage={}))
            bar.update(sum(n_steps(float(q), dt) for q in self.quiet[batch]))
        back = np.argsort(self.order, kind="stable")
        grid = _joined(parts, back)
        reference = rounded if self.trained == "grid" and rounded is not None else self.exact
        compared: dict[str, Compared] = {}
        lost_at = np.full(len(spikes), np.inf)
        for name, found in grid.spikes.items():  # a loss spreads to the populations behind it
            wanted = _in_seconds(reference.spikes[name], unit, spikes.duration)
            found = _in_seconds(found, dt, spikes.duration)
            near = window(self.net, dt)
            compared[name] = compare(name, dt, wanted, found, near, lost_at, self.numbers)
            lost_at = compared[name].lost_at
        outputs = [self.exact.output.get(self.net.output), grid.output]
        outputs.append(None if rounded is None else rounded.output.get(self.net.output))
        return _AtStep(compared, voltages.errors(dt), _decisions(dt, spikes.labels, *outputs))

    def _batches(self, dt: float) -> Iterator[IntArray]:
        """Yield recordings whose rasters fit into memory together."""
        widest = max(p.size for p in self.net.populations.values())
        sizes = np.array([n_steps(float(q) + 3 * dt, dt) for q in self.quiet[self.order]]) * widest
        if len(sizes) and sizes[-1] > _MAX_ENTRIES:
            raise ValueError(
                f"dt = {dt}: {sizes[-1] // widest:,} steps of {widest:,} units are too many for "
                "one recording; choose a larger one"
            )
        first = 0
        while first < len(sizes):
            n = np.arange(1, len(sizes) - first + 1)  # the last one is the longest
            fitting = int((n * sizes[first:] <= _ENTRIES).sum())
            yield self.order[first : first + max(1, fitting)]
            first += max(1, fitting)


def _in_steps(net: Network, dt: float, record: Any = None, voltage: Any = None) -> Simulator:
    """Return what runs a network whose times are counted in steps, or was run in seconds."""
    return Simulator(net, record, voltage, max_rate=MAX_RATE * dt, in_seconds=False)


def window(net: Network, dt: float) -> float:
    """Return how far from each other two spikes may be to be the same one [s].

    Half the shortest time constant of the spiking populations, so that a spike that is late
    is not taken for a lost one, however short the steps; at least five steps.
    """
    return float(max(5 * dt, _shortest(net) / 2))


def _shortest(net: Network) -> float:
    """Return the shortest time constant of the spiking populations, 0 if there is none [s]."""
    spiking = (p for p in net.populations.values() if p.spiking)
    taus = [tau.min() for population in spiking for tau in population.taus]
    return float(min((tau for tau in taus if np.isfinite(tau)), default=0.0))


def _joined(parts: list[GridRun], back: IntArray) -> GridRun:
    """Put batches together and in the order of the recordings."""
    output = None
    if parts[0].output is not None:
        output = np.concatenate([p.output for p in parts if p.output is not None])[back]
    spikes = {name: concatenate([p.spikes[name] for p in parts])[back] for name in parts[0].spikes}
    return GridRun(spikes, {}, output)


def _in_seconds(spikes: Spikes, unit: float, duration: float) -> Spikes:
    if unit == 1.0:
        return spikes
    return spikes.replace(spikes.times * unit, spikes.units, spikes.offsets, duration=duration)


def _decisions(
    dt: float,
    labels: IntArray | None,
    exact: FloatArray | None,
    grid: FloatArray | None,
    rounded: FloatArray | None,
) -> Decisions | None:
    """Compare the largest values of a readout."""
    if exact is None or grid is None or rounded is None:
        return None
    chosen = [output.argmax(axis=1) for output in (exact, grid, rounded)]
    right = [None if labels is None else float(np.mean(c == labels)) for c in chosen]
    same = [float(np.mean(chosen[a] == chosen[b])) for a, b in ((0, 1), (0, 2), (1, 2))]
    return Decisions(dt, len(exact), right[0], right[1], right[2], same[0], same[1], same[2])


def _refuse_unsaid(net: Network) -> None:
    """Refuse before any work what dense layers can't say."""
    try:
        grid_model(net, 1.0)
    except ValueError as error:
        raise ValueError(f"the network can't be run on a grid: {error}") from error


def _padded(net: Network, spikes: Spikes) -> Spikes:
    """Return the recordings with as many units as the input population."""
    size = net.populations[net.input].size
    check_size(spikes, size, f"input population {net.input!r} has {size}")
    if not len(spikes):
        raise ValueError("there are no recordings to check with")
    spikes = spikes.before(spikes.duration)
    return spikes.replace(spikes.times, spikes.units, spikes.offsets, size=size)


def _checked_steps(dt: Sequence[float]) -> list[float]:
    """Return the lengths of a step, largest first, each once."""
    if not len(dt):
        raise ValueError("dt: give the length of a step or more [s]")
    return sorted({positive("dt", value, "s") for value in dt}, reverse=True)


def _checked_device(device: str) -> str:
    import torch

    try:
        torch.zeros(1, dtype=torch.float64, device=device).item()
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        raise ValueError(f"device = {device!r}: torch can't use it ({error})") from error
    return device
