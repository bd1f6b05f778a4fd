"""Times in ticks: what meets on a grid meets exactly, and what is off the grid is refused."""

import numpy as np
import pytest
from in_process import run

import evsim
from evsim.ticks import exactly, nearest

ENGINES = ("compiled", "reference")
TAU = {"tau_mem": 20e-3, "tau_syn": 5e-3}


def pair(delay=2e-3, **cells):
    """Return a unit that one input excites and the other, later, inhibits."""
    return evsim.Network(
        [
            evsim.Population("in", "Input", 2),
            evsim.Population("p", "LIF", 1, tau_mem=20e-3, **cells),
        ],
        [evsim.Dense(pre="in", post="p", weight=[[1.0, -0.5]], delay=np.array([0.0, delay]))],
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_what_meets_on_a_grid_is_one_instant(engine):
    found = {None: 0, 1e-3: 0}
    for k in range(2, 1001, 1 if engine == "compiled" else 7):
        spikes = evsim.Spikes([k * 1e-3, (k - 2) * 1e-3], [0, 1], size=2, duration=2.0)
        for tick in found:
            result = evsim.simulate(pair(), spikes, engine=engine, tick=tick, threads=1)
            found[tick] += len(result.spikes["p"].times)
    assert found[1e-3] == 0 < found[None]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_refractory_period_never_swallows_what_comes_at_its_end(engine):
    net = evsim.Network(
        [
            evsim.Population("in", "Input", 1),
            evsim.Population("p", "LIF", 1, tau_mem=20e-3, refractory=3e-3),
        ],
        [evsim.Dense(pre="in", post="p", weight=[[1.0]])],
    )
    times = 3e-3 * np.arange(300)
    spikes = evsim.Spikes(times, np.zeros(300, int), size=1, duration=1.0)
    found = evsim.simulate(net, spikes, engine=engine, tick=1e-3).spikes["p"].times
    np.testing.assert_allclose(found, times, rtol=0, atol=1e-15)
    assert len(evsim.simulate(net, spikes, engine=engine).spikes["p"].times) < 300


def random_network(rng, model, output="integral"):
    ticks = {"delay": 1e-3 * rng.integers(0, 9, (6, 4))}
    refractory = {} if model == "SRM" else {"refractory": 2e-3}
    taus = {"tau_syn": 5e-3} if model == "SRM" else TAU if model == "CubaLIF" else {"tau_mem": 0.02}
    return evsim.Network(
        [
            evsim.Population("in", "Input", 4),
            evsim.Population("cells", model, 6, **taus, **refractory),
            evsim.Population("out", "CubaLI", 2, **TAU, output=output),
        ],
        [
            evsim.Dense(pre="in", post="cells", weight=rng.uniform(0, 4, (6, 4)), **ticks),
            evsim.Dense(pre="cells", post="cells", weight=-rng.random((6, 6)), delay=1e-3),
            evsim.Dense(pre="cells", post="out", weight=rng.normal(size=(2, 6))),
        ],
    )


@pytest.mark.parametrize("model", ["CubaLIF", "LIF", "SRM"])
@pytest.mark.parametrize("output", ["max", "last", "integral"])
def test_in_ticks_a_network_does_what_it_does_in_seconds(model, output):
    rng = np.random.default_rng(3)
    net = random_network(rng, model, output)
    times = 1e-3 * np.sort(rng.choice(200, 60, replace=False))  # no ties of input
    spikes = evsim.Spikes(times, rng.integers(0, 4, 60), [0, 20, 60], 4, 0.25, [0, 1])
    at = {"out": [0.0123, 0.2], "cells": [0.1]}
    usual = evsim.simulate(net, spikes, voltage=at)
    found = evsim.simulate(net, spikes, voltage=at, tick=1e-3)
    if model != "LIF":  # which has ties of its own
        np.testing.assert_array_equal(found.spikes["cells"].units, usual.spikes["cells"].units)
        np.testing.assert_allclose(
            found.spikes["cells"].times, usual.spikes["cells"].times, rtol=0, atol=1e-14
        )
        np.testing.assert_allclose(found.output["out"], usual.output["out"], atol=1e-12)
        np.testing.assert_allclose(found.voltage["out"], usual.voltage["out"], atol=1e-9)
    slow = evsim.simulate(net, spikes, voltage=at, tick=1e-3, engine="reference")
    np.testing.assert_array_equal(found.spikes["cells"].units, slow.spikes["cells"].units)
    assert found.voltage_times["out"].tolist() == [0.0123, 0.2] and found.duration == 0.25
    assert found.labels.tolist() == [0, 1] and found.spikes["cells"].duration == 0.25


@pytest.mark.parametrize(
    ("net", "spikes", "match"),
    [
        (pair(), evsim.Spikes([0.01, 0.0205], [0, 0], [0, 1, 2], 2, 1.0),
         r"spikes: recording 1: times\[0\] = 0.0205 s is no whole number of ticks of 0.001 s"),
        (pair(2.5e-3), None, r"'in->p': delay\[1\] = 0.0025 s is no whole number"),
        (pair(refractory=1e-4), None, r"population 'p': refractory\[0\] = 0.0001 s is no whole"),
        (pair(), evsim.Spikes([0.01], [0], size=2, duration=0.0995), r"duration\[0\] = 0.0995 s"),
    ],
)  # fmt: skip
def test_what_is_off_the_grid_is_refused(net, spikes, match):
    spikes = evsim.Spikes([0.01], [0], size=2, duration=1.0) if spikes is None else spikes
    with pytest.raises(ValueError, match=match):
        evsim.simulate(net, spikes, tick=1e-3)


def test_a_tick_is_positive():
    for tick in (0.0, -1e-3, np.nan, np.inf):
        with pytest.raises(ValueError, match="tick = "):
            evsim.Simulator(pair(), tick=tick)


def test_whole_numbers():
    times = np.array([0.0, 0.3, 0.1 + 0.2, 1e3])
    assert exactly("times", times, 0.1).tolist() == [0, 3, 3, 10000]
    assert nearest("times", np.array([0.0, 0.26]), 0.1, 1).tolist() == [1, 3]
    with pytest.raises(ValueError, match=r"times\[1, 0\] = 0.25 s"):
        exactly("times", np.array([[0.1], [0.25]]), 0.1)


def test_a_runaway_is_told_in_ticks():
    cells = evsim.Population("cells", "CubaLIF", 20, **TAU)
    into = evsim.Dense(pre="in", post="cells", weight=np.full((20, 1), 20.0))
    loop = evsim.Dense(pre="cells", post="cells", weight=np.full((20, 20), 5.0), delay=1e-3)
    net = evsim.Network([evsim.Population("in", "Input", 1), cells], [into, loop], output="cells")
    spikes = evsim.Spikes([0.001], [0], size=1, duration=1.0)
    with pytest.raises(evsim.RunawayError, match="in ticks of 0.001 s: population 'cells'"):
        evsim.simulate(net, spikes, tick=1e-3, max_rate=1.0)


def test_the_command_takes_a_tick(tmp_path):
    pair().save(tmp_path / "net.h5")
    spikes = evsim.Spikes([0.035, 0.033], [0, 1], size=2, duration=0.1)
    evsim.save_spikes(tmp_path / "spikes.h5", spikes)
    done = run(tmp_path, "simulate", "net.h5", "spikes.h5", "-o", "out.h5", "--tick", 1e-3)
    assert done.returncode == 0 and "p: 0 spikes" in done.stdout
    assert "tick: 0.001" in run(tmp_path, "info", "out.h5").stdout
    done = run(tmp_path, "simulate", "net.h5", "spikes.h5", "-o", "no.h5", "--tick", 2e-3)
    assert done.returncode == 2 and "no whole number of ticks of 0.002 s" in done.stderr
    assert not (tmp_path / "no.h5").exists()


# --- layers ---


@pytest.mark.parametrize("model", ["CubaLIF", "SRM", "CubaLI", "LI"])
@pytest.mark.parametrize("delay", ["axonal", "synaptic"])
def test_a_layer_in_ticks_has_the_gradients_of_one_in_seconds(model, delay):
    torch = pytest.importorskip("torch")
    from evsim import gradients as g

    rng = np.random.default_rng(5)
    taus = {"LI": {"tau_mem": 0.02}, "SRM": {"tau_syn": 5e-3}}.get(model, TAU)
    more = {"output": "integral"} if model in ("CubaLI", "LI") else {}
    if model == "CubaLIF":
        more = {"refractory": 2e-3, "recurrent": "dense", "recurrent_delay": "axonal"}
    times = 1e-3 * np.sort(rng.choice(200, 40, replace=False))
    found = []
    for tick in (None, 1e-3):
        torch.manual_seed(1)
        learn = tuple(taus) + (("refractory",) if model == "CubaLIF" else ())
        layer = getattr(g, model)(
            4, 6, **taus, **more, learn=learn, delay=delay, tick=tick, dtype=torch.float64
        )
        with torch.no_grad():
            for name in ("delay", "recurrent_delay"):
                late = getattr(layer, name, None)
                if late is not None:
                    late.copy_(1e-3 * torch.randint(1, 9, late.shape).double())
            layer.weight.add_(1.0)
        given = evsim.Spikes(times, np.arange(40) % 4, [0, 15, 40], 4, 0.25).torch()
        given.times.requires_grad_()
        out = layer(given)
        values = out.times if isinstance(out, evsim.Spikes) else out
        (values * torch.linspace(1, 2, values.numel()).view_as(values)).sum().backward()
        grads = {name: p.grad for name, p in layer.named_parameters()}
        told = layer.diagnostics if isinstance(out, evsim.Spikes) else None
        found.append((values.detach(), given.times.grad, grads, told))
    (usual, g_in, grads, told), (ticked, tick_in, tick_grads, tick_told) = found
    assert len(usual) == len(ticked) > 0
    torch.testing.assert_close(ticked, usual, rtol=0, atol=1e-12)
    torch.testing.assert_close(tick_in, g_in, rtol=1e-8, atol=1e-10)
    for name, gradient in grads.items():
        torch.testing.assert_close(tick_grads[name], gradient, rtol=1e-8, atol=1e-9)
    if told is not None:
        assert tick_told.rate == pytest.approx(told.rate)
        assert tick_told.smallest_slope == pytest.approx(told.smallest_slope)
        assert tick_told.n_grazing == told.n_grazing


def test_a_layer_in_ticks_decides_ties_on_the_grid():
    torch = pytest.importorskip("torch")
    from evsim import gradients as g

    layer = g.LI(2, 1, 20e-3, delay="axonal", tick=1e-3, output="max")
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -0.5]]))
        layer.delay.copy_(torch.tensor([0.0, 2e-3]))
    for k in range(2, 200):
        spikes = evsim.Spikes([k * 1e-3, (k - 2) * 1e-3], [0, 1], size=2, duration=0.5)
        assert layer(spikes).item() == 0.5
    with pytest.raises(ValueError, match=r"recording 0: times\[0\] = 0.0105 s is no whole number"):
        layer(evsim.Spikes([0.0105], [0], size=2, duration=0.5))
    with pytest.raises(ValueError, match="tick: times of a grid"):
        from evsim.gradients import dense

        dense.LI(2, 1, 20e-3, dt=1e-3, tick=1e-3)


@pytest.mark.parametrize("time", [1e-300, 1e-12, 4e-10])
def test_what_is_not_0_is_never_taken_for_it(time):
    with pytest.raises(ValueError, match=r"delay\[1\] = \S+ s is no whole number of ticks"):
        exactly("delay", np.array([0.0, time]), 1e-3)
    with pytest.raises(ValueError, match="no whole number of ticks"):
        evsim.simulate(pair(), evsim.Spikes([], [], size=2, duration=time), tick=1e-3)
