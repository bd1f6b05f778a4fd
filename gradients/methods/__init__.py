"""Published methods: their networks, untrained, and the settings that they were trained with.

A network is a row of the table below: `axonal`, and those of `delrec_recipes` and `dcls`, which
`lif_networks` builds; `delrec` and `dcls` have what such trainings are made of. What networks are
made of is in `evsim.gradients.dense`, losses and regularisers are in `evsim.gradients`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

from evsim.quantities import positive

from . import dcls, delrec, three_factor
from .axonal import AXONAL_SHD, axonal
from .delrec_recipes import NETWORKS
from .lif_networks import network
from .recipe import Recipe

__all__ = ["NAMES", "RIVALS", "Recipe", "build", "dcls", "delrec", "recipe", "three_factor"]

_METHODS: dict[str, tuple[Recipe, Callable[..., nn.Sequential]]] = {
    "axonal-shd": (AXONAL_SHD, axonal),
    **{
        name: (settings, partial(network, plan, settings))
        for name, (settings, plan) in {**NETWORKS, **dcls.NETWORKS}.items()
    },
}
RIVALS = tuple(dcls.NETWORKS)  # what others compare theirs with
NAMES = tuple(name for name in _METHODS if name not in RIVALS)


def build(
    name: str,
    sizes: Sequence[int] | None = None,
    dt: float | None = None,
    max_delay: float | None = None,
) -> nn.Sequential:
    """Return a published network, untrained.

    Parameters
    ----------
    name : str
        One of `NAMES` or `RIVALS`.
    sizes : sequence of int or None
        Inputs, units of the hidden layers, classes; the published ones if left out.
    dt : float or None
        Length of a step [s], that of the recipe if left out. Time constants are steps.
    max_delay : float or None
        Longest delay [s]; if left out that of the recipe, or as long as its recordings.

    Returns
    -------
    Sequential
        Of dense layers, with first weights and delays from torch's generator. ``axonal-shd``
        returns spikes, the others a value per class, whose cross-entropy is the loss.

    Raises
    ------
    ValueError
        If there is no such method, or a number is not legal.

    Examples
    --------
    >>> model = build("axonal-shd")
    >>> sum(p.numel() for p in model.parameters() if p.requires_grad)
    108800
    """
    settings, make = _found(name)
    sizes = settings.sizes if sizes is None else tuple(sizes)
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"sizes = {sizes}, must be inputs, hidden units and classes, each >= 1")
    dt = settings.dt if dt is None else positive("dt", dt, "s")
    return make(sizes, dt, settings.longest_delay(dt) if max_delay is None else max_delay)


def recipe(name: str) -> Recipe:
    """Return the published settings of a method.

    Parameters
    ----------
    name : str
        One of `NAMES` or `RIVALS`.

    Returns
    -------
    Recipe
        Frozen; its ``notes`` tell where they are from and what was chosen here.

    Raises
    ------
    ValueError
        If there is no such method.

    Examples
    --------
    >>> recipe("axonal-shd").epochs
    1000
    """
    return _found(name)[0]


def _found(name: str) -> tuple[Recipe, Callable[..., nn.Sequential]]:
    if name not in _METHODS:
        raise ValueError(f"name = {name!r}, must be one of {', '.join(_METHODS)}")
    return _METHODS[name]
