"""Spike files: round trips to the bit, streaming, errors that say where."""

import gc
import os
import tracemalloc
import warnings

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_files import refused, same_spikes, some_spikes

import evsim
from evsim.files import FileError, SpikeFile


def write_shd(path, times, units, time_type="<f8", unit_type="<u2", **options):
    """Write SHD layout as other programs do: no attributes."""
    with h5py.File(path, "w", **options) as file:
        for name, columns, dtype in (("times", times, time_type), ("units", units, unit_type)):
            data = file.create_dataset(f"spikes/{name}", (len(columns),), h5py.vlen_dtype(dtype))
            for b, values in enumerate(columns):
                data[b] = np.asarray(values, dtype)
    return path


# Spikes: round trips


@pytest.mark.parametrize("labels", [True, False])
def test_spikes_come_back_to_the_bit(tmp_path, labels):
    spikes = some_spikes(labels=labels)
    evsim.save_spikes(tmp_path / "a.h5", spikes)
    same_spikes(evsim.load_spikes(tmp_path / "a.h5"), spikes)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(st.floats(0, 1e3, allow_subnormal=True), st.integers(0, 70000)), max_size=8
        ),
        max_size=6,
    )
)
def test_any_spikes_come_back_to_the_bit(tmp_path_factory, recordings):
    pairs = [([t for t, _ in r], [u for _, u in r]) for r in recordings]
    spikes = evsim.Spikes.from_recordings(pairs, size=70001, duration=1000.5)
    path = tmp_path_factory.mktemp("any") / "a.h5"
    evsim.save_spikes(path, spikes)
    same_spikes(evsim.load_spikes(path), spikes)


def test_float16_times_are_read_as_float64(tmp_path):
    times = [np.float16([0.1, 0.3]), np.float16([]), np.float16([0.7])]
    path = write_shd(tmp_path / "shd.h5", times, [[5, 2], [], [8]], "<f2")
    spikes = evsim.load_spikes(path)
    assert spikes.times.tolist() == [float(np.float16(t)) for t in (0.1, 0.3, 0.7)]
    assert spikes.units.tolist() == [5, 2, 8]
    assert (spikes.offsets.tolist(), spikes.size, spikes.duration) == ([0, 2, 2, 3], 9, 0.8)
    assert spikes.labels is None


@pytest.mark.parametrize(
    "types", [("<f4", "<i4"), (">f8", ">u4"), ("<f2", "<u8"), ("<f8", "u1"), ("<i4", "<i2")]
)
def test_number_types_of_other_programs(tmp_path, types):
    path = write_shd(tmp_path / "a.h5", [[1, 2], [3]], [[0, 1], [7]], *types)
    spikes = evsim.load_spikes(path)
    assert (spikes.times.tolist(), spikes.units.tolist()) == ([1, 2, 3], [0, 1, 7])


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"chunks": (2,), "maxshape": (None,)},
        {"chunks": (2,), "compression": "gzip"},
        {"chunks": (3,), "compression": "gzip", "shuffle": True},
        {"chunks": (4,), "shuffle": True},
    ],
)
@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_layouts_of_other_programs(tmp_path, layout, libver):
    spikes = some_spikes(7, labels=False)
    with h5py.File(tmp_path / "a.h5", "w", libver=libver) as file:
        for name, dtype in (("times", "f8"), ("units", "i8")):
            column = file.create_dataset(f"spikes/{name}", (7,), h5py.vlen_dtype(dtype), **layout)
            for b in range(7):
                if len(spikes[b].times):  # what is never written is empty
                    column[b] = getattr(spikes[b], name)
    read = evsim.load_spikes(tmp_path / "a.h5", size=9, duration=1.5)
    same_spikes(read, spikes)


def test_user_block_in_front_of_the_file(tmp_path):
    path = write_shd(tmp_path / "a.h5", [[0.5], [0.1, 0.2]], [[1], [0, 3]], userblock_size=1024)
    assert evsim.load_spikes(path).times.tolist() == [0.5, 0.1, 0.2]


