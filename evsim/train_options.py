"""What a training can be asked for: names, types, ranges, defaults and help, written once.

`TrainOptions` is for the training loop, `TrainSettings` for ``evsim train``, whose options are
made of it and whose run folder keeps it. Nothing here needs torch.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from evsim.bits import MOST as MOST_BITS
from evsim.bits import TERNARY
from evsim.schema import NotNegative, check_fields
from evsim.train_rules import refuse_misfits

NAMED = ("digits", "gsc10", "yin-yang", "coincidence")  # data sets; others are files or folders
PIXELS = "ps-mnist:"  # before the folder of MNIST, whose pixels come one after the other
CHECKPOINT = "checkpoint.pt"  # what a training goes on from, in its folder
MOST = 10**9  # of what is counted
MOST_HIDDEN = 2**24
MOST_LAYERS = 16
DATA, NETWORK, OPTIMISER = "Data", "Network", "Optimiser"  # groups of options
# What older runs don't tell, and did.
LACKING = {
    "patience": 0, "weight_bits": None, "delay_bits": None, "levels": "learnt",
    "full_readout": False, "fit": "unit", "method": "exact", "dt": None, "preset": None,
    "device": "cpu", "learn_delays": True, "first_delay": None,
    "readout": None, "recordings": None, "validation": 0.1, "sparse": 0.0, "exact": False,
    "feedback": None, "every": None, "width": None, "tau_mem": None, "tau_syn": None,
    "learn_tau": False,
}  # fmt: skip
_LONGEST_DELAY = 1e6  # [s]
_LAST_SEED = 2**63 - 1
# Defaults that depend on the data; recordings may be too short for the delay [s].
_PATIENCE, _PATIENCE_DIGITS, _PATIENCE_SLAYER = 6, 3, 20
_MAX_DELAY = 0.3

Delay = Literal["none", "axonal", "dendritic", "synaptic"]
Loop = Literal["none", "dense", "conv"]
Levels = Literal["learnt", "fixed"]
Reading = Literal["votes", "last", "sum"]
Fit = Literal["unit", "layer"]
MethodName = Literal["exact", "slayer", "delrec", "conv-delrec", "dcls", "three-factor"]
Feedback = Literal["readout", "random"]
Preset = Literal[
    "axonal-shd", "delrec-shd", "delrec-shd-4", "delrec-shd-small", "delrec-ssc", "delrec-psmnist",
    "conv-delrec-shd", "conv-delrec-shd-4", "conv-delrec-ssc", "dcls-shd",
]  # fmt: skip
SLAYER_EPOCHS, SLAYER_DT = 100, 10e-3  # fewer and longer than the published 1000 and 4 ms
# Whose recipe has an augmentation of its own.
TRIPLED = ("delrec-shd", "delrec-shd-4")
# Less than the published 150, 256 and 256 256: minutes on a few cores.
DELREC_EPOCHS, DELREC_BATCH, DELREC_HIDDEN = 30, 64, (64, 64)
# Of three-factor rules on a grid; with --exact settings are those of exact.
RULE_DT, RULE_LONGEST = 5e-3, 25  # the longest delay is published [steps]


def _told(text: str, metavar: str = "N", **more: Any) -> Meta:
    """Return the help of an option, and what stands for its value."""
    return Meta(description=text, extra={"metavar": metavar, **more})


Epochs = Annotated[
    int,
    Meta(ge=1, le=MOST),
    _told(
        "Passes over the data, at most.",
        default=f"20; {SLAYER_EPOCHS} with slayer, {DELREC_EPOCHS} with delrec and dcls",
        group=OPTIMISER,
    ),
]
Batch = Annotated[
    int,
    Meta(ge=1, le=MOST),
    _told(
        "Recordings of a batch.",
        default=f"16; 128 with slayer, {DELREC_BATCH} with delrec and dcls",
        group=OPTIMISER,
    ),
]
Seed = Annotated[int, Meta(ge=0, le=_LAST_SEED), _told("Of weights and batches.", group=OPTIMISER)]
StepSize = Annotated[float, Meta(ge=0, le=1e6)]
Rate = Annotated[
    StepSize,
    _told(
        "Step of weights, as a share of their root mean square: 0.1 moves weights of about 2 "
        "by up to 0.2. With slayer, delrec and dcls the step itself.",
        "X",
        default="0.1; 0.05 with three-factor on a grid, published with other methods",
        group=OPTIMISER,
    ),
]
DelayRate = Annotated[
    StepSize,
    _told(
        "Step of delays [s]: 0.002 moves one by up to 2 ms.",
        "S",
        default="0.002; a tenth of a step with three-factor on a grid, published with other "
        "methods",
        group=OPTIMISER,
    ),
]
Patience = Annotated[
    Annotated[int, Meta(ge=0, le=MOST)] | None,
    _told(
        "End when the validation has not improved for so many epochs; 0 trains all of them.",
        default=f"{_PATIENCE_DIGITS} for digits, else {_PATIENCE}; {_PATIENCE_SLAYER} with slayer, "
        "0 with delrec, dcls, and three-factor on a grid",
        group=OPTIMISER,
    ),
]
Units = Annotated[int, Meta(ge=1, le=MOST_HIDDEN)]
Layers = Annotated[tuple[Units, ...], Meta(min_length=2, max_length=MOST_LAYERS)]


class TrainOptions(Struct, frozen=True):
    """How to train.

    Attributes
    ----------
    epochs : int
        How often every recording is seen.
    batch : int
        Recordings of a batch.
    seed : int
        Of the order of recordings, and of augmentation.
    lr, delay_lr, time_lr : float
        Step sizes, see `evsim.gradients.parameter_groups`.
    lr_decay : float
        Factor of the step sizes per epoch.
    wake : float
        Strength of the pull on units that were silent in a whole batch (`silent_loss`).
    average : float
        Share of the average of parameters that a step leaves as it was (less in the first
        steps); 0 for no average.

    Raises
    ------
    ValueError
        If one of them is out of its range.
    """

    epochs: Epochs = 20
    batch: Batch = 16
    seed: Seed = 0
    lr: Rate = 0.1
    delay_lr: DelayRate = 2e-3
    time_lr: StepSize = 2e-3
    lr_decay: Annotated[float, Meta(gt=0, le=1)] = 0.9
    wake: NotNegative = 0.1
    average: Annotated[float, Meta(ge=0, lt=1)] = 0.99

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        check_fields(self)


USUAL = TrainOptions()


class TrainSettings(Struct, frozen=True):
    """What ``evsim train`` is asked for.

    Attributes
    ----------
    dataset : str
        One of `NAMED`, a labelled spike file, the folder of SHD or SSC, or `PIXELS` and the
        folder of MNIST.
    held_out : str or None
        A speaker.
    recordings : int or None
        At most so many to train and validate with, and so many to test with; None for all.
    validation : float
        Share of those to train with that are kept for validation, where the data have no such
        part.
    sparse : float
        Share of the synapses of hidden layers, loops included, that is left out.
    tau_mem, tau_syn : float or None
        Time constants of hidden layers [s]; see `evsim.train_rules.TIMES` for who has which.
    learn_tau : bool
        Whether they are trained, see `evsim.gradients.training.time_constants`.
    method : str
        How gradients are found: "exact", of events; others on a time grid, with the settings of
        a network of `evsim.gradients.methods`, which are the defaults then; see
        `evsim.train_rules.PUBLISHED`.
    exact : bool
        Whether "three-factor" is of events, too.
    feedback, every, width
        Of "three-factor", see `evsim.gradients.methods.by_errors.rule_method`.
    preset : str or None
        The network of `evsim.gradients.methods` whose sizes and settings are the defaults.
    device : str
        Of torch, where a method on a grid computes.
    dt : float or None
        Length of a step of the grid [s]; None if there is none.
    hidden : int or tuple of int
        Units of the hidden layer, or of several.
    delay, recurrent : str
        See `evsim.gradients.training.start.delay_model`.
    max_delay : float or None
        Longest delay [s]; see `longest_delay`.
    first_delay : float or None
        All delays at first [s]; drawn if left out.
    learn_delays : bool
        Whether delays are trained.
    readout : str or None
        What decides on the grid of delrec or dcls, see `evsim.gradients.methods.lif_networks.Plan`.
    fit : str
        See ``per_unit`` of `evsim.gradients.fit_weights`.
    weight_bits, delay_bits, levels, full_readout
        See `evsim.gradients.lowbit.quantise`.
    epochs, batch, seed, lr, delay_lr
        See `TrainOptions`.
    patience : int or None
        Epochs to wait for a better one before the training ends; 0 to train all epochs; see
        `waits`.
    augment : bool or None
        Whether recordings are varied from epoch to epoch; see `varies` and `triples`.
    """

    dataset: Annotated[str, Meta(min_length=1, max_length=1 << 14)]
    held_out: Annotated[
        Annotated[str, Meta(max_length=1 << 10)] | None,
        _told("Test on this speaker, who is then left out of the training.", "SPEAKER", group=DATA),
    ] = None
    recordings: Annotated[
        Annotated[int, Meta(ge=2, le=MOST)] | None,
        _told(
            "Train and validate with N recordings at most, test with as many.",
            default="all",
            group=DATA,
        ),
    ] = None
    validation: Annotated[
        float,
        Meta(gt=0, lt=1),
        _told(
            "Share of the recordings to train that validate, where data have no part for it.",
            "SHARE",
            default="0.1; published with a preset",
            group=DATA,
        ),
    ] = 0.1
    hidden: Annotated[
        Units | Layers,
        _told(
            "Hidden units; several numbers make several layers.",
            "N...",
            default="128; 128 128 with slayer, 64 64 with delrec and dcls",
            group=NETWORK,
        ),
    ] = 128
    delay: Annotated[
        Delay,
        _told(
            "Learnt delays: none, one per input unit, per hidden unit, per synapse.",
            default="synaptic; axonal with slayer and delrec, of the spikes of hidden units",
            group=NETWORK,
        ),
    ] = "synaptic"
    recurrent: Annotated[
        Loop, _told("Loop of hidden layers: none, all to all, a shared kernel.", group=NETWORK)
    ] = "none"
    max_delay: Annotated[
        Annotated[float, Meta(gt=0, le=_LONGEST_DELAY)] | None,
        _told(
            "Longest delay [s].",
            "S",
            default=f"{_MAX_DELAY:g}, or a quarter of a recording; with delrec all of it, with "
            f"dcls 24 steps, with three-factor on a grid {RULE_LONGEST}",
            group=NETWORK,
        ),
    ] = None
    first_delay: Annotated[
        Annotated[float, Meta(ge=0, le=_LONGEST_DELAY)] | None,
        _told("All delays at first [s].", "S", default="drawn", group=NETWORK),
    ] = None
    learn_delays: Annotated[
        bool,
        _told("Train delays; else they stay what they are at first.", group=NETWORK),
    ] = True
    sparse: Annotated[
        Annotated[float, Meta(ge=0, lt=1)],
        _told(
            "Share of the synapses of hidden units that is left out at random, kernels of loops "
            "excepted, with exact and three-factor.",
            "SHARE",
            group=NETWORK,
        ),
    ] = 0.0
    tau_mem: Annotated[
        Annotated[float, Meta(gt=0, le=_LONGEST_DELAY)] | None,
        _told(
            "Time constant of the voltage of hidden units [s], with exact and three-factor.",
            "S",
            default="0.02",
            group=NETWORK,
        ),
    ] = None
    tau_syn: Annotated[
        Annotated[float, Meta(gt=0, le=_LONGEST_DELAY)] | None,
        _told(
            "Time constant of the current of hidden units [s], with exact; with slayer the time "
            "to the peak of all kernels.",
            "S",
            default="0.01; a step with slayer",
            group=NETWORK,
        ),
    ] = None
    learn_tau: Annotated[
        bool,
        _told(
            "Train the time constants of hidden layers, too, with exact; a layer's units share "
            "them.",
            group=NETWORK,
        ),
    ] = False
    readout: Annotated[
        Reading | None,
        _told(
            "What decides with delrec and dcls: votes of all steps, the voltage at the last one, "
            "the sum of what arrives, which a network of events has too.",
            default="votes, or that of the preset",
            group=NETWORK,
        ),
    ] = None
    fit: Annotated[
        Fit,
        _told("What gets a factor of its own when first weights are fitted.", group=NETWORK),
    ] = "unit"
    weight_bits: Annotated[
        Annotated[float, Meta(ge=TERNARY, le=MOST_BITS)] | None,
        _told(
            "Bits of all weights: 1.58 for three values, or 2 to 16.",
            "B",
            default="32, floats",
            group=NETWORK,
        ),
    ] = None
    delay_bits: Annotated[
        Annotated[int, Meta(ge=1, le=MOST_BITS)] | None,
        _told(
            "Bits of all delays: 2^B values from 0 to the longest.",
            "B",
            default="32, floats",
            group=NETWORK,
        ),
    ] = None
    levels: Annotated[
        Levels,
        _told("Whether the values that weights of few bits take are trained.", group=NETWORK),
    ] = "learnt"
    full_readout: Annotated[
        bool,
        _told(
            "Leave the weights of the readout as they are: --weight-bits is for the others.",
            group=NETWORK,
        ),
    ] = False
    method: Annotated[
        MethodName,
        _told(
            "How gradients are found: exact, of events; on a time grid, for axonal delays slayer, "
            "for those of loops delrec, with a kernel conv-delrec, for those of synapses dcls; "
            "three-factor, by traces at the synapses, as time goes on.",
            group=OPTIMISER,
        ),
    ] = "exact"
    exact: Annotated[
        bool,
        _told(
            "Of three-factor: exact traces, of events, in place of a time grid.", group=OPTIMISER
        ),
    ] = False
    feedback: Annotated[
        Feedback | None,
        _told(
            "What sends errors of three-factor to hidden units: the readout's weights, or fixed "
            "random ones.",
            default="readout; random for several hidden layers",
            group=OPTIMISER,
        ),
    ] = None
    every: Annotated[
        Annotated[float, Meta(gt=0, le=_LONGEST_DELAY)] | None,
        _told(
            "Move parameters each S seconds of a recording, with three-factor.",
            "S",
            default="at its end",
            group=OPTIMISER,
        ),
    ] = None
    width: Annotated[
        Annotated[float, Meta(gt=0, le=_LONGEST_DELAY)] | None,
        _told(
            "Width of the bell that stands for a spike in a delay's trace, with three-factor [s].",
            "S",
            default="a step",
            group=OPTIMISER,
        ),
    ] = None
    dt: Annotated[
        Annotated[float, Meta(gt=0, le=_LONGEST_DELAY)] | None,
        _told(
            "Step of the time grid of other methods than exact [s].",
            "S",
            default=f"{SLAYER_DT:g}; {RULE_DT:g} with three-factor",
            group=OPTIMISER,
        ),
    ] = None
    preset: Annotated[
        Preset | None,
        _told("Published network whose sizes and settings are the defaults.", group=OPTIMISER),
    ] = None
    device: Annotated[
        Annotated[str, Meta(min_length=1, max_length=32)],
        _told("Of torch, for methods on a grid: cpu, cuda, ...", "NAME", group=OPTIMISER),
    ] = "cpu"
    epochs: Epochs = USUAL.epochs
    batch: Batch = USUAL.batch
    seed: Seed = USUAL.seed
    lr: Rate = USUAL.lr
    delay_lr: DelayRate = USUAL.delay_lr
    augment: Annotated[
        bool | None,
        _told(
            "Vary recordings anew every epoch: stretch, shift and thin them out; as published "
            "with delrec-shd and delrec-shd-4.",
            default="for SHD, SSC and --held-out; with these two for files, too",
            group=DATA,
        ),
    ] = None
    patience: Patience = None

    def __post_init__(self) -> None:
        """Refuse bits that nothing has, and what does not go with the method."""
        refuse_misfits(self)

    def at_full_precision(self) -> TrainSettings:
        """Return the same settings without few bits."""
        usual = {"levels": "learnt", "full_readout": False}
        return msgspec.structs.replace(self, weight_bits=None, delay_bits=None, **usual)

    @property
    def few_bits(self) -> bool:
        """Whether weights or delays are on a few levels."""
        return self.weight_bits is not None or self.delay_bits is not None

    @property
    def by_events(self) -> bool:
        """Whether the network is trained by events, and not on a grid."""
        return self.method == "exact" or self.exact

    @property
    def random_feedback(self) -> bool:
        """Whether errors of three-factor go back through random weights."""
        return self.feedback == "random" or (self.feedback is None and len(self.layers) > 1)

    @property
    def scheduled(self) -> bool:
        """Whether step sizes depend on how many epochs there are to be, as published."""
        return self.method in ("delrec", "conv-delrec", "dcls")

    @property
    def layers(self) -> tuple[int, ...]:
        """The units of each hidden layer."""
        return (self.hidden,) if isinstance(self.hidden, int) else self.hidden

    @property
    def waits(self) -> int:
        """Epochs to wait for a better one; digits, which are learnt evenly, need fewer.

        What validates the parameters of single steps, and no average, needs more.
        """
        if self.patience is not None:
            return self.patience
        if self.scheduled or (self.method == "three-factor" and not self.exact):
            return 0  # the last epochs, of small steps, are the best ones
        if self.method == "slayer":
            return _PATIENCE_SLAYER
        return _PATIENCE_DIGITS if self.dataset == "digits" else _PATIENCE

    @property
    def varies(self) -> bool:
        """Whether recordings are varied: if not told, speech is that others test than train.

        Known speakers are learnt in half the epochs, and better, if they are left as they are.
        GSC-10, whose training has 133 speakers, is varied if it is told.
        """
        if self.triples:
            return False
        if self.augment is not None:
            return self.augment
        if not self.by_events:
            return False
        if self.dataset in NAMED:
            return self.dataset == "digits" and self.held_out is not None
        return os.path.isdir(self.dataset)  # SHD and SSC are folders

    @property
    def triples(self) -> bool:
        """Whether there are three times as many recordings, as published: of files and folders."""
        usual = self.dataset not in NAMED and not self.dataset.startswith(PIXELS)
        return self.preset in TRIPLED and (usual if self.augment is None else self.augment)

    def longest_delay(self, duration: float) -> float:
        """Return the longest delay where recordings last so long [s].

        It is at most a quarter of it if not told, where it is not published.
        """
        if self.max_delay is None and self.scheduled:
            return duration
        return min(_MAX_DELAY, duration / 4) if self.max_delay is None else self.max_delay
