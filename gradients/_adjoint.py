"""The reverse pass of one population, recording by recording.

Time goes in windows no longer than the shortest time constant. Arrivals don't change the
costates of a unit; only its own spikes, its releases from the refractory period and kicks by
the loss do. So one sweep backwards through these events writes, for every window that
something arrives in, the costates of all units at its right edge, and how the events inside
change them. An arrival then reads its gradient off that table with two multiply-adds per
synapse, in any order. A spike of the population itself reads what its arrivals are worth at
the moment the sweep comes to it: they are later, so their part of the table is complete.
"""

from math import exp, inf

from evsim._compile import inlined, kernel
from evsim._flows import psp
from evsim._layout import BEFORE, LIF, SLOPE, SRM
from evsim._queue import first_gap
from evsim.gradients._adjoint_flows import (
    I_TO_NU_S,
    KEEP_I,
    KEEP_V,
    MU_I,
    MU_V,
    NU_I,
    NU_S,
    NU_V,
    V_TO_I,
    V_TO_NU_I,
    V_TO_NU_S,
    V_TO_NU_V,
    carry,
    recall,
    spread,
)

# Rows of cells and of their gradients, a column per unit; voltages are measured from v_leak.
TAU_MEM, TAU_SYN, TAU_R, THRESHOLD, RESET, REFRACTORY = range(6)
# Kinds of events.
RELEASE, KICK, SPIKE = range(3)
# Rows of events (floats) and of marks (integers).
AT, VALUE, SLANT = range(3)
KIND, UNIT, WHICH = range(3)
# Rows of stats.
SMALLEST_SLOPE, N_BOUNDED = 0, 1
E = 2.718281828459045


@kernel
def adjoint(
    flow, uniform, cells, width, duration, bound,
    in_weight, in_axonal, in_delay, own_weight, own_axonal, own_delay,
    in_times, in_units, in_offsets, times, units, records, offsets, freed, g_times,
    kick_times, kick_units, kick_values, kick_slants, kick_offsets, ends, drives, rates,
    table, slots, borders, state, inner, events, marks, changes, held, terms, steps,
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
            times[spikes], records[:, spikes], g_times[spikes], n_events, ends[b],
            table, slots, borders, state, inner, events, marks, changes, held, terms, steps,
            d_own_axonal, d_own_weight, d_own_delay, d_cells, stats,
        )  # fmt: skip
        for m in range(in_offsets[b], in_offsets[b + 1]):
            i = in_units[m]
            d_in_times[m] = _arrive(
                i, in_times[m] + in_axonal[i], flow, uniform, cells, width, duration,
                in_weight, in_delay, table, slots, borders, events, marks, changes, terms,
                d_in_weight, d_in_delay, d_cells,
            )  # fmt: skip
            if len(drives) > 0:
                d_in_times[m] += _drive(
                    i, in_times[m] + in_axonal[i], duration, in_weight, in_delay, drives[b], rates,
                    d_in_weight, d_in_delay,
                )  # fmt: skip
    return last, 0


@kernel
def _drive(i, start, duration, weight, delay, drive, rates, d_weight, d_delay):
    """Add the part of a voltage integral that is drive e^(-rate t) for an arrival at t."""
    total = 0.0
    for j in range(weight.shape[1]):
        at = start + delay[i, j] if len(delay) > 0 else start
        if at < duration:
            value = drive[j] * exp(-rates[j] * at)
            d_weight[i, j] += value
            worth = -weight[i, j] * rates[j] * value
            total += worth
            if len(delay) > 0:
                d_delay[i, j] += worth
    return total


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
    _in_order(events, marks, n)
    return n


