"""Delays cut to whole steps, with SLAYER's gradient: ``delays="floor"``."""

import pytest
import torch
from torch import nn

from evsim.gradients import dense
from evsim.gradients.dense.delays import in_steps

DT = 1e-3
F64 = torch.float64
# Worked by hand: a delay of 2.7 steps.
X, Y = (1.0, 0, 1, 1, 0, 0), (0.0, 0, 1, 0, 1, 1)
G, TO_X = (0.5, -1, 2, 1, -3, 0.25), (2, 1, -3, 0.25, 0, 0)
TO_DELAY = 2000.0


def raster(values, units=1, batch=1, dtype=F64):
    return torch.tensor(values, dtype=dtype)[None, :, None].repeat(batch, 1, units)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_a_delay_by_hand(dtype):
    shift = dense.Delay(2, 0.1, dtype, dt=DT, delays="floor")
    nn.init.constant_(shift.delay, 2.7e-3)
    x = raster(X, 2, 3, dtype).requires_grad_()
    y = shift(x)
    assert torch.equal(y, raster(Y, 2, 3, dtype))
    y.backward(raster(G, 2, 3, dtype))
    assert torch.equal(x.grad, raster(TO_X, 2, 3, dtype))
    torch.testing.assert_close(shift.delay.grad, torch.full((2,), 3 * TO_DELAY, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_a_whole_number_of_steps_is_met(dtype):
    delay = torch.tensor([0.0, 4.999, 5.0, 11.0, 0.3, 29.0], dtype=dtype) * DT
    assert in_steps(delay, DT, "floor").whole.tolist() == [0, 4, 5, 11, 0, 29]
    near = 1e-9 if dtype == F64 else 1e-6
    around = 100 * (1 + near * torch.tensor([-2.0, -0.5, 0.0, 0.5], dtype=F64)).to(dtype)
    assert in_steps(around, 1.0, "floor").whole.tolist() == [99, 100, 100, 100]
    assert in_steps(delay, DT, "floor", least=1).whole.tolist() == [1, 4, 5, 11, 1, 29]


def layers(make, **options):
    """Return a layer with axonal delays, and the same without behind a `Delay`."""
    torch.manual_seed(0)
    common = {"dt": DT, "delays": "floor", "dtype": F64}
    late = make(4, 3, **options, delay="axonal", max_delay=8e-3, **common)
    plain = make(4, 3, **options, **common)
    shift = dense.Delay(4, 8e-3, dt=DT, delays="floor", dtype=F64)
    with torch.no_grad():
        plain.weight.copy_(late.weight)
        shift.delay.copy_(late.delay)
    return late, nn.Sequential(shift, plain)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (dense.CubaLIF, {"tau_mem": 20e-3, "tau_syn": 5e-3}),
        (dense.LIF, {"tau_mem": 20e-3, "reset_mode": "soft"}),
        (dense.SRM, {"tau_syn": 4e-3, "recurrent": "dense", "recurrent_delay": 2.5e-3}),
        (dense.CubaLI, {"tau_mem": 20e-3, "tau_syn": 5e-3, "output": "last"}),
        (dense.LI, {"tau_mem": 20e-3}),
    ],
)
def test_a_layer_shifts_as_a_delay_before_it(make, options):
    late, pair = layers(make, **options)
    if "recurrent" in options:
        pair[1].recurrent_weight.data = late.recurrent_weight.data.clone()
    spikes = (torch.rand(2, 40, 4, generator=torch.Generator().manual_seed(1)) < 0.3).to(F64)
    values, expected = late(spikes), pair(spikes)
    assert torch.equal(values, expected) and values.abs().sum() > 0
    weights = torch.randn(values.shape, generator=torch.Generator().manual_seed(2), dtype=F64)
    for found in (values, expected):
        (found * weights).sum().backward()
    assert late.delay.grad.abs().min() > 0
    torch.testing.assert_close(late.delay.grad, pair[0].delay.grad, rtol=1e-12, atol=0)
    torch.testing.assert_close(late.weight.grad, pair[1].weight.grad, rtol=1e-12, atol=0)


def test_a_loop_of_one_delay_is_cut_to_a_step_or_more():
    def loop(delay, delays):
        torch.manual_seed(0)
        return dense.SRM(4, 5, 4e-3, recurrent="dense", recurrent_delay=delay, dt=DT,
                         delays=delays, dtype=F64)  # fmt: skip

    spikes = (torch.rand(2, 60, 4, generator=torch.Generator().manual_seed(1)) < 0.3).to(F64)
    for delay, steps in ((2.9e-3, 2), (0.2e-3, 1), (3e-3, 3)):
        cut, whole = loop(delay, "floor"), loop(steps * DT, "round")
        assert torch.equal(cut(spikes), whole(spikes)) and cut(spikes).sum() > 10
