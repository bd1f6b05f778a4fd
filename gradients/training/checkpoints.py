"""Checkpoints: files from which a training goes on, whole or absent.

They hold tensors, numbers, strings, lists and dictionaries; reading one runs no code. What
they must hold to belong to a model is known to `states`.
"""

from __future__ import annotations

import os
import pickletools
import re
import zipfile
from os import PathLike, fspath
from typing import Any, BinaryIO

import torch

from evsim.files import FileError, WholeFile
from evsim.files.hdf5 import open_regular, reason

_FORMAT, _VERSION = "evsim-checkpoint", 1
# What a file may have made: tensors and ordered dictionaries, whose size its bytes bound.
_MADE = re.compile(r"torch\._utils _rebuild_tensor_v2|torch \w+Storage|collections OrderedDict")


def save_checkpoint(path: str | PathLike[str], state: dict[str, Any]) -> None:
    """Write a state; the checkpoint that was there stays as it is until the new one is whole.

    Parameters
    ----------
    path : path
        Of the file.
    state : dict
        Of tensors and plain values.

    Raises
    ------
    FileError
        If the file can't be written.
    """
    with WholeFile(path, overwrite=True) as temporary:
        torch.save({"format": _FORMAT, "version": _VERSION, **state}, temporary)


def load_checkpoint(path: str | PathLike[str]) -> dict[str, Any]:
    """Read a state.

    Parameters
    ----------
    path : path
        Of a file that `save_checkpoint` wrote.

    Returns
    -------
    dict
        The state.

    Raises
    ------
    FileError
        If the file is missing or not sound.
    """
    where = fspath(path)
    try:
        with open_regular(where) as file:
            _check_records(file)
            file.seek(0)
            state = torch.load(file, weights_only=True, map_location="cpu")
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{where}: can't be read: {reason(error)}") from error
    except Exception as error:  # of many kinds: torch believes what it reads
        raise FileError(f"{where}: can't be read: it is no sound checkpoint") from error
    if not isinstance(state, dict) or not _is(state.pop("format", None), _FORMAT):
        raise FileError(f"{where}: is no checkpoint of evsim")
    if not _is(state.pop("version", None), _VERSION):
        raise FileError(f"{where}: is a checkpoint of another version of evsim")
    return state


def _is(value: object, wanted: object) -> bool:
    return type(value) is type(wanted) and value == wanted


def _check_records(file: BinaryIO) -> None:
    """Raise an error unless the file is an archive of sound records that make only tensors."""
    with zipfile.ZipFile(file) as archive:
        records = archive.infolist()
        stored = all(record.compress_type == zipfile.ZIP_STORED for record in records)
        if not stored or sum(r.file_size for r in records) > os.fstat(file.fileno()).st_size:
            raise ValueError("records are larger than the file")
        if archive.testzip() is not None:
            raise ValueError("a record does not have its checksum")
        (pickled,) = (r for r in records if r.filename.endswith("/data.pkl"))
        for operation, what, _ in pickletools.genops(archive.read(pickled)):
            if operation.name == "GLOBAL" and not _MADE.fullmatch(str(what)):
                raise ValueError(f"{what} is to be made")
