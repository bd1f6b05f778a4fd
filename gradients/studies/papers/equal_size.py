"""Delays of what goes forward, of loops, of both, in networks that keep as many numbers."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from evsim.plots.style import CYCLE

from ...dense import Delay, FromSpikes
from ...methods import recipe
from ...methods.by_values import valued, valued_method
from ...training.start import fit_weights
from ..drawing import draw_intervals
from ..equal_size import as_wide, kept, kept_by_delrec
from ..interface import Change, Measured, Point, Study, Work
from ..statistics import beside
from ..tables import Row, Table
from ..trained_networks import step_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GRID, EVENTS = "grid", "events"
NOTHING, FORWARD, LOOP, BOTH = LATE = ("nothing", "forward", "loop", "both")
_PRESET = "delrec-shd-small"
_UNITS, _QUICK_UNITS = 42, 20  # of the loop on the grid, as published
_FIT = 256  # recordings that first weights are fitted to
_FIRST = (10.0, 30.0)  # first delays, as those of loops [steps]
_GRID: dict[str, Any] = {"epochs": 12, "recordings": 2000, "batch": 32}
_EVENTS: dict[str, Any] = {"epochs": 8, "recordings": 1500, "patience": 0}
_QUICK_GRID: dict[str, Any] = {"epochs": 6, "recordings": 500, "batch": 32}
_QUICK_EVENTS: dict[str, Any] = {"epochs": 3, "recordings": 500, "patience": 0}
# On SHD; 256 units in a layer whatever is late, so these are not of equal size.
_PUBLISHED = {
    LOOP: "93.39 % (SHD, 173,844 numbers)", FORWARD: "93.77 % (SHD, DCLS, 0.22 million numbers)",
    BOTH: "93.73 % (SHD, 0.24 million numbers)",
}  # fmt: skip


class EqualSize(Study):
    """Two hidden layers whose widths make all networks keep as many numbers.

    On the grid by DelRec, as its program has them: a loop in the second layer, neither biases nor
    batch norms; forward delays are those of the first layer's units, learnt through triangles as
    those of loops. By events both layers have loops, and inputs are late, too.
    """

    name = "equal-size"
    paper = "C: program, equal numbers"
    title = "what is better late at equal numbers: what goes forward, loops, both"
    minutes = 22
    measured = False

    def points(self, quick: bool) -> list[Point]:
        """Return what is late, learnt and drawn, on the grid and by events."""
        return [
            {"on": on, "late": late, "delays": delays}
            for on in (GRID, EVENTS)
            for late in LATE
            for delays in (("none",) if late == NOTHING else ("learnt", "random"))
        ]

    def compute(self, point: Point, work: Work) -> Measured:
        """Train a network, and count its numbers."""
        train = work.parts().train
        n_inputs, n_classes = train.size, len(train.class_names)
        units = _QUICK_UNITS if work.quick else _UNITS
        units = width(units, n_inputs, n_classes, point["on"], point["late"])
        late, learn = point["late"], point["delays"] == "learnt"
        asked: dict[str, Any] = {
            "hidden": (units, units), "recurrent": "dense" if late in (LOOP, BOTH) else "none"
        }  # fmt: skip
        if point["on"] == GRID:
            dt, sizes = step_of(train.duration), (inputs_on_grid(n_inputs), units, units, n_classes)
            asked |= {"method": "delrec", "preset": _PRESET, "dt": dt, "validation": 0.1}
            asked |= _QUICK_GRID if work.quick else _GRID
            asked["delay"] = "axonal" if late in (LOOP, BOTH) else "none"  # of loops
            forward = partial(_late_forward, sizes, dt, train.duration, learn, late == FORWARD)
            change: Change | None = forward if late in (FORWARD, BOTH) else None
        else:
            asked |= _QUICK_EVENTS if work.quick else _EVENTS
            asked["delay"] = "none" if late == NOTHING else "axonal"
            change = partial(_at_once, train, work.seed) if late == LOOP else None
        if asked["delay"] != "none":
            asked["learn_delays"] = learn
        trained = work.train(change, **asked)
        numbers = _numbers(trained.trainer.model, point)
        return {"right": trained.right, "n": trained.n, "units": units, "numbers": numbers}

    def control(self, point: Point) -> Point | None:
        """Return the network with random delays, of these the one without."""
        if point["late"] == NOTHING:
            return None
        if point["delays"] == "learnt":
            return {**point, "delays": "random"}
        return {**point, "late": NOTHING, "delays": "none"}

    def published(self, point: Point) -> str | None:
        """Return the accuracy of large networks; those of equal numbers are not at hand."""
        learnt_on_grid = point["on"] == GRID and point["delays"] == "learnt"
        return _PUBLISHED[point["late"]] if learnt_on_grid else None

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw accuracies, a panel for the grid and one for events."""
        figure.set_size_inches(8, 4.5)
        both = figure.subplots(1, 2, sharey=True)
        for axes, on in zip(both, (GRID, EVENTS), strict=True):
            for k, delays in enumerate(("none", "random", "learnt")):
                rows = table.where(on=on, delays=delays)
                off = 0.0 if delays == "none" else 0.12 * (2 * k - 3)
                at = [LATE.index(row["late"]) + off for row in rows]
                label = "no delays" if delays == "none" else f"{delays} delays"
                draw_intervals(axes, at, rows, color=CYCLE[k], label=label)
            numbers = [row["numbers"] for row in table.where(on=on)]
            kept_numbers = f"{min(numbers):,.0f} to {max(numbers):,.0f} numbers"
            axes.set_title(f"{_by(on)}, {kept_numbers}", fontsize="small")
            axes.set_xticks(range(len(LATE)), LATE)
            axes.set_xlabel("what is late")
        both[1].set_ylabel("")
        named = both[0].get_legend_handles_labels()
        figure.legend(*named, loc="outside lower center", ncols=3, fontsize="small")

    def verdict(self, table: Table) -> list[str]:
        """Compare what is late, at equal numbers."""
        lines = [
            f"{_told(row)}: {row['units']:g} units a layer, {row['numbers']:,.0f} numbers"
            for row in table.rows
        ]
        apart = []
        for on in (GRID, EVENTS):
            learnt = {late: table.row(on=on, late=late, delays="learnt") for late in LATE[1:]}
            nothing = table.row(on=on, late=NOTHING)
            lines += [_beside(row, nothing)[0] for row in learnt.values()]
            pairs = ((FORWARD, LOOP), (BOTH, LOOP), (BOTH, FORWARD))
            found = [_beside(learnt[one], learnt[other]) for one, other in pairs]
            lines += [line for line, _ in found]
            if on == GRID:
                apart = [
                    f"{one} is {compared} than {other}"
                    for (one, other), (_, compared) in zip(pairs, found, strict=True)
                    if compared in ("better", "worse")
                ]
        if table.rows[0]["seeds"] == 1:
            return [*lines, "differs: because one seed has no interval"]
        if not apart:
            return [
                *lines,
                "as published: on the grid no difference is seen between forward delays, those "
                "of a loop, and both (published: within 0.4 points, of other numbers)",
            ]
        return [*lines, f"differs: because on the grid {', '.join(apart)}"]


