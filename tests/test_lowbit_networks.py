"""Networks of layers on few bits: the engine reads what was trained, to the last bit."""

from contextlib import nullcontext

import h5py
import numpy as np
import pytest
import torch
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import register_parametrization

from evsim import Network
from evsim import gradients as g
from evsim.arrays import same_bits
from evsim.bits import network_bits
from evsim.gradients import lowbit
from evsim.gradients.lowbit import DelayGrid, Ternary, Uniform

TAUS = {"tau_mem": 20e-3, "tau_syn": 5e-3}
DTYPES = [torch.float32, torch.float64]
WEIGHTS = {
    "2 bits": lambda w: Uniform(2),
    "8 bits": lambda w: Uniform.fit(w, 8, learn=True),
    "16 bits": lambda w: Uniform(16),
    "ternary": lambda w: Ternary.fit(w, learn=True),
}
DELAYS = {
    "from 0": lambda: DelayGrid(5e-3, high=60e-3),
    "from 3 ms": lambda: DelayGrid(4e-3, 3e-3, 60e-3, learn=True),
    "without end": lambda: DelayGrid(7e-3),
}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def layer(weight, delay, dtype, kind="synaptic", **options):
    made = g.CubaLIF(6, 5, **TAUS, delay=kind, dtype=dtype, **options)
    register_parametrization(made, "weight", WEIGHTS[weight](made.weight))
    register_parametrization(made, "delay", DELAYS[delay]())
    return made


def saved(model, tmp_path):
    net = Network.from_torch(model)
    net.save(tmp_path / "n.h5", overwrite=True)
    read = Network.load(tmp_path / "n.h5")
    assert read == net
    for name, projection in net.projections.items():
        assert read.projections[name].levels == projection.levels
    return read


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("delay", DELAYS)
def test_a_file_holds_the_values_of_the_layer(weight, delay, dtype, tmp_path):
    made = layer(weight, delay, dtype)
    with torch.no_grad():
        made.parametrizations.delay.original[0, :2] = torch.tensor([1e-3, 0.0])  # below the grid
    lost = weight == "16 bits" and dtype == torch.float32
    with pytest.warns(UserWarning, match="weight of .*double") if lost else nullcontext():
        read = saved(made, tmp_path).projections["input->output"]
    for name in ("weight", "delay"):
        assert same_bits(getattr(read, name), getattr(made, name).detach().double().numpy())
    told = {"2 bits": 2, "8 bits": 8, "16 bits": 16, "ternary": 2}[weight]
    if lost:
        assert "weight" not in read.levels  # 65,536 numbers of float32 are no step and offset
    else:
        assert read.levels["weight"].bits == told
    assert read.levels["delay"].bits == {"from 0": 4, "from 3 ms": 4, "without end": 32}[delay]


def test_few_bits_in_float64_are_a_step_and_an_offset():
    made = layer("2 bits", "from 0", torch.float64)
    levels = Network.from_torch(made).projections["input->output"].levels
    largest = torch.tanh(made.parametrizations.weight.original).abs().max().item()
    assert levels["weight"].step == 2 * largest / 3 and levels["weight"].offset == -largest
    assert levels["delay"].step == 5e-3 and levels["delay"].values is None


@pytest.mark.parametrize("kind", ["axonal", "dendritic"])
def test_delays_of_units(kind, tmp_path):
    made = layer("ternary", "from 3 ms", torch.float32, kind)
    read = saved(made, tmp_path).projections["input->output"]
    delay = made.delay.detach().double().numpy()
    if kind == "axonal":
        assert same_bits(read.axonal_delay, delay) and read.levels["axonal_delay"].bits == 4
    else:
        assert same_bits(read.delay, np.repeat(delay[:, None], 6, axis=1))
        assert read.levels["delay"].bits == 4


