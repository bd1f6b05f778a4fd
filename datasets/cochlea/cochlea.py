"""The artificial cochlea that turned spoken digits into the Spiking Heidelberg Digits.

A sound becomes spikes in five stages: level and ramps, basilar membrane (`membrane`, applied
by `filterbank`), inner hair cells, auditory nerve, bushy cells (kernels in ``_nerve``).
`Cochlea.encode` runs them block by block; the methods before it are the stages, for study.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from evsim.arrays import FloatArray, IntArray
from evsim.spikes import Spikes

from .audio import resampled
from .filterbank import RATE, FilterBank, resampling_buffers
from .membrane import LENGTH

STEPS_PER_SECOND = RATE // 2
LEVEL = 0.3  # root mean square of the sound
RAMP = 0.030  # of the article's constants [s]
SHORTEST = 2 * RAMP  # sound [s]
FIBRE_REFRACTORY = 0.001  # [s]
MAX_CHANNELS = 10_000
_CHUNK = 128  # steps of a block of units that stay in the cache through all stages


@dataclass(frozen=True)
class HairCell:
    """Constants of Meddis' inner hair cell.

    Attributes
    ----------
    a, b : float
        Shape of the permeability ``g (s + a) / (s + a + b)`` in the membrane's velocity s.
    g, y, l, r, x : float
        Rates of release, replenishment, loss, reuptake and reprocessing [1/s].
    h : float
        Firing rate of a fibre per transmitter in the cleft [1/s].
    pool : float
        Transmitter that the cell tends to.
    """

    a: float
    b: float
    g: float
    y: float
    l: float  # noqa: E741, the name of the papers
    r: float
    x: float
    h: float = 50_000.0
    pool: float = 1.0

    def at_rest(self) -> FloatArray:
        """Return free, cleft and reprocessed transmitter in silence, [3]."""
        k = self.g * self.a / (self.a + self.b)
        cleft = self.pool * self.y * k / (self.l * k + self.y * (self.l + self.r))
        return np.array([cleft * (self.l + self.r) / k, cleft, cleft * self.r / self.x])

    def per_step(self) -> FloatArray:
        """Return the constants in order, rates per step."""
        values = np.array(astuple(self))
        values[2:8] /= STEPS_PER_SECOND
        return values


@dataclass(frozen=True)
class BushyCell:
    """Constants of the bushy cell, a leaky integrate-and-fire neuron with threshold 1.

    Attributes
    ----------
    tau_mem, tau_syn, refractory : float
        Time constants and refractory time [s].
    weight : float
        Of all fibres together [1/s].
    """

    tau_mem: float = 1e-3
    tau_syn: float = 0.5e-3
    refractory: float = 1e-3
    weight: float = 13_000.0

    def per_step(self, n_fibres: int) -> FloatArray:
        """Return decay of voltage and current, gain of a spike, refractory steps."""
        dt = 1 / STEPS_PER_SECOND
        decays = [np.exp(-dt / self.tau_mem), np.exp(-dt / self.tau_syn)]
        return np.array([*decays, self.weight / n_fibres * dt, round(self.refractory / dt)])


HAIR_CELLS = {
    "article": HairCell(5, 300, 1000, 11.11, 1250, 16667, 250),  # Meddis 1986
    "default": HairCell(5, 300, 2000, 5.05, 2500, 6580, 66.3),  # Meddis 1990
}


class Cochlea:
    """The artificial cochlea of SHD: sound in, spikes out.

    Parameters
    ----------
    channels : int
        Places on the basilar membrane, equally spaced from the base (unit 0, the highest
        frequency, 22 kHz) to the apex (100 Hz). SHD has 700.
    constants : {"article", "default"}
        Hair cells and ramps as in the article on SHD (30 ms ramps), or as in the public
        program that made it (the whole recording under one Hann window).
    n_fibres : int
        Auditory-nerve fibres of a channel, 1 to 255.
    first_place : float
        Of the first channel [cm], for sounds without high frequencies: 0 is the base, 1.0
        answers to 4.5 kHz, 1.6 to 1.8 kHz, 3.5 is the apex.

    Attributes
    ----------
    rate : int
        Steps per second: 24000 Hz.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    ModuleNotFoundError
        If scipy is not installed.

    Notes
    -----
    After Cramer, Stradmann, Schemmel and Zenke, IEEE Trans. Neural Netw. Learn. Syst. 33
    (2022) 2744, and their program Lauscher; membrane: see `evsim.datasets.cochlea.membrane`; hair
    cells: Meddis, J. Acoust. Soc. Am. 79 (1986) 702 and 87 (1990) 1813.

    All sounds are brought to 48 kHz: the hair cells' Euler steps of 1/24000 s are part of
    the definition, and longer ones would be unstable.

    The first cochlea of a number of channels takes a second to tabulate its membrane.
    Encoding takes some 15 MB per second of sound.

    Examples
    --------
    >>> time = np.arange(4800) / 48000
    >>> tone = np.sin(2 * np.pi * 440 * time)
    >>> spikes = Cochlea(channels=70).encode(tone, 48000)
    >>> spikes.size, spikes.duration
    (70, 0.10004166666666667)
    >>> units = np.flatnonzero(spikes.counts()[0] >= 10)
    >>> bool((45 < units).all() and (units < 55).all())
    True
    """

    rate = STEPS_PER_SECOND

    def __init__(
        self,
        channels: int = 700,
        constants: str = "article",
        n_fibres: int = 40,
        first_place: float = 0.0,
    ) -> None:
        if not 1 <= channels <= MAX_CHANNELS:
            raise ValueError(f"channels = {channels}, must be from 1 to {MAX_CHANNELS}")
        if constants not in HAIR_CELLS:
            raise ValueError(f"constants = {constants!r}, must be 'article' or 'default'")
        if not 1 <= n_fibres <= 255:
            raise ValueError(f"n_fibres = {n_fibres}, must be from 1 to 255")
        if not 0 <= first_place < LENGTH:
            raise ValueError(f"first_place = {first_place}, must be at least 0 and below {LENGTH}")
        _require_scipy()
        self.channels = int(channels)
        self.constants = constants
        self.n_fibres = int(n_fibres)
        self._hair_cell = HAIR_CELLS[constants]
        self._bank = FilterBank(self.channels, float(first_place))

    def encode(self, audio: npt.ArrayLike, rate: float, seed: int | Sequence[int] = 0) -> Spikes:
        """Turn a sound into spikes.

        Parameters
        ----------
        audio : float or int16 array [sample]
            Mono; its level does not matter.
        rate : float
            Samples per second [Hz], a whole number.
        seed : int or sequence of ints
            Fixes every spike of the nerve, whatever the number of channels.

        Returns
        -------
        Spikes
            One recording of ``channels`` units. Times are whole multiples of 1/24000 s
            as float64; the duration is that of the sound, in such steps.

        Raises
        ------
        ValueError
            If the audio is silent, not finite, not mono or shorter than 60 ms, or the
            rate is out of range.
        """
        from . import _nerve

        sound = self.sound(audio, rate)
        n_steps = len(sound) // 2 + 1
        streams = self._streams(seed)
        chunks = np.empty((4, _CHUNK, _nerve.LANES))
        found = _Found(self.channels, n_steps, self._rest_steps())
        for b, wave in enumerate(self._bank.waves(sound)):
            state = self._resting(streams[b])
            _nerve.first_budgets(state["streams"], state["nerve"][1])
            n_spikes, spikes = found.room()
            _nerve.from_wave_to_spikes(
                *wave,
                *resampling_buffers(),
                self._hair_cell.per_step(),
                state["hair"],
                state["streams"],
                state["nerve"],
                state["kept"],
                state["firing"],
                self._bushy_constants(),
                state["bushy"],
                chunks,
                n_steps,
                n_spikes,
                spikes,
            )
            found.take()
        return found.spikes()

    def sound(self, audio: npt.ArrayLike, rate: float) -> FloatArray:
        """Bring a sound to 48 kHz and to the level of 0.3, then fade it in and out.

        Parameters
        ----------
        audio : float or int16 array [sample]
            Mono.
        rate : float
            Samples per second [Hz].

        Returns
        -------
        float64 array [sample]
            At 48 kHz, under the rising and the falling half of a Hann window.
        """
        sound = resampled(audio, rate, RATE)
        if len(sound) < SHORTEST * RATE:
            raise ValueError(
                f"audio: lasts {len(sound) / RATE:g} s; must be at least {SHORTEST:g} s"
            )
        level = np.abs(sound).max()
        if level == 0:
            raise ValueError("audio: is silent; there is nothing to encode")
        sound = sound / level  # squares of tiny values would be 0
        sound *= LEVEL / np.sqrt(np.mean(sound**2))
        n = round(RAMP * RATE) if self.constants == "article" else len(sound) // 2
        ramp = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / (2 * n - 1))
        sound[:n] *= ramp
        sound[-n:] *= ramp[::-1]
        return sound

    def velocity(self, sound: FloatArray) -> FloatArray:
        """Return the velocity of the membrane at every place.

        Parameters
        ----------
        sound : float64 array [sample]
            From `sound`.

        Returns
        -------
        float64 array [unit, step]
            ``len(sound) // 2 + 1`` steps of 1/24000 s.

        Notes
        -----
        Spectra and grids are in single precision: errors are below 1e-6 of what the
        place's most favoured frequency would give at this level.
        """
        return self._bank.velocity(sound)

    def probability(self, velocity: FloatArray) -> FloatArray:
        """Return the firing probability of a fibre in every step.

        Parameters
        ----------
        velocity : float64 array [unit, step]
            Of the membrane.

        Returns
        -------
        float64 array [unit, step]
            Never negative; with extreme input it might exceed 1, which means certainty.
        """
        from . import _nerve

        blocks = _Blocks(velocity, _nerve)
        for block in blocks:
            hair = self._resting()["hair"]
            _nerve.hair_cells(block.input, self._hair_cell.per_step(), hair, block.output)
        return blocks.result()

    def nerve_counts(
        self, probability: FloatArray, seed: int | Sequence[int] = 0
    ) -> npt.NDArray[np.uint8]:
        """Return how many of a unit's fibres fire in every step, a random draw.

        Parameters
        ----------
        probability : float64 array [unit, step]
            That a fibre fires which is not refractory.
        seed : int or sequence of ints
            Fixes the draw.

        Returns
        -------
        uint8 array [unit, step]
            A fibre that has fired is out for the 23 steps that follow (1 ms).
        """
        from . import _nerve

        blocks = _Blocks(probability, _nerve)
        streams = self._streams(seed, len(probability))
        for b, block in enumerate(blocks):
            state = self._resting(streams[b])
            _nerve.first_budgets(state["streams"], state["nerve"][1])
            hazard = np.empty_like(block.input)
            _nerve.hazards(block.input, hazard)
            _nerve.fibres(
                hazard,
                0,
                state["streams"],
                state["nerve"],
                state["kept"],
                state["firing"],
                block.output,
            )
        return blocks.result().astype(np.uint8)

    def bushy(self, counts: npt.NDArray[np.uint8]) -> Spikes:
        """Return the spikes of the bushy cells that the nerve drives.

        Parameters
        ----------
        counts : uint8 array [unit, step]
            From `nerve_counts`.

        Returns
        -------
        Spikes
            One recording; a threshold crossing in the very last step gives no spike.
        """
        from . import _nerve

        blocks = _Blocks(counts, _nerve)
        found = _Found(len(counts), counts.shape[1], self._rest_steps())
        for block in blocks:
            _nerve.bushy_cells(
                block.input, 0, self._bushy_constants(), self._resting()["bushy"], *found.room()
            )
            found.take()
        return found.spikes()

    def _bushy_constants(self) -> FloatArray:
        return BushyCell().per_step(self.n_fibres)

    def _rest_steps(self) -> int:
        return int(self._bushy_constants()[3])

    def _resting(self, streams: npt.NDArray[np.uint64] | None = None) -> dict[str, Any]:
        """Return the states of a block of units before the sound."""
        from ._nerve import LANES

        nerve = np.zeros((2, LANES))
        nerve[0] = self.n_fibres
        return {
            "hair": np.repeat(self._hair_cell.at_rest()[:, None], LANES, axis=1),
            "streams": streams,
            "nerve": nerve,
            "kept": np.zeros((round(FIBRE_REFRACTORY * STEPS_PER_SECOND), LANES)),
            "firing": np.empty(LANES + 1, np.int64),
            "bushy": np.zeros((3, LANES)),
        }

    def _streams(
        self, seed: int | Sequence[int], channels: int | None = None
    ) -> npt.NDArray[np.uint64]:
        """Return the positions of the random streams, [block, lane].

        A unit's stream depends on the seed and on its number only.
        """
        from ._nerve import LANES

        n_blocks = -(-(self.channels if channels is None else channels) // LANES)
        words = np.random.SeedSequence(seed).generate_state(n_blocks * LANES, np.uint64)
        return words.astype(np.uint64).reshape(n_blocks, LANES)


class _Blocks:
    """Cuts [unit, step] into blocks [step, lane] and puts the results together."""

    def __init__(self, values: npt.ArrayLike, kernels: ModuleType) -> None:
        self._values = np.asarray(values)
        if self._values.ndim != 2 or not self._values.size:
            raise ValueError(f"shape {self._values.shape}, must be [unit, step] and not empty")
        wrong = np.argwhere(~np.isfinite(self._values))
        if len(wrong):
            raise ValueError(f"{self._values[tuple(wrong[0])]} at [unit, step] = {wrong[0]}")
        self._lanes = kernels.LANES
        self._results: list[FloatArray] = []

    def __iter__(self) -> Any:
        for first in range(0, len(self._values), self._lanes):
            self.input = np.zeros((self._values.shape[1], self._lanes))
            part = self._values[first : first + self._lanes]
            self.input[:, : len(part)] = part.T
            self.output = np.empty_like(self.input)
            yield self
            self._results.append(self.output.T[: len(part)].copy())

    def result(self) -> FloatArray:
        return np.concatenate(self._results)


class _Found:
    """Gathers the spikes of block after block."""

    def __init__(self, channels: int, n_steps: int, refractory: int) -> None:
        from ._nerve import LANES

        self._channels, self._n_steps = channels, n_steps
        self._n = np.zeros(LANES, np.int64)
        self._steps = np.empty((LANES, n_steps // refractory + 2), np.int64)
        self._trains: list[IntArray] = []

    def room(self) -> tuple[IntArray, IntArray]:
        """Return an empty array of counts [lane] and room for steps [lane, spike]."""
        self._n[:] = 0
        return self._n, self._steps

    def take(self) -> None:
        """Keep what a kernel has found."""
        self._trains += [row[:n].copy() for row, n in zip(self._steps, self._n, strict=True)]

    def spikes(self) -> Spikes:
        """Return everything as one recording."""
        trains = self._trains[: self._channels]
        units = np.repeat(np.arange(len(trains)), [len(train) for train in trains])
        return Spikes(
            np.concatenate(trains) / STEPS_PER_SECOND,
            units,
            size=self._channels,
            duration=self._n_steps / STEPS_PER_SECOND,
        )


def _require_scipy() -> None:
    try:
        import scipy  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the cochlea needs scipy; install it with: pip install evsim[audio]"
        ) from error
