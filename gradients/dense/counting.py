"""A model from spikes to how often each output unit fires."""

from __future__ import annotations

from torch import Tensor, nn

from evsim import Spikes

from .on_grid import OnGrid
from .raster import to_raster


class Counting(nn.Sequential):
    """Dense layers that take `Spikes` and return the spikes of every output unit, counted.

    Parameters
    ----------
    *layers
        As of ``Sequential``: modules, or a dict of them by name. The first one is a dense layer;
        the last one spikes.
    binary : bool
        Keyword: whether an input unit has one spike at a step, however many fell there.

    Raises
    ------
    ValueError
        If the first module is no dense layer.

    Examples
    --------
    >>> import torch
    >>> from evsim.gradients.dense import LIF
    >>> layer = LIF(2, 3, tau_mem=20e-3, dt=1e-3)
    >>> _ = torch.nn.init.constant_(layer.weight, 2.0)
    >>> Counting(layer)(Spikes([0.001, 0.005], [0, 1], size=2, duration=0.01))
    tensor([[2., 2., 2.]], grad_fn=<SumBackward1>)
    """

    def __init__(self, *layers: nn.Module | dict[str, nn.Module], binary: bool = False) -> None:
        super().__init__(*layers)  # type: ignore[arg-type]
        self.binary = binary
        if not len(self) or not isinstance(self[0], OnGrid):
            raise ValueError("Counting: the first module must be a dense layer")

    def raster(self, spikes: Spikes) -> Tensor:
        """Return what the first layer is given, [batch, step, unit]."""
        first: OnGrid = self[0]  # type: ignore[assignment]
        raster = to_raster(spikes, first.dt, first.weight.dtype, first.weight.device)
        return raster.clamp(max=1) if self.binary else raster

    def forward(self, spikes: Spikes) -> Tensor:
        """Return the spikes of every output unit, [batch, unit]."""
        fired: Tensor = super().forward(self.raster(spikes))
        return fired.sum(1)
