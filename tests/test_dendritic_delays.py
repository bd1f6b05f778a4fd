"""Dendritic delays, one per post unit, are synaptic ones whose rows are equal."""

import numpy as np
import pytest
import torch
from torch import nn

import evsim
from evsim import Network, Spikes
from evsim import gradients as g
from evsim.gradients import dense
from evsim.gradients.constructors import arguments_for
from evsim.gradients.synapses import LEAST_LOOP
from evsim.gradients.training.start import delay_model

N_IN, N, DT = 5, 4, 1e-3
F64 = torch.float64
CELLS = {"tau_mem": 20e-3, "tau_syn": 5e-3, "dtype": F64}
MASK = torch.rand(N, N_IN, generator=torch.Generator().manual_seed(1)) < 0.6


def recordings():
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0, 0.08, (2, 40)))
    units = rng.integers(0, N_IN, 80)
    return Spikes(times.ravel(), units, [0, 40, 80], N_IN, 0.1)


def pair(make, name="delay", **options):
    """Return a layer with dendritic delays, and its twin with synaptic ones."""
    torch.manual_seed(2)
    layers = [make(N_IN, N, **options, **{name: kind}) for kind in ("dendritic", "synaptic")]
    values = layers[0].state_dict()
    assert values[name].shape == (N,)
    rows = values[name][:, None].expand_as(layers[1].state_dict()[name])
    layers[1].load_state_dict(values | {name: rows})
    return layers


def assert_twins(layers, values, name="delay"):
    """Compare the gradients of the same values by both layers."""
    assert torch.equal(*values)
    weights = torch.linspace(-1, 2, values[0].numel(), dtype=F64).view_as(values[0])
    for value in values:
        (value * weights).sum().backward()
    late, twin = layers
    own, full = getattr(late, name).grad, getattr(twin, name).grad
    assert own.abs().min() > 0
    torch.testing.assert_close(own, full.sum(dim=1), rtol=1e-12, atol=0)
    torch.testing.assert_close(late.weight.grad, twin.weight.grad, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("delay", {}),
        ("delay", {"mask": MASK, "recurrent": "dense", "recurrent_delay": "axonal"}),
        ("recurrent_delay", {"recurrent": "dense", "delay": "axonal"}),
    ],
)
def test_spikes_and_gradients_are_those_of_the_synaptic_twin(name, options):
    layers = pair(g.CubaLIF, name, **CELLS, **options)
    with torch.no_grad():
        for layer in layers:
            layer.weight += 0.8
    fired = [layer(recordings()) for layer in layers]
    assert len(fired[0].times) > 20 and torch.equal(fired[0].units, fired[1].units)
    assert_twins(layers, [spikes.times for spikes in fired], name)


def test_silent_units_and_readouts_have_the_twins_gradients():
    layers = pair(g.SRM, tau_syn=5e-3, threshold=30.0, dtype=F64, recurrent="dense")
    peaks = [layer.peak_voltage(recordings(), layer(recordings())) for layer in layers]
    assert peaks[0].max() < 0
    assert_twins(layers, peaks)
    layers = pair(g.CubaLI, **CELLS)
    assert_twins(layers, [layer(recordings()) for layer in layers])


def test_a_conv_loop_with_dendritic_delays_is_a_banded_dense_one():
    torch.manual_seed(3)
    conv, full = (
        g.CubaLIF(N_IN, N, **CELLS, recurrent=kind, recurrent_delay="dendritic")
        for kind in ("conv", "dense")
    )
    values = conv.state_dict() | {"recurrent_weight": conv.tensors()["recurrent_weight"].detach()}
    full.load_state_dict(values)
    assert torch.equal(conv(recordings()).times, full(recordings()).times)


@pytest.mark.parametrize("delays", ["round", "interpolate"])
@pytest.mark.parametrize("name", ["delay", "recurrent_delay"])
def test_on_a_grid_they_are_those_of_the_synaptic_twin(name, delays):
    loop = {"recurrent": "dense"} if name == "recurrent_delay" else {}
    layers = pair(dense.CubaLIF, name, **CELLS, **loop, dt=DT, delays=delays)
    with torch.no_grad():
        for layer in layers:
            layer.weight += 0.8
    raster = dense.to_raster(recordings(), DT)
    fired, voltage = zip(*(layer.run(raster) for layer in layers), strict=True)
    assert torch.equal(*fired) and fired[0].sum() > 20
    torch.testing.assert_close(*voltage, rtol=0, atol=1e-12)
    with torch.no_grad():
        assert torch.equal(layers[0](raster), fired[0])  # the loop without gradients
    if delays == "interpolate":
        for value in voltage:
            value.square().sum().backward()
        own, full = (getattr(layer, name).grad for layer in layers)
        torch.testing.assert_close(own, full.sum(dim=1), rtol=1e-9, atol=1e-9)


