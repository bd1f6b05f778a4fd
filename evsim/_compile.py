"""One decorator for every compiled function, with a cache that can't go stale or astray.

Numba's own ``cache=True`` keys a function by the text of its own file, but what the
function calls may stand in another file: after a change there, the old machine code
would run. Here the cache folder carries a digest of every source file that may hold a
kernel (their names start with an underscore), so any edit or upgrade of one recompiles,
and nothing is written next to the package.

The cache is unpickled, which may run anything. So it is used only where nobody else can
write, and every file in it begins with a digest of the rest, which is compared first.
"""

from __future__ import annotations

import glob
import hashlib
import os
import pickle
import re
import stat
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numba
from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    IndexDataCacheFile,
    _CacheLocator,
    _SourceFileBackedLocatorMixin,
)
from numba.core.dispatcher import Dispatcher
from numba.core.event import Listener, register

from evsim.compiling import watch

_HERE = Path(__file__).parent
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
_DIGEST = hashlib.sha256().digest_size
_VERSION = re.compile("evsim-[0-9a-f]{16}")  # the name of a version's folder
_KEPT, _HOUR, _UNUSED = 10, 3600, 30 * 86400  # versions; [s]
_warned: set[str] = set()


class _Damaged(Exception):
    """A file of the cache is not what was written, or not the user's."""


def _warn(what: str, message: str) -> None:
    """Warn, but only once for each kind of trouble: there are a hundred kernels."""
    if what not in _warned:
        _warned.add(what)
        warnings.warn_explicit(message, UserWarning, __file__, 0)  # no line of code to show


def _sources_digest() -> str:
    """Return what names this version of the sources."""
    rooms = [_HERE]
    if (_HERE.parent / "setup.cfg").is_file():  # a checkout: the rooms are siblings
        rooms += [_HERE.parent / "gradients", _HERE.parent / "datasets"]
    digest = hashlib.sha256()
    for room in rooms:
        for path in sorted(room.rglob("_*.py")):
            digest.update(path.read_bytes())
    return f"evsim-{digest.hexdigest()[:16]}"


def _wanted_base() -> str:
    """Return where the user wants the cache: as Numba is told, or with their other caches."""
    base = os.environ.get("NUMBA_CACHE_DIR")
    if base:
        return base
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(home, "evsim")


def _not_private(path: str, found: os.stat_result) -> str | None:
    """Return why a file or folder can't be trusted with code, None if only the user can write."""
    if hasattr(os, "geteuid"):  # not on Windows, where home folders are private
        if found.st_uid != os.geteuid():
            return f"{path} belongs to another user"
        if found.st_mode & _OTHERS_MAY_WRITE:
            return f"others may write to {path} (chmod go-w mends it)"
    return None


def _make_private(base: str, folder: str) -> str | None:
    """Create a folder in ``base`` that only the user can write to; return what hinders it."""
    try:
        if not os.path.isabs(base) and not os.environ.get("NUMBA_CACHE_DIR"):
            return "there is no home folder"
        os.makedirs(base, mode=0o700, exist_ok=True)
        for each in (base, folder):
            with suppress(FileExistsError):  # perhaps since a moment ago, by another process
                os.mkdir(each, 0o700)
            if why := _not_private(each, os.stat(each)):
                return why
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        return f"{folder} can't be written: {error.strerror}"
    return None


def _cache_folder() -> str | None:
    """Return the folder for this version of the sources; None if there is no safe one."""
    version, base = _sources_digest(), _wanted_base()
    folder = os.path.abspath(os.path.join(base, version))
    why = _make_private(base, folder)
    if why is None:
        os.utime(folder)  # when it was last used
        return folder
    user = os.geteuid() if hasattr(os, "geteuid") else "user"
    instead = os.path.join(tempfile.gettempdir(), f"evsim-{user}")
    if _make_private(instead, os.path.join(instead, version)) is None:
        _warn("folder", f"compiled code is kept in {instead} for now: {why}")
        return os.path.join(instead, version)
    _warn("folder", f"compiled code is not kept, and compiled anew every time: {why}")
    return None


def _remove_old(mine: str) -> None:
    """Remove what other versions of the sources left: unused for a month, or not among the last.

    A process that still runs one of them has loaded its code, and what it compiles later is
    kept in a folder made anew.
    """
    with suppress(OSError):
        found = [e for e in os.scandir(os.path.dirname(mine)) if _VERSION.fullmatch(e.name)]
        others = [e for e in found if e.is_dir(follow_symlinks=False) and e.path != mine]
        used = {entry.path: entry.stat().st_mtime for entry in others}
        for i, path in enumerate(sorted(used, key=used.__getitem__, reverse=True)):
            age = time.time() - used[path]
            if age > _UNUSED or (i >= _KEPT - 1 and age > _HOUR):
                _remove_code(path)


def _remove_code(folder: str) -> None:
    """Remove machine code and the folders that it leaves empty; what else lies there stays."""
    for path, _, names in os.walk(folder, topdown=False):
        for name in names:
            if name.endswith((".nbi", ".nbc")):
                with suppress(OSError):
                    os.unlink(os.path.join(path, name))
        with suppress(OSError):  # it is not empty
            os.rmdir(path)


CACHE_FOLDER = _cache_folder()
_kernels: WeakSet[Dispatcher] = WeakSet()


