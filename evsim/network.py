"""``Network``: populations joined by projections, checked when it is built.

A network is a plain description. `evsim.simulate` turns it into arrays for the engine;
`evsim.files` writes and reads it. Weight matrices are [post, pre], times are seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from evsim.arrays import BoolArray, FloatArray, IntArray, same_bits
from evsim.models import MODELS, OUTPUTS, RESET_MODES, Model
from evsim.projections import Projection
from evsim.quantities import positive

if TYPE_CHECKING:
    from torch import nn

Named = TypeVar("Named", "Population", Projection)


@dataclass(frozen=True, eq=False)
class Population:
    """A group of units of one model.

    Parameters
    ----------
    name : str
        Name, unique in the network.
    model : str
        ``"Input"``, ``"CubaLIF"``, ``"LIF"``, ``"SRM"``, ``"CubaLI"`` or ``"LI"``.
    size : int
        Number of units.
    reset_mode : {"hard", "soft"}
        At a spike V is set to ``reset``, or ``threshold - reset`` is subtracted from it.
        They differ only where V jumps over the threshold (`LIF`).
    output : {"max", "last", "integral"} or None
        For a readout (`CubaLI`, `LI`): the value taken from each unit's voltage.
    tau_output : float or None
        With ``output="integral"``: integrate ``exp(-t / tau_output) V`` instead of V [s].
    **parameters : float or float array [size]
        The model's parameters, see `evsim.models.MODELS`.

    Raises
    ------
    ValueError
        If a parameter is missing, unknown, of the wrong shape or outside its range; the
        message names the population and the first offending entry.
    """

    name: str
    model: str
    size: int
    reset_mode: str
    output: str | None
    tau_output: float | None
    parameters: dict[str, FloatArray]

    def __init__(
        self,
        name: str,
        model: str,
        size: int,
        *,
        reset_mode: str = "hard",
        output: str | None = None,
        tau_output: float | None = None,
        **parameters: npt.ArrayLike,
    ) -> None:
        where = f"population {name!r}"
        if model not in MODELS:
            raise ValueError(f"{where}: unknown model {model!r}; known are {', '.join(MODELS)}")
        if size < 1:
            raise ValueError(f"{where}: size = {size}, must be at least 1")
        if reset_mode not in RESET_MODES:
            raise ValueError(f"{where}: reset_mode = {reset_mode!r}, must be 'hard' or 'soft'")
        _check_output(where, MODELS[model], output, tau_output)
        values = _parameters(where, MODELS[model], size, parameters)
        if output == "integral" and tau_output is None and np.isinf(values["tau_mem"]).any():
            j = int(np.argmax(np.isinf(values["tau_mem"])))
            raise ValueError(
                f"{where}: tau_mem[{j}] = inf has no plain integral as output; give tau_output, "
                "or a long finite tau_mem"
            )
        for key, value in (
            ("name", name),
            ("model", model),
            ("size", int(size)),
            ("reset_mode", reset_mode),
            ("output", output),
            ("tau_output", None if tau_output is None else float(tau_output)),
            ("parameters", values),
        ):
            object.__setattr__(self, key, value)

    def __getattr__(self, name: str) -> FloatArray:
        """Return the model parameter ``name``, float64 [size]."""
        parameters: dict[str, FloatArray] = self.__dict__.get("parameters", {})
        if name in parameters:
            return parameters[name]
        raise AttributeError(f"a {type(self).__name__} has no attribute {name!r}")

    def __repr__(self) -> str:
        """Return name, model and size."""
        return f"Population({self.name!r}, {self.model!r}, {self.size})"

    def __eq__(self, other: object) -> bool:
        """Whether all that is told of both is the same, to the last bit."""
        if not isinstance(other, Population):
            return NotImplemented
        names = ("name", "model", "size", "reset_mode", "output", "tau_output")
        return all(getattr(self, n) == getattr(other, n) for n in names) and all(
            same_bits(values, other.parameters[key]) for key, values in self.parameters.items()
        )

    def __hash__(self) -> int:
        """Return what equal ones share."""
        return hash((self.name, self.model, self.size))

    @property
    def taus(self) -> FloatArray:
        """All time constants of the units, [parameter, unit] [s]."""
        names = MODELS[self.model].time_constants
        return np.array([self.parameters[name] for name in names]).reshape(len(names), self.size)

    @property
    def spiking(self) -> bool:
        """Whether the units emit spikes (input populations included)."""
        return MODELS[self.model].spiking


@dataclass(frozen=True, eq=False)
class Network:
    """Populations and projections, valid by construction.

    Parameters
    ----------
    populations : iterable of Population
        In any order; exactly one of them, ``input``, is of model ``"Input"``.
    projections : iterable of Projection
        `Dense`, `Sparse`, `Conv1d` or `Conv2d`.
    input, output : str
        Names of the population that is fed and of the one that answers. ``output`` may
        be left out if a single population has no projection leaving it.

    Raises
    ------
    ValueError
        If names clash or are unknown, shapes don't fit, a projection leaves a readout or
        enters the input, or a loop has a total delay of 0 and no refractory period.
    """

    populations: dict[str, Population]
    projections: dict[str, Projection]
    input: str
    output: str

    def __init__(
        self,
        populations: Iterable[Population],
        projections: Iterable[Projection],
        input: str | None = None,
        output: str | None = None,
    ) -> None:
        pops = _by_name("population", populations)
        projs = _by_name("projection", projections)
        for projection in projs.values():
            _check_projection(projection, pops)
        for key, value in (
            ("populations", pops),
            ("projections", projs),
            ("input", _find_input(pops, input)),
            ("output", _find_output(pops, projs, output)),
        ):
            object.__setattr__(self, key, value)
        for group in self.groups():
            _refuse_instant_loops(self, group)

    def __repr__(self) -> str:
        """Return the sizes at a glance."""
        pops = ", ".join(f"{p.name}: {p.model}[{p.size}]" for p in self.populations.values())
        return f"Network({pops}; {len(self.projections)} projections)"

    def __eq__(self, other: object) -> bool:
        """Whether populations and projections are the same, to the last bit, in any order."""
        if not isinstance(other, Network):
            return NotImplemented
        names = ("input", "output", "populations", "projections")
        return all(getattr(self, name) == getattr(other, name) for name in names)

    def __hash__(self) -> int:
        """Return what equal ones share."""
        return hash((self.input, self.output, frozenset(self.populations)))

    def groups(self) -> list[list[str]]:
        """Return the populations in the order in which they can be advanced.

        Populations that form a cycle stand in one group; every group comes after those
        that it listens to. The input is left out.
        """
        sources = _ancestors(self)
        groups: list[list[str]] = []
        for name in self.populations:
            if name != self.input and not any(name in group for group in groups):
                loop = [b for b in self.populations if b in sources[name] and name in sources[b]]
                groups.append(loop or [name])
        # What a group listens to has strictly fewer ancestors than the group itself.
        return sorted(groups, key=lambda group: len(sources[group[0]] | set(group)))

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Network:
        """Read a network file; see `evsim.files.load_network`."""
        from evsim.files import load_network

        return load_network(path)

    def save(self, path: str | PathLike[str], overwrite: bool = False) -> None:
        """Write a network file; see `evsim.files.save_network`."""
        from evsim.files import save_network

        save_network(path, self, overwrite=overwrite)

    @classmethod
    def from_torch(cls, model: nn.Module) -> Network:
        """Return the network that a torch model of evsim's layers is.

        See `evsim.gradients.network_export.to_network`.
        """
        from evsim.gradients.network_export import to_network

        return to_network(model)

    def to_torch(self) -> nn.Sequential:
        """Return the torch model of evsim's layers that this network is.

        See `evsim.gradients.network_import.to_torch`.
        """
        from evsim.gradients.network_import import to_torch

        return to_torch(self)


def _parameters(
    where: str, model: Model, size: int, given: dict[str, npt.ArrayLike]
) -> dict[str, FloatArray]:
    """Fill in defaults, broadcast to [size] and check the ranges."""
    for name in given:
        if name not in model.parameters:
            raise ValueError(
                f"{where}: {model.name} has no parameter {name!r}; "
                f"it has {', '.join(model.parameters) or 'none'}"
            )
    values: dict[str, FloatArray] = {}
    for name, rule in model.parameters.items():
        value = given.get(name, rule.usual(values))
        if value is None:
            raise ValueError(f"{where}: parameter {name!r} ({rule.meaning}) is missing")
        array = np.asarray(value, dtype=np.float64)
        if array.shape not in ((), (size,)):
            raise ValueError(
                f"{where}: {name} has shape {list(array.shape)}, must be a scalar or [{size}]"
            )
        array = np.full(size, array)
        if not rule.infinite:
            _refuse(where, name, array, np.isfinite(array), "finite")
        if rule.positive:
            _refuse(where, name, array, array > 0, "> 0")
        if rule.non_negative:
            _refuse(where, name, array, array >= 0, ">= 0")
        values[name] = array
    if "threshold" in values:
        for name in ("v_leak", "reset"):
            below = values.get(name, np.zeros(size))
            good = values["threshold"] > below
            rule_text = f"above {name} = {below[np.argmin(good)]}"
            _refuse(where, "threshold", values["threshold"], good, rule_text)
    return values


def _refuse(where: str, name: str, array: FloatArray, good: BoolArray, rule: str) -> None:
    if not good.all():
        j = int(np.argmin(good))
        raise ValueError(f"{where}: {name}[{j}] = {array[j]}, must be {rule}")


def _check_output(where: str, model: Model, output: str | None, tau_output: float | None) -> None:
    if output is not None and not model.readout:
        readouts = ", ".join(name for name, known in MODELS.items() if known.readout)
        raise ValueError(f"{where}: only readouts ({readouts}) have an output, not {model.name}")
    if output not in (None, *OUTPUTS):
        raise ValueError(f"{where}: output = {output!r}, must be one of {', '.join(OUTPUTS)}")
    if tau_output is not None and output != "integral":
        raise ValueError(f"{where}: tau_output needs output = 'integral', not {output!r}")
    if tau_output is not None:
        positive(f"{where}: tau_output", tau_output, "s", infinite=True)


def _by_name(what: str, items: Iterable[Named]) -> dict[str, Named]:
    found: dict[str, Named] = {}
    for item in items:
        if item.name in found:
            raise ValueError(f"two {what}s are named {item.name!r}; give one another name")
        found[item.name] = item
    return found


def _check_projection(projection: Projection, populations: dict[str, Population]) -> None:
    for end in ("pre", "post"):
        name = getattr(projection, end)
        if name not in populations:
            raise ValueError(f"{projection.where}: {end} population {name!r} does not exist")
    pre, post = populations[projection.pre], populations[projection.post]
    if not pre.spiking:
        raise ValueError(
            f"{projection.where}: {pre.name!r} is a {pre.model} readout and sends no spikes"
        )
    if post.model == "Input":
        raise ValueError(f"{projection.where}: {post.name!r} is an input and receives nothing")
    projection.check(pre.size, post.size)


def _find_input(populations: dict[str, Population], name: str | None) -> str:
    inputs = [p.name for p in populations.values() if p.model == "Input"]
    if len(inputs) != 1:
        raise ValueError(f"a network needs one population of model 'Input', found {len(inputs)}")
    if name not in (None, inputs[0]):
        raise ValueError(f"input = {name!r}, but the population of model 'Input' is {inputs[0]!r}")
    return inputs[0]


def _find_output(
    populations: dict[str, Population], projections: dict[str, Projection], name: str | None
) -> str:
    if name is None:
        senders = {p.pre for p in projections.values() if p.pre != p.post}
        ends = [p for p in populations if p not in senders]
        if len(ends) != 1:
            raise ValueError(f"say which population is the output; candidates are {ends}")
        return ends[0]
    if name not in populations:
        raise ValueError(f"output population {name!r} does not exist")
    return name


def _ancestors(net: Network) -> dict[str, set[str]]:
    """For every population, those from which a path of projections leads to it."""
    sources: dict[str, set[str]] = {name: set() for name in net.populations}
    for projection in net.projections.values():
        sources[projection.post].add(projection.pre)
    for middle in net.populations:
        for found in sources.values():
            if middle in found:
                found |= sources[middle]
    return sources


def _refuse_instant_loops(net: Network, group: list[str]) -> None:
    """Refuse a loop of units whose total delay is 0 and none of which is refractory.

    Such a loop could fire without bound at one instant. Zero weights don't connect.
    """
    inside = [p for p in net.projections.values() if p.pre in group and p.post in group]
    if not inside:
        return
    start = np.cumsum([0] + [net.populations[name].size for name in group])
    base = {name: int(s) for name, s in zip(group, start, strict=False)}
    refractory = np.concatenate(
        [
            net.populations[name].parameters.get("refractory", np.zeros(net.populations[name].size))
            for name in group
        ]
    )
    edges = [_instant_synapses(p, net.populations[p.pre].size, base) for p in inside]
    pre = np.concatenate([e[0] for e in edges] or [np.empty(0, np.int64)])
    post = np.concatenate([e[1] for e in edges] or [np.empty(0, np.int64)])
    free = (refractory[pre] == 0) & (refractory[post] == 0)
    pre, post = pre[free], post[free]
    while len(pre):  # peel off edges that end where nothing starts, until a loop is left
        goes_on = np.isin(post, pre)
        if goes_on.all():
            at = int(np.searchsorted(start, post[0], side="right")) - 1
            raise ValueError(
                f"population {group[at]!r}: unit {post[0] - start[at]} is on or feeds a loop "
                "whose total delay is 0 and which has no refractory period; give one of its "
                "synapses a delay or its units a refractory period"
            )
        pre, post = pre[goes_on], post[goes_on]


def _instant_synapses(
    projection: Projection, pre_size: int, base: dict[str, int]
) -> tuple[IntArray, IntArray]:
    axonal = projection.axonal(pre_size)
    if (axonal > 0).all() or (projection.synaptic is not None and (projection.synaptic > 0).all()):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    pre, post, weight, delay = projection.synapses(pre_size)
    instant = (axonal[pre] + delay == 0) & (weight != 0)
    return pre[instant] + base[projection.pre], post[instant] + base[projection.post]
