"""Are the gradients of every parameter of every layer those of its output?

`gradcheck` compares the whole Jacobian with differences. A spike time is smooth only while no
spike appears or vanishes and no arrival passes a spike of its target, so seeds are those whose
voltages cross the threshold steeply, and every run must give the same spikes of the same units.
"""

import numpy as np
import pytest
import torch
from small_networks import limited
from torch.func import functional_call

import evsim
from evsim import gradients as g

MS = 1e-3
DURATION = 0.1
F64 = torch.float64
STEEP = 5.0  # slope at the threshold [1/s]; below, differences are not exact enough
# Parameters that are times; they and spike times are checked in ms, so that one step fits all.
TIMES = ("delay", "tau_mem", "tau_syn", "tau_r", "refractory")
CELLS = {"tau_mem": 0.02, "tau_syn": 0.005, "dtype": F64}
SRM_CELLS = {"tau_syn": 0.008, "dtype": F64}
LIF_NAMES = ("tau_mem", "tau_syn", "threshold", "reset", "refractory", "v_leak")


def recordings(seed, size=3, counts=(6, 0, 5)):
    """Random spikes; the second recording has none."""
    rng = np.random.default_rng(seed)
    n = sum(counts)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    times, units = rng.uniform(0, 0.07, n), rng.integers(0, size, n)
    return evsim.Spikes(times, units, offsets, size=size, duration=DURATION).torch()


def check(module, spikes):
    """Check the Jacobian of a module by its parameters and input times; return its output."""
    names = [name for name, _ in module.named_parameters()]
    units = [MS if name.rsplit(".")[-1].endswith(TIMES) else 1.0 for name in names]
    values = [p.detach() / unit for p, unit in zip(module.parameters(), units, strict=True)]
    first = module(spikes)
    if isinstance(first, evsim.Spikes):
        assert len(first.times) > 3

    def run(times, *values):
        scaled = {n: v * u for n, v, u in zip(names, values, units, strict=True)}
        moved = spikes.replace(times * MS, spikes.units, spikes.offsets)
        output = functional_call(module, scaled, (moved,))
        if torch.is_tensor(output):
            return output
        assert torch.equal(output.units, first.units), "the spikes change, take another seed"
        assert torch.equal(output.offsets, first.offsets), "the spikes change, take another seed"
        return output.times / MS

    inputs = [v.requires_grad_() for v in (spikes.times / MS, *values)]
    assert torch.autograd.gradcheck(run, inputs, eps=1e-6, atol=1e-6, rtol=1e-5)
    return first


def steep(layer):
    return layer.diagnostics.smallest_slope > STEEP


