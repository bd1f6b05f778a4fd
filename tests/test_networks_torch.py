"""Models of layers as networks, and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import evsim
from evsim import Conv1d, Dense, Network, Population, Sparse, Spikes
from evsim import gradients as g

N_IN, N, N_OUT = 12, 9, 4
CELLS: dict[str, Any] = {"tau_mem": 20e-3, "tau_syn": 5e-3}


@pytest.fixture
def spikes() -> Spikes:
    rng = np.random.default_rng(0)
    recordings = [(0.2 * rng.random(200), rng.integers(0, N_IN, 200)) for _ in range(3)]
    return Spikes.from_recordings(recordings, N_IN, 0.25)


def per_unit(low: float, high: float, n: int = N) -> torch.Tensor:
    return torch.linspace(low, high, n, dtype=torch.float64)


def mask(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.6


HIDDEN: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: g.CubaLIF(N_IN, N, **CELLS),
    "axonal": lambda: g.CubaLIF(N_IN, N, **CELLS, delay="axonal"),
    "synaptic": lambda: g.CubaLIF(N_IN, N, **CELLS, delay="synaptic", max_delay=0.1),
    "float64": lambda: g.CubaLIF(N_IN, N, **CELLS, delay="synaptic", dtype=torch.float64),
    "masked": lambda: g.CubaLIF(N_IN, N, **CELLS, mask=mask(N, N_IN)),
    "masked axonal": lambda: g.CubaLIF(N_IN, N, **CELLS, delay="axonal", mask=mask(N, N_IN)),
    "masked synaptic": lambda: g.CubaLIF(N_IN, N, **CELLS, delay="synaptic", mask=mask(N, N_IN)),
    "dendritic": lambda: g.CubaLIF(N_IN, N, **CELLS, delay="dendritic"),
    "masked dendritic": lambda: g.CubaLIF(N_IN, N, **CELLS, delay="dendritic", mask=mask(N, N_IN)),
    "cells": lambda: g.CubaLIF(
        N_IN, N, per_unit(10e-3, 30e-3), per_unit(5e-3, 15e-3), per_unit(0.8, 1.2), -0.1,
        per_unit(0.0, 2e-3), v_leak=0.05, learn=("tau_mem", "threshold"),
    ),
    "srm": lambda: g.SRM(N_IN, N, tau_syn=4e-3, tau_r=6e-3, delay="axonal"),
    "dense loop": lambda: g.CubaLIF(N_IN, N, **CELLS, recurrent="dense"),
    "dense loop, axonal": lambda: g.CubaLIF(
        N_IN, N, **CELLS, recurrent="dense", recurrent_delay="axonal"
    ),
    "dense loop, synaptic": lambda: g.SRM(
        N_IN, N, 4e-3, delay="synaptic", recurrent="dense", recurrent_delay="synaptic"
    ),
    "dense loop, dendritic": lambda: g.CubaLIF(
        N_IN, N, **CELLS, recurrent="dense", recurrent_delay="dendritic"
    ),
    "masked loop": lambda: g.CubaLIF(
        N_IN, N, **CELLS, recurrent="dense", recurrent_delay="synaptic", recurrent_mask=mask(N, N)
    ),
    "conv loop": lambda: g.CubaLIF(N_IN, N, **CELLS, recurrent="conv", kernel_size=5),
    "conv loop, axonal": lambda: g.CubaLIF(
        N_IN, N, **CELLS, recurrent="conv", recurrent_delay="axonal"
    ),
    "conv loop, synaptic": lambda: g.CubaLIF(
        N_IN, N, **CELLS, recurrent="conv", recurrent_delay="synaptic"
    ),
    "conv loop, dendritic": lambda: g.CubaLIF(
        N_IN, N, **CELLS, recurrent="conv", recurrent_delay="dendritic"
    ),
    "masked conv loop": lambda: g.CubaLIF(
        N_IN, N, **CELLS, recurrent="conv", recurrent_delay="synaptic", recurrent_mask=mask(N, N)
    ),
    "shift": lambda: nn.Sequential(g.Delay(N_IN, 0.05), g.CubaLIF(N_IN, N, **CELLS)),
    "shifts": lambda: nn.Sequential(
        g.Delay(N_IN, 0.05), g.Delay(N_IN), g.CubaLIF(N_IN, N, **CELLS, delay="synaptic")
    ),
}  # fmt: skip
READOUTS: dict[str, Callable[[], nn.Module]] = {
    "max": lambda: g.CubaLI(N, N_OUT, **CELLS, output="max"),
    "last": lambda: g.CubaLI(N, N_OUT, **CELLS, v_leak=0.1, output="last", delay="axonal"),
    "weighted": lambda: g.CubaLI(N, N_OUT, **CELLS, output="integral", tau_output=0.1),
    "no leak": lambda: g.LI(N, N_OUT, tau_mem=float("inf"), output="last"),
    "LI": lambda: g.LI(N, N_OUT, tau_mem=50e-3, output="integral", delay="synaptic"),
}


def strong(model: nn.Module) -> nn.Module:
    """Make sure that all there is takes part in what is compared."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("recurrent_weight"):
                parameter *= 3
    return model


