"""What loops, their delays, and learning these are worth, beside what else knows delays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evsim.plots.style import BLUE

from ..drawing import draw_intervals
from ..interface import Measured, Point, Study, Work
from ..statistics import beside
from ..tables import Row, Table
from ..trained_networks import common, measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FIXED: dict[str, Any] = {"learn_delays": False}
_STEP: dict[str, Any] = {"delay": "none"}
_EXACT_LOOP: dict[str, Any] = {"recurrent": "dense", "delay": "axonal"}
# Method, what is asked for besides, and the network that lacks this one thing.
NETWORKS: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "no loop": ("delrec", {"recurrent": "none"}, None),
    "loop of one step": ("delrec", _STEP, "no loop"),
    "loop, random delays": ("delrec", _FIXED, "loop of one step"),
    "loop, learnt delays": ("delrec", {}, "loop, random delays"),
    "kernel of one step": ("conv-delrec", _STEP, None),
    "kernel, random delays": ("conv-delrec", _FIXED, "kernel of one step"),
    "kernel, learnt delays": ("conv-delrec", {}, "kernel, random delays"),
    "forward, random delays": ("dcls", _FIXED, None),
    "forward, learnt delays": ("dcls", {}, "forward, random delays"),
    "SLAYER, axonal delays": ("slayer", {"lr": 0.03, "patience": 0}, None),
    "exact, no loop": ("exact", {"delay": "none"}, None),
    "exact, random delays": ("exact", {**_EXACT_LOOP, **_FIXED}, None),
    "exact, learnt delays": ("exact", _EXACT_LOOP, "exact, random delays"),
}
# Paper C, Table S5; paper D, Table III, SHD.
_PUBLISHED = {
    "loop, learnt delays": "93.39 % (C), 91.72 % (D)",
    "kernel, learnt delays": "89.32 % (D)",
    "forward, learnt delays": "93.77 % (C)",
}


class Methods(Study):
    """Networks of two hidden layers, one method at a time."""

    name = "methods"
    paper = "C: Table S5; D: Tables I, III"
    title = "what loops, their delays, and learning these are worth"
    minutes = 90

    def points(self, quick: bool) -> list[Point]:
        """Return one point for each network."""
        return [{"network": name} for name in NETWORKS]

    def compute(self, point: Point, work: Work) -> Measured:
        """Train a network, and run it on its grid and by events."""
        method, asked, _ = NETWORKS[point["network"]]
        trained = work.train(**{**common(method, work.quick), **asked})
        return measured(trained, work, late=asked.get("delay") != "none")

    def control(self, point: Point) -> Point | None:
        """Return the network that lacks one thing."""
        other = NETWORKS[point["network"]][2]
        return None if other is None else {"network": other}

    def published(self, point: Point) -> str | None:
        """Return the accuracy on SHD."""
        return _PUBLISHED.get(point["network"])

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw accuracies, and how many decisions the event engine makes alike."""
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        places = range(len(table.rows))
        draw_intervals(upper, places, table.rows, color=BLUE)
        lower.bar(places, [row["decisions_that_agree"] / row["n"] for row in table.rows])
        lower.set(ylim=(0, 1), ylabel="decisions\nthat agree")
        names = [row["network"].replace(", ", "\n") for row in table.rows]
        lower.set_xticks(places, names, rotation=90)

    def verdict(self, table: Table) -> list[str]:
        """Tell what delays of loops are worth, and what learning them is."""
        lines, worth = [], {}
        for row in table.rows:
            other = NETWORKS[row["network"]][2]
            if other is None:
                continue
            found, worth[row["network"]] = beside(row, table.row(network=other))
            lines.append(f"{row['network']} beside {other}: {found}")
        lines += [_by_events(row) for row in table.rows]
        lines += [_costs(row) for row in table.rows]
        told = [f"{what}: {worth[f'{what}, learnt delays']}" for what in ("loop", "kernel")]
        if all(worth[f"{what}, learnt delays"] == "better" for what in ("loop", "kernel")):
            return [*lines, "as published: learning the delays of loops beats drawing them"]
        return [
            *lines,
            "differs: because learning the delays of loops is not seen to beat drawing them "
            f"({', '.join(told)})",
        ]


def _costs(row: Row) -> str:
    """Tell what a network costs, in ratios of what was measured in turn."""
    grid, events = (row.get(f"{name}_inference_seconds") for name in ("grid", "events"))
    apart = f", inference by events {events / grid:.2f} times that on the grid" if grid else ""
    return (
        f"{row['network']}: {row['trained_numbers']:,.0f} numbers trained, "
        f"{row['loop_numbers']:,.0f} in loops, {row['spikes']:,.0f} spikes a recording, a step "
        f"{row['relative_step_seconds']:.2f} times that of no loop{apart}"
    )


def _by_events(row: Row) -> str:
    stepped = row.get("decisions_that_agree_in_steps")
    more = "" if stepped is None else f", {stepped:g} with delays and times in whole steps"
    agree = f"{row['decisions_that_agree']:g} of {row['n']:g}"
    return f"{row['network']}: decisions that agree {agree}{more}"


STUDY = Methods()
