"""Files that are whole or absent: written under a temporary name, renamed when done.

An exception in between removes the temporary file. A killed process leaves it behind,
under a name that nobody takes for a result; the next run with the same target removes
it, once it is sure that no living process holds its lock.
"""

from __future__ import annotations

import glob
import os
import secrets
from contextlib import suppress
from os import PathLike
from types import TracebackType

from evsim.files.hdf5 import FileError, reason
from evsim.files.locks import fcntl, lock  # without it stale temporary files stay


class WholeFile:
    """A context manager: the body writes to a temporary file, the end renames it.

    Parameters
    ----------
    path : path
        Final name.
    overwrite : bool
        Whether an existing file may be replaced. It stays as it is until the end.

    Raises
    ------
    FileExistsError
        If the file exists and must not be replaced.
    FileError
        If the folder does not exist or can't be written to, or the disk is full.

    Examples
    --------
    >>> import os, tempfile
    >>> target = os.path.join(tempfile.mkdtemp(), "greeting.txt")
    >>> with WholeFile(target) as temporary:
    ...     _ = open(temporary, "w").write("hello")
    >>> os.listdir(os.path.dirname(target))
    ['greeting.txt']
    """

    def __init__(self, path: str | PathLike[str], overwrite: bool = False) -> None:
        self.path = os.fspath(path)
        self.overwrite = overwrite
        self.temporary = ""
        self._lock = -1

    def __enter__(self) -> str:
        """Return the temporary name."""
        self._refuse_existing()
        folder, name = os.path.split(os.path.abspath(self.path))
        if not os.path.isdir(folder):
            raise FileError(f"{self.path}: the folder {folder} does not exist")
        _remove_stale(folder, name)
        try:
            while not self._take(os.path.join(folder, f".{name}.{secrets.token_hex(6)}.partial")):
                pass
        except (OSError, ValueError) as error:
            raise FileError(f"{self.path}: can't be written: {reason(error)}") from error
        return self.temporary

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Rename the file, or remove it if the body failed."""
        try:
            if error is not None:
                raise explained(self.path, self.temporary, error)
            self._commit()
        except BaseException as failure:
            self._discard()
            if failure is not error:
                raise explained(self.path, self.temporary, failure) from error
        finally:
            self._unlock()

    def _commit(self) -> None:
        self._refuse_existing()
        os.fsync(self._lock)
        if fcntl is None:
            self._unlock()  # Windows renames no open file
        os.replace(self.temporary, self.path)
        sync_folder(os.path.dirname(os.path.abspath(self.path)))

    def _discard(self) -> None:
        if os.path.exists(self.temporary):
            os.unlink(self.temporary)

    def _refuse_existing(self) -> None:
        if not self.overwrite and os.path.lexists(self.path):
            raise FileExistsError(
                f"{self.path}: exists already; choose another name or ask to overwrite it"
            )
        if os.path.exists(self.path) and not os.path.isfile(self.path):
            what = "a folder" if os.path.isdir(self.path) else "not a regular file"
            raise FileError(f"{self.path}: is {what}; choose another name")

    def _take(self, temporary: str) -> bool:
        """Create the temporary file and lock it; False if someone took it in between."""
        opened = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if not lock(opened) or os.fstat(opened).st_nlink == 0:
            os.close(opened)
            return False
        self._lock, self.temporary = opened, temporary
        return True

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def sync_folder(folder: str | PathLike[str]) -> None:
    """Bring the names in a folder to the disk, so that a power cut does not lose a new file.

    Not all systems can, and not all folders that may be written may be read; the file itself
    is whole by then.
    """
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove_stale(folder: str, name: str) -> None:
    """Remove the temporary files of processes that were killed while they wrote ``name``."""
    if fcntl is None:
        return
    for stale in glob.glob(os.path.join(glob.escape(folder), f".{glob.escape(name)}.*.partial")):
        try:
            descriptor = os.open(stale, os.O_RDWR)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(stale)
        except OSError:  # its writer is alive, or there are no locks here: leave it
            pass
        finally:
            os.close(descriptor)


def explained(path: str, temporary: str, error: BaseException) -> BaseException:
    """Give an error of the system (a full disk) the name of what is written; leave others alone.

    ``temporary`` is the file, or the folder of files, that is written to.
    """
    if not isinstance(error, OSError) or isinstance(error, FileExistsError):
        return error
    if error.filename is not None and not str(error.filename).startswith(temporary):
        return error  # it is about another file
    return FileError(f"{path}: can't be written: {reason(error)}")
