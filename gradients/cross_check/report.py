"""What `cross_check` found, as text for a person and as plain data for a program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from evsim.words import count, plain

from .records import (
    CrossCheck,
    Decisions,
    Order,
    SpikeErrors,
    Tolerances,
    VoltageErrors,
)


def report_text(check: CrossCheck, tolerances: Tolerances) -> str:
    """Return tables of all that was found, and whether it passes.

    Parameters
    ----------
    check : CrossCheck
        What was found.
    tolerances : Tolerances
        What is to be kept.

    Returns
    -------
    str
        Several lines.
    """
    lines = [_headline(check)]
    for name in dict.fromkeys(s.population for s in check.spikes):
        lines += _spike_lines([s for s in check.spikes if s.population == name])
        lines += [_order_line(o) for o in check.orders if o.population == name]
    lines += _voltage_lines(check.voltages)
    if check.decisions:
        lines += _decision_lines(check.decisions)
    failures = check.failures(tolerances)
    verdict = [f"FAIL: {text}" for text in failures] or ["PASS: within all tolerances"]
    return "\n".join([*lines, "", *verdict])


def report_data(check: CrossCheck, tolerances: Tolerances) -> dict[str, Any]:
    """Return all that was found as numbers, texts, lists and dictionaries.

    Parameters
    ----------
    check, tolerances
        As for `report_text`.

    Returns
    -------
    dict
        The fields of `CrossCheck`, times in seconds, with ``"tolerances"``, ``"failures"``
        and ``"passed"``.
    """
    failures = check.failures(tolerances)
    return {
        **asdict(check),
        "tolerances": asdict(tolerances),
        "failures": failures,
        "passed": not failures,
    }


def _headline(check: CrossCheck) -> str:
    events = "events" if check.trained == "exact" else "events, delays and input rounded to steps,"
    recordings = count(check.n_recordings, "recording")
    return (
        f"{recordings} of {check.duration:g} s: {events} against a grid "
        f"of {', '.join(_ms(dt) for dt in check.dt)} ms"
    )


def _spike_lines(spikes: Sequence[SpikeErrors]) -> list[str]:
    head = ["dt", "events", "grid", "matched", "missing", "extra", "median", "largest", "window"]
    rows = [
        [
            _ms(s.dt), f"{s.n_events:,}", f"{s.n_grid:,}", f"{s.matched:,}", f"{s.missing:,}",
            f"{s.extra:,}", _error(s.median_error), _error(s.largest_error), _ms(s.window),
        ]
        for s in spikes
    ]  # fmt: skip
    early = [
        [
            _ms(s.dt), f"{s.early_spikes:,}", _error(s.early_error),
            _error(s.largest_early_error), str(s.first_loss or "no loss"),
        ]
        for s in spikes
    ]  # fmt: skip
    name = plain(spikes[0].population)
    return [
        "",
        f"{name}: spikes, errors of their times [ms]",
        *table(head, rows),
        f"{name}: spikes before the first loss of their recording, and the first loss of all",
        *table(["dt", "spikes", "mean", "largest", "first loss"], early, texts=1),
    ]


def _order_line(order: Order) -> str:
    where = f"{plain(order.population)}: "
    if order.order is None:
        if order.dt and not any(order.error):
            return where + f"no error to fit an order to, {order.spikes:,} spikes"
        return where + "no order of convergence: too few steps, or spikes before a loss"
    return where + (
        f"order of convergence {order.order:.3g}, fitted from {_ms(order.dt[0])} to "
        f"{_ms(order.dt[-1])} ms to the same {order.spikes:,} spikes before any loss"
    )


def _voltage_lines(voltages: Sequence[VoltageErrors]) -> list[str]:
    head = ["population", "dt", "mean", "largest", "mean |V|"]
    rows = [
        [plain(v.population), _ms(v.dt), *(f"{x:.3g}" for x in (v.mean, v.largest, v.typical))]
        for v in voltages
    ]
    return ["", "voltage, absolute error", *table(head, rows)]


def _decision_lines(decisions: Sequence[Decisions]) -> list[str]:
    head = ["dt", "events", "grid", "rounded", "events=grid", "events=rounded", "grid=rounded"]
    rows = [
        [
            _ms(d.dt),
            *map(_share, (d.exact_accuracy, d.grid_accuracy, d.rounded_accuracy)),
            *map(_share, (d.exact_grid, d.exact_rounded, d.grid_rounded)),
        ]
        for d in decisions
    ]
    return [
        "",
        "decisions: accuracy, and how often two agree (rounded: events with delays, refractory "
        "periods and input rounded to steps)",
        *table(head, rows),
    ]


def table(head: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 0) -> list[str]:
    """Return aligned lines; the last ``texts`` columns are text, the others numbers.

    Examples
    --------
    >>> table(["dt", "n"], [["0.1", "1,000"], ["10", "2"]])
    ['   dt      n', '  0.1  1,000', '   10      2']
    """
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    numbers = len(head) - texts
    return [
        "  "
        + "  ".join(
            cell.rjust(width) if i < numbers else cell
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    ]


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.4g}"


def _error(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1e3 * seconds:.3g}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
