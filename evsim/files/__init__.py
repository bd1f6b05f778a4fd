"""Files: spikes, networks and results, in HDF5. This is where their public names are.

Reading never executes anything and never trusts a size (`hdf5`, `ragged`); a file that was
written is whole or absent (`whole_file`). What stands where in a file is told in
`spike_files`, `network_files` and `result_files`.
"""

from evsim.files.hdf5 import FileError as FileError
from evsim.files.network_files import load_network as load_network
from evsim.files.network_files import network_digest as network_digest
from evsim.files.network_files import save_network as save_network
from evsim.files.new_spike_files import save_spikes as save_spikes
from evsim.files.result_files import ResultWriter as ResultWriter
from evsim.files.result_files import load_result as load_result
from evsim.files.result_files import save_result as save_result
from evsim.files.spike_files import Scan as Scan
from evsim.files.spike_files import SpikeFile as SpikeFile
from evsim.files.spike_files import load_spikes as load_spikes
from evsim.files.whole_file import WholeFile as WholeFile
