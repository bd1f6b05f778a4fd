"""Delays taken away from a trained network: the shortest, the longest, or any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import mean
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evsim import Network
from evsim.plots.style import BLUE, GREY, ORANGE

from ..axons import give_axons_delays
from ..drawing import draw_intervals
from ..exported import decided, delays_of, network_of
from ..interface import Measured, Point, Study, Work
from ..statistics import comparison, difference, in_points
from ..tables import Row, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DELAYS = ("axonal", "synaptic")
SHORTEST, LONGEST, RANDOM, ALL = "shortest first", "longest first", "at random", "all"
ORDERS = {SHORTEST: BLUE, LONGEST: ORANGE, RANDOM: GREY}
DELAY, CONNECTION = "delay set to 0", "connection cut"
SHARES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)  # and all of them
DRAWS = 10
# Paper A, Suppl Fig 6 and Suppl Table 1, of SHD.
_PUBLISHED = {
    0.02: "below 80 % (SHD, the two longest of 256)",
    0.1: "about 50 % (SHD)",
}


class Pruning(Study):
    """Two hidden layers; axonal delays behind both of them, or those of their synapses.

    All delays of a network are ranked together. Axonal ones are cut with all synapses of their
    unit.
    """

    name = "pruning"
    paper = "A: Fig 3a, Suppl Fig 6"
    title = "whether the longest delays matter most"
    minutes = 10
    measured = False
    of_seeds = ("draws", "moved")

    def points(self, quick: bool) -> list[Point]:
        """Return the network, then what is taken away, how much of it, and in which order."""
        found = []
        for delays in DELAYS[: 1 if quick else None]:
            found.append(_point(delays, "nothing", "none", 0.0))
            for removed in (DELAY, CONNECTION):
                found += [
                    _point(delays, removed, order, share)
                    for share in (SHARES[::2] if quick else SHARES)
                    for order in ORDERS
                ]
                found.append(_point(delays, removed, ALL, 1.0))
        return found

    def compute(self, point: Point, work: Work) -> Measured:
        """Train a network, or take delays away from it."""
        test = work.parts().test
        if work.needed is None:
            _train(point["delays"], work)
            net = network_of(work.folder)
            late = np.concatenate(list(delays_of(net).values()))
            return {
                **decided(net, test), "moved": 0.0, "n_delays": late.size,
                "mean_delay": float(late.mean()), "longest_delay": float(late.max()),
            }  # fmt: skip
        net, rng = network_of(work.needed.folder), work.generator()
        late = np.concatenate(list(delays_of(net).values()))
        n = max(1, round(point["share"] * late.size))
        cut = point["removed"] == CONNECTION
        drawn = point["order"] == RANDOM
        found = []
        for _ in range(DRAWS if drawn else 1):
            which = _mask(_order(late, point["order"], rng)[:n], late.size)
            right = decided(removed(net, which, cut), test)
            found.append({**right, "moved": 0.0 if cut else moved(net, which)})
        if not drawn:
            return {**found[0], "n_removed": n}
        draws = [one["right"] / one["n"] for one in found]
        return {
            "accuracy": mean(draws), "draws": draws, "n_removed": n,
            "moved": mean(one["moved"] for one in found),
        }  # fmt: skip

    def needs(self, point: Point) -> Point | None:
        """Return the whole network."""
        return None if point["order"] == "none" else _point(point["delays"], "nothing", "none", 0.0)

    def control(self, point: Point) -> Point | None:
        """Return the same share at random; of that, and of all, the whole network."""
        if point["order"] in (SHORTEST, LONGEST):
            return {**point, "order": RANDOM}
        return self.needs(point)

    def published(self, point: Point) -> str | None:
        """Return what the text tells of SHD."""
        if point["delays"] != "axonal":
            return None
        if point["order"] == "none":
            return "90.98 % (SHD)"
        known = point["removed"] == DELAY and point["order"] == LONGEST
        return _PUBLISHED.get(point["share"]) if known else None

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw accuracies by the share that is removed, and by how far arrivals moved."""
        kinds = _kinds(table)
        figure.set_size_inches(11, 1 + 3.4 * len(kinds))
        grid = figure.subplots(len(kinds), 3, squeeze=False)
        for several, delays in zip(grid, kinds, strict=True):
            for axes, what in zip(several, (DELAY, CONNECTION), strict=False):
                _by_share(axes, table, delays, what)
                axes.set_title(f"{delays}, {what}", fontsize="medium")
            _by_movement(several[2], table, delays)
            several[2].set_title(f"{delays}, {DELAY}", fontsize="medium")
            for axes in several:
                axes.set_ylim(0, 1.05)  # intervals of few seeds may go beyond what there is
            for axes in several[1:]:
                axes.set_ylabel("")
        grid[0][1].legend(loc="upper right", fontsize="small")

    def verdict(self, table: Table) -> list[str]:
        """Tell what each order costs, mean over shares, beside the others."""
        lines, worse = [], {}
        for delays in _kinds(table):
            whole = table.row(delays=delays, order="none")
            for what in (DELAY, CONNECTION):
                last = table.row(delays=delays, removed=what, order=ALL)
                start = f"{delays}, {what}"
                lines.append(
                    f"{start}: all of {whole['n_delays']:,.0f} removed leaves "
                    f"{last['accuracy']:.1%} of {whole['accuracy']:.1%}"
                )
                lines += [_at(table, delays, what, share) for share in _told_shares(table)]
                for order, beside in (
                    (LONGEST, SHORTEST), (LONGEST, RANDOM), (SHORTEST, RANDOM)
                ):  # fmt: skip
                    found = difference(
                        *(_over_shares(table, delays, what, one) for one in (order, beside))
                    )
                    worse[delays, what, order, beside] = comparison(found)
                    lines.append(
                        f"{start}, mean over shares: {order} beside {beside}: "
                        f"{in_points(found)} points, {comparison(found)}"
                    )
            lines += [_as_far(table, delays, order) for order in (LONGEST, SHORTEST)]
        return [*lines, _judged(worse, table)]


