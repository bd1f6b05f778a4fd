"""The event loop: one group of populations, one recording at a time.

A window runs from the current time to the next border of windows (or to the next
sample time). `_work_out` finds what happens in it without touching the state. If a spike
fired in it would come back before its end, the window is cut there and worked out again,
so what is committed is always exact. Committed spikes are written in order and sent on.
"""

from math import exp, inf

import numpy as np

from evsim._compile import inlined, kernel
from evsim._fire import (
    chain_due,
    gather,
    list_rows,
    pass_cuba,
    pass_lif,
    pass_peak,
    pass_srm,
    span_train,
)
from evsim._layout import (
    BEFORE,
    BELOW,
    BY,
    CHAIN,
    CLASS,
    CUBA,
    FIRED,
    FREED,
    JUMP,
    LIF,
    LOADED,
    N_DUE,
    N_ROWS,
    NEW_BELOW,
    NEW_FREED,
    NEW_I,
    NEW_K,
    NEW_R,
    NEW_RELEASE,
    NEW_TOP,
    NEW_TOP_SLOPE,
    NEW_TOP_TIME,
    NEW_U,
    OWN_START,
    OWN_STOP,
    PLACE,
    POP,
    POST_BASE,
    POST_SIZE,
    REFRACTORY,
    RELEASE,
    RESET,
    ROW,
    SLOPE,
    SOFT,
    SRM,
    START,
    STOP,
    TAU_MEM,
    TAU_R,
    TAU_SYN,
    THRESHOLD,
    TIME,
    TOP,
    TOP_SLOPE,
    TOP_TIME,
    TOTAL,
    UNIT,
    WEIGHT,
    I,
    K,
    R,
    U,
)
from evsim._queue import (
    GROW_FIRED,
    GROW_SPIKES,
    NOT_FINITE,
    OK,
    RUNAWAY,
    STOPPED,
    WINDOWS,
    clear,
    consume_due,
    consume_rows,
    first_gap,
    load,
    next_bucket,
    send,
    sort_rows,
    window_of,
)
from evsim._window import (
    WIDEST,
    add_due,
    add_rows,
    copy,
    drift,
    fill_series,
    list_busy,
    mark_busy,
    set_factors,
)

# Arrivals per unit and window that balance the sweeps over all units against the passes.
PER_WINDOW = 10.0
# Windows can be counted as long as they are not much shorter than the time they are at.
FINEST = 1e-9


@kernel
def run_group(
    pops, tau_output, unit, par, flow, tau, rows, maps, source_rows, axonal, dense,
    indptr, synapses,
    state, busy, words,
    head, flight, sent, row_time, row_from, due, due_post, n_due, edges, response, chained,
    series, factors, work, new, train, spike_time, spike_unit, spike_record, pieces, n, cursor,
    fired_by,
    in_times, in_units, in_offsets, fan_out, in_state, sample_time, sample_pop, sample_place,
    out_times, out_units, out_records, out_offsets, out_voltage, out_final, out_freed, out_state,
    first, last, begin, duration, min_delay, limits, stop,
):  # fmt: skip
    """Run recordings ``first`` to ``last`` of one group from ``begin`` to ``duration``.

    Returns a status, the recording at which it stopped, and for a runaway population its
    index, the time and its number of spikes; for a state that is not finite the index of the
    unit. Everything else but a stop, which another thread asked for, can be mended by more
    room, and the recording be run again.
    """
    for b in range(first, last):
        if stop[0] != 0:
            return STOPPED, b, 0, 0.0, 0
        status, pop, time, count = _run_recording(
            pops, tau_output, unit, par, flow, tau, rows, maps, source_rows, axonal, dense,
            indptr, synapses,
            state, busy, words, head, flight, sent, row_time, row_from, due, due_post, n_due,
            edges, response, chained, series, factors, work, new, train, spike_time, spike_unit,
            spike_record, pieces, n, cursor, fired_by,
            in_times, in_units, in_offsets, fan_out, in_state, sample_time, sample_pop,
            sample_place, out_times, out_units, out_records, out_offsets[b], out_voltage[b], b,
            begin, duration, min_delay, limits,
        )  # fmt: skip
        if status != OK:
            return status, b, pop, time, count
        j = _not_finite(state)
        if j >= 0:
            return NOT_FINITE, b, j, duration, 0
        out_offsets[b + 1] = count
        if len(out_final) > 0:  # what readouts are computed from
            copy(state[U], out_final[b, 0])
            copy(state[I], out_final[b, 1])
            copy(state[TOTAL], out_final[b, 2])
            copy(state[TOP], out_final[b, 3])
            copy(state[TOP_TIME], out_final[b, 4])
            copy(state[TOP_SLOPE], out_final[b, 5])
        if len(out_freed) > 0:  # what gradients are computed from
            copy(state[FREED], out_freed[b])
        if len(out_state) > 0:  # what the next stretch starts from
            _carry(state, out_state[b])
    return OK, last, 0, 0.0, 0


