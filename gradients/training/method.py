"""What methods of training differ in: how steps are taken, and what is made small."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from evsim import Spikes
from evsim.train_options import TrainOptions

from .step_sizes import adam


def decayed(group: dict[str, Any], epoch: int, options: TrainOptions) -> dict[str, Any]:
    """Return the step size of an epoch: the first one times ``lr_decay`` per epoch."""
    return {"lr": group["first_lr"] * options.lr_decay**epoch}


def _as_it_is(model: nn.Module, epoch: int, options: TrainOptions) -> None:
    """Change nothing."""


@dataclass(frozen=True)
class Method:
    """How a `Trainer` trains.

    Attributes
    ----------
    optimizer : callable
        From a model and `TrainOptions` to an optimiser of torch that keeps delays between their
        limits; a group for each parameter, with ``name`` and ``first_lr`` as those of
        `evsim.gradients.parameter_groups`.
    loss : callable
        From values [recording, class] and labels [recording] to the sum of the losses of the
        recordings.
    steps : callable
        From a group of the optimiser, an epoch (from 0) and `TrainOptions` to what the group has
        in that epoch: ``lr``, and what else changes. It depends on nothing that a training would
        have to keep.
    begin : callable
        Called with the model, an epoch and `TrainOptions` before the epoch.
    online : callable or None
        In place of back-propagation: from a model, a batch of `Spikes` and its labels
        [recording] to an iterator of values [recording, class]. Before it gives some, it adds to
        ``.grad`` of the parameters, which the `Trainer` then moves before it asks for the next.
        What it keeps on the way ends with the batch. Only in one process.
    penalty : callable or None
        From the model, after it ran on a batch, to what is added to the mean loss of the batch;
        it is neither in the losses of an epoch's record nor in those of the validation. Not
        beside ``online``.
    """

    optimizer: Callable[[nn.Module, TrainOptions], torch.optim.Optimizer]
    loss: Callable[[Tensor, Tensor], Tensor]
    steps: Callable[[dict[str, Any], int, TrainOptions], dict[str, Any]] = decayed
    begin: Callable[[nn.Module, int, TrainOptions], None] = _as_it_is
    online: Callable[[nn.Module, Spikes, Tensor], Iterator[Tensor]] | None = None
    penalty: Callable[[nn.Module], Tensor] | None = None


def cross_entropy(values: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of all recordings, summed."""
    return nn.functional.cross_entropy(values, labels, reduction="sum")


def _adam(model: nn.Module, options: TrainOptions) -> torch.optim.Adam:
    return adam(model, options.lr, options.delay_lr, options.time_lr)


EXACT = Method(_adam, cross_entropy)  # of layers of events
