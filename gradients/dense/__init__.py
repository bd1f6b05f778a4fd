"""Dense, time-stepped layers: rasters in and out, surrogate derivatives."""

from .convert import from_events as from_events
from .convert import from_network as from_network
from .counting import Counting as Counting
from .counting import FromSpikes as FromSpikes
from .layers import LIF as LIF
from .layers import SRM as SRM
from .layers import CubaLIF as CubaLIF
from .layers import Delay as Delay
from .raster import to_raster as to_raster
from .raster import to_spikes as to_spikes
from .readouts import LI as LI
from .readouts import CubaLI as CubaLI
from .surrogates import SURROGATES as SURROGATES
