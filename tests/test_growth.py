"""How errors flow back through late loops: on the grid as predicted, and as a study tells it."""

import numpy as np
import pytest
import torch
from small_files import two_classes

from evsim import Spikes
from evsim.commands.study import run_study_on
from evsim.gradients import dense
from evsim.gradients.methods.delrec import growth
from evsim.gradients.studies import backflow, find
from evsim.gradients.studies.papers import growth as study
from evsim.gradients.studies.tables import Table, table_of

DT = 1e-3


def errors_back(weight, delay, slope):
    """Return dL/draster [step, unit], from the end, of a loss on the last voltage of unit 0.

    Spikes of all voltages have the same derivative, so that S3 holds with equality.
    """
    n, n_steps = len(weight), 300 * delay  # a few hundred times around the loop
    layer = dense.LIF(
        n, n, tau_mem=2 * DT, recurrent="dense", recurrent_delay=delay * DT, dt=DT,
        reset_mode="soft", refire=True, detach_reset=False, dtype=torch.float64,
        surrogate=lambda v: torch.full_like(v, slope),
    )  # fmt: skip
    with torch.no_grad():
        layer.weight.copy_(torch.eye(n))
        layer.recurrent_weight.copy_(weight)
    raster = torch.zeros(1, n_steps, n, dtype=torch.float64, requires_grad=True)
    layer.voltage(raster)[0, -1, 0].backward()
    return raster.grad[0].flip(0).numpy()


@pytest.mark.parametrize("delay", [1, 2, 4])
@pytest.mark.parametrize(("weight", "slope"), [(0.4, 0.5), (3.0, 0.5), (1.2, 0.1)])
def test_an_error_of_a_single_unit_grows_as_delrec_says(weight, slope, delay):
    kept, back = np.exp(-0.5) * (1 - slope), weight * slope
    error = errors_back(torch.tensor([[weight]], dtype=torch.float64), delay, slope)[:, 0]
    ratios = error[-20:] / error[-21:-1]
    np.testing.assert_allclose(ratios, growth(kept, back, delay - 1), rtol=1e-12)


