"""Networks whose exact gradients are known from elsewhere, and how far ours are from them.

Every function yields rows (loss, group, error, limit). Also run by examples/gradient_errors.py.
"""

from decimal import Decimal
from pathlib import Path

import numpy as np
import torch

import evsim
from evsim.gradients.functional import Job, fire, observe
from evsim.gradients.reverse import backward, forward

ORACLE = Path(__file__).parent / "data" / "oracle"
LIMIT = 1e-10  # of the largest entry of a group


def relative(found, expected):
    """Return the largest error over the largest entry of a group; NaN stands for unknown."""
    found, expected = (np.asarray(a, np.float64) for a in (found, expected))
    known = ~np.isnan(expected)
    return np.abs(found[known] - expected[known]).max() / np.abs(expected[known]).max()


# --- networks solved in 40-digit arithmetic, see data/oracle/README.md ---


def oracle_rows(name):
    """Compare with a file of gradients of a weighted sum of spike times."""
    with np.load(ORACLE / f"{name}.npz", allow_pickle=False) as file:
        case = dict(file)
    net, spikes = oracle_network(case)
    run = forward(net, spikes)
    # Both sort spikes by time, then unit, but ties were stored in any order.
    order = np.lexsort((case["out_id"], case["out_t"]))
    np.testing.assert_array_equal(run.spikes.units, case["out_id"][order])
    yield "spike times", "spike times", relative(run.spikes.times, case["out_t"][order]), LIMIT

    g = backward(run, case["coef"][order], time_constants=True)
    groups = {
        "w_in": g.weight,
        "d_in": g.delay,
        "w_rec": g.own_weight,
        "d_rec": g.own_delay,
        "in_t": g.in_times[np.argsort(np.lexsort((case["in_id"], case["in_t"])))],
        "tau_mem": g.tau_mem.sum(),
        "tau_syn": g.tau_syn.sum(),
        "theta": g.threshold.sum(),
    }
    for group, found in groups.items():
        if not np.isnan(case[f"g_{group}"]).all():
            yield "spike times", group, relative(found, case[f"g_{group}"]), LIMIT


def oracle_network(case):
    """Build the network of a file, and its input."""
    neurons = evsim.Population(
        "neurons",
        "CubaLIF",
        int(case["n"]),
        tau_mem=case["tau_mem"],
        tau_syn=case["tau_syn"],
        threshold=case["theta"],
        refractory=case["t_ref"],
    )
    projections = [
        evsim.Dense(pre="inputs", post="neurons", weight=case["w_in"], delay=case["d_in"]),
        evsim.Dense(pre="neurons", post="neurons", weight=case["w_rec"], delay=case["d_rec"]),
    ]
    size, duration = int(case["n_in"]), float(case["duration"])
    spikes = evsim.Spikes(case["in_t"], case["in_id"], size=size, duration=duration)
    return evsim.Network([evsim.Population("inputs", "Input", size), neurons], projections), spikes


# --- two recurrent neurons and a readout; times in ms, checked in 60-digit arithmetic ---

END = 60.0
PAIR = {
    # Weights and delays [post, pre].
    "w_in": [[7.5, 2.0], [3.0, 5.5]],
    "w_rec": [[1.5, 3.5], [4.0, -2.0]],
    "w_out": [[1.2, -0.8]],
    "d_in": [[0.5, 1.75], [2.25, 0.3]],
    "d_rec": [[3.0, 5.0], [1.2, 2.0]],
    "d_out": [[4.0, 0.9]],
    "axonal": [0.7, 0.4],  # of both neurons, to each other and to the readout
    "tau_m": [20.0, 18.0, 25.0],  # the third is the readout's
    "tau_s": [5.0, 4.0, 6.0],
    "theta": [1.0, 0.9],
    "V_r": [0.0, -0.1],
    "t_in": [1.0, 12.0, 4.0],  # of inputs 0, 0, 1
}

