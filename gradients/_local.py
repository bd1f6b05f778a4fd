"""The exact local rule: what spike times owe to weights and delays, carried forward in time.

A spike of unit j comes where V = threshold, so dt/dp = -S/V' with the sensitivity S = dV/dp just
before it, for every parameter p of j's own synapses. What other units make of p is left out: their
spikes are taken as given. Between events S follows the flow of the model,

    tau_mem S_V' = S_I - S_V,        tau_syn S_I' = -S_I;

an arrival adds 1 to S_I of its weight, and for the delay, by unit of weight, -1/tau_mem to S_V
and 1/tau_syn to S_I. So without spikes of j they are sums over arrivals that all synapses of a
source share, its traces: of the current, of the voltage that it makes, and of arrivals that
decay with tau_mem,

    x = sum e^(-t/tau_syn),    y = sum P(t),    z = sum e^(-t/tau_mem),
    S_V = y + C of a weight,   S_V = y/tau_syn - z/tau_mem + C of a delay.

C is a synapse's own: what spikes of j have made of its S_V. It decays with tau_mem. Moving a
spike by dt changes V after it by -V' dt, so a reset makes S_V its product with V'+/V'-, at once or,
after a refractory period, at the release. A spike of an `SRM` unit resets nothing; it kicks the
refractory kernel, whose sensitivities are then C. Traces stand in rows, one for all units with the
same time constants, or one per unit if synapses have delays of their own.
"""

from math import exp, inf

from evsim._compile import inlined, kernel
from evsim._flows import responses
from evsim._layout import BEFORE, SLOPE, SRM
from evsim._queue import first_gap

from ._adjoint import E, in_order
from ._arrivals import (
    AT,
    KIND,
    REFRACTORY,
    RELEASE,
    RESET,
    SPIKE,
    TAU_MEM,
    TAU_R,
    TAU_SYN,
    THRESHOLD,
    UNIT,
    VALUE,
    WHICH,
)

# Rows of traces.
X, Y, Z = range(3)
# Rows of a synapse's own: of weights, of delays; behind them, for `SRM`, the refractory current.
OF_WEIGHT, OF_DELAY = 0, 1


@kernel
def play(
    flow, scale, cells, row_of, taus, begin, end, pre_of, axonal, late, growth, block,
    sent_times, sent_columns, sent_offsets, times, units, records, offsets, freed, g_times,
    kept, traces, own, own_cells, since, held,
    waiting, waiting_columns, risen, column_starts, cursor, coming, events, marks, current,
    d_weight, d_delay, d_cells, first, last,
):  # fmt: skip
    """Add the gradients of the spikes of recordings ``first`` to ``last`` to those given.

    ``kept`` says that every recording has traces of its own, which are carried on; else they
    start from nothing.
    """
    for b in range(first, last):
        at = b if kept else 0
        if not kept:
            traces[at] = 0.0
            own[at] = 0.0
            own_cells[at] = 0.0
            since[at] = begin
            held[at] = False
        spikes = slice(offsets[b], offsets[b + 1])
        sent = sent_offsets[:, b : b + 2]
        n_arrivals = 0
        if len(late) > 0:
            _sort_columns(sent_times, sent_columns, sent, waiting, column_starts)
            _await(begin, axonal, late, waiting, column_starts, cursor, coming)
            if len(growth) > 0:
                _rise(axonal, taus[:, 0], block, waiting, column_starts, risen)
        else:
            n_arrivals = _list_arrivals(
                begin, end, axonal, sent_times, sent_columns, sent, waiting, waiting_columns
            )
            cursor[:] = 0
        n_events = _list_events(
            times[spikes], units[spikes], records[:, spikes], freed[b], cells, end,
            since[at], held[at], events, marks, current,
        )  # fmt: skip
        traced = since[at, len(row_of) :]
        for m in range(n_events):
            t, j = events[AT, m], marks[UNIT, m]
            row = row_of[j]
            _bring_up(
                row, t, taus[:, row], traced, traces[at, row], pre_of, axonal, late, growth,
                block, waiting, waiting_columns, n_arrivals, risen, column_starts, cursor, coming,
            )  # fmt: skip
            span = t - since[at, j]
            since[at, j] = t
            if marks[KIND, m] == RELEASE:
                held[at, j] = False
                _release(
                    (events[VALUE, m] - cells[RESET, j]) / cells[TAU_MEM, j], taus[:, row],
                    traces[at, row], own[at, j], own_cells[at, :, j],
                )  # fmt: skip
                continue
            which = offsets[b] + marks[WHICH, m]
            slope = records[SLOPE, which]
            gain = -g_times[which] / slope
            if flow == SRM:
                _fire_srm(
                    gain, slope, span, scale, cells[THRESHOLD, j], cells[TAU_R, j], taus[:, row],
                    traces[at, row], own[at, j], own_cells[at, :, j], d_weight[j],
                    d_delay[j], d_cells[:, j],
                )  # fmt: skip
            else:
                if cells[REFRACTORY, j] > 0.0:
                    held[at, j], since[at, j] = True, t + cells[REFRACTORY, j]
                _fire_cuba(
                    gain, slope, span, cells[:, j], taus[:, row], traces[at, row],
                    own[at, j], own_cells[at, :, j], d_weight[j], d_delay[j], d_cells[:, j],
                )  # fmt: skip
        for row in range(taus.shape[1] if kept else 0):
            _bring_up(
                row, end, taus[:, row], traced, traces[at, row], pre_of, axonal, late, growth,
                block, waiting, waiting_columns, n_arrivals, risen, column_starts, cursor, coming,
            )  # fmt: skip


