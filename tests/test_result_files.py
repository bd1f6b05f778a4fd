"""Result files: streamed or at once, a spike file too; what is wrong is named."""

import os
from dataclasses import replace

import h5py
import numpy as np
import pytest
from small_files import (
    refused,
    same_results,
    same_spikes,
    set_attribute,
    set_data,
    some_result,
    some_spikes,
)

import evsim
from evsim.files import ResultWriter, SpikeFile, network_digest


def net_with_output(output):
    return evsim.Network(
        [
            evsim.Population("in", "Input", 9),
            evsim.Population("hid", "LIF", 9, tau_mem=1.0),
            evsim.Population("out", "LIF", 9, tau_mem=1.0),
            evsim.Population("read", "LI", 2, tau_mem=1.0, output="max"),
        ],
        [
            evsim.Dense(pre="in", post="hid", weight=np.eye(9)),
            evsim.Dense(pre="hid", post="out", weight=np.eye(9)),
            evsim.Dense(pre="out", post="read", weight=np.ones((2, 9))),
        ],
        output=output,
    )


def test_result_comes_back_to_the_bit(tmp_path):
    result = some_result()
    evsim.save_result(tmp_path / "r.h5", result)
    same_results(evsim.load_result(tmp_path / "r.h5"), result)


def test_thresholds_are_kept_may_be_missing_and_must_fit(tmp_path):
    result = replace(some_result(), threshold={"read": np.array([1.0, 2.5])})
    evsim.save_result(tmp_path / "r.h5", result)
    found = evsim.load_result(tmp_path / "r.h5")
    np.testing.assert_array_equal(found.threshold["read"], [1.0, 2.5])
    same_results(found, result)
    for wrong, message in ((np.ones(3), "has shape [3], must be [2]"), ([1.0, np.nan], "finite")):
        with h5py.File(tmp_path / "r.h5", "a") as file:
            set_data("populations/read/threshold", wrong)(file)
        place = "populations/read/threshold"
        refused(tmp_path / "r.h5", place, message, reader=evsim.load_result)
    with h5py.File(tmp_path / "r.h5", "a") as file:  # as older files are
        del file["populations/read/threshold"]
    assert evsim.load_result(tmp_path / "r.h5").threshold == {}


def test_a_run_tells_the_thresholds_of_sampled_units():
    net = net_with_output("out")
    spikes = evsim.Spikes([0.1], [0], size=9, duration=1.0)
    voltage = {"hid": [0.5], "read": [0.5]}
    for engine in ("compiled", "reference"):
        result = evsim.simulate(net, spikes, voltage=voltage, engine=engine)
        assert list(result.threshold) == ["hid"]
        np.testing.assert_array_equal(result.threshold["hid"], np.ones(9))


def test_batches_make_the_same_file_as_the_whole(tmp_path):
    parts = [some_result(n, seed) for seed, n in enumerate((4, 1, 0, 7))]
    with ResultWriter(tmp_path / "r.h5") as writer:
        for part in parts:
            writer.append(part)
    whole = evsim.Result(
        spikes={n: evsim.concatenate([p.spikes[n] for p in parts]) for n in ("out", "hid")},
        voltage={"read": np.concatenate([p.voltage["read"] for p in parts])},
        voltage_times=parts[0].voltage_times,
        output={"read": np.concatenate([p.output["read"] for p in parts])},
        duration=1.5,
        labels=np.concatenate([p.labels for p in parts]),
    )
    same_results(evsim.load_result(tmp_path / "r.h5"), whole)


def test_result_file_is_a_spike_file_of_the_output(tmp_path):
    result = some_result()
    evsim.save_result(tmp_path / "r.h5", result, net_with_output("out"))
    same_spikes(evsim.load_spikes(tmp_path / "r.h5"), result.spikes["out"])
    with h5py.File(tmp_path / "r.h5") as file:
        assert file.get("spikes", getlink=True).path == "/populations/out/spikes"


def test_result_of_a_readout_has_no_spikes_at_the_root(tmp_path):
    evsim.save_result(tmp_path / "r.h5", some_result(), net_with_output("read"))
    refused(tmp_path / "r.h5", "/spikes: is missing")


def test_result_without_network_links_a_single_population(tmp_path):
    spikes = some_spikes()
    single = evsim.Result(spikes={"hid": spikes}, duration=1.5, labels=spikes.labels)
    evsim.save_result(tmp_path / "r.h5", single)
    same_spikes(evsim.load_spikes(tmp_path / "r.h5"), spikes)


