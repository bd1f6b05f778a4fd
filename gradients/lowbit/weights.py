"""Weights on a few levels."""

from __future__ import annotations

from math import inf, log2

import torch
from torch import Tensor, nn

from evsim import Levels
from evsim.bits import MOST
from evsim.quantities import positive as checked_positive

from .table import from_table
from .through import through

_RATIO = 0.7  # of the threshold of ternary weights, by Li and Liu


def dorefa(x: Tensor, bits: int) -> Tensor:
    """Return numbers of [0, 1] on 2^bits levels from -1 to 1.

    Parameters
    ----------
    x : tensor
        In [0, 1], any shape.
    bits : int
        1 or more.

    Returns
    -------
    tensor
        2 round((2^bits - 1) x) / (2^bits - 1) - 1, ties to even; its derivative is taken to be
        that without rounding, 2.

    Notes
    -----
    Zhou et al. (2016), arXiv 1606.06160.

    Examples
    --------
    >>> dorefa(torch.tensor([0.0, 0.4, 1.0]), 2)
    tensor([-1.0000, -0.3333,  1.0000])
    """
    steps = 2 ** _checked_bits(bits, least=1) - 1
    x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
    return through(2 * x, 2 * (steps * x.detach()).round() / steps - 1)


class _Sized(nn.Module):
    """A parametrisation of weights whose levels have sizes > 0, fixed or learnt."""

    learn: bool

    def _add_size(self, name: str, value: float) -> None:
        """Keep a size, as a number or as a parameter whose softplus it is."""
        size = torch.tensor(checked_positive(name, float(value)), dtype=torch.float64)
        if self.learn:
            raw = size + torch.log(-torch.expm1(-size))
            self.register_parameter(f"raw_{name}", nn.Parameter(raw.to(torch.get_default_dtype())))
        else:
            self.register_buffer(f"fixed_{name}", size)

    def _size(self, name: str) -> Tensor:
        """Return a size, of shape []."""
        size: Tensor = getattr(self, f"raw_{name}" if self.learn else f"fixed_{name}")
        return torch.logaddexp(size, torch.zeros_like(size)) if self.learn else size

    def slopes(self) -> dict[str, float]:
        """Return by name how far a parameter moves while its size moves by itself."""
        found = {}
        for name, raw in self.named_parameters(recurse=False):
            size = self._size(name.removeprefix("raw_")).detach().double()
            found[name] = 1.0 if raw.is_meta else float(size / -torch.expm1(-size))
        return found

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return the free weights of what is assigned: the same."""
        return weight


class Uniform(_Sized):
    """Weights on 2^bits evenly spaced levels between -M and M.

    With t = tanh(w) and M = max |t| over the tensor, q = M dorefa(t / (2 M) + 1/2, bits); M
    carries no gradient, so dL/dw = dL/dq (1 - t^2). 0 is none of the levels; a tensor of zeros
    stays zeros.

    Parameters
    ----------
    bits : int
        2 to 16.
    scale : float or None
        For weights that are not below 1: s q(w / s) takes the place of q(w).
    learn : bool
        Whether the scale is trained, as softplus of the parameter ``raw_scale``.

    Raises
    ------
    ValueError
        If there are fewer or more bits, or a scale is to be learnt but none is given.

    Notes
    -----
    Zhou et al. (2016), arXiv 1606.06160, without the scaling back to [-1, 1].

    Examples
    --------
    >>> Uniform(2)(torch.tensor([-1.0, 0.1, 0.7]))
    tensor([-0.7616,  0.2539,  0.7616])
    """

    def __init__(self, bits: int, scale: float | None = None, learn: bool = False) -> None:
        super().__init__()
        self.bits, self.learn = _checked_bits(bits, least=2), bool(learn)
        if scale is not None:
            self._add_size("scale", scale)
        elif learn:
            raise ValueError("learn: there is no scale; give one, or use Uniform.fit")

    @classmethod
    def fit(cls, weight: Tensor, bits: int, learn: bool = False) -> Uniform:
        """Return a `Uniform` whose levels suit some weights.

        Parameters
        ----------
        weight : tensor
            As they are before anything is quantised.
        bits, learn
            As for `Uniform`.

        Returns
        -------
        Uniform
            Its scale is (bits + 1) / 2 times their root mean square: about where the outer
            levels cost normal weights the least (Max 1960, doi 10.1109/TIT.1960.1057548). 1
            where all weights are 0.
        """
        rms = _mean(weight.detach().double().square()) ** 0.5
        return cls(bits, (bits + 1) / 2 * rms or 1.0, learn)

    @property
    def scale(self) -> Tensor:
        """What the weights are measured in."""
        scaled = self._buffers or self._parameters
        return self._size("scale") if scaled else torch.ones((), dtype=torch.float64)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the quantised weights."""
        scale = self.scale.to(weight.dtype)
        t = torch.tanh(weight / scale)
        level, step, offset = self._on_levels(t.detach(), scale.detach())
        used = torch.where(weight.isfinite(), level * step + offset, weight)  # refused by layers
        return through(scale * through(t, used / scale.detach()), used)

    def _on_levels(self, t: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return whole levels, and the step and offset that make weights of them, as float64."""
        n, t = 2**self.bits - 1, t.double()
        largest = t.abs().amax() if t.numel() else t.new_zeros(())
        share = torch.where(largest == 0, 0, t / (2 * largest) + 0.5)
        largest = largest * scale
        return (n * share).round(), 2 * largest / n, -largest

    @torch.no_grad()
    def levels(self, weight: Tensor) -> Levels | None:
        """Return whole numbers that stand for the quantised weights, to the last bit.

        None if there are none of few bits: of float32 weights with more than 8 bits.
        """
        scale = self.scale.to(weight.dtype)
        level, step, offset = self._on_levels(torch.tanh(weight / scale), scale)
        if step == 0:
            return Levels(level.long().cpu().numpy(), step=1.0, bits=self.bits)
        if weight.dtype == torch.float64:
            return Levels(level.long().cpu().numpy(), step.item(), offset.item(), self.bits)
        every = torch.arange(2**self.bits, dtype=torch.float64)
        return from_table(level, every * step + offset, weight.dtype, self.bits)

    def n_bits(self) -> float:
        """Return the bits of a weight."""
        return self.bits

    def extra_repr(self) -> str:
        """Return the bits, and the scale if there is one."""
        scaled = (self._buffers or self._parameters) and not self.scale.is_meta
        scale = f", scale={self.scale.item():.4g}" if scaled else ""
        return f"{self.bits}{scale}{', learn=True' if self.learn else ''}"


class Ternary(_Sized):
    """Weights of three values: positive, 0, and -negative; log2(3) = 1.58 bits.

    q = positive where w > Delta, -negative where w < -Delta, else 0, with Delta = ratio times
    the mean |w| of the tensor, or of each unit's own weights. dL/dw = dL/dq everywhere.

    Parameters
    ----------
    positive, negative : float
        The levels, > 0.
    learn : bool
        Whether they are trained: as softplus of the parameters ``raw_positive`` and
        ``raw_negative``, of shape [].
    ratio : float
        Of the threshold Delta, >= 0.
    per_unit : bool
        Whether every receiving unit, a row of the weights, has a threshold of its own. Units of
        small weights then keep some; the levels are those of the layer in any case.

    Attributes
    ----------
    positive, negative : tensor []
        The levels.

    Raises
    ------
    ValueError
        If a level or the ratio is out of its range.

    Notes
    -----
    Li and Liu (2016), arXiv 1605.04711: three values and the threshold; levels of two sizes
    that are learnt: Zhu et al. (2017), arXiv 1612.01064.

    Examples
    --------
    >>> Ternary(2.0, 1.0)(torch.tensor([0.5, -0.1, 0.2, -0.6, 0.05, -0.35]))
    tensor([ 2.,  0.,  0., -1.,  0., -1.])
    """

    def __init__(
        self,
        positive: float = 1.0,
        negative: float = 1.0,
        learn: bool = False,
        ratio: float = _RATIO,
        per_unit: bool = False,
    ) -> None:
        super().__init__()
        self.learn, self.ratio, self.per_unit = bool(learn), float(ratio), bool(per_unit)
        if not 0 <= self.ratio < inf:
            raise ValueError(f"ratio = {ratio}, must be finite and >= 0")
        self._add_size("positive", positive)
        self._add_size("negative", negative)

    @classmethod
    def fit(
        cls,
        weight: Tensor,
        learn: bool = False,
        ratio: float = _RATIO,
        per_unit: bool = False,
    ) -> Ternary:
        """Return a `Ternary` whose levels suit some weights.

        Parameters
        ----------
        weight : tensor
            As they are before anything is quantised.
        learn, ratio, per_unit
            As for `Ternary`.

        Returns
        -------
        Ternary
            Its levels are the means of the weights above Delta, and of the sizes of those below
            -Delta. A side without entries takes the level of the other; both are 1 where all
            weights are 0.

        Examples
        --------
        >>> fitted = Ternary.fit(torch.tensor([0.5, -0.1, 0.2, -0.6, 0.05, -0.35]))
        >>> round(fitted.positive.item(), 6), round(fitted.negative.item(), 6)
        (0.5, 0.475)
        """
        w = weight.detach().double()
        up, down = cls(ratio=ratio, per_unit=per_unit)._sides(w)
        if w.is_meta:
            return cls(1.0, 1.0, learn, ratio, per_unit)
        means = [_mean(w[up]), _mean(-w[down])]
        larger = max(means) or 1.0
        return cls(means[0] or larger, means[1] or larger, learn, ratio, per_unit)

    @property
    def positive(self) -> Tensor:
        """The level of large weights."""
        return self._size("positive")

    @property
    def negative(self) -> Tensor:
        """The size of the level of large negative weights."""
        return self._size("negative")

    def forward(self, weight: Tensor) -> Tensor:
        """Return the quantised weights."""
        up, down = self._sides(weight.detach())
        levels = (level.to(weight.dtype) for level in (self.positive, self.negative))
        positive, negative = levels
        used = torch.where(up, positive, torch.where(down, -negative, torch.zeros_like(positive)))
        # What is no number stays so, for the layer to refuse.
        return through(weight, torch.where(weight.isfinite(), used, weight))

    def _sides(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return where weights are above the threshold, and where below minus it."""
        size = weight.abs()
        if self.per_unit and weight.ndim > 1:
            delta = self.ratio * size.mean(dim=1, keepdim=True)
        else:
            delta = self.ratio * size.mean() if weight.numel() else size.new_zeros(())
        return weight > delta, weight < -delta

    @torch.no_grad()
    def levels(self, weight: Tensor) -> Levels | None:
        """Return whole numbers that stand for the quantised weights, to the last bit."""
        up, down = self._sides(weight)
        level = 1 + up.double() - down.double()
        nothing = torch.zeros_like(self.positive)
        values = torch.stack([-self.negative, nothing, self.positive])
        return from_table(level, values, weight.dtype, 2)

    def n_bits(self) -> float:
        """Return the bits of a weight."""
        return log2(3)

    def extra_repr(self) -> str:
        """Return the levels."""
        levels = self.positive, self.negative
        told = [] if levels[0].is_meta else [f"{level.item():.4g}" for level in levels]
        told += ["learn=True"] * self.learn + [f"ratio={self.ratio:g}"]
        return ", ".join(told + ["per_unit=True"] * self.per_unit)


def _mean(values: Tensor) -> float:
    """Return the mean; 0 of none, and of those of the device "meta"."""
    return float(values.mean()) if values.numel() and not values.is_meta else 0.0


def _checked_bits(bits: int, least: int) -> int:
    if isinstance(bits, bool) or int(bits) != bits or not least <= bits <= MOST:
        raise ValueError(f"bits = {bits!r}, must be a whole number from {least} to {MOST}")
    return int(bits)
