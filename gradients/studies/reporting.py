"""The report of a study: paper and command, every row with its intervals, the verdict."""

from __future__ import annotations

import re
import shlex
from typing import Any

from evsim.words import count

from .interface import Point, Study, told
from .papers import PAPERS
from .study_folder import StudyOptions
from .tables import Row, Table


def report_text(
    study: Study, options: StudyOptions, folder: str, points: list[Point], table: Table
) -> str:
    """Return the report.

    Parameters
    ----------
    study : Study
        Which one.
    options : StudyOptions
        What it was asked for.
    folder : str
        As the command was given it.
    points : list of dict
        In the order of the rows.
    table : Table
        What was found.
    """
    lines = [f"{study.name}: {study.title}; paper {study.paper}"]
    if options.quick:
        lines[0] = f"QUICK, fewer epochs, recordings and points than meant. {lines[0]}"
    words = ["evsim", "study", study.name, options.data, "-o", folder]
    words += ["--seeds", str(options.seeds)] + ["--quick"] * options.quick
    lines += [f"paper {letter}: {PAPERS[letter]}" for letter in cited(study)]
    lines += [
        f"command: {shlex.join(words)}",
        f"made with {', '.join(f'{name} {v}' for name, v in options.versions.items())}",
        f"{count(options.seeds, 'seed')}; intervals are of 95 %: of the mean over seeds (t), of "
        "one network (Wilson), of differences paired by seed (t)",
        "",
    ]
    for point, row in zip(points, table.rows, strict=True):
        lines += _row(study, point, row)
    lines += ["", *study.verdict(table)]
    return "\n".join(lines) + "\n"


def cited(study: Study) -> list[str]:
    """Return the letters of the papers that a study names; see `papers.PAPERS`."""
    named = re.findall(r"(?:^|; )([A-Z])[:,]", study.paper)
    return [letter for letter in named if letter in PAPERS]


def _row(study: Study, point: Point, row: Row) -> list[str]:
    """Return own and published figure of a row, and what its control says."""
    name = study.measure
    own = f"{told(point)}: {name} {_figure(name, row.get(name))}"
    if row.get(f"{name}_low") is not None:
        own += f", {_figure(name, row[f'{name}_low'])} to {_figure(name, row[f'{name}_high'])}"
        own += f", deviation {_figure(name, row[f'{name}_deviation'])}"
    if row.get("wilson_low") is not None:
        own += f"; one network of {row['n']:,} recordings "
        own += f"{row['wilson_low']:.1%} to {row['wilson_high']:.1%}"
    published = study.published(point)
    lines = [own] if published is None else [f"{own}; published {published}"]
    control = study.control(point)
    if control is not None and row.get("difference") is not None:
        said = f"  against {told(control)}: {_figure(name, row['difference'], '+')}"
        if row.get("difference_low") is not None:
            low, high = (_figure(name, row[f"difference_{end}"], "+") for end in ("low", "high"))
            said += f", {low} to {high}"
        lines.append(f"{said}: {row['compared']}")
    return lines


def _figure(name: str, value: Any, sign: str = "") -> str:
    if value is None:
        return "not measured"
    return f"{value:{sign}.1%}" if name == "accuracy" else f"{value:{sign}.4g}"
