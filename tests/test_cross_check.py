"""Does the cross-check find what differs, and only that?"""

import json

import numpy as np
import pytest

from evsim import Conv1d, Dense, Network, Population, Sparse, Spikes
from evsim.gradients import dense
from evsim.gradients.cross_check import cross_check, window
from evsim.gradients.cross_check.grid import grid_model, run_on_grid
from evsim.gradients.cross_check.match import match
from evsim.gradients.cross_check.plots import plot_check
from evsim.gradients.cross_check.records import Loss, Tolerances
from evsim.gradients.cross_check.report import report_data, report_text
from evsim.gradients.cross_check.rounding import network_in_steps, spikes_in_steps
from evsim.gradients.cross_check.spike_errors import compare, fit_order

TICK = 2.0**-10
N_IN, N, N_OUT = 6, 10, 3
STEPS = (1e-3, 5e-4, 2e-4, 1e-4)


# --- matching ---


def one_train(*times):
    return Spikes(list(times), [0] * len(times), size=1, duration=1.0)


def crowd(rng, n=2000, size=5, n_recordings=4):
    """Trains whose spikes are 2 ms apart or more."""
    made = []
    for _ in range(n_recordings):
        times = np.sort(rng.permutation(400)[: n // 40])[:, None] * 2e-3 + np.zeros(size)
        units = np.broadcast_to(np.arange(size), times.shape)
        made.append((times.ravel(), units.ravel()))
    return Spikes.from_recordings(made, size, 1.0)


def test_planted_losses_are_found():
    rng = np.random.default_rng(0)
    reference = crowd(rng)
    n = len(reference.times)
    gone = rng.choice(n, 17, replace=False)
    there = np.setdiff1d(np.arange(n), gone)
    recording = np.repeat(np.arange(len(reference)), np.diff(reference.offsets))
    parts = []
    for b in range(len(reference)):
        mine = there[recording[there] == b]
        times = reference.times[mine] + rng.uniform(-3e-4, 3e-4, len(mine)).clip(
            -reference.times[mine]
        )
        parts.append((np.append(times, 0.95), np.append(reference.units[mine], b)))
    other = Spikes.from_recordings(parts, reference.size, 1.0)
    pairs, missing, extra = match(reference, other, 5e-4)
    np.testing.assert_array_equal(missing, np.sort(gone))
    np.testing.assert_array_equal(pairs[:, 0], there)
    np.testing.assert_array_equal(other.times[extra], [0.95] * 4)
    np.testing.assert_array_equal(other.units[extra], range(4))
    np.testing.assert_array_equal(reference.units[pairs[:, 0]], other.units[pairs[:, 1]])


@pytest.mark.parametrize(
    ("a", "b", "pairs"),
    [
        ([], [], []),
        ([0.1], [], []),
        ([0.1, 0.104], [0.1039], [[1, 0]]),  # the nearest, not the first
        ([0.1, 0.101], [0.1011, 0.102], [[1, 0]]),  # no partners across others
        ([0.1, 0.102, 0.104], [0.1009, 0.1029, 0.1049], [[0, 0], [1, 1], [2, 2]]),
        ([0.1], [0.1], [[0, 0]]),
        ([0.1], [0.106], []),
    ],
)
def test_pairs(a, b, pairs):
    found = match(one_train(*a), one_train(*b), 5e-3)
    assert found.pairs.tolist() == pairs
    assert len(found.missing) == len(a) - len(pairs)
    assert len(found.extra) == len(b) - len(pairs)


def test_units_and_recordings_are_not_mixed():
    a = Spikes([0.1, 0.2], [0, 1], [0, 1, 2], size=2, duration=1.0)
    b = Spikes([0.2, 0.1], [1, 0], [0, 1, 2], size=2, duration=1.0)
    assert len(match(a, b, 0.5).pairs) == 0


def test_the_first_loss_and_what_comes_before_it():
    times, units = [0.1, 0.2, 0.3, 0.1, 0.2, 0.3, 0.99], [0, 1, 0, 0, 1, 0, 1]
    reference = Spikes(times, units, [0, 3, 7], 2, 1.0)
    grid = Spikes([0.101, 0.201, 0.301, 0.102, 0.25, 0.303], [0, 1, 0, 0, 0, 0], [0, 3, 6], 2, 1.0)
    never = np.array([np.inf, np.inf])
    errors = compare("cells", 1e-3, reference, grid, 0.02, never, np.array([5, 9])).errors
    assert (errors.matched, errors.missing, errors.extra) == (5, 1, 1)  # 0.99: near the horizon
    assert errors.first_loss == Loss("missing", 9, 1, 0.2)
    assert errors.early_spikes == 4
    assert errors.early_error == pytest.approx((1 + 1 + 1 + 2) * 1e-3 / 4)
    assert errors.largest_error == pytest.approx(3e-3)
    assert errors.match == 5 / 6
    lost_before = compare("c", 1e-3, reference, grid, 0.02, np.array([0.15, 0.0]), np.arange(2))
    assert lost_before.errors.early_spikes == 1


def test_order_is_fitted_to_the_same_spikes():
    times = np.linspace(0.1, 0.8, 40)
    reference, compared = one_train(*times), []
    for dt, lost in ((1e-2, 0), (1e-3, 30), (1e-4, 40)):
        late = times + dt**1.5
        grid = one_train(*late[:lost], *late[lost + 1 :])
        compared.append(
            compare("cells", dt, reference, grid, 5e-3, np.array([np.inf]), np.arange(1))
        )
    order = fit_order("cells", reference, compared)
    assert order.dt == [1e-3, 1e-4]  # nothing comes before the loss at the largest
    assert order.spikes == 30
    assert order.order == pytest.approx(1.5)


# --- networks ---


def cuba_network(rng, loop=0.0, gain=4.0, output="max", **synapses):
    taus = {"tau_mem": 20e-3, "tau_syn": 8e-3}
    populations = [
        Population("in", "Input", N_IN),
        Population("hidden", "CubaLIF", N, **taus),
        Population("out", "CubaLI", N_OUT, output=output, **taus),
    ]
    delays = rng.uniform(0, 10e-3, (N, N_IN))
    projections = [
        Dense(pre="in", post="hidden", weight=gain * rng.uniform(0.2, 1, (N, N_IN)), delay=delays),
        Dense(pre="hidden", post="out", weight=rng.normal(0, 1, (N_OUT, N))),
    ]
    if loop:
        own = loop * rng.normal(0, 1, (N, N))
        late = rng.uniform(1e-3, 5e-3, (N, N))
        projections.append(Dense(pre="hidden", post="hidden", weight=own, delay=late))
    return Network(populations, projections)


def recordings(rng, n=5, counts=12, span=0.05, duration=0.3):
    made = [(rng.uniform(0, span, counts), rng.integers(0, N_IN, counts)) for _ in range(n)]
    return Spikes.from_recordings(made, N_IN, duration, labels=rng.integers(0, N_OUT, n))


def test_a_sound_network_passes_with_order_1():
    rng = np.random.default_rng(1)
    check = cross_check(cuba_network(rng), recordings(rng), STEPS)
    (order,) = check.orders
    assert 0.9 < order.order < 1.15
    assert order.spikes >= 20
    assert check.failures(Tolerances()) == []
    finest = check.spikes[-1]
    assert finest.dt == 1e-4 and finest.n_events > 50
    assert finest.median_error < 3e-4 < 9e-4 < check.spikes[0].median_error
    for name in ("hidden", "out"):
        mean = [v.mean for v in check.voltages if v.population == name]
        assert len(mean) == 4 and mean[-1] < mean[0] / 2


def lif_network(rng, name_dt=TICK):
    def late(*shape):
        return name_dt * rng.integers(0, 20, shape)

    populations = [
        Population("in", "Input", N_IN),
        Population("hidden", "LIF", N, tau_mem=20.5 * name_dt, refractory=2 * name_dt),
        Population("out", "CubaLI", N_OUT, tau_mem=20e-3, tau_syn=8e-3, output="integral"),
    ]
    hidden = Dense(
        pre="in", post="hidden", weight=rng.uniform(0, 1, (N, N_IN)), delay=late(N, N_IN)
    )
    own = Dense(pre="hidden", post="hidden", weight=rng.normal(0, 0.2, (N, N)), delay=3 * name_dt)
    out = Dense(pre="hidden", post="out", weight=rng.normal(0, 1, (N_OUT, N)), delay=late(N))
    return Network(populations, [hidden, own, out])


def test_lif_on_whole_steps_is_identical():
    rng = np.random.default_rng(2)
    net = lif_network(rng)
    spikes = recordings(rng, counts=60)
    spikes = spikes_in_steps(spikes, TICK, 300)
    spikes = Spikes(spikes.times * TICK, spikes.units, spikes.offsets, N_IN, 0.3, spikes.labels)
    check = cross_check(net, spikes, [TICK])
    (errors,) = check.spikes
    assert errors.identical and errors.n_events > 50
    assert errors.largest_error == 0 and errors.first_loss is None
    assert check.decisions[0].exact_grid == 1.0
    assert max(v.largest for v in check.voltages) < 1e-12
    assert check.failures(Tolerances(min_match=1, max_time_error=0, max_accuracy_loss=0)) == []


@pytest.mark.parametrize("dt", [1e-3, 7e-4])
def test_lif_trained_on_a_grid_is_identical_once_rounded(dt):
    """Steps that are no sum of powers of two, and times that are no multiples of them."""
    rng = np.random.default_rng(3)
    net, spikes = lif_network(rng, 1e-3), recordings(rng, counts=60)
    check = cross_check(net, spikes, [dt], trained="grid")
    (errors,) = check.spikes
    assert errors.identical and errors.n_events > 50
    assert check.decisions[0].grid_rounded == 1.0
    assert check.orders == []
    exact = cross_check(net, spikes, [dt]).spikes[0]
    assert not exact.identical  # it is the rounding that makes them so


def test_a_chaotic_network_fails_and_names_the_first_loss():
    rng = np.random.default_rng(4)
    spikes = recordings(rng, n=2, span=0.2, counts=60)
    check = cross_check(cuba_network(rng, loop=2.0), spikes, STEPS, numbers=np.array([7, 11]))
    finest = check.spikes[-1]
    assert finest.first_loss.recording in (7, 11)
    failures = check.failures(Tolerances())
    assert any(str(finest.first_loss) in text and "min_match" in text for text in failures)
    assert "FAIL: hidden" in report_text(check, Tolerances())


def test_a_grazing_spike_is_lost_and_named():
    taus = {"tau_mem": 20e-3, "tau_syn": 20e-3}
    weight = np.e * (1 + 1e-7)  # the peak, one time constant later, just reaches the threshold
    weights = [[weight / 2, weight / 2]]
    net = Network(
        [Population("in", "Input", 2), Population("out", "CubaLIF", 1, **taus)],
        [Dense(pre="in", post="out", weight=weights)],
    )
    spikes = Spikes([0.01, 0.0100004], [0, 1], size=2, duration=0.2)
    check = cross_check(net, spikes, [3.7e-4])
    assert check.spikes[0].first_loss.kind == "missing"
    (failure,) = check.failures(Tolerances())
    assert "missing in recording 0, unit 0, at 0.0" in failure


def test_each_tolerance_can_fail():
    rng = np.random.default_rng(1)
    check = cross_check(cuba_network(rng), recordings(rng), STEPS)
    for name, value in (("min_order", 3.0), ("max_time_error", 1e-3), ("max_accuracy_loss", -1.0)):
        (failure,) = check.failures(Tolerances(**{name: value}))
        assert f"{name} = {value:g}" in failure


def test_silence_does_not_pass():
    rng = np.random.default_rng(1)
    check = cross_check(cuba_network(rng, gain=0.01), recordings(rng), [1e-3])
    assert check.failures(Tolerances()) == ["no population fired, so no spike was compared"]


@pytest.mark.parametrize("output", ["max", "last", "integral"])
def test_a_grid_that_stops_when_all_is_quiet_says_what_a_whole_one_says(output):
    rng = np.random.default_rng(5)
    net, spikes = cuba_network(rng, output=output), recordings(rng, duration=1.0)
    wanted = dense.from_network(net, TICK)(dense.to_raster(spikes, TICK))
    model = grid_model(net, TICK)
    found = run_on_grid(model, net, spikes, TICK, 0.02, np.arange(2))  # too early: it goes on
    np.testing.assert_allclose(found.output, wanted.detach(), rtol=1e-9, atol=1e-12)
    hidden = dense.from_network(net, TICK).hidden(dense.to_raster(spikes, TICK))
    np.testing.assert_array_equal(found.spikes["hidden"].times, dense.to_spikes(hidden, 1.0).times)
    assert found.spikes["hidden"].duration < 0.5 / TICK


@pytest.mark.parametrize("output", ["max", "last", "integral"])
def test_a_slow_synapse_does_not_spoil_decisions(output):
    taus = {"tau_mem": 1e-3, "tau_syn": 0.1}
    net = Network(
        [
            Population("in", "Input", 1),
            Population("hidden", "CubaLIF", 1, **taus),
            Population("out", "CubaLI", 2, output=output, **taus),
        ],
        [
            Dense(pre="in", post="hidden", weight=[[3.0]]),
            Dense(pre="hidden", post="out", weight=[[1.0], [2.0]]),
        ],
    )
    check = cross_check(net, Spikes([0.01], [0], size=1, duration=5.0, labels=[1]), [1e-3])
    assert check.decisions[0].grid_accuracy == check.decisions[0].exact_accuracy == 1.0


def test_listed_arrivals_are_those_of_the_dense_layers():
    rng = np.random.default_rng(6)
    net, spikes = lif_network(rng), recordings(rng, counts=60, duration=0.1)
    raster = dense.to_raster(spikes, TICK)
    wanted = dense.from_network(net, TICK).hidden(raster)
    np.testing.assert_array_equal(grid_model(net, TICK).hidden(raster).detach(), wanted.detach())


@pytest.mark.parametrize("seed", range(3))
def test_rounded_networks_are_what_a_grid_runs(seed):
    """Axonal and synaptic delays, sparse, masked loops and kernels along the units."""
    rng = np.random.default_rng(seed)
    cells = {"tau_mem": 20e-3, "threshold": rng.uniform(0.8, 1.2, N), "refractory": 2.4e-3}
    hidden = Population("hidden", "LIF", N, reset_mode=["hard", "soft"][seed % 2], **cells)
    ptr = np.arange(N_IN + 1) * 4
    to = np.concatenate([np.sort(rng.choice(N, 4, replace=False)) for _ in range(N_IN)])
    into = Sparse(
        pre="in", post="hidden", indptr=ptr, indices=to, weight=rng.uniform(0, 2, len(to)),
        delay=rng.uniform(0, 8e-3, len(to)), axonal_delay=rng.uniform(0, 8e-3, N_IN),
    )  # fmt: skip
    own = Conv1d(
        pre="hidden", post="hidden", kernel=rng.normal(0, 0.3, (1, 1, 3)), input_shape=(N,),
        padding=(1,), delay=2e-4,
    )  # fmt: skip
    net = Network([Population("in", "Input", N_IN), hidden], [into, own])
    check = cross_check(net, recordings(rng, counts=60), [1e-3], trained="grid")
    assert check.spikes[0].identical and check.spikes[0].n_events > 50
    assert network_in_steps(net, 1e-3).projections["hidden->hidden"].axonal(N).min() == 1


def test_small_batches_change_nothing(monkeypatch):
    rng = np.random.default_rng(7)
    net, spikes = cuba_network(rng), recordings(rng)
    whole = cross_check(net, spikes, [1e-3])
    monkeypatch.setattr("evsim.gradients.cross_check.job._ENTRIES", 1)
    pieces = cross_check(net, spikes, [1e-3])
    assert pieces.spikes == whole.spikes
    assert pieces.decisions == whole.decisions


def test_windows():
    rng = np.random.default_rng(0)
    assert window(cuba_network(rng), 1e-4) == pytest.approx(4e-3)
    assert window(cuba_network(rng), 1e-2) == pytest.approx(5e-2)


# --- reports ---


def test_reports_hold_everything():
    rng = np.random.default_rng(1)
    check = cross_check(cuba_network(rng), recordings(rng), [1e-3, 1e-4])
    data = json.loads(json.dumps(report_data(check, Tolerances()), allow_nan=False))
    assert data["passed"] is True and data["failures"] == []
    assert data["spikes"][0]["population"] == "hidden" and len(data["spikes"]) == 2
    text = report_text(check, Tolerances())
    for word in ("hidden: order of convergence 1", "voltage", "decisions", "PASS"):
        assert word in text
    axes = {a.get_label() for a in plot_check(check).axes}
    assert axes == {"errors", "lost", "decisions"}


def test_recordings_without_labels_or_spikes():
    rng = np.random.default_rng(1)
    empty = Spikes([], [], [0, 0, 0], size=6, duration=0.1)
    check = cross_check(cuba_network(rng), empty, [1e-2, 1e-3])
    assert check.decisions[0].exact_accuracy is None and check.decisions[0].exact_grid == 1
    assert "-" in report_text(check, Tolerances())
    plot_check(check)


# --- refusals ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dt": [0.0]}, "dt = 0"),
        ({"dt": [float("nan")]}, "dt = nan"),
        ({"dt": []}, "dt"),
        ({"dt": [1e-12]}, "too many"),
        ({"trained": "both"}, "trained = 'both'"),
        ({"device": "abacus"}, "device = 'abacus'"),
    ],
)
def test_bad_arguments(change, message):
    rng = np.random.default_rng(1)
    with pytest.raises(ValueError, match=message):
        cross_check(cuba_network(rng), recordings(rng), **({"dt": [1e-3]} | change))


def test_networks_that_are_no_chain_are_refused():
    rng = np.random.default_rng(1)
    net = cuba_network(rng)
    skip = Dense(pre="in", post="out", weight=np.ones((N_OUT, N_IN)))
    both = Network(net.populations.values(), [*net.projections.values(), skip])
    with pytest.raises(ValueError, match="'out' listens to"):
        cross_check(both, recordings(rng), [1e-3])


def test_recordings_that_do_not_fit_are_refused():
    rng = np.random.default_rng(1)
    net = cuba_network(rng)
    with pytest.raises(ValueError, match="7 units"):
        cross_check(net, Spikes([0.1], [6], size=7, duration=0.2), [1e-3])
    with pytest.raises(ValueError, match="no recordings"):
        cross_check(net, Spikes([], [], [0], size=6, duration=0.2), [1e-3])
    with pytest.raises(ValueError, match="min_match"):
        Tolerances(min_match=float("nan"))
