"""Folders of a few files that are whole or absent, and written by one process at a time.

Beside the folder ``report`` stand, while it is made, ``.report.lock``, ``.report.<digits>.partial``
and, while it is replaced, ``.report.<digits>.old``. A killed process leaves some of them
behind; whoever holds the lock next knows that they are nobody's.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Collection
from os import PathLike
from pathlib import Path
from types import TracebackType

from evsim.files.hdf5 import FileError, reason
from evsim.files.locks import fcntl, lock
from evsim.files.whole_file import explained, sync_folder


class WholeFolder:
    """A context manager: the body fills a temporary folder, the end renames it.

    Parameters
    ----------
    path : path
        Final name.
    names : collection of str
        Of the files that it may hold; a folder with others is never replaced.
    overwrite : bool
        Whether an existing folder may be replaced. It stays as it is until the end.

    Raises
    ------
    FileExistsError
        If the folder exists and must not be replaced.
    FileError
        If another process is writing it, it can't be written, or the name is taken by a file.
    """

    def __init__(
        self, path: str | PathLike[str], names: Collection[str], overwrite: bool = False
    ) -> None:
        self.path, self.names, self.overwrite = os.fspath(path), frozenset(names), overwrite
        self._final = Path(path).absolute()
        self._lock = -1

    def __enter__(self) -> Path:
        """Return the temporary folder."""
        self._check()
        try:
            self._take_lock()
            try:
                self._clean_up()
                self._check()
                self._new = self._beside("partial")
                self._new.mkdir()
            except BaseException:
                self._release()
                raise
        except FileExistsError:
            raise
        except OSError as error:
            raise FileError(f"{self.path}: can't be written: {reason(error)}") from error
        return self._new

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Rename the folder, or remove it if the body failed."""
        try:
            if error is None:
                self._check()
                self._commit()
            elif (told := explained(self.path, str(self._new), error)) is not error:
                raise told from error
        except OSError as failure:
            if isinstance(failure, FileExistsError) and failure.errno is None:
                raise
            raise FileError(f"{self.path}: can't be written: {reason(failure)}") from failure
        finally:
            shutil.rmtree(self._new, ignore_errors=True)
            self._release()

    def _check(self) -> None:
        """Refuse a folder that can't be written, or that holds more than ours does."""
        final = self._final
        if final.is_symlink() or (final.exists() and not final.is_dir()):
            raise FileError(f"{self.path}: is no folder; a report needs one of its own")
        if not final.parent.is_dir():
            raise FileError(f"{self.path}: the folder {final.parent} does not exist")
        if not final.exists():
            return
        other = sorted({p.name for p in final.iterdir()} - self.names)
        if other:
            raise FileExistsError(
                f"{self.path}: holds {other[0]}, which is not of a report; choose another folder"
            )
        if not self.overwrite:
            raise FileExistsError(f"{self.path}: exists already; give --overwrite to replace it")

    def _commit(self) -> None:
        for path in self._new.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(self._new)
        old = self._beside("old")
        if self._final.exists():
            self._final.rename(old)
        try:
            self._new.rename(self._final)
        except BaseException:
            if old.exists():
                old.rename(self._final)
            raise
        sync_folder(self._final.parent)
        shutil.rmtree(old, ignore_errors=True)

    def _beside(self, what: str) -> Path:
        return self._final.with_name(f".{self._final.name}.{secrets.token_hex(6)}.{what}")

    def _take_lock(self) -> None:
        """Take the lock, or refuse: two at once would do their work for one result."""
        self._lock_path = self._final.with_name(f".{self._final.name}.lock")
        while True:
            opened = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o666)
            if not lock(opened):
                os.close(opened)
                raise FileError(
                    f"{self.path}: is being written by another evsim; wait for it, or choose "
                    "another folder"
                )
            if os.fstat(opened).st_nlink:  # else its owner has just removed it
                self._lock = opened
                return
            os.close(opened)

    def _release(self) -> None:
        if fcntl is not None:
            self._lock_path.unlink(missing_ok=True)
        os.close(self._lock)
        if fcntl is None:  # Windows removes no open file
            self._lock_path.unlink(missing_ok=True)

    def _clean_up(self) -> None:
        """Remove what killed processes left; put back a folder that one was about to replace."""
        if fcntl is None:  # without locks nobody knows whose they are
            return
        # Without digits: what earlier versions left.
        stem = re.escape(self._final.name)
        pattern = re.compile(rf"\.{stem}(\.[0-9a-f]{{12}})?\.(partial|old)")
        for path in self._final.parent.iterdir():
            left = pattern.fullmatch(path.name)
            if left is None or path.is_symlink() or not path.is_dir():
                continue
            if not all(self._is_ours(p.name) for p in path.iterdir()):
                continue
            if left[2] == "old" and not self._final.exists():
                path.rename(self._final)
            else:
                shutil.rmtree(path, ignore_errors=True)

    def _is_ours(self, name: str) -> bool:
        """Return whether it is one of our files, or a temporary one of them."""
        return name in self.names or any(name.startswith(f".{known}.") for known in self.names)
