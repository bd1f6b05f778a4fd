"""``evsim check``: reports, exit statuses, options, and what it refuses."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from in_process import run

import evsim
from evsim import Dense, Network, Population, Spikes
from evsim.commands.check import REPORT_FILES


def refused(folder: Path, *arguments: object) -> str:
    before = sorted(folder.rglob("*"))
    done = run(folder, "check", *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    assert re.fullmatch(r"evsim: error: [^\n]+\n", done.stderr)
    assert sorted(folder.rglob("*")) == before, "something was left behind"
    return done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small network and ten labelled recordings."""
    rng = np.random.default_rng(1)
    taus = {"tau_mem": 20e-3, "tau_syn": 8e-3}
    populations = [
        Population("in", "Input", 4),
        Population("hidden", "CubaLIF", 6, **taus),
        Population("out", "CubaLI", 2, output="integral", tau_output=0.1, **taus),
    ]
    late = rng.uniform(0, 10e-3, (6, 4))
    into = Dense(pre="in", post="hidden", weight=rng.uniform(1, 3, (6, 4)), delay=late)
    out = Dense(pre="hidden", post="out", weight=rng.normal(0, 1, (2, 6)))
    evsim.save_network(tmp_path / "net.h5", Network(populations, [into, out]))
    made = [(0.05 * rng.random(8), rng.integers(0, 4, 8)) for _ in range(10)]
    labels = np.arange(10) % 2
    evsim.save_spikes(tmp_path / "spikes.h5", Spikes.from_recordings(made, 4, 0.2, labels))
    return tmp_path


FILES = ("net.h5", "spikes.h5")


def test_a_report_holds_what_was_printed(folder: Path) -> None:
    done = run(folder, "check", *FILES, "--dt", "1e-3", "2e-4", "-o", "report")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    report = folder / "report"
    assert sorted(p.name for p in report.iterdir()) == sorted(REPORT_FILES)
    assert done.stdout.startswith((report / "report.txt").read_text().rstrip("\n"))
    data = json.loads((report / "report.json").read_text())
    assert data["passed"] and data["dt"] == [1e-3, 2e-4]
    assert data["network_digest"] == evsim.network_digest(folder / "net.h5")
    assert [s["dt"] for s in data["spikes"]] == [1e-3, 2e-4]
    assert data["orders"][0]["order"] > 0.9
    assert data["decisions"][0]["n"] == 10
    assert (report / "check.png").read_bytes()[:4] == b"\x89PNG"


def test_without_a_report_nothing_is_written(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    done = run(folder, "check", *FILES, "--dt", "2e-4")
    assert done.returncode == 0
    assert "PASS" in done.stdout and "report in" not in done.stdout
    assert sorted(folder.rglob("*")) == before


def test_a_failed_check_is_status_1_and_says_what_failed(folder: Path) -> None:
    done = run(folder, "check", *FILES, "--dt", "2e-4", "--max-time-error", "1e-3", "-o", "report")
    assert done.returncode == 1
    assert done.stderr == ""
    assert "FAIL: hidden, dt = 0.2 ms: median time error" in done.stdout
    assert not json.loads((folder / "report/report.json").read_text())["passed"]


@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        ("--dt 1e-3 5e-4 net.h5 spikes.h5", [1e-3, 5e-4]),
        ("--dt 5e-4 1e-3 1e-3 -- net.h5 spikes.h5", [1e-3, 5e-4]),
        ("net.h5 --dt 1e-3 --dt 5e-4 spikes.h5", [1e-3, 5e-4]),
        ("net.h5 spikes.h5 --dt=1e-3 5e-4", [1e-3, 5e-4]),
        ("net.h5 spikes.h5 --dt 1e-3 --min-order 0.5 --trained grid", [1e-3]),
        ("net.h5 spikes.h5 --recordings 3", [1e-3, 5e-4, 2e-4, 1e-4]),
    ],
)
def test_steps(folder: Path, arguments: str, steps: list[float]) -> None:
    done = run(folder, "check", "-o", "report", *arguments.split())
    assert done.returncode in (0, 1), done.stderr
    assert json.loads((folder / "report/report.json").read_text())["dt"] == steps


