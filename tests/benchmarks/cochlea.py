"""Time the cochlea: seconds of sound encoded per second, on one core.

    python tests/benchmarks/cochlea.py [--quick]

The goal is five times real time at 700 channels, for recordings of any length: those whose
number of steps is a prime are the hard ones. Stages are timed one by one, so they add up to
a bit more than the whole. CPU time after compilation, best and median of several runs; what
else the machine does shows in both.
"""

import argparse
import time
from collections import defaultdict

import numpy as np

from evsim.datasets.cochlea import Cochlea, _filterbank, _nerve, filterbank

GOAL = 5.0
LENGTHS = {"13721 steps, a prime": 27441, "24001 steps, a prime": 48000, "24000 steps": 47998}


def babble(n_samples):
    """Return noise with the spectrum of speech, roughly, in bursts."""
    rng = np.random.default_rng(0)
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    frequency = np.fft.rfftfreq(n_samples, 1 / 48000)
    sound = np.fft.irfft(spectrum / (1 + (frequency / 500) ** 2), n_samples)
    return sound * np.sin(2 * np.pi * 3 * np.arange(n_samples) / 48000) ** 2


def cpu_times(job, runs):
    job()
    times = []
    for _ in range(runs):
        start = time.process_time()
        job()
        times.append(time.process_time() - start)
    return np.array(times)


def bench_whole(runs):
    print("\nEncoding, times real time")
    for channels in (700, 70):
        for constants in ("article", "default"):
            cochlea = Cochlea(channels, constants)
            for name, n_samples in LENGTHS.items():
                sound = babble(n_samples)
                times = cpu_times(lambda c=cochlea, s=sound: c.encode(s, 48000), runs)
                factors = n_samples / 48000 / times
                goal = f"   goal {GOAL:.0f}" if channels == 700 else ""
                print(
                    f"  {channels} channels, {constants}, {name:22s}"
                    f" best {factors.max():5.1f}   median {np.median(factors):5.1f}{goal}"
                )


def stages_of(cochlea, b, wave, n_steps, chunk=128):
    """Return the stages of a block of units, as functions of the first step of a chunk."""
    state = cochlea._resting(cochlea._streams(0)[b])
    _nerve.first_budgets(state["streams"], state["nerve"][1])
    n_spikes = np.zeros(_nerve.LANES, np.int64)
    spikes = np.empty((_nerve.LANES, n_steps // 24 + 2), np.int64)
    velocity, probability, hazard, counts = np.empty((4, chunk, _nerve.LANES))
    buffers = filterbank.resampling_buffers()
    hair, bushy = cochlea._hair_cell.per_step(), cochlea._bushy_constants()
    nerve = [state[name] for name in ("streams", "nerve", "kept", "firing")]
    return {
        "waves at the steps": lambda s: _filterbank.resample(*wave, s, *buffers, velocity),
        "hair cells": lambda s: _nerve.hair_cells(velocity, hair, state["hair"], probability),
        "hazards": lambda s: _nerve.hazards(probability, hazard),
        "fibres": lambda s: _nerve.fibres(hazard, s, *nerve, counts),
        "bushy cells": lambda s: _nerve.bushy_cells(
            counts, s, bushy, state["bushy"], n_spikes, spikes
        ),
    }


def bench_stages(runs, n_samples=48000, chunk=128):
    print("\nStages of 700 channels, ms per second of sound, best (24001 steps, default)")
    cochlea = Cochlea(700, "default")
    sound = cochlea.sound(babble(n_samples), 48000)
    n_steps = n_samples // 2 + 1
    seconds = defaultdict(lambda: np.zeros(runs))
    for run in range(runs):
        start = time.process_time()
        for b, wave in enumerate(cochlea._bank.waves(sound)):
            seconds["spectra and grids"][run] += time.process_time() - start
            stages = stages_of(cochlea, b, wave, n_steps, chunk)
            for step in range(0, n_steps - chunk, chunk):
                for stage, job in stages.items():
                    start = time.process_time()
                    job(step)
                    seconds[stage][run] += time.process_time() - start
            start = time.process_time()
    for stage, times in seconds.items():
        print(f"  {stage:20s} {times.min() / (n_samples / 48000) * 1e3:6.1f}")


def bench_tables(runs):
    print("\nTabulating the membrane, s, best")
    for channels in (700, 70):
        seconds = cpu_times(lambda n=channels: filterbank._tables.__wrapped__(n), min(runs, 3))
        print(f"  {channels} channels  {seconds.min():.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    runs = 3 if parser.parse_args().quick else 11
    bench_whole(runs)
    bench_stages(runs)
    bench_tables(runs)
