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

import torch
from torch import nn

from evsim.gradients import dense
from evsim.gradients.methods.three_factor import online
from evsim.gradients.studies.measuring import in_turn, peak_mib

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


def _played(model, raster, labels, every):
    for _ in online(model, raster, labels, every=every):
        model.zero_grad(set_to_none=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=("grid-time", "grid-memory"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    parts = {
        "grid-time": lambda: grid_time(3 if arguments.quick else 9),
        "grid-memory": lambda: grid_memory(400 if arguments.quick else 1000),
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
