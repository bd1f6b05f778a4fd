"""What the dense layers have in common: a grid of steps, and arrivals on it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from evsim import Population
from evsim.quantities import positive

from ..delays import keep_delays
from ..synapses import Synapses
from ..tensors import refuse_elsewhere
from .bell import Bell
from .delays import DELAYS, OnSteps, arrivals, in_steps
from .loops import Loop, Matrix, Ring, loop_of, neighbours
from .spread import SIGMA, WIDE, acting, width_of


class OnGrid(Synapses):
    """A layer of `evsim.gradients` whose input is a raster.

    Parameters
    ----------
    dt : float
        Length of a step [s].
    delays : {"round", "interpolate", "floor", "spread", "gaussian"}
        What becomes of delays that are no multiples of ``dt``. Rounded ones have no gradient.
    *synapses, **options
        As the layer takes them.

    Attributes
    ----------
    sigma : float
        Of ``delays="spread"``: how much wider than interpolation a triangle is [steps]; of
        ``"gaussian"`` how much wider than 0.27 steps a bell.
    """

    sigma: float

    def __init__(self, *synapses: Any, dt: float, delays: str = "round", **options: Any) -> None:
        super().__init__(*synapses, **options)
        if self.tick is not None:
            raise ValueError("tick: times of a grid are counted in steps of dt")
        self.dt, self.delays = positive("dt", dt, "s"), checked_delays(delays)
        if delays == "floor":
            self._refuse_cut_delays()
        if delays == "gaussian" and getattr(self, "recurrent", None) is not None:
            raise ValueError(
                "delays = 'gaussian' is for what arrives through an input projection, not for "
                f"loops: leave recurrent = {self.recurrent!r} out, or take delays='spread'"
            )
        if delays in WIDE:
            self.sigma = SIGMA
        if delays == "spread":
            keep_delays(self)  # first ones of loops may be shorter than a step

    def _refuse_cut_delays(self) -> None:
        """Refuse ``delays="floor"`` where SLAYER has no gradient for what is learnt."""
        other = "take delays='round' or 'interpolate'"
        if self.delay_kind == "synaptic":
            raise ValueError(
                f"delays = 'floor' shifts whole units, not synapses: delay='synaptic' can't be cut "
                f"to steps; give delay='axonal' or 'dendritic', or {other}"
            )
        if "recurrent_delay" in self.delay_limits():
            raise ValueError(
                "delays = 'floor' has no gradient for the learnt delays of a loop: give one number "
                f"as recurrent_delay [s], or {other}"
            )

    def legal_limits(self) -> dict[str, tuple[float, float]]:
        """Return limits of delays [s] by name of the parameter, for what a user may put there."""
        return super().delay_limits()

    def delay_limits(self) -> dict[str, tuple[float, float]]:
        """Return the limits between which optimisers leave delays [s], by name of the parameter.

        Below a step a spread delay of a loop has no gradient and would stay where it is.
        """
        limits = super().delay_limits()
        if self.delays == "spread" and "recurrent_delay" in limits:
            low, high = limits["recurrent_delay"]
            limits["recurrent_delay"] = (max(low, min(self.dt, high)), high)
        return limits

    def checked(self, raster: Tensor) -> tuple[Tensor, dict[str, Tensor | None]]:
        """Return the raster in the type of the weights, and the `tensors` of the layer.

        Raises
        ------
        ValueError
            If the raster's shape does not fit, or a parameter is not legal.
        """
        if self.weight.is_meta:
            refuse_elsewhere(type(self).__name__, "its weight is", self.weight)
        raster = checked_raster(raster, self.in_features)
        found = self.acting_tensors()
        self.refuse_illegal_parameters()
        Population(type(self).__name__, self.model, self.out_features, **self.population())
        return raster.to(self.weight.dtype), found

    def acting_tensors(self) -> dict[str, Tensor | None]:
        """Return the `tensors` as the steps need them."""
        return self.tensors()

    def population(self) -> dict[str, Any]:
        """Return what an `evsim.Population` of the layer's units is built with."""
        return self.cell_values()

    def cell(self, name: str) -> Tensor:
        """Return a parameter of the units in the type of the weights."""
        found: Tensor = getattr(self, name)
        return found.to(self.weight)

    def arrivals(self, raster: Tensor, found: dict[str, Tensor | None]) -> Tensor:
        """Return what the input projection delivers, [batch, step, out]."""
        weight = found["weight"]
        assert weight is not None
        axonal, synaptic = self.steps(found, "", least=0)
        return arrivals(raster, weight, axonal, synaptic)

    def loop(
        self, batch: int, n_steps: int, found: dict[str, Tensor | None]
    ) -> Loop | Matrix | Ring | None:
        """Return the layer's projection onto itself, if it has one."""
        weight = found.get("recurrent_weight")
        if weight is None:
            return None
        axonal, synaptic = self.steps(found, "recurrent_", least=1)
        assert not isinstance(axonal, Bell) and not isinstance(synaptic, Bell)  # see __init__
        return loop_of(weight, axonal, synaptic, batch, n_steps)

    def steps(
        self, found: dict[str, Tensor | None], prefix: str, least: int
    ) -> tuple[OnSteps | None, OnSteps | None]:
        """Return axonal and synaptic delays of a projection in steps, ``least`` or more.

        Those of post units alone are a column, [post, 1].
        """
        how = acting(self.delays, getattr(self, "sigma", 0.0), self.training)
        wide = self.width(prefix, how) if how in WIDE else None
        axonal, synaptic = (found.get(prefix + name) for name in ("axonal_delay", "delay"))
        weight = found[f"{prefix}weight"]
        if synaptic is not None and weight is not None:
            if weight.ndim == 3:  # a kernel, whose units see the widths of those around them
                if wide is not None and wide.ndim:
                    wide = neighbours(wide[None], weight.shape[1], 1.0)
            elif getattr(self, f"{prefix}delay_kind") == "dendritic":
                synaptic = synaptic[:, :1]
        grid = self.dt, how, least, wide, self.max_delay
        return (
            None if axonal is None else in_steps(axonal, *grid),
            None if synaptic is None else in_steps(synaptic, *grid),
        )

    def width(self, prefix: str, delays: str) -> Tensor:
        """Return how wide delays are now [steps], those of all sending units or of each."""
        return self.weight.new_tensor(width_of(delays, self.sigma))

    def extra_repr(self) -> str:
        """Return sizes, what is learnt, and the step."""
        return f"{super().extra_repr()}, {described_grid(self)}"


