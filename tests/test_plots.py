"""Pictures: what their axes say and hold, and that the files are real pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evsim
from evsim.files.demo import demo_path
from evsim.files.kinds import class_names
from evsim.words import text_histogram

pytest.importorskip("matplotlib")
from matplotlib.text import Text  # noqa: E402

from evsim import plots  # noqa: E402

DIGITS = ["zero", "one", "two"]


def small_result(**changes: Any) -> evsim.Result:
    """Two recordings of a network of 3 inputs, 40 hidden units and 3 readout units."""
    rng = np.random.default_rng(1)
    offsets, labels = np.array([0, 20, 60]), np.array([2, 1])
    spikes = {
        name: evsim.Spikes(
            rng.uniform(0, 0.5, 60), rng.integers(0, size, 60), offsets, size, 0.5, labels
        )
        for name, size in (("input", 3), ("hidden", 40))
    }
    times = np.linspace(0, 0.5, 6)
    parts: dict[str, Any] = dict(
        spikes=spikes,
        voltage={"hidden": rng.normal(size=(2, 6, 40)), "readout": rng.normal(size=(2, 6, 3))},
        voltage_times={"hidden": times, "readout": times},
        output={"readout": np.array([[0.1, 0.2, 0.9], [0.3, -0.2, 0.1]])},
        duration=0.5,
        labels=labels,
    )
    return evsim.Result(**(parts | changes))


def axes_of(figure: Any) -> dict[str, Any]:
    return {axes.get_label(): axes for axes in figure.axes}


def written(figure: Any, path: Path) -> bytes:
    plots.save_figure(path, figure)
    return path.read_bytes()


def is_varied(figure: Any) -> bool:
    """Return whether the picture has ink, and more paper than ink."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    ink = (pixels < 200).any(axis=2).mean()
    return bool(0.005 < ink < 0.5)


def test_spikes_are_drawn_with_their_rates(tmp_path: Path) -> None:
    spikes = evsim.load_spikes(demo_path("digits-spikes.h5"))
    figure = plots.plot_spikes(spikes, 3, class_names(demo_path("digits-spikes.h5")))
    axes = axes_of(figure)
    one = spikes[3]
    begin, end = axes["rate"].get_xlim()
    assert begin == 0.0 and one.times.max() < end < 1.1 * one.times.max()
    told = f"0 to {end:.4g} s of 1 s are drawn; rates are of that time"
    assert figure.get_suptitle() == f"Recording 3, label 3 (three)\n{told}"
    dots = axes["raster"].collections[0].get_offsets()
    np.testing.assert_allclose(dots, np.column_stack([one.times, one.units]))
    assert axes["raster"].get_ylabel() == "unit"
    assert axes["rate"].get_xlabel() == "time [s]"
    assert axes["rate"].get_ylabel() == "rate [Hz per unit]"
    heights, edges, _ = axes["rate"].patches[0].get_data()
    assert (heights * np.diff(edges)).sum() * one.size == pytest.approx(len(one.times))
    rates, edges, _ = axes["units"].patches[0].get_data()
    assert (rates * np.diff(edges)).sum() * end == pytest.approx(len(one.times))
    assert is_varied(figure)
    assert written(figure, tmp_path / "spikes.png").startswith(b"\x89PNG")


def test_a_result_has_a_row_for_everything_recorded(tmp_path: Path) -> None:
    figure = plots.plot_result(small_result(), 0, DIGITS)
    axes = axes_of(figure)
    rows = [label for label in axes if label.split()[-1] not in ("units", "output", "key")]
    assert rows == ["input", "hidden", "hidden voltage", "readout voltage"]
    titles = [a.get_title(loc="left") for a in figure.axes]
    assert "input: 20 spikes of 3 units, 13.3 Hz per unit" in titles
    assert {"Hz per unit", "value of readout"} < set(titles)
    shown = [text for text in figure.findobj(Text) if text.get_text() and text.get_text() in titles]
    assert len(shown) > 6 and {text.get_fontsize() for text in shown} == {9.5}
    assert any("voltage of 5 of 40 units" in title for title in titles)
    assert figure.get_suptitle() == "Recording 0, label 2 (two), readout answers 2 (two)"
    assert axes["readout voltage"].get_ylabel() == "voltage [no unit]"
    assert [a.get_xlabel() for a in figure.axes].count("time [s]") == 1
    assert is_varied(figure)
    assert len(written(figure, tmp_path / "result.png")) > 20_000


