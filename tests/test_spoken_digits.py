import os

import h5py
import numpy as np
import pytest
from small_files import same_spikes

import evsim
from evsim.datasets import SpokenDigits, make_spoken_digits, sum_channels
from evsim.datasets.cochlea import Cochlea
from evsim.datasets.cochlea.audio import emphasised
from evsim.datasets.sets.fsdd import read_fsdd

soundfile = pytest.importorskip("soundfile")
RATE = 8000


def tone(seed, seconds=0.08):
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE)
    wave = np.sin(2 * np.pi * rng.uniform(300, 2000) * np.arange(n) / RATE)
    return (8000 * wave).astype(np.int16)


NAMES = [(d, s, t) for s in ("ann", "bob") for d in (3, 7) for t in (0, 4, 5, 6)]


@pytest.fixture
def folder(tmp_path):
    there = tmp_path / "fsdd" / "recordings"
    there.mkdir(parents=True)
    for i, (digit, speaker, take) in enumerate(NAMES):
        soundfile.write(there / f"{digit}_{speaker}_{take}.wav", tone(i), RATE, subtype="PCM_16")
    (there / "notes.txt").write_text("not a recording")
    return tmp_path / "fsdd"


@pytest.fixture
def packed(tmp_path):
    path = tmp_path / "fsdd.h5"
    with h5py.File(path, "w") as file:
        audio = file.create_dataset("audio", (len(NAMES),), h5py.vlen_dtype(np.int16))
        order = np.random.default_rng(0).permutation(len(NAMES))
        for place, i in enumerate(order):
            audio[place] = tone(i)
        digits, speakers, takes = zip(*(NAMES[i] for i in order), strict=True)
        file["digit"], file["index"] = np.array(digits, np.int8), np.array(takes, np.int16)
        file["speaker"] = np.array([s == "bob" for s in speakers], np.int8)
        file["sample_rate"] = np.full(len(NAMES), RATE, np.int32)
        file["extra/speaker_name"] = ["ann", "bob"]
    return path


def test_the_embedded_set_is_whole():
    data = SpokenDigits()
    assert (len(data), data.size) == (2000, 70)
    assert np.bincount(data.labels).tolist() == [200] * 10
    assert np.bincount(data.speakers).tolist() == [500] * 4
    assert data.class_names[:3] == ["zero", "one", "two"]
    spikes = data.spikes()
    assert np.diff(spikes.offsets).min() > 50
    np.testing.assert_array_equal(spikes.times, np.rint(spikes.times * 24000) / 24000)
    assert os.path.getsize(evsim.demo_path("spoken-digits-70.h5")) < 5e6


def test_hardly_a_unit_of_the_embedded_set_is_silent():
    counts = SpokenDigits().spikes().counts().sum(axis=0)
    assert counts.min() > 0 and (counts > 1000).sum() >= 67  # speech hardly reaches 100 Hz


def test_the_sets_own_split_is_by_take():
    train, test = SpokenDigits("train"), SpokenDigits("test")
    assert (len(train), len(test)) == (1800, 200)
    assert np.bincount(test.labels).tolist() == [20] * 10
    firsts = {s.times.tobytes() for s, _ in test}
    assert not firsts & {s.times.tobytes() for s, _ in train}


def test_a_speaker_can_be_held_out():
    train, test = (SpokenDigits(part, held_out="theo") for part in ("train", "test"))
    theo = test.speaker_names.index("theo")
    assert set(test.speakers) == {theo} and theo not in train.speakers
    assert (len(train), len(test)) == (1500, 500)
    same_spikes(SpokenDigits().hold_out(theo)[1].spikes(), test.spikes())


def test_options_that_make_no_sense_are_named():
    with pytest.raises(ValueError, match="split = 'dev', must be one of train, test, all"):
        SpokenDigits("dev")
    with pytest.raises(ValueError, match="held_out = 'eve', must be one of george, jackson"):
        SpokenDigits("test", held_out="eve")
    with pytest.raises(ValueError, match="channels = 700: 70 come with evsim"):
        SpokenDigits(channels=700)


