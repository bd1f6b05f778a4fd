"""``evsim train --method slayer``: what it leaves behind, that it goes on, what it refuses."""

from __future__ import annotations

import copy
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from damaged_runs import outcome, same
from in_process import run
from small_files import two_classes

import evsim
from evsim import Network, Spikes
from evsim import gradients as g
from evsim.commands.train_methods import on_grid
from evsim.datasets import SpikeFileData
from evsim.gradients import dense, methods
from evsim.gradients.lowbit import quantise
from evsim.gradients.methods.by_counts import counting, slayer_method, wake_layers
from evsim.train_options import TrainOptions, TrainSettings

SLAYER = ("--method", "slayer", "--hidden", 8, "--batch", 40, "--lr", 0.15)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("data"), 150, 40, 0.3)


@pytest.fixture(scope="module")
def trained(recordings: Path) -> tuple[Path, str]:
    done = run(recordings.parent, "train", "spikes.h5", "-o", "run", *SLAYER, "--epochs", 4)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return recordings.parent / "run", done.stdout


@pytest.fixture
def copied(trained: tuple[Path, str], recordings: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained[0], tmp_path / "run")
    shutil.copy(recordings, tmp_path)
    return tmp_path


def test_the_settings_of_the_recipe_are_the_defaults(trained: tuple[Path, str]) -> None:
    options = json.loads((trained[0] / "options.json").read_text())
    published = methods.recipe("axonal-shd")
    assert (options["method"], options["dt"], options["delay"]) == ("slayer", 10e-3, "axonal")
    assert options["delay_lr"] / options["dt"] == published.delay_lr / published.dt
    settings = TrainSettings("SHD", method="slayer", dt=10e-3, delay="axonal", fit="layer")
    assert settings.waits == 20 and not settings.varies


def test_it_learns_and_units_fire_from_the_start(trained: tuple[Path, str]) -> None:
    rows = np.genfromtxt(trained[0] / "log.csv", delimiter=",", names=True)
    assert (rows["rate"] > 1).all() and rows["silent"][0] < 9
    assert rows["validation_accuracy"].max() > 0.8


def test_the_report_tells_how_often_events_decide_alike(
    trained: tuple[Path, str], tmp_path: Path
) -> None:
    folder, told = trained
    found = re.search(r"decisions by events: (\d+) of 30 as on the grid \(accuracy (.*)\)", told)
    assert found, told
    net, test = Network.load(folder / "network.h5"), SpikeFileData(folder / "test.h5").spikes()
    with torch.no_grad():
        grid = on_grid(net, 10e-3)(test).argmax(1).numpy()
    fired = evsim.simulate(net, test, [name for name in net.populations if name != "input"]).spikes
    events = fired["output"].counts().argmax(1)
    n_spikes = sum(len(one.times) for one in fired.values())
    assert re.search(rf"  hidden and output spikes: .* on the grid, {n_spikes:,} by events", told)
    assert int((grid == events).sum()) == int(found[1])
    assert f"test accuracy {(grid == test.labels).mean():.1%}" in told
    done = run(folder, "simulate", "network.h5", "test.h5", "-o", tmp_path / "out.h5")
    assert f"output: accuracy {found[2]} ({int((events == test.labels).sum())} of 30) by most" in (
        done.stdout
    )


def test_a_training_that_goes_on_ends_with_the_same_bits(copied: Path) -> None:
    done = run(copied, "train", "spikes.h5", "-o", "run", "--resume", "--epochs", 6)
    assert done.returncode == 0, done.stderr
    done = run(copied, "train", "spikes.h5", "-o", "whole", *SLAYER, "--epochs", 6)
    assert done.returncode == 0, done.stderr
    assert same(outcome(copied / "run"), outcome(copied / "whole"))
    files = [(copied / name / "network.h5").read_bytes() for name in ("run", "whole")]
    assert files[0] == files[1]


