"""Options that take several numbers, and options in groups: what click does not have."""

from __future__ import annotations

from typing import Any

import click

_OTHERS = "Run"  # the group of what has none


class GroupedOption(click.Option):
    """An option that stands under a heading in the help of a `Command`.

    Parameters
    ----------
    group : str
        The heading.
    """

    def __init__(self, *names: Any, group: str = "", **more: Any) -> None:
        super().__init__(*names, **more)
        self.group = group


class Command(click.Command):
    """A command whose options of numbers that may be repeated take several: ``--dt 1e-3 5e-4``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the option before each further number."""
        several = [
            name
            for option in self.params
            if isinstance(option, click.Option) and option.multiple
            if option.type in (click.INT, click.FLOAT)
            for name in option.opts
        ]
        spread: list[str] = []
        name = ""  # of the option whose numbers these are
        for i, word in enumerate(args):
            if word == "--":
                spread += args[i:]
                break
            if name and spread[-1] != name and _is_number(word):
                spread.append(name)
            elif not _is_number(word):
                start = word.partition("=")[0]
                name = start if start in several else ""
            spread.append(word)
        return super().parse_args(ctx, spread)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write options under the headings of their groups, if there are any."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            record = option.get_help_record(ctx) if isinstance(option, click.Option) else None
            if record is not None:
                group = getattr(option, "group", "") or _OTHERS
                groups.setdefault(group, []).append(record)
        if len(groups) < 2:
            super().format_options(ctx, formatter)
            return
        for group in sorted(groups, key=lambda name: name == _OTHERS):
            with formatter.section(group):
                formatter.write_dl(groups[group])


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
