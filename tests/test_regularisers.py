import math

import numpy as np
import pytest
import torch
from torch import nn

from evsim import Spikes
from evsim import gradients as g
from evsim.gradients.functional import slopes
from evsim.gradients.regularisers import silent_loss, spike_count_regulariser, spike_counts

MS = 1e-3


def layer_of(cls=g.CubaLIF, low=1.0, high=4.0, **options):
    torch.manual_seed(5)
    taus = {"tau_syn": 5 * MS} if cls is g.SRM else {"tau_mem": 20 * MS, "tau_syn": 5 * MS}
    layer = cls(5, 4, **taus, **options, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.uniform_(low, high)
    return layer


def some_spikes(n=3, each=15):
    rng = np.random.default_rng(5)
    offsets = np.arange(n + 1) * each
    times = rng.uniform(0, 20 * MS, n * each)
    return Spikes(times, rng.integers(0, 5, n * each), offsets, size=5, duration=60 * MS)


def train(layer, spikes, loss, steps, lr):
    adam = torch.optim.Adam(layer.parameters(), lr=lr)
    for _ in range(steps):
        adam.zero_grad()
        loss(layer(spikes)).backward()
        adam.step()
    return layer(spikes).numpy().counts()


# --- silent units ---


def test_silent_loss_by_hand():
    peaks = torch.tensor([[-0.5, 0.0, -1.0], [0.0, 0.0, -0.5]], requires_grad=True)
    loss = silent_loss(peaks)
    loss.backward()
    assert loss.item() == 1.0
    assert (peaks.grad == -0.5).all()
    assert float(silent_loss(torch.zeros(0, 3))) == 0.0
    with pytest.raises(ValueError, match=r"shape \[3\]"):
        silent_loss(torch.zeros(3))


def test_silent_loss_has_an_exact_gradient():
    layer, spikes = layer_of(low=0.0, high=1.0), some_spikes(each=5)
    fired = layer(spikes)
    assert len(fired.times) == 0

    def run(weight):
        assert weight is layer.weight  # which gradcheck varies in place
        return silent_loss(layer.peak_voltage(spikes, fired))

    assert torch.autograd.gradcheck(run, (layer.weight,), atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize("cls", [g.CubaLIF, g.SRM])
def test_silent_loss_wakes_up_a_silent_layer(cls):
    layer, spikes = layer_of(cls, low=0.0, high=0.02), some_spikes()
    assert len(layer(spikes).times) == 0
    counts = train(
        layer, spikes, lambda fired: silent_loss(layer.peak_voltage(spikes, fired)), 30, 0.1
    )
    assert (counts > 0).all()


def test_silent_loss_of_units_that_are_silent_in_all_recordings():
    layer, spikes = layer_of(low=0.0, high=0.2), some_spikes()

    def loss(fired):
        peaks = layer.peak_voltage(spikes, fired)
        return silent_loss(peaks[:, (peaks < 0).all(dim=0)])

    assert (train(layer, spikes, loss, 30, 0.1).sum(axis=0) > 0).all()


# --- spike counts ---


def test_counts_are_those_of_the_spikes():
    layer, spikes = layer_of(), some_spikes()
    fired = layer(spikes)
    assert (spike_counts(fired).detach().numpy() == fired.numpy().counts()).all()
    assert spike_counts(Spikes([], [], [0], size=4, duration=1.0)).shape == (0, 4)


def test_gradient_of_a_count_is_that_of_the_voltage_at_the_spike():
    # Of a unit's first spike: the voltage that a unit weight makes of the arrivals before it.
    layer = layer_of()
    spikes = Spikes([1 * MS, 2 * MS, 3 * MS], [0, 1, 2], size=5, duration=60 * MS)
    with torch.no_grad():
        layer.weight.fill_(3.0)
        layer.weight[1:] = 0.0
        layer.weight[0, 2] = 0.5
    fired = layer(spikes)
    assert fired.numpy().counts().tolist() == [[1, 0, 0, 0]]
    spike_counts(fired).sum().backward()
    late = fired.times[0].item() / MS - np.array([1, 2, 3])
    psp = np.where(late > 0, (np.exp(-late / 20) - np.exp(-late / 5)) / 3, 0)
    assert layer.weight.grad[0, :3].tolist() == pytest.approx(psp.tolist(), rel=1e-9)
    assert (layer.weight.grad[1:] == 0).all()
    assert float(psp @ layer.weight[0].detach()[:3].numpy()) == pytest.approx(1.0)  # the threshold


def test_slopes_are_those_of_finite_differences():
    layer, spikes = layer_of(learn=["threshold"], threshold=[1.0] * 4), some_spikes()
    fired = layer(spikes)
    first = int(fired.times[: int(fired.offsets[1])].argmin())
    unit, slope = int(fired.units[first]), float(slopes(fired)[first])
    with torch.no_grad():
        layer.threshold[unit] += 1e-7
    later = layer(spikes).times[first] - fired.times[first]
    assert 1e-7 / later.item() == pytest.approx(slope, rel=1e-4)


def test_regulariser_by_hand():
    spikes = Spikes([0.1, 0.2, 0.2, 0.3], [0, 0, 1, 0], [0, 2, 4], size=3, duration=1.0)
    # Mean counts 1.5, 0.5, 0.
    assert float(spike_count_regulariser(spikes, 1.0)) == pytest.approx((0.25 + 0.25 + 1) / 2)
    found = spike_count_regulariser(spikes, [1.5, 0.5, 2.0], strength=0.5)
    assert float(found) == pytest.approx(0.5 * 4 / 2)
    assert float(spike_count_regulariser(spikes[:0], 1.0)) == 0.0


def test_the_kick_at_every_spike():
    layer, spikes = layer_of(), some_spikes(n=2)
    fired = layer(spikes)
    fired.times.retain_grad()
    spike_count_regulariser(fired, 1.0, strength=0.25).backward()
    mean = torch.from_numpy(fired.numpy().counts().mean(axis=0))
    kick = 0.25 * (mean[fired.units] - 1.0) / 2
    assert torch.allclose(fired.times.grad, -kick * slopes(fired))


@pytest.mark.parametrize(
    ("cls", "low", "high", "lr"),
    [
        (g.CubaLIF, 1.5, 2.0, 0.05),
        (g.CubaLIF, 0.5, 0.6, 0.05),
        (g.SRM, 0.34, 0.5, 0.01),
        (g.SRM, 0.08, 0.1, 0.01),
    ],
)
def test_counts_go_to_their_target(cls, low, high, lr):
    layer, spikes = layer_of(cls, low, high), some_spikes(each=40)

    def term(fired):
        return spike_count_regulariser(fired, target=[4.0, 5.0, 5.0, 6.0])

    fired = layer(spikes)
    counts = train(layer, spikes, term, steps=50, lr=lr)
    assert term(layer(spikes)) < 0.1 * term(fired)
    too_many = fired.numpy().counts().mean() > 5
    assert (counts.mean() < fired.numpy().counts().mean()) == too_many


def test_the_kick_reaches_earlier_layers():
    first, second, spikes = layer_of(), g.CubaLIF(4, 2, 20 * MS, 5 * MS), some_spikes()
    with torch.no_grad():
        second.weight.fill_(4.0)
    spike_count_regulariser(second(first(spikes)), 0.0).backward()
    assert (first.weight.grad != 0).any()


def test_without_a_graph_there_is_a_value():
    layer, spikes = layer_of(), some_spikes()
    with torch.no_grad():
        quiet = spike_count_regulariser(layer(spikes), 1.0)
    assert float(quiet) == float(spike_count_regulariser(layer(spikes), 1.0).detach())
    assert not quiet.requires_grad


def test_moved_spikes_are_refused():
    fired = g.Delay(4)(layer_of()(some_spikes()))
    with pytest.raises(ValueError, match="that a spiking layer returned, unchanged"):
        spike_counts(fired)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"target": -1.0}, "target"),
        ({"target": math.nan}, "target"),
        ({"target": [1.0, 2.0]}, r"target: shape \[2\], must be \[\] or \[3\]"),
        ({"target": 1.0, "strength": 0.0}, "strength = 0"),
        ({"target": 1.0, "strength": math.inf}, "strength = inf"),
    ],
)
def test_wrong_numbers_are_refused(options, what):
    with pytest.raises(ValueError, match=what):
        spike_count_regulariser(Spikes([0.1], [0], size=3, duration=1.0), **options)


