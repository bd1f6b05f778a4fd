"""Published networks and their settings by name, and a training of one on the grid."""

from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from torch import nn

import evsim
from evsim import Network
from evsim import gradients as g
from evsim.gradients import dense, lowbit, methods


def test_the_published_network():
    torch.manual_seed(0)
    model = methods.build("axonal-shd")
    assert [tuple(layer.weight.shape) for layer in model] == [(128, 700), (128, 128), (20, 128)]
    kept = [p.numel() for p in model.parameters() if p.requires_grad]
    assert sum(kept) == 108_800 and sum(p.numel() for p in model.parameters()) == 108_800
    assert [layer.delay_kind for layer in model] == [None, "axonal", "axonal"]
    for layer in model:
        assert (layer.delays, layer.refire, layer.dt) == ("floor", True, 4e-3)
        cells = [float(getattr(layer, name)) for name in ("tau_syn", "tau_r", "threshold")]
        assert cells == [4e-3, 8e-3, 10.0]
        bound = 10 / layer.in_features**0.5
        assert 0.99 * bound < layer.weight.abs().max() <= bound
        assert abs(layer.weight.std() / (bound / 3**0.5) - 1) < 0.02
    for layer in model[1:]:
        assert layer.delay.shape == (128,) and layer.max_delay == pytest.approx(1.4)
        assert 0 <= layer.delay.min() < 0.2e-3 and 3.8e-3 < layer.delay.max() < 4e-3
    v = torch.tensor([-2.0, 0.0, 1.0])
    torch.testing.assert_close(model[0].surrogate(v), 0.1 * torch.exp(-v.abs()))


def test_sizes_and_steps_of_ones_own():
    torch.manual_seed(0)
    model = methods.build("axonal-shd", (7, 6, 5, 4, 3), dt=1e-3, max_delay=0.03)
    assert list(dict(model.named_children())) == ["hidden1", "hidden2", "hidden3", "output"]
    assert [layer.max_delay for layer in model[1:]] == [0.03] * 3
    assert float(model.output.tau_syn) == 1e-3 and model.output.delay.max() < 1e-3
    again = methods.build("axonal-shd", (7, 3))
    assert again.output.delay is None and again(torch.zeros(2, 9, 7)).shape == (2, 9, 3)
    with torch.device("meta"):
        assert methods.build("axonal-shd").output.weight.is_meta


def test_the_published_settings():
    settings = methods.recipe("axonal-shd")
    assert methods.NAMES[0] == "axonal-shd"
    assert (settings.epochs, settings.batch, settings.optimiser) == (1000, 128, "NAdam")
    assert (settings.n_steps, settings.binary, settings.loss) == (350, True, "spikemax")
    assert settings.lr == 0.01 and settings.delay_lr / settings.dt == pytest.approx(0.01)
    assert (settings.schedule, settings.clipping, settings.augmentation) == (None, None, None)
    with pytest.raises(FrozenInstanceError):
        settings.epochs = 1


def test_steps_are_those_of_delays_in_steps_and_of_a_sum_over_the_batch():
    """A delay in seconds moves as its twin in steps; a mean as a sum."""
    settings = replace(methods.recipe("axonal-shd"), batch=128)
    torch.manual_seed(0)
    model = methods.build("axonal-shd", (3, 2, 2))
    optimizer = settings.optimizer(model)
    assert [len(group["params"]) for group in optimizer.param_groups] == [2, 1]
    layer = model.output
    twins = (
        nn.Parameter(layer.weight.detach().double()),
        nn.Parameter(layer.delay.detach().double() / settings.dt),
    )
    plain = torch.optim.NAdam(twins, lr=0.01)
    model.double()
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        for parameter, twin, unit in zip((layer.weight, layer.delay), twins, (1, settings.dt),
                                         strict=True):  # fmt: skip
            twin.grad = 1e-8 * torch.randn(twin.shape, generator=generator, dtype=torch.float64)
            parameter.grad = twin.grad / settings.batch / unit
        optimizer.step()
        plain.step()
    torch.testing.assert_close(layer.weight, twins[0], rtol=1e-9, atol=0)
    torch.testing.assert_close(layer.delay / settings.dt, twins[1], rtol=1e-9, atol=0)


