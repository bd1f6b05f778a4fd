"""One window for all units at once: sums of arrivals, and who may cross the threshold.

Within a window the arrivals commute. Every unit is carried from its start to its end as
if nobody fired, and a bound tells which few units may reach their threshold; only those
take the ordered pass of `evsim._fire`. What an arrival makes of (u, i) at the end of the
window is a power series in the time left, exact to the last bit because windows are no
longer than half the shortest time constant.
"""

from math import exp

from evsim._compile import inlined, kernel
from evsim._flows import may_reach, responses
from evsim._layout import (
    ALIKE,
    BY,
    CLASS,
    CUBA,
    CURRENT,
    DECAY,
    DI,
    DV,
    FLOW,
    I_TO_U,
    K_TO_R,
    KEEP_I,
    KEEP_R,
    KEEP_U,
    LIF,
    NEW_I,
    NEW_K,
    NEW_R,
    NEW_U,
    PEAK,
    POST_BASE,
    POST_SIZE,
    RELEASE,
    RISE,
    ROW,
    SRM,
    START,
    STOP,
    TAU_MEM,
    TAU_R,
    TAU_SYN,
    THRESHOLD,
    TO_I,
    TO_U,
    TOP,
    UNIFORM,
    VOLTAGE,
    I,
    K,
    R,
    U,
)

# (1/2)^15 / 15! is below 3e-17.
DEGREE = 14
WIDEST = 0.5


@kernel
def copy(source, target):
    """Copy an array; a slice assignment would allow for overlap and allocate."""
    for j in range(len(target)):
        target[j] = source[j]


@kernel
def fill_series(flow, tau, width, series):
    """Write the power series of all classes for windows of ``width``.

    With y = s/width, u = sum of v_p y^p and i = sum of c_p y^p solve the equations of the
    model from (0, 1) for `CubaLIF`, from (1, 0) for `LIF`; the third series is e^-(s/tau_mem).
    """
    for c in range(len(flow)):
        a = width / tau[TAU_MEM, c]
        b = width / tau[TAU_SYN, c]
        v, i, keep = 0.0, 1.0, 1.0
        if flow[c] == LIF:
            v, i = 1.0, 0.0
        for p in range(DEGREE + 1):
            series[VOLTAGE, p, c] = v
            series[CURRENT, p, c] = i
            series[DECAY, p, c] = keep
            v, i, keep = (i - v) * a / (p + 1), -i * b / (p + 1), -keep * a / (p + 1)


@inlined
def set_factors(flow, tau, span, factors):
    """Write the factors of all classes for a window of ``span`` seconds."""
    for c in range(len(flow)):
        tau_mem, tau_syn, tau_r = tau[TAU_MEM, c], tau[TAU_SYN, c], tau[TAU_R, c]
        if flow[c] == LIF:
            factors[KEEP_U, c] = exp(-span / tau_mem)
            continue
        keep_u, i_to_u, keep_i = responses(span, tau_mem, tau_syn)
        factors[KEEP_U, c], factors[I_TO_U, c], factors[KEEP_I, c] = keep_u, i_to_u, keep_i
        if flow[c] == SRM:
            factors[KEEP_R, c], factors[K_TO_R, c], _ = responses(span, tau_r, tau_r)


@inlined
def drift(pops, unit, state, factors):
    """Carry all units over the window without arrivals."""
    for p in range(len(pops)):
        low, high = pops[p, START], pops[p, STOP]
        if pops[p, UNIFORM]:
            c = unit[CLASS, low]
            _drift_alike(
                state[U, low:high], state[I, low:high], state[NEW_U, low:high],
                state[NEW_I, low:high], state[RISE, low:high],
                factors[KEEP_U, c], factors[I_TO_U, c], factors[KEEP_I, c],
            )  # fmt: skip
        else:
            for j in range(low, high):
                c = unit[CLASS, j]
                u, i = state[U, j], state[I, j]
                state[NEW_U, j] = u * factors[KEEP_U, c] + i * factors[I_TO_U, c]
                state[NEW_I, j] = i * factors[KEEP_I, c]
                state[RISE, j] = 0.0
        if pops[p, FLOW] == SRM:
            for j in range(low, high):
                c = unit[CLASS, j]
                r, k = state[R, j], state[K, j]
                state[NEW_R, j] = r * factors[KEEP_R, c] + k * factors[K_TO_R, c]
                state[NEW_K, j] = k * factors[KEEP_R, c]


@inlined
def _drift_alike(u, i, new_u, new_i, rise, keep_u, i_to_u, keep_i):
    for j in range(len(u)):
        new_u[j] = u[j] * keep_u + i[j] * i_to_u
    for j in range(len(u)):
        new_i[j] = i[j] * keep_i
    rise[:] = 0.0


