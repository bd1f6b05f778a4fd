"""What takes spikes: layers, losses, runs, files and pictures, each ready for three units."""

import numpy as np
import torch
from torch import nn

import evsim
from evsim import Spikes
from evsim import gradients as g
from evsim.datasets import (
    Dataset,
    add_noise,
    bin_spikes,
    blend,
    delete_spikes,
    jitter_times,
    plot_frames,
    scale_times,
    shift_channels,
    shift_pixels,
    shift_times,
    sum_channels,
)
from evsim.gradients import dense
from evsim.gradients.cross_check import cross_check
from evsim.gradients.reference import compare_gradients, reference_run
from evsim.plots import plot_spikes

CELLS = {"tau_mem": 0.02, "tau_syn": 0.005}
SIZE, DURATION = 3, 0.1
LAYERS = {
    "CubaLIF": lambda: g.CubaLIF(SIZE, 4, **CELLS, delay="axonal", recurrent="dense"),
    "SRM": lambda: g.SRM(SIZE, 4, 0.008, recurrent="conv"),
    "CubaLI": lambda: g.CubaLI(SIZE, 4, **CELLS, delay="synaptic"),
    "LI": lambda: g.LI(SIZE, 4, 0.02),
    "Delay": lambda: g.Delay(SIZE),
}


def sound():
    return Spikes([0.03, 0.01, 0.02, 0.05], [0, 1, 2, 0], [0, 3, 4], SIZE, DURATION, [1, 0])


def network():
    cells = evsim.Population("out", "LIF", 2, tau_mem=0.02)
    into = evsim.Dense(pre="in", post="out", weight=np.ones((2, SIZE)))
    return evsim.Network([evsim.Population("in", "Input", SIZE), cells], [into])


def checked():
    """A network that dense layers can say."""
    return evsim.Network.from_torch(model())


def peak_voltage(spikes):
    layer = LAYERS["CubaLIF"]()
    return layer.peak_voltage(spikes, layer(sound()))


TAKERS = {
    **{name: lambda s, make=make: make()(s) for name, make in LAYERS.items()},
    "peak_voltage": peak_voltage,
    "first_spikes": g.first_spikes,
    "FirstSpikeCrossEntropy": lambda s: g.FirstSpikeCrossEntropy(0.01)(s, [0, 1]),
    "TargetTime": lambda s: g.TargetTime(torch.ones(2, SIZE))(s, [0, 1]),
    "RelativeTime": lambda s: g.RelativeTime(0.01)(s, [0, 1]),
    "spike_counts": g.spike_counts,
    "spike_count_regulariser": lambda s: g.spike_count_regulariser(s, 1.0),
    "to_raster": lambda s: dense.to_raster(s, 1e-3),
    "simulate": lambda s: evsim.simulate(network(), s),
    "reference": lambda s: evsim.simulate(network(), s, engine="reference"),
    "save_spikes": lambda s: evsim.save_spikes("never.h5", s),
    "bin_spikes": lambda s: bin_spikes(s, 1e-3),
    "fit_weights": lambda s: g.fit_weights(model(), s),
    "score": lambda s: g.score(model(), s),
    "plot_spikes": plot_spikes,
    "plot_frames": lambda s: plot_frames(s, (1, 1, SIZE)),
    "cross_check": lambda s: cross_check(checked(), s, [1e-3]),
    "reference_run": lambda s: reference_run(model(), s, 1e-3),
    "compare_gradients": lambda s: compare_gradients(model(), s, torch.sum, [1e-3]),
    "sum_channels": lambda s: sum_channels(s, 2),
    "shift_times": lambda s: shift_times(s, 0.01, 0),
    "shift_channels": lambda s: shift_channels(s, 1, 0),
    "shift_pixels": lambda s: shift_pixels(s, 1, 0, width=SIZE),
    "scale_times": lambda s: scale_times(s, 0.9, 1.0, 0),
    "jitter_times": lambda s: jitter_times(s, 1e-3, 0),
    "delete_spikes": lambda s: delete_spikes(s, 0.5, 0),
    "add_noise": lambda s: add_noise(s, 1.0, 0),
    "blend": lambda s: blend(s, 0, 0),
}


def model():
    torch.manual_seed(0)
    hidden = g.CubaLIF(SIZE, 8, **CELLS, delay="axonal")
    return nn.Sequential(g.Delay(SIZE), hidden, nn.Sequential(g.CubaLI(8, 3, **CELLS)))


def moving(spikes):
    """Spikes of tensors in the autograd graph, as layers return them."""
    tensors = spikes.torch()
    return tensors.replace(tensors.times.requires_grad_(), tensors.units, tensors.offsets)


def same(found, expected):
    found, expected = found.numpy(), expected.numpy()
    for name in ("times", "units", "offsets", "labels"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert (found.size, found.duration) == (expected.size, expected.duration)


class Recordings(Dataset):
    """A data set that holds `sound`."""

    def __init__(self):
        super().__init__([1, 0], SIZE, DURATION, ["a", "b"])

    def _read(self, recordings):
        return sound()[recordings]


TAKEN = {
    "arrays": sound,
    "tensors": lambda: sound().torch(),
    "data set": Recordings,
    "slice of a data set": lambda: Recordings()[:2],
    "list of recordings": lambda: list(sound()),
    "tuple of tensors": lambda: tuple(sound().torch()),
    "list of samples": lambda: list(Recordings()),
    "batch and labels": lambda: (sound(), torch.tensor([1, 0])),
}
