import math

import numpy as np
import pytest
import torch
from torch.func import functional_call

from evsim import Spikes
from evsim import gradients as g
from evsim.gradients.losses import (
    FirstSpikeCrossEntropy,
    RelativeTime,
    TargetTime,
    first_spikes,
)

MS = 1e-3
LOSSES = (
    FirstSpikeCrossEntropy(0.5 * MS, alpha=0.003, tau1=6.4 * MS),
    TargetTime(6 * MS - 2 * MS * torch.eye(3)),
    RelativeTime(2 * MS),
)


def in_graph(times, units, offsets=None, size=3, duration=0.1):
    """Spikes whose times are a leaf of the graph, in the order given."""
    times = torch.tensor(times, dtype=torch.float64, requires_grad=True)
    offsets = [0, len(times)] if offsets is None else offsets
    template = Spikes([], [], np.zeros(len(offsets)), size, duration).torch()
    return template.replace(times, torch.tensor(units).long(), torch.tensor(offsets))


def a_layer_and_its_input():
    """Three units that fire several times each in two recordings."""
    torch.manual_seed(3)
    layer = g.CubaLIF(5, 3, tau_mem=20 * MS, tau_syn=5 * MS, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.uniform_(1, 4)
    rng = np.random.default_rng(3)
    spikes = Spikes(
        rng.uniform(0, 20 * MS, 24), rng.integers(0, 5, 24), [0, 12, 24], size=5, duration=60 * MS
    )
    assert (layer(spikes).numpy().counts() > 1).all()
    return layer, spikes


# --- first spikes ---


def test_first_spikes_of_each_recording_and_unit():
    spikes = Spikes([0.02, 0.03, 0.01, 0.04], [2, 2, 0, 0], [0, 2, 2, 4], size=3, duration=0.1)
    expected = [[0.1, 0.1, 0.02], [0.1, 0.1, 0.1], [0.01, 0.1, 0.1]]
    assert first_spikes(spikes).tolist() == expected
    assert first_spikes(spikes, missing=0.5).tolist()[1] == [0.5] * 3
    assert first_spikes(spikes, missing=math.inf)[0, 0] == math.inf


def test_first_spikes_agree_with_a_loop_whatever_the_order():
    rng = np.random.default_rng(0)
    times, units = rng.uniform(0, 1, 200), rng.integers(0, 7, 200)
    offsets = [0, 50, 50, 120, 200]
    found = first_spikes(in_graph(times, units, offsets, size=7, duration=1.0))
    for b in range(4):
        for j in range(7):
            mine = [times[k] for k in range(offsets[b], offsets[b + 1]) if units[k] == j]
            assert found[b, j] == min(mine, default=1.0)


def test_gradient_goes_to_the_first_spike_only():
    spikes = in_graph([0.03, 0.01, 0.02, 0.05], [1, 1, 0, 1])
    (first_spikes(spikes) * torch.tensor([2.0, 3.0, 5.0])).sum().backward()
    assert spikes.times.grad.tolist() == [0.0, 3.0, 2.0, 0.0]


def test_of_two_first_spikes_at_once_one_has_the_gradient():
    spikes = in_graph([0.02, 0.02, 0.02], [1, 1, 0])
    first_spikes(spikes).sum().backward()
    assert spikes.times.grad.tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("missing", [-1.0, math.nan])
def test_missing_must_be_a_time(missing):
    with pytest.raises(ValueError, match="missing"):
        first_spikes(Spikes([0.1], [0]), missing)


# --- values ---


def test_cross_entropy_by_hand():
    spikes = Spikes([1 * MS, 2 * MS, 3 * MS], [0, 1, 2], [0, 2, 3], size=3, duration=5 * MS)
    weights = [[math.exp(-t / 0.5) for t in row] for row in ([1, 2, 5], [5, 5, 3])]
    expected = 0.0
    for row, label, late in zip(weights, (1, 2), (2, 3), strict=True):
        expected += -math.log(row[label] / sum(row)) / 2
        expected += 0.003 * (math.exp(late / 6.4) - 1) / 2
    assert float(LOSSES[0](spikes, [1, 2])) == pytest.approx(expected, rel=1e-12)


def test_cross_entropy_without_a_pull_stays_finite_in_long_recordings():
    spikes = Spikes([], [], [0, 0], size=3, duration=60.0)
    assert float(FirstSpikeCrossEntropy(MS)(spikes, [0])) == pytest.approx(math.log(3))


def test_target_time_by_hand():
    spikes = Spikes([1 * MS, 7 * MS], [0, 1], size=3, duration=10 * MS)
    # Targets of class 1 are 6, 4, 6 ms; unit 2 is silent.
    assert float(LOSSES[1](spikes, [1])) == pytest.approx((5**2 + 3**2 + 4**2) / 2)
    early = TargetTime(LOSSES[1].targets, missing=8 * MS)
    assert float(early(spikes, [1])) == pytest.approx((5**2 + 3**2 + 2**2) / 2)


def test_targets_may_have_more_classes_than_units():
    loss = TargetTime([[1 * MS], [2 * MS]])
    spikes = Spikes([1 * MS, 1 * MS], [0, 0], [0, 1, 2], size=1, duration=10 * MS)
    assert float(loss(spikes, [0, 1])) == pytest.approx(0.25)


def test_relative_time_by_hand():
    spikes = Spikes([1 * MS, 4 * MS, 2 * MS], [0, 1, 2], size=3, duration=10 * MS)
    assert float(LOSSES[2](spikes, [2])) == pytest.approx(((1 - 2 - 2) ** 2 + 0) / 2)
    coarse = RelativeTime(2 * MS, tau=2 * MS)
    assert float(coarse(spikes, [2])) == pytest.approx(9 / 4 / 2)


def test_relative_time_does_not_see_a_shift():
    early = in_graph([1 * MS, 4 * MS, 2 * MS], [0, 1, 2])
    late = in_graph([11 * MS, 14 * MS, 12 * MS], [0, 1, 2])
    loss = LOSSES[2](early, [0])
    assert loss.item() == pytest.approx(LOSSES[2](late, [0]).item())
    loss.backward()
    assert float(early.times.grad.sum()) == pytest.approx(0, abs=1e-9)


def test_relative_time_moves_nothing_towards_a_missing_spike():
    spikes = in_graph([1 * MS, 4 * MS], [0, 1])
    loss = LOSSES[2](spikes, [0])
    assert loss.item() == pytest.approx((1 + 97**2) / 2)
    loss.backward()
    assert spikes.times.grad.tolist() == pytest.approx([-1 / MS, 1 / MS])
    spikes = in_graph([1 * MS, 4 * MS], [0, 1])
    LOSSES[2](spikes, [2]).backward()
    assert spikes.times.grad.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_a_batch_is_the_mean_of_its_recordings(loss):
    rng = np.random.default_rng(1)
    spikes = Spikes(rng.uniform(0, 10 * MS, 12), rng.integers(0, 3, 12), [0, 5, 9, 12], 3, 20 * MS)
    labels = [0, 2, 1]
    alone = [float(loss(one, [label])) for one, label in zip(spikes, labels, strict=True)]
    assert float(loss(spikes, labels)) == pytest.approx(np.mean(alone), rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_no_recordings_cost_nothing(loss):
    spikes = in_graph([], [], [0])
    found = loss(spikes, [])
    found.backward()
    assert found.item() == 0.0
    assert spikes.times.grad.shape == (0,)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_silent_recordings_have_a_loss_and_no_gradient(loss):
    spikes = in_graph([], [], [0, 0, 0], duration=0.02)
    found = loss(spikes, [0, 1])
    found.backward()
    assert 0 < found.item() < math.inf


# --- gradients through a layer ---


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_gradients_through_a_layer(loss):
    layer, spikes = a_layer_and_its_input()
    given = spikes.torch()
    times = given.times.clone().requires_grad_()

    def run(weight, times):
        moved = given.replace(times, given.units, given.offsets)
        return loss(functional_call(layer, {"weight": weight}, (moved,)), [2, 0])

    assert torch.autograd.gradcheck(
        run, (layer.weight, times), eps=1e-7, atol=1e-4, rtol=1e-5, nondet_tol=0.0
    )


def test_training_brings_first_spikes_to_their_targets():
    layer, spikes = a_layer_and_its_input()
    loss = TargetTime([[9 * MS, 7 * MS, 6 * MS]] * 2)
    adam = torch.optim.Adam(layer.parameters(), lr=0.03)
    before = loss(layer(spikes), [0, 1]).detach()
    for _ in range(60):
        adam.zero_grad()
        found = loss(layer(spikes), [0, 1])
        found.backward()
        adam.step()
    assert found < 0.1 * before


# --- refusals ---


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        ([0, 1], r"shape \[2\], must be \[1\]"),
        ([3], "3 of recording 0, must be 0 to 2"),
        ([-1], "-1 of recording 0"),
        ([0.5], "must be integers"),
    ],
)
def test_wrong_labels_are_refused(labels, what):
    for loss in LOSSES:
        with pytest.raises(ValueError, match=what):
            loss(Spikes([0.01], [0], size=3, duration=0.1), labels)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_wrong_constants_are_refused(value):
    for make in (
        lambda: FirstSpikeCrossEntropy(value),
        lambda: FirstSpikeCrossEntropy(1.0, tau1=value),
        lambda: FirstSpikeCrossEntropy(1.0, missing=value),
        lambda: TargetTime([[1.0]], tau=value),
        lambda: RelativeTime(value),
        lambda: RelativeTime(1.0, tau=value),
    ):
        with pytest.raises(ValueError, match="must be finite and > 0"):
            make()


