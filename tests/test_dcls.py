"""DCLS, delays of synapses through bells, ``delays="gaussian"``: its network and its training."""

from __future__ import annotations

import copy
import json
from math import exp, pi
from pathlib import Path

import numpy as np
import pytest
import torch
from damaged_runs import outcome, same
from in_process import interrupted_after, run
from small_files import two_classes
from torch import nn

from evsim import Network
from evsim.commands.train_methods import with_defaults
from evsim.gradients import dense, methods
from evsim.gradients.delays import keep_delays
from evsim.gradients.methods import dcls
from evsim.gradients.methods.by_values import valued, width_in
from evsim.train_options import TrainSettings

DT, TAU = 1e-3, 3e-3
N_IN, N, N_TAPS = 4, 6, 10
F64 = torch.float64


def raster(seed=0, n_steps=25, rate=0.3, dtype=F64):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(3, n_steps, N_IN, generator=generator) < rate).to(dtype)


def made(kind=dense.LIF, sigma=1.4, delay="synaptic", delays="gaussian", **options):
    torch.manual_seed(0)
    layer = kind(N_IN, N, TAU, delay=delay, max_delay=(N_TAPS - 1) * DT, dt=DT, delays=delays,
                 dtype=F64, **options)  # fmt: skip
    if delays == "gaussian":
        layer.sigma = sigma
    with torch.no_grad():
        layer.weight.mul_(2)
    return layer


# Taps


def test_dcls_taps_by_hand():
    for delay, sigma, n_taps in ((3.4, 1.0, 8), (0.0, 0.23, 5), (6.0, 4.0, 7), (2.5, 0.0, 6)):
        heights = [exp(-(((k - delay) / (sigma + 0.27)) ** 2) / 2) for k in range(n_taps)]
        taps = dcls.gaussian(torch.tensor(delay, dtype=F64), sigma, n_taps)
        np.testing.assert_allclose(taps, np.array(heights) / sum(heights), rtol=0, atol=1e-12)
    even = dcls.gaussian(torch.tensor(2.5, dtype=F64), 0.0, 6)
    np.testing.assert_allclose(even[2:4], 0.5, atol=1e-5)  # half way, as interpolation has it


def test_dcls_taps_have_sum_1_any_shape_and_gradients():
    delay, sigma = 9 * torch.rand(3, 4, dtype=F64), 12 * torch.rand(4, dtype=F64)
    taps = dcls.gaussian(delay, sigma, 10)
    assert taps.shape == (3, 4, 10)
    torch.testing.assert_close(taps.sum(-1), torch.ones(3, 4, dtype=F64), rtol=0, atol=1e-15)
    for i, j in np.ndindex(3, 4):
        one = dcls.gaussian(delay[i, j], float(sigma[j]), 10)
        torch.testing.assert_close(taps[i, j], one, rtol=0, atol=1e-15)
    for tensor in (delay, sigma):
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(lambda d, s: dcls.gaussian(d, s, 10), (delay, sigma))
    far = torch.tensor([30.0, 0.0], requires_grad=True)  # in float32 all heights would be 0
    shares = dcls.gaussian(far, 0.0, 4)
    assert shares.tolist()[0] == [0, 0, 0, 1] and dcls.gaussian(2, 1, 5).dtype == torch.float32
    shares.square().sum().backward()
    assert far.grad.isfinite().all()


