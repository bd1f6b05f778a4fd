"""The neuron models in plain Python: one unit each, for `evsim.reference`.

A unit is told what arrives and when it spikes, and says when it is going to cross its
threshold. All of it is solved in closed form or bracketed to the last bit; there is no
step size. With u = V - v_leak; every unit starts at u = 0 and I = 0.

* `LIF`: tau_mem u' = -u; an arrival adds w to u, and the unit spikes if that leaves V at
  or above the threshold. Then V becomes ``reset``, or (soft) falls by threshold - reset;
  if it is still above, it waits for the next arrival. While refractory, V is held and
  arrivals are lost; one at the very moment of release counts.
* `CubaLIF`: tau_mem u' = -u + I, tau_syn I' = -I; an arrival adds w to I. The unit spikes
  when V rises to the threshold; V becomes ``reset`` (soft or hard, since V meets the
  threshold exactly) and is held there while refractory; I goes on.
* `SRM`: u = sum of w eps(t - t_arrival) + sum of nu(t - t_spike), where
  eps(s) = s/tau_syn e^(1 - s/tau_syn) and nu(s) = -2 threshold s/tau_r e^(1 - s/tau_r).
  The unit spikes when u rises to the threshold from below; where u still rises after a
  spike, it must go below first.
* `LI` and `CubaLI` are `LIF` and `CubaLIF` that never reach a threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from math import e, exp, expm1, fsum, inf, isfinite, log1p
from typing import NamedTuple

from evsim.network import Population


class Unit:
    """One neuron. It knows its state at its last event; the rest is closed form."""

    def __init__(self, p: Mapping[str, float], soft: bool) -> None:
        self.v_leak, self.soft = p.get("v_leak", 0.0), soft
        self.threshold = p.get("threshold", inf) - self.v_leak
        self.reset = p.get("reset", 0.0) - self.v_leak
        self.refractory = p.get("refractory", 0.0)
        self.tau_mem, self.tau_syn = p.get("tau_mem", inf), p.get("tau_syn", inf)
        self.tau_r = p.get("tau_r", inf)
        self.time = self.u = 0.0  # the last event, and u just after it
        self.free = 0.0  # refractory until then
        self.highest = 0.0  # for readouts: the largest u up to the last event
        self.arrivals: list[tuple[float, float]] = []

    def voltage(self, t: float) -> float:
        """Return V at ``t``, not before the last event."""
        raise NotImplementedError

    def arrive(self, t: float, weight: float) -> None:
        """Receive the sum of all weights that arrive at ``t``."""
        raise NotImplementedError

    def is_finite(self) -> bool:
        """Return whether the state is made of finite numbers."""
        return isfinite(self.u)

    def next_crossing(self, end: float) -> float:
        """Return when the threshold is reached if nothing arrives before; else inf."""
        raise NotImplementedError

    def spike(self, t: float) -> None:
        """Jump to the state after a spike."""
        raise NotImplementedError

    def look_back(self, t: float) -> None:
        """Raise ``highest`` to the largest u between the last event and ``t``."""
        raise NotImplementedError

    def response(self, s: float, rate: float) -> float:
        """Return the integral of e^(-rate t) u over [0, s] after one arrival of weight 1."""
        raise NotImplementedError


class _LIF(Unit):
    """Arrivals step the voltage; LI if there is no threshold."""

    due = False  # has an arrival lifted it to the threshold?

    def voltage(self, t: float) -> float:
        return self.v_leak + self.decayed(t)

    def decayed(self, t: float) -> float:
        return self.u * exp(-max(0.0, t - max(self.time, self.free)) / self.tau_mem)

    def arrive(self, t: float, weight: float) -> None:
        if t >= self.free:
            self.u, self.time = self.decayed(t) + weight, t
            self.due = self.u >= self.threshold
            self.look_back(t)
            self.arrivals.append((t, weight))

    def next_crossing(self, end: float) -> float:
        return self.time if self.due else inf

    def spike(self, t: float) -> None:
        self.u = self.u - (self.threshold - self.reset) if self.soft else self.reset
        self.time, self.free, self.due = t, t + self.refractory, False

    def look_back(self, t: float) -> None:
        self.highest = max(self.highest, self.u)  # between events u only falls towards 0

    def response(self, s: float, rate: float) -> float:
        return _area(1 / self.tau_mem + rate, s)


class _CubaLIF(Unit):
    """Arrivals step a current that decays; CubaLI if there is no threshold."""

    i = 0.0  # the synaptic current

    def state(self, t: float) -> tuple[float, float]:
        """Return (u, I) at ``t``."""
        start = max(self.time, min(self.free, t))  # until then u is held
        i = self.i * exp(-(start - self.time) / self.tau_syn)
        return self.rise(self.u, i, t - start), i * exp(-(t - start) / self.tau_syn)

    def is_finite(self) -> bool:
        return isfinite(self.u) and isfinite(self.i)

    def rise(self, u: float, i: float, s: float) -> float:
        return _cuba(u, i, s, self.tau_mem, self.tau_syn)

    def voltage(self, t: float) -> float:
        return self.v_leak + self.state(t)[0]

    def arrive(self, t: float, weight: float) -> None:
        self.look_back(t)
        self.u, self.i = self.state(t)
        self.i, self.time = self.i + weight, t
        self.arrivals.append((t, weight))

    def next_crossing(self, end: float) -> float:
        start = max(self.time, self.free)
        u, i = self.state(start)
        if i <= self.threshold or start >= end:  # u rises only while I > u, and I decays
            return inf
        top = max(0.0, min(_peak(u, i, self.tau_mem, self.tau_syn), end - start))
        if self.rise(u, i, top) < self.threshold:
            return inf
        return start + _sign_change(lambda s: self.rise(u, i, s) - self.threshold, 0.0, top)

    def spike(self, t: float) -> None:
        self.u, self.i = self.reset, self.state(t)[1]
        self.time, self.free = t, t + self.refractory

    def look_back(self, t: float) -> None:
        if self.i > max(self.u, 0.0):  # else u falls, or stays below 0
            s = min(_peak(self.u, self.i, self.tau_mem, self.tau_syn), t - self.time)
            self.highest = max(self.highest, self.rise(self.u, self.i, s))

    def response(self, s: float, rate: float) -> float:
        # By parts, the integral of e^(-rate t) (tau_mem u' + u - I) = 0.
        charge = _area(1 / self.tau_syn + rate, s)
        left = self.tau_mem * exp(-rate * s) * self.rise(0.0, 1.0, s)
        return (charge - left) / (1 + rate * self.tau_mem)


class _Term(NamedTuple):
    """The function (p + q s) e^(-rate s)."""

    p: float
    q: float
    rate: float

    def at(self, s: float) -> float:
        return (self.p + self.q * s) * exp(-self.rate * s)

    def later(self, s: float) -> _Term:
        """Return the same function with its origin moved to ``s``."""
        fall = exp(-self.rate * s)
        return _Term((self.p + self.q * s) * fall, self.q * fall, self.rate)

    def slope(self) -> _Term:
        """Return the derivative."""
        return _Term(self.q - self.rate * self.p, -self.rate * self.q, self.rate)


class _SRM(Unit):
    """Alpha functions for arrivals and for own spikes; u itself never jumps."""

    def __init__(self, p: Mapping[str, float], soft: bool) -> None:
        super().__init__(p, soft)
        self.synapse = _Term(0.0, 0.0, 1 / self.tau_syn)
        self.recovery = _Term(0.0, 0.0, 1 / self.tau_r)
        self.below = True  # has u been below the threshold, or about to be, since a spike?

    def terms(self) -> list[_Term]:
        """Return u - threshold."""
        return [self.synapse, self.recovery, _Term(-self.threshold, 0.0, 0.0)]

    def voltage(self, t: float) -> float:
        return self.synapse.at(t - self.time) + self.recovery.at(t - self.time)

    def is_finite(self) -> bool:
        return all(isfinite(x) for x in (*self.synapse, *self.recovery))

    def move(self, t: float) -> None:
        """Move the origin of the state to ``t``."""
        s = t - self.time
        if s > 0:
            # A unit that has just fired is at the threshold, up to rounding: has it fallen?
            fallen = self.voltage(t) < min(self.threshold, self.voltage(self.time))
            self.below = self.below or fallen
            self.synapse, self.recovery = self.synapse.later(s), self.recovery.later(s)
            self.time = t

    def arrive(self, t: float, weight: float) -> None:
        self.move(t)
        p, q, rate = self.synapse
        self.synapse = _Term(p, q + weight * e * rate, rate)

    def next_crossing(self, end: float) -> float:
        terms, span, below = self.terms(), end - self.time, self.below
        turns = _sign_changes([term.slope() for term in terms], span)
        values = [(s, _total(terms, s)) for s in (0.0, *turns, span)]
        for (left, before), (right, after) in pairwise(values):  # u only rises, or only falls
            if below and after >= 0 and after > before:
                return self.time + _sign_change(lambda s: _total(terms, s), left, right)
            below = below or after < 0
        return inf

    def spike(self, t: float) -> None:
        self.move(t)
        p, q, rate = self.recovery
        self.recovery = _Term(p, q - 2 * self.threshold * e * rate, rate)
        self.below = self.synapse.slope().p + self.recovery.slope().p < 0


_UNITS = {"LIF": _LIF, "LI": _LIF, "CubaLIF": _CubaLIF, "CubaLI": _CubaLIF, "SRM": _SRM}


def make_unit(population: Population, j: int) -> Unit:
    """Return unit ``j`` of a population, at rest."""
    p = {name: float(values[j]) for name, values in population.parameters.items()}
    return _UNITS[population.model](p, population.reset_mode == "soft")


def readout_value(population: Population, unit: Unit, end: float) -> float:
    """Return the value taken from a readout unit."""
    if population.output == "last":
        return unit.voltage(end)
    if population.output == "max":
        unit.look_back(end)
        return unit.v_leak + unit.highest
    # V is linear in what arrives, so every arrival has its own share of the integral.
    rate = 0.0 if population.tau_output is None else 1 / population.tau_output
    shares = (w * exp(-rate * t) * unit.response(end - t, rate) for t, w in unit.arrivals)
    return unit.v_leak * _area(rate, end) + fsum(shares)


# --- closed forms ---------------------------------------------------------------------


def _cuba(u: float, i: float, s: float, tau_mem: float, tau_syn: float) -> float:
    """Return u after ``s`` seconds of tau_mem u' = -u + I, tau_syn I' = -I.

    With a = s/tau_mem, b = s/tau_syn, z = |a - b|: u e^-a + I a e^-min(a, b) (1 - e^-z)/z.
    """
    a, b = s / tau_mem, s / tau_syn
    z = abs(a - b)
    ramp = -expm1(-z) / z if z > 0 else 1.0
    return u * exp(-a) + i * a * exp(-min(a, b)) * ramp


def _peak(u: float, i: float, tau_mem: float, tau_syn: float) -> float:
    """Return how long u rises, for i > 0: until u = I. It may be for ever."""
    gap, rest = 1 / tau_syn - 1 / tau_mem, tau_syn * (1 - u / i)
    if gap * rest >= 1:
        return inf
    return -log1p(-gap * rest) / gap if gap != 0 else rest


def _area(rate: float, s: float) -> float:
    """Return the integral of e^(-rate t) over [0, s]."""
    return -expm1(-rate * s) / rate if rate > 0 else s


def _total(terms: list[_Term], s: float) -> float:
    return sum(term.at(s) for term in terms)


def _sign_changes(terms: list[_Term], end: float) -> list[float]:
    """Return where the sum of ``terms`` changes sign on [0, end].

    Times e^(rate s) of the slowest term, which changes no sign, that term is a polynomial,
    and the derivative has one that is a degree lower. Between two roots of a function lies
    one of its derivative (Rolle): that one's roots cut [0, end] into pieces with one each.
    """
    terms = [term for term in terms if term.p or term.q]
    if not terms:
        return []
    slowest = min(term.rate for term in terms)
    terms = [term._replace(rate=term.rate - slowest) for term in terms]
    turns = _sign_changes([term.slope() for term in terms], end)
    values = [(s, _total(terms, s)) for s in (0.0, *turns, end)]
    return [
        _sign_change(lambda s: _total(terms, s), left, right)
        for (left, before), (right, after) in pairwise(values)
        if (before < 0) != (after < 0)
    ]


def _sign_change(f: Callable[[float], float], low: float, high: float) -> float:
    """Halve the bracket until no number is left inside it; return its upper end."""
    rising = f(high) >= 0
    while low < (middle := (low + high) / 2) < high:
        if (f(middle) >= 0) == rising:
            high = middle
        else:
            low = middle
    return high
