"""Coincidence: solved by delays, hidden from counts, latencies and pooled times."""

import pickle

import numpy as np
import pytest
from scipy.stats import ks_2samp

import evsim
from evsim.datasets.sets.coincidence import Coincidence

PEAK = 0.25  # of the voltage after one spike of weight 1, with tau_mem = 2 tau_syn


def counts(data, delay, weight, threshold):
    """Return the spikes of `CubaLIF` units of short memory in each recording."""
    units, channels = weight.shape
    tau = {"tau_mem": 2e-3, "tau_syn": 1e-3}
    net = evsim.Network(
        [
            evsim.Population("in", "Input", channels),
            evsim.Population("out", "CubaLIF", units, threshold=threshold, **tau),
        ],
        [evsim.Dense(pre="in", post="out", weight=weight, delay=delay)],
    )
    return evsim.simulate(net, data.spikes()).spikes["out"].counts()


def accuracy(scores, data):
    return (scores.argmax(axis=1) == data.labels).mean()


def fitted(train, test, x, y):
    """Return the test accuracy of a linear classifier, the best of several penalties."""
    x, y = (np.column_stack([z, np.ones(len(z))]) for z in (x, y))
    wanted = np.eye(len(train.class_names))[train.labels]
    return max(
        accuracy(y @ np.linalg.solve(x.T @ x + p * np.eye(x.shape[1]), x.T @ wanted), test)
        for p in (1.0, 10.0, 100.0)
    )


@pytest.mark.parametrize("options", [{}, dict(jitter=1e-3), dict(channels=7, classes=6, seed=3)])
@pytest.mark.parametrize("coinciding", [0.5, 0.7])
def test_delays_solve_it(options, coinciding):
    data = Coincidence(n=400, **options)
    delay = data.offsets.max() - data.offsets
    found = counts(data, delay, np.ones(delay.shape), coinciding * data.size * PEAK)
    assert accuracy(found, data) > 0.99


@pytest.mark.parametrize("threshold", np.geomspace(0.1, 1.2, 4))
def test_the_same_network_without_delays_does_not(threshold):
    train, test = Coincidence(n=1000, seed=2).split(0.5)
    weight = np.ones(train.offsets.shape)
    found = [counts(part, 0.0, weight, threshold) for part in (train, test)]
    assert accuracy(found[1], test) == pytest.approx(0.25, abs=1e-3)  # all units do the same
    per_count = [np.eye(found[0].max() + 1)[np.minimum(x[:, 0], found[0].max())] for x in found]
    assert found[0].any() and fitted(train, test, *per_count) < 0.3


def test_many_random_units_without_delays_and_a_fitted_readout_do_not():
    train, test = Coincidence(n=1200, seed=1).split(0.5)
    rng = np.random.default_rng(0)
    weight, threshold = rng.normal(0.6, 0.6, (40, 5)), PEAK * rng.uniform(0.4, 2.0, 40)
    found = [counts(part, 0.0, weight, threshold) for part in (train, test)]
    assert found[0].sum(axis=0).astype(bool).mean() > 0.8
    assert fitted(train, test, *found) < 0.35
    delay = np.resize(train.offsets.max() - train.offsets, (40, 5))
    assert fitted(train, test, *(counts(p, delay, weight, threshold) for p in (train, test))) > 0.9


def test_counts_tell_nothing():
    data = Coincidence(n=200, events=7)
    assert (data.spikes().counts() == 7).all()


@pytest.mark.parametrize("jitter", [0.0, 0.5e-3])
def test_times_of_a_channel_have_one_law_in_all_classes(jitter):
    data = Coincidence(n=2000, jitter=jitter)
    times = [
        [np.concatenate([s.times[s.units == c] for s in data[data.labels == k].spikes()])
         for c in range(5)]
        for k in range(4)
    ]  # fmt: skip
    for k in range(1, 4):
        for c in range(5):
            assert ks_2samp(times[0][c], times[k][c]).pvalue > 1e-3


def test_intervals_have_one_law_in_all_classes():
    data = Coincidence(n=2000)
    pooled, alone = [], []
    for k in range(4):
        part = data[data.labels == k].spikes()
        pooled.append(np.concatenate([np.diff(s.times) for s in part]))
        alone.append(np.concatenate([np.diff(s.times[s.units == 2]) for s in part]))
    for k in range(1, 4):
        assert ks_2samp(pooled[0], pooled[k]).pvalue > 1e-3
        assert ks_2samp(alone[0], alone[k]).pvalue > 1e-3


@pytest.mark.parametrize("channels, classes", [(3, 2), (5, 4), (7, 6), (25, 4), (11, 10)])
def test_an_event_of_another_class_never_coincides(channels, classes):
    offsets = Coincidence(n=0, channels=channels, classes=classes, max_offset=0.1).offsets
    turns = np.rint(offsets / (0.1 / (channels - 1))).astype(int)
    assert (np.sort(turns, axis=1) == np.arange(channels)).all()  # all turns in every class
    for k in range(classes):
        for j in set(range(classes)) - {k}:
            assert len(set(turns[j] - turns[k])) == channels


def test_channels_echo_the_events_on_a_ring():
    data = Coincidence(n=12, jitter=0.0, events=4, duration=0.1)
    for spikes, label in data:
        events = [
            np.sort((spikes.times[spikes.units == c] - data.offsets[label, c]) % 0.1)
            for c in range(5)
        ]
        np.testing.assert_allclose(events, np.tile(events[0], (5, 1)), atol=1e-15)


def test_seeds_balance_and_pickling():
    data = Coincidence(n=102, seed=4)
    assert np.bincount(data.labels).tolist() == [26, 26, 25, 25]
    again = pickle.loads(pickle.dumps(Coincidence(n=102, seed=4)))
    np.testing.assert_array_equal(again.spikes().times, data.spikes().times)
    other = Coincidence(n=102, seed=5)
    assert not np.isin(other.spikes().times, data.spikes().times).any()
    np.testing.assert_array_equal(other.offsets, data.offsets)
    np.testing.assert_array_equal(data[[7, 3]].spikes().times, data.spikes()[[7, 3]].times)
    assert data.class_names == ["order 0", "order 1", "order 2", "order 3"]


def test_spikes_stay_within_the_recording():
    times = Coincidence(n=500, jitter=50e-3, events=40).spikes().times
    assert times.min() >= 0 and times.max() < 0.2


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(n=-1), "n = -1"),
        (dict(channels=1), "channels = 1"),
        (dict(classes=0), "classes = 0"),
        (dict(events=0), "events = 0"),
        (dict(classes=5), "classes = 5 are too many for 5 channels"),
        (dict(channels=6, classes=2), "2 and 6 are multiples of 2"),
        (dict(max_offset=0.0), "max_offset = 0.0"),
        (dict(max_offset=0.2), "max_offset < duration"),
        (dict(duration=np.inf), "duration = inf"),
        (dict(jitter=np.nan), "jitter = nan"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        Coincidence(**options)
