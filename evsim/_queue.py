"""Spikes in flight: a calendar of time buckets, and the arrivals of the current bucket.

Time is cut into windows of one width, and `WINDOWS` of them make a bucket. A spike in
flight waits in the bucket of its next arrival; when that bucket is loaded, it hands over
all its arrivals there, each to its window, and moves on:

    ring of lists   [ b ] [b+1] [b+2] ...            one entry per spike, not per synapse
                      |
                    load: window 0 | 1 | 2 ...       dense rows and listed
                                                     arrivals, in any order

So the cost of a spike hardly depends on how long its delays are or on how many are in
flight. A spike due beyond the ring waits in its last bucket and is put back from there.
"""

from math import inf

import numpy as np

from evsim._compile import inlined, kernel
from evsim._layout import (
    AXONAL,
    BY,
    COLUMNS,
    CONV,
    CURSOR,
    DENSE,
    DIL_X,
    DIL_Y,
    END,
    FIRST,
    FREE,
    FRESH,
    HEIGHT,
    IN_FLIGHT,
    KIND,
    LATE,
    LISTED,
    LOADED,
    MAP,
    N_DUE,
    N_ROWS,
    NEXT,
    PAD_X,
    PAD_Y,
    POST_BASE,
    POST_SIZE,
    PRE,
    PROJECTION,
    RECORD,
    ROW,
    ROWS,
    STRENGTH,
    STRIDE_X,
    STRIDE_Y,
    TAPS_X,
    TAPS_Y,
    TARGET,
    TIME,
    WEIGHT,
    WIDTH,
)

RING = 1024  # buckets; a power of two
WINDOWS = 32  # in a bucket
# What a kernel reports; everything but OK ends the recording.
OK, GROW_FLIGHT, GROW_ROWS, GROW_DUE, GROW_FIRED, GROW_SPIKES, RUNAWAY = range(7)
NOT_FINITE, STOPPED = 7, 8


@kernel
def window_of(t, width):
    """Return the k for which k * width <= t < (k + 1) * width, as floats compare."""
    k = int(t / width)
    while k * width > t:
        k -= 1
    while (k + 1) * width <= t:
        k += 1
    return k


@kernel
def clear(head, n_due, n):
    """Empty the ring and the current bucket; all items are fresh again."""
    n_due[:] = 0
    head[:] = -1
    n[FREE] = -1
    n[FRESH] = 0
    n[IN_FLIGHT] = 0
    n[LOADED] = -1


