"""The exact local rule on events: equal to the gradient without a loop, and what it leaves out."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from evsim import Spikes
from evsim import gradients as g
from evsim.gradients import dense
from evsim.gradients.methods import three_factor
from evsim.gradients.methods.three_factor import event_rule
from evsim.gradients.methods.three_factor.stages import stretches
from evsim.gradients.tensors import joined

F64 = torch.float64
INPUTS, UNITS, CLASSES, DURATION = 12, 10, 3, 0.15
CELLS = ("threshold", "reset", "refractory", "v_leak")
READOUTS = ({"output": "integral", "tau_output": 0.1}, {"output": "max"}, {"output": "last"})


def recordings(n=3, size=INPUTS, rate=80.0, seed=0):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rate * size * DURATION, n)
    times = [np.sort(rng.uniform(0, DURATION, count)) for count in counts]
    return Spikes(
        np.concatenate(times), rng.integers(0, size, counts.sum()), np.cumsum([0, *counts]), size,
        DURATION, rng.integers(0, CLASSES, n),
    )  # fmt: skip


SPIKES = recordings()
LABELS = torch.from_numpy(SPIKES.labels)


def cuba(n_in=INPUTS, n=UNITS, **options):
    return g.CubaLIF(n_in, n, 20e-3, 5e-3, dtype=F64, **options)


def srm(n_in=INPUTS, n=UNITS, **options):
    return g.SRM(n_in, n, 10e-3, 6e-3, dtype=F64, **options)


def readout(n=UNITS, **options):
    return g.CubaLI(n, CLASSES, 10e-3, 5e-3, dtype=F64, **options)


def network(*layers):
    return nn.Sequential(*layers)


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def by_rule(model, **options):
    model.zero_grad()
    values = three_factor.backward(model, SPIKES, LABELS, **options)
    return values, gradients(model)


def by_adjoint(model):
    model.zero_grad()
    values = model(SPIKES)
    cross_entropy(values, LABELS).backward()
    return values.detach(), gradients(model)


def assert_alike(found, wanted, tolerance=1e-10):
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        # Where a gradient is the rest of what cancels, rounding is all of it.
        scale = max(float(gradient.norm()), 1e-9)
        assert float((found[name] - gradient).norm()) < tolerance * scale, name


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(1)


@pytest.mark.parametrize("output", READOUTS, ids=lambda o: o["output"])
@pytest.mark.parametrize("refractory", [0.0, 4e-3])
@pytest.mark.parametrize("delay", [None, "axonal", "dendritic", "synaptic"])
def test_without_a_loop_it_is_the_gradient(delay, refractory, output):
    late = readout(delay="axonal", learn=("tau_mem", "tau_syn", "v_leak"), **output)
    for layer in (
        cuba(delay=delay, refractory=refractory, reset=-0.2, v_leak=0.1, learn=CELLS),
        srm(delay=delay, learn=("threshold",)),
    ):
        model = network(layer, late)
        values, found = by_rule(model)
        wanted_values, wanted = by_adjoint(model)
        assert layer.diagnostics.n_spikes > 100
        torch.testing.assert_close(values, wanted_values, rtol=0, atol=1e-12)
        if refractory == 0 and "0.refractory" in wanted:
            assert not found["0.refractory"].any()
        assert_alike(found, wanted)
        assert float(wanted["0.weight"].norm()) > 1e-6


def test_units_of_their_own_constants_masks_and_delays_between():
    tau_mem = torch.linspace(10e-3, 30e-3, UNITS, dtype=F64)
    mask = torch.rand(UNITS, INPUTS) > 0.5
    layer = g.CubaLIF(
        INPUTS, UNITS, tau_mem, 5e-3, refractory=2e-3, delay="axonal", mask=mask, dtype=F64
    )
    model = network(
        g.Delay(INPUTS, dtype=F64), layer, g.Delay(UNITS, dtype=F64),
        g.LI(UNITS, CLASSES, 8e-3, delay="synaptic", output="max", dtype=F64),
    )  # fmt: skip
    found, wanted = by_rule(model)[1], by_adjoint(model)[1]
    assert_alike(found, wanted)
    assert not found["1.weight"][~mask].any()
    assert float(found["0.delay"].norm()) > 0 and float(found["2.delay"].norm()) > 0


@pytest.mark.parametrize(
    ("tau_mem", "tau_syn", "before"),
    [
        (torch.linspace(10e-3, 30e-3, UNITS, dtype=F64), 5e-3, 0.0),
        (5.1e-3, 5e-3, 0.0),
        (5e-3, 5e-3, 0.0),
        (20e-3, 5e-3, 0.0),
        (4e-3, 2e-4, 0.01),
        (5e-3, 5e-5, 0.05),
    ],
    ids=["each its own", "nearly equal", "equal", "apart", "several blocks", "too short"],
)
def test_delays_of_synapses_with_any_time_constants(tau_mem, tau_syn, before):
    """They are a matter of which exponentials are taken; see `_arrive_apart`."""
    late = 5e-3 if before else 0.1
    layer = g.CubaLIF(INPUTS, UNITS, tau_mem, tau_syn, delay="synaptic", max_delay=late, dtype=F64)
    shift = g.Delay(INPUTS, 0.1, dtype=F64)
    with torch.no_grad():
        layer.weight.mul_(2)
        shift.delay.fill_(before)
    model = network(shift, layer, readout())
    assert_alike(by_rule(model)[1], by_adjoint(model)[1])
    assert layer.diagnostics.n_spikes > 50


def test_quantised_and_shared_numbers_get_their_gradients():
    from torch.nn.utils import parametrize

    from evsim.gradients import lowbit

    layer = cuba(delay="synaptic")
    parametrize.register_parametrization(layer, "weight", lowbit.Uniform(4))
    parametrize.register_parametrization(layer, "delay", lowbit.DelayGrid(1e-3, high=0.06))
    model = network(layer, readout())
    assert_alike(by_rule(model)[1], by_adjoint(model)[1])


@pytest.mark.parametrize("make", [cuba, srm])
@pytest.mark.parametrize("kind", ["axonal", "synaptic", 2e-3])
def test_spikes_of_a_loop_are_taken_as_given(make, kind):
    """It is the gradient of a network to which the layer's own spikes are fed as inputs."""
    layer, read = make(delay="axonal", recurrent="dense", recurrent_delay=kind), readout()
    model = network(layer, read)
    values, found = by_rule(model)
    fired = layer(SPIKES)
    open_loop = make(INPUTS + UNITS, delay="synaptic")
    parts = layer.tensors()
    late = parts["axonal_delay"].expand(UNITS, -1)
    own = parts.get("recurrent_delay", parts.get("recurrent_axonal_delay")).double()
    with torch.no_grad():
        open_loop.weight.copy_(torch.cat([parts["weight"], parts["recurrent_weight"]], 1))
        open_loop.delay.copy_(torch.cat([late, own.expand(UNITS, -1)], 1))
    given = joined(SPIKES.torch(), fired.numpy().torch(), INPUTS)
    torch.testing.assert_close(open_loop(given).times, fired.times, rtol=0, atol=1e-12)
    cross_entropy(read(open_loop(given)), LABELS).backward()
    by_weight, by_delay = open_loop.weight.grad, open_loop.delay.grad
    wanted = {
        "0.weight": by_weight[:, :INPUTS], "0.recurrent_weight": by_weight[:, INPUTS:],
        "0.delay": by_delay[:, :INPUTS].sum(0),
    }  # fmt: skip
    if kind == "axonal":
        wanted["0.recurrent_delay"] = by_delay[:, INPUTS:].sum(0)
    elif kind == "synaptic":
        wanted["0.recurrent_delay"] = by_delay[:, INPUTS:]
    assert_alike({name: found[name] for name in wanted}, wanted)
    exact = by_adjoint(model)[1]["0.recurrent_weight"]
    assert float((found["0.recurrent_weight"] - exact).norm()) > 1e-3 * float(exact.norm())


