"""From a `Network` to the arrays that the engine runs on.

A group (populations that form a cycle, or a single one) becomes one `Group`: its units
stand one after the other, with their parameters measured from v_leak, and its projections
are rows that a pre unit sends. Weights of dense projections are turned to [pre, post], so
that one arrival reads one stretch of memory; all other synapses are listed by pre unit and
sorted by delay, so that a spike walks its row with a cursor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import e
from typing import Any

import numpy as np
import numpy.typing as npt

from evsim._layout import CONV, CUBA, DENSE, LIF, LISTED, SRM, Group, Inputs
from evsim.arrays import FloatArray, IntArray
from evsim.network import Network, Population
from evsim.projections import Conv, Dense, Projection, Synapses
from evsim.spikes import Spikes

_FLOW = {"CubaLIF": CUBA, "CubaLI": CUBA, "LIF": LIF, "LI": LIF, "SRM": SRM}


@dataclass(frozen=True)
class Plan:
    """One group, where its input comes from, and what bounds its windows."""

    names: list[str]
    start: IntArray  # [P] first unit of each population
    sizes: list[int]
    sources: list[str]
    group: Group
    fan_out: FloatArray  # [sources] mean number of synapses per spike
    min_delay: float  # of the projections inside the group; inf without any
    v_leak: FloatArray  # [N]


def plan_network(net: Network) -> list[Plan]:
    """Return the plans of all groups, in the order in which they are run."""
    projections = list(net.projections.values())
    return [plan_group(net.populations, projections, names) for names in net.groups()]


def lay_inputs(plan: Plan, trains: dict[str, Spikes]) -> Inputs:
    """Lay the spikes that a group listens to end to end, given those of all populations."""
    parts = [trains[name] for name in plan.sources]
    if len(parts) == 1:
        times, units, offsets = parts[0].times, parts[0].units, parts[0].offsets[np.newaxis]
    else:
        n = len(next(iter(trains.values())))
        base = np.cumsum([0] + [len(p.times) for p in parts])
        times = np.concatenate([np.empty(0), *(p.times for p in parts)])
        units = np.concatenate([np.empty(0, np.int64), *(p.units for p in parts)])
        offsets = np.empty((len(parts), n + 1), np.int64)
        for s, part in enumerate(parts):
            offsets[s] = part.offsets + base[s]
    return Inputs(times, units, np.ascontiguousarray(offsets), plan.fan_out)


def plan_group(
    populations: Mapping[str, Population], projections: Sequence[Projection], names: list[str]
) -> Plan:
    """Return the plan of the group of that ``names``; all others may be sources only."""
    pops = [populations[name] for name in names]
    sizes = [p.size for p in pops]
    start = np.cumsum([0] + sizes)
    own, outside, sources = _order(projections, names)
    units = _units(pops)
    uniform = [bool((c == c[0]).all()) for c in np.split(units["unit"][0], start[1:-1])]
    owned = np.searchsorted([names.index(p.pre) for p in own], np.arange(len(names) + 1))
    fed = np.searchsorted([sources.index(p.pre) for p in outside], np.arange(len(sources) + 1))
    group = Group(
        pops=np.array(
            [
                [
                    start[p],
                    start[p + 1],
                    _FLOW[pop.model],
                    pop.reset_mode == "soft",
                    pop.output == "max",
                    uniform[p],
                    owned[p],
                    owned[p + 1],
                ]
                for p, pop in enumerate(pops)
            ]
        ),
        tau_output=np.array([_tau_output(p) for p in pops]),
        source_rows=len(own) + fed,
        **units,
        **_rows(populations, own + outside, dict(zip(names, start, strict=False)), uniform),
    )
    fan_out = [
        sum(_n_synapses(p) for p in outside if p.pre == source) / populations[source].size
        for source in sources
    ]
    delays = [_min_delay(p, populations[p.pre].size) for p in own]
    v_leak = np.concatenate([p.parameters.get("v_leak", np.zeros(p.size)) for p in pops])
    return Plan(
        names, start[:-1], sizes, sources, group, np.array(fan_out), min(delays, default=np.inf),
        v_leak,
    )  # fmt: skip


def _order(
    projections: Sequence[Projection], names: list[str]
) -> tuple[list[Projection], list[Projection], list[str]]:
    """Sort the projections into the group: its own by population, the rest by source."""
    into = [p for p in projections if p.post in names]
    own = sorted((p for p in into if p.pre in names), key=lambda p: names.index(p.pre))
    sources = sorted({p.pre for p in into if p.pre not in names})
    outside = sorted((p for p in into if p.pre in sources), key=lambda p: sources.index(p.pre))
    return own, outside, sources


def _units(pops: list[Population]) -> dict[str, Any]:
    """Lay the units of the populations end to end and sort them into classes."""

    def joined(name: str, missing: float) -> FloatArray:
        return np.concatenate([p.parameters.get(name, np.full(p.size, missing)) for p in pops])

    flow = np.concatenate([np.full(p.size, _FLOW[p.model]) for p in pops])
    tau_mem, tau_syn, tau_r = (joined(name, 1.0) for name in ("tau_mem", "tau_syn", "tau_r"))
    tau_mem = np.where(flow == SRM, tau_syn, tau_mem)
    keys = np.stack([flow, tau_mem, tau_syn, tau_r])
    unit_class = np.zeros(len(flow), np.int64)
    if (keys == keys[:, :1]).all():  # one class; np.unique would take longer than a short run
        keys = keys[:, :1]
    else:
        keys, unit_class = np.unique(keys, axis=1, return_inverse=True)
    v_leak = joined("v_leak", 0.0)
    pop = np.repeat(np.arange(len(pops)), [p.size for p in pops])
    par = [joined("threshold", np.inf) - v_leak, joined("reset", 0.0) - v_leak]
    return {
        "unit": np.stack([unit_class.ravel(), pop]).astype(np.int64),
        "par": np.stack([*par, joined("refractory", 0.0)]),
        "flow": keys[0].astype(np.int64),
        "tau": np.ascontiguousarray(keys[1:]),
    }


def _tau_output(population: Population) -> float:
    if population.output != "integral":
        return 0.0
    return np.inf if population.tau_output is None else population.tau_output


def _min_delay(projection: Projection, pre_size: int) -> float:
    synaptic = projection.synaptic
    late = 0.0 if synaptic is None else float(synaptic.min(initial=np.inf))
    return float(projection.axonal(pre_size).min()) + late


def _n_synapses(projection: Projection) -> int:
    if isinstance(projection, Conv):
        return int(np.prod(projection.output_shape) * projection.kernel.size)
    return int(projection.weights.size)


def _rows(
    populations: Mapping[str, Population],
    projections: list[Projection],
    start: dict[str, int],
    uniform: list[bool],
) -> dict[str, Any]:
    """Lay the projections' weights and delays end to end."""
    lines: list[list[int]] = []
    maps: list[list[int]] = []
    axonal: list[FloatArray] = []
    dense: list[FloatArray] = []
    indptr: list[IntArray] = []
    listed: list[FloatArray] = []
    for projection in projections:
        pre, post = populations[projection.pre], populations[projection.post]
        scale = e if post.model == "SRM" else 1.0  # the peak of its synaptic kernel is 1
        base = start[post.name]
        n_axonal = sum(map(len, axonal))
        axonal.append(projection.axonal(pre.size))
        if isinstance(projection, Dense) and projection.synaptic is None:
            kind, first = DENSE, sum(map(len, dense))
            dense.append((projection.weight.T * scale).ravel())
        else:
            first = sum(map(len, indptr))
            if isinstance(projection, Conv):
                kind, synapses, n_rows = CONV, _taps(projection), projection.kernel.shape[1]
            else:
                kind, synapses, n_rows = LISTED, projection.synapses(pre.size), pre.size
                synapses = synapses._replace(post=synapses.post + base)
            order = _by_delay(projection, synapses, n_rows)
            ends = np.searchsorted(synapses.pre[order], np.arange(n_rows + 1))
            indptr.append(ends + sum(map(len, listed)))
            records = (synapses.delay, synapses.weight * scale, synapses.post)
            listed.append(np.stack(records, axis=1)[order].astype(np.float64))
        alike = uniform[list(start).index(post.name)]
        lines.append([kind, base, post.size, n_axonal, first, len(maps), alike])
        if isinstance(projection, Conv):
            maps.append(_geometry(projection))
    return {
        "rows": np.array(lines, np.int64).reshape(-1, 7),
        "maps": np.array(maps, np.int64).reshape(-1, 12),
        "axonal": _joined(axonal, np.float64),
        "dense": _joined(dense, np.float64),
        "indptr": _joined(indptr, np.int64),
        "synapses": np.concatenate([np.empty((0, 3)), *listed]).ravel(),
    }


