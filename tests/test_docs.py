"""The examples in the docstrings run, and every public name has a docstring."""

import doctest
import importlib
import pkgutil

import pytest

import evsim
import evsim.datasets
import evsim.gradients

ROOMS = (evsim, evsim.gradients, evsim.datasets)
MODULES = [
    module.name
    for room in ROOMS
    for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}.")
    if not module.ispkg and not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_public_names_are_documented():
    for name in dir(evsim):
        if not name.startswith("_"):
            assert getattr(evsim, name).__doc__, name
