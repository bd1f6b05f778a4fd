"""The HTML page: what stands in it, and how it behaves in a browser, where there is one."""

from __future__ import annotations

import html
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Browser, find_browser
from in_process import run
from small_pictures import small_net, small_run, write_run

import evsim
from evsim.plots.page import save_page
from evsim.plots.page_panels import text_of

pytest.importorskip("bokeh")
FIGURES = "[...Bokeh.documents[0]._all_models.values()].filter(m => m.type == 'Figure')"
RUDE = "<script>alert(1)</script><img src=x onerror=alert(2)>$$x$$"


def models(path: Path) -> list[dict[str, Any]]:
    """Return all models of a page, as they are stored."""
    text = path.read_text(encoding="utf-8")
    stored = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL)
    assert stored is not None
    found: list[dict[str, Any]] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if node.get("type") == "object" and "attributes" in node:
                found.append(node)
            node = list(node.values())
        if isinstance(node, list):
            for each in node:
                walk(each)

    walk(json.loads(html.unescape(stored[1])))
    return found


def of_kind(path: Path, kind: str) -> list[dict[str, Any]]:
    return [m["attributes"] for m in models(path) if m["name"] == kind]


def titles(path: Path) -> list[str]:
    return [title["text"] for title in of_kind(path, "Title") if "text" in title]


def test_text_of_files_is_drawn_as_it_is_and_no_longer_than_there_is_room() -> None:
    assert text_of("a\x1b[2Jb") == r"a\x1b[2Jb"
    assert text_of(r"$$x$$ \(y\) \[z") == r"$ $x$ $ \ (y\) \ [z"
    assert len(text_of("x" * 500, 20)) < 40


def test_a_page_shows_rasters_voltages_and_delays_of_the_network_beside(tmp_path: Path) -> None:
    write_run(tmp_path)
    done = run(tmp_path, "plot", "out.h5", "-o", "out.html", "--class", "yes")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "page in out.html\n")
    shown = titles(tmp_path / "out.html")
    for part in ("input: ", "hidden: ", "input->hidden: when spikes arrive", "its delays",
                 "hidden: voltage of 5 units", "readout: voltage of 2"):  # fmt: skip
        assert any(title.startswith(part) for title in shown), part
    (choice,) = of_kind(tmp_path / "out.html", "Spinner")
    assert choice["high"] == 4
    text = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "Recording 1, label 1 (yes)" in text and "of 2 s are drawn" in text
    assert not re.search(r"<(script|link)[^>]+(src|href)=", text), "it needs a network"


def test_all_panels_over_time_share_their_range(tmp_path: Path) -> None:
    save_page(tmp_path / "a.html", small_run(small_net()), 0, net=small_net())
    figures = of_kind(tmp_path / "a.html", "Figure")
    ranges = [figure["x_range"]["id"] for figure in figures if "x_range" in figure]
    ranges = [one for one in ranges if ranges.count(one) > 1]
    assert len(ranges) == 5 and len(set(ranges)) == 1


def test_without_the_network_it_says_what_is_missing(tmp_path: Path) -> None:
    write_run(tmp_path)
    small_net("other").save(tmp_path / "other.h5")
    done = run(tmp_path, "plot", "out.h5", "-o", "a.html", "--network", "other.h5")
    assert done.returncode == 2 and "is not the network that made out.h5" in done.stderr
    (tmp_path / "net.h5").rename(tmp_path / "moved.h5")
    assert run(tmp_path, "plot", "out.h5", "-o", "a.html").returncode == 0
    assert "--network NET" in (tmp_path / "a.html").read_text(encoding="utf-8")
    done = run(tmp_path, "plot", "out.h5", "-o", "b.html", "--network", "moved.h5")
    assert done.returncode == 0 and of_kind(tmp_path / "b.html", "Spinner")
    # One of that name that is another network is not taken.
    (tmp_path / "other.h5").rename(tmp_path / "net.h5")
    assert run(tmp_path, "plot", "out.h5", "-o", "c.html").returncode == 0
    assert not of_kind(tmp_path / "c.html", "Spinner")


