"""The axis of time: seconds in the data, labelled in milliseconds where they are few."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHORT = 0.2  # [s]; shorter stretches are labelled in ms


def label_time(axes: Axes, window: tuple[float, float]) -> None:
    """Give axes the extent and the unit of a stretch of time [s]."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, ScalarFormatter

    axes.set_xlim(*window)
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    if window[1] - window[0] < _SHORT:
        axes.xaxis.set_major_formatter(FuncFormatter(_in_milliseconds))
        axes.set_xlabel("time [ms]")
    else:
        axes.xaxis.set_major_formatter(ScalarFormatter(useOffset=False))
        axes.set_xlabel("time [s]")


def _in_milliseconds(seconds: float, _: int | None = None) -> str:
    return f"{1e3 * seconds:.9g}"


def share_time(axes: list[Axes], window: tuple[float, float]) -> None:
    """Give all panels over time the same extent; only the lowest names it."""
    for one in axes:
        label_time(one, window)
        if one is not axes[-1]:
            one.set_xlabel("")
            one.tick_params(labelbottom=False)
    if axes:
        axes[-1].figure.align_ylabels(axes)
