"""Closed forms between events: states, peaks and threshold crossings of the neuron models.

A `CubaLIF` unit is (u, i): the voltage above v_leak and the synaptic current,

    tau_mem u' = i - u,        tau_syn i' = -i.

The synaptic part of an `SRM` unit is the same flow with equal time constants, its
refractory part a second one; an `LIF` unit has no current. So three formulas serve all
models. None of them has a step size or a special case for equal time constants.
"""

from math import exp, inf, log1p, sqrt

from evsim._compile import inlined, kernel


@kernel
def responses(s, tau_mem, tau_syn):
    """Return what ``s`` seconds without events make of (u, i): u to u, i to u and i to i.

    With a = s/tau_mem, b = s/tau_syn and h = (a - b)/2, what a unit current makes of u is the
    difference of e^-a and e^-b over b - a, times a. It cancels where the time constants meet;
    there it is a e^(-(a + b)/2) sinh(h)/h, as a power series in h^2 of positive terms. h comes
    from the difference of the time constants, which keeps its digits.
    """
    a = s / tau_mem
    b = s / tau_syn
    keep_u, keep_i = exp(-a), exp(-b)
    h = 0.5 * s * ((tau_syn - tau_mem) / (tau_mem * tau_syn))
    if abs(h) >= 0.5:
        return keep_u, tau_syn / (tau_mem - tau_syn) * (keep_u - keep_i), keep_i
    y = h * h
    tail = 1 / 362880 + y * (1 / 39916800 + y * (1 / 6227020800 + y / 1307674368000))
    ramp = 1.0 + y * (1 / 6 + y * (1 / 120 + y * (1 / 5040 + y * tail)))
    return keep_u, a * exp(-0.5 * (a + b)) * ramp, keep_i


@kernel
def propagate(u, i, s, tau_mem, tau_syn):
    """Advance (u, i) through ``s`` seconds without events."""
    keep_u, i_to_u, keep_i = responses(s, tau_mem, tau_syn)
    return u * keep_u + i * i_to_u, i * keep_i


@kernel
def peak_time(u, i, tau_mem, tau_syn):
    """Return the time to the maximum of u, or inf if u never turns down; needs i > u, i > 0.

    At the maximum u = i. Written in q = (1 - u/i) (1 - tau_syn/tau_mem), the time is
    tau_syn (1 - u/i) (-log1p(-q)/q): one formula for all time constants.
    """
    rise = 1.0 - u / i
    q = rise * ((tau_mem - tau_syn) / tau_mem)
    if q >= 1.0:
        return inf
    return tau_syn * rise * (-log1p(-q) / q if q != 0.0 else 1.0)


@inlined
def may_reach(u, i, level, tau_mem, tau_syn):
    """Return whether u might reach ``level``; False only if it surely does not.

    On its way from p = max(u, 0) it rises no faster than (i(t) - p)/tau_mem, and no longer
    than i stays above the level: with q = i/level by at most
    (tau_syn/tau_mem) (i - level - p log q), where log q >= 2 (q - 1)/(q + 1).
    """
    p, drive = max(u, 0.0), max(i, 0.0)
    gain = tau_syn * (drive - level) * (drive + level - 2.0 * p)
    return (level <= p) | (gain >= tau_mem * (level - p) * (drive + level))


@inlined
def first_crossing(u, i, span, u_end, i_end, tau_mem, tau_syn, threshold):
    """Return the time at which u reaches ``threshold`` within ``span``, or -1.

    Parameters
    ----------
    u, i : float
        State at the start, u < threshold.
    span : float
        Length of the stretch [s].
    u_end, i_end : float
        State at its end.

    Notes
    -----
    u has at most one maximum, and there u = i, so i > threshold is necessary; up to it u
    is concave, so it crosses at most once.
    """
    if u_end >= threshold:
        return _solve(u, i, span, tau_mem, tau_syn, threshold)
    if i <= threshold or i_end > u_end:  # too weak, or still rising at the end
        return -1.0
    if not may_reach(u, i, threshold, tau_mem, tau_syn):  # saves most of the peaks
        return -1.0
    top = peak_time(u, i, tau_mem, tau_syn)
    if top >= span or i * exp(-top / tau_syn) < threshold:
        return -1.0
    return _solve(u, i, top, tau_mem, tau_syn, threshold)


@kernel
def _solve(u, i, high, tau_mem, tau_syn, threshold):
    """Return the crossing in [0, high]; u rises there and is concave.

    Steps along the Taylor polynomial of third order, kept inside a bracket. The error of a
    step is its fourth power over the cube of the time scale: one below 5e-5 of that leaves
    less than 1e-17 of it.
    """
    low, s = 0.0, 0.0
    v, c = u, i
    fine = 5e-5 * min(tau_mem, tau_syn)
    rate_mem, rate_syn = 1.0 / tau_mem, 1.0 / tau_syn
    for _ in range(80):
        gap = threshold - v
        if gap > 0.0:
            low = s
        else:
            high = s
        slope = (c - v) * rate_mem
        bend = (-c * rate_syn - slope) * rate_mem
        under = slope * slope + 2.0 * bend * gap
        step = inf
        if under > 0.0 and slope > 0.0:
            root = sqrt(under)
            step = 2.0 * gap / (slope + root)  # to where the parabola crosses
            turn = (c * rate_syn * rate_syn - bend) * rate_mem
            step -= turn * step * step * step / (6.0 * root)
        if not low <= s + step <= high:
            step = 0.5 * (low + high) - s
        elif abs(step) < fine and abs(bend * step) < 5e-5 * slope:
            return s + step
        if s + step == s:
            return s
        s += step
        v, c = propagate(u, i, s, tau_mem, tau_syn)
    return s
