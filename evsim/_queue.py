"""Spikes in flight: a calendar of time buckets, and the arrivals of the current bucket.

Time is cut into buckets of one width. A spike in flight waits in the bucket of its next
arrival; when that bucket is loaded, it hands over all its arrivals there and moves on:

    ring of lists   [ k ] [k+1] [k+2] ...            one entry per spike, not per synapse
                      |
                    load: dense rows   (time, row of weights)       sorted by time
                          listed       (time, post unit, weight)    in any order

So the cost of a spike depends neither on how long its delays are nor on how many are in
flight. A spike due beyond the ring waits in its last bucket and is put back from there.
"""

from math import inf

import numpy as np

from evsim._compile import kernel
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
    POST,
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
# What a kernel reports; everything but OK ends the recording.
OK, GROW_FLIGHT, GROW_ROWS, GROW_DUE, GROW_FIRED, GROW_SPIKES, RUNAWAY = range(7)


@kernel
def bucket_of(t, width):
    """Return the k for which k * width <= t < (k + 1) * width, as floats compare."""
    k = int(t / width)
    while k * width > t:
        k -= 1
    while (k + 1) * width <= t:
        k += 1
    return k


@kernel
def clear(head, flight, n):
    """Empty the ring and the current bucket."""
    head[:] = -1
    for item in range(len(flight)):
        flight[item, NEXT] = item + 1
    flight[len(flight) - 1, NEXT] = -1
    n[FREE] = 0
    n[IN_FLIGHT] = 0
    n[N_ROWS] = 0
    n[N_DUE] = 0
    n[LOADED] = -1


