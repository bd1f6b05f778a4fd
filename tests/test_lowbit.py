"""Few bits: the formulas by hand, exact gradients by the quantised tensor, every kind of layer."""

import copy
import io
import pickle
from math import inf, log, log2

import pytest
import torch
from torch.nn.utils.parametrize import register_parametrization

import evsim
from evsim import Network, Spikes
from evsim import gradients as g
from evsim.gradients import dense, lowbit
from evsim.gradients.lowbit import DelayGrid, Ternary, Uniform

TAUS = {"tau_mem": 20e-3, "tau_syn": 5e-3}
G6 = torch.arange(1.0, 7.0, dtype=torch.float64)  # dL/dq of the worked numbers


@pytest.fixture(autouse=True)
def in_float64():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def free(*values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype, requires_grad=True)


def close(found, expected, rtol=1e-6):
    torch.testing.assert_close(
        found.detach().double(), torch.as_tensor(expected).double(), rtol=rtol, atol=1e-12
    )


# --- the formulas, worked by hand ---


def test_learnt_ternary_levels():
    w = free(0.5, -0.1, 0.2, -0.6, 0.05, -0.35)
    ternary = Ternary(0.4, 0.25, learn=True)
    q = ternary(w)
    q.backward(G6)
    close(q, [0.4, 0, 0, -0.25, 0, -0.25])
    close(w.grad, G6)
    close(ternary.raw_positive, -0.7096329)
    close(ternary.raw_negative, -1.2586915)
    close(ternary.raw_positive.grad, 0.3296800)
    close(ternary.raw_negative.grad, -2.2119922)
    assert ternary.positive.shape == ternary.raw_negative.shape == ()


def test_gradients_of_the_levels_themselves():
    ternary = Ternary(0.4, 0.25, learn=True)
    positive, negative = ternary.positive, ternary.negative
    w = free(0.5, -0.1, 0.2, -0.6, 0.05, -0.35)
    found = torch.autograd.grad(
        (ternary(w) * G6).sum(), [ternary.raw_positive, ternary.raw_negative]
    )
    slopes = torch.autograd.grad(positive + negative, [ternary.raw_positive, ternary.raw_negative])
    close(found[0] / slopes[0], 1.0)
    close(found[1] / slopes[1], -10.0)


def test_fitted_ternary_levels():
    w = torch.tensor([0.5, -0.1, 0.2, -0.6, 0.05, -0.35])
    fitted = Ternary.fit(w)
    close(fitted.positive, 0.5, rtol=1e-12)
    close(fitted.negative, 0.475, rtol=1e-12)
    close(Ternary.fit(w, learn=True).negative, 0.475, rtol=1e-12)


def test_a_side_without_weights_takes_the_level_of_the_other():
    fitted = Ternary.fit(torch.tensor([1.0, 3.0, 0.1]))
    assert fitted.positive == fitted.negative == 2.0
    assert Ternary.fit(torch.zeros(3)).positive == 1.0


def test_a_weight_at_the_threshold_is_0():
    assert Ternary(ratio=1.0)(torch.tensor([1.0, -1.0, 1.0])).tolist() == [0, 0, 0]


def test_a_fitted_scale_is_a_share_of_the_root_mean_square():
    w = torch.tensor([3.0, -4.0])
    for bits in (2, 5):
        close(Uniform.fit(w, bits).scale, (bits + 1) / 2 * 12.5**0.5)
    assert Uniform.fit(torch.zeros(3), 4).scale == 1.0


def test_fixed_levels_are_no_parameters_and_keep_their_digits():
    with_levels = Ternary(0.4, 0.1).float()
    assert not list(with_levels.parameters())
    torch.set_default_dtype(torch.float32)
    assert Ternary(0.4).positive.item() == 0.4


def test_uniform_levels():
    w = free(0.0, 0.5, -1.0, 2.0)
    q = Uniform(3)(w)
    q.sum().backward()
    close(q, [0.1377182, 0.4131547, -0.6885911, 0.9640276])
    close(w.grad, [1, 0.7864477, 0.4199743, 0.0706508])


@pytest.mark.parametrize("bits", [2, 3, 8, 16])
def test_uniform_is_dorefa_of_the_tanh(bits):
    w = torch.randn(50)
    t = torch.tanh(w)
    largest = t.abs().max()
    close(Uniform(bits)(w), largest * lowbit.dorefa(t / (2 * largest) + 0.5, bits), rtol=1e-12)
    assert len(Uniform(bits)(w).unique()) <= 2**bits
    assert not (Uniform(bits)(w) == 0).any()


