"""Studies of late loops: what they train, measure and say."""

import numpy as np
import pytest
from small_files import two_classes

from evsim import Network
from evsim.commands.study import run_study_on
from evsim.gradients.studies import find, trained_networks
from evsim.gradients.studies.measuring import in_turn, peak_mib
from evsim.gradients.studies.papers import ablation, methods
from evsim.gradients.studies.tables import Table, table_of


def small(study, tmp_path):
    data = two_classes(tmp_path, 60, 30, 0.3)
    run_study_on(study, str(data), str(tmp_path / "out"), quick=True, quiet=True, jobs=1)
    return table_of((tmp_path / "out" / "table.csv").read_text())


# --- methods


class SomeMethods(methods.Methods):
    def points(self, quick):
        names = ("no loop", "loop of one step", "kernel, random delays", "exact, random delays")
        return [{"network": name} for name in names]

    def control(self, point):
        return None

    def verdict(self, table):
        return ["as published"]


def test_methods_of_a_small_file(tmp_path, monkeypatch):
    compare, looked = trained_networks.by_events, []

    def by_events(net, model, data, dt):
        own = Network.from_torch(model)
        weights = [one.projections["input->hidden1"].weight for one in (net, own)]
        looked.append(np.array_equal(*weights))  # a norm is folded into them
        return compare(net, model, data, dt)

    monkeypatch.setattr(trained_networks, "by_events", by_events)
    table = small(SomeMethods(), tmp_path)
    assert looked == [True] * 3, "it is the network of this model"
    none, step, kernel, exact = table.rows
    # two layers of 32 with biases and norms behind 4 channels, a readout of 2 classes
    forward = 4 * 32 + 32 * 32 + 32 * 2 + 3 * (32 + 32) + 2
    assert none["numbers"] == none["trained_numbers"] == forward and none["loop_numbers"] == 0
    assert (step["loop_numbers"], step["numbers"]) == (32 * 32, forward + 32 * 32)
    assert kernel["loop_numbers"] == 3 + 32 and kernel["trained_numbers"] == forward + 3
    assert exact["loop_numbers"] == 2 * (32 * 32 + 32)
    assert exact["spikes"] == exact["spikes_by_events"] > 1
    assert (
        exact["decisions_that_agree"] == exact["n"] and exact["right_by_events"] == exact["right"]
    )
    assert all(row["relative_step_seconds"] > 0 for row in table.rows)
    for row in (none, step, kernel):  # but for what norms shift, at the beginning
        assert row["decisions_that_agree_in_steps"] >= row["n"] - 2
        assert row["grid_inference_seconds"] > 0 and row["spikes"] > 0
    assert all(row["events_inference_seconds"] > 0 for row in table.rows)
    assert exact.get("grid_inference_seconds") is None


def methods_table(learnt):
    rows = []
    for name in methods.NETWORKS:
        values = learnt if name in ("loop, learnt delays", "kernel, learnt delays") else [0.7] * 3
        rows.append({
            "network": name, "accuracy_of_seeds": values, "decisions_that_agree": 90.0, "n": 200,
            "trained_numbers": 100.0, "loop_numbers": 1000.0, "spikes": 5.0,
            "relative_step_seconds": 2.0, "grid_inference_seconds": 2e-3,
            "events_inference_seconds": 1e-3,
        })  # fmt: skip
    rows[0]["decisions_that_agree_in_steps"] = 200.0
    return Table(rows)


def test_what_learning_is_worth_needs_an_interval_without_0():
    said = find("methods").verdict(methods_table([0.74, 0.75, 0.76]))
    # 5 points, t(0.975, 2) / sqrt(3) = 2.48414
    assert "loop, learnt delays beside loop, random delays: 5.0 (2.5 to 7.5) points, better" in said
    assert said[-1].startswith("as published")
    assert "no loop: decisions that agree 90 of 200, 200 with delays and times in whole" in said[7]
    assert "inference by events 0.50 times that on the grid" in said[-2]
    said = find("methods").verdict(methods_table([0.70, 0.80, 0.72]))
    assert said[-1].startswith("differs: because learning") and "no difference seen" in said[-1]


# --- ablation


def test_ablation_of_a_small_file(tmp_path):
    study = find("ablation")
    table = small(study, tmp_path)
    learnt, drawn, median, mean, step = table.rows
    assert [row["delays"] for row in table.rows] == list(ablation.DELAYS[::-1])
    late = {
        name: ablation._delays(
            tmp_path / "out" / "runs" / f"delays={name.replace(' ', ',')},seed=0"
        )
        for name in (ablation.LEARNT, "random", "all at the mean", "all at the median", "one step")
    }
    assert late["all at the mean"] == pytest.approx(late[ablation.LEARNT].mean())
    assert late["all at the median"] == pytest.approx(np.median(late[ablation.LEARNT]))
    assert late["one step"] == pytest.approx(5e-3)
    first = Network.load(tmp_path / "out" / "runs" / "delays=random,seed=0" / "initial.h5")
    (loop,) = (p for p in first.projections.values() if p.pre == p.post)
    assert (loop.axonal(32) == late["random"]).all()
    assert drawn["deviation_of_delays"] > 0.01 and mean["deviation_of_delays"] == 0
    assert step["mean_delay"] == pytest.approx(5e-3) and len(learnt["losses"]) == 4
    assert median["seeds"] == 1


def test_an_even_fall_is_even():
    assert ablation._unevenness([4.0, 3.0, 2.0, 1.5, 1.0, 0.5]) == 0
    rough = ablation._unevenness([9, 9, 9, 9, 1.0, 2.0, 1.0, 2.0])
    assert rough == pytest.approx(2 / 1.5)


def test_learning_must_beat_each_kind_that_is_fixed():
    rows = [
        {"delays": kind, "accuracy_of_seeds": [0.7, 0.71, 0.69], "accuracy": 0.7,
         "accuracy_deviation": 0.01, "unevenness": 0.1, "mean_delay": 0.1,
         "deviation_of_delays": 0.0}
        for kind in ablation.DELAYS
    ]  # fmt: skip
    assert find("ablation").verdict(Table(rows))[-1].startswith("differs: because 0 of 4")
    rows[-1]["accuracy_of_seeds"] = [0.80, 0.81, 0.79]
    said = find("ablation").verdict(Table(rows))
    assert said[-1].startswith("as published") and "4 of 4" in said[-1]
    # a deviation of 1 point of three: 0.521 to 6.285 times that
    assert "(deviation 1.0, 0.5 to 6.3)" in said[0]


# --- what it costs


def test_memory_that_was_held_for_a_while_is_seen():
    many, few = (peak_mib(lambda n=n: b"x" * (n << 20)) for n in (160, 40))  # not those of before
    assert few is None or (38 < few < 60 and 158 < many < 180)


def test_things_in_turn(monkeypatch):
    clock, done = [0.0], []
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    def lasts(name, seconds):
        done.append(name)
        clock[0] += seconds

    found = in_turn((lambda: lasts("a", 1.0), lambda: lasts("b", 3.0)), 2)
    assert done == ["a", "b"] * 3 and found == [[1.0, 1.0], [3.0, 3.0]]
