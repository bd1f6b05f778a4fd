"""``Levels``: weights or delays as whole numbers of few bits, and the number each stands for."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evsim.arrays import FloatArray, entry, same_bits
from evsim.words import count

MOST_BITS = 32
MOST_VALUES = 256


@dataclass(frozen=True, eq=False, repr=False)
class Levels:
    """An array of whole numbers that stand for weights or delays.

    May be given wherever a projection takes an array of weights or delays. The projection then
    has the float64 array and remembers the levels (``projection.levels``), and a network file
    holds the integers.

    A level stands for ``step * level``, and ``+ offset`` after that if the offset is not 0: two
    roundings, in this order. With ``values`` it stands for ``values[level]``.

    Parameters
    ----------
    levels : integer array
        Of any shape and integer type. Kept as a copy that can't be written to, of the smallest
        type that holds all; where a signed and an unsigned one are as small, as it was given.
    step : float or None
        What a level is worth: a weight, or a delay [s], which must be > 0. Not 0.
    offset : float
        What level 0 stands for, in units of weights or delays [s]; with ``step`` only.
    bits : int or None
        Bits that a level takes where the network will run, 1 to 32, signed or unsigned. Left
        out: the fewest that hold all levels.
    values : float array [n] or None
        In place of ``step`` and ``offset``: what levels 0 to n - 1 stand for, n at most 256.

    Raises
    ------
    ValueError
        If levels are not integers, don't fit into ``bits`` or are outside ``values``, both or
        neither of ``step`` and ``values`` are given, or a number is not finite. Names the entry.

    Examples
    --------
    >>> weight = Levels([[0, 3], [2, 1]], step=0.5, offset=-0.75, bits=2)
    >>> weight.array()
    array([[-0.75,  0.75],
           [ 0.25, -0.25]])
    >>> Levels([0, 2, 1], values=[-0.1, 0.0, 0.3])
    Levels([3], 2 bits, 3 values)
    """

    levels: npt.NDArray[np.integer[Any]]
    step: float | None = None
    offset: float = 0.0
    bits: int = None  # type: ignore[assignment]  # an int once it is built
    values: FloatArray | None = None

    def __post_init__(self) -> None:
        """Convert and check everything."""
        if (self.step is None) == (self.values is None):
            raise ValueError("levels need step or values, and not both")
        whole = _integers(self.levels)
        low, high = (int(whole.min()), int(whole.max())) if whole.size else (0, 0)
        least = _least_bits(low, high)
        bits = min(least, MOST_BITS) if self.bits is None else _bits(self.bits)
        if least > bits:
            raise ValueError(_wrong(whole, bits))
        self._set("bits", bits)
        self._set("offset", _finite("offset", self.offset) + 0.0)  # -0.0 is none
        if self.step is None:
            self._set("values", _table(self.values))
            self._check_table(whole, low, high)
        else:
            self._set("step", _finite("step", self.step))
            self._check_step(whole)
        whole = whole.astype(_smallest(least, low, whole.dtype.kind), order="C", copy=True)
        whole.setflags(write=False)
        self._set("levels", whole)

    def _check_table(self, whole: npt.NDArray[Any], low: int, high: int) -> None:
        assert self.values is not None
        if self.offset:
            raise ValueError(f"offset = {self.offset} goes with step; add it to values")
        n = len(self.values)
        if whole.size and (low < 0 or high >= n):
            wrong = np.argmax((whole < 0) | (whole >= n))
            raise ValueError(f"{entry('levels', whole, wrong)}, must be from 0 to {n - 1} (values)")

    def _check_step(self, whole: npt.NDArray[Any]) -> None:
        assert self.step is not None
        if self.step == 0:
            raise ValueError("step = 0.0, must not be 0")
        for at in {int(whole.argmin()), int(whole.argmax())} if whole.size else ():
            if not math.isfinite(self.step * float(whole.flat[at]) + self.offset):
                raise ValueError(
                    f"{entry('levels', whole, at)} stands for more than a float64 holds"
                )

    def __repr__(self) -> str:
        """Return the shape, and what tells two of them apart at a glance."""
        worth = f"{self.n_values} values" if self.step is None else f"step {self.step}"
        return f"Levels({list(self.shape)}, {count(self.bits, 'bit')}, {worth})"

    def __eq__(self, other: object) -> bool:
        """Whether levels, bits and what they stand for are the same, to the last bit."""
        if not isinstance(other, Levels):
            return NotImplemented
        names = ("step", "offset", "bits", "values")
        return np.array_equal(self.levels, other.levels) and all(
            same_bits(getattr(self, name), getattr(other, name)) for name in names
        )

    def __hash__(self) -> int:
        """Return what equal ones share."""
        return hash((self.shape, self.step, self.offset, self.bits))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return `array`, for numpy."""
        if copy is False:
            raise ValueError("levels stand for numbers that are made when they are asked for")
        return self.array().astype(np.float64 if dtype is None else dtype, copy=False)

    def __getitem__(self, index: Any) -> Levels:
        """Return a part, as numpy's indexing takes it; bits and all else stay."""
        return self.mapped(lambda levels: levels[index])

    @property
    def shape(self) -> tuple[int, ...]:
        """As of the array that they stand for."""
        return self.levels.shape

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self.levels.ndim

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.levels.size

    @property
    def n_values(self) -> int:
        """How many ``values`` there are; 0 with ``step``."""
        return 0 if self.values is None else len(self.values)

    @property
    def n_levels(self) -> int:
        """How many different levels there are among the entries."""
        return len(np.unique(self.levels))

    def array(self) -> FloatArray:
        """Return the numbers that the levels stand for, float64 of the same shape."""
        if self.values is not None:
            return np.asarray(self.values[self.levels])
        assert self.step is not None
        array = np.asarray(self.step * self.levels.astype(np.float64))
        return np.asarray(array + self.offset) if self.offset else array

    def mapped(self, function: Callable[[npt.NDArray[Any]], npt.ArrayLike]) -> Levels:
        """Return the levels that ``function`` makes of the integer array; all else stays.

        Parameters
        ----------
        function : callable
            Such as ``lambda levels: levels.reshape(1, 1, -1)``.
        """
        levels: Any = function(self.levels)
        return Levels(levels, self.step, self.offset, self.bits, self.values)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


