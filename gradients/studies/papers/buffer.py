"""What late loops cost: time and memory of a training step against units and longest delay.

Points that are computed at the same time disturb each other's times. So each measures a network
without a loop in turn with its own, and what is compared is the ratio.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from evsim import Spikes
from evsim.plots.style import CYCLE, DARK

from ... import LI, CubaLIF, dense
from ...dense.spread import triangle
from ...dense.surrogates import spike
from ..drawing import draw_intervals
from ..interface import Measured, Point, Study, Work
from ..measuring import in_turn, peak_mib
from ..tables import Row, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Buffer: the published form, a line of arrivals as long as the longest delay.
KINDS = ("none", "plain", "forward", "spread", "buffer", "events")
_LATE = KINDS[2:]
_STEP, _TAU, _TAU_SYN = 10e-3, 20e-3, 5e-3  # of the grid; of units; of those of events [s]
_RATE = 10  # spikes of a unit in a recording
_FLAT = 1.2


class Buffer(Study):
    """Hidden units x longest delay x kind of network."""

    name = "buffer"
    paper = "C: S4, Fig S1"
    title = "what late loops cost in time and memory"
    minutes = 9
    measure = "relative_seconds"
    more_is_better = False

    def points(self, quick: bool) -> list[Point]:
        """Return the kinds, and longest delays of those that have any."""
        points: list[Point] = []
        for hidden in (64, 256):
            points += [_point(kind, hidden, None) for kind in KINDS[:2]]
            for longest in (0.01, 0.1, 1.0) if quick else (0.01, 0.1, 0.3, 1.0):
                points += [_point(kind, hidden, longest) for kind in _LATE]
        return points

    def compute(self, point: Point, work: Work) -> Measured:
        """Measure networks that fire as often as all others."""
        part = work.parts().train
        batch = next(part.batches(8 if work.quick else 16, shuffle=True, seed=work.seed))
        kinds, sizes = (point["kind"], "none"), (batch.size, point["hidden"], len(part.class_names))
        models = [network(kinds[0], sizes, point["longest"]), network("none", sizes, None)]
        for kind, model in zip(kinds, models, strict=True):
            make_fire(kind, model, batch)
        return measured(kinds, models, batch, rounds=3 if work.quick else 5)

    def control(self, point: Point) -> Point | None:
        """Return the network without a loop."""
        return None if point["kind"] == "none" else _point("none", point["hidden"], None)

    def published(self, point: Point) -> str | None:
        """Return what the paper tells in words; its curves have no figures."""
        if point == _point("buffer", 256, 0.1):
            return "memory almost doubled (SHD, A100)"
        return None

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw times and memory of the widest networks against the longest delay."""
        widest = max(row["hidden"] for row in table.rows)
        panels = zip(figure.subplots(1, 2), (self.measure, "peak_mib"), strict=True)
        for axes, measure in panels:
            for k, kind in enumerate(_LATE):
                rows = table.where(kind=kind, hidden=widest)
                x = [row["longest"] for row in rows]
                draw_intervals(
                    axes, x, rows, measure, color=(DARK, *CYCLE)[k], fmt="o-", label=kind
                )
            axes.set(
                xscale="log", yscale="log", xlabel="longest delay [s]", ylabel=_LABELS[measure]
            )
            axes.set_title(f"{widest} hidden units")
        axes.legend()

    def verdict(self, table: Table) -> list[str]:
        """Say how each kind grows with the longest delay, and what a loop costs."""
        widest = max(row["hidden"] for row in table.rows)
        lines, grown = [], {}
        for kind in _LATE:
            rows = table.where(kind=kind, hidden=widest)
            short, long = rows[0], rows[-1]
            found = {told: _ratio(long, short, name) for told, name in _TOLD.items()}
            grown[kind] = [times for name, times in found.items() if times and name != "spikes"]
            lines.append(
                f"{kind}, {widest} units, longest delay {short['longest']:g} to "
                f"{long['longest']:g} s: {_in_words(found)}"
            )
        alone = table.row(kind="none", hidden=widest)
        for kind in KINDS[1:]:
            row = table.where(kind=kind, hidden=widest)[-1]
            found = {told: _ratio(row, alone, name) for told, name in _TOLD.items()}
            lines.append(f"{kind}, {widest} units, over no loop: {_in_words(found)}")
        flat = [kind for kind in _LATE if max(grown[kind]) <= _FLAT]
        lines.append(
            f"within {_FLAT - 1:.0%} from the shortest to the longest: {', '.join(flat) or 'none'}"
        )
        if min(grown["buffer"]) > _FLAT:
            return [*lines, "as published: a line of arrivals costs more the longer it is"]
        return [*lines, "differs: because the line of arrivals did not grow in all of these"]


_TOLD = {"time": "relative_seconds", "memory": "peak_mib", "spikes": "spikes"}
_LABELS = {"relative_seconds": "time of a step over that of no loop", "peak_mib": "memory [MiB]"}


def _point(kind: str, hidden: int, longest: float | None) -> Point:
    return {"kind": kind, "hidden": hidden, "longest": longest}


def _ratio(row: Row, other: Row, name: str) -> float | None:
    """Return how many times as much; None where it was not measured."""
    return row[name] / other[name] if row.get(name) and other.get(name) else None


def _in_words(ratios: dict[str, float | None]) -> str:
    return ", ".join(f"{name} times {one:.2f}" for name, one in ratios.items() if one)


