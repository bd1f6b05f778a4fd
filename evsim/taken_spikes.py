"""What users hand over as spikes, taken for `Spikes`: batches, samples, data sets, lists of these.

All that takes spikes takes them by `as_spikes` or `as_arrays`; `concatenate` joins them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from evsim.quantities import in_seconds, positive
from evsim.spike_checks import (
    check_lengths,
    check_values,
    integers,
    is_tensor,
    plain_array,
    retyped,
    sorted_spikes,
    what_it_is,
)
from evsim.spikes import Spikes, quiet_spikes


def as_spikes(given: Any, taker: str) -> Spikes:
    """Return spikes that are sound: the entrance of all that takes spikes.

    `Spikes` are checked when they are made, but those of tensors, and those of
    `Spikes.replace`, may hold anything.

    Parameters
    ----------
    given : Spikes, data set, (Spikes, label), or list of these
        What a user handed over; a list is joined as by `concatenate`.
    taker : str
        To whom, for the message.

    Returns
    -------
    Spikes
        Float64 times and int64 units and offsets, in their order; tensors in their graph.

    Raises
    ------
    TypeError
        If it is something else; the message tells how to make `Spikes` of it.
    ValueError
        If a sample has not one label per recording, and as for `Spikes`: the message names
        the recording, the index and the value.

    Examples
    --------
    >>> as_spikes([Spikes([0.1], [0]), Spikes([0.2], [1])], "a layer")
    Spikes(2 recordings, 2 spikes, size=2, duration=0.3)
    >>> as_spikes("spikes.h5", "a layer")
    Traceback (most recent call last):
        ...
    TypeError: a layer takes Spikes, not the path 'spikes.h5'; evsim.load_spikes reads a file
    """
    spikes = _collected(given, taker)
    if getattr(spikes.times, "is_meta", False):
        raise ValueError(f"{taker}: the spikes are on the device 'meta', where nothing has values")
    plain = tuple(map(plain_array, (spikes.times, spikes.units, spikes.offsets)))
    seconds = plain[0] if is_tensor(spikes.times) else spikes.times
    times = in_seconds("spikes: times", seconds)
    units, offsets = integers("units", plain[1]), integers("offsets", plain[2])
    check_lengths(times, units, offsets)
    check_values(times, units, offsets, spikes.size)
    positive("spikes: duration", spikes.duration, "s")
    given = spikes.times, spikes.units, spikes.offsets
    found = tuple(map(retyped, given, plain, (times, units, offsets)))
    same = all(a is b for a, b in zip(found, given, strict=True))
    return spikes if same else spikes.replace(*found)


def as_arrays(given: Any, taker: str) -> Spikes:
    """Return spikes that are sound, as sorted arrays; see `as_spikes`."""
    spikes = as_spikes(given, taker).numpy()
    times, units = sorted_spikes(spikes.times, spikes.units, spikes.offsets)
    return spikes if times is spikes.times else spikes.replace(times, units, spikes.offsets)


def concatenate(parts: Iterable[Any]) -> Spikes:
    """Join batches along the recordings; size and duration are the largest of the parts.

    Where a part holds tensors the result does, in their graph; else it holds arrays. Labels
    are kept if every part has them.

    Parameters
    ----------
    parts : iterable of Spikes
        Or of samples of a data set, ``(Spikes, label)``, or data sets.

    Raises
    ------
    TypeError
        If one of the parts is something else.
    ValueError
        If there are none, or if a part comes from fewer units than another, and its size was
        told (see `Spikes`).

    Examples
    --------
    >>> concatenate([(Spikes([0.1], [0], size=2), 1), (Spikes([0.2], [1], size=2), 0)]).labels
    array([1, 0])
    """
    parts = [_collected(part, "concatenate") for part in parts]
    if not parts:
        raise ValueError("nothing to concatenate")
    if len(parts) == 1:
        return parts[0]
    size, told = _size_of_all(parts)
    if any(is_tensor(p.times) for p in parts):
        from evsim.gradients.tensors import concatenated

        return concatenated(parts, size, told)
    starts = np.cumsum([0] + [len(p.times) for p in parts]).astype(np.int64)
    offsets = [p.offsets[:-1] + start for p, start in zip(parts, starts, strict=False)]
    labels = [p.labels for p in parts if p.labels is not None]
    return quiet_spikes(
        np.concatenate([p.times for p in parts]),
        np.concatenate([p.units for p in parts]),
        np.concatenate([*offsets, starts[-1:]]),
        size,
        max(p.duration for p in parts),
        np.concatenate(labels) if len(labels) == len(parts) else None,
        told,
    )


def _size_of_all(parts: Sequence[Spikes]) -> tuple[int, bool]:
    """Return the size of joined parts and whether it was told; none may be told a smaller one."""
    size = max(p.size for p in parts)
    for i, part in enumerate(parts):
        if part.size_told and part.size < size:
            j = next(j for j, other in enumerate(parts) if other.size == size)
            raise ValueError(
                f"concatenate: part {i} comes from {part.size} units, but part {j} from {size}; "
                f"give all the size that they share: Spikes(..., size={size})"
            )
    return size, any(p.size_told for p in parts)


def _collected(given: Any, taker: str) -> Spikes:
    """Return what is given as one batch, not looked at yet."""
    if isinstance(given, Spikes):
        return given
    if callable(getattr(given, "spikes", None)) and not isinstance(given, type):
        return _collected(given.spikes(), taker)
    if _is_sample(given):
        return _labelled(*given)
    if isinstance(given, (list, tuple)) and given:
        if all(isinstance(part, Spikes) or _is_sample(part) for part in given):
            return concatenate(given)
    raise TypeError(f"{taker} takes Spikes, not {what_it_is(given)}")


def _is_sample(given: Any) -> bool:
    """Whether it is ``(Spikes, label)``, or with labels of a batch."""
    return (
        isinstance(given, (tuple, list))
        and len(given) == 2
        and isinstance(given[0], Spikes)
        and not isinstance(given[1], (Spikes, tuple, list))
    )


def _labelled(spikes: Spikes, label: Any) -> Spikes:
    if label is None:
        return spikes
    labels = integers("labels", np.atleast_1d(plain_array(label)))
    if len(labels) != len(spikes):
        raise ValueError(f"spikes: {len(labels)} labels for {len(spikes)} recordings")
    return spikes.replace(spikes.times, spikes.units, spikes.offsets, labels=labels)
