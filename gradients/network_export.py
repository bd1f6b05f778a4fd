"""From a model of layers to a `Network`: what was trained can be saved, simulated and drawn.

A layer is a population with the projection into it and, if it is recurrent, one onto itself.
A `Delay` is the axonal delay of the projection that follows it. The way back is
`evsim.gradients.network_import`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from evsim import Conv1d, Dense, Levels, Network, Population, Sparse
from evsim.arrays import FloatArray
from evsim.projections import Projection

from .layers import Delay, Readout
from .synapses import Spiking, Synapses, banded

Numbers = FloatArray | Levels


@torch.no_grad()
def to_network(model: nn.Module) -> Network:
    """Return the network that a model of layers is.

    Parameters
    ----------
    model : Module
        A layer, or a ``Sequential`` (of ``Sequential``) of layers.

    Returns
    -------
    Network
        Populations ``"input"``, ``"hidden"`` (``"hidden1"``, ... if there are several) and
        ``"readout"``; without a readout, the last one is ``"output"``. Masked projections
        become `Sparse`, kernels along the units `Conv1d`.

    Raises
    ------
    ValueError
        If a module is none of evsim's layers, sizes don't fit, or a delay can't be.

    Examples
    --------
    >>> from evsim import gradients as g
    >>> to_network(g.Delay(3)) is None
    Traceback (most recent call last):
        ...
    ValueError: the model has no layer of neurons
    >>> to_network(nn.Sequential(g.Delay(3), g.CubaLIF(3, 4, tau_mem=20e-3, tau_syn=5e-3)))
    Network(input: Input[3], output: CubaLIF[4]; 1 projections)
    """
    layers = _with_shifts(model)
    names = _names([layer for layer, _ in layers])
    populations = [Population("input", "Input", layers[0][0].in_features)]
    projections: list[Projection] = []
    for name, (layer, shift) in zip(names, layers, strict=True):
        layer.check_delays()
        pre = populations[-1]
        if layer.in_features != pre.size:
            raise ValueError(
                f"layer {name!r} has {layer.in_features} inputs, but {pre.name!r} before it has "
                f"{pre.size} units"
            )
        projections.append(_into(layer, shift, pre.name, name))
        populations.append(_population(name, layer))
        if isinstance(layer, Spiking) and layer.recurrent is not None:
            projections.append(_loop(layer, name))
    return Network(populations, projections)


def _with_shifts(model: nn.Module) -> list[tuple[Synapses, Numbers | None]]:
    """Return the layers of neurons, each with the delays of the `Delay`s before it."""
    found: list[tuple[Synapses, Numbers | None]] = []
    shift: Numbers | None = None
    for module in _flat(model):
        if isinstance(module, Delay):
            module.check_delays()
            late = _numbers(module, "delay")
            if shift is not None and shift.shape != late.shape:
                sizes = f"{shift.shape[0]} and {late.shape[0]}"
                raise ValueError(f"two Delays in a row, of {sizes} units")
            shift = late if shift is None else np.add(shift, late)
            continue
        if not isinstance(module, Synapses):
            raise ValueError(
                f"{type(module).__name__} is none of evsim's layers; a network can't hold it"
            )
        if found and isinstance(found[-1][0], Readout):
            raise ValueError("a readout sends no spikes; nothing may follow it")
        if shift is not None and shift.shape != (module.in_features,):
            raise ValueError(
                f"a Delay of {shift.shape[0]} units stands before a layer of {module.in_features} "
                "inputs"
            )
        found.append((module, shift))
        shift = None
    if not found:
        raise ValueError("the model has no layer of neurons")
    if shift is not None:
        raise ValueError("the model ends with a Delay; a network needs a layer behind it")
    return found


def _flat(model: nn.Module) -> Iterator[nn.Module]:
    if not isinstance(model, nn.Sequential):
        yield model
        return
    for module in model:
        yield from _flat(module)


def _names(layers: list[Synapses]) -> list[str]:
    end = "readout" if isinstance(layers[-1], Readout) else "output"
    n = len(layers) - 1
    return ["hidden" if n == 1 else f"hidden{i + 1}" for i in range(n)] + [end]


def _population(name: str, layer: Synapses) -> Population:
    folded = layer.folded()
    cells: dict[str, Any] = {n: _array(folded.get(n, getattr(layer, n))) for n in layer.cells}
    if isinstance(layer, Readout):
        return Population(
            name, layer.model, layer.out_features,
            output=layer.output, tau_output=layer.tau_output, **cells,
        )  # fmt: skip
    mode = getattr(layer, "reset_mode", "hard")  # dense layers have one
    return Population(name, layer.model, layer.out_features, reset_mode=mode, **cells)


def _into(layer: Synapses, shift: Numbers | None, pre: str, post: str) -> Projection:
    delay = None if layer.delay is None else _numbers(layer, "delay")
    late: dict[str, Any] = {"axonal_delay": shift}
    if layer.delay_kind == "axonal":
        late["axonal_delay"] = delay if shift is None else np.add(shift, delay)
    elif delay is not None:
        late["delay"] = _of_synapses(delay, layer.in_features)
    folded = layer.folded()
    weight = _array(folded["weight"]) if "weight" in folded else _numbers(layer, "weight")
    return _joined(pre, post, weight, layer.mask, late)


def _loop(layer: Spiking, name: str) -> Projection:
    weights, delays = (_numbers(layer, f"recurrent_{what}") for what in ("weight", "delay"))
    mask, n, kind = layer.recurrent_mask, layer.out_features, layer.recurrent_delay_kind
    if layer.recurrent == "conv" and (mask is not None or kind == "dendritic"):
        # What a kernel that all share can't say is said of every synapse.
        near = banded(torch.ones(weights.shape), n)
        mask = near if mask is None else near * mask
        weights = _mapped(weights, lambda a: _banded(a, n))
        if kind == "synaptic":
            delays = _mapped(delays, lambda a: _banded(a, n))
    if weights.ndim == 2:
        full = _of_synapses(delays, n) if kind == "dendritic" else delays
        late: dict[str, Any] = {"axonal_delay" if kind == "axonal" else "delay": full}
        return _joined(name, name, weights, mask, late)
    taps = (1, 1, *weights.shape)
    late = {"axonal_delay": delays}
    if kind != "axonal":
        shape = taps if kind == "synaptic" else ()
        late = {"delay": _mapped(delays, lambda a: a.reshape(shape))}
    return Conv1d(
        pre=name, post=name, kernel=_mapped(weights, lambda a: a.reshape(taps)),
        input_shape=(n,), padding=(taps[-1] // 2,), **late,
    )  # fmt: skip


def _banded(kernel: npt.NDArray[Any], n: int) -> npt.NDArray[Any]:
    """Return the matrix [n, n] of a kernel; what is away from the diagonal is no synapse."""
    return banded(torch.from_numpy(kernel.astype(np.float64)), n).numpy().astype(kernel.dtype)


def _numbers(layer: nn.Module, name: str) -> Numbers:
    """Return a tensor of a layer as an array, or as levels if it is on a few."""
    array = _array(getattr(layer, name))
    if not is_parametrized(layer, name):
        return array
    chain: Any = layer.parametrizations[name]  # type: ignore[index]
    if not hasattr(chain[-1], "levels"):
        return array
    free = [chain.original] if chain.is_tensor else [
        getattr(chain, f"original{i}") for i in range(chain.ntensors)
    ]  # fmt: skip
    for part in list(chain)[:-1]:
        free = [part(*free)]
    levels: Levels | None = chain[-1].levels(*free)
    if levels is None:
        warnings.warn(
            f"{name} of {type(layer).__name__}: so many values of {getattr(layer, name).dtype} are "
            "not kept as integers but as floats; layers of float64 keep them (layer.double())",
            stacklevel=2,
        )
        return array
    return levels


def _mapped(numbers: Any, function: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> Any:
    """Return an array, or the integers of levels, changed."""
    return numbers.mapped(function) if isinstance(numbers, Levels) else function(numbers)


def _of_synapses(delay: Any, n_pre: int) -> Any:
    """Return the delays of all synapses, [post, pre]; those of post units alone repeated."""
    if delay.ndim == 2:
        return delay
    return _mapped(delay, lambda a: np.repeat(a[:, None], n_pre, axis=1))


def _joined(
    pre: str, post: str, weight: Any, mask: Tensor | None, late: dict[str, Any]
) -> Projection:
    """Return a projection with the synapses that the mask leaves."""
    if mask is None:
        return Dense(pre=pre, post=post, weight=weight, **late)
    from_, to = np.nonzero(_array(mask).T)
    if np.shape(late.get("delay", 0.0)) == weight.shape:
        late = late | {"delay": late["delay"][to, from_]}
    return _listed(pre, post, weight.shape[1], from_, to, weight[to, from_], late)


def _listed(
    pre: str, post: str, n: int, from_: Any, to: Any, weight: Any, late: dict[str, Any]
) -> Projection:
    indptr = np.searchsorted(from_, np.arange(n + 1))
    return Sparse(pre=pre, post=post, indptr=indptr, indices=to, weight=weight, **late)


def _array(tensor: Tensor) -> FloatArray:
    return tensor.detach().cpu().double().numpy().copy()
