"""Work spread over threads: how many, and how all of them end when one does."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from evsim.arrays import IntArray

Found = TypeVar("Found")
MOST_PER_CORE = 8  # more only take memory


class Stopped(Exception):
    """Another job has failed, or the user has interrupted: this one went no further."""


def run_jobs(
    work: Callable[..., Found], jobs: Iterable[tuple[Any, ...]], threads: int, stop: IntArray
) -> list[Found]:
    """Do jobs on some threads; return what they return, in order.

    Parameters
    ----------
    work : callable
        Called with each job's arguments.
    jobs : iterable of tuple
        Arguments.
    threads : int
        At a time.
    stop : int64 array [1]
        Is set to 1 when a job fails or the user interrupts, so that compiled code sees it
        between two recordings. Jobs that have not begun are then never begun, and the exception
        comes as soon as those under way are done.
    """

    def begin(*job: Any) -> Any:
        if stop[0]:
            raise Stopped
        try:
            return work(*job)
        except BaseException:
            stop[0] = 1  # before this thread takes the next job
            raise

    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(begin, *job) for job in jobs]
        try:
            if len(running) > 1:  # else what follows waits, and is quicker
                wait(running, return_when=FIRST_EXCEPTION)
            errors = [job.exception() for job in running if job.done() or len(running) == 1]
            if not any(errors):
                return [job.result() for job in running]
        except BaseException:
            stop[0] = 1
            pool.shutdown(cancel_futures=True)
            raise
        stop[0] = 1
        pool.shutdown(cancel_futures=True)
        # Several may have failed meanwhile: the first of them is told.
        errors = [job.exception() for job in running if not job.cancelled()]
        raise next(e for e in errors if e is not None and not isinstance(e, Stopped))


def useful_threads(threads: int | None) -> int:
    """Return how many threads to use: one per core, or as many as asked for and of use.

    Warns
    -----
    UserWarning
        If more are asked for than `MOST_PER_CORE` times the cores.

    Raises
    ------
    ValueError
        If fewer than one is asked for.
    """
    cores = _cores()
    if threads is None:
        return cores
    if threads < 1:
        raise ValueError(f"threads = {threads}, must be at least 1")
    if threads > MOST_PER_CORE * cores:
        warnings.warn(
            f"threads = {threads} are more than are of use on {cores} cores; "
            f"{MOST_PER_CORE * cores} are taken",
            stacklevel=3,
        )
    return min(threads, MOST_PER_CORE * cores)


def _cores() -> int:
    """Return the number of cores this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
