"""Graphs made by other programs: what paths and weights mean, and what is refused."""

import numpy as np
import pytest
from small_graphs import W, array, chain, conv1d, cuba_lif, lif, nir

from evsim.interop import from_nir


@pytest.mark.parametrize(
    "node, scale",
    [
        (lif(r=3.0), 3.0 / 0.02),
        (cuba_lif(r=3.0, w_in=0.5), 3.0 * 0.5 / 0.005),
        (nir.IF(r=array(3.0, 3.0), v_threshold=array(1.0, 1.0)), 3.0),
    ],
    ids=["LIF", "CubaLIF", "IF"],
)
def test_weights_are_scaled_to_what_an_arrival_does(node, scale):
    weight = array(1, 2, 3, 4).reshape(2, 2)
    net = from_nir(chain(nir.Linear(weight), node))
    np.testing.assert_allclose(net.projections["n0"].weight, weight * scale, rtol=1e-15)


def test_graphs_of_time_stepped_programs_give_their_step():
    step = 1e-3  # they feed a 1 for one step, and make up for it in r
    net = from_nir(chain(nir.Linear(np.eye(2)), lif(r=0.02 / step)), spike_width=step)
    np.testing.assert_allclose(net.projections["n0"].weight, np.eye(2), rtol=1e-15)
    with pytest.raises(ValueError, match="spike_width = 0"):
        from_nir(chain(nir.Linear(np.eye(2)), lif()), spike_width=0)


def test_weights_are_scaled_per_unit_and_per_channel():
    net = from_nir(chain(nir.Linear(np.ones((2, 2))), lif(r=array(0.02, 0.04))))
    assert net.projections["n0"].weight.tolist() == [[1, 1], [2, 2]]
    conv = conv1d(np.ones((2, 1, 1)), 2)
    r = array(0.02, 0.02, 0.04, 0.04).reshape(2, 2)
    net = from_nir(chain(conv, lif((2, 2), r=r)))
    assert net.projections["n0"].kernel.ravel().tolist() == [1, 2]


def test_delays_before_and_after_the_weights_add_up():
    before, after = nir.Delay(array(0.1, 0.2)), nir.Delay(array(0.01, 0.03))
    p = from_nir(chain(before, nir.Linear(np.ones((2, 2))), after, lif())).projections["n1"]
    total = p.synaptic + p.axonal(2)
    np.testing.assert_allclose(total, [[0.11, 0.21], [0.13, 0.23]])
    even = nir.Delay(array(0.01, 0.01))
    p = from_nir(chain(before, nir.Linear(np.ones((2, 2))), even, lif())).projections["n1"]
    assert p.synaptic is None
    np.testing.assert_allclose(p.axonal(2), [0.11, 0.21])


def test_without_weights_unit_reaches_unit():
    net = from_nir(chain(nir.Delay(array(0.1, 0.2)), lif(r=array(0.02, 0.04))))
    pre, post, weight, _ = net.projections["in->n1"].synapses(2)
    assert (pre.tolist(), post.tolist(), weight.tolist()) == ([0, 1], [0, 1], [1, 2])
    assert net.projections["in->n1"].axonal(2).tolist() == [0.1, 0.2]


def test_weights_that_serve_two_populations_become_two_projections():
    nodes = {
        "in": nir.Input(array(2)),
        "w": nir.Linear(np.eye(2) * 0.02),
        "a": lif(),
        "b": lif(),
        "out": nir.Output(array(2)),
    }
    edges = [("in", "w"), ("w", "a"), ("w", "b"), ("a", "w"), ("b", "out")]
    with pytest.raises(ValueError, match="delay is 0"):
        from_nir(nir.NIRGraph(nodes, edges, type_check=False))
    edges.remove(("a", "w"))
    net = from_nir(nir.NIRGraph(nodes, edges, type_check=False))
    assert {(p.pre, p.post) for p in net.projections.values()} == {("in", "a"), ("in", "b")}
    assert all(p.weight.tolist() == np.eye(2).tolist() for p in net.projections.values())


def test_a_graph_within_the_graph_is_taken_apart():
    inner = nir.NIRGraph(
        {
            "input": nir.Input(array(2)),
            "lif": lif(),
            "rec": nir.Linear(np.full((2, 2), 0.02)),
            "wait": nir.Delay(array(0.1, 0.1)),
            "output": nir.Output(array(2)),
        },
        [("input", "lif"), ("lif", "wait"), ("wait", "rec"), ("rec", "lif"), ("lif", "output")],
        type_check=False,
    )
    net = from_nir(chain(nir.Linear(np.eye(2) * 0.02), inner, nir.Linear(np.ones((1, 2))), lif(1)))
    ends = {name: (p.pre, p.post) for name, p in net.projections.items()}
    assert ends == {"n0": ("in", "n1.lif"), "n1.rec": ("n1.lif", "n1.lif"), "n2": ("n1.lif", "n3")}
    assert net.output == "n3"


def test_padding_by_name():
    weight = np.ones((1, 1, 3))
    for padding, expected in (("same", (1,)), ("valid", (0,))):
        n = 4 if padding == "same" else 2
        net = from_nir(chain(conv1d(weight, 4, padding=padding), lif((1, n)), n=4))
        assert net.projections["n0"].padding == expected


