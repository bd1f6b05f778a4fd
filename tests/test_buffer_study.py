"""The study of what late loops cost: networks that fire alike, its table, its verdict."""

import json

import numpy as np
import pytest
import torch
from small_files import two_classes

from evsim import Spikes
from evsim.commands.study import run_study_on
from evsim.gradients.studies import find
from evsim.gradients.studies.papers import buffer
from evsim.gradients.studies.tables import Table, table_of


@pytest.mark.parametrize("quick", [False, True])
def test_every_point_has_its_control(quick):
    study = find("buffer")
    keys = [json.dumps(point) for point in study.points(quick)]
    assert len(set(keys)) == len(keys)
    for point in study.points(quick):
        control = study.control(point)
        assert (control is None) == (point["kind"] == "none")
        assert control is None or json.dumps(control) in keys
    assert {point["kind"] for point in study.points(quick)} == set(buffer.KINDS)


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    times, units = np.sort(rng.uniform(0, 1, (6, 300))).ravel(), rng.integers(0, 12, 1800)
    return Spikes(times, units, np.arange(7) * 300, 12, 1.2, np.arange(6) % 2)


@pytest.mark.parametrize("kind", buffer.KINDS)
def test_all_kinds_fire_as_often(kind, batch):
    torch.manual_seed(1)
    longest = None if kind in ("none", "plain") else 0.05
    model = buffer.network(kind, (batch.size, 20, 2), longest)
    buffer.make_fire(kind, model, batch)
    step = buffer.step_of(kind, model, batch)
    assert step() == pytest.approx(10 * 20 * len(batch), rel=0.03)
    late = model[0].delay if kind == "forward" else getattr(model[0], "recurrent_delay", None)
    if longest is not None:
        assert 0 < late.min() and 0.03 < late.max() <= longest and late.grad.any()


def test_what_is_measured(batch):
    torch.manual_seed(0)
    kinds = ("spread", "none")
    models = [buffer.network(kind, (batch.size, 8, 2), late) for kind, late in
              zip(kinds, (0.05, None), strict=True)]  # fmt: skip
    found = buffer.measured(kinds, models, batch, rounds=5)
    quarters = [found[f"{name}_seconds"] for name in ("quarter", "step", "three_quarters")]
    assert 0 < quarters[0] <= quarters[1] <= quarters[2]
    assert 0 < found["relative_seconds"] < 100 and found["peak_mib"] >= 0
    for name in found:
        assert name == "spikes" or name.endswith(("_seconds", "_mib"))


def table(buffer_grows):
    rows = []
    for kind in buffer.KINDS:
        for longest in (None,) if kind in ("none", "plain") else (0.01, 1.0):
            times = 5.0 if kind == "buffer" and longest == 1.0 and buffer_grows else 1.1
            rows.append({
                "kind": kind, "hidden": 64, "longest": longest, "relative_seconds": 2 * times,
                "peak_mib": 10 * times, "spikes": 100.0,
            })  # fmt: skip
    return Table(rows)


def test_verdict():
    said = find("buffer").verdict(table(True))
    assert said[-1].startswith("as published")
    assert said[2] == (
        "buffer, 64 units, longest delay 0.01 to 1 s: time times 4.55, memory times 4.55, "
        "spikes times 1.00"
    )
    assert "within 20% from the shortest to the longest: forward, spread, events" in said
    assert "buffer, 64 units, over no loop: time times 4.55, memory times 4.55" in said[7]
    assert find("buffer").verdict(table(False))[-1].startswith("differs: because")
    without = Table([{k: v for k, v in row.items() if k != "peak_mib"} for row in table(True).rows])
    said = find("buffer").verdict(without)  # not all systems tell
    assert "memory" not in said[2] and said[-1].startswith("as published")


class SomeBuffer(buffer.Buffer):
    def points(self, quick):
        return [buffer._point("none", 8, None), buffer._point("events", 8, 0.01)]

    def figure(self, figure, table):
        figure.subplots()

    def verdict(self, table):
        return ["as published"]


def test_a_small_file(tmp_path):
    data = two_classes(tmp_path, n=60)
    run_study_on(SomeBuffer(), str(data), str(tmp_path / "out"), quick=True, quiet=True, jobs=1)
    none, events = table_of((tmp_path / "out" / "table.csv").read_text()).rows
    assert events["control_relative_seconds"] == none["relative_seconds"]
    assert events["spikes"] > 0 < none["spikes"] and events["step_seconds"] > 0
