"""The animation: where a spike is when, and that the file is a real GIF, the same every time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from in_process import run
from small_pictures import CLASSES, small_net, small_run, write_run

import evsim
from evsim.plots.animation import WIDTH, save_animation
from evsim.plots.flights import find_flights
from evsim.readouts import values_so_far

pytest.importorskip("matplotlib")
from PIL import Image  # noqa: E402

NET = small_net()
RESULT = small_run(NET)
SHORT = (0.05, 0.07)


def test_a_spike_is_on_its_way_as_long_as_the_delay_lasts() -> None:
    flights = find_flights(NET, RESULT, 0)
    projection, sent = NET.projections["input->hidden"], RESULT.spikes["input"][0]
    np.testing.assert_array_equal(
        flights.delay, projection.delay[flights.units[flights.row], flights.pre]
    )
    for time in (0.03, 0.1, 0.21):
        synapses, shares = flights.at(time)
        found = sorted(zip(synapses.tolist(), shares.tolist(), strict=True))
        expected = sorted(
            (k, (time - start) / flights.delay[k])
            for k, channel in enumerate(flights.pre)
            for start in sent.times[sent.units == channel]
            if start <= time < start + flights.delay[k]
        )
        assert expected
        np.testing.assert_allclose(found, expected)


def test_units_are_in_the_order_of_their_spikes_and_synapses_the_strongest() -> None:
    flights = find_flights(NET, RESULT, 0)
    fired = RESULT.spikes["hidden"][0]
    middle = [np.median(fired.times[fired.units == unit]) for unit in flights.units]
    assert len(middle) > 2 and middle == sorted(middle)
    assert np.bincount(flights.row).max() <= 6


def test_an_animation_is_a_gif_the_same_every_time(tmp_path: Path) -> None:
    for name in ("a.gif", "b.gif"):
        save_animation(tmp_path / name, RESULT, NET, 1, CLASSES, SHORT)
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.n_frames == 5 and picture.size[0] == WIDTH  # 20 ms, ten times slower, 20 Hz
        first = np.asarray(picture.convert("RGB")).astype(int)
        picture.seek(picture.n_frames - 1)
        last = np.asarray(picture.convert("RGB")).astype(int)
    assert tuple(first[-1, 0]) == (255, 255, 255)
    assert 0.001 < (np.abs(last - first).max(axis=2) > 60).mean() < 0.2


def test_the_last_value_so_far_is_the_answer() -> None:
    for output, tau in (("integral", None), ("integral", 0.05), ("max", None), ("last", None)):
        readout = evsim.Population("o", "LI", 2, tau_mem=0.02, output=output, tau_output=tau)
        net = evsim.Network(
            [*list(NET.populations.values())[:2], readout],
            [NET.projections["input->hidden"],
             evsim.Dense(pre="hidden", post="o", weight=np.ones((2, 5)) * [[1], [0.5]])],
        )  # fmt: skip
        times = np.arange(0, 2, 1e-3)
        found = evsim.simulate(
            net, RESULT.spikes["input"], record=["hidden"], voltage={"o": times}, engine="reference"
        )
        so_far = values_so_far(readout, times, found.voltage["o"][0])
        np.testing.assert_allclose(so_far[-1], found.output["o"][0], rtol=0.05, atol=1e-3)


def two_units(delay: float, weight: list[list[float]]) -> evsim.Network:
    """Return two inputs and two units behind a delay."""
    ends = [evsim.Population("in", "Input", 2), evsim.Population("out", "LIF", 2, tau_mem=0.02)]
    delays = np.full((2, 2), delay)
    return evsim.Network(
        ends, [evsim.Dense(pre="in", post="out", weight=np.array(weight), delay=delays)]
    )


def fired(sent: list[float], duration: float) -> evsim.Result:
    """Return spikes of the first input, and one of the second unit."""
    spikes = {
        "in": evsim.Spikes(sent, [0] * len(sent), size=2, duration=duration),
        "out": evsim.Spikes([0.01], [1], size=2, duration=duration),
    }
    return evsim.Result(spikes, duration=duration)


def test_it_lasts_until_the_last_spike_has_arrived(tmp_path: Path) -> None:
    net = two_units(0.05, [[1.0, 1.0], [1.0, 1.0]])
    save_animation(tmp_path / "a.gif", fired([0.015], 1.0), net)
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.n_frames == 1 + round(0.067 * 200)  # 65 ms and a little, rounded up


def test_spikes_without_an_effect_are_nothing_to_animate(tmp_path: Path) -> None:
    # No weight at all; or only from an input that is silent.
    for weight in ([[0.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [0.0, 1.0]]):
        with pytest.raises(ValueError, match="recording 0: no spike of 'in' has an effect on the"):
            save_animation(tmp_path / "a.gif", fired([0.015], 1.0), two_units(0.05, weight))
    assert find_flights(two_units(0.05, [[0, 0], [2, 1]]), fired([0.015], 1.0), 0).pre.tolist() == [
        0
    ]


def test_more_spikes_than_set_out_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    said: list[str] = []
    write = Axes.text
    monkeypatch.setattr(
        Axes, "text", lambda a, x, y, s, **k: said.append(s) or write(a, x, y, s, **k)
    )
    net = two_units(1e-3, [[1.0, 1.0], [1.0, 1.0]])
    for n, told in (
        (1 << 16, "10 times slower"),
        ((1 << 16) + 1, "10 times slower; only the first 65,536 spikes set out"),
    ):
        said.clear()
        result = fired(np.linspace(0, 0.0099, n).tolist(), 0.02)
        save_animation(tmp_path / f"{n}.gif", result, net, window=(0.0, 0.01))
        assert told in said


def test_the_command_finds_the_network_or_asks_for_it(tmp_path: Path) -> None:
    write_run(tmp_path)
    words = ["plot", "out.h5", "-o", "a.gif", "--from", "0.05", "--to", "0.06"]
    done = run(tmp_path, *words)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "animation in a.gif\n")
    assert (tmp_path / "a.gif").read_bytes().startswith(b"GIF8")
    (tmp_path / "net.h5").unlink()
    done = run(tmp_path, *words, "--overwrite")
    assert done.returncode == 2 and "needs the network that made it: --network" in done.stderr


def test_what_an_animation_needs(tmp_path: Path) -> None:
    spikes = RESULT.spikes
    with pytest.raises(ValueError, match="needs the spikes of 'input'.*--record input"):
        find_flights(NET, replace(RESULT, spikes={"hidden": spikes["hidden"]}), 0)
    with pytest.raises(ValueError, match="nothing to animate"):
        find_flights(NET, replace(RESULT, spikes={"input": spikes["input"]}), 0)
    silent = evsim.Spikes.from_recordings([([], [])] * 3, 5, 2.0)
    with pytest.raises(ValueError, match="'hidden' is silent"):
        find_flights(NET, replace(RESULT, spikes={**spikes, "hidden": silent}), 0)
    with pytest.raises(ValueError, match="population 'hidden' has 0 units there, 5 in the result"):
        save_animation(tmp_path / "a.gif", RESULT, small_net("other"))
    with pytest.raises(ValueError, match="recording 3 does not exist"):
        save_animation(tmp_path / "a.gif", RESULT, NET, 3)
    assert not (tmp_path / "a.gif").exists()
