"""How deep networks code, and what learns them: rules at the synapse, the exact gradient."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from evsim import load_spikes
from evsim.plots.style import CYCLE

from ...lowbit import size
from ..drawing import draw_intervals
from ..equal_size import as_wide, kept
from ..exported import network_of
from ..first_spiking import answering_first, decided_first
from ..interface import Measured, Point, Study, Work
from ..statistics import beside
from ..tables import Row, Table
from ..trained_networks import step_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RATES, FIRST = "rates", "first spikes"
RULE, LOCAL, EXACT = "rule", "exact local rule", "exact gradient"
# The rules send the error of a readout's voltage, and what answers by first spikes has no readout.
WAYS = ((RATES, RULE), (RATES, LOCAL), (RATES, EXACT), (FIRST, EXACT))
DELAYS = ("learnt", "random", "none")
_METHODS: dict[str, dict[str, Any]] = {
    RULE: {"method": "three-factor"}, LOCAL: {"method": "three-factor", "exact": True},
    EXACT: {"method": "exact"},
}  # fmt: skip
_LAYERS, _QUICK_LAYERS = (1, 2, 3), (1, 2)
# Fewer recordings than there are, so that all networks are trained in half an hour.
_UNITS, _EPOCHS, _RECORDINGS = 48, 6, 800
_QUICK_UNITS, _QUICK_EPOCHS, _QUICK_RECORDINGS = 24, 3, 300
_LONGEST = 0.125  # [s], 25 steps of 5 ms
_TAU0 = 5e-3  # of first spikes [s]; with 20 ms outputs of digits fall silent
_FIT = 256  # recordings that first weights are fitted to
_SETTINGS = ("layers", "coding", "learning", "delays")


class Coding(Study):
    """Ways to learn, of networks of one to three hidden layers that keep as many numbers.

    Rates: the readout integrates its voltage; of events weighted by e^(-t / tau_output), for the
    plain integral is the same whenever a spike comes, and has no exact gradient by delays. First
    spikes: units of the output fire, and the first one decides. Delays are those of the units
    that send. Several layers send the rules' errors through fixed random weights.
    """

    name = "coding"
    paper = "B: outlook"
    title = "whether more layers, or first spikes, make learning at the synapse better"
    minutes = 25
    measured = False

    def points(self, quick: bool) -> list[Point]:
        """Return layers x ways to answer and to learn x delays."""
        return [
            {"layers": n, "coding": coding, "learning": learning, "delays": delays}
            for n in (_QUICK_LAYERS if quick else _LAYERS)
            for coding, learning in WAYS
            for delays in DELAYS
        ]

    def compute(self, point: Point, work: Work) -> Measured:
        """Train a network as wide as makes all of them keep as many numbers."""
        units, epochs, recordings = _UNITS, _EPOCHS, _RECORDINGS
        if work.quick:
            units, epochs, recordings = _QUICK_UNITS, _QUICK_EPOCHS, _QUICK_RECORDINGS
        parts, late = work.parts(), "none" if point["delays"] == "none" else "axonal"
        ends, duration = (parts.train.size, len(parts.train.class_names)), parts.train.duration
        units = width(units, *ends, point["layers"], late)
        first = point["coding"] == FIRST
        trained = work.train(
            change=partial(_first, parts.train, work.seed) if first else None,
            hidden=units if point["layers"] == 1 else (units,) * point["layers"],
            epochs=epochs, recordings=recordings, patience=0,
            **_delays(point["delays"], duration), **_METHODS[point["learning"]],
            **_step(point["learning"], duration),
        )  # fmt: skip
        found: Measured = {"right": trained.right, "n": trained.n}
        if first:
            tested = load_spikes(trained.folder / "test.h5")
            found = decided_first(network_of(trained.folder), tested)
        counted = size(trained.trainer.model)
        return {**found, "units": units, "numbers": counted.weights + counted.delays}

    def control(self, point: Point) -> Point | None:
        """Return the network that lacks one thing: learning of delays, delays, further layers."""
        if point["delays"] == "none":
            return None if point["layers"] == 1 else {**point, "layers": 1}
        return {**point, "delays": "random" if point["delays"] == "learnt" else "none"}

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw accuracies, a panel for each number of layers, a colour for each kind of delays."""
        depths = _depths(table)
        figure.set_size_inches(4 + 2.5 * len(depths), 5)
        several = figure.subplots(1, len(depths), sharey=True, squeeze=False)[0]
        for axes, n in zip(several, depths, strict=True):
            for k, delays in enumerate(DELAYS):
                rows = table.where(layers=n, delays=delays)
                at = [WAYS.index((row["coding"], row["learning"])) + 0.15 * (k - 1) for row in rows]
                draw_intervals(axes, at, rows, color=CYCLE[k], label=_late(delays))
            axes.set_title(_layers(n), fontsize="small")
            names = [f"{coding},\n{learning}" for coding, learning in WAYS]
            axes.set_xticks(range(len(WAYS)), names, rotation=90, fontsize="small")
            if axes is not several[0]:
                axes.set_ylabel("")
        named = several[0].get_legend_handles_labels()
        figure.legend(*named, loc="outside lower center", ncols=3, fontsize="small")

    def verdict(self, table: Table) -> list[str]:
        """Tell what depth, coding, ways to learn and delays are worth, at equal numbers."""
        lines = [
            f"all networks keep as many numbers, or nearly: {_numbers(table)}",
            f"no rows: {FIRST} by the {RULE} and by the {LOCAL}, which send the error of a "
            "readout's voltage; a network that answers by first spikes has no readout",
        ]
        worth = []
        for row in table.where(delays="learnt"):
            lines.append(_beside(table, row, _settings(row) | {"delays": "none"})[0])
            if row["coding"] == FIRST:
                lines.append(_beside(table, row, _settings(row) | {"coding": RATES})[0])
            elif row["learning"] != EXACT:
                lines.append(_beside(table, row, _settings(row) | {"learning": EXACT})[0])
            if row["layers"] > 1:
                line, compared = _beside(table, row, _settings(row) | {"layers": 1})
                lines.append(line)
                worth += [compared] if row["learning"] == RULE else []
        lines += [
            f"{_told(row)}: in {row['undecided']:.1%} of the recordings no output unit fires"
            for row in table.where(coding=FIRST)
        ]
        told = f"{worth.count('better')} of {len(worth)} deeper networks of the {RULE} are"
        if "better" in worth and "worse" not in worth:
            return [*lines, f"as published: more layers help, {told} better than one layer"]
        if "one seed" in worth:
            return [*lines, "differs: because one seed has no interval"]
        return [
            *lines,
            f"differs: because {told} seen to be better than one layer of as many numbers",
        ]


