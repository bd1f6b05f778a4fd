"""How numbers are told to a person: counts, spans, and histograms in plain text."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evsim.arrays import FloatArray

BAR = 32  # characters of the longest bar of a histogram


def count(n: int, what: str) -> str:
    """Return a number and what it counts, in the singular or the plural.

    Examples
    --------
    >>> count(1, "spike"), count(12345, "spike")
    ('1 spike', '12,345 spikes')
    """
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def span(values: FloatArray, unit: str) -> str:
    """Tell the extremes and the median of some values in one line."""
    unit = f" {unit}" if unit else ""
    if not len(values):
        return "none"
    low, middle, high = float(values.min()), float(np.median(values)), float(values.max())
    if low == high:
        return f"{number(low)}{unit}" + (", all alike" if len(values) > 1 else "")
    return f"min {number(low)}, median {number(middle)}, max {number(high)}{unit}"


def number(value: float) -> str:
    """Return four digits, and never an exponent where a person would not write one."""
    return f"{value:,.0f}" if 1e3 <= abs(value) < 1e9 else f"{value:.4g}"


def text_histogram(
    values: npt.ArrayLike, unit: str, what: str, n_bins: int = 8, indent: str = " " * 6
) -> list[str]:
    r"""Return a histogram as lines of text; nothing if all values are alike.

    Parameters
    ----------
    values : float array [value]
        What to count.
    unit, what : str
        Of the values; what is counted.
    n_bins : int
        Lines.
    indent : str
        Start of every line.

    Examples
    --------
    >>> print("\n".join(text_histogram([1, 1, 1, 4], "ms", "axons", n_bins=3, indent="")))
    1.0 - 2.0 ms |################################ 3 axons
    2.0 - 3.0 ms | 0
    3.0 - 4.0 ms |########### 1
    """
    array = np.asarray(values, np.float64)
    if not len(array) or array.min() == array.max():
        return []
    heights, edges = np.histogram(array, bins=n_bins)
    digits = max(0, 1 - int(np.floor(np.log10(edges[1] - edges[0]))))
    shown = [f"{edge:,.{digits}f}" for edge in edges]
    width = max(map(len, shown))
    lines = []
    for height, low, high in zip(heights, shown[:-1], shown[1:], strict=True):
        bar = "#" * int(np.ceil(BAR * height / heights.max()))
        lines.append(f"{indent}{low:>{width}} - {high:>{width}} {unit} |{bar} {height:,}")
    lines[0] += f" {what}"
    return lines
