"""What online rules cost: time against autograd, memory against the length of a recording.

    python tests/benchmarks/three_factor.py           # all
    python tests/benchmarks/three_factor.py --quick   # fewer repetitions, shorter recordings

Times on one thread, medians of things done in turn; ratios are medians of the ratios of each round.
Memory is what the process holds at most while the rule plays a batch, beyond what it held before:
the raster counts as there. For it the allocator gives each larger block back at once, in a process
of its own: as it usually is, what it keeps between blocks changes a peak by up to 30 % from run to
run, whatever the length.
"""

import argparse
import os
import statistics
import subprocess
import sys

import numpy as np
import torch
from torch import nn

from evsim import Spikes
from evsim.gradients import dense
from evsim.gradients.methods.three_factor import online
from evsim.gradients.studies.measuring import in_turn, peak_mib
from evsim.gradients.training.start import delay_model, fit_weights

DELAYS = (
    ("none", "none"), ("axonal", "none"), ("synaptic", "none"), ("axonal", "dense"),
    ("synaptic", "dense"),
)  # fmt: skip
PLAIN = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
SIZES, DT, BATCH = (70, 64, 10), 5e-3, 32
LOOP = {"recurrent": "dense", "recurrent_delay": "synaptic", "recurrent_max_delay": 60e-3}
NETWORKS = {
    "LIF": (dense.LIF, {}),
    "LIF, soft reset": (dense.LIF, {"reset_mode": "soft", "delay": "axonal"}),
    "LIF, axonal": (dense.LIF, {"delay": "axonal"}),
    "LIF, synaptic": (dense.LIF, {"delay": "synaptic"}),
    "LIF, synaptic, loop": (dense.LIF, {"delay": "synaptic", **LOOP}),
    "CubaLIF, axonal": (dense.CubaLIF, {"delay": "axonal"}),
    "SRM, axonal": (dense.SRM, {"delay": "axonal"}),
}
CELLS = {
    dense.LIF: {"tau_mem": 20e-3},
    dense.CubaLIF: {"tau_mem": 20e-3, "tau_syn": 5e-3},
    dense.SRM: {"tau_syn": 5e-3},
}


def network(name):
    kind, options = NETWORKS[name]
    torch.manual_seed(0)
    n_in, n, n_classes = SIZES
    return nn.Sequential(
        kind(n_in, n, **CELLS[kind], **options, dt=DT), dense.LI(n, n_classes, 20e-3, dt=DT)
    )


def noise(n_steps):
    generator = torch.Generator().manual_seed(0)
    raster = (torch.rand(BATCH, n_steps, SIZES[0], generator=generator) < 0.05).float()
    return raster, torch.arange(BATCH) % SIZES[-1]


def grid_time(rounds):
    print(f"Grid: weights and delays by the rule, over autograd's, {BATCH} recordings, 200 steps")
    raster, labels = noise(200)
    for name in NETWORKS:
        model = network(name)

        def by_rule(model=model):
            list(online(model, raster, labels))

        def by_autograd(model=model):
            nn.functional.cross_entropy(model(raster), labels).backward()

        rule, other = in_turn((by_rule, by_autograd), rounds)
        ratio = statistics.median(a / b for a, b in zip(rule, other, strict=True))
        print(
            f"  {name:<20} {1e3 * statistics.median(rule):6.0f} ms, autograd "
            f"{1e3 * statistics.median(other):6.0f} ms: {ratio:.2f} (goal 3)"
        )
    print()


def grid_memory(steps):
    print(f"Grid: memory at {steps} and {10 * steps} steps, {BATCH} recordings")
    for name in NETWORKS:
        for every in (None, 50 * DT):
            model = network(name)
            peaks = []
            for n_steps in (steps, steps, 10 * steps):  # the first one warms up
                given = noise(n_steps)
                peaks.append(_peak(model, given, every))
            told = "at the end" if every is None else f"every {every:g} s"
            print(
                f"  {name:<20} {told:<13} {peaks[1]:6.1f} and {peaks[2]:6.1f} MiB: "
                f"{peaks[2] / peaks[1]:.2f} (goal 1.1)"
            )
    print()


