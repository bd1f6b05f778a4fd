"""What arrives at each synapse of a projection, weights left out, while a recording goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil

import torch
from torch import Tensor
from torch.nn import functional

from ...dense.delays import OnSteps, Steps, late
from ...dense.layers import Delay
from ...dense.on_grid import OnGrid
from ...dense.spread import acting


class Projection:
    """The synapses of a layer's input or loop, as they act at the moment.

    Parameters
    ----------
    layer : dense layer
        The one that is projected onto.
    prefix : {"", "recurrent_"}
        Input or loop.
    before : sequence of Delay
        What delays the sources before.

    Attributes
    ----------
    weight : tensor [post, pre]
        As it acts.
    found : dict
        All tensors of the layer.
    learns_weights, learns_delays : bool
        Whether weights have a gradient, and some delay between the sources and the units.
    """

    def __init__(self, layer: OnGrid, prefix: str = "", before: Sequence[Delay] = ()) -> None:
        self.layer, self.prefix, self.before = layer, prefix, before
        with torch.enable_grad():
            found = layer.tensors()
            delays = [found.get(f"{prefix}axonal_delay"), found.get(f"{prefix}delay")]
            delays += [module.delay for module in before]
            self.learns_delays = any(one is not None and one.requires_grad for one in delays)
            weight: Tensor = found[f"{prefix}weight"]  # type: ignore[assignment]
            self.learns_weights = weight.requires_grad
        self.found = {n: None if t is None else t.detach() for n, t in found.items()}
        self.weight = weight.detach()
        self.axonal, self.synaptic = layer.steps(self.found, prefix, 1 if prefix else 0)

    def longest(self, moving: bool) -> int:
        """Return how many steps before an arrival its spike is, at most.

        ``moving`` tells whether delays may change, within their limits, while the recording goes
        on.
        """
        limit = getattr(self.layer, f"{self.prefix}max_delay")
        found = 0
        for steps in (self.axonal, self.synaptic):
            found += _longest(steps, limit, self.layer.dt, moving)
        for module in self.before:
            found += _longest(module.steps(), module.max_delay, module.dt, moving)
        return found + 1  # for delays that are cut, and rounded for the trace

    def delayed(self, raster: Tensor) -> Tensor:
        """Return a raster after the delays of its units, those before the layer and its own."""
        for module in self.before:
            raster = module(raster)
        return raster if self.axonal is None else late(raster, self.axonal)

    def arriving(self, raster: Tensor, rows: range) -> Iterator[Tensor]:
        """Return what arrives at each synapse at some steps, [batch, post or 1, pre]."""
        raster = self.delayed(raster.to(self.weight.dtype))
        if self.synaptic is None:
            return (raster[:, None, row] for row in rows)
        return _at_synapses(raster, self.synaptic, rows)

    def arriving_rounded(self, raster: Tensor, rows: range) -> Iterator[Tensor]:
        """Return the same with all delays together rounded to a whole number of steps."""
        total = torch.zeros(1, 1, dtype=torch.float64, device=raster.device)
        for module in self.before:
            total = total + _places(module.delay, module, 0)
        if self.axonal is not None or self.synaptic is not None:
            name = "delay" if self.axonal is None else "axonal_delay"
            own: Tensor = self.found[f"{self.prefix}{name}"]  # type: ignore[assignment]
            total = total + _places(own, self.layer, 1 if self.prefix else 0)
        steps = Steps(total.round().long().expand(-1, raster.shape[2]), None)
        if len(steps.whole) == 1:
            raster = late(raster, steps.of(0))
            return (raster[:, None, row] for row in rows)
        return _at_synapses(raster, steps, rows)


def _longest(steps: OnSteps | None, limit: float, dt: float, moving: bool) -> int:
    if steps is None:
        return 0
    found = steps.longest()
    if not moving:
        return found
    most = ceil(limit / dt) + 1
    return max(found, most) if isinstance(steps, Steps) else found + most


def _places(delay: Tensor, module: Delay | OnGrid, least: int) -> Tensor:
    """Return where spikes arrive [steps], float64, in a shape that broadcasts with weights."""
    how = acting(module.delays, getattr(module, "sigma", 0.0), module.training)
    found = (delay.detach() / module.dt).clamp(min=least).double()
    return found.round() if how == "round" else found


def _at_synapses(raster: Tensor, steps: OnSteps, rows: range) -> Iterator[Tensor]:
    if not isinstance(steps, Steps):
        yield from _wide(raster, steps, rows)
        return
    batch, _, size = raster.shape
    table = functional.pad(raster, (0, 0, 1, 0)).flatten(1)  # before the raster is nothing
    unit = torch.arange(size, device=raster.device)
    whole = steps.whole.expand(-1, size)
    share = None if steps.share is None else steps.share.to(raster.dtype)

    def taken(row: int) -> Tensor:
        where = torch.maximum((row + 1 - whole) * size + unit, unit)
        return table.index_select(1, where.flatten()).view(batch, *where.shape)

    for row in rows:
        yield taken(row) if share is None else torch.lerp(taken(row), taken(row - 1), share)


def _wide(raster: Tensor, steps: OnSteps, rows: range) -> Iterator[Tensor]:
    """Return the same of spikes that arrive at many steps."""
    taps = steps.taps(steps.longest() + 1, raster.dtype).flip(-1)
    taps = taps.expand(-1, raster.shape[2], -1)
    n_taps = taps.shape[-1]
    before = functional.pad(raster, (0, 0, n_taps - 1, 0))
    for row in rows:
        yield torch.einsum("jik,bki->bji", taps, before[:, row : row + n_taps])
