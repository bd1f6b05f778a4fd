"""Three-factor rules on the grid: traces, the rule against autograd, stretches of a recording."""

from math import ceil, exp, log, pi, sqrt

import numpy as np
import pytest
import torch
from torch import nn

from evsim.gradients import dense
from evsim.gradients.methods.three_factor import eligibility, online

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
        ({"dt": -1.0}, r"dt = -1.0, must be"),
        ({"tau_mem": 0.0}, r"tau_mem = 0.0, must be > 0"),
    ],
)
def test_traces_refuse(changed, told):
    raster, slope, fired = example()
    given = {"raster": raster, "slope": slope, "tau_mem": 0.02, "dt": 1e-3, "fired": fired}
    with pytest.raises(ValueError, match=told):
        eligibility(**(given | changed))


# --- the rule ---

N_IN, N, N_CLASSES, N_STEPS, DT = 5, 6, 3, 150, 1e-3  # more than one chunk of steps
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


def recordings(batch=4, n_steps=N_STEPS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    raster = (torch.rand(batch, n_steps, N_IN, generator=generator) < 0.1).to(F64)
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
    "axonal": {"delay": "axonal", "max_delay": 20e-3},
    "interpolated": {"delay": "axonal", "max_delay": 20e-3, "delays": "interpolate"},
    "synaptic": {"delay": "synaptic", "max_delay": 20e-3, "delays": "interpolate"},
    "dendritic": {"delay": "dendritic", "max_delay": 20e-3, "refractory": 2e-3},
    "spread": {"delay": "synaptic", "max_delay": 20e-3, "delays": "spread"},
    "cut": {"delay": "axonal", "max_delay": 20e-3, "delays": "floor"},
    "each": {"tau_mem": torch.linspace(0.01, 0.03, N)},
    "masked": {"mask": torch.arange(N * N_IN).view(N, N_IN) % 5 != 0},
}
SOFT = {"reset_mode": "soft"}
CASES = [(kind, way, hard) for kind in CELLS for way in WAYS for hard in (True, False)]
CASES = [c for c in CASES if c[0] is not dense.SRM or (c[2] and c[1] not in ("refractory", "each"))]


@pytest.mark.parametrize(("kind", "way", "hard"), CASES)
def test_weights_of_one_layer_have_the_gradient_of_autograd(kind, way, hard):
    options = dict(WAYS[way])
    if kind is dense.SRM:
        options.pop("refractory", None)
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
    {"output": "integral", "tau_syn": 5e-3, "delay": "axonal", "max_delay": 0.2},
]


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("delays", ["round", "interpolate"])
def test_readouts_are_differentiated_as_usual(readout, delays):
    shifts = [dense.Delay(n, 20e-3, F64, dt=DT, delays=delays) for n in (N_IN, N)]
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
