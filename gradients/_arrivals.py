"""What an arrival reads off the table that the sweep has written: gradients, synapse by synapse.

The costates of a unit at the time of the arrival are those at the right edge of its window,
with the changes by later events of the window, carried back to it. `arrive` does it for a
spike that reaches all units at once, `_arrive_each` for synapses that have delays of their
own, `_arrive_alike` for those if all units have the same time constants: then exponentials of
the delays, which don't change from spike to spike, take the place of those of the times.
"""

from math import exp

from evsim._compile import inlined, kernel
from evsim._flows import responses
from evsim._layout import LIF

from ._adjoint_flows import (
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
    spread,
)

# Rows of cells and of their gradients, a column per unit; voltages are measured from v_leak.
TAU_MEM, TAU_SYN, TAU_R, THRESHOLD, RESET, REFRACTORY = range(6)
# Kinds of events.
RELEASE, KICK, SPIKE = range(3)
# Rows of events (floats) and of marks (integers).
AT, VALUE, SLANT = range(3)
KIND, UNIT, WHICH, LATER = range(4)  # LATER: the unit's next event in the window, or -1


@kernel
def arrive(
    i, start, flow, uniform, cells, width, duration, weight, delay, growth,
    table, slots, borders, heads, events, marks, changes, terms, edges,
    d_weight, d_delay, d_cells,
):  # fmt: skip
    """Read the gradients of one spike of pre unit ``i`` off the table; return that of its time."""
    if len(growth) > 0:
        return _arrive_alike(
            start, cells[TAU_MEM, 0], cells[TAU_SYN, 0], width, duration, weight[i], delay[i],
            growth[0, i], growth[1, i], table, slots, heads, events, marks, changes, edges,
            d_weight[i], d_delay[i],
        )  # fmt: skip
    if len(delay) > 0:
        return _arrive_each(
            start, flow, cells, width, duration, weight[i], delay[i], table, slots, heads,
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
        look((w + 1) * width - start, cells[TAU_MEM, 0], cells[TAU_SYN, 0], full, terms)
        worth = _read_row(flow, cells, weight[i], costates, terms, d_weight[i], d_cells)
    else:
        for j in range(len(weight[i])):
            look((w + 1) * width - start, cells[TAU_MEM, j], cells[TAU_SYN, j], full, terms)
            worth += _read(
                flow, j, cells, weight[i, j], costates[:, j], terms, d_weight[i], d_cells
            )
    for m in range(borders[0, slot], borders[1, slot], -1):
        if events[AT, m] < start:
            break
        j = marks[UNIT, m]
        if events[AT, m] == start:
            worth += _move(m, weight[i, j], events)
            if flow != LIF:  # whose maximum is the arrival's own doing
                continue
        if not uniform:
            look((w + 1) * width - start, cells[TAU_MEM, j], cells[TAU_SYN, j], full, terms)
        worth += _read(flow, j, cells, weight[i, j], changes[m], terms, d_weight[i], d_cells)
    return worth


@kernel
def _arrive_each(
    start, flow, cells, width, duration, weight, delay, table, slots, heads,
    events, marks, changes, terms, d_weight, d_delay, d_cells,
):  # fmt: skip
    """As `arrive`, for synapses that have a delay of their own."""
    total = 0.0
    full = table.shape[1] > NU_S
    for j in range(len(weight)):
        at = start + delay[j]
        if at >= duration:
            continue
        w = int(at / width)
        slot = slots[w]
        look((w + 1) * width - at, cells[TAU_MEM, j], cells[TAU_SYN, j], full, terms)
        worth = _read(flow, j, cells, weight[j], table[slot, :, j], terms, d_weight, d_cells)
        m = heads[slot, j]
        while m >= 0 and events[AT, m] <= at:
            if events[AT, m] == at:
                worth += _move(m, weight[j], events)
                if flow == LIF:
                    break
            m = marks[LATER, m]
        while m >= 0:
            worth += _read(flow, j, cells, weight[j], changes[m], terms, d_weight, d_cells)
            m = marks[LATER, m]
        d_delay[j] += worth
        total += worth
    return total


@kernel
def _arrive_alike(
    start, tau_mem, tau_syn, width, duration, weight, delay, growth_v, growth_i,
    table, slots, heads, events, marks, changes, edges, d_weight, d_delay,
):  # fmt: skip
    """As `_arrive_each`, for units that have the same time constants.

    With s = edge - start - delay, e^(-s/tau) is the product of one factor per window and
    ``growth`` = e^(delay/tau) of the synapse.
    """
    first = int(start / width)
    n_edges = 0
    total = 0.0
    alike = tau_mem == tau_syn
    gain = 0.0 if alike else tau_syn / (tau_mem - tau_syn)
    for j in range(len(weight)):
        at = start + delay[j]
        if at >= duration:
            continue
        w = int(at / width)
        while n_edges <= w - first:
            late = (first + n_edges + 1) * width - start
            edges[0, n_edges] = exp(-late / tau_mem)
            edges[1, n_edges] = exp(-late / tau_syn)
            n_edges += 1
        keep_v = edges[0, w - first] * growth_v[j]
        keep_i = edges[1, w - first] * growth_i[j]
        if alike:
            v_to_i = ((w + 1) * width - at) / tau_syn * keep_i
        else:
            v_to_i = gain * (keep_v - keep_i)
        slot = slots[w]
        mu_v, mu_i = table[slot, MU_V, j], table[slot, MU_I, j]
        worth = 0.0
        m = heads[slot, j]
        while m >= 0:
            if events[AT, m] > at:
                mu_v += changes[m, MU_V]
                mu_i += changes[m, MU_I]
            elif events[AT, m] == at:
                worth += _move(m, weight[j], events)
            m = marks[LATER, m]
        mu_i = keep_i * mu_i + v_to_i * mu_v
        d_weight[j] += mu_i
        worth += weight[j] * (mu_i / tau_syn - keep_v * mu_v / tau_mem)
        d_delay[j] += worth
        total += worth
    return total


@inlined
def _move(m, weight, events):
    """Return the gradient of a maximum that stands on an arrival, and moves with it.

    But once, if others arrive at the same instant.
    """
    worth = 0.0
    if weight != 0.0:
        worth = events[VALUE, m] * events[SLANT, m]
        events[SLANT, m] = 0.0
    return worth


@kernel
def drive_on(i, start, duration, weight, delay, drive, rates, d_weight, d_delay):
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


@inlined
def look(s, tau_mem, tau_syn, full, terms):
    """Write what becomes of the costates over ``s``; those of the time constants if ``full``."""
    if full:
        spread(s, tau_mem, tau_syn, terms)
    else:
        terms[KEEP_V], terms[V_TO_I], terms[KEEP_I] = responses(s, tau_mem, tau_syn)


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
