"""What ``evsim train`` does: from the name of a data set to a folder with a trained network.

The one place that knows data sets as well as gradients; both are imported when it is called.
"""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import asdict

from evsim.budget import Budget
from evsim.commands.extras import need_torch
from evsim.compiling import watch
from evsim.files import FileError
from evsim.schema import checked
from evsim.threads import useful_threads
from evsim.train_options import TrainOptions, TrainSettings
from evsim.words import LINE, count, plain

if TYPE_CHECKING:
    import numpy as np

    from evsim import Spikes
    from evsim.datasets import Dataset
    from evsim.gradients.training.callbacks import Callback
    from evsim.gradients.training.run_folder import RunFolder
    from evsim.gradients.training.trainer import Trainer

NAMED = ("digits", "yin-yang", "coincidence")
_TEST_SHARE, _VALIDATION_SHARE = 0.2, 0.1  # of what has no such part of its own
_PART_SEED = 0  # the parts don't depend on the seed of the training: accuracies compare
_MAY_CHANGE = ("epochs", "patience")  # when a training goes on
_PATIENCE, _USUAL_PATIENCE = {"digits": 3}, 6  # epochs
_LACKING = {"patience": 0}  # what older runs don't tell, and did
_MOST_WEIGHTS = 2**25  # some 1 GB; twice that with a delay for each
_MAX_DELAY, _TAU_OUTPUT = 0.3, 0.2  # where recordings are long enough [s]
_STRETCH, _LATE, _SHIFT, _DROPPED = 0.15, 10e-3, 1, 0.2  # of augmentation
_TRAINED = 256  # bytes of a weight: its gradient, steps of the optimiser, copies of layers
_DIGITS = 19  # a number of fewer is an int64
_FIT = 256  # recordings that the first weights are fitted to


@dataclass(frozen=True)
class Parts:
    """A data set cut in three."""

    train: Dataset
    validation: Dataset
    test: Dataset

    def __str__(self) -> str:
        """Return the sizes."""
        n = [f"{len(part):,}" for part in (self.train, self.validation, self.test)]
        return (
            f"{n[0]} recordings to train, {n[1]} to validate, {n[2]} to test; "
            f"{count(self.train.size, 'unit')}, {self.train.duration:g} s, "
            f"{len(self.train.class_names)} classes"
        )


def run_training(
    dataset: str,
    folder: str,
    resume: bool = False,
    overwrite: bool = False,
    threads: int | None = None,
    log: str = "csv",
    quiet: bool = False,
    **given: Any,
) -> None:
    """Train a network, or go on with it, keep everything in a folder, and print how it goes.

    Under ``torchrun`` all processes train one network; the first one writes and prints.

    Parameters
    ----------
    dataset : str
        See `TrainSettings`.
    folder : str
        Of the run.
    resume : bool
        Whether to go on with the training in the folder.
    overwrite : bool
        Whether to replace the training in the folder.
    threads : int or None
        Threads to spread recordings over; one per core if left out, shared out among the
        processes of a machine.
    log : {"csv", "tensorboard"}
        Whether events for TensorBoard are written besides the table.
    quiet : bool
        Whether nothing is printed.
    **given
        `TrainSettings` that are not the defaults.

    Raises
    ------
    FileError, FileExistsError, ValueError
        If something is wrong with what was asked for.
    ModuleNotFoundError
        If torch is not installed, or tensorboard where it is wanted.
    """
    need_torch("training")
    import torch

    from evsim.gradients.training import processes
    from evsim.gradients.training.run_folder import RunFolder

    with processes.joined():
        if threads is not None or processes.n_processes() > 1:
            cores = processes.cores_of_one(useful_threads(None))
            torch.set_num_threads(cores if threads is None else useful_threads(threads))
        first = processes.is_first()
        if quiet or not first:
            watch.show(quiet=True)
        run = RunFolder(folder)
        with run if first else nullcontext():
            _train(dataset, run, resume, overwrite, log, quiet or not first, given)


