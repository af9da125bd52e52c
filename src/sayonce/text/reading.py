"""Read a text for an engine: return the text to speak, and what was left out."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import msgspec

from sayonce.text.combining_marks import leave_out_accents
from sayonce.text.english_numbers import write_figures, write_groups
from sayonce.text.numerals import write_digits
from sayonce.text.ornaments import leave_out_markers, leave_out_ornaments, leave_out_unseen, told
from sayonce.text.signs import unknown
from sayonce.text.spelling import Unspeakable, spell

_TOLD: Final = 16
_CHINESE: Final = "〇零一二三四五六七八九"
_ZERO: Final = re.compile(f"(?<=[{_CHINESE}])[○◯]+(?=[{_CHINESE}年月日号號室期届屆])")
"""A circle in a Chinese number, as many write its zero."""


class Reading(msgspec.Struct, frozen=True):
    """The text that an engine is to speak, and what was left out of it: ornaments, blocks of code."""

    text: str
    ignored: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """What was left out, as a header and an error list it: ornaments by code point."""
        return told(self.ignored, _TOLD)


def read(text: str, language: str | None, *, own_money: str = "", figures: bool = False) -> Reading:
    """Return the text to speak for a text in NFC; ``language`` None leaves its signs to the engine.

    ``figures`` is for an engine that reads English numbers by their values.

    Raises:
        Unspeakable: it has a sign for which the language has no words.

    """
    ascii_only = text.isascii()
    if not ascii_only:
        if (strange := unknown(text)) is not None:
            raise Unspeakable(strange)
        text = write_digits(_ZERO.sub(lambda match: "〇" * len(match[0]), text))
    rest, ignored = leave_out_ornaments(text)
    if not ascii_only:
        rest = leave_out_unseen(rest)
    if language is not None:
        rest, accents = (rest, ()) if ascii_only else leave_out_accents(rest)
        rest = spell(write_groups(rest) if figures else rest, language, own_money=own_money)
        rest, markers = leave_out_markers(write_figures(rest) if figures else rest)
        ignored += accents + markers
    return Reading((rest if ascii_only else unicodedata.normalize("NFC", rest)).strip(), ignored)