# Rows of matrices one after another.
PAIR_GRADIENTS = {
    "integral": """
        value   23.81911493044193
        w_in    3.372387996275 1.712575068678 0.4953916659733 0.3431472256063
        w_rec   8.854819636945 5.431658482563 -0.5622756455308 -0.3095051245233
        w_out   37.6796412656 26.74556823535
        d_in    -0.4040263354894 -0.08581588718046 -0.1641631151918 -0.1720519547246
        d_rec   -0.64974924159 -1.14679802434 -0.2409670504956 0.1387280757263
        d_out   -1.395673196514 0.5696159039282
        axonal  -2.2863894886 -0.4384540446857
        tau_m   -2.751676234502 -0.09170405152512 -0.5500384426548
        tau_s   10.17346339847 -0.009016015131345 3.158075097037
        theta   -61.0110942538 -1.951126876043
        V_r     44.00578621051 -0.1262178276036
        t_in    0.1750103841073 -0.7431998347884 -0.2578678419051
    """,
    "max": """
        value   0.8508371940594117
        w_in    0.09620040506946 0.04947943292574 0.07155746802582 0.03664267771125
        w_rec   0.3795986444563 0.2356482190533 0.1896407380151 0.1251069276242
        w_out   1.17068836761 0.6924860588412
        d_in    0.004510508245155 0.002764545315835 -0.004596687781714 -0.002678365779276
        d_rec   -0.01959172877579 -0.02946276278545 -0.03467280760148 0.008668572903776
        d_out   0.01248509837702 -0.01248509837702
        axonal  -0.04177943800024 -0.03327928825869
        tau_m   -0.09990717732776 -0.04449269911871 -0.01484203730245
        tau_s   0.396162596584 0.1981584806933 0.1295057664174
        theta   -2.214628637244 -0.964953071851
        V_r     1.685660961749 0.5609846363546
        t_in    0.01286031048463 -0.01294649002119 0.00008617953655894
    """,
    "last spike": """
        value   59.71503297766262
        w_in    -11.85353407632 -6.065979818124 -7.256445421776 -3.726456869574
        w_rec   -46.55573309266 -28.43172935813 -25.12331272017 -16.18547853531
        w_out   0 0
        d_in    0.2476203253085 -0.08029412571954 0.4572541047967 0.3754196956144
        d_rec   2.014231471919 4.448647793454 3.615973993043 -0.4644339459376
        d_out   0 0
        axonal  5.630205464962 3.984213847516
        tau_m   12.14709337554 5.268236145661 0
        tau_s   -48.3505073147 -24.47954438123 0
        theta   270.3781176011 115.1633712704
        V_r     -201.84161401 -67.40108714668
        t_in    -1.238256978924 1.943131409029 0.2951255698948
    """,
    "integral of e^(-t/60) V": """
        value   11.5239770283998
        axonal  -1.245631810249 -0.1300679691552
        w_out   18.89826394541 13.94242463261
        tau_s   4.776996375272 -0.3505914822602 1.474569659067
    """,
}


def pair_gradients(loss):
    """Return the value of a loss of the pair and its gradients by group."""
    p = {k: torch.tensor(v, dtype=torch.float64, requires_grad=True) for k, v in PAIR.items()}
    inputs = evsim.Spikes([0.0, 0.0, 0.0], [0, 0, 1], size=2, duration=END).torch()
    fired = fire(
        Job("CubaLIF", inputs.replace(p["t_in"], inputs.units, inputs.offsets)),
        weight=p["w_in"],
        delay=p["d_in"],
        recurrent_weight=p["w_rec"],
        recurrent_delay=p["d_rec"],
        recurrent_axonal_delay=p["axonal"],
        tau_mem=p["tau_m"][:2],
        tau_syn=p["tau_s"][:2],
        threshold=p["theta"],
        reset=p["V_r"],
    )
    value = fired.times[-1] if loss == "last spike" else pair_output(p, fired, loss)
    value.sum().backward()
    zero = {name: torch.zeros_like(tensor) for name, tensor in p.items()}
    found = {k: zero[k] if t.grad is None else t.grad for k, t in p.items()}
    return {"value": value.detach()} | found


def pair_output(p, fired, loss):
    """Return the output of the pair's readout; ``loss`` starts with its name."""
    options = {"output": loss.split()[0]}
    if "e^" in loss:
        options["tau_output"] = END
    return observe(
        Job("CubaLI", fired, options),
        weight=p["w_out"],
        delay=p["d_out"],
        axonal_delay=p["axonal"],
        tau_mem=p["tau_m"][2:],
        tau_syn=p["tau_s"][2:],
    )


def pair_rows(loss):
    """Compare with the printed values, to the last digit of the largest entry of a group."""
    found = pair_gradients(loss)
    for group, digits in printed(loss).items():
        values = np.array(digits, np.float64)
        off = np.abs(found[group].numpy().ravel() - values).max()
        largest = digits[np.abs(values).argmax()]
        if not values.any():
            yield loss, group, off, 0.0
            continue
        last_digit = 10.0 ** Decimal(largest).as_tuple().exponent
        # The values have as many digits as float64, so the last one can't be had exactly.
        limit = last_digit / abs(float(largest)) + 4 * np.finfo(float).eps
        yield loss, group, off / abs(float(largest)), limit


def printed(loss):
    """Return the numbers of `PAIR_GRADIENTS` by group, as they are written."""
    lines = PAIR_GRADIENTS[loss].strip().splitlines()
    return {group: digits for group, *digits in (line.split() for line in lines)}


# --- a maximum that stands on an inhibitory arrival; times in ms ---

KINK = {"value": [0.2079308935540209], "weight": [0.1039654467770105, 0.0]}
KINK_SLOPE = 0.0444846189317016  # of the voltage up to the maximum, which moves with t_in[1]
KINK["t_in"] = [-KINK_SLOPE, KINK_SLOPE]


def kink_rows():
    """Compare with the exact values, which have 16 digits."""
    p = {"t_in": [2.0, 5.0], "weight": [[2.0, -5.0]]}
    p = {k: torch.tensor(v, dtype=torch.float64, requires_grad=True) for k, v in p.items()}
    inputs = evsim.Spikes([0.0, 0.0], [0, 1], size=2, duration=END).torch()
    inputs = inputs.replace(p["t_in"], inputs.units, inputs.offsets)
    tau_mem, tau_syn = torch.tensor(20.0), torch.tensor(5.0)
    job = Job("CubaLI", inputs, {"output": "max"})
    value = observe(job, weight=p["weight"], tau_mem=tau_mem, tau_syn=tau_syn)
    value.sum().backward()
    found = {"value": value.detach()} | {name: tensor.grad for name, tensor in p.items()}
    for group, expected in KINK.items():
        yield "max", group, relative(found[group].reshape(-1), expected), 1e-14
