"""Studies of papers: their points, what they compute, and what they say of a table."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small_files import two_classes

from evsim import Dense, Network, Population
from evsim.commands.study import run_study_on
from evsim.gradients.layers import LI
from evsim.gradients.studies import bits_drawn, find, studies
from evsim.gradients.studies.papers import bits, precision, precision_why
from evsim.gradients.studies.tables import Table, table_of

# How many of a study's points have no control: with --quick, and without.
UNCONTROLLED = {
    "ablation": (1, 1), "bits": (3, 6), "buffer": (2, 2), "coding": (4, 4), "curves": (1, 1),
    "depth": (2, 2), "distributions": (7, 7), "equal-size": (2, 2), "frozen": (3, 5),
    "gain": (1, 1), "growth": (8, 16), "kinds": (1, 3), "ladder": (1, 1), "latency": (2, 3),
    "methods": (6, 6), "penalty": (1, 1), "permuted": (2, 2), "precision": (2, 3),
    "precision-why": (4, 7), "pruning": (1, 2), "rules": (74, 240), "search": (9, 29),
    "spikes": (2, 2), "tau": (1, 1), "three-factor": (1, 4), "weight-bits": (1, 1),
    "width": (4, 8),
}  # fmt: skip


def test_all_studies_of_the_papers_are_there_and_on_their_page():
    wanted = set(UNCONTROLLED) - {"precision-why"}  # which is a program of our own
    assert {one.name for one in studies()} >= wanted and len(wanted) == 26
    page = (Path(__file__).parent.parent / "docs" / "papers.md").read_text()
    assert [name for name in wanted if f"`evsim study {name} " not in page] == []


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("name", UNCONTROLLED)
def test_every_point_has_its_control_and_what_it_needs(name, quick):
    study = find(name)
    points = study.points(quick)
    keys = [json.dumps(point) for point in points]
    assert len(set(keys)) == len(keys)
    for point in points:
        for other in (study.control(point), study.needs(point)):
            assert other is None or json.dumps(other) in keys, point
    controls = [study.control(point) for point in points]
    assert controls.count(None) == UNCONTROLLED[name][not quick]


# --- bits


def row(weights, delays, how, accuracy, mbit, **more):
    usual = {"seeds": 3, "accuracy_deviation": 0.01, "delay_fraction": 0.5, "compared": "worse"}
    own = {"weights": weights, "delays": delays, "how": how, "accuracy": accuracy, "mbit": mbit}
    own["accuracy_of_seeds"] = [accuracy, accuracy + 0.01, accuracy - 0.01]
    return {**usual, **own, "difference": -0.1, "longest_delay": 0.3, **more}


def bits_table(cheap):
    return Table([
        row(32, "full", "trained", 0.95, 0.166, accuracy_of_seeds=[0.94, 0.96, 0.95]),
        row(32, "full", "random", 0.99, 0.166),
        row(8, "full", "trained", 0.94, 0.043), row(8, 3, "trained", 0.949, 0.041),
        row(8, 3, "rounded", 0.93, 0.041), row(1.58, 3, "trained", cheap, 0.0083),
        row(32, 6, "rounded", 0.96, 0.164),
    ])  # fmt: skip


def test_no_point_of_the_front_is_beaten():
    found = [(r["weights"], r["delays"]) for r in bits_drawn.front(bits_table(0.89))]
    assert found == [(1.58, 3), (8, 3), (32, 6)]  # random delays are a control, no candidate


def test_the_cheapest_within_a_standard_error_and_the_best():
    cheap, best = bits_drawn.chosen(bits_table(0.89))
    assert (cheap["weights"], best["weights"]) == (8, 32)
    assert any("as published" in line for line in find("bits").verdict(bits_table(0.946)))
    said = find("bits").verdict(bits_table(0.94))  # 0.95 - 0.01 / sqrt(3) is more
    assert said[-1].startswith(
        "differs: because within a standard error of full precision it is 4.0"
    )


def test_few_bits_that_are_worse_seed_by_seed_are_not_as_published():
    table = bits_table(0.9443)  # within 0.01 / sqrt(3), but in every seed as much below
    cheap, _ = bits_drawn.chosen(table)
    assert cheap["weights"] == 1.58
    cheap["accuracy_of_seeds"] = [0.934, 0.955, 0.944]
    said = find("bits").verdict(table)
    # 0.6, 0.5 and 0.6 points less: t(0.975, 2) / sqrt(3) = 2.48414
    assert "-0.6 (-0.7 to -0.4) points, worse" in said[-4]
    assert said[-1].startswith("differs: because 20.0 times") and "seed by seed" in said[-1]


def test_published_figures_stand_beside_a_point():
    study = find("bits")
    told = {study.published(p): p["how"] for p in study.points(False) if study.published(p)}
    assert [one[:4] for one in told] == ["abou", "94.0"] and set(told.values()) == {"rounded"}


def test_one_seed_says_nothing():
    table = Table([
        {**r, "seeds": 1, "compared": "one seed", "accuracy_of_seeds": r["accuracy_of_seeds"][:1]}
        for r in bits_table(0.95).rows
    ])  # fmt: skip
    assert find("bits").verdict(table)[-1] == "differs: because one seed has no interval"


def test_what_rounding_loses_is_told_by_bits():
    rows = [
        row(4, d, "rounded", 0.9, 0.02, compared=what, difference=-lost)
        for d, what, lost in ((0, "worse", 0.4), (1, "worse", 0.3), (2, "no difference seen", 0.01))
    ]
    told = bits._lost(Table(rows), 4)
    assert told.endswith("worse with 0 (40.0), 1 (30.0); no difference seen with 2 (1.0) bits")


@pytest.mark.parametrize(
    ("n", "expected"), [(0, [0.15] * 4), (1, [0.0, 0.0, 0.3, 0.3]), (2, [0.0, 0.1, 0.2, 0.3])]
)
def test_delays_are_rounded_to_the_nearest_of_a_grid(n, expected):
    late = Dense(pre="in", post="out", weight=np.ones((1, 4)), axonal_delay=[0.02, 0.11, 0.17, 0.3])
    sizes = [Population("in", "Input", 4), Population("out", "LI", 1, tau_mem=0.02)]
    found = bits.rounded(Network(sizes, [late]), n, 0.3).projections["in->out"].axonal_delay
    np.testing.assert_allclose(found, expected, rtol=1e-12)


# --- precision


def test_costs_are_paired_by_seed():
    accuracies = {
        ("none", "full"): [0.90, 0.88, 0.92], ("none", "ternary"): [0.80, 0.77, 0.83],
        ("axonal", "full"): [0.95, 0.96, 0.94], ("axonal", "ternary"): [0.93, 0.94, 0.92],
    }  # fmt: skip
    rows = [
        {"delays": d, "weights": w, "accuracy_of_seeds": of, "chance": 0.1}
        for d in ("none", "axonal")
        for w in precision.WEIGHTS
        for of in [accuracies[d, "full" if w.startswith("full") else "ternary"]]
    ]
    said = find("precision").verdict(Table(rows))
    assert said[0] == "chance: 10.0%"
    # 10, 11 and 9 points without, 2 each with: 8, 9 and 7 less, t(0.975, 2) / sqrt(3) = 2.48414
    assert "ternary, no delays: costs 10.0 (7.5 to 12.5) points" in said
    assert "axonal delays: costs 2.0 (2.0 to 2.0) points, 8.0 (5.5 to 10.5) less" in said[2]
    assert said[-1].startswith("as published")
    for one in rows:
        if one["delays"] == "axonal" and not one["weights"].startswith("full"):
            one["accuracy_of_seeds"] = [0.85, 0.95, 0.80]
    assert find("precision").verdict(Table(rows))[-1].startswith("differs: because 0 of 4")


# --- why


@pytest.mark.parametrize(
    ("change", "kinds", "values"),
    [
        ("as in precision", ["Ternary"], 3),
        ("fixed levels", ["Ternary"], 3),
        ("levels of each unit", ["_LevelsOfUnits"], 1 + 2 * 4),
        ("weight normalisation", ["_WeightNorm", "Ternary"], 3),
    ],
)
def test_what_is_changed_is_changed(change, kinds, values):
    torch.manual_seed(0)
    layer = LI(20, 4, tau_mem=20e-3)
    precision_why._make_ternary(layer, change)
    chain = layer.parametrizations.weight
    assert [type(part).__name__ for part in chain] == kinds
    assert len(layer.weight.unique()) == values
    if kinds == ["Ternary"]:
        assert chain[0].learn == (change != "fixed levels") and chain[0].per_unit
    if change == "weight normalisation":
        assert not chain[-1].per_unit


# --- whole, and small


class SomeBits(bits.Bits):
    def points(self, quick):
        wanted = [("full", "trained"), ("full", "random"), (1, "rounded"), (1, "trained")]
        return [bits._point(w, d, how) for w in (1.58, 32) for d, how in wanted]

    def verdict(self, table):
        return [bits._lost(table, 32)]


class SomePrecision(precision.Precision):
    def points(self, quick):
        return [{"delays": "axonal", "weights": w} for w in ("full", "learnt levels, full readout")]

    def figure(self, figure, table):
        figure.subplots().plot([row["accuracy"] for row in table.rows])

    def verdict(self, table):
        return ["as published"]


class SomeWhy(precision_why.PrecisionWhy):
    def points(self, quick):
        return [
            precision_why._point("two hidden layers", "axonal", w) for w in ("full", "ternary")
        ] + [precision_why._point("delays behind hidden units", "axonal", "full")]

    def control(self, point):
        return None

    def verdict(self, table):
        return ["as published"]


def small(study, tmp_path):
    data = two_classes(tmp_path, n=60)
    run_study_on(study, str(data), str(tmp_path / "out"), quick=True, quiet=True, jobs=1)
    return table_of((tmp_path / "out" / "table.csv").read_text())


def test_bits_of_a_small_file(tmp_path):
    table = small(SomeBits(), tmp_path)
    runs = tmp_path / "out" / "runs"
    few, full = (table.row(weights=w, delays=1, how="trained") for w in (1.58, 32))
    n_weights = 4 * 32 + 32 * 2
    assert full["mbit"] == pytest.approx((32 * n_weights + 4) / 1e6)
    assert few["mbit"] == pytest.approx((np.log2(3) * n_weights + 4) / 1e6)
    assert few["numbers"] == n_weights + 4 and full["delay_fraction"] == 1 / 33
    random = [
        Network.load(runs / "weights=32,delays=full,how=random,seed=0" / name)
        for name in ("initial.h5", "network.h5")
    ]
    late = [net.projections["input->hidden"].axonal_delay for net in random]
    assert (late[0] == late[1]).all()
    assert sum(full["delays_histogram"]) == pytest.approx(1.0)


def test_precision_of_a_small_file(tmp_path):
    table = small(SomePrecision(), tmp_path)
    full, few = table.rows
    assert full["chance"] == 0.5 and full["zeros"] == 0 < few["zeros"]
    assert few["mbit"] == pytest.approx((np.log2(3) * 4 * 32 + 32 * (32 * 2 + 4)) / 1e6)


def test_why_of_a_small_file(tmp_path):
    table = small(SomeWhy(), tmp_path)
    two, _, behind = table.rows
    assert two["numbers"] == 4 * 32 + 32 * 32 + 32 * 2 + 4 + 32
    assert behind["numbers"] == 4 * 32 + 32 * 2 + 32
