"""Dense layers, methods and their trainings on a GPU: what the CPU finds. Needs one with CUDA."""

import pytest
import torch
from in_process import interrupted_after, run
from torch import nn

from evsim import Network
from evsim.gradients import dense
from evsim.gradients.lowbit import quantise
from evsim.gradients.methods import NAMES, RIVALS, build, three_factor
from evsim.gradients.training.start import spiking_layers

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="has no GPU with CUDA")

DT, N_IN, N = 1e-3, 5, 7
CUBA = {"tau_mem": 20e-3, "tau_syn": 5e-3}
LATE = {"recurrent": "dense", "recurrent_delay": "axonal"}
KINDS = {
    "LIF": (dense.LIF, {"tau_mem": 20e-3}),
    "axonal": (dense.CubaLIF, CUBA | {"delay": "axonal"}),
    "dendritic": (dense.CubaLIF, CUBA | {"delay": "dendritic"}),
    "synaptic": (dense.CubaLIF, CUBA | {"delay": "synaptic"}),
    "interpolated": (dense.CubaLIF, CUBA | {"delay": "synaptic", "delays": "interpolate"}),
    "spread loop": (dense.CubaLIF, CUBA | LATE | {"delays": "spread"}),
    "gaussian": (dense.CubaLIF, CUBA | {"delay": "synaptic", "delays": "gaussian"}),
    "late loop": (dense.CubaLIF, CUBA | LATE),
    "synaptic loop": (
        dense.CubaLIF, CUBA | {"recurrent": "dense", "recurrent_delay": "synaptic"},
    ),
    "kernel": (dense.CubaLIF, CUBA | {"recurrent": "conv", "recurrent_delay": "axonal"}),
    "refractory": (dense.CubaLIF, CUBA | {"refractory": 3e-3}),
    "learnt cells": (dense.CubaLIF, CUBA | {"learn": ("tau_mem", "threshold")}),
    "SRM": (dense.SRM, {"tau_syn": 5e-3, "delay": "axonal"}),
    "CubaLI": (dense.CubaLI, CUBA | {"output": "integral"}),
    "LI": (dense.LI, {"tau_mem": 20e-3, "output": "max"}),
}  # fmt: skip


def raster(n_in=N_IN):
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(3, 60, n_in, generator=generator) < 0.2).double()


def found(model, given):
    """Return what a model returns, and the gradients of a loss of it, on the CPU."""
    model.zero_grad()
    values = model(given)
    torch.sin(values).sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {"": values.detach().cpu()} | {name: g.cpu().clone() for name, g in gradients.items()}


def same(one, other):
    assert one.keys() == other.keys() and len(one) > 1
    for name in one:
        torch.testing.assert_close(other[name], one[name], rtol=1e-9, atol=1e-11, msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_are_those_of_the_cpu(kind):
    torch.manual_seed(0)
    make, options = KINDS[kind]
    layer = make(N_IN, N, dt=DT, dtype=torch.float64, **options)
    with torch.no_grad():
        layer.weight.mul_(4)
    on_cpu = found(layer, raster())
    assert on_cpu[""].any()
    same(on_cpu, found(layer.to("cuda"), raster().cuda()))


@pytest.mark.parametrize("name", [*NAMES, *RIVALS])
def test_a_network_by_name_decides_as_on_the_cpu(name):
    torch.manual_seed(0)
    model = build(name).double().eval()
    with torch.no_grad():
        for layer in spiking_layers(model):
            layer.weight.mul_(8)  # first weights of SLAYER let nothing fire
    n_in = next(p for p in model.modules() if hasattr(p, "in_features")).in_features
    values = model(raster(n_in))
    assert values.std() > 0
    found = model.to("cuda")(raster(n_in).cuda()).cpu()
    torch.testing.assert_close(found, values, rtol=1e-9, atol=1e-9)


def test_a_three_factor_rule_finds_what_it_finds_on_the_cpu():
    torch.manual_seed(0)
    layers = (
        dense.LIF(N_IN, N, 20e-3, dt=DT, delay="axonal", recurrent="dense", dtype=torch.float64),
        dense.LI(N, 3, 20e-3, dt=DT, dtype=torch.float64),
    )
    model, labels = nn.Sequential(*layers), torch.tensor([0, 1, 2])

    def gradients(device):
        model.to(device).zero_grad()
        three_factor.backward(model, raster().to(device), labels.to(device), width=DT)
        return {name: p.grad.cpu().clone() for name, p in model.named_parameters()}

    same(gradients("cpu"), gradients("cuda"))


def test_weights_and_delays_of_few_bits():
    torch.manual_seed(0)
    model = nn.Sequential(dense.CubaLIF(N_IN, N, **CUBA, dt=DT, delay="axonal")).double()
    quantise(model, 1.58, 3)
    same(found(model, raster()), found(model.to("cuda"), raster().cuda()))


@pytest.mark.parametrize("method", ["slayer", "delrec", "conv-delrec", "dcls", "three-factor"])
def test_a_training_that_goes_on_ends_as_one_that_did_not_stop(method, tmp_path):
    asked = ("--method", method, "--device", "cuda", "--hidden", 8, "--dt", "5e-3", "--epochs", 2,
             "--recordings", 200)  # fmt: skip
    done = run(tmp_path, "train", "coincidence", "-o", "whole", *asked)
    assert done.returncode == 0, done.stderr
    with interrupted_after(1):
        assert run(tmp_path, "train", "coincidence", "-o", "cut", *asked).returncode == 130
    done = run(tmp_path, "train", "coincidence", "-o", "cut", "--resume")
    assert done.returncode == 0, done.stderr
    whole, cut = (Network.load(tmp_path / name / "network.h5") for name in ("whole", "cut"))
    assert whole.projections.keys() == cut.projections.keys()
    for name, one in whole.projections.items():  # sums on a GPU are of no fixed order
        torch.testing.assert_close(
            torch.tensor(cut.projections[name].weights), torch.tensor(one.weights),
            rtol=0.05, atol=0.05,
        )  # fmt: skip
