"""``evsim train --method delrec`` and its kin: what they leave behind, go on to, and refuse."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from damaged_runs import outcome, same
from in_process import interrupted_after, run
from small_files import two_classes

import evsim
from evsim import Network, Spikes, train_rules
from evsim import gradients as g
from evsim import train_options as options
from evsim.commands.parts import Parts, open_parts
from evsim.commands.train_methods import make, with_defaults
from evsim.datasets import SpikeFileData
from evsim.gradients import dense, methods
from evsim.gradients.cross_check.by_events import STAGES, Agreement, _alike, by_events
from evsim.gradients.methods import delrec
from evsim.gradients.methods.by_values import keep_norms, scheduled, valued, valued_method
from evsim.gradients.training.processes import n_processes
from evsim.gradients.training.start import begin_delays
from evsim.train_options import TrainOptions, TrainSettings

SMALL = ("--hidden", 8, "--batch", 20, "--lr", 0.02, "--epochs", 8)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("data"), 150, 40, 0.3)


@pytest.fixture(scope="module")
def trained(recordings: Path) -> tuple[Path, str]:
    options = ("--method", "delrec", *SMALL)
    done = run(recordings.parent, "train", "spikes.h5", "-o", "run", *options)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return recordings.parent / "run", done.stdout


def trainer(data: SpikeFileData, name: str, epochs: int, *callbacks: g.Callback) -> g.Trainer:
    torch.manual_seed(0)
    model, recipe = valued(name, (4, 6, 5, 2), 10e-3, 0.3, 0.3)
    o = TrainOptions(epochs, 50, lr=0.01, delay_lr=5e-4, lr_decay=1.0, wake=0.0, average=0.0)
    return g.Trainer(model, data, data, o, None, callbacks, valued_method(recipe))


# The command


def test_the_settings_of_the_recipe_are_the_defaults_but_for_what_takes_long() -> None:
    published = methods.recipe("conv-delrec-shd")
    quick = with_defaults({"method": "conv-delrec", "dt": 5e-3})
    assert (quick["epochs"], quick["batch"], quick["hidden"]) == (30, 64, (64, 64))
    assert (quick["recurrent"], quick["lr"]) == ("conv", published.lr)
    assert quick["delay_lr"] == pytest.approx(published.delay_lr / 2)
    settings = TrainSettings("SHD", **quick)
    assert settings.waits == 0 and not settings.varies and settings.longest_delay(0.7) == 0.7


@pytest.mark.parametrize("name", methods.NAMES + methods.RIVALS)
def test_a_preset_has_all_settings_of_its_recipe(name: str) -> None:
    published = methods.recipe(name)
    found = TrainSettings("SHD", **with_defaults({"preset": name}))
    assert (found.epochs, found.batch, found.dt) == (
        published.epochs,
        published.batch,
        published.dt,
    )
    assert (found.layers, found.lr, found.delay_lr) == (
        published.sizes[1:-1], published.lr, published.delay_lr
    )  # fmt: skip
    assert found.method == train_rules.method_of(name)


def test_every_network_is_a_preset() -> None:
    assert get_args(options.Preset) == methods.NAMES + methods.RIVALS
    assert all(
        train_rules.method_of(name) == method for method, name in train_rules.PUBLISHED.items()
    )


def test_it_learns_and_tells_how_often_events_decide_alike(
    trained: tuple[Path, str], tmp_path: Path
) -> None:
    folder, told = trained
    found = re.search(r"decisions by events: (\d+) of 30 as on the grid \(accuracy (.*)\)", told)
    rows = np.genfromtxt(folder / "log.csv", delimiter=",", names=True)
    assert found and rows["validation_accuracy"].max() > 0.8, told
    assert len(rows) == 8  # the schedule has an end
    done = run(folder, "simulate", "network.h5", "test.h5", "-o", tmp_path / "out.h5")
    assert f"accuracy {found[2]}" in done.stdout
    net = Network.load(folder / "network.h5")
    assert net.populations["hidden"].parameters["v_leak"].max() < 1


def test_a_preset_trains_its_network(recordings: Path, tmp_path: Path) -> None:
    few = ("--hidden", 3, 4, 3, "--epochs", 2, "--batch", 60, "-q")
    words = ("train", recordings, "-o", "run", "--preset", "conv-delrec-ssc", *few)
    done = run(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "run" / "options.json").read_text())
    assert (told["method"], told["preset"]) == ("conv-delrec", "conv-delrec-ssc")
    net = Network.load(tmp_path / "run" / "network.h5")
    kinds = [type(p).__name__ for p in net.projections.values()]
    assert kinds.count("Conv1d") == 3
    assert net.populations["hidden1"].reset_mode == "soft"


def test_kernels_read_votes_unless_a_preset_is_named(recordings: Path, tmp_path: Path) -> None:
    few = ("--hidden", 3, "--epochs", 1, "--batch", 120, "-q")
    for name, chosen, read in (
        ("votes", ("--method", "conv-delrec"), "integral"),
        ("last", ("--preset", "conv-delrec-shd"), "last"),
    ):
        done = run(tmp_path, "train", recordings, "-o", name, *chosen, *few)
        assert done.returncode == 0, done.stderr
        net = Network.load(tmp_path / name / "network.h5")
        assert net.populations["readout"].output == read


def trained_delays(recordings: Path, folder: Path, *words: object) -> np.ndarray:
    few = ("--hidden", 5, "--epochs", 2, "--batch", 60, "-q")
    done = run(folder, "train", recordings, "-o", "run", *few, *words)
    assert done.returncode == 0, done.stderr
    nets = [Network.load(folder / "run" / name) for name in ("initial.h5", "network.h5")]
    loops = [p for net in nets for p in net.projections.values() if p.pre == p.post]
    return np.array([loop.axonal(5) for loop in loops])


def test_loops_of_one_step_and_delays_that_are_kept(recordings: Path, tmp_path: Path) -> None:
    late = {}
    for name, words in {
        "step": ("--method", "delrec", "--delay", "none", "--max-delay", 0.005),
        "drawn": ("--method", "conv-delrec", "--no-learn-delays"),
        "given": ("--preset", "delrec-shd", "--no-learn-delays", "--first-delay", 0.07),
        "learnt": ("--method", "delrec"),
        "spread": ("--preset", "conv-delrec-ssc", "--no-learn-delays"),
        "exact": ("--recurrent", "dense", "--delay", "axonal", "--no-learn-delays"),
    }.items():
        (tmp_path / name).mkdir()
        late[name] = trained_delays(recordings, tmp_path / name, *words)
    np.testing.assert_allclose(late["step"], 0.01, rtol=1e-6)
    np.testing.assert_allclose(late["given"], 0.07, rtol=1e-6)
    for kept in ("drawn", "spread", "exact"):
        first, last = late[kept]
        assert (first == last).all() and len(np.unique(first)) > 1, kept
    assert (late["learnt"][0] != late["learnt"][1]).all()
    assert late["drawn"].min() > 0.1  # 10 steps and the one of a loop


def test_without_loops(recordings: Path, tmp_path: Path) -> None:
    words = ("--method", "conv-delrec", "--recurrent", "none", "--hidden", 5, "--epochs", 1, "-q")
    done = run(tmp_path, "train", recordings, "-o", "run", *words)
    assert done.returncode == 0, done.stderr
    net = Network.load(tmp_path / "run" / "network.h5")
    assert all(p.pre != p.post for p in net.projections.values())


def test_delays_that_are_kept_are_not_spread(recordings: Path) -> None:
    parts = open_parts(str(recordings))
    for asked, width in (({}, 10.0), ({"learn_delays": False}, 0.0), ({"delay": "none"}, 0.0)):
        settings = TrainSettings("x", **with_defaults({"method": "delrec", "hidden": 3, **asked}))
        model, o, method = make(settings, parts, new=True)
        method.begin(model, 0, o)
        (loop,) = (m for m in model.modules() if getattr(m, "recurrent", None))
        assert loop.sigma == width and loop.recurrent_delay.requires_grad == (width > 0)

    settings = TrainSettings("x", **with_defaults({"method": "conv-delrec", "hidden": 3}))
    assert make(settings, parts, new=True)[
        0
    ].trimmed  # unlike its preset, whose readout is the last


@pytest.mark.parametrize(
    ("asked", "most"),
    [({"delay": "none"}, 1.0), ({}, 5.0), ({"recurrent": "none"}, 5.0)],
)
def test_gradients_of_loops_of_one_step_are_clipped(
    recordings: Path, asked: dict[str, object], most: float
) -> None:
    settings = TrainSettings("x", **with_defaults({"method": "delrec", "hidden": 3, **asked}))
    model, o, method = make(settings, open_parts(str(recordings)), new=True)
    optimizer = method.optimizer(model, o)
    model(Spikes([0.1], [0], size=4, duration=0.3))
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 5.0)
    optimizer.step()
    assert {float(p.grad.abs().max()) for p in model.parameters() if p.requires_grad} == {most}


def test_first_delays_are_none_shorter_than_a_layer_has() -> None:
    model, _ = valued("conv-delrec-ssc", (3, 4, 4, 2), 10e-3, 0.05, 0.3)
    begin_delays(model, 0.003, learn=False)
    for layer in (model.hidden1, model.hidden2):
        assert (layer.recurrent_delay == layer.recurrent_delay.new_tensor(0.01)).all()
        assert not layer.recurrent_delay.requires_grad and not layer.spread.requires_grad
        assert layer.weight.requires_grad


def test_batches_end_with_their_last_spike_where_that_is_published(recordings: Path) -> None:
    spikes = Spikes([0.012, 0.031], [0, 2], size=3, duration=0.3)
    steps = {}
    for name in ("delrec-shd", "conv-delrec-shd", "delrec-ssc"):
        model, recipe = valued(name, (3, 4, 4, 2), 10e-3, 0.05, 0.3)
        assert recipe.trimmed == (name == "delrec-shd")
        steps[name] = model.raster(spikes).shape[1]
    assert steps == {"delrec-shd": 4, "conv-delrec-shd": 30, "delrec-ssc": 30}
    silent = Spikes([], [], size=3, duration=0.3)
    assert valued("delrec-shd", (3, 4, 4, 2), 10e-3, 0.05, 0.3)[0].raster(silent).shape[1] == 1


# What is told of the event engine


def agreement(model: dense.FromSpikes, recordings: Path) -> tuple[Agreement, Network, Parts]:
    net, parts = Network.from_torch(model), open_parts(str(recordings))
    return by_events(net, model, parts.test, 10e-3), net, parts


@pytest.mark.parametrize("name", ["delrec-shd", "conv-delrec-shd", "delrec-shd-small"])
def test_on_whole_steps_every_spike_and_decision_is_the_same(name: str, recordings: Path) -> None:
    torch.manual_seed(1)
    model = valued(name, (4, 12, 12, 2), 10e-3, 0.25, 0.3)[0].double()
    with torch.no_grad():
        for _ in range(3):  # running averages
            model(Spikes([0.1, 0.2], [0, 1], size=4, duration=0.3))
    found, net, parts = agreement(model, recordings)
    assert found.n == found.alike == found.equal_read[STAGES[0]] == 30
    assert found.grid_spikes > 50
    batch = next(parts.test.batches(30))
    whole = evsim.simulate(net, batch, ["hidden1", "hidden2"])
    assert found.event_spikes == sum(len(one.times) for one in whole.spikes.values())
    by_hand = whole.output["readout"].argmax(axis=1)
    at = np.arange(model.raster(batch).shape[1]) * 10e-3
    sampled = {"readout": at}
    binned = dense.to_spikes(dense.to_raster(batch, 10e-3), 10e-3)
    runs = [evsim.simulate(net, one, voltage=sampled) for one in (binned, batch)]
    seen = [model[-1].read(torch.from_numpy(run.voltage["readout"])) for run in runs]
    decided = [one.argmax(1).numpy() for one in seen]
    model.eval()
    on_grid = model(batch).argmax(1).numpy()
    assert list(found.equal_read.values())[1:] == [int((one == on_grid).sum()) for one in decided]
    assert found.right_read == (decided[1] == batch.labels).sum()
    assert found.right == (by_hand == batch.labels).sum()
    told = found.lines()
    assert "30 recordings spike for spike" in told[2] and len(told) == 4
    assert told[3].startswith(f"  hidden spikes: {found.grid_spikes:,} on the grid")


def test_alike_are_recordings_whose_layers_all_are() -> None:
    rasters = [torch.zeros(2, 4, 3), torch.zeros(2, 4, 3)]
    spikes = [dense.to_spikes(raster, 1.0) for raster in rasters]
    assert _alike(rasters, spikes).tolist() == [True, True]
    rasters[1][1, 2, 0] = 1
    assert _alike(rasters, spikes).tolist() == [True, False]


def test_units_that_fire_again_are_told(recordings: Path) -> None:
    torch.manual_seed(0)
    model = valued("delrec-ssc", (4, 12, 12, 2), 10e-3, 0.25, 0.3)[0].double()
    with torch.no_grad():
        model.hidden1.weight.mul_(6)  # two thresholds at once: a soft reset leaves one
    found, _, _ = agreement(model, recordings)
    assert found.alike < 30 and not found.equal_read and len(found.lines()) == 3


def test_a_run_that_was_interrupted_goes_on_with_the_same_bits(
    trained: tuple[Path, str], recordings: Path, tmp_path: Path
) -> None:
    words = ("train", recordings.name, "-o", tmp_path / "run", "--method", "delrec", *SMALL)
    with interrupted_after(3):
        assert run(recordings.parent, *words).returncode == 130
    done = run(recordings.parent, "train", recordings.name, "-o", tmp_path / "run", "--resume")
    assert done.returncode == 0, done.stderr
    assert same(outcome(tmp_path / "run"), outcome(trained[0]))
    files = [(folder / "network.h5").read_bytes() for folder in (tmp_path / "run", trained[0])]
    assert files[0] == files[1]


def test_a_batch_of_one_step_does_not_keep_a_run_from_going_on(tmp_path: Path) -> None:
    nothing: tuple[list[float], list[int]] = ([], [])
    parts = [([0.05, 0.09], [0, 1]) if b % 3 else nothing for b in range(30)]
    spikes = Spikes.from_recordings(parts, 2, 0.1, np.arange(30) % 2)
    evsim.save_spikes(tmp_path / "spikes.h5", spikes)
    options = ("--method", "delrec", "--preset", "delrec-shd-small", "--hidden", 3, "--batch", 1)
    assert run(tmp_path, "train", "spikes.h5", "-o", "run", *options, "--epochs", 1).returncode == 0
    done = run(tmp_path, "train", "spikes.h5", "-o", "run", "--resume")
    assert done.returncode == 0, done.stderr


def test_epochs_are_part_of_the_schedule(trained: tuple[Path, str]) -> None:
    words = ("train", "spikes.h5", "-o", "run", "--resume", "--epochs", 12)
    done = run(trained[0].parent, *words)
    assert done.returncode == 2 and "was trained with epochs = 8, not 12" in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--method", "slayer", "--recurrent", "dense"), "recurrent = dense, but slayer knows"),
        (
            ("--method", "delrec", "--recurrent", "none", "--delay", "axonal"),
            "leaves delrec no loop that could be late",
        ),
        (
            ("--method", "delrec", "--recurrent", "none", "--first-delay", 0.1),
            "first_delay is about delays, and there are none",
        ),
        (("--delay", "none", "--no-learn-delays"), "learn_delays is about delays, and there are"),
        (("--method", "delrec", "--first-delay", 3), "first_delay = 3, but the longest is 0.3 s"),
        (("--method", "delrec", "--max-delay", 1e-3), "is shorter than a step, dt = 0.01, so that"),
        (("--method", "dcls", "--max-delay", 1e6), "bells of 100,000,001 steps, as long as max"),
        (("--method", "delrec", "--validation", 1), "above 0 and below 1"),
        (
            ("--method", "delrec", "--validation", 1e-3),
            "each class, or another validation than 0.001",
        ),
        (("--method", "delrec", "--device", "mps:3"), "from the 'MPS' backend\n"),
        (("--readout", "sum"), "readout = sum, but that of exact is another"),
        (("--method", "conv-delrec", "--recurrent", "dense"), "but conv-delrec knows recurrent"),
        (("--method", "delrec", "--delay", "synaptic"), "delay = synaptic, but delrec knows"),
        (("--method", "delrec", "--fit", "unit"), "first weights of delrec are the published"),
        (("--method", "delrec", "--weight-bits", 4), "weight_bits = 4, but delrec has no few bits"),
        (("--method", "delrec", "--delay-bits", 4), "delay_bits = 4, but delrec has no few bits"),
        (("--method", "delrec", "--preset", "axonal-shd"), "is for method = slayer, not delrec"),
        (("--method", "exact", "--preset", "delrec-ssc"), "is for method = delrec, not exact"),
        (("--preset", "delrec"), "'delrec' is not one of 'axonal-shd', "),
        (("--device", "cuda"), "exact gradients are found on the cpu"),
        (("--method", "delrec", "--device", "abacus"), "device = abacus: torch has no such device"),
        (("--method", "delrec", "--device", "meta"), "device = meta: torch has no such device"),
        (("--method", "slayer", "--device", "cuda:999"), "device = cuda:999: torch has no such"),
    ],
)
def test_what_does_not_go_together_is_refused(
    recordings: Path, options: tuple[object, ...], words: str
) -> None:
    done = run(recordings.parent, "train", "spikes.h5", "-o", "not", *options)
    assert done.returncode == 2 and words in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1 or "one of" in words
    assert not (recordings.parent / "not").exists()


def test_several_processes_are_refused(recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evsim.gradients.training.processes.n_processes", lambda: 2)
    assert n_processes() == 1  # what others have imported is as it was
    done = run(recordings.parent, "train", "spikes.h5", "-o", "not", "--method", "delrec")
    assert done.returncode == 2 and "train it in one process" in done.stderr


# Pieces


@pytest.mark.parametrize("name", ["delrec-shd", "delrec-shd-small", "delrec-ssc"])
def test_a_training_goes_on_to_the_same_bits(recordings: Path, name: str) -> None:
    class Stop(g.Callback):
        def epoch(self, trainer: g.Trainer, record: dict[str, float]) -> None:
            if record["epoch"] == 2:
                trainer.stop("enough")

    data = SpikeFileData(recordings)[:60]
    whole = trainer(data, name, 4)  # dropout draws on where first weights did
    whole.run()
    ended = copy.deepcopy(whole.state())
    part = trainer(data, name, 4, Stop())
    part.run()
    again = trainer(data, name, 4)
    again.go_on_from(copy.deepcopy(part.state()))
    again.run()
    for what in ("model", "optimizer", "average", "generator"):
        assert same(again.state()[what], ended[what]), what


def test_steps_are_those_of_torchs_schedulers() -> None:
    o, group = TrainOptions(20), {"first_lr": 0.1, "first_betas": (0.9, 0.999)}
    once = [scheduled({**group, "schedule": "OneCycleLR"}, e, o) for e in range(20)]
    rates = [one["lr"] for one in once]
    assert rates[0] == pytest.approx(0.1 / 25) and rates[5] == pytest.approx(0.1)  # 0.3 of 20, - 1
    assert rates[-1] == pytest.approx(0.1 / 25 / 1e4)
    assert [round(one["betas"][0], 4) for one in (once[0], once[5])] == [0.95, 0.85]
    cosine = [scheduled({**group, "schedule": "CosineAnnealingLR"}, e, o)["lr"] for e in range(20)]
    np.testing.assert_allclose(cosine, 0.05 * (1 + np.cos(np.pi * np.arange(20) / 20)))
    assert scheduled({**group, "schedule": None}, 3, o) == {"lr": 0.1, "betas": (0.9, 0.999)}
    with pytest.raises(ValueError, match="epochs = 20, but 21 are trained"):
        scheduled({**group, "schedule": None}, 20, o)
    with pytest.raises(ValueError, match="schedule = 'StepLR'"):
        scheduled({**group, "schedule": "StepLR"}, 0, o)


def test_delays_and_widths_have_a_schedule_of_their_own(recordings: Path) -> None:
    data = SpikeFileData(recordings)[:8]
    one = trainer(data, "delrec-shd", 10)
    found = {group["name"]: group["schedule"] for group in one.optimizer.param_groups}
    late = {name for name, schedule in found.items() if schedule == "CosineAnnealingLR"}
    assert late == {"hidden2.recurrent_delay"}
    assert {schedule for name, schedule in found.items() if name not in late} == {"OneCycleLR"}
    groups = {group["name"]: group for group in one.optimizer.param_groups}
    assert type(one.optimizer).__name__ == "AdamW"
    assert groups["hidden1.weight"]["weight_decay"] == 1e-5
    assert groups["hidden2.norm.weight"]["weight_decay"] == 0
    spread = {group["name"] for group in trainer(data, "delrec-ssc", 10).optimizer.param_groups}
    assert {"hidden1.spread", "hidden2.spread"} <= spread


def test_widths_narrow_with_the_epochs_and_validation_rounds(recordings: Path) -> None:
    widths = []

    class Look(g.Callback):
        def epoch(self, trainer: g.Trainer, record: dict[str, float]) -> None:
            widths.append(trainer.model.hidden2.sigma)
            assert trainer.model.training and trainer.model.hidden2.training

    data = SpikeFileData(recordings)[:40]
    one = trainer(data, "delrec-shd", 3, Look())
    one.run()
    assert widths == [delrec.sigma(e, 3, 10.0, 0.95) for e in range(3)]
    delays = one.model.hidden2.recurrent_delay.detach()
    assert ((delays / 10e-3 - (delays / 10e-3).round()).abs() > 1e-3).any()  # not in place
    before = one.score(data)
    with torch.no_grad():
        one.model.hidden2.recurrent_delay.copy_((delays / 10e-3).round() * 10e-3)
    assert one.score(data) == before


def test_the_value_is_that_of_the_raster() -> None:
    torch.manual_seed(0)
    model, _ = valued("delrec-shd", (3, 4, 4, 2), 10e-3, 0.05, 0.05)
    spikes = Spikes([0.010, 0.011, 0.03], [0, 0, 2], size=3, duration=0.05)
    model.eval()
    raster = dense.to_raster(spikes, 10e-3)[:, :4]  # until the last spike
    assert raster[0, 1, 0] == 2  # counts, as published
    assert torch.equal(model(spikes), torch.nn.Sequential(*model)(raster))
    with pytest.raises(ValueError, match="FromSpikes: the first module must be a dense layer"):
        dense.FromSpikes(torch.nn.Linear(2, 2))


def test_norms_are_kept_where_networks_can_have_them() -> None:
    torch.manual_seed(0)
    model, _ = valued("delrec-shd", (3, 4, 4, 2), 10e-3, 0.04, 0.05)
    with torch.no_grad():
        model.hidden1.norm.bias.copy_(torch.tensor([5.0, -5.0, 0.5, 0.0]))
    with pytest.raises(ValueError, match="v_leak"):
        Network.from_torch(model)
    keep_norms(model)
    kept = model.hidden1.norm.bias.tolist()
    assert kept[0] < 1.5 and kept[1] == -5.0
    net = Network.from_torch(model)
    assert net.populations["hidden1"].parameters["v_leak"].max() == pytest.approx(0.99, abs=1e-6)
    assert isinstance(evsim.simulate(net, Spikes([0.01], [0], size=3, duration=0.05)), evsim.Result)


def test_variances_of_a_checkpoint_are_looked_at(recordings: Path) -> None:
    data = SpikeFileData(recordings)[:40]
    one = trainer(data, "delrec-shd", 1)
    one.run()
    state = copy.deepcopy(one.state())
    state["model"]["hidden1.norm.running_var"][0] = -1.0
    with pytest.raises(ValueError, match="running_var: must be at least 0"):
        one.go_on_from(state)
    state = copy.deepcopy(one.state())
    state["optimizer"]["param_groups"][0]["betas"] = (0.5, 0.999)
    with pytest.raises(ValueError, match="betas"):
        one.go_on_from(state)