def spread(layer, seed):
    """Give cells that are learnt different values, and weights that make units fire."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name in layer.cells and parameter.ndim:
                parameter *= 1 + 0.1 * torch.rand(len(parameter), generator=generator, dtype=F64)
    return layer


SPIKING = {
    "plain": {},
    "axonal": {"delay": "axonal"},
    "synaptic": {"delay": "synaptic"},
    "fixed loop": {"recurrent": "dense", "recurrent_delay": 0.002},
    "axonal loop": {"recurrent": "dense", "recurrent_delay": "axonal"},
    "synaptic loop": {"recurrent": "dense", "recurrent_delay": "synaptic", "delay": "axonal"},
    "conv loop": {"recurrent": "conv", "recurrent_delay": 0.002, "delay": "synaptic"},
    "conv loop, axonal": {"recurrent": "conv", "recurrent_delay": "axonal"},
    "conv loop, synaptic": {"recurrent": "conv", "recurrent_delay": "synaptic"},
}


@pytest.mark.parametrize("options", SPIKING.values(), ids=SPIKING)
@pytest.mark.parametrize("tau_syn", [0.005, 0.02, 0.03], ids=["faster", "equal", "slower"])
def test_lif_synapses(options, tau_syn):
    torch.manual_seed(1)
    cells = CELLS | {"tau_syn": tau_syn, "refractory": 0.003}
    layer = g.CubaLIF(3, 3, **cells, **limited(options, 0.01))
    check(layer, recordings(1))
    assert steep(layer)


@pytest.mark.parametrize("options", SPIKING.values(), ids=SPIKING)
def test_srm_synapses(options):
    torch.manual_seed(1)
    layer = g.SRM(3, 3, **SRM_CELLS, **limited(options, 0.01))
    check(layer, recordings(1))
    assert steep(layer)


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "own"])
@pytest.mark.parametrize("refractory", [0.0, 0.002])
def test_lif_cells(shared, refractory):
    torch.manual_seed(2)
    cells = {"tau_mem": 0.02, "tau_syn": 0.006, "threshold": 1.0, "reset": -0.1, "v_leak": 0.05}
    learn = LIF_NAMES if refractory else LIF_NAMES[:4] + LIF_NAMES[5:]
    cells["refractory"] = refractory
    if not shared:
        cells = {name: torch.full((3,), value, dtype=F64) for name, value in cells.items()}
    layer = g.CubaLIF(3, 3, **cells, learn=learn, recurrent="dense", dtype=F64)
    check(spread(layer, 2), recordings(2))
    assert steep(layer)


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "own"])
def test_srm_cells(shared):
    torch.manual_seed(2)
    cells = {"tau_syn": 0.006, "tau_r": 0.01, "threshold": 1.0}
    if not shared:
        cells = {name: torch.full((3,), value, dtype=F64) for name, value in cells.items()}
    layer = g.SRM(3, 3, **cells, learn=tuple(cells), recurrent="dense", dtype=F64)
    check(spread(layer, 2), recordings(2))
    assert steep(layer)


READOUTS = {
    "max": {"output": "max"},
    "last": {"output": "last"},
    "integral": {"output": "integral"},
    "weighted integral": {"output": "integral", "tau_output": 0.05},
    "at": {"at": [0.09, 0.02, 0.05, DURATION]},
}


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "own"])
@pytest.mark.parametrize("delay", [None, "axonal", "synaptic"])
@pytest.mark.parametrize("options", READOUTS.values(), ids=READOUTS)
@pytest.mark.parametrize("model", ["CubaLI", "LI"])
def test_readouts(model, options, delay, shared):
    torch.manual_seed(3)
    cells = {"tau_mem": 0.02, "tau_syn": 0.006, "v_leak": 0.1}
    if model == "LI":
        del cells["tau_syn"]
    if not shared:
        cells = {name: torch.full((2,), value, dtype=F64) for name, value in cells.items()}
    layer = getattr(g, model)(
        3, 2, **cells, **limited({**options, "delay": delay}, 0.01), learn=tuple(cells), dtype=F64
    )
    output = check(spread(layer, 3), recordings(3))
    assert output.shape == ((3, 4, 2) if "at" in options else (3, 2))


@pytest.mark.parametrize("tau_syn", [0.02, 0.03])
def test_readouts_of_slow_synapses(tau_syn):
    for options in READOUTS.values():
        torch.manual_seed(4)
        learn = ("tau_mem", "tau_syn")
        layer = g.CubaLI(3, 2, 0.02, tau_syn, **options, learn=learn, dtype=F64)
        check(layer, recordings(4))


def test_delays_change_the_order_of_spikes():
    torch.manual_seed(5)
    delay = g.Delay(3, max_delay=0.05, dtype=F64)
    late = check(delay, recordings(5))
    assert (torch.diff(late.times[: late.offsets[1]]) < 0).any()
    check(torch.nn.Sequential(delay, g.CubaLI(3, 2, **CELLS, delay="axonal")), recordings(5))


def test_a_stack():
    torch.manual_seed(6)
    model = torch.nn.Sequential(
        g.CubaLIF(3, 4, **CELLS, delay="synaptic", max_delay=0.01, learn=("tau_mem",)),
        g.Delay(4, max_delay=0.02, dtype=F64),
        g.SRM(4, 3, **SRM_CELLS, recurrent="dense", recurrent_delay="axonal"),
        g.CubaLI(3, 2, **CELLS, delay="axonal", learn=("tau_syn",)),
    )
    check(model, recordings(6))
    assert steep(model[0]) and steep(model[2])


# --- the largest voltage of silent units ---


@pytest.mark.parametrize("recurrent", [None, "dense", "conv"])
@pytest.mark.parametrize("model", ["CubaLIF", "SRM"])
def test_peak_voltage(model, recurrent):
    torch.manual_seed(7)
    options = CELLS if model == "CubaLIF" else SRM_CELLS
    learn = ("threshold", "tau_syn") + (("v_leak", "tau_mem") if model == "CubaLIF" else ())
    layer = getattr(g, model)(
        3, 4, **options, learn=learn, delay="axonal", max_delay=0.01,
        recurrent=recurrent, recurrent_delay=0.002,
    )  # fmt: skip
    with torch.no_grad():
        layer.weight[:2] *= 0.4
    spikes = recordings(7)
    fired = layer(spikes)
    counts = fired.numpy().counts()
    assert (counts == 0).any() and (counts > 0).any()

    class Peaks(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, spikes):
            return layer.peak_voltage(spikes, layer(spikes))

    peaks = check(Peaks(), spikes)
    assert ((peaks < 0) == torch.from_numpy(counts == 0)).all()