def test_a_kernel_shares_its_gradient():
    model = network(cuba(recurrent="conv", recurrent_delay="axonal"), readout())
    found = by_rule(model)[1]
    assert found["0.recurrent_weight"].shape == (3,) and found["0.recurrent_weight"].all()


@pytest.mark.parametrize("output", READOUTS, ids=lambda o: o["output"])
def test_feedback_takes_the_place_of_the_readouts_weights(output):
    model = network(cuba(delay="axonal"), readout(delay="axonal", **output))
    own, other = model[1].weight.detach().clone(), torch.randn(CLASSES, UNITS)
    wanted = by_rule(model)[1]
    assert_alike(by_rule(model, feedback=own)[1], wanted)
    found = by_rule(model, feedback=[other])[1]
    assert_alike({"1.weight": found["1.weight"]}, {"1.weight": wanted["1.weight"]})
    assert float(nn.functional.cosine_similarity(
        found["0.weight"].flatten(), wanted["0.weight"].flatten(), 0)) < 0.9  # fmt: skip


def test_errors_go_straight_to_every_layer():
    """A layer's gradient is that of a readout with its feedback which hears it alone.

    The readout's delays are those of the last layer's units.
    """
    first, second = cuba(delay="synaptic"), srm(UNITS, 8)
    read = readout(8, delay="axonal", output="integral")
    model = network(first, second, read)
    feedback = [torch.randn(CLASSES, UNITS, dtype=F64), torch.randn(CLASSES, 8, dtype=F64)]
    values, found = by_rule(model, feedback=feedback)
    error = (values.softmax(1) - nn.functional.one_hot(LABELS, CLASSES)) / len(LABELS)
    ears = [readout(UNITS, output="integral"), copy.deepcopy(read)]
    hidden = [first(SPIKES)]
    hidden.append(second(hidden[0].numpy().torch()))
    for name, ear, weight, fired in zip(("0", "1"), ears, feedback, hidden, strict=True):
        with torch.no_grad():
            ear.weight.copy_(weight)
        model.zero_grad()
        (ear(fired) * error).sum().backward()
        wanted = {n: v for n, v in gradients(model).items() if n.startswith(name)}
        assert_alike({n: found[n] for n in wanted}, wanted)


