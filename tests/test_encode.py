"""From sound files to spike files: what comes out, and what is refused without a trace."""

import struct

import h5py
import numpy as np
import pytest

import evsim
from evsim import FileError
from evsim.datasets.cochlea import Cochlea
from evsim.datasets.cochlea.audio import emphasised, read_audio
from evsim.datasets.cochlea.encode import encode_files

soundfile = pytest.importorskip("soundfile")
RATE = 16000


def tone(frequency, seconds=0.1, rate=RATE):
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


@pytest.fixture
def folder(tmp_path):
    """Two classes in two formats, and things that are no sounds."""
    for name, frequency in (
        ("low/two_b.wav", 300),
        ("low/one_a.flac", 400),
        ("high/one_b.WAV", 2000),
        ("high/deep/two.x.flac", 3000),
    ):
        path = tmp_path / "sounds" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone(frequency), RATE)
    (tmp_path / "sounds" / "notes.txt").write_text("not a sound")
    return tmp_path / "sounds"


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(440), RATE)
    return path


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "spikes.h5"


def sources(path):
    with h5py.File(path) as file:
        return [name.decode() for name in file["extra/source"]]


# sound files


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_samples_are_read_as_they_are(tmp_path, ending):
    samples = np.array([0, 1, -1, 32767, -32768, 123], np.int16)
    soundfile.write(tmp_path / f"a.{ending}", samples, 44100)
    audio, rate = read_audio(tmp_path / f"a.{ending}")
    assert rate == 44100
    assert audio.dtype == np.float64
    assert np.array_equal(audio, samples / 32768)


def test_channels_are_averaged(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([[0.5, 0.25], [-1.0, 0.5]]), 8000, "FLOAT")
    assert read_audio(tmp_path / "a.wav")[0].tolist() == [0.375, -0.25]


@pytest.mark.parametrize("frequency", [100, 1000, 7900])
def test_emphasis_has_the_gain_of_its_filter(frequency):
    steady = emphasised(tone(frequency, 1.0), 0.97)[1:]
    gain = np.abs(1 - 0.97 * np.exp(-2j * np.pi * frequency / RATE))
    # The power over whole periods is that of the sine.
    assert np.sqrt(2 * np.mean(steady**2)) == pytest.approx(0.5 * gain, rel=1e-3)


def test_no_emphasis_changes_nothing():
    samples = np.array([3, -2, 7], np.int16)
    np.testing.assert_array_equal(emphasised(samples, 0.0), samples)
    np.testing.assert_array_equal(emphasised(samples, 1.0), [3, -5, 9])
    with pytest.raises(ValueError, match=r"coefficient = 1\.1, must be from 0 to 1"):
        emphasised(samples, 1.1)


def test_no_such_sound_file(tmp_path):
    with pytest.raises(FileError, match="nothing.wav"):
        read_audio(tmp_path / "nothing.wav")


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_a_file_cut_off_anywhere_is_refused(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, tone(440, 0.02), RATE)
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(FileError, match=f"a.{ending}"):
            read_audio(path)


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_damaged_files_are_read_or_refused(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, tone(440, 0.02), RATE)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for at in rng.integers(0, min(len(whole), 120), 3):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            audio, rate = read_audio(path)
        except FileError:
            continue
        assert audio.ndim == 1 and rate > 0 and len(audio) < 10 * len(whole)


def test_a_length_from_a_pipe_is_no_error(wav):
    data = bytearray(wav.read_bytes())
    data[4:8] = data[40:44] = struct.pack("<I", 0xFFFFFFFF)
    wav.write_bytes(data)
    assert len(read_audio(wav)[0]) == len(tone(440))


# spike files


def test_spikes_are_those_of_the_cochlea(folder, out):
    summary = encode_files([folder], out, channels=70, seed=5)
    spikes = evsim.load_spikes(out)
    assert len(spikes) == 4 and spikes.size == 70 and spikes.labels is None
    assert sources(out) == sorted(sources(out))
    for b, path in enumerate(sources(out)):
        expected = Cochlea(70).encode(*read_audio(path), (5, b))
        assert np.array_equal(spikes[b].times, expected.times)
        assert np.array_equal(spikes[b].units, expected.units)
        assert spikes.duration == expected.duration  # all are equally long here
    assert "4 recordings" in summary and str(out) in summary
    assert f"{len(spikes.times):,} spikes of 70 units" in summary


