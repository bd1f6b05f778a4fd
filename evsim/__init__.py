"""Exact event-driven simulation of spiking neural networks with real-valued delays."""

# First: what follows takes a while, and Ctrl-C must not end in a traceback.
from evsim import interrupts as interrupts
from evsim.budget import allow_memory as allow_memory
from evsim.errors import NotFiniteError as NotFiniteError
from evsim.errors import RunawayError as RunawayError
from evsim.files import FileError as FileError
from evsim.files import ResultWriter as ResultWriter
from evsim.files import SpikeFile as SpikeFile
from evsim.files import load_network as load_network
from evsim.files import load_result as load_result
from evsim.files import load_spikes as load_spikes
from evsim.files import network_digest as network_digest
from evsim.files import save_network as save_network
from evsim.files import save_result as save_result
from evsim.files import save_spikes as save_spikes
from evsim.files.demo import demo_path as demo_path
from evsim.network import Network as Network
from evsim.network import Population as Population
from evsim.projections import Conv1d as Conv1d
from evsim.projections import Conv2d as Conv2d
from evsim.projections import Dense as Dense
from evsim.projections import Sparse as Sparse
from evsim.result import Result as Result
from evsim.simulate import Simulator as Simulator
from evsim.simulate import simulate as simulate
from evsim.spikes import Spikes as Spikes
from evsim.spikes import concatenate as concatenate
from evsim.version import VERSION

__version__ = VERSION
