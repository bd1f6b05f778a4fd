"""What files say reaches terminals, logs, reports and pictures as safe text, or not at all."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unicodedata
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
from in_process import run

import evsim
from evsim.files import FileError
from evsim.words import LINE, NAME, drawn, milliseconds, one_line, plain, span, text_histogram

RUDE = {
    "title": "\x1b]0;owned\x07",
    "colour": "\x1b[31mred",
    "c1": "\x9b2J",
    "direction": "\u202eoved\u2066",
    "zero-width": "a\u200b\ufeffb",
    "filler": "\u3164\u115f\ufe0f\U000e0100",
    "lines": "a\nb\rc\u2028d\x85e",
    "surrogate": "\ud800",
    "tag": "\U000e0041",
    "stacked": "o" + "\u0301" * 50,
    "formula": "$\\frac{1}{$",
    "sums": "$x_1$ and $y^2",
    "underscore": "_hidden",
    "long": "n" * 30_000,
    "long and rude": "\x1b[2J" * 5000,
}
ORDINARY = ["hidden", "in->hidden", "L2/3", "κύματα", "日本語", "cafe\u0301", "שלום", "a  b\\c"]


def assert_safe(text: str) -> None:
    """Nothing in a text moves a cursor, changes a direction or can't be seen."""
    text.encode()
    for c in text:
        assert c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"), c
    assert "\u3164" not in text and "\ufe0f" not in text
    assert max(map(len, text.split("\n"))) < 4 * LINE


@pytest.mark.parametrize("text", RUDE.values(), ids=RUDE)
def test_rude_text_becomes_plain(text: str) -> None:
    shown = plain(text)
    assert_safe(shown)
    assert "\n" not in shown and len(shown) <= NAME
    assert len(one_line(f"file: {text}: is wrong")) <= LINE
    assert one_line(f"file: {text}: is wrong").endswith("is wrong")


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert plain(text) == text


def test_a_cut_says_how_much_is_left_out() -> None:
    shown = plain("a" * 50_000 + "z")
    kept = len(shown) - len(re.search(r" \.\.\. [\d,]+ left out \.\.\. ", shown)[0])
    assert f"{50_001 - kept:,} left out" in shown and shown[0] == "a" and shown[-1] == "z"


def rude_network(path: Path, name: str) -> None:
    """Write a network whose populations, projection and attributes have rude names."""
    other, delay = f"{name}2", np.array([[0.1, 0.2]] * 2)
    ends = [evsim.Population(name, "Input", 2), evsim.Population(other, "LIF", 2, tau_mem=0.02)]
    into = evsim.Dense(pre=name, post=other, weight=np.eye(2), delay=delay)
    evsim.Network(ends, [into]).save(path)
    with h5py.File(path, "a") as file:
        file.attrs["note"] = name
        file.attrs[f"{name} is"] = "a name"
        file.attrs["numbers"] = np.arange(2000.0)


# What HDF5 can hold: no surrogates; a name that is written is short enough to be stored.
STORED = {key: text[:5000] for key, text in RUDE.items() if key != "surrogate"}


@pytest.mark.parametrize("name", STORED.values(), ids=STORED)
def test_names_and_notes_of_a_network_are_told_safely(tmp_path: Path, name: str) -> None:
    rude_network(tmp_path / "net.h5", name)
    done = run(tmp_path, "info", "net.h5")
    assert done.returncode == 0, done.stderr
    assert_safe(done.stdout)
    assert plain(name) in done.stdout
    evsim.save_spikes(tmp_path / "s.h5", evsim.Spikes([0.1], [0], size=2, duration=0.5))
    done = run(tmp_path, "simulate", "net.h5", "s.h5", "-o", "out.h5")
    assert done.returncode == 0, done.stderr
    assert_safe(done.stdout)
    done = run(tmp_path, "info", "out.h5")
    assert done.returncode == 0, done.stderr
    assert_safe(done.stdout)


