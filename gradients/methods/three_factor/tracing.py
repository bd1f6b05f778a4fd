"""The rule in one layer: traces of weights and delays, times the errors that reach its units."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from .arriving import Projection
from .bump import bumps
from .filters import Filter, Membrane
from .playing import Played, Player
from .stages import hand_out


class Tracer:
    """Traces of all synapses of a layer.

    They follow the layer ``reach`` steps behind, as a spike moves its delay's trace before it
    arrives: what happened in between is kept.

    Parameters
    ----------
    player : Player
        The layer.
    batch : int
        Recordings.
    taps : tensor [2 reach + 1]
        See `bump`.
    """

    def __init__(self, player: Player, batch: int, taps: Tensor) -> None:
        self.player, self.taps = player, taps
        self.membrane = Membrane(player)
        self.pending: list[tuple[Played, Tensor]] = []
        layer = player.layer
        names = [""] if layer.recurrent is None else ["", "recurrent_"]
        self.ways = [Way(self, name, batch) for name in names]

    def begin(self) -> None:
        """Look at the parameters, which may have moved."""
        for way in self.ways:
            way.begin()

    @property
    def reach(self) -> int:
        """How many steps after an arrival's trace its spike must be known."""
        learnt = any(way.projection.learns_delays for way in self.ways)
        return len(self.taps) // 2 if learnt else 0

    def take(self, played: Played, errors: Tensor) -> None:
        """Go on for a chunk of steps, with errors [batch, step, unit] of its spikes."""
        self.pending.append((played, errors * played.slope))
        for way in self.ways:
            way.take(played)
        self._trace(max(0, self._waiting() - self.reach))

    def end(self, more: bool) -> None:
        """Count the steps that still wait for later spikes, and add all to the gradients.

        If there is ``more`` to come, the traces of these steps are made once more when those
        spikes are there, for what comes after.
        """
        states = [way.state() for way in self.ways] if more else []
        waiting = self.pending
        self._trace(self._waiting(), more)
        for way in self.ways:
            way.hand_out()
        if more:
            self.pending = [(played, torch.zeros_like(errors)) for played, errors in waiting]
            for way, state in zip(self.ways, states, strict=True):
                way.back_to(state)

    def _waiting(self) -> int:
        return sum(errors.shape[1] for _, errors in self.pending)

    def _trace(self, count: int, again: bool = False) -> None:
        """Make the traces of some steps and multiply them by the errors."""
        if not count:
            return
        played = [one for one, _ in self.pending]
        errors = torch.cat([one for _, one in self.pending], 1)[:, :count]
        for way in self.ways:
            way.trace(played, errors)
        if not again:
            for way in self.ways:
                way.pass_over(count, self._waiting())
            self.pending = list(_after(self.pending, count))


def _after(pending: list[tuple[Played, Tensor]], count: int) -> Iterator[tuple[Played, Tensor]]:
    """Return what is left after some steps."""
    for played, errors in pending:
        done = min(count, errors.shape[1])
        count -= done
        if done < errors.shape[1]:
            yield played.after(done), errors[:, done:].clone()


class Way:
    """The traces of one projection: input or loop.

    Parameters
    ----------
    tracer : Tracer
        Of its layer.
    prefix : {"", "recurrent_"}
        Which one.
    batch : int
        Recordings.
    """

    def __init__(self, tracer: Tracer, prefix: str, batch: int) -> None:
        self.tracer, self.prefix = tracer, prefix
        layer = tracer.player.layer
        pre = layer.out_features if prefix else layer.in_features
        reach = len(tracer.taps) // 2
        self.sources = layer.weight.new_zeros(batch, reach, pre)  # those of the next step come next
        self.before = reach
        size = (batch, layer.out_features, pre)
        self.of_weight, self.of_delay = (
            Filter(tracer.membrane, size, layer.weight) for _ in range(2)
        )

    def begin(self) -> None:
        """Look at the parameters, which may have moved."""
        player = self.tracer.player
        before = () if self.prefix else player.shifts
        self.projection = Projection(player.layer, self.prefix, before)
        self.back = self.projection.longest(player.moving) + len(self.tracer.taps) // 2

    def take(self, played: Played) -> None:
        """Note the spikes of the sources in a chunk of steps."""
        came = played.fired if self.prefix else played.given
        self.sources = torch.cat([self.sources, came.to(self.sources)], 1)

    def trace(self, played: list[Played], errors: Tensor) -> None:
        """Make the traces of some steps, and multiply them by what spikes there should change."""
        count, membrane = errors.shape[1], self.tracer.membrane
        rows = range(self.before, self.before + count)
        if self.projection.learns_weights:
            arriving = self.projection.arriving(self.sources, rows)
            _filter(self.of_weight, arriving, membrane.factors(played, count), errors)
        if self.projection.learns_delays:
            reach = len(self.tracer.taps) // 2
            around = bumps(functional.pad(self.sources, (0, 0, reach, reach)), self.tracer.taps)
            arriving = self.projection.arriving_rounded(around, rows)
            _filter(self.of_delay, arriving, membrane.factors(played, count), errors)

    def pass_over(self, count: int, waiting: int) -> None:
        """Forget what is needed no more when some of the steps that wait are done."""
        self.before += count
        spare = max(0, self.before - self.back)
        self.sources, self.before = self.sources[:, spare:].clone(), self.before - spare

    def state(self) -> list[tuple[Tensor, Tensor | None]]:
        """Return what `back_to` takes."""
        return [self.of_weight.copy(), self.of_delay.copy()]

    def back_to(self, state: list[tuple[Tensor, Tensor | None]]) -> None:
        """Go back to traces of an earlier step."""
        for one, (u, i) in zip((self.of_weight, self.of_delay), state, strict=True):
            one.u, one.i = u, i

    def hand_out(self) -> None:
        """Add what was found to the gradients of the parameters, and start anew."""
        layer, by_weight = self.tracer.player.layer, self.of_weight.gradient()
        by_delay = self.of_delay.gradient() * self.projection.weight
        with torch.enable_grad():
            found: dict[str, Tensor] = {
                f"{self.prefix}weight": by_weight,
                f"{self.prefix}delay": by_delay,
                f"{self.prefix}axonal_delay": by_delay.sum(0),
            }
            hand_out({n: t for n, t in layer.tensors().items() if n in found}, found)
            for module in self.projection.before:
                hand_out({"delay": module.delay}, {"delay": by_delay.sum(0)})
        self.of_weight.forget()
        self.of_delay.forget()


def _filter(traces: Filter, arriving: Iterator[Tensor], factors: Iterator, errors: Tensor) -> None:
    for now, factor, error in zip(arriving, factors, errors.unbind(1), strict=True):
        traces.step(now, factor)
        traces.add(error)
