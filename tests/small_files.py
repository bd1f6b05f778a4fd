"""Small spikes, networks and results, and how files of them are compared and refused."""

import numpy as np
import pytest

import evsim
from evsim.files import FileError


def some_spikes(n=5, labels=True, seed=0):
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 40, n))])
    times, units = rng.random(offsets[-1]), rng.integers(0, 9, offsets[-1])
    return evsim.Spikes(times, units, offsets, 9, 1.5, rng.integers(0, 4, n) if labels else None)


def two_classes(folder, n=120, n_spikes=24, duration=0.1):
    """Write a small labelled spike file, and return its path: class k fires more in half k."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    parts = [
        (
            duration * rng.random(n_spikes),
            np.where(rng.random(n_spikes) < 0.8, label, 1 - label) + 2 * (b % 2),
        )
        for b, label in enumerate(labels)
    ]
    spikes = evsim.Spikes.from_recordings(parts, 4, duration, labels)
    evsim.save_spikes(folder / "spikes.h5", spikes)
    return folder / "spikes.h5"


def same_spikes(a, b):
    for name in ("times", "units", "offsets", "labels"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (a.size, a.duration) == (b.size, b.duration)


def some_network():
    rng = np.random.default_rng(7)
    return evsim.Network(
        [
            evsim.Population("zebra", "Input", 12),
            evsim.Population(
                "hid",
                "CubaLIF",
                12,
                tau_mem=rng.random(12),
                tau_syn=0.005,
                reset=np.where(rng.random(12) > 0.5, 0.0, -0.0),
                refractory=0.002,
                v_leak=-0.1,
            ),
            evsim.Population("lif", "LIF", 12, tau_mem=np.inf, reset_mode="soft"),
            evsim.Population("srm", "SRM", 4, tau_syn=0.01, threshold=2.0),
            evsim.Population(
                "out", "CubaLI", 3, tau_mem=0.02, tau_syn=0.01, output="integral", tau_output=0.3
            ),
            evsim.Population("aside", "LI", 3, tau_mem=0.02),
        ],
        [
            evsim.Dense(
                pre="zebra",
                post="hid",
                weight=rng.normal(size=(12, 12)),
                delay=rng.random((12, 12)),
            ),
            evsim.Conv1d(
                pre="hid",
                post="hid",
                kernel=rng.random((2, 2, 3)),
                input_shape=6,
                padding=2,
                dilation=2,
                delay=rng.random((2, 2, 3)),
                axonal_delay=rng.random(12),
            ),
            evsim.Conv2d(
                pre="zebra",
                post="lif",
                kernel=rng.random((2, 1, 2, 1)),
                input_shape=(4, 3),
                stride=(2, 2),
                padding=(1, 0),
                delay=0.1,
                name="apart",
            ),
            evsim.Sparse(
                pre="lif",
                post="srm",
                indptr=[0, 0, 3] + [4] * 10,
                indices=[1, 1, 0, 3],
                weight=rng.random(4),
                delay=rng.random(4),
                axonal_delay=1e-3,
            ),
            evsim.Dense(pre="srm", post="out", weight=rng.random((3, 4)), delay=rng.random(4)),
            evsim.Dense(pre="srm", post="aside", weight=rng.random((3, 4))),
        ],
        output="out",
    )


def some_result(n=4, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    spikes = some_spikes(n, seed=seed)
    spikes = evsim.Spikes(spikes.times, spikes.units, spikes.offsets, 9, 1.5, labels)
    return evsim.Result(
        spikes={"out": spikes, "hid": spikes},
        voltage={"read": rng.random((n, 6, 2))},
        voltage_times={"read": np.linspace(0, 1, 6)},
        output={"read": rng.random((n, 2))},
        duration=1.5,
        labels=labels,
    )


def same_bits(a, b):
    a, b = np.asarray(a), np.asarray(b)
    assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def same_results(a, b):
    assert a.duration == b.duration
    np.testing.assert_array_equal(a.labels, b.labels)
    for part in ("voltage", "voltage_times", "output"):
        assert getattr(a, part).keys() == getattr(b, part).keys()
        for name, values in getattr(a, part).items():
            same_bits(values, getattr(b, part)[name])
    assert a.spikes.keys() == b.spikes.keys()
    for name, spikes in a.spikes.items():
        same_spikes(spikes, b.spikes[name])


def refused(path, *parts, reader=evsim.load_spikes):
    """Expect a one-line `FileError` that starts with the file's name and holds ``parts``."""
    with pytest.raises(FileError) as caught:
        reader(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    for part in parts:
        assert part in message, message


def set_attribute(path, name, value):
    def edit(file):
        file[path].attrs[name] = value

    return edit


def set_data(path, value):
    def edit(file):
        if path in file:
            del file[path]
        if value is not None:
            file[path] = value

    return edit
