"""Does autograd through the differentiable reference give the gradients of the event layers?"""

import numpy as np
import pytest
import torch
from small_networks import limited

import evsim
from evsim import gradients as g
from evsim.gradients.reference import (
    compare_gradients,
    fitted_orders,
    reference_layers,
    reference_run,
)

F64 = torch.float64
DURATION = 0.04
CELLS = {"tau_mem": 0.02, "tau_syn": 0.005, "dtype": F64}
LIF_NAMES = ("tau_mem", "tau_syn", "threshold", "reset", "refractory", "v_leak")


def recordings(seed, counts=(8, 0, 9)):
    rng = np.random.default_rng(seed)
    n = sum(counts)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    times, units = rng.uniform(0, 0.025, n), rng.integers(0, 3, n)
    return evsim.Spikes(times, units, offsets, size=3, duration=DURATION)


def spike_loss(fired):
    return (torch.sin(200 * fired.times) * (1 + fired.units)).sum()


def value_loss(values):
    return torch.sin(3 * values + torch.arange(values.shape[-1])).sum()


def check(model, loss, seed=1, dt=2e-4, limit=1e-5):
    (found,) = compare_gradients(model, recordings(seed), loss, [dt])
    names = {name for name, _ in model.named_parameters()} | {"input times"}
    assert set(found.gradient_errors) == names
    assert (found.missing, found.extra) == (0, 0)
    assert found.time_error < 1e-10
    for name, error in found.gradient_errors.items():
        assert error < limit, name
    return found


FORMS = {
    "plain": {},
    "axonal": {"delay": "axonal"},
    "synaptic": {"delay": "synaptic"},
    "fixed loop": {"recurrent": "dense", "recurrent_delay": 0.002},
    "axonal loop": {"recurrent": "dense", "recurrent_delay": "axonal"},
    "synaptic loop": {"recurrent": "dense", "recurrent_delay": "synaptic", "delay": "axonal"},
    "conv loop": {"recurrent": "conv", "recurrent_delay": 0.002, "delay": "synaptic"},
}


def spiking(model, form, seed=0, **cells):
    torch.manual_seed(seed)
    layer = getattr(g, model)(3, 4, **cells, **limited(FORMS[form], 0.01), dtype=F64)
    with torch.no_grad():
        layer.weight *= 1.5
        if "loop" in form and layer.recurrent_delay_kind is not None:
            layer.recurrent_delay.clamp_(min=1.5e-3)
    return layer


@pytest.mark.parametrize("form", FORMS)
def test_cuba_lif(form):
    layer = spiking("CubaLIF", form, tau_mem=0.02, tau_syn=0.005)
    assert check(layer, spike_loss).n_spikes > 5


@pytest.mark.parametrize("form", ["axonal", "synaptic loop"])
def test_srm(form):
    layer = spiking("SRM", form, tau_syn=0.006, tau_r=0.01, learn=("tau_syn", "tau_r", "threshold"))
    assert check(layer, spike_loss).n_spikes > 5


@pytest.mark.parametrize("refractory", [1e-4, 3e-3])  # shorter and longer than a step
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "own"])
def test_cells(shared, refractory):
    cells = [0.02, 0.006, 1.0, -0.1, refractory, 0.05]
    cells = dict(zip(LIF_NAMES, cells, strict=True))
    if not shared:
        cells = {k: torch.full((4,), v, dtype=F64) for k, v in cells.items()}
    layer = spiking("CubaLIF", "axonal loop", **cells, learn=LIF_NAMES)
    assert check(layer, spike_loss).n_spikes > 5


@pytest.mark.parametrize("tau_syn", [0.02, 0.020001, 0.03])
def test_slow_synapses(tau_syn):
    learn = ("tau_mem", "tau_syn")
    layer = spiking("CubaLIF", "axonal", tau_mem=0.02, tau_syn=tau_syn, learn=learn)
    assert check(layer, spike_loss).n_spikes > 5


READOUTS = {
    "max": {"output": "max"},
    "last": {"output": "last"},
    "integral": {"output": "integral"},
    "weighted integral": {"output": "integral", "tau_output": 0.05},
    "at": {"at": [0.03, 0.02, DURATION, 0.0]},
}


@pytest.mark.parametrize("options", READOUTS.values(), ids=READOUTS)
@pytest.mark.parametrize("model", ["CubaLI", "LI"])
def test_readouts(model, options):
    torch.manual_seed(2)
    cells = {"tau_mem": 0.02, "tau_syn": 0.005, "v_leak": 0.1}
    if model == "LI":
        del cells["tau_syn"]
    layer = getattr(g, model)(
        3, 2, **cells, **options, learn=tuple(cells), delay="synaptic", max_delay=0.01, dtype=F64
    )
    found = check(layer, value_loss, dt=2.5e-4, limit=1e-5)
    assert found.output_error < 1e-8
    output = reference_run(layer, recordings(1), 1e-3)
    assert output.shape == ((3, 4, 2) if "at" in options else (3, 2))


