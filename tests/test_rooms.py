"""The package list, who may import whom, where things stand, and what an import costs."""

import ast
import configparser
import graphlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {"evsim": "evsim", "evsim.gradients": "gradients", "evsim.datasets": "datasets"}
FORBIDDEN = {
    "evsim": ("torch", "evsim.gradients", "evsim.datasets", "scipy"),
    "evsim.gradients": ("evsim.datasets",),
    "evsim.datasets": ("evsim.gradients",),
}
# Who reaches other rooms, from within the functions that need them.
ALLOWED = {
    "evsim.commands.check": ("evsim.gradients",),
    "evsim.commands.cli": ("evsim.datasets", "evsim.gradients"),
    "evsim.commands.extras": ("torch",),
    "evsim.commands.info": ("evsim.datasets",),
    "evsim.commands.augmentation": ("evsim.datasets",),
    "evsim.commands.parts": ("evsim.datasets",),
    "evsim.commands.plot": ("evsim.datasets",),
    "evsim.commands.study": ("evsim.gradients",),
    "evsim.commands.train": ("evsim.datasets", "evsim.gradients", "torch"),
    "evsim.commands.train_methods": ("evsim.gradients", "torch"),
    "evsim.commands.train_report": ("evsim.gradients", "torch"),
    "evsim.network": ("evsim.gradients", "torch"),
    "evsim.spikes": ("evsim.gradients",),
    "evsim.taken_spikes": ("evsim.gradients",),
}
# Nothing else inside a room of `evsim` reaches up: what stands lower imports nothing of these.
UPSTAIRS = {
    "evsim.files": ("evsim.commands", "evsim.interop", "evsim.plots", "evsim.simulate"),
    "evsim.interop": ("evsim.commands", "evsim.plots", "evsim.simulate"),
    "evsim.plots": ("evsim.commands", "evsim.simulate"),
    "evsim.reference": ("evsim.commands", "evsim.files", "evsim.plots", "evsim.simulate"),
    "evsim.gradients.dense": (
        "evsim.gradients.cross_check",
        "evsim.gradients.methods",
        "evsim.gradients.reference",
    ),
    "evsim.gradients.methods": ("evsim.gradients.cross_check", "evsim.gradients.reference"),
    "evsim.gradients.reference": ("evsim.gradients.cross_check", "evsim.gradients.training"),
    "evsim.gradients.studies": ("evsim.commands",),
    "evsim.datasets.formats": ("evsim.datasets.sets", "evsim.datasets.cochlea"),
    "evsim.datasets.cochlea": ("evsim.datasets.sets", "evsim.datasets.formats"),
}
# Methods of one line that lead up, for users: imports inside functions that close a ring.
DOORS = {
    ("evsim.network", "evsim.files"): 2,  # Network.load, .save
    ("evsim.network", "evsim.gradients.network_export"): 1,  # Network.from_torch
    ("evsim.network", "evsim.gradients.network_import"): 1,  # Network.to_torch
    ("evsim.spikes", "evsim.gradients.tensors"): 3,  # Spikes.torch, .numpy, .to
    ("evsim.taken_spikes", "evsim.gradients.tensors"): 1,  # concatenate of tensors
}
# File names that stand more than once, and why; docs/architecture.md tells them apart.
TWINS = {
    "cells",  # the neurons on a grid: dense, and differentiable with crossings inside a step
    "simulate",  # the function, and the command
    "delays",  # as parameters, and in steps of a grid
    "filterbank",  # beside its kernels
    "flows",  # compiled, and in torch
    "layers",  # of events, and on a grid
    "plots",  # of results, of a check, of a training
    "readouts",  # of arrays, dense, and differentiable
    "reference",  # the plain twin of the engine, the differentiable one of the layers
}


def modules():
    """Return the path of every module by the name under which it is installed."""
    found = {}
    for name, folder in ROOMS.items():
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join((name, *parts)).removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imports(name):
    """Yield every import of a module: full name, node, whether it is relative."""
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = package.split(".")[: len(package.split(".")) + 1 - node.level]
            base = ".".join([*up, *([node.module] if node.module else [])] if node.level else [])
            base = base or node.module
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full in MODULES else base, node, node.level > 0


def inside(name, room):
    return f"{name}.".startswith(f"{room}.")


def room_of(name):
    return max((room for room in ROOMS if inside(name, room)), key=len)


