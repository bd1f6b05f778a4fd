import multiprocessing
import operator
import pickle
import shutil
import sys
import types

import h5py
import numpy as np
import pytest
from small_files import refused, same_spikes, some_spikes

import evsim
from evsim.datasets import SHD, SSC, SpikeFileData

WORDS = [b"zero", b"one", b"two", b"three"]


@pytest.fixture
def folder(tmp_path):
    """Byte for byte the published layout: float16 times, uint16 units, extra/*."""
    rng = np.random.default_rng(0)
    for name in ("shd_train", "shd_test", "ssc_train", "ssc_valid", "ssc_test"):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            times = file.create_dataset("spikes/times", (6,), h5py.vlen_dtype(np.float16))
            units = file.create_dataset("spikes/units", (6,), h5py.vlen_dtype(np.uint16))
            for b, n in enumerate((4, 0, 9, 200, 1, 30)):
                times[b] = np.sort(rng.random(n)).astype(np.float16)
                units[b] = rng.integers(0, 700, n).astype(np.uint16)
            file["labels"] = np.array([0, 1, 2, 3, 0, 1], np.uint16)
            file["extra/keys"] = np.array(WORDS)
            file["extra/speaker"] = np.array([0, 3, 4, 5, 4, 0], np.uint16)
    return tmp_path


def test_recordings_are_those_of_the_file(folder):
    data = SHD(folder, "test")
    assert (len(data), data.size, data.duration) == (6, 700, 1.4)
    assert data.class_names == ["zero", "one", "two", "three"]
    assert data.speakers.tolist() == [0, 3, 4, 5, 4, 0]
    with h5py.File(folder / "shd_test.h5") as file:
        for b, (spikes, label) in enumerate(data):
            np.testing.assert_array_equal(spikes.times, file["spikes/times"][b].astype(float))
            assert spikes.times.dtype == np.float64
            assert label == file["labels"][b] == spikes.labels[0]


def test_splits_are_files_of_their_own(folder):
    parts = [SHD(folder, s) for s in ("train", "test")]
    parts += [SSC(folder, s) for s in ("train", "valid", "test")]
    firsts = {part[3][0].times.tobytes() for part in parts}
    assert len(firsts) == 5
    assert SSC(folder).duration == 1.0


def test_the_folder_may_be_tonics_or_the_file_itself(folder):
    whole = SHD(folder, "train").spikes()
    (folder / "in" / "SHD").mkdir(parents=True)
    shutil.copy(folder / "shd_train.h5", folder / "in" / "SHD")
    same_spikes(SHD(folder / "in").spikes(), whole)
    same_spikes(SHD(folder / "shd_train.h5").spikes(), whole)


def test_spikes_at_or_after_the_duration_are_left_out(folder):
    data = SHD(folder, duration=0.5)
    whole = SHD(folder).spikes()
    same_spikes(data.spikes(), whole.before(0.5))


def test_recordings_travel_to_workers(folder):
    data = SHD(folder)
    expected = data[3][0].times  # the file is open now
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(data))[3][0].times, expected)
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            # Not a function of this file: a worker may not find it.
            spikes, _ = pool.apply(operator.getitem, (data, 3))
            np.testing.assert_array_equal(spikes.times, expected)


def test_missing_files_and_splits_are_named(tmp_path):
    with pytest.raises(evsim.FileError, match=r"has no shd_test\.h5.*shd_test\.h5\.zip"):
        SHD(tmp_path, "test")
    with pytest.raises(ValueError, match="split = 'valid', must be one of train, test"):
        SHD(tmp_path, "valid")


def test_download_is_left_to_tonic(tmp_path, folder, monkeypatch):
    asked = []

    def download(save_to, **options):
        asked.append((save_to, options))
        shutil.copy(folder / "shd_train.h5", tmp_path / "there" / "shd_train.h5")

    fake = types.SimpleNamespace(SHD=download)
    monkeypatch.setitem(sys.modules, "tonic", types.SimpleNamespace(datasets=fake))
    monkeypatch.setitem(sys.modules, "tonic.datasets", fake)
    (tmp_path / "there").mkdir()
    assert len(SHD(tmp_path / "there", download=True)) == 6
    assert asked == [(str(tmp_path / "there"), {"train": True})]


def damage(path, **changes):
    with h5py.File(path, "r+") as file:
        for name, value in changes.items():
            name = name.replace("__", "/")
            del file[name]
            if value is not None:
                file[name] = value


@pytest.mark.parametrize(
    "changes, part",
    [
        ({"labels": None}, "/labels: is missing"),
        ({"labels": np.array([0, 1, 2, 3, 0, 4])}, "recording 5 has label 4"),
        ({"labels": np.array([0, 1, 2, 3, 0, -1])}, "recording 5 has label -1"),
        ({"extra__speaker": np.zeros(2, int)}, "/extra/speaker: has 2 entries for 6"),
        ({"spikes__units": None}, "/spikes/units: is missing"),
    ],
)
def test_malformed_files_are_refused(folder, changes, part):
    damage(folder / "shd_train.h5", **changes)
    refused(folder / "shd_train.h5", part, reader=SHD)


def test_a_unit_beyond_the_cochlea_is_named(folder):
    with h5py.File(folder / "shd_train.h5", "r+") as file:
        file["spikes/units"][2] = np.full(9, 700, np.uint16)
    data = SHD(folder)
    with pytest.raises(evsim.FileError, match="recording 2, index 0: 700"):
        data[2]


def test_a_truncated_file_is_refused(folder):
    path = folder / "shd_train.h5"
    content = path.read_bytes()
    for n in range(0, len(content) - 1, 997):
        path.write_bytes(content[:n])
        refused(path, reader=SHD)


def test_any_labelled_spike_file_is_a_data_set(tmp_path):
    spikes = some_spikes(8)
    for layout in ("shd", "packed"):
        path = tmp_path / f"{layout}.h5"
        evsim.save_spikes(path, spikes, layout=layout)
        data = SpikeFileData(path)
        assert data.class_names == [str(i) for i in range(spikes.labels.max() + 1)]
        assert (data.size, data.duration, data.speakers) == (9, 1.5, None)
        same_spikes(data[[6, 1]].spikes(), spikes[[6, 1]])


def test_the_embedded_genuine_recordings_load():
    data = SpikeFileData(evsim.demo_path("digits-spikes.h5"))
    assert len(data) == 11 and data.size == 700
    assert 1000 < len(data[0][0].times) < 20000
