"""DelRec: delays of loops, learnt through triangles that narrow while a network is trained.

Queant, Rançon, Cottereau and Masquelier (2025), "DelRec: learning delays in recurrent spiking
neural networks", arXiv 2509.24852. Layers of the grid have it as ``delays="spread"``, with the
formula of `spread`; here a delay is counted in steps beyond the one that a loop takes, there it
is the whole time in seconds.
"""

from __future__ import annotations

from math import inf, log

from torch import Tensor
from torch.nn import functional

from ..dense.spread import SIGMA, triangle
from .checks import check_epoch, check_taps, checked_steps

__all__ = ["growth", "sigma", "spread", "votes"]


def spread(delay: float | Tensor, sigma: float | Tensor, n_taps: int) -> Tensor:
    """Return the shares of a spike that arrive 0, 1, 2, ... steps later through a loop.

    Parameters
    ----------
    delay : float tensor [...]
        Delays [steps] beyond the one that a loop takes, >= 0.
    sigma : float or tensor
        How much wider than interpolation a triangle is [steps], >= 0, in a shape that broadcasts
        with the delays.
    n_taps : int
        Steps that are returned.

    Returns
    -------
    tensor [..., n_taps]
        max(0, s - abs(k - (1 + delay))) / s^2 at step k > 0, s = 1 + sigma. Nothing arrives at
        step 0, what lies there or behind the last step is lost. Differentiable in both.

    Raises
    ------
    ValueError
        If a delay or a width is not finite or below 0, or there is no step.

    Examples
    --------
    >>> import torch
    >>> 9 * spread(torch.tensor(3.4), 2.0, 8)
    tensor([0.0000, 0.0000, 0.6000, 1.6000, 2.6000, 2.4000, 1.4000, 0.4000])
    """
    check_taps(n_taps)
    late = checked_steps("delay", delay)
    width = checked_steps("sigma", sigma, late)
    return functional.pad(triangle(1 + late, 1 + width, n_taps)[..., 1:], (1, 0))


def sigma(epoch: int, epochs: int, start: float = SIGMA, decay: float = 0.95) -> float:
    """Return how wide triangles are in an epoch [steps].

    Parameters
    ----------
    epoch, epochs : int
        Which one, from 0, of how many.
    start : float
        Width at first [steps].
    decay : float
        Factor of a hundredth of the training.

    Returns
    -------
    float
        start * decay^(100 epoch / epochs); never 0.

    Examples
    --------
    >>> round(sigma(0, 150), 3), round(sigma(149, 150), 3)
    (10.0, 0.061)
    """
    check_epoch(epoch, epochs)
    return float(start * decay ** (100 * epoch / epochs))


def growth(a: float, b: float, delay: int) -> float:
    """Return the factor by which an error grows in a step on its way back through a loop.

    Parameters
    ----------
    a : float
        What a unit keeps of its voltage in a step, >= 0.
    b : float
        What comes back through the loop, >= 0.
    delay : int
        Of the loop [steps], beyond the one that a loop takes, >= 0.

    Returns
    -------
    float
        Largest modulus of the roots of x^delay (x - a) = b.

    Raises
    ------
    ValueError
        If ``a`` or ``b`` is not finite or below 0, or the delay is no whole number >= 0.

    Notes
    -----
    Of the supplement of the paper, section S3. It falls with the delay where a + b > 1 and rises,
    towards 1, where a + b < 1. No coefficient of x^delay (x - a) - b but the first is positive,
    so the largest root is the only one above ``a``; it is enclosed to the last bit.

    Examples
    --------
    >>> [round(growth(0.5, 1.5, delay), 4) for delay in (0, 1, 10)]
    [2.0, 1.5, 1.0966]
    """
    for name, value in (("a", a), ("b", b)):
        if not 0 <= value < inf:
            raise ValueError(f"{name} = {value}, must be finite and >= 0")
    if delay != int(delay) or delay < 0:
        raise ValueError(f"delay = {delay}, must be a whole number of steps >= 0")
    a, b, delay = float(a), float(b), int(delay)
    if b == 0 or delay == 0:
        return a + b
    low, high = a, max(1.0, a + b)
    while low < (middle := low + (high - low) / 2) < high:
        # By logarithms: powers of long delays are beyond all floats.
        above = middle > a and delay * log(middle) + log(middle - a) >= log(b)
        low, high = (low, middle) if above else (middle, high)
    return high


def votes(voltage: Tensor) -> Tensor:
    """Return how much the steps of a recording speak for each class.

    Parameters
    ----------
    voltage : tensor [batch, step, class]
        Of a readout, as its ``voltage`` returns it.

    Returns
    -------
    tensor [batch, class]
        Sum over steps of the softmax over classes. Its cross-entropy, with a second softmax, is
        the loss of DelRec on SHD.

    Raises
    ------
    ValueError
        If the voltages have other axes.

    Examples
    --------
    >>> import torch
    >>> votes(torch.zeros(1, 6, 2))
    tensor([[3., 3.]])
    """
    if voltage.ndim != 3:
        raise ValueError(
            f"voltage: shape {list(voltage.shape)}, must be [batch, step, class]; a readout's "
            "voltage(raster) is"
        )
    return voltage.softmax(dim=2).sum(dim=1)
