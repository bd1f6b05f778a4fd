"""How few bits weights and delays need: accuracy over a grid of both, and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evsim import Network
from evsim.bits import FULL, network_bits

from ...lowbit import delay_bit_fraction
from ..bits_drawn import all_of, chosen, draw, full_precision
from ..exported import decided, histogram, network_of, with_delays
from ..interface import Measured, Point, Study, Work
from ..statistics import comparison, difference, in_points
from ..tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WEIGHTS = (1.58, 2, 3, 4, 8, 32)
DELAYS = (0, 1, 2, 3, 4, 5, 6)  # and "full"
# With more bits, delays that are trained on the grid are as good as those that are rounded to it,
# to within a standard error (docs/bits.md): these trainings are left out.
TRAINED = (0, 1, 2)


class Bits(Study):
    """Bits of weights x bits of axonal delays, rounded after training or trained with.

    With 0 bits all delays are at their mean. A network that is trained with one common delay is
    one that is trained without, a little later. Only delays of few bits are trained on the grid,
    where rounding to it loses.
    """

    name = "bits"
    paper = "A: Fig 2a-g, Suppl Fig 5"
    title = "how few bits weights and delays need"
    minutes = 30

    def points(self, quick: bool) -> list[Point]:
        """Return weights x delays x how the delays came to be on their grid."""
        weights = (1.58, 4, 32) if quick else WEIGHTS
        delays = (0, 1, 3) if quick else DELAYS
        found = []
        for w in weights:
            found += [_point(w, "full", "trained"), _point(w, "full", "random")]
            found += [_point(w, d, "rounded") for d in delays]
            found += [_point(w, d, "trained") for d in delays if d in TRAINED]
        return found

    def compute(self, point: Point, work: Work) -> Measured:
        """Train a network of one hidden layer, or round the delays of one."""
        if point["how"] == "rounded":
            assert work.needed is not None
            longest = work.needed.measured["longest_delay"]
            net = rounded(network_of(work.needed.folder), point["delays"], longest)
            return {**decided(net, work.parts().test), **_kept(point, net, longest)}
        trained = work.train(
            hidden=32 if work.quick else 64, epochs=4 if work.quick else 10, patience=0,
            **_settings(point),
        )  # fmt: skip
        longest, net = work.longest_delay(), network_of(trained.folder)
        return {"right": trained.right, "n": trained.n, **_kept(point, net, longest)}

    def needs(self, point: Point) -> Point | None:
        """Return the network whose delays are rounded."""
        return _point(point["weights"], "full", "trained") if point["how"] == "rounded" else None

    def control(self, point: Point) -> Point | None:
        """Return what a point is compared with.

        Delays that were trained on the grid with those rounded to it; rounded ones with those of
        all digits; these with random ones that stay as they are.
        """
        weights, delays, how = point["weights"], point["delays"], point["how"]
        if how == "random":
            return None
        if delays == "full":
            return _point(weights, "full", "random")
        if how == "rounded":
            return _point(weights, "full", "trained")
        return _point(weights, delays, "rounded")

    def published(self, point: Point) -> str | None:
        """Return what the text of the paper tells of SHD."""
        if point["how"] != ("trained" if point["delays"] in TRAINED else "rounded"):
            return None
        known = {(4, 5): "94.04 % (SHD, the peak)", (1.58, 3): "about 90 % (SHD, 0.174 Mbit)"}
        return known.get((point["weights"], point["delays"]))

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw landscape, memory, accuracy by bits of delays, the front, and distributions."""
        draw(figure, table)

    def verdict(self, table: Table) -> list[str]:
        """Tell from how many bits on nothing is seen to be lost, and the cheapest good point."""
        lines = [
            "in brackets the points that are lost",
            *(_lost(table, weights) for weights in all_of(table, "weights")),
        ]
        full, (cheap, best) = full_precision(table), chosen(table)
        beside = [
            difference(row["accuracy_of_seeds"], full["accuracy_of_seeds"]) for row in (cheap, best)
        ]
        for what, row, found in (
            ("I, cheapest within a standard error of full", cheap, beside[0]),
            ("II, best", best, beside[1]),
        ):
            lines.append(
                f"{what}: weights of {row['weights']} bits, delays of {row['delays']} "
                f"({row['how']}): {row['accuracy']:.1%}, {row['mbit']:.3g} Mbit, "
                f"{full['mbit'] / row['mbit']:.1f} times smaller than at 32 bits "
                f"({full['accuracy']:.1%}), beside which {in_points(found)} points, "
                f"{comparison(found)}; share of delays in the bits of a parameter "
                f"{row['delay_fraction']:.0%}"
            )
        lines.append(_trainings(table))
        less = full["mbit"] / cheap["mbit"]
        if full["seeds"] == 1:
            lines.append("differs: because one seed has no interval")
        elif cheap["weights"] == 1.58 and less > 15 and comparison(beside[0]) == "worse":
            lines.append(
                f"differs: because {less:.1f} times fewer bits are within a standard error of full "
                "precision, but seen to be worse seed by seed"
            )
        elif cheap["weights"] == 1.58 and less > 15:
            lines.append("as published: some 20 times fewer bits cost no accuracy that is seen")
        else:
            lines.append(
                f"differs: because within a standard error of full precision it is {less:.1f} "
                "times fewer bits, where the paper has about 20"
            )
        return lines


