"""``Levels``: what integers stand for, which are refused, and what a projection remembers."""

import copy
import dataclasses
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from small_files import same_bits

import evsim
from evsim.bits import network_bits
from evsim.levels import Levels


def quantised(**changes):
    """Return a projection of 3 to 2 units whose three arrays have levels."""
    arrays = {
        "weight": Levels([[0, 1, 2], [2, 1, 0]], values=[-0.2, 0.0, 0.3]),
        "delay": Levels([[3, 0, 1], [2, 2, 0]], step=1e-3, offset=1e-4, bits=4),
        "axonal_delay": Levels([0, 5, 1], step=0.01),
    }
    return evsim.Dense(pre="in", post="out", **arrays | changes)


def test_a_level_is_worth_two_roundings_in_this_order():
    levels, step, offset = range(-100, 100), 0.1, -0.3
    array = Levels(levels, step, offset).array()
    same_bits(array, np.array([step * level + offset for level in levels]))  # Python rounds twice
    once = [float(Fraction(step) * level + Fraction(offset)) for level in levels]
    assert (array != once).any()
    assert np.signbit(Levels([0], step=-1.0).array()).all()  # no offset, no addition
    table = np.array([-0.0, 0.1, 5e-324])
    same_bits(Levels([[2], [0]], values=table).array(), table[[[2], [0]]])


def test_a_scalar_and_nothing_are_arrays_too():
    for levels, shape in ((3, ()), ([], (0,)), (np.zeros((0, 2), int), (0, 2))):
        for worth in ({"step": 0.5}, {"values": [0, 0, 0, 1.5]}):
            array = Levels(levels, **worth).array()
            assert isinstance(array, np.ndarray) and array.shape == shape
            assert array.dtype == np.float64 and (array == 1.5).all()


@pytest.mark.parametrize(
    "levels, bits, dtype",
    [
        ([0], 1, "int8"),
        ([-1, 0], 1, "int8"),
        ([-1, 1], 2, "int8"),
        ([0, 3], 2, "int8"),
        (np.array([0, 3], "u8"), 2, "uint8"),
        ([-128, 127], 8, "int8"),
        ([0, 255], 8, "uint8"),
        ([0, 256], 9, "int16"),
        ([-1, 128], 9, "int16"),
        ([-(2**31), 2**31 - 1], 32, "int32"),
        (np.array([0, 2**32 - 1], ">u8"), 32, "uint32"),
    ],
)
def test_the_fewest_bits_and_the_smallest_type_are_found(levels, bits, dtype):
    found = Levels(levels, step=1.0)
    assert (found.bits, found.levels.dtype) == (bits, dtype)
    assert np.array_equal(found.levels, levels) and not found.levels.flags.writeable
    with pytest.raises(ValueError, match=rf"levels\[\d\] = .* with {bits - 1} bits?$|bits = 0"):
        Levels(levels, step=1.0, bits=bits - 1)


@pytest.mark.parametrize(
    "levels, options, told",
    [
        ([0], {}, "need step or values, and not both"),
        ([0], {"step": 1.0, "values": [1.0]}, "need step or values, and not both"),
        ([0.0], {"step": 1.0}, "of type float64, must be integers"),
        ([True], {"step": 1.0}, "of type bool, must be integers"),
        (["a"], {"step": 1.0}, "must be integers"),
        (
            [[0, 1], [4, 1]],
            {"step": 1.0, "bits": 2},
            "levels[1, 0] = 4, must be at most 3, with 2 bits",
        ),
        ([0, -3], {"step": 1.0, "bits": 2}, "levels[1] = -3, must be from -2 to 1 (there"),
        ([-1, 3], {"step": 1.0, "bits": 2}, "levels[1] = 3, must be from -2 to 1"),
        ([0, 1 << 32], {"step": 1.0}, "levels[1] = 4294967296, must be at most 4294967295"),
        ([-1, 1 << 31], {"step": 1.0}, "levels[1] = 2147483648, must be from -"),
        ([0, 3], {"values": [1, 2, 3]}, "levels[1] = 3, must be from 0 to 2 (values)"),
        ([0, -1], {"values": [1, 2, 3]}, "levels[1] = -1, must be from 0 to 2 (values)"),
        ([0], {"values": []}, "values have shape [0]"),
        ([0], {"values": np.zeros(257)}, "values have shape [257]"),
        ([0], {"values": [[1.0]]}, "values have shape [1, 1]"),
        ([0], {"values": [1.0, np.nan]}, "values[1] = nan, must be finite"),
        ([0], {"values": [1.0], "offset": 1.0}, "offset = 1.0 goes with step"),
        ([0], {"step": 0.0}, "step = 0.0, must not be 0"),
        ([0], {"step": math.nan}, "step = nan, must be finite"),
        ([0], {"step": "wide"}, "step = 'wide', must be a number"),
        ([0], {"step": 1.0, "offset": math.inf}, "offset = inf, must be finite"),
        ([0], {"step": 1.0, "bits": 33}, "bits = 33, must be an integer from 1 to 32"),
        ([0], {"step": 1.0, "bits": 2.0}, "bits = 2.0, must be an integer"),
        ([3, 200], {"step": 1e307}, "levels[1] = 200 stands for more than a float64 holds"),
        ([1, -1], {"step": 1e308, "offset": -1e308}, "levels[1] = -1 stands for more"),
    ],
)
def test_what_is_wrong_with_levels_is_told(levels, options, told):
    with pytest.raises(ValueError) as refusal:
        Levels(levels, **options)
    assert told in str(refusal.value)


