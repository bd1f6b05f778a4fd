"""Networks of a few units, built in one line."""

import numpy as np

import evsim


def one_unit(model, arrivals, *, voltage=(), duration=1.0, engine="reference", **parameters):
    """Send (time, weight) pairs to one unit; return its spike times, voltages and output."""
    n = max(len(arrivals), 1)
    weights = [[w for _, w in arrivals] or [0.0]]
    net = evsim.Network(
        [evsim.Population("input", "Input", n), evsim.Population("unit", model, 1, **parameters)],
        [evsim.Dense(pre="input", post="unit", weight=weights)],
    )
    times = [t for t, _ in arrivals]
    spikes = evsim.Spikes(times, np.arange(len(times)), size=n, duration=duration)
    result = evsim.simulate(net, spikes, voltage={"unit": voltage}, engine=engine)
    fired = result.spikes["unit"].times if "unit" in result.spikes else np.empty(0)
    return fired, result.voltage["unit"][0, :, 0], result.output.get("unit", [[None]])[0][0]


def chain(*projections, refractory=0.0):
    """An input of ten units and three `LIF` units a, b, c, which form a cycle."""
    populations = [evsim.Population("input", "Input", 10)]
    for name in "abc":
        populations.append(evsim.Population(name, "LIF", 1, tau_mem=np.inf, refractory=refractory))
    close = [evsim.Dense(pre=x, post=y, weight=[[0.0]], delay=0.5) for x, y in ("ab", "bc", "ca")]
    return evsim.Network(populations, [*close, *projections], output="c")


def from_input(post, unit, weight, delay=0.0):
    """Connect one input unit to a population of one."""
    weights = np.zeros((1, 10))
    weights[0, unit] = weight
    name = f"{unit} to {post}"
    return evsim.Dense(pre="input", post=post, weight=weights, delay=delay, name=name)


def link(pre, post, weight, delay=0.0):
    """Connect two populations of one."""
    name = f"{pre} to {post}"
    return evsim.Dense(pre=pre, post=post, weight=[[weight]], delay=delay, name=name)


def run_chain(net, times, units, **options):
    """Run one recording of 1 s."""
    spikes = evsim.Spikes(times, units, size=10, duration=1.0)
    return evsim.simulate(net, spikes, **options)


def limited(options, longest):
    """Return options of a layer with a limit [s] of whatever delays it learns."""
    kinds = {"max_delay": "delay", "recurrent_max_delay": "recurrent_delay"}
    limits = {limit: longest for limit, kind in kinds.items() if isinstance(options.get(kind), str)}
    return {**limits, **options}
