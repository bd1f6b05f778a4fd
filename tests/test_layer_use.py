"""Layers in use: files, workers, types, masks, delays at their limits, odd batches, messages."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from torch.nn.utils import parametrize

import evsim
from evsim import _run
from evsim import gradients as g
from evsim.datasets import Coincidence, collate
from evsim.gradients import reverse

F64 = torch.float64
CELLS = {"tau_mem": 0.02, "tau_syn": 0.005}
LAYERS = {
    "CubaLIF": lambda **k: g.CubaLIF(
        3, 4, **CELLS, delay="synaptic", recurrent="dense", recurrent_delay="axonal",
        learn=("threshold", "tau_mem"), **k,
    ),
    "SRM": lambda **k: g.SRM(3, 4, 0.008, delay="axonal", recurrent="conv", **k),
    "CubaLI": lambda **k: g.CubaLI(3, 4, **CELLS, delay="axonal", learn="tau_syn", **k),
    "LI": lambda **k: g.LI(3, 4, 0.02, output="integral", tau_output=0.05, **k),
    "Delay": lambda **k: g.Delay(3, **k),
}  # fmt: skip


def recordings(seed=0, n=3, size=3, duration=0.1, each=8):
    rng = np.random.default_rng(seed)
    offsets = np.arange(n + 1) * each
    times, units = rng.uniform(0, 0.07, n * each), rng.integers(0, size, n * each)
    return evsim.Spikes(times, units, offsets, size=size, duration=duration)


def made(name, seed=0, **options):
    torch.manual_seed(seed)
    return LAYERS[name](**options)


def value(layer, spikes):
    """A loss that moves with everything."""
    output = layer(spikes)
    return output.sum() if torch.is_tensor(output) else (output.times**2).sum()


def gradients(layer, spikes):
    layer.zero_grad()
    value(layer, spikes).backward()
    return {name: p.grad.clone() for name, p in layer.named_parameters()}


def assert_same(found, expected):
    assert found.keys() == expected.keys() and found
    for name, gradient in expected.items():
        assert torch.equal(found[name], gradient), name


# --- copies ---


@pytest.mark.parametrize("name", LAYERS)
def test_copies_do_the_same(name):
    layer, spikes = made(name), recordings()
    expected = gradients(layer, spikes)
    assert_same(gradients(copy.deepcopy(layer), spikes), expected)
    assert_same(gradients(pickle.loads(pickle.dumps(layer)), spikes), expected)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    other = made(name, seed=1)
    other.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    assert_same(gradients(other, spikes), expected)


def test_training_with_workers():
    data = Coincidence(n=24, seed=0)
    loader = torch.utils.data.DataLoader(data, 8, num_workers=2, collate_fn=collate)
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        g.CubaLIF(data.size, 8, **CELLS, delay="axonal"),
        g.CubaLI(8, len(data.class_names), **CELLS),
    )
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for batch, plain in zip(loader, data.batches(8), strict=True):
        assert np.array_equal(batch.times, plain.times)
        output = model(batch.torch())
        assert torch.equal(output, model(plain))
        loss = torch.nn.functional.cross_entropy(output, batch.torch().labels)
        optimizer.zero_grad()
        loss.backward()
        assert model[0].delay.grad.abs().sum() > 0
        optimizer.step()


# --- types, threads, neighbours ---


@pytest.mark.parametrize("name", LAYERS)
def test_float32_parameters(name):
    layer, spikes = made(name), recordings()
    single = gradients(layer, spikes)
    # The same values in float64: only the gradients are rounded.
    double = gradients(copy.deepcopy(layer).double(), spikes)
    for parameter, gradient in single.items():
        assert (gradient.dtype, double[parameter].dtype) == (torch.float32, F64)
        assert torch.equal(gradient, double[parameter].float()), parameter


@pytest.mark.parametrize("name", LAYERS)
def test_threads_do_not_matter(name):
    layer, spikes = made(name, dtype=F64), recordings(n=300)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(gradients(layer, spikes))
    finally:
        torch.set_num_threads(before)
    assert_same(*found)


@pytest.mark.parametrize("name", LAYERS)
def test_order_of_the_spikes_does_not_matter(name):
    layer, spikes = made(name, dtype=F64), recordings().torch()
    mixed = torch.cat([torch.randperm(8) + start for start in (0, 8, 16)])
    found, times = [], []
    for order in (torch.arange(24), mixed):
        moved = spikes.times[order].requires_grad_()
        found.append(gradients(layer, spikes.replace(moved, spikes.units[order], spikes.offsets)))
        times.append(torch.empty(24, dtype=F64).index_copy(0, order, moved.grad))
    if name == "Delay":  # which adds them up in the order given
        torch.testing.assert_close(found[0]["delay"], found[1]["delay"], rtol=1e-13, atol=0)
    else:
        assert_same(*found)
    assert torch.equal(*times)


@pytest.mark.parametrize("name", ["CubaLIF", "SRM", "CubaLI", "LI"])
def test_neighbours_do_not_matter(name):
    layer, spikes = made(name, dtype=F64), recordings()
    whole = layer(spikes)
    for b in range(3):
        alone = layer(spikes[b])
        if torch.is_tensor(whole):
            assert torch.equal(alone, whole[b : b + 1])
        else:
            assert torch.equal(alone.times, whole[b].times)
            assert torch.equal(alone.units, whole[b].units)


class Poisoned:
    """numpy, but fresh arrays hold what must not be used."""

    def __getattr__(self, name):
        return getattr(np, name)

    @staticmethod
    def empty(shape, dtype=np.float64):
        return np.full(shape, np.nan if np.dtype(dtype).kind == "f" else 7_777_777, dtype)


@pytest.mark.parametrize("name", ["CubaLIF", "SRM", "CubaLI", "LI"])
def test_old_scratch_does_not_matter(name, monkeypatch):
    layer, spikes = made(name, dtype=F64), recordings()
    expected = gradients(layer, spikes), value(layer, spikes)
    for module in (_run, reverse):
        monkeypatch.setattr(module, "np", Poisoned())
    assert torch.equal(value(layer, spikes), expected[1])
    assert_same(gradients(layer, spikes), expected[0])


# --- masks ---


@pytest.mark.parametrize("model", ["CubaLIF", "CubaLI"])
def test_masked_synapses_have_no_effect_and_no_gradient(model):
    mask = torch.tensor([[True, False, True], [False, True, True]])
    torch.manual_seed(0)
    layer = getattr(g, model)(3, 2, **CELLS, delay="synaptic", mask=mask, dtype=F64)
    spikes = recordings()
    found = gradients(layer, spikes)
    for name in ("weight", "delay"):
        assert torch.all(found[name][~mask] == 0) and torch.all(found[name][mask] != 0)
    before = value(layer, spikes)
    with torch.no_grad():
        layer.weight[~mask] = 100.0
    assert torch.equal(value(layer, spikes), before)


def test_masked_loop():
    torch.manual_seed(0)
    mask = ~torch.eye(4, dtype=torch.bool)
    layer = g.CubaLIF(
        3, 4, **CELLS, recurrent="dense", recurrent_mask=mask, recurrent_delay="synaptic"
    )
    found = gradients(layer, recordings())
    for name in ("recurrent_weight", "recurrent_delay"):
        assert torch.all(found[name][~mask] == 0) and (found[name][mask] != 0).any()


# --- delays at their limits ---


@pytest.mark.parametrize("optimizer", ["Adam", "SGD"])
def test_momentum_ends_at_the_wall(optimizer):
    layer = g.Delay(3, max_delay=0.05)
    options = {"momentum": 0.9} if optimizer == "SGD" else {}
    optimizer = getattr(torch.optim, optimizer)(layer.parameters(), lr=0.02, **options)
    handle = g.hold_delays(layer, optimizer)
    with torch.no_grad():
        layer.delay[:] = torch.tensor([0.01, 0.03, 0.04])
    layer.delay.grad = torch.tensor([1.0, 0.1, -1.0])
    optimizer.step()
    assert layer.delay[0] == 0 and layer.delay[2] == torch.tensor(0.05)
    state = optimizer.state[layer.delay]
    moment = state.get("exp_avg", state.get("momentum_buffer"))
    assert moment[0] == 0 and moment[1] > 0 and moment[2] == 0
    handle.remove()
    optimizer.step()
    assert layer.delay[0] < 0


def test_delays_are_put_back_when_asked():
    layer = made("CubaLIF")
    with torch.no_grad():
        layer.delay[0, 0], layer.recurrent_delay[1] = -1.0, 0.0
    g.keep_delays(layer)
    assert layer.delay.min() == 0
    assert layer.recurrent_delay.min() == torch.tensor(1e-4)  # a loop takes time
    torch.nn.init.constant_(layer.delay, 1.0)
    g.keep_delays(torch.nn.Sequential(layer))
    assert torch.all(layer.delay == torch.tensor(layer.max_delay))


def test_bounded_delays_stay_inside_and_learn():
    layer = made("Delay", dtype=F64)
    before = layer.delay.detach().clone()
    parametrize.register_parametrization(layer, "delay", g.Bounded(0.0, layer.max_delay))
    torch.testing.assert_close(layer.delay, before)
    (free,) = layer.parameters()
    found = gradients(layer, recordings())
    assert len(found) == 1 and torch.all(free.grad != 0)
    with torch.no_grad():
        free += 1000 * torch.tensor([1.0, -1.0, 0.0])
    assert layer.delay.min() >= 0 and layer.delay.max() <= layer.max_delay


# --- odd batches ---

BATCHES = {
    "no recordings": evsim.Spikes([], [], [0], size=3, duration=0.1),
    "no spikes": evsim.Spikes([], [], [0, 0, 0], size=3, duration=0.1),
    "one empty recording": evsim.Spikes([0.01], [2], [0, 1, 1], size=3, duration=0.1),
    "all at the end": evsim.Spikes([0.1, 0.1], [0, 1], [0, 2], size=3, duration=0.1),
    "fewer units": evsim.Spikes([0.01, 0.01], [0, 0], [0, 2], duration=0.1),
}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("name", LAYERS)
def test_odd_batches(name, batch):
    layer = made(name)
    output = layer(batch)
    assert len(output) == len(batch)
    for parameter in gradients(layer, batch).values():
        assert torch.isfinite(parameter).all()
    if hasattr(layer, "peak_voltage"):
        peaks = layer.peak_voltage(batch, output)
        assert peaks.shape == (len(batch), 4) and (peaks <= 0).all()
        peaks.sum().backward()


def test_a_layer_that_never_fires():
    layer, spikes = made("CubaLIF"), recordings()
    torch.nn.init.constant_(layer.weight, 0.1)
    assert all(torch.all(v == 0) for v in gradients(layer, spikes).values())
    diagnostics = layer.diagnostics
    assert (diagnostics.n_spikes, diagnostics.silent, diagnostics.silent_share) == (0, 4, 1.0)
    assert diagnostics.smallest_slope == np.inf and diagnostics.rate == 0
    layer.peak_voltage(spikes, layer(spikes)).sum().backward()
    assert torch.all(layer.weight.grad > 0)


def test_diagnostics_of_single_spikes():
    layer = g.CubaLIF(1, 3, **CELLS)
    enough = layer.unit_weight()
    with torch.no_grad():  # fires, only just fires, stays silent
        layer.weight[:, 0] = torch.tensor([10.0, 1.0001 * enough, 0.9999 * enough])
    fired = layer(evsim.Spikes([0.0], [0], size=1, duration=0.004))
    assert fired.units.tolist() == [0]
    found = layer.diagnostics
    slope = (10 * np.exp(-fired.times.item() / 0.005) - 1) / 0.02
    assert found.smallest_slope == pytest.approx(slope, rel=1e-9)
    assert (found.n_spikes, found.n_grazing, found.silent, found.saturated) == (1, 0, 2, 1)
    assert found.rate == pytest.approx(1 / 3 / 0.004)
    assert found.silent_share == pytest.approx(2 / 3)
    layer(evsim.Spikes([0.0], [0], size=1, duration=0.1))
    assert (layer.diagnostics.n_spikes, layer.diagnostics.n_grazing) == (2, 1)
    assert "1 of 2 spikes grazing" in str(layer.diagnostics)


# --- what is refused ---


def test_weights_that_change_before_the_way_back():
    layer, spikes = made("CubaLIF", dtype=F64), recordings()
    loss = value(layer, spikes)
    with torch.no_grad():
        layer.threshold += 0.1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_second_derivatives():
    layer, spikes = made("CubaLI", dtype=F64), recordings()
    loss = value(layer, spikes) ** 2
    (gradient,) = torch.autograd.grad(loss, layer.weight, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: g.CubaLIF(3, 2, 0.02, [0.005] * 3), r"tau_syn: shape \[3\], must be \[\] or \[2"),
        (lambda: g.CubaLIF(3, 2, **CELLS, delay="late"), "delay = 'late'"),
        (lambda: g.CubaLIF(3, 2, **CELLS, recurrent="sparse"), "recurrent = 'sparse'"),
        (lambda: g.CubaLIF(3, 2, **CELLS, recurrent_delay="late"), "recurrent_delay = 'late'"),
        (lambda: g.CubaLIF(3, 2, **CELLS, kernel_size=4), "kernel_size = 4, must be odd"),
        (lambda: g.CubaLIF(3, 2, **CELLS, learn="weight"), "learn: no 'weight' in CubaLIF"),
        (lambda: g.CubaLIF(3, 2, **CELLS, mask=torch.ones(3, 2)), r"mask: shape \[3, 2\]"),
        (lambda: g.CubaLIF(3, 2, **CELLS, bound=0), "bound = 0, must be > 0"),
        (lambda: g.Delay(3, max_delay=0), "max_delay = 0, must be finite and > 0"),
        (lambda: g.CubaLI(3, 2, **CELLS, output="mean"), "output = 'mean'"),
        (lambda: g.CubaLI(3, 2, **CELLS, tau_output=0.1), "tau_output = 0.1"),
        (lambda: g.LI(3, 2, 0.02, at=[0.2])(recordings()), "at: 0.2 s is outside the recording"),
        (lambda: g.LI(3, 2, -0.02)(recordings()), r"tau_mem\[0\] = -0.02, must be > 0"),
        (lambda: g.LI(2, 2, 0.02)(recordings()), "come from 3 units, but the layer has 2"),
        (lambda: g.Delay(2)(recordings()), "come from 3 units, but there are 2 delays"),
    ],
)
def test_messages(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_values_that_are_no_numbers():
    layer = made("CubaLIF")
    torch.nn.init.constant_(layer.weight, torch.nan)
    with pytest.raises(ValueError, match=r"weight.*nan, must be finite"):
        layer(recordings())
