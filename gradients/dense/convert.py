"""From event layers, or from a `Network`, to dense layers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from evsim import Network

from .. import layers as events
from ..constructors import arguments_for
from ..network_import import chain_of_layers
from .layers import LIF, SRM, CubaLIF, Delay
from .on_grid import OnGrid
from .readouts import LI, CubaLI
from .surrogates import Surrogate

Make = Callable[..., nn.Module]
_EVENT_LAYERS: tuple[type[nn.Module], ...] = (
    events.Delay,
    events.CubaLIF,
    events.SRM,
    events.CubaLI,
    events.LI,
)


def from_events(
    model: nn.Module,
    dt: float,
    *,
    delays: str = "round",
    surrogate: str | Surrogate = "arctan",
    reset_mode: str = "hard",
    detach_reset: bool = True,
    refire: bool = False,
) -> nn.Module:
    """Return a model of dense layers with the parameters of a model of event layers.

    Parameters
    ----------
    model : Module
        A layer of `evsim.gradients`, or a ``Sequential`` (of ``Sequential``) of layers.
    dt : float
        Length of a step [s].
    delays, surrogate, reset_mode, detach_reset
        As for `evsim.gradients.dense.CubaLIF`; each layer is given what concerns it.
    refire : bool
        As for `evsim.gradients.dense.SRM`, the only layer here that it concerns.

    Returns
    -------
    Module
        A layer or a ``Sequential``; parameters are copies, of the same names.

    Raises
    ------
    ValueError
        If a module is no event layer; the message names it.

    Examples
    --------
    >>> from evsim import gradients as g
    >>> hidden = g.CubaLIF(3, 4, tau_mem=20e-3, tau_syn=5e-3, delay="axonal")
    >>> from_events(nn.Sequential(hidden, g.LI(4, 2, tau_mem=20e-3)), dt=1e-3)
    Sequential(
      (0): CubaLIF(3, 4, tau_mem=0.02, tau_syn=0.005, delay='axonal', max_delay=0.06, dt=0.001)
      (1): LI(4, 2, tau_mem=0.02, dt=0.001)
    )
    """
    makers = _makers(dt, delays, surrogate, reset_mode, detach_reset, refire)
    return _converted(model, makers, "the model")


def from_network(
    net: Network,
    dt: float,
    *,
    delays: str = "round",
    surrogate: str | Surrogate = "arctan",
    detach_reset: bool = True,
    refire: bool = False,
) -> nn.Sequential:
    """Return the model of dense layers that a network is.

    Parameters
    ----------
    net : Network
        A chain of populations, `LIF` too, each with at most one projection onto itself.
    dt : float
        Length of a step [s].
    delays, surrogate, detach_reset
        As for `evsim.gradients.dense.CubaLIF`. The reset mode is that of the network.
    refire : bool
        Of `SRM`, and of `LIF` with a soft reset.

    Returns
    -------
    Sequential
        Of layers named as the populations, with float64 parameters.

    Raises
    ------
    ValueError
        If the network holds what no layer does; the message names it.

    Examples
    --------
    >>> from evsim import Dense, Population
    >>> cells = Population("cells", "LIF", 2, tau_mem=20e-3, reset_mode="soft")
    >>> into = Dense(pre="in", post="cells", weight=[[1.0], [2.0]])
    >>> model = from_network(Network([Population("in", "Input", 1), cells], [into]), dt=1e-3)
    >>> model, model.cells.reset_mode
    (Sequential(
      (cells): LIF(1, 2, tau_mem=0.02, dt=0.001)
    ), 'soft')
    """
    makers = _makers(dt, delays, surrogate, "hard", detach_reset, refire)
    model = chain_of_layers(net, makers)
    for name, layer in model.named_children():
        if isinstance(layer, (CubaLIF, LIF)):
            layer.reset_mode = net.populations[name].reset_mode
            layer.refire = refire and isinstance(layer, LIF) and layer.reset_mode == "soft"
    return model


def _makers(
    dt: float,
    delays: str,
    surrogate: str | Surrogate,
    reset_mode: str,
    detach_reset: bool,
    refire: bool,
) -> dict[str, Make]:
    """Return what makes the dense layer of each name."""
    grid: dict[str, Any] = {"dt": dt, "delays": delays}
    firing: dict[str, Any] = {**grid, "surrogate": surrogate, "detach_reset": detach_reset}
    return {
        "Delay": partial(Delay, **grid),
        "CubaLIF": partial(CubaLIF, **firing, reset_mode=reset_mode),
        "LIF": partial(LIF, **firing, reset_mode=reset_mode),
        "SRM": partial(SRM, **firing, refire=refire),
        "CubaLI": partial(CubaLI, **grid),
        "LI": partial(LI, **grid),
    }


def _converted(model: nn.Module, makers: dict[str, Make], where: str) -> nn.Module:
    if isinstance(model, nn.Sequential):
        twin = nn.Sequential()
        for name, module in model.named_children():
            twin.add_module(name, _converted(module, makers, f"module {name!r}"))
        return twin
    # A parametrised layer is of a class of its own.
    kind = next((kind for kind in _EVENT_LAYERS if isinstance(model, kind)), None)
    if kind is None or isinstance(model, (OnGrid, Delay)):
        what = "none of evsim's layers" if kind is None else "dense already"
        raise ValueError(f"{where}: {type(model).__name__} is {what}")
    arguments = arguments_for(model)
    for name in ("bound", "tick"):  # of events
        arguments.pop(name, None)
    layer = makers[kind.__name__](**arguments)
    with torch.no_grad():
        for name, tensor in layer.state_dict().items():
            tensor.copy_(getattr(model, name))
    return layer
