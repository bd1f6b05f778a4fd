"""Files of every format are recognised; others are not, and none of them breaks anything."""

from pathlib import Path

import numpy as np
import pytest
from small_event_files import (
    AEDAT_HEADER,
    aedat_bytes,
    camera_bytes,
    channel_bytes,
    same_events,
    some_events,
    write_events,
    write_gestures,
    write_ntidigits,
)
from small_files import some_network, some_result, some_spikes

import evsim
from evsim import FileError
from evsim.datasets.formats.event_file import EventFile
from evsim.datasets.recognise import recognise
from evsim.datasets.sets.ntidigits import NTIDIGITS

EVENTS = Path(__file__).parent / "data" / "events"
DIGITS = {"train": {"man-ae-a-z": ([0.1], [3])}, "test": {"man-cb-a-1": ([0.2], [4])}}


def test_the_genuine_files():
    digit = recognise(EVENTS / "nmnist-train-00001.bin")
    assert (len(digit), digit.sensor, digit.duration) == (1, (2, 34, 34), 0.4)
    assert len(digit[0][0].times) == 4681 and digit.class_names == ["unlabelled"]
    gesture = recognise(EVENTS / "dvsgesture-extract.aedat")
    assert (len(gesture), gesture.sensor, gesture.duration) == (1, (2, 128, 128), 0.1)
    spikes, label = gesture[0]
    assert len(spikes.times) == 4000 and spikes.times[0] == 0 and label == 0
    assert spikes.times[-1] == pytest.approx((31121 - 3) * 1e-6)


def test_hdf5_files(tmp_path):
    write_ntidigits(tmp_path / "a", DIGITS)
    assert isinstance(recognise(tmp_path / "a"), NTIDIGITS)
    assert recognise(tmp_path / "a").speaker_names == ["man-ae", "man-cb"]
    write_events(tmp_path / "b", [some_events()], labels=[3])
    data = recognise(str(tmp_path / "b"))
    assert isinstance(data, EventFile) and list(data.labels) == [3]


def test_an_aedat_file_with_its_labels(tmp_path):
    columns = some_events(400, 128, 128)
    intervals = [(11, 0, 100_000), (1, 100_000, 250_000)]
    write_gestures(tmp_path, {"train": ["user01_led"]}, lambda _: columns, lambda _: intervals)
    data = recognise(tmp_path / "user01_led.aedat")
    assert [data.class_names[i] for i in data.labels] == ["other gestures", "hand clapping"]
    assert data.duration == 0.15
    inside = columns[0] < 100_000
    same_events(data[0][0], [column[inside] for column in columns], (2, 128, 128))


def test_files_without_a_header(tmp_path):
    for side, sensor in ((34, 34), (128, 128), (200, 256)):
        columns = some_events(300, side, side)
        for name in ("a.bin", "a.bs2"):
            (tmp_path / name).write_bytes(camera_bytes(*columns))
            data = recognise(tmp_path / name)
            assert data.sensor == (2, sensor, sensor)
            same_events(data[0][0], columns, data.sensor)
    (tmp_path / "a.bs1").write_bytes(channel_bytes([500, 1_078_000], [63, 2]))
    data = recognise(tmp_path / "a.bs1")
    spikes, _ = data[0]
    assert (data.size, data.duration, data.sensor) == (64, 1.1, None)
    assert list(spikes.times) == [500e-6, 1.078] and list(spikes.units) == [63, 2]


def test_what_is_none_of_these(tmp_path):
    evsim.save_spikes(tmp_path / "spikes.h5", some_spikes())
    some_network().save(tmp_path / "network.h5")
    evsim.save_result(tmp_path / "result.h5", some_result())
    (tmp_path / "a.bin").write_bytes(b"1234567")
    (tmp_path / "b.bin").write_bytes(camera_bytes([5, 4], [0, 0], [0, 0], [0, 0]))
    (tmp_path / "a.txt").write_bytes(b"12345")
    (tmp_path / "empty").touch()
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n")
    for path in [tmp_path, tmp_path / "nowhere", *tmp_path.iterdir()]:
        assert recognise(path) is None, path


def test_damaged_files_are_refused_by_name(tmp_path):
    write_ntidigits(tmp_path / "a.h5", DIGITS)
    write_events(tmp_path / "b.h5", [some_events()])
    (tmp_path / "c.aedat").write_bytes(aedat_bytes(*some_events(20)))
    (tmp_path / "d.aedat").write_bytes(AEDAT_HEADER.replace(b"DVS128", b"Eye"))
    (tmp_path / "e.bs1").write_bytes(b"123456")
    for name in "abc":
        path = next(tmp_path.glob(f"{name}.*"))
        path.write_bytes(path.read_bytes()[:-3])
    for path in tmp_path.iterdir():
        with pytest.raises(FileError, match=path.name):
            recognise(path)


@pytest.mark.parametrize("seed", range(20))
def test_any_bytes_at_all(tmp_path, seed):
    rng = np.random.default_rng(seed)
    noise = rng.bytes(int(rng.integers(0, 400)))
    for name, data in (
        ("a.bin", noise),
        ("a.bs1", noise),
        ("a.aedat", AEDAT_HEADER + noise),
        ("a.h5", b"\x89HDF\r\n\x1a\n" + noise),
    ):
        (tmp_path / name).write_bytes(data)
        try:
            found = recognise(tmp_path / name)
            if found is not None:
                found.spikes()
        except FileError as error:
            assert name in str(error)
