"""Lines of values that arrive late: against sums over a history, and their gradients."""

import pytest
import torch

from evsim.gradients import dense
from evsim.gradients.dense.delays import Steps
from evsim.gradients.dense.lines import Held, Line
from evsim.gradients.dense.spread import Triangle
from evsim.gradients.studies.papers.buffer import buffered, network

F64 = torch.float64
BATCH, N_STEPS, SIZE = 3, 12, 5


def late(line, sent):
    found = []
    for values in sent.unbind(1):
        found.append(line.step())
        line.send(values)
    return torch.stack(found, 1)


def summed(sent, first, shares):
    """Return what arrives, written as sums; nothing at once."""
    rows = [[0.0] * sent.shape[1] for _ in range(SIZE)]
    for unit in range(SIZE):
        for step in range(sent.shape[1]):
            for k, share in enumerate(shares[unit]):
                before = step - int(first[unit]) - k
                if 0 <= before < step:
                    rows[unit][step] = rows[unit][step] + share * sent[:, before, unit]
    zero = sent.new_zeros(len(sent))
    return torch.stack([torch.stack([zero + one for one in row], -1) for row in rows], -1)


@pytest.fixture
def drawn():
    torch.manual_seed(0)
    first = torch.tensor([1, -2, 3, 0, 40])  # the last arrives after the end
    shares = torch.rand(SIZE, 4, dtype=F64, requires_grad=True)
    sent = torch.randn(BATCH, N_STEPS, SIZE, dtype=F64, requires_grad=True)
    return first, shares, sent


def test_arrivals_are_sums_over_what_was_sent(drawn):
    first, shares, sent = drawn
    found = late(Line(first, shares, BATCH, N_STEPS), sent)
    expected = summed(sent, first, shares)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    assert found[..., :4].any() and not found[..., 4].any()
    weigh = torch.randn_like(found)
    for own, other in zip(
        torch.autograd.grad((found * weigh).sum(), (sent, shares)),
        torch.autograd.grad((expected * weigh).sum(), (sent, shares)),
        strict=True,
    ):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-13)


def test_gradients_are_differences(drawn):
    first, shares, sent = drawn
    assert torch.autograd.gradcheck(
        lambda s, h: late(Line(first, h, BATCH, N_STEPS), s), (sent, shares)
    )


def test_a_graph_can_be_gone_back_through_twice_and_in_part(drawn):
    first, shares, sent = drawn
    found = late(Line(first, shares, BATCH, N_STEPS), sent)
    part = found[:, :6].sum()
    early = torch.autograd.grad(part, (sent, shares), retain_graph=True)
    whole = torch.autograd.grad(found.sum(), (sent, shares), retain_graph=True)
    again = torch.autograd.grad(part, (sent, shares))
    assert all(torch.equal(a, b) for a, b in zip(early, again, strict=True))
    assert not torch.equal(early[0], whole[0]) and not early[0][:, 5:].any()


