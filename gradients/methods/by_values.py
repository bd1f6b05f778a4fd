"""Trainings of networks that decide by a value per class, DelRec's and DCLS's: steps, widths."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import lr_scheduler

from evsim.train_options import TrainOptions

from ..delays import trained_delays
from ..dense import LIF, FromSpikes
from ..dense.raster import n_steps
from ..dense.spread import WIDE
from ..resting import HIGHEST
from ..training.method import Method, cross_entropy
from . import dcls, delrec
from .delrec_recipes import NETWORKS
from .lif_networks import network
from .recipe import Recipe, lift, one_each


def valued(
    name: str,
    sizes: Sequence[int],
    dt: float,
    max_delay: float,
    duration: float,
    **changes: Any,
) -> tuple[FromSpikes, Recipe]:
    """Return a network of DelRec or DCLS, from `Spikes` to a value per class, and its settings.

    Parameters
    ----------
    name : str
        One of those of `evsim.gradients.methods.delrec_recipes` or of ``dcls``.
    sizes, dt, max_delay
        As for `evsim.gradients.methods.build`.
    duration : float
        Of a recording [s].
    **changes
        What is not as published, of `evsim.gradients.methods.lif_networks.Plan`.

    Returns
    -------
    FromSpikes, Recipe
        The recipe is that of recordings of this duration and of this step.

    Examples
    --------
    >>> model, recipe = valued("delrec-shd", (9, 4, 4, 3), 10e-3, 0.5, 0.7)
    >>> recipe.n_steps, model.hidden2.recurrent_delay.shape
    (70, torch.Size([4]))
    """
    published, plan = {**NETWORKS, **dcls.NETWORKS}[name]
    recipe = replace(
        published,
        dt=dt,
        n_steps=n_steps(duration, dt),
        delay_lr=published.delay_lr / published.dt * dt,
        delay_eps=published.eps / dt,
    )
    if plan.bells:
        recipe = replace(recipe, sigma=max_delay / dt / 2)
    plan = replace(plan, **changes)
    layers = OrderedDict(network(plan, recipe, sizes, dt, max_delay).named_children())
    return FromSpikes(layers, binary=recipe.binary, trimmed=recipe.trimmed), recipe


def valued_method(recipe: Recipe) -> Method:
    """Return how a network of DelRec or DCLS is trained.

    Parameters
    ----------
    recipe : Recipe
        Of `valued`. Step sizes are those of `evsim.train_options.TrainOptions`.

    Notes
    -----
    Schedules of step sizes (of Adam's first factor too, as torch has them) and the widths of
    triangles and bells are functions of the epoch. Step sizes change once per epoch. Norms are
    kept where the exported network's units don't fire by themselves, see `keep_norms`.
    """

    def optimizer(model: nn.Module, o: TrainOptions) -> torch.optim.Optimizer:
        found = replace(recipe, lr=o.lr, delay_lr=o.delay_lr).optimizer(model)
        one_each(found, model)
        late = {id(delay) for _, delay, _ in trained_delays(model)}
        for group in found.param_groups:
            spread = group["name"].rpartition(".")[2] == "spread"
            of_delays = spread or id(group["params"][0]) in late
            group["schedule"] = recipe.delay_schedule if of_delays else recipe.schedule
            group["first_betas"] = group["betas"]
        if recipe.clipping is not None:
            most = recipe.clipping
            found.register_step_pre_hook(
                lambda *_: nn.utils.clip_grad_value_(model.parameters(), most)
            )
        found.register_step_post_hook(lambda *_: keep_norms(model))
        return found

    def begin(model: nn.Module, epoch: int, o: TrainOptions) -> None:
        # The state of the CPU's generator is kept in checkpoints, that of others is not.
        torch.cuda.manual_seed_all(int(np.random.default_rng((o.seed, epoch)).integers(2**62)))
        width = width_in(recipe, epoch, o.epochs)
        wide: list[Any] = [m for m in model.modules() if getattr(m, "delays", "") in WIDE]
        for layer in wide if width is not None else ():
            layer.sigma = width

    return Method(optimizer, cross_entropy, scheduled, begin)


def width_in(recipe: Recipe, epoch: int, epochs: int) -> float | None:
    """Return how wide triangles or bells are in an epoch [steps]; None if delays are neither."""
    if recipe.sigma == 0:
        return 0.0
    if recipe.sigma is not None and recipe.sigma_end is not None:
        return dcls.sigma(epoch, epochs, recipe.sigma, recipe.sigma_end)
    if recipe.sigma is not None and recipe.sigma_decay is not None:
        return delrec.sigma(epoch, epochs, recipe.sigma, recipe.sigma_decay)
    return None


def scheduled(group: dict[str, Any], epoch: int, options: TrainOptions) -> dict[str, Any]:
    """Return step size and factors of the averages of a group of the optimiser in an epoch.

    Parameters
    ----------
    group : dict
        With ``first_lr``, ``first_betas`` and ``schedule``, a name of
        ``torch.optim.lr_scheduler`` or None.
    epoch : int
        From 0.
    options : TrainOptions
        With the number of epochs.

    Raises
    ------
    ValueError
        If there is no such epoch.

    Examples
    --------
    >>> group = {"first_lr": 1.0, "first_betas": (0.9, 0.999), "schedule": "CosineAnnealingLR"}
    >>> scheduled(group, 5, TrainOptions(10))
    {'lr': 0.5, 'betas': (0.9, 0.999)}
    """
    if epoch >= options.epochs:
        raise ValueError(f"epochs = {options.epochs}, but {epoch + 1} are trained: its step sizes")
    lr, betas = _on_the_way(
        group["schedule"], group["first_lr"], group["first_betas"], options.epochs, epoch
    )
    return {"lr": lr, "betas": betas}


@lru_cache(maxsize=256)
def _on_the_way(
    schedule: str | None, lr: float, betas: tuple[float, float], epochs: int, epoch: int
) -> tuple[float, tuple[float, float]]:
    """Return what a scheduler of torch makes of a step size and of Adam's factors."""
    if schedule is None:
        return lr, betas
    optimizer = torch.optim.Adam([torch.zeros(())], lr=lr, betas=betas)
    scheduler: lr_scheduler.LRScheduler
    if schedule == "OneCycleLR":
        scheduler = lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=epochs)
    elif schedule == "CosineAnnealingLR":
        scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    else:
        raise ValueError(f"schedule = {schedule!r}, must be OneCycleLR or CosineAnnealingLR")
    for _ in range(epoch):
        optimizer.step()  # of nothing: schedulers want to be behind their optimiser
        scheduler.step()
    (group,) = optimizer.param_groups
    return float(group["lr"]), tuple(group["betas"])


@torch.no_grad()
def keep_norms(model: nn.Module) -> None:
    """Lower shifts of batch norms that would let units of the exported network fire unasked.

    As a learnt ``v_leak`` is kept below the threshold (`evsim.gradients.resting`), so is one with
    the norm folded in, with the averages that the norm has now.

    Parameters
    ----------
    model : Module
        Of layers of the grid.

    Examples
    --------
    >>> layer = LIF(2, 1, tau_mem=10e-3, dt=10e-3, batch_norm=True)
    >>> _ = nn.init.constant_(layer.norm.bias, 7.0)
    >>> keep_norms(layer)
    >>> round(layer.folded()["v_leak"].item(), 4)
    0.99
    """
    for layer in model.modules():
        if not isinstance(layer, LIF) or layer.norm is None:
            continue
        resting = layer.folded().get("v_leak")
        if resting is None:  # nothing is added
            continue
        reset = layer.cell("reset")
        highest = reset + HIGHEST * (layer.cell("threshold") - reset)
        excess = (resting - highest).clamp(min=0) / lift(layer, 1)
        layer.norm.bias.sub_(excess.to(layer.norm.bias))
