"""Why ternary weights cost accuracy, with delays and without: one thing changed at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import register_parametrization

from evsim.plots.style import BLUE, ORANGE
from evsim.train_options import TrainOptions, TrainSettings

from ...layers import CubaLI
from ...lowbit import Ternary, size
from ...training.start import delay_model, fit_weights
from ...training.trainer import Trainer
from ..drawing import draw_intervals
from ..interface import Measured, Point, Study, Work
from ..statistics import comparison, difference, in_points
from ..tables import Row, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BASE = "as in precision"
_SHORT, _PILOT = "6 epochs", "6 epochs, fixed levels, a threshold a layer"
# What is changed, and whether full weights are trained anew for it: without and with delays.
CHANGES = {
    _BASE: (True, True),
    _SHORT: (True, True),
    _PILOT: (False, False),
    "fixed levels": (False, False),
    "a threshold a layer": (False, False),
    "levels of each unit": (False, False),
    "weight normalisation": (False, False),
    "two hidden layers": (True, True),
    "delays behind hidden units": (False, True),
}
_LIKE = {_PILOT: _SHORT}  # whose full weights are the control; else `_BASE`
_N_HIDDEN, _EPOCHS, _FIT = 64, 20, 256


class PrecisionWhy(Study):
    """What is changed x delays x full and ternary weights."""

    name = "precision-why"
    paper = "A: Suppl Tables 1, 2, and its program"
    title = "what makes ternary weights cost accuracy"
    minutes = 15

    def points(self, quick: bool) -> list[Point]:
        """Return one thing changed at a time, full weights only where they differ."""
        found = []
        for change in list(CHANGES)[: 3 if quick else None]:
            for delays, anew in zip(("none", "axonal"), CHANGES[change], strict=True):
                if change == "delays behind hidden units" and delays == "none":
                    continue
                found += [_point(change, delays, "full")] if anew else []
                found.append(_point(change, delays, "ternary"))
        return found

    def compute(self, point: Point, work: Work) -> Measured:
        """Train a network, all epochs."""
        parts, seed = work.parts(), work.seed
        short = point["change"] in (_SHORT, _PILOT)
        epochs = 3 if work.quick else 6 if short else _EPOCHS
        torch.manual_seed(seed)
        model = _model(point, parts, 32 if work.quick else _N_HIDDEN, work.data)
        fit_weights(model, next(parts.train.batches(_FIT, shuffle=True, seed=seed)))
        if point["weights"] == "ternary":
            for layer in model:
                _make_ternary(layer, point["change"])
        options = TrainOptions(epochs=epochs, seed=seed)
        trainer = Trainer(model, parts.train, parts.validation, options, callbacks=[])
        trainer.run()
        tested, kept = trainer.score(parts.test), size(model)
        return {
            "right": tested.right, "n": tested.n,
            "train_accuracy": trainer.history[-1]["train_accuracy"],
            "numbers": kept.weights + kept.delays, "mbit": kept.bits / 1e6,
        }  # fmt: skip

    def control(self, point: Point) -> Point | None:
        """Return the same network with full weights."""
        if point["weights"] == "full":
            return None
        change = point["change"]
        anew = CHANGES[change][point["delays"] != "none"]
        return _point(change if anew else _LIKE.get(change, _BASE), point["delays"], "full")

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw accuracies of ternary weights, and those of full ones behind."""
        axes = figure.subplots()
        changes = list(dict.fromkeys(row["change"] for row in table.rows))
        for delays, colour in (("none", BLUE), ("axonal", ORANGE)):
            for weights, shape in (("full", "s"), ("ternary", "o")):
                rows = table.where(delays=delays, weights=weights)
                at = [changes.index(r["change"]) + 0.15 * (delays != "none") for r in rows]
                label = f"{weights}, {'axonal delays' if delays != 'none' else 'no delays'}"
                white = {"markerfacecolor": "white"} if weights == "full" else {}
                draw_intervals(axes, at, rows, color=colour, fmt=shape, label=label, **white)
        axes.set_xticks(range(len(changes)), changes, rotation=20, ha="right")
        axes.legend(loc="lower right", fontsize="small")

    def verdict(self, table: Table) -> list[str]:
        """Tell the costs of each change, and whether delays lower them."""
        lines, lowered = [], {}
        for change in dict.fromkeys(row["change"] for row in table.rows):
            costs = {}
            for delays in ("none", "axonal"):
                for row in table.where(change=change, delays=delays, weights="ternary"):
                    costs[delays] = self._costs(table, row)
            told = [f"{d} {100 * sum(c) / len(c):.1f}" for d, c in costs.items()]
            without = costs.get("none") or self._costs(
                table, table.row(change=_BASE, delays="none", weights="ternary")
            )
            less = difference(without, costs["axonal"])
            lowered[change] = comparison(less)
            lines.append(
                f"{change}: costs with delays {' and '.join(told)} points; delays lower them by "
                f"{in_points(less)}: {lowered[change]}"
            )
        n = sum(what == "better" for what in lowered.values())
        told_n = f"{n} of {len(lowered)} changes have an interval of the difference above 0"
        if lowered[_BASE] == "better":
            return [*lines, f"as published: delays lower the cost of few bits; {told_n}"]
        return [*lines, f"differs: because {_BASE} they are not seen to lower it; {told_n}"]

    def _costs(self, table: Table, row: Row) -> list[float]:
        """Return what ternary weights cost in a row, of each seed."""
        control = self.control(_point(row["change"], row["delays"], "ternary"))
        assert control is not None
        pairs = zip(
            table.row(**control)["accuracy_of_seeds"], row["accuracy_of_seeds"], strict=True
        )
        return [full - few for full, few in pairs]


def _point(change: str, delays: str, weights: str) -> Point:
    return {"change": change, "delays": delays, "weights": weights}


def _model(point: Point, parts: Any, n_hidden: int, data: str) -> nn.Sequential:
    """Return a network as ``evsim train`` makes it, but for what is changed."""
    duration, n_classes = parts.train.duration, len(parts.train.class_names)
    longest, behind = TrainSettings(data).longest_delay(duration), "delays behind hidden units"
    sizes = [n_hidden] * (2 if point["change"] == "two hidden layers" else 1)
    delay = "none" if point["change"] == behind else point["delays"]
    tau = min(0.2, duration / 4)
    model = delay_model(
        parts.train.size, sizes, n_classes, delay, max_delay=longest, tau_output=tau
    )
    if point["change"] == behind:
        model[-1] = CubaLI(
            n_hidden, n_classes, 10e-3, 5e-3, output="integral", tau_output=tau, delay="axonal",
            max_delay=longest,
        )  # fmt: skip
    return model


def _make_ternary(layer: nn.Module, change: str) -> None:
    """Put the weights of a layer on three levels."""
    if change == "weight normalisation":  # as the published program: a gain times a direction
        weight_norm(layer, "weight")
    weight: Any = layer.weight
    if change == "levels of each unit":
        levels: nn.Module = _LevelsOfUnits(weight)
    else:
        learn = change not in (_PILOT, "fixed levels")
        by_layer = (_PILOT, "a threshold a layer", "weight normalisation")
        levels = Ternary.fit(weight, learn, per_unit=change not in by_layer)
    register_parametrization(layer, "weight", levels)


class _LevelsOfUnits(nn.ModuleList):
    """A `Ternary` for each row: every receiving unit's own."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__(Ternary.fit(row, learn=True) for row in weight.detach())

    def forward(self, weight: Tensor) -> Tensor:
        return torch.stack([one(row) for one, row in zip(self, weight, strict=True)])

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight


STUDY = PrecisionWhy()
