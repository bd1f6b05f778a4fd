"""The reverse pass of one population, recording by recording.

Time goes in windows no longer than the shortest time constant. Arrivals don't change the
costates of a unit; only its own spikes, its releases from the refractory period and kicks by
the loss do. So one sweep backwards through these events writes, for every window that
something arrives in, the costates of all units at its right edge, and how the events inside
change them. An arrival then reads its gradient off that table with two multiply-adds per
synapse, in any order (`evsim.gradients._arrivals`). A spike of the population itself reads
what its arrivals are worth at the moment the sweep comes to it: they are later, so their part
of the table is complete.
"""

from math import inf

from evsim._compile import inlined, kernel
from evsim._layout import BEFORE, SLOPE, SRM
from evsim._queue import first_gap

from ._adjoint_flows import (
    KEEP_V,
    MU_I,
    MU_V,
    NU_I,
    NU_S,
    NU_V,
    V_TO_NU_V,
    carry,
    recall,
    spread,
)
from ._arrivals import (
    AT,
    KICK,
    KIND,
    LATER,
    REFRACTORY,
    RELEASE,
    RESET,
    SLANT,
    SPIKE,
    TAU_MEM,
    TAU_R,
    TAU_SYN,
    THRESHOLD,
    UNIT,
    VALUE,
    WHICH,
    arrive,
    drive_on,
    look,
)

# Rows of stats.
SMALLEST_SLOPE, N_BOUNDED = 0, 1
E = 2.718281828459045


@kernel
def adjoint(
    flow, uniform, cells, width, duration, bound,
    in_weight, in_axonal, in_delay, in_growth, own_weight, own_axonal, own_delay, own_growth,
    in_times, in_units, in_offsets, times, units, records, offsets, freed, g_times,
    kick_times, kick_units, kick_values, kick_slants, kick_offsets, ends, drives, rates,
    table, slots, borders, heads, state, inner, events, marks, changes, held, terms, steps, edges,
    d_in_times, d_in_weight, d_in_delay, d_own_axonal, d_own_weight, d_own_delay, d_cells, stats,
    first, last,
):  # fmt: skip
    """Add the gradients of recordings ``first`` to ``last`` to those given.

    Returns the number of slots of the table that a recording needs, if it is more than
    there are, and 0 when all is done; nothing was added for that recording and later ones.
    """
    for b in range(first, last):
        spikes = slice(offsets[b], offsets[b + 1])
        into = slice(in_offsets[b], in_offsets[b + 1])
        n_slots = mark_windows(
            in_times[into], in_units[into], in_axonal, in_delay, times[spikes], units[spikes],
            own_weight, own_axonal, own_delay, width, duration, slots,
        )  # fmt: skip
        if n_slots > len(table):
            return b, n_slots
        kicks = slice(kick_offsets[b], kick_offsets[b + 1])
        n_events = _list_events(
            times[spikes], units[spikes], records[:, spikes], freed, b, cells, duration,
            kick_times[kicks], kick_units[kicks], kick_values[kicks], kick_slants[kicks],
            events, marks, held,
        )  # fmt: skip
        _sweep(
            flow, uniform, cells, width, duration, bound, own_weight, own_axonal, own_delay,
            own_growth, times[spikes], records[:, spikes], g_times[spikes], n_events, ends[b],
            table, slots, borders, heads, state, inner, events, marks, changes, held, terms,
            steps, edges, d_own_axonal, d_own_weight, d_own_delay, d_cells, stats,
        )  # fmt: skip
        for m in range(in_offsets[b], in_offsets[b + 1]):
            i = in_units[m]
            d_in_times[m] = arrive(
                i, in_times[m] + in_axonal[i], flow, uniform, cells, width, duration,
                in_weight, in_delay, in_growth, table, slots, borders, heads, events, marks,
                changes, terms, edges, d_in_weight, d_in_delay, d_cells,
            )  # fmt: skip
            if len(drives) > 0:
                d_in_times[m] += drive_on(
                    i, in_times[m] + in_axonal[i], duration, in_weight, in_delay, drives[b], rates,
                    d_in_weight, d_in_delay,
                )  # fmt: skip
    return last, 0


@kernel
def mark_windows(
    in_times, in_units, in_axonal, in_delay, times, units, own_weight, own_axonal, own_delay,
    width, duration, slots,
):  # fmt: skip
    """Give windows that something arrives in a number, the latest first; return how many."""
    slots[:] = -1
    _mark(in_times, in_units, in_axonal, in_delay, width, duration, slots)
    if len(own_weight) > 0:
        _mark(times, units, own_axonal, own_delay, width, duration, slots)
    n = 0
    for w in range(len(slots) - 1, -1, -1):
        if slots[w] == 0:
            slots[w] = n
            n += 1
    return n


