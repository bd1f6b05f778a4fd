"""How pictures look: colours, fonts, a figure that belongs to nobody, a file that is whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from os import PathLike
from typing import TYPE_CHECKING, Any

from evsim.files import WholeFile
from evsim.words import drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, VERMILION, ORANGE, GREEN = "#0072B2", "#D55E00", "#E69F00", "#009E73"
PURPLE, SKY = "#CC79A7", "#56B4E9"
GREY, DIM, DARK = "#B8B8B8", "#555555", "#222222"  # behind; small print; lines and dots
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, SKY)
SHORT, HEADLINE = 30, 120  # characters of a name beside a small panel; of a list of names
_STYLE: Any = {  # keys that matplotlib knows
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "text.usetex": False,  # names are no TeX
}


def styled() -> AbstractContextManager[None]:
    """Return a context in which figures have the look of evsim's commands.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "drawing needs matplotlib; install it with: pip install evsim[plot]"
        ) from error
    return matplotlib.rc_context(_STYLE)


def new_figure(width: float, height: float, headline: str) -> Figure:
    """Return an empty figure [inch] under a headline."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(headline, x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure


def save_figure(path: str | PathLike[str], figure: Figure, overwrite: bool = False) -> None:
    """Write a picture that is whole or absent.

    Parameters
    ----------
    path : path
        Its suffix says the format: .png (also without a suffix), .pdf, .svg, ...
    figure : Figure
        What to write.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    FileExistsError
        If the file exists and ``overwrite`` is false.
    ValueError
        If matplotlib does not know the format, or it is .pgf.
    """
    suffix = os.path.splitext(path)[1]
    if suffix.lower() == ".pgf":  # for TeX, which would obey names that come from files
        raise ValueError(
            f"{os.fspath(path)}: pgf is not written, it is a program for TeX; use .pdf"
        )
    with WholeFile(path, overwrite) as temporary:
        figure.savefig(temporary, format=suffix[1:] or "png", dpi=150)


def class_name(
    label: int, classes: Sequence[str] | None = None, safe: Callable[[str, int], str] = drawn
) -> str:
    """Return ``"3 (three)"`` if the class has a name, ``"3"`` if not; ``safe`` as in `name_of`."""
    name = name_of(label, classes, SHORT, safe)
    return str(label) if name is None else f"{label} ({name})"


def name_of(
    label: int,
    classes: Sequence[str] | None,
    limit: int = SHORT,
    safe: Callable[[str, int], str] = drawn,
) -> str | None:
    """Return the name of a class as it is drawn; None if it has none.

    Parameters
    ----------
    label : int
        Of the class.
    classes : sequence of str or None
        Names of the classes, by label.
    limit : int
        Characters that it may have.
    safe : callable
        Makes text safe that comes from a file: `drawn` for matplotlib, another one for a page.
    """
    if classes is None or not 0 <= label < len(classes):
        return None
    return safe(classes[label], limit)
