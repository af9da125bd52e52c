"""Text in UTF-16 or UTF-32 where samples should be: sound passes through zero, or through values that are no characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

_BOMS: Final = {
    b"\xff\xfe\0\0": "utf-32-le",
    b"\0\0\xfe\xff": "utf-32-be",
    b"\xff\xfe": "utf-16-le",
    b"\xfe\xff": "utf-16-be",
}
_ENCODINGS: Final = {"utf-16-le": 2, "utf-16-be": 2, "utf-32-le": 4, "utf-32-be": 4}
"""With the bytes of a unit."""
_LEAST_CHARACTERS, _LEAST_BEHIND_BOM = 12, 4
_LEAST_AT_END: Final = 24
"""Fewer than at the beginning, where East Asian characters are told: so few may be loud tones."""
_LEAST_FOREIGN_AT_END: Final = 14
"""Of letters that are neither ASCII nor East Asian: they are far from the spaces among them."""
_EAST_ASIAN: Final = re.compile("[\u3000-\u30ff\u4e00-\u9fff\uac00-\ud7a3\uff01-\uff5e]")
_UNSPACED: Final = re.compile("[\\t\\r\\n -~\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]+")
"""Thai, Lao, Burmese and Khmer: their numbers are those of no sound but a loud one that hardly moves."""
_WORD: Final = re.compile(r"[^\W\d_]{2}")
_BLANKS: Final = frozenset("\t\r\n\xa0\u200b\u200c\u200d\u200e\u200f\u3000")
_NO_TEXT: Final = "\ufffd"
_PUNCTUATION: Final = frozenset((0x20, 0x30))
_LATIN: Final = frozenset((0x00, 0x01, 0x02, 0x1E))
"""Pages of 256 characters."""
_MOSTLY: Final = 0.6
_LONGEST_WORD: Final = 24
_LEAST_JUMP: Final = 8
"""Of either byte from one unit to the next, on average: a tone of full scale and 100 Hz at 24 kHz moves by 3 at most."""


def begins_with_text(head: bytes) -> bool:
    """Whether these are the first bytes of a text in UTF-16 or UTF-32."""
    for mark, encoding in _BOMS.items():
        if head.startswith(mark):
            return _is_text(head[len(mark) :], encoding, _LEAST_BEHIND_BOM)
    return any(_is_text(head, encoding, _LEAST_CHARACTERS) for encoding in _ENCODINGS)


def ends_with_text(tail: bytes) -> bool:
    """Whether these last bytes are the end of a text in UTF-16 or UTF-32."""
    return any(
        _is_text(each[-_LEAST_AT_END * size :], encoding, _LEAST_AT_END)
        or _is_foreign(each[-_LEAST_FOREIGN_AT_END * size :], encoding)
        for encoding, size in _ENCODINGS.items()
        for each in _unpadded(tail, size)
    )


def _is_foreign(raw: bytes, encoding: str) -> bool:
    text = raw.decode(encoding, "replace")
    foreign = [each for each in text if each.isalpha() and not each.isascii() and not _EAST_ASIAN.match(each)]
    return len(foreign) * 2 > len(text) and _is_text(raw, encoding, _LEAST_FOREIGN_AT_END)


def texts_at_end(tail: bytes) -> Iterator[str]:
    """Yield these last bytes as text in each encoding: a message is told by its words."""
    for encoding, size in _ENCODINGS.items():
        for each in _unpadded(tail, size):
            yield each[len(each) % size :].decode(encoding, "replace")


def is_rough(raw: bytes) -> bool:
    """Tell ideographs, which jump to and fro in both bytes, from loud low tones and from quiet sound in the other order."""
    jumps = [abs(one - other) for one, other in zip(raw[:-2], raw[2:], strict=True)]
    return min(sum(jumps[half::2]) / len(jumps[half::2]) for half in (0, 1)) >= _LEAST_JUMP


def _unpadded(tail: bytes, size: int) -> Iterator[bytes]:
    """Yield these bytes without zeros at their end, but for those that may belong to the last character."""
    bare = tail.rstrip(b"\0")
    for zeros in range(min(size, len(tail) - len(bare) + 1)):
        yield bare + bytes(zeros)


def _is_text(raw: bytes, encoding: str, least: int) -> bool:
    raw = raw[: len(raw) - len(raw) % _ENCODINGS[encoding]]
    text = raw.decode(encoding, "replace")
    if len(text) < least or len(set(text)) < least // 2 or not all(map(_is_written, text)):
        return False
    if east_asian := len(_EAST_ASIAN.findall(text)):
        others = sum(not each.isascii() for each in text) - east_asian
        return least != _LEAST_AT_END and others == 0 and east_asian * 2 > len(text) and is_rough(raw)
    letters = sum(each == " " or each.isalnum() or unicodedata.category(each)[0] == "M" for each in text)
    is_in_words = letters >= _MOSTLY * len(text) and _WORD.search(text) is not None
    return is_in_words and _is_of_one_script(text) and (least == _LEAST_BEHIND_BOM or _is_parted(text))


def _is_of_one_script(text: str) -> bool:
    """Whether a text is Latin, mostly without accents, or has all its letters on one page of 256: sound moves on."""
    pages = {ord(each) >> 8 for each in text if not each.isascii()} - _PUNCTUATION
    return sum(map(str.isascii, text)) * 2 >= len(text) if pages <= _LATIN else len(pages) == 1


def _is_parted(text: str) -> bool:
    return sum(map(text.count, ' "')) * _LONGEST_WORD >= len(text) or (
        not text.isascii() and _UNSPACED.fullmatch(text) is not None
    )


@lru_cache(maxsize=4096)
def _is_written(character: str) -> bool:
    return (character.isprintable() and character != _NO_TEXT) or character in _BLANKS
