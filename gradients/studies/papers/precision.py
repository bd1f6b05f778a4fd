"""Whether delays lower the cost of ternary weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evsim.plots.style import CYCLE, DARK

from ...lowbit import size
from ..drawing import draw_intervals
from ..interface import Measured, Point, Study, Work
from ..statistics import difference, in_points, spread
from ..tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DELAYS = ("none", "axonal", "synaptic")
_FIXED: dict[str, Any] = {"weight_bits": 1.58, "levels": "fixed"}
_LEARNT: dict[str, Any] = {"weight_bits": 1.58, "levels": "learnt"}
WEIGHTS: dict[str, dict[str, Any]] = {
    "full": {},
    "full, one scale": {"fit": "layer"},  # of first weights, a layer, as levels have
    "ternary": _FIXED,
    "learnt levels": _LEARNT,
    # As the published program: the weights of the output layer stay in full precision.
    "ternary, full readout": {**_FIXED, "full_readout": True},
    "learnt levels, full readout": {**_LEARNT, "full_readout": True},
}
# Paper A, Supplementary Tables 1 and 2, SHD: without delays, with axonal ones [%].
_PUBLISHED = {"full": (48.60, 90.98), "ternary": (36.44, 87.89), "learnt levels": (44.41, 90.89)}


class Precision(Study):
    """Delays x precision of weights."""

    name = "precision"
    paper = "A: Suppl Tables 1, 2"
    title = "whether delays lower the cost of ternary weights"
    minutes = 30

    def points(self, quick: bool) -> list[Point]:
        """Return delays x weights."""
        delays = DELAYS[:2] if quick else DELAYS
        return [{"delays": d, "weights": w} for d in delays for w in WEIGHTS]

    def compute(self, point: Point, work: Work) -> Measured:
        """Train a network of one hidden layer, all epochs."""
        trained = work.train(
            hidden=32 if work.quick else 64, epochs=4 if work.quick else 20, patience=0,
            delay=point["delays"], **WEIGHTS[point["weights"]],
        )  # fmt: skip
        kept, model = size(trained.trainer.model), trained.trainer.model
        labels = work.parts().test.labels
        zeros = [float((layer.weight == 0).double().mean()) for layer in model]
        return {
            "right": trained.right, "n": trained.n, "numbers": kept.weights + kept.delays,
            "mbit": kept.bits / 1e6, "zeros": sum(zeros) / len(zeros),
            "train_accuracy": trained.trainer.history[-1]["train_accuracy"],
            "chance": float(np.bincount(labels).max() / len(labels)),
        }  # fmt: skip

    def control(self, point: Point) -> Point | None:
        """Return the same delays with full weights."""
        return None if point["weights"] == "full" else {**point, "weights": "full"}

    def published(self, point: Point) -> str | None:
        """Return the paper's accuracy on SHD; it has no synaptic delays."""
        if point["delays"] == "synaptic":
            return None
        weights = point["weights"].removesuffix(", full readout")
        if weights not in _PUBLISHED or weights == point["weights"] != "full":
            return None  # the paper's output layer is not ternary
        return f"{_PUBLISHED[weights][point['delays'] != 'none']} % (SHD)"

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw accuracies by delays, weights side by side."""
        axes = figure.subplots()
        for k, weights in enumerate(WEIGHTS):
            rows = table.where(weights=weights)
            at = [i + 0.12 * (k - 2.5) for i in range(len(rows))]
            draw_intervals(axes, at, rows, color=(DARK, *CYCLE)[k], label=weights)
        names = [row["delays"].replace("none", "no") for row in table.where(weights="full")]
        axes.set_xticks(range(len(names)), [f"{name} delays" for name in names])
        axes.legend(loc="lower right")

    def verdict(self, table: Table) -> list[str]:
        """Compare the costs of few bits with delays and without, seed by seed."""
        lines = [f"chance: {table.rows[0]['chance']:.1%}"]
        lower = []
        for weights in (name for name in WEIGHTS if not name.startswith("full")):
            without = _cost(table, "none", weights)
            lines.append(f"{weights}, no delays: costs {_mean(without)} points")
            for delays in dict.fromkeys(row["delays"] for row in table.rows):
                if delays != "none":
                    own = _cost(table, delays, weights)
                    lower.append(difference(without, own))
                    lines.append(
                        f"{weights}, {delays} delays: costs {_mean(own)} points, "
                        f"{in_points(lower[-1])} less than without delays"
                    )
        n = sum(less.low > 0 for less in lower)
        told = f"{n} of {len(lower)} differences of costs have an interval above 0"
        if n == len(lower):
            return [*lines, f"as published: delays lower the cost of few bits; {told}"]
        return [*lines, f"differs: because {told}"]


def _cost(table: Table, delays: str, weights: str) -> list[float]:
    """Return what ternary weights cost beside full ones, of each seed."""
    pair = (table.row(delays=delays, weights=w)["accuracy_of_seeds"] for w in ("full", weights))
    return [full - few for full, few in zip(*pair, strict=True)]


def _mean(costs: list[float]) -> str:
    return in_points(spread(costs))


STUDY = Precision()
