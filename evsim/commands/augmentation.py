"""How ``evsim train`` varies recordings from epoch to epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from evsim import Spikes

_STRETCH, _LATE, _SHIFT, _DROPPED = 0.15, 10e-3, 1, 0.2


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