def stack():
    torch.manual_seed(6)
    model = torch.nn.Sequential(
        g.CubaLIF(3, 4, **CELLS, delay="synaptic", max_delay=0.01, learn=("tau_mem",)),
        g.Delay(4, max_delay=0.01, dtype=F64),
        g.SRM(4, 3, 0.008, recurrent="dense", recurrent_delay=0.002, dtype=F64),
        g.CubaLI(3, 2, **CELLS, delay="axonal", learn=("tau_syn",)),
    )
    with torch.no_grad():
        model[0].weight *= 1.5
        model[2].weight *= 1.5
    return model


def test_a_stack():
    assert check(stack(), value_loss).n_spikes > 20
    outputs = reference_layers(stack(), recordings(1), 1e-3)
    assert [getattr(out, "size", None) for out in outputs[:3]] == [4, 4, 3]


def test_order_of_convergence():
    layer = spiking("CubaLIF", "axonal", tau_mem=0.02, tau_syn=0.005, learn=LIF_NAMES[:4])
    early = evsim.Spikes([0.0, 0.001, 0.002], [0, 1, 2], size=3, duration=DURATION)
    with torch.no_grad():  # nothing arrives when units fire, so that dt alone is what counts
        layer.weight.copy_(torch.linspace(4, 5, 4, dtype=F64)[:, None])
        layer.delay.fill_(1e-4)
    found = compare_gradients(layer, early, spike_loss, [1e-3, 1e-4])
    orders = fitted_orders(found)
    assert found[0].time_error > 1e-14 > found[1].time_error
    del orders["spike times"]  # down to rounding at once
    assert np.isnan(orders.pop("output"))
    assert min(orders.values()) > 5


def test_a_gradient_that_is_not_exact_is_found():
    layer = spiking("CubaLIF", "plain", tau_mem=0.02, tau_syn=0.005)
    layer.bound = 1e-3
    (found,) = compare_gradients(layer, recordings(1), spike_loss, [5e-4])
    assert found.time_error < 1e-6
    assert found.gradient_errors["weight"] > 0.1


def test_float32_parameters_get_their_grad():
    layer = spiking("CubaLIF", "axonal", tau_mem=0.02, tau_syn=0.005).float()
    spike_loss(layer(recordings(1))).backward()
    exact, layer.delay.grad = layer.delay.grad, None
    spike_loss(reference_run(layer, recordings(1), 2e-4)).backward()
    torch.testing.assert_close(layer.delay.grad, exact, rtol=1e-3, atol=1e-3 * exact.abs().max())


def burst(inhibition):
    """A unit that fires many times within a millisecond; may be stopped before it ends."""
    layer = g.CubaLIF(2, 1, **CELLS)
    with torch.no_grad():
        layer.weight[:] = torch.tensor([400.0, -inhibition])
    return layer, evsim.Spikes([0.0102, 0.0107], [0, 1], size=2, duration=DURATION)


def test_lost_spikes_are_counted():
    (found,) = compare_gradients(*burst(2000.0), lambda fired: fired.times.sum(), [1e-3])
    assert found.n_spikes > 2
    assert (found.missing, found.extra) == (found.n_spikes - 1, 0)
    assert np.isnan(fitted_orders([found, found])["weight"])


def test_two_spikes_in_a_step_are_refused():
    with pytest.raises(ValueError, match="fires twice between 0.01 and 0.011 s"):
        reference_run(*burst(0.0), 1e-3)
    layer = g.SRM(2, 1, 0.005, dtype=F64)
    with torch.no_grad():
        layer.weight[:] = torch.tensor([1.5, 50.0])
    spikes = evsim.Spikes([0.0102, 0.0147], [0, 1], size=2, duration=DURATION)
    with pytest.raises(ValueError, match="fires twice between 0.01 and 0.015 s"):
        reference_run(layer, spikes, 5e-3)
    assert len(reference_run(layer, spikes, 1e-3).times) == len(layer(spikes).times)


def test_silence():
    fired = reference_run(g.CubaLIF(3, 2, **CELLS), recordings(1, (0, 0)), 1e-3)
    assert len(fired.times) == 0 and fired.offsets.tolist() == [0, 0, 0] and fired.size == 2


@pytest.mark.parametrize("dt", [0.0, -1e-3, float("nan"), float("inf")])
def test_bad_steps(dt):
    with pytest.raises(ValueError, match="dt = "):
        reference_run(g.CubaLIF(3, 2, **CELLS), recordings(1), dt)


def test_what_can_not_be_run():
    loop = g.CubaLIF(3, 2, **CELLS, recurrent="dense", recurrent_delay=1e-3)
    with pytest.raises(ValueError, match="longer than the shortest recurrent delay, 0.001 s"):
        reference_run(loop, recordings(1), 2e-3)
    with pytest.raises(ValueError, match="not Linear"):
        reference_run(torch.nn.Sequential(loop, torch.nn.Linear(2, 2)), recordings(1), 1e-3)
    with pytest.raises(ValueError, match="come from 3 units, but the layer has 2 inputs"):
        reference_run(g.CubaLIF(2, 2, **CELLS), recordings(1), 1e-3)
