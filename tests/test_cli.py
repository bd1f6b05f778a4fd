"""The command line as a subprocess, on the real recordings that come with evsim."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import evsim
from evsim.commands.cli import main
from evsim.files.demo import demo_names, demo_path

MODEL, SPIKES = "digits-demo.h5", "digits-spikes.h5"
Edit = Callable[[h5py.File], None]


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "evsim", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def refused(folder: Path, *arguments: object) -> str:
    """Run a command that must fail, and return its message."""
    before = sorted(os.listdir(folder))
    done = run(folder, *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert re.fullmatch(r"evsim: error: [^\n]+\n", done.stderr)
    assert sorted(os.listdir(folder)) == before, "something was left behind"
    return done.stderr


def contents(path: Path) -> dict[str, Any]:
    """Return all data sets and attributes of a file, variable-length ones as lists."""
    found: dict[str, Any] = {}

    def visit(name: str, node: h5py.Group | h5py.Dataset) -> None:
        found.update({f"{name}@{key}": str(value) for key, value in node.attrs.items()})
        if isinstance(node, h5py.Dataset):
            vlen = h5py.check_vlen_dtype(node.dtype) is not None
            found[name] = [a.tobytes() for a in node[()]] if vlen else node[()].tobytes()

    with h5py.File(path) as file:
        visit("", file)
        file.visititems(visit)
    return found


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result with everything in it."""
    folder = tmp_path_factory.mktemp("result")
    options = "--record input --record hidden --voltage readout --voltage hidden --dt 0.01"
    done = run(folder, "simulate", MODEL, SPIKES, "-o", "out.h5", *options.split())
    assert done.returncode == 0, done.stderr
    return folder / "out.h5"


# What works


@pytest.mark.quiet
def test_help_is_quick(tmp_path: Path) -> None:
    def seconds() -> float:
        start = time.perf_counter()
        assert "simulate" in run(tmp_path, "--help").stdout
        return time.perf_counter() - start

    assert min(seconds() for _ in range(3)) < 0.5


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, evsim.commands.cli as c\ntry: c.main(['--help'])\nfinally: print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert "evsim.commands.cli" in loaded
    for name in ("numba", "matplotlib", "tqdm"):
        assert f" {name} " not in loaded


@pytest.mark.parametrize("command", [[], ["--help"], ["simulate", "--help"], ["plot", "--help"]])
def test_help_goes_to_stdout(tmp_path: Path, command: list[str]) -> None:
    done = run(tmp_path, *command)
    assert done.returncode == 0 and done.stderr == ""
    assert "Usage: evsim" in done.stdout and "digits-" in done.stdout


def test_version(tmp_path: Path) -> None:
    assert run(tmp_path, "--version").stdout == f"evsim {evsim.__version__}\n"


@pytest.mark.quiet
def test_simulate_starts_soon(tmp_path: Path, result: Path) -> None:
    start = time.perf_counter()  # `result` has seen to it that everything is compiled
    assert run(tmp_path, "simulate", MODEL, SPIKES, "-o", "out.h5").returncode == 0
    assert time.perf_counter() - start < 3  # 1.3 s on an idle machine


def test_simulate_tells_what_it_did(tmp_path: Path) -> None:
    done = run(tmp_path, "simulate", MODEL, SPIKES, "-o", "out.h5")
    assert done.returncode == 0 and done.stderr == ""
    with h5py.File(tmp_path / "out.h5") as file:
        n_spikes = sum(len(times) for times in file["populations/hidden/spikes/times"])
        right = file["populations/readout/output"][()].argmax(1) == file["labels"][()]
        assert set(file["populations"]) == {"hidden", "readout"}  # not the input
        assert "extra/keys" in file and file.attrs["evsim_version"] == evsim.__version__
        assert file.attrs["network_digest"] == evsim.files.network_digest(demo_path(MODEL))
    rate = n_spikes / 64 / 11
    assert "11 recordings of 1 s (as the spike file says)" in done.stdout
    assert f"hidden: {n_spikes:,} spikes, {rate:.2f} Hz per unit" in done.stdout
    assert f"accuracy {right.mean():.1%} ({right.sum()} of 11)" in done.stdout
    assert "times real time" in done.stdout
    assert "evsim plot out.h5 -o out.png" in done.stdout


