"""``GSC10``: the embedded set, and sets made from the published folder or an HDF5 file."""

import os

import h5py
import numpy as np
import pytest
from small_files import same_spikes

import evsim
from evsim.datasets import GSC10, Cochlea, make_gsc10, sum_channels
from evsim.datasets.cochlea.audio import emphasised
from evsim.datasets.sets.speech_commands import WORDS, parts_of, read_speech_commands

soundfile = pytest.importorskip("soundfile")
RATE = 16000
SPEAKERS = [f"{i:08x}" for i in (7, 1, 99, 3, 12, 5, 8, 200, 31, 4)]
NAMES = [(word, s, t) for word in ("go", "yes") for s in SPEAKERS for t in (0, 2)]


def tone(seed):
    n = round(0.07 * RATE)
    wave = np.sin(2 * np.pi * np.random.default_rng(seed).uniform(300, 6000) * np.arange(n) / RATE)
    return (8000 * wave).astype(np.int16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    there = tmp_path_factory.mktemp("gsc")
    for i, (word, speaker, take) in enumerate(NAMES):
        (there / word).mkdir(exist_ok=True)
        path = there / word / f"{speaker}_nohash_{take}.wav"
        soundfile.write(path, tone(i), RATE, subtype="PCM_16")
    (there / "_unknown_").mkdir()
    soundfile.write(there / "_unknown_" / "bed_00000007_nohash_0.wav", tone(0), RATE)
    (there / "README.md").write_text("not a recording")
    return there


@pytest.fixture
def packed(tmp_path):
    path, order = tmp_path / "gsc.h5", np.random.default_rng(0).permutation(len(NAMES))
    words, speakers, takes = zip(*(NAMES[i] for i in order), strict=True)
    tones = [tone(i) for i in order]
    with h5py.File(path, "w") as file:
        file["audio"], file["offsets"] = np.concatenate(tones), np.arange(41) * len(tones[0])
        file["word"] = np.array([WORDS.index(word) for word in words], np.int8)
        file["speaker"] = np.array([SPEAKERS.index(s) for s in speakers], np.int16)
        file["index"] = np.array(takes, np.int16)
        file["sample_rate"] = np.full(len(NAMES), RATE, np.int32)
        file["extra/speaker_name"] = SPEAKERS
    return path


def test_the_embedded_set_is_whole():
    data = GSC10()
    assert (len(data), data.size, data.duration) == (3560, 70, 1.1)
    assert tuple(data.class_names) == WORDS and set(data.labels) == set(range(10))
    assert len(set(data.speakers)) == len(data.speaker_names) == 199
    spikes = data.spikes()
    assert np.diff(spikes.offsets).min() > 50
    assert spikes.counts().sum(axis=0).min() > 0
    np.testing.assert_array_equal(spikes.times, np.rint(spikes.times * 24000) / 24000)
    assert os.path.getsize(evsim.demo_path("gsc10-70.h5")) < 10e6


def test_no_speaker_is_in_two_parts():
    parts = [GSC10(part) for part in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [2496, 370, 694]
    heard = [set(part.speakers) for part in parts]
    assert [len(speakers) for speakers in heard] == [133, 24, 42]
    assert len(set.union(*heard)) == 199
    everything = GSC10()
    names = [everything.speaker_names[i] for i in everything.speakers]
    np.testing.assert_array_equal(parts_of(names), everything.parts)


def test_parts_follow_the_measure_of_speech_commands():
    # The ends of sha1sum are 77667b8, 9418f98 (1418f98 modulo 2^27), a46dbb4 (246dbb4), c2d2874
    # (42d2874): first comes b, then c, d, a.
    assert parts_of(["a", "b", "c", "d"]).tolist() == [1, 0, 0, 0]
    assert parts_of(["a", *"bbbbbbbb", "c", "d"]).tolist() == [2, *[0] * 8, 1, 2]


def test_folder_and_file_hold_the_same_recordings(folder, packed):
    found, same = read_speech_commands(folder), read_speech_commands(packed)
    assert [one[:3] for one in found] == [one[:3] for one in same]
    assert [(WORDS[w], s, t) for w, s, t, _ in found] == sorted(NAMES)
    for a, b in zip(found, same, strict=True):
        (audio, rate), (samples, also) = a.sound.read(), b.sound.read()
        assert rate == also == RATE
        np.testing.assert_array_equal(audio, samples / 32768)


def test_of_all_of_speech_commands_the_tested_ones_are_read(folder, tmp_path):
    for word in ("go", "yes"):
        (tmp_path / word).symlink_to(folder / word)
    chosen = f"go/{SPEAKERS[0]}_nohash_2.wav"
    (tmp_path / "testing_list.txt").write_text(f"bed/{SPEAKERS[0]}_nohash_0.wav\n{chosen}\n")
    assert [one[:3] for one in read_speech_commands(tmp_path)] == [(1, SPEAKERS[0], 2)]


def test_other_channels_are_made_once_and_kept(folder, packed, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = GSC10(channels=20, source=folder)
    assert (len(data), data.size, sorted(SPEAKERS)) == (40, 20, data.speaker_names)
    train, rest = (GSC10(part, 20, source=folder) for part in ("train", "test"))
    assert not set(train.speakers) & set(rest.speakers) and len(train) and len(rest)
    (made,) = (tmp_path / "cache" / "evsim").glob("gsc10-20-*")
    same_spikes(data.spikes(), GSC10(channels=20, source=packed).spikes())
    cochlea = Cochlea(40, first_place=0.6)
    audio, rate = read_speech_commands(folder)[3].sound.read()
    expected = sum_channels(cochlea.encode(emphasised(audio, 0.97), rate, (0, 3)), 2)
    np.testing.assert_array_equal(data[3][0].times, expected.times)
    np.testing.assert_array_equal(data[3][0].units, expected.units)
    assert made.stat().st_size < 1e5


def test_options_that_make_no_sense_are_named(tmp_path):
    with pytest.raises(ValueError, match="split = 'dev', must be one of train, validation, test"):
        GSC10("dev")
    with pytest.raises(ValueError, match="channels = 700: 70 come with evsim"):
        GSC10(channels=700)
    with pytest.raises(evsim.FileError, match=r"has no down/speaker_nohash_number\.wav"):
        read_speech_commands(tmp_path)
    with pytest.raises(ValueError, match="part = 'dev', must be one of"):
        GSC10().part("dev")


@pytest.mark.parametrize(
    "name, value, part",
    [
        ("word", np.zeros(2, np.int8), "/word: has 2 entries for 40 recordings"),
        ("word", np.full(40, 10, np.int8), "/word: recording 0 has 10; there are 10"),
        ("speaker", np.full(40, -1, np.int8), "/speaker: recording 0 has -1; there are 10"),
        ("audio", np.zeros(50), "/audio: must hold int16 samples"),
        ("offsets", np.arange(41), "/offsets: must rise from 0 to the 44800 samples"),
        ("audio", np.zeros(44800, np.int16), "/audio: recording .*: audio: is silent"),
        ("extra/speaker_name", None, "/extra/speaker_name: is missing"),
    ],
)
def test_a_damaged_source_is_refused(packed, tmp_path, name, value, part):
    with h5py.File(packed, "r+") as file:
        del file[name]
        if value is not None:
            file[name] = value
    with pytest.raises(evsim.FileError, match=part):
        make_gsc10(packed, tmp_path / "out.h5", channels=5)
    assert not (tmp_path / "out.h5").exists()
