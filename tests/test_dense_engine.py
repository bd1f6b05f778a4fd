"""Do dense layers do what the event engine does: the same on a grid, nearly so off it?"""

import numpy as np
import pytest
import torch
from small_networks import limited
from torch import nn

import evsim
from evsim import Dense, Network, Population, Spikes
from evsim import gradients as g
from evsim.gradients import dense

TICK = 2.0**-10  # sums of such times are exact
N_IN, N, N_OUT = 8, 12, 3
F64 = torch.float64

# --- LIF on the grid: identical spikes ---


def ticks(rng, low, high, shape):
    return TICK * rng.integers(low, high, shape)


def lif(rng, name, **options):
    cells = {
        "tau_mem": rng.choice([np.inf, 10.5 * TICK], N),
        "threshold": rng.uniform(0.75, 1.25, N),
        "reset": rng.uniform(-0.25, 0.25, N),
        "v_leak": rng.uniform(-0.25, 0.25, N),
        "refractory": ticks(rng, 0, 4, N),
    }
    return Population(name, "LIF", N, **(cells | options))


FORWARD = {
    "none": lambda rng: {},
    "axonal": lambda rng: {"delay": ticks(rng, 0, 9, N_IN)},
    "synaptic": lambda rng: {"delay": ticks(rng, 0, 9, (N, N_IN))},
    "both": lambda rng: {
        "delay": ticks(rng, 0, 9, (N, N_IN)),
        "axonal_delay": ticks(rng, 0, 9, N_IN),
    },
}
LOOP = {
    "fixed": lambda rng: {"delay": TICK},
    "axonal": lambda rng: {"delay": ticks(rng, 1, 9, N)},
    "synaptic": lambda rng: {"delay": ticks(rng, 1, 9, (N, N))},
}


def recordings(rng, size=N_IN, n=4, counts=60):
    made = [(ticks(rng, 0, 80, counts), rng.integers(0, size, counts)) for _ in range(n)]
    return Spikes.from_recordings(made, size, 100 * TICK)


def lif_network(rng, mode="hard", forward="axonal", loop=None, coarse=False):
    def weights(*shape):
        w = rng.normal(0.3, 0.5, shape)
        return np.round(4 * w) / 4 if coarse else w

    cells = {"threshold": 1.0, "v_leak": 0.0, "reset": 0.25} if coarse else {}
    hidden, out = (lif(rng, name, reset_mode=mode, **cells) for name in ("hidden", "out"))
    projections = [
        Dense(pre="in", post="hidden", weight=weights(N, N_IN), **FORWARD[forward](rng)),
        Dense(pre="hidden", post="out", weight=weights(N, N)),
    ]
    if loop is not None:
        own = weights(N, N) - 0.5
        projections.append(Dense(pre="hidden", post="hidden", weight=own, **LOOP[loop](rng)))
    return Network([Population("in", "Input", N_IN), hidden, out], projections)


def assert_identical(net, spikes, **options):
    model = dense.from_network(net, TICK, **options)
    result = evsim.simulate(net, spikes)
    raster = dense.to_raster(spikes, TICK, torch.float64)
    for name, layer in model.named_children():
        raster = layer(raster)
        if name in result.spikes:
            found, wanted = dense.to_spikes(raster, TICK), result.spikes[name]
            assert len(wanted.times) > 50
            np.testing.assert_array_equal(found.offsets, wanted.offsets)
            np.testing.assert_array_equal(found.units, wanted.units)
            np.testing.assert_array_equal(found.times, wanted.times)


@pytest.mark.parametrize("mode", ["hard", "soft"])
@pytest.mark.parametrize("forward", FORWARD)
@pytest.mark.parametrize("loop", [None, *LOOP])
def test_lif_spikes_are_identical(mode, forward, loop):
    rng = np.random.default_rng(1)
    net = lif_network(rng, mode, forward, loop)
    assert_identical(net, recordings(rng))
    assert_identical(net, recordings(rng), delays="interpolate")


@pytest.mark.parametrize("mode", ["hard", "soft"])
@pytest.mark.parametrize("seed", range(10))
def test_lif_ties_and_cancelling_weights(mode, seed):
    """Weights of quarters: thresholds are met exactly, and arrivals sum up to 0."""
    rng = np.random.default_rng(seed)
    net = lif_network(rng, mode, "synaptic", ["fixed", "axonal", "synaptic"][seed % 3], coarse=True)
    assert_identical(net, recordings(rng, counts=300))


