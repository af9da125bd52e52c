"""The difference of two texts that look alike: characters by their code points."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import takewhile
from typing import Final

from sayonce.cli.language import phrase

_COMPARED: Final = 1000
"""Characters: the comparison takes their square."""
_SHOWN_CHANGES: Final = 8
_SHOWN_CHARACTERS: Final = 6


def changes(this: str, other: str) -> Iterator[str]:
    """Yield a line for each place at which two texts differ, but for those where English letters say all."""
    start = _alike(this, other)
    end = min(_alike(this[::-1], other[::-1]), len(this) - start, len(other) - start)
    ours, theirs = this[start : len(this) - end], other[start : len(other) - end]
    found = [
        phrase(
            "character {position}: {these} → {those}", position=start + position + 1, these=_points(a), those=_points(b)
        )
        for position, a, b in _pieces(ours, theirs)
        if not (_plain(a) and _plain(b))
    ]
    yield from found[:_SHOWN_CHANGES]
    if len(found) > _SHOWN_CHANGES:
        yield phrase("and {count} places more", count=len(found) - _SHOWN_CHANGES)


def _alike(this: str, other: str) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(this, other, strict=False)))


def _pieces(this: str, other: str) -> Iterator[tuple[int, str, str]]:
    if max(len(this), len(other)) > _COMPARED:
        yield 0, this, other
        return
    for kind, a, b, c, d in SequenceMatcher(None, this, other, autojunk=False).get_opcodes():
        if kind != "equal":
            yield a, this[a:b], other[c:d]


def _plain(text: str) -> bool:
    return text.isascii() and (not text or text.isalnum())


def _points(text: str) -> str:
    if not text:
        return phrase("nothing")
    shown = ", ".join(map(_point, text[:_SHOWN_CHARACTERS]))
    return shown if len(text) <= _SHOWN_CHARACTERS else f"{shown}, …"


def _point(character: str) -> str:
    """Return a character, where it can be seen by itself, with its code point, and its name otherwise."""
    seen = character.isprintable() and not character.isspace() and not unicodedata.combining(character)
    number = f"U+{ord(character):04X}"
    return f"{character} {number}" if seen else f"{number} {unicodedata.name(character, '')}".rstrip()
