"""Marks that stand over, under or around the character before them, and that no letter of Unicode includes."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

MOST_IN_A_ROW: Final = 30
"""As many as a letter of any language has, and many more (Unicode's Stream-Safe Text Format, UAX #15)."""
_TOO_MANY: Final = re.compile(rb"[^\0]{%d}" % (MOST_IN_A_ROW + 1))
_OF_TWO_MARKS: Final = dict.fromkeys((0x0F73, 0x0F75, 0x0F81), "\u0f71")
"""Of class 0 themselves, they become marks of two other classes."""

_ACCENTS: Final = re.compile("[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]")
MEANT: Final = re.compile("[\u0305\u0334-\u0338\u033f\u0488\u0489\u1abe\u20d0-\u20ff]")
"""Bars, vectors, strokes and enclosing marks: they change the meaning of a character, not its sound."""


def too_many_marks(text: str) -> str | None:
    """Return a mark of a row of more than ``MOST_IN_A_ROW``, for which composing a text takes quadratic time."""
    found = _TOO_MANY.search(bytes(map(unicodedata.combining, text.translate(_OF_TWO_MARKS))))
    return text[found.start()] if found else None


def leave_out_accents(text: str) -> tuple[str, tuple[str, ...]]:
    """Return a composed text without the accents that are left, and each of these once; strokes and bars stay."""
    found = dict.fromkeys(mark for mark in _ACCENTS.findall(text) if not MEANT.match(mark))
    return (text.translate(dict.fromkeys(map(ord, found))), tuple(found)) if found else (text, ())


@lru_cache(maxsize=8192)
def is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")