def test_cancelled_arrivals_wake_a_unit_above_its_threshold():
    cells = Population("out", "LIF", 1, tau_mem=np.inf, reset_mode="soft")
    into = Dense(pre="in", post="out", weight=[[2.5, 1.0, -1.0, 0.0]])
    net = Network([Population("in", "Input", 4), cells], [into])
    spikes = Spikes(np.array([1, 2, 3, 3]) * TICK, [0, 3, 1, 2], size=4, duration=5 * TICK)
    model = dense.from_network(net, TICK)
    fired = model(dense.to_raster(spikes, TICK, F64))[0, :, 0]
    assert fired.tolist() == [0, 1, 0, 1, 0]
    np.testing.assert_array_equal(evsim.simulate(net, spikes).spikes["out"].times / TICK, [1, 3])


# --- the other models: the error falls with dt ---


def events(name, **options):
    torch.manual_seed(4)
    cells = {"tau_mem": 20e-3, "tau_syn": 6e-3} if name == "CubaLIF" else {"tau_syn": 6e-3}
    options = {"dtype": F64} | limited(options, 15e-3)
    layer = getattr(g, name)(N_IN, N, **cells, **options)
    with torch.no_grad():
        layer.weight.mul_(0.4 if name == "CubaLIF" else 0.6)
        if layer.recurrent_weight is not None:
            layer.recurrent_weight.mul_(1.0)
    return layer


def real_recordings(seed=3, n=3, counts=25):
    rng = np.random.default_rng(seed)
    made = [(rng.uniform(0, 0.04, counts), rng.integers(0, N_IN, counts)) for _ in range(n)]
    return Spikes.from_recordings(made, N_IN, 0.05)


def trains(spikes):
    """Return the spike times of every recording and unit."""
    return [s.times[s.units == j] for s in spikes for j in range(spikes.size)]


def error(layer, spikes, dt, **options):
    """Return the mean error of the spike times, and the share of trains that lost a spike."""
    exact = layer(spikes).numpy()
    raster = dense.from_events(layer, dt, **options)(dense.to_raster(spikes, dt, F64))
    pairs = list(zip(trains(dense.to_spikes(raster, dt)), trains(exact), strict=True))
    assert len(exact.times) > 50
    late = np.concatenate([abs(a - b) for a, b in pairs if len(a) == len(b)])
    return late.mean(), np.mean([len(a) != len(b) for a, b in pairs])


LOOPS = {
    "feedforward": {},
    "synaptic": {"delay": "synaptic"},
    "fixed loop": {"recurrent": "dense", "recurrent_delay": 2.3e-3},
    "axonal loop": {"recurrent": "dense", "recurrent_delay": "axonal", "delay": "axonal"},
    "synaptic loop": {"recurrent": "dense", "recurrent_delay": "synaptic"},
    "conv loop": {"recurrent": "conv", "recurrent_delay": "synaptic"},
    "refractory": {"refractory": 3e-3, "recurrent": "dense"},
    "soft": {"reset": -0.2},
}


@pytest.mark.parametrize(
    ("model", "options"),
    [("CubaLIF", name) for name in LOOPS]
    + [("SRM", name) for name in LOOPS if name not in ("refractory", "soft")],
)
def test_error_falls_with_dt(model, options):
    layer = events(model, **LOOPS[options])
    mode = {"reset_mode": "soft"} if options == "soft" else {}
    steps = np.array([2e-4, 1e-4, 5e-5])
    errors, lost = np.transpose([error(layer, real_recordings(), dt, **mode) for dt in steps])
    order = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert 0.75 < order < 1.4
    assert errors[-1] < 2 * steps[-1]
    assert (lost <= [0.2, 0.1, 0.05]).all()


# --- readouts ---

OUTPUTS = {
    "max": {"output": "max"},
    "last": {"output": "last"},
    "integral": {"output": "integral"},
    "weighted integral": {"output": "integral", "tau_output": 0.02},
    "at": {"at": [0.0, 0.013, 0.04, 0.05]},
}
READOUTS = {
    "CubaLI": {"tau_mem": 20e-3, "tau_syn": 5e-3},
    "equal": {"tau_mem": 10e-3, "tau_syn": 10e-3},
    "LI": {"tau_mem": 20e-3},
}


