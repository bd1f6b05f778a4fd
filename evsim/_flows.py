"""Closed forms between events: states, peaks and threshold crossings of the neuron models.

A `CubaLIF` unit is (u, i): the voltage above v_leak and the synaptic current,

    tau_mem u' = i - u,        tau_syn i' = -i.

The synaptic part of an `SRM` unit is the same flow with equal time constants, its
refractory part a second one; an `LIF` unit has no current. So three formulas serve all
models. None of them has a step size or a special case for equal time constants.
"""

from math import exp, expm1, inf, log1p, sqrt

from evsim._compile import inlined, kernel


@kernel
def psp(s, tau_mem, tau_syn):
    """Return the voltage a time ``s`` after a unit step of the current.

    With a = s/tau_mem, b = s/tau_syn and z = |a - b| it is a e^-min(a, b) (1 - e^-z)/z:
    no cancellation where the time constants meet, no overflow where they lie far apart.
    z comes from the difference of the time constants, which keeps its digits.
    """
    a = s / tau_mem
    b = s / tau_syn
    z = abs(s * ((tau_syn - tau_mem) / (tau_mem * tau_syn)))
    ramp = -expm1(-z) / z if z > 0.0 else 1.0
    return a * exp(-min(a, b)) * ramp


@kernel
def propagate(u, i, s, tau_mem, tau_syn):
    """Advance (u, i) through ``s`` seconds without events."""
    return (
        u * exp(-s / tau_mem) + i * psp(s, tau_mem, tau_syn),
        i * exp(-s / tau_syn),
    )


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
    top = peak_time(u, i, tau_mem, tau_syn)
    if top >= span or i * exp(-top / tau_syn) < threshold:
        return -1.0
    return _solve(u, i, top, tau_mem, tau_syn, threshold)


@kernel
def _solve(u, i, high, tau_mem, tau_syn, threshold):
    """Return the crossing in [0, high]; u rises there and is concave.

    Starts with the Taylor polynomial of third order, then steps along the osculating
    parabola, kept inside a bracket. The error of a step is its cube over the square of the
    time scale: one below 1e-5 of that leaves less than 2e-16 of it.
    """
    slope = (i - u) / tau_mem
    bend = (-i / tau_syn - slope) / tau_mem
    under = slope * slope + 2.0 * bend * (threshold - u)
    s = 0.0
    if under > 0.0 and slope > 0.0:
        root = sqrt(under)
        s = 2.0 * (threshold - u) / (slope + root)
        turn = (i / (tau_syn * tau_syn) - bend) / tau_mem
        s = min(max(s - turn * s * s * s / (6.0 * root), 0.0), high)
    v, c = propagate(u, i, s, tau_mem, tau_syn)
    low = 0.0
    fine = 1e-5 * min(tau_mem, tau_syn)
    for _ in range(80):
        gap = threshold - v
        if gap > 0.0:
            low = s
        else:
            high = s
        slope = (c - v) / tau_mem
        bend = (-c / tau_syn - slope) / tau_mem
        under = slope * slope + 2.0 * bend * gap
        step = 2.0 * gap / (slope + sqrt(under)) if under >= 0.0 and slope > 0.0 else inf
        if not low <= s + step <= high:
            step = 0.5 * (low + high) - s
        elif abs(step) < fine and abs(bend * step) < 1e-5 * slope:
            return s + step
        if s + step == s:
            return s
        s += step
        v, c = propagate(u, i, s, tau_mem, tau_syn)
    return s