def _peak(model, given, every):
    return peak_mib(lambda: _played(model, *given, every))


def recordings(n, size, rate, duration):
    rng = np.random.default_rng(0)
    counts = rng.poisson(rate * size * duration, n)
    times = np.concatenate([np.sort(rng.uniform(0, duration, count)) for count in counts])
    units = rng.integers(0, size, len(times))
    return Spikes(times, units, np.cumsum([0, *counts]), size, duration, rng.integers(0, 10, n))


def events_time(rounds):
    print("Events: a recording by the exact local rule, and by the gradient, over its forward pass")
    for n, n_in, units in ((16, 70, 64), (16, 70, 128), (8, 700, 128)):
        batch = recordings(n, n_in, 15.0, 0.7)
        labels = torch.from_numpy(batch.labels)
        for delay, recurrent in DELAYS:
            torch.manual_seed(0)
            model = delay_model(n_in, units, 10, delay, recurrent)
            fit_weights(model, batch)

            def forward(model=model, batch=batch):
                with torch.no_grad():
                    model(batch)

            def by_rule(model=model, batch=batch, labels=labels):
                list(online(model, batch, labels))

            def exactly(model=model, batch=batch, labels=labels):
                nn.functional.cross_entropy(model(batch), labels).backward()

            plain, rule, exact = in_turn((forward, by_rule, exactly), rounds)
            ratio, other = (
                statistics.median(a / b for a, b in zip(one, plain, strict=True))
                for one in (rule, exact)
            )
            told = f"{n_in}-{units}-10, delays {delay}, loop {recurrent}"
            print(
                f"  {told:<40} {1e3 * statistics.median(plain) / n:6.2f} ms forward, rule "
                f"{ratio:.2f} (goal 3), gradient {other:.2f}"
            )
    print()


def events_memory(seconds):
    print(f"Events: memory of recordings of {seconds:g} s and {10 * seconds:g} s, 8 at a time")
    for delay, recurrent in DELAYS[:-1]:  # the last takes minutes
        for every in (None, 1.0):
            torch.manual_seed(0)
            model, peaks = delay_model(70, 256, 10, delay, recurrent), []
            fit_weights(model, recordings(8, 70, 15.0, 1.0))
            for duration in (seconds, seconds, 10 * seconds):  # the first one warms up
                batch = recordings(8, 70, 15.0, duration)
                labels = torch.from_numpy(batch.labels)
                peaks.append(
                    peak_mib(lambda m=model, x=batch, y=labels, e=every: _played(m, x, y, e))
                )
            told = f"delays {delay}, loop {recurrent}, " + (
                "at the end" if every is None else f"every {every:g} s"
            )
            print(
                f"  {told:<44} {peaks[1]:6.1f} and {peaks[2]:6.1f} MiB: "
                f"{peaks[2] / peaks[1]:.2f} (goal 1.1)"
            )
    print()


def _played(model, raster, labels, every):
    for _ in online(model, raster, labels, every=every):
        model.zero_grad(set_to_none=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument(
        "--only", choices=("grid-time", "grid-memory", "events-time", "events-memory")
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    parts = {
        "grid-time": lambda: grid_time(3 if arguments.quick else 9),
        "grid-memory": lambda: grid_memory(400 if arguments.quick else 1000),
        "events-time": lambda: events_time(3 if arguments.quick else 9),
        "events-memory": lambda: events_memory(20.0 if arguments.quick else 40.0),
    }
    for name, part in parts.items():
        if arguments.only not in (None, name):
            continue
        if name.endswith("memory") and not PLAIN.items() <= os.environ.items():
            again = [sys.executable, __file__, "--only", name, *["--quick"] * arguments.quick]
            subprocess.run(again, env={**os.environ, **PLAIN}, check=True)
        else:
            part()


if __name__ == "__main__":
    main()
