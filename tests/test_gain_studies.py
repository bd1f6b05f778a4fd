"""Studies of what delays bring: curves over epochs, points per number, bits of weights."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from small_files import two_classes

from evsim import Network
from evsim.commands.parts import open_parts
from evsim.commands.study import run_study_on
from evsim.commands.train import run_training
from evsim.files import FileError
from evsim.gradients.studies import find
from evsim.gradients.studies.equal_size import kept
from evsim.gradients.studies.exported import delays_of
from evsim.gradients.studies.papers import gain, weight_bits
from evsim.gradients.studies.tables import Table, table_of
from evsim.gradients.studies.tested_epochs import TestedEpochs
from evsim.plots.style import new_figure

NAMES = ("curves", "gain", "weight-bits")


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
    assert said[2].endswith("after the last 10.0 points, one seed")  # no count of epochs


def test_curves_are_drawn_with_bands():
    table = curves_table(none=[[0.5, 0.6], [0.7, 0.6]], axonal=[[0.5, 0.8], [0.7, 0.8]])
    figure = new_figure(8, 5, "")
    find("curves").figure(figure, table)
    tested = figure.axes[1]
    assert [line.get_ydata().tolist() for line in tested.lines] == [[0.6, 0.6], [0.6, 0.8]]
    # 0.6 -+ 12.7062 * 0.1 after the first epoch, nothing after the second
    heights = tested.collections[0].get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx(0.6 + 1.27062, abs=1e-5)
    assert tested.get_ylim() == figure.axes[0].get_ylim() == (-0.02, 1.02)
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


# --- gain


class SomeGain(gain.Gain):
    def points(self, quick):
        return super().points(quick)[:4]

    def figure(self, figure, table):
        figure.subplots()

    def verdict(self, table):
        return ["as published"]


def test_gain_of_a_small_file(tmp_path):
    table = small(SomeGain(), tmp_path)
    none, late, wider, twice = table.rows
    # 4 channels, 16 and 16 units, 2 classes: 4 + 16 delays, or as many weights of a 17th unit
    assert none["numbers"] == 4 * 16 + 16 * 16 + 16 * 2
    assert late["numbers"] == wider["numbers"] == none["numbers"] + 20
    assert twice["numbers"] == 4 * 32 + 32 * 32 + 32 * 2
    runs = tmp_path / "out" / "runs"
    for row, size in ((late, (16, 16)), (wider, (17, 16))):
        name = f"units=16,delays={row['delays'].replace(', ', ',,')},seed=0"
        net = Network.load(runs / name / "network.h5")
        assert tuple(net.populations[f"hidden{k}"].size for k in (1, 2)) == size
        late_numbers = [one.size for one in delays_of(net).values()]
        weights = sum(p.weights.size for p in net.projections.values())
        assert weights + sum(late_numbers) == row["numbers"]
    for row in (late, wider, twice):
        points = 100 * (row["accuracy"] - none["accuracy"])
        assert row["added"] == row["numbers"] - none["numbers"]
        assert row["points_per_thousand"] == pytest.approx(1000 * points / row["added"])
    assert none.get("points_per_thousand") is None


@pytest.mark.parametrize(("n_inputs", "n_classes"), [(70, 10), (4, 2), (2, 35)])
def test_a_unit_is_as_many_numbers_as_the_delays(n_inputs, n_classes):
    for n in gain.UNITS:
        late = kept(n_inputs, (n, n), n_classes, "axonal")
        assert late == kept(n_inputs, (n + 1, n), n_classes)


def gain_table(late):
    rows = []
    for units, delays, values, added in (
        (16, "none", [0.60, 0.62, 0.58], None), (16, "axonal", late, 100),
        (16, "none, widened", [0.61, 0.63, 0.59], 100), (32, "none", [0.70, 0.72, 0.68], 1000),
        (32, "axonal", [0.80, 0.83, 0.77], 100), (32, "none, widened", [0.71, 0.73, 0.69], 100),
    ):  # fmt: skip
        row = {"units": units, "delays": delays, "accuracy_of_seeds": values, "added": added,
               "seeds": 3, "accuracy": np.mean(values), "numbers": 1000 * units}  # fmt: skip
        if added:
            before = [0.60, 0.62, 0.58] if units == 16 or delays == "none" else [0.7, 0.72, 0.68]
            worth = [1e5 * (a - b) / added for a, b in zip(values, before, strict=True)]
            row |= {"points_per_thousand_of_seeds": worth, "points_per_thousand": np.mean(worth)}
        rows.append(row)
    return Table(rows)


def test_a_delay_must_bring_more_than_a_weight_everywhere():
    said = find("gain").verdict(gain_table([0.70, 0.73, 0.67]))
    # 10, 11, 9 points by 100 delays, 1 by 100 weights; t(0.975, 2) / sqrt(3) = 2.48414
    assert said[0] == (
        "16 units: 100 delays bring 100 (75.2 to 125) points per 1,000 numbers, 100 weights 10 (10 "
        "to 10); at equal numbers delays beside weights 9.0 (6.5 to 11.5) points, better"
    )
    assert said[2] == (
        "16 to 32 units: 1,000 weights bring 10 (10 to 10) points per 1,000, a delay 90 (65.2 to "
        "115) more, better"
    )
    assert said[-1].startswith("as published: in 3 of 3")
    said = find("gain").verdict(gain_table([0.60, 0.73, 0.58]))
    assert said[-1].startswith("differs: because only in 1 of 3")


def test_what_is_gained_is_shared_out_over_added_numbers(tmp_path):
    parts = open_parts(str(two_classes(tmp_path, n=60)))  # 4 inputs
    trained = SimpleNamespace(right=15, n=20)
    before = SimpleNamespace(measured={"right": 12, "n": 20, "numbers": 16 * (4 + 16 + 2)})
    work = SimpleNamespace(
        quick=True, needed=before, parts=lambda: parts, train=lambda **_: trained
    )  # fmt: skip
    found = find("gain").compute({"units": 16, "delays": "axonal"}, work)
    assert found["added"] == 4 + 16
    assert found["points_per_thousand"] == pytest.approx(1000 * 15 / 20)


def test_gains_are_drawn_where_they_are_added():
    figure = new_figure(8, 5, "")
    find("gain").figure(figure, gain_table([0.70, 0.73, 0.67]))
    left, right = figure.axes
    assert [one.get_text() for one in left.get_xticklabels()] == [
        "16,000\n2 x 16",
        "32,000\n2 x 32",
    ]
    twice = next(c for c in right.containers if c.get_label().endswith("units"))
    assert twice[0].get_xydata().tolist() == [[pytest.approx(0.1), pytest.approx(10.0)]]
    figure.canvas.draw()


# --- bits of weights


class SomeWeightBits(weight_bits.WeightBits):
    def points(self, quick):
        return [p for p in super().points(quick) if p["bits"] in (2, 32)]


def test_weight_bits_of_a_small_file(tmp_path):
    table = small(SomeWeightBits(), tmp_path)
    few, full, late, _ = table.rows
    n_weights = 4 * 32 + 32 * 2
    assert few["numbers"] == full["numbers"] == n_weights and late["numbers"] == n_weights + 4
    assert few["mbit"] == pytest.approx(2 * n_weights / 1e6)
    assert late["mbit"] == pytest.approx((2 * n_weights + 32 * 4) / 1e6)
    net = Network.load(tmp_path / "out/runs/bits=2,delays=none,seed=0/network.h5")
    assert all(len(np.unique(p.weights)) <= 4 for p in net.projections.values())
    assert few["control_accuracy"] == late["accuracy"]


def weight_bits_table(late):
    rows = [
        {"bits": bits, "delays": delays, "seeds": len(values), "accuracy_of_seeds": values,
         "accuracy": np.mean(values)}
        for delays, of in (("none", {2: 0.60, 8: 0.62, 32: 0.63}), ("axonal", late))
        for bits, mean in of.items()
        for values in [[mean, mean + 0.01, mean - 0.01]]
    ]  # fmt: skip
    return Table(rows)


def test_bits_make_up_for_delays_or_not():
    said = find("weight-bits").verdict(weight_bits_table({2: 0.80, 8: 0.85, 32: 0.86}))
    assert said[0] == (
        "2 bits: delays bring 20.0 (20.0 to 20.0) points, better; beside 32 bits without 17.0 "
        "(17.0 to 17.0), better; 32 bits without delays bring 3.0 (3.0 to 3.0)"
    )
    assert said[3].startswith("delays bring 17.0 (17.0 to 17.0) points more to weights of 2 bits")
    assert said[-1].startswith("as published") and "2 of 2 kinds" in said[-1]
    said = find("weight-bits").verdict(weight_bits_table({2: 0.62, 8: 0.85, 32: 0.86}))
    assert said[-1].startswith("differs: because only with delays 1 of 2")


def test_bits_are_drawn():
    figure = new_figure(8, 5, "")
    find("weight-bits").figure(figure, weight_bits_table({2: 0.80, 8: 0.85, 32: 0.86}))
    (axes,) = figure.axes
    assert [one.get_text() for one in axes.get_xticklabels()] == ["2", "8", "32"]
    drawn = [c[0].get_ydata().tolist() for c in axes.containers]
    assert drawn == [pytest.approx([0.60, 0.62, 0.63]), pytest.approx([0.80, 0.85, 0.86])]
    figure.canvas.draw()
