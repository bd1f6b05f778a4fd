"""Pipes, sockets and devices are refused at once, by every reader and every command."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from in_process import run

import evsim
from evsim.files import FileError, WholeFile, load_network, load_result, network_digest
from evsim.files.hdf5 import open_regular

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Fail, instead of hanging, where a pipe is waited for."""

    def late(*_: object) -> None:
        raise AssertionError("waits for a pipe")

    usual = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, usual)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def sock(path: Path) -> None:
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)  # a path of a socket must be short


KINDS = [pipe, device, sock]


def readers() -> dict[str, Callable[[Path], object]]:
    from evsim.datasets.cochlea.audio import read_audio
    from evsim.datasets.formats.address_events import read_camera_events
    from evsim.datasets.formats.aedat import AedatFile
    from evsim.datasets.formats.idx import read_idx
    from evsim.datasets.recognise import recognise
    from evsim.datasets.sets.dvs_gesture import listed_recordings, read_labels

    return {
        "spikes": evsim.load_spikes,
        "network": load_network,
        "result": load_result,
        "digest": network_digest,
        "audio": read_audio,
        "camera": read_camera_events,
        "aedat": AedatFile,
        "idx": read_idx,
        "recognise": recognise,
        "list": listed_recordings,
        "labels": read_labels,
        "bytes": open_regular,
    }


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("name", readers())
def test_a_reader_refuses_what_is_no_file(
    tmp_path: Path, make: Callable[[Path], None], name: str
) -> None:
    if name == "audio":
        pytest.importorskip("soundfile")
    make(tmp_path / "odd")
    with at_once(), pytest.raises(FileError, match="odd: is not a regular file"):
        readers()[name](tmp_path / "odd")


def test_nir_and_checkpoints_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("nir")
    pytest.importorskip("torch")
    from evsim.gradients.training.checkpoints import load_checkpoint
    from evsim.gradients.training.run_folder import RunFolder
    from evsim.interop import load_nir
    from evsim.train_options import TrainSettings

    os.mkfifo(tmp_path / "odd")
    (tmp_path / "checkpoint.pt").touch()
    os.mkfifo(tmp_path / "options.json")
    with at_once():
        for read in (load_nir, load_checkpoint):
            with pytest.raises(FileError, match="odd: is not a regular file"):
                read(tmp_path / "odd")
        with pytest.raises(FileError, match="options.json: is not a regular file"):
            RunFolder(tmp_path).options(TrainSettings, {})


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize(
    "command",
    [
        "info odd",
        "plot odd -o new",
        "simulate odd digits-spikes.h5 -o new",
        "simulate digits-demo.h5 odd -o new",
        "check odd digits-spikes.h5",
        "encode odd -o new",
        "train odd -o new",
    ],
)
def test_a_command_refuses_what_is_no_file(
    tmp_path: Path, make: Callable[[Path], None], command: str
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("soundfile")
    make(tmp_path / "odd")
    with at_once():
        done = run(tmp_path, *command.split())
    assert done.returncode == 2 and "odd: is not a regular file" in done.stderr
    assert os.listdir(tmp_path) == ["odd"]


@pytest.mark.parametrize("make", KINDS)
def test_what_is_no_file_is_not_replaced_by_one(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "odd")
    with at_once(), pytest.raises(FileError, match="odd: is not a regular file"):
        with WholeFile(tmp_path / "odd", overwrite=True):
            raise AssertionError("never entered")
    assert os.listdir(tmp_path) == ["odd"]


def test_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    spikes = evsim.Spikes([0.1], [0], size=1, duration=1.0)
    evsim.save_spikes(tmp_path / "s.h5", spikes)
    (tmp_path / "link.h5").symlink_to("s.h5")
    np.testing.assert_array_equal(evsim.load_spikes(tmp_path / "link.h5").times, [0.1])
