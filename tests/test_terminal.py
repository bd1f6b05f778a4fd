"""Where the shell closed stdout and stderr, as ``2>&-`` does, the work is done all the same."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from small_takers import checked, network, sound
from test_callbacks import small_trainer

import evsim
from evsim import gradients as g
from evsim.commands.cli import main
from evsim.gradients.cross_check import cross_check
from evsim.terminal import on_terminal


def close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "stdout", None)


def test_a_command_writes_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evsim.save_network(tmp_path / "n.h5", network())
    evsim.save_spikes(tmp_path / "s.h5", sound())
    net, spikes, result = (str(tmp_path / name) for name in ("n.h5", "s.h5", "o.h5"))
    close(monkeypatch)
    main(["simulate", net, spikes, "-o", result])
    assert evsim.load_result(result).spikes.keys() == {"out"}


def test_a_training_and_a_check_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    close(monkeypatch)
    assert not on_terminal()
    torch.manual_seed(0)
    trainer = small_trainer(1, g.EpochLines(), g.ProgressBar())
    trainer.run()
    assert len(trainer.history) == 1
    assert cross_check(checked(), sound(), [1e-3], progress=True)
