"""A training loop of one's own with what `evsim train` does to reach its accuracy.

    python examples/own_loop.py            # --epochs 10 --seed 0

Four lines differ from a loop for any torch model: first weights that make every unit fire, step
sizes of weights and delays, a pull on silent units, and an average of the parameters.
"""

import argparse

import torch
from torch.nn.functional import cross_entropy

from evsim import gradients as g
from evsim.datasets import SpokenDigits


def main(epochs: int = 10, seed: int = 0, hidden: int = 128, every: int = 1) -> float:
    train, test = SpokenDigits("train")[::every], SpokenDigits("test")
    torch.manual_seed(seed)
    model = torch.nn.Sequential(
        g.CubaLIF(70, hidden, tau_mem=20e-3, tau_syn=10e-3, delay="synaptic", max_delay=0.3),
        g.CubaLI(hidden, 10, tau_mem=10e-3, tau_syn=5e-3, output="integral", tau_output=0.2),
    )
    g.fit_weights(model, next(train.batches(256, shuffle=True)))  # every unit fires
    optimizer, averaged = g.adam(model), g.Averaged(model)  # steps of weights and of delays
    decay = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    for epoch in range(epochs):
        for batch in train.batches(16, shuffle=True, seed=1000 * seed + epoch):
            optimizer.zero_grad()
            with g.waking(model) as wake:  # pulls on silent units
                loss = cross_entropy(model(batch), torch.from_numpy(batch.labels)) + wake()
            loss.backward()
            optimizer.step()
            averaged.update_parameters(model)
        decay.step()
        tested = g.score(averaged, test)
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, test accuracy {tested}", flush=True)
    return tested.accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    main(arguments.epochs, arguments.seed)
