"""Intervals of 95 %: of one network, of several seeds, of a difference from a control."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist, mean, stdev
from typing import Any, NamedTuple

LEVEL = 0.95  # of all intervals
_ROUNDING = 1e-12  # of a number; seed by seed the same, it would look like a sure difference


class Spread(NamedTuple):
    """Mean, deviation (n - 1) and 95 % interval of the mean; of one value only the mean."""

    mean: float
    deviation: float
    low: float
    high: float


def wilson(right: float, n: int) -> tuple[float, float]:
    """Return the Wilson interval of a share: what one network tells of its accuracy.

    Parameters
    ----------
    right : float
        Recordings that were right, or their mean over networks.
    n : int
        Recordings that were tested.

    Returns
    -------
    low, high : float
        Shares from 0 to 1.

    Examples
    --------
    >>> print("{:.3f} to {:.3f}".format(*wilson(191, 200)))
    0.917 to 0.976
    """
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    share, grown = right / n, 1 + z * z / n
    middle = (share + z * z / (2 * n)) / grown
    half = z / grown * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At none or all right the limits are 0 and 1, but for rounding.
    low = 0.0 if right == 0 else max(0.0, middle - half)
    return low, 1.0 if right == n else min(1.0, middle + half)


def spread(values: Sequence[float]) -> Spread:
    """Return mean, deviation and the interval by Student's t of some seeds' values.

    Parameters
    ----------
    values : sequence of float
        One of each seed.

    Returns
    -------
    Spread
        NaN but for the mean if there is only one seed.

    Examples
    --------
    >>> print("{:g} {:g} {:.4f} {:.4f}".format(*spread([1.0, 2.0, 3.0])))
    2 1 -0.4841 4.4841
    """
    n, middle = len(values), float(mean(values))
    return spread_of(middle, math.nan if n == 1 else stdev(values), n)


def spread_of(middle: float, deviation: float, n: int) -> Spread:
    """Return the same of the mean and the deviation of n seeds' values."""
    if n == 1:
        return Spread(middle, math.nan, math.nan, math.nan)
    from scipy.special import stdtrit

    half = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * deviation / math.sqrt(n)
    return Spread(middle, deviation, middle - half, middle + half)


def over_seeds(row: Mapping[str, Any], name: str) -> Spread:
    """Return the same of what was measured besides, from a row of a table.

    Examples
    --------
    >>> found = over_seeds({"mean_ms": 2.0, "mean_ms_deviation": 1.0, "seeds": 3}, "mean_ms")
    >>> print(f"{found.low:.4f} to {found.high:.4f}")
    -0.4841 to 4.4841
    """
    return spread_of(row[name], row[f"{name}_deviation"] or 0.0, row["seeds"])


def deviation_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the interval of the deviation of normal values, by chi squared.

    Parameters
    ----------
    values : sequence of float
        One of each seed.

    Returns
    -------
    low, high : float
        NaN if there is only one.

    Examples
    --------
    >>> print("{:.3f} to {:.3f}".format(*deviation_interval([1.0, 2.0, 3.0])))
    0.521 to 6.285
    """
    if len(values) == 1:
        return math.nan, math.nan
    from scipy.special import gammaincinv

    free, found = len(values) - 1, stdev(values)
    chi = [2 * float(gammaincinv(free / 2, (1 + sign * LEVEL) / 2)) for sign in (1, -1)]
    low, high = (found * math.sqrt(free / one) for one in chi)
    return low, high


def difference(values: Sequence[float], control: Sequence[float]) -> Spread:
    """Return the spread of differences from a control, paired by seed.

    Parameters
    ----------
    values, control : sequence of float
        Of the same seeds, in the same order. Those that differ by rounding alone are equal.
    """
    pairs = zip(values, control, strict=True)
    return spread([0.0 if math.isclose(a, b, rel_tol=_ROUNDING) else a - b for a, b in pairs])


def comparison(found: Spread, more_is_better: bool = True) -> str:
    """Return what a difference from a control says: better, worse, or nothing.

    Parameters
    ----------
    found : Spread
        Of the difference.
    more_is_better : bool
        Whether more of what was measured is better.

    Returns
    -------
    str
        "better" or "worse" only if the interval does not hold 0.

    Examples
    --------
    >>> comparison(difference([0.9, 0.8], [0.5, 0.4])), comparison(difference([0.9], [0.5]))
    ('better', 'one seed')
    """
    if math.isnan(found.low):
        return "one seed"
    if found.low <= 0 <= found.high:
        return "no difference seen"
    return "better" if (found.mean > 0) == more_is_better else "worse"


def in_points(found: Spread) -> str:
    """Return a difference of shares in points of percent, with its interval if there is one.

    Examples
    --------
    >>> in_points(Spread(0.021, 0.01, 0.004, 0.038)), in_points(difference([0.5], [0.4]))
    ('2.1 (0.4 to 3.8)', '10.0')
    """
    interval = f" ({100 * found.low:.1f} to {100 * found.high:.1f})"
    return f"{100 * found.mean:.1f}{'' if math.isnan(found.low) else interval}"


def beside(row: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, str]:
    """Return how accuracies of a table's row differ from another's, and what that says.

    Parameters
    ----------
    row, other : dict
        Of a `Table`, of the same seeds.

    Examples
    --------
    >>> beside({"accuracy_of_seeds": [0.71, 0.72, 0.73]}, {"accuracy_of_seeds": [0.70] * 3})
    ('2.0 (-0.5 to 4.5) points, no difference seen', 'no difference seen')
    """
    found = difference(row["accuracy_of_seeds"], other["accuracy_of_seeds"])
    compared = comparison(found)
    return f"{in_points(found)} points, {compared}", compared