@pytest.mark.parametrize("bits", [(1.58, 3), (9, 9)])
def test_few_bits_go_on_to_the_same_bits(recordings: Path, bits: tuple[float, int]) -> None:
    """Of float64, too, in which torch would put Nadam's own numbers."""
    data = SpikeFileData(recordings)

    def trainer(epochs: int) -> g.Trainer:
        torch.manual_seed(0)
        model = counting((4, 6, 2), 10e-3, 0.07)
        factors = wake_layers(model, data.spikes())
        quantise(model.double(), *bits)
        options = TrainOptions(
            epochs, 50, lr=0.05, delay_lr=2e-3, lr_decay=1.0, wake=0.0, average=0.0
        )
        method = slayer_method(10e-3, factors)
        return g.Trainer(model, data, data, options, callbacks=[], method=method)

    whole, part, again = trainer(4), trainer(2), trainer(4)
    whole.run()
    part.run()
    again.go_on_from(copy.deepcopy(part.state()))
    again.run()
    assert same(again.state()["model"], whole.state()["model"])
    assert same(again.state()["optimizer"], whole.state()["optimizer"])
    net = Network.from_torch(whole.model)
    levels = {p.post: p.levels for p in net.projections.values()}
    assert levels["output"]["axonal_delay"].bits == bits[1]
    assert levels["hidden"]["weight"].bits == (2 if bits[0] == 1.58 else bits[0])


def test_few_bits_beside_full_precision(copied: Path) -> None:
    options = (*SLAYER, "--epochs", 4, "--weight-bits", 1.58, "--delay-bits", 3)
    done = run(copied, "train", "spikes.h5", "-o", "few", *options)
    assert done.returncode == 0, done.stderr
    full = re.search(r"at full precision ([\d.]+%) \(.* of 30\), .*\(run, \d epochs\)", done.stdout)
    assert full and "decisions by events: " in done.stdout
    net = Network.load(copied / "run" / "network.h5")
    test = SpikeFileData(copied / "run" / "test.h5")
    assert full[1] == f"{g.score(on_grid(net, 10e-3), test).accuracy:.1%}"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--dt", 1e-3), "dt = 0.001, but exact gradients need no grid"),
        (("--method", "slayer", "--recurrent", "dense"), "recurrent = dense, but slayer knows"),
        (("--method", "slayer", "--delay", "synaptic"), "delay = synaptic, but slayer knows"),
        (("--method", "slayer", "--delay", "none"), "delay = none, but slayer knows"),
        (("--method", "slayer", "--fit", "unit"), "fit = unit, but slayer knows fit = layer"),
        (
            ("--method", "slayer", "--weight-bits", 4, "--full-readout"),
            "networks of slayer have no readout",
        ),
        (("--method", "slayer", "--dt", 0), "dt = 0.0, must be a finite number above 0"),
        (("--method", "slayer", "--dt", 1e-5), "dt = 1e-05: recordings of 0.3 s have more than"),
        (("--method", "slayer", "--dt", 0.2), "dt = 0.2: recordings of 0.3 s have fewer than 3"),
        (("--method", "three"), "'three' is not one of 'exact', 'slayer'"),
    ],
)
def test_what_does_not_go_together_is_refused(
    recordings: Path, options: tuple[object, ...], words: str
) -> None:
    done = run(recordings.parent, "train", "spikes.h5", "-o", "not", *options)
    assert done.returncode == 2 and words in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1 or "--method" in words
    assert not (recordings.parent / "not").exists()


def test_another_method_does_not_go_on(copied: Path) -> None:
    done = run(copied, "train", "spikes.h5", "-o", "run", "--resume", "--dt", 5e-3)
    assert done.returncode == 2 and "was trained with dt = 0.01, not 0.005" in done.stderr


def test_runs_from_before_there_were_methods_go_on_as_exact(recordings: Path) -> None:
    small = ("--hidden", 3, "--delay", "none", "--epochs", 1)
    assert run(recordings.parent, "train", "spikes.h5", "-o", "old", *small).returncode == 0
    path = recordings.parent / "old" / "options.json"
    options = json.loads(path.read_text())
    assert (options.pop("method"), options.pop("dt")) == ("exact", None)
    path.write_text(json.dumps(options))
    done = run(recordings.parent, "train", "spikes.h5", "-o", "old", "--resume", "--epochs", 2)
    assert done.returncode == 0, done.stderr


# Pieces


