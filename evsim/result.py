"""``Result``: what a simulation recorded."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass, field

from evsim.arrays import FloatArray, IntArray
from evsim.spikes import Spikes


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """Recorded spikes, voltages and readout values of a batch.

    Attributes
    ----------
    spikes : dict of str to Spikes
        By population; sorted by recording, time, unit. Labels are those of the input.
    voltage : dict of str to float64 array [recording, time, unit]
        Voltage at the sample times, events at that very instant included.
    voltage_times : dict of str to float64 array [time]
        The sample times [s], as asked for.
    threshold : dict of str to float64 array [unit]
        Thresholds of the firing populations whose voltage was sampled.
    output : dict of str to float64 array [recording, unit]
        Value of every readout population that has an ``output``.
    duration : float
        Horizon of the run [s].
    labels : int64 array [recording] or None
        Labels of the input.
    """

    spikes: dict[str, Spikes] = field(default_factory=dict)
    voltage: dict[str, FloatArray] = field(default_factory=dict)
    voltage_times: dict[str, FloatArray] = field(default_factory=dict)
    threshold: dict[str, FloatArray] = field(default_factory=dict)
    output: dict[str, FloatArray] = field(default_factory=dict)
    duration: float = 0.0
    labels: IntArray | None = None

    def __len__(self) -> int:
        """Return the number of recordings; 0 if nothing was recorded.

        Raises
        ------
        ValueError
            If parts of the result have different numbers.
        """
        recorded = (self.spikes, self.voltage, self.output)
        parts: list[Sized] = [part for each in recorded for part in each.values()]
        counts = {len(part) for part in parts}
        if self.labels is not None:
            counts.add(len(self.labels))
        if len(counts) > 1:
            raise ValueError(
                f"the parts of the result have {sorted(counts)} recordings; must be alike"
            )
        return counts.pop() if counts else 0

    def __repr__(self) -> str:
        """Return what was recorded, with counts."""
        spikes = ", ".join(f"{name}: {len(s.times)}" for name, s in self.spikes.items())
        voltage = ", ".join(f"{name} {list(v.shape)}" for name, v in self.voltage.items())
        output = ", ".join(f"{name} {list(v.shape)}" for name, v in self.output.items())
        return f"Result(spikes {{{spikes}}}, voltage {{{voltage}}}, output {{{output}}})"
