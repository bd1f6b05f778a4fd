"""Hashes of what evsim computes and writes, to compare two commits to the last bit.

    python tests/benchmarks/fingerprint.py             # about two minutes
    python tests/benchmarks/fingerprint.py > before; ... > after; diff before after

Run it with either commit installed; it uses public names only. Run it twice and keep the second
output: the process that compiles the kernels may differ from later ones in the last bit of a
gradient with respect to a time constant.
"""

import contextlib
import csv
import hashlib
import io
import os
import tempfile
from itertools import product
from pathlib import Path

import numpy as np
import torch

import evsim
from evsim import gradients as g
from evsim.datasets import (
    Cochlea,
    SpokenDigits,
    YinYang,
    delete_spikes,
    scale_times,
    shift_channels,
)
from evsim.gradients import dense

TAU = {"tau_mem": 20e-3, "tau_syn": 5e-3}


def digest(*values):
    """Return sixteen digits for arrays, tensors, spikes and texts."""
    sha = hashlib.sha256()
    for value in values:
        if isinstance(value, evsim.Spikes):
            value = value.numpy()
            sha.update(digest(value.times, value.units, value.offsets, str(value.size)).encode())
        elif value is None or isinstance(value, str):
            sha.update(str(value).encode())
        else:
            array = value.detach().numpy() if torch.is_tensor(value) else np.asarray(value)
            sha.update(f"{array.dtype} {array.shape}".encode())
            sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()[:16]


def networks():
    """Yield networks of every model, kind of projection and kind of delay, with their names."""
    models = {
        "CubaLIF": {**TAU, "refractory": 2e-3, "v_leak": 0.1, "reset": -0.1},
        "LIF": {"tau_mem": 20e-3, "refractory": 2e-3, "reset_mode": "soft"},
        "SRM": {"tau_syn": 5e-3, "tau_r": 8e-3},
    }
    outputs = {"CubaLI": ("max", "last", "integral"), "LI": ("max", "integral")}
    for n, (model, readout) in enumerate(product(models, outputs)):
        for output in outputs[readout]:
            rng = np.random.default_rng(n)
            cells = evsim.Population("hidden", model, 12, **models[model])
            read = {"tau_mem": 20e-3} | ({"tau_syn": 5e-3} if readout == "CubaLI" else {})
            there = rng.random((12, 20)) < 0.5
            pre, post = np.nonzero(there.T)
            projections = [
                evsim.Sparse(
                    pre="in",
                    post="hidden",
                    indptr=np.searchsorted(pre, np.arange(21)),
                    indices=post,
                    weight=2 * rng.normal(size=len(pre)),
                    delay=rng.uniform(0, 20e-3, len(pre)),
                    axonal_delay=rng.uniform(0, 5e-3, 20),
                ),
                evsim.Conv1d(
                    pre="hidden",
                    post="hidden",
                    kernel=rng.normal(size=(1, 1, 3)),
                    input_shape=(12,),
                    padding=(1,),
                    delay=rng.uniform(1e-3, 9e-3, (1, 1, 3)),
                ),
                evsim.Dense(pre="hidden", post="out", weight=rng.normal(size=(3, 12))),
            ]
            populations = [
                evsim.Population("in", "Input", 20),
                cells,
                evsim.Population("out", readout, 3, output=output, **read),
            ]
            yield f"{model} {readout} {output}", evsim.Network(populations, projections)


def noise(size, recordings, rate, duration=0.3, seed=0):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rate * duration, recordings)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    n = offsets[-1]
    labels = rng.integers(0, 3, recordings)
    times = rng.random(n) * duration
    return evsim.Spikes(times, rng.integers(0, size, n), offsets, size, duration, labels)


