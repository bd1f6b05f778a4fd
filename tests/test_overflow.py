"""Numbers too large to compute with: refused by name, or told, in both engines."""

import numpy as np
import pytest
from test_clock import ENGINES, SPIKES, USUAL, network

import evsim
from evsim import overflow


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("model", USUAL)
@pytest.mark.parametrize("weight", [1e101, -1e155, 1e308])
def test_weights_that_would_overflow_are_refused(engine, model, weight):
    with pytest.raises(ValueError, match=r"'in->cells': weight\[0, 0\] = \S+ is too large"):
        evsim.simulate(network(model, weight), SPIKES, engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["threshold", "reset", "v_leak"])
def test_voltages_that_would_overflow_are_refused(engine, name):
    values = {"threshold": 1.0, "reset": -1.0, "v_leak": 0.0}
    values[name] = [values[name], 1e200 if name == "threshold" else -1e200]
    with pytest.raises(ValueError, match=rf"'cells': {name}\[1\] = \S+ is too large"):
        evsim.simulate(network("LIF", **values), SPIKES, engine=engine)


@pytest.mark.parametrize("model", ["CubaLI", "LI"])
@pytest.mark.parametrize("weight", [1e100, -1e100])
def test_the_largest_weights_are_run_alike(model, weight):
    one, other = (
        evsim.simulate(network(model, weight), SPIKES, engine=e).output["cells"] for e in ENGINES
    )
    assert np.isfinite(one).all() and (one.max() > 0) == (weight > 0)
    np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_largest_weights_and_thresholds_fire(engine):
    net = network("LIF", 1e100, threshold=1e99)
    assert len(evsim.simulate(net, SPIKES, engine=engine).spikes["cells"].times) == 8


def test_layers_refuse_weights_that_would_overflow():
    torch = pytest.importorskip("torch")
    from evsim import gradients as g

    layer = g.CubaLIF(2, 1, 20e-3, 5e-3).double()
    with torch.no_grad():
        layer.weight.fill_(1e150)
    with pytest.raises(ValueError, match="too large"):
        layer(SPIKES)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("model", ["CubaLI", "LI"])
def test_an_integral_that_overflows_is_told(engine, model):
    long = {"tau_mem": 1e245} | ({"tau_syn": 1e246} if model == "CubaLI" else {})
    net = network(model, 1e100, output="integral", **long)
    spikes = evsim.Spikes([1e240, 2e240], [0, 1], duration=1e250)
    match = "population 'cells', unit 0: the readout in recording 0 is inf"
    with pytest.raises(evsim.NotFiniteError, match=match):
        evsim.simulate(net, spikes, engine=engine)


# --- what the engines say themselves: as if there were no largest weight ---


@pytest.fixture
def unbounded(monkeypatch):
    monkeypatch.setattr(overflow, "LARGEST", np.inf)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("model", "weight"), [("SRM", 6e307), ("CubaLI", 1e308), ("LI", 1e308)])
@pytest.mark.usefixtures("unbounded")
def test_weights_that_overflow_are_told(engine, model, weight):
    match = (
        r"population 'cells', unit 0: the state is no finite number any more in recording 1 .*0.01"
    )
    spikes = evsim.concatenate([SPIKES.before(1e-3), SPIKES])
    with pytest.raises(evsim.NotFiniteError, match=match):
        evsim.simulate(network(model, weight), spikes.before(1.0), engine=engine)


@pytest.mark.parametrize("output", ["max", "integral"])
@pytest.mark.parametrize("model", ["CubaLI", "LI"])
@pytest.mark.usefixtures("unbounded")
def test_no_output_is_infinite(model, output):
    for weight in (1e307, 1e308, -1e308):
        try:
            found = evsim.simulate(network(model, weight, output=output), SPIKES)
        except evsim.NotFiniteError:
            continue
        assert np.isfinite(found.output["cells"]).all()


@pytest.mark.usefixtures("unbounded")
def test_voltages_that_overflow_for_a_moment_are_told():
    net = network("LIF", -1.2e308, reset=-1e307, threshold=1.0, v_leak=-1e308)
    try:
        found = evsim.simulate(net, SPIKES, voltage={"cells": [0.0101, 0.02, 0.9]})
    except evsim.NotFiniteError as error:
        assert "population 'cells', unit" in str(error) and "recording 0" in str(error)
    else:
        assert np.isfinite(found.voltage["cells"]).all()


def test_weights_that_overflow_end_the_command(tmp_path):
    from in_process import run

    network("CubaLI", 1e308).save(tmp_path / "net.h5")
    evsim.save_spikes(tmp_path / "spikes.h5", SPIKES)
    done = run(tmp_path, "simulate", "net.h5", "spikes.h5", "-o", "out.h5")
    assert done.returncode == 2 and "is too large to be simulated" in done.stderr
    assert not (tmp_path / "out.h5").exists()
