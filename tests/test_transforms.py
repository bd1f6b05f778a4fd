"""Augmentation: the law of each transform, and what they all keep."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsim import Spikes
from evsim.datasets.blending import blend
from evsim.datasets.transforms import (
    add_noise,
    delete_spikes,
    jitter_times,
    scale_times,
    shift_channels,
    shift_pixels,
    shift_times,
    sum_channels,
)

RANDOM: dict[str, Callable[[Spikes, int], Spikes]] = {
    "shift_times": lambda spikes, seed: shift_times(spikes, 0.3, seed),
    "shift_channels": lambda spikes, seed: shift_channels(spikes, 4, seed),
    "shift_pixels": lambda spikes, seed: shift_pixels(spikes, 2, seed, width=5),
    "scale_times": lambda spikes, seed: scale_times(spikes, 0.5, 1.5, seed),
    "jitter_times": lambda spikes, seed: jitter_times(spikes, 0.05, seed),
    "delete_spikes": lambda spikes, seed: delete_spikes(spikes, 0.5, seed),
    "add_noise": lambda spikes, seed: add_noise(spikes, 2.0, seed),
    "blend": lambda spikes, seed: blend(spikes, len(spikes), seed),
}
TRANSFORMS = RANDOM | {"sum_channels": lambda spikes, seed: sum_channels(spikes, 3)}
SIZE = 20


def batch(counts=(50, 0, 200, 30), size=SIZE, duration=0.7, seed=0, grid=None, labels=True):
    """Return recordings with some spikes at equal times and one after the duration."""
    rng = np.random.default_rng(seed)
    n = sum(counts)
    times = rng.uniform(0, duration, n)
    if grid:
        times = np.round(times / grid) * grid
    times[-1:] = duration + 0.1
    return Spikes(
        times,
        rng.integers(0, size, n),
        np.concatenate([[0], np.cumsum(counts)]).astype(int),
        size,
        duration,
        np.arange(len(counts)) % 2 if labels else None,
    )


def trains(spikes):
    return [(r.times.tolist(), r.units.tolist()) for r in spikes]


def assert_valid(spikes):
    checked = Spikes(spikes.times, spikes.units, spikes.offsets, spikes.size, spikes.duration)
    assert trains(checked) == trains(spikes)  # was in order already
    assert spikes.times.dtype == np.float64 and spikes.units.dtype == np.int64
    assert spikes.offsets.dtype == np.int64
    assert spikes.labels is None or len(spikes.labels) == len(spikes)
    assert (spikes.times < spikes.duration).all()


# What all of them keep


@pytest.mark.parametrize("grid", [None, 0.01])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_result_is_valid_and_the_argument_unchanged(name, grid):
    spikes = batch(grid=grid)
    before = [spikes.times.copy(), spikes.units.copy(), spikes.offsets.copy(), spikes.labels.copy()]
    after = TRANSFORMS[name](spikes, 1)
    assert_valid(after)
    assert after.duration == spikes.duration
    assert len(after) == len(spikes) and set(after.labels) <= {0, 1}
    if name != "blend":
        np.testing.assert_array_equal(after.labels, spikes.labels)
    if name != "sum_channels":
        assert after.size == spikes.size
    for array, old in zip(
        (spikes.times, spikes.units, spikes.offsets, spikes.labels), before, strict=True
    ):
        np.testing.assert_array_equal(array, old)


@pytest.mark.parametrize("name", RANDOM)
def test_a_seed_fixes_the_result(name):
    spikes, transform = batch(), RANDOM[name]
    assert trains(transform(spikes, 3)) == trains(transform(spikes, 3))
    assert trains(transform(spikes, 3)) != trains(transform(spikes, 4))


@pytest.mark.parametrize("name", RANDOM)
def test_one_generator_can_be_handed_on(name):
    spikes, transform = batch(), RANDOM[name]
    rng = np.random.default_rng(3)
    assert trains(transform(spikes, rng)) == trains(transform(spikes, 3))
    assert trains(transform(spikes, rng)) != trains(transform(spikes, 3))


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("counts", [(), (0, 0, 0)])
def test_empty_batches_and_recordings(name, counts):
    spikes = batch(counts)
    after = TRANSFORMS[name](spikes, 1)
    assert_valid(after)
    assert len(after) == len(counts)
    if name != "add_noise":
        assert len(after.times) == 0


@pytest.mark.parametrize("name", sorted(set(TRANSFORMS) - {"blend"}))
def test_labels_are_not_needed(name):
    assert TRANSFORMS[name](batch(labels=False), 1).labels is None


@pytest.mark.parametrize("name", sorted(set(TRANSFORMS) - {"blend"}))
def test_a_population_without_units(name):
    assert len(TRANSFORMS[name](Spikes([], [], size=0, duration=1.0), 1).times) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: sum_channels(s, 2.5), r"factor = 2\.5"),
        (lambda s: sum_channels(s, 0), "factor = 0"),
        (lambda s: sum_channels(s, True), "factor = True"),
        (lambda s: shift_times(s, -0.1, 0), r"max_shift = -0\.1"),
        (lambda s: shift_times(s, np.nan, 0), "max_shift = nan"),
        (lambda s: shift_channels(s, 1.5, 0), r"max_shift = 1\.5"),
        (lambda s: shift_channels(s, -1, 0), "max_shift = -1"),
        (lambda s: shift_channels(s, 2**63, 0), "max_shift = 9223372036854775808"),
        (lambda s: shift_pixels(s, -1, 0, 5), "max_shift = -1"),
        (lambda s: shift_pixels(s, 1, 0, 0), "width = 0"),
        (lambda s: shift_pixels(s, 1, 0, 7), "width = 7: 20 units are no whole number of such"),
        (lambda s: scale_times(s, 0.0, 1.0, 0), r"low = 0\.0"),
        (lambda s: scale_times(s, 1.2, 1.1, 0), r"low = 1\.2, high = 1\.1"),
        (lambda s: scale_times(s, 1.0, np.inf, 0), "high = inf"),
        (lambda s: scale_times(s, np.nan, 1.0, 0), "low = nan"),
        (lambda s: jitter_times(s, -1e-3, 0), r"sigma = -0\.001"),
        (lambda s: jitter_times(s, np.nan, 0), "sigma = nan"),
        (lambda s: delete_spikes(s, 1.01, 0), r"p = 1\.01"),
        (lambda s: delete_spikes(s, -0.01, 0), r"p = -0\.01"),
        (lambda s: delete_spikes(s, np.nan, 0), "p = nan"),
        (lambda s: add_noise(s, -1.0, 0), r"rate = -1\.0"),
        (lambda s: add_noise(s, np.inf, 0), "rate = inf"),
        (lambda s: add_noise(s, 1e12, 0), r"rate = 1000000000000\.0 Hz would add"),
        (lambda s: blend(s, -1, 0), "n = -1"),
        (lambda s: blend(s, 2.0, 0), r"n = 2\.0"),
        (lambda s: jitter_times(s, 1e-3, None), "seed = None"),
        (lambda s: jitter_times(s, 1e-3, -1), "seed = -1"),
        (lambda s: jitter_times(s, 1e-3, 0.5), r"seed = 0\.5"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(batch())


# Each one's law


@pytest.mark.parametrize(("size", "factor", "expected"), [(700, 5, 140), (11, 4, 3), (3, 9, 1)])
def test_sum_channels_adds_the_counts_of_neighbours(size, factor, expected):
    spikes = batch(size=size)
    summed = sum_channels(spikes, factor)
    assert summed.size == expected
    counts = np.pad(
        spikes.before(spikes.duration).counts(), ((0, 0), (0, expected * factor - size))
    )
    np.testing.assert_array_equal(
        summed.counts(), counts.reshape(len(spikes), expected, factor).sum(axis=2)
    )


def test_sum_channels_keeps_coincident_spikes():
    summed = sum_channels(Spikes([0.1, 0.1, 0.2], [0, 1, 2], size=4, duration=1.0), 2)
    assert trains(summed) == [([0.1, 0.1, 0.2], [0, 0, 1])]


def one_per_recording(n, time=0.5, unit=50, size=101):
    return Spikes(np.full(n, time), np.full(n, unit), np.arange(n + 1), size, 1.0)


def test_shift_times_is_uniform_over_recordings():
    shift = shift_times(one_per_recording(20_000), 0.4, 1).times - 0.5
    assert -0.4 <= shift.min() < -0.399 and 0.399 < shift.max() <= 0.4
    assert abs(shift.mean()) < 4 * 0.4 / np.sqrt(3 * 20_000)
    assert abs(shift.var() - 0.4**2 / 3) < 0.001


def test_shift_times_moves_a_recording_as_a_whole():
    rng = np.random.default_rng(0)
    spikes = Spikes(rng.uniform(0.4, 0.6, 100), np.arange(100), [0, 40, 100], 100, 1.0)
    moved = shift_times(spikes, 0.3, 5)
    steps = [
        r.times[np.argsort(r.units)] - old.times[np.argsort(old.units)]
        for r, old in zip(moved, spikes, strict=True)
    ]
    assert np.ptp(steps[0]) < 1e-15 and np.ptp(steps[1]) < 1e-15
    assert abs(steps[0][0] - steps[1][0]) > 1e-3


def test_shift_times_drops_what_leaves():
    n = 4000
    spikes = Spikes(np.tile([0.01, 0.99], n), np.tile([0, 1], n), np.arange(0, 2 * n + 1, 2), 2, 1)
    early, late = shift_times(spikes, 0.1, 2).counts().mean(axis=0)
    # The shift takes away the early one below -0.01, the late one from 0.01 on.
    assert early == pytest.approx(0.55, abs=0.04) and late == pytest.approx(0.55, abs=0.04)


def test_shift_channels_takes_every_integer_of_its_range():
    units = shift_channels(one_per_recording(9000), 4, 1).units
    values, counts = np.unique(units - 50, return_counts=True)
    np.testing.assert_array_equal(values, np.arange(-4, 5))
    assert (abs(counts - 1000) < 150).all()


def test_shift_channels_drops_what_leaves():
    spikes = one_per_recording(9000, unit=100)  # the last unit
    shifted = shift_channels(spikes, 1, 1)
    assert set(shifted.units) == {99, 100}
    assert len(shifted.times) == pytest.approx(6000, abs=300)
    assert len(shift_channels(spikes, 2**31 - 1, 1).times) == 0


def test_shift_pixels_takes_every_step_along_both_axes():
    spikes = one_per_recording(9000, unit=24, size=49)  # the middle of 7 x 7
    values, counts = np.unique(shift_pixels(spikes, 1, 1, width=7).units, return_counts=True)
    np.testing.assert_array_equal(values, [16, 17, 18, 23, 24, 25, 30, 31, 32])
    assert (abs(counts - 1000) < 150).all()


@pytest.mark.parametrize("unit, kept", [(0, {0, 1, 4, 5}), (6, {1, 2, 5, 6, 9, 10, 3, 7, 11})])
def test_shift_pixels_drops_what_leaves_the_image(unit, kept):
    shifted = shift_pixels(one_per_recording(9000, unit=unit, size=12), 1, 1, width=4)
    assert set(shifted.units) == kept
    assert len(shifted.times) == pytest.approx(1000 * len(kept), abs=300)


def test_shift_pixels_moves_an_image_as_a_whole():
    image = Spikes(np.arange(4) / 10, [5, 6, 9, 10], size=16, duration=1.0)
    for seed in range(20):
        moved = shift_pixels(image, 1, seed, width=4)
        np.testing.assert_array_equal(np.diff(moved.units), [1, 3, 1])
        np.testing.assert_array_equal(moved.times, image.times)


def test_scale_times_is_uniform_and_keeps_the_duration():
    factor = scale_times(one_per_recording(20_000, time=0.25), 0.5, 2.0, 1).times / 0.25
    assert 0.5 <= factor.min() < 0.501 and 1.999 < factor.max() <= 2.0
    assert factor.mean() == pytest.approx(1.25, abs=0.01)
    late = scale_times(one_per_recording(4000, time=0.8), 0.5, 2.0, 1)
    assert late.duration == 1.0
    assert len(late.times) == pytest.approx(2000, abs=150)  # 0.8 f < 1: half of the factors


def test_jitter_has_the_given_spread_for_every_spike():
    n = 20_000
    spikes = Spikes(np.full(n, 0.5), np.arange(n), size=n, duration=1.0)
    jittered = jitter_times(spikes, 0.01, 1)
    moved = jittered.times[np.argsort(jittered.units)] - 0.5
    assert abs(moved.mean()) < 4 * 0.01 / np.sqrt(n)
    assert moved.std() == pytest.approx(0.01, rel=0.03)
    assert abs(np.corrcoef(moved[1:], moved[:-1])[0, 1]) < 0.03


def test_zero_changes_nothing():
    spikes = batch().before(0.7)
    for same in (
        shift_times(spikes, 0.0, 1),
        shift_channels(spikes, 0, 1),
        shift_pixels(spikes, 0, 1, width=5),
        scale_times(spikes, 1.0, 1.0, 1),
        jitter_times(spikes, 0.0, 1),
        delete_spikes(spikes, 0.0, 1),
        add_noise(spikes, 0.0, 1),
        sum_channels(spikes, 1),
    ):
        assert trains(same) == trains(spikes)


def test_delete_takes_its_share_and_leaves_the_rest_alone():
    spikes = batch((10_000, 10_000))
    left = delete_spikes(spikes, 0.3, 1)
    for b in range(2):
        assert len(left[b].times) == pytest.approx(7000, abs=200)
        assert set(zip(*trains(left)[b], strict=True)) <= set(zip(*trains(spikes)[b], strict=True))
    assert len(delete_spikes(spikes, 1.0, 1).times) == 0


def test_noise_is_poisson_and_uniform_and_takes_nothing_away():
    silence = Spikes([], [], [0] * 2001, 5, 2.0)
    noise = add_noise(silence, 3.0, 1)  # 6 per unit, 30 per recording
    counts = noise.counts()
    assert counts.mean() == pytest.approx(6, abs=0.1) and counts.var() == pytest.approx(6, abs=0.3)
    np.testing.assert_allclose(counts.mean(axis=0), 6, atol=0.25)
    assert noise.times.max() < 2.0
    np.testing.assert_allclose(np.histogram(noise.times, 4, (0, 2))[0], 15_000, rtol=0.05)

    spikes = batch().before(0.7)
    noisy = add_noise(spikes, 3.0, 1)
    for (t, u), (old_t, old_u) in zip(trains(noisy), trains(spikes), strict=True):
        assert set(zip(old_t, old_u, strict=True)) < set(zip(t, u, strict=True))


# Blending


def clusters(labels, centres, n=400, size=200, seed=0):
    """Return one cloud of spikes per recording, around (time, unit)."""
    rng = np.random.default_rng(seed)
    recordings = [
        (time + rng.uniform(-0.05, 0.05, n), unit + rng.integers(-10, 11, n))
        for time, unit in centres
    ]
    return Spikes.from_recordings(recordings, size, 1.0, labels)


def test_blend_aligns_the_centres_half_way():
    centres = [(0.3, 50), (0.6, 111)]
    spikes = clusters([4, 4], centres)
    blended = blend(spikes, 30, 1)
    means = [(r.times.mean(), r.units.mean()) for r in blended]
    middle = np.mean([(r.times.mean(), r.units.mean()) for r in spikes], axis=0)
    assert (np.abs(np.array(means) - middle) < [0.01, 2.0]).all()
    # Two clouds that were 0.3 s and 61 units apart lie on each other.
    assert max(np.ptp(r.times) for r in blended) <= 0.1 + 0.01
    assert max(np.ptp(r.units) for r in blended) <= 20 + 3
    assert np.diff(blended.offsets).mean() == pytest.approx(400, abs=10)
    assert np.diff(blended.offsets).std() == pytest.approx(np.sqrt(200), rel=0.4)


def test_blend_takes_every_spike_with_probability_one_half_from_both():
    # All spikes of a recording at one place: nothing but the unit tells them apart.
    n = 3000
    fans = [(np.full(n, 0.5), np.arange(n)), (np.full(n, 0.5), np.arange(n))]
    spikes = Spikes.from_recordings(fans, n, 1.0, [0, 0])
    counts = blend(spikes, 1, 1).counts()[0]
    share = np.bincount(counts) / n
    np.testing.assert_allclose(share, [0.25, 0.5, 0.25], atol=0.04)


def test_blend_uses_two_different_recordings_of_one_class():
    labels = np.array([0, 1, 0, 1, 1, 2])
    # Recording b has its own distance between its two only units, so pairs can be told.
    n = 40
    recordings = [
        (np.full(2 * n, 0.5), np.repeat([100 - 10 * (b + 1), 100 + 10 * (b + 1)], n))
        for b in range(len(labels))
    ]
    spikes = Spikes.from_recordings(recordings, 300, 1.0, labels)
    blended = blend(spikes, 600, 1)
    pairs = set()
    for one in blended:
        parents = {abs(int(unit) - 100) // 10 - 1 for unit in one.units}
        assert len(parents) == 2
        assert {labels[b] for b in parents} == {one.labels[0]}
        pairs.add(tuple(sorted(parents)))
    assert pairs == {(0, 2), (1, 3), (1, 4), (3, 4)}
    # The first parent is drawn among the five that have a partner: 2 of 5 are of class 0.
    assert np.mean(blended.labels == 0) == pytest.approx(0.4, abs=0.08)


def test_blend_with_an_empty_recording_moves_nothing():
    spikes = Spikes.from_recordings([([0.1] * 50, [7] * 50), ([], [])], 20, 1.0, [1, 1])
    blended = blend(spikes, 20, 1)
    assert set(blended.times) == {0.1} and set(blended.units) == {7}


def test_blend_ignores_what_is_after_the_duration():
    recordings = [([0.2] * 20 + [9.0] * 5, [3] * 25), ([0.4] * 20, [3] * 20)]
    blended = blend(Spikes.from_recordings(recordings, 5, 1.0, [1, 1]), 5, 1)
    assert len(blended.times) == pytest.approx(100, abs=30)
    np.testing.assert_allclose(blended.times, 0.3)


def test_blend_drops_what_leaves():
    wide = ([0.0] * 10 + [0.9] * 90, [0] * 10 + [99] * 90)
    narrow = ([0.1] * 100, [5] * 100)
    blended = blend(Spikes.from_recordings([wide, narrow], 100, 1.0, [0, 0]), 10, 1)
    assert_valid(blended)
    # The wide one moves down by 0.355 s: its ten spikes at 0 are gone, 45 are left.
    assert np.diff(blended.offsets).mean() == pytest.approx(95, abs=8)


def test_blend_says_what_it_needs():
    with pytest.raises(ValueError, match="needs labels"):
        blend(batch(labels=False), 1, 0)
    with pytest.raises(ValueError, match="at least two recordings"):
        blend(batch((5, 5)), 1, 0)
    assert len(blend(batch((5, 5)), 0, 0)) == 0


# All of them, on anything


@given(
    counts=st.lists(st.integers(0, 30), max_size=5),
    name=st.sampled_from(sorted(TRANSFORMS)),
    grid=st.sampled_from([None, 0.1]),
    seed=st.integers(0, 1000),
)
def test_any_batch_gives_a_valid_one(counts, name, grid, seed):
    spikes = batch(tuple(counts), seed=seed, grid=grid)
    if name == "blend" and len(counts) < 3:
        return
    assert_valid(TRANSFORMS[name](spikes, seed))