@pytest.mark.parametrize("name", HIDDEN)
def test_a_network_does_what_its_layers_do(name: str, spikes: Spikes) -> None:
    torch.manual_seed(2)
    hidden = strong(HIDDEN[name]())
    model = nn.Sequential(hidden, g.CubaLI(N, N_OUT, **CELLS))
    net = Network.from_torch(model)
    assert list(net.populations) == ["input", "hidden", "readout"]
    result = evsim.simulate(net, spikes)
    compare(result, hidden(spikes), model(spikes))
    again = net.to_torch()
    compare(result, again[:-1](spikes), again(spikes))
    compare(evsim.simulate(Network.from_torch(again), spikes), hidden(spikes), model(spikes))


def compare(result: evsim.Result, fired: Spikes, values: torch.Tensor) -> None:
    spikes, found = result.spikes["hidden"], fired.numpy()
    assert len(spikes.times) > 20
    np.testing.assert_array_equal(spikes.units, found.units)
    np.testing.assert_allclose(spikes.times, found.times, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        result.output["readout"], values.detach(), rtol=0, atol=1e-12 * abs(values).max().item()
    )


@pytest.mark.parametrize("name", READOUTS)
def test_readouts(name: str, spikes: Spikes) -> None:
    torch.manual_seed(3)
    model = nn.Sequential(g.CubaLIF(N_IN, N, **CELLS), READOUTS[name]())
    net = Network.from_torch(model)
    compare(evsim.simulate(net, spikes), model[0](spikes), model(spikes))
    compare(evsim.simulate(net, spikes), net.to_torch()[0](spikes), net.to_torch()(spikes))


@pytest.mark.parametrize("name", HIDDEN)
def test_files_keep_a_model(name: str, spikes: Spikes, tmp_path: Path) -> None:
    torch.manual_seed(2)
    net = Network.from_torch(nn.Sequential(strong(HIDDEN[name]()), g.CubaLI(N, N_OUT, **CELLS)))
    net.save(tmp_path / "net.h5")
    model = Network.load(tmp_path / "net.h5").to_torch()
    np.testing.assert_array_equal(model(spikes).detach(), net.to_torch()(spikes).detach())


# A masked kernel and dendritic delays come back as synapses, each with its own.
@pytest.mark.parametrize(
    "name", [name for name in HIDDEN if "masked conv" not in name and "dendritic" not in name]
)
def test_the_way_back_keeps_what_is_learnt(name: str) -> None:
    torch.manual_seed(2)
    model = HIDDEN[name]()
    layer = model[-1] if isinstance(model, nn.Sequential) else model
    back = Network.from_torch(model).to_torch()[-1]
    parameters = dict(layer.named_parameters())
    for name, parameter in back.named_parameters():
        there = torch.ones_like(parameter, dtype=torch.bool)
        if f"{name.removesuffix('weight').removesuffix('delay')}mask" in dict(back.named_buffers()):
            prefix = "recurrent_" if name.startswith("recurrent_") else ""
            kept = getattr(back, f"{prefix}mask")
            there = kept if parameter.shape == kept.shape else there
        if name in parameters:
            np.testing.assert_array_equal(
                parameter.detach()[there], parameters[name].detach().double()[there]
            )
    assert {n for n in parameters if "weight" in n} <= {n for n, _ in back.named_parameters()}


def test_names_of_deep_models(spikes: Spikes) -> None:
    deep = nn.Sequential(
        g.CubaLIF(N_IN, N, **CELLS),
        nn.Sequential(g.Delay(N), g.CubaLIF(N, N, **CELLS)),
        g.CubaLI(N, N_OUT, **CELLS),
    )
    assert list(Network.from_torch(deep).populations) == ["input", "hidden1", "hidden2", "readout"]
    spiking = deep[:2]
    net = Network.from_torch(spiking)
    assert list(net.populations) == ["input", "hidden", "output"]
    times = evsim.simulate(net, spikes).spikes["output"].times
    np.testing.assert_allclose(times, spiking(spikes).numpy().times, rtol=0, atol=1e-12)


