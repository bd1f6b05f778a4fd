"""Callbacks: when they are called, logs, early stops, what is printed."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from in_process import run
from test_train import TRAINING, VALIDATION, Stop, new_model, same, shaken

import evsim
from evsim import FileError
from evsim import gradients as g
from evsim.gradients.delays import share_at_limits
from evsim.gradients.training.run_folder import RunFolder
from evsim.gradients.training.states import EpochRecord

FEW = TRAINING[:40]


def small_trainer(epochs: int, *callbacks: g.Callback, **options: Any) -> g.Trainer:
    chosen = g.TrainOptions(epochs, **options)
    return g.Trainer(new_model(), FEW, VALIDATION[:20], chosen, shaken, callbacks)


class Heard(g.Callback):
    """Keeps what it is asked; raises in an epoch if wanted."""

    def __init__(self, stop_at: int = 0) -> None:
        self.heard: list[str] = []
        self.stop_at = stop_at

    def start(self, trainer: Any) -> None:
        self.heard.append("start")

    def batch(self, trainer: Any) -> None:
        self.heard.append("batch")

    def epoch(self, trainer: Any, record: dict[str, float]) -> None:
        assert record is trainer.history[-1]
        self.heard.append(f"epoch {record['epoch']}")
        if len(trainer.history) == self.stop_at:
            raise Stop

    def end(self, trainer: Any) -> None:
        self.heard.append("end")


def test_callbacks_hear_of_everything_in_order() -> None:
    trainer, heard = small_trainer(2), Heard()
    trainer.callbacks = [heard]
    trainer.run()
    batches = ["batch"] * -(-len(FEW) // 16)
    assert trainer.n_batches == len(batches)
    assert heard.heard == ["start", *batches, "epoch 1", *batches, "epoch 2", "end"]


def test_all_callbacks_end_after_an_error() -> None:
    trainer, heard = small_trainer(3), [Heard(), Heard(stop_at=1), Heard()]
    trainer.callbacks = list(heard)
    with pytest.raises(Stop):
        trainer.run()
    assert [one.heard[-1] for one in heard] == ["end"] * 3
    assert "epoch 1" not in heard[2].heard


def test_what_is_no_callback_is_refused() -> None:
    told = r"callbacks\[1\] is the class EpochLines; give an object of it: EpochLines\(...\)"
    with pytest.raises(TypeError, match=told):
        small_trainer(1, g.ProgressBar(), g.EpochLines)  # type: ignore[arg-type]
    trainer = small_trainer(1)
    trainer.callbacks.append(print)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"callbacks\[0\] is a builtin\w*, must be a Callback"):
        trainer.run()


def test_rates_are_means_over_recordings() -> None:
    trainer = small_trainer(1, lr=0.0, delay_lr=0.0, batch=16)  # 16, 16 and 8 recordings
    trainer.augment = None
    trainer.run()
    model = new_model()
    model(FEW.spikes())
    diagnostics = model.hidden.diagnostics
    assert trainer.history[0]["rate"] == pytest.approx(diagnostics.rate, rel=1e-12)


# Early stop


def stopped_trainer(epochs: int, *callbacks: g.Callback) -> g.Trainer:
    """Return a trainer whose model no longer changes after the first epoch: lr_decay is tiny."""
    return small_trainer(epochs, *callbacks, lr_decay=1e-30, average=0.0)


def test_a_training_ends_when_nothing_gets_better() -> None:
    trainer = stopped_trainer(9, g.EarlyStopping(2))
    trainer.run()
    best = trainer.best["epoch"]
    assert len(trainer.history) == best + 2 < 9
    assert trainer.stopped == "no better one in 2 epochs"
    trainer.run()  # it has ended
    assert len(trainer.history) == best + 2
    for patience in (0, 2.5, float("nan")):
        with pytest.raises(
            ValueError, match=f"patience = {patience}, must be at least 1 and whole"
        ):
            g.EarlyStopping(patience)  # type: ignore[arg-type]


def test_patience_is_counted_from_the_history(tmp_path: Path) -> None:
    whole = stopped_trainer(9, g.EarlyStopping(2))
    whole.run()
    path = tmp_path / "c.pt"
    part = stopped_trainer(9, g.EarlyStopping(2), g.Checkpoint(path), Heard(stop_at=2))
    with pytest.raises(Stop):
        part.run()
    again = stopped_trainer(9, g.EarlyStopping(2), g.Checkpoint(path))
    again.go_on_from(g.load_checkpoint(path))
    again.run()
    assert same(again.state(), whole.state()) and again.stopped == whole.stopped


# Logs


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


class Reads(g.Callback):
    """Reads the log after each epoch."""

    def __init__(self, path: Path) -> None:
        self.path, self.lengths = path, list[int]()

    def epoch(self, trainer: Any, record: dict[str, float]) -> None:
        self.lengths.append(len(rows(self.path)))


def test_a_log_is_there_as_it_happens_and_is_continued(tmp_path: Path) -> None:
    log, checkpoint = tmp_path / "log.csv", tmp_path / "c.pt"
    trainer, reads = small_trainer(2), Reads(log)
    trainer.callbacks = [g.CSVLog(log), g.Checkpoint(checkpoint), reads]
    trainer.run()
    assert reads.lengths == [1, 2]
    again = small_trainer(3)
    again.callbacks = [g.CSVLog(log), reads]
    with pytest.raises(FileExistsError, match="log.csv: exists already"):
        again.run()
    again.go_on_from(g.load_checkpoint(checkpoint))
    again.run()
    assert reads.lengths == [1, 2, 3]
    found = rows(log)
    assert list(found[0]) == list(EpochRecord.__struct_fields__)
    for row, record in zip(found, again.history, strict=True):
        assert {name: float(value) for name, value in row.items()} == record


def test_a_training_that_goes_on_replaces_no_other_file(tmp_path: Path) -> None:
    log, other = tmp_path / "log.csv", tmp_path / "mine.csv"
    trainer = small_trainer(2, g.CSVLog(log), Heard(stop_at=1))
    with pytest.raises(Stop):
        trainer.run()
    for text in ("my notes", log.read_text().replace("\n1,", "\n1,9")):
        other.write_text(text)
        trainer.callbacks = [g.CSVLog(other)]
        with pytest.raises(FileExistsError, match="mine.csv: is not the log of the training that"):
            trainer.run()
        assert other.read_text() == text
    log.write_text(log.read_text()[:20])  # a line that was not written whole
    trainer.callbacks = [g.CSVLog(log)]
    trainer.run()
    assert [row["epoch"] for row in rows(log)] == ["1", "2"]


def test_a_log_that_cannot_be_written_ends_the_training(tmp_path: Path) -> None:
    trainer = small_trainer(1)
    trainer.callbacks = [g.CSVLog(tmp_path / "none" / "log.csv")]
    with pytest.raises((FileError, OSError), match="none"):
        trainer.run()
    assert not trainer.history


def test_events_for_tensorboard(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    trainer = small_trainer(2)
    trainer.callbacks = [g.TensorBoardLog(tmp_path / "events")]
    trainer.run()
    events = accumulator.EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    assert events.Tags()["histograms"] == ["delays/hidden.delay [s]"]
    for name, called in (("train_loss", "loss/train"), ("at_bounds", "delays/at bounds")):
        found = [(event.step, event.value) for event in events.Scalars(called)]
        wanted = [(record["epoch"], record[name]) for record in trainer.history]
        assert found == [(n, pytest.approx(value)) for n, value in wanted]


def test_without_tensorboard_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install evsim\[tensorboard\]"):
        g.TensorBoardLog("events")


# What is printed


def test_a_line_for_each_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    trainer = small_trainer(2, delay_lr=1.0)  # every delay goes to a wall
    trainer.callbacks = [g.EpochLines(), g.ProgressBar()]
    trainer.run()
    told = capsys.readouterr()
    assert told.err == "", "no bar without a terminal"
    lines = told.out.splitlines()
    record = trainer.history[0]
    assert lines[0] == (
        f"epoch 1/2  loss {record['train_loss']:.3f}  train {record['train_accuracy']:6.1%}  "
        f"validation {record['validation_accuracy']:6.1%} (best)  {record['rate']:.1f} Hz, "
        f"{record['silent']:.0f} silent  {record['seconds']:.1f} s  "
        f"delays at bounds {record['at_bounds']:.1%}"
    )
    assert len(lines) == 2
    delays = trainer.history[-1]["at_bounds"]
    assert delays == 1.0


def test_the_share_of_delays_at_their_bounds() -> None:
    layer = g.CubaLIF(4, 3, 20e-3, 5e-3, delay="axonal", max_delay=0.01)
    with torch.no_grad():
        layer.delay.copy_(torch.tensor([0.0, 0.005, 0.01, 0.01]))
    trainer = small_trainer(1)
    assert share_at_limits(layer) == 0.75
    assert share_at_limits(g.CubaLIF(4, 3, 20e-3, 5e-3)) == 0.0
    assert 0 <= share_at_limits(trainer.model) < 1


# On the command line


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    evsim.save_spikes(folder / "spikes.h5", TRAINING[:60].spikes())
    return folder


def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes most of the time of a command that trains this little."""
    monkeypatch.setattr(RunFolder, "draw", lambda *_: [])


