"""Levels whose values are listed."""

from __future__ import annotations

import torch
from torch import Tensor

from evsim import Levels
from evsim.levels import MOST_VALUES


def from_table(level: Tensor, values: Tensor, dtype: torch.dtype, bits: int) -> Levels | None:
    """Return levels that stand for ``values`` in the type of a layer's tensor.

    None if there are more than a network file lists.
    """
    if len(values) > MOST_VALUES:
        return None
    used = values.to(dtype).double()
    return Levels(level.long().cpu().numpy(), bits=bits, values=used.cpu().numpy())
