"""Traces on a grid, step after step: what a membrane makes of the arrivals at each synapse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from ...dense.flows import alpha, decay, psp
from ...dense.layers import _Fires
from .playing import Played, Player

Factors = tuple[Tensor, Tensor | None, Tensor | None]


class Membrane:
    """How the units of a layer filter what arrives; a spike's own effect is taken as given.

    Parameters
    ----------
    player : Player
        The layer.

    Attributes
    ----------
    keep, gain, keep_current : tensor [] or [post, 1]
        What a step leaves of voltage and current, and makes of current in voltage. Without a
        current, arrivals step the voltage.
    alike : bool
        Whether all units filter alike, so that one trace will do for all.
    """

    gain: Tensor | None = None
    keep_current: Tensor | None = None

    def __init__(self, player: Player) -> None:
        layer: _Fires = player.layer
        cells: dict[str, Any] = {name: getattr(layer, name).detach() for name in layer.cells}
        self.hard = layer.model != "SRM" and layer.reset_mode == "hard"
        self.holds = player.holds
        self.loses = layer.model == "LIF"  # what arrives in the refractory period
        mem = cells["tau_syn" if layer.model == "SRM" else "tau_mem"]
        keep = decay(mem, layer.dt)
        self.alike = not self.hard and not self.holds and mem.numel() == 1
        if layer.model != "LIF":
            syn = cells["tau_syn"]
            gain, current = psp(mem, syn, layer.dt), decay(syn, layer.dt)
            self.gain = _column(alpha(gain) if layer.model == "SRM" else gain, layer.weight)
            self.keep_current = _column(current, layer.weight)
            self.alike = self.alike and syn.numel() == 1
        self.keep = _column(keep, layer.weight)

    def factors(self, played: Sequence[Played], count: int) -> Iterator[Factors]:
        """Return what the first ``count`` steps keep of the voltage, make of current, and let in.

        Tensors that broadcast with [batch, post, pre]; the last is None where all is let in.
        """
        keep: Tensor = self.keep
        if not self.hard and not self.holds:
            for _ in range(count):
                yield keep, self.gain, None
            return
        done = 0
        for chunk in played:
            n_steps = min(chunk.fired.shape[1], count - done)
            done += n_steps
            keeps, gains, opens = self._of(chunk, n_steps)
            for k in range(n_steps):
                gain = self.gain if gains is None else gains[:, k]
                yield keeps[:, k], gain, None if opens is None else opens[:, k]

    def _of(self, chunk: Played, n_steps: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the same of one chunk, each [batch, step, post, 1]."""
        passing = self.keep.expand(chunk.fired.shape[2], 1)
        keeps = passing.expand(*chunk.fired[:, :n_steps].shape, 1)
        gains = opens = None
        if chunk.wait is not None:
            wait = chunk.wait[:, :n_steps, :, None]
            free = (wait == 0).to(keeps)
            keeps = keeps * free + (1 - free)
            if self.gain is not None:
                gains = self.gain * free
            if self.loses:
                opens = (wait <= 1).to(keeps)
        if self.hard:
            keeps = keeps * (1 - chunk.before[:, :n_steps, :, None])
        return keeps, gains, opens


class Filter:
    """The traces of one projection, and their product with errors.

    Parameters
    ----------
    membrane : Membrane
        Of the layer.
    size : sequence of int
        Recordings, units, sources.
    like : tensor
        Whose type and place they have.
    """

    def __init__(self, membrane: Membrane, size: Sequence[int], like: Tensor) -> None:
        self.membrane, self.size = membrane, tuple(size)
        batch, post, pre = size
        self.u = like.new_zeros(batch, 1 if membrane.alike else post, pre)
        self.i: Tensor | None = None
        if membrane.keep_current is not None:
            self.i = like.new_zeros(batch, len(membrane.keep_current), pre)
        self.product: Tensor | None = None  # [batch, post, pre]
        self.total: Tensor | None = None  # [post, pre], of traces that all units share

    def forget(self) -> None:
        """Start the sum of products anew."""
        self.product = self.total = None

    def step(self, arriving: Tensor, factors: Factors) -> None:
        """Go on to the next step, at which something arrives, [batch, post or 1, pre]."""
        keep, gain, open_ = factors
        if arriving.shape[1] > self.u.shape[1]:  # what arrives is different from now on
            self.u = self.u.repeat(1, arriving.shape[1], 1)
        if self.i is None:
            self.u.mul_(keep)
            if open_ is None:
                self.u.add_(arriving)
            else:
                self.u.addcmul_(arriving, open_)
            return
        if arriving.shape[1] > self.i.shape[1]:
            self.i = self.i.repeat(1, arriving.shape[1], 1)
        assert gain is not None and self.membrane.keep_current is not None
        self.u.mul_(keep).addcmul_(self.i, gain)
        self.i.mul_(self.membrane.keep_current).add_(arriving)

    def add(self, errors: Tensor) -> None:
        """Add the traces of this step times errors [batch, post]."""
        batch, post, pre = self.size
        if self.u.shape[1] == 1:
            if self.total is None:
                self.total = self.u.new_zeros(post, pre)
            self.total.addmm_(errors.T, self.u[:, 0])
            return
        if self.product is None:
            self.product = self.u.new_zeros(batch, post, pre)
        self.product.addcmul_(self.u, errors[:, :, None])

    def gradient(self) -> Tensor:
        """Return the sum over recordings and steps, [post, pre]."""
        found = self.u.new_zeros(self.size[1:]) if self.total is None else self.total
        return found if self.product is None else found + self.product.sum(0)

    def copy(self) -> tuple[Tensor, Tensor | None]:
        """Return the state of the traces."""
        return self.u.clone(), None if self.i is None else self.i.clone()


def _column(values: Tensor, like: Tensor) -> Tensor:
    """Return [] as [1, 1] and [post] as [post, 1]."""
    return values.to(like).view(-1, 1)
