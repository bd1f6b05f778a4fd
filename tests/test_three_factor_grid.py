"""Three-factor rules on the grid: traces, the rule against autograd, stretches of a recording."""

from math import ceil, exp, log, pi, sqrt

import numpy as np
import pytest
import torch

from evsim.gradients.methods.three_factor import eligibility

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
