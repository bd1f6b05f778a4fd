"""Exact event-driven simulation of spiking neural networks with real-valued delays.

`simulate` runs a `Network` on `Spikes`; both are made in Python or loaded from files. The rooms:
`evsim.gradients` (layers for torch with exact gradients, training), `evsim.datasets` (recordings,
encoders, transforms), `evsim.plots` (pictures), `evsim.interop` (NIR) and `evsim.reference` (the
engine once more, in plain Python).
"""

# First: what follows takes a while, and Ctrl-C must not end in a traceback.
from evsim import interrupts as interrupts
from evsim.budget import allow_memory
from evsim.errors import NotFiniteError, RunawayError
from evsim.files import (
    FileError,
    ResultWriter,
    SpikeFile,
    load_network,
    load_result,
    load_spikes,
    network_digest,
    save_network,
    save_result,
    save_spikes,
)
from evsim.files.demo import demo_path
from evsim.levels import Levels
from evsim.network import Network, Population
from evsim.projections import Conv1d, Conv2d, Dense, Sparse
from evsim.result import Result
from evsim.rooms import listing, loading, look_beside
from evsim.simulate import Simulator, simulate
from evsim.spikes import Spikes
from evsim.taken_spikes import concatenate
from evsim.version import VERSION

__all__ = [
    "Conv1d",
    "Conv2d",
    "Dense",
    "FileError",
    "Levels",
    "Network",
    "NotFiniteError",
    "Population",
    "Result",
    "ResultWriter",
    "RunawayError",
    "Simulator",
    "Sparse",
    "SpikeFile",
    "Spikes",
    "allow_memory",
    "concatenate",
    "demo_path",
    "load_network",
    "load_result",
    "load_spikes",
    "network_digest",
    "save_network",
    "save_result",
    "save_spikes",
    "simulate",
]
__version__ = VERSION

look_beside()
_ROOMS = ("datasets", "gradients", "interop", "plots", "reference")
__getattr__ = loading(__name__, _ROOMS)
__dir__ = listing([*__all__, *_ROOMS, "__version__"])
