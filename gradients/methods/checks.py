"""What `delrec` and `dcls` refuse: numbers of steps and epochs that can't be."""

from __future__ import annotations

import torch
from torch import Tensor


def checked_steps(name: str, values: float | Tensor, like: Tensor | None = None) -> Tensor:
    """Return a number of steps, or a tensor of them, in the type and place of another tensor.

    Raises
    ------
    ValueError
        If one of them is not finite or below 0.

    Examples
    --------
    >>> checked_steps("sigma", 2)
    tensor(2.)
    """
    if like is not None:
        tensor = torch.as_tensor(values, dtype=like.dtype, device=like.device)
    else:
        tensor = torch.as_tensor(values)
        if not tensor.is_floating_point():
            tensor = tensor.to(torch.get_default_dtype())
    good = tensor.isfinite() & (tensor >= 0)
    if not good.all():
        at = (~good).nonzero()[0].tolist()
        index = str(at) if at else ""
        raise ValueError(f"{name}{index} = {tensor[tuple(at)]:g}, must be finite and >= 0 [steps]")
    return tensor


def check_taps(n_taps: int) -> None:
    """Refuse a kernel without a step."""
    if n_taps < 1:
        raise ValueError(f"n_taps = {n_taps}, must be at least 1")


def check_epoch(epoch: int, epochs: int) -> None:
    """Refuse an epoch before the first, and a training without one."""
    if epochs < 1 or epoch < 0:
        raise ValueError(f"epoch = {epoch} of epochs = {epochs}, must be >= 0 of 1 or more")
