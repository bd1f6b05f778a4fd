"""Data as presets take them: channels summed, three times as many recordings, pixels as values."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from damaged_runs import outcome, same
from in_process import run

import evsim
from evsim import FileError, Network, Spikes
from evsim import gradients as g
from evsim.commands.parts import inputs_of, open_parts
from evsim.commands.train_methods import fitted, with_defaults
from evsim.datasets import PixelMNIST, SequentialMNIST, SpikeFileData, Summed, Tripled, sum_channels
from evsim.datasets.tripling import blend_in_time, shift_each_channel
from evsim.gradients import dense, methods
from evsim.gradients.methods.by_bits import take_values
from evsim.train_options import TRIPLED, TrainSettings

MNIST = Path(__file__).parent / "data" / "mnist"
DT = 10e-3


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of 60 recordings of 700 channels, of two classes, in its folder."""
    rng, n = np.random.default_rng(0), 60
    parts = [
        (0.2 * rng.random(80), rng.integers(0, 350, 80) + 350 * (b % 2))
        for b in range(n)
    ]  # fmt: skip
    path = tmp_path_factory.mktemp("wide") / "spikes.h5"
    evsim.save_spikes(path, Spikes.from_recordings(parts, 700, 0.2, np.arange(n) % 2))
    return path


def some(n: int, seed: int, size: int = 3, n_spikes: int = 50) -> Spikes:
    rng = np.random.default_rng(seed)
    parts = [(0.8 * rng.random(n_spikes), rng.integers(0, size, n_spikes)) for _ in range(n)]
    return Spikes.from_recordings(parts, size, 1.0, np.arange(n) % 2)


def frames(spikes: Spikes) -> np.ndarray:
    return dense.to_raster(spikes, DT).numpy()


# Channels summed


def test_summed_data_are_the_data_with_channels_summed(wide: Path) -> None:
    data = SpikeFileData(wide)
    summed = Summed(data, 5)
    assert (summed.size, len(summed), summed.class_names) == (140, 60, data.class_names)
    assert summed[[7, 3]].spikes() == sum_channels(data[[7, 3]].spikes(), 5)
    parts = open_parts(str(wide))
    assert parts.summed(5).test.spikes() == sum_channels(parts.test.spikes(), 5)
    with pytest.raises(ValueError, match="factor = 0"):
        Summed(data, 0)


# Three times as many


def test_every_channel_is_shifted_by_whole_steps_of_its_own() -> None:
    spikes = some(2, seed=0)
    found = frames(shift_each_channel(spikes, 30, DT, np.random.default_rng(1)))
    late = np.random.default_rng(1).integers(-30, 30, (2, 3), endpoint=True)
    for b, before in enumerate(frames(spikes)):
        last = int(np.flatnonzero(before.sum(1)).max())  # where the recording ends
        for unit in range(3):
            wanted = np.zeros(100)
            for step in np.flatnonzero(before[:, unit]):
                if 0 <= step + late[b, unit] <= last:
                    wanted[step + late[b, unit]] = before[step, unit]
            np.testing.assert_array_equal(found[b, :, unit], wanted)
    gone = shift_each_channel(spikes, 100, DT, np.random.default_rng(3)).counts()
    assert (gone == 0).any(), "a channel may leave the recording"


def test_blended_recordings_meet_in_their_centres_and_are_thinned() -> None:
    early, late = some(1, 0, n_spikes=4000), some(1, 1, n_spikes=4000)
    late = late.replace(late.times / 2 + 0.59, late.units, late.offsets)
    both = blend_in_time(early, late, DT, np.random.default_rng(0))
    assert 3800 < len(both.times) < 4200
    assert both.duration == pytest.approx(1.2, abs=0.03) and (both.times < both.duration).all()
    assert both.times.mean() == pytest.approx(late.times.mean(), abs=DT)
    again = blend_in_time(late, early, DT, np.random.default_rng(0))
    assert again.duration == both.duration
    alone = blend_in_time(early, early, DT, np.random.default_rng(0))
    share = frames(alone).sum() / frames(early).sum()
    assert share == pytest.approx(1, abs=0.05) and alone.duration == 1.0
    empty = Spikes([], [], size=3, duration=1.0)
    assert not len(blend_in_time(empty, empty, DT, np.random.default_rng(0)).times)


