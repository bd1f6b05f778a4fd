"""NIR: the same network out and in again, the same equations, nothing dropped silently."""

import importlib
import os
import sys

import h5py
import numpy as np
import pytest
from small_files import same_bits
from small_graphs import W, array, chain, lif

import evsim
from evsim.files import FileError
from evsim.interop import from_nir, load_nir, save_nir, to_nir

nir = pytest.importorskip("nir")


def spiking_network():
    """Every model and kind that NIR knows, recurrent, several projections into one."""
    rng = np.random.default_rng(5)

    def within(low, high, n):
        return rng.uniform(low, high, n)

    return evsim.Network(
        [
            evsim.Population("in", "Input", 12),
            evsim.Population(
                "cuba",
                "CubaLIF",
                12,
                tau_mem=within(0.01, 0.03, 12),
                tau_syn=within(0.002, 0.01, 12),
                threshold=within(0.3, 0.5, 12),
                reset=-0.1,
                v_leak=0.02,
            ),
            evsim.Population("lif", "LIF", 8, tau_mem=0.02, threshold=within(0.5, 1, 8)),
            evsim.Population("if", "LIF", 5, tau_mem=np.inf, threshold=2.0),
            evsim.Population("out", "CubaLI", 3, tau_mem=0.02, tau_syn=0.01, v_leak=0.1),
        ],
        [
            evsim.Dense(
                pre="in", post="cuba", weight=rng.normal(0.5, 1, (12, 12)), delay=within(0, 0.1, 12)
            ),
            evsim.Dense(
                pre="cuba",
                post="cuba",
                weight=rng.normal(0, 0.3, (12, 12)),
                delay=0.01,
                name="loop",
            ),
            evsim.Conv1d(
                pre="in",
                post="lif",
                kernel=rng.normal(0.3, 1, (2, 3, 3)),
                input_shape=4,
                padding=1,
                delay=within(0, 0.1, 12),
                axonal_delay=0.005,
            ),
            evsim.Dense(pre="lif", post="if", weight=rng.normal(0.5, 1, (5, 8))),
            evsim.Dense(pre="if", post="out", weight=rng.normal(0, 1, (3, 5))),
            evsim.Dense(pre="cuba", post="out", weight=rng.normal(0, 1, (3, 12))),
        ],
        output="out",
    )


def some_input():
    rng = np.random.default_rng(6)
    return evsim.Spikes(rng.random(300), rng.integers(0, 12, 300), [0, 100, 300], 12, 1.2)


def same_networks(a, b):
    assert (a.input, a.output) == (b.input, b.output)
    assert a.populations.keys() == b.populations.keys()
    assert a.projections.keys() == b.projections.keys()
    for name, p in a.populations.items():
        q = b.populations[name]
        assert (p.model, p.size, p.output) == (q.model, q.size, q.output)
        for key, values in p.parameters.items():
            same_bits(values, q.parameters[key])
    for name, p in a.projections.items():
        q = b.projections[name]
        assert (p.pre, p.post, p.kind) == (q.pre, q.post, q.kind)
        same_bits(p.weights, q.weights)
        size = a.populations[p.pre].size
        same_bits(p.axonal(size), q.axonal(size))
        assert p.synaptic is None and q.synaptic is None


def through_graph(net, tmp_path):
    return from_nir(to_nir(net))


def through_file(net, tmp_path):
    save_nir(tmp_path / "net.nir", net)
    return load_nir(tmp_path / "net.nir")


@pytest.mark.parametrize("way", [through_graph, through_file])
def test_network_comes_back_to_the_bit(tmp_path, way):
    net = spiking_network()
    same_networks(way(net, tmp_path), net)


def test_network_that_came_back_does_the_same(tmp_path):
    net = spiking_network()
    times = {"out": np.linspace(0, 1, 7)}
    a = evsim.simulate(net, some_input(), record=["cuba", "lif", "if"], voltage=times)
    back = through_graph(net, tmp_path)
    b = evsim.simulate(back, some_input(), record=["cuba", "lif", "if"], voltage=times)
    assert all(len(spikes.times) > 20 for spikes in a.spikes.values())
    for name, spikes in a.spikes.items():
        np.testing.assert_array_equal(spikes.units, b.spikes[name].units)
        np.testing.assert_allclose(spikes.times, b.spikes[name].times, rtol=1e-12)
    np.testing.assert_allclose(a.voltage["out"], b.voltage["out"], rtol=1e-9, atol=1e-12)


