"""The gradient of what is rounded: as if it were not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def through(free: Tensor, used: Tensor) -> Tensor:
    """Return ``used`` in the type of ``free``; the gradient goes to both.

    Notes
    -----
    The straight-through estimator of Bengio et al. (2013), arXiv 1308.3432.
    """
    found: Tensor = _Through.apply(free, used)
    return found


class _Through(torch.autograd.Function):
    """The second of two tensors; the gradient goes to both."""

    generate_vmap_rule = True

    @staticmethod
    def forward(free: Tensor, used: Tensor) -> Tensor:
        return used.to(free.dtype, copy=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.dtype = inputs[1].dtype

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        return g, g.to(ctx.dtype)