def test_folder_and_file_hold_the_same_recordings(folder, packed):
    for a, b in zip(read_fsdd(folder), read_fsdd(packed), strict=True):
        assert (a.digit, a.speaker, a.take, a.rate) == (b.digit, b.speaker, b.take, b.rate)
        np.testing.assert_array_equal(a.audio, b.audio / 32768)


def test_other_channels_are_made_once_and_kept(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = SpokenDigits(channels=20, source=folder)
    assert (len(data), data.size, data.speaker_names) == (16, 20, ["ann", "bob"])
    assert len(SpokenDigits("test", channels=20, source=folder)) == 8
    (made,) = (tmp_path / "cache" / "evsim").glob("spoken-digits-*")
    written = made.stat().st_mtime_ns
    again = SpokenDigits(channels=20, source=folder)
    assert made.stat().st_mtime_ns == written
    same_spikes(again.spikes(), data.spikes())


@pytest.mark.parametrize("name, value", [("FIRST_PLACE", 0.5), ("PLACES", 1), ("EMPHASIS", 0.5)])
def test_another_way_to_encode_is_not_served_from_the_cache(
    folder, tmp_path, monkeypatch, name, value
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    SpokenDigits(channels=5, source=folder)
    monkeypatch.setattr(f"evsim.datasets.sets.spoken_digits.{name}", value)
    SpokenDigits(channels=5, source=folder)
    assert len(list((tmp_path / "cache" / "evsim").glob("spoken-digits-*"))) == 2


def test_a_recording_is_what_the_cochlea_makes_of_it(packed, tmp_path):
    path = tmp_path / "out.h5"
    make_spoken_digits(packed, path, channels=20, seed=3)
    spikes = evsim.load_spikes(path)
    cochlea = Cochlea(40, first_place=1.0)
    for b, one in enumerate(read_fsdd(packed)):
        expected = cochlea.encode(emphasised(one.audio, 0.97), one.rate, (3, b))
        expected = sum_channels(expected, 2)
        np.testing.assert_array_equal(spikes[b].times, expected.times)
        np.testing.assert_array_equal(spikes[b].units, expected.units)
        assert spikes.labels[b] == one.digit


def test_a_plain_cochlea_can_be_asked_for(packed, tmp_path):
    path = tmp_path / "out.h5"
    make_spoken_digits(packed, path, channels=20, first_place=0.0, places=1, emphasis=0.0)
    spikes = evsim.load_spikes(path)
    for b, one in enumerate(read_fsdd(packed)):
        expected = Cochlea(20).encode(one.audio, one.rate, (0, b))
        np.testing.assert_array_equal(spikes[b].times, expected.times)
        np.testing.assert_array_equal(spikes[b].units, expected.units)


def test_a_source_without_recordings_is_refused(tmp_path):
    with pytest.raises(evsim.FileError, match=r"has no digit_speaker_take\.wav"):
        list(read_fsdd(tmp_path))
    with pytest.raises(evsim.FileError, match="can't be opened"):
        list(read_fsdd(tmp_path / "none.h5"))


@pytest.mark.parametrize(
    "name, value, part",
    [
        ("digit", np.zeros(2, np.int8), "/digit: has 2 entries for 16 recordings"),
        ("speaker", np.full(16, 2, np.int8), "/speaker: recording 0 is of a speaker without"),
        ("audio", None, "/audio: is missing"),
        ("extra/speaker_name", None, "/extra/speaker_name: is missing"),
    ],
)
def test_a_damaged_source_is_refused(packed, tmp_path, name, value, part):
    with h5py.File(packed, "r+") as file:
        del file[name]
        if value is not None:
            file[name] = value
    with pytest.raises(evsim.FileError, match=part):
        make_spoken_digits(packed, tmp_path / "out.h5", channels=20)
    assert not (tmp_path / "out.h5").exists()
