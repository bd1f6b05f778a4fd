"""Binning: every spike in the bin the convention says, on the grid too, and back."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsim import Spikes
from evsim.datasets.binning import bin_spikes, unbin_spikes

SIZE = 20


def batch(counts=(50, 0, 200, 30)):
    """Return recordings of 0.7 s, the last spike of which is after it."""
    rng = np.random.default_rng(0)
    times = rng.uniform(0, 0.7, sum(counts))
    times[-1:] = 0.8
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(int)
    return Spikes(times, rng.integers(0, SIZE, sum(counts)), offsets, SIZE, 0.7)


def recording_of(spikes):
    return np.repeat(np.arange(len(spikes)), np.diff(spikes.offsets))


def brute_force(spikes, dt, n_bins):
    """Count by comparing each time with every border; times are not on borders."""
    binned = np.zeros((n_bins, len(spikes), spikes.size))
    for b, recording in enumerate(spikes):
        for t, unit in zip(recording.times, recording.units, strict=True):
            for k in range(n_bins):
                if k * dt <= t < (k + 1) * dt:
                    binned[k, b, unit] += 1
    return binned


@pytest.mark.parametrize(("dt", "n_bins"), [(0.1, 7), (0.03, 24), (0.7, 1), (2.0, 1)])
def test_bins_are_what_brute_force_counts(dt, n_bins):
    spikes = batch()
    binned = bin_spikes(spikes, dt)
    assert binned.dtype == np.float32 and binned.shape == (n_bins, 4, SIZE)
    counted = brute_force(spikes.before(0.7), dt, n_bins)
    np.testing.assert_array_equal(binned, counted)
    np.testing.assert_array_equal(binned.sum(axis=0), spikes.before(0.7).counts())
    np.testing.assert_array_equal(bin_spikes(spikes, dt, counts=False), counted > 0)


GRID = np.arange(100_001)


@pytest.mark.parametrize(
    "times",
    [
        GRID * 1e-3,
        GRID / 1000,
        np.linspace(0, 100, 100_001),
        GRID * 1000 * 1e-6,
        np.cumsum(np.full(100_001, 1e-3)) - 1e-3,
    ],
    ids=["multiplied", "divided", "linspace", "from_microseconds", "summed"],
)
def test_a_spike_at_k_dt_is_in_bin_k(times):
    spikes = Spikes(times, np.zeros(len(times), int), size=1, duration=100.001)
    binned = bin_spikes(spikes, 1e-3)
    assert binned.shape == (100_001, 1, 1)
    assert (binned == 1).all()


@pytest.mark.parametrize("dt", [1e-4, 1e-3, 0.003, 0.007, 0.01, 0.1, 1 / 3, 0.9])
def test_the_number_of_bins_is_not_off_by_rounding(dt):
    for n in (1, 3, 7, 49, 100, 999):
        spikes = Spikes([], [], size=1, duration=n * dt)
        assert len(bin_spikes(spikes, dt)) == n
        assert len(bin_spikes(spikes, dt, duration=n * dt * (1 + 1e-6))) == n + 1


def test_a_spike_right_before_a_border_or_the_end():
    spikes = Spikes([0.1 - 1e-9, np.nextafter(0.3, 0)], [0, 0], size=1, duration=0.3)
    np.testing.assert_array_equal(bin_spikes(spikes, 0.1)[:, 0, 0], [1, 0, 1])


def test_another_duration_cuts_or_pads():
    spikes = Spikes([0.05, 0.15, 0.25], [0, 0, 0], size=1, duration=0.3)
    assert bin_spikes(spikes, 0.1, duration=0.2)[:, 0, 0].tolist() == [1, 1]
    assert bin_spikes(spikes, 0.1, duration=0.5)[:, 0, 0].tolist() == [1, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dt": 0.0}, r"dt = 0\.0"),
        ({"dt": np.nan}, "dt = nan"),
        ({"dt": 1e-3, "duration": -1.0}, r"duration = -1\.0"),
        ({"dt": 1e-3, "duration": np.inf}, "duration = inf"),
        ({"dt": 1e-12}, r"dt = 1e-12 s .* 7e\+11 bins, times 80 units"),
        ({"dt": 1e-320, "duration": 1e300}, "inf bins"),
    ],
)
def test_bin_spikes_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        bin_spikes(batch(), **arguments)


def test_bins_of_nothing():
    assert bin_spikes(batch(()), 0.1).shape == (7, 0, SIZE)
    assert bin_spikes(Spikes([], [], size=0, duration=0.7), 0.1).shape == (7, 1, 0)
    assert bin_spikes(batch((0, 0)), 0.1).sum() == 0


@given(
    data=st.data(),
    shape=st.tuples(st.integers(1, 40), st.integers(0, 4), st.integers(0, 5)),
    dt=st.sampled_from([1e-3, 1 / 3, 0.007, 2.0**-10]) | st.floats(1e-6, 1e3),
)
def test_binning_reverses_unbinning(data, shape, dt):
    seed = data.draw(st.integers(0, 10_000))
    binned = np.random.default_rng(seed).poisson(0.7, shape)
    spikes = unbin_spikes(binned, dt)
    again = bin_spikes(spikes, dt)
    assert (np.diff(spikes.times)[np.diff(recording_of(spikes)) == 0] >= 0).all()
    assert again.shape == shape
    np.testing.assert_array_equal(again, binned)


def test_unbinned_spikes_are_at_the_start_of_their_bins():
    binned = np.zeros((5, 2, 3), bool)
    binned[3, 1, 2] = binned[0, 0, 1] = True
    spikes = unbin_spikes(binned, 0.1, labels=[8, 9])
    assert [r.times.tolist() for r in spikes] == [[0.0], [3 * 0.1]]
    assert spikes.units.tolist() == [1, 2]
    assert (spikes.size, spikes.duration, spikes.labels.tolist()) == (3, 0.5, [8, 9])


@pytest.mark.parametrize("value", [-1.0, 0.5, np.nan, np.inf])
def test_unbin_names_what_is_no_count(value):
    binned = np.zeros((4, 3, 2))
    binned[2, 1, 1] = value
    with pytest.raises(ValueError, match=r"binned\[2, 1, 1\] = "):
        unbin_spikes(binned, 0.1)


@pytest.mark.parametrize(
    ("binned", "message"),
    [
        (np.zeros((4, 3)), r"shape \(4, 3\)"),
        (np.zeros((0, 3, 2)), r"shape \(0, 3, 2\)"),
        ([[["a"]]], "holds <U1"),
    ],
)
def test_unbin_refuses_other_arrays(binned, message):
    with pytest.raises(ValueError, match=message):
        unbin_spikes(binned, 0.1)


def test_a_raster_whose_axes_or_steps_look_wrong_is_told():
    swapped = np.zeros((2, 100, 3))
    with pytest.warns(UserWarning, match=r"2 steps of 100 recordings; .*binned.swapaxes\(0, 1\)"):
        unbin_spikes(swapped, 1e-3)
    with pytest.warns(UserWarning, match="dt = 1 s makes 100 steps 100 s long; .*such as 1e-3"):
        unbin_spikes(swapped.swapaxes(0, 1), 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unbin_spikes(swapped, 1e-3, labels=np.zeros(100, int))
        unbin_spikes(swapped.swapaxes(0, 1), 1e-3)
    with pytest.raises(ValueError, match=r"shape \(2, 100\), must be \[step, recording, unit\]"):
        unbin_spikes(swapped[:, :, 0], 1e-3)
