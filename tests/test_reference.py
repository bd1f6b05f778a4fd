"""The readable engine against closed forms and other people's numerics, model by model."""

from itertools import pairwise

import mpmath
import numpy as np
import pytest
from scipy.linalg import expm
from small_networks import chain, from_input, link, one_unit

import evsim
from evsim import reference
from evsim.errors import RunawayError
from evsim.reference.units import _SRM, _cuba, _peak, _sign_changes, _Term, _total

mpmath.mp.dps = 50

# Ratios of time constants from equal over nearly equal to far apart.
RATIOS = [1.0, *(1 + 10.0**-k for k in range(1, 17)), *(1 - 10.0**-k for k in range(1, 17))]
RATIOS += [0.5, 2.0, 4.0, 1e-3, 1e3, 1e-5, 1e5]

CUBA = {"tau_mem": 0.020, "tau_syn": 0.005}
EPS = np.finfo(float).eps


def exact_cuba(u, i, s, tau_mem, tau_syn):
    """The voltage in 50 digits."""
    u, i, s, tm, ts = (mpmath.mpf(x) for x in (u, i, s, tau_mem, tau_syn))
    if tm == ts:
        return (u + i * s / tm) * mpmath.exp(-s / tm)
    ramp = ts / (ts - tm) * (mpmath.exp(-s / ts) - mpmath.exp(-s / tm))
    return u * mpmath.exp(-s / tm) + i * ramp


def arrivals_of(rng, n, low, high):
    return list(zip(np.sort(rng.uniform(0, 0.1, n)), rng.uniform(low, high, n), strict=True))


# --- CubaLIF --------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", RATIOS)
def test_cuba_flow_keeps_its_digits_for_all_time_constants(ratio):
    rng = np.random.default_rng(1)
    for _ in range(30):
        tau = 10 ** rng.uniform(-4, 0)
        s = tau * 10 ** rng.uniform(-3, 1)
        u, i = rng.uniform(0, 2, 2)
        exact = exact_cuba(u, i, s, tau * ratio, tau)
        # exp doubles the relative error of its argument, for every unit of the argument.
        scale = 4 * EPS * (1 + min(s / tau, s / (tau * ratio)))
        assert abs(_cuba(u, i, s, tau * ratio, tau) - exact) <= scale * exact


@pytest.mark.parametrize("ratio", RATIOS)
def test_voltage_peaks_where_it_meets_the_current(ratio):
    rng = np.random.default_rng(2)
    for _ in range(10):
        tau = 10 ** rng.uniform(-4, 0)
        u, i = rng.uniform(-0.5, 0.5), rng.uniform(0.6, 5)
        s = _peak(u, i, tau * ratio, tau)
        if s == np.inf:  # it rises towards 0 from below
            assert exact_cuba(u, i, 100 * tau * max(ratio, 1), tau * ratio, tau) <= 0
        else:
            top = exact_cuba(u, i, s, tau * ratio, tau)
            current = i * mpmath.exp(-mpmath.mpf(s) / mpmath.mpf(tau))
            assert abs(top - current) < 1e-14


def test_cuba_voltage_is_that_of_the_matrix_exponential():
    at = np.linspace(0, 0.1, 21)
    tau_mem, tau_syn, v_leak = 0.011, 0.007, 0.2
    arrivals = [(0.0121, 2.0), (0.033, -1.0), (0.0333, 2.0)]
    _, ours, _ = one_unit(
        "CubaLIF",
        arrivals,
        voltage=at,
        tau_mem=tau_mem,
        tau_syn=tau_syn,
        v_leak=v_leak,
        threshold=9,
    )
    flow = np.array([[-1 / tau_mem, 1 / tau_mem], [0, -1 / tau_syn]])
    there = [
        v_leak + sum((expm(flow * (t - t0)) @ [0, w])[0] for t0, w in arrivals if t0 <= t)
        for t in at
    ]
    np.testing.assert_allclose(ours, there, rtol=0, atol=5e-14)


@pytest.mark.parametrize("ratio", RATIOS)
def test_cuba_crossing_is_a_root_of_the_exact_voltage(ratio):
    tau = 0.005
    weight = 3 * max(1, ratio)
    fired, _, _ = one_unit(
        "CubaLIF", [(0.0, weight)], tau_mem=tau * ratio, tau_syn=tau, refractory=1.0, duration=0.9
    )
    rise = [
        exact_cuba(0, weight, t, tau * ratio, tau) - 1 for t in fired[0] * (1 + EPS * np.r_[-4, 4])
    ]
    assert len(fired) == 1
    assert rise[0] < 0 < rise[1]


