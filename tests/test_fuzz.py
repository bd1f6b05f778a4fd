"""Damaged files: a `FileError` of one line or a sound object, nothing else.

Every mutation is made and read in a child process with little memory and an alarm clock,
so that a crash, an endless loop or a huge allocation inside the HDF5 library is seen, and
the guilty mutation is known. A mutation is its number: the same number makes the same
file. `EVSIM_FUZZ=20000 pytest tests/test_fuzz.py` runs that many; one of them is tried
alone with `python tests/test_fuzz.py KIND BASE NUMBER NUMBER+1`.
"""

import functools
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

import evsim
from evsim.files import FileError, SpikeFile, load_network, load_result, save_network, save_result
from evsim.interop import load_nir, save_nir

resource = pytest.importorskip("resource")

SECONDS = 10  # for one mutation, most of which take a few milliseconds
MEMORY = 1 << 29  # that a read may take on top of what Python and its libraries have
SHARES = {
    "shd": 0.15,
    "foreign": 0.1,
    "packed": 0.15,
    "sonata": 0.1,
    "network": 0.15,
    "levels": 0.1,
    "result": 0.15,
    "nir": 0.1,
}
N_RANDOM = int(os.environ.get("EVSIM_FUZZ", "1200"))


def spikes(labels=True):
    rng = np.random.default_rng(1)
    counts = [7, 0, 30, 600, 1, 4]
    offsets = np.concatenate([[0], np.cumsum(counts)])
    times, units = rng.random(offsets[-1]), rng.integers(0, 10, offsets[-1])
    return evsim.Spikes(times, units, offsets, 10, 1.0, np.arange(6) if labels else None)


def network():
    rng = np.random.default_rng(2)
    return evsim.Network(
        [
            evsim.Population("in", "Input", 12),
            evsim.Population("hid", "CubaLIF", 12, tau_mem=0.02, tau_syn=rng.random(12) + 0.01),
            evsim.Population("srm", "SRM", 6, tau_syn=0.01, threshold=2.0),
            evsim.Population("out", "CubaLI", 3, tau_mem=0.02, tau_syn=0.01, output="max"),
        ],
        [
            evsim.Dense(pre="in", post="hid", weight=rng.random((12, 12)), delay=rng.random(12)),
            evsim.Conv1d(
                pre="hid",
                post="hid",
                kernel=np.ones((2, 2, 3)),
                input_shape=6,
                padding=1,
                delay=0.1,
            ),
            evsim.Sparse(
                pre="hid",
                post="srm",
                indptr=np.arange(13),
                indices=rng.integers(0, 6, 12),
                weight=rng.random(12),
                delay=rng.random(12),
                axonal_delay=0.01,
            ),
            evsim.Dense(pre="srm", post="out", weight=rng.random((3, 6))),
        ],
    )


def quantised():
    """Return a small network whose arrays are integers in its file."""
    return evsim.Network(
        [evsim.Population("in", "Input", 4), evsim.Population("p", "LIF", 3, tau_mem=0.02)],
        [
            evsim.Dense(
                pre="in",
                post="p",
                weight=evsim.Levels(np.arange(12).reshape(3, 4), 0.1, offset=-0.5, bits=4),
                delay=evsim.Levels([3, 0, 1, 1], values=[0.0, 0.004, 0.005, 0.006]),
                axonal_delay=evsim.Levels(300, step=1e-5),
            )
        ],
    )


def result():
    rng = np.random.default_rng(3)
    out = {"out": rng.random((6, 3))}
    return evsim.Result(
        spikes={"hid": spikes()},
        voltage={"out": rng.random((6, 4, 3))},
        voltage_times={"out": np.linspace(0, 1, 4)},
        output=out,
        duration=1.0,
        labels=np.arange(6),
    )


def nir_network():
    """Return a network that NIR can say, from `network`."""
    net = network()
    hid = evsim.Population("hid", "CubaLIF", 12, tau_mem=0.02, tau_syn=0.005)
    kept = [p for p in net.projections.values() if p.post == "hid"]
    return evsim.Network([net.populations["in"], hid], kept[:1], output="hid")


