"""Studies that search, punish spikes, and put units in another order."""

import sys

import pytest
import torch
from small_files import two_classes
from torch import nn

from evsim import Spikes
from evsim.commands.parts import open_parts
from evsim.commands.study import run_study_on
from evsim.gradients import CubaLI, CubaLIF
from evsim.gradients.dense import LIF
from evsim.gradients.methods.by_values import valued_method, width_in
from evsim.gradients.studies import Study, find, grid_networks, trials
from evsim.gradients.studies.papers import permuted, search, spikes
from evsim.gradients.studies.tables import Table, table_of
from evsim.gradients.studies.thinning import Thinned, spike_penalty
from evsim.gradients.training.trainer import Diverged
from evsim.plots.style import new_figure

SHORT = {"hidden": (8, 8), "epochs": 2, "recordings": 60, "batch": 32}


def small(study, folder, duration=0.1, n=60, **more):
    data = folder / "spikes.h5"
    data = data if data.exists() else two_classes(folder, n, 30, duration)
    run_study_on(study, str(data), str(folder / "out"), quick=True, quiet=True, jobs=1, **more)
    assert (folder / "out" / "figure.png").stat().st_size > 10_000
    return table_of((folder / "out" / "table.csv").read_text())


class OfRecordings:
    """A point's work with recordings of a duration; what is to be trained is kept."""

    quick, seed = True, 0

    def __init__(self, folder, duration):
        self.data, self.asked = str(two_classes(folder, duration=duration)), {}

    def parts(self, recordings=None):
        return open_parts(self.data, recordings=recordings)

    def train(self, *_, **asked):
        self.asked = asked


def test_short_recordings_have_shorter_steps(tmp_path):
    work = OfRecordings(tmp_path, 0.01)  # two steps of 5 ms, too few for three layers
    search._train(search._TOLD[search.PUBLISHED], work, 0)
    grids = [
        work.asked, spikes._settings(spikes._point("delrec", 0.0), work),
        permuted._settings(permuted._point("kernel", permuted.ALL, permuted.START), work),
    ]  # fmt: skip
    assert [asked["dt"] for asked in grids] == [0.01 / 20] * 3
    steps = [grids[k]["delay_lr"] / grids[k]["dt"] for k in (0, 2)]
    assert steps == pytest.approx([search._TOLD[search.PUBLISHED]["delay_lr"], 5e-2])


# --- search


class FewTrials(search.Search):
    figure = Study.figure

    def points(self, quick):
        kept = (search.OPTUNA, search.PUBLISHED)
        return [p for p in super().points(quick) if p["settings"] in kept]

    def verdict(self, table):
        return ["as published"]


def cut(*_):
    raise KeyboardInterrupt


def test_a_search_that_is_cut_goes_on_as_if_it_was_not(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "_QUICK_TRIALS", 3)
    monkeypatch.setattr(grid_networks, "_QUICK", SHORT)
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole = small(FewTrials(), tmp_path / "whole")
    with monkeypatch.context() as patched:  # its second trial is trained, and not told
        tell, told = trials.need_optuna().study.Study.tell, []

        def second(self, *given):
            told.append(given)
            return tell(self, *given) if len(told) < 2 else cut()

        patched.setattr(trials.need_optuna().study.Study, "tell", second)
        with pytest.raises(KeyboardInterrupt):
            small(FewTrials(), tmp_path / "cut")
    again = small(FewTrials(), tmp_path / "cut", resume=True)
    tables = [(tmp_path / name / "out" / "table.csv").read_bytes() for name in ("whole", "cut")]
    assert tables[0] == tables[1] and again.rows == whole.rows
    tried = whole.where(settings=search.OPTUNA)[:-1]
    assert [row["trial"] for row in tried] == [1, 2, 3]
    best, published = (whole.row(settings=s, trial="best") for s in (search.OPTUNA, "as published"))
    chosen = max(tried, key=lambda row: row["validation"])
    assert best["best_validation"] == chosen["validation"] == tried[-1]["best_validation"]
    assert best["lr"] in [r["lr"] for r in tried if r["validation"] == chosen["validation"]]
    assert published["tau"] == 1.17 and "accuracy" not in {k for k in tried[0] if tried[0][k]}
    assert all(0.0 <= row["dropout"] <= 0.6 and row["lr"] != published["lr"] for row in tried)


