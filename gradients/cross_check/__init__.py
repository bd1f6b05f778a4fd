"""The event engine and a time grid on the same network and the same spikes."""

from evsim.gradients.cross_check.records import CrossCheck as CrossCheck
from evsim.gradients.cross_check.records import Tolerances as Tolerances
from evsim.gradients.cross_check.run import DT as DT
from evsim.gradients.cross_check.run import cross_check as cross_check
from evsim.gradients.cross_check.run import window as window