def make_base(kind, path):
    """Write a sound file of this kind."""
    if kind == "network":
        save_network(path, network())
    elif kind == "levels":
        save_network(path, quantised())
    elif kind == "nir":
        save_nir(path, nir_network())
    elif kind == "result":
        save_result(path, result())
    elif kind == "sonata":
        evsim.save_spikes(path, spikes(labels=False)[2], layout="sonata")
    elif kind == "packed":
        evsim.save_spikes(path, spikes(), layout="packed")
    elif kind == "shd":
        evsim.save_spikes(path, spikes())
        with h5py.File(path, "r+") as file:
            file["extra/speaker"] = np.arange(6)
            file["extra/keys"] = ["zero", "one"]
    else:
        make_foreign(path)


def make_foreign(path):
    """Write SHD layout as other programs do: float16, packed chunks, attributes of others."""
    source = spikes()
    with h5py.File(path, "w", libver="latest") as file:
        for name, values, dtype in (("times", source.times, "<f2"), ("units", source.units, ">u4")):
            column = file.create_dataset(
                f"spikes/{name}",
                (6,),
                h5py.vlen_dtype(dtype),
                maxshape=(None,),
                chunks=(4,),
                compression="gzip",
                shuffle=True,
            )
            for b in range(6):
                column[b] = values[source.offsets[b] : source.offsets[b + 1]].astype(dtype)
        file.create_dataset("labels", data=np.arange(6), chunks=(3,), compression="gzip")
        file["extra/keys"] = np.array([b"zero", b"one"])


def read(kind, path):
    """Read a file in every way there is; return what went wrong, or None."""
    readers = {
        "network": [(load_network, evsim.Network)],
        "levels": [(load_network, evsim.Network)],
        "nir": [(load_nir, evsim.Network)],
        "crash": [(crash, int)],
        "nonsense": [(str, int)],
        "result": [(load_result, evsim.Result), (evsim.load_spikes, evsim.Spikes)],
    }.get(kind, [(evsim.load_spikes, evsim.Spikes), (stream, int)])
    for reader, expected in readers:
        try:
            found = reader(path)
        except FileError as error:
            if "\n" in str(error) or not str(error).startswith(str(path)):
                return f"message {str(error)!r}"
        except Exception as error:  # noqa: BLE001, that is what is looked for
            return f"{reader.__name__}: {type(error).__name__}: {error}"
        else:
            if not isinstance(found, expected):
                return f"{reader.__name__}: gave {type(found).__name__}"
    return None


def stream(path):
    """Read a spike file batch by batch, and copy what it carries along."""
    with SpikeFile(path) as file, h5py.File(f"{path}.extra", "w") as target:
        file.copy_extra(target)
        return file.scan().n_spikes + sum(len(batch) for batch in file.batches(100))


WORDS = [0, 1, 7, 16, 255, 1 << 15, 1 << 31, (1 << 32) - 1, 1 << 40, 1 << 63, (1 << 64) - 1]


@functools.cache
def places(data):
    """Return the bytes that are used, and those of them that look like structure.

    Most of a small file is padding. Small integers and addresses, unlike values, stand
    among bytes of 0 and 255.
    """
    values = np.frombuffer(data, np.uint8)
    plain = np.convolve((values == 0) | (values == 255), np.ones(17), "same")
    return np.flatnonzero(values), np.flatnonzero((values > 0) & (plain > 5) & (plain < 17))


def damaged(data, number):
    """Return the bytes ``data``, damaged in the way of this number."""
    rng = np.random.default_rng(number)
    data = bytearray(data)
    kind = rng.random()
    if kind < 0.1:
        return data[: rng.integers(len(data))]
    used, structure = places(bytes(data))
    for _ in range(rng.integers(1, 4)):
        where = structure if rng.random() < 0.7 else used if rng.random() < 0.7 else len(data)
        at = int(rng.choice(where if np.size(where) else len(data)))
        if kind < 0.5:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind < 0.65:
            data[at] = int(rng.integers(256))
        elif kind < 0.8:
            size = int(rng.choice([2, 4, 8]))
            word = int(rng.choice(np.array(WORDS, np.uint64))) % (1 << 8 * size)
            at -= at % size
            data[at : at + size] = word.to_bytes(size, "little")
        elif kind < 0.9:
            size, source = int(rng.integers(1, 64)), int(rng.choice(used))
            data[at : at + size] = data[source : source + size]
        elif kind < 0.95:
            data[at : at + int(rng.integers(1, 64))] = b""
        else:
            data[at:at] = bytes(rng.integers(0, 256, rng.integers(1, 64)).astype(np.uint8))
    return data


