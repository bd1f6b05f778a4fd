"""The study of rules: its gradients, Euler's steps, its counts, and its table of a small file."""

import numpy as np
import pytest
import torch
from small_files import two_classes
from torch.nn.functional import cross_entropy

from evsim import Spikes
from evsim.commands.study import run_study_on
from evsim.gradients.studies import beside_exact, rules_told
from evsim.gradients.studies.papers import rules as study
from evsim.gradients.studies.rules_told import EXACT, GAUSSIAN, LOCAL, RANDOM, SURROGATE
from evsim.gradients.studies.tables import Table, table_of

DT = 2e-3


def a_batch(n=4, n_spikes=60):
    rng = np.random.default_rng(0)
    parts = [(0.08 * rng.random(n_spikes), rng.integers(0, 5, n_spikes)) for _ in range(n)]
    return Spikes.from_recordings(parts, 5, 0.12, labels=np.arange(n) % 2)


def a_network(strength, n=6):
    torch.manual_seed(0)
    return beside_exact.network((5, n, 2), strength, a_batch())


def euler_voltages(model, raster, dt):
    """Step a readout by hand: what was arriving moves the voltage one step later."""
    layer = model.readout
    u = i = torch.zeros(len(raster), layer.out_features, dtype=torch.float64)
    found = []
    for now in raster.unbind(1):
        u, i = (
            u * (1 - dt / layer.tau_mem) + i * dt / layer.tau_mem,
            i * (1 - dt / layer.tau_syn) + now @ layer.weight.T,
        )
        found.append(u)
    return torch.stack(found, 1)


def euler_spikes(layer, arriving, dt):
    """Step a hidden layer without a loop by hand."""
    u = i = torch.zeros_like(arriving[:, 0])
    found = []
    for now in arriving.unbind(1):
        u, i = (
            u * (1 - dt / layer.tau_mem) + i * dt / layer.tau_mem,
            i * (1 - dt / layer.tau_syn) + now,
        )
        fired = (u >= layer.threshold).double()
        u = u * (1 - fired)
        found.append(fired)
    return torch.stack(found, 1)


def test_a_twin_takes_steps_of_euler():
    model = a_network(0)
    twin = beside_exact.on_grid(model, DT, euler=True)
    raster = beside_exact.raster(twin, a_batch())
    hidden = model.hidden
    with torch.no_grad():
        plain = beside_exact.on_grid(model, DT)
        found = plain.hidden.checked(raster)[1]
        fired = euler_spikes(hidden, plain.hidden.arrivals(raster, found), DT)
        assert torch.equal(twin.hidden(raster), fired) and fired.sum() > 20
        assert not torch.equal(plain.hidden(raster), fired)
        expected = euler_voltages(model, fired, DT)
        torch.testing.assert_close(twin.readout.voltage(fired), expected, rtol=1e-12, atol=1e-12)


def test_gradients_of_a_twin_are_by_the_weights_of_its_model():
    model = a_network(0)
    twin = beside_exact.on_grid(model, DT, euler=True)
    batch = a_batch()
    found = beside_exact.by_own_weights(beside_exact.surrogate(twin, batch, None), model, DT)
    losses = []
    for sign in (1, -1):
        with torch.no_grad():
            model.readout.weight[0, 1] += sign * 1e-6
            moved = beside_exact.on_grid(model, DT, euler=True)
            model.readout.weight[0, 1] -= sign * 1e-6
            values = moved(beside_exact.raster(moved, batch))
        losses.append(cross_entropy(values, beside_exact.labels_of(batch)).item())
    slope = (losses[0] - losses[1]) / 2e-6
    assert float(found["readout"][0, 1]) == pytest.approx(slope, rel=1e-6)
    factor = (twin.hidden.weight[0, 0] / model.hidden.weight[0, 0]).item()
    assert factor != 1 and beside_exact.euler_factor(model.hidden, DT) == pytest.approx(factor)


def test_steps_as_long_as_a_time_constant_are_refused():
    with pytest.raises(ValueError, match=r"dt = 0.006 s, but Euler's steps .* than 0.005 s"):
        beside_exact.on_grid(a_network(0), 6e-3, euler=True)


@pytest.mark.parametrize("strength", [0, 1])
def test_random_feedback_changes_errors_of_the_hidden_layer_only(strength):
    twin, batch = beside_exact.on_grid(a_network(strength), DT), a_batch()
    own = beside_exact.surrogate(twin, batch, None)
    same = beside_exact.surrogate(twin, batch, twin.readout.weight.detach().clone())
    less = beside_exact.surrogate(twin, batch, -0.5 * twin.readout.weight.detach())
    for group in own:
        factor = 1 if group == "readout" else -0.5
        torch.testing.assert_close(same[group], own[group], rtol=1e-9, atol=1e-14)
        torch.testing.assert_close(less[group], factor * own[group], rtol=1e-9, atol=1e-14)


