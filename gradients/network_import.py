"""From a `Network` to a model of layers: what was saved can be trained on.

The way there is `evsim.gradients.network_export`. Layers can't say all that networks can;
what they can't is an error that names the population or projection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from evsim import Conv1d, Dense, Network, Population, Sparse
from evsim.arrays import BoolArray, FloatArray
from evsim.projections import Projection

from .delays import keep_delays
from .layers import LI, SRM, CubaLI, CubaLIF, Delay
from .synapses import LEAST_LOOP, MAX_DELAY, SHORTEST_LOOP

Layers = Mapping[str, Callable[..., nn.Module]]
_LAYERS: Layers = {"CubaLIF": CubaLIF, "SRM": SRM, "CubaLI": CubaLI, "LI": LI, "Delay": Delay}


def to_torch(net: Network) -> nn.Sequential:
    """Return the model of layers that a network is.

    Parameters
    ----------
    net : Network
        A chain of populations, each with at most one projection onto itself.

    Returns
    -------
    Sequential
        Of layers named as the populations, with float64 parameters, so that not a digit is
        lost. Delays may grow to 60 ms, or to the largest there is. Sparse projections become
        masks.

    Raises
    ------
    ValueError
        If the network holds what no layer does; the message names it.

    Examples
    --------
    >>> import numpy as np
    >>> cells = Population("cells", "CubaLIF", 2, tau_mem=20e-3, tau_syn=5e-3)
    >>> into = Dense(pre="in", post="cells", weight=np.ones((2, 3)), delay=np.full(3, 0.01))
    >>> to_torch(Network([Population("in", "Input", 3), cells], [into]))
    Sequential(
      (cells): CubaLIF(3, 2, tau_mem=0.02, tau_syn=0.005, delay='axonal', max_delay=0.06)
    )
    """
    return chain_of_layers(net, _LAYERS)


def chain_of_layers(net: Network, layers: Layers) -> nn.Sequential:
    """Return the model that a network is, of any layers with the parameters of evsim's.

    Parameters
    ----------
    net : Network
        As for `to_torch`.
    layers : mapping of str to function
        What makes the layer of each model, and a ``"Delay"``, from the arguments of
        evsim's layers.

    Returns
    -------
    Sequential
        Of layers named as the populations.
    """
    model = nn.Sequential()
    pre = net.populations[net.input]
    for population, into, own in _chain(net):
        synapses = _feedforward(into, pre.size, population.size)
        if synapses.axonal is not None and synapses.synaptic is not None:
            model.add_module(f"{pre.name} delay", _shift(synapses.axonal, layers))
            synapses.axonal = None
        options = {**_cells(population, layers), **synapses.options()}
        loop = None if own is None else _loop(own, population.size)
        if loop is not None:
            options |= {"recurrent": "dense", **loop.options("recurrent_")}
        layer = layers[population.model](pre.size, population.size, dtype=torch.float64, **options)
        synapses.fill(layer)
        if loop is not None:
            loop.fill(layer, "recurrent_")
            keep_delays(layer)  # of synapses that the mask leaves out; the others are in order
        model.add_module(population.name, layer)
        pre = population
    return model


@dataclass
class _Synapses:
    """The arrays of a projection in the shapes of a layer's parameters."""

    weight: FloatArray
    axonal: FloatArray | None
    synaptic: FloatArray | None
    mask: BoolArray | None = None
    fixed: float | None = None  # the one delay of a loop whose delays are not learnt
    conv: bool = False

    @property
    def delay(self) -> FloatArray | None:
        """Whatever delays there are."""
        return self.synaptic if self.axonal is None else self.axonal

    def options(self, prefix: str = "") -> dict[str, Any]:
        """Return what a layer with such synapses is built with."""
        options: dict[str, Any] = {}
        if self.mask is not None:
            options["mask"] = torch.from_numpy(self.mask)
        if self.fixed is not None:
            options["delay"] = self.fixed
        elif self.delay is not None:
            options["delay"] = "axonal" if self.axonal is not None else "synaptic"
            options["max_delay"] = _limit(self.delay)
        options = {prefix + name: value for name, value in options.items()}
        if self.conv:
            options |= {"recurrent": "conv", "kernel_size": len(self.weight)}
        return options

    @torch.no_grad()
    def fill(self, layer: nn.Module, prefix: str = "") -> None:
        """Copy the arrays into the layer's parameters."""
        getattr(layer, f"{prefix}weight").copy_(torch.from_numpy(self.weight))
        if self.delay is not None:
            getattr(layer, f"{prefix}delay").copy_(torch.from_numpy(self.delay))


