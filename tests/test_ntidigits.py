"""N-TIDIGITS18: the published layout, its labels, and files that are wrong."""

import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from small_event_files import write_ntidigits
from small_files import refused

from evsim import FileError
from evsim.datasets.sets.ntidigits import NTIDIGITS

LABELS = {
    "train": ["man-ae-a-z", "woman-bd-b-7", "man-ae-b-o", "man-ae-a-3z7", "woman-bd-a-oo"],
    "test": ["man-cb-a-1", "woman-ac-a-44"],
}


def some_trains(dtype=np.float32):
    rng = np.random.default_rng(0)
    return {
        split: {
            name: (np.sort(rng.random(n)).astype(dtype) * 1.5, rng.integers(0, 64, n))
            for name, n in zip(names, (40, 0, 30, 50, 20), strict=False)
        }
        for split, names in LABELS.items()
    }


@pytest.fixture
def path(tmp_path):
    write_ntidigits(tmp_path / "n-tidigits.hdf5", some_trains())
    return tmp_path / "n-tidigits.hdf5"


def edit(path, name, value):
    with h5py.File(path, "r+") as file:
        del file[name]
        if value is not None:
            file[name] = value


def read_all(path):
    return NTIDIGITS(path, digits="all").spikes()


def test_single_digits(path):
    train = NTIDIGITS(path.parent)
    assert train.class_names == ["z", *"123456789", "o"]
    assert list(train.labels) == [0, 7, 10]
    assert (train.size, train.duration, train.sensor) == (64, 2.0, None)
    trains = some_trains()["train"]
    for i in (2, 0, 1):
        spikes, _ = train[i]
        times, channels = trains[LABELS["train"][i]]
        np.testing.assert_array_equal(spikes.times, times.astype(np.float64))
        np.testing.assert_array_equal(spikes.units, channels)
    assert list(NTIDIGITS(path, "test").labels) == [1]


def test_speakers_have_the_same_numbers_in_both_parts(path):
    train, test = NTIDIGITS(path, digits="all"), NTIDIGITS(path, "test", digits="all")
    assert train.speaker_names == ["man-ae", "man-cb", "woman-ac", "woman-bd"]
    assert test.speaker_names == train.speaker_names
    assert list(train.speakers) == [0, 3, 0, 0, 3] and list(test.speakers) == [1, 2]
    others, theirs = train.hold_out(3)
    assert (len(others), len(theirs)) == (3, 2)


def test_sequences_are_classes_named_by_what_is_spoken(path):
    train, test = NTIDIGITS(path, digits="all"), NTIDIGITS(path, "test", digits="all")
    assert train.class_names == test.class_names == ["1", "7", "o", "z", "44", "oo", "3z7"]
    assert [train.class_names[i] for i in train.labels] == ["z", "7", "o", "3z7", "oo"]
    assert train.duration == 8.0


@pytest.mark.parametrize("dtype", [None, h5py.string_dtype(), "S40"])
@pytest.mark.parametrize("channel", [np.uint8, np.int64, np.float64])
def test_how_labels_and_channels_are_stored_makes_no_difference(tmp_path, dtype, channel):
    trains = some_trains(np.float64)
    for of_split in trains.values():
        for name, (times, channels) in of_split.items():
            of_split[name] = (times, channels.astype(channel))
    write_ntidigits(tmp_path / "a.hdf5", trains, dtype)
    spikes, label = NTIDIGITS(tmp_path / "a.hdf5")[0]
    np.testing.assert_array_equal(spikes.units, trains["train"]["man-ae-a-z"][1])
    assert label == 0


def test_later_spikes_are_left_out(path):
    spikes, _ = NTIDIGITS(path, duration=0.5)[0]
    times = some_trains()["train"]["man-ae-a-z"][0]
    np.testing.assert_array_equal(spikes.times, times[times < 0.5])
    with pytest.raises(ValueError, match="duration = 0, must be finite"):
        NTIDIGITS(path, duration=0)


