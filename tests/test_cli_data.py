"""``evsim encode``, and info and plot of the files of other data sets, as subprocesses."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from test_cli import refused, run

import evsim

soundfile = pytest.importorskip("soundfile")
DATA = Path(__file__).parent / "data"
RATE = 16000


@pytest.fixture
def words(tmp_path):
    for b, (folder, name) in enumerate([("no", "a.wav"), ("yes", "a.wav"), ("yes", "b.flac")]):
        (tmp_path / "words" / folder).mkdir(parents=True, exist_ok=True)
        t = np.arange(RATE // 10) / RATE
        tone = 0.5 * np.sin(2 * np.pi * (400 + 300 * b) * t)
        soundfile.write(tmp_path / "words" / folder / name, tone, RATE)
    return tmp_path


def test_recordings_become_a_spike_file_that_can_be_seen(words):
    done = run(words, "encode", "words", "-o", "s.h5", "--channels", 40, "--label-by", "folder")
    assert done.returncode == 0, done.stderr
    spikes = evsim.load_spikes(words / "s.h5")
    assert (len(spikes), spikes.size, spikes.labels.tolist()) == (3, 40, [0, 1, 1])
    assert (np.diff(spikes.offsets) > 5).all()
    with h5py.File(words / "s.h5") as file:
        assert file["extra/keys"][()].tolist() == [b"no", b"yes"]
    told = run(words, "info", "s.h5").stdout
    assert "recordings  3" in told and "0 no         1 recording" in told
    assert run(words, "plot", "s.h5", "-o", "s.png").returncode == 0


def test_the_seed_decides(words):
    for name, seed in (("a.h5", 1), ("b.h5", 1), ("c.h5", 2)):
        done = run(words, "encode", "words/no", "-o", name, "--channels", 40, "--seed", seed)
        assert done.returncode == 0, done.stderr
    a, b, c = (evsim.load_spikes(words / f"{name}.h5").times.tolist() for name in "abc")
    assert a == b and a != c


def test_what_is_no_recording_is_refused_without_a_trace(words):
    (words / "words" / "no" / "c.wav").write_bytes(b"RIFF nothing")
    assert "c.wav" in refused(words, "encode", "words", "-o", "s.h5")
    assert "no such file" in refused(words, "encode", "absent.wav", "-o", "s.h5").lower()
    assert "channels" in refused(words, "encode", "words/yes", "-o", "s.h5", "--channels", 0)
    (words / "s.h5").touch()
    assert "exists already" in refused(words, "encode", "words/yes", "-o", "s.h5")


@pytest.mark.parametrize(
    "name, told",
    [
        ("events/nmnist-train-00001.bin", "2 x 34 x 34"),
        ("events/dvsgesture-extract.aedat", "2 x 128 x 128"),
        ("mnist/train-images-idx3-ubyte.gz", "recordings  20"),
        ("mnist/t10k-labels-idx1-ubyte.gz", "1 x 28 x 28"),
    ],
)
def test_files_of_other_data_sets_are_told_and_drawn(tmp_path, name, told):
    done = run(tmp_path, "info", DATA / name)
    assert done.returncode == 0, done.stderr
    assert told in done.stdout and "data set" in done.stdout
    done = run(tmp_path, "plot", DATA / name, "-o", "a.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_damaged_files_of_other_data_sets_are_refused(tmp_path):
    content = (DATA / "events" / "dvsgesture-extract.aedat").read_bytes()
    (tmp_path / "cut.aedat").write_bytes(content[: len(content) // 2])
    assert "cut.aedat" in refused(tmp_path, "info", "cut.aedat")
    assert "recording 3 does not exist" in refused(
        tmp_path,
        "plot",
        DATA / "events" / "nmnist-train-00001.bin",
        "-o",
        "a.png",
        "--recording",
        3,
    )
