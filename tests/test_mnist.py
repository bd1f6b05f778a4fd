"""MNIST: its files in all their layouts, sound and broken, and the two spike codings."""

import gzip
import io
import pickle
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from evsim import FileError
from evsim.datasets.formats.idx import read_idx
from evsim.datasets.sets.latency_mnist import LatencyMNIST
from evsim.datasets.sets.mnist import mnist_images
from evsim.datasets.sets.sequential_mnist import SequentialMNIST

SAMPLE = Path(__file__).parent / "data" / "mnist"
IDX_CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def idx_bytes(array):
    code = IDX_CODES[array.dtype.str[1:]]
    header = struct.pack(f">4B{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_npz(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


def write_raw_npz(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def npy_bytes(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


# Reading


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", IDX_CODES)
def test_idx_of_all_types(tmp_path, dtype, packed):
    array = np.arange(-6 if dtype[0] != "u" else 0, 18, dtype=dtype)[:18].reshape(3, 2, 3)
    content = idx_bytes(array)
    (tmp_path / "a").write_bytes(gzip.compress(content) if packed else content)
    read = read_idx(tmp_path / "a")
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype and read.dtype.isnative and read.flags.writeable


def test_idx_without_numbers(tmp_path):
    (tmp_path / "a").write_bytes(idx_bytes(np.empty((0, 28, 28), "u1")))
    assert read_idx(tmp_path / "a").shape == (0, 28, 28)


@pytest.mark.parametrize("packed", [False, True])
def test_idx_cut_anywhere(tmp_path, packed):
    content = idx_bytes(np.arange(40, dtype="i2").reshape(5, 8))
    content = gzip.compress(content) if packed else content
    for n in range(len(content)):
        (tmp_path / "a").write_bytes(content[:n])
        with pytest.raises(FileError, match="/a: ") as caught:
            read_idx(tmp_path / "a")
        assert "\n" not in str(caught.value)


def test_idx_changed_anywhere(tmp_path):
    array = np.arange(40, dtype="i2").reshape(5, 8)
    content = gzip.compress(idx_bytes(array), mtime=0)
    unharmed = []
    for n in range(len(content)):
        (tmp_path / "a").write_bytes(content[:n] + bytes([content[n] ^ 0x55]) + content[n + 1 :])
        try:
            found = read_idx(tmp_path / "a")
        except FileError:
            continue
        np.testing.assert_array_equal(found, array)
        unharmed.append(n)
    assert unharmed == [4, 5, 6, 7, 8, 9]  # gzip's time, compression and operating system


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is not an IDX file: begins with nothing"),
        (b"\x89PNG\r\n", "is not an IDX file: begins with 89 50 4e 47"),
        (bytes([0, 0, 7, 1, 0, 0, 0, 0]), "is not an IDX file"),
        (bytes([0, 0, 8, 3, 0, 0, 0, 1]), "ends within its 3 dimensions"),
        (bytes([0, 0, 8, 2] + 8 * [255]), "is far too short for its 4294967295 x 4294967295"),
        (bytes([0, 0, 8, 3] + 4 * [0] + 8 * [255]), "can't hold its 0 x 4294967295"),
        (bytes([0, 0, 8, 80] + 80 * [0, 0, 0, 1] + [7]), "can't hold its 1 x 1"),
        (bytes([0, 0, 8, 1, 0, 0, 0, 2, 7]), "holds fewer than its 2 numbers"),
        (bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 8, 9]), "holds more than its 2 numbers"),
        (gzip.compress(bytes([0, 0, 8, 1, 0, 255, 255, 255])), "is far too short"),
        (gzip.compress(bytes([0, 0, 8, 1, 0, 0, 16, 0])), "holds fewer than"),
    ],
)
def test_broken_idx(tmp_path, content, message):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(FileError, match=message):
        read_idx(tmp_path / "a")


def test_idx_that_is_no_file(tmp_path):
    with pytest.raises(FileError, match="can't be read: No such file"):
        read_idx(tmp_path / "a")
    with pytest.raises(FileError, match="can't be read: Is a directory"):
        read_idx(tmp_path)


