"""How exact are the exact gradients? Print their errors on networks solved elsewhere.

    python examples/gradient_errors.py

Two networks whose gradients were computed in 40-digit arithmetic (tests/data/oracle), a
recurrent pair with a readout whose gradients are known to 13 digits, and the maximum of a
voltage that stands on an arrival. Each line is a group of gradients: its largest error over
its largest entry, and the limit. The exit status is 1 if any error is above its limit.
"""

import sys
from pathlib import Path

# The networks and their numbers are those of the tests.
sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

from gradient_cases import PAIR_GRADIENTS, kink_rows, oracle_rows, pair_rows  # noqa: E402


def tables():
    """Yield the name of every network with its rows (loss, group, error, limit)."""
    yield "feedforward, 40-digit arithmetic", oracle_rows("grad1_feedforward")
    yield "recurrent, 40-digit arithmetic", oracle_rows("grad2_recurrent")
    for loss in PAIR_GRADIENTS:
        yield "recurrent pair with a readout, to the last printed digit", pair_rows(loss)
    yield "maximum on an arrival, to the last digit", kink_rows()


def print_tables():
    """Print every row; return whether all errors are within their limits."""
    good, last = True, None
    for name, rows in tables():
        if name != last:
            print(f"\n{name}\n  {'loss':<24} {'of / by':<12} {'error':>8} {'limit':>8}")
            last = name
        for loss, group, error, limit in rows:
            within = error <= limit  # which NaN is not
            good = good and within
            mark = "" if within else "  TOO LARGE"
            print(f"  {loss:<24} {group:<12} {error:8.1e} {limit:8.1e}{mark}")
    return good


if __name__ == "__main__":
    good = print_tables()
    print("\nall within their limits" if good else "\nsome errors are too large")
    sys.exit(0 if good else 1)
