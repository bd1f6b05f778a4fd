"""Every program and every command of evsim in README and docs/ runs.

A page is run from top to bottom in a folder of its own: programs in one namespace, and what
stands behind a ``print`` is what they print; commands of evsim in this process. Trainings and
animations are cut short. A comment before a block keeps it from being run, and says why:
``<!-- needs ... -->``. What installs, and what takes minutes (`OTHERS`), is not run here.
"""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest
from in_process import run

pytest.importorskip("torch")

ROOT = Path(__file__).parent.parent
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"(<!-- needs [^\n]*-->\n)?^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
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
}
OTHERS = ("pip", "python", "python3", "bash", "pytest", "torchrun", "git", "eval", "tensorboard")


@pytest.mark.parametrize("name", ["README.md", *PAGES])
def test_what_stands_on_a_page_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    blocks = BLOCK.findall((ROOT / name).read_text(encoding="utf-8"))
    printed = None
    for needs, kind, block in blocks:
        assert kind in ("python", "sh", "text"), f"a block of {kind!r} is not looked at"
        if kind == "text" and printed:  # right after a program: what it prints
            same(block, printed)
        printed = None
        if kind == "python" and not needs:
            printed = run_program(block, names)
        elif kind == "sh" and not needs:
            run_commands(block, tmp_path)


def same(told, printed):
    """Compare two texts, numbers to six digits: the last ones may be another machine's."""
    assert NUMBER.sub("#", told) == NUMBER.sub("#", printed)
    numbers = (list(map(float, NUMBER.findall(text))) for text in (told, printed))
    assert next(numbers) == pytest.approx(next(numbers), rel=1e-6)


def run_program(block, names):
    out = io.StringIO()
    for whole, part in LESS.items() if "optimizer.step()" in block else ():
        block = block.replace(whole, part)
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
