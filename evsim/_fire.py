"""The ordered pass: one unit through one window, arrival by arrival, spike by spike.

`gather` sorts the arrivals of a unit, `span_train` prepares what a `CubaLIF` unit does in
between; `pass_cuba`, `pass_lif` and `pass_srm` take a unit from one arrival to the next and
solve for its crossings. With ``replay`` the crossings are not solved
for but taken from an earlier pass over a longer window: when a window turns out too long
(a spike sent in it comes back in it), what fired before its new end stays as it was.
`pass_peak` is the same walk for readouts, which look for their maximum instead.
"""

from math import e, exp

from evsim._compile import inlined, kernel
from evsim._flows import first_crossing, peak_time, propagate
from evsim._layout import (
    AT,
    BEFORE,
    BY,
    CHAIN,
    CURRENT,
    DECAY,
    GAP,
    I_I,
    I_TO_U,
    I_U,
    JUMP,
    KEEP_I,
    KEEP_U,
    LIF,
    POST_BASE,
    POST_SIZE,
    ROW,
    SLOPE,
    U_U,
    UNIT,
    VOLTAGE,
)
from evsim._queue import first_gap
from evsim._srm import srm_crossing, srm_slope
from evsim._window import respond_each


@kernel
def chain_due(due_time, due_post, n_due, limit, busy, work, n_busy, chained):
    """Chain the listed arrivals before ``limit`` at each busy unit."""
    chain = work[CHAIN]
    for c in range(n_busy):
        chain[work[UNIT, c]] = -1
    for m in range(n_due):
        j = due_post[m]
        if busy[j] and due_time[m] < limit:
            chained[m] = chain[j]
            chain[j] = m


@kernel
def gather(
    j, rows, dense, row_time, row_from, n_rows, due_time, due_weight, chained, first_due, train
):  # fmt: skip
    """Write times and weights of the arrivals at unit ``j``, ascending; return their number."""
    time, weight = train[AT], train[JUMP]
    n = 0
    for m in range(n_rows):
        at = j - rows[row_from[BY, m], POST_BASE]
        if 0 <= at < rows[row_from[BY, m], POST_SIZE]:
            time[n] = row_time[m]
            weight[n] = dense[row_from[ROW, m] + at]
            n += weight[n] != 0.0  # a weight of 0 is no connection
    if first_due >= 0:
        m = first_due
        while m >= 0:
            time[n] = due_time[m]
            weight[n] = due_weight[m]
            n += weight[n] != 0.0
            m = chained[m]
        _sort(time, weight, n)
    return n


@inlined
def list_rows(j, rows, row_time, row_from, n_rows, train, place):
    """Write times and places of the dense rows that reach the population of unit ``j``.

    The weight of an arrival at unit j is ``dense[place + j]``.
    """
    n = 0
    for m in range(n_rows):
        base = rows[row_from[BY, m], POST_BASE]
        if 0 <= j - base < rows[row_from[BY, m], POST_SIZE]:
            train[AT, n] = row_time[m]
            place[n] = row_from[ROW, m] - base
            n += 1
    return n


@kernel
def _sort(time, weight, n):
    gap = first_gap(n)
    while gap > 0:
        for m in range(gap, n):
            t, w = time[m], weight[m]
            at = m
            while at >= gap and time[at - gap] > t:
                time[at] = time[at - gap]
                weight[at] = weight[at - gap]
                at -= gap
            time[at] = t
            weight[at] = w
        gap //= 3


@kernel
def span_train(train, n, start, end, width, series, factors, c):
    """Write the factors over the stretch before each arrival, and before ``end``.

    They are those of the whole window if nothing arrives; else the stretches are no longer
    than a window, so the power series hold.
    """
    if n == 0:
        train[U_U, 0] = factors[KEEP_U, c]
        train[I_U, 0] = factors[I_TO_U, c]
        train[I_I, 0] = factors[KEEP_I, c]
        return
    gap = train[GAP]
    gap[0] = start - train[AT, 0]
    for m in range(1, n):
        gap[m] = train[AT, m - 1] - train[AT, m]
    gap[n] = train[AT, n - 1] - end
    respond_each(series[DECAY, :, c], gap, train[U_U], n + 1, 0.0, width)
    respond_each(series[VOLTAGE, :, c], gap, train[I_U], n + 1, 0.0, width)
    respond_each(series[CURRENT, :, c], gap, train[I_I], n + 1, 0.0, width)


