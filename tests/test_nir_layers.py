"""NIR as time-stepped programs write it: loops without delay, one value for all neurons."""

import h5py
import numpy as np
import pytest
from small_graphs import array, chain, conv1d, lif, nir

import evsim
from evsim.files import FileError
from evsim.interop import from_nir, load_nir

STEP = 1e-3


def graph(more, edges, n=3):
    """Input of 2 -> w_in -> lif -> output, and more of it."""
    nodes = {
        "in": nir.Input(np.array([2])),
        "w_in": nir.Linear(np.full((n, 2), 0.02)),
        "lif": lif(n),
        "out": nir.Output(np.array([n])),
    }
    usual = [("in", "w_in"), ("w_in", "lif"), ("lif", "out")]
    return nir.NIRGraph(nodes | more, usual + edges, type_check=False)


def recurrent(weight, *more):
    wires = {"w_rec": nir.Linear(weight)} | {f"d{i}": delay for i, delay in enumerate(more)}
    way = ["lif", *wires, "lif"]
    return graph(wires, list(zip(way[:-1], way[1:], strict=True)))


def total(projection, size):
    """Return the delay of every synapse, [post, pre]."""
    found = projection.axonal(size) + np.zeros(projection.weight.shape)
    return found if projection.synaptic is None else found + projection.synaptic


def through_graph(graph, tmp_path, **options):
    return from_nir(graph, **options)


def through_file(graph, tmp_path, **options):
    nir.write(tmp_path / "net.nir", graph, compression=None)  # which scalars have none of
    return load_nir(tmp_path / "net.nir", **options)


WAYS = pytest.mark.parametrize("way", [through_graph, through_file])


# --- loops ---


@WAYS
def test_a_loop_without_delay_gets_one_when_told(way, tmp_path):
    net = way(recurrent(np.ones((3, 3))), tmp_path, loop_delay=STEP)
    assert net.projections["w_rec"].delay == STEP
    assert net.projections["w_in"].delay == 0
    spikes = evsim.Spikes([0.01], [0], size=2, duration=0.1)
    first = evsim.simulate(net, spikes, max_rate=1e6, duration=0.0105).spikes["lif"]
    assert first.times.tolist() == [0.01] * 3


@WAYS
def test_without_it_the_refusal_names_the_node_and_the_argument(way, tmp_path):
    with pytest.raises(
        ValueError, match="node 'lif': unit 0 is on a loop, through 'w_rec', .*give"
    ):
        way(recurrent(np.ones((3, 3))), tmp_path)
    with pytest.raises(ValueError, match="whose total delay is 0; give loop_delay"):
        way(recurrent(np.ones((3, 3))), tmp_path)


@pytest.mark.parametrize("value", [0, -1e-3, np.nan, np.inf])
def test_a_loop_delay_must_be_one(value, tmp_path):
    nir.write(tmp_path / "net.nir", recurrent(np.ones((3, 3))))
    for read, source in ((from_nir, recurrent(np.ones((3, 3)))), (load_nir, tmp_path / "net.nir")):
        with pytest.raises(ValueError, match=f"^loop_delay = {value}, must be finite and > 0"):
            read(source, loop_delay=value)


@pytest.mark.parametrize(
    "weight", [np.eye(3), np.tril(np.ones((3, 3))), np.triu(np.ones((3, 3)), 1)]
)
def test_weights_of_0_are_part_of_the_loop(weight):
    net = from_nir(recurrent(weight), loop_delay=STEP)
    assert (total(net.projections["w_rec"], 3) == STEP).all()


def test_a_loop_with_a_delay_is_left_alone():
    given = recurrent(np.ones((3, 3)), nir.Delay(array(0.01, 0.02, 0.03)))
    with_it, without = from_nir(given, loop_delay=STEP), from_nir(given)
    expected = total(without.projections["w_rec"], 3)
    np.testing.assert_array_equal(total(with_it.projections["w_rec"], 3), expected)


def test_only_synapses_without_a_delay_get_one():
    # Unit 1 has none, so only its own way back to itself takes no time at all.
    given = recurrent(np.ones((3, 3)), nir.Delay(array(0.01, 0.0, 0.02)))
    found = total(from_nir(given, loop_delay=STEP).projections["w_rec"], 3)
    expected = np.array([[0.01] * 3, [0.0] * 3, [0.02] * 3])
    expected[1, 1] = STEP
    np.testing.assert_array_equal(found, expected)


