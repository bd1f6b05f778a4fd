"""Delays that are penalised in training: which ones remain, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log2
from typing import TYPE_CHECKING, Any

import numpy as np

from evsim import Network
from evsim.plots.style import BLUE, GREY

from ..axonal_networks import (
    LAYERS,
    asked,
    draw_layers,
    in_ms,
    penalised,
)
from ..drawing import draw_intervals
from ..exported import decided, delays_by_layer, delays_of, network_of, with_delays
from ..interface import Measured, Point, Study, Work
from ..statistics import beside, over_seeds
from ..tables import Row, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STRENGTHS = (0, 0.03, 0.1, 0.3, 1, 10)  # [1/s^2]
TRAINED, SCALED = "trained", "scaled"
STEPS = 63  # of a grid up to the longest delay: delays of 6 bits
_NETWORK = "scaled.h5"
_DRAWN = {
    "mean_delay": "mean delay [ms]", "long_share": "share of long delays",
    "delay_bits": "bits of delays in use",
}  # fmt: skip


class Penalty(Study):
    """Strengths of `delay_penalty`, beside delays that are scaled down without training."""

    name = "penalty"
    paper = "A: Fig 3c"
    title = "whether a penalty makes delays short that are not needed"
    minutes = 5
    measured = False

    def points(self, quick: bool) -> list[Point]:
        """Return strengths x how the delays became short."""
        strengths = (0, 0.1, 1) if quick else STRENGTHS
        trained = [_point(strength, TRAINED) for strength in strengths]
        return trained + [_point(strength, SCALED) for strength in strengths if strength]

    def compute(self, point: Point, work: Work) -> Measured:
        """Train with a penalty; keep what was trained without, scaled to the same means."""
        longest = work.longest_delay()
        if point["delays"] == SCALED:
            assert work.needed is not None
            net = Network.load(work.needed.folder / _NETWORK)
            return {**decided(net, work.parts().test), **_kept(net, longest)}
        trained = work.train(penalised(point["strength"]), **asked(work.quick))
        net = network_of(trained.folder)
        found: Measured = {"right": trained.right, "n": trained.n, **_kept(net, longest)}
        if work.needed is not None:
            free = network_of(work.needed.folder)
            scaled_as(free, net).save(trained.folder / _NETWORK)
            found |= _remaining(found, work.needed.measured)
        return found

    def needs(self, point: Point) -> Point | None:
        """Return the network without a penalty; of scaled delays that with their means."""
        if point["delays"] == SCALED:
            return _point(point["strength"], TRAINED)
        return _point(0, TRAINED) if point["strength"] else None

    def control(self, point: Point) -> Point | None:
        """Return no penalty; of scaled delays those that were trained to be as short."""
        if point["delays"] == SCALED:
            return _point(point["strength"], TRAINED)
        return _point(0, TRAINED) if point["strength"] else None

    def published(self, point: Point) -> str | None:
        """Return what the text of the paper tells of SHD."""
        if point["delays"] == SCALED:
            return None
        return "above 89 % (SHD)" if point["strength"] else "90.98 % (SHD, full precision)"

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw accuracy, and of each layer mean, share of long delays and bits in use."""
        panels = figure.subplots(2, 2).ravel()
        trained = table.where(delays=TRAINED)
        strengths = [row["strength"] for row in trained]
        for delays, colour, aside in ((TRAINED, BLUE, -0.06), (SCALED, GREY, 0.06)):
            rows = table.where(delays=delays)
            at = [strengths.index(row["strength"]) + aside for row in rows]
            label = "trained with it" if delays == TRAINED else "scaled to the same means"
            draw_intervals(panels[0], at, rows, color=colour, label=label)
        panels[0].margins(y=0.25)  # room for the legend
        places = range(len(strengths))
        for axes, name, label in zip(panels[1:], _DRAWN, _DRAWN.values(), strict=True):
            draw_layers(axes, places, trained, name, label)
        for axes in panels:
            axes.set_xticks(places, [f"{strength:g}" for strength in strengths])
            axes.set_xlabel("strength of the penalty [1/s²]")
            axes.legend(fontsize="small")

    def verdict(self, table: Table) -> list[str]:
        """Tell what remains of delays, and whether training them to be short beats scaling."""
        free, *rows = table.where(delays=TRAINED)
        lines = [line for row in rows for line in _told(row, free, table)]
        if free["seeds"] == 1:
            return [*lines, "differs: because one seed has no interval"]
        compared = [beside(row, free)[1] for row in rows]
        shorter = [row for row in rows if over_seeds(row, "first_is_less").low > 0]
        claims = {
            "mean delays of both layers fall": all(
                over_seeds(rows[-1], f"mean_delay_{k}_shift").high < 0 for k in LAYERS
            ),
            "those of layer 1 fall first": bool(shorter)
            and not any(over_seeds(row, "first_is_less").high < 0 for row in rows),
            "some strength is seen to raise accuracy": "better" in compared,
            "no strength is seen to lower it": "worse" not in compared,
        }
        held = [claim for claim, holds in claims.items() if holds]
        missed = [claim for claim, holds in claims.items() if not holds]
        if not missed:
            return [*lines, f"as published: {', '.join(held)}"]
        told = f"; as published: {', '.join(held)}" if held else ""
        return [*lines, f"differs: because it does not hold that {', '.join(missed)}{told}"]


