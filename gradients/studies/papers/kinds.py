"""Delays per sending unit, per receiving unit, per synapse, at equal size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evsim.plots.style import CYCLE, GREY

from ...lowbit import size
from ..drawing import draw_intervals
from ..equal_size import as_wide, kept
from ..interface import Measured, Point, Study, Work
from ..statistics import beside
from ..tables import Row, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NONE, AXONAL, DENDRITIC, SYNAPTIC, MASKED = (
    "none", "axonal", "dendritic", "synaptic", "synaptic, masked"
)  # fmt: skip
KINDS = (NONE, AXONAL, DENDRITIC, SYNAPTIC, MASKED)
UNITS, NUMBERS, BITS = "units", "numbers", "bits"
LEARNT, RANDOM = "learnt", "random"
# Of weights and delays at equal bits: synapses with two numbers have half as many for each, and
# networks are about as wide.
_BITS = {NONE: 8, AXONAL: 8, DENDRITIC: 8, SYNAPTIC: 4}


class Kinds(Study):
    """One hidden layer with delays of its inputs, of its units, or of its synapses.

    The axonal network has 64 units; others have as many, or are as wide as makes numbers equal,
    or bits. Masks leave synapses out at random, so that the synaptic network with as many units
    keeps as many numbers; which ones is drawn from a seed and does not count.
    """

    name = "kinds"
    paper = "A: outlook"
    title = "which kind of delays is worth most at equal size"
    minutes = 22
    measured = False

    def points(self, quick: bool) -> list[Point]:
        """Return what is equal x kinds of delays x whether they are learnt."""
        return [
            _point(equal, kind, how)
            for equal in ((NUMBERS,) if quick else (UNITS, NUMBERS, BITS))
            for kind in (KINDS if equal == NUMBERS else KINDS[:-1])
            for how in ((LEARNT,) if kind == NONE else (RANDOM, LEARNT))
        ]

    def compute(self, point: Point, work: Work) -> Measured:
        """Train a network of the size that is wanted."""
        equal, kind, parts = point["equal"], point["delays"], work.parts()
        ends = parts.train.size, len(parts.train.class_names)
        units, sparse = sizes(equal, kind, 32 if work.quick else 64, *ends)
        asked: dict[str, Any] = {"delay": SYNAPTIC if kind == MASKED else kind, "sparse": sparse}
        if kind != NONE:
            asked["learn_delays"] = point["how"] == LEARNT
        if equal == BITS:
            asked["weight_bits"] = _BITS[kind]
            asked |= {} if kind == NONE else {"delay_bits": _BITS[kind]}
        trained = work.train(hidden=units, epochs=4 if work.quick else 10, patience=0, **asked)
        own = size(trained.trainer.model)
        return {
            "right": trained.right, "n": trained.n, "units": units,
            "numbers": own.weights + own.delays, "delay_numbers": own.delays,
            "mbit": own.bits / 1e6,
        }  # fmt: skip

    def control(self, point: Point) -> Point | None:
        """Return random delays that stay as they are; of these, none at the same size."""
        if point["delays"] == NONE:
            return None
        if point["how"] == LEARNT:
            return {**point, "how": RANDOM}
        return _point(point["equal"], NONE, LEARNT)

    def published(self, point: Point) -> str | None:
        """Return what the outlook expects."""
        expected = point["delays"] in (DENDRITIC, SYNAPTIC) and point["how"] == LEARNT
        return "more than axonal ones, as expected in the outlook" if expected else None

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw accuracies, a panel for what is equal, and Mbit below."""
        several = _equals(table)
        figure.set_size_inches(4 + 2.6 * len(several), 5.4)
        grid = figure.subplots(
            2, len(several), sharex="col", sharey="row", squeeze=False, height_ratios=(3, 1)
        )
        for k, equal in enumerate(several):
            _panel(grid[0][k], grid[1][k], table.where(equal=equal))
            grid[0][k].set_title(f"equal {equal}")
            if k:
                grid[0][k].set_ylabel("")
        told = grid[0][0].get_legend_handles_labels()
        figure.legend(*told, loc="outside lower center", ncols=3, fontsize="small")
        grid[1][0].set_ylabel("Mbit")

    def verdict(self, table: Table) -> list[str]:
        """Compare kinds with axonal delays, and learnt delays with random ones."""
        lines, seen = [], {}
        for row in table.rows:
            lines.append(_size(row))
        for row in table.rows:
            control = self.control(_point(row["equal"], row["delays"], row["how"]))
            if control is not None:
                other = "random ones" if row["how"] == LEARNT else "none"
                line, _ = beside(row, table.row(**control))
                lines.append(f"{_told(row)} beside {other}: {line}")
        for equal in _equals(table):
            axonal = table.row(equal=equal, delays=AXONAL, how=LEARNT)
            for kind in (DENDRITIC, SYNAPTIC, MASKED):
                for row in table.where(equal=equal, delays=kind, how=LEARNT):
                    line, seen[equal, kind] = beside(row, axonal)
                    lines.append(f"{_told(row)} beside {AXONAL} ones: {line}")
        return [*lines, _judged(table, seen)]