def test_given_size_and_duration_win(tmp_path):
    evsim.save_spikes(tmp_path / "a.h5", some_spikes())
    spikes = evsim.load_spikes(tmp_path / "a.h5", size=20, duration=3.0)
    assert (spikes.size, spikes.duration) == (20, 3.0)


def test_no_recordings(tmp_path):
    spikes = evsim.Spikes([], [], [0], 4, 1.0)
    evsim.save_spikes(tmp_path / "a.h5", spikes)
    same_spikes(evsim.load_spikes(tmp_path / "a.h5"), spikes)
    with SpikeFile(tmp_path / "a.h5") as file:
        assert list(file.batches()) == []


# SONATA


def write_sonata(path, populations, units="ms"):
    with h5py.File(path, "w") as file:
        for name, (times, nodes) in populations.items():
            group = file.create_group(f"spikes/{name}")
            group["timestamps"] = np.asarray(times, "f8")
            group["node_ids"] = np.asarray(nodes, "u8")
            if units is not None:
                group["timestamps"].attrs["units"] = units
    return path


@pytest.mark.parametrize("units", ["ms", None, b"milliseconds"])
def test_sonata_times_are_milliseconds(tmp_path, units):
    path = write_sonata(tmp_path / "a.h5", {"v1": ([250.0, 100.0], [3, 1])}, units)
    spikes = evsim.load_spikes(path)
    assert (spikes.times.tolist(), spikes.units.tolist()) == ([0.1, 0.25], [1, 3])
    assert (len(spikes), spikes.size, spikes.duration) == (1, 4, 0.3)


def test_sonata_times_in_seconds(tmp_path):
    path = write_sonata(tmp_path / "a.h5", {"v1": ([0.25, 0.1], [3, 1])}, "s")
    assert evsim.load_spikes(path).times.tolist() == [0.1, 0.25]


def test_sonata_unit_of_time_must_be_known(tmp_path):
    path = write_sonata(tmp_path / "a.h5", {"v1": ([0.25], [3])}, "fortnights")
    refused(path, "/spikes/v1/timestamps", "'fortnights'", "ms")


def test_sonata_with_two_populations_asks_which(tmp_path):
    path = write_sonata(tmp_path / "a.h5", {"v1": ([100], [3]), "lgn": ([200], [5])})
    refused(path, "v1", "lgn", "say which")
    assert evsim.load_spikes(path, population="lgn").units.tolist() == [5]
    refused(path, "/spikes/m1", reader=lambda p: evsim.load_spikes(p, population="m1"))


def test_sonata_comes_back(tmp_path):
    one = some_spikes(labels=False)[2]
    evsim.save_spikes(tmp_path / "a.h5", one, layout="sonata", population="cells")
    read = evsim.load_spikes(tmp_path / "a.h5")
    np.testing.assert_allclose(read.times, one.times, rtol=3e-16)
    np.testing.assert_array_equal(read.units, one.units)
    assert (read.size, read.duration) == (one.size, one.duration)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["spikes/cells/timestamps"].attrs["units"] == "ms"
        assert file.attrs["magic"] == 0x0A7A


@pytest.mark.parametrize(
    "spikes, match",
    [(some_spikes(3, labels=False), "one recording, not 3"), (some_spikes(1), "no labels")],
)
def test_what_sonata_cannot_hold_is_refused(tmp_path, spikes, match):
    with pytest.raises(ValueError, match=match):
        evsim.save_spikes(tmp_path / "a.h5", spikes, layout="sonata")
    assert os.listdir(tmp_path) == []


def test_unknown_layout(tmp_path):
    with pytest.raises(ValueError, match="layout = 'csv'"):
        evsim.save_spikes(tmp_path / "a.h5", some_spikes(), layout="csv")


# Units of time


@pytest.mark.parametrize("times", [[2000.0, 3000.0], [1e6, 2e6], [1e-6, 5e-5]])
def test_times_in_another_unit_are_pointed_out(tmp_path, times):
    path = write_shd(tmp_path / "a.h5", [times], [[0, 1]])
    with pytest.warns(UserWarning, match="save_spikes") as caught:
        evsim.load_spikes(path)
    assert str(path) in str(caught[0].message) and caught[0].filename == __file__
    with pytest.warns(UserWarning, match="/spikes/times"), SpikeFile(path) as file:
        file.scan()
    with pytest.warns(UserWarning, match="/spikes/times"), SpikeFile(path) as file:
        list(file.batches(size=2, duration=1.0))