def test_dcls_widths_narrow_for_a_quarter_of_the_training():
    sigma = 12.0
    for epoch in range(160):
        assert dcls.sigma(epoch, 160, 12.0) == pytest.approx(sigma, rel=1e-12)
        sigma = sigma * (0.23 / 12) ** (1 / 40) if epoch < 40 else 0.23
    assert dcls.sigma(149, 150, 12.0) == dcls.sigma(38, 150, 12.0) == 0.23
    assert dcls.sigma(0, 1, 5.0) == 5.0 and dcls.sigma(1, 2, 5.0, end=1.0) == 1.0


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda: dcls.gaussian(-1.0, 1.0, 3), "delay = -1, must be finite and >= 0 [steps]"),
        (lambda: dcls.gaussian(torch.tensor([1, torch.nan]), 1.0, 3), "delay[1] = nan, must be"),
        (lambda: dcls.gaussian(1.0, -0.5, 3), "sigma = -0.5, must be finite and >= 0 [steps]"),
        (lambda: dcls.gaussian(1.0, 1.0, 0), "n_taps = 0, must be at least 1"),
        (lambda: dcls.sigma(-1, 10, 12.0), "epoch = -1 of epochs = 10, must be"),
        (lambda: dcls.sigma(1, 10, 0.0), "start = 0.0, must be finite and > 0"),
        (lambda: dcls.sigma(1, 10, 1.0, -1.0), "end = -1.0, must be finite and > 0"),
        (lambda: made(recurrent="dense"), "leave recurrent = 'dense' out, or take delays='spread'"),
        (lambda: made(sigma=-1.0)(raster()), "sigma = -1.0, must be finite and >= 0 [steps]"),
        (lambda: made(learn_spread=True), "learn_spread = True, but there is nothing to spread"),
        (lambda: dense.LI(2, 2, TAU, dt=DT, delays="bell"), "'spread' or 'gaussian'"),
    ],
)
def test_dcls_refuses_what_can_not_be(call, what):
    with pytest.raises(ValueError) as error:
        call()
    assert what in str(error.value)


# Layers


def shares(delay, sigma):
    """Return the shares [..., tap] of delays in steps, normalised over the whole kernel."""
    lag = torch.arange(N_TAPS, dtype=F64)
    heights = torch.exp(-0.5 * ((lag - delay[..., None]) / (sigma + 0.27)) ** 2)
    return heights / heights.sum(-1, keepdim=True)


def unrolled(layer, spikes):
    """Return spikes and voltages of LIF units or a readout, every arrival written out."""
    late = layer.delay / DT
    late = {"axonal": late[None], "dendritic": late[:, None]}.get(layer.delay_kind, late)
    taps = shares(late.expand(N, N_IN), layer.sigma)
    decay, u = torch.exp(torch.tensor(-DT / TAU, dtype=F64)), torch.zeros(len(spikes), N, dtype=F64)
    fired, voltages = [], []
    for n in range(spikes.shape[1]):
        u = u * decay
        for lag in range(min(n + 1, N_TAPS)):
            u = u + spikes[:, n - lag] @ (layer.weight * taps[..., lag]).T
        if isinstance(layer, dense.LIF):
            soft = torch.atan(pi * (u - 1)) / pi
            fired.append((u >= 1).to(F64) + soft - soft.detach())
            u = u * (1 - fired[-1].detach())
        voltages.append(u)
    return (torch.stack(fired, 1) if fired else None), torch.stack(voltages, 1)


def gradients(layer, fired, voltages):
    layer.zero_grad()
    weights = torch.randn(2, *voltages.shape, generator=torch.Generator().manual_seed(9), dtype=F64)
    loss = (voltages * weights[0]).sum()
    (loss if fired is None else loss + (fired * weights[1]).sum()).backward()
    return {name: p.grad.clone() for name, p in layer.named_parameters()}


@pytest.mark.parametrize("kernel", ["convolved", "row after row"])
@pytest.mark.parametrize("delay", ["synaptic", "axonal", "dendritic"])
@pytest.mark.parametrize("kind", [dense.LIF, dense.LI])
def test_dcls_layers_are_a_loop_written_out(kind, delay, kernel, monkeypatch):
    if kernel != "convolved":
        monkeypatch.setattr("evsim.gradients.dense.delays._LONGEST_KERNEL", 3)
    layer = made(kind, delay=delay)
    for spikes in (raster(), raster(n_steps=5)):  # shorter than the kernel, which stays as it is
        found = layer.run(spikes) if kind is dense.LIF else (None, layer.voltage(spikes))
        expected = unrolled(layer, spikes)
        torch.testing.assert_close(found[1], expected[1], rtol=0, atol=1e-12)
        if kind is dense.LIF:
            assert torch.equal(found[0], expected[0].detach().round())
            assert found[0].sum() > 5 or spikes.shape[1] == 5
        exact = gradients(layer, *expected)
        for name, value in gradients(layer, *found).items():
            scale = exact[name].abs().max().item()
            assert scale > 0
            torch.testing.assert_close(value, exact[name], rtol=0, atol=1e-10 * scale)


