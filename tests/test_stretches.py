"""A recording run stretch by stretch gives what it gives in one piece."""

from itertools import pairwise

import numpy as np
import pytest

import evsim
from evsim.gradients.in_flight import in_flight
from evsim.gradients.reverse import forward
from evsim.readouts import readout_values

DURATION = 0.3
N_IN, N, RECORDINGS = 5, 7, 3
CLOSE = 1e-13 * DURATION
MODELS = ("CubaLIF", "SRM", "LIF", "LIF soft")


def random_network(model, seed, longest, tie=False):
    """Return a loop with a random kind of delays of up to ``longest`` [s], and its input."""
    rng = np.random.default_rng(seed)

    def values(low, high):
        return rng.uniform(low, high, N) if seed % 2 else np.full(N, rng.uniform(low, high))

    name, _, soft = model.partition(" ")
    cells = {"threshold": values(0.9, 1.2)}
    if name == "SRM":
        cells |= {"tau_syn": values(0.004, 0.01), "tau_r": values(0.005, 0.02)}
    else:
        cells |= {"tau_mem": values(0.01, 0.03), "reset": values(-0.3, 0.2)}
        cells |= {"v_leak": values(-0.1, 0.1)}
        if seed % 3:
            cells["refractory"] = values(0.005, 0.03)
    if name == "CubaLIF":
        cells["tau_syn"] = values(0.004, 0.02)
    if soft:
        cells["reset_mode"] = "soft"
    scale = {"CubaLIF": 3.0, "SRM": 0.7, "LIF": 0.8}[name]

    def projection(pre, size, mean, kind):
        late = {}
        if kind % 2:
            late["delay"] = rng.uniform(0, longest, (N, size))
        if kind // 2:
            late["axonal_delay"] = rng.uniform(0.0005, longest, size)
        if tie:
            late = {key: np.round(array, 2) for key, array in late.items()}
        weight = scale * rng.normal(mean, 0.6, (N, size))
        return evsim.Dense(pre=pre, post="cells", weight=weight, **late)

    # A loop without axonal delays may be as quick as can be, but not instant.
    projections = [projection("input", N_IN, 0.5, seed % 4)]
    projections.append(projection("cells", N, -0.5, 1 + (seed + 1) % 3))
    population = evsim.Population("cells", name, N, **cells)
    net = evsim.Network([evsim.Population("input", "Input", N_IN), population], projections)
    return net, random_input(rng, tie)


def random_input(rng, tie=False):
    counts = np.array([70, 0, 100])
    times = np.concatenate([np.sort(rng.uniform(0, 0.9 * DURATION, k)) for k in counts])
    if tie:
        times = np.round(times, 2)
    units, offsets = rng.integers(0, N_IN, counts.sum()), np.cumsum([0, *counts])
    return evsim.Spikes(times, units, offsets, size=N_IN, duration=DURATION)


def between(spikes, begin, end):
    """Return the spikes that leave from ``begin`` on, before ``end``, the end of the stretch."""
    kept = np.flatnonzero((spikes.times >= begin) & (spikes.times < end))
    offsets = np.searchsorted(kept, spikes.offsets)
    return spikes.replace(spikes.times[kept], spikes.units[kept], offsets, duration=end)


def joined(early, late):
    """Return the spikes of two stretches of the same recordings as one."""
    times, units = (
        np.concatenate([getattr(one, name) for one in (early, late)]) for name in ("times", "units")
    )
    order = np.argsort(np.concatenate([early.recordings(), late.recordings()]), kind="stable")
    offsets = early.offsets + late.offsets
    return late.replace(times[order], units[order], offsets)


def in_stretches(net, spikes, borders, threads=1, at=None, inside=False):
    """Run stretch by stretch; what is on its way is handed on as flights.

    Or, if it comes from the input and that is wanted, ``inside`` the spikes of the next stretch.
    """
    paths = {p.pre: p for p in net.projections.values()}
    flying, runs, state = {}, [], None
    for begin, end in pairwise(borders):
        mine = None if at is None else at[(at >= begin) & (at < end)]
        fed = between(spikes, begin, end)
        if inside and runs:
            fed = joined(flying.pop(net.input), fed)
        flights = [(train, paths[name]) for name, train in flying.items()]
        runs.append(forward(net, fed, mine, threads, begin, state, flights))
        state = runs[-1].state
        for name, train in ((net.input, fed), ("cells", runs[-1].spikes)):
            if name in paths:
                train = joined(flying[name], train) if name in flying else train
                flying[name] = in_flight(train, paths[name], end)
    return runs


def cut(seed, n=6):
    """Return random borders; one stretch is empty, two are short."""
    rng = np.random.default_rng(1000 + seed)
    inner = np.sort(rng.uniform(0, DURATION, n))
    return [0.0, *inner[:3], inner[2], inner[2] + 1e-4, *inner[3:], DURATION]


