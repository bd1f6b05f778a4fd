"""The neuron models: their parameters, units, defaults, legal ranges, and names in NIR.

This table is the only place that knows which parameters a model has. Networks, files, NIR,
`evsim info`, the layers' constructors and docstrings, step sizes, the rounding to a grid and
the time that a recording takes to settle all follow from it. The dynamics stand in
`evsim._flows` (compiled), `evsim.reference.units` (plain Python) and
`evsim.gradients.dense.cells` (torch, on a grid).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Parameter:
    """One per-neuron parameter.

    Attributes
    ----------
    unit : str
        ``"s"`` for times, ``"1"`` for voltages.
    meaning : str
        In words, for docstrings.
    default : float, str or None
        None: it must be given. The name of another parameter: it takes that one's value.
    positive, non_negative : bool
        What its values must be.
    infinite : bool
        Whether inf is allowed: no leak.
    nir : str or None
        What the NIR node of the model calls it; None if NIR has no word for it, so that a
        network can be exported only while it has its default.
    """

    unit: str
    meaning: str
    default: float | str | None = None
    positive: bool = False
    infinite: bool = False
    non_negative: bool = False
    nir: str | None = None

    @property
    def follows(self) -> bool:
        """Whether the default is the value of another parameter."""
        return isinstance(self.default, str)

    def usual(self, values: Mapping[str, Any]) -> Any:
        """Return what it is if left out, None if it must be given; ``values`` has the others."""
        return values[str(self.default)] if self.follows else self.default

    @property
    def is_time(self) -> bool:
        """Whether it is counted in seconds, or in steps on a grid."""
        return self.unit == "s"

    @property
    def is_time_constant(self) -> bool:
        """Whether it is a time constant; other times, which may be 0, are waited for."""
        return self.is_time and self.positive


@dataclass(frozen=True)
class Model:
    """A neuron model as the network and file formats see it.

    Attributes
    ----------
    name : str
        Of the model.
    parameters : dict of str to Parameter
        In the order in which layers take them.
    spiking : bool
        Whether its units emit spikes.
    readout : bool
        Whether a value can be taken from its voltage.
    nir : str or None
        Name of the NIR node that it is, if there is one.
    """

    name: str
    parameters: dict[str, Parameter]
    spiking: bool
    readout: bool = False
    nir: str | None = None

    @property
    def time_constants(self) -> list[str]:
        """Names of the parameters that are time constants."""
        return [name for name, rule in self.parameters.items() if rule.is_time_constant]

    @property
    def only_relaxes(self) -> bool:
        """Whether between arrivals the voltage only falls back to rest, so that nothing happens.

        It takes two time constants to rise by itself.
        """
        return len(self.time_constants) < 2

    @property
    def waits(self) -> list[str]:
        """Names of the other times: refractory periods."""
        times = (name for name, rule in self.parameters.items() if rule.is_time)
        return [name for name in times if name not in self.time_constants]


_TAU_MEM = Parameter("s", "membrane time constant", positive=True, nir="tau_mem")
_TAU_LIF = Parameter("s", "membrane time constant", positive=True, infinite=True, nir="tau")
_TAU_SYN = Parameter("s", "decay of the synaptic current", positive=True, nir="tau_syn")
_THRESHOLD = Parameter("1", "voltage at which a spike is emitted", 1.0, nir="v_threshold")
_RESET = Parameter("1", "voltage after a spike", 0.0, nir="v_reset")
_REFRACTORY = Parameter(
    "s", "time during which the voltage is held after a spike", 0.0, non_negative=True
)
_V_LEAK = Parameter("1", "resting voltage", 0.0, nir="v_leak")
_FIRES = {
    "threshold": _THRESHOLD,
    "reset": _RESET,
    "refractory": _REFRACTORY,
    "v_leak": _V_LEAK,
}

MODELS = {
    model.name: model
    for model in (
        Model("Input", {}, spiking=True, nir="Input"),
        Model(
            "CubaLIF",
            {"tau_mem": _TAU_MEM, "tau_syn": _TAU_SYN, **_FIRES},
            spiking=True,
            nir="CubaLIF",
        ),
        Model("LIF", {"tau_mem": _TAU_LIF, **_FIRES}, spiking=True, nir="LIF"),
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
            nir="CubaLI",
        ),
        Model(
            "LI",
            {"tau_mem": _TAU_LIF, "v_leak": _V_LEAK},
            spiking=False,
            readout=True,
            nir="LI",
        ),
    )
}

RESET_MODES = ("hard", "soft")
OUTPUTS = ("max", "last", "integral")
