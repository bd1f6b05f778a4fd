"""A picture of `cross_check`: errors of spike times, lost spikes and decisions over the step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evsim.plots.style import (
    BLUE,
    DARK,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    new_figure,
    styled,
)
from evsim.words import drawn

from .records import CrossCheck, Order

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)


def plot_check(check: CrossCheck) -> Figure:
    """Draw what depends on the length of a step.

    Parameters
    ----------
    check : CrossCheck
        What was found.

    Returns
    -------
    Figure
        Axes labelled ``"errors"``, ``"lost"`` and, for a classifier, ``"decisions"``.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    names = ["errors", "lost"] + ["decisions"] * bool(check.decisions)
    steps = sorted({1e3 * s.dt for s in check.spikes} | {1e3 * d.dt for d in check.decisions})
    with styled():
        figure = new_figure(3.6 * len(names), 3.2, "Events against a grid of time steps")
        axes = dict(zip(names, figure.subplots(1, len(names)), strict=True))
        for name, each in axes.items():
            each.set_label(name)
            each.set_xscale("log")
            each.set_xlabel("dt [ms]")
            each.set_xticks(steps, [f"{dt:g}" for dt in steps])
            each.minorticks_off()
        _draw_errors(axes["errors"], check)
        _draw_lost(axes["lost"], check)
        if check.decisions:
            _draw_decisions(axes["decisions"], check)
    return figure


def _draw_errors(axes: Axes, check: CrossCheck) -> None:
    axes.set_title("error of spike times [ms]")
    any_error = False
    for name, colour in _coloured(check).items():
        found = [s for s in check.spikes if s.population == name and s.median_error]
        if found:
            dt, error = np.transpose([(s.dt, s.median_error) for s in found])
            label = f"{drawn(name)}: median of all"
            axes.plot(1e3 * dt, 1e3 * error, ".", color=colour, label=label)
            any_error = True
    for order in check.orders:
        _draw_order(axes, order, _coloured(check)[order.population])
    if any_error:
        axes.set_yscale("log")
        axes.legend(fontsize=7)
    else:
        axes.text(0.5, 0.5, "no error", transform=axes.transAxes, ha="center")


def _draw_order(axes: Axes, order: Order, colour: str) -> None:
    """Draw the median errors before any loss, and the line through them."""
    if order.order is None:
        return
    dt, error = 1e3 * np.array(order.dt), 1e3 * np.array(order.error)
    middle = np.exp(np.mean(np.log(error)) - order.order * np.mean(np.log(dt)))
    label = f"{drawn(order.population)}: median before any loss"
    axes.plot(dt, error, "x", color=colour, label=label)
    label = f"order {order.order:.2f}"
    axes.plot(dt, middle * dt**order.order, color=colour, linewidth=0.8, label=label)


def _draw_lost(axes: Axes, check: CrossCheck) -> None:
    axes.set_title("missing and extra spikes [% of events]")
    for name, colour in _coloured(check).items():
        found = [s for s in check.spikes if s.population == name]
        dt = [1e3 * s.dt for s in found]
        for what, style in (("missing", "-"), ("extra", "--")):
            share = [100 * getattr(s, what) / max(s.n_events, 1) for s in found]
            label = f"{drawn(name)}: {what}"
            axes.plot(dt, share, style, marker=".", color=colour, label=label)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=7, handlelength=4)  # long enough to tell the lines apart


def _draw_decisions(axes: Axes, check: CrossCheck) -> None:
    dt = [1e3 * d.dt for d in check.decisions]
    axes.set_title("decisions [%]")
    if check.decisions[0].exact_accuracy is not None:
        lines = (
            ("exact", "events", DARK),
            ("grid", "grid", BLUE),
            ("rounded", "rounded", VERMILION),
        )
        for field, label, colour in lines:
            values = [100 * getattr(d, f"{field}_accuracy") for d in check.decisions]
            axes.plot(dt, values, marker=".", color=colour, label=f"accuracy, {label}")
    agreement = [100 * d.exact_grid for d in check.decisions]
    axes.plot(dt, agreement, "--", marker=".", color=GREY, label="events and grid agree")
    axes.legend(fontsize=7)


def _coloured(check: CrossCheck) -> dict[str, str]:
    names = list(dict.fromkeys(s.population for s in check.spikes))
    return {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}
