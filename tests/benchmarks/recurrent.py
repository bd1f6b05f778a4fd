"""What late loops cost: time and memory against the longest delay, kernels, inference.

    python tests/benchmarks/recurrent.py           # all
    python tests/benchmarks/recurrent.py --quick   # fewer repetitions

Times on one thread, medians of things done in turn; ratios are medians of the ratios of each round.
Memory is what the process holds at most in a training step beyond what it held before. Networks
are scaled until they fire as often: what is compared has as many spikes.
"""

import argparse
import statistics

import numpy as np
import torch

import evsim
from evsim.gradients import dense, methods
from evsim.gradients.studies.measuring import in_turn, peak_mib
from evsim.gradients.studies.papers.buffer import buffered, make_fire, network, step_of

LONGEST = (0.01, 0.03, 0.1, 0.3, 1.0)
SIZES = (140, 256, 20)
HANDS = ((8, 64), (64, 64), (64, 256), (256, 256))  # recordings, units
# Paper D, Table III: ms per inference there, of a matrix and of a kernel.
TABLE = (
    ("SHD, 2 layers", "delrec-shd", "conv-delrec-shd", 37.11, 0.71),
    ("SHD, 4 layers", "delrec-shd-4", "conv-delrec-shd-4", 38.03, 1.51),
    ("SSC, 3 layers", "delrec-ssc", "conv-delrec-ssc", 112.64, 4.19),
)


def noise(recordings, size=140, n=9330, duration=1.0, active=1.0, seed=0):
    """Return recordings with as many spikes as those of SHD."""
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, active, (recordings, n)), axis=1).ravel()
    units, labels = rng.integers(0, size, recordings * n), rng.integers(0, 20, recordings)
    return evsim.Spikes(times, units, np.arange(recordings + 1) * n, size, duration, labels)


def ratio(own, others):
    return statistics.median(a / b for a, b in zip(own, others, strict=True))


def against_delays(rounds):
    # All that is sent within the first second arrives, however late, triangles included.
    batch = noise(16, n=2000, duration=2.2)
    print("A training step, 140 -> 256 -> 20, 16 recordings of 2.2 s, steps of 10 ms")
    print("  longest delay [s]          " + "".join(f"{longest:>16g}" for longest in LONGEST))
    for kind in ("spread", "interpolate", "buffer", "events"):
        models = []
        for longest in LONGEST:
            torch.manual_seed(0)
            grid = "spread" if kind == "interpolate" else kind
            models.append(network(grid, SIZES, longest))
            if kind == "interpolate":
                models[-1][0].sigma = 0.0
            make_fire(grid, models[-1], batch)
        steps = [step_of(grid, model, batch) for model in models]
        spikes = [step() for step in steps]
        seconds = in_turn(steps, rounds)
        memory = [peak_mib(step) for step in steps]
        for name, values, form in (
            ("ms", [1e3 * statistics.median(one) for one in seconds], "16.0f"),
            ("times", [ratio(one, seconds[0]) for one in seconds], "16.2f"),
            ("MiB", memory, "16.1f"),
            ("spikes", spikes, "16.0f"),
        ):
            print(f"  {kind:<18} {name:<8}" + "".join(f"{v:{form}}" for v in values))
        time, peak = ratio(seconds[-1], seconds[0]), memory[-1] / memory[0]
        goal = " (goal 1.2)" if kind == "events" else ""
        print(f"  {kind}: 1 s over 10 ms: time {time:.2f}, memory {peak:.2f}{goal}\n")


def looped(recurrent, kind, n=256):
    """Return a layer with late loops, all of whose kernels are the same for a seed."""
    torch.manual_seed(0)
    options = {"dt": 1e-2, "delays": "spread", "recurrent_max_delay": 0.3}
    layer = dense.LIF(140, n, 0.02, recurrent=recurrent, recurrent_delay=kind, **options)
    torch.nn.init.normal_(layer.weight, 0, 0.2)
    return layer


def expanded(kernel, kind):
    """Return the same loop as a matrix, with a mask."""
    n = kernel.out_features
    matrix = looped("dense", kind)
    late = torch.full((n, n), 0.1) if kind == "synaptic" else kernel.recurrent_delay
    weight, near = torch.zeros(n, n), torch.zeros(n, n, dtype=torch.bool)
    for k in range(kernel.kernel_size):
        row = torch.arange(n)
        pre = row + k - kernel.kernel_size // 2
        row, pre = row[(pre >= 0) & (pre < n)], pre[(pre >= 0) & (pre < n)]
        weight[row, pre], near[row, pre] = kernel.recurrent_weight[k], True
        if kind == "synaptic":
            late[row, pre] = kernel.recurrent_delay[k]
    with torch.no_grad():
        matrix.weight.copy_(kernel.weight)
        matrix.recurrent_weight.copy_(weight)
        matrix.recurrent_delay.copy_(late)
    matrix.recurrent_mask = near
    return matrix


