"""How early trained networks can decide, with delays and without, and how large they are.

Until then a network has been given what arrived before; its readout decides by the integral of
its voltage so far, which is exact, not sampled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evsim.bits import network_bits
from evsim.plots.style import CYCLE, GREY

from ..drawing import draw_intervals, plain_logarithms
from ..exported import decided, network_of
from ..interface import Measured, Point, Study, Work
from ..statistics import comparison, difference, in_points
from ..tables import Row, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = ("none", "axonal", "synaptic")
TIMES, _QUICK_TIMES = (0.25, 0.5, 0.75, 1, 1.5, 2), (0.33, 0.67, 1, 1.5)
END = "end"
UNITS, _QUICK_UNITS = (8, 16, 128), (8, 32)
_EPOCHS, _QUICK_EPOCHS = 10, 3
_LOOKED_AT = 256  # recordings whose length is looked at
_POINTS, _SAVED, _SMALLER = 2.4, 0.67, 6.6  # published: what is lost for what is saved


class Latency(Study):
    """Delays x hidden units x when the decision is taken.

    Times are shares of how long a recording sounds: of the median time of its last spike.
    """

    name = "latency"
    paper = "B: size and latency"
    title = "how early networks with delays decide, and how large they are"
    minutes = 12
    measured = False

    def points(self, quick: bool) -> list[Point]:
        """Return times for each network, the end of the recordings last."""
        return [
            {"delays": kind, "units": units, "time": time}
            for kind in KINDS
            for units in (_QUICK_UNITS if quick else UNITS)
            for time in (*(_QUICK_TIMES if quick else TIMES), END)
        ]

    def compute(self, point: Point, work: Work) -> Measured:
        """Train a network, or let it decide before the end."""
        parts = work.parts()
        duration, sounds = parts.train.duration, sounding(parts.train)
        if work.needed is None:
            trained = work.train(
                hidden=point["units"], delay=point["delays"], patience=0,
                epochs=_QUICK_EPOCHS if work.quick else _EPOCHS,
            )  # fmt: skip
            until, net = duration, network_of(trained.folder)
            found: Measured = {"right": trained.right, "n": trained.n}
        else:
            until, net = min(point["time"] * sounds, duration), network_of(work.needed.folder)
            found = decided(net, parts.test, until)
        counted = network_bits(net)
        return {
            **found, "at_ms": 1e3 * until, "sounding_ms": 1e3 * sounds,
            "numbers": counted.weights + counted.delays, "mbit": counted.bits / 1e6,
        }  # fmt: skip

    def control(self, point: Point) -> Point | None:
        """Return no delays at the same time, and of these the decision at the end."""
        if point["delays"] != "none":
            return {**point, "delays": "none"}
        return None if point["time"] == END else {**point, "time": END}

    def needs(self, point: Point) -> Point | None:
        """Return the decision at the end, which trains the network."""
        return None if point["time"] == END else {**point, "time": END}

    def published(self, point: Point) -> str | None:
        """Return what the abstract tells of the rule, beside networks of others on SHD."""
        if point["delays"] == "none" or point["time"] != END:
            return None
        return "6.6 times smaller, 67 % less latency, for 2.4 points (SHD)"

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw accuracy by time, for each number of units, and by size at the end."""
        units = _units(table)
        figure.set_size_inches(3.6 * (1 + len(units)), 4)
        panels = figure.subplots(1, 1 + len(units), sharey=True)
        for axes, n in zip(panels, units, strict=False):
            _by_time(axes, table, n)
            axes.set_title(f"{n} hidden units", fontsize="small")
        for k, kind in enumerate(KINDS):
            rows = table.where(delays=kind, time=END)
            draw_intervals(
                panels[-1], [row["mbit"] for row in rows], rows, color=CYCLE[k], fmt="o-",
                label=_name(kind),
            )  # fmt: skip
        panels[-1].set(xscale="log", xlabel="weights and delays [Mbit]")
        plain_logarithms(panels[-1].xaxis)
        panels[-1].set_title("decided at the end", fontsize="small")
        for axes in panels[1:]:
            axes.set_ylabel("")
        panels[0].legend(fontsize="x-small", loc="lower right")

    def verdict(self, table: Table) -> list[str]:
        """Tell what is lost by an early decision, what delays are worth then, and by size."""
        lines = []
        for kind in KINDS:
            for units in _units(table):
                lines.append(_earliest(table, kind, units))
                if kind != "none":
                    lines.append(_worth(table, kind, units))
            if kind != "none":
                lines.append(_by_size(table, kind))
        if table.rows[0]["seeds"] == 1:
            return [*lines, "differs: because one seed has no interval"]
        told, reached = _small_and_early(table)
        if reached:
            return [*lines, f"as published: {told}"]
        return [*lines, f"differs: because {told}; published are {_SMALLER} and {_SAVED:.0%}"]


def sounding(part: Any) -> float:
    """Return the median time of the last spike of some recordings of a data set [s].

    Recordings without any are left out; if nothing sounds it is the duration.
    """
    spikes = next(part.batches(_LOOKED_AT, shuffle=True, seed=0))
    begin, end = spikes.offsets[:-1], spikes.offsets[1:]
    last = [spikes.times[a:b].max() for a, b in zip(begin, end, strict=True) if b > a]
    return float(np.median(last or [0.0])) or float(part.duration)


