"""How many numbers a model keeps, and in how many bits."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

from torch import nn
from torch.nn.utils import parametrize

from evsim.bits import FULL, Bits

from ..delays import HasDelays
from ..synapses import Synapses
from .delay_grid import DelayGrid

_WEIGHTS, _DELAYS = ("weight", "recurrent_weight"), ("delay", "recurrent_delay")


def delay_bit_fraction(weight_bits: float, delay_bits: float) -> float:
    """Return the share of delays in the bits of a weight and a delay.

    Parameters
    ----------
    weight_bits, delay_bits : float
        Of one weight and of one delay; log2(3) for a ternary weight.

    Returns
    -------
    float
        Per parameter, not per network, as in paper A.

    Examples
    --------
    >>> round(delay_bit_fraction(1.58, 3), 3)
    0.655
    """
    for name, bits in (("weight_bits", weight_bits), ("delay_bits", delay_bits)):
        if not 0 <= bits < inf:
            raise ValueError(f"{name} = {bits}, must be finite and >= 0")
    if weight_bits + delay_bits == 0:
        raise ValueError("weight_bits and delay_bits are both 0")
    return delay_bits / (weight_bits + delay_bits)


@dataclass(frozen=True)
class Size(Bits):
    """How many numbers a model keeps, and in how many bits.

    A kernel counts its own numbers, masked synapses don't count, frozen parameters do, fixed
    numbers that are no parameters don't.

    Attributes
    ----------
    weights, delays : int
        Numbers of projections and of delays.
    weight_bits, delay_bits : float
        Of all of them together.
    others : int
        All else that is a parameter, such as biases, learnt thresholds, learnt levels and lowest
        delays.
    """

    others: int

    def __str__(self) -> str:
        """Return the size in Mbit (10^6)."""
        each = [
            f"{n:,} {what}" + (f" of {bits / n:.3g} bit{'s' * (bits != n)}" if n else "")
            for n, what, bits in (
                (self.weights, "weights", self.weight_bits),
                (self.delays, "delays", self.delay_bits),
            )
        ]
        return f"{self.bits / 1e6:.3g} Mbit: {', '.join(each)}; {self.others:,} other numbers"


def size(model: nn.Module) -> Size:
    """Return the size of a model of layers.

    A number that isn't quantised counts 32 bits, one behind `Uniform` its bits, behind
    `Ternary` log2(3), behind a `DelayGrid` with a longest delay the bits that tell apart all
    delays it can give. Other numbers are not in the bits.

    Parameters
    ----------
    model : Module
        Of layers, of events or of a grid.

    Returns
    -------
    Size

    Examples
    --------
    >>> from evsim import gradients as g
    >>> from evsim.gradients.lowbit import Ternary
    >>> layer = g.CubaLIF(100, 10, 20e-3, 5e-3, delay="axonal")
    >>> quantised = Ternary.fit(layer.weight)
    >>> _ = parametrize.register_parametrization(layer, "weight", quantised)
    >>> print(size(layer))
    0.00478 Mbit: 1,000 weights of 1.58 bits, 100 delays of 32 bits; 0 other numbers
    """
    weights = delays = 0
    weight_bits = delay_bits = 0.0
    counted: set[int] = set()
    for layer in model.modules():
        for name in _WEIGHTS if isinstance(layer, Synapses) else ():
            n, bits = _kept(layer, name, counted)
            weights, weight_bits = weights + n, weight_bits + n * bits
        for name in _DELAYS if isinstance(layer, HasDelays) else ():
            n, bits = _kept(layer, name, counted)
            delays, delay_bits = delays + n, delay_bits + n * bits
    others = sum(p.numel() for p in model.parameters() if id(p) not in counted)
    return Size(weights, delays, weight_bits, delay_bits, others)


def _kept(layer: nn.Module, name: str, counted: set[int]) -> tuple[int, float]:
    """Return how many numbers of a tensor of a layer are parameters, and the bits of each."""
    bits: float = FULL
    if parametrize.is_parametrized(layer, name):
        chain: Any = layer.parametrizations[name]  # type: ignore[index]
        free = list(chain.parameters(recurse=False))
        last, dtype = chain[-1], getattr(layer, name).dtype
        if isinstance(last, DelayGrid):
            bits = last.n_bits(dtype)
        elif hasattr(last, "n_bits"):
            bits = last.n_bits()
    else:
        free = [layer._parameters[name]] if layer._parameters.get(name) is not None else []
    new = [p for p in free if id(p) not in counted]
    counted.update(id(p) for p in new)
    if not new:
        return 0, bits
    tensor = getattr(layer, name)
    mask = getattr(layer, "recurrent_mask" if name.startswith("recurrent") else "mask", None)
    there = mask if mask is not None and mask.shape == tensor.shape else None
    return (tensor.numel() if there is None else int(there.sum())), bits
