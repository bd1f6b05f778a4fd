"""What must not change the result, or must change it in a known way."""

import numpy as np
import pytest

import evsim

RNG_SEEDS = range(4)


def network(seed, model="CubaLIF", **parameters):
    """Return a loop of two populations with axonal and synaptic delays, and a readout."""
    rng = np.random.default_rng(seed)
    taus = {"tau_syn": 5e-3, "tau_r": 4e-3} if model == "SRM" else {"tau_mem": 20e-3}
    taus |= {"tau_syn": 5e-3} if model == "CubaLIF" else {}
    dense = evsim.Dense
    scale = {"CubaLIF": 6.0, "LIF": 0.6, "SRM": 1.0}[model]
    return evsim.Network(
        [
            evsim.Population("in", "Input", 6),
            evsim.Population("a", model, 12, **taus | parameters),
            evsim.Population("b", model, 8, **taus | parameters),
            evsim.Population("out", "CubaLI", 3, tau_mem=20e-3, tau_syn=5e-3, output="max"),
        ],
        [
            dense(pre="in", post="a", weight=scale * rng.normal(0.3, 1, (12, 6)),
                  delay=rng.uniform(0, 30e-3, 6)),
            dense(pre="a", post="b", weight=scale * rng.normal(0.1, 0.3, (8, 12)),
                  delay=rng.uniform(0, 10e-3, (8, 12))),
            dense(pre="b", post="a", weight=scale * rng.normal(-0.1, 0.2, (12, 8)),
                  delay=rng.uniform(1e-3, 10e-3, 8)),
            dense(pre="a", post="out", weight=rng.normal(size=(3, 12))),
        ],
    )  # fmt: skip


def recordings(seed, n=9, duration=0.2):
    rng = np.random.default_rng(seed)
    return evsim.Spikes.from_recordings(
        [(rng.random(k) * duration, rng.integers(0, 6, k)) for k in rng.integers(0, 60, n)],
        size=6,
        duration=duration,
    )


def assert_equal(a, b):
    for name in a.spikes:
        np.testing.assert_array_equal(a.spikes[name].times, b.spikes[name].times)
        np.testing.assert_array_equal(a.spikes[name].units, b.spikes[name].units)
        np.testing.assert_array_equal(a.spikes[name].offsets, b.spikes[name].offsets)
    for name in a.output:
        np.testing.assert_array_equal(a.output[name], b.output[name])
    for name in a.voltage:
        np.testing.assert_array_equal(a.voltage[name], b.voltage[name])


@pytest.mark.parametrize("model", ["CubaLIF", "LIF", "SRM"])
def test_threads_and_neighbours_change_no_bit(model):
    net, spikes = network(1, model), recordings(1)
    at = {"a": [0.05, 0.1]}
    one = evsim.simulate(net, spikes, threads=1, voltage=at)
    assert len(one.spikes["a"].times) > 50
    for threads in (2, 3, 8):
        assert_equal(one, evsim.simulate(net, spikes, threads=threads, voltage=at))
    for b in range(len(spikes)):
        alone = evsim.simulate(net, spikes[b], voltage=at)
        np.testing.assert_array_equal(alone.spikes["a"].times, one.spikes["a"][b].times)
        np.testing.assert_array_equal(alone.output["out"][0], one.output["out"][b])


@pytest.mark.parametrize("seed", RNG_SEEDS)
def test_time_shift(seed):
    net, spikes = network(seed), recordings(seed, 1)
    late = evsim.Spikes(spikes.times + 0.125, spikes.units, size=6, duration=0.325)
    before, after = evsim.simulate(net, spikes), evsim.simulate(net, late)
    assert len(before.spikes["b"].times) > 5
    for name in ("a", "b"):
        times = after.spikes[name].times - 0.125
        np.testing.assert_allclose(times, before.spikes[name].times, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", RNG_SEEDS)
def test_scaling_of_voltage(seed):
    spikes = recordings(seed, 2)
    net = network(seed)
    scaled = evsim.Network(
        [
            evsim.Population("a", "CubaLIF", 12, tau_mem=20e-3, tau_syn=5e-3, threshold=4.0)
            if p.name == "a" else p
            for p in net.populations.values()
        ],
        [
            evsim.Dense(pre=p.pre, post=p.post, delay=p.delay,
                        weight=p.weight * (4.0 if p.post == "a" else 1.0))
            for p in net.projections.values()
        ],
        output="out",
    )  # fmt: skip
    assert_equal(evsim.simulate(net, spikes), evsim.simulate(scaled, spikes))


@pytest.mark.parametrize("seed", RNG_SEEDS)
def test_permutation_of_units(seed):
    spikes, net = recordings(seed, 2), network(seed)
    order = np.random.default_rng(seed).permutation(12)

    def permuted(p):
        weight, delay = p.weight, p.delay
        if p.post == "a":
            weight = weight[order]
            delay = delay[order] if delay.ndim == 2 else delay
        if p.pre == "a":
            weight = weight[:, order]
            delay = delay[:, order] if delay.ndim == 2 else delay
        return evsim.Dense(pre=p.pre, post=p.post, weight=weight, delay=delay)

    other = evsim.Network(
        net.populations.values(), [permuted(p) for p in net.projections.values()], output="out"
    )
    before, after = evsim.simulate(net, spikes), evsim.simulate(other, spikes)
    # Sums over units come in another order, so times may differ in the last bits.
    np.testing.assert_array_equal(before.spikes["a"].counts()[:, order], after.spikes["a"].counts())
    np.testing.assert_allclose(
        np.sort(before.spikes["b"].times), np.sort(after.spikes["b"].times), rtol=0, atol=1e-12
    )


def test_a_loop_is_the_same_in_one_population_or_two():
    net, spikes = network(2), recordings(2, 3)
    a_b, b_a = net.projections["a->b"], net.projections["b->a"]
    weight, delay = np.zeros((20, 20)), np.zeros((20, 20)) + 1.0
    weight[12:, :12], delay[12:, :12] = a_b.weight, a_b.delay
    weight[:12, 12:], delay[:12, 12:] = b_a.weight, b_a.delay
    feed = net.projections["in->a"]
    joined = evsim.Network(
        [
            net.populations["in"],
            evsim.Population("ab", "CubaLIF", 20, tau_mem=20e-3, tau_syn=5e-3),
        ],
        [
            evsim.Dense(pre="in", post="ab", delay=feed.delay,
                        weight=np.vstack([feed.weight, np.zeros((8, 6))])),
            evsim.Dense(pre="ab", post="ab", weight=weight, delay=delay),
        ],
        output="ab",
    )  # fmt: skip
    one = evsim.simulate(joined, spikes).spikes["ab"]
    two = evsim.simulate(net, spikes).spikes
    for name, mine in (("a", one.units < 12), ("b", one.units >= 12)):
        np.testing.assert_allclose(one.times[mine], two[name].times, rtol=0, atol=1e-12)


def test_memory_and_time_don_t_depend_on_silence():
    net = network(0)
    spikes = evsim.Spikes([0.0, 5e5], [0, 1], size=6, duration=1e6)
    assert evsim.simulate(net, spikes).spikes["a"].times.max(initial=0) < 1e6


def test_an_integral_without_any_leak_is_refused():
    with pytest.raises(ValueError, match=r"tau_mem\[1\] = inf has no plain integral"):
        evsim.Population("out", "LI", 2, tau_mem=[0.02, np.inf], output="integral")
    evsim.Population("out", "LI", 2, tau_mem=np.inf, output="integral", tau_output=0.1)