def rounded(net: Network, bits: int, longest: float) -> Network:
    """Return a network whose axonal delays are rounded to 2^bits values from 0 to the longest.

    With 0 bits all are at their mean.
    """

    def on_grid(delay: Any) -> Any:
        if bits == 0:
            return np.full_like(delay, delay.mean())
        step = longest / (2**bits - 1)
        return np.clip(np.round(delay / step), 0, 2**bits - 1) * step

    return with_delays(net, on_grid)


def _point(weights: float, delays: int | str, how: str) -> Point:
    return {"weights": weights, "delays": delays, "how": how}


def _settings(point: Point) -> dict[str, Any]:
    """Return the options of ``evsim train`` for a point."""
    found: dict[str, Any] = {"delay": "none" if point["delays"] == 0 else "axonal"}
    if point["weights"] < FULL:
        found["weight_bits"] = point["weights"]
    if point["delays"] not in ("full", 0):
        found["delay_bits"] = point["delays"]
    if point["how"] == "random":
        found["delay_lr"] = 0.0
    return found


def _kept(point: Point, net: Network, longest: float) -> Measured:
    """Return numbers, bits, and histograms of weights and delays."""
    counted = network_bits(net)
    own = counted.weight_bits / counted.weights
    late = float(FULL if point["delays"] == "full" else point["delays"])
    weights = [p.weights.ravel() for p in net.projections.values()]
    delays = next(iter(net.projections.values())).axonal_delay
    n_delays = 0 if delays is None or not late else delays.size
    found: Measured = {
        "numbers": counted.weights + n_delays,
        "mbit": (counted.weight_bits + late * n_delays) / 1e6,
        "delay_fraction": delay_bit_fraction(own, late),
        "longest_delay": longest,
    }
    for i, w in enumerate(weights):
        most = np.abs(w).max()
        found[f"weights_{i + 1}"] = histogram(w, -most, most)
    if delays is not None:
        found["delays_histogram"] = histogram(delays, 0.0, longest)
    return found


def _trainings(table: Table) -> str:
    """Say how many trainings it took, and how many one for each point would have been."""
    made = [row for row in table.rows if row["how"] != "rounded"]
    known = {(row["weights"], row["delays"], row["how"] == "random") for row in table.rows}
    took, whole = (sum(row["seeds"] for row in made), len(known) * table.rows[0]["seeds"])
    return (
        f"{took} trainings; {whole} if each number of bits had one of its own: with more than "
        f"{max(TRAINED)} bits of delays rounding is within a standard error of training "
        "(of digits: docs/bits.md)"
    )


def _lost(table: Table, weights: float) -> str:
    """Say with how many bits of delays something is seen to be lost without training."""
    rows = table.where(weights=weights, how="rounded")
    if any(row["compared"] == "one seed" for row in rows):
        return f"weights of {weights} bits: one seed tells nothing of what rounding costs"
    told = []
    for what in ("worse", "no difference seen", "better"):
        found = [
            f"{r['delays']} ({0.0 - 100 * r['difference']:.1f})"
            for r in rows
            if r["compared"] == what
        ]
        told += [f"{what} with {', '.join(found)}"] if found else []
    return f"weights of {weights} bits, delays rounded without retraining: {'; '.join(told)} bits"


STUDY = Bits()
