"""The table of parameters: a new one is found everywhere, and every old one does something."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch

import evsim
from evsim import gradients as g
from evsim.commands.info import describe
from evsim.gradients import dense
from evsim.gradients.constructors import arguments_for
from evsim.gradients.cross_check import window
from evsim.gradients.cross_check.grid import quiet_after
from evsim.gradients.cross_check.rounding import network_in_steps
from evsim.interop import to_nir
from evsim.models import MODELS, Parameter

TAU = {"tau_mem": 20e-3, "tau_syn": 5e-3}
MADE_UP = {
    "tau_a": Parameter("s", "time constant of an adaptation", 0.1, positive=True),
    "pause": Parameter("s", "time after which it starts", 0.0, non_negative=True),
    "gain": Parameter("1", "strength of the adaptation", 2.0),
}


@pytest.fixture
def new(monkeypatch):
    """Add three made-up parameters to a model: a time constant, another time, a number."""
    model = MODELS["CubaLIF"]
    richer = replace(model, parameters={**model.parameters, **MADE_UP})
    monkeypatch.setitem(MODELS, "CubaLIF", richer)


def network(**values):
    return evsim.Network(
        [
            evsim.Population("in", "Input", 3),
            evsim.Population("out", "CubaLIF", 2, **TAU, **values),
        ],
        [evsim.Dense(pre="in", post="out", weight=np.ones((2, 3)), delay=1.5e-3)],
    )


def test_files_and_info_have_it(new, tmp_path):
    network(tau_a=[0.2, 0.3], gain=4.0).save(tmp_path / "net.h5")
    out = evsim.Network.load(tmp_path / "net.h5").populations["out"]
    assert out.tau_a.tolist() == [0.2, 0.3] and out.gain.tolist() == [4.0, 4.0]
    told = describe(tmp_path / "net.h5")
    assert "tau_a       min 200, median 250, max 300 ms" in told
    assert "pause       0 ms, all alike" in told and "gain        4, all alike" in told


def test_files_without_it_get_its_default(tmp_path, monkeypatch):
    network().save(tmp_path / "net.h5")
    model = MODELS["CubaLIF"]
    richer = replace(model, parameters={**model.parameters, **MADE_UP})
    monkeypatch.setitem(MODELS, "CubaLIF", richer)
    assert evsim.Network.load(tmp_path / "net.h5").populations["out"].tau_a.tolist() == [0.1, 0.1]


def test_its_range_is_checked(new):
    with pytest.raises(ValueError, match=r"population 'out': tau_a\[1\] = -1.0, must be > 0"):
        network(tau_a=[1.0, -1.0])


def test_nir_refuses_it_unless_it_has_its_default(new):
    pytest.importorskip("nir")
    to_nir(network())
    with pytest.raises(ValueError, match=r"'out': tau_a\[0\] = 0.2 s, which NIR can't say"):
        to_nir(network(tau_a=0.2))


@pytest.mark.parametrize("kind", [g.CubaLIF, dense.CubaLIF])
def test_layers_take_it(new, kind):
    found = inspect.signature(kind).parameters
    assert list(found)[2:11] == [*TAU, "threshold", "reset", "refractory", "v_leak", *MADE_UP]
    assert found["tau_a"].default == 0.1
    grid = {"dt": 1e-3} if kind is dense.CubaLIF else {}
    layer = kind(3, 2, **TAU, tau_a=[0.2, 0.3], learn="tau_a", **grid)
    assert layer.tau_a.tolist() == pytest.approx([0.2, 0.3]) and layer.gain == 2.0
    assert "tau_a" in dict(layer.named_parameters()) and "gain" in layer.state_dict()
    with pytest.raises(TypeError, match="CubaLIF: got an unexpected keyword argument 'tau_b'"):
        kind(3, 2, **TAU, tau_b=0.1, **grid)


def test_docstrings_tell_it(new):
    class Layer(g.CubaLIF):
        """A layer.

            Parameters
            ----------
        {cells}
        """

    assert "    tau_a : float or tensor [out]\n" in Layer.__doc__
    assert "Time constant of an adaptation [s]; 0.1 if left out.\n" in Layer.__doc__


def test_it_moves_between_networks_and_layers(new):
    net = network(tau_a=[0.2, 0.3], pause=1e-3)
    layer = net.to_torch().out
    assert layer.tau_a.tolist() == [0.2, 0.3] and layer.pause == 1e-3
    back = evsim.Network.from_torch(layer).populations["output"]
    assert back.tau_a.tolist() == [0.2, 0.3] and back.pause.tolist() == [1e-3, 1e-3]
    assert dense.from_events(layer, 1e-3).tau_a.tolist() == [0.2, 0.3]


def test_its_step_size_is_that_of_its_unit(new):
    layer = g.CubaLIF(3, 2, **TAU, learn=tuple(MADE_UP), pause=1e-3)
    rates = {group["name"]: group["lr"] for group in g.parameter_groups(layer, lr=1.0, time_lr=0.5)}
    assert rates["tau_a"] == pytest.approx(0.5 * 0.1)
    assert rates["pause"] == pytest.approx(0.5 * 1e-3)
    assert rates["gain"] == pytest.approx(1.0 * 2.0)


def test_a_grid_counts_it_in_steps(new):
    out = network_in_steps(network(tau_a=0.0123, pause=2.4e-3, gain=7.0), 1e-3).populations["out"]
    assert out.tau_a[0] == pytest.approx(12.3) and out.pause[0] == 2.0 and out.gain[0] == 7.0


def test_recordings_settle_with_it(new):
    last = {"in": np.zeros(1), "out": np.zeros(1)}
    usual = quiet_after(network(tau_a=1e-3), last, 0.0)
    assert quiet_after(network(tau_a=3.0), last, 0.0) - usual == pytest.approx(10 * (3.0 - 20e-3))
    assert quiet_after(network(pause=0.5, tau_a=1e-3), last, 0.0) - usual == pytest.approx(0.5)


def test_the_shortest_time_constant_may_be_it(new):
    assert window(network(), 1e-5) == 2.5e-3
    assert window(network(tau_a=1e-3), 1e-5) == 0.5e-3


def test_an_exact_gradient_that_is_not_there_is_refused(new):
    layer = g.CubaLIF(3, 2, **TAU, learn="tau_a")
    torch.nn.init.constant_(layer.weight, 5.0)
    fired = layer(evsim.Spikes([0.01], [0], size=3, duration=0.1))
    with pytest.raises(ValueError, match="CubaLIF has no exact gradient by 'tau_a' yet"):
        fired.times.sum().backward()


# --- every parameter of every model does something ---

CASES = [(model, name) for model, table in MODELS.items() for name in table.parameters]
USUAL = {"tau_mem": 20e-3, "tau_syn": 8e-3, "tau_r": 12e-3, "refractory": 2e-3, "v_leak": 0.1}
TICK = 2.0**-10


def busy(model, **change):
    """Return a network of one population that is kept busy, and its input."""
    rng = np.random.default_rng(0)
    table = MODELS[model]
    values = {n: v for n, v in USUAL.items() if n in table.parameters} | change
    output = {} if table.spiking else {"output": "integral", "tau_output": 0.1}
    weight = rng.uniform(0, 1 if model in ("LIF", "LI", "SRM") else 4, (2, 3))
    net = evsim.Network(
        [evsim.Population("in", "Input", 3), evsim.Population("out", model, 2, **values, **output)],
        [evsim.Dense(pre="in", post="out", weight=weight)],
    )
    times = TICK * rng.integers(0, 200, 60)
    return net, evsim.Spikes(times, rng.integers(0, 3, 60), size=3, duration=0.25)


def changed(model, name):
    usual = busy(model)[0].populations["out"].parameters[name]
    return {name: usual * 1.5 + (0.0 if MODELS[model].parameters[name].is_time else 0.2)}


def told(result):
    found = result.output.get("out")
    return result.spikes["out"].times if found is None else found.ravel()


@pytest.mark.parametrize("engine", ["compiled", "reference"])
@pytest.mark.parametrize(("model", "name"), CASES)
def test_engines_heed_every_parameter(model, name, engine):
    (net, spikes), (other, _) = busy(model), busy(model, **changed(model, name))
    first, second = (told(evsim.simulate(n, spikes, engine=engine)) for n in (net, other))
    assert len(first) > 0 and not np.array_equal(first, second)


@pytest.mark.parametrize(("model", "name"), CASES)
def test_the_grid_heeds_every_parameter(model, name):
    (net, spikes), (other, _) = busy(model), busy(model, **changed(model, name))
    raster = dense.to_raster(spikes, TICK, torch.float64)
    first, second = (dense.from_network(n, TICK)(raster) for n in (net, other))
    assert first.any() and not torch.equal(first, second)


@pytest.mark.parametrize(("model", "name"), [case for case in CASES if case[0] != "LIF"])
def test_every_parameter_has_an_exact_gradient(model, name):
    net, spikes = busy(model)
    layer = net.to_torch().out
    values = {cell: getattr(layer, cell) for cell in layer.cells}
    more = {} if MODELS[model].spiking else {"output": "integral", "tau_output": 0.1}
    learning = type(layer)(3, 2, **values, **more, learn=name, dtype=torch.float64)
    learning.weight.data.copy_(layer.weight)
    found = learning(spikes)
    (found.times if isinstance(found, evsim.Spikes) else found).sum().backward()
    assert getattr(learning, name).grad.abs().max() > 0


# --- constructors ---


class Own(g.CubaLIF):
    """A layer with a constructor of its own."""

    def __init__(self, n, *, gain=2.0):
        super().__init__(n, n, **TAU)
        self.gain = gain


class Inherits(g.CubaLIF):
    """A layer without one."""


def test_a_class_with_its_own_constructor_shows_that():
    assert list(inspect.signature(Own).parameters) == ["n", "gain"]
    assert inspect.signature(Inherits) == inspect.signature(g.CubaLIF)
    assert list(inspect.signature(Own(3)).parameters) != list(inspect.signature(Own).parameters)


@pytest.mark.parametrize("layer", [Own(3, gain=1.0), Inherits(3, 2, **TAU, delay="axonal")])
def test_layers_of_a_users_class_go_to_the_grid(layer):
    twin = dense.from_events(layer, 1e-3)
    assert type(twin) is dense.CubaLIF and torch.equal(twin.weight, layer.weight)


GRID = {"dt": 1e-3, "delays": "interpolate"}
LOOP = {"recurrent": "conv", "recurrent_delay": "axonal", "kernel_size": 5}


@pytest.mark.parametrize(
    "layer",
    [
        g.CubaLIF(3, 2, **TAU, v_leak=[0.1, 0.2], learn="v_leak", delay="synaptic", **LOOP),
        g.SRM(3, 2, 5e-3, dtype=torch.float64, recurrent="dense", recurrent_delay=2e-3),
        g.LI(3, 2, 20e-3, output="integral", tau_output=0.1, mask=torch.ones(2, 3)),
        g.CubaLI(3, 2, **TAU, at=[0.1, 0.2]),
        g.Delay(3, max_delay=0.2),
        dense.CubaLIF(3, 2, **TAU, **GRID, **LOOP, reset_mode="soft"),
        dense.LIF(3, 2, 20e-3, **GRID, surrogate="triangle", detach_reset=False),
        dense.SRM(3, 2, 5e-3, **GRID),
        dense.CubaLI(3, 2, **TAU, **GRID, output="last"),
        dense.Delay(3, **GRID),
    ],
    ids=lambda layer: f"{type(layer).__module__.rpartition('.')[0]}.{type(layer).__name__}",
)
def test_a_layer_can_be_built_again_from_its_arguments(layer):
    again = type(layer)(**arguments_for(layer))
    again.load_state_dict(layer.state_dict())
    assert repr(again) == repr(layer)
    for name, value in arguments_for(layer).items():
        np.testing.assert_array_equal(arguments_for(again)[name], value)


def test_only_what_follows_another_parameter_may_be_none():
    assert g.SRM(3, 2, 5e-3, None).tau_r == 5e-3
    with pytest.raises((TypeError, RuntimeError)):
        g.CubaLIF(3, 2, **TAU, threshold=None)


def test_a_model_that_is_not_in_the_table_is_told():
    class Layer(g.LI):
        model = "Adaptive"

    with pytest.raises(ValueError, match="Layer: no model 'Adaptive' in evsim.models.MODELS"):
        Layer(3, 2, 20e-3)
