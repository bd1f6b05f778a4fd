"""Figures and tables of papers, computed anew with controls: ``evsim study``.

docs/studies.md tells how to run one, and how to add one.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from pkgutil import iter_modules

from . import papers
from .interface import Finished as Finished
from .interface import Study as Study
from .interface import Tools as Tools
from .interface import Trained as Trained
from .interface import Work as Work


def studies() -> list[Study]:
    """Return all studies, by name."""
    return [find(name) for name in _names()]


def find(name: str) -> Study:
    """Return the study of a name.

    Parameters
    ----------
    name : str
        As ``evsim study`` is given it.

    Raises
    ------
    ValueError
        If there is none; says which name is nearest.
    """
    names = _names()
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        meant = f"the nearest is {near[0]}; " if near else ""
        raise ValueError(f"{name}: is no study; {meant}evsim study --list tells them all")
    study: Study = import_module(f"{papers.__name__}.{name.replace('-', '_')}").STUDY
    return study


def _names() -> list[str]:
    return sorted(module.name.replace("_", "-") for module in iter_modules(papers.__path__))
