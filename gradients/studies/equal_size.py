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


def as_wide(numbers: float, count: Callable[[int], float]) -> int:
    """Return the width whose network keeps nearest to as many numbers.

    Parameters
    ----------
    numbers : float
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


def kept_by_delrec(
    n_inputs: int,
    hidden: Sequence[int],
    n_classes: int,
    loop: str = "none",
    forward: bool = False,
    plain: bool = False,
) -> int:
    """Return how many numbers a network of DelRec keeps, those of loops from the second layer on.

    Parameters
    ----------
    n_inputs, n_classes : int
        Sizes.
    hidden : sequence of int
        Units of the hidden layers.
    loop : {"none", "dense", "conv"}
        A matrix or a kernel of three weights, each with a delay per unit.
    forward : bool
        Whether the spikes of the first hidden layer are late, too, those of each unit alike.
    plain : bool
        Whether there are neither biases nor batch norms.

    Examples
    --------
    >>> kept_by_delrec(140, [256] * 4, 20, "dense"), kept_by_delrec(140, [256] * 4, 20, "conv")
    (438036, 241437)
    >>> kept_by_delrec(140, [42, 42], 20, "dense", plain=True)
    10290
    """
    total = sum(before * n for before, n in zip([n_inputs, *hidden], hidden, strict=False))
    total += hidden[-1] * n_classes
    if loop != "none":
        looped = hidden[1:] or hidden
        total += sum((n * n if loop == "dense" else 3) + n for n in looped)
    if forward:
        total += hidden[0]
    return total if plain else total + 3 * sum(hidden) + n_classes
