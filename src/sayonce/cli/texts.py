"""A command that takes a text, and says how to give one that begins like an option."""

from __future__ import annotations

from typing import Any, Final

import typer
from typer.core import TyperCommand

from sayonce.cli.language import phrase

USAGE_ERROR: Final[Any] = typer.BadParameter.__bases__[0]
"""``UsageError``, which typer has from click, or from its own copy of it."""


class TextCommand(TyperCommand):
    """A command with a text as its argument; a text such as ``-5 degrees`` is taken for options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = list(args)  # parsing empties the list
        try:
            return super().parse_args(ctx, args)
        except USAGE_ERROR as error:
            if _takes_for_option(getattr(error, "option_name", ""), given):
                error.message += "\n" + phrase("A text that begins with - goes behind --, after all options: -- TEXT")
            raise


def _takes_for_option(option: str, given: list[str]) -> bool:
    """Whether what was taken for an unknown option may be a text: it has one dash alone, or it has spaces."""
    spaced = any(each.startswith("-") and " " in each for each in given)
    return option.startswith("-") and (spaced or not option.startswith("--"))
