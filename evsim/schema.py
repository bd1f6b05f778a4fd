"""Values from outside, compared with a schema before anything is done with them.

A schema is a `msgspec.Struct`: names, types, ranges, defaults and descriptions, written once.
msgspec decides what fits; the sentences are ours, for they name the field, the value and the
rule. The options of a command follow from the same fields (`evsim.commands.schema_options`).
"""

from __future__ import annotations

from sys import float_info
from typing import Annotated, Any, TypeVar, get_type_hints

import msgspec
import numpy as np
from msgspec import Meta, inspect

Schema = TypeVar("Schema", bound=msgspec.Struct)

Finite = Annotated[float, Meta(ge=-float_info.max, le=float_info.max)]
NotNegative = Annotated[float, Meta(ge=0, le=float_info.max)]
Share = Annotated[float, Meta(ge=0, le=1)]
_SHOWN, _FEW = 40, 16  # characters of a text, numbers, in a message


def checked(schema: type[Schema], values: object, where: str = "", whole: bool = True) -> Schema:
    """Return what some values from outside say.

    Parameters
    ----------
    schema : Struct class
        The fields.
    values : object
        Must be a dictionary of them.
    where : str
        Stands before the names of fields in messages, ``"best"`` for ``"best.epoch"``.
    whole : bool
        Whether fields with a default must be there, too.

    Returns
    -------
    Struct
        With values of the types of the schema.

    Raises
    ------
    ValueError
        If a field is unknown, missing, of another type or out of its range.

    Examples
    --------
    >>> class Point(msgspec.Struct):
    ...     x: Finite
    ...     n: Annotated[int, Meta(ge=1, le=9)] = 1
    >>> checked(Point, {"x": 2}, whole=False)
    Point(x=2.0, n=1)
    >>> checked(Point, {"x": 2.5, "n": 0}, "points[3]")
    Traceback (most recent call last):
        ...
    ValueError: points[3].n = 0, must be a whole number from 1 to 9
    """
    if not isinstance(values, dict):
        raise ValueError(f"{where or 'it'} is {shown(values)}, must be a dictionary")
    before = f"{where}." if where else ""
    fields = inspect.type_info(schema).fields  # type: ignore[attr-defined]
    known = {field.name: field.required or whole for field in fields}
    for name in values:
        if not isinstance(name, str) or name not in known:
            raise ValueError(f"{before}{shown(name)}: is unknown; known are {', '.join(known)}")
    for name, needed in known.items():
        if needed and name not in values:
            raise ValueError(f"{before}{name}: is missing")
    rules = get_type_hints(schema, include_extras=True)
    return schema(**{n: fitting(f"{before}{n}", v, rules[n]) for n, v in values.items()})


def check_fields(struct: msgspec.Struct) -> None:
    """Raise a `ValueError` unless every field of an object keeps to its schema."""
    for name, rule in get_type_hints(type(struct), include_extras=True).items():
        fitting(name, getattr(struct, name), rule)


def fitting(name: str, value: Any, rule: Any) -> Any:
    """Return a value as its type says, or raise a `ValueError` that tells the rule."""
    try:
        return msgspec.convert(value.item() if isinstance(value, np.generic) else value, rule)
    except (msgspec.ValidationError, OverflowError, UnicodeError) as error:
        wanted = _meaning(inspect.type_info(rule))
        raise ValueError(f"{name} = {shown(value)}, must be {wanted}") from error


def shown(value: object) -> str:
    """Return a value as a message shows it: short, whatever it is.

    Examples
    --------
    >>> shown("abc"), shown([1, [2]]), shown(2**70)
    ("'abc'", 'a list', 'an integer of 71 bits')
    """
    if isinstance(value, int) and value.bit_length() > 64:
        return f"an integer of {value.bit_length()} bits"
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if isinstance(value, tuple) and all(type(one) is int for one in value[:_FEW]):
        return " ".join(map(shown, value[:_FEW])) + " ..." * (len(value) > _FEW)
    if isinstance(value, str):
        return repr(value if len(value) <= _SHOWN else f"{value[:_SHOWN]}...")
    return f"a {type(value).__name__}"


def plain_type(kind: inspect.Type) -> inspect.Type:
    """Return a type without its description, and without None where that is allowed."""
    if isinstance(kind, inspect.Metadata):
        return plain_type(kind.type)
    if isinstance(kind, inspect.UnionType):
        return plain_type(next(t for t in kind.types if not isinstance(t, inspect.NoneType)))
    return kind


def _meaning(kind: inspect.Type) -> str:
    """Return what values of a type are, in words."""
    if isinstance(kind, inspect.Metadata):
        return _meaning(kind.type)
    if isinstance(kind, inspect.UnionType):
        return " or ".join(map(_meaning, kind.types))
    if isinstance(kind, inspect.LiteralType):
        return f"one of {', '.join(map(str, kind.values))}"
    if isinstance(kind, inspect.IntType):
        return f"a whole number{_range(kind)}"
    if isinstance(kind, inspect.FloatType):
        return f"a finite number{_range(kind)}"
    if isinstance(kind, inspect.StrType):
        return f"a text of {kind.min_length or 0} to {kind.max_length:,} characters"
    if isinstance(kind, inspect.VarTupleType):
        return f"{kind.min_length} to {kind.max_length} of them"
    if isinstance(kind, inspect.CustomType):
        return f"a {kind.cls.__name__}"
    names = {"BoolType": "true or false", "NoneType": "null", "ListType": "a list"}
    return names.get(type(kind).__name__, "a dictionary")


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    most = "" if kind.le in (None, float_info.max) else f"{kind.le:,}".removesuffix(".0")
    if kind.gt is not None:
        below = f" and below {kind.lt:g}" if kind.lt is not None else ""
        return f" above {kind.gt:g}" + (f" and at most {most}" if most else below)
    if kind.lt is not None:
        return f" of at least {kind.ge:g} and below {kind.lt:g}"
    if kind.ge in (None, -float_info.max):
        return ""
    return f" from {kind.ge:,} to {most}" if most else f" of at least {kind.ge:g}"