def edits(base):
    """List edits of a sound file: every key deleted, every column cut, every value replaced."""
    paths = [""]
    with h5py.File(base, "r") as file:
        file.visit(paths.append)
        if isinstance(file.get("spikes", getlink=True), h5py.SoftLink):
            paths.append("spikes")
        found = []
        for path in paths:
            node = file[path or "/"]
            ways = [f"attribute {name}" for name in node.attrs]
            if path:
                ways += ["delete", "external", "group", "text"]
            if isinstance(node, h5py.Dataset) and h5py.check_string_dtype(node.dtype) is None:
                ways += list(NEW_DATA)
                if h5py.check_vlen_dtype(node.dtype) is not None:
                    ways += [f"entry {i}" for i in range(3 * len(LENGTHS) * len(node))]
            for way in ways:
                choices = len(NEW_VALUES) if way.startswith("attribute") else 1
                found += [(path, way, choice) for choice in range(choices)]
    return found


LENGTHS = [0, 1, 9, 1 << 31, (1 << 64) - 1]
NEW_VALUES = [None, 0, -1, 2, 3.5, np.nan, 1 << 62, "text", b"\xff", np.arange(3), np.arange(7000)]
NEW_DATA = {
    "shorter": lambda a: a[:-1] if a.ndim else np.empty(0),
    "longer": lambda a: np.concatenate([a, a[-1:]]) if a.ndim else np.zeros(2),
    "empty": lambda a: a[:0] if a.ndim else np.empty((0, 0)),
    "deeper": lambda a: a[None] if a.dtype.kind != "O" else np.zeros((2, 2)),
    "nan": lambda a: np.full(a.shape, np.nan),
    "negative": lambda a: np.full(a.shape, -1),
    "huge": lambda a: np.full(a.shape, 1 << 62),
    "half": lambda a: np.full(a.shape, 0.5),
    "complex": lambda a: np.full(a.shape, 1j),
    "bool": lambda a: np.full(a.shape, True),
    "record": lambda a: np.zeros(a.shape, [("a", "f8"), ("b", "i4")]),
    "fixed text": lambda a: np.full(a.shape, b"abc"),
    "enormous": None,
    "enormous packed": None,
    "virtual": None,
    "null": None,
}


def edit(base, target, path, way, choice):
    """Copy ``base`` to ``target`` with one edit."""
    target.write_bytes(Path(base).read_bytes())
    with h5py.File(target, "r+") as file:
        if way.startswith("attribute"):
            attributes = file[path or "/"].attrs
            name, value = way.removeprefix("attribute "), NEW_VALUES[choice]
            if value is None or np.size(value) > 1000:
                del attributes[name]
            if value is not None:
                attributes[name] = value
            return
        if way.startswith("entry"):
            offset = entry_offset(file[path])
        else:
            old = file[path][()] if way in NEW_DATA and callable(NEW_DATA[way]) else None
            del file[path]
            replace(file, path, way, old)
            return
    if offset is not None:
        damage_entry(target, offset, int(way.split()[1]))


def replace(file, path, way, old):
    if way == "external":
        file[path] = h5py.ExternalLink("elsewhere.h5", "/x")
    elif way == "group":
        file.create_group(path)
    elif way == "text":
        file[path] = "text"
    elif way.startswith("enormous"):
        packed = {"compression": "gzip"} if way.endswith("packed") else {}
        shape, chunks = (1 << 40,), (1 << 20,)
        dataset = file.create_dataset(path, shape, "f8", chunks=chunks, **packed)
        dataset[0] = 1.0
    elif way == "virtual":
        layout = h5py.VirtualLayout((6,), "f8")
        layout[:] = h5py.VirtualSource("elsewhere.h5", "x", (6,))
        file.create_virtual_dataset(path, layout)
    elif way == "null":
        file[path] = h5py.Empty("f8")
    elif way == "delete":
        pass
    elif old.dtype.kind == "O" and way in ("shorter", "longer", "empty"):
        new = NEW_DATA[way](old)
        column = file.create_dataset(path, len(new), h5py.vlen_dtype(old[0].dtype))
        for i, values in enumerate(new):
            column[i] = values
    else:
        file[path] = NEW_DATA[way](old)


