"""What a number is worth that is added to a network: a delay, or one more weight."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

from evsim.plots.style import BLUE, DARK, ORANGE

from ..drawing import draw_intervals
from ..equal_size import as_wide, kept
from ..interface import Measured, Point, Study, Work
from ..statistics import Spread, beside, comparison, difference, spread
from ..tables import Row, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NONE, AXONAL, WIDENED = "none", "axonal", "none, widened"
UNITS = (16, 32, 64, 128)  # of each of two hidden layers
_WORTH = "points_per_thousand"
_LOOK = {
    NONE: {"color": DARK, "fmt": "o--", "label": "no delays"},
    AXONAL: {"color": BLUE, "fmt": "o-", "label": "axonal delays"},
    WIDENED: {"color": ORANGE, "fmt": "x", "label": "no delays, widened to as many numbers"},
}
# Where the difference comes from that is shared out over added numbers.
_ADDED = {
    AXONAL: "delays", WIDENED: "as many weights", NONE: "weights, to twice as many units"
}  # fmt: skip


class Gain(Study):
    """Hidden units with delays, without, and without but with as many numbers.

    Axonal delays of two hidden layers are as many numbers as the weights of one more unit in the
    first. As a network is doubled, far more weights are added, and what each brings is seen
    with less noise.
    """

    name = "gain"
    paper = "A: Fig 1c"
    title = "what an added number brings, a delay or a weight"
    minutes = 12
    measured = False
    of_seeds = (_WORTH,)

    def points(self, quick: bool) -> list[Point]:
        """Return units x networks."""
        return [
            _point(units, delays)
            for units in (UNITS[:2] if quick else UNITS)
            for delays in (NONE, AXONAL, WIDENED)
        ]

    def compute(self, point: Point, work: Work) -> Measured:
        """Train a network, and share out what it gains over the numbers that it has more."""
        train, units = work.parts().train, point["units"]
        n_inputs, n_classes = train.size, len(train.class_names)
        delay = AXONAL if point["delays"] == AXONAL else NONE
        first = units
        if point["delays"] == WIDENED:
            wanted = kept(n_inputs, (units, units), n_classes, AXONAL)
            first = as_wide(wanted, lambda n: kept(n_inputs, (n, units), n_classes))
        numbers = kept(n_inputs, (first, units), n_classes, delay)
        trained = work.train(
            hidden=(first, units), delay=delay, epochs=4 if work.quick else 10, patience=0
        )
        found: Measured = {"right": trained.right, "n": trained.n, "numbers": numbers}
        if work.needed is not None:
            before = work.needed.measured
            points = 100 * (trained.right / trained.n - before["right"] / before["n"])
            found["added"] = numbers - before["numbers"]
            found[_WORTH] = 1000 * points / found["added"]
        return found

    def needs(self, point: Point) -> Point | None:
        """Return the network to which numbers are added: without delays, or half as wide."""
        if point["delays"] != NONE:
            return _point(point["units"], NONE)
        return None if point["units"] == UNITS[0] else _point(point["units"] // 2, NONE)

    def control(self, point: Point) -> Point | None:
        """Return the network with as many numbers, of this the one that is not widened."""
        if point["delays"] == AXONAL:
            return _point(point["units"], WIDENED)
        return self.needs(point)

    def published(self, point: Point) -> str | None:
        """Return the paper's accuracy on SHD with 128 units, the only ones that its text tells."""
        known = {AXONAL: "90.98 % (SHD, 128 units)", NONE: "48.60 % (SHD, 128 units)"}
        return known.get(point["delays"]) if point["units"] == UNITS[-1] else None

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw accuracy against numbers kept, and what each added number brings."""
        left, right = figure.subplots(1, 2)
        _draw_accuracies(left, table)
        _draw_worth(right, table)
        for axes in (left, right):
            axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0))

    def verdict(self, table: Table) -> list[str]:
        """Compare what a delay brings with what a weight does, at each number of units."""
        units, lines, beats = _units(table), [], []
        for n in units:
            delays = table.row(units=n, delays=AXONAL)
            same = table.row(units=n, delays=WIDENED)
            found, compared = beside(delays, same)
            lines.append(
                f"{n} units: {delays['added']:g} delays bring {_told(delays)} points per 1,000 "
                f"numbers, {same['added']:g} weights {_told(same)}; at equal numbers delays "
                f"beside weights {found}"
            )
            beats.append(compared)
        for n, wider in zip(units, units[1:], strict=False):
            delays = table.row(units=n, delays=AXONAL)
            more = table.row(units=wider, delays=NONE)
            apart = difference(delays[f"{_WORTH}_of_seeds"], more[f"{_WORTH}_of_seeds"])
            lines.append(
                f"{n} to {wider} units: {more['added']:,g} weights bring {_told(more)} points per "
                f"1,000, a delay {_per(apart)} more, {comparison(apart)}"
            )
            beats.append(comparison(apart))
        if table.rows[0]["seeds"] == 1:
            return [*lines, "differs: because one seed has no interval"]
        told = f"{beats.count('better')} of {len(beats)} comparisons a delay brings more"
        if beats.count("better") == len(beats):
            return [*lines, f"as published: in {told} than a weight"]
        return [*lines, f"differs: because only in {told} than a weight is seen to"]


def _point(units: int, delays: str) -> Point:
    return {"units": units, "delays": delays}


def _units(table: Table) -> list[int]:
    return [row["units"] for row in table.where(delays=NONE)]


def _told(row: Row) -> str:
    """Return points per thousand numbers with their interval, if there is one."""
    return _per(spread(row[f"{_WORTH}_of_seeds"]))


def _per(found: Spread) -> str:
    interval = f" ({found.low:.3g} to {found.high:.3g})"
    return f"{found.mean:.3g}{'' if isnan(found.low) else interval}"


def _draw_accuracies(axes: Axes, table: Table) -> None:
    """Draw accuracies by numbers kept, those of equal numbers a little aside."""
    for (delays, look), aside in zip(_LOOK.items(), (0.96, 1.0, 1.04), strict=True):
        rows = table.where(delays=delays)
        draw_intervals(axes, [aside * row["numbers"] for row in rows], rows, **look)
    plain = table.where(delays=NONE)
    axes.set_xscale("log")
    axes.minorticks_off()
    names = [f"{row['numbers']:,.0f}\n2 x {row['units']}" for row in plain]
    axes.set_xticks([row["numbers"] for row in plain], names)
    axes.set_xlabel("numbers kept without delays, hidden units")


def _draw_worth(axes: Axes, table: Table) -> None:
    """Draw what an added number brings, where it is added."""
    units = _units(table)
    for k, (delays, added) in enumerate(_ADDED.items()):
        rows = [row for row in table.where(delays=delays) if row.get(_WORTH) is not None]
        before = 1 if delays == NONE else 0  # twice as many units are added to half as many
        at = [units.index(row["units"]) - before + 0.1 * (k - 1) for row in rows]
        draw_intervals(axes, at, rows, _WORTH, **{**_LOOK[delays], "label": added})
    axes.axhline(0, color=DARK, linewidth=0.6)
    axes.set_xticks(range(len(units)), [f"2 x {n}" for n in units])
    axes.set_xlabel("hidden units")
    axes.set_ylabel("points per 1,000 added numbers")


STUDY = Gain()