@kernel
def send(
    t, pre, projection, width, duration, rows, maps, axonal, indptr, synapses,
    head, flight, sent, n,
):  # fmt: skip
    """Send one spike of ``pre`` (counted in its population) down one projection.

    It waits in the bucket of its first arrival, which may be the current one: that must
    then be loaded again.
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
    if first >= duration:
        return OK
    item = n[FREE]
    if item < 0:
        return GROW_FLIGHT
    n[FREE] = flight[item, NEXT]
    n[IN_FLIGHT] += 1
    sent[item] = start
    flight[item, PROJECTION] = projection
    flight[item, PRE] = pre
    flight[item, CURSOR] = cursor
    flight[item, END] = end
    bucket = min(max(bucket_of(first, width), n[LOADED]), n[LOADED] + RING - 1)
    flight[item, NEXT] = head[bucket & (RING - 1)]
    head[bucket & (RING - 1)] = item
    return OK


@kernel
def load(
    bucket, width, duration, rows, maps, synapses,
    head, flight, sent, rows_due, rows_from, due, due_at, n,
):  # fmt: skip
    """Make ``bucket`` the current one: its spikes hand over their arrivals and move on."""
    n[LOADED] = bucket
    edge = (bucket + 1) * width
    stop = min(edge, duration)
    item = head[bucket & (RING - 1)]
    head[bucket & (RING - 1)] = -1
    due_time, due_weight, due_post = due[TIME], due[WEIGHT], due_at[POST]
    while item >= 0:
        following = flight[item, NEXT]
        projection, pre, cursor = flight[item, PROJECTION], flight[item, PRE], flight[item, CURSOR]
        end = flight[item, END]
        start = sent[item]
        late = inf  # when the spike arrives next, after this bucket
        if rows[projection, KIND] == DENSE:
            if start < edge:
                if n[N_ROWS] == rows_due.shape[1]:
                    return GROW_ROWS
                row = rows[projection, FIRST] + pre * rows[projection, POST_SIZE]
                _insert_row(rows_due, rows_from, n, start, row, projection)
            else:  # it waited at the end of the ring
                late = start
        else:
            m = n[N_DUE]
            if m + end - cursor > due.shape[1]:
                return GROW_DUE
            if rows[projection, KIND] == LISTED:
                to = np.uint64(m)  # unsigned, or numba looks out for indices from the end
                at, last = np.uint64(cursor * RECORD), np.uint64(end * RECORD)
                while at < last:
                    t = start + synapses[at]
                    if t >= stop:
                        late = t
                        break
                    due_time[to] = t
                    due_weight[to] = synapses[at + np.uint64(STRENGTH)]
                    due_post[to] = int(synapses[at + np.uint64(TARGET)])
                    to += np.uint64(1)
                    at += np.uint64(RECORD)
                m = int(to)
                cursor = int(at) // RECORD
            else:
                cursor, m, late = _list_taps(
                    start, cursor, end, stop, rows[projection, POST_BASE], pre,
                    maps[rows[projection, MAP]], synapses, due, due_at, m,
                )  # fmt: skip
            n[N_DUE] = m
        if late < duration:
            flight[item, CURSOR] = cursor
            slot = min(bucket_of(late, width), bucket + RING - 1) & (RING - 1)
            flight[item, NEXT] = head[slot]
            head[slot] = item
        else:
            flight[item, NEXT] = n[FREE]
            n[FREE] = item
            n[IN_FLIGHT] -= 1
        item = following
    return OK


@kernel
def _insert_row(rows_due, rows_from, n, time, row, projection):
    """Insert an arrival of a dense row by time; buckets hold few of them."""
    at = n[N_ROWS]
    while at > 0 and rows_due[TIME, at - 1] > time:
        rows_due[TIME, at] = rows_due[TIME, at - 1]
        rows_from[ROW, at] = rows_from[ROW, at - 1]
        rows_from[BY, at] = rows_from[BY, at - 1]
        at -= 1
    rows_due[TIME, at] = time
    rows_from[ROW, at] = row
    rows_from[BY, at] = projection
    n[N_ROWS] += 1


@kernel
def _list_taps(start, cursor, end, stop, base, pre, g, synapses, due, due_at, m):
    """List the arrivals of a convolution, whose rows are kernel taps; some fall off the edge.

    Returns where the row goes on, the number of arrivals and the time of the next one.
    """
    place = pre % (g[HEIGHT] * g[WIDTH])
    while cursor < end:
        t = start + synapses[cursor * RECORD + LATE]
        if t >= stop:
            return cursor, m, t
        tap = int(synapses[cursor * RECORD + TARGET])
        y = place // g[WIDTH] + g[PAD_Y] - tap // g[TAPS_X] % g[TAPS_Y] * g[DIL_Y]
        x = place % g[WIDTH] + g[PAD_X] - tap % g[TAPS_X] * g[DIL_X]
        row, column = y // g[STRIDE_Y], x // g[STRIDE_X]
        on_grid = row * g[STRIDE_Y] == y and column * g[STRIDE_X] == x
        if on_grid and 0 <= row < g[ROWS] and 0 <= column < g[COLUMNS]:
            channel = tap // (g[TAPS_Y] * g[TAPS_X])
            due[TIME, m] = t
            due[WEIGHT, m] = synapses[cursor * RECORD + STRENGTH]
            due_at[POST, m] = base + (channel * g[ROWS] + row) * g[COLUMNS] + column
            m += 1
        cursor += 1
    return cursor, m, inf


@kernel
def next_bucket(head, n):
    """Return the next bucket in which a spike in flight is due, or -1."""
    if n[IN_FLIGHT] > 0:
        for bucket in range(n[LOADED] + 1, n[LOADED] + RING):
            if head[bucket & (RING - 1)] >= 0:
                return bucket
    return -1


@kernel
def consume(rows_due, rows_from, due, due_at, n, limit):
    """Drop the arrivals before ``limit`` from the current bucket."""
    kept = 0
    for m in range(n[N_ROWS]):
        if rows_due[TIME, m] >= limit:
            rows_due[TIME, kept] = rows_due[TIME, m]
            rows_from[ROW, kept] = rows_from[ROW, m]
            rows_from[BY, kept] = rows_from[BY, m]
            kept += 1
    n[N_ROWS] = kept
    kept = 0
    for m in range(n[N_DUE]):
        if due[TIME, m] >= limit:
            due[TIME, kept] = due[TIME, m]
            due[WEIGHT, kept] = due[WEIGHT, m]
            due_at[POST, kept] = due_at[POST, m]
            kept += 1
    n[N_DUE] = kept