@pytest.mark.parametrize("delay", [1, 5])
def test_of_a_matrix_it_is_the_spectral_norm_that_counts(delay):
    order = torch.tensor([[0, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=torch.float64)
    error = errors_back(2.0 * order, delay, 0.4).sum(1)
    predicted = growth(np.exp(-0.5) * 0.6, 2.0 * 0.4, delay - 1)
    np.testing.assert_allclose(error[-1] / error[-2], predicted, rtol=1e-12)


def test_growth_is_a_slope_of_logarithms():
    back = np.arange(backflow.N_STEPS)[::-1]
    errors = np.stack([0.9**back, 7.0 * 1.1**back, np.zeros(len(back))])
    errors[:, ::3] = 0.0  # steps without an error
    np.testing.assert_allclose(backflow.growth_of(errors), [0.9, 1.1], rtol=1e-12)


def made(gradient, strength=2.0, delays=None, n=16):
    late = torch.full((n,), 5.0, dtype=torch.float64) if delays is None else delays
    return backflow.network(gradient, strength, late, (4, n, 2), DT, seed=3)


def a_batch(n=3, n_spikes=300):
    rng = np.random.default_rng(0)
    end = backflow.N_STEPS * DT
    parts = [(end * rng.random(n_spikes), rng.integers(0, 4, n_spikes)) for _ in range(n)]
    return Spikes.from_recordings(parts, 4, end, labels=np.arange(n) % 2)


def test_networks_have_the_same_weights_and_delays():
    late = study.delays({"delay": 10, "delays": "shuffled"}, 16)
    assert late.mean() == 10 and late.min() == 1 and late.max() == 19
    layers = [made(gradient, delays=late)[0] for gradient in backflow.GRADIENTS]
    for layer, unit in zip(layers, (1, 2, 2), strict=True):  # an arrival's voltage: tau, tau_syn
        norms = torch.linalg.svdvals(layer.recurrent_weight.detach() / unit)
        np.testing.assert_allclose(norms, 2.0, rtol=1e-12)
        assert torch.equal(layer.weight / unit, layers[0].weight)
        steps = layer.recurrent_delay / DT
        assert sorted(steps.round().tolist()) == late.tolist() != steps.round().tolist()
    lif, cuba = layers[:2]
    assert (lif.reset_mode, lif.refire, cuba.reset_mode) == ("soft", True, "hard")
    assert not lif.detach_reset and not cuba.detach_reset


@pytest.mark.parametrize("gradient", backflow.GRADIENTS)
def test_what_flows_back_is_the_gradient_of_each_recording(gradient):
    batch, model = a_batch(), made(gradient)
    flow = backflow.back(model, batch)
    assert flow.error.shape == (3, backflow.N_STEPS) and flow.norm > 0
    for k in range(3):
        alone = backflow.back(model, batch[k : k + 1])
        np.testing.assert_allclose(alone.error[0], flow.error[k], rtol=1e-9, atol=1e-15)


def test_exact_errors_are_those_of_spike_times():
    batch, model = a_batch(n=1), made(backflow.EXACT)
    error = backflow.back(model, batch).error[0]
    step = 100
    inside = np.flatnonzero((batch.times >= step * DT) & (batch.times < (step + 1) * DT))
    slopes = []
    for k in inside:
        losses = []
        for sign in (1, -1):
            times = batch.times.copy()
            times[k] += sign * 1e-9
            moved = batch.replace(times, batch.units, batch.offsets)
            values, _ = backflow.outputs(model, moved)
            losses.append(torch.nn.functional.cross_entropy(values, torch.tensor([0])).item())
        slopes.append((losses[0] - losses[1]) / 2e-9)
    assert error[step] == pytest.approx(np.sqrt(np.mean(np.square(slopes))), rel=1e-5)


@pytest.mark.parametrize(("weight", "at_once", "left"), [(0.25, 0.25, 0.25), (1.2, 0.8, 0.2)])
def test_mean_squares_are_those_of_the_steps(weight, at_once, left):
    model = made(backflow.GRID, strength=0.0)
    with torch.no_grad():
        model[0].weight.fill_(weight)
    one = Spikes([0.0], [0], size=4, duration=backflow.N_STEPS * DT, labels=[0])
    kept, sent = backflow.mean_squares(model, [one])
    slope = left * np.exp(-0.5 * np.arange(backflow.N_STEPS))  # of a triangle: the voltage
    slope[0] = at_once  # before a spike subtracts 1
    assert sent == pytest.approx(np.mean(slope**2))
    assert kept == pytest.approx(np.exp(-1) * np.mean((1 - slope) ** 2))


# --- the study


def table_with(growths):
    """Return a table of growths with one step and with 20, by strength, for all gradients."""
    rows = []
    for gradient in backflow.GRADIENTS:
        for strength, pair in growths.items():
            for delay, of in zip((1, 20), pair, strict=True):
                row = study._point("first", gradient, strength, delay, "equal")
                row |= {"growth_of_seeds": of, "growth": sum(of) / len(of), "seeds": len(of)}
                row |= {"growth_of_squares": 1.0, "log10_norm": 1.0, "log10_change": -2.0}
                row["log10_change_deviation"] = 0.1 if len(of) > 1 else None
                rows.append({**row, "expected": row["growth"] + 0.01, "bound": 2.0})
    return Table(rows)


LESS, MORE = ([1.5, 1.52, 1.49], [1.1, 1.11, 1.1]), ([0.6, 0.62, 0.61], [0.9, 0.9, 0.91])


def test_growth_that_falls_wherever_it_should_is_as_published():
    said = find("growth").verdict(table_with({0.2: MORE, 4: LESS, 8: LESS}))
    assert said[0].startswith("grid, strength 0.2 (a + b = 0.81): 0.610 with one step, 0.903 with")
    assert "orders -2.0 (-2.2 to -1.8)" in said[0]  # t(0.975, 2) / sqrt(3) = 2.48414
    assert "rises, +0.293 (" in said[0] and "falls, -0.400 (" in said[1]
    assert said[-3].startswith("grid: mean squares give growth to 0.010 (median; 0.010 at most)")
    assert said[-2] == (
        "of 6 networks whose errors grow with one step growth falls in 6; of 3 others it rises in 3"
    )
    assert said[-1].startswith("as published")


def test_growth_that_rises_beyond_the_bound_is_told():
    said = find("growth").verdict(table_with({0.2: MORE, 1: MORE, 8: LESS}))
    assert said[-1].startswith("differs: because") and said[-1].endswith(
        "rises at strength 1, falls at strength 8"
    )
    one_seed = {8: ([1.5], [1.1])}
    said = find("growth").verdict(table_with(one_seed))
    assert said[-1] == "differs: because one seed has no interval"


class SomeGrowth(study.Growth):
    def points(self, quick):
        late = [study._point("first", g, 8, n, "equal") for g in ("grid", "exact") for n in (1, 20)]
        return [
            *late,
            study._point("first", "grid", 8, 20, "shuffled"),
            *(study._point(how, "grid", 8, 1, "equal") for how in ("trained", "clipped")),
        ]


def test_growth_of_a_small_file(tmp_path):
    data = two_classes(tmp_path, n=40)
    out = tmp_path / "out"
    run_study_on(SomeGrowth(), str(data), str(out), quick=True, quiet=True, jobs=1)
    table = table_of((out / "table.csv").read_text())
    for row in table.where(weights="first", gradient="grid", delays="equal"):
        assert (
            row["growth"] < row["bound"] == pytest.approx(growth(np.exp(-0.5), 8, row["delay"] - 1))
        )
    for gradient in ("grid", "exact"):
        one, late = table.where(weights="first", gradient=gradient, delays="equal")
        assert late["log10_norm"] < one["log10_norm"] and late["control_growth"] == one["growth"]
        assert late["log10_change"] == pytest.approx(late["log10_norm"] - one["log10_norm"])
    trained, clipped = (table.row(weights=how) for how in ("trained", "clipped"))
    assert trained["n"] == 8 and 0 <= trained["beyond_clipping"] <= 1
    assert trained["growth"] != clipped["growth"]
    assert clipped["right_change"] == (clipped["right"] - trained["right"]) / 8
    assert "differs: because" in (out / "report.txt").read_text()
