"""Locks of open files and folders: the system takes them back when their process ends."""

from __future__ import annotations

import os
from os import PathLike

try:
    import fcntl
except ImportError:  # not on Windows: there everything seems free
    fcntl = None  # type: ignore[assignment]


def lock(descriptor: int) -> bool:
    """Take the lock of an open file or folder if it is free (or if there are no locks here).

    Parameters
    ----------
    descriptor : int
        Closing it releases the lock, and so does the end of the process.

    Returns
    -------
    bool
        False if someone else has it.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def lock_folder(path: str | PathLike[str]) -> int:
    """Take the lock of a folder; nothing is written for it, and nothing stays behind.

    Parameters
    ----------
    path : path
        Of a folder that exists.

    Returns
    -------
    int
        A descriptor to be closed when the folder is free again; -1 where there are no locks.

    Raises
    ------
    BlockingIOError
        If another process has it.
    """
    if fcntl is None:
        return -1
    descriptor = os.open(path, os.O_RDONLY)
    if not lock(descriptor):
        os.close(descriptor)
        raise BlockingIOError(f"{os.fspath(path)}: is in use by another process")
    return descriptor
