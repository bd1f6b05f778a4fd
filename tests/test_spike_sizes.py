"""The number of units that spikes come from: told, or taken from the largest one."""

import copy
import pickle

import pytest
from in_process import run
from small_takers import DURATION, LAYERS, SIZE, TAKERS, network
from torch import nn

import evsim
from evsim import Spikes
from evsim import gradients as g
from evsim.datasets import jitter_times, sum_channels
from evsim.taken_spikes import as_spikes


def other_size(size):
    return Spikes([0.01, 0.02], [0, 1], size=size, duration=DURATION)


SIZED = {
    **{name: TAKERS[name] for name in LAYERS},
    **{name: TAKERS[name] for name in ("simulate", "cross_check", "reference_run", "fit_weights")},
    "in between": lambda s: nn.Sequential(g.Delay(s.size), LAYERS["LI"]())(s),
}


@pytest.mark.parametrize("taker", SIZED)
@pytest.mark.parametrize("size", [2, 4])
def test_a_known_size_that_differs_is_refused_with_both(taker, size):
    with pytest.raises(ValueError, match=f"come from {size} units, but .*{SIZE}") as refusal:
        SIZED[taker](other_size(size))
    assert "\n" not in str(refusal.value)
    assert (f"Spikes(..., size={SIZE})" in str(refusal.value)) == (size < SIZE)


def test_a_size_that_nobody_told_may_be_smaller_whatever_was_done_to_it(tmp_path):
    spikes = Spikes([0.01, 0.02, 0.03], [0, 1, 1], [0, 2, 3], duration=DURATION)
    evsim.save_spikes(tmp_path / "untold.h5", spikes)
    with evsim.SpikeFile(tmp_path / "untold.h5") as file:
        (batch,) = file.batches()
    for untold in (
        spikes, spikes[0], spikes[[1, 0]], spikes[:1], spikes.before(0.025), spikes.torch(),
        spikes.torch().numpy(), spikes.to("cpu"), pickle.loads(pickle.dumps(spikes)),
        copy.deepcopy(spikes), jitter_times(spikes, 1e-3, 0), sum_channels(spikes, 1),
        evsim.concatenate([spikes, spikes]), evsim.concatenate([spikes.torch(), spikes]),
        evsim.load_spikes(tmp_path / "untold.h5"), batch, [spikes, spikes],
    ):  # fmt: skip
        assert not as_spikes(untold, "a taker").size_told
        evsim.simulate(network(), untold)
        LAYERS["CubaLIF"]()(untold)
    given = other_size(2)
    for told in (given, given[0], given.torch(), evsim.concatenate([given, spikes])):
        assert told.size_told
    with pytest.raises(ValueError, match="come from 5 units"):
        evsim.simulate(network(), Spikes([0.01], [4], duration=DURATION))


def test_the_command_refuses_a_file_that_says_another_size(tmp_path):
    done = run(tmp_path, "simulate", "digits-demo.h5", "spoken-digits-70.h5", "-o", "out.h5")
    assert done.returncode == 2 and not list(tmp_path.iterdir())
    assert "the spikes come from 70 units, but input population 'in" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("size", [2.7, -1, float("nan"), float("inf")])
def test_a_size_is_a_whole_number(size):
    with pytest.raises(ValueError, match=f"spikes: size = {size}, must"):
        Spikes([0.1], [0], size=size)
    with pytest.raises(TypeError, match="spikes: size = '3', must be a whole number"):
        Spikes([0.1], [0], size="3")
    assert Spikes([0.1], [0], size=3.0).size == 3


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_a_told_size_is_that_of_every_part(kind):
    told, wider = (getattr(spikes, kind)() for spikes in (other_size(2), Spikes([0.1], [2])))
    words = r"part 0 comes from 2 units, but part 1 from 3; .*Spikes\(\.\.\., size=3\)"
    with pytest.raises(ValueError, match=words):
        evsim.concatenate([told, wider])
