"""Damaged files given to commands: one line and exit status 2, or a sound result; never else.

Covers what tests/test_fuzz.py does not: `evsim info`, `simulate`, `encode` and `train --resume`,
formats that are no HDF5, folders of runs, and accepted values against an independent reading.
Cases run in child processes with little memory and an alarm clock; a case is its number.
`EVSIM_FUZZ_COMMANDS=50000 pytest tests/test_fuzz_commands.py` runs that many; one alone with
`python tests/test_fuzz_commands.py KIND FOLDER NUMBER NUMBER+1`.
"""

import contextlib
import gzip
import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
from in_process import run
from small_event_files import AEDAT_HEADER, aedat_bytes, camera_bytes, some_events, write_events
from test_fuzz import damaged, make_base, virtual_memory

import evsim

resource = pytest.importorskip("resource")

SECONDS = 10  # for a case; most take a few milliseconds
MEMORY = 1 << 30  # on top of what Python and its libraries have
N_CASES = int(os.environ.get("EVSIM_FUZZ_COMMANDS", "2000"))
SHARES = {
    "shd": 0.22, "packed": 0.15, "sonata": 0.05, "result": 0.1, "network": 0.15, "events": 0.08,
    "bin": 0.05, "aedat": 0.05, "idx": 0.04, "wav": 0.04, "flac": 0.02, "options": 0.03,
    "checkpoint": 0.02,
}  # fmt: skip
SUFFIX = {"bin": ".bin", "aedat": ".aedat", "idx": "-ubyte.gz", "wav": ".wav", "flac": ".flac"}


def make_kind(kind, folder):
    """Make a folder with a sound file, and what the command needs besides; return the file."""
    folder.mkdir(exist_ok=True)
    make_base("network", folder / "net.h5")
    evsim.save_spikes(folder / "some.h5", evsim.Spikes([0.1, 0.2], [0, 5], size=12, duration=0.5))
    events = some_events(60)
    if kind in ("options", "checkpoint"):
        return make_run(kind, folder)
    if kind in SUFFIX:
        name = "train-images-idx3" if kind == "idx" else "file"
        path = folder / f"{name}{SUFFIX[kind]}"
    else:
        path = folder / "file.h5"
    if kind == "events":
        write_events(path, [events, some_events(30, seed=1)], labels=np.array([0, 1]))
    elif kind == "bin":
        path.write_bytes(camera_bytes(*events))
    elif kind == "aedat":
        path.write_bytes(aedat_bytes(*events, header=AEDAT_HEADER))
    elif kind == "idx":
        images = np.random.default_rng(0).integers(0, 256, (3, 28, 28)).astype(np.uint8)
        header = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in images.shape)
        path.write_bytes(gzip.compress(header + images.tobytes(), mtime=0))
    elif kind in ("wav", "flac"):
        soundfile = pytest.importorskip("soundfile")
        sound = 0.3 * np.sin(2 * np.pi * 440 * np.arange(1600) / 16000)
        soundfile.write(path, sound, 16000)
    else:
        make_base(kind, path)
    return path


def make_run(kind, folder):
    """Train two of three epochs on twelve tiny recordings; return the file to damage."""
    rng = np.random.default_rng(0)
    parts = [(0.05 * rng.random(6), rng.integers(0, 3, 6)) for _ in range(20)]
    spikes = evsim.Spikes.from_recordings(parts, 3, 0.05, np.arange(20) % 2)
    evsim.save_spikes(folder / "data.h5", spikes)
    options = ("--hidden", 3, "--epochs", 2, "--batch", 20)
    done = run(folder, "train", "data.h5", "-o", "run", *options)
    assert done.returncode == 0, done.stderr
    return folder / "run" / ("options.json" if kind == "options" else "checkpoint.pt")


def command(kind, folder, path, number):
    """Return the words of the command that is given the damaged file."""
    if kind in ("options", "checkpoint"):
        return ("train", "data.h5", "-o", "run", "--resume", "--epochs", 3)
    if kind in ("wav", "flac"):
        return ("encode", path.name, "-o", "out.h5", "--channels", 32)
    if kind == "network" and number % 2:
        return ("simulate", path.name, "some.h5", "-o", "out.h5", "--overwrite")
    if kind in ("shd", "packed", "sonata") and number % 4 == 0:
        return ("simulate", "net.h5", path.name, "-o", "out.h5", "--overwrite")
    return ("info", path.name)


def judged(done):
    """Return what is wrong with how a command ended, or None."""
    if "Traceback" in done.stderr + done.stdout:
        return f"a traceback: {done.stderr[-300:]}"
    if done.returncode == 0:
        return None
    lines = done.stderr.splitlines()
    if done.returncode != 2 or not re.fullmatch(
        r"evsim: error: \S[^\n]*", lines[-1] if lines else ""
    ):
        return f"exit {done.returncode}, {done.stderr[-300:]!r}"
    if any(not re.match(r"evsim: (warning|error): |.*it/s|evsim: compiling", ln) for ln in lines):
        return f"more than messages: {done.stderr[-300:]!r}"
    return None


# --- an independent reading of what was accepted ---


