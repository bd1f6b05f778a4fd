"""What more hidden units are worth, with full and with ternary weights, and what delays they get.

The published delays are those of the only hidden layer's spikes, into a layer of spikes. Before
a readout that integrates they would be factors of its weights; here delays are on the way into
the hidden layer, one for each input or for each synapse. Only the latter become more with units.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evsim.bits import TERNARY, network_bits
from evsim.plots.style import CYCLE, GREY

from ..drawing import draw_intervals
from ..exported import delays_of, network_of
from ..interface import Measured, Point, Study, Work
from ..statistics import comparison, difference, in_points
from ..tables import Row, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNITS, _QUICK_UNITS = (8, 32, 128, 256), (8, 32)
WEIGHTS = ("full", "ternary")
KINDS = ("axonal", "synaptic")
_ENOUGH = 128  # units beyond which little is published to be gained
_STEP_MS = 1.0  # delays within it count as one value
_EPOCHS, _QUICK_EPOCHS = 5, 3
Curve = tuple[str, str, bool]  # weights, delays, and whether these are learnt


class Width(Study):
    """Hidden units x weights x delays: none, random ones that are kept, learnt ones."""

    name = "width"
    paper = "A: Suppl Fig 4"
    title = "what more hidden units are worth, and which delays they learn"
    minutes = 40
    measured = False
    of_seeds = ("mean_ms",)

    def points(self, quick: bool) -> list[Point]:
        """Return units from few to many, of each kind of network."""
        return [
            {"units": units, "weights": weights, "delays": delays, "learnt": learnt}
            for weights, delays, learnt in curves()
            for units in (_QUICK_UNITS if quick else UNITS)
        ]

    def compute(self, point: Point, work: Work) -> Measured:
        """Train a network of one hidden layer, and look at its delays."""
        settings: dict[str, Any] = {}
        if point["weights"] == "ternary":
            settings["weight_bits"] = TERNARY
        if point["delays"] != "none" and not point["learnt"]:
            settings["learn_delays"] = False
        trained = work.train(
            hidden=point["units"], delay=point["delays"], patience=0,
            epochs=_QUICK_EPOCHS if work.quick else _EPOCHS, **settings,
        )  # fmt: skip
        net = network_of(trained.folder)
        counted = network_bits(net)
        return {
            "right": trained.right, "n": trained.n, "numbers": counted.weights + counted.delays,
            "mbit": counted.bits / 1e6, **of_delays(list(delays_of(net).values())),
        }  # fmt: skip

    def control(self, point: Point) -> Point | None:
        """Return random delays that are kept, of learnt ones, and no delays of these."""
        if point["learnt"]:
            return {**point, "learnt": False}
        return None if point["delays"] == "none" else {**point, "delays": "none"}

    def published(self, point: Point) -> str | None:
        """Return what the text tells of SHD beyond 128 units."""
        wide = point["units"] > _ENOUGH and point["learnt"]
        return "little more than with 128 units (SHD)" if wide else None

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw accuracy, mean delay and distinct delays, full weights above ternary ones."""
        figure.set_size_inches(10, 6.5)
        panels = figure.subplots(2, 3, sharex=True, sharey="col")
        units = sorted({row["units"] for row in table.rows})
        for upper, weights in zip(panels, WEIGHTS, strict=True):
            for curve in (one for one in curves() if one[0] == weights):
                rows, look = _rows(table, curve), _look(curve)
                at = [row["units"] * look["beside"] for row in rows]
                drawn = {"color": look["color"], "fmt": look["fmt"], "label": _told(curve)}
                draw_intervals(upper[0], at, rows, **drawn)
                draw_intervals(upper[1], at, rows, "mean_ms", **drawn)
                draw_intervals(upper[2], at, rows, "distinct", **drawn)
            upper[0].set_ylabel(f"{weights} weights: accuracy")
            upper[1].set_ylabel("mean delay [ms]")
            upper[2].set_ylabel(f"values of delays, to {_STEP_MS:g} ms")
        for axes in panels[1]:
            axes.set_xscale("log", base=2)
            axes.set_xticks(units, [f"{n}" for n in units])
            axes.minorticks_off()
            axes.set_xlabel("hidden units")
        panels[0, 0].legend(fontsize="x-small")
        for axes in panels[0, 1:]:
            axes.set_ylim(bottom=0)  # of both rows

    def verdict(self, table: Table) -> list[str]:
        """Tell what units are worth, whether delays become shorter and more, what these do."""
        lines, gained, shorter = [], [], []
        learning: list[str] = []
        for curve in curves():
            rows = _rows(table, curve)
            wide = _last_step(rows)
            apart = difference(wide[1]["accuracy_of_seeds"], wide[0]["accuracy_of_seeds"])
            gained.append(comparison(apart))
            lines.append(
                f"{_told_whole(curve)}: {wide[1]['units']} beside {wide[0]['units']} units "
                f"{in_points(apart)} points, {gained[-1]}"
            )
            if curve[2]:
                shorter.append(_is_shorter(rows))
                lines.append(f"{_told_whole(curve)}: {_delays_told(rows)}, {shorter[-1]}")
                control = _rows(table, (*curve[:2], False))
                found = [
                    difference(a["accuracy_of_seeds"], b["accuracy_of_seeds"])
                    for a, b in zip(rows, control, strict=True)
                ]
                learning += map(comparison, found)
                lines.append(
                    f"{_told_whole(curve)} beside random ones ({_delays_told(control)}): "
                    f"{', '.join(map(in_points, found))} points"
                )
        return [*lines, _concluded(gained, shorter, learning)]


