"""Studies of depth, of equal numbers and of codings: what they train, measure and say."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from small_files import two_classes

from evsim import Dense, Network, Population, Spikes, save_spikes
from evsim.commands.parts import open_parts
from evsim.commands.study import run_study_on
from evsim.commands.train_methods import fitted, with_defaults
from evsim.gradients import CubaLIF, FirstSpikeCrossEntropy
from evsim.gradients.methods.by_values import valued
from evsim.gradients.studies import find
from evsim.gradients.studies.equal_size import kept, kept_by_delrec
from evsim.gradients.studies.first_spiking import FirstSpikes, decided_first
from evsim.gradients.studies.papers import coding, depth, equal_size
from evsim.gradients.studies.tables import Table, table_of
from evsim.gradients.training.start import delay_model
from evsim.train_options import TrainSettings

NAMES = ("coding", "depth", "equal-size")


# --- equal numbers


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("loop", ["none", "dense", "conv"])
def test_numbers_are_those_of_the_networks(loop, plain):
    name = f"{'conv-' * (loop == 'conv')}delrec-shd{'-small' * plain}"
    if name == "conv-delrec-shd-small":
        pytest.skip("there is none")
    for hidden in ((5,), (5, 4, 3)):
        model, _ = valued(name, (7, *hidden, 2), 5e-3, 0.1, 0.3, loops=loop != "none")
        expected = sum(p.numel() for p in model.parameters())
        assert kept_by_delrec(7, hidden, 2, loop, plain=plain) == expected


@pytest.mark.parametrize("loop", ["none", "dense", "conv"])
@pytest.mark.parametrize("delay", ["none", "axonal", "dendritic", "synaptic"])
def test_numbers_are_those_of_networks_of_events(delay, loop):
    for hidden in ((5,), (5, 4, 3)):
        model = delay_model(7, hidden, 2, delay, loop)
        assert kept(7, hidden, 2, delay, loop) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("ends", [(70, 10), (4, 2), (700, 20)])
def test_widths_are_those_of_nearest_numbers(ends):
    n_inputs, n_classes = ends
    wanted = kept(n_inputs, [48], n_classes, "axonal")
    for layers in (1, 2, 3):
        n = coding.width(48, *ends, layers, "none")
        off = [abs(kept(n_inputs, [m] * layers, n_classes) - wanted) for m in (n, n - 1, n + 1)]
        assert off[0] == min(off)
    assert coding.width(48, *ends, 1, "axonal") == 48
    wanted = kept_by_delrec(n_inputs, [48] * 2, n_classes, "dense")
    assert depth.width(48, *ends, 2, depth.DENSE) == 48
    for loop, kind in ((depth.DENSE, "dense"), (depth.KERNEL, "conv")):
        n = depth.width(48, *ends, 4, loop)
        off = [
            abs(kept_by_delrec(n_inputs, [m] * 4, n_classes, kind) - wanted)
            for m in (n, n - 1, n + 1)
        ]
        assert off[0] == min(off)
    assert equal_size.width(42, *ends, equal_size.GRID, equal_size.LOOP) == 42


def test_channels_of_shd_are_summed_on_the_grid_alone(tmp_path):
    spikes = Spikes.from_recordings([([0.1], [0])] * 20, 700, 0.8, np.arange(20) % 2)
    save_spikes(tmp_path / "shd.h5", spikes)
    parts = open_parts(str(tmp_path / "shd.h5"))
    asked = {"dataset": "shd", "preset": equal_size._PRESET}
    settings = TrainSettings(**with_defaults(asked))
    inputs = fitted(settings, parts)[0].train.size
    assert equal_size.inputs_on_grid(700) == inputs == 140
    assert equal_size.inputs_on_grid(70) == 70
    wanted = kept_by_delrec(140, [42, 42], 20, "dense", plain=True)
    n = equal_size.width(42, 700, 20, equal_size.GRID, equal_size.NOTHING)
    assert kept_by_delrec(140, [n, n], 20, plain=True) == pytest.approx(wanted, rel=0.02)
    n = equal_size.width(42, 700, 20, equal_size.EVENTS, equal_size.NOTHING)
    assert kept(700, [n, n], 20) == pytest.approx(wanted, rel=0.05)


# --- first spikes


def one_to_one(n=2):
    units = Population("output", "CubaLIF", n, tau_mem=20e-3, tau_syn=5e-3)
    strong = Dense(pre="input", post="output", weight=20.0 * np.eye(n))
    return Network([Population("input", "Input", n), units], [strong])


def test_the_first_spike_decides_and_silence_is_wrong():
    recordings = [
        ([0.01, 0.03], [0, 1]),  # 0 is first: right
        ([0.01, 0.03], [1, 0]),  # 1 is: wrong
        ([0.02], [0]),  # alone: right
        ([], []),  # nobody: wrong, undecided
        ([0.02, 0.02], [0, 1]),  # both: not before all others
    ]
    spikes = Spikes.from_recordings(recordings, 2, 0.1, np.zeros(5, int))
    assert decided_first(one_to_one(), spikes) == {"right": 2, "n": 5, "undecided": 0.2}


def test_values_have_the_loss_of_first_spikes():
    torch.manual_seed(0)
    layer = CubaLIF(3, 2, 20e-3, 10e-3)
    torch.nn.init.constant_(layer.weight, 5.0)
    model = FirstSpikes(OrderedDict(output=layer), tau0=2e-3, missing=0.04)
    recordings = [([0.01, 0.02], [0, 2]), ([0.03, 0.035], [1, 1]), ([], [])]
    spikes, labels = Spikes.from_recordings(recordings, 3, 0.1), torch.tensor([0, 1, 1])
    with torch.no_grad():
        layer.weight[1] *= 0.7
    loss = torch.nn.functional.cross_entropy(model(spikes), labels)
    loss.backward()
    by_values = layer.weight.grad.clone()
    model.zero_grad()
    expected = FirstSpikeCrossEntropy(tau0=2e-3, missing=0.04)(layer(spikes), labels)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    assert by_values.abs().max() > 0 and torch.allclose(by_values, layer.weight.grad, rtol=1e-6)


# --- whole, and small


def small(study, points, folder):
    """Run some points of a study in-process, without controls and verdict."""
    kind = type(study)

    class Some(kind):
        def points(self, quick):
            return points

        def control(self, point):
            return None

        def verdict(self, table):
            return ["as published"]

        def figure(self, figure, table):
            figure.subplots()

    data = two_classes(folder, 40, 24, 0.1)
    run_study_on(Some(), str(data), str(folder / "out"), quick=True, quiet=True, jobs=1)
    return table_of((folder / "out" / "table.csv").read_text())


def runs(folder, text):
    (found,) = (path for path in (folder / "out" / "runs").iterdir() if text in path.name)
    return [Network.load(found / name) for name in ("initial.h5", "network.h5")]


def test_coding_of_a_small_file(tmp_path):
    names = ("layers", "coding", "learning", "delays")
    wanted = [
        (2, coding.FIRST, coding.EXACT, "random"), (1, coding.RATES, coding.RULE, "learnt"),
        (1, coding.RATES, coding.LOCAL, "none"),
    ]  # fmt: skip
    points = [dict(zip(names, values, strict=True)) for values in wanted]
    first, rule, local = small(find("coding"), points, tmp_path).rows
    # 4 channels and 24 units that keep 4 * 24 weights, 4 delays, 24 * 2 weights: 148
    assert rule["numbers"] == 148 and rule["units"] == 24
    assert local["units"] == 25 and local["numbers"] == 6 * 25
    n = int(first["units"])
    assert first["numbers"] == 4 * n + 4 + n * n + n + 2 * n
    before, after = runs(tmp_path, "random")
    assert after.populations["output"].spiking
    for one in before.projections.values():
        later = after.projections[one.name]
        if one.pre in ("input", "hidden1") and one.post != "output":
            assert (one.axonal_delay == later.axonal_delay).all()
        assert (one.weights != later.weights).any()
    assert 0 <= first["undecided"] <= 1 - first["accuracy"] < 1
    assert rule.get("undecided") is None


def test_depth_of_a_small_file(tmp_path):
    points = [
        {"layers": 3, "loop": depth.KERNEL, "network": depth.EQUAL},
        {"layers": 2, "loop": depth.DENSE, "network": depth.RANDOM},
    ]
    kernel, dense = small(find("depth"), points, tmp_path).rows
    assert dense["units"] == 24 and dense["loop_numbers"] == 24 * 24 + 24
    assert dense["numbers"] == kept_by_delrec(4, [24, 24], 2, "dense")
    n = int(kernel["units"])
    assert kernel["numbers"] == kept_by_delrec(4, [n] * 3, 2, "conv")
    assert kernel["loop_numbers"] == 2 * (3 + n) and 0 <= kernel["train_accuracy"] <= 1
    before, after = runs(tmp_path, "random")
    delays = [net.projections["hidden2->hidden2"].axonal_delay for net in (before, after)]
    assert (delays[0] == delays[1]).all() and delays[0].std() > 0


def test_equal_sizes_of_a_small_file(tmp_path):
    grid, events = equal_size.GRID, equal_size.EVENTS
    points = [
        {"on": grid, "late": equal_size.FORWARD, "delays": "learnt"},
        {"on": grid, "late": equal_size.BOTH, "delays": "random"},
        {"on": events, "late": equal_size.LOOP, "delays": "learnt"},
    ]
    forward, both, loop = small(find("equal-size"), points, tmp_path).rows
    for row, counted in (
        (forward, lambda n: 4 * n + n * n + 2 * n + n),
        (both, lambda n: 4 * n + n * n + 2 * n + n + n * n + n),
        (loop, lambda n: 4 * n + n * n + 2 * n + 2 * (n * n + n)),
    ):
        assert row["numbers"] == counted(int(row["units"]))
    first, last = (net.projections["hidden1->hidden2"] for net in runs(tmp_path, "forward"))
    assert (first.axonal_delay != last.axonal_delay).any()
    assert first.axonal_delay.min() >= 10 * 5e-3 - 1e-9
    for name in ("hidden1->hidden2", "hidden2->hidden2"):
        first, last = (net.projections[name] for net in runs(tmp_path, "both"))
        assert (first.axonal_delay == last.axonal_delay).all() and first.axonal_delay.std() > 0
    first, last = runs(tmp_path, "loop")
    for name in ("input->hidden1", "hidden1->hidden2"):
        assert (last.projections[name].axonal_delay == 0).all()
    loops = [net.projections["hidden1->hidden1"].axonal_delay for net in (first, last)]
    assert (loops[0] != loops[1]).any()


# --- what they say


def crafted(study, accuracies, seeds=3, **more):
    """Return a table in which points have accuracies, 70 % where nothing is told."""
    rows = []
    for point in study.points(False):
        values = accuracies.get(tuple(point.values()), [0.70, 0.71, 0.69])[:seeds]
        mean = float(np.mean(values))
        rows.append({
            **point, "seeds": seeds, "accuracy": mean, "accuracy_of_seeds": values,
            "accuracy_low": mean - 0.02, "accuracy_high": mean + 0.02, "units": 40.0,
            "numbers": 4000.0, "loop_numbers": 100.0, "undecided": 0.05,
            "train_accuracy": 0.8, **more,
        })  # fmt: skip
    return Table(rows)


UP, DOWN = [0.80, 0.81, 0.79], [0.60, 0.61, 0.59]
FOUND = {
    "coding": ({(2, coding.RATES, coding.RULE, "learnt"): UP}, "1 of 2 deeper"),
    "depth": (
        {(4, depth.DENSE, depth.LEARNT): DOWN, (4, depth.KERNEL, depth.LEARNT): UP},
        "dense loop worse, kernel better",
    ),
    "equal-size": ({}, "no difference is seen"),
}
OTHERWISE = {
    "coding": ({(2, coding.RATES, coding.RULE, "learnt"): [0.70, 0.80, 0.71]}, "0 of 2 deeper"),
    "depth": ({(4, depth.DENSE, depth.LEARNT): UP}, "dense loop better, kernel no difference"),
    "equal-size": (
        {(equal_size.GRID, equal_size.LOOP, "learnt"): UP},
        "forward is worse than loop, both is worse than loop",
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said_needs_intervals_without_0(name):
    study = find(name)
    (values, why), (others, but) = FOUND[name], OTHERWISE[name]
    said = study.verdict(crafted(study, values))[-1]
    assert said.startswith("as published") and why in said
    said = study.verdict(crafted(study, others))[-1]
    assert said.startswith("differs: because") and but in said
    said = study.verdict(crafted(study, values, seeds=1))[-1]
    assert said == "differs: because one seed has no interval"


def test_differences_are_paired_by_seed():
    study = find("coding")
    key = (2, coding.FIRST, coding.EXACT, "learnt")
    said = study.verdict(crafted(study, {key: [0.74, 0.76, 0.75]}))
    # 4, 5 and 6 points, t(0.975, 2) / sqrt(3) = 2.48414
    told = "2 hidden layers, first spikes, exact gradient, learnt delays beside"
    assert f"{told} rates: 5.0 (2.5 to 7.5) points, better" in said
    assert f"{told} 1 hidden layer: 5.0 (2.5 to 7.5) points, better" in said
    assert any(line.startswith("no rows: first spikes by the rule") for line in said)


def test_layers_are_compared_at_equal_numbers_too():
    study = find("depth")
    said = study.verdict(crafted(study, {(4, depth.KERNEL, depth.EQUAL): UP}))
    four = f"4 layers, kernel, {depth.EQUAL} beside "
    for other in ("2 layers, kernel", "4 layers, dense loop"):
        assert f"{four}{other}, {depth.EQUAL}: 10.0 (10.0 to 10.0) points, better" in said


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_of_the_table_alone(name):
    study, figure = find(name), Figure()
    study.figure(figure, crafted(study, {}))
    drawn = sum(len(axes.containers) for axes in figure.axes)
    assert drawn >= 6 and all(axes.get_ylim()[0] < 0.7 < axes.get_ylim()[1] for axes in figure.axes)