@inlined
def send(
    t, pre, projection, width, begin, duration, rows, maps, axonal, indptr, synapses,
    head, flight, sent, n,
):  # fmt: skip
    """Send one spike of ``pre`` (counted in its population) down one projection.

    It waits in the bucket of its first arrival, which may be the current one: that must
    then be loaded again. What arrives before ``begin`` has done so in an earlier stretch.
    """
    start = t + axonal[rows[projection, AXONAL] + pre]
    cursor = end = 0
    first = start
    if rows[projection, KIND] != DENSE:
        line = pre
        if rows[projection, KIND] == CONV:
            geometry = rows[projection, MAP]
            line = pre // (maps[geometry, HEIGHT] * maps[geometry, WIDTH])
        cursor = indptr[rows[projection, FIRST] + line]
        end = indptr[rows[projection, FIRST] + line + 1]
        if cursor == end:
            return OK
        first = start + synapses[cursor * RECORD + LATE]
        while first < begin and cursor + 1 < end:
            cursor += 1
            first = start + synapses[cursor * RECORD + LATE]
    if first < begin or first >= duration:
        return OK
    item = n[FREE]
    if item >= 0:  # one that has been in flight before
        n[FREE] = flight[item, NEXT]
    else:
        item = n[FRESH]
        if item == len(flight):
            return GROW_FLIGHT
        n[FRESH] += 1
    n[IN_FLIGHT] += 1
    sent[item] = start
    flight[item, PROJECTION] = projection
    flight[item, PRE] = pre
    flight[item, CURSOR] = cursor
    flight[item, END] = end
    bucket = min(max(window_of(first, width) // WINDOWS, n[LOADED]), n[LOADED] + RING - 1)
    flight[item, NEXT] = head[bucket & (RING - 1)]
    head[bucket & (RING - 1)] = item
    return OK


@kernel
def load(
    bucket, width, duration, rows, maps, synapses,
    head, flight, sent, row_time, row_from, due, due_post, n_due, edges, n,
):  # fmt: skip
    """Make ``bucket`` the current one: its spikes hand over their arrivals and move on."""
    n[LOADED] = bucket
    for w in range(WINDOWS + 1):
        edges[w] = (bucket * WINDOWS + w) * width
    stop = min(edges[WINDOWS], duration)
    item = head[bucket & (RING - 1)]
    head[bucket & (RING - 1)] = -1
    while item >= 0:
        following = flight[item, NEXT]
        projection, pre = flight[item, PROJECTION], flight[item, PRE]
        cursor, end = flight[item, CURSOR], flight[item, END]
        start = sent[item]
        late = inf  # when the spike arrives next, after this bucket
        if rows[projection, KIND] == DENSE:
            if start < edges[WINDOWS]:
                w = _window(start, edges, 1.0 / width)
                if n_due[N_ROWS, w] == row_time.shape[1]:
                    return GROW_ROWS
                row = rows[projection, FIRST] + pre * rows[projection, POST_SIZE]
                at = n_due[N_ROWS, w]
                row_time[w, at] = start
                row_from[ROW, w, at] = row
                row_from[BY, w, at] = projection
                n_due[N_ROWS, w] += 1
            else:  # it waited at the end of the ring
                late = start
        elif rows[projection, KIND] == LISTED:
            cursor, late = _list_row(
                start, cursor, end, stop, synapses, due[TIME], due[WEIGHT], due_post,
                n_due[N_DUE], edges, 1.0 / width,
            )  # fmt: skip
        else:
            cursor, late = _list_taps(
                start, cursor, end, stop, rows[projection, POST_BASE], pre,
                maps[rows[projection, MAP]], synapses, due[TIME], due[WEIGHT], due_post,
                n_due[N_DUE], edges, 1.0 / width,
            )  # fmt: skip
        if late < 0.0:
            return GROW_DUE
        if late < duration:
            flight[item, CURSOR] = cursor
            slot = min(window_of(late, width) // WINDOWS, bucket + RING - 1) & (RING - 1)
            flight[item, NEXT] = head[slot]
            head[slot] = item
        else:
            flight[item, NEXT] = n[FREE]
            n[FREE] = item
            n[IN_FLIGHT] -= 1
        item = following
    return OK


@kernel
def _window(t, edges, scale):
    """Return the window of the bucket that ``t`` falls into, as `window_of`, without a branch."""
    w = min(np.uint64((t - edges[0]) * scale), np.uint64(WINDOWS - 1))
    return w + np.uint64(t >= edges[w + np.uint64(1)]) - np.uint64(t < edges[w])


@kernel
def first_gap(n):
    """Return the first gap of a Shell sort of ``n``: few mostly, but bursts make many."""
    gap = 1
    while gap < n // 3:
        gap = 3 * gap + 1
    return gap


@kernel
def sort_rows(row_time, row_from, n_rows):
    """Sort the dense rows of a window by time."""
    gap = first_gap(n_rows)
    while gap > 0:
        for m in range(gap, n_rows):
            time, row, projection = row_time[m], row_from[ROW, m], row_from[BY, m]
            at = m
            while at >= gap and row_time[at - gap] > time:
                row_time[at] = row_time[at - gap]
                row_from[ROW, at] = row_from[ROW, at - gap]
                row_from[BY, at] = row_from[BY, at - gap]
                at -= gap
            row_time[at] = time
            row_from[ROW, at] = row
            row_from[BY, at] = projection
        gap //= 3


@kernel
def _list_row(
    start, cursor, end, stop, synapses, due_time, due_weight, due_post, n_due, edges, scale
):  # fmt: skip
    """List the arrivals of a row before ``stop``, each in its window.

    Returns where the row goes on and the time of its next arrival; a time of -1 if a
    window is full.
    """
    at, last = np.uint64(cursor * RECORD), np.uint64(end * RECORD)
    while at < last:  # unsigned, or numba looks out for indices from the end
        t = start + synapses[at]
        if t >= stop:
            return int(at) // RECORD, t
        w = _window(t, edges, scale)
        m = np.uint64(n_due[w])
        if m == due_time.shape[1]:
            return cursor, -1.0
        due_time[w, m] = t
        due_weight[w, m] = synapses[at + np.uint64(STRENGTH)]
        due_post[w, m] = int(synapses[at + np.uint64(TARGET)])
        n_due[w] += 1
        at += np.uint64(RECORD)
    return end, inf


@kernel
def _list_taps(
    start, cursor, end, stop, base, pre, g, synapses, due_time, due_weight, due_post, n_due,
    edges, scale,
):  # fmt: skip
    """List those of a convolution, whose rows are kernel taps; some fall off the edge."""
    place = pre % (g[HEIGHT] * g[WIDTH])
    while cursor < end:
        t = start + synapses[cursor * RECORD + LATE]
        if t >= stop:
            return cursor, t
        tap = int(synapses[cursor * RECORD + TARGET])
        y = place // g[WIDTH] + g[PAD_Y] - tap // g[TAPS_X] % g[TAPS_Y] * g[DIL_Y]
        x = place % g[WIDTH] + g[PAD_X] - tap % g[TAPS_X] * g[DIL_X]
        row, column = y // g[STRIDE_Y], x // g[STRIDE_X]
        on_grid = row * g[STRIDE_Y] == y and column * g[STRIDE_X] == x
        if on_grid and 0 <= row < g[ROWS] and 0 <= column < g[COLUMNS]:
            channel = tap // (g[TAPS_Y] * g[TAPS_X])
            w = _window(t, edges, scale)
            m = n_due[w]
            if m == due_time.shape[1]:
                return cursor, -1.0
            due_time[w, m] = t
            due_weight[w, m] = synapses[cursor * RECORD + STRENGTH]
            due_post[w, m] = base + (channel * g[ROWS] + row) * g[COLUMNS] + column
            n_due[w] += 1
        cursor += 1
    return cursor, inf


@kernel
def next_bucket(head, n):
    """Return the next bucket in which a spike in flight is due, or -1."""
    if n[IN_FLIGHT] > 0:
        for bucket in range(n[LOADED] + 1, n[LOADED] + RING):
            if head[bucket & (RING - 1)] >= 0:
                return bucket
    return -1


@kernel
def consume_rows(row_time, row_from, n_rows, limit):
    """Drop the dense rows before ``limit``; return how many are left."""
    kept = 0
    for m in range(n_rows):
        if row_time[m] >= limit:
            row_time[kept] = row_time[m]
            row_from[ROW, kept] = row_from[ROW, m]
            row_from[BY, kept] = row_from[BY, m]
            kept += 1
    return kept


@kernel
def consume_due(due_time, due_weight, due_post, n_due, limit):
    """Drop the listed arrivals before ``limit``; return how many are left."""
    kept = 0
    for m in range(n_due):
        if due_time[m] >= limit:
            due_time[kept] = due_time[m]
            due_weight[kept] = due_weight[m]
            due_post[kept] = due_post[m]
            kept += 1
    return kept
