"""What a published network was trained with."""

from __future__ import annotations

from dataclasses import dataclass
from math import expm1, isinf
from typing import Any

import torch
from torch import nn

from ..delays import hold_delays, trained_delays
from ..lowbit import DelayGrid
from ..synapses import Synapses


@dataclass(frozen=True)
class Recipe:
    """The settings of a published training.

    Attributes
    ----------
    sizes : tuple of int
        Inputs, units of the hidden layers, classes.
    dt : float
        Length of a step [s].
    n_steps : int
        Steps of a recording.
    binary : bool
        Whether a channel has a spike at a step or not, however many fell there.
    epochs, batch : int
        Passes over the data; recordings of a batch.
    optimiser : str
        Name in ``torch.optim``.
    lr : float
        Step size of weights, as the optimiser takes it.
    delay_lr : float
        Of delays [s].
    eps, delay_eps : float
        What the optimiser adds to the root mean square of a gradient, of weights and of delays.
    weight_decay : float
        Of weights and biases; batch norms and delays have none.
    schedule : str or None
        What becomes of the step sizes, of which those above are the largest: name in
        ``torch.optim.lr_scheduler``, stepped once per epoch; None if they stay.
    clipping : float or None
        Largest entry of a gradient; None if there is no limit.
    loss : str
        Name in `evsim.gradients` or ``torch.nn.functional``.
    decision : str
        What is taken for the class.
    augmentation : str or None
        How recordings are varied; None if they are not.
    sources : tuple of str
        Paper and program.
    notes : tuple of str
        What differs between them, and what was chosen here.
    delay_schedule : str or None
        The same as ``schedule`` for delays.
    sigma : float or None
        How wide triangles or bells are in the first epoch [steps], None if delays are neither;
        see `evsim.gradients.methods.delrec.sigma`, which takes this and the next.
    sigma_decay : float or None
        Factor of the width in a hundredth of the training.
    sigma_end : float or None
        Width of bells from a quarter of the training on [steps], None if delays are no bells; see
        `evsim.gradients.methods.dcls.sigma`, which takes ``sigma`` and this.
    dropout, input_dropout, recurrent_dropout : float
        Shares of units, see `evsim.gradients.dense.CubaLIF`. Layers have them built in.
    validation : float or None
        Share of the training recordings that are kept for validation; 0 if there were none, or
        the data have a part for it; None if it is not told.
    summed : int
        Neighbouring channels of the data that make one input.
    trimmed : bool
        Whether the recordings of a batch end with its last spike.
    longest : int or None
        Longest delay [steps]; None if it is as long as a recording.
    """

    sizes: tuple[int, ...]
    dt: float
    n_steps: int
    binary: bool
    epochs: int
    batch: int
    optimiser: str
    lr: float
    delay_lr: float
    eps: float
    delay_eps: float
    weight_decay: float
    schedule: str | None
    clipping: float | None
    loss: str
    decision: str
    augmentation: str | None
    sources: tuple[str, ...]
    notes: tuple[str, ...]
    delay_schedule: str | None = None
    sigma: float | None = None
    sigma_decay: float | None = None
    sigma_end: float | None = None
    dropout: float = 0.0
    input_dropout: float = 0.0
    recurrent_dropout: float = 0.0
    validation: float | None = 0.0
    summed: int = 1
    trimmed: bool = False
    longest: int | None = None

    def longest_delay(self, dt: float) -> float:
        """Return the longest delay on a grid of steps of ``dt`` [s], in seconds."""
        return (self.n_steps if self.longest is None else self.longest) * dt

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return the optimiser of a model, untrained.

        Parameters
        ----------
        model : Module
            As `evsim.gradients.methods.build` makes it; layers of few bits
            (`evsim.gradients.lowbit`) too.

        Returns
        -------
        Optimizer
            Of torch, with groups for weights and delays, and, where there are any, batch norms,
            spreads and biases. Its steps leave the delays between their limits, and their
            momentum is cleared there (`evsim.gradients.hold_delays`).

        Notes
        -----
        A bias is a learnt ``v_leak``; its group takes the steps that a bias per step would.

        Examples
        --------
        >>> from evsim.gradients import methods
        >>> model = methods.build("axonal-shd", sizes=(9, 4, 3, 2))
        >>> optimizer = methods.recipe("axonal-shd").optimizer(model)
        >>> [sum(p.numel() for p in group["params"]) for group in optimizer.param_groups]
        [54, 7]
        """
        # What is behind another parametrisation is no delay, and has no unit.
        delays = [delay for _, delay, _ in trained_delays(model) if delay.is_leaf]
        norms: list[Any] = []
        spreads: list[Any] = []
        biases: dict[float, list[Any]] = {}
        for part in model.modules():
            if isinstance(part, DelayGrid):
                delays += part.parameters()  # its lowest point, in seconds too
            elif isinstance(part, nn.BatchNorm1d):
                norms += part.parameters()
            elif isinstance(part, Synapses):
                if getattr(part, "spread", None) is not None:
                    spreads.append(part.spread)
                if "v_leak" in part.learn:
                    biases.setdefault(lift(part, self.n_steps), []).append(part.v_leak)
        apart = {id(p) for p in (*delays, *norms, *spreads, *sum(biases.values(), []))}
        others = [p for p in model.parameters() if p.requires_grad and id(p) not in apart]
        per_step = self.delay_lr / self.dt
        groups = [
            self._group(others, self.lr, self.eps, self.weight_decay),
            self._group(delays, self.delay_lr, self.delay_eps, 0.0),
            self._group(norms, self.lr, self.eps, 0.0),
            self._group(spreads, per_step, self.eps, 0.0),
            *(self._of_biases(values, factor) for factor, values in biases.items()),
        ]
        make = getattr(torch.optim, self.optimiser)
        used = [group for i, group in enumerate(groups) if i < 2 or group["params"]]
        found: torch.optim.Optimizer = make(used)
        hold_delays(model, found)
        return found

    def _of_biases(self, values: list[Any], factor: float) -> dict[str, Any]:
        """Return the group of ``v_leak`` = factor times bias that moves as the bias would."""
        decoupled = self.optimiser == "AdamW"  # others add the decay to the gradient
        decay = self.weight_decay / factor ** (1 if decoupled else 2)
        return self._group(values, self.lr * factor, self.eps / factor, decay)

    @staticmethod
    def _group(params: list[Any], lr: float, eps: float, decay: float) -> dict[str, Any]:
        kept = [p for p in params if p.requires_grad]
        return {"params": kept, "lr": lr, "eps": eps, "weight_decay": decay}


def one_each(optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """Give every parameter a group of its own, in the order of the groups there are.

    The groups have ``name`` and ``first_lr`` as those of `evsim.gradients.parameter_groups`.
    """
    names = {parameter: name for name, parameter in model.named_parameters()}
    optimizer.param_groups = [
        {**group, "params": [parameter], "name": names[parameter], "first_lr": group["lr"]}
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]


def lift(layer: nn.Module, n_steps: int) -> float:
    """Return the ``v_leak`` that stands for a bias of 1 at every step.

    Parameters
    ----------
    layer : Module
        `evsim.gradients.dense.LIF` or `evsim.gradients.dense.LI`.
    n_steps : int
        Of a recording: without a leak the voltage at its end is the sum of all biases.

    Returns
    -------
    float
        1 / (1 - e^(-dt / tau_mem)), or the number of steps.
    """
    tau_mem, dt = float(layer.tau_mem), float(layer.dt)  # type: ignore[arg-type]
    return float(n_steps) if isinf(tau_mem) else -1 / expm1(-dt / tau_mem)
