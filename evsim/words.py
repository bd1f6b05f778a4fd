"""How numbers and names are told to a person: counts, spans, histograms, safe text."""

from __future__ import annotations

import math
import re
import unicodedata
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from evsim.arrays import FloatArray

BAR = 32  # characters of the longest bar of a histogram
NAME, LINE, DRAWN = 160, 1000, 40  # characters of a name, of a line of text, of a name in a picture

_HUGE = 1e300  # beyond it a factor of a thousand, or a sum of two, may overflow
_SCIENTIFIC = 1e9  # from here on labels have an exponent
# What Unicode calls ignorable and Python calls printable: fillers and selectors that show nothing.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
_STACK = 4  # combining marks on one letter; more would be drawn over the lines around it


def plain(text: object, limit: int = NAME) -> str:
    r"""Return what stands in a file, or is a file's name, as text that a terminal can show.

    Everything of this kind that is printed passes here. Control characters, escape sequences,
    marks of direction and other invisible characters, and broken Unicode are written as
    escapes; of an overlong text the middle is left out. Ordinary text stays as it is.

    Parameters
    ----------
    text : object
        Its ``str()`` is meant.
    limit : int
        Characters that it may have; a few more if they are next to none.

    Examples
    --------
    >>> print(plain("hidden"), plain("a\x1b[2Jb\n"), plain("x" * 500, limit=30))
    hidden a\x1b[2Jb\n xxxxxx ... 492 left out ... xx
    """
    text = str(text)
    if len(text) <= limit and len(whole := _escaped(text)) <= limit:
        return whole
    kept = min(len(text), limit)
    while kept > 3 and len(_cut(text, kept)) > limit:
        kept = 3 * kept // 4 if kept > 24 else kept - 1
    return _cut(text, kept)


def _cut(text: str, kept: int) -> str:
    """Return the beginning and a shorter end, and between them how much is left out."""
    tail = kept // 3
    middle = f" ... {len(text) - kept:,} left out ... "
    return _escaped(text[: kept - tail]) + middle + _escaped(text[len(text) - tail :])


def _escaped(text: str) -> str:
    """Write as an escape what is not to be seen, and marks that pile up on one letter."""
    if text.isascii() and text.isprintable():
        return text
    shown, stack = [], 0
    for c in text:
        stack = stack + 1 if unicodedata.combining(c) else 0
        hidden = not c.isprintable() or _INVISIBLE.match(c) or stack > _STACK
        shown.append(ascii(c)[1:-1] if hidden else c)
    return "".join(shown)


def one_line(text: str) -> str:
    """Return a message as one line of `plain` text; breaks between its lines become spaces."""
    return plain(" ".join(text.split()), LINE)


def drawn(text: object, limit: int = DRAWN) -> str:
    r"""Return `plain` text that matplotlib draws as it is.

    Without it, dollar signs begin a formula, which may not be one, and a label that begins
    with an underscore is left out of a legend.

    Examples
    --------
    >>> print(drawn(r"$\frac{1}{$"), drawn("_in"))
    \$\frac{1}{\$  _in
    """
    shown = plain(text, limit).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def count(n: int, what: str) -> str:
    """Return a number and what it counts, in the singular or the plural.

    Examples
    --------
    >>> count(1, "spike"), count(12345, "spike")
    ('1 spike', '12,345 spikes')
    """
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def milliseconds(seconds: FloatArray) -> tuple[FloatArray, str]:
    """Return times in milliseconds and the unit, or in seconds if they are beyond all measure."""
    finite = seconds[np.isfinite(seconds)]
    if np.abs(finite).max(initial=0.0) > _HUGE:
        return seconds, "s"
    return 1e3 * seconds, "ms"


def span(values: FloatArray, unit: str) -> str:
    """Tell the extremes and the median of some values in one line."""
    unit = f" {unit}" if unit else ""
    if not len(values):
        return "none"
    low, high = float(values.min()), float(values.max())
    if low == high:
        return f"{number(low)}{unit}" + (", all alike" if len(values) > 1 else "")
    # The middle of two values is half their sum, which must not overflow.
    part = 4.0 if max(abs(low), abs(high)) > _HUGE else 1.0
    middle = part * float(np.median(values / part))
    return f"min {number(low)}, median {number(middle)}, max {number(high)}{unit}"


def number(value: float) -> str:
    """Return four digits, and never an exponent where a person would not write one."""
    return f"{value:,.0f}" if 1e3 <= abs(value) < _SCIENTIFIC else f"{value:.4g}"


def bin_edges(values: FloatArray, n_bins: int) -> FloatArray | None:
    """Return the edges of a histogram's bins; None if the values are too much alike for it.

    Parameters
    ----------
    values : float64 array [value]
        What to count; none, or values that are not finite, have no edges either.
    n_bins : int
        How many.
    """
    low, high = float(values.min(initial=math.inf)), float(values.max(initial=-math.inf))
    if not math.isfinite(high - low) or high <= low:
        return None
    edges = np.linspace(low, high, n_bins + 1)
    return edges if (np.diff(edges) > 0).all() else None


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
    edges = bin_edges(array, n_bins)
    if edges is None:
        return []
    heights, _ = np.histogram(array, bins=edges)
    shown = _edge_labels(edges)
    width = max(map(len, shown))
    lines = []
    for height, (low, high) in zip(heights, pairwise(shown), strict=True):
        bar = "#" * int(np.ceil(BAR * height / heights.max()))
        lines.append(f"{indent}{low:>{width}} - {high:>{width}} {unit} |{bar} {height:,}")
    lines[0] += f" {what}"
    return lines


def _edge_labels(edges: FloatArray) -> list[str]:
    """Return edges with as many digits as tell them apart, and two of their distance."""
    step = math.floor(math.log10(edges[1] - edges[0]))
    top = float(np.abs(edges).max())
    if 1e-6 <= top < _SCIENTIFIC:
        return [f"{edge:,.{max(0, 1 - step)}f}" for edge in edges]
    digits = math.floor(math.log10(top)) - step + 1
    return [f"{edge:.{digits}e}" for edge in edges]
