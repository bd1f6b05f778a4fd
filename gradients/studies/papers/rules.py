"""How near online rules, and back-propagation with a surrogate, come to the exact gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from evsim import Spikes

from ...methods.three_factor.bump import Causal
from .. import beside_exact, rules_drawn, rules_told
from ..beside_exact import GROUPS
from ..interface import Measured, Point, Study, Work
from ..rules_told import (
    DT,
    EXACT,
    GAUSSIAN,
    JUMP,
    LOCAL,
    ONE_SIDED,
    OWN,
    RANDOM,
    SURROGATE,
    WIDTH,
)  # fmt: skip
from ..tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STRENGTHS = (0, 0.25, 1, 2, 4)  # of the loop; 1 is how a layer begins
WIDTHS = (0.5e-3, 1e-3, 2e-3, 4e-3, 8e-3)
STEPS = (0.5e-3, 1e-3, 2e-3, 4e-3)
CAUSAL: dict[str, Causal] = {ONE_SIDED: True, JUMP: "jump"}  # kernels that need no look ahead
_TRAINED = 40  # steps
_UNITS, _BATCH, _TESTED = 64, 32, 128
_SHARE, _AFTER = 0.99, 0.06  # recordings end when that share of spikes has come, and so much later
_FILE = "network.pt"


class Rules(Study):
    """Gradients of the same networks by every rule, a row for each group of parameters."""

    name = "rules"
    paper = "B: approximation gap, one-sided kernels"
    title = "how near each rule comes to the exact gradient"
    minutes = 11
    measure = "cosine"

    def points(self, quick: bool) -> list[Point]:
        """Return all rules for every loop, then other widths, other steps, one-sided ones."""
        found = []
        for steps in (0, _TRAINED):
            for strength in (0, 2) if quick else STRENGTHS:
                found += _beside_strength(steps, strength)
            for strength in (2,) if quick else (0, 2):
                found += _beside_settings(steps, strength, quick)
        return found

    def compute(self, point: Point, work: Work) -> Measured:
        """Take all groups by the rule at once, for the first group; others take theirs from it."""
        assert work.needed is not None or point["rule"] == EXACT
        groups = _groups(point)
        if point["group"] != groups[0]:
            assert work.needed is not None
            at, measured = groups.index(point["group"]), work.needed.measured
            return {"cosine": measured["cosines"][at], "ratio": measured["ratios"][at]}
        found, exact, more = (_exact if point["rule"] == EXACT else _by_rule)(point, work)
        # Rounded, so that what is equal but for rounding is no difference.
        cosines = [round(beside_exact.cosine(found[group], exact[group]), 12) for group in groups]
        ratios = [float(found[group].norm() / exact[group].norm()) for group in groups]
        return {
            "cosine": cosines[0], "ratio": ratios[0], "cosines": cosines, "ratios": ratios, **more,
        }  # fmt: skip

    def control(self, point: Point) -> Point | None:
        """Return back-propagation with the surrogate, of the same setting."""
        if point["rule"] in (EXACT, SURROGATE):
            return None
        dt, stepping = point["dt"] or DT, point["stepping"] or "analytical"
        return {
            **point, "rule": SURROGATE, "dt": dt, "stepping": stepping, "width": None,
            "kernel": None,
        }  # fmt: skip

    def needs(self, point: Point) -> Point | None:
        """Return the first group, of which others are part; the network; before it is trained."""
        first = _groups(point)[0]
        if point["group"] != first:
            return {**point, "group": first}
        if point["rule"] != EXACT:
            return _point(point["steps"], point["strength"], EXACT)
        return None if point["steps"] == 0 else {**point, "steps": 0}

    def published(self, point: Point) -> str | None:
        """Return what the paper says of one-sided ones."""
        return "did not support effective learning" if point["kernel"] == ONE_SIDED else None

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw cosines against the loop, the width, the step; and lengths."""
        rules_drawn.draw(figure, table)

    def verdict(self, table: Table) -> list[str]:
        """Count where which rule is nearer, and say what width, step, side and feedback change."""
        return rules_told.told(table)


def _point(steps: int, strength: float, rule: str, group: str = "weights", **others: Any) -> Point:
    """Return a point; what is left out is as usual for its rule."""
    grid = rule in (GAUSSIAN, SURROGATE)
    usual = {
        "feedback": None if rule == EXACT else OWN,
        "dt": DT if grid else None, "stepping": "analytical" if grid else None,
        "width": WIDTH if rule == GAUSSIAN else None,
        "kernel": "two-sided" if rule == GAUSSIAN else None,
    }  # fmt: skip
    fixed = {"steps": steps, "strength": strength, "rule": rule}
    return {**fixed, **usual, **others, "group": group}


def _groups(point: Point) -> list[str]:
    """Return the groups of a setting that there are rows for."""
    there = [g for g in GROUPS if point["strength"] or not g.startswith("loop")]
    if point["feedback"] == RANDOM:
        there.remove("readout")  # it gets no errors through the feedback
    if point["rule"] == GAUSSIAN and (point["width"] != WIDTH or point["kernel"] in CAUSAL):
        return [g for g in there if g.endswith("delays")]  # weights have no bump
    return there


def _every_group(point: Point) -> list[Point]:
    return [{**point, "group": group} for group in _groups(point)]


