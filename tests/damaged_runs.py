"""Run folders, and ways to damage them: a mutation is its number, the same one each time.

`python tests/damaged_runs.py FIRST LAST` tries these numbers by hand.
"""

from __future__ import annotations

import copy
import json
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from in_process import Done, run

import evsim
from evsim import Spikes
from evsim.gradients.training.checkpoints import save_checkpoint

SMALL = ("--hidden", 4, "--max-delay", 0.02, "--batch", 8, "--lr", 0.05, "--seed", 3)
GO_ON = ("train", "spikes.h5", "-o", "run", "--resume")
FILES = ("initial.h5", "network.h5", "test.h5", "log.csv", "options.json", "checkpoint.pt")
VALUES: list[Any] = [
    None, True, -1, 0, 2, 2.5, 16.0, -0.5, 1e9, 10**9 + 1, 2**24, 2**63, 2**70, 10**400, 1e308,
    float("nan"), float("inf"), "", "16", "none", "x" * 100_000, "\ud800", "\0", [], [1], [[1, 2]],
    {}, {"epochs": 3},
]  # fmt: skip


def make(folder: Path) -> None:
    """Train two epochs of three in ``folder / "run"``, on a labelled spike file beside it."""
    rng = np.random.default_rng(0)
    labels = np.arange(20) % 2
    parts = [
        (0.1 * rng.random(12), np.where(rng.random(12) < 0.8, label, 1 - label) + 2 * (b % 2))
        for b, label in enumerate(labels)
    ]
    evsim.save_spikes(folder / "spikes.h5", Spikes.from_recordings(parts, 4, 0.1, labels))
    done = run(folder, "train", "spikes.h5", "-o", "run", *SMALL, "--epochs", 2)
    assert done.returncode == 0, done.stderr
    options = folder / "run" / "options.json"
    options.write_text(options.read_text().replace('"epochs": 2', '"epochs": 3'))


def contents(folder: Path) -> dict[str, bytes | None]:
    """Return what stands in a folder, by name; None for a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def outcome(run_folder: Path) -> dict[str, Any]:
    """Return the checkpoint without what the clock says."""
    found: dict[str, Any] = torch.load(run_folder / "checkpoint.pt", weights_only=True)
    for record in found["history"]:
        del record["seconds"]
    return found


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if torch.is_tensor(a) else bool(a == b)


def mutate(folder: Path, number: int) -> str:
    """Damage ``folder / "run"``; return what was done."""
    rng = random.Random(number)
    ways = (of_options, of_options, of_checkpoint, of_checkpoint, of_checkpoint, of_bytes, of_files)
    return rng.choice(ways)(folder / "run", rng)


def of_options(path: Path, rng: random.Random) -> str:
    path = path / "options.json"
    options = json.loads(path.read_text())
    name = rng.choice(sorted(options))
    way = rng.choice(("value", "value", "value", "missing", "unknown", "twice", "text", "nested"))
    if way == "value":
        endless = [2**24] if name == "epochs" else []  # sound, but nobody waits for it
        value = rng.choice([v for v in VALUES if v not in endless])
        path.write_text(json.dumps({**options, name: value}))
        return f"{name} = {str(value)[:30]!a}"
    if way == "missing":
        del options[name]
        path.write_text(json.dumps(options))
    elif way == "unknown":
        path.write_text(json.dumps({**options, name.upper(): options[name]}))
    elif way == "twice":
        path.write_text(path.read_text().replace("{", f'{{"{name}": 1,', 1))
    elif way == "text":
        texts = (b"", b"[]", b"3", b"null", b"\xff\xfe", b"\xef\xbb\xbf{}", b"{" * 9, b" " * 70_000)
        path.write_bytes(rng.choice(texts))
    else:
        deep = rng.choice(("[", '{"a":')) * 10_000
        path.write_text(path.read_text().replace(json.dumps(options[name]), deep, 1))
    return f"{name}: {way}"


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the ways to all entries of nested dictionaries and lists."""
    found = [way] if way else []
    if isinstance(value, dict):
        return found + [p for k in value for p in places(value[k], (*way, k))]
    if isinstance(value, (list, tuple)):
        return found + [p for k in range(len(value)) for p in places(value[k], (*way, k))]
    return found


