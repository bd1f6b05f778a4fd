"""Networks that answer by which of their output units fires first."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
from torch import Tensor, nn

from evsim import Network, Spikes, simulate

from ..layers import CubaLIF
from ..losses import first_spikes
from ..training.start import fit_weights
from .interface import Measured


class FirstSpikes(nn.Sequential):
    """Layers that spike, from `Spikes` to a value per class: the earlier a unit fires, the more.

    The cross-entropy of the values is `evsim.gradients.FirstSpikeCrossEntropy`.

    Parameters
    ----------
    layers : dict of Module
        By name; the last one has a unit per class.
    tau0 : float
        Difference of times that makes a factor e [s].
    missing : float
        Time that a unit without a spike counts with [s].

    Examples
    --------
    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> layer = CubaLIF(1, 2, 20e-3, 10e-3)
    >>> _ = nn.init.constant_(layer.weight, 9.0)
    >>> model = FirstSpikes(OrderedDict(output=layer), tau0=1e-3, missing=0.1)
    >>> early, late = (model(Spikes([t], [0], size=1, duration=0.1)) for t in (0.01, 0.02))
    >>> (early - late).detach().round(decimals=6)
    tensor([[10., 10.]], dtype=torch.float64)
    """

    def __init__(self, layers: OrderedDict[str, nn.Module], tau0: float, missing: float) -> None:
        super().__init__(layers)
        self.tau0, self.missing = tau0, missing

    def forward(self, spikes: Spikes) -> Tensor:
        """Return values [recording, class], minus the times of first spikes in units of tau0."""
        return -first_spikes(super().forward(spikes), self.missing) / self.tau0


def answering_first(model: nn.Sequential, spikes: Spikes, tau0: float) -> FirstSpikes:
    """Return a model whose readout is replaced by units that fire, weights fitted to the data.

    Parameters
    ----------
    model : Sequential
        Layers of events that spike, and a readout.
    spikes : Spikes
        Typical recordings. The time by which nine of ten have ended stands for a missing spike.
    tau0 : float
        See `FirstSpikes` [s].

    Examples
    --------
    >>> from evsim.gradients.training.start import delay_model
    >>> spikes = Spikes([0.01, 0.02, 0.05], [0, 1, 0], [0, 2, 3], size=2, duration=0.1)
    >>> found = answering_first(delay_model(2, 4, 3), spikes, 10e-3)
    >>> [name for name, _ in found.named_children()], found(spikes).shape
    (['hidden', 'output'], torch.Size([2, 3]))
    """
    *hidden, (_, readout) = model.named_children()
    last: Any = hidden[-1][1]
    taus = [float(getattr(last, name)) for name in ("tau_mem", "tau_syn")]
    output = CubaLIF(last.out_features, readout.out_features, *taus)
    layers = OrderedDict([*hidden, ("output", output)])
    fit_weights(nn.Sequential(layers), spikes)
    bounds = zip(spikes.offsets[:-1].tolist(), spikes.offsets[1:].tolist(), strict=True)
    ends = [float(spikes.times[b - 1]) for a, b in bounds if b > a]
    missing = float(np.quantile(ends, 0.9)) if ends else spikes.duration
    return FirstSpikes(layers, tau0, missing)


def decided_first(net: Network, spikes: Spikes) -> Measured:
    """Return how many recordings a network tells right by its first output spike.

    Parameters
    ----------
    net : Network
        Whose output fires.
    spikes : Spikes
        Labelled recordings.

    Returns
    -------
    dict
        ``right`` of ``n``: the label's unit fires before all others. ``undecided``: share of
        the recordings in which no output unit fires; they are not right.
    """
    fired = simulate(net, spikes, record=[net.output], threads=1).spikes[net.output]
    times = first_spikes(fired, np.inf).numpy()
    n = len(spikes)
    others = times.copy()
    others[np.arange(n), spikes.labels] = np.inf
    right = times[np.arange(n), spikes.labels] < others.min(axis=1)
    silent = np.isinf(times).all(axis=1)
    return {"right": int(right.sum()), "n": n, "undecided": float(silent.mean())}