def test_levels_are_equal_if_bits_and_worth_are():
    one = Levels([0, 1], step=0.1, bits=4)
    assert one == Levels(np.array([0, 1], "u4"), step=0.1, bits=4) and one != [0, 1]
    assert hash(one) == hash(Levels([0, 1], step=0.1, bits=4))
    for other in (
        Levels([0, 2], step=0.1, bits=4),
        Levels([[0, 1]], step=0.1, bits=4),
        Levels([0, 1], step=np.nextafter(0.1, 1), bits=4),
        Levels([0, 1], step=0.1, bits=5),
        Levels([0, 1], step=0.1, offset=1.0, bits=4),
        Levels([0, 1], values=[0.0, 0.1], bits=4),
    ):
        assert one != other
    assert Levels([0], values=[0.0]) != Levels([0], values=[-0.0])


def test_parts_and_other_shapes_keep_bits_and_worth():
    levels = Levels([[0, 1, 2], [2, 2, 2]], values=[-0.2, 0.0, 0.3], bits=5)
    assert levels[[1, 0], [0, 1]] == Levels([2, 1], values=levels.values, bits=5)
    turned = levels.mapped(np.transpose)
    assert turned.levels.flags.c_contiguous and turned.shape == (3, 2) and turned.bits == 5
    same_bits(turned.array(), np.ascontiguousarray(levels.array().T))
    same_bits(np.asarray(levels), levels.array())
    assert (levels.ndim, levels.size, levels.n_levels, levels.n_values) == (2, 6, 3, 3)
    assert levels[1].n_levels == 1 and Levels([0], step=1.0).n_values == 0


def test_a_projection_has_the_numbers_and_remembers_the_levels():
    projection = quantised()
    assert set(projection.levels) == {"weight", "delay", "axonal_delay"}
    for name, levels in projection.levels.items():
        same_bits(getattr(projection, name), levels.array())
    assert projection == quantised(weight=projection.weight)  # they do the same
    assert set(quantised(weight=projection.weight, delay=0.0).levels) == {"axonal_delay"}
    kernel = Levels(np.arange(6).reshape(2, 1, 3), step=0.1)
    conv = evsim.Conv1d(pre="in", post="out", kernel=kernel, input_shape=3, delay=Levels(2, 1e-3))
    assert conv.levels == {"kernel": kernel, "delay": Levels(2, 1e-3)}
    assert conv.delay.shape == () and conv.kernel.shape == (2, 1, 3)
    weight = Levels([1, 0], step=0.1)
    sparse = evsim.Sparse(pre="in", post="out", indptr=[0, 1, 2], indices=[0, 0], weight=weight)
    assert sparse.levels == {"weight": weight}


@pytest.mark.parametrize(
    "keep",
    [
        copy.copy,
        copy.deepcopy,
        lambda p: pickle.loads(pickle.dumps(p)),
        lambda p: dataclasses.replace(p, name="another"),
    ],
)
def test_levels_last_until_their_array_is_replaced(keep):
    kept = keep(quantised())
    assert kept.levels == quantised().levels
    for floats in (kept.weight + 1, kept.weight.copy()):
        changed = keep(dataclasses.replace(kept, weight=floats))
        assert set(changed.levels) == {"delay", "axonal_delay"}
    again = dataclasses.replace(kept, delay=Levels(1, 0.5))
    assert again.levels["delay"] == Levels(1, 0.5) and len(again.levels) == 3
    assert set(dataclasses.replace(kept, axonal_delay=None).levels) == {"weight", "delay"}