def backwards(layer, forward):
    def step():
        layer.zero_grad()
        fired = forward()
        fired.mean().backward()
        return float(fired.detach().sum())

    return step


def kernels(rounds):
    batch = noise(64, n=2000)
    raster = dense.to_raster(batch, 1e-2)
    print(
        "A loop of kernels of 3, 256 units, 64 recordings of 100 steps, beside the same as matrix"
    )
    for kind in ("axonal", "synaptic"):
        kernel = looped("conv", kind)
        with torch.no_grad():
            matrix = expanded(kernel, kind)
            apart = float((kernel.run(raster)[1] - matrix.run(raster)[1]).abs().max())
        forms = {"as a matrix": (matrix, lambda m=matrix: m(raster))}
        if kind == "axonal":
            # As published: what arrives waits, so that the matrix stands before the delays.
            forms["as published"] = (matrix, lambda m=matrix: buffered(m, raster))
        own = backwards(kernel, lambda k=kernel: k(raster))
        steps = [own] + [backwards(model, forward) for model, forward in forms.values()]
        seconds = in_turn(steps, rounds)
        for name, found in zip(forms, seconds[1:], strict=True):
            print(
                f"  {kind} delays, {name}: {1e3 * statistics.median(found):.0f} ms, kernel "
                f"{1e3 * statistics.median(seconds[0]):.0f} ms, {ratio(found, seconds[0]):.1f} "
                f"times faster; voltages differ by {apart:.0e} at most"
            )
    print()


def inference(rounds):
    batch = noise(1)
    print("Inference, one recording of 9,330 spikes in 1 s")
    for title, *names, there, kernel_there in TABLE:
        runs, spikes = [], []
        for name in names:
            torch.manual_seed(0)
            model = methods.build(name).eval()
            recipe = methods.recipe(name)
            given = wide(batch, model[0].in_features)
            raster = dense.to_raster(given, recipe.dt)
            net = evsim.Network.from_torch(model)
            simulator = evsim.Simulator(net, threads=1)
            runs += [lambda m=model, r=raster: ahead(m, r), lambda s=simulator, g=given: s.run(g)]
            hidden = [layer for layer in model if isinstance(layer, dense.LIF)]
            ahead(model, raster)
            spikes.append(sum(layer.diagnostics.rate * layer.out_features for layer in hidden)
                          * raster.shape[1] * recipe.dt)  # fmt: skip
            result = simulator.run(given)
            spikes.append(sum(len(one.times) for name, one in result.spikes.items()))
        seconds = in_turn(runs, rounds)
        for k, what in enumerate(
            ("matrix, grid", "matrix, events", "kernel, grid", "kernel, events")
        ):
            ms = 1e3 * statistics.median(seconds[k])
            print(f"  {title}: {what:<15} {ms:8.2f} ms {spikes[k]:9,.0f} spikes of hidden units")
        print(
            f"  {title}: matrix over kernel, grid {ratio(seconds[0], seconds[2]):.2f}, events "
            f"{ratio(seconds[1], seconds[3]):.2f}; paper D {there / kernel_there:.1f} "
            f"({there} and {kernel_there} ms on its machine)"
        )
    print()


def ahead(model, raster):
    with torch.no_grad():
        return model(raster)


def wide(batch, size):
    """Return the recordings on as many channels."""
    return evsim.Spikes(
        batch.times, batch.units % size, batch.offsets, size, batch.duration, batch.labels
    )


def by_hand(rounds):
    print(
        "The grid's training step over a loop written by hand (spikes wait in its line), 100 steps"
    )
    for n_recordings, n in HANDS:
        batch = noise(n_recordings, n=2000)
        raster = dense.to_raster(batch, 1e-2)
        for longest in (0.1, 0.5):
            torch.manual_seed(0)
            layer = network("spread", (140, n, 20), longest)[0]
            torch.nn.init.normal_(layer.weight, 0, 0.2)
            own = backwards(layer, lambda m=layer, r=raster: m(r))
            hand = backwards(layer, lambda m=layer, r=raster: buffered(m, r, weights_first=False))
            assert own() == hand()
            seconds = in_turn((own, hand), rounds)
            print(
                f"  {n_recordings:4} recordings, {n:4} units, delays up to {longest:g} s: "
                f"{1e3 * statistics.median(seconds[0]):6.0f} ms, by hand "
                f"{1e3 * statistics.median(seconds[1]):6.0f} ms: {ratio(*seconds):.2f} (goal 1.5)"
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=("delays", "kernels", "inference", "hand"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rounds = 3 if arguments.quick else 7
    parts = {"delays": against_delays, "kernels": kernels, "inference": inference, "hand": by_hand}
    for name, part in parts.items():
        if arguments.only in (None, name):
            part(rounds)


if __name__ == "__main__":
    main()
