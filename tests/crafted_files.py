"""Files of at most 100 kB that ask for far more, each as an attacker or an accident makes it."""

import gzip
import struct
import zlib

import h5py
import numpy as np
from small_event_files import AEDAT_HEADER, GESTURE_HEADING, polarity_packet

import evsim

MOST = 100_000  # bytes of a file


def zeros(file, name, shape, dtype, value=0):
    """Create a packed data set of one value, chunk by chunk, without ever holding it."""
    chunk = (min(shape[0], max(1, (1 << 24) // int(np.prod(shape[1:])))), *shape[1:])
    dataset = file.create_dataset(name, shape, dtype, chunks=chunk, compression="gzip")
    packed = zlib.compress(np.full(chunk, value, dtype).tobytes(), 9)
    for first in range(0, shape[0], chunk[0]):
        dataset.id.write_direct_chunk((first, *[0] * (len(shape) - 1)), packed)
    return dataset


def packed(name, data, file, **options):
    file.create_dataset(name, data=data, compression="gzip", shuffle=True, **options)


def spikes(path, n=20, **data):
    """Write a sound spike file of 20 units, then replace some of it."""
    rng = np.random.default_rng(0)
    times, units = rng.random(5 * n), rng.integers(0, 20, 5 * n)
    labels = np.arange(n) % 4
    evsim.save_spikes(path, evsim.Spikes(times, units, np.arange(n + 1) * 5, 20, 1.0, labels))
    with h5py.File(path, "r+") as file:
        for name, value in data.items():
            if name in file.attrs:
                file.attrs[name] = value
            else:
                del file[name]
                file[name] = value


def label_of_2_to_the_40(path):
    spikes(path, labels=np.array([1 << 40] + [0] * 19))


def sixteen_million_units(path):
    spikes(path, size=1 << 24)


def empty_ragged(path):
    with h5py.File(path, "w") as file:
        for name, kind in (("times", "f8"), ("units", "u2")):
            column = file.create_dataset(
                f"spikes/{name}", (2_000_000,), h5py.vlen_dtype(kind), chunks=(1_000_000,),
                compression="gzip",
            )  # fmt: skip
            raw = zlib.compress(bytes(16_000_000), 9)
            for first in range(0, 2_000_000, 1_000_000):
                column.id.write_direct_chunk((first,), raw)


def shared_ragged(path):
    """Write 50,000 recordings of one spike, which alternate between two heap collections."""
    with h5py.File(path, "w") as file:
        for name in ("times", "units"):
            column = file.create_dataset(f"spikes/{name}", (600,), h5py.vlen_dtype("u1"))
            for b in range(600):
                column[b] = np.zeros(1, "u1")
            offset = column.id.get_offset()
            file.flush()
            with open(path, "rb") as raw:
                raw.seek(offset)
                entries = np.frombuffer(raw.read(16 * 600), "V16")
            many = np.tile(entries[[0, 599]], 25_000).tobytes()
            del file[f"spikes/{name}"]
            column = file.create_dataset(
                f"spikes/{name}", (50_000,), h5py.vlen_dtype("u1"), chunks=(50_000,),
                compression="gzip",
            )  # fmt: skip
            column.id.write_direct_chunk((0,), zlib.compress(many, 9))


def end_to_end(path, n_recordings, n_spikes, labels=None):
    """Write a packed file whose recordings share the spikes evenly."""
    with h5py.File(path, "w") as file:
        zeros(file, "spikes/times", (n_spikes,), "u1")
        zeros(file, "spikes/units", (n_spikes,), "u1")
        offsets = np.arange(n_recordings + 1) * n_spikes // n_recordings
        packed("spikes/offsets", offsets, file, compression_opts=9)
        if labels is not None:
            packed("labels", labels, file, compression_opts=9)


def empty_packed(path):
    with h5py.File(path, "w") as file:
        for name in ("times", "units"):
            file.create_dataset(f"spikes/{name}", (0,), "u1", maxshape=(None,))
        zeros(file, "spikes/offsets", (80_000_000,), "u1")


def many_empty_packed(path):
    end_to_end(path, 250_000, 2000, np.arange(250_000) // 1000)


def tiny_packed(path):
    end_to_end(path, 400_000, 400_000)


def long_packed(path):
    end_to_end(path, 10, 8_000_000)


def endless_packed(path):
    end_to_end(path, 1, 30_000_000)


def many_keys(path):
    spikes(path)
    with h5py.File(path, "r+") as file:
        zeros(file, "extra/keys", (30_000,), "S1000")


def much_extra(path):
    spikes(path)
    with h5py.File(path, "r+") as file:
        zeros(file, "extra/x", (30_000_000,), "u1")
        for i in range(100):
            file[f"extra/link{i}"] = file["extra/x"]


def diamond_extra(path):
    """Write groups of which each holds the next one 30 times."""
    spikes(path)
    with h5py.File(path, "r+") as file:
        group = file.create_group("extra")
        for _ in range(7):
            new = group.create_group("0")
            for i in range(1, 30):
                group[str(i)] = new
            group = new


def camera(path, side=128, n=2000, n_recordings=20, **columns):
    with h5py.File(path, "w") as file:
        for name in "txyp":
            packed(f"events/{name}", np.zeros(n, np.int64), file)
        file["offsets"] = np.arange(n_recordings + 1) * n // n_recordings
        file.attrs["height"] = file.attrs["width"] = side


def large_camera(path):
    camera(path, 16384)


def fair_camera(path):
    camera(path, 2800)


def many_camera(path):
    with h5py.File(path, "w") as file:
        for name in "txyp":
            zeros(file, f"events/{name}", (300_000,), "u1")
        packed("offsets", np.arange(300_001), file, compression_opts=9)
        file.attrs["height"] = file.attrs["width"] = 128


def empty_camera(path):
    with h5py.File(path, "w") as file:
        for name in "txyp":
            file.create_dataset(f"events/{name}", (0,), "u1", maxshape=(None,))
        zeros(file, "offsets", (50_000_000,), "u1")
        file.attrs["height"] = file.attrs["width"] = 128


def network(path, populations, projections, output=None, change=None):
    net = evsim.Network(populations, projections, output=output)
    net.save(path)
    with h5py.File(path, "r+") as file:
        if change is not None:
            change(file)


def small_network(path, change, hidden="LIF"):
    """Write 20 inputs into 2 units, then change the file."""
    network(
        path,
        [evsim.Population("in", "Input", 20), evsim.Population("p", hidden, 2, tau_mem=0.02)],
        [evsim.Dense(pre="in", post="p", weight=np.ones((2, 20)))],
        output="p",
        change=change,
    )


def forty_populations(path):
    def change(file):
        for i in range(40):
            file.copy("populations/p", f"populations/p{i}")
            file[f"populations/p{i}"].attrs["size"] = 1 << 24

    small_network(path, change)


def million_units(path):
    def change(file):
        file["populations/p"].attrs["size"] = 1_500_000
        del file["projections/in->p"]
        group = file.create_group("projections/in->p")
        group.attrs.update({"pre": "in", "post": "p", "kind": "sparse"})
        group["indptr"], group["indices"] = np.arange(21), np.arange(20)
        group["weight"] = np.ones(20)

    small_network(path, change)


def zero_weights(path, n_post, n_pre, synaptic):
    small_network(path, lambda file: zero_weights_of(file, n_post, n_pre, synaptic))


def zero_weights_of(file, n_post, n_pre, synaptic=False):
    file["populations/in"].attrs["size"] = n_pre
    file["populations/p"].attrs["size"] = n_post
    group = file["projections/in->p"]
    for name in ("weight", *(["delay"] if synaptic else [])):
        del group[name]
        zeros(group, name, (n_post, n_pre), "u1", 1)


def hundred_million_weights(path):
    zero_weights(path, 4_000_000, 20, False)


def four_million_weights(path):
    zero_weights(path, 200_000, 20, True)


def seven_million_levels(path):
    def change(file):
        zero_weights_of(file, 100_000, 70)
        file.attrs["version"] = 2
        file["projections/in->p/weight"].attrs["step"] = 0.1

    small_network(path, change)


def wide_convolution(path, loop=False):
    def change(file):
        file["populations/in"].attrs["size"] = 1_000_000
        file["populations/p"].attrs["size"] = 1_000_000
        file["populations/p"]["refractory"][()] = 1e-3
        for pre in ["in"] + ["p"] * loop:
            if f"projections/{pre}->p" in file:
                del file[f"projections/{pre}->p"]
            group = file.create_group(f"projections/{pre}->p")
            group.attrs.update({"pre": pre, "post": "p", "kind": "conv2d"})
            group.attrs.update({"input_shape": [1000, 1000], "padding": [2, 2]})
            group["kernel"] = np.random.default_rng(0).random((1, 1, 5, 5)) / 20

    small_network(path, change)


def looped_convolution(path):
    wide_convolution(path, loop=True)


def result(path, change):
    rng = np.random.default_rng(3)
    evsim.save_result(
        path,
        evsim.Result(
            voltage={"out": rng.random((6, 4, 3))},
            voltage_times={"out": np.linspace(0, 0.9, 4)},
            output={"out": rng.random((6, 3))},
            duration=1.0,
            labels=np.arange(6) % 3,
        ),
    )
    with h5py.File(path, "r+", libver="latest") as file:
        change(file)


def large_voltage(path):
    def change(file):
        del file["populations/out/voltage"]
        zeros(file, "populations/out/voltage", (6, 4, 2_000_000), "u1")
        del file["populations/out/output"]
        zeros(file, "populations/out/output", (6, 2_000_000), "u1")
        file["populations/out"].attrs["size"] = 2_000_000

    result(path, change)


def wide_readout(path):
    def change(file):
        for name in ("voltage", "output", "voltage_times"):
            del file[f"populations/out/{name}"]
        del file["labels"]
        zeros(file, "populations/out/voltage", (1, 2, 2_000_000), "u1")
        zeros(file, "populations/out/output", (1, 2_000_000), "u1")
        file["populations/out/voltage_times"] = [0.0, 0.5]
        file["populations/out"].attrs["size"] = 2_000_000

    result(path, change)


def thirty_readouts(path):
    def change(file):
        for i in range(30):
            group = file.create_group(f"populations/out{i}")
            group.attrs["size"] = 3
            group["output"] = np.ones((6, 3), "f4")

    result(path, change)


def flac(path, told=True):
    import soundfile

    with soundfile.SoundFile(path, "w", 8000, 1, format="FLAC", subtype="PCM_16") as file:
        for _ in range(24):
            file.write(np.zeros(1_000_000, "i2"))
    if not told:  # the number of samples: the last 36 bits of eight bytes
        with open(path, "r+b") as file:
            file.seek(18)
            head = int.from_bytes(file.read(8), "big")
            file.seek(18)
            file.write((head >> 36 << 36).to_bytes(8, "big"))


def untold_flac(path):
    flac(path, told=False)


def wav(path, rate=1000, n=90_000):
    data = np.random.default_rng(0).integers(0, 255, n).astype("u1").tobytes()
    path.write_bytes(
        struct.pack("<4sI4s4sI", b"RIFF", n + 36, b"WAVE", b"fmt ", 16)
        + struct.pack("<HHIIHH", 1, 1, rate, rate, 1, 8)
        + struct.pack("<4sI", b"data", n)
        + data
    )


def odd_wav(path):
    wav(path, 999_983)


def some_seconds(path):
    """Write 17 s of sound, which a file of this size may hold."""
    wav(path, 4000, 68_000)


def images(path, n=120_000):
    body = gzip.compress(struct.pack(">4I", 0x803, n, 28, 28) + bytes(n * 784), 9)
    path.write_bytes(body)
    labels = gzip.compress(struct.pack(">2I", 0x801, n) + bytes(n), 9)
    (path.parent / "train-labels-idx1-ubyte.gz").write_bytes(labels)


def some_images(path):
    images(path, 70_000)


def many_labels(path, n=90_000_000):
    path.write_bytes(gzip.compress(struct.pack(">2I", 0x801, n) + bytes(n), 9))


def gestures(path):
    n = 5000
    t = np.arange(n) * 10
    pieces = [AEDAT_HEADER]
    for i in range(0, n, 4):
        some = np.arange(i, i + 4)
        pieces.append(polarity_packet(t[some], some % 128, some % 128, some % 2))
    path.write_bytes(b"".join(pieces))
    lines = [GESTURE_HEADING, *["1,0,49999"] * 8000]
    path.with_name(f"{path.stem}_labels.csv").write_text("\n".join(lines))


def digits(path):
    """Write N-TIDIGITS18 with 50,000 names, all of them one long string in the file."""
    with h5py.File(path, "w") as file:
        for part in ("train", "test"):
            file.create_group(f"{part}_timestamps"), file.create_group(f"{part}_addresses")
            file.create_dataset(f"{part}_labels", (1,), h5py.string_dtype())
            file[f"{part}_labels"][0] = "man-ae-a-" + "1" * 20_000
            offset = file[f"{part}_labels"].id.get_offset()
            file.flush()
            with open(path, "rb") as raw:
                raw.seek(offset)
                entry = raw.read(16)
            del file[f"{part}_labels"]
            many = file.create_dataset(
                f"{part}_labels", (50_000,), h5py.string_dtype(), chunks=(50_000,),
                compression="gzip",
            )  # fmt: skip
            many.id.write_direct_chunk((0,), zlib.compress(entry * 50_000, 9))


def linked_digits(path):
    """Write N-TIDIGITS18 whose recordings are all one."""
    with h5py.File(path, "w", libver="latest") as file:
        for part in ("train", "test"):
            names = [f"man-ae-{i}-1" for i in range(200)]
            file[f"{part}_labels"] = np.array(names, "S20")
            for kind in ("timestamps", "addresses"):
                group = file.create_group(f"{part}_{kind}")
                zeros(group, names[0], (2_000_000,), "u1")
                for name in names[1:]:
                    group[name] = group[names[0]]


SPIKES = (
    label_of_2_to_the_40, sixteen_million_units, empty_ragged, shared_ragged, empty_packed,
    many_empty_packed, tiny_packed, long_packed, endless_packed, many_keys, much_extra,
    diamond_extra,
)  # fmt: skip
CAMERAS = (large_camera, fair_camera, many_camera, empty_camera)
NETWORKS = (
    forty_populations, million_units, hundred_million_weights, four_million_weights,
    seven_million_levels, wide_convolution, looped_convolution,
)  # fmt: skip
RESULTS = (large_voltage, wide_readout, thirty_readouts)
SOUNDS = (flac, untold_flac, wav, odd_wav, some_seconds)
OTHERS = {
    images: "train-images-idx3-ubyte.gz",
    some_images: "train-images-idx3-ubyte.gz",
    many_labels: "train-labels-idx1-ubyte.gz",
    gestures: "user01_led.aedat",
    digits: "n-tidigits.hdf5",
    linked_digits: "n-tidigits.hdf5",
}
