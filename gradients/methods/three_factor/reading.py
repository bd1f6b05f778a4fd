"""A readout on the grid, so far: its values, and what arrivals at each step do to them."""

from __future__ import annotations

from copy import copy
from typing import Any

import torch
from torch import Tensor

from ...dense.flows import Weight, decay, integral, psp
from ...dense.readouts import _Reads
from .arriving import Projection
from .stages import Stage, hand_out


class Reader:
    """A readout that reads on.

    Parameters
    ----------
    stage : Stage
        The readout.
    batch : int
        Recordings.
    moving : bool
        Whether parameters may change between stretches.
    """

    def __init__(self, stage: Stage, batch: int, moving: bool) -> None:
        layer: Any = stage.layer
        self.layer: _Reads = layer
        self.shifts, self.moving = stage.before, moving
        self.nothing = layer.weight.new_zeros(batch, layer.out_features)
        self.cells: dict[str, Any] = {name: getattr(layer, name).detach() for name in layer.cells}
        self.units = layer.cells_of_model(self.cells, layer.dt, self.nothing)
        self.given = self.nothing.new_zeros(batch, 0, layer.in_features)
        self.now = 0
        self.charge = self.nothing
        self.highest = torch.full_like(self.nothing, -torch.inf)
        self.when = torch.zeros_like(self.nothing, dtype=torch.int64)  # it was there

    def begin(self) -> None:
        """Look at the parameters, which may have moved; a stretch of the recording begins."""
        self.layer.refuse_illegal_parameters()
        self.found = {n: None if t is None else t.detach() for n, t in self.layer.tensors().items()}
        self.entering = Projection(self.layer, "", self.shifts)
        self.back = self.entering.longest(self.moving)
        self.earlier = self.given

    def read(self, fired: Tensor) -> None:
        """Go on for the steps of the spikes [batch, step, unit] of the last layer."""
        window = torch.cat([self.given, fired], 1)
        arriving = self._arrivals(window, self.found)[:, -fired.shape[1] :]
        voltages = []
        for now in arriving.unbind(1):
            self.units.step(now)
            voltages.append(self.units.u)
        highest, when = torch.stack(voltages, 1).max(1)
        self.when = torch.where(highest > self.highest, when + self.now, self.when)
        self.highest = torch.maximum(highest, self.highest)
        if self.layer.output == "integral":
            steps = torch.arange(self.now, self.now + fired.shape[1], dtype=torch.float64)
            weight = self._weight().at(steps * self.layer.dt).to(arriving)
            self.charge = self.charge + (arriving * weight[:, None]).sum(1)
        self.now += fired.shape[1]
        self.given = self._kept(window)

    def _arrivals(self, raster: Tensor, found: dict[str, Tensor | None]) -> Tensor:
        for module in self.shifts:
            raster = module(raster)
        return self.layer.arrivals(raster.to(self.layer.weight.dtype), found)

    def _kept(self, window: Tensor) -> Tensor:
        return window[:, max(window.shape[1] - self.back, 0) :].clone()

    def _weight(self) -> Weight:
        return Weight(self.layer.tau_output, self.now * self.layer.dt)

    def values(self) -> Tensor:
        """Return what the readout would answer now, [batch, class]."""
        end = copy(self.units)
        end.step(self.nothing)
        leak = self.layer.cell("v_leak").detach()
        if self.layer.output == "last":
            return end.u + leak
        if self.layer.output == "max":
            return torch.maximum(self.highest, end.u).clamp(min=0) + leak
        weight = self._weight()
        taus = self.layer.cell("tau_mem"), self.cells.get("tau_syn")
        found = integral(self.charge, end.u, getattr(end, "i", None), taus, weight)
        return found + leak * weight.total

    def responses(self, of: Tensor, first: int, last: int) -> Tensor:
        """Return the gradient by arrivals at steps ``first`` to ``last - 1`` of the values so far.

        ``of`` is the gradient by the values, [batch, class]; it returns [batch, step, class].
        """
        steps = torch.arange(first, last, dtype=torch.float64, device=of.device)[:, None]
        if self.layer.output == "integral":
            weight, late = self._weight(), (self.now - steps) * self.layer.dt
            tau_mem, tau_syn = self.cells["tau_mem"], self.cells.get("tau_syn")
            current = None if tau_syn is None else decay(tau_syn, late)
            charge = weight.at(steps * self.layer.dt)
            found = integral(charge, self._voltage(late), current, (tau_mem, tau_syn), weight)
            return of[:, None] * found.to(of)
        when = torch.full_like(self.when, self.now)
        if self.layer.output == "max":
            end = copy(self.units)
            end.step(self.nothing)
            when = torch.where(end.u > self.highest, when, self.when)
            of = of * (torch.maximum(self.highest, end.u) >= 0)  # it starts at 0
        late = when[:, None] - steps
        voltage = self._voltage(late.clamp(min=0) * self.layer.dt).to(of)
        return of[:, None] * voltage * (late >= 0)

    def _voltage(self, late: Tensor) -> Tensor:
        """Return the voltage some time after an arrival."""
        tau_mem, tau_syn = self.cells["tau_mem"], self.cells.get("tau_syn")
        return decay(tau_mem, late) if tau_syn is None else psp(tau_mem, tau_syn, late)

    def errors(self, responses: Tensor, n_steps: int, feedback: Tensor | None) -> Tensor:
        """Return the gradient by the spikes of the layer before, [batch, step, unit].

        ``responses`` begin with the first of those steps, and go on as long as one arrives.
        ``feedback`` takes the place of the weights.
        """
        found = dict(self.found)
        if feedback is not None:
            found["weight"] = feedback.to(self.layer.weight)
        batch, length, _ = responses.shape
        silence = responses.new_zeros(batch, length, self.layer.in_features, requires_grad=True)
        with torch.enable_grad():
            arriving = self._arrivals(silence, found)
        return torch.autograd.grad(arriving, silence, responses)[0][:, :n_steps]

    def learn(self, fired: Tensor, responses: Tensor) -> None:
        """Add what a chunk of steps does to the gradients of weights and delays."""
        window = torch.cat([self.earlier, fired], 1)
        self.earlier = self._kept(window)
        if not (self.entering.learns_weights or self.entering.learns_delays):
            return
        with torch.enable_grad():
            arriving = self._arrivals(window, self.layer.tensors())[:, -fired.shape[1] :]
            if arriving.requires_grad:  # rounded delays alone have no gradient
                torch.autograd.backward(arriving, responses)

    def learn_leak(self, of: Tensor) -> None:
        """Add the gradient of the voltage that everything starts from."""
        leak: Any = self.layer.v_leak
        if leak.requires_grad:
            factor = self._weight().total if self.layer.output == "integral" else 1.0
            found = (factor * of).sum(0)
            hand_out({"v_leak": leak}, {"v_leak": found if leak.ndim else found.sum()})
