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
