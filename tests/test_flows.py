"""The closed forms of the kernels against 50-digit arithmetic."""

import mpmath as mp
import numpy as np
import pytest

from evsim._flows import first_crossing, may_reach, peak_time, propagate, responses
from evsim._queue import window_of
from evsim._srm import srm_crossing, srm_slope, srm_voltage

EPS = np.finfo(float).eps
mp.mp.dps = 50


def exact(u, i, s, tau_mem, tau_syn):
    """Return (u, i) after s, by the textbook formula in 50 digits."""
    u, i, s, m, c = map(mp.mpf, (u, i, s, tau_mem, tau_syn))
    if m == c:
        return (u + i * s / m) * mp.e ** (-s / m), i * mp.e ** (-s / c)
    k = c / (c - m)
    return (u - k * i) * mp.e ** (-s / m) + k * i * mp.e ** (-s / c), i * mp.e ** (-s / c)


def time_constants(rng, n):
    """Yield pairs that are equal, nearly equal over 16 decades, or far apart."""
    for q in range(n):
        tau = 10 ** rng.uniform(-3, -1)
        yield (
            (tau, tau),
            (tau, tau * (1 + 10 ** rng.uniform(-16, -1))),
            (tau, tau * (1 - 10 ** rng.uniform(-16, -1))),
            (tau, tau * 10 ** rng.uniform(-3, 3)),
        )[q % 4]


def test_propagate_keeps_its_digits():
    rng = np.random.default_rng(0)
    for tau_mem, tau_syn in time_constants(rng, 2000):
        s = tau_mem * 10 ** rng.uniform(-6, 1.5)
        u, i = rng.uniform(0, 2, 2)
        got, want = propagate(u, i, s, tau_mem, tau_syn), exact(u, i, s, tau_mem, tau_syn)
        # The rounding of an exponent x makes an error of x in the last place.
        exponents = (min(s / tau_mem, s / tau_syn), s / tau_syn)
        for a, b, x in zip(got, want, exponents, strict=True):
            assert abs(a - b) <= 3 * EPS * (1 + x) * abs(b) + 1e-300


@pytest.mark.parametrize(
    ("tau_mem", "tau_syn", "weight", "crossing"),
    [
        (20.0, 5.0, 10.0, 2.82625175545831),
        (10.0, 5.0, 8.0, 1.583471838203749),
        (5.0, 5.0, 6.0, 1.022407246699578),
    ],
)
def test_crossing_after_one_arrival(tau_mem, tau_syn, weight, crossing):
    end = propagate(0.0, weight, 30.0, tau_mem, tau_syn)
    got = first_crossing(0.0, weight, 30.0, *end, tau_mem, tau_syn, 1.0)
    assert got == pytest.approx(crossing, abs=1e-14)


def test_crossings_solve_the_equation():
    rng = np.random.default_rng(1)
    found = 0
    for tau_mem, tau_syn in time_constants(rng, 2000):
        u, i = rng.uniform(-1, 0.999), rng.uniform(0.5, 20)
        span = tau_mem * 10 ** rng.uniform(-4, 1)
        end = propagate(u, i, span, tau_mem, tau_syn)
        s = first_crossing(u, i, span, *end, tau_mem, tau_syn, 1.0)
        if s >= 0:
            found += 1
            assert s <= span
            v, c = exact(u, i, s, tau_mem, tau_syn)
            slope = (c - v) / tau_mem
            assert slope > 0
            # One rounding of V, seen through the slope, and one of the time itself.
            assert abs(v - 1) <= 4 * EPS * (1 + slope * s)
        else:  # nowhere above: at the end, nor at the maximum
            top = min(peak_time(u, i, tau_mem, tau_syn), span) if i > u and i > 0 else 0.0
            for at in (span, top):
                assert exact(u, i, at, tau_mem, tau_syn)[0] < 1 + 4 * EPS
    assert found > 500