def test_a_tensor_of_zeros_stays_zeros():
    w = torch.zeros(2, 3, requires_grad=True)
    q = Uniform(4)(w)
    q.sum().backward()
    assert (q == 0).all() and (w.grad == 1).all()


def test_a_scale_widens_the_levels():
    w = torch.randn(50)
    close(Uniform(4, scale=5.0)(w), 5 * Uniform(4)(w / 5), rtol=1e-12)
    scaled = Uniform(4, scale=2.0, learn=True)
    scaled(w).sum().backward()
    t, q = torch.tanh(w / 2), Uniform(4, scale=2.0)(w) / 2
    expected = (q - (w / 2) * (1 - t**2)).sum() * (1 - torch.exp(torch.tensor(-2.0)))
    close(scaled.raw_scale.grad, expected, rtol=1e-9)


def test_dorefa_rounds_to_the_nearest_and_ties_to_even():
    x = free(0.0, 0.5, 1.0, 1 / 6, 0.2)
    q = lowbit.dorefa(x, 2)  # thirds
    q.sum().backward()
    close(q, [-1, 1 / 3, 1, -1, -1 / 3])  # 1.5 to 2; 0.5 to 0
    assert (x.grad == 2).all()


def test_delay_grid():
    d = free(1e-3, 3e-3, 6.9e-3, 7e-3, 16.2e-3, 25e-3)
    grid = DelayGrid(4e-3, low=3e-3, high=20e-3, learn=True)
    q = grid(d)
    q.backward(G6)
    close(q, [0, 3e-3, 3e-3, 7e-3, 15e-3, 19e-3])
    close(d.grad, G6)
    assert grid.low.grad == 20
    assert grid.n_values() == 6 and grid.n_bits() == 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_delay_just_below_a_grid_point_is_on_it(dtype):
    d = torch.tensor([5e-3, 11e-3, 0.3], dtype=dtype)
    close(DelayGrid(1e-3)(d), d.double())
    near = torch.tensor([5e-3], dtype=dtype) * (1 - (3e-6 if dtype == torch.float32 else 3e-9))
    close(DelayGrid(1e-3)(near), [4e-3])


def test_a_loop_has_no_delay_of_0():
    grid = DelayGrid(5e-3, low=1e-3, high=20e-3, loop=True)
    close(grid(torch.tensor([0.0, 1e-3, 7e-3, 1.0])), [1e-3, 1e-3, 6e-3, 16e-3])
    assert grid.n_values() == 4


def test_a_learnt_lowest_delay_is_put_back_into_its_limits():
    grid = DelayGrid(1e-3, low=1e-3, high=5e-3, learn=True)
    for value, expected in ((-1.0, 0.0), (1.0, 5e-3)):
        torch.nn.init.constant_(grid.low, value)
        grid(torch.tensor([2e-3]))
        assert 0 <= grid.low < 5e-3
        close(grid.low, expected)


def test_a_learnt_lowest_delay_of_a_loop_takes_time():
    grid = DelayGrid(1e-3, low=1e-3, high=5e-3, learn=True, loop=True)
    torch.nn.init.constant_(grid.low, -1.0)
    close(grid(torch.tensor([0.0])), [1e-4])


def test_what_was_cut_can_come_back():
    layer = g.Delay(2, max_delay=0.1)
    register_parametrization(layer, "delay", DelayGrid(1e-3, high=20e-3))
    layer.delay = torch.tensor([25e-3, 5e-3])
    assert layer.parametrizations.delay.original[0] == 25e-3
    layer.delay.sum().backward()
    assert (layer.parametrizations.delay.original.grad == 1).all()


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
@pytest.mark.parametrize("make", [lambda: Uniform(4), lambda: Ternary(), lambda: DelayGrid(1e-3)])
def test_what_is_no_number_is_not_hidden(make, wrong):
    q = make()(torch.tensor([0.5, wrong, 0.1]))
    assert not q.isfinite().all()


def test_a_threshold_of_every_unit():
    w = torch.tensor([[1.0, -0.1, 2.0], [0.1, -0.01, 0.2]])
    by_layer, by_unit = Ternary(ratio=1.0), Ternary(ratio=1.0, per_unit=True)
    assert by_layer(w).tolist() == [[1, 0, 1], [0, 0, 0]]
    assert by_unit(w).tolist() == [[0, 0, 1], [0, 0, 1]]
    fitted = Ternary.fit(w, ratio=1.0, per_unit=True)
    assert fitted.positive.item() == pytest.approx(1.1)


