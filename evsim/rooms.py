"""The rooms of evsim: found where they stand, loaded when they are asked for.

Installed, `evsim.gradients` and `evsim.datasets` are folders in this one. In a checkout they stand
beside it, and Python that is started there takes this folder for evsim, whatever is installed:
so the two are looked for beside it as well.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

_HERE = Path(__file__).parent
_BESIDE = ("gradients", "datasets")


def doors(
    package: str, public: Sequence[str], rooms: Sequence[str]
) -> tuple[Callable[[str], ModuleType], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` for a package.

    Parameters
    ----------
    package : str
        Its name.
    public : sequence of str
        Names that it offers.
    rooms : sequence of str
        Modules in it that are loaded when they are first asked for.

    Returns
    -------
    get : callable
        Loads a room.
    names : callable
        Lists what is public: names and rooms.

    Examples
    --------
    >>> import evsim
    >>> evsim.interop.load_nir.__name__
    'load_nir'
    >>> "ragged" in dir(evsim), "interop" in dir(evsim)
    (False, True)
    """

    def get(name: str) -> ModuleType:
        if name in rooms:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        return sorted({*public, *rooms, "__doc__", "__name__"})

    return get, names


class _Beside:
    """Finds the two rooms beside evsim, in a checkout."""

    @staticmethod
    def find_spec(name: str, *more: object) -> ModuleSpec | None:
        parent, _, room = name.rpartition(".")
        if parent != "evsim" or room not in _BESIDE:
            return None
        folder = _HERE.parent / room
        return spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )


def look_beside() -> None:
    """Where this is a checkout, find `evsim.gradients` and `evsim.datasets` in it."""
    beside = all((_HERE.parent / room / "__init__.py").is_file() for room in _BESIDE)
    if beside and (_HERE.parent / "setup.cfg").is_file():
        # First: what is installed may be of another version.
        sys.meta_path.insert(0, _Beside)
