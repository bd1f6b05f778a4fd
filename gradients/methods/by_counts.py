"""Trainings whose networks decide by the most spikes: models, first weights, steps."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from evsim import Spikes
from evsim.train_options import TrainOptions

from ..dense import Counting
from ..losses import spikemax
from ..training.method import Method
from .axonal import AXONAL_SHD, axonal
from .firing import SPAN, mean_count, scale_weights
from .recipe import one_each


def counting(
    sizes: Sequence[int], dt: float, max_delay: float, tau_syn: float | None = None
) -> Counting:
    """Return the network ``axonal-shd``, from `Spikes` to a count per class.

    Parameters
    ----------
    sizes, dt, max_delay
        As for `evsim.gradients.methods.build`.
    tau_syn : float or None
        See `evsim.gradients.methods.axonal.axonal`.
    """
    layers = OrderedDict(axonal(sizes, dt, max_delay, tau_syn).named_children())
    return Counting(layers, binary=AXONAL_SHD.binary)


@torch.no_grad()
def wake_layers(model: Counting, spikes: Spikes, least: float = 3.0) -> dict[str, float]:
    """Scale up the first weights of layers that hardly fire, layer by layer.

    Parameters
    ----------
    model : Counting
        Untrained.
    spikes : Spikes
        A typical batch.
    least : float
        Spikes that the units of a layer shall have in a recording, on average.

    Returns
    -------
    dict of str to float
        The factor of every layer, 1 to 64; 1 where there were enough.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> model = counting((2, 8, 3), 1e-3, 0.01)
    >>> factors = wake_layers(model, Spikes([0.001, 0.002], [0, 1], size=2, duration=0.01))
    >>> min(factors.values()) >= 1, bool(model.hidden1.diagnostics.n_spikes)
    (True, True)
    """
    raster, factors = model.raster(spikes), {}
    for name, layer in model.named_children():
        factor, fired = 1.0, layer(raster)
        if mean_count(fired) < least:
            factor, fired = scale_weights(layer, raster, least, 1.0, SPAN)
        raster, factors[name] = fired, factor
    return factors


def slayer_method(dt: float, factors: Mapping[str, float]) -> Method:
    """Return how ``axonal-shd`` is trained: Nadam on `evsim.gradients.spikemax`.

    Parameters
    ----------
    dt : float
        Length of a step [s].
    factors : dict of str to float
        By how much the first weights of a layer were scaled, see `wake_layers`. Its steps are
        scaled alike: that is the network with a lower threshold, for Nadam's steps have the same
        size for any gradient.
    """

    def optimizer(model: nn.Module, o: TrainOptions) -> torch.optim.Optimizer:
        eps = AXONAL_SHD.eps * AXONAL_SHD.batch / o.batch  # as of the sum over a batch
        own = replace(AXONAL_SHD, lr=o.lr, delay_lr=o.delay_lr, eps=eps, delay_eps=eps / dt)
        found = own.optimizer(model)
        n_weights = len(found.param_groups[0]["params"])
        one_each(found, model)
        for group in found.param_groups[:n_weights]:  # behind them are the delays
            group["lr"] *= factors.get(group["name"].partition(".")[0], 1.0)
            group["first_lr"] = group["lr"]
        return found

    return Method(optimizer, _spikemax)


def _spikemax(counts: Tensor, labels: Tensor) -> Tensor:
    return spikemax(counts, labels) * len(labels)
