"""Numbers that users give, checked in one way."""

from __future__ import annotations

from math import inf


def positive(name: str, value: float, unit: str = "", infinite: bool = False) -> float:
    """Return a number that must be above 0.

    Parameters
    ----------
    name : str
        What the message calls it.
    value : float
        The number.
    unit : str
        For the message.
    infinite : bool
        Whether inf will do.

    Raises
    ------
    ValueError
        If it is not above 0, or not finite where it must be.

    Examples
    --------
    >>> positive("dt", 0.0, "s")
    Traceback (most recent call last):
        ...
    ValueError: dt = 0.0, must be finite and > 0 [s]
    """
    if not (0 < value < inf or (infinite and value == inf)):
        rule = "must be > 0" if infinite else "must be finite and > 0"
        raise ValueError(f"{name} = {value}, {rule}" + (f" [{unit}]" if unit else ""))
    return float(value)
