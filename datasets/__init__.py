"""Data sets, encoders and transforms for evsim."""

if __name__ != "evsim.datasets":  # else every module and class would be there twice
    raise ImportError(
        f"{__file__} is evsim's: import evsim.datasets; for another package of that name, start "
        "Python outside this checkout, or with -P"
    )

from .binning import bin_spikes as bin_spikes
from .binning import unbin_spikes as unbin_spikes
from .blending import blend as blend
from .cochlea import Cochlea as Cochlea
from .cochlea.audio import read_audio as read_audio
from .cochlea.encode import encode_files as encode_files
from .dataset import Dataset as Dataset
from .dataset import collate as collate
from .formats.address_events import read_camera_events as read_camera_events
from .formats.address_events import read_channel_events as read_channel_events
from .formats.event_file import EventFile as EventFile
from .formats.frames import plot_frames as plot_frames
from .formats.idx import read_idx as read_idx
from .recognise import recognise as recognise
from .sets.coincidence import Coincidence as Coincidence
from .sets.dvs_gesture import DVSGesture as DVSGesture
from .sets.heidelberg import SHD as SHD
from .sets.heidelberg import SSC as SSC
from .sets.latency_mnist import LatencyMNIST as LatencyMNIST
from .sets.mnist import mnist_images as mnist_images
from .sets.nmnist import NMNIST as NMNIST
from .sets.ntidigits import NTIDIGITS as NTIDIGITS
from .sets.sequential_mnist import SequentialMNIST as SequentialMNIST
from .sets.spike_file_data import SpikeFileData as SpikeFileData
from .sets.spoken_digits import SpokenDigits as SpokenDigits
from .sets.spoken_digits import make_spoken_digits as make_spoken_digits
from .sets.yin_yang import YinYang as YinYang
from .sets.yin_yang import yin_yang_points as yin_yang_points
from .transforms import add_noise as add_noise
from .transforms import delete_spikes as delete_spikes
from .transforms import jitter_times as jitter_times
from .transforms import scale_times as scale_times
from .transforms import shift_channels as shift_channels
from .transforms import shift_pixels as shift_pixels
from .transforms import shift_times as shift_times
from .transforms import sum_channels as sum_channels
