"""The rooms of evsim: found where they stand, loaded when they are asked for.

Installed, `evsim.gradients` and `evsim.datasets` are folders in this one. In a checkout they stand
beside it, and Python that is started there takes this folder for evsim, whatever is installed:
so the two are looked for beside it as well.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

_HERE = Path(__file__).parent
_BESIDE = ("gradients", "datasets")


def loading(
    package: str, rooms: Sequence[str], absent: Mapping[str, str] | None = None
) -> Callable[[str], ModuleType]:
    """Return ``__getattr__`` for a package: it loads a room when that is first asked for.

    Parameters
    ----------
    package : str
        Its name.
    rooms : sequence of str
        Modules in it.
    absent : mapping of str to str, optional
        Names that one looks for in vain, and what to take instead.

    Examples
    --------
    >>> import evsim
    >>> evsim.interop.load_nir.__name__
    'load_nir'
    """

    def get(name: str) -> ModuleType:
        if name in rooms:
            return import_module(f"{package}.{name}")
        instead = f": {absent[name]}" if absent and name in absent else ""
        raise AttributeError(f"module {package!r} has no attribute {name!r}{instead}")

    return get


def listing(public: Sequence[str]) -> Callable[[], list[str]]:
    """Return ``__dir__`` for a package: it lists what is public, rooms included.

    Examples
    --------
    >>> import evsim
    >>> "ragged" in dir(evsim), "interop" in dir(evsim)
    (False, True)
    """
    return lambda: sorted({*public, "__doc__", "__name__"})


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
    if beside and (_HERE.parent / "setup.cfg").is_file() and _Beside not in sys.meta_path:
        # First: what is installed may be of another version.
        sys.meta_path.insert(0, _Beside)
