"""Eligibility traces of one recording on a grid, as published: all steps at once, to look at.

`grid_rule` computes the same step after step, for other neurons too, and keeps none of them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from evsim.quantities import positive

from ...dense.flows import decay
from .bump import Causal, bump, bumps

Values = npt.ArrayLike | Tensor


class Eligibility(NamedTuple):
    """Traces of synapses.

    Attributes
    ----------
    weight : [step, post, pre]
        What a spike's surrogate derivative makes of the weight.
    delay : [step, post, pre] or None
        The same of the delay [1/s], not multiplied by the weight; None without a width.
    """

    weight: Any
    delay: Any


def eligibility(
    raster: Values,
    slope: Values,
    tau_mem: float,
    dt: float,
    delay: Values | None = None,
    width: float | None = None,
    fired: Values | None = None,
    causal: Causal = False,
) -> Eligibility:
    """Return the traces of the synapses of `LIF` units, in one recording.

    Parameters
    ----------
    raster : [step, pre]
        Spikes of the sources; for a layer with a loop, inputs and own spikes side by side.
    slope : [step, post]
        Surrogate derivative of the units' spikes by the voltage.
    tau_mem : float
        Time constant of the membranes [s].
    dt : float
        Length of a step [s].
    delay : [pre] or [post, pre] or None
        Axonal or synaptic delays [s], rounded to steps.
    width : float or None
        Standard deviation of the Gaussian that stands for a spike where the delay moves it [s];
        without it there is no trace of delays.
    fired : [step, post] or None
        Spikes of the units, whose reset is hard: the traces start from 0 after each. Without
        them, traces pass spikes: the reset is soft.
    causal : {False, True, "jump"}
        Whether the Gaussian has no part before the arrival, see `online`.

    Returns
    -------
    Eligibility
        Arrays, or tensors if ``raster`` is one, in the type of ``raster`` and ``slope``.

    Raises
    ------
    TypeError, ValueError
        If it is nothing of real numbers, a shape doesn't fit or an entry can't be; names the
        argument and the entry.

    Notes
    -----
    Both are the slope times what arrives, filtered: what arrives at a step counts in full there
    and e^(-dt / tau_mem) times as much at each later step. For the delay, what arrives is the
    derivative of a Gaussian of area one step, k / s^2 e^(-k^2 / (2 s^2)) / (sqrt(2 pi) s) / dt
    at k steps after the arrival, s = width / dt, for abs(k) <= ceil(4 s).

    Examples
    --------
    >>> found = eligibility([[1.0], [0.0], [0.0]], [[1.0], [1.0], [0.5]], 1.0, 1.0)
    >>> found.weight[:, 0, 0].round(4).tolist()
    [1.0, 0.3679, 0.0677]
    """
    dt, tau_mem = positive("dt", dt, "s"), positive("tau_mem", tau_mem, "s", infinite=True)
    sources = _matrix("raster", raster, "[step, pre]")
    slopes = _matrix("slope", slope, "[step, post]", len(sources))
    dtype = torch.promote_types(sources.dtype, slopes.dtype)
    if not dtype.is_floating_point:
        dtype = torch.get_default_dtype() if torch.is_tensor(raster) else torch.float64
    sources, slopes = sources.to(dtype), slopes.to(sources.device, dtype)
    (n_steps, n_pre), n_post = sources.shape, slopes.shape[1]
    steps = _in_steps(delay, dt, n_post, n_pre).to(sources.device)
    keep = decay(torch.tensor(tau_mem, dtype=torch.float64), dt).to(slopes)
    factors = keep.expand(n_steps, n_post, 1)
    if fired is not None:
        own = _matrix("fired", fired, "[step, post]", n_steps, n_post).to(slopes)
        _refuse("fired", own, (own == 0) | (own == 1), "0 or 1")
        factors = factors * (1 - own.roll(1, 0))[..., None]  # the first has nothing to lose
    found = [_filtered(_late(sources, steps, n_steps), factors)]
    if width is not None:
        taps = bump(positive("width", width, "s"), dt, causal)
        reach = len(taps) // 2
        before = functional.pad(sources, (0, 0, 2 * reach, reach))
        found.append(_filtered(_late(bumps(before[None], taps)[0], steps, n_steps), factors))
    traces = [one * slopes[..., None] for one in found]
    kept = traces if torch.is_tensor(raster) else [one.numpy() for one in traces]
    return Eligibility(kept[0], kept[1] if len(kept) > 1 else None)


def _filtered(arriving: Tensor, factors: Tensor) -> Tensor:
    """Return leaky sums of what arrives [step, post or 1, pre], and is kept at each step."""
    arriving, trace = torch.broadcast_tensors(arriving, factors)[0].clone(), 0.0
    for now, factor in zip(arriving, factors, strict=True):
        now += trace * factor
        trace = now
    return arriving


def _late(values: Tensor, steps: Tensor, n_steps: int) -> Tensor:
    """Return values [step, pre], the last of them those of the last step, late by [..., pre]."""
    values = functional.pad(values, (0, 0, 1, 0))  # before them is nothing
    before = len(values) - n_steps
    when = torch.arange(n_steps, device=values.device).view(-1, 1, 1) + before
    where = (when - steps.clamp(max=len(values))).clamp(min=0)
    return values[where, torch.arange(values.shape[1], device=values.device)]


def _in_steps(delay: Values | None, dt: float, n_post: int, n_pre: int) -> Tensor:
    """Return delays [post or 1, pre] in steps."""
    if delay is None:
        return torch.zeros(1, n_pre, dtype=torch.int64)
    found = _as_tensor("delay", delay)
    if list(found.shape) not in ([n_pre], [n_post, n_pre]):
        raise ValueError(
            f"delay: shape {list(found.shape)}, must be [{n_pre}], axonal, or [{n_post}, {n_pre}], "
            "synaptic"
        )
    _refuse("delay", found, found.isfinite() & (found >= 0), "finite and >= 0 [s]")
    steps = (found.double() / dt).round().clamp(max=2.0**40)
    return steps.long().view(-1, n_pre)


def _matrix(
    name: str, values: Values, meant: str, rows: int | None = None, columns: int | None = None
) -> Tensor:
    """Return finite values in two dimensions, of these sizes if they are given."""
    found = _as_tensor(name, values)
    if found.ndim != 2 or not found.numel():
        raise ValueError(
            f"{name}: shape {list(found.shape)}, must be {meant} with a step and a unit or more"
        )
    for axis, size, what in ((0, rows, "steps"), (1, columns, "units")):
        if size is not None and found.shape[axis] != size:
            raise ValueError(f"{name}: shape {list(found.shape)}, must have {size} {what}")
    _refuse(name, found, found.isfinite(), "finite")
    return found


def _refuse(name: str, values: Tensor, good: Tensor, rule: str) -> None:
    if not good.all():
        at = tuple((~good).nonzero()[0].tolist())
        raise ValueError(f"{name}{list(at)} = {values[at].item():g}, must be {rule}")


def _as_tensor(name: str, values: Values) -> Tensor:
    """Return real numbers apart from any graph; the bits of what is an array stay its own."""
    if not isinstance(values, Tensor):
        array = np.asarray(values)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"{name}: of {array.dtype}, must be real numbers")
        array = array.astype(array.dtype.newbyteorder("="))  # a copy in torch's order of bytes
        values = torch.from_numpy(np.ascontiguousarray(array))
    if values.is_complex() or values.is_meta or values.layout != torch.strided:
        raise TypeError(f"{name}: must be a dense tensor of real numbers")
    return values.detach()
