"""The models that ``evsim train`` trains, and weights to start from.

`delay_model` is hidden layers and a readout, with delays and loops where wanted.
`fit_weights` makes every unit fire from the beginning, for a silent unit has no gradient, and
the classes differ by about 1, for a cross-entropy of equals or of giants learns slowly.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from evsim import Spikes
from evsim import train_options as options
from evsim.taken_spikes import as_arrays

from ..delays import Delayed
from ..layers import CubaLI, CubaLIF, Readout
from ..synapses import MAX_DELAY, Spiking

DELAYS, LOOPS = get_args(options.Delay), get_args(options.Loop)
_STEPS = 12  # of the search for factors of the weights
_SPAN = 16.0  # a factor is from 1/16 to 16
_NEAR = 4.0  # what a loop changes of it, at most
_LOOPED = 32  # recordings that are enough where there is a loop


def delay_model(
    n_inputs: int,
    n_hidden: int | Sequence[int],
    n_classes: int,
    delay: str = "axonal",
    recurrent: str = "none",
    max_delay: float = MAX_DELAY,
    tau_mem: float = 20e-3,
    tau_syn: float = 10e-3,
    tau_output: float = 0.2,
    learn: Sequence[str] = (),
) -> nn.Sequential:
    """Return hidden layers of `CubaLIF`, one or several, and a `CubaLI` readout.

    The readout is the integral of the voltage weighted by e^(-t / tau_output). The weight
    makes it count when a spike comes: the plain integral is the same for all times, and the
    largest voltage has a gradient from one instant only.

    Parameters
    ----------
    n_inputs, n_classes : int
        Sizes.
    n_hidden : int or sequence of int
        Units of the hidden layer, or of each of several.
    delay : {"none", "axonal", "dendritic", "synaptic"}
        Learnt delays of every hidden layer's input, and of its loop.
    recurrent : {"none", "dense", "conv"}
        The loop of every hidden layer.
    max_delay : float
        Longest delay [s].
    tau_mem, tau_syn : float
        Time constants of hidden layers [s]; the readout has half of them.
    tau_output : float
        [s].
    learn : sequence of str
        Parameters of hidden units to train besides weights and delays, such as ``"tau_mem"``; a
        layer's units share them.

    Returns
    -------
    Sequential
        Layers ``hidden`` (``hidden1``, ``hidden2``, ... if there are several) and ``readout``,
        with weights from torch's generator.

    Raises
    ------
    ValueError
        If an option is not one of those told, or there is no hidden layer.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> delay_model(70, 128, 10)
    Sequential(
      (hidden): CubaLIF(70, 128, tau_mem=0.02, tau_syn=0.01, delay='axonal', max_delay=0.06)
      (readout): CubaLI(128, 10, tau_mem=0.01, tau_syn=0.005, output='integral', tau_output=0.2)
    )
    """
    for name, value, known in (("delay", delay, DELAYS), ("recurrent", recurrent, LOOPS)):
        if value not in known:
            raise ValueError(f"{name} = {value!r}, must be one of {', '.join(known)}")
    late = {} if delay == "none" else {"delay": delay, "max_delay": max_delay}
    loop: dict[str, Any] = {}
    if recurrent != "none":
        loop = {"recurrent": recurrent, **{f"recurrent_{name}": late[name] for name in late}}
    sizes = [n_hidden] if isinstance(n_hidden, int) else list(n_hidden)
    if not sizes:
        raise ValueError("n_hidden = [], must be one size or several")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, (n_before, n) in enumerate(zip([n_inputs, *sizes], sizes, strict=False)):
        name = f"hidden{i + 1}" if len(sizes) > 1 else "hidden"
        layers[name] = CubaLIF(n_before, n, tau_mem, tau_syn, **late, **loop, learn=learn)
    layers["readout"] = CubaLI(
        sizes[-1], n_classes, tau_mem / 2, tau_syn / 2, output="integral", tau_output=tau_output
    )
    return nn.Sequential(layers)


@torch.no_grad()
def begin_delays(model: nn.Module, first: float | None = None, learn: bool = True) -> None:
    """Give all delays of a model the same first value, and say whether they are trained.

    Parameters
    ----------
    model : Module
        Of layers of events or of the grid.
    first : float or None
        [s]; where a layer has none as short, its shortest. They stay as they are if left out.
    learn : bool
        Whether they are trained; else widths over which they are spread aren't either.

    Raises
    ------
    ValueError
        If a layer has no delays as long.

    Examples
    --------
    >>> model = delay_model(4, 2, 2)
    >>> begin_delays(model, 0.01, learn=False)
    >>> model.hidden.delay
    Parameter containing:
    tensor([0.0100, 0.0100, 0.0100, 0.0100])
    """
    for part in model.modules():
        for name, (low, high) in part.delay_limits().items() if isinstance(part, Delayed) else ():
            delay = getattr(part, name)
            if first is not None and first > high:
                raise ValueError(f"first_delay = {first:g}, but the longest is {high:g} s")
            if first is not None:
                delay.fill_(max(first, low))
            delay.requires_grad_(learn)
        spread = getattr(part, "spread", None)
        if isinstance(spread, nn.Parameter):
            spread.requires_grad_(learn)


@torch.no_grad()
def fit_weights(
    model: nn.Sequential, spikes: Spikes, rate: float = 15.0, per_unit: bool = True
) -> None:
    """Scale the weights of a new model to the data that it is going to be trained on.

    Parameters
    ----------
    model : Sequential
        Of layers.
    spikes : Spikes
        A typical batch.
    rate : float
        Wanted of every spiking unit [Hz], on average over the batch, from 0 to the last
        input spike of each recording.
    per_unit : bool
        Whether every unit gets a factor of its own; else all of a layer the same one.

    Notes
    -----
    The factor of each unit's input weights is found by bisection between 1/16 and 16, for
    all units of a layer at once; the weights of a unit that sum up to less than 0 change
    their sign first. Where there is a loop, of which every spike costs, 32 recordings are
    taken, and the search is made without the loop, then between a quarter and 4 times of what
    it found with it. The weights of a readout lose their mean, which all classes share, and
    are scaled so that the values of a recording have a standard deviation of 1 over the
    classes; those of a single output stay as they are.
    """
    spikes = as_arrays(spikes, "fit_weights")
    for name, layer in model.named_modules():
        if is_parametrized(layer, "weight"):
            raise ValueError(
                f"the weights of {name!r} are parametrised, and fitting them would change nothing; "
                "fit them first"
            )
    if any(layer.recurrent is not None for layer in spiking_layers(model)):
        spikes = spikes[:_LOOPED]
    wanted = rate * _active_time(spikes)
    for layer in model:
        if isinstance(layer, Spiking):
            _fit_rates(layer, spikes, wanted, per_unit)
        elif isinstance(layer, Readout):
            fit_spread(layer, spikes)
        spikes = layer(spikes)


@torch.no_grad()
def fit_spread(layer: Readout, given: Any) -> None:
    """Scale the weights of a readout so that the values of a recording differ by about 1.

    Parameters
    ----------
    layer : Readout
        Of events or of the grid.
    given : Spikes or tensor [batch, step, unit]
        What it is given.
    """
    if layer.out_features < 2:
        return  # there are no classes that could differ
    layer.weight.sub_(layer.weight.mean())
    layer.weight.div_(layer(given).std(dim=1).mean().clamp(min=1e-6))


def _fit_rates(layer: Spiking, spikes: Spikes, wanted: float, per_unit: bool) -> None:
    # What inhibits more than it excites would never fire.
    first = layer.weight * torch.where(layer.weight.sum(dim=1) < 0, -1.0, 1.0)[:, None]
    low = torch.full((layer.out_features,), 1 / _SPAN)
    high = torch.full((layer.out_features,), _SPAN)
    if layer.recurrent is None:
        _search(layer, spikes, wanted, first, low, high, _STEPS, per_unit)
        return
    # Spikes of a loop make more of them, each of which costs: first without it, then nearby.
    loop, layer.recurrent = layer.recurrent, None
    try:
        found = _search(layer, spikes, wanted, first, low, high, _STEPS, per_unit)
    finally:
        layer.recurrent = loop
    _search(layer, spikes, wanted, first, found / _NEAR, found * _NEAR, _STEPS // 2, per_unit)


def _search(
    layer: Spiking,
    spikes: Spikes,
    wanted: float,
    first: Tensor,
    low: Tensor,
    high: Tensor,
    n_steps: int,
    per_unit: bool,
) -> Tensor:
    """Put the weights ``first`` into a layer, times factors [out], which are returned."""
    factor = (low * high).sqrt()
    for _ in range(n_steps):
        factor = (low * high).sqrt()
        layer.weight.copy_(first * factor[:, None])
        counts = torch.from_numpy(layer(spikes).numpy().counts().mean(axis=0))
        if not per_unit:
            counts = counts.mean().expand_as(counts)
        low = torch.where(counts < wanted, factor, low)
        high = torch.where(counts < wanted, high, factor)
    return factor


def _active_time(spikes: Spikes) -> float:
    """Return the mean time of the last spike of a recording [s]."""
    ends = spikes.offsets[1:][np.diff(spikes.offsets) > 0] - 1
    return float(spikes.times[ends].mean()) if len(ends) else spikes.duration


def spiking_layers(model: nn.Module) -> list[Spiking]:
    """Return the layers of a model that spike."""
    return [module for module in model.modules() if isinstance(module, Spiking)]