LOOPS = [
    (cuba, {"delay": "axonal", "recurrent_delay": "axonal", "refractory": 7e-3, "learn": CELLS}),
    (cuba, {"delay": "synaptic", "recurrent_delay": "synaptic"}),
    (cuba, {"recurrent_delay": 1e-3}),
    (srm, {"delay": "axonal", "recurrent_delay": "synaptic", "learn": ("threshold",)}),
]


@pytest.mark.parametrize(("make", "options"), LOOPS)
@pytest.mark.parametrize("output", READOUTS, ids=lambda o: o["output"])
def test_played_in_pieces_it_is_the_same(monkeypatch, make, options, output):
    layer = make(recurrent="dense", **options)
    model = network(layer, readout(delay="axonal", learn=("tau_mem", "tau_syn"), **output))
    values, wanted = by_rule(model)
    fired = layer.diagnostics.n_spikes
    monkeypatch.setattr(event_rule, "PIECE", 100)  # delays are longer than a piece
    again, found = by_rule(model)
    assert layer.diagnostics.n_spikes == fired
    torch.testing.assert_close(again, values, rtol=1e-11, atol=1e-12)
    assert_alike(found, wanted)


@pytest.mark.parametrize("output", READOUTS, ids=lambda o: o["output"])
def test_a_stretch_counts_its_own_spikes(output):
    """Values are those of a recording that ends with it; gradients pass through its spikes."""
    model = network(cuba(delay="axonal", recurrent="dense"), readout(**output))
    every, before = 0.04, 0
    for k, values in enumerate(three_factor.online(model, SPIKES, LABELS, every)):
        end = min((k + 1) * every, DURATION)
        found = gradients(model)
        model.zero_grad()
        cut = SPIKES.before(end)
        ended = cut.replace(cut.times, cut.units, cut.offsets, duration=end)
        with warnings.catch_warnings():  # of delays that are longer
            warnings.simplefilter("ignore")
            fired = model[0](ended)
        torch.testing.assert_close(values, model[1](fired).detach(), rtol=1e-10, atol=1e-12)
        # Spikes of before and of now are other units with the same weights.
        now = fired.times >= k * every
        units = fired.units + UNITS * now
        twice = readout(2 * UNITS, **output)
        with torch.no_grad():
            twice.weight.copy_(model[1].weight.repeat(1, 2))
        times = fired.times.detach().requires_grad_()
        cross_entropy(
            twice(fired.replace(times, units, fired.offsets, size=2 * UNITS)), LABELS
        ).backward()
        wanted = {"1.weight": twice.weight.grad[:, UNITS:]}
        assert_alike({"1.weight": found["1.weight"]}, wanted)
        assert bool(times.grad[now].any()) == bool(found["0.weight"].any())
        before += int(now.sum())
    assert k == 3 and before == len(model[0](SPIKES).times)