def removed(net: Network, which: npt.NDArray[np.bool_], cut: bool) -> Network:
    """Return a network without some of its delays.

    Parameters
    ----------
    net : Network
        Of dense projections.
    which : bool array [delay]
        Those to remove, in the order of `delays_of`, projection after projection.
    cut : bool
        Whether weights behind these delays are set to 0, not the delays.
    """
    parts = _by_projection(net, which)

    def changed(one: Any) -> Any:
        if one.name not in parts:
            return one
        gone = parts[one.name]
        if cut:
            return replace(one, weight=np.where(gone, 0.0, one.weight))
        if one.synaptic is not None:
            return replace(one, delay=np.where(gone, 0.0, one.delay))
        return replace(one, axonal_delay=np.where(gone, 0.0, one.axonal_delay))

    projections = [changed(one) for one in net.projections.values()]
    return Network(net.populations.values(), projections, net.input, net.output)


def moved(net: Network, which: npt.NDArray[np.bool_]) -> float:
    """Return by how much arrivals are earlier if some delays are 0, mean over synapses [s].

    Parameters
    ----------
    net : Network
        Of dense projections.
    which : bool array [delay]
        As for `removed`.
    """
    change, n = 0.0, 0
    for name, gone in _by_projection(net, which).items():
        one: Any = net.projections[name]
        late = one.axonal_delay if one.synaptic is None else one.synaptic
        earlier = np.broadcast_to(np.where(gone, late, 0.0), one.weights.shape)
        change, n = change + float(earlier.sum()), n + earlier.size
    return change / n


