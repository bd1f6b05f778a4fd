"""No small file takes the machine down: commands on crafted files, in little memory and time."""

import json
import os
import subprocess
import sys
import tempfile

import crafted_files as crafted
import h5py
import numpy as np
import pytest

import evsim
from evsim.budget import FREE, Budget
from evsim.files import FileError
from evsim.files.hdf5 import InputFile
from evsim.files.plain_copy import check_tree, copy_plain
from evsim.projections import Conv2d

pytest.importorskip("resource")

MEMORY, SECONDS = 1e9, 10  # peak of a whole process; on the processor, whatever else runs
FILES = {
    **dict.fromkeys(crafted.SPIKES + crafted.CAMERAS, "s.h5"),
    **dict.fromkeys(crafted.NETWORKS, "n.h5"),
    **dict.fromkeys(crafted.RESULTS, "o.h5"),
    **crafted.OTHERS,
}
DRAWN = (
    crafted.sixteen_million_units, crafted.fair_camera, crafted.many_empty_packed,
    crafted.wide_convolution, crafted.wide_readout, crafted.thirty_readouts,
)  # fmt: skip


# Between the tests and the command: a child inherits the peak of the process that starts it.
MEASURE = """
import json, os, subprocess, sys
child = subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
out = child.stdout.read()
_, status, used = os.wait4(child.pid, 0)
child.returncode = os.waitstatus_to_exitcode(status)
sys.stdout.buffer.write(out)
told = child.returncode, used.ru_maxrss, used.ru_utime + used.ru_stime
with open(sys.argv[1], "w") as file:
    json.dump(told, file)
"""


def within_limits(folder, *words):
    """Run a command; return its status and what it printed."""
    command = [sys.executable, "-m", "evsim", *words]
    with tempfile.TemporaryDirectory() as place:
        told = os.path.join(place, "told.json")
        out = subprocess.run(
            [sys.executable, "-S", "-c", MEASURE, told, *command],
            cwd=folder, stdout=subprocess.PIPE, text=True, check=True,
        ).stdout  # fmt: skip
        with open(told) as file:
            status, peak, seconds = json.load(file)
    assert status in (0, 2) and "Traceback" not in out, out
    assert peak * (1 if sys.platform == "darwin" else 1024) < MEMORY
    assert seconds < SECONDS
    return status, out


def made(make, path):
    make(path)
    assert path.stat().st_size <= crafted.MOST
    return path.parent


@pytest.mark.parametrize("make, name", FILES.items(), ids=lambda v: getattr(v, "__name__", v))
def test_info_of_a_small_file_needs_little(make, name, tmp_path):
    within_limits(made(make, tmp_path / name), "info", name)


@pytest.mark.parametrize("make", DRAWN, ids=lambda v: v.__name__)
def test_a_small_file_is_drawn_with_little(make, tmp_path):
    name = FILES[make]
    status, out = within_limits(made(make, tmp_path / name), "plot", name, "-o", "a.png")
    assert status == 0, out


@pytest.mark.parametrize("make", crafted.SOUNDS[:-1], ids=lambda v: v.__name__)
def test_a_small_sound_that_unpacks_to_hours_is_refused(make, tmp_path):
    pytest.importorskip("soundfile")
    name = "a.flac" if "flac" in make.__name__ else "a.wav"
    status, out = within_limits(made(make, tmp_path / name), "encode", name, "-o", "s.h5")
    assert status == 2 and "samples" in out and "--memory" in out


def test_a_label_of_2_to_the_40_trains_nothing(tmp_path):
    folder = made(crafted.label_of_2_to_the_40, tmp_path / "s.h5")
    status, out = within_limits(folder, "train", "s.h5", "-o", "r")
    assert status == 2 and "1,099,511,627,777 classes" in out and "--memory" in out


@pytest.mark.parametrize("make", [crafted.much_extra, crafted.diamond_extra])
def test_what_a_file_carries_along_is_bounded_too(make, tmp_path):
    folder = made(make, tmp_path / "s.h5")
    crafted.small_network(folder / "n.h5", lambda file: None)
    status, out = within_limits(folder, "simulate", "n.h5", "s.h5", "-o", "o.h5")
    assert status == 2 and "--memory" in out and not (folder / "o.h5").exists()


def test_one_string_by_many_names_is_counted_each_time(tmp_path):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file.create_dataset("extra/x", data="x" * 5_000_000, dtype=h5py.string_dtype())
        for i in range(200):
            file[f"extra/link{i}"] = file["extra/x"]
    with InputFile(tmp_path / "s.h5") as file, h5py.File.in_memory() as copy:
        with pytest.raises(FileError, match="5,000,000 values.*allow_memory"):
            copy_plain(file.root, copy)


def test_strings_in_chunks_are_counted_by_their_lengths(tmp_path):
    path = tmp_path / "strings.h5"
    with h5py.File(path, "w") as file:
        values = np.array([b"a"] * 20_000, object)
        file.create_dataset("text", data=values, dtype=h5py.string_dtype(), compression="gzip")
        file.create_dataset("table", data=values[:4].reshape(2, 2), dtype=h5py.string_dtype())
    with InputFile(path) as file:
        check_tree(file.root)


def test_the_option_and_its_python_allow_more(tmp_path):
    folder = made(crafted.long_packed, tmp_path / "s.h5")
    with pytest.raises(FileError, match=r"8,000,000 spikes.*evsim.allow_memory\(0.52\)"):
        evsim.load_spikes(folder / "s.h5")
    with evsim.allow_memory(0.52):
        assert len(evsim.load_spikes(folder / "s.h5").times) == 8_000_000
    with pytest.raises(FileError):
        evsim.load_spikes(folder / "s.h5")
    command = [sys.executable, "-m", "evsim", "info", "s.h5", "--memory", "0.52"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and "8,000,000 spikes" in done.stdout


def test_what_is_kept_adds_up_and_what_is_lent_does_not():
    budget = Budget(0)
    for _ in range(3):
        budget.lend(FREE, "here", "this")
    budget.keep(FREE / 2, "here", "that")
    budget.keep(FREE / 2, "here", "that")
    with pytest.raises(FileError, match="here: asks for 1 bytes of memory .more., beside 268 MB"):
        budget.keep(1, "here", "more")


def test_a_convolution_counts_its_synapses_without_listing_them():
    rng = np.random.default_rng(0)
    for _ in range(300):
        stride, padding, dilation = rng.integers(1, 4, 3)
        shape, taps = tuple(rng.integers(7, 12, 2).tolist()), rng.integers(1, 4, 2)
        conv = Conv2d(
            pre="a", post="b", kernel=np.ones((2, 1, *taps)), input_shape=shape,
            stride=int(stride), padding=int(padding) - 1, dilation=int(dilation),
        )  # fmt: skip
        assert conv.n_synapses == len(conv.synapses(int(np.prod(shape))).pre)


def test_empty_recordings_are_read_in_no_time_and_none_is_lost(tmp_path):
    crafted.many_empty_packed(tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5") as file:
        offsets = file["spikes/offsets"][()]
    with evsim.SpikeFile(tmp_path / "s.h5") as file:
        batches = list(file.batches(500))
    assert sum(map(len, batches)) == 250_000
    assert sum(len(batch.times) for batch in batches) == 2000
    np.testing.assert_array_equal(
        np.concatenate([np.diff(b.offsets) for b in batches]), np.diff(offsets)
    )
