"""Learnt resting voltages, kept below the threshold: no unit shall fire by itself."""

from __future__ import annotations

from typing import Any

import torch

HIGHEST = 0.99  # of the way from reset to threshold


@torch.no_grad()
def keep_below_threshold(layer: Any) -> None:
    """Put a learnt ``v_leak`` back to where it is below the threshold.

    Optimisers of torch have this done after each step to the layers that ran before it.

    Parameters
    ----------
    layer : Module
        Any; one whose ``v_leak`` is not learnt, or that has no threshold, is left alone.

    Examples
    --------
    >>> from evsim.gradients import dense
    >>> layer = dense.LIF(1, 1, tau_mem=0.01, v_leak=[0.5], learn="v_leak", dt=1e-3)
    >>> _ = torch.nn.init.constant_(layer.v_leak, 1.25)
    >>> keep_below_threshold(layer)
    >>> layer.v_leak.tolist()
    [0.9900000095367432]
    """
    v_leak = getattr(layer, "_parameters", {}).get("v_leak")
    threshold = getattr(layer, "threshold", None)
    if v_leak is None or threshold is None or v_leak.is_meta:
        return
    highest = layer.reset + HIGHEST * (threshold - layer.reset)
    v_leak.copy_(torch.minimum(v_leak, highest.to(v_leak)))
