"""Is the reverse pass of one population right? Stored gradients, differences, invariances."""

import copy

import numpy as np
import pytest
from gradient_cases import oracle_rows

import evsim
from evsim.gradients import reverse
from evsim.gradients.reverse import backward, forward

DURATION = 0.12
# Differences tell nothing where a spike appears or vanishes within the stencil, and little
# where the voltage only just reaches the threshold: there all derivatives are large.
SMALLEST_SLOPE = 10.0  # [1/s]
STEPS = {"voltage": 1e-6, "time": 1e-8}
VOLTAGES = ("weight", "own_weight", "threshold", "reset", "v_leak")


@pytest.mark.parametrize("name", ["grad1_feedforward", "grad2_recurrent"])
def test_stored_gradients(name):
    for _, group, error, limit in oracle_rows(name):
        assert error < limit, group


# --- random networks against differences ---


def random_case(seed):
    """Return what a population is made of, by name; everything in it can be differentiated."""
    rng = np.random.default_rng(seed)
    n, n_in = 4, 3
    model = ("CubaLIF", "SRM")[seed % 2]

    def values(low, high):
        return rng.uniform(low, high, n) if seed % 3 else np.full(n, rng.uniform(low, high))

    if model == "CubaLIF":
        tau_mem = values(0.01, 0.03)
        tau_syn = tau_mem.copy() if seed % 5 == 0 else values(0.004, 0.04)
        cells = {
            "tau_mem": tau_mem,
            "tau_syn": tau_syn,
            "threshold": values(0.9, 1.2),
            "reset": values(-0.3, 0.2),
            "v_leak": values(-0.1, 0.1),
        }
        if seed % 4 == 0:
            cells["refractory"] = values(0.001, 0.004)
        scale = 3 * np.mean(1 + tau_mem / tau_syn)
    else:
        cells = {"tau_syn": values(0.005, 0.02), "tau_r": values(0.005, 0.02)}
        cells["threshold"] = values(0.9, 1.2)
        scale = 0.8
    case = {"model": model, "cells": cells, "weight": rng.normal(1, 1, (n, n_in)) * scale}
    if rng.random() < 0.6:
        case["delay"] = rng.uniform(0, 0.02, (n, n_in))
    if rng.random() < 0.6:
        case["axonal"] = rng.uniform(0, 0.02, n_in)
    if rng.random() < 0.7:
        case["own_weight"] = rng.normal(-0.1, 0.4, (n, n)) * scale
        case["own_axonal"] = rng.uniform(0.0005, 0.01, n)
        if rng.random() < 0.6:
            case["own_delay"] = rng.uniform(0.0005, 0.01, (n, n))
    counts = rng.integers(4, 10, 2)
    case["in_times"] = np.concatenate([np.sort(rng.uniform(0, 0.09, k)) for k in counts])
    case["in_units"] = rng.integers(0, n_in, counts.sum())
    case["in_offsets"] = np.concatenate([[0], np.cumsum(counts)])
    return case


def build(case):
    """Return the network and the input of a case."""
    n, n_in = case["weight"].shape

    def projection(pre, start):
        delays = {"delay": start + "delay", "axonal_delay": start + "axonal"}
        delays = {name: case[key] for name, key in delays.items() if key in case}
        return evsim.Dense(pre=pre, post="cells", weight=case[start + "weight"], **delays)

    cells = evsim.Population("cells", case["model"], n, **case["cells"])
    projections = [projection("input", "")]
    if "own_weight" in case:
        projections.append(projection("cells", "own_"))
    net = evsim.Network([evsim.Population("input", "Input", n_in), cells], projections)
    arrays = (case[key] for key in ("in_times", "in_units", "in_offsets"))
    return net, evsim.Spikes(*arrays, size=n_in, duration=DURATION)


def loss_weights(run):
    """Random numbers that go with a spike's recording, unit and rank, not with its time."""
    recording = np.repeat(np.arange(len(run.spikes)), np.diff(run.spikes.offsets))
    order = np.lexsort((run.spikes.times, run.spikes.units, recording))
    weights = np.empty(len(order))
    weights[order] = np.random.default_rng(1).normal(size=len(order))
    return weights


def entries(case):
    """List what is differentiated: (name, dictionary that holds it)."""
    own = [k for k in case if k.endswith(("weight", "delay", "axonal", "in_times"))]
    return [(k, False) for k in own] + [(k, True) for k in case["cells"]]


def difference(case, name, is_cell, index, base):
    """Return the 4-point difference of the loss, or NaN if any spike comes or goes."""
    h = STEPS["voltage" if name in VOLTAGES else "time"]
    losses = []
    for steps in (-2, -1, 1, 2):
        moved = copy.deepcopy(case)
        (moved["cells"] if is_cell else moved)[name][index] += steps * h
        run = forward(*build(moved))
        if not np.array_equal(run.spikes.counts(), base):
            return np.nan
        losses.append((loss_weights(run) * run.spikes.times).sum())
    return np.dot(losses, [1, -8, 8, -1]) / (12 * h)


