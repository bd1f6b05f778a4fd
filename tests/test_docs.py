"""The examples in the docstrings run, and every public name has a docstring."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import evsim
import evsim.datasets
import evsim.gradients

ROOMS = (evsim, evsim.gradients, evsim.datasets)
MODULES = {
    module.name
    for room in ROOMS  # an editable install does not show the last two inside the first
    for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}.")
    if not module.name.endswith("__main__")
}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_examples_in_docstrings(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


PROGRAMS = ["add-a-dataset.md", "add-a-method.md", "exactness.md", "pictures.md", "pypi.md"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_programs_of_a_page_run(name):
    page = (Path(__file__).parent.parent / "docs" / name).read_text(encoding="utf-8")
    names = {}
    for program in re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
        exec(program, names)
    assert names


def test_public_names_are_documented():
    for name in dir(evsim):
        if not name.startswith("_"):
            assert getattr(evsim, name).__doc__, name


def test_no_module_is_left_out():
    folders = [Path(room.__path__[0]) for room in ROOMS]
    files = {path for folder in folders for path in folder.rglob("*.py")}
    found = {Path(importlib.import_module(name).__file__) for name in MODULES}
    left = {path.name for path in files - found}
    assert left == {"__init__.py", "__main__.py"}, files - found  # of the rooms themselves
