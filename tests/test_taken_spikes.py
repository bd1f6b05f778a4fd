"""What is handed to layers, losses, runs and files as spikes: sound, or one line that helps."""

import copy
import dataclasses
import pickle
import re

import numpy as np
import pytest
import torch
from in_process import run
from torch import nn

import evsim
from evsim import Spikes
from evsim import gradients as g
from evsim.datasets import (
    Dataset,
    add_noise,
    bin_spikes,
    blend,
    delete_spikes,
    jitter_times,
    plot_frames,
    scale_times,
    shift_channels,
    shift_pixels,
    shift_times,
    sum_channels,
)
from evsim.gradients import dense
from evsim.gradients.cross_check import cross_check
from evsim.gradients.reference import compare_gradients, reference_run
from evsim.plots import plot_spikes
from evsim.taken_spikes import as_spikes

CELLS = {"tau_mem": 0.02, "tau_syn": 0.005}
SIZE, DURATION = 3, 0.1
LAYERS = {
    "CubaLIF": lambda: g.CubaLIF(SIZE, 4, **CELLS, delay="axonal", recurrent="dense"),
    "SRM": lambda: g.SRM(SIZE, 4, 0.008, recurrent="conv"),
    "CubaLI": lambda: g.CubaLI(SIZE, 4, **CELLS, delay="synaptic"),
    "LI": lambda: g.LI(SIZE, 4, 0.02),
    "Delay": lambda: g.Delay(SIZE),
}


def sound():
    return Spikes([0.03, 0.01, 0.02, 0.05], [0, 1, 2, 0], [0, 3, 4], SIZE, DURATION, [1, 0])


def network():
    cells = evsim.Population("out", "LIF", 2, tau_mem=0.02)
    into = evsim.Dense(pre="in", post="out", weight=np.ones((2, SIZE)))
    return evsim.Network([evsim.Population("in", "Input", SIZE), cells], [into])


def checked():
    """A network that dense layers can say."""
    return evsim.Network.from_torch(model())


def peak_voltage(spikes):
    layer = LAYERS["CubaLIF"]()
    return layer.peak_voltage(spikes, layer(sound()))


TAKERS = {
    **{name: lambda s, make=make: make()(s) for name, make in LAYERS.items()},
    "peak_voltage": peak_voltage,
    "first_spikes": g.first_spikes,
    "FirstSpikeCrossEntropy": lambda s: g.FirstSpikeCrossEntropy(0.01)(s, [0, 1]),
    "TargetTime": lambda s: g.TargetTime(torch.ones(2, SIZE))(s, [0, 1]),
    "RelativeTime": lambda s: g.RelativeTime(0.01)(s, [0, 1]),
    "spike_counts": g.spike_counts,
    "spike_count_regulariser": lambda s: g.spike_count_regulariser(s, 1.0),
    "to_raster": lambda s: dense.to_raster(s, 1e-3),
    "simulate": lambda s: evsim.simulate(network(), s),
    "reference": lambda s: evsim.simulate(network(), s, engine="reference"),
    "save_spikes": lambda s: evsim.save_spikes("never.h5", s),
    "bin_spikes": lambda s: bin_spikes(s, 1e-3),
    "fit_weights": lambda s: g.fit_weights(model(), s),
    "score": lambda s: g.score(model(), s),
    "plot_spikes": plot_spikes,
    "plot_frames": lambda s: plot_frames(s, (1, 1, SIZE)),
    "cross_check": lambda s: cross_check(checked(), s, [1e-3]),
    "reference_run": lambda s: reference_run(model(), s, 1e-3),
    "compare_gradients": lambda s: compare_gradients(model(), s, torch.sum, [1e-3]),
    "sum_channels": lambda s: sum_channels(s, 2),
    "shift_times": lambda s: shift_times(s, 0.01, 0),
    "shift_channels": lambda s: shift_channels(s, 1, 0),
    "shift_pixels": lambda s: shift_pixels(s, 1, 0, width=SIZE),
    "scale_times": lambda s: scale_times(s, 0.9, 1.0, 0),
    "jitter_times": lambda s: jitter_times(s, 1e-3, 0),
    "delete_spikes": lambda s: delete_spikes(s, 0.5, 0),
    "add_noise": lambda s: add_noise(s, 1.0, 0),
    "blend": lambda s: blend(s, 0, 0),
}