@kernel
def _in_order(events, marks, n):
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
    flow, uniform, cells, width, duration, bound, own_weight, own_axonal, own_delay,
    times, records, g_times, n_events, ends,
    table, slots, borders, state, inner, events, marks, changes, held, terms, steps,
    d_own_axonal, d_own_weight, d_own_delay, d_cells, stats,
):  # fmt: skip
    """Go through the events backwards and write the table."""
    n_rows, n_units = state.shape
    full = n_rows > NU_S
    state[:] = 0.0
    for j in range(n_units):
        _look(len(slots) * width - duration, cells[TAU_MEM, j], cells[TAU_SYN, j], full, terms)
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
            _carry_all(state, cells, uniform, (reference - w) * width, steps)
            reference = w
        if slots[w] >= 0:
            for row in range(n_rows):
                for j in range(n_units):
                    table[slots[w], row, j] = state[row, j]
            borders[0, slots[w]] = borders[1, slots[w]] = m
        while m >= 0 and int(events[AT, m] / width) >= w:
            j = marks[UNIT, m]
            late = (w + 1) * width - events[AT, m]
            _look(late, cells[TAU_MEM, j], cells[TAU_SYN, j], full, terms)
            worth = 0.0
            if marks[KIND, m] == SPIKE and len(own_weight) > 0:
                # With this spike not yet undone, its arrivals find the table as it is.
                worth = _arrive(
                    j, events[AT, m] + own_axonal[j], flow, uniform, cells, width, duration,
                    own_weight, own_delay, table, slots, borders, events, marks, changes, steps,
                    d_own_weight, d_own_delay, d_cells,
                )  # fmt: skip
                d_own_axonal[j] += worth
            _undo(
                m, j, worth, flow, cells, bound, records, g_times, events, marks,
                state, inner, changes, held, terms, steps, d_cells, stats,
            )  # fmt: skip
            for row in range(n_rows):
                state[row, j] += changes[m, row]
            m -= 1
            if slots[w] >= 0:
                borders[1, slots[w]] = m


@kernel
def _carry_all(state, cells, uniform, span, terms):
    """Carry the costates of all units back over ``span``."""
    longest = inf
    for j in range(state.shape[1]):
        longest = min(longest, 500.0 * min(cells[TAU_MEM, j], cells[TAU_SYN, j]))
    while span > 0.0:
        step = min(span, longest)
        span -= step
        for j in range(state.shape[1]):
            if j == 0 or not uniform:
                _look(step, cells[TAU_MEM, j], cells[TAU_SYN, j], len(state) > NU_S, terms)
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


@kernel
def _arrive(
    i, start, flow, uniform, cells, width, duration, weight, delay,
    table, slots, borders, events, marks, changes, terms, d_weight, d_delay, d_cells,
):  # fmt: skip
    """Read the gradients of one spike of pre unit ``i`` off the table; return that of its time."""
    if len(delay) > 0:
        return _arrive_each(
            start, flow, cells, width, duration, weight[i], delay[i], table, slots, borders,
            events, marks, changes, terms, d_weight[i], d_delay[i], d_cells,
        )  # fmt: skip
    if start >= duration:
        return 0.0
    w = int(start / width)
    slot = slots[w]
    costates = table[slot]
    full = len(costates) > NU_S
    worth = 0.0
    if uniform:
        _look((w + 1) * width - start, cells[TAU_MEM, 0], cells[TAU_SYN, 0], full, terms)
        worth = _read_row(flow, cells, weight[i], costates, terms, d_weight[i], d_cells)
    else:
        for j in range(len(weight[i])):
            _look((w + 1) * width - start, cells[TAU_MEM, j], cells[TAU_SYN, j], full, terms)
            worth += _read(
                flow, j, cells, weight[i, j], costates[:, j], terms, d_weight[i], d_cells
            )
    for m in range(borders[0, slot], borders[1, slot], -1):
        if events[AT, m] < start:
            break
        j = marks[UNIT, m]
        if events[AT, m] == start:
            # A maximum that stands on an arrival moves with it.
            if weight[i, j] != 0.0:
                worth += events[VALUE, m] * events[SLANT, m]
                events[SLANT, m] = 0.0  # but once, if others arrive at the same instant
            if flow != LIF:  # whose maximum is the arrival's own doing
                continue
        if not uniform:
            _look((w + 1) * width - start, cells[TAU_MEM, j], cells[TAU_SYN, j], full, terms)
        worth += _read(flow, j, cells, weight[i, j], changes[m], terms, d_weight[i], d_cells)
    return worth


@kernel
def _arrive_each(
    start, flow, cells, width, duration, weight, delay, table, slots, borders,
    events, marks, changes, terms, d_weight, d_delay, d_cells,
):  # fmt: skip
    """As `_arrive`, for synapses that have a delay of their own."""
    total = 0.0
    full = table.shape[1] > NU_S
    for j in range(len(weight)):
        at = start + delay[j]
        if at >= duration:
            continue
        w = int(at / width)
        slot = slots[w]
        _look((w + 1) * width - at, cells[TAU_MEM, j], cells[TAU_SYN, j], full, terms)
        worth = _read(flow, j, cells, weight[j], table[slot, :, j], terms, d_weight, d_cells)
        for m in range(borders[0, slot], borders[1, slot], -1):
            if events[AT, m] < at:
                break
            if marks[UNIT, m] != j:
                continue
            if events[AT, m] == at:
                if weight[j] != 0.0:
                    worth += events[VALUE, m] * events[SLANT, m]
                    events[SLANT, m] = 0.0
                if flow != LIF:
                    continue
            worth += _read(flow, j, cells, weight[j], changes[m], terms, d_weight, d_cells)
        d_delay[j] += worth
        total += worth
    return total


