"""Data sets, encoders and transforms for evsim.

A data set is indexed to ``(Spikes, label)``, sliced, split and read in batches; see `Dataset`.
"""

if __name__ != "evsim.datasets":  # else every module and class would be there twice
    raise ImportError(
        f"{__file__} is evsim's: import evsim.datasets; for another package of that name, start "
        "Python outside this checkout, or with -P"
    )

from evsim.rooms import listing

from .binning import bin_spikes, unbin_spikes
from .blending import blend
from .cochlea import Cochlea
from .cochlea.audio import read_audio
from .cochlea.encode import encode_files
from .dataset import Dataset, collate
from .formats.address_events import read_camera_events, read_channel_events
from .formats.event_file import EventFile
from .formats.frames import plot_frames
from .formats.idx import read_idx
from .recognise import recognise
from .sets.coincidence import Coincidence
from .sets.dvs_gesture import DVSGesture
from .sets.gsc10 import GSC10, make_gsc10
from .sets.heidelberg import SHD, SSC
from .sets.latency_mnist import LatencyMNIST
from .sets.mnist import mnist_images
from .sets.nmnist import NMNIST
from .sets.ntidigits import NTIDIGITS
from .sets.pixel_mnist import PixelMNIST
from .sets.sequential_mnist import SequentialMNIST
from .sets.spike_file_data import SpikeFileData
from .sets.spoken_digits import SpokenDigits, make_spoken_digits
from .sets.yin_yang import YinYang, yin_yang_points
from .summed import Summed
from .transforms import (
    add_noise,
    delete_spikes,
    jitter_times,
    scale_times,
    shift_channels,
    shift_pixels,
    shift_times,
    sum_channels,
)
from .tripling import Tripled

__all__ = [
    "Cochlea",
    "Coincidence",
    "DVSGesture",
    "Dataset",
    "EventFile",
    "GSC10",
    "LatencyMNIST",
    "NMNIST",
    "NTIDIGITS",
    "PixelMNIST",
    "SHD",
    "SSC",
    "SequentialMNIST",
    "SpikeFileData",
    "SpokenDigits",
    "Summed",
    "Tripled",
    "YinYang",
    "add_noise",
    "bin_spikes",
    "blend",
    "collate",
    "delete_spikes",
    "encode_files",
    "jitter_times",
    "make_gsc10",
    "make_spoken_digits",
    "mnist_images",
    "plot_frames",
    "read_audio",
    "read_camera_events",
    "read_channel_events",
    "read_idx",
    "recognise",
    "scale_times",
    "shift_channels",
    "shift_pixels",
    "shift_times",
    "sum_channels",
    "unbin_spikes",
    "yin_yang_points",
]

__dir__ = listing(__all__)
