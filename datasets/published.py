"""Files of published data sets: found in a folder of the user's, opened once per process.

What is missing is fetched by `tonic`, if the user has it and asks for it, or else asked for
in words.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, Generic, TypeVar

from evsim import FileError

File = TypeVar("File")


class PerProcess(Generic[File]):
    """A file that opens on first use and stays open, once in every process.

    Pickled and copied as the way to open it: workers of a ``DataLoader``, forked or
    spawned, each get a handle of their own.

    Parameters
    ----------
    function, *arguments
        ``function(*arguments)`` opens the file.
    """

    def __init__(self, function: Callable[..., File], *arguments: Any) -> None:
        self._how = (function, arguments)
        self._opened: tuple[int, File] | None = None

    def get(self) -> File:
        """Return the open file."""
        if self._opened is None or self._opened[0] != os.getpid():
            function, arguments = self._how
            self._opened = (os.getpid(), function(*arguments))
        return self._opened[1]

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the open file behind."""
        function, arguments = self._how
        return (PerProcess, (function, *arguments))


def find(folder: str | PathLike[str], *names: str, hint: str) -> Path:
    """Return the first of some files that exists.

    Parameters
    ----------
    folder : path
        Where to look, or the file itself.
    *names : str
        Paths of the file relative to the folder, likeliest first.
    hint : str
        Where the file comes from, for the message.

    Raises
    ------
    FileError
        If there is none; says which file to put where.
    """
    folder = Path(folder)
    if folder.is_file():
        return folder
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise FileError(f"{folder}: has no {names[0]}; put it there: {hint}")


def fetch(name: str, folder: str | PathLike[str], **options: Any) -> None:
    """Have `tonic` download a data set into a folder.

    Parameters
    ----------
    name : str
        Of the class in ``tonic.datasets``.
    folder : path
        Where to; tonic makes a folder of the data set's name in it.
    **options
        Given to the class, such as ``train=True``.

    Raises
    ------
    ModuleNotFoundError
        If tonic is not installed.
    """
    try:
        import tonic.datasets
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "download=True needs tonic; install it with: pip install evsim[download], or put "
            f"the files into {os.fspath(folder)} yourself"
        ) from error
    getattr(tonic.datasets, name)(save_to=os.fspath(folder), **options)