@kernel
def _list_arrivals(
    begin, end, axonal, sent_times, sent_columns, sent, waiting, waiting_columns
):  # fmt: skip
    """Write what arrives from ``begin`` to ``end`` in the order of time; return how much."""
    n = 0
    for f in range(len(sent)):
        for m in range(sent[f, 0], sent[f, 1]):
            c = sent_columns[m]
            at = sent_times[m] + axonal[c]
            if begin <= at < end:
                waiting[n] = at
                waiting_columns[n] = c
                n += 1
    gap = 1
    for m in range(1, n):
        if waiting[m] < waiting[m - 1]:
            gap = first_gap(n)
            break
    while gap > 0:
        for m in range(gap, n):
            at, c, q = waiting[m], waiting_columns[m], m
            while q >= gap and waiting[q - gap] > at:
                waiting[q], waiting_columns[q] = waiting[q - gap], waiting_columns[q - gap]
                q -= gap
            waiting[q], waiting_columns[q] = at, c
        gap //= 3
    return n


@kernel
def _sort_columns(sent_times, sent_columns, sent, waiting, column_starts):
    """Put the spikes of a recording column by column, each in the order of time."""
    n_columns = len(column_starts) - 1
    column_starts[:] = 0
    for f in range(len(sent)):
        for m in range(sent[f, 0], sent[f, 1]):
            column_starts[sent_columns[m] + 1] += 1
    for c in range(n_columns):
        column_starts[c + 1] += column_starts[c]
    for f in range(len(sent)):
        for m in range(sent[f, 0], sent[f, 1]):
            c = sent_columns[m]
            waiting[column_starts[c]] = sent_times[m]
            column_starts[c] += 1
    for c in range(n_columns, 0, -1):  # each has moved to the start of the next
        column_starts[c] = column_starts[c - 1]
    column_starts[0] = 0


@kernel
def _await(begin, axonal, late, waiting, column_starts, cursor, coming):
    """Find the first arrival of every column in every row that is not before ``begin``."""
    for row in range(len(cursor)):
        for c in range(len(axonal)):
            q, more = column_starts[c], late[row, c]
            while q < column_starts[c + 1] and waiting[q] + axonal[c] + more < begin:
                q += 1
            cursor[row, c] = q
            coming[row, c] = inf
            if q < column_starts[c + 1]:
                coming[row, c] = waiting[q] + axonal[c] + more


@inlined
def _carry(t, row, tau_mem, tau_syn, since, x, y, z):
    """Carry the traces of a row to ``t``."""
    if t > since[row]:
        keep_v, i_to_v, keep_i = responses(t - since[row], tau_mem, tau_syn)
        for i in range(len(x)):
            y[i] = keep_v * y[i] + i_to_v * x[i]
            x[i] *= keep_i
            z[i] *= keep_v
        since[row] = t


@inlined
def _arrive(s, i, tau_mem, tau_syn, x, y, z):
    """Add to the traces what a spike of ``i`` has become, ``s`` seconds after its arrival."""
    keep_v, i_to_v, keep_i = responses(s, tau_mem, tau_syn)
    x[i] += keep_i
    y[i] += i_to_v
    z[i] += keep_v