def quadratic(settings):
    return {"validation_accuracy": 1 - settings["x"] ** 2, "validation_loss": 0.5}


def searched(folder, n, first):
    found, before = [], None
    for k in range(n):
        own = folder / str(k)
        own.mkdir(parents=True)
        ranges = {"x": trials.Range(-1.0, 1.0)}
        settings, _ = trials.one_more(before, ranges, k, first, quadratic, own)
        found.append(settings["x"])
        before = own
    return found, before


def test_optuna_takes_earlier_trials_into_account(tmp_path):
    found, last = searched(tmp_path / "tpe", 16, 5)
    drawn, _ = searched(tmp_path / "random", 16, None)
    assert found[:5] == drawn[:5], "the first ones are draws"
    late = [sum(abs(x) for x in xs[8:]) for xs in (found, drawn)]
    assert late[0] < 0.7 * late[1]
    settings, record = trials.best_of(last)
    assert settings["x"] == min(found, key=abs)
    assert record["validation_accuracy"] == 1 - settings["x"] ** 2
    (last / trials.FILE).unlink()
    with pytest.raises(ValueError, match=r"trials.log is gone; take the line"):
        trials.best_of(last)


def test_of_equally_accurate_trials_that_of_less_loss_is_the_best(tmp_path):
    losses, before = [0.5, 0.2, float("inf"), 0.3], None
    for k, loss in enumerate(losses):
        (tmp_path / str(k)).mkdir()

        def tried(_, loss=loss):
            return {"validation_accuracy": 0.5, "validation_loss": loss}

        trials.one_more(before, {"x": trials.Range(0, 1)}, k, None, tried, tmp_path / str(k))
        before = tmp_path / str(k)
    assert trials.best_of(before)[1]["validation_loss"] == 0.2


def test_without_optuna_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "evsim\[study\]"'):
        find("search").points(True)


def test_settings_reach_the_network(tmp_path):
    parts = open_parts(str(two_classes(tmp_path)))
    _, recipe = grid_networks.on_grid("conv-delrec", parts, (5, 6), 5e-3)
    settings = {"tau": 2.0, "dropout": 0.1, "recurrent_dropout": 0.3, "sigma": 8.0,
                "sigma_decay": 0.9}  # fmt: skip
    change = search._changed(settings, parts, (5, 6), 5e-3)
    model, _, method = change(None, None, valued_method(recipe))
    first, second, readout = model
    assert first.dropout == second.dropout == 0.1
    assert (first.recurrent_dropout, second.recurrent_dropout) == (0.0, 0.3)
    # half of a voltage is left after a step
    taus = [float(layer.tau_mem) for layer in (first, second, readout)]
    assert taus == pytest.approx([5e-3 / 0.693147] * 3, rel=1e-5)
    options = type("Options", (), {"epochs": 10, "seed": 0})
    method.begin(model, 5, options)  # half way: 50 hundredths
    assert second.sigma == pytest.approx(8 * 0.9**50)
    assert width_in(recipe, 5, 10) == pytest.approx(10.36 * 0.971**50)


def test_what_diverges_has_nothing_right(monkeypatch, tmp_path):
    def diverges(*_):
        raise Diverged("its numbers are no longer finite")

    monkeypatch.setattr(search, "_train", diverges)
    work = type("Work", (), {"seed": 0})
    assert search._record({}, work)["validation_accuracy"] == 0
    point = {"settings": search.PUBLISHED, "trial": search.BEST, "trials": 4}
    of_file = OfRecordings(tmp_path, 0.1)
    tested = find("search").compute(point, of_file)
    assert tested["right"] == 0 and tested["n"] == len(of_file.parts().test)


def search_table(own, seeds=3):
    rows = [
        {"settings": name, "trial": k, "seeds": seeds, "validation": 0.6, "best_validation": 0.7,
         "validation_deviation": 0.1 if seeds > 1 else None}
        for name in search.SEARCHES for k in (1, 2)
    ]  # fmt: skip
    for name in (*search.SEARCHES, *search.FIXED):
        values = own if name == search.OPTUNA else [0.7] * seeds
        told = search._TOLD[search.PUBLISHED]
        rows.append({
            "settings": name, "trial": "best", "seeds": seeds, "accuracy_of_seeds": values,
            "accuracy": values[0], "validation": 0.7, "best_validation": 0.8, **told,
        })  # fmt: skip
    return Table(rows)


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_trials_and_what_is_tested_are_drawn(seeds):
    figure = new_figure(8, 5, "")
    find("search").figure(figure, search_table([0.7] * seeds, seeds))
    left, right = figure.axes
    assert [len(line.get_xdata()) for line in left.lines[:1]] == [2]
    assert -0.05 < left.get_ylim()[0] < 0.6 < left.get_ylim()[1] < 1.05
    assert [text.get_text() for text in left.get_legend().get_texts()] == list(search.SEARCHES)
    assert len(right.get_xticklabels()) == 4


