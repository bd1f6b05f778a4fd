"""Checkpoints: files from which a training goes on, whole or absent.

They hold tensors, numbers, strings, lists and dictionaries; reading one runs no code.
"""

from __future__ import annotations

import pickle
from os import PathLike, fspath
from typing import Any

import torch

from evsim.files import FileError, WholeFile
from evsim.files.hdf5 import open_regular, reason

_FORMAT, _VERSION = "evsim-checkpoint", 1
_BROKEN = (pickle.UnpicklingError, RuntimeError, ValueError, KeyError, EOFError, OSError)


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
    try:
        with open_regular(path) as file:
            state = torch.load(file, weights_only=True)
    except FileError:
        raise
    except _BROKEN as error:
        why = reason(error) if isinstance(error, OSError) else "it is no sound checkpoint"
        raise FileError(f"{fspath(path)}: can't be read: {why}") from error
    if not isinstance(state, dict) or state.pop("format", None) != _FORMAT:
        raise FileError(f"{fspath(path)}: is no checkpoint of evsim")
    if state.pop("version", None) != _VERSION:
        raise FileError(f"{fspath(path)}: is a checkpoint of another version of evsim")
    return state
