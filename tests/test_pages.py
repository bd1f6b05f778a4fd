"""Every program and every command of evsim in README and docs/ runs.

A page is run from top to bottom in a folder of its own: programs in one namespace, and what
stands behind a ``print`` is what they print; commands of evsim in this process. Trainings and
animations are cut short. A comment before a block keeps it from being run, and says why:
``<!-- needs ... -->``; ``<!-- a file of its own ... -->`` is run as one. What installs, and what
takes minutes (`OTHERS`), is not run here. Published data sets are stood for by small files.
"""

import contextlib
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from in_process import run

pytest.importorskip("torch")

ROOT = Path(__file__).parent.parent
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))
BLOCK = re.compile(
    r"(<!-- (?:needs|a file) [^\n]*-->\n)?^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE
)
TOLD = re.compile(r"^(?:\s*print\(.*\)|\))\s+# (.*)$", re.MULTILINE)
NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")
SHORT = {
    "train": ("--epochs", "1", "--hidden", "8"),
    "check": ("--recordings", "4"),
    ".gif": ("--to", "0.05"),
}
LESS = {
    'SpokenDigits("train")': 'SpokenDigits("train")[::16]',
    "epoch in range(8)": "epoch in range(1)",
    "TrainOptions(epochs=8)": "TrainOptions(epochs=1)",
}
OTHERS = ("pip", "python", "python3", "bash", "pytest", "torchrun", "git", "eval", "tensorboard")


@pytest.mark.parametrize("name", ["README.md", *PAGES])
def test_what_stands_on_a_page_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_shd(tmp_path / "shd")
    names = {"__name__": "__main__"}
    blocks = BLOCK.findall((ROOT / name).read_text(encoding="utf-8"))
    printed = None
    for told, kind, block in blocks:
        needs, own = "<!-- needs" in told, "<!-- a file" in told
        assert kind in ("python", "sh", "text"), f"a block of {kind!r} is not looked at"
        if kind == "text" and printed:  # right after a program: what it prints
            same(block, printed)
        printed = None
        if kind == "python" and not needs:
            printed = run_file(block, tmp_path) if own else run_program(block, names)
        elif kind == "sh" and not needs:
            run_commands(block, tmp_path)


def same(told, printed):
    """Compare two texts, numbers to six digits: the last ones may be another machine's."""
    assert NUMBER.sub("#", told) == NUMBER.sub("#", printed)
    numbers = (list(map(float, NUMBER.findall(text))) for text in (told, printed))
    assert next(numbers) == pytest.approx(next(numbers), rel=1e-6)


def write_shd(folder):
    """Write recordings of a few speakers in the layout of SHD."""
    folder.mkdir()
    with h5py.File(folder / "shd_train.h5", "w") as file:
        for name, value, kind in (("times", 0.1, np.float16), ("units", 3, np.uint16)):
            column = file.create_dataset(f"spikes/{name}", (12,), h5py.vlen_dtype(kind))
            for recording in range(12):
                column[recording] = np.array([value], kind)
        file["labels"] = np.arange(12, dtype=np.uint16) % 2
        file["extra/keys"] = np.array([b"zero", b"one"])
        file["extra/speaker"] = np.arange(12, dtype=np.uint16)


def quicker(block):
    """Return a program that trains less."""
    if "optimizer.step()" in block or "TrainOptions" in block:
        for whole, part in LESS.items():
            block = block.replace(whole, part)
    return block


def run_file(block, folder):
    (folder / "own.py").write_text(quicker(block))
    words = [sys.executable, "own.py"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_program(block, names):
    out = io.StringIO()
    block = quicker(block)
    with contextlib.redirect_stdout(out):
        exec(compile(block, "page", "exec"), names)
    lines = iter(out.getvalue().splitlines())
    for told in TOLD.findall(block):
        assert told in lines, out.getvalue()  # in this order
    return out.getvalue()


def shortened(words):
    """Return options that make a command quick; a training goes on as it was begun."""
    for word in () if "--resume" in words else (words[0], *words):
        for what, options in SHORT.items():
            if word.endswith(what):
                return options
    return ()


def run_commands(block, folder):
    block = block.replace("\\\n", " ").replace("&&", "\n")
    for line in filter(None, map(str.strip, block.splitlines())):
        command, *words = shlex.split(line, comments=True) or ["#"]
        command = command.rpartition("/")[2]
        if command != "evsim":
            assert command in (*OTHERS, "#"), f"{command}: is not run here; say what it needs"
            continue
        done = run(folder, *words, *shortened(words))
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def test_pages_are_listed_and_links_lead_somewhere():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for name in ["README.md", "CONTRIBUTING.md", *PAGES]:
        page = ROOT / name
        if page.parent.name == "docs" and page.name not in ("index.md", "pypi.md"):
            assert f"({page.name})" in index, page.name
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert link.startswith("http") or (page.parent / link).exists(), f"{name}: {link}"