def test_cut_to_steps_they_shift_what_arrives_at_a_unit():
    torch.manual_seed(0)
    options = {"tau_mem": 20e-3, "dt": DT, "delays": "floor", "dtype": F64, "max_delay": 9e-3}
    late = dense.LI(N_IN, 1, delay="dendritic", output="last", **options)
    after = dense.LI(1, 1, delay="axonal", output="last", **options)
    with torch.no_grad():
        after.weight.fill_(1.0)
        after.delay.copy_(late.delay)
    raster = dense.to_raster(recordings(), DT, dtype=F64)
    values = late(raster), after(raster @ late.weight.detach().T)
    torch.testing.assert_close(*values)
    for value in values:
        value.square().sum().backward()
    assert late.delay.grad.abs().min() > 0
    torch.testing.assert_close(late.delay.grad, after.delay.grad)


def test_a_network_has_the_synaptic_delays_that_they_stand_for():
    torch.manual_seed(1)
    model = nn.Sequential(
        g.Delay(N_IN, 0.02, F64),
        g.CubaLIF(N_IN, N, **CELLS, delay="dendritic", max_delay=0.02),
        g.CubaLI(N, 2, **CELLS, delay="dendritic", mask=MASK[:2, :N]),
    )
    net = Network.from_torch(model)
    into, out = net.projections.values()
    assert np.array_equal(into.synaptic, model[1].delay.detach()[:, None].repeat(1, N_IN))
    assert np.array_equal(into.axonal(N_IN), model[0].delay.detach())
    assert out.kind == "sparse" and np.array_equal(out.delay, model[2].delay.detach()[out.indices])
    found = evsim.simulate(net, recordings()).output["readout"]
    np.testing.assert_allclose(found, model(recordings()).detach(), rtol=0, atol=1e-12)
    again = net.to_torch()
    assert [layer.delay_kind for layer in again if hasattr(layer, "weight")] == ["synaptic"] * 2


def test_what_a_layer_says_of_them():
    layer = g.CubaLIF(N_IN, N, 20e-3, 5e-3, delay="dendritic", recurrent="conv",
                      recurrent_delay="dendritic", recurrent_max_delay=0.03)  # fmt: skip
    assert "delay='dendritic'" in repr(layer) and "recurrent_delay='dendritic'" in repr(layer)
    again = g.CubaLIF(**arguments_for(layer))
    again.load_state_dict(layer.state_dict())
    assert layer.delay_limits() == {"delay": (0.0, 0.06), "recurrent_delay": (LEAST_LOOP, 0.03)}
    assert again.recurrent_delay.shape == (N,)
    twin = dense.from_events(layer, DT, delays="interpolate")
    assert torch.equal(twin.delay, layer.delay) and twin.delay_kind == "dendritic"
    with torch.device("meta"):
        meta = g.CubaLIF(N_IN, N, 20e-3, 5e-3, delay="dendritic")
    assert meta.tensors()["delay"].shape == (N, N_IN)
    with pytest.raises(ValueError, match="must be None, 'axonal', 'dendritic' or 'synaptic'"):
        g.CubaLIF(N_IN, N, 20e-3, 5e-3, delay="somatic")
    with pytest.raises(ValueError, match="must be a number, 'axonal', 'dendritic' or 'synaptic'"):
        g.CubaLIF(N_IN, N, 20e-3, 5e-3, recurrent="dense", recurrent_delay="somatic")


def test_the_model_of_a_training_has_them():
    model = delay_model(N_IN, (4, 3), 2, "dendritic", "dense", max_delay=0.02)
    assert [model[k].delay.shape for k in (0, 1)] == [(4,), (3,)]
    assert model[0].recurrent_delay.shape == (4,)
    assert model(recordings()).shape == (2, 2)
