"""A `Sequential` as the rules see it: layers that spike, delays before them, and a readout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from evsim.quantities import positive

from ...dense.layers import Delay as DelayOfGrid
from ...dense.on_grid import OnGrid
from ...layers import Delay, Readout
from ...synapses import Spiking

Feedback = Tensor | Sequence[Tensor] | None


@dataclass(frozen=True)
class Stage:
    """A layer of a model, and what delays its input.

    Attributes
    ----------
    name : str
        In the model.
    layer : Module
        One that spikes, or a readout.
    before : tuple of Delay
        Modules between the layer and the one before it.
    """

    name: str
    layer: Spiking | Readout
    before: tuple[Any, ...]


def stages(model: nn.Module) -> tuple[list[Stage], Stage]:
    """Return the layers of a model that spike, and its readout.

    Raises
    ------
    TypeError
        If the model is no ``Sequential`` of layers that a rule has traces for.
    ValueError
        If something is trained, or done in training, that no rule has a trace for; names it.
    """
    if not isinstance(model, nn.Sequential):
        raise TypeError(f"model is a {type(model).__name__}, must be a torch.nn.Sequential")
    found: list[Stage] = []
    before: list[Delay] = []
    for name, module in model.named_children():
        if isinstance(module, Delay):
            before.append(module)
        elif isinstance(module, Spiking | Readout):
            found.append(Stage(name, module, tuple(before)))
            before = []
        else:
            raise TypeError(
                f"model: {name!r} is a {type(module).__name__}, which no rule can look into; it "
                "takes Delay, LIF, CubaLIF, SRM, and LI or CubaLI at the end"
            )
    if before or not found or not isinstance(found[-1].layer, Readout):
        raise ValueError("model: the last layer must be a readout, LI or CubaLI")
    *hidden, readout = found
    if not hidden:
        raise ValueError("model: there must be a layer that spikes before the readout")
    for stage in hidden:
        if isinstance(stage.layer, Readout):
            raise ValueError(f"model: {stage.name!r} is a readout, but not the last layer")
    kinds = {isinstance(m, OnGrid | DelayOfGrid) for one in found for m in (one.layer, *one.before)}
    if len(kinds) > 1:
        raise ValueError("model: some layers are of events and some of the grid; take one kind")
    for stage in found:
        _refuse_untraced(stage)
    return hidden, readout


def checked_feedback(
    feedback: Feedback, hidden: Sequence[Stage], n_classes: int
) -> list[Tensor | None]:
    """Return the weights [class, unit] that send errors back to each layer, or None.

    None stands for the readout's own weights.

    Raises
    ------
    ValueError
        If their number or shapes don't fit, or several layers have none.
    """
    if feedback is None:
        if len(hidden) > 1:
            raise ValueError(
                f"feedback = None, but the readout's weights reach the last of {len(hidden)} "
                "spiking layers only: give a list, one tensor [class, unit] per layer"
            )
        return [None]
    given: list[Any] = list(feedback) if isinstance(feedback, list | tuple) else [feedback]
    if len(given) != len(hidden):
        raise ValueError(f"feedback: {len(given)} given, for {len(hidden)} spiking layers")
    for i, (tensor, stage) in enumerate(zip(given, hidden, strict=True)):
        shape = [n_classes, stage.layer.out_features]
        if not torch.is_tensor(tensor) or list(tensor.shape) != shape:
            told = list(tensor.shape) if torch.is_tensor(tensor) else type(tensor).__name__
            raise ValueError(f"feedback[{i}]: is {told}, must be a tensor {shape} for {stage.name}")
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"feedback[{i}]: has entries that are not finite")
    return [tensor.detach() for tensor in given]


def hand_out(tensors: dict[str, Tensor | None], gradients: dict[str, Tensor]) -> None:
    """Add gradients of what acts in a layer to those of the parameters it is made of.

    Parameters
    ----------
    tensors : dict
        As `Spiking.tensors` returns them, in the autograd graph of the parameters: masked
        weights, quantised ones, a kernel's matrix.
    gradients : dict
        By the same names.
    """
    moved = [
        (tensor, _like(gradients[name], tensor))
        for name, tensor in tensors.items()
        if tensor is not None and tensor.requires_grad and name in gradients
    ]
    if moved:
        acting, by_them = zip(*moved, strict=True)
        torch.autograd.backward(acting, by_them)


def checked_labels(labels: Tensor, n: int, n_classes: int) -> Tensor:
    """Return the classes of ``n`` recordings.

    Raises
    ------
    ValueError
        If they are not that many, or one is no class; names it.
    """
    labels = torch.as_tensor(labels)
    if labels.shape != (n,) or labels.is_floating_point():
        raise ValueError(f"labels: shape {list(labels.shape)}, must be [{n}] whole numbers")
    wrong = (labels < 0) | (labels >= n_classes)
    if wrong.any():
        at = int(wrong.nonzero()[0])
        raise ValueError(f"labels[{at}] = {labels[at]}, must be 0 to {n_classes - 1}")
    return labels.long()


def gradient_of_loss(values: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient of the mean cross-entropy by values [recording, class]."""
    values = values.detach().requires_grad_()
    with torch.enable_grad():
        loss = nn.functional.cross_entropy(values, labels)
    return torch.autograd.grad(loss, values)[0]


def stretches(duration: float, every: float | None) -> list[float]:
    """Return where stretches of ``every`` seconds end; a last one of a part of it counts.

    Raises
    ------
    ValueError
        If ``every`` is not positive.
    """
    if every is None:
        return [duration]
    every = positive("every", every, "s")
    n = max(round(duration / every), 1) if _whole(duration / every) else int(duration / every) + 1
    return [*(every * k for k in range(1, n)), duration]


def _whole(n: float) -> bool:
    return abs(n - round(n)) < 1e-9 * max(n, 1.0)


def _like(gradient: Tensor, tensor: Tensor) -> Tensor:
    """Return a gradient in type and shape of its tensor, summed where that is shared."""
    if gradient.shape != tensor.shape:
        gradient = gradient.sum().reshape(tensor.shape)
    return gradient.to(tensor)


def _refuse_untraced(stage: Stage) -> None:
    layer = stage.layer
    for option in ("dropout", "input_dropout", "recurrent_dropout", "batch_norm", "learn_spread"):
        if getattr(layer, option, False):
            raise ValueError(f"{stage.name}: {option} = {getattr(layer, option)}, has no trace")
    if layer.tick is not None:
        raise ValueError(f"{stage.name}: tick = {layer.tick:g}, which no rule counts in")
    if isinstance(layer, Readout) and layer.at is not None:
        raise ValueError(f"{stage.name}: at = ..., but a rule needs one value per class")
    if getattr(layer, "bound", float("inf")) != float("inf"):
        raise ValueError(f"{stage.name}: bound = {layer.bound:g}, but traces have no costates")
