"""The training loop: it learns, it can be interrupted, and its files are sound."""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evsim import FileError, Spikes
from evsim import gradients as g
from evsim.datasets.sets.coincidence import Coincidence
from evsim.gradients.training.checkpoints import load_checkpoint, save_checkpoint
from evsim.gradients.training.method import EXACT
from evsim.gradients.training.start import delay_model, fit_weights, spiking_layers
from evsim.gradients.training.step_sizes import parameter_groups
from evsim.gradients.training.trainer import Trainer, TrainOptions, score, train

DATA = Coincidence(240, seed=0, channels=5, classes=2, max_offset=20e-3, events=4, duration=0.2)
TRAINING, VALIDATION = DATA.split(0.25, seed=0)


def raw_model(delay: str = "axonal", recurrent: str = "none", hidden: int = 8) -> Any:
    return delay_model(DATA.size, hidden, 2, delay, recurrent, max_delay=25e-3)


def new_model(delay: str = "axonal", recurrent: str = "none", hidden: int = 8) -> Any:
    torch.manual_seed(1)
    model = raw_model(delay, recurrent, hidden)
    fit_weights(model, TRAINING.spikes())
    return model


def new_trainer(epochs: int = 4, model: Any = None, **options: Any) -> Trainer:
    model = new_model() if model is None else model
    return Trainer(model, TRAINING, VALIDATION, TrainOptions(epochs, **options), shaken)


def shaken(spikes: Spikes, rng: np.random.Generator) -> Spikes:
    times = np.clip(spikes.times + rng.normal(0, 1e-4, len(spikes.times)), 0, 0.1999)
    return Spikes(times, spikes.units, spikes.offsets, spikes.size, spikes.duration, spikes.labels)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a if k != "seconds")
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if torch.is_tensor(a) else bool(a == b)


@pytest.mark.parametrize("delay", ["axonal", "synaptic"])
def test_delays_solve_what_needs_delays(delay: str) -> None:
    model = new_model(delay, hidden=16)
    history = train(model, TRAINING, VALIDATION, TrainOptions(epochs=12))
    assert [record["epoch"] for record in history] == list(range(1, 13))
    assert max(record["validation_accuracy"] for record in history) > 0.95
    assert score(model, VALIDATION).accuracy == max(r["validation_accuracy"] for r in history)


def test_the_model_ends_with_its_best_epoch() -> None:
    trainer = new_trainer(5)
    states = []
    run_each(trainer, lambda t: states.append(copy.deepcopy(t.averaged.state_dict())))
    ranks = [(r["validation_accuracy"], -r["validation_loss"]) for r in trainer.history]
    best = ranks.index(max(ranks))
    assert trainer.best["epoch"] == best + 1
    assert same(dict(trainer.model.state_dict()), dict(states[best]))


class Stop(Exception):
    pass


class Each(g.Callback):
    """Calls a function with the trainer after each epoch."""

    def __init__(self, function: Callable[[Trainer], Any]) -> None:
        self.function = function

    def epoch(self, trainer: Any, record: dict[str, float]) -> None:
        self.function(trainer)


def run_each(trainer: Trainer, function: Callable[[Trainer], Any]) -> None:
    trainer.callbacks.append(Each(function))
    trainer.run()


@pytest.mark.parametrize(("delay", "recurrent"), [("axonal", "none"), ("synaptic", "conv")])
def test_an_interrupted_training_ends_with_the_same_bits(
    delay: str, recurrent: str, tmp_path: Path
) -> None:
    whole = new_trainer(4, new_model(delay, recurrent), seed=3)
    whole.run()
    path, interrupted = tmp_path / "c.pt", new_trainer(4, new_model(delay, recurrent), seed=3)

    def stop(trainer: Trainer) -> None:
        save_checkpoint(path, trainer.state())
        if len(trainer.history) == 2:
            raise Stop

    with pytest.raises(Stop):
        run_each(interrupted, stop)
    torch.manual_seed(99)
    again = new_trainer(4, raw_model(delay, recurrent), seed=3)
    again.go_on_from(load_checkpoint(path))
    again.callbacks.append(g.Checkpoint(path))
    again.run()
    assert same(again.state(), whole.state())
    assert same(load_checkpoint(path)["optimizer"], whole.state()["optimizer"])


