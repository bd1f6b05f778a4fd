"""Network files with integers: levels and every bit come back, and what is wrong is named."""

import dataclasses
import re

import h5py
import numpy as np
import pytest
from in_process import run
from small_files import refused, same_bits, set_attribute, set_data, some_network

import evsim
from evsim.bits import network_bits
from evsim.files.hdf5 import FileError, InputFile
from evsim.files.network_files import check_version, stored_bits
from evsim.levels import Levels

W, S, K = "projections/in->hid", "projections/hid->hid", "projections/hid->out"


def lowbit_network():
    """Return a network with levels in every kind of projection and every array."""
    rng = np.random.default_rng(3)
    return evsim.Network(
        [
            evsim.Population("in", "Input", 6),
            evsim.Population("hid", "LIF", 6, tau_mem=0.02),
            evsim.Population("out", "LI", 12, tau_mem=0.02, output="max"),
        ],
        [
            evsim.Dense(
                pre="in",
                post="hid",
                weight=Levels(rng.integers(0, 3, (6, 6)), values=[-0.1, -0.0, 0.3]),
                delay=Levels(rng.integers(0, 300, (6, 6)), step=1e-4, offset=2e-3, bits=12),
                axonal_delay=Levels(2, step=1e-3),
            ),
            evsim.Sparse(
                pre="hid",
                post="hid",
                indptr=np.arange(7),
                indices=np.roll(np.arange(6), 1),
                weight=Levels([2**32 - 1, 0, 7, 7, 7, 7], step=-0.1 / 3),
                delay=rng.random(6),
            ),
            evsim.Conv2d(
                pre="hid",
                post="out",
                kernel=Levels(rng.integers(-2, 2, (2, 1, 2, 2)), step=0.1, offset=0.05, bits=2),
                input_shape=(2, 3),
                padding=(1, 0),
                delay=Levels(np.arange(8).reshape(2, 1, 2, 2) // 2, values=[0, 0.005, 0.006, 0.7]),
                axonal_delay=Levels(np.arange(6), step=1e-3),
            ),
        ],
    )


@pytest.fixture
def path(tmp_path):
    lowbit_network().save(tmp_path / "n.h5")
    return tmp_path / "n.h5"


def test_lowbit_networks_come_back_with_their_levels_and_bits(path):
    net, again = lowbit_network(), evsim.load_network(path)
    assert again == net
    for name, projection in net.projections.items():
        assert again.projections[name].levels == projection.levels
        for key, levels in projection.levels.items():
            same_bits(getattr(again.projections[name], key), levels.array())
    assert evsim.network_digest(again) == evsim.network_digest(net) == evsim.network_digest(path)


def test_lowbit_files_hold_integers_and_what_they_stand_for(path):
    with h5py.File(path) as file:
        assert file.attrs["version"] == 2
        weight, delay = file[f"{W}/weight"], file[f"{W}/delay"]
        assert weight.dtype == np.int8 and set(weight.attrs) == {"values", "bits"}
        assert weight.attrs["values"].dtype == np.float64
        assert delay.dtype == np.int16 and dict(delay.attrs) == dict(
            step=1e-4, offset=2e-3, bits=12
        )
        assert delay.attrs["step"].dtype == delay.attrs["offset"].dtype == np.float64
        assert file[f"{W}/axonal_delay"][()] == 2
        assert file[f"{S}/weight"].dtype == np.uint32 and file[f"{S}/delay"].dtype == np.float64
        same_bits(delay[()] * delay.attrs["step"] + delay.attrs["offset"],
                  lowbit_network().projections["in->hid"].delay)  # fmt: skip


def test_lowbit_files_are_refused_by_readers_of_version_1(path):
    with InputFile(path) as file, pytest.raises(FileError) as refusal:
        check_version(file.root, 1)
    told = f"{path}: /: is of version 2; this evsim reads up to 1: use a newer evsim"
    assert str(refusal.value) == told


def test_networks_without_levels_are_of_version_1(tmp_path):
    plain = [
        dataclasses.replace(p, **{name: getattr(p, name).copy() for name in p.levels})
        for p in lowbit_network().projections.values()
    ]
    net = evsim.Network(lowbit_network().populations.values(), plain)
    assert net == lowbit_network()
    for name, each in (("a.h5", net), ("b.h5", some_network())):
        each.save(tmp_path / name)
        with h5py.File(tmp_path / name, "r+") as file:
            assert file.attrs["version"] == 1
            file.attrs["version"] = 2
        assert evsim.load_network(tmp_path / name) == each  # floats may stand in version 2


def test_stale_levels_are_never_written(tmp_path):
    net = lowbit_network()
    net.projections["in->hid"].weight[0, 0] = 0.125
    net.save(tmp_path / "n.h5")
    again = evsim.load_network(tmp_path / "n.h5").projections["in->hid"]
    assert again.weight[0, 0] == 0.125 and set(again.levels) == {"delay", "axonal_delay"}


def test_lowbit_files_of_other_programs(path):
    """Big-endian integers wider than need be, numbers as arrays of one, packed, no bits."""
    with h5py.File(path, "r+") as file:
        levels = file[f"{S}/weight"][()]
        del file[f"{S}/weight"]
        data = file[S].create_dataset("weight", data=levels.astype(">u4"), compression="gzip")
        data.attrs["step"] = np.array([np.float32(0.1)], ">f4")
        wide = file[f"{K}/delay"][()].astype(">i4")
        values = file[f"{K}/delay"].attrs["values"]
        del file[f"{K}/delay"]
        file[f"{K}/delay"] = wide
        file[f"{K}/delay"].attrs["values"] = values.astype(">f8")
    net = evsim.load_network(path)
    assert net.projections["hid->hid"].levels["weight"] == Levels(levels, step=np.float32(0.1))
    assert net.projections["hid->out"] == lowbit_network().projections["hid->out"]
    assert net.projections["hid->out"].levels["delay"].levels.dtype == np.int8


def attributes(path, **changes):
    """Change the attributes of a data set; None removes one."""

    def edit(file):
        for name, value in changes.items():
            if value is None:
                del file[path].attrs[name]
            else:
                file[path].attrs[name] = value

    return edit


def floats(path):
    def edit(file):
        kept = dict(file[path].attrs)
        values = file[path][()].astype(float)
        del file[path]
        file[path] = values
        file[path].attrs.update(kept)

    return edit


def levels(path, values):
    """Put other integers in the place of these, with the same attributes."""

    def edit(file):
        kept = dict(file[path].attrs)
        del file[path]
        file[path] = values
        file[path].attrs.update(kept)

    return edit


@pytest.mark.parametrize(
    "edit, parts",
    [
        (set_attribute("/", "version", 1), (f"{W}/weight: holds integers with attribute", "set")),
        (attributes(f"{W}/delay", step=None), ("'step' nor 'values'", "as floats")),
        (attributes(f"{W}/weight", values=None), (f"/{W}/weight: ", "'step' nor 'values'")),
        (attributes(f"{W}/weight", step=1.0), (f"/{W}/weight: ", "step or values, and not both")),
        (attributes(f"{W}/weight", offset=1.0), ("offset = 1.0 goes with step",)),
        (attributes(f"{W}/weight", values=np.zeros((3, 1))), ("values have shape [3, 1]",)),
        (attributes(f"{W}/weight", values=np.zeros(0)), ("values",)),
        (attributes(f"{W}/weight", values=0.5), ("values have shape []",)),
        (attributes(f"{W}/weight", values=np.zeros(257)), ("values have shape [257]", "256")),
        (attributes(f"{W}/weight", values=np.zeros(8000)), ("values have shape [8000]",)),
        (attributes(f"{W}/weight", values=[0, np.nan, 1]), ("values[1] = nan, must be finite",)),
        (attributes(f"{W}/weight", values=[0.0, 1.0]), ("] = 2, must be from 0 to 1 (values)",)),
        (attributes(f"{W}/weight", values=["a", "b", "c"]), ("'values' holds", "must hold floats")),
        (attributes(f"{W}/weight", values=[1j, 1, 2]), ("'values' holds complex128",)),
        (attributes(f"{W}/weight", bits=1), ("] = 2, must be at most 1, with 1 bit",)),
        (attributes(f"{W}/weight", bits=33), ("bits = 33, must be an integer from 1 to 32",)),
        (attributes(f"{W}/weight", bits=1 << 62), ("must be an integer from 1 to 32",)),
        (attributes(f"{W}/weight", bits=2.5), ("attribute 'bits' is 2.5, must be an integer",)),
        (attributes(f"{W}/weight", bits="two"), ("attribute 'bits' is 'two'",)),
        (attributes(f"{W}/weight", scale=1.0), ("attribute 'scale' is unknown", "step, offset")),
        (attributes(f"{W}/delay", step=0.0), (f"/{W}/delay: step = 0.0, must not be 0",)),
        (attributes(f"{W}/delay", step=-1e-4), ("'in->hid'", "step = -0.0001, must be > 0 [s]")),
        (attributes(f"{W}/delay", step=np.nan), ("step = nan, must be finite",)),
        (attributes(f"{W}/delay", step=1e308), ("stands for more than a float64 holds",)),
        (attributes(f"{W}/delay", step="0.1"), ("attribute 'step' is '0.1', must be a number",)),
        (attributes(f"{W}/delay", step=[0.1, 0.2]), ("attribute 'step' is", "must be a number")),
        (attributes(f"{W}/delay", offset=np.inf), ("offset = inf, must be finite",)),
        (attributes(f"{W}/delay", offset=-1.0), ("'in->hid'", "must be finite and >= 0 [s]")),
        (attributes(f"{S}/delay", step=1.0), (f"/{S}/delay: holds float64, but attribute 'step'",)),
        (attributes(f"{S}/delay", unit="s"), (f"/{S}/delay: attribute 'unit' is unknown",)),
        (attributes(f"{S}/indices", step=1), (f"/{S}/indices: attribute 'step' is unknown",)),
        (attributes("populations/hid/tau_mem", step=1), ("/tau_mem: attribute 'step' is unknown",)),
        (floats(f"{W}/weight"), (f"/{W}/weight: holds float64, but attribute",)),
        (levels(f"{W}/weight", np.ones((6, 6), np.int64)), ("holds int64", "8, 16 or 32 bits")),
        (levels(f"{W}/weight", np.ones((6, 6), bool)), (f"/{W}/weight: holds",)),
        (
            levels(f"{W}/weight", np.full((6, 6), 3, "u1")),
            ("levels[0, 0] = 3, must be from 0 to 2",),
        ),
        (levels(f"{W}/weight", np.full((6, 6), -1, "i1")), ("levels[0, 0] = -1, must be from 0",)),
        (levels(f"{W}/weight", np.ones((6, 5), "i1")), ("weight has shape [6, 5]",)),
        (levels(f"{W}/weight", np.ones((1,) * 5, "i1")), ("must have", "dimensions")),
        (
            set_data(f"{W}/weight", np.ones((6, 6), "i1")),
            ("neither attribute 'step' nor 'values'",),
        ),
    ],
)
def test_what_is_wrong_with_lowbit_files_is_named(path, edit, parts):
    with h5py.File(path, "r+") as file:
        edit(file)
    refused(path, *parts, reader=evsim.load_network)


@pytest.mark.parametrize("name", ["step", "offset", "bits", "values"])
@pytest.mark.parametrize("data", ["populations/hid/tau_syn", "projections/lif->srm/weight"])
def test_version_1_has_no_attributes_at_integers(tmp_path, data, name):
    path = tmp_path / "n.h5"
    some_network().save(path)
    with h5py.File(path, "r+") as file:
        file[data].attrs[name] = 1.0
    assert evsim.load_network(path) == some_network()  # floats stand for themselves
    with h5py.File(path, "r+") as file:
        levels(data, np.ones(file[data].shape, np.int8))(file)
    refused(path, f"/{data}: holds integers", f"attribute {name!r}", "'version' to 2",
            reader=evsim.load_network)  # fmt: skip
    with h5py.File(path, "r+") as file:
        del file[data].attrs[name]
    evsim.load_network(path)  # integers that are numbers


# --- the command line ---


def test_info_tells_bits_levels_and_mbit_of_lowbit_files(path):
    told = run(path.parent, "info", "n.h5").stdout
    ternary = lowbit_network().projections["in->hid"].levels["weight"]
    zeros = (ternary.levels == 1).mean()
    assert re.search(
        rf"weight .*\n +levels +2 bits, 3 distinct levels, 3 values in a table, range -0.1 to 0.3, "
        rf"{zeros:.1%} zeros\n",
        told,
    )
    assert re.search(r"synaptic delay .*\n +levels +12 bits, .* step 0.1 ms from 2 ms on, ", told)
    assert re.search(
        r"kernel .*\n +levels +2 bits, 4 .* step 0.1 from 0.05 on, range -0.15 to", told
    )
    assert re.search(r"axonal delay .*\n +levels +3 bits, 6 .* step 1 ms, range 0 to 5 ms, ", told)
    assert told.count("levels  ") == 7  # one array has none
    stored = 8 * (36 * 1 + 36 * 2 + 6 * 4 + 6 * 8 + 8 + 8 + 6)
    assert stored_bits(path) == stored
    size = network_bits(lowbit_network())
    assert f"  {size}; the file spends {stored / 1e6:.3g} Mbit\n" in told
    assert "times smaller than at 32 bits; the file" in told


def test_info_of_a_network_without_levels_tells_mbit_alone(tmp_path):
    some_network().save(tmp_path / "n.h5")
    told = run(tmp_path, "info", "n.h5").stdout
    size = network_bits(some_network())
    assert size.bits == 32 * (size.weights + size.delays)
    stored = 2 * size.bits / 1e6
    assert (
        f"  {size.bits / 1e6:.3g} Mbit of weights and delays; the file spends {stored:.3g}" in told
    )
    assert "smaller" not in told and "levels" not in told


def test_commands_take_lowbit_files(path):
    evsim.save_spikes(
        path.parent / "s.h5", evsim.Spikes([0.01, 0.02], [0, 5], size=6, duration=1.5, labels=[1])
    )
    done = run(path.parent, "simulate", "n.h5", "s.h5", "-o", "o.h5", "-q")
    assert done.returncode == 0, done.stderr
    output = evsim.simulate(lowbit_network(), evsim.load_spikes(path.parent / "s.h5")).output
    same_bits(evsim.load_result(path.parent / "o.h5").output["out"], output["out"])


def test_lowbit_files_are_copied_whole_and_told_to_lose_their_integers_in_nir(tmp_path):
    pytest.importorskip("nir")
    weight = Levels([[0, 1, 3]], step=0.1 / 3, bits=2)
    net = evsim.Network(
        [evsim.Population("in", "Input", 3), evsim.Population("out", "LIF", 1, tau_mem=0.02)],
        [evsim.Dense(pre="in", post="out", weight=weight, delay=Levels([1, 2, 1], step=1e-3))],
    )
    net.save(tmp_path / "n.h5")
    assert run(tmp_path, "convert", "n.h5", "copy.h5").stderr == ""
    assert (tmp_path / "copy.h5").read_bytes() == (tmp_path / "n.h5").read_bytes()
    done = run(tmp_path, "convert", "n.h5", "n.nir")
    assert done.returncode == 0 and done.stderr.count("\n") == 1
    assert "evsim: warning: n.nir: NIR has no integers" in done.stderr
    (projection,) = evsim.interop.load_nir(tmp_path / "n.nir").projections.values()
    same_bits(projection.weight, weight.array())
    assert projection.levels == {}
    told = run(tmp_path, "info", "n.nir").stdout
    assert "Mbit of weights and delays\n" in told  # a graph spends what NIR spends