def _by_projection(net: Network, which: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Return the part of each projection, [pre] or in the shape of its weights."""
    late = delays_of(net)
    ends = np.cumsum([values.size for values in late.values()])[:-1]
    found = {}
    for name, part in zip(late, np.split(which, ends), strict=True):
        own = net.projections[name].synaptic
        found[name] = part if own is None else part.reshape(own.shape)
    return found


def _train(delays: str, work: Work) -> None:
    units, epochs = (32, 4) if work.quick else (64, 10)
    asked: dict[str, Any] = {"hidden": (units, units), "epochs": epochs, "patience": 0}
    longest = work.longest_delay()

    def change(model: Any, options: Any, method: Any) -> Any:
        give_axons_delays(model, longest)
        return model, options, method

    if delays == "axonal":
        work.train(change, delay="none", **asked)
    else:
        work.train(delay=delays, **asked)


def _order(late: npt.NDArray[np.float64], order: str, rng: np.random.Generator) -> Any:
    """Return the places of all delays, the first to go first."""
    if order == RANDOM:
        return rng.permutation(late.size)
    return np.argsort(-late if order == LONGEST else late, kind="stable")


def _mask(places: Any, n: int) -> npt.NDArray[np.bool_]:
    found = np.zeros(n, dtype=bool)
    found[places] = True
    return found


def _point(delays: str, removed: str, order: str, share: float) -> Point:
    return {"delays": delays, "removed": removed, "order": order, "share": share}


def _kinds(table: Table) -> list[str]:
    return list(dict.fromkeys(row["delays"] for row in table.rows))


def _curve(table: Table, delays: str, what: str, order: str) -> list[Row]:
    return table.where(delays=delays, removed=what, order=order)


def _over_shares(table: Table, delays: str, what: str, order: str) -> list[float]:
    """Return the mean accuracy of all shares, of each seed."""
    several = [row["accuracy_of_seeds"] for row in _curve(table, delays, what, order)]
    return [mean(one) for one in zip(*several, strict=True)]


def _as_far(table: Table, delays: str, order: str) -> str:
    """Tell what an order costs beside so many delays at random that arrivals move as far.

    Of each seed, accuracies at random are taken between two shares on a straight line.
    """
    rows = _curve(table, delays, DELAY, order)
    drawn = [
        table.row(delays=delays, order="none"), *_curve(table, delays, DELAY, RANDOM),
        *_curve(table, delays, DELAY, ALL),
    ]  # fmt: skip
    beside = []
    for k in range(table.rows[0]["seeds"]):
        far = [row["moved_of_seeds"][k] for row in rows]
        # Of few delays that are drawn, more may happen to move less.
        known = sorted((row["moved_of_seeds"][k], row["accuracy_of_seeds"][k]) for row in drawn)
        moves, accuracies = ([one[i] for one in known] for i in (0, 1))
        beside.append(mean(np.interp(far, moves, accuracies).tolist()))
    found = difference(_over_shares(table, delays, DELAY, order), beside)
    return (
        f"{delays}, {DELAY}, mean over shares: {order} beside {RANDOM} until arrivals have moved "
        f"as far: {in_points(found)} points, {comparison(found)}"
    )


def _told_shares(table: Table) -> list[float]:
    return [s for s in dict.fromkeys(row["share"] for row in table.rows) if s in _PUBLISHED]


def _at(table: Table, delays: str, what: str, share: float) -> str:
    """Tell of one share what each order leaves, and how far arrivals moved."""
    told = []
    for order in ORDERS:
        row = table.row(delays=delays, removed=what, order=order, share=share)
        earlier = f" ({1e3 * row['moved']:.1f} ms earlier)" if what == DELAY else ""
        told.append(f"{order} {row['accuracy']:.1%}{earlier}")
    return f"{delays}, {what}, {share:.0%} ({row['n_removed']:,.0f}): {', '.join(told)}"


def _judged(worse: dict[tuple[str, str, str, str], str], table: Table) -> str:
    """Say whether longest delays are seen to matter more than shortest, of axonal ones."""
    if table.rows[0]["seeds"] == 1:
        return "differs: because one seed has no interval"
    paired = [worse["axonal", what, LONGEST, SHORTEST] == "worse" for what in (DELAY, CONNECTION)]
    random = [worse["axonal", what, LONGEST, RANDOM] == "worse" for what in (DELAY, CONNECTION)]
    aside = f"than at random, which the paper lacks, {sum(random)} of 2 ways"
    if all(paired):
        return f"as published: removing the longest delays costs more than the shortest; {aside}"
    return (
        "differs: because removing the longest delays is seen to cost more than the shortest in "
        f"{sum(paired)} of 2 ways; {aside}"
    )


def _by_share(axes: Axes, table: Table, delays: str, what: str) -> None:
    ends = [table.row(delays=delays, order="none")], _curve(table, delays, what, ALL)
    for k, (order, colour) in enumerate(ORDERS.items()):
        rows = [*ends[0], *_curve(table, delays, what, order), *ends[1]]
        at = [100 * row["share"] + 0.6 * (k - 1) for row in rows]
        look: dict[str, Any] = {
            "color": colour,
            "fmt": "o-",
            "markersize": 4,
            "capsize": 2,
            "label": order,
        }
        draw_intervals(axes, at, rows, **look)
    axes.set_xlabel("removed [% of delays]")


def _by_movement(axes: Axes, table: Table, delays: str) -> None:
    ends = [table.row(delays=delays, order="none")], _curve(table, delays, DELAY, ALL)
    for order, colour in ORDERS.items():
        rows: Sequence[Row] = [*ends[0], *_curve(table, delays, DELAY, order), *ends[1]]
        look: dict[str, Any] = {"color": colour, "fmt": "o-", "markersize": 4, "capsize": 2}
        draw_intervals(axes, [1e3 * row["moved"] for row in rows], rows, **look)
    axes.set_xlabel("arrivals moved by, mean [ms]")


STUDY = Pruning()
