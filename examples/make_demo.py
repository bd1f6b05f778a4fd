"""Make the two files that come with evsim: spoken digits, and a network with delays.

    python examples/make_demo.py SPIKES_FILE [FOLDER]

SPIKES_FILE holds spoken digits in SHD layout, and in /source/key where each recording comes
from. The recordings of HD and AudioMNIST go to digits-spikes.h5; the network is made from
all others, so that its accuracy on digits-spikes.h5 is one on speakers never heard.

Nothing is learnt but the last layer. Each hidden unit listens to random places of a 150 ms
piece of one recording, through delays that let the piece's spikes arrive together: it fires
when something like this piece comes again. The readout is fitted to the hidden spikes.
"""

import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

import evsim

Array = npt.NDArray[Any]
Detectors = dict[str, Array]  # pre, post, weight, delay by synapse; axons by hidden unit

EMBEDDED = ("audiomnist/", "hd/")  # in this order
SEED = 1
SIZE, UNITS, CLASSES = 700, 64, 10
SYNAPSES, DEPTH = 48, 0.15  # of a hidden unit; length of the piece it listens for [s]
LOWEST = 150  # channels above the range of 16 kHz recordings are left alone
NEAR_TIME, NEAR_UNIT = 0.01, 10  # what counts as a spike at a place of the piece
LEAST = 16  # places with spikes; a piece with fewer is not worth listening for
COUNT = 8.0  # spikes of a hidden unit in a recording of the training set
INHIBITION, AXON = 0.05, (0.001, 0.060)  # among hidden units; delays of their axons [s]
HIDDEN: dict[str, Any] = {"tau_mem": 20e-3, "tau_syn": 5e-3}
READOUT: dict[str, Any] = {"tau_mem": 100e-3, "tau_syn": 10e-3, "output": "max"}
DURATION, STEP = 1.2, 0.01  # of the training recordings, and of the voltages fitted [s]
DECAY, ROUNDS, RATE = 1e-2, 150, 0.02  # of the fit


def main() -> None:
    """Write the spikes, make the network, test it on both parts."""
    source = Path(sys.argv[1])
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else ".")
    with h5py.File(source) as file:
        keys = file["source/key"].asstr()[:]
    embedded = [b for start in EMBEDDED for b, key in enumerate(keys) if key.startswith(start)]
    test = write_spikes(source, folder / "digits-spikes.h5", np.array(embedded))
    others = np.setdiff1d(np.arange(len(keys)), embedded)
    train = evsim.load_spikes(source, SIZE, DURATION)[others]

    rng = np.random.default_rng(SEED)
    detectors = make_detectors(rng, train)
    detectors["axons"] = rng.uniform(*AXON, UNITS)
    calibrate(detectors, train)
    net = network(detectors, fit(detectors, train))
    for name, part in (("training", train), ("embedded", test)):
        result = evsim.simulate(net, part)
        right = int((result.output["readout"].argmax(1) == part.labels).sum())
        rate = result.spikes["hidden"].counts().mean() / part.duration
        print(f"{name}: {right} of {len(part)} right, hidden rate {rate:.1f} Hz")
    net.save(folder / "digits-demo.h5", overwrite=True)
    with h5py.File(folder / "digits-demo.h5", "a") as file:
        file.attrs["about"] = "spoken digits through hand-made delays; examples/make_demo.py"


def write_spikes(source: Path, target: Path, chosen: Array) -> evsim.Spikes:
    """Copy the chosen recordings as they are stored; return them."""
    with h5py.File(source) as old, h5py.File(target, "w") as new:
        new.attrs["size"], new.attrs["duration"] = SIZE, 1.0
        new.attrs["about"] = "spoken digits of HD (CC BY 4.0) and AudioMNIST (MIT); see README.md"
        for name in ("spikes/times", "spikes/units", "labels", "extra/speaker"):
            new.create_dataset(name, data=old[name][:][chosen], dtype=old[name].dtype)
        new["extra/keys"] = old["extra/keys"][:]
        new["extra/source"] = old["source/key"][:][chosen].astype("S")
    return evsim.load_spikes(target)


def make_detectors(rng: np.random.Generator, spikes: evsim.Spikes) -> Detectors:
    """Choose the synapses of the hidden units, sorted by input channel."""
    units = [make_detector(rng, spikes) for _ in range(UNITS)]
    pre, contrast, delay = (np.concatenate(column) for column in zip(*units, strict=True))
    order = np.argsort(pre, kind="stable")
    columns = {"pre": pre, "post": np.repeat(np.arange(UNITS), SYNAPSES)}
    columns |= {"weight": contrast, "delay": delay}
    return {name: column[order] for name, column in columns.items()}


