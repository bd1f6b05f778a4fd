"""Rules that move parameters while a batch of recordings goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from evsim import Spikes

from .waking import waking


def go_through(
    model: nn.Module,
    rule: Callable[[nn.Module, Spikes, Tensor], Iterator[Tensor]],
    batch: Spikes,
    labels: Tensor,
    wake: float,
    move: Callable[[], None],
) -> Tensor:
    """Go through a batch once, and move parameters each time that a rule has gradients.

    Parameters
    ----------
    model : Module
        Whose gradients are added to.
    rule : callable
        See ``online`` of `evsim.gradients.training.method.Method`.
    batch, labels
        Recordings, and their labels.
    wake : float
        Strength of the pull on silent units, of which a rule has no traces; it comes with the
        first gradients. 0 leaves out the run that is to find them.
    move : callable
        Moves parameters along their gradients, which are cleared then.

    Returns
    -------
    tensor [recording, class]
        The last values.

    Raises
    ------
    ValueError
        If the rule gives none.
    """
    if wake > 0:
        with waking(model, wake) as silent:
            with torch.no_grad():
                model(batch)
            pull = silent()
        if pull.requires_grad:
            pull.backward()
    last = None
    for values in rule(model, batch, labels):
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)  # optimisers count steps of each
        move()
        model.zero_grad()
        last = values
    if last is None:
        raise ValueError("the online rule gave no values for a batch")
    return last