def test_sonata_in_seconds_without_saying_so_is_pointed_out(tmp_path):
    path = write_sonata(tmp_path / "a.h5", {"v1": ([0.25, 0.9], [3, 1])}, None)
    with pytest.warns(UserWarning, match="probably holds seconds"):
        evsim.load_spikes(path)


def test_ordinary_times_and_files_of_evsim_raise_no_warning(tmp_path):
    odd = evsim.Spikes([1e-6], [0], size=1, duration=1.0)
    evsim.save_spikes(tmp_path / "a.h5", odd)
    write_shd(tmp_path / "b.h5", [[0.1, 1.0], []], [[0, 1], []])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same_spikes(evsim.load_spikes(tmp_path / "a.h5"), odd)
        assert evsim.load_spikes(tmp_path / "b.h5").duration == 1.1


# Spike files with something wrong


@pytest.mark.parametrize(
    "times, units, parts",
    [
        ([[0.1], [0.2, np.nan]], [[0], [1, 1]], ("/spikes/times: recording 1, index 1: nan",)),
        ([[0.1], [np.inf]], [[0], [1]], ("/spikes/times: recording 1, index 0: inf",)),
        ([[0.1, -0.2]], [[0, 1]], ("/spikes/times: recording 0, index 1: -0.2", "not negative")),
        ([[0.1], [0.2]], [[0], [-3]], ("/spikes/units: recording 1, index 0: -3",)),
        ([[0.1], [0.2]], [[0], [1, 2]], ("/spikes/units: recording 1 has 2 units, but 1 times",)),
        ([[0.1], [0.2]], [[0]], ("/spikes/units", "1 recordings, but times has 2")),
        ([[0.1]], [[1 << 40]], ("/spikes/units", "largest unit is 1099511627776", "give the size")),
    ],
)
def test_wrong_values_are_named(tmp_path, times, units, parts):
    path = write_shd(tmp_path / "a.h5", times, units, unit_type="<i8")
    refused(path, *parts)


def test_unit_outside_the_population(tmp_path):
    path = write_shd(tmp_path / "a.h5", [[0.1], [0.2, 0.3]], [[0], [4, 700]])
    with h5py.File(path, "r+") as file:
        file.attrs["size"] = 700
    refused(path, "/spikes/units: recording 1, index 1: 700", "from 0 to 699")


def test_streaming_names_the_recording_of_the_file_not_of_the_batch(tmp_path):
    path = write_shd(tmp_path / "a.h5", [[0.1]] * 5 + [[0.1, np.nan]], [[0]] * 5 + [[0, 1]])
    with SpikeFile(path) as file:
        batches = file.batches(max_spikes=2, size=2, duration=1.0)
        with pytest.raises(FileError, match="recording 5, index 1: nan"):
            list(batches)


def edit_missing(file):
    del file["spikes/units"]


def edit_flat(file):
    del file["spikes/times"]
    file["spikes/times"] = np.zeros((5, 3))


def edit_strings(file):
    del file["spikes/units"]
    file["spikes/units"] = ["a"] * 5


def edit_labels(file):
    del file["labels"]
    file["labels"] = np.zeros(3, int)


def edit_float_labels(file):
    del file["labels"]
    file["labels"] = np.full(5, 0.5)


def edit_external_link(file):
    del file["labels"]
    file["labels"] = h5py.ExternalLink("other.h5", "/labels")


def edit_hidden_external_link(file):
    del file["labels"]
    file["there"] = h5py.ExternalLink("other.h5", "/")
    file["labels"] = h5py.SoftLink("/there/labels")


def edit_endless_link(file):
    del file["labels"]
    file["labels"] = h5py.SoftLink("/labels")


def edit_dangling_link(file):
    del file["spikes"]
    file["spikes"] = h5py.SoftLink("/populations/out/spikes")


