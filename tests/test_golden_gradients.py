"""Are the gradients those of a network solved elsewhere, and do exact identities hold?"""

import numpy as np
import pytest
import torch
from gradient_cases import (
    END,
    KINK,
    PAIR,
    PAIR_GRADIENTS,
    kink_rows,
    pair_gradients,
    pair_rows,
    printed,
)

import evsim
from evsim import gradients as g

LINEAR = ("integral", "max", "integral of e^(-t/60) V")  # in the voltage of the readout


@pytest.mark.parametrize("loss", PAIR_GRADIENTS)
def test_pair_to_the_last_printed_digit(loss):
    rows = list(pair_rows(loss))
    assert len(rows) == len(printed(loss))
    for _, group, error, limit in rows:
        assert error <= limit, group


def test_a_maximum_on_an_arrival_moves_with_it():
    for _, group, error, limit in kink_rows():
        assert error < limit, group


def products(gradients, *groups):
    """Sum x dL/dx over groups."""
    return sum((np.array(PAIR[g]) * gradients[g].numpy()).sum() for g in groups)


def test_shift_of_the_inputs_shifts_the_last_spike():
    assert pair_gradients("last spike")["t_in"].sum() == pytest.approx(1, abs=1e-12)


def test_shift_of_the_inputs_leaves_an_interior_maximum():
    found = pair_gradients("max")
    assert found["t_in"].sum() == pytest.approx(0, abs=1e-13)
    assert found["d_out"].sum() == pytest.approx(0, abs=1e-13)


def test_voltage_scale_leaves_spike_times():
    found = pair_gradients("last spike")
    total = products(found, "w_in", "w_rec", "theta", "V_r")
    assert total == pytest.approx(0, abs=1e-11 * products(found, "theta"))


@pytest.mark.parametrize("loss", LINEAR)
def test_voltage_scale_scales_the_output(loss):
    found = pair_gradients(loss)
    # The hidden neurons fire as before, so only the readout's weights count.
    assert products(found, "w_in", "w_rec", "theta", "V_r") == pytest.approx(0, abs=1e-11)
    assert products(found, "w_out") == pytest.approx(found["value"].item(), rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "power"), [("last spike", 1), ("max", 0), ("integral", 1)], ids=lambda x: str(x)
)
def test_time_scale(loss, power):
    found = pair_gradients(loss)
    total = products(found, "d_in", "d_rec", "d_out", "axonal", "tau_m", "tau_s", "t_in")
    if loss == "integral":  # which also depends on the horizon
        total += END * pair_gradients("last")["value"].item()
    assert total == pytest.approx(power * found["value"].item(), abs=1e-10)


def test_arrivals_at_once_move_a_maximum_once():
    # One arrival of weight -5 at the maximum, or two of -2.5 from the same unit.
    for times, weight in ([2.0, 5.0], -5.0), ([2.0, 5.0, 5.0], -2.5):
        inputs = evsim.Spikes(times, [0, 1, 1][: len(times)], size=2, duration=END)
        layer = g.CubaLI(2, 1, 20.0, 5.0, delay="axonal", dtype=torch.float64)
        with torch.no_grad():
            layer.weight[:] = torch.tensor([2.0, weight])
            layer.delay[:] = 0.0
        layer(inputs).sum().backward()
        np.testing.assert_allclose(layer.delay.grad, KINK["t_in"], rtol=1e-13)


@pytest.mark.parametrize("learn", [(), ("tau_mem",)])  # two ways to the same numbers
def test_a_maximum_on_an_arrival_with_a_delay_of_its_own_moves_with_it(learn):
    inputs = evsim.Spikes([1.0, 3.0], [0, 1], size=2, duration=END)
    layer = g.CubaLI(2, 1, 20.0, 5.0, delay="synaptic", max_delay=5.0, learn=learn)
    layer = layer.double()
    with torch.no_grad():
        layer.weight[:] = torch.tensor([2.0, -5.0])
        layer.delay[:] = torch.tensor([1.0, 2.0])
    layer(inputs).sum().backward()
    np.testing.assert_allclose(layer.delay.grad[0], KINK["t_in"], rtol=1e-13)
    np.testing.assert_allclose(layer.weight.grad[0], KINK["weight"], rtol=1e-13, atol=1e-15)