def test_it_can_be_pickled(path):
    train = NTIDIGITS(path)
    train[0]
    copy = pickle.loads(pickle.dumps(train))
    np.testing.assert_array_equal(copy[2][0].times, train[2][0].times)
    assert copy.speaker_names == train.speaker_names


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("train_labels", None, "/train_labels: is missing"),
        ("train_labels", np.arange(3), "/train_labels: holds int64, must be strings"),
        ("train_labels", [b"man-ae-a-z", b"../x"], "/train_labels: entry 1 is '../x'"),
        ("train_labels", [b"man-ae-a-0"], "must be like man-ae-a-3z7"),
        ("train_labels", [b"man-xx-a-z"], "/train_timestamps/man-xx-a-z: is missing"),
        ("test_labels", None, "/test_labels: is missing"),
        ("train_timestamps", None, "/train_timestamps: is missing"),
        ("train_addresses", np.arange(3), "/train_addresses: is a data set"),
        ("train_timestamps/man-ae-a-z", [0.1], "has 40 entries for 1 times"),
        ("train_timestamps/man-ae-a-z", [[0.1]], "must have 1 dimensions"),
        ("train_timestamps/man-ae-a-z", np.full(40, np.nan), "event 0 is at nan s"),
        ("train_timestamps/man-ae-a-z", np.full(40, -1.0), "event 0 is at -1.0 s"),
        ("train_timestamps/man-ae-a-z", np.full(40, 1e6), "times must be in seconds"),
        ("train_addresses/man-ae-a-z", np.full(40, 64), "entry 0 is 64, must be a channel"),
        ("train_addresses/man-ae-a-z", np.full(40, -1), "entry 0 is -1, must be a channel"),
        ("train_addresses/man-ae-a-z", np.full(40, 0.5), "entry 0 is 0.5, must be a channel"),
        ("train_addresses/man-ae-a-z", np.full(40, np.nan), "entry 0 is nan, must be a channel"),
        ("train_addresses/man-ae-a-z", np.full(40, b"x"), "holds text, must hold numbers"),
    ],
)
def test_a_file_that_is_wrong(path, name, value, message):
    edit(path, name, value)
    refused(path, message, reader=read_all)


def test_a_file_that_is_cut_off(path):
    whole = path.read_bytes()
    for length in range(0, len(whole), 997):
        path.write_bytes(whole[:length])
        with pytest.raises(FileError):
            read_all(path)


def test_a_missing_file_and_wrong_arguments(tmp_path, path):
    with pytest.raises(FileError, match="has no n-tidigits.hdf5; put it there: https://docs"):
        NTIDIGITS(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="split = 'valid', must be one of train, test"):
        NTIDIGITS(path, "valid")
    with pytest.raises(ValueError, match="digits = 'some', must be one of single, all"):
        NTIDIGITS(path, digits="some")


def test_download_asks_tonic_and_finds_what_it_fetched(tmp_path, monkeypatch):
    asked = []

    def fetched(save_to, train):
        asked.append((save_to, train))
        (Path(save_to) / "NTIDIGITS18").mkdir()
        write_ntidigits(Path(save_to) / "NTIDIGITS18" / "n-tidigits.hdf5", some_trains())

    tonic = SimpleNamespace(NTIDIGITS18=fetched)
    monkeypatch.setitem(sys.modules, "tonic", SimpleNamespace(datasets=tonic))
    monkeypatch.setitem(sys.modules, "tonic.datasets", tonic)
    assert len(NTIDIGITS(tmp_path, download=True)) == 3
    assert asked == [(str(tmp_path), True)]


def test_tonic_reads_the_same(tmp_path):
    tonic = pytest.importorskip("tonic")
    (tmp_path / "NTIDIGITS18").mkdir()
    write_ntidigits(tmp_path / "NTIDIGITS18" / "n-tidigits.hdf5", some_trains())
    theirs = tonic.datasets.NTIDIGITS18(str(tmp_path), single_digits=True)
    ours = NTIDIGITS(tmp_path)
    assert len(theirs) == len(ours)
    for (events, label), (spikes, mine) in zip(theirs, ours, strict=True):
        np.testing.assert_array_equal(events["t"], np.floor(spikes.times * 1e6))
        np.testing.assert_array_equal(events["x"], spikes.units)
        assert {0: "o", 10: "z"}.get(label, str(label)) == ours.class_names[mine]
