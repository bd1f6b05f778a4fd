"""The event engine and a time grid on the same network and the same spikes."""

from .job import DT as DT
from .job import cross_check as cross_check
from .job import window as window
from .records import CrossCheck as CrossCheck
from .records import Tolerances as Tolerances
