"""The figure of the study of bits, and the points that it is about."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from evsim.bits import FULL
from evsim.plots.style import BLUE, CYCLE, DARK, GREY, ORANGE

from .drawing import draw_intervals, plain_logarithms
from .exported import BINS
from .tables import Row, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HISTOGRAMS = {
    "delays_histogram": "delays [ms]",
    "weights_1": "hidden weights / largest",
    "weights_2": "readout weights / largest",
}


def draw(figure: Figure, table: Table) -> None:
    """Draw landscape, memory, accuracy by bits of delays, the front, and distributions."""
    figure.set_size_inches(15, 7)
    above, below = figure.subplots(2, 4, height_ratios=[2, 1])
    _map(above[0], table, "accuracy", "accuracy [%]", 100, "linear")
    _map(above[1], table, "mbit", "memory [kbit]", 1e3, "log")
    _by_delay_bits(above[2], table)
    _front(above[3], table)
    for axes, name in zip(below, _HISTOGRAMS, strict=False):
        _histograms(axes, table, name)
    _fractions(below[3], table)


def front(table: Table) -> list[Row]:
    """Return the rows that no other is both smaller and better than, by size."""
    rows = [row for row in table.rows if row["how"] != "random"]
    best, found = -1.0, []
    for row in sorted(rows, key=lambda r: (r["mbit"], -r["accuracy"])):
        if row["accuracy"] > best:
            best = row["accuracy"]
            found.append(row)
    return found


def chosen(table: Table) -> tuple[Row, Row]:
    """Return the cheapest row within a standard error of full precision, and the best of all."""
    full = full_precision(table)
    error = (full["accuracy_deviation"] or 0.0) / full["seeds"] ** 0.5
    found = front(table)
    return next(r for r in found if r["accuracy"] >= full["accuracy"] - error), found[-1]


def full_precision(table: Table) -> Row:
    """Return the row of weights and delays that are floats."""
    return table.row(weights=FULL, delays="full", how="trained")


def _map(axes: Axes, table: Table, measure: str, label: str, factor: float, scale: str) -> None:
    """Draw what was measured over both bits, with lines along which it is the same."""
    weights = all_of(table, "weights")
    delays: list[int | str] = [*bits_of_delays(table), "full"]
    grid = [[factor * _best_known(table, w, d)[measure] for d in delays] for w in weights]
    image = axes.imshow(grid, origin="lower", aspect="auto", cmap="viridis", alpha=0.8, norm=scale)
    bar = axes.figure.colorbar(image, ax=axes, label=label, orientation="horizontal")
    if scale == "log":
        plain_logarithms(bar.ax.xaxis)
    between = np.geomspace if scale == "log" else np.linspace
    levels = between(np.min(grid), np.max(grid), 8)[1:-1]
    if np.ptp(grid) > 0:
        lines = axes.contour(grid, levels, colors="black", linewidths=0.8)
        axes.clabel(lines, fmt="%.3g", fontsize="x-small")
    axes.set_xticks(range(len(delays)), list(map(str, delays)))
    axes.set_yticks(range(len(weights)), list(map(str, weights)))
    axes.set_xlabel("bits of delays")
    axes.set_ylabel("bits of weights")


def _best_known(table: Table, weights: float, delays: int | str) -> Row:
    """Return the point of these bits that was trained with them, else the rounded one."""
    trained = table.where(weights=weights, delays=delays, how="trained")
    return trained[0] if trained else table.row(weights=weights, delays=delays, how="rounded")


def _by_delay_bits(axes: Axes, table: Table) -> None:
    """Draw accuracy by bits of delays, for full and for ternary weights."""
    bits = bits_of_delays(table)
    for k, (weights, how) in enumerate(
        (w, how) for w in (32, 1.58) for how in ("rounded", "trained")
    ):
        rows = [r for d in bits for r in table.where(weights=weights, delays=d, how=how)]
        at = [row["delays"] + 0.12 * (k - 1.5) for row in rows]
        label = f"{weights} bits, {how}"
        draw_intervals(axes, at, rows, color=CYCLE[k], label=label, linewidth=1)
    axes.set_xlabel("bits of delays")
    axes.legend(loc="lower right", fontsize="small")


def _front(axes: Axes, table: Table) -> None:
    """Draw accuracy by size, and the points that nothing beats."""
    rows = [row for row in table.rows if row["how"] != "random"]
    axes.plot([r["mbit"] for r in rows], [r["accuracy"] for r in rows], ".", color=GREY)
    best = front(table)
    axes.plot([r["mbit"] for r in best], [r["accuracy"] for r in best], "o-", color=ORANGE,
              label="front")  # fmt: skip
    random = table.where(how="random")
    axes.plot([r["mbit"] for r in random], [r["accuracy"] for r in random], "x", color=BLUE,
              label="random delays")  # fmt: skip
    axes.set_xscale("log")
    plain_logarithms(axes.xaxis)
    axes.set_xlabel("Mbit")
    axes.legend(loc="lower right", fontsize="small")


def _fractions(axes: Axes, table: Table) -> None:
    """Draw the share of delays in the bits of a parameter."""
    bits = bits_of_delays(table)
    for weights, colour in zip(all_of(table, "weights"), cycle((*CYCLE, DARK))):
        rows = [_best_known(table, weights, d) for d in bits]
        share = [100 * row["delay_fraction"] for row in rows]
        axes.plot(bits, share, ".-", color=colour, label=f"{weights}")
    axes.set_xlabel("bits of delays")
    axes.set_ylabel("share of delays in the\nbits of a parameter [%]")
    axes.set_ylim(0, 130)
    axes.legend(title="bits of weights", title_fontsize="x-small", fontsize="x-small", ncols=3)


def _histograms(axes: Axes, table: Table, name: str) -> None:
    """Draw the distribution of weights or delays at the two points that were chosen."""
    for row, label, colour in zip(chosen(table), ("I", "II"), (BLUE, ORANGE), strict=True):
        if row.get(name) is not None:
            axes.stairs(row[name], _edges(row, name), label=label, color=colour)
    axes.set_xlabel(_HISTOGRAMS[name])
    axes.set_yticks([])
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small")


def _edges(row: Row, name: str) -> Any:
    low, high = (0.0, 1e3 * row["longest_delay"]) if name == "delays_histogram" else (-1.0, 1.0)
    return np.linspace(low, high, BINS + 1)


def all_of(table: Table, name: str) -> list[Any]:
    """Return the values of a setting, each once, in order."""
    return list(dict.fromkeys(row[name] for row in table.rows))


def bits_of_delays(table: Table) -> list[int]:
    """Return the numbers of bits, without floats."""
    return [d for d in all_of(table, "delays") if d != "full"]
