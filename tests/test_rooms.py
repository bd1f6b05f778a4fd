"""The package list, who may import whom, and what an import costs."""

import ast
import configparser
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
    "evsim/checking.py": ("evsim.gradients",),
    "evsim/cli.py": ("evsim.datasets", "evsim.gradients"),
    "evsim/extras.py": ("torch",),
    "evsim/network.py": ("evsim.gradients", "torch"),
    "evsim/spikes.py": ("evsim.gradients",),
    "evsim/training.py": ("evsim.datasets", "evsim.gradients", "torch"),
}


def imports(path):
    """Yield the absolute names that a file imports; relative imports are refused."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


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
    found = {
        ".".join((name, *init.parent.relative_to(ROOT / room).parts))
        for name, room in ROOMS.items()
        for init in (ROOT / room).rglob("__init__.py")
    }
    assert listed == found


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room):
    for path in (ROOT / ROOMS[room]).rglob("*.py"):
        allowed = ALLOWED.get(path.relative_to(ROOT).as_posix(), ())
        for name in imports(path):
            for banned in set(FORBIDDEN[room]) - set(allowed):
                assert not f"{name}.".startswith(f"{banned}."), f"{path} imports {name}"


def test_kernels_stand_in_files_that_start_with_an_underscore():
    # The cache of the compiled code is keyed by the text of those files only.
    for room in ROOMS.values():
        for path in (ROOT / room).rglob("*.py"):
            if not path.name.startswith("_"):
                compiled = {"evsim._compile.kernel", "evsim._compile.inlined"}
                assert not compiled & set(imports(path)), path


def test_import_leaves_heavy_packages_alone():
    heavy = "{'torch', 'numba', 'matplotlib', 'scipy', 'soundfile', 'tonic'}"
    for module in ("evsim", "evsim.commands.cli", "evsim.datasets"):
        assert python(f"import {module}, sys; print({heavy} & set(sys.modules))") == "set()"


def test_the_command_line_knows_no_data_sets_until_it_needs_them():
    assert (
        python("import evsim.commands.cli, sys; print('evsim.datasets' in sys.modules)") == "False"
    )


def test_datasets_is_not_shadowed():
    code = "import evsim.datasets, importlib.util as u; print(u.find_spec('datasets'))"
    assert "evsim" not in python(code)