def curves() -> list[Curve]:
    """Return weights, delays, and whether these are learnt, of each curve."""
    return [
        (weights, delays, learnt)
        for weights in WEIGHTS
        for delays in ("none", *KINDS)
        for learnt in ((False,) if delays == "none" else (False, True))
    ]


def of_delays(delays: list[Any]) -> Measured:
    """Return how many delays [s] there are, their mean, and how many are a millisecond apart."""
    if not delays:
        return {}
    late = 1e3 * np.concatenate(delays)
    return {
        "delays_kept": len(late), "mean_ms": float(late.mean()), "deviation_ms": float(late.std()),
        "distinct": len(np.unique(np.round(late / _STEP_MS))),
    }  # fmt: skip


def _concluded(gained: list[str], shorter: list[str], learning: list[str]) -> str:
    if "one seed" in gained:
        return "differs: because one seed has no interval"
    told = (
        f"{gained.count('better')} of {len(gained)} kinds of networks gain with the last units, "
        f"learnt delays become shorter with units in {shorter.count('shorter')} of "
        f"{len(shorter)}; they beat random ones in {learning.count('better')} of "
        f"{len(learning)}"
    )
    published = "better" not in gained and set(shorter) == {"shorter"}
    return f"as published: {told}" if published else f"differs: because {told}"


def _rows(table: Table, curve: Curve) -> list[Row]:
    return table.where(weights=curve[0], delays=curve[1], learnt=curve[2])


def _last_step(rows: list[Row]) -> tuple[Row, Row]:
    """Return the rows with as many units as are published to do, or the last but one, and most."""
    enough = [row for row in rows[:-1] if row["units"] >= _ENOUGH]
    return (enough or rows[-2:])[0], rows[-1]


def _is_shorter(rows: list[Row]) -> str:
    """Say whether mean delays of the widest network are below the narrowest's, seed by seed."""
    found = comparison(difference(*(row["mean_ms_of_seeds"] for row in (rows[-1], rows[0]))))
    return {"worse": "shorter", "better": "longer"}.get(found, found)


def _delays_told(rows: list[Row]) -> str:
    units = ", ".join(f"{row['units']}" for row in rows)
    mean = ", ".join(f"{row['mean_ms']:.1f}" for row in rows)
    distinct = ", ".join(f"{row['distinct']:.0f}" for row in rows)
    return f"with {units} units mean delays of {mean} ms, {distinct} distinct"


def _told(curve: Curve) -> str:
    if curve[1] == "none":
        return "no delays"
    return f"{curve[1]}, {'learnt' if curve[2] else 'random'}"


def _told_whole(curve: Curve) -> str:
    return f"{curve[0]} weights, {_told(curve)}"


def _look(curve: Curve) -> dict[str, Any]:
    """Return colour and line of a curve, and where it stands beside others."""
    if curve[1] == "none":
        return {"color": GREY, "fmt": "o-", "beside": 1.0}
    k = KINDS.index(curve[1])
    fmt, beside = ("o-", 1.06) if curve[2] else ("s--", 0.94)
    return {"color": CYCLE[k], "fmt": fmt, "beside": beside ** (1 + k)}


STUDY = Width()
