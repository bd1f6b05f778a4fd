"""What is handed to layers, losses, runs and files as spikes: sound, or one line that helps."""

import re

import numpy as np
import pytest
import torch
from small_takers import (
    DURATION,
    LAYERS,
    SIZE,
    TAKEN,
    TAKERS,
    Recordings,
    model,
    moving,
    network,
    sound,
)

import evsim
from evsim import Spikes
from evsim import gradients as g
from evsim.gradients import dense
from evsim.taken_spikes import as_spikes


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


@pytest.mark.parametrize("kind", TAKEN)
def test_the_entrance_takes_what_holds_recordings(kind):
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


@pytest.mark.parametrize("index", [np.array(1), torch.tensor(1)])
def test_a_number_in_an_array_or_tensor_chooses_one_recording(index):
    for spikes in (sound(), sound().torch()):
        assert spikes[index] == spikes[1] and spikes[index].labels.shape == (1,)
        assert evsim.concatenate([spikes[index], spikes]).labels.tolist() == [0, 1, 0]
    assert Recordings()[index] == Recordings()[1]


def test_times_that_were_replaced_are_converted_and_refused_as_in_the_constructor():
    spikes = sound()
    in_ms = np.array([10, 20, 30, 50], "m8[ms]")
    found = as_spikes(spikes.replace(in_ms, spikes.units, spikes.offsets), "a taker")
    assert found.times.tolist() == [0.01, 0.02, 0.03, 0.05]
    for times in (spikes.times + 0j, torch.tensor(spikes.times + 0j)):
        with pytest.raises(ValueError, match="spikes: times: are complex numbers"):
            as_spikes(spikes.replace(times, spikes.units, spikes.offsets), "a taker")
    with pytest.raises(ValueError, match="spikes: times: are complex numbers"):
        Spikes([0.1 + 0j], [0])
