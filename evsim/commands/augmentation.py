"""How ``evsim train`` varies recordings from epoch to epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evsim.train_options import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from evsim import Spikes
    from evsim.datasets import Dataset, Tripled

_STRETCH, _LATE, _SHIFT, _DROPPED = 0.15, 10e-3, 1, 0.2


def ways_to_vary(
    s: TrainSettings, data: Dataset
) -> tuple[Dataset | Tripled, Callable[[Spikes, np.random.Generator], Spikes] | None]:
    """Return what is trained with, and what is done to every batch of it.

    Parameters
    ----------
    s : TrainSettings
        What is asked for.
    data : Dataset
        The recordings to train with.
    """
    from evsim.datasets import Tripled

    if s.triples:
        assert s.dt is not None  # presets have one
        return Tripled(data, s.dt), None
    return data, varied if s.varies else None


def varied(batch: Spikes, rng: np.random.Generator) -> Spikes:
    """Return recordings as other speakers or another day might have given them.

    Each is stretched in time by up to 15 %, shifted by up to 10 ms and one channel, and loses
    a fifth of its spikes.

    Parameters
    ----------
    batch : Spikes
        Of a cochlea, or with neighbouring units alike in some other way.
    rng : Generator
        Of all that is random.

    Returns
    -------
    Spikes
        As many recordings.
    """
    from evsim.datasets import transforms

    batch = transforms.scale_times(batch, 1 - _STRETCH, 1 + _STRETCH, rng)
    batch = transforms.shift_times(batch, _LATE, rng)
    batch = transforms.shift_channels(batch, _SHIFT, rng)
    return transforms.delete_spikes(batch, _DROPPED, rng)
