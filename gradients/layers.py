"""Torch layers whose forward pass is the event engine and whose backward pass is exact.

They take and return `Spikes` of tensors (readouts return a tensor) and are stacked with
``torch.nn.Sequential``. Parameters may be float32; everything is computed in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import e, exp, log
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from evsim import Spikes
from evsim.models import OUTPUTS
from evsim.quantities import positive
from evsim.spike_checks import check_size

from .delays import HasDelays
from .functional import observe
from .synapses import MAX_DELAY, Spiking, Synapses, Value
from .tensors import as_tensors, refuse_elsewhere, untraced, with_times


class Delay(HasDelays):
    """Axonal delays: every spike of unit i is shifted by ``delay[i]``.

    Parameters
    ----------
    size : int
        Units.
    max_delay : float
        Largest delay [s]. Delays start at U(0, max_delay); steps of an optimiser leave them
        in [0, max_delay]. A longer one that is put or loaded there raises it, with a warning.
    dtype : torch.dtype or None
        Of the parameter.

    Attributes
    ----------
    delay : Parameter [size]
        [s].

    Examples
    --------
    >>> spikes = Spikes([0.1, 0.2], [0, 1], size=2, duration=1.0).torch()
    >>> shift = Delay(2, max_delay=0.1)
    >>> _ = torch.nn.init.constant_(shift.delay, 0.05)
    >>> [round(t, 6) for t in shift(spikes).times.tolist()]
    [0.15, 0.25]
    """

    def __init__(
        self, size: int, max_delay: float = MAX_DELAY, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.max_delay = positive("max_delay", max_delay, "s")
        self.delay = nn.Parameter(torch.rand(size, dtype=dtype) * max_delay)

    def delay_limits(self) -> dict[str, tuple[float, float]]:
        """Return the limits of the delays [s] by name of the parameter."""
        return {"delay": (0.0, self.max_delay)}

    def named_times(self) -> dict[str, Tensor]:
        """Return what may be too long for a recording [s], by name."""
        return {"delay": self.delay}

    @untraced
    def forward(self, spikes: Spikes) -> Spikes:
        """Return the spikes, later.

        Raises
        ------
        TypeError, ValueError
            As for `CubaLIF`.
        """
        name = type(self).__name__
        refuse_elsewhere(name, "its delay is", self.delay)
        self.check_delays()
        spikes = as_tensors(spikes, name)
        check_size(spikes, len(self.delay), f"there are {len(self.delay)} delays")
        self.warn_of_odd_times(spikes)
        late = self.delay.double()[spikes.units]
        return with_times(spikes, late + spikes.times)  # type: ignore[arg-type]

    @property
    def size(self) -> int:
        """Number of units."""
        return len(self.delay)

    def extra_repr(self) -> str:
        """Return the size and the limit."""
        return f"{len(self.delay)}, max_delay={self.max_delay:g}"


class CubaLIF(Spiking):
    """Leaky integrate-and-fire neurons with an exponentially decaying synaptic current.

    tau_mem V' = -(V - v_leak) + I, tau_syn I' = -I. An arrival adds its weight to I; when V
    reaches the threshold from below the unit fires, and V is held at ``reset`` for the
    refractory period.

    Parameters
    ----------
    in_features, out_features : int
        Sizes.
    {cells}
    delay : {None, "axonal", "dendritic", "synaptic"}
        Delays of the input, [in], [out] or [out, in]; they start at U(0, max_delay).
    max_delay : float or None
        Largest delay [s] that an optimiser makes, see `Delay`; 60 ms if left out. Only with
        ``delay``.
    recurrent : {None, "dense", "conv"}
        Loop of the layer onto itself: [out, out], or a kernel that all units share.
    recurrent_delay : float, "axonal", "dendritic" or "synaptic"
        One fixed delay [s], or learnt ones: [out], of the units that send or that receive, or
        one per recurrent weight. Learnt ones stay above 0.1 ms, for a loop takes time.
    recurrent_max_delay : float or None
        The largest of the learnt ones [s], 60 ms if left out.
    kernel_size : int
        Of ``recurrent="conv"``, odd.
    learn : sequence of str
        Which parameters of the neurons, of those above, are trained; each in the shape given.
    mask, recurrent_mask : bool tensor [out, in], [out, out] or None
        Which synapses there are.
    bound : float
        Largest size of the change of a unit's voltage costate at one of its spikes. The
        default, inf, leaves the gradient exact.
    tick : float or None
        Count times in whole ticks of this length [s], so that what meets on that grid meets
        exactly: input times, delays, refractory periods and the duration must be multiples of
        it, see `evsim.simulate`.
    dtype : torch.dtype or None
        Of the parameters.

    Attributes
    ----------
    weight : Parameter [out, in]
    delay : Parameter [in], [out], [out, in] or None
    recurrent_weight : Parameter [out, out], [kernel_size] or None
    recurrent_delay : Parameter, buffer or None
    diagnostics : Diagnostics
        Of the last batch.

    Raises
    ------
    ValueError
        If an option is not one of those told, a shape does not fit, or a limit is given where
        no delays are learnt.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> layer = CubaLIF(3, 4, tau_mem=20e-3, tau_syn=5e-3, delay="axonal")
    >>> spikes = Spikes([0.01, 0.02, 0.03], [0, 1, 2], size=3, duration=0.1)
    >>> layer(spikes)
    Spikes(1 recordings, 10 spikes, size=4, duration=0.1)
    """

    model = "CubaLIF"

    def unit_weight(self) -> float:
        """Return the weight whose single arrival lifts the voltage by 1, for average cells."""
        return 1 / _peak(self.tau_mem, self.tau_syn)


class SRM(Spiking):
    """Spike response neurons: alpha-shaped synaptic and refractory kernels, no reset.

    V(t) = sum of w eps(t - t_arrival) + sum of nu(t - t_spike), with
    eps(s) = (s/tau_syn) e^(1 - s/tau_syn) and nu(s) = -2 threshold (s/tau_r) e^(1 - s/tau_r).

    Parameters
    ----------
    in_features, out_features : int
        Sizes.
    {cells}
    delay, max_delay, recurrent, recurrent_delay
    recurrent_max_delay, kernel_size, learn, mask, recurrent_mask, bound, tick
    dtype
        As for `CubaLIF`.
    """

    model = "SRM"

    def unit_weight(self) -> float:
        """Return the weight whose single arrival lifts the voltage by 1: 1."""
        return 1.0

    def _peak_cells(self, found: dict[str, Tensor | None]) -> None:
        """Make a readout of it: equal time constants, and weights scaled to a peak of 1."""
        found.pop("tau_r")
        found["tau_mem"] = found["tau_syn"]
        weight = found["weight"]
        assert weight is not None
        found["weight"] = weight * e


class Readout(Synapses):
    """What `CubaLI` and `LI` have in common: they don't fire, their voltage is the output."""

    def _set_up(
        self,
        in_features: int,
        out_features: int,
        cells: dict[str, Value],
        output: str | None = "max",
        tau_output: float | None = None,
        at: npt.ArrayLike | None = None,
        delay: str | None = None,
        max_delay: float | None = None,
        learn: Sequence[str] = (),
        mask: Tensor | None = None,
        tick: float | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self._add_synapses(in_features, out_features, cells, delay, max_delay, learn, mask, dtype)
        self.tick = None if tick is None else positive("tick", tick, "s")
        if at is not None:
            output = None
        elif output not in OUTPUTS:
            raise ValueError(f"output = {output!r}, must be one of {', '.join(OUTPUTS)}")
        if tau_output is not None and (output != "integral" or not tau_output > 0):
            raise ValueError(
                f"tau_output = {tau_output}, must be > 0 [s] and goes with output='integral'"
            )
        self.output, self.tau_output = output, tau_output
        self.at = None if at is None else np.atleast_1d(np.asarray(at, np.float64))

    @untraced
    def forward(self, spikes: Spikes) -> Tensor:
        """Return the output of the readout.

        Parameters
        ----------
        spikes : Spikes
            Input, of arrays or tensors.

        Returns
        -------
        float64 tensor
            [recording, out], or voltages [recording, time, out] with ``at``.

        Raises
        ------
        TypeError
            If they are something else; the message tells how to make `Spikes` of it.
        ValueError
            If a time or unit is not legal (recording and index are named), the spikes have
            another number of units than the layer inputs, they or the parameters are not on the
            CPU, a sample time is outside the recording, or a
            parameter is not legal.
        """
        options = {} if self.output is None else {"output": self.output}
        if self.tau_output is not None:
            options["tau_output"] = self.tau_output  # type: ignore[assignment]
        job = self.job(spikes, **options)
        if self.at is not None:
            duration = job.spikes.duration
            outside = ~((self.at >= 0) & (self.at <= duration))  # NaN is
            if outside.any():
                raise ValueError(
                    f"at: {self.at[outside][0]} s is outside the recording, 0 to {duration} s"
                )
            job.at = self.at
        with self.blamed():
            return observe(job, **self.tensors())


class CubaLI(Readout):
    """Readout neurons with a synaptic current: `CubaLIF` without a threshold.

    Parameters
    ----------
    in_features, out_features : int
        Sizes.
    {cells}
    output : {"max", "last", "integral"}
        The largest voltage, the last one, or its integral over the recording.
    tau_output : float or None
        For an integral weighted by e^(-t / tau_output) [s].
    at : float array [time] or None
        Sample times [s]; the output is then the voltage at these.
    delay, max_delay, learn, mask, tick, dtype
        As for `CubaLIF`.
    """

    model = "CubaLI"

    def unit_weight(self) -> float:
        """Return the weight whose single arrival lifts the voltage by 1, for average cells."""
        return 1 / _peak(self.tau_mem, self.tau_syn)


class LI(Readout):
    """Readout neurons whose voltage an arrival steps: a leaky sum of weights.

    Parameters
    ----------
    in_features, out_features : int
        Sizes.
    {cells}
    output, tau_output, at, delay, max_delay, learn, mask, tick, dtype
        As for `CubaLI`.
    """

    model = "LI"

    def unit_weight(self) -> float:
        """Return the weight whose single arrival lifts the voltage by 1: 1."""
        return 1.0


def _peak(of_mem: Any, of_syn: Any) -> float:
    """Return the largest voltage that a unit arrival makes, e^-1 for equal time constants."""
    tau_mem, tau_syn = float(of_mem.detach().mean()), float(of_syn.detach().mean())
    if abs(tau_mem - tau_syn) < 1e-6 * tau_mem:
        return exp(-1.0)
    ratio = tau_syn / tau_mem
    return exp(log(ratio) / (1.0 - ratio))