def _train(
    dataset: str,
    run: RunFolder,
    resume: bool,
    overwrite: bool,
    log: str,
    quiet: bool,
    given: dict[str, Any],
) -> None:
    """Train in a folder that is locked."""
    from evsim.gradients.training.processes import is_first

    asked = {"dataset": dataset, **given}
    if resume:
        settings = _stored(run.options(TrainSettings, _LACKING), fspath(run), asked)
    else:
        settings = checked(TrainSettings, asked, whole=False)
        if is_first():
            run.refuse_existing(overwrite, _inputs(dataset))
    callbacks = _callbacks(settings, run, log, quiet)
    parts = open_parts(settings.dataset, settings.held_out)
    say = _silent if quiet else _say
    if resume:
        trainer = _continued(settings, parts, run)
        say(f"{plain(settings.dataset, LINE)}: {parts}")
    else:
        _refuse_too_large(settings, parts)
        say(f"{plain(settings.dataset, LINE)}: {parts}")
        trainer = _started(settings, parts, run, overwrite)
    trainer.callbacks = callbacks
    trainer.run()
    tested = trainer.score(parts.test)
    if is_first():
        for line in _told(trainer, tested, run, parts):
            say(line)


def _callbacks(s: TrainSettings, run: RunFolder, log: str, quiet: bool) -> list[Callback]:
    """Return what is done on the way: files, what is printed, the early stop."""
    from evsim.gradients.training.callbacks import EarlyStopping
    from evsim.gradients.training.progress import EpochLines, ProgressBar

    told: list[Callback] = [] if quiet else [EpochLines(), ProgressBar(leave=False)]
    patience = _PATIENCE.get(s.dataset, _USUAL_PATIENCE) if s.patience is None else s.patience
    stop: list[Callback] = [EarlyStopping(patience)] if patience else []
    return [*run.callbacks(log == "tensorboard"), *told, *stop]


def _say(line: str) -> None:
    """Print a line at once, into a pipe as well."""
    click.echo(line)
    sys.stdout.flush()


def _silent(line: str) -> None:
    """Print nothing."""


def open_parts(dataset: str, held_out: str | None = None) -> Parts:
    """Open a data set and cut it in three.

    Parameters
    ----------
    dataset : str
        See `TrainSettings`.
    held_out : str or None
        A speaker, by name or number: the test part is theirs, or of a set with a test part
        of its own (SHD), the validation part. Without it, parts that the set does not have
        are drawn at random, always the same ones.

    Returns
    -------
    Parts
        To train, validate and test.

    Raises
    ------
    FileError
        If there is no such data set.
    ValueError
        If there is no such speaker.
    """
    from evsim import datasets
    from evsim.datasets.sets.coincidence import Coincidence
    from evsim.datasets.sets.spoken_digits import SpokenDigits
    from evsim.datasets.sets.yin_yang import YinYang

    train: Dataset
    test: Dataset
    if dataset == "digits":
        train, test = (SpokenDigits(part, held_out=held_out) for part in ("train", "test"))
        return Parts(*train.split(_VALIDATION_SHARE, _PART_SEED), test)
    if dataset in NAMED and held_out is not None:
        raise ValueError(f"--held-out: {dataset} does not tell who spoke")
    if dataset == "yin-yang":
        return Parts(*(YinYang(part, bias=0.0) for part in ("train", "validation", "test")))
    if dataset == "coincidence":
        return Parts(*(Coincidence(n, seed) for seed, n in enumerate((2000, 500, 500))))
    if os.path.isdir(dataset):
        return _folder_parts(dataset, held_out)
    if not os.path.exists(dataset):
        raise FileError(f"{dataset}: is neither a file nor one of {', '.join(NAMED)}")
    whole = datasets.SpikeFileData(dataset)
    if held_out is None:
        train, test = whole.split(_TEST_SHARE, _PART_SEED)
    else:
        train, test = _hold_out(whole, held_out)
    return Parts(*train.split(_VALIDATION_SHARE, _PART_SEED), test)


