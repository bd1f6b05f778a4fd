"""The published rule on a grid: online, with errors that go straight to every unit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from evsim.quantities import positive

from ...dense.on_grid import checked_raster
from .bump import Causal, bump
from .playing import Played, Player
from .reading import Reader
from .stages import Feedback, Stage, checked_feedback, checked_labels, gradient_of_loss
from .tracing import Tracer

CHUNK = 50  # steps that are played at a time; as many as the longest delay has, if that is longer


def online(
    hidden: Sequence[Stage],
    readout: Stage,
    raster: Tensor,
    labels: Tensor,
    every: float | None,
    width: float,
    feedback: Feedback,
    causal: Causal,
) -> Iterator[Tensor]:
    """Play recordings once, and add gradients to those of the parameters on the way.

    Parameters
    ----------
    hidden, readout : list of Stage, Stage
        Of dense layers.
    raster : tensor [batch, step, unit]
        Recordings.
    labels : int64 tensor [batch]
        Classes.
    every : float or None
        Length of the stretches after each of which there are gradients [s]: whole steps. Without
        it there is one stretch, the recordings.
    width : float
        Standard deviation of the Gaussian that stands for a spike where a delay moves it [s].
    feedback : tensor [class, unit], list of them or None
        Weights that send the errors back, those of the readout if left out; with several layers
        one for each.
    causal : {False, True, "jump"}
        Whether the Gaussian has no part before the arrival, see `online`.

    Yields
    ------
    tensor [batch, class]
        What the readout would answer if the recordings ended here. The gradient by the rule of
        their mean cross-entropy has been added to ``.grad``, for what happened since the last
        time. Parameters may be moved before it goes on.

    Raises
    ------
    TypeError, ValueError
        If the model, or something in it that is learnt, has no traces, or an argument can't be;
        named before anything is computed.
    """
    raster = checked_raster(raster, hidden[0].layer.in_features)
    if raster.is_meta or raster.layout != torch.strided or not raster.isfinite().all():
        raise ValueError("inputs: must be a dense tensor of finite numbers")
    labels = checked_labels(labels, len(raster), readout.layer.out_features)
    sent_back = checked_feedback(feedback, hidden, readout.layer.out_features)
    dt = _one_step([*hidden, readout])
    taps = bump(width, dt, causal)
    for stage in [*hidden, readout]:
        _refuse_cells(stage, ("v_leak",) if stage is readout else ())
    stretch = raster.shape[1] if every is None else _whole_steps(every, dt)
    network = _Network(hidden, readout, sent_back, taps, len(raster), stretch < raster.shape[1])
    return network.run(raster, labels, stretch)


class _Network:
    """A model that plays on, in stretches."""

    def __init__(
        self,
        hidden: Sequence[Stage],
        readout: Stage,
        feedback: Sequence[Tensor | None],
        taps: Tensor,
        batch: int,
        moving: bool,
    ) -> None:
        self.feedback = feedback
        self.players = [Player(stage, batch, moving) for stage in hidden]
        self.reader = Reader(readout, batch, moving)
        self.tracers = [Tracer(player, batch, taps) for player in self.players]
        self.counts: list[Any] = [0] * len(self.players)  # of spikes [batch, unit]

    def run(self, raster: Tensor, labels: Tensor, stretch: int) -> Iterator[Tensor]:
        """Go through all stretches; see `online`."""
        n_steps = raster.shape[1]
        for first in range(0, n_steps, stretch):
            last = min(first + stretch, n_steps)
            with torch.no_grad():  # not while others compute
                values = self._stretch(raster, labels, first, last)
            yield values
        for player, counts in zip(self.players, self.counts, strict=True):
            player.layer.remember(counts, n_steps * player.layer.dt)

    def _stretch(self, raster: Tensor, labels: Tensor, first: int, last: int) -> Tensor:
        parts: list[Any] = [*self.players, self.reader, *self.tracers]
        for part in parts:
            part.begin()
        size = max(CHUNK, self.reader.back, *(player.back for player in self.players))
        starts = range(first, last, size)
        chunks = [(start, min(start + size, last)) for start in starts]
        states = [player.state() for player in self.players]
        for start, stop in chunks:
            played = self._play(raster[:, start:stop])
            self.reader.read(played[-1].fired)
        values = self.reader.values()
        of = gradient_of_loss(values, labels)
        if len(chunks) > 1:
            for player, state in zip(self.players, states, strict=True):
                player.back_to(state)
        for start, stop in chunks:
            if len(chunks) > 1:
                played = self._play(raster[:, start:stop])
            self._learn(played, of, start, stop)
        self.reader.learn_leak(of)
        for tracer in self.tracers:
            tracer.end(more=last < raster.shape[1])
        return values

    def _play(self, raster: Tensor) -> list[Played]:
        """Play the layers that spike for a chunk of steps."""
        found = []
        for player in self.players:
            found.append(player.play(raster))
            raster = found[-1].fired
        return found

    def _learn(self, played: list[Played], of: Tensor, start: int, stop: int) -> None:
        """Send the errors of a chunk of steps to the readout, and back to every unit."""
        reader, n_steps = self.reader, stop - start
        self.counts = [n + one.fired.sum(1) for n, one in zip(self.counts, played, strict=True)]
        later = min(stop + reader.back, reader.now)
        responses = reader.responses(of, start, later)
        reader.learn(played[-1].fired, responses[:, :n_steps])
        *earlier, final = self.feedback
        for tracer, one, weight in zip(self.tracers[:-1], played[:-1], earlier, strict=True):
            assert weight is not None
            tracer.take(one, responses[:, :n_steps] @ weight.to(responses))
        self.tracers[-1].take(played[-1], reader.errors(responses, n_steps, final))


def _one_step(found: Sequence[Stage]) -> float:
    """Return the step of all layers [s]."""
    dts: dict[str, Any] = {}
    for stage in found:
        dts.update({f"a Delay before {stage.name}": one.dt for one in stage.before})
        dts[stage.name] = stage.layer.dt
    name, dt = next(iter(dts.items()))
    for other, value in dts.items():
        if value != dt:
            raise ValueError(f"{other}: dt = {value:g} s, but {name} has {dt:g} s; give them one")
    return float(dt)


def _whole_steps(every: float, dt: float) -> int:
    steps = round(positive("every", every, "s") / dt)
    if steps < 1 or abs(every / dt - steps) > 1e-6 * steps:
        raise ValueError(f"every = {every:g} s, must be a whole number of steps of {dt:g} s")
    return steps


def _refuse_cells(stage: Stage, but: Sequence[str]) -> None:
    """Refuse parameters of units that are learnt and have no trace."""
    layer = stage.layer
    for name in layer.cells:
        if name not in but and getattr(layer, name).requires_grad:
            raise ValueError(
                f"{stage.name}: {name} is learnt, but has no trace; leave it out of learn=, or "
                "train by another method"
            )
