"""The exact local rule with arrays: what spike times owe to the synapses of their own units.

`reverse.backward` follows an error from unit to unit, backwards in time. Here every unit takes
what arrives as given, the spikes of a loop as well, so its sensitivities can be carried forward:
nothing has to be known of later times, and nothing is kept of earlier ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from evsim import Dense, Spikes
from evsim._layout import SRM
from evsim.arrays import BoolArray, FloatArray

from .in_flight import in_flight
from .reverse import Run, factors_will_do, flow_of, in_portions

_BLOCK = 32.0  # of the shortest time constant; factors grow by e^_BLOCK
_KINDS = 3  # of parameters of a unit that are traced, as rows of cells from `threshold` on


class Sent(NamedTuple):
    """Spikes on their way to a population.

    Attributes
    ----------
    spikes : Spikes
        Of some units that send.
    first : int
        Where these units stand among all that do: those of the input, then the population's own.
    path : Dense
        Which says how late they arrive.
    """

    spikes: Spikes
    first: int
    path: Dense

    def after(self, time: float) -> Sent:
        """Return those that arrive at ``time`` or later."""
        return self._replace(spikes=in_flight(self.spikes, self.path, time))


@dataclass(frozen=True)
class Traces:
    """What recordings carry on from one stretch to the next; see `evsim.gradients._local`.

    Attributes
    ----------
    shared : float64 array [recording, row, 3, pre]
        Of the sources.
    own : float64 array [recording, post, kind, pre]
        Of the synapses.
    own_cells : float64 array [recording, 3, post]
        Of the units' own parameters.
    since : float64 array [recording, post + row]
        When they held [s]; of who is not yet released, when that will be.
    held : bool array [recording, post]
        Who was not yet released.
    """

    shared: FloatArray
    own: FloatArray
    own_cells: FloatArray
    since: FloatArray
    held: BoolArray


@dataclass(frozen=True)
class LocalGradients:
    """What a loss gains per unit of everything that is traced.

    Attributes
    ----------
    weight : float64 array [post, pre]
        ``pre`` counts the units of the input, then those of a loop.
    delay : float64 array [post, pre] or None
        By the time from a spike to its arrival, for a weight of 1 [1/s].
    threshold, reset, refractory : float64 array [post]
        Parameters of the units.
    """

    weight: FloatArray
    delay: FloatArray | None
    threshold: FloatArray
    reset: FloatArray
    refractory: FloatArray


def local(
    run: Run,
    sent: Sequence[Sent],
    g_times: FloatArray,
    n_pre: int,
    delays: bool,
    begin: float = 0.0,
    traces: Traces | None = None,
    carry_on: bool = False,
    threads: int = 1,
) -> tuple[LocalGradients, Traces | None]:
    """Return the gradients of a loss on the spike times of a stretch, by synapses' own traces.

    Parameters
    ----------
    run : Run
        Of the stretch, from ``begin`` to the duration of its spikes.
    sent : sequence of Sent
        All that arrives in it.
    g_times : float64 array [spike]
        Of the loss by the times of the spikes of the run.
    n_pre : int
        Units that send.
    delays : bool
        Whether those of delays are wanted.
    begin : float
        [s].
    traces : Traces or None
        At ``begin``; None where nothing came before. Their arrays are changed.
    carry_on : bool
        Whether the traces at the end are wanted.
    threads : int
        To spread recordings over; without influence on the sums.

    Returns
    -------
    LocalGradients
        Of all recordings, summed.
    Traces or None
        Those given, or new ones, at the end; None if there were none, and none are wanted.
    """
    from ._local import play

    unit = _Unit(run, sent, n_pre, delays)
    if traces is None and carry_on:
        traces = unit.nothing(len(run.spikes), begin)
    kept = traces is not None
    most = int(np.diff(run.spikes.offsets).max(initial=0))

    def work(first: int, last: int) -> list[FloatArray]:
        sums = unit.zeros()
        carried = unit.nothing(1, begin) if traces is None else traces
        if first < last:
            play(
                *unit.constants, begin, run.spikes.duration, *unit.columns[:3], *unit.growth,
                *unit.columns[3:],
                run.spikes.times, run.spikes.units, run.records, run.spikes.offsets, run.freed,
                g_times, kept, *vars(carried).values(), *unit.scratch(most), *sums, first, last,
            )  # fmt: skip
        return sums

    parts = in_portions(work, run.inputs, run.spikes.size, threads, np.zeros(1, np.int64))
    weight, delay, cells = (sum(several[1:], several[0]) for several in zip(*parts, strict=True))
    found = LocalGradients(weight, delay if delays else None, *cells[-_KINDS:])
    return found, traces


class _Unit:
    """The arrays of a population and of what is sent to it, as the kernel wants them."""

    def __init__(self, run: Run, sent: Sequence[Sent], n_pre: int, delays: bool) -> None:
        flow, scale, cells = flow_of(run.net)
        self.size, self.n_pre = cells.shape[1], n_pre
        self.n_kinds = (2 if delays else 1) * (2 if flow == SRM else 1)
        self.delays = delays
        apart = any(one.path.synaptic is not None for one in sent)
        if apart:
            row_of, taus = np.arange(self.size), cells[:2]
        else:
            taus, row_of = np.unique(cells[:2], axis=1, return_inverse=True)
        self.n_rows = taus.shape[1]
        self.constants: tuple[Any, ...] = (
            flow, scale, cells, row_of.reshape(-1), np.ascontiguousarray(taus),
        )  # fmt: skip
        self.columns = self._columns(sent, apart)
        self.growth = self._growth(cells[:2], self.columns[1], self.columns[2])
        counts = np.stack([np.diff(one.spikes.offsets) for one in sent])
        self.n_sent = int(counts.sum(axis=0).max(initial=1))

    def _columns(self, sent: Sequence[Sent], apart: bool) -> tuple[npt.NDArray[Any], ...]:
        """Return source and delays of every column, then all spikes by column."""
        sizes = [one.spikes.size for one in sent]
        starts = np.cumsum([0, *sizes])
        counts = np.cumsum([0, *(len(one.spikes.times) for one in sent)])
        late = [one.path.synaptic for one in sent]
        shapes = [(self.size if apart else 0, n) for n in sizes]
        return (
            np.concatenate([one.first + np.arange(n) for one, n in zip(sent, sizes, strict=True)]),
            np.concatenate([one.path.axonal(n) for one, n in zip(sent, sizes, strict=True)]),
            np.concatenate(
                [
                    np.zeros(shape) if one is None else one
                    for one, shape in zip(late, shapes, strict=True)
                ],
                axis=1,
            ),
            np.concatenate([one.spikes.times for one in sent]),
            np.concatenate([one.spikes.units + s for one, s in zip(sent, starts, strict=False)]),
            np.stack([one.spikes.offsets + c for one, c in zip(sent, counts, strict=False)]),
        )

    def _growth(
        self, taus: FloatArray, axonal: FloatArray, late: FloatArray
    ) -> tuple[FloatArray, float]:
        """Return e^(delay/tau) for both time constants [2, row, column], or none if it won't do."""
        block, longest = _BLOCK * float(taus.min()), axonal.max() + late.max(initial=0.0)
        if not len(late) or not factors_will_do(taus, longest):
            return np.empty((0, 1, 1)), block
        return np.exp(late / taus[:, :1, None]), block

    def nothing(self, n: int, begin: float) -> Traces:
        """Return the traces of recordings in which nothing has happened."""
        return Traces(
            np.zeros((n, self.n_rows, 3, self.n_pre)),
            np.zeros((n, self.size, self.n_kinds, self.n_pre)),
            np.zeros((n, _KINDS, self.size)),
            np.full((n, self.size + self.n_rows), begin),
            np.zeros((n, self.size), np.bool_),
        )

    def zeros(self) -> list[FloatArray]:
        """Return room for the sums of a portion."""
        shape = (self.size, self.n_pre)
        return [np.zeros(shape), np.zeros(shape if self.delays else (self.size, 0)),
                np.zeros((6, self.size))]  # fmt: skip

    def scratch(self, most: int) -> list[npt.NDArray[Any]]:
        """Return the working arrays of a thread, for ``most`` spikes of a recording."""
        n_columns, n_events = len(self.columns[0]), 2 * most + self.size + 1
        return [
            np.empty(self.n_sent),
            np.empty(self.n_sent, np.int64),
            np.empty((2, self.n_sent)),
            np.empty(n_columns + 1, np.int64),
            np.empty((self.n_rows, n_columns), np.int64),
            np.empty((self.n_rows, n_columns)),
            np.empty((3, n_events)),
            np.empty((3, n_events), np.int64),
            np.empty(self.size),
        ]