def _folder_parts(folder: str, held_out: str | None) -> Parts:
    """Open SHD, or SSC if that is in the folder."""
    from evsim.datasets import SHD, SSC

    if any(any(Path(folder).glob(pattern)) for pattern in ("ssc_*", "SSC/ssc_*")):
        if held_out is not None:
            raise ValueError("--held-out: SSC has parts of its own")
        return Parts(*(SSC(folder, part) for part in ("train", "valid", "test")))
    train, test = SHD(folder, "train"), SHD(folder, "test")
    if held_out is None:
        return Parts(*train.split(_VALIDATION_SHARE, _PART_SEED), test)
    return Parts(*_hold_out(train, held_out), test)


def _hold_out(data: Dataset, speaker: str) -> tuple[Dataset, Dataset]:
    if not (speaker.isascii() and speaker.isdecimal() and len(speaker) < _DIGITS):
        raise ValueError(f"--held-out {speaker}: speakers of this set are numbers")
    try:
        return data.hold_out(int(speaker))
    except ValueError as error:
        raise ValueError(f"--held-out {speaker}: {error}") from error


def _inputs(dataset: str) -> list[str]:
    """Return the file, or the folder and what stands in it, that is going to be read."""
    if dataset in NAMED or not os.path.exists(dataset):
        return []
    inside = os.listdir(dataset) if os.path.isdir(dataset) else []
    return [dataset, *(os.path.join(dataset, name) for name in inside)]


def _stored(stored: TrainSettings, folder: str, given: dict[str, Any]) -> TrainSettings:
    """Return the settings of a training that goes on; refuse those that can't change."""
    was = asdict(stored)
    changed = checked(TrainSettings, {**was, **given})
    for name, value in asdict(changed).items():
        if name not in _MAY_CHANGE and value != was[name]:
            raise ValueError(
                f"{folder}: was trained with {name} = {was[name]}, not {value}; leave it out "
                "to go on, or start another run"
            )
    return changed


def _started(s: TrainSettings, parts: Parts, run: RunFolder, overwrite: bool) -> Trainer:
    """Return a trainer before its first epoch, and fill its folder."""
    from evsim.gradients.training.processes import is_first

    trainer = _trainer(s, parts, new=True)
    if is_first():
        run.start(asdict(s), trainer, parts.test.spikes(), parts.train.class_names, overwrite)
    return trainer


def _refuse_too_large(s: TrainSettings, parts: Parts) -> None:
    n_weights = _n_weights(s, parts)
    if n_weights > _MOST_WEIGHTS:
        raise ValueError(
            f"hidden = {_units(s)} units make {n_weights:,} weights with the "
            f"{parts.train.size:,} units of {s.dataset}; at most {_MOST_WEIGHTS:,} are trained"
        )
    _draw_model(s, parts)
    for name, part in (
        ("train", parts.train),
        ("validate", parts.validation),
        ("test", parts.test),
    ):
        if not len(part):
            raise ValueError(
                f"{s.dataset}: has no recordings to {name} with; give more of each class"
            )


def _units(s: TrainSettings) -> str:
    return " ".join(f"{units:,}" for units in s.layers)


def _continued(s: TrainSettings, parts: Parts, run: RunFolder) -> Trainer:
    """Return a trainer where a run stopped."""
    from evsim.gradients.training.processes import is_first

    state = run.state()
    # Before memory is asked for: a checkpoint holds every weight.
    size = os.path.getsize(run.path / "checkpoint.pt")
    if _n_weights(s, parts) * 4 > size:
        raise FileError(
            f"{run.path / 'options.json'}: hidden = {_units(s)} and recurrent = {s.recurrent} "
            f"make {_n_weights(s, parts):,} weights with the {parts.train.size:,} units of "
            f"{s.dataset}, more than checkpoint.pt holds; put the files back as they were, or "
            "start anew with --overwrite"
        )
    _refuse_too_large(s, parts)
    trainer = _trainer(s, parts, new=False)
    if is_first():
        run.resume(trainer, state, parts.test.batches(_FIT))
    else:
        trainer.go_on_from(state)
    return trainer


def _n_weights(s: TrainSettings, parts: Parts) -> int:
    inputs = (parts.train.size, *s.layers[:-1])
    loops = s.layers if s.recurrent == "dense" else (0,) * len(s.layers)
    before = sum(n * (m + loop) for n, m, loop in zip(s.layers, inputs, loops, strict=True))
    return before + s.layers[-1] * len(parts.train.class_names)


