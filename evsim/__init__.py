"""Exact event-driven simulation of spiking neural networks with real-valued delays."""

from evsim.files import load_result as load_result
from evsim.files import load_spikes as load_spikes
from evsim.files import save_result as save_result
from evsim.files import save_spikes as save_spikes
from evsim.network import Network as Network
from evsim.network import Population as Population
from evsim.projections import Conv1d as Conv1d
from evsim.projections import Conv2d as Conv2d
from evsim.projections import Dense as Dense
from evsim.projections import Sparse as Sparse
from evsim.result import Result as Result
from evsim.simulate import simulate as simulate
from evsim.spikes import Spikes as Spikes
from evsim.spikes import concatenate as concatenate

__version__ = "0.1.0"
