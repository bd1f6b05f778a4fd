"""Losses on when units fire first, or how often.

The first spike decides, or comes at a time that is asked for: gradients are exact. Or counts
decide (`spikemax`). All are means over the recordings of a batch. Losses on the output
of a readout are torch's own, such as
``torch.nn.functional.cross_entropy(readout(spikes), labels)``; what keeps units firing neither
too little nor too much is in `evsim.gradients.regularisers`.
"""

from __future__ import annotations

from math import inf, isfinite

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from evsim import Spikes
from evsim.quantities import positive

from .tensors import as_tensors, sorted_numpy, untraced


def first_spikes(spikes: Spikes, missing: float | None = None) -> Tensor:
    """Return the time of the first spike of every unit.

    Parameters
    ----------
    spikes : Spikes
        Of a layer.
    missing : float or None
        What stands for the time of a unit without a spike, without a gradient [s]; the
        duration of the recordings if left out. May be inf.

    Returns
    -------
    float64 tensor [recording, unit]
        [s]. Its gradient goes to the first spike of each unit only.

    Raises
    ------
    TypeError
        If ``spikes`` are something else; the message tells how to make `Spikes` of it.
    ValueError
        If a time or unit is not legal (recording and index are named), or ``missing`` is
        negative or NaN.

    Examples
    --------
    >>> spikes = Spikes([0.3, 0.1, 0.2], [0, 1, 1], size=3, duration=0.5)
    >>> first_spikes(spikes)
    tensor([[0.3000, 0.1000, 0.5000]], dtype=torch.float64)
    """
    spikes = as_tensors(spikes, "first_spikes")
    missing = spikes.duration if missing is None else missing
    if not missing >= 0:
        raise ValueError(f"missing = {missing}, must be >= 0 [s]")
    return _first(spikes, missing)


@untraced
def _first(spikes: Spikes, missing: float) -> Tensor:
    times = torch.as_tensor(spikes.times)
    plain, order = sorted_numpy(spikes)
    n = len(times)
    first = np.full((len(spikes), spikes.size), n)
    np.minimum.at(first, (plain.recordings(), plain.units), np.arange(n))
    if order is not None:
        first = np.append(order, n)[first]
    return torch.cat([times, times.new_tensor([missing])])[torch.from_numpy(first)]


