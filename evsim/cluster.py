"""The workers of a Dask scheduler that runs already.

Whoever is asked to use them connects here: what is wrong with the address or with the workers is
told before any work, and so is a cluster that loses its last worker meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import platform
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from importlib import metadata
from typing import TYPE_CHECKING, Any

from evsim.version import VERSION

if TYPE_CHECKING:
    from distributed import Client

PATIENCE = 10.0  # with a scheduler, and with its first worker [s]
_LOOK = 5.0  # how often somebody looks whether there are workers [s]
_LOGS = ("distributed", "distributed.client")  # the ones that Dask gives a level
_SETTINGS = {
    "distributed.admin.large-graph-warning-threshold": "1 TiB",  # our pieces are large on purpose
    "distributed.diagnostics.computations.nframes": 0,  # send no source code of the caller
}
_START = "start some with: dask worker"


class Packed(Executor):
    """Workers of a cluster as an executor that hands over work packed.

    A worker unpacks it as a part of the work: what it can't import is an error of this work.
    Dask itself would end the worker for that, and the next one, too.

    Parameters
    ----------
    client : Client
        Connected to the scheduler.
    """

    def __init__(self, client: Client) -> None:
        self._executor = client.get_executor(pure=False)

    def submit(self, work: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        """Hand over work; if a worker dies with it another one does it, three times."""
        import cloudpickle

        found: Future[Any] = self._executor.submit(
            _unpacked, cloudpickle.dumps((work, given, named))
        )
        return found


def _unpacked(packed: bytes) -> Any:
    work, given, named = pickle.loads(packed)
    return work(*given, **named)


@contextmanager
def connected(address: str, *packages: str) -> Iterator[Client]:
    """Connect to a Dask scheduler for the body of a ``with`` statement.

    Parameters
    ----------
    address : str
        Such as ``tcp://127.0.0.1:8786``.
    *packages : str
        What results depend on: workers must have the same versions as this process.

    Yields
    ------
    Client
        Of a scheduler with one worker at least.

    Raises
    ------
    ModuleNotFoundError
        If Dask is not installed.
    OSError
        If no scheduler answers, or it has no workers.
    ValueError
        If a worker lacks a package, or has another version.

    Warns
    -----
    UserWarning
        Once, if all workers are gone; their work waits for others.
    """
    need_dask()
    import dask
    from distributed import Client

    _refuse_wrong_address(address)
    with (
        _hushed(),
        dask.config.set(_SETTINGS),
        Client(address, timeout=PATIENCE, set_as_default=False) as client,
    ):
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError as error:
            raise OSError(f"--dask {address}: has no workers; {_START} {address}") from error
        _refuse_other_versions(client, address, packages)
        with _watched(client, address):
            yield client


def need_dask() -> None:
    """Refuse to go on without Dask, and tell how to install it."""
    try:
        import distributed  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "--dask needs Dask; install it with: pip install evsim[cluster]"
        ) from error


def explained(error: Exception) -> Exception:
    """Return an error in one line for one of Dask itself, and any other as it is."""
    if type(error).__name__ == "KilledWorker":  # of a package that may be missing
        return OSError(
            "several Dask workers died over it, for lack of memory perhaps; give them more, or see "
            "their logs"
        )
    if isinstance(error, CancelledError):
        return OSError("the Dask scheduler is gone")
    return error


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of Python, evsim and some packages, "none" of one that is missing."""
    found = {"Python": ".".join(platform.python_version_tuple()[:2]), "evsim": VERSION}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "none"
    return found


def _refuse_wrong_address(address: str) -> None:
    """Ask who is there: a client that connects in vain tells more than a line."""
    from distributed.core import rpc

    async def who() -> str:
        async with rpc(address, timeout=PATIENCE) as there:
            return str((await asyncio.wait_for(there.identity(), PATIENCE))["type"])

    try:
        with _hushed():
            kind = asyncio.run(who())
    except ValueError as error:
        raise ValueError(f"--dask {address}: {error}; give one such as tcp://HOST:8786") from error
    except OSError as error:
        raise OSError(f"--dask {address}: no scheduler answers there") from error
    if kind != "Scheduler":
        raise ValueError(f"--dask {address}: is a {kind.lower()}, not a scheduler")


def _refuse_other_versions(client: Client, address: str, packages: tuple[str, ...]) -> None:
    """Refuse workers whose results may differ from those of this process."""
    mine = versions(*packages)
    for worker, theirs in sorted(client.run(versions, *packages, on_error="return").items()):
        if isinstance(theirs, Exception):
            raise ValueError(
                f"--dask {address}: the worker {worker} can't import evsim ({theirs}); "
                "install it there as it is here"
            )
        other = [f"{k} {theirs[k]}, here {v}" for k, v in mine.items() if theirs[k] != v]
        if other:
            raise ValueError(
                f"--dask {address}: the worker {worker} has {'; '.join(other)}; install "
                "the same versions"
            )


@contextmanager
def _hushed() -> Iterator[None]:
    """Leave out what Dask logs about connections: what counts is told as an error."""
    logs = [logging.getLogger(name) for name in _LOGS]
    before = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for log, level in zip(logs, before, strict=True):
            log.setLevel(level)


@contextmanager
def _watched(client: Client, address: str) -> Iterator[None]:
    """Look from time to time whether there are workers, and warn once if there are none."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK):
            if _has_none(client) and not over.is_set():
                warnings.warn(
                    f"--dask {address}: no workers are left; their work waits for others; "
                    f"{_START} {address}",
                    stacklevel=1,
                )
                return

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()


def _has_none(client: Client) -> bool:
    try:
        return not client.nthreads()
    except Exception:  # the connection is being closed, or lost, which whoever waits is told
        return False
