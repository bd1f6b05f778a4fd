"""What is inside a checkpoint, and whether it is that of a model: looked at before it is used.

`Checkpoint` says which values there are, of which types; `sound_state` compares them with a
trainer that has just been made, entry by entry, and with each other. Whatever a training
writes passes; whatever passes leads on to the training that wrote it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
from msgspec import Meta, Struct
from msgspec.structs import asdict
from torch import Tensor, nn

from evsim.merit import merit
from evsim.schema import Finite, NotNegative, Share, checked, shown
from evsim.train_options import MOST

from ..delays import Delayed
from ..lowbit import DelayGrid, Ternary, Uniform
from ..synapses import Synapses

_EXACT = 2**24  # float32, in which Adam counts steps, stays there
_DERIVED = ("lr", "first_lr")  # of a group of the optimiser; all else is as it was told

Steps = Callable[[dict[str, Any], int], dict[str, Any]]
_StepSize = Annotated[float, Meta(ge=0, le=1e30)]  # what Adam can still count with in float32


class EpochRecord(Struct, frozen=True):
    """How an epoch went; rate in Hz, `at_bounds` a share of the delays."""

    epoch: Annotated[int, Meta(ge=1, le=MOST)]
    train_loss: Finite
    train_accuracy: Share
    validation_loss: Finite
    validation_accuracy: Share
    rate: NotNegative
    silent: NotNegative
    seconds: NotNegative
    at_bounds: Share = 0.0  # the only one that older runs lack


class Best(Struct, frozen=True):
    """The best epoch, 0 before the first one, and the averaged parameters after it."""

    epoch: Annotated[int, Meta(ge=0, le=MOST)]
    model: dict


class Moments(Struct, frozen=True):
    """What Adam knows of a parameter."""

    step: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor


class NadamMoments(Moments, frozen=True):
    """What Nadam knows of a parameter: the product of its factors, too."""

    mu_product: Tensor


class Optimizer(Struct, frozen=True):
    """The state of an optimiser, as torch keeps it."""

    state: dict
    param_groups: list


class StepSizes(Struct, frozen=True):
    """What changes in a group of the optimiser."""

    lr: _StepSize
    first_lr: _StepSize


class Checkpoint(Struct, frozen=True):
    """All that the rest of a training depends on."""

    model: dict
    average: dict
    optimizer: dict
    history: list
    best: dict
    generator: Tensor
    options: dict | None = None  # the only one that older checkpoints lack


def sound_state(
    state: object,
    new: dict[str, Any],
    model: nn.Module,
    n_batches: int,
    steps: Steps,
    several: bool = False,
) -> dict[str, Any]:
    """Return the state of a training, once all of it has been looked at.

    Parameters
    ----------
    state : object
        From a file.
    new : dict
        The state of a trainer of the same model, data and options.
    model : Module
        The trainer's.
    n_batches : int
        Batches of an epoch.
    steps : callable
        From a group of the optimiser and an epoch to what the group has in it, see
        `evsim.gradients.training.method.Method`.
    several : bool
        Whether a batch may take more than one step of the optimiser.

    Returns
    -------
    dict
        The same values; no two tensors share memory.

    Raises
    ------
    ValueError
        Names the entry, what it is and what it must be.
    """
    found = checked(Checkpoint, state, whole=False)
    _check_options(found.options, new["options"])
    history = _sound_history(found.history)
    n_steps = n_batches * len(history)
    parameters = _sound_parameters("model", found.model, new["model"], model)
    average = _sound_tensors("average", found.average, new["average"])
    _check_model("average", average, model, "module.")
    taken = int(average["n_averaged"])
    if taken < n_steps or (taken > n_steps and not (several and n_steps)):
        raise ValueError(
            f"average.n_averaged = {taken}, must be {n_steps}{' or more' if several else ''}: "
            f"{len(history)} epochs of {n_batches} batches"
        )
    return {
        "model": parameters,
        "average": average,
        "optimizer": _sound_optimizer(
            found.optimizer, new["optimizer"], dict(model.named_parameters()), taken,
            lambda group: steps(group, max(len(history) - 1, 0)),
        ),
        "history": history,
        "best": _sound_best(found.best, average, new["model"], model, history),
        "generator": _sound_generator(found.generator, new["generator"]),
        "options": new["options"],
    }  # fmt: skip


def _check_options(found: dict[Any, Any] | None, wanted: dict[str, Any]) -> None:
    if found is None:
        return
    _check_names("options", found, list(wanted))
    for name, value in wanted.items():
        if type(found[name]) not in (int, float) or found[name] != value:
            raise ValueError(f"options.{name} = {shown(found[name])}, must be {value!r}")


def _sound_history(records: list[Any]) -> list[dict[str, float]]:
    history = []
    for i, record in enumerate(records):
        sound = checked(EpochRecord, record, f"history[{i}]", whole=False)
        if sound.epoch != i + 1:
            raise ValueError(f"history[{i}].epoch = {sound.epoch}, must be {i + 1}")
        history.append(asdict(sound))
    return history


def _sound_best(
    best: object,
    average: dict[str, Tensor],
    new: dict[str, Tensor],
    model: nn.Module,
    history: list[dict[str, float]],
) -> dict[str, Any]:
    found = checked(Best, best, "best")
    ranks = [merit(record) for record in history]
    epoch = ranks.index(max(ranks)) + 1 if ranks else 0
    if found.epoch != epoch:
        raise ValueError(f"best.epoch = {found.epoch}, but the best one of the history is {epoch}")
    parameters = _sound_parameters("best.model", found.model, new, model)
    if epoch == len(history):
        for name, tensor in parameters.items():
            if not torch.equal(tensor, average[f"module.{name}"]):
                raise ValueError(f"best.model.{name}: is not the average after the last epoch")
    return {"epoch": epoch, "model": parameters}


def _sound_parameters(
    where: str, found: dict[Any, Any], new: dict[str, Tensor], model: nn.Module
) -> dict[str, Tensor]:
    tensors = _sound_tensors(where, found, new)
    _check_model(where, tensors, model)
    return tensors


def _sound_tensors(where: str, found: dict[Any, Any], new: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the entries of ``new`` with the values found; there must be exactly these."""
    _check_names(where, found, list(new))
    sound = copy.copy(new)  # with what torch adds to such dictionaries
    for name, tensor in new.items():
        sound[name] = _sound_tensor(f"{where}.{name}", found[name], tensor)
    return sound


