"""Exact gradients of event-driven networks, as torch layers."""

from evsim.gradients.delays import Bounded as Bounded
from evsim.gradients.delays import hold_delays as hold_delays
from evsim.gradients.delays import keep_delays as keep_delays
from evsim.gradients.diagnostics import Diagnostics as Diagnostics
from evsim.gradients.layers import LI as LI
from evsim.gradients.layers import SRM as SRM
from evsim.gradients.layers import CubaLI as CubaLI
from evsim.gradients.layers import CubaLIF as CubaLIF
from evsim.gradients.layers import Delay as Delay
from evsim.gradients.losses import FirstSpikeCrossEntropy as FirstSpikeCrossEntropy
from evsim.gradients.losses import RelativeTime as RelativeTime
from evsim.gradients.losses import TargetTime as TargetTime
from evsim.gradients.losses import first_spikes as first_spikes
from evsim.gradients.models import delay_model as delay_model
from evsim.gradients.models import fit_weights as fit_weights
from evsim.gradients.regularisers import silent_loss as silent_loss
from evsim.gradients.regularisers import spike_count_regulariser as spike_count_regulariser
from evsim.gradients.regularisers import spike_counts as spike_counts
from evsim.gradients.step_sizes import parameter_groups as parameter_groups
from evsim.gradients.train import Trainer as Trainer
from evsim.gradients.train import TrainOptions as TrainOptions
