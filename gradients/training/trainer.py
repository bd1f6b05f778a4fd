"""The training loop: a model of layers with a readout learns to tell classes apart.

Batches are drawn by (seed, epoch). What is validated and kept is a running average of the
parameters, for the last steps of a training with single recordings that weigh much leave them
anywhere around a good place. Everything that the rest of a run depends on is in
`Trainer.state`: a training that goes on from it ends with the same bits as one that never
stopped. Under ``torchrun`` each process computes its share of every batch.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from msgspec.structs import asdict
from torch import Tensor, nn

from evsim import Spikes
from evsim.compiling import watch
from evsim.merit import merit
from evsim.taken_spikes import as_arrays
from evsim.train_options import TrainOptions as TrainOptions

from ..delays import share_at_limits
from ..diagnostics import Diagnostics
from ..synapses import Synapses
from .averages import Averaged
from .callbacks import Callback
from .method import EXACT, Method, cross_entropy
from .online import go_through
from .processes import is_first, n_processes, share, shared, total
from .progress import ProgressBar
from .start import spiking_layers
from .states import EpochRecord, sound_state
from .waking import waking

Augment = Callable[[Spikes, np.random.Generator], Spikes]


@runtime_checkable
class Recordings(Protocol):
    """What can be trained on; every data set of `evsim.datasets` is such a thing."""

    def __len__(self) -> int:
        """Return the number of recordings."""

    def batches(self, size: int, shuffle: bool = False, seed: int = 0) -> Iterator[Spikes]:
        """Return labelled recordings, several at a time."""


class Diverged(ValueError):
    """A training whose numbers are no longer finite."""


@dataclass(frozen=True)
class Score:
    """How well a model does on some recordings: mean loss, and counts."""

    loss: float
    right: int
    n: int

    @property
    def accuracy(self) -> float:
        """The share of recordings whose largest value stands at the label."""
        return self.right / max(self.n, 1)

    def __str__(self) -> str:
        """Return the accuracy in words."""
        return f"{self.accuracy:.1%} ({self.right:,} of {self.n:,})"


def train(
    model: nn.Module,
    training: Recordings,
    validation: Recordings,
    options: TrainOptions | None = None,
    augment: Augment | None = None,
    callbacks: Sequence[Callback] | None = None,
) -> list[dict[str, float]]:
    """Train a model in place; it ends with the averaged parameters of its best epoch.

    Parameters
    ----------
    model : Module
        From `Spikes` to one value per class, as a ``Sequential`` that ends with a readout.
    training, validation : Recordings
        Data sets of `evsim.datasets`, or anything with ``batches``.
    options : TrainOptions or None
        The defaults if left out.
    augment : callable or None
        Called with each training batch and a generator, returns another batch.
    callbacks : sequence of Callback or None
        What is done on the way, in this order; a `ProgressBar` if left out.

    Returns
    -------
    list of dict
        One record per epoch, see `Trainer.history`.

    Examples
    --------
    >>> from evsim.datasets.sets.coincidence import Coincidence         # doctest: +SKIP
    >>> training, validation = Coincidence(1000).split(0.2)         # doctest: +SKIP
    >>> model = delay_model(training.size, 32, 4)                   # doctest: +SKIP
    >>> history = train(model, training, validation)                # doctest: +SKIP
    """
    trainer = Trainer(model, training, validation, options, augment, callbacks)
    trainer.run()
    return trainer.history


class Trainer:
    """A training that can be stopped at any time and go on later; see `train`.

    After a stop, an error or Ctrl-C, `run` goes on from the end of the last whole epoch, with
    the same bits as a training that was not interrupted.

    Attributes
    ----------
    history : list of dict
        For each epoch: ``epoch`` (from 1), ``train_loss``, ``train_accuracy``,
        ``validation_loss``, ``validation_accuracy``, ``rate`` [Hz] of the spiking units, mean
        over recordings and layers, ``silent`` units in a batch, ``seconds`` without those of
        compiling, ``at_bounds``, the share of delays that lie at one of their limits.
    averaged : Module
        A copy of the model with averaged parameters.
    best : dict
        ``epoch`` and ``model``, the averaged parameters after it.
    callbacks : list of Callback
        What is done on the way.
    method : Method
        How steps are taken and what is made small; that of `train` if left out.
    n_batches : int
        Batches of an epoch, each of which is a step; or several, if ``method.online`` makes them.
    stopped : str
        Why the training ended before its last epoch, empty if it did not.
    """

    def __init__(
        self,
        model: nn.Module,
        training: Recordings,
        validation: Recordings,
        options: TrainOptions | None = None,
        augment: Augment | None = None,
        callbacks: Sequence[Callback] | None = None,
        method: Method = EXACT,
    ) -> None:
        self.model, self.training, self.validation = model, training, validation
        self.options = o = TrainOptions() if options is None else options
        self.augment, self.method = augment, method
        for name, part in (("training", training), ("validation", validation)):
            if not len(part):
                raise ValueError(f"the {name} part has no recordings")
        if method.online is not None and n_processes() > 1:
            raise ValueError(
                "an online rule moves parameters within a batch, which processes can't share; "
                "train in one process, without torchrun"
            )
        if method.online is not None and method.penalty is not None:
            raise ValueError("an online rule has no loss of a batch: a penalty has no place in it")
        self.callbacks = _sound([ProgressBar()] if callbacks is None else callbacks)
        self.n_batches = -(-len(training) // o.batch)
        self.stopped = ""
        self.optimizer = method.optimizer(model, o)
        self._take_steps(0)
        self._parallel = shared(model)
        self._average = Averaged(model, o.average)
        self.averaged: nn.Module = self._average.module
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Any] = {"epoch": 0, "model": copy.deepcopy(model.state_dict())}
        # The end of the last whole epoch, while the trainer is not there; see `state`.
        self._whole: dict[str, Any] | None = None

    def run(self) -> None:
        """Train the epochs that are left, then put the best parameters into the model."""
        callbacks = [one for one in _sound(self.callbacks) if one.everywhere or is_first()]
        self.stopped = ""
        if self._whole is not None:
            self._put(self._whole)
        with ExitStack() as ends:
            for one in callbacks:
                ends.callback(one.end, self)
            for one in callbacks:
                one.start(self)
            self._whole = self._copied_state()
            while len(self.history) < self.options.epochs and not self.stopped:
                record = self._epoch(len(self.history), callbacks)
                self._whole = None  # callbacks see what there is now, and may change it
                try:
                    for one in callbacks:
                        one.epoch(self, record)
                finally:
                    self._whole = self._copied_state()
            self.model.load_state_dict(self.best["model"])

    def stop(self, why: str) -> None:
        """End the training after this epoch.

        Parameters
        ----------
        why : str
            Is kept in ``stopped``.
        """
        self.stopped = why

    def score(self, data: Recordings) -> Score:
        """Return how well the model does now; see `score`."""
        return score(self.model, data, self.options.batch, self.method.loss)

    def state(self) -> dict[str, Any]:
        """Return all that the rest of the training depends on, at the end of a whole epoch.

        Within an epoch, and once the model has its best parameters, it is the state after the
        last epoch.
        """
        return self._state_now() if self._whole is None else self._whole

    def _state_now(self) -> dict[str, Any]:
        told = asdict(self.options)  # of which a training that goes on may have more epochs
        return {
            "model": self.model.state_dict(),
            "average": self._average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
            "best": self.best,
            "generator": torch.get_rng_state(),
            "options": {name: value for name, value in told.items() if name != "epochs"},
        }

    def go_on_from(self, state: dict[str, Any]) -> None:
        """Go back to a `state`, that of a training of the same model, data and options.

        The number of epochs alone may be another. Other data of as many recordings, or another
        ``augment``, can't be told from the state.

        Parameters
        ----------
        state : dict
            From a file, perhaps; it is looked at before anything is changed.

        Raises
        ------
        ValueError
            If it is not that of this model and these options, or of another number of batches;
            names the entry.
        """
        try:
            sound = sound_state(
                state, self.state(), self.model, self.n_batches, self._steps,
                several=self.method.online is not None,
            )  # fmt: skip
        except ValueError as error:
            raise ValueError(f"the checkpoint is not one of this training: {error}") from error
        self._put(sound)

    def _copied_state(self) -> dict[str, Any]:
        """Return the state now, which the next steps leave as it is; records never change."""
        state = self._state_now()
        history = state.pop("history")
        return {**copy.deepcopy(state), "history": list(history)}

    def _steps(self, group: dict[str, Any], epoch: int) -> dict[str, Any]:
        """Return what a group of the optimiser has in an epoch."""
        return self.method.steps(group, epoch, self.options)

    def _take_steps(self, epoch: int) -> None:
        for group in self.optimizer.param_groups:
            group.update(self._steps(group, epoch))

    def _put(self, sound: dict[str, Any]) -> None:
        """Go to a state, which is used up."""
        self.model.load_state_dict(sound["model"])
        self._average.load_state_dict(sound["average"])
        self.optimizer.load_state_dict(sound["optimizer"])
        for known in self.optimizer.state.values():
            if "mu_product" in known:  # to which torch gives the type of the parameter
                known["mu_product"] = known["mu_product"].to(known["step"].dtype)
        self.history, self.best = sound["history"], sound["best"]
        torch.set_rng_state(sound["generator"])
        self._whole = None

    def _epoch(self, epoch: int, callbacks: Sequence[Callback]) -> dict[str, float]:
        """Train one epoch, validate, and keep the record."""
        start, compiled = time.perf_counter(), watch.seconds()
        o = self.options
        self._take_steps(epoch)
        self.method.begin(self.model, epoch, o)
        rng = np.random.default_rng((o.seed, epoch))
        order = int(rng.integers(2**62))
        sums = np.zeros(3)
        firing: list[tuple[int, Diagnostics]] = []  # and of how many recordings
        for batch in self.training.batches(o.batch, shuffle=True, seed=order):
            if self.augment is not None:
                batch = self.augment(batch, rng)
            *found, size = self._step(batch)
            sums += *found, size
            ran = [layer.diagnostics for layer in spiking_layers(self.model)]
            firing += [(size, one) for one in ran if one is not None and size]
            for one in callbacks:
                one.batch(self)
        loss, right, n = total(*sums)
        rates, n_recordings, silent, n_runs = total(
            sum(n * d.rate for n, d in firing), sum(n for n, _ in firing),
            sum(d.silent for _, d in firing), len(firing),
        )  # fmt: skip
        validated = score(self.averaged, self.validation, o.batch, self.method.loss)
        told = EpochRecord(
            epoch=epoch + 1,
            train_loss=loss / n,
            train_accuracy=right / n,
            validation_loss=validated.loss,
            validation_accuracy=validated.accuracy,
            rate=rates / max(n_recordings, 1),
            silent=silent / max(n_runs, 1),
            seconds=time.perf_counter() - start - (watch.seconds() - compiled),
            at_bounds=share_at_limits(self.model),
        )
        self._refuse_divergence(told)
        record: dict[str, float] = asdict(told)
        self.history.append(record)
        self._keep_best(record)
        return record

    def _refuse_divergence(self, record: EpochRecord) -> None:
        """Stop before numbers that are not finite are kept: no training goes on from them."""
        kept = [t for model in (self.model, self.averaged) for t in _changing(model)]
        losses = (record.train_loss, record.validation_loss)
        if not np.isfinite(losses).all() or not all(bool(t.isfinite().all()) for t in kept):
            raise _divergence(record.epoch)

    def _step(self, batch: Spikes) -> tuple[float, int, int]:
        """Take a step, or those of a rule; return sum of losses, right answers, recordings."""
        self.optimizer.zero_grad()
        if self.method.online is None:
            sums = self.backward(batch)
            self._move()
            return sums
        labels = _labels(batch)
        values = go_through(
            self.model, self.method.online, batch, labels, self.options.wake, self._move
        )
        labels = labels.to(values.device)
        loss = float(self.method.loss(values, labels))
        return loss, int((values.argmax(dim=1) == labels).sum()), len(batch)

    def _move(self) -> None:
        """Take a step of the optimiser, if all gradients are finite."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        if not all(bool(gradient.isfinite().all()) for gradient in gradients):
            # Before a layer is given what they make of its parameters.
            raise _divergence(len(self.history) + 1)
        self.optimizer.step()
        self._average.update_parameters(self.model)

    def backward(self, batch: Spikes) -> tuple[float, int, int]:
        """Add the gradient of the mean loss of a batch to that of the parameters.

        Parameters
        ----------
        batch : Spikes
            Labelled recordings, the same ones in every process.

        Returns
        -------
        loss : float
            Summed over this process's share of the recordings.
        right, n : int
            How many of them were right, and how many there are.
        """
        mine = share(batch)
        labels = _labels(mine)
        with waking(self.model, self.options.wake) as wake:
            values = self._parallel(mine)
            labels = labels.to(values.device)
            loss = self.method.loss(values, labels)
            # Processes average their gradients, which belong to the mean over the whole batch.
            n = n_processes()
            mean = loss * (n / len(batch)) + wake() * (n * len(mine) / len(batch))
            if self.method.penalty is not None:
                mean = mean + self.method.penalty(self.model)
            mean.backward()
        right = int((values.argmax(dim=1) == labels).sum())
        return float(loss.detach()), right, len(mine)

    def _keep_best(self, record: dict[str, float]) -> None:
        """Keep the parameters if no epoch was more accurate; of equals, that of less loss."""
        before = self.history[self.best["epoch"] - 1] if self.best["epoch"] else None
        if before is None or merit(record) > merit(before):
            parameters = copy.deepcopy(self.averaged.state_dict())
            self.best = {"epoch": record["epoch"], "model": parameters}


