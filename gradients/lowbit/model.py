"""A whole model on few bits."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, register_parametrization

from evsim.bits import MOST, TERNARY, check_weight_bits

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
        If a number of bits is none of these, there are no such weights or delays, or one of them
        is parametrised already. The model is as it was then.

    Examples
    --------
    >>> from evsim import gradients as g
    >>> model = g.delay_model(70, 32, 10)
    >>> quantise(model, 1.58, 3)
    >>> model.hidden.weight.unique().numel(), model.hidden.parametrizations.delay[0].n_values()
    (3, 8)
    """
    made = [
        *_weights(model, weight_bits, learn, readouts),
        *_delays(model, delay_bits),
    ]
    for layer, name, _ in made:
        if is_parametrized(layer, name):
            raise ValueError(
                f"{name} of {type(layer).__name__}: is parametrised already; register what is "
                "wanted one by one"
            )
    for layer, name, few in made:  # all of them, or none
        register_parametrization(layer, name, few)


Made = tuple[nn.Module, str, nn.Module]


def _weights(model: nn.Module, bits: float | None, learn: bool, readouts: bool) -> list[Made]:
    """Return layers, names and what weights are to be on."""
    if bits is None:
        return []
    check_weight_bits(bits)
    layers = [m for m in model.modules() if isinstance(m, Synapses)]
    if not layers:
        raise ValueError(f"weight_bits = {bits:g}, but the model has no layers of evsim")
    return [
        (layer, name, _levels(getattr(layer, name), bits, learn))
        for layer in layers
        if readouts or not isinstance(layer, Readout)
        for name in ("weight", "recurrent_weight")
        if getattr(layer, name, None) is not None
    ]


def _levels(weight: Tensor, bits: float, learn: bool) -> nn.Module:
    if bits == TERNARY:
        return Ternary.fit(weight, learn, per_unit=True)
    return Uniform.fit(weight, int(bits), learn)


def _delays(model: nn.Module, bits: int | None) -> list[Made]:
    """Return layers, names and the grids that delays are to be on."""
    if bits is None:
        return []
    if not 1 <= bits <= MOST or bits != int(bits):
        raise ValueError(f"delay_bits = {bits}, must be a whole number from 1 to {MOST}")
    found: list[Made] = []
    for layer in model.modules():
        for name, (_, high) in layer.delay_limits().items() if isinstance(layer, Delayed) else ():
            loop = name == "recurrent_delay"
            low = SHORTEST_LOOP if loop else 0.0
            step = (high - low) / (2 ** int(bits) - 1)
            if not step > 0:
                raise ValueError(
                    f"delay_bits = {bits}: {name} of {type(layer).__name__} has no room between "
                    f"{low:g} and {high:g} s"
                )
            found.append((layer, name, DelayGrid(step, low, high, loop=loop)))
    if not found:
        raise ValueError(f"delay_bits = {bits}, but the model has no delays to learn")
    return found