def two(delay):
    """lif -> a -> b, back from b to lif, and on to another layer."""
    more = {"w_a": nir.Linear(np.ones((2, 3))), "a": lif(2), "w_b": nir.Linear(np.ones((3, 2)))}
    more |= {"wait": nir.Delay(array(*[delay] * 2)), "w_c": nir.Linear(np.ones((2, 2)))}
    more |= {"c": lif(2)}
    edges = [("lif", "w_a"), ("w_a", "a"), ("a", "wait"), ("wait", "w_b"), ("w_b", "lif")]
    return graph(more, [*edges, ("a", "w_c"), ("w_c", "c")])


def test_every_synapse_of_a_longer_loop_gets_the_delay_and_no_other():
    net = from_nir(two(0.0), output="lif", loop_delay=STEP)
    found = {
        name: p.axonal(net.populations[p.pre].size).max() for name, p in net.projections.items()
    }
    assert found == {"w_in": 0, "w_a": STEP, "w_b": STEP, "w_c": 0}


def test_one_delay_in_a_longer_loop_is_enough():
    net = from_nir(two(0.01), output="lif", loop_delay=STEP)
    found = {
        name: p.axonal(net.populations[p.pre].size).max() for name, p in net.projections.items()
    }
    assert found == {"w_in": 0, "w_a": 0, "w_b": 0.01, "w_c": 0}


def test_what_leads_from_loop_to_loop_is_on_none():
    more = {"w_rec": nir.Linear(np.ones((3, 3))), "w": nir.Linear(np.ones((2, 3))), "b": lif(2)}
    more |= {"b_rec": nir.Linear(np.ones((2, 2)))}
    edges = [("lif", "w_rec"), ("w_rec", "lif"), ("lif", "w"), ("w", "b"), ("b", "b_rec")]
    net = from_nir(graph(more, [*edges, ("b_rec", "b")]), output="b", loop_delay=STEP)
    found = {name: p.delay.max() for name, p in net.projections.items()}
    assert found == {"w_in": 0, "w_rec": STEP, "w": 0, "b_rec": STEP}


@pytest.mark.parametrize("delays", [(), (0.01, 0.0, 0.0)])
def test_loops_without_weights_and_with_kernels(delays):
    if delays:
        more, edges = {"d": nir.Delay(array(*delays))}, [("lif", "d"), ("d", "lif")]
        net = from_nir(graph(more, edges), loop_delay=STEP)
        assert net.projections["lif->lif"].axonal(3).tolist() == [0.01, STEP, STEP]
        return
    kernel = conv1d(np.ones((1, 1, 3)), 3, padding=1)
    nodes = {"in": nir.Input(array(3)), "lif": lif((1, 3)), "k": kernel}
    nodes |= {"out": nir.Output(np.array([1, 3]))}
    edges = [("in", "lif"), ("lif", "k"), ("k", "lif"), ("lif", "out")]
    net = from_nir(nir.NIRGraph(nodes, edges, type_check=False), loop_delay=STEP)
    assert net.projections["k"].kind == "conv1d" and (net.projections["k"].axonal(3) == STEP).all()


# --- one value for all neurons ---

ONE = {"scalar": np.array, "length 1": lambda value: np.array([value])}


