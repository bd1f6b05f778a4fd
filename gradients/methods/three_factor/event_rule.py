"""The exact local rule on events: the trace of each synapse times the error of each spike.

A recording is played piece by piece, so that what is kept does not grow with its length. The error
of a spike depends on the end of the stretch, where the values are read: a stretch of several pieces
is played once for the values, and again with traces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evsim import Dense, Spikes
from evsim.arrays import FloatArray

from ...functional import network_of
from ...layers import Readout
from ...local_rule import Sent, Traces, local
from ...readout_gradients import Pull, pull, read
from ...reverse import Run, backward, forward
from ...tensors import sorted_numpy
from .stages import (
    Feedback,
    Stage,
    checked_feedback,
    checked_labels,
    gradient_of_loss,
    hand_out,
    stretches,
)

PIECE = 1 << 18  # spikes of a piece, about
_BUSY = 20.0  # rate that units are taken to have at first [Hz]
_TRACED = ("threshold", "reset", "refractory", "v_leak")  # of the parameters of units


def online(
    hidden: Sequence[Stage],
    readout: Stage,
    inputs: Spikes,
    labels: Tensor,
    every: float | None,
    feedback: Feedback,
) -> Iterator[Tensor]:
    """Play recordings once, and add gradients by the exact local rule after every stretch.

    Parameters
    ----------
    hidden, readout : list of Stage, Stage
        Of layers of events.
    inputs : Spikes
        Recordings.
    labels : int tensor [recording]
        Their classes.
    every, feedback
        As for `evsim.gradients.methods.three_factor.online`.

    Returns
    -------
    iterator of float64 tensor [recording, class]
        Values so far.

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    for stage in hidden:
        _refuse_time_constants(stage)
    back = checked_feedback(feedback, hidden, readout.layer.out_features)
    given = sorted_numpy(hidden[0].layer.job(inputs).spikes)[0]
    labels = checked_labels(labels, len(given), readout.layer.out_features)
    return _Network([*hidden, readout], back, given).run(labels, stretches(given.duration, every))


class _Network:
    """A model that plays recordings, stretch by stretch."""

    def __init__(
        self, layers: Sequence[Stage], back: Sequence[Tensor | None], given: Spikes
    ) -> None:
        self.players, self.back, self.given = [_Player(stage) for stage in layers], back, given
        n_units = sum(player.size for player in self.players[:-1])
        rate = max(len(given.times) / given.duration, _BUSY * n_units * len(given))  # [Hz]
        self.length = PIECE / max(rate, PIECE / given.duration)  # of a piece [s]
        self.counts = [np.zeros((len(given), p.size), np.int64) for p in self.players[:-1]]
        self.ways = [_Way() for _ in layers]
        self.traces: list[Traces | None] = [None] * len(self.counts)

    def run(self, labels: Tensor, ends: Sequence[float]) -> Iterator[Tensor]:
        """Go through all stretches; see `online`."""
        for begin, end in zip([0.0, *ends[:-1]], ends, strict=True):
            yield self._stretch(labels, begin, end, len(ends) > 1)
        for player, count in zip(self.players, self.counts, strict=False):
            layer: Any = player.stage.layer
            layer.remember(count, self.given.duration)

    def _stretch(self, labels: Tensor, begin: float, end: float, several: bool) -> Tensor:
        for player in self.players:
            player.take_parameters()
        at_begin, borders, pieces = self.ways, [begin], list[_Piece]()
        carry_on = several or end - begin > self.length
        while borders[-1] < end:
            pieces.clear()  # before the next one is played
            piece = self._play(borders[-1], self._border(borders[-1], end), self.ways, carry_on)
            self.ways, reader = piece.ways, piece.runs[-1]
            borders.append(reader.spikes.duration)
            self._count(piece)
            pieces.append(piece)
            del piece
        values = torch.from_numpy(read(reader, False))
        pulled = pull(reader, gradient_of_loss(values, labels).numpy())
        sums = [_Sums(player) for player in self.players]
        sums[-1].add_direct(pulled)
        if len(borders) > 2:
            pieces.clear()
        again = pieces if len(borders) == 2 else self._played(borders, at_begin)
        for piece in again:
            reader = replace(reader, inputs=piece.runs[-1].inputs)
            self._add(piece, sums, reader, pulled, carry_on)
            del piece
        for one in sums:
            one.hand_out()
        return values

    def _border(self, begin: float, end: float) -> float:
        """Return where a piece ends."""
        return end if end - begin <= self.length * (1 + 1e-9) else begin + self.length

    def _count(self, piece: _Piece) -> None:
        """Count the spikes of a piece, and make the next ones shorter if there were many."""
        for count, run in zip(self.counts, piece.runs, strict=False):
            count += run.spikes.counts()
        n_spikes = sum(len(run.inputs.times) for run in piece.runs)
        lasted = piece.runs[-1].spikes.duration - piece.begin
        self.length = min(self.length, lasted * PIECE / max(n_spikes, 1))

    def _played(self, borders: Sequence[float], ways: Sequence[_Way]) -> Iterator[_Piece]:
        """Play a stretch once more, piece by piece."""
        for begin, end in zip(borders[:-1], borders[1:], strict=True):
            piece = self._play(begin, end, ways, True)
            ways = piece.ways
            yield piece
            del piece

    def _play(self, begin: float, end: float, ways: Sequence[_Way], carry_on: bool) -> _Piece:
        """Play a piece, layer by layer."""
        spikes = _between(self.given, begin, end)
        piece = _Piece(begin, [], [], [])
        for player, way in zip(self.players, ways, strict=True):
            run, sent, after = player.play(way, spikes, begin if carry_on else None)
            piece.runs.append(run)
            piece.sent.append(sent)
            piece.ways.append(after)
            spikes = run.spikes
        return piece

    def _add(
        self, piece: _Piece, sums: Sequence[_Sums], reader: Run, pulled: Pull, carry_on: bool
    ) -> None:
        """Add the gradients of a piece, and carry the traces over it.

        ``reader`` is the readout's run to the end of the stretch, with what it was sent in the
        piece.
        """
        g = sums[-1].add_read(reader, pulled)
        for layer, (one, weights) in enumerate(zip(sums, self.back, strict=False)):
            run = piece.runs[layer]
            if weights is not None:
                last = layer == len(self.back) - 1
                g = sums[-1].errors(replace(reader, inputs=run.spikes), pulled, weights, last)
            player = one.player
            found, self.traces[layer] = local(
                run, piece.sent[layer], g, player.n_in + (player.size if player.loops else 0),
                one.late, piece.begin, self.traces[layer], carry_on, torch.get_num_threads(),
            )  # fmt: skip
            one.add_local(found)