def broken(what, kind):
    """Spikes of arrays or tensors, one of whose values can't be."""
    spikes = sound()
    times, units, offsets = spikes.times.copy(), spikes.units.copy(), spikes.offsets.copy()
    if what in ("unit -1", "unit 3", "unit 2**62"):
        units[3] = {"-1": -1, "3": 3, "2**62": 2**62}[what.removeprefix("unit ")]
    elif what.startswith("offsets"):
        offsets[:] = {"offsets back": [0, 5, 4], "offsets end": [0, 3, 9]}[what]
    else:
        times[3] = float(what)
    spikes = spikes.replace(times, units, offsets)
    return spikes.torch() if kind == "tensors" else spikes


WORDS = {
    "nan": "recording 1, index 0: time nan s; times must be finite and not negative",
    "inf": "recording 1, index 0: time inf s; times must be finite and not negative",
    "-inf": "recording 1, index 0: time -inf s; times must be finite and not negative",
    "-0.01": "recording 1, index 0: time -0.01 s; times must be finite and not negative",
    "unit -1": "recording 1, index 0: unit -1 is outside the population of size 3",
    "unit 3": "recording 1, index 0: unit 3 is outside the population of size 3",
    "unit 2**62": f"recording 1, index 0: unit {2**62} is outside the population of size 3",
    "offsets back": "recording 1: offsets[2] = 4 is before offsets[1] = 5; offsets must not",
    "offsets end": "recording 1: offsets[2] = 9 does not match the 4 spikes",
}


@pytest.mark.parametrize("kind", ["arrays", "tensors"])
@pytest.mark.parametrize("what", WORDS)
@pytest.mark.parametrize("taker", TAKERS)
def test_what_can_not_be_is_refused_in_the_words_of_arrays(taker, what, kind):
    spikes = broken(what, kind)
    with pytest.raises(ValueError, match=re.escape(f"spikes: {WORDS[what]}")):
        TAKERS[taker](spikes)


@pytest.mark.parametrize("what", WORDS)
def test_the_words_are_those_of_arrays(what):
    spikes = broken(what, "arrays")
    with pytest.raises(ValueError, match=re.escape(f"spikes: {WORDS[what]}")):
        Spikes(spikes.times, spikes.units, spikes.offsets, SIZE, DURATION)


def test_spikes_that_a_layer_returned_are_looked_at_too():
    layer, spikes = LAYERS["CubaLIF"](), sound()
    with pytest.raises(ValueError, match="recording 1, index 0: time nan s"):
        layer.peak_voltage(spikes, broken("nan", "tensors"))


@pytest.mark.parametrize("name", LAYERS)
def test_types_of_tensors_do_not_matter(name):
    torch.manual_seed(0)
    layer, spikes = LAYERS[name](), sound().torch()
    times = spikes.times.float().double()
    given = spikes.replace(times.float(), spikes.units.int(), spikes.offsets.int())
    found, expected = layer(given), layer(spikes.replace(times, spikes.units, spikes.offsets))
    found, expected = (a if torch.is_tensor(a) else a.times for a in (found, expected))
    assert torch.equal(found, expected)


def test_lists_in_place_of_arrays_will_do():
    spikes = sound()
    given = spikes.replace(*(a.tolist() for a in (spikes.times, spikes.units, spikes.offsets)))
    layer = LAYERS["CubaLIF"]()
    assert torch.equal(layer(given).times, layer(spikes).times)
    np.testing.assert_array_equal(dense.to_raster(given, 1e-3), dense.to_raster(spikes, 1e-3))


