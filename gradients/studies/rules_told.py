"""What the study of rules says of its table: which rule is nearer, and in how many cases."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import isnan
from statistics import mean, median
from typing import Any, NamedTuple

from .statistics import comparison, difference, in_points, spread_of
from .tables import Row, Table

EXACT, LOCAL, GAUSSIAN, SURROGATE = "exact, another batch", "exact local", "gaussian", "surrogate"
OWN, RANDOM = "readout", "random"
ONE_SIDED, JUMP = "one-sided", "one-sided with its jump"  # kernels
HIDDEN = ("weights", "delays", "loop weights", "loop delays")
DT, WIDTH = 1e-3, 2e-3  # as usual [s]
_USUAL: dict[str, Any] = {
    EXACT: {"feedback": None, "dt": None, "stepping": None, "width": None, "kernel": None},
    LOCAL: {"feedback": OWN, "dt": None, "stepping": None, "width": None, "kernel": None},
    GAUSSIAN: {
        "feedback": OWN, "dt": DT, "stepping": "analytical", "width": WIDTH, "kernel": "two-sided",
    },
    SURROGATE: {
        "feedback": OWN, "dt": DT, "stepping": "analytical", "width": None, "kernel": None,
    },
}  # fmt: skip
_CASES = ("steps", "strength", "group")  # what else of rows is equal when rules are compared

Pairs = list[tuple[Row, Row]]


def told(table: Table) -> list[str]:
    """Return the lines of the verdict."""
    looped, plain = (strengths_of(table, loops) for loops in (True, False))
    rules = (LOCAL, GAUSSIAN, SURROGATE, EXACT)
    lines = [
        f"{rule}, cosines: {'; '.join(_range(table, rule, s) for s in strengths_of(table))}"
        for rule in rules
    ]
    for one, other in ((GAUSSIAN, SURROGATE), (LOCAL, SURROGATE), (LOCAL, GAUSSIAN)):
        for strengths, name in ((looped, "with a loop"), (plain, "without")):
            pairs = _pairs(table, usual(one), usual(other), strengths)
            lines.append(f"{name}, {one} beside {other}: {_counted(pairs)}")
    lines += [_ratios(table, rule) for rule in rules[:3]]
    lines += [*_widths(table), *_stepping(table), *_feedback(table)]
    sides = _varied(table, GAUSSIAN, kernel=ONE_SIDED)
    jumps = _varied(table, GAUSSIAN, kernel=JUMP)
    lines.append(f"{ONE_SIDED} beside two-sided: {_counted(sides)}")
    lines.append(f"{JUMP} beside two-sided: {_counted(jumps)}; {_apart(jumps)}")
    nearer = _pairs(table, usual(GAUSSIAN), usual(SURROGATE), looped)
    return [*lines, _conclusion(sides, nearer)]


class Counts(NamedTuple):
    """In how many cases the first is nearer on average, as near, seen to be nearer, farther."""

    nearer: int
    equal: int
    better: int
    worse: int


def counts(pairs: Pairs) -> Counts:
    """Compare cosines of pairs of rows, seed by seed."""
    found = [difference(a["cosine_of_seeds"], b["cosine_of_seeds"]) for a, b in pairs]
    said, means = [comparison(one) for one in found], [one.mean for one in found]
    nearer, equal = sum(m > 0 for m in means), means.count(0.0)
    return Counts(nearer, equal, said.count("better"), said.count("worse"))


def _apart(pairs: Pairs) -> str:
    """Return the cosines of both, on average."""
    one, other = (mean(row["cosine"] for row in rows) for rows in zip(*pairs, strict=True))
    return f"cosines {one:.2f} and {other:.2f} on average"


def _counted(pairs: Pairs) -> str:
    found = counts(pairs)
    apart = [a["cosine"] - b["cosine"] for a, b in pairs]
    equal = f", as near in {found.equal}" if found.equal else ""
    return (
        f"nearer in {found.nearer} of {len(pairs)} cases{equal}; with an interval without 0 nearer "
        f"in {found.better}, farther in {found.worse}; cosine {median(apart):+.3f} (median)"
    )


def usual(rule: str, **others: Any) -> dict[str, Any]:
    """Return the settings of a rule, as usual but for some."""
    return {"rule": rule, **_USUAL[rule], **others}


def strengths_of(table: Table, loops: bool | None = None) -> list[float]:
    """Return the strengths, of loops that are there or not."""
    there = dict.fromkeys(row["strength"] for row in table.rows)
    return [s for s in there if loops is None or bool(s) == loops]


def _rows(table: Table, settings: dict[str, Any], **others: Any) -> list[Row]:
    return [row for row in table.where(**settings, **others) if row["group"] in HIDDEN]


def _pairs(
    table: Table,
    one: dict[str, Any],
    other: dict[str, Any],
    strengths: Sequence[float] | None = None,
) -> Pairs:
    """Return rows of two settings that have all else in common."""
    others = {tuple(row[name] for name in _CASES): row for row in _rows(table, other)}
    return [
        (row, others[case])
        for row in _rows(table, one)
        if (case := tuple(row[name] for name in _CASES)) in others
        and (strengths is None or row["strength"] in strengths)
    ]


def _range(table: Table, rule: str, strength: float) -> str:
    found = [row["cosine"] for row in _rows(table, usual(rule), strength=strength)]
    name = f"strength {strength:g}" if strength else "no loop"
    return f"{name} {min(found):.3f} to {max(found):.3f}"


def _ratios(table: Table, rule: str) -> str:
    """Tell lengths without a loop, and with the strongest."""
    first, *_, last = strengths_of(table)
    several = []
    for strength in (first, last):
        found = [row["ratio"] for row in _rows(table, usual(rule), strength=strength)]
        several.append(f"{min(found):.3g} to {max(found):.3g} at strength {strength:g}")
    return f"{rule}, length beside the exact one: {'; '.join(several)}"


def _mean(rows: Sequence[Row]) -> float:
    return mean(row["cosine"] for row in rows)


def _values(table: Table, name: str, rule: str) -> list[Any]:
    """Return the values of a setting of a rule, in order."""
    found = {row[name] for row in table.where(rule=rule)}
    return sorted(value for value in found if value is not None)


def _varied(table: Table, rule: str, **others: Any) -> Pairs:
    """Return rows of a setting beside the usual, each group and network."""
    return _pairs(table, usual(rule, **others), usual(rule))


def _widths(table: Table) -> list[str]:
    """Tell each width beside the usual one, of delays."""
    lines = []
    for width in _values(table, "width", GAUSSIAN):
        if width != WIDTH:
            pairs = _varied(table, GAUSSIAN, width=width)
            one, other = (_mean([pair[k] for pair in pairs]) for k in range(2))
            lines.append(
                f"width {1e3 * width:g} ms beside {1e3 * WIDTH:g}, delays: cosine {one:.3f} and "
                f"{other:.3f}; {_counted(pairs)}"
            )
    return lines


def _stepping(table: Table) -> list[str]:
    """Tell Euler's steps beside analytical ones, of each length."""
    lines = []
    for rule, dt in product((GAUSSIAN, SURROGATE), _values(table, "dt", SURROGATE)):
        euler, analytical = (usual(rule, dt=dt, stepping=how) for how in ("euler", "analytical"))
        pairs = _pairs(table, euler, analytical)
        cosines = [_mean([pair[k] for pair in pairs]) for k in (1, 0)]
        lines.append(
            f"{rule}, dt {1e3 * dt:g} ms: cosine {cosines[0]:.3f} by analytical steps, "
            f"{cosines[1]:.3f} by Euler's: {_counted(pairs)}"
        )
    for row in table.where(rule=SURROGATE, feedback=OWN, group="weights"):
        if row["steps"] and row.get("agreeing") is not None:
            found = spread_of(row["right_change"], row["right_change_deviation"] or 0, row["seeds"])
            lines.append(
                f"trained, strength {row['strength']:g}, {row['stepping']} steps of "
                f"{1e3 * row['dt']:g} ms: {row['agreeing']:.1%} of decisions as by events, "
                f"accuracy {in_points(found)} points beside them"
            )
    return lines


def _feedback(table: Table) -> list[str]:
    lines = []
    for rule in (LOCAL, GAUSSIAN, SURROGATE):
        pairs = _varied(table, rule, feedback=RANDOM)
        lines.append(
            f"{rule}, random feedback: cosine {_mean([a for a, _ in pairs]):.3f}, through the "
            f"readout {_mean([b for _, b in pairs]):.3f}"
        )
    return lines


def _conclusion(sides: Pairs, nearer: Pairs) -> str:
    """Say whether two sides are needed, and the rule does as well as back-propagation."""
    if isnan(difference(*(row["cosine_of_seeds"] for row in sides[0])).low):
        return "differs: because one seed has no interval"
    one, rule = counts(sides), counts(nearer)
    said = (
        f"a one-sided bump is seen to be farther in {one.worse} of {len(sides)} cases, nearer in "
        f"{one.better}; with a loop the rule is seen to be nearer to the exact gradient than "
        f"back-propagation with the same surrogate in {rule.better} of {len(nearer)} cases, "
        f"farther in {rule.worse}"
    )
    if 2 * one.worse > len(sides) and rule.better >= rule.worse:
        return f"as published: {said}"
    return f"differs: because {said}"
