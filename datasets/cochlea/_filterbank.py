"""Kernels of the filter bank: from tabulated gains to spectra, from spectra to waves.

Arrays are [row, lane], flattened: the lanes are ``LANES`` neighbouring units, which share
every weight. So all inner loops are sums of a few rows, lane by lane.
"""

import numpy as np

from evsim._compile import inlined, kernel

LANES = 32  # units of a block
TAPS = 12  # rows of the table of gains that make a gain
WIDTH = 10  # rows of a wave's grid that make a sample
FINE = 128  # rows of the table of windows in a unit of distance


@inlined
def add_rows(rows, weights, n_rows, n_lanes, out):
    """Set ``out`` to the weighted sum of consecutive rows."""
    for j in range(n_lanes):
        total = weights[0] * rows[j]
        for t in range(1, n_rows):
            total += weights[t] * rows[t * n_lanes + j]
        out[j] = total


@kernel
def bin_weights(n_bins, top, step, first, weights):
    """Fill the rows and Lagrange weights that give the gains at 1 Hz to ``top``.

    The table's rows are ``step`` apart in the logarithm of the frequency.
    """
    for k in range(n_bins):
        at = np.log(1.0 + k * (top - 1.0) / (n_bins - 1)) / step
        first[k] = int(at)
        x = at - first[k] + (TAPS // 2 - 1)
        for t in range(TAPS):
            weight = 1.0
            for other in range(TAPS):
                if other != t:
                    weight *= (x - other) / (t - other)
            weights[k, t] = weight


@kernel
def fold_spectrum(table, first, weights, spectrum, scale, low, high, out):
    """Fill bins [bin, lane] of gain times spectrum, with what lies above half folded back.

    At the times n / N, bins k and N - k can't be told apart: the real part of the wave
    is that of bin k plus the conjugate of bin N - k.
    """
    n_steps = len(spectrum)
    width = 2 * LANES  # real parts, then imaginary parts
    last = len(table) // width - TAPS
    for k in range(len(scale)):
        row = first[k] * width
        add_rows(table[row : row + TAPS * width], weights[k], TAPS, 2 * LANES, low)
        a, b = spectrum[k].real * scale[k], spectrum[k].imag * scale[k]
        c = d = np.float32(0.0)
        m = n_steps - k
        if k < m < n_steps and first[m] <= last:
            row = first[m] * width
            add_rows(table[row : row + TAPS * width], weights[m], TAPS, 2 * LANES, high)
            c, d = spectrum[m].real * scale[k], spectrum[m].imag * scale[k]
        here = out[k * width : (k + 1) * width]
        for j in range(LANES):
            re, im = low[j], low[LANES + j]
            re2, im2 = high[j], high[LANES + j]
            here[2 * j] = re * a - im * b + (re2 * c - im2 * d)
            here[2 * j + 1] = re * b + im * a - (re2 * d + im2 * c)


@kernel
def resample(grid, ratio, first_step, window, cubic, weights, edge, out):
    """Fill samples [step, lane] of a wave from its grid, ``ratio`` grid rows a step."""
    n_rows = len(grid) // LANES
    for i in range(len(out)):
        at = (first_step + i) * ratio
        before = int(at)
        fine = (at - before) * FINE
        q = int(fine)
        x = fine - q
        cubic[0] = x * (x - 1) * (x - 2) * (-1 / 6)
        cubic[1] = (x + 1) * (x - 1) * (x - 2) * (1 / 2)
        cubic[2] = (x + 1) * x * (x - 2) * (-1 / 2)
        cubic[3] = (x + 1) * x * (x - 1) * (1 / 6)
        add_rows(window[q * WIDTH : (q + 4) * WIDTH], cubic, 4, WIDTH, weights)
        row = before - (WIDTH // 2 - 1)
        if row >= 0 and row + WIDTH <= n_rows:
            near = grid[row * LANES : (row + WIDTH) * LANES]
            add_rows(near, weights, WIDTH, LANES, out[i])
        else:  # the wave is periodic
            for t in range(WIDTH):
                wrapped = (row + t) % n_rows * LANES
                for j in range(LANES):
                    edge[t * LANES + j] = grid[wrapped + j]
            add_rows(edge, weights, WIDTH, LANES, out[i])