def _check_names(where: str, found: dict[Any, Any], wanted: Sequence[Any]) -> None:
    for name in found:
        if name not in wanted:
            raise ValueError(f"{where}: {shown(name)} is unknown")
    for name in wanted:
        if name not in found:
            raise ValueError(f"{where}: {shown(name)} is missing")


def _sound_tensor(
    where: str, found: object, like: Tensor, low: float = -math.inf, infinite: bool = False
) -> Tensor:
    """Return a copy of a tensor that has the form of another one and sound values."""
    if not isinstance(found, Tensor) or found.layout != like.layout:
        raise ValueError(f"{where} is {shown(found)}, must be a Tensor")
    for what, a, b in (
        ("shape", list(found.shape), list(like.shape)),
        ("type", found.dtype, like.dtype),
    ):
        if a != b:
            raise ValueError(f"{where} has {what} {a}, must be {b}")
    found = found.detach().to(like.device)
    # A constant of the model may be infinite: the time constant of a readout without a leak.
    wrong = found.isnan() if infinite else ~found.isfinite() & (found != like)
    if low > -math.inf:
        wrong |= found < low
    if wrong.any():
        first = int(wrong.flatten().nonzero()[0])
        rule = "a number" if infinite else "finite"
        rule += "" if low == -math.inf else f" and at least {low:g}"
        value = float(found.flatten()[first])
        raise ValueError(f"{where}, entry {first}: {value:g}, must be {rule}")
    return found.clone(memory_format=torch.contiguous_format)


def _check_model(
    where: str, tensors: dict[str, Tensor], model: nn.Module, prefix: str = ""
) -> None:
    """Refuse delays outside their limits, and constants that are not the model's."""
    for name, module in model.named_modules():
        start = f"{prefix}{name}." if name else prefix
        limits = module.delay_limits() if isinstance(module, Delayed) else {}
        for delay, (low, high) in limits.items():
            values = tensors.get(start + delay)  # not there if it is parametrised
            if values is not None and bool(((values < low) | (values > high)).any()):
                raise ValueError(f"{where}.{start}{delay}: must be from {low:g} to {high:g} s")
        if isinstance(module, nn.BatchNorm1d) and bool((tensors[start + "running_var"] < 0).any()):
            raise ValueError(f"{where}.{start}running_var: must be at least 0")
        kept = isinstance(module, (Synapses, DelayGrid))
        constants = module.named_buffers(recurse=False) if kept else ()
        for constant, value in constants:
            if not torch.equal(tensors[start + constant], value):
                raise ValueError(f"{where}.{start}{constant}: is not that of this model")
        sizes = (
            module.named_buffers(recurse=False) if isinstance(module, (Ternary, Uniform)) else ()
        )
        for size, _ in sizes:
            if not tensors[start + size] > 0:
                raise ValueError(f"{where}.{start}{size}: must be above 0")


