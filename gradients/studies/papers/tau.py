"""Longer time constants in place of long delays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from evsim import Network
from evsim.plots.style import BLUE, GREY

from ..axonal_networks import (
    LAYERS,
    LEARNT,
    RANDOM,
    asked,
    draw_delays,
    draw_layers,
    in_ms,
)
from ..drawing import draw_intervals
from ..exported import delays_by_layer, network_of, refuse_moved
from ..interface import Measured, Point, Study, Work
from ..statistics import comparison, difference, in_points, over_seeds
from ..tables import Row, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TAUS: tuple[Any, ...] = (1, 2, 3, 4, 5, LEARNT)
_TIME_STEP = 1e-2  # of learnt time constants: with the usual step they hardly move in ten epochs
_TAIL = 2.0  # means; of evenly spread delays the 95th percentile is 1.9


class Tau(Study):
    """Time constants of both hidden layers, voltage and current, times a factor, or learnt."""

    name = "tau"
    paper = "A: Fig 3b, Suppl Fig 7"
    title = "whether longer time constants take the place of long delays"
    minutes = 8
    measured = False

    def points(self, quick: bool) -> list[Point]:
        """Return time constants x learnt and random delays."""
        taus = (1, 3, LEARNT) if quick else TAUS
        return [_point(tau, delays) for tau in taus for delays in (LEARNT, RANDOM)]

    def compute(self, point: Point, work: Work) -> Measured:
        """Train a network; learnt delays are set beside those of the first time constants."""
        tau, delays = point["tau"], point["delays"]
        if tau == LEARNT:
            options = {**asked(work.quick, delays), "learn_tau": True}
            trained = work.train(_quicker_times, **options)
        else:
            trained = work.train(**asked(work.quick, delays, tau))
        if delays == RANDOM:
            refuse_moved(trained.folder)
        net, longest = network_of(trained.folder), work.longest_delay()
        found = delays_by_layer(net, longest)
        if work.needed is not None:
            for name in [f"{what}_{k}" for what in _SHIFTED for k in LAYERS]:
                found[f"{name}_shift"] = found[name] - work.needed.measured[name]
        return {
            "right": trained.right, "n": trained.n, "longest_delay": longest,
            **found, **_times(net),
        }  # fmt: skip

    def needs(self, point: Point) -> Point | None:
        """Return the network with the first time constants, whose delays others are beside."""
        moves = point["delays"] == LEARNT and point["tau"] != 1
        return _point(1, LEARNT) if moves else None

    def control(self, point: Point) -> Point | None:
        """Return random delays with the same time constants; of these the first ones."""
        if point["delays"] == LEARNT:
            return _point(point["tau"], RANDOM)
        return None if point["tau"] == 1 else _point(1, RANDOM)

    def published(self, point: Point) -> str | None:
        """Return what the text of the paper tells of SHD."""
        return "90.98 % (SHD, full precision)" if point == _point(1, LEARNT) else None

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw accuracy and mean delays by time constant, and the histograms of both layers."""
        above, below = figure.subplots(2, 2)
        taus = list(dict.fromkeys(row["tau"] for row in table.rows))
        for delays, colour, aside in ((LEARNT, BLUE, -0.06), (RANDOM, GREY, 0.06)):
            rows = table.where(delays=delays)
            at = [taus.index(row["tau"]) + aside for row in rows]
            draw_intervals(above[0], at, rows, color=colour, label=f"{delays} delays")
        learnt = table.where(delays=LEARNT)
        draw_layers(above[1], range(len(learnt)), learnt, "mean_delay", "mean delay [ms]")
        above[0].margins(y=0.25)  # room for the legend
        for axes in above:
            axes.set_xticks(range(len(taus)), list(map(str, taus)))
            axes.set_xlabel("time constants [of the first]")
            axes.legend(fontsize="small")
        for layer, axes in zip(LAYERS, below, strict=True):
            draw_delays(axes, layer, learnt, [f"{row['tau']}" for row in learnt])
        below[1].legend(title="time constants", fontsize="small")

    def verdict(self, table: Table) -> list[str]:
        """Tell how delays move, and what they are worth, with each time constant."""
        learnt = table.where(delays=LEARNT)
        lines = [line for row in learnt for line in _told(row, table)]
        slowest = [row for row in learnt if row["tau"] != LEARNT][-1]
        if slowest["seeds"] == 1:
            return [*lines, "differs: because one seed has no interval"]
        failed = []
        for what, name in _SHIFTED.items():
            for k in LAYERS:
                if not over_seeds(slowest, f"{what}_{k}_shift").high < 0:
                    failed.append(f"{name} of layer {k} are not seen to be less")
        failed += [
            f"layer {k} has no long tail" for k in LAYERS
            if not slowest[f"late_delay_{k}"] > _TAIL * slowest[f"mean_delay_{k}"]
        ]  # fmt: skip
        at = f"with time constants of {slowest['tau']} times the first"
        if failed:
            return [*lines, f"differs: because {at} {', '.join(failed)}"]
        return [*lines, f"as published: {at} delays are shorter and less spread, a tail stays"]


_SHIFTED = {"mean_delay": "mean delays", "deviation_of_delays": "deviations"}


def _point(tau: Any, delays: str) -> Point:
    return {"tau": tau, "delays": delays}


def _quicker_times(model: Any, options: Any, method: Any) -> tuple[Any, Any, Any]:
    return model, msgspec.structs.replace(options, time_lr=_TIME_STEP), method


def _times(net: Network) -> Measured:
    """Return the time constants of hidden layers [s]."""
    hidden = [p for p in net.populations.values() if p.spiking and p.name != net.input]
    return {
        f"{name}_{k}": float(layer.parameters[name].mean())
        for k, layer in enumerate(hidden, 1)
        for name in ("tau_mem", "tau_syn")
    }


def _told(row: Row, table: Table) -> list[str]:
    """Tell of a row with learnt delays, and what they are worth beside random ones."""
    tau, random = row["tau"], table.row(tau=row["tau"], delays=RANDOM)
    found = difference(row["accuracy_of_seeds"], random["accuracy_of_seeds"])
    lines = [
        f"time constants {tau}: learnt beside random delays {in_points(found)} points, "
        f"{comparison(found)}"
    ]
    for k in LAYERS:
        from_first = "" if tau == 1 else in_ms(over_seeds(row, f"mean_delay_{k}_shift"))
        shift = f" ({from_first} from the first)" if from_first else ""
        lines.append(
            f"  layer {k}: voltage {1e3 * row[f'tau_mem_{k}']:.1f} ms, current "
            f"{1e3 * row[f'tau_syn_{k}']:.1f} ms; delays {1e3 * row[f'mean_delay_{k}']:.1f} ms"
            f"{shift}, deviation {1e3 * row[f'deviation_of_delays_{k}']:.1f} ms, 95th percentile "
            f"{1e3 * row[f'late_delay_{k}']:.1f} ms, longer than a third of the longest "
            f"{row[f'long_share_{k}']:.1%}"
        )
    return lines


STUDY = Tau()
