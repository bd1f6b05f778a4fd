"""Small files of the published event formats, written byte by byte."""

import struct

import h5py
import numpy as np

GESTURE_HEADING = "class,startTime_usec,endTime_usec"
AEDAT_HEADER = (
    b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n"
    b"#Start-Time: 2016-10-12 10:00:00 (TZ+0200)\r\n#!END-HEADER\r\n"
)


def some_events(n=200, rows=34, columns=34, last=300_000, seed=0):
    """Return t [us], x, y, p; t goes up, with ties."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, last // 10, n)) * 10
    return t, rng.integers(0, columns, n), rng.integers(0, rows, n), rng.integers(0, 2, n)


def camera_bytes(t, x, y, p):
    """Return five bytes an event: x, y, polarity and time."""
    return b"".join(
        bytes([x, y, p << 7 | t >> 16, t >> 8 & 0xFF, t & 0xFF])
        for t, x, y, p in np.transpose([t, x, y, p]).tolist()
    )


def channel_bytes(t, units):
    """Return five bytes an event: channel, polarity 1 and time."""
    pairs = np.transpose([t, units]).tolist()
    return b"".join(struct.pack(">HBH", unit, 0x80 | t >> 16, t & 0xFFFF) for t, unit in pairs)


def polarity_packet(t, x, y, p, overflow=0, valid=None):
    """Return an AEDAT 3.1 packet of polarity events."""
    valid = np.ones(len(t), int) if valid is None else valid
    body = b"".join(
        struct.pack("<Ii", x << 17 | y << 2 | p << 1 | v, t)
        for t, x, y, p, v in np.transpose([t, x, y, p, valid]).tolist()
    )
    return packet(1, 8, len(t), body, overflow, int(np.sum(valid)))


def packet(kind, size, number, body, overflow=0, valid=None):
    """Return an AEDAT 3.1 packet of any kind."""
    valid = number if valid is None else valid
    return struct.pack("<hhiiiiii", kind, 1, size, 4, overflow, number, number, valid) + body


def aedat_bytes(t, x, y, p, per_packet=64, header=AEDAT_HEADER):
    """Return an AEDAT 3.1 file; packets of another kind stand between those of events."""
    special = packet(0, 8, 1, struct.pack("<Ii", 1, 0))
    pieces = [header, special]
    for i in range(0, len(t), per_packet):
        piece = slice(i, i + per_packet)
        pieces += [polarity_packet(t[piece], x[piece], y[piece], p[piece]), special]
    return b"".join(pieces)


def write_gestures(folder, trials, events_of, intervals_of):
    """Write the layout of DVS128 Gesture: {split: [userNN_light]} and what is in each."""
    folder.mkdir(exist_ok=True)
    for split, names in trials.items():
        lines = "".join(f"{name}.aedat\r\n" for name in names)
        (folder / f"trials_to_{split}.txt").write_text(lines + "\r\n", newline="")
        for name in names:
            (folder / f"{name}.aedat").write_bytes(aedat_bytes(*events_of(name)))
            rows = [GESTURE_HEADING, *(",".join(map(str, row)) for row in intervals_of(name))]
            (folder / f"{name}_labels.csv").write_text("\n".join(rows) + "\n")


def write_nmnist(folder, files):
    """Write the layout of N-MNIST: {"Train/5/00001.bin": events}."""
    for name, events in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(camera_bytes(*events))


def write_ntidigits(path, trains, labels_dtype=None):
    """Write the layout of N-TIDIGITS18: {"train": {"man-ae-a-z": (seconds, channels)}}."""
    with h5py.File(path, "w") as file:
        for split in ("train", "test"):
            for name, (times, channels) in trains[split].items():
                file[f"{split}_timestamps/{name}"] = np.asarray(times)
                file[f"{split}_addresses/{name}"] = np.asarray(channels)
            names = [name.encode() for name in trains[split]]
            file.create_dataset(f"{split}_labels", data=names, dtype=labels_dtype)
            file.require_group(f"{split}_timestamps")
            file.require_group(f"{split}_addresses")


def write_events(path, recordings, height=34, width=34, **others):
    """Write recordings, each t, x, y, p, into one HDF5 file."""
    with h5py.File(path, "w") as file:
        columns = [np.concatenate(column) for column in zip(*recordings, strict=True)]
        for name, column in zip("txyp", columns, strict=True):
            dtype = np.uint32 if name == "t" else np.uint8
            file.create_dataset(f"events/{name}", data=column.astype(dtype), compression="gzip")
        file["offsets"] = np.cumsum([0] + [len(r[0]) for r in recordings])
        for name, values in others.items():
            file[name] = values
        file.attrs.update(height=height, width=width, time_unit="microseconds")


def same_events(spikes, events, sensor, duration=np.inf):
    """Compare one recording with t, x, y, p, whatever the order of simultaneous events."""
    t, x, y, p = (np.asarray(column, np.int64) for column in events)
    _, rows, columns = sensor
    units = (p * rows + y) * columns + x
    early = t / 1e6 < duration
    order = np.lexsort((units[early], t[early]))
    np.testing.assert_array_equal(spikes.times, t[early][order] / 1e6)
    np.testing.assert_array_equal(spikes.units, units[early][order])
