"""N-MNIST and the five-byte formats: the genuine file, the folder, files that are wrong."""

import hashlib
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_event_files import camera_bytes, channel_bytes, same_events, some_events, write_nmnist

from evsim import FileError
from evsim.datasets.formats.address_events import read_camera_events, read_channel_events
from evsim.datasets.sets.nmnist import NMNIST, SENSOR

GENUINE = Path(__file__).parent / "data" / "events" / "nmnist-train-00001.bin"


@pytest.fixture
def folder(tmp_path):
    files = {
        "Train/5/00001.bin": some_events(seed=1),
        "Train/0/00002.bin": some_events(seed=2),
        "Train/4/00003.bin": some_events(seed=3, n=0),
        "Train/5/00004.bin": some_events(seed=4, n=1),
        "Test/7/00001.bin": some_events(seed=5),
    }
    write_nmnist(tmp_path, files)
    return tmp_path, files


def test_the_genuine_file():
    events = read_camera_events(GENUINE)
    t = np.rint(events.times * 1e6).astype("<i8")
    columns = [t, *(column.astype("<i8") for column in events[1:4])]
    assert [tuple(int(c[i]) for c in columns) for i in (0, 1, -1)] == [
        (893, 18, 16, 1),
        (1060, 20, 17, 1),
        (305924, 10, 10, 0),
    ]
    digest = hashlib.sha256(b"".join(column.tobytes() for column in columns)).hexdigest()
    assert digest == "b0ea753bcea75fec45ef37152bbeaf9594a1911e0f470e9bd75cd1a15104a83a"


def test_five_bytes_an_event(tmp_path):
    path = tmp_path / "two.bin"
    path.write_bytes(bytes.fromhex("12108003792100012345"))
    events = read_camera_events(path)
    np.testing.assert_array_equal(events.times, [0x379 / 1e6, 0x12345 / 1e6])
    assert (list(events.x), list(events.y), list(events.p)) == ([18, 33], [16, 0], [1, 0])
    path.write_bytes(bytes.fromhex("003f8f4240"))
    times, units = read_channel_events(path)
    assert (list(times), list(units)) == ([1.0], [63])


def test_an_event_in_row_240_is_an_overflow_of_the_clock(tmp_path):
    path = tmp_path / "long.bin"
    rows = [1, 240, 2, 240, 240, 3]
    path.write_bytes(camera_bytes([5, 0, 6, 0, 0, 7], [9] * 6, rows, [0] * 6))
    events = read_camera_events(path)
    np.testing.assert_array_equal(events.times * 1e6, [5, 6 + 8192, 7 + 3 * 8192])
    assert list(events.y) == [1, 2, 3]


def test_channels_go_in_and_out(tmp_path):
    rng = np.random.default_rng(0)
    t, units = np.sort(rng.integers(0, 1 << 23, 300)), rng.integers(0, 1 << 16, 300)
    (tmp_path / "a.bs1").write_bytes(channel_bytes(t, units))
    times, found = read_channel_events(tmp_path / "a.bs1")
    np.testing.assert_array_equal(times, t / 1e6)
    np.testing.assert_array_equal(found, units)


def test_recordings_are_in_the_order_of_their_numbers(folder):
    root, files = folder
    train, test = NMNIST(root), NMNIST(root, "test")
    assert list(train.labels) == [5, 0, 4, 5] and list(test.labels) == [7]
    assert (train.size, train.sensor, len(train.class_names)) == (2312, (2, 34, 34), 10)
    for i in (3, 0, 2, 1, -1):  # in any order
        spikes, label = train[i]
        same_events(spikes, list(files.values())[:4][i], SENSOR)
        assert label == train.labels[i] and list(spikes.labels) == [label]
    batch = train.spikes()
    assert list(np.diff(batch.offsets)) == [200, 200, 0, 1]
    same_events(batch[1], files["Train/0/00002.bin"], SENSOR)


def test_events_after_the_horizon_are_left_out(folder):
    root, files = folder
    spikes, _ = NMNIST(root, duration=0.1)[0]
    assert 0 < len(spikes.times) < 200 and spikes.duration == 0.1
    same_events(spikes, files["Train/5/00001.bin"], SENSOR, 0.1)


def test_it_can_be_pickled(folder):
    train = NMNIST(folder[0])
    copy = pickle.loads(pickle.dumps(train))
    np.testing.assert_array_equal(copy[1][0].times, train[1][0].times)


@pytest.mark.parametrize("length", [*range(1, 5), 6, 999, 996])
def test_a_file_that_is_cut_off(folder, length):
    path = folder[0] / "Train/5/00001.bin"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(FileError, match=rf"00001.bin: has {length} bytes"):
        NMNIST(folder[0])[0]


def test_a_pixel_outside_the_sensor(folder):
    path = folder[0] / "Train/5/00001.bin"
    path.write_bytes(camera_bytes([1, 2], [33, 34], [33, 0], [1, 1]))
    with pytest.raises(FileError, match="00001.bin: event 1 has x = 34, must be from 0 to 33"):
        NMNIST(folder[0])[0]


def test_a_file_that_has_gone(folder):
    train = NMNIST(folder[0])
    (folder[0] / "Train/5/00001.bin").unlink()
    with pytest.raises(FileError, match="00001.bin: can't be read: No such file"):
        train[0]


def test_missing_and_packed_folders(tmp_path):
    with pytest.raises(FileError, match=r"has no Train; put it there: Train.zip, unpacked, from"):
        NMNIST(tmp_path)
    (tmp_path / "Train.zip").write_bytes(b"PK")
    with pytest.raises(FileError, match=r"unpack \S+Train.zip"):
        NMNIST(tmp_path)
    (tmp_path / "Train" / "3").mkdir(parents=True)
    with pytest.raises(FileError, match=r"Train: has no 0/\*.bin"):
        NMNIST(tmp_path)
    with pytest.raises(ValueError, match="split = 'valid', must be one of train, test"):
        NMNIST(tmp_path, "valid")
    with pytest.raises(ValueError, match="duration = nan"):
        write_nmnist(tmp_path, {"Train/3/00001.bin": some_events()})
        NMNIST(tmp_path, duration=np.nan)


def test_download_asks_tonic_and_finds_what_it_fetched(tmp_path, monkeypatch):
    asked = []

    def fetched(save_to, train):
        asked.append((save_to, train))
        write_nmnist(Path(save_to) / "NMNIST", {"Test/3/00001.bin": some_events()})

    tonic = SimpleNamespace(NMNIST=fetched)
    monkeypatch.setitem(sys.modules, "tonic", SimpleNamespace(datasets=tonic))
    monkeypatch.setitem(sys.modules, "tonic.datasets", tonic)
    data = NMNIST(tmp_path, "test", download=True)
    assert asked == [(str(tmp_path), False)] and list(data.labels) == [3]


def test_tonic_reads_the_same(tmp_path):
    tonic = pytest.importorskip("tonic")
    path = tmp_path / "long.bin"
    t, x, y, p = some_events()
    y[[50, 120]] = 240
    path.write_bytes(camera_bytes(t, x, y, p))
    for file in (GENUINE, path):
        theirs = tonic.io.read_mnist_file(str(file), tonic.datasets.NMNIST.dtype)
        ours = read_camera_events(file)
        np.testing.assert_array_equal(ours.times, theirs["t"] / 1e6)
        for name in "xyp":
            np.testing.assert_array_equal(getattr(ours, name), theirs[name])
    assert (tonic.datasets.NMNIST.train_folder, tonic.datasets.NMNIST.test_folder) == (
        "Train",
        "Test",
    )
