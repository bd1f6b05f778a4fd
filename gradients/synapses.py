"""What the layers have in common: weights, delays, masks, cells, recurrence.

`Synapses` is a population with an input projection, `Spiking` adds a projection onto itself.
The public layers (`evsim.gradients.layers`) say which neuron model and which parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import inf
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from evsim import Population, Spikes
from evsim.models import MODELS
from evsim.quantities import positive
from evsim.spike_checks import check_size

from .constructors import CELLS, TableSignature, arguments_of, described, documented
from .delays import HasDelays
from .diagnostics import Diagnostics
from .functional import Job, fire, observe
from .reverse import Run
from .tensors import as_tensors, joined, refuse_elsewhere, refuse_illegal, untraced

MAX_DELAY = 60e-3
LOOP_DELAY = 1e-3  # of recurrent spikes, if nothing else is said [s]
SHORTEST_LOOP = 1e-4  # learnt recurrent delays stay above it: a loop takes time [s]
LEAST_LOOP = float(np.float32(SHORTEST_LOOP))  # the same of float32, a little less
MEAN, SPREAD, LOOP_SPREAD = 2.0, 1.0, 0.2  # of first weights, see `reset_parameters`

Value = float | Sequence[float] | Tensor
_KINDS = ("axonal", "dendritic", "synaptic")  # of learnt delays: per pre unit, post unit, synapse


class Synapses(HasDelays):
    """A population and the projection onto it.

    A layer is a class with the name of a ``model``; its constructor takes the sizes, the
    parameters of the model, and the options of the ``_set_up`` of its kind.
    """

    model: str
    tick: float | None
    __signature__ = TableSignature()

    def __init_subclass__(cls, **options: Any) -> None:
        """Fill the parameters of the model into the docstring."""
        super().__init_subclass__(**options)
        if cls.__doc__ and CELLS in cls.__doc__:
            cls.__doc__ = documented(cls)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__()
        self._set_up(**arguments_of(type(self), arguments, options))

    _set_up: Callable[..., None]

    def _add_synapses(
        self,
        in_features: int,
        out_features: int,
        cells: dict[str, Value],
        delay: str | None,
        max_delay: float | None,
        learn: Sequence[str],
        mask: Tensor | None,
        dtype: torch.dtype | None,
    ) -> None:
        """Make the parameters of the population and of the projection onto it.

        Parameters
        ----------
        in_features, out_features : int
            Sizes.
        cells : dict
            Parameters of the neurons, scalar or [out].
        delay : {None, "axonal", "dendritic", "synaptic"}
            Whether the projection has delays, of shape [in], [out] or [out, in].
        max_delay : float or None
            Their largest value [s], `MAX_DELAY` if left out.
        learn : sequence of str
            Which of ``cells`` are trained.
        mask : bool tensor [out, in] or None
            Which synapses there are.
        dtype : torch.dtype or None
            Of parameters.
        """
        self.in_features, self.out_features = in_features, out_features
        if delay not in (None, *_KINDS):
            raise ValueError(
                f"delay = {delay!r}, must be None, 'axonal', 'dendritic' or 'synaptic'"
            )
        self.delay_kind = delay
        self.max_delay = checked_limit("max_delay", max_delay, delay is not None)
        self.learn = (learn,) if isinstance(learn, str) else tuple(learn)
        self.cells = tuple(cells)
        for name in self.learn:
            if name not in cells:
                known = ", ".join(cells)
                raise ValueError(f"learn: no {name!r} in {type(self).__name__}; it has {known}")
        for name, value in cells.items():
            self._add_cell(name, value, dtype)
        if not torch.empty(()).is_meta:  # where nothing has values
            Population(type(self).__name__, self.model, out_features, **self.cell_values())
        shape = (out_features, in_features)
        self.weight = nn.Parameter(torch.empty(shape, dtype=dtype))
        self.register_parameter("delay", None)
        if delay is not None:
            shape_of = {"axonal": shape[1:], "dendritic": shape[:1], "synaptic": shape}
            self.delay = nn.Parameter(torch.rand(shape_of[delay], dtype=dtype) * self.max_delay)
        self.mask: Tensor | None
        self.register_buffer("mask", checked_mask("mask", mask, shape))
        self.reset_parameters()

    def cell_values(self) -> dict[str, Any]:
        """Return the parameters of the neurons as float64 arrays."""
        return {n: getattr(self, n).detach().double().cpu().numpy() for n in self.cells}

    def _add_cell(self, name: str, value: Value, dtype: torch.dtype | None) -> None:
        learnt = name in self.learn
        # What is not learnt keeps its digits, whatever the parameters' type.
        kept = (dtype or torch.get_default_dtype()) if learnt else torch.float64
        tensor = torch.as_tensor(value, dtype=kept).clone()
        if tensor.shape not in ((), (self.out_features,)):
            raise ValueError(
                f"{name}: shape {list(tensor.shape)}, must be [] or [{self.out_features}]"
            )
        if learnt:
            self.register_parameter(name, nn.Parameter(tensor))
        else:
            self.register_buffer(name, tensor)

    def reset_parameters(self) -> None:
        """Draw the weights anew.

        Normal, in units of the weight whose single arrival just reaches a voltage of 1:
        mean `MEAN` / in, standard deviation `SPREAD` / sqrt(in).
        """
        if self.weight.is_meta:
            return
        unit = self.unit_weight()
        with torch.no_grad():
            drawn = nn.init.normal_(
                torch.empty_like(self.weight),
                MEAN * unit / self.in_features,
                SPREAD * unit / self.in_features**0.5,
            )
            if is_parametrized(self, "weight"):
                self.weight = drawn  # type: ignore[assignment]  # sets the free one
            else:
                self.weight.copy_(drawn)

    def unit_weight(self) -> float:
        """Return the weight whose single arrival lifts the voltage by 1, for average cells."""
        raise NotImplementedError

    def delay_limits(self) -> dict[str, tuple[float, float]]:
        """Return the limits of the delays [s] by name of the parameter."""
        return {} if self.delay_kind is None else {"delay": (0.0, self.max_delay)}

    def tensors(self) -> dict[str, Tensor | None]:
        """Return what `fire` and `observe` take.

        Raises
        ------
        ValueError
            If a delay can't be; names it and the index.
        """
        return self.input_tensors()

    def input_tensors(self) -> dict[str, Tensor | None]:
        """Return cells, weights and delays of the input projection as they act."""
        self.check_delays()
        found: dict[str, Tensor | None] = {name: getattr(self, name) for name in self.cells}
        found["weight"] = self.weight if self.mask is None else self.weight * self.mask
        if self.delay_kind == "axonal":
            found["axonal_delay"] = self.delay
        elif self.delay_kind is not None:
            found["delay"] = of_synapses(self.delay, self.in_features)
        return found

    def folded(self) -> dict[str, Tensor]:
        """Return the tensors that a network has in place of the layer's own, by name."""
        return {}

    def refuse_illegal_parameters(self) -> None:
        """Refuse weights and delays that can't be; names the parameter and the index."""
        for name, least in (
            ("weight", None), ("recurrent_weight", None), ("delay", 0.0), ("recurrent_delay", 0.0)
        ):  # fmt: skip
            values = getattr(self, name, None)
            if values is not None:
                refuse_illegal(type(self).__name__, name, values, least)

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Have what the engine refuses told by the names of this layer's parameters."""
        try:
            yield
        except ValueError:
            self.refuse_illegal_parameters()
            raise

    def job(self, spikes: Spikes, **options: Any) -> Job:
        """Return what a run on ``spikes`` is told besides tensors."""
        self.refuse_other_devices()
        job = Job(self.model, spikes, options, tick=self.tick)
        check_size(job.spikes, self.in_features, f"the layer has {self.in_features} inputs")
        self.warn_of_odd_times(job.spikes)
        return job

    def refuse_other_devices(self) -> None:
        """Refuse parameters that are not on the CPU, by name."""
        for part in (self._parameters, self._buffers):
            for name, tensor in part.items():
                if tensor is not None and not tensor.is_cpu:
                    refuse_elsewhere(type(self).__name__, f"its {name} is", tensor)

    def named_times(self) -> dict[str, Tensor]:
        """Return delays and time constants [s], what may be too long for a recording, by name."""
        names = ("delay", "recurrent_delay", *MODELS[self.model].time_constants)
        found = {name: getattr(self, name, None) for name in names}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def extra_repr(self) -> str:
        """Return the sizes, and what is not as usual."""
        return ", ".join([f"{self.in_features}, {self.out_features}", *described(self)])