def test_several_outputs():
    nodes = {"in": nir.Input(array(2)), "a": lif(), "b": lif()}
    nodes |= {"x": nir.Output(array(2)), "y": nir.Output(array(2))}
    edges = [("in", "a"), ("in", "b"), ("a", "x"), ("b", "y")]
    graph = nir.NIRGraph(nodes, edges)
    with pytest.raises(ValueError, match="outputs x, y; say which"):
        from_nir(graph)
    assert from_nir(graph, output="y").output == from_nir(graph, output="b").output == "b"


# What evsim has nothing for


@pytest.mark.parametrize(
    "graph, match",
    [
        (chain(W, nir.Threshold(array(1, 1)), lif()), "node 'n1': is of type Threshold"),
        (chain(nir.Scale(array(1, 1)), lif()), "node 'n0': is of type Scale"),
        (chain(nir.Affine(np.eye(2), array(0, 3)), lif()), r"node 'n0': bias\[1\] = 3.0"),
        (chain(W, W, lif()), "node 'n1': follows the weights of 'n0'"),
        (chain(W, lif(), W), "node 'n2': is of type Linear and leads to the output"),
        (chain(nir.Linear(np.ones((2, 3))), lif()), r"node 'n0': weight has shape \[2, 3\]"),
        (chain(nir.Delay(array(0.1, 0.2, 0.3)), W, lif()), "node 'n0': has 3 delays for 2 units"),
        (chain(nir.Delay(array(0.1, -0.2)), W, lif()), r"'n1': delay\[1\] = -0.2"),
        (chain(lif(3), n=2), "joins 2 to 3 units without weights"),
        (chain(W, lif(tau=array(0.1, -0.1))), r"'n1': tau_mem\[1\] = -0.1"),
        (chain(W, lif(v_threshold=0.0)), r"'n1': threshold\[0\] = 0.0"),
        (chain(conv1d(np.ones((2, 1, 1)), 2, groups=2), lif((2, 2))), "node 'n0': groups = 2"),
        (
            chain(conv1d(np.ones((1, 1, 1)), 2, bias=array(1.5)), lif((1, 2))),
            r"node 'n0': bias\[0\] = 1.5",
        ),
        (
            chain(conv1d(np.ones((1, 1, 2)), 2, padding="same"), lif((1, 2))),
            "node 'n0': padding 'same'",
        ),
        (
            chain(conv1d(np.ones((1, 1, 1)), 2), lif((1, 2), r=array([1, 2]))),
            "node 'n0': leads to units of 'n1' whose r, w_in or time constants differ",
        ),
        (
            chain(conv1d(np.ones((1, 1, 1)), 2), nir.Delay(array(0.1, 0.2)), lif((1, 2))),
            "node 'n0': is followed by delays that differ",
        ),
    ],
)
def test_what_evsim_has_nothing_for_is_refused(graph, match):
    with pytest.raises(ValueError, match=match):
        from_nir(graph)


@pytest.mark.parametrize(
    "more, edges, match",
    [
        ({}, [("n1", "absent")], "there is no node 'absent'"),
        ({}, [("in", "n0")], "is there twice"),
        ({"two": nir.Input(array(2))}, [("two", "n0")], "found 2"),
        ({"w": W}, [("n1", "w")], "node 'w': leads nowhere"),
        ({"w": W}, [("w", "n1")], "node 'w': no neurons lead to it"),
        ({"w": W}, [("n1", "w"), ("w", "w")], "node 'w': is in a loop without any neurons"),
        ({"w": W}, [("out", "w"), ("w", "n1")], "node 'out': is an Output, but an edge"),
        ({"w": W}, [("n1", "w"), ("w", "in")], "node 'in': is an Input, but an edge"),
        ({"b": lif()}, [("n0", "b"), ("b", "out")], "node 'out': adds up 'n1' and 'b'"),
    ],
)
def test_graphs_that_make_no_network_are_refused(more, edges, match):
    sound = chain(W, lif())
    graph = nir.NIRGraph(sound.nodes | more, sound.edges + edges, type_check=False)
    with pytest.raises(ValueError, match=match):
        from_nir(graph)


def test_wires_without_end_are_refused():
    nodes = {"in": nir.Input(array(2)), "n": lif(), "out": nir.Output(array(2))}
    edges, before = [("n", "out")], "in"
    for k in range(20):  # every step doubles the number of paths
        nodes |= {f"{side}{k}": nir.Delay(array(0, 0)) for side in "abc"}
        edges += [(before, f"a{k}"), (before, f"b{k}"), (f"a{k}", f"c{k}"), (f"b{k}", f"c{k}")]
        before = f"c{k}"
    graph = nir.NIRGraph(nodes, [*edges, (before, "n")], type_check=False)
    with pytest.raises(ValueError, match="node 'in': more than 10000 paths"):
        from_nir(graph)


def test_an_input_of_absurd_size_is_refused():
    neurons = nir.LIF(tau=np.ones(2), r=np.ones(2), v_leak=np.zeros(2), v_threshold=np.ones(2))
    graph = nir.NIRGraph(
        {"in": nir.Input(np.array([1 << 40])), "p": neurons, "out": nir.Output(np.array([2]))},
        [("in", "p"), ("p", "out")],
        type_check=False,
    )
    with pytest.raises(ValueError, match="node 'in': has 1099511627776 units"):
        from_nir(graph)
