"""Whether bits of weights make up for delays that are not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evsim.bits import FULL
from evsim.plots.style import BLUE, DARK

from ...lowbit import size
from ..drawing import draw_intervals
from ..interface import Measured, Point, Study, Work
from ..statistics import comparison, difference, in_points
from ..tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BITS = (1.58, 2, 3, 4, 5, 6, 7, 8, FULL)
_QUICK = (1.58, 2, 4, FULL)
_ENOUGH = 2  # bits, beyond which SHD "showed little improvement" in the paper's text


class WeightBits(Study):
    """Bits of all weights, without delays and with axonal ones."""

    name = "weight-bits"
    paper = "A: Suppl Fig 3"
    title = "whether more bits of weights make up for delays"
    minutes = 13
    measured = False

    def points(self, quick: bool) -> list[Point]:
        """Return bits x delays."""
        bits = _QUICK if quick else BITS
        return [{"bits": b, "delays": d} for d in ("none", "axonal") for b in bits]

    def compute(self, point: Point, work: Work) -> Measured:
        """Train a network of one hidden layer."""
        few: dict[str, Any] = {} if point["bits"] == FULL else {"weight_bits": point["bits"]}
        trained = work.train(
            hidden=32 if work.quick else 64, epochs=4 if work.quick else 10, patience=0,
            delay=point["delays"], **few,
        )  # fmt: skip
        kept = size(trained.trainer.model)
        return {
            "right": trained.right, "n": trained.n, "numbers": kept.weights + kept.delays,
            "mbit": kept.bits / 1e6,
        }  # fmt: skip

    def control(self, point: Point) -> Point | None:
        """Return the same bits with delays; with delays, weights in full precision."""
        if point["delays"] == "none":
            return {**point, "delays": "axonal"}
        return None if point["bits"] == FULL else {**point, "bits": FULL}

    def published(self, point: Point) -> str | None:
        """Return the paper's accuracy on SHD at full precision, of its Supplementary Table 1."""
        known = {"none": "48.60 % (SHD)", "axonal": "90.98 % (SHD)"}
        return known[point["delays"]] if point["bits"] == FULL else None

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw accuracies by bits, without delays and with them."""
        axes, bits = figure.subplots(), _bits(table)
        for delays, colour, line in (("none", DARK, "o--"), ("axonal", BLUE, "o-")):
            rows = table.where(delays=delays)
            at = [bits.index(row["bits"]) + (0.05 if delays == "axonal" else -0.05) for row in rows]
            label = f"{delays.replace('none', 'no')} delays"
            draw_intervals(axes, at, rows, color=colour, fmt=line, label=label)
        axes.set_xticks(range(len(bits)), [f"{b:g}" for b in bits])
        axes.set_xlabel("bits of a weight")
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)

    def verdict(self, table: Table) -> list[str]:
        """Compare what more bits bring with what delays do, seed by seed."""
        few, full = _of(table, "none", _ENOUGH), _of(table, "none", FULL)
        lines, beats = [], []
        for bits in _bits(table):
            own, late = _of(table, "none", bits), _of(table, "axonal", bits)
            worth, beyond = difference(late, own), difference(late, full)
            line = f"{bits:g} bits: delays bring {in_points(worth)} points, {comparison(worth)}"
            if bits != FULL:
                beats.append(comparison(beyond))
                line += (
                    f"; beside {FULL} bits without {in_points(beyond)}, {beats[-1]}; {FULL} bits "
                    f"without delays bring {in_points(difference(full, own))}"
                )
            lines.append(line)
        late = [a - b for a, b in zip(_of(table, "axonal", _ENOUGH), few, strict=True)]
        more = difference(late, [a - b for a, b in zip(full, few, strict=True)])
        lines.append(
            f"delays bring {in_points(more)} points more to weights of {_ENOUGH} bits than {FULL} "
            f"bits do, {comparison(more)}"
        )
        if table.rows[0]["seeds"] == 1:
            return [*lines, "differs: because one seed has no interval"]
        told = f"with delays {beats.count('better')} of {len(beats)} kinds of few bits beat {FULL}"
        if beats.count("better") == len(beats):
            return [*lines, f"as published: bits do not make up for delays; {told} without"]
        return [*lines, f"differs: because only {told} without"]


def _bits(table: Table) -> list[float]:
    return [row["bits"] for row in table.where(delays="none")]


def _of(table: Table, delays: str, bits: float) -> list[float]:
    values: list[float] = table.row(bits=bits, delays=delays)["accuracy_of_seeds"]
    return values


STUDY = WeightBits()
