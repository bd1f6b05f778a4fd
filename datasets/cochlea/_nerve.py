"""Kernels from the membrane to the spikes: hair cells, nerve fibres, bushy cells.

Each advances the states of ``LANES`` units [.., lane] through the rows of a chunk
[step, lane]. The inner loops over lanes have no branches, so that they become vector
instructions; what is rare (a spike) is looked for once a row has one.
"""

import numpy as np

from evsim._compile import inlined, kernel

from ._filterbank import LANES, resample

_STRIDE = np.uint64(0x9E3779B97F4A7C15)  # of SplitMix64: not every odd number will do
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SERIES_UP_TO = 0.1  # firing probability: the series is good to 1e-10
_CERTAIN = 1e3  # hazard of a fibre that is sure to fire: no budget is as large


def _layers():
    """Return the widths of the ziggurat's layers, and the density where they end."""
    start = 7.69711747013104972  # of the tail, if there are 256 layers
    area = (start + 1.0) * np.exp(-start)
    width = [area * np.exp(start), start]  # the lowest holds the tail as well
    while len(width) < 256:
        width.append(-np.log(np.exp(-width[-1]) + area / width[-1]))
    width = np.array([*width, 0.0])
    return width, np.exp(-width)


_LAYER_WIDTH, _LAYER_HEIGHT = _layers()


@kernel
def hair_cells(velocity, constants, hair, probability):
    """Fill the firing probabilities of a fibre; states: free, cleft, store.

    Euler steps of Meddis' transmitter pools; the rates are per step.
    """
    a, b, g, y, l, r, x, h, pool = (  # noqa: E741, the names of the papers
        constants[0],
        constants[1],
        constants[2],
        constants[3],
        constants[4],
        constants[5],
        constants[6],
        constants[7],
        constants[8],
    )
    free, cleft, store = hair[0], hair[1], hair[2]
    for i in range(len(velocity)):
        for j in range(LANES):
            drive = max(velocity[i, j] + a, 0.0)
            eject = g * drive / (drive + b) * free[j]
            replenish = max(y * (pool - free[j]), 0.0)
            reuptake = r * cleft[j]
            reprocess = x * store[j]
            free[j] = max(free[j] + (replenish - eject + reprocess), 0.0)
            store[j] = max(store[j] + (reuptake - reprocess), 0.0)
            left = max(cleft[j] + (eject - (l * cleft[j] + reuptake)), 0.0)
            cleft[j] = left
            probability[i, j] = h * left


@kernel
def hazards(probability, hazard):
    """Fill -log(1 - P): the hazard of a fibre in a step; without end if P is 1 or more."""
    for i in range(len(probability)):
        large = 0
        for j in range(LANES):
            p = probability[i, j]
            large += p > _SERIES_UP_TO
            tail = 1 / 5 + p * (1 / 6 + p * (1 / 7 + p * (1 / 8 + p * (1 / 9))))
            hazard[i, j] = p * (1 + p * (1 / 2 + p * (1 / 3 + p * (1 / 4 + p * tail))))
        if large > 0:
            for j in range(LANES):
                p = probability[i, j]
                if p > _SERIES_UP_TO:
                    hazard[i, j] = -np.log1p(-p) if p < 1.0 else _CERTAIN


@inlined
def random_bits(streams, j):
    """Return 64 random bits (SplitMix64, a stream for every unit)."""
    streams[j] += _STRIDE
    z = streams[j]
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


@inlined
def exponential(streams, j):
    """Draw from the exponential distribution.

    By the ziggurat of Marsaglia and Tsang, J. Stat. Softw. 5 (2000) 8: 256 layers of
    equal area cover the density, and 99 of 100 points need no exponential function.
    """
    beyond = 0.0
    while True:
        bits = random_bits(streams, j)
        layer = np.int64(bits & np.uint64(255))
        x = ((bits >> np.uint64(11)) + 0.5) * 2.0**-53 * _LAYER_WIDTH[layer]
        if x < _LAYER_WIDTH[layer + 1]:
            return beyond + x
        if layer == 0:  # the tail is an exponential again
            beyond += _LAYER_WIDTH[1]
            continue
        low, high = _LAYER_HEIGHT[layer], _LAYER_HEIGHT[layer + 1]
        share = (random_bits(streams, j) >> np.uint64(11)) * 2.0**-53
        if low + share * (high - low) < np.exp(-x):
            return beyond + x