def test_a_wrong_answer_is_shown_beside_the_label() -> None:
    axes = axes_of(plots.plot_result(small_result(), 1, DIGITS))
    names = [text.get_text() for text in axes["readout voltage"].get_legend().get_texts()]
    assert names == ["answer: 0 (zero)", "label: 1 (one)"]
    colours = {bar.get_facecolor() for bar in axes["readout output"].patches}
    assert len(colours) == 3  # answer, label, the rest
    ticks = [text.get_text() for text in axes["readout output"].get_yticklabels()]
    assert ticks == DIGITS


def test_a_result_may_hold_only_a_readout() -> None:
    result = small_result(spikes={}, voltage={}, voltage_times={}, labels=None)
    figure = plots.plot_result(result, 0)
    assert set(axes_of(figure)) == {"readout output"}
    assert figure.get_suptitle() == "Recording 0, readout answers 2"


def test_a_result_may_hold_silent_populations() -> None:
    silent = evsim.Spikes.from_recordings([([], []), ([], [])], 5, 0.5)
    figure = plots.plot_result(small_result(spikes={"hidden": silent}, voltage={}), 1)
    assert "hidden: 0 spikes of 5 units" in axes_of(figure)["hidden"].get_title(loc="left")
    assert is_varied(figure)


def test_a_network_shows_all_delays_and_weights(tmp_path: Path) -> None:
    net = evsim.Network.load(demo_path("digits-demo.h5"))
    figure = plots.plot_network(net)
    axes = axes_of(figure)
    for name, projection in net.projections.items():
        assert axes[f"{name} delay"].get_xlabel() == "delay [ms]"
        assert axes[f"{name} weight"].get_xlabel() == "weight [no unit]"
        n = len(projection.synapses(net.populations[projection.pre].size).weight)
        assert f"{name}: {n:,} synapses" == axes[f"{name} delay"].get_title(loc="left")
    assert axes["input->hidden delay"].get_xlim()[1] > 150
    assert is_varied(figure)
    assert len(written(figure, tmp_path / "network.png")) > 20_000


def test_a_network_whose_delays_are_all_alike() -> None:
    net = evsim.Network(
        [evsim.Population("input", "Input", 2), evsim.Population("out", "LIF", 3, tau_mem=0.02)],
        [evsim.Dense(pre="input", post="out", weight=np.eye(3, 2), delay=np.array(0.01))],
    )
    axes = axes_of(plots.plot_network(net))
    assert axes["input->out delay"].get_title(loc="right") == "all 10 ms"


@pytest.mark.parametrize("recording", [-1, 2])
def test_a_recording_that_is_not_there(recording: int) -> None:
    with pytest.raises(ValueError, match=f"recording {recording} does not exist; there are 2"):
        plots.plot_result(small_result(), recording)
    with pytest.raises(ValueError, match=f"recording {recording} does not exist; there are 2"):
        plots.plot_spikes(small_result().spikes["input"], recording)


def test_nothing_to_draw() -> None:
    with pytest.raises(ValueError, match="no spikes, voltages or readout values"):
        plots.plot_result(evsim.Result(duration=1.0))


def test_a_picture_is_whole_or_absent(tmp_path: Path) -> None:
    figure = plots.plot_result(small_result())
    with pytest.raises(ValueError, match="'xyz' is not supported"):
        plots.save_figure(tmp_path / "picture.xyz", figure)
    with pytest.raises(ValueError, match=r"picture.PGF: pgf is not written, .*; use .pdf"):
        plots.save_figure(tmp_path / "picture.PGF", figure)
    assert list(tmp_path.iterdir()) == []
    assert written(figure, tmp_path / "picture.pdf").startswith(b"%PDF")
    with pytest.raises(FileExistsError, match="picture.pdf: exists already"):
        plots.save_figure(tmp_path / "picture.pdf", figure)


def test_text_histogram_counts_everything() -> None:
    values = np.random.default_rng(1).normal(size=1000)
    lines = text_histogram(values, "ms", "synapses")
    assert sum(int(line.split("|")[1].strip("# ").split()[0]) for line in lines) == 1000
    assert lines[0].endswith("synapses") and len({line.index("|") for line in lines}) == 1
    assert text_histogram([2.0, 2.0], "ms", "synapses") == []
