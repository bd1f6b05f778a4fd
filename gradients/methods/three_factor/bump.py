"""The bump that stands for a spike where a rule asks how its arrival depends on a delay."""

from __future__ import annotations

from math import ceil
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Causal = bool | Literal["jump"]

_NARROW, _WIDE = 0.03, 1000.0  # steps; narrower, all but the arrival itself is 0 in float64


def bump(width: float, dt: float, causal: Causal = False) -> Tensor:
    """Return the derivative by the delay of a Gaussian whose area is one step.

    Parameters
    ----------
    width : float
        Standard deviation s [s].
    dt : float
        Length of a step [s].
    causal : {False, True, "jump"}
        Whether nothing happens before the arrival: the half of the derivative that is left, which
        is nowhere negative; or with the jump by which half a Gaussian begins, so that the sum is 0.

    Returns
    -------
    float64 tensor [2 reach + 1]
        In 1/s, at k = -reach, ..., reach steps after the arrival, reach = ceil(4 s / dt).

    Raises
    ------
    ValueError
        If ``causal`` is none of the three, or it falls between the steps or is wider than a
        thousand of them.

    Examples
    --------
    >>> bump(1.0, 1.0)[4:].tolist()[:3]
    [0.0, 0.24197072451914337, 0.10798193302637613]
    """
    if causal not in (False, True, "jump"):
        raise ValueError(f"causal = {causal!r}, must be False, True or 'jump'")
    s = width / dt
    if not _NARROW < s <= _WIDE:
        raise ValueError(
            f"width = {width:g} s, must be more than {_NARROW:g} and at most {_WIDE:g} steps of "
            f"{dt:g} s"
        )
    reach = ceil(4 * s)
    k = torch.arange(-reach, reach + 1, dtype=torch.float64)
    found = k / s**2 * torch.exp(-(k**2) / (2 * s**2)) / ((2 * torch.pi) ** 0.5 * s * dt)
    if causal:
        found = torch.where(k < 0, 0.0, found)
    if causal == "jump":
        found[reach] -= found.sum()
    return found


def bumps(raster: Tensor, taps: Tensor) -> Tensor:
    """Return a raster [batch, step, unit] with a bump [2 reach + 1] in place of each spike.

    It has ``reach`` steps fewer at either end than the raster.
    """
    batch, n_steps, size = raster.shape
    rows = raster.transpose(1, 2).reshape(batch * size, 1, n_steps)
    found = functional.conv1d(rows, taps.to(rows).flip(0)[None, None])
    return found.view(batch, size, -1).transpose(1, 2)
