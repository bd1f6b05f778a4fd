"""Spikes of tensors in runs and files, in the graph, and in compiled models."""

import numpy as np
import pytest
import torch
from small_takers import model, moving, network, same, sound

import evsim
from evsim import gradients as g
from evsim.datasets import bin_spikes


@pytest.mark.parametrize("engine", ["compiled", "reference"])
def test_a_run_takes_tensors(engine):
    found = evsim.Simulator(network(), engine=engine).run(moving(sound()))
    expected = evsim.simulate(network(), sound(), engine=engine)
    same(found.spikes["out"], expected.spikes["out"])
    assert isinstance(found.labels, np.ndarray)


@pytest.mark.parametrize("layout", ["shd", "packed"])
def test_a_file_takes_tensors(layout, tmp_path):
    evsim.save_spikes(tmp_path / "spikes.h5", moving(sound()), layout=layout)
    same(evsim.load_spikes(tmp_path / "spikes.h5"), sound())


def test_counting_cutting_and_joining_take_tensors():
    spikes, tensors = sound(), moving(sound())
    np.testing.assert_array_equal(tensors.counts(), spikes.counts())
    same(tensors.before(0.025), spikes.before(0.025))
    same(evsim.concatenate([tensors, spikes]), evsim.concatenate([spikes, spikes]))
    same(evsim.concatenate([tensors]), spikes)
    np.testing.assert_array_equal(bin_spikes(tensors, 1e-3), bin_spikes(spikes, 1e-3))


def test_what_is_cut_off_stays_in_the_graph():
    spikes = moving(sound())
    spikes.before(0.025).times.sum().backward()
    assert spikes.times.grad.tolist() == (spikes.times < 0.025).double().tolist()


@pytest.mark.parametrize("part", ["model", "Delay", "CubaLIF", "function"])
def test_a_compiled_model_does_what_it_does_without(part):
    net = model()
    net = {"Delay": net[0], "CubaLIF": net[1]}.get(part, net)

    def loss(spikes):
        output = net(spikes)
        output = output if torch.is_tensor(output) else g.first_spikes(output)
        return output.square().sum()

    plain = loss if part == "function" else net
    compiled = torch.compile(plain, backend="eager")
    outputs = [run(sound()) for run in (plain, compiled, compiled)]
    values = [o if torch.is_tensor(o) else o.times for o in outputs]
    gradients = [
        torch.autograd.grad(v.sum(), list(net.parameters()), allow_unused=True) for v in values
    ]
    for value, gradient in zip(values[1:], gradients[1:], strict=True):
        assert torch.equal(value, values[0])
        for one, other in zip(gradient, gradients[0], strict=True):
            assert (one is None and other is None) or torch.equal(one, other)