def of_one(make, kind="LIF"):
    """Return neurons with one value for all."""
    values = {"tau": 0.02, "r": 0.02, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
    if kind.startswith("Cuba"):
        values["tau_mem"] = values.pop("tau")
        values |= {"tau_syn": 0.005, "w_in": 1.0}
    if "F" not in kind:
        del values["v_threshold"], values["v_reset"]
    if kind == "IF":
        del values["tau"], values["v_leak"]
    return getattr(nir, kind)(**{name: make(value) for name, value in values.items()})


def layer(*nodes, n, out):
    named = {f"n{i}": node for i, node in enumerate(nodes)}
    names = ["in", *named, "out"]
    named = {"in": nir.Input(np.array(n)), **named, "out": nir.Output(np.array(out))}
    return nir.NIRGraph(named, list(zip(names[:-1], names[1:], strict=True)), type_check=False)


@WAYS
@pytest.mark.parametrize("kind", ["LIF", "CubaLIF", "IF", "LI", "CubaLI"])
@pytest.mark.parametrize("one", ONE)
def test_one_value_is_that_of_as_many_neurons_as_the_weights_tell(one, kind, way, tmp_path):
    weight = np.arange(12.0).reshape(3, 4)
    net = way(layer(nir.Linear(weight), of_one(ONE[one], kind), n=[4], out=[3]), tmp_path)
    full = of_one(lambda value: np.full(3, value), kind)
    same = from_nir(layer(nir.Linear(weight), full, n=[4], out=[3]))
    assert net.populations["n1"].size == 3
    for name, values in same.populations["n1"].parameters.items():
        np.testing.assert_array_equal(net.populations["n1"].parameters[name], values)
    np.testing.assert_array_equal(net.projections["n0"].weight, same.projections["n0"].weight)


AROUND = {
    "a convolution": ([conv1d(np.ones((2, 1, 3)), 5, padding=1), None], [1, 5], [2, 5], 10),
    "weights behind": ([None, nir.Linear(np.ones((2, 6))), lif(2)], [6], [2], 6),
    "delays": ([None, nir.Delay(array(0.1, 0.2, 0.3))], [3], [3], 3),
    "the output": ([None], [7], [7], 7),
    "flattening": (
        [conv1d(np.ones((2, 1, 1)), 4), None, nir.Flatten({"input": np.array([2, 4])}, 0, -1),
         nir.Linear(np.ones((1, 8))), lif(1)],
        [1, 4], [1], 8,
    ),
}  # fmt: skip


@pytest.mark.parametrize("one", ONE)
@pytest.mark.parametrize("where", AROUND)
def test_whatever_is_around_tells_how_many_neurons_there_are(where, one):
    nodes, n, out, size = AROUND[where]
    nodes = [of_one(ONE[one]) if node is None else node for node in nodes]
    if where == "delays":
        nodes = nodes[::-1]
    at = next(i for i, node in enumerate(nodes) if node.__class__ is nir.LIF)
    net = from_nir(layer(*nodes, n=n, out=out))
    assert net.populations[f"n{at}"].size == size


def test_several_layers_of_one_value_each():
    w = [nir.Linear(np.ones((3, 4))), nir.Linear(np.ones((2, 3)))]
    neurons = [of_one(np.array) for _ in range(3)]
    net = from_nir(layer(w[0], neurons[0], w[1], neurons[1], neurons[2], n=[4], out=[2]))
    assert [p.size for p in net.populations.values()] == [4, 3, 2, 2]


@WAYS
def test_one_value_may_stand_beside_arrays(way, tmp_path):
    given = layer(nir.Linear(np.ones((3, 4))), lif(3, tau=array(0.01, 0.02, 0.03)), n=[4], out=[3])
    if way is through_graph:
        given.nodes["n1"].r, given.nodes["n1"].v_reset = np.array(1.0), np.zeros(1)
        net = from_nir(given)
    else:
        nir.write(tmp_path / "net.nir", given)
        with h5py.File(tmp_path / "net.nir", "a") as file:
            neurons = file["node/nodes/n1"]
            for name, value in (("r", 1.0), ("v_reset", [0.0])):
                del neurons[name]
                neurons[name] = value
        net = load_nir(tmp_path / "net.nir")
    assert net.populations["n1"].tau_mem.tolist() == [0.01, 0.02, 0.03]
    np.testing.assert_allclose(net.projections["n0"].weight[:, 0], [100, 50, 100 / 3])


def test_arrays_that_differ_are_refused():
    given = layer(nir.Linear(np.ones((3, 4))), lif(3), n=[4], out=[3])
    given.nodes["n1"].tau = np.full(2, 0.02)
    with pytest.raises(ValueError, match=r"node 'n1': tau has shape \[2\], r \[3\]"):
        from_nir(given)


def test_where_nothing_tells_the_neurons_are_blamed():
    given = chain(nir.Linear(np.eye(2)), lif())
    given.nodes["alone"] = of_one(np.array)
    with pytest.raises(
        ValueError, match="node 'alone': tau, .* are one value for all neurons, but"
    ):
        from_nir(given)


def test_a_message_about_a_file_names_it(tmp_path):
    nir.write(tmp_path / "net.nir", recurrent(np.ones((3, 3))))
    with pytest.raises(FileError, match=r"net\.nir: node 'lif': unit 0 is on a loop"):
        load_nir(tmp_path / "net.nir")