class FirstSpikeLoss(nn.Module):
    """What the losses on first spikes have in common.

    Parameters
    ----------
    missing : float or None
        As for `first_spikes`.
    """

    def __init__(self, missing: float | None) -> None:
        super().__init__()
        self.missing = None if missing is None else positive("missing", missing)

    def forward(self, spikes: Spikes, labels: npt.ArrayLike | Tensor) -> Tensor:
        """Return the loss of a batch.

        Parameters
        ----------
        spikes : Spikes
            Of the output layer.
        labels : integer array or tensor [recording]
            Classes.

        Returns
        -------
        float64 tensor []
            Mean over the recordings; 0 if there are none.

        Raises
        ------
        TypeError
            If ``spikes`` are something else; the message tells how to make `Spikes` of it.
        ValueError
            If a time or unit is not legal, there is not one label per recording, or one is
            not among the classes.
        """
        spikes = as_tensors(spikes, type(self).__name__)
        times = _first(spikes, inf)
        silent = times.isinf()
        missing = spikes.duration if self.missing is None else self.missing
        labels = _checked_labels(labels, len(spikes), self.n_classes(spikes))
        return batch_mean(self.each(times.masked_fill(silent, missing), silent, labels))

    def n_classes(self, spikes: Spikes) -> int:
        """Return the number of classes: one per unit."""
        return spikes.size

    def each(self, times: Tensor, silent: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of every recording.

        Parameters
        ----------
        times : float64 tensor [recording, unit]
            First spikes [s].
        silent : bool tensor [recording, unit]
            Which are missing.
        labels : int64 tensor [recording]
            Classes.
        """
        raise NotImplementedError


class FirstSpikeCrossEntropy(FirstSpikeLoss):
    """Cross-entropy of a softmax in which the unit that fires first has the most.

    Parameters
    ----------
    tau0 : float
        Difference of times that makes a factor e [s].
    alpha : float
        Strength of the pull of the label's spike towards time 0, >= 0.
    tau1 : float
        Its time constant [s].
    missing : float or None
        Time that a unit without a spike counts with [s]; the duration if left out.

    Notes
    -----
    -log(e^(-t_label/tau0) / sum of e^(-t_i/tau0)) + alpha (e^(t_label/tau1) - 1), by Wunderlich
    and Pehle, Sci. Rep. 11:12829 (2021), who take tau0 = 0.5 ms, tau1 = 6.4 ms, alpha = 0.003.

    Examples
    --------
    >>> loss = FirstSpikeCrossEntropy(tau0=1e-3)
    >>> spikes = Spikes([0.01, 0.01], [0, 1], size=2, duration=0.1)
    >>> float(loss(spikes, [0]).exp().round(decimals=6))
    2.0
    """

    def __init__(
        self, tau0: float, alpha: float = 0.0, tau1: float = 6.4e-3, missing: float | None = None
    ) -> None:
        super().__init__(missing)
        self.tau0, self.tau1 = positive("tau0", tau0), positive("tau1", tau1)
        if not (alpha >= 0 and isfinite(alpha)):
            raise ValueError(f"alpha = {alpha}, must be finite and >= 0")
        self.alpha = float(alpha)

    def each(self, times: Tensor, silent: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of every recording."""
        found = nn.functional.cross_entropy(-times / self.tau0, labels, reduction="none")
        if self.alpha == 0:  # whose factor may be infinite
            return found
        of_label = times.gather(1, labels[:, None])[:, 0]
        return found + self.alpha * torch.expm1(of_label / self.tau1)


class TargetTime(FirstSpikeLoss):
    """Squared distance of first spikes from the times at which they should be.

    Parameters
    ----------
    targets : array or tensor [class, unit]
        When each unit should fire first if the recording is of that class [s].
    tau : float
        Unit of time of the distance [s].
    missing : float or None
        Time that a unit without a spike counts with [s]; the duration if left out.

    Notes
    -----
    1/2 sum over units of ((t_i - target_i) / tau)^2. Squares of seconds are so small that the
    epsilon of Adam would slow it down, hence ``tau``.

    Examples
    --------
    The label's unit at 4 ms, the others at 6 ms:

    >>> loss = TargetTime(6e-3 - 2e-3 * torch.eye(3))
    >>> spikes = Spikes([4e-3, 5e-3, 6e-3], [0, 1, 2], size=3, duration=0.1)
    >>> round(float(loss(spikes, [0])), 6)
    0.5
    """

    targets: Tensor

    def __init__(
        self, targets: npt.ArrayLike | Tensor, tau: float = 1e-3, missing: float | None = None
    ) -> None:
        super().__init__(missing)
        self.tau = positive("tau", tau)
        wanted = torch.as_tensor(targets, dtype=torch.float64)
        if wanted.ndim != 2:
            raise ValueError(f"targets: shape {list(wanted.shape)}, must be [class, unit]")
        if not wanted.isfinite().all():
            raise ValueError("targets: all times must be finite [s]")
        self.register_buffer("targets", wanted)

    def n_classes(self, spikes: Spikes) -> int:
        """Return the number of classes: one per row of the targets."""
        n_classes, n_units = self.targets.shape
        if spikes.size != n_units:
            raise ValueError(f"targets of {n_units} units, but the spikes are of {spikes.size}")
        return n_classes

    def each(self, times: Tensor, silent: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of every recording."""
        return ((times - self.targets[labels]) / self.tau).square().sum(dim=1) / 2


class RelativeTime(FirstSpikeLoss):
    """Squared deviation of the lead of the label's first spike from a gap.

    Only differences of times matter, so nothing is said about when to decide.

    Parameters
    ----------
    gap : float
        How long after the label's unit the others should fire [s].
    tau : float
        Unit of time of the deviation [s].
    missing : float or None
        Time that a unit without a spike counts with [s]; the duration if left out.

    Notes
    -----
    1/2 sum over the other units of ((t_i - t_label - gap) / tau)^2, the loss of DelGrad (Göltz
    et al., arXiv 2404.19165) with gap = 0.2 tau and tau = tau_syn. A pair of which one is
    silent counts, but without a gradient: the missing time is no place to move the other to.

    Examples
    --------
    >>> loss = RelativeTime(gap=2e-3)
    >>> spikes = Spikes([0.011, 0.010, 0.013], [0, 1, 2], size=3, duration=0.1)
    >>> round(float(loss(spikes, [1])), 6)
    1.0
    """

    def __init__(self, gap: float, tau: float = 1e-3, missing: float | None = None) -> None:
        super().__init__(missing)
        self.gap, self.tau = positive("gap", gap), positive("tau", tau)

    def each(self, times: Tensor, silent: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of every recording."""
        column = labels[:, None]
        is_label = torch.arange(times.shape[1]) == column
        off = (times - times.gather(1, column) - self.gap * ~is_label) / self.tau
        lost = silent | silent.gather(1, column)
        return torch.where(lost, off.detach(), off).square().sum(dim=1) / 2


def spikemax(counts: Tensor, labels: npt.ArrayLike | Tensor, least: float = 1.0) -> Tensor:
    """Return the cross-entropy of a class that is drawn as often as its unit fires.

    Parameters
    ----------
    counts : float tensor [recording, class] or [recording, step, class]
        Spikes, as `evsim.gradients.spike_counts` or ``raster.sum(1)`` give them; or running
        counts, over which the mean is taken too.
    labels : integer array or tensor [recording]
        Classes.
    least : float
        What a smaller count counts as, > 0.

    Returns
    -------
    tensor []
        Mean of -ln p[label], in the type of the counts; 0 if there are none.

    Raises
    ------
    ValueError
        If a shape does not fit, a count is negative or not finite, a label is not among the
        classes, or ``least`` is not positive.

    Notes
    -----
    p = c / sum of c, c = max(counts, least): there is no exponential. The gradient by a count is
    (p - y) / c over the number of rows, y 1 for the label, else 0; it goes through the floor,
    which so wakes units that are silent. Shrestha, Zhu and Sun (2022), Spikemax, IJCNN.

    Examples
    --------
    >>> counts = torch.tensor([[4.0, 0.0, 1.0]], requires_grad=True)
    >>> spikemax(counts, [2]).backward()
    >>> 6 * counts.grad  # p = (4, 1, 1) / 6
    tensor([[ 1.,  1., -5.]])
    """
    least = positive("least", least)
    if not (torch.is_tensor(counts) and counts.is_floating_point() and counts.ndim in (2, 3)):
        what = f"{counts.dtype} {list(counts.shape)}" if torch.is_tensor(counts) else type(counts)
        raise ValueError(
            f"counts: {what}, must be a float tensor [recording, class] or [recording, step, class]"
        )
    wrong = ~((counts >= 0) & counts.isfinite())
    if wrong.any():
        place = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"counts{place} = {counts[tuple(place)].item()}, must be a number of spikes, >= 0"
        )
    found = _checked_labels(labels, len(counts), counts.shape[-1]).to(counts.device)
    raised = counts + (counts.clamp(min=least) - counts).detach()
    of_label = raised[torch.arange(len(found), device=counts.device), ..., found]
    return batch_mean((raised.sum(dim=-1).log() - of_label.log()).flatten())


def places(spikes: Spikes) -> Tensor:
    """Return where each spike belongs in a flat [recording, unit]."""
    return torch.as_tensor(spikes.recordings() * spikes.size + spikes.units)


def batch_mean(each: Tensor) -> Tensor:
    """Return the mean over recordings, 0 if there are none."""
    return each.sum() / max(len(each), 1)


def _checked_labels(labels: npt.ArrayLike | Tensor, n: int, n_classes: int) -> Tensor:
    found = torch.as_tensor(labels)
    if found.shape != (n,):
        raise ValueError(f"labels: shape {list(found.shape)}, must be [{n}], one per recording")
    if n and (found.is_floating_point() or found.dtype == torch.bool):
        raise ValueError(f"labels: {found.dtype}, must be integers")
    found = found.long()
    outside = torch.nonzero((found < 0) | (found >= n_classes))
    if len(outside):
        b = int(outside[0])
        raise ValueError(f"labels: {found[b]} of recording {b}, must be 0 to {n_classes - 1}")
    return found
