"""Numbers that users give, checked in one way."""

from __future__ import annotations

from datetime import timedelta
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt

from evsim.arrays import FloatArray

_OWN_UNIT = ("units", "unit", "dimensions")  # of the arrays of pint, astropy, quantities, Brian


def positive(name: str, value: float, unit: str = "", infinite: bool = False) -> float:
    """Return a number that must be above 0.

    Parameters
    ----------
    name : str
        What the message calls it.
    value : float
        The number.
    unit : str
        For the message.
    infinite : bool
        Whether inf will do.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is not above 0, or not finite where it must be.

    Examples
    --------
    >>> positive("dt", 0.0, "s")
    Traceback (most recent call last):
        ...
    ValueError: dt = 0.0, must be finite and > 0 [s]
    """
    unit = f" [{unit}]" if unit else ""
    try:
        good = bool(0 < value < inf or (infinite and value == inf))
    except (TypeError, ValueError):
        raise TypeError(f"{name} = {value!r}, must be a number{unit}") from None
    if not good:
        rule = "must be > 0" if infinite else "must be finite and > 0"
        raise ValueError(f"{name} = {value}, {rule}{unit}")
    return float(value)


def whole(name: str, value: Any) -> int:
    """Return a number of things: whole and not negative.

    Parameters
    ----------
    name : str
        What the message calls it.
    value : int
        Or a float that is whole.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is not whole, or negative.

    Examples
    --------
    >>> whole("size", 2.7)
    Traceback (most recent call last):
        ...
    ValueError: size = 2.7, must be a whole number
    """
    try:
        good = bool(value >= 0 and value % 1 == 0)
    except (TypeError, ValueError):
        raise TypeError(f"{name} = {value!r}, must be a whole number") from None
    if not good:
        rule = "must not be negative" if value < 0 else "must be a whole number"
        raise ValueError(f"{name} = {value}, {rule}")
    return int(value)


def in_seconds(name: str, values: npt.ArrayLike) -> FloatArray:
    """Return times as float64 seconds; numbers are seconds already.

    Parameters
    ----------
    name : str
        What messages call the times.
    values : array of numbers or of numpy's timedelta64
        A duration with a unit of its own becomes the nearest double in seconds.

    Raises
    ------
    ValueError
        If they are dates or complex numbers, or carry a unit that numpy does not know; says how
        to convert.

    Examples
    --------
    >>> in_seconds("times", np.array([100, 250], "m8[ms]"))
    array([0.1 , 0.25])
    """
    kind = type(values)
    if any(hasattr(values, unit) for unit in _OWN_UNIT):
        raise ValueError(
            f"{name}: {kind.__module__}.{kind.__name__} has a unit of its own; give plain numbers "
            "in seconds, such as times.to('s').magnitude (pint), times.to_value('s') (astropy) "
            "or times / second (Brian)"
        )
    array: Any = np.asarray(values)
    if array.dtype == object and any(isinstance(v, timedelta) for v in array.ravel()[:1]):
        array = array.astype("m8[us]")
    if array.dtype.kind == "M":
        raise ValueError(
            f"{name}: are dates ({array.dtype}), must be seconds since the recording's start, "
            "such as (times - start) / np.timedelta64(1, 's')"
        )
    if array.dtype.kind == "c":
        raise ValueError(f"{name}: are complex numbers ({array.dtype}), must be seconds")
    if array.dtype.kind != "m":
        plain = np.ascontiguousarray(array, dtype=np.float64)
        return plain if array.ndim else plain.reshape(())
    unit, steps = np.datetime_data(array.dtype)
    if unit in ("generic", "Y", "M"):
        raise ValueError(
            f"{name}: {array.dtype} has no fixed length, must be seconds, such as "
            "times.astype('m8[ms]')"
        )
    seconds = np.where(np.isnat(array), np.nan, array.astype(np.int64) * float(steps))
    per_second: float = np.ones(1, "m8[s]")[0] / np.ones(1, f"m8[{unit}]")[0]
    return seconds / per_second if per_second >= 1 else seconds * round(1 / per_second)