def test_few_bits_are_trained_by_the_same_optimiser():
    torch.manual_seed(0)
    settings = methods.recipe("axonal-shd")
    model = methods.build("axonal-shd", (3, 2, 2))
    layer = model.output
    register = nn.utils.parametrize.register_parametrization
    register(layer, "weight", lowbit.Ternary.fit(layer.weight, learn=True))
    register(layer, "delay", lowbit.DelayGrid(settings.dt, high=20 * settings.dt, learn=True))
    model.hidden1.weight.requires_grad_(False)
    weights, delays = (group["params"] for group in settings.optimizer(model).param_groups)
    grid, ternary = layer.parametrizations.delay, layer.parametrizations.weight
    assert {id(p) for p in delays} == {id(grid.original), id(grid[0].low)}
    assert {id(p) for p in weights} == {id(ternary.original), *map(id, ternary[0].parameters())}


def test_what_is_behind_a_bound_is_trained_as_a_number_without_a_unit():
    model = methods.build("axonal-shd", (3, 2, 2))
    nn.utils.parametrize.register_parametrization(model.output, "delay", g.Bounded(0.0, 0.1))
    weights, delays = methods.recipe("axonal-shd").optimizer(model).param_groups
    free = model.output.parametrizations.delay.original
    assert any(p is free for p in weights["params"]) and not delays["params"]


@pytest.mark.parametrize(
    ("run", "what"),
    [
        (lambda: methods.build("axonal"), "name = 'axonal', must be one of axonal-shd"),
        (lambda: methods.recipe("shd"), "name = 'shd'"),
        (lambda: methods.build("axonal-shd", (3,)), r"sizes = \(3,\), must be"),
        (lambda: methods.build("axonal-shd", (3, 0, 2)), r"sizes = \(3, 0, 2\)"),
        (lambda: methods.build("axonal-shd", (3, 2), dt=-1.0), "dt = -1.0, must be finite and > 0"),
    ],
)
def test_what_is_not_there_is_refused(run, what):
    with pytest.raises(ValueError, match=what):
        run()


def which_is_first(n, seed):
    """Return rasters of two groups of channels; the one that bursts first is the class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    raster = (torch.rand(n, 24, 10, generator=generator) < 0.02).float()
    for b, label in enumerate(labels.tolist()):
        raster[b, 2:6, 5 * label : 5 * label + 5] = 1.0
        raster[b, 10:14, 5 - 5 * label : 10 - 5 * label] = 1.0
    return raster, labels


def test_a_small_network_learns_and_its_decisions_by_events_are_counted():
    torch.manual_seed(0)
    settings = methods.recipe("axonal-shd")
    model = methods.build("axonal-shd", (10, 16, 16, 2))
    with torch.no_grad():  # so few units need more to fire
        for layer in model:
            layer.weight *= 4
    first = [layer.delay.detach().clone() for layer in model[1:]]
    optimizer = replace(settings, lr=0.1, delay_lr=0.5 * settings.dt).optimizer(model)
    raster, labels = which_is_first(20, 0)
    losses = []
    for _ in range(40):
        loss = g.spikemax(model(raster).sum(1), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < sum(losses[:10]) - 0.5, losses
    for layer, delay in zip(model[1:], first, strict=True):
        assert (layer.delay - delay).abs().max() > settings.dt and layer.delay.min() >= 0

    raster, labels = which_is_first(100, 1)
    with torch.no_grad():
        fired = model(raster)
    decided = fired.sum(1).argmax(1)
    assert (decided == labels).sum() > 60
    net = Network.from_torch(model)
    again = dense.from_network(net, settings.dt, delays="floor", refire=True).float()
    assert torch.equal(again(raster), fired)
    assert [p.model for p in net.populations.values()] == ["Input", "SRM", "SRM", "SRM"]
    by_events = evsim.simulate(net, dense.to_spikes(raster, settings.dt)).spikes["output"].counts()
    equal = int((torch.from_numpy(by_events).argmax(1) == decided).sum())
    # Units of events fire from below the threshold only, and between steps: not all are equal.
    assert 0 < equal < 100 and by_events.sum() > 0