def of_checkpoint(path: Path, rng: random.Random) -> str:
    state = torch.load(path / "checkpoint.pt", weights_only=True)
    way = rng.choice(places(state))
    inside = state
    for key in way[:-1]:
        before, inside = inside, inside[key]
    if isinstance(inside, tuple):  # the betas of Adam
        before[way[-2]] = inside = list(inside)
    what = rng.choice(("drop", "add", "value", "tensor", "copy"))
    if what == "drop":
        del inside[way[-1]]
    elif what == "add" and isinstance(inside, dict):
        inside[rng.choice(("more", 7, (1, 2)))] = inside[way[-1]]
    elif what == "add":
        inside.append(copy.deepcopy(inside[-1]))
    elif what == "tensor" and torch.is_tensor(inside[way[-1]]):
        inside[way[-1]] = rng.choice(TENSORS)(inside[way[-1]])
    elif what == "copy":
        other = rng.choice(places(state))
        value: Any = state
        for key in other:
            value = value[key]
        inside[way[-1]] = copy.deepcopy(value)
    else:
        inside[way[-1]] = rng.choice([v for v in VALUES if v != "\ud800"])
    save_checkpoint(path / "checkpoint.pt", state)
    return f"{way}: {what}"


def _filled(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def fill(tensor: torch.Tensor) -> torch.Tensor:
        changed = tensor.clone().double()
        changed.view(-1)[0] = value
        return changed.to(tensor.dtype) if tensor.is_floating_point() else changed

    return fill


TENSORS: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = (
    _filled(float("nan")), _filled(float("inf")), _filled(-1.0), _filled(0.019), _filled(77.0),
    lambda t: t.to(torch.float16), lambda t: t.to(torch.int64), lambda t: t.to(torch.float64),
    lambda t: t[..., None], lambda t: t.flatten()[:0], lambda t: t.new_zeros(3, 3),
    lambda t: torch.zeros(1).expand(10**6, 10**6), lambda t: torch.complex(t.double(), t.double()),
    lambda t: t.flatten()[: t.numel() // 2], lambda t: torch.zeros_like(t),
)  # fmt: skip


def of_bytes(path: Path, rng: random.Random) -> str:
    path = path / rng.choice(FILES)
    data = bytearray(path.read_bytes())
    at = rng.randrange(len(data))
    way = rng.choice(("cut", "flip", "zeros", "insert", "noise"))
    if way == "cut":
        del data[at:]
    elif way == "flip":
        data[at] ^= 1 << rng.randrange(8)
    elif way == "zeros":
        data[at : at + 64] = bytes(len(data[at : at + 64]))
    elif way == "insert":
        data[at:at] = rng.randbytes(9)
    else:
        data[:] = rng.randbytes(200)
    path.write_bytes(data)
    return f"{path.name}: {way} at {at}"


def of_files(path: Path, rng: random.Random) -> str:
    path = path / rng.choice((*FILES, "accuracy.png"))
    way = rng.choice(("missing", "folder", "other", "line"))
    if way == "line":
        path = path.parent / "log.csv"
        lines = path.read_text().splitlines(keepends=True)
        edits = (lines[:-1], lines[1:], [*lines, lines[-1]], [*lines, "9,\n"], lines[::-1])
        path.write_text("".join(rng.choice(edits)))
        return f"{path.name}: {way}"
    other = path.parent / rng.choice([name for name in FILES if name != path.name])
    path.unlink()
    if way == "folder":
        path.mkdir()
    elif way == "other":
        shutil.copy(other, path)
    return f"{path.name}: {way} {other.name if way == 'other' else ''}"


def tried(whole: Path, number: int) -> tuple[str, Done, dict[str, Any] | None]:
    """Damage a copy of a run and go on with it; a refused one must be as it was before.

    Returns
    -------
    str
        What was done.
    Done
        What the command said.
    dict or None
        What was trained, if it was.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(whole, folder, dirs_exist_ok=True)
        what = f"{number}: {mutate(folder, number)}"
        before = contents(folder)
        try:
            done = run(folder, *GO_ON)
        except Exception as error:
            raise AssertionError(what) from error
        if done.returncode == 0:
            return what, done, outcome(folder / "run")
        assert contents(folder) == before, what
        return what, done, None


def main(first: int, last: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        make(Path(name))
        accepted = 0
        for number in range(first, last):
            what, done, state = tried(Path(name), number)
            accepted += state is not None
            print(what, "->", done.stderr.strip()[:300] or "went on", flush=True)
        print(f"{last - first} mutations, {accepted} went on")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