def width(units: int, n_inputs: int, n_classes: int, layers: int, delay: str) -> int:
    """Return the units of each layer that keep as many numbers as one late layer of ``units``.

    Examples
    --------
    >>> width(48, 70, 10, 1, "axonal"), width(48, 70, 10, 1, "none"), width(48, 70, 10, 3, "none")
    (48, 49, 29)
    """
    numbers = kept(n_inputs, [units], n_classes, "axonal")
    return as_wide(numbers, lambda n: kept(n_inputs, [n] * layers, n_classes, delay))


def _delays(delays: str, duration: float) -> dict[str, Any]:
    if delays == "none":
        return {"delay": "none"}
    longest = min(_LONGEST, duration / 4)
    return {"delay": "axonal", "max_delay": longest, "learn_delays": delays == "learnt"}


def _step(learning: str, duration: float) -> dict[str, Any]:
    return {"dt": step_of(duration)} if learning == RULE else {}


def _first(training: Any, seed: int, model: Any, options: Any, method: Any) -> Any:
    """Let the first spike answer."""
    typical = next(training.batches(_FIT, shuffle=True, seed=seed))
    return answering_first(model, typical, _TAU0), options, method


def _settings(row: Row) -> Point:
    return {name: row[name] for name in _SETTINGS}


def _depths(table: Table) -> list[int]:
    return list(dict.fromkeys(row["layers"] for row in table.rows))


def _layers(n: int) -> str:
    return f"{n} hidden layer{'s' if n > 1 else ''}"


def _late(delays: str) -> str:
    return "no delays" if delays == "none" else f"{delays} delays"


def _told(row: Row) -> str:
    late = _late(row["delays"])
    return f"{_layers(row['layers'])}, {row['coding']}, {row['learning']}, {late}"


def _beside(table: Table, row: Row, control: Point) -> tuple[str, str]:
    """Return a line on a row beside another, and what the difference says."""
    other = table.row(**control)
    found, compared = beside(row, other)
    words = {**control, "layers": _layers(control["layers"]), "delays": _late(control["delays"])}
    changed = ", ".join(words[name] for name, value in control.items() if value != row[name])
    return f"{_told(row)} beside {changed}: {found}", compared


def _numbers(table: Table) -> str:
    numbers = [row["numbers"] for row in table.rows]
    return f"{min(numbers):,.0f} to {max(numbers):,.0f}"


STUDY = Coding()
