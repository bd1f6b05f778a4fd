"""Networks of DelRec as ``evsim train`` builds them, for what none of its options tells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from evsim.files import WholeFile
from evsim.train_rules import PUBLISHED

from ..methods.by_bits import take_values
from ..methods.by_values import valued
from ..methods.recipe import Recipe
from .interface import Trained

FILE = "parameters.pt"
# So small that a study of many trainings takes half an hour; more batches make up for it.
_USUAL: dict[str, Any] = {"hidden": (64, 64), "epochs": 15, "recordings": 800, "batch": 32}
_QUICK: dict[str, Any] = {"hidden": (32, 32), "epochs": 5, "recordings": 300, "batch": 16}


def sizes_of(quick: bool) -> dict[str, Any]:
    """Return units, epochs, recordings and batch of trainings that are many."""
    return dict(_QUICK if quick else _USUAL)


def on_grid(
    method: str, parts: Any, hidden: Sequence[int], dt: float, **changes: Any
) -> tuple[Any, Recipe]:
    """Return an untrained network, from `evsim.Spikes` to a value per class, and its settings.

    Parameters
    ----------
    method : {"delrec", "conv-delrec"}
        As ``evsim train`` is given it.
    parts : Parts
        The data, which tell inputs, classes, and how long a recording is.
    hidden : sequence of int
        Units of the hidden layers.
    dt : float
        Length of a step [s].
    **changes
        What is not as published, of `evsim.gradients.methods.lif_networks.Plan`.
    """
    train = parts.train
    sizes = (train.size if parts.worth is None else 1, *hidden, len(train.class_names))
    late = train.duration
    model, recipe = valued(PUBLISHED[method], sizes, dt, late, late, readout="votes", **changes)
    if parts.worth is not None:
        take_values(model[0], parts.worth)
    model.trimmed = True
    return model, recipe


def keep(trained: Trained) -> None:
    """Keep the parameters of a training's best epoch in its folder."""
    with WholeFile(trained.folder / FILE, overwrite=True) as path:
        torch.save(trained.trainer.model.state_dict(), path)


def kept_by(folder: Path) -> dict[str, torch.Tensor]:
    """Return the parameters that `keep` left in a folder.

    Raises
    ------
    ValueError
        If they are gone.
    """
    if not (folder / FILE).exists():
        raise ValueError(
            f"{folder / FILE} is gone; take the line of that point out of points.jsonl, too"
        )
    found: dict[str, torch.Tensor] = torch.load(folder / FILE)
    return found
