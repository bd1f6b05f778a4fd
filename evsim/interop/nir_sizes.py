"""How many neurons a population of a NIR graph has, where its parameters don't tell.

Many programs write one value for all neurons of a layer: a scalar, or an array of length 1.
The weights that lead there or away, or the output, say how many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evsim.arrays import FloatArray
from evsim.projections import Conv1d, Conv2d

Shape = tuple[int, ...]


@dataclass
class Route:
    """A way from a population to the next one, or to an output, and the nodes on it."""

    pre: str
    post: str
    wires: list[tuple[str, Any]]


def own_shape(name: str, values: Mapping[str, FloatArray]) -> Shape | None:
    """Return the shape of the parameters that have one per neuron; None if none has.

    Raises
    ------
    ValueError
        If two of them differ in shape.
    """
    shapes = {key: value.shape for key, value in values.items() if value.size != 1}
    if not shapes:
        return None
    first = "r" if "r" in shapes else next(iter(shapes))
    for key, shape in shapes.items():
        if shape != shapes[first]:
            raise ValueError(
                f"node {name!r}: {key} has shape {list(shape)}, {first} {list(shapes[first])}"
            )
    return shapes[first]


def fill_shapes(
    known: Mapping[str, Shape | None], outputs: Mapping[str, Shape], routes: Sequence[Route]
) -> dict[str, Shape | None]:
    """Return the shapes of populations, with those found that the graph around them tells.

    What leads to a population comes first, then what leads away, then the outputs.
    """
    found = dict(known)
    missing = [name for name, shape in found.items() if shape is None]
    while missing:
        for rule in (_from_before, _from_behind, _from_output):
            told = _first_told(rule, missing, found, outputs, routes)
            if told is not None:
                break
        else:
            return found
        name, found[name] = told
        missing.remove(name)
    return found


Shapes = Mapping[str, Shape | None]
Rule = Callable[[str, Route, Shapes, Mapping[str, Shape]], Shape | None]


def _first_told(
    rule: Rule, missing: list[str], found: Shapes, outputs: Mapping[str, Shape],
    routes: Sequence[Route],
) -> tuple[str, Shape] | None:  # fmt: skip
    for name in missing:
        for route in routes:
            shape = rule(name, route, found, outputs)
            if shape is not None:
                return name, shape
    return None


def _from_before(name: str, route: Route, found: Shapes, _: Mapping[str, Shape]) -> Shape | None:
    return _forwards(route.wires, found[route.pre]) if route.post == name else None


def _from_behind(name: str, route: Route, found: Shapes, _: Mapping[str, Shape]) -> Shape | None:
    if route.pre != name or route.post not in found:
        return None
    return _backwards(route.wires, found[route.post])


def _from_output(name: str, route: Route, _: Shapes, outputs: Mapping[str, Shape]) -> Shape | None:
    if route.pre != name or route.post not in outputs:
        return None
    return _backwards(route.wires, outputs[route.post])


def _forwards(wires: list[tuple[str, Any]], shape: Shape | None) -> Shape | None:
    for name, node in wires:
        kind = type(node).__name__
        if kind in ("Linear", "Affine"):
            shape = np.shape(node.weight)[:1]
        elif kind.startswith("Conv"):
            shape = _convolved(name, node, shape)
        elif kind == "Flatten" and shape is not None:
            shape = (int(np.prod(shape)),)
        elif kind == "Delay" and shape is None and np.size(node.delay) > 1:
            shape = np.shape(node.delay)
    return shape


def _backwards(wires: list[tuple[str, Any]], shape: Shape | None) -> Shape | None:
    for _, node in reversed(wires):
        kind = type(node).__name__
        if kind in ("Linear", "Affine"):
            shape = np.shape(node.weight)[1:]
        elif kind.startswith("Conv"):
            given = node.input_shape
            shape = None if given is None else (np.shape(node.weight)[1], *np.atleast_1d(given))
        elif kind == "Flatten":
            before = shape_of(node.input_type["input"])
            shape = before or shape
        elif kind == "Delay" and shape is None and np.size(node.delay) > 1:
            shape = np.shape(node.delay)
    return shape and tuple(int(n) for n in shape)


def shape_of(given: Any) -> Shape:
    """Return the shape that a node's type holds; () if it holds none."""
    if given is None or np.asarray(given).dtype.kind not in "iu":
        return ()
    return tuple(int(n) for n in np.atleast_1d(given))


def _convolved(name: str, node: Any, shape: Shape | None) -> Shape | None:
    if shape is None and node.input_shape is None:
        return None
    kind = Conv1d if type(node).__name__ == "Conv1d" else Conv2d
    conv = kind(pre="", post="", name=name, kernel=node.weight, **geometry(name, node, shape))
    return (len(conv.kernel), *conv.output_shape)


def geometry(name: str, node: Any, shape: Shape | None) -> dict[str, Any]:
    """Return positions, stride, dilation and padding of a convolution on units of a shape."""
    positions = node.input_shape
    if positions is None:
        positions = () if shape is None else shape[1:]
    return {
        key: tuple(int(v) for v in np.atleast_1d(value))
        for key, value in (
            ("input_shape", positions),
            ("stride", node.stride),
            ("dilation", node.dilation),
            ("padding", _padding(name, node, np.shape(node.weight)[2:])),
        )
    }


def _padding(where: str, node: Any, taps: Shape) -> Any:
    if not isinstance(node.padding, str):
        return node.padding
    if node.padding == "valid":
        return 0
    stride = np.broadcast_to(node.stride, len(taps))
    total = np.broadcast_to(node.dilation, len(taps)) * (np.array(taps) - 1)
    if (stride != 1).any() or (total % 2).any():
        raise ValueError(
            f"node {where!r}: padding 'same' with taps {list(taps)} and stride "
            f"{stride.tolist()} is not symmetric; evsim pads both sides alike"
        )
    return total // 2
