"""Delays of loops learnt, drawn and kept, or all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from evsim import Network
from evsim.plots.style import BLUE

from ..drawing import draw_intervals
from ..interface import Measured, Point, Study, Work
from ..statistics import beside, deviation_interval
from ..tables import Row, Table
from ..trained_networks import common

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEARNT = "learnt"
DELAYS = ("one step", "all at the mean", "all at the median", "random", LEARNT)
# Paper D, Table V, whose numbers are lost but for this.
_PUBLISHED = {LEARNT: "more than 2 points above fixed ones (SHD)"}
_STATISTICS: dict[str, Callable[..., Any]] = {
    "all at the mean": np.mean, "all at the median": np.median
}  # fmt: skip


class Ablation(Study):
    """A kernel's loop, its delays as they come about."""

    name = "ablation"
    paper = "D: Table V"
    title = "whether delays of loops must be learnt, differ, or be there at all"
    minutes = 13

    def points(self, quick: bool) -> list[Point]:
        """Return kinds of delays, those that others are made of first."""
        return [{"delays": delays} for delays in DELAYS[::-1]]

    def compute(self, point: Point, work: Work) -> Measured:
        """Train a network; delays that are all the same take those of the learnt one."""
        asked: dict[str, Any] = {}
        if point["delays"] == "one step":
            asked = {"delay": "none"}
        elif point["delays"] != LEARNT:
            asked = {"learn_delays": False}
        if work.needed is not None:
            asked["first_delay"] = float(_STATISTICS[point["delays"]](_delays(work.needed.folder)))
        trained = work.train(**{**common("conv-delrec", work.quick), **asked})
        found, losses = _delays(trained.folder), _losses(trained)
        if point["delays"] != LEARNT and (found != _delays(trained.folder, "initial.h5")).any():
            raise ValueError("delays that were to stay as they are have changed")
        return {
            "right": trained.right, "n": trained.n, "unevenness": _unevenness(losses),
            "losses": losses, "mean_delay": float(found.mean()),
            "deviation_of_delays": float(found.std()), "longest_delay": float(found.max()),
        }  # fmt: skip

    def control(self, point: Point) -> Point | None:
        """Return the same loop with random delays that are kept, of these with one step."""
        if point["delays"] == "one step":
            return None
        return {"delays": "one step" if point["delays"] == "random" else "random"}

    def needs(self, point: Point) -> Point | None:
        """Return the network with learnt delays, of which means and medians are."""
        return {"delays": LEARNT} if point["delays"] in _STATISTICS else None

    def published(self, point: Point) -> str | None:
        """Return what the paper's text still tells."""
        return _PUBLISHED.get(point["delays"])

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw accuracies and the losses of the epochs."""
        left, right = figure.subplots(1, 2)
        at = [DELAYS.index(row["delays"]) for row in table.rows]
        draw_intervals(left, at, table.rows, color=BLUE)
        for row in table.rows:
            right.plot(range(1, len(row["losses"]) + 1), row["losses"], label=row["delays"])
        left.set_xticks(range(len(DELAYS)), DELAYS, rotation=20, ha="right")
        right.legend()
        right.set_xlabel("epoch")
        right.set_ylabel("training loss")

    def verdict(self, table: Table) -> list[str]:
        """Compare learnt delays with each other kind, and how they spread over seeds."""
        lines, beats = [_steadiness(row) for row in table.rows], []
        learnt = table.row(delays=LEARNT)
        for row in table.rows:
            if row["delays"] != LEARNT:
                found, compared = beside(learnt, row)
                beats.append(compared == "better")
                lines.append(f"learnt beside {row['delays']}: {found}")
        told = f"{sum(beats)} of {len(beats)} kinds of fixed delays are seen to be worse"
        if all(beats):
            return [*lines, f"as published: learning delays beats fixed ones; {told}"]
        return [*lines, f"differs: because {told}"]


def _steadiness(row: Row) -> str:
    """Tell how much accuracies differ over seeds, and how evenly the loss falls."""
    low, high = deviation_interval(row["accuracy_of_seeds"])
    told = (
        ""
        if np.isnan(low)
        else f" (deviation {100 * row['accuracy_deviation']:.1f}, "
        f"{100 * low:.1f} to {100 * high:.1f})"
    )
    return (
        f"{row['delays']}: {row['accuracy']:.1%}{told}, unevenness of the loss "
        f"{row['unevenness']:.3f}, delays {1e3 * row['mean_delay']:.0f} ms, deviation "
        f"{1e3 * row['deviation_of_delays']:.0f} ms"
    )


def _losses(trained: Any) -> list[float]:
    return [float(record["train_loss"]) for record in trained.trainer.history]


def _unevenness(losses: list[float]) -> float:
    """Return the root mean square of second differences of the later half, beside its mean."""
    late = np.array(losses[len(losses) // 2 :])
    bends = np.diff(late, 2)
    return float(np.sqrt(np.mean(bends**2)) / late.mean()) if len(bends) else 0.0


def _delays(folder: Any, name: str = "network.h5") -> Any:
    """Return the delays of the loops of a network of a run [s]."""
    net = Network.load(folder / name)
    loops = [p for p in net.projections.values() if p.pre == p.post]
    return np.concatenate([p.axonal(net.populations[p.pre].size) for p in loops])


STUDY = Ablation()