def edit_virtual(file):
    del file["labels"]
    layout = h5py.VirtualLayout((5,), "i8")
    layout[:] = h5py.VirtualSource("other.h5", "labels", (5,))
    file.create_virtual_dataset("labels", layout)


def edit_external_data(file):
    del file["labels"]
    file.create_dataset("labels", (5,), "i8", external=[("other.bin", 0, 40)])


def edit_packed_oddly(file):
    del file["labels"]
    file.create_dataset("labels", data=np.arange(5), chunks=(5,), scaleoffset=0)


def edit_enormous(file):
    del file["labels"]
    file.create_dataset("labels", (1 << 40,), "i8", chunks=(1024,), compression="gzip")[0] = 1


def edit_negative_size(file):
    file.attrs["size"] = -1


def edit_text_duration(file):
    file.attrs["duration"] = "long"


def edit_infinite_duration(file):
    file.attrs["duration"] = np.inf


def edit_everything(file):
    del file["spikes"]


@pytest.mark.parametrize(
    "edit, parts",
    [
        (edit_missing, ("/spikes/units: is missing",)),
        (edit_flat, ("/spikes/times: holds float64", "variable-length")),
        (edit_strings, ("/spikes/units", "integers")),
        (edit_labels, ("/labels: has 3 entries for 5 recordings",)),
        (edit_float_labels, ("/labels: holds float64, must hold integers",)),
        (edit_external_link, ("/labels: is a link to another file",)),
        (edit_hidden_external_link, ("/labels: is a link to another file",)),
        (edit_endless_link, ("/labels", "without end")),
        (edit_dangling_link, ("/spikes: is missing",)),
        (edit_virtual, ("/labels: its data lie in other files",)),
        (edit_external_data, ("/labels: its data lie in other files",)),
        (edit_packed_oddly, ("/labels: is packed with filter 6", "h5repack")),
        (edit_enormous, ("/labels: claims shape [1099511627776]",)),
        (edit_negative_size, ("/: attribute 'size' is -1",)),
        (edit_text_duration, ("/: attribute 'duration' is 'long', must be a number",)),
        (edit_infinite_duration, ("/: attribute 'duration' is inf",)),
        (edit_everything, ("/spikes: is missing", "SHD", "SONATA")),
    ],
)
def test_what_is_wrong_with_a_spike_file_is_named(tmp_path, edit, parts):
    path = tmp_path / "a.h5"
    evsim.save_spikes(path, some_spikes())
    with h5py.File(path, "r+") as file:
        edit(file)
    refused(path, *parts)


def test_files_that_are_no_files(tmp_path):
    refused(tmp_path / "absent.h5", "No such file")
    refused(tmp_path, "not a regular file")
    (tmp_path / "text.h5").write_text("time,unit\n0.1,3\n")
    refused(tmp_path / "text.h5", "not an HDF5 file")
    (tmp_path / "empty.h5").write_bytes(b"")
    refused(tmp_path / "empty.h5", "not an HDF5 file")


def test_truncated_file(tmp_path):
    path = tmp_path / "a.h5"
    evsim.save_spikes(path, some_spikes())
    path.write_bytes(path.read_bytes()[:-100])
    refused(path, "cut off or damaged")


