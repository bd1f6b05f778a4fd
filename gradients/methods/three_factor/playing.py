"""A layer that spikes, played on a grid a chunk of steps at a time: nothing is kept for longer."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...dense.bell import Bell
from ...dense.cells import Firing
from ...dense.delays import Steps
from ...dense.layers import _Fires
from ...dense.loops import Matrix, Ring
from ...dense.on_grid import counting_arrivals
from .arriving import Projection
from .stages import Stage


@dataclass(frozen=True)
class Watched(Firing):
    """How units fire, and at which voltages they did.

    Attributes
    ----------
    seen : list of pair of tensor
        Voltage minus threshold, and who could fire, of every step.
    """

    seen: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def spike(self, over: Tensor, may: Tensor) -> tuple[Tensor, Tensor]:
        """Return the spikes of units that may fire, twice."""
        self.seen.append((over, may))
        return super().spike(over, may)

    def slopes(self) -> Tensor:
        """Return the surrogate derivatives [batch, step, unit] of the steps seen last."""
        over, may = (torch.stack(one, 1) for one in zip(*self.seen, strict=True))
        self.seen.clear()
        return self.surrogate(over) * may


@dataclass(frozen=True)
class Played:
    """What a layer did in a chunk of steps; tensors [batch, step, unit].

    Attributes
    ----------
    given : tensor
        Its input.
    fired, slope : tensor
        Its spikes, and their surrogate derivatives by the voltage.
    before : tensor
        Its spikes a step earlier.
    wait : tensor or None
        Steps that units were still held, at the begin of each step; None if they never are.
    """

    given: Tensor
    fired: Tensor
    slope: Tensor
    before: Tensor
    wait: Tensor | None

    def after(self, count: int) -> Played:
        """Return all but the first steps."""
        given, fired, slope, before = (
            part[:, count:].clone() for part in (self.given, self.fired, self.slope, self.before)
        )
        wait = None if self.wait is None else self.wait[:, count:].clone()
        return Played(given, fired, slope, before, wait)


class Player:
    """A layer that plays on.

    Parameters
    ----------
    stage : Stage
        The layer.
    batch : int
        Recordings.
    moving : bool
        Whether parameters may change between stretches.
    """

    def __init__(self, stage: Stage, batch: int, moving: bool) -> None:
        layer: Any = stage.layer
        self.layer: _Fires = layer
        self.shifts, self.moving = stage.before, moving
        nothing = layer.weight.new_zeros(batch, layer.out_features)
        cells: dict[str, Any] = {name: getattr(layer, name).detach() for name in layer.cells}
        soft = layer.reset_mode == "soft"
        self.firing = Watched(layer.surrogate, soft, refire=layer.refire)
        self.units = layer.cells_of_model(cells, layer.dt, nothing, self.firing)
        self.holds = bool((getattr(self.units, "refractory", nothing) > 0).any())
        self.given = nothing.new_zeros(batch, 0, layer.in_features)
        self.own, self.last = nothing[:, None, :][:, :0], nothing

    def begin(self) -> None:
        """Look at the parameters, which may have moved."""
        layer = self.layer
        layer.refuse_illegal_parameters()
        found = layer.tensors()
        if not self.firing.refire and self.firing.soft and layer.model == "LIF":
            found = counting_arrivals(found)
        self.found = found
        self.entering = Projection(layer, "", self.shifts)
        self.back = self.entering.longest(self.moving)
        self.loop = self._loop()

    def _loop(self) -> Ring | Matrix | None:
        """Return the loop, with the spikes in it that are on their way."""
        weight = self.found.get("recurrent_weight")
        if weight is None:
            return None
        axonal, synaptic = self.layer.steps(self.found, "recurrent_", least=1)
        assert not isinstance(axonal, Bell)  # loops have none
        self.loop_back = Projection(self.layer, "recurrent_").longest(self.moving)
        steps: Any = synaptic if axonal is None else axonal.of(None)
        loop = (Ring if isinstance(steps, Steps) else Matrix)(weight, steps, len(self.given))
        for fired in self.own.unbind(1):
            loop.step()
            loop.send(fired)
        return loop

    def state(self) -> tuple[Any, ...]:
        """Return what `back_to` takes."""
        return self._units(), self.given, self.own, self.last

    def back_to(self, state: tuple[Any, ...]) -> None:
        """Go back to an earlier step, once."""
        self.units, self.given, self.own, self.last = state
        self.begin()

    def _units(self) -> Any:
        units: Any = copy(self.units)
        if hasattr(units, "flow"):
            units.flow = copy(units.flow)
        return units

    def play(self, raster: Tensor) -> Played:
        """Go on for the steps of a raster [batch, step, in]."""
        n_steps, dtype = raster.shape[1], self.layer.weight.dtype
        window = torch.cat([self.given, raster.to(dtype)], 1)
        late = window
        for module in self.shifts:
            late = module(late)
        arriving = self.layer.arrivals(late.to(dtype), self.found)[:, -n_steps:]
        fired, wait, earlier = [], [], self.last
        for now in arriving.unbind(1):
            if self.holds:
                wait.append(self.units.wait)
            if self.loop is not None:
                now = now + self.loop.step()
            fired.append(self.units.step(now))
            if self.loop is not None:
                self.loop.send(fired[-1])
        leaving, self.last = torch.stack(fired, 1), fired[-1]
        self.given = window[:, max(window.shape[1] - self.back, 0) :].clone()
        if self.loop is not None and self.moving:
            own = torch.cat([self.own, leaving], 1)
            self.own = own[:, max(own.shape[1] - self.loop_back, 0) :].clone()
        before = torch.cat([earlier[:, None], leaving[:, :-1]], 1)
        held = torch.stack(wait, 1) if wait else None
        return Played(raster, leaving, self.firing.slopes(), before, held)
