"""The event engine and its adjoint as functions of torch tensors.

`fire` runs a spiking population, `observe` a readout; both are exact and differentiable in
everything a loss can move. Layers (`evsim.gradients.layers`) hold the parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from evsim import Dense, Network, Population, Spikes
from evsim._layout import SLOPE
from evsim.arrays import FloatArray
from evsim.models import MODELS
from evsim.ticks import exactly, network_in_ticks, spike_ticks

from .readout_gradients import pull, read
from .reverse import Kicks, Run, backward, forward
from .tensors import as_tensors, sorted_numpy, with_times

_SYNAPSES = (
    "weight", "axonal_delay", "delay",
    "recurrent_weight", "recurrent_axonal_delay", "recurrent_delay",
)  # fmt: skip


@dataclass
class Job:
    """What a run is told besides tensors, and what it leaves behind.

    Attributes
    ----------
    model : str
        `evsim` model of the population.
    spikes : Spikes
        Input, of arrays or tensors; what a run takes is checked here.
    options : dict
        Of the population that are no tensors: ``reset_mode``, ``output``, ``tau_output``.
    at : float64 array [time] or None
        Sample times of a readout [s].
    bound : float
        Largest size of the change of the voltage costate at a spike.
    tick : float or None
        Count times in whole ticks of this length [s]; see `evsim.simulate`.
    order : int array or None
        Afterwards: in which the input was sorted, if it was.
    run : Run
        Afterwards.
    """

    model: str
    spikes: Spikes
    options: dict[str, Any] = field(default_factory=dict)
    at: FloatArray | None = None
    bound: float = np.inf
    tick: float | None = None
    order: Any = None
    run: Run = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        """Refuse what are no sound spikes."""
        self.spikes = as_tensors(self.spikes, self.model)

    @property
    def names(self) -> tuple[str, ...]:
        """What can be differentiated, in the order in which `_Fire` and `_Observe` take it."""
        return (*_SYNAPSES, *MODELS[self.model].parameters)

    def in_order(self, tensors: dict[str, torch.Tensor | None]) -> list[torch.Tensor | None]:
        """Return tensors in the order of `names`, None for what is left out."""
        for name in tensors:
            if name not in self.names:
                raise TypeError(f"{self.model} has no {name!r}; it has {', '.join(self.names)}")
        return [tensors.get(name) for name in self.names]


def fire(job: Job, **tensors: torch.Tensor | None) -> Spikes:
    """Run a spiking population.

    Parameters
    ----------
    job : Job
        Model, input and options.
    **tensors
        ``weight`` [post, pre], ``axonal_delay`` [pre], ``delay`` [post, pre],
        ``recurrent_weight`` [post, post], ``recurrent_axonal_delay`` [post],
        ``recurrent_delay`` [post, post], and parameters of the model (scalar or [post]).

    Returns
    -------
    Spikes
        Of tensors, sorted by recording, time, unit; ``times`` carry the autograd graph.

    Raises
    ------
    ValueError
        If a value is not legal.
    RunawayError
        If the population fires without bound.
    """
    times = _Fire.apply(job, job.spikes.times, *job.in_order(tensors))
    fired = job.run.spikes
    units, offsets = torch.from_numpy(fired.units), torch.from_numpy(fired.offsets)
    return with_times(
        job.spikes.replace(None, units, offsets, size=fired.size),  # type: ignore[arg-type]
        times,
    )


def slopes(fired: Spikes) -> torch.Tensor:
    """Return the slope of the voltage just before each of the spikes that `fire` returned.

    Parameters
    ----------
    fired : Spikes
        As `fire` returned them, in the autograd graph.

    Returns
    -------
    float64 tensor [spike]
        [1/s].

    Raises
    ------
    ValueError
        If they come from elsewhere.
    """
    job = getattr(fired.times.grad_fn, "job", None)  # type: ignore[attr-defined]
    if job is None:
        raise ValueError("the spikes must be those that a spiking layer returned, unchanged")
    return torch.from_numpy(job.run.records[SLOPE] / job.run.unit)


def observe(job: Job, **tensors: torch.Tensor | None) -> torch.Tensor:
    """Run a readout population.

    Parameters
    ----------
    job, **tensors
        As for `fire`.

    Returns
    -------
    float64 tensor
        Values [recording, unit], or voltages [recording, time, unit] if ``job.at`` is given.
    """
    values: torch.Tensor = _Observe.apply(job, job.spikes.times, *job.in_order(tensors))
    return values


class _Fire(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, job: Job, times: torch.Tensor, *tensors: Any) -> torch.Tensor:
        _run(ctx, job, tensors)
        return torch.from_numpy(job.run.spikes.times * job.run.unit)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_times: torch.Tensor) -> Any:
        g = g_times.contiguous().numpy() * ctx.job.run.unit
        return _gradients(ctx, g, None, {})


class _Observe(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, job: Job, times: torch.Tensor, *tensors: Any) -> torch.Tensor:
        _run(ctx, job, tensors)
        return torch.from_numpy(read(job.run, job.at is not None) * _unit_of_values(job))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        job: Job = ctx.job
        at = None if job.at is None else job.at / job.run.unit
        kicks, *direct = pull(job.run, g.contiguous().numpy() * _unit_of_values(job), at)
        names = ("tau_mem", "tau_syn", "v_leak")
        return _gradients(ctx, np.empty(0), kicks, dict(zip(names, direct, strict=True)))


def _run(ctx: Any, job: Job, tensors: tuple[torch.Tensor | None, ...]) -> None:
    ctx.job = job
    # The run shares their memory: torch refuses to go back if they were changed meanwhile.
    ctx.save_for_backward(*tensors)
    unit = 1.0 if job.tick is None else job.tick
    spikes, job.order = sorted_numpy(
        job.spikes if job.tick is None else _ticked(job.spikes, job.tick)
    )
    values = {
        name: tensor.detach().double().numpy()
        for name, tensor in zip(job.names, tensors, strict=True)
        if tensor is not None
    }
    net = network_of(job.model, job.options, values)
    if job.tick is not None:
        net = network_in_ticks(net, job.tick)
    at = None if job.at is None else job.at / unit
    job.run = replace(forward(net, spikes, at, torch.get_num_threads()), unit=unit)


def _ticked(given: Spikes, tick: float) -> Spikes:
    """Return the input in ticks, in its order, which is needed on the way back."""
    (duration,) = exactly("duration", np.array([given.duration]), tick)
    arrays: Any = [
        a.detach().numpy()  # type: ignore[union-attr]
        for a in (given.times, given.units, given.offsets)
    ]
    ticks: Any = torch.from_numpy(spike_ticks(given.replace(*arrays), tick))
    return given.replace(ticks, given.units, given.offsets, duration=float(duration))


def _unit_of_values(job: Job) -> float:
    """Return what the values of a readout are counted in: an integral over ticks, or 1."""
    return job.run.unit if job.options.get("output") == "integral" else 1.0


def network_of(model: str, options: dict[str, Any], values: dict[str, FloatArray]) -> Network:
    """Build the network of an input and a population, as `fire` and `observe` run it.

    Parameters
    ----------
    model, options
        Of `Job`.
    values : dict
        By the names that `fire` takes.
    """
    size, pre_size = values["weight"].shape
    cells: dict[str, Any] = {n: v for n, v in values.items() if n not in _SYNAPSES}
    into: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for name in _SYNAPSES:
        if name in values:
            side = own if name.startswith("recurrent_") else into
            side[name.removeprefix("recurrent_")] = values[name]
    projections = [Dense(pre="input", post="population", **into)]
    if own:
        projections.append(Dense(pre="population", post="population", **own))
    population = Population("population", model, size, **cells, **options)
    return Network([Population("input", "Input", pre_size), population], projections)


def _gradients(
    ctx: Any, g_times: FloatArray, kicks: Kicks | None, direct: dict[str, FloatArray]
) -> tuple[torch.Tensor | None, ...]:
    """Run the reverse pass and hand out what was asked for."""
    job: Job = ctx.job
    wanted = dict(zip(job.names, ctx.needs_input_grad[2:], strict=True))
    taus = any(wanted[name] for name in MODELS[job.model].time_constants)
    g = backward(job.run, g_times, kicks, taus, job.bound, torch.get_num_threads())
    inputs = job.run.inputs
    found: dict[str, Any] = {
        "weight": g.weight,
        "delay": g.delay,
        "recurrent_weight": g.own_weight,
        "recurrent_axonal_delay": g.own_axonal,
        "recurrent_delay": g.own_delay,
        "tau_mem": g.tau_mem,
        "tau_syn": g.tau_syn,
        "tau_r": g.tau_r,
        "threshold": g.threshold,
        "reset": g.reset,
        "refractory": g.refractory,
        "v_leak": np.zeros(g.reset.shape) if "v_leak" in direct else -g.threshold - g.reset,
    }
    for name, more in direct.items():
        found[name] = found[name] + more
    if wanted["axonal_delay"]:
        found["axonal_delay"] = np.bincount(inputs.units, g.in_times, g.weight.shape[1])
    times = [name for name, rule in MODELS[job.model].parameters.items() if rule.is_time]
    for name in (*times, *(name for name in found if name.endswith("delay"))):
        if found.get(name) is not None:
            found[name] = found[name] / job.run.unit
    g_in = None
    if ctx.needs_input_grad[1]:
        g_in = torch.from_numpy(_unsorted(g.in_times / job.run.unit, job.order))
    for name in wanted:
        if wanted[name] and name not in found:
            raise ValueError(f"{job.model} has no exact gradient by {name!r} yet; leave it fixed")
    parts = [
        _like(found[name], tensor) if wanted[name] else None
        for name, tensor in zip(job.names, ctx.saved_tensors, strict=True)
    ]
    return None, g_in, *parts


def _unsorted(values: FloatArray, order: Any) -> FloatArray:
    if order is None:
        return values
    back = np.empty_like(values)
    back[order] = values
    return back


def _like(value: FloatArray, tensor: torch.Tensor) -> torch.Tensor:
    """Return a gradient in the type and shape of its tensor, summed where it was shared."""
    found = torch.from_numpy(np.ascontiguousarray(value))
    if found.shape != tensor.shape:
        found = found.sum().reshape(tensor.shape)
    return found.to(tensor.dtype)
