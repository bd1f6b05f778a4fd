"""What `test_ddp` runs in one process, and in two under torchrun: gradients and an epoch."""

import os
import sys

import numpy as np
import torch
from torch import distributed

from evsim.datasets.sets.coincidence import Coincidence
from evsim.gradients.training.processes import is_first
from evsim.gradients.training.start import delay_model, fit_weights
from evsim.gradients.training.trainer import Trainer, TrainOptions


def main(path: str) -> None:
    if "RANK" in os.environ:
        distributed.init_process_group("gloo")
    data = Coincidence(51, channels=5, classes=2, max_offset=20e-3, events=4)
    torch.manual_seed(0)
    model = delay_model(5, 7, 2, "synaptic", "dense", max_delay=25e-3).double()
    fit_weights(model, data.spikes())
    # 51 = 3 x 17: the last share of a batch is smaller than the first.
    trainer = Trainer(model, data, data[:9], TrainOptions(1, batch=17, wake=0.0))
    loss, right, n = trainer.backward(data[:17].spikes())
    found = {f"gradient {name}": p.grad.numpy().copy() for name, p in model.named_parameters()}
    trainer.run()
    found |= {f"after {name}": p.detach().numpy() for name, p in model.named_parameters()}
    record = {
        k: v for k, v in trainer.history[0].items() if k.endswith(("loss", "accuracy", "rate"))
    }
    if is_first():
        np.savez(path, share=n, **found, **record)
    if distributed.is_initialized():
        distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
