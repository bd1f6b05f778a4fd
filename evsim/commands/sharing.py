"""Batches of recordings shared out over the workers of a cluster, and results in their order.

A batch is cut as it is for the threads of one machine, so that results have the same bits. What is
under way is bounded; results wait with the workers until it is their turn. Pieces stay with the
scheduler until then: if a worker dies, another one takes its pieces.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from evsim.cluster import explained
from evsim.errors import RunawayError
from evsim.result import Result
from evsim.simulate import Simulator, cut, joined
from evsim.spikes import Spikes

if TYPE_CHECKING:
    from distributed import Client

_PER_THREAD = 2  # pieces under way, so that no thread waits for its next one


class _Batch(NamedTuple):
    """A batch under way: its size, and Dask's futures of its pieces."""

    n_recordings: int
    n_spikes: int
    pieces: list[Any]


def run_on(
    client: Client, simulator: Simulator, threads: int, batches: Iterable[Spikes]
) -> Iterator[tuple[int, int, Result]]:
    """Run batches on the workers of a cluster.

    Parameters
    ----------
    client : Client
        Connected to it.
    simulator : Simulator
        What a worker is given.
    threads : int
        For which a batch is cut.
    batches : iterable of Spikes
        Are taken one by one, as workers get on.

    Yields
    ------
    int, int, Result
        Recordings and spikes of each batch, in their order, and what came out.

    Raises
    ------
    OSError
        If several workers die over a piece, or the scheduler is gone.
    RunawayError, ValueError
        As `Simulator.run`.
    """
    there = client.submit(_as_it_is, simulator, pure=False)  # made anew if its holders die
    waiting: deque[_Batch] = deque()
    first = 0
    for batch in batches:
        cuts = cut(batch, threads, simulator.bytes_per_recording())
        pieces = [client.submit(_run, there, batch[a:b], first + a, pure=False) for a, b in cuts]
        waiting.append(_Batch(len(batch), len(batch.times), pieces))
        first += len(batch)
        most = _PER_THREAD * sum(client.nthreads().values())
        while len(waiting) > 1 and sum(len(one.pieces) for one in waiting) > most:
            yield _taken(waiting.popleft())
    while waiting:
        yield _taken(waiting.popleft())


def _taken(batch: _Batch) -> tuple[int, int, Result]:
    """Wait for a batch."""
    try:
        results = [piece.result() for piece in batch.pieces]
    except Exception as error:
        why = explained(error)
        raise why from (None if why is error else error)
    return batch.n_recordings, batch.n_spikes, joined(results)


def _as_it_is(simulator: Simulator) -> Simulator:
    """Return what a worker is to keep."""
    return simulator


def _run(simulator: Simulator, piece: Spikes, first: int) -> Result:
    """Run a piece in a worker; ``first`` is where in the file it begins."""
    try:
        return simulator.run(piece)
    except (RunawayError, ValueError) as error:
        if not first:
            raise
        raise type(error)(f"{error} (counted from recording {first:,} of the file)") from None
