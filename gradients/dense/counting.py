"""Models from spikes to values: dense layers behind a raster."""

from __future__ import annotations

from torch import Tensor, nn

from evsim import Spikes

from .on_grid import OnGrid
from .raster import to_raster


class FromSpikes(nn.Sequential):
    """Dense layers that take `Spikes`; what the last one returns is returned.

    Parameters
    ----------
    *layers
        As of ``Sequential``: modules, or a dict of them by name. The first one is a dense layer.
    binary : bool
        Keyword: whether an input unit has one spike at a step, however many fell there.
    trimmed : bool
        Keyword: whether a batch ends with the step of its last spike.
    tail : int
        Keyword: how many more steps it has then, for what arrives later.

    Raises
    ------
    ValueError
        If the first module is no dense layer.

    Examples
    --------
    >>> from evsim.gradients.dense import LI
    >>> model = FromSpikes(LI(2, 3, tau_mem=20e-3, dt=1e-3))
    >>> model(Spikes([0.001, 0.005], [0, 1], size=2, duration=0.01)).shape
    torch.Size([1, 3])
    """

    def __init__(
        self,
        *layers: nn.Module | dict[str, nn.Module],
        binary: bool = False,
        trimmed: bool = False,
        tail: int = 0,
    ) -> None:
        super().__init__(*layers)  # type: ignore[arg-type]
        self.binary, self.trimmed, self.tail = binary, trimmed, tail
        if not len(self) or not isinstance(self[0], OnGrid):
            raise ValueError(f"{type(self).__name__}: the first module must be a dense layer")

    def raster(self, spikes: Spikes) -> Tensor:
        """Return what the first layer is given, [batch, step, unit]."""
        first: OnGrid = self[0]  # type: ignore[assignment]
        raster = to_raster(spikes, first.dt, first.weight.dtype, first.weight.device)
        if self.trimmed:
            filled = raster.any(dim=2).any(dim=0).nonzero()
            raster = raster[:, : (int(filled.max()) if len(filled) else 0) + 1 + self.tail]
        return raster.clamp(max=1) if self.binary else raster

    def forward(self, spikes: Spikes) -> Tensor:
        """Return what the last layer does."""
        found: Tensor = super().forward(self.raster(spikes))
        return found


class Counting(FromSpikes):
    """Dense layers that take `Spikes` and return the spikes of every output unit, counted.

    Parameters
    ----------
    *layers, binary, trimmed, tail
        As of `FromSpikes`; the last layer spikes.

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

    def forward(self, spikes: Spikes) -> Tensor:
        """Return the spikes of every output unit, [batch, unit]."""
        return super().forward(spikes).sum(1)
