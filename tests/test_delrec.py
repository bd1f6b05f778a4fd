"""The pieces of DelRec: triangles, their schedule, the growth of errors, votes."""

import numpy as np
import pytest
import torch

from evsim.gradients import dense
from evsim.gradients.methods import delrec

F64 = torch.float64


def f64(*values, **options):
    return torch.tensor(values, dtype=F64, **options)


def test_delrec_spread_by_hand():
    delay = torch.tensor(3.4, dtype=F64, requires_grad=True)
    sigma = torch.tensor(2.0, dtype=F64, requires_grad=True)
    taps = delrec.spread(delay, sigma, 10)
    torch.testing.assert_close(9 * taps.detach(), f64(0, 0, 0.6, 1.6, 2.6, 2.4, 1.4, 0.4, 0, 0))
    rows = [torch.autograd.grad(taps[k], (delay, sigma), retain_graph=True) for k in range(10)]
    by_delay, by_sigma = (torch.stack(column) for column in zip(*rows, strict=True))
    torch.testing.assert_close(9 * by_delay, f64(0, 0, -1, -1, -1, 1, 1, 1, 0, 0))
    torch.testing.assert_close(27 * by_sigma, f64(0, 0, 1.8, -0.2, -2.2, -1.8, 0.2, 2.2, 0, 0))
    assert taps.sum().item() == pytest.approx(1, abs=1e-15)
    short = delrec.spread(f64(0.6), 2, 8)
    torch.testing.assert_close(9 * short, f64(0, 2.4, 2.6, 1.6, 0.6, 0, 0, 0)[None])
    assert short.sum().item() == pytest.approx(0.8)  # the rest would come at once or before


def test_delrec_spread_of_any_shape():
    delay = torch.rand(3, 4, dtype=F64) * 20
    width = torch.rand(4, dtype=F64) * 5
    taps = delrec.spread(delay, width, 40)
    assert taps.shape == (3, 4, 40)
    for i, j in np.ndindex(3, 4):
        assert torch.equal(taps[i, j], delrec.spread(delay[i, j], float(width[j]), 40))
    assert torch.equal(delrec.spread(delay, width, 7), taps[..., :7])
    assert torch.equal(delrec.spread(3.0, 0, 6), torch.tensor([0.0, 0, 0, 0, 1, 0]))
    assert delrec.spread(torch.tensor(2), 1.0, 5).dtype == torch.float32
    assert torch.autograd.gradcheck(
        lambda d, s: delrec.spread(d, s, 12), (f64(3.37, 0.21).requires_grad_(), f64(1.13, 2.7))
    )


def test_delrec_spread_is_that_of_a_layer():
    layer = dense.LIF(1, 3, 1.0, recurrent="dense", recurrent_delay="axonal", dt=1e-3, dtype=F64,
                      delays="spread", threshold=1e6)  # fmt: skip
    layer.sigma = 1.7
    delay = f64(0.0, 3.3, 11.2)
    torch.nn.init.eye_(layer.recurrent_weight)
    with torch.no_grad():
        layer.recurrent_delay.copy_((1 + delay) * layer.dt)
    loop = layer.loop(1, 15, layer.tensors())
    assert not loop.step().any()
    loop.send(torch.ones(1, 3, dtype=F64))
    found = torch.cat([loop.step() for _ in range(14)]).T
    torch.testing.assert_close(found.detach(), delrec.spread(delay, 1.7, 15)[:, 1:])


def test_delrec_sigma_is_the_published_schedule():
    assert delrec.sigma(0, 150) == 10.0
    assert delrec.sigma(149, 150) == pytest.approx(0.0613, abs=1e-4)
    assert delrec.sigma(150, 150) == pytest.approx(10 * 0.95**100)
    assert delrec.sigma(30, 30) == pytest.approx(delrec.sigma(150, 150))
    assert delrec.sigma(3, 50, start=10.36, decay=0.971) == pytest.approx(10.36 * 0.971**6)


@pytest.mark.parametrize(("a", "b"), [(0.5, 1.5), (0.9, 0.05), (0.2, 0.3), (0.0, 2.0), (0.0, 0.4)])
def test_delrec_growth_is_the_largest_root(a, b):
    found = [delrec.growth(a, b, delay) for delay in range(30)]
    for delay, rate in enumerate(found):
        polynomial = np.zeros(delay + 2)
        polynomial[:2] = 1, -a
        polynomial[-1] -= b
        assert rate == pytest.approx(abs(np.roots(polynomial)).max(), rel=1e-9)
    assert found[0] == a + b
    steps = np.diff(found)
    assert (steps < 0).all() if a + b > 1 else (steps > 0).all()
    assert abs(delrec.growth(a, b, 100_000) - 1) < 2e-4


def test_delrec_growth_at_the_ends():
    assert delrec.growth(0.7, 0.0, 5) == 0.7 and delrec.growth(0.0, 0.0, 5) == 0.0
    assert delrec.growth(0.5, 0.5, 7) == 1.0
    assert delrec.growth(0.0, 1e-300, 2) == pytest.approx(1e-100, rel=1e-9)
    assert delrec.growth(0.5, 1e-30, 2) == pytest.approx(0.5, rel=1e-15)
    assert delrec.growth(torch.tensor(0.5, dtype=F64), np.float64(1.5), np.int64(1)) == 1.5


def test_delrec_votes_are_sums_of_shares():
    voltage = f64(0, np.log(3), 0, 0, np.log(2), 0).view(1, 3, 2).requires_grad_()
    votes = delrec.votes(voltage)
    torch.testing.assert_close(
        votes.detach(), f64(1 / 4 + 1 / 2 + 2 / 3, 3 / 4 + 1 / 2 + 1 / 3)[None]
    )
    torch.nn.functional.cross_entropy(votes, torch.tensor([1])).backward()
    assert (voltage.grad[..., 1] < 0).all() and voltage.grad.sum().abs() < 1e-15


@pytest.mark.parametrize(
    ("run", "what"),
    [
        (lambda: delrec.spread(f64(1, -2), 1.0, 5), r"delay\[1\] = -2, must be finite and >= 0"),
        (lambda: delrec.spread(f64(1), f64(np.nan), 5), r"sigma\[0\] = nan"),
        (lambda: delrec.spread(1.0, -0.5, 5), "sigma = -0.5, must be"),
        (lambda: delrec.spread(1.0, 0.5, 0), "n_taps = 0, must be at least 1"),
        (lambda: delrec.sigma(-1, 5), "epoch = -1 of epochs = 5"),
        (lambda: delrec.growth(-0.1, 1.0, 1), "a = -0.1, must be finite and >= 0"),
        (lambda: delrec.growth(0.1, np.inf, 1), "b = inf"),
        (lambda: delrec.growth(0.1, 1.0, 1.5), "delay = 1.5, must be a whole number"),
        (lambda: delrec.growth(0.1, 1.0, -1), "delay = -1"),
        (lambda: delrec.votes(torch.ones(3, 2)), r"voltage: shape \[3, 2\], must be"),
    ],
)
def test_delrec_refuses_what_can_not_be(run, what):
    with pytest.raises(ValueError, match=what):
        run()