def test_the_file_tells_how_it_was_made(wav, out):
    encode_files([wav], out, channels=12, constants="default", seed=2**70)
    with h5py.File(out) as file:
        attributes = dict(file.attrs)
    assert attributes["channels"] == attributes["size"] == 12
    assert attributes["constants"] == "default"
    assert attributes["seed"] == str(2**70)
    assert attributes["evsim_version"] == evsim.__version__


def test_duration_is_that_of_the_longest(tmp_path, out):
    for name, seconds in (("a", 0.1), ("b", 0.2), ("c", 0.15)):
        soundfile.write(tmp_path / f"{name}.wav", tone(440, seconds), RATE)
    encode_files([tmp_path], out, channels=3)
    assert evsim.load_spikes(out).duration == pytest.approx(0.2, abs=1e-3)


@pytest.mark.parametrize(
    ("label_by", "classes", "labels"),
    [
        ("folder", [b"deep", b"high", b"low"], [0, 1, 2, 2]),
        ("name", [b"one", b"two"], [1, 0, 0, 1]),
    ],
)
def test_labels(folder, out, label_by, classes, labels):
    encode_files([folder], out, channels=3, label_by=label_by)
    assert evsim.load_spikes(out).labels.tolist() == labels
    with h5py.File(out) as file:
        assert file["extra/keys"][()].tolist() == classes
        assert file["extra/keys"].dtype.kind == "S"


def test_files_are_taken_in_the_order_given(folder, wav, out):
    files = [wav, folder / "low" / "two_b.wav", folder / "high", wav]
    encode_files(files, out, channels=3)
    names = [name.rsplit("/", 1)[-1] for name in sources(out)]
    assert names == ["tone.wav", "two_b.wav", "two.x.flac", "one_b.WAV", "tone.wav"]


def test_same_seed_same_file(folder, tmp_path):
    for name in "ab":
        encode_files([folder], tmp_path / name, channels=20)
    first, second = (evsim.load_spikes(tmp_path / name) for name in "ab")
    assert np.array_equal(first.times, second.times)


# bad input


def test_a_bad_file_is_named_and_nothing_is_left(folder, out):
    (folder / "low" / "zero.wav").write_bytes(b"RIFF")
    with pytest.raises(FileError, match="zero.wav"):
        encode_files([folder], out, channels=3)
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(9600), "silent"),
        (np.zeros(0), "empty"),
        (np.full(9600, np.nan), "sample 0 is nan"),
        (np.ones(20), "at least 0.06 s"),
    ],
)
def test_a_sound_that_cannot_be_encoded_is_named(tmp_path, out, samples, message):
    soundfile.write(tmp_path / "odd.wav", samples, RATE, "FLOAT")
    with pytest.raises(FileError, match=f"odd.wav: audio: .*{message}"):
        encode_files([tmp_path / "odd.wav"], out, channels=3)
    assert list(out.parent.iterdir()) == []


def test_an_existing_file_is_kept(wav, out):
    out.write_text("precious")
    with pytest.raises(FileExistsError):
        encode_files([wav], out, channels=3)
    assert out.read_text() == "precious"
    encode_files([wav], out, channels=3, overwrite=True)
    assert len(evsim.load_spikes(out)) == 1


def test_bad_arguments(wav, out, tmp_path):
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        (dict(paths=[]), "no sound files"),
        (dict(paths=[tmp_path / "empty"]), "holds no .wav"),
        (dict(paths=[wav], label_by="speaker"), "label_by = 'speaker'"),
        (dict(paths=[wav], seed=-1), "seed = -1"),
        (dict(paths=[wav], channels=0), "channels = 0"),
        (dict(paths=[wav], constants="x"), "constants = 'x'"),
    ):
        with pytest.raises(ValueError, match=message):
            encode_files(output=out, **arguments)
        assert not out.exists()
