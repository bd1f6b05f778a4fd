"""What figures of studies share: points of a table with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from evsim.plots.style import BLUE, SHORT
from evsim.words import drawn

from .statistics import over_seeds, spread
from .tables import Row, cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def interval_of(row: Row, measure: str = "accuracy") -> tuple[float, float] | None:
    """Return the interval of a row: over seeds, or of a single network; None if there is none.

    Of what is not compared there is a deviation, and from it the interval over seeds.
    """
    for low, high in ((f"{measure}_low", f"{measure}_high"), ("wilson_low", "wilson_high")):
        if row.get(low) is not None and (low != "wilson_low" or measure == "accuracy"):
            return row[low], row[high]
    if row.get(measure) is not None and row.get(f"{measure}_deviation") is not None:
        found = over_seeds(row, measure)
        return found.low, found.high
    return None


def draw_intervals(
    axes: Axes, x: Sequence[float], rows: Sequence[Row], measure: str = "accuracy", **look: Any
) -> None:
    """Draw rows as dots at some places, with their intervals as bars, of accuracies from 0 to 1.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    x : sequence of float
        A place for each row.
    rows : sequence of dict
        Of a `Table`; those without the measure are left out.
    measure : str
        What to draw.
    **look
        Of ``Axes.errorbar``, such as ``label``.
    """
    kept = [(at, row) for at, row in zip(x, rows, strict=True) if row.get(measure) is not None]
    y = [row[measure] for _, row in kept]
    ends = [interval_of(row, measure) or (row[measure], row[measure]) for _, row in kept]
    if measure == "accuracy":  # with two seeds bars may be ten times as long as there is room
        ends = [(max(0.0, low), min(1.0, high)) for low, high in ends]
    bars = [[max(0.0, v - low) for v, (low, _) in zip(y, ends, strict=True)],
            [max(0.0, high - v) for v, (_, high) in zip(y, ends, strict=True)]]  # fmt: skip
    axes.errorbar([at for at, _ in kept], y, bars, **{"fmt": "o", "capsize": 3, **look})
    axes.set_ylabel(measure)


def draw_curves(axes: Axes, curves: Sequence[Sequence[float]], **look: Any) -> None:
    """Draw the mean of curves over epochs, with intervals of the mean as a band behind it.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    curves : sequence of sequence of float
        One of each seed, all of one length; a single one has no band.
    **look
        Of ``Axes.plot``, such as ``label``.
    """
    found = [spread(values) for values in zip(*curves, strict=True)]
    epochs = range(1, len(found) + 1)
    (line,) = axes.plot(epochs, [one.mean for one in found], **look)
    if len(curves) > 1:
        low, high = [one.low for one in found], [one.high for one in found]
        axes.fill_between(epochs, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set_xlabel("epoch")


def plain_logarithms(axis: Any) -> None:
    """Label a logarithmic axis with 1, 2, 5, 10, ... and no powers.

    Parameters
    ----------
    axis : Axis
        ``xaxis`` or ``yaxis`` of some axes.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")


def draw_rows(axes: Axes, rows: Sequence[Row], measure: str = "accuracy") -> None:
    """Draw all rows side by side, each under its settings."""
    draw_intervals(axes, range(len(rows)), rows, measure, color=BLUE)
    names = [list(row)[: list(row).index("seeds")] for row in rows]
    labels = [
        "\n".join(drawn(f"{name} {cell(row[name])}", SHORT) for name in own)
        for row, own in zip(rows, names, strict=True)
    ]
    axes.set_xticks(range(len(rows)), labels, rotation=90)
