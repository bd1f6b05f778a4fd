"""Exact gradients of event-driven networks, as torch layers."""

if __name__ != "evsim.gradients":  # else every module and class would be there twice
    raise ImportError(f"{__file__} is evsim's: import evsim.gradients")

from .delays import Bounded as Bounded
from .delays import hold_delays as hold_delays
from .delays import keep_delays as keep_delays
from .diagnostics import Diagnostics as Diagnostics
from .layers import LI as LI
from .layers import SRM as SRM
from .layers import CubaLI as CubaLI
from .layers import CubaLIF as CubaLIF
from .layers import Delay as Delay
from .losses import FirstSpikeCrossEntropy as FirstSpikeCrossEntropy
from .losses import RelativeTime as RelativeTime
from .losses import TargetTime as TargetTime
from .losses import first_spikes as first_spikes
from .regularisers import silent_loss as silent_loss
from .regularisers import spike_count_regulariser as spike_count_regulariser
from .regularisers import spike_counts as spike_counts
from .training.start import delay_model as delay_model
from .training.start import fit_weights as fit_weights
from .training.step_sizes import parameter_groups as parameter_groups
from .training.trainer import Trainer as Trainer
from .training.trainer import TrainOptions as TrainOptions
from .training.trainer import score as score
from .training.trainer import train as train