@kernel
def respond(series, which, c, y):
    """Sum the power series ``which`` of class ``c`` after y window widths."""
    x = series[which, DEGREE, c]
    for p in range(DEGREE - 1, -1, -1):
        x = x * y + series[which, p, c]
    return x


@kernel
def _respond_all(terms, y, out):
    """Sum one power series for all classes at once."""
    copy(terms[DEGREE], out)
    for p in range(DEGREE - 1, -1, -1):
        term = terms[p]
        for c in range(len(out)):
            out[c] = out[c] * y + term[c]


@inlined
def add_rows(
    rows, unit, dense, row_time, row_from, n_rows, response, state, series, factors, end, width
):
    """Add the first ``n_rows`` dense rows of the window, together where units are alike."""
    m = 0
    while m < n_rows:
        projection = row_from[BY, m]
        low = rows[projection, POST_BASE]
        size = rows[projection, POST_SIZE]
        high = low + size
        run = m + 1  # rows that go to the same units
        while run < n_rows and rows[row_from[BY, run], POST_BASE] == low:
            run += 1
        new_u, new_i, rise = state[NEW_U, low:high], state[NEW_I, low:high], state[RISE, low:high]
        if rows[projection, ALIKE]:
            c = unit[CLASS, low]
            time, dv, di = row_time[m:run], response[DV, m:run], response[DI, m:run]
            respond_each(series[VOLTAGE, :, c], time, dv, run - m, end, width)
            respond_each(series[CURRENT, :, c], time, di, run - m, end, width)
            _add_rows_alike(dense, row_from[ROW, m:run], dv, di, new_u, new_i, rise, size)
        else:
            for q in range(m, run):
                y = (end - row_time[q]) / width
                _respond_all(series[VOLTAGE], y, factors[TO_U])
                _respond_all(series[CURRENT], y, factors[TO_I])
                row = row_from[ROW, q]
                _add_row_mixed(
                    dense[row : row + size], unit[CLASS, low:high], factors[TO_U], factors[TO_I],
                    new_u, new_i, rise,
                )  # fmt: skip
        m = run


@inlined
def _add_rows_alike(dense, rows, dv, di, new_u, new_i, rise, size):
    m = 0
    while m + 4 <= len(rows):
        _add_four(dense, rows[m : m + 4], dv[m : m + 4], di[m : m + 4], new_u, new_i, rise, size)
        m += 4
    if m + 2 <= len(rows):
        _add_two(dense, rows[m : m + 2], dv[m : m + 2], di[m : m + 2], new_u, new_i, rise, size)
        m += 2
    if m < len(rows):
        w = dense[rows[m] : rows[m] + size]
        v, i = dv[m], di[m]
        for j in range(size):
            new_u[j] += v * w[j]
            new_i[j] += i * w[j]
            rise[j] += v * max(w[j], 0.0)


@inlined
def _add_four(dense, rows, dv, di, new_u, new_i, rise, n):
    """Four rows in one sweep: the sums are loaded and stored once."""
    w0, w1 = dense[rows[0] : rows[0] + n], dense[rows[1] : rows[1] + n]
    w2, w3 = dense[rows[2] : rows[2] + n], dense[rows[3] : rows[3] + n]
    v0, v1, v2, v3 = dv[0], dv[1], dv[2], dv[3]
    for j in range(n):
        new_u[j] += (v0 * w0[j] + v1 * w1[j]) + (v2 * w2[j] + v3 * w3[j])
    i0, i1, i2, i3 = di[0], di[1], di[2], di[3]
    for j in range(n):
        new_i[j] += (i0 * w0[j] + i1 * w1[j]) + (i2 * w2[j] + i3 * w3[j])
    for j in range(n):
        rise[j] += (v0 * max(w0[j], 0.0) + v1 * max(w1[j], 0.0)) + (
            v2 * max(w2[j], 0.0) + v3 * max(w3[j], 0.0)
        )


@kernel
def _add_two(dense, rows, dv, di, new_u, new_i, rise, n):
    w0, w1 = dense[rows[0] : rows[0] + n], dense[rows[1] : rows[1] + n]
    v0, v1, i0, i1 = dv[0], dv[1], di[0], di[1]
    for j in range(n):
        new_u[j] += v0 * w0[j] + v1 * w1[j]
    for j in range(n):
        new_i[j] += i0 * w0[j] + i1 * w1[j]
    for j in range(n):
        rise[j] += v0 * max(w0[j], 0.0) + v1 * max(w1[j], 0.0)