SMALL = ("--hidden", 4, 3, "--max-delay", 0.02, "--epochs", 3)


def test_the_command_tells_what_it_does_and_stops(
    recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (*SMALL, "--lr", 0, "--delay-lr", 0, "--patience", 1)
    done = run(recordings, "train", "spikes.h5", "-o", "run", *options)
    assert (done.returncode, done.stderr) == (0, "")
    # On a busy machine it may also say that it is fitting first weights.
    lines = [line for line in done.stdout.splitlines() if not line.startswith("fitting")]
    assert lines[0].startswith("spikes.h5: ") and "recordings to train" in lines[0]
    assert [line[:9] for line in lines[1:3]] == ["epoch 1/3", "epoch 2/3"]
    assert lines[3] == "stopped after epoch 2: no better one in 1 epochs"
    assert "pictures in run/accuracy.png, run/delays.png" in done.stdout
    without_pictures(monkeypatch)
    # A training that has ended is told again; with more patience it goes on.
    done = run(recordings, "train", "spikes.h5", "-o", "run", "--resume")
    assert "stopped after epoch 2" in done.stdout and "\nepoch" not in done.stdout
    options = ("--resume", "--patience", 0)
    done = run(recordings, "train", "spikes.h5", "-o", "run", *options)
    assert "\nepoch 3/3" in done.stdout and "stopped" not in done.stdout
    assert len(rows(recordings / "run" / "log.csv")) == 3
    populations = evsim.Network.load(recordings / "run" / "network.h5").populations
    assert [(n, p.size) for n, p in populations.items()][1:3] == [("hidden1", 4), ("hidden2", 3)]


def test_quiet_commands_print_nothing(recordings: Path) -> None:
    done = run(recordings, "train", "spikes.h5", "-o", "quiet", *SMALL, "-q", "--epochs", 1)
    assert done == (0, "", "")
    paths = ("quiet/network.h5", "quiet/test.h5", "-o", "out.h5")
    assert run(recordings, "simulate", *paths, "--quiet") == (0, "", "")
    assert (recordings / "out.h5").exists()


def test_events_of_a_run_that_is_replaced_are_removed(
    recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_pictures(monkeypatch)
    pytest.importorskip("tensorboard")
    options = (*SMALL, "--epochs", 1, "--log", "tensorboard")
    for more in ((), ("--overwrite",)):
        done = run(recordings, "train", "spikes.h5", "-o", "events", *options, *more)
        assert done.returncode == 0, done.stderr
        assert len(list((recordings / "events" / "tensorboard").iterdir())) == 1


def test_options_stand_in_groups_and_lists_may_be_written_in_any_way(recordings: Path) -> None:
    told = run(recordings, "train", "--help").stdout
    assert re.findall(r"^(\w+):$", told, re.M) == ["Data", "Network", "Optimiser", "Run"]
    for words in (("--hidden", 0, 3), ("--hidden=3", 0), ("--hidden", 3, "--hidden", 0)):
        done = run(recordings, "train", "spikes.h5", "-o", "none", *words)
        assert done.returncode == 2 and "must be a whole number from 1" in done.stderr
        assert "2 to 16 of them" in done.stderr


def test_runs_from_before_patience_go_on(recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_pictures(monkeypatch)
    done = run(recordings, "train", "spikes.h5", "-o", "old", *SMALL[3:], "--hidden", 4)
    assert done.returncode == 0, done.stderr
    options = recordings / "old" / "options.json"
    told = json.loads(options.read_text())
    assert told["hidden"] == 4 and told.pop("patience") is None
    options.write_text(json.dumps({**told, "epochs": 4}))
    done = run(recordings, "train", "spikes.h5", "-o", "old", "--resume")
    assert "\nepoch 4/4" in done.stdout, done.stderr