def test_a_network_that_would_not_be_looked_at_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path)
    evsim.save_spikes(tmp_path / "s.h5", small_run(small_net()).spikes["input"])
    for file, picture in (("out.h5", "a.svg"), ("net.h5", "a.svg"), ("s.h5", "a.html")):
        done = run(tmp_path, "plot", file, "-o", picture, "--network", "net.h5")
        assert done.returncode == 2 and "--network is only for a page (.html) or" in done.stderr
    done = run(tmp_path, "plot", "out.h5", "-o", "a.svg", "--spike-width", "1e-4")
    assert done.returncode == 2 and "out.h5: is no NIR graph" in done.stderr
    assert not (tmp_path / "a.svg").exists() and not (tmp_path / "a.html").exists()


def test_what_can_not_be_chosen_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path)
    done = run(tmp_path, "plot", "out.h5", "-o", "a.gif", "--units", "0-2")
    assert (
        done.returncode == 2 and "shows the units that fire most; leave out --units" in done.stderr
    )
    choices = (("--units", "0"), ("--recording", "0"), ("--from", "0"), ("--to", "1"))
    for option, value in choices:
        done = run(tmp_path, "plot", "net.h5", "-o", "a.png", option, value)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert f"net.h5: is a network, which is drawn whole; leave out {option}" in done.stderr
    data = Path(__file__).parent / "data" / "events" / "nmnist-train-00001.bin"
    done = run(tmp_path, "plot", data, "-o", "a.html", "--network", "net.h5")
    assert done.returncode == 2 and "--network is only for a page (.html) or" in done.stderr
    assert not list(tmp_path.glob("a.*"))


def test_spikes_have_a_page_and_networks_have_none(tmp_path: Path) -> None:
    evsim.save_spikes(tmp_path / "s.h5", small_run(small_net()).spikes["input"])
    assert run(tmp_path, "plot", "s.h5", "-o", "s.html", "--recording", "2").returncode == 0
    assert "Recording 2, label 0" in (tmp_path / "s.html").read_text(encoding="utf-8")
    small_net().save(tmp_path / "net.h5")
    done = run(tmp_path, "plot", "net.h5", "-o", "n.html")
    assert done.returncode == 2 and "is a network" in done.stderr
    assert not (tmp_path / "n.html").exists()
    done = run(tmp_path, "plot", "s.h5", "-o", "s.html")
    assert done.returncode == 2 and "exists already" in done.stderr


def test_a_network_that_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="population 'hidden' has 0 units there, 5 in the result"):
        save_page(tmp_path / "a.html", small_run(small_net()), net=small_net("other"))
    assert not (tmp_path / "a.html").exists()


@pytest.mark.parametrize(
    ("counts", "shown"),
    [([0, 45, 2, 1, 5], 2), ([45, 0, 6, 9, 7], 2), ([9, 1, 5, 5, 5], 3), ([0, 0, 0, 0, 0], None)],
)
def test_the_unit_shown_first_fires_a_few_times(
    tmp_path: Path, counts: list[int], shown: int | None
) -> None:
    units = np.repeat(np.arange(5), counts)
    hidden = evsim.Spikes(np.linspace(0.1, 0.2, len(units)), units, size=5, duration=2.0)
    net = small_net()
    spikes = {"input": small_run(net, 1).spikes["input"], "hidden": hidden}
    save_page(tmp_path / "a.html", evsim.Result(spikes, duration=2.0), net=net)
    if shown is None:
        shown = int(np.argmax(net.projections["input->hidden"].weight.sum(1)))
    assert of_kind(tmp_path / "a.html", "Spinner")[0]["value"] == shown


def test_numbers_beyond_all_measure_have_a_page(tmp_path: Path) -> None:
    ends = [evsim.Population("a", "Input", 2), evsim.Population("b", "LIF", 1, tau_mem=0.02)]
    weight, delay = np.array([[1e99, -1e99]]), np.array([[1e306, 0.0]])
    net = evsim.Network(ends, [evsim.Dense(pre="a", post="b", weight=weight, delay=delay)])
    spikes = evsim.Spikes([0.1, 0.2], [0, 1], size=2, duration=1.0)
    save_page(tmp_path / "a.html", evsim.Result({"a": spikes}, duration=1.0), net=net)
    assert of_kind(tmp_path / "a.html", "Spinner")


def test_names_do_not_become_markup(tmp_path: Path) -> None:
    net = small_net(RUDE.replace("/", "|"))
    save_page(tmp_path / "a.html", small_run(net), 0, [RUDE, RUDE], net=net)
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text and "<img src=x" not in text
    assert "$$x" not in "".join(titles(tmp_path / "a.html"))  # it would begin a formula


