"""Pictures of a training: accuracy over the epochs, and delays before and after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from evsim import Network
from evsim.arrays import FloatArray
from evsim.plots import BLUE, DARK, GREY, VERMILION, new_figure, styled
from evsim.projections import Projection
from evsim.words import drawn

if TYPE_CHECKING:
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
    epochs = [record["epoch"] for record in history]
    with styled():
        figure = new_figure(8.0, 3.2, f"Training, {len(epochs)} epochs")
        for axes, what, factor in zip(
            figure.subplots(1, 2), ("accuracy", "loss"), (100, 1), strict=True
        ):
            axes.set_label(what)
            for part, colour in (("train", GREY), ("validation", BLUE)):
                values = [factor * record[f"{part}_{what}"] for record in history]
                axes.plot(epochs, values, color=colour, marker=".", markersize=3, label=part)
            axes.axvline(best, color=DARK, linewidth=0.8, linestyle="--")
            axes.set_xlabel("epoch")
            axes.set_title("accuracy [%]" if what == "accuracy" else "cross-entropy")
            axes.legend(title=f"best: epoch {best}")
    return figure


def plot_delays(before: Network, after: Network) -> Figure | None:
    """Draw how the delays of every projection were spread before and after a training.

    Parameters
    ----------
    before, after : Network
        The same projections with other numbers.

    Returns
    -------
    Figure or None
        One axes per projection with delays, labelled with its name; None without any.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    delays = {
        name: [1e3 * _delays(net, net.projections[name]) for net in (before, after)]
        for name in after.projections
    }
    shown = {name: pair for name, pair in delays.items() if any(d.any() for d in pair)}
    if not shown:
        return None
    with styled():
        figure = new_figure(8.0, 0.6 + 2.2 * len(shown), "Delays before and after training")
        for axes, (name, pair) in zip(
            figure.subplots(len(shown), 1, squeeze=False)[:, 0], shown.items(), strict=True
        ):
            axes.set_label(name)
            edges = np.linspace(0.0, max(d.max(initial=0.0) for d in pair), 41)
            for values, colour, when in zip(
                pair, (GREY, VERMILION), ("before", "after"), strict=True
            ):
                counts, _ = np.histogram(values, edges)
                filled = when == "before"
                axes.stairs(counts, edges, fill=filled, color=colour, linewidth=1.5, label=when)
            axes.set_xlabel("delay [ms]")
            axes.set_ylabel("delays")
            axes.set_title(f"{drawn(name)}: {len(pair[1]):,} delays")
            axes.legend()
    return figure


def _delays(net: Network, projection: Projection) -> FloatArray:
    """Return the delays that a projection has of its own, one for each synapse or pre unit [s]."""
    if projection.synaptic is not None:
        return projection.synaptic.ravel()
    return projection.axonal(net.populations[projection.pre].size)
