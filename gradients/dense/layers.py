"""Dense, time-stepped twins of the spiking layers of `evsim.gradients`.

They have the same parameters, so that a ``state_dict`` moves both ways, but take and return
rasters [batch, step, unit], step n at time n dt, and a spike has a surrogate derivative.
Between steps the state follows the exact solution; only spikes are rounded to steps. A spike
without a delay arrives in the same step in the next layer; in a loop it takes a step.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from evsim.models import RESET_MODES
from evsim.quantities import positive

from .. import layers as events
from ..diagnostics import Diagnostics
from ..synapses import MAX_DELAY, Spiking
from ..tensors import refuse_illegal
from .cells import CubaLIFCells, Firing, LIFCells, SRMCells
from .delays import OnSteps, in_steps, late
from .loops import diagonals
from .normalising import StepNorm, checked_share, kept, normalised
from .on_grid import OnGrid, checked_delays, checked_raster, counting_arrivals, described_grid
from .spread import SIGMA, WIDE, acting, width_of
from .surrogates import Surrogate, find_surrogate


class Delay(events.Delay):
    """Axonal delays: every unit's row of the raster is shifted.

    Parameters
    ----------
    size, max_delay, dtype
        As for `evsim.gradients.Delay`.
    dt : float
        Length of a step [s].
    delays : {"round", "interpolate", "floor", "spread", "gaussian"}
        Shift by the nearest number of steps; or share each spike between the two steps that
        the delay lies between; or shift by the whole steps in the delay; or share each spike
        over a triangle of steps, or over a bell. Rounded delays have no gradient, cut ones have
        SLAYER's.

    Attributes
    ----------
    sigma : float
        Of ``delays="spread"``, 10 steps at first: how much wider than interpolation a triangle
        is; of ``"gaussian"``: how much wider than 0.27 steps a bell is. Set it to less and less
        while you train (`evsim.gradients.methods.delrec.sigma`, ``dcls.sigma``).

    Notes
    -----
    With ``"spread"`` and delay / dt = c, the share of a spike that arrives k steps later is
    max(0, s - abs(k - c)) / s^2, s = 1 + sigma; what would arrive before the spike is lost. In
    ``eval()`` mode delays are rounded to the nearest step on the fly. With sigma = 0 this is
    ``"interpolate"``.

    With ``"gaussian"`` that share is exp(-((k - c) / s)^2 / 2), s = sigma + 0.27, divided by its
    sum over the steps 0 to ``max_delay / dt`` (rounded up), so that nothing is lost. In ``eval()``
    mode the same happens. The layers of this module have it for their input; a loop is refused.

    With ``"floor"`` a delay within one part in 10^9 of a whole number of steps (10^6 if it is
    not float64) is that number. SLAYER's gradient stands for a derivative that is 0 almost
    everywhere: with y the delayed raster, 0 before its first step, and g = dL/dy, a unit's
    delay gets -1/dt times the sum over recordings and steps of g[t] (y[t] - y[t-1]).

    Examples
    --------
    >>> shift = Delay(1, max_delay=0.1, dt=0.01, delays="interpolate")
    >>> _ = torch.nn.init.constant_(shift.delay, 0.0125)
    >>> shift(torch.tensor([[[1.0], [0.0], [0.0]]])).flatten()
    tensor([0.0000, 0.7500, 0.2500], grad_fn=<ViewBackward0>)
    """

    sigma: float

    def __init__(
        self,
        size: int,
        max_delay: float = MAX_DELAY,
        dtype: torch.dtype | None = None,
        *,
        dt: float,
        delays: str = "round",
    ) -> None:
        super().__init__(size, max_delay, dtype)
        self.dt, self.delays = positive("dt", dt, "s"), checked_delays(delays)
        if delays in WIDE:
            self.sigma = SIGMA

    def forward(self, raster: Tensor) -> Tensor:  # type: ignore[override]
        """Return the raster, later; what would come after its end is lost."""
        self.check_delays()
        raster = checked_raster(raster, len(self.delay)).to(self.delay.dtype)
        return late(raster, self.steps())

    def steps(self) -> OnSteps:
        """Return the delays in steps, as they act now."""
        sigma = self.sigma if self.delays in WIDE else 0.0
        how = acting(self.delays, sigma, self.training)
        wide = self.delay.new_tensor(width_of(how, sigma)) if how in WIDE else None
        return in_steps(self.delay, self.dt, how, 0, wide, self.max_delay)

    def extra_repr(self) -> str:
        """Return the size, the limit and the step."""
        return f"{super().extra_repr()}, {described_grid(self)}"


class _Fires(OnGrid, Spiking):
    """What the spiking layers have in common.

    Parameters
    ----------
    *synapses, **options
        As the layer of the same name takes them.
    dt, delays
        As for `Delay`.
    surrogate : {"arctan", "triangle", "exponential", "gaussian"} or function
        Derivative of a spike by the voltage, see `evsim.gradients.dense.surrogates`; a
        function takes the voltage minus the threshold.
    detach_reset : bool
        Whether gradients bypass what a spike does to its own unit.
    learn_spread : bool
        Whether every sending unit of the loop has a width of its own, with ``delays="spread"``.
    dropout, input_dropout, recurrent_dropout : float
        Shares of units that are dropped for a recording in training, of what leaves the layer,
        of what arrives through the input projection and through the loop. The loop gets all
        spikes.
    batch_norm : bool
        Whether what arrives through the input projection passes a batch norm, ``norm``.
    """

    cells_of_model: type[LIFCells] | type[CubaLIFCells] | type[SRMCells]
    reset_mode = "hard"
    refire = False

    def __init__(
        self,
        *synapses: Any,
        surrogate: str | Surrogate = "arctan",
        detach_reset: bool = True,
        learn_spread: bool = False,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        batch_norm: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(*synapses, **options)
        self.dropout = checked_share("dropout", dropout)
        self.input_dropout = checked_share("input_dropout", input_dropout)
        self.recurrent_dropout = checked_share("recurrent_dropout", recurrent_dropout)
        if recurrent_dropout and self.recurrent is None:
            raise ValueError(
                f"recurrent_dropout = {recurrent_dropout}, but there is no loop: give recurrent=, "
                "or leave it out"
            )
        self.batch_norm = batch_norm
        self.norm = StepNorm(self.out_features, dtype=self.weight.dtype) if batch_norm else None
        self.learn_spread = learn_spread
        self.register_parameter("spread", None)
        if learn_spread:
            if self.delays != "spread" or self.recurrent is None:
                raise ValueError(
                    "learn_spread = True, but there is nothing to spread: give delays='spread' and "
                    "recurrent=, or leave learn_spread out"
                )
            self.spread = nn.Parameter(torch.zeros(self.out_features, dtype=self.weight.dtype))
        if self.bound != float("inf"):
            raise ValueError("bound: surrogate gradients have no costates to bound")
        self.surrogate, self.detach_reset = find_surrogate(surrogate), detach_reset

    @property
    def diagnostics(self) -> Diagnostics | None:
        """How the layer fired on the last batch; worked out when asked for. Copies have none."""
        last = _LAST.get(self)
        if last is None:
            return None
        counts, duration = last
        return Diagnostics.of_counts(counts.long().cpu().numpy(), duration)

    def forward(self, raster: Tensor) -> Tensor:  # type: ignore[override]
        """Return the spikes of the layer.

        Parameters
        ----------
        raster : tensor [batch, step, in]
            Spikes.

        Returns
        -------
        tensor [batch, step, out]
            0 or 1, in the type of the weights; in training, with ``dropout``, 0 or
            1 / (1 - dropout).

        Raises
        ------
        ValueError
            If the raster's shape does not fit, or a parameter is not legal.
        """
        fired = self._stepped(raster)[0]
        self.remember(fired.detach().sum(1), fired.shape[1] * self.dt)
        return fired

    def remember(self, counts: Tensor, duration: float) -> None:
        """Take spikes [batch, out] in so many seconds for those that `diagnostics` tell of."""
        _LAST[self] = counts, duration

    def voltage(self, raster: Tensor) -> Tensor:
        """Return the voltage [batch, step, out], after all that happens at each step."""
        return self.run(raster)[1]

    def run(self, raster: Tensor) -> tuple[Tensor, Tensor]:
        """Return both spikes and voltages, [batch, step, out]."""
        fired, u = self._stepped(raster)
        return fired, u + self.cell("v_leak") if "v_leak" in self.cells else u

    def acting_tensors(self) -> dict[str, Tensor | None]:
        """Return the `tensors` as the steps need them: a kernel as its diagonals, no matrix."""
        if self.recurrent != "conv":
            return self.tensors()
        found = self.input_tensors()
        kernel: Tensor = self.recurrent_weight
        delay: Tensor = self.recurrent_delay
        weight = kernel[:, None].expand(-1, self.out_features)
        if self.recurrent_mask is not None:
            weight = weight * diagonals(self.recurrent_mask, len(kernel))
        found["recurrent_weight"] = weight[None]
        if self.recurrent_delay_kind == "synaptic":
            found["recurrent_delay"] = delay[None, :, None]
        elif self.recurrent_delay_kind == "dendritic":
            found["recurrent_delay"] = delay[None, None]
        else:
            found["recurrent_axonal_delay"] = delay.expand(self.out_features)
        return found

    def width(self, prefix: str, delays: str) -> Tensor:
        """Return how wide delays are now [steps], those of all sending units or of each."""
        if not prefix or self.spread is None:
            return super().width(prefix, delays)
        refuse_illegal(type(self).__name__, "spread", self.spread)
        return 1 + 2 * self.sigma * torch.sigmoid(self.spread)

    def _stepped(self, raster: Tensor) -> tuple[Tensor, Tensor]:
        """Return spikes and voltages above v_leak."""
        raster, found = self.checked(raster)
        cells: dict[str, Any] = {name: found[name] for name in self.cells}
        soft = self.reset_mode == "soft"
        firing = Firing(self.surrogate, soft, self.detach_reset, self.refire)
        if soft and self.model == "LIF" and not self.refire:
            found = counting_arrivals(found)
        batch = len(raster)
        units = self.cells_of_model(
            cells, self.dt, self.weight.new_zeros(batch, self.out_features), firing
        )
        loop = self.loop(batch, raster.shape[1], found)
        arriving = self._entering(raster, found)
        keep = self._kept(arriving, self.recurrent_dropout)
        fired, voltages = [], []
        for now in arriving.unbind(1):
            if loop is None:
                fired.append(units.step(now))
            else:
                own = loop.step()
                fired.append(units.step(now + (own if keep is None else own * keep)))
                loop.send(fired[-1])
            voltages.append(units.u)
        leaving = torch.stack(fired, 1)
        keep = self._kept(leaving, self.dropout)
        return leaving if keep is None else leaving * keep[:, None], torch.stack(voltages, 1)

    def _entering(self, raster: Tensor, found: dict[str, Tensor | None]) -> Tensor:
        """Return what enters the units through the input projection, [batch, step, unit]."""
        arriving = self.arrivals(raster, found)
        if self.norm is not None:
            arriving = normalised(arriving, self.out_features, self.norm)
        keep = self._kept(arriving, self.input_dropout)
        return arriving if keep is None else arriving * keep[:, None]

    def _kept(self, like: Tensor, share: float) -> Tensor | None:
        return kept(like, self.out_features, share, self.training)

    def folded(self) -> dict[str, Tensor]:
        """Return weights and ``v_leak`` with the batch norm in them, for a network.

        Raises
        ------
        ValueError
            If the units have no leak that a shift could be folded into.
        """
        if self.norm is None:
            return {}
        factor, shift = self.norm.affine_map()
        found = {"weight": self.weight.double() * factor[:, None]}
        if shift.any():
            cells = {name: getattr(self, name) for name in self.cells}
            lift = self.cells_of_model.lift(cells, self.dt)
            if lift is None or not lift.isfinite().all():
                raise ValueError(
                    f"{type(self).__name__}: batch_norm adds {shift[shift != 0][0]:g} to what "
                    "arrives at each step, and units without a leak have no v_leak to fold it into"
                )
            found["v_leak"] = cells["v_leak"].double() + shift * lift
        return found

    def extra_repr(self) -> str:
        """Return sizes, what is not as usual, and the step."""
        shares = ("dropout", "input_dropout", "recurrent_dropout")
        told = [f"{n}={getattr(self, n):g}" for n in shares if getattr(self, n)]
        options = ("batch_norm", "learn_spread", "refire")
        told += [f"{n}=True" for n in options if getattr(self, n)]
        return ", ".join([super().extra_repr(), *told])


class _Resets(_Fires):
    """What the layers have in common whose voltage a spike resets.

    Parameters
    ----------
    *synapses, **options
        As for `_Fires`.
    reset_mode : {"hard", "soft"}
        At a spike V is put to ``reset``, or ``threshold - reset`` is subtracted.
    """

    def __init__(self, *synapses: Any, reset_mode: str = "hard", **options: Any) -> None:
        super().__init__(*synapses, **options)
        if reset_mode not in RESET_MODES:
            raise ValueError(f"reset_mode = {reset_mode!r}, must be 'hard' or 'soft'")
        self.reset_mode = reset_mode


class CubaLIF(_Resets, events.CubaLIF):
    """Leaky integrate-and-fire neurons with an exponentially decaying synaptic current.

    Parameters
    ----------
    dt, delays, surrogate, reset_mode, detach_reset, learn_spread
        Keywords: ``dt`` is the length of a step [s]; ``delays`` are put on the grid by
        ``"round"``, ``"interpolate"``, ``"floor"``, ``"spread"`` or ``"gaussian"``, see `Delay`
        (not ``"floor"`` for synaptic delays, nor for learnt ones of a loop; not ``"gaussian"`` if
        there is a loop); ``surrogate`` is a name or a function,
        see `evsim.gradients.dense.surrogates`; ``reset_mode`` is ``"hard"`` or ``"soft"``;
        with ``detach_reset`` gradients bypass what a spike does to its own unit; with
        ``learn_spread`` the triangles of a loop have a parameter ``spread`` p for each sending
        unit, 0 at first: their half-width is 1 + 2 sigma sigmoid(p), not 1 + sigma.
    dropout, input_dropout, recurrent_dropout : float
        Keywords: shares of the units whose spikes don't leave the layer (its loop gets them
        all), at which nothing arrives from the input, or from the loop; drawn for each recording
        and kept for all its steps. In training only.
    batch_norm : bool
        Keyword: what arrives from the input at each step passes a batch norm over recordings and
        steps, with a factor and a shift for each unit in ``norm``. A network gets it folded into
        weights and ``v_leak``, at which its units start, while those of the layer drift there
        (and take one shift more at the end of a refractory period).
    in_features, out_features, ...
        As for `evsim.gradients.CubaLIF`. A loop takes a step or more; the refractory period
        is rounded to steps. A spread loop takes the delay, not the delay and a step; optimisers
        leave its delays at a step or above.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> layer = CubaLIF(3, 4, tau_mem=20e-3, tau_syn=5e-3, delay="axonal", dt=1e-3)
    >>> layer(torch.ones(2, 50, 3)).shape
    torch.Size([2, 50, 4])
    """

    cells_of_model = CubaLIFCells


class LIF(_Resets):
    """Leaky integrate-and-fire neurons whose voltage an arrival steps.

    tau_mem V' = -(V - v_leak); an arrival adds its weight to V. Arrivals in the refractory
    period are lost. The spike times don't move smoothly, so there is no event layer of this
    name; where all times are multiples of ``dt`` the spikes are those of `evsim.simulate`.

    Parameters
    ----------
    in_features, out_features : int
        Sizes.
    {cells}
    delay, max_delay, recurrent, recurrent_delay
    recurrent_max_delay, kernel_size, learn, mask, recurrent_mask, dtype
        As for `evsim.gradients.CubaLIF`.
    dt, delays, surrogate, reset_mode, detach_reset, learn_spread
    dropout, input_dropout, recurrent_dropout, batch_norm
        As for `CubaLIF`.
    refire : bool
        Keyword, for ``reset_mode="soft"``: a unit that is still at or above the threshold fires
        again at the next step; without it, as in the engine, it waits for the next arrival. A
        hard reset leaves nothing above the threshold.
    """

    model = "LIF"
    cells_of_model = LIFCells

    def __init__(self, *synapses: Any, refire: bool = False, **options: Any) -> None:
        super().__init__(*synapses, **options)
        if refire and self.reset_mode != "soft":
            raise ValueError(
                "refire = True, but reset_mode = 'hard' leaves no voltage above the threshold: "
                "give reset_mode='soft', or leave refire out"
            )
        self.refire = refire

    def unit_weight(self) -> float:
        """Return the weight whose single arrival lifts the voltage by 1: 1."""
        return 1.0


class SRM(_Fires, events.SRM):
    """Spike response neurons: alpha-shaped synaptic and refractory kernels, no reset.

    Parameters
    ----------
    in_features, out_features, ...
        As for `evsim.gradients.SRM`.
    dt, delays, surrogate, detach_reset, learn_spread
    dropout, input_dropout, recurrent_dropout, batch_norm
        As for `CubaLIF`; gradients bypass the refractory kernel with ``detach_reset``.
    refire : bool
        Keyword: fire at every step at or above the threshold, as SLAYER does. Without it, as
        in the engine, a unit fires where its voltage comes from below the threshold only.
    """

    cells_of_model = SRMCells

    def __init__(self, *synapses: Any, refire: bool = False, **options: Any) -> None:
        if "reset_mode" in options:
            raise ValueError("reset_mode: SRM neurons have no reset")
        super().__init__(*synapses, **options)
        self.refire = refire


# Not in the layers, as for those of events: spikes [batch, unit] and the duration [s].
_LAST: WeakKeyDictionary[_Fires, tuple[Tensor, float]] = WeakKeyDictionary()
