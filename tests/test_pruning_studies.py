"""Studies of delays that are removed, trained alone, or of other kinds."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from small_files import two_classes

from evsim import Dense, Network, Population
from evsim.commands.study import run_study_on
from evsim.gradients.studies import find
from evsim.gradients.studies.exported import delays_of, refuse_changed
from evsim.gradients.studies.papers import frozen, kinds, pruning
from evsim.gradients.studies.tables import Table, table_of

NAMES = ("frozen", "kinds", "pruning")


def small(study, tmp_path, n=40):
    data = two_classes(tmp_path, n, 12)
    run_study_on(study, str(data), str(tmp_path / "out"), quick=True, quiet=True, jobs=1)
    assert (tmp_path / "out" / "figure.png").stat().st_size > 1000
    return table_of((tmp_path / "out" / "table.csv").read_text())


def drawn(study, table):
    """Return the figure of a table, whose axes all tell what they show."""
    figure = Figure()
    study.figure(figure, table)
    figure.canvas.draw()
    last = [axes for axes in figure.axes if axes.get_subplotspec().is_last_row()]
    assert all(axes.get_xlabel() or axes.get_xticklabels() for axes in last)
    return figure


# --- pruning


def late_network():
    """Return two projections: axonal delays of 1 to 3 ms, then synaptic ones of 10 to 60 ms."""
    sizes = [
        Population("in", "Input", 3),
        Population("hidden", "LIF", 2, tau_mem=0.02),
        Population("out", "LI", 3, tau_mem=0.02),
    ]
    return Network(sizes, [
        Dense(pre="in", post="hidden", weight=np.ones((2, 3)), axonal_delay=[1e-3, 2e-3, 3e-3]),
        Dense(
            pre="hidden", post="out", weight=np.ones((3, 2)),
            delay=1e-2 * np.arange(1.0, 7.0).reshape(3, 2),
        ),
    ])  # fmt: skip


def test_what_is_removed_is_removed():
    net = late_network()
    which = np.zeros(9, dtype=bool)
    which[[1, 3, 8]] = True  # the second input; the synapses of 10 and of 60 ms
    first, second = pruning.removed(net, which, cut=False).projections.values()
    assert first.axonal_delay.tolist() == [1e-3, 0, 3e-3] and (first.weight == 1).all()
    np.testing.assert_allclose(second.delay, [[0, 0.02], [0.03, 0.04], [0.05, 0]])
    first, second = pruning.removed(net, which, cut=True).projections.values()
    assert first.weight.tolist() == [[1, 0, 1]] * 2
    assert second.weight.tolist() == [[0, 1], [1, 1], [1, 0]]
    assert first.axonal_delay.tolist() == [1e-3, 2e-3, 3e-3]
    # two synapses of 2 ms, one of 10, one of 60, of twelve
    assert pruning.moved(net, which) == pytest.approx((2 * 2e-3 + 0.01 + 0.06) / 12)


def test_orders():
    late, rng = np.array([0.3, 0.1, 0.2, 0.1]), np.random.default_rng(0)
    assert pruning._order(late, pruning.SHORTEST, rng).tolist() == [1, 3, 2, 0]
    assert pruning._order(late, pruning.LONGEST, rng).tolist() == [0, 2, 1, 3]
    orders = {tuple(pruning._order(late, pruning.RANDOM, rng)) for _ in range(20)}
    assert len(orders) > 5 and all(sorted(one) == [0, 1, 2, 3] for one in orders)


class SomePruning(pruning.Pruning):
    def points(self, quick):
        kept = {"axonal": (0.0, 0.1, 1.0), "synaptic": (0.0,)}
        return [one for one in super().points(False) if one["share"] in kept[one["delays"]]]

    def figure(self, figure, table):
        super().figure(figure, Table(table.where(delays="axonal")))

    def verdict(self, table):
        return super().verdict(Table(table.where(delays="axonal")))


def test_pruning_of_a_small_file(tmp_path):
    study = SomePruning()
    table = small(study, tmp_path)
    whole = table.row(delays="axonal", order="none")
    # 32 units in each of two layers; 4 inputs, whose axons have no delays
    assert whole["n_delays"] == 64
    assert table.row(delays="synaptic", order="none")["n_delays"] == 4 * 32 + 32 * 32
    part = {"delays": "axonal", "removed": pruning.DELAY}
    short, long, any_ = (table.row(**part, order=o, share=0.1) for o in pruning.ORDERS)
    assert short["n_removed"] == long["n_removed"] == any_["n_removed"] == 6
    assert 0 <= short["moved"] < any_["moved"] < long["moved"]
    assert len(any_["draws"]) == pruning.DRAWS >= 5
    assert any_["accuracy"] == pytest.approx(np.mean(any_["draws"]))
    assert any_["control_accuracy"] == whole["accuracy"]
    assert short["control_accuracy"] == any_["accuracy"]
    cut = {"delays": "axonal", "removed": pruning.CONNECTION}
    silent = table.row(**cut, order=pruning.ALL)
    test = two_classes_test(tmp_path)
    assert silent["accuracy"] == np.mean(test.labels == 0), "nothing arrives: all are of class 0"
    assert silent["moved"] == 0


def two_classes_test(tmp_path):
    from evsim.commands.parts import open_parts

    return open_parts(str(tmp_path / "spikes.h5"), None, 0.1, None).test


def pruning_table(longest, seeds=3):
    """Return a table in which removing the longest leaves some accuracies of seeds."""
    rows = []
    for point in find("pruning").points(True):
        of = longest if point["order"] == pruning.LONGEST else [0.80, 0.81, 0.79]
        rows.append({
            **point, "seeds": seeds, "accuracy_of_seeds": of[:seeds], "accuracy": of[0],
            "n_delays": 64.0, "n_removed": 6.0, "moved": 0.1 * point["share"],
            "moved_of_seeds": [0.1 * point["share"]] * seeds,
        })  # fmt: skip
    return Table(rows)


def test_longest_delays_must_cost_more_than_shortest():
    study = find("pruning")
    table = pruning_table([0.60, 0.62, 0.58])
    said = study.verdict(table)
    # 20, 19 and 21 points less: t(0.975, 2) / sqrt(3) = 2.48414
    line = "axonal, delay set to 0, mean over shares: longest first beside shortest first: "
    assert f"{line}-20.0 (-22.5 to -17.5) points, worse" in said
    assert said[-1].startswith("as published") and "2 of 2 ways" in said[-1]
    assert any("10% (6)" in line and "10.0 ms earlier" in line for line in said)
    figure = drawn(study, table)
    assert [axes.get_xlabel() for axes in figure.axes][::2] == [
        "removed [% of delays]", "arrivals moved by, mean [ms]"
    ]  # fmt: skip
    said = study.verdict(pruning_table([0.60, 0.99, 0.70]))
    assert said[-1].startswith("differs: because removing the longest") and "0 of 2" in said[-1]
    one = study.verdict(pruning_table([0.60], seeds=1))
    assert one[-1] == "differs: because one seed has no interval"


def test_arrivals_that_moved_as_far_are_compared():
    table = pruning_table([0.60, 0.60, 0.60])
    for row in table.rows:
        # at random arrivals move half as far, and lose a point for each ms
        if row["order"] in (pruning.RANDOM, pruning.ALL):
            # ... of seeds whose delays are shorter or longer
            row["moved_of_seeds"] = [f * 0.05 * row["share"] for f in (1, 0.6, 1.4)]
            row["accuracy_of_seeds"] = [0.8 - 10 * moved for moved in row["moved_of_seeds"]]
        elif row["order"] == "none":
            row["accuracy_of_seeds"] = [0.8] * 3
        elif row["order"] == pruning.LONGEST:
            row["moved_of_seeds"] = [0.02, 0.012, 0.024]
            row["accuracy_of_seeds"] = [0.6, 0.68, 0.56]
    told = pruning._as_far(table, "axonal", pruning.LONGEST)
    assert "until arrivals have moved as far: 0.0 (" in told and told.endswith("difference seen")


# --- frozen


class SomeFrozen(frozen.Frozen):
    def points(self, quick):
        after = {0: (frozen.NOTHING, frozen.DELAYS), 1: frozen.AFTER[:-1]}
        return [frozen._point(e, a) for e in (1, 0) for a in after[e]]

    def figure(self, figure, table):
        figure.subplots().plot([row["accuracy"] for row in table.rows])

    def verdict(self, table):
        return ["as published"]

    def control(self, point):
        return super().control(point) if point["epochs"] else None


def test_frozen_of_a_small_file(tmp_path):
    table = small(SomeFrozen(), tmp_path, 24)
    runs = tmp_path / "out" / "runs"

    def of(epochs, after, name="network.h5"):
        return Network.load(runs / f"epochs={epochs},after={after.replace(' ', ',')},seed=0" / name)

    for epochs, after, learnt in (
        (0, frozen.DELAYS, False), (1, frozen.DELAYS, False), (1, frozen.BOTH, True),
        (1, frozen.READOUT, True), (1, frozen.ON_RANDOM, True),
    ):  # fmt: skip
        before = of(1, "nothing", "network.h5" if epochs else "initial.h5")
        assert not delays_of(before)
        net = of(epochs, after)
        pairs = zip(before.projections.values(), net.projections.values(), strict=True)
        same = [np.array_equal(one.weight, other.weight) for one, other in pairs]
        assert same == [True, True, not learnt], after
        late = np.concatenate(list(delays_of(net).values()))
        assert len(late) == 64 and (late.max() > 0) == (after != frozen.READOUT)
        row, whole = (table.row(epochs=epochs, after=a) for a in (after, frozen.NOTHING))
        assert row["accuracy_before"] == whole["accuracy"]
    several = table.row(epochs=1, after=frozen.DRAWN)
    assert len(several["draws"]) == frozen.DRAWS >= 5
    assert several["accuracy"] == pytest.approx(np.mean(several["draws"]))


def test_what_was_to_stay_and_has_not_is_told():
    net = late_network()
    first, second = net.projections.values()
    changed = first.weight.copy()
    changed[1, 2] = np.nextafter(1.0, 2.0)
    other = Network(
        net.populations.values(),
        [Dense(pre="in", post="hidden", weight=changed, axonal_delay=first.axonal_delay), second],
    )
    refuse_changed(net, other, ["hidden->out"], "weight")
    refuse_changed(net, other, ["in->hidden"], "axonal_delay")
    with pytest.raises(ValueError, match="in->hidden.*weight was to stay.* 1 of 6 numbers"):
        refuse_changed(net, other, net.projections, "weight")


class OneFrozen(SomeFrozen):
    def points(self, quick):
        return [frozen._point(1, after) for after in (frozen.NOTHING, frozen.READOUT)]


def test_a_training_that_moves_what_is_frozen_fails(tmp_path, monkeypatch):
    give = frozen.give_axons_delays

    def moving(model, longest):
        give(model, longest)

        def move(*_):
            model[0].weight.data.mul_(1 + 1e-6)

        model.register_forward_hook(move)

    monkeypatch.setattr(frozen, "give_axons_delays", moving)
    with pytest.raises(ValueError, match="'input->hidden1': weight was to stay as it is, but"):
        small(OneFrozen(), tmp_path, 24)


def test_drawn_delays_are_behind_hidden_units_only():
    rng = np.random.default_rng(0)
    first, second = frozen.late(late_network(), rng, 0.1).projections.values()
    assert first.axonal_delay.tolist() == [1e-3, 2e-3, 3e-3]
    assert second.axonal_delay.shape == (2,) and (second.axonal_delay < 0.1).all()


def frozen_table(alone, seeds=3):
    """Return a table in which delays alone lead to some accuracies of seeds."""
    rows = []
    for point in find("frozen").points(True):
        of = {frozen.NOTHING: [0.60, 0.62, 0.58], frozen.DELAYS: alone}.get(
            point["after"], [0.5, 0.5, 0.5]
        )
        rows.append(
            {**point, "seeds": seeds, "accuracy_of_seeds": of[:seeds], "accuracy": np.mean(of)}
        )
    return Table(rows)


def test_delays_alone_must_improve_frozen_weights():
    study = find("frozen")
    table = frozen_table([0.70, 0.73, 0.67])
    said = study.verdict(table)
    # 10, 11 and 9 points: t(0.975, 2) / sqrt(3) = 2.48414
    assert "1 epoch, delays before: 10.0 (7.5 to 12.5) points, better" in said
    assert said[-1].startswith("as published") and "at random in 2 of 2" in said[-1]
    left, right = drawn(study, table).axes
    assert right.get_ylabel() == "gained after [points]" and left.get_ylabel() == "accuracy"
    said = study.verdict(frozen_table([0.60, 0.70, 0.55]))
    assert said[-1].startswith("differs: because delays alone are seen") and "0 of 2" in said[-1]
    one = study.verdict(frozen_table([0.9], seeds=1))
    assert one[-1] == "differs: because one seed has no interval"


# --- kinds


class SomeKinds(kinds.Kinds):
    def points(self, quick):
        found = [(kinds.NUMBERS, kinds.MASKED), (kinds.BITS, kinds.SYNAPTIC)]
        return [kinds._point(equal, kind, kinds.RANDOM) for equal, kind in found]

    def control(self, point):
        return None

    def figure(self, figure, table):
        figure.subplots().plot([row["accuracy"] for row in table.rows])

    def verdict(self, table):
        return ["as published"]


def test_kinds_of_a_small_file(tmp_path):
    masked, few = small(SomeKinds(), tmp_path, 24).rows
    # 32 axonal units keep 4 * 32 + 4 + 32 * 2 = 196; half of 4 synapses each are 32 * 2 * 2 + 64
    assert (masked["units"], masked["numbers"], masked["delay_numbers"]) == (32, 192, 64)
    # 8 bits of 196 numbers; ten numbers a unit of 4 bits
    assert few["units"] == 39 and few["mbit"] == pytest.approx(39 * 10 * 4 / 1e6)
    runs = tmp_path / "out" / "runs"
    for folder in runs.iterdir():
        first, then = (delays_of(Network.load(folder / n)) for n in ("initial.h5", "network.h5"))
        assert all((first[name] == then[name]).all() for name in first) and first


def test_sizes_are_as_near_as_whole_units_come():
    # with 70 inputs and 10 classes: 5,190 numbers; 80 a unit, and one more, or 70 more
    found = [kinds.sizes(kinds.NUMBERS, kind, 64, 70, 10) for kind in kinds.KINDS]
    assert [units for units, _ in found] == [65, 64, 64, 35, 64]
    assert found[-1][1] == pytest.approx(1 - (5190 - 640) / 2 / 4480)
    assert kinds.sizes(kinds.UNITS, kinds.SYNAPTIC, 64, 70, 10) == (64, 0.0)
    assert kinds.sizes(kinds.BITS, kinds.SYNAPTIC, 64, 70, 10) == (69, 0.0)  # 10,380 / 150


def kinds_table(more, seeds=3, better=(kinds.SYNAPTIC, kinds.DENDRITIC)):
    """Return a table in which some kinds of learnt delays have some accuracies of seeds."""
    rows = []
    for point in find("kinds").points(False):
        learnt = point["delays"] in better and point["how"] == kinds.LEARNT
        of = more if learnt else [0.80, 0.81, 0.79]
        rows.append({
            **point, "seeds": seeds, "accuracy_of_seeds": of[:seeds], "accuracy": of[0],
            "units": 64.0, "numbers": 5190.0, "delay_numbers": 70.0, "mbit": 0.166,
        })  # fmt: skip
    return Table(rows)


def test_other_kinds_must_beat_axonal_delays_at_equal_size():
    study = find("kinds")
    table = kinds_table([0.90, 0.92, 0.88])
    said = study.verdict(table)
    # 10, 11 and 9 points: t(0.975, 2) / sqrt(3) = 2.48414
    line = "equal numbers: synaptic, learnt beside axonal ones: "
    assert f"{line}10.0 (7.5 to 12.5) points, better" in said
    assert said[-1].startswith("as published") and "4 of 4 comparisons" in said[-1]
    figure = drawn(study, table)
    assert len(figure.axes) == 6
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["no delays", "random delays", "learnt delays"]
    said = study.verdict(kinds_table([0.90, 0.92, 0.88], better=(kinds.SYNAPTIC,)))
    assert said[-1].endswith("2 of 4 comparisons at equal size, synaptic at equal numbers, "
                             "synaptic at equal bits")  # fmt: skip
    assert said[-1].startswith("differs")
    said = study.verdict(kinds_table([0.70, 0.92, 0.88]))
    assert said[-1].startswith("differs: because other kinds") and "0 of 4" in said[-1]
    one = study.verdict(kinds_table([0.9], seeds=1))
    assert one[-1] == "differs: because one seed has no interval"
