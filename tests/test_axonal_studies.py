"""Studies of axonal delays: time constants, a penalty, and all that makes a network small."""

import numpy as np
import pytest
from small_files import two_classes

from evsim import Dense, Network, Population
from evsim.commands.study import run_study_on
from evsim.gradients.studies import find
from evsim.gradients.studies.axonal_networks import LEARNT, RANDOM
from evsim.gradients.studies.exported import delays_by_layer, delays_of, refuse_moved
from evsim.gradients.studies.papers import ladder, penalty, tau
from evsim.gradients.studies.tables import Table, table_of


def small(study, tmp_path):
    data = two_classes(tmp_path, 40, 20)
    run_study_on(study, str(data), str(tmp_path / "out"), quick=True, quiet=True, jobs=1)
    assert (tmp_path / "out" / "figure.png").stat().st_size > 10_000
    return table_of((tmp_path / "out" / "table.csv").read_text())


def network(first, second):
    """Return a network of two projections with these axonal delays [s]."""
    sizes = [
        Population("in", "Input", len(first)),
        Population("hidden", "LIF", len(second), tau_mem=0.02),
        Population("out", "LI", 1, tau_mem=0.02),
    ]
    weights = [np.ones((len(second), len(first))), np.ones((1, len(second)))]
    weights[1][0, 0] = 0.0
    late = [
        Dense(pre=pre, post=post, weight=weight, axonal_delay=delay)
        for pre, post, weight, delay in zip(
            ("in", "hidden"), ("hidden", "out"), weights, (first, second), strict=True
        )
    ]
    return Network(sizes, late)


# --- what is measured


def test_delays_of_each_layer():
    found = delays_by_layer(network([0.0, 0.1, 0.2, 0.3], [0.05, 0.05]), 0.45)
    assert found["mean_delay_1"] == pytest.approx(0.15)
    assert found["deviation_of_delays_1"] == pytest.approx(np.sqrt(0.0125))
    assert found["late_delay_1"] == pytest.approx(0.2 + 0.85 * 0.1)  # 0.95 of 3 places: 2.85
    assert (found["long_share_1"], found["long_share_2"]) == (0.5, 0.0)  # than 0.15
    assert found["delays_1"][0] == 0.25 and sum(found["delays_2"]) == 1


def test_delays_are_scaled_layer_by_layer():
    found = penalty.scaled_as(network([0.1, 0.3], [0.2, 0.0]), network([0.1, 0.1], [0.3, 0.1]))
    first, second = delays_of(found).values()
    np.testing.assert_allclose(first, [0.05, 0.15])  # means 0.2 and 0.1
    np.testing.assert_allclose(second, [0.4, 0.0])  # means 0.1 and 0.2
    none = penalty.scaled_as(network([0.0], [0.0]), network([0.1], [0.1]))
    assert all(not delay.any() for delay in delays_of(none).values())


def test_values_in_use_are_counted_on_a_grid_of_six_bits():
    # steps of 10 ms; 4 and 14 ms are nearest to 0 and 10
    assert penalty.in_use(np.array([0.0, 0.004, 0.01, 0.014, 0.63]), 0.63) == 3
    kept = penalty._kept(network([0.0, 0.01, 0.02, 0.63], [0.1, 0.1]), 0.63)
    assert (kept["values_1"], kept["delay_bits_1"]) == (4, 2)
    assert (kept["values_2"], kept["delay_bits_2"]) == (1, 0)


def test_what_is_left_is_told_beside_what_was():
    free = {"mean_delay_1": 0.1, "mean_delay_2": 0.2}
    found = penalty._remaining({"mean_delay_1": 0.02, "mean_delay_2": 0.1}, free)
    assert found["first_is_less"] == pytest.approx(0.5 - 0.2)
    assert found["mean_delay_1_shift"] == pytest.approx(-0.08)


def test_size_counts_weights_and_late_units():
    found = ladder.size(network([0.1, 0.3], [0.2, 0.0]))
    assert found == {"numbers": 4 + 2 + 4, "mbit": pytest.approx(320e-6), "zeros": 1 / 6}


def test_each_rung_adds_one_part():
    parts = [set(ladder.parts_of(name)) for name in ladder.RUNGS]
    assert [len(p) for p in parts] == list(range(6))
    assert ladder.parts_of(ladder.DRAWN) == ladder.parts_of(ladder.ALL) == ladder.STEPS
    assert ladder.parts_of("all but ternary") == ladder.STEPS[1:]


