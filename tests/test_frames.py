"""Pictures of what a camera saw: what their axes say and hold."""

from pathlib import Path

import numpy as np
import pytest

from evsim import Spikes
from evsim.datasets.formats.frames import frames, plot_frames
from evsim.datasets.recognise import recognise

pytest.importorskip("matplotlib")
GENUINE = Path(__file__).parent / "data" / "events" / "nmnist-train-00001.bin"


def test_every_event_is_counted_once_in_its_place():
    times, units = [0.0, 0.09, 0.1, 0.399999], [0, 0, 2 * 12 - 1, 12 + 5]
    spikes = Spikes(times, units, size=24, duration=0.4)
    counts = frames(spikes, (2, 3, 4), 0, 4)
    assert counts.shape == (2, 4, 3, 4) and counts.sum() == 4
    assert counts[0, 0, 0, 0] == 2 and counts[1, 1, 2, 3] == 1 and counts[1, 3, 1, 1] == 1


def test_a_genuine_recording(tmp_path):
    data = recognise(GENUINE)
    spikes = data.spikes()
    figure = plot_frames(spikes, data.sensor, classes=["a five"])
    axes = {axes.get_label(): axes for axes in figure.axes}
    assert figure.get_suptitle() == "Recording 0, label 0 (a five)"
    counts = frames(spikes, data.sensor, 0, 4)
    for i in range(4):
        np.testing.assert_array_equal(axes[f"OFF {i}"].images[0].get_array(), counts[0, i])
        np.testing.assert_array_equal(axes[f"ON {i}"].images[0].get_array(), counts[1, i])
    assert axes["ON 1"].get_title(loc="left") == "100 to 200 ms"
    assert axes["OFF 1"].get_title(loc="left") == ""
    figure.savefig(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_one_polarity_and_no_events(tmp_path):
    figure = plot_frames(Spikes([], [], size=6, duration=1.0), (1, 2, 3))
    assert [a.get_label() for a in figure.axes if a.images][:2] == ["events 0", "events 1"]
    assert figure.get_suptitle() == "Recording 0"
    figure.savefig(tmp_path / "a.png")


def test_wrong_arguments():
    spikes = Spikes([], [], size=6, duration=1.0)
    with pytest.raises(ValueError, match="recording 1 does not exist; there are 1"):
        plot_frames(spikes, (1, 2, 3), 1)
    for sensor in ((2, 2, 3), (6,)):
        with pytest.raises(ValueError, match="does not have the 6 units"):
            plot_frames(spikes, sensor)