@pytest.mark.parametrize("key", ["title", "formula", "underscore", "long and rude"])
def test_a_check_reports_rude_names_safely_and_draws_them(tmp_path: Path, key: str) -> None:
    pytest.importorskip("torch")
    rude_network(tmp_path / "net.h5", STORED[key])
    evsim.save_spikes(tmp_path / "s.h5", evsim.Spikes([0.1], [0], size=2, duration=0.5))
    done = run(tmp_path, "check", "net.h5", "s.h5", "-o", "report", "--dt", "1e-2", "5e-3")
    assert done.returncode in (0, 1), done.stderr
    assert done.stderr == ""
    assert_safe(done.stdout)
    assert_safe((tmp_path / "report/report.txt").read_text(encoding="utf-8"))
    assert (tmp_path / "report/check.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", STORED.values(), ids=STORED)
def test_errors_and_warnings_name_places_safely(tmp_path: Path, name: str) -> None:
    with h5py.File(tmp_path / "s.h5", "w") as file:
        group = file.create_group(f"spikes/{name.replace('/', '|')}")
        group["timestamps"], group["node_ids"] = [1e-3], [0]
    with pytest.warns(UserWarning, match="the last spike is at") as told:
        evsim.load_spikes(tmp_path / "s.h5")
    assert_safe(str(told[0].message))
    with h5py.File(tmp_path / "s.h5", "a") as file:
        del file["spikes"][name.replace("/", "|")]["node_ids"]
    with pytest.raises(FileError, match="node_ids: is missing") as error:
        evsim.load_spikes(tmp_path / "s.h5")
    assert_safe(str(error.value))


def test_names_of_files_are_told_safely(tmp_path: Path) -> None:
    name = "\x1b]0;t\x07\u202e\udcff.h5"
    evsim.save_spikes(tmp_path / name, evsim.Spikes([0.1], [0], size=1, duration=1.0))
    done = run(tmp_path, "info", name)
    assert (done.returncode, done.stderr) == (0, "")
    assert_safe(done.stdout)
    assert_safe(run(tmp_path, "info", f"no{name}").stderr)


