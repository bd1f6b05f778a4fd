"""Dropout and batch norm of dense layers: what they touch, when, and what a network gets."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import evsim
from evsim import Network
from evsim.gradients import dense, lowbit
from evsim.gradients.constructors import arguments_for

DT = 1e-3
N_IN, N = 4, 30
F64 = torch.float64
CELLS = {
    dense.LIF: {"tau_mem": 5e-3, "refractory": 2e-3},
    dense.CubaLIF: {"tau_mem": 5e-3, "tau_syn": 2e-3},
    dense.SRM: {"tau_syn": 3e-3},
}


def raster(n_steps=40, batch=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(batch, n_steps, N_IN, generator=generator) < 0.4).to(F64)


def made(kind=dense.LIF, seed=0, **options):
    torch.manual_seed(seed)
    return kind(N_IN, N, **(CELLS[kind] | {"dt": DT, "dtype": F64} | options))


@pytest.mark.parametrize("kind", CELLS)
def test_what_leaves_is_dropped_and_the_loop_gets_all(kind):
    plain = made(kind, recurrent="dense")
    layer = made(kind, recurrent="dense", dropout=0.4)
    spikes, voltage = plain.run(raster())
    torch.manual_seed(1)
    left, same = layer.run(raster())
    assert torch.equal(same, voltage) and spikes.sum() > 400
    passed = (left > 0).any(1)
    fired = (spikes > 0).any(1)
    assert torch.equal(left, spikes / 0.6 * passed[:, None])  # a unit, for a whole recording
    share = (passed & fired).sum() / fired.sum()
    assert 0.45 < share < 0.75
    assert torch.equal(layer.eval()(raster()), spikes)


def test_what_arrives_is_dropped():
    """Voltages of units that never fire: those of the input, of the loop."""
    quiet = {"threshold": 1e9, "refractory": 0.0}
    plain = made(**quiet).voltage(raster())
    layer = made(**quiet, input_dropout=0.3)
    torch.manual_seed(1)
    voltage = layer.voltage(raster())
    keep = voltage[:, -1] != 0
    torch.testing.assert_close(voltage, plain / 0.7 * keep[:, None])
    assert 0.6 < keep.double().mean() < 0.8
    assert torch.equal(layer.eval().voltage(raster()), plain)

    loop = made(recurrent="dense", recurrent_dropout=0.3, refractory=0.0)
    again = made(recurrent="dense", refractory=0.0)
    torch.manual_seed(1)
    found = loop.voltage(raster())
    assert not torch.equal(found, again.voltage(raster()))
    assert torch.equal(found[:, 0], again.voltage(raster())[:, 0])  # nothing is back yet
    assert torch.equal(loop.eval()(raster()), again(raster()))


def test_a_dropped_arrival_is_none():
    """After a soft reset a unit above the threshold waits for the next arrival."""
    layer = dense.LIF(1, 200, np.inf, reset_mode="soft", input_dropout=0.5, dt=DT, dtype=F64)
    nn.init.constant_(layer.weight, 1.5)  # 3 where it is not dropped
    torch.manual_seed(2)
    fired = layer(torch.ones(1, 2, 1, dtype=F64))[0]
    assert set(map(tuple, fired.T.tolist())) == {(0.0, 0.0), (1.0, 1.0)}


@pytest.mark.parametrize("kind", CELLS)
def test_batch_norm_is_that_of_arrivals_over_recordings_and_steps(kind):
    layer = made(kind, batch_norm=True)
    with torch.no_grad():
        layer.norm.weight.uniform_(0.5, 1.5)
        layer.norm.bias.normal_(std=0.1)
    arriving = raster() @ layer.weight.T
    mean, variance = arriving.mean((0, 1)), arriving.var((0, 1), unbiased=False)
    scale = layer.norm.weight / (variance + 1e-5).sqrt()
    expected = (arriving - mean) * scale + layer.norm.bias
    plain = made(kind)
    nn.init.eye_(plain.weight)
    plain = kind(N, N, **CELLS[kind], dt=DT, dtype=F64)
    nn.init.eye_(plain.weight)
    torch.testing.assert_close(layer.voltage(raster()), plain.voltage(expected))
    n = arriving[..., 0].numel()
    moved = 0.9 + 0.1 * arriving.var((0, 1))
    torch.testing.assert_close(layer.norm.running_var, moved.detach())
    torch.testing.assert_close(layer.norm.running_mean, 0.1 * mean.detach())
    assert n == 200
    layer.eval()
    before = copy.deepcopy(layer.state_dict())
    factor = layer.norm.weight / (layer.norm.running_var + 1e-5).sqrt()
    expected = (arriving - layer.norm.running_mean) * factor + layer.norm.bias
    torch.testing.assert_close(layer.voltage(raster()), plain.voltage(expected))
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def test_mere_numbers_of_arrivals_are_not_normalised():
    for refire in (False, True):
        layer = made(batch_norm=True, reset_mode="soft", recurrent="conv", refire=refire)
        assert layer(raster()).sum() > 100
        hard = made(batch_norm=True, recurrent="conv", threshold=1e9)
        nn.init.constant_(layer.threshold, 1e9)
        torch.testing.assert_close(layer.voltage(raster()), hard.voltage(raster()))


@pytest.mark.parametrize("kind", [dense.LIF, dense.CubaLIF])
@pytest.mark.parametrize("learn", [(), ("v_leak",)])
def test_a_network_gets_it_folded_in(kind, learn):
    """From the same voltage on, the network on the grid is the layer."""
    refractory = 0.0 if kind is dense.LIF else 2e-3  # where V is held, a shift arrives, no leak
    layer = made(kind, batch_norm=True, learn=learn, delay="axonal", max_delay=9e-3,
                 mask=torch.rand(N, N_IN) < 0.8, refractory=refractory)  # fmt: skip
    with torch.no_grad():
        layer.v_leak.fill_(0.02)
        layer.norm.bias.normal_(std=0.02)
        layer.norm.running_mean.normal_(std=0.02)
        layer.norm.running_var.uniform_(0.5, 2.0)
    layer.eval()
    net = Network.from_torch(layer)
    again = dense.from_network(net, DT).output
    assert len({float(v) for v in again.v_leak}) == N and layer.v_leak.eq(0.02).all()
    spikes = raster(n_steps=160)
    spikes[:, :80] = 0  # time to drift to rest
    fired, voltage = layer.run(spikes)
    same, expected = again.run(spikes)
    assert torch.equal(fired, same) and fired.sum() > 400
    torch.testing.assert_close(voltage[:, 80:], expected[:, 80:], rtol=0, atol=1e-6)
    # At first, one is at rest and the other on the way there: by e^(-t / tau_mem) apart.
    if kind is dense.LIF:
        steps = torch.arange(1, 81, dtype=F64)[:, None]
        lag = (0.02 - again.v_leak) * torch.exp(-steps * DT / 5e-3)
        torch.testing.assert_close((voltage - expected)[0, :80], lag)
    assert evsim.simulate(net, dense.to_spikes(raster(), DT)).spikes["output"].counts().sum() > 100


def test_units_without_a_leak_keep_only_the_factor():
    for layer in (made(dense.SRM, batch_norm=True), made(batch_norm=True, tau_mem=np.inf)):
        layer.norm.running_var.uniform_(0.5, 2.0)
        weight = next(iter(Network.from_torch(layer).projections.values())).weight
        factor = (layer.norm.running_var + 1e-5).rsqrt()
        np.testing.assert_allclose(weight, (layer.weight * factor[:, None]).detach(), rtol=1e-12)
        nn.init.constant_(layer.norm.bias, 0.25)
        with pytest.raises(ValueError, match="batch_norm adds 0.25 to what arrives at each step"):
            Network.from_torch(layer)


def test_a_shift_above_the_threshold_is_refused_by_name():
    layer = made(batch_norm=True)
    nn.init.constant_(layer.norm.bias, 0.3)
    with pytest.raises(ValueError, match=r".output.: threshold\[0\] = 1.0, must be above"):
        Network.from_torch(layer)


def test_it_is_told_counted_and_kept():
    options = {"dropout": 0.4, "input_dropout": 0.1, "recurrent_dropout": 0.2, "batch_norm": True}
    layer = made(recurrent="dense", **options)
    told = "dropout=0.4, input_dropout=0.1, recurrent_dropout=0.2, batch_norm=True"
    assert told in repr(layer) and "dropout" not in repr(made())
    found = arguments_for(layer)
    assert {name: found[name] for name in options} == options
    assert {name for name, _ in layer.named_parameters()} == {
        "weight", "recurrent_weight", "norm.weight", "norm.bias"
    }  # fmt: skip
    assert lowbit.size(layer).others == 2 * N
    layer(raster())
    for again in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), dense.LIF(**found)):
        again.load_state_dict(layer.state_dict())
        assert torch.equal(again.eval()(raster()), layer.eval()(raster()))
        layer.train()
    assert "norm.running_mean" in layer.state_dict() and "norm.weight" not in made().state_dict()
    narrow = made(dtype=torch.float32, **(options | {"recurrent_dropout": 0.0}))
    assert narrow(raster()).dtype == narrow.norm.weight.dtype == torch.float32
    with torch.device("meta"):
        assert made(batch_norm=True).norm.weight.is_meta


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"dropout": 1.0}, "dropout = 1.0, must be at least 0 and below 1"),
        ({"input_dropout": -0.1}, "input_dropout = -0.1"),
        ({"recurrent_dropout": float("nan")}, "recurrent_dropout = nan"),
        ({"recurrent_dropout": 0.2}, "recurrent_dropout = 0.2, but there is no loop"),
    ],
)
def test_shares_that_can_not_be_are_refused(options, what):
    with pytest.raises(ValueError, match=what):
        made(**options)