def test_graph_is_read_by_nir_itself(tmp_path):
    save_nir(tmp_path / "net.nir", spiking_network())
    graph = nir.read(tmp_path / "net.nir")  # checks the types of all edges
    assert sorted(type(node).__name__ for node in graph.nodes.values()) == sorted(
        ["Input", "Output", "CubaLIF", "LIF", "IF", "CubaLI", "Conv1d"]
        + ["Linear"] * 5
        + ["Delay"] * 3
        + ["Flatten"] * 2
    )


def test_convolution_in_the_plane_comes_back(tmp_path):
    rng = np.random.default_rng(8)
    net = evsim.Network(
        [evsim.Population("in", "Input", 2 * 5 * 4), evsim.Population("li", "LI", 18, tau_mem=0.1)],
        [
            evsim.Conv2d(
                pre="in",
                post="li",
                kernel=rng.random((3, 2, 3, 2)),
                input_shape=(5, 4),
                stride=(2, 1),
                padding=(1, 0),
                dilation=(1, 2),
            )
        ],
    )
    for way in (through_graph, through_file):
        back = way(net, tmp_path).projections["in->li"]
        same_bits(back.kernel, net.projections["in->li"].kernel)
        for name in ("input_shape", "stride", "padding", "dilation"):
            assert getattr(back, name) == getattr(net.projections["in->li"], name)


def test_sparse_projection_comes_back_dense():
    net = small(
        evsim.Sparse(pre="in", post="n", indptr=[0, 2, 3], indices=[0, 1, 1], weight=[1, 2, 3])
    )
    back = from_nir(to_nir(net)).projections["in->n"]
    assert back.weight.tolist() == [[1, 0], [2, 3]]


# What the equations mean


def pulses(graph_node, weight, times, until):
    """Integrate NIR's equations of one unit with small steps; spikes are pulses of area w."""
    v, current, step = float(graph_node.v_leak[0]), 0.0, 1e-6
    tau_syn = getattr(graph_node, "tau_syn", None)
    tau = float(getattr(graph_node, "tau_mem", getattr(graph_node, "tau", None))[0])
    arrivals = np.round(np.array(times) / step).astype(int).tolist()
    for k in range(round(until / step)):
        pulse = weight * arrivals.count(k)
        if tau_syn is None:
            v += float(graph_node.r[0]) * pulse / tau
        else:
            current += float(graph_node.w_in[0]) * pulse / float(tau_syn[0])
            drive = float(graph_node.r[0]) * current
            current -= step * current / float(tau_syn[0])
            v += step * drive / tau
        v += step * (float(graph_node.v_leak[0]) - v) / tau
    return v


LI = nir.LI(tau=array(0.02), r=array(3.0), v_leak=array(0.25))
CUBA_LI = nir.CubaLI(
    tau_syn=array(0.005), tau_mem=array(0.02), r=array(3.0), v_leak=array(0.25), w_in=array(0.4)
)


@pytest.mark.parametrize("node", [LI, CUBA_LI], ids=["LI", "CubaLI"])
def test_voltage_obeys_nirs_equations(node):
    weight, times = 0.7, [0.003, 0.011]
    graph = nir.NIRGraph(
        {
            "in": nir.Input(array(1)),
            "w": nir.Linear(array(weight)[None]),
            "n": node,
            "out": nir.Output(array(1)),
        },
        [("in", "w"), ("w", "n"), ("n", "out")],
    )
    spikes = evsim.Spikes(times, [0, 0], size=1, duration=0.05)
    result = evsim.simulate(from_nir(graph), spikes, voltage={"n": np.array([0.02])})
    expected = pulses(node, weight, times, 0.02)
    assert result.voltage["n"].item() == pytest.approx(expected, rel=1e-3)


# What NIR can't say


def small(projection=None, model="LIF", **population):
    options = {"tau_mem": 0.02} | population
    if model == "SRM":
        options = {"tau_syn": 0.02}
    n = evsim.Population("n", model, 2, **options)
    projection = projection or evsim.Dense(pre="in", post="n", weight=np.eye(2))
    return evsim.Network([evsim.Population("in", "Input", 2), n], [projection])


