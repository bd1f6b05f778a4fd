"""Packed camera recordings: slices, parts, sensors, and files that are wrong."""

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from small_event_files import same_events, some_events, write_events
from small_files import refused

from evsim import FileError
from evsim.datasets.formats.address_events import read_camera_events
from evsim.datasets.formats.event_file import EventFile

SENSOR = (2, 34, 34)
GENUINE = Path(__file__).parent / "data" / "events" / "nmnist-train-00001.bin"
RECORDINGS = [some_events(n, seed=n) for n in (50, 0, 700, 1)]


@pytest.fixture
def path(tmp_path):
    labels = np.array([3, 0, 3, 1], np.uint8)
    write_events(tmp_path / "a.h5", RECORDINGS, labels=labels, split=[0, 1, 1, 0])
    return tmp_path / "a.h5"


def edit(path, name, value):
    with h5py.File(path, "r+") as file:
        if name.startswith("@"):
            file.attrs[name[1:]] = value
            return
        if name in file:
            del file[name]
        if value is not None:
            file[name] = value


def read_all(path):
    return EventFile(path).spikes()


def test_recordings_are_slices(path):
    data = EventFile(path)
    assert (data.sensor, data.size, data.duration) == (SENSOR, 2312, 0.3)
    assert list(data.labels) == [3, 0, 3, 1] and data.class_names == ["0", "1", "2", "3"]
    for i in (2, 0, 3, 1):
        same_events(data[i][0], RECORDINGS[i], SENSOR)
    batch = data[[3, 2]].spikes()
    assert list(batch.labels) == [1, 3] and list(np.diff(batch.offsets)) == [1, 700]


def test_parts_and_arguments(path):
    train, test = EventFile(path, "train"), EventFile(path, "test")
    assert list(train.labels) == [3, 1] and list(test.labels) == [0, 3]
    same_events(test[1][0], RECORDINGS[2], SENSOR)
    wide = EventFile(path, sensor=(2, 40, 50), duration=0.1)
    assert (wide.size, wide.duration) == (4000, 0.1)
    same_events(wide[2][0], RECORDINGS[2], (2, 40, 50), 0.1)
    with pytest.raises(ValueError, match="split = 'valid', must be one of train, test, or None"):
        EventFile(path, "valid")


def test_without_labels(tmp_path):
    write_events(tmp_path / "a.h5", RECORDINGS)
    data = EventFile(tmp_path / "a.h5")
    assert list(data.labels) == [0] * 4 and data.class_names == ["unlabelled"]
    refused(tmp_path / "a.h5", "/split: is missing", reader=lambda p: EventFile(p, "train"))


def test_a_genuine_recording_goes_in_and_out(tmp_path):
    events = read_camera_events(GENUINE)
    columns = np.rint(events.times * 1e6).astype(int), events.x, events.y, events.p
    write_events(tmp_path / "a.h5", [columns, columns], labels=[5, 5])
    data = EventFile(tmp_path / "a.h5")
    assert data.duration == 0.4
    same_events(data[1][0], columns, SENSOR)


def test_it_can_be_pickled(path):
    data = EventFile(path)
    copy = pickle.loads(pickle.dumps(data))
    np.testing.assert_array_equal(copy[2][0].units, data[2][0].units)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("events", None, "/events: is missing"),
        ("events/x", None, "/events/x: is missing"),
        ("events/x", np.arange(3), "/events/x: has 3 entries, but t has 751"),
        ("events/x", np.zeros(751), "/events/x: holds float64 [751], must be integers"),
        ("events/y", np.zeros((751, 1), int), "/events/y: holds int64 [751, 1]"),
        ("events/x", np.full(751, 34), "/events, recording 0: event 0 has x = 34, must be from"),
        ("events/y", np.full(751, -1), "/events, recording 0: event 0 has y = -1"),
        ("events/p", np.full(751, 2), "/events, recording 0: event 0 has p = 2"),
        ("events/t", np.full(751, -5), "/events, recording 0: event 0 is at -5e-06 s"),
        ("offsets", None, "/offsets: is missing"),
        ("offsets", [0, 50, 50, 750], "/offsets: must go from 0 to 751"),
        ("offsets", [0, 700, 50, 751], "/offsets: entry 2 is 50, before entry 1, 700"),
        ("offsets", [-1, 751], "/offsets: must go from 0 to 751"),
        ("offsets", np.empty(0, int), "/offsets: must go from 0 to 751"),
        ("labels", [1, 2], "/labels: has 2 entries for 4 recordings"),
        ("labels", [0, 0, 0, -1], "/labels: entry 3 is -1"),
        ("labels", [0, 0, 0, 1 << 60], "/labels: entry 3 is 1152921504606846976"),
        ("@height", 0, "attribute 'height' is 0, must be"),
        ("@width", 1 << 40, "attribute 'width' is 1099511627776, must be"),
        ("@width", "wide", "attribute 'width' is 'wide', must be a number"),
        ("@time_unit", "milliseconds", "attribute 'time_unit' is 'milliseconds'"),
    ],
)
def test_a_file_that_is_wrong(path, name, value, message):
    edit(path, name, value)
    refused(path, message, reader=read_all)


def test_a_file_that_is_cut_off(path):
    whole = path.read_bytes()
    for length in range(0, len(whole), 211):
        path.write_bytes(whole[:length])
        with pytest.raises(FileError):
            read_all(path)
