"""Ctrl-C: one line and exit status 130, during imports and when Python would drop it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")

# Presses Ctrl-C in the midst of the import of a module, however quick the machine is.
PRESS_AT_IMPORT = """
import os, signal, sys
class Press:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Press())
"""
RUN = """
sys.argv = {argv!r}
{start}
"""
CONSOLE = "from evsim.commands.cli import main; sys.exit(main())"
MODULE = "import runpy; runpy.run_module('evsim', run_name='__main__', alter_sys=True)"


def press(folder: Path, module: str, argv: list[str], start: str) -> subprocess.CompletedProcess:
    code = PRESS_AT_IMPORT.format(module=module) + RUN.format(argv=argv, start=start)
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("module", ["numpy", "h5py", "click", "evsim.commands.cli", "evsim.words"])
@pytest.mark.parametrize(
    ("argv0", "start"), [("/usr/bin/evsim", CONSOLE), ("-m", MODULE)], ids=["console", "module"]
)
def test_ctrl_c_during_the_first_imports_is_one_line(
    tmp_path: Path, module: str, argv0: str, start: str
) -> None:
    done = press(tmp_path, module, [argv0, "info", "digits-demo.h5"], start)
    assert (done.returncode, done.stderr) == (130, "evsim: interrupted\n")
    assert done.stdout == ""


@pytest.mark.parametrize("module", ["evsim.commands.info", "evsim.datasets.recognise"])
def test_ctrl_c_during_the_imports_of_a_command_is_one_line(tmp_path: Path, module: str) -> None:
    done = press(tmp_path, module, ["evsim", "info", "digits-demo.h5"], CONSOLE)
    assert (done.returncode, done.stderr) == (130, "evsim: interrupted\n")


IN_A_LIBRARY = """
import os, signal, sys
import evsim.commands.cli as cli
def describe(path, population=None, **nir):
    {body}
import evsim.commands.info
evsim.commands.info.describe = describe
sys.argv = ["evsim", "info", "digits-demo.h5"]
cli.main()
"""
DROPPED = """
    import time
    class Dropping:
        def __del__(self): os.kill(os.getpid(), signal.SIGINT); time.sleep(0.01)
    Dropping()
    time.sleep(60)
"""
CHANGED = """
    try: os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt: raise ImportError("the C extensions failed")
"""
IN_A_STRING = """
    exec("os.kill(os.getpid(), signal.SIGINT)")
"""


@pytest.mark.parametrize("body", [DROPPED, CHANGED, IN_A_STRING])
def test_an_interrupt_that_a_library_drops_or_changes_is_still_one(
    tmp_path: Path, body: str
) -> None:
    code = IN_A_LIBRARY.format(body=body.strip())
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (130, "evsim: interrupted\n")


def test_an_interrupt_after_the_end_changes_nothing(tmp_path: Path) -> None:
    code = """
        import atexit, os, signal, sys
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["evsim"]
        # The first to be registered is the last to be called: after evsim's own.
        atexit.register(os.kill, os.getpid(), signal.SIGINT)
        import evsim.interrupts
    """
    command = [sys.executable, "-c", dedent(code)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_second_interrupt_while_ending_is_not_told_again() -> None:
    # The handler runs late: the first press was told, and the command is ending, meanwhile.
    code = "from evsim import interrupts as i; i.end_by_interrupt(); i._stop(); print('ending')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert (done.stdout, done.stderr) == ("ending\n", "")


def test_importing_evsim_elsewhere_leaves_ctrl_c_alone() -> None:
    code = "import signal, evsim; print(signal.getsignal(signal.SIGINT))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert "default_int_handler" in told


def test_a_command_in_this_process_gives_ctrl_c_back(tmp_path: Path) -> None:
    from in_process import run

    before = signal.getsignal(signal.SIGINT), sys.unraisablehook
    assert run(tmp_path, "info", "digits-demo.h5").returncode == 0
    assert (signal.getsignal(signal.SIGINT), sys.unraisablehook) == before
