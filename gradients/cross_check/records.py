"""What `cross_check` finds, in numbers, and which tolerances it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from evsim.words import plain


@dataclass(frozen=True)
class Loss:
    """A spike that only one of the two simulations has.

    Attributes
    ----------
    kind : {"missing", "extra"}
        Missing on the grid, or only there.
    recording, unit : int
        Where.
    time : float
        When [s].
    """

    kind: str
    recording: int
    unit: int
    time: float

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.kind} in recording {self.recording}, unit {self.unit}, at {self.time:.6g} s"


@dataclass(frozen=True)
class SpikeErrors:
    """How the spikes of a population on a grid differ from the events.

    Attributes
    ----------
    population : str
        Which one.
    dt : float
        Length of a step [s].
    window : float
        Largest distance of spikes that are the same one [s].
    n_events, n_grid : int
        Spikes of both.
    matched, missing, extra : int
        Pairs; spikes that only the events, only the grid has. Those nearer to the horizon
        than ``window``, whose partner may lie beyond it, are neither missing nor extra.
    median_error, largest_error : float or None
        Of the times of matched spikes [s]; None if there are none.
    early_spikes : int
        Matched spikes before the first missing or extra one of their recording, in this or a
        population before it.
    early_error, largest_early_error : float or None
        Mean and largest error of their times [s].
    first_loss : Loss or None
        The first missing or extra spike of all recordings.
    """

    population: str
    dt: float
    window: float
    n_events: int
    n_grid: int
    matched: int
    missing: int
    extra: int
    median_error: float | None
    largest_error: float | None
    early_spikes: int
    early_error: float | None
    largest_early_error: float | None
    first_loss: Loss | None

    @property
    def match(self) -> float:
        """Share of spikes that have a partner; of the simulation where it is less."""
        return self.matched / max(self.matched + max(self.missing, self.extra), 1)

    @property
    def identical(self) -> bool:
        """Whether all spikes are the same to the last bit."""
        return self.missing == self.extra == 0 and not self.largest_error


@dataclass(frozen=True)
class VoltageErrors:
    """How the voltages of a population differ, at most 100 samples per recording.

    Attributes
    ----------
    population : str
        Which one.
    dt : float
        Length of a step [s].
    mean, largest : float
        Absolute error.
    typical : float
        Mean absolute voltage of the event engine, to compare with.
    """

    population: str
    dt: float
    mean: float
    largest: float
    typical: float


@dataclass(frozen=True)
class Order:
    """How the errors of spike times fall with the length of a step.

    Attributes
    ----------
    population : str
        Which one.
    order : float or None
        Slope of the line through log error against log dt. None if it can't be fitted: a
        single step, fewer than ten spikes, or no error at all.
    spikes : int
        The same ones at every step: those before the first missing or extra spike of their
        recording at any of the steps.
    dt, error : list of float
        Steps that were fitted, and the median error at each [s]. Steps above half the
        shortest time constant are left out, and the largest ones if fewer than ten spikes
        would remain.
    """

    population: str
    order: float | None
    spikes: int
    dt: list[float]
    error: list[float]


@dataclass(frozen=True)
class Decisions:
    """What the readout decides: the unit with the largest value.

    Attributes
    ----------
    dt : float
        Length of a step [s].
    n : int
        Recordings.
    exact_accuracy, grid_accuracy, rounded_accuracy : float or None
        Of the event engine, of the grid, and of the event engine with delays, refractory
        periods and input rounded to the grid; None without labels.
    exact_grid, exact_rounded, grid_rounded : float
        Share of recordings on which two of them agree.
    """

    dt: float
    n: int
    exact_accuracy: float | None
    grid_accuracy: float | None
    rounded_accuracy: float | None
    exact_grid: float
    exact_rounded: float
    grid_rounded: float


@dataclass(frozen=True)
class Tolerances:
    """What a network must keep to pass.

    Attributes
    ----------
    min_match : float
        Share of spikes that have a partner, at the smallest step.
    max_time_error : float
        Median error of the times of matched spikes, at the smallest step [steps].
    min_order : float
        Order of convergence, where there are several steps.
    max_accuracy_loss : float
        How much less often the other engine is right, at the smallest step: the grid, for a
        network that was trained exactly; the event engine with delays and input rounded to
        the grid, for one that was trained on it.
    """

    min_match: float = 0.95
    max_time_error: float = 5.0
    min_order: float = 0.9
    max_accuracy_loss: float = 0.005

    def __post_init__(self) -> None:
        """Refuse what is no number."""
        for name, value in vars(self).items():
            if not value == value or abs(value) == float("inf"):
                raise ValueError(f"{name} = {value}, must be finite")


@dataclass(frozen=True)
class CrossCheck:
    """What `cross_check` found.

    Attributes
    ----------
    duration : float
        Horizon of a recording [s].
    n_recordings : int
        How many were run.
    trained : {"exact", "grid"}
        What the network was trained with.
    dt : list of float
        Lengths of a step, largest first [s].
    spikes : list of SpikeErrors
        By spiking population, then step.
    voltages : list of VoltageErrors
        By population, then step.
    orders : list of Order
        By spiking population; empty for a network that was trained on a grid, since rounded
        to another step it is another network.
    decisions : list of Decisions
        By step; empty if the output population is no readout.
    """

    duration: float
    n_recordings: int
    trained: str
    dt: list[float]
    spikes: list[SpikeErrors]
    voltages: list[VoltageErrors]
    orders: list[Order]
    decisions: list[Decisions]

    def failures(self, tolerances: Tolerances) -> list[str]:
        """Return which tolerances are not kept, one line each with the numbers.

        Parameters
        ----------
        tolerances : Tolerances
            What to keep.

        Returns
        -------
        list of str
            Empty if the network passes.
        """
        smallest = self.dt[-1]
        finest = [s for s in self.spikes if s.dt == smallest]
        found = chain(
            _silent(finest),
            *(_spike_failures(s, tolerances) for s in finest),
            *(_order_failures(o, tolerances) for o in self.orders if len(self.dt) > 1),
            *(self._lost_accuracy(d, tolerances) for d in self.decisions if d.dt == smallest),
        )
        return list(found)

    def _lost_accuracy(self, d: Decisions, tolerances: Tolerances) -> Iterator[str]:
        exact, grid, rounded = d.exact_accuracy, d.grid_accuracy, d.rounded_accuracy
        if exact is None or grid is None or rounded is None:
            return
        lost = exact - grid if self.trained == "exact" else grid - rounded
        if lost > tolerances.max_accuracy_loss + 1e-12:
            first, second = (exact, grid) if self.trained == "exact" else (grid, rounded)
            names = ("exact", "on the grid")
            names = names if self.trained == "exact" else ("on the grid", "as rounded events")
            yield (
                f"accuracy {first:.1%} {names[0]}, {second:.1%} {names[1]} at "
                f"dt = {1e3 * d.dt:g} ms: a loss of more than "
                f"max_accuracy_loss = {tolerances.max_accuracy_loss:g}"
            )


def _silent(finest: list[SpikeErrors]) -> Iterator[str]:
    if not any(s.n_events or s.n_grid for s in finest):
        yield "no population fired, so no spike was compared"


def _spike_failures(s: SpikeErrors, tolerances: Tolerances) -> Iterator[str]:
    where = f"{plain(s.population)}, dt = {1e3 * s.dt:g} ms"
    if s.match < tolerances.min_match and s.first_loss is not None:
        yield (
            f"{where}: {s.match:.2%} of the spikes matched, less than min_match = "
            f"{tolerances.min_match:.2%}; the first is {s.first_loss}"
        )
    if s.median_error is not None and s.median_error > tolerances.max_time_error * s.dt:
        yield (
            f"{where}: median time error of {s.median_error / s.dt:.3g} steps, more than "
            f"max_time_error = {tolerances.max_time_error:g}"
        )


def _order_failures(o: Order, tolerances: Tolerances) -> Iterator[str]:
    if o.order is not None and o.order < tolerances.min_order:
        yield (
            f"{plain(o.population)}: order of convergence {o.order:.3g}, less than min_order = "
            f"{tolerances.min_order:g}"
        )
