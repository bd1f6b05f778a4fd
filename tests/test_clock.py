"""Times at the edge of the clock: refused by name, in both engines."""

import numpy as np
import pytest

import evsim
from evsim.quantities import positive

ENGINES = ("compiled", "reference")
USUAL = {
    "CubaLIF": {"tau_mem": 20e-3, "tau_syn": 5e-3},
    "LIF": {"tau_mem": 20e-3},
    "SRM": {"tau_syn": 5e-3},
    "CubaLI": {"tau_mem": 20e-3, "tau_syn": 5e-3, "output": "max"},
    "LI": {"tau_mem": 20e-3, "output": "max"},
}
SPIKES = evsim.Spikes([0.01, 0.011, 0.02, 0.3], [0, 1, 0, 1], size=2, duration=1.0)


def network(model="CubaLIF", weight=1.0, loop=None, **values):
    projections = [evsim.Dense(pre="in", post="cells", weight=np.full((2, 2), weight))]
    if loop is not None:
        own = evsim.Dense(pre="cells", post="cells", weight=np.ones((2, 2)), delay=loop)
        projections.append(own)
    cells = evsim.Population("cells", model, 2, **USUAL[model] | values)
    return evsim.Network([evsim.Population("in", "Input", 2), cells], projections, output="cells")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("model", "name"),
    [("CubaLIF", "tau_mem"), ("CubaLIF", "tau_syn"), ("LIF", "tau_mem"), ("SRM", "tau_syn"),
     ("SRM", "tau_r"), ("CubaLI", "tau_syn"), ("LI", "tau_mem")],
)  # fmt: skip
@pytest.mark.parametrize("value", [1e-9, 1e-12, 1e-17, 1e-20, 5e-324])
def test_time_constants_too_short_for_the_clock_are_refused(engine, model, name, value):
    net = network(model, **{name: [20e-3, value]})
    with pytest.raises(ValueError, match=rf"'cells': {name}\[1\] = {value:g} s can't be resolved"):
        evsim.simulate(net, SPIKES, engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("duration", [1e8, 1e14, 1e15, 1e300])
def test_recordings_too_long_for_the_clock_are_refused(engine, duration):
    with pytest.raises(ValueError, match=r"tau_mem\[0\] = 0.02 s can't be resolved"):
        evsim.simulate(network(), SPIKES, duration=duration, engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_network_without_time_constants_runs_for_any_time(engine):
    net = network("LIF", 2.0, tau_mem=np.inf)
    assert len(evsim.simulate(net, SPIKES, duration=1e14, engine=engine).spikes["cells"].times) == 8


def test_long_recordings_of_usual_networks_are_run():
    late = evsim.Spikes([1e6, 1e6 + 0.001], [0, 1], size=2, duration=1e6 + 1)
    found = [evsim.simulate(network(weight=8.0), late, engine=e).spikes["cells"] for e in ENGINES]
    assert len(found[0].times) == len(found[1].times) > 0
    np.testing.assert_allclose(found[0].times, found[1].times, rtol=0, atol=1e-8)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("value", [1e-300, 1e-17, 1e-14])
def test_refractory_periods_and_loops_too_short_for_the_clock_are_refused(engine, value):
    with pytest.raises(ValueError, match=r"'cells': refractory\[0\] = \S+ s can't be resolved"):
        evsim.simulate(network(refractory=value), SPIKES, engine=engine)
    with pytest.raises(ValueError, match=r"'cells->cells': delay\[0\] = \S+ s can't be resolved"):
        evsim.simulate(network(loop=value), SPIKES, engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("delay", [0.0, 1e-20, 1e9, 1e300])
def test_any_delay_that_is_on_no_loop_is_run(engine, delay):
    net = network(weight=20.0)
    into = evsim.Dense(pre="in", post="cells", weight=np.full((2, 2), 20.0), delay=delay)
    net = evsim.Network(net.populations.values(), [into], output="cells")
    n = len(evsim.simulate(net, SPIKES, engine=engine).spikes["cells"].times)
    assert (n > 0) == (delay < 1)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("max_rate", [np.inf, 1e20, 1e300])
def test_any_limit_of_the_rate_is_one(engine, max_rate):
    net = network(weight=20.0)
    usual = evsim.simulate(net, SPIKES, engine=engine).spikes["cells"].times
    found = evsim.simulate(net, SPIKES, engine=engine, max_rate=max_rate).spikes["cells"].times
    np.testing.assert_array_equal(found, usual)


def test_layers_refuse_what_the_clock_cannot_resolve():
    torch = pytest.importorskip("torch")
    from evsim import gradients as g

    for layer in (g.CubaLIF(2, 1, 1e-20, 5e-3), g.LI(2, 1, 1e-17), g.SRM(2, 1, 1e-12)):
        with pytest.raises(ValueError, match="can't be resolved"):
            layer(SPIKES)
    assert torch.isfinite(g.LI(2, 1, 20e-3)(SPIKES)).all()


def test_the_last_spike_is_always_before_the_default_duration():
    for last in (0.0, 0.1, 1.0, 1e6, 8.9e14, 9.1e14, 1e15, 1e17, 1e300):
        spikes = evsim.Spikes([last], [0])
        assert spikes.duration > last and len(spikes.before(spikes.duration).times) == 1


def test_gradients_of_recordings_too_long_for_them_are_refused():
    pytest.importorskip("torch")
    from evsim import gradients as g

    layer = g.CubaLI(1, 1, 20e-3, 1e-3)
    spikes = evsim.Spikes([0.1], [0], duration=1e5)
    with pytest.raises(ValueError, match="too long for gradients with a time constant of 0.001 s"):
        layer(spikes).sum().backward()


@pytest.mark.parametrize("value", ["0.1", None, [1.0, 2.0], np.ones(2)])
def test_a_number_must_be_one(value):
    with pytest.raises(TypeError, match="tick = .*, must be a number"):
        positive("tick", value, "s")