def few(epochs: int, model: Any, **options: Any) -> Trainer:
    return Trainer(model, TRAINING[:60], VALIDATION[:20], TrainOptions(epochs, **options), shaken)


class Breaks(g.Callback):
    """Stops, or breaks off as Ctrl-C does, in a batch or at the end of an epoch; once."""

    def __init__(self, at: int, hook: str, asked: bool = False) -> None:
        self.left, self.hook, self.asked = at, hook, asked

    def batch(self, trainer: Any) -> None:
        self._count("batch", trainer)

    def epoch(self, trainer: Any, record: dict[str, float]) -> None:
        self._count("epoch", trainer)

    def _count(self, hook: str, trainer: Any) -> None:
        self.left -= hook == self.hook
        if self.left == 0 and hook == self.hook:
            if not self.asked:
                raise KeyboardInterrupt
            trainer.stop("pause")


@pytest.mark.parametrize(
    ("at", "hook", "asked"),
    [(1, "epoch", True), (2, "batch", False), (6, "batch", False), (2, "epoch", False)],
)
def test_a_trainer_that_was_stopped_goes_on_with_the_same_bits(
    at: int, hook: str, asked: bool, tmp_path: Path
) -> None:
    model = new_model()
    model.add_module("noise", torch.nn.Dropout(0.2))  # draws from torch's generator
    torch.manual_seed(5)
    whole = few(3, copy.deepcopy(model), seed=3)
    whole.run()
    torch.manual_seed(5)
    part = few(3, model, seed=3)
    part.callbacks = [Breaks(at, hook, asked)]
    if asked:
        part.run()
        assert part.stopped == "pause" and len(part.history) == at
    else:
        with pytest.raises(KeyboardInterrupt):
            part.run()
    save_checkpoint(tmp_path / "c.pt", part.state())
    again = few(3, copy.deepcopy(model), seed=3)
    for trainer in (part, again):
        torch.manual_seed(99)
        if trainer is again:
            trainer.go_on_from(load_checkpoint(tmp_path / "c.pt"))
        trainer.run()
        assert same(trainer.state(), whole.state())
        assert same(dict(trainer.model.state_dict()), dict(whole.model.state_dict()))
    part.run()  # it has ended
    assert same(part.state(), whole.state())


def test_the_seed_decides_and_threads_do_not() -> None:
    runs = []
    for seed, threads in ((0, 1), (0, 2), (1, 1)):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        trainer = new_trainer(2, seed=seed)
        trainer.run()
        torch.set_num_threads(before)
        runs.append(trainer.state()["model"])
    assert same(dict(runs[0]), dict(runs[1]))
    assert not same(dict(runs[0]), dict(runs[2]))


def test_delays_stay_between_their_limits() -> None:
    trainer = new_trainer(3, lr=0.02, delay_lr=0.02)
    seen = []
    run_each(trainer, lambda t: seen.append(t.model.hidden.delay.detach().clone()))
    delays = torch.stack(seen)
    assert delays.min() >= 0 and delays.max() == np.float32(25e-3)


def test_what_is_kept_is_a_running_average() -> None:
    trainer = new_trainer(1, average=0.8)
    batches = list(TRAINING.batches(32))
    expected = None
    for n, batch in enumerate(batches):
        trainer._step(batch)
        now = trainer.model.hidden.weight.detach().double()
        kept = min(0.8, (1 + n) / (10 + n)) if n else 0.0
        expected = now if expected is None else kept * expected + (1 - kept) * now
    torch.testing.assert_close(trainer.averaged.hidden.weight.double(), expected)
    assert not torch.equal(trainer.averaged.hidden.weight, trainer.model.hidden.weight)