def test_a_delay_beyond_its_limit_is_that_of_the_network(spikes: Spikes) -> None:
    layer = g.CubaLIF(N_IN, N, **CELLS, delay="axonal", max_delay=0.02)
    with torch.no_grad():
        layer.delay += 0.015
    put = layer.delay.detach().double().numpy().copy()
    with pytest.warns(UserWarning, match="more than max_delay = 0.02 s"):
        net = Network.from_torch(layer)
    np.testing.assert_array_equal(net.projections["input->output"].axonal(N_IN), put)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(g.CubaLIF(3, 2, **CELLS), nn.Dropout()), "Dropout is none of evsim's"),
        (nn.Sequential(g.CubaLI(3, 2, **CELLS), g.CubaLIF(2, 2, **CELLS)), "readout sends no"),
        (nn.Sequential(g.CubaLIF(3, 2, **CELLS), g.CubaLI(4, 2, **CELLS)), "'readout' has 4 in"),
        (nn.Sequential(g.Delay(4), g.CubaLIF(3, 2, **CELLS)), "Delay of 4 units"),
        (nn.Sequential(g.Delay(4), g.Delay(3), g.CubaLIF(3, 2, **CELLS)), "two Delays in a row"),
        (nn.Sequential(g.CubaLIF(3, 2, **CELLS), g.Delay(2)), "ends with a Delay"),
        (nn.Sequential(), "no layer of neurons"),
    ],
)
def test_models_that_are_no_networks(model: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Network.from_torch(model)


def chain(model: str = "CubaLIF", *projections: Any, **options: Any) -> Network:
    cells = {"tau_mem": 20e-3} if model == "LIF" else CELLS
    hidden = Population("hidden", model, 2, **cells, **options)
    into = Dense(pre="input", post="hidden", weight=np.ones((2, 3)))
    return Network([Population("input", "Input", 3), hidden], [into, *projections])


def loop(**options: Any) -> Any:
    return Dense(**{"pre": "hidden", "post": "hidden", "weight": np.ones((2, 2)), **options})


def replaced(projection: Any) -> Network:
    net = chain()
    return Network(net.populations.values(), [projection])


TWICE = {"indptr": [0, 2, 2, 2], "indices": [1, 1], "weight": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: chain("LIF"), "'hidden': spike times of LIF do not move smoothly"),
        (lambda: chain("CubaLI"), "'hidden': has no output"),
        (lambda: Network([Population("input", "Input", 3)], []), "chain of layers ends at"),
        (lambda: replaced(Conv1d(pre="input", post="hidden", kernel=np.ones((1, 1, 2)),
                                 input_shape=3)), "'input->hidden': is conv1d"),
        (lambda: replaced(Sparse(pre="input", post="hidden", **TWICE)),
         "2 synapses from unit 0 to unit 1"),
        (lambda: chain("CubaLIF", Dense(pre="input", post="hidden", weight=np.ones((2, 3)),
                                        name="more")), "listens to 'input', 'input'"),
        (lambda: chain("CubaLIF", loop(delay=1e-3), loop(delay=1e-3, name="b")), "2 projections"),
        (lambda: chain("CubaLIF", loop(delay=[1e-3, 1e-5])), "delay 1e-05 s"),
        (lambda: chain("CubaLIF", loop(delay=np.full((2, 2), 1e-3), axonal_delay=1e-3)),
         "axonal or synaptic"),
        (lambda: chain("CubaLIF", Conv1d(pre="hidden", post="hidden", kernel=np.ones((2, 2, 1)),
                                         input_shape=1, delay=1e-3)), "one channel"),
    ],
)  # fmt: skip
def test_networks_that_are_no_layers(build: Callable[[], Network], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build().to_torch()


def test_a_loop_over_two_populations_is_no_layer() -> None:
    a, b = (Population(name, "CubaLIF", 2, **CELLS) for name in "ab")
    weight = np.ones((2, 2))
    net = Network(
        [Population("input", "Input", 2), a, b],
        [
            Dense(pre="input", post="a", weight=weight),
            Dense(pre="a", post="b", weight=weight, delay=1e-3),
            Dense(pre="b", post="a", weight=weight),
        ],
        output="b",
    )
    with pytest.raises(ValueError, match="'a', 'b' form a loop"):
        net.to_torch()


def test_a_layer_that_can_not_be_is_told_with_what_to_take():
    with pytest.raises(AttributeError, match="no attribute 'LIF': .*evsim.gradients.dense.LIF"):
        g.LIF  # noqa: B018