def network(kind: str, sizes: tuple[int, int, int], longest: float | None) -> nn.Sequential:
    """Return a hidden layer of a kind and a readout.

    Parameters
    ----------
    kind : str
        Of `KINDS`.
    sizes : (int, int, int)
        Inputs, hidden units, classes.
    longest : float or None
        Delays are drawn up to it [s]; None for kinds without.
    """
    n_in, hidden, n_out = sizes
    late: dict[str, Any] = {}
    if kind in ("spread", "buffer", "events"):
        late = {"recurrent": "dense", "recurrent_delay": "axonal"}
    elif kind == "plain":
        late = {"recurrent": "dense", "recurrent_delay": 0.0}
    elif kind == "forward":
        late = {"delay": "axonal"}
    if longest is not None:  # triangles may lead beyond it
        late["max_delay" if kind == "forward" else "recurrent_max_delay"] = longest
    if kind == "events":
        layer: Any = CubaLIF(n_in, hidden, _TAU, _TAU_SYN, **late)
        readout: Any = LI(hidden, n_out, _TAU, output="max")
    else:
        how = "round" if longest is None else "spread"
        layer = dense.LIF(n_in, hidden, _TAU, **late, dt=_STEP, delays=how)
        readout = dense.LI(hidden, n_out, _TAU, output="max", dt=_STEP)
    if kind != "none" and kind != "forward":  # so weak that it changes no spikes
        nn.init.normal_(layer.recurrent_weight, 0.0, 1e-3 / hidden**0.5)
    if longest is not None:
        delay = layer.delay if kind == "forward" else layer.recurrent_delay
        nn.init.uniform_(delay, min(_STEP, longest / 2), longest)
    return nn.Sequential(layer, readout)


def buffered(layer: dense.LIF, raster: Tensor, weights_first: bool = True) -> Tensor:
    """Return the spikes of a layer, written out plainly: a line of all that is to arrive.

    Parameters
    ----------
    layer : LIF
        With ``delays="spread"``, axonal delays of its loop, and nothing else that is special.
    raster : tensor [batch, step, in]
        Spikes.
    weights_first : bool
        Whether arrivals wait in the line, as published, or spikes, which is less work.

    Returns
    -------
    tensor [batch, step, out]
    """
    steps = layer.recurrent_delay / layer.dt
    half = steps.new_tensor(1.0 + layer.sigma)
    length = int((steps.detach().max() + half).ceil())
    taps = triangle(steps.clamp(min=1), half, length + 1)[:, 1:].T
    keep = torch.exp(-layer.dt / layer.cell("tau_mem"))
    u = raster.new_zeros(len(raster), layer.out_features)
    line = raster.new_zeros(len(raster), length, layer.out_features)
    fired = []
    for entering in functional.linear(raster, layer.weight).unbind(1):
        now = line[:, 0]
        u = u * keep + entering
        u = u + (now if weights_first else functional.linear(now, layer.recurrent_weight))
        fired.append(spike(u - 1.0, layer.surrogate))
        u = u * (1 - fired[-1].detach())
        sent = fired[-1][:, None] * taps
        if weights_first:
            sent = functional.linear(sent, layer.recurrent_weight)
        line = functional.pad(line[:, 1:], (0, 0, 0, 1)) + sent
    return torch.stack(fired, 1)


def step_of(kind: str, model: nn.Sequential, batch: Spikes) -> Callable[[], float]:
    """Return a training step, forward and backward, that returns how many spikes there were."""
    labels = torch.as_tensor(batch.labels)
    given: Any = batch if kind == "events" else dense.to_raster(batch, _STEP)
    first, readout = _layers(model)

    def step() -> float:
        model.zero_grad()
        fired = buffered(first, given) if kind == "buffer" else first(given)
        functional.cross_entropy(readout(fired), labels).backward()
        return _number(fired)

    return step


def _layers(model: nn.Sequential) -> tuple[Any, Any]:
    first, readout = model
    return first, readout


def _number(fired: Any) -> float:
    return float(len(fired.times)) if isinstance(fired, Spikes) else float(fired.detach().sum())


@torch.no_grad()
def make_fire(kind: str, model: nn.Sequential, batch: Spikes) -> None:
    """Scale the input's weights until units fire as often as in all kinds, within 1 %."""
    first, _ = _layers(model)
    wanted = _RATE * len(batch) * first.out_features
    given: Any = batch if kind == "events" else dense.to_raster(batch, _STEP)
    weight, low, high = first.weight.clone(), 1e-3, 1e3
    for _ in range(24):
        middle = (low * high) ** 0.5
        first.weight.copy_(weight * middle)
        n = _number(first(given))
        if abs(n - wanted) < 0.01 * wanted:
            return
        low, high = (middle, high) if n < wanted else (low, middle)


def measured(
    kinds: tuple[str, str], models: list[nn.Sequential], batch: Spikes, rounds: int
) -> Measured:
    """Measure a network beside another, on one thread.

    Parameters
    ----------
    kinds : (str, str)
        Of the networks.
    models : list of Sequential
        The network, and the one that is measured in turn with it.
    batch : Spikes
        With labels.
    rounds : int
        How often both are measured.
    """
    step, other = (step_of(k, m, batch) for k, m in zip(kinds, models, strict=True))
    n_spikes = step()  # compiles, and loads what is loaded at first use
    peak = peak_mib(step)
    own, others = in_turn((step, other), rounds)
    quarters = statistics.quantiles(own, n=4, method="inclusive")
    return {
        "relative_seconds": statistics.median(a / b for a, b in zip(own, others, strict=True)),
        "step_seconds": quarters[1],
        "quarter_seconds": quarters[0],
        "three_quarters_seconds": quarters[2],
        "none_seconds": statistics.median(others),
        "peak_mib": peak,
        "spikes": n_spikes,
    }


STUDY = Buffer()