def test_the_demo_network_does_better_than_chance(result: Path) -> None:
    answers = evsim.load_result(result).output["readout"].argmax(1)
    labels = evsim.load_spikes(demo_path(SPIKES)).labels
    assert (answers == labels).sum() >= 4  # of 11; 1 by chance


def test_recorded_spikes_and_voltages_are_those_of_the_library(result: Path) -> None:
    net, spikes = evsim.Network.load(demo_path(MODEL)), evsim.load_spikes(demo_path(SPIKES))
    times = np.arange(100) * 0.01
    expected = evsim.simulate(net, spikes, voltage={"readout": times, "hidden": times})
    found = evsim.load_result(result)
    assert set(found.spikes) == {"input", "hidden"} and set(found.voltage) == {"readout", "hidden"}
    for train, wanted in (("input", spikes), ("hidden", expected.spikes["hidden"])):
        np.testing.assert_array_equal(found.spikes[train].times, wanted.times)
        np.testing.assert_array_equal(found.spikes[train].units, wanted.units)
        np.testing.assert_array_equal(found.spikes[train].offsets, wanted.offsets)
    for name, voltage in expected.voltage.items():
        np.testing.assert_array_equal(found.voltage_times[name], times)
        np.testing.assert_array_equal(found.voltage[name], voltage)
    np.testing.assert_array_equal(found.output["readout"], expected.output["readout"])


def test_the_number_of_threads_does_not_show_in_the_file(tmp_path: Path) -> None:
    for n in (1, 2):
        arguments = ("simulate", MODEL, SPIKES, "-o", f"{n}.h5", "--threads", n)
        assert run(tmp_path, *arguments).returncode == 0
    assert contents(tmp_path / "1.h5") == contents(tmp_path / "2.h5")


def test_duration_ends_the_run(tmp_path: Path) -> None:
    arguments = ("simulate", MODEL, SPIKES, "-o", "out.h5", "--duration", 0.4)
    done = run(tmp_path, *arguments, "--record", "input", "--record", "hidden")
    spikes = evsim.load_spikes(demo_path(SPIKES))
    n_before = int((spikes.times < 0.4).sum())
    assert f"of 0.4 s (as asked for), {n_before:,} input spikes" in done.stdout
    found = evsim.load_result(tmp_path / "out.h5")
    assert found.duration == 0.4
    assert len(found.spikes["input"].times) == n_before < len(spikes.times)
    assert 0.3 < found.spikes["hidden"].times.max() < 0.4
    expected = evsim.simulate(evsim.Network.load(demo_path(MODEL)), spikes, duration=0.4)
    np.testing.assert_array_equal(found.output["readout"], expected.output["readout"])


def test_a_file_without_duration_is_measured(tmp_path: Path) -> None:
    write_spikes(tmp_path / "spikes.h5", [[0.3, 0.1], []], [[1, 600], []])  # not sorted: accepted
    done = run(tmp_path, "simulate", MODEL, "spikes.h5", "-o", "out.h5", "--record", "input")
    assert done.returncode == 0, done.stderr
    assert "2 recordings of 0.4 s (the last spike is at 0.3 s)" in done.stdout
    assert "accuracy" not in done.stdout  # no labels
    found = evsim.load_result(tmp_path / "out.h5").spikes["input"]
    np.testing.assert_array_equal(found.times, [0.1, 0.3])
    np.testing.assert_array_equal(found.units, [600, 1])


def test_the_reference_engine_gives_the_same(tmp_path: Path, result: Path) -> None:
    few = evsim.load_spikes(demo_path(SPIKES))[:1]
    evsim.save_spikes(tmp_path / "one.h5", few)
    arguments = ("simulate", MODEL, "one.h5", "-o", "out.h5", "--engine", "reference")
    assert "reference engine" in run(tmp_path, *arguments).stdout
    found, expected = (evsim.load_result(p) for p in (tmp_path / "out.h5", result))
    one = expected.spikes["hidden"][0]
    np.testing.assert_array_equal(found.spikes["hidden"].units, one.units)
    np.testing.assert_allclose(found.spikes["hidden"].times, one.times, rtol=1e-9)


