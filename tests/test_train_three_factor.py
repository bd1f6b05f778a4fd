"""``evsim train --method three-factor``: what it learns, leaves behind, goes on to, and refuses."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from damaged_runs import outcome, same
from in_process import interrupted_after, run
from small_files import two_classes
from torch import Tensor, nn

from evsim import Network, Spikes
from evsim import gradients as g
from evsim.commands.parts import open_parts
from evsim.commands.train_methods import make, on_grid, with_defaults
from evsim.datasets import SpikeFileData
from evsim.gradients.lowbit import size
from evsim.gradients.methods.by_errors import (
    THREE_FACTOR,
    fit_on_grid,
    integrating,
    leave_out,
    random_feedback,
)
from evsim.gradients.methods.three_factor import online
from evsim.gradients.training.method import EXACT, Method
from evsim.train_options import TrainOptions, TrainSettings

RULE = ("--method", "three-factor", "--hidden", 8, "--batch", 30)
SPARSE = ("--recurrent", "dense", "--sparse", 0.5)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("data"), 150, 40, 0.3)


@pytest.fixture(scope="module")
def trained(recordings: Path) -> tuple[Path, str]:
    options = (*RULE, *SPARSE, "--every", 0.1, "--epochs", 4)
    done = run(recordings.parent, "train", "spikes.h5", "-o", "run", *options)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return recordings.parent / "run", done.stdout


def settings(recordings: Path, **given: object) -> TrainSettings:
    return TrainSettings(
        **with_defaults({"dataset": str(recordings), "method": "three-factor", **given})
    )


# The command


def test_published_settings_are_the_defaults(trained: tuple[Path, str]) -> None:
    options = json.loads((trained[0] / "options.json").read_text())
    assert (options["dt"], options["width"], options["max_delay"]) == (5e-3, 5e-3, 25 * 5e-3)
    assert (options["lr"], options["delay_lr"]) == (THREE_FACTOR.lr, THREE_FACTOR.delay_lr)
    coarse = with_defaults({"method": "three-factor", "dt": 10e-3})
    assert coarse["max_delay"] == 0.25 and coarse["delay_lr"] == 2 * THREE_FACTOR.delay_lr
    assert with_defaults({"method": "three-factor", "exact": True}).keys() == {"method", "exact"}


def test_it_learns_and_the_report_tells_what_events_decide(
    trained: tuple[Path, str],
) -> None:
    folder, told = trained
    rows = np.genfromtxt(folder / "log.csv", delimiter=",", names=True)
    assert rows["validation_accuracy"].max() > 0.8 and (rows["rate"] > 1).all()
    found = re.search(r"decisions by events: (\d+) of 30 as on the grid", told)
    assert found and int(found[1]) > 20, told
    test = SpikeFileData(folder / "test.h5").spikes()
    with torch.no_grad():
        values = on_grid(Network.load(folder / "network.h5"), 5e-3, "three-factor")(test)
    right = (values.argmax(1).numpy() == test.labels).mean()
    assert f"test accuracy {right:.1%}" in told


def test_what_is_left_out_is_not_in_the_network(trained: tuple[Path, str]) -> None:
    net = Network.load(trained[0] / "network.h5")
    counts = {(p.pre, p.post): p.n_synapses for p in net.projections.values()}
    assert counts == {("input", "hidden"): 16, ("hidden", "hidden"): 32, ("hidden", "readout"): 16}


@pytest.mark.parametrize("share", [0.5, 0.8])
@pytest.mark.parametrize("kind", ["axonal", "synaptic"])
def test_masks_are_those_of_the_seed_and_are_not_counted(
    recordings: Path, share: float, kind: str
) -> None:
    parts = open_parts(str(recordings))
    s = settings(recordings, hidden=10, sparse=share, recurrent="dense", delay=kind)
    one, two = (make(s, parts, new)[0] for new in (True, False))
    for name in ("mask", "recurrent_mask"):
        assert torch.equal(getattr(one.hidden, name), getattr(two.hidden, name))
        assert (getattr(one.hidden, name).sum(1) == getattr(one.hidden, name).sum(1)[0]).all()
    kept = max(1, round((1 - share) * 4)) * 10 + round((1 - share) * 10) * 10
    found = size(one)
    assert found.weights == kept + 20
    assert found.delays == (4 + 10 if kind == "axonal" else kept)
    other = make(settings(recordings, hidden=10, sparse=share, seed=1), parts, False)[0]
    assert not torch.equal(one.hidden.mask, other.hidden.mask)


def test_a_run_that_was_interrupted_goes_on_with_the_same_bits(
    trained: tuple[Path, str], recordings: Path, tmp_path: Path
) -> None:
    words = ("train", recordings.name, "-o", tmp_path / "run", *RULE, *SPARSE, "--every", 0.1)
    with interrupted_after(2):
        assert run(recordings.parent, *words, "--epochs", 4).returncode == 130
    done = run(recordings.parent, "train", recordings.name, "-o", tmp_path / "run", "--resume")
    assert done.returncode == 0, done.stderr
    assert same(outcome(tmp_path / "run"), outcome(trained[0]))
    files = [(folder / "network.h5").read_bytes() for folder in (tmp_path / "run", trained[0])]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    "options",
    [
        ("--hidden", 8, "--hidden", 6, "--delay", "axonal"),
        ("--delay", "none", "--recurrent", "conv", "--feedback", "random"),
        ("--weight-bits", 1.58, "--delay-bits", 3, "--delay-lr", 0.02),
        ("--no-learn-delays", "--first-delay", 0.02, "--width", 0.01),
    ],
)
def test_other_networks_train_too(
    recordings: Path, tmp_path: Path, options: tuple[object, ...]
) -> None:
    words = ("--method", "three-factor", "--hidden", 8, "--batch", 30, "--epochs", 1)
    words = words if "--hidden" not in options else (*words[:2], *words[4:])
    done = run(recordings.parent, "train", "spikes.h5", "-o", tmp_path / "run", *words, *options)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    first, last = (Network.load(tmp_path / "run" / f"{n}.h5") for n in ("initial", "network"))
    one, two = (next(iter(net.projections.values())) for net in (first, last))
    moved = {
        name
        for name in ("weight", "axonal_delay", "delay")
        if not np.array_equal(getattr(one, name), getattr(two, name))
    }
    late = "--no-learn-delays" not in options and "none" not in options
    assert "weight" in moved and (len(moved) > 1) == late


@pytest.mark.parametrize("options", [(), ("--feedback", "random", "--every", 0.1)])
def test_exact_traces_train_the_network_of_exact_gradients(
    recordings: Path, tmp_path: Path, options: tuple[object, ...]
) -> None:
    words = (*RULE, "--exact", "--sparse", 0.5, "--epochs", 2, *options)
    done = run(recordings.parent, "train", "spikes.h5", "-o", tmp_path / "run", *words)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "decisions by events" not in done.stdout
    net = Network.load(tmp_path / "run" / "network.h5")
    assert net.populations["hidden"].model == "CubaLIF"
    assert [p.n_synapses for p in net.projections.values()] == [16, 16]
    rows = np.genfromtxt(tmp_path / "run" / "log.csv", delimiter=",", names=True)
    assert rows["validation_accuracy"].max() > 0.6 and (rows["rate"] > 1).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--exact",), "exact = True is about traces of method = three-factor, not exact: leave"),
        (("--feedback", "random"), "feedback = random is about traces, and exact has none"),
        (("--method", "slayer", "--every", 0.1), "every = 0.1 is about traces, and slayer has"),
        (("--method", "delrec", "--width", 0.1), "width = 0.1 is about traces, and delrec has"),
        (("--method", "slayer", "--sparse", 0.5), "sparse = 0.5, but networks of slayer have all"),
        (("--sparse", 1), "sparse = 1.0, must be a finite number of at least 0"),
        (
            (*RULE[:2], "--hidden", 3, "--hidden", 4, "--feedback", "readout"),
            "feedback = readout, but its weights reach the last of 2 hidden layers only",
        ),
        ((*RULE, "--exact", "--dt", 1e-3), "dt = 0.001, but exact gradients need no grid"),
        ((*RULE, "--exact", "--width", 1e-3), "width = 0.001, but exact traces have none"),
        ((*RULE, "--exact", "--device", "cuda"), "exact gradients are found on the cpu"),
        ((*RULE, "--delay", "dendritic"), "delay = dendritic, but three-factor knows delay ="),
        ((*RULE, "--fit", "unit"), "first weights of three-factor on a grid have one factor"),
        ((*RULE, "--readout", "votes"), "readout = votes, but that of three-factor is another"),
        ((*RULE, "--preset", "delrec-shd"), "is for method = delrec, not three-factor"),
        ((*RULE, "--every", 1e-3), "every = 0.001: must be a whole number of steps, dt = 0.005"),
        ((*RULE, "--every", 0.0125), "must be a whole number of steps, dt = 0.005"),
        ((*RULE, "--exact", "--every", 1e-5), "would move more than 10,000 times in recordings"),
        ((*RULE, "--every", 0), "every = 0.0, must be a finite number above 0"),
        ((*RULE, "--feedback", "none"), "'none' is not one of 'readout', 'random'"),
    ],
)
def test_what_does_not_go_together_is_refused(
    recordings: Path, options: tuple[object, ...], words: str
) -> None:
    done = run(recordings.parent, "train", "spikes.h5", "-o", "not", *options)
    assert done.returncode == 2 and words in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1 or "one of" in words
    assert not (recordings.parent / "not").exists()


# Pieces


def test_feedback_is_drawn_from_the_seed_alone() -> None:
    layers = [g.CubaLIF(3, 50, 20e-3, 5e-3), g.CubaLIF(50, 200, 20e-3, 5e-3)]
    before = torch.get_rng_state()
    one, two = random_feedback(layers, 10, 7), random_feedback(layers, 10, 7)
    assert torch.equal(before, torch.get_rng_state())
    assert all(map(torch.equal, one, two)) and [list(f.shape) for f in one] == [[10, 50], [10, 200]]
    assert not torch.equal(one[0], random_feedback(layers, 10, 8)[0])


def test_the_rule_gets_what_it_was_asked_for(recordings: Path) -> None:
    parts = open_parts(str(recordings))
    given = {"hidden": (5, 6), "every": 0.1, "width": 0.01, "seed": 3}
    model, _, method = make(settings(recordings, **given), parts, True)
    batch = next(parts.train.batches(20))
    labels = torch.from_numpy(batch.labels)
    found = []
    for _ in method.online(model, batch, labels):
        found.append([p.grad.clone() for p in model.parameters()])
        model.zero_grad()
    back = random_feedback([model.hidden1, model.hidden2], 2, 3)
    wanted = []
    for _ in online(model, model.raster(batch), labels, 0.1, 0.01, back):
        wanted.append([p.grad.clone() for p in model.parameters()])
        model.zero_grad()
    assert len(found) == len(wanted) > 1
    for a, b in zip(found, wanted, strict=True):
        assert all(map(torch.equal, a, b))


def test_first_weights_make_units_fire_and_classes_differ(recordings: Path) -> None:
    torch.manual_seed(0)
    spikes = SpikeFileData(recordings).spikes()[:40]
    model = integrating((4, 12, 10, 3), 5e-3, 0.05, "axonal")
    with torch.no_grad():
        model.hidden1.weight.mul_(0.1)
    fit_on_grid(model, spikes)
    last = float(spikes.times.max())
    for layer in (model.hidden1, model.hidden2):
        each = layer.diagnostics.n_spikes / 40 / layer.out_features
        assert each == pytest.approx(15 * last, rel=0.25)
    with torch.no_grad():
        assert float(model(spikes).std(dim=1).mean()) == pytest.approx(1, rel=1e-4)


def test_batches_last_until_what_is_late_has_arrived() -> None:
    spikes = Spikes([0.020], [0], size=2, duration=1.0)
    model = integrating((2, 3, 2), 5e-3, 0.1)
    assert model.raster(spikes).shape[1] == 4 + 1 + 20 + 20
    assert integrating((2, 3, 2), 5e-3, 0.1, "none").raster(spikes).shape[1] == 4 + 1 + 20
    assert model.raster(Spikes([0.02], [0], size=2, duration=0.1)).shape[1] == 20


# The trainer


def by_parts(model: nn.Module, batch: Spikes, labels: Tensor) -> Iterator[Tensor]:
    """Make two steps of a batch of an even number of recordings, one of another."""
    for part in (batch, batch)[: 2 - len(batch) % 2]:
        values = model(part)
        nn.functional.cross_entropy(values, labels).backward()
        yield values.detach()


def trainer(recordings: Path, epochs: int, **options: float) -> g.Trainer:
    data = SpikeFileData(recordings)[:45]
    torch.manual_seed(0)
    model = g.delay_model(4, 6, 2)
    g.fit_weights(model, data.spikes())
    method = Method(EXACT.optimizer, EXACT.loss, online=by_parts)
    o = TrainOptions(epochs, 20, **options)
    return g.Trainer(model, data, data, o, callbacks=[], method=method)


def test_parameters_move_as_often_as_the_rule_says(recordings: Path) -> None:
    one = trainer(recordings, 2, wake=0.0)
    one.run()
    assert int(one.state()["average"]["n_averaged"]) == 2 * (2 + 2 + 1)
    assert one.history[-1]["train_loss"] < one.history[0]["train_loss"]
    part, again = trainer(recordings, 1, wake=0.0), trainer(recordings, 2, wake=0.0)
    part.run()
    again.go_on_from(copy.deepcopy(part.state()))
    again.run()
    for what in ("model", "optimizer", "average"):
        assert same(again.state()[what], one.state()[what]), what
    few = copy.deepcopy(part.state())
    few["average"]["n_averaged"].fill_(2)
    with pytest.raises(ValueError, match="n_averaged = 2, must be 3 or more"):
        again.go_on_from(few)


def test_silent_units_are_woken(recordings: Path) -> None:
    moved = {}
    for wake in (0.0, 0.1):
        one = trainer(recordings, 1, wake=wake)
        with torch.no_grad():
            one.model.hidden.weight[0] *= 0.01
        before = one.model.hidden.weight[0].clone()
        one.run()
        moved[wake] = float((one.model.hidden.weight[0] - before).detach().abs().max())
    assert moved[0.0] == 0 and moved[0.1] > 0


def test_several_processes_are_refused(recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evsim.gradients.training.trainer.n_processes", lambda: 2)
    with pytest.raises(ValueError, match="an online rule moves parameters within a batch"):
        trainer(recordings, 1)


def test_gradients_that_are_not_finite_end_a_training(recordings: Path) -> None:
    def wrong(model: nn.Module, batch: Spikes, labels: Tensor) -> Iterator[Tensor]:
        model.hidden.weight.grad = torch.full_like(model.hidden.weight, float("nan"))
        yield torch.zeros(len(batch), 2)

    one = trainer(recordings, 1, wake=0.0)
    one.method = Method(EXACT.optimizer, EXACT.loss, online=wrong)
    before = one.model.hidden.weight.clone()
    with pytest.raises(ValueError, match="epoch 1: the training diverged"):
        one.run()
    assert torch.equal(before, one.model.hidden.weight)


def test_each_unit_keeps_a_synapse() -> None:
    model = integrating((3, 20, 2), 5e-3, 0.1)
    leave_out(model, 0.9, seed=0)
    assert (model.hidden.mask.sum(1) == 1).all()
