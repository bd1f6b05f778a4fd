"""From a `Network` to a NIR graph; what NIR can't say is an error, never dropped."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import numpy as np

from evsim.arrays import FloatArray
from evsim.models import MODELS
from evsim.network import Network, Population
from evsim.projections import Projection, Sparse

Shape = tuple[int, ...]


def export_graph(nir: Any, net: Network) -> Any:
    """Build the graph; see `evsim.interop.to_nir`. ``nir`` is the module."""
    _check_ends(net)
    shapes = _shapes(net)
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    for name, population in net.populations.items():
        nodes[name] = _population_node(nir, population, shapes[name])
    for projection in net.projections.values():
        chain = _projection_nodes(nir, net, projection, shapes, set(nodes))
        nodes |= chain
        stops = [projection.pre, *chain, projection.post]
        edges += zip(stops[:-1], stops[1:], strict=True)
    end = free_name("output", set(nodes))
    nodes[end] = nir.Output(np.array(shapes[net.output]))
    edges.append((net.output, end))
    return nir.NIRGraph(nodes, edges)


def _check_ends(net: Network) -> None:
    """Refuse what NIR's readers would take for more inputs or outputs."""
    for name in net.populations:
        receives = any(p.post == name for p in net.projections.values())
        sends = any(p.pre == name for p in net.projections.values())
        if not receives and name != net.input:
            raise ValueError(f"population {name!r}: receives nothing; NIR would make it an input")
        if not sends and name != net.output:
            raise ValueError(f"population {name!r}: leads nowhere; NIR would make it an output")


def _shapes(net: Network) -> dict[str, Shape]:
    """Return the shape of every population: [channel, position, ...] beside a convolution."""
    shapes: dict[str, Shape] = {}
    for p in net.projections.values():
        if p.kind.startswith("conv"):
            out, channels = p.kernel.shape[:2]  # type: ignore[attr-defined]
            before, after = p.input_shape, p.output_shape  # type: ignore[attr-defined]
            for name, shape in ((p.pre, (channels, *before)), (p.post, (out, *after))):
                if shapes.setdefault(name, shape) != shape:
                    raise ValueError(
                        f"{p.where}: gives population {name!r} the shape {list(shape)}, another "
                        f"convolution {list(shapes[name])}; in NIR it has one shape"
                    )
    for p in net.projections.values():
        if not p.kind.startswith("conv") and len(shapes.get(p.post, (0,))) > 1:
            raise ValueError(
                f"{p.where}: kind {p.kind!r} can't lead to population {p.post!r}, which a "
                f"convolution gives the shape {list(shapes[p.post])}: NIR has no node for that"
            )
    return {name: shapes.get(name, (p.size,)) for name, p in net.populations.items()}


def _population_node(nir: Any, population: Population, shape: Shape) -> Any:
    where = f"population {population.name!r}"
    if population.model == "Input":
        return nir.Input(np.array(shape))
    _check_population(where, population)
    values = {name: v.reshape(shape) for name, v in population.parameters.items()}
    leaks = np.isfinite(values["tau_mem"])
    if not leaks.any() and population.model == "LIF" and not values["v_leak"].any():
        one = np.ones(shape)
        return nir.IF(r=one, v_threshold=values["threshold"], v_reset=values["reset"])
    if not leaks.all():
        raise ValueError(f"{where}: tau_mem is infinite; NIR can say that of a whole LIF only")
    model = MODELS[population.model]
    node = {rule.nir: values[name] for name, rule in model.parameters.items() if rule.nir}
    if "tau_syn" in values:
        # w_in = tau_syn makes an arrival of weight w step the current by w.
        node |= {"r": np.ones(shape), "w_in": values["tau_syn"]}
    else:
        # r = tau makes an arrival of weight w step the voltage by w.
        node["r"] = values["tau_mem"]
    return getattr(nir, str(model.nir))(**node)


def _check_population(where: str, population: Population) -> None:
    missing = "which NIR can't say"
    model = MODELS[population.model]
    if model.nir is None:
        raise ValueError(f"{where}: is of model {population.model}, {missing}")
    if population.reset_mode != "hard":
        raise ValueError(f"{where}: reset_mode = {population.reset_mode!r}, {missing}")
    if population.output is not None:
        raise ValueError(
            f"{where}: output = {population.output!r}, {missing}; build the population without "
            "it to export its voltage"
        )
    for name, rule in model.parameters.items():
        values = population.parameters[name]
        usual = rule.usual(population.parameters)
        if rule.nir is None and (values != usual).any():
            j = int(np.argmax(values != usual))
            unit = " s" if rule.is_time else ""
            raise ValueError(f"{where}: {name}[{j}] = {values[j]}{unit}, {missing}")
    tau_syn = population.parameters.get("tau_syn", np.ones(1))
    if not np.isfinite(tau_syn).all():
        raise ValueError(f"{where}: tau_syn is infinite, {missing}")


def _projection_nodes(
    nir: Any, net: Network, projection: Projection, shapes: dict[str, Shape], taken: Container[str]
) -> dict[str, Any]:
    """Return the nodes between two populations, in order: delay, flatten, weights."""
    pre, shape = net.populations[projection.pre], shapes[projection.pre]
    if projection.synaptic is not None:
        raise ValueError(
            f"{projection.where}: has synaptic delays {list(projection.delay.shape)}, which NIR "
            "can't say; it has delays of units only"
        )
    if projection.name in taken:
        raise ValueError(f"{projection.where}: NIR has another node of that name; rename one")
    chain: dict[str, Any] = {}
    delay = projection.axonal(pre.size)
    if delay.any():
        name = free_name(f"{projection.name}.delay", taken)
        chain[name] = nir.Delay(delay.reshape(shape))
    if not projection.kind.startswith("conv") and len(shape) > 1:
        name = free_name(f"{projection.name}.flatten", taken)
        chain[name] = nir.Flatten({"input": np.array(shape)}, start_dim=0, end_dim=-1)
    chain[projection.name] = _weight_node(nir, net, projection)
    return chain


def _weight_node(nir: Any, net: Network, projection: Any) -> Any:
    if projection.kind == "dense":
        return nir.Linear(projection.weight)
    if projection.kind == "sparse":
        pre, post = net.populations[projection.pre], net.populations[projection.post]
        return nir.Linear(_matrix(projection, pre.size, post.size))
    single = projection.kind == "conv1d"
    geometry = {
        name: getattr(projection, name)[0] if single else getattr(projection, name)
        for name in ("input_shape", "stride", "padding", "dilation")
    }
    kernel = projection.kernel
    node = (nir.Conv1d if single else nir.Conv2d)(
        weight=kernel, groups=1, bias=np.zeros(len(kernel)), **geometry
    )
    # NIR 1.0.8 takes the height of a kernel for its width.
    node.output_type = {"output": np.array([len(kernel), *projection.output_shape])}
    return node


def _matrix(projection: Sparse, pre_size: int, post_size: int) -> FloatArray:
    pre, post, weight, _ = projection.synapses(pre_size)
    pair = pre * post_size + post
    ordered = np.sort(pair)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(twice):
        i, j = divmod(int(twice[0]), post_size)
        raise ValueError(
            f"{projection.where}: has several synapses from unit {i} to unit {j}, which NIR "
            "can't say; add them up if their delays are alike"
        )
    matrix = np.zeros((post_size, pre_size))
    matrix[post, pre] = weight
    return matrix


def free_name(wanted: str, taken: Container[str]) -> str:
    """Return a name that is not taken: the wanted one, or that with a number."""
    name, n = wanted, 1
    while name in taken:
        name, n = f"{wanted}_{n}", n + 1
    return name
