"""Two workers of Dask in processes of their own find what one process finds."""

import os
import signal
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest
from in_process import run

import evsim
from evsim import cluster as cluster_module
from evsim.commands import simulate as simulate_module
from evsim.commands.study import run_study_on
from evsim.files.locks import lock_folder
from evsim.files.result_files import ResultWriter
from evsim.gradients.studies import Study, Work, papers
from evsim.gradients.studies import workers as workers_module
from evsim.gradients.studies.points import PointsFile
from evsim.gradients.studies.tables import cell, table_of
from evsim.gradients.studies.workers import compute, workers

distributed = pytest.importorskip("distributed", reason="needs evsim[cluster]")
HERE = Path(__file__).parent
SIMULATE = ("simulate", "digits-demo.h5", "digits-spikes.h5", "--record", "hidden")


KNOW = f"""
from evsim.gradients.studies import papers
papers.__path__.append({str(HERE / "small_studies")!r})
"""


@pytest.fixture(scope="module")
def two():
    """Start two workers that know the studies of the tests."""
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address=":0",
        preload=[KNOW],
    ) as cluster:
        yield cluster


@pytest.fixture
def address(two, monkeypatch):
    monkeypatch.setattr(papers, "__path__", [*papers.__path__, str(HERE / "small_studies")])
    monkeypatch.setattr(simulate_module, "SPIKES_PER_THREAD", 4000)  # several batches
    return two.scheduler_address


def kill_a_worker(cluster):
    """End the process of a worker as the system does that lacks memory."""
    with distributed.Client(cluster, set_as_default=False) as client:
        os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)


def refused(done, folder):
    assert done.returncode == 2, done.stdout
    assert done.stderr.startswith("evsim: error: ") and done.stderr.count("\n") == 1, done.stderr
    assert list(folder.iterdir()) == []
    return done.stderr


def counted(monkeypatch, owner, name, number, act):
    """Let something happen when a method has been called so many times."""
    usual, n = getattr(owner, name), [0]

    def call(*given):
        usual(*given)
        n[0] += 1
        if n[0] == number:
            act()

    monkeypatch.setattr(owner, name, call)


def interrupt():
    raise KeyboardInterrupt


# --- simulations


def test_a_file_of_workers_is_that_of_one_machine_even_if_one_dies(
    two, address, tmp_path, monkeypatch
):
    more = ("--voltage", "readout", "--dt", "0.01")
    assert run(tmp_path, *SIMULATE, "-o", "one.h5", *more).returncode == 0
    counted(monkeypatch, ResultWriter, "append", 2, lambda: kill_a_worker(two))
    done = run(tmp_path, *SIMULATE, "-o", "two.h5", *more, "--dask", address)
    assert done.returncode == 0, done.stderr
    assert "compiled engine, 2 workers" in done.stdout
    assert (tmp_path / "two.h5").read_bytes() == (tmp_path / "one.h5").read_bytes()


def test_the_reference_and_ticks_run_on_workers(address, tmp_path):
    spikes = evsim.load_spikes(evsim.demo_path("digits-spikes.h5"))[:3]
    net = evsim.Network(
        [evsim.Population("in", "Input", 700), evsim.Population("out", "LIF", 2, tau_mem=0.02)],
        [evsim.Dense(pre="in", post="out", weight=np.full((2, 700), 0.3), delay=0.25)],
    )
    net.save(tmp_path / "net.h5")
    steps = spikes.replace((spikes.times * 4).round() / 4, spikes.units, spikes.offsets)
    evsim.save_spikes(tmp_path / "in.h5", steps)
    words = ("simulate", "net.h5", "in.h5", "--tick", "0.25", "--engine", "reference")
    files = []
    for name, more in (("one.h5", ()), ("two.h5", ("--dask", address))):
        done = run(tmp_path, *words, "-o", name, *more)
        assert done.returncode == 0, done.stderr
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]


def test_what_is_wrong_in_a_worker_is_told_in_a_line_and_no_file_is_left(address, tmp_path):
    data, work = tmp_path / "data", tmp_path / "work"
    data.mkdir(), work.mkdir()
    recordings = [([], []), ([0.12], [0]), ([], [])]  # one, or whoever is first is told
    spikes = evsim.Spikes.from_recordings(recordings, 1, duration=1.0)
    evsim.save_spikes(data / "in.h5", spikes)
    evsim.Network(
        [evsim.Population("in", "Input", 1), evsim.Population("out", "LIF", 9, tau_mem=0.02)],
        [
            evsim.Dense(pre="in", post="out", weight=np.full((9, 1), 2.0)),
            evsim.Dense(pre="out", post="out", weight=np.full((9, 9), 2.0), delay=1e-5),
        ],
    ).save(data / "net.h5")
    words = ("simulate", data / "net.h5", data / "in.h5", "-o", "out.h5")
    alone = refused(run(work, *words), work)
    assert "'out'" in alone and "in recording 1 by" in alone and "the limit is max_rate" in alone
    assert refused(run(work, *words, "--dask", address), work) == alone
    words = (*SIMULATE, "-o", "out.h5", "--threads", "2", "--dask", address)
    assert "--threads: with --dask" in refused(run(work, *words), work)