@inlined
def pass_cuba(
    u, i, release, freed, start, end, limit, n_arrivals, tau_mem, tau_syn, threshold, reset,
    refractory, train, spike_time, spike_record, n_fired, replay_end,
):  # fmt: skip
    """Take one `CubaLIF` unit from ``start`` to ``end``; events before ``limit`` happen.

    Writes its spikes to ``spike_time`` from ``n_fired`` on (or, in a replay, takes
    them from ``replay`` to ``replay_end``) and returns u, i, release, the current at the last
    release and the number of spikes; -1 for that number if the spikes don't fit.
    """
    t = start
    solve = replay_end < 0
    for m in range(n_arrivals + 1):
        to = train[AT, m] if m < n_arrivals else end
        whole = True
        while True:
            if release > t:  # held at reset
                stop = min(release, to)
                i *= exp(-(stop - t) / tau_syn)
                t = stop
                if release > to:
                    break
                freed = i
                whole = False
            span = to - t
            if whole:
                u_end = u * train[U_U, m] + i * train[I_U, m]
                i_end = i * train[I_I, m]
            else:
                u_end, i_end = propagate(u, i, span, tau_mem, tau_syn)
            at = to
            after = -1.0
            if solve:
                if u >= threshold:
                    after = 0.0
                elif u_end >= threshold or (i > threshold and i_end <= u_end):
                    after = first_crossing(u, i, span, u_end, i_end, tau_mem, tau_syn, threshold)
                at = min(t + after, to)
            elif n_fired < replay_end and spike_time[n_fired] <= to:
                at = spike_time[n_fired]
                after = at - t
            if after < 0.0 or at >= limit:
                u, i, t = u_end, i_end, to
                break
            if n_fired == len(spike_time):
                return u, i, release, freed, -1
            i *= exp(-after / tau_syn)
            spike_time[n_fired] = at
            spike_record[SLOPE, n_fired] = (i - max(u, threshold)) / tau_mem
            spike_record[BEFORE, n_fired] = freed
            n_fired += 1
            u = reset
            t = at
            release = at + refractory
            whole = False
        if m < n_arrivals:
            i += train[JUMP, m]
    return u, i, release, freed, n_fired


@kernel
def pass_lif(
    u, release, start, end, n_arrivals, tau_mem, threshold, reset, refractory, soft,
    train, spike_time, n_fired,
):  # fmt: skip
    """Take one `LIF` unit from ``start`` to ``end``; crossings happen at arrivals only.

    Arrivals of one instant are summed first; those in the refractory period are lost. A
    replay needs no record here: the same arrivals give the same spikes.
    """
    t = start
    m = 0
    while m < n_arrivals:
        at = train[AT, m]
        total = 0.0
        while m < n_arrivals and train[AT, m] == at:
            total += train[JUMP, m]
            m += 1
        if at < release:
            continue
        u = u * exp(-(at - max(t, release)) / tau_mem) + total
        t = at
        if u >= threshold:
            if n_fired == len(spike_time):
                return u, release, -1
            spike_time[n_fired] = at
            n_fired += 1
            u = u - (threshold - reset) if soft else reset
            release = at + refractory
    free = max(t, release)
    if free < end:
        u *= exp(-(end - free) / tau_mem)
    return u, release, n_fired


@kernel
def pass_srm(
    u, i, r, k, below, start, end, limit, n_arrivals, tau_syn, tau_r, threshold,
    pieces, train, spike_time, spike_record, n_fired, replay_end,
):  # fmt: skip
    """Take one `SRM` unit from ``start`` to ``end``; as `pass_cuba`."""
    t = start
    solve = replay_end < 0
    for m in range(n_arrivals + 1):
        to = train[AT, m] if m < n_arrivals else end
        while True:
            span = to - t
            at = to
            after, side = srm_crossing(u, i, r, k, below, span, tau_syn, tau_r, threshold, pieces)
            waits = after >= 0.0  # unless it fires now, a unit at its crossing is still below
            if solve:
                at = min(t + after, to)
            else:
                after = -1.0
                if n_fired < replay_end and spike_time[n_fired] <= to:
                    at = spike_time[n_fired]
                    after = at - t
            happens = after >= 0.0 and at < limit
            if happens:
                span = after
            u, i = propagate(u, i, span, tau_syn, tau_syn)
            r, k = propagate(r, k, span, tau_r, tau_r)
            if not happens:
                below = side or waits
                t = to
                break
            if n_fired == len(spike_time):
                return u, i, r, k, below, -1
            spike_time[n_fired] = at
            spike_record[SLOPE, n_fired] = srm_slope(u, i, r, k, tau_syn, tau_r)
            n_fired += 1
            k -= 2.0 * threshold * e
            below = srm_slope(u, i, r, k, tau_syn, tau_r) < 0.0
            t = at
        if m < n_arrivals:
            i += train[JUMP, m]
    return u, i, r, k, below, n_fired


@kernel
def pass_peak(
    u, i, peak, peak_at, peak_slope, start, end, n_arrivals, flow, tau_mem, tau_syn, train
):  # fmt: skip
    """Return the largest u of one readout unit up to ``end``, its time, and the slope before it.

    All as given, if u does not exceed ``peak``. The slope is 0 at a smooth maximum, and not
    at one that an arrival cuts off or, in an `LI` unit, makes; there it is that after it.
    """
    t = start
    for m in range(n_arrivals + 1):
        to = train[AT, m] if m < n_arrivals else end
        span = to - t
        if flow == LIF:
            u *= exp(-span / tau_mem)
            if m < n_arrivals:
                u += train[JUMP, m]
                complete = m + 1 == n_arrivals or train[AT, m + 1] > to
                if complete and u > peak:
                    peak, peak_at, peak_slope = u, to, -u / tau_mem
        else:
            if i > u and i > peak:
                top = peak_time(u, i, tau_mem, tau_syn)
                if top < span:
                    summit = i * exp(-top / tau_syn)
                    if summit > peak:
                        peak, peak_at, peak_slope = summit, t + top, 0.0
            u, i = propagate(u, i, span, tau_mem, tau_syn)
            if u > peak:
                peak, peak_at, peak_slope = u, to, (i - u) / tau_mem
            if m < n_arrivals:
                i += train[JUMP, m]
        t = to
    return peak, peak_at, peak_slope