def test_arrays_out_of_order_are_sorted_before_a_run():
    spikes = sound()
    order = [2, 0, 1, 3]
    mixed = spikes.replace(spikes.times[order], spikes.units[order], spikes.offsets)
    for engine in ("compiled", "reference"):
        found = evsim.simulate(network(), mixed, engine=engine).spikes["out"]
        expected = evsim.simulate(network(), spikes, engine=engine).spikes["out"]
        assert len(expected.times)
        np.testing.assert_array_equal(found.times, expected.times)


@pytest.mark.parametrize("at", [np.nan, -0.01, 0.2])
def test_a_sample_time_outside_the_recording_is_refused(at):
    with pytest.raises(ValueError, match=f"at: {at} s is outside the recording"):
        g.LI(SIZE, 2, 0.02, at=[0.05, at])(sound())


# --- parameters ---


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["weight", "recurrent_weight", "delay", "recurrent_delay"])
@pytest.mark.parametrize("kind", [g.CubaLIF, g.SRM, g.CubaLI, g.LI])
def test_weights_and_delays_that_are_no_numbers_are_named(kind, name, value):
    options = {"recurrent": "conv"} if name == "recurrent_weight" else {"recurrent": "dense"}
    if kind in (g.CubaLI, g.LI):
        if name.startswith("recurrent"):
            return
        options = {}
    elif name == "recurrent_delay":
        options["recurrent_delay"] = "synaptic"
    cells = {g.SRM: (0.008,), g.LI: (0.02,)}.get(kind, (0.02, 0.005))
    layer = kind(SIZE, 4, *cells, delay="synaptic", **options)
    with torch.no_grad():
        last = getattr(layer, name)
        last[tuple(n - 1 for n in last.shape)] = value
    at = ", ".join(str(n - 1) for n in last.shape)
    with pytest.raises(ValueError, match=rf"^{kind.__name__}: {name}\[{at}\] = {value}, must be "):
        layer(sound())


@pytest.mark.parametrize("name", ["tau_mem", "tau_syn", "threshold", "reset", "v_leak"])
def test_parameters_of_neurons_that_are_no_numbers_are_named(name):
    layer = g.CubaLIF(SIZE, 4, **CELLS, learn=name)
    nn.init.constant_(getattr(layer, name), np.nan)
    with pytest.raises(ValueError, match=rf"{name}\[0\] = nan, must be finite"):
        layer(sound())


@pytest.mark.parametrize("kind", [g.CubaLIF, g.CubaLI])
def test_parameters_of_neurons_are_looked_at_when_a_layer_is_made(kind):
    with pytest.raises(ValueError, match=rf"'{kind.__name__}': tau_mem\[1\] = nan, must be finite"):
        kind(SIZE, 2, tau_mem=[0.02, np.nan], tau_syn=0.005)


@pytest.mark.parametrize("delay", [np.nan, np.inf, -0.001])
def test_a_fixed_delay_of_a_loop_is_looked_at(delay):
    with pytest.raises(ValueError, match=rf"recurrent_delay = {delay}, must be finite and >= 0"):
        g.CubaLIF(SIZE, 4, **CELLS, recurrent="dense", recurrent_delay=delay)


def test_one_bad_loss_ends_in_a_message():
    torch.manual_seed(0)
    net = nn.Sequential(g.Delay(SIZE), g.CubaLI(SIZE, 3, **CELLS))
    optimizer = torch.optim.Adam(net[0].parameters(), 1e-3)
    (net(sound()).sum() * float("nan")).backward()
    optimizer.step()
    with pytest.raises(ValueError, match=r"Delay: delay\[0\] = nan, must be finite"):
        net(sound())


# --- other kinds ---


class Recordings(Dataset):
    """A data set that holds `sound`."""

    def __init__(self):
        super().__init__([1, 0], SIZE, DURATION, ["a", "b"])

    def _read(self, recordings):
        return sound()[recordings]


