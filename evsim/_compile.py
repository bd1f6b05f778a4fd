"""One decorator for every compiled function, with a cache that can't go stale.

Numba's own ``cache=True`` keys a function by the text of its own file, but what the
function calls may stand in another file: after a change there, the old machine code
would run. Here the cache folder carries a digest of every source file that may hold a
kernel (their names start with an underscore), so any edit or upgrade of one recompiles,
and nothing is written next to the package.
"""

import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numba
from numba.core import config

_HERE = Path(__file__).parent


def _cache_folder() -> str:
    """Return the folder for this version of the sources, in the user's cache."""
    rooms = [_HERE]
    if (_HERE.parent / "setup.cfg").is_file():  # a checkout: the rooms are siblings
        rooms += [_HERE.parent / "gradients", _HERE.parent / "datasets"]
    digest = hashlib.sha256()
    for room in rooms:
        for path in sorted(room.rglob("_*.py")):
            digest.update(path.read_bytes())
    base = os.environ.get("NUMBA_CACHE_DIR")
    if not base:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        base = os.path.join(home, "evsim")
    return os.path.join(base, digest.hexdigest()[:16])


CACHE_FOLDER = _cache_folder()


def kernel(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile ``function`` without the GIL and keep the machine code on disk.

    Products and sums may fuse into one instruction (``contract``); nothing else about
    floating point is relaxed. Without numba's runtime (``_nrt``) a kernel can't allocate,
    and slicing an array does not count references, which would cost more than the work.
    """
    if function is None:
        return partial(kernel, **options)
    options = {"fastmath": {"contract"}} | options
    options |= {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}
    saved = config.CACHE_DIR  # type: ignore[attr-defined]
    config.CACHE_DIR = CACHE_FOLDER  # type: ignore[attr-defined]
    try:
        return numba.njit(**options)(function)
    finally:
        config.CACHE_DIR = saved  # type: ignore[attr-defined]


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a kernel of the inner loop into its callers: passing arrays costs as much."""
    return kernel(function, forceinline=True)