@pytest.mark.parametrize("dtype", DTYPES)
def test_masks_and_loops(dtype, tmp_path):
    mask = torch.rand(5, 6) < 0.5
    made = layer("ternary", "from 3 ms", dtype, mask=mask, recurrent="conv",
                 recurrent_delay="synaptic")  # fmt: skip
    register_parametrization(made, "recurrent_weight", Uniform(3))
    grid = DelayGrid(5e-3, 1e-3, 31e-3, loop=True)
    register_parametrization(made, "recurrent_delay", grid)
    net = saved(made, tmp_path)
    into, loop = net.projections.values()
    assert set(into.levels) == {"weight", "delay"} and set(loop.levels) == {"kernel", "delay"}
    to, from_ = np.nonzero(mask.T.numpy())[::-1]
    assert same_bits(into.weight, made.weight.detach().double().numpy()[to, from_])
    assert same_bits(loop.kernel.ravel(), made.recurrent_weight.detach().double().numpy())
    assert same_bits(loop.delay.ravel(), made.recurrent_delay.detach().double().numpy())
    bits, size = network_bits(net), lowbit.size(made)
    assert (bits.weights, bits.delays) == (size.weights, size.delays)
    assert bits.bits == pytest.approx(size.bits)


def test_a_masked_kernel_is_listed_with_its_levels(tmp_path):
    made = g.CubaLIF(6, 5, **TAUS, recurrent="conv", recurrent_mask=torch.ones(5, 5).bool())
    register_parametrization(made, "recurrent_weight", Ternary.fit(made.recurrent_weight))
    loop = saved(made, tmp_path).projections["output->output"]
    assert loop.kind == "sparse" and loop.levels["weight"].bits == 2
    assert set(loop.weight) == set(made.recurrent_weight.detach().double().tolist())


def test_a_shift_before_a_layer(tmp_path):
    shift = g.Delay(6)
    register_parametrization(shift, "delay", DelayGrid(5e-3, high=60e-3))
    model = torch.nn.Sequential(shift, g.LI(6, 2, tau_mem=20e-3))
    read = saved(model, tmp_path).projections["input->readout"]
    assert read.levels["axonal_delay"].bits == 4
    # Two of them in a row add up to what is on no grid.
    both = Network.from_torch(torch.nn.Sequential(shift, *model)).projections["input->readout"]
    assert not both.levels
    assert same_bits(both.axonal_delay, 2 * read.axonal_delay)
    late = torch.nn.Sequential(shift, g.LI(6, 2, tau_mem=20e-3, delay="axonal"))
    both = Network.from_torch(late).projections["input->readout"]
    own = late[1].delay.detach().double().numpy()
    assert same_bits(both.axonal_delay, read.axonal_delay + own)


def test_weights_that_are_normalised_first(tmp_path):
    made = g.CubaLIF(6, 5, **TAUS)
    weight_norm(made, "weight")
    register_parametrization(made, "weight", Ternary.fit(made.weight))
    read = saved(made, tmp_path).projections["input->output"]
    assert read.levels["weight"].bits == 2
    assert same_bits(read.weight, made.weight.detach().double().numpy())
    assert lowbit.size(made).weights == 30 and lowbit.size(made).others == 0


def test_zeros_and_integers_on_disk(tmp_path):
    made = g.LI(6, 2, tau_mem=20e-3)
    torch.nn.init.zeros_(made.weight)
    register_parametrization(made, "weight", Uniform(4))
    read = saved(made, tmp_path).projections["input->readout"]
    assert not read.weight.any() and read.levels["weight"].bits == 4
    with h5py.File(tmp_path / "n.h5") as file:
        assert file.attrs["version"] == 2
        assert file["projections/input->readout/weight"].dtype == np.int8


def test_size_and_the_bits_of_the_network_agree():
    for bits in ((None, None), (1.58, 3), (4, None), (None, 2)):
        one = g.delay_model(6, [5, 4], 3, delay="synaptic")
        lowbit.quantise(one, *bits)
        counted, size = network_bits(Network.from_torch(one)), lowbit.size(one)
        assert counted.bits == pytest.approx(size.bits)


def test_a_loop_of_many_bits_keeps_its_integers(tmp_path):
    made = g.CubaLIF(6, 5, **TAUS, recurrent="dense", recurrent_delay="axonal").double()
    lowbit.quantise(made, 9, 9)
    loop = saved(made, tmp_path).projections["output->output"]
    assert loop.levels["axonal_delay"].bits == loop.levels["weight"].bits == 9
    assert same_bits(loop.axonal_delay, made.recurrent_delay.detach().numpy())
