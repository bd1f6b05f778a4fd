"""Surrogate derivatives of a spike, by name.

The spike itself is a step: 1 where the voltage v, counted from the threshold, is not below
0. Its derivative is replaced by a bump g'(v) of area 1, so that g is a step with soft edges.
Each has a width; the default makes the bump 1 high.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sqrt
from typing import Any

import torch
from torch import Tensor

Surrogate = Callable[[Tensor], Tensor]


def arctan(v: Tensor, width: float = 1 / pi) -> Tensor:
    """Return g'(v) = 1 / (pi width (1 + (v / width)^2)).

    Notes
    -----
    Fang et al. (2021), arXiv 2007.05785; their alpha is 2 / (pi width).
    """
    return 1 / (pi * width * (1 + (v / width) ** 2))


def triangle(v: Tensor, width: float = 1.0) -> Tensor:
    """Return g'(v) = max(0, 1 - |v| / width) / width.

    Notes
    -----
    Bellec et al. (2018), arXiv 1803.09574; their dampening factor is left out.
    """
    return (1 - v.abs() / width).clamp(min=0) / width


def exponential(v: Tensor, width: float = 0.5) -> Tensor:
    """Return g'(v) = e^(-|v| / width) / (2 width).

    Notes
    -----
    Shrestha and Orchard (2018), arXiv 1810.08646, up to a factor.
    """
    return torch.exp(-v.abs() / width) / (2 * width)


def gaussian(v: Tensor, width: float = 1 / sqrt(2 * pi)) -> Tensor:
    """Return g'(v) = e^(-v^2 / (2 width^2)) / (sqrt(2 pi) width).

    Notes
    -----
    Yin et al. (2021), arXiv 2103.12593: the first of the three that their bump is made of.
    """
    return torch.exp(-((v / width) ** 2) / 2) / (sqrt(2 * pi) * width)


SURROGATES: dict[str, Surrogate] = {
    "arctan": arctan,
    "triangle": triangle,
    "exponential": exponential,
    "gaussian": gaussian,
}


def find_surrogate(surrogate: str | Surrogate) -> Surrogate:
    """Return the derivative of a name; a function is left as it is."""
    if callable(surrogate):
        return surrogate
    if surrogate not in SURROGATES:
        raise ValueError(
            f"surrogate = {surrogate!r}, must be a function or one of {', '.join(SURROGATES)}"
        )
    return SURROGATES[surrogate]


def spike(v: Tensor, surrogate: Surrogate) -> Tensor:
    """Return 1 where ``v`` is at least 0, else 0, with a surrogate as the derivative.

    Parameters
    ----------
    v : tensor
        Voltage minus threshold.
    surrogate : function
        From v to the derivative at v.

    Returns
    -------
    tensor
        In the shape and type of ``v``.

    Examples
    --------
    >>> v = torch.tensor([-1.0, 0.0, 0.5], requires_grad=True)
    >>> fired = spike(v, triangle)
    >>> fired.sum().backward()
    >>> fired.tolist(), v.grad.tolist()
    ([0.0, 1.0, 1.0], [0.0, 1.0, 0.5])
    """
    fired: Tensor = _Spike.apply(v, surrogate)
    return fired


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, v: Tensor, surrogate: Surrogate) -> Tensor:
        ctx.save_for_backward(v)
        ctx.surrogate = surrogate
        return (v >= 0).to(v.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        return g * ctx.surrogate(ctx.saved_tensors[0]), None
