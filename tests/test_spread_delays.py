"""Delays shared over a triangle of steps, ``delays="spread"``, against a loop written out."""

import copy
from math import pi

import pytest
import torch
from torch import nn

from evsim import Network
from evsim import gradients as g
from evsim.gradients import dense
from evsim.gradients.constructors import arguments_for

DT = 1e-3
TAU = 3e-3
N_IN, N = 4, 6
F64 = torch.float64
MASK = torch.rand(N, N, generator=torch.Generator().manual_seed(5)) < 0.7


def raster(seed=0, n_steps=25, batch=3, rate=0.3, dtype=F64):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(batch, n_steps, N_IN, generator=generator) < rate).to(dtype)


def made(seed=0, sigma=2.3, kind=dense.LIF, **options):
    torch.manual_seed(seed)
    cells = {"tau_mem": TAU} if kind is dense.LIF else {"tau_mem": TAU, "tau_syn": 5e-3}
    options = {"dt": DT, "delays": "spread", "dtype": F64} | options
    layer = kind(N_IN, N, **cells, **options)
    if options["delays"] == "spread":
        layer.sigma = sigma
    with torch.no_grad():
        if layer.recurrent is not None:
            layer.recurrent_weight.mul_(4)
        if layer.recurrent_delay_kind is not None:
            layer.recurrent_delay.uniform_(1.05 * DT, 9.0 * DT)
        if layer.delay is not None:
            layer.delay.uniform_(0, 9.0 * DT)
        if getattr(layer, "spread", None) is not None:
            layer.spread.normal_()
    return layer


def shares(delay, half, lag):
    """Return how much of a spike arrives ``lag`` steps later, of delays in whole [steps]."""
    return (half - (lag - delay).abs()).clamp(min=0) / half**2


def unrolled(layer, spikes):
    """Return spikes and voltages of a LIF layer, every arrival written out."""
    found = layer.tensors()
    sigma, into = 1 + layer.sigma, found["weight"]
    late = [torch.zeros_like(into) if n is None else n / DT * torch.ones_like(into) for n in
            (found.get("axonal_delay", found.get("delay")),)][0]  # fmt: skip
    spread = layer.delay is not None
    own = found["recurrent_weight"]
    loop = found.get("recurrent_axonal_delay", found.get("recurrent_delay")) / DT * (own * 0 + 1)
    half = sigma if layer.spread is None else 1 + 2 * layer.sigma * torch.sigmoid(layer.spread)
    decay = torch.exp(torch.tensor(-DT / TAU, dtype=F64))
    u, fired, voltages = torch.zeros(len(spikes), N, dtype=F64), [], []
    for n in range(spikes.shape[1]):
        u = u * decay
        for before in range(n + 1):
            if spread:
                u = u + spikes[:, before] @ (into * shares(late, sigma, n - before)).T
        u = u if spread else u + spikes[:, n] @ into.T
        for before in range(n):
            u = u + fired[before] @ (own * shares(loop, half, n - before)).T
        soft = torch.atan(pi * (u - 1)) / pi
        fired.append((u >= 1).to(F64) + soft - soft.detach())
        u = u * (1 - fired[-1].detach())
        voltages.append(u)
    return torch.stack(fired, 1), torch.stack(voltages, 1)


def gradients(layer, outcome):
    """Return the gradients of a loss on spikes and voltages, and the spikes."""
    layer.zero_grad()
    fired, voltages = outcome
    generator = torch.Generator().manual_seed(9)
    weights = torch.randn(2, *fired.shape, generator=generator, dtype=F64)
    ((fired * weights[0]).sum() + (voltages * weights[1]).sum()).backward()
    return {name: p.grad.clone() for name, p in layer.named_parameters()}


LOOPS = {
    "axonal": {"recurrent_delay": "axonal"},
    "axonal, learnt": {"recurrent_delay": "axonal", "learn_spread": True},
    "masked": {"recurrent_delay": "axonal", "recurrent_mask": MASK, "learn_spread": True},
    "synaptic": {"recurrent_delay": "synaptic"},
    "synaptic, learnt": {"recurrent_delay": "synaptic", "learn_spread": True},
    "dendritic": {"recurrent_delay": "dendritic"},
    "dendritic, learnt": {"recurrent_delay": "dendritic", "learn_spread": True},
    "fixed": {"recurrent_delay": 3.4e-3},
    "inputs, axonal": {"recurrent_delay": "axonal", "delay": "axonal"},
    "inputs, synaptic": {"recurrent_delay": "axonal", "delay": "synaptic"},
}


