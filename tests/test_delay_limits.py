"""Limits of delays hold optimisers, not users; and what a copy of a layer carries."""

import copy
import io
import math
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from evsim import Network, Spikes
from evsim import gradients as g
from evsim.gradients import dense

CELLS = {"tau_mem": 0.02, "tau_syn": 0.005}
LAYERS = {
    "axonal": lambda **k: g.CubaLIF(3, 4, **CELLS, delay="axonal", **k),
    "synaptic": lambda **k: g.CubaLI(3, 4, **CELLS, delay="synaptic", **k),
    "dendritic": lambda **k: g.CubaLIF(3, 4, **CELLS, delay="dendritic", **k),
    "loop": lambda **k: g.CubaLIF(
        3, 4, **CELLS, recurrent="dense", recurrent_delay="synaptic",
        **{f"recurrent_{name}": value for name, value in k.items()},
    ),
    "Delay": lambda **k: g.Delay(3, **k),
    "dense": lambda **k: dense.CubaLIF(3, 4, **CELLS, dt=1e-3, delay="axonal", **k),
}  # fmt: skip


def name_of(layer):
    (name,) = layer.delay_limits()
    return name


def delay_of(layer):
    return getattr(layer, name_of(layer))


def limit_of(layer):
    return layer.delay_limits()[name_of(layer)][1]


def spikes():
    rng = np.random.default_rng(0)
    return Spikes(rng.uniform(0, 0.3, 24), rng.integers(0, 3, 24), [0, 8, 16, 24], 3, 0.5)


def run(layer):
    if isinstance(layer, dense.CubaLIF):
        return layer(dense.to_raster(spikes(), 1e-3)).sum()
    output = layer(spikes())
    return output.sum() if torch.is_tensor(output) else output.times.sum()


def fill(delay):
    with torch.no_grad():
        delay.fill_(0.3)


PUTS = {
    "load_state_dict": lambda layer, longer: layer.load_state_dict(longer.state_dict()),
    "load and assign": lambda layer, longer: layer.load_state_dict(
        longer.state_dict(), assign=True
    ),
    "assignment": lambda layer, longer: setattr(layer, name_of(layer), delay_of(longer)),
    "init": lambda layer, _: nn.init.constant_(delay_of(layer), 0.3),
    "copy_": lambda layer, longer: delay_of(layer).data.copy_(delay_of(longer)),
    "fill_": lambda layer, _: fill(delay_of(layer)),
}


@pytest.mark.parametrize("put", PUTS)
@pytest.mark.parametrize("name", LAYERS)
def test_what_is_put_there_raises_the_limit_with_a_warning(name, put):
    layer, longer = LAYERS[name](), LAYERS[name](max_delay=0.4)
    fill(delay_of(longer))
    with pytest.warns(UserWarning, match=r"has 0.3 s, more than \w*max_delay = 0.06 s; the lim"):
        PUTS[put](layer, longer)
        run(layer)
    assert torch.all(delay_of(layer) == torch.tensor(0.3))
    assert limit_of(layer) == torch.tensor(0.3).item()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # once is enough
        run(layer)


@pytest.mark.parametrize("put", [name for name in PUTS if "load" not in name])
@pytest.mark.parametrize("trained", [False, True])
def test_what_is_put_there_before_a_step_is_not_cut_by_it(trained, put):
    layer, longer = LAYERS["axonal"](), LAYERS["axonal"](max_delay=0.4)
    fill(longer.delay)
    optimizer = torch.optim.SGD(layer.parameters(), 1e-6)
    run(layer).backward()
    if trained:
        optimizer.step()
    if put == "assignment":
        optimizer = torch.optim.SGD([longer.delay], 1e-6)
        longer.delay.grad = torch.zeros(3)
    PUTS[put](layer, longer)
    with pytest.warns(UserWarning, match="more than max_delay"):
        optimizer.step()
    assert (layer.delay - 0.3).abs().max() < 1e-4


def test_loading_what_fits_says_nothing_and_changes_no_limit():
    layer, other = LAYERS["axonal"](max_delay=0.4), LAYERS["axonal"]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer.load_state_dict(other.state_dict())
        run(layer)
    assert layer.max_delay == 0.4


