"""In which scripts a text is written, by the names that Unicode gives its letters."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final

from sayonce.text.combining_marks import is_mark

EVERYWHERE: Final = frozenset(
    (
        "LATIN", "FULLWIDTH", "MODIFIER", "FEMININE", "MASCULINE", "MICRO", "MATHEMATICAL", "SCRIPT", "INFORMATION",
        "COMBINING", "VARIATION", "ENCLOSING",
    )
)  # fmt: skip
"""Latin, and letters and marks that are signs in every script."""
_FIRST_FOREIGN: Final = "\u0250"
_SPELLED: Final = {"HALFWIDTH": "KATAKANA", "IDEOGRAPHIC": "CJK", "VEDIC": "DEVANAGARI"}

_PEOPLES: Final = {
    "CJK": "a Chinese character",
    "MYANMAR": "Burmese",
    "HANGUL": "Korean",
    "CANADIAN": "a Canadian syllabic",
}
"""How people call a script, where it is not by the word that begins the names of its letters in Unicode."""


@lru_cache(maxsize=8192)
def script_of(character: str) -> str | None:
    """Return the script of a letter or of a letter's mark, such as "CYRILLIC"; None for signs, which every voice may get."""
    if character < _FIRST_FOREIGN or not (character.isalpha() or is_mark(character)):
        return None
    first = unicodedata.name(character, "UNKNOWN").replace("-", " ").split(" ", 1)[0]
    return None if first in EVERYWHERE else _SPELLED.get(first, first)


def script_name(script: str) -> str:
    """Return the name of a script for a message that says of a letter what it is, such as "Cyrillic"."""
    return _PEOPLES.get(script) or script.title()


def scripts_of(text: str) -> dict[str, str]:
    """Return the scripts of a text's letters beside Latin, each with the first letter of it."""
    if text.isascii():
        return {}
    found: dict[str, str] = {}
    for character in dict.fromkeys(text):
        script = script_of(character)
        if script is not None:
            found.setdefault(script, character)
    return found
