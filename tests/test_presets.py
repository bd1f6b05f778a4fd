"""The published recurrent networks: numbers, first values, what they do, settings, networks."""

import copy
from math import inf, log, pi

import pytest
import torch
from torch import nn
from torch.nn import functional

from evsim import Network, Spikes
from evsim import gradients as g
from evsim.gradients import dense, methods
from evsim.gradients.methods import delrec

F64 = torch.float64
COUNTS = {
    "delrec-shd": 173_844,
    "delrec-shd-4": 438_036,
    "delrec-shd-small": 10_290,
    "delrec-ssc": 374_819,
    "delrec-psmnist": 156_154,
    "conv-delrec-shd": 108_311,
    "conv-delrec-shd-4": 241_437,
    "conv-delrec-ssc": 374_819 - 3 * (256 * 256 - 3),
}
SIZES = (4, 12, 10, 11, 3)


def built(name, *arguments, **options):
    torch.manual_seed(0)
    return methods.build(name, *arguments, **options)


def hidden(model):
    return [layer for layer in model if isinstance(layer, dense.LIF)]


def uniform(values, low, high):
    """Whether so many values may be U(low, high)."""
    width = high - low
    assert low <= values.min() < low + 0.1 * width and high - 0.1 * width < values.max() <= high
    mean, deviation = (low + high) / 2, width / 12**0.5
    n = values.numel()
    assert abs(values.mean() - mean) < 4 * deviation / n**0.5
    return abs(values.std() / deviation - 1) < 4 / n**0.5


def bias_of(layer, n_steps):
    if layer.tau_mem == inf:
        return layer.v_leak / n_steps
    return layer.v_leak * (1 - torch.exp(-layer.dt / layer.tau_mem))


@pytest.mark.parametrize("name", COUNTS)
def test_presets_have_as_many_numbers_as_published(name):
    model = built(name)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == COUNTS[name]
    assert name in methods.NAMES and isinstance(model, nn.Sequential)
    loops = [layer.recurrent for layer in hidden(model)]
    kind = "conv" if name.startswith("conv") else "dense"
    n = 0 if name.endswith(("ssc", "psmnist")) else 1  # layers without a loop
    assert loops == [None] * n + [kind] * (len(loops) - n)
    assert [layer.learn_spread for layer in hidden(model)] == [not n] * len(loops)
    assert list(dict(model.named_children()))[-2:] == [f"hidden{len(loops)}", "readout"]


def test_presets_first_values_on_shd():
    model = built("delrec-shd")
    for layer in model:
        inputs = layer.in_features**-0.5
        assert uniform(layer.weight, -(6**0.5) * inputs, 6**0.5 * inputs)
        assert uniform(bias_of(layer, 1), -inputs, inputs)
        assert float(layer.tau_mem) == pytest.approx(-10e-3 / log(1 - 1 / 1.05))
    first, loop, readout = model
    for layer in (first, loop):
        assert (layer.dropout, layer.input_dropout, layer.batch_norm) == (0.4, 0.0, True)
        assert (layer.reset_mode, layer.detach_reset, float(layer.reset)) == ("hard", True, 0.0)
        width = torch.tensor([0.0, 2 / (5 * pi)])
        torch.testing.assert_close(layer.surrogate(width), torch.tensor([2.5, 1.25]))
    identity = loop.recurrent_weight @ loop.recurrent_weight.T
    torch.testing.assert_close(identity, torch.eye(256), rtol=0, atol=1e-5)
    assert uniform(loop.recurrent_delay / 10e-3 - 1, 10, 30)
    assert (loop.sigma, loop.recurrent_dropout, loop.delays) == (10.0, 0.2, "spread")
    assert loop.recurrent_max_delay == pytest.approx(1.4)

    small = built("delrec-shd-small")
    assert not any(layer.learn or layer.v_leak.any() for layer in small)
    assert float(small[0].tau_mem) == pytest.approx(10e-3 / log(2))