def test_dcls_delays_of_units_and_their_kernel():
    shift = dense.Delay(1, max_delay=0.07, dtype=F64, dt=0.01, delays="gaussian")  # 7.000...1 steps
    assert shift.sigma == 10.0 and "delays='gaussian', sigma=10" in repr(shift)
    shift.sigma = 1.0
    nn.init.constant_(shift.delay, 0.034)
    spike = torch.zeros(1, 10, 1, dtype=F64)
    spike[0, 0] = 1.0
    expected = [*dcls.gaussian(torch.tensor(3.4, dtype=F64), 1.0, 8).tolist(), 0, 0]
    np.testing.assert_allclose(shift(spike)[0, :, 0].detach(), expected, rtol=0, atol=1e-12)
    shift.eval()
    assert shift(spike)[0, :, 0].tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    with pytest.warns(UserWarning, match="the limit is 0.09"):  # and the kernel is longer then
        nn.init.constant_(shift.train().delay, 0.09)
        assert shift(spike)[0, 9, 0] > 0.2


def test_dcls_some_of_the_bells_and_their_first_steps():
    bells = made().steps(made().tensors(), "", 0)[1]
    assert torch.equal(bells.of(2).taps(4, F64), bells.taps(N_TAPS, F64)[2, :, :4])


@pytest.mark.parametrize("delay", ["synaptic", "axonal", "dendritic"])
def test_dcls_delays_are_rounded_after_the_training_and_left_alone(delay):
    layer, rounded = made(delay=delay).eval(), made(delay=delay, delays="round")
    before = copy.deepcopy(layer.state_dict())
    assert torch.equal(layer.voltage(raster()), rounded.voltage(raster()))
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    layer.train()
    assert not torch.equal(layer.voltage(raster()), rounded.voltage(raster()))


def test_dcls_soft_resets_count_arrivals():
    soft, hard = made(reset_mode="soft", threshold=1e3), made(threshold=1e3)
    torch.testing.assert_close(soft.voltage(raster()), hard.voltage(raster()), rtol=0, atol=1e-12)
    assert made(reset_mode="soft")(raster()).sum() > 20


# The network


def test_the_network_of_dcls_and_its_settings():
    assert methods.RIVALS == ("dcls-shd",) and not set(methods.RIVALS) & set(methods.NAMES)
    torch.manual_seed(0)
    model, recipe = methods.build("dcls-shd"), methods.recipe("dcls-shd")
    assert sum(p.numel() for p in model.parameters()) == 2 * 106_496 + 1024
    for layer in model:
        assert (layer.delays, layer.sigma, layer.max_delay) == ("gaussian", 12.0, 0.24)
        assert float(layer.tau_mem) == pytest.approx(-10e-3 / np.log(1 - 1 / 1.005))
        bound = (6 / layer.in_features) ** 0.5
        assert 0.99 * bound < layer.weight.abs().max() <= bound
        late = layer.delay.detach() / 10e-3
        assert late.min() < 0.1 and late.max() <= 24.001
        assert 0.03 < (late > 23.999).float().mean() < 0.05  # one in 25
        assert late[late < 23.999].mean() == pytest.approx(12, abs=0.3)
    for layer in (model.hidden1, model.hidden2):
        assert layer.batch_norm and layer.dropout == 0.4 and layer.reset_mode == "hard"
        assert layer.recurrent is None and layer.detach_reset
    assert (recipe.optimiser, recipe.lr, recipe.weight_decay) == ("Adam", 5e-3, 1e-5)
    assert recipe.delay_lr / recipe.dt == pytest.approx(0.1)
    assert (recipe.schedule, recipe.delay_schedule) == ("OneCycleLR", "CosineAnnealingLR")
    assert (recipe.epochs, recipe.batch, recipe.validation) == (150, 256, 0.0)
    decays = [group["weight_decay"] for group in recipe.optimizer(model).param_groups]
    assert decays == [1e-5, 0, 0]
    assert any("no biases" in note for note in recipe.notes)
    shorter = methods.build("dcls-shd", (3, 2, 2), dt=5e-3)
    assert [layer.max_delay for layer in shorter] == [0.12, 0.12]
    with torch.device("meta"):
        assert methods.build("dcls-shd").readout.delay.is_meta


