"""``evsim train``: the folder it makes, interruptions, and what it refuses."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from damaged_runs import outcome, same
from in_process import run
from small_files import two_classes

import evsim
from evsim import Spikes
from evsim.commands.augmentation import varied
from evsim.commands.parts import inputs_of, open_parts
from evsim.commands.train import _told_if_long
from evsim.gradients.training.run_folder import RunFolder
from evsim.gradients.training.trainer import Trainer
from evsim.train_options import NAMED, TrainOptions, TrainSettings

SMALL = ("--hidden", 6, "--max-delay", 0.02, "--batch", 20)
FILES = {
    "options.json", "initial.h5", "network.h5", "test.h5", "log.csv", "checkpoint.pt",
    "accuracy.png", "delays.png", "raster.png",
}  # fmt: skip


def refused(folder: Path, *arguments: object) -> str:
    """Run a training that must fail, and return its message."""
    before = sorted(folder.rglob("*"))
    done = run(folder, "train", *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert re.fullmatch(r"evsim: error: [^\n]+\n", done.stderr)
    assert sorted(folder.rglob("*")) == before, "something was left behind"
    return done.stderr


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(recordings: Path) -> tuple[Path, str]:
    done = run(recordings.parent, "train", "spikes.h5", "-o", "run", *SMALL, "--epochs", 4)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return recordings.parent / "run", done.stdout


@pytest.fixture
def copied(trained: tuple[Path, str], recordings: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained[0], tmp_path / "run")
    shutil.copy(recordings, tmp_path)
    return tmp_path


# What works


def test_the_folder_holds_everything(trained: tuple[Path, str]) -> None:
    folder, told = trained
    assert {path.name for path in folder.iterdir()} == FILES
    assert "86 recordings to train, 10 to validate, 24 to test; 4 units, 0.1 s, 2 class" in told
    with open(folder / "log.csv", newline="") as file:
        log = list(csv.DictReader(file))
    assert [row["epoch"] for row in log] == ["1", "2", "3", "4"]
    best = max(float(row["validation_accuracy"]) for row in log)
    assert f"validation accuracy {best:.1%}" in told
    options = json.loads((folder / "options.json").read_text())
    assert options["dataset"] == "spikes.h5" and options["hidden"] == 6


def test_the_network_file_has_the_accuracy_that_was_told(trained: tuple[Path, str]) -> None:
    folder, told = trained
    simulate = [sys.executable, "-m", "evsim", "simulate", "network.h5", "test.h5"]
    done = subprocess.run(
        [*simulate, "-o", "../out.h5"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    right, n = re.search(r"test accuracy .* \((\d+) of (\d+)\)", told).groups()  # type: ignore[union-attr]
    assert f"({right} of {n})" in done.stdout
    assert int(right) > 0.7 * int(n)


def test_a_longer_training_is_the_same_as_one_that_goes_on(copied: Path) -> None:
    done = run(copied, "train", "spikes.h5", "-o", "run", "--resume", "--epochs", 6)
    assert done.returncode == 0, done.stderr
    before = torch.get_num_threads()
    done = run(copied, "train", "spikes.h5", "-o", "whole", *SMALL, "--epochs", 6, "--threads", 1)
    torch.set_num_threads(before)
    assert done.returncode == 0, done.stderr
    assert same(outcome(copied / "run"), outcome(copied / "whole"))
    for name in ("network.h5", "initial.h5", "test.h5"):
        networks = [(copied / run / name).read_bytes() for run in ("run", "whole")]
        assert networks[0] == networks[1], name


def test_an_interrupted_training_goes_on(copied: Path) -> None:
    options = ("spikes.h5", "-o", "long", *SMALL, "--epochs", 8)
    command = [sys.executable, "-m", "evsim", "train", *map(str, options)]
    process = subprocess.Popen(command, cwd=copied, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (copied / "long" / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode in (0, 130)
    if process.returncode == 130:
        assert told == "evsim: long can go on: --resume\nevsim: interrupted\n"
        assert evsim.Network.load(copied / "long" / "network.h5").output == "readout"
    done = run(copied, "train", "spikes.h5", "-o", "long", "--resume")
    assert done.returncode == 0, done.stderr
    done = run(copied, "train", "spikes.h5", "-o", "whole", *SMALL, "--epochs", 8)
    assert same(outcome(copied / "long"), outcome(copied / "whole"))


def test_a_prolonged_training_that_is_interrupted_stays_prolonged(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunFolder, "draw", lambda *_: [])
    go_on = ("train", "spikes.h5", "-o", "run", "--resume")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", interrupt)
        done = run(copied, *go_on, "--epochs", 5, "--patience", 50)
        assert done.returncode == 130 and "run can go on: --resume" in done.stderr
    options = json.loads((copied / "run" / "options.json").read_text())
    assert (options["epochs"], options["patience"], options["hidden"]) == (5, 50, 6)
    done = run(copied, *go_on)
    assert "\nepoch 5/5" in done.stdout and "best of 5 epochs" in done.stdout, done.stderr


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def test_what_takes_long_is_told() -> None:
    said, told = list[str](), threading.Event()

    def say(line: str) -> None:
        said.append(line)
        told.set()

    with _told_if_long(say, "at once", 60.0):
        pass
    assert not told.wait(0.01)
    with _told_if_long(say, "at length", 0.0):
        assert told.wait(60)
    assert said == ["at length"]


def test_augmented_training_goes_on_the_same(copied: Path) -> None:
    options = (*SMALL, "--augment", "--threads", 1)
    before = torch.get_num_threads()
    for name, *more in (
        ("part", *options, "--epochs", 2),
        ("part", "--resume", "--epochs", 3),
        ("whole", *options, "--epochs", 3),
        ("plain", *options, "--no-augment", "--epochs", 3),
    ):
        done = run(copied, "train", "spikes.h5", "-o", name, *more)
        assert done.returncode == 0, done.stderr
    torch.set_num_threads(before)
    assert same(outcome(copied / "part"), outcome(copied / "whole"))
    assert not same(outcome(copied / "plain")["model"], outcome(copied / "whole")["model"])


def test_recordings_are_varied() -> None:
    times = np.linspace(0.1, 0.9, 50)
    batch = Spikes.from_recordings([(times, np.full(50, 3))] * 400, 7, 1.2, np.arange(400))
    changed = varied(batch, np.random.default_rng(0))
    assert (changed.size, changed.duration) == (batch.size, batch.duration)
    assert np.array_equal(changed.labels, batch.labels)
    counts = changed.counts()
    assert set(np.count_nonzero(counts, axis=1)) == {1}, "a recording shifts as a whole"
    assert np.array_equal(np.flatnonzero(counts.sum(axis=0)), [2, 3, 4])
    assert 0.78 < len(changed.times) / len(batch.times) < 0.82
    span = [recording.times[-1] - recording.times[0] for recording in changed]
    assert 0.9 < max(span) <= 0.8 * 1.15 + 1e-9
    first = np.array([recording.times[0] for recording in changed])
    assert 0.1 * 0.85 - 0.010 <= first.min() < 0.085


def test_a_folder_named_like_a_data_set_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in NAMED:
        (tmp_path / name).mkdir()
        (tmp_path / name / "large.h5").touch()
        assert not TrainSettings(name).varies and not inputs_of(name)
    assert TrainSettings("digits", held_out="theo").varies
    (tmp_path / "SHD").mkdir()
    assert TrainSettings("SHD").varies and not TrainSettings("SHD", augment=False).varies


def test_defaults_that_depend_on_the_data() -> None:
    assert (TrainSettings("digits").waits, TrainSettings("yin-yang").waits) == (3, 6)
    assert TrainSettings("digits", patience=0).waits == 0
    settings = TrainSettings("digits")
    assert (settings.longest_delay(4.0), settings.longest_delay(0.1)) == (0.3, 0.025)
    assert TrainSettings("digits", max_delay=2.0).longest_delay(0.1) == 2.0


def test_the_command_and_the_trainer_have_the_same_defaults() -> None:
    command, trainer = TrainSettings("digits"), TrainOptions()
    for name in ("epochs", "batch", "seed", "lr", "delay_lr"):
        assert getattr(command, name) == getattr(trainer, name), name


def test_overwrite_starts_anew_and_leaves_other_files(copied: Path) -> None:
    (copied / "run" / "notes.txt").touch()
    options = ("--overwrite", *SMALL, "--epochs", 1, "--delay", "none", "--seed", 5)
    done = run(copied, "train", "spikes.h5", "-o", "run", *options)
    assert done.returncode == 0, done.stderr
    found = {path.name for path in (copied / "run").iterdir()}
    assert found == FILES - {"delays.png"} | {"notes.txt"}
    assert len(outcome(copied / "run")["history"]) == 1


@pytest.mark.parametrize("recurrent", ["dense", "conv"])
@pytest.mark.parametrize("delay", ["none", "axonal", "synaptic"])
def test_every_kind_of_network(delay: str, recurrent: str, copied: Path) -> None:
    options = ("--delay", delay, "--recurrent", recurrent, *SMALL, "--epochs", 1)
    done = run(copied, "train", "spikes.h5", "-o", "other", *options)
    assert done.returncode == 0, done.stderr
    told = re.search(r"\(\d+ of \d+\)", done.stdout).group()  # type: ignore[union-attr]
    done = run(copied, "simulate", "other/network.h5", "other/test.h5", "-o", "out.h5")
    assert told in done.stdout, done.stderr


# What is refused


def test_an_existing_folder_is_refused(copied: Path) -> None:
    message = refused(copied, "spikes.h5", "-o", "run")
    assert "run: exists already; give --resume" in message
    assert "is a file" in refused(copied, "spikes.h5", "-o", "spikes.h5")
    assert "does not exist" in refused(copied, "spikes.h5", "-o", "no/run")


def test_a_run_goes_on_as_it_began(copied: Path) -> None:
    options = ("spikes.h5", "-o", "run", "--resume", "--hidden", 7)
    assert "was trained with hidden = 6, not 7" in refused(copied, *options)
    other_seed = ("spikes.h5", "-o", "run", "--resume", "--seed", 12)
    assert "was trained with seed = " in refused(copied, *other_seed)
    assert "dataset = spikes.h5, not yin-yang" in refused(
        copied, "yin-yang", "-o", "run", "--resume"
    )
    assert "exclude each other" in refused(
        copied, "spikes.h5", "-o", "run", "--resume", "--overwrite"
    )
    assert "holds no training" in refused(copied, "spikes.h5", "-o", "none", "--resume")


@pytest.mark.parametrize("name", ["options.json", "checkpoint.pt"])
def test_a_broken_run_is_refused(name: str, copied: Path) -> None:
    path = copied / "run" / name
    path.write_bytes(path.read_bytes()[:-30])
    assert name in refused(copied, "spikes.h5", "-o", "run", "--resume")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("nothing.h5",), "nothing.h5: is neither a file nor one of digits, gsc10, yin-yang"),
        (("spikes.h5", "--hidden", 0), "hidden = 0"),
        (("spikes.h5", "--epochs", 0), "epochs = 0"),
        (("spikes.h5", "--threads", 0), "threads = 0"),
        (("spikes.h5", "--max-delay", -1), "max_delay = -1"),
        (("spikes.h5", "--held-out", "theo"), "--held-out theo: speakers of this set are numbers"),
        (("spikes.h5", "--held-out", 1), "does not tell who spoke"),
        (("yin-yang", "--held-out", 1), "--held-out: yin-yang does not tell"),
        ((".",), "shd_train.h5"),
    ],
)
def test_bad_requests(
    options: tuple[Any, ...], message: str, recordings: Path, tmp_path: Path
) -> None:
    shutil.copy(recordings, tmp_path)
    assert message in refused(tmp_path, *options, "-o", "run")


def test_one_class_is_nothing_to_tell_apart(tmp_path: Path) -> None:
    parts = [([0.01, 0.02], [0, 1])] * 30
    evsim.save_spikes(tmp_path / "one.h5", Spikes.from_recordings(parts, 4, 0.1, np.full(30, 3)))
    told = refused(tmp_path, "one.h5", "-o", "run")
    assert "one.h5: all recordings to train with are of one class, 3; a training needs two" in told


def test_without_torch_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('No module named torch')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "evsim", "train", "yin-yang", "-o", "run"],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "pip install evsim[torch]" in done.stderr


# The parts of data sets


def test_parts_are_disjoint_and_the_same_every_time(recordings: Path) -> None:
    trains = []
    for _ in range(2):
        parts = open_parts(str(recordings))
        chosen = [part._chosen for part in (parts.train, parts.validation, parts.test)]
        assert sorted(np.concatenate(chosen)) == list(range(120))
        trains.append(chosen[0])
    np.testing.assert_array_equal(*trains)


@pytest.mark.parametrize(
    ("name", "sizes"), [("yin-yang", (5000, 1000, 1000)), ("coincidence", (2000, 500, 500))]
)
def test_sets_with_parts_of_their_own(name: str, sizes: tuple[int, ...]) -> None:
    parts = open_parts(name)
    assert (len(parts.train), len(parts.validation), len(parts.test)) == sizes


def test_ssc_is_known_in_a_folder_of_its_own_as_well(tmp_path: Path) -> None:
    spikes = evsim.Spikes(np.full(6, 0.1), np.arange(6), np.arange(7), 700, 1.0, np.arange(6) % 2)
    (tmp_path / "SSC").mkdir()
    for part in ("train", "valid", "test"):
        evsim.save_spikes(tmp_path / "SSC" / f"ssc_{part}.h5", spikes)
    assert len(open_parts(str(tmp_path)).validation) == 6
