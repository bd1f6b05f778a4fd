"""The cache of compiled code can't go stale."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import evsim

KERNELS = """
from evsim._compile import kernel
from evsim._callee import callee

@kernel
def caller(x):
    return callee(x)
"""
CALLEE = """
from evsim._compile import kernel

@kernel
def callee(x):
    return x + {step}
"""


def run(folder):
    code = "import sys; sys.path.insert(0, '.'); from evsim._caller import caller; print(caller(1))"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_change_in_a_callee_is_noticed(tmp_path):
    package = tmp_path / "evsim"
    package.mkdir()
    shutil.copy(Path(evsim.__file__).parent / "_compile.py", package)
    (package / "__init__.py").touch()
    (package / "_caller.py").write_text(KERNELS)
    for step in (1, 10, 1):
        (package / "_callee.py").write_text(CALLEE.format(step=step))
        assert run(tmp_path) == 1 + step
    assert len(list((tmp_path / "cache").iterdir())) == 2  # the old text found its old cache
    assert not list(package.rglob("*.nb?"))
