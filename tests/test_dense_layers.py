"""Dense layers by themselves: parameters, delays, surrogates, rasters, conversion, errors."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from evsim import Dense, Network, Population, Spikes
from evsim import gradients as g
from evsim.gradients import dense
from evsim.gradients.constructors import arguments_for
from evsim.gradients.dense import surrogates
from evsim.gradients.dense.delays import Steps, arrivals, in_steps
from evsim.gradients.dense.flows import psp

DT = 1e-3
N_IN, N = 5, 7
F64 = torch.float64
CUBA = {"tau_mem": 20e-3, "tau_syn": 5e-3}


def mask(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.6


KINDS = {
    "plain": (g.CubaLIF, CUBA),
    "float64": (g.CubaLIF, CUBA | {"dtype": F64}),
    "axonal": (g.CubaLIF, CUBA | {"delay": "axonal"}),
    "synaptic": (g.CubaLIF, CUBA | {"delay": "synaptic", "max_delay": 0.01}),
    "masked": (g.CubaLIF, CUBA | {"delay": "synaptic", "mask": mask(N, N_IN)}),
    "dendritic": (g.CubaLIF, CUBA | {"delay": "dendritic", "mask": mask(N, N_IN)}),
    "loop": (g.CubaLIF, CUBA | {"recurrent": "dense", "recurrent_delay": 3e-3}),
    "axonal loop": (g.CubaLIF, CUBA | {"recurrent": "dense", "recurrent_delay": "axonal"}),
    "synaptic loop": (
        g.CubaLIF,
        CUBA | {"recurrent": "dense", "recurrent_delay": "synaptic", "recurrent_mask": mask(N, N)},
    ),
    "dendritic loop": (g.CubaLIF, CUBA | {"recurrent": "dense", "recurrent_delay": "dendritic"}),
    "conv loop": (g.CubaLIF, CUBA | {"recurrent": "conv", "kernel_size": 5}),
    "axonal conv loop": (g.CubaLIF, CUBA | {"recurrent": "conv", "recurrent_delay": "axonal"}),
    "synaptic conv loop": (g.CubaLIF, CUBA | {"recurrent": "conv", "recurrent_delay": "synaptic"}),
    "learnt cells": (
        g.CubaLIF,
        {
            "tau_mem": torch.linspace(0.01, 0.02, N),
            "tau_syn": 5e-3,
            "learn": ("tau_mem", "tau_syn", "threshold", "reset", "v_leak"),
        },
    ),
    "SRM": (g.SRM, {"tau_syn": 5e-3, "tau_r": 8e-3, "delay": "axonal", "recurrent": "dense"}),
    "CubaLI": (g.CubaLI, CUBA | {"delay": "synaptic", "learn": "tau_mem"}),
    "LI": (g.LI, {"tau_mem": 20e-3, "output": "integral", "tau_output": 0.1}),
    "at": (g.LI, {"tau_mem": 20e-3, "at": [0.0, 0.01]}),
    "Delay": (g.Delay, {}),
}


def build(kind):
    make, options = KINDS[kind]
    return make(N, **options) if make is g.Delay else make(N_IN, N, **options)


def raster(n_in=N_IN, n_steps=60, batch=3, seed=0, dtype=None, rate=0.1):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(batch, n_steps, n_in, generator=generator) < rate).to(
        dtype or torch.get_default_dtype()
    )


def firing(kind=dense.CubaLIF, seed=0, dt=DT, **options):
    """Return a layer whose units fire."""
    torch.manual_seed(seed)
    cells = {
        dense.CubaLIF: CUBA,
        dense.LIF: {"tau_mem": 20e-3},
        dense.SRM: {"tau_syn": 5e-3},
    }[kind]
    return kind(N_IN, N, **(cells | {"dt": dt, "dtype": F64} | options))


# --- parameters ---


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_dict_moves_both_ways(kind):
    torch.manual_seed(0)
    event = build(kind)
    make, options = KINDS[kind]
    twin = getattr(dense, make.__name__)
    twin = twin(N, dt=DT) if make is g.Delay else twin(N_IN, N, **options, dt=DT)
    twin.load_state_dict(event.state_dict())
    for name, tensor in twin.state_dict().items():
        assert torch.equal(tensor, event.state_dict()[name])
    torch.manual_seed(1)
    other = build(kind)
    other.load_state_dict(twin.state_dict())
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, event.state_dict()[name])
    assert twin.delay_limits() == event.delay_limits()


@pytest.mark.parametrize("kind", KINDS)
def test_from_events_copies(kind):
    torch.manual_seed(0)
    event = build(kind)
    twin = dense.from_events(event, DT)
    assert type(twin) is getattr(dense, type(event).__name__)
    values = event.state_dict()
    assert {n for n, _ in twin.named_parameters()} == {n for n, _ in event.named_parameters()}
    for name, tensor in twin.state_dict().items():
        assert torch.equal(tensor, values[name]) and tensor.dtype == values[name].dtype
        assert tensor.data_ptr() != values[name].data_ptr()
    for name in ("output", "tau_output", "learn", "kernel_size", "max_delay"):
        assert getattr(twin, name, None) == getattr(event, name, None)


def test_options_reach_the_layers_they_concern():
    model = nn.Sequential(
        g.Delay(N_IN), nn.Sequential(build("plain"), g.SRM(N, N, 5e-3)), g.LI(N, 2, 0.02)
    )
    twin = dense.from_events(
        model, DT, delays="interpolate", surrogate="triangle", reset_mode="soft", detach_reset=False
    )
    cuba, srm = twin[1]
    assert [layer.delays for layer in (twin[0], cuba, srm, twin[2])] == ["interpolate"] * 4
    assert cuba.surrogate is srm.surrogate is surrogates.triangle
    assert (cuba.reset_mode, cuba.detach_reset, srm.detach_reset) == ("soft", False, False)
    assert twin(raster()).shape == (3, 2)


def test_a_parametrised_delay_is_taken_as_it_is():
    event = g.Delay(N, max_delay=0.05)
    nn.utils.parametrize.register_parametrization(event, "delay", g.Bounded(0.0, 0.05))
    assert torch.equal(dense.from_events(event, DT).delay, event.delay)


# --- types and batches ---


@pytest.mark.parametrize("kind", [dense.CubaLIF, dense.LIF, dense.SRM])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_everything_has_the_type_of_the_weights(kind, dtype):
    layer = firing(kind, dtype=dtype, delay="synaptic", recurrent="dense", delays="interpolate")
    fired, voltage = layer(raster(rate=0.3)), layer.voltage(raster(rate=0.3))
    assert fired.dtype == voltage.dtype == dtype
    assert set(fired.unique().tolist()) == {0.0, 1.0}
    (fired.sum() + voltage.square().sum()).backward()
    assert layer.weight.grad.dtype == dtype and layer.delay.grad.abs().max() > 0


def test_float32_is_float64_rounded():
    wide = firing(recurrent="dense")
    narrow = firing(recurrent="dense", dtype=torch.float32)
    narrow.load_state_dict(wide.state_dict())
    torch.testing.assert_close(narrow(raster()), wide(raster()).float())
    readout = dense.CubaLI(N_IN, 2, **CUBA, dt=DT)
    assert readout(raster()).dtype == torch.float32


@pytest.mark.parametrize("kind", [dense.CubaLIF, dense.LIF, dense.SRM])
def test_recordings_do_not_influence_each_other(kind):
    layer = firing(kind, delay="synaptic", recurrent="dense", recurrent_delay="synaptic")
    together = layer(raster(rate=0.3))
    assert together.sum() > 20
    for b in range(3):
        assert torch.equal(layer(raster(rate=0.3)[b : b + 1])[0], together[b])


# --- delays ---


@pytest.mark.parametrize("delays", ["round", "interpolate"])
@pytest.mark.parametrize("loop", [False, True])
def test_equal_columns_of_synaptic_delays_are_axonal(delays, loop):
    name = "recurrent_delay" if loop else "delay"
    options = {"delays": delays, "recurrent": "dense" if loop else None}
    axonal, synaptic = (firing(**options, **{name: kind}) for kind in ("axonal", "synaptic"))
    values = dict(axonal.state_dict())
    values[name] = values[name].expand(N, -1)
    synaptic.load_state_dict(values)
    voltages = axonal.voltage(raster(rate=0.3)), synaptic.voltage(raster(rate=0.3))
    torch.testing.assert_close(*voltages)
    assert axonal(raster(rate=0.3)).sum() > 20


@pytest.mark.parametrize("delay", [2e-3, "axonal", "synaptic"])
def test_a_conv_loop_is_a_banded_dense_one(delay):
    conv = firing(recurrent="conv", kernel_size=3, recurrent_delay=delay)
    full = firing(recurrent="dense", recurrent_delay=delay)
    found = conv.tensors()
    values = conv.state_dict() | {"recurrent_weight": found["recurrent_weight"]}
    if delay == "synaptic":
        values["recurrent_delay"] = found["recurrent_delay"].clamp(min=1e-4)
    full.load_state_dict(values)
    assert torch.equal(conv(raster(rate=0.3)), full(raster(rate=0.3)))
    lonely = firing()
    lonely.weight.data = conv.weight.data
    assert not torch.equal(conv(raster(rate=0.3)), lonely(raster(rate=0.3)))


def test_delays_in_steps():
    delay = torch.tensor([0.0, 0.4, 1.6, 2.25]) * DT
    assert in_steps(delay, DT, "round").whole.tolist() == [0, 0, 2, 2]
    assert in_steps(delay, DT, "round", least=1).whole.tolist() == [1, 1, 2, 2]
    whole, share = in_steps(delay.double(), DT, "interpolate", least=1)
    assert whole.tolist() == [1, 1, 1, 2]
    torch.testing.assert_close(share, torch.tensor([0, 0, 0.6, 0.25]).double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("share", [False, True])
def test_long_kernels_deliver_what_short_ones_do(share, monkeypatch):
    generator = torch.Generator().manual_seed(2)
    whole = torch.randint(0, 90, (N, N_IN), generator=generator)  # some beyond the end
    steps = Steps(whole, torch.rand(N, N_IN, generator=generator, dtype=F64) if share else None)
    weight = torch.randn(N, N_IN, generator=generator, dtype=F64)
    short = arrivals(raster(dtype=F64), weight, None, steps)
    monkeypatch.setattr("evsim.gradients.dense.delays._LONGEST_KERNEL", 1)
    torch.testing.assert_close(arrivals(raster(dtype=F64), weight, None, steps), short)


def differences(run, values, step):
    """Return the gradient of a scalar by differences."""
    found = torch.zeros_like(values)
    with torch.no_grad():
        for k in range(values.numel()):
            pair = []
            for sign in (1, -1):
                moved = values.clone()
                moved.view(-1)[k] += sign * step
                pair.append(run(moved))
            found.view(-1)[k] = (pair[0] - pair[1]) / (2 * step)
    return found


@pytest.mark.parametrize("delay", ["axonal", "synaptic"])
@pytest.mark.parametrize("taken", ["output", "voltage"])
def test_gradient_of_interpolated_delays(delay, taken):
    torch.manual_seed(3)
    layer = dense.CubaLI(
        N_IN, 2, **CUBA, delay=delay, max_delay=0.02, output="last", dtype=F64, dt=DT,
        delays="interpolate",
    )  # fmt: skip
    spikes = raster(dtype=F64)
    run = layer if taken == "output" else layer.voltage
    run(spikes).square().sum().backward()

    def energy(delays):
        layer.delay.data = delays
        return run(spikes).square().sum()

    expected = differences(energy, layer.delay.detach().clone(), 1e-8)
    assert expected.abs().min() > 0
    torch.testing.assert_close(layer.delay.grad, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["axonal", "synaptic"])
def test_gradient_of_interpolated_loop_delays(kind):
    """With constant spikes, the voltage is linear in what the loop delivers."""
    layer = firing(recurrent="dense", recurrent_delay=kind, delays="interpolate", threshold=0.5)
    with torch.no_grad():  # a loop so weak that it changes no spike
        layer.recurrent_weight.mul_(1e-4)
        layer.recurrent_delay.clamp_(min=1.5e-3)
    spikes = raster(rate=0.4, dtype=F64)
    fired = layer(spikes)

    def energy(delays):
        layer.recurrent_delay.data = delays
        assert torch.equal(layer(spikes), fired)
        return 1e4 * layer.voltage(spikes).sum()

    layer.surrogate = torch.zeros_like
    (1e4 * layer.voltage(spikes).sum()).backward()
    expected = differences(energy, layer.recurrent_delay.detach().clone(), 1e-6)
    assert expected.abs().max() > 1
    torch.testing.assert_close(layer.recurrent_delay.grad, expected, rtol=1e-3, atol=1e-2)


def test_rounded_delays_have_no_gradient():
    layer = firing(delay="synaptic")
    layer(raster(rate=0.3)).sum().backward()
    assert layer.delay.grad is None and layer.weight.grad.abs().max() > 0


# --- surrogates ---

FORMULAS = {
    "arctan": lambda v, w: 1 / (np.pi * w * (1 + (v / w) ** 2)),
    "triangle": lambda v, w: np.maximum(0, 1 - abs(v) / w) / w,
    "exponential": lambda v, w: np.exp(-abs(v) / w) / (2 * w),
    "gaussian": lambda v, w: np.exp(-(v**2) / (2 * w**2)) / (w * np.sqrt(2 * np.pi)),
}


@pytest.mark.parametrize("name", dense.SURROGATES)
def test_surrogates(name):
    v = torch.linspace(-3, 3, 61, dtype=F64).requires_grad_()
    upstream = torch.linspace(-1, 2, 61, dtype=F64)
    for width in (0.3, 1.2):
        fired = surrogates.spike(v, lambda v, w=width: dense.SURROGATES[name](v, w))
        assert torch.equal(fired, (v >= 0).double())
        (g_v,) = torch.autograd.grad(fired, v, upstream)
        expected = upstream.numpy() * FORMULAS[name](v.detach().numpy(), width)
        np.testing.assert_allclose(g_v, expected, rtol=1e-12, atol=1e-300)
    line = torch.linspace(-300, 300, 2_000_001, dtype=F64)
    assert abs(torch.trapezoid(dense.SURROGATES[name](line), line) - 1) < 2e-3
    assert abs(dense.SURROGATES[name](torch.zeros((), dtype=F64)) - 1) < 1e-12


@pytest.mark.parametrize("kind", [dense.CubaLIF, dense.LIF, dense.SRM])
def test_gradient_of_one_step_by_hand(kind):
    """What arrives at step 0 lifts the voltage at step 0 (LIF) or at step 1."""
    surrogate = surrogates.triangle
    layer = kind(1, 1, **({"tau_mem": 0.02} if kind is dense.LIF else {}), dt=DT, dtype=F64,
                 surrogate=surrogate, threshold=1.0,
                 **(CUBA if kind is dense.CubaLIF else {}),
                 **({"tau_syn": 5e-3} if kind is dense.SRM else {}))  # fmt: skip
    spikes = torch.tensor([[[1.0], [0.0]]], dtype=F64)
    tau = torch.tensor([0.02, 5e-3, 5e-3], dtype=F64)
    gain = {
        dense.LIF: 1.0,
        dense.CubaLIF: psp(tau[0], tau[1], DT),
        dense.SRM: np.e * psp(tau[1], tau[2], DT),
    }[kind]
    with torch.no_grad():
        layer.weight.fill_(0.7 / gain)
    layer(spikes)[0, 0 if kind is dense.LIF else 1, 0].backward()
    assert abs(layer.weight.grad.item() - gain * 0.7) < 1e-12  # g'(-0.3) = 0.7


@pytest.mark.parametrize("mode", ["hard", "soft"])
def test_detached_resets(mode):
    """The weight moves the voltage before a spike; that after it through the reset only."""
    grads = []
    for detached in (True, False):
        layer = dense.LIF(1, 1, float("inf"), reset_mode=mode, detach_reset=detached, dt=DT,
                          surrogate="triangle", dtype=F64)  # fmt: skip
        with torch.no_grad():
            layer.weight.fill_(1.25)
        layer.voltage(torch.ones(1, 1, 1, dtype=F64)).sum().backward()
        grads.append(layer.weight.grad.item())
    # Hard: u (1 - s) with s' = 0.75; soft: u - s.
    assert grads == ([0.0, -1.25 * 0.75] if mode == "hard" else [1.0, 1.0 - 0.75])


# --- who fires again ---


def fires(layer, spikes):
    return layer(torch.tensor(spikes, dtype=F64)[None, :, None])[0, :, 0].tolist()


@pytest.mark.parametrize("refire", [False, True])
def test_a_soft_reset_leaves_what_fires_again(refire):
    """A weight of 3.5 without a leak is worth three spikes, one at a time."""
    layer = dense.LIF(1, 1, np.inf, reset_mode="soft", refire=refire, dt=DT, dtype=F64)
    nn.init.constant_(layer.weight, 3.5)
    again = [1, 1, 1, 0, 0] if refire else [1, 0, 0, 0, 0]
    assert fires(layer, [1.0, 0, 0, 0, 0]) == again
    nn.init.constant_(layer.refractory, 2 * DT)
    assert fires(layer, [1.0, 0, 0, 0, 0]) == ([1, 0, 1, 0, 1] if refire else again)


@pytest.mark.parametrize("refire", [False, True])
def test_srm_fires_at_every_step_above_the_threshold(refire):
    """Kernels by hand: eps(s) = s e^(1-s), nu(s) = -20 s/2 e^(1-s/2) in steps, threshold 10."""
    layer = dense.SRM(1, 1, DT, 2 * DT, 10.0, dt=DT, dtype=F64, refire=refire)
    nn.init.constant_(layer.weight, 40.0)
    fired, voltage = layer.run(torch.tensor([1.0] + 9 * [0.0], dtype=F64)[None, :, None])
    s = np.arange(10.0)
    u, spikes = 40 * s * np.exp(1 - s), np.zeros(10)
    for n in range(10):
        spikes[n] = u[n] >= 10 and (refire or u[n - 1] < 10)
        u += spikes[n] * -20 * np.clip(s - n, 0, None) / 2 * np.exp(1 - (s - n) / 2)
    np.testing.assert_array_equal(fired[0, :, 0].detach(), spikes)
    np.testing.assert_allclose(voltage[0, :, 0].detach(), u, rtol=0, atol=1e-12)
    assert spikes.sum() == (2 if refire else 1)


def test_refire_is_kept_and_told():
    layer = firing(dense.SRM, refire=True)
    assert repr(layer).endswith("dt=0.001, refire=True)") and "refire" not in repr(firing())
    assert arguments_for(layer)["refire"] is True
    assert copy.deepcopy(layer).refire
    model = nn.Sequential(build("plain"), g.SRM(N, N, 5e-3))
    assert [a.refire for a in dense.from_events(model, DT, refire=True)] == [False, True]
    for mode in ("hard", "soft"):
        lif = dense.from_network(net("LIF", reset_mode=mode, tau_mem=0.02), DT, refire=True)[0]
        assert (lif.reset_mode, lif.refire) == (mode, mode == "soft")


# --- the flow of a step ---


@pytest.mark.parametrize("tau_syn", [0.1, 1.0, 20.0])
def test_a_long_step_with_a_slow_synapse_is_finite(tau_syn):
    # e^-a is 0 there and e^(a - b) overflows: what is left is e^-b.
    taus = torch.tensor([1e-3, tau_syn], dtype=F64, requires_grad=True)
    for s in (0.4, 0.6, 2.0, 40.0):
        found = psp(taus[0], taus[1], s)
        exact = np.exp(-s / tau_syn) / (1 - 1e-3 / tau_syn)
        assert found.item() == pytest.approx(exact, rel=1e-12)
        found.backward()
        assert taus.grad.isfinite().all()


def test_psp_of_equal_and_unequal_time_constants():
    for tau_mem, tau_syn in [(0.02, 0.005), (0.005, 0.02), (0.01, 0.01), (0.01, 0.01 + 1e-12)]:
        taus = [torch.tensor(t, dtype=F64, requires_grad=True) for t in (tau_mem, tau_syn)]
        for dt in (1e-5, 1e-3, 0.05):
            steps = 20000  # the middle rule, for tau_mem u' = e^(-t / tau_syn) - u
            t = (np.arange(steps) + 0.5) * dt / steps
            exact = (np.exp(-(dt - t) / tau_mem - t / tau_syn)).sum() * dt / steps / tau_mem
            assert abs(psp(*taus, dt).item() - exact) < 1e-7 * exact
            assert torch.autograd.gradcheck(
                lambda a, b, dt=dt: psp(a * 1e-3, b * 1e-3, dt),
                [(tau.detach() * 1e3).requires_grad_() for tau in taus],
            )


# --- rasters ---


def test_rasters_and_spikes():
    spikes = Spikes.from_recordings(
        [([0.0, 0.0014, 0.0016, 0.0016], [0, 1, 1, 1]), ([], []), ([0.0049], [2])], 3, 0.005
    )
    found = dense.to_raster(spikes, 1e-3)
    assert found.shape == (3, 5, 3) and found.dtype == torch.get_default_dtype()
    assert found.nonzero().tolist() == [[0, 0, 0], [0, 1, 1], [0, 2, 1]]  # the last is at 5 ms
    assert found[0, 2, 1] == 2
    back = dense.to_spikes(found, 1e-3)
    assert back.times.tolist() == [0, 0.001, 0.002, 0.002] and back.duration == 0.005
    assert back.offsets.tolist() == [0, 4, 4, 4] and back.size == 3
    assert torch.equal(dense.to_raster(back.torch(), 1e-3, F64), found.double())
    assert dense.to_raster(spikes, 0.002).shape[1] == 3
    for n_steps in range(1, 100):  # n dt / dt may be larger than n: 13, for one
        nothing = Spikes([], [], size=0, duration=n_steps * 1e-4)
        assert dense.to_raster(nothing, 1e-4).shape == (1, n_steps, 0)


# --- errors ---


def net(model="CubaLIF", **options):
    cells = Population("cells", model, 2, **options)
    into = Dense(pre="in", post="cells", weight=np.ones((2, 3)))
    return Network([Population("in", "Input", 3), cells], [into])


def broken(name, value):
    layer = firing(delay="axonal", recurrent="dense")
    with torch.no_grad():
        getattr(layer, name).fill_(value)
    return layer


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: firing(dt=0.0), r"dt = 0.0, must be finite and > 0 \[s\]"),
        (lambda: firing(dt=float("inf")), "dt = inf"),
        (
            lambda: firing(delays="cut"),
            "must be 'round', 'interpolate', 'floor', 'spread' or 'gaussian'",
        ),
        (lambda: firing(delays="floor", delay="synaptic"), "delay='synaptic' can't be cut"),
        (
            lambda: dense.from_events(build("axonal loop"), DT, delays="floor"),
            "delays = 'floor' has no gradient for the learnt delays of a loop",
        ),
        (lambda: dense.CubaLI(N, 2, **CUBA, dt=DT, delays="floor", delay="synaptic"), "'floor'"),
        (lambda: firing(surrogate="step"), "surrogate = 'step', must be a function or one of arc"),
        (lambda: firing(reset_mode="none"), "reset_mode = 'none', must be"),
        (lambda: firing(dense.LIF, refire=True), "reset_mode = 'hard' leaves no voltage above"),
        (lambda: firing(bound=1.0), "bound: surrogate gradients have no costates"),
        (lambda: firing(dense.SRM, reset_mode="hard"), "SRM neurons have no reset"),
        (lambda: dense.Delay(3, dt=1e-3, delays="cut"), "delays = 'cut'"),
        (lambda: firing()(raster(N)), r"raster: shape \[3, 60, 7\], must be \[batch, step, 5\]"),
        (lambda: firing()(raster()[:, :0]), r"shape \[3, 0, 5\]"),
        (lambda: dense.Delay(3, dt=DT)(raster()), r"must be \[batch, step, 3\]"),
        (lambda: firing()(Spikes([0.1], [0], size=N_IN)), "to_raster makes one of spikes"),
        (lambda: broken("weight", np.nan)(raster()), r"weight\[0, 0\] = nan, must be finite"),
        (
            lambda: broken("recurrent_weight", np.inf)(raster()),
            r"CubaLIF: recurrent_weight\[0, 0\] = inf",
        ),
        (lambda: broken("delay", np.nan)(raster()), r"CubaLIF: delay\[0\] = nan"),
        (lambda: broken("tau_mem", -1.0)(raster()), r"'CubaLIF': tau_mem\[0\] = -1.0, must be > 0"),
        (lambda: broken("threshold", -1.0)(raster()), r"threshold\[0\] = -1.0, must be above"),
        (lambda: dense.LI(N_IN, 2, np.inf, output="integral", dt=DT)(raster()), "plain integral"),
        (lambda: dense.LI(N_IN, 2, 0.02, at=[0.1], dt=DT)(raster()), "at: 0.1 s is outside"),
        (lambda: dense.to_raster(Spikes([0.1], [0]), -1.0), "dt = -1.0"),
        (lambda: dense.to_spikes(torch.ones(2, 3), DT), r"raster: shape \[2, 3\]"),
        (lambda: dense.to_spikes(torch.full((1, 2, 2), 0.5), DT), r"raster\[0, 0, 0\] = 0.5"),
        (lambda: dense.to_spikes(torch.full((1, 1, 1), -1.0), DT), "= -1, must be a number of sp"),
        (lambda: dense.to_spikes(torch.full((1, 1, 1), torch.nan), DT), "= nan"),
        (lambda: dense.from_events(nn.Linear(2, 2), DT), "the model: Linear is none of evsim's"),
        (
            lambda: dense.from_events(nn.Sequential(build("plain"), nn.Dropout()), DT),
            "module '1': Dropout is none of evsim's layers",
        ),
        (lambda: dense.from_events(firing(), DT), "CubaLIF is dense already"),
        (lambda: dense.from_network(net(**CUBA), 0.0), "dt = 0.0"),
        (lambda: dense.from_network(net("CubaLI", **CUBA), DT), "population 'cells': has no out"),
    ],
)
def test_errors(run, message):
    with pytest.raises(ValueError, match=message):
        run()


def test_reset_modes_come_from_the_network():
    for mode in ("hard", "soft"):
        for model, cells in (("CubaLIF", CUBA), ("LIF", {"tau_mem": np.inf})):
            layer = dense.from_network(net(model, reset_mode=mode, **cells), DT)[0]
            assert (type(layer).__name__, layer.reset_mode) == (model, mode)


@pytest.mark.parametrize("delays", ["round", "interpolate"])
@pytest.mark.parametrize("kind", ["axonal", "synaptic", 3e-3])
def test_a_loop_without_gradients_is_the_same_loop(kind, delays):
    layer = firing(recurrent="dense", recurrent_delay=kind, delays=delays)
    with_graph = layer(raster(rate=0.3))
    with torch.no_grad():
        without = layer(raster(rate=0.3))
        layer.recurrent_weight.zero_()
        lonely = layer(raster(rate=0.3))
    assert torch.equal(with_graph, without)
    assert not torch.equal(lonely, without)


def test_rasters_of_too_many_steps_are_refused():
    with pytest.raises(ValueError, match="too many steps"):
        dense.to_raster(Spikes([0.5], [0], duration=1.0), 1e-300)