def test_an_interrupt_leaves_no_file(address, tmp_path, monkeypatch):
    counted(monkeypatch, ResultWriter, "append", 2, interrupt)
    done = run(tmp_path, *SIMULATE, "-o", "out.h5", "--dask", address)
    assert (done.returncode, done.stderr) == (130, "evsim: interrupted\n")
    assert list(tmp_path.iterdir()) == []


# --- studies


def told(folder):
    """Return the cells of a table that must have the same bits."""
    rows = table_of((folder / "out" / "table.csv").read_text()).rows
    return [{k: cell(v) for k, v in row.items() if "process_seconds" not in k} for row in rows]


def test_a_study_on_workers_finds_the_same_if_one_dies_and_after_an_interrupt(
    two, address, tmp_path, monkeypatch
):
    for name in ("one", "many"):
        (tmp_path / name).mkdir()
    words = ("study", "tiny", "digits", "-o", "out", "--seeds", "3")
    done = run(tmp_path / "one", *words, "--jobs", "1")
    assert done.returncode == 0, done.stderr
    with monkeypatch.context() as first:
        counted(first, PointsFile, "add", 4, interrupt)
        done = run(tmp_path / "many", *words, "--dask", address)
    assert done.returncode == 130 and "can go on: --resume" in done.stderr
    with monkeypatch.context() as then:
        counted(then, PointsFile, "add", 2, lambda: kill_a_worker(two))
        done = run(tmp_path / "many", *words, "--dask", address, "--resume")
    assert done.returncode == 0, done.stderr
    assert "4 of 18 points are done already" in done.stdout
    assert told(tmp_path / "many") == told(tmp_path / "one")


class Stands(Study):
    name, paper, title = "stands", "Z", "where a worker stands"

    def points(self, quick):
        return [{"a": 1}]

    def compute(self, point, work):
        return {"place": os.getcwd()}

    def verdict(self, table):
        return ["as published"]


def test_relative_paths_lead_from_where_the_command_stands(tmp_path):
    work, here = Work({"a": 1}, 0, tmp_path, "digits", True, None, None), os.getcwd()
    assert compute(Stands(), work, str(tmp_path)).measured == {"place": str(tmp_path)}
    assert compute(Stands(), work, str(tmp_path / "none")).measured == {"place": here}
    assert os.getcwd() == here


@pytest.mark.skipif(sys.platform == "win32", reason="there are no locks")
def test_a_worker_waits_for_one_that_a_killed_command_left_in_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(workers_module, "_LOOK", 0.01)
    work, found = Work({"a": 1}, 0, tmp_path, "digits", True, None, None), []
    left = lock_folder(tmp_path)
    waiting = threading.Thread(target=lambda: found.append(compute(Stands(), work)))
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive() and not found
    os.close(left)
    waiting.join(10)
    assert found[0].measured["place"] == os.getcwd()


def test_a_study_that_workers_cannot_import_is_told_and_they_live_on(
    two, address, tmp_path, monkeypatch
):
    here_only = types.ModuleType("here_only")
    here_only.Stands = type("Stands", (Stands,), {"__module__": "here_only"})
    monkeypatch.setitem(sys.modules, "here_only", here_only)
    asked = {"quiet": True, "quick": True, "dask": address}
    with pytest.raises(ValueError, match="a=1 seed=0: ModuleNotFoundError: .*'here_only'"):
        run_study_on(here_only.Stands(), "digits", str(tmp_path / "out"), **asked)
    assert len(two.scheduler_info["workers"]) > 0


def test_workers_must_see_the_folder(address, tmp_path):
    with pytest.raises(OSError, match="does not see it; studies need folders on a file system"):
        with workers(1, address, tmp_path / "elsewhere"):
            pass


# --- whom to ask


def test_what_is_wrong_with_the_address_is_told(two, address, tmp_path, monkeypatch):
    def told(where):
        return refused(run(tmp_path, *SIMULATE, "-o", "out.h5", "--dask", where), tmp_path)

    monkeypatch.setattr(cluster_module, "PATIENCE", 0.5)
    assert "missing port number" in told("somewhere") and "tcp://HOST:8786" in told("somewhere")
    assert "--dask tcp://127.0.0.1:1: no scheduler answers there" in told("tcp://127.0.0.1:1")
    worker = next(iter(two.scheduler_info["workers"]))
    assert "is a worker, not a scheduler" in told(worker)
    with distributed.LocalCluster(n_workers=0, dashboard_address=":0") as empty:
        assert "has no workers; start some with: dask worker" in told(empty.scheduler_address)


def test_workers_with_other_versions_are_refused(address, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster_module, "VERSION", "9.9")
    line = refused(run(tmp_path, *SIMULATE, "-o", "out.h5", "--dask", address), tmp_path)
    assert f"has evsim {evsim.__version__}, here 9.9; install the same versions" in line


def test_without_dask_the_extra_is_named(address, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    line = refused(run(tmp_path, *SIMULATE, "-o", "out.h5", "--dask", address), tmp_path)
    assert "--dask needs Dask; install it with: pip install evsim[cluster]" in line
    done = run(tmp_path, "study", "tiny", "digits", "-o", "out", "--dask", address)
    assert "pip install evsim[cluster]" in refused(done, tmp_path)
