"""A running average of parameters: what a training validates and keeps.

The last steps of a training with single recordings that weigh much leave the parameters anywhere
around a good place; their average is in the middle of it.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from evsim.train_options import USUAL


class Averaged(AveragedModel):
    """A copy of a model whose parameters are a running average of the model's.

    Call ``averaged.update_parameters(model)`` after each step of the optimiser, and
    ``averaged(spikes)`` to use it; the averaged model itself is ``averaged.module``.

    Parameters
    ----------
    model : Module
        That is going to be trained.
    kept : float
        Share of the average that a step leaves as it was, from 0 (no average) to below 1; in
        the first steps it is (1 + n) / (10 + n) if that is less.

    Raises
    ------
    ValueError
        If ``kept`` is out of its range.

    Examples
    --------
    >>> import torch
    >>> model = nn.Linear(1, 1, bias=False)
    >>> averaged = Averaged(model)
    >>> for weight in (0.0, 1.0):
    ...     _ = nn.init.constant_(model.weight, weight)
    ...     averaged.update_parameters(model)
    >>> round(averaged.module.weight.item(), 4)
    0.8182
    """

    def __init__(self, model: nn.Module, kept: float = USUAL.average) -> None:
        if not 0 <= kept < 1:
            raise ValueError(f"kept = {kept:g}, must be at least 0 and below 1")
        super().__init__(model, avg_fn=partial(_moving_average, kept))


def _moving_average(kept: float, before: Tensor, now: Tensor, n: Tensor | int) -> Tensor:
    """Return what an average becomes with its next value; the first values count for more."""
    return before.lerp(now, 1 - min(kept, float((1 + n) / (10 + n))))