def test_a_search_must_beat_draws():
    said = find("search").verdict(search_table([0.74, 0.75, 0.76]))
    assert "optuna's best beside at random: 5.0 (2.5 to 7.5) points, better" in said
    told = "of the validation 60.0%, 60.0% are right, trial by trial; means over seeds"
    assert [f"{search}: {told}" in said for search in ("optuna", "at random")] == [True, True]
    assert said[-1].startswith("as published")
    said = find("search").verdict(search_table([0.60, 0.75, 0.76]))
    assert said[-1].startswith("differs: because beside as many draws: no difference seen")
    assert (
        find("search").verdict(search_table([0.9], 1))[-1].startswith("differs: because one seed")
    )


# --- spikes


class FewSpikes(spikes.SpikesOfNetworks):
    def points(self, quick):
        most = {name: strengths[-1] for name, strengths in spikes.STRENGTHS.items()}
        return [p for p in super().points(quick) if p["strength"] in (0, most[p["network"]])]


def test_spikes_of_a_small_file(tmp_path):
    table = small(FewSpikes(), tmp_path)
    for network in spikes.NETWORKS:
        none, punished = table.where(network=network, spikes=spikes.TRAINED)
        (deleted,) = table.where(network=network, spikes=spikes.DELETED)
        assert none["sent"] > punished["sent"] > 0
        assert deleted["sent"] == pytest.approx(punished["sent"], rel=0.03)
        assert deleted["control_accuracy"] == punished["accuracy"]
    assert deleted["sent"] == punished["sent"], "without a loop to the spike"


class FewestSpikes(FewSpikes):
    figure = Study.figure

    def points(self, quick):
        return [p for p in super().points(quick) if p["network"] == "exact"]

    def verdict(self, table):
        return ["as published"]


def test_spikes_are_deleted_in_the_recordings_that_were_tested(tmp_path, monkeypatch):
    monkeypatch.setattr(grid_networks, "_QUICK", {**SHORT, "recordings": 8})  # of 12 to test with
    table = small(FewestSpikes(), tmp_path)
    assert [row["n"] for row in table.rows] == [8, 8, 8]


def test_a_penalty_on_the_grid_by_hand():
    layers = [LIF(1, 2, tau_mem=1e9, dt=5e-3), LIF(2, 1, tau_mem=1e9, dt=5e-3)]
    nn.init.constant_(layers[0].weight, 2.0)
    nn.init.constant_(layers[1].weight, 0.1)
    model = nn.Sequential(*layers)
    penalty = spike_penalty(model, 6.0, 5e-3)
    model(torch.tensor([[[1.0], [0.0], [1.0], [0.0]], [[0.0], [0.0], [1.0], [0.0]]]))
    # two units fire with each of 3 inputs: 6 of 2 x 4 x 2; the other layer is silent
    found = penalty(model)
    assert found.item() == pytest.approx(6.0 / 2 * (6 / 16 + 0) / 2)
    found.backward()
    assert (layers[0].weight.grad > 0).all()


def test_a_penalty_on_events_by_hand():
    layer = CubaLIF(1, 3, tau_mem=20e-3, tau_syn=5e-3)
    nn.init.constant_(layer.weight, 1.5 * layer.unit_weight())
    model = nn.Sequential(layer)
    penalty = spike_penalty(model, 2.0, 5e-3)
    fired = model(Spikes([0.01], [0], size=1, duration=0.1))
    assert len(fired.times) == 3  # of three units in 20 steps
    found = penalty(model)
    assert found.item() == pytest.approx(2.0 / 2 * 3 / (3 * 20))
    found.backward()
    assert (layer.weight.grad > 0).all()