def test_a_result_is_a_spike_file(tmp_path: Path) -> None:
    net = evsim.Network(
        [evsim.Population("input", "Input", 700), evsim.Population("out", "LIF", 2, tau_mem=0.02)],
        [evsim.Dense(pre="input", post="out", weight=np.full((2, 700), 0.1), delay=np.array(0.01))],
    )
    net.save(tmp_path / "net.h5")
    assert run(tmp_path, "simulate", "net.h5", SPIKES, "-o", "out.h5").returncode == 0
    again = run(tmp_path, "info", "out.h5").stdout
    spikes = evsim.load_spikes(tmp_path / "out.h5")
    assert len(spikes.times) > 100 and f"{len(spikes.times):,} spikes" in again


def test_an_existing_result_is_replaced_only_if_asked(tmp_path: Path) -> None:
    (tmp_path / "out.h5").write_text("mine")
    message = refused(tmp_path, "simulate", MODEL, SPIKES, "-o", "out.h5")
    assert "out.h5: exists already; give --overwrite" in message
    assert (tmp_path / "out.h5").read_text() == "mine"
    assert run(tmp_path, "simulate", MODEL, SPIKES, "-o", "out.h5", "--overwrite").returncode == 0
    assert "hidden" in evsim.load_result(tmp_path / "out.h5").spikes


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    arguments = ["simulate", MODEL, SPIKES, "-o", "out.h5", "--engine", "reference"]
    command = [sys.executable, "-m", "evsim", *arguments]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not os.listdir(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)  # until the temporary file is there
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1].strip() == "evsim: interrupted"
    assert process.returncode == 130
    assert os.listdir(tmp_path) == []


def test_info_on_spikes(tmp_path: Path) -> None:
    told = run(tmp_path, "info", SPIKES).stdout
    spikes = evsim.load_spikes(demo_path(SPIKES))
    assert "recordings  11" in told and "units       700" in told
    assert f"{len(spikes.times):,} spikes" in told
    assert re.search(r"2 two +2 recordings", told)
    assert "AudioMNIST" in told  # where they come from


def test_info_on_a_network(tmp_path: Path) -> None:
    told = run(tmp_path, "info", MODEL).stdout
    assert "hidden: CubaLIF, 64 units" in told and "tau_mem     20 ms" in told
    assert "input->hidden: sparse" in told and "3,072 synapses" in told
    assert "synaptic delay min" in told and "axonal delay" in told and "####" in told
    assert "sha256: " + evsim.files.network_digest(demo_path(MODEL)) in told


def test_info_on_a_result(result: Path) -> None:
    told = run(result.parent, "info", "out.h5").stdout
    right = evsim.load_result(result).output["readout"].argmax(1)
    right = right == evsim.load_spikes(demo_path(SPIKES)).labels
    assert f"accuracy {right.mean():.1%}" in told
    assert "voltage     11 x 100 x 10" in told and f"evsim_version: {evsim.__version__}" in told


@pytest.mark.parametrize("file", [MODEL, SPIKES, "result"])
def test_plot_writes_a_picture(tmp_path: Path, result: Path, file: str) -> None:
    pytest.importorskip("matplotlib")
    path = result if file == "result" else file
    which = [] if file == MODEL else ["--recording", 3]
    done = run(tmp_path, "plot", path, "-o", "picture.png", *which)
    assert done.returncode == 0 and done.stderr == ""
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert "exists already" in refused(tmp_path, "plot", path, "-o", "picture.png")


# What is refused


def write_spikes(path: Path, times: list[Any], units: list[Any], **attributes: object) -> None:
    """Write a file in SHD layout that nobody has checked."""
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)
        for name, rows, dtype in (("times", times, np.float64), ("units", units, np.int64)):
            data = file.create_dataset(f"spikes/{name}", (len(rows),), h5py.vlen_dtype(dtype))
            for i, row in enumerate(rows):
                data[i] = np.array(row, dtype)


