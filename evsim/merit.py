"""Which epoch of a training is the best one: one rule for its loop, its checks and its pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping


def merit(record: Mapping[str, float]) -> tuple[float, float]:
    """Return what the best epoch has the largest of: accuracy; of equals, that of less loss.

    Parameters
    ----------
    record : mapping of str to float
        How an epoch went, as in `Trainer.history`. One without ``validation_loss`` is the least
        of its equals.

    Examples
    --------
    >>> one = {"validation_accuracy": 0.9, "validation_loss": 0.4}
    >>> merit(one | {"validation_loss": 0.3}) > merit(one)
    True
    """
    return record["validation_accuracy"], -record.get("validation_loss", math.inf)
