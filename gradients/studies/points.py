"""``PointsFile``: the results of a study, a line for each finished point; only one process writes.

A line is appended and brought to the disk before the next point counts as done. A kill leaves
at most a last line that is not whole; it is cut off when the study goes on.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec

from evsim.files import FileError
from evsim.files.hdf5 import reason
from evsim.files.whole_file import sync_folder

from .interface import Measured, Point, key_of

_REMEDY = "put the file back as it was, or start anew in another folder"


class PointsFile:
    """A file of results, a context manager while it is written.

    Parameters
    ----------
    path : path
        Need not exist yet.
    points : iterable of dict
        All points of the study.

    Attributes
    ----------
    results : dict
        What was measured, by `key_of` the point, and seed.

    Raises
    ------
    FileError
        If a line is not sound; says which.
    """

    def __init__(self, path: str | PathLike[str], points: Iterable[Point]) -> None:
        self.path = Path(path)
        self.results: dict[tuple[str, int], Measured] = {}
        self._keys = {key_of(point) for point in points}
        self._whole = 0  # bytes of whole lines
        self._file: Any = None
        if self.path.exists():
            self._read()

    def __enter__(self) -> PointsFile:
        """Open the file; a last line that is not whole is cut off."""
        try:
            self._file = open(self.path, "ab", buffering=0)
            self._file.truncate(self._whole)
            sync_folder(self.path.parent)
        except OSError as error:
            raise FileError(f"{self.path}: can't be written: {reason(error)}") from error
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._file.close()

    def add(self, point: Point, seed: int, measured: Measured) -> None:
        """Append a finished point; it is on the disk when this returns.

        Raises
        ------
        FileError
            If it can't be written.
        """
        line = json.dumps({"point": point, "seed": seed, **measured}, allow_nan=False) + "\n"
        left = line.encode()
        try:
            while left:  # a disk that is nearly full takes a part
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            raise FileError(f"{self.path}: can't be written: {reason(error)}") from error
        self.results[key_of(point), seed] = measured

    def _read(self) -> None:
        try:
            lines = self.path.read_bytes().splitlines(keepends=True)
        except OSError as error:
            raise FileError(f"{self.path}: can't be read: {reason(error)}") from error
        for number, line in enumerate(lines, 1):
            try:
                found = msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                if number == len(lines):
                    return
                raise FileError(
                    f"{self.path}, line {number}: {reason(error)}; {_REMEDY}"
                ) from error
            if not line.endswith(b"\n"):
                return
            try:
                self._take(found)
            except ValueError as error:
                raise FileError(f"{self.path}, line {number}: {error}; {_REMEDY}") from error
            self._whole += len(line)

    def _take(self, found: Any) -> None:
        if not isinstance(found, dict) or not isinstance(found.get("point"), dict):
            raise ValueError("is not a finished point")
        key, seed = key_of(found.pop("point")), found.pop("seed", None)
        if key not in self._keys:
            raise ValueError(f"{key} is no point of this study")
        if type(seed) is not int or seed < 0:
            raise ValueError("seed must be a whole number, 0 or more")
        if (key, seed) in self.results:
            raise ValueError(f"{key} with seed {seed} stands there twice")
        refuse_unsound(found)
        self.results[key, seed] = found


def refuse_unsound(measured: Measured) -> None:
    """Refuse results that can't be kept.

    Parameters
    ----------
    measured : dict
        Of one point.

    Raises
    ------
    ValueError
        Names the entry.
    """
    if not isinstance(measured, dict):
        raise ValueError(f"the results are a {type(measured).__name__}, must be a dictionary")
    for name, value in measured.items():
        entries = value if isinstance(value, list) else [value]
        numbers = [one for one in entries if not isinstance(one, str) or isinstance(value, list)]
        if name in ("point", "seed") or not isinstance(name, str):
            raise ValueError(f"{name!r} can't be the name of what is measured")
        if value is not None and not all(map(_is_number, numbers)):
            raise ValueError(f"{name} = {value!r}, must be finite numbers or a text")
    right, n = measured.get("right"), measured.get("n")
    if "right" in measured or "n" in measured:
        if type(right) is not int or type(n) is not int or not 0 <= right <= n or n < 1:
            raise ValueError(f"right = {right!r} of n = {n!r}, must be whole numbers, 0 to n")


def _is_number(value: object) -> bool:
    try:
        return type(value) in (bool, int, float) and math.isfinite(value)  # type: ignore[arg-type]
    except OverflowError:  # a whole number beyond every float, in a file that was changed
        return False


def as_plain(measured: Measured) -> Measured:
    """Return results with numpy's numbers and arrays as Python's."""
    return {
        name: value.tolist() if hasattr(value, "tolist") else value
        for name, value in measured.items()
    }


def shown(measured: Measured, measure: str) -> str:
    """Return in words what of a point is compared.

    Examples
    --------
    >>> shown({"right": 191, "n": 200}, "accuracy"), shown({"mean_delay": 0.0125}, "mean_delay")
    ('accuracy 95.5% (191 of 200)', 'mean_delay 0.0125')
    """
    if "right" in measured and measure == "accuracy":
        right, n = measured["right"], measured["n"]
        return f"accuracy {right / n:.1%} ({right:,} of {n:,})"
    found = measured.get(measure)
    return f"{measure} {found:.4g}" if isinstance(found, (int, float)) else "done"