def width(units: int, n_inputs: int, n_classes: int, on: str, late: str) -> int:
    """Return the units of each layer that keep as many numbers as a loop of ``units`` on the grid.

    Examples
    --------
    >>> [width(42, 140, 20, GRID, late) for late in LATE]
    [49, 49, 42, 42]
    >>> [width(42, 70, 10, EVENTS, late) for late in LATE]
    [52, 52, 36, 36]
    >>> [width(42, 700, 20, GRID, late) for late in LATE]  # SHD
    [49, 49, 42, 42]
    """
    first = inputs_on_grid(n_inputs)
    numbers = kept_by_delrec(first, [units] * 2, n_classes, "dense", plain=True)
    loop = "dense" if late in (LOOP, BOTH) else "none"

    def count(n: int) -> int:
        if on == GRID:
            forward = late in (FORWARD, BOTH)
            return kept_by_delrec(first, [n, n], n_classes, loop, forward, plain=True)
        delay = "none" if late == NOTHING else "axonal"
        of_inputs = n_inputs + n if late == LOOP else 0  # are not late then
        return kept(n_inputs, [n, n], n_classes, delay, loop) - of_inputs

    return as_wide(numbers, count)


def inputs_on_grid(n_inputs: int) -> int:
    """Return the inputs on the grid, where neighbours among the channels of SHD are summed."""
    published = recipe(_PRESET)
    first = published.sizes[0]
    return first if n_inputs == first * published.summed else n_inputs


def _late_forward(
    sizes: tuple[int, ...], dt: float, duration: float, learn: bool, alone: bool,
    model: Any, options: Any, method: Any,
) -> Any:  # fmt: skip
    """Let the spikes of the first hidden layer be late, learnt as delays of loops are."""
    late = Delay(sizes[1], duration, dt=dt, delays="spread")
    with torch.no_grad():
        nn.init.uniform_(late.delay, *_FIRST).mul_(dt).clamp_(max=duration)
    late.delay.requires_grad_(learn)
    late.sigma = 0.0
    (name, first), *others = model.named_children()
    layers = OrderedDict([(name, first), ("late", late), *others])
    changed = FromSpikes(layers, binary=model.binary, trimmed=model.trimmed)
    if learn and alone:  # else the method has triangles already, or needs none
        own = valued(_PRESET, sizes, dt, duration, duration, loops=False)[1]
        method = valued_method(own)
    return changed, options, method


def _at_once(training: Any, seed: int, model: Any, options: Any, method: Any) -> Any:
    """Let nothing that goes forward be late: delays stay at 0, and first weights fit that."""
    for layer in model:
        if getattr(layer, "delay", None) is not None:
            nn.init.zeros_(layer.delay)
            layer.delay.requires_grad_(False)
    fit_weights(model, next(training.batches(_FIT, shuffle=True, seed=seed)))
    return model, options, method


def _numbers(model: Any, point: Point) -> int:
    """Return how many numbers a network keeps: delays that are 0 are none."""
    parameters = dict(model.named_parameters())
    if point["on"] == EVENTS and point["late"] == LOOP:
        parameters = {n: p for n, p in parameters.items() if n.rpartition(".")[2] != "delay"}
    return sum(p.numel() for p in parameters.values())


def _by(on: str) -> str:
    return "by DelRec, on a grid" if on == GRID else "by exact gradients, of events"


def _told(row: Row) -> str:
    late = "nothing late" if row["late"] == NOTHING else f"{row['late']} late, {row['delays']}"
    return f"{row['on']}, {late}"


def _beside(row: Row, other: Row) -> tuple[str, str]:
    """Return a line on a row beside another, and what the difference says."""
    found, compared = beside(row, other)
    return f"{_told(row)} beside {_told(other)}: {found}", compared


STUDY = EqualSize()
