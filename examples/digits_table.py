"""What learnt delays are worth: spoken digits with no, axonal and synaptic delays.

    python examples/digits_table.py RUNS          # 36 trainings; goes on where it was stopped

32 and 128 hidden units, the takes split and a speaker held out, three seeds each, all with the
options that `evsim train digits` has by default, but with augmentation and for 8 epochs, to keep it
to some twenty minutes. RUNS gets a folder for every training and delays.png. Accuracies are those
of the network files, run by the event engine on the test recordings; mean and standard deviation
over seeds.
"""

import argparse
import csv
import itertools
from pathlib import Path

import numpy as np

import evsim
from evsim.commands.train import run_training
from evsim.datasets import SpokenDigits

DELAYS, SIZES, SEEDS = ("none", "axonal", "synaptic"), (32, 128), (0, 1, 2)
SPLITS = {"takes": None, "speaker": "theo"}
COLOURS = ("#B8B8B8", "#0072B2", "#D55E00")


def trained(folder, epochs, threads, split, hidden, delay, seed):
    """Train a network, unless it is there, and return its accuracy on the test part [%]."""
    run = folder / f"{split}-{hidden}-{delay}-{seed}"
    if not is_complete(run, epochs):
        options = {
            "augment": True,
            "patience": 0,
            "hidden": hidden,
            "delay": delay,
            "seed": seed,
            "held_out": SPLITS[split],
        }
        resume = (run / "checkpoint.pt").exists()
        run_training(
            "digits", run, resume, overwrite=not resume, threads=threads, epochs=epochs, **options
        )
    test = SpokenDigits("test", held_out=SPLITS[split]).spikes()
    net = evsim.Network.load(run / "network.h5")
    answers = evsim.simulate(net, test).output[net.output].argmax(axis=1)
    return 100 * float(np.mean(answers == test.labels))


def is_complete(run, epochs):
    log = run / "log.csv"
    return log.exists() and len(list(csv.DictReader(log.open()))) >= epochs


def draw(path, scores):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    for axes, split in zip(figure.subplots(1, 2, sharey=True), SPLITS, strict=True):
        for i, (delay, colour) in enumerate(zip(DELAYS, COLOURS, strict=True)):
            found = [scores[split, hidden, delay] for hidden in SIZES]
            where = np.arange(len(SIZES)) + 0.27 * (i - 1)
            axes.bar(where, np.mean(found, axis=1), 0.25, color=colour, label=delay)
            axes.plot(where, found, "k.", markersize=4)
        axes.set_xticks(range(len(SIZES)), [f"{hidden} hidden" for hidden in SIZES])
        axes.set_title("takes 0-4 held out" if split == "takes" else "a speaker held out")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("test accuracy [%]")
    handles = figure.axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside right center", title="delays", frameon=False)
    figure.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    epochs, threads = arguments.epochs, arguments.threads
    arguments.folder.mkdir(parents=True, exist_ok=True)
    scores = {}
    print(f"{epochs:>3} epochs   " + "".join(f"{delay:>16}" for delay in DELAYS))
    for split, hidden in itertools.product(SPLITS, SIZES):
        print(f"{split:<8} {hidden:>4} ", end="", flush=True)
        for delay in DELAYS:
            found = [
                trained(arguments.folder, epochs, threads, split, hidden, delay, seed)
                for seed in SEEDS
            ]
            scores[split, hidden, delay] = found
            print(f"  {np.mean(found):5.1f} +- {np.std(found):3.1f} %", end="", flush=True)
        print()
    draw(arguments.folder / "delays.png", scores)
    print(f"plotted in {arguments.folder / 'delays.png'}")


if __name__ == "__main__":
    main()