def test_wrong_strength_and_targets_are_refused():
    with pytest.raises(ValueError, match="alpha = -1"):
        FirstSpikeCrossEntropy(1.0, alpha=-1)
    with pytest.raises(ValueError, match=r"shape \[2\], must be \[class, unit\]"):
        TargetTime([1.0, 2.0])
    with pytest.raises(ValueError, match="finite"):
        TargetTime([[math.nan]])
    with pytest.raises(ValueError, match="targets of 2 units, but the spikes are of 3"):
        TargetTime([[1.0, 2.0]])(Spikes([0.01], [0], size=3, duration=0.1), [0])


# --- losses on counts ---

COUNTS, LABELS = ((4.0, 0, 1), (0, 3, 2)), (2, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_spikemax_by_hand(dtype):
    counts = torch.tensor(COUNTS, dtype=dtype, requires_grad=True)
    loss = g.spikemax(counts, LABELS)
    assert loss.dtype == dtype and abs(loss.item() - (math.log(6) + math.log(2)) / 2) < 1e-6
    loss.backward()
    expected = torch.tensor(((1, 1, -5), (1, -1, 1)), dtype=dtype) / 12
    torch.testing.assert_close(counts.grad, expected)
    floor = g.spikemax(counts, LABELS, least=2.0)  # c = ((4, 2, 2), (2, 3, 2))
    assert abs(floor.item() - (math.log(4) + math.log(7 / 3)) / 2) < 1e-6


def test_spikemax_of_running_counts_is_the_mean_over_steps():
    counts = torch.tensor(COUNTS, dtype=torch.float64)
    steps = torch.stack([counts * n for n in (0, 1, 3)], 1).requires_grad_()
    loss = g.spikemax(steps, LABELS)
    expected = sum(g.spikemax(steps[:, n], LABELS) for n in range(3)) / 3
    torch.testing.assert_close(loss, expected)
    grads = [torch.autograd.grad(value, steps)[0] for value in (loss, expected)]
    torch.testing.assert_close(*grads)
    assert g.spikemax(steps[:0], []).item() == 0


def test_spikemax_reaches_a_layer_through_its_counts():
    layer, spikes = a_layer_and_its_input()
    g.spikemax(g.spike_counts(layer(spikes)), [0, 2]).backward()
    assert layer.weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("counts", "options", "what"),
    [
        (
            torch.zeros(2, 3, dtype=torch.int64),
            {},
            r"counts: torch.int64 \[2, 3\], must be a float",
        ),
        (torch.zeros(3), {}, r"counts: torch.float32 \[3\]"),
        (torch.tensor([[0.0, 1], [-1, 0]]), {}, r"counts\[1, 0\] = -1.0, must be a number of sp"),
        (torch.full((2, 1, 3), math.nan), {}, r"counts\[0, 0, 0\] = nan"),
        (torch.zeros(2, 3), {"least": 0.0}, "least = 0.0"),
        (torch.zeros(2, 2), {}, "labels: 2 of recording 1, must be 0 to 1"),
        (torch.zeros(3, 3), {}, r"labels: shape \[2\], must be \[3\]"),
    ],
)
def test_spikemax_refuses_what_is_no_count(counts, options, what):
    with pytest.raises(ValueError, match=what):
        g.spikemax(counts, [0, 2], **options)
