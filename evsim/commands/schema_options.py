"""Options of a command from a schema: a field gives name, type, default and help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, get_args, get_type_hints

import click
import msgspec
from msgspec import inspect

from evsim.commands.options import GroupedOption
from evsim.schema import plain_type

Command = TypeVar("Command", bound=Callable[..., Any])
_NUMBERS = {inspect.IntType: int, inspect.FloatType: float}


def schema_options(schema: type[msgspec.Struct], *left_out: str) -> Callable[[Command], Command]:
    """Return a decorator that gives a command an option for every field.

    What the user leaves out is None; ranges are looked at by `evsim.schema.checked`.

    Parameters
    ----------
    schema : Struct class
        The fields.
    *left_out
        Names of fields that are no options.

    Returns
    -------
    callable
        To be put before a command, like ``click.option``.
    """

    def decorate(command: Command) -> Command:
        fields = inspect.type_info(schema).fields  # type: ignore[attr-defined]
        rules = get_type_hints(schema, include_extras=True)
        for field in reversed(fields):  # as decorators, the last one is applied first
            if field.name not in left_out:
                command = _option(field, get_args(rules[field.name])[0])(command)
        return command

    return decorate


def _option(field: inspect.Field, rule: Any) -> Callable[[Command], Command]:
    told: Any = field.type  # a description, then the type
    extra = told.extra or {}
    default = extra.get("default", field.default)
    text = told.extra_json_schema["description"]
    text += f"  [default: {default}]" if default is not None else ""
    name, kind = f"--{field.name.replace('_', '-')}", plain_type(told)
    more: dict[str, Any] = {"help": text, "cls": GroupedOption, "group": extra.get("group", "")}
    if isinstance(kind, inspect.BoolType):
        return click.option(f"{name}/--no-{name[2:]}", default=None, **more)
    if isinstance(kind, inspect.LiteralType):
        return click.option(name, type=click.Choice(_words(rule)), **more)
    more |= {"type": _NUMBERS.get(type(kind), str), "metavar": extra.get("metavar")}
    if _takes_several(told):
        more |= {"multiple": True, "callback": _one_or_several}
    return click.option(name, **more)


def _words(rule: Any) -> list[str]:
    """Return the words of a literal, or of one that may be None, in our order."""
    found = [word for one in get_args(rule) for word in get_args(one) or (one,)]
    return [word for word in found if isinstance(word, str)]


def _takes_several(kind: inspect.Type) -> bool:
    """Whether a type is that of one value or of a tuple of them."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    members = kind.types if isinstance(kind, inspect.UnionType) else ()
    return any(isinstance(plain_type(one), inspect.VarTupleType) for one in members)


def _one_or_several(_: click.Context, __: click.Parameter, values: tuple[Any, ...]) -> Any:
    """Return None, a single value as it is, or a tuple."""
    return values if len(values) > 1 else next(iter(values), None)
