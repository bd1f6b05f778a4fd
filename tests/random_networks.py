"""Hypothesis strategies for small networks of any shape, with spikes to feed them.

Hypothesis draws the structure, so that it can shrink it; the numbers come from one seed.
Two engines that round differently must still agree, so no decision may hang on the last
bit. Where only arrivals make units spike (`LIF`), all numbers may lie on a binary grid:
ties abound, and every sum is exact. Elsewhere weights, thresholds and refractory periods
are real numbers; ties come from input on a grid and from zero delays.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

import evsim

TICK = 2.0**-10  # about a millisecond
DURATION = 100 * TICK
MODELS = ("CubaLIF", "LIF", "SRM")
KINDS = ("dense", "sparse", "conv")
DELAYS = ("none", "scalar", "axonal", "synaptic", "both")

# Smallest and largest peak of the voltage that one arrival makes: from the input or an
# earlier population, and within a loop (on the whole inhibiting, so that it dies out).
FORWARD = (-0.5, 1.5)
LOOP = (-0.75, 0.5)


@dataclass
class Case:
    """A network, its input, and the times at which to sample every voltage."""

    net: evsim.Network
    spikes: evsim.Spikes
    voltage: dict = field(default_factory=dict)


@st.composite
def cases(draw, models=MODELS, grid=False):
    """Draw a `Case` whose spiking populations are of ``models``; on a binary grid or not."""
    return _Builder(draw, grid).case(models)


class _Builder:
    def __init__(self, draw, grid):
        self.draw, self.grid = draw, grid
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.dims = draw(st.sampled_from([1, 2]))

    def flip(self):
        return self.draw(st.booleans())

    def pick(self, *options):
        return self.draw(st.sampled_from(options))

    # --- numbers ---

    def real(self, low, high, shape=()):
        """Numbers in [low, high]: multiples of 1/8 on the grid."""
        value = self.rng.uniform(low, high, shape)
        return np.round(8 * value) / 8 if self.grid else value

    def times(self, low, high, shape=(), grid=None):
        """Times in [low, high] ticks, whole ticks on the grid."""
        value = self.rng.uniform(low, high, shape)
        return TICK * (np.round(value) if (self.grid if grid is None else grid) else value)

    def either(self, make, size):
        """One number for all units, or one for each."""
        return make((size,)) if self.flip() else make(())

    # --- populations ---

    def population(self, name, model, size):
        if model == "SRM":
            parameters = {"tau_syn": self.either(lambda n: self.times(3, 8, n, False), size)}
            if self.flip():
                parameters["tau_r"] = self.either(lambda n: self.times(2, 12, n, False), size)
        elif model == "LIF":
            parameters = {"tau_mem": np.inf if self.flip() else self.times(5, 20, (size,), False)}
        else:
            parameters = self.cuba_constants(size)
        if model != "SRM":
            parameters["v_leak"] = self.either(lambda n: self.real(-0.25, 0.25, n), size)
            parameters["reset"] = self.either(lambda n: self.real(-0.25, 0.25, n), size)
            parameters["refractory"] = 0.0 if self.flip() else self.times(1, 6, (size,))
        parameters["threshold"] = self.real(0.75, 1.25, (size,))  # no two units are alike
        mode = self.pick("hard", "soft")
        return evsim.Population(name, model, size, reset_mode=mode, **parameters)

    def cuba_constants(self, size):
        tau_syn = self.either(lambda n: self.times(2, 10, n, False), size)
        ratio = self.pick(1.0, 1 + 1e-9, 2.0, 0.5, 5.0)
        return {"tau_mem": ratio * tau_syn, "tau_syn": tau_syn}

    def readout(self, name, size):
        output = self.pick(None, "max", "last", "integral")
        tau_output = self.times(5, 50) if output == "integral" and self.flip() else None
        tau_mem = self.times(5, 20, (), False)
        extra = {"v_leak": self.real(-0.25, 0.25), "output": output, "tau_output": tau_output}
        if self.flip():
            return evsim.Population(name, "LI", size, tau_mem=tau_mem, **extra)
        return evsim.Population(name, "CubaLI", size, **self.cuba_constants(size), **extra)

    # --- projections ---

    def delays(self, pre_size, shape, least):
        """Arguments ``delay`` and ``axonal_delay``; their sum is nowhere below ``least``."""
        kind = self.pick(*DELAYS[least > 0 :])
        sizes = {"none": [], "scalar": [()], "axonal": [(pre_size,)], "synaptic": [shape]}
        sizes["both"] = [shape, (pre_size,)]
        values = []
        for n in sizes[kind]:
            value = self.times(max(least, 0.5), 8, n)
            if least == 0:
                value = value * (self.rng.random(n) < 0.7)
            values.append(value)
        return dict(zip(("delay", "axonal_delay"), values, strict=False))

    def projection(self, pre, post, geometry, peaks=FORWARD, least=0, kinds=KINDS):
        """Connect two populations; ``geometry`` leads from the plane of one to the other's."""
        kind = self.pick(*kinds)
        low, high = (peak / _peak(post) for peak in peaks)
        ends = {"pre": pre.name, "post": post.name}
        if kind == "dense":
            shape = (post.size, pre.size)
            weight = self.real(low, high, shape)
            return evsim.Dense(**ends, weight=weight, **self.delays(pre.size, shape, least))
        if kind == "sparse":
            counts = self.rng.integers(0, 4, pre.size)
            shape = (int(counts.sum()),)
            return evsim.Sparse(
                **ends,
                indptr=np.concatenate([[0], np.cumsum(counts)]),
                indices=self.rng.integers(0, post.size, shape),
                weight=self.real(low, high, shape),
                **self.delays(pre.size, shape, least),
            )
        plane = geometry["input_shape"]
        channels = (post.size // _area(geometry["output_shape"]), pre.size // _area(plane))
        shape = channels + geometry["taps"]
        cls = evsim.Conv1d if self.dims == 1 else evsim.Conv2d
        return cls(
            **ends,
            kernel=self.real(low, high, shape),
            input_shape=plane,
            **{name: geometry[name] for name in ("stride", "padding", "dilation")},
            **self.delays(pre.size, shape, least),
        )

    def narrowing(self):
        """Any convolution from the input's plane to a smaller or larger one."""
        axes = [
            self.pick((4, 1, 2, 0, 1), (5, 2, 2, 0, 1), (4, 2, 3, 1, 1), (3, 1, 2, 1, 2))
            if self.dims == 1
            else self.pick((2, 1, 1, 0, 1), (3, 2, 2, 1, 1), (3, 1, 2, 0, 1), (2, 1, 3, 1, 1))
            for _ in range(self.dims)
        ]
        return _geometry(axes)

    def keeping(self, plane):
        """A convolution that keeps the plane."""
        return _geometry(
            [self.pick((n, 1, 1, 0, 1), (n, 1, 3, 1, 1), (n, 1, 3, 2, 2)) for n in plane]
        )

    # --- all of it ---

    def case(self, models):
        feed = self.narrowing()
        plane = feed["output_shape"]
        source = evsim.Population("input", "Input", self.pick(1, 2) * _area(feed["input_shape"]))
        hidden = [
            self.population(f"hidden{k}", self.pick(*models), self.pick(1, 2) * _area(plane))
            for k in range(self.draw(st.integers(1, 3)))
        ]
        readouts = [
            self.readout(f"readout{k}", self.pick(1, 2) * _area(plane))
            for k in range(self.draw(st.integers(0, 2)))
        ]
        projections = self.forward(source, hidden, readouts, feed, plane)
        projections += self.backward(hidden, plane)
        net = evsim.Network(
            [*readouts, source, *hidden], projections, output=(readouts or hidden)[-1].name
        )
        voltage = {p.name: self.times(0, 100, 5) for p in hidden + readouts if self.flip()}
        return Case(net, self.spikes(source.size), voltage)

    def forward(self, source, hidden, readouts, feed, plane):
        """From the input and from earlier populations, zero delays included."""
        found = [self.projection(source, hidden[0], feed)]
        for pre, post in pairwise(hidden):
            fed = self.flip()
            if fed:
                found.append(self.projection(source, post, feed))
            if not fed or self.flip():
                found.append(self.projection(pre, post, self.keeping(plane)))
        for post in readouts:
            found.append(self.projection(self.pick(*hidden), post, self.keeping(plane)))
        return found

    def backward(self, hidden, plane):
        """From later populations and from themselves: loops that don't run away at an instant."""
        held = all(np.all(p.parameters.get("refractory", 0) > 0) for p in hidden)
        least = 0 if held and self.flip() else 1
        mixed = len({p.model for p in hidden}) > 1 and any(p.model == "LIF" for p in hidden)
        # Around a loop with shared delays, spikes meet again at sums that differ by rounding.
        kinds = KINDS[:2] if mixed else KINDS
        return [
            self.projection(pre, post, self.keeping(plane), LOOP, least, kinds)
            for k, post in enumerate(hidden)
            for pre in hidden[k:]
            if self.flip()
        ]

    def spikes(self, size):
        on_grid = self.grid or self.flip()
        recordings = []
        for _ in range(self.draw(st.integers(1, 3))):
            n = self.draw(st.integers(0, 40))
            times = self.times(0, 80, n, on_grid)
            recordings.append((times, self.rng.integers(0, size, n)))
        return evsim.Spikes.from_recordings(recordings, size=size, duration=DURATION)


def _peak(post):
    """Height of the voltage's peak after one arrival of weight 1."""
    if "tau_syn" not in post.parameters or post.model == "SRM":
        return 1.0
    ratio = post.tau_mem[0] / post.tau_syn[0]
    return np.exp(-1) if abs(ratio - 1) < 1e-6 else ratio ** (ratio / (1 - ratio))


def _area(shape):
    return int(np.prod(shape))


def _geometry(axes):
    """Take (length, stride, taps, padding, dilation) of every axis."""
    length, stride, taps, padding, dilation = (tuple(a) for a in zip(*axes, strict=True))
    output = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, s, k, p, d in axes)
    return {
        "input_shape": length,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "taps": taps,
        "output_shape": output,
    }
