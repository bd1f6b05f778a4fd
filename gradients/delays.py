"""Delays as parameters: where they start, and how they are kept between their limits.

Limits are for optimisers. The default is a projection: after a step, what has left the limits
is put back on the wall. It lets a delay reach 0 exactly and leaves gradients as they are. What
a user puts there is never changed: a longer delay raises the limit, with a warning, and one
that no layer can have is refused. Two things help the projection:
`hold_delays` also clears the optimiser's momentum at the wall, which would otherwise hold
the delay there for long; `Bounded` is the alternative, a parametrisation without walls, in
which 0 is never reached and gradients shrink on the way there.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import wraps
from math import inf
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from evsim import Spikes
from evsim.doubts import warn_of_long_times, warn_of_slow_spikes

from .resting import keep_below_threshold
from .tensors import refuse_illegal, untraced

_MOMENTS = ("exp_avg", "momentum_buffer")  # of Adam and its kin, of SGD


def nearness(dtype: torch.dtype) -> float:
    """Return how near a grid point a delay of a type counts as on it, relative to the delay."""
    return 1e-9 if dtype == torch.float64 else 1e-6


@runtime_checkable
class Delayed(Protocol):
    """A module that has delays."""

    def delay_limits(self) -> dict[str, tuple[float, float]]:
        """Return the limits [s] of every parameter that is a delay, by name."""
        ...


class HasDelays(nn.Module):
    """A layer with delays that optimisers keep between limits, and users are asked about."""

    def delay_limits(self) -> dict[str, tuple[float, float]]:
        """Return the limits [s] of every parameter that is a delay, by name."""
        raise NotImplementedError

    def legal_limits(self) -> dict[str, tuple[float, float]]:
        """Return the same for what a user may put there: no delay below is run."""
        return self.delay_limits()

    @untraced
    def check_delays(self) -> None:
        """Refuse delays that can't be, and raise the limit to the longest: before any run.

        Raises
        ------
        ValueError
            If a delay is not finite or below its lower limit; names parameter and index.
        """
        if _STEPPING:  # an optimiser that looks at the loss on its way
            keep_delays(self)
        _STEPPED.add(self)
        for name, (low, high) in self.delay_limits().items():
            delay = getattr(self, name).detach()
            if delay.numel() and not delay.is_meta and not _between(low, delay, high):
                refuse_illegal(type(self).__name__, name, delay, self.legal_limits()[name][0])
                self.raise_limits()

    def named_times(self) -> dict[str, Tensor]:
        """Return delays and time constants [s], what may be too long for a recording, by name."""
        raise NotImplementedError

    def warn_of_odd_times(self, spikes: Spikes) -> None:
        """Warn once of times longer than every recording, or that look like milliseconds."""
        duration = spikes.duration
        if not duration < _LOOKED_AT.get(self, inf):
            return
        name = type(self).__name__
        times = (
            (f"{what} of {name}", values.detach().double().numpy())
            for what, values in self.named_times().items()
        )
        odd = warn_of_slow_spikes(spikes) or warn_of_long_times(times, duration)
        _LOOKED_AT[self] = -inf if odd else duration

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Return how to copy or pickle it, with the parametrisations that torch would refuse."""
        if not parametrize.is_parametrized(self):
            return super().__reduce_ex__(protocol)
        kind = type(self).__mro__[1]  # torch made the class of this one object
        getstate: Any = kind.__getstate__  # of a user's class perhaps
        state = dict(getstate(self))
        state["_modules"] = {n: m for n, m in self._modules.items() if n != "parametrizations"}
        chains: Any = self.parametrizations
        return _with_parametrizations, (kind, state, dict(chains.items()))

    def raise_limits(self) -> None:
        """Let no limit be below a delay; warn where one was."""
        for name, (_, high) in self.delay_limits().items():
            delay = getattr(self, name).detach()
            if delay.is_meta or not (delay > high).any() or parametrize.is_parametrized(self, name):
                continue
            limit, longest = name.replace("delay", "max_delay"), float(delay.max())
            setattr(self, limit, longest)
            warnings.warn(
                f"{type(self).__name__}: {name} has {longest:g} s, more than {limit} = {high:g} s; "
                f"the limit is {longest:g} s from now on",
                stacklevel=2,
            )

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, metadata: Any, strict: bool, missing: Any,
        unexpected: Any, errors: list[str],
    ) -> None:  # fmt: skip
        """Look at delays as soon as they are there."""
        super()._load_from_state_dict(
            state_dict, prefix, metadata, strict, missing, unexpected, errors
        )
        try:
            self.check_delays()
        except ValueError as error:
            errors.append(str(error))