def test_parameters_may_move_within_a_recording():
    model = network(cuba(delay="synaptic", recurrent="dense", recurrent_delay="axonal"), readout())
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    first, losses = model[0].weight.detach().clone(), []
    for _ in range(30):
        values = []
        for found in three_factor.online(model, SPIKES, LABELS, every=0.05):
            optimizer.step()
            optimizer.zero_grad()
            values.append(found)
        losses.append(float(cross_entropy(values[-1], LABELS)))
    assert losses[-1] < 0.5 * losses[0]
    assert not torch.equal(model[0].weight, first)


def test_units_that_are_held_are_released_when_their_refractory_period_is_no_more():
    """What moves a refractory period moves those that begin, not those that go on."""
    found = []
    for refractory in (0.0, 1e-12):
        torch.manual_seed(1)
        model = network(cuba(refractory=7e-3, learn=CELLS), readout())
        play = three_factor.online(model, SPIKES, LABELS, every=0.075)
        next(play)
        model.zero_grad()
        with torch.no_grad():
            model[0].refractory.fill_(refractory)
        next(play)
        found.append(gradients(model))
    assert_alike(
        *({name: each[name] for name in ("0.weight", "0.threshold")} for each in found), 1e-5
    )


def test_spikes_at_borders_are_played_once():
    times = np.round(SPIKES.times, 2)
    assert 0 < (times == 0).sum() and (times == 0.05).any()
    given = SPIKES.replace(times, SPIKES.units, SPIKES.offsets, duration=0.2)
    model = network(cuba(), readout(output="last"))
    *_, values = three_factor.online(model, given, LABELS, every=0.05)
    torch.testing.assert_close(values, model(given).detach(), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("delay", [None, "synaptic"])
def test_what_arrives_at_a_border_is_traced_after_it(delay):
    given = Spikes(np.full(INPUTS, 0.05), np.arange(INPUTS), size=INPUTS, duration=0.1)
    model = network(cuba(delay=delay), readout(output="last"))
    with torch.no_grad():
        model[0].weight.mul_(3)
        if delay:
            model[0].delay.zero_()
    three_factor.backward(model, given, LABELS[:1])
    wanted = gradients(model)
    assert float(wanted["0.weight"].norm()) > 0
    for _ in three_factor.online(model, given, LABELS[:1], every=0.05):
        found = gradients(model)
        model.zero_grad()
    assert_alike(found, wanted)


def test_stretches_end_with_the_recording():
    found = [stretches(0.2, every) for every in (0.1, 0.2 / 3, 0.15, 0.2, 1.0, None)]
    assert [len(ends) for ends in found] == [2, 3, 2, 1, 1, 1]
    assert all(ends[-1] == 0.2 and ends == sorted(set(ends)) for ends in found)
    with pytest.raises(ValueError, match="every = 0"):
        stretches(0.2, 0.0)


def test_results_do_not_depend_on_threads():
    batch = recordings(40, rate=200.0)
    model = network(cuba(n=64, delay="axonal"), readout(64))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            model.zero_grad()
            three_factor.backward(model, batch, torch.from_numpy(batch.labels))
            found.append(gradients(model))
    finally:
        torch.set_num_threads(before)
    for name, gradient in found[0].items():
        assert torch.equal(gradient, found[1][name]), name


def test_silent_layers_and_empty_recordings_have_no_gradient():
    nothing = Spikes([], [], [0, 0, 0], size=INPUTS, duration=DURATION, labels=[0, 1])
    model = network(cuba(delay="axonal"), readout())
    values = three_factor.backward(model, nothing, torch.tensor([0, 1]))
    assert not values.any() and not model[0].weight.grad.any() and not model[1].weight.grad.any()


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda: cuba(), {}, "model is a CubaLIF, must be a torch.nn.Sequential"),
        (lambda: None, {}, "model is a NoneType, must be a torch.nn.Sequential"),
        (lambda: network(cuba()), {}, "the last layer must be a readout"),
        (lambda: network(readout(INPUTS)), {}, "a layer that spikes before the readout"),
        (lambda: network(cuba(), nn.ReLU(), readout()), {}, "'1' is a ReLU"),
        (lambda: network(cuba(learn=("tau_mem",)), readout()), {}, "0: learn = 'tau_mem'"),
        (lambda: network(cuba(bound=1.0), readout()), {}, "0: bound = 1"),
        (lambda: network(cuba(tick=1e-4), readout()), {}, "0: tick = 0.0001"),
        (
            lambda: network(dense.LIF(INPUTS, UNITS, 20e-3, dt=1e-3), readout()),
            {},
            "some layers are of events and some of the grid",
        ),
        (
            lambda: network(cuba(), readout()),
            {"feedback": torch.full((CLASSES, UNITS), torch.nan)},
            r"feedback\[0\]: has entries that are not finite",
        ),
        (lambda: network(cuba(), readout(at=[0.1])), {}, "1: at ="),
        (lambda: network(cuba(), cuba(UNITS), readout()), {}, "feedback = None"),
        (lambda: network(cuba(), readout()), {"feedback": torch.ones(2, 2)}, r"feedback\[0\]"),
        (
            lambda: network(cuba(), readout()),
            {"feedback": np.ones((3, 10))},
            "is ndarray, must be a",
        ),
        (lambda: network(cuba(), readout()), {"causal": True}, "causal"),
        (lambda: network(cuba(), readout()), {"width": 0.0}, "width = 0"),
        (lambda: network(cuba(), readout()), {"feedback": "random"}, "feedback: is str"),
        (lambda: network(cuba(), readout(UNITS + 1)), {}, "layer 1: takes"),
        (lambda: network(g.Delay(INPUTS + 1), cuba(), readout()), {}, "layer 1: takes"),
        (lambda: network(*[cuba(INPUTS)] * 2, readout()), {}, "stands there twice"),
        (lambda: network(cuba(), readout()).to("meta"), {}, "on 'meta'"),
    ],
)
def test_what_it_can_not_do_is_told(make, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        three_factor.backward(make(), SPIKES, LABELS, **options)


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 9], [0.0, 1, 1], [True] * 3, None, ["a"] * 3])
def test_labels_must_fit(labels):
    with pytest.raises((TypeError, ValueError), match="labels"):
        three_factor.backward(network(cuba(), readout()), SPIKES, labels)


def test_weights_that_change_their_shape_are_refused():
    model = network(cuba(), readout())
    stretches = three_factor.online(model, SPIKES, LABELS, every=0.05)
    next(stretches)
    model[1].weight = nn.Parameter(model[1].weight.detach()[:, 1:])
    with pytest.raises(ValueError, match="layer 1: weight has shape"):
        next(stretches)


def test_inference_mode_is_refused_and_no_grad_does_no_harm():
    model, other = network(cuba(), readout()), network(cuba(), readout())
    other.load_state_dict(model.state_dict())
    three_factor.backward(model, SPIKES, LABELS)
    with torch.no_grad():
        three_factor.backward(other, SPIKES, LABELS)
    assert torch.equal(model[0].weight.grad, other[0].weight.grad)
    with torch.inference_mode(), pytest.raises(RuntimeError, match="inference_mode"):
        three_factor.backward(model, SPIKES, LABELS)
