"""DVS128 Gesture: AEDAT 3.1, tables of labels, tonic's files, and what can be wrong with them."""

import hashlib
import pickle
import struct
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_event_files import (
    AEDAT_HEADER,
    GESTURE_HEADING,
    aedat_bytes,
    packet,
    polarity_packet,
    same_events,
    some_events,
    write_gestures,
)
from small_files import refused

from evsim import FileError
from evsim.datasets.formats.aedat import AedatFile
from evsim.datasets.sets.dvs_gesture import GESTURES, SENSOR, DVSGesture, read_labels

GENUINE = Path(__file__).parent / "data" / "events" / "dvsgesture-extract.aedat"
TRIALS = {"train": ["user02_led", "user01_natural"], "test": ["user24_fluorescent_led"]}
# The second interval reaches into the third one, as in the published user22_led.
INTERVALS = [(2, 50_000, 90_000), (9, 100_000, 180_000), (10, 170_000, 300_000)]


def events_of(name):
    return some_events(600, 128, 128, seed=len(name))


def part_of(name, begin, end):
    t, x, y, p = events_of(name)
    inside = (t >= begin) & (t < end)
    return t[inside] - begin, x[inside], y[inside], p[inside]


@pytest.fixture
def folder(tmp_path):
    write_gestures(tmp_path, TRIALS, events_of, lambda name: INTERVALS)
    return tmp_path


def columns_of(events):
    t = np.rint(events.times * 1e6).astype("<i8")
    return [t, *(column.astype("<i8") for column in events[1:4])]


def written(tmp_path, data):
    (tmp_path / "a.aedat").write_bytes(data)
    return tmp_path / "a.aedat"


def read_all(path):
    file = AedatFile(path)
    return file.read(file.first, file.last + 1)


def test_the_genuine_events():
    file = AedatFile(GENUINE)
    assert (file.n_events, file.first, file.last) == (4000, 3, 31121)
    assert (file.source, file.sensor()) == ("DVS128", SENSOR)
    columns = columns_of(file.read(0, 1 << 40))
    assert [tuple(int(c[i]) for c in columns) for i in (0, 1, -1)] == [
        (3, 67, 39, 0),
        (6, 19, 58, 1),
        (31121, 79, 37, 0),
    ]
    digest = hashlib.sha256(b"".join(column.tobytes() for column in columns)).hexdigest()
    assert digest == "2e987db130ffb457bebd1cbf3a838a824165472c078d4885e1cd95c1f75de16d"


def test_an_event_byte_by_byte(tmp_path):
    head = "01000100080000000400000002000000010000000100000001000000"
    event = "9700fe0015cd5b07"  # x = 127, y = 37, ON, valid; 123456789 us
    file = AedatFile(written(tmp_path, AEDAT_HEADER + bytes.fromhex(head + event)))
    assert file.first == (2 << 31) + 123456789
    events = file.read(file.first - 7, file.last + 1)
    assert [c.tolist() for c in events[:4]] == [[7e-6], [127], [37], [1]]


@pytest.mark.parametrize("per_packet", [1, 7, 1000])
def test_an_interval_is_the_same_however_packets_are_cut(tmp_path, per_packet):
    t, x, y, p = some_events(300, 128, 128)
    file = AedatFile(written(tmp_path, aedat_bytes(t, x, y, p, per_packet)))
    for begin, end in ((0, 400_000), (int(t[20]), int(t[200])), (t[-1], t[-1] + 1), (5, 5)):
        inside = (t >= begin) & (t < end)
        found = columns_of(file.read(begin, end))
        for mine, column in zip((t - begin, x, y, p), found, strict=True):
            np.testing.assert_array_equal(column, mine[inside])


def test_only_the_packets_of_the_interval_are_read(folder):
    file = AedatFile(folder / "user02_led.aedat")
    asked = []
    read = file._bytes
    file._bytes = lambda start, n: asked.append(n) or read(start, n)
    assert len(file.read(100_000, 110_000).times) > 0
    assert 0 < sum(asked) <= 2 * 64 * 8


