"""The networks of studies of axonal delays: how they are trained, and how they are drawn.

Two hidden layers of events. The delays of layer 1 are those of the inputs, of layer 2 those of
the first hidden units. Delays that are learnt begin at 0, where the paper's begin (below one
step): what they are in the end, the training has made them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evsim.plots.style import BLUE, CYCLE, ORANGE, VERMILION

from ..regularisers import delay_penalty
from .drawing import draw_intervals
from .exported import BINS
from .interface import Change
from .statistics import Spread
from .tables import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LAYERS = (1, 2)
COLOURS = (*CYCLE, VERMILION)  # of as many histograms at most
LEARNT, RANDOM = "learnt", "random"
TAU_MEM, TAU_SYN = 20e-3, 10e-3  # of ``evsim train``, if nothing is told [s]
_DELAYS: dict[str, dict[str, Any]] = {
    LEARNT: {"delay": "axonal", "first_delay": 0.0},
    RANDOM: {"delay": "axonal", "learn_delays": False},  # drawn from 0 to the longest
    "none": {"delay": "none"},
}


def asked(quick: bool, delays: str = LEARNT, tau: float = 1) -> dict[str, Any]:
    """Return options of ``evsim train``.

    Parameters
    ----------
    quick : bool
        Whether the training is to be short.
    delays : {"learnt", "random", "none"}
        Random ones stay as they are drawn.
    tau : float
        Time constants, in those of ``evsim train``.
    """
    units = 16 if quick else 32
    return {
        "hidden": (units, units), "epochs": 3 if quick else 10, "patience": 0,
        "tau_mem": tau * TAU_MEM, "tau_syn": tau * TAU_SYN, **_DELAYS[delays],
    }  # fmt: skip


def penalised(strength: float) -> Change:
    """Return the change that adds `delay_penalty` to the loss of a training."""

    def change(model: Any, options: Any, method: Any) -> tuple[Any, Any, Any]:
        penalty = (lambda trained: delay_penalty(trained, strength)) if strength else None
        return model, options, replace(method, penalty=penalty)

    return change


def in_ms(found: Spread) -> str:
    """Return a time with its interval, if there is one.

    Examples
    --------
    >>> in_ms(Spread(-0.0123, 0.001, -0.015, -0.01)), in_ms(Spread(0.05, np.nan, np.nan, np.nan))
    ('-12.3 (-15.0 to -10.0) ms', '50.0 ms')
    """
    interval = f" ({1e3 * found.low:.1f} to {1e3 * found.high:.1f})"
    return f"{1e3 * found.mean:.1f}{'' if np.isnan(found.low) else interval} ms"


def draw_delays(axes: Axes, layer: int, rows: Sequence[Row], labels: Sequence[str]) -> None:
    """Draw the histograms of a layer's delays, each in another colour, up to the last that is."""
    last = 0.0
    for row, label, colour in zip(rows, labels, COLOURS[: len(rows)], strict=True):
        edges = np.linspace(0.0, 1e3 * row["longest_delay"], BINS + 1)
        axes.stairs(row[f"delays_{layer}"], edges, label=label, color=colour)
        last = max(last, edges[1 + np.flatnonzero(row[f"delays_{layer}"])[-1]])
    axes.set_xlim(0.0, 1.05 * last)
    axes.set_xlabel(f"delays of layer {layer} [ms]")
    axes.set_ylabel("share of delays")


def draw_layers(
    axes: Axes, at: Sequence[float], rows: Sequence[Row], name: str, label: str
) -> None:
    """Draw what was measured of both layers at some places, with intervals.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    at : sequence of float
        A place for each row.
    rows : sequence of dict
        Of a `Table`.
    name : str
        Of the measure, without the layer's number.
    label : str
        Of the axis; where it ends in [ms], seconds are drawn as such.
    """
    for layer, colour in zip(LAYERS, (BLUE, ORANGE), strict=True):
        x = [place + 0.12 * (layer - 1.5) for place in at]
        draw_intervals(axes, x, rows, f"{name}_{layer}", color=colour, label=f"layer {layer}")
    if label.endswith("[ms]"):
        axes.yaxis.set_major_formatter(lambda seconds, _: f"{1e3 * seconds:g}")
    axes.set_ylabel(label)