def test_first_weights_that_fire_are_left_alone() -> None:
    torch.manual_seed(0)
    model = counting((4, 6, 3), 10e-3, 0.1)
    rng = np.random.default_rng(0)
    batch = Spikes.from_recordings([(0.3 * rng.random(60), rng.integers(0, 4, 60))] * 3, 4, 0.3)
    first = model.hidden1.weight.clone()
    factors = wake_layers(model, batch)
    assert torch.equal(model.hidden1.weight, first * factors["hidden1"])
    fired = [one.diagnostics.n_spikes / (3 * one.out_features) for one in model]
    assert all(2.5 <= n <= 6 for n in fired), fired  # of 3 recordings: 3 for each unit are wanted
    assert set(wake_layers(model, batch, least=1.0).values()) == {1.0}


def test_steps_of_the_published_network_are_the_published_ones() -> None:
    model, recipe = counting((5, 4, 2), 4e-3, 0.1), methods.recipe("axonal-shd")
    options = TrainOptions(batch=recipe.batch, lr=recipe.lr, delay_lr=recipe.delay_lr)
    optimizer = slayer_method(4e-3, {"hidden1": 1.0, "output": 5.0}).optimizer(model, options)
    groups = {group["name"]: group for group in optimizer.param_groups}
    assert type(optimizer).__name__ == recipe.optimiser
    assert groups["hidden1.weight"]["lr"] == recipe.lr
    assert groups["output.weight"]["lr"] == pytest.approx(5 * recipe.lr)
    assert groups["output.delay"]["lr"] == recipe.delay_lr
    assert groups["output.weight"]["eps"] == recipe.eps
    assert groups["output.delay"]["eps"] == pytest.approx(recipe.delay_eps)
    half = TrainOptions(batch=recipe.batch // 2, lr=recipe.lr, delay_lr=recipe.delay_lr)
    (group, *_) = slayer_method(4e-3, {}).optimizer(model, half).param_groups
    assert group["eps"] == 2 * recipe.eps  # as of the sum over a batch


def test_counting_is_the_sum_of_what_the_layers_fire() -> None:
    torch.manual_seed(0)
    layers = [dense.LIF(3, 4, tau_mem=20e-3, dt=1e-2), dense.LIF(4, 2, tau_mem=20e-3, dt=1e-2)]
    spikes = Spikes([0.010, 0.011, 0.03], [0, 0, 2], size=3, duration=0.05)
    for binary in (False, True):
        raster = dense.to_raster(spikes, 1e-2)
        raster = raster.clamp(max=1) if binary else raster
        wanted = torch.nn.Sequential(*layers)(raster).sum(1)
        assert torch.equal(dense.Counting(*layers, binary=binary)(spikes), wanted)
    with pytest.raises(ValueError, match="must be a dense layer"):
        dense.Counting(g.CubaLIF(3, 4, 20e-3, 5e-3))


def test_a_layer_on_a_grid_tells_how_it_fired() -> None:
    layer = dense.LIF(2, 2, tau_mem=20e-3, dt=1e-2)
    assert layer.diagnostics is None
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 0.0]]))
    layer(torch.ones(3, 10, 2))
    told = layer.diagnostics
    assert told is not None and told.n_spikes == 30 and told.silent == 1
    assert told.rate == pytest.approx(50.0)
    assert str(told) == "50.0 Hz per unit, 1 silent and 0 saturated units"


def test_nadams_numbers_are_looked_at(recordings: Path) -> None:
    data = SpikeFileData(recordings)
    model, method = counting((4, 3, 2), 10e-3, 0.1), slayer_method(10e-3, {})
    options = TrainOptions(1, 150, lr_decay=1.0, wake=0.0, average=0.0)
    trainer = g.Trainer(model, data, data, options, callbacks=[], method=method)
    trainer.run()
    for wrong, words in ((2.0, "must be at most 1"), (-0.5, "at least 0"), (None, "is missing")):
        state = copy.deepcopy(trainer.state())
        known = state["optimizer"]["state"][0]
        known["mu_product"] = torch.tensor(wrong or 0.0)
        if wrong is None:
            del known["mu_product"]
        with pytest.raises(ValueError, match=f"mu_product.*{words}"):
            trainer.go_on_from(state)