@kernel
def _bring_up(
    row, t, tau, since, traces, pre_of, axonal, late, growth, block,
    waiting, waiting_columns, n_arrivals, risen, column_starts, cursor, coming,
):  # fmt: skip
    """Carry the traces of a row to ``t`` and add what arrives before."""
    tau_mem, tau_syn = tau[TAU_MEM], tau[TAU_SYN]
    x, y, z = traces[X], traces[Y], traces[Z]
    _carry(t, row, tau_mem, tau_syn, since, x, y, z)
    if len(late) > 0:
        _arrive_apart(
            row, t, tau_mem, tau_syn, x, y, z, pre_of, axonal, late, growth, block, waiting, risen,
            column_starts, cursor, coming,
        )  # fmt: skip
        return
    q = cursor[row, 0]
    while q < n_arrivals and waiting[q] < t:
        i = pre_of[waiting_columns[q]]
        _arrive(t - waiting[q], i, tau_mem, tau_syn, x, y, z)
        q += 1
    cursor[row, 0] = q


@kernel
def _rise(axonal, tau, block, waiting, column_starts, risen):
    """Write e^(s/tau) for every spike, s after the beginning of its block of time."""
    for c in range(len(axonal)):
        for q in range(column_starts[c], column_starts[c + 1]):
            s = waiting[q] + axonal[c] - int(waiting[q] / block) * block
            risen[0, q] = exp(s / tau[TAU_MEM])
            risen[1, q] = exp(s / tau[TAU_SYN])


@kernel
def _arrive_apart(
    row, t, tau_mem, tau_syn, x, y, z, pre_of, axonal, late, growth, block, waiting, risen,
    column_starts, cursor, coming,
):  # fmt: skip
    """Add what arrives before ``t`` where every synapse has arrivals of its own.

    An arrival costs two exponentials of the time since then, e^(-(t - sent - delay)/tau). Where
    ``growth`` = e^(delay/tau) is known, they are products of it, of a factor of the spike, and of
    one of the block of time in which it was sent.
    """
    alike = tau_mem == tau_syn
    gain = 0.0 if alike else tau_syn / (tau_mem - tau_syn)
    known, left_v, left_i = -1, 0.0, 0.0
    for c in range(len(axonal)):
        at = coming[row, c]
        if at >= t:
            continue
        q, more, i = cursor[row, c], late[row, c], pre_of[c]
        while at < t:
            if len(growth) == 0:
                _arrive(t - at, i, tau_mem, tau_syn, x, y, z)
            else:
                when = int(waiting[q] / block)
                if when != known:
                    known = when
                    left_v = exp(-(t - when * block) / tau_mem)
                    left_i = exp(-(t - when * block) / tau_syn)
                keep_v = left_v * risen[0, q] * growth[0, row, c]
                keep_i = left_i * risen[1, q] * growth[1, row, c]
                x[i] += keep_i
                y[i] += (t - at) / tau_syn * keep_i if alike else gain * (keep_v - keep_i)
                z[i] += keep_v
            q += 1
            at = waiting[q] + axonal[c] + more if q < column_starts[c + 1] else inf
        cursor[row, c] = q
        coming[row, c] = at


@kernel
def _list_events(times, units, records, freed, cells, end, since, held, events, marks, current):
    """Write the spikes of a recording and releases before ``end`` in the order of time.

    ``held`` units wait until ``since``, as the engine has it: their refractory period may have
    moved meanwhile. The current at a release stands with the unit's next spike, or is the last
    one of all, ``freed``.
    """
    n = len(times)
    for m in range(n):
        events[AT, m] = times[m]
        marks[KIND, m], marks[UNIT, m], marks[WHICH, m] = SPIKE, units[m], m
    resting = True
    for j in range(len(held)):
        current[j] = freed[j]
        resting = resting and cells[REFRACTORY, j] == 0.0 and not held[j]
    if resting:
        return n
    listed = n
    for m in range(n - 1, -1, -1):
        j = units[m]
        if cells[REFRACTORY, j] > 0.0:
            at = times[m] + cells[REFRACTORY, j]
            listed = _list_release(at, j, current[j], end, m, listed, events, marks)
        current[j] = records[BEFORE, m]
    for j in range(len(held)):
        if held[j]:
            listed = _list_release(since[j], j, current[j], end, -1, listed, events, marks)
    in_order(events, marks, listed)
    return listed


