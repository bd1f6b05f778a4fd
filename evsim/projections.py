"""The kinds of projection: which pre unit reaches which post units, how strongly, how late.

Every arrival is at t_spike + axonal delay + synaptic delay. The axonal part belongs to
the pre unit, the synaptic part to the connection; both may be present and add up.
Shapes and geometry are checked here; the network checks them against the populations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from evsim.arrays import FloatArray, IntArray, entry, same_bits
from evsim.levels import Levels

LONGEST_SIDE = 1 << 30  # of a convolution: products of two fit into 64 bits


class Synapses(NamedTuple):
    """Every connection of a projection, one entry each; ``delay`` is the synaptic part."""

    pre: IntArray
    post: IntArray
    weight: FloatArray
    delay: FloatArray


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Projection:
    """What all kinds share.

    Attributes
    ----------
    pre, post : str
        Names of the population that sends and of the one that receives.
    delay : float64 array
        Scalar (all alike), [pre] (axonal) or the weight's shape (synaptic) [s]; >= 0.
        In a sparse projection with as many synapses as pre units, synaptic is meant.
    axonal_delay : float64 array or None
        Scalar or [pre]; added to ``delay`` [s]; >= 0.
    name : str
        Unique in the network; ``"pre->post"`` if left out.

    Notes
    -----
    Weights and delays may be given as `evsim.Levels`. The attribute is then the float64 array,
    and `levels` has what was given.
    """

    pre: str
    post: str
    delay: FloatArray = 0.0  # type: ignore[assignment]
    axonal_delay: FloatArray | None = None
    name: str = ""
    # Levels, and the very array they became: by it `dataclasses.replace` tells an array that is
    # handed on from one that replaces it.
    _told: dict[str, tuple[Levels, FloatArray]] = field(default_factory=dict)

    kind = ""
    weights_name = "weight"

    def __post_init__(self) -> None:
        """Convert and check what does not depend on the populations."""
        self._set("name", self.name or f"{self.pre}->{self.post}")
        told = {}
        for name in (self.weights_name, "delay", "axonal_delay"):
            given = getattr(self, name)
            if given is None:  # an axonal delay
                continue
            levels, from_levels = self._told.get(name, (None, None))
            if given is not from_levels:
                levels = given if isinstance(given, Levels) else None
            convert = self._floats if name == self.weights_name else self._delays
            array = convert(name, given)
            self._set(name, array)
            if levels is not None:
                told[name] = levels, array
        self._set("_told", told)

    def __repr__(self) -> str:
        """Return the ends and the shape of the weights."""
        shape = list(self.weights.shape)
        return f"{type(self).__name__}({self.pre!r} -> {self.post!r}, {self.weights_name} {shape})"

    def __eq__(self, other: object) -> bool:
        """Whether kind, ends, name and numbers are the same, to the last bit.

        Numbers that come from `levels` equal the same numbers without: they do the same.
        """
        if not isinstance(other, type(self)) or type(self) is not type(other):
            return NotImplemented
        names = ("name", "pre", "post", *payload(self))
        return all(same_bits(getattr(self, name), getattr(other, name)) for name in names)

    def __hash__(self) -> int:
        """Return what equal ones share."""
        return hash((self.kind, self.name, self.pre, self.post))

    @property
    def where(self) -> str:
        """How messages name this projection."""
        return f"projection {self.name!r}"

    @property
    def levels(self) -> dict[str, Levels]:
        """The `Levels` that weights and delays were given as, by the name of the attribute.

        An array that was replaced, or changed in place, has none.
        """
        return {
            name: levels
            for name, (levels, array) in self._told.items()
            if same_bits(levels.array(), array)
        }

    @property
    def synaptic(self) -> FloatArray | None:
        """The synaptic delays, in the weight's shape, or None if there are none."""
        return self.delay if self.delay.ndim and self.delay.shape == self.weights.shape else None

    def axonal(self, pre_size: int) -> FloatArray:
        """Return the delay that every pre unit adds to all its synapses, [pre] [s]."""
        total = np.zeros(pre_size)
        if self.synaptic is None:
            total = total + self.delay
        if self.axonal_delay is not None:
            total = total + self.axonal_delay
        return total

    def check(self, pre_size: int, post_size: int) -> None:
        """Refuse shapes that don't fit populations of these sizes."""
        self._check_geometry(pre_size, post_size)
        shape = self.weights.shape
        if self.delay.shape not in ((), (pre_size,), shape):
            raise ValueError(
                f"{self.where}: delay has shape {list(self.delay.shape)}; must be a scalar, "
                f"[{pre_size}] (axonal) or {list(shape)} (synaptic)"
            )
        axonal = self.axonal_delay
        if axonal is not None and axonal.shape not in ((), (pre_size,)):
            raise ValueError(
                f"{self.where}: axonal_delay has shape {list(axonal.shape)}; must be a scalar "
                f"or [{pre_size}]"
            )

    def synapses(self, pre_size: int) -> Synapses:
        """List every connection; for a convolution that is many times the kernel."""
        raise NotImplementedError

    @property
    def n_synapses(self) -> int:
        """How many connections `synapses` lists, without listing them."""
        return self.weights.size

    def _check_geometry(self, pre_size: int, post_size: int) -> None:
        raise NotImplementedError

    @property
    def weights(self) -> FloatArray:
        """The weights, whatever this kind calls them."""
        return getattr(self, self.weights_name)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _floats(self, name: str, values: npt.ArrayLike) -> FloatArray:
        array = np.ascontiguousarray(values, dtype=np.float64).reshape(np.shape(values))
        wrong = np.flatnonzero(~np.isfinite(array.ravel()))
        if len(wrong):
            raise ValueError(f"{self.where}: {entry(name, array, wrong[0])}, must be finite")
        return array

    def _delays(self, name: str, values: npt.ArrayLike) -> FloatArray:
        if isinstance(values, Levels) and values.step is not None and values.step < 0:
            raise ValueError(f"{self.where}: {name} has step = {values.step}, must be > 0 [s]")
        array = np.ascontiguousarray(values, dtype=np.float64).reshape(np.shape(values))
        wrong = np.flatnonzero(~((array.ravel() >= 0) & np.isfinite(array.ravel())))
        if len(wrong):
            what = entry(name, array, wrong[0])
            raise ValueError(f"{self.where}: {what}, must be finite and >= 0 [s]")
        return array

    def _integers(self, name: str, values: npt.ArrayLike) -> IntArray:
        array = np.asarray(values)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            raise ValueError(f"{self.where}: {name} must be a one-dimensional array of integers")
        return np.ascontiguousarray(array, dtype=np.int64)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Dense(Projection):
    """All to all.

    Attributes
    ----------
    weight : float64 array [post, pre]
        An arrival at unit j from unit i adds ``weight[j, i]``.
    """

    weight: FloatArray

    kind = "dense"

    def _check_geometry(self, pre_size: int, post_size: int) -> None:
        if self.weight.shape != (post_size, pre_size):
            raise ValueError(
                f"{self.where}: weight has shape {list(self.weight.shape)}, must be "
                f"[post, pre] = [{post_size}, {pre_size}]"
            )

    def synapses(self, pre_size: int) -> Synapses:
        """List every connection, sorted by pre, then post."""
        post_size = self.weight.shape[0]
        pre, post = (
            np.repeat(np.arange(pre_size), post_size),
            np.tile(np.arange(post_size), pre_size),
        )
        delay = np.zeros(len(pre)) if self.synaptic is None else self.synaptic.T.ravel()
        return Synapses(pre, post, self.weight.T.ravel(), delay)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Sparse(Projection):
    """Listed connections, by pre unit (CSR); several between one pair are allowed.

    Attributes
    ----------
    indptr : int64 array [pre + 1]
        Unit i owns the synapses ``indptr[i]:indptr[i+1]``.
    indices : int64 array [synapse]
        Post units.
    weight : float64 array [synapse]
        What an arrival adds.
    """

    indptr: IntArray
    indices: IntArray
    weight: FloatArray

    kind = "sparse"

    def __post_init__(self) -> None:
        """Convert and check what does not depend on the populations."""
        self._set("name", self.name or f"{self.pre}->{self.post}")
        self._set("indptr", self._integers("indptr", self.indptr))
        self._set("indices", self._integers("indices", self.indices))
        super().__post_init__()

    def _check_geometry(self, pre_size: int, post_size: int) -> None:
        if self.weight.shape != self.indices.shape:
            raise ValueError(
                f"{self.where}: weight has shape {list(self.weight.shape)}, indices has shape "
                f"{list(self.indices.shape)}; both must be [synapse]"
            )
        ptr = self.indptr
        if len(ptr) != pre_size + 1 or ptr[0] != 0 or ptr[-1] != len(self.indices):
            raise ValueError(
                f"{self.where}: indptr must have {pre_size + 1} entries (pre + 1), from 0 to the "
                f"number of synapses ({len(self.indices)})"
            )
        backwards = np.flatnonzero(np.diff(ptr) < 0)
        if len(backwards):
            i = int(backwards[0])
            raise ValueError(
                f"{self.where}: indptr[{i + 1}] = {ptr[i + 1]} is before indptr[{i}] = {ptr[i]}"
            )
        wrong = np.flatnonzero((self.indices < 0) | (self.indices >= post_size))
        if len(wrong):
            raise ValueError(
                f"{self.where}: {entry('indices', self.indices, wrong[0])} is outside "
                f"{self.post!r} of size {post_size}"
            )

    def synapses(self, pre_size: int) -> Synapses:
        """List every connection in its stored order."""
        pre = np.repeat(np.arange(pre_size), np.diff(self.indptr))
        delay = np.zeros(len(pre)) if self.synaptic is None else self.synaptic
        return Synapses(pre, self.indices, self.weight, delay)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Conv(Projection):
    """A cross-correlation as in torch; units are channels x positions, in C order."""

    kernel: FloatArray
    input_shape: tuple[int, ...]
    stride: tuple[int, ...] = 1  # type: ignore[assignment]
    padding: tuple[int, ...] = 0  # type: ignore[assignment]
    dilation: tuple[int, ...] = 1  # type: ignore[assignment]

    weights_name = "kernel"
    n_dims = 0

    def __post_init__(self) -> None:
        """Convert and check what does not depend on the populations."""
        super().__post_init__()
        if self.kernel.ndim != self.n_dims + 2 or 0 in self.kernel.shape:
            raise ValueError(
                f"{self.where}: kernel has shape {list(self.kernel.shape)}, must be "
                f"[out channel, in channel{', tap' * self.n_dims}]"
            )
        for name, least in (("input_shape", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            self._set(name, self._geometry(name, least))
        if min(self.output_shape) < 1:
            raise ValueError(
                f"{self.where}: input_shape {list(self.input_shape)} is too small for the kernel"
            )

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Positions of the post population along each axis."""
        return tuple(
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, p, d, k, s in zip(
                self.input_shape,
                self.padding,
                self.dilation,
                self.kernel.shape[2:],
                self.stride,
                strict=True,
            )
        )

    @property
    def repeats(self) -> IntArray:
        """In how many synapses every entry of a kernel of one channel stands, [tap, ...]."""
        counts: Any = np.ones((), np.int64)
        axes = (self.input_shape, self.output_shape, self.stride, self.padding, self.dilation)
        for taps, n, n_out, s, p, d in zip(self.kernel.shape[2:], *axes, strict=True):
            start = np.arange(taps) * d - p  # of the position under a tap, for the first output
            first = np.maximum(-(start // s), 0)
            last = np.minimum((n - 1 - start) // s, n_out - 1)
            counts = counts[..., None] * np.maximum(last - first + 1, 0)
        return counts

    @property
    def n_synapses(self) -> int:
        """How many connections `synapses` lists, without listing them."""
        out, channels = self.kernel.shape[:2]
        return out * channels * int(self.repeats.sum())

    def planes(self) -> dict[str, tuple[int, int]]:
        """Return the geometry in two dimensions; a 1-d convolution is one row high."""
        lead = {"input_shape": 1, "stride": 1, "padding": 0, "dilation": 1, "output_shape": 1}
        return {
            name: ((first, *getattr(self, name)) if self.n_dims == 1 else getattr(self, name))
            for name, first in lead.items()
        }

    def kernel_plane(self) -> FloatArray:
        """Return the kernel as [out channel, in channel, row tap, column tap]."""
        k = self.kernel
        return k.reshape(*k.shape[:2], 1, k.shape[2]) if self.n_dims == 1 else k

    def _check_geometry(self, pre_size: int, post_size: int) -> None:
        out, channels = self.kernel.shape[:2]
        for end, name, size, shape, n in (
            ("pre", self.pre, pre_size, self.input_shape, channels),
            ("post", self.post, post_size, self.output_shape, out),
        ):
            if size != n * math.prod(shape):
                raise ValueError(
                    f"{self.where}: {end} population {name!r} has {size} units, but the geometry "
                    f"gives {n} channels x {list(shape)} = {n * math.prod(shape)}"
                )

    def synapses(self, pre_size: int) -> Synapses:
        """List every connection that the kernel makes; sorted by pre, then post."""
        g, kernel = self.planes(), self.kernel_plane()
        (height, width), (rows, columns) = g["input_shape"], g["output_shape"]
        co, ci, ky, kx, oy, ox = np.indices((*kernel.shape, rows, columns)).reshape(6, -1)
        y = oy * g["stride"][0] + ky * g["dilation"][0] - g["padding"][0]
        x = ox * g["stride"][1] + kx * g["dilation"][1] - g["padding"][1]
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        pre = (ci * height + y) * width + x
        post = (co * rows + oy) * columns + ox
        delay = np.zeros_like(kernel) if self.synaptic is None else self.delay.reshape(kernel.shape)
        weight, late = kernel[co, ci, ky, kx], delay[co, ci, ky, kx]
        order = np.lexsort((post[inside], pre[inside]))
        return Synapses(*(a[inside][order] for a in (pre, post, weight, late)))

    def _geometry(self, name: str, least: int) -> tuple[int, ...]:
        value = np.asarray(getattr(self, name))
        if value.dtype.kind not in "iu" or value.ndim > 1 or value.size not in (1, self.n_dims):
            raise ValueError(
                f"{self.where}: {name} = {value.tolist()!r}, must be an integer or one per axis"
            )
        if value.min() < least:
            raise ValueError(f"{self.where}: {name} = {value.tolist()}, must be >= {least}")
        if value.max() > LONGEST_SIDE:
            raise ValueError(
                f"{self.where}: {name} = {value.tolist()}, must be at most {LONGEST_SIDE}"
            )
        return tuple(int(v) for v in np.broadcast_to(value.ravel(), (self.n_dims,)))


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Conv1d(Conv):
    """A kernel shared along one axis.

    Attributes
    ----------
    kernel : float64 array [out channel, in channel, tap]
        Cross-correlation, as `torch.nn.Conv1d`.
    input_shape : int
        Positions per in channel; pre unit = channel * positions + position.
    stride, padding, dilation : int
        As in torch.
    """

    kind = "conv1d"
    n_dims = 1


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Conv2d(Conv):
    """A kernel shared over a plane.

    Attributes
    ----------
    kernel : float64 array [out channel, in channel, row tap, column tap]
        Cross-correlation, as `torch.nn.Conv2d`.
    input_shape : (int, int)
        Rows and columns; pre unit = (channel * rows + row) * columns + column.
    stride, padding, dilation : int or (int, int)
        As in torch.
    """

    kind = "conv2d"
    n_dims = 2


KINDS: dict[str, type[Projection]] = {cls.kind: cls for cls in (Dense, Sparse, Conv1d, Conv2d)}


def payload(projection: Projection) -> dict[str, Any]:
    """Return the constructor arguments that describe ``projection``, name and ends left out."""
    skip = {"name", "pre", "post", "_told"}
    return {f.name: getattr(projection, f.name) for f in fields(projection) if f.name not in skip}