@inlined
def _look(s, tau_mem, tau_syn, full, terms):
    """Write what becomes of the costates over ``s``; those of the time constants if ``full``."""
    if full:
        spread(s, tau_mem, tau_syn, terms)
    else:
        terms[KEEP_V] = exp(-s / tau_mem)
        terms[KEEP_I] = exp(-s / tau_syn)
        terms[V_TO_I] = psp(s, tau_mem, tau_syn)


@inlined
def _read(flow, j, cells, weight, mu, terms, d_weight, d_cells):
    """Add what the costates ``mu`` of unit ``j`` say about one arrival; return dL/dtime."""
    mu_v = terms[KEEP_V] * mu[MU_V]
    mu_i = terms[KEEP_I] * mu[MU_I] + terms[V_TO_I] * mu[MU_V]
    if len(mu) > NU_S:
        nu_v = terms[KEEP_V] * mu[NU_V] + terms[V_TO_NU_V] * mu[MU_V]
        nu_i = terms[KEEP_I] * mu[NU_I] + terms[V_TO_I] * mu[NU_V] + terms[V_TO_NU_I] * mu[MU_V]
        nu_s = terms[KEEP_I] * mu[NU_S] + terms[I_TO_NU_S] * mu[MU_I] + terms[V_TO_NU_S] * mu[MU_V]
        if flow == LIF:
            d_cells[TAU_MEM, j] += weight * nu_v
        else:
            d_cells[TAU_MEM, j] += weight * nu_i
            d_cells[TAU_SYN, j] += weight * nu_s
    if flow == LIF:
        d_weight[j] += mu_v
        return weight * mu_v / cells[TAU_MEM, j]
    d_weight[j] += mu_i
    return weight * (mu_i / cells[TAU_SYN, j] - mu_v / cells[TAU_MEM, j])


@kernel(fastmath={"contract", "reassoc", "nsz"})
def add_row(weight, mu_v, mu_i, a_v, a_i, d_weight):
    """Add a_v mu_v + a_i mu_i to ``d_weight``; return the products of the weights with both.

    The sums may be taken in any order, so that they fit vector registers; it is the same
    order every time.
    """
    from_v = from_i = 0.0
    for j in range(len(weight)):
        d_weight[j] += a_v * mu_v[j] + a_i * mu_i[j]
        from_v += weight[j] * mu_v[j]
        from_i += weight[j] * mu_i[j]
    return from_v, from_i


@inlined
def _read_row(flow, cells, weight, mu, terms, d_weight, d_cells):
    """As `_read` for all units at once, which have equal time constants."""
    tau_mem, tau_syn = cells[TAU_MEM, 0], cells[TAU_SYN, 0]
    keep_v, keep_i, v_to_i = terms[KEEP_V], terms[KEEP_I], terms[V_TO_I]
    if flow == LIF:
        keep_i, v_to_i = 0.0, keep_v
    from_v, from_i = add_row(weight, mu[MU_V], mu[MU_I], v_to_i, keep_i, d_weight)
    if len(mu) > NU_S:
        for j in range(len(weight)):
            nu_v = keep_v * mu[NU_V, j] + terms[V_TO_NU_V] * mu[MU_V, j]
            if flow == LIF:
                d_cells[TAU_MEM, j] += weight[j] * nu_v
                continue
            d_cells[TAU_MEM, j] += weight[j] * (
                keep_i * mu[NU_I, j] + v_to_i * mu[NU_V, j] + terms[V_TO_NU_I] * mu[MU_V, j]
            )
            d_cells[TAU_SYN, j] += weight[j] * (
                keep_i * mu[NU_S, j]
                + terms[I_TO_NU_S] * mu[MU_I, j]
                + terms[V_TO_NU_S] * mu[MU_V, j]
            )
    if flow == LIF:
        return keep_v * from_v / tau_mem
    return (keep_i * from_i + v_to_i * from_v) / tau_syn - keep_v * from_v / tau_mem
