"""Pictures in one's own axes: what is drawn there, and that nothing else is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from in_process import run
from small_pictures import small_net, small_run, write_run

import evsim
from evsim import plots
from evsim.files import FileError
from evsim.plots.choice import drawn_window, first_of_class, parse_units, unit_numbers

matplotlib = pytest.importorskip("matplotlib")
from matplotlib.figure import Figure  # noqa: E402

NET = small_net()
RESULT = small_run(NET)
LOG = "epoch,train_loss,train_accuracy,validation_loss,validation_accuracy\n"


@pytest.fixture
def axes() -> Any:
    return Figure().subplots()


def dots(axes: Any) -> Any:
    return np.asarray(axes.collections[0].get_offsets())


def test_every_function_returns_the_axes_and_leaves_settings_alone(axes: Any) -> None:
    before = dict(matplotlib.rcParams)
    history = [dict(epoch=1, train_accuracy=0.5, validation_accuracy=0.4)]
    for draw in (
        lambda a: plots.raster(a, RESULT.spikes["hidden"]),
        lambda a: plots.voltage(a, RESULT, "hidden"),
        lambda a: plots.delays(a, NET, "input->hidden"),
        lambda a: plots.weights(a, NET, "input->hidden"),
        lambda a: plots.accuracy(a, history),
    ):
        figure = Figure()
        mine, other = figure.subplots(1, 2)
        assert draw(mine) is mine
        assert mine.has_data() and not other.has_data()
        assert mine.get_xlabel() and mine.get_ylabel() and not mine.get_legend()
    assert dict(matplotlib.rcParams) == before


def test_a_raster_ends_where_the_spikes_end(axes: Any) -> None:
    one = RESULT.spikes["input"][1]
    plots.raster(axes, RESULT.spikes["input"], 1)
    np.testing.assert_array_equal(dots(axes), np.column_stack([one.times, one.units]))
    begin, end = axes.get_xlim()
    assert begin == 0 and one.times.max() < end < 1.1 * one.times.max()
    assert axes.get_xlabel() == "time [s]"


def test_a_raster_of_chosen_units_and_times(axes: Any) -> None:
    one = RESULT.spikes["input"][0]
    plots.raster(axes, RESULT.spikes["input"], 0, [1, 4], (0.05, 0.1))
    keep = (one.times >= 0.05) & (one.times <= 0.1) & np.isin(one.units, [1, 4])
    assert keep.any()
    rows = (one.units[keep] == 4).astype(int)  # the units between are no empty rows
    np.testing.assert_array_equal(dots(axes), np.column_stack([one.times[keep], rows]))
    assert axes.get_xlim() == (0.05, 0.1)
    assert axes.get_xlabel() == "time [ms]"  # of the labels: the data stay in seconds
    axes.figure.canvas.draw()
    assert [t.get_text() for t in axes.get_yticklabels()] == ["1", "4"]
    assert "60" in [t.get_text() for t in axes.get_xticklabels()]


@pytest.mark.parametrize(
    ("units", "expected"),
    [(None, [0, 1, 2, 3, 4]), (2, [2]), (slice(3, None), [3, 4]), (range(0, 4, 2), [0, 2]),
     (np.array([4, 0, 4]), [0, 4]), ([], [])],
)  # fmt: skip
def test_units_are_chosen_in_any_way(units: Any, expected: list[int]) -> None:
    assert unit_numbers(units, 5).tolist() == expected


def test_units_and_times_that_are_not_there(axes: Any) -> None:
    spikes = RESULT.spikes["input"]
    with pytest.raises(ValueError, match="unit 6 does not exist; there are 6, from 0"):
        plots.raster(axes, spikes, units=[0, 6])
    with pytest.raises(ValueError, match="unit -1 does not exist"):
        plots.voltage(axes, RESULT, "hidden", units=-1)
    with pytest.raises(ValueError, match="give an int, a slice"):
        plots.raster(axes, spikes, units=[0.5])
    with pytest.raises(ValueError, match="the recording ends at 2 s"):
        plots.raster(axes, spikes, window=(2.0, 3.0))
    for window in ((1.9999999999999998, 3.0), (0.0, 5e-324)):
        with pytest.raises(ValueError, match="is too short to be drawn"):
            plots.raster(axes, spikes, window=window)
    for window in ((0.2, 0.1), (-1.0, 1.0), (np.nan, 1.0)):
        with pytest.raises(ValueError, match="must be 0 <= from < to"):
            plots.raster(axes, spikes, window=window)
    with pytest.raises(ValueError, match="recording 3 does not exist"):
        plots.raster(axes, spikes, 3)


def test_the_window_goes_to_the_end_where_spikes_do() -> None:
    late = evsim.Spikes([0.1, 0.95], [0, 0], size=1, duration=1.0)
    silent = evsim.Spikes([], [], size=1, duration=1.0)
    early = evsim.Spikes([0.1, 0.201], [0, 0], size=1, duration=1.0)
    assert drawn_window(None, 1.0, [early, late]) == (0.0, 1.0)
    assert drawn_window(None, 1.0, [silent]) == (0.0, 1.0)
    assert drawn_window(None, 1.0, [early, silent]) == (0.0, 0.21)
    assert drawn_window((0.5, 9.0), 1.0, [early]) == (0.5, 1.0)


def test_times_next_to_nothing_are_drawn_or_refused_in_a_line() -> None:
    for time in (5e-324, 1e-300, 1e-100, 1e-20):
        one = evsim.Spikes([time], [0], size=3, duration=1.0)
        assert drawn_window(None, 1.0, [one])[1] == (
            1.0 if time < 1e-100 else pytest.approx(1.1 * time)
        )
        figure = plots.plot_spikes(one)
        figure.canvas.draw()
    plots.plot_spikes(one, window=(1 - 2e-12, 1.0)).canvas.draw()
    with pytest.raises(ValueError, match="the recording lasts 5e-324 s: too short to be drawn"):
        plots.plot_spikes(evsim.Spikes([0.0], [0], size=1, duration=5e-324))


def test_a_voltage_has_its_threshold_and_unit(axes: Any) -> None:
    plots.voltage(axes, RESULT, "hidden", 1, units=[0, 3], window=(0.0, 0.3))
    zero, three, threshold = axes.get_lines()
    times = RESULT.voltage_times["hidden"]
    keep = times <= 0.3
    np.testing.assert_array_equal(zero.get_xdata(), times[keep])
    np.testing.assert_array_equal(three.get_ydata(), RESULT.voltage["hidden"][1][keep, 3])
    assert [line.get_label() for line in (zero, three)] == ["unit 0", "unit 3"]
    assert threshold.get_label() == "threshold 1"
    assert set(threshold.get_ydata()) == {1.0}
    assert axes.get_ylabel() == "voltage [threshold]"


def test_other_thresholds_are_drawn_and_no_unit(axes: Any) -> None:
    plots.voltage(axes, small_run(small_net(threshold=2.5), 1), "hidden")
    assert axes.get_lines()[-1].get_label() == "threshold 2.5"
    assert axes.get_ylabel() == "voltage [no unit]"


def test_voltages_of_ones_own(axes: Any) -> None:
    times, values = [0.0, 0.1, 0.2], [[0.0, 1.0], [0.5, 0.0], [0.2, 3.0]]
    plots.voltage(axes, (times, values), threshold=[1.0, 2.0])
    lines = axes.get_lines()
    np.testing.assert_array_equal(lines[1].get_ydata(), [1.0, 0.0, 3.0])
    assert [line.get_ydata()[0] for line in lines[2:]] == [1.0, 2.0]
    with pytest.raises(ValueError, match=r"must be \[time, unit\] and \[time\]"):
        plots.voltage(axes, (times, [0.0, 1.0, 2.0]))


def test_every_unit_has_its_threshold(axes: Any) -> None:
    levels = np.linspace(1.0, 2.0, 7)
    plots.voltage(axes, ([0.0, 0.1], np.zeros((2, 7))), units=range(7), threshold=levels)
    units, thresholds = axes.get_lines()[:7], axes.get_lines()[7:]
    assert [line.get_ydata()[0] for line in thresholds] == levels.tolist()
    assert [line.get_color() for line in thresholds] == [line.get_color() for line in units]


def test_voltages_that_are_not_there(axes: Any) -> None:
    with pytest.raises(ValueError, match="say which; the result holds the voltage of: hidden, re"):
        plots.voltage(axes, RESULT)
    with pytest.raises(ValueError, match="no voltage of 'input'"):
        plots.voltage(axes, RESULT, "input")


def test_delays_and_weights_count_every_synapse(axes: Any) -> None:
    projection = NET.projections["input->hidden"]
    plots.delays(axes, NET, "input->hidden")
    assert axes.get_xlabel() == "delay [ms]"
    middle = 1e3 * np.median(projection.delay)
    assert axes.get_title(loc="right") == f"median {middle:.3g} ms"
    other = Figure().subplots()
    plots.delays(other, projection.delay)  # an array of them is the same
    assert other.get_title(loc="right") == axes.get_title(loc="right")
    third = Figure().subplots()
    plots.weights(third, NET, "hidden->readout")
    assert third.get_xlabel() == "weight [no unit]"
    with pytest.raises(ValueError, match="say which; the network has: input->hidden, hidden->r"):
        plots.delays(axes, NET)
    with pytest.raises(ValueError, match="no projection 'x'"):
        plots.weights(axes, NET, "x")


def test_delays_before_and_after_are_a_movement(axes: Any) -> None:
    before = np.array([0.010, 0.020, 0.030, 0.040])
    after = before + np.array([-0.004, 0.001, 0.002, 0.0])
    plots.delays(axes, after, before=before)
    shorter, longer = axes.patches
    assert (shorter.get_data().values.sum(), longer.get_data().values.sum()) == (1, 2)
    assert [p.get_label() for p in (shorter, longer)] == ["25% shorter", "50% longer"]
    assert axes.get_title() == "3 of 4 moved, half by more than 2 ms"
    assert axes.get_xlabel() == "delay after - before [ms]"
    with pytest.raises(ValueError, match="there are 4 delays after and 3 before"):
        plots.delays(axes, after, before=before[:3])
    mostly = Figure().subplots()
    plots.weights(mostly, np.append(np.zeros(90), np.arange(-10, 0)), before=np.zeros(100))
    assert [p.get_data().values.sum() for p in mostly.patches] == [10, 0]
    assert [p.get_label() for p in mostly.patches] == ["10% smaller", "0% larger"]
    whole = Figure().subplots()
    plots.delays(whole, after[:3], before=before[:3])
    assert whole.get_title() == "half moved by more than 2 ms"
    still = Figure().subplots()
    plots.delays(still, NET, "input->hidden", before=NET)
    assert still.get_title(loc="right") == "none moved"


def test_accuracy_of_a_log(axes: Any, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(LOG + "1,2.0,0.3,1.9,0.4\n2,1.0,0.6,0.8,0.9\n3,.5,.9,.9,.8\n")
    plots.accuracy(axes, tmp_path / "log.csv")
    train, validation, best = axes.get_lines()
    np.testing.assert_allclose(train.get_ydata(), [30, 60, 90])
    np.testing.assert_allclose(validation.get_ydata(), [40, 90, 80])
    assert best.get_label() == "best: epoch 2"
    assert axes.get_ylabel() == "accuracy [%]"


@pytest.mark.parametrize(
    ("line", "message"),
    [("1e400,2,.3,2,.4", "record 1: epoch = inf, must be from 0 to"),
     ("1,2,.3,2,nan", "epoch 1: validation_accuracy = nan, must be from 0 to 1"),
     ("1,2,-1e300,2,.4", "epoch 1: train_accuracy = -1e[+]300, must be")],
)  # fmt: skip
def test_absurd_numbers_of_a_log(axes: Any, tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "log.csv").write_text(LOG + line + "\n")
    with pytest.raises(ValueError, match=message):
        plots.accuracy(axes, tmp_path / "log.csv")
    (tmp_path / "log.csv").write_text(LOG + "1,nan,.3,inf,.4\n2,1,.3,2,.3\n")  # a loss may be
    plots.accuracy(axes, tmp_path / "log.csv", what="loss").figure.canvas.draw()


def test_delays_and_weights_that_are_no_numbers(axes: Any) -> None:
    with pytest.raises(ValueError, match=r"delays\[1\] = nan, must be finite"):
        plots.delays(axes, [1.0, np.nan])
    with pytest.raises(ValueError, match=r"weights\[0, 1\] = inf, must be finite"):
        plots.weights(axes, [[1.0, np.inf]])
    with pytest.raises(ValueError, match=r"delays\[0\] = -inf, must be finite"):
        plots.delays(axes, [1.0], before=[-np.inf])


def test_of_equal_epochs_the_best_is_that_of_less_loss(axes: Any) -> None:
    losses = [0.9, 0.5, 0.7]
    history = [
        dict(epoch=i, train_accuracy=0.5, validation_accuracy=0.8, validation_loss=loss)
        for i, loss in enumerate(losses, 1)
    ]
    plots.accuracy(axes, history)
    assert axes.get_lines()[-1].get_label() == "best: epoch 2"


@pytest.mark.parametrize(
    ("text", "message"),
    [("a,b\n1,2\n", "column 'epoch' is missing"), (LOG + "1,2,3,4,x\n", "line 2: .* no number"),
     (LOG + "1,2\n", "line 2: .* no number")],
)  # fmt: skip
def test_a_log_that_is_none(axes: Any, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(FileError, match=message):
        plots.accuracy(axes, tmp_path / "log.csv")


def test_units_of_a_command() -> None:
    assert parse_units("3, 0-2,2").tolist() == [0, 1, 2, 3]
    for wrong in ("", "a", "1-", "-1", "5-2", "0-99999999", "1;2"):
        with pytest.raises(ValueError, match="units"):
            parse_units(wrong)


def test_the_first_recording_of_a_class() -> None:
    labels = np.array([2, 0, 1, 0])
    assert first_of_class(labels, "zero", ["zero", "one"]) == 1
    assert first_of_class(labels, "2", ["zero", "one"]) == 0
    with pytest.raises(ValueError, match="class 'three': .* there are zero, one, 2"):
        first_of_class(labels, "three", ["zero", "one"])
    with pytest.raises(ValueError, match="no labels"):
        first_of_class(None, "0", None)


def test_the_command_draws_chosen_units_times_and_classes(tmp_path: Path) -> None:
    write_run(tmp_path)
    words = ["plot", "out.h5", "-o", "a.svg", "--class", "yes", "--units", "0-1,5"]
    done = run(tmp_path, *words, "--from", "0.05", "--to", "0.25")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "picture in a.svg\n")
    figure = plots.plot_file(tmp_path / "out.h5", 1, None, [0, 1, 5], (0.05, 0.25))
    told = "0.05 to 0.25 s of 2 s are drawn; rates are of that time"
    assert figure.get_suptitle().startswith("Recording 1, label 1 (yes), readout answers")
    assert figure.get_suptitle().endswith(told)
    titles = [a.get_title(loc="left") for a in figure.axes]
    assert any("of 3 of 6 units" in title for title in titles)
    assert any("of 2 of 5 units" in title for title in titles)
    for more, message in (
        (["--recording", "0"], "--recording and --class exclude each other"),
        (["--class", "maybe"], "no recording has this label; there are no, yes"),
        (["--units", "6-9"], "no population has any of those chosen"),
        (["--from", "2"], "the recording ends at 2 s"),
    ):
        done = run(tmp_path, *words[:2], "-o", "b.svg", *words[4:], *more)
        assert done.returncode == 2 and message in done.stderr
    assert not (tmp_path / "b.svg").exists()
