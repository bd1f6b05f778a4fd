"""A whole model on few bits."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.parametrize import register_parametrization

from evsim.train_options import TERNARY

from ..delays import Delayed
from ..layers import Readout
from ..synapses import SHORTEST_LOOP, Synapses
from .delay_grid import DelayGrid
from .weights import Ternary, Uniform


def quantise(
    model: nn.Module,
    weight_bits: float | None = None,
    delay_bits: int | None = None,
    learn: bool = True,
    readouts: bool = True,
) -> None:
    """Put all weights of a model, or all its delays, or both, on few bits, in place.

    Call it after `evsim.gradients.fit_weights` and before an optimiser is made. Every layer
    gets levels of its own.

    Parameters
    ----------
    model : Module
        Of layers, of events or of a grid.
    weight_bits : float or None
        1.58 for `Ternary` weights, with a threshold for each unit; 2 to 16 for `Uniform` ones;
        None to leave them.
    delay_bits : int or None
        1 to 16: as many values, 2^bits, evenly from 0 (of a loop: from 0.1 ms) to the layer's
        longest delay, see `DelayGrid`. None to leave them.
    learn : bool
        Whether the levels of weights are trained with them. Where they are not, a layer can
        never have a larger effect than at first.
    readouts : bool
        Whether the weights of readouts, too. They are few, and the decision is a sum of them.

    Raises
    ------
    ValueError
        If a number of bits is none of these, or delays are asked for and there are none.

    Examples
    --------
    >>> from evsim import gradients as g
    >>> model = g.delay_model(70, 32, 10)
    >>> quantise(model, 1.58, 3)
    >>> model.hidden.weight.unique().numel(), model.hidden.parametrizations.delay[0].n_values()
    (3, 8)
    """
    layers = list(model.modules())
    if weight_bits is not None:
        for layer in layers:
            few = isinstance(layer, Synapses) and (readouts or not isinstance(layer, Readout))
            for name in ("weight", "recurrent_weight") if few else ():
                if getattr(layer, name, None) is not None:
                    levels = _levels(getattr(layer, name), weight_bits, learn)
                    register_parametrization(layer, name, levels)
    if delay_bits is not None:
        found = [
            (layer, name, high)
            for layer in layers
            if isinstance(layer, Delayed)
            for name, (_, high) in layer.delay_limits().items()
        ]
        if not found:
            raise ValueError(f"delay_bits = {delay_bits}, but the model has no delays to learn")
        for layer, name, high in found:
            register_parametrization(layer, name, _grid(name, high, delay_bits))


def _levels(weight: torch.Tensor, bits: float, learn: bool) -> nn.Module:
    if bits == TERNARY:
        return Ternary.fit(weight, learn, per_unit=True)
    if bits != int(bits):
        raise ValueError(
            f"weight_bits = {bits:g}, must be {TERNARY} or a whole number from 2 to 16"
        )
    return Uniform.fit(weight, int(bits), learn)


def _grid(name: str, high: float, bits: int) -> DelayGrid:
    if bits != int(bits) or not 1 <= bits <= 16:
        raise ValueError(f"delay_bits = {bits}, must be a whole number from 1 to 16")
    loop = name == "recurrent_delay"
    low = SHORTEST_LOOP if loop else 0.0
    return DelayGrid((high - low) / (2 ** int(bits) - 1), low, high, loop=loop)