def test_an_average_can_be_pickled() -> None:
    model = new_model()
    averaged = g.Averaged(model, 0.8)
    averaged.update_parameters(model)
    again = pickle.loads(pickle.dumps(averaged))
    with torch.no_grad():
        model.hidden.weight.mul_(1.5)
    for one in (averaged, again):
        one.update_parameters(model)
    assert same(dict(again.state_dict()), dict(averaged.state_dict()))


def test_without_average_the_last_step_is_kept() -> None:
    trainer = new_trainer(2, average=0.0)
    run_each(
        trainer, lambda t: t.best.update(epoch=2, model=copy.deepcopy(t.averaged.state_dict()))
    )
    state = trainer.state()
    assert same(dict(state["model"]), dict(trainer.averaged.state_dict()))


def test_scores_are_those_of_the_model_in_use() -> None:
    model = torch.nn.Sequential(new_model(), torch.nn.BatchNorm1d(2), torch.nn.Dropout(0.9))
    plain, (_, norm, drop) = score(model[0], VALIDATION), model
    norm.double().eval()
    before = copy.deepcopy(norm.state_dict())
    found = score(model, VALIDATION)
    assert found.right == plain.right and found.loss == pytest.approx(plain.loss, rel=1e-4)
    assert same(dict(norm.state_dict()), dict(before))
    assert (model.training, norm.training, drop.training) == (True, False, True)


def test_labels_of_no_class_are_refused() -> None:
    batch = TRAINING[:6].spikes()
    labels = np.array(batch.labels)
    labels[[2, 4]] = -100, -1
    batch = batch.replace(batch.times, batch.units, batch.offsets, labels=labels)
    told = "recording 2 of a batch has label -100; labels count classes from 0"
    with pytest.raises(ValueError, match=told):
        score(new_model(), batch)
    with pytest.raises(ValueError, match=told):
        new_trainer(1).backward(batch)


def test_a_single_output_keeps_its_first_weights() -> None:
    torch.manual_seed(1)
    model = delay_model(DATA.size, 4, 1, max_delay=25e-3)
    before = model.readout.weight.detach().clone()
    fit_weights(model, TRAINING[:20].spikes())
    assert torch.equal(model.readout.weight, before) and bool(before.isfinite().all())


def test_waking_counts_every_run_of_a_layer() -> None:
    torch.manual_seed(2)
    layer = g.CubaLIF(DATA.size, 6, 20e-3, 5e-3)
    with torch.no_grad():
        layer.weight.mul_(torch.tensor([1.0, 1.0, 1.0, 0.4, 0.1, 0.1])[:, None])
    whole, parts = TRAINING[:12].spikes(), (TRAINING[:5].spikes(), TRAINING[5:12].spikes())
    with g.waking(layer, 1.0) as wake:
        layer(whole)
        wanted = wake()
    with g.waking(layer, 1.0) as wake:
        layer(parts[0])
        layer(spikes=parts[1])
        found = wake()
    assert float(wanted.detach()) > 0
    torch.testing.assert_close(found, wanted)


def test_waking_leaves_units_alone_that_fire_somewhere() -> None:
    layer = g.CubaLIF(2, 2, 20e-3, 5e-3)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[20.0, 0.0], [0.0, 20.0]]))
    each_in_one = Spikes([0.01, 0.01], [0, 1], [0, 1, 2], size=2, duration=0.1)
    with g.waking(layer, 1.0) as wake:
        assert len(layer(each_in_one).times) >= 2
        assert float(wake()) == 0.0