class _Locator(_SourceFileBackedLocatorMixin, _CacheLocator):
    """The one folder above and nothing else; Numba would go on to the package itself."""

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self._py_file, self._lineno = file, function.__code__.co_firstlineno
        self._path = os.path.join(CACHE_FOLDER or "", self.get_suitable_cache_subpath(file))

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator:
        """Return the place of a function's code; OSError if there is none."""
        locator = cls(py_func, py_file)
        locator.ensure_cache_path()
        return locator

    def get_cache_path(self) -> str:
        """Return the folder for one source file."""
        return self._path

    def ensure_cache_path(self) -> None:
        """Create the folder, for the user alone."""
        for folder in (CACHE_FOLDER or "", self._path):
            if not os.path.isdir(folder):
                os.makedirs(folder, mode=0o700, exist_ok=True)
        if why := _not_private(self._path, os.stat(self._path)):
            raise PermissionError(why)


class _Kernels(CompileResultCacheImpl):
    _locator_classes = [_Locator]


class _SealedFile(IndexDataCacheFile):
    """Index and machine code of a kernel, each behind a digest that is compared first."""

    def load(self, key: Any) -> Any:
        """Return what was saved under the key, None if nothing was."""
        found = super().load(key)
        # Two processes that compile at once may have given two signatures one file name.
        return found[1] if found is not None and found[0] == key else None

    def save(self, key: Any, data: Any) -> None:
        """Save machine code with its key."""
        super().save(key, (key, data))

    def _load_index(self) -> dict[Any, str]:
        try:
            version, stamp, overloads = self._unsealed(self._index_path)
        except FileNotFoundError:
            return {}
        return overloads if (version, stamp) == (self._version, self._source_stamp) else {}

    def _save_index(self, overloads: dict[Any, str]) -> None:
        self._seal(self._index_path, (self._version, self._source_stamp, overloads))

    def _load_data(self, name: str) -> Any:
        return self._unsealed(self._data_path(name))

    def _save_data(self, name: str, data: Any) -> None:
        self._seal(self._data_path(name), data)

    def _seal(self, path: str, value: Any) -> None:
        data = self._dump(value)
        with self._open_for_write(path) as file:
            file.write(hashlib.sha256(data).digest() + data)

    def _unsealed(self, path: str) -> Any:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise _Damaged(f"{path} is not a regular file")
            if why := _not_private(path, found):
                raise _Damaged(why)
            data = file.read()
        if hashlib.sha256(data[_DIGEST:]).digest() != data[:_DIGEST]:
            raise _Damaged(f"{path} is damaged")
        return pickle.loads(data[_DIGEST:])

    def remove(self) -> None:
        """Remove all that is kept of this kernel."""
        stem = glob.escape(self._index_path.removesuffix(".nbi"))
        for path in glob.glob(f"{stem}.nbi") + glob.glob(f"{stem}.*.nbc"):
            with suppress(OSError):  # what can't be removed is not used either
                os.unlink(path)


class _KernelCache(FunctionCache):
    """Numba's cache of one function, which is never a reason not to run."""

    _impl_class = _Kernels

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        stamp = self._impl.locator.get_source_stamp()
        self._cache_file = _SealedFile(self._cache_path, self._impl.filename_base, stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return machine code; None, and a warning, if what is there can't be used."""
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # a pickle may raise anything
            _warn("damaged", f"cached machine code is compiled anew: {error}")
            self._cache_file.remove()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep machine code, if that is possible."""
        try:
            super().save_overload(sig, data)
        except (OSError, _Damaged) as error:
            _warn("unsaved", f"compiled code can't be kept: {error}")


class _Watcher(Listener):
    """Hears of every function that Numba really compiles, and passes on those of ours."""

    def on_start(self, event: Any) -> None:
        """Note the beginning; the first time, make room for what is going to be kept."""
        if event.data["dispatcher"] in _kernels:
            if watch.begin(len(_kernels), CACHE_FOLDER is not None) and CACHE_FOLDER is not None:
                _remove_old(CACHE_FOLDER)

    def on_end(self, event: Any) -> None:
        """Note the end."""
        if event.data["dispatcher"] in _kernels:
            watch.end()


register("numba:compile", _Watcher())


def kernel(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile ``function`` without the GIL and keep the machine code on disk.

    Products and sums may fuse into one instruction (``contract``); nothing else about
    floating point is relaxed. Without numba's runtime (``_nrt``) a kernel can't allocate,
    and slicing an array does not count references, which would cost more than the work.
    """
    if function is None:
        return partial(kernel, **options)
    options = {"fastmath": {"contract"}} | options
    options |= {"nogil": True, "error_model": "numpy", "_nrt": False}
    compiled = numba.njit(**options)(function)
    if isinstance(compiled, Dispatcher):  # else it isn't compiled
        _kernels.add(compiled)
    if CACHE_FOLDER is not None and isinstance(compiled, Dispatcher):
        try:
            compiled._cache = _KernelCache(function)  # type: ignore[attr-defined]
        except OSError as error:
            _warn("folder", f"compiled code is not kept, and compiled anew every time: {error}")
    return compiled


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a kernel of the inner loop into its callers: passing arrays costs as much."""
    return kernel(function, forceinline=True)
