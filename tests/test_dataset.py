import pickle

import numpy as np
import pytest
from small_files import same_spikes, some_spikes

import evsim
from evsim.datasets.dataset import Dataset, collate
from evsim.datasets.published import PerProcess, fetch, find

N = 50


class Stored(Dataset):
    def __init__(self, n=N, speakers=True):
        self.stored = some_spikes(n)
        rng = np.random.default_rng(3)
        who = rng.integers(0, 4, n) if speakers else None
        super().__init__(self.stored.labels, 9, 1.5, ["a", "b", "c", "d"], who)

    def _read(self, recordings):
        return self.stored[recordings]


def test_an_index_gives_spikes_and_label():
    data = Stored()
    spikes, label = data[7]
    same_spikes(spikes, data.stored[7])
    assert isinstance(label, int) and label == data.labels[7] == spikes.labels[0]
    same_spikes(data[-1][0], data.stored[N - 1])
    with pytest.raises(IndexError, match="recording 50 of 50"):
        data[N]


def test_slices_lists_and_masks_give_data_sets():
    data = Stored()
    for index in (slice(5, 20, 3), [4, 2, 2], np.array([1, 0]), data.labels == 2, []):
        part = data[index]
        wanted = (
            np.arange(N)[np.asarray(index, int) if index == [] else index]
            if isinstance(index, list)
            else np.arange(N)[index]
        )
        assert isinstance(part, Stored) and len(part) == len(wanted)
        same_spikes(part.spikes(), data.stored[wanted])
        np.testing.assert_array_equal(part.speakers, data.speakers[wanted])
    same_spikes(data[10:30][5:7].spikes(), data.stored[15:17])


def test_iterating_gives_every_recording_once():
    data = Stored()[3:9]
    assert [label for _, label in data] == data.labels.tolist()


def test_batches_cover_the_set_in_order():
    data = Stored()
    batches = list(data.batches(16))
    assert [len(batch) for batch in batches] == [16, 16, 16, 2]
    same_spikes(evsim.concatenate(batches), data.stored)


def test_shuffled_batches_hold_the_same_recordings_in_an_order_fixed_by_the_seed():
    data = Stored()
    one, two, other = (
        evsim.concatenate(list(data.batches(16, shuffle=True, seed=seed))) for seed in (5, 5, 6)
    )
    same_spikes(one, two)
    assert not np.array_equal(one.labels, other.labels)
    assert sorted(len(s.times) for s in one) == sorted(len(s.times) for s in data.stored)


@pytest.mark.parametrize("size", [0, -3])
def test_batches_have_at_least_one_recording(size):
    with pytest.raises(ValueError, match="size = "):
        Stored().batches(size)


def test_split_is_stratified_complete_and_fixed_by_its_seed():
    data = Stored(400)
    rest, part = data.split(0.25, seed=1)
    assert len(rest) + len(part) == 400
    for label in range(4):
        n = (data.labels == label).sum()
        assert (part.labels == label).sum() == round(0.25 * n)
    assert set(rest._chosen).isdisjoint(part._chosen)
    np.testing.assert_array_equal(part._chosen, data.split(0.25, seed=1)[1]._chosen)
    assert not np.array_equal(part._chosen, data.split(0.25, seed=2)[1]._chosen)
    with pytest.raises(ValueError, match="fraction = 1.5"):
        data.split(1.5)


def test_speakers_are_held_out():
    data = Stored()
    others, theirs = data.hold_out([1, 3])
    assert set(theirs.speakers) == {1, 3} and set(others.speakers) == {0, 2}
    assert len(others) + len(theirs) == N
    with pytest.raises(ValueError, match="speaker 9 has no recording here; there are 0, 1, 2, 3"):
        data.hold_out(9)
    with pytest.raises(ValueError, match="does not tell who spoke"):
        Stored(speakers=False).hold_out(0)


def test_labels_need_names_and_speakers_their_number():
    class Wrong(Stored):
        def __init__(self, labels, speakers):
            Dataset.__init__(self, labels, 9, 1.5, ["a", "b"], speakers)

    with pytest.raises(ValueError, match="recording 1 has label 2, but there are 2 classes"):
        Wrong([0, 2], None)
    with pytest.raises(ValueError, match="3 speakers for 2 recordings"):
        Wrong([0, 1], [1, 2, 3])


def test_collate_joins_what_indexing_gives():
    data = Stored()
    batch = collate([data[i] for i in (4, 8, 1)])
    same_spikes(batch, data.stored[[4, 8, 1]])


def test_a_file_is_opened_once_per_process_and_not_pickled(tmp_path, monkeypatch):
    log = tmp_path / "log"
    log.write_text("")
    handle = PerProcess(open, log)
    assert handle.get() is handle.get()
    copied = pickle.loads(pickle.dumps(handle))
    assert copied.get().name == handle.get().name and copied.get() is not handle.get()
    first = handle.get()
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert handle.get() is not first
    for file in (copied.get(), handle.get(), first):
        file.close()


def test_a_missing_file_is_asked_for(tmp_path):
    with pytest.raises(evsim.FileError, match=r"has no x\.h5; put it there: from example\.org"):
        find(tmp_path, "x.h5", "y/x.h5", hint="from example.org")
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "x.h5").touch()
    assert find(tmp_path, "x.h5", "y/x.h5", hint="") == tmp_path / "y" / "x.h5"
    assert find(tmp_path / "y" / "x.h5", "z.h5", hint="") == tmp_path / "y" / "x.h5"


def test_download_without_tonic_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tonic", None)
    monkeypatch.setitem(__import__("sys").modules, "tonic.datasets", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install evsim\[download\]"):
        fetch("SHD", tmp_path, train=True)
