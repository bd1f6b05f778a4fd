"""Threshold crossings of the `SRM` model, isolated in closed form.

Between events the potential is a sum of two alpha functions,

    f(s) = (v + i s/tau_s) e^(-s/tau_s) + (r + k s/tau_r) e^(-s/tau_r) - threshold.

After division by an exponential, f' is g(s) = a + b s + (c + d s) e^(-kappa s), and g''
is a linear function times an exponential. Its root splits g' into monotone pieces, the
roots of g' split g, and the roots of g split f: every crossing is found, without a scan.
"""

from math import exp

from evsim._compile import kernel


@kernel
def srm_voltage(v, i, r, k, s, tau_s, tau_r):
    """Return the potential after ``s`` seconds without events."""
    return (v + i * (s / tau_s)) * exp(-s / tau_s) + (r + k * (s / tau_r)) * exp(-s / tau_r)


@kernel
def srm_slope(v, i, r, k, tau_s, tau_r):
    """Return the derivative of the potential at once."""
    return (i - v) / tau_s + (k - r) / tau_r


@kernel
def srm_crossing(v, i, r, k, below, span, tau_s, tau_r, threshold, pieces):
    """Return the first crossing from below within ``span`` (or -1) and the side at the end.

    ``below`` is the side of the threshold on which the stretch starts; it is not read off
    the state, because a unit that has just fired sits on the threshold, give or take a
    rounding error. For the same reason the side changes only on a piece that leads there.
    ``pieces`` is scratch for the borders of the monotone pieces, [2, 4].
    """
    n = _stationary(v, i, r, k, span, tau_s, tau_r, pieces)
    start = 0.0
    f_start = srm_voltage(v, i, r, k, start, tau_s, tau_r) - threshold
    for q in range(n + 1):
        end = pieces[0, q] if q < n else span
        f = srm_voltage(v, i, r, k, end, tau_s, tau_r) - threshold
        if below and f >= 0.0 and f > f_start:
            if f_start >= 0.0:
                return start, False
            return _bisect_f(v, i, r, k, tau_s, tau_r, threshold, start, end), False
        if not below and f < 0.0 and f < f_start:
            below = True
        start = end
        f_start = f
    return -1.0, below


@kernel
def _stationary(v, i, r, k, span, tau_s, tau_r, out):
    """Write the roots of f' in (0, span) to ``out[0]``, ascending; return their number."""
    a, b = (i - v) / tau_s, -i / (tau_s * tau_s)
    c, d = (k - r) / tau_r, -k / (tau_r * tau_r)
    kappa = 1.0 / tau_r - 1.0 / tau_s
    if kappa < 0.0:  # divide by the slower exponential, so that the other one decays
        a, b, c, d, kappa = c, d, a, b, -kappa
    found_in, inner = out[0], out[1]
    n = 0
    if d != 0.0 and kappa > 0.0:
        bend = 2.0 / kappa - c / d
        if 0.0 < bend < span:
            inner[0] = bend
            n = 1
    for order in (1, 0):
        found = 0
        low = 0.0
        g_low = _g(order, a, b, c, d, kappa, low)
        for q in range(n + 1):
            high = inner[q] if q < n else span
            g_high = _g(order, a, b, c, d, kappa, high)
            if (g_low < 0.0) != (g_high < 0.0):
                found_in[found] = _bisect_g(order, a, b, c, d, kappa, low, high, g_low < 0.0)
                found += 1
            low = high
            g_low = g_high
        for q in range(found):
            inner[q] = found_in[q]
        n = found
    return n


@kernel
def _g(order, a, b, c, d, kappa, s):
    e = exp(-kappa * s)
    if order == 0:
        return a + b * s + (c + d * s) * e
    return b + (d - kappa * (c + d * s)) * e


@kernel
def _bisect_g(order, a, b, c, d, kappa, low, high, rising):
    """Halve down to neighbouring floats: one sign change, no conditions on the shape."""
    while True:
        s = 0.5 * (low + high)
        if s <= low or s >= high:
            return high
        if (_g(order, a, b, c, d, kappa, s) < 0.0) == rising:
            low = s
        else:
            high = s


@kernel
def _bisect_f(v, i, r, k, tau_s, tau_r, threshold, low, high):
    while True:
        s = 0.5 * (low + high)
        if s <= low or s >= high:
            return high
        if srm_voltage(v, i, r, k, s, tau_s, tau_r) < threshold:
            low = s
        else:
            high = s
