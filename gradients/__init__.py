"""Exact gradients of event-driven networks, as torch layers.

Layers take and return `evsim.Spikes`: `CubaLIF` and `SRM` spike, `CubaLI` and `LI` read out,
`Delay` delays. `Trainer` is the loop of ``evsim train``. The rooms: `evsim.gradients.dense` (the
same layers on a time grid, with surrogate gradients), `evsim.gradients.cross_check` (both engines
compared) and `evsim.gradients.reference` (a witness for the adjoint).
"""

if __name__ != "evsim.gradients":  # else every module and class would be there twice
    raise ImportError(f"{__file__} is evsim's: import evsim.gradients")

from evsim.rooms import doors

from .delays import Bounded, hold_delays, keep_delays
from .diagnostics import Diagnostics
from .layers import LI, SRM, CubaLI, CubaLIF, Delay
from .losses import FirstSpikeCrossEntropy, RelativeTime, TargetTime, first_spikes
from .regularisers import silent_loss, spike_count_regulariser, spike_counts
from .training.start import delay_model, fit_weights
from .training.step_sizes import parameter_groups
from .training.trainer import Trainer, TrainOptions, score, train

__all__ = [
    "Bounded",
    "CubaLI",
    "CubaLIF",
    "Delay",
    "Diagnostics",
    "FirstSpikeCrossEntropy",
    "LI",
    "RelativeTime",
    "SRM",
    "TargetTime",
    "TrainOptions",
    "Trainer",
    "delay_model",
    "first_spikes",
    "fit_weights",
    "hold_delays",
    "keep_delays",
    "parameter_groups",
    "score",
    "silent_loss",
    "spike_count_regulariser",
    "spike_counts",
    "train",
]

__getattr__, __dir__ = doors(__name__, __all__, ("cross_check", "dense", "reference"))