def test_an_array_that_is_changed_in_place_has_no_levels_any_more():
    projection = quantised()
    projection.weight[0, 0] = 0.25
    assert set(projection.levels) == {"delay", "axonal_delay"}
    assert "weight" not in dataclasses.replace(projection, name="another").levels


def test_delays_of_levels_are_delays():
    for levels, told in (
        (Levels(0, step=-1e-3), r"delay has step = -0.001, must be > 0 \[s\]"),
        (Levels([[1, 0, 1]] * 2, step=1.0, offset=-1.0), r"delay\[0, 1\] = -1.0"),
        (Levels([[1, 0, 1]] * 2, values=[0.0, -1.0]), r"delay\[0, 0\] = -1.0"),
    ):
        with pytest.raises(ValueError, match=f"projection 'in->out': {told}"):
            quantised(delay=levels)


@pytest.mark.parametrize("engine", ["compiled", "reference"])
def test_both_engines_run_the_numbers(engine):
    populations = [
        evsim.Population("in", "Input", 3),
        evsim.Population("out", "LIF", 2, tau_mem=0.02, threshold=0.25),
    ]
    spikes = evsim.Spikes(np.arange(30) / 300, np.arange(30) % 3, size=3, duration=0.3)
    projection = quantised()
    plain = {name: getattr(projection, name).copy() for name in projection.levels}
    runs = [
        evsim.simulate(evsim.Network(populations, [p]), spikes, engine=engine)
        for p in (projection, quantised(**plain))
    ]
    assert runs[0].spikes["out"] == runs[1].spikes["out"] and len(runs[0].spikes["out"].times)


def test_bits_are_counted_by_number_and_not_by_synapse():
    conv = evsim.Conv1d(
        pre="in",
        post="out",
        kernel=Levels(np.arange(3).reshape(1, 1, 3), step=0.1, bits=4),
        input_shape=6,
        padding=1,
        delay=np.full((1, 1, 3), 1e-3),
        axonal_delay=Levels(np.arange(6), step=1e-3, bits=7),
    )
    dense = evsim.Dense(
        pre="in",
        post="out",
        weight=Levels(np.arange(36).reshape(6, 6) % 3, values=[-1.0, 0.0, 1.0]),
        delay=Levels(4, step=1e-3),  # one for all: fixed
        name="dense",
    )
    sparse = evsim.Sparse(
        pre="out",
        post="out",
        indptr=[0, 1, 2, 2, 2, 2, 2],
        indices=[1, 2],
        weight=[0.1, 0.2],
        delay=Levels([0, 2], values=[1e-3, 2e-3, 3e-3]),  # three delays are not ternary
    )
    net = evsim.Network(
        [evsim.Population("in", "Input", 6), evsim.Population("out", "LIF", 6, tau_mem=0.02)],
        [conv, dense, sparse],
        output="out",
    )
    found = network_bits(net)
    assert (found.weights, found.delays) == (3 + 36 + 2, 3 + 6 + 2)
    assert found.weight_bits == pytest.approx(3 * 4 + 36 * math.log2(3) + 2 * 32, rel=1e-15)
    assert found.delay_bits == 3 * 32 + 6 * 7 + 2 * 2
    saved = 52 * 32 / found.bits
    assert str(found) == (
        f"{found.bits / 1e6:.3g} Mbit of weights and delays, {saved:.1f} times smaller than at "
        "32 bits"
    )


def test_nothing_is_saved_where_nothing_is_quantised():
    populations = [evsim.Population("in", "Input", 3), evsim.Population("o", "LI", 2, tau_mem=1.0)]
    net = evsim.Network(populations, [evsim.Dense(pre="in", post="o", weight=np.ones((2, 3)))])
    assert str(network_bits(net)) == "0.000192 Mbit of weights and delays"


@pytest.mark.parametrize(("bits", "counted"), [(2, math.log2(3)), (8, 8.0)])
def test_three_values_are_ternary_if_their_bits_are_as_few(bits, counted):
    weight = evsim.Levels([[0, 1, 2]], values=[-1.0, 0.0, 1.0], bits=bits)
    sizes = [evsim.Population("in", "Input", 3), evsim.Population("out", "LI", 1, tau_mem=0.02)]
    net = evsim.Network(sizes, [evsim.Dense(pre="in", post="out", weight=weight)])
    assert network_bits(net).weight_bits == pytest.approx(3 * counted)