def write_model(path: Path, edit: Edit) -> None:
    shutil.copy(demo_path(MODEL), path)
    with h5py.File(path, "a") as file:
        edit(file)


def put(path: str, index: Any, value: Any) -> Edit:
    def edit(file: h5py.File) -> None:
        data = file[path][()]
        data[index] = value
        swap(path, data)(file)

    return edit


def swap(path: str, data: Any) -> Edit:
    def edit(file: h5py.File) -> None:
        del file[path]
        file[path] = data

    return edit


def drop(path: str) -> Edit:
    return lambda file: file.pop(path) and None


@pytest.mark.parametrize(
    ("times", "units", "message"),
    [
        ([[0.1], [0.2, np.nan]], [[0], [1, 2]], r"spikes/times: recording 1, index 1: nan"),
        ([[0.1, np.inf]], [[0, 1]], r"spikes/times: recording 0, index 1: inf"),
        ([[-0.25]], [[0]], r"spikes/times: recording 0, index 0: -0\.25"),
        ([[0.1]], [[700]], r"spikes/units: recording 0, index 0: 700; .* from 0 to 699"),
        ([[0.1, 0.2]], [[1]], r"spikes/units: recording 0 has 1 units, but 2 times"),
        ([], [], r"holds no recordings"),
    ],
)
def test_bad_spikes(tmp_path: Path, times: list[Any], units: list[Any], message: str) -> None:
    write_spikes(tmp_path / "spikes.h5", times, units)
    told = refused(tmp_path, "simulate", MODEL, "spikes.h5", "-o", "out.h5")
    assert re.search("spikes.h5: .*" + message, told)


def test_spikes_of_a_larger_population(tmp_path: Path) -> None:
    write_spikes(tmp_path / "spikes.h5", [[0.1]], [[3]], size=800)
    told = refused(tmp_path, "simulate", MODEL, "spikes.h5", "-o", "out.h5")
    assert re.search("800 units, but input population 'input' has 700", told)


DELAY, HIDDEN = "projections/input->hidden/delay", "populations/hidden"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (put(DELAY, 3, -0.002), r"delay\[3\] = -0.002, must be finite and >= 0"),
        (put(DELAY, 7, np.nan), r"delay\[7\] = nan"),
        (swap(f"{HIDDEN}/tau_mem", 0.0), r"'hidden': tau_mem\[0\] = 0.0, must be > 0"),
        (swap(f"{HIDDEN}/threshold", 0.0), r"threshold\[0\] = 0.0, must be above v_leak"),
        (swap(f"{HIDDEN}/reset", 1.5), r"threshold\[0\] = 1.0, must be above reset"),
        (swap("projections/hidden->hidden/delay", 0.0), r"'hidden'.* loop whose total delay is 0"),
        (drop(f"{HIDDEN}/tau_syn"), r"/populations/hidden.*'tau_syn'.* is missing"),
        (
            drop("projections/input->hidden/weight"),
            r"/projections/input->hidden/weight: is missing",
        ),
        (swap("projections/hidden->readout/weight", np.ones((10, 63))), r"shape \[10, 63\]"),
        (lambda file: file.attrs.update(version=3), r"version 3"),
        (lambda file: file.attrs.update(format="other"), r"'other', must be 'evsim-network'"),
    ],
)
def test_bad_networks(tmp_path: Path, edit: Edit, message: str) -> None:
    write_model(tmp_path / "model.h5", edit)
    told = refused(tmp_path, "simulate", "model.h5", SPIKES, "-o", "out.h5")
    assert re.search("model.h5: .*" + message, told)


def test_a_network_that_fires_without_bound(tmp_path: Path) -> None:
    weight = "projections/input->hidden/weight"
    write_model(tmp_path / "model.h5", lambda f: swap(weight, np.abs(f[weight][()]) * 100)(f))
    arguments = ("simulate", "model.h5", SPIKES, "-o", "out.h5", "--max-rate", 100)
    told = refused(tmp_path, *arguments)
    assert re.search(r"population 'hidden'.* t = .*max_rate = 100 Hz", told)


