"""DCLS: delays of synapses, learnt through bells that narrow while a network is trained.

Hammouamri, Khalfaoui-Hassani and Masquelier (2024), "Learning delays in spiking neural networks
using dilated convolutions with learnable spacings", arXiv 2306.17670. Layers of the grid have it
as ``delays="gaussian"``, with the formula of `gaussian`. There are no loops.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from evsim.quantities import positive

from ..dense.bell import NARROWEST, bell
from .checks import check_epoch, check_taps, checked_steps
from .delrec_recipes import NETWORKS as _DELREC
from .lif_networks import Plan
from .recipe import Recipe

__all__ = ["gaussian", "sigma"]


def gaussian(delay: float | Tensor, sigma: float | Tensor, n_taps: int) -> Tensor:
    """Return the shares of a spike that arrive 0, 1, 2, ... steps later.

    Parameters
    ----------
    delay : float tensor [...]
        Delays [steps], >= 0.
    sigma : float or tensor
        How much wider than 0.27 steps a bell is [steps], >= 0, in a shape that broadcasts with
        the delays.
    n_taps : int
        Steps of the kernel: the longest delay and 1.

    Returns
    -------
    tensor [..., n_taps]
        exp(-((k - delay) / s)^2 / 2) at step k, s = sigma + 0.27, divided by the sum over all
        steps. Differentiable in both.

    Raises
    ------
    ValueError
        If a delay or a width is not finite or below 0, or there is no step.

    Examples
    --------
    >>> import torch
    >>> gaussian(torch.tensor(1.0), 0.73, 4)
    tensor([0.2583, 0.4258, 0.2583, 0.0576])
    """
    check_taps(n_taps)
    late = checked_steps("delay", delay)
    return bell(late, NARROWEST + checked_steps("sigma", sigma, late), n_taps)


def sigma(epoch: int, epochs: int, start: float, end: float = 0.23) -> float:
    """Return how wide bells are in an epoch [steps].

    Parameters
    ----------
    epoch, epochs : int
        Which one, from 0, of how many.
    start, end : float
        Width at first, and from a quarter of the training on [steps].

    Returns
    -------
    float
        start * (end / start)^(epoch / (epochs / 4)), then ``end``.

    Raises
    ------
    ValueError
        If there is no such epoch, or a width is not finite and > 0.

    Examples
    --------
    >>> [round(sigma(epoch, 40, 12.0), 3) for epoch in (0, 5, 10, 39)]
    [12.0, 1.661, 0.23, 0.23]
    """
    check_epoch(epoch, epochs)
    start, end = positive("start", start, "steps"), positive("end", end, "steps")
    passed = 4 * epoch / epochs
    return end if passed >= 1 else start * (end / start) ** passed


_SHD, _ = _DELREC["delrec-shd"]
_DCLS_SHD = replace(
    _SHD,
    optimiser="Adam",
    delay_lr=0.1 * _SHD.dt,
    augmentation=None,
    sources=(
        "Hammouamri, Khalfaoui-Hassani and Masquelier (2024), Learning delays in spiking neural "
        "networks using dilated convolutions with learnable spacings",
        "github.com/Thvnvtos/SNN-delays",
    ),
    notes=(
        "Much is as in DelRec's recipe: steps of 10 ms, five channels summed, sum of softmaxes, "
        "arctan of peak 2.5, detached hard reset, weights U(+-sqrt(6 / inputs)).",
        "There are no biases, as the program's settings for SHD say: 106,496 weights, as many "
        "delays and 1,024 numbers of batch norms. DelRec's table has 0.22 M for this network, the "
        "paper 0.2 M.",
        "The kernel has 25 steps, so the longest delay is 24. The program counts positions from "
        "its middle, and backwards: its +12 is a delay of 0 here, its -12 one of 24 steps.",
        "The program draws first positions from -13 to 12, for it halves 25 downwards, and cuts "
        "them at -12: one in 25 starts as the longest delay. So it is here.",
        "The program appends 12 empty steps to what enters each layer, so that late arrivals "
        "count; here recordings keep their length, and what arrives behind the end is lost. "
        "Append empty steps to a raster where that matters.",
        "Sigma starts at half the longest delay. The library adds 0.27 to it.",
        "To test, the program rounds positions in a copy and takes a triangle of no width; layers "
        "round on the fly in eval().",
        "Delays at their limits lose their momentum here (hold_delays), in the program not.",
        "The program validates on the test set and keeps the best epoch; don't. 95.07 % was found "
        "so; DelRec's authors found 93.77 with a part for validation, and augmentation.",
        "The readout returns the votes; an exported network has none, it decides by the largest "
        "integral of voltage.",
    ),
    sigma=12.0,
    sigma_decay=None,
    sigma_end=0.23,
    recurrent_dropout=0.0,
    validation=0.0,
    longest=24,
)

NETWORKS: dict[str, tuple[Recipe, Plan]] = {
    "dcls-shd": (_DCLS_SHD, Plan(tau=1.005, bias=False, bells=True)),
}
