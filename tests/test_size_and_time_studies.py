"""Studies of units, of epochs, and of early decisions: what they train, measure and say."""

import warnings

import numpy as np
import pytest
from small_files import two_classes

from evsim import Dense, Network, Population, Spikes
from evsim.commands.study import run_study_on
from evsim.commands.train import run_training
from evsim.gradients.studies import find
from evsim.gradients.studies.exported import decided
from evsim.gradients.studies.papers import distributions, latency, width
from evsim.gradients.studies.tables import Table, table_of
from evsim.gradients.training.trainer import Trainer
from evsim.plots.style import new_figure, save_figure, styled


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("name", ["distributions", "latency", "width"])
def test_what_trains_needs_nothing(name, quick):
    study = find(name)
    needed = [study.needs(point) for point in study.points(quick)]
    assert all(study.needs(one) is None for one in needed if one)


def small(study, data, out, **more):
    run_study_on(study, str(data), str(out), quick=True, quiet=True, jobs=1, **more)
    assert (out / "figure.png").stat().st_size > 1000
    return table_of((out / "table.csv").read_text())


def drawn(study, table, path):
    """Draw a table that was made by hand, and return the axes."""
    with styled():
        figure = new_figure(8.0, 4.8, "by hand")
        study.figure(figure, table)
        save_figure(path, figure)
    return figure.axes


# --- distributions


class OneNetwork(distributions.Distributions):
    """Only what is learnt by events."""

    def points(self, quick):
        return [point for point in super().points(quick) if point["network"] == "exact"]

    def figure(self, figure, table):
        figure.subplots()

    def verdict(self, table):
        return ["as published", *map(distributions._moves, table.where(epoch=4)[:2])]


