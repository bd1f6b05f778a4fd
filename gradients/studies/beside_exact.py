"""Gradients of one network by several rules, and how they stand beside the exact one.

The network is of events; its twin on a grid has the same weights and delays. An Euler step keeps
1 - dt / tau in place of e^(-dt / tau), and hands dt / tau_mem of the current to the voltage: step
for step what a twin with other time constants and all weights times one factor does exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from evsim import Spikes

from .. import dense
from ..dense.flows import psp
from ..methods import three_factor
from ..methods.three_factor.bump import Causal
from ..training.start import delay_model, fit_weights
from ..training.step_sizes import adam

Gradients = dict[str, Tensor]  # by group
GROUPS = {
    "weights": "hidden.weight", "delays": "hidden.delay",
    "loop weights": "hidden.recurrent_weight", "loop delays": "hidden.recurrent_delay",
    "readout": "readout.weight",
}  # fmt: skip


def network(sizes: tuple[int, int, int], strength: float, batch: Spikes) -> nn.Sequential:
    """Return a hidden layer and a readout that fire at the usual rate, with torch's generator.

    Parameters
    ----------
    sizes : tuple of int
        Inputs, units, classes.
    strength : float
        Of the loop: its first weights times this; 0 for none.
    batch : Spikes
        To fit weights to.
    """
    model = unfitted(sizes, strength)
    hidden: Any = model.hidden
    if strength:
        with torch.no_grad():
            hidden.recurrent_weight.mul_(strength)
    fit_weights(model, batch)
    return model


def unfitted(sizes: tuple[int, int, int], strength: float) -> nn.Sequential:
    """Return a network as it is before its weights are fitted."""
    return delay_model(*sizes, recurrent="dense" if strength else "none").double()


def trained(model: nn.Sequential, batches: Sequence[Spikes]) -> nn.Sequential:
    """Train by the exact gradient, a step for each batch."""
    optimiser = adam(model)
    for batch in batches:
        optimiser.zero_grad()
        cross_entropy(model(batch), labels_of(batch)).backward()
        optimiser.step()
    return model


def exact(model: nn.Sequential, batch: Spikes) -> Gradients:
    """Return the gradient of the mean cross-entropy, by the adjoint of events."""
    model.zero_grad()
    cross_entropy(model(batch), labels_of(batch)).backward()
    return gradients(model)


def local(model: nn.Sequential, batch: Spikes, feedback: Tensor | None) -> Gradients:
    """Return the gradient by the exact local rule."""
    model.zero_grad()
    three_factor.backward(model, batch, labels_of(batch), feedback=feedback)
    return gradients(model)


def gaussian(
    twin: nn.Sequential, batch: Spikes, feedback: Tensor | None, width: float, causal: Causal
) -> Gradients:
    """Return the gradient by the published rule, on a grid."""
    twin.zero_grad()
    three_factor.backward(twin, raster(twin, batch), labels_of(batch), width, feedback, causal)
    return gradients(twin)


def surrogate(twin: nn.Sequential, batch: Spikes, feedback: Tensor | None) -> Gradients:
    """Return the gradient by back-propagation with a surrogate, on a grid.

    Parameters
    ----------
    twin : Sequential
        See `on_grid`.
    batch : Spikes
        With labels.
    feedback : tensor [class, unit] or None
        What the hidden layer gets errors through in place of the readout's weights.
    """
    twin.zero_grad()
    hidden, readout = twin
    fired = hidden(raster(twin, batch))
    values = readout(fired if feedback is None else fired.detach())
    if feedback is not None:
        # Values are linear in weights: those of the feedback, less themselves, only carry errors.
        sent = torch.func.functional_call(readout, {"weight": feedback.to(fired)}, (fired,))
        values = values + (sent - sent.detach())
    cross_entropy(values, labels_of(batch)).backward()
    return gradients(twin)


def on_grid(model: nn.Sequential, dt: float, euler: bool = False) -> nn.Sequential:
    """Return the twin on a grid, its delays interpolated, so that they have gradients.

    Parameters
    ----------
    model : Sequential
        Of `network`.
    dt : float
        Length of a step [s].
    euler : bool
        Whether a step is one of Euler's; gradients of the twin are then by other weights, see
        `by_own_weights`.
    """
    twin: Any = dense.from_events(model, dt, delays="interpolate")
    for layer in twin if euler else ():
        factor = euler_factor(layer, dt)
        with torch.no_grad():
            for name in ("tau_mem", "tau_syn"):
                getattr(layer, name).copy_(_kept(getattr(layer, name), dt))
            for name in ("weight", "recurrent_weight"):
                if getattr(layer, name, None) is not None:
                    getattr(layer, name).mul_(factor)
    return twin


def euler_factor(layer: Any, dt: float) -> float:
    """Return by what weights of a layer are multiplied so that its steps are Euler's.

    Raises
    ------
    ValueError
        If a step is as long as a time constant: nothing is left of it.
    """
    mem, syn = (getattr(layer, name).detach().double() for name in ("tau_mem", "tau_syn"))
    if dt >= min(float(mem), float(syn)):
        least = min(float(mem), float(syn))
        raise ValueError(f"dt = {dt:g} s, but Euler's steps must be shorter than {least:g} s")
    return float(dt / mem / psp(_kept(mem, dt), _kept(syn, dt), dt))


def _kept(tau: Tensor, dt: float) -> Tensor:
    """Return the time constant of which a step keeps 1 - dt / tau."""
    return -dt / torch.log1p(-dt / tau)


def by_own_weights(found: Gradients, model: nn.Sequential, dt: float) -> Gradients:
    """Return gradients of an Euler twin by the weights of its model."""
    hidden, readout = model
    factors = {"readout": euler_factor(readout, dt)}
    factors |= dict.fromkeys(("weights", "loop weights"), euler_factor(hidden, dt))
    return {group: found[group] * factors.get(group, 1.0) for group in found}


def cosine(one: Tensor, other: Tensor) -> float:
    """Return the cosine between two gradients; 0 if one of them is 0."""
    lengths = float(one.norm() * other.norm())
    return float((one * other).sum()) / lengths if lengths else 0.0


def gradients(model: nn.Sequential) -> Gradients:
    """Return the gradients that parameters have now, by group."""
    found = {name: p.grad for name, p in model.named_parameters()}
    return {
        group: grad.detach().double().clone()
        for group, name in GROUPS.items()
        if (grad := found.get(name)) is not None
    }


def raster(twin: nn.Sequential, batch: Spikes) -> Tensor:
    """Return a batch as rows of a grid."""
    layer: Any = twin[0]
    return dense.to_raster(batch, layer.dt, torch.float64)


def labels_of(batch: Spikes) -> Tensor:
    """Return the classes as torch wants them."""
    return torch.as_tensor(batch.labels).long()