def test_delays_that_moved_are_refused(tmp_path):
    first, last = network([0.1], [0.2]), network([0.1], [0.3])
    first.save(tmp_path / "initial.h5")
    first.save(tmp_path / "network.h5")
    refuse_moved(tmp_path)
    (tmp_path / "network.h5").unlink()
    last.save(tmp_path / "network.h5")
    with pytest.raises(ValueError, match=r"hidden->out.*delay was to stay as it is, but 1 of 1 "):
        refuse_moved(tmp_path)


# --- whole, and small


class SomeTau(tau.Tau):
    def points(self, quick):
        return [tau._point(1, LEARNT), tau._point(LEARNT, LEARNT), tau._point(LEARNT, RANDOM)]

    def control(self, point):
        return None

    def verdict(self, table):
        return ["as published"]


def test_tau_of_a_small_file(tmp_path):
    table = small(SomeTau(), tmp_path)
    one, learnt, drawn = table.rows
    assert (one["tau_mem_1"], one["tau_syn_2"]) == (0.02, 0.01)
    for row in (learnt, drawn):
        assert row["tau_mem_1"] != np.float32(0.02) and 0.002 < row["tau_mem_1"] < 0.2
    assert learnt["mean_delay_1_shift"] == learnt["mean_delay_1"] - one["mean_delay_1"]
    assert one["longest_delay"] == 0.025 and 0 < one["mean_delay_1"]


class SomePenalty(penalty.Penalty):
    def points(self, quick):
        trained = [penalty._point(s, penalty.TRAINED) for s in (0, 1e4)]
        return [*trained, penalty._point(1e4, penalty.SCALED)]


def test_penalty_of_a_small_file(tmp_path):
    free, short, scaled = small(SomePenalty(), tmp_path).rows
    for k in (1, 2):
        assert short[f"mean_delay_{k}"] < free[f"mean_delay_{k}"]
        assert scaled[f"mean_delay_{k}"] == pytest.approx(short[f"mean_delay_{k}"])
    assert scaled["n"] == free["n"] and scaled["control_accuracy"] == short["accuracy"]


class SomeLadder(ladder.Ladder):
    def points(self, quick):
        names = (ladder.FIRST, "+ delays", ladder.ALL, ladder.DRAWN)
        return [{"network": name} for name in names]

    def control(self, point):
        return None

    def verdict(self, table):
        return [ladder._told(row) for row in table.rows] + ["as published"]


def test_ladder_of_a_small_file(tmp_path):
    table = small(SomeLadder(), tmp_path)
    first, full, last, drawn = table.rows
    n = 4 * 16 + 16 * 16 + 16 * 2
    assert (first["numbers"], first["mbit"]) == (n, pytest.approx(32 * n / 1e6))
    assert first["zeros"] == 0 < full["zeros"] and first.get("mean_delay_1") is None
    assert full["mbit"] == pytest.approx((np.log2(3) * n + 32 * (4 + 16)) / 1e6)
    assert last["mbit"] == pytest.approx((np.log2(3) * n + 4 * (4 + 16)) / 1e6) == drawn["mbit"]
    nets = {
        name: Network.load(next((tmp_path / "out" / "runs").glob(f"*{name}*")) / "network.h5")
        for name in ("weights", "longer")
    }
    for name, times in (("weights", 0.02), ("longer", 0.04)):
        assert nets[name].populations["hidden1"].parameters["tau_mem"] == pytest.approx(times)
    for delay in delays_of(nets["longer"]).values():
        steps = delay / (0.025 / 15)
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)
    assert all(row["decisions_that_agree"] == row["n"] for row in table.rows)
    assert all(row["right_by_events"] == row["right"] for row in table.rows)


# --- verdicts


def spread(name, mean, deviation=0.001):
    return {name: mean, f"{name}_deviation": deviation}


def tau_table(shift, late=0.2, seeds=3):
    rows = []
    for factor in (1, 5, LEARNT):
        for delays in (LEARNT, RANDOM):
            row = {"tau": factor, "delays": delays, "seeds": seeds, "accuracy": 0.9}
            row["accuracy_of_seeds"] = [0.9, 0.91, 0.89][:seeds]
            for k in (1, 2):
                row |= {f"tau_mem_{k}": 0.02, f"tau_syn_{k}": 0.01, f"long_share_{k}": 0.1}
                row |= {f"mean_delay_{k}": 0.05, f"deviation_of_delays_{k}": 0.04}
                row |= {f"late_delay_{k}": late}
                row |= spread(f"mean_delay_{k}_shift", shift)
                row |= spread(f"deviation_of_delays_{k}_shift", -0.01)
            rows.append(row)
    return Table(rows)


