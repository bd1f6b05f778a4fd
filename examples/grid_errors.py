"""How fast a time grid converges to the events, for every model, feedforward and recurrent.

    python examples/grid_errors.py

Small random networks with real-valued delays, steps of 1 ms down to 0.02 ms. Printed are the
median error of spike times over the spikes that no step has lost one before in their recording,
the order of convergence fitted to it, and the first spike that is lost (or added) at each end.
The exit status is 1 if an order is below 0.9.
"""

import sys

import numpy as np

import evsim
from evsim.gradients.cross_check import cross_check

STEPS = (1e-3, 5e-4, 2e-4, 1e-4, 5e-5, 2e-5)  # [s]
INPUTS, UNITS, RECORDINGS, DURATION = 20, 20, 40, 0.15
TIMES = {"tau_mem": 20e-3, "tau_syn": 5e-3}
MODELS = {
    "CubaLIF": ({**TIMES, "refractory": 2e-3}, 1.6),
    "LIF": ({"tau_mem": 20e-3, "refractory": 2e-3}, 0.35),
    "SRM": ({"tau_syn": 5e-3}, 0.35),
}  # parameters and the mean weight of the input


def make_network(model, recurrent, rng):
    """Return a network with axonal and synaptic delays, in a loop too if it is recurrent."""
    cells, weight = MODELS[model]
    shape = UNITS, INPUTS
    into = evsim.Dense(
        pre="in", post="cells", weight=rng.normal(weight, weight, shape),
        delay=rng.uniform(0, 20e-3, shape),
    )  # fmt: skip
    loop = evsim.Dense(
        pre="cells", post="cells", weight=rng.normal(0, 0.3 * weight, (UNITS, UNITS)),
        delay=rng.uniform(2e-3, 20e-3, UNITS),
    )  # fmt: skip
    populations = [
        evsim.Population("in", "Input", INPUTS),
        evsim.Population("cells", model, UNITS, **cells),
    ]
    return evsim.Network(populations, [into, loop] if recurrent else [into])


def make_spikes(rng):
    n = RECORDINGS * INPUTS * 2
    recordings = np.sort(rng.integers(0, RECORDINGS, n))
    offsets = np.searchsorted(recordings, np.arange(RECORDINGS + 1))
    times, units = rng.uniform(0, 0.6 * DURATION, n), rng.integers(0, INPUTS, n)
    return evsim.Spikes(times, units, offsets, INPUTS, DURATION)


def main():
    print("median error of spike times [us] for dt [ms]")
    print(f"{'':<22}" + "".join(f"{1e3 * dt:>8g}" for dt in STEPS) + "   order  spikes")
    good = True
    for model in MODELS:
        for recurrent in (False, True):
            rng = np.random.default_rng(1)
            spikes = make_spikes(rng)
            found = cross_check(make_network(model, recurrent, rng), spikes, STEPS)
            (order,) = found.orders
            errors = dict(zip(order.dt, order.error, strict=True))
            cells = (f"{1e6 * errors[dt]:8.1f}" if dt in errors else f"{'-':>8}" for dt in STEPS)
            name = f"{model} {'recurrent' if recurrent else 'feedforward'}"
            print(f"{name:<22}" + "".join(cells) + f"{order.order:8.2f}{order.spikes:8}")
            for at in (found.spikes[0], found.spikes[-1]):
                lost = f"{at.missing} missing, {at.extra} extra of {at.n_events}"
                first = f"; first: {at.first_loss}" if at.first_loss else ""
                print(f"    at {1e3 * at.dt:g} ms: {lost}{first}")
            good = good and order.order >= 0.9 and len(order.dt) == len(STEPS)
    print("order at least 0.9 for all" if good else "an order is BELOW 0.9")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
