"""What ``evsim train`` does: from the name of a data set to a folder with a trained network.

The one place that knows data sets as well as gradients; both are imported when it is called.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from os import fspath
from threading import Timer
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import asdict

from evsim.budget import Budget
from evsim.commands.augmentation import ways_to_vary
from evsim.commands.extras import need_torch
from evsim.commands.parts import Parts, inputs_of, open_parts, refuse_unlearnable
from evsim.commands.train_methods import fitted, make, with_defaults
from evsim.commands.train_report import full_precision, report_lines
from evsim.compiling import watch
from evsim.files import FileError
from evsim.schema import checked
from evsim.threads import useful_threads
from evsim.train_options import CHECKPOINT, LACKING, TrainSettings
from evsim.words import LINE, plain

if TYPE_CHECKING:
    from torch import nn

    from evsim.commands.train_methods import Made
    from evsim.gradients.training.callbacks import Callback
    from evsim.gradients.training.method import Method
    from evsim.gradients.training.run_folder import RunFolder
    from evsim.gradients.training.trainer import Score, Trainer
    from evsim.train_options import TrainOptions

    Change = Callable[[nn.Sequential, TrainOptions, Method], Made]

_MAY_CHANGE = ("epochs", "patience")  # when a training goes on
_EXACT_BITS = 8  # more levels than 2^8 are not kept one by one, and need the digits of float64
_MOST_WEIGHTS = 2**25  # some 1 GB; twice that with a delay for each
_TRAINED = 256  # bytes of a weight: its gradient, steps of the optimiser, copies of layers
_TAP = 16  # bytes of a synapse and step, where a delay is a bell: shares, their gradients
_READ = 256  # recordings of a part that are compared at a time
_LEAST_STEPS = 3  # of a grid: one for each layer of spikes that arrive later
_MOST_STEPS = 10_000  # of a grid; each keeps the state of every unit and recording of a batch
_NEAR = 1e-6  # of a whole number of steps, as a share
_LONG = 1.0  # what takes longer is told [s]


def run_training(
    dataset: str,
    folder: str,
    resume: bool = False,
    overwrite: bool = False,
    threads: int | None = None,
    log: str = "csv",
    quiet: bool = False,
    change: Change | None = None,
    callbacks: Sequence[Callback] = (),
    **given: Any,
) -> tuple[Score, Trainer]:
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
    change : callable or None
        From a model with its first weights, `TrainOptions`, and a `Method` to those that are
        trained; for what no setting tells. A training that goes on must be given the same one.
    callbacks : sequence of Callback
        What else is done on the way. They come before the checkpoint is written: what they keep
        of epochs may be one ahead of it, never behind.
    **given
        `TrainSettings` that are not the defaults.

    Returns
    -------
    Score, Trainer
        How well the best epoch does on the test part, and the training that has ended.

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
            quiet = quiet or not first
            return _train(dataset, run, resume, overwrite, log, quiet, change, callbacks, given)


def _train(
    dataset: str,
    run: RunFolder,
    resume: bool,
    overwrite: bool,
    log: str,
    quiet: bool,
    change: Change | None,
    others: Sequence[Callback],
    given: dict[str, Any],
) -> tuple[Score, Trainer]:
    """Train in a folder that is locked."""
    from evsim.gradients.training.processes import is_first

    asked = {"dataset": dataset, **given}
    if resume:
        stored = run.options(TrainSettings, LACKING)
        settings = _stored(stored, fspath(run), asked)
    else:
        settings = checked(TrainSettings, with_defaults(asked), whole=False)
        if is_first():
            run.refuse_existing(overwrite, inputs_of(dataset))
    callbacks = [*others, *_callbacks(settings, run, log, quiet)]
    parts = open_parts(
        settings.dataset, settings.held_out, settings.validation, settings.recordings
    )
    parts, told = fitted(settings, parts)
    say = _silent if quiet else _say
    if resume:
        trainer = _continued(settings, parts, run, callbacks, change)
        if settings != stored and is_first():  # it is interrupted, perhaps, and goes on again
            run.write_options(asdict(settings))
    else:
        _refuse_untrainable(settings, parts)
    for line in (f"{plain(settings.dataset, LINE)}: {parts}", *told):
        say(line)
    if not resume:
        trainer = _begun(settings, parts, run, callbacks, change, say, overwrite)
    trainer.run()
    tested = trainer.score(parts.test)
    if is_first():
        # What nobody reads isn't looked for: a study has hundreds of folders beside this one, and
        # others are at work there.
        full = None if quiet else full_precision(run, settings, parts, trainer.model)
        for line in report_lines(trainer, tested, run, parts, full, settings.dt):
            say(line)
    return tested, trainer


def _begun(
    s: TrainSettings,
    parts: Parts,
    run: RunFolder,
    callbacks: list[Callback],
    change: Change | None,
    say: Callable[[str], None],
    overwrite: bool,
) -> Trainer:
    """Return a trainer at its beginning, with a folder for the run."""
    from evsim.gradients.training.processes import is_first

    first = "building the network" if s.scheduled else "fitting first weights"
    with _told_if_long(say, f"{first} ..."):
        trainer = _trainer(s, parts, callbacks, change, new=True)
    if is_first():
        run.start(asdict(s), trainer, parts.test.spikes(), parts.train.class_names, overwrite)
    return trainer


def _callbacks(s: TrainSettings, run: RunFolder, log: str, quiet: bool) -> list[Callback]:
    """Return what is done on the way: files, what is printed, the early stop."""
    from evsim.gradients.training.callbacks import EarlyStopping
    from evsim.gradients.training.progress import EpochLines, ProgressBar

    told: list[Callback] = [] if quiet else [EpochLines(), ProgressBar(leave=False)]
    stop: list[Callback] = [EarlyStopping(s.waits)] if s.waits else []
    return [*run.callbacks(log == "tensorboard"), *told, *stop]


def _say(line: str) -> None:
    """Print a line at once, into a pipe as well."""
    click.echo(line)
    if sys.stdout is not None:  # closed by the shell
        sys.stdout.flush()


def _silent(line: str) -> None:
    """Print nothing."""


@contextmanager
def _told_if_long(say: Callable[[str], None], what: str, seconds: float = _LONG) -> Iterator[None]:
    """Say what is being done, if it is not done within some seconds."""
    timer = Timer(seconds, say, (what,))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _stored(stored: TrainSettings, folder: str, given: dict[str, Any]) -> TrainSettings:
    """Return the settings of a training that goes on; refuse those that can't change."""
    was = asdict(stored)
    changed = checked(TrainSettings, {**was, **given})
    may_change = ("patience",) if stored.scheduled else _MAY_CHANGE
    for name, value in asdict(changed).items():
        if name not in may_change and value != was[name]:
            raise ValueError(
                f"{folder}: was trained with {name} = {was[name]}, not {value}; leave it out "
                "to go on, or start another run"
            )
    return changed