@inlined
def _list_release(at, j, current, end, m, n, events, marks):
    """Write the release of unit ``j`` if it is before ``end``; return how many events there are."""
    if at < end:
        events[AT, n], events[VALUE, n] = at, current
        marks[KIND, n], marks[UNIT, n], marks[WHICH, n] = RELEASE, j, m
        n += 1
    return n


@kernel
def _fire_cuba(gain, slope, span, cells, tau, traces, own, own_cells, d_weight, d_delay, d_cells):
    """Add what a spike's time gains, and reset: dt/dp = -S/slope, of which ``gain`` is dL."""
    keep = exp(-span / tau[TAU_MEM])
    y, z = traces[Y], traces[Z]
    if cells[REFRACTORY] > 0.0:  # what is kept meanwhile is S/slope
        after, from_traces = 1.0 / slope, 0.0
    else:
        after = 1.0 + (cells[THRESHOLD] - cells[RESET]) / (tau[TAU_MEM] * slope)
        from_traces = 1.0
    c, d = own[OF_WEIGHT], d_weight
    for i in range(len(c)):
        s = y[i] + keep * c[i]
        d[i] += gain * s
        c[i] = after * s - from_traces * y[i]
    if len(d_delay) > 0:
        c, d = own[OF_DELAY], d_delay
        by_mem, by_syn = 1.0 / tau[TAU_MEM], 1.0 / tau[TAU_SYN]
        for i in range(len(c)):
            moved = by_syn * y[i] - by_mem * z[i]
            s = moved + keep * c[i]
            d[i] += gain * s
            c[i] = after * s - from_traces * moved
    for which, direct in ((THRESHOLD, -1.0), (RESET, 0.0), (REFRACTORY, 0.0)):
        s = keep * own_cells[which - THRESHOLD] + direct
        d_cells[which] += gain * s
        own_cells[which - THRESHOLD] = after * s
    if cells[REFRACTORY] == 0.0:
        own_cells[RESET - THRESHOLD] += 1.0


@kernel
def _release(rise, tau, traces, own, own_cells):
    """Let a unit go, whose voltage then rises by ``rise`` per second: S = V' S/slope."""
    y, z = traces[Y], traces[Z]
    c = own[OF_WEIGHT]
    for i in range(len(c)):
        c[i] = rise * c[i] - y[i]
    if len(own) > OF_DELAY:
        c = own[OF_DELAY]
        by_mem, by_syn = 1.0 / tau[TAU_MEM], 1.0 / tau[TAU_SYN]
        for i in range(len(c)):
            c[i] = rise * c[i] - (by_syn * y[i] - by_mem * z[i])
    own_cells[0] *= rise
    own_cells[RESET - THRESHOLD] = rise * own_cells[RESET - THRESHOLD] + 1.0
    own_cells[REFRACTORY - THRESHOLD] = rise * (own_cells[REFRACTORY - THRESHOLD] - 1.0)


@kernel
def _fire_srm(
    gain, slope, span, scale, threshold, tau_r, tau, traces, own, own_cells,
    d_weight, d_delay, d_cells,
):  # fmt: skip
    """As `_fire_cuba` for `SRM`: the refractory kernel moves with the spike."""
    keep_r, k_to_r, _ = responses(span, tau_r, tau_r)
    kick = 2.0 * E * threshold / (tau_r * slope)
    y, z = traces[Y], traces[Z]
    n_kinds = len(own) // 2
    r, k, d = own[OF_WEIGHT], own[n_kinds + OF_WEIGHT], d_weight
    for i in range(len(r)):
        s = scale * y[i] + keep_r * r[i] + k_to_r * k[i]
        d[i] += gain * s
        r[i] = keep_r * r[i] + k_to_r * k[i] - kick * s
        k[i] = keep_r * k[i] + kick * s
    if len(d_delay) > 0:
        r, k, d = own[OF_DELAY], own[n_kinds + OF_DELAY], d_delay
        by_syn = scale / tau[TAU_SYN]
        for i in range(len(r)):
            s = by_syn * (y[i] - z[i]) + keep_r * r[i] + k_to_r * k[i]
            d[i] += gain * s
            r[i] = keep_r * r[i] + k_to_r * k[i] - kick * s
            k[i] = keep_r * k[i] + kick * s
    s = keep_r * own_cells[0] + k_to_r * own_cells[1] - 1.0
    d_cells[THRESHOLD] += gain * s
    own_cells[0] = keep_r * own_cells[0] + k_to_r * own_cells[1] - kick * s
    own_cells[1] = keep_r * own_cells[1] + kick * s - 2.0 * E
