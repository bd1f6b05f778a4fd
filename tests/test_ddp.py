"""Two processes under torchrun train as one does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import evsim

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