def test_without_a_loop_the_rule_gives_weights_what_back_propagation_does():
    twin, batch = beside_exact.on_grid(a_network(0), DT), a_batch()
    one = beside_exact.gaussian(twin, batch, None, 2e-3, False)
    other = beside_exact.surrogate(twin, batch, None)
    torch.testing.assert_close(one["weights"], other["weights"], rtol=1e-9, atol=1e-14)
    assert 0 < beside_exact.cosine(one["delays"], other["delays"]) < 1 - 1e-6


def test_a_cosine_of_nothing_is_0():
    one = torch.tensor([3.0, 4.0])
    assert beside_exact.cosine(one, torch.tensor([4.0, 3.0])) == pytest.approx(24 / 25)
    assert beside_exact.cosine(one, torch.zeros(2)) == 0


# --- what is said


def pair(one, other):
    return tuple({"cosine_of_seeds": c, "cosine": float(np.mean(c))} for c in (one, other))


MORE = pair([0.9, 0.91, 0.92], [0.5, 0.5, 0.51])
LESS = MORE[::-1]
UNSURE = pair([0.9, 0.1, 0.6], [0.5, 0.5, 0.5])
SAME = pair([0.5, 0.6, 0.7], [0.5, 0.6, 0.7])


def test_cases_are_counted_and_told_with_intervals():
    found = rules_told.counts([MORE, MORE, LESS, UNSURE, SAME])
    assert found == rules_told.Counts(nearer=3, equal=1, better=2, worse=1)
    said = rules_told._counted([MORE, LESS, SAME])
    assert said.startswith("nearer in 1 of 3 cases, as near in 1; with an interval without 0")


@pytest.mark.parametrize(
    ("sides", "nearer", "begin"),
    [
        ([LESS, LESS, UNSURE], [MORE, UNSURE], "as published: a one-sided bump is seen to be f"),
        ([LESS, UNSURE, UNSURE], [MORE], "differs: because a one-sided bump"),
        ([LESS], [MORE, LESS, LESS], "differs: because"),
        ([pair([0.1], [0.2])], [MORE], "differs: because one seed"),
    ],
)
def test_it_is_as_published_if_two_sides_are_needed_and_nothing_is_lost(sides, nearer, begin):
    assert rules_told._conclusion(sides, nearer).startswith(begin)


def test_each_group_is_of_one_computation():
    points = study.Rules().points(quick=False)
    for point in points:
        needed, control = study.Rules().needs(point), study.Rules().control(point)
        assert needed is None or needed in points
        assert control is None or control in points
        assert (control is None) == (point["rule"] in (EXACT, SURROGATE))
    bumps = [p for p in points if p["width"] == 8e-3 or p["kernel"] in study.CAUSAL]
    assert {p["group"] for p in bumps} == {"delays", "loop delays"}
    assert not any(p["group"] == "readout" for p in points if p["feedback"] == RANDOM)


class SomeRules(study.Rules):
    def points(self, quick):
        found = [p for steps in (0, 3) for s in (0, 2) for p in study._beside_strength(steps, s)]
        return [*found, *study._beside_settings(0, 2, True)]


def test_rules_of_a_small_file(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "_TRAINED", 3)
    data, out = two_classes(tmp_path, n=60, n_spikes=60), tmp_path / "out"
    run_study_on(SomeRules(), str(data), str(out), quick=True, quiet=True, jobs=1)
    table: Table = table_of((out / "table.csv").read_text())
    for row in table.where(rule=LOCAL, strength=0, feedback="readout"):
        assert row["cosine"] == pytest.approx(1, abs=1e-10)
        assert row["ratio"] == pytest.approx(1, abs=1e-10)
    assert min(row["cosine"] for row in table.where(rule=LOCAL, strength=2)) < 1 - 1e-6
    for row in table.where(rule=GAUSSIAN, strength=0, group="weights", feedback="readout"):
        assert row["difference"] == 0 and row["cosine"] < 1
    untrained, trained = (
        table.row(rule=EXACT, steps=n, strength=2, group="weights") for n in (0, 3)
    )
    assert untrained["lengths"] != trained["lengths"] and untrained["rate"] > 0
    of_grid = table.row(**rules_told.usual(SURROGATE), steps=3, strength=0, group="weights")
    assert of_grid["right_change"] == (of_grid["right"] - table.row(
        rule=EXACT, steps=3, strength=0, group="weights")["right"]) / of_grid["n"]  # fmt: skip
    assert "differs: because one seed" in (out / "report.txt").read_text()
