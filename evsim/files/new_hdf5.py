"""New HDF5 files that are whole or absent, whatever goes wrong in between.

The HDF5 library does not survive a write that fails, nor an exception in the midst of
its work. So it writes through `_Sink`, which never fails but remembers, and Ctrl-C waits.
"""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h5py

from evsim.files.whole_file import WholeFile, explained


class NewHdf5(WholeFile):
    """A new HDF5 file that is whole or absent.

    Attributes
    ----------
    h5 : h5py.File
        For the body to fill.
    """

    h5: h5py.File

    def __enter__(self) -> NewHdf5:  # type: ignore[override]
        """Return the open file."""
        temporary = super().__enter__()
        try:
            self._sink = _Sink(temporary)
            with self.writing():
                self.h5 = h5py.File(self._sink, "w")
        except BaseException as error:
            super().__exit__(type(error), error, None)
            raise
        return self

    def __exit__(self, *error: Any) -> None:
        """Close and rename the file, or remove it."""
        try:
            with self.writing():
                self.h5.close()
        except BaseException as failure:
            if error[1] is None:
                self._close(type(failure), failure, None)
                raise
        self._close(*error)

    def _close(self, *error: Any) -> None:
        self._sink.close()
        super().__exit__(*error)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Put off Ctrl-C while the body writes, then look whether writing went well.

        The library calls back into Python (`_Sink`), where an interrupt would be raised
        in the midst of its work.
        """
        usual = signal.getsignal(signal.SIGINT)
        pressed: list[Any] = []
        mine = callable(usual) and threading.current_thread() is threading.main_thread()
        if mine:
            signal.signal(signal.SIGINT, lambda *what: pressed.append(what))
        try:
            yield
        finally:
            if mine:
                signal.signal(signal.SIGINT, usual)
            if pressed and callable(usual):
                usual(*pressed[0])
        self.check()

    def check(self) -> None:
        """Raise the error that a write met with, if any."""
        if self._sink.error is not None:
            raise explained(self.path, self.temporary, self._sink.error) from self._sink.error


class _Sink(io.RawIOBase):
    """A file to which writing always seems to succeed.

    A write that fails (a full disk) makes the HDF5 library take the process down when
    the file is closed. So the error is kept for later, and what could not be written
    stays in memory until the file is closed and removed.
    """

    def __init__(self, path: str) -> None:
        self._file = open(path, "r+b", buffering=0)  # noqa: SIM115, closed by close()
        self._unwritten: list[tuple[int, bytes]] = []
        self._at = 0
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place in the file."""
        self._at = offset
        if whence == os.SEEK_END:
            ends = [start + len(data) for start, data in self._unwritten]
            self._at = offset + max([os.fstat(self._file.fileno()).st_size, *ends])
        return self._at

    def write(self, data: Any) -> int:
        """Write, or remember."""
        data = bytes(data)
        try:
            if self.error is None:
                self._file.seek(self._at)
                done = self._file.write(data)
                while done < len(data):  # the disk is nearly full
                    done += self._file.write(data[done:])
        except OSError as error:
            self.error = error
        if self.error is not None:
            self._unwritten.append((self._at, data))
        self._at += len(data)
        return len(data)

    def readinto(self, buffer: Any) -> int:
        """Read back what was written or remembered."""
        view = memoryview(buffer).cast("B")
        self._file.seek(self._at)
        n = self._file.readinto(view) or 0
        for start, data in self._unwritten:
            first, last = max(start, self._at), min(start + len(data), self._at + len(view))
            if first < last:
                view[first - self._at : last - self._at] = data[first - start : last - start]
                n = max(n, last - self._at)
        self._at += n
        return n

    def truncate(self, size: int | None = None) -> int:
        """Set the length of the file."""
        size = self._at if size is None else size
        try:
            if self.error is None:
                self._file.truncate(size)
        except OSError as error:
            self.error = error
        return size

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def check_group_name(what: str, name: str) -> None:
    """Refuse a name that no group of an HDF5 file can have."""
    surrogates = any("\ud800" <= c <= "\udfff" for c in name)  # they have no bytes
    if name in ("", ".") or "/" in name or "\0" in name or surrogates:
        raise ValueError(f"{what} {name!r}: can't be the name of an HDF5 group; use no '/'")