@pytest.mark.parametrize(
    ("name", "dt", "n_steps"), [("delrec-ssc", 1.4 / 249, 250), ("delrec-psmnist", 1e-3, 784)]
)
def test_presets_first_values_with_a_soft_reset(name, dt, n_steps):
    model = built(name)
    for layer in hidden(model):
        assert (layer.reset_mode, layer.refire, layer.detach_reset) == ("soft", True, False)
        assert float(layer.tau_mem) == pytest.approx(dt / log(2))
        assert not layer.spread.any() and layer.spread.shape == (layer.out_features,)
        d = layer.recurrent_delay.detach() / dt - 1
        assert d.min() >= -1e-6 and abs(d.square().mean().sqrt() / 12 - 1) < 0.25
        assert (layer.dropout, layer.input_dropout) == (0.0, 0.1)
        torch.testing.assert_close(layer.surrogate(torch.tensor([0.0, 0.5])),
                                   torch.tensor([1.0, 0.5]))  # fmt: skip
    for layer in model[1:]:
        inputs = layer.in_features**-0.5
        assert uniform(layer.weight, -inputs, inputs)
        if layer is not model.readout or name == "delrec-ssc":
            assert uniform(bias_of(layer, n_steps), -inputs, inputs)
    assert (model.readout.output, float(model.readout.tau_mem)) == ("last", inf)
    first = built("delrec-psmnist").hidden1
    at_limit = first.v_leak == torch.tensor(0.99)
    assert 0.1 < at_limit.float().mean() < 0.4 and first.v_leak.min() < -1.8
    assert (first.v_leak[~at_limit] < 0.99).all()


def test_presets_with_a_kernel():
    drawn = []
    for seed in range(40):
        torch.manual_seed(seed)
        model = methods.build("conv-delrec-shd-4", (3, 5, 5, 5, 5, 2))
        drawn += [layer.recurrent_weight for layer in hidden(model)[1:]]
    assert drawn[0].shape == (3,) and uniform(torch.cat(drawn), -(3**-0.5), 3**-0.5)
    model = built("conv-delrec-shd")
    assert float(model.readout.tau_mem) == pytest.approx(-10e-3 / log(1 - 1 / 1.17))
    assert (model.hidden2.sigma, model.hidden2.dropout) == (10.36, 0.44)
    assert model.hidden2.recurrent_dropout == 0.26
    assert uniform(model.hidden2.recurrent_delay / 10e-3 - 1, 10, 30)
    late = built("conv-delrec-ssc").hidden1
    assert late.surrogate(torch.zeros(1)) == 2.5 and late.refire and not late.batch_norm


def no_dropout(model):
    for layer in hidden(model):
        layer.dropout = layer.input_dropout = layer.recurrent_dropout = 0.0
    return model


def published(layer, raster, sigma, soft):
    """Return the spikes of a layer by the equations of the program, in its units and its order."""
    n_steps = raster.shape[1]
    kept = torch.exp(-layer.dt / layer.tau_mem)
    bias, v, sent = layer.v_leak * (1 - kept), layer.v_leak.expand(len(raster), -1), []
    weight = layer.recurrent_weight
    if layer.recurrent == "conv":
        weight = sum(torch.diag(weight[k].expand(layer.out_features - abs(k - 1)), k - 1)
                     for k in range(3))  # fmt: skip
    width = sigma if layer.spread is None else 2 * sigma * torch.sigmoid(layer.spread)
    taps = delrec.spread((layer.recurrent_delay / layer.dt - 1).clamp(min=0), width, n_steps)
    for t in range(n_steps):
        back = sum((sent[t - k] * taps[:, k] for k in range(1, t + 1)), torch.zeros_like(v))
        v = kept * v + raster[:, t] @ layer.weight.T + bias + back @ weight.T
        sent.append((v >= 1).to(v))
        v = v - sent[-1] if soft else v * (1 - sent[-1])
    return torch.stack(sent, 1)


@pytest.mark.parametrize("name", ["delrec-shd", "conv-delrec-shd", "delrec-ssc", "conv-delrec-ssc"])
def test_presets_fire_as_their_published_equations(name):
    """From the voltage on where a unit starts."""
    model = no_dropout(built(name, SIZES, max_delay=0.4)).double()
    layer, sigma = hidden(model)[1], 2.0
    layer.sigma = sigma
    layer.norm = None
    with torch.no_grad():
        layer.weight *= 2
        layer.recurrent_weight *= 3
    raster = (torch.rand(2, 40, layer.in_features) < 0.2).double()
    expected = published(layer, raster, sigma, soft=layer.reset_mode == "soft")
    assert expected.sum() > 50
    assert torch.equal(layer(raster), expected)
    layer.train(False)
    loops = layer.recurrent_delay / layer.dt
    rounded = copy.deepcopy(layer)
    with torch.no_grad():
        rounded.recurrent_delay.copy_(loops.round() * layer.dt)
    assert torch.equal(layer(raster), published(rounded, raster, 0.0, layer.reset_mode == "soft"))


