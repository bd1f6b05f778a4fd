"""Closed forms of the adjoint between events, the reverse of `evsim._flows`.

The costates of a unit are mu_v = dL/dV and mu_i = dL/dI. Backwards in time over s seconds
without events, with P(s) the response of the voltage to a unit step of the current,

    mu_v <- e^(-s/tau_mem) mu_v,        mu_i <- e^(-s/tau_syn) mu_i + P(s) mu_v.

What a change of a time constant does to the loss is the integral of mu.(dA/dtau) x. The
state x is a sum of responses to the arrivals, so the integral is a sum over arrivals of
w times a second costate, nu, which obeys the same equations with mu as its source. Neither
needs the state to be known again. nu_v and nu_i belong to tau_mem, nu_s to tau_syn:

    -nu_v' = -nu_v/tau_mem + mu_v/tau_mem^2
    -nu_i' = nu_v/tau_mem - nu_i/tau_syn - mu_v/tau_mem^2
    -nu_s' = -nu_s/tau_syn + mu_i/tau_syn^2
"""

from math import exp

from evsim._compile import inlined
from evsim._flows import responses

# Rows of costates.
MU_V, MU_I, NU_V, NU_I, NU_S = range(5)
# Terms of the solution over s, see `spread`.
KEEP_V, KEEP_I, V_TO_I, V_TO_NU_V, V_TO_NU_I, V_TO_NU_S, I_TO_NU_S = range(7)


@inlined
def ramped(s, tau_mem, tau_syn):
    """Return the integral of u e^(-u/tau_mem) e^(-(s-u)/tau_syn) over u from 0 to s.

    It is s^2 e^(-max(a, b)) times the integral of v e^(z v) or (1 - v) e^(z v) over v from 0
    to 1, with a = s/tau_mem, b = s/tau_syn, z = |a - b|; both as power series in z, of
    positive terms only.
    """
    a, b = s / tau_mem, s / tau_syn
    z = abs(a - b)
    total, term = 0.0, 1.0
    if b >= a:
        n = 2.0
        while term > 1e-17 * total:
            total += term / n
            term *= z / (n - 1.0)
            n += 1.0
    else:
        n = 1.0
        while term > 1e-17 * total:
            total += term / (n * (n + 1.0))
            term *= z / n
            n += 1.0
    return s * s * exp(-max(a, b)) * total


@inlined
def spread(s, tau_mem, tau_syn, terms):
    """Write what becomes of the costates over ``s`` seconds, backwards in time."""
    keep_v, response, keep_i = responses(s, tau_mem, tau_syn)
    once = ramped(s, tau_mem, tau_syn)
    terms[KEEP_V] = keep_v
    terms[KEEP_I] = keep_i
    terms[V_TO_I] = response
    terms[V_TO_NU_V] = s / (tau_mem * tau_mem) * keep_v
    terms[V_TO_NU_I] = (once / (tau_mem * tau_mem) - response) / tau_mem
    terms[V_TO_NU_S] = (s * tau_mem * response - once) / (tau_syn * tau_syn * tau_mem)
    terms[I_TO_NU_S] = s / (tau_syn * tau_syn) * keep_i


@inlined
def carry(mu, terms):
    """Carry the costates ``mu`` [row] of one unit backwards by ``terms``."""
    if len(mu) > NU_S:
        mu[NU_S] = (
            terms[KEEP_I] * mu[NU_S] + terms[I_TO_NU_S] * mu[MU_I] + terms[V_TO_NU_S] * mu[MU_V]
        )
        mu[NU_I] = terms[KEEP_I] * mu[NU_I] + terms[V_TO_I] * mu[NU_V] + terms[V_TO_NU_I] * mu[MU_V]
        mu[NU_V] = terms[KEEP_V] * mu[NU_V] + terms[V_TO_NU_V] * mu[MU_V]
    mu[MU_I] = terms[KEEP_I] * mu[MU_I] + terms[V_TO_I] * mu[MU_V]
    mu[MU_V] = terms[KEEP_V] * mu[MU_V]


@inlined
def recall(kick_v, kick_i, kick_nu, terms, change):
    """Write the change of costates at a later time that gives kicks of mu_v, mu_i, nu_v now."""
    change[MU_V] = kick_v / terms[KEEP_V]
    change[MU_I] = (kick_i - terms[V_TO_I] * change[MU_V]) / terms[KEEP_I]
    if len(change) > NU_S:
        change[NU_V] = (kick_nu - terms[V_TO_NU_V] * change[MU_V]) / terms[KEEP_V]
        change[NU_I] = (
            -(terms[V_TO_I] * change[NU_V] + terms[V_TO_NU_I] * change[MU_V]) / terms[KEEP_I]
        )
        change[NU_S] = (
            -(terms[I_TO_NU_S] * change[MU_I] + terms[V_TO_NU_S] * change[MU_V]) / terms[KEEP_I]
        )