def file_hash(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def told_networks(folder):
    spikes = noise(20, 6, 800)
    for name, net in networks():
        path = folder / "net.h5"
        net.save(path, overwrite=True)
        yield f"network file {name}", file_hash(path)
        again = evsim.Network.load(path)
        at = {"hidden": np.linspace(0, 0.3, 31), "out": np.linspace(0, 0.3, 31)}
        result = evsim.simulate(again, spikes, voltage=at)
        found = [result.spikes["hidden"], result.voltage["hidden"], result.voltage["out"]]
        yield f"events {name}", digest(*found, result.output["out"])
        slow = evsim.simulate(again, spikes[:2], voltage=at, engine="reference")
        found = [slow.spikes["hidden"], slow.voltage["hidden"], slow.voltage["out"]]
        yield f"reference {name}", digest(*found, slow.output["out"])
    evsim.save_spikes(folder / "spikes.h5", spikes, overwrite=True)
    yield "spike file", file_hash(folder / "spikes.h5")


def layers():
    """Yield names and models of every layer, kind of delay and loop."""
    loops = [{}]
    loops += [
        {"recurrent": "dense", "recurrent_delay": delay} for delay in (2e-3, "axonal", "synaptic")
    ]
    loops += [{"recurrent": "conv", "recurrent_delay": "synaptic", "kernel_size": 5}]
    for delay, loop, model in product((None, "axonal", "synaptic"), loops, ("CubaLIF", "SRM")):
        torch.manual_seed(7)
        cells = {"tau_syn": 5e-3} if model == "SRM" else {**TAU, "refractory": 1e-3}
        learn = ("tau_syn", "threshold") if model == "SRM" else tuple(cells)
        hidden = getattr(g, model)(20, 12, **cells, learn=learn, delay=delay, **loop)
        outputs = ({"output": "max"}, {"output": "integral", "tau_output": 0.1}, {"at": [0.1, 0.2]})
        for output in outputs:
            readout = g.CubaLI(12, 3, **TAU, **output, learn="tau_mem")
            name = f"{model} {delay} {' '.join(map(str, loop.values()))} {[*output.values()]}"
            yield name, torch.nn.Sequential(g.Delay(20), hidden, readout)


def told_gradients():
    spikes = noise(20, 6, 800)
    for name, model in layers():
        model.zero_grad()
        model(spikes).square().sum().backward()
        yield f"layers {name}", digest(model(spikes), *(p.grad for p in model.parameters()))
        if "at" not in name and "0.1, 0.2" not in name:
            twin = dense.from_events(model, dt=1e-3, delays="interpolate")
            raster = dense.to_raster(spikes, 1e-3)
            twin(raster).square().sum().backward()
            yield f"dense {name}", digest(twin(raster), *(p.grad for p in twin.parameters()))
        if "integral" not in name and "0.1" not in name:
            yield f"as network {name}", evsim.network_digest(evsim.Network.from_torch(model))[:16]
    torch.manual_seed(0)
    lif = dense.LIF(20, 12, tau_mem=20e-3, delay="axonal", recurrent="dense", dt=1e-3)
    lif(dense.to_raster(spikes, 1e-3)).sum().backward()
    yield "dense LIF", digest(*(p.grad for p in lif.parameters()))
    hidden = g.CubaLIF(20, 12, **TAU, recurrent="dense")
    fired = hidden(spikes)
    silent = g.silent_loss(hidden.peak_voltage(spikes, fired))
    loss = silent + g.spike_count_regulariser(fired, target=2.0)
    loss.backward()
    yield "regularisers", digest(loss, *(p.grad for p in hidden.parameters()))
    groups = [(group["name"], group["lr"]) for group in g.parameter_groups(hidden)]
    yield "step sizes", digest(str(groups))


def told_data():
    train = SpokenDigits("train")
    batch = next(train.batches(64, shuffle=True, seed=3))
    yield "digits", digest(batch, batch.labels)
    varied = scale_times(shift_channels(delete_spikes(batch, 0.1, 5), 2, 6), 0.9, 1.1, 7)
    yield "transforms", digest(varied)
    points = YinYang("test", bias=0.0)[:64].spikes()
    yield "yin-yang", digest(points, points.labels)
    sound = 0.3 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    yield "cochlea", digest(Cochlea(70).encode(sound, 16000, seed=0))


def command(*arguments):
    """Run the command line and return what it prints."""
    import importlib.metadata

    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="evsim")
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        try:
            entry.load()([str(a) for a in arguments])
        except SystemExit as end:
            assert not end.code, out.getvalue()
    return out.getvalue()


def told_commands(folder):
    os.chdir(folder)
    for data, more in (("digits", ()), ("yin-yang", ("--recurrent", "dense"))):
        run = Path(f"run-{data}")
        command("train", data, "-o", run, "--epochs", 2, "--hidden", 16, "--batch", 64, *more)
        with open(run / "log.csv", newline="") as file:
            rows = [
                {k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)
            ]
        yield f"train {data}: log", digest(str(rows))
        yield f"train {data}: network", file_hash(run / "network.h5")
        yield f"train {data}: test spikes", file_hash(run / "test.h5")
        yield f"info {data}", digest(command("info", run / "network.h5"))
        command("simulate", run / "network.h5", run / "test.h5", "-o", f"{data}.h5")
        yield f"result file {data}", file_hash(f"{data}.h5")
        report = command("check", run / "network.h5", run / "test.h5", "--recordings", 20,
                         "--dt", "1e-3", "5e-4", "--min-match", 0, "--min-order", 0,
                         "--max-time-error", 1e9, "--max-accuracy-loss", 1)  # fmt: skip
        yield f"check {data}", digest(report)
    told = command("info", "digits-spikes.h5")
    yield "info demo", digest(told.partition("\n")[2])  # the first line has the file's place


def main():
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in (told_networks(folder), told_gradients(), told_data(), told_commands(folder)):
            for what, value in part:
                print(f"{value}  {what}", flush=True)


if __name__ == "__main__":
    main()
