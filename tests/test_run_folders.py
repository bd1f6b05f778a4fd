"""Run folders are not believed: damage, two trainings at once, kills, and inputs in them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import damaged_runs
import pytest
import torch
from damaged_runs import GO_ON, SMALL, contents, make, outcome, same
from in_process import Done, run

from evsim.commands.schema_options import schema_options
from evsim.files import whole_file
from evsim.files.locks import lock_folder
from evsim.gradients.training.checkpoints import save_checkpoint
from evsim.gradients.training.trainer import Trainer
from evsim.schema import checked
from evsim.train_options import TrainOptions, TrainSettings

N_RANDOM = int(os.environ.get("EVSIM_FUZZ_RUNS", "100"))
NEW = ("train", "spikes.h5", "-o", "run", *SMALL, "--epochs", 2)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    make(folder)
    return folder


@pytest.fixture(scope="module")
def finished(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("finished")
    shutil.copytree(whole, folder, dirs_exist_ok=True)
    assert run(folder, *GO_ON).returncode == 0
    return outcome(folder / "run")


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    return tmp_path


def refused(folder: Path, *arguments: object) -> str:
    """Run a command that must fail with one line and change nothing; return the line."""
    before = contents(folder)
    done: Done = run(folder, *arguments)
    assert done.returncode == 2 and done.stdout == "", done
    assert done.stderr.startswith("evsim: error: ") and done.stderr.count("\n") == 1, done.stderr
    assert contents(folder) == before
    return done.stderr


# Damage


def test_damaged_runs_end_in_one_line_or_in_the_same_training(
    whole: Path, finished: dict[str, Any]
) -> None:
    n_refused = 0
    for number in range(N_RANDOM):
        what, done, state = damaged_runs.tried(whole, number)
        if state is None:
            assert done.returncode == 2 and done.stdout == "", what
            assert done.stderr.startswith("evsim: error: "), what
            assert done.stderr.count("\n") == 1 and len(done.stderr) < 700, what
            n_refused += 1
        elif any(f" {name}: " in what for name in (*damaged_runs.FILES, "accuracy.png")):
            assert same(state, finished), what
    assert n_refused > N_RANDOM / 2


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epochs", 2.5, "epochs = 2.5, must be a whole number from 1 to"),
        ("batch", "16", "batch = '16', must be a whole number"),
        ("hidden", None, "hidden = None, must be a whole number"),
        ("hidden", 1e9, "hidden = 1000000000.0"),
        ("hidden", 10**9, "hidden = 1000000000, must be a whole number from 1 to 16,777,216"),
        ("hidden", 2**24, "hidden = 16,777,216 .* make .* weights .* more than checkpoint.pt"),
        ("hidden", 5, r"model.hidden.weight has shape \[4, 4\], must be \[5, 4\]"),
        ("seed", 2**70, "seed = an integer of 71 bits, must be a whole number from 0"),
        ("lr", [0.1], "lr = a list, must be a finite number from 0 to 1,000,000"),
        ("lr", float("nan"), "lr = nan"),
        ("delay", "somatic", "delay = 'somatic', must be one of axonal, dendritic, none, synaptic"),
        ("max_delay", 0, "max_delay = 0, must be a finite number above 0"),
        ("max_delay", 0.001, "model.hidden.delay: must be from 0 to 0.001 s"),
        ("batch", 5, "options.batch = 8, must be 5"),
        ("seed", 4, "options.seed = 3, must be 4"),
        ("lr", 0.1, r"options.lr = 0.05, must be 0.1"),
        ("augment", "yes", "augment = 'yes', must be true or false"),
        ("colour", "red", "'colour': is unknown; known are dataset, held_out"),
    ],
)
def test_options_are_looked_at(name: str, value: Any, message: str, copied: Path) -> None:
    path = copied / "run" / "options.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    told = refused(copied, *GO_ON)
    assert re.search(message, told), told
    assert "start anew with --overwrite" in told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "options.json: is not sound"),
        (b"\xff{}", "options.json: is not sound: 'utf-8' codec"),
        (b"[" * 100_000, "options.json: is longer than 65,536 bytes"),
        (b"[" * 60_000, "options.json: is not sound: it is nested too deeply"),
        (b'{"hidden": 4, "hidden": 4}', "'hidden' stands there twice"),
        (b"[]", "options.json: it is a list, must be a dictionary"),
        (b"{}", "options.json: dataset: is missing"),
    ],
)
def test_options_that_are_no_options(text: bytes, message: str, copied: Path) -> None:
    (copied / "run" / "options.json").write_bytes(text)
    assert message in refused(copied, *GO_ON)


def nan(tensor: torch.Tensor) -> None:
    tensor.view(-1)[1] = float("nan")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s.pop("generator"), "generator: is missing"),
        (lambda s: s.update(generator=s["generator"][:100]), "generator: must be 5,056 bytes"),
        (lambda s: s["generator"].zero_(), "generator: is no state of torch's generator"),
        (lambda s: nan(s["model"]["hidden.weight"]), "model.hidden.weight, entry 1: nan"),
        (lambda s: nan(s["average"]["module.hidden.delay"]), "average.module.hidden.delay, entry"),
        (lambda s: s["model"]["hidden.delay"].sub_(1), "model.hidden.delay: must be from 0"),
        (lambda s: s["model"]["hidden.tau_mem"].mul_(2), "model.hidden.tau_mem: is not that of"),
        (lambda s: s["best"].update(epoch=7), "best.epoch = 7, but the best one of the history is"),
        (lambda s: s["best"].update(epoch="1"), "best.epoch = '1', must be a whole number"),
        (lambda s: s["history"].reverse(), r"history\[0\].epoch = 2, must be 1"),
        (lambda s: s["history"].append(3), r"history\[2\] is 3, must be a dictionary"),
        (lambda s: s["history"][1].update(rate="fast"), r"history\[1\].rate = 'fast', must be"),
        (lambda s: s["history"][1].update(more=1), r"history\[1\].'more': is unknown"),
        (lambda s: s["history"][1].pop("silent"), r"history\[1\].silent: is missing"),
        (lambda s: s["history"].pop(), "average.n_averaged = 4, must be 2"),
        (lambda s: s["optimizer"]["state"].pop(1), "optimizer.state: 1 is missing"),
        (lambda s: s["optimizer"]["param_groups"].pop(), "optimizer.param_groups: are 2, must be"),
        (
            lambda s: s["optimizer"]["param_groups"][0].update(betas=(0.9, "x")),
            r"optimizer.param_groups\[0\].betas = a tuple, must be \(0.9, 0.999\)",
        ),
        (
            lambda s: s["optimizer"]["param_groups"][0].update(lr=9e307, first_lr=1e308),
            r"optimizer.param_groups\[0\].lr = 9e\+307, must be a finite number from 0 to",
        ),
        (
            lambda s: s["optimizer"]["state"][0].update(exp_avg=torch.zeros(3)),
            r"optimizer.state\[0\].exp_avg has shape \[3\], must be \[4, 4\]",
        ),
        (
            lambda s: s["optimizer"]["state"][0].update(step=torch.tensor(3.0)),
            r"optimizer.state\[0\].step = 3, must be 4",
        ),
        (
            lambda s: s["model"].update({"hidden.weight": s["model"]["hidden.weight"].half()}),
            "model.hidden.weight has type torch.float16, must be torch.float32",
        ),
    ],
)
def test_checkpoints_are_looked_at(
    edit: Callable[[dict[str, Any]], Any], message: str, copied: Path
) -> None:
    path = copied / "run" / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    edit(state)
    save_checkpoint(path, state)
    told = refused(copied, *GO_ON)
    assert re.search(f"run/checkpoint.pt: .*{message}", told), told


def test_a_changed_byte_of_a_checkpoint_is_seen(copied: Path) -> None:
    path = copied / "run" / "checkpoint.pt"
    weights = torch.load(path, weights_only=True)["model"]["hidden.weight"].numpy().tobytes()
    data = bytearray(path.read_bytes())
    data[data.index(weights) + 1] ^= 1
    path.write_bytes(data)
    assert "checkpoint.pt: can't be read: it is no sound checkpoint" in refused(copied, *GO_ON)


def test_an_edited_log_is_not_lost(copied: Path) -> None:
    log = copied / "run" / "log.csv"
    log.write_text(log.read_text().replace("\n1,", "\n1,9"))
    told = refused(copied, *GO_ON)
    assert "run/log.csv: line 2 is not what the checkpoint tells; move the file away" in told
    log.rename(copied / "mine.csv")
    assert run(copied, *GO_ON).returncode == 0
    assert len(log.read_text().splitlines()) == 4


def test_other_recordings_than_at_the_start_are_noticed(copied: Path) -> None:
    rng = torch.Generator().manual_seed(1)
    times = torch.rand(20, 12, generator=rng).numpy() * 0.1
    parts = [(t, [0, 1, 2, 3] * 3) for t in times]
    labels = [i % 2 for i in range(20)]
    spikes = damaged_runs.Spikes.from_recordings(parts, 4, 0.1, labels)
    damaged_runs.evsim.save_spikes(copied / "spikes.h5", spikes, overwrite=True)
    assert "run/test.h5: holds other recordings than the data set" in refused(copied, *GO_ON)


def test_what_is_asked_for_is_looked_at_as_in_a_file(copied: Path) -> None:
    new = ("train", "spikes.h5", "-o", "other")
    assert "seed = -1, must be a whole number from 0" in refused(copied, *new, "--seed", -1)
    assert "lr = nan, must be a finite number" in refused(copied, *new, "--lr", "nan")
    assert "at most 33,554,432 are trained" in refused(copied, *new, "--hidden", 2**24 - 1)
    assert "epochs = 0" in refused(copied, *GO_ON, "--epochs", 0)


def test_a_training_that_diverges_is_not_kept(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "_step", lambda self, batch: (float("nan"), 0, len(batch)))
    before = contents(copied)
    done = run(copied, *GO_ON)
    told = done.stderr
    assert done.returncode == 2 and told.count("\n") == 1 and contents(copied) == before
    assert "epoch 3: the training diverged, its numbers are no longer finite" in told


# Two at once


def test_a_second_training_in_a_folder_is_refused(copied: Path) -> None:
    lock = lock_folder(copied / "run")
    for more in (("--resume",), ("--overwrite",)):
        told = refused(copied, "train", "spikes.h5", "-o", "run", *more)
        assert "run: another training is at work there; wait until it has ended" in told
    os.close(lock)
    assert run(copied, *GO_ON).returncode == 0


def test_a_killed_training_leaves_no_lock(copied: Path) -> None:
    code = "import time, evsim.files.locks as f; f.lock_folder('run'); print(1); time.sleep(99)"
    command = [sys.executable, "-uc", code]
    holder = subprocess.Popen(command, cwd=copied, stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline()
    assert "another training" in refused(copied, *GO_ON)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert run(copied, *GO_ON).returncode == 0


# What is read is not deleted


@pytest.mark.parametrize("name", ["run/test.h5", "run/own/mine.h5", "link.h5", "hard.h5", "run"])
def test_an_input_in_the_folder_is_not_overwritten(name: str, copied: Path) -> None:
    (copied / "run" / "own").mkdir()
    shutil.copy(copied / "spikes.h5", copied / "run" / "own" / "mine.h5")
    (copied / "link.h5").symlink_to("run/test.h5")
    os.link(copied / "run" / "test.h5", copied / "hard.h5")
    told = refused(copied, "train", name, "-o", "run", "--overwrite")
    assert f"{name}: is read by this training" in told or f"{name}/" in told
    assert "choose another folder" in told


# Kills


class Killed(BaseException):
    pass


def killed_at(n: int, folder: Path, patch: pytest.MonkeyPatch, *arguments: object) -> bool:
    """Run a command that is gone just before it renames its file number n."""
    rename, left = os.replace, [n]

    def replace(*names: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        rename(*names)

    with patch.context() as patched:
        patched.setattr(whole_file.os, "replace", replace)
        patched.setattr(whole_file.WholeFile, "_discard", lambda self: None)
        try:
            run(folder, *arguments)
        except Killed:
            return True
    return False


def test_after_a_kill_at_any_file_the_training_ends_the_same(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = 0
    while True:
        folder = tmp_path / str(n)
        folder.mkdir()
        shutil.copy(whole / "spikes.h5", folder)
        if not killed_at(n, folder, monkeypatch, *NEW):
            break
        if not (folder / "run" / "checkpoint.pt").exists():
            told = refused(folder, *GO_ON)
            assert "run: was stopped before its first checkpoint; leave --resume out" in told
            done = run(folder, *NEW)
        else:
            done = run(folder, *GO_ON)
        assert done.returncode == 0, f"{n}: {done.stderr}"
        assert same(outcome(folder / "run"), outcome(whole / "run")), n
        assert not [name for name in os.listdir(folder / "run") if name.startswith(".")], n
        for name in ("network.h5", "initial.h5", "test.h5"):
            assert (folder / "run" / name).read_bytes() == (whole / "run" / name).read_bytes()
        n += 1
    assert n > 10


def test_after_a_kill_while_a_run_is_replaced_the_command_works_again(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = (*NEW, "--overwrite")
    for n in (0, 2):
        assert killed_at(n, copied, monkeypatch, *replace)
        assert "before its first checkpoint" in refused(copied, *GO_ON)
    assert run(copied, *replace).returncode == 0


def test_a_folder_without_checkpoint_says_how_to_go_on(copied: Path) -> None:
    (copied / "run" / "checkpoint.pt").unlink()
    assert "checkpoint.pt: can't be read: No such file" in refused(copied, *GO_ON)
    assert "start anew with --overwrite" in refused(copied, *GO_ON)
    assert "exists already" in refused(copied, *NEW)


# One schema


def test_every_setting_is_an_option_and_has_a_range() -> None:
    @schema_options(TrainSettings, "dataset")
    def command() -> None:
        pass

    options = {option.name: option for option in command.__click_params__}  # type: ignore[attr-defined]
    assert set(options) == set(TrainSettings.__struct_fields__) - {"dataset"}
    assert "[default: 128; " in options["hidden"].help
    assert list(options["delay"].type.choices) == ["none", "axonal", "dendritic", "synaptic"]
    for name, option in options.items():
        if option.type.name in ("integer", "float"):
            for bad in (
                -1,
                float("nan"),
                "1",
                "" if getattr(TrainSettings("x"), name) is None else None,
                [0],
                2**70,
            ):
                if (bad, option.type.name) != (2**70, "float") or name == "max_delay":
                    with pytest.raises(ValueError, match=f"^{name} = "):
                        checked(TrainSettings, {"dataset": "x", name: bad}, whole=False)


def test_trainer_and_command_share_their_schema() -> None:
    with pytest.raises(ValueError, match=r"epochs = 2.5, must be a whole number from 1 to"):
        TrainOptions(epochs=2.5)  # type: ignore[arg-type]
    for name in set(TrainOptions.__struct_fields__) & set(TrainSettings.__struct_fields__):
        assert getattr(TrainOptions(), name) == getattr(TrainSettings("x"), name)
