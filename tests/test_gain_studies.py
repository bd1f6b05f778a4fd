"""Studies of what delays bring: curves over epochs, points per number, bits of weights."""

import json

import numpy as np
import pytest
from small_files import two_classes

from evsim.commands.parts import open_parts
from evsim.commands.study import run_study_on
from evsim.commands.train import run_training
from evsim.files import FileError
from evsim.gradients.studies import find
from evsim.gradients.studies.tables import Table, table_of
from evsim.gradients.studies.tested_epochs import TestedEpochs
from evsim.plots.style import new_figure

NAMES = ("curves",)


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_every_point_has_its_control_and_what_it_needs(name, quick):
    study = find(name)
    points = study.points(quick)
    keys = [json.dumps(point) for point in points]
    assert len(set(keys)) == len(keys)
    others = [(study.control(p), study.needs(p)) for p in points]
    assert all(other is None or json.dumps(other) in keys for pair in others for other in pair)
    assert sum(pair[0] is not None for pair in others) >= len(points) // 2


def small(study, tmp_path):
    data = two_classes(tmp_path, n=60)
    run_study_on(study, str(data), str(tmp_path / "out"), quick=True, quiet=True, jobs=1)
    return table_of((tmp_path / "out" / "table.csv").read_text())


# --- curves


def test_curves_of_a_small_file(tmp_path):
    table = small(find("curves"), tmp_path)
    assert [row["delays"] for row in table.rows] == ["none", "axonal", "synaptic"]
    for row in table.rows:
        (tested,) = row["test_accuracies_of_seeds"]
        assert tested == row["test_accuracies"] and len(tested) == 4
        assert tested[-1] == row["accuracy"] == row["right"] / row["n"]
        assert tested[int(row["best_epoch"]) - 1] == row["accuracy_of_best"]
        log = tmp_path / "out" / "runs" / f"delays={row['delays']},seed=0" / "log.csv"
        validated = np.genfromtxt(log, delimiter=",", names=True)["validation_accuracy"]
        assert row["validation_accuracies"] == validated.tolist()


def curves_table(**tested):
    rows = [
        {"delays": delays, "seeds": len(curves), "validation_accuracies": [0.5, 0.5],
         "validation_accuracies_of_seeds": [[0.5, 0.5]] * len(curves), "best_epoch": 2.0,
         "test_accuracies": np.mean(curves, axis=0).tolist(), "test_accuracies_of_seeds": curves,
         "accuracy_of_best": 0.5}
        for delays, curves in tested.items()
    ]  # fmt: skip
    return Table(rows)


def test_curves_are_compared_after_every_epoch():
    none = [[0.5, 0.60], [0.5, 0.62], [0.5, 0.58]]
    better = [[0.4, 0.70], [0.6, 0.73], [0.5, 0.67]]
    said = find("curves").verdict(curves_table(none=none, axonal=better, synaptic=better))
    # 10, 11 and 9 points after the last epoch, t(0.975, 2) / sqrt(3) = 2.48414
    assert said[3] == (
        "axonal beside none at equal epochs: after the first 0.0 (-24.8 to 24.8) points, after "
        "the last 10.0 (7.5 to 12.5) points, better; better after 1 of 2 epochs, worse after 0"
    )
    assert said[-1].startswith("as published")
    said = find("curves").verdict(curves_table(none=none, axonal=better, synaptic=none))
    assert said[-1].startswith("differs: because after the last epoch synaptic delays (no diff")
    said = find("curves").verdict(curves_table(none=none[:1], axonal=better[:1]))
    assert said[-1] == "differs: because one seed has no interval"


def test_curves_are_drawn_with_bands():
    table = curves_table(none=[[0.5, 0.6], [0.7, 0.6]], axonal=[[0.5, 0.8], [0.7, 0.8]])
    figure = new_figure(8, 5, "")
    find("curves").figure(figure, table)
    tested = figure.axes[1]
    assert [line.get_ydata().tolist() for line in tested.lines] == [[0.6, 0.6], [0.6, 0.8]]
    # 0.6 -+ 12.7062 * 0.1 after the first epoch, nothing after the second
    heights = tested.collections[0].get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx(0.6 + 1.27062, abs=1e-5)
    figure.canvas.draw()


class Killed(TestedEpochs):
    """Breaks off once the second epoch is in the file, before it is in the checkpoint."""

    def epoch(self, trainer, record):
        super().epoch(trainer, record)
        if record["epoch"] == 2:
            raise KeyboardInterrupt


def test_a_curve_that_was_cut_goes_on(tmp_path):
    data = str(two_classes(tmp_path, n=60))
    asked = {"quiet": True, "hidden": 8, "epochs": 3, "patience": 0, "threads": 1}

    def run(name, kind, **more):
        kept = kind(tmp_path / name / "tested.json", open_parts(data).test)
        tested, _ = run_training(data, str(tmp_path / name), callbacks=[kept], **asked, **more)
        return kept.right, tested

    whole, _ = run("whole", TestedEpochs)
    assert len(whole) == 3
    with pytest.raises(KeyboardInterrupt):
        run("cut", Killed)
    file = tmp_path / "cut" / "tested.json"
    assert json.loads(file.read_text()) == whole[:2]
    for broken, told in (("[1, 2", "can't be read"), ("[]", "has 0 of 1 epochs")):
        file.write_text(broken)
        with pytest.raises(FileError, match=told):
            run("cut", TestedEpochs, resume=True)
    file.write_text(json.dumps(whole[:2]))
    assert run("cut", TestedEpochs, resume=True)[0] == whole
    assert json.loads(file.read_text()) == whole