def assert_same_spikes(runs, whole):
    """Compare each recording's spikes in order, which ties within rounding may change."""
    for b in range(len(whole.spikes)):
        first, last = whole.spikes.offsets[b : b + 2]
        units, times, records = [], [], []
        for run in runs:
            mine = slice(*run.spikes.offsets[b : b + 2])
            units.append(run.spikes.units[mine])
            times.append(run.spikes.times[mine])
            records.append(run.records[:, mine])
        units, times = np.concatenate(units), np.concatenate(times)
        found = np.lexsort((times, units))
        expected = np.lexsort((whole.spikes.times[first:last], whole.spikes.units[first:last]))
        expected = expected + first
        np.testing.assert_array_equal(units[found], whole.spikes.units[expected])
        np.testing.assert_allclose(times[found], whole.spikes.times[expected], rtol=0, atol=CLOSE)
        if whole.net.populations["cells"].model != "LIF":
            slope, before = np.concatenate(records, axis=1)[:, found]
            np.testing.assert_allclose(slope, whole.records[0, expected], rtol=1e-9, atol=1e-9)
            if whole.net.populations["cells"].model == "CubaLIF":
                np.testing.assert_allclose(before, whole.records[1, expected], rtol=0, atol=1e-11)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("seed", range(8))
def test_stretches_of_a_loop_are_the_whole(model, seed):
    # Delays shorter than most stretches, and longer than several.
    net, spikes = random_network(model, seed, longest=(0.004, 0.15)[seed // 4])
    whole = forward(net, spikes)
    assert len(whole.spikes.times) > 30
    runs = in_stretches(net, spikes, cut(seed), inside=bool(seed % 2))
    assert_same_spikes(runs, whole)
    np.testing.assert_allclose(runs[-1].freed, whole.freed, rtol=0, atol=1e-11)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("seed", range(2))
def test_borders_at_spikes_and_arrivals(model, seed):
    net, spikes = random_network(model, seed, longest=0.02)
    whole = forward(net, spikes)
    fired = np.random.default_rng(seed).choice(whole.spikes.times, 4, replace=False)
    into = net.projections["input->cells"]
    arrivals = spikes.times + into.axonal(N_IN)[spikes.units]
    if into.synaptic is not None:
        arrivals = arrivals + into.synaptic[2, spikes.units]
    borders = np.unique([0.0, *fired, *spikes.times[[5, 90]], *arrivals[[20, 50, 120]], DURATION])
    assert_same_spikes(in_stretches(net, spikes, borders), whole)


@pytest.mark.parametrize("model", MODELS)
def test_ties_at_borders(model):
    """Spikes, delays and borders on one grid: arrivals at borders are neither lost nor doubled."""
    net, spikes = random_network(model, 2, longest=0.06, tie=True)
    whole = forward(net, spikes)
    assert len(whole.spikes.times) > 30
    assert_same_spikes(in_stretches(net, spikes, np.round(np.arange(31) * 0.01, 2)), whole)


@pytest.mark.parametrize("late", [0.013, 0.1 + 0.2, 0.7 / 3])
@pytest.mark.parametrize("kind", ["axonal", "synaptic"])
def test_an_arrival_at_a_border_belongs_to_the_later_stretch(late, kind):
    # With synaptic delays a second unit, whose arrival is later than the border in any case.
    given = {"delay": [[late], [late + 0.05]]} if kind == "synaptic" else {"axonal_delay": late}
    n = len(given.get("delay", [late]))
    into = evsim.Dense(pre="input", post="cells", weight=np.full((n, 1), 2.0), **given)
    cells = evsim.Population("cells", "LIF", n, tau_mem=0.01, threshold=1.0)
    net = evsim.Network([evsim.Population("input", "Input", 1), cells], [into])
    time = 0.1
    for border in (time + late, np.nextafter(time + late, 0), np.nextafter(time + late, 1)):
        spikes = evsim.Spikes([time], [0], size=1, duration=border)
        early = forward(net, spikes, begin=0.0)
        rest = between(spikes, 1.0, 1.0)
        later = forward(net, rest, begin=border, state=early.state, flights=[(spikes, into)])
        fed = spikes.replace(spikes.times, spikes.units, spikes.offsets, duration=1.0)
        same = forward(net, fed, begin=border, state=early.state)
        is_early = time + late < border
        counts = [len(run.spikes.times) for run in (early, later, same)]
        assert counts == [is_early, n - is_early, n - is_early]
        arrived = in_flight(spikes, into, border)
        assert len(arrived.times) == (n == 2 or not is_early)


@pytest.mark.parametrize("model", ["CubaLI", "LI"])
@pytest.mark.parametrize(
    "output", [{"output": "max"}, {"output": "last"}, {"output": "integral"},
               {"output": "integral", "tau_output": 0.1}],
    ids=str,
)  # fmt: skip
def test_readouts(model, output):
    rng = np.random.default_rng(3)
    spikes = random_input(rng)
    taus = {"tau_mem": 0.03} | ({"tau_syn": 0.008} if model == "CubaLI" else {})
    cells = evsim.Population("cells", model, N, **taus, **output)
    weight, late = rng.normal(0, 1, (N, N_IN)), rng.uniform(0, 0.1, (N, N_IN))
    into = evsim.Dense(pre="input", post="cells", weight=weight, delay=late)
    net = evsim.Network([evsim.Population("input", "Input", N_IN), cells], [into])
    at = np.sort(rng.uniform(0, DURATION, 40))
    whole = forward(net, spikes, at)
    borders = cut(3)
    runs = in_stretches(net, spikes, borders, at=at)
    # u, i, arrivals, peak; then when the peak was, and the slope that led there.
    found = runs[-1].final
    np.testing.assert_allclose(found[:, :4], whole.final[:, :4], rtol=0, atol=1e-12)
    np.testing.assert_allclose(found[:, 4], whole.final[:, 4], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found[:, 5], whole.final[:, 5], rtol=1e-9, atol=1e-9)
    voltage = np.concatenate([run.voltage for run in runs], axis=1)
    np.testing.assert_allclose(voltage, whole.voltage, rtol=0, atol=1e-12)
    # After a stretch, what a run that ended there would have answered.
    for run, end in zip(runs, borders[1:], strict=True):
        short = forward(net, between(spikes, 0.0, end)).final
        values = [readout_values(cells, final, end) for final in (run.final, short)]
        np.testing.assert_allclose(*values, rtol=0, atol=1e-12)


def test_threads_and_recordings_do_not_matter():
    net, spikes = random_network("CubaLIF", 5, longest=0.05)
    many = spikes[[0, 1, 2] * 200]
    runs = in_stretches(net, many, [0.0, 0.12, DURATION], threads=2)
    few = in_stretches(net, spikes, [0.0, 0.12, DURATION])
    for run, small in zip(runs, few, strict=True):
        assert run.spikes == small.spikes[[0, 1, 2] * 200]
        np.testing.assert_array_equal(run.state[-3:], small.state)


def test_a_stretch_far_from_zero():
    """As at the beginning, but for the digits that a late clock has no more."""
    net, spikes = random_network("CubaLIF", 1, longest=0.01)
    whole, late = forward(net, spikes), 1000.0
    moved = spikes.replace(spikes.times + late, spikes.units, spikes.offsets)
    moved = moved.replace(moved.times, moved.units, moved.offsets, duration=late + DURATION)
    run = forward(net, moved, begin=late)
    order = np.lexsort((run.spikes.times, run.spikes.units, run.spikes.recordings()))
    same = np.lexsort((whole.spikes.times, whole.spikes.units, whole.spikes.recordings()))
    np.testing.assert_array_equal(run.spikes.units[order], whole.spikes.units[same])
    np.testing.assert_allclose(run.spikes.times[order] - late, whole.spikes.times[same], atol=1e-9)


def test_state_is_kept_for_stretches_only():
    net, spikes = random_network("CubaLIF", 0, longest=0.01)
    assert forward(net, spikes).state.shape[0] == 0
    assert forward(net, spikes, begin=0.0).state.shape == (RECORDINGS, 16, N)


def test_the_limit_of_firing_is_that_of_the_stretch():
    loop = evsim.Dense(pre="cells", post="cells", weight=[[60.0]], delay=1e-7)
    cells = evsim.Population("cells", "LIF", 1, tau_mem=0.01, threshold=1.0)
    into = evsim.Dense(pre="input", post="cells", weight=[[2.0]])
    net = evsim.Network([evsim.Population("input", "Input", 1), cells], [into, loop])
    spikes = evsim.Spikes([10.001], [0], size=1, duration=10.01)
    with pytest.raises(evsim.RunawayError, match=r"Hz per unit over the 0\.01 s asked for"):
        forward(net, spikes, begin=10.0)  # 90000 spikes would do for a run from 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"begin": 0.4}, r"begin = 0\.4 s, must be from 0 to the end of the stretch, 0\.3 s"),
        ({"begin": -0.1}, r"begin = -0\.1 s, must be from 0"),
        ({"begin": 0.1, "state": np.zeros((2, 16, N))}, r"state has shape \[2, 16, 7\], must be"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    net, spikes = random_network("CubaLIF", 0, longest=0.01)
    with pytest.raises(ValueError, match=message):
        forward(net, spikes, **options)


def test_flights_that_do_not_fit_are_refused():
    net, spikes = random_network("CubaLIF", 0, longest=0.01)
    into, own = net.projections["input->cells"], net.projections["cells->cells"]
    with pytest.raises(ValueError, match=r"flights\[0\] has 2 recordings, .* stretch 3"):
        forward(net, spikes, begin=0.1, flights=[(spikes[:2], into)])
    with pytest.raises(ValueError, match=r"flight 0.*weight has shape \[7, 7\]"):
        forward(net, spikes, begin=0.1, flights=[(spikes, own)])