@pytest.mark.parametrize("loop", ["dense", "conv"])
@pytest.mark.parametrize("name", LOOPS)
def test_spikes_voltages_and_gradients_are_those_of_a_loop_written_out(name, loop):
    layer = made(recurrent=loop, **LOOPS[name])
    spikes = raster()
    outcome, expected = layer.run(spikes), unrolled(layer, spikes)
    assert 40 < outcome[0].sum() < 400
    for a, b in zip(outcome, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    found, exact = gradients(layer, outcome), gradients(layer, expected)
    assert found.keys() == exact.keys() and len(found) >= 2
    for key, value in exact.items():
        assert value.abs().max() > 0, key
        scale = value.abs().max().item()
        torch.testing.assert_close(found[key], value, rtol=0, atol=1e-10 * scale)
    with torch.no_grad():
        assert torch.equal(layer(spikes), outcome[0])


def test_a_single_spike_by_hand():
    """Delay 3.4 steps beyond the one of a loop, sigma 2: the worked numbers."""
    expected = torch.tensor([0, 0, 0.6, 1.6, 2.6, 2.4, 1.4, 0.4, 0, 0], dtype=F64) / 9
    loop = dense.LIF(1, 1, 1e9, recurrent="dense", recurrent_delay="axonal", threshold=1.0, dt=DT,
                     delays="spread", dtype=F64)  # fmt: skip
    assert loop.sigma == 10.0
    loop.sigma = 2.0
    with torch.no_grad():
        loop.weight.fill_(1.0)
        loop.recurrent_weight.fill_(0.5)
        loop.recurrent_delay.fill_(4.4 * DT)
    spike = torch.zeros(1, 10, 1, dtype=F64)
    spike[0, 0] = 1.0
    voltage = loop.voltage(spike)[0, :, 0].detach()
    torch.testing.assert_close(voltage.diff(prepend=voltage[:1]), 0.5 * expected, atol=1e-8, rtol=0)

    shift = dense.Delay(1, dtype=F64, dt=DT, delays="spread")
    shift.sigma = 2.0
    nn.init.constant_(shift.delay, 1.6 * DT)  # as a loop of 0.6 beyond its step, entry 0 too
    taps = torch.tensor([1.4, 2.4, 2.6, 1.6, 0.6, 0, 0, 0, 0, 0], dtype=F64) / 9
    torch.testing.assert_close(shift(spike)[0, :, 0].detach(), taps)


@pytest.mark.parametrize("kind", [dense.CubaLIF, dense.LIF])
@pytest.mark.parametrize("delay", ["axonal", "synaptic"])
def test_no_width_is_interpolation(kind, delay):
    options = {"recurrent": "dense", "recurrent_delay": delay, "delay": delay, "kind": kind}
    plain = made(**options, delays="interpolate")
    layer = made(**options, sigma=0.0)
    narrow = made(**options, sigma=1e-9)
    for other in (layer, narrow):
        other.load_state_dict(plain.state_dict())
    found = [gradients(a, a.run(raster(rate=0.6))) for a in (plain, layer, narrow)]
    for name, value in found[0].items():
        assert value.abs().max() > 0
        torch.testing.assert_close(found[1][name], value, rtol=0, atol=0)
        torch.testing.assert_close(found[2][name], value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("loop", ["dense", "conv"])
def test_after_the_training_delays_are_rounded_and_left_alone(loop):
    options = {"recurrent": loop, "recurrent_delay": "axonal", "delay": "axonal"}
    layer = made(**options, learn_spread=True).eval()
    before = copy.deepcopy(layer.state_dict())
    values = {name: value for name, value in before.items() if name != "spread"}
    rounded = made(**options, delays="round")
    rounded.load_state_dict(values)
    assert torch.equal(layer(raster()), rounded(raster())) and rounded(raster()).sum() > 40
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name])
    layer.train()
    assert not torch.equal(layer.voltage(raster()), rounded.voltage(raster()))