@dataclass(frozen=True)
class _Way:
    """Where a population is between two pieces: its state, and the spikes on their way to it."""

    state: FloatArray | None = None
    flying: tuple[Sent, ...] = ()


@dataclass(frozen=True)
class _Piece:
    """What was played: by layers, their runs, all that was sent to them, and where they are."""

    begin: float
    runs: list[Run]
    sent: list[list[Sent]]
    ways: list[_Way]


class _Player:
    """A layer with the parameters it has during a stretch."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.size = stage, stage.layer.out_features
        self.n_in = stage.layer.in_features
        self.options: dict[str, Any] = {}
        if isinstance(stage.layer, Readout):
            self.options = {"output": stage.layer.output, "tau_output": stage.layer.tau_output}

    def take_parameters(self) -> None:
        """Take the parameters as they are now."""
        with torch.enable_grad():  # whoever asks for the next stretch
            self.tensors = self.stage.layer.tensors()
        values = {
            name: tensor.detach().double().numpy()
            for name, tensor in self.tensors.items()
            if tensor is not None
        }
        shape, must = list(values["weight"].shape), [self.size, self.n_in]
        if shape != must:
            raise ValueError(f"{self.stage.name}: weight has shape {shape}, must be {must}")
        axonal = sum((d.delay.detach().double().numpy() for d in self.stage.before), np.zeros(()))
        if self.stage.before:
            values["axonal_delay"] = values.get("axonal_delay", 0.0) + axonal
        self.values = values
        with self.stage.layer.blamed():
            self.net = network_of(self.stage.layer.model, self.options, values)

    @property
    def loops(self) -> bool:
        """Whether the layer has a loop."""
        return "recurrent_weight" in self.values

    def weights(self) -> FloatArray:
        """Return the weights [post, pre] of the input, then of the loop."""
        own = [self.values["recurrent_weight"]] if self.loops else []
        return np.concatenate([self.values["weight"], *own], axis=1)

    def sends(self, spikes: Spikes, own: bool = False) -> Sent:
        """Return spikes of the input, or the layer's own, on their way with the delays of now."""
        (path,) = (p for p in self.net.projections.values() if (p.pre != self.net.input) == own)
        assert isinstance(path, Dense)
        return Sent(spikes, self.n_in if own else 0, path)

    def play(self, way: _Way, spikes: Spikes, begin: float | None) -> tuple[Run, list[Sent], _Way]:
        """Run a piece; return what came of it, all that was sent, and where the layer is now.

        Without a beginning it is all there is.
        """
        stretch: dict[str, Any] = {}
        if begin is not None:
            flights = [(one.spikes, one.path) for one in way.flying]
            stretch = {"begin": begin, "state": way.state, "flights": flights}
        with self.stage.layer.blamed():
            run = forward(self.net, spikes, None, torch.get_num_threads(), **stretch)
        sent = [*way.flying, self.sends(spikes)]
        if self.loops:
            sent.append(self.sends(run.spikes, own=True))
        if begin is None:
            return run, sent, way
        flying = tuple(
            late for one in sent if len((late := one.after(spikes.duration)).spikes.times)
        )
        return run, sent, _Way(run.state, flying)


