"""Which settings of ``evsim train`` go together: what each method knows, and what it refuses."""

from __future__ import annotations

from typing import Any

from evsim.bits import check_weight_bits

Settings = Any  # `evsim.train_options.TrainSettings`, which refuses by what stands here

# The settings of which network a method takes if no other is named.
PUBLISHED = {
    "slayer": "axonal-shd", "delrec": "delrec-shd", "conv-delrec": "conv-delrec-shd",
    "dcls": "dcls-shd",
}  # fmt: skip
ON_GRID = (*PUBLISHED, "three-factor")
ALONE: dict[str, dict[str, tuple[str, ...]]] = {  # what a method has none else of; the usual first
    "slayer": {"delay": ("axonal",), "recurrent": ("none",), "fit": ("layer",)},
    "delrec": {"delay": ("axonal", "none"), "recurrent": ("dense", "none"), "fit": ("unit",)},
    "conv-delrec": {"delay": ("axonal", "none"), "recurrent": ("conv", "none"), "fit": ("unit",)},
    "dcls": {"delay": ("synaptic",), "recurrent": ("none",), "fit": ("unit",)},
    "three-factor": {"delay": ("synaptic", "axonal", "none")},
}
_SPARSE = ("exact", "three-factor")
TIMES = ("tau_mem", "tau_syn", "learn_tau")
_TIMES_OF = {"exact": TIMES, "three-factor": ("tau_mem",), "slayer": ("tau_syn",)}  # to choose


def method_of(preset: str) -> str:
    """Return which method a published network is trained with."""
    kinds = {"axonal": "slayer", "delrec": "delrec", "conv": "conv-delrec", "dcls": "dcls"}
    return kinds[preset.partition("-")[0]]


def refuse_misfits(s: Settings) -> None:
    """Refuse bits that nothing has, and what does not go with the method.

    Raises
    ------
    ValueError
        Names the setting, its value and what to do.
    """
    if s.weight_bits is not None:
        check_weight_bits(s.weight_bits)
    elif s.levels != "learnt" or s.full_readout:
        raise ValueError("levels and full_readout are about weight_bits; give these, too")
    if s.delay_bits is not None and s.delay == "none":
        raise ValueError(f"delay_bits = {s.delay_bits}, but there are no delays: delay = none")
    if s.delay == "none" and not (s.learn_delays and s.first_delay is None):
        name = "first_delay" if s.learn_delays else "learn_delays"
        raise ValueError(f"{name} is about delays, and there are none: delay = none")
    _refuse_of_rules(s)
    _refuse_times(s)
    if s.by_events:
        _refuse_grid(s)
    _refuse_others(s)


def _refuse_grid(s: Settings) -> None:
    """Refuse what only a grid has."""
    if s.dt is not None:
        other = f"give method = {', '.join(ON_GRID)}"
        raise ValueError(
            f"dt = {s.dt:g}, but exact gradients need no grid: leave it out, or "
            f"{'leave exact out' if s.exact else other}"
        )
    if s.device != "cpu":
        raise ValueError(
            f"device = {s.device}, but exact gradients are found on the cpu: leave it out"
        )
    if s.width is not None:
        raise ValueError(f"width = {s.width:g}, but exact traces have none: leave it out")


def _refuse_times(s: Settings) -> None:
    """Refuse time constants that networks of the method have not, or not to choose."""
    known = TIMES[:2] if s.exact else _TIMES_OF.get(s.method, ())
    for name in TIMES:
        value = getattr(s, name)
        if value not in (None, False) and name not in known:
            others = " or ".join(one for one, names in _TIMES_OF.items() if name in names)
            raise ValueError(
                f"{name} = {value}, but {s.method} has none to choose: leave it out, or give "
                f"method = {others}"
            )


def _refuse_of_rules(s: Settings) -> None:
    """Refuse what only three-factor rules have, and feedback that reaches one layer of several."""
    if s.method != "three-factor":
        if s.exact:
            raise ValueError(
                f"exact = True is about traces of method = three-factor, not {s.method}: leave it "
                "out, or give that"
            )
        given = {"feedback": s.feedback, "every": s.every, "width": s.width}
        for name, value in given.items():
            if value is not None:
                raise ValueError(
                    f"{name} = {value} is about traces, and {s.method} has none: leave it out, or "
                    "give method = three-factor"
                )
    if s.feedback == "readout" and len(s.layers) > 1:
        raise ValueError(
            f"feedback = readout, but its weights reach the last of {len(s.layers)} hidden layers "
            "only: give feedback = random, or one layer"
        )
    if s.sparse and s.method not in _SPARSE:
        raise ValueError(
            f"sparse = {s.sparse:g}, but networks of {s.method} have all synapses: leave it out, "
            f"or give method = {' or '.join(_SPARSE)}"
        )


def _refuse_others(s: Settings) -> None:
    """Refuse what the method, or the network it was published with, has otherwise."""
    if s.preset is not None and s.method != method_of(s.preset):
        raise ValueError(
            f"preset = {s.preset} is for method = {method_of(s.preset)}, not {s.method}"
        )
    if s.readout is not None and not s.scheduled:
        raise ValueError(f"readout = {s.readout}, but that of {s.method} is another: leave it out")
    if s.method == "slayer" and s.full_readout:
        raise ValueError("full_readout = True, but networks of slayer have no readout")
    for name, known in ALONE.get(s.method, {}).items():
        if getattr(s, name) not in known:
            raise ValueError(
                f"{name} = {getattr(s, name)}, but {s.method} knows {name} = "
                f"{' or '.join(known)} alone: leave it out, or give method = exact"
            )
    if s.scheduled and s.recurrent == "none" and s.delay == "axonal":
        raise ValueError(
            f"delay = {s.delay}, but recurrent = none leaves {s.method} no loop that "
            "could be late: give delay = none, too"
        )
    if s.scheduled and s.few_bits:
        name = "delay_bits" if s.weight_bits is None else "weight_bits"
        raise ValueError(
            f"{name} = {getattr(s, name):g}, but {s.method} has no few bits: leave it "
            "out, or give method = exact or slayer"
        )
