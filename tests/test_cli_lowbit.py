"""``evsim train`` on few bits: what is left behind, decisions by events, going on."""

import hashlib
import shutil
from math import log2
from pathlib import Path

import numpy as np
import pytest
import torch
from in_process import run
from small_files import two_classes

import evsim
from evsim import Network, Spikes, simulate
from evsim.arrays import same_bits
from evsim.bits import network_bits
from evsim.commands.train import run_training
from evsim.gradients.training.start import delay_model, fit_weights
from evsim.train_options import TrainSettings

SMALL = ("--hidden", 6, "--max-delay", 0.02, "--batch", 20, "--delay", "axonal")
FEW = ("--weight-bits", 1.58, "--delay-bits", 3)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("data"))


@pytest.fixture
def folder(recordings: Path, tmp_path: Path) -> Path:
    shutil.copy(recordings, tmp_path)
    return tmp_path


def train(folder: Path, out: str, *more: object) -> str:
    done = run(folder, "train", "spikes.h5", "-o", out, *more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def change(path: Path, end: str, value: float) -> None:
    """Put a number into a checkpoint, wherever a name ends so."""
    state = torch.load(path, weights_only=True)
    for part in (state["model"], state["best"]["model"], state["average"]):
        for name in part:
            if name.endswith(end):
                part[name] = torch.tensor(value, dtype=torch.float64)
    torch.save(state, path)


def test_a_run_tells_its_bits_and_the_same_training_at_full_precision(folder: Path) -> None:
    told = train(folder, "few", *SMALL, *FEW, "--epochs", 2)
    assert f"Mbit: 36 weights of {log2(3):.3g} bits, 4 delays of 3 bits; 4 other" in told
    assert "at full precision: not told, for no folder beside this one" in told
    full = train(folder, "full", *SMALL, "--epochs", 2)
    assert "Mbit" not in full
    again = train(folder, "again", *SMALL, *FEW, "--epochs", 2)
    tested = next(line for line in full.splitlines() if line.startswith("test accuracy"))
    assert f"at full precision {tested.removeprefix('test accuracy ')}, 0.00128 Mbit" in again
    assert "(full, 2 epochs)" in again
    assert digest(folder / "few" / "network.h5") == digest(folder / "again" / "network.h5")


def test_folders_beside_a_run_that_are_none_of_its_kind(folder: Path) -> None:
    train(folder, "full", *SMALL, "--epochs", 1)
    other = np.random.default_rng(0).random(40)
    for name, spoilt in (("a", "network.h5"), ("b", "log.csv"), ("c", "options.json")):
        shutil.copytree(folder / "full", folder / name)
        (folder / name / spoilt).write_text("")
    (folder / "d").mkdir()
    train(folder, "other", *SMALL, "--epochs", 1, "--seed", 1)
    # The same options, another number of units: the file of recordings was replaced.
    shutil.copytree(folder / "full", folder / "e")
    wide = Spikes.from_recordings([(other, np.arange(40) % 9)] * 40, 9, 1.0, np.arange(40) % 3)
    evsim.save_spikes(folder / "wide.h5", wide)
    done = run(folder, "train", "wide.h5", "-o", "w", *SMALL, "--epochs", 1)
    assert done.returncode == 0, done.stderr
    shutil.copy(folder / "w" / "network.h5", folder / "e" / "network.h5")
    shutil.rmtree(folder / "full")
    told = train(folder, "few", *SMALL, *FEW, "--epochs", 1)
    assert "at full precision: not told" in told


def test_the_network_takes_a_twentieth_and_info_tells(folder: Path) -> None:
    train(folder, "few", *SMALL, *FEW, "--epochs", 1)
    net = Network.load(folder / "few" / "network.h5")
    counted = network_bits(net)
    assert counted.weight_bits * 15 <= 32 * counted.weights
    assert {p.name: set(p.levels) for p in net.projections.values()} == {
        "input->hidden": {"weight", "axonal_delay"},
        "hidden->readout": {"weight"},
    }
    done = run(folder, "info", "few/network.h5")
    assert f"{32 * 40 / (36 * log2(3) + 12):.1f} times smaller than at 32 bits" in done.stdout


@pytest.mark.parametrize("bits", [(1.58, 3), (4, 5), (12, 12), (None, 2), (2, None)])
def test_events_decide_as_the_layers_spike_for_spike(folder: Path, bits: tuple) -> None:
    few = dict(zip(("weight_bits", "delay_bits"), bits, strict=True))
    options = {"hidden": (6, 5), "max_delay": 0.02, "batch": 20, "delay": "synaptic", "epochs": 1}
    tested, trainer = run_training(
        str(folder / "spikes.h5"), str(folder / "run"), quiet=True, **options, **few
    )
    net = Network.load(folder / "run" / "network.h5")
    with evsim.SpikeFile(folder / "run" / "test.h5") as file:
        spikes = file.read()
    result = simulate(net, spikes, ["hidden1", "hidden2"])
    layer_1, layer_2, readout = trainer.model
    with torch.no_grad():
        first = layer_1(spikes)
        second = layer_2(first)
        values = readout(second).numpy()
    for name, own in (("hidden1", first), ("hidden2", second)):
        assert same_bits(result.spikes[name].times, own.numpy().times)
        assert (result.spikes[name].units == own.units.numpy()).all()
    assert same_bits(result.output["readout"], values)
    assert (values.argmax(1) == spikes.labels).sum() == tested.right
    if 12 in bits:  # float64, so that the file's step and offset are the layer's values
        assert layer_1.weight.dtype == torch.float64
        assert net.projections["input->hidden1"].levels["weight"].bits == 12


@pytest.mark.parametrize("few", [FEW, ("--weight-bits", 4, "--delay-bits", 12)])
def test_it_goes_on_to_the_same_bits(folder: Path, few: tuple) -> None:
    whole = train(folder, "whole", *SMALL, *few, "--epochs", 3)
    train(folder, "parts", *SMALL, *few, "--epochs", 1)
    told = train(folder, "parts", "--resume", "--epochs", 3)
    for name in ("network.h5", "initial.h5"):
        assert digest(folder / "parts" / name) == digest(folder / "whole" / name)
    accuracy = [line for line in whole.splitlines() if line.startswith("test accuracy")]
    assert accuracy[0] in told
    done = run(folder, "train", "spikes.h5", "-o", "parts", "--resume", "--weight-bits", 2)
    assert done.returncode == 2 and "was trained with weight_bits" in done.stderr


def test_another_grid_in_a_checkpoint_is_refused(folder: Path) -> None:
    train(folder, "run", *SMALL, *FEW, "--epochs", 1)
    change(folder / "run" / "checkpoint.pt", "delay.0.low", -1.0)
    done = run(folder, "train", "spikes.h5", "-o", "run", "--resume", "--epochs", 2)
    assert done.returncode == 2 and "delay.0.low: is not that of this model" in done.stderr


def test_fixed_levels_and_full_readouts(folder: Path) -> None:
    more = ("--levels", "fixed", "--full-readout")
    train(folder, "few", *SMALL, *FEW, *more, "--epochs", 2)
    change(folder / "few" / "checkpoint.pt", "weight.0.fixed_positive", 0.0)
    done = run(folder, "train", "spikes.h5", "-o", "few", "--resume", "--epochs", 3)
    assert done.returncode == 2 and "fixed_positive: must be above 0" in done.stderr
    nets = [Network.load(folder / "few" / name) for name in ("initial.h5", "network.h5")]
    first, last = (net.projections["input->hidden"].levels["weight"].values for net in nets)
    assert same_bits(first, last)
    assert not nets[1].projections["hidden->readout"].levels


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--weight-bits", 1.7), "weight_bits = 1.7, must be 1.58 or a whole number from 2 to 16"),
        (("--weight-bits", 1), "weight_bits = 1"),
        (("--weight-bits", 17), "weight_bits = 17"),
        (("--delay-bits", 0), "delay_bits = 0"),
        (("--delay-bits", 3, "--delay", "none"), "delay_bits = 3, but there are no delays"),
        (("--full-readout",), "are about weight_bits"),
        (("--levels", "fixed", "--delay-bits", 3), "are about weight_bits"),
    ],
)
def test_bits_that_nothing_has_are_refused(folder: Path, options: tuple, message: str) -> None:
    done = run(folder, "train", "spikes.h5", "-o", "run", *options)
    assert done.returncode == 2 and message in done.stderr
    assert not (folder / "run").exists()


def test_settings_of_the_same_training_at_full_precision() -> None:
    few = TrainSettings("x", weight_bits=4, delay_bits=3, levels="fixed", full_readout=True)
    assert few.few_bits and few.at_full_precision() == TrainSettings("x")


def test_first_weights_fitted_by_layer_have_one_factor(recordings: Path) -> None:
    with evsim.SpikeFile(recordings) as file:
        spikes = file.read()
    factors = {}
    for per_unit in (True, False):
        torch.manual_seed(0)
        model = delay_model(4, 8, 2, max_delay=0.02)
        before = model.hidden.weight.detach().clone()
        fit_weights(model, spikes, per_unit=per_unit)
        factors[per_unit] = (model.hidden.weight / before)[:, 0].abs()
        counts = model.hidden(spikes).numpy().counts().mean()
        assert 0.5 < counts / (15 * 0.1) < 2
    assert torch.allclose(factors[False], factors[False][0])
    assert factors[True].max() > 1.5 * factors[True].min()
