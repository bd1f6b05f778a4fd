"""``evsim study``: what it refuses, how it ends; a kill or Ctrl-C costs a point at most."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from in_process import run

from evsim import Spikes, save_spikes
from evsim.gradients.studies import papers, studies
from evsim.gradients.studies.reporting import cited
from evsim.gradients.studies.study_folder import StudyFolder
from evsim.gradients.studies.tables import cell, table_of

HERE = Path(__file__).parent
KILLS = int(os.environ.get("EVSIM_KILLS", "1"))


@pytest.fixture(autouse=True)
def small_studies(monkeypatch):
    monkeypatch.setattr(papers, "__path__", [*papers.__path__, str(HERE / "small_studies")])


def study(folder, *more, name="tiny", data="digits"):
    return run(folder, "study", name, data, "-o", "out", "--jobs", "1", *more)


def refused(done):
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if "warning" not in line]
    assert len(lines) == 1 and lines[0].startswith("evsim: error: "), done.stderr
    return lines[0]


def told(folder):
    """Return the cells of the table that must have the same bits."""
    rows = table_of((folder / "out" / "table.csv").read_text()).rows
    return [{n: cell(v) for n, v in row.items() if "process_seconds" not in n} for row in rows]


def test_studies_are_listed(tmp_path):
    done = run(tmp_path, "study", "--list")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].split()[:2] == ["name", "minutes"] and "two cores" in lines[-1]
    assert [line for line in lines if line.startswith("tiny ")][0].split(maxsplit=2)[1:] == [
        "?",
        "Z: Fig 1: whether larger urns hold more marbles",
    ]


def test_papers_are_told_by_name_where_studies_tell_letters(tmp_path):
    lines = run(tmp_path, "study", "--list").stdout.splitlines()
    for one in studies():
        assert one.name == "tiny" or cited(one), one.paper
        for letter in cited(one):
            assert f"{letter}: {papers.PAPERS[letter]}" in lines


def test_every_study_of_a_paper_tells_its_minutes():
    for one in studies():
        assert one.name == "tiny" or one.minutes, one.name


def test_a_study_runs_and_is_told(tmp_path):
    done = study(tmp_path, "--quick")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len([line for line in lines if "seed=0  accuracy" in line]) == 4
    assert any(line.startswith("QUICK") for line in lines)
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == ["figure.png", "options.json", "points.jsonl", "report.txt", "table.csv"]
    options = json.loads((tmp_path / "out" / "options.json").read_text())
    assert options["quick"] is True and set(options["versions"]) == {"evsim", "numpy", "torch"}
    again = study(tmp_path, "--quick", "--resume", "-q")
    assert (again.returncode, again.stdout) == (0, "")


def test_what_is_wrong_with_arguments_is_told_in_a_line(tmp_path):
    assert "nearest is tiny" in refused(study(tmp_path, name="tinny"))
    assert "nothing" in refused(study(tmp_path, data="nothing.h5"))
    assert "seeds = 0" in refused(study(tmp_path, "--seeds", "0"))
    assert "jobs = 0" in refused(run(tmp_path, "study", "tiny", "digits", "-o", "out", "--jobs", 0))
    assert "no study to go on with" in refused(study(tmp_path / ".", "--resume", "--quick"))
    (tmp_path / "file").write_text("")
    assert "is a file" in refused(run(tmp_path, "study", "tiny", "digits", "-o", "file"))
    assert "does not exist" in refused(run(tmp_path, "study", "tiny", "digits", "-o", "a/b"))
    assert "Missing argument" in refused(run(tmp_path, "study"))


def test_a_study_goes_on_with_the_same_options_only(tmp_path):
    assert study(tmp_path, "--quick", "--seeds", "2").returncode == 0
    assert "not empty; give --resume" in refused(study(tmp_path, "--quick"))
    before = (tmp_path / "out" / "points.jsonl").read_bytes()
    assert "quick = True, not False" in refused(study(tmp_path, "--resume"))
    assert "data = digits" in refused(study(tmp_path, "--resume", "--quick", data="yin-yang"))
    assert "seeds = 2, not 1" in refused(study(tmp_path, "--resume", "--quick", "--seeds", "1"))
    assert (tmp_path / "out" / "points.jsonl").read_bytes() == before
    done = study(tmp_path, "--resume", "--quick", "--seeds", "3")
    assert done.returncode == 0 and "8 of 12 points are done already" in done.stdout
    assert (tmp_path / "out" / "points.jsonl").read_bytes().startswith(before)
    grown = told(tmp_path)
    (tmp_path / "anew").mkdir()
    assert study(tmp_path / "anew", "--quick", "--seeds", "3").returncode == 0
    assert told(tmp_path / "anew") == grown


def test_data_that_nothing_can_be_trained_with_are_refused_before_any_point(tmp_path):
    for n, classes, told in (
        (0, 3, "no recordings to train"),
        (3, 3, "to validate"),
        (30, 1, "one class"),
    ):
        pairs = [([0.01, 0.1], [0, 1])] * n
        spikes = Spikes.from_recordings(pairs, size=2, duration=0.2, labels=np.arange(n) % classes)
        save_spikes(tmp_path / "few.h5", spikes, overwrite=True)
        line = refused(study(tmp_path, "--quick", data="few.h5"))
        assert told in line and "points" not in line
        assert not (tmp_path / "out").exists()


def test_what_can_not_be_written_is_not_laid_upon_the_points(tmp_path):
    assert study(tmp_path, "--quick").returncode == 0
    (tmp_path / "out" / "report.txt").unlink()
    (tmp_path / "out" / "report.txt").mkdir()
    line = refused(study(tmp_path, "--quick", "--resume"))
    assert "report.txt: is a folder" in line and "points.jsonl" not in line


def test_other_versions_are_told(tmp_path):
    study(tmp_path, "--quick")
    path = tmp_path / "out" / "options.json"
    options = json.loads(path.read_text())
    options["versions"]["numpy"] = "1.0"
    path.write_text(json.dumps(options))
    done = study(tmp_path, "--quick", "--resume")
    assert done.returncode == 0 and done.stderr.count("\n") == 1 and "numpy 1.0, now" in done.stderr
    path.write_text("{")
    assert "options.json" in refused(study(tmp_path, "--quick", "--resume"))
    path.write_text(json.dumps({**options, "seeds": "three"}))
    assert "seeds = 'three'" in refused(study(tmp_path, "--quick", "--resume"))


def test_a_folder_in_use_is_refused(tmp_path):
    pytest.importorskip("fcntl")
    with StudyFolder(tmp_path / "out"):
        assert "another study is at work" in refused(study(tmp_path))


def test_points_that_fail_are_told_and_the_others_go_on(tmp_path, monkeypatch):
    monkeypatch.setenv("TINY_FAILS", "large")
    line = refused(study(tmp_path, "--seeds", "1"))
    assert "2 points and 2 that need them of 6 failed" in line and "--resume" in line
    assert "urn=large share=0.5 seed=0: ValueError: the large urn is broken" in line
    assert "Traceback" in (tmp_path / "out" / "errors.txt").read_text()
    assert len((tmp_path / "out" / "points.jsonl").read_text().splitlines()) == 2
    assert not (tmp_path / "out" / "table.csv").exists()
    monkeypatch.setenv("TINY_FAILS", "")
    done = study(tmp_path, "--seeds", "1", "--resume")
    assert done.returncode == 0 and not (tmp_path / "out" / "errors.txt").exists()
    (tmp_path / "anew").mkdir()
    study(tmp_path / "anew", "--seeds", "1")
    assert told(tmp_path / "anew") == told(tmp_path)


def start(folder, *more):
    """Start the command with two workers, and wait for its first line."""
    words = [sys.executable, HERE / "study_command.py", "study", "tiny", "digits", "-o", "out"]
    process = subprocess.Popen(
        [*words, "--jobs", "2", "--seeds", "30", *more],
        cwd=folder,
        env={**os.environ, "TINY_WAITS": "0.05"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    points = folder / "out" / "points.jsonl"
    n = points.stat().st_size if points.exists() else 0
    begin = time.perf_counter()
    while not points.exists() or points.stat().st_size <= n + 500:
        assert time.perf_counter() - begin < 120 and process.poll() is None
        time.sleep(0.01)
    return process


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_after_kills_and_ctrl_c_a_study_ends_as_if_there_had_been_none(tmp_path):
    moments = random.Random(0)
    process = start(tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)  # until its workers are gone, too
    assert process.returncode == 130 and "Traceback" not in err, err
    assert err.splitlines() == ["evsim: out can go on: --resume", "evsim: interrupted"]
    for _ in range(KILLS):
        n = len((tmp_path / "out" / "points.jsonl").read_text().splitlines())
        process = start(tmp_path, "--resume")
        time.sleep(moments.uniform(0, 0.1))
        process.kill()
        out, err = process.communicate(timeout=60)
        kept = (tmp_path / "out" / "points.jsonl").read_text().splitlines()
        assert "are done already" in out and len(kept) > n
        assert len(kept) - n >= out.count("seed=")  # what was told is kept
    done = study(tmp_path, "--resume")
    assert done.returncode == 0, done.stderr
    (tmp_path / "anew").mkdir()
    assert study(tmp_path / "anew", "--seeds", "30").returncode == 0
    assert told(tmp_path) == told(tmp_path / "anew")
