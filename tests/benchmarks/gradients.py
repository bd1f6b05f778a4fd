"""How fast and how small a training step is, against a plain dense network in torch.

    python tests/benchmarks/gradients.py           # all
    python tests/benchmarks/gradients.py --quick   # fewer repetitions
    python tests/benchmarks/gradients.py --few-bits  # what few bits cost, alone

One step is forward, loss, backward; 700 -> 256 -> 20 with learnt axonal delays, 64 recordings
of 8,000 input spikes in one second. The dense network does the same in steps of 1 ms with a
surrogate gradient and delays interpolated between two steps; it is as short as it can be
written. Each is measured in a process of its own, so that peak memory is its own too.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

BATCH, INPUTS, HIDDEN, CLASSES = 64, 700, 256, 20
SPIKES, DURATION, DT = 8000, 1.0, 1e-3
TAU_MEM, TAU_SYN = 20e-3, 5e-3
MAX_DELAY = 60e-3
MEAN, SPREAD = 0.014, 0.16  # of first weights: hidden rates of 5 to 15 Hz


def make_spikes(duration=DURATION, batch=BATCH, size=INPUTS, n=SPIKES, seed=0):
    import numpy as np

    import evsim

    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, DURATION, (batch, n)), axis=1).ravel()
    units = rng.integers(0, size, batch * n)
    labels = rng.integers(0, CLASSES, batch)
    return evsim.Spikes(times, units, np.arange(batch + 1) * n, size, duration, labels)


def event_model(max_delay=MAX_DELAY):
    import torch

    from evsim import gradients as g

    torch.manual_seed(0)
    cells = {"tau_mem": TAU_MEM, "tau_syn": TAU_SYN, "delay": "axonal", "max_delay": max_delay}
    model = torch.nn.Sequential(
        g.CubaLIF(INPUTS, HIDDEN, **cells), g.CubaLI(HIDDEN, CLASSES, output="max", **cells)
    )
    torch.nn.init.normal_(model[0].weight, MEAN, SPREAD)
    return model


def event_step(model, spikes):
    """Return seconds of the forward and of the backward pass."""
    import torch

    model.zero_grad()
    start = time.perf_counter()
    loss = torch.nn.functional.cross_entropy(model(spikes), torch.from_numpy(spikes.labels))
    middle = time.perf_counter()
    loss.backward()
    return middle - start, time.perf_counter() - middle


def dense_model(learn_delays=True):
    import torch

    torch.manual_seed(0)
    model = torch.nn.Module()
    model.hidden = torch.nn.Parameter(MEAN + SPREAD * torch.randn(HIDDEN, INPUTS))
    model.readout = torch.nn.Parameter(torch.randn(CLASSES, HIDDEN) / HIDDEN**0.5)
    model.delays = learn_delays
    if learn_delays:
        model.in_delay = torch.nn.Parameter(torch.rand(INPUTS) * MAX_DELAY / DT)
        model.hidden_delay = torch.nn.Parameter(torch.rand(HIDDEN) * MAX_DELAY / DT)
    return model


def delayed(trains, delay):
    """Shift spike trains [time, unit, recording] by real-valued delays in steps."""
    import torch

    n_steps, n_units, _ = trains.shape
    flat = torch.cat([trains.flatten(0, 1), trains.new_zeros(1, trains.shape[2])])
    whole = delay.detach().floor()
    part = (delay - whole)[:, None]

    def late(steps):
        time = torch.arange(n_steps)[:, None] - steps.long()
        row = torch.where(time >= 0, time * n_units + torch.arange(n_units), len(flat) - 1)
        return flat.index_select(0, row.flatten()).view(trains.shape)

    return (1 - part) * late(whole) + part * late(whole + 1)


def dense_step(model, trains, labels):
    """Run one step; return seconds of the forward and of the backward pass."""
    import math

    import torch

    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx, over):
            ctx.save_for_backward(over)
            return (over > 0).float()

        @staticmethod
        def backward(ctx, g):
            (over,) = ctx.saved_tensors
            return g / (1 + 10 * over.abs()) ** 2

    keep_v, keep_i = math.exp(-DT / TAU_MEM), math.exp(-DT / TAU_SYN)
    start = time.perf_counter()
    if model.delays:
        trains = delayed(trains, model.in_delay)
    current = model.hidden @ trains
    v = i = torch.zeros(current.shape[1:])
    fired = []
    for drive in current:
        i = keep_i * i + drive
        v = keep_v * v + (1 - keep_v) * i
        spikes = Spike.apply(v - 1.0)
        v = v * (1 - spikes)
        fired.append(spikes)
    trains = torch.stack(fired)
    if model.delays:
        trains = delayed(trains, model.hidden_delay)
    u = i = torch.zeros(CLASSES, trains.shape[2])
    peak = u
    for drive in model.readout @ trains:
        i = keep_i * i + drive
        u = keep_v * u + (1 - keep_v) * i
        peak = torch.maximum(peak, u)
    loss = torch.nn.functional.cross_entropy(peak.T, labels)
    middle = time.perf_counter()
    loss.backward()
    rate = float(torch.stack(fired).detach().sum() / (BATCH * HIDDEN * DURATION))
    return middle - start, time.perf_counter() - middle, rate


def yin_yang(repetitions):
    import torch

    from evsim import gradients as g
    from evsim.datasets import YinYang

    torch.manual_seed(0)
    cells = {"tau_mem": TAU_MEM, "tau_syn": TAU_SYN}
    model = torch.nn.Sequential(g.CubaLIF(5, 120, **cells), g.CubaLIF(120, 3, **cells))
    torch.nn.init.normal_(model[0].weight, 1.5, 0.78)
    torch.nn.init.normal_(model[1].weight, 0.93, 0.1)
    loss_of = g.FirstSpikeCrossEntropy(0.5e-3)
    batches = list(YinYang("train", bias=0.0).batches(150))[:-1]

    def step(batch):
        start = time.perf_counter()
        loss = loss_of(model(batch), batch.labels)
        middle = time.perf_counter()
        loss.backward()
        return middle - start, time.perf_counter() - middle

    return [step(batches[k % len(batches)]) for k in range(3 + repetitions)][3:]


def few_bits(repetitions, threads):
    """Print what few bits cost a step and a simulation, beside the same numbers as floats."""
    import torch

    import evsim
    from evsim.gradients import lowbit

    torch.set_num_threads(threads)
    spikes = make_spikes()
    for weight_bits, delay_bits in ((1.58, 3), (4, 3), (16, 6)):
        few, plain = event_model(), event_model()
        lowbit.quantise(few, weight_bits, delay_bits)
        with torch.no_grad():
            for name, tensor in plain.named_parameters():
                layer, _, own = name.partition(".")
                tensor.copy_(getattr(few[int(layer)], own))
        nets = [evsim.Network.from_torch(model) for model in (few, plain)]
        runs = [lambda m=m: event_step(m, spikes) for m in (few, plain)]
        runs += [lambda n=n: evsim.simulate(n, spikes, threads=threads) for n in nets]
        seconds = [[] for _ in runs]
        for k in range(1 + repetitions):  # alternately; the first one warms up
            for run_one, found in zip(runs, seconds, strict=True):
                start = time.perf_counter()
                run_one()
                found += [time.perf_counter() - start] if k else []
        step, step_plain, run_few, run_plain = map(statistics.median, seconds)
        print(
            f"weights of {weight_bits} bits, delays of {delay_bits}, {threads} thread(s): a step "
            f"{step / step_plain:.3f} times that of floats (goal 1.15), a simulation "
            f"{run_few / run_plain:.3f} (goal 1.05); {step_plain:.2f} s, {run_plain:.2f} s"
        )


def measure(what, repetitions, threads):
    """Measure one thing in this process and print it as JSON."""
    import torch

    import evsim.gradients  # noqa: F401, counted as the interpreter
    from evsim.datasets.binning import bin_spikes

    torch.set_num_threads(threads)
    found = {}
    if what == "yin-yang":
        steps = yin_yang(repetitions)
    elif what.startswith("event"):
        long = 1.0 if what == "event-long" else 10e-3 if what == "event-short" else MAX_DELAY
        # All that is sent within the first second arrives, however late.
        spikes = make_spikes(DURATION if what == "event" else 3 * DURATION)
        model = event_model(long)
        event_step(model, spikes[:1])
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        steps = [event_step(model, spikes) for _ in range(repetitions)]
        found["rate"] = model[0].diagnostics.rate
    else:
        spikes = make_spikes()
        labels = torch.from_numpy(spikes.labels)
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        trains = torch.from_numpy(bin_spikes(spikes, DT)).transpose(1, 2).contiguous()
        model = dense_model(what == "dense")
        steps = [dense_step(model, trains, labels) for _ in range(repetitions)]
        found["rate"] = steps[-1][2]
    if what != "yin-yang":
        found["memory"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024
    found["forward"] = [step[0] for step in steps]
    found["backward"] = [step[1] for step in steps]
    print(json.dumps(found))


def run(what, repetitions, threads):
    command = [sys.executable, __file__, "--measure", what]
    command += ["--repetitions", str(repetitions), "--threads", str(threads)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    both = [sum(pair) for pair in zip(found["forward"], found["backward"], strict=True)]
    return found | {"step": statistics.median(both), "best": min(both)}


def ratio(found):
    return statistics.median(found["backward"]) / statistics.median(found["forward"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--few-bits", action="store_true")
    parser.add_argument("--measure")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure, arguments.repetitions, arguments.threads)
        return
    n = 3 if arguments.quick else 7
    if arguments.few_bits:
        few_bits(3 * n, 1)
        return
    for threads in (1, 2):
        event, dense, plain = (run(what, n, threads) for what in ("event", "dense", "dense-plain"))
        print(f"700 -> 256 -> 20, {BATCH} recordings, {threads} thread(s), median of {n} steps")
        for name, found in (
            ("events, exact gradient, axonal delays", event),
            ("dense, surrogate gradient, axonal delays", dense),
            ("dense, surrogate gradient, no delays", plain),
        ):
            print(
                f"  {name:<42} {found['step']:6.2f} s (best {found['best']:.2f})  "
                f"{found['memory']:7.0f} MiB  hidden {found['rate']:.1f} Hz"
            )
        print(
            f"  times faster: {dense['step'] / event['step']:.1f} (goal 5), without delays "
            f"{plain['step'] / event['step']:.1f}; memory {dense['memory'] / event['memory']:.1f} "
            f"times less (goal 10); backward / forward {ratio(event):.2f} (goal 2)\n"
        )
    short, long = (run(what, n, 1) for what in ("event-short", "event-long"))
    print(f"delays up to 1 s over up to 10 ms: {long['step'] / short['step']:.2f} (goal 1.1)")
    small = run("yin-yang", 10 * n, 1)
    print(
        f"Yin-Yang 5-120-3, batch 150, 1 thread: {1e3 * small['step']:.1f} ms a step "
        f"(best {1e3 * small['best']:.1f}; goal 10), backward / forward {ratio(small):.2f}"
    )
    few_bits(3 * n, 1)


if __name__ == "__main__":
    main()
