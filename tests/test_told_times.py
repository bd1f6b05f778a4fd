"""Times whose unit or end can't be right are told; times with a unit of their own are converted."""

import datetime
import warnings

import h5py
import numpy as np
import pytest
import torch
from in_process import run
from small_files import refused
from torch import nn

import evsim
from evsim import gradients as g
from evsim.datasets import shift_times


def write(path, times, units, **attributes):
    with h5py.File(path, "w") as file:
        for name, rows, kind in (("times", times, "f8"), ("units", units, "u2")):
            column = file.create_dataset(f"spikes/{name}", (len(rows),), h5py.vlen_dtype(kind))
            for b, row in enumerate(rows):
                column[b] = np.asarray(row, kind)
        file.attrs.update(attributes)
    return path


def network(size):
    return evsim.Network(
        [evsim.Population("in", "Input", size), evsim.Population("p", "LIF", 1, tau_mem=20e-3)],
        [evsim.Dense(pre="in", post="p", weight=np.ones((1, size)))],
    )


def late(path):
    return write(path, [[0.5, 1.0, 1.2]], [[0, 1, 2]], duration=1.0, size=3)


def test_milliseconds_before_a_thousand_are_told_by_their_rate(tmp_path):
    rng = np.random.default_rng(0)
    times = [np.sort(rng.uniform(0, 900, 2000)) for _ in range(3)]
    path = write(tmp_path / "ms.h5", times, [rng.integers(0, 700, 2000) for _ in range(3)])
    with pytest.warns(UserWarning, match=r"mean rate 0\.0031\d Hz per unit.*milliseconds"):
        evsim.load_spikes(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evsim.load_spikes(path, duration=900.0)


def test_milliseconds_that_a_file_gives_a_duration_are_told_by_their_rate(tmp_path):
    spikes = evsim.Spikes(np.linspace(1, 499, 350), np.arange(350) % 70, size=70, duration=500.0)
    evsim.save_spikes(tmp_path / "ms.h5", spikes)
    words = "says a duration of 500 s, over which the mean rate is 0.01 Hz per unit"
    with pytest.warns(UserWarning, match=words) as told:
        evsim.load_spikes(tmp_path / "ms.h5")
    assert len(told) == 1 and told[0].filename == __file__
    network(70).save(tmp_path / "n.h5")
    simulate = ["simulate", "n.h5", "ms.h5", "-o", "o.h5", "--engine", "reference"]
    for command in (["info", "ms.h5"], simulate):
        done = run(tmp_path, *command)
        assert done.returncode == 0 and done.stderr.count(words) == 1


def test_milliseconds_in_arrays_are_told_where_nobody_gives_a_duration():
    times, units = np.linspace(1, 499, 350), np.arange(350) % 70
    words = r"last spike is at 499 s and the mean rate 0\.01 Hz per unit.*give times \* 1e-3"
    with pytest.warns(UserWarning, match=words) as told:
        evsim.Spikes.from_recordings([(times, units)])
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evsim.Spikes(times, units, duration=500.0)
        evsim.Spikes(times * 1e-3, units)


def test_delays_and_time_constants_longer_than_every_recording_are_told():
    spikes = evsim.Spikes([0.1, 0.2], [0, 1], size=2, duration=0.5)
    slow = evsim.Population("h", "CubaLIF", 1, tau_mem=20.0, tau_syn=0.005, refractory=10.0)
    into = evsim.Dense(pre="in", post="h", weight=np.ones((1, 2)), delay=[60.0, 0.01])
    net = evsim.Network([evsim.Population("in", "Input", 2), slow], [into])
    words = r"longer than every recording \(0\.5 s\): delay of 'in->h' up to 60 s, tau_mem of 'h' "
    for engine in ("compiled", "reference"):
        with pytest.warns(UserWarning, match=words + "up to 20 s.*60 ms would be 60e-3") as told:
            evsim.simulate(net, spikes, engine=engine)
        assert len(told) == 1 and told[0].filename == __file__
    simulator = evsim.Simulator(net, duration=100.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        simulator.run(spikes)
        evsim.simulate(network(2), spikes)


@pytest.mark.parametrize("delay, odd", [(0.5, False), (0.51, True)])
def test_a_delay_as_long_as_a_recording_is_not_told(delay, odd):
    spikes = evsim.Spikes([0.1], [0], size=2, duration=0.5)
    layer = g.CubaLIF(2, 3, 0.02, 0.005, recurrent="dense", recurrent_delay=delay)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        layer(spikes)
    assert len(told) == odd


def test_a_delay_as_long_as_a_recording_but_for_rounding_is_not_told():
    spikes = evsim.Spikes([0.05], [0], size=2, duration=0.1)
    layer = g.CubaLIF(2, 3, 0.02, 0.005, delay="axonal", max_delay=0.1)
    torch.nn.init.constant_(layer.delay, 0.1)
    assert layer.delay.double().max() > 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(spikes)


def test_a_layer_tells_once_of_times_longer_than_every_recording():
    torch.manual_seed(0)
    spikes = evsim.Spikes([0.1, 0.2], [0, 1], size=2, duration=0.5)
    for layer in (
        g.CubaLIF(2, 3, 0.02, 0.005, delay="synaptic", max_delay=60),
        g.CubaLIF(2, 3, 0.02, 0.005, recurrent="dense", recurrent_delay=60.0),
        g.CubaLI(2, 3, 20.0, 0.005),
        g.Delay(2, max_delay=60),
    ):
        with pytest.warns(UserWarning, match=r"longer than every recording \(0\.5 s\)") as told:
            nn.Sequential(layer)(spikes)
        assert len(told) == 1 and told[0].filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            layer(spikes)
    once = g.CubaLIF(2, 3, 0.02, 0.005, refractory=10.0, delay="synaptic")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        once(spikes)


@pytest.mark.parametrize(
    "voltage, words",
    [
        (["h"], r"voltage = \['h'\] names populations, .*\{'h': np.arange\(0, duration, 1e-3\)\}"),
        ("h", "voltage = 'h' names populations"),
        ({"p": 1e-3}, r"'p' has a single number, 0\.001, .*voltage=\{'p': np.arange"),
    ],
)
def test_an_interval_or_a_name_in_place_of_sample_times_is_refused(voltage, words):
    with pytest.raises(TypeError, match=words) as refusal:
        evsim.simulate(network(2), evsim.Spikes([0.1], [0], size=2), voltage=voltage)
    assert "\n" not in str(refusal.value)


def test_rates_that_networks_have_are_not_told(tmp_path):
    times = [np.linspace(0.01, 20, 400)]
    path = write(tmp_path / "s.h5", times, [np.arange(400) % 10])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evsim.load_spikes(path)


@pytest.mark.parametrize("unit, divisor", [("ms", 1e3), ("us", 1e6), ("ns", 1e9), ("m", 1 / 60)])
def test_timedeltas_become_seconds(unit, divisor):
    times = np.array([100, 200], f"m8[{unit}]")
    expected = np.array([100, 200]) / divisor
    np.testing.assert_array_equal(evsim.Spikes(times, [0, 0]).times, expected)
    pairs = evsim.Spikes.from_recordings([(times, [0, 0])], duration=np.timedelta64(5, "h"))
    np.testing.assert_array_equal(pairs.times, expected)
    assert pairs.duration == 18_000.0


def test_timedeltas_of_the_standard_library_become_seconds():
    times = [datetime.timedelta(milliseconds=250)]
    assert evsim.Spikes(times, [0]).times.tolist() == [0.25]


def test_dates_and_foreign_units_are_refused_with_a_way_out():
    class Quantity(np.ndarray):
        units = "ms"

    with pytest.raises(ValueError, match="are dates.*times - start"):
        evsim.Spikes(np.array(["2020-01-01"], "M8[s]"), [0])
    with pytest.raises(ValueError, match="unit of its own; give plain numbers in seconds"):
        evsim.Spikes(np.ones(1).view(Quantity), [0])
    with pytest.raises(ValueError, match="no fixed length"):
        evsim.Spikes(np.array([1], "m8[M]"), [0])
    with pytest.raises(ValueError, match="must be finite"):
        evsim.Spikes(np.array(["NaT"], "m8[ms]"), [0])


def test_a_units_attribute_of_times_is_kept_to_in_every_layout(tmp_path):
    path = write(tmp_path / "s.h5", [[100, 200]], [[0, 1]])
    with h5py.File(path, "r+") as file:
        file["spikes/times"].attrs["units"] = "ms"
    assert evsim.load_spikes(path).times.tolist() == [0.1, 0.2]


def test_spikes_after_the_end_that_a_file_says_are_told(tmp_path):
    path = late(tmp_path / "s.h5")
    with pytest.warns(UserWarning, match="2 of 3 spikes are at or after the duration, 1 s") as told:
        evsim.load_spikes(path)
    assert told[0].filename == __file__
    network(3).save(tmp_path / "n.h5")
    simulate = ["simulate", "n.h5", "s.h5", "-o", "o.h5", "--engine", "reference"]
    for words in (["info", "s.h5"], simulate):
        done = run(tmp_path, *words)
        assert done.returncode == 0
        assert done.stderr.count("2 of 3 spikes are at or after the duration, 1 s") == 1
    done = run(tmp_path, *simulate, "--duration", "1.0", "--overwrite")
    assert done.returncode == 0 and done.stderr == ""


def test_spikes_after_a_given_duration_are_told_once_and_not_by_what_moves_spikes():
    with pytest.warns(UserWarning, match="1 of 2 spikes is at or after") as told:
        spikes = evsim.Spikes([0.5, 1.5], [0, 0], duration=1.0)
    assert len(told) == 1 and told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shift_times(spikes[0], 0.5, seed=0)
        evsim.concatenate([spikes, spikes])
        evsim.Spikes([0.5, 1.5], [0, 0])


def test_the_older_layout_of_sonata_is_one_recording(tmp_path):
    with h5py.File(tmp_path / "gids.h5", "w") as file:
        file["spikes/timestamps"] = np.array([100.0, 200.0])
        file["spikes/timestamps"].attrs["units"] = "ms"
        file["spikes/gids"] = np.array([3, 1], "u8")
        file["spikes"].attrs["sorting"] = "by_gid"
    spikes = evsim.load_spikes(tmp_path / "gids.h5")
    assert (spikes.times.tolist(), spikes.units.tolist(), len(spikes)) == ([0.1, 0.2], [3, 1], 1)
    assert "SONATA" in run(tmp_path, "info", "gids.h5").stdout


def test_a_population_is_chosen_on_the_command_line(tmp_path):
    with h5py.File(tmp_path / "two.h5", "w") as file:
        for i, name in enumerate(("exc", "inh")):
            file[f"spikes/{name}/timestamps"] = np.full(i + 1, 100.0)
            file[f"spikes/{name}/timestamps"].attrs["units"] = "ms"
            file[f"spikes/{name}/node_ids"] = np.arange(i + 1)
    refused(tmp_path / "two.h5", "populations exc, inh; say which, with --population NAME")
    assert "spikes      2 spikes" in run(tmp_path, "info", "two.h5", "--population", "inh").stdout
    done = run(tmp_path, "plot", "two.h5", "-o", "a.png", "--population", "exc")
    assert done.returncode == 0, done.stderr
    done = run(tmp_path, "info", "two.h5", "--population", "x")
    assert done.returncode == 2 and "populations exc, inh" in done.stderr


def test_milliseconds_with_a_duration_are_told_by_what_takes_them():
    spikes = evsim.Spikes(np.linspace(1, 999, 70), np.arange(70) % 7, size=7, duration=1000.0)
    words = r"mean rate over the duration, 1000 s, is 0\.01 Hz per unit.*times and duration \* 1e-3"
    layer = g.CubaLIF(7, 2, tau_mem=0.02, tau_syn=0.005)
    for take in (lambda: evsim.simulate(network(7), spikes), lambda: layer(spikes)):
        with pytest.warns(UserWarning, match=words) as told:
            take()
        assert len(told) == 1 and told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(spikes)  # once
        evsim.simulate(network(7), evsim.Spikes(spikes.times * 1e-3, spikes.units, duration=1.0))
