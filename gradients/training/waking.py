"""Waking silent units while a model trains: the pull of `silent_loss`, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

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
        far they stayed below their thresholds, summed over units, mean over recordings.
    """
    seen: dict[Spiking, tuple[Spikes, Spikes]] = {}

    def remember(layer: Any, inputs: tuple[Spikes], fired: Spikes) -> None:
        seen[layer] = inputs[0], fired

    def pull() -> Tensor:
        term = torch.zeros((), dtype=torch.float64)
        for layer, (spikes, fired) in seen.items():
            counts = fired.numpy().counts()
            silent = in_all(torch.from_numpy(counts.sum(axis=0) == 0))
            if silent.any():
                peaks = layer.peak_voltage(spikes, fired)
                term = term + strength * silent_loss(peaks[:, silent])
        return term

    layers = spiking_layers(model) if strength > 0 else []
    hooks = [layer.register_forward_hook(remember) for layer in layers]
    try:
        yield pull
    finally:
        for hook in hooks:
            hook.remove()
