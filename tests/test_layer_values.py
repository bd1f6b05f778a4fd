"""Weights, delays and parameters of layers that are no numbers are named."""

import numpy as np
import pytest
import torch
from small_takers import CELLS, SIZE, sound
from torch import nn

from evsim import gradients as g


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["weight", "recurrent_weight", "delay", "recurrent_delay"])
@pytest.mark.parametrize("kind", [g.CubaLIF, g.SRM, g.CubaLI, g.LI])
def test_weights_and_delays_that_are_no_numbers_are_named(kind, name, value):
    options = {"recurrent": "conv"} if name == "recurrent_weight" else {"recurrent": "dense"}
    if kind in (g.CubaLI, g.LI):
        if name.startswith("recurrent"):
            return
        options = {}
    elif name == "recurrent_delay":
        options["recurrent_delay"] = "synaptic"
    cells = {g.SRM: (0.008,), g.LI: (0.02,)}.get(kind, (0.02, 0.005))
    layer = kind(SIZE, 4, *cells, delay="synaptic", **options)
    with torch.no_grad():
        last = getattr(layer, name)
        last[tuple(n - 1 for n in last.shape)] = value
    at = ", ".join(str(n - 1) for n in last.shape)
    with pytest.raises(ValueError, match=rf"^{kind.__name__}: {name}\[{at}\] = {value}, must be "):
        layer(sound())


@pytest.mark.parametrize("name", ["tau_mem", "tau_syn", "threshold", "reset", "v_leak"])
def test_parameters_of_neurons_that_are_no_numbers_are_named(name):
    layer = g.CubaLIF(SIZE, 4, **CELLS, learn=name)
    nn.init.constant_(getattr(layer, name), np.nan)
    with pytest.raises(ValueError, match=rf"{name}\[0\] = nan, must be finite"):
        layer(sound())


@pytest.mark.parametrize("kind", [g.CubaLIF, g.CubaLI])
def test_parameters_of_neurons_are_looked_at_when_a_layer_is_made(kind):
    with pytest.raises(ValueError, match=rf"'{kind.__name__}': tau_mem\[1\] = nan, must be finite"):
        kind(SIZE, 2, tau_mem=[0.02, np.nan], tau_syn=0.005)


@pytest.mark.parametrize("delay", [np.nan, np.inf, -0.001])
def test_a_fixed_delay_of_a_loop_is_looked_at(delay):
    with pytest.raises(ValueError, match=rf"recurrent_delay = {delay}, must be finite and >= 0"):
        g.CubaLIF(SIZE, 4, **CELLS, recurrent="dense", recurrent_delay=delay)


def test_one_bad_loss_ends_in_a_message():
    torch.manual_seed(0)
    net = nn.Sequential(g.Delay(SIZE), g.CubaLI(SIZE, 3, **CELLS))
    optimizer = torch.optim.Adam(net[0].parameters(), 1e-3)
    (net(sound()).sum() * float("nan")).backward()
    optimizer.step()
    with pytest.raises(ValueError, match=r"Delay: delay\[0\] = nan, must be finite"):
        net(sound())
