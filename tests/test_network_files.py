"""Network files: every bit and the order come back; what is wrong is named."""

import hashlib
import os

import h5py
import numpy as np
import pytest
from small_files import (
    refused,
    same_bits,
    set_attribute,
    set_data,
    some_network,
    some_spikes,
)

import evsim
from evsim.files import FileError, network_digest
from evsim.projections import payload


def same_networks(a, b):
    assert (a.input, a.output) == (b.input, b.output)
    assert list(a.populations) == list(b.populations)
    assert list(a.projections) == list(b.projections)
    for p, q in zip(a.populations.values(), b.populations.values(), strict=True):
        for name in ("name", "model", "size", "reset_mode", "output", "tau_output"):
            assert getattr(p, name) == getattr(q, name)
        assert list(p.parameters) == list(q.parameters)
        for name, values in p.parameters.items():
            same_bits(values, q.parameters[name])
    for p, q in zip(a.projections.values(), b.projections.values(), strict=True):
        assert (p.name, p.pre, p.post, p.kind) == (q.name, q.pre, q.post, q.kind)
        assert payload(p).keys() == payload(q).keys()
        for name, value in payload(p).items():
            same_bits(value, payload(q)[name])


def test_network_comes_back_to_the_bit_and_in_order(tmp_path):
    net = some_network()
    net.save(tmp_path / "n.h5")
    same_networks(evsim.Network.load(tmp_path / "n.h5"), net)


