"""Do other simulators agree? Stored spike times and voltages, see data/oracle/README.md."""

from pathlib import Path

import numpy as np
import pytest

import evsim

ORACLE = Path(__file__).parent / "data" / "oracle"
ENGINES = ("reference", "compiled")
MS = 1e-3


def listed(case, low, high, name):
    """Synapses of the sources low ... high - 1, which are the population ``name``."""
    mine = (case["pre"] >= low) & (case["pre"] < high)
    order = np.argsort(case["pre"][mine], kind="stable")
    pre, post, weight, delay = (case[key][mine][order] for key in ("pre", "post", "w", "d"))
    return evsim.Sparse(
        pre=name,
        post="neurons",
        indptr=np.searchsorted(pre, np.arange(low, high + 1)),
        indices=post,
        weight=weight,
        delay=delay * MS,
    )


def network(case, projections, scale):
    neurons = evsim.Population(
        "neurons",
        "CubaLIF",
        int(case["n"]),
        tau_mem=case["tau_mem"] * scale,
        tau_syn=case["tau_syn"] * scale,
        threshold=case["theta"],
        refractory=case["t_ref"] * scale,
    )
    inputs = evsim.Population("inputs", "Input", int(case["n_in"]))
    return evsim.Network([inputs, neurons], projections, output="neurons")


def assert_same_spikes(spikes, times, units, tolerance):
    """Pair the spikes of every unit in order."""
    np.testing.assert_array_equal(
        np.bincount(spikes.units, minlength=spikes.size), np.bincount(units, minlength=spikes.size)
    )
    ours = spikes.times[np.lexsort((spikes.times, spikes.units))]
    np.testing.assert_allclose(ours, times[np.lexsort((times, units))], rtol=0, atol=tolerance)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "name",
    ["s01_three_neurons", "s02_excitatory_offgrid", "s03_ei_100_refractory", "s04_ff_slow_synapse"],
)
def test_spikes_and_voltages_of_the_stored_networks(name, engine):
    with np.load(ORACLE / f"{name}.npz", allow_pickle=False) as file:
        case = dict(file)
    n, n_in, end = int(case["n"]), int(case["n_in"]), case["t_end"] * MS
    projections = [listed(case, 0, n_in, "inputs"), listed(case, n_in, n_in + n, "neurons")]
    net = network(case, projections, MS)
    spikes = evsim.Spikes(case["in_t"] * MS, case["in_id"], size=n_in, duration=end)
    at = np.minimum(case["sample_t"] * MS, end)
    result = evsim.simulate(net, spikes, voltage={"neurons": at}, engine=engine)

    assert case["t_safe"] == case["t_end"]  # so that every spike can be compared
    assert_same_spikes(result.spikes["neurons"], case["out_t"] * MS, case["out_id"], 1e-13)
    ours = result.voltage["neurons"][0, np.arange(len(at)), case["sample_id"]]
    np.testing.assert_allclose(ours, case["sample_v"], rtol=0, atol=1e-11)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["grad1_feedforward", "grad2_recurrent"])
def test_spikes_of_the_networks_with_stored_gradients(name, engine):
    with np.load(ORACLE / f"{name}.npz", allow_pickle=False) as file:
        case = dict(file)
    projections = [
        evsim.Dense(pre="inputs", post="neurons", weight=case["w_in"], delay=case["d_in"]),
        evsim.Dense(pre="neurons", post="neurons", weight=case["w_rec"], delay=case["d_rec"]),
    ]
    net = network(case, projections, 1.0)
    spikes = evsim.Spikes(
        case["in_t"], case["in_id"], size=int(case["n_in"]), duration=case["duration"]
    )
    result = evsim.simulate(net, spikes, engine=engine)
    assert_same_spikes(result.spikes["neurons"], case["out_t"], case["out_id"], 1e-13)


# Two recurrent neurons and a readout, in milliseconds; solved in 40-digit arithmetic.
PAIR_SPIKES = """
5.979299465648237 0  6.926266855839739 1  12.62372239259756 0  14.62025057779561 1
14.62967293229802 0  17.74757557934064 0  17.82996051725997 1  21.28417103886538 0
23.51737743841559 1  24.36967606457497 0  28.10694510389668 0  29.44877568238205 1
31.69928100056769 0  35.70900690112973 1  35.95446416107085 0  40.81601680998205 0
44.04108468097852 1  45.37884974014906 0  51.25600838966669 0  53.97130734097232 1
59.71503297766262 0
"""


def pair_network(output, tau_output=None):
    """Axonal and synaptic delays together; time constants and thresholds per neuron."""
    pair = {"tau_mem": [0.020, 0.018], "tau_syn": [0.005, 0.004]}
    axonal = np.array([0.7, 0.4]) * MS
    return evsim.Network(
        [
            evsim.Population("inputs", "Input", 2),
            evsim.Population("pair", "CubaLIF", 2, threshold=[1, 0.9], reset=[0, -0.1], **pair),
            evsim.Population(
                "readout",
                "CubaLI",
                1,
                tau_mem=0.025,
                tau_syn=0.006,
                output=output,
                tau_output=tau_output,
            ),
        ],
        [
            evsim.Dense(
                pre="inputs",
                post="pair",
                weight=[[7.5, 2.0], [3.0, 5.5]],
                delay=np.array([[0.5, 1.75], [2.25, 0.3]]) * MS,
            ),
            evsim.Dense(
                pre="pair",
                post="pair",
                weight=[[1.5, 3.5], [4.0, -2.0]],
                delay=np.array([[3.0, 5.0], [1.2, 2.0]]) * MS,
                axonal_delay=axonal,
            ),
            evsim.Dense(
                pre="pair",
                post="readout",
                weight=[[1.2, -0.8]],
                delay=np.array([[4.0, 0.9]]) * MS,
                axonal_delay=axonal,
            ),
        ],
    )


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("output", "tau_output", "value"),
    [
        ("integral", None, 23.81911493044193 * MS),
        ("integral", 0.060, 11.5239770283998 * MS),
        ("max", None, 0.8508371940594117),
    ],
)
def test_readout_of_a_recurrent_pair(output, tau_output, value, engine):
    inputs = evsim.Spikes(np.array([1.0, 12.0, 4.0]) * MS, [0, 0, 1], size=2, duration=0.060)
    result = evsim.simulate(pair_network(output, tau_output), inputs, engine=engine)
    expected = np.array(PAIR_SPIKES.split(), np.float64).reshape(-1, 2)
    units = expected[:, 1].astype(np.int64)
    assert_same_spikes(result.spikes["pair"], expected[:, 0] * MS, units, 1e-14)
    np.testing.assert_allclose(result.output["readout"], [[value]], rtol=1e-12)