def test_what_may_not_reach_a_level_never_does():
    rng = np.random.default_rng(5)
    dismissed = 0
    for tau_mem, tau_syn in time_constants(rng, 2000):
        u, i = rng.uniform(-1, 0.5), rng.uniform(-1, 4)
        level = rng.uniform(-0.5, 1)
        if may_reach(u, i, level, tau_mem, tau_syn):
            continue
        dismissed += 1
        top = min(peak_time(u, i, tau_mem, tau_syn), 1e3 * tau_mem) if i > max(u, 0) else 0.0
        assert exact(u, i, top, tau_mem, tau_syn)[0] < level
        assert u < level and level > 0  # to which it decays
    assert dismissed > 500


def test_a_level_that_is_just_reached_may_be_reached():
    # A current hardly above u: u rises by so little that the bound leaves almost no room.
    rng = np.random.default_rng(6)
    for tau_mem, tau_syn in time_constants(rng, 400):
        u = rng.uniform(0.2, 1)
        i = u * (1 + 10 ** rng.uniform(-3, -2))
        peak = float(exact(u, i, peak_time(u, i, tau_mem, tau_syn), tau_mem, tau_syn)[0])
        rise = peak - u
        assert may_reach(u, i, u + (1 - 1e-6) * rise, tau_mem, tau_syn)
        if rise > 1e-9 and tau_syn < 10 * tau_mem:  # else rounding, or u follows the current
            assert not may_reach(u, i, u + 1.2 * rise, tau_mem, tau_syn)


def test_peak_time_is_where_u_meets_i():
    rng = np.random.default_rng(2)
    for tau_mem, tau_syn in time_constants(rng, 400):
        u, i = rng.uniform(0, 1), rng.uniform(1, 5)
        v, c = exact(u, i, peak_time(u, i, tau_mem, tau_syn), tau_mem, tau_syn)
        assert abs(v - c) <= 1e-13 * abs(c)


def test_no_time_changes_nothing():
    for tau_syn in (0.005, 0.02):
        assert responses(0.0, 0.02, tau_syn) == (1.0, 0.0, 1.0)


def test_srm_crossings_solve_the_equation_and_are_the_first():
    rng = np.random.default_rng(3)
    pieces = np.zeros((2, 4))
    found = 0
    for _ in range(500):
        tau_s, tau_r = rng.uniform(2e-3, 10e-3, 2)
        v, r = rng.uniform(-1, 0.5), rng.uniform(-1, 0)
        i, k = rng.uniform(-2, 12), rng.uniform(-6, 0)
        s, below = srm_crossing(v, i, r, k, True, 0.05, tau_s, tau_r, 1.0, pieces)
        grid = np.linspace(0, 0.05 if s < 0 else s, 4000)[:-1]
        along = np.array([srm_voltage(v, i, r, k, t, tau_s, tau_r) for t in grid])
        assert (along < 1.0 + 1e-12).all()
        if s >= 0:
            found += 1
            assert not below
            assert srm_voltage(v, i, r, k, s, tau_s, tau_r) == pytest.approx(1.0, abs=1e-14)
    assert found > 100


def test_srm_slope_is_the_derivative():
    v, i, r, k, tau_s, tau_r, h = 0.3, 2.0, -0.4, -1.0, 5e-3, 4e-3, 1e-8
    late, early = (srm_voltage(v, i, r, k, t, tau_s, tau_r) for t in (h, -h))
    assert srm_slope(v, i, r, k, tau_s, tau_r) == pytest.approx((late - early) / (2 * h), rel=1e-7)


def test_window_of_agrees_with_its_borders():
    rng = np.random.default_rng(4)
    for _ in range(2000):
        width = 10 ** rng.uniform(-6, 0)
        k = int(rng.integers(0, 10**6))
        edge = k * width
        for t in (edge, np.nextafter(edge, 0), np.nextafter(edge, 1e9)):
            b = window_of(t, width)
            assert b * width <= t < (b + 1) * width
