"""Online rules for weights and delays: a trace at each synapse, and an error from the readout."""

from .rule import backward, online
from .traces import Eligibility, eligibility

__all__ = ["Eligibility", "backward", "eligibility", "online"]