# --- delays ---


class Halved(nn.Module):
    """A parametrisation of a delay; whether what is behind it is a delay too is said."""

    def __init__(self, says):
        super().__init__()
        self.free_is_delay = says

    def forward(self, free):
        return free / 2

    def right_inverse(self, delay):
        return delay


def late_model():
    torch.manual_seed(0)
    return nn.Sequential(
        g.Delay(5),
        g.CubaLIF(5, 4, 20e-3, 5e-3, recurrent="dense"),
        g.CubaLIF(4, 3, 20e-3, 5e-3, delay="synaptic", recurrent="conv", recurrent_delay="axonal"),
        g.LI(3, 2, 20e-3, delay="axonal", dtype=torch.float64),
    )


def test_delay_penalty_of_layers():
    model = late_model()
    first, second, third = (
        model[0].delay.square().sum(),
        model[2].delay.square().sum() + model[2].recurrent_delay.square().sum(),
        model[3].delay.square().sum(),
    )
    torch.testing.assert_close(g.delay_penalty(model, 2.0), 2 * (first + second + third))
    found = g.delay_penalty(model, [1.0, 0.0, 3.0])
    torch.testing.assert_close(found, first + 3 * third)
    found.backward()
    torch.testing.assert_close(model[0].delay.grad, 2 * model[0].delay)
    assert model[2].recurrent_delay.grad.abs().max() == 0
    assert g.delay_penalty(model[1], 1.0).item() == 0  # its loop's delay is one fixed number


def test_delay_penalty_counts_no_synapses_that_are_not_there():
    mask = torch.tensor([[True, False], [True, True]])
    layer = g.CubaLI(2, 2, 20e-3, 5e-3, delay="synaptic", mask=mask)
    torch.testing.assert_close(g.delay_penalty(layer, 1.0), layer.delay[mask].square().sum())


@pytest.mark.parametrize("says", [False, True])
def test_delay_penalty_takes_the_free_delay_where_it_is_one(says):
    layer = g.Delay(3)
    nn.utils.parametrize.register_parametrization(layer, "delay", Halved(says))
    free = layer.parametrizations.delay.original
    expected = (free if says else free / 2).square().sum()
    torch.testing.assert_close(g.delay_penalty(layer, 1.0), expected)


@pytest.mark.parametrize(
    ("strength", "what"),
    [
        (-1.0, "strength = -1.0, must be finite and >= 0"),
        (np.nan, "strength = nan"),
        ([1.0, 2.0], r"strength: shape \[2\], must be \[\] or \[3\]"),
    ],
)
def test_delay_penalty_refuses_wrong_strengths(strength, what):
    with pytest.raises(ValueError, match=what):
        g.delay_penalty(late_model(), strength)
