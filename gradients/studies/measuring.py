"""What a computation costs: seconds, and the most memory that it held."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_MIB = 1024  # kB


def in_turn(steps: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Return seconds of each step, all of them done once in each round; the first warms up."""
    seconds: list[list[float]] = [[] for _ in steps]
    for k in range(1 + rounds):
        for step, found in zip(steps, seconds, strict=True):
            start = time.perf_counter()
            step()
            found += [time.perf_counter() - start] if k else []
    return seconds


def peak_mib(run: Callable[[], object]) -> float | None:
    """Return how much more memory this process had at most while something ran [MiB].

    Parameters
    ----------
    run : callable
        What it returns is thrown away.

    Returns
    -------
    float or None
        None where the system does not tell: only Linux does.

    Notes
    -----
    The highest resident set size of the process is set back to what it is now before, once
    memory that was freed is given back to the system.

    Examples
    --------
    >>> found = peak_mib(lambda: bytearray(b"x" * (64 << 20)))
    >>> found is None or found > 60
    True
    """
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        _FORGET.write_text("5")
    except (OSError, AttributeError):  # of another system
        return None
    before = _kib("VmRSS")
    run()
    return max(0, _kib("VmHWM") - before) / _MIB


def _kib(name: str) -> int:
    line = next(one for one in _STATUS.read_text().splitlines() if one.startswith(f"{name}:"))
    return int(line.split()[1])
