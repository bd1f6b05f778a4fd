"""Data sets, encoders and transforms for evsim."""

from evsim.datasets.dataset import Dataset as Dataset
from evsim.datasets.dataset import collate as collate
from evsim.datasets.heidelberg import SHD as SHD
from evsim.datasets.heidelberg import SSC as SSC
from evsim.datasets.spike_file_data import SpikeFileData as SpikeFileData