def _beside_strength(steps: int, strength: float) -> list[Point]:
    """Return all rules, and both ways of feedback, of one loop."""
    several = [_point(steps, strength, EXACT)]
    for rule in (SURROGATE, GAUSSIAN, LOCAL):
        several += [_point(steps, strength, rule, feedback=f) for f in (OWN, RANDOM)]
    several += [_point(steps, strength, GAUSSIAN, kernel=kernel) for kernel in CAUSAL]
    return [one for point in several for one in _every_group(point)]


def _beside_settings(steps: int, strength: float, quick: bool) -> list[Point]:
    """Return other widths, and other steps, of one loop."""
    widths = [w for w in WIDTHS if w != WIDTH and (not quick or w > WIDTH)]
    several = [_point(steps, strength, GAUSSIAN, width=w) for w in widths]
    for rule in (SURROGATE, GAUSSIAN):
        for dt in (DT, 4e-3) if quick else STEPS:
            for stepping in ("analytical", "euler"):
                if (dt, stepping) != (DT, "analytical"):
                    several.append(_point(steps, strength, rule, dt=dt, stepping=stepping))
    return [one for point in several for one in _every_group(point)]


def _exact(point: Point, work: Work) -> tuple[Any, Any, Measured]:
    """Make a network and its exact gradient; return that of another batch beside it."""
    data = _Recordings(work)
    if work.needed is None:
        torch.manual_seed(work.seed)  # the same first weights for all loops
        model = beside_exact.network(data.sizes, point["strength"], data.batch)
        readout: Any = model.readout
        weight = readout.weight.detach()
        feedback = torch.randn_like(weight) * weight.std()
    else:
        model, feedback, _ = _network(work)
        model = beside_exact.trained(model, data.training(_TRAINED))
    exact = beside_exact.exact(model, data.batch)
    work.folder.mkdir(parents=True, exist_ok=True)
    state = {"model": model.state_dict(), "feedback": feedback, "exact": exact}
    torch.save(state, work.folder / _FILE)
    with torch.no_grad():
        decided = model(data.tested).argmax(1).numpy()
        rate = model[0](data.batch).numpy().counts().mean() / data.duration
    more = {"right": int((decided == data.tested.labels).sum()), "n": len(decided)}
    return (
        beside_exact.exact(model, data.other), exact,
        {**more, "rate": float(rate), "lengths": [float(g.norm()) for g in exact.values()]},
    )  # fmt: skip


def _by_rule(point: Point, work: Work) -> tuple[Any, Any, Measured]:
    """Return the gradient by a rule, the exact one, and decisions on the grid."""
    data, rule, dt = _Recordings(work), point["rule"], point["dt"]
    model, random, exact = _network(work)
    feedback = random if point["feedback"] == RANDOM else None
    if rule == LOCAL:
        return beside_exact.local(model, data.batch, feedback), exact, {}
    euler = point["stepping"] == "euler"
    twin, more = beside_exact.on_grid(model, dt, euler), {}
    if rule == GAUSSIAN:
        causal = CAUSAL.get(point["kernel"], False)
        found = beside_exact.gaussian(twin, data.batch, feedback, point["width"], causal)
    else:
        found = beside_exact.surrogate(twin, data.batch, feedback)
        if feedback is None:
            more = _decisions(model, twin, data.tested)
    return (beside_exact.by_own_weights(found, model, dt) if euler else found), exact, more


@torch.no_grad()
def _decisions(model: nn.Sequential, twin: nn.Sequential, tested: Spikes) -> Measured:
    """Return decisions of a twin beside those of its network."""
    own = twin(beside_exact.raster(twin, tested)).argmax(1).numpy()
    others = model(tested).argmax(1).numpy()
    right, right_by_events = (int((d == tested.labels).sum()) for d in (own, others))
    return {
        "right": right, "n": len(own), "agreeing": float((own == others).mean()),
        "right_change": (right - right_by_events) / len(own),
    }  # fmt: skip


def _network(work: Work) -> tuple[nn.Sequential, torch.Tensor, beside_exact.Gradients]:
    """Return the network that a point needs, its random feedback, its exact gradient."""
    assert work.needed is not None
    state = torch.load(work.needed.folder / _FILE)
    weight, out = state["model"]["hidden.weight"], state["model"]["readout.weight"]
    sizes = weight.shape[1], weight.shape[0], out.shape[0]
    model = beside_exact.unfitted(sizes, work.point["strength"])
    model.load_state_dict(state["model"])
    return model, state["feedback"], state["exact"]


class _Recordings:
    """What a seed has its gradients of, is trained on, and tested on."""

    def __init__(self, work: Work) -> None:
        parts, units = work.parts(), 32 if work.quick else _UNITS
        self.data, self.size = parts.train, 16 if work.quick else _BATCH
        self.sizes = self.data.size, units, len(self.data.class_names)
        self.order = np.random.default_rng(work.seed).permutation(len(self.data))
        first, second = (self._drawn(k) for k in range(2))
        times = np.concatenate([first.times, second.times])
        self.duration = float(np.quantile(times, _SHARE)) + _AFTER
        self.batch, self.other = (b.before(self.duration) for b in (first, second))
        tested = parts.test.spikes()
        self.tested = tested[: 32 if work.quick else _TESTED].before(self.duration)

    def training(self, n: int) -> list[Spikes]:
        """Return batches of others."""
        return [self._drawn(2 + k).before(self.duration) for k in range(n)]

    def _drawn(self, k: int) -> Spikes:
        at = np.arange(k * self.size, (k + 1) * self.size)
        batch: Spikes = self.data[self.order[at % len(self.order)]].spikes()
        return batch


STUDY = Rules()
