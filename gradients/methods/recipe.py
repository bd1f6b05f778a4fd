"""What a published network was trained with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ..delays import hold_delays, trained_delays
from ..lowbit import DelayGrid


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
        Of the optimiser.
    schedule : str or None
        What becomes of the step sizes; None if they stay.
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

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return the optimiser of a model, untrained, with two groups: weights, delays.

        Parameters
        ----------
        model : Module
            As `evsim.gradients.methods.build` makes it; layers of few bits
            (`evsim.gradients.lowbit`) too.

        Returns
        -------
        Optimizer
            Of torch. Its steps leave the delays between their limits, and their momentum is
            cleared there (`evsim.gradients.hold_delays`).

        Examples
        --------
        >>> from evsim.gradients import methods
        >>> model = methods.build("axonal-shd", sizes=(9, 4, 3, 2))
        >>> optimizer = methods.recipe("axonal-shd").optimizer(model)
        >>> [sum(p.numel() for p in group["params"]) for group in optimizer.param_groups]
        [54, 7]
        """
        delays = [delay for _, delay, _ in trained_delays(model)]
        for part in model.modules():
            if isinstance(part, DelayGrid):
                delays += part.parameters()  # its lowest point, in seconds too
        known = {id(delay) for delay in delays}
        others = [p for p in model.parameters() if p.requires_grad and id(p) not in known]
        groups = [
            {"params": others, "lr": self.lr, "eps": self.eps},
            {"params": delays, "lr": self.delay_lr, "eps": self.delay_eps},
        ]
        make = getattr(torch.optim, self.optimiser)
        found: torch.optim.Optimizer = make(groups, weight_decay=self.weight_decay)
        hold_delays(model, found)
        return found