def read_otherwise(kind, path):
    """Return the spikes of a file as a naive reader gives them; None if it gives up."""
    with h5py.File(path) as file:
        spikes = file["spikes"]
        if kind == "sonata":
            (population,) = (spikes[name] for name in spikes)
            seconds = {"ms": 1e-3, "s": 1.0}[population["timestamps"].attrs["units"]]
            return [(population["timestamps"][()] * seconds, population["node_ids"][()])]
        if kind == "packed":
            times, units, offsets = (spikes[name][()] for name in ("times", "units", "offsets"))
            times = times / spikes["times"].attrs.get("rate", 1.0)
            pairs = zip(offsets[:-1], offsets[1:], strict=True)
            return [(times[a:b], units[a:b]) for a, b in pairs]
        return list(zip(spikes["times"][()], spikes["units"][()], strict=True))


def differs(kind, path):
    """Return in what `load_spikes` and a naive reader differ, or None."""
    try:
        found = evsim.load_spikes(path)
        otherwise = read_otherwise(kind, path)
    except Exception:  # noqa: BLE001, then there is nothing to compare
        return None
    if len(found) != len(otherwise):
        return f"{len(found)} recordings, not {len(otherwise)}"
    for b, (times, units) in enumerate(otherwise):
        times, units = np.asarray(times, np.float64), np.asarray(units, np.int64)
        order = np.lexsort((units, times))
        mine = found[b]
        if not np.allclose(mine.times, times[order], rtol=1e-12, atol=0) or not np.array_equal(
            np.sort(mine.units), np.sort(units)
        ):
            return f"recording {b} is read otherwise"
    return None


# --- cases in child processes ---


def case(kind, folder, path, data, number):
    """Damage the file in the way of this number, run the command, say what went wrong."""
    path.write_bytes(damaged(data, number))
    (folder / "out.h5").unlink(missing_ok=True)
    done = run(folder, *command(kind, folder, path, number))
    wrong = judged(done)
    if wrong is None and done.returncode == 2 and (folder / "out.h5").exists():
        wrong = "a result of a command that failed"
    leftovers = [p.name for p in folder.rglob("*") if "partial" in p.name]
    if wrong is None and leftovers:
        wrong = f"left behind: {leftovers}"
    if wrong is None and kind in ("shd", "packed", "sonata") and number % 3 == 0:
        wrong = differs(kind, path)
    return wrong


def child(kind, folder, first, last):
    """Run cases one after the other; say which comes next before each."""
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    sys.modules["matplotlib"] = None  # pictures take a second, and are not what is looked for
    path = make_kind(kind, folder)
    kept = folder.with_name(f"{folder.name}.kept")
    if kind in ("options", "checkpoint"):
        shutil.copytree(folder / "run", kept, dirs_exist_ok=True)
    else:  # load the kernels before memory is limited
        run(folder, *command(kind, folder, path, 0))
        run(folder, *command(kind, folder, path, 1))
    limit = virtual_memory() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    data = path.read_bytes()
    for number in range(first, last):
        print(f"NUMBER {number}", flush=True)
        if kept.exists():
            shutil.rmtree(folder / "run")
            shutil.copytree(kept, folder / "run")
        signal.alarm(SECONDS)
        wrong = case(kind, folder, path, data, number)
        signal.alarm(0)
        if wrong:
            print(f"WRONG {kind} {number}: {wrong}", flush=True)


def run_child(kind, folder, first, last):
    """Run cases ``first`` to before ``last``; list what went wrong."""
    wrong = []
    while first < last:
        shutil.rmtree(folder, ignore_errors=True)
        words = [sys.executable, __file__, kind, str(folder), str(first), str(last)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=20_000)
        wrong += [line for line in done.stdout.splitlines() if line.startswith("WRONG")]
        if done.returncode == 0:
            break
        if "NUMBER" not in done.stdout:
            raise AssertionError(done.stderr[-2000:])
        guilty = int(done.stdout.split("NUMBER ")[-1].split()[0])
        wrong.append(f"{kind} {guilty}: exit {done.returncode}: {done.stderr[-300:]}")
        first = guilty + 1
    return wrong


@pytest.mark.parametrize("kind", SHARES)
def test_damaged_files_given_to_commands_end_in_one_line(kind, tmp_path):
    if kind in ("wav", "flac"):
        pytest.importorskip("soundfile")
    if kind in ("options", "checkpoint"):
        pytest.importorskip("torch")
    assert run_child(kind, tmp_path / kind, 0, round(N_CASES * SHARES[kind])) == []


@pytest.mark.parametrize(("kind", "number"), [("shd", 710)])
def test_cases_that_went_wrong_once_don_t_any_more(kind, number, tmp_path):
    assert run_child(kind, tmp_path / kind, number, number + 1) == []


def test_a_value_that_is_read_otherwise_would_be_seen(tmp_path, monkeypatch):
    make_base("shd", tmp_path / "file.h5")
    assert differs("shd", tmp_path / "file.h5") is None
    usual = evsim.load_spikes

    def off(path):
        spikes = usual(path)
        times = spikes.times + 1e-9
        return spikes.replace(times, spikes.units, spikes.offsets)

    monkeypatch.setattr(evsim, "load_spikes", off)
    assert "read otherwise" in differs("shd", tmp_path / "file.h5")


def test_a_traceback_would_be_seen(tmp_path, monkeypatch):
    from evsim.commands import info

    def broken(path, population=None, **nir):
        raise KeyError("what no command expects")

    monkeypatch.setattr(info, "describe", broken)
    make_base("shd", tmp_path / "file.h5")
    with pytest.raises(KeyError):
        run(tmp_path, "info", "file.h5")


if __name__ == "__main__":
    with contextlib.chdir(Path(__file__).parent):
        child(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
