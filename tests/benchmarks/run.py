"""Time the engine: synaptic events per second, and the ratios that should hold.

    python tests/benchmarks/run.py [--quick]

Every figure is the best and the median of several runs on one thread, in CPU time, after
compilation; the two sides of a ratio are run in turn. Figures depend on the machine, and
on what else it does: compare ratios.
"""

import argparse
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
from networks import balanced, feedforward, noise

import evsim

RATE = 8000  # input spikes per recording and second


def cpu_times(runs, *jobs, clock=time.process_time):
    """Run the jobs in turn, ``runs`` times after a warm-up; return their times [job, run]."""
    for job in jobs:
        job()
    times = np.empty((len(jobs), runs))
    for r in range(runs):
        for j, job in enumerate(jobs):
            start = clock()
            job()
            times[j, r] = clock() - start
    return times


def report(name, events, times, result, target):
    spikes = next(iter(result.spikes.values()))
    rate = len(spikes.times) / len(spikes) / spikes.size / spikes.duration
    best, median = events / times.min(), events / np.median(times)
    print(
        f"  {name:30s} {rate:5.1f} Hz   best {best:.2e}   median {median:.2e}   goal {target:.1e}"
    )


def bench_feedforward(runs, recordings):
    print("\nDense feedforward 700 -> 256, 8,000 input spikes a second: synaptic events a second")
    spikes = noise(recordings, RATE, 700)
    for name, scale, synaptic, target in (
        ("axonal delays U(0, 60 ms)", 0.19, False, 1.5e9),
        ("axonal delays U(0, 60 ms)", 0.30, False, 8e8),
        ("axonal delays U(0, 60 ms)", 0.45, False, 8e8),
        ("synaptic delays U(0, 60 ms)", 0.35, True, 1e8),
    ):
        simulator = evsim.Simulator(feedforward(scale, synaptic), threads=1)
        times = cpu_times(runs, lambda s=simulator: s.run(spikes))[0]
        report(name, len(spikes.times) * 256, times, simulator.run(spikes), target)


def bench_recurrent(runs, quick):
    print("\nSparse E/I loop, synaptic delays U(0.5, 20 ms): synaptic events a second")
    for n, fan_out, weights, drive, duration, target in (
        (1000, 100, (0.3, 1.5), 1.4, 2.0, 4e7),
        (10_000, 1000, (0.05, 0.25), 1.4, 0.3, 2e7),
    ):
        if quick and n > 1000:
            continue
        net = balanced(n, fan_out, *weights, drive)
        spikes = noise(1, 1000, 50, duration)
        simulator = evsim.Simulator(net, threads=1)
        times = cpu_times(runs if n == 1000 else 3, lambda s=simulator, x=spikes: s.run(x))[0]
        result = simulator.run(spikes)
        events = len(result.spikes["units"].times) * fan_out + len(spikes.times) * n
        report(f"{n:,} units x {fan_out:,} synapses", events, times, result, target)


def bench_ratios(runs, recordings):
    print("\nRatios")
    spikes = noise(64, RATE, 700)
    net = feedforward(0.3)
    one, two = (evsim.Simulator(net, threads=k) for k in (1, 2))
    times = cpu_times(
        runs, lambda: one.run(spikes), lambda: two.run(spikes), clock=time.perf_counter
    )
    print(f"  two threads over one, batch of 64: {np.median(times[0] / times[1]):.2f} (goal 1.7)")
    # Long recordings: what is still on its way when they end is a few per cent at most.
    spikes = noise(1, RATE, 700, float(recordings))
    for synaptic in (False, True):
        nets = [feedforward(0.3, synaptic, longest) for longest in (10e-3, 1.0)]
        simulators = [evsim.Simulator(net, threads=1) for net in nets]
        times = cpu_times(runs, *(lambda s=s: s.run(spikes) for s in simulators))
        kind = "synaptic" if synaptic else "axonal"
        ratio = np.median(times[1] / times[0])
        print(f"  time with {kind} delays up to 1 s over up to 10 ms: {ratio:.2f} (goal 1.1)")


def bench_memory():
    print("\nPeak memory of a run, traced")
    net = feedforward(0.3)
    for name, spikes in (
        ("8,000 spikes in 1 s", noise(1, RATE, 700)),
        ("8,000 spikes in 100 s", noise(1, RATE / 100, 700, 100.0)),
        ("80,000 spikes in 1 s", noise(1, 10 * RATE, 700)),
    ):
        simulator = evsim.Simulator(net, threads=1)
        simulator.run(spikes)
        tracemalloc.start()
        simulator.run(spikes)
        print(f"  {name:24s} {tracemalloc.get_traced_memory()[1] / 2**20:6.2f} MiB")
        tracemalloc.stop()


def bench_start(runs):
    print("\nStart-up, wall time of a whole process (best)")
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "out.h5")
        demo = ["simulate", "digits-demo.h5", "digits-spikes.h5", "-o", out, "--overwrite"]
        for name, arguments, target in (
            ("evsim --help", ["--help"], "0.5 s"),
            ("evsim simulate, 11 recordings, start to end", demo, "2 s to start work"),
        ):
            command = [sys.executable, "-m", "evsim", *arguments]
            times = cpu_times(
                runs,
                lambda c=command: subprocess.run(c, check=True, capture_output=True),
                clock=time.perf_counter,
            )
            print(f"  {name:46s} {times.min():.2f} s (goal {target})")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer runs, small networks only")
    quick = parser.parse_args().quick
    runs, recordings = (3, 4) if quick else (9, 16)
    bench_feedforward(runs, recordings)
    bench_recurrent(runs, quick)
    bench_ratios(runs, recordings)
    bench_memory()
    bench_start(min(runs, 5))


if __name__ == "__main__":
    main()