@kernel
def _mark(times, units, axonal, delay, width, duration, slots):
    for m in range(len(times)):
        low = high = times[m] + axonal[units[m]]
        if len(delay) > 0:
            start = low
            low, high = inf, start
            for j in range(delay.shape[1]):
                low = min(low, start + delay[units[m], j])
                high = max(high, start + delay[units[m], j])
        if low < duration:
            for w in range(int(low / width), min(int(high / width), len(slots) - 1) + 1):
                slots[w] = 0


@kernel
def _list_events(
    times, units, records, freed, b, cells, duration,
    kick_times, kick_units, kick_values, kick_slants, events, marks, held,
):  # fmt: skip
    """Write spikes, releases and kicks of a recording in the order of time."""
    n = 0
    for m in range(len(kick_times)):
        events[AT, n], events[VALUE, n], events[SLANT, n] = (
            kick_times[m], kick_values[m], kick_slants[m],
        )  # fmt: skip
        marks[KIND, n], marks[UNIT, n], marks[WHICH, n] = KICK, kick_units[m], m
        n += 1
    for m in range(len(times)):
        events[AT, n], events[VALUE, n], events[SLANT, n] = times[m], 0.0, 0.0
        marks[KIND, n], marks[UNIT, n], marks[WHICH, n] = SPIKE, units[m], m
        n += 1
    if len(times) > 0:
        for j in range(len(held)):
            held[j] = freed[b, j]
    for m in range(len(times) - 1, -1, -1):
        j = units[m]
        release = times[m] + cells[REFRACTORY, j]
        if cells[REFRACTORY, j] > 0.0 and release < duration:
            # The current at this release is kept with the unit's next spike.
            events[AT, n], events[VALUE, n], events[SLANT, n] = release, held[j], 0.0
            marks[KIND, n], marks[UNIT, n], marks[WHICH, n] = RELEASE, j, m
            n += 1
        held[j] = records[BEFORE, m]
    in_order(events, marks, n)
    return n


@kernel
def in_order(events, marks, n):
    """Sort events by time; what is listed later comes later, but releases before spikes."""
    gap = first_gap(n)
    while gap > 0:
        for m in range(gap, n):
            time, value, slant = events[0, m], events[1, m], events[2, m]
            kind, unit, which = marks[0, m], marks[1, m], marks[2, m]
            at = m
            while at >= gap and _is_later(
                events[AT, at - gap], marks[KIND, at - gap], marks[WHICH, at - gap],
                time, kind, which,
            ):  # fmt: skip
                for row in range(3):
                    events[row, at] = events[row, at - gap]
                    marks[row, at] = marks[row, at - gap]
                at -= gap
            events[0, at], events[1, at], events[2, at] = time, value, slant
            marks[0, at], marks[1, at], marks[2, at] = kind, unit, which
        gap //= 3


@inlined
def _is_later(time, kind, which, than, kind_than, which_than):
    if time != than:
        return time > than
    if kind != kind_than:
        return kind > kind_than
    return which > which_than


@kernel
def _sweep(
    flow, uniform, cells, width, duration, bound, own_weight, own_axonal, own_delay, own_growth,
    times, records, g_times, n_events, ends,
    table, slots, borders, heads, state, inner, events, marks, changes, held, terms, steps, edges,
    d_own_axonal, d_own_weight, d_own_delay, d_cells, stats,
):  # fmt: skip
    """Go through the events backwards and write the table."""
    n_rows, n_units = state.shape
    full = n_rows > NU_S
    state[:] = 0.0
    if uniform:
        look(len(slots) * width - duration, cells[TAU_MEM, 0], cells[TAU_SYN, 0], full, terms)
    for j in range(n_units):
        if not uniform:
            look(len(slots) * width - duration, cells[TAU_MEM, j], cells[TAU_SYN, j], full, terms)
        recall(ends[0, j], ends[1, j], 0.0, terms, state[:, j])
    inner[:] = 0.0
    held[:] = 0.0
    m = n_events - 1
    reference = len(slots) - 1  # the costates hold at the right edge of this window
    for w in range(len(slots) - 1, -1, -1):
        busy = m >= 0 and int(events[AT, m] / width) >= w
        if slots[w] < 0 and not busy:
            continue
        if reference > w:
            _carry_all(state, cells, uniform, (reference - w) * width, width, steps)
            reference = w
        if slots[w] >= 0:
            for row in range(n_rows):
                for j in range(n_units):
                    table[slots[w], row, j] = state[row, j]
            heads[slots[w]] = -1
            borders[0, slots[w]] = borders[1, slots[w]] = m
        while m >= 0 and int(events[AT, m] / width) >= w:
            j = marks[UNIT, m]
            late = (w + 1) * width - events[AT, m]
            look(late, cells[TAU_MEM, j], cells[TAU_SYN, j], full, terms)
            worth = 0.0
            if marks[KIND, m] == SPIKE and len(own_weight) > 0:
                # With this spike not yet undone, its arrivals find the table as it is.
                worth = arrive(
                    j, events[AT, m] + own_axonal[j], flow, uniform, cells, width, duration,
                    own_weight, own_delay, own_growth, table, slots, borders, heads, events, marks,
                    changes, steps, edges, d_own_weight, d_own_delay, d_cells,
                )  # fmt: skip
                d_own_axonal[j] += worth
            _undo(
                m, j, worth, flow, cells, bound, records, g_times, events, marks,
                state, inner, changes, held, terms, steps, d_cells, stats,
            )  # fmt: skip
            for row in range(n_rows):
                state[row, j] += changes[m, row]
            if slots[w] >= 0:
                marks[LATER, m] = heads[slots[w], j]
                heads[slots[w], j] = m
                borders[1, slots[w]] = m - 1
            m -= 1


