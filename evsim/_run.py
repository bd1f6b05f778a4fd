"""Running the kernels: room for a group, recordings in chunks, more room where it was short."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evsim._engine import run_group
from evsim._layout import AT_REST, Inputs, Out, Samples, Scratch
from evsim._plan import Plan
from evsim._queue import (
    GROW_DUE,
    GROW_FIRED,
    GROW_FLIGHT,
    GROW_ROWS,
    GROW_SPIKES,
    NOT_FINITE,
    OK,
    RING,
    RUNAWAY,
    STOPPED,
    WINDOWS,
)
from evsim._window import DEGREE
from evsim.arrays import FloatArray, IntArray
from evsim.errors import NotFiniteError, RunawayError
from evsim.threads import Stopped


@dataclass
class Room:
    """How much of everything a thread has; it grows when a recording needs more."""

    flight: int = 4096
    rows: int = 256
    due: int = 4096 + 40  # no power of two: the windows' arrays would share cache lines' places
    fired: int = 1024
    spikes: int = 16384
    _grows: dict[int, str] = field(
        default_factory=lambda: {
            GROW_FLIGHT: "flight",
            GROW_ROWS: "rows",
            GROW_DUE: "due",
            GROW_FIRED: "fired",
            GROW_SPIKES: "spikes",
        }
    )

    def grow(self, status: int) -> None:
        """Double what was short."""
        name = self._grows[status]
        setattr(self, name, 2 * getattr(self, name))


def make_scratch(plan: Plan, room: Room) -> Scratch:
    """Allocate the working arrays of one thread for one group."""
    n, classes = plan.group.unit.shape[1], len(plan.group.flow)
    words = np.zeros((n + 7) // 8, np.uint64)

    def floats(*shape: int) -> FloatArray:
        return np.empty(shape)  # everything is written before it is read

    def ints(*shape: int) -> IntArray:
        return np.empty(shape, np.int64)

    return Scratch(
        state=floats(16, n),
        busy=words.view(np.bool_),
        words=words,
        head=ints(RING),
        flight=ints(room.flight, 8),
        sent=floats(room.flight),
        row_time=floats(WINDOWS, room.rows),
        row_from=ints(2, WINDOWS, room.rows),
        due=floats(2, WINDOWS, room.due),
        due_post=ints(WINDOWS, room.due),
        n_due=ints(2, WINDOWS),
        edges=floats(WINDOWS + 1),
        response=floats(2, max(room.rows, room.due)),
        chained=ints(room.due),
        series=floats(3, DEGREE + 1, classes),
        factors=np.zeros((7, classes)),  # some have no meaning for some models
        work=ints(4, max(n + 1, room.rows)),
        new=floats(6, n),
        train=floats(6, room.rows + room.due + 1),
        spike_time=floats(room.fired),
        spike_unit=ints(room.fired),
        spike_record=floats(2, room.fired),
        pieces=floats(2, 4),
        n=ints(4),
        cursor=ints(len(plan.sources)),
        fired_by=ints(len(plan.names)),
    )


def run_plan(
    plan: Plan,
    inputs: Inputs,
    samples: Samples,
    n_places: int,
    duration: float,
    max_rate: float,
    room: Room,
    first_recording: int,
    stop: IntArray,
    keep_freed: bool = False,
    begin: float = 0.0,
    keep_state: bool = False,
) -> Out:
    """Run one group over some recordings; ``first_recording`` is where messages count from.

    From ``begin`` to ``duration``: what arrives before was in an earlier stretch, which left the
    state that ``inputs`` hold.

    ``stop`` [1] is looked at before each recording: when another thread has put a 1 there,
    this one ends with `Stopped`.

    Raises
    ------
    RunawayError
        If a population fires more than ``max_rate`` per unit, averaged over the time that is run.
    NotFiniteError
        If the state of a unit overflows.
    """
    n_recordings, span = inputs.offsets.shape[1] - 1, duration - begin
    most = [min(max_rate * span * size, 2.0**60) for size in plan.sizes]
    limits = np.array([1000 + int(n) for n in most])
    n_units = plan.group.unit.shape[1]
    readout = bool(np.isinf(plan.group.par[0]).all())
    out = Out(
        times=np.empty(room.spikes),
        units=np.empty(room.spikes, np.int64),
        records=np.empty((2, room.spikes)),
        offsets=np.zeros(n_recordings + 1, np.int64),
        voltage=np.empty((n_recordings, n_places)),
        final=np.empty((n_recordings if readout else 0, 6, n_units)),
        freed=np.empty((n_recordings if keep_freed and not readout else 0, n_units)),
        state=np.empty((n_recordings, 16, n_units)) if keep_state else AT_REST,
    )
    # Times are rounded: (t + axonal) + synaptic may come a little before t + their sum.
    min_delay = max(plan.min_delay - 4 * np.spacing(duration), 0.0)
    scratch = make_scratch(plan, room)
    first = 0
    while True:
        status, first, at, time, count = run_group(
            *plan.group, *scratch, *inputs, *samples, *out,
            first, n_recordings, begin, duration, min_delay, limits, stop,
        )  # fmt: skip
        if status == OK:
            return out
        if status == STOPPED:
            raise Stopped
        number = first_recording + first
        if status == NOT_FINITE:
            arrays = (*plan.group, *scratch, *inputs, *samples, *out)
            time = _when(arrays, first, begin, duration, min_delay, limits)
            raise NotFiniteError(
                f"population {_owner(plan, at)}: the state is no finite number any more in "
                f"recording {number} from t = {time:.6g} s on; its weights are too large"
            )
        if status == RUNAWAY or (status == GROW_FIRED and count > limits[at]):
            raise RunawayError(
                f"population {plan.names[at]!r}: {count} spikes in recording {number} by "
                f"t = {time:.6g} s, {count / plan.sizes[at] / span:.6g} Hz per unit over the "
                f"{span:g} s asked for; the limit is max_rate = {max_rate:g} Hz. Weaken the "
                "loop that drives it, or raise the limit"
            )
        room.grow(status)
        if status == GROW_SPIKES:
            out = _more_spikes(out, room.spikes)
        else:
            scratch = make_scratch(plan, room)


def _owner(plan: Plan, unit: int) -> str:
    """Name the population and the unit in it."""
    p = int(np.searchsorted(plan.start, unit, side="right")) - 1
    return f"{plan.names[p]!r}, unit {unit - plan.start[p]}"


def _when(
    arrays: tuple[Any, ...],
    recording: int,
    begin: float,
    duration: float,
    min_delay: float,
    limits: IntArray,
) -> float:
    """Return the shortest duration with which a recording's state overflows [s]."""
    low, high = begin, duration
    while high - low > 1e-9 * duration:
        middle = (low + high) / 2
        status, *_ = run_group(
            *arrays, recording, recording + 1, begin, middle, min_delay, limits,
            np.zeros(1, np.int64),
        )  # fmt: skip
        low, high = (low, middle) if status == NOT_FINITE else (middle, high)
    return high


def _more_spikes(out: Out, room: int) -> Out:
    n = len(out.times)
    more: dict[str, Any] = {"times": np.empty(room), "units": np.empty(room, np.int64)}
    more["records"] = np.empty((2, room))
    for name, longer in more.items():
        longer[..., :n] = getattr(out, name)
    return out._replace(**more)