TAKEN = {
    "arrays": sound,
    "tensors": lambda: sound().torch(),
    "data set": Recordings,
    "slice of a data set": lambda: Recordings()[:2],
    "list of recordings": lambda: list(sound()),
    "tuple of tensors": lambda: tuple(sound().torch()),
    "list of samples": lambda: list(Recordings()),
    "batch and labels": lambda: (sound(), torch.tensor([1, 0])),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_the_door_takes_what_holds_recordings(kind):
    found = as_spikes(TAKEN[kind](), "a taker")
    assert found == sound()
    assert torch.is_tensor(found.times) == ("tensors" in kind)


def plain(result):
    """What a taker returned, or wrote, as something that can be compared; figures can't."""
    if isinstance(result, evsim.Result):
        return result.spikes
    if torch.is_tensor(result):
        return result.tolist()
    if isinstance(result, np.ndarray):
        return result.tolist()
    return result if isinstance(result, (Spikes, g.training.trainer.Score)) else None


# Of the last: what the layer returned is looked at, too.
@pytest.mark.parametrize("taker", sorted(set(TAKERS) - {"peak_voltage"}))
def test_every_taker_takes_a_data_set_and_a_list_of_recordings(taker, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = []
    for kind in ("arrays", "data set", "list of recordings"):
        torch.manual_seed(0)
        result = plain(TAKERS[taker](TAKEN[kind]()))
        for path in tmp_path.iterdir():
            result = evsim.load_spikes(path)
            path.unlink()
        results.append(result)
    assert results[0] == results[1] == results[2]


def test_one_sample_is_one_recording_with_its_label():
    found = as_spikes(Recordings()[1], "a taker")
    assert found == sound()[1] and found.labels.tolist() == [0]
    with pytest.raises(ValueError, match="spikes: 3 labels for 2 recordings"):
        as_spikes((sound(), np.arange(3)), "a taker")


KINDS = {
    "raster": (lambda: torch.zeros(4, 2, SIZE), r"Tensor of shape \[4, 2, 3\]; "),
    "array": (lambda: np.zeros((4, 5)), r"ndarray of shape \[4, 5\]; "),
    "loader": (lambda: torch.utils.data.DataLoader(Recordings()), "DataLoader; "),
    "pairs": (lambda: [([0.1], [0])], "list of tuple; .*Spikes.from_recordings.*"),
    "None": (lambda: None, "NoneType; "),
    "times": (lambda: [0.1, 0.2], "list; "),
    "nothing": (list, "list; "),
}
ALL_WAYS = r".*evsim.datasets.unbin_spikes.* evsim.concatenate.* \.spikes\(\) of a data set$"
KINDS = {kind: (make, words + ALL_WAYS) for kind, (make, words) in KINDS.items()}
KINDS["path"] = lambda: "spikes.h5", "the path 'spikes.h5'; evsim.load_spikes"
KINDS["result"] = lambda: evsim.simulate(network(), sound()), r"Result; its \.spikes\[population\]"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("taker", TAKERS)
def test_what_are_no_spikes_is_refused_in_a_line_that_helps(taker, kind):
    make, words = KINDS[kind]
    with pytest.raises(TypeError, match=f"takes Spikes, not {words}") as refusal:
        TAKERS[taker](make())
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("kind", KINDS)
def test_only_spikes_are_joined(kind):
    make, words = KINDS[kind]
    with pytest.raises(TypeError, match=f"concatenate takes Spikes, not {words}"):
        evsim.concatenate([sound(), make()])


def test_joined_tensors_stay_in_their_graph():
    first, second = moving(sound()), moving(sound()[:1])
    joined = evsim.concatenate([first, sound(), second])
    assert joined == evsim.concatenate([sound(), sound(), sound()[:1]])
    (joined.times * torch.arange(1.0, 12)).sum().backward()
    assert first.times.grad.tolist() == [1, 2, 3, 4] and second.times.grad.tolist() == [9, 10, 11]
    unlabelled = Spikes([0.1], [0], size=SIZE).torch()
    assert evsim.concatenate([first, unlabelled]).labels is None
    assert evsim.concatenate([unlabelled, first]).labels is None


def test_a_list_of_recordings_gives_the_gradient_of_the_batch():
    net, batch = model(), moving(sound())
    parts = [moving(part) for part in sound()]
    net(batch).sum().backward()
    net(parts).sum().backward()
    assert torch.cat([part.times.grad for part in parts]).equal(batch.times.grad)


# --- sizes ---


def other_size(size):
    return Spikes([0.01, 0.02], [0, 1], size=size, duration=DURATION)


SIZED = {
    **{name: TAKERS[name] for name in LAYERS},
    **{name: TAKERS[name] for name in ("simulate", "cross_check", "reference_run", "fit_weights")},
    "in between": lambda s: nn.Sequential(g.Delay(s.size), LAYERS["LI"]())(s),
}


@pytest.mark.parametrize("taker", SIZED)
@pytest.mark.parametrize("size", [2, 4])
def test_a_known_size_that_differs_is_refused_with_both(taker, size):
    with pytest.raises(ValueError, match=f"come from {size} units, but .*{SIZE}") as refusal:
        SIZED[taker](other_size(size))
    assert "\n" not in str(refusal.value)
    assert (f"Spikes(..., size={SIZE})" in str(refusal.value)) == (size < SIZE)


def test_a_size_that_nobody_told_may_be_smaller_whatever_was_done_to_it(tmp_path):
    spikes = Spikes([0.01, 0.02, 0.03], [0, 1, 1], [0, 2, 3], duration=DURATION)
    evsim.save_spikes(tmp_path / "untold.h5", spikes)
    with evsim.SpikeFile(tmp_path / "untold.h5") as file:
        (batch,) = file.batches()
    for untold in (
        spikes, spikes[0], spikes[[1, 0]], spikes[:1], spikes.before(0.025), spikes.torch(),
        spikes.torch().numpy(), spikes.to("cpu"), pickle.loads(pickle.dumps(spikes)),
        copy.deepcopy(spikes), jitter_times(spikes, 1e-3, 0), sum_channels(spikes, 1),
        evsim.concatenate([spikes, spikes]), evsim.concatenate([spikes.torch(), spikes]),
        evsim.load_spikes(tmp_path / "untold.h5"), batch, [spikes, spikes],
    ):  # fmt: skip
        assert not as_spikes(untold, "a taker").size_told
        evsim.simulate(network(), untold)
        LAYERS["CubaLIF"]()(untold)
    given = other_size(2)
    for told in (given, given[0], given.torch(), evsim.concatenate([given, spikes])):
        assert told.size_told
    with pytest.raises(ValueError, match="come from 5 units"):
        evsim.simulate(network(), Spikes([0.01], [4], duration=DURATION))


def test_the_command_refuses_a_file_that_says_another_size(tmp_path):
    done = run(tmp_path, "simulate", "digits-demo.h5", "spoken-digits-70.h5", "-o", "out.h5")
    assert done.returncode == 2 and not list(tmp_path.iterdir())
    assert "the spikes come from 70 units, but input population 'in" in done.stderr
    assert done.stderr.count("\n") == 1


# --- equality ---


def test_spikes_are_equal_if_all_they_hold_is():
    assert sound() == sound() and sound() == sound().torch() and hash(sound()) == hash(sound())
    assert sound() != sound()[:1] and sound() != 1
    times = np.nextafter(sound().times, 1)
    changed = sound().replace(times, sound().units, sound().offsets)
    assert changed != sound()
    assert Spikes([0.1], [0], labels=[1]) != Spikes([0.1], [0])
    assert Spikes([0.1], [0], size=1) != Spikes([0.1], [0], size=2)


def test_networks_are_equal_to_the_last_bit(tmp_path):
    net = checked()
    net.save(tmp_path / "net.h5")
    again = evsim.Network.load(tmp_path / "net.h5")
    assert again == net and hash(again) == hash(net) and net != network() and net != 1
    for name, projection in net.projections.items():
        weight = np.nextafter(projection.weight, 9)
        others = [p for p in net.projections.values() if p.name != name]
        moved = [*others, dataclasses.replace(projection, weight=weight)]
        assert evsim.Network(net.populations.values(), moved, output=net.output) != net
    assert network().populations["out"] != evsim.Population("out", "LIF", 2, tau_mem=0.021)


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (lambda: LAYERS["CubaLIF"](), "not CubaLIF; evsim.Network.from_torch makes one"),
        (lambda: "net.h5", "not str; evsim.Network.load reads a file"),
        (sound, "not Spikes; evsim.Network"),
    ],
)
def test_what_is_no_network_is_refused_in_a_line_that_helps(net, words):
    with pytest.raises(TypeError, match=f"simulate takes a Network, {words}"):
        evsim.simulate(net(), sound())


