"""Online rules for weights and delays: a trace at each synapse, and an error from the readout."""

from .grid_rule import online
from .traces import Eligibility, eligibility

__all__ = ["Eligibility", "eligibility", "online"]