def test_step_sizes() -> None:
    layer = g.CubaLIF(4, 3, 20e-3, 5e-3, delay="axonal", learn=("tau_mem", "reset"))
    groups = {group["name"]: group for group in parameter_groups(layer, 0.1, 1e-3, 0.01)}
    usual = float(layer.weight.detach().double().square().mean().sqrt())
    assert groups["weight"]["lr"] == 0.1 * usual
    assert groups["delay"]["lr"] == 1e-3
    assert groups["tau_mem"]["lr"] == pytest.approx(0.01 * 20e-3)
    assert groups["reset"]["lr"] == 0.1  # it is 0 now
    assert len(groups) == len(list(layer.parameters()))


def test_step_sizes_decay() -> None:
    trainer = new_trainer(3, lr_decay=0.5)
    trainer.run()
    for group in trainer.optimizer.param_groups:
        assert group["lr"] == group["first_lr"] * 0.25


def test_first_weights_make_units_fire() -> None:
    spikes = TRAINING.spikes()
    model = new_model(hidden=32)
    counts = model.hidden(spikes).numpy().counts().mean(axis=0)
    wanted = 15.0 * np.mean([one.times[-1] for one in spikes])
    np.testing.assert_allclose(counts, wanted, rtol=0.1)
    assert float(model(spikes).detach().std(dim=1).mean()) == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("recurrent", ["dense", "conv"])
def test_first_weights_of_a_loop_are_fitted_to_few_recordings(
    recurrent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    spikes, model = TRAINING.spikes(), raw_model("axonal", recurrent, 32)
    run, seen = model.hidden.forward, list[tuple[int, bool]]()

    def forward(spikes: Spikes) -> Spikes:
        seen.append((len(spikes), model.hidden.recurrent is None))
        return run(spikes)

    monkeypatch.setattr(model.hidden, "forward", forward)
    fit_weights(model, spikes)
    assert seen == [(32, True)] * 12 + [(32, False)] * 7
    counts = run(spikes[:32]).numpy().counts().mean(axis=0)
    wanted = 15.0 * np.mean([one.times[-1] for one in spikes[:32]])
    assert np.median(counts) == pytest.approx(wanted, rel=0.15)
    assert counts.min() > wanted / 2 and counts.max() < wanted * 2


def test_silent_units_wake_up() -> None:
    silent = {}
    for wake in (0.0, 1.0):
        model = new_model(hidden=16)
        with torch.no_grad():
            model.hidden.weight[:8] *= 0.1
        trainer = new_trainer(4, model, wake=wake)
        trainer.run()
        silent[wake] = trainer.history[-1]["silent"]
        assert not any(layer._forward_hooks for layer in spiking_layers(model))
    assert silent[1.0] <= 1 < 4 < silent[0.0]


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 0}, {"batch": 0}, {"seed": -1}, {"lr": -1.0}, {"delay_lr": float("nan")},
        {"lr_decay": 0.0}, {"lr_decay": 1.1}, {"wake": float("inf")},
        {"average": 1.0}, {"average": -0.1},
    ],
)  # fmt: skip
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        TrainOptions(**options)


def test_nothing_to_train_on() -> None:
    with pytest.raises(ValueError, match="validation part has no recordings"):
        Trainer(new_model(), TRAINING, VALIDATION[:0])
    with pytest.raises(ValueError, match="delay = 'somatic'"):
        delay_model(3, 2, 1, delay="somatic")


# Checkpoints


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    trainer = new_trainer(1)
    trainer.run()
    save_checkpoint(tmp_path / "c.pt", trainer.state())
    return tmp_path / "c.pt"


def test_a_truncated_checkpoint_is_refused(checkpoint: Path) -> None:
    whole = checkpoint.read_bytes()
    rng = random.Random(0)
    for cut in [0, 1, len(whole) - 1, *rng.sample(range(len(whole)), 60)]:
        checkpoint.write_bytes(whole[:cut])
        with pytest.raises(FileError, match="c.pt: "):
            load_checkpoint(checkpoint)


