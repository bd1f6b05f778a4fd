"""SLAYER's axonal delays: spike response neurons on a grid, every unit's spikes shifted.

Shrestha and Orchard (2018), arXiv 1810.08646, made the neuron and its gradient; Sun et al. the
network, in "Learnable axonal delay in spiking neural networks improves spoken word recognition"
(2023) and "Exploiting heterogeneous delays for efficient computation in low-bit neural networks"
(2025).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from .. import dense
from ..dense.surrogates import exponential
from .recipe import Recipe

_DT, _N_STEPS = 4e-3, 350
_TAU_SYN, _TAU_R = 1.0, 2.0  # steps
_THRESHOLD = 10.0
_GAIN = 10.0  # of torch's first weights
_LR = 0.01  # of weights, and of delays in steps
_BATCH = 128
_EPS = 1e-8 / _BATCH  # torch's own, for gradients of a mean in place of a sum

AXONAL_SHD = Recipe(
    sizes=(700, 128, 128, 20),
    dt=_DT,
    n_steps=_N_STEPS,
    binary=True,
    epochs=1000,
    batch=_BATCH,
    optimiser="NAdam",
    lr=_LR,
    delay_lr=_LR * _DT,
    eps=_EPS,
    delay_eps=_EPS / _DT,  # their gradients are per second, not per step
    weight_decay=0.0,
    schedule=None,
    clipping=None,
    loss="spikemax",
    decision="most spikes",
    augmentation=None,
    sources=(
        "Sun, Achterberg, Su, Goodman and Akarca (2025), Exploiting heterogeneous delays for "
        "efficient computation in low-bit neural networks",
        "github.com/sunpengfei1122/Delay_weight_lowprecision, example/SHD, which uses "
        "github.com/bamsumit/slayerPytorch",
    ),
    notes=(
        "The length of a step is not published: the program's recordings are stored as 350 steps "
        "of 1 unit (its settings say 400, and are not used); 4 ms make that 1.4 s, SHD's longest.",
        "First weights are the program's, 10 times torch's default, U(+-10 / sqrt(inputs)); the "
        "paper says Kaiming normal, a quarter of that.",
        "The program normalises weights: a gain per unit times a direction. Its 276 gains are in "
        "no published count of 108,800 numbers; they are left out here. The first network is the "
        "same without.",
        "The published loss is a sum over the batch, here it is the mean. Nadam's steps are the "
        "same if its epsilon is divided by the batch (and, of delays in seconds, by the step). It "
        "matters: units that are silent at first have very small gradients.",
        "Synaptic kernels are not cut off where they fall below 0.01, as the program's are after "
        "8 steps.",
        "One step size of 0.01 for all: of a weight, and of a delay in steps. The program has a "
        "schedule that it never steps.",
        "Delays have no upper limit; here they end at a recording's length, beyond which they have "
        "no effect. The momentum of a delay that is put back between its limits is cleared.",
        "The published accuracy is that of the best epoch on the test recordings; take a "
        "validation part instead.",
    ),
)


def slayer(v: Tensor) -> Tensor:
    """Return 0.1 e^(-|v|), the published derivative of a spike: 0.2 times one of area 1.

    Examples
    --------
    >>> import torch
    >>> slayer(torch.tensor([0.0, 1.0]))
    tensor([0.1000, 0.0368])
    """
    return 0.2 * exponential(v, 1.0)


def axonal(
    sizes: Sequence[int], dt: float, max_delay: float, tau_syn: float | None = None
) -> nn.Sequential:
    """Return layers of `evsim.gradients.dense.SRM`, the spikes of hidden ones delayed.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, units of the hidden layers, classes.
    dt : float
        Length of a step [s].
    max_delay : float
        Longest delay [s].
    tau_syn : float or None
        Time to the peak of synaptic kernels [s]; a step, as published, if left out.

    Returns
    -------
    Sequential
        Layers ``hidden1``, ``hidden2``, ... and ``output``. The delays of a layer's spikes are
        the axonal ones of the layer that follows.

    Notes
    -----
    Delays are cut to whole steps and have SLAYER's gradient; a unit fires at every step at or
    above the threshold. First delays are U(0, 1) steps.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    tau_syn = _TAU_SYN * dt if tau_syn is None else tau_syn
    for i, (n_before, n) in enumerate(zip(sizes, sizes[1:], strict=False)):
        late = {"delay": "axonal", "max_delay": max_delay} if i else {}
        layer = dense.SRM(
            n_before, n, tau_syn, _TAU_R * dt, _THRESHOLD, **late,
            dt=dt, delays="floor", surrogate=slayer, refire=True,
        )  # fmt: skip
        if not layer.weight.is_meta:
            bound = _GAIN / n_before**0.5
            nn.init.uniform_(layer.weight, -bound, bound)
            if layer.delay is not None:
                nn.init.uniform_(layer.delay, 0.0, min(dt, max_delay))
        layers["output" if i == len(sizes) - 2 else f"hidden{i + 1}"] = layer
    return nn.Sequential(layers)