def test_a_model_is_quantised_whole_or_not_at_all():
    model = g.delay_model(4, 3, 2, delay="none")
    with pytest.raises(ValueError, match="no delays"):
        lowbit.quantise(model, 4, 3)
    assert not hasattr(model.hidden, "parametrizations")
    lowbit.quantise(model, 4)
    with pytest.raises(ValueError, match="weight of .*: is parametrised already"):
        lowbit.quantise(model, 1.58)
    assert len(model.hidden.parametrizations.weight) == 1


def test_a_learnt_lowest_delay_and_an_end_of_float32():
    d = torch.tensor([1.0, 3, 6.9, 7, 16.2, 25]) * 1e-3
    torch.set_default_dtype(torch.float32)
    grid = DelayGrid(4e-3, low=3e-3, high=20e-3, learn=True)
    q = grid(d)
    q.backward(G6)
    close(q, [0, 3e-3, 3e-3, 7e-3, 15e-3, 19e-3])
    assert grid.low.grad == 20
    looped = DelayGrid(4e-3, low=3e-3, high=20e-3, learn=True, loop=True)
    looped(d).backward(G6)
    assert looped.low.grad == 20  # what lies below it does not move it
    layer = g.Delay(2)
    end = torch.tensor(60e-3).item()  # a little below
    register_parametrization(layer, "delay", DelayGrid(1e-3, high=end))
    layer.delay = torch.tensor([end, 10e-3])
    model = torch.nn.Sequential(layer, g.LI(2, 1, tau_mem=20e-3))
    levels = Network.from_torch(model).projections["input->readout"].levels["axonal_delay"]
    assert levels.levels.tolist() == [60, 10]


def test_values_are_counted_where_the_lowest_delay_will_be():
    grid = DelayGrid(4e-3, low=1e-3, high=12e-3, learn=True)
    for value in (-5e-3, 13e-3, 20e-3):
        torch.nn.init.constant_(grid.low, value)
        before = grid.n_values()
        grid(torch.zeros(1))
        assert grid.n_values() == before


def test_what_has_no_values_yet():
    with torch.device("meta"):
        model = g.delay_model(4, 3, 2, delay="axonal")
        lowbit.quantise(model, 1.58, 3)
        other = g.delay_model(4, 3, 2, delay="axonal")
        lowbit.quantise(other, 4)
    assert "Ternary" in repr(model) and "DelayGrid" in repr(model) and "Uniform" in repr(other)
    for quantiser in (Uniform.fit(torch.zeros(0), 3), Ternary.fit(torch.zeros(0))):
        assert quantiser(torch.zeros(0)).numel() == 0
    assert DelayGrid(1e-3).levels(torch.zeros(0)).size == 0


class Locked(g.CubaLIF):
    """A layer of a user's, which leaves something out of its pickles."""

    def __getstate__(self):
        return {**self.__dict__, "lock": None}

    def __setstate__(self, state):
        super().__setstate__({**state, "lock": "new"})


def test_pickles_of_a_class_of_ones_own():
    layer = Locked(3, 2, **TAUS)
    layer.lock = lambda: None  # can't be pickled
    register_parametrization(layer, "weight", Ternary())
    again = pickle.loads(pickle.dumps(layer))
    assert again.lock == "new" and torch.equal(again.weight, layer.weight)


def test_first_weights_are_drawn_anew_behind_a_parametrisation():
    layer, plain = g.CubaLIF(30, 20, **TAUS), g.CubaLIF(30, 20, **TAUS)
    register_parametrization(layer, "weight", Uniform.fit(layer.weight, 4))
    for one in (layer, plain):
        torch.manual_seed(1)
        one.reset_parameters()
    assert torch.equal(layer.parametrizations.weight.original, plain.weight)


