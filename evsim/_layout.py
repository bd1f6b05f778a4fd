"""What the kernels' arrays hold: the meaning of every row and column, by name.

Kernels take plain arrays. The named tuples here are how the Python side keeps them
together and in order; they are unpacked in every call and never enter compiled code.
Populations of a group are P, its units N, classes of equal time constants C, projections
Q, sources outside the group S.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from evsim.arrays import BoolArray, FloatArray, IntArray

# Flows, and kinds of rows.
CUBA, LIF, SRM = 0, 1, 2
DENSE, LISTED, CONV = 0, 1, 2

# Group.pops, a line per population.
START, STOP, FLOW, SOFT, PEAK, UNIFORM, OWN_START, OWN_STOP = range(8)
# Group.unit, a column per unit.
CLASS, POP = 0, 1
# Group.par, a column per unit; voltages are measured from v_leak.
THRESHOLD, RESET, REFRACTORY = 0, 1, 2
# Group.tau, a column per class.
TAU_MEM, TAU_SYN, TAU_R = 0, 1, 2
# Group.rows, a line per projection.
KIND, POST_BASE, POST_SIZE, AXONAL, FIRST, MAP, ALIKE = range(7)
# Group.maps, a line per convolution.
HEIGHT, WIDTH, ROWS, COLUMNS = 0, 1, 2, 3
STRIDE_Y, STRIDE_X, PAD_Y, PAD_X, DIL_Y, DIL_X, TAPS_Y, TAPS_X = range(4, 12)

# Group.synapses, a record per listed synapse; delays ascend in every row. The target is a
# unit of the group, or a kernel tap.
LATE, STRENGTH, TARGET = 0, 1, 2
RECORD = 3

# Scratch.state, a column per unit. SRM: U, I are its synaptic part, R, K the refractory one.
U, I, R, K, RELEASE, BELOW, TOP, TOTAL, NEW_U, NEW_I, NEW_R, NEW_K, RISE = range(13)  # noqa: E741
FREED, TOP_TIME, TOP_SLOPE = range(13, 16)
# Scratch.flight, a line per spike in flight.
NEXT, PROJECTION, PRE, CURSOR, END = range(5)
# Scratch.row_from, for every dense row due: where its weights start, and its projection.
ROW, BY = 0, 1
# Scratch.due, for every listed arrival.
TIME, WEIGHT = 0, 1
# Scratch.response, a column per arrival of the window.
DV, DI = 0, 1
# Scratch.n_due, a column per window of the bucket.
N_ROWS, N_DUE = 0, 1
# Scratch.work (integers) and new (floats), a column per busy unit; CHAIN: per unit. PLACE: per row.
UNIT, FIRED, CHAIN, PLACE = 0, 1, 2, 3
NEW_RELEASE, NEW_BELOW, NEW_TOP, NEW_FREED, NEW_TOP_TIME, NEW_TOP_SLOPE = range(6)
# Scratch.series: what an arrival makes of u and of i, and the decay of u.
VOLTAGE, CURRENT, DECAY = 0, 1, 2
# Scratch.train, a column per arrival at one unit; then the factors over the stretch before it.
AT, JUMP, U_U, I_U, I_I, GAP = range(6)
# Scratch.factors, a column per class: over one window u to u, i to u, i to i, r to r, k to r;
# and what one arrival makes of u and i.
KEEP_U, I_TO_U, KEEP_I, KEEP_R, K_TO_R, TO_U, TO_I = range(7)
# Scratch.spike_record and Out.records, a column per spike: the slope of the voltage as it
# crosses, and the current at the unit's last release from its refractory period before that.
SLOPE, BEFORE = 0, 1
# Scratch.n, counters.
FREE, FRESH, IN_FLIGHT, LOADED = range(4)


# Inputs.state and Out.state where a recording is run in one piece.
AT_REST = np.empty((0, 16, 0))


class Group(NamedTuple):
    """The constants of one group."""

    pops: IntArray  # [P, 8]
    tau_output: FloatArray  # [P] of the integral wanted; inf unweighted, 0 none
    unit: IntArray  # [2, N]
    par: FloatArray  # [3, N]
    flow: IntArray  # [C]
    tau: FloatArray  # [3, C]
    rows: IntArray  # [Q, 7]
    maps: IntArray  # [convolutions, 12]
    source_rows: IntArray  # [S + 1] projections from outside, by source
    axonal: FloatArray  # all axonal delays, end to end
    dense: FloatArray  # all dense weights, [pre, post] each
    indptr: IntArray  # rows of listed synapses
    synapses: FloatArray  # [3 * synapse] records, so that a stretch of a row is together


class Scratch(NamedTuple):
    """The working arrays of one thread."""

    state: FloatArray  # [16, N]
    busy: BoolArray  # [N, padded to words]
    words: npt.NDArray[np.uint64]  # the same memory, eight units a word
    head: IntArray  # [RING] first spike in flight of each bucket, or -1
    flight: IntArray  # [in flight, 8] five fields, one cache line
    sent: FloatArray  # [in flight] spike time + axonal delay
    row_time: FloatArray  # [window, row] dense rows due in the bucket; in any order
    row_from: IntArray  # [2, window, row]
    due: FloatArray  # [2, window, arrival] listed arrivals due in the bucket; in any order
    due_post: IntArray  # [window, arrival]
    n_due: IntArray  # [2, window]
    edges: FloatArray  # [window + 1] borders of the windows of the bucket
    response: FloatArray  # [2, row or arrival]
    chained: IntArray  # [arrival] next arrival at the same unit
    series: FloatArray  # [3, DEGREE + 1, C]
    factors: FloatArray  # [7, C]
    work: IntArray  # [4, N + 1 or rows]
    new: FloatArray  # [6, N]
    train: FloatArray  # [6, arrival + 1]; times ascend
    spike_time: FloatArray  # [spike] of the window
    spike_unit: IntArray  # [spike]
    spike_record: FloatArray  # [2, spike]
    pieces: FloatArray  # [2, 4] see _srm
    n: IntArray  # [4]
    cursor: IntArray  # [S] next input spike of each source
    fired_by: IntArray  # [P] spikes of the recording


class Inputs(NamedTuple):
    """Spike trains of the sources of a group, end to end, and what state they meet."""

    times: FloatArray
    units: IntArray
    offsets: IntArray  # [S, recording + 1]
    fan_out: FloatArray  # [S] mean number of synapses per spike
    state: FloatArray = AT_REST  # [recording, 16, N] at the beginning, as Scratch.state


class Samples(NamedTuple):
    """When to look at which population's voltage, by time."""

    time: FloatArray
    pop: IntArray
    place: IntArray  # where its units go in a line of Out.voltage


class Out(NamedTuple):
    """What a run writes, one line or stretch per recording."""

    times: FloatArray
    units: IntArray
    records: FloatArray  # [2, spike]
    offsets: IntArray
    voltage: FloatArray  # [recording, place]
    # [recording, 6, N] for readouts: u, i, weighted arrivals; the peak, its time and the slope
    # that leads up to it
    final: FloatArray
    freed: FloatArray  # [recording, N] the current at the last release from a refractory period
    state: FloatArray  # [recording, 16, N] at the end, as Scratch.state; if it is wanted
