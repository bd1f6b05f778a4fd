"""What steadies a training on the grid: batch norm of what arrives, and dropout."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class StepNorm(nn.BatchNorm1d):
    """Batch norm of what arrives at units, over the recordings and steps of a batch."""

    def forward(self, arriving: Tensor) -> Tensor:
        """Return what arrives, [batch, step, unit], of mean ``bias`` and deviation ``weight``."""
        return super().forward(arriving.flatten(0, 1)).view_as(arriving)

    def affine_map(self) -> tuple[Tensor, Tensor]:
        """Return factor and shift [unit] of what arrives outside of training, in float64."""
        assert self.running_mean is not None and self.running_var is not None
        factor = self.weight.double() / (self.running_var.double() + self.eps).sqrt()
        return factor, self.bias.double() - self.running_mean.double() * factor


def checked_share(name: str, share: float) -> float:
    """Return a share of what is dropped."""
    if not 0 <= share < 1:
        raise ValueError(f"{name} = {share}, must be at least 0 and below 1")
    return share


def kept(like: Tensor, size: int, share: float, training: bool) -> Tensor | None:
    """Return factors for what passes a dropout: 0 for a share, larger than 1 for the rest.

    Parameters
    ----------
    like : tensor [batch, step, a multiple of size]
        What is to pass.
    size : int
        Units.
    share : float
        Of those that are dropped.
    training : bool
        Nothing is dropped at other times.

    Returns
    -------
    tensor [batch, a multiple of size] or None
        The same at every step of a recording, as in the programs of spikingjelly; None if
        all is to pass.
    """
    if not training or share == 0:
        return None
    found = functional.dropout(like.new_ones(len(like), size), share)
    return found.repeat(1, like.shape[2] // size)


def normalised(arriving: Tensor, size: int, norm: nn.Module) -> Tensor:
    """Return what arrives through a batch norm; behind the first ``size`` are mere numbers."""
    return torch.cat([norm(arriving[..., :size]), arriving[..., size:]], dim=-1)
