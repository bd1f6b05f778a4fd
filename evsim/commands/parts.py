"""The data set that ``evsim train`` is asked for, cut in three: to train, validate and test."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evsim.arrays import FloatArray
from evsim.files import FileError
from evsim.train_options import NAMED, PIXELS
from evsim.words import LINE, count, plain

if TYPE_CHECKING:
    from evsim.datasets import Dataset, SpikeFileData

_TEST_SHARE, _VALIDATION_SHARE = 0.2, 0.1  # of what has no such part of its own
_PART_SEED = 0  # the parts don't depend on the seed of the training: accuracies compare
_DIGITS = 19  # a number of fewer is an int64


@dataclass(frozen=True)
class Parts:
    """A data set cut in three; what a spike of each unit is worth, if units tell a value."""

    train: Dataset
    validation: Dataset
    test: Dataset
    worth: FloatArray | None = field(default=None, kw_only=True)

    def __str__(self) -> str:
        """Return the sizes."""
        n = [f"{len(part):,}" for part in (self.train, self.validation, self.test)]
        return (
            f"{n[0]} recordings to train, {n[1]} to validate, {n[2]} to test; "
            f"{count(self.train.size, 'unit')}, {self.train.duration:g} s, "
            f"{len(self.train.class_names)} classes"
        )

    def summed(self, factor: int) -> Parts:
        """Return the same parts with every ``factor`` neighbouring channels as one."""
        from evsim.datasets import Summed

        train, validation, test = (
            Summed(part, factor) for part in (self.train, self.validation, self.test)
        )
        return replace(self, train=train, validation=validation, test=test)

    def limited(self, n: int) -> Parts:
        """Return at most n recordings to train and validate with, and n to test with."""
        rng = np.random.default_rng(_PART_SEED)
        known = len(self.train) + len(self.validation)
        n_validation = min(len(self.validation), max(1, round(n * len(self.validation) / known)))
        sizes = (n - n_validation, n_validation, n)
        train, validation, test = (
            part[np.sort(rng.permutation(len(part))[:size])]
            for part, size in zip((self.train, self.validation, self.test), sizes, strict=True)
        )
        return replace(self, train=train, validation=validation, test=test)


def open_parts(
    dataset: str,
    held_out: str | None = None,
    validation: float = _VALIDATION_SHARE,
    recordings: int | None = None,
) -> Parts:
    """Open a data set and cut it in three.

    Parameters
    ----------
    dataset : str
        See `TrainSettings`.
    held_out : str or None
        A speaker, by name or number: the test part is theirs, or of a set with a test part
        of its own (SHD), the validation part. Without it, parts that the set does not have
        are drawn at random, always the same ones. What says of each recording which part it
        is in (GSC-10, SSC, a spike file with ``/extra/part``) keeps its parts.
    validation : float
        Share of the recordings to train with that become a validation part where there is none.
    recordings : int or None
        How many of them there are at most, see `TrainSettings`.

    Returns
    -------
    Parts
        To train, validate and test.

    Raises
    ------
    FileError
        If there is no such data set.
    ValueError
        If there is no such speaker, or one is asked for where parts are told.
    """
    parts = _open_parts(dataset, held_out, validation)
    return parts if recordings is None else parts.limited(recordings)


def _open_parts(dataset: str, held_out: str | None, validation: float) -> Parts:
    from evsim import datasets
    from evsim.datasets.sets.coincidence import Coincidence
    from evsim.datasets.sets.spoken_digits import SpokenDigits
    from evsim.datasets.sets.yin_yang import YinYang

    train: Dataset
    test: Dataset
    if dataset == "digits":
        train, test = (SpokenDigits(part, held_out=held_out) for part in ("train", "test"))
        return Parts(*train.split(validation, _PART_SEED), test)
    if dataset == "gsc10":
        return _told_parts(dataset, datasets.GSC10(), held_out, validation)
    if held_out is not None and (dataset in NAMED or dataset.startswith(PIXELS)):
        who = "wrote" if dataset.startswith(PIXELS) else "spoke"
        raise ValueError(f"--held-out: {dataset} does not tell who {who}")
    if dataset == "yin-yang":
        return Parts(*(YinYang(part, bias=0.0) for part in ("train", "validation", "test")))
    if dataset == "coincidence":
        return Parts(*(Coincidence(n, seed) for seed, n in enumerate((2000, 500, 500))))
    if dataset.startswith(PIXELS):
        train, test = (datasets.PixelMNIST(_path(dataset), part) for part in ("train", "test"))
        return Parts(*train.split(validation, _PART_SEED), test, worth=train.worth)
    if os.path.isdir(dataset):
        return _folder_parts(dataset, held_out, validation)
    if not os.path.exists(dataset):
        known = ", ".join((*NAMED, f"{PIXELS}FOLDER"))
        raise FileError(f"{dataset}: is neither a file nor one of {known}")
    whole = datasets.SpikeFileData(dataset)
    if whole.parts is not None:
        return _told_parts(dataset, whole, held_out, validation)
    if held_out is None:
        train, test = whole.split(_TEST_SHARE, _PART_SEED)
    else:
        train, test = _hold_out(whole, held_out)
    return Parts(*train.split(validation, _PART_SEED), test)


def refuse_unlearnable(dataset: str, parts: Parts, share: str = "") -> None:
    """Refuse parts without recordings, and a single class.

    Parameters
    ----------
    dataset : str
        As it was asked for.
    parts : Parts
        Of it.
    share : str
        What else may help if there are none to train or validate with.

    Raises
    ------
    ValueError
        Says which part.
    """
    for name, part in (
        ("train", parts.train),
        ("validate", parts.validation),
        ("test", parts.test),
    ):
        if not len(part):
            raise ValueError(
                f"{dataset}: has no recordings to {name} with; give more of each class"
                f"{'' if name == 'test' else share}"
            )
    labels = parts.train.labels
    if (labels == labels[0]).all():
        only = plain(parts.train.class_names[labels[0]], LINE)
        raise ValueError(
            f"{dataset}: all recordings to train with are of one class, {only}; a training "
            "needs two at least"
        )


def inputs_of(dataset: str) -> list[Path]:
    """Return the file, or the folder and what stands in it, that is going to be read.

    Parameters
    ----------
    dataset : str
        See `TrainSettings`; what comes with evsim is not read from where the user is.

    Returns
    -------
    list of Path
        With what stands in the folders of a folder.
    """
    path = _path(dataset)
    if dataset in NAMED or not path.exists():
        return []
    return [path, *path.glob("*"), *path.glob("*/*")]


def _path(dataset: str) -> Path:
    return Path(dataset.removeprefix(PIXELS))


def _told_parts(name: str, whole: SpikeFileData, held_out: str | None, validation: float) -> Parts:
    """Keep the parts that a file tells; if none is to validate, it is a share of the training."""
    if held_out is not None:
        raise ValueError(f"--held-out: {name} has parts of its own")
    train, validate, test = (whole.part(part) for part in ("train", "validation", "test"))
    for part, found in (("train", train), ("test", test)):
        if not len(found):
            raise FileError(f"{name}: /extra/part: has no recording to {part} with")
    if not len(validate):
        train, validate = train.split(validation, _PART_SEED)
    return Parts(train, validate, test)


def _folder_parts(folder: str, held_out: str | None, validation: float) -> Parts:
    """Open SHD, or SSC if that is in the folder."""
    from evsim.datasets import SHD, SSC

    if any(any(Path(folder).glob(pattern)) for pattern in ("ssc_*", "SSC/ssc_*")):
        if held_out is not None:
            raise ValueError("--held-out: SSC has parts of its own")
        return Parts(*(SSC(folder, part) for part in ("train", "valid", "test")))
    train, test = SHD(folder, "train"), SHD(folder, "test")
    if held_out is None:
        return Parts(*train.split(validation, _PART_SEED), test)
    return Parts(*_hold_out(train, held_out), test)


def _hold_out(data: Dataset, speaker: str) -> tuple[Dataset, Dataset]:
    if not (speaker.isascii() and speaker.isdecimal() and len(speaker) < _DIGITS):
        raise ValueError(f"--held-out {speaker}: speakers of this set are numbers")
    try:
        return data.hold_out(int(speaker))
    except ValueError as error:
        raise ValueError(f"--held-out {speaker}: {error}") from error