def _with_parametrizations(
    kind: type[HasDelays], state: dict[str, Any], chains: dict[str, parametrize.ParametrizationList]
) -> HasDelays:
    """Return a layer of a class with these attributes, and its parametrisations put back."""
    layer: Any = kind.__new__(kind)
    nn.Module.__init__(layer)
    layer.__setstate__(state)
    for name, chain in chains.items():
        layer.register_parameter(name, nn.Parameter(torch.empty(0)))
        parametrize.register_parametrization(layer, name, nn.Identity(), unsafe=True)
        layer.parametrizations[name] = chain
    made: HasDelays = layer
    return made


class Bounded(nn.Module):
    """A parametrisation that keeps a delay inside (low, high) by a sigmoid.

    Parameters
    ----------
    low, high : float
        Limits [s].

    Examples
    --------
    >>> from evsim import gradients as g
    >>> layer = g.Delay(3, max_delay=0.05)
    >>> _ = parametrize.register_parametrization(layer, "delay", Bounded(0.0, 0.05))
    >>> bool(((layer.delay > 0) & (layer.delay < 0.05)).all())
    True
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, free: Tensor) -> Tensor:
        """Return the delay."""
        return self.low + (self.high - self.low) * torch.sigmoid(free)

    def right_inverse(self, delay: Tensor) -> Tensor:
        """Return the free parameter of a delay; one at a wall is taken a little inside."""
        share = (delay - self.low) / (self.high - self.low)
        return torch.logit(share, eps=1e-4)


@torch.no_grad()
def keep_delays(module: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> None:
    """Put every delay of a module back between its limits.

    Optimisers of torch have this done after each step to the layers that ran before it.

    Parameters
    ----------
    module : Module
        A layer, or a model of layers.
    optimizer : Optimizer or None
        Whose momentum is cleared where a delay was put back.
    """
    for part in module.modules():
        if not isinstance(part, Delayed):
            continue
        for name, (low, high) in part.delay_limits().items():
            if parametrize.is_parametrized(part, name):
                continue
            delay = getattr(part, name)
            outside = (delay < low) | (delay > high)
            if not outside.is_meta and outside.any():
                delay.clamp_(low, high)
                if optimizer is not None:
                    _forget(optimizer.state.get(delay, {}), outside)


def hold_delays(module: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
    """Have an optimiser keep the delays of a module between their limits after each step.

    So does torch with all optimisers; this also clears the momentum of what was put back, and
    keeps free delays behind a `evsim.gradients.lowbit.DelayGrid` between the layer's least and
    the grid's longest, so that they come back soon.

    Parameters
    ----------
    module : Module
        A model of layers.
    optimizer : Optimizer
        Of torch.

    Returns
    -------
    handle
        Its ``remove()`` undoes it.
    """

    def hold(*_: Any) -> None:
        keep_delays(module, optimizer)
        _hold_free_delays(module, optimizer)

    return optimizer.register_step_post_hook(hold)


def free_delay(layer: Any, name: str) -> Tensor:
    """Return what is trained for a delay, where that is one too [s].

    That is the delay itself, or what is behind parametrisations that say of themselves that
    they take a delay, by an attribute ``free_is_delay`` that is true.
    """
    found: Tensor = _chain(layer, name).original if _is_free(layer, name) else getattr(layer, name)
    return found


def _is_free(layer: Any, name: str) -> bool:
    """Whether there is a free delay behind a delay."""
    chain = _chain(layer, name)
    return bool(chain) and all(getattr(part, "free_is_delay", False) for part in chain)


def _chain(layer: Any, name: str) -> Any:
    """Return the parametrisations of a tensor."""
    return layer.parametrizations[name] if parametrize.is_parametrized(layer, name) else ()


def _limits(layer: Any, name: str) -> tuple[float, float]:
    """Return the limits of what is trained for a delay: behind a grid, the grid says."""
    low, high = layer.delay_limits()[name]
    if _is_free(layer, name):
        high = min(part.high for part in _chain(layer, name))
    return low, high


@torch.no_grad()
def _hold_free_delays(module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Keep free delays behind grids where the grid is: farther out they would come back late."""
    for part in module.modules():
        for name in part.delay_limits() if isinstance(part, Delayed) else ():
            if not _is_free(part, name):
                continue
            free, (low, high) = free_delay(part, name), _limits(part, name)
            outside = (free < low) | (free > high)
            if not free.is_meta and outside.any():
                free.clamp_(low, high)
                _forget(optimizer.state.get(free, {}), outside)