def scaled_as(net: Network, other: Network) -> Network:
    """Return a network whose delays are scaled, layer by layer, to the means of another's.

    A layer without any delay stays as it is.
    """
    pairs = zip(delays_of(net).values(), delays_of(other).values(), strict=True)
    factors = iter([b.mean() / a.mean() if a.any() else 1.0 for a, b in pairs])
    return with_delays(net, lambda delay: delay * next(factors))


def in_use(delay: Any, longest: float) -> int:
    """Return how many values delays have, rounded to a grid of 6 bits up to the longest."""
    return len(np.unique(np.round(delay / longest * STEPS)))


def _point(strength: float, delays: str) -> Point:
    return {"strength": strength, "delays": delays}


def _kept(net: Network, longest: float) -> Measured:
    found = delays_by_layer(net, longest)
    for k, delay in enumerate(delays_of(net).values(), 1):
        values = in_use(delay, longest)
        found |= {f"values_{k}": values, f"delay_bits_{k}": ceil(log2(values))}
    return {"longest_delay": longest, **found}


def _remaining(found: Measured, free: Measured) -> Measured:
    """Return by how much means have moved, and how much more is left of layer 2 than of 1."""
    means = [(found[f"mean_delay_{k}"], free[f"mean_delay_{k}"]) for k in LAYERS]
    first, second = (own / before if before else 1.0 for own, before in means)
    shifts = {f"mean_delay_{k}_shift": a - b for k, (a, b) in zip(LAYERS, means, strict=True)}
    return {**shifts, "first_is_less": second - first}


def _told(row: Row, free: Row, table: Table) -> list[str]:
    """Tell of a strength: accuracy beside none and beside scaled delays, and what remains."""
    others: Sequence[tuple[str, Row]] = (
        ("none", free), ("scaled delays", table.row(strength=row["strength"], delays=SCALED)),
    )  # fmt: skip
    accuracies = [f"beside {name} {beside(row, other)[0]}" for name, other in others]
    lines = [f"strength {row['strength']:g}: {'; '.join(accuracies)}"]
    lines += [
        f"  layer {k}: mean delay {1e3 * row[f'mean_delay_{k}']:.1f} ms "
        f"({in_ms(over_seeds(row, f'mean_delay_{k}_shift'))} from none), longer than a third of "
        f"the longest {row[f'long_share_{k}']:.1%}, {row[f'values_{k}']:.1f} values in use, "
        f"{row[f'delay_bits_{k}']:.1f} bits (none: {free[f'delay_bits_{k}']:.1f})"
        for k in LAYERS
    ]
    return lines


STUDY = Penalty()
