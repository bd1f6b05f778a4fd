"""What methods of training differ in: how steps are taken, and what is made small."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from evsim.train_options import TrainOptions

from .step_sizes import adam


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
    """

    optimizer: Callable[[nn.Module, TrainOptions], torch.optim.Optimizer]
    loss: Callable[[Tensor, Tensor], Tensor]


def cross_entropy(values: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of all recordings, summed."""
    return nn.functional.cross_entropy(values, labels, reduction="sum")


def _adam(model: nn.Module, options: TrainOptions) -> torch.optim.Adam:
    return adam(model, options.lr, options.delay_lr, options.time_lr)


EXACT = Method(_adam, cross_entropy)  # of layers of events