@kernel
def _carry_all(state, cells, uniform, span, width, terms):
    """Carry the costates of all units back over ``span``."""
    while span > 0.0:
        step = min(span, 500.0 * width)  # exponentials don't vanish over that
        span -= step
        if uniform:
            look(step, cells[TAU_MEM, 0], cells[TAU_SYN, 0], len(state) > NU_S, terms)
        for j in range(state.shape[1]):  # one sweep in vector registers if all are alike
            if not uniform:
                look(step, cells[TAU_MEM, j], cells[TAU_SYN, j], len(state) > NU_S, terms)
            carry(state[:, j], terms)


@kernel
def _undo(
    m, j, worth, flow, cells, bound, records, g_times, events, marks,
    state, inner, changes, held, terms, steps, d_cells, stats,
):  # fmt: skip
    """Take unit ``j`` back through event ``m``: how its costates change, and gradients."""
    mu_v = terms[KEEP_V] * state[MU_V, j]
    nu_v = 0.0
    if len(state) > NU_V:
        nu_v = terms[KEEP_V] * state[NU_V, j] + terms[V_TO_NU_V] * state[MU_V, j]
    kind, which = marks[KIND, m], marks[WHICH, m]
    if kind == KICK:
        recall(events[VALUE, m], 0.0, 0.0, terms, changes[m])
        return
    reset, tau_mem = cells[RESET, j], cells[TAU_MEM, j]
    if kind == RELEASE:
        held[j] = mu_v * (events[VALUE, m] - reset) / tau_mem
        d_cells[RESET, j] += mu_v
        d_cells[TAU_MEM, j] += reset * nu_v
        d_cells[REFRACTORY, j] -= held[j]
        recall(-mu_v, 0.0, -nu_v, terms, changes[m])
        return
    slope = records[SLOPE, which]
    stats[SMALLEST_SLOPE, j] = min(stats[SMALLEST_SLOPE, j], slope)
    worth += g_times[which]
    if flow == SRM:
        before = _undo_srm(
            j, events[AT, m], worth, slope, bound, cells, inner, steps, d_cells, stats
        )
        recall(before, 0.0, 0.0, terms, changes[m])
        return
    if cells[REFRACTORY, j] == 0.0:
        held[j] = mu_v * (slope + (cells[THRESHOLD, j] - reset) / tau_mem)
        d_cells[RESET, j] += mu_v
        d_cells[TAU_MEM, j] += reset * nu_v
    before = _bounded(-(worth - held[j]) / slope, bound, stats, j)
    held[j] = 0.0
    d_cells[THRESHOLD, j] -= before
    recall(before - mu_v, 0.0, -nu_v, terms, changes[m])


@kernel
def _undo_srm(j, at, worth, slope, bound, cells, inner, terms, d_cells, stats):
    """Return the kick of a spike of an `SRM` unit: no reset, but -2 e threshold in its kernel.

    ``inner`` holds the costates of the refractory kernel, and the time they belong to.
    """
    tau_r = cells[TAU_R, j]
    mu = inner[:-1, j]
    if inner[-1, j] > at:
        spread(inner[-1, j] - at, tau_r, tau_r, terms)
        carry(mu, terms)
    inner[-1, j] = at
    kick = -2.0 * E * cells[THRESHOLD, j]
    worth -= kick * (mu[MU_V] - mu[MU_I]) / tau_r
    before = _bounded(-worth / slope, bound, stats, j)
    d_cells[THRESHOLD, j] -= before + 2.0 * E * mu[MU_I]
    if len(mu) > NU_S:
        d_cells[TAU_R, j] += kick * (mu[NU_I] + mu[NU_S])
    mu[MU_V] += before
    return before


@inlined
def _bounded(value, bound, stats, j):
    if abs(value) > bound:
        stats[N_BOUNDED, j] += 1.0
        return bound if value > 0.0 else -bound
    return value
