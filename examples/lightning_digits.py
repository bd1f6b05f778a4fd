"""Spoken digits with Lightning: its loop, its early stop, evsim's layers.

    python examples/lightning_digits.py            # needs lightning; --epochs 12

A `LightningModule` takes the pieces of a loop of one's own: first weights that make every unit
fire, step sizes of weights and of delays, a pull on silent units, averaged parameters. Its batches
are `Spikes`, made by a torch `DataLoader` with `evsim.datasets.collate`. Prints the accuracy on the
test recordings.
"""

import argparse
import logging
import warnings

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from evsim import gradients as g
from evsim.datasets import SpokenDigits, collate


class Digits(lightning.LightningModule):
    def __init__(self, first, n_hidden=128, decay=0.9):
        super().__init__()
        self.model = g.delay_model(first.size, n_hidden, 10, "synaptic", max_delay=0.3)
        self.decay = decay
        g.fit_weights(self.model, first)  # step sizes are shares of these weights
        self.averaged = g.Averaged(self.model)

    def forward(self, spikes):
        return self.averaged(spikes)

    def training_step(self, batch, _):
        with g.waking(self.model) as wake:
            loss = cross_entropy(self.model(batch), torch.as_tensor(batch.labels)) + wake()
        self.log("loss", loss, batch_size=len(batch), prog_bar=True)
        return loss

    def on_train_batch_end(self, *_):
        self.averaged.update_parameters(self.model)

    def validation_step(self, batch, _):
        self._tell("validation", batch)

    def test_step(self, batch, _):
        self._tell("test", batch)

    def configure_optimizers(self):
        optimizer = g.adam(self.model)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, self.decay)]

    def _tell(self, part, batch):
        values, labels = self.averaged(batch), torch.as_tensor(batch.labels)
        right = (values.argmax(dim=1) == labels).float().mean()
        told = {f"{part}_loss": cross_entropy(values, labels), f"{part}_accuracy": right}
        self.log_dict(told, batch_size=len(batch), prog_bar=True)


def main(epochs=12, seed=0, n_hidden=128, batches=1.0, **trainer_options):
    """Train, and return the test accuracy; ``batches`` is the share or number of an epoch's."""
    lightning.seed_everything(seed, verbose=False)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    # The data are in memory: workers would only copy them.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    train, validation = SpokenDigits("train").split(0.1, seed=0)
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_model_summary=False, limit_train_batches=batches, limit_val_batches=batches,
        limit_test_batches=batches, callbacks=[EarlyStopping("validation_loss", patience=4)],
        **trainer_options,
    )  # fmt: skip
    first = next(train.batches(256, shuffle=True, seed=seed))
    loaders = [
        DataLoader(part, batch_size=16, shuffle=part is train, collate_fn=collate)
        for part in (train, validation, SpokenDigits("test"))
    ]
    module = Digits(first, n_hidden)
    trainer.fit(module, loaders[0], loaders[1])
    (tested,) = trainer.test(module, loaders[2], verbose=False)
    print(f"{trainer.current_epoch} epochs, test accuracy {tested['test_accuracy']:.1%}")
    return tested["test_accuracy"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    main(arguments.epochs, arguments.seed)
