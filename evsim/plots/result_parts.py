"""What figures, pages and animations of a result have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from evsim.network import Network
from evsim.plots.choice import Units, units_of_each
from evsim.plots.style import class_name
from evsim.result import Result
from evsim.words import DRAWN, drawn, plain

MAX_ROWS = 24  # of a figure


def first_rows(result: Result) -> tuple[Result, int]:
    """Return the result without the populations that are too many to draw, and how many."""
    names = list(dict.fromkeys([*result.spikes, *result.voltage, *result.output]))
    left_out = set(names[MAX_ROWS // 2 :]) if len(names) > MAX_ROWS else set()
    parts: Any = {
        part: {name: v for name, v in getattr(result, part).items() if name not in left_out}
        for part in ("spikes", "voltage", "voltage_times", "threshold", "output")
    }
    return replace(result, **parts), len(left_out)


def units_of_result(result: Result, units: Units) -> dict[str, Units]:
    """Return the chosen units of every population but the readouts."""
    sizes = {name: spikes.size for name, spikes in result.spikes.items()}
    for name, values in result.voltage.items():
        if name not in result.output:
            sizes[name] = values.shape[2]
    return units_of_each(units, sizes)


def result_headline(
    result: Result,
    recording: int,
    classes: Sequence[str] | None,
    begin: str | None = None,
    safe: Callable[[str, int], str] = drawn,
    n_left_out: int = 0,
) -> str:
    """Return which recording it is, its label and what readouts answer.

    Parameters
    ----------
    result : Result
        What was recorded.
    recording : int
        Which recording.
    classes : sequence of str or None
        Names of the classes, by label.
    begin : str or None
        In place of ``"Recording <n>"``.
    safe : callable
        Makes names safe, see `evsim.plots.style.name_of`.
    n_left_out : int
        How many populations are not drawn.
    """
    parts = [begin or f"Recording {recording}"]
    if result.labels is not None:
        parts.append(f"label {class_name(int(result.labels[recording]), classes, safe)}")
    for name, values in result.output.items():
        answer = class_name(int(np.argmax(values[recording])), classes, safe)
        parts.append(f"{safe(name, DRAWN)} answers {answer}")
    more = f"; {n_left_out} more populations are not drawn" if n_left_out else ""
    return ", ".join(parts) + more


def told_window(window: tuple[float, float], duration: float) -> str:
    """Return a line that says which part of a recording is drawn; nothing if it is all."""
    if window[0] == 0.0 and window[1] >= duration:
        return ""
    drawn_part = f"{window[0]:.4g} to {window[1]:.4g} s of {duration:g} s are drawn"
    return f"\n{drawn_part}; rates are of that time"


def check_fits(net: Network, result: Result) -> None:
    """Refuse a network that does not have the populations of a result.

    Raises
    ------
    ValueError
        If one is missing, or has another number of units.
    """
    sizes = {name: spikes.size for name, spikes in result.spikes.items()}
    sizes |= {name: values.shape[2] for name, values in result.voltage.items()}
    for name, size in sizes.items():
        held = net.populations[name].size if name in net.populations else 0
        if held != size:
            raise ValueError(
                f"the network is not the one of the result: population {plain(name)!r} has "
                f"{held} units there, {size} in the result"
            )
