"""The basilar membrane of SHD's cochlea: how fast each place moves, by frequency.

A travelling wave in a long box of fluid, closed by a membrane whose stiffness falls off
exponentially (Sieroka, Dosch and Rupp, J. Acoust. Soc. Am. 120 (2006) 297), solved in the
WKB approximation. CGS units: [cm], [g], [s].
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evsim.arrays import FloatArray

ComplexArray = npt.NDArray[np.complex128]

LENGTH = 3.5  # [cm]
DENSITY = 1.0  # of the fluid [g cm^-3]
STIFFNESS = 1e9  # at the base, with the offset [g s^-2 cm^-2]
DECAY = 3.0  # of the stiffness [cm^-1]
OFFSET = 3500.0  # of the stiffness [g s^-2 cm^-2]
MASS = 0.05  # of the membrane [g cm^-2]
HEIGHT = 0.1  # of the scala [cm]
DAMPING = 0.15 * np.sqrt(STIFFNESS * MASS)  # at the base [g s^-1 cm^-2]


def places(channels: int, first: float = 0.0) -> FloatArray:
    """Return equally spaced places from the first, or the base, to the apex, both included [cm].

    Examples
    --------
    >>> places(3)
    array([0.  , 1.75, 3.5 ])
    """
    return np.linspace(first, LENGTH, channels)


def impedance(frequency: npt.ArrayLike, place: npt.ArrayLike) -> ComplexArray:
    """Return stiffness - mass w^2 - i damping w at a place, w = 2 pi frequency."""
    w, x = 2 * np.pi * np.asarray(frequency), np.asarray(place)
    stiffness = STIFFNESS * np.exp(-DECAY * x) - OFFSET
    friction = DAMPING * np.exp(-DECAY * x / 2)
    return np.asarray(stiffness - MASS * w**2 - 1j * w * friction, np.complex128)


def wave_number(frequency: npt.ArrayLike, place: npt.ArrayLike) -> ComplexArray:
    """Return the local wave number g = w sqrt(density / (height impedance)) [1/cm]."""
    w = 2 * np.pi * np.asarray(frequency)
    return np.asarray(w * np.sqrt(DENSITY / (HEIGHT * impedance(frequency, place))), np.complex128)


def phase(frequency: npt.ArrayLike, place: npt.ArrayLike) -> ComplexArray:
    """Return G = (2 / decay) g(0) + the integral of g from the base to a place.

    Notes
    -----
    With e = exp(-decay x / 2) the impedance is a polynomial of second degree in e, so the
    integral of g has a closed form with one complex logarithm.
    """
    w, x = 2 * np.pi * np.asarray(frequency), np.asarray(place)
    mass = MASS * w**2 + OFFSET
    base, here = (
        2 * np.sqrt(impedance(frequency, y))
        - 1j * (2 * mass + 1j * w * DAMPING * np.exp(-DECAY * y / 2)) / np.sqrt(mass)
        for y in (np.zeros_like(x), x)
    )
    turns = np.log(base / (np.exp(DECAY * x / 2) * here))
    factor = 2j * w * np.sqrt(DENSITY) / (DECAY * np.sqrt(HEIGHT * mass))
    return 2 / DECAY * wave_number(frequency, 0.0) - factor * turns


def velocity_gain(frequency: npt.ArrayLike, place: npt.ArrayLike) -> ComplexArray:
    """Return the membrane's velocity per unit of input, a complex gain.

    Parameters
    ----------
    frequency : float array [...]
        > 0 [Hz].
    place : float array [...]
        From the base, 0 to 3.5 [cm].

    Returns
    -------
    complex128 array [...]
        ``2 w / impedance * p(x) / p(0) * Z``, with the pressure ``p = sqrt(G / g) H0(G)``
        (Hankel function of the first kind) and the input factor Z of the oval window.

    Examples
    --------
    >>> frequency = np.arange(300.0, 700.0)
    >>> gain = np.abs(velocity_gain(frequency, places(700)[500]))
    >>> float(frequency[gain.argmax()]), round(float(gain.max()))
    (473.0, 196)
    """
    from scipy.special import hankel1e, j0, j1, y0, y1

    w = 2 * np.pi * np.asarray(frequency)
    at_base, here = phase(frequency, 0.0), phase(frequency, place)
    # hankel1e(0, G) = H0(G) exp(-iG): H0 itself leaves the range of floats
    pressure = np.sqrt(here / wave_number(frequency, place)) * hankel1e(0, here)
    pressure_at_base = np.sqrt(at_base / wave_number(frequency, 0.0)) * hankel1e(0, at_base)
    u = 2 * w / DECAY * np.sqrt(2 / (HEIGHT * STIFFNESS))
    window = (1j * j0(u) + y0(u)) / (j1(u) - 1j * y1(u)) * np.sqrt(2 * STIFFNESS / HEIGHT)
    ratio = pressure / pressure_at_base * np.exp(1j * (here - at_base))
    return 2 * w / impedance(frequency, place) * ratio * window
