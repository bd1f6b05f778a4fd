"""What the methods of ``evsim train`` differ in: networks, first weights, settings, decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evsim.commands.parts import Parts
from evsim.errors import RunawayError
from evsim.network import Network
from evsim.simulate import simulate
from evsim.train_options import SLAYER_DT, SLAYER_EPOCHS, TrainOptions, TrainSettings

if TYPE_CHECKING:
    from torch import nn

    from evsim.gradients.training.method import Method

    Made = tuple[nn.Sequential, TrainOptions, Method]

_TAU_OUTPUT = 0.2  # where recordings are long enough [s]
_FIT = 256  # recordings that the first weights are fitted to; on a grid
_FIT_GRID = 64
_BATCH = 64  # recordings at a time


def with_defaults(asked: dict[str, Any]) -> dict[str, Any]:
    """Return what is asked for, with the settings of a published method where nothing is said."""
    if asked.get("method") != "slayer":
        return asked
    from evsim.gradients.methods import recipe

    published = recipe("axonal-shd")
    dt = asked.get("dt") or SLAYER_DT
    usual = {
        "dt": dt, "hidden": published.sizes[1:-1], "delay": "axonal", "fit": "layer",
        "epochs": SLAYER_EPOCHS, "batch": published.batch, "lr": published.lr,
        "delay_lr": published.delay_lr / published.dt * dt,
    }  # fmt: skip
    return {**usual, **asked}


def make(s: TrainSettings, parts: Parts, new: bool) -> Made:
    """Return an untrained model, options, and how it is trained.

    Parameters
    ----------
    s : TrainSettings
        What is asked for.
    parts : Parts
        The data.
    new : bool
        Whether first weights are fitted to the data; step sizes depend on them.
    """
    return _slayer(s, parts, new) if s.method == "slayer" else _exact(s, parts, new)


def _exact(s: TrainSettings, parts: Parts, new: bool) -> Made:
    from evsim.gradients.training.method import EXACT
    from evsim.gradients.training.start import delay_model, fit_weights

    duration = parts.train.duration
    model = delay_model(
        parts.train.size, s.layers, len(parts.train.class_names), s.delay, s.recurrent,
        s.longest_delay(duration), tau_output=min(_TAU_OUTPUT, duration / 4),
    )  # fmt: skip
    if new:
        batch = next(parts.train.batches(_FIT, shuffle=True, seed=s.seed))
        fit_weights(model, batch, per_unit=s.fit == "unit")
    return model, TrainOptions(s.epochs, s.batch, s.seed, s.lr, s.delay_lr), EXACT


def _slayer(s: TrainSettings, parts: Parts, new: bool) -> Made:
    from evsim.gradients.methods.by_counts import counting, slayer_method, wake_layers

    assert s.dt is not None
    sizes = (parts.train.size, *s.layers, len(parts.train.class_names))
    model = counting(sizes, s.dt, s.longest_delay(parts.train.duration))
    factors = {}
    if new:
        batch = next(parts.train.batches(_FIT_GRID, shuffle=True, seed=s.seed))
        factors = wake_layers(model, batch)
    options = TrainOptions(
        s.epochs, s.batch, s.seed, s.lr, s.delay_lr, lr_decay=1.0, wake=0.0, average=0.0
    )
    return model, options, slayer_method(s.dt, factors)


def on_grid(net: Network, dt: float) -> nn.Sequential:
    """Return the model on a grid of which a network was exported, from `Spikes` to counts.

    Parameters
    ----------
    net : Network
        Of a training with slayer.
    dt : float
        Length of a step [s].
    """
    from evsim.gradients.dense import Counting, from_network

    layers = from_network(net, dt, delays="floor", refire=True)
    return Counting(*layers, binary=True)


def decisions_by_events(net: Network, model: nn.Module, parts: Parts) -> str:
    """Return a line on how often the event engine decides as a model on a grid.

    Parameters
    ----------
    net : Network
        Exported from the model.
    model : Module
        From `Spikes` to counts; the class is the unit with most spikes.
    parts : Parts
        The data; those to test with are decided.
    """
    import torch

    equal = right = n = 0
    for batch in parts.test.batches(_BATCH):
        with torch.no_grad():
            on_grid = model(batch).argmax(dim=1).cpu().numpy()
        try:
            fired = simulate(net, batch, [net.output]).spikes[net.output]
        except RunawayError as error:
            return f"decisions by events: none, {error}"
        decided = fired.counts().argmax(axis=1)
        equal += int(np.sum(decided == on_grid))
        right += int(np.sum(decided == batch.labels))
        n += len(batch)
    return (
        f"decisions by events: {equal:,} of {n:,} as on the grid (accuracy {right / max(n, 1):.1%})"
    )