def _trainer(s: TrainSettings, parts: Parts, new: bool) -> Trainer:
    """Build the model and what trains it; fit its weights if it is ``new``."""
    import torch

    from evsim.gradients.training.start import delay_model, fit_weights
    from evsim.gradients.training.trainer import Trainer

    options = TrainOptions(s.epochs, s.batch, s.seed, s.lr, s.delay_lr)
    torch.manual_seed(s.seed)
    n_classes = len(parts.train.class_names)
    quarter = parts.train.duration / 4
    max_delay = min(_MAX_DELAY, quarter) if s.max_delay is None else s.max_delay
    model = delay_model(
        parts.train.size, s.layers, n_classes, s.delay, s.recurrent, max_delay,
        tau_output=min(_TAU_OUTPUT, quarter),
    )  # fmt: skip
    if new:  # before the trainer is made: step sizes are shares of these weights
        fit_weights(model, next(parts.train.batches(_FIT, shuffle=True, seed=s.seed)))
    # Known speakers are learnt in half the epochs, and better, if they are left as they are.
    strangers = os.path.isdir(s.dataset) or (s.dataset == "digits" and s.held_out is not None)
    vary = strangers if s.augment is None else s.augment
    return Trainer(model, parts.train, parts.validation, options, varied if vary else None)


def _draw_model(s: TrainSettings, parts: Parts) -> None:
    """Refuse a model that is far larger than what it is trained on."""
    n = _n_weights(s, parts) + sum(s.layers)  # a shared kernel is not larger
    if s.delay == "synaptic":
        n += n - s.layers[-1] * len(parts.train.class_names)
    path = Path(s.dataset)
    files = [p for p in (path, *path.glob("*"), *path.glob("*/*")) if p.is_file()]
    budget = Budget(sum(map(os.path.getsize, files)))
    budget.lend(
        n * _TRAINED, s.dataset, f"{n:,} weights and delays of {parts.train.size:,} input units"
    )


def varied(batch: Spikes, rng: np.random.Generator) -> Spikes:
    """Return recordings as other speakers or another day might have given them.

    Each is stretched in time by up to 15 %, shifted by up to 10 ms and one channel, and loses
    a fifth of its spikes.

    Parameters
    ----------
    batch : Spikes
        Of a cochlea, or with neighbouring units alike in some other way.
    rng : Generator
        Of all that is random.

    Returns
    -------
    Spikes
        As many recordings.
    """
    from evsim.datasets import transforms

    batch = transforms.scale_times(batch, 1 - _STRETCH, 1 + _STRETCH, rng)
    batch = transforms.shift_times(batch, _LATE, rng)
    batch = transforms.shift_channels(batch, _SHIFT, rng)
    return transforms.delete_spikes(batch, _DROPPED, rng)


def _told(trainer: Trainer, tested: Any, run: RunFolder, parts: Parts) -> list[str]:
    """Draw the pictures and return the rest of the report."""
    names = parts.train.class_names
    best = trainer.history[trainer.best["epoch"] - 1]
    seconds = sum(record["seconds"] for record in trainer.history)
    lines = [f"stopped after epoch {len(trainer.history)}: {trainer.stopped}"] * bool(
        trainer.stopped
    )
    lines += [
        f"best of {count(len(trainer.history), 'epoch')}: {best['epoch']}, "
        f"validation accuracy {best['validation_accuracy']:.1%}",
        f"test accuracy {tested}",
        f"trained in {seconds:.3g} s",
    ]
    try:
        pictures = run.draw(trainer, parts.test[:1].spikes(), names)
        paths = ", ".join(plain(run.path / name, LINE) for name in pictures)
        lines.append(f"pictures in {paths}")
    except ModuleNotFoundError as error:
        lines.append(f"no pictures: {error}")
    net, test = (plain(run.path / name, LINE) for name in ("network.h5", "test.h5"))
    lines.append(f"network in {net}; to run it: evsim simulate {net} {test} -o out.h5")
    return lines
