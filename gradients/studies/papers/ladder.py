"""All that makes a network small, one after the other, and each left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evsim import Network
from evsim.bits import TERNARY, network_bits
from evsim.plots.style import BLUE, GREY

from ..axonal_networks import (
    LAYERS,
    LEARNT,
    RANDOM,
    asked,
    draw_delays,
    penalised,
)
from ..exported import agreement, delays_by_layer, delays_of, network_of, refuse_moved
from ..interface import Measured, Point, Study, Work
from ..statistics import beside
from ..tables import Row, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = ("ternary", "delays", "delay steps", "penalty", "longer time constants")
FIRST, ALL, DRAWN = "weights only", f"+ {STEPS[-1]}", "all, random delays"
RUNGS = (FIRST, *(f"+ {step}" for step in STEPS))
_ON_DELAYS = ("delay steps", "penalty")  # without delays there are none
_DELAY_BITS = 4  # the paper: steps of 5, delays up to 60
_STRENGTH = 0.1  # [1/s^2]: takes a fifth to a third of the mean delays of digits
_TAU = 2
_LESS = 15.0  # times smaller; the paper: 20


class Ladder(Study):
    """From full weights without delays to few bits, short delays and long time constants."""

    name = "ladder"
    paper = "A: Fig 4"
    title = "how small a network gets, one thing after the other"
    minutes = 8
    measured = False

    def points(self, quick: bool) -> list[Point]:
        """Return the rungs, the last one with random delays, and with each rung left out."""
        left_out = [f"all but {step}" for step in STEPS[:-1]]  # but the last: the rung before
        return [{"network": name} for name in (*RUNGS, DRAWN, *left_out)]

    def compute(self, point: Point, work: Work) -> Measured:
        """Train a network with all that belongs to it."""
        parts = parts_of(point["network"])
        delays = "none" if "delays" not in parts else LEARNT
        if point["network"] == DRAWN:
            delays = RANDOM
        options = asked(work.quick, delays, _TAU if STEPS[-1] in parts else 1)
        if "ternary" in parts:
            options["weight_bits"] = TERNARY
        if "delay steps" in parts:
            options["delay_bits"] = _DELAY_BITS
        strength = _STRENGTH if "penalty" in parts and delays == LEARNT else 0.0
        trained = work.train(penalised(strength), **options)
        if delays == RANDOM:
            refuse_moved(trained.folder)
        net, longest = network_of(trained.folder), work.longest_delay()
        return {
            "right": trained.right, "n": trained.n, "longest_delay": longest,
            **size(net), **delays_by_layer(net, longest),
            **agreement(net, trained.trainer.model, work.parts().test),
        }  # fmt: skip

    def control(self, point: Point) -> Point | None:
        """Return the rung before; of the others the last rung."""
        name = point["network"]
        if name == FIRST:
            return None
        return {"network": RUNGS[RUNGS.index(name) - 1] if name in RUNGS else ALL}

    def published(self, point: Point) -> str | None:
        """Return what the paper tells of SHD: its text, and Suppl Tables 1 and 2."""
        return {
            FIRST: "48.60 %", "+ ternary": "44.41 %", "+ delays": "90.89 %",
            ALL: "90 %, 0.174 Mbit, half of the weights 0",
        }.get(point["network"])  # fmt: skip

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw accuracies with 3 sigma, Mbit, and the delays of the rungs."""
        halves: Any = figure.subfigures(1, 2, width_ratios=(1.2, 1))
        left, right = halves
        above, below = left.subplots(2, 1, sharex=True, height_ratios=(1.6, 1))
        names = [row["network"] for row in table.rows]
        colours = [BLUE if name in RUNGS else GREY for name in names]
        for k, (row, colour) in enumerate(zip(table.rows, colours, strict=True)):
            above.errorbar(k, row["accuracy"], 3 * sigma(row), fmt="o", color=colour, capsize=3)
        above.set_ylabel("accuracy, ± 3 sigma")
        below.bar(range(len(names)), [row["mbit"] for row in table.rows], color=colours)
        below.set_ylabel("Mbit")
        below.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize="small")
        late = [row for row in table.rows if row["network"] in RUNGS[2:]]
        for layer, axes in zip(LAYERS, right.subplots(len(LAYERS), 1), strict=True):
            draw_delays(axes, layer, late, [row["network"] for row in late])
            if layer == 1:
                axes.legend(fontsize="small")

    def verdict(self, table: Table) -> list[str]:
        """Tell each network, what each rung is worth, and whether the last one is good."""
        lines = [_told(row) for row in table.rows]
        lines += [line for row in table.rows if (line := _worth(row, table))]
        first, last = table.row(network=FIRST), table.row(network=ALL)
        if last["seeds"] == 1:
            return [*lines, "differs: because one seed has no interval"]
        less, kept = first["mbit"] / last["mbit"], beside(last, first)[1]
        ternary = beside(last, table.row(network="+ ternary"))[1]
        drawn = beside(last, table.row(network=DRAWN))[1]
        told = (
            f"the last rung is {less:.1f} times smaller than weights only, and beside them "
            f"{kept}; beside ternary weights without delays {ternary}; beside random delays "
            f"{drawn}"
        )
        good = less > _LESS and kept != "worse" and "better" == ternary == drawn
        return [*lines, f"as published: {told}" if good else f"differs: because {told}"]