def make_detector(rng: np.random.Generator, spikes: evsim.Spikes) -> tuple[Array, Array, Array]:
    """Choose a piece of a recording and places in it: more spikes there, more weight."""
    while True:
        one = spikes[int(rng.integers(len(spikes)))]
        end = one.times[rng.integers(len(one.times))] + DEPTH * rng.uniform()
        delay = (np.arange(SYNAPSES) + rng.uniform(size=SYNAPSES)) * DEPTH / SYNAPSES
        pre = rng.integers(LOWEST, SIZE, SYNAPSES)
        near = np.abs(one.times - (end - delay)[:, None]) < NEAR_TIME
        near &= np.abs(one.units - pre[:, None]) < NEAR_UNIT
        density = np.sqrt(near.sum(1))
        if (density > 0).sum() >= LEAST:
            contrast = density - density.mean()
            return pre, contrast / np.abs(contrast).sum(), delay


def network(detectors: Detectors, readout: Array) -> evsim.Network:
    """Return input -> hidden (inhibiting each other) -> readout."""
    d, inhibition = detectors, INHIBITION * (np.eye(UNITS) - 1)
    n_readouts = len(readout)
    return evsim.Network(
        [
            evsim.Population("input", "Input", SIZE),
            evsim.Population("hidden", "CubaLIF", UNITS, **HIDDEN),
            evsim.Population("readout", "CubaLI", n_readouts, **READOUT),
        ],
        [
            evsim.Sparse(
                pre="input",
                post="hidden",
                indptr=np.searchsorted(d["pre"], np.arange(SIZE + 1)),
                indices=d["post"],
                weight=d["weight"],
                delay=d["delay"],
            ),
            evsim.Dense(pre="hidden", post="hidden", weight=inhibition, delay=d["axons"]),
            evsim.Dense(pre="hidden", post="readout", weight=readout, delay=d["axons"]),
        ],
    )


def calibrate(detectors: Detectors, spikes: evsim.Spikes) -> None:
    """Scale the weights of every hidden unit until it fires as often as it should."""
    detectors["weight"] *= 40.0
    for _ in range(12):
        result = evsim.simulate(network(detectors, np.zeros((1, UNITS))), spikes)
        count = result.spikes["hidden"].counts().mean(0)
        step = np.clip(COUNT / np.maximum(count, 0.3), 0.3, 3.0) ** 0.4
        detectors["weight"] *= step[detectors["post"]]
    print(f"calibrated: {count.min():.1f} to {count.max():.1f} spikes per unit and recording")


def fit(detectors: Detectors, spikes: evsim.Spikes) -> Array:
    """Fit the readout's weights: cross-entropy of the largest voltages, by Adam."""
    times = np.arange(0.0, spikes.duration, STEP)
    net = network(detectors, np.eye(UNITS))  # a readout unit per hidden unit: its trace
    traces = evsim.simulate(net, spikes, voltage={"readout": times}).voltage["readout"]
    scale = traces.max(1).std()
    traces, peaks = traces / scale, traces.max(1) / scale
    target = np.eye(CLASSES)[spikes.labels]
    gram = peaks @ peaks.T + np.var(peaks) * UNITS * np.eye(len(peaks))
    weight = peaks.T @ np.linalg.solve(gram, target - 1 / CLASSES)  # ridge regression to start
    first, second, mean = np.zeros_like(weight), np.zeros_like(weight), np.zeros_like(weight)
    for n in range(1, ROUNDS + 1):
        value = traces @ weight  # [recording, time, class]
        at = value.argmax(1)
        largest = np.exp(np.take_along_axis(value, at[:, None], 1)[:, 0])
        error = (largest / largest.sum(1, keepdims=True) - target) / len(spikes)
        peak = np.take_along_axis(traces[:, :, None], at[:, None, :, None], 1)[:, 0]
        slope = np.einsum("bk,bkh->hk", error, peak) + DECAY * weight
        first, second = 0.9 * first + 0.1 * slope, 0.99 * second + 0.01 * slope**2
        weight -= RATE * (first / (1 - 0.9**n)) / (np.sqrt(second / (1 - 0.99**n)) + 1e-8)
        mean += weight / ROUNDS
    return mean.T / scale


if __name__ == "__main__":
    main()