def test_a_page_needs_bokeh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path)
    monkeypatch.setitem(sys.modules, "bokeh", None)
    done = run(tmp_path, "plot", "out.h5", "-o", "out.html")
    assert done.returncode == 2 and "pip install evsim[html]" in done.stderr
    assert not (tmp_path / "out.html").exists()


def test_all_units_that_are_chosen_have_their_voltage_and_threshold(tmp_path: Path) -> None:
    times, values = np.arange(3.0), np.zeros((1, 3, 201))
    levels = np.linspace(1.0, 2.0, 201)
    result = evsim.Result({}, {"a": values}, {"a": times}, {"a": levels}, duration=3.0)
    save_page(tmp_path / "a.html", result, units=range(30))
    assert "a: voltage of 30 of 201 units" in titles(tmp_path / "a.html")
    labels = [item["label"]["value"] for item in of_kind(tmp_path / "a.html", "LegendItem")]
    assert {f"unit {i}" for i in range(30)} < set(labels) and len(labels) == 60
    assert [legend["visible"] for legend in of_kind(tmp_path / "a.html", "Legend")] == [False]
    with pytest.raises(ValueError, match="201 voltages are too many to tell apart"):
        save_page(tmp_path / "b.html", result, units=range(201))
    assert not (tmp_path / "b.html").exists()


def big_result() -> evsim.Result:
    """Return 100,000 spikes of 956 units, and voltages."""
    rng = np.random.default_rng(0)
    spikes = {
        name: evsim.Spikes(rng.uniform(0, 1, n), rng.integers(0, size, n), size=size, duration=1.0)
        for name, n, size in (("input", 60_000, 700), ("hidden", 40_000, 256))
    }
    times = np.arange(0, 1, 1e-2)
    voltage = {"hidden": rng.normal(size=(1, len(times), 256))}
    return evsim.Result(spikes, voltage, {"hidden": times}, duration=1.0)


@pytest.mark.skipif(find_browser() is None, reason="no browser; EVSIM_TEST_BROWSER may name one")
def test_in_a_browser_panels_zoom_and_pan_together(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    ends = [
        evsim.Population("input", "Input", 700),
        evsim.Population("hidden", "LIF", 256, tau_mem=1),
    ]
    weight, delay = rng.normal(size=(256, 700)), rng.uniform(0, 0.06, (256, 700))
    net = evsim.Network(ends, [evsim.Dense(pre="input", post="hidden", weight=weight, delay=delay)])
    save_page(tmp_path / "big.html", big_result(), net=net)
    rude = small_net(RUDE.replace("/", "|"))
    save_page(tmp_path / "rude.html", small_run(rude), 0, [RUDE, RUDE], net=rude)
    with Browser(tmp_path / "profile") as browser:
        browser.open(tmp_path / "big.html")
        over_time = f"{FIGURES}.filter(f => f.title.text != 'its delays')"
        ranges = f"{over_time}.map(f => [f.x_range.start, f.x_range.end])"
        browser.wheel(400, 200, 1)
        zoomed = browser.evaluate(ranges)
        assert len(zoomed) == 4 and all(one == zoomed[0] for one in zoomed)
        assert zoomed[0][1] - zoomed[0][0] < 0.9
        browser.drag(400, 200, -60)
        moved = browser.evaluate(ranges)
        assert all(one == moved[0] for one in moved)
        assert moved[0][0] > zoomed[0][0]
        # A unit, at first that which fires least (all do often), shows its own arrivals, at the
        # spike times and the delays.
        model = "[...Bokeh.documents[0]._all_models.values()].find(m => {})"
        arrivals = model.format("m.name == 'arrivals'")
        sent, fired = (big_result().spikes[name] for name in ("input", "hidden"))
        for unit in (int(np.argmin(fired.counts()[0])), 7):
            if unit == 7:
                browser.evaluate(model.format("m.type == 'Spinner'") + ".value = 7")
            n, first = browser.evaluate(
                f"(d => [d.time.length, [d.time[0], d.channel[0], d.weight[0]]])({arrivals}.data)"
            )
            assert n == len(sent.times)
            channel = sent.units[0]
            expected = [sent.times[0] + delay[unit, channel], channel, weight[unit, channel]]
            np.testing.assert_allclose(first, expected, rtol=1e-6)
        browser.open(tmp_path / "rude.html")
        assert browser.evaluate("document.querySelectorAll('img').length") == 0
        assert browser.errors == []
        assert {url.split(":")[0] for url in browser.requests} <= {"file", "data", "blob"}
