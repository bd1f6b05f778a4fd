"""The constructor of a layer: its model's parameters, from the table, and its kind's options.

A kind of layer (`Spiking`, `Readout`) says in ``_set_up`` which options it has, with ``cells``
standing for the parameters of the neurons. Which those are is known to `evsim.models` alone:
signatures follow from the table as it is now, docstrings as it was on import.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from evsim.models import MODELS, Parameter

CELLS = "{cells}"  # in a docstring, on a line of its own


class TableSignature:
    """What `inspect.signature` finds as the ``__signature__`` of a class of layers."""

    def __get__(self, layer: Any, kind: Any) -> inspect.Signature:
        """Return it; an object and a class without a model have none of their own."""
        if layer is not None or not hasattr(kind, "model"):
            raise AttributeError("__signature__")
        return inspect.Signature([*_positional(kind), *_keywords(kind)])


def arguments_of(kind: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
    """Return what ``_set_up`` is called with, from what a constructor was called with.

    Parameters
    ----------
    kind : type
        Of the layer.
    arguments, options
        Positional and keyword arguments.

    Returns
    -------
    dict
        Defaults filled in; ``cells`` is a dict of the neurons' parameters.

    Raises
    ------
    TypeError
        If an argument is missing or unknown.
    """
    signature = inspect.Signature(list(_positional(kind)))
    try:
        found = signature.bind(*arguments, **options)
    except TypeError as error:
        raise TypeError(f"{kind.__name__}: {error}") from None
    found.apply_defaults()
    values: dict[str, Any] = found.arguments
    cells: dict[str, Any] = {}
    for name, rule in MODELS[kind.model].parameters.items():
        value = values.pop(name)
        if value is None:
            value = cells[rule.default] if isinstance(rule.default, str) else rule.default
        cells[name] = value
    return {**values, "cells": cells}


def documented(kind: Any) -> str:
    """Return the docstring of a class with the parameters of its model filled in."""
    lines = [
        line
        for name, rule in MODELS[kind.model].parameters.items()
        for line in (f"    {name} : float or tensor [out]", f"        {_sentence(rule)}")
    ]
    return kind.__doc__.replace(f"    {CELLS}", "\n".join(lines))


def _sentence(rule: Parameter) -> str:
    text = rule.meaning[0].upper() + rule.meaning[1:] + (" [s]" if rule.is_time else "")
    if rule.infinite:
        text += "; inf for no leak"
    if isinstance(rule.default, str):
        return f"{text}; as ``{rule.default}`` if left out."
    return text + ("." if rule.default is None else f"; {rule.default:g} if left out.")


def _positional(kind: Any) -> Iterator[inspect.Parameter]:
    """Yield the parameters of ``_set_up`` with those of the model in place of ``cells``."""
    both = inspect.Parameter.POSITIONAL_OR_KEYWORD
    for parameter in list(inspect.signature(kind._set_up).parameters.values())[1:]:
        if parameter.name != "cells":
            yield parameter
            continue
        rules = MODELS[kind.model].parameters
        for name in sorted(rules, key=lambda name: rules[name].default is not None):
            default: Any = rules[name].default
            if default is None:
                yield inspect.Parameter(name, both)
            else:
                shown = None if isinstance(default, str) else default
                yield inspect.Parameter(name, both, default=shown)


def _keywords(kind: Any) -> Iterator[inspect.Parameter]:
    """Yield what must be given by keyword: what dense layers add."""
    for base in reversed(kind.__mro__):
        init = vars(base).get("__init__")
        for parameter in inspect.signature(init).parameters.values() if init else ():
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                yield parameter