def test_events_that_are_not_valid_are_left_out(tmp_path):
    columns = some_events(6, 128, 128)
    data = AEDAT_HEADER + polarity_packet(*columns, valid=[1, 0, 1, 1, 0, 1])
    found = read_all(written(tmp_path, data))
    np.testing.assert_array_equal(found.x, columns[1][[0, 2, 3, 5]])
    lies = data[: len(AEDAT_HEADER) + 24] + struct.pack("<i", 6) + data[len(AEDAT_HEADER) + 28 :]
    assert len(read_all(written(tmp_path, lies)).x) == 6  # the header says that all are valid


def test_every_labelled_interval_is_a_recording(folder):
    train, test = DVSGesture(folder, duration=0.2), DVSGesture(folder, "test", duration=0.2)
    assert list(train.labels) == [1, 8, 9] * 2 and list(train.speakers) == [2] * 3 + [1] * 3
    assert list(test.speakers) == [24] * 3
    assert (train.sensor, train.size, train.class_names) == (SENSOR, 32768, list(GESTURES))
    for i in (5, 0, 2, 1, 4, 3):
        _, begin, end = INTERVALS[i % 3]
        spikes, _ = train[i]
        same_events(spikes, part_of(TRIALS["train"][i // 3], begin, end), SENSOR, 0.2)
    assert DVSGesture(folder).duration == 1.45


def test_later_events_are_left_out(folder):
    spikes, _ = DVSGesture(folder, duration=0.03)[1]
    same_events(spikes, part_of("user02_led", 100_000, 180_000), SENSOR, 0.03)
    assert spikes.times.max() < 0.03


def test_it_can_be_pickled_and_found_one_folder_down(folder):
    (folder / "DvsGesture").mkdir()
    for path in list(folder.glob("*.*")):
        path.rename(folder / "DvsGesture" / path.name)
    train = DVSGesture(folder)
    train[0]
    copy = pickle.loads(pickle.dumps(train))
    np.testing.assert_array_equal(copy[4][0].units, train[4][0].units)
    assert copy._parts[0].file is copy._parts[2].file  # one handle per file


def write_tonic(folder, dtype=np.int64, order="C"):
    """Write what tonic's DVSGesture fetches."""
    for name, label in (("user02_led", 10), ("user02_led", 9), ("user01_lab", 0)):
        t, x, y, p = some_events(50, 128, 128, seed=label)
        (folder / name).mkdir(parents=True, exist_ok=True)
        events = np.array(np.transpose([x, y, p, t // 1000]), dtype, order=order)
        np.save(folder / name / f"{label}.npy", events)


@pytest.mark.parametrize(("dtype", "order"), [(np.int64, "C"), (">f8", "C"), (np.uint32, "F")])
def test_the_files_of_tonic(tmp_path, dtype, order):
    write_tonic(tmp_path / "DVSGesture" / "ibmGestureTrain", dtype, order)
    train = DVSGesture(tmp_path)
    assert list(train.labels) == [0, 9, 10] and list(train.speakers) == [1, 2, 2]
    for i, label in enumerate(train.labels):
        t, x, y, p = some_events(50, 128, 128, seed=label)
        same_events(train[i][0], (t // 1000 * 1000, x, y, p), SENSOR)


def test_download_asks_tonic_and_finds_what_it_fetched(tmp_path, monkeypatch):
    asked = []

    def fetched(save_to, train):
        asked.append((save_to, train))
        write_tonic(Path(save_to) / "DVSGesture" / "ibmGestureTest")

    tonic = SimpleNamespace(DVSGesture=fetched)
    monkeypatch.setitem(sys.modules, "tonic", SimpleNamespace(datasets=tonic))
    monkeypatch.setitem(sys.modules, "tonic.datasets", tonic)
    assert len(DVSGesture(tmp_path, "test", download=True)) == 3
    assert asked == [(str(tmp_path), False)]


def test_tonic_reads_the_same(tmp_path):
    tonic = pytest.importorskip("tonic")
    root = tmp_path / "DVSGesture"
    write_tonic(root / "ibmGestureTrain")
    for i in range(100):  # tonic takes fewer files for an unfinished download
        (root / "ibmGestureTrain" / f"{i}.npy").touch()
    (root / "ibmGestureTrain.tar.gz").touch()
    theirs = tonic.datasets.DVSGesture(str(tmp_path))
    found = {path: i for i, path in enumerate(theirs.data)}
    for part, (spikes, label) in zip((ours := DVSGesture(tmp_path))._parts, ours, strict=True):
        events, target = theirs[found[part.path]]
        assert target == label
        same_events(spikes, [events[name] for name in "txyp"], SENSOR, 1.45)
    names = [name.lower().replace("cw", "clockwise") for name in theirs.classes]
    assert [n.replace("cclock", "counter clock") for n in names] == ours.class_names


def test_an_aedat_file_that_is_cut_off(tmp_path):
    whole = aedat_bytes(*some_events(12, 128, 128), per_packet=4)
    ends, at = {len(AEDAT_HEADER)}, len(AEDAT_HEADER)
    while at < len(whole):
        at += 28 + 8 * struct.unpack_from("<i", whole, at + 20)[0]
        ends.add(at)
    for length in range(len(whole)):
        path = written(tmp_path, whole[:length])
        if length in ends:
            read_all(path)
        else:
            refused(path, reader=read_all)


def test_an_aedat_file_with_wrong_bytes_is_refused_or_read(tmp_path):
    whole = aedat_bytes(*some_events(12, 128, 128), per_packet=4)
    refusals = 0
    for at in range(len(whole)):
        for value in (0, 0x7F, 0xFF):
            path = written(tmp_path, whole[:at] + bytes([value]) + whole[at + 1 :])
            try:
                read_all(path)
            except FileError as error:
                refusals += 1
                assert str(error).startswith(str(path))
    assert refusals > 200


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not an AEDAT file"),
        (b"\x89HDF", "is not an AEDAT file; those start with #!AER-DAT"),
        (b"#!AER-DAT2.0\r\n# This is a raw AE data file\r\n", "is AEDAT 2.0, must be 3.1"),
        (b"#!AER-DAT3.1\r\n#Format: RAW\r\n", "its header has no end"),
        (AEDAT_HEADER.replace(b"RAW", b"PNG"), "has 'Format: PNG', must be"),
        (AEDAT_HEADER + packet(1, 8, 0x7FFFFFFF, b""), "claims 2147483647 events of 8 bytes"),
        (AEDAT_HEADER + packet(1, 8, -1, b"", valid=0), "claims -1 events"),
        (AEDAT_HEADER + packet(2, 0, 9, b""), "claims 9 events of 0 bytes"),
        (AEDAT_HEADER + packet(1, 4, 2, b"12345678"), "is damaged: events of 4 bytes"),
        (AEDAT_HEADER + packet(1, 8, 1, b"12345678", overflow=-1), "overflow -1"),
        (AEDAT_HEADER + packet(1, 8, 1, b"1234567\xff"), "has a negative time"),
    ],
)
def test_an_aedat_file_that_is_wrong(tmp_path, data, message):
    def read(path):
        AedatFile(path).read(-(1 << 62), 1 << 62)

    refused(written(tmp_path, data), message, reader=read)


def test_an_unknown_camera(tmp_path):
    header = AEDAT_HEADER.replace(b"DVS128", b"Eye9")
    path = written(tmp_path, aedat_bytes(*some_events(3), header=header))
    refused(path, "was recorded by Eye9, known are DVS128", reader=lambda p: AedatFile(p).sensor())


def test_a_pixel_outside_the_sensor(folder):
    t, x, y, p = events_of("user02_led")
    (folder / "user02_led.aedat").write_bytes(aedat_bytes(t, x + 200, y, p))
    with pytest.raises(FileError, match=r"user02_led.aedat: event 0 has x = \d+, must be from 0"):
        DVSGesture(folder)[0]


@pytest.mark.parametrize(
    "line",
    ["0,1,2", "12,1,2", "3,5,5", "3,9,2", "3,1", "3,1,2,3", "a,b,c", "3,-1,2", "3,1.5,2", "ä,1,2"]
    + ["3,1," + "9" * 5000],
)
def test_a_table_of_labels_that_is_wrong(folder, line):
    table = folder / "user02_led_labels.csv"
    table.write_text(f"{GESTURE_HEADING}\n2,0,100\n\n{line}\n", encoding="latin-1")
    with pytest.raises(FileError, match="user02_led_labels.csv: line 4 is"):
        DVSGesture(folder)


def test_a_table_of_labels_without_its_heading(tmp_path):
    table = tmp_path / "a_labels.csv"
    for text in ("", "2,0,100\n", "\x00\x01"):
        table.write_text(text)
        refused(table, "must start with the line class,startTime_usec", reader=read_labels)
    refused(tmp_path / "b_labels.csv", "No such file", reader=read_labels)


def test_missing_files(folder, tmp_path_factory):
    with pytest.raises(ValueError, match="split = 'valid', must be one of train, test"):
        DVSGesture(folder, "valid")
    (folder / "user02_led.aedat").unlink()
    with pytest.raises(FileError, match="user02_led.aedat: is missing, but trials_to_train.txt"):
        DVSGesture(folder)
    for lists, message in (("../user02_led.aedat", "lists '../user"), ("", "lists no recordings")):
        (folder / "trials_to_train.txt").write_text(lists)
        with pytest.raises(FileError, match=message):
            DVSGesture(folder)
    empty = tmp_path_factory.mktemp("empty")
    message = "has no trials_to_train.txt; put it there: DvsGesture.tar.gz, unpacked, from https"
    with pytest.raises(FileError, match=message):
        DVSGesture(empty)
    (empty / "DvsGesture.tar.gz").touch()
    with pytest.raises(FileError, match=r"unpack \S+DvsGesture.tar.gz"):
        DVSGesture(empty)
    (empty / "ibmGestureTrain").mkdir()
    with pytest.raises(FileError, match="ibmGestureTrain: has no userNN_<light>"):
        DVSGesture(empty)


def npy(events):
    from io import BytesIO

    file = BytesIO()
    np.save(file, events)
    return file.getvalue()


GOOD = npy(np.ones((5, 4), np.int64))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (GOOD[:-1], "claims 5 events of 32 bytes, but 159 bytes follow"),
        (GOOD + b"1", "claims 5 events of 32 bytes, but 161 bytes follow"),
        (GOOD.replace(b"(5, 4)", b"(9999999999, 4)"), "claims 9999999999 events"),
        (GOOD[:50], "is not a NumPy file of numbers"),
        (b"", "is not a NumPy file of numbers"),
        (npy(np.ones((5, 3))), "is not a NumPy file of numbers"),
        (npy(np.array([[{}] * 4])), "is not a NumPy file of numbers"),
        (npy([[1.5, 1, 1, 1]]), "event 0 is"),
        (npy([[np.nan, 1, 1, 1]]), "event 0 is"),
        (npy([[1e300, 1, 1, 1]]), "event 0 has x = 1e+300, must be from 0 to 127"),
        (npy([[1, 1, 2, 1]]), "event 0 has p = 2"),
        (npy([[1, -1, 0, 1]]), "event 0 has y = -1"),
        (npy([[1, 1, 0, -1]]), "event 0 is at -0.001 s"),
        (npy([[1, 1, 0, np.inf]]), "event 0 is at inf s"),
    ],
)
def test_a_numpy_file_that_is_wrong(tmp_path, data, message):
    folder = tmp_path / "ibmGestureTrain" / "user01_lab"
    folder.mkdir(parents=True)
    (folder / "3.npy").write_bytes(data)
    refused(folder / "3.npy", message, reader=lambda _: DVSGesture(tmp_path)[0])


def test_a_numpy_file_with_a_wrong_name(tmp_path):
    folder = tmp_path / "ibmGestureTrain" / "user01_lab"
    folder.mkdir(parents=True)
    (folder / "11.npy").write_bytes(GOOD)
    with pytest.raises(FileError, match=r"11.npy: must be userNN_<light>/<class 0 to 10>.npy"):
        DVSGesture(tmp_path)