def _refuse_untrainable(s: TrainSettings, parts: Parts) -> None:
    """Refuse what does not fit, parts without recordings, and a single class."""
    n_weights = _n_weights(s, parts)
    if n_weights > _MOST_WEIGHTS:
        raise ValueError(
            f"hidden = {_units(s)} units make {n_weights:,} weights with the "
            f"{parts.train.size:,} units of {s.dataset}; at most {_MOST_WEIGHTS:,} are trained"
        )
    _draw_model(s, parts)
    if s.dt is not None and parts.train.duration > _MOST_STEPS * s.dt:
        raise ValueError(
            f"dt = {s.dt:g}: recordings of {parts.train.duration:g} s have more than "
            f"{_MOST_STEPS:,} steps; give a longer one"
        )
    if s.dt is not None and parts.train.duration < _LEAST_STEPS * s.dt:
        raise ValueError(
            f"dt = {s.dt:g}: recordings of {parts.train.duration:g} s have fewer than "
            f"{_LEAST_STEPS} steps; give a shorter one"
        )
    if s.every is not None and s.dt is not None:
        steps = round(s.every / s.dt)
        if abs(s.every / s.dt - steps) > _NEAR * steps:
            raise ValueError(f"every = {s.every:g}: must be a whole number of steps, dt = {s.dt:g}")
    if s.every is not None and parts.train.duration > _MOST_STEPS * s.every:
        raise ValueError(
            f"every = {s.every:g}: parameters would move more than {_MOST_STEPS:,} times in "
            f"recordings of {parts.train.duration:g} s; give a longer one"
        )
    late = s.max_delay if s.delay != "none" else None
    if s.dt is not None and late is not None and late < s.dt:
        raise ValueError(
            f"max_delay = {late:g}: is shorter than a step, dt = {s.dt:g}, so that no delay "
            "can be learnt; give a longer one, or a shorter step"
        )
    refuse_unlearnable(s.dataset, parts, f", or another validation than {s.validation:g}")