class Recorded:
    """Recordings as a data set gives them."""

    def __init__(self, given):
        self.given = given

    def batches(self, size):
        return (self.given[k : k + size] for k in range(0, len(self.given), size))


def test_spikes_that_are_deleted_reach_neither_loop_nor_readout():
    # each arrival makes the unit fire, and so does its own spike, a step later
    layer = LIF(1, 1, tau_mem=1e9, dt=5e-3, recurrent="dense", recurrent_delay=5e-3)
    nn.init.constant_(layer.weight, 2.0)
    nn.init.constant_(layer.recurrent_weight, 2.0)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, given):
            raster = torch.zeros(len(given), 50, 1)
            raster[:, 0] = 1.0
            return self.layer(raster).sum(1).repeat(1, 2)

    data = Recorded(Spikes([0.0] * 40, [0] * 40, range(41), 1, 0.25, [0] * 40))
    thinned = Thinned(Model(), 1)
    right, n, sent = thinned.run(data, 1.0, 16)
    assert (right, n, sent) == (40, 40, 40 * 50)
    # a chain of mean length p + p^2 + ... = 1 where half of them stay
    assert 15 < thinned.run(data, 0.5, 16)[2] < 80
    assert thinned.run(data, 0.5, 16) == thinned.run(data, 0.5, 16)
    assert thinned.run(data, 0.0, 16)[2] == 0
    assert thinned.to(300, data, 16)[2] == pytest.approx(300, rel=0.1)
    assert thinned.to(10**6, data, 16)[2] == 40 * 50


def test_events_that_are_deleted():
    hidden = CubaLIF(1, 4, tau_mem=20e-3, tau_syn=5e-3)
    nn.init.constant_(hidden.weight, 1.5 * hidden.unit_weight())
    model = nn.Sequential(hidden, CubaLI(4, 2, tau_mem=20e-3, tau_syn=5e-3))
    data = Recorded(Spikes([0.01] * 50, [0] * 50, range(51), 1, 0.1, [0] * 50))
    thinned = Thinned(model, 2)
    assert thinned.run(data, 1.0, 16)[2] == 200
    assert thinned.to(77, data, 16)[2] == 77
    looped = nn.Sequential(CubaLIF(1, 4, tau_mem=20e-3, tau_syn=5e-3, recurrent="dense"))
    with pytest.raises(ValueError, match="with a loop can't lose spikes"):
        Thinned(looped, 0)


def spikes_table(punished, deleted, seeds=3):
    rows = []
    for network in spikes.NETWORKS:
        for strength, kind, values, sent in (
            (0.0, spikes.TRAINED, [0.7] * seeds, 400), (3.0, spikes.TRAINED, punished, 100),
            (3.0, spikes.DELETED, deleted, 100),
        ):  # fmt: skip
            rows.append({"network": network, "strength": strength, "spikes": kind, "seeds": seeds,
                         "accuracy_of_seeds": values, "sent": sent})  # fmt: skip
    return Table(rows)


def test_all_spikes_are_in_the_picture():
    figure, table = new_figure(8, 5, ""), spikes_table([0.7], [0.5], 1)
    for row in table.rows:
        row |= {"accuracy": row["accuracy_of_seeds"][0], "sent": row["sent"] + 3000}
    find("spikes").figure(figure, table)
    assert [axes.get_xlim()[0] for axes in figure.axes] == [0, 0]
    assert all(axes.get_xlim()[1] > 3450 for axes in figure.axes), "of 3,400"


def test_a_penalty_must_cost_nothing_where_deleting_does():
    said = find("spikes").verdict(spikes_table([0.7, 0.71, 0.69], [0.5, 0.51, 0.52]))
    assert said[-1].startswith("as published") and "75% of delrec, 75% of exact" in said[-1]
    assert "75% fewer; beside no penalty 0.0 (-2.5 to 2.5) points, no difference seen" in said[0]
    said = find("spikes").verdict(spikes_table([0.6, 0.61, 0.59], [0.5, 0.51, 0.52]))
    assert said[-1].startswith("differs: because no penalty on delrec")
    said = find("spikes").verdict(spikes_table([0.7], [0.5], 1))
    assert said[-1].startswith("differs: because one seed")


# --- permuted