def test_widths_of_dcls_and_delrec_in_a_training():
    _, recipe = valued("dcls-shd", (3, 4, 2), 10e-3, 0.1, 0.7)
    assert recipe.sigma == pytest.approx(5.0)  # half the longest delay
    assert [width_in(recipe, epoch, 40) for epoch in (0, 10, 39)] == [recipe.sigma, 0.23, 0.23]
    assert width_in(methods.recipe("delrec-shd"), 0, 40) == 10.0
    assert width_in(methods.recipe("axonal-shd"), 0, 40) is None


def test_what_dcls_learnt_is_a_network():
    """Rounded delays of the exported network are those of ``eval()``, so spikes are the same."""
    torch.manual_seed(0)
    model = methods.build("dcls-shd", (N_IN, 12, 9, 2), max_delay=0.1).double().eval()
    for layer in (model.hidden1, model.hidden2):  # as after some batches
        nn.init.uniform_(layer.norm.running_var, 0.5, 2.0)
        nn.init.uniform_(layer.norm.weight, 1.5, 3.0)
    keep_delays(model)  # 0.1 s are a little more in float32
    net = Network.from_torch(model)
    again = dense.from_network(net, 10e-3, delays="round")
    _, middle, _ = net.projections.values()
    assert torch.equal(torch.from_numpy(middle.delay), model.hidden2.delay)  # not rounded
    spikes, other = raster(rate=0.4), raster(rate=0.4)
    for name in ("hidden1", "hidden2"):
        spikes, other = getattr(model, name)(spikes), getattr(again, name)(other)
        assert spikes.sum() > 20 and torch.equal(spikes, other)
    voltage = again.readout.voltage(other)
    torch.testing.assert_close(methods.delrec.votes(voltage), model(raster(rate=0.4)))


# The command

SMALL = ("--hidden", 6, "--batch", 30, "--lr", 0.05, "--max-delay", 0.05, "--epochs", 4)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("data"), 150, 40, 0.3)


def test_dcls_trains_and_goes_on_to_the_same_bits(recordings: Path, tmp_path: Path) -> None:
    words = ("train", recordings, "--method", "dcls", *SMALL)
    done = run(tmp_path, *words, "-o", "whole")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "decisions by events" in done.stdout
    rows = np.genfromtxt(tmp_path / "whole" / "log.csv", delimiter=",", names=True)
    assert rows["validation_accuracy"].max() > 0.7, done.stdout
    first, last = (Network.load(tmp_path / "whole" / name) for name in ("initial.h5", "network.h5"))
    for before, after in zip(first.projections.values(), last.projections.values(), strict=True):
        assert np.abs(np.asarray(after.delay) - np.asarray(before.delay)).max() > 1e-3

    with interrupted_after(1):
        assert run(tmp_path, *words, "-o", "part").returncode == 130
    done = run(tmp_path, "train", recordings, "-o", "part", "--resume")
    assert done.returncode == 0, done.stderr
    assert same(outcome(tmp_path / "part"), outcome(tmp_path / "whole"))


def test_delays_of_dcls_may_be_kept(recordings: Path, tmp_path: Path) -> None:
    words = ("train", recordings, "-o", "run", "--method", "dcls", "--recurrent", "none", *SMALL)
    done = run(tmp_path, *words, "--no-learn-delays", "--epochs", 1, "-q")
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "run" / "options.json").read_text())
    assert (told["delay"], told["learn_delays"]) == ("synaptic", False)
    first, last = (Network.load(tmp_path / "run" / name) for name in ("initial.h5", "network.h5"))
    for before, after in zip(first.projections.values(), last.projections.values(), strict=True):
        np.testing.assert_array_equal(after.delay, before.delay)
        assert np.asarray(before.delay).max() > 0.04


def test_less_than_published_are_sizes_epochs_and_batches() -> None:
    quick = with_defaults({"method": "dcls"})
    assert (quick["epochs"], quick["batch"], quick["hidden"]) == (30, 64, (64, 64))
    settings = TrainSettings("SHD", **quick)
    assert (settings.longest_delay(1.4), settings.lr, settings.waits) == (0.24, 5e-3, 0)
    assert with_defaults({"method": "dcls", "dt": 5e-3})["max_delay"] == pytest.approx(0.12)
    with pytest.raises(ValueError, match="recurrent = dense, but dcls knows recurrent = none"):
        TrainSettings("SHD", **with_defaults({"method": "dcls", "recurrent": "dense"}))
