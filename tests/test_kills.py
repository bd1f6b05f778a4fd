"""Commands that are killed or interrupted at random moments: nothing half, nothing in the way.

After a SIGKILL the same command must run again and leave what it would have left; a training goes
on, or begins anew, and ends with the same bits. After a SIGINT: exit status 130 and one line.
`EVSIM_KILLS=200 pytest tests/test_kills.py` kills each command so often; a few times without it.
"""

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

import evsim

KILLS = int(os.environ.get("EVSIM_KILLS", "5"))
COMMANDS = {
    "simulate": ("simulate", "net.h5", "spikes.h5", "-o", "out.h5", "--voltage", "hidden"),
    "encode": ("encode", "sounds", "-o", "out.h5", "--channels", "32"),
    "check": ("check", "net.h5", "spikes.h5", "-o", "out", "--dt", "1e-3", "--min-match", "0",
              "--recordings", "5", "--max-accuracy-loss", "1"),
    "train": ("train", "spikes.h5", "-o", "out", "--hidden", "8", "--batch", "8", "--epochs", "4"),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with what the commands need."""
    folder = tmp_path_factory.mktemp("kills")
    rng = np.random.default_rng(0)
    n, size, duration = 120, 12, 0.4
    parts = [(duration * rng.random(60), rng.integers(0, size, 60)) for _ in range(n)]
    spikes = evsim.Spikes.from_recordings(parts, size, duration, np.arange(n) % 3)
    evsim.save_spikes(folder / "spikes.h5", spikes)
    taus = {"tau_mem": 20e-3, "tau_syn": 5e-3}
    evsim.Network(
        [
            evsim.Population("in", "Input", size),
            evsim.Population("hidden", "CubaLIF", 40, **taus),
            evsim.Population("readout", "CubaLI", 3, output="max", **taus),
        ],
        [
            evsim.Dense(pre="in", post="hidden", weight=rng.uniform(0, 4, (40, size))),
            evsim.Dense(pre="hidden", post="readout", weight=rng.normal(size=(3, 40))),
        ],
    ).save(folder / "net.h5")
    soundfile = pytest.importorskip("soundfile")
    (folder / "sounds").mkdir()
    for k in range(6):
        tone = 0.3 * np.sin(2 * np.pi * (300 + 200 * k) * np.arange(8000) / 16000)
        soundfile.write(folder / "sounds" / f"{k}.wav", tone, 16000)
    return folder


def start(folder, name, *more):
    words = [sys.executable, "-m", "evsim", *COMMANDS[name], *more]
    return subprocess.Popen(
        words,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(folder, name, *more):
    process = start(folder, name, *more)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def clean(folder):
    for name in ("out", "out.h5"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def told(folder, name):
    """Return what a command leaves, to compare: numbers, not the seconds that it took."""
    if name in ("simulate", "encode"):
        with h5py.File(folder / "out.h5") as file:
            sha, spikes = hashlib.sha256(), "populations/hidden/spikes"
            for part in ("times", "units"):
                for values in file[f"{spikes if name == 'simulate' else 'spikes'}/{part}"][()]:
                    sha.update(np.ascontiguousarray(values).tobytes())
        return sha.hexdigest()
    if name == "check":
        return (folder / "out" / "report.json").read_text()
    return hashlib.sha256((folder / "out" / "network.h5").read_bytes()).hexdigest()


@pytest.fixture(scope="module", params=COMMANDS)
def whole(request, folder):
    """Run a command undisturbed; return its name, seconds and what it left."""
    name = request.param
    if name in ("check", "train"):
        pytest.importorskip("torch")
    clean(folder)
    finish(folder, name)
    clean(folder)
    begin = time.perf_counter()
    finish(folder, name)
    seconds = time.perf_counter() - begin
    found = told(folder, name)
    clean(folder)
    return name, seconds, found


def again(folder, name):
    """Return the words with which a command that was killed is given again."""
    if not (folder / "out").exists() and not (folder / "out.h5").exists():
        return ()
    if name == "train" and (folder / "out" / "checkpoint.pt").exists():
        return ("--resume",)
    return ("--overwrite",)


def test_a_command_that_was_killed_runs_again(whole, folder):
    name, seconds, expected = whole
    moments = random.Random(0)
    for _ in range(KILLS):
        clean(folder)
        process = start(folder, name)
        time.sleep(moments.uniform(0.2, 1.05) * seconds)
        process.kill()
        process.communicate()
        finish(folder, name, *again(folder, name))
        assert told(folder, name) == expected
    clean(folder)
    assert sorted(p.name for p in folder.iterdir()) == ["net.h5", "sounds", "spikes.h5"]


def test_an_interrupted_command_says_one_line(whole, folder):
    name, seconds, expected = whole
    moments = random.Random(1)
    for _ in range(max(2, KILLS // 10)):
        clean(folder)
        process = start(folder, name)
        time.sleep(moments.uniform(0.35, 0.8) * seconds)
        process.send_signal(signal.SIGINT)
        begin = time.perf_counter()
        out, err = process.communicate(timeout=60)
        if process.returncode == 0:
            continue  # it was done
        assert process.returncode == 130, err
        lines = [
            line for line in re.split(r"[\r\n]+", err) if line.startswith("evsim: interrupted")
        ]
        assert len(lines) == 1 and "Traceback" not in err + out, err
        assert time.perf_counter() - begin < 20
        if (folder / "out.h5").exists():  # it had just been written
            assert told(folder, name) == expected
    clean(folder)
