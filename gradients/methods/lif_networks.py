"""Networks of LIF units and a readout of values, with their published first values.

DelRec: Queant, Rançon, Cottereau and Masquelier (2025), arXiv 2509.24852; its convolutional form:
Cicciarella, Zebendo and Rossi (2026), arXiv 2604.15997; their settings stand in
`evsim.gradients.methods.delrec_recipes`. Their rival without loops is in `dcls`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log, pi
from typing import Any

import torch
from torch import Tensor, nn

from .. import dense
from ..delays import keep_delays
from ..dense.spread import WIDE
from ..dense.surrogates import Surrogate, arctan, triangle
from ..resting import keep_below_threshold
from .delrec import votes
from .recipe import Recipe, lift

_UNIFORM = (10.0, 30.0)  # first delays of "uniform" [steps beyond the one of a loop]
_DEVIATION = 12.0  # of "normal" [steps]
_KERNEL = 3


def steep(v: Tensor) -> Tensor:
    """Return the published derivative of a spike on SHD, an arctan's of peak 2.5.

    Examples
    --------
    >>> steep(torch.tensor([0.0, 2 / (5 * torch.pi)]))
    tensor([2.5000, 1.2500])
    """
    return arctan(v, 2 / (5 * pi))


class Votes(dense.LI):
    """A readout that returns the sum of the softmaxes of its voltages at all steps.

    Its parameters are those of `evsim.gradients.dense.LI`. The cross-entropy of what it returns
    is DelRec's and DCLS's loss on SHD, its largest entry the decision. A network has no such
    output: there it is what ``output`` says.
    """

    def forward(self, raster: Tensor) -> Tensor:  # type: ignore[override]
        """Return `evsim.gradients.methods.delrec.votes` of the voltages, [batch, out]."""
        return self.read(self.voltage(raster))

    def read(self, voltage: Tensor) -> Tensor:
        """Return the same of voltages [batch, step, out], whoever simulated them."""
        return votes(voltage)


class LastStep(dense.LI):
    """A readout that returns its voltages at the last step, with what arrives there.

    Its parameters are those of `evsim.gradients.dense.LI`, whose ``output="last"`` is the
    voltage at the end of the recording, a step later, and that of a network.
    """

    def forward(self, raster: Tensor) -> Tensor:  # type: ignore[override]
        """Return the voltages after the arrivals of the last step, [batch, out]."""
        return self.read(self.voltage(raster))

    def read(self, voltage: Tensor) -> Tensor:
        """Return the same of voltages [batch, step, out], whoever simulated them."""
        return voltage[:, -1]


@dataclass(frozen=True)
class Plan:
    """How a network of DelRec, or of DCLS, is built.

    Attributes
    ----------
    tau : float
        Units keep 1 - 1 / tau of their voltage in a step.
    first_loop : int
        The hidden layer from which on there are loops, counted from 0. The last has one always.
    loops : bool
        Whether there are loops at all.
    kernel : bool
        Whether loops are kernels along the units.
    soft : bool
        Whether a spike subtracts the threshold; then units fire again while they are above it,
        and gradients pass through the reset.
    surrogate : function
        Derivative of a spike.
    bias, batch_norm, learn_spread : bool
        What there is besides weights and delays.
    gain : float
        First weights are U(-a, a) with a = gain / sqrt(inputs).
    delays : {"uniform", "normal"}
        First delays of loops, in steps beyond the one that it takes: U(10, 30), or the size of
        N(0, 12).
    bells : bool
        Whether the synapses of all layers are late, anywhere at first and learnt through bells, and
        there are no loops.
    readout : {"votes", "last", "sum"}
        What the readout returns: the sum of the softmaxes of its voltages, its voltage at the
        last step, or the sum of all that arrives.
    """

    tau: float
    first_loop: int = 1
    loops: bool = True
    kernel: bool = False
    soft: bool = False
    surrogate: Surrogate = steep
    bias: bool = True
    batch_norm: bool = True
    learn_spread: bool = False
    gain: float = 6**0.5
    delays: str = "uniform"
    bells: bool = False
    readout: str = "votes"


# Of the programs for SSC and PS-MNIST.
SOFT = Plan(
    tau=2.0, first_loop=0, soft=True, surrogate=triangle, batch_norm=False, learn_spread=True,
    gain=1.0, delays="normal", readout="sum",
)  # fmt: skip


def network(
    plan: Plan, recipe: Recipe, sizes: Sequence[int], dt: float, max_delay: float
) -> nn.Sequential:
    """Return layers of `evsim.gradients.dense.LIF` and a readout, loops or synapses late.

    Parameters
    ----------
    plan : Plan
        How it is built.
    recipe : Recipe
        Which has dropout, the first width of triangles or bells and the steps of a recording.
    sizes : sequence of int
        Inputs, units of the hidden layers, classes.
    dt : float
        Length of a step [s].
    max_delay : float
        Longest delay [s].

    Returns
    -------
    Sequential
        Layers ``hidden1``, ``hidden2``, ... and ``readout``.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    n_hidden = len(sizes) - 2
    for i, (n_before, n) in enumerate(zip(sizes, sizes[1:-1], strict=False)):
        late = {}
        if plan.bells:
            late = _bells(max_delay)
        elif plan.loops and i >= min(plan.first_loop, n_hidden - 1):
            late = _loop(plan, recipe, max_delay)
        layer = _hidden(plan, recipe, (n_before, n), dt, late)
        layers[f"hidden{i + 1}"] = _begun(layer, plan, recipe)
    readout = _readout(plan, (sizes[-2], sizes[-1]), dt, _bells(max_delay) if plan.bells else {})
    layers["readout"] = _begun(readout, plan, recipe)
    return nn.Sequential(layers)


