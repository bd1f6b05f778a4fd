"""Three-factor rules on the grid: traces, the rule against autograd, stretches of a recording."""

import copy
from math import ceil, exp, log, pi, sqrt

import numpy as np
import pytest
import torch
from torch import nn

from evsim.gradients import dense
from evsim.gradients.methods.three_factor import eligibility, grid_rule, online
from evsim.gradients.methods.three_factor.bump import bump

F64 = torch.float64

# --- traces ---


def unrolled(raster, slope, tau_mem, dt, delay, width, fired, causal=False):
    """Return both traces as sums over spikes, from their definition."""
    (n_steps, n_pre), n_post = raster.shape, slope.shape[1]
    delay = np.broadcast_to(np.rint(np.asarray(delay) / dt), (n_post, n_pre))
    s = width / dt
    found = np.zeros((2, n_steps, n_post, n_pre))
    for j, i in np.ndindex(n_post, n_pre):
        for n in range(n_steps):
            spikes = np.flatnonzero(fired[:n, j]) if fired is not None else []
            first = spikes[-1] + 1 if len(spikes) else 0
            for m in range(first, n + 1):
                kept = exp(-(n - m) * dt / tau_mem) * slope[n, j]
                for t in np.flatnonzero(raster[:, i]):
                    k = m - t - delay[j, i]
                    found[0, n, j, i] += kept * raster[t, i] * (k == 0)
                    if abs(k) <= ceil(4 * s) and not (causal and k < 0):
                        f = k / s**2 * exp(-(k**2) / (2 * s**2)) / (sqrt(2 * pi) * s) / dt
                        found[1, n, j, i] += kept * raster[t, i] * f
    return found


def example(seed=0, n_steps=30, n_pre=4, n_post=3):
    rng = np.random.default_rng(seed)
    raster = rng.integers(0, 3, (n_steps, n_pre)) * (rng.random((n_steps, n_pre)) < 0.3) * 1.0
    return raster, rng.random((n_steps, n_post)), (rng.random((n_steps, n_post)) < 0.1) * 1.0


def test_a_causal_bump_may_begin_with_its_jump():
    whole, half, jump = (bump(2e-3, 1e-3, causal) for causal in (False, True, "jump"))
    assert not half[:8].any() and torch.equal(half[8:], whole[8:])
    assert jump[8] == -half.sum() and torch.equal(jump[9:], half[9:]) and not jump[:8].any()
    with pytest.raises(ValueError, match="causal = 'left', must be False, True or 'jump'"):
        bump(2e-3, 1e-3, "left")


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("shape", [(4,), (3, 4)])
def test_traces_are_the_unrolled_sums(hard, causal, shape):
    raster, slope, fired = example()
    delay = np.random.default_rng(1).random(shape) * 35e-3  # some arrive behind the end
    fired = fired if hard else None
    rest = (20e-3, 1e-3, delay, 1.3e-3, fired, causal)
    found = eligibility(raster, slope, *rest)
    weight, by_delay = unrolled(raster, slope, *rest)
    np.testing.assert_allclose(found.weight, weight, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.delay, by_delay, rtol=1e-12, atol=1e-12 * abs(by_delay).max())
    assert weight.any() and by_delay[:, :, :].any()


def test_traces_by_hand():
    raster, slope = [[1.0], [0], [1], [0]], [[1.0], [0.5], [1], [0.2]]
    rest = {"tau_mem": 1e-3 / log(2), "dt": 1e-3, "delay": [1e-3], "width": 1e-3}
    soft = eligibility(raster, slope, **rest)
    hard = eligibility(raster, slope, fired=[[0], [1], [0], [0]], **rest)
    np.testing.assert_allclose(soft.weight.ravel(), [0, 0.5, 0.5, 0.25])
    np.testing.assert_allclose(hard.weight.ravel(), [0, 0.5, 0, 0.2])
    by_delay = [-255.26627, -117.80753, -117.80753, 9.81563]
    np.testing.assert_allclose(soft.delay.ravel(), by_delay, atol=1e-5)
    by_delay = [-255.26627, -117.80753, 0, 21.59639]
    np.testing.assert_allclose(hard.delay.ravel(), by_delay, atol=1e-5)