@pytest.mark.parametrize(
    ("tau_mem", "tau_syn", "weight", "crossing"),
    [(20, 5, 10, 2.82625175545831), (10, 5, 8, 1.583471838203749), (5, 5, 6, 1.022407246699578)],
)
def test_cuba_crossing_where_a_closed_form_exists(tau_mem, tau_syn, weight, crossing):
    fired, _, _ = one_unit(
        "CubaLIF", [(0.1, weight)], tau_mem=tau_mem / 1e3, tau_syn=tau_syn / 1e3, duration=0.11
    )
    np.testing.assert_allclose(fired[0] - 0.1, crossing / 1e3, rtol=0, atol=2e-17)
    if tau_mem == tau_syn:
        closed = -mpmath.lambertw(-mpmath.mpf(1) / weight) * tau_mem
    elif tau_mem == 2 * tau_syn:  # x^2 - x + 1/weight = 0 with x = e^(-s/tau_mem)
        closed = -tau_mem * mpmath.log((1 + mpmath.sqrt(1 - mpmath.mpf(4) / weight)) / 2)
    else:
        closed = crossing
    assert abs(closed - crossing) < 1e-13


@pytest.mark.parametrize("ratio", [0.3, 1.0, 2.0, 6.0])
def test_cuba_spikes_before_it_is_seen_above_its_threshold(ratio):
    rng = np.random.default_rng(6)
    at = np.arange(0, 0.15, 2e-5)
    n_spikes = 0
    for _ in range(20):
        arrivals = arrivals_of(rng, 25, -2 * ratio, 4 * ratio + 1)
        fired, ours, _ = one_unit(
            "CubaLIF", arrivals, voltage=at, duration=0.15, tau_mem=ratio * 0.005, tau_syn=0.005
        )
        assert ours.max() < 1
        n_spikes += len(fired)
    assert n_spikes > 100


def test_cuba_crosses_where_its_current_hardly_exceeds_the_threshold():
    fired, _, _ = one_unit("CubaLIF", [(0.1, 1.05)], tau_mem=0.0001, tau_syn=0.020)
    assert 0.1 < fired[0] < 0.101


def test_cuba_needs_a_peak_above_the_threshold():
    peak = 0.25 ** (4 / 3)  # of one arrival of weight 1, for tau_mem = 4 tau_syn
    assert len(one_unit("CubaLIF", [(0.1, (1 + 1e-12) / peak)], **CUBA)[0]) == 1
    assert len(one_unit("CubaLIF", [(0.1, (1 - 1e-12) / peak)], **CUBA)[0]) == 0


def test_cuba_keeps_its_current_at_a_spike():
    fired, _, _ = one_unit("CubaLIF", [(0.0, 40.0)], **CUBA)
    i, t = mpmath.mpf(40), mpmath.mpf(0)
    assert len(fired) > 3
    for spike in fired:

        def above(s, i=i):
            return exact_cuba(0, i, s, **CUBA) - 1

        s = mpmath.findroot(above, (0, float(spike - t) * 1.1), solver="anderson")
        t, i = t + s, i * mpmath.exp(-s / mpmath.mpf(CUBA["tau_syn"]))
        assert abs(spike - t) < 1e-16


def test_cuba_is_held_while_refractory_and_free_afterwards():
    weight, refractory, reset = 12.0, 0.008, -0.25
    at = np.array([0.002, 0.0065, 0.0111])
    fired, ours, _ = one_unit(
        "CubaLIF",
        [(0.0, weight), (0.005, 40.0)],
        voltage=at,
        refractory=refractory,
        reset=reset,
        **CUBA,
    )
    free = fired[0] + refractory
    assert 0.002 < fired[0] < 0.005 < 0.0065 < free < 0.0111 < fired[1]
    current = weight * np.exp(-free / 0.005) + 40 * np.exp(-(free - 0.005) / 0.005)
    before = float(exact_cuba(0, weight, 0.002, **CUBA))
    after = float(exact_cuba(reset, current, 0.0111 - free, **CUBA))
    np.testing.assert_allclose(ours, [before, reset, after], rtol=1e-14)
    top = exact_cuba(reset, current, fired[1] - free, **CUBA)
    np.testing.assert_allclose(float(top), 1, rtol=1e-14)


