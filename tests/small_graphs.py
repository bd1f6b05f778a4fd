"""Small NIR graphs; skips the tests that import it where the nir package is missing."""

import numpy as np
import pytest

nir = pytest.importorskip("nir")


def array(*values):
    return np.array(values, float)


def chain(*nodes, n=2):
    """Return Input -> nodes -> Output, of ``n`` units at both ends."""
    last = nodes[-1].output_type["output"]
    named = {"in": nir.Input(np.array([n]))} | {f"n{i}": node for i, node in enumerate(nodes)}
    named["out"] = nir.Output(np.array(last))
    names = list(named)
    return nir.NIRGraph(named, list(zip(names[:-1], names[1:], strict=True)), type_check=False)


def lif(n=2, **changes):
    values = {"tau": 0.02, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0} | changes
    return nir.LIF(**{k: np.broadcast_to(v, n).astype(float) for k, v in values.items()})


def cuba_lif(n=2, **changes):
    values = {"tau_syn": 0.005, "tau_mem": 0.02, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0}
    values |= {"w_in": 1.0} | changes
    return nir.CubaLIF(**{k: np.broadcast_to(v, n).astype(float) for k, v in values.items()})


def conv1d(weight, positions, **changes):
    values = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | changes
    bias = values.pop("bias", np.zeros(len(weight)))
    return nir.Conv1d(input_shape=positions, weight=weight, bias=bias, **values)


W = nir.Linear(np.eye(2))
