"""Do exact gradients agree with plain autograd on networks of ordinary size?

    python examples/reference_gradients.py

Networks of 70, 128 and 10 units hear real spoken digits, feedforward and recurrent. The
gradients of their cross-entropy, from the event layers, are compared with autograd through a
time-stepped network in float64 with smaller and smaller steps. Each line is a group of
parameters: the relative error of its gradient for each step, and the order fitted to steps
that lose no spike. The exit status is 1 if a spike is lost, or an error is above 1e-3, at the
smallest step.
"""

import sys

import torch
from torch import nn

from evsim import gradients as g
from evsim.datasets import SpokenDigits
from evsim.gradients.reference import compare_gradients, fitted_orders

STEPS = (1e-3, 5e-4, 2e-4, 1e-4)  # [s]
LIMIT = 1e-3  # relative
CELLS = {"tau_mem": 20e-3, "tau_syn": 5e-3, "dtype": torch.float64}
LEARN = ("tau_mem", "tau_syn", "threshold", "reset", "refractory", "v_leak")
NETWORKS = {
    "feedforward, axonal delays": {"delay": "axonal"},
    "recurrent, synaptic delays": {
        "delay": "synaptic",
        "recurrent": "dense",
        "recurrent_delay": "axonal",
    },
}


def make_model(options, spikes):
    """Return a network with every kind of parameter learnt."""
    torch.manual_seed(0)
    hidden = g.CubaLIF(70, 128, **CELLS, refractory=2e-3, learn=LEARN, **options)
    readout = g.CubaLI(128, 10, **CELLS, output="max", delay="axonal", learn=LEARN[:2])
    model = nn.Sequential()
    model.add_module("hidden", hidden)
    model.add_module("readout", readout)
    if hidden.recurrent is not None:
        with torch.no_grad():
            hidden.recurrent_delay.clamp_(min=max(STEPS))  # a step may not be longer
    g.fit_weights(model, spikes)
    return model


def print_table(found):
    """Print one network; return whether all is well."""
    orders = fitted_orders(found)
    rows = {"spike times [s]": ([c.time_error for c in found], orders["spike times"])}
    rows["output"] = ([c.output_error for c in found], orders["output"])
    for name in found[0].gradient_errors:
        rows[f"by {name}"] = ([c.gradient_errors[name] for c in found], orders[name])
    for name, (errors, order) in rows.items():
        print(f"  {name:<26}", *(f"{error:9.1e}" for error in errors), f"{order:7.1f}")
    lost = [f"{c.missing} + {c.extra}" for c in found]
    print(f"  {'spikes missing + extra':<26}", *(f"{text:>9}" for text in lost))
    last = found[-1]
    return last.missing + last.extra == 0 and max(last.gradient_errors.values()) < LIMIT


def main():
    spikes = next(SpokenDigits("test", duration=0.5).batches(4, shuffle=True))
    labels = torch.as_tensor(spikes.labels)
    good = True
    for name, options in NETWORKS.items():
        model = make_model(options, spikes)
        found = compare_gradients(
            model, spikes, lambda values: nn.functional.cross_entropy(values, labels), STEPS
        )
        print(f"\n{name}: {len(spikes)} digits, {found[0].n_spikes} spikes")
        print(f"  {'dt [ms]':<26}", *(f"{1e3 * dt:9g}" for dt in STEPS), "  order")
        good = print_table(found) and good
    print("\nagreed" if good else "\nNOT agreed")
    return 0 if good else 1


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
