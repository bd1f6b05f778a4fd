"""Yin-Yang: the published points, to the last bit, and their spikes."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from evsim.datasets.sets.yin_yang import YinYang, yin_yang_points

PUBLISHED = Path(__file__).parent / "data" / "yin_yang" / "publication-300.npz"
SETS = [("train", 5000, 42), ("validation", 1000, 41), ("test", 1000, 40)]


@pytest.mark.parametrize("split, n, seed", SETS)
def test_the_points_are_the_published_ones(split, n, seed):
    points, labels = yin_yang_points(300, seed)
    with np.load(PUBLISHED) as published:
        np.testing.assert_array_equal(points, published[f"{split}_samples"])
        np.testing.assert_array_equal(labels, published[f"{split}_labels"])


@pytest.mark.parametrize(
    "split, counts, x, y",
    [
        ("train", [1681, 1702, 1617], 0.505664, 0.501153),
        ("validation", [316, 336, 348], 0.496409, 0.493649),
        ("test", [350, 316, 334], 0.498257, 0.488780),
    ],
)
def test_the_published_sets_have_their_size_and_means(split, counts, x, y):
    data = YinYang(split, t_early=0.0, t_late=1.0)
    assert np.bincount(data.labels).tolist() == counts
    spikes = data.spikes()
    means = [spikes.times[spikes.units == unit].mean() for unit in range(4)]
    assert means == pytest.approx([x, y, 1 - x, 1 - y], abs=1e-6)


def test_points_are_inside_the_sign_and_where_their_class_is():
    points, labels = yin_yang_points(500, seed=3)
    x, y = points[:, 0], points[:, 1]
    assert (np.hypot(x - 0.5, y - 0.5) <= 0.5).all()
    np.testing.assert_array_equal(points[:, 2:], 1 - points[:, :2])
    to_dot = np.minimum(np.hypot(x - 0.25, y - 0.5), np.hypot(x - 0.75, y - 0.5))
    np.testing.assert_array_equal(labels == 2, to_dot < 0.1)
    lobe = (x - 0.25) ** 2 + (y - 0.5) ** 2 <= 0.25**2  # the left half disc turns the half plane
    bay = (x - 0.75) ** 2 + (y - 0.5) ** 2 <= 0.25**2
    np.testing.assert_array_equal(labels == 1, (labels != 2) & (lobe | (y > 0.5) & ~bay))


def test_more_points_begin_with_the_same_ones():
    few, many = yin_yang_points(20, seed=1)[0], yin_yang_points(50, seed=1)[0]
    np.testing.assert_array_equal(many[:20], few)
    assert not np.isin(few, yin_yang_points(20, seed=2)[0]).any()


def test_encoding_of_eventprop():
    spikes, label = YinYang("train", n=1, bias=0.0)[0]
    times = dict(zip(spikes.units.tolist(), spikes.times.tolist(), strict=True))
    (x, y, *_), (expected,) = yin_yang_points(1, seed=42)[0][0], yin_yang_points(1, seed=42)[1]
    want = {0: 30e-3 * x, 1: 30e-3 * y, 2: 30e-3 * (1 - x), 3: 30e-3 * (1 - y), 4: 0.0}
    assert times == pytest.approx(want) and label == expected == 2


@pytest.mark.parametrize(
    "early, late", [(0.15 * 5e-3, 2 * 5e-3), (1.5e-3, 20e-3)], ids=["DelGrad", "deventprop"]
)
def test_other_encodings_and_unmirrored(early, late):
    data = YinYang("test", n=40, t_early=early, t_late=late, mirrored=False)
    points, labels = yin_yang_points(40, seed=40)
    assert (data.size, data.duration) == (2, 2 * late)
    for i, (spikes, label) in enumerate(data):
        in_order = np.argsort(spikes.units)
        np.testing.assert_allclose(
            spikes.times[in_order], early + (late - early) * points[i, :2], rtol=1e-14
        )
        assert label == labels[i]


def test_it_is_a_data_set():
    data = YinYang("test", n=60, seed=5, bias=10e-3)
    assert (len(data), data.size, data.class_names) == (60, 5, ["yin", "yang", "dot"])
    again = pickle.loads(pickle.dumps(data))
    whole = data.spikes()
    np.testing.assert_array_equal(again.spikes().times, whole.times)
    np.testing.assert_array_equal(data[10:20].spikes().times, whole[10:20].times)
    parts = list(data.batches(16, shuffle=True, seed=1))
    assert [len(part) for part in parts] == [16, 16, 16, 12]
    np.testing.assert_array_equal(
        np.sort(np.concatenate([p.labels for p in parts])), np.sort(data.labels)
    )
    rest, part = data.split(0.25, seed=0)
    assert len(rest) + len(part) == 60


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(split="valid"), "split = 'valid', must be one of train, validation, test"),
        (dict(n=-1), "n = -1, must not be negative"),
        (dict(t_early=-1e-3), "t_early = -0.001"),
        (dict(t_early=40e-3), "0 <= t_early < t_late"),
        (dict(t_late=np.nan), "t_late = nan"),
        (dict(t_late=np.inf), "all finite"),
        (dict(duration=20e-3), "duration = 0.02"),
        (dict(bias=60e-3), "bias = 0.06"),
        (dict(bias=-1.0), "bias = -1.0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        YinYang(**{"n": 3, **options})