def _chain(net: Network) -> Iterator[tuple[Population, Projection, Projection | None]]:
    """Yield every population with the projection into it and that onto itself."""
    pre = net.input
    for group in net.groups():
        if len(group) > 1:
            raise ValueError(
                f"populations {', '.join(map(repr, group))} form a loop; a layer can be recurrent "
                "only by itself"
            )
        (name,) = group
        into = [p for p in net.projections.values() if p.post == name and p.pre != name]
        own = [p for p in net.projections.values() if p.post == name and p.pre == name]
        if [p.pre for p in into] != [pre]:
            found = ", ".join(repr(p.pre) for p in into) or "nothing"
            raise ValueError(
                f"population {name!r} listens to {found}; in a chain of layers it must be one "
                f"projection from {pre!r}"
            )
        if len(own) > 1:
            raise ValueError(f"population {name!r} has {len(own)} projections onto itself")
        yield net.populations[name], into[0], own[0] if own else None
        pre = name
    if net.output != pre or pre == net.input:
        raise ValueError(f"the output is {net.output!r}, but the chain of layers ends at {pre!r}")


def _cells(population: Population, layers: Layers) -> dict[str, Any]:
    """Return the parameters of the neurons, one number where all are alike."""
    where = f"population {population.name!r}"
    if population.model not in layers:
        raise ValueError(
            f"{where}: spike times of {population.model} do not move smoothly, so there are no "
            "exact gradients; use CubaLIF or SRM, or evsim.gradients.dense"
        )
    options: dict[str, Any] = {}
    for name, value in population.parameters.items():
        alike = bool((value == value[0]).all())
        options[name] = float(value[0]) if alike else torch.from_numpy(value.copy())
    if not population.spiking:
        if population.output is None:
            raise ValueError(f"{where}: has no output; give it 'max', 'last' or 'integral'")
        options |= {"output": population.output, "tau_output": population.tau_output}
    return options


def _feedforward(projection: Projection, pre: int, post: int) -> _Synapses:
    if isinstance(projection, Dense):
        found = _Synapses(projection.weight, None, projection.synaptic)
    elif isinstance(projection, Sparse):
        found = _dense(projection, pre, post)
    else:
        raise ValueError(
            f"{projection.where}: is {projection.kind}; no layer has shared weights but for a "
            "loop with conv1d"
        )
    axonal = projection.axonal(pre)
    if axonal.any() or not _is_one_number(projection):
        found.axonal = axonal
    return found


def _dense(projection: Sparse, pre: int, post: int) -> _Synapses:
    """Spread listed synapses over a matrix."""
    listed = projection.synapses(pre)
    weight, delay, counts = np.zeros((3, post, pre))
    np.add.at(counts, (listed.post, listed.pre), 1)
    if (counts > 1).any():
        j, i = np.unravel_index(int(counts.argmax()), counts.shape)
        raise ValueError(
            f"{projection.where}: {counts[j, i]:g} synapses from unit {i} to unit {j}; a layer has "
            "at most one"
        )
    weight[listed.post, listed.pre] = listed.weight
    delay[listed.post, listed.pre] = listed.delay
    return _Synapses(weight, None, None if projection.synaptic is None else delay, counts > 0)


def _loop(projection: Projection, n: int) -> _Synapses:
    """Return the synapses of a projection onto its own population."""
    if isinstance(projection, Conv1d):
        found = _kernel(projection, n)
    else:
        found = _feedforward(projection, n, n)
    axonal = projection.axonal(n)
    found.axonal = None
    if _is_one_number(projection) and found.synaptic is None:
        found.fixed = float(axonal[0])
        return found
    if found.synaptic is None:
        found.axonal = axonal
    elif axonal.any():
        raise ValueError(f"{projection.where}: a layer's loop has axonal or synaptic delays")
    late = found.delay
    assert late is not None
    there = late if found.mask is None or found.axonal is not None else late[found.mask]
    if (there < LEAST_LOOP).any():
        raise ValueError(
            f"{projection.where}: delay {there.min()} s; the delays of a layer's loop are one "
            f"number, or at least {SHORTEST_LOOP} s"
        )
    return found


def _kernel(projection: Conv1d, n: int) -> _Synapses:
    out, channels, taps = projection.kernel.shape
    usual = (projection.stride, projection.dilation, projection.padding) == (
        (1,), (1,), (taps // 2,),
    )  # fmt: skip
    if out * channels != 1 or taps % 2 == 0 or not usual:
        raise ValueError(
            f"{projection.where}: the kernel of a layer's loop has one channel, an odd width, "
            "stride 1, dilation 1 and padding width // 2"
        )
    late = projection.synaptic
    return _Synapses(
        projection.kernel.ravel(), None, None if late is None else late.ravel(), conv=True
    )


def _is_one_number(projection: Projection) -> bool:
    """Whether no delay belongs to a pre unit alone."""
    own = projection.axonal_delay
    return (own is None or own.ndim == 0) and (
        projection.delay.ndim == 0 or projection.synaptic is not None
    )


def _shift(axonal: FloatArray, layers: Layers) -> nn.Module:
    layer = layers["Delay"](len(axonal), _limit(axonal), torch.float64)
    with torch.no_grad():
        layer.get_parameter("delay").copy_(torch.from_numpy(axonal))
    return layer


def _limit(delay: FloatArray) -> float:
    return max(MAX_DELAY, float(delay.max(initial=0.0)))