def test_traces_are_of_the_kind_that_came():
    raster, slope, fired = example()
    found = eligibility(raster, slope, 0.02, 1e-3)
    assert isinstance(found.weight, np.ndarray) and found.weight.dtype == np.float64
    assert found.delay is None
    narrow = [torch.tensor(a, dtype=torch.float32) for a in (raster, slope, fired)]
    tensors = eligibility(*narrow[:2], 0.02, 1e-3, width=1e-3, fired=narrow[2])
    assert tensors.weight.dtype == tensors.delay.dtype == torch.float32
    whole = eligibility(raster.astype(int), slope, 0.02, 1e-3)
    assert np.array_equal(whole.weight, found.weight)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"raster": np.ones(5)}, r"raster: shape \[5\], must be \[step, pre\]"),
        ({"raster": np.full((30, 4), np.nan)}, r"raster\[0, 0\] = nan, must be finite"),
        ({"slope": np.ones((7, 3))}, r"slope: shape \[7, 3\], must have 30 steps"),
        ({"fired": np.ones((30, 2))}, r"fired: shape \[30, 2\], must have 3 units"),
        ({"delay": np.zeros(3)}, r"delay: shape \[3\], must be \[4\], axonal, or \[3, 4\]"),
        ({"delay": [0, 0, -1e-3, 0]}, r"delay\[2\] = -0.001, must be finite and >= 0"),
        ({"width": 0.0}, r"width = 0.0, must be finite and > 0 \[s\]"),
        ({"width": 1e-300}, r"width = 1e-300 s, must be more than 0.03 .* steps of 0.001 s"),
        ({"width": 2.0}, r"width = 2 s, must be .* at most 1000 steps"),
        ({"fired": np.full((30, 3), 0.5)}, r"fired\[0, 0\] = 0.5, must be 0 or 1"),
        ({"raster": None}, "raster: of object, must be real numbers"),
        ({"slope": np.ones((30, 3), complex)}, "slope: of complex128, must be real"),
        ({"raster": torch.ones(30, 4).to_sparse()}, "raster: must be a dense tensor"),
        ({"dt": -1.0}, r"dt = -1.0, must be"),
        ({"tau_mem": 0.0}, r"tau_mem = 0.0, must be > 0"),
    ],
)
def test_traces_refuse(changed, told):
    raster, slope, fired = example()
    given = {"raster": raster, "slope": slope, "tau_mem": 0.02, "dt": 1e-3, "fired": fired}
    with pytest.raises((TypeError, ValueError), match=told):
        eligibility(**(given | changed))


def test_traces_take_arrays_of_all_kinds():
    raster, slope, _ = example()
    expected = eligibility(raster, slope, 0.02, 1e-3, width=1e-3)
    tensors = [torch.tensor(a, requires_grad=True) for a in (raster, slope)]
    kinds = [
        (raster[::-1].copy()[::-1], slope[::-1].copy()[::-1]),  # negative strides
        (raster.astype(">f8"), slope),
        (raster, tensors[1]),
        tensors,
    ]
    for kind in kinds:
        found = eligibility(*kind, 0.02, 1e-3, width=1e-3)
        for one, other in zip(found, expected, strict=True):
            assert np.array_equal(np.asarray(one), other)


# --- the rule ---

