"""How far surrogate gradients on a time grid are from exact ones, by step and by surrogate.

    python examples/surrogate_gradients.py

A network of 70, 128 and 10 units with axonal delays hears real spoken digits. Its cross-entropy
is differentiated by the event layers, exactly, and by dense layers with four surrogates and
interpolated delays, for smaller and smaller steps. Printed are the cosine of the angle between
the two gradients, their lengths' ratio, and the relative error; and how far spikes and outputs
of the forward pass are from the exact ones.
"""

import torch
from torch import nn

from evsim import gradients as g
from evsim.datasets import SpokenDigits
from evsim.gradients import dense
from evsim.gradients.dense.surrogates import SURROGATES

STEPS = (4e-3, 2e-3, 1e-3, 5e-4, 2e-4)  # [s]
GROUPS = ("hidden.weight", "hidden.delay", "readout.weight")


def make_model(spikes):
    torch.manual_seed(0)
    model = g.delay_model(70, 128, 10, "axonal", max_delay=0.1).double()
    g.fit_weights(model, spikes)
    return model


def gradients(model, inputs, labels):
    """Return the outputs and the gradient of every group."""
    model.zero_grad()
    values = model(inputs)
    nn.functional.cross_entropy(values, labels).backward()
    return values.detach(), {name: p.grad.double() for name, p in model.named_parameters()}


def compared(exact, other):
    """Return cosine, ratio of lengths and relative error."""
    lengths = other.norm(), exact.norm()
    cosine = (exact * other).sum() / (lengths[0] * lengths[1])
    return float(cosine), float(lengths[0] / lengths[1]), float((other - exact).norm() / lengths[1])


def main():
    spikes = next(SpokenDigits("test", duration=0.5).batches(16, shuffle=True))
    labels = torch.as_tensor(spikes.labels)
    model = make_model(spikes)
    values, exact = gradients(model, spikes, labels)
    n_spikes = len(model.hidden(spikes).times)
    print(f"{len(spikes)} digits, {n_spikes:,} hidden spikes in the exact run")
    for dt in STEPS:
        raster = dense.to_raster(spikes, dt, dtype=torch.float64)
        on_grid = dense.from_events(model, dt, delays="interpolate")
        fired = int(on_grid.hidden(raster).detach().sum())
        error = (on_grid(raster).detach() - values).norm() / values.norm()
        print(f"\ndt = {1e3 * dt:g} ms: {fired:,} hidden spikes, outputs off by {error:.1%}")
        print(f"  {'cosine, length, error':<22}" + "".join(f"{name:>26}" for name in GROUPS))
        for name in SURROGATES:
            on_grid = dense.from_events(model, dt, delays="interpolate", surrogate=name)
            found = gradients(on_grid, raster, labels)[1]
            rows = [compared(exact[group], found[group]) for group in GROUPS]
            cells = (f"{c:12.3f} {length:6.2f} {error:6.2f}" for c, length, error in rows)
            print(f"  {name:<22}" + "".join(cells), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
