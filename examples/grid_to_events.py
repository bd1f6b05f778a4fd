"""Trained on a grid, run by events: identical spikes and decisions.

    python examples/grid_to_events.py                     # 4 minutes on one core
    python examples/grid_to_events.py -o lif-digits.h5    # keep the network

Trains LIF neurons with axonal delays on spoken digits, on a grid of 1/1024 s with surrogate
gradients. The delays of the result are whole steps. The event engine then runs it on the 200
test recordings, whose spikes are rounded to the same steps, and every hidden spike and every
decision is compared with the grid's. Steps are a power of two, so that sums of times are exact.
"""

import argparse
import sys
import time

import numpy as np
import torch
from torch import nn

import evsim
from evsim import Network, Spikes
from evsim.datasets import SpokenDigits
from evsim.gradients import dense

DT = 2.0**-10  # [s]
DURATION = 0.625  # longer than nine of ten recordings [s]
MAX_DELAY = 60 * DT  # whole steps, as the delays that reach it
HIDDEN, CLASSES = 64, 10


def rounded(spikes):
    """Move every spike to the nearest step."""
    whole = np.round(spikes.times / DT) * DT
    args = (whole, spikes.units, spikes.offsets, spikes.size, 2 * DURATION, spikes.labels)
    return Spikes(*args).before(DURATION)


def untrained(size):
    hidden = dense.LIF(
        size, HIDDEN, tau_mem=20e-3, delay="axonal", max_delay=MAX_DELAY,
        dt=DT, delays="interpolate", surrogate="triangle",
    )  # fmt: skip
    readout = dense.CubaLI(
        HIDDEN, CLASSES, tau_mem=10e-3, tau_syn=5e-3, output="integral", tau_output=0.2, dt=DT
    )
    with torch.no_grad():
        hidden.weight.normal_(0.02, 0.15)
        readout.weight.normal_(0.0, 1.0)
    return nn.Sequential(hidden, readout)


def train(model, data, epochs, batch=25):
    hidden, readout = model
    groups = [
        {"params": [hidden.weight], "lr": 0.015},
        {"params": [readout.weight], "lr": 0.1},
        {"params": [hidden.delay], "lr": 2e-3},
    ]
    optimiser = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for epoch in range(epochs):
        right, start = 0, time.perf_counter()
        if epoch == epochs - max(1, epochs // 3):
            settle(hidden)
        order = np.random.default_rng(epoch).permutation(len(data))
        for chosen in np.array_split(order, len(data) // batch):
            spikes = data[chosen]
            labels = torch.from_numpy(spikes.labels)
            answers = model(dense.to_raster(spikes, DT))
            optimiser.zero_grad()
            nn.functional.cross_entropy(answers, labels).backward()
            optimiser.step()
            right += int((answers.argmax(1) == labels).sum())
        schedule.step()
        seconds = time.perf_counter() - start
        print(f"epoch {epoch + 1}: {right / len(data):.1%} right, {seconds:.0f} s", flush=True)


def settle(hidden):
    """Put the delays on whole steps; the rest of the training is on weights alone."""
    with torch.no_grad():
        hidden.delay.div_(DT).round_().mul_(DT)
    hidden.delay.requires_grad_(False)
    hidden.delays = "round"


@torch.no_grad()
def on_the_grid(model, spikes):
    """Return the spikes of the hidden layer and the decisions."""
    fired = model[0](dense.to_raster(spikes, DT, torch.float64))
    return dense.to_spikes(fired, DT), model[1](fired).argmax(dim=1).numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("-o", "--output", help="network file to write")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    data, test = (rounded(SpokenDigits(part).spikes()) for part in ("train", "test"))
    model = untrained(data.size)
    train(model, data, arguments.epochs)
    model = model.double()  # as the event engine counts
    hidden, decisions = on_the_grid(model, test)

    net = Network.from_torch(model)
    result = evsim.simulate(net, test)
    events, by_events = result.spikes["hidden"], result.output["readout"].argmax(axis=1)

    print(f"accuracy on the grid {np.mean(decisions == test.labels):.1%}", end=", ")
    print(f"by events {np.mean(by_events == test.labels):.1%}")
    same = [
        np.array_equal(a.times, b.times) and np.array_equal(a.units, b.units)
        for a, b in zip(hidden, events, strict=True)
    ]
    agree = int(np.sum(decisions == by_events))
    print(f"{len(events.times):,} hidden spikes, {len(hidden.times):,} on the grid")
    print(f"identical spikes in {sum(same)} of {len(test)} recordings, decisions in {agree}")
    if arguments.output:
        net.save(arguments.output)
    if not all(same) or agree < len(test):
        sys.exit("spikes or decisions differ")


if __name__ == "__main__":
    main()
