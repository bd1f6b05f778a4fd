"""How many bits the weights and delays of a network take where it will run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from evsim.arrays import FloatArray
from evsim.levels import Levels
from evsim.network import Network

FULL = 32  # bits of a number that is not quantised
MOST = 16  # bits of a level that is trained
TERNARY = 1.58  # bits of a weight of three values, what log2(3) is called


def check_weight_bits(bits: float) -> None:
    """Refuse bits that no weight is trained with."""
    if bits != TERNARY and not (2 <= bits <= MOST and bits == int(bits)):
        raise ValueError(
            f"weight_bits = {bits:g}, must be {TERNARY:g} or a whole number from 2 to {MOST}"
        )


@dataclass(frozen=True)
class Bits:
    """How many numbers a network has, and their bits.

    Attributes
    ----------
    weights, delays : int
        How many there are.
    weight_bits, delay_bits : float
        Of all of them together.
    """

    weights: int
    delays: int
    weight_bits: float
    delay_bits: float

    @property
    def bits(self) -> float:
        """Of weights and delays together."""
        return self.weight_bits + self.delay_bits

    def __str__(self) -> str:
        """Return the sum in Mbit (10^6 bits), and what is saved by few bits."""
        told = f"{self.bits / 1e6:.3g} Mbit of weights and delays"
        full = FULL * (self.weights + self.delays)
        if self.bits == full:
            return told
        return f"{told}, {full / self.bits:.1f} times smaller than at {FULL} bits"


def network_bits(net: Network) -> Bits:
    """Count the bits of all weights and delays.

    A number that has `evsim.Levels` counts their ``bits``, a ternary weight (three ``values``
    and at most 2 bits) log2(3), any other number 32. A dense projection has a number for each
    pair of units, a sparse one for each synapse listed, a convolution those of its kernel. A
    delay that is one for all synapses is fixed and does not count.

    Parameters
    ----------
    net : Network
        Any network.

    Returns
    -------
    Bits

    Examples
    --------
    >>> import evsim
    >>> ternary = evsim.Levels([[0, 1, 2, 1]], values=[-0.2, 0.0, 0.4])
    >>> delay = evsim.Levels([[0, 7, 3, 1]], step=1e-3, bits=3)
    >>> net = evsim.Network(
    ...     [evsim.Population("in", "Input", 4), evsim.Population("out", "LI", 1, tau_mem=0.02)],
    ...     [evsim.Dense(pre="in", post="out", weight=ternary, delay=delay)],
    ... )
    >>> network_bits(net).weight_bits == 4 * math.log2(3), network_bits(net).delay_bits
    (True, 12.0)
    """
    weights, delays, weight_bits, delay_bits = 0, 0, 0.0, 0.0
    for projection in net.projections.values():
        levels = projection.levels
        n, name = projection.weights.size, projection.weights_name
        weights, weight_bits = weights + n, weight_bits + n * _weight_bits(levels.get(name))
        for key, delay in (("delay", projection.delay), ("axonal_delay", projection.axonal_delay)):
            n = _learnable(delay)
            delays, delay_bits = delays + n, delay_bits + n * _bits(levels.get(key))
    return Bits(weights, delays, weight_bits, delay_bits)


def _learnable(delay: FloatArray | None) -> int:
    return 0 if delay is None or delay.ndim == 0 else delay.size


def _weight_bits(levels: Levels | None) -> float:
    ternary = levels is not None and levels.n_values == 3 and levels.bits <= 2
    return math.log2(3) if ternary else _bits(levels)


def _bits(levels: Levels | None) -> float:
    return float(FULL if levels is None else levels.bits)
