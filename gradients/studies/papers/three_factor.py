"""Delays learnt online, by the published rule and by the exact local one, beside their rivals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from evsim.plots.style import CYCLE

from ...lowbit import size
from ...methods.three_factor import online
from ...training.start import spiking_layers
from ..drawing import draw_intervals
from ..equal_size import as_wide
from ..interface import Measured, Point, Study, Trained, Work
from ..statistics import beside
from ..tables import Row, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("axonal", "synaptic")
# On the grid by the published rule, and of events by exact traces: weights only, then delays.
ONLY, WIDER, DRAWN, RULE = (
    "weights only", "weights only, as many numbers", "random delays", "rule"
)  # fmt: skip
EVENTS_ONLY, EVENTS_WIDER, EVENTS_DRAWN = (f"exact: {name}" for name in (ONLY, WIDER, DRAWN))
LOCAL, EXACT = "exact local rule", "exact gradient"
_GRID: dict[str, Any] = {"method": "three-factor"}
_EVENTS: dict[str, Any] = {"method": "three-factor", "exact": True}
_KEPT: dict[str, Any] = {"learn_delays": False}
WAYS: dict[str, dict[str, Any]] = {
    ONLY: _GRID, WIDER: _GRID, DRAWN: {**_GRID, **_KEPT}, RULE: _GRID,
    EVENTS_ONLY: _EVENTS, EVENTS_WIDER: _EVENTS, EVENTS_DRAWN: {**_EVENTS, **_KEPT},
    LOCAL: _EVENTS, EXACT: {"method": "exact"},
}  # fmt: skip
# What lacks one thing; of random delays see `_weights_alone`.
_BESIDE = {
    WIDER: ONLY, RULE: DRAWN, EVENTS_ONLY: ONLY, EVENTS_WIDER: EVENTS_ONLY, LOCAL: EVENTS_DRAWN,
    EXACT: LOCAL,
}  # fmt: skip
SPARSE, LOOPS = 0.8, ("none", "dense")  # share of synapses left out
# Fewer recordings than there are, so that all networks are trained in an hour.
_UNITS, _EPOCHS, _RECORDINGS = 32, 6, 800
_QUICK_UNITS, _QUICK_EPOCHS, _QUICK_RECORDINGS = 24, 3, 300
_LONGEST = 0.125  # [s], 25 steps of 5 ms
_EVERY = 25e-3  # when decisions are looked at [s]
_BATCH = 50
# Paper B's abstract and summary, on SHD.
_PUBLISHED = {ONLY: "79 %", DRAWN: "92 %"}


class ThreeFactor(Study):
    """Ways to learn, of dense and sparse networks with and without a loop."""

    name = "three-factor"
    paper = "B: baselines, online against offline, small and sparse nets"
    title = "what delays learnt online are worth"
    minutes = 60

    def points(self, quick: bool) -> list[Point]:
        """Return ways to learn, network by network."""
        networks = [(0.0, "none")] if quick else [(s, r) for s in (0.0, SPARSE) for r in LOOPS]
        kinds = KINDS[:1] if quick else KINDS
        return [
            {"learning": name, "delays": kind, "sparse": share, "recurrent": loop}
            for share, loop in networks
            for name in WAYS
            for kind in (("none",) if "weights only" in name else kinds)
        ]

    def compute(self, point: Point, work: Work) -> Measured:
        """Train a network; count its numbers and spikes, and see when it decides."""
        units, epochs, recordings = _UNITS, _EPOCHS, _RECORDINGS
        if work.quick:
            units, epochs, recordings = _QUICK_UNITS, _QUICK_EPOCHS, _QUICK_RECORDINGS
        parts = work.parts()
        if point["learning"] in (WIDER, EVENTS_WIDER):
            ends = parts.train.size, len(parts.train.class_names)
            units = as_many(units, *ends, point["sparse"], point["recurrent"] != "none")
        longest: dict[str, Any] = {} if point["delays"] == "none" else {"max_delay": _LONGEST}
        trained = work.train(
            hidden=units, epochs=epochs, recordings=recordings, patience=0, delay=point["delays"],
            sparse=point["sparse"], recurrent=point["recurrent"], **longest,
            **WAYS[point["learning"]],
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
        if learning in (DRAWN, EVENTS_DRAWN):
            return _weights_alone(point)
        beside = _BESIDE.get(learning)
        return None if beside is None else {**point, "learning": beside}

    def published(self, point: Point) -> str | None:
        """Return accuracies on SHD, of networks whose size isn't told."""
        return None if point["sparse"] else _PUBLISHED.get(point["learning"])

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw accuracies, a panel for each network, a colour for each kind of delays."""
        networks = _networks(table)
        figure.set_size_inches(11, 6)
        several = figure.subplots(1, len(networks), sharey=True, squeeze=False)[0]
        names = list(dict.fromkeys(row["learning"] for row in table.rows))
        for axes, (share, loop) in zip(several, networks, strict=True):
            for k, kind in enumerate(("none", *KINDS)):
                rows = table.where(sparse=share, recurrent=loop, delays=kind)
                at = [names.index(row["learning"]) + 0.12 * (k - 1) for row in rows]
                label = "no delays" if kind == "none" else kind
                draw_intervals(axes, at, rows, color=CYCLE[k], label=label)
            axes.set_title(_network_name(share, loop), fontsize="small")
            told = [name.replace(", ", ",\n") for name in names]
            axes.set_xticks(range(len(names)), told, rotation=90, fontsize="x-small")
            if axes is not several[0]:
                axes.set_ylabel("")
        several[0].legend(fontsize="x-small", loc="lower left")

    def verdict(self, table: Table) -> list[str]:
        """Tell what delays are worth at equal size, and what the ways to learn differ in."""
        lines, worth = [], []
        for row in table.rows:
            control = self.control(_point(row))
            if control is not None:
                lines.append(_beside(table, row, control)[0])
            if row["learning"] in (RULE, LOCAL):
                line, compared = _beside(table, row, _weights_alone(_point(row)))
                lines.append(line)
                worth.append(compared)
        lines += [_costs(row) for row in table.rows]
        told = f"{worth.count('better')} of {len(worth)} networks that learn delays online are"
        if worth and set(worth) == {"better"}:
            return [*lines, f"as published: delays are worth points at equal size: {told} better"]
        return [
            *lines,
            f"differs: because {told} seen to be better than weights alone of equal size",
        ]


def as_many(units: int, n_inputs: int, n_classes: int, share: float, loop: bool) -> int:
    """Return how many units with weights alone keep as many numbers as ``units`` with delays.

    Examples
    --------
    >>> as_many(64, 70, 10, 0.0, False)
    120
    """

    def late(n: int) -> float:
        return (1 - share) * n * (n_inputs + n * loop)

    def weights(n: int) -> float:
        return late(n) + n * n_classes

    return as_wide(late(units) + weights(units), weights)


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


def _weights_alone(point: Point) -> Point:
    """Return the network with weights alone that keeps as many numbers, or nearly.

    Delays of synapses make twice as many; those of the few units that send hardly any.
    """
    several = point["delays"] == "synaptic"
    grid = point["learning"] in (DRAWN, RULE)
    fair = (WIDER if several else ONLY) if grid else (EVENTS_WIDER if several else EVENTS_ONLY)
    return {**point, "learning": fair, "delays": "none"}


def _networks(table: Table) -> list[tuple[float, str]]:
    return list(dict.fromkeys((row["sparse"], row["recurrent"]) for row in table.rows))


def _network_name(share: float, loop: str) -> str:
    density = f"{share:.0%} sparse" if share else "dense"
    return f"{density}, {'no loop' if loop == 'none' else 'loop'}"


def _told(row: Row) -> str:
    kind = "" if row["delays"] == "none" else f", {row['delays']}"
    return f"{_network_name(row['sparse'], row['recurrent'])}: {row['learning']}{kind}"


def _beside(table: Table, row: Row, control: Point) -> tuple[str, str]:
    """Return a line on a row beside another, and what the difference says."""
    other = table.row(**control)
    found, compared = beside(row, other)
    return f"{_told(row)} beside {other['learning']}: {found}", compared


def _costs(row: Row) -> str:
    decides = f"decides after {1e3 * row['latency']:.0f} ms"
    return (
        f"{_told(row)}: {row['units']:g} units, {row['numbers']:,.0f} numbers, {row['mbit']:.2f} "
        f"Mbit, {row['spikes']:,.0f} spikes a recording, {decides}"
    )


STUDY = ThreeFactor()
