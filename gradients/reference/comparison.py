"""Event layers against the differentiable reference: spikes, outputs, and gradients of a loss.

A spike that one of the two has and the other has not is counted, never left out in silence:
gradients of different sets of spikes can't agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evsim import Spikes

from ..layers import Readout
from ..synapses import Spiking
from ..tensors import as_tensors
from .stepping import layers_of, reference_layers


@dataclass(frozen=True)
class Comparison:
    """How far the differentiable reference is from the event layers.

    Attributes
    ----------
    dt : float
        Longest step of the reference [s].
    n_spikes : int
        Spikes of all layers in the event run.
    missing, extra : int
        Spikes that the reference has too few and too many.
    time_error : float
        Largest difference of spike times [s], of units that fired equally often in a
        recording.
    output_error : float or None
        Largest difference over the largest size of the values of a readout.
    gradient_errors : dict of float
        Norm of the difference over the norm of the exact gradient, for every parameter by
        name and for ``input times``. Those whose exact gradient is 0 throughout are left out.
    """

    dt: float
    n_spikes: int
    missing: int
    extra: int
    time_error: float
    output_error: float | None
    gradient_errors: dict[str, float]


def compare_gradients(
    model: nn.Module, spikes: Spikes, loss: Callable[[Any], Tensor], steps: Sequence[float]
) -> list[Comparison]:
    """Compare the gradients of event layers with those of the differentiable reference.

    Parameters
    ----------
    model : Module
        Of event layers, see `evsim.gradients.reference.stepping.reference_run`.
    spikes : Spikes
        Input.
    loss : callable
        From the model's output to a number.
    steps : sequence of float
        Longest steps of the reference [s].

    Returns
    -------
    list of Comparison
        One per step. The ``grad`` of parameters are left as they are.

    Raises
    ------
    ValueError
        As in `reference_run`.

    Examples
    --------
    >>> from evsim import gradients as g
    >>> _ = torch.manual_seed(0)
    >>> model = g.CubaLIF(3, 4, tau_mem=20e-3, tau_syn=5e-3, delay="axonal")
    >>> spikes = Spikes([0.01, 0.02, 0.03], [0, 1, 2], size=3, duration=0.1)
    >>> (found,) = compare_gradients(model, spikes, lambda fired: fired.times.sum(), [1e-4])
    >>> found.missing, found.extra, found.gradient_errors["delay"] < 1e-4
    (0, 0, True)
    """
    spikes = as_tensors(spikes, "compare_gradients")
    times: Any = torch.as_tensor(spikes.times).detach().clone().requires_grad_()
    spikes = spikes.replace(times, spikes.units, spikes.offsets)
    wanted = {"input times": times}
    wanted |= {name: p for name, p in model.named_parameters() if p.requires_grad}
    layers = layers_of(model)
    exact = _event_layers(layers, spikes)
    gradients = _gradients(loss(exact[-1]), wanted)
    found = []
    for dt in steps:
        outputs = reference_layers(model, spikes, dt)
        errors = _gradient_errors(_gradients(loss(outputs[-1]), wanted), gradients)
        found.append(Comparison(dt, *_forward_errors(layers, outputs, exact), errors))
    return found


def fitted_orders(comparisons: Sequence[Comparison]) -> dict[str, float]:
    """Return the order of convergence of every error.

    Parameters
    ----------
    comparisons : sequence of Comparison
        Of two steps or more.

    Returns
    -------
    dict of float
        By name of the gradient, and for ``spike times`` and ``output``: the slope of
        log(error) over log(dt), fitted to errors above 0 of steps with all spikes; NaN if
        there are fewer than two.
    """
    names = ["spike times", "output", *comparisons[0].gradient_errors]
    errors: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for c in comparisons:
        if c.missing or c.extra:
            continue
        forward = {"spike times": c.time_error, "output": c.output_error or 0.0}
        for name, error in (forward | c.gradient_errors).items():
            errors[name].append((c.dt, error))
    return {name: _slope([pair for pair in of if pair[1] > 0]) for name, of in errors.items()}


def _slope(pairs: list[tuple[float, float]]) -> float:
    if len({dt for dt, _ in pairs}) < 2:
        return float("nan")
    x, y = np.log(pairs).T
    return float(np.polyfit(x, y, 1)[0])


def _event_layers(layers: list[nn.Module], spikes: Spikes) -> list[Any]:
    outputs: list[Any] = [spikes]
    for layer in layers:
        outputs.append(layer(outputs[-1]))
    return outputs[1:]


def _gradients(loss: Tensor, wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    found = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
    return {
        name: torch.zeros_like(p) if g is None else g
        for (name, p), g in zip(wanted.items(), found, strict=True)
    }


def _gradient_errors(found: dict[str, Tensor], exact: dict[str, Tensor]) -> dict[str, float]:
    return {
        name: ((found[name] - g).norm() / g.norm()).item() for name, g in exact.items() if g.any()
    }


def _forward_errors(
    layers: list[nn.Module], found: list[Any], exact: list[Any]
) -> tuple[int, int, int, float, float | None]:
    """Return the forward fields of a `Comparison`."""
    n_spikes = missing = extra = 0
    time_error, output_error = 0.0, None
    for layer, mine, its in zip(layers, found, exact, strict=True):
        if isinstance(layer, Readout):
            its, mine = its.detach(), mine.detach()
            output_error = ((mine - its).abs().max() / its.abs().max()).item()
        if not isinstance(layer, Spiking):
            continue
        mine, its = mine.numpy(), its.numpy()
        counts, expected = mine.counts(), its.counts()
        n_spikes += len(its.times)
        missing += int((expected - counts).clip(0).sum())
        extra += int((counts - expected).clip(0).sum())
        same = counts == expected
        apart = np.abs(_times_of(mine, same) - _times_of(its, same))
        time_error = max(time_error, float(apart.max(initial=0.0)))
    return n_spikes, missing, extra, time_error, output_error


def _times_of(spikes: Spikes, chosen: Any) -> Any:
    """Return spike times of chosen units [recording, unit], unit by unit."""
    recordings = spikes.recordings()
    order = np.lexsort((spikes.times, spikes.units, recordings))
    order = order[chosen[recordings[order], spikes.units[order]]]
    return spikes.times[order]
