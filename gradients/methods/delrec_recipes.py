"""What the networks of DelRec and of its convolutional form were trained with."""

from __future__ import annotations

from dataclasses import replace

from .lif_networks import SOFT, Plan, steep
from .recipe import Recipe

_EPS = 1e-8  # torch's own
_DT_SHD = 10e-3
_DT_SSC = 1.4 / 249  # 250 edges of steps from 0 to 1.4 s
_DT_PIXEL = 1e-3

_DELREC = (
    "Queant, Rançon, Cottereau and Masquelier (2025), DelRec: learning delays in recurrent spiking "
    "neural networks, and its supplement",
    "github.com/alexmaxad/DelRec",
)
_CONV = (
    "Cicciarella, Zebendo and Rossi (2026), Combining convolution and delay learning in recurrent "
    "spiking neural networks",
    "github.com/luciozebendo/delrec_snn, branch conv_delays",
    *_DELREC,
)

_ALL = (
    "A bias b per step is a learnt v_leak of b / (1 - e^(-dt / tau_mem)). Units of layers start "
    "there, those of the programs start at 0 and drift there. Its optimiser's step, epsilon and "
    "decay are scaled so that b moves as published.",
    "A v_leak at the threshold would let units fire by themselves, which evsim refuses: it is put "
    "back to 0.99 of the threshold, at first and, as delays are, after each step of an optimiser.",
    "The program rounds the delays themselves at each validation and trains on from there; layers "
    "round them on the fly in eval() and leave them alone. Its sigma stays above 0 there, 0.06 "
    "steps at the end; theirs is 0.",
    "Delays have no upper limit in the program; here they end at a recording's length.",
)
_NORM = (
    "In evsim train the shift of a batch norm that would lift an exported unit's v_leak to the "
    "threshold is lowered likewise.",
)
_SHD_NOTES = (
    "The supplement's tau is 1.005 steps; the program's 1.05 is taken.",
    "The supplement names a = sqrt 5 for first weights beside U(+-sqrt(6 / inputs)), which is the "
    "program's and taken; a = sqrt 5 would be U(+-1 / sqrt(inputs)).",
    "In the program biases come before the batch norm, which takes them out again; here they are "
    "v_leak, behind it, beside the shift of the norm.",
    "Resets are detached in the supplement and in the last two versions of the program.",
    "Recordings last until their last spike in steps of 10 ms, padded to the longest of a batch; "
    "140 steps are SHD's longest. The votes of padding count.",
    "The readout returns the votes: cross_entropy(model(raster), labels) has the published second "
    "softmax. An exported network has no votes; it decides by the largest integral of voltage.",
    "The shift is drawn for each channel, which the paper does not say, after binning: a channel "
    "may leave the recording. Blended recordings are thinned by half, each count binomially. In "
    "evsim train each recording is blended with another of its class, drawn anew every epoch.",
    "The 20 % for validation are drawn at random, so speakers are shared.",
)

_SHD = Recipe(
    sizes=(140, 256, 256, 20),
    dt=_DT_SHD,
    n_steps=140,
    binary=False,
    epochs=150,
    batch=256,
    optimiser="AdamW",
    lr=5e-3,
    delay_lr=5e-2 * _DT_SHD,
    eps=_EPS,
    delay_eps=_EPS / _DT_SHD,  # gradients of delays are per second, not per step
    weight_decay=1e-5,
    schedule="OneCycleLR",
    clipping=None,
    loss="cross_entropy",
    decision="most votes",
    augmentation="three times as many: as they are, shifted by up to 100 steps, blended",
    sources=_DELREC,
    notes=(*_SHD_NOTES, *_ALL, *_NORM),
    delay_schedule="CosineAnnealingLR",
    sigma=10.0,
    sigma_decay=0.95,
    dropout=0.4,
    recurrent_dropout=0.2,
    validation=0.2,
    summed=5,
    trimmed=True,
)

_SHD_4 = replace(
    _SHD,
    sizes=(140, 256, 256, 256, 256, 20),
    sources=_CONV,
    notes=(
        "Trained for comparison by Cicciarella et al., who don't tell its settings; these are "
        "those of two layers.",
        *_SHD.notes,
    ),
)

_SHD_SMALL = replace(
    _SHD,
    sizes=(140, 42, 42, 20),
    epochs=30,
    delay_lr=0.1 * _DT_SHD,
    augmentation=None,
    notes=(
        "The recurrent network of the study of equal sizes: tau 2 steps, no biases, no batch norm, "
        "no augmentation, 30 epochs, steps of 0.1 for delays. All else is that of the large one.",
        *(_SHD_NOTES[i] for i in (1, 3, 4, 5, 7)),  # not on tau, biases, augmentation
        *_ALL[2:],
    ),
)

