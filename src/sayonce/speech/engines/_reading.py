"""Texts as the embedded engines read them: what has no words, or is in a script that a voice cannot read, is refused."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from typing import Final

from sayonce.errors import InvalidRequest
from sayonce.text.reading import Reading, read
from sayonce.text.scripts import scripts_of
from sayonce.text.signs import count_signs
from sayonce.text.spelling import Unspeakable

_MOST_SIGNS: Final = 1024
"""A text of 4,096 characters is read on the event loop, in less than 20 ms."""


def read_text(text: str, language: str | None, *, engine: str, own_money: str = "", figures: bool = False) -> Reading:
    """Return what is to be spoken of a text.

    Raises:
        InvalidRequest: it has a sign for which the language has no words; the message names it. Or it has too many signs.

    """
    if len(text) > _MOST_SIGNS and count_signs(text) > _MOST_SIGNS:
        raise InvalidRequest(f"'input' has more than {_MOST_SIGNS} signs; write them in words", param="input")
    try:
        return read(text, language, own_money=own_money, figures=figures)
    except Unspeakable as error:
        raise silent_sign(error.args[0], engine) from None


def silent_sign(sign: str, engine: str) -> InvalidRequest:
    """Return the refusal of a sign that would be left out of what is heard."""
    return InvalidRequest(
        f"'input' has {named(sign)}, which {engine!r} would leave out; write it in words, or leave it out",
        param="input",
    )


def named(character: str) -> str:
    """Return a character as errors name it: as it is, by its code point and by its name."""
    return f"{character!r} (U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip() + ")"


def unread_script(text: str, read_scripts: Collection[str]) -> tuple[str, str] | None:
    """Return the first script of a text that is not among those that are read, and the first letter in it."""
    return next((found for found in scripts_of(text).items() if found[0] not in read_scripts), None)
