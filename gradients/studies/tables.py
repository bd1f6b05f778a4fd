"""``Table``: what a study found, a row for each point; as CSV, and read again.

Numbers are written with all their digits. Values of text and JSON are told apart by what they
look like, so a setting may not be a text that reads as a number.
"""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """What a study found.

    Columns of a row: the settings; ``seeds``, how many; of the measure that is compared, say
    ``accuracy``: its mean, ``accuracy_deviation``, ``accuracy_low`` and ``accuracy_high`` (of the
    mean, over seeds); ``accuracy_of_seeds``, a list; ``wilson_low`` and ``wilson_high`` (of one
    network with the mean number right) and ``n``, the recordings; whatever else was measured, as
    mean and ``..._deviation``, lists of numbers entry by entry, with ``..._of_seeds`` if the study
    asks for it; then ``control_accuracy`` and ``difference`` with ``difference_low``,
    ``difference_high`` and ``compared``, what they say. Without a value: None.

    Attributes
    ----------
    rows : list of dict
        In the order of the points.
    """

    rows: list[Row]

    def where(self, **settings: Any) -> list[Row]:
        """Return the rows with these settings, in order."""
        wanted = settings.items()
        return [row for row in self.rows if all(row.get(name) == value for name, value in wanted)]

    def row(self, **settings: Any) -> Row:
        """Return the one row with these settings.

        Raises
        ------
        KeyError
            If there is none, or more than one.
        """
        found = self.where(**settings)
        if len(found) != 1:
            raise KeyError(f"{len(found)} rows have {settings}")
        return found[0]

    def text(self) -> str:
        """Return the table as CSV."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: cell(value) for name, value in row.items()} for row in self.rows)
        return text.getvalue()


def table_of(text: str) -> Table:
    """Return the table that a CSV holds."""
    rows = csv.DictReader(io.StringIO(text))
    return Table([{name: value(text) for name, text in row.items()} for row in rows])


def cell(value: Any) -> str:
    """Return a value as a cell of the table; nothing for None and NaN.

    Examples
    --------
    >>> cell("axonal"), cell(0.1), cell([1, 2.5]), cell(None), cell(True)
    ('axonal', '0.1', '[1, 2.5]', '', 'true')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def value(text: str) -> Any:
    """Return what a cell holds.

    Examples
    --------
    >>> value("axonal"), value("0.1"), value("[1, 2.5]"), value(""), value("true")
    ('axonal', 0.1, [1, 2.5], None, True)
    """
    try:
        return json.loads(text) if text else None
    except json.JSONDecodeError:
        return text