def test_the_sample_is_of_mnist():
    images, labels = mnist_images(SAMPLE, "train")
    assert labels.tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5, 3, 6, 1, 7, 2, 8, 6, 9]
    assert (images.shape, images.dtype, int(images[0].sum())) == ((20, 28, 28), np.uint8, 27525)
    images, labels = mnist_images(SAMPLE, "test")
    assert labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert int(images[0, 7, 6]) == 84 and not images[:, 0].any()


@pytest.mark.parametrize("place", ["", "MNIST/raw", "MNIST", "smnist"])
@pytest.mark.parametrize("unpacked", [False, True])
def test_layouts(tmp_path, place, unpacked):
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    for path in SAMPLE.glob("*.gz"):
        if unpacked:
            name = path.stem.replace("-idx", ".idx") if place else path.stem
            (tmp_path / place / name).write_bytes(gzip.decompress(path.read_bytes()))
        else:
            shutil.copy(path, tmp_path / place)
    for split in ("train", "test"):
        for found, expected in zip(
            mnist_images(tmp_path, split), mnist_images(SAMPLE, split), strict=True
        ):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("in_columns", [False, True])
def test_keras_file(tmp_path, in_columns):
    arrays = {}
    for split in ("train", "test"):
        arrays[f"x_{split}"], arrays[f"y_{split}"] = mnist_images(SAMPLE, split)
    if in_columns:
        arrays = {name: np.asfortranarray(array) for name, array in arrays.items()}
    path = write_npz(tmp_path / "mnist.npz", **arrays)
    for source in (tmp_path, path):
        images, labels = mnist_images(source, "test")
        np.testing.assert_array_equal(images, arrays["x_test"])
        np.testing.assert_array_equal(labels, arrays["y_test"])


def test_missing_files_say_where_to_get_them(tmp_path):
    with pytest.raises(FileError, match=r"has no train-labels-idx1-ubyte; .*cvdf-datasets/mnist"):
        mnist_images(tmp_path)
    shutil.copy(SAMPLE / "train-labels-idx1-ubyte.gz", tmp_path)
    with pytest.raises(FileError, match="has no train-images-idx3-ubyte"):
        mnist_images(tmp_path)
    with pytest.raises(ValueError, match="split = 'valid', must be one of train, test"):
        mnist_images(SAMPLE, "valid")


def test_tonic_may_fetch_them(tmp_path, monkeypatch):
    def fetch(name, folder, train):
        assert (name, train) == ("SMNIST", False)
        (folder / "smnist").mkdir()  # where tonic unpacks them
        for path in SAMPLE.glob("t10k*.gz"):
            (folder / "smnist" / path.stem).write_bytes(gzip.decompress(path.read_bytes()))

    monkeypatch.setattr("evsim.datasets.sets.mnist.fetch", fetch)
    assert len(LatencyMNIST(tmp_path, "test", download=True).spikes()) == 20


