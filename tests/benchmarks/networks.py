"""The networks and inputs of the benchmarks."""

import numpy as np

import evsim

TAU = {"tau_mem": 20e-3, "tau_syn": 5e-3}


def noise(recordings, rate, size, duration=1.0, seed=0):
    """Return Poisson input of ``rate`` spikes a second over all units together."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rate * duration, recordings)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    n = offsets[-1]
    return evsim.Spikes(rng.random(n) * duration, rng.integers(0, size, n), offsets, size, duration)


def feedforward(scale, synaptic=False, longest=60e-3, seed=1):
    """Return 700 -> 256 `CubaLIF`, dense, delays U(0, longest); ``scale`` sets the rate."""
    rng = np.random.default_rng(seed)
    weight = scale * rng.normal(size=(256, 700))
    delay = rng.uniform(0, longest, weight.shape if synaptic else 700)
    return evsim.Network(
        [evsim.Population("in", "Input", 700), evsim.Population("hidden", "CubaLIF", 256, **TAU)],
        [evsim.Dense(pre="in", post="hidden", weight=weight, delay=delay)],
    )


def balanced(n, fan_out, excitatory, inhibitory, drive, seed=1):
    """Return a sparse recurrent E/I network, 4 to 1, with synaptic delays U(0.5, 20 ms).

    Fifty input units reach every unit with weights of mean 0 and deviation ``drive``.
    """
    rng = np.random.default_rng(seed)
    weight = np.where(np.arange(n) < 0.8 * n, excitatory, -inhibitory)
    return evsim.Network(
        [
            evsim.Population("in", "Input", 50),
            evsim.Population("units", "CubaLIF", n, refractory=2e-3, **TAU),
        ],
        [
            evsim.Dense(pre="in", post="units", weight=drive * rng.normal(size=(n, 50))),
            evsim.Sparse(
                pre="units",
                post="units",
                indptr=fan_out * np.arange(n + 1),
                indices=rng.integers(0, n, n * fan_out),
                weight=np.repeat(weight, fan_out),
                delay=rng.uniform(0.5e-3, 20e-3, n * fan_out),
            ),
        ],
        output="units",
    )  # fmt: skip
