import h5py
import numpy as np
import pytest
from small_files import refused, same_spikes, set_attribute, set_data, some_spikes

import evsim
from evsim.files import SpikeFile


def on_a_grid(n=5, rate=24000.0):
    spikes = some_spikes(n)
    times = np.rint(spikes.times * rate) / rate
    return evsim.Spikes(times, spikes.units, spikes.offsets, 9, 1.5, spikes.labels)


@pytest.mark.parametrize("labels", [True, False])
def test_packed_spikes_come_back_to_the_bit(tmp_path, labels):
    spikes = some_spikes(labels=labels)
    evsim.save_spikes(tmp_path / "a.h5", spikes, layout="packed")
    same_spikes(evsim.load_spikes(tmp_path / "a.h5"), spikes)


def test_times_on_a_grid_come_back_to_the_bit_from_integers(tmp_path):
    spikes = on_a_grid()
    evsim.save_spikes(tmp_path / "a.h5", spikes, layout="packed", rate=24000)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["spikes/times"].dtype == np.uint16
        assert file["spikes/units"].dtype == np.uint8
    same_spikes(evsim.load_spikes(tmp_path / "a.h5"), spikes)


def test_recordings_are_read_in_any_order(tmp_path):
    spikes = some_spikes(20)
    evsim.save_spikes(tmp_path / "a.h5", spikes, layout="packed")
    wanted = [7, 3, 3, 19]
    with SpikeFile(tmp_path / "a.h5") as file:
        assert file.layout == "packed"
        same_spikes(file.read(recordings=wanted), spikes[wanted])
        same_spikes(evsim.concatenate(list(file.batches(max_spikes=50))), spikes)


def test_no_recordings_and_no_spikes(tmp_path):
    for spikes in (evsim.Spikes([], [], [0], 3, 1.0), evsim.Spikes([], [], [0, 0], 3, 1.0)):
        path = tmp_path / f"{len(spikes)}.h5"
        evsim.save_spikes(path, spikes, layout="packed", rate=1000)
        same_spikes(evsim.load_spikes(path), spikes)


def test_packed_is_smaller(tmp_path):
    rng = np.random.default_rng(0)
    times = np.sort(rng.integers(0, 24000, (200, 500)), axis=1).ravel() / 24000
    offsets = np.arange(201) * 500
    spikes = evsim.Spikes(times, rng.integers(0, 70, len(times)), offsets, 70, 1.0)
    evsim.save_spikes(tmp_path / "shd.h5", spikes)
    evsim.save_spikes(tmp_path / "packed.h5", spikes, layout="packed", rate=24000)
    sizes = [(tmp_path / name).stat().st_size for name in ("shd.h5", "packed.h5")]
    assert sizes[1] < sizes[0] / 4


def test_times_off_the_grid_are_refused_and_leave_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"index 1: time .*0.0005.* no multiple of 1/1000 s"):
        spikes = evsim.Spikes([0.0, 0.0005], [0, 0])
        evsim.save_spikes(tmp_path / "a.h5", spikes, layout="packed", rate=1000)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rate", [0, -1, np.nan, np.inf])
def test_rate_must_be_positive(tmp_path, rate):
    with pytest.raises(ValueError, match="rate = "):
        evsim.save_spikes(tmp_path / "a.h5", some_spikes(), layout="packed", rate=rate)


def test_only_packed_files_have_a_rate(tmp_path):
    with pytest.raises(ValueError, match="only 'packed' has"):
        evsim.save_spikes(tmp_path / "a.h5", some_spikes(), rate=1000)


@pytest.mark.parametrize(
    "edit, part",
    [
        (set_data("spikes/offsets", np.array([0, 5, 3])), "/spikes/offsets: has 3 entries"),
        (set_data("spikes/offsets", np.zeros(0, int)), "/spikes/offsets: has 0 entries"),
        (set_data("spikes/offsets", np.zeros((2, 2), int)), "/spikes/offsets"),
        (set_data("spikes/units", np.zeros(3, int)), "/spikes/units: has 3 entries, but times"),
        (set_data("spikes/units", np.zeros(3)), "/spikes/units: holds float64"),
        (set_data("spikes/times", np.zeros((3, 3))), "/spikes/times: holds float64 in shape"),
        (set_data("spikes/times", None), "/spikes/times: is missing"),
        (set_attribute("spikes/times", "rate", -1.0), "attribute 'rate' is -1.0"),
        (set_attribute("spikes/times", "rate", np.nan), "attribute 'rate' is nan"),
        (set_attribute("spikes/times", "rate", "fast"), "attribute 'rate' is fast"),
        (set_attribute("spikes/times", "rate", [1.0, 2.0]), "attribute 'rate'"),
    ],
)
def test_what_is_wrong_with_a_packed_file_is_named(tmp_path, edit, part):
    path = tmp_path / "a.h5"
    evsim.save_spikes(path, on_a_grid(), layout="packed", rate=24000)
    with h5py.File(path, "r+") as file:
        edit(file)
    refused(path, part)


def test_offsets_that_go_backwards(tmp_path):
    path = tmp_path / "a.h5"
    evsim.save_spikes(path, some_spikes(), layout="packed")
    with h5py.File(path, "r+") as file:
        n = int(file["spikes/offsets"][-1])
        file["spikes/offsets"][2] = n + 1
    refused(path, "/spikes/offsets: goes backwards at recording 2")


def test_a_wrong_value_is_named_by_its_recording(tmp_path):
    path = tmp_path / "a.h5"
    evsim.save_spikes(path, some_spikes(), layout="packed")
    with h5py.File(path, "r+") as file:
        first = int(file["spikes/offsets"][3])
        file["spikes/times"][first + 1] = np.nan
    refused(path, "/spikes/times: recording 3, index 1: nan")