def _loop(plan: Plan, recipe: Recipe, max_delay: float) -> dict[str, Any]:
    """Return what makes a loop with axonal delays, learnt through triangles."""
    return {
        "recurrent": "conv" if plan.kernel else "dense",
        "recurrent_delay": "axonal",
        "recurrent_max_delay": max_delay,
        "kernel_size": _KERNEL,
        "delays": "spread",
        "learn_spread": plan.learn_spread,
        "recurrent_dropout": recipe.recurrent_dropout,
    }


def _bells(max_delay: float) -> dict[str, Any]:
    """Return what makes an input projection with synaptic delays, learnt through bells."""
    return {"delay": "synaptic", "max_delay": max_delay, "delays": "gaussian"}


def _hidden(
    plan: Plan, recipe: Recipe, sizes: tuple[int, int], dt: float, late: dict[str, Any]
) -> dense.LIF:
    """Return a hidden layer, with a loop or delays of its synapses, or neither."""
    return dense.LIF(
        *sizes, _tau_mem(plan, dt), **_bias(plan, sizes[1]), **late,
        dt=dt, surrogate=plan.surrogate, batch_norm=plan.batch_norm,
        reset_mode="soft" if plan.soft else "hard", refire=plan.soft, detach_reset=not plan.soft,
        dropout=recipe.dropout, input_dropout=recipe.input_dropout,
    )  # fmt: skip


def _readout(plan: Plan, sizes: tuple[int, int], dt: float, late: dict[str, Any]) -> dense.LI:
    options = {**_bias(plan, sizes[1]), **late, "dt": dt}
    if plan.readout == "sum":
        return dense.LI(*sizes, inf, **options, output="last")
    if plan.readout == "last":
        return LastStep(*sizes, _tau_mem(plan, dt), **options, output="last")
    return Votes(*sizes, _tau_mem(plan, dt), **options, output="integral")


def _tau_mem(plan: Plan, dt: float) -> float:
    return -dt / log(1 - 1 / plan.tau)


def _bias(plan: Plan, size: int) -> dict[str, Any]:
    return {"v_leak": torch.zeros(size), "learn": "v_leak"} if plan.bias else {}


@torch.no_grad()
def _begun(layer: Any, plan: Plan, recipe: Recipe) -> nn.Module:
    """Return a layer with its first values drawn."""
    if layer.delays in WIDE and recipe.sigma is not None:
        layer.sigma = recipe.sigma
    weight, loop = layer.weight, getattr(layer, "recurrent_weight", None)
    if weight.is_meta:
        return layer
    bound = layer.in_features**-0.5
    nn.init.uniform_(weight, -plan.gain * bound, plan.gain * bound)
    if plan.bias:
        nn.init.uniform_(layer.v_leak, -bound, bound).mul_(lift(layer, recipe.n_steps))
        keep_below_threshold(layer)
    if loop is not None:
        if plan.kernel:
            nn.init.uniform_(loop, -(len(loop) ** -0.5), len(loop) ** -0.5)
        else:
            nn.init.orthogonal_(loop)
        delay = torch.empty_like(layer.recurrent_delay)
        if plan.delays == "uniform":
            nn.init.uniform_(delay, *_UNIFORM)
        else:
            nn.init.normal_(delay, 0.0, _DEVIATION).abs_()
        layer.recurrent_delay.copy_((1 + delay) * layer.dt)
    if plan.bells:
        nn.init.uniform_(layer.delay, 0.0, layer.max_delay + layer.dt)  # what is beyond is cut
    keep_delays(layer)
    return layer