@pytest.mark.parametrize("name", RUDE.values(), ids=RUDE)
def test_a_picture_comes_whatever_the_names(tmp_path: Path, name: str) -> None:
    pytest.importorskip("matplotlib")
    from evsim.plots import plot_network, plot_result, save_figure

    spikes = evsim.Spikes([0.1], [0], size=3, duration=1.0, labels=[0])
    rng, times = np.random.default_rng(0), np.arange(5) / 5
    other = f"{name}2"
    result = evsim.Result(
        duration=1.0,
        labels=np.array([0]),
        spikes={name: spikes},
        voltage={name: rng.random((1, 5, 3)), other: rng.random((1, 5, 3))},
        voltage_times={name: times, other: times},
        output={name: rng.random((1, 3)), f"{name}3": rng.random((1, 3))},
    )
    populations = [evsim.Population(name, "Input", 2), evsim.Population(other, "LIF", 2, tau_mem=1)]
    into = evsim.Dense(pre=name, post=other, weight=rng.random((2, 2)), delay=rng.random((2, 2)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="Glyph")
        for ending in ("png", "svg", "pdf") if name == RUDE["formula"] else ("png",):
            figure = plot_result(result, 0, [name] * 3)
            save_figure(tmp_path / f"result.{ending}", figure)
            save_figure(
                tmp_path / f"network.{ending}", plot_network(evsim.Network(populations, [into]))
            )


def test_names_are_drawn_as_they_are() -> None:
    pytest.importorskip("matplotlib")
    from evsim.plots.style import new_figure, styled

    with styled():
        figure = new_figure(4.0, 2.0, drawn("$x_1$ \\$"))
        axes = figure.subplots()
        axes.plot([0, 1], label=drawn("_hidden"))
        text = axes.legend().get_texts()
    headline = figure.get_suptitle()
    assert figure._suptitle._preprocess_math(headline) == ("$x_1$ \\$", False)
    assert [t.get_text().strip() for t in text] == ["_hidden"]


NARROW = [0.5, np.nextafter(0.5, 1)]
DELAYS = [
    NARROW, [1e306, 1e306], [0.0, 1e306], [1e306, 1.5e306], [0.0, 5e-324], [0.5, 0.5 + 1e-13],
    [1e305, np.nextafter(1e305, np.inf)], [0.0, 0.0], [1e12, 1e12 + 1], [0.1, 1e306],
]  # fmt: skip


@pytest.mark.parametrize("delay", DELAYS)
def test_histograms_of_any_numbers_are_told_and_drawn(tmp_path: Path, delay: list[float]) -> None:
    pytest.importorskip("matplotlib")
    weight = [-1.7e308, 1.7e308] if delay[0] else [1e-310, 3e-310]
    into = evsim.Dense(pre="a", post="b", weight=np.array([weight]), delay=np.array([delay]))
    ends = [evsim.Population("a", "Input", 2), evsim.Population("b", "LIF", 1, tau_mem=0.02)]
    evsim.Network(ends, [into]).save(tmp_path / "net.h5")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told = run(tmp_path, "info", "net.h5")
        drawn_too = run(tmp_path, "plot", "net.h5", "-o", "net.png")
    assert (told.returncode, told.stderr) == (0, "")
    assert (drawn_too.returncode, drawn_too.stderr) == (0, "")
    assert "inf" not in told.stdout.replace("info", "") and "nan" not in told.stdout
    assert max(map(len, told.stdout.splitlines())) < 120


def test_values_a_few_bits_apart_have_no_histogram() -> None:
    assert text_histogram(NARROW, "s", "axons") == []
    assert text_histogram([], "s", "axons") == text_histogram([1.0, np.inf], "s", "axons") == []
    assert span(np.array([1.7e308, 1.7e308, 1.0]), "") == "min 1, median 1.7e+308, max 1.7e+308"


def test_edges_of_bins_can_be_told_apart() -> None:
    for values in ([1e306, 1.5e306], [500, 500 + 1e-10], [0, 1e-320], [1e12, 1e12 + 1], [0, 1]):
        edges = [line.split(" - ")[0] for line in text_histogram(values, "ms", "axons")]
        assert len(set(edges)) == len(edges) == 8


def test_times_beyond_all_measure_are_told_in_seconds() -> None:
    assert milliseconds(np.array([0.5]))[1] == "ms"
    values, unit = milliseconds(np.array([1e306, np.inf]))
    assert unit == "s" and values[0] == 1e306


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "utf-8"])
def test_characters_that_stdout_lacks_do_not_fail_the_run(tmp_path: Path, encoding: str) -> None:
    ends = [evsim.Population("in", "Input", 2), evsim.Population("κ", "LIF", 1, tau_mem=0.02)]
    into = evsim.Dense(pre="in", post="κ", weight=np.ones((1, 2)))
    evsim.Network(ends, [into]).save(tmp_path / "net.h5")
    evsim.save_spikes(tmp_path / "s.h5", evsim.Spikes([0.1], [0], size=2, duration=1.0))
    command = [sys.executable, "-m", "evsim", "simulate", "net.h5", "s.h5", "-o", "out.h5"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert b"result in out.h5" in done.stdout and (tmp_path / "out.h5").exists()


def test_a_long_recording_is_simulated_if_no_voltage_is_wanted(tmp_path: Path) -> None:
    ends = [evsim.Population("in", "Input", 1), evsim.Population("out", "LIF", 1, tau_mem=0.02)]
    evsim.Network(ends, [evsim.Dense(pre="in", post="out", weight=np.ones((1, 1)))]).save(
        tmp_path / "net.h5"
    )
    spikes = evsim.Spikes([0.1, 39_000.0], [0, 0], size=1, duration=40_000.0)
    evsim.save_spikes(tmp_path / "s.h5", spikes)
    done = run(tmp_path, "simulate", "net.h5", "s.h5", "-o", "out.h5")
    assert done.returncode == 0, done.stderr
    assert len(evsim.load_result(tmp_path / "out.h5").spikes["out"].times) == 2
    done = run(tmp_path, "simulate", "net.h5", "s.h5", "-o", "v.h5", "--voltage", "out")
    assert done.returncode == 2 and "choose a larger one" in done.stderr
