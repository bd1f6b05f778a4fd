"""``StudyFolder``: what a study keeps on disk: its options, a lock, table, figure and report."""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from os import PathLike
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import torch
from msgspec import Meta
from msgspec.structs import asdict

from evsim.files import FileError, WholeFile
from evsim.files.hdf5 import reason
from evsim.files.locks import lock_folder
from evsim.schema import checked
from evsim.version import VERSION

from .interface import Point, key_of, told

SEEDS, QUICK_SEEDS = 3, 1  # unless told
_OPTIONS = "options.json"
_LONGEST = 100  # characters of a run folder's name
_LOOKED_AT = 64  # recordings of each part that are compared when a study goes on
_Text = Annotated[str, Meta(max_length=4096)]
Seeds = Annotated[int, Meta(ge=1, le=10_000)]


class StudyOptions(msgspec.Struct, frozen=True):
    """What a study was asked for, and what computes it."""

    study: _Text
    data: _Text
    seeds: Seeds
    quick: bool
    versions: dict[str, str]
    recordings: _Text = ""  # of the data, in words
    digest: _Text = ""  # of the data, see `digest_of`; none in older folders


class StudyFolder:
    """The folder of one study, a context manager: inside it no other command writes there.

    Parameters
    ----------
    path : path
        Of the folder, which need not exist yet.
    resume : bool
        Whether there must be a study in it, to go on with.

    Attributes
    ----------
    path : Path
        Of the folder, absolute, for workers may stand elsewhere.
    """

    def __init__(self, path: str | PathLike[str], resume: bool = False) -> None:
        self.name, self._resume = os.fspath(path), resume
        self.path = Path(path).absolute()
        self._lock = -1

    def __enter__(self) -> StudyFolder:
        """Make the folder if it is not there, and take its lock."""
        if self.path.exists() and not self.path.is_dir():
            raise FileError(f"{self.name}: is a file; a study needs a folder")
        if self._resume and not self.begun():
            raise FileError(
                f"{self.name}: holds no study to go on with; leave --resume out to start one"
            )
        if not self.path.parent.is_dir():
            raise FileError(f"{self.name}: the folder {self.path.parent} does not exist")
        try:
            self.path.mkdir(exist_ok=True)
            self._lock = lock_folder(self.path)
        except BlockingIOError as error:
            raise FileError(
                f"{self.name}: another study is at work there; wait until it has ended, or "
                "choose another folder"
            ) from error
        except OSError as error:
            raise FileError(f"{self.name}: can't be made: {reason(error)}") from error
        return self

    def __exit__(self, *_: object) -> None:
        """Release the lock."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def begin(
        self, study: str, data: str, seeds: int | None, quick: bool, recordings: str, digest: str
    ) -> StudyOptions:
        """Start a study in an empty folder; write what it was asked for.

        Parameters
        ----------
        study, data : str
            Names.
        seeds : int or None
            How many; if left out 3, or 1 of a quick study.
        quick : bool
            Whether it is one.
        recordings : str
            What the data holds, in words.
        digest : str
            Of the data, see `digest_of`.

        Raises
        ------
        FileExistsError
            If there is something in the folder.
        """
        # What a start left that was killed before its options were whole counts as nothing.
        if any(not one.name.startswith(f".{_OPTIONS}.") for one in self.path.iterdir()):
            can = "give --resume to go on with it, or " if self.begun() else ""
            raise FileExistsError(f"{self.name}: is not empty; {can}choose another folder")
        asked = (QUICK_SEEDS if quick else SEEDS) if seeds is None else seeds
        options = checked(
            StudyOptions,
            {
                "study": study,
                "data": data,
                "seeds": asked,
                "quick": quick,
                "versions": versions(),
                "recordings": recordings,
                "digest": digest,
            },  # fmt: skip
        )
        self._write_options(options)
        return options

    def resume(
        self, study: str, data: str, seeds: int | None, quick: bool, recordings: str, digest: str
    ) -> StudyOptions:
        """Return the options of a study that goes on, with more seeds perhaps.

        Parameters
        ----------
        study, data, seeds, quick, recordings, digest
            As for `begin`; seeds that are left out stay as they are.

        Raises
        ------
        FileError
            If its options are not sound.
        ValueError
            If it was asked for with others.
        """
        was = self._read_options()
        for name, asked in (("study", study), ("data", data), ("quick", quick)):
            kept = getattr(was, name)
            if asked != kept:
                raise ValueError(
                    f"{self.name}: was begun with {name} = {kept}, not {asked}; give it the same, "
                    "or choose another folder"
                )
        if recordings != was.recordings != "":
            raise ValueError(
                f"{self.name}: was begun with other recordings of {data} ({was.recordings}; now "
                f"{recordings}); put the data back, or choose another folder"
            )
        if digest != was.digest != "":
            raise ValueError(
                f"{self.name}: was begun with other spikes or labels of {data}, though as many; "
                "put the data back, or choose another folder"
            )
        if seeds is not None and seeds < was.seeds:
            raise ValueError(
                f"{self.name}: was begun with seeds = {was.seeds}, not {seeds}; give as many "
                "or more"
            )
        now = versions()
        before = {name: was.versions.get(name, "none") for name in now}
        changed = [f"{k} {before[k]}, now {v}" for k, v in now.items() if v != before[k]]
        if changed:
            warnings.warn(
                f"{self.name}: goes on with other versions ({', '.join(changed)}); "
                "points before and after may differ",
                stacklevel=2,
            )
        options = msgspec.structs.replace(was, seeds=was.seeds if seeds is None else seeds)
        options = checked(StudyOptions, asdict(options))
        if options != was:
            self._write_options(options)
        return options

    def begun(self) -> bool:
        """Whether there is a study in the folder."""
        return (self.path / _OPTIONS).exists()

    def run_folder(self, point: Point, seed: int) -> Path:
        """Return the folder of a point and seed, named by its settings."""
        name = f"{told(point)} seed={seed}".replace(" ", ",")
        safe = re.sub(r"[^\w.,=+-]", "_", name, flags=re.ASCII)
        if safe != name or len(safe) > _LONGEST or safe != safe.lower():
            digest = hashlib.sha256(key_of(point).encode()).hexdigest()[:8]
            safe = f"{safe[:_LONGEST].lower()}-{digest},seed={seed}"
        return self.path / "runs" / safe

    def write(self, name: str, text: str) -> None:
        """Write a file that is whole or absent; what stood there is replaced."""
        with WholeFile(self.path / name, overwrite=True) as temporary:
            Path(temporary).write_text(text, encoding="utf-8", newline="")

    def _write_options(self, options: StudyOptions) -> None:
        self.write(_OPTIONS, json.dumps(asdict(options), indent=2) + "\n")

    def _read_options(self) -> StudyOptions:
        path = self.path / _OPTIONS
        try:
            return checked(StudyOptions, msgspec.json.decode(path.read_bytes()), whole=False)
        except (OSError, ValueError, RecursionError) as error:
            raise FileError(
                f"{path}: {reason(error)}; put the file back as it was, or start anew in another "
                "folder"
            ) from error


def digest_of(parts: Any) -> str:
    """Return a digest of all labels of a data set, and of some recordings of each part.

    Parameters
    ----------
    parts : Parts
        ``train``, ``validation`` and ``test``. Recordings are evenly spaced: to read all of a
        large set takes long, and one that was made anew differs in all of them.
    """
    digest = hashlib.sha256()
    for part in (parts.train, parts.validation, parts.test):
        digest.update(part.labels.tobytes())
        some = np.unique(np.linspace(0, len(part) - 1, _LOOKED_AT).astype(int))
        for spikes in part[some].batches(_LOOKED_AT):
            for array in (spikes.times, spikes.units, spikes.offsets):
                digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Return the versions that results depend on."""
    return {"evsim": VERSION, "numpy": np.__version__, "torch": str(torch.__version__)}