def test_damaged_heap_does_not_send_the_library_into_a_loop(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "evsim-network"
    data = bytearray(path.read_bytes())
    heap = data.index(b"GCOL")
    data[heap + 56 : heap + 64] = bytes(8)  # the free space claims to be 0 bytes long
    path.write_bytes(data)
    refused(path, "damaged", "h5repack", reader=evsim.load_network)


def test_errors_are_value_errors_of_one_printable_line():
    error = FileError("a\nb\x00c\ud800.h5: d")
    assert isinstance(error, ValueError)
    assert str(error) == "a b\\x00c\\ud800.h5: d"


# Streaming


def test_batches_are_the_file_in_order(tmp_path):
    spikes = some_spikes(30, seed=4)
    evsim.save_spikes(tmp_path / "a.h5", spikes)
    with SpikeFile(tmp_path / "a.h5") as file:
        assert (len(file), file.size, file.duration, file.layout) == (30, 9, 1.5, "shd")
        np.testing.assert_array_equal(file.labels, spikes.labels)
        batches = list(file.batches(max_spikes=100))
        same_spikes(evsim.concatenate(batches), spikes)
        assert len(batches) > 3
        assert all(len(b.times) <= 100 for b in batches)
        assert [len(b) for b in file.batches(max_recordings=7)] == [7, 7, 7, 7, 2]


def test_a_recording_larger_than_a_batch_comes_alone(tmp_path):
    counts = [3, 50, 2, 2]
    path = write_shd(
        tmp_path / "a.h5", [np.linspace(0, 1, n) for n in counts], [np.zeros(n) for n in counts]
    )
    with SpikeFile(path) as file:
        assert [np.diff(b.offsets).tolist() for b in file.batches(5)] == [[3], [50], [2, 2]]


def test_batches_know_the_extent_of_the_whole_file(tmp_path):
    path = write_shd(tmp_path / "a.h5", [[0.1], [0.75]], [[0], [12]])
    with SpikeFile(path) as file:
        assert (file.size, file.duration) == (None, None)
        assert [(b.size, b.duration) for b in file.batches(1)] == [(13, 0.8), (13, 0.8)]
        assert file.scan()[:4] == (2, 2, 0.75, 12)
        assert file.scan().counts.tolist() == [1, 1]


def test_streaming_needs_the_memory_of_a_batch(tmp_path):
    rng = np.random.default_rng(0)
    times = [rng.random(5000) for _ in range(100)]
    path = write_shd(tmp_path / "a.h5", times, [np.zeros(5000)] * 100)
    with SpikeFile(path) as file:
        tracemalloc.start()
        n_spikes = sum(len(batch.times) for batch in file.batches(10_000))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert n_spikes == 500_000
    assert peak < 2e6  # the whole file is 8 MB as float64 times and units


def test_extra_is_carried_along(tmp_path):
    path = tmp_path / "a.h5"
    evsim.save_spikes(path, some_spikes())
    with h5py.File(path, "r+") as file:
        file["extra/speaker"] = np.arange(5, dtype="u2")
        file["extra/speaker"].attrs["note"] = "who"
        file["extra/keys"] = np.array([b"zero", b"one"])
        file["extra/names"] = ["één", ""]
        file["extra/title"] = "a title"
        file["extra/meta/age"] = 3.5
        file["extra/meta/male"] = np.array([True, False])
        ragged = file.create_dataset("extra/steps", (2,), h5py.vlen_dtype("u2"))
        ragged[1] = np.arange(3)
        file["extra"].attrs["made"] = "by hand"
    with SpikeFile(path) as source, h5py.File(tmp_path / "b.h5", "w") as target:
        source.copy_extra(target)
    with h5py.File(tmp_path / "b.h5") as file:
        extra = file["extra"]
        assert extra["speaker"].dtype == "u2" and extra["speaker"][()].tolist() == [0, 1, 2, 3, 4]
        assert extra["speaker"].attrs["note"] == "who"
        assert extra["keys"][()].tolist() == [b"zero", b"one"]
        assert [name.decode() for name in extra["names"]] == ["één", ""]
        assert extra["title"][()] == b"a title"
        assert extra["meta/age"][()] == 3.5 and extra["meta/male"][()].tolist() == [True, False]
        assert [a.tolist() for a in extra["steps"]] == [[], [0, 1, 2]]
        assert extra.attrs["made"] == "by hand"


def test_extra_that_leads_out_of_the_file_is_refused(tmp_path):
    path = tmp_path / "a.h5"
    evsim.save_spikes(path, some_spikes())
    with h5py.File(path, "r+") as file:
        file["extra/deep/link"] = h5py.ExternalLink("/etc/passwd", "/")
    with SpikeFile(path) as source, h5py.File(tmp_path / "b.h5", "w") as target:
        with pytest.raises(FileError, match="/extra/deep/link: is a link to another file"):
            source.copy_extra(target)


def test_files_that_data_sets_keep_open_end_without_a_word():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        file = evsim.SpikeFile(evsim.demo_path("digits-spikes.h5"))
        assert np.isfinite(file.scan().last_time)
        raw = file._file._raw
        del file
        gc.collect()
        assert raw.closed