def python(code):
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_setup_cfg_lists_every_package():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    assert listed == {name for name, path in MODULES.items() if path.name == "__init__.py"}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_what_it_may(name):
    rules = FORBIDDEN[room_of(name)] + sum((UPSTAIRS[r] for r in UPSTAIRS if inside(name, r)), ())
    for target, node, _ in imports(name):
        for banned in set(rules) - set(ALLOWED.get(name, ())):
            assert not inside(target, banned), f"{name}:{node.lineno} imports {target}"


@pytest.mark.parametrize("name", MODULES)
def test_imports_are_relative_inside_gradients_and_datasets_and_absolute_elsewhere(name):
    # So editors and type checkers find them in a checkout, where those folders stand apart.
    room = room_of(name)
    for target, node, relative in imports(name):
        own = room != "evsim" and inside(target, room)
        assert relative == own, f"{name}:{node.lineno} imports {target}"


def edges():
    """Return who imports which modules, how often, without the packages above it."""
    found = {}
    for name in MODULES:
        for target, _, _ in imports(name):
            if target in MODULES and target != name and not inside(name, target):
                found[name, target] = found.get((name, target), 0) + 1
    return found


def test_no_ring_is_left_but_through_the_doors():
    graph = {name: set() for name in MODULES}
    for name, target in set(edges()) - set(DOORS):
        graph[name].add(target)
    graphlib.TopologicalSorter(graph).prepare()  # raises if there is a ring


def test_doors_are_as_many_as_listed_and_inside_functions():
    found = edges()
    assert {door: found.get(door, 0) for door in DOORS} == DOORS
    for name in {name for name, _ in DOORS}:
        tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ImportFrom):
                assert (name, node.module) not in DOORS


def test_a_file_name_stands_once_but_for_twins():
    stems = {}
    for name, path in MODULES.items():
        if inside(name, "evsim.gradients.studies.papers"):
            continue  # named as the command is given them
        stem = path.parent.name if path.name == "__init__.py" else path.stem
        if path.stem != path.parent.name:  # a folder and its main file are one place
            stems.setdefault(stem.strip("_"), []).append(name)
    twice = {stem: sorted(names) for stem, names in stems.items() if len(names) > 1}
    allowed = {stem for stem in twice if stem in TWINS}
    assert {stem: twice[stem] for stem in set(twice) - allowed} == {}
    assert set(TWINS) - set(twice) == set(), "no longer twice: take it off the list"


def test_twins_are_told_apart_on_the_map():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for stem in TWINS:
        assert f"`{stem}`" in text, stem


def test_kernels_stand_in_files_that_start_with_an_underscore():
    # The cache of the compiled code is keyed by the text of those files only.
    for name, path in MODULES.items():
        if not path.name.startswith("_"):
            for target, node, _ in imports(name):
                names = {alias.name for alias in node.names}
                assert target != "evsim._compile" or not names & {"kernel", "inlined"}, name


def test_import_leaves_heavy_packages_alone():
    heavy = "{'torch', 'numba', 'matplotlib', 'scipy', 'soundfile', 'tonic'}"
    for module in ("evsim", "evsim.commands.cli", "evsim.datasets"):
        assert python(f"import {module}, sys; print({heavy} & set(sys.modules))") == "set()"


def test_without_torch_gradients_say_what_to_install():
    code = """
import sys; sys.modules["torch"] = None
import evsim
try: evsim.gradients
except ModuleNotFoundError as error: print(error)
"""
    assert python(code) == "evsim.gradients needs torch: pip install evsim[torch]"


def test_a_reload_does_not_look_for_the_rooms_twice():
    code = """
import importlib, sys, evsim
before = len(sys.meta_path)
importlib.reload(evsim)
print(len(sys.meta_path) - before)
"""
    assert python(code) == "0"


def test_the_command_line_knows_no_data_sets_until_it_needs_them():
    code = "import evsim.commands.cli, sys; print('evsim.datasets' in sys.modules)"
    assert python(code) == "False"


def test_datasets_is_not_shadowed():
    code = "import evsim.datasets, importlib.util as u; print(u.find_spec('datasets'))"
    assert "evsim" not in python(code)


@pytest.mark.parametrize("room", ["gradients", "datasets"])
def test_a_room_is_imported_under_its_own_name_only(room):
    # As `gradients` it would be a second module with second classes.
    code = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
try: import {room}
except ImportError as error: print(error)
"""
    assert f"import evsim.{room}" in python(code)