@kernel
def _add_row_mixed(w, unit_class, dv, di, new_u, new_i, rise):
    for j in range(len(w)):
        c = unit_class[j]
        new_u[j] += dv[c] * w[j]
        new_i[j] += di[c] * w[j]
        rise[j] += dv[c] * max(w[j], 0.0)


@kernel
def add_due(unit, n_classes, time, weight, post, n_due, response, state, series, end, limit, width):
    """Add the listed arrivals before ``limit``."""
    dv, di = response[DV], response[DI]
    if n_classes == 1:
        respond_each(series[VOLTAGE, :, 0], time, dv, n_due, end, width)
        respond_each(series[CURRENT, :, 0], time, di, n_due, end, width)
    else:
        for m in range(n_due):
            y = (end - time[m]) / width
            dv[m] = respond(series, VOLTAGE, unit[CLASS, post[m]], y)
            di[m] = respond(series, CURRENT, unit[CLASS, post[m]], y)
    new_u, new_i, rise = state[NEW_U], state[NEW_I], state[RISE]
    for m in range(n_due):
        if time[m] < limit:
            j, w = post[m], weight[m]
            new_u[j] += dv[m] * w
            new_i[j] += di[m] * w
            rise[j] += dv[m] * max(w, 0.0)


@kernel
def respond_each(series, time, out, n, end, width):
    """Sum one power series for the ``n`` stretches from each of ``time`` to ``end``."""
    s0, s1, s2, s3, s4 = series[0], series[1], series[2], series[3], series[4]
    s5, s6, s7, s8, s9 = series[5], series[6], series[7], series[8], series[9]
    s10, s11, s12, s13, s14 = series[10], series[11], series[12], series[13], series[14]
    scale = 1.0 / width
    for m in range(n):
        y = (end - time[m]) * scale
        x = (((s14 * y + s13) * y + s12) * y + s11) * y + s10
        x = ((((x * y + s9) * y + s8) * y + s7) * y + s6) * y + s5
        out[m] = ((((x * y + s4) * y + s3) * y + s2) * y + s1) * y + s0


@inlined
def mark_busy(pops, unit, par, tau, state, factors, start, busy):
    """Mark the units that may reach their threshold (or a new maximum) in the window.

    What positive arrivals make of u grows until the end of the window, which is shorter
    than the time to the peak, so `rise`, their sum there, is never exceeded. Without them
    u moves towards a current of at most max(i, 0), which decays (`may_reach`). For `LIF` an
    arrival decays instead, by no more than over the whole window; for `SRM` comes a refractory
    part that is negative and decays. Refractory units don't follow the flow at all.
    """
    for p in range(len(pops)):
        low, high, flow = pops[p, START], pops[p, STOP], pops[p, FLOW]
        bar = state[TOP] if pops[p, PEAK] else par[THRESHOLD]
        if flow == CUBA and pops[p, UNIFORM]:
            c = unit[CLASS, low]
            _mark_cuba(
                state[U, low:high], state[I, low:high], state[RISE, low:high], bar[low:high],
                state[RELEASE, low:high], start, 1.0 - factors[KEEP_U, c], tau[TAU_MEM, c],
                tau[TAU_SYN, c], busy[low:high],
            )  # fmt: skip
            continue
        for j in range(low, high):
            c = unit[CLASS, j]
            u, rise = state[U, j], state[RISE, j]
            if flow == LIF:
                top = max(u, 0.0) + rise / factors[KEEP_U, c]
            else:
                pull = max(state[I, j], 0.0) - u
                top = u + rise + max(pull, 0.0) * (1.0 - factors[KEEP_U, c])
                if flow == SRM:
                    top += state[R, j] * factors[KEEP_R, c]
            busy[j] = top >= bar[j] or state[RELEASE, j] > start


@inlined
def _mark_cuba(u, i, rise, bar, release, start, gain, tau_mem, tau_syn, busy):
    for j in range(len(u)):
        level = bar[j] - rise[j]
        pull = max(i[j], 0.0) - u[j]
        near = u[j] + max(pull, 0.0) * gain >= level
        reaches = near & may_reach(u[j], i[j], level, tau_mem, tau_syn)
        busy[j] = reaches | (release[j] > start)


@inlined
def list_busy(busy, words, unit):
    """Write the busy units to ``unit``; return their number. Eight are passed at a time."""
    n = 0
    for q in range(len(words)):
        if words[q] != 0:
            for j in range(8 * q, 8 * q + 8):
                if busy[j]:
                    unit[n] = j
                    n += 1
    return n