class FewOrders(permuted.Permuted):
    figure = Study.figure

    def control(self, point):
        found = super().control(point)
        return found if point["order"] == "permuted" else None

    def points(self, quick):
        kept = {("kernel", "all"), ("matrix", "all"), ("kernel", "near")}
        return [
            p for p in super().points(quick)
            if (p["loop"], p["inputs"]) in kept and p["draw"] < 2
            and (p["loop"] == "kernel" or p["when"] != "trained on")
            and (p["inputs"] == "all" or p["when"] == "from the start")
        ]  # fmt: skip

    def verdict(self, table):
        return ["as published"]


def test_orders_of_a_small_file(tmp_path, monkeypatch):
    monkeypatch.setattr(grid_networks, "_QUICK", {**SHORT, "recordings": 50})
    table = small(FewOrders(), tmp_path, 0.2, 300)
    assert {row["n"] for row in table.rows} == {50}, "of 60, all of them the same"
    own = table.row(loop="matrix", when="from the start", order="kept")
    matrix = table.row(loop="matrix", when="afterwards")
    kernel = table.row(loop="kernel", when="afterwards")
    assert matrix["largest_difference"] < 1e-9 and matrix["decisions_apart"] == 0
    assert matrix["accuracy"] == own["accuracy"] == matrix["control_accuracy"]
    assert kernel["largest_difference"] > 1e-6
    runs = tmp_path / "out" / "runs"
    (folder,) = (f for f in runs.iterdir() if "near" in f.name and "permuted" in f.name)
    state = grid_networks.kept_by(folder)
    wanted = permuted.near(8, 8)
    assert (state["hidden1.mask"] == permuted.near(8, 4)).all()
    assert (state["hidden2.mask"] != wanted).any()
    assert sorted(map(tuple, state["hidden2.mask"].tolist())) == sorted(map(tuple, wanted.tolist()))


@pytest.mark.parametrize("method", ["delrec", "conv-delrec"])
def test_a_permutation_moves_all_that_units_have_but_a_kernel(tmp_path, method):
    parts = open_parts(str(two_classes(tmp_path)))
    model, _ = grid_networks.on_grid(method, parts, (3, 4), 5e-3)
    before, order = model.state_dict(), torch.tensor([2, 0, 3, 1])
    after = permuted.reordered(before, order)
    for name in ("hidden2.weight", "hidden2.recurrent_delay", "hidden2.norm.running_mean"):
        assert (after[name] == before[name][order]).all()
    assert (after["readout.weight"][:, 3] == before["readout.weight"][:, 1]).all()
    assert all((after[name] == before[name]).all() for name in before if "hidden1" in name)
    loop, other = after["hidden2.recurrent_weight"], before["hidden2.recurrent_weight"]
    if method == "delrec":  # from the unit at place 1, which was 0, to that at 0, which was 2
        assert loop[0, 1] == other[2, 0] and loop[3, 2] == other[1, 3]
    else:
        assert (loop == other).all() and loop.shape == (3,)


def permuted_table(kernel, seeds=3):
    rows = []
    for point in find("permuted").points(True):
        low = point["order"] == "permuted" and point["loop"] == "kernel"
        rows.append({**point, "accuracy_of_seeds": kernel if low else [0.7] * seeds,
                     "largest_difference": 1e-15, "decisions_apart": 0.0})  # fmt: skip
    return Table(rows)


def test_orders_are_drawn():
    figure = new_figure(8, 5, "")
    table = permuted_table([0.6])
    for row in table.rows:
        row |= {"accuracy": row["accuracy_of_seeds"][0], "wilson_low": 0.5, "wilson_high": 0.8}
    find("permuted").figure(figure, table)
    assert [axes.get_title() for axes in figure.axes] == ["kernel", "matrix"]
    assert [len(axes.get_xticklabels()) for axes in figure.axes] == [5, 5]


def test_an_order_must_be_worth_something_from_the_start():
    said = find("permuted").verdict(permuted_table([0.66, 0.65, 0.64]))
    assert said[0] == (
        "kernel, all inputs, from the start: the order that was beside 1 permutation: "
        "5.0 (2.5 to 7.5) points, better"
    )
    assert said[-1].startswith("as published") and "differ by 1.0e-15 at most" in said[-2]
    said = find("permuted").verdict(permuted_table([0.70, 0.71, 0.69]))
    assert said[-1].startswith("differs: because units that all inputs reach")
    assert find("permuted").verdict(permuted_table([0.6], 1))[-1].endswith("has no interval")