def sizes(equal: str, kind: str, units: int, n_inputs: int, n_classes: int) -> tuple[int, float]:
    """Return how many units a network has, and which share of its synapses is left out.

    Parameters
    ----------
    equal : {"units", "numbers", "bits"}
        What is as for the axonal network.
    kind : str
        Of `KINDS`.
    units, n_inputs, n_classes : int
        Of the axonal network.

    Examples
    --------
    >>> sizes("numbers", "synaptic", 64, 70, 10), sizes("bits", "synaptic", 64, 70, 10)
    ((35, 0.0), (69, 0.0))
    """
    wanted = kept(n_inputs, [units], n_classes, AXONAL)
    if kind == MASKED:
        synapses = (wanted - units * n_classes) / 2
        return units, 1 - synapses / (units * n_inputs)
    if equal == UNITS or kind == AXONAL:
        return units, 0.0
    each = _BITS[kind] / _BITS[AXONAL] if equal == BITS else 1.0

    def count(n: int) -> int:
        return kept(n_inputs, [n], n_classes, kind)

    return as_wide(round(wanted / each), count), 0.0


def _panel(upper: Axes, lower: Axes, rows: list[Row]) -> None:
    """Draw accuracies of learnt and of random delays, and sizes below."""
    kinds = list(dict.fromkeys(row["delays"] for row in rows))
    looks = {"no": ("black", 0.0), RANDOM: (GREY, -0.1), LEARNT: (CYCLE[0], 0.1)}
    for name, (colour, aside) in looks.items():
        own = [row for row in rows if name == ("no" if row["delays"] == NONE else row["how"])]
        at = [kinds.index(row["delays"]) + aside for row in own]
        draw_intervals(upper, at, own, color=colour, label=f"{name} delays")
    learnt = [row for row in rows if row["how"] == LEARNT]
    lower.bar(range(len(kinds)), [row["mbit"] for row in learnt], color=CYCLE[0], width=0.5)
    names = [kind.replace(", ", ",\n") for kind in kinds]
    lower.set_xticks(range(len(kinds)), names, fontsize="small", rotation=30)


def _size(row: Row) -> str:
    return (
        f"{_told(row)}: {row['accuracy']:.1%}, {row['units']:g} units, {row['numbers']:,.0f} "
        f"numbers, {row['delay_numbers']:,.0f} of them delays, {row['mbit']:.3g} Mbit"
    )


def _told(row: Row) -> str:
    how = "" if row["delays"] == NONE else f", {row['how']}"
    return f"equal {row['equal']}: {row['delays']}{how}"


def _judged(table: Table, seen: dict[tuple[str, str], str]) -> str:
    """Say whether synaptic and dendritic delays are seen to be worth more at equal size."""
    if table.rows[0]["seeds"] == 1:
        return "differs: because one seed has no interval"
    fair = {key: what for key, what in seen.items() if key[0] != UNITS and key[1] != MASKED}
    won = [key for key, what in fair.items() if what == "better"]
    told = f"{len(won)} of {len(fair)} comparisons at equal size"
    told += "".join(f", {kind} at equal {equal}" for equal, kind in won)
    if len(won) == len(fair):
        return f"as published: as the outlook expects, other kinds beat axonal delays in {told}"
    return f"differs: because other kinds are seen to beat axonal delays in {told}"


def _equals(table: Table) -> list[str]:
    return list(dict.fromkeys(row["equal"] for row in table.rows))


def _point(equal: str, kind: str, how: str) -> Point:
    return {"equal": equal, "delays": kind, "how": how}


STUDY = Kinds()