def test_a_crossing_comes_before_what_arrives_at_its_instant():
    alone, _, _ = one_unit("CubaLIF", [(0.125, 10.0)], duration=0.13, **CUBA)
    both, _, _ = one_unit("CubaLIF", [(0.125, 10.0), (alone[0], -50.0)], duration=0.13, **CUBA)
    assert list(both) == list(alone)


# --- SRM ------------------------------------------------------------------------------


def alpha(s, tau):
    s = np.maximum(s, 0) / tau
    return s * np.exp(1 - s)


def srm_voltage(t, arrivals, fired, tau_syn, tau_r, threshold=0.75):
    """The definition, kernel by kernel."""
    u = sum(w * alpha(t - t0, tau_syn) for t0, w in arrivals)
    return u - 2 * threshold * sum(alpha(t - t0, tau_r) for t0 in fired)


@pytest.mark.parametrize("taus", [(0.005, 0.005), (0.005, 0.003), (0.005, 0.02), (0.005, 0.005001)])
def test_srm_spikes_where_the_sum_of_its_kernels_comes_from_below(taus):
    rng = np.random.default_rng(3)
    n_spikes = 0
    for _ in range(20):
        arrivals = arrivals_of(rng, 12, -0.5, 1.5)
        at = np.arange(0, 0.15, 1e-5)
        fired, ours, _ = one_unit(
            "SRM",
            arrivals,
            voltage=at,
            duration=0.15,
            tau_syn=taus[0],
            tau_r=taus[1],
            threshold=0.75,
        )
        there = srm_voltage(at, arrivals, fired, *taus)
        np.testing.assert_allclose(ours, there, rtol=0, atol=1e-13)
        np.testing.assert_allclose(srm_voltage(fired, arrivals, fired, *taus), 0.75, atol=1e-13)
        up = at[1:][(there[:-1] < 0.75) & (there[1:] >= 0.75)]
        assert all(np.any((fired <= t) & (fired > t - 1e-5)) for t in up)
        n_spikes += len(fired)
    assert n_spikes > 30


def test_srm_crosses_where_mpmath_says():
    fired, _, _ = one_unit("SRM", [(0.0, 1.25), (0.001, 0.5)], tau_syn=0.005)

    def above(t):
        s = [(t - t0) / mpmath.mpf(0.005) for t0 in (0, mpmath.mpf(0.001))]
        return 1.25 * s[0] * mpmath.exp(1 - s[0]) + 0.5 * s[1] * mpmath.exp(1 - s[1]) - 1

    assert abs(mpmath.findroot(above, (0.001, 0.005), solver="anderson") - fired[0]) < 1e-18


def test_srm_that_still_rises_after_a_spike_must_go_below_first():
    # nu'(0) = -2 e/tau_r; the drive rises faster than that.
    arrivals = [(0.0, 30.0), (0.05, 1.2)]
    fired, ours, _ = one_unit(
        "SRM", arrivals, voltage=[0.003, 0.0499], tau_syn=0.003, tau_r=0.02, duration=0.1
    )
    assert ours[0] > 25
    assert ours[1] < 1
    assert fired[0] < 0.001
    assert all(fired[1:] > 0.05)


def test_srm_is_armed_again_at_once_where_u_falls_after_its_spike():
    fired, _, _ = one_unit("SRM", [(0.0, 3.0)], tau_syn=0.02, tau_r=0.002)
    dip = np.linspace(fired[0], fired[1], 102)[1:-1]
    assert np.all(srm_voltage(dip, [(0.0, 3.0)], fired[:1], 0.02, 0.002, threshold=1) < 1)


def test_srm_spike_is_not_seen_again_where_u_falls():
    for weight in np.linspace(1.1, 4, 50):
        unit = _SRM({"tau_syn": 0.02, "tau_r": 0.02, "threshold": 1.0}, soft=False)
        unit.arrive(0.0, weight)
        fired = unit.next_crossing(1.0)
        unit.spike(fired)
        assert unit.next_crossing(np.nextafter(fired, 1)) == np.inf


