"""Files: spikes, networks and results, in HDF5. This is where their public names are.

Reading never executes anything and never trusts a size (`evsim.hdf5`, `evsim.ragged`);
a file that was written is whole or absent (`evsim.whole_file`). What stands where in a
file is told in `evsim.spike_files`, `evsim.network_files` and `evsim.result_files`.
"""

from evsim.hdf5 import FileError as FileError
from evsim.network_files import load_network as load_network
from evsim.network_files import network_digest as network_digest
from evsim.network_files import save_network as save_network
from evsim.new_spike_files import save_spikes as save_spikes
from evsim.result_files import ResultWriter as ResultWriter
from evsim.result_files import load_result as load_result
from evsim.result_files import save_result as save_result
from evsim.spike_files import Scan as Scan
from evsim.spike_files import SpikeFile as SpikeFile
from evsim.spike_files import load_spikes as load_spikes
from evsim.whole_file import WholeFile as WholeFile
