"""Weights trained for a while and frozen, then delays learnt alone."""

from __future__ import annotations

from dataclasses import replace
from statistics import mean
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from evsim import Network
from evsim.plots.style import CYCLE, GREY
from evsim.words import count

from ..axons import give_axons_delays
from ..drawing import draw_intervals
from ..exported import decided, delays_of, network_of, refuse_changed, with_delays
from ..interface import Measured, Point, Study, Work
from ..statistics import Spread, comparison, difference, in_points
from ..tables import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NOTHING, DELAYS, BOTH, READOUT = "nothing", "delays", "delays and readout", "readout"
ON_RANDOM, DRAWN, SHUFFLED = "readout, random delays", "delays drawn", "learnt delays shuffled"
AFTER = (NOTHING, DELAYS, BOTH, READOUT, ON_RANDOM, DRAWN, SHUFFLED)
EPOCHS, QUICK_EPOCHS = (0, 1, 2, 5, 10), (0, 1, 3)
DRAWS = 10
_BESIDE = {
    DELAYS: DRAWN, BOTH: READOUT, READOUT: NOTHING, ON_RANDOM: READOUT, DRAWN: NOTHING,
    SHUFFLED: DRAWN,
}  # fmt: skip
# What is told in words, seed by seed; `NOTHING` is the network before.
_TOLD = (
    (DELAYS, NOTHING), (DELAYS, DRAWN), (DELAYS, SHUFFLED), (DELAYS, READOUT), (BOTH, READOUT),
    (BOTH, ON_RANDOM), (READOUT, NOTHING),
)  # fmt: skip


class Frozen(Study):
    """Two hidden layers without delays, then axonal delays behind both, from 0 on.

    With 0 epochs before, weights are those that a training begins with.
    """

    name = "frozen"
    paper = "A: Suppl Fig 2"
    title = "what delays can do for weights that stay as they are"
    minutes = 30
    measured = False

    def points(self, quick: bool) -> list[Point]:
        """Return epochs of weights x what is done after they are frozen."""
        return [_point(e, after) for e in (QUICK_EPOCHS if quick else EPOCHS) for after in AFTER]

    def compute(self, point: Point, work: Work) -> Measured:
        """Train weights, or what is trained after them, or draw delays."""
        after, test = point["after"], work.parts().test
        if after == NOTHING and point["epochs"]:
            work.train(delay="none", epochs=point["epochs"], **_common(work))
            return _told(network_of(work.folder), test)
        assert work.needed is not None
        if after == SHUFFLED:
            learnt, rng = network_of(work.needed.folder), work.generator()
            return _drawn([with_delays(learnt, rng.permutation) for _ in range(DRAWS)], test)
        began = point["epochs"] == 0
        before = network_of(work.needed.folder, "initial.h5" if began else "network.h5")
        if after == NOTHING:
            return _told(before, test)
        found: Measured = {"accuracy_before": _accuracy(before, test)}
        longest = work.longest_delay()
        if after == DRAWN:
            rng = work.generator()
            return {**found, **_drawn([late(before, rng, longest) for _ in range(DRAWS)], test)}
        _train_after(after, before, longest, work)
        return {**found, **_told(network_of(work.folder), test)}

    def needs(self, point: Point) -> Point | None:
        """Return the training of the weights; of untrained ones any that begins with them."""
        if point["after"] == SHUFFLED:
            return {**point, "after": DELAYS}
        if point["after"] == NOTHING and point["epochs"]:
            return None
        return _point(max(1, point["epochs"]), NOTHING)

    def control(self, point: Point) -> Point | None:
        """Return what lacks one thing: delays that were learnt, or that were trained at all."""
        beside = _BESIDE.get(point["after"])
        return None if beside is None else {**point, "after": beside}

    def published(self, point: Point) -> str | None:
        """Return what the text tells of delays alone."""
        if point["after"] != DELAYS:
            return None
        known = {1: "more than 18 points gained (SHD, SSC, NTIDIGITS)",
                 EPOCHS[-1]: "39 points gained (SHD, after 100 epochs, its peak)"}  # fmt: skip
        return known.get(point["epochs"])

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw accuracies by epochs before, and what is gained after them."""
        figure.set_size_inches(11, 5)
        left, right = figure.subplots(1, 2)
        epochs = _epochs(table)
        for k, after in enumerate(AFTER):
            rows = table.where(after=after)
            at = [i + 0.08 * (k - 3) for i in range(len(epochs))]
            shape = "s--" if after in (DRAWN, SHUFFLED) else "o-"
            look: dict[str, Any] = {"fmt": shape, "markersize": 4, "capsize": 2, "linewidth": 1}
            label = "weights alone, before" if after == NOTHING else after
            draw_intervals(left, at, rows, color=_colour(after), label=label, **look)
            if after in (DELAYS, BOTH, READOUT, ON_RANDOM):
                _gains(right, at, [_beside(table, e, after, NOTHING) for e in epochs], after)
        for axes in (left, right):
            axes.set_xticks(range(len(epochs)), [f"{e:g}" for e in epochs])
            axes.set_xlabel("epochs before weights are frozen")
        left.set_ylim(0, 1)
        right.axhline(0, color=GREY, linewidth=1)
        right.set_ylabel("gained after [points]")
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4,
                      fontsize="small")  # fmt: skip

    def verdict(self, table: Table) -> list[str]:
        """Tell what is gained after weights are frozen, and what drawn delays do."""
        lines, seen = [], {}
        for epochs in _epochs(table):
            before = table.row(epochs=epochs, after=NOTHING)["accuracy"]
            told = [f"{a} {table.row(epochs=epochs, after=a)['accuracy']:.1%}" for a in AFTER[1:]]
            start = count(epochs, "epoch")
            lines.append(f"{start}, {before:.1%}, then {', '.join(told)}")
            for after, beside in _TOLD:
                found = _beside(table, epochs, after, beside)
                seen[epochs, after, beside] = comparison(found)
                other = "before" if beside == NOTHING else f"beside {beside}"
                lines.append(
                    f"{start}, {after} {other}: {in_points(found)} points, {comparison(found)}"
                )
        lines.append("frozen numbers are equal to the last bit before and after, or points fail")
        return [*lines, _judged(table, seen)]


def late(net: Network, rng: np.random.Generator, longest: float) -> Network:
    """Return a network with axonal delays behind hidden units, drawn from 0 to the longest [s]."""

    def changed(one: Any) -> Any:
        if one.pre == net.input:
            return one
        return replace(one, axonal_delay=rng.uniform(0.0, longest, net.populations[one.pre].size))

    projections = [changed(one) for one in net.projections.values()]
    return Network(net.populations.values(), projections, net.input, net.output)


def _train_after(after: str, before: Network, longest: float, work: Work) -> None:
    """Train delays or the readout, with all else frozen, and look whether it was."""
    drawn = late(before, work.generator(), longest)
    learn_delays, learn_readout = after in (DELAYS, BOTH), after != DELAYS

    def change(model: Any, options: Any, method: Any) -> Any:
        give_axons_delays(model, longest)
        with torch.no_grad():
            for layer, one in zip(model, drawn.projections.values(), strict=True):
                layer.weight.copy_(torch.from_numpy(one.weights))
                layer.weight.requires_grad_(learn_readout and layer is model[-1])
                if layer.delay is not None:
                    first = torch.as_tensor(one.axonal_delay)
                    layer.delay.copy_(first if after == ON_RANDOM else 0 * first)
                    layer.delay.requires_grad_(learn_delays)
        return model, options, method

    work.train(change, delay="none", epochs=3 if work.quick else 10, **_common(work))
    first, then = (network_of(work.folder, name) for name in ("initial.h5", "network.h5"))
    names = list(before.projections)
    refuse_changed(before, first, names, "weight")
    refuse_changed(first, then, names[:-1] if learn_readout else names, "weight")
    if not learn_delays:
        refuse_changed(first, then, names[1:], "axonal_delay")


def _common(work: Work) -> dict[str, Any]:
    units = 32 if work.quick else 64
    return {"hidden": (units, units), "patience": 0}


def _told(net: Network, test: Any) -> Measured:
    """Return decisions of a network, and how long its delays are."""
    late = delays_of(net)
    values = np.concatenate(list(late.values())) if late else np.zeros(1)
    return {
        **decided(net, test), "mean_delay": float(values.mean()),
        "deviation_of_delays": float(values.std()), "longest_delay": float(values.max()),
    }  # fmt: skip


def _drawn(nets: list[Network], test: Any) -> Measured:
    """Return the mean accuracy of several networks, and each one's."""
    draws = [_accuracy(net, test) for net in nets]
    return {"accuracy": mean(draws), "draws": draws}


