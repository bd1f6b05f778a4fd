"""Why delays tame gradients: how an error grows on its way back through a late loop."""

from __future__ import annotations

from collections.abc import Iterator
from math import isnan, sqrt
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from evsim import Spikes
from evsim.plots.style import CYCLE

from ...methods.delrec import growth
from .. import backflow
from ..backflow import EXACT, GRADIENTS, GRID, KEPT, N_STEPS
from ..drawing import draw_intervals
from ..interface import Measured, Point, Study, Work
from ..statistics import Spread, comparison, difference, in_points, spread_of
from ..tables import Row, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STRENGTHS = (0.2, 1, 4, 8)  # singular values of the loop; 1 is how DelRec begins
DELAYS = (1, 2, 5, 10, 20)  # steps of the whole loop
_UNITS, _SHARE = 64, 0.9  # recordings end where that share of all spikes has come
_BATCH, _BATCHES = 16, 8
_TRAINING_BATCH, _EPOCHS, _STEP_SIZE, _CLIP = 64, 3, 5e-3, 1.0
_MOVES = {"better": "falls", "worse": "rises"}  # of a growth that had better be less


class Growth(Study):
    """Gradient x strength and delay of the loop, at first weights; some after a training."""

    name = "growth"
    paper = "C: supplement, S3"
    title = "whether the delay of a loop tames its gradient"
    minutes = 8
    measure = "growth"
    more_is_better = False

    def points(self, quick: bool) -> list[Point]:
        """Return all at first weights, then some that are trained."""
        equal = (1, 5, 20) if quick else DELAYS
        late = [(n, "equal") for n in equal] + [(n, "shuffled") for n in equal if n >= 10]
        first = [
            _point("first", gradient, strength, n, delays)
            for gradient in GRADIENTS
            for strength in ((0.2, 8) if quick else STRENGTHS)
            for n, delays in late
        ]
        trained = [
            _point(weights, gradient, strength, n, "equal")
            for weights, gradient in (("trained", GRID), ("clipped", GRID), ("trained", EXACT))
            for strength in ((8,) if quick else (1, 8))
            for n in (1, 20)
        ]
        return first + trained

    def compute(self, point: Point, work: Work) -> Measured:
        """Follow the error of the last voltages back to the input."""
        parts, seed = work.parts(), work.seed
        batches = list(_some(parts.train, _BATCHES * _BATCH, seed))
        duration = float(np.quantile(np.concatenate([b.times for b in batches]), _SHARE))
        batches = [batch.before(duration) for batch in batches]
        strength, late, n = point["strength"], point["delay"], 32 if work.quick else _UNITS
        sizes = parts.train.size, n, len(parts.train.class_names)
        model = backflow.network(
            point["gradient"], strength, delays(point, n), sizes, duration / N_STEPS, seed
        )
        found: Measured = {}
        if point["weights"] != "first":
            epochs = 1 if work.quick else _EPOCHS
            clip = point["weights"] == "clipped"
            found = _trained(model, parts, duration, seed, epochs, clip)
        elif point["gradient"] == GRID:
            kept, sent = backflow.mean_squares(model, batches)
            found = {"expected": sqrt(growth(kept, strength**2 * sent, late - 1))}
        flows = [backflow.back(model, batch) for batch in batches]
        error, norms = np.concatenate([f.error for f in flows]), [f.norm for f in flows]
        each, largest = backflow.growth_of(error), max(norms)
        if not len(each) or not median(norms) > 0:
            raise ValueError("no error comes back through the loop: units are silent")
        norm = float(np.log10(median(norms)))
        if work.needed is not None:
            before = work.needed.measured
            found["log10_change"] = norm - before["log10_norm"]
            if "right" in found:
                found["right_change"] = (found["right"] - before["right"]) / found["n"]
        return {
            "growth": float(np.median(each)),
            "growth_of_squares": float(backflow.growth_of(backflow.rms(error, 0)[None])[0]),
            "bound": _bound(point), "expected": None, **found,
            "log10_norm": norm,
            "log10_largest": float(np.log10(largest / median(norms))),
        }  # fmt: skip

    def control(self, point: Point) -> Point | None:
        """Return a loop of one step, equal delays of the same mean, or no clipping."""
        if point["weights"] == "clipped":
            return {**point, "weights": "trained"}
        if point["delays"] == "shuffled":
            return {**point, "delays": "equal"}
        return None if point["delay"] == 1 else {**point, "delay": 1}

    def needs(self, point: Point) -> Point | None:
        """Return what a change is counted from: the loop of one step, or no clipping."""
        if point["weights"] == "clipped":
            return self.control(point)
        return None if point["delay"] == 1 else {**point, "delay": 1, "delays": "equal"}

    def published(self, point: Point) -> str | None:
        """Return the bound of the paper."""
        bound = _bound(point)
        return None if bound is None else f"at most {bound:.3f}"

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw growth against the delay, shuffled ones as crosses, expected ones dotted."""
        gradients = list(dict.fromkeys(row["gradient"] for row in table.rows))
        several = figure.subplots(1, len(gradients), sharey=True, squeeze=False)[0]
        for axes, gradient in zip(several, gradients, strict=True):
            for strength, colour in zip(STRENGTHS, CYCLE, strict=False):
                settings = {"weights": "first", "gradient": gradient, "strength": strength}
                equal = table.where(**settings, delays="equal")
                other = table.where(**settings, delays="shuffled")
                at = [row["delay"] for row in equal]
                told = {"color": colour, "label": f"{strength:g}"}
                draw_intervals(axes, at, equal, "growth", **told)
                at_other = [1.1 * row["delay"] for row in other]
                draw_intervals(axes, at_other, other, "growth", color=colour, fmt="x")
                if gradient == GRID:
                    axes.plot(at, [row["expected"] for row in equal], ":", color=colour)
            axes.axhline(1.0, color="black", lw=0.5)
            axes.set_xscale("log")
            axes.set_title(gradient)
            axes.set_xlabel("delay of the loop [steps]")
            axes.set_ylabel("growth in a step back" if gradient == GRID else "")
        several[0].legend(title="strength", fontsize="small")

    def verdict(self, table: Table) -> list[str]:
        """Tell where growth falls with the delay, what shuffling changes, and what trainings do."""
        lines, moves = [], {}
        for one in table.where(weights="first", delay=1):
            last = _last(table, one)
            moves[one["gradient"], one["strength"]] = _move(found := _difference(last, one))
            lines.append(
                f"{_told(one)}: {one['growth']:.3f} with one step, {last['growth']:.3f} with "
                f"{last['delay']}: {_move(found)}, {_interval(found)}; {_norms(one, last)}"
            )
        lines += [_shuffling(table, row) for row in table.where(weights="first", delays="shuffled")]
        lines += [_training(row) for row in table.rows if row["weights"] != "first"]
        return [*lines, _squares(table), _turning(table, moves), _conclusion(moves)]


def delays(point: Point, n: int) -> Tensor:
    """Return n delays [steps]: all the same, or evenly from one step to twice the mean less one."""
    mean = point["delay"]
    if point["delays"] == "equal":
        return torch.full((n,), float(mean), dtype=torch.float64)
    return torch.linspace(1, 2 * mean - 1, n, dtype=torch.float64).round()


def _point(weights: str, gradient: str, strength: float, delay: int, delays: str) -> Point:
    return {
        "weights": weights, "gradient": gradient, "strength": strength, "delay": delay,
        "delays": delays,
    }  # fmt: skip


def _bound(point: Point) -> float | None:
    """Return the bound: at first weights, where an arrival steps the voltage, of equal delays."""
    if (point["weights"], point["gradient"], point["delays"]) != ("first", GRID, "equal"):
        return None
    return growth(KEPT, point["strength"], point["delay"] - 1)


def _some(data: Any, n: int, seed: int) -> Iterator[Spikes]:
    """Return recordings of a part, drawn at random, in batches."""
    return data[np.random.default_rng(seed).permutation(len(data))[:n]].batches(_BATCH)


def _trained(
    model: nn.Sequential, parts: Any, duration: float, seed: int, epochs: int, clip: bool
) -> Measured:
    """Train on sums of voltages; tell right ones, and how large gradients of the loop were."""
    layer: Any = model[0]
    readout: Any = model[1]
    readout.output = "integral"
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(trained, _STEP_SIZE)
    norms, beyond = [], []
    for epoch in range(epochs):
        order = {"shuffle": True, "seed": 1000 * epoch + seed}
        for batch in parts.train.batches(_TRAINING_BATCH, **order):
            optimiser.zero_grad()
            sums = backflow.outputs(model, batch.before(duration))[0] * N_STEPS / duration
            cross_entropy(sums, torch.as_tensor(batch.labels)).backward()
            found = layer.recurrent_weight.grad * backflow.unit(layer)
            norms.append(float(found.norm()))
            beyond.append(float(found.abs().max()) > _CLIP)
            if clip:
                nn.utils.clip_grad_value_(trained, _CLIP)
            optimiser.step()
    test = parts.test.spikes().before(duration)
    with torch.no_grad():
        decided = backflow.outputs(model, test)[0].argmax(1).numpy()
    readout.output = "last"
    return {
        "right": int((decided == test.labels).sum()), "n": len(test),
        "log10_largest_in_training": float(np.log10(max(norms) / median(norms))),
        "beyond_clipping": float(np.mean(beyond)),
    }  # fmt: skip


def _last(table: Table, row: Row) -> Row:
    """Return the same network with the longest delay of all units."""
    rows = table.where(**_settings(row), delays="equal")
    return max(rows, key=lambda one: one["delay"])


def _settings(row: Row) -> Point:
    return {name: row[name] for name in ("weights", "gradient", "strength")}


def _told(row: Row) -> str:
    bound = f" (a + b = {KEPT + row['strength']:.2f})" if row["gradient"] == GRID else ""
    return f"{row['gradient']}, strength {row['strength']:g}{bound}"


def _difference(row: Row, control: Row) -> Spread:
    return difference(row["growth_of_seeds"], control["growth_of_seeds"])


def _move(found: Spread) -> str:
    """Return whether growth falls, rises, or neither is seen."""
    said = comparison(found, more_is_better=False)
    return _MOVES.get(said, said)


def _interval(found: Spread, digits: int = 3) -> str:
    mean, low, high = (f"{v:+.{digits}f}" for v in (found.mean, found.low, found.high))
    return mean if isnan(found.low) else f"{mean} ({low} to {high})"


def _norms(one: Row, last: Row) -> str:
    """Tell norms, by how many orders they differ, and growth of their squares."""
    change = spread_of(last["log10_change"], last["log10_change_deviation"], last["seeds"])
    return (
        f"norm 10^{one['log10_norm']:.1f} and 10^{last['log10_norm']:.1f}, orders "
        f"{_interval(change, 1)}; "
        f"growth of squares {one['growth_of_squares']:.3f} and {last['growth_of_squares']:.3f}"
    )


def _shuffling(table: Table, row: Row) -> str:
    """Compare shuffled delays with equal ones of the same mean, and with one step."""
    equal = table.row(**_settings(row), delay=row["delay"], delays="equal")
    one = table.row(**_settings(row), delay=1, delays="equal")
    return (
        f"{row['gradient']}, strength {row['strength']:g}, mean delay {row['delay']}: shuffled "
        f"beside equal {_interval(found := _difference(row, equal))}, {_move(found)}; "
        f"beside one step {_interval(found := _difference(row, one))}, {_move(found)}"
    )


def _training(row: Row) -> str:
    clipped = row["weights"] == "clipped"
    largest, beyond = 10 ** row["log10_largest_in_training"], row["beyond_clipping"]
    told = ""
    if (change := row.get("right_change")) is not None:
        found = spread_of(change, row["right_change_deviation"], row["seeds"])
        told = f", {in_points(found)} points beside {'no clipping' if clipped else 'one step'}"
    return (
        f"trained by {row['gradient']}{' and clipped' if clipped else ''}, strength "
        f"{row['strength']:g}, delay {row['delay']}: {row['right'] / row['n']:.1%} right{told}; "
        f"the loop's largest gradient {largest:.3g} times the median, an entry beyond {_CLIP:g} in "
        f"{beyond:.0%} of batches; growth {row['growth']:.3f}"
    )


def _squares(table: Table) -> str:
    """Tell how well mean squares predict what the bound does not."""
    rows = table.where(weights="first", gradient=GRID, delays="equal")
    gaps = [abs(row["growth"] - row["expected"]) for row in rows]
    bounds = [row["bound"] - row["growth"] for row in rows]
    past = [f"{r['strength']:g}" for r in rows if r["delay"] == 1 and r["expected"] > 1]
    return (
        f"grid: mean squares give growth to {median(gaps):.3f} (median; {max(gaps):.3f} at most), "
        f"the bound is {median(bounds):.3f} too high ({max(bounds):.3f} at most); mean squares are "
        f"above 1 with one step at strength {', '.join(past) or 'none'}"
    )


def _turning(table: Table, moves: dict[tuple[str, float], str]) -> str:
    """Tell whether it turns where errors begin to grow with one step."""
    grows: dict[bool, list[str]] = {True: [], False: []}
    for row in table.where(weights="first", delay=1):
        grows[row["growth"] > 1].append(moves[row["gradient"], row["strength"]])
    return (
        f"of {len(grows[True])} networks whose errors grow with one step growth falls in "
        f"{grows[True].count('falls')}; of {len(grows[False])} others it rises in "
        f"{grows[False].count('rises')}"
    )


def _conclusion(moves: dict[tuple[str, float], str]) -> str:
    """Return whether growth falls wherever a + b > 1."""
    beyond = {s: how for (g, s), how in moves.items() if g == GRID and KEPT + s > 1}
    if "one seed" in beyond.values():
        return "differs: because one seed has no interval"
    told = ", ".join(f"{how} at strength {s:g}" for s, how in beyond.items())
    if all(how == "falls" for how in beyond.values()):
        return f"as published: where a + b > 1 growth falls with the delay: {told}"
    return f"differs: because with a + b > 1 it is not growth that falls each time: {told}"


STUDY = Growth()