def test_functional_gradients():
    w = torch.randn(5)
    for quantiser in (Ternary(), Uniform(3), DelayGrid(0.1)):
        found = torch.func.grad(lambda x, q=quantiser: q(x).sum())(w)
        x = w.clone().requires_grad_()
        quantiser(x).sum().backward()
        assert torch.equal(found, x.grad)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Uniform(1), "bits = 1"),
        (lambda: Uniform(17), "bits = 17"),
        (lambda: Uniform(2.5), "bits = 2.5"),
        (lambda: Uniform(2, learn=True), "learn: there is no scale"),
        (lambda: Ternary(0.0), "positive = 0.0"),
        (lambda: Ternary(negative=-1.0), "negative = -1.0"),
        (lambda: Ternary(ratio=-0.1), "ratio = -0.1"),
        (lambda: DelayGrid(0.0), "step = 0.0"),
        (lambda: DelayGrid(1e-3, low=-1e-3), "low = -0.001"),
        (lambda: DelayGrid(1e-3, low=5e-3, high=5e-3), "low = 0.005"),
        (lambda: DelayGrid(1e-3, low=1e-5, loop=True), "low = 1e-05"),
        (lambda: lowbit.delay_bit_fraction(-1, 3), "weight_bits = -1"),
        (lambda: lowbit.delay_bit_fraction(0, 0), "both 0"),
        (lambda: lowbit.quantise(g.CubaLIF(2, 2, **TAUS), 1.7), "weight_bits = 1.7"),
        (lambda: lowbit.quantise(g.CubaLIF(2, 2, **TAUS), None, 3), "no delays"),
        (lambda: lowbit.quantise(g.Delay(2), None, 17), "delay_bits = 17"),
        (lambda: lowbit.quantise(torch.nn.Linear(2, 2), 4), "no layers of evsim"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- in layers ---

SPIKES = Spikes([0.0103, 0.0151, 0.0212, 0.0226, 0.0307], [0, 0, 1, 1, 2], size=3, duration=0.1)
QUANTISERS = {
    "uniform": lambda w: Uniform(4),
    "scaled": lambda w: Uniform.fit(w, 4, learn=True),
    "ternary": lambda w: Ternary.fit(w),
    "levels": lambda w: Ternary.fit(w, learn=True),
}
GRIDS = {
    "grid": lambda loop: DelayGrid(5e-3, 1e-3 if loop else 0.0, 60e-3, loop=loop),
    "offset": lambda loop: DelayGrid(4e-3, 3e-3, 60e-3, learn=True, loop=loop),
}
LAYERS = {
    "CubaLIF": lambda **o: g.CubaLIF(3, 4, **TAUS, threshold=0.1, **o),
    "SRM": lambda **o: g.SRM(3, 4, tau_syn=5e-3, tau_r=5e-3, threshold=0.3, **o),
    "CubaLI": lambda **o: g.CubaLI(3, 4, **TAUS, **o),
    "LI": lambda **o: g.LI(3, 4, tau_mem=20e-3, **o),
    "dense CubaLIF": lambda **o: dense.CubaLIF(3, 4, **TAUS, threshold=0.1, dt=1e-3, **o),
    "dense LIF": lambda **o: dense.LIF(3, 4, tau_mem=20e-3, threshold=0.3, dt=1e-3, **o),
    "dense SRM": lambda **o: dense.SRM(3, 4, tau_syn=5e-3, tau_r=5e-3, threshold=0.3, dt=1e-3, **o),
    "dense CubaLI": lambda **o: dense.CubaLI(3, 4, **TAUS, dt=1e-3, **o),
    "dense LI": lambda **o: dense.LI(3, 4, tau_mem=20e-3, dt=1e-3, **o),
}


def quantised(kind, weight, delay, loop=None, dtype=torch.float64):
    options = {"delay": "synaptic", "dtype": dtype}
    if loop is not None and "LI" != kind[-2:]:
        options |= {"recurrent": loop, "recurrent_delay": "axonal"}
    layer = LAYERS[kind](**options)
    with torch.no_grad():
        layer.weight.mul_(3)
    for name in ("weight", "recurrent_weight"):
        if getattr(layer, name, None) is not None:
            register_parametrization(layer, name, QUANTISERS[weight](getattr(layer, name)))
    for name in layer.delay_limits():
        register_parametrization(layer, name, GRIDS[delay](name.startswith("recurrent")))
    return layer


def run(layer):
    if isinstance(layer, (dense.CubaLIF, dense.LIF, dense.SRM, dense.CubaLI, dense.LI)):
        return layer(dense.to_raster(SPIKES, dt=1e-3))
    out = layer(SPIKES)
    return out.times if isinstance(out, Spikes) else out


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("weight", QUANTISERS)
@pytest.mark.parametrize("delay", GRIDS)
def test_every_layer_is_that_of_its_quantised_values(kind, weight, delay):
    layer = quantised(kind, weight, delay, loop="dense")
    twin = LAYERS[kind](**{
        "delay": "synaptic", **({"recurrent": "dense", "recurrent_delay": "axonal"}
        if hasattr(layer, "recurrent") else {}),
    })  # fmt: skip
    with torch.no_grad():
        for name in twin.state_dict():
            getattr(twin, name).copy_(getattr(layer, name))
    assert torch.equal(run(layer), run(twin))
    assert run(layer).numel()
    run(layer).sum().backward()
    run(twin).sum().backward()
    for name, chain in layer.parametrizations.items():
        by_used, by_free = getattr(twin, name).grad, chain.original.grad
        if weight in ("uniform", "scaled") and name.endswith("weight"):
            scale = chain[0].scale.detach()
            by_used = by_used * (1 - torch.tanh(chain.original.detach() / scale) ** 2)
        if by_used is not None:  # rounded delays of a grid have no gradient
            torch.testing.assert_close(by_free, by_used, rtol=1e-9, atol=0)
    copies = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    copies.append(torch.load(buffer, weights_only=False))
    other = quantised(kind, weight, delay, loop="dense")
    other.load_state_dict(layer.state_dict())
    for one in (*copies, other):
        assert torch.equal(run(one), run(layer))
        assert list(one.state_dict()) == list(layer.state_dict())
    assert lowbit.size(copies[1]) == lowbit.size(layer)


@pytest.mark.parametrize("weight", QUANTISERS)
@pytest.mark.parametrize("delay", GRIDS)
def test_spike_times_are_exact_in_the_quantised_tensor(weight, delay):
    layer = quantised("CubaLIF", weight, delay)
    w, d = (getattr(layer, n).detach().requires_grad_() for n in ("weight", "delay"))
    plain = LAYERS["CubaLIF"](delay="synaptic")

    def times(w, d):
        fired = torch.func.functional_call(plain, {"weight": w, "delay": d}, (SPIKES,))
        return fired.times[fired.units.argsort(stable=True)]  # whatever fires at the same time

    assert torch.autograd.gradcheck(times, (w, d), eps=1e-7, atol=1e-7)
    assert torch.equal(times(w, d).sort().values, run(layer))


@pytest.mark.parametrize("weight", QUANTISERS)
def test_a_loop_of_a_kernel_and_a_mask(weight):
    layer = quantised("CubaLIF", weight, "grid", loop="conv")
    assert layer.recurrent_weight.shape == (3,)
    assert run(layer).numel()
    mask = torch.tensor([[1, 0, 1]] * 4).bool()
    masked = LAYERS["CubaLIF"](mask=mask)
    register_parametrization(masked, "weight", QUANTISERS[weight](masked.weight))
    net = Network.from_torch(masked)
    assert net.projections["input->output"].n_synapses == 8
    assert lowbit.size(masked).weights == 8


def test_delay_layer():
    for layer in (g.Delay(3), dense.Delay(3, dt=1e-3)):
        register_parametrization(layer, "delay", DelayGrid(5e-3, high=60e-3))
        on_grid = layer.delay / 5e-3
        close(on_grid, on_grid.round(), rtol=1e-12)
        assert lowbit.size(layer) == lowbit.Size(0, 3, 0.0, 12.0, others=0)


# --- steps of optimisers ---


def test_step_sizes_know_free_delays_levels_and_what_has_no_unit():
    layer = quantised("CubaLIF", "levels", "offset", loop="dense")
    model = torch.nn.Sequential(g.Delay(3), layer)
    register_parametrization(model[0], "delay", g.Bounded(0.0, 0.06))
    groups = {group["name"]: group["lr"] for group in g.parameter_groups(model)}
    chains = layer.parametrizations
    for name in ("delay.original", "delay.0.low", "recurrent_delay.original"):
        assert groups[f"1.parametrizations.{name}"] == 2e-3
    size = chains.weight.original.square().mean().sqrt().item()
    assert groups["1.parametrizations.weight.original"] == pytest.approx(0.1 * size)
    level = chains.weight[0].positive.item()
    step = groups["1.parametrizations.weight.0.raw_positive"]
    assert step * (1 - torch.exp(torch.tensor(-level)).item()) == pytest.approx(0.01 * level)
    assert groups["0.parametrizations.delay.original"] != 2e-3  # behind a sigmoid


def test_the_optimiser_of_evsim_keeps_free_delays_within_the_grid():
    layer = g.Delay(2, max_delay=0.1)
    register_parametrization(layer, "delay", DelayGrid(1e-3, high=20e-3))
    layer.delay = torch.tensor([19.9e-3, 0.1e-3])
    optimizer = g.adam(layer, delay_lr=5e-3)
    for _ in range(3):
        optimizer.zero_grad()
        (layer.delay * torch.tensor([-1.0, 1.0])).sum().backward()
        optimizer.step()
    assert layer.parametrizations.delay.original.tolist() == [20e-3, 0.0]
    assert layer.delay.tolist() == [20e-3, 0.0]
    free = layer.parametrizations.delay.original
    assert optimizer.state[free]["exp_avg"].tolist() == [0.0, 0.0]  # else it would stay there long


def test_trained_delays_at_their_limits_are_those_of_the_free_ones():
    from evsim.gradients.delays import share_at_limits

    layer = g.Delay(4, max_delay=0.1)
    register_parametrization(layer, "delay", DelayGrid(10e-3, high=50e-3))
    layer.delay = torch.tensor([1e-3, 20e-3, 50e-3, 49e-3])  # one of them at the grid's end
    assert share_at_limits(layer) == 0.25


# --- sizes ---


def test_size_counts_numbers_and_bits():
    model = torch.nn.Sequential(
        g.Delay(3), g.CubaLIF(3, 4, **TAUS, delay="synaptic", recurrent="dense"),
        g.CubaLIF(4, 5, **TAUS, recurrent="conv", recurrent_delay="axonal", learn="threshold"),
        g.LI(5, 2, tau_mem=20e-3),
    )  # fmt: skip
    found = lowbit.size(model)
    assert (found.weights, found.delays, found.others) == (12 + 16 + 20 + 3 + 10, 3 + 12 + 5, 1)
    assert found.bits == 32 * (61 + 20)
    lowbit.quantise(model, 1.58, 3)
    found = lowbit.size(model)
    assert found.weight_bits == pytest.approx(61 * log2(3))
    assert found.delay_bits == 60
    assert found.others == 1 + 2 * 5  # learnt levels
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    assert lowbit.size(model) == found
    assert str(found).startswith("0.000157 Mbit: 61 weights of 1.58 bits, 20 delays of 3 bits")


def test_numbers_that_two_layers_share_count_once():
    one, other = g.LI(3, 2, tau_mem=20e-3), g.LI(3, 2, tau_mem=10e-3)
    other.weight = one.weight
    assert lowbit.size(torch.nn.Sequential(one, other)).weights == 6


def test_a_grid_without_an_end_counts_32_bits():
    layer = g.Delay(3)
    register_parametrization(layer, "delay", DelayGrid(1e-3))
    assert lowbit.size(layer).delay_bits == 96
    assert DelayGrid(1e-3).n_values() == inf


def test_the_published_share_of_delays():
    # Paper A: 1.58, 4 and 32 bits of a weight beside those of a delay.
    assert lowbit.delay_bit_fraction(log(3, 2), 3) == pytest.approx(3 / 4.584963, rel=1e-6)
    assert lowbit.delay_bit_fraction(32, 4) == 4 / 36
    assert lowbit.delay_bit_fraction(4, 5) == 5 / 9


def test_layers_of_a_model_get_levels_of_their_own():
    model = g.delay_model(6, [5, 4], 3, delay="axonal")
    lowbit.quantise(model, 4, 2, learn=False)
    scales = [layer.parametrizations.weight[0].scale.item() for layer in model]
    assert len(set(scales)) == 3
    assert all(not list(layer.parametrizations.weight[0].parameters()) for layer in model)


def test_averages_are_of_free_numbers():
    layer = quantised("CubaLIF", "levels", "grid")
    averaged = g.Averaged(layer)
    averaged.update_parameters(layer)
    assert len(averaged.module.weight.unique()) <= 3
    assert evsim.Network.from_torch(averaged.module).projections


def test_first_weights_are_fitted_before_they_are_quantised():
    model = g.delay_model(3, 4, 2, delay="none")
    lowbit.quantise(model, 4)
    with pytest.raises(ValueError, match="weights of 'hidden' are parametrised"):
        g.fit_weights(model, SPIKES)


def test_a_loop_at_its_shortest_delay_comes_back_from_its_network():
    layer = g.CubaLIF(3, 4, **TAUS, recurrent="dense", recurrent_delay="axonal").float()
    torch.nn.init.constant_(layer.recurrent_delay, 1e-4)
    back = Network.from_torch(layer).to_torch()
    assert back[0].recurrent_delay.tolist() == [float(torch.tensor(1e-4).float())] * 4
    back(SPIKES)
