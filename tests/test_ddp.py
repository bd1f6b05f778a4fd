"""Two processes under torchrun train as one does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from in_process import run

import evsim
from evsim.datasets.sets.coincidence import Coincidence

HERE = Path(__file__).parent
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def python(*arguments: object) -> str:
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_processes_do_what_one_does(tmp_path: Path) -> None:
    script = HERE / "ddp_training.py"
    python(script, tmp_path / "one.npz")
    python(*TORCHRUN, script, tmp_path / "two.npz")
    one, two = np.load(tmp_path / "one.npz"), np.load(tmp_path / "two.npz")
    assert (one["share"], two["share"]) == (17, 9)
    assert one.files == two.files
    gradients = [name for name in one.files if name.startswith("gradient")]
    assert len(gradients) == 5
    for name in gradients:
        assert np.abs(one[name]).max() > 0
        np.testing.assert_allclose(
            two[name], one[name], rtol=0, atol=1e-12 * np.abs(one[name]).max(), err_msg=name
        )
    for name in set(one.files) - set(gradients) - {"share"}:
        np.testing.assert_allclose(two[name], one[name], rtol=1e-7, atol=1e-10, err_msg=name)


def test_the_example_trains(tmp_path: Path) -> None:
    example = HERE.parent / "examples" / "train_ddp.py"
    if not example.exists():
        pytest.skip("the examples are not here")
    network = tmp_path / "net.h5"
    told = python(*TORCHRUN, example, "--epochs", 1, "--recordings", 100, "--save", network)
    assert told.startswith("2 processes, 1 epochs: validation accuracy")
    assert evsim.Network.load(network).populations["hidden"].size == 32


def test_the_command_is_one_training(tmp_path: Path) -> None:
    data = Coincidence(60, channels=5, classes=2, max_offset=20e-3, events=4, duration=0.2)
    evsim.save_spikes(tmp_path / "spikes.h5", data.spikes())
    small = ("--hidden", 6, "--max-delay", 0.025, "--batch", 8)
    command = ("train", "spikes.h5", "-o")

    def together(*arguments: object) -> subprocess.CompletedProcess[str]:
        words = (sys.executable, *TORCHRUN, "-m", "evsim", *command, *arguments)
        return subprocess.run(
            [str(word) for word in words], cwd=tmp_path, capture_output=True, text=True
        )

    done = together("two", *small, "--epochs", 1)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 1/1") == done.stdout.count("test accuracy") == 1
    assert "evsim: " not in done.stderr.replace("evsim: compiling ", "")
    done = together("two", "--resume", "--epochs", 2)
    assert done.returncode == 0 and "epoch 2/2" in done.stdout, done.stderr
    assert run(tmp_path, *command, "one", *small, "--epochs", 2).returncode == 0
    one, two = (evsim.Network.load(tmp_path / name / "network.h5") for name in ("one", "two"))
    for name, projection in one.projections.items():
        np.testing.assert_allclose(two.projections[name].weight, projection.weight, atol=1e-4)
        np.testing.assert_allclose(two.projections[name].delay, projection.delay, atol=1e-6)
    done = together("few", *small, "--weight-bits", 1.58, "--delay-bits", 3, "--epochs", 1)
    assert done.returncode == 0, done.stderr
    few = evsim.Network.load(tmp_path / "few" / "network.h5").projections["input->hidden"]
    assert few.levels["weight"].bits == 2 and few.levels["delay"].bits == 3
    done = together("two", *small)
    assert done.returncode != 0 and done.stdout == ""
    assert done.stderr.count("evsim: error: two: exists already") == 1
    assert done.stderr.count("evsim: ") == 1
