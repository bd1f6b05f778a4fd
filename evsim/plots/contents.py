"""What a file holds, as far as it is drawn: a network, a result, or one recording of spikes."""

from __future__ import annotations

from os import PathLike
from typing import Any, NamedTuple

from evsim.files import SpikeFile, load_network, load_result
from evsim.files.kinds import class_names, identify, refuse_population
from evsim.network import Network
from evsim.plots.choice import check_recording, first_of_class
from evsim.result import Result
from evsim.spikes import Spikes


class Contents(NamedTuple):
    """What was read.

    Attributes
    ----------
    data : Network, Result or Spikes
        Of a spike file only the chosen recording.
    recording : int
        The chosen one, counted from 0 in the file.
    classes : list of str or None
        Names of the classes, by label.
    notes : dict
        What a result says about its making.
    """

    data: Network | Result | Spikes
    recording: int
    classes: list[str] | None
    notes: dict[str, Any]


def contents_of(
    path: str | PathLike[str],
    recording: int = 0,
    population: str | None = None,
    of_class: str | None = None,
) -> Contents:
    """Read a file.

    Parameters
    ----------
    path : path
        Of the file.
    recording : int
        Which recording; without meaning for a network.
    population : str or None
        For a SONATA file with more than one population: which one.
    of_class : str or None
        In place of ``recording``: the first one of this class, by name or number.

    Raises
    ------
    FileError
        If the file is not sound.
    ValueError
        If there is no such recording or class.
    """
    kind, notes = identify(path)
    if kind != "spike":
        refuse_population(path, population, f"is a {kind} file")
    if kind == "network":
        if of_class is not None:
            raise ValueError(f"{path}: is a network file; it has no recordings to choose from")
        return Contents(load_network(path), recording, None, notes)
    classes = class_names(path)
    if kind == "result":
        result = load_result(path)
        if of_class is not None:
            recording = first_of_class(result.labels, of_class, classes)
        return Contents(result, recording, classes, notes)
    with SpikeFile(path, population) as file:
        if of_class is not None:
            recording = first_of_class(file.labels, of_class, classes)
        check_recording(recording, len(file))
        size, duration = file.extent()
        return Contents(file.read(size, duration, [recording]), recording, classes, notes)