# --- spikes of tensors ---


def moving(spikes):
    """Spikes of tensors in the autograd graph, as layers return them."""
    tensors = spikes.torch()
    return tensors.replace(tensors.times.requires_grad_(), tensors.units, tensors.offsets)


def same(found, expected):
    found, expected = found.numpy(), expected.numpy()
    for name in ("times", "units", "offsets", "labels"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert (found.size, found.duration) == (expected.size, expected.duration)


@pytest.mark.parametrize("engine", ["compiled", "reference"])
def test_a_run_takes_tensors(engine):
    found = evsim.Simulator(network(), engine=engine).run(moving(sound()))
    expected = evsim.simulate(network(), sound(), engine=engine)
    same(found.spikes["out"], expected.spikes["out"])
    assert isinstance(found.labels, np.ndarray)


@pytest.mark.parametrize("layout", ["shd", "packed"])
def test_a_file_takes_tensors(layout, tmp_path):
    evsim.save_spikes(tmp_path / "spikes.h5", moving(sound()), layout=layout)
    same(evsim.load_spikes(tmp_path / "spikes.h5"), sound())


def test_counting_cutting_and_joining_take_tensors():
    spikes, tensors = sound(), moving(sound())
    np.testing.assert_array_equal(tensors.counts(), spikes.counts())
    same(tensors.before(0.025), spikes.before(0.025))
    same(evsim.concatenate([tensors, spikes]), evsim.concatenate([spikes, spikes]))
    same(evsim.concatenate([tensors]), spikes)
    np.testing.assert_array_equal(bin_spikes(tensors, 1e-3), bin_spikes(spikes, 1e-3))


def test_what_is_cut_off_stays_in_the_graph():
    spikes = moving(sound())
    spikes.before(0.025).times.sum().backward()
    assert spikes.times.grad.tolist() == (spikes.times < 0.025).double().tolist()


# --- compiled models ---


def model():
    torch.manual_seed(0)
    hidden = g.CubaLIF(SIZE, 8, **CELLS, delay="axonal")
    return nn.Sequential(g.Delay(SIZE), hidden, nn.Sequential(g.CubaLI(8, 3, **CELLS)))


@pytest.mark.parametrize("part", ["model", "Delay", "CubaLIF", "function"])
def test_a_compiled_model_does_what_it_does_without(part):
    net = model()
    net = {"Delay": net[0], "CubaLIF": net[1]}.get(part, net)

    def loss(spikes):
        output = net(spikes)
        output = output if torch.is_tensor(output) else g.first_spikes(output)
        return output.square().sum()

    plain = loss if part == "function" else net
    compiled = torch.compile(plain, backend="eager")
    outputs = [run(sound()) for run in (plain, compiled, compiled)]
    values = [o if torch.is_tensor(o) else o.times for o in outputs]
    gradients = [
        torch.autograd.grad(v.sum(), list(net.parameters()), allow_unused=True) for v in values
    ]
    for value, gradient in zip(values[1:], gradients[1:], strict=True):
        assert torch.equal(value, values[0])
        for one, other in zip(gradient, gradients[0], strict=True):
            assert (one is None and other is None) or torch.equal(one, other)
