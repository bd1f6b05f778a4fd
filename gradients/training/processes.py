"""Several processes that train one model, each on its share of every batch.

Under ``torchrun``, once ``torch.distributed.init_process_group`` was called (`joined` does),
everything in here shares out and adds up; without it, it does nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from evsim import Spikes
from evsim.interrupts import FAILED, INTERRUPTED

_TOLD = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # by torchrun


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


def in_all(flags: Tensor) -> Tensor:
    """Return which flags are set in all processes."""
    if not _together():
        return flags
    found = flags.to(torch.int32)
    distributed.all_reduce(found, distributed.ReduceOp.MIN)
    return found > 0


@contextmanager
def joined() -> Iterator[None]:
    """Train together with the other processes that ``torchrun`` started, if it did.

    If the body fails, only the first process to fail raises the error; the others exit with
    the status of an error, or of an interrupt.
    """
    if _together() or not all(name in os.environ for name in _TOLD) or _world_size() < 2:
        yield
        return
    store, rank, size = next(distributed.rendezvous("env://"))
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=size)
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if store.add("evsim failures", 1) > 1:
            sys.exit(INTERRUPTED if isinstance(error, KeyboardInterrupt) else FAILED)
        raise
    finally:
        distributed.destroy_process_group()


def cores_of_one(cores: int) -> int:
    """Return how many of a machine's cores are for each of the processes that run on it."""
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", n_processes())) if _together() else 1
    return max(1, cores // beside)


def _world_size() -> int:
    return int(os.environ["WORLD_SIZE"])


def _together() -> bool:
    return distributed.is_available() and distributed.is_initialized()
