"""How many numbers a network keeps, and how wide another one is that keeps as many."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_MOST = 1 << 20  # units


def kept(
    n_inputs: int, hidden: Sequence[int], n_classes: int, delay: str = "none", loop: str = "none"
) -> int:
    """Return the number of weights and delays of a network of `delay_model`.

    Parameters
    ----------
    n_inputs, n_classes : int
        Sizes.
    hidden : sequence of int
        Units of the hidden layers.
    delay : {"none", "axonal", "dendritic", "synaptic"}
        Of each hidden layer's input, and of its loop.
    loop : {"none", "dense", "conv"}
        Of each hidden layer; a shared kernel has three weights.

    Examples
    --------
    >>> kept(70, [64], 10), kept(70, [64], 10, "axonal"), kept(70, [64], 10, "synaptic")
    (5120, 5190, 9600)
    """
    total = 0
    for before, n in zip([n_inputs, *hidden], hidden, strict=False):
        looped = {"none": 0, "dense": n * n, "conv": 3}[loop]
        ends = 1 if loop == "none" else 2
        late = {
            "none": 0, "axonal": before + (ends - 1) * n, "dendritic": ends * n,
            "synaptic": before * n + looped,
        }[delay]  # fmt: skip
        total += before * n + looped + late
    return total + hidden[-1] * n_classes


def as_wide(numbers: int, count: Callable[[int], int]) -> int:
    """Return the width whose network keeps nearest to as many numbers.

    Parameters
    ----------
    numbers : int
        Wanted.
    count : callable
        From a width to the numbers that are kept, more with every unit.

    Examples
    --------
    >>> as_wide(kept(70, [64], 10, "synaptic"), lambda n: kept(70, [n], 10))
    120
    """
    low, high = 1, 2
    while count(high) < numbers and high < _MOST:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < numbers else (low, middle)
    return min((low, high), key=lambda n: abs(count(n) - numbers))