def _units(s: TrainSettings) -> str:
    return " ".join(f"{units:,}" for units in s.layers)


def _continued(
    s: TrainSettings,
    parts: Parts,
    run: RunFolder,
    callbacks: list[Callback],
    change: Change | None,
) -> Trainer:
    """Return a trainer where a run stopped."""
    from evsim.gradients.training.processes import is_first

    state = run.state()
    # Before memory is asked for: a checkpoint holds every weight.
    size = os.path.getsize(run.path / CHECKPOINT)
    if _n_weights(s, parts) * 4 > size:
        raise FileError(
            f"{run.path / 'options.json'}: hidden = {_units(s)} and recurrent = {s.recurrent} "
            f"make {_n_weights(s, parts):,} weights with the {parts.train.size:,} units of "
            f"{s.dataset}, more than {CHECKPOINT} holds; put the files back as they were, or "
            "start anew with --overwrite"
        )
    _refuse_untrainable(s, parts)
    trainer = _trainer(s, parts, callbacks, change, new=False)
    if is_first():
        run.resume(trainer, state, parts.test.batches(_READ))
    else:
        trainer.go_on_from(state)
    return trainer


def _n_weights(s: TrainSettings, parts: Parts) -> int:
    inputs = (parts.train.size, *s.layers[:-1])
    loops = s.layers if s.recurrent == "dense" else (0,) * len(s.layers)
    before = sum(n * (m + loop) for n, m, loop in zip(s.layers, inputs, loops, strict=True))
    return before + s.layers[-1] * len(parts.train.class_names)


def _trainer(
    s: TrainSettings,
    parts: Parts,
    callbacks: list[Callback],
    change: Change | None,
    new: bool,
) -> Trainer:
    """Build the model and what trains it; fit its weights if it is ``new``."""
    import torch

    from evsim.gradients.lowbit import quantise
    from evsim.gradients.training.trainer import Trainer

    torch.manual_seed(s.seed)
    model, options, method = make(s, parts, new)
    if s.few_bits:
        if max(s.weight_bits or 0, s.delay_bits or 0) > _EXACT_BITS:
            model.double()
        quantise(model, s.weight_bits, s.delay_bits, s.levels == "learnt", not s.full_readout)
    if change is not None:
        model, options, method = change(model, options, method)
    train, augment = ways_to_vary(s, parts.train)
    return Trainer(model, train, parts.validation, options, augment, callbacks, method)


def _draw_model(s: TrainSettings, parts: Parts) -> None:
    """Refuse a model that is far larger than what it is trained on."""
    n = _n_weights(s, parts) + sum(s.layers)  # a shared kernel is not larger
    if s.delay in ("dendritic", "synaptic"):  # the engine has one per synapse for both
        n += n - s.layers[-1] * len(parts.train.class_names)
    files = [path for path in inputs_of(s.dataset) if path.is_file()]
    budget = Budget(sum(map(os.path.getsize, files)))
    budget.lend(
        n * _TRAINED, s.dataset, f"{n:,} weights and delays of {parts.train.size:,} input units"
    )
    if s.method == "dcls" and s.dt is not None and s.max_delay is not None:
        synapses, taps = _n_weights(s, parts), round(s.max_delay / s.dt) + 1
        what = f"bells of {taps:,} steps, as long as max_delay, for {synapses:,} synapses"
        budget.lend(float(synapses) * taps * _TAP, s.dataset, what)