@kernel
def first_budgets(streams, budget):
    """Draw how much hazard every unit's fibres meet together before the first spike."""
    for j in range(LANES):
        budget[j] = exponential(streams, j)


@kernel
def fibres(hazard, first_step, streams, nerve, kept, firing, counts):
    """Fill the number of spikes of all fibres; states: ready fibres, hazard to the next spike.

    Equal in distribution to a draw per fibre and step: the fibres that are ready are
    asked one after the other, each uses up its hazard, and one that uses up the last of
    the budget has fired. ``kept`` [slot, lane] are the spikes of the last refractory
    time, whose fibres are not ready; ``firing`` [lane + 1] is scratch.
    """
    ready, budget = nerve[0], nerve[1]
    for i in range(len(hazard)):
        slot = (first_step + i) % len(kept)
        for j in range(LANES):
            now = ready[j] + kept[slot, j]
            ready[j] = now
            kept[slot, j] = 0.0
            counts[i, j] = 0.0
            budget[j] -= now * hazard[i, j]
        n = 0
        for j in range(LANES):  # a list without a branch, which would be guessed wrong
            firing[n] = j
            n += budget[j] < 0.0
        for at in range(n):
            j = firing[at]
            _fire(i, j, hazard[i, j], streams, ready, budget, counts)
            kept[slot, j] = counts[i, j]


@inlined
def _fire(i, j, hazard, streams, ready, budget, counts):
    n, still, left = 0.0, ready[j], budget[j]
    while left < 0.0:
        n += 1.0
        still = min(still - 1.0, np.floor(-left / hazard))  # fibres not asked yet
        left = exponential(streams, j) - still * hazard
    budget[j] = left
    ready[j] -= n
    counts[i, j] = n


@kernel
def bushy_cells(counts, first_step, constants, bushy, n_spikes, spikes):
    """Append the steps of the spikes; states: voltage, current, steps of rest left.

    A voltage that has reached the threshold is noticed a step later, as a spike of the
    step before.
    """
    decay_mem, decay_syn, gain, refractory = constants[0], constants[1], constants[2], constants[3]
    voltage, current, rest = bushy[0], bushy[1], bushy[2]
    for i in range(len(counts)):
        fired = 0
        for j in range(LANES):
            before = voltage[j]
            over = before >= 1.0
            drawn = current[j] * decay_syn + counts[i, j]
            current[j] = drawn
            waits = rest[j] - 1.0
            waits = refractory if over else waits
            rest[j] = waits
            decayed = before * decay_mem
            decayed = 0.0 if over else decayed
            push = gain * drawn
            push = push if waits <= 0.0 else 0.0
            voltage[j] = min(decayed + push, 1.0)
            fired += over
        if fired > 0:
            for j in range(LANES):
                if rest[j] == refractory:
                    spikes[j, n_spikes[j]] = first_step + i - 1
                    n_spikes[j] += 1


@kernel
def from_wave_to_spikes(
    wave,
    ratio,
    window,
    cubic,
    weights,
    edge,
    hair_constants,
    hair,
    streams,
    nerve,
    kept,
    firing,
    bushy_constants,
    bushy,
    chunks,
    n_steps,
    n_spikes,
    spikes,
):
    """Run the stages one after the other on chunk after chunk, which stay in the cache."""
    size = chunks.shape[1]
    for step in range(0, n_steps, size):
        n = min(size, n_steps - step)
        velocity, probability = chunks[0, :n], chunks[1, :n]
        resample(wave, ratio, step, window, cubic, weights, edge, velocity)
        hair_cells(velocity, hair_constants, hair, probability)
        hazard, counts = chunks[2, :n], chunks[3, :n]
        hazards(probability, hazard)
        fibres(hazard, step, streams, nerve, kept, firing, counts)
        bushy_cells(counts, step, bushy_constants, bushy, n_spikes, spikes)