def _accuracy(net: Network, test: Any) -> float:
    found = decided(net, test)
    return float(found["right"] / found["n"])


def _point(epochs: int, after: str) -> Point:
    return {"epochs": epochs, "after": after}


def _epochs(table: Table) -> list[int]:
    return list(dict.fromkeys(row["epochs"] for row in table.rows))


def _beside(table: Table, epochs: int, after: str, beside: str) -> Spread:
    one, other = (table.row(epochs=epochs, after=a)["accuracy_of_seeds"] for a in (after, beside))
    return difference(one, other)


def _judged(table: Table, seen: dict[tuple[int, str, str], str]) -> str:
    """Say whether delays alone help frozen weights, more than any delays."""
    if table.rows[0]["seeds"] == 1:
        return "differs: because one seed has no interval"
    trained = [e for e in _epochs(table) if e]
    gains, beats = (
        sum(seen[e, DELAYS, beside] == "better" for e in trained) for beside in (NOTHING, DRAWN)
    )
    best = max(trained, key=lambda e: table.row(epochs=e, after=DELAYS)["accuracy"])
    aside = (
        f"they beat delays drawn at random in {beats} of {len(trained)}, which the paper lacks; "
        f"most accurate after {count(best, 'epoch')} of weights"
    )
    if gains == len(trained):
        return f"as published: delays alone improve frozen weights, from one epoch on; {aside}"
    return (
        f"differs: because delays alone are seen to improve frozen weights in {gains} of "
        f"{len(trained)} numbers of epochs; {aside}"
    )


def _colour(after: str) -> str:
    """Return a colour; delays that were drawn, dashed, have that of those that were learnt."""
    colours = dict(zip((DELAYS, BOTH, READOUT, ON_RANDOM, DRAWN), CYCLE, strict=True))
    return colours.get(DELAYS if after == SHUFFLED else after, GREY)


def _gains(axes: Axes, at: list[float], found: list[Spread], after: str) -> None:
    """Draw points gained, with intervals where there are several seeds."""
    half = [0.0 if np.isnan(one.low) else 100 * (one.high - one.mean) for one in found]
    axes.errorbar(
        at, [100 * one.mean for one in found], half, fmt="o-", markersize=4, capsize=2,
        linewidth=1, color=_colour(after),
    )  # fmt: skip


STUDY = Frozen()
