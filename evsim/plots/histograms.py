"""``delays`` and ``weights``: how they are spread, and how a training moved them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from evsim.arrays import FloatArray
from evsim.network import Network
from evsim.plots.style import BLUE, DARK, VERMILION
from evsim.projections import Projection
from evsim.spreads import Spread, spreads
from evsim.words import bin_edges, milliseconds, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Source: TypeAlias = "Network | npt.ArrayLike"


def delays(
    axes: Axes, of: Source, projection: str | None = None, before: Source | None = None
) -> Axes:
    """Draw delays [ms] into your own axes: how they are spread, or how far they were moved.

    Parameters
    ----------
    axes : matplotlib Axes
        Where to draw.
    of : Network or float array
        A network, or delays of any shape [s].
    projection : str or None
        Of a network: which; may be left out if it has only one. Drawn are the whole delays of
        its synapses, axonal and synaptic.
    before : Network or float array
        The same before a training: then the histogram is of ``d - d0``, those that became
        shorter in blue, those that became longer in vermilion; those that did not move are left
        out, and the title says so. Of a network these are the delays that it learns: one for
        every synapse, or for every pre unit.

    Returns
    -------
    matplotlib Axes
        Those given.

    Raises
    ------
    ValueError
        If there is no such projection, a delay is not finite, or there are not as many before as
        after.
    """
    if before is not None:
        now, then = (own_delays(source, projection) for source in (of, before))
        _draw_movement(axes, now, then, "delay", in_time=True)
        return axes
    spread = _spread(of, projection, 0)
    late, unit = milliseconds(spread.values)
    _draw_spread(axes, Spread(late, spread.counts), unit, BLUE, "delay")
    return axes


def weights(
    axes: Axes, of: Source, projection: str | None = None, before: Source | None = None
) -> Axes:
    """Draw weights into your own axes: how they are spread, or how far they were moved.

    Parameters
    ----------
    axes : matplotlib Axes
        Where to draw.
    of : Network or float array
        A network, or weights of any shape.
    projection : str or None
        Of a network: which; may be left out if it has only one.
    before : Network or float array
        The same before a training: then the histogram is of ``w - w0``, without those that did
        not move.

    Returns
    -------
    matplotlib Axes
        Those given.

    Raises
    ------
    ValueError
        If there is no such projection, a weight is not finite, or there are not as many before as
        after.
    """
    if before is not None:
        now, then = (
            _find(source, projection).weights.ravel()
            if isinstance(source, Network)
            else _flat(source, "weights")
            for source in (of, before)
        )
        _draw_movement(axes, now, then, "weight", in_time=False)
        return axes
    _draw_spread(axes, _spread(of, projection, 1), "no unit", VERMILION, "weight")
    return axes


def own_delays(source: Source, projection: str | None) -> FloatArray:
    """Return the delays that a projection has of its own, one for each synapse or pre unit [s]."""
    if not isinstance(source, Network):
        return _flat(source, "delays")
    found = _find(source, projection)
    if found.synaptic is not None:
        return found.synaptic.ravel()
    return found.axonal(source.populations[found.pre].size)


def _flat(values: npt.ArrayLike, what: str) -> FloatArray:
    """Return numbers of any shape in a row; refuse those that have no place in a histogram."""
    array = np.asarray(values, np.float64)
    for wrong in np.argwhere(~np.isfinite(array))[:1]:
        place = ", ".join(map(str, wrong))
        raise ValueError(f"{what}[{place}] = {array[tuple(wrong)]}, must be finite")
    return np.ravel(array)


def _find(net: Network, name: str | None) -> Projection:
    held = list(net.projections)
    if name is None and len(held) == 1:
        name = held[0]
    if name not in net.projections:
        what = "projection: say which" if name is None else f"no projection {plain(name)!r}"
        raise ValueError(f"{what}; the network has: {plain(', '.join(held)) or 'none'}")
    return net.projections[name]


def _spread(source: Source, name: str | None, which: int) -> Spread:
    """Return the delays (0) or the weights (1) of a projection, or those given."""
    if not isinstance(source, Network):
        return Spread(_flat(source, ("delays", "weights")[which]))
    found = _find(source, name)
    return spreads(found, source.populations[found.pre].size)[which]


def _draw_movement(axes: Axes, now: FloatArray, then: FloatArray, name: str, in_time: bool) -> None:
    if now.shape != then.shape:
        raise ValueError(f"there are {len(now):,} {name}s after and {len(then):,} before")
    moved, unit = milliseconds(now - then) if in_time else (now - then, "no unit")
    axes.set_xlabel(f"{name} after - before [{unit}]")
    axes.set_ylabel(f"{name}s")
    n_all, n_shorter, n_longer = len(moved), int((moved < 0).sum()), int((moved > 0).sum())
    moved = moved[moved != 0]
    edges = bin_edges(np.append(moved, 0.0), 60)
    if edges is None:
        told = "moves of no size that can be drawn" if len(moved) else "none moved"
        axes.set_title(told, loc="right")
        return
    width = edges[1] - edges[0]
    edges = width * np.arange(math.floor(edges[0] / width), math.ceil(edges[-1] / width) + 1.5)
    counts, _ = np.histogram(moved, edges)
    words = ("shorter", "longer") if in_time else ("smaller", "larger")
    for side, n, colour, word in (
        (edges[:-1] < -width / 2, n_shorter, BLUE, words[0]),
        (edges[:-1] > -width / 2, n_longer, VERMILION, words[1]),
    ):
        of_side = np.where(side, counts, 0)
        axes.stairs(of_side, edges, fill=True, color=colour, label=f"{n / n_all:.0%} {word}")
    axes.axvline(0.0, color=DARK, linewidth=0.8, linestyle="--")
    middle = f"{float(np.median(np.abs(moved))):.3g}{' ' + unit if in_time else ''}"
    some = "half moved" if len(moved) == n_all else f"{len(moved):,} of {n_all:,} moved, half"
    axes.set_title(f"{some} by more than {middle}")


def _draw_spread(axes: Axes, spread: Spread, unit: str, colour: str, name: str) -> None:
    values, power = _at_scale(spread.values)
    counts = spread.counts
    shown = f"1e{power} {unit}" if power else unit
    axes.set_xlabel(f"{name} [{shown}]")
    axes.set_ylabel("synapses")
    if counts is not None:
        values, counts = values[counts > 0], counts[counts > 0]
    spread = Spread(values, counts)
    if not len(values):
        return
    tail = "" if unit == "no unit" and not power else f" {shown}".removesuffix(" no unit")
    n_bins = int(np.clip(np.sqrt(len(np.unique(values))), 10, 60))
    edges = bin_edges(values, n_bins)
    if edges is None:  # one bar of a visible width
        n = len(values) if counts is None else int(counts.sum())
        half = max(abs(float(values[0])), 1.0) / 40
        axes.bar(values[:1], [n], width=half, color=colour)
        axes.set_xlim(float(values[0]) - 20 * half, float(values[0]) + 20 * half)
        axes.set_title(f"all {values[0]:.4g}{tail}", loc="right")
        return
    axes.hist(values, bins=edges.tolist(), weights=counts, color=colour, histtype="stepfilled")
    middle = spread.median()
    axes.axvline(middle, color=DARK, linewidth=0.8, linestyle="--")
    axes.set_title(f"median {middle:.3g}{tail}", loc="right")


def _at_scale(values: FloatArray) -> tuple[FloatArray, int]:
    """Return values of a size that axes can be laid out for, and the power of ten left out."""
    top = float(np.abs(values).max(initial=0.0))
    if top == 0.0 or 1e-12 < top < 1e15:
        return values, 0
    power = max(math.floor(math.log10(top)), -307)  # a smaller one would be next to nothing
    return values / 10.0**power, power