def test_other_files_are_no_checkpoints(tmp_path: Path) -> None:
    torch.save({"model": 1}, tmp_path / "other.pt")
    with pytest.raises(FileError, match="is no checkpoint of evsim"):
        load_checkpoint(tmp_path / "other.pt")
    torch.save(Path("code"), tmp_path / "code.pt")
    with pytest.raises(FileError, match="code.pt: can't be read"):
        load_checkpoint(tmp_path / "code.pt")
    with pytest.raises(FileError, match="No such file"):
        load_checkpoint(tmp_path / "none.pt")
    with pytest.raises(FileError, match="another version"):
        save_checkpoint(tmp_path / "c.pt", {"version": 2})
        load_checkpoint(tmp_path / "c.pt")


def test_the_checkpoint_of_another_model_is_refused(checkpoint: Path) -> None:
    state = load_checkpoint(checkpoint)
    with pytest.raises(ValueError, match="not one of this training"):
        new_trainer(1, new_model(hidden=9)).go_on_from(state)
    with pytest.raises(ValueError, match="not one of this training"):
        new_trainer(1).go_on_from({key: state[key] for key in state if key != "optimizer"})


@pytest.mark.parametrize(
    ("name", "value"),
    [("lr", 0.2), ("delay_lr", 1e-3), ("average", 0.5), ("seed", 4), ("wake", 0.0),
     ("lr_decay", 0.8), ("batch", 8), ("time_lr", 1e-3)],
)  # fmt: skip
def test_the_checkpoint_of_other_options_is_refused(
    name: str, value: float, checkpoint: Path
) -> None:
    state = load_checkpoint(checkpoint)
    usual = getattr(TrainOptions(), name)
    with pytest.raises(ValueError, match=f"options.{name} = {usual:g}, must be {value:g}"):
        new_trainer(1, **{name: value}).go_on_from(state)


def test_older_checkpoints_without_options_go_on(checkpoint: Path) -> None:
    state = load_checkpoint(checkpoint)
    assert "epochs" not in state.pop("options")
    trainer = new_trainer(2)
    trainer.go_on_from(state)
    trainer.run()
    assert len(trainer.history) == 2


def test_a_failed_write_leaves_the_checkpoint(checkpoint: Path) -> None:
    before = checkpoint.read_bytes()
    with pytest.raises(AttributeError):
        save_checkpoint(checkpoint, {"model": lambda: 0})
    assert checkpoint.read_bytes() == before
    assert [path.name for path in checkpoint.parent.iterdir()] == ["c.pt"]


def test_gradients_that_are_no_longer_finite_end_the_training() -> None:
    training, validation = (Coincidence(n, seed) for seed, n in enumerate((40, 20)))
    trainer = g.Trainer(delay_model(training.size, 4, 4), training, validation, callbacks=[])
    hidden = trainer.model.hidden
    hidden.weight.register_hook(lambda gradient: gradient * float("inf"))
    before = hidden.weight.detach().clone()
    with pytest.raises(ValueError, match="epoch 1: the training diverged"):
        trainer.run()
    assert torch.equal(hidden.weight, before)  # no step was taken


def test_a_penalty_moves_what_it_is_of_and_is_not_told_as_loss():
    def trained(penalty: Any) -> Trainer:
        method = replace(EXACT, penalty=penalty)
        options = TrainOptions(epochs=1)
        trainer = Trainer(new_model(), TRAINING, VALIDATION, options, None, [], method)
        trainer.run()
        return trainer

    free, pulled = trained(None), trained(lambda model: 1e6 * model.hidden.delay.square().sum())
    assert pulled.model.hidden.delay.sum() < 0.8 * free.model.hidden.delay.sum()
    assert pulled.history[0]["train_loss"] < 10
    rule = replace(EXACT, penalty=torch.sum, online=iter)
    with pytest.raises(ValueError, match="a penalty has no place"):
        Trainer(new_model(), TRAINING, VALIDATION, method=rule)