def test_conv_loops_of_a_soft_reset_count_arrivals_as_dense_ones_do():
    for delay in ("axonal", "synaptic", "dendritic"):
        options = {"recurrent_delay": delay, "recurrent_mask": MASK, "reset_mode": "soft"}
        conv = made(recurrent="conv", **options)
        full = made(recurrent="dense", **options)
        found = conv.tensors()
        late = found.get("recurrent_axonal_delay", found.get("recurrent_delay"))
        values = conv.state_dict() | {"recurrent_weight": found["recurrent_weight"]}
        values["recurrent_delay"] = late[:, 0] if delay == "dendritic" else late.clamp(min=1e-4)
        full.load_state_dict(values)
        for layer in (conv, full):
            layer.sigma = 1.5
        outcomes = conv.run(raster()), full.run(raster())
        assert outcomes[0][0].sum() > 40
        for a, b in zip(*outcomes, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("delays", ["round", "interpolate", "spread"])
@pytest.mark.parametrize("delay", ["axonal", "synaptic", 2e-3])
def test_a_kernel_never_becomes_a_matrix(delay, delays, monkeypatch):
    """With 4096 units a matrix would have 16.8 million entries; a tensor of all is looked for."""
    n, sizes = 4096, []
    layer = dense.LIF(2, n, TAU, recurrent="conv", recurrent_delay=delay, dt=DT, delays=delays)
    if delays == "spread":
        layer.sigma = 1.0
    with torch.no_grad():
        if layer.recurrent_delay_kind:
            layer.recurrent_delay.uniform_(1e-3, 4e-3)

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if torch.is_tensor(result):
                sizes.append(result.numel())
            return result

    with Watch():
        layer(torch.ones(1, 3, 2)).sum().backward()
    assert 4096 <= max(sizes) < 100 * n


def test_optimisers_leave_loops_a_step_and_users_are_not_refused():
    layer = made(recurrent="dense", recurrent_delay="axonal")
    assert layer.delay_limits()["recurrent_delay"] == (DT, 60e-3)
    first = dense.LIF(3, 500, TAU, recurrent="dense", recurrent_delay="axonal", dt=DT,
                      delays="spread")  # fmt: skip
    assert torch.tensor(DT) == first.recurrent_delay.min() < first.recurrent_delay.max()
    nn.init.constant_(layer.recurrent_delay, 0.3e-3)  # as other layers may have it
    twin = made(recurrent="dense", recurrent_delay="axonal")
    twin.load_state_dict(layer.state_dict())
    nn.init.constant_(twin.recurrent_delay, DT)
    assert torch.equal(layer(raster()), twin(raster()))
    optimizer = torch.optim.SGD([layer.recurrent_delay], lr=1e-9)
    layer(raster()).sum().backward()
    assert not layer.recurrent_delay.grad.any()
    optimizer.step()
    assert (layer.recurrent_delay == DT).all()
    layer(raster()).sum().backward()
    assert layer.recurrent_delay.grad.any()  # at the limit they can come back
    with pytest.raises(ValueError, match=r"recurrent_delay\[0\] = 5e-05, must be finite and >= 0."):
        nn.init.constant_(layer.recurrent_delay, 5e-5)
        layer(raster())
    short = dense.LIF(3, 2, TAU, recurrent="dense", recurrent_delay="axonal", dt=1e-2,
                      recurrent_max_delay=5e-3, delays="spread")  # fmt: skip
    assert short.delay_limits()["recurrent_delay"] == (5e-3, 5e-3)


def test_a_network_keeps_the_delays():
    layer = made(recurrent="conv", recurrent_delay="axonal", delay="axonal", learn_spread=True)
    net = Network.from_torch(layer)
    into, own = net.projections.values()
    assert torch.equal(torch.from_numpy(into.axonal(N_IN)), layer.delay)
    assert torch.equal(torch.from_numpy(own.axonal(N)), layer.recurrent_delay)
    again = dense.from_network(net, DT, delays="spread").output
    again.sigma = layer.sigma
    nn.init.constant_(layer.spread, 0.0)
    torch.testing.assert_close(again.voltage(raster()), layer.voltage(raster()))


def test_what_is_told_and_kept():
    layer = made(recurrent="dense", recurrent_delay="axonal", learn_spread=True)
    assert repr(layer).endswith("dt=0.001, delays='spread', sigma=2.3, learn_spread=True)")
    found = arguments_for(layer)
    assert (found["delays"], found["learn_spread"]) == ("spread", True)
    assert dense.LIF(**found).spread.tolist() == [0.0] * N
    again = copy.deepcopy(layer)
    assert again.sigma == 2.3 and torch.equal(again.spread, layer.spread)
    assert "spread" in layer.state_dict() and "spread" not in made().state_dict()
    events = nn.Sequential(g.Delay(3), g.CubaLIF(3, 2, TAU, TAU), g.LI(2, 2, TAU, delay="axonal"))
    twin = dense.from_events(events, DT, delays="spread")
    assert [a.sigma for a in twin] == [10.0] * 3 and twin(torch.ones(1, 9, 3)).shape == (1, 2)
    assert repr(twin[0]) == "Delay(3, max_delay=0.06, dt=0.001, delays='spread', sigma=10)"


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"learn_spread": True}, "learn_spread = True, but there is nothing to spread"),
        ({"learn_spread": True, "recurrent": "dense", "delays": "round"}, "give delays='spread'"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, what):
    with pytest.raises(ValueError, match=what):
        made(**options)


def test_widths_that_can_not_be_are_refused():
    layer = made(recurrent="dense", learn_spread=True)
    layer.sigma = -1.0
    with pytest.raises(ValueError, match=r"sigma = -1.0, must be finite and >= 0 \[steps\]"):
        layer(raster())
    layer.sigma = 1.0
    nn.init.constant_(layer.spread, float("nan"))
    with pytest.raises(ValueError, match=r"LIF: spread\[0\] = nan, must be finite"):
        layer(raster())