def _by_delay(projection: Projection, synapses: Synapses, n_rows: int) -> IntArray:
    """Return the order of the synapses by pre unit, then delay."""
    if not isinstance(projection, Dense):
        return np.lexsort((synapses.delay, synapses.pre))
    late = synapses.delay.reshape(n_rows, -1)  # rows of one length are sorted in a quarter the time
    order = np.argsort(late, axis=1, kind="stable")
    return (order + late.shape[1] * np.arange(n_rows)[:, np.newaxis]).ravel()


def _joined(parts: list[Any], dtype: type) -> npt.NDArray[Any]:
    return np.concatenate(parts).astype(dtype, copy=False) if parts else np.empty(0, dtype)


def _taps(projection: Conv) -> Synapses:
    """List the kernel by in channel; targets count its taps by out channel, row, column."""
    kernel = projection.kernel_plane()
    co, ci, ky, kx = np.indices(kernel.shape).reshape(4, -1)
    tap = (co * kernel.shape[2] + ky) * kernel.shape[3] + kx
    delay = np.zeros(kernel.size) if projection.synaptic is None else projection.delay.ravel()
    return Synapses(ci, tap, kernel.ravel(), delay)


def _geometry(projection: Conv) -> list[int]:
    g = projection.planes()
    names = ("input_shape", "output_shape", "stride", "padding", "dilation")
    taps = projection.kernel_plane().shape[2:]
    return [int(v) for name in names for v in g[name]] + [int(v) for v in taps]