def described_grid(layer: Any) -> str:
    """Return the step of a layer, and how wide its delays are, as a user would write them."""
    wide = f", delays={layer.delays!r}, sigma={layer.sigma:g}" if layer.delays in WIDE else ""
    return f"dt={layer.dt:g}{wide}"


def checked_delays(delays: str) -> str:
    """Return how delays are put on the grid."""
    if delays not in DELAYS:
        known = ", ".join(map(repr, DELAYS[:-1]))
        raise ValueError(f"delays = {delays!r}, must be {known} or {DELAYS[-1]!r}")
    return delays


def checked_raster(raster: Tensor, size: int) -> Tensor:
    """Return a raster whose shape fits a layer of ``size`` inputs."""
    if not torch.is_tensor(raster):
        raise ValueError(
            f"a dense layer takes a raster [batch, step, unit], not {type(raster).__name__}; "
            "evsim.gradients.dense.to_raster makes one of spikes"
        )
    if raster.ndim != 3 or raster.shape[1] == 0 or raster.shape[2] != size:
        raise ValueError(
            f"raster: shape {list(raster.shape)}, must be [batch, step, {size}] with a step or more"
        )
    return raster


def counting_arrivals(found: dict[str, Tensor | None]) -> dict[str, Tensor | None]:
    """Return the tensors of projections that deliver to twice as many units.

    The second half is given the number of arrivals. Weights may cancel, numbers don't; a
    weight of 0 is no connection.
    """
    found = dict(found)
    for prefix in ("", "recurrent_"):
        weight, delay = found.get(f"{prefix}weight"), found.get(f"{prefix}delay")
        if weight is not None:
            found[f"{prefix}weight"] = torch.cat([weight, (weight != 0).to(weight)])
        if delay is not None:
            found[f"{prefix}delay"] = torch.cat([delay, delay])
    return found
