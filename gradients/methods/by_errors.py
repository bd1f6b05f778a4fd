"""Trainings by three-factor rules: networks, first weights, masks, feedback, steps."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from evsim import Spikes
from evsim.train_options import RULE_DT, RULE_LONGEST

from ..dense import LI, LIF, FromSpikes
from ..synapses import Spiking
from ..training.method import EXACT, Method
from ..training.start import fit_spread, spiking_layers
from .firing import SPAN, scale_weights
from .recipe import Recipe
from .three_factor import online
from .three_factor.rule import WIDTH

_TAU_MEM, _TAU_READOUT = 20e-3, 20e-3  # [s]
_TAIL = 5  # time constants of the readout that are waited for after the last arrival
_FEEDBACK = 0x3F  # what a seed's feedback and masks are drawn apart from
_MASKS = 0x51

THREE_FACTOR = Recipe(
    sizes=(70, 128, 10),
    dt=RULE_DT,
    n_steps=460,
    binary=False,
    epochs=20,
    batch=16,
    optimiser="Adam",
    lr=0.05,
    delay_lr=0.1 * RULE_DT,
    eps=1e-8,
    delay_eps=1e-8,
    weight_decay=0.0,
    schedule=None,
    clipping=None,
    loss="cross_entropy",
    decision="largest value of a leaky integrator",
    augmentation=None,
    sources=("Vassallo and TaheriNejad, arXiv 2601.00668v1; no program",),
    notes=(
        "published: LIF units with delays before a leaky integrator, errors of the readout sent "
        "straight to every unit, delays of at most 25 steps, the two-sided Gaussian",
        "step sizes: one digest of the paper has 1e-2 for delays and 1e-4 for weights, another "
        "the reverse; the first is the paper's, for a delay counted in steps would not move by "
        "1e-4. Here delays take ten times that, 0.1 steps, and a weight 0.05 of their root mean "
        "square: 20 epochs of Adam are to be enough",
        "not told, chosen here on the embedded digits: steps of 5 ms, time constants of 20 ms, "
        "the integral of the readout's voltage, first weights for 15 Hz, Adam, factor 0.9 of the "
        "step sizes per epoch, averaged parameters, a Gaussian as wide as a step, the arctan "
        "surrogate of width 1 / pi (after 6 epochs 89.5 % right, with a width of 1 83.5 %)",
    ),
    validation=None,
    trimmed=True,
    longest=RULE_LONGEST,
)


def integrating(
    sizes: Sequence[int],
    dt: float,
    max_delay: float,
    delay: str = "synaptic",
    recurrent: str = "none",
    tau_mem: float = _TAU_MEM,
) -> FromSpikes:
    """Return hidden layers of `LIF` and a leaky integrator, from `Spikes` to a value per class.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, units of the hidden layers, classes.
    dt : float
        Length of a step [s].
    max_delay : float
        Longest delay [s].
    delay : {"none", "axonal", "synaptic"}
        Of the input of every hidden layer, and of its loop, rounded to steps.
    recurrent : {"none", "dense", "conv"}
        The loop of every hidden layer; it takes a step, or its delay.
    tau_mem : float
        Time constant of hidden layers [s].

    Returns
    -------
    FromSpikes
        Layers ``hidden`` (``hidden1``, ``hidden2``, ... if there are several) and ``readout``.
        A batch ends when nothing can arrive any more of its last spike, and the readout has
        nearly forgotten it.

    Examples
    --------
    >>> model = integrating((9, 4, 3), 5e-3, 0.1, "axonal")
    >>> model(Spikes([0.1], [2], size=9, duration=0.3)).shape
    torch.Size([1, 3])
    """
    late: dict[str, Any] = {} if delay == "none" else {"delay": delay, "max_delay": max_delay}
    if recurrent != "none":
        late["recurrent"] = recurrent
        late["recurrent_delay"] = dt if delay == "none" else delay
        if delay != "none":
            late["recurrent_max_delay"] = max_delay
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    several = len(sizes) > 3
    for i, (n_before, n) in enumerate(zip(sizes, sizes[1:-1], strict=False)):
        name = f"hidden{i + 1}" if several else "hidden"
        layers[name] = LIF(n_before, n, tau_mem, dt=dt, **late)
    layers["readout"] = LI(sizes[-2], sizes[-1], _TAU_READOUT, dt=dt, output="integral")
    longest = 0.0 if delay == "none" else max_delay
    wait = longest * (len(sizes) - 2) + _TAIL * _TAU_READOUT
    return FromSpikes(layers, trimmed=True, tail=round(wait / dt))


@torch.no_grad()
def fit_on_grid(model: FromSpikes, spikes: Spikes, rate: float = 15.0) -> None:
    """Scale first weights of layers on a grid to the data, as `evsim.gradients.fit_weights`.

    Parameters
    ----------
    model : FromSpikes
        Untrained: layers that spike, then a readout.
    spikes : Spikes
        A typical batch.
    rate : float
        Of the units of a layer [Hz], on average from 0 to the last spike of the batch. One
        factor for a layer, 1/64 to 64, is searched for.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> model = integrating((2, 8, 3), 1e-3, 0.01)
    >>> spikes = Spikes([0.001, 0.002, 0.04], [0, 1, 1], size=2, duration=0.1)
    >>> fit_on_grid(model, spikes)
    >>> 2 < model.hidden.diagnostics.n_spikes < 10  # 15 Hz of 8 units in 40 ms are 5
    True
    """
    raster = model.raster(spikes)
    wanted = rate * float(spikes.times.max()) if len(spikes.times) else 0.0
    layers: list[Any] = list(model)
    *hidden, readout = layers
    for layer in hidden:
        _, raster = scale_weights(layer, raster, wanted, 1 / SPAN, SPAN)
    fit_spread(readout, raster)


@torch.no_grad()
def leave_out(model: nn.Module, share: float, seed: int) -> None:
    """Leave synapses of hidden layers out, of their input and of their loop; kernels stay whole.

    Parameters
    ----------
    model : Module
        Of layers of events or of the grid, without masks.
    share : float
        Of the synapses of every unit, from 0 to below 1; each keeps at least one.
    seed : int
        Of which ones; the generator of torch is left as it is.

    Examples
    --------
    >>> model = integrating((10, 4, 2), 5e-3, 0.1)
    >>> leave_out(model, 0.8, seed=0)
    >>> model.hidden.mask.sum(1)
    tensor([2, 2, 2, 2])
    """
    generator = torch.Generator().manual_seed(seed ^ _MASKS)
    for layer in spiking_layers(model) if share > 0 else []:
        layer.mask = _mask(layer.out_features, layer.in_features, share, generator)
        if layer.recurrent == "dense":
            n = layer.out_features
            layer.recurrent_mask = _mask(n, n, share, generator)


def _mask(n_post: int, n_pre: int, share: float, generator: torch.Generator) -> Tensor:
    """Return which synapses [post, pre] there are, as many at every unit."""
    kept = max(1, round((1 - share) * n_pre))
    places = torch.rand(n_post, n_pre, generator=generator).argsort(dim=1)[:, :kept]
    return torch.zeros(n_post, n_pre, dtype=torch.bool).scatter(1, places, True)


def random_feedback(layers: Sequence[Spiking], n_classes: int, seed: int) -> list[Tensor]:
    """Return weights [class, unit] that send errors to the units of each layer, from a seed.

    Examples
    --------
    >>> from evsim.gradients import CubaLIF
    >>> (found,) = random_feedback([CubaLIF(3, 400, 20e-3, 5e-3)], 10, seed=1)
    >>> found.shape, round(float(found.std()), 2)
    (torch.Size([10, 400]), 0.05)
    """
    generator = torch.Generator().manual_seed(seed ^ _FEEDBACK)
    return [
        torch.randn(n_classes, layer.out_features, generator=generator) / layer.out_features**0.5
        for layer in layers
    ]


def rule_method(
    model: nn.Sequential,
    every: float | None = None,
    width: float = WIDTH,
    random: bool = False,
    seed: int = 0,
) -> Method:
    """Return how a network is trained by a three-factor rule: Adam, as for exact gradients.

    Parameters
    ----------
    model : Sequential
        Of layers of events, or `FromSpikes` of layers of the grid.
    every : float or None
        Parameters move after so many seconds of a recording, again and again [s]; None for once,
        at its end.
    width : float
        See `evsim.gradients.methods.three_factor.backward` [s].
    random : bool
        Whether errors go back through random weights, and not through those of the readout.
    seed : int
        Of the random weights.

    Returns
    -------
    Method
        Its ``online`` keeps nothing from batch to batch.
    """
    hidden = spiking_layers(model)
    readout: Any = model[-1]
    drawn = random_feedback(hidden, readout.out_features, seed) if random else None

    def rule(model: nn.Module, batch: Spikes, labels: Tensor) -> Iterator[Tensor]:
        like: Tensor = readout.weight
        back = None if drawn is None else [one.to(like) for one in drawn]
        return online(model, batch, labels.to(like.device), every, width, back)

    return Method(EXACT.optimizer, EXACT.loss, online=rule)
