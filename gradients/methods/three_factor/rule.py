"""``online`` and ``backward``: the rule of a model's kind, published on a grid, exact on events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from evsim import Spikes
from evsim.quantities import positive

from ...dense.on_grid import OnGrid
from ...tensors import as_tensors
from . import event_rule, grid_rule
from .bump import Causal
from .stages import Feedback, stages

WIDTH = 2e-3  # of a spike, where it is a bell [s]


def online(
    model: nn.Module,
    inputs: Spikes | Tensor,
    labels: Tensor,
    every: float | None = None,
    width: float = WIDTH,
    feedback: Feedback = None,
    causal: Causal = False,
) -> Iterator[Tensor]:
    """Learn while recordings are played: gradients by a three-factor rule, stretch by stretch.

    After every stretch the gradient of the mean cross-entropy of the values so far, which a
    readout would give if the recordings ended there, has been added to those of the parameters,
    as far as it passes through what happened in the stretch. The caller may take a step then,
    before the next stretch is asked for: voltages, currents, traces and spikes in flight go on.

    Parameters
    ----------
    model : Sequential
        Layers that spike, `Delay` s, and a readout, of events or of the grid.
    inputs : Spikes, list of them, or tensor [recording, step, unit]
        Recordings; a raster for dense layers.
    labels : int tensor, array or list [recording]
        Their classes.
    every : float or None
        Length of a stretch [s], whole steps on a grid; None for one of the whole recording.
    width : float
        Of the Gaussian that stands for a spike where its derivative by the delay is needed [s];
        on a grid. Events need none.
    feedback : tensor [class, unit], list of them, or None
        What sends errors back in place of the readout's own weights. Several layers that spike
        have a list, a tensor for each.
    causal : {False, True, "jump"}
        On a grid, whether the part of the Gaussian before the arrival is left out, which needs no
        look ahead. Alone, the rest points elsewhere than the gradient; with ``"jump"``, the one by
        which half a Gaussian begins, it is nearly as good as the whole (docs/rules.md).

    Returns
    -------
    iterator of tensor [recording, class]
        Values so far, at the end of each stretch.

    Raises
    ------
    TypeError
        If the model is none that a rule can look into.
    ValueError
        If something is trained that has no trace, or an argument does not fit; names it.
    RuntimeError
        In torch's inference mode. `torch.no_grad` does no harm.

    Notes
    -----
    Three factors: the activity of the unit that sends and the state of the one that receives,
    which make the trace of a synapse, and an error that the readout sends straight to every unit,
    with no path from unit to unit. On a grid the rule is that of Vassallo and TaheriNejad (2026),
    arXiv 2601.00668, in the form of e-prop (Bellec et al. 2020). On events the trace is
    the derivative of the unit's spike time, exact for given spikes of all others, see
    `evsim.gradients._local`: without a loop, in one layer, it is the gradient.
    """
    width = positive("width", width, "s")
    hidden, readout = stages(model)
    if isinstance(readout.layer, OnGrid):
        raster = _raster(model, inputs)
        return grid_rule.online(hidden, readout, raster, labels, every, width, feedback, causal)
    if causal:
        raise ValueError("causal = True: the exact rule of events looks at no later times anyway")
    return event_rule.online(hidden, readout, as_tensors(inputs, "model"), labels, every, feedback)


def backward(
    model: nn.Module,
    inputs: Spikes | Tensor,
    labels: Tensor,
    width: float = WIDTH,
    feedback: Feedback = None,
    causal: Causal = False,
) -> Tensor:
    """Add gradients by a three-factor rule, as ``cross_entropy(model(inputs), labels).backward()``.

    Parameters
    ----------
    model, inputs, labels, width, feedback, causal
        As for `online`.

    Returns
    -------
    tensor [recording, class]
        Values.

    Raises
    ------
    TypeError, ValueError
        As for `online`.

    Examples
    --------
    >>> import torch
    >>> from evsim.gradients import CubaLI, CubaLIF
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(CubaLIF(2, 8, 20e-3, 5e-3, delay="axonal"), CubaLI(8, 3, 20e-3, 5e-3))
    >>> spikes = Spikes([0.01, 0.02, 0.03], [0, 1, 0], size=2, duration=0.1)
    >>> values = backward(model, spikes, torch.tensor([1]))
    >>> by_rule = model[0].delay.grad.clone()
    >>> model.zero_grad()
    >>> nn.functional.cross_entropy(model(spikes), torch.tensor([1])).backward()
    >>> torch.allclose(by_rule, model[0].delay.grad)
    True
    """
    (values,) = online(model, inputs, labels, None, width, feedback, causal)
    return values


def _raster(model: Any, inputs: Any) -> Any:
    """Return what the first layer of a model on a grid is given."""
    if not isinstance(inputs, Spikes):
        return inputs
    if not hasattr(model, "raster"):
        raise TypeError(
            "inputs: are Spikes, but the model takes rasters; evsim.gradients.dense.to_raster "
            "makes one"
        )
    return model.raster(inputs)