@pytest.mark.parametrize(
    "net, match",
    [
        (small(model="SRM"), "population 'n': is of model SRM"),
        (small(refractory=[0, 0.1]), r"population 'n': refractory\[1\] = 0.1 s"),
        (small(reset_mode="soft"), "population 'n': reset_mode = 'soft'"),
        (small(model="LI", output="max"), "population 'n': output = 'max'"),
        (small(tau_mem=[0.1, np.inf]), "population 'n': tau_mem is infinite"),
        (
            small(evsim.Dense(pre="in", post="n", weight=np.eye(2), delay=np.ones((2, 2)))),
            "projection 'in->n': has synaptic delays",
        ),
        (
            small(
                evsim.Sparse(
                    pre="in", post="n", indptr=[0, 3, 3], indices=[1, 0, 1], weight=[1, 2, 3]
                )
            ),
            "projection 'in->n': has several synapses from unit 0 to unit 1",
        ),
        (
            small(evsim.Dense(pre="in", post="n", weight=np.eye(2), name="n")),
            "projection 'n': NIR has another node of that name",
        ),
    ],
)
def test_what_nir_cannot_say_is_refused(tmp_path, net, match):
    with pytest.raises(ValueError, match=match):
        to_nir(net)
    with pytest.raises(ValueError, match=match):
        save_nir(tmp_path / "net.nir", net)
    assert os.listdir(tmp_path) == []


def three(projections, output="b"):
    pops = [evsim.Population("in", "Input", 2)]
    pops += [evsim.Population(name, "LIF", 2, tau_mem=0.02) for name in "ab"]
    return evsim.Network(pops, projections, output=output)


def test_populations_that_would_become_inputs_or_outputs_are_refused():
    to_a, to_b = (evsim.Dense(pre="in", post=name, weight=np.eye(2)) for name in "ab")
    with pytest.raises(ValueError, match="population 'a': leads nowhere"):
        to_nir(three([to_a, to_b]))
    a_to_b = evsim.Dense(pre="a", post="b", weight=np.eye(2))
    with pytest.raises(ValueError, match="population 'a': receives nothing"):
        to_nir(three([to_b, a_to_b]))


def test_dense_weights_cannot_lead_into_a_convolution():
    net = three(
        [
            evsim.Dense(pre="in", post="a", weight=np.eye(2)),
            evsim.Conv1d(pre="a", post="b", kernel=np.ones((1, 1, 1)), input_shape=2),
        ]
    )
    with pytest.raises(ValueError, match="projection 'in->a': .* NIR has no node for that"):
        to_nir(net)


# Files


def refused(path, match):
    with pytest.raises(FileError, match=match) as caught:
        load_nir(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_what_is_wrong_with_a_nir_file_is_named(tmp_path):
    path = tmp_path / "net.nir"
    refused(path, "No such file")
    path.write_text("nodes: []")
    refused(path, "not an HDF5 file")
    nir.write(path, chain(nir.Scale(array(1, 1)), lif()))
    refused(path, "node 'n0': is of type Scale")
    nir.write(path, chain(W, lif()))
    with h5py.File(path, "r+") as file:
        del file["node/nodes/n1/tau"]
    refused(path, "tau")
    with h5py.File(path, "r+") as file:
        file["node/nodes/n1/tau"] = h5py.ExternalLink("other.h5", "tau")
    refused(path, "/node/nodes/n1/tau: is a link to another file")
    save_nir(path, small(), overwrite=True)
    with h5py.File(path, "r+") as file:
        del file["node"]
    refused(path, "/node: is missing; this is not a NIR file")


def test_existing_nir_files_are_kept_unless_asked(tmp_path):
    path = tmp_path / "net.nir"
    save_nir(path, small())
    with pytest.raises(FileExistsError, match=r"net\.nir"):
        save_nir(path, small())
    save_nir(path, small(tau_mem=0.5), overwrite=True)
    assert load_nir(path).populations["n"].tau_mem.tolist() == [0.5, 0.5]
    assert os.listdir(tmp_path) == ["net.nir"]


def test_a_nir_file_given_for_a_network_file_is_recognised(tmp_path):
    save_nir(tmp_path / "net.nir", small())
    with pytest.raises(FileError, match="load_nir"):
        evsim.load_network(tmp_path / "net.nir")


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "nir", None)
    importlib.import_module("evsim.interop")
    with pytest.raises(ImportError, match=r"pip install evsim\[nir\]"):
        to_nir(small())
