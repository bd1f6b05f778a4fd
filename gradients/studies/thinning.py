"""Spikes of hidden layers: how many there are, a penalty on them, some deleted at random."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evsim import Spikes

from ..regularisers import spike_counts
from ..training.start import spiking_layers
from ..training.trainer import used

_HALVINGS = 16


def spike_penalty(model: nn.Module, strength: float, dt: float) -> Callable[[nn.Module], Tensor]:
    """Return a penalty on the spikes of hidden layers: from the model, after a batch, to a term.

    Parameters
    ----------
    model : Module
        Of layers of events or of the grid; it is told what its layers send while it is trained.
    strength : float
        Factor.
    dt : float
        Of the grid, for layers of events too [s].

    Returns
    -------
    callable
        Its term is strength / 2 times the mean over layers of the spikes of a unit in a step.

    Notes
    -----
    On the grid it is DelRec's, strength / 2 times the mean of z^2 with z = 0 or 1, and has the
    surrogate gradient; what a dropout makes larger is taken back. Of events it has the gradient of
    `evsim.gradients.spike_counts`.
    """
    sent: dict[nn.Module, Tensor] = {}

    def remember(layer: Any, _: Any, out: Any) -> None:
        if not layer.training:
            return
        if isinstance(out, Spikes):
            sent[layer] = spike_counts(out).mean() * (dt / out.duration)
        else:
            sent[layer] = out.square().mean() * (1 - layer.dropout)

    for layer in spiking_layers(model):
        layer.register_forward_hook(remember)

    def penalty(model: nn.Module) -> Tensor:
        return strength / 2 * torch.stack([sent[one] for one in spiking_layers(model)]).mean()

    return penalty


class Thinned:
    """A network that loses spikes of hidden units at random: they reach neither loop nor layer.

    Parameters
    ----------
    model : Module
        From `Spikes` to a value per class; it is changed. Layers of events must have no loop.
    seed : int
        Which spikes are lost: of a smaller share those of a larger one, and more, as long as the
        network fires alike.
    """

    def __init__(self, model: nn.Module, seed: int) -> None:
        self.model, self.seed = model, seed
        self._share, self._sent = 1.0, 0
        self._generator = torch.Generator()
        for layer in spiking_layers(model):
            on_grid = hasattr(layer, "dt")
            if on_grid:
                self._thin_on_grid(layer)
            elif layer.recurrent is None:
                layer.register_forward_hook(self._thin_events)
            else:
                raise ValueError("layers of events with a loop can't lose spikes")

    @torch.no_grad()
    def run(self, data: Any, share: float, batch: int) -> tuple[int, int, int]:
        """Return right decisions, recordings, and spikes that are left of hidden units.

        Parameters
        ----------
        data : Recordings
            What is decided on.
        share : float
            How likely a spike stays, 0 to 1.
        batch : int
            Recordings at a time.
        """
        self._share, self._sent = share, 0
        self._generator.manual_seed(self.seed)
        right = n = 0
        with used(self.model):
            for spikes in data.batches(batch):
                decided = self.model(spikes).argmax(dim=1)
                right += int((decided == torch.as_tensor(spikes.labels)).sum())
                n += len(spikes)
        return right, n, self._sent

    def to(self, wanted: int, data: Any, batch: int) -> tuple[int, int, int]:
        """Return the same with the share that leaves the number of spikes nearest to a wanted one.

        The share is found by halving; if there are no more to begin with, all stay.
        """
        best = self.run(data, 1.0, batch)
        low, high = 0.0, 1.0
        for _ in range(_HALVINGS if best[2] > wanted else 0):
            share = (low + high) / 2
            found = self.run(data, share, batch)
            low, high = (low, share) if found[2] > wanted else (share, high)
            best = min(best, found, key=lambda one: abs(one[2] - wanted))
            if best[2] == wanted:
                break
        return best

    def _drawn(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self._generator, dtype=torch.float64) < self._share

    def _thin_on_grid(self, layer: Any) -> None:
        stay: list[Tensor] = []
        make = layer.loop

        def before(_: Any, given: tuple[Tensor]) -> None:
            (raster,) = given
            stay[:] = [self._drawn(*raster.shape[:2], layer.out_features).to(layer.weight)]

        def loop(*given: Any) -> Any:
            found = make(*given)
            return None if found is None else _Losing(found, stay[0])

        def after(_: Any, __: Any, fired: Tensor) -> Tensor:
            left = fired * stay[0]
            self._sent += int(left.sum())
            return left

        layer.register_forward_pre_hook(before)
        layer.register_forward_hook(after)
        layer.loop = loop

    def _thin_events(self, _: Any, __: Any, fired: Spikes) -> Spikes:
        stays = self._drawn(len(fired.times)).numpy()
        ends = np.concatenate([[0], np.cumsum(stays)])[np.asarray(fired.offsets)]
        self._sent += int(stays.sum())
        times, units = (np.asarray(one)[stays] for one in (fired.times, fired.units))
        return Spikes(times, units, ends, fired.size, fired.duration, fired.labels)


class _Losing:
    """A loop that some spikes [batch, step, unit] don't enter."""

    def __init__(self, loop: Any, stay: Tensor) -> None:
        self.step = loop.step
        self._send, self._stay = loop.send, iter(stay.unbind(1))

    def send(self, fired: Tensor) -> None:
        """Send the spikes [batch, unit] of this step that stay."""
        self._send(fired * next(self._stay))
