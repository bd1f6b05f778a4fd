"""Waking silent units while a model trains: the pull of `silent_loss`, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evsim import Spikes
from evsim.train_options import USUAL

from ..regularisers import silent_loss
from ..synapses import Spiking
from .processes import in_all
from .start import spiking_layers


@contextmanager
def waking(model: nn.Module, strength: float = USUAL.wake) -> Iterator[Callable[[], Tensor]]:
    """Watch the layers of a model while it runs on a batch, for a silent unit has no gradient.

    Parameters
    ----------
    model : Module
        Of layers.
    strength : float
        Factor of the pull; 0 watches nothing.

    Yields
    ------
    callable
        Returns what to add to the loss: for units that were silent in the whole batch, how
        far they stayed below their thresholds, summed over units, mean over recordings. A
        layer that ran several times is taken as if it had run on all its recordings at once.
    """
    seen: dict[Spiking, list[tuple[Spikes, Spikes]]] = {}

    def remember(layer: Any, inputs: tuple[Any, ...], named: dict[str, Any], fired: Spikes) -> None:
        (spikes,) = (*inputs, *named.values())
        seen.setdefault(layer, []).append((spikes, fired))

    def pull() -> Tensor:
        term = torch.zeros((), dtype=torch.float64)
        for layer, runs in seen.items():
            counts = np.concatenate([fired.numpy().counts() for _, fired in runs])
            silent = in_all(torch.from_numpy(counts.sum(axis=0) == 0))
            if silent.any():
                peaks = torch.cat([layer.peak_voltage(*run) for run in runs])
                term = term + strength * silent_loss(peaks[:, silent])
        return term

    layers = spiking_layers(model) if strength > 0 else []
    hooks = [layer.register_forward_hook(remember, with_kwargs=True) for layer in layers]
    try:
        yield pull
    finally:
        for hook in hooks:
            hook.remove()