_SSC_NOTES = (
    "The supplement says that there are no biases; the program has them, and the published count "
    "of numbers too. It does not detach the reset, and units fire again while above the threshold.",
    "The readout has no leak: it returns the sum of the outputs of all steps. Its v_leak is the "
    "bias times the steps of a recording, and there from the first one on.",
)

_SSC = replace(
    _SHD,
    sizes=(140, 256, 256, 256, 35),
    dt=_DT_SSC,
    n_steps=250,
    epochs=100,
    batch=128,
    optimiser="Adam",
    lr=1e-3,
    delay_lr=5e-2 * _DT_SSC,
    delay_eps=_EPS / _DT_SSC,
    decision="largest sum",
    augmentation=None,
    notes=(
        *_SSC_NOTES,
        "First weights are torch's default, as in the program for PS-MNIST.",
        "Steps are counted from 1, between 250 edges from 0 to 1.4 s: 5.622 ms each.",
        "The program puts delays back to 0 and above at validation only; here it is done after "
        "each step.",
        *_ALL,
    ),
    delay_schedule="OneCycleLR",
    dropout=0.0,
    input_dropout=0.1,
    recurrent_dropout=0.3,
    validation=0.0,
    trimmed=False,
)

_PSMNIST = replace(
    _SSC,
    sizes=(1, 64, 212, 212, 10),
    dt=_DT_PIXEL,
    n_steps=784,
    epochs=200,
    batch=256,
    optimiser="AdamW",
    delay_lr=5e-2 * _DT_PIXEL,
    delay_eps=_EPS / _DT_PIXEL,
    weight_decay=1e-2,
    notes=(
        *_SSC_NOTES,
        "First biases of the first layer are U(-1, 1), a v_leak of up to 2: a quarter of its units "
        "starts at the limit of 0.99.",
        "A pixel per step; a step has no length in seconds, 1 ms is chosen. Pixels are values: "
        "evsim train tells each as a spike for every bit of it that is 1, to units whose weights "
        "are in proportion, so that a network of events takes them, too.",
        "It is not told which recordings are for validation.",
        *_ALL,
    ),
    recurrent_dropout=0.2,
    validation=None,
    summed=1,
)

_CONV_NOTES = (
    "A kernel of 3 along the units in place of the matrix of a loop; it is not flipped, and 0 is "
    "beyond the ends.",
    "The two stored versions of the program differ, in the scale of the input and in the gradient "
    "of the reset, and no table can be tied to one; units are DelRec's, with the arctan of the "
    "paper.",
    "The paper decides by the voltages at the last step, which the readout returns. The readout of "
    "an exported network decides at the end of the recording, a step later.",
)

_CONV_SHD = replace(
    _SHD,
    n_steps=100,
    lr=1.3e-3,
    delay_lr=2.79e-2 * _DT_SHD,
    decision="largest voltage at the last step",
    augmentation=None,
    sources=_CONV,
    notes=(
        *_CONV_NOTES,
        "Step sizes, dropout, tau and sigma are those of the paper's search. Epochs, batch, decay, "
        "schedules and the share for validation are not told, and DelRec's.",
        "The paper has no word of augmentation, and this recipe none.",
        *_SHD_NOTES[2:3],
        *_ALL,
        *_NORM,
    ),
    sigma=10.36,
    sigma_decay=0.971,
    dropout=0.44,
    recurrent_dropout=0.26,
    trimmed=False,
)

_CONV_SHD_4 = replace(_CONV_SHD, sizes=_SHD_4.sizes)

_CONV_SSC = replace(
    _SSC,
    decision="largest voltage at the last step",
    sources=_CONV,
    notes=(
        *_CONV_NOTES,
        "Settings are those of DelRec, not tuned; what is not told is DelRec's too: no batch norm, "
        "though the paper's figure has one, and learnt widths. The published 777 numbers of its "
        "loops are weights and delays, without the 768 widths.",
        _SSC_NOTES[0],
        *_ALL,
    ),
)

_PLAN = Plan(tau=1.05)
_CONV_PLAN = Plan(tau=1.17, kernel=True, readout="last")
NETWORKS: dict[str, tuple[Recipe, Plan]] = {
    "delrec-shd": (_SHD, _PLAN),
    "delrec-shd-4": (_SHD_4, _PLAN),
    "delrec-shd-small": (_SHD_SMALL, replace(_PLAN, tau=2.0, bias=False, batch_norm=False)),
    "delrec-ssc": (_SSC, SOFT),
    "delrec-psmnist": (_PSMNIST, SOFT),
    "conv-delrec-shd": (_CONV_SHD, _CONV_PLAN),
    "conv-delrec-shd-4": (_CONV_SHD_4, _CONV_PLAN),
    "conv-delrec-ssc": (_CONV_SSC, replace(SOFT, kernel=True, surrogate=steep, readout="last")),
}
