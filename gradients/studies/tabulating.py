"""From results to the rows of a table: means, intervals, differences from controls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import mean

from .interface import RESERVED, Measured, Point, Study, key_of
from .statistics import comparison, difference, spread, wilson
from .tables import Row, Table, cell, value

Results = Mapping[tuple[str, int], Measured]  # by `key_of` a point, and seed


def tabulated(study: Study, points: Sequence[Point], seeds: int, results: Results) -> Table:
    """Return the table of a study whose points are all done.

    Parameters
    ----------
    study : Study
        Says what is compared with what.
    points : sequence of dict
        In the order of the rows.
    seeds : int
        How many; of each point there is a result with every seed.
    results : mapping
        What was measured, by `key_of` the point, and seed.
    """
    settings = list(dict.fromkeys(name for point in points for name in point))
    rows = []
    for point in points:
        found = _of(point, seeds, results)
        row: Row = {name: point.get(name) for name in settings} | {"seeds": seeds}
        row |= _measure(study, found) | _others(study, found)
        control = study.control(point)
        if control is not None:
            row |= _compared(study, found, _of(control, seeds, results))
        rows.append(row)
    return Table(rows)


def _of(point: Point, seeds: int, results: Results) -> list[Measured]:
    return [results[key_of(point), seed] for seed in range(seeds)]


def _values(study: Study, found: list[Measured]) -> list[float] | None:
    """Return what is compared, of each seed; None where it was not measured."""
    if study.measure == "accuracy" and all("right" in one for one in found):
        return [one["right"] / one["n"] for one in found]
    values = [one.get(study.measure) for one in found]
    return None if None in values else [float(value) for value in values]  # type: ignore[arg-type]


def _measure(study: Study, found: list[Measured]) -> Row:
    values, name = _values(study, found), study.measure
    row: Row = {}
    if values is not None:
        row = dict(zip(_named(name), spread(values), strict=True))
        row[f"{name}_of_seeds"] = values
    if all("right" in one for one in found):
        right, n = mean(one["right"] for one in found), round(mean(one["n"] for one in found))
        row["wilson_low"], row["wilson_high"] = wilson(min(right, n), n)
        row |= {"right": right, "n": n}
    return row


def _named(name: str) -> tuple[str, str, str, str]:
    return name, f"{name}_deviation", f"{name}_low", f"{name}_high"


def _others(study: Study, found: list[Measured]) -> Row:
    """Return mean and deviation of what else was measured with every seed."""
    row: Row = {}
    for name in found[0]:
        values = [one.get(name) for one in found]
        if name in study.of_seeds:
            row[f"{name}_of_seeds"] = values
        if name in RESERVED or name == study.measure or any(one is None for one in values):
            continue
        if all(isinstance(one, list) for one in values):
            if len({len(one) for one in values}) == 1:  # type: ignore[arg-type]
                row[name] = [mean(entries) for entries in zip(*values, strict=True)]
        elif not any(isinstance(one, str) for one in values):
            columns = _named(name) if name in study.of_seeds else _named(name)[:2]
            row |= dict(zip(columns, spread(values), strict=False))  # type: ignore[arg-type]
        elif len(set(values)) == 1:
            row[name] = values[0]
    return row


def _compared(study: Study, found: list[Measured], control: list[Measured]) -> Row:
    values, others = _values(study, found), _values(study, control)
    if values is None or others is None:
        return {}
    apart = difference(values, others)
    return {
        f"control_{study.measure}": mean(others),
        "difference": apart.mean,
        "difference_low": apart.low,
        "difference_high": apart.high,
        "compared": comparison(apart, study.more_is_better),
    }


def refuse_unsound_points(
    points: Sequence[Point], others: Callable[[Point], Sequence[Point | None]]
) -> None:
    """Refuse points that a table can't hold: a slip of who wrote the study.

    Parameters
    ----------
    points : sequence of dict
        Of a study.
    others : callable
        Returns the control of a point and what it needs, which must be points themselves.

    Raises
    ------
    ValueError
        Names the point.
    """
    keys = [key_of(point) for point in points]
    if not points or len(set(keys)) < len(keys):
        twice = next((key for key in keys if keys.count(key) > 1), "none")
        raise ValueError(f"points(): must all be different, and one at least; found {twice}")
    for point in points:
        for name, setting in point.items():
            if isinstance(setting, (list, dict)) or value(cell(setting)) != setting:
                raise ValueError(f"points(): {name} = {setting!r} can't stand in a table")
        for other in others(point):
            if other is not None and key_of(other) not in keys:
                raise ValueError(f"points(): {other}, which {point} leads to, is not among them")
