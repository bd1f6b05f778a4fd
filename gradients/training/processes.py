"""Several processes that train one model, each on its share of every batch.

Under ``torchrun``, once ``torch.distributed.init_process_group`` was called, everything in
here shares out and adds up; without it, it does nothing.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from evsim import Spikes


def n_processes() -> int:
    """Return the number of processes that train together."""
    return distributed.get_world_size() if _together() else 1


def is_first() -> bool:
    """Whether this is the process that writes files and shows progress."""
    return not _together() or distributed.get_rank() == 0


def shared(model: nn.Module) -> nn.Module:
    """Return the model wrapped so that its gradients become the mean over all processes."""
    return DistributedDataParallel(model) if _together() else model


def share(batch: Spikes) -> Spikes:
    """Return the recordings of a batch that are this process's."""
    return batch[distributed.get_rank() :: n_processes()] if _together() else batch


def total(*values: float) -> list[float]:
    """Return numbers, each summed over all processes."""
    if not _together():
        return [float(value) for value in values]
    sums = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(sums)
    return cast(list[float], sums.tolist())


def _together() -> bool:
    return distributed.is_available() and distributed.is_initialized()
