"""Studies: intervals, tables, results that are kept, workers, and trainings that go on."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from small_files import two_classes

import evsim
from evsim.commands.parts import open_parts
from evsim.commands.study import run_study_on
from evsim.commands.train import run_training
from evsim.files import FileError
from evsim.gradients import studies
from evsim.gradients.studies import Study, Tools, Work, papers
from evsim.gradients.studies.drawing import draw_intervals
from evsim.gradients.studies.exported import network_of
from evsim.gradients.studies.points import PointsFile
from evsim.gradients.studies.statistics import comparison, difference, spread, wilson
from evsim.gradients.studies.study_folder import StudyFolder
from evsim.gradients.studies.tables import cell, table_of, value
from evsim.gradients.studies.workers import compute
from evsim.plots.style import new_figure

SMALL = Path(__file__).parent / "small_studies"


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(papers, "__path__", [*papers.__path__, str(SMALL)])
    return studies.find("tiny")


def run(study, folder, data="digits", **asked):
    run_study_on(study, data, str(folder), quiet=True, jobs=1, **asked)
    return table_of((folder / "table.csv").read_text())


# --- intervals


def test_intervals_are_those_of_the_books():
    low, high = wilson(191, 200)
    assert (round(100 * low, 1), round(100 * high, 1)) == (91.7, 97.6)
    assert wilson(0, 10)[0] == 0 and wilson(10, 10)[1] == 1
    assert wilson(0, 10)[1] == pytest.approx(0.27753, abs=1e-5)
    # t(0.975, 2) = 4.30265 and t(0.975, 9) = 2.26216, from tables
    found = spread([1.0, 2.0, 6.0])
    assert (found.mean, found.deviation) == (3.0, pytest.approx(math.sqrt(7)))
    assert found.high - 3 == pytest.approx(4.30265 * math.sqrt(7 / 3), rel=1e-5)
    ten = spread([float(k) for k in range(10)])
    assert ten.mean - ten.low == pytest.approx(2.26216 * ten.deviation / math.sqrt(10), rel=1e-5)


def test_only_an_interval_without_zero_makes_a_statement():
    control = [0.50, 0.60, 0.70]  # far apart, but paired by seed they are not
    more = [0.53, 0.62, 0.74]
    assert comparison(difference(more, control)) == "better"
    assert comparison(difference(control, more)) == "worse"
    assert comparison(difference(more, control), more_is_better=False) == "worse"
    assert comparison(difference([0.6, 0.4, 0.8], control)) == "no difference seen"
    assert comparison(difference(control, control)) == "no difference seen"
    assert comparison(difference([0.9], [0.1])) == "one seed"
    rounded = [0.1 + 0.2, 0.1 + 0.2]  # 0.30000000000000004
    assert comparison(difference(rounded, [0.3, 0.3])) == "no difference seen"


# --- the table


def test_a_table_says_what_the_points_say(tiny, tmp_path):
    table = run(tiny, tmp_path / "out", seeds=3)
    lines = [json.loads(line) for line in (tmp_path / "out" / "points.jsonl").open()]
    assert len(lines) == 18 and [row["urn"] for row in table.rows[::2]] == [
        "small",
        "large",
        "huge",
    ]
    row = table.row(urn="huge", share=0.9)
    of = {
        urn: [
            one["right"] / one["n"]
            for seed in range(3)
            for one in lines
            if one["point"] == {"urn": urn, "share": 0.9} and one["seed"] == seed
        ]
        for urn in ("huge", "small")
    }
    assert row["accuracy"] == pytest.approx(np.mean(of["huge"]))
    assert row["accuracy_deviation"] == pytest.approx(np.std(of["huge"], ddof=1))
    assert row["control_accuracy"] == pytest.approx(np.mean(of["small"]))
    assert row["difference"] == pytest.approx(np.mean(of["huge"]) - np.mean(of["small"]))
    pairs = zip(of["huge"], of["small"], strict=True)  # seed by seed
    half = 4.302653 * np.std([a - b for a, b in pairs], ddof=1) / math.sqrt(3)
    assert row["difference_high"] - row["difference"] == pytest.approx(half, rel=1e-6)
    assert row["difference"] - row["difference_low"] == pytest.approx(half, rel=1e-6)
    assert row["compared"] == "no difference seen" and row["seeds"] == 3 and row["mbit"] == 0.1
    assert (row["wilson_low"], row["wilson_high"]) == wilson(row["right"], 200)
    needing = table.row(urn="small", share=0.9)
    assert len(needing["marbles"]) == 3 and min(needing["marbles"]) > 150  # 200 of what it needs
    assert needing["compared"] is None
    report = (tmp_path / "out" / "report.txt").read_text()
    assert report.startswith("tiny: ") and "published 90 %" in report
    assert "against urn=small share=0.9" in report and report.endswith("as published: 3 urns\n")
    assert (tmp_path / "out" / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_a_quick_study_says_so_first(tiny, tmp_path):
    table = run(tiny, tmp_path / "out", quick=True)
    assert len(table.rows) == 4 and table.rows[0]["seeds"] == 1
    assert table.rows[0]["accuracy_low"] is None and table.rows[2]["compared"] == "one seed"
    assert (tmp_path / "out" / "report.txt").read_text().startswith("QUICK")


@pytest.mark.parametrize("one", ["axonal", 2, 1.58, 1e-300, True, None, [1.5, 2], 'a,"b"\n', ""])
def test_a_cell_comes_back_as_it_went(one):
    assert value(cell(one)) == (None if one == "" else one)


class Odd(Study):
    name, paper, title = "odd", "Z", "what a slip in a study leads to"

    def __init__(self, found, points=({"a": 1},), needed=None):
        self.found, self.own, self.needed = found, list(points), needed

    def points(self, quick):
        return self.own

    def compute(self, point, work):
        return self.found

    def needs(self, point):
        return self.needed

    def verdict(self, table):
        return ["as published"]


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"right": 3, "n": 2}, "right = 3 of n = 2"),
        ({"right": 3}, "n = None"),
        ({"loss": math.nan}, "loss = nan"),
        ({"seed": 3}, "'seed'"),
        ({"list": [1, "a"]}, "list = "),
        ({"map": {}}, "map = "),
        (None, "NoneType"),
    ],
)
def test_results_that_cannot_be_kept_are_refused(found, told, tmp_path):
    with pytest.raises(ValueError, match=told):
        run(Odd(found), tmp_path / "out")
    assert (tmp_path / "out" / "points.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    ("points", "needed", "told"),
    [
        ([], None, "one at least"),
        ([{"a": 1}, {"a": 1}], None, "all be different"),
        ([{"a": "1"}], None, "can't stand in a table"),
        ([{"a": [1]}], None, "can't stand in a table"),
        ([{"a": 1}], {"a": 2}, "not among them"),
        ([{"a": 1}], {"a": 1}, "ring"),
    ],
)
def test_points_that_make_no_table_are_refused(points, needed, told, tmp_path):
    with pytest.raises(ValueError, match=told):
        run(Odd({}, points, needed), tmp_path / "out")


def test_what_was_not_measured_stays_empty(tmp_path):
    table = run(Odd({"a_text": "x", "none": None, "many": [1, 2]}), tmp_path / "out", seeds=2)
    assert table.rows == [{"a": 1, "seeds": 2, "a_text": "x", "many": [1, 2]}]


def test_bars_of_accuracies_end_where_these_do():
    row = {"accuracy": 0.9, "accuracy_low": -0.3, "accuracy_high": 2.1}
    axes = new_figure(4, 3, "").subplots()
    draw_intervals(axes, [0], [row])
    draw_intervals(axes, [0], [{"spikes": 0.9, "spikes_low": -0.3, "spikes_high": 2.1}], "spikes")
    ends = [one.lines[2][0].get_segments()[0][:, 1].tolist() for one in axes.containers]
    assert ends == [pytest.approx([0.0, 1.0]), pytest.approx([-0.3, 2.1])]


# --- what is random


def test_a_point_depends_on_its_settings_and_seed_only(tmp_path):
    class Drawing(Odd):
        def compute(self, point, work):
            return {"x": float(torch.rand(())), "y": work.generator().random()}

    points = [{"a": 1, "b": 2}, {"a": 2, "b": 2}]
    run(Drawing(None, points), tmp_path / "one", seeds=2)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    turned = [{"b": 2, "a": 2}, {"b": 2, "a": 1}]
    table = run(Drawing(None, turned), tmp_path / "two", seeds=2)
    other = table_of((tmp_path / "one" / "table.csv").read_text())
    assert [table.row(a=a)["x"] for a in (1, 2)] == [other.row(a=a)["x"] for a in (1, 2)]
    assert [table.row(a=a)["y"] for a in (1, 2)] == [other.row(a=a)["y"] for a in (1, 2)]
    assert len({row["x"] for row in table.rows}) == 2
    assert torch.equal(torch.get_rng_state(), before)


# --- the file of results


def test_a_broken_last_line_is_dropped(tmp_path):
    path, points = tmp_path / "points.jsonl", [{"a": 1}, {"a": 2}]
    with PointsFile(path, points) as file:
        file.add({"a": 1}, 0, {"x": 1.5})
        file.add({"a": 2}, 0, {"x": 2.5})
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with PointsFile(path, points) as file:
            assert len(file.results) == (cut >= first)
        assert path.read_bytes() == whole[: first * (cut >= first)]
    path.write_bytes(whole[:first] + b'{"point": {"a\n')
    with PointsFile(path, points) as file:
        assert file.results == {('{"a": 1}', 0): {"x": 1.5}}
    assert path.read_bytes() == whole[:first]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 1"),
        ("[" * 100_000, "line 1"),
        ("3", "is not a finished point"),
        ('{"point": 3, "seed": 0}', "is not a finished point"),
        ('{"point": {"a": 3}, "seed": 0}', "no point of this study"),
        ('{"point": {"a": 1}, "seed": -1}', "seed must be"),
        ('{"point": {"a": 1}, "seed": 0, "right": 3, "n": 2}', "right = 3"),
        ('{"point": {"a": 1}, "seed": 0, "x": 1' + "0" * 400 + "}", "must be finite numbers"),
        ('{"point": {"a": 2}, "seed": 0}', "twice"),
    ],
)
def test_other_broken_lines_are_told(line, told, tmp_path):
    path = tmp_path / "points.jsonl"
    good = '{"point": {"a": 2}, "seed": 0}\n'
    path.write_text(f"{line}\n{good}{line}\n")
    with pytest.raises(FileError, match=told):
        PointsFile(path, [{"a": 1}, {"a": 2}])
    assert path.read_text().endswith(f"{line}\n")


# --- trainings


class Trains(Study):
    name, paper, title = "trains", "Z", "whether a second layer helps"

    def points(self, quick):
        return [{"hidden": 4}, {"hidden": 8}, {"hidden": 8, "silenced": True}]

    def compute(self, point, work):
        if "silenced" not in point:
            run = work.train(hidden=point["hidden"], batch=16, epochs=2)
            n_weights = sum(p.numel() for p in run.trainer.model.parameters())
            return {"right": run.right, "n": run.n, "numbers": n_weights}
        net = evsim.Network.load(work.needed.folder / "network.h5")
        with evsim.SpikeFile(work.needed.folder / "test.h5") as file:
            test = file.read(*file.extent())
        values = evsim.simulate(net, test, threads=1).output[net.output]
        n = len(test)
        assert n == work.needed.measured["n"] == len(work.parts().test)
        return {"right": int((values.argmax(1) == test.labels).sum()), "n": n}

    def needs(self, point):
        return {"hidden": 8} if "silenced" in point else None

    def verdict(self, table):
        return ["differs: because it is small"]


def test_trainings_are_run_folders_that_go_on(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    parts = [(0.2 * rng.random(30), rng.integers(0, 6, 30)) for _ in range(60)]
    data = tmp_path / "spikes.h5"
    evsim.save_spikes(data, evsim.Spikes.from_recordings(parts, 6, 0.2, np.arange(60) % 2))
    whole = run(Trains(), tmp_path / "whole", str(data), seeds=1)
    assert whole.row(hidden=8, silenced=None)["right"] == whole.row(silenced=True)["right"]

    from evsim.gradients.training.trainer import Trainer

    step, n_steps = Trainer._epoch, [0]

    def interrupted(*given):
        n_steps[0] += 1
        if n_steps[0] == 4:  # the second epoch of the second training
            raise KeyboardInterrupt
        return step(*given)

    monkeypatch.setattr(Trainer, "_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(Trains(), tmp_path / "cut", str(data), seeds=1)
    assert not (tmp_path / "cut" / "table.csv").exists()
    run(Trains(), tmp_path / "cut", str(data), resume=True)
    assert n_steps == [5]  # and no epoch was trained twice
    texts = [(tmp_path / name / "table.csv").read_bytes() for name in ("whole", "cut")]
    assert texts[0] == texts[1]
    run_training(str(data), str(tmp_path / "alone"), quiet=True, hidden=8, batch=16, epochs=2)
    nets = [tmp_path / "whole" / "runs" / "hidden=8,seed=0", tmp_path / "alone"]
    assert evsim.Network.load(nets[0] / "network.h5") == evsim.Network.load(nets[1] / "network.h5")


def test_what_is_random_after_a_training_does_not_depend_on_folders_beside_it(tmp_path):
    data, asked = two_classes(tmp_path, 40, 12), {"hidden": 4, "epochs": 1, "quiet": True}
    states = []
    for name in ("alone", "beside"):
        (tmp_path / name).mkdir()
        if name == "beside":
            run_training(str(data), str(tmp_path / name / "full"), **asked)
        run_training(str(data), str(tmp_path / name / "few"), weight_bits=2, **asked)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_a_study_does_not_go_on_with_other_recordings(tiny, tmp_path):
    rng = np.random.default_rng(0)
    for n in (60, 40):
        parts = [(0.2 * rng.random(30), rng.integers(0, 6, 30)) for _ in range(n)]
        spikes = evsim.Spikes.from_recordings(parts, 6, 0.2, np.arange(n) % 2)
        evsim.save_spikes(tmp_path / "spikes.h5", spikes, overwrite=True)
        if n == 60:
            run(tiny, tmp_path / "out", str(tmp_path / "spikes.h5"), seeds=1)
    with pytest.raises(ValueError, match="was begun with other recordings of .*44 .*; now 28 "):
        run(tiny, tmp_path / "out", str(tmp_path / "spikes.h5"), resume=True)


def test_nor_with_as_many_others(tiny, tmp_path):
    data, out = tmp_path / "spikes.h5", tmp_path / "out"

    def make(seed, labels):
        rng = np.random.default_rng(seed)
        parts = [(0.2 * rng.random(30), rng.integers(0, 6, 30)) for _ in range(60)]
        evsim.save_spikes(data, evsim.Spikes.from_recordings(parts, 6, 0.2, labels), overwrite=True)

    labels = np.arange(60) % 2
    make(0, labels)
    run(tiny, out, str(data), seeds=1)
    for seed, others in ((1, labels), (0, 1 - labels)):
        make(seed, others)
        with pytest.raises(ValueError, match="other spikes or labels of .*spikes.h5"):
            run(tiny, out, str(data), resume=True)
    make(0, labels)
    before = (out / "table.csv").read_bytes()
    run(tiny, out, str(data), resume=True)
    options = json.loads((out / "options.json").read_text())
    del options["digest"]  # as older folders have it
    (out / "options.json").write_text(json.dumps(options))
    run(tiny, out, str(data), resume=True)
    assert (out / "table.csv").read_bytes() == before


def test_a_run_folder_that_lost_a_file_is_told_what_to_do_with(tmp_path):
    data, out = tmp_path / "spikes.h5", tmp_path / "out"
    rng = np.random.default_rng(0)
    parts = [(0.2 * rng.random(30), rng.integers(0, 6, 30)) for _ in range(60)]
    evsim.save_spikes(data, evsim.Spikes.from_recordings(parts, 6, 0.2, np.arange(60) % 2))
    (out / "runs" / "hidden=4,seed=0").mkdir(parents=True)
    (out / "runs" / "hidden=4,seed=0" / "options.json").write_text("{}")
    work = Work(
        {"hidden": 4},
        0,
        out / "runs" / "hidden=4,seed=0",
        str(data),
        True,
        None,
        Tools(run_training, open_parts),
    )
    error = compute(Trains(), work).error
    assert "remove this folder" in error and error.count("\n") == 0


def test_a_network_that_is_damaged_is_told_with_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="is gone; take the line"):
        network_of(tmp_path)
    (tmp_path / "network.h5").write_bytes(b"none")
    with pytest.raises(FileError, match="network.h5: .*; remove its folder and take the line"):
        network_of(tmp_path)


def test_a_run_folder_has_a_name_for_every_system(tmp_path):
    home = StudyFolder(tmp_path)
    points = [{"a": 1.5, "b": "x"}, {"a": "x/../y"}, {"a": "X"}, {"a": "x"}, {"a": "z" * 300}]
    names = [home.run_folder(point, 2).name for point in points]
    assert names[0] == "a=1.5,b=x,seed=2"
    assert len({name.lower() for name in names}) == 5 and all(len(name) < 130 for name in names)
    assert not any("/" in name for name in names)


def test_a_study_of_a_test_is_computed_by_compute_alone(tiny, tmp_path):
    """What workers return can be sent, errors too."""
    work = Work({"urn": "large", "share": 0.5}, 0, tmp_path, "digits", True, None, None)
    assert compute(tiny, work).measured["n"] == 20
    failed = compute(Odd({"x": math.inf}), work)
    assert failed.error.startswith("ValueError") and "refuse_unsound" in failed.trace