N_IN, N, N_CLASSES, N_STEPS, DT = 5, 6, 3, 50, 1e-3


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Have recordings of several chunks that are short, and no threads that wait for each other."""
    monkeypatch.setattr(grid_rule, "CHUNK", 16)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


CELLS = {
    dense.LIF: {"tau_mem": 20e-3},
    dense.CubaLIF: {"tau_mem": 20e-3, "tau_syn": 5e-3},
    dense.SRM: {"tau_syn": 5e-3, "tau_r": 8e-3},
}
READOUT = {"dt": DT, "dtype": F64, "learn": "v_leak", "v_leak": torch.zeros(N_CLASSES)}


def hidden(kind=dense.LIF, n_in=N_IN, **options):
    layer = kind(n_in, N, **(CELLS[kind] | {"dt": DT, "dtype": F64} | options))
    torch.nn.init.normal_(layer.weight, 0.3 * layer.unit_weight(), 0.5 * layer.unit_weight())
    return layer


def network(kind=dense.LIF, readout=None, before=(), seed=0, **options):
    torch.manual_seed(seed)
    readout = {"tau_mem": 30e-3, **(readout or {})}
    kind_of_readout = dense.CubaLI if "tau_syn" in readout else dense.LI
    return nn.Sequential(
        *before, hidden(kind, **options), kind_of_readout(N, N_CLASSES, **(READOUT | readout))
    )


def recordings(batch=3, n_steps=N_STEPS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    raster = (torch.rand(batch, n_steps, N_IN, generator=generator) < 0.2).to(F64)
    return raster, torch.arange(batch) % N_CLASSES


def gradients(model):
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def by_rule(model, raster, labels, **options):
    values = list(online(model, raster, labels, **options))
    return values, gradients(model)


def by_autograd(model, raster, labels):
    values = model(raster)
    nn.functional.cross_entropy(values, labels).backward()
    return values.detach(), gradients(model)


def same(found, expected, but=()):
    assert set(found) - set(but) == set(expected) - set(but)
    for name in set(expected) - set(but):
        scale = expected[name].abs().max().item()
        assert scale > 0, name
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-10 * scale)


WAYS = {
    "hard": {},
    "refractory": {"refractory": 4e-3},
    "axonal": {"delay": "axonal", "max_delay": 12e-3},
    "interpolated": {"delay": "axonal", "max_delay": 12e-3, "delays": "interpolate"},
    "synaptic": {"delay": "synaptic", "max_delay": 12e-3, "delays": "interpolate"},
    "dendritic": {"delay": "dendritic", "max_delay": 12e-3, "refractory": 2e-3},
    "spread": {"delay": "synaptic", "max_delay": 12e-3, "delays": "spread"},
    "cut": {"delay": "axonal", "max_delay": 12e-3, "delays": "floor"},
    "each": {"tau_mem": torch.linspace(0.01, 0.03, N)},
    "masked": {"mask": torch.arange(N * N_IN).view(N, N_IN) % 5 != 0},
}
SOFT = {"reset_mode": "soft"}
SOFTLY = ("hard", "refractory", "synaptic", "each")
CASES = [(kind, way, True) for kind in CELLS for way in WAYS if way != "refractory"]
CASES += [(kind, "refractory", True) for kind in (dense.LIF, dense.CubaLIF)]
CASES += [(kind, way, False) for kind in (dense.LIF, dense.CubaLIF) for way in SOFTLY]


@pytest.mark.parametrize(("kind", "way", "hard"), CASES)
def test_weights_of_one_layer_have_the_gradient_of_autograd(kind, way, hard):
    options = dict(WAYS[way])
    if kind is dense.SRM:
        options.pop("refractory", None)
        if way == "each":
            options = {"tau_syn": torch.linspace(4e-3, 8e-3, N)}
    model = network(kind, **options, **({} if hard else SOFT))
    given = recordings()
    (values,), found = by_rule(model, *given)
    expected_values, expected = by_autograd(model, *given)
    torch.testing.assert_close(values, expected_values, rtol=0, atol=1e-12)
    same(found, expected, but=["0.delay"])
    if "delay" in options:
        assert found["0.delay"].abs().max() > 0


READOUTS = [
    {"output": "last"},
    {"output": "max"},
    {"output": "integral"},
    {"output": "integral", "tau_output": 0.05, "v_leak": torch.tensor([0.1, 0.0, -0.1])},
    {"output": "max", "tau_syn": 5e-3, "delay": "synaptic", "delays": "interpolate"},
    {"output": "last", "tau_syn": 30e-3, "delay": "axonal", "delays": "spread"},
    {"output": "integral", "tau_syn": 5e-3, "delay": "axonal", "max_delay": 0.06},
]


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("delays", ["round", "interpolate"])
def test_readouts_are_differentiated_as_usual(readout, delays):
    shifts = [dense.Delay(n, 12e-3, F64, dt=DT, delays=delays) for n in (N_IN, N)]
    model = network(readout=readout, before=shifts[:1])
    model = nn.Sequential(model[0], model[1], shifts[1], model[2])
    given = recordings()
    (values,), found = by_rule(model, *given)
    expected_values, expected = by_autograd(model, *given)
    torch.testing.assert_close(values, expected_values, rtol=0, atol=1e-12)
    assert found.pop("0.delay").abs().max() > 0  # by its trace
    expected.pop("0.delay", None)
    same(found, {n: g for n, g in expected.items() if n in found})
    assert {n for n, g in expected.items() if g.abs().max() > 0} == set(found)


# --- delays and loops, against a layer whose sources are all inputs ---

PAD = 60  # steps of silence in front, where bumps begin


def bumped(raster, width, causal=False):
    """Return a raster with the bump of a Gaussian in place of spikes, from its definition."""
    s = width / DT
    found = torch.zeros_like(raster)
    for k in range(-ceil(4 * s), ceil(4 * s) + 1):
        f = k / s**2 * exp(-(k**2) / (2 * s**2)) / (sqrt(2 * pi) * s) / DT
        if not (causal and k < 0):
            moved = raster[:, max(-k, 0) : raster.shape[1] - max(k, 0)]
            found[:, max(k, 0) : raster.shape[1] + min(k, 0)] += f * moved
    return found


def matrix(delay, shape):
    """Return delays in steps of every synapse, those of units as rows or columns, [s]."""
    return (delay.detach() / DT).round().expand(shape) * DT


def expected_by_rule(model, raster, labels, width, first=0, causal=False):
    """Return gradients [post, pre] of weights and delays of input and loop by autograd.

    All sources are inputs of a layer without a loop, once as spikes and once as bumps; what
    spikes before the step ``first`` is taken as given.
    """
    layer, readout = model
    own = layer(raster).detach()
    found, n_pre = layer.tensors(), layer.in_features
    weights, delays, sources = [found["weight"]], [], [raster]
    post = layer.out_features
    late = found.get("axonal_delay", found.get("delay", torch.zeros(1, 1)))
    delays.append(matrix(late, (post, n_pre)))
    if "recurrent_weight" in found:
        weights.append(found["recurrent_weight"])
        late = found.get("recurrent_axonal_delay", found.get("recurrent_delay"))
        delays.append(matrix(late.clamp(min=DT), (post, post)))
        sources.append(own)
    sources = [nn.functional.pad(one, (0, 0, PAD, 0)) for one in sources]
    options = {n: getattr(layer, n).clone() for n in layer.cells}
    if layer.model != "SRM":
        options["reset_mode"] = layer.reset_mode
    given = torch.cat([*sources, *(bumped(one, width, causal) for one in sources)], 2)
    options |= {"dt": DT, "dtype": F64, "delay": "synaptic", "max_delay": 1.0}
    twin = type(layer)(given.shape[2], post, **options)
    weight = torch.cat(weights, 1).detach()
    with torch.no_grad():
        twin.weight.copy_(torch.cat([weight, torch.zeros_like(weight)], 1))
        twin.delay.copy_(torch.cat(delays * 2, 1))
    fired = twin(given)[:, PAD:]
    torch.testing.assert_close(fired.detach(), own)
    fired = torch.cat([fired[:, :first].detach(), fired[:, first:]], 1)
    nn.functional.cross_entropy(readout(fired), labels).backward()
    by_weight, by_delay = twin.weight.grad.split(weight.shape[1], 1)
    model.zero_grad(set_to_none=True)
    return by_weight.split([one.shape[1] for one in weights], 1), (by_delay * weight).split(
        [one.shape[1] for one in weights], 1
    )


def summed(matrix, like, kind):
    """Return the gradient of a parameter from that of all synapses."""
    if matrix.shape == like.shape:
        return matrix
    if kind != "synaptic" and kind is not None:
        return matrix.sum(0 if kind == "axonal" else 1)
    half = len(like) // 2  # a kernel
    return torch.stack([matrix.diagonal(k).sum() for k in range(-half, half + 1)])


def check_against_twin(model, raster, labels, width, found, **options):
    layer = model[0]
    by_weight, by_delay = expected_by_rule(model, raster, labels, width, **options)
    for prefix, weight, delay in zip(("", "recurrent_"), by_weight, by_delay, strict=False):
        kind = getattr(layer, f"{prefix}delay_kind")
        mask = getattr(layer, f"{prefix}mask")
        weight = weight if mask is None else weight * mask
        like = getattr(layer, f"{prefix}weight")
        expected = {f"0.{prefix}weight": summed(weight, like, None)}
        if kind is not None:
            like = getattr(layer, f"{prefix}delay")
            expected[f"0.{prefix}delay"] = summed(delay, like, kind)
        same({name: found[name] for name in expected}, expected)


LOOPS = {
    "fixed": {"recurrent": "dense", "recurrent_delay": 3e-3},
    "axonal": {"recurrent": "dense", "recurrent_delay": "axonal"},
    "dendritic": {"recurrent": "dense", "recurrent_delay": "dendritic"},
    "synaptic": {
        "recurrent": "dense",
        "recurrent_delay": "synaptic",
        "recurrent_mask": torch.arange(N * N).view(N, N) % 4 != 0,
    },
    "conv": {"recurrent": "conv", "recurrent_delay": "synaptic"},
    "axonal conv": {"recurrent": "conv", "recurrent_delay": "axonal", "delay": "dendritic"},
    "none": {},
}


def looped(kind, loop, n_steps=60, **options):
    """Return a network with delays, and recordings that it fires on."""
    loop = {"delay": "synaptic", "max_delay": 10e-3} | LOOPS[loop]
    if isinstance(loop.get("recurrent_delay"), str):
        loop["recurrent_max_delay"] = 15e-3
    raster, labels = recordings(n_steps=n_steps)
    raster[:, :8] = 0  # what bumps have before the first step would count in a twin that is padded
    return network(kind, **loop, **options), (raster, labels)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (dense.LIF, {"refractory": 2e-3}),
        (dense.LIF, {"reset_mode": "soft", "refractory": 3e-3}),
        (dense.CubaLIF, {"refractory": 2e-3}),
        (dense.SRM, {}),
    ],
)
def test_delays_and_loops(kind, options, loop):
    model, given = looped(kind, loop, **options)
    (values,), found = by_rule(model, *given, width=1.7e-3)
    torch.testing.assert_close(values, model(given[0]).detach(), rtol=0, atol=1e-12)
    check_against_twin(model, *given, 1.7e-3, found)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("delay", ["axonal", "synaptic"])
def test_delays_have_the_traces_of_eligibility(delay, causal):
    model = network(delay=delay, max_delay=10e-3)
    layer, readout = model
    raster, labels = recordings(1)
    _, found = by_rule(model, raster, labels, width=2e-3, causal=causal)
    fired, voltage = layer.run(raster)
    leaf = fired.detach().requires_grad_()
    nn.functional.cross_entropy(readout(leaf), labels).backward()
    keep = exp(-DT / 20e-3)
    before = nn.functional.pad(voltage[:, :-1], (0, 0, 1, 0)) * keep
    over = before + layer.arrivals(raster, layer.tensors()) - layer.threshold
    slope = layer.surrogate(over)[0].detach()
    late = layer.delay.detach()
    traces = eligibility(raster[0], slope, 20e-3, DT, late, 2e-3, fired[0].detach(), causal)
    errors = leaf.grad[0][:, :, None]
    by_delay = (errors * traces.delay).sum(0) * layer.weight.detach()
    expected = {
        "0.weight": (errors * traces.weight).sum(0),
        "0.delay": by_delay.sum(0) if delay == "axonal" else by_delay,
    }
    same({n: found[n] for n in expected}, expected)


def test_a_delay_before_a_layer_has_the_sum_over_its_targets():
    shift = dense.Delay(N_IN, 10e-3, F64, dt=DT)
    model = network(before=[shift])
    twin = network(delay="axonal", max_delay=10e-3)
    twin[0].load_state_dict({**model[1].state_dict(), "delay": shift.delay.detach()})
    twin[1].load_state_dict(model[2].state_dict())
    found, expected = (by_rule(one, *recordings())[1] for one in (model, twin))
    same(
        {"0.delay": found["0.delay"], "0.weight": found["1.weight"]},
        {n: expected[n] for n in ("0.delay", "0.weight")},
    )


# --- feedback ---


def test_errors_go_straight_to_every_layer():
    torch.manual_seed(0)
    model = nn.Sequential(
        hidden(), dense.Delay(N, 5e-3, F64, dt=DT), hidden(dense.CubaLIF, N, recurrent="dense"),
        dense.CubaLI(N, N_CLASSES, 20e-3, 5e-3, **READOUT),
    )  # fmt: skip
    given = recordings()
    feedback = [torch.randn(N_CLASSES, N, dtype=F64) for _ in range(2)]
    (values,), found = by_rule(model, *given, feedback=feedback)
    assert torch.equal(values, model(given[0]).detach()) and found["1.delay"].abs().max() > 0
    first, shift, second, readout = model
    spikes = [first(given[0])]
    spikes.append(second(shift(spikes[0])))
    weight = readout.weight.detach()
    arriving = (spikes[1].detach() @ weight.T).requires_grad_()
    eye = dense.CubaLI(N_CLASSES, N_CLASSES, 20e-3, 5e-3, dt=DT, dtype=F64)
    nn.init.eye_(eye.weight)
    nn.functional.cross_entropy(eye(arriving), given[1]).backward()
    (spikes[0] * (arriving.grad @ feedback[0])).sum().backward()
    expected = gradients(nn.Sequential(first))
    same({"0.weight": found["0.weight"]}, expected)
    random = nn.Sequential(second, dense.CubaLI(N, N_CLASSES, 20e-3, 5e-3, **READOUT))
    errors = arriving.grad @ feedback[1]
    twin = hidden(dense.CubaLIF, 2 * N)
    raster = torch.cat([shift(spikes[0]), nn.functional.pad(spikes[1], (0, 0, 1, 0))[:, :-1]], 2)
    with torch.no_grad():
        twin.weight.copy_(torch.cat([random[0].weight, random[0].recurrent_weight], 1))
    (twin(raster.detach()) * errors).sum().backward()
    by_input, by_loop = twin.weight.grad.split(N, 1)
    same({n: found[f"2.{n}"] for n in ("weight", "recurrent_weight")},
         {"weight": by_input, "recurrent_weight": by_loop})  # fmt: skip


# --- stretches of a recording ---


@pytest.mark.parametrize("output", ["last", "max", "integral"])
@pytest.mark.parametrize("loop", ["none", "synaptic", "axonal conv"])
def test_a_stretch_counts_what_happened_in_it(loop, output):
    model, (raster, labels) = looped(dense.LIF, loop, 70, readout={"output": output})
    steps = 30
    for k, values in enumerate(online(model, raster, labels, every=steps * DT, width=1.7e-3)):
        first, last = k * steps, min(70, (k + 1) * steps)
        so_far = raster[:, :last]
        torch.testing.assert_close(values, model(so_far).detach(), rtol=0, atol=1e-12)
        found = gradients(model)
        check_against_twin(model, so_far, labels, 1.7e-3, found, first=first)
        # the readout counts arrivals of the stretch
        fired = model[0](so_far).detach()
        readout = copy.deepcopy(model[1])
        given = dense.LI(2 * N, N_CLASSES, 30e-3, output=output, dt=DT, dtype=F64)
        with torch.no_grad():
            given.weight.copy_(readout.weight.repeat(1, 2))
        now = torch.arange(last)[:, None] >= first
        nn.functional.cross_entropy(
            given(torch.cat([fired * ~now, fired * now], 2)), labels
        ).backward()
        same({"w": found["1.weight"]}, {"w": given.weight.grad[:, N:]})
    assert k == 2
    told = model[0].diagnostics
    model(raster)
    assert (told.n_spikes, told.rate) == (
        model[0].diagnostics.n_spikes, pytest.approx(model[0].diagnostics.rate)
    )  # fmt: skip


def test_a_readout_counts_arrivals_of_the_stretch():
    model = network(readout={"output": "last", "delay": "axonal", "max_delay": 10e-3})
    with torch.no_grad():
        model[1].delay.fill_(4 * DT)
    raster, labels = recordings(n_steps=40)
    for k, _ in enumerate(online(model, raster, labels, every=20 * DT)):
        found, last = gradients(model)["1.weight"], 20 * (k + 1)
        fired = model[0](raster[:, :last]).detach()
        arriving = nn.functional.pad(fired, (0, 0, 4, 0))[:, :last]
        twin = dense.LI(2 * N, N_CLASSES, 30e-3, output="last", dt=DT, dtype=F64)
        with torch.no_grad():
            twin.weight.copy_(model[1].weight.repeat(1, 2))
        now = torch.arange(last)[:, None] >= last - 20
        values = twin(torch.cat([arriving * ~now, arriving * now], 2))
        nn.functional.cross_entropy(values, labels).backward()
        same({"w": found}, {"w": twin.weight.grad[:, N:]})
    assert k == 1


def test_a_readout_that_stays_below_rest_has_no_gradient():
    model = network(readout={"output": "max"})
    with torch.no_grad():
        model[0].weight.abs_().mul_(5)
        model[1].weight[0] = -model[1].weight[0].abs()
    raster, labels = recordings()
    raster[:, 0] = 1
    assert (model[1].voltage(model[0](raster))[:, :, 0] < 0).all()
    found, expected = by_rule(model, raster, labels)[1], by_autograd(model, raster, labels)[1]
    assert not found["1.weight"][0].any()
    same(found, expected)


def test_one_stretch_is_the_recording():
    model, given = looped(dense.CubaLIF, "synaptic")
    whole, parts = (by_rule(model, *given, every=every) for every in (None, 0.06))
    assert len(parts[0]) == 1 and torch.equal(whole[0][0], parts[0][0])
    for name, gradient in whole[1].items():
        torch.testing.assert_close(parts[1][name], gradient, rtol=1e-12, atol=0)


@pytest.mark.parametrize("loop", ["synaptic", "axonal conv"])
def test_parameters_may_move_between_stretches(loop):
    model, (raster, labels) = looped(dense.LIF, loop, 100)
    delays = [p for n, p in model.named_parameters() if n.endswith("delay")]
    weights = [p for n, p in model.named_parameters() if not n.endswith("delay")]
    optimiser = torch.optim.Adam([{"params": weights}, {"params": delays, "lr": 1e-4}], 0.01)
    losses = [nn.functional.cross_entropy(model(raster), labels).item()]
    for _ in range(10):
        for _ in online(model, raster, labels, every=50e-3):
            optimiser.step()
            optimiser.zero_grad()
        losses.append(nn.functional.cross_entropy(model(raster), labels).item())
    assert losses[-1] < 0.8 * losses[0], losses


def test_moved_weights_act_on_membranes_as_they_are():
    model = network(readout={"output": "last"})
    raster, labels = recordings(n_steps=60)
    second = model[0].weight.detach() * 1.5 - 0.1
    play = online(model, raster, labels, every=30e-3)
    next(play)
    first = model[0].weight.detach().clone()
    with torch.no_grad():
        model[0].weight.copy_(second)
    found = next(play)
    u, read, fired = torch.zeros(3, N, dtype=F64), torch.zeros(3, N_CLASSES, dtype=F64), 0.0
    for n in range(60):
        u = u * exp(-DT / 20e-3) * (1 - fired) + raster[:, n] @ (first if n < 30 else second).T
        fired = (u >= 1).to(F64)
        read = (read + fired @ model[1].weight.detach().T) * exp(-DT / 30e-3)
    torch.testing.assert_close(found, read, rtol=0, atol=1e-12)


def test_values_go_on_from_what_was_there():
    """Without weights from now on, membranes decay, and nothing is forgotten."""
    model, (raster, labels) = looped(dense.LIF, "axonal", readout={"output": "last"})
    play = online(model, raster, labels, every=30e-3)
    earlier = next(play)
    with torch.no_grad():
        model[1].weight.zero_()
    later = next(play)
    torch.testing.assert_close(later, earlier * exp(-30e-3 / 30e-3), rtol=1e-10, atol=0)


def test_float32_is_float64_rounded():
    model, (raster, labels) = looped(dense.CubaLIF, "synaptic")
    _, expected = by_rule(model, raster, labels)
    narrow = copy.deepcopy(model).float()
    _, found = by_rule(narrow.eval(), raster.float(), labels)
    for name, gradient in expected.items():
        assert found[name].dtype == torch.float32
        error = (found[name].double() - gradient).abs().max() / gradient.abs().max()
        assert error < 1e-4, name


def test_spikes_are_taken_by_models_that_take_them():
    model = dense.FromSpikes(*network())
    spikes = dense.to_spikes(recordings()[0], DT)
    labels = recordings()[1]
    (found,), (expected,) = (
        by_rule(m, x, labels)[0]
        for m, x in ((model, spikes), (nn.Sequential(*model), model.raster(spikes)))
    )
    assert torch.equal(found, expected)
    with pytest.raises(TypeError, match="inputs: are Spikes, but the model takes rasters"):
        online(nn.Sequential(*model), spikes, labels)


@pytest.mark.parametrize(
    ("learn", "options", "told"),
    [
        ("tau_mem", {}, "0: tau_mem is learnt, but has no trace"),
        ("v_leak", {}, "0: v_leak is learnt, but has no trace"),
        ((), {"readout": {"learn": "tau_mem"}}, "1: tau_mem is learnt, but has no trace"),
        ((), {"every": 1.5e-3}, "every = 0.0015 s, must be a whole number of steps of 0.001 s"),
        ((), {"every": 0.0}, "every = 0.0, must be"),
        ((), {"width": -1.0}, "width = -1.0, must be"),
        ((), {"width": 2.0}, "width = 2 s, must be .* at most 1000 steps"),
        ((), {"labels": torch.tensor([True] * 3)}, "labels: of torch.bool"),
        ((), {"readout": {"dt": 2e-3}}, "1: dt = 0.002 s, but layer 0 has 0.001 s"),
        ((), {"labels": torch.tensor([0, 1, 3])}, r"labels\[2\] = 3, must be 0 to 2"),
        ((), {"labels": torch.tensor([0, 1])}, r"labels: shape \[2\], must be \[3\]"),
    ],
)
def test_what_has_no_trace_is_refused_before_anything_is_computed(learn, options, told):
    model = network(learn=learn, readout=options.pop("readout", None))
    raster, labels = recordings()
    with pytest.raises(ValueError, match=told):
        online(model, raster, **({"labels": labels} | options))


def test_inputs_must_have_values():
    raster, labels = recordings()
    for wrong in (raster * torch.nan, raster.to("meta"), raster.to_sparse()):
        with pytest.raises(ValueError, match="inputs: must be a dense tensor of finite numbers"):
            online(network(), wrong, labels)
    with pytest.raises(ValueError, match="inputs: there is no recording"):
        online(network(), raster[:0], labels[:0])
    with pytest.raises(TypeError, match="model is a LIF"):
        online(network()[0], raster, labels)