@pytest.mark.parametrize("value", [-0.125, float("nan"), float("inf")])
@pytest.mark.parametrize("name", LAYERS)
def test_a_delay_that_can_not_be_is_refused_where_it_is_loaded_or_run(name, value):
    layer, other = LAYERS[name](), LAYERS[name]()
    at = (0,) * (delay_of(layer).ndim - 1) + (1,)
    with torch.no_grad():
        delay_of(layer)[at] = value
    index = ", ".join(map(str, at))
    words = rf"{type(layer).__name__}: {name_of(layer)}\[{index}\] = {value}, must be finite and >="
    with pytest.raises(ValueError, match=words):
        run(layer)
    assert delay_of(layer)[at].isnan() or delay_of(layer)[at] == torch.tensor(value)
    with pytest.raises(RuntimeError, match=words):
        other.load_state_dict(layer.state_dict())
    if name != "dense":
        model = nn.Sequential(layer, g.LI(3, 2, 0.02)) if name == "Delay" else layer
        with pytest.raises(ValueError, match=words):
            Network.from_torch(model)


def test_a_negative_delay_can_be_put_back():
    layer = LAYERS["axonal"]()
    nn.init.constant_(layer.delay, -0.01)
    with pytest.raises(ValueError, match="evsim.gradients.keep_delays puts delays back"):
        run(layer)
    g.keep_delays(layer)
    run(layer)


# --- steps of an optimiser ---


@pytest.mark.parametrize("hold", [False, True])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("name", LAYERS)
def test_steps_stay_inside_the_limits(name, optimizer, hold):
    torch.manual_seed(0)
    layer, kind = LAYERS[name](), getattr(torch.optim, optimizer)
    run(layer)
    low, high = layer.delay_limits()[name_of(layer)]
    for sign in (1.0, -1.0):
        optimizer = kind([delay_of(layer)], lr=1.0)
        if hold:
            g.hold_delays(layer, optimizer)
        delay_of(layer).grad = torch.full_like(delay_of(layer), sign)
        optimizer.step()
        wall = torch.tensor(low if sign > 0 else high)
        assert torch.all(delay_of(layer) == wall)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            run(layer)
    assert layer.delay_limits()[name_of(layer)] == (low, high)


def test_a_line_search_stays_inside_the_limits():
    torch.manual_seed(0)
    layer = g.CubaLI(3, 2, **CELLS, delay="axonal", dtype=torch.float64)
    optimizer = torch.optim.LBFGS([layer.delay], lr=1.0, max_iter=5)

    def closure():
        optimizer.zero_grad()
        loss = run(layer)
        loss.backward()
        return loss

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step(closure)
    assert layer.max_delay == 60e-3
    assert layer.delay.min() >= 0 and layer.delay.max() <= layer.max_delay


def test_what_is_put_there_after_a_closure_failed_is_not_cut():
    layer = LAYERS["axonal"]()
    optimizer = torch.optim.LBFGS([layer.delay])

    def closure():
        raise KeyError("the user's own")

    with pytest.raises(KeyError):
        optimizer.step(closure)
    nn.init.constant_(layer.delay, 0.5)
    with pytest.warns(UserWarning, match="0.5"):
        run(layer)
    assert torch.all(layer.delay == 0.5)


@pytest.mark.parametrize("kind", ["axonal", "synaptic"])
def test_a_delay_without_an_end_can_not_be_drawn(kind):
    with pytest.raises(ValueError, match="max_delay = inf"):
        g.CubaLI(3, 2, **CELLS, delay=kind, max_delay=math.inf)
    with pytest.raises(ValueError, match="recurrent_max_delay = inf"):
        g.CubaLIF(
            3, 2, **CELLS, recurrent="dense", recurrent_delay=kind, recurrent_max_delay=math.inf
        )
    with pytest.raises(ValueError, match="max_delay = inf"):
        g.Delay(3, max_delay=math.inf)


def test_a_limit_without_delays_is_refused():
    told = "max_delay = 0.3, but no delays are learnt: give delay='axonal', 'dendritic' or"
    for kind in (g.CubaLIF, g.CubaLI):
        with pytest.raises(ValueError, match=told):
            kind(3, 4, **CELLS, max_delay=0.3)
    told = "recurrent_max_delay = 0.3, .* give recurrent= and recurrent_delay='axonal', 'dend"
    for options in ({}, {"recurrent": "dense"}, {"recurrent_delay": "axonal"}):
        with pytest.raises(ValueError, match=told):
            g.CubaLIF(3, 4, **CELLS, **options, recurrent_max_delay=0.3)
    for layer in (g.CubaLIF(3, 4, **CELLS), g.CubaLIF(3, 4, **CELLS, recurrent="dense")):
        assert "max_delay" not in repr(dense.from_events(layer, 1e-3))


