"""Train on several processes, or machines, with DistributedDataParallel.

    torchrun --nproc-per-node 2 examples/train_ddp.py

Nothing but the two lines on the process group differs from a training in one process: once
the group is there, every process computes its share of each batch, gradients are averaged,
and all end with the parameters that one process would have found, up to rounding.
"""

import argparse

import torch
from torch import distributed

from evsim.datasets.sets.coincidence import Coincidence
from evsim.gradients.training.processes import is_first, n_processes
from evsim.gradients.training.start import delay_model, fit_weights
from evsim.gradients.training.trainer import Trainer, TrainOptions


def main() -> None:
    parser = argparse.ArgumentParser(description="Train on several processes.")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--recordings", type=int, default=1000)
    parser.add_argument("--save", metavar="PATH", help="network file to write")
    arguments = parser.parse_args()

    distributed.init_process_group("gloo")
    data = Coincidence(arguments.recordings, channels=5, classes=4, events=5)
    training, validation = data.split(0.2)

    torch.manual_seed(0)  # the same first weights everywhere
    model = delay_model(data.size, 32, 4, delay="axonal", max_delay=50e-3)
    fit_weights(model, training.spikes())
    trainer = Trainer(model, training, validation, TrainOptions(arguments.epochs))
    trainer.run()

    if is_first():
        best = trainer.history[trainer.best["epoch"] - 1]
        print(
            f"{n_processes()} processes, {len(trainer.history)} epochs: "
            f"validation accuracy {best['validation_accuracy']:.1%}"
        )
        if arguments.save:
            from evsim import Network

            Network.from_torch(model).save(arguments.save, overwrite=True)
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