def test_a_second_derivative_is_refused(drawn):
    first, shares, sent = drawn
    total = late(Line(first, shares, BATCH, N_STEPS), sent).square().sum()
    (once,) = torch.autograd.grad(total, sent, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        once.sum().backward()


def test_at_the_only_step_of_a_recording_shares_have_a_gradient():
    shares = torch.ones(SIZE, 2, requires_grad=True)
    arriving = Line(torch.ones(SIZE, dtype=torch.long), shares, BATCH, n_steps=1).step()
    assert not arriving.any()
    arriving.sum().backward()
    assert torch.equal(shares.grad, torch.zeros(SIZE, 2))  # not None, of which Adam takes no step


def test_a_line_is_freed_with_its_graph(drawn):
    import gc
    import weakref

    first, shares, sent = drawn
    gc.disable()
    try:
        line = Line(first, shares, BATCH, N_STEPS)
        kept = weakref.ref(line.sent.values)
        found = late(line, sent)
        del line
        assert kept() is not None
        del found
        assert kept() is None  # without a ring of references
    finally:
        gc.enable()


@pytest.mark.parametrize("half", [1.0, 1.7, 4.0])
def test_windows_hold_all_taps(half):
    place = torch.tensor([1.0, 2.0, 7.25, 30.0], dtype=F64)
    steps = Triangle(place, torch.tensor(half, dtype=F64))
    first, shares = steps.window(F64)
    whole = torch.zeros(4, 40, dtype=F64)
    for unit in range(4):
        for k, share in enumerate(shares[unit]):
            if 0 <= first[unit] + k < 40:
                whole[unit, first[unit] + k] += share
    torch.testing.assert_close(whole, steps.taps(40, F64), rtol=0, atol=1e-15)
    assert shares.shape[1] <= 2 * half + 1


def test_windows_of_steps():
    whole, share = torch.tensor([3, 1]), torch.tensor([0.25, 0.0], dtype=F64)
    first, shares = Steps(whole, share).window(F64)
    assert first.tolist() == [3, 1] and shares.tolist() == [[0.75, 0.25], [1.0, 0.0]]
    assert Steps(whole, None).window(F64)[1].tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize("weights_first", [True, False])
def test_a_loop_is_the_published_line_of_arrivals(weights_first):
    torch.manual_seed(0)
    layer = network("spread", (6, 20, 2), 0.2)[0].double()
    layer.sigma = 2.5
    torch.nn.init.normal_(layer.recurrent_weight, 0, 0.5)
    torch.nn.init.normal_(layer.weight, 0, 0.7)
    raster = (torch.rand(4, 40, 6) < 0.1).double()
    weigh = torch.randn(4, 40, 20, dtype=F64)

    def gradients(fired):
        layer.zero_grad()
        (fired * weigh).sum().backward()
        return [p.grad.clone() for p in layer.parameters()]

    found, expected = layer(raster), buffered(layer, raster, weights_first)
    assert torch.equal(found, expected) and 0.02 < found.mean() < 0.5
    for own, other in zip(gradients(found), gradients(expected), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-10, atol=1e-10)
        assert own.any()


def test_a_matrix_of_delays_does_the_same_as_a_delay_for_each_unit():
    torch.manual_seed(0)
    options = {"recurrent": "dense", "dt": 1e-2, "delays": "spread", "dtype": F64}
    units = dense.LIF(6, 8, 0.02, recurrent_delay="axonal", recurrent_max_delay=0.2, **options)
    synapses = dense.LIF(6, 8, 0.02, recurrent_delay="synaptic", recurrent_max_delay=0.2, **options)
    with torch.no_grad():
        units.weight.normal_(0, 0.7)
        synapses.weight.copy_(units.weight)
        synapses.recurrent_weight.copy_(units.recurrent_weight)
        synapses.recurrent_delay.copy_(units.recurrent_delay.expand(8, 8))
    raster = (torch.rand(4, 40, 6) < 0.1).double()
    found, other = units(raster), synapses(raster)
    assert torch.equal(found, other) and found.any()
    weigh = torch.randn_like(found)
    (found * weigh).sum().backward()
    (other * weigh).sum().backward()
    torch.testing.assert_close(units.recurrent_delay.grad, synapses.recurrent_delay.grad.sum(0))
    torch.testing.assert_close(units.recurrent_weight.grad, synapses.recurrent_weight.grad)


@pytest.mark.parametrize("kind", ["line", "held"])
def test_a_step_in_which_nothing_is_sent_sends_nothing(kind):
    ones = torch.ones(2, 3, dtype=F64)
    line = Held(torch.zeros_like(ones))
    if kind == "line":
        line = Line(torch.ones(3, dtype=torch.int64), torch.ones(3, 1, dtype=F64), 2, 4)
    found = [line.step()]
    line.send(ones)
    found += [line.step() for _ in range(3)]
    assert [float(one.sum()) for one in found] == [0.0, 6.0, 0.0, 0.0]


@pytest.mark.parametrize("steps", [1, 2])
def test_a_loop_takes_as_many_steps_as_all_its_delays(steps):
    layer = dense.LIF(
        1, 2, tau_mem=10e-3, recurrent="dense", recurrent_delay="axonal", dt=10e-3, dtype=F64
    )
    with torch.no_grad():
        layer.weight.fill_(2.0)
        layer.recurrent_weight.fill_(0.25)  # too little to fire
        layer.recurrent_delay.fill_(steps * 10e-3)
    raster = torch.zeros(1, 5, 1, dtype=F64)
    raster[0, 0] = 1
    fired, after = layer.run(raster)
    assert fired[0].sum(1).tolist() == [2, 0, 0, 0, 0]
    came = after[0, :, 0] > 0
    assert came.nonzero()[0].item() == steps
