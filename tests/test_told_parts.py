"""A spike file that says which part each recording is in, and what is done with it."""

import json

import h5py
import numpy as np
import pytest
from in_process import run
from small_files import two_classes

import evsim
from evsim.commands.parts import open_parts
from evsim.commands.study import run_study_on
from evsim.datasets import SpikeFileData
from evsim.gradients.studies import Study

TOLD = np.arange(120) // 2 % 5  # 0, 1: train; 2: validation; 3, 4: test
TOLD = np.array([0, 0, 1, 2, 2])[TOLD]


@pytest.fixture
def told(tmp_path):
    path = two_classes(tmp_path)
    with h5py.File(path, "r+") as file:
        file["extra/part"] = TOLD.astype(np.uint8)
    return path


def change(path, name, value):
    with h5py.File(path, "r+") as file:
        if name in file:
            del file[name]
        if value is not None:
            file[name] = value


def chosen(parts):
    return [part._chosen.tolist() for part in (parts.train, parts.validation, parts.test)]


def expected(told=TOLD):
    return [np.flatnonzero(told == part).tolist() for part in range(3)]


def test_a_file_keeps_its_parts(told):
    assert chosen(open_parts(str(told))) == expected()
    assert chosen(open_parts(str(told), validation=0.5)) == expected()
    parts = open_parts(str(told), recordings=20)
    assert [len(one) for one in (parts.train, parts.validation, parts.test)] == [13, 7, 20]
    for found, all_of_it in zip(chosen(parts), expected(), strict=True):
        assert set(found) <= set(all_of_it)


def test_parts_may_stand_beside_the_labels(told):
    change(told, "extra/part", None)
    change(told, "part", TOLD.astype(np.int8))
    assert chosen(open_parts(str(told))) == expected()


@pytest.mark.parametrize("kind", [object, "S"])
def test_parts_may_have_names_of_their_own(told, kind):
    change(told, "extra/part_name", np.array(["test", "train", "valid"], kind))
    assert chosen(open_parts(str(told))) == expected(np.array([2, 0, 1])[TOLD])


def test_without_a_part_to_validate_it_is_drawn(told):
    change(told, "extra/part", np.where(TOLD == 1, 0, TOLD))
    parts = open_parts(str(told))
    assert [len(one) for one in (parts.train, parts.validation, parts.test)] == [64, 8, 48]
    assert chosen(parts)[2] == expected()[2]


def test_a_file_without_parts_is_split_as_before(told):
    change(told, "extra/part", None)
    assert SpikeFileData(told).parts is None
    assert [len(one) for one in chosen(open_parts(str(told)))] == [86, 10, 24]
    with pytest.raises(ValueError, match="has no /extra/part; use split"):
        SpikeFileData(told).part("train")


def test_parts_of_parts(told):
    data = SpikeFileData(told)[::2]
    np.testing.assert_array_equal(data.parts, TOLD[::2])
    assert data.part("test").parts.tolist() == [2] * 24
    assert len(data.part("test").part("train")) == 0


def test_trained_with_one_part_and_tested_with_another(told):
    options = ("--hidden", 4, "--epochs", 1, "--max-delay", 0.02)
    done = run(told.parent, "train", "spikes.h5", "-o", "run", *options)
    assert done.returncode == 0, done.stderr
    assert "spikes.h5: 48 recordings to train, 24 to validate, 48 to test;" in done.stdout
    tested, whole = evsim.load_spikes(told.parent / "run" / "test.h5"), evsim.load_spikes(told)
    np.testing.assert_array_equal(tested.times, whole[expected()[2]].times)
    assert (
        "parts       train 48, validation 24, test 48"
        in run(told.parent, "info", "spikes.h5").stdout
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("extra/part", np.zeros(3, int), "/extra/part: has 3 entries for 120 recordings"),
        (
            "extra/part",
            np.arange(120) - 1,
            "/extra/part: recording 0 has -1, must be one of 0 train, 1 validation, 2 test",
        ),
        ("extra/part", np.zeros(120), "/extra/part: holds float64, must hold integers"),
        ("extra/part", np.zeros(120, int), "/extra/part: has no recording to test with"),
        ("extra/part", np.full(120, 2), "/extra/part: has no recording to train with"),
        ("extra/part_name", ["train", "dev", "test"], "/extra/part_name: 1 is 'dev', must be one"),
    ],
)
def test_what_is_no_part_is_named(told, name, value, message):
    change(told, name, value)
    done = run(told.parent, "train", "spikes.h5", "-o", "run")
    assert done.returncode == 2 and f"spikes.h5: {message}" in done.stderr
    assert done.stderr.count("\n") == 1 and not (told.parent / "run").exists()


class Sizes(Study):
    """Tells the parts that it is lent."""

    name, paper, title = "sizes", "none", "how many recordings there are"
    measure = "n"

    def points(self, quick):
        return [{"part": part} for part in ("train", "validation", "test")]

    def compute(self, point, work):
        labels = getattr(work.parts(), point["part"]).labels
        return {"n": len(labels), "right": int(labels.sum())}

    def verdict(self, table):
        return ["as published: nothing is"]


def test_a_study_is_lent_the_same_parts(told):
    folder = told.parent / "out"
    run_study_on(Sizes(), str(told), str(folder), quiet=True, seeds=1, jobs=1)
    points = [json.loads(line) for line in (folder / "points.jsonl").read_text().splitlines()]
    assert [point["n"] for point in points] == [48, 24, 48]
    assert [point["right"] for point in points] == [24, 12, 24]


@pytest.mark.parametrize("data", ["gsc10", "spikes.h5"])
def test_no_speaker_is_held_out_where_parts_are_told(told, data):
    done = run(told.parent, "train", data, "-o", "run", "--held-out", 3)
    assert f"--held-out: {data} has parts of its own" in done.stderr


def test_gsc10_keeps_its_parts():
    parts = open_parts("gsc10")
    assert str(parts).startswith(
        "2,496 recordings to train, 370 to validate, 694 to test; 70 units"
    )
    heard = [set(part.speakers) for part in (parts.train, parts.validation, parts.test)]
    assert sum(map(len, heard)) == len(set.union(*heard)) == 199
