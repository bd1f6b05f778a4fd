"""Exact gradients of event-driven networks, as torch layers.

Layers take and return `evsim.Spikes`: `CubaLIF` and `SRM` spike, `CubaLI` and `LI` read out,
`Delay` delays. `Trainer` is the loop of ``evsim train``; `fit_weights`, `adam`, `waking` and
`Averaged` are its pieces, for loops of one's own. The rooms: `evsim.gradients.dense` (the
same layers on a time grid, with surrogate gradients), `evsim.gradients.lowbit` (weights and delays
of few bits), `evsim.gradients.methods` (published networks and their settings),
`evsim.gradients.cross_check` (both engines compared) and `evsim.gradients.reference` (a witness for
the adjoint).
"""

if __name__ != "evsim.gradients":  # else every module and class would be there twice
    raise ImportError(f"{__file__} is evsim's: import evsim.gradients")

from evsim.rooms import listing, loading

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("evsim.gradients needs torch: pip install evsim[torch]") from error

from .delays import Bounded, hold_delays, keep_delays
from .diagnostics import Diagnostics
from .layers import LI, SRM, CubaLI, CubaLIF, Delay
from .losses import FirstSpikeCrossEntropy, RelativeTime, TargetTime, first_spikes, spikemax
from .regularisers import delay_penalty, silent_loss, spike_count_regulariser, spike_counts
from .training.averages import Averaged
from .training.callbacks import Callback, Checkpoint, EarlyStopping
from .training.checkpoints import load_checkpoint, save_checkpoint
from .training.logs import CSVLog, TensorBoardLog
from .training.progress import EpochLines, ProgressBar
from .training.start import delay_model, fit_weights
from .training.step_sizes import adam, parameter_groups
from .training.trainer import Trainer, TrainOptions, score, train
from .training.waking import waking

__all__ = [
    "Averaged",
    "Bounded",
    "CSVLog",
    "Callback",
    "Checkpoint",
    "CubaLI",
    "CubaLIF",
    "Delay",
    "Diagnostics",
    "EarlyStopping",
    "EpochLines",
    "FirstSpikeCrossEntropy",
    "LI",
    "ProgressBar",
    "RelativeTime",
    "SRM",
    "TargetTime",
    "TensorBoardLog",
    "TrainOptions",
    "Trainer",
    "adam",
    "delay_model",
    "delay_penalty",
    "first_spikes",
    "fit_weights",
    "hold_delays",
    "keep_delays",
    "load_checkpoint",
    "parameter_groups",
    "save_checkpoint",
    "score",
    "silent_loss",
    "spike_count_regulariser",
    "spike_counts",
    "spikemax",
    "train",
    "waking",
]

_ROOMS = ("cross_check", "dense", "lowbit", "methods", "reference")
_ABSENT = {
    "LIF": "spike times of a LIF do not move smoothly, so there are no exact gradients; use CubaLIF"
    " or SRM, or evsim.gradients.dense.LIF with surrogate gradients"
}
__getattr__ = loading(__name__, _ROOMS, _ABSENT)
__dir__ = listing([*__all__, *_ROOMS])