def test_network_digest_is_the_one_of_the_file(tmp_path):
    net, path = some_network(), tmp_path / "n.h5"
    net.save(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert network_digest(path) == network_digest(str(path)) == digest
    assert network_digest(net) == digest
    assert network_digest(evsim.Network.load(path)) == digest
    with pytest.raises(FileError, match=r"absent\.h5: can't be read: No such file"):
        network_digest(tmp_path / "absent.h5")


def test_network_written_by_another_program(tmp_path):
    path = tmp_path / "n.h5"
    with h5py.File(path, "w") as file:
        file.attrs["format"] = np.bytes_("evsim-network")
        file.attrs["version"] = np.float64(1)
        file.attrs["input"] = file.attrs["note"] = "in"
        file.attrs["output"] = np.array(["out"], h5py.string_dtype())
        file["training/loss"] = np.arange(3)
        for name, model in (("in", "Input"), ("out", "LIF")):
            group = file.create_group(f"populations/{name}")
            group.attrs["model"], group.attrs["size"] = model, np.uint8(3)
        group["tau_mem"] = np.float32([0.5, 0.25, 1])
        group.create_dataset("threshold", (), data=2)
        group = file.create_group("projections/w")
        for name, value in (("pre", "in"), ("post", "out"), ("kind", "dense")):
            group.attrs[name] = value
        group.create_dataset("weight", data=np.eye(3, dtype=">f4"), compression="lzf")
    net = evsim.Network.load(path)
    assert net.output == "out" and net.populations["out"].reset_mode == "hard"
    assert net.populations["out"].tau_mem.tolist() == [0.5, 0.25, 1]
    assert net.populations["out"].threshold.tolist() == [2, 2, 2]
    assert net.projections["w"].weight.tolist() == np.eye(3).tolist()


@pytest.mark.parametrize(
    "edit, parts",
    [
        (set_attribute("/", "version", 3), ("/: is of version 3", "newer evsim")),
        (set_attribute("/", "version", 0), ("'version' is 0",)),
        (set_attribute("/", "version", "one"), ("'version' is 'one', must be a number",)),
        (set_attribute("/", "format", "evsim-result"), ("'evsim-result', must be 'evsim-net",)),
        (set_attribute("/", "input", "hid"), ("input = 'hid'",)),
        (set_attribute("/", "output", "nobody"), ("'nobody' does not exist",)),
        (set_data("projections", None), ("/projections: is missing",)),
        (set_data("populations/hid/tau_mem", None), ("/populations/hid", "'tau_mem'", "missing")),
        (set_data("populations/hid/tau_syn", -1.0), ("/populations/hid", "tau_syn[0] = -1.0")),
        (set_data("populations/hid/tau_syn", np.ones(5)), ("tau_syn has shape [5]", "[12]")),
        (set_data("populations/hid/tau_syn", "x"), ("/populations/hid/tau_syn: holds text",)),
        (set_data("populations/hid/tau", 1.0), ("/populations/hid/tau: ", "'tau' is unknown")),
        (set_attribute("populations/hid", "resetmode", "x"), ("'resetmode' is unknown",)),
        (set_attribute("populations/hid", "model", "Izhikevich"), ("'Izhikevich'", "CubaLIF")),
        (set_attribute("populations/hid", "size", 1 << 40), ("'size' is 1099511627776",)),
        (set_attribute("populations/hid", "size", 2.5), ("'size' is 2.5, must be an integer",)),
        (set_attribute("populations/zebra", "size", 13), ("weight has shape [12, 12]",)),
        (set_data("populations/extra", 1.0), ("/populations/extra: is a data set",)),
        (set_attribute("projections/apart", "kind", "conv3d"), ("'conv3d'", "conv2d")),
        (set_attribute("projections/apart", "stride", 1.5), ("'stride' is",)),
        (set_attribute("projections/apart", "stride", 0), ("stride = [0], must be >= 1",)),
        (set_attribute("projections/apart", "groups", 2), ("'groups' is unknown",)),
        (set_attribute("projections/apart", "pre", "nobody"), ("'nobody' does not exist",)),
        (set_data("projections/apart/kernel", None), ("/projections/apart/kernel: is missing",)),
        (set_data("projections/apart/weight", 1.0), ("/projections/apart/weight: ", "unknown")),
        (set_data("projections/zebra->hid/delay", -0.5), ("delay = -0.5", ">= 0")),
        (set_data("projections/zebra->hid/delay", np.nan), ("'zebra->hid'", "delay = nan")),
        (set_data("projections/lif->srm/indices", [1, 1, 0, 9]), ("indices[3] = 9 is outside",)),
        (set_data("projections/lif->srm/indptr", np.zeros(13)), ("indptr: holds float64",)),
        (set_data("projections/lif->srm/indptr", [0, 3, 4]), ("indptr must have 13 entries",)),
    ],
)
def test_what_is_wrong_with_a_network_file_is_named(tmp_path, edit, parts):
    path = tmp_path / "n.h5"
    some_network().save(path)
    with h5py.File(path, "r+") as file:
        edit(file)
    refused(path, *parts, reader=evsim.load_network)


def test_a_file_of_another_kind_is_recognised(tmp_path):
    evsim.save_spikes(tmp_path / "s.h5", some_spikes())
    refused(tmp_path / "s.h5", "spike or result file", reader=evsim.load_network)
    refused(tmp_path / "s.h5", "must be 'evsim-result'", reader=evsim.load_result)
    some_network().save(tmp_path / "n.h5")
    refused(tmp_path / "n.h5", "/spikes: is missing")


def test_names_that_hdf5_cannot_have(tmp_path):
    net = evsim.Network(
        [evsim.Population("a/b", "Input", 1), evsim.Population("c", "LIF", 1, tau_mem=1.0)],
        [evsim.Dense(pre="a/b", post="c", weight=[[1.0]])],
    )
    with pytest.raises(ValueError, match="population 'a/b'"):
        net.save(tmp_path / "n.h5")
    assert os.listdir(tmp_path) == []


def test_a_folder_of_a_run_is_told_with_its_network(tmp_path):
    (tmp_path / "network.h5").touch()
    with pytest.raises(evsim.FileError, match=r"is a folder; give .*network\.h5"):
        evsim.load_network(tmp_path)