def test_srm_crosses_after_a_dip_that_no_arrival_divides():
    unit = _SRM({"tau_syn": 0.02, "tau_r": 0.002, "threshold": 1.0}, soft=False)
    unit.synapse = unit.synapse._replace(p=3.0)
    unit.recovery = unit.recovery._replace(q=-4 * np.e / 0.002)
    unit.below = False
    assert unit.voltage(0.0) > 1 > unit.voltage(0.002) < 1 < unit.voltage(0.01)
    assert 0.002 < unit.next_crossing(1.0) < 0.01


def test_all_sign_changes_of_exponential_polynomials_are_found():
    rng = np.random.default_rng(4)
    most = 0
    for _ in range(300):
        terms = [_Term(*rng.normal(size=2) * [1, 5], rng.uniform(0, 20)) for _ in range(2)]
        terms += [_Term(rng.normal() / 10, 0.0, 0.0)]
        found = _sign_changes(terms, 1.0)
        grid = np.linspace(0, 1, 2001)
        values = sum((t.p + t.q * grid) * np.exp(-t.rate * grid) for t in terms)
        seen = grid[1:][(values[:-1] < 0) != (values[1:] < 0)]
        for s in seen:
            assert any(s - 0.0005 - 1e-12 <= r <= s + 1e-12 for r in found)
        for r in found:  # the sign differs on the two sides
            assert (_total(terms, r - 1e-9) < 0) != (_total(terms, r + 1e-9) < 0)
        assert all(a < b for a, b in pairwise(found))
        most = max(most, len(found))
    assert most >= 3


# --- readouts -------------------------------------------------------------------------

ARRIVALS = [(0.011, 1.5), (0.012, -2.5), (0.03, 4.0), (0.03, -1.0), (0.07, 0.5), (0.0999, 1.0)]
READOUTS = {
    "LI": {"tau_mem": 0.020},
    "CubaLI": CUBA,
    "CubaLI, alike": {"tau_mem": 0.010, "tau_syn": 0.010},
    "CubaLI, nearly alike": {"tau_mem": 0.010, "tau_syn": 0.010 * (1 + 1e-9)},
}


def readout_u(t, parameters):
    """The voltage above v_leak in 50 digits, from its definition."""
    total = mpmath.mpf(0)
    for t0, w in ARRIVALS:
        if t >= t0:
            s = t - mpmath.mpf(t0)
            if "tau_syn" in parameters:
                total += exact_cuba(0, w, s, **parameters)
            else:
                total += w * mpmath.exp(-s / mpmath.mpf(parameters["tau_mem"]))
    return total


@pytest.mark.parametrize("name", READOUTS)
@pytest.mark.parametrize("v_leak", [0.0, 0.3])
@pytest.mark.parametrize("rate", [0.0, 50.0])
def test_integral_of_a_readout(name, v_leak, rate):
    parameters = READOUTS[name]
    model = name.split(",")[0]
    tau_output = 1 / rate if rate else None
    _, _, ours = one_unit(
        model,
        ARRIVALS,
        duration=0.1,
        output="integral",
        tau_output=tau_output,
        v_leak=v_leak,
        **parameters,
    )
    knots = [0, *sorted({t for t, _ in ARRIVALS}), 0.1]
    exact = sum(
        mpmath.quad(
            lambda t: mpmath.exp(-rate * t) * (v_leak + readout_u(t, parameters)),
            [mpmath.mpf(a), mpmath.mpf(b) - mpmath.mpf(10) ** -40],
        )
        for a, b in pairwise(knots)
    )
    np.testing.assert_allclose(ours, float(exact), rtol=0, atol=2e-17)


@pytest.mark.parametrize("name", READOUTS)
def test_last_voltage_of_a_readout(name):
    model = name.split(",")[0]
    _, _, ours = one_unit(
        model, ARRIVALS, duration=0.1, output="last", v_leak=0.3, **READOUTS[name]
    )
    exact = 0.3 + readout_u(mpmath.mpf(0.1), READOUTS[name])
    np.testing.assert_allclose(ours, float(exact), rtol=4 * EPS)


@pytest.mark.parametrize("name", READOUTS)
def test_maximum_of_a_readout(name):
    model, parameters = name.split(",")[0], READOUTS[name]
    _, _, ours = one_unit(model, ARRIVALS, duration=0.1, output="max", v_leak=0.3, **parameters)
    if model == "LI":  # after everything that arrives at 0.03
        exact = readout_u(mpmath.mpf(0.03), parameters)
    else:
        tau = mpmath.mpf(parameters["tau_syn"])

        def slope(t):
            current = sum(w * mpmath.exp(-(t - t0) / tau) for t0, w in ARRIVALS if t0 < t)
            return current - readout_u(t, parameters)

        exact = readout_u(mpmath.findroot(slope, (0.035, 0.04)), parameters)
    np.testing.assert_allclose(ours, 0.3 + float(exact), rtol=4 * EPS)