def entry_offset(dataset):
    """Return where the descriptors of variable-length arrays lie, if in one piece."""
    if dataset.chunks is None:
        return dataset.id.get_offset()
    packed = dataset.id.get_create_plist().get_nfilters() > 0
    return None if packed else dataset.id.get_chunk_info(0).byte_offset


def damage_entry(target, offset, number):
    """Overwrite length, address or index of one variable-length array."""
    number, word = divmod(number, len(LENGTHS))
    entry, field = divmod(number, 3)
    start, size = [(0, 4), (4, 8), (12, 4)][field]
    data = bytearray(target.read_bytes())
    at = offset + 16 * entry + start
    data[at : at + size] = (LENGTHS[word] % (1 << 8 * size)).to_bytes(size, "little")
    target.write_bytes(data)


def run_child(kind, base, first, last, mode="random"):
    """Run mutations ``first`` to before ``last`` in child processes; list what went wrong."""
    wrong = []
    while first < last:
        command = [sys.executable, __file__, kind, str(base), str(first), str(last), mode]
        child = subprocess.run(command, capture_output=True, text=True, timeout=3000)
        wrong += [line for line in child.stdout.splitlines() if line.startswith("WRONG")]
        if child.returncode == 0:
            break
        # The child counts aloud: the last number is the one that it did not survive.
        guilty = int(child.stdout.split("NUMBER ")[-1].split()[0])
        wrong.append(f"{kind} {guilty}: exit {child.returncode}: {child.stderr[-300:]}")
        first = guilty + 1
    return wrong


def child(kind, base, first, last, mode="random"):
    """Make and read mutations, one after the other; say which comes next before each."""
    warnings.simplefilter("ignore")
    limit = virtual_memory() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    data, target = Path(base).read_bytes(), Path(f"{base}.{mode}{first}")
    listed = edits(base) if mode == "edits" else []
    for number in range(first, last):
        print(f"NUMBER {number}", flush=True)
        if mode == "edits":
            edit(base, target, *listed[number])
        else:
            target.write_bytes(damaged(data, number))
        signal.alarm(SECONDS)
        wrong = read(kind, target)
        signal.alarm(0)
        if wrong:
            print(f"WRONG {kind} {mode} {number} {listed[number] if listed else ''}: {wrong}")
    for path in (target, Path(f"{target}.extra")):
        path.unlink(missing_ok=True)


def virtual_memory():
    pages = Path("/proc/self/statm")
    if pages.exists():
        return int(pages.read_text().split()[0]) * resource.getpagesize()
    return 8 << 30


@pytest.fixture(scope="module", params=SHARES)
def base(request, tmp_path_factory):
    if request.param == "nir":
        pytest.importorskip("nir")
    path = tmp_path_factory.mktemp("fuzz") / f"{request.param}.h5"
    make_base(request.param, path)
    return request.param, path


def test_sound_files_are_read(base):
    kind, path = base
    assert read(kind, path) is None
    networks = {"network": load_network, "levels": load_network, "nir": load_nir}
    reader = networks.get(kind, evsim.load_spikes)
    assert reader(path)


def test_damaged_bytes_end_in_a_file_error(base):
    kind, path = base
    assert run_child(kind, path, 0, round(N_RANDOM * SHARES[kind])) == []


def test_edited_files_end_in_a_file_error(base):
    kind, path = base
    assert run_child(kind, path, 0, len(edits(path)), "edits") == []


def crash(path):
    """Take the process down, as a reader must not."""
    os.kill(os.getpid(), signal.SIGSEGV)


def test_a_reader_that_crashes_or_gives_nonsense_would_be_seen(tmp_path):
    base = tmp_path / "base.h5"
    make_base("shd", base)
    crashed = run_child("crash", base, 0, 2)
    assert [line.split(": ")[:2] for line in crashed] == [
        ["crash 0", "exit -11"],
        ["crash 1", "exit -11"],
    ]
    assert run_child("nonsense", base, 0, 1) == ["WRONG nonsense random 0 : str: gave str"]


if __name__ == "__main__":
    child(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:])