class _Sums:
    """Gradients of a layer, by the names of its tensors, of a stretch."""

    def __init__(self, player: _Player) -> None:
        self.player, self.found = player, dict[str, FloatArray]()
        delays = [t for n, t in player.tensors.items() if n.endswith("delay")]
        delays += [module.delay for module in player.stage.before]
        self.late = any(tensor is not None and tensor.requires_grad for tensor in delays)
        wanted = ("tau_mem", "tau_syn")
        self.taus = any(
            tensor is not None and tensor.requires_grad
            for tensor in (player.tensors.get(name) for name in wanted)
        )

    def _add(self, **more: FloatArray | None) -> None:
        for name, value in more.items():
            if value is not None:
                self.found[name] = self.found[name] + value if name in self.found else value

    def add_local(self, found: Any) -> None:
        """Add what `evsim.gradients.local_rule` found of a layer that spikes."""
        n_in = self.player.n_in
        self._add(
            weight=found.weight[:, :n_in], recurrent_weight=found.weight[:, n_in:],
            threshold=found.threshold, reset=found.reset, refractory=found.refractory,
            v_leak=-found.threshold - found.reset,
        )  # fmt: skip
        if found.delay is not None:
            delay = found.delay * self.player.weights()
            into, own = delay[:, :n_in], delay[:, n_in:]
            self._add(
                delay=into, axonal_delay=into.sum(axis=0),
                recurrent_delay=own, recurrent_axonal_delay=own.sum(axis=0),
            )  # fmt: skip

    def add_direct(self, pulled: Pull) -> None:
        """Add what the values of a readout owe to its parameters themselves."""
        self._add(tau_mem=pulled.tau_mem, tau_syn=pulled.tau_syn, v_leak=pulled.v_leak)

    def add_read(self, run: Run, pulled: Pull) -> FloatArray:
        """Add what a readout makes of the spikes it was sent; return dL/dtime of each."""
        g = self._back(run, pulled, self.taus)
        self._add(
            weight=g.weight, delay=g.delay, tau_mem=g.tau_mem, tau_syn=g.tau_syn,
            axonal_delay=np.bincount(run.inputs.units, g.in_times, run.inputs.size).astype(float),
        )  # fmt: skip
        return np.asarray(g.in_times)

    def errors(self, run: Run, pulled: Pull, weights: Tensor, late: bool) -> FloatArray:
        """Return dL/dtime of spikes if a readout with other weights were sent them straight."""
        values = {n: v for n, v in self.player.values.items() if late or not n.endswith("delay")}
        values["weight"] = weights.double().numpy()
        net = network_of(self.player.stage.layer.model, self.player.options, values)
        return np.asarray(self._back(replace(run, net=net), pulled, False).in_times)

    def _back(self, run: Run, pulled: Pull, taus: bool) -> Any:
        return backward(run, np.empty(0), pulled.kicks, taus, threads=torch.get_num_threads())

    def hand_out(self) -> None:
        """Add them to the gradients of the parameters."""
        found = {name: torch.from_numpy(value) for name, value in self.found.items()}
        hand_out(self.player.tensors, found)
        for module in self.player.stage.before:
            hand_out({"axonal_delay": module.delay}, found)


def _between(given: Spikes, begin: float, end: float) -> Spikes:
    """Return the spikes of a piece, which ends at ``end``."""
    bounds = zip(given.offsets[:-1].tolist(), given.offsets[1:].tolist(), strict=True)
    parts = []
    for first, last in bounds:
        low, high = np.searchsorted(given.times[first:last], (begin, end))
        parts.append(slice(first + int(low), first + int(high)))
    times, units = (
        np.concatenate([values[part] for part in parts] or [values[:0]])
        for values in (given.times, given.units)
    )
    offsets = np.cumsum([0, *(part.stop - part.start for part in parts)])
    return given.replace(times, units, offsets, duration=end, labels=None)


def _refuse_time_constants(stage: Stage) -> None:
    for name in stage.layer.learn:
        if name not in _TRACED:
            raise ValueError(
                f"{stage.name}: learn = {name!r}, but there are no traces of time constants: "
                "leave it fixed, or train by the exact gradient"
            )
