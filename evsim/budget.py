"""``Budget``: the memory that a file may ask for, in proportion to what it holds.

A small file can claim anything: a label of 2^40, a gigabyte of zeros packed into a megabyte,
2^24 units in one attribute. Whoever reads draws from the file's budget *before* allocating,
in bytes as they will stand in memory, copies that checking and sorting make included; what
stays is kept, what is read part by part is lent and given back. `allow_memory` (``--memory``
on the command line) allows more.
"""

from __future__ import annotations

import math

from evsim.errors import FileError
from evsim.quantities import positive

FREE = 1 << 28  # bytes that any file may ask for, however small
SHARE = 64  # bytes of memory for a byte of the file

# What things cost, in bytes.
NUMBER = 32  # as float64 or int64, as stored, and two copies
SPIKE = 2 * NUMBER
STREAMED_SPIKE = 32  # of a file that is read part by part: time, rather than memory
UNIT = 16  # a count and a rate
RECORDING = 512  # descriptors, offsets, a label, a line of Python
OBJECT = 1 << 15  # a group, a data set: what opening it takes
CLASS = 1 << 16  # a name, and a readout unit with its synapses and their steps

_allowed = 0.0  # bytes, by `allow_memory`; 0 leaves it to the size of the file


class allow_memory:
    """Allow files to ask for more memory than their size justifies.

    By default a file may ask for 256 MiB and 64 times (sounds: 3072 times) its own size, so that
    no small file takes the machine down. Holds from now on, or for a ``with`` block, for files
    that are opened then.

    Parameters
    ----------
    gigabytes : float
        What every file may ask for at least [1e9 bytes].

    Raises
    ------
    ValueError
        If it is not positive.

    Examples
    --------
    >>> import evsim
    >>> with evsim.allow_memory(4):
    ...     spikes = evsim.load_spikes(evsim.demo_path("digits-spikes.h5"))
    """

    def __init__(self, gigabytes: float) -> None:
        global _allowed
        self._before = _allowed
        _allowed = 1e9 * positive("memory", gigabytes, "GB")

    def __enter__(self) -> None:
        """Leave it allowed."""

    def __exit__(self, *error: object) -> None:
        """Allow what was allowed before."""
        global _allowed
        _allowed = self._before


class Budget:
    """What one file may ask for.

    Parameters
    ----------
    n_bytes : int
        Size of the file.
    share : int
        Bytes of memory for each of them.

    Attributes
    ----------
    total : float
        What may be asked for [byte].
    kept : float
        What has been asked for and stays [byte].

    Examples
    --------
    >>> budget = Budget(1000)
    >>> budget.lend(1 << 20, "a.h5: /x", "131,072 numbers")
    >>> budget.lend(1 << 40, "a.h5: /x", "137,438,953,472 numbers")
    Traceback (most recent call last):
        ...
    evsim.errors.FileError: a.h5: /x: asks for 1.1 TB of memory (137,438,953,472 numbers); \
a file of 1 kB may ask for 268 MB; if it is right, give --memory 1100 (in Python: \
evsim.allow_memory(1100))
    """

    def __init__(self, n_bytes: int, share: int = SHARE) -> None:
        self.n_bytes = n_bytes
        self.total = max(FREE + float(share) * n_bytes, _allowed)
        self.kept = 0.0

    def lend(self, n_bytes: float, where: str, what: str) -> None:
        """Refuse what is too much; it is given back before the next one asks.

        Parameters
        ----------
        n_bytes : float
            Of memory.
        where : str
            File and place, for the message.
        what : str
            What takes the memory.

        Raises
        ------
        FileError
            If it is more than the file may ask for; says what would allow it.
        """
        asked = self.kept + n_bytes
        if asked <= self.total:
            return
        step = 10.0 ** (math.floor(math.log10(asked / 1e9)) - 1)
        enough = math.ceil(asked / 1e9 / step) * step
        before = self.kept > self.total / 100
        also = f", beside {size(self.kept)} asked for before" if before else ""
        raise FileError(
            f"{where}: asks for {size(n_bytes)} of memory ({what}){also}; a file of "
            f"{size(self.n_bytes)} may ask for {size(self.total)}; if it is right, give "
            f"--memory {enough:g} (in Python: evsim.allow_memory({enough:g}))"
        )

    def keep(self, n_bytes: float, where: str, what: str) -> None:
        """Refuse what is too much, as `lend`; it stays."""
        self.lend(n_bytes, where, what)
        self.kept += n_bytes


def size(n_bytes: float) -> str:
    """Return a number of bytes as a person writes it.

    Examples
    --------
    >>> size(1234), size(999_999), size(5e10)
    ('1.23 kB', '1 MB', '50 GB')
    """
    n_bytes = float(f"{n_bytes:.3g}")
    power = int(max(0.0, min(4.0, math.log10(max(n_bytes, 1.0)) // 3)))
    return f"{n_bytes / 1000**power:.3g} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"
