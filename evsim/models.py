"""The neuron models: their parameters, units, defaults and legal ranges.

This table is the only place that knows which parameters a model has; networks, files,
`evsim info` and the engines read it. The dynamics stand in `evsim._flows` (compiled)
and `evsim.reference` (plain Python).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Parameter:
    """One per-neuron parameter; ``default`` None means that it must be given."""

    unit: str
    meaning: str
    default: float | str | None = None
    positive: bool = False
    infinite: bool = False  # inf is allowed: no leak
    non_negative: bool = False


_TAU_MEM = Parameter("s", "membrane time constant", positive=True)
_TAU_LIF = Parameter("s", "membrane time constant", positive=True, infinite=True)
_TAU_SYN = Parameter("s", "decay of the synaptic current", positive=True)
_THRESHOLD = Parameter("1", "voltage at which a spike is emitted", 1.0)
_RESET = Parameter("1", "voltage after a spike", 0.0)
_REFRACTORY = Parameter(
    "s", "time during which the voltage is held after a spike", 0.0, non_negative=True
)
_V_LEAK = Parameter("1", "resting voltage", 0.0)


@dataclass(frozen=True)
class Model:
    """A neuron model as the network and file formats see it.

    A parameter whose default is the name of another one takes that one's value.
    """

    name: str
    parameters: dict[str, Parameter]
    spiking: bool
    readout: bool = False


MODELS = {
    model.name: model
    for model in (
        Model("Input", {}, spiking=True),
        Model(
            "CubaLIF",
            {
                "tau_mem": _TAU_MEM,
                "tau_syn": _TAU_SYN,
                "threshold": _THRESHOLD,
                "reset": _RESET,
                "refractory": _REFRACTORY,
                "v_leak": _V_LEAK,
            },
            spiking=True,
        ),
        Model(
            "LIF",
            {
                "tau_mem": _TAU_LIF,
                "threshold": _THRESHOLD,
                "reset": _RESET,
                "refractory": _REFRACTORY,
                "v_leak": _V_LEAK,
            },
            spiking=True,
        ),
        Model(
            "SRM",
            {
                "tau_syn": Parameter("s", "time to peak of the synaptic kernel", positive=True),
                "tau_r": Parameter(
                    "s", "time to peak of the refractory kernel", "tau_syn", positive=True
                ),
                "threshold": _THRESHOLD,
            },
            spiking=True,
        ),
        Model(
            "CubaLI",
            {"tau_mem": _TAU_MEM, "tau_syn": _TAU_SYN, "v_leak": _V_LEAK},
            spiking=False,
            readout=True,
        ),
        Model("LI", {"tau_mem": _TAU_LIF, "v_leak": _V_LEAK}, spiking=False, readout=True),
    )
}

RESET_MODES = ("hard", "soft")
OUTPUTS = ("max", "last", "integral")
