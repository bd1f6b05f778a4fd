"""Time constants of hidden layers: chosen, learnt, kept in a range; refused elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from in_process import interrupted_after, run
from small_files import two_classes
from torch import nn

from evsim import Network
from evsim import gradients as g
from evsim.commands.parts import open_parts
from evsim.commands.train_methods import make, with_defaults
from evsim.gradients.training.time_constants import SPAN, hold_time_constants
from evsim.train_options import LACKING, TrainSettings

SMALL = ("--delay", "axonal", "--hidden", 4, 6, "--batch", 20)
TIMES = ("--tau-mem", 0.03, "--tau-syn", 0.004)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("data"), 60)


def trained(recordings: Path, out: Path, *options: object) -> Network:
    done = run(recordings.parent, "train", "spikes.h5", "-o", out, *SMALL, *options)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return Network.load(out / "network.h5")


def times(net: Network, name: str) -> list[float]:
    return [float(np.unique(p.parameters[name]).item()) for p in net.populations.values()
            if name in p.parameters]  # fmt: skip


def made(recordings: Path, new: bool = False, **given: object) -> nn.Sequential:
    asked = {"dataset": str(recordings), "hidden": (4, 6), **given}
    torch.manual_seed(0)
    return make(TrainSettings(**with_defaults(asked)), open_parts(str(recordings)), new)[0]


def of_layers(model: nn.Sequential, name: str) -> list[float]:
    return [getattr(layer, name).item() for layer in model]


def test_they_are_set_and_the_readout_has_half(recordings: Path) -> None:
    asked = {"tau_mem": 0.03, "tau_syn": 0.004}
    model = made(recordings, **asked)
    assert of_layers(model, "tau_mem") == [0.03, 0.03, 0.015]
    assert of_layers(model, "tau_syn") == [0.004, 0.004, 0.002]
    assert not [name for name, _ in model.named_parameters() if "tau" in name]
    assert of_layers(made(recordings), "tau_mem") == [0.02, 0.02, 0.01]
    rule = made(recordings, method="three-factor", tau_mem=0.05)
    assert of_layers(rule, "tau_mem") == [0.05, 0.05, 0.02]
    rule = made(recordings, method="three-factor", exact=True, **asked)
    assert of_layers(rule, "tau_syn") == [0.004, 0.004, 0.002]
    slayer = {"method": "slayer", "dt": 1e-3}
    assert of_layers(made(recordings, **slayer, tau_syn=0.025), "tau_syn") == [0.025] * 3
    assert of_layers(made(recordings, **slayer), "tau_syn") == [1e-3] * 3


def test_first_weights_are_fitted_with_them(recordings: Path) -> None:
    spikes = open_parts(str(recordings)).train.spikes()
    for times in ({}, {"tau_mem": 0.1, "tau_syn": 0.05}):
        model = made(recordings, new=True, delay="none", **times)
        fired = model[0](spikes).numpy().counts().mean()
        assert fired == pytest.approx(15 * 0.1, rel=0.3), times  # 15 Hz


def test_learnt_ones_move_and_an_interrupted_training_has_the_same_bits(
    recordings: Path, tmp_path: Path
) -> None:
    options = (*TIMES, "--learn-tau", "--epochs", 3)
    whole = trained(recordings, tmp_path / "whole", *options)
    for name, first in (("tau_mem", 0.03), ("tau_syn", 0.004)):
        *hidden, readout = times(whole, name)
        assert readout == first / 2 and all(v != np.float32(first) for v in hidden)
        assert first / SPAN < min(hidden) and max(hidden) < first * SPAN
    words = ("train", "spikes.h5", "-o", tmp_path / "cut", *SMALL, *options)
    with interrupted_after(1):
        assert run(recordings.parent, *words).returncode == 130
    done = run(recordings.parent, *words[:4], "--resume")
    assert done.returncode == 0, done.stderr
    same = Network.load(tmp_path / "cut" / "network.h5")
    assert times(same, "tau_mem") == times(whole, "tau_mem")


def test_a_folder_of_before_goes_on(recordings: Path, tmp_path: Path) -> None:
    trained(recordings, tmp_path / "run", "--epochs", 1)
    path = tmp_path / "run" / "options.json"
    options = json.loads(path.read_text())
    for name in ("tau_mem", "tau_syn", "learn_tau"):
        assert options.pop(name) == LACKING[name]
    path.write_text(json.dumps(options))
    words = ("train", "spikes.h5", "-o", tmp_path / "run", "--resume", "--epochs", 2)
    done = run(recordings.parent, *words)
    assert done.returncode == 0, done.stderr
    done = run(recordings.parent, *words, "--tau-mem", 0.03)
    assert done.returncode == 2 and "was trained with tau_mem = None, not 0.03" in done.stderr


@pytest.mark.parametrize("up", [1.0, -1.0])
def test_they_stay_in_their_range(up: float) -> None:
    layer = g.CubaLIF(2, 1, 20e-3, 5e-3, delay="axonal", learn=("tau_mem",)).double()
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    hold_time_constants(layer, optimizer)
    for parameter in layer.parameters():
        parameter.grad = torch.full_like(parameter, -up)
    weight = layer.weight.detach().clone()
    optimizer.step()
    assert layer.tau_mem.item() == pytest.approx(0.2 if up > 0 else 0.002)
    assert torch.equal(layer.weight, weight + up)  # only they are held


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--method", "delrec", "--tau-mem", 0.02),
            "tau_mem = 0.02, but delrec has none",
        ),
        (
            ("--preset", "dcls-shd", "--tau-syn", 0.02),
            "tau_syn = 0.02, but dcls has none",
        ),
        (("--method", "slayer", "--tau-mem", 0.02), "give method = exact or three-factor"),
        (("--method", "three-factor", "--tau-syn", 0.02), "tau_syn = 0.02, but three-factor has"),
        (("--method", "three-factor", "--exact", "--learn-tau"), "learn_tau = True, but three-"),
        (("--tau-mem", 0), "tau_mem = 0.0, must be a finite number above 0"),
    ],
)
def test_others_are_refused(
    recordings: Path, tmp_path: Path, options: tuple[object, ...], words: str
) -> None:
    done = run(recordings.parent, "train", "spikes.h5", "-o", tmp_path / "not", *options)
    assert done.returncode == 2 and words in done.stderr, done.stderr
    assert not (tmp_path / "not").exists() and len(done.stderr.splitlines()) == 1