def _sound_optimizer(
    found: object,
    new: dict[str, Any],
    parameters: dict[str, Tensor],
    n_steps: int,
    steps: Callable[[dict[str, Any]], dict[str, Any]],
) -> dict[str, Any]:
    where = "optimizer"
    sound = checked(Optimizer, found, where)
    groups = new["param_groups"]
    if len(sound.param_groups) != len(groups):
        raise ValueError(
            f"{where}.param_groups: are {len(sound.param_groups)}, must be {len(groups)}"
        )
    pairs = enumerate(zip(sound.param_groups, groups, strict=True))
    of = {group["params"][0]: parameters[group["name"]] for group in groups}
    trained = [i for i, parameter in of.items() if n_steps and parameter.requires_grad]
    kind = NadamMoments if "momentum_decay" in groups[0] else Moments
    _check_names(f"{where}.state", sound.state, trained)
    return {
        "state": {
            i: _sound_moments(f"{where}.state[{i}]", sound.state[i], of[i], n_steps, kind)
            for i in trained
        },
        "param_groups": [
            _sound_group(f"{where}.param_groups[{i}]", a, b, steps) for i, (a, b) in pairs
        ],
    }


def _sound_moments(
    where: str, found: object, parameter: Tensor, n_steps: int, kind: type[Moments]
) -> dict[str, Tensor]:
    moments = checked(kind, found, where)
    step = _sound_tensor(f"{where}.step", moments.step, torch.tensor(0.0))
    if float(step) != min(n_steps, _EXACT):
        raise ValueError(f"{where}.step = {float(step):g}, must be {n_steps}")
    mean = _sound_tensor(f"{where}.exp_avg", moments.exp_avg, parameter)
    # A steep gradient has a square beyond float32: such a parameter rests, the training goes on.
    square = _sound_tensor(f"{where}.exp_avg_sq", moments.exp_avg_sq, parameter, 0, infinite=True)
    known = {"step": step, "exp_avg": mean, "exp_avg_sq": square}
    if isinstance(moments, NadamMoments):
        product = _sound_tensor(f"{where}.mu_product", moments.mu_product, torch.tensor(0.0), 0)
        if float(product) > 1:
            raise ValueError(f"{where}.mu_product = {float(product):g}, must be at most 1")
        known["mu_product"] = product
    return known


def _sound_group(
    where: str,
    found: object,
    new: dict[str, Any],
    steps: Callable[[dict[str, Any]], dict[str, Any]],
) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise ValueError(f"{where} is {shown(found)}, must be a dictionary")
    _check_names(where, found, list(new))
    sizes = checked(StepSizes, {name: found[name] for name in _DERIVED}, where)
    wanted = {**new, **steps({**new, "first_lr": sizes.first_lr})}
    for name, value in wanted.items():
        if name not in _DERIVED and not _same(found[name], value):
            raise ValueError(f"{where}.{name} = {shown(found[name])}, must be {value!r}")
    if not math.isclose(sizes.lr, wanted["lr"]):
        raise ValueError(f"{where}.lr = {sizes.lr:g}, must be {wanted['lr']:g}")
    return {**wanted, "lr": sizes.lr, "first_lr": sizes.first_lr}


def _same(found: Any, wanted: Any) -> bool:
    """Whether two plain values, or flat sequences of them, are of one type and equal."""
    if type(found) is not type(wanted):
        return False
    if isinstance(wanted, (list, tuple)):
        return len(found) == len(wanted) and all(map(_same, found, wanted))
    return bool(found == wanted)


def _sound_generator(found: Tensor, new: Tensor) -> Tensor:
    if found.dtype != new.dtype or found.shape != new.shape:
        raise ValueError(f"generator: must be {len(new):,} bytes, the state of torch's generator")
    sound = found.detach().clone(memory_format=torch.contiguous_format)
    try:
        torch.Generator().set_state(sound)
    except RuntimeError as error:
        raise ValueError("generator: is no state of torch's generator") from error
    return sound
