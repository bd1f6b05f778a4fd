"""What the studies of late loops measure of a network that is trained."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch

from evsim import Network, Simulator, Spikes
from evsim.train_options import TrainOptions

from ..cross_check.by_events import by_events
from ..methods.by_values import valued, valued_method
from ..training.trainer import Trainer, used
from .exported import agreement
from .interface import Measured, Trained, Work
from .measuring import in_turn, peak_mib

# A digit lasts 0.3 s, a recording of SHD 0.8 s: steps, and with them first delays and time
# constants, are half of the published.
_GRID: dict[str, Any] = {"dt": 5e-3, "epochs": 20}
# Kernels take the steps of matrices: with their own, tuned for more epochs, half as many digits
# are right after these. That of delays is in steps of the grid.
_LR, _DELAY_LR = 5e-3, 5e-2
_EXACT: dict[str, Any] = {"epochs": 10, "patience": 0}
_LEAST_STEPS, _MOST_STEPS = 20, 2000  # of a recording
_QUICK_EPOCHS = 4
_ALONE = 20  # recordings, one at a time
_BATCH = 64
_ROUNDS = 5


def common(method: str, quick: bool, dt: float | None = None) -> dict[str, Any]:
    """Return settings of all networks of a method: two hidden layers, all epochs.

    On a grid of steps of ``dt`` [s], see `step_of`; of 5 ms if left out.
    """
    units = 32 if quick else 64
    own = _EXACT if method == "exact" else _GRID | ({} if dt is None else {"dt": dt})
    steps = {"lr": _LR, "delay_lr": _DELAY_LR * own.get("dt", 0.0)}
    return {
        "method": method, "hidden": (units, units), **own,
        **(steps if method == "conv-delrec" else {}),
        **({"epochs": _QUICK_EPOCHS} if quick else {}),
    }  # fmt: skip


def step_of(duration: float) -> float:
    """Return the step of a grid for recordings of a duration [s], 5 ms unless they are short.

    Or so long that there were thousands of steps.

    Examples
    --------
    >>> step_of(2.3), step_of(0.02)
    (0.005, 0.001)
    """
    return min(max(float(_GRID["dt"]), duration / _MOST_STEPS), duration / _LEAST_STEPS)


def measured(trained: Trained, work: Work, late: bool = True) -> Measured:
    """Return decisions on the grid and by events, and what they cost.

    Parameters
    ----------
    trained : Trained
        By ``evsim train``.
    work : Work
        Of the point.
    late : bool
        Whether delays of loops are kept: nobody needs those of a step.

    Returns
    -------
    dict
        ``right`` of ``n``, as trained. Decisions of the event engine with the exported network:
        ``decisions_that_agree`` with those of the model, and ``right_by_events``; a model that
        reads its readout as no network does reads the engine's voltages so, and
        ``decisions_that_agree_of_network`` is as ``evsim simulate`` decides;
        ``decisions_that_agree_in_steps`` with delays and times in whole steps. ``spikes`` of a
        recording, of all but inputs, as trained and by events. ``numbers`` that
        are kept, ``trained_numbers`` and ``loop_numbers`` of them. Costs: see `_costs`.
    """
    trainer, model = trained.trainer, trained.trainer.model
    net, test = Network.load(trained.folder / "network.h5"), work.parts().test
    dt = getattr(model[0], "dt", None)
    decided = _exact(net, model, test) if dt is None else _on_grid(net, model, test, dt)
    kept = dict(model.named_parameters())
    if not late:
        kept = {name: p for name, p in kept.items() if not name.endswith("recurrent_delay")}
    loops = [p.numel() for name, p in kept.items() if ".recurrent_" in name or "spread" in name]
    return {
        "right": trained.right, "n": trained.n, **decided,
        "numbers": sum(p.numel() for p in kept.values()),
        "trained_numbers": sum(p.numel() for p in kept.values() if p.requires_grad),
        "loop_numbers": sum(loops), **_costs(net, trainer, work),
    }  # fmt: skip


def _costs(net: Network, trainer: Any, work: Work) -> Measured:
    """Return what training and inference cost.

    Seconds of an epoch; of a training step of 64 recordings, the median beside that of a network
    without a loop, in turn with it, and its peak memory; seconds of an inference, one recording at
    a time, on the grid and by events in turn. A step moves averages of batch norms: the model is
    another one afterwards.
    """
    model, test = trainer.model, work.parts().test
    simulator = Simulator(net, record=[], threads=1)
    ones = [test[i : i + 1].spikes() for i in range(min(_ALONE, len(test)))]
    with torch.no_grad(), used(model):
        runs = [in_turn((partial(model, one), partial(simulator.run, one)), 1) for one in ones]
    grid, events = (median(times[0] for times in both) for both in zip(*runs, strict=True))
    batch = next(work.parts().train.batches(_BATCH))
    step = partial(trainer.backward, batch)
    own, others = in_turn((step, partial(_partner(trainer, work), batch)), _ROUNDS)
    found: Measured = {
        "epoch_seconds": median(record["seconds"] for record in trainer.history),
        "relative_step_seconds": median(a / b for a, b in zip(own, others, strict=True)),
        "step_mib": peak_mib(step),
        "events_inference_seconds": events,
    }
    if hasattr(model[0], "dt"):
        found["grid_inference_seconds"] = grid
    return found


def _partner(trainer: Any, work: Work) -> Callable[[Spikes], object]:
    """Return the training step of a network without a loop on the grid, of the same size."""
    sizes = [work.parts().train.size, *common("delrec", work.quick)["hidden"]]
    duration, dt = work.parts().train.duration, _GRID["dt"]
    n_classes = len(work.parts().train.class_names)
    model, recipe = valued("delrec-shd", (*sizes, n_classes), dt, duration, duration, loops=False)
    parts = (trainer.training, trainer.validation)
    options = TrainOptions(wake=0.0)
    return Trainer(model, *parts, options, None, [], valued_method(recipe)).backward


def _on_grid(net: Network, model: Any, test: Any, dt: float) -> Measured:
    found = by_events(net, model, test, dt)
    equal = list((found.equal_read or found.equal).values())
    right = found.right_read if found.equal_read else found.right
    return {
        "decisions_that_agree": equal[-1], "right_by_events": right,
        "decisions_that_agree_in_steps": equal[0],
        "decisions_that_agree_of_network": list(found.equal.values())[-1],
        "spikes": found.grid_spikes / found.n, "spikes_by_events": found.event_spikes / found.n,
    }  # fmt: skip


def _exact(net: Network, model: Any, test: Any) -> Measured:
    """Compare layers of events with the engine that runs their network."""
    found = agreement(net, model, test)
    own = {"decisions_that_agree_of_network": "decisions_that_agree", "spikes_by_events": "spikes"}
    return {**found, **{name: found[other] for name, other in own.items()}}