@kernel
def _carry(source, target):
    for row in range(len(source)):
        copy(source[row], target[row])


@kernel
def _not_finite(state):
    """Return a unit whose state is not finite, -1 if there is none; none recovers from that."""
    for j in range(state.shape[1]):
        kept = state[U, j] + state[I, j] + state[K, j] + state[R, j]
        if not abs(kept + state[TOP, j] + state[TOTAL, j]) < inf:
            return j
    return -1


@kernel
def _run_recording(
    pops, tau_output, unit, par, flow, tau, rows, maps, source_rows, axonal, dense,
    indptr, synapses,
    state, busy, words,
    head, flight, sent, row_time, row_from, due, due_post, n_due, edges, response, chained,
    series, factors, work, new, train, spike_time, spike_unit, spike_record, pieces, n, cursor,
    fired_by,
    in_times, in_units, in_offsets, fan_out, in_state, sample_time, sample_pop, sample_place,
    out_times, out_units, out_records, filled, voltage, b, begin, duration, min_delay, limits,
):  # fmt: skip
    """Run recording ``b``; its spikes are written from ``filled`` on. Returns as `run_group`."""
    width = _choose_width(unit, flow, tau, in_offsets, fan_out, b, begin, duration, min_delay)
    fill_series(flow, tau, width, series)
    if len(in_state) > 0:
        _carry(in_state[b], state)
    else:
        state[:] = 0.0
        state[BELOW] = 1.0
    clear(head, n_due, n)
    n[LOADED] = window_of(begin, width) // WINDOWS - 1
    fired_by[:] = 0
    for s in range(len(cursor)):
        cursor[s] = in_offsets[s, b]
    written = filled
    start = begin
    sample = 0
    while start < duration:
        window = window_of(start, width)
        bucket = window // WINDOWS
        if bucket > n[LOADED]:
            status = _feed(
                bucket, b, width, begin, duration, in_times, in_units, in_offsets, cursor,
                source_rows, rows, maps, axonal, indptr, synapses,
                head, flight, sent, row_time, row_from, due, due_post, n_due, edges, n,
            )  # fmt: skip
            if status != OK:
                return status, 0, start, 0
        w = window - n[LOADED] * WINDOWS
        if n_due[N_ROWS, w] + n_due[N_DUE, w] > 0:
            end = min(edges[w + 1], duration)
        else:
            end = _next_arrival(
                w, in_times, in_offsets, cursor, head, n_due, edges, n, b, width, duration
            )
        limit = end  # events before it belong to the window
        if sample < len(sample_time) and sample_time[sample] < end:
            end = sample_time[sample]
            limit = np.nextafter(end, inf)
        n_busy = -1
        cut = False
        while True:
            n_busy, n_fired = _work_out(
                start, end, limit, limit >= edges[w + 1], width, n_busy, pops, unit, par, flow, tau,
                rows, dense, state, busy, words, row_time[w], row_from[:, w], due[TIME, w],
                due[WEIGHT, w], due_post[w], n_due[N_ROWS, w], n_due[N_DUE, w], response, chained,
                series, factors, work, new, train, spike_time, spike_unit, spike_record, pieces,
            )  # fmt: skip
            if n_fired < 0:
                return GROW_FIRED, unit[POP, work[UNIT, n_busy]], start, len(spike_time)
            if cut or n_fired == 0 or min_delay == inf:
                break
            back = _earliest(spike_time, n_fired) + min_delay
            if back >= limit:
                break
            cut = True  # what is sent in the window comes back in it
            end = back
            # At zero delay, what fires at this very instant comes before what it sends.
            limit = back if min_delay > 0.0 else np.nextafter(back, inf)
        _commit(pops, flow, state, work, new, n_busy)
        for p in range(len(pops)):
            if tau_output[p] > 0.0:
                _add_total(
                    pops[p], tau_output[p], rows, dense, row_time[w], row_from[:, w],
                    n_due[N_ROWS, w], due[TIME, w], due[WEIGHT, w], due_post[w], n_due[N_DUE, w],
                    limit, state[TOTAL],
                )  # fmt: skip
        _consume(w, limit, edges, row_time, row_from, due, due_post, n_due)
        start = end
        # Nothing was due in a gap.
        n[LOADED] = max(n[LOADED], window_of(start, width) // WINDOWS - 1)
        if n_fired > 0:
            status, q = _send_fired(
                n_fired, written, pops, unit, spike_time, spike_unit, spike_record, fired_by,
                limits, out_times, out_units, out_records, width, begin, duration, rows, maps,
                axonal, indptr, synapses, head, flight, sent, n,
            )  # fmt: skip
            if status != OK:
                p = unit[POP, spike_unit[q]]
                return status, p, spike_time[q], fired_by[p]
            written += n_fired
            status = load(  # what they send may be due in this bucket
                n[LOADED], width, duration, rows, maps, synapses,
                head, flight, sent, row_time, row_from, due, due_post, n_due, edges, n,
            )  # fmt: skip
            if status != OK:
                return status, 0, start, 0
        if limit > end and (n_fired == 0 or min_delay > 0.0):
            sample = _sample(start, sample, sample_time, sample_pop, sample_place, pops, state,
                             voltage)  # fmt: skip
    _sample(inf, sample, sample_time, sample_pop, sample_place, pops, state, voltage)
    # Ties on the border of two windows.
    _in_order(out_times, out_units, out_records, filled, written, 1)
    return OK, 0, duration, written


@inlined
def _consume(w, limit, edges, row_time, row_from, due, due_post, n_due):
    """Take what arrives before ``limit`` out of window ``w``."""
    if limit >= edges[w + 1]:
        n_due[:, w] = 0
        return
    n_due[N_ROWS, w] = consume_rows(row_time[w], row_from[:, w], n_due[N_ROWS, w], limit)
    n_due[N_DUE, w] = consume_due(due[TIME, w], due[WEIGHT, w], due_post[w], n_due[N_DUE, w], limit)


@inlined
def _send_fired(
    n_fired, written, pops, unit, spike_time, spike_unit, spike_record, fired_by,
    limits, out_times, out_units, out_records, width, begin, duration, rows, maps, axonal,
    indptr, synapses, head, flight, sent, n,
):  # fmt: skip
    """Write the spikes of a window from ``written`` on, and send them to the own group.

    Returns a status and the spike at which it stopped.
    """
    _in_order(spike_time, spike_unit, spike_record, 0, n_fired, first_gap(n_fired))
    if written + n_fired > len(out_times):
        return GROW_SPIKES, 0
    for q in range(n_fired):
        t, j, at = spike_time[q], spike_unit[q], written + q
        out_times[at] = t
        out_units[at] = j
        out_records[SLOPE, at] = spike_record[SLOPE, q]
        out_records[BEFORE, at] = spike_record[BEFORE, q]
        p = unit[POP, j]
        fired_by[p] += 1
        if fired_by[p] > limits[p]:
            return RUNAWAY, q
        for projection in range(pops[p, OWN_START], pops[p, OWN_STOP]):
            status = send(
                t, j - pops[p, START], projection, width, begin, duration,
                rows, maps, axonal, indptr, synapses, head, flight, sent, n,
            )  # fmt: skip
            if status != OK:
                return status, q
    return OK, n_fired


@kernel
def _choose_width(unit, flow, tau, in_offsets, fan_out, b, begin, duration, min_delay):
    """Return the bucket width: short against the time constants, long against arrivals."""
    width = duration
    for c in range(len(flow)):
        width = min(width, WIDEST * tau[TAU_MEM, c])
        if flow[c] != LIF:
            width = min(width, WIDEST * tau[TAU_SYN, c])
    arrivals = 0.0
    for s in range(len(fan_out)):
        arrivals += fan_out[s] * (in_offsets[s, b + 1] - in_offsets[s, b])
    if arrivals > 0.0:
        calm = PER_WINDOW * unit.shape[1] * (duration - begin) / arrivals
        width = min(width, max(calm, FINEST * duration))
    # No window as short as the shortest delay has to be cut. Not worth it if that is tiny.
    if 0.125 * width < min_delay:
        width = min(width, min_delay)
    return width


@kernel
def _feed(
    bucket, b, width, begin, duration, in_times, in_units, in_offsets, cursor, source_rows,
    rows, maps, axonal, indptr, synapses,
    head, flight, sent, row_time, row_from, due, due_post, n_due, edges, n,
):  # fmt: skip
    """Send the input spikes that can arrive in ``bucket``, then load it."""
    n[LOADED] = bucket - 1
    edge = (bucket + 1) * WINDOWS * width
    for s in range(len(cursor)):
        at, stop = cursor[s], in_offsets[s, b + 1]
        while at < stop and in_times[at] < edge:
            for projection in range(source_rows[s], source_rows[s + 1]):
                status = send(
                    in_times[at], in_units[at], projection, width, begin, duration,
                    rows, maps, axonal, indptr, synapses, head, flight, sent, n,
                )  # fmt: skip
                if status != OK:
                    return status
            at += 1
        cursor[s] = at
    return load(
        bucket, width, duration, rows, maps, synapses,
        head, flight, sent, row_time, row_from, due, due_post, n_due, edges, n,
    )  # fmt: skip


@kernel
def _next_arrival(
    w, in_times, in_offsets, cursor, head, n_due, edges, n, b, width, duration
):  # fmt: skip
    """Return a time before which nothing that is known of arrives: the start of a window."""
    for later in range(w + 1, WINDOWS):
        if n_due[N_ROWS, later] + n_due[N_DUE, later] > 0:
            return min(edges[later], duration)
    time = duration
    bucket = next_bucket(head, n)
    if bucket >= 0:
        time = min(time, bucket * WINDOWS * width)
    for s in range(len(cursor)):
        if cursor[s] < in_offsets[s, b + 1]:
            time = min(time, window_of(in_times[cursor[s]], width) // WINDOWS * WINDOWS * width)
    return time


@kernel
def _work_out(
    start, end, limit, whole, width, n_busy, pops, unit, par, flow, tau, rows, dense,
    state, busy, words, row_time, row_from, due_time, due_weight, due_post, n_rows_due, n_due,
    response, chained, series, factors, work, new, train, spike_time, spike_unit, spike_record,
    pieces,
):  # fmt: skip
    """Work out the window: new states, busy units and spikes.

    ``whole`` says that all arrivals of the window come before ``limit``; then those of dense
    rows need no order unless a unit is busy. Given ``n_busy``, it is a shorter window than
    last time with the same busy units, whose spikes are kept. Returns the number of busy
    units and of spikes; if those of one unit don't fit, its place among the busy ones and -1.
    """
    replay = n_busy >= 0
    n_rows = n_rows_due
    if not whole:
        sort_rows(row_time, row_from, n_rows_due)
        n_rows = 0
        while n_rows < n_rows_due and row_time[n_rows] < limit:
            n_rows += 1
    set_factors(flow, tau, end - start, factors)
    drift(pops, unit, state, factors)
    if n_rows > 0:
        add_rows(
            rows, unit, dense, row_time, row_from, n_rows, response, state, series, factors,
            end, width,
        )  # fmt: skip
    if n_due > 0:
        add_due(
            unit, len(flow), due_time, due_weight, due_post, n_due, response, state, series,
            end, limit, width,
        )  # fmt: skip
    if not replay:
        mark_busy(pops, unit, par, tau, state, factors, start, busy)
        n_busy = list_busy(busy, words, work[UNIT])
    if n_due > 0 and n_busy > 0:
        chain_due(due_time, due_post, n_due, limit, busy, work, n_busy, chained)
    n_fired = 0
    m = 0
    if whole and n_busy > 0:
        sort_rows(row_time, row_from, n_rows)
    jump, place = train[JUMP], work[PLACE]
    pop = kind = -1  # whose arrivals and stretches stand in train
    for c in range(n_busy):
        j = work[UNIT, c]
        k = unit[CLASS, j]
        if n_due > 0 or flow[k] == LIF:
            first_due = work[CHAIN, j] if n_due > 0 else -1
            m = gather(
                j, rows, dense, row_time, row_from, n_rows, due_time, due_weight, chained,
                first_due, train,
            )  # fmt: skip
            kind = -1
        else:  # units of one population receive the same rows at the same times
            if unit[POP, j] != pop:
                pop = unit[POP, j]
                m = list_rows(j, rows, row_time, row_from, n_rows, train, place)
                kind = -1
            for q in range(m):
                jump[q] = dense[place[q] + j]
        if flow[k] == CUBA and k != kind:
            span_train(train, m, start, end, width, series, factors, k)
            kind = k
        n_new = _pass(
            c, j, start, end, limit, m, unit, par, flow, tau, pops, state,
            new, train, spike_time, spike_record, work[FIRED, c] if replay else n_fired,
            work[FIRED, c + 1] if replay else -1, pieces,
        )  # fmt: skip
        if n_new < 0:
            return c, -1
        if not replay:
            work[FIRED, c] = n_fired
            work[FIRED, c + 1] = n_new
            spike_unit[n_fired:n_new] = j
            n_fired = n_new
    if replay:
        n_fired = _keep_before(spike_time, spike_unit, spike_record, work[FIRED, n_busy], limit)
    return n_busy, n_fired


@inlined
def _pass(
    c, j, start, end, limit, m, unit, par, flow, tau, pops, state,
    new, train, spike_time, spike_record, n_fired, replay_end, pieces,
):  # fmt: skip
    """Take busy unit ``j`` through the window; its new state overrides the sweep's."""
    k = unit[CLASS, j]
    tau_mem, tau_syn, tau_r = tau[TAU_MEM, k], tau[TAU_SYN, k], tau[TAU_R, k]
    threshold, reset, refractory = par[THRESHOLD, j], par[RESET, j], par[REFRACTORY, j]
    new[NEW_RELEASE, c] = state[RELEASE, j]
    new[NEW_BELOW, c] = state[BELOW, j]
    new[NEW_TOP, c] = state[TOP, j]
    new[NEW_TOP_TIME, c] = state[TOP_TIME, j]
    new[NEW_TOP_SLOPE, c] = state[TOP_SLOPE, j]
    new[NEW_FREED, c] = state[FREED, j]
    if threshold == inf:
        new[NEW_TOP, c], new[NEW_TOP_TIME, c], new[NEW_TOP_SLOPE, c] = pass_peak(
            state[U, j], state[I, j], state[TOP, j], state[TOP_TIME, j], state[TOP_SLOPE, j],
            start, end, m, flow[k], tau_mem, tau_syn, train,
        )  # fmt: skip
    elif flow[k] == CUBA:
        u, i, release, freed, n_fired = pass_cuba(
            state[U, j], state[I, j], state[RELEASE, j], state[FREED, j], start, end, limit, m,
            tau_mem, tau_syn, threshold, reset, refractory, train, spike_time, spike_record,
            n_fired, replay_end,
        )  # fmt: skip
        state[NEW_U, j], state[NEW_I, j] = u, i
        new[NEW_RELEASE, c], new[NEW_FREED, c] = release, freed
    elif flow[k] == LIF:
        u, release, n_fired = pass_lif(
            state[U, j], state[RELEASE, j], start, end, m, tau_mem, threshold, reset, refractory,
            pops[unit[POP, j], SOFT], train, spike_time, n_fired,
        )  # fmt: skip
        state[NEW_U, j], new[NEW_RELEASE, c] = u, release
    else:
        u, i, r, q, below, n_fired = pass_srm(
            state[U, j], state[I, j], state[R, j], state[K, j], state[BELOW, j] > 0.0,
            start, end, limit, m, tau_syn, tau_r, threshold, pieces,
            train, spike_time, spike_record, n_fired, replay_end,
        )  # fmt: skip
        state[NEW_U, j], state[NEW_I, j], state[NEW_R, j], state[NEW_K, j] = u, i, r, q
        new[NEW_BELOW, c] = 1.0 if below else 0.0
    return n_fired


@kernel
def _earliest(times, n):
    first = times[0]
    for q in range(1, n):
        first = min(first, times[q])
    return first


@kernel
def _keep_before(spike_time, spike_unit, spike_record, n_fired, limit):
    kept = 0
    for q in range(n_fired):
        if spike_time[q] < limit:
            spike_time[kept] = spike_time[q]
            spike_unit[kept] = spike_unit[q]
            spike_record[SLOPE, kept] = spike_record[SLOPE, q]
            spike_record[BEFORE, kept] = spike_record[BEFORE, q]
            kept += 1
    return kept


@inlined
def _commit(pops, flow, state, work, new, n_busy):
    """Make the new state the state."""
    copy(state[NEW_U], state[U])
    copy(state[NEW_I], state[I])
    if flow[len(flow) - 1] == SRM:  # classes are sorted by flow, and SRM is the last
        copy(state[NEW_R], state[R])
        copy(state[NEW_K], state[K])
    for c in range(n_busy):
        j = work[UNIT, c]
        state[RELEASE, j] = new[NEW_RELEASE, c]
        state[BELOW, j] = new[NEW_BELOW, c]
        state[TOP, j] = new[NEW_TOP, c]
        state[TOP_TIME, j] = new[NEW_TOP_TIME, c]
        state[TOP_SLOPE, j] = new[NEW_TOP_SLOPE, c]
        state[FREED, j] = new[NEW_FREED, c]


@kernel
def _add_total(
    pop, tau, rows, dense, row_time, row_from, n_rows, due_time, due_weight, due_post, n_due,
    limit, total,
):  # fmt: skip
    """Sum the arrivals, weighted by e^(-t/tau_output): all that a voltage integral needs."""
    low, high = pop[START], pop[STOP]
    for m in range(n_rows):
        size = rows[row_from[BY, m], POST_SIZE]
        if row_time[m] < limit and rows[row_from[BY, m], POST_BASE] == low:
            factor = exp(-row_time[m] / tau)
            for j in range(size):
                total[low + j] += factor * dense[row_from[ROW, m] + j]
    for m in range(n_due):
        if due_time[m] < limit and low <= due_post[m] < high:
            total[due_post[m]] += exp(-due_time[m] / tau) * due_weight[m]


@kernel
def _in_order(times, units, records, begin, end, gap):
    """Sort spikes by time, then unit, from ``gap`` on; 1 is quick if they nearly are sorted."""
    while gap > 0:
        for q in range(begin + gap, end):
            t, j = times[q], units[q]
            slope, before = records[SLOPE, q], records[BEFORE, q]
            at = q
            while at >= begin + gap and (
                times[at - gap] > t or (times[at - gap] == t and units[at - gap] > j)
            ):
                times[at] = times[at - gap]
                units[at] = units[at - gap]
                records[SLOPE, at] = records[SLOPE, at - gap]
                records[BEFORE, at] = records[BEFORE, at - gap]
                at -= gap
            times[at] = t
            units[at] = j
            records[SLOPE, at] = slope
            records[BEFORE, at] = before
        gap //= 3


@kernel
def _sample(time, sample, sample_time, sample_pop, sample_place, pops, state, voltage):
    """Write all voltages wanted up to ``time``; return the number of the next sample."""
    while sample < len(sample_time) and sample_time[sample] <= time:
        low, high = pops[sample_pop[sample], START], pops[sample_pop[sample], STOP]
        place = sample_place[sample]
        for j in range(low, high):
            voltage[place + j - low] = state[U, j] + state[R, j]
        sample += 1
    return sample