def test_recordings_are_spaced_over_the_file_and_keep_their_numbers(folder: Path) -> None:
    run(folder, "check", *FILES, "--dt", "1e-2", "--recordings", "2", "-o", "report")
    data = json.loads((folder / "report/report.json").read_text())
    assert (data["n_recordings"], data["recordings_in_file"]) == (2, 10)
    assert data["spikes"][0]["first_loss"]["recording"] in (0, 9)


def test_trained_on_a_grid(folder: Path) -> None:
    done = run(folder, "check", *FILES, "--dt", "1e-4", "--trained", "grid")
    assert "delays and input rounded" in done.stdout
    assert "order of convergence" not in done.stdout


def test_reports_are_replaced_only_when_asked_for(folder: Path) -> None:
    short = (*FILES, "--dt", "2e-4", "-o", "report")
    assert run(folder, "check", *short).returncode == 0
    first = (folder / "report/report.json").read_text()
    assert "--overwrite" in refused(folder, *short)
    assert run(folder, "check", *short, "--recordings", "3", "--overwrite").returncode in (0, 1)
    assert (folder / "report/report.json").read_text() != first
    assert sorted(p.name for p in folder.iterdir()) == ["net.h5", "report", "spikes.h5"]


def test_other_folders_and_files_are_never_replaced(folder: Path) -> None:
    assert "net.h5" in refused(folder, *FILES, "-o", ".", "--overwrite")
    assert "is no folder" in refused(folder, *FILES, "-o", "net.h5", "--overwrite")
    assert "does not exist" in refused(folder, *FILES, "-o", "no/report")


def test_a_report_is_whole_or_absent(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    short = (*FILES, "--dt", "2e-4", "-o", "report")
    assert run(folder, "check", *short).returncode == 0
    first = (folder / "report/report.json").read_bytes()
    monkeypatch.setattr("evsim.gradients.cross_check.plots.plot_check", full)
    assert "No space left" in refused(folder, *short, "--overwrite")
    assert (folder / "report/report.json").read_bytes() == first
    assert "No space left" in refused(folder, *FILES, "--dt", "2e-4", "-o", "new")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--dt 0", "dt = 0"),
        ("--dt -1e-3", "dt = -0.001"),
        ("--dt nan", "dt = nan"),
        ("--dt 1e-15", "too many"),
        ("--dt", "requires an argument"),
        ("--recordings 0", "recordings = 0"),
        ("--trained both", "--trained"),
        ("--device abacus", "device = 'abacus'"),
        ("--min-match nan", "min_match = nan"),
    ],
)
def test_bad_options(folder: Path, options: str, message: str) -> None:
    assert message in refused(folder, *FILES, *options.split())


def test_bad_files(folder: Path) -> None:
    assert "looks like a spike" in refused(folder, "spikes.h5", "net.h5")
    assert "none.h5" in refused(folder, "none.h5", "spikes.h5")
    for name in FILES:
        whole = (folder / name).read_bytes()
        (folder / "cut.h5").write_bytes(whole[: len(whole) // 2])
        files = ["cut.h5" if f == name else f for f in FILES]
        assert "cut.h5" in refused(folder, *files)
    evsim.save_spikes(folder / "none.h5", Spikes([], [], [0], size=4, duration=0.1))
    assert "holds no recordings" in refused(folder, "net.h5", "none.h5")
    evsim.save_spikes(folder / "wide.h5", Spikes([0.1], [4], size=5, duration=0.2))
    assert "5 units" in refused(folder, "net.h5", "wide.h5")


def test_networks_that_no_dense_layer_can_say(folder: Path) -> None:
    net = evsim.load_network(folder / "net.h5")
    skip = Dense(pre="in", post="out", weight=np.ones((2, 4)))
    both = Network(net.populations.values(), [*net.projections.values(), skip])
    evsim.save_network(folder / "skip.h5", both)
    message = refused(folder, "skip.h5", "spikes.h5")
    assert "can't be run on a grid" in message and "'out' listens to" in message


def test_without_torch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "pip install evsim[torch]" in refused(folder, *FILES)


def test_without_matplotlib(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    message = refused(folder, *FILES, "-o", "report", "--dt", "1e-9")  # before any work
    assert "pip install evsim[plot]" in message
    assert run(folder, "check", *FILES, "--dt", "2e-4").returncode == 0