def found_gradients(run, g, case):
    """Name the gradients as `random_case` names what they belong to."""
    n_in = case["weight"].shape[1]
    named = {name: getattr(g, name) for name in (*case["cells"], *case) if hasattr(g, name)}
    named["axonal"] = np.bincount(run.inputs.units, g.in_times, n_in)
    named["v_leak"] = -g.threshold - g.reset  # voltages count from there
    return named


# Seeds whose smallest slope is large enough. Even ones are `CubaLIF`, those by 4 with a refractory
# period, by 10 with equal time constants; odd ones are `SRM`; by 3 have units that are alike.
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 6, 8, 9, 10, 12, 18, 20, 25, 30, 36])
def test_gradients_are_differences(seed):
    case = random_case(seed)
    run = forward(*build(case))
    g = backward(run, loss_weights(run), time_constants=True)
    assert len(run.spikes.times) > 5 and g.smallest_slope.min() > SMALLEST_SLOPE
    found, base = found_gradients(run, g, case), run.spikes.counts()
    for name, is_cell in entries(case):
        where = (case["cells"] if is_cell else case)[name]
        expected = np.empty(where.shape)
        for index in np.ndindex(where.shape):
            expected[index] = difference(case, name, is_cell, index, base)
        assert np.isfinite(expected).all(), f"{name}: a spike comes or goes, take another seed"
        tolerance = 1e-6 * np.abs(expected).max() + 1e-9
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=tolerance, err_msg=name)


# --- what must not matter ---


def arrays(g):
    """List the arrays of `Gradients`."""
    return {k: v for k, v in vars(g).items() if isinstance(v, np.ndarray)}


def batch(n, seed=24):
    """Return a recurrent network with delays of both kinds and ``n`` different recordings."""
    rng = np.random.default_rng(seed)
    case = random_case(seed)
    net, _ = build(case)
    counts = rng.integers(0, 12, n)
    spikes = evsim.Spikes(
        rng.uniform(0, 0.09, counts.sum()),
        rng.integers(0, 3, counts.sum()),
        np.concatenate([[0], np.cumsum(counts)]),
        size=3,
        duration=DURATION,
    )
    return net, spikes


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_do_not_matter(threads):
    net, spikes = batch(400)
    one, many = (
        backward(run, loss_weights(run), time_constants=True, threads=t)
        for t in (1, threads)
        for run in [forward(net, spikes, threads=t)]
    )
    for name, values in arrays(one).items():
        np.testing.assert_array_equal(values, arrays(many)[name], err_msg=name)


def test_gradients_of_a_batch_are_the_sum_of_its_recordings():
    net, spikes = batch(30)
    run = forward(net, spikes)
    weights = loss_weights(run)
    whole = arrays(backward(run, weights, time_constants=True))
    parts = []
    for b in range(len(spikes)):
        mine = weights[run.spikes.offsets[b] : run.spikes.offsets[b + 1]]
        parts.append(arrays(backward(forward(net, spikes[b]), mine, time_constants=True)))
    in_times = np.concatenate([part["in_times"] for part in parts])
    np.testing.assert_array_equal(whole.pop("in_times"), in_times)
    slopes = np.min([part["smallest_slope"] for part in parts], axis=0)
    np.testing.assert_array_equal(whole.pop("smallest_slope"), slopes)
    for name, values in whole.items():
        total = sum(part[name] for part in parts)
        np.testing.assert_allclose(values, total, rtol=0, atol=1e-12 * np.abs(total).max())


@pytest.mark.parametrize("seed", [2, 9, 24])
def test_width_of_the_windows_does_not_matter(seed, monkeypatch):
    case = random_case(seed)
    run = forward(*build(case))
    wide = arrays(backward(run, loss_weights(run), time_constants=True))
    # Narrow ones also need a longer table than there is at first.
    monkeypatch.setattr(reverse, "WIDEST", 0.03)
    narrow = arrays(backward(run, loss_weights(run), time_constants=True))
    for name, values in wide.items():
        atol = 1e-11 * np.abs(values[np.isfinite(values)]).max(initial=0)
        np.testing.assert_allclose(narrow[name], values, rtol=0, atol=atol, err_msg=name)


def test_long_silence_changes_nothing():
    case = random_case(8)
    net, spikes = build(case)
    # All is over after 1 s; exponentials of the rest of a longer recording underflow.
    run, long = (
        forward(net, spikes.replace(spikes.times, spikes.units, spikes.offsets, duration=duration))
        for duration in (1.0, 1000.0)
    )
    assert np.array_equal(run.spikes.counts(), long.spikes.counts())
    short, long = (arrays(backward(r, loss_weights(r), time_constants=True)) for r in (run, long))
    for name, values in short.items():
        np.testing.assert_allclose(long[name], values, rtol=1e-9, err_msg=name)