def trained_delays(module: nn.Module) -> Iterator[tuple[str, Tensor, tuple[float, float]]]:
    """Yield name, values and limits [s] of every delay of a model that an optimiser may move.

    Behind a grid of delays those are the free ones.
    """
    for prefix, part in module.named_modules():
        if isinstance(part, Delayed):
            for name in part.delay_limits():
                delay = free_delay(part, name)
                if delay.requires_grad:
                    yield f"{prefix}.{name}" if prefix else name, delay, _limits(part, name)


@torch.no_grad()
def share_at_limits(module: nn.Module) -> float:
    """Return the share of a model's trained delays that lie at one of their limits."""
    at_limits = n = 0
    for _, delay, (low, high) in trained_delays(module):
        at_limits += int(((delay <= low) | (delay >= high)).sum())
        n += delay.numel()
    return at_limits / max(n, 1)


def _between(low: float, delay: Tensor, high: float) -> bool:
    """Whether all delays are, for sure: what was rounded to the type of a wall may not be."""
    smallest, largest = torch.aminmax(delay)
    return low <= float(smallest) and float(largest) <= high


def _forget(state: dict[str, Any], where: Tensor) -> None:
    for name in _MOMENTS:
        moment = state.get(name)
        if torch.is_tensor(moment) and moment.shape == where.shape:
            moment[where] = 0.0


# Layers whose delays an optimiser may move, and how many closures of one are running.
_STEPPED: WeakSet[HasDelays] = WeakSet()
_STEPPING: list[bool] = []
# The shortest recordings that the times of a layer were compared with [s].
_LOOKED_AT: WeakKeyDictionary[HasDelays, float] = WeakKeyDictionary()


def _before_a_step(
    optimizer: torch.optim.Optimizer, args: tuple[Any, ...], options: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Let delays outside their limits stay, and mark where the closure that is given runs."""
    for layer in _layers_of(optimizer):
        layer.raise_limits()  # what is outside before the step was put there
    marked = {name: _marked(value) for name, value in options.items()}
    return tuple(map(_marked, args)), marked


def _marked(closure: Any) -> Any:
    """Return a closure that says of itself that it runs; anything else as it is."""
    if not callable(closure) or isinstance(closure, torch.optim.Optimizer):
        return closure

    @wraps(closure)
    def run() -> Any:
        _STEPPING.append(True)
        try:
            return closure()
        finally:
            _STEPPING.pop()

    return run


def _after_a_step(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    for layer in _layers_of(optimizer):
        keep_delays(layer)
    moved = _moved_by(optimizer)
    for layer in list(_STEPPED):
        if id(layer._parameters.get("v_leak")) in moved:
            keep_below_threshold(layer)


def _layers_of(optimizer: torch.optim.Optimizer) -> Iterator[HasDelays]:
    """Yield the layers that ran whose delays an optimiser has."""
    moved = _moved_by(optimizer)
    for layer in list(_STEPPED):
        if any(id(getattr(layer, name)) in moved for name in layer.delay_limits()):
            yield layer


def _moved_by(optimizer: torch.optim.Optimizer) -> set[int]:
    return {id(p) for group in optimizer.param_groups for p in group["params"]}


register_optimizer_step_pre_hook(_before_a_step)
register_optimizer_step_post_hook(_after_a_step)
