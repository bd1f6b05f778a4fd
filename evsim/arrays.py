"""Arrays of float64, int64 and bool: their types for annotations, equality, one entry told."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]


def same_bits(one: Any, other: Any) -> bool:
    """Whether two arrays have the same type, shape and bits; other values are compared by ==."""
    if not (isinstance(one, np.ndarray) and isinstance(other, np.ndarray)):
        return type(one) is type(other) and bool(one == other)
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return one.tobytes() == other.tobytes()


def entry(name: str, array: npt.NDArray[Any], flat: Any) -> str:
    """Name one entry of an array and its value: ``delay[3, 17] = -0.002``."""
    index = ", ".join(str(int(i)) for i in np.unravel_index(int(flat), array.shape))
    return f"{name}{f'[{index}]' if index else ''} = {array.ravel()[int(flat)]}"