def test_an_epoch_has_each_recording_in_three_ways(wide: Path) -> None:
    data = SpikeFileData(wide)[:20]
    more = Tripled(data, DT)
    epoch = list(more.batches(16, shuffle=True, seed=4))
    assert [len(batch) for batch in epoch] == [16, 16, 16, 12] and len(more) == 60
    labels = np.concatenate([batch.labels for batch in epoch])
    np.testing.assert_array_equal(np.bincount(labels), 3 * np.bincount(data.labels))
    assert list(more.batches(16, shuffle=True, seed=4)) == epoch
    assert list(more.batches(16, shuffle=True, seed=5)) != epoch
    (whole,) = more.batches(60)
    assert whole[:20] == data.spikes().replace(
        data.spikes().times, data.spikes().units, data.spikes().offsets, duration=whole.duration
    )
    # Of class k are channels of half k alone: partners are of the same class.
    for recording in whole[40:]:
        assert (recording.units // 350 == recording.labels[0]).all()
    with pytest.raises(ValueError, match="size = 0"):
        more.batches(0)
    with pytest.raises(ValueError, match="max_shift = -1"):
        Tripled(data, DT, -1)


def test_partners_are_others_and_all_of_them() -> None:
    from evsim.datasets.tripling import _partners

    labels, rng = np.array([0, 1, 0, 2, 0, 1]), np.random.default_rng(0)
    found = np.array([_partners(labels, np.arange(6), rng) for _ in range(60)])
    assert [set(column.tolist()) for column in found.T] == [{2, 4}, {5}, {0, 4}, {3}, {0, 2}, {1}]


def test_presets_with_an_augmentation_have_it_for_files_and_folders() -> None:
    assert tuple(n for n in methods.NAMES if methods.recipe(n).augmentation) == TRIPLED
    for words, triples, varies in (
        ({"preset": "delrec-shd"}, True, False),
        ({"preset": "delrec-shd", "augment": False}, False, False),
        ({"preset": "delrec-shd", "augment": True}, True, False),
        ({"preset": "conv-delrec-shd", "augment": True}, False, True),
        ({"method": "delrec", "augment": True}, False, True),
    ):
        s = TrainSettings("SHD.h5", **with_defaults(words))
        assert (s.triples, s.varies) == (triples, varies), words
    for name in ("digits", "ps-mnist:images"):
        assert not TrainSettings(name, **with_defaults({"preset": "delrec-shd"})).triples


# Pixels


def test_bits_tell_the_grey_values() -> None:
    data, coded = PixelMNIST(MNIST, "test"), SequentialMNIST(MNIST, "test", cue=0)
    np.testing.assert_array_equal(data.order, coded.order)
    grey = dense.to_raster(data.spikes(), 1e-3).double() @ torch.as_tensor(data.worth)
    np.testing.assert_allclose(grey.T, coded.grey_values()[..., 0], rtol=1e-6)
    assert (data.size, data.duration, data.worth.sum()) == (8, 0.784, 1.0)
    in_rows = PixelMNIST(MNIST, "test", permuted=False, dt=2e-3)
    assert in_rows.duration == pytest.approx(1.568) and in_rows.order[3] == 3
    with pytest.raises(ValueError, match="dt = 0"):
        PixelMNIST(MNIST, dt=0.0)


def test_a_network_takes_bits_as_it_takes_values() -> None:
    torch.manual_seed(0)
    data, sizes = PixelMNIST(MNIST, "test")[:3], (1, 6, 5, 4, 10)
    model = methods.build("delrec-psmnist", sizes, max_delay=0.1)
    with torch.no_grad():
        model.hidden1.weight.mul_(3)  # ends with silence otherwise
    grey = SequentialMNIST(MNIST, "test")[:3].grey_values().swapaxes(0, 1)
    wanted = model.eval()(torch.as_tensor(grey))
    n = sum(p.numel() for p in model.parameters())
    take_values(model.hidden1, data.worth)
    assert sum(p.numel() for p in model.parameters()) == n
    found = model(dense.to_raster(data.spikes(), 1e-3))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    net = Network.from_torch(model)
    assert net.populations["input"].size == 8
    (weight,) = (p.weight for p in net.projections.values() if p.pre == "input")
    free = model.hidden1.parametrizations.weight.original.detach().numpy()
    np.testing.assert_allclose(weight, free * data.worth, rtol=1e-6)
    with pytest.raises(ValueError, match="the layer has 2 inputs"):
        take_values(dense.LIF(2, 3, tau_mem=DT, dt=DT), data.worth)
    with pytest.raises(ValueError, match="delay = 'synaptic': the layer's input can't be late"):
        take_values(dense.LIF(1, 3, tau_mem=DT, dt=DT, delay="synaptic"), data.worth)


# The command


def test_a_preset_takes_the_data_as_published(wide: Path, tmp_path: Path) -> None:
    few = ("--preset", "delrec-shd", "--hidden", 4, 4, "--epochs", 1)
    done = run(tmp_path, "train", wide, "-o", "run", *few)
    assert done.returncode == 0, done.stderr
    assert "38 recordings to train, 10 to validate, 12 to test; 140 units" in done.stdout
    assert "5 neighbouring channels are summed: 700 make 140 inputs" in done.stdout
    assert "an epoch has 114 recordings: as they are, shifted, blended" in done.stdout
    assert json.loads((tmp_path / "run" / "options.json").read_text())["validation"] == 0.2
    assert evsim.load_spikes(tmp_path / "run" / "test.h5").size == 140
    told = run(tmp_path, "simulate", "run/network.h5", "run/test.h5", "-o", "out.h5")
    assert told.returncode == 0 and "of 12)" in told.stdout, told.stderr

    more = ("--no-augment", "--validation", 0.5, "--recordings", 20)
    done = run(tmp_path, "train", wide, "-o", "plain", *few, *more)
    assert "10 recordings to train, 10 to validate, 12 to test" in done.stdout
    assert "shifted" not in done.stdout


def test_data_of_another_size_are_left_as_they_are(tmp_path: Path) -> None:
    evsim.save_spikes(tmp_path / "spikes.h5", some(20, 0))
    few = ("--preset", "conv-delrec-ssc", "--hidden", 3, 3, 3, "--epochs", 1)
    done = run(tmp_path, "train", "spikes.h5", "-o", "run", *few)
    assert "conv-delrec-ssc has 140 inputs as published, here the 3 of the data" in done.stdout
    assert Network.load(tmp_path / "run" / "network.h5").populations["input"].size == 3


@pytest.mark.parametrize("name", ["delrec-shd", "delrec-psmnist"])
def test_an_interrupted_preset_ends_with_the_same_bits(
    name: str, wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = {"delrec-shd": (4, 4), "delrec-psmnist": (4, 3, 3)}[name]
    shutil.copytree(MNIST, tmp_path / "images")
    shutil.copy(wide, tmp_path / "spikes.h5")
    data = "spikes.h5" if name == "delrec-shd" else "ps-mnist:images"
    words = ("train", data, "--preset", name, "--hidden", *hidden, "--batch", 10, "--epochs", 2)
    words = (*words, "--max-delay", 0.03, "--recordings", 20, "--validation", 0.3)
    whole = run(tmp_path, *words, "-o", "whole")
    assert whole.returncode == 0, whole.stderr

    step, steps = g.Trainer._step, []

    def interrupted(self: g.Trainer, batch: Spikes) -> tuple[float, int, int]:
        steps.append(batch)
        if len(steps) == self.n_batches + 2:  # amid the second epoch
            raise KeyboardInterrupt
        return step(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(g.Trainer, "_step", interrupted)
        assert run(tmp_path, *words, "-o", "part").returncode == 130
    done = run(tmp_path, "train", data, "-o", "part", "--resume")
    assert done.returncode == 0, done.stderr
    assert same(outcome(tmp_path / "part"), outcome(tmp_path / "whole"))
    files = [(tmp_path / folder / "network.h5").read_bytes() for folder in ("part", "whole")]
    assert files[0] == files[1]
    if name == "delrec-psmnist":
        assert "a pixel is one input; its 8 bits are a spike each" in whole.stdout
        found = run(tmp_path, "simulate", "whole/network.h5", "whole/test.h5", "-o", "out.h5")
        assert found.returncode == 0 and "readout: accuracy" in found.stdout, found.stderr


def test_synapses_with_delays_of_their_own_take_bits_as_units(tmp_path: Path) -> None:
    few = ("--recordings", 20, "--validation", 0.3, "--hidden", 3, "--epochs", 1)
    done = run(tmp_path, "train", f"ps-mnist:{MNIST}", "-o", "run", "--method", "dcls", *few)
    assert done.returncode == 0 and "a pixel is one input" not in done.stdout, done.stderr
    net = Network.load(tmp_path / "run" / "network.h5")
    (first,) = (p for p in net.projections.values() if p.pre == "input")
    assert np.shape(first.delay) == (3, 8)


def test_pixels_that_share_a_step_are_told() -> None:
    parts = open_parts(f"ps-mnist:{MNIST}", validation=0.5)
    told = {}
    for dt in (1e-3, 10e-3):
        asked = with_defaults({"dataset": "ps-mnist:", "preset": "delrec-psmnist", "dt": dt})
        told[dt] = " ".join(fitted(TrainSettings(**asked), parts)[1])
    assert "at once" not in told[1e-3]
    assert "a step of 0.01 s takes 10 pixels at once, their values added: --dt 0.001" in told[10e-3]


def test_pixels_are_refused_where_they_are_not(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no/such"):
        open_parts("ps-mnist:no/such")
    with pytest.raises(ValueError, match="does not tell who wrote"):
        open_parts("ps-mnist:images", "3")
    with pytest.raises(FileError, match="nor one of digits, gsc10, yin-yang, coincidence, ps-"):
        open_parts("ps-mnist")
    assert MNIST in inputs_of(f"ps-mnist:{MNIST}")


@pytest.mark.parametrize("seed", [None, -1, 1.5])
def test_an_order_of_pixels_has_a_whole_number(seed: object) -> None:
    # without one, the parts to train and to test with would have orders of their own
    with pytest.raises(ValueError, match="seed = .*, must be an integer >= 0"):
        PixelMNIST(MNIST, seed=seed)  # type: ignore[arg-type]


def test_a_few_recordings_are_drawn_from_all(tmp_path: Path) -> None:
    trains = [([0.01], [0]) for _ in range(80)]
    sorted_by_class = Spikes.from_recordings(trains, 1, 0.1, np.arange(80) // 20)
    evsim.save_spikes(tmp_path / "spikes.h5", sorted_by_class)
    parts = open_parts(str(tmp_path / "spikes.h5"), recordings=20)
    assert (len(parts.train) + len(parts.validation), len(parts.test)) == (20, 16)
    assert len(np.unique(parts.train.labels)) == 4
