"""The figure of the study of rules: cosines against the loop; then lengths, width, step."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from evsim.plots.style import DARK, DIM, GREEN, ORANGE, PURPLE

from .drawing import draw_intervals
from .rules_told import (
    EXACT,
    GAUSSIAN,
    HIDDEN,
    JUMP,
    LOCAL,
    ONE_SIDED,
    RANDOM,
    SURROGATE,
    strengths_of,
    usual,
)  # fmt: skip
from .tables import Row, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {LOCAL: GREEN, GAUSSIAN: PURPLE, SURROGATE: ORANGE, EXACT: DARK}
_APART = 0.12  # of rules, so that bars of one place don't hide each other
_BARS = {"ms": 4, "lw": 1, "elinewidth": 0.6, "capsize": 2}


def draw(figure: Figure, table: Table) -> None:
    """Draw groups against the loop; then lengths, random feedback, width and step.

    Dots are filled at first weights, hollow after training.
    """
    figure.set_size_inches(11, 6)
    panels = figure.subplots(2, 4)
    for axes, group in zip(panels[0], HIDDEN, strict=True):
        for rule in _COLOURS:
            _beside_loops(axes, table, usual(rule), group)
        _of_loops(axes, table, group)
    lengths, feedback, widths, steps = panels[1]
    for rule in (LOCAL, GAUSSIAN, SURROGATE):
        _beside_loops(lengths, table, usual(rule), "delays", "ratio")
        _beside_loops(feedback, table, usual(rule, feedback=RANDOM), "delays")
    lengths.set_yscale("log")
    _of_loops(lengths, table, "delays: length / exact length")
    _of_loops(feedback, table, "delays, random feedback")
    strongest = max(row["strength"] for row in table.where(rule=GAUSSIAN, stepping="euler"))
    _draw_widths(widths, table, strongest)
    _draw_steps(steps, table, strongest)
    for axes in panels.flat:
        axes.set_ylabel("")
        if axes is not lengths:
            axes.set_ylim(-1.05, 1.05)
            axes.axhline(0, color="black", lw=0.5)
    for axes in (panels[0][0], feedback):
        axes.set_ylabel("cosine with the exact gradient")
    _explain(panels[0][0])


def _explain(axes: Axes) -> None:
    """Say what colours and dots mean, once."""
    for rule, colour in _COLOURS.items():
        axes.plot([], [], "o-", color=colour, ms=4, lw=1, label=rule)
    axes.plot([], [], "o--", color=DIM, mfc="white", ms=4, lw=1, label="after training")
    axes.legend(fontsize="x-small", loc="lower left")


def _beside_loops(
    axes: Axes, table: Table, settings: dict[str, Any], group: str, measure: str = "cosine"
) -> None:
    """Draw a group of a rule against the strength of the loop, untrained and trained."""
    places = strengths_of(table)
    for rows in _by_training(table.where(**settings, group=group)):
        aside = _APART * (
            list(_COLOURS).index(rows[0]["rule"]) - 1.5 + 0.3 * bool(rows[0]["steps"])
        )
        at = [places.index(row["strength"]) + aside for row in rows]
        draw_intervals(axes, at, rows, measure, **_look(rows[0]))


def _by_training(rows: list[Row]) -> list[list[Row]]:
    steps = dict.fromkeys(row["steps"] for row in rows)
    return [[row for row in rows if row["steps"] == n] for n in steps]


def _look(row: Row) -> dict[str, Any]:
    """Return how a rule looks: filled and solid at first weights, hollow and dashed later."""
    how = {"fmt": "o--", "mfc": "white"} if row["steps"] else {"fmt": "o-"}
    return {"color": _COLOURS[row["rule"]], **_BARS, **how}


def _of_loops(axes: Axes, table: Table, title: str) -> None:
    names = [f"{s:g}" if s else "none" for s in strengths_of(table)]
    axes.set_title(title)
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.4, len(names) - 0.6)
    axes.set_xlabel("strength of the loop")


def _in_ms(axes: Axes, values: Sequence[float]) -> None:
    """Give an axis of logarithms a tick for each value [s]."""
    axes.set_xscale("log")
    axes.set_xticks([1e3 * v for v in values], [f"{1e3 * v:g}" for v in values])
    axes.minorticks_off()


def _draw_widths(axes: Axes, table: Table, strength: float) -> None:
    """Draw delays against the width; one-sided bumps as crosses."""
    settings = usual(GAUSSIAN, strength=strength, group="delays")
    width = settings.pop("width")
    for rows in _by_training(table.where(**settings)):
        rows.sort(key=lambda row: float(row["width"]))
        draw_intervals(axes, [1e3 * row["width"] for row in rows], rows, "cosine", **_look(rows[0]))
        _in_ms(axes, [row["width"] for row in rows])
    for kernel, mark in ((ONE_SIDED, "x"), (JUMP, "v")):
        for rows in _by_training(table.where(**{**settings, "kernel": kernel})):
            how = {"mfc": "white"} if rows[0]["steps"] else {"label": kernel}
            at = 1e3 * width * (1.1 if rows[0]["steps"] else 0.9)
            draw_intervals(axes, [at], rows, "cosine", color=DARK, fmt=mark, **_BARS, **how)
    axes.legend(fontsize="x-small", loc="lower left")
    axes.set_title(f"delays, strength {strength:g}")
    axes.set_xlabel("width of the Gaussian [ms]")


def _draw_steps(axes: Axes, table: Table, strength: float) -> None:
    """Draw weights against the step at first weights, analytical and Euler's."""
    for rule, stepping in product((GAUSSIAN, SURROGATE), ("analytical", "euler")):
        settings = usual(rule, stepping=stepping, strength=strength, steps=0, group="weights")
        del settings["dt"]
        rows = sorted(table.where(**settings), key=lambda row: float(row["dt"]))
        how = {"fmt": "o-"} if stepping == "analytical" else {"fmt": "s:", "mfc": "white"}
        look = {"color": _COLOURS[rule], "label": f"{rule}, {stepping}", **_BARS, **how}
        draw_intervals(axes, [1e3 * row["dt"] for row in rows], rows, "cosine", **look)
        _in_ms(axes, [row["dt"] for row in rows])
    axes.legend(fontsize="x-small", loc="lower left")
    axes.set_title(f"weights, strength {strength:g}, untrained")
    axes.set_xlabel("step [ms]")