@pytest.mark.parametrize("name", READOUTS)
def test_maximum_is_that_of_many_samples(name):
    rng = np.random.default_rng(7)
    at = np.arange(0, 0.1, 1e-5)
    for _ in range(10):
        arrivals = arrivals_of(rng, 15, -2.0, 2.0)
        times = np.sort([*at, *(t for t, _ in arrivals), 0.1])
        _, seen, ours = one_unit(
            name.split(",")[0],
            arrivals,
            voltage=times,
            duration=0.1,
            output="max",
            **READOUTS[name],
        )
        assert seen.max() <= ours <= seen.max() + 1e-6


@pytest.mark.parametrize("model", ["LI", "CubaLI"])
def test_maximum_starts_with_the_voltage_at_rest(model):
    parameters = READOUTS[model]
    _, _, ours = one_unit(model, [(0.02, -3.0)], output="max", v_leak=0.25, **parameters)
    assert ours == 0.25


def test_maximum_may_lie_at_the_horizon():
    _, last, ours = one_unit(
        "CubaLI", [(0.02, 3.0)], voltage=[0.023], output="max", duration=0.023, **CUBA
    )
    assert ours == last[0]


# --- in and out -----------------------------------------------------------------------


def test_result_holds_what_was_asked_for():
    net = chain(from_input("a", 0, 1.0))
    spikes = evsim.Spikes.from_recordings(
        [([], []), ([0.25, 0.5], [0, 0])], size=10, duration=1.0, labels=[7, 8]
    )
    result = reference.simulate(net, spikes, record=["a"], voltage={"b": [0.5], "c": []})
    assert list(result.spikes) == ["a"]
    assert result.spikes["a"].counts().tolist() == [[0], [2]]
    assert result.labels.tolist() == result.spikes["a"].labels.tolist() == [7, 8]
    assert result.voltage["b"].shape == (2, 1, 1)
    assert result.voltage["c"].shape == (2, 0, 1)
    assert list(reference.simulate(net, spikes).spikes) == ["a", "b", "c"]


def test_recorded_input_ends_at_the_horizon():
    net = chain(from_input("a", 0, 1.0))
    spikes = evsim.Spikes([0.25, 0.5, 0.75], [0, 1, 0], size=10, duration=1.0)
    result = reference.simulate(net, spikes, record=["input"], duration=0.5)
    assert result.spikes["input"].times.tolist() == [0.25]


def test_a_batch_may_be_empty():
    spikes = evsim.Spikes([], [], offsets=[0], size=10, duration=1.0)
    result = reference.simulate(chain(from_input("a", 0, 1.0)), spikes, voltage={"a": [0.5]})
    assert len(result.spikes["a"]) == 0
    assert result.voltage["a"].shape == (0, 1, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"record": ["d"]}, "'d'"),
        ({"voltage": {"d": [0.1]}}, "'d'"),
        ({"voltage": {"a": [0.1, 1.5]}}, "1.5"),
        ({"voltage": {"a": [np.nan]}}, "nan"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        spikes = evsim.Spikes([0.5], [0], size=10, duration=1.0)
        reference.simulate(chain(from_input("a", 0, 1.0)), spikes, **options)


def test_more_input_units_than_the_network_has_are_refused():
    spikes = evsim.Spikes([0.1], [10], size=11, duration=1.0)
    with pytest.raises(ValueError, match="11"):
        reference.simulate(chain(from_input("a", 0, 1.0)), spikes)


def test_a_population_that_fires_without_bound_is_named():
    net = chain(from_input("a", 0, 1.0), link("a", "a", 1.0, delay=2.0**-14))
    spikes = evsim.Spikes.from_recordings([([], []), ([0.25], [0])], size=10, duration=1.0)
    with pytest.raises(RunawayError, match=r"'a'.*recording 1.*max_rate = 100"):
        reference.simulate(net, spikes, max_rate=100.0)
    quiet = reference.simulate(net, spikes, max_rate=2.0**15)
    assert len(quiet.spikes["a"].times) == 3 * 2**12
