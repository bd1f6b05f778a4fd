"""A small network with delays, what it did, and files of both; for pictures."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

import evsim

CLASSES = ["no", "yes"]


def small_net(hidden: str = "hidden", threshold: float = 1.0) -> evsim.Network:
    """Return 6 inputs, 5 hidden units behind synaptic delays of up to 50 ms, 2 readout units."""
    rng = np.random.default_rng(3)
    return evsim.Network(
        [
            evsim.Population("input", "Input", 6),
            evsim.Population(hidden, "CubaLIF", 5, tau_mem=0.02, tau_syn=5e-3, threshold=threshold),
            evsim.Population("readout", "CubaLI", 2, tau_mem=0.02, tau_syn=5e-3, output="integral"),
        ],
        [
            evsim.Dense(
                pre="input",
                post=hidden,
                weight=rng.uniform(-0.5, 3.0, (5, 6)),
                delay=rng.uniform(0, 0.05, (5, 6)),
            ),
            evsim.Dense(pre=hidden, post="readout", weight=rng.normal(size=(2, 5))),
        ],
    )


def small_run(net: evsim.Network, n: int = 3) -> evsim.Result:
    """Return what it did in recordings of 2 s, whose spikes come in the first 0.2 s."""
    rng = np.random.default_rng(4)
    trains = [(rng.uniform(0.01, 0.2, 60), rng.integers(0, 6, 60)) for _ in range(n)]
    labels = np.arange(n) % 2
    spikes = evsim.Spikes.from_recordings(trains, 6, 2.0, labels)
    populations = [name for name, p in net.populations.items() if p.spiking]
    samples = {name: np.arange(0, 2, 5e-3) for name in net.populations if name != "input"}
    return evsim.simulate(net, spikes, record=populations, voltage=samples, engine="reference")


def write_run(folder: Path, hidden: str = "hidden") -> None:
    """Write net.h5, and out.h5 with names of classes."""
    net = small_net(hidden)
    net.save(folder / "net.h5")
    notes = {"network_file": "net.h5", "network_digest": evsim.network_digest(folder / "net.h5")}
    with evsim.ResultWriter(folder / "out.h5", net, attributes=notes) as writer:
        writer.append(small_run(net))
    with h5py.File(folder / "out.h5", "a") as file:
        file["extra/keys"] = np.array(CLASSES, "S")