def _units(table: Table) -> list[int]:
    return sorted({row["units"] for row in table.rows})


def _name(kind: str) -> str:
    return "no delays" if kind == "none" else kind


def _by_time(axes: Axes, table: Table, units: int) -> None:
    """Draw accuracy by time, that at the end as a line of dots, and how long recordings last."""
    for k, kind in enumerate(KINDS):
        rows, end = _early(table, kind, units), table.row(delays=kind, units=units, time=END)
        at = [row["at_ms"] * (1 + 0.015 * (k - 1)) for row in rows]
        draw_intervals(axes, at, rows, color=CYCLE[k], fmt="o-", label=_name(kind))
        axes.axhline(end["accuracy"], color=CYCLE[k], linestyle=":")
    axes.axvline(table.rows[0]["sounding_ms"], color=GREY, zorder=0)
    axes.set_xlabel("time of the decision [ms]")
    axes.set_ylim(0, 1.02)


def _early(table: Table, kind: str, units: int) -> list[Row]:
    """Return the rows of a network before the end, by time."""
    rows = table.where(delays=kind, units=units)
    return sorted((row for row in rows if row["time"] != END), key=lambda row: row["at_ms"])


def _earliest(table: Table, kind: str, units: int) -> str:
    """Tell from when on few points are lost, and the share of the time that is saved."""
    end, early = table.row(delays=kind, units=units, time=END), _early(table, kind, units)
    lost = [difference(end["accuracy_of_seeds"], row["accuracy_of_seeds"]) for row in early]
    told = ", ".join(
        f"{row['at_ms']:.0f} ms {in_points(found)}" for row, found in zip(early, lost, strict=True)
    )
    line = f"{_name(kind)}, {units} units, points lost by deciding at {told}"
    good = None
    for row, found in zip(reversed(early), reversed(lost), strict=True):
        if 100 * found.mean > _POINTS:
            break
        good = row
    if good is None:
        return f"{line}; never {_POINTS} at most"
    return (
        f"{line}; from {good['at_ms']:.0f} ms on {_POINTS} at most, {_saved(good):.0%} before the "
        f"median recording ends ({good['sounding_ms']:.0f} ms)"
    )


def _saved(row: Row) -> float:
    """Return the share of what the median recording lasts that is left after the decision."""
    return max(0.0, 1 - float(row["at_ms"]) / float(row["sounding_ms"]))


def _worth(table: Table, kind: str, units: int) -> str:
    """Tell what delays are worth at each time."""
    told = []
    for row in (*_early(table, kind, units), table.row(delays=kind, units=units, time=END)):
        other = table.row(delays="none", units=units, time=row["time"])
        found = difference(row["accuracy_of_seeds"], other["accuracy_of_seeds"])
        when = END if row["time"] == END else f"{row['at_ms']:.0f} ms"
        told.append(f"{when} {in_points(found)} {comparison(found)}")
    return f"{kind}, {units} units beside no delays, points at {', '.join(told)}"


def _by_size(table: Table, kind: str) -> str:
    """Tell the smallest network that few points are lost by, and how much smaller it is."""
    large = table.row(delays="none", units=_units(table)[-1], time=END)
    for row in sorted(table.where(delays=kind, time=END), key=lambda row: row["mbit"]):
        found = difference(row["accuracy_of_seeds"], large["accuracy_of_seeds"])
        if 100 * found.mean >= -_POINTS:
            ratio = large["mbit"] / row["mbit"]
            return (
                f"{kind}, {row['units']} units, {row['mbit']:.3g} Mbit, beside {large['units']} "
                f"without delays, {large['mbit']:.3g} Mbit: {in_points(found)} points, "
                f"{ratio:.1f} times smaller"
            )
    return f"{kind}: more than {_POINTS} points below {large['units']} units without delays"


def _small_and_early(table: Table) -> tuple[str, bool]:
    """Tell how small and early one network is at once, and whether it is as published.

    It is one with delays that is few points at most below the largest without, which decides at
    the end; of several the one that is nearest to both figures, in proportion.
    """
    large, best, told = table.row(delays="none", units=_units(table)[-1], time=END), -1.0, ""
    for row in (row for row in table.rows if row["delays"] != "none"):
        found = difference(row["accuracy_of_seeds"], large["accuracy_of_seeds"])
        smaller = large["mbit"] / row["mbit"]
        near = min(smaller / _SMALLER, _saved(row) / _SAVED)
        if 100 * found.mean >= -_POINTS and near > best:
            best = near
            told = (
                f"{row['delays']}, {row['units']} units, at {row['at_ms']:.0f} ms, beside "
                f"{large['units']} units without delays at the end {in_points(found)} points, is "
                f"{smaller:.1f} times smaller and saves {_saved(row):.0%} of what a recording lasts"
            )
    if not told:
        told = f"all with delays are more than {_POINTS} points below {large['units']} without"
    return told, best >= 1


STUDY = Latency()