def parts_of(network: str) -> tuple[str, ...]:
    """Return which of `STEPS` belong to a network.

    Examples
    --------
    >>> parts_of("+ delays"), parts_of("all but delays")
    (('ternary', 'delays'), ('ternary', 'longer time constants'))
    """
    if network in RUNGS:
        return STEPS[: RUNGS.index(network)]
    missing = network.removeprefix("all but ")
    out = (missing, *_ON_DELAYS) if missing == "delays" else (missing,)
    return tuple(step for step in STEPS if step not in out)


def size(net: Network) -> Measured:
    """Return numbers and Mbit of a network, and the share of its weights that are 0."""
    weights = np.concatenate([p.weights.ravel() for p in net.projections.values()])
    counted = network_bits(net)
    late = sum(delay.size for delay in delays_of(net).values())
    return {
        "numbers": counted.weights + late, "mbit": counted.bits / 1e6,
        "zeros": float((weights == 0).mean()),
    }  # fmt: skip


def sigma(row: Row) -> float:
    """Return the deviation over seeds; with one seed that of the recordings tested."""
    p = row["accuracy"]
    over_seeds = row["accuracy_deviation"]
    return float(np.sqrt(p * (1 - p) / row["n"]) if over_seeds is None else over_seeds)


def _told(row: Row) -> str:
    whose = "recordings" if row["accuracy_deviation"] is None else "seeds"
    late = [
        f"delays of layer {k} {1e3 * row[f'mean_delay_{k}']:.0f} ms, 95th percentile "
        f"{1e3 * row[f'late_delay_{k}']:.0f} ms"
        for k in LAYERS
        if row.get(f"mean_delay_{k}") is not None
    ]
    parts = [
        f"{row['accuracy']:.1%} -+ {300 * sigma(row):.1f} points (3 sigma of {whose})",
        f"{row['mbit']:.3g} Mbit", f"{row['zeros']:.0%} of the weights are 0", *late,
        f"events and layers decide alike in {row['decisions_that_agree']:g} of {row['n']}",
    ]  # fmt: skip
    return f"{row['network']}: {'; '.join(parts)}"


def _worth(row: Row, table: Table) -> str:
    """Tell what a rung adds to the one before, or what the last one loses without a part."""
    name = row["network"]
    if name == FIRST:
        return ""
    if name in RUNGS:
        before: Any = RUNGS[RUNGS.index(name) - 1]
        return f"{name}: {beside(row, table.row(network=before))[0]} beside the rung before"
    return f"{name}: {beside(row, table.row(network=ALL))[0]} beside all"


STUDY = Ladder()
