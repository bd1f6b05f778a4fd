"""`Spikes` of torch tensors: what layers take and return.

A `Spikes` of tensors has float64 ``times`` that may stand in the autograd graph, and int64
``units``, ``offsets`` and ``labels``. Its times need not be sorted: a delay moves them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch

from evsim import Spikes
from evsim.spike_checks import in_order
from evsim.spikes import quiet_spikes
from evsim.taken_spikes import as_spikes

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")


def untraced(function: Callable[Arguments, Value]) -> Callable[Arguments, Value]:
    """Have torch.compile run a function as it is: compiled kernels can't be traced.

    What is around it is traced up to it and from it on.
    """

    @wraps(function)
    def whole(*arguments: Arguments.args, **options: Arguments.kwargs) -> Value:
        if torch.compiler.is_compiling():
            # Not for good: that alone would make every import of evsim one of the tracer.
            plain: Callable[Arguments, Value] = torch.compiler.disable(function)
            return plain(*arguments, **options)
        return function(*arguments, **options)

    return whole


def to_torch(spikes: Spikes) -> Spikes:
    """Return the spikes with tensors in place of numpy arrays; they share memory.

    Parameters
    ----------
    spikes : Spikes
        Of either kind; tensors are left as they are.

    Returns
    -------
    Spikes
        Of tensors.
    """
    return _converted(spikes, lambda a: a if torch.is_tensor(a) else torch.from_numpy(a))


def to_numpy(spikes: Spikes) -> Spikes:
    """Return the spikes with numpy arrays in place of tensors, out of the graph.

    Parameters
    ----------
    spikes : Spikes
        Of either kind.

    Returns
    -------
    Spikes
        Of arrays, sorted by recording, time, unit.
    """
    plain = _converted(spikes, lambda a: a.detach().cpu().numpy() if torch.is_tensor(a) else a)
    return quiet_spikes(
        plain.times, plain.units, plain.offsets, plain.size, plain.duration, plain.labels,
        plain.size_told,
    )  # fmt: skip


def as_tensors(given: Any, taker: str) -> Spikes:
    """Return spikes that are sound, of tensors on the CPU: the entrance of what computes on events.

    Parameters
    ----------
    given, taker
        As for `evsim.taken_spikes.as_spikes`.

    Raises
    ------
    TypeError, ValueError
        As there, and if they are on another device.
    """
    spikes = as_spikes(given, taker).torch()
    refuse_elsewhere(taker, "the spikes are", spikes.times)  # type: ignore[arg-type]
    return spikes


def refuse_elsewhere(owner: str, what: str, tensor: torch.Tensor) -> None:
    """Refuse a tensor that is not on the CPU.

    Raises
    ------
    ValueError
        Names the owner, the tensor, the device and what to do.
    """
    if tensor.is_meta:
        raise ValueError(
            f"{owner}: {what} on the device 'meta', where nothing has values; "
            "load_state_dict(..., assign=True) gives a layer some"
        )
    if not tensor.is_cpu:
        raise ValueError(
            f"{owner}: {what} on the device {tensor.device.type!r}, but events are computed on the "
            "CPU; .to('cpu') brings spikes and layers there, and layers of evsim.gradients.dense "
            "run on other devices"
        )


def moved(spikes: Spikes, device: Any, dtype: Any, non_blocking: bool) -> Spikes:
    """Return the spikes with tensors on a device; see `evsim.Spikes.to`."""
    if isinstance(device, torch.dtype):
        device, dtype = None, device
    if dtype not in (None, torch.float64):
        raise TypeError(f"spikes: times are float64, not {dtype}; other types would round them")
    return _converted(
        spikes, lambda a: torch.as_tensor(a).to(device=device, non_blocking=non_blocking)
    )


def concatenated(parts: Sequence[Spikes], size: int, size_told: bool) -> Spikes:
    """Join batches of one size along the recordings, in their graphs; see `evsim.concatenate`."""
    tensors = [to_torch(part) for part in parts]
    counts = [part.offsets[1:] - part.offsets[:-1] for part in tensors]
    ends = torch.cat(counts).cumsum(0)  # type: ignore[arg-type]
    labels = [part.labels for part in tensors if part.labels is not None]
    first = next((part for part in tensors if part.labels is None), tensors[0])
    return first.replace(
        torch.cat([part.times for part in tensors]),  # type: ignore[arg-type, misc]
        torch.cat([part.units for part in tensors]),  # type: ignore[arg-type, misc]
        torch.cat([ends.new_zeros(1), ends]),  # type: ignore[arg-type]
        size,
        max(part.duration for part in parts),
        torch.cat(labels) if len(labels) == len(parts) else None,  # type: ignore[arg-type]
        size_told,
    )


def with_times(spikes: Spikes, times: torch.Tensor) -> Spikes:
    """Return the spikes at other times, in any order within a recording."""
    return spikes.replace(times, spikes.units, spikes.offsets)  # type: ignore[arg-type]


def joined(first: Spikes, second: Spikes, size: int) -> Spikes:
    """Return both batches as one population: units of ``second`` count from ``size`` on."""
    recordings = torch.cat([first.recordings(), second.recordings()])  # type: ignore[list-item]
    order = torch.argsort(recordings, stable=True)
    times = torch.cat([first.times, second.times])[order]  # type: ignore[list-item]
    units = torch.cat([first.units, second.units + size])[order]  # type: ignore[list-item]
    offsets = first.offsets + second.offsets
    return first.replace(times, units, offsets, size=size + second.size)  # type: ignore[arg-type]


def _converted(spikes: Spikes, convert: Any) -> Spikes:
    labels = None if spikes.labels is None else convert(spikes.labels)
    return spikes.replace(
        convert(spikes.times), convert(spikes.units), convert(spikes.offsets), labels=labels
    )


def sorted_numpy(spikes: Spikes) -> tuple[Spikes, np.ndarray | None]:
    """Return the spikes as sorted arrays, and which spike each was; None if as before."""
    times = spikes.times.detach().numpy()  # type: ignore[attr-defined]
    units, offsets = (a.numpy() for a in (spikes.units, spikes.offsets))  # type: ignore[attr-defined]
    if in_order(times, units, offsets):
        return spikes.replace(times, units, offsets), None
    order = np.empty(len(times), np.int64)
    for first, last in zip(offsets[:-1], offsets[1:], strict=True):
        order[first:last] = first + np.lexsort((units[first:last], times[first:last]))
    return spikes.replace(times[order], units[order], offsets), order


def refuse_illegal(owner: str, name: str, values: torch.Tensor, least: float | None = None) -> None:
    """Refuse a parameter with an entry that is not finite, or below ``least`` [s].

    Raises
    ------
    ValueError
        Names the owner, the parameter, and index and value of the first such entry.
    """
    values = values.detach()
    good = values.isfinite() if least is None else values.isfinite() & (values >= least)
    if good.all():
        return
    at = tuple((~good).nonzero()[0].tolist())
    index = f"[{', '.join(map(str, at))}]" if at else ""
    value = values[at].item()
    rule = "finite" if least is None else f"finite and >= {least:g} [s]"
    if least is not None and value < least:
        rule += "; evsim.gradients.keep_delays puts delays back between their limits"
    raise ValueError(f"{owner}: {name}{index} = {value}, must be {rule}")
