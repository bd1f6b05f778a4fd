"""The constructor of a layer: its model's parameters, from the table, and its kind's options.

A kind of layer (`Spiking`, `Readout`) says in ``_set_up`` which options it has, with ``cells``
standing for the parameters of the neurons. Which those are is known to `evsim.models` alone.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from copy import deepcopy
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch

from evsim.models import MODELS, Model, Parameter

CELLS = "{cells}"  # in a docstring, on a line of its own
_BOTH = inspect.Parameter.POSITIONAL_OR_KEYWORD


class TableSignature:
    """The ``__signature__`` of classes whose constructor is made here."""

    def __get__(self, layer: Any, kind: Any) -> inspect.Signature:
        """Return it; classes with a constructor of their own, and objects, have another."""
        if layer is not None or not hasattr(kind, "model") or _own_class(kind) != _init_class(kind):
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
    try:
        found = inspect.Signature(list(_positional(kind))).bind(*arguments, **options)
    except TypeError as error:
        raise TypeError(f"{kind.__name__}: {error}{_meant(kind, options)}") from None
    found.apply_defaults()
    values: dict[str, Any] = found.arguments
    cells: dict[str, Any] = {}
    for name, rule in _model(kind).parameters.items():
        value = values.pop(name)
        cells[name] = rule.usual(cells) if value is None and rule.follows else value
    return {**values, "cells": cells}


def arguments_for(layer: Any) -> dict[str, Any]:
    """Return the arguments that build a layer like this one, of evsim's own class.

    The neurons' parameters are as they are now; weights and delays are not among them.
    """
    return {
        name: deepcopy(_argument(layer, name))
        for name in inspect.signature(_own_class(type(layer))).parameters
    }


def described(layer: Any) -> list[str]:
    """Return the arguments of a layer that are not the usual ones, as a user would write them.

    The range of an array stands for it; limits of delays are told where there are such delays.
    """
    found = []
    for name, parameter in inspect.signature(_own_class(type(layer))).parameters.items():
        if parameter.kind is not _BOTH or name in ("in_features", "out_features", "dtype"):
            continue
        value, usual = _argument(layer, name), parameter.default
        rule = _model(layer).parameters.get(name)
        if rule is not None and rule.follows:
            usual = getattr(layer, str(rule.default))
        if not _same(value, usual):
            found.append(f"{name}={_short(value)}")
    return found


def documented(kind: Any) -> str:
    """Return the docstring of a class with the parameters of its model filled in."""
    lines = [
        line
        for name, rule in _model(kind).parameters.items()
        for line in (f"    {name} : float or tensor [out]", f"        {_sentence(rule)}")
    ]
    return kind.__doc__.replace(f"    {CELLS}", "\n".join(lines))


def _meant(kind: Any, options: dict[str, Any]) -> str:
    """Return what may have been meant by the first keyword that is unknown, as a question."""
    known = [parameter.name for parameter in (*_positional(kind), *_keywords(kind))]
    unknown = next((name for name in options if name not in known), "")
    near = get_close_matches(unknown, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _argument(layer: Any, name: str) -> Any:
    if name in getattr(layer, "cells", ()):
        return getattr(layer, name).detach()
    if name == "dtype":
        return (layer.weight if hasattr(layer, "weight") else layer.delay).dtype
    if name == "delay":
        return layer.delay_kind
    if name in ("max_delay", "recurrent_max_delay"):
        learnt = name.replace("max_delay", "delay") in layer.delay_limits()
        return getattr(layer, name) if learnt else None
    if name == "recurrent_delay" and layer.recurrent is not None:
        fixed = layer.recurrent_delay
        return layer.recurrent_delay_kind or (fixed if fixed.is_meta else float(fixed))
    if name == "recurrent_delay":
        return inspect.signature(type(layer)._set_up).parameters[name].default
    return getattr(layer, name)


def _same(value: Any, usual: Any) -> bool:
    if torch.is_tensor(value):
        return (
            not value.is_meta
            and isinstance(usual, (float, torch.Tensor))
            and bool((value == usual).all())
        )
    return isinstance(value, type(usual)) and bool(value == usual)


def _short(value: Any) -> str:
    if isinstance(value, (torch.Tensor, np.ndarray)):
        if value.dtype in (torch.bool, bool):
            return f"{int(value.sum())} of {math.prod(value.shape)}"
        if torch.is_tensor(value) and value.is_meta:
            return "..."
        low, high = float(value.min()), float(value.max())
        return f"{low:g}" if low == high else f"{low:g}...{high:g}"
    return f"{value:g}" if isinstance(value, float) else repr(value)


def _model(kind: Any) -> Model:
    if kind.model not in MODELS:
        raise ValueError(f"{kind.__name__}: no model {kind.model!r} in evsim.models.MODELS")
    return MODELS[kind.model]


def _is_ours(kind: Any) -> bool:
    return kind.__module__.partition(".")[0] == __name__.partition(".")[0]


def _own_class(kind: Any) -> Any:
    """Return the class of evsim that a class, a user's or torch's, is made of."""
    return next(base for base in kind.__mro__ if _is_ours(base))


def _init_class(kind: Any) -> Any:
    """Return the same if no class in between has a constructor of its own."""
    first = next(base for base in kind.__mro__ if "__init__" in vars(base))
    return _own_class(kind) if _is_ours(first) else first


def _sentence(rule: Parameter) -> str:
    text = rule.meaning[0].upper() + rule.meaning[1:] + (" [s]" if rule.is_time else "")
    if rule.infinite:
        text += "; inf for no leak"
    if rule.follows:
        return f"{text}; as ``{rule.default}`` if left out."
    return text + ("." if rule.default is None else f"; {rule.default:g} if left out.")


def _positional(kind: Any) -> Iterator[inspect.Parameter]:
    """Yield the parameters of ``_set_up`` with those of the model in place of ``cells``."""
    for parameter in list(inspect.signature(kind._set_up).parameters.values())[1:]:
        if parameter.name == "cells":
            rules = _model(kind).parameters
            # Python wants those without a default first.
            for name in sorted(rules, key=lambda name: rules[name].default is not None):
                yield _cell(name, rules[name])
        else:
            yield parameter


def _cell(name: str, rule: Parameter) -> inspect.Parameter:
    value = "float | Sequence[float] | Tensor"
    if rule.default is None:
        return inspect.Parameter(name, _BOTH, annotation=value)
    default = None if rule.follows else rule.default
    return inspect.Parameter(name, _BOTH, default=default, annotation=value)


def _keywords(kind: Any) -> Iterator[inspect.Parameter]:
    """Yield what must be given by keyword: what dense layers add."""
    for base in filter(_is_ours, reversed(kind.__mro__)):
        init = vars(base).get("__init__")
        for parameter in inspect.signature(init).parameters.values() if init else ():
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                yield parameter