def test_epochs_of_one_training(tmp_path, monkeypatch):
    data = two_classes(tmp_path, 40, 20, 0.3)
    table = small(OneNetwork(), data, tmp_path / "out")
    first, second = (table.where(layer=layer) for layer in distributions.LAYERS["exact"][:2])
    assert [row["epoch"] for row in first] == [0, 1, 4]
    assert first[0]["moved_ms"] == first[0]["longer_ms"] == 0
    assert 0 < second[1]["moved_ms"] < second[2]["moved_ms"]
    longer = first[2]["mean_ms"] - first[0]["mean_ms"]
    assert first[2]["longer_ms"] == pytest.approx(longer)
    assert first[2]["difference"] == pytest.approx(
        first[2]["deviation_ms"] - first[0]["deviation_ms"]
    )
    assert all("mean_ms" not in row or row["mean_ms"] is None for row in table.rows[-3:])
    assert table.rows[-1]["deviation_of_weights"] > 0
    # After an epoch it is what a training of one epoch leaves.
    run_training(
        str(data), str(tmp_path / "one"), quiet=True, method="exact", hidden=(32, 32), epochs=1,
        patience=0, delay="axonal",
    )  # fmt: skip
    (folder,) = (tmp_path / "out" / "runs").iterdir()
    assert Network.load(folder / "epoch-1.h5") == Network.load(tmp_path / "one" / "network.h5")

    step, n_steps = Trainer._epoch, [0]

    def interrupted(*given):
        n_steps[0] += 1
        if n_steps[0] == 3:
            raise KeyboardInterrupt
        return step(*given)

    monkeypatch.setattr(Trainer, "_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        small(OneNetwork(), data, tmp_path / "cut")
    small(OneNetwork(), data, tmp_path / "cut", resume=True)
    assert n_steps == [5]  # what was kept before is not trained again
    texts = [(tmp_path / name / "table.csv").read_bytes() for name in ("out", "cut")]
    assert texts[0] == texts[1]


def test_delays_and_weights_by_hand():
    first, now = (
        Dense(pre="a", post="b", weight=[[3.0, -4.0, 0.0, 5.0]], axonal_delay=late)
        for late in ([0.01, 0.02, 0.03, 0.04], [0.0, 0.02, 0.03, 0.07])
    )
    found = distributions.of_delays(first, now, 0.064)
    assert found["mean_ms"] == pytest.approx(30)
    assert found["deviation_ms"] == pytest.approx(650**0.5)  # of 900, 100, 0 and 1600
    assert (found["smallest_ms"], found["largest_ms"]) == (0, pytest.approx(70))
    assert found["longer_ms"] == pytest.approx(5) and found["moved_ms"] == pytest.approx(10)
    # bins of 4 ms; what is longer than all stands in the last one
    assert [i for i, share in enumerate(found["delays_histogram"]) if share] == [0, 5, 7, 15]
    weights = distributions.of_weights(now)
    assert weights["mean_weight"] == 1
    assert weights["deviation_of_weights"] == pytest.approx(11.5**0.5)
    # beside a root mean square of 3.54 they are 0.85, -1.13, 0, 1.41, in bins of a half
    assert [i for i, share in enumerate(weights["weights_histogram"]) if share] == [5, 8, 9, 10]
    assert distributions.of_delays(now, Dense(pre="b", post="c", weight=[[1.0]]), 0.064) == {}


def distributions_table(kernels, longer=-5.0):
    rows = []
    for point in find("distributions").points(False):
        row = {**point, "seeds": 3, "weights_histogram": [1 / 16] * 16}
        if not point["layer"].endswith("readout"):
            values = kernels if point["network"] == "kernel" else [30.0, 31.0, 29.0]
            row |= {
                "mean_ms": 100.0, "mean_ms_deviation": 2.0, "deviation_ms": np.mean(values),
                "deviation_ms_of_seeds": values, "smallest_ms": 20.0, "largest_ms": 150.0,
                "longer_ms": longer, "longer_ms_deviation": 1.0, "moved_ms": 6.0,
                "delays_histogram": [1 / 16] * 16, "histogram_to_ms": 300.0,
            }  # fmt: skip
        rows.append(row)
    return Table(rows)


def test_kernels_must_spread_delays_more(tmp_path):
    study = find("distributions")
    said = study.verdict(distributions_table([40.0, 41.0, 39.5]))
    assert said[-1] == "as published: 3 of 3 kernels are seen to spread delays more"
    # t(0.975, 2) / sqrt(3) = 2.48414
    assert "their mean by -5.0 (-7.5 to -2.5) ms: shorter" in said[1]
    said = study.verdict(distributions_table([40.0, 20.0, 30.0], longer=1.0))
    assert said[-1].startswith("differs: because 0 of 3") and "no difference seen" in said[1]
    assert len(drawn(study, distributions_table([40.0] * 3), tmp_path / "f.png")) == 21


# --- latency


def test_a_decision_before_the_end_takes_what_has_arrived():
    net = Network(
        [
            Population("in", "Input", 2),
            Population("out", "LI", 2, tau_mem=0.01, output="integral", tau_output=0.1),
        ],
        [Dense(pre="in", post="out", weight=[[1.0, 0.0], [0.0, 3.0]], axonal_delay=[0.0, 0.04])],
    )

    class Test:
        def spikes(self):  # the second spike arrives after 60 ms
            return Spikes.from_recordings([([0.01, 0.02], [0, 1])] * 2, 2, 0.2, np.array([1, 1]))

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the readout's time is longer than most of these
        for until in (0.03, 0.061, 0.063, 0.065, 0.067, 0.07, 0.2):
            late = 3 * _integral(0.06, until) > _integral(0.01, until)
            assert decided(net, Test(), until) == {"right": 2 * late, "n": 2}, until
    assert decided(net, Test()) == {"right": 2, "n": 2}
    crossed = [3 * _integral(0.06, until) > _integral(0.01, until) for until in (0.063, 0.07)]
    assert crossed == [False, True]


def _integral(arrival, until):
    """Return the integral of e^(-t / 0.1) e^(-(t - arrival) / 0.01) up to a time."""
    rate = 1 / 0.01 + 1 / 0.1
    return np.exp(-arrival / 0.1) * (1 - np.exp(-rate * max(0.0, until - arrival))) / rate


def test_how_long_a_recording_sounds():
    class Part:
        duration = 0.5

        def __init__(self, *recordings):
            self.spikes = Spikes.from_recordings(recordings, 2, 0.5)

        def batches(self, size, shuffle, seed):
            yield self.spikes

    silent = ([], [])
    assert latency.sounding(Part(([0.1, 0.3], [0, 1]), silent, ([0.2], [1]))) == pytest.approx(0.25)
    assert latency.sounding(Part(silent, silent)) == 0.5
    assert latency.sounding(Part(([0.0], [1]))) == 0.5


class FewTimes(latency.Latency):
    def points(self, quick):
        return [p for p in super().points(quick) if p["units"] == 8 and p["delays"] != "synaptic"]

    def figure(self, figure, table):
        latency._by_time(figure.subplots(), Table([*table.rows, *_as(table, "synaptic")]), 8)

    def verdict(self, table):
        return ["as published", latency._worth(table, "axonal", 8)]


def _as(table, kind):
    return [{**row, "delays": kind} for row in table.where(delays="none")]


def test_times_of_one_training(tmp_path):
    table = small(FewTimes(), two_classes(tmp_path, 60, 20, 0.3), tmp_path / "out")
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 2
    none = table.where(delays="none")
    assert [row["at_ms"] for row in none[:2]] == [
        pytest.approx(share * none[0]["sounding_ms"]) for share in (0.33, 0.67)
    ]
    assert none[-2]["at_ms"] == none[-1]["at_ms"] == 300
    assert none[-2]["right"] == none[-1]["right"] > none[-1]["n"] / 2
    # four inputs, two classes
    assert [row["numbers"] for row in table.where(time="end")] == [48, 52]
    assert table.where(delays="axonal", time="end")[0]["mbit"] == pytest.approx(52 * 32e-6)


def latency_table(early, small_one, quick=False):
    rows = []
    for point in find("latency").points(quick):
        kind, units, time = point.values()
        good = 0.9 if kind != "none" else 0.8
        if kind != "none" and units == 8:
            good = small_one
        if time == "end":
            at, values = 2300.0, [good, good + 0.01, good - 0.01]
        else:
            at, lost = 300.0 * time, 0.0 if time >= early else 0.2
            values = [good - lost, good - lost + 0.012, good - lost - 0.014]
        rows.append({
            **point, "seeds": 3, "at_ms": at, "sounding_ms": 300.0, "accuracy": np.mean(values),
            "accuracy_of_seeds": values, "accuracy_low": good - 0.02, "accuracy_high": good + 0.02,
            "mbit": units * (2 if kind == "synaptic" else 1) * 1e-3,
        })  # fmt: skip
    return Table(rows)


def test_what_an_early_decision_costs(tmp_path):
    study = find("latency")
    said = study.verdict(latency_table(0.25, 0.9))
    assert said[-1] == (
        "as published: axonal, 8 units, at 75 ms, beside 128 units without delays at the end "
        "9.9 (9.2 to 10.7) points, is 16.0 times smaller and saves 75% of what a recording lasts"
    )
    assert any(line.startswith("axonal, 16 units beside no delays, points at 75 ms 10.0 (10.0")
               and line.count("better") == 7 for line in said)  # fmt: skip
    said = study.verdict(latency_table(1, 0.9))
    assert said[-1].startswith("differs: because axonal, 8 units, at 300 ms, beside 128")
    assert said[-1].endswith("saves 0% of what a recording lasts; published are 6.6 and 67%")
    # none of a fifth of the points lost at 225 ms, and all times before
    assert "at 75 ms 20.1 (" in said[0] and "from 300 ms on 2.4 at most, 0% before" in said[0]
    said = study.verdict(latency_table(0.25, 0.7))  # 16 units do, eight times smaller
    assert said[-1].startswith("as published") and "8.0 times smaller" in said[-1]
    said = study.verdict(latency_table(3, 0.7))
    assert said[0].endswith("never 2.4 at most")
    # Small networks are good at the end, large ones early: none is both.
    table = latency_table(0.25, 0.9)
    for row in table.rows:
        if row["units"] < 128 and row["time"] != "end":
            row["accuracy_of_seeds"] = [0.5, 0.51, 0.49]
    said = study.verdict(table)[-1]
    assert said.startswith("differs: because axonal, 128 units, at 75 ms") and "1.0 times" in said
    assert len(drawn(study, latency_table(0.25, 0.9), tmp_path / "f.png")) == 4


# --- width


class FewWidths(width.Width):
    def points(self, quick):
        kept = [p for p in super().points(quick) if p["units"] == 8 and p["delays"] != "axonal"]
        return [p for p in kept if p["weights"] == "full" or p["delays"] == "none"]

    def figure(self, figure, table):
        figure.subplots()

    def verdict(self, table):
        return ["as published"]


def test_delays_of_a_small_file(tmp_path):
    table = small(FewWidths(), two_classes(tmp_path, 40, 20, 0.3), tmp_path / "out")
    none, drawn_ones, learnt, ternary = table.rows
    assert "mean_ms" not in none or none["mean_ms"] is None
    assert learnt["delays_kept"] == drawn_ones["delays_kept"] == 32  # of four inputs
    assert learnt["mean_ms"] != drawn_ones["mean_ms"]
    assert (none["numbers"], learnt["numbers"]) == (48, 80)
    assert ternary["weights"] == "ternary" and ternary["mbit"] == pytest.approx(48e-6 * np.log2(3))
    name = "units=8,weights=full,delays=synaptic,learnt="
    runs = {folder.name: folder for folder in (tmp_path / "out" / "runs").iterdir()}
    (kept,) = (runs[one] for one in runs if one.lower().startswith(f"{name}false"))
    late = [
        Network.load(kept / file).projections["input->hidden"].delay
        for file in ("initial.h5", "network.h5")
    ]
    assert np.array_equal(*late) and late[0].std() > 0


def test_values_a_millisecond_apart():
    found = width.of_delays([np.array([0.0101, 0.0099, 0.02]), np.array([0.0304])])
    assert found["distinct"] == 3 and found["delays_kept"] == 4
    assert found["mean_ms"] == pytest.approx(17.6)
    assert width.of_delays([]) == {}


def width_table(wide, mean):
    rows = []
    for point in find("width").points(False):
        good = 0.8 + (wide if point["units"] == 256 else 0) + (0.1 if point["learnt"] else 0)
        row = {
            **point, "seeds": 3, "accuracy": good, "accuracy_low": good, "accuracy_high": good,
            "accuracy_of_seeds": [good, good + 0.01, good - 0.01 - wide / 10],
        }  # fmt: skip
        if point["delays"] != "none":
            row |= {
                "mean_ms": 100.0 + mean * point["units"], "mean_ms_deviation": 4.0,
                "mean_ms_of_seeds": [100.0 + mean * point["units"] + d for d in (0, 4, -4)],
                "distinct": point["units"] * 0.5, "distinct_deviation": 1.0,
            }  # fmt: skip
        rows.append(row)
    return Table(rows)


def test_units_delays_and_what_is_said_of_them(tmp_path):
    study = find("width")
    said = study.verdict(width_table(0.0, -0.2))
    assert said[0] == "full weights, no delays: 256 beside 128 units 0.0 (0.0 to 0.0) points, " \
        "no difference seen"  # fmt: skip
    assert said[-1].startswith("as published: 0 of 10 kinds") and "4 of 4" in said[-1]
    assert said[-1].endswith("they beat random ones in 16 of 16")
    assert any("98.4, 93.6, 74.4, 48.8 ms, 4, 16, 64, 128 distinct, shorter" in one for one in said)
    assert study.verdict(width_table(0.05, -0.2))[-1].startswith("differs: because 10 of 10 kinds")
    # By 12.4 ms: the intervals of 9.9 ms overlap, but seed by seed all are shorter.
    assert "4 of 4" in study.verdict(width_table(0.0, -0.05))[-1]
    table = width_table(0.0, -0.05)
    for row in table.rows:
        if row["units"] == 256 and row["learnt"]:
            row["mean_ms_of_seeds"] = [60.0, 110.0, 80.0]
    said = study.verdict(table)
    assert said[-1].startswith("differs: because") and "in 0 of 4" in said[-1]
    assert any(one.endswith("distinct, longer") for one in study.verdict(width_table(0.0, 0.05)))
    assert len(drawn(study, width_table(0.0, -0.2), tmp_path / "f.png")) == 6
