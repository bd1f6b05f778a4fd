"""Delays learnt online, by the published rule and by the exact local one, beside their rivals."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from evsim.plots.style import CYCLE

from ...lowbit import size
from ...methods.three_factor import online
from ...training.start import spiking_layers
from ..drawing import draw_intervals
from ..interface import Measured, Point, Study, Trained, Work
from ..statistics import comparison, difference, in_points
from ..tables import Row, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ONLY, WIDER, DRAWN = "weights only", "weights only, as many numbers", "random delays"
RULE, LOCAL, EXACT = "rule", "exact local rule", "exact gradient"
KINDS = ("axonal", "synaptic")
# By the rule on the grid; then the two that learn exact delays.
LEARNING = [(ONLY, "none"), (WIDER, "none")] + [
    (name, kind) for name in (DRAWN, RULE, LOCAL, EXACT) for kind in KINDS
]
_SETTINGS: dict[str, dict[str, Any]] = {
    ONLY: {"method": "three-factor"},
    WIDER: {"method": "three-factor"},
    DRAWN: {"method": "three-factor", "learn_delays": False},
    RULE: {"method": "three-factor"},
    LOCAL: {"method": "three-factor", "exact": True},
    EXACT: {"method": "exact"},
}
# What lacks one thing. With delays of synapses there are twice as many numbers.
_BESIDE = {DRAWN: ONLY, RULE: DRAWN, LOCAL: RULE, EXACT: LOCAL}
SPARSE = 0.8  # of the synapses left out
_UNITS, _EPOCHS, _LONGEST = 64, 8, 0.125  # delays of up to 25 steps of 5 ms
_QUICK_UNITS, _QUICK_EPOCHS = 32, 3
_EVERY = 25e-3  # when decisions are looked at [s]
_BATCH = 50
# Paper B's abstract and summary, on SHD.
_PUBLISHED = {ONLY: "79 %", DRAWN: "92 %"}


class ThreeFactor(Study):
    """Ways to learn, of dense and sparse networks with and without a loop."""

    name = "three-factor"
    paper = "B: baselines, online against offline, small and sparse nets"
    title = "what delays learnt online are worth"

    def points(self, quick: bool) -> list[Point]:
        """Return ways to learn, network by network."""
        networks = [(0.0, "none")] if quick else [(s, r) for s in (0.0, SPARSE) for r in LOOPS]
        learning = [(name, kind) for name, kind in LEARNING if not quick or kind != "synaptic"]
        return [
            {"learning": name, "delays": kind, "sparse": share, "recurrent": loop}
            for share, loop in networks
            for name, kind in learning
        ]

    def compute(self, point: Point, work: Work) -> Measured:
        """Train a network; count its numbers and spikes, and see when it decides."""
        units, epochs = (_QUICK_UNITS, _QUICK_EPOCHS) if work.quick else (_UNITS, _EPOCHS)
        parts = work.parts()
        if point["learning"] == WIDER:
            ends = parts.train.size, len(parts.train.class_names)
            units = as_many(units, *ends, point["sparse"], point["recurrent"] != "none")
        trained = work.train(
            hidden=units, epochs=epochs, patience=0, delay=point["delays"],
            sparse=point["sparse"], recurrent=point["recurrent"],
            **({} if point["delays"] == "none" else {"max_delay": _LONGEST}),
            **_SETTINGS[point["learning"]],
        )  # fmt: skip
        kept = size(trained.trainer.model)
        return {
            "right": trained.right, "n": trained.n, "units": units,
            "numbers": kept.weights + kept.delays, "mbit": kept.bits / 1e6,
            **_decided(trained, parts.test),
            "epoch_seconds": float(np.median([r["seconds"] for r in trained.trainer.history])),
        }  # fmt: skip

    def control(self, point: Point) -> Point | None:
        """Return the network that lacks one thing; of weights alone, the one with fewer."""
        learning = point["learning"]
        if learning == WIDER:
            return {**point, "learning": ONLY}
        if learning not in _BESIDE:
            return None
        beside = _BESIDE[learning]
        if beside != ONLY:
            return {**point, "learning": beside}
        fair = ONLY if point["delays"] == "axonal" else WIDER
        return {**point, "learning": fair, "delays": "none"}

    def published(self, point: Point) -> str | None:
        """Return accuracies on SHD, of networks whose size isn't told."""
        return None if point["sparse"] else _PUBLISHED.get(point["learning"])

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw accuracies, a panel for each network, a colour for each kind of delays."""
        networks = _networks(table)
        several = figure.subplots(1, len(networks), sharey=True, squeeze=False)[0]
        names = list(dict.fromkeys(row["learning"] for row in table.rows))
        for axes, (share, loop) in zip(several, networks, strict=True):
            for k, kind in enumerate(("none", *KINDS)):
                rows = table.where(sparse=share, recurrent=loop, delays=kind)
                at = [names.index(row["learning"]) + 0.12 * (k - 1) for row in rows]
                label = "no delays" if kind == "none" else kind
                draw_intervals(axes, at, rows, color=CYCLE[k], label=label)
            axes.set_title(_network_name(share, loop), fontsize="small")
            axes.set_xticks(range(len(names)), names, rotation=90)
            if axes is not several[0]:
                axes.set_ylabel("")
        several[0].legend(fontsize="x-small", loc="lower left")

    def verdict(self, table: Table) -> list[str]:
        """Tell what delays are worth at equal size, and what the ways to learn differ in."""
        lines, worth = [], []
        for row in table.rows:
            if row["learning"] not in (ONLY, WIDER):
                lines.append(_beside(table, row, self.control(_point(row))))
            if row["learning"] in (RULE, LOCAL):
                fair = _weights_alone(table, row)
                found = difference(row["accuracy_of_seeds"], fair["accuracy_of_seeds"])
                worth.append(comparison(found))
                lines.append(
                    f"{_told(row)} beside {fair['learning']}: {in_points(found)} points, "
                    f"{worth[-1]}"
                )
        lines += [_costs(row) for row in table.rows]
        told = f"{worth.count('better')} of {len(worth)} networks that learn delays online are"
        if worth and set(worth) == {"better"}:
            return [*lines, f"as published: delays are worth points at equal size: {told} better"]
        return [*lines, f"differs: because {told} seen to be better than weights alone of equal size"]


LOOPS = ("none", "dense")


def as_many(units: int, n_inputs: int, n_classes: int, share: float, loop: bool) -> int:
    """Return how many units with weights alone keep as many numbers as ``units`` with delays.

    Examples
    --------
    >>> as_many(64, 70, 10, 0.0, False)
    120
    """
    kept = 1 - share
    before = 2 * kept * units * (n_inputs + units * loop) + units * n_classes
    linear = kept * n_inputs + n_classes
    if not loop:
        return round(before / linear)
    return round((sqrt(linear**2 + 4 * kept * before) - linear) / (2 * kept))


def _decided(trained: Trained, test: Any) -> Measured:
    """Return spikes of a recording, and from when on the decision stays the same.

    Decisions are looked at in steps of 25 ms: a recording counts with the first from which on
    they are the last one.
    """
    model, decided, fired = trained.trainer.model, [], 0.0
    late: list[float] = []
    for batch in test.batches(_BATCH):
        labels = torch.as_tensor(batch.labels)
        decided = [v.argmax(1).numpy() for v in online(model, batch, labels, _EVERY, feedback=None)]
        model.zero_grad()
        ran = [(layer.out_features, layer.diagnostics) for layer in spiking_layers(model)]
        fired += sum(one.n_spikes for _, one in ran if one is not None)
        same = np.cumprod(np.stack(decided)[::-1] == decided[-1], axis=0).sum(axis=0)
        late += list((len(decided) - same + 1) * _EVERY)
    return {"latency": float(np.mean(late)), "spikes": fired / len(test)}


def _point(row: Row) -> Point:
    return {name: row[name] for name in ("learning", "delays", "sparse", "recurrent")}


def _weights_alone(table: Table, row: Row) -> Row:
    """Return the network with weights alone that keeps as many numbers, or nearly."""
    fair = ONLY if row["delays"] == "axonal" else WIDER
    return table.row(**{**_point(row), "learning": fair, "delays": "none"})


def _networks(table: Table) -> list[tuple[float, str]]:
    return list(dict.fromkeys((row["sparse"], row["recurrent"]) for row in table.rows))


def _network_name(share: float, loop: str) -> str:
    density = f"{share:.0%} sparse" if share else "dense"
    return f"{density}, {'no loop' if loop == 'none' else 'loop'}"


def _told(row: Row) -> str:
    kind = "" if row["delays"] == "none" else f", {row['delays']}"
    return f"{_network_name(row['sparse'], row['recurrent'])}: {row['learning']}{kind}"


def _beside(table: Table, row: Row, control: Point | None) -> str:
    assert control is not None
    other = table.row(**control)
    found = difference(row["accuracy_of_seeds"], other["accuracy_of_seeds"])
    return f"{_told(row)} beside {other['learning']}: {in_points(found)} points, {comparison(found)}"


def _costs(row: Row) -> str:
    return (
        f"{_told(row)}: {row['units']:g} units, {row['numbers']:,.0f} numbers, {row['mbit']:.2f} "
        f"Mbit, {row['spikes']:,.0f} spikes a recording, decided after {1e3 * row['latency']:.0f} ms"
    )


STUDY = ThreeFactor()
