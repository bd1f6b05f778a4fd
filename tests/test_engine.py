"""Is the compiled engine the readable one? And is `LIF` in whole steps a time-stepped loop?"""

from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from random_networks import cases
from small_networks import chain, from_input, link, one_unit, run_chain

import evsim
from evsim.errors import RunawayError

ENGINES = ("reference", "compiled")
CUBA = {"tau_mem": 0.020, "tau_syn": 0.005}
MOST_SPIKES = 500  # beyond, rounding errors may have grown to what a wrong engine makes

examples = settings(
    derandomize=True,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@pytest.fixture(params=ENGINES)
def engine(request):
    return request.param


@pytest.fixture
def lif(engine):
    return partial(one_unit, "LIF", engine=engine)


@pytest.fixture
def run(engine):
    return partial(run_chain, engine=engine)


def by_unit(spikes):
    """Sort by recording, unit, time: units whose times differ by rounding may swap."""
    recording = np.repeat(np.arange(len(spikes)), np.diff(spikes.offsets))
    return spikes.times[np.lexsort((spikes.times, spikes.units, recording))]


def assert_same(result, expected, exact=False):
    assert result.spikes.keys() == expected.spikes.keys()
    for name, spikes in expected.spikes.items():
        ours = result.spikes[name]
        np.testing.assert_array_equal(ours.counts(), spikes.counts(), err_msg=name)
        np.testing.assert_allclose(
            by_unit(ours), by_unit(spikes), rtol=0, atol=0 if exact else 1e-12, err_msg=name
        )
        if exact:
            np.testing.assert_array_equal(ours.units, spikes.units, err_msg=name)
    for kind in ("voltage", "output"):
        there, here = getattr(expected, kind), getattr(result, kind)
        assert here.keys() == there.keys()
        for name in there:
            np.testing.assert_allclose(here[name], there[name], rtol=1e-9, atol=1e-9, err_msg=name)


def compare(case, exact=False):
    try:
        expected = evsim.simulate(
            case.net, case.spikes, voltage=case.voltage, engine="reference", max_rate=1.0
        )
    except RunawayError:
        assume(False)
    assume(sum(len(s.times) for s in expected.spikes.values()) <= MOST_SPIKES)
    result = evsim.simulate(case.net, case.spikes, voltage=case.voltage)
    assert_same(result, expected, exact)


@examples
@given(cases(("CubaLIF",)))
def test_cuba_lif_networks(case):
    compare(case)


@examples
@given(cases(("SRM",)))
def test_srm_networks(case):
    compare(case)


@examples
@given(cases(("LIF",)))
def test_lif_networks(case):
    compare(case)


@examples
@given(cases(("LIF",), grid=True))
def test_lif_networks_full_of_ties_to_the_last_bit(case):
    compare(case, exact=True)


@examples
@given(cases())
def test_networks_of_all_models(case):
    compare(case)


# --- LIF ---------------------------------------------------------------------------


def test_lif_sums_an_instant_before_it_looks(lif):
    assert list(lif([(0.25, 0.5), (0.25, 0.5)], tau_mem=0.02)[0]) == [0.25]
    assert len(lif([(0.25, 2.0), (0.25, -1.5)], tau_mem=0.02)[0]) == 0


def test_lif_leaks_between_arrivals(lif):
    tau = 0.25 / np.log(2)  # half is left at 0.5
    assert len(lif([(0.25, 0.5), (0.5, 0.8)], tau_mem=tau)[0]) == 1
    assert len(lif([(0.25, 0.5), (0.5, 0.7)], tau_mem=tau)[0]) == 0
    assert list(lif([(0.25, 0.5), (0.5, 0.5)], tau_mem=np.inf)[0]) == [0.5]


def test_lif_resets(lif):
    arrivals, at = [(0.25, 2.5)], [0.25]
    for mode, value in (("hard", -0.5), ("soft", 1.0)):
        fired, ours, _ = lif(arrivals, voltage=at, tau_mem=np.inf, reset=-0.5, reset_mode=mode)
        assert (list(fired), list(ours)) == ([0.25], [value])


def test_soft_lif_that_stays_above_waits_for_the_next_arrival(lif):
    arrivals = [(0.25, 3.5), (0.5, -0.25), (0.625, -0.5), (0.75, 0.75)]
    fired, ours, _ = lif(
        arrivals, voltage=[0.3, 0.5, 0.625, 0.75], tau_mem=np.inf, reset_mode="soft"
    )
    assert list(fired) == [0.25, 0.5, 0.75]
    assert list(ours) == [2.5, 1.25, 0.75, 0.5]


def test_lif_loses_arrivals_while_refractory_but_not_at_the_release(lif):
    arrivals = [(0.25, 1.0), (0.25 + 2**-3, 5.0), (0.5, 0.625)]
    fired, ours, _ = lif(arrivals, voltage=[0.25, 0.5], tau_mem=np.inf, refractory=0.25, reset=0.25)
    assert list(fired) == [0.25]
    assert list(ours) == [0.25, 0.875]


def test_lif_decays_from_its_release_on(lif):
    _, ours, _ = lif([(0.25, 1.0)], voltage=[0.4, 0.7], tau_mem=0.3, refractory=0.25, reset=0.5)
    np.testing.assert_allclose(ours, [0.5, 0.5 * np.exp(-0.2 / 0.3)], rtol=1e-15)


@pytest.mark.parametrize("model", ["LIF", "CubaLIF"])
def test_only_voltages_relative_to_rest_matter(engine, model):
    rng = np.random.default_rng(5)
    weights = rng.uniform(-1, 3 if model == "LIF" else 12, 30)
    arrivals = list(zip(np.sort(rng.uniform(0, 0.3, 30)), weights, strict=True))
    constants = CUBA if model == "CubaLIF" else {"tau_mem": 0.02}
    options = {"engine": engine, "refractory": 0.003, **constants}
    plain, _, _ = one_unit(model, arrivals, threshold=1.0, reset=-0.5, v_leak=0.0, **options)
    moved, _, _ = one_unit(model, arrivals, threshold=-64.0, reset=-65.5, v_leak=-65.0, **options)
    assert len(plain) > 5
    np.testing.assert_allclose(moved, plain, rtol=0, atol=1e-15)


# --- instants, horizon, delays --------------------------------------------------------


def test_spikes_without_delay_make_another_round_at_the_same_instant(run):
    net = chain(from_input("a", 0, 1.0), link("a", "b", 1.0), link("b", "c", 1.0))
    result = run(net, [0.25], [0], voltage={"c": [0.25]})
    assert [result.spikes[name].times.tolist() for name in "abc"] == [[0.25]] * 3
    assert result.voltage["c"][0, 0, 0] == 0.0  # after all rounds


def test_each_round_looks_at_the_threshold_anew(run):
    # b gets 1 from the input in the first round and -1 from a in the second: it has fired.
    net = chain(from_input("a", 0, 1.0), from_input("b", 0, 1.0), link("a", "b", -1.0))
    result = run(net, [0.25], [0], voltage={"b": [0.25]})
    assert result.spikes["b"].times.tolist() == [0.25]
    assert result.voltage["b"][0, 0, 0] == -1.0
    # With both in one round, it would not have: here c hears from a and b together.
    net = chain(
        from_input("a", 0, 1.0), from_input("b", 0, 1.0), link("a", "c", 1.0), link("b", "c", -1.0)
    )
    assert len(run(net, [0.25], [0]).spikes["c"].times) == 0


def test_a_unit_can_spike_in_two_rounds_of_an_instant_unless_refractory(run):
    links = [from_input("a", 0, 1.0), from_input("b", 0, 1.0), link("a", "b", 1.0)]
    assert run(chain(*links), [0.25], [0]).spikes["b"].times.tolist() == [0.25, 0.25]
    fired = run(chain(*links, refractory=0.125), [0.25], [0]).spikes["b"].times
    assert fired.tolist() == [0.25]


def test_earlier_groups_hand_over_whole_trains_so_that_zero_delays_are_summed(engine):
    populations = [
        evsim.Population("input", "Input", 1),
        evsim.Population("a", "LIF", 1, tau_mem=0.01),
        evsim.Population("b", "LIF", 1, tau_mem=0.01),
    ]
    links = [
        evsim.Dense(pre="input", post="a", weight=[[1.0]]),
        evsim.Dense(pre="input", post="b", weight=[[1.0]]),
        evsim.Dense(pre="a", post="b", weight=[[-1.0]]),
    ]
    net = evsim.Network(populations, links)
    result = evsim.simulate(net, evsim.Spikes([0.25], [0], size=1, duration=1.0), engine=engine)
    assert len(result.spikes["b"].times) == 0


@pytest.mark.parametrize(("late", "n_spikes"), [(-1e-13, 0), (1e-13, 1)])
def test_what_arrives_just_before_a_crossing_can_prevent_it(engine, late, n_spikes):
    alone, _, _ = one_unit("CubaLIF", [(0.125, 10.0)], duration=0.13, engine=engine, **CUBA)
    arrivals = [(0.125, 10.0), (alone[0] + late, -50.0)]
    both, _, _ = one_unit("CubaLIF", arrivals, duration=0.13, engine=engine, **CUBA)
    assert (len(alone), len(both)) == (1, n_spikes)


def test_axonal_and_synaptic_delays_add_in_this_order(engine):
    late = np.array([0.9, 0.3])
    net = evsim.Network(
        [evsim.Population("input", "Input", 2), evsim.Population("a", "LIF", 1, tau_mem=1.0)],
        [
            evsim.Dense(
                pre="input", post="a", weight=[[1.0, 1.0]], axonal_delay=late, delay=[[0.5, 0.7]]
            )
        ],
    )
    spikes = evsim.Spikes([0.2, 0.1], [0, 1], size=2, duration=2.0)
    times = evsim.simulate(net, spikes, engine=engine).spikes["a"].times
    assert (0.2 + 0.9) + 0.5 != 0.2 + (0.9 + 0.5)
    assert times.tolist() == [(0.1 + 0.3) + 0.7, (0.2 + 0.9) + 0.5]


def test_nothing_happens_at_the_horizon(run):
    net = chain(from_input("a", 0, 1.0, delay=0.25), from_input("b", 1, 1.0))
    result = run(net, [0.5, 0.75, 1.0, 1.0, 0.875], [0, 0, 0, 1, 1], voltage={"a": [0.25, 1.0]})
    assert result.spikes["a"].times.tolist() == [0.75]
    assert result.spikes["b"].times.tolist() == [0.875]
    short = run(net, [0.5, 0.25], [0, 0], duration=0.75, voltage={"a": [0.5, 0.75]})
    assert short.spikes["a"].times.tolist() == [0.5]
    assert short.duration == short.spikes["a"].duration == 0.75


def test_a_sample_at_the_horizon_is_the_limit_from_the_left(lif):
    _, ours, _ = lif([(0.25, 0.25), (0.5, 0.25)], voltage=[0.5, 0.25], duration=0.5, tau_mem=np.inf)
    assert list(ours) == [0.25, 0.25]


def test_a_weight_of_zero_is_no_connection(lif):
    # A soft unit above its threshold fires at the next arrival, whatever that adds up to.
    arrivals = [(0.25, 3.0), (0.5, 0.0), (0.75, 0.5), (0.75, -0.5)]
    fired, _, _ = lif(arrivals, tau_mem=np.inf, reset_mode="soft")
    assert list(fired) == [0.25, 0.75]


# --- a time-stepped loop --------------------------------------------------------------


def step_through(weights, loops, delays, spikes, n_steps, tau, soft, refractory):
    """Advance a `LIF` population by whole steps; return its spikes as (step, unit)."""
    n = weights.shape[0]
    threshold, reset = 1.0, 0.0
    arriving = np.zeros((2 * n_steps, n))
    for t, j in zip(spikes.times.astype(int), spikes.units, strict=True):
        arriving[t] += weights[:, j]
    v, held, fired = np.zeros(n), np.zeros(n, int), []
    for t in range(n_steps):
        free = held <= t
        if t > 0:
            v = np.where(held < t, v * np.exp(-1 / tau), v)  # held < t: free a step ago
        v = np.where(free, v + arriving[t], v)
        touched = free & (arriving[t] != 0)
        for j in np.flatnonzero(touched & (v >= threshold)):
            fired.append((t, j))
            v[j] = v[j] - (threshold - reset) if soft else reset
            held[j] = t + refractory
            for i in range(n):
                arriving[t + delays[i, j], i] += loops[i, j]
    return fired


@pytest.mark.parametrize("tau", [np.inf, 7.5])
@pytest.mark.parametrize("mode", ["hard", "soft"])
@pytest.mark.parametrize("refractory", [0, 3])
def test_lif_in_whole_steps_is_a_time_stepped_loop(engine, tau, mode, refractory):
    n, n_in, n_steps = 12, 6, 120
    total = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        weights, loops = rng.uniform(-0.3, 0.8, (n, n_in)), rng.uniform(-0.5, 0.35, (n, n))
        delays = rng.integers(1, 9, (n, n))
        spikes = evsim.Spikes(
            rng.integers(0, n_steps, 90), rng.integers(0, n_in, 90), size=n_in, duration=n_steps
        )
        net = evsim.Network(
            [
                evsim.Population("input", "Input", n_in),
                evsim.Population(
                    "lif", "LIF", n, tau_mem=tau, reset_mode=mode, refractory=refractory
                ),
            ],
            [
                evsim.Dense(pre="input", post="lif", weight=weights),
                evsim.Dense(pre="lif", post="lif", weight=loops, delay=delays),
            ],
            output="lif",
        )
        ours = evsim.simulate(net, spikes, engine=engine).spikes["lif"]
        loop = step_through(
            weights, loops, delays, spikes, n_steps, tau, mode == "soft", refractory
        )
        assert list(zip(ours.times, ours.units, strict=True)) == loop
        total += len(loop)
    assert total > 200


@pytest.mark.parametrize("n_inputs", [1, 40])
def test_a_burst_of_thousands_comes_out_in_order(n_inputs):
    rng = np.random.default_rng(0)
    n, spikes = 4000, 3000
    net = evsim.Network(
        [evsim.Population("in", "Input", n_inputs), evsim.Population("a", "CubaLIF", n, **CUBA)],
        [evsim.Dense(pre="in", post="a", weight=rng.uniform(0.005, 0.01, (n, n_inputs)))],
    )
    burst = evsim.Spikes(
        0.1 + 2e-3 * rng.random(spikes), rng.integers(0, n_inputs, spikes), size=n_inputs,
        duration=0.2,
    )  # fmt: skip
    out = evsim.simulate(net, burst, max_rate=1e5).spikes["a"]
    assert len(out.times) > n
    in_order = (np.diff(out.times) > 0) | ((np.diff(out.times) == 0) & (np.diff(out.units) > 0))
    assert in_order.all()


@pytest.mark.parametrize("step", [1e-3, 7e-4, 3e-3, 0.1])
def test_no_arrival_is_lost_where_sums_of_delays_are_rounded(step):
    # (t + axonal) + synaptic may be a bit less than t + (axonal + synaptic), on the border
    # of two windows.
    for seed in range(20):
        rng = np.random.default_rng(seed)
        net = evsim.Network(
            [
                evsim.Population("in", "Input", 4),
                evsim.Population("a", "LIF", 8, tau_mem=20 * step),
            ],
            [
                evsim.Dense(pre="in", post="a", weight=rng.uniform(0, 0.9, (8, 4))),
                evsim.Dense(
                    pre="a",
                    post="a",
                    weight=rng.normal(-0.05, 0.3, (8, 8)),
                    axonal_delay=np.full(8, step),
                    delay=step * rng.integers(2, 4, (8, 8)),
                ),
            ],
            output="a",
        )
        times, units = step * rng.integers(0, 150, 60), rng.integers(0, 4, 60)
        spikes = evsim.Spikes(times, units, size=4, duration=200 * step)
        result, expected = (evsim.simulate(net, spikes, engine=engine) for engine in ENGINES)
        assert_same(result, expected)