@pytest.mark.parametrize("name", COUNTS)
def test_presets_learn_and_become_networks(name):
    model, settings = built(name, SIZES, max_delay=0.25), methods.recipe(name)
    optimizer = settings.optimizer(model)
    for layer in hidden(model):
        assert layer.recurrent is None or layer.recurrent_delay.max() <= 0.25
    with torch.no_grad():
        for layer in hidden(model):
            layer.weight *= 3
    raster = (torch.rand(6, 40, 4) < 0.3).float()
    labels = torch.arange(6) % 3
    value = model(raster)
    assert value.shape == (6, 3)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    functional.cross_entropy(value, labels).backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in model.parameters())
    optimizer.step()
    assert not any(torch.equal(p, before[n]) for n, p in model.named_parameters())
    soft = hidden(model)[0].refire
    model.double().eval()
    for layer in hidden(model):
        if layer.norm is not None:  # a shift is where units of a network start
            nn.init.zeros_(layer.norm.running_mean)
            nn.init.zeros_(layer.norm.bias)
    net = Network.from_torch(model)
    assert list(net.populations) == ["input", "hidden1", "hidden2", "hidden3", "readout"]
    assert len(net.projections) == 4 + sum(layer.recurrent is not None for layer in hidden(model))
    again = dense.from_network(
        net, settings.dt, delays="round", **({"refire": True} if soft else {})
    )
    fired, same = model[:-1](raster), again[:-1](raster)
    assert torch.equal(fired, same) and fired.sum() > 20
    voltage = model.readout.voltage(fired)
    torch.testing.assert_close(again.readout.voltage(fired), voltage, rtol=1e-9, atol=1e-9)


def test_presets_readouts():
    spikes = torch.zeros(1, 5, 2)
    spikes[0, [0, 3, 4], [0, 1, 1]] = 1.0
    votes = built("delrec-shd", (2, 3)).readout
    torch.testing.assert_close(votes(spikes), delrec.votes(votes.voltage(spikes)))
    assert votes.output == "integral" and votes(spikes).sum().item() == pytest.approx(5)
    last = built("conv-delrec-shd", (2, 3)).readout
    assert torch.equal(last(spikes), last.voltage(spikes)[:, 4]) and last.output == "last"
    total = built("delrec-ssc", (2, 3)).readout
    biases = total.v_leak / 250
    expected = (spikes @ total.weight.T).sum(1) + 250 * biases
    torch.testing.assert_close(total(spikes), expected)


def test_presets_of_other_sizes():
    only = built("delrec-shd", (4, 6, 2), dt=1e-3, max_delay=5e-3)
    assert only.hidden1.recurrent == "dense"  # the last one has a loop in any case
    assert torch.equal(only.hidden1.recurrent_delay, torch.full((6,), 5e-3))  # not 10 to 30 steps
    assert float(only.readout.tau_mem) == pytest.approx(-1e-3 / log(1 - 1 / 1.05))
    with torch.device("meta"):
        assert methods.build("conv-delrec-ssc").hidden1.recurrent_weight.is_meta
    assert torch.equal(built("delrec-ssc").hidden2.weight, built("delrec-ssc").hidden2.weight)