@pytest.mark.parametrize(
    ("word", "meant"),
    [("delays", "delay"), ("tau_mam", "tau_mem"), ("recurent", "recurrent"), ("colour", None)],
)
def test_words_that_are_not_known_are_answered_with_those_that_are(word, meant):
    with pytest.raises(TypeError, match=f"CubaLIF: got an unexpected .* '{word}'") as told:
        g.CubaLIF(3, 4, **CELLS, **{word: "axonal"})
    question = str(told.value).partition("; ")[2]
    assert question == (f"did you mean {meant!r}?" if meant else "")


@pytest.mark.parametrize("delay", [-1e-3, math.inf, math.nan])
def test_a_fixed_delay_of_a_loop_must_be_one(delay):
    with pytest.raises(ValueError, match=f"recurrent_delay = {delay}"):
        g.CubaLIF(3, 2, **CELLS, recurrent="dense", recurrent_delay=delay)


def test_other_layers_are_left_alone_by_a_step():
    one, other = LAYERS["axonal"](), LAYERS["axonal"]()
    run(one)
    run(other)
    nn.init.constant_(other.delay, -0.01)
    optimizer = torch.optim.SGD(one.parameters(), 0.1)
    run(one).backward()
    optimizer.step()
    assert torch.all(other.delay == torch.tensor(-0.01))


def test_bounded_delays_have_no_limit_to_raise():
    layer = LAYERS["axonal"]()
    parametrize.register_parametrization(layer, "delay", g.Bounded(0.0, 0.2))
    layer.delay = torch.full((3,), 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(layer)
    assert layer.max_delay == 60e-3


def test_a_raised_limit_goes_with_copies_and_twins():
    layer = LAYERS["axonal"]()
    fill(layer.delay)
    with pytest.warns(UserWarning, match="more than max_delay"):
        run(layer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for other in (
            copy.deepcopy(layer),
            pickle.loads(pickle.dumps(layer)),
            dense.from_events(layer, 1e-3),
        ):
            assert torch.equal(other.delay, layer.delay) and other.max_delay == layer.max_delay
            run(other if not isinstance(other, dense.CubaLIF) else layer)


# --- what a copy carries ---


def model():
    torch.manual_seed(0)
    hidden = g.CubaLIF(3, 8, **CELLS, delay="axonal", recurrent="dense")
    return nn.Sequential(hidden, g.SRM(8, 4, 0.008), g.CubaLI(4, 2, **CELLS))


def batch(n, each):
    rng = np.random.default_rng(0)
    times, units = rng.uniform(0, 1, n * each), rng.integers(0, 3, n * each)
    return Spikes(times, units, np.arange(n + 1) * each, 3, 1.0)


def saved(model):
    file = io.BytesIO()
    torch.save(model, file)
    return len(file.getvalue())


SIZES = {
    "pickle": lambda m: len(pickle.dumps(m)),
    "torch.save": saved,
    "deepcopy": lambda m: len(pickle.dumps(copy.deepcopy(m).__dict__)),
    "copy": lambda m: len(pickle.dumps([copy.copy(layer).__dict__ for layer in m])),
}


@pytest.mark.parametrize("use", ["run", "run and looked at", "trained"])
@pytest.mark.parametrize("way", SIZES)
def test_the_size_of_a_copy_does_not_depend_on_what_the_model_was_run_on(way, use):
    net = model()
    before = SIZES[way](net)
    output = net(batch(20, 50))
    if use == "run and looked at":
        assert net[0].diagnostics.n_spikes > 0
    if use == "trained":
        output.sum().backward()
        torch.optim.Adam(net.parameters()).step()
        net.zero_grad()
    assert SIZES[way](net) == before


def test_a_copy_of_a_parametrised_layer_leaves_the_batch_too():
    layer = g.CubaLIF(3, 8, **CELLS, delay="axonal")
    parametrize.register_parametrization(layer, "delay", g.Bounded(0.0, 0.06))
    layer(batch(20, 50))
    assert layer.diagnostics is not None and copy.deepcopy(layer).diagnostics is None


def test_diagnostics_are_those_of_the_layer_that_ran():
    net = model()
    twin = copy.deepcopy(net)
    net(batch(3, 20))
    assert net[0].diagnostics.n_spikes > 0 and twin[0].diagnostics is None
    twin(batch(1, 5))
    assert twin[0].diagnostics.n_spikes < net[0].diagnostics.n_spikes
    assert pickle.loads(pickle.dumps(net))[0].diagnostics is None
