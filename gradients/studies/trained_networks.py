"""What the studies of late loops measure of a network that is trained."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import Any

import torch

from evsim import Network
from evsim.simulate import Simulator

from ..cross_check.by_events import by_events
from ..training.trainer import used
from .interface import Measured, Trained, Work
from .measuring import median_seconds, peak_mib

# A digit lasts 0.3 s, a recording of SHD 0.8 s: steps, and with them first delays and time
# constants, are half of the published.
_GRID: dict[str, Any] = {"dt": 5e-3, "epochs": 20}
# Kernels take the steps of matrices: with their own, tuned for more epochs, half as many digits
# are right after these.
_STEPS: dict[str, Any] = {"lr": 5e-3, "delay_lr": 5e-2 * _GRID["dt"]}
_EXACT: dict[str, Any] = {"epochs": 10, "patience": 0}
_QUICK_EPOCHS = 4
_ALONE = 20  # recordings, one at a time


def common(method: str, quick: bool) -> dict[str, Any]:
    """Return settings of all networks of a method: two hidden layers, all epochs."""
    units = 32 if quick else 64
    own = _EXACT if method == "exact" else _GRID
    return {
        "method": method, "hidden": (units, units), **own,
        **(_STEPS if method == "conv-delrec" else {}),
        **({"epochs": _QUICK_EPOCHS} if quick else {}),
    }  # fmt: skip


def measured(trained: Trained, work: Work) -> Measured:
    """Return decisions on the grid and by events, and what they cost.

    Parameters
    ----------
    trained : Trained
        By ``evsim train``.
    work : Work
        Of the point.

    Returns
    -------
    dict
        ``right`` of ``n``, as trained; ``equal`` of them decided alike by the event engine with
        the exported network, ``right_by_events``, and for what was trained on a grid
        ``equal_in_steps``, with delays and times in whole steps; hidden ``spikes`` of a recording
        as trained; ``numbers`` that are kept, ``trained_numbers`` and ``loop_numbers`` of them;
        ``epoch_seconds``; seconds of an inference, one recording at a time, on the grid and by
        events; ``step_mib``, the peak of a training step.
    """
    trainer, model = trained.trainer, trained.trainer.model
    net, test = Network.load(trained.folder / "network.h5"), work.parts().test
    kept = dict(model.named_parameters())
    loops = [p.numel() for name, p in kept.items() if ".recurrent_" in name or "spread" in name]
    one_by_one = [test[i : i + 1].spikes() for i in range(min(_ALONE, len(test)))]
    simulator = Simulator(net, record=[], threads=1)
    batch = next(trainer.training.batches(trainer.options.batch))
    costs: Measured = {
        "epoch_seconds": median(record["seconds"] for record in trainer.history),
        "events_inference_seconds": median_seconds(
            [partial(simulator.run, one) for one in one_by_one]
        ),
        "step_mib": peak_mib(partial(trainer.backward, batch)),
    }
    if (dt := getattr(model[0], "dt", None)) is None:
        decided = _exact(net, model, work)
    else:
        with torch.no_grad(), used(model):
            costs["grid_inference_seconds"] = median_seconds(
                [partial(model, one) for one in one_by_one]
            )
        decided = _on_grid(net, model, work, dt)
    return {
        "right": trained.right, "n": trained.n, **decided,
        "numbers": sum(p.numel() for p in kept.values()),
        "trained_numbers": sum(p.numel() for p in kept.values() if p.requires_grad),
        "loop_numbers": sum(loops), **costs,
    }  # fmt: skip


def _on_grid(net: Network, model: Any, work: Work, dt: float) -> Measured:
    """Compare with decisions by events: as the grid reads its readout, if no network does."""
    found = by_events(net, model, work.parts().test, dt)
    equal = list((found.equal_read or found.equal).values())
    right = found.right_read if found.equal_read else found.right
    return {
        "equal": equal[-1], "equal_in_steps": equal[0], "right_by_events": right,
        "spikes": found.grid_spikes / found.n, "spikes_by_events": found.event_spikes / found.n,
    }  # fmt: skip


def _exact(net: Network, model: Any, work: Work) -> Measured:
    """Compare layers of events with the engine that runs their network."""
    inner = [p.name for p in net.populations.values() if p.spiking and p.name != net.input]
    simulator, n = Simulator(net, inner, threads=1), 0
    equal = right = fired = 0
    for batch in work.parts().test.batches(64):
        result = simulator.run(batch)
        decided = result.output[net.output].argmax(axis=1)
        with torch.no_grad(), used(model):
            equal += int((model(batch).argmax(dim=1).numpy() == decided).sum())
        right += int((decided == batch.labels).sum())
        fired += sum(len(result.spikes[name].times) for name in inner)
        n += len(batch)
    return {
        "equal": equal, "right_by_events": right, "spikes": fired / n, "spikes_by_events": fired / n
    }  # fmt: skip