# --- ties and bounds ---


def tied_case(refractory):
    """Return a recurrent network without any delays, some of whose input comes at once."""
    rng = np.random.default_rng(5)
    cells = {name: np.full(3, value) for name, value in (("tau_mem", 0.02), ("tau_syn", 0.005))}
    return {
        "model": "CubaLIF",
        "cells": cells | {"threshold": np.ones(3), "refractory": np.full(3, refractory)},
        "weight": rng.uniform(4, 8, (3, 3)),
        "own_weight": rng.normal(0, 1, (3, 3)),
        "in_times": np.repeat([0.01, 0.02, 0.04], 3),
        "in_units": np.tile(np.arange(3), 3),
        "in_offsets": np.array([0, 9]),
    }


def test_arrivals_at_once_and_loops_without_delay():
    case = tied_case(refractory=0.002)
    run = forward(*build(case))
    base = run.spikes.counts()
    assert base.min() > 1
    found = backward(run, loss_weights(run), time_constants=True)
    # Times are left out: where events change their order, derivatives are one-sided.
    for name, is_cell in entries(case):
        if name == "in_times":
            continue
        where = (case["cells"] if is_cell else case)[name]
        index = (0,) * where.ndim
        expected = difference(case, name, is_cell, index, base)
        assert getattr(found, name)[index] == pytest.approx(expected, rel=1e-5), name


def test_bound_limits_the_kick_of_a_spike_and_counts():
    net = evsim.Network(
        [
            evsim.Population("input", "Input", 1),
            evsim.Population("cell", "CubaLIF", 1, tau_mem=0.02, tau_syn=0.005),
        ],
        [evsim.Dense(pre="input", post="cell", weight=[[10.0]])],
    )
    run = forward(net, evsim.Spikes([0.0], [0], size=1, duration=0.1))
    free = backward(run, np.ones(1))
    # dt/dw of the first crossing, from its closed form.
    assert free.weight[0, 0] == pytest.approx(-0.42715156914251e-3, rel=1e-12)
    assert free.n_bounded == 0
    kick = 1 / run.records[0, 0]  # of the costate of the voltage, from 0
    loose, tight = (backward(run, np.ones(1), bound=b * kick) for b in (1.01, 0.5))
    assert (loose.n_bounded, loose.weight[0, 0]) == (0, free.weight[0, 0])
    assert tight.n_bounded == 1
    assert tight.weight[0, 0] == pytest.approx(0.5 * free.weight[0, 0], rel=1e-12)


def test_no_spikes_no_gradients():
    net, _ = batch(1)
    run = forward(net, evsim.Spikes([], [], [0, 0, 0], size=3, duration=DURATION))
    g = backward(run, np.empty(0), time_constants=True)
    for name, values in arrays(g).items():
        assert np.all(values == (np.inf if name == "smallest_slope" else 0)), name


@pytest.mark.parametrize("tau_syn", [5e-3, 20e-3, 19.9e-3])
@pytest.mark.parametrize("refractory", [0.0, 2e-3])
def test_exponentials_of_delays_give_the_same_as_those_of_times(tau_syn, refractory):
    # With time constants asked for, the general way is gone; without, the quick one.
    rng = np.random.default_rng(4)
    cells = {"tau_mem": 20e-3, "tau_syn": tau_syn, "refractory": refractory}
    net = evsim.Network(
        [evsim.Population("in", "Input", 9), evsim.Population("out", "CubaLIF", 7, **cells)],
        [
            evsim.Dense(
                pre="in",
                post="out",
                weight=rng.normal(1.5, 2, (7, 9)) * 5e-3 / tau_syn,
                delay=rng.uniform(0, 60e-3, (7, 9)),
            ),
            evsim.Dense(
                pre="out",
                post="out",
                weight=rng.normal(0, 1, (7, 7)) * 5e-3 / tau_syn,
                delay=rng.uniform(1e-3, 60e-3, (7, 7)),
            ),
        ],
    )
    spikes = evsim.Spikes(rng.uniform(0, 0.2, 300), rng.integers(0, 9, 300), size=9, duration=0.3)
    run = forward(net, spikes)
    g_times = rng.normal(size=len(run.spikes.times))
    assert len(g_times) > 20
    quick, general = (backward(run, g_times, time_constants=t) for t in (False, True))
    for name in ("in_times", "weight", "delay", "own_weight", "own_delay", "own_axonal"):
        a, b = getattr(quick, name), getattr(general, name)
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11 * abs(b).max())