def test_presets_recipes():
    rows = {
        name: (r.sizes[0], r.epochs, r.batch, r.optimiser, r.lr, round(r.delay_lr / r.dt, 6))
        for name, r in ((name, methods.recipe(name)) for name in COUNTS)
    }
    shd, conv = (140, 150, 256, "AdamW", 5e-3, 0.05), (140, 150, 256, "AdamW", 1.3e-3, 0.0279)
    ssc = (140, 100, 128, "Adam", 1e-3, 0.05)
    assert rows == {
        "delrec-shd": shd,
        "delrec-shd-4": shd,
        "delrec-shd-small": (140, 30, 256, "AdamW", 5e-3, 0.1),
        "delrec-ssc": ssc,
        "delrec-psmnist": (1, 200, 256, "AdamW", 1e-3, 0.05),
        "conv-delrec-shd": conv,
        "conv-delrec-shd-4": conv,
        "conv-delrec-ssc": ssc,
    }
    for name in COUNTS:
        r = methods.recipe(name)
        on_shd = "shd" in name
        assert (r.schedule, r.clipping, r.loss) == ("OneCycleLR", None, "cross_entropy")
        assert r.delay_schedule == ("CosineAnnealingLR" if on_shd else "OneCycleLR")
        assert r.weight_decay == (1e-2 if name.endswith("psmnist") else 1e-5)
        found = (r.sigma, r.sigma_decay)
        assert found == ((10.36, 0.971) if name.startswith("conv-delrec-shd") else (10.0, 0.95))
        assert r.n_steps * r.dt <= 1.41 and not r.binary and len(r.notes) > 5
        assert (r.augmentation is None) == (name not in ("delrec-shd", "delrec-shd-4"))
        told = " ".join(r.notes)
        assert ("The shift is drawn" in told) == (r.augmentation is not None)
        normed = on_shd and name != "delrec-shd-small"
        assert ("shift of a batch norm" in told) == normed
        assert r.validation == {"shd": 0.2, "ssc": 0.0}.get(name.split("delrec-")[1][:3])
    axonal = methods.recipe("axonal-shd")
    assert (axonal.sigma, axonal.delay_schedule, axonal.dropout, axonal.summed) == (
        None,
        None,
        0,
        1,
    )
    assert any("0.99" in note for note in methods.recipe("delrec-psmnist").notes)


@pytest.mark.parametrize("name", ["delrec-psmnist", "delrec-ssc", "delrec-shd"])
def test_presets_biases_and_delays_move_as_published(name):
    """A v_leak moves as its bias would, a delay in seconds as its twin in steps."""
    settings = methods.recipe(name)
    model = built(name, (2, 3, 3, 2)).double()
    optimizer = settings.optimizer(model)
    layer = model.hidden2
    units = {layer.weight: 1.0, model.readout.v_leak: None, layer.v_leak: None,
             layer.recurrent_delay: settings.dt}  # fmt: skip
    for part in (layer, model.readout):
        if part.tau_mem == inf:
            units[part.v_leak] = settings.n_steps
        else:
            units[part.v_leak] = 1 / (1 - torch.exp(-part.dt / part.tau_mem))
    decays = [0.0 if p is layer.recurrent_delay else settings.weight_decay for p in units]
    rates = [0.05 if p is layer.recurrent_delay else settings.lr for p in units]
    twins = [nn.Parameter(p.detach() / unit) for p, unit in units.items()]
    plain = getattr(torch.optim, settings.optimiser)(
        [{"params": [p], "lr": lr, "weight_decay": decay}
         for p, lr, decay in zip(twins, rates, decays, strict=True)]
    )  # fmt: skip
    for seed in range(3):
        torch.manual_seed(seed)
        for (parameter, unit), twin in zip(units.items(), twins, strict=True):
            twin.grad = 1e-7 * torch.randn_like(twin)
            parameter.grad = twin.grad / unit
        optimizer.step()
        plain.step()
    for (parameter, unit), twin in zip(units.items(), twins, strict=True):
        torch.testing.assert_close(parameter / unit, twin, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("make", [
    lambda: dense.LIF(1, 3, 10e-3, v_leak=[0.0, 0.5, 0.9], learn="v_leak", dt=1e-3),
    lambda: g.CubaLIF(1, 3, 20e-3, 5e-3, v_leak=[0.0, 0.5, 0.9], learn="v_leak"),
])  # fmt: skip
def test_presets_keep_v_leak_below_the_threshold_with_any_optimiser(make):
    layer = make()
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    on_grid = isinstance(layer, dense.LIF)
    spikes = torch.zeros(1, 20, 1) if on_grid else Spikes([0.001], [0], size=1, duration=0.02)
    layer(spikes)
    layer.weight.grad = torch.zeros_like(layer.weight)
    layer.v_leak.grad = torch.tensor([-0.25, -0.25, -0.25])
    optimizer.step()
    assert layer.v_leak.tolist() == pytest.approx([0.25, 0.75, 0.99])
    layer(spikes)
    with torch.no_grad():
        layer.v_leak.fill_(1.25)  # a user's own is refused, not changed
    with pytest.raises(ValueError, match="threshold"):
        layer(spikes)
    assert layer.v_leak.tolist() == [1.25] * 3
