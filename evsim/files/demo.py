"""The files that come with evsim, found by their bare names.

What they hold and where they come from is told in ``evsim/data/README.md``.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path

_FOLDER = Path(__file__).parent.parent / "data"


def demo_names() -> list[str]:
    """Return the names of the embedded files.

    Examples
    --------
    >>> demo_names()
    ['digits-demo.h5', 'digits-spikes.h5', 'gsc10-70.h5', 'spoken-digits-70.h5']
    """
    return sorted(path.name for path in _FOLDER.glob("*.h5"))


def demo_path(name: str) -> Path:
    """Return the path of an embedded file.

    Parameters
    ----------
    name : str
        ``"digits-demo.h5"``, a small network with delays; ``"digits-spikes.h5"``, eleven
        spoken digits as spikes of 700 units; ``"spoken-digits-70.h5"``, 2,000 of 70 units; or
        ``"gsc10-70.h5"``, 3,560 spoken words.

    Raises
    ------
    FileNotFoundError
        If there is no such file; the message lists those that exist.

    Examples
    --------
    >>> demo_path("digits-spikes.h5").is_file()
    True
    """
    if name not in demo_names():
        raise FileNotFoundError(
            f"no embedded file is named {name!r}; there are {', '.join(demo_names())}"
        )
    return _FOLDER / name


def resolve(argument: str | PathLike[str]) -> Path:
    """Return ``argument`` as a path or, if nothing is there, the embedded file of that name.

    Raises
    ------
    FileNotFoundError
        If it is neither.
    """
    path = Path(argument)
    if path.exists():
        return path
    if str(argument) in demo_names():
        return demo_path(str(argument))
    raise FileNotFoundError(
        f"{argument}: no such file; embedded demo files are {', '.join(demo_names())}"
    )