def test_result_tells_how_it_was_made(tmp_path):
    net = net_with_output("out")
    options = {"seed": 3, "record": ["hid", "out"], "exact": True, "model": "m.h5"}
    with ResultWriter(tmp_path / "r.h5", net, attributes=options) as writer:
        writer.append(some_result())
    with h5py.File(tmp_path / "r.h5") as file:
        found = dict(file.attrs)
    assert found["format"] == "evsim-result" and found["version"] == 1
    assert found["evsim_version"] == evsim.__version__
    assert found["network_digest"] == network_digest(net)
    assert found["seed"] == 3 and found["exact"] and found["model"] == "m.h5"
    assert list(found["record"]) == ["hid", "out"]


@pytest.mark.parametrize("options", [{"version": 3}, {"net": None}, {"net": {"a": 1}}])
def test_attributes_that_cannot_be_kept(tmp_path, options):
    with pytest.raises(ValueError, match=f"attributes: '{next(iter(options))}'"):
        with ResultWriter(tmp_path / "r.h5", attributes=options):
            pass
    assert os.listdir(tmp_path) == []


def test_labels_and_extra_of_the_input_are_carried_over(tmp_path):
    evsim.save_spikes(tmp_path / "s.h5", some_spikes(4))
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file["extra/speaker"] = np.arange(4)
    with SpikeFile(tmp_path / "s.h5") as source, ResultWriter(tmp_path / "r.h5") as writer:
        writer.append(some_result(4))
        writer.copy_extra(source)
    with h5py.File(tmp_path / "r.h5") as file:
        assert file["extra/speaker"][()].tolist() == [0, 1, 2, 3]
        assert file["labels"].shape == (4,)


def without(result, **changes):
    return evsim.Result(**(vars(result) | changes))


@pytest.mark.parametrize(
    "change, match",
    [
        ({"spikes": {}}, "spikes of 'out' is missing"),
        ({"voltage_times": {"read": np.linspace(0, 2, 6)}}, "sample times of 'read'"),
        ({"labels": None}, "labels is missing"),
        ({"output": {"read": np.zeros((3, 2))}}, r"\[3, 4\] recordings"),
        ({"output": {"read": np.zeros((4, 5))}}, "has 2 units and 5 units"),
        ({"duration": 2.0}, "duration = 1.5, but that of the result is 2.0"),
    ],
)
def test_batches_that_differ_are_refused(tmp_path, change, match):
    with pytest.raises(ValueError, match=match):
        with ResultWriter(tmp_path / "r.h5") as writer:
            writer.append(some_result())
            writer.append(without(some_result(), **change))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "edit, parts",
    [
        (set_attribute("/", "version", 7), ("is of version 7", "newer evsim")),
        (set_attribute("/", "duration", -1.0), ("'duration' is -1.0",)),
        (set_data("labels", np.arange(9)), ("has 4 recordings, but other data in the file has 9",)),
        (set_data("populations/hid/spikes/units", None), ("/populations/hid/spikes/units",)),
        (set_data("populations/read/voltage", np.ones((4, 6))), ("/populations/read/voltage",)),
        (set_data("populations/read/voltage", np.ones((4, 5, 2))), ("[recording, 6, 2]",)),
        (set_data("populations/read/voltage_times", None), ("voltage_times: is missing",)),
        (set_data("populations/read/output", np.ones((3, 2))), ("/populations/read/output",)),
        (set_attribute("populations/hid", "size", 2), ("/populations/hid/spikes/units",)),
    ],
)
def test_what_is_wrong_with_a_result_file_is_named(tmp_path, edit, parts):
    path = tmp_path / "r.h5"
    evsim.save_result(path, some_result())
    with h5py.File(path, "r+") as file:
        edit(file)
    refused(path, *parts, reader=evsim.load_result)


@pytest.mark.parametrize("shape", [(20, 500, 100), (20_000, 2, 3), (3, 70_000, 1), (2, 1, 70_000)])
def test_voltages_take_the_room_that_they_need(tmp_path, shape):
    times = {"a": np.arange(shape[1]) * 1e-6}
    result = evsim.Result(voltage={"a": np.zeros(shape)}, voltage_times=times, duration=1.0)
    evsim.save_result(tmp_path / "out.h5", result)
    assert (tmp_path / "out.h5").stat().st_size < 1.2 * 8 * np.prod(shape) + 1e6
    assert evsim.load_result(tmp_path / "out.h5").voltage["a"].shape == shape


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_threshold_that_no_reader_takes_is_refused_when_written(tmp_path, value):
    result = some_result()
    result.threshold["hid"] = np.full(result.spikes["hid"].size, value)
    with pytest.raises(ValueError, match="threshold of 'hid': must be .* finite"):
        evsim.save_result(tmp_path / "r.h5", result)
    assert not list(tmp_path.iterdir())
