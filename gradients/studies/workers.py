"""Who computes points: this process, processes of this machine, or workers of a Dask scheduler.

All three are executors with one point at a time per process, for torch has one generator. What a
worker returns is what was measured, or why there is nothing; it writes to run folders only, which
workers of a cluster find on a file system that they share.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import chdir, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from evsim.cluster import Packed, connected
from evsim.files.locks import lock_folder

from .interface import Measured, Study, Work, random_seed
from .points import as_plain, refuse_unsound

_ALONE = threading.Lock()
_LOOK = 0.5  # how often a worker looks whether a folder is free [s]


@dataclass(frozen=True)
class Outcome:
    """What a worker returns: what was measured, or an error in a line and with its traceback."""

    measured: Measured
    warnings: tuple[str, ...] = ()
    error: str = ""
    trace: str = ""


def compute(study: Study, work: Work, place: str = "") -> Outcome:
    """Compute one point on one thread, whoever asks.

    Parameters
    ----------
    study, work : Study, Work
        What to compute.
    place : str
        The folder from which relative paths lead, if it is there; that of this process if left
        out.
    """
    there = chdir(place) if os.path.isdir(place) else nullcontext()
    with _ALONE, there, warnings.catch_warnings(record=True) as caught:
        _wait_until_free(work.folder)
        threads, state = torch.get_num_threads(), torch.get_rng_state()
        torch.set_num_threads(1)
        torch.manual_seed(random_seed(work.point, work.seed))
        try:
            measured = as_plain(study.compute(work.point, work))
            refuse_unsound(measured)
        except Exception as error:  # of the study, or its data: the other points go on
            text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            return Outcome({}, _texts(caught), text, traceback.format_exc())
        finally:
            torch.set_num_threads(threads)
            torch.set_rng_state(state)
    return Outcome(measured, _texts(caught))


def _wait_until_free(folder: Path) -> None:
    """Wait for a worker that computes there still, for a command that was killed."""
    while folder.is_dir():
        try:
            descriptor = lock_folder(folder)
        except BlockingIOError:
            time.sleep(_LOOK)
            continue
        if descriptor >= 0:
            os.close(descriptor)
        return


def _texts(caught: list[warnings.WarningMessage]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(one.message) for one in caught))


class _Here(Executor):
    """Does what is submitted at once, in this process."""

    def submit(self, work: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*given, **named))
        return done


@contextmanager
def workers(jobs: int, dask: str | None, folder: Path) -> Iterator[tuple[Executor, int]]:
    """Return who computes, and how many points to hand over at a time.

    Parameters
    ----------
    jobs : int
        Processes of this machine; one is this process itself.
    dask : str or None
        The address of a scheduler whose workers are taken instead.
    folder : Path
        Of the study, which workers must see.

    Raises
    ------
    ModuleNotFoundError, ValueError
        See `evsim.cluster.connected`.
    OSError
        If no scheduler answers, it has no workers, or one does not see the folder.
    """
    if dask is not None:
        with _dask(dask, folder) as found:
            yield found
    elif jobs == 1:
        yield _Here(), 1
    else:
        with _processes(jobs) as pool:
            yield pool, jobs


@contextmanager
def _processes(n: int) -> Iterator[Executor]:
    """Start processes that end at once when this one does, however it ends."""
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    pool = _Quiet(n, mp_context=context, initializer=_watch, initargs=(reader,))
    try:
        yield pool
    finally:
        writer.close()
        pool.shutdown(cancel_futures=True)
        reader.close()


class _Quiet(ProcessPoolExecutor):
    """Starts processes that Ctrl-C does not reach: the command ends them."""

    def submit(self, *given: Any, **named: Any) -> Future[Any]:
        with _held_back():
            return super().submit(*given, **named)


@contextmanager
def _held_back() -> Iterator[None]:
    """Hold back Ctrl-C, which processes that are started inherit."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _watch(alive: Connection) -> None:
    """End this worker when the other end of a pipe is closed, by its owner or by its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait() -> None:
        with suppress(EOFError, OSError):
            alive.recv()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def _dask(address: str, folder: Path) -> Iterator[tuple[Executor, int]]:
    """Connect to workers that have the same versions and see the same folder."""
    with connected(address, "numpy", "numba", "torch") as client:
        for worker, seen in sorted(client.run(os.path.isdir, str(folder)).items()):
            if not seen:
                raise OSError(
                    f"{folder}: the worker {worker} does not see it; studies need folders on a "
                    "file system that all machines share"
                )
        yield Packed(client), 1 << 20