def test_delays_must_be_seen_to_be_shorter_with_a_tail():
    verdict = find("tau").verdict
    assert verdict(tau_table(-0.01))[-1].startswith("as published: with time constants of 5 times")
    # t(0.975, 2) / sqrt(3) = 2.48414 deviations of 1 ms
    said = verdict(tau_table(-0.01))[4]
    assert "delays 50.0 ms (-10.0 (-12.5 to -7.5) ms from the first)" in said
    said = verdict(tau_table(-0.002))[-1]
    assert said.startswith("differs: because") and "mean delays of layer 1 are not seen" in said
    assert "layer 2 has no long tail" in verdict(tau_table(-0.01, late=0.09))[-1]
    assert verdict(tau_table(-0.01, seeds=1))[-1] == "differs: because one seed has no interval"


def penalty_table(with_it, first_is_less=0.3, seeds=3):
    rows = []
    for strength, delays in ((0, "trained"), (1, "trained"), (1, "scaled")):
        short = (strength, delays) == (1, "trained")
        row = {"strength": strength, "delays": delays, "seeds": seeds}
        row["accuracy_of_seeds"] = (with_it if short else [0.9, 0.9, 0.9])[:seeds]
        for k in (1, 2):
            row |= {f"mean_delay_{k}": 0.05, f"long_share_{k}": 0.1, f"values_{k}": 9.0}
            row |= {f"delay_bits_{k}": 4.0, **spread(f"mean_delay_{k}_shift", -0.03)}
        rows.append(row | spread("first_is_less", first_is_less))
    return Table(rows)


def test_what_a_penalty_must_do():
    verdict = find("penalty").verdict
    said = verdict(penalty_table([0.92, 0.93, 0.94]))
    assert said[-1].startswith("as published: mean delays of both layers fall")
    assert said[0] == (
        "strength 1: beside none 3.0 (0.5 to 5.5) points, better; "
        "beside scaled delays 3.0 (0.5 to 5.5) points, better"
    )
    worse = verdict(penalty_table([0.80, 0.81, 0.82], first_is_less=-0.2))[-1]
    assert worse.startswith("differs: because it does not hold that those of layer 1 fall first")
    assert "some strength is seen to raise" in worse and "no strength is seen to lower" in worse
    assert worse.endswith("as published: mean delays of both layers fall")
    assert verdict(penalty_table([0.9], seeds=1))[-1] == "differs: because one seed has no interval"


def ladder_table(last, seeds=3):
    rows = []
    for point in find("ladder").points(quick=False):
        name = point["network"]
        values = {ladder.ALL: last, ladder.FIRST: [0.90, 0.91, 0.92]}.get(name, [0.6, 0.61, 0.62])
        rows.append({
            "network": name, "seeds": seeds, "accuracy_of_seeds": values[:seeds], "n": 200,
            "accuracy": 0.9, "accuracy_deviation": None if seeds == 1 else 0.01, "zeros": 0.4,
            "mbit": 0.2 if name == ladder.FIRST else 0.01, "decisions_that_agree": 200.0,
            "spikes": 50.0,
        })  # fmt: skip
    return Table(rows)


def test_the_last_rung_must_be_small_and_good():
    verdict = find("ladder").verdict
    said = verdict(ladder_table([0.89, 0.91, 0.93]))
    assert said[-1].startswith("as published: the last rung is 20.0 times smaller")
    assert said[0].startswith("weights only: 90.0% -+ 3.0 points (3 sigma of seeds); 0.2 Mbit")
    assert "alike in 200 of 200" in said[0]
    assert "+ ternary: -30.0 (-30.0 to -30.0) points, worse beside the rung before" in said
    assert verdict(ladder_table([0.6, 0.61, 0.62]))[-1].startswith("differs: because the last rung")
    less = verdict(ladder_table([0.80, 0.81, 0.82]))[-1]  # than weights only, not than ternary
    assert less.startswith("differs: because the last rung") and "beside them worse" in less
    one = verdict(ladder_table([0.9], seeds=1))
    # one network of 200: 3 sqrt(0.9 0.1 / 200)
    assert "90.0% -+ 6.4 points (3 sigma of recordings)" in one[0]
    assert one[-1] == "differs: because one seed has no interval"
