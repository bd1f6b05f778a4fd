"""Batches on threads: they end when one job does, and take no more memory than they should."""

import threading
import time

import numpy as np
import pytest

import evsim
from evsim.threads import MOST_PER_CORE, Stopped, run_jobs, useful_threads

TAU = {"tau_mem": 20e-3, "tau_syn": 5e-3}


def network(n=5, weight=20.0, **loop):
    projections = [evsim.Dense(pre="in", post="cells", weight=np.full((n, 2), weight))]
    if loop:
        projections.append(
            evsim.Dense(pre="cells", post="cells", weight=np.full((n, n), 5.0), **loop)
        )
    populations = [
        evsim.Population("in", "Input", 2),
        evsim.Population("cells", "CubaLIF", n, **TAU),
    ]
    return evsim.Network(populations, projections, output="cells")


def test_what_has_not_begun_when_a_job_fails_is_never_begun():
    begun, stop, running = [], np.zeros(1, np.int64), threading.Event()

    def work(k):
        begun.append(k)
        if k == 1:
            running.wait(5)
            raise ValueError("job 1 failed")
        running.set()
        while not stop[0]:  # what compiled code does between two recordings
            time.sleep(0.001)
        raise Stopped

    with pytest.raises(ValueError, match="job 1 failed"):
        run_jobs(work, [(k,) for k in range(100)], 2, stop)
    assert stop[0] == 1 and sorted(begun) == [0, 1]


def test_results_come_in_order():
    def work(k):
        time.sleep(0.01 * (5 - k))
        return k

    assert run_jobs(work, [(k,) for k in range(5)], 5, np.zeros(1, np.int64)) == [0, 1, 2, 3, 4]


def test_compiled_code_looks_for_a_stop_before_each_recording():
    from evsim._layout import Inputs, Samples
    from evsim._plan import plan_network
    from evsim._run import Room, run_plan

    (plan,) = plan_network(network())
    none = np.empty(0)
    inputs = Inputs(none, np.empty(0, np.int64), np.zeros((1, 4), np.int64), plan.fan_out)
    samples = Samples(none, np.empty(0, np.int64), np.empty(0, np.int64))
    stop = np.ones(1, np.int64)
    with pytest.raises(Stopped):
        run_plan(plan, inputs, samples, 0, 1.0, 1e4, Room(), 0, stop)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_runaway_in_the_first_recording_ends_the_batch(threads):
    n = 4000
    times = np.full(n, 0.01)
    spikes = evsim.Spikes(times, np.zeros(n, int), np.arange(n + 1), size=2, duration=20.0)
    start = time.perf_counter()
    with pytest.raises(evsim.RunawayError, match="recording 0 by"):
        evsim.simulate(network(50, delay=1e-3), spikes[:1], max_rate=500)
    one = time.perf_counter() - start
    start = time.perf_counter()
    with pytest.raises(evsim.RunawayError):
        evsim.simulate(network(50, delay=1e-3), spikes, max_rate=500, threads=threads)
    assert time.perf_counter() - start < 20 * threads * one + 1  # not 4000 times


def test_too_many_threads_are_capped_and_told():
    cores = useful_threads(None)
    assert useful_threads(cores) == cores and useful_threads(1) == 1
    with pytest.warns(UserWarning, match="threads = 20000 are more than are of use"):
        assert useful_threads(20000) == MOST_PER_CORE * cores
    with pytest.raises(ValueError, match="threads = 0, must be at least 1"):
        useful_threads(0)


def test_many_short_recordings_are_cut_into_chunks_of_bounded_size():
    cut = evsim.simulate.__globals__["cut"]
    spikes = evsim.Spikes(
        np.empty(0), np.empty(0, int), np.zeros(100_001, int), size=2, duration=1.0
    )
    found = cut(spikes, 2, 8 * 7 * 1000)
    sizes = [b - a for a, b in found]
    assert sum(sizes) == 100_000 and max(sizes) * 8 * 7 * 1000 <= 1.1 * 2**26
    assert len(cut(spikes, 2, 0)) == 8