class Spiking(Synapses):
    """A population that fires, and the projection from it onto itself."""

    def _set_up(
        self,
        in_features: int,
        out_features: int,
        cells: dict[str, Value],
        delay: str | None = None,
        max_delay: float | None = None,
        recurrent: str | None = None,
        recurrent_delay: float | str = LOOP_DELAY,
        recurrent_max_delay: float | None = None,
        kernel_size: int = 3,
        learn: Sequence[str] = (),
        mask: Tensor | None = None,
        recurrent_mask: Tensor | None = None,
        bound: float = inf,
        tick: float | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Make the parameters of the layer.

        Parameters
        ----------
        in_features, out_features, cells, delay, max_delay, learn, mask, dtype
            As for `_add_synapses`.
        recurrent : {None, "dense", "conv"}
            Weights of the loop: none, [out, out], or a kernel [kernel_size] that all units
            share.
        recurrent_delay : float, "axonal", "dendritic" or "synaptic"
            One fixed delay [s], or learnt ones: [out] of the units that send or that receive,
            or one per weight.
        recurrent_max_delay : float or None
            The largest learnt ones [s], `MAX_DELAY` if left out.
        kernel_size : int
            Of ``"conv"``; odd, the middle is the unit itself.
        recurrent_mask : bool tensor [out, out] or None
            Which synapses of the loop there are.
        bound : float
            Largest size of the change of a voltage costate at a spike; inf leaves gradients
            exact.
        tick : float or None
            Count times in whole ticks of this length [s].
        """
        self._add_synapses(in_features, out_features, cells, delay, max_delay, learn, mask, dtype)
        if recurrent not in (None, "dense", "conv"):
            raise ValueError(f"recurrent = {recurrent!r}, must be None, 'dense' or 'conv'")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size = {kernel_size}, must be odd and positive")
        if isinstance(recurrent_delay, str) and recurrent_delay not in _KINDS:
            raise ValueError(
                f"recurrent_delay = {recurrent_delay!r}, must be a number, 'axonal', 'dendritic' "
                "or 'synaptic'"
            )
        self.recurrent, self.kernel_size = recurrent, kernel_size
        self.recurrent_delay_kind = recurrent_delay if isinstance(recurrent_delay, str) else None
        learnt = recurrent is not None and self.recurrent_delay_kind is not None
        self.recurrent_max_delay = checked_limit("recurrent_max_delay", recurrent_max_delay, learnt)
        self.bound = positive("bound", bound, infinite=True)
        self.tick = None if tick is None else positive("tick", tick, "s")
        n = self.out_features
        self.recurrent_mask: Tensor | None
        recurrent_mask = checked_mask("recurrent_mask", recurrent_mask, (n, n))
        self.register_buffer("recurrent_mask", recurrent_mask)
        self.register_parameter("recurrent_weight", None)
        self.register_parameter("recurrent_delay", None)
        if recurrent is not None:
            shape = (n, n) if recurrent == "dense" else (kernel_size,)
            self._add_loop(shape, recurrent_delay, dtype)

    def _add_loop(
        self, shape: tuple[int, ...], delay: float | str, dtype: torch.dtype | None
    ) -> None:
        unit = 1.0 if self.weight.is_meta else self.unit_weight()
        spread = LOOP_SPREAD * unit / shape[-1] ** 0.5
        self.recurrent_weight = nn.Parameter(torch.randn(shape, dtype=dtype) * spread)
        if isinstance(delay, str):
            shape = shape if delay == "synaptic" else (self.out_features,)
            low, high = SHORTEST_LOOP, self.recurrent_max_delay
            drawn = low + torch.rand(shape, dtype=dtype) * (high - low)
            self.recurrent_delay = nn.Parameter(drawn)
        else:
            if not 0 <= delay < inf:
                raise ValueError(f"recurrent_delay = {delay}, must be finite and >= 0 [s]")
            del self.recurrent_delay
            self.register_buffer("recurrent_delay", torch.tensor(delay, dtype=torch.float64))

    @property
    def diagnostics(self) -> Diagnostics | None:
        """How the layer fired on the last batch; worked out when asked for. Copies have none."""
        last = _LAST.get(self)
        if isinstance(last, Run):
            last = _LAST[self] = Diagnostics.of(last)
        return last

    def remember(self, counts: Any, duration: float) -> None:
        """Take spikes [recording, out] in so many seconds for those that `diagnostics` tell of."""
        _LAST[self] = Diagnostics.of_counts(counts, duration)

    def delay_limits(self) -> dict[str, tuple[float, float]]:
        """Return the limits of the delays [s] by name of the parameter."""
        limits = super().delay_limits()
        if self.recurrent is not None and self.recurrent_delay_kind is not None:
            limits["recurrent_delay"] = (LEAST_LOOP, self.recurrent_max_delay)
        return limits

    def tensors(self) -> dict[str, Tensor | None]:
        """Return what `fire` takes."""
        found = self.input_tensors()
        if self.recurrent is None:
            return found
        weight: Tensor = self.recurrent_weight
        delay: Tensor = self.recurrent_delay
        n, kind = self.out_features, self.recurrent_delay_kind
        if self.recurrent == "conv":
            weight = banded(weight, n)
            delay = banded(delay, n) if kind == "synaptic" else delay
        if kind is None:
            delay = delay.expand(n)
        elif kind == "dendritic":
            delay = of_synapses(delay, n)
        if self.recurrent_mask is not None:
            weight = weight * self.recurrent_mask
        found["recurrent_weight"] = weight
        name = "recurrent_axonal_delay" if kind in (None, "axonal") else "recurrent_delay"
        found[name] = delay
        return found

    @untraced
    def forward(self, spikes: Spikes) -> Spikes:
        """Return the spikes of the layer.

        Parameters
        ----------
        spikes : Spikes
            Input, of arrays or tensors.

        Returns
        -------
        Spikes
            Of tensors, sorted by recording, time, unit; ``times`` carry the autograd graph.

        Raises
        ------
        TypeError
            If they are something else; the message tells how to make `Spikes` of it.
        ValueError
            If a time or unit is not legal (recording and index are named), the spikes have
            another number of units than the layer inputs, they or the parameters are not on the
            CPU, or a parameter is not legal.
        RunawayError
            If the layer fires without bound.
        """
        _LAST.pop(self, None)
        job = self.job(spikes)
        job.bound = self.bound
        with self.blamed():
            fired = fire(job, **self.tensors())
        _LAST[self] = job.run
        return fired

    @untraced
    def peak_voltage(self, spikes: Spikes, fired: Spikes) -> Tensor:
        """Return the largest voltage of each unit that stayed silent, above its threshold's 0.

        The remedy for silent neurons: unlike the spikes that they don't have, it has an
        exact gradient.

        Parameters
        ----------
        spikes : Spikes
            What the layer was given.
        fired : Spikes
            What it returned.

        Returns
        -------
        float64 tensor [recording, unit]
            Peak minus threshold, negative; 0 without a gradient for units that fired.
        """
        self.refuse_other_devices()
        found = self.tensors()
        threshold = found["threshold"]
        spikes, fired = (as_tensors(a, "peak_voltage") for a in (spikes, fired))
        job = self._peak_job(spikes, fired, found)
        with self.blamed():
            peaks = observe(job, **found)
        counts = torch.from_numpy(fired.counts())
        assert threshold is not None
        return torch.where(counts == 0, peaks - threshold.double(), torch.zeros_like(peaks))

    def _peak_job(self, spikes: Spikes, fired: Spikes, found: dict[str, Tensor | None]) -> Job:
        """Make the layer's own spikes a part of its input, and ``found`` fit that."""
        own = [found.pop(f"recurrent_{name}", None) for name in ("weight", "axonal_delay", "delay")]
        weight = found["weight"]
        if own[0] is not None and weight is not None:
            late = _full_delay(found.pop("axonal_delay", None), found.pop("delay", None), found)
            late_own = _full_delay(own[1], own[2], {"weight": own[0]})
            found["delay"] = torch.cat([late, late_own], dim=1)
            found["weight"] = torch.cat([weight, own[0]], dim=1)
            spikes = joined(spikes, fired, self.in_features)
        self._peak_cells(found)
        for name in set(self.cells) - set(MODELS["CubaLI"].parameters):
            found.pop(name, None)
        return Job("CubaLI", spikes, {"output": "max"})

    def _peak_cells(self, found: dict[str, Tensor | None]) -> None:
        """Make the parameters those of a readout whose voltage is that of a silent unit."""


# Not in the layers: what they were run on has no place in their copies and files.
_LAST: WeakKeyDictionary[Spiking, Run | Diagnostics] = WeakKeyDictionary()


def _full_delay(axonal: Tensor | None, synaptic: Tensor | None, found: dict[str, Any]) -> Tensor:
    """Return the delay of every synapse, [post, pre]."""
    total = torch.zeros_like(found["weight"])
    for part in (axonal, synaptic):
        total = total if part is None else total + part
    return total


def of_synapses(delay: Tensor, n_pre: int) -> Tensor:
    """Return delays of every synapse, [post, pre], of those of post units, [post], if they are."""
    return delay if delay.ndim == 2 else delay[:, None].expand(-1, n_pre)


def banded(kernel: Tensor, n: int) -> Tensor:
    """Return the matrix [n, n] of a kernel that all units share; 0 away from the diagonal.

    Examples
    --------
    >>> banded(torch.tensor([1., 2., 3.]), 3)
    tensor([[2., 3., 0.],
            [1., 2., 3.],
            [0., 1., 2.]])
    """
    reach = len(kernel) // 2
    units = torch.arange(n)
    place = units[None, :] - units[:, None] + reach
    inside = (place >= 0) & (place < len(kernel))
    return torch.where(inside, kernel[place.clamp(0, len(kernel) - 1)], kernel.new_zeros(()))


def checked_limit(name: str, limit: float | None, learnt: bool) -> float:
    """Return the longest delay [s]; refuse one where there are no delays to learn."""
    if limit is None:
        return MAX_DELAY
    if not learnt:
        delay = name.replace("max_delay", "delay")
        loop = "recurrent= and " if delay.startswith("recurrent") else ""
        raise ValueError(
            f"{name} = {limit}, but no delays are learnt: give {loop}{delay}='axonal', "
            f"'dendritic' or 'synaptic', or leave {name} out"
        )
    return positive(name, limit, "s")


def checked_mask(name: str, mask: Any, shape: tuple[int, ...]) -> Tensor | None:
    """Return a mask as a bool tensor."""
    if mask is None:
        return None
    mask = torch.as_tensor(mask, dtype=torch.bool)
    if mask.shape != shape:
        raise ValueError(f"{name}: shape {list(mask.shape)}, must be {list(shape)}")
    return mask
