"""Pictures of a training: accuracy over the epochs, and how it moved the delays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from evsim import Network
from evsim.arrays import FloatArray
from evsim.plots import accuracy, delays
from evsim.plots.histograms import own_delays
from evsim.plots.style import GREY, VERMILION, new_figure, styled
from evsim.words import drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_history(history: Sequence[dict[str, float]], best: int) -> Figure:
    """Draw accuracy and loss over the epochs.

    Parameters
    ----------
    history : sequence of dict
        As in `Trainer.history`.
    best : int
        The epoch to point out.

    Returns
    -------
    Figure
        Axes labelled ``"accuracy"`` and ``"loss"``.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    with styled():
        figure = new_figure(8.0, 3.2, f"Training, {len(history)} epochs; best: epoch {best}")
        for axes, what in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
            axes.set_label(what)
            accuracy(axes, history, best, what)
        axes.legend()
    return figure


def plot_delays(before: Network, after: Network) -> Figure | None:
    """Draw the delays of every projection before and after a training, and how far they moved.

    Parameters
    ----------
    before, after : Network
        The same projections with other numbers.

    Returns
    -------
    Figure or None
        A row for every projection with delays, its axes labelled ``"<name>"`` and ``"<name>
        movement"``; None without any.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    nets = (before, after)
    shown = [name for name in after.projections if any(own_delays(n, name).any() for n in nets)]
    if not shown:
        return None
    with styled():
        figure = new_figure(8.0, 0.6 + 2.2 * len(shown), "What training did to the delays")
        rows = figure.subplots(len(shown), 2, squeeze=False)
        for (left, right), name in zip(rows, shown, strict=True):
            left.set_label(name)
            _draw_both(left, 1e3 * own_delays(before, name), 1e3 * own_delays(after, name))
            left.set_title(f"{drawn(name)}: {own_delays(after, name).size:,} delays")
            right.set_label(f"{name} movement")
            delays(right, after, name, before)
            if right.get_legend_handles_labels()[0]:
                right.legend(fontsize=8, handlelength=1.0)
    return figure


def _draw_both(axes: Axes, before: FloatArray, after: FloatArray) -> None:
    """Draw two histograms of delays [ms] over each other."""
    edges = np.linspace(0.0, max(before.max(initial=0.0), after.max(initial=0.0)), 41)
    for values, colour, when in ((before, GREY, "before"), (after, VERMILION, "after")):
        counts, _ = np.histogram(values, edges)
        filled = when == "before"
        axes.stairs(counts, edges, fill=filled, color=colour, linewidth=1.5, label=when)
    axes.set_ylim(top=1.3 * axes.get_ylim()[1])  # room for the legend above the bars
    axes.set_xlabel("delay [ms]")
    axes.set_ylabel("delays")
    axes.legend(loc="upper right", ncols=2, fontsize=8, handlelength=1.0)