def _integers(given: npt.ArrayLike) -> npt.NDArray[Any]:
    array = np.asarray(given)
    if array.dtype.kind not in "iu":
        if array.size:
            raise ValueError(f"levels are of type {array.dtype}, must be integers")
        array = array.astype(np.int8)
    return array


def _least_bits(low: int, high: int) -> int:
    """Return the fewest bits for integers from ``low`` to ``high``, unsigned if none is < 0."""
    if low >= 0:
        return max(1, high.bit_length())
    return 1 + max((~low).bit_length(), max(high, 0).bit_length())


def _wrong(whole: npt.NDArray[Any], bits: int) -> str:
    """Tell of the entry that doesn't fit."""
    low, room = int(whole.min()), count(bits, "bit")
    if low >= 0:
        at, rule = whole.argmax(), f"must be at most {2**bits - 1}"
    else:
        half = 2 ** (bits - 1)
        at = whole.argmin() if low < -half else whole.argmax()
        rule = f"must be from {-half} to {half - 1} (there are levels below 0)"
    return f"{entry('levels', whole, at)}, {rule}, with {room}"


def _smallest(bits: int, low: int, kind: str) -> np.dtype[Any]:
    """Return the smallest type for levels that take so many bits, of this kind if both do."""
    size = next(size for size in (1, 2, 4) if bits <= 8 * size)
    if low < 0:
        kind = "i"
    elif bits == 8 * size:
        kind = "u"
    return np.dtype(f"{kind}{size}")


def _bits(value: Any) -> int:
    try:
        bits = operator.index(value)
    except TypeError:
        bits = 0
    if not 1 <= bits <= MOST_BITS:
        raise ValueError(f"bits = {value!r}, must be an integer from 1 to {MOST_BITS}")
    return bits


def _finite(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} = {value!r}, must be a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} = {number}, must be finite")
    return number


def _table(given: npt.ArrayLike | None) -> FloatArray:
    values = np.array(given, dtype=np.float64)
    if values.ndim != 1 or not 1 <= len(values) <= MOST_VALUES:
        raise ValueError(
            f"values have shape {list(values.shape)}, must be [n], n from 1 to {MOST_VALUES}"
        )
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise ValueError(f"{entry('values', values, wrong[0])}, must be finite")
    values.setflags(write=False)
    return values