def readout(cells, **options):
    torch.manual_seed(5)
    kind = "LI" if cells == "LI" else "CubaLI"
    options = {"v_leak": 0.3, "delay": "synaptic", "max_delay": 10e-3, "dtype": F64} | options
    return getattr(g, kind)(N_IN, N_OUT, **READOUTS[cells], **options)


@pytest.mark.parametrize("cells", READOUTS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_readouts_on_the_grid_are_exact(cells, output):
    options = OUTPUTS[output]
    if "at" in options:
        options = {"at": TICK * np.array([0, 13, 40, 100])}
    layer = readout(cells, **options)
    with torch.no_grad():
        layer.delay.div_(TICK).round_().mul_(TICK)
    spikes = recordings(np.random.default_rng(2), counts=30)
    found = dense.from_events(layer, TICK)(dense.to_raster(spikes, TICK, F64))
    if output == "max" and cells != "LI":  # between steps it may be larger
        shortfall = layer(spikes) - found
        assert (shortfall >= -1e-12).all() and shortfall.max() < 0.01 * layer(spikes).max()
    else:
        torch.testing.assert_close(found, layer(spikes), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("cells", "output"),  # the voltage of LI jumps: its error at an instant has no bound
    [
        (cells, output)
        for cells in READOUTS
        for output in OUTPUTS
        if (cells, output) != ("LI", "at")
    ],
)
@pytest.mark.parametrize("delays", ["round", "interpolate"])
def test_readouts_off_the_grid(cells, output, delays):
    layer = readout(cells, **OUTPUTS[output])
    exact = layer(real_recordings())
    errors = []
    for dt in (1e-3, 1e-4):
        raster = dense.to_raster(real_recordings(), dt, F64)
        found = dense.from_events(layer, dt, delays=delays)(raster)
        errors.append((found - exact).norm().item() / exact.norm().item())
    assert errors[1] < errors[0] / 3
    assert errors[1] < 5e-3


@pytest.mark.parametrize("cells", READOUTS)
def test_the_largest_voltage_of_an_inhibited_readout_is_that_at_rest(cells):
    layer = readout(cells)
    with torch.no_grad():
        layer.weight.copy_(-layer.weight.abs())
        layer.delay.zero_()
    spikes = Spikes([0.0, 0.0], [0, 1], size=N_IN, duration=0.01)
    found = dense.from_events(layer, 1e-3)(dense.to_raster(spikes, 1e-3, F64))
    torch.testing.assert_close(found, layer(spikes), rtol=0, atol=1e-12)
    assert (found == 0.3).all()


def test_voltages_are_those_of_the_engine():
    rng = np.random.default_rng(3)
    net, spikes = lif_network(rng, "soft", "synaptic", "axonal"), recordings(rng)
    raster = dense.to_raster(spikes, TICK, F64)
    times = TICK * np.arange(raster.shape[1])
    wanted = evsim.simulate(net, spikes, voltage={"hidden": times}).voltage["hidden"]
    found = dense.from_network(net, TICK).hidden.voltage(raster)
    np.testing.assert_allclose(found.detach(), wanted, rtol=0, atol=1e-12)


def test_trained_on_a_grid_run_by_the_engine():
    torch.manual_seed(6)
    model = nn.Sequential(
        dense.LIF(N_IN, N, 20 * TICK, recurrent="dense", recurrent_delay=3 * TICK, dtype=F64,
                  refractory=2 * TICK, reset=0.1, reset_mode="soft", dt=TICK),
        dense.CubaLI(N, N_OUT, 20 * TICK, 5 * TICK, output="last", dtype=F64, dt=TICK),
    )  # fmt: skip
    spikes = recordings(np.random.default_rng(4))
    raster = dense.to_raster(spikes, TICK, F64)
    result = evsim.simulate(Network.from_torch(model), spikes)
    hidden = dense.to_spikes(model[0](raster), TICK)
    np.testing.assert_array_equal(hidden.times, result.spikes["hidden"].times)
    np.testing.assert_allclose(model(raster).detach(), result.output["readout"], atol=1e-12)