def _sound(callbacks: Sequence[Callback]) -> list[Callback]:
    """Return callbacks as a list; refuse what is none."""
    for i, one in enumerate(callbacks):
        if isinstance(one, type):
            raise TypeError(
                f"callbacks[{i}] is the class {one.__name__}; give an object of it: "
                f"{one.__name__}(...)"
            )
        if not isinstance(one, Callback):
            raise TypeError(f"callbacks[{i}] is a {type(one).__name__}, must be a Callback")
    return list(callbacks)


def _divergence(epoch: int) -> Diverged:
    return Diverged(
        f"epoch {epoch}: the training diverged, its numbers are no longer finite; take smaller "
        "step sizes (lr, delay_lr)"
    )


def _changing(model: nn.Module) -> Iterator[Tensor]:
    """Yield what a training changes: parameters, and buffers that are no constants of layers."""
    for module in model.modules():
        yield from module.parameters(recurse=False)
        if not isinstance(module, Synapses):
            yield from module.buffers(recurse=False)


@torch.no_grad()
def score(
    model: nn.Module,
    data: Recordings | Spikes,
    batch: int = 64,
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
) -> Score:
    """Return how well a model tells the classes of some recordings.

    Parameters
    ----------
    model : Module
        From `Spikes` to one value per class.
    data : Recordings or Spikes
        A data set, or labelled spikes, or a list of samples.
    batch : int
        Recordings at a time; without influence on the accuracy.
    loss : callable
        Of values and labels, summed over the recordings.

    Notes
    -----
    Layers that train otherwise than they are used (dropout, batch normalisation) are used
    meanwhile, ``model.eval()``, and put back as they were.

    Returns
    -------
    Score
        Mean loss and right answers.

    Raises
    ------
    ValueError
        If there are no labels, or one is negative; names the recording.
    """
    sums = np.zeros(3)
    with used(model):
        for spikes in _batches(data, batch):
            mine = share(spikes)
            values = model(mine)
            labels = _labels(mine).to(values.device)
            sums += (
                float(loss(values, labels)),
                int((values.argmax(dim=1) == labels).sum()),
                len(mine),
            )
    all_loss, right, n = total(*sums)
    return Score(all_loss / max(n, 1), int(right), int(n))


@contextmanager
def used(model: nn.Module) -> Iterator[None]:
    """Have all parts of a model in the mode in which it is used, then in that of before."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


def _batches(data: Recordings | Spikes, size: int) -> Iterable[Spikes]:
    """Return a data set or spikes a few recordings at a time."""
    if isinstance(data, Recordings):
        return data.batches(size)
    spikes = as_arrays(data, "score")
    return (spikes[i : i + size] for i in range(0, len(spikes), size))


def _labels(batch: Spikes) -> Tensor:
    if batch.labels is None:
        raise ValueError("the recordings have no labels")
    labels = torch.as_tensor(batch.labels)
    if (labels < 0).any():  # cross_entropy passes over some of them without a word
        first = int((labels < 0).nonzero()[0])
        raise ValueError(
            f"recording {first} of a batch has label {int(labels[first])}; labels count classes "
            "from 0: leave out recordings of no class"
        )
    return labels
