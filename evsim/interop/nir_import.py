"""From a NIR graph to a `Network`: every path between two populations is a projection.

    population -> Delay -> Flatten -> Linear | Affine | Conv -> Delay -> population

Of the nodes in between, one at most may have weights; with none, unit i reaches unit i.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from evsim.arrays import FloatArray
from evsim.doubts import warn_user
from evsim.files.spike_layouts import MAX_UNITS
from evsim.interop.nir_doubts import doubt_of_width
from evsim.interop.nir_export import free_name
from evsim.interop.nir_loops import delay_loops, refuse_instant_loops, short
from evsim.interop.nir_sizes import Route, Shape, fill_shapes, geometry, own_shape, shape_of
from evsim.models import MODELS, Model
from evsim.network import Network, Population
from evsim.projections import Conv1d, Conv2d, Dense, Projection, Sparse

NODES = {model.nir: model for model in MODELS.values() if model.nir}
# A LIF without leak has a node of its own.
POPULATIONS = (*NODES, "IF")
NEURONS = tuple(dict.fromkeys(
    (*(rule.nir for model in MODELS.values() for rule in model.parameters.values() if rule.nir),
     "r", "w_in")
))  # fmt: skip
WEIGHTS = ("Linear", "Affine", "Conv1d", "Conv2d")
WIRES = (*WEIGHTS, "Delay", "Flatten")
MAX_PATHS = 10_000  # from one population; parallel wires multiply


@dataclass
class _End:
    """A population, its shape, and what an arrival of unit weight does to each unit."""

    population: Population
    shape: tuple[int, ...]
    step: FloatArray


def import_graph(
    graph: Any, output: str | None, spike_width: float | None, loop_delay: float | None
) -> Network:
    """Build the network; see `evsim.interop.from_nir`."""
    nodes, edges, inner = _inlined(graph, "")
    _check_nodes(nodes, edges, inner)
    names = [n for n, node in nodes.items() if _kind(node) in POPULATIONS and n not in inner]
    routes = [
        Route(pre, path[-1], [(name, nodes[name]) for name in path[1:-1] if name not in inner])
        for pre in names
        for path in _paths(pre, nodes, edges, inner)
    ]
    ends = _populations(nodes, names, routes, spike_width)
    projections: dict[str, Projection] = {}
    outputs: dict[str, str] = {}
    unused = {name for name, node in nodes.items() if _kind(node) in WIRES}
    for route in routes:
        pre, last, wires = route.pre, route.post, route.wires
        unused -= {name for name, _ in wires}
        if last not in ends:
            _note_output(outputs, last, pre, wires)
        else:
            name = _projection_name(wires, pre, last, projections)
            projections[name] = _projection(name, ends[pre], ends[last], wires)
    if unused:
        raise ValueError(f"node {min(unused)!r}: no neurons lead to it")
    sizes = {name: end.population.size for name, end in ends.items()}
    if loop_delay is None:
        refuse_instant_loops(projections, sizes)
    else:
        projections = delay_loops(projections, sizes, loop_delay)
    rank = {name: i for i, name in enumerate(nodes)}
    ordered = sorted(projections.values(), key=lambda p: rank.get(p.name, len(rank)))
    found = _chosen_output(outputs, output)
    net = Network([end.population for end in ends.values()], ordered, output=found)
    doubt = "" if spike_width else doubt_of_width(nodes, net)
    if doubt:
        warn_user(doubt)
    return net


def _check_nodes(nodes: dict[str, Any], edges: list[tuple[str, str]], inner: set[str]) -> None:
    for name, node in nodes.items():
        known = (*POPULATIONS, *WIRES, "Output")
        if _kind(node) not in known:
            raise ValueError(
                f"node {name!r}: is of type {_kind(node)}, which evsim has nothing for; it reads "
                f"{', '.join(known)}"
            )
    for pre, post in edges:
        if _kind(nodes[pre]) == "Output" and pre not in inner:
            raise ValueError(f"node {pre!r}: is an Output, but an edge leads from it to {post!r}")


def _kind(node: Any) -> str:
    return type(node).__name__


def _inlined(graph: Any, prefix: str) -> tuple[dict[str, Any], list[tuple[str, str]], set[str]]:
    """Replace graphs within the graph by their nodes; their inputs and outputs are wires."""
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    inner: set[str] = set()
    entrances: dict[str, str] = {}
    exits: dict[str, str] = {}
    for name, node in graph.nodes.items():
        if _kind(node) != "NIRGraph":
            nodes[prefix + name] = node
            continue
        within = f"{prefix}{name}."
        more_nodes, more_edges, more_inner = _inlined(node, within)
        nodes |= more_nodes
        edges += more_edges
        inner |= more_inner
        for kind, ends in (("Input", entrances), ("Output", exits)):
            ends[name] = within + _single_end(node, kind, prefix + name)
            inner.add(ends[name])
    for pre, post in graph.edges:
        for name in (pre, post):
            if name not in graph.nodes:
                raise ValueError(f"edge {(pre, post)}: there is no node {prefix + name!r}")
        edges.append((exits.get(pre, prefix + pre), entrances.get(post, prefix + post)))
    if len(set(edges)) < len(edges):
        twice = next(edge for edge in edges if edges.count(edge) > 1)
        raise ValueError(f"edge {twice}: is there twice")
    return nodes, edges, inner


def _single_end(graph: Any, kind: str, where: str) -> str:
    found = [name for name, node in graph.nodes.items() if _kind(node) == kind]
    if len(found) != 1:
        raise ValueError(f"node {where!r}: a graph within the graph must have one {kind} node")
    return str(found[0])


def _paths(
    start: str, nodes: dict[str, Any], edges: list[tuple[str, str]], inner: set[str]
) -> Iterator[list[str]]:
    """Walk from a population to the next populations and outputs."""
    following: dict[str, list[str]] = {}
    for pre, post in edges:
        following.setdefault(pre, []).append(post)
    unfinished = [[start, post] for post in following.get(start, [])]
    n_paths = 0
    while unfinished:
        path = unfinished.pop(0)
        n_paths += 1
        if n_paths > MAX_PATHS:
            raise ValueError(f"node {start!r}: more than {MAX_PATHS} paths lead from it")
        node = nodes[path[-1]]
        if path[-1] not in inner and _kind(node) in (*POPULATIONS, "Output"):
            yield path
            continue
        if path[-1] in path[1:-1]:
            raise ValueError(f"node {path[-1]!r}: is in a loop without any neurons")
        if path[-1] not in following:
            raise ValueError(f"node {path[-1]!r}: leads nowhere")
        unfinished += [[*path, post] for post in following[path[-1]]]


def _populations(
    nodes: dict[str, Any], names: list[str], routes: list[Route], spike_width: float | None
) -> dict[str, _End]:
    """Build the populations, those with one value for all neurons as large as is told."""
    values = {name: _parameters(nodes[name]) for name in names}
    own = {
        name: _input_shape(nodes[name])
        if _kind(nodes[name]) == "Input"
        else own_shape(name, values[name])
        for name in names
    }
    outputs = {
        name: shape_of(node.output_type["output"])
        for name, node in nodes.items()
        if _kind(node) == "Output"
    }
    shapes = fill_shapes(own, outputs, routes)
    return {
        name: _population(name, nodes[name], values[name], shapes[name], spike_width)
        for name in names
    }


def _input_shape(node: Any) -> Shape:
    return tuple(int(n) for n in np.atleast_1d(node.input_type["input"]))


def _parameters(node: Any) -> dict[str, FloatArray]:
    """Return the parameters of neurons by their names in NIR."""
    kind = _kind(node)
    if kind == "Input":
        return {}
    rules = _model(kind).parameters.values()
    return {
        key: np.asarray(getattr(node, key), np.float64)
        for key in (*(rule.nir for rule in rules if rule.nir), "r", "w_in")
        if hasattr(node, key)
    }


def _model(kind: str) -> Model:
    return MODELS["LIF"] if kind == "IF" else NODES[kind]


def _population(
    name: str,
    node: Any,
    values: dict[str, FloatArray],
    shape: Shape | None,
    spike_width: float | None,
) -> _End:
    kind = _kind(node)
    if shape is None and all(value.shape == (1,) for value in values.values()):
        shape = (1,)
    if shape is None:
        raise ValueError(
            f"node {name!r}: {', '.join(values)} are one value for all neurons, but neither "
            "weights nor an output tell how many there are; give arrays [neuron]"
        )
    size = math.prod(shape)
    if not 1 <= size <= MAX_UNITS:
        raise ValueError(f"node {name!r}: has {size} units, must be from 1 to {MAX_UNITS}")
    if kind == "Input":
        return _End(Population(name, "Input", size), shape, np.empty(0))
    values = {key: np.broadcast_to(v.ravel(), size).copy() for key, v in values.items()}
    with np.errstate(divide="ignore", invalid="ignore"):  # tau = 0 is refused by Population
        if kind == "IF":
            step = values["r"]
        elif kind.startswith("Cuba"):
            step = values["r"] * values["w_in"] / values["tau_syn"]
        else:
            step = values["r"] / values["tau"]
    model = _model(kind)
    parameters: dict[str, Any] = {"tau_mem": np.inf} if kind == "IF" else {}
    for ours, rule in model.parameters.items():
        if rule.nir in values:
            parameters[ours] = values[rule.nir]
    population = Population(name, model.name, size, **parameters)
    return _End(population, shape, step * (1.0 if spike_width is None else spike_width))


def _projection_name(
    wires: list[tuple[str, Any]], pre: str, post: str, taken: dict[str, Projection]
) -> str:
    """Name a projection after its weights; after its ends too, where those serve twice."""
    plain = f"{pre}->{post}"
    weights = [name for name, node in wires if _kind(node) in WEIGHTS]
    wanted = weights[0] if weights else plain
    if wanted in taken and weights:
        wanted = f"{weights[0]}:{plain}"
    return free_name(wanted, taken)


def _projection(name: str, pre: _End, post: _End, wires: list[tuple[str, Any]]) -> Projection:
    if post.population.model == "Input":
        raise ValueError(f"node {post.population.name!r}: is an Input, but an edge leads to it")
    weights = [(n, node) for n, node in wires if _kind(node) in WEIGHTS]
    if len(weights) > 1:
        raise ValueError(
            f"node {weights[1][0]!r}: follows the weights of {weights[0][0]!r} without neurons "
            "between them; multiply them into one"
        )
    before, after = _delays(wires, pre.population.size, post.population.size)
    common: dict[str, Any] = {
        "name": name,
        "pre": pre.population.name,
        "post": post.population.name,
    }
    if not weights:
        return _identity(common, pre, post, before)
    where, node = weights[0]
    if _kind(node) in ("Linear", "Affine"):
        return _dense(common, where, node, post, before, after)
    if (after != after[0]).any():
        raise ValueError(
            f"node {where!r}: is followed by delays that differ between units; evsim can't share "
            "a kernel among them"
        )
    return _convolution(common, where, node, pre, post, short(before + after[0]))


def _delays(
    wires: list[tuple[str, Any]], pre_size: int, post_size: int
) -> tuple[FloatArray, FloatArray]:
    """Return the delays before the weights [pre] and after them [post], in seconds."""
    before, after = np.zeros(pre_size), np.zeros(post_size)
    weighted = False
    for name, node in wires:
        weighted = weighted or _kind(node) in WEIGHTS
        if _kind(node) == "Delay":
            delay = np.asarray(node.delay, np.float64).ravel()
            size = post_size if weighted else pre_size
            if len(delay) not in (1, size):
                raise ValueError(f"node {name!r}: has {len(delay)} delays for {size} units")
            before, after = (before, after + delay) if weighted else (before + delay, after)
    return before, after


def _identity(common: dict[str, Any], pre: _End, post: _End, delay: FloatArray) -> Sparse:
    n = pre.population.size
    if n != post.population.size:
        raise ValueError(
            f"edge ({common['pre']!r}, {common['post']!r}): joins {n} to {post.population.size} "
            "units without weights"
        )
    each = np.arange(n)
    return Sparse(
        **common,
        indptr=np.arange(n + 1),
        indices=each,
        weight=post.step,
        axonal_delay=short(delay),
    )


def _dense(
    common: dict[str, Any],
    where: str,
    node: Any,
    post: _End,
    before: FloatArray,
    after: FloatArray,
) -> Dense:
    _refuse_bias(where, node)
    weight = np.asarray(node.weight, np.float64)
    if weight.shape != (len(after), len(before)):
        raise ValueError(
            f"node {where!r}: weight has shape {list(weight.shape)}, but leads from "
            f"{len(before)} units to {len(after)}"
        )
    weight = weight * post.step[:, None]
    if (after == after[0]).all():
        return Dense(**common, weight=weight, delay=short(before + after[0]))
    synaptic = np.repeat(after[:, None], len(before), axis=1)
    return Dense(**common, weight=weight, delay=synaptic, axonal_delay=short(before))


def _convolution(
    common: dict[str, Any], where: str, node: Any, pre: _End, post: _End, delay: FloatArray
) -> Projection:
    _refuse_bias(where, node)
    if int(node.groups) != 1:
        raise ValueError(f"node {where!r}: groups = {node.groups}, evsim has 1 only")
    kernel = np.asarray(node.weight, np.float64)
    n_dims = 1 if _kind(node) == "Conv1d" else 2
    if kernel.ndim != n_dims + 2:
        raise ValueError(f"node {where!r}: weight has shape {list(kernel.shape)}")
    step = post.step.reshape(len(kernel), -1) if len(post.step) % len(kernel) == 0 else None
    if step is not None and (step != step[:, :1]).any():
        raise ValueError(
            f"node {where!r}: leads to units of {common['post']!r} whose r, w_in or time "
            "constants differ within a channel; evsim can't share a kernel among them"
        )
    scale = 1.0 if step is None else step[:, 0].reshape(-1, *[1] * (n_dims + 1))
    kind = Conv1d if n_dims == 1 else Conv2d
    place = geometry(where, node, pre.shape)
    return kind(**common, kernel=kernel * scale, delay=delay, **place)


def _refuse_bias(where: str, node: Any) -> None:
    bias = np.asarray(getattr(node, "bias", 0.0))
    if bias.any():
        j = int(np.argmax(bias.ravel() != 0))
        raise ValueError(
            f"node {where!r}: bias[{j}] = {bias.ravel()[j]}; evsim has no constant input currents"
        )


def _note_output(
    outputs: dict[str, str], name: str, population: str, wires: list[tuple[str, Any]]
) -> None:
    for wire, node in wires:
        if _kind(node) != "Flatten":
            raise ValueError(
                f"node {wire!r}: is of type {_kind(node)} and leads to the output {name!r} without "
                "neurons after it; end with LI, CubaLI or spiking neurons"
            )
    if outputs.setdefault(name, population) != population:
        raise ValueError(
            f"node {name!r}: adds up {outputs[name]!r} and {population!r}; evsim's output is one "
            "population"
        )


def _chosen_output(outputs: dict[str, str], wanted: str | None) -> str | None:
    if wanted is not None:
        return outputs.get(wanted, wanted)
    if len(set(outputs.values())) > 1:
        raise ValueError(f"the graph has the outputs {', '.join(outputs)}; say which")
    return next(iter(outputs.values()), None)