@pytest.mark.parametrize("whole", [MODEL, SPIKES])
def test_damaged_files(tmp_path: Path, whole: str) -> None:
    (tmp_path / "cut.h5").write_bytes(demo_path(whole).read_bytes()[:5000])
    (tmp_path / "text.h5").write_text("no HDF5 at all")
    for name, message in (("cut.h5", "cut off or damaged"), ("text.h5", "is not an HDF5 file")):
        files = (name, SPIKES) if whole == MODEL else (MODEL, name)
        assert f"{name}: {message}" in refused(tmp_path, "simulate", *files, "-o", "out.h5")
        assert f"{name}: {message}" in refused(tmp_path, "info", name)
        assert f"{name}: {message}" in refused(tmp_path, "plot", name, "-o", "out.png")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--record nobody", "record: no population 'nobody'; there are 'input', 'hidden'"),
        ("--record readout", "'readout' is a readout and has no spikes"),
        ("--voltage nobody", "voltage: no population 'nobody'"),
        ("--voltage hiden", "voltage: no population 'hiden'; there are 'hidden', 'readout'"),
        ("--voltage input", "voltage: the input has no voltage; there are 'hidden', 'readout'"),
        ("--dt 0.1", "say whose voltage is wanted"),
        ("--voltage hidden --dt 0", "dt = 0.0, must be finite and > 0"),
        ("--voltage hidden --dt 1e-12", "choose a larger one"),
        ("--duration nan", "duration = nan, must be finite and > 0"),
        ("--threads 0", "threads = 0, must be at least 1"),
        ("--engine fast", "'fast' is not one of 'compiled', 'reference'"),
        ("--max-rate 0", "max_rate = 0.0, must be > 0"),
        ("--dt x", "'x' is not a valid float"),
        ("--colour red", "No such option '--colour'.* Try: evsim simulate --help"),
        ("-o nowhere/out.h5", "nowhere/out.h5: the folder .* does not exist"),
    ],
)
def test_bad_options(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)  # in this process: they are many
    with pytest.raises(SystemExit, match="2"):
        main(["simulate", MODEL, SPIKES, "-o", "out.h5", *options.split()])
    told = capsys.readouterr()
    assert re.fullmatch(f"evsim: error: .*{message}.*\n", told.err) and told.out == ""
    assert os.listdir(tmp_path) == []


def test_files_that_are_not_there_or_not_what_is_wanted(tmp_path: Path) -> None:
    told = refused(tmp_path, "simulate", MODEL, "nothing.h5", "-o", "out.h5")
    assert f"nothing.h5: no such file; embedded demo files are {', '.join(demo_names())}" in told
    told = refused(tmp_path, "simulate", SPIKES, MODEL, "-o", "out.h5")
    assert "looks like a spike or result file" in told
    shutil.copy(demo_path(MODEL), tmp_path / "own.h5")
    told = refused(tmp_path, "simulate", "own.h5", SPIKES, "-o", "own.h5", "--overwrite")
    assert "own.h5: is an input of this command" in told
    assert "recording 11 does not exist" in refused(
        tmp_path, "plot", SPIKES, "-o", "out.png", "--recording", 11
    )


def test_plot_without_matplotlib_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        f"import evsim.commands.cli; evsim.commands.cli.main(['plot', {SPIKES!r}, '-o', 'out.png'])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and os.listdir(tmp_path) == []
    assert "pip install evsim[plot]" in done.stderr and "Traceback" not in done.stderr


def test_times_in_milliseconds_are_warned_about_once(tmp_path: Path, result: Path) -> None:
    write_spikes(tmp_path / "ms.h5", [[100.0, 5000.0]], [[3, 4]])
    done = run(tmp_path, "simulate", MODEL, "ms.h5", "-o", "out.h5")
    assert done.returncode == 0
    assert re.fullmatch(r"evsim: warning: ms.h5: [^\n]*milliseconds[^\n]*\n", done.stderr)


def test_demo_path_names_what_there_is() -> None:
    assert evsim.load_spikes(demo_path(SPIKES)).size == 700
    with pytest.raises(FileNotFoundError, match=f"'other.h5'.*{SPIKES}"):
        demo_path("other.h5")