@pytest.mark.parametrize(
    "images, labels, message",
    [
        (np.zeros((3, 28, 28), "u1"), np.zeros(2, "u1"), r"has uint8 \[3, 28, 28\], must be"),
        (np.zeros((2, 28, 27), "u1"), np.zeros(2, "u1"), r"must be uint8 \[2, 28, 28\]"),
        (np.zeros((2, 28, 28), "i2"), np.zeros(2, "u1"), r"has int16 \[2, 28, 28\]"),
        (np.zeros((2, 28, 28), "u1"), np.zeros((2, 1), "u1"), r"must be uint8 \[image\]"),
        (np.zeros((2, 28, 28), "u1"), np.array([3, 10], "u1"), "label 1 is 10, must be a digit"),
        (np.zeros((2, 28, 28), "u1"), np.zeros(2, "f8"), r"has float64 \[2\]"),
    ],
)
@pytest.mark.parametrize("keras", [False, True])
def test_arrays_that_are_not_mnist(tmp_path, images, labels, message, keras):
    if keras:
        write_npz(tmp_path / "mnist.npz", x_test=images, y_test=labels)
    else:
        (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(images))
        (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    with pytest.raises(FileError, match=message):
        mnist_images(tmp_path, "test")


def test_keras_file_cut_or_changed_anywhere(tmp_path):
    images, labels = (array[:2] for array in mnist_images(SAMPLE, "test"))
    content = write_npz(tmp_path / "whole.npz", x_test=images, y_test=labels).read_bytes()
    path = tmp_path / "mnist.npz"
    for n in range(0, len(content), 7):
        path.write_bytes(content[:n])
        with pytest.raises(FileError, match=r"mnist\.npz"):
            mnist_images(tmp_path, "test")
        path.write_bytes(content[:n] + bytes([content[n] ^ 0xFF]) + content[n + 1 :])
        try:
            found = mnist_images(tmp_path, "test")
        except FileError:
            continue
        np.testing.assert_array_equal(found[0], images)
        np.testing.assert_array_equal(found[1], labels)


LABELS = npy_bytes(np.zeros(2, "u1"))


@pytest.mark.parametrize(
    "content, message",
    [
        (npy_bytes(np.array([{}], object)), "can't be read"),
        (LABELS.replace(b"(2,)", b"(9,)"), r"2 bytes are not \[9\] uint8"),
        (LABELS.replace(b"(2,), }", b"((((((("), "can't be read"),
        (LABELS.replace(b"(2,)", b"(-2"), "can't be read"),
        (LABELS.replace(b"NUMPY", b"numpy"), "can't be read"),
        (LABELS.replace(b"\x01\x00", b"\x09\x00", 1), "can't be read"),
        (LABELS[:60], "can't be read"),
        (b"", "can't be read"),
    ],
)
def test_broken_array_in_a_sound_archive(tmp_path, content, message):
    write_raw_npz(tmp_path / "mnist.npz", {"y_test.npy": content})
    with pytest.raises(FileError, match=message) as caught:
        mnist_images(tmp_path, "test")
    assert "\n" not in str(caught.value)


def test_archive_of_something_else_or_far_too_large(tmp_path):
    path = write_npz(tmp_path / "mnist.npz", a=np.zeros(2))
    with pytest.raises(FileError, match="has no y_train; is it Keras' mnist.npz"):
        mnist_images(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("y_train.npy", bytes(1 << 27))
    with pytest.raises(FileError, match="asks for 537 MB of memory .134,217,728 bytes, unpacked"):
        mnist_images(path)


# Latencies


def test_latencies_of_eventprop():
    images, labels = mnist_images(SAMPLE, "train")
    data = LatencyMNIST(SAMPLE)
    assert (len(data), data.size, data.duration) == (20, 784, 40e-3)
    assert data.class_names == list("0123456789")
    for i, (spikes, label) in enumerate(data):
        pixels = images[i].ravel()
        expected = {u: (1 - p / 255) * 20e-3 for u, p in enumerate(pixels.tolist()) if p > 1}
        assert dict(zip(spikes.units.tolist(), spikes.times.tolist(), strict=True)) == expected
        assert (np.diff(spikes.times) >= 0).all() and label == labels[i]


def test_latency_options():
    data = LatencyMNIST(SAMPLE, "test", t_max=1.0, threshold=200, duration=1.5)
    times = data.spikes().times
    assert 0 <= times.min() and times.max() == 1 - (data.images[data.images > 200].min() / 255)
    assert data.duration == 1.5
    for options in (dict(t_max=0), dict(t_max=np.nan), dict(duration=10e-3), dict(threshold=256)):
        with pytest.raises(ValueError, match=next(iter(options))):
            LatencyMNIST(SAMPLE, **options)


@pytest.mark.parametrize("coding", [LatencyMNIST, SequentialMNIST])
def test_they_are_data_sets(coding):
    data = coding(SAMPLE, "test")
    whole = data.spikes()
    np.testing.assert_array_equal(whole.labels, data.labels)
    again = pickle.loads(pickle.dumps(data))
    np.testing.assert_array_equal(again.spikes().times, whole.times)
    assert len(pickle.dumps(data)) < 9000  # the images stay behind
    picked = data[[7, 2, 7]]
    np.testing.assert_array_equal(picked.spikes().units, whole[[7, 2, 7]].units)
    np.testing.assert_array_equal(picked.images, data.images[[7, 2, 7]])
    batches = list(data.batches(8))
    assert [len(batch) for batch in batches] == [8, 8, 4]
    np.testing.assert_array_equal(np.concatenate([b.times for b in batches]), whole.times)
    assert len(data[:0].spikes()) == 0


@pytest.mark.parametrize("coding", [LatencyMNIST, SequentialMNIST])
def test_images_are_read_when_first_asked_for(tmp_path, coding):
    for path in SAMPLE.glob("t10k*"):
        shutil.copy(path, tmp_path)
    images = tmp_path / "t10k-images-idx3-ubyte.gz"
    content = images.read_bytes()
    images.write_bytes(content[:100])
    data = coding(tmp_path, "test")
    assert len(data) == 20
    with pytest.raises(FileError, match="t10k-images"):
        data[0]
    images.write_bytes(content)
    assert len(data[0][0].times)


# Sequences


def crossings_one_by_one(sequence, n_thresholds, cue):
    """Follow the definition, pixel by pixel and threshold by threshold."""
    found = []
    for k, value in enumerate(sequence):
        for j in range(n_thresholds - 1):
            reached = [v * (n_thresholds - 1) >= 255 * j for v in (sequence[max(k - 1, 0)], value)]
            if reached == [False, True]:
                found.append((k, 2 * j))
            if reached == [True, False]:
                found.append((k, 2 * j + 1))
        if value == 255:
            found.append((k, 2 * n_thresholds - 2))
    return found + [(784 + k, 2 * n_thresholds - 1) for k in range(cue)]


@pytest.mark.parametrize(
    "options", [{}, dict(permuted=False), dict(n_thresholds=2, cue=0), dict(n_thresholds=256)]
)
def test_sequences_cross_thresholds(options):
    data = SequentialMNIST(SAMPLE, "train", **options)[:4]
    n_thresholds, cue = options.get("n_thresholds", 40), options.get("cue", 56)
    for i, (spikes, _) in enumerate(data):
        sequence = data.images[i].ravel()[data.order].tolist()
        expected = sorted(crossings_one_by_one(sequence, n_thresholds, cue))
        steps = np.rint(spikes.times / 1e-3).astype(int)
        assert list(zip(steps.tolist(), spikes.units.tolist(), strict=True)) == expected


def test_published_size_and_length():
    data = SequentialMNIST(SAMPLE)
    assert data.size == 80 and data.duration == pytest.approx(0.84)
    spikes, _ = data[0]
    assert spikes.times.max() < data.duration
    assert (np.diff(spikes.times[spikes.units == 79]) > 0.9e-3).all()
    assert not np.isin(spikes.units, [0, 1]).any()


def test_the_order_is_fixed_by_the_seed_and_shared_by_the_splits():
    train, test = (SequentialMNIST(SAMPLE, split, seed=3) for split in ("train", "test"))
    np.testing.assert_array_equal(train.order, test.order)
    assert sorted(train.order) == list(range(784)) != train.order.tolist()
    assert (SequentialMNIST(SAMPLE, seed=4).order != train.order).any()
    plain = SequentialMNIST(SAMPLE, permuted=False)
    assert plain.order.tolist() == list(range(784))


def test_grey_values_are_the_pixels_in_order():
    data = SequentialMNIST(SAMPLE, "test", seed=1)[5:8]
    grey = data.grey_values()
    assert (grey.shape, grey.dtype) == ((784, 3, 1), np.float32)
    expected = data.images.reshape(3, 784).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(grey[:, :, 0].T, expected[:, data.order])


@pytest.mark.parametrize(
    "options", [dict(n_thresholds=1), dict(n_thresholds=257), dict(cue=-1), dict(dt=0.0)]
)
def test_bad_options_of_sequences(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SequentialMNIST(SAMPLE, **options)
