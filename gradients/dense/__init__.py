"""Dense, time-stepped layers: rasters in and out, surrogate derivatives."""

from evsim.gradients.dense.convert import from_events as from_events
from evsim.gradients.dense.convert import from_network as from_network
from evsim.gradients.dense.layers import LIF as LIF
from evsim.gradients.dense.layers import SRM as SRM
from evsim.gradients.dense.layers import CubaLIF as CubaLIF
from evsim.gradients.dense.layers import Delay as Delay
from evsim.gradients.dense.raster import to_raster as to_raster
from evsim.gradients.dense.raster import to_spikes as to_spikes
from evsim.gradients.dense.readouts import LI as LI
from evsim.gradients.dense.readouts import CubaLI as CubaLI
from evsim.gradients.dense.surrogates import SURROGATES as SURROGATES
