"""Latin letters without their foreign marks, for an engine that passes over letters that it does not know."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from functools import lru_cache
from typing import Final

_FOREIGN: Final = re.compile("[^\\x00-\\x7f]")
_NAME: Final = re.compile(r"LATIN (SMALL|CAPITAL) LETTER ([A-Z]{1,2})(?: WITH .*| DIGRAPH)?")
_OTHERS: Final = {
    "Ð": "D",
    "Þ": "Th",
    "ẞ": "SS",
    "Ŋ": "Ng",
    "ŋ": "ng",
    "ı": "i",
    "ſ": "s",
    "ĸ": "k",
    "ŉ": "n",
    "ƒ": "f",
}


def plain_letters(text: str, known: Collection[str]) -> str:
    """Return a text in which Latin letters that are not known are the plain ones that they are made of."""
    return _FOREIGN.sub(lambda match: match[0] if match[0] in known else _plain(match[0]) or match[0], text)


@lru_cache(maxsize=4096)
def _plain(letter: str) -> str | None:
    if not letter.isalpha():
        return None
    bare = "".join(each for each in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(each))
    return bare if bare.isascii() and bare.isalpha() else _OTHERS.get(letter) or _by_name(letter)


def _by_name(letter: str) -> str | None:
    """Return the letter in a name such as "LATIN SMALL LETTER L WITH STROKE"."""
    found = _NAME.fullmatch(unicodedata.name(letter, ""))
    if found is None:
        return None
    return found[2].lower() if found[1] == "SMALL" else found[2].capitalize()
