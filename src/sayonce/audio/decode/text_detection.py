"""Text where samples of 16 bits should be: errors in any encoding, told by patterns that sound never has.

- Bytes without a control character: 256 bytes of sound have one in eight, unless it stays louder than an eighth of full
  scale on one side; a quiet sample's high byte is 0 or 255. Samples made of 8 bits repeat a byte to within one, or have zeros.
- 32 printable ASCII bytes in a row, mostly letters: 16 samples above a quarter of full scale, on one side, with
  letters for low bytes too, are one in 10^13 in the loudest noise.
- At the end, bytes that begin like JSON, an event, a page or a traceback and go on as text; and 24 bytes of a script that is
  not Latin: in UTF-8 no sound has them, in another encoding twelve samples in a row would be loud, on one side, and rough.
- UTF-16 and UTF-32: see ``wide_text_detection``.
- A whole answer of less than 256 bytes is 5 ms of sound, too short for speech: there a word is enough.
"""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress
from typing import Final

import msgspec

from sayonce.audio.decode import wide_text_detection
from sayonce.audio.decode.wide_text_detection import is_rough

TELLING_BYTES: Final = 256
_TAIL_BYTES: Final = 512
_LEAST_BYTES: Final = 8
_LEAST_DIFFERENT: Final = 4
_MOST_FRAME_BYTES: Final = 16
"""The bytes before a text in a message: its length, its number, the name of its field."""
_PLAIN: Final = re.compile(rb"[^\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]*\Z")
_IN_LETTERS: Final = re.compile(rb"[\t\r\n -~]{32,}")
_LETTERS: Final = re.compile(rb"[A-Za-z0-9 ]")
_MOSTLY: Final = 0.6
_A_WORD: Final = re.compile(
    rb"[A-Za-z][A-Za-z ._:/-]{6}[A-Za-z]|(?:[\xe0-\xef][\x80-\xbf]{2}){4}|(?:[\xc3-\xdf][\x80-\xbf]){6}"
)
_SHORTEST_BYTES: Final = 64
_SHORT_WORD: Final = re.compile(rb"[A-Za-z]{4}|%b" % _A_WORD.pattern)
_ACCENTED: Final = re.compile(rb"[\xc3-\xc6][\x80-\xbf]|\xe1[\xba\xbb][\x80-\xbf]|\xe2\x80[\x90-\xa6]")
"""Latin letters with accents, and dashes and quotation marks, in UTF-8."""
_IN_WORDS: Final = re.compile(rb"[A-Za-z ]{16}[.!]?\Z")
_IN_LATIN: Final = re.compile(rb"[\t\r\n -~\x80-\xff]{36}\Z")
_HIGH: Final = re.compile(rb"[\x80-\xff]")
_MOST_HIGH: Final = 2
_MESSAGE: Final = re.compile(
    rb'\{\s*"[A-Za-z_]|(?:data|event|retry): ?|</?[A-Za-z]{2,10}[ />]|<!DOCTYPE |Traceback |[A-Za-z]{3}Error:|Error: '
)
_OBJECT: Final = re.compile(r'\{\s*"[A-Za-z_]')
_LEAST_MESSAGE: Final = 9
_WORDS_BYTES: Final = 24
_CONTINUES: Final = bytes(range(0x80, 0xC0))
_LEAST_FOREIGN, _MOST_BETWEEN, _MOST_ASCII = 6, 4, 3
_EAST_ASIAN: Final = re.compile("[\u3000-\u30ff\u4e00-\u9fff\uac00-\ud7a3\uff01-\uff5e]")
_EAST_ASIAN_ENCODINGS: Final = ("gb2312", "big5", "cp932")
"""The bytes of EUC-KR and EUC-JP are characters of GB 2312 too."""
_HIGH_LETTERS: Final = re.compile(rb"[\xb0-\xff ,.:]{24}")
"""Cyrillic, Greek, Hebrew or Arabic, in an encoding of one byte a letter."""


def begins_with_text(head: bytes) -> bool:
    """Whether these are the first bytes of a text in an encoding that has ASCII in it, as GBK, Latin-1 and UTF-8 have."""
    head = head[:TELLING_BYTES]
    is_whole = len(head) < TELLING_BYTES
    text = _plain_end(head.rstrip(b"\0") if is_whole else head)
    is_plain = len(text) >= max(_LEAST_BYTES, len(head) - _MOST_FRAME_BYTES) and not _is_of_8_bits(text)
    word = (_SHORT_WORD if len(head) < _SHORTEST_BYTES else _A_WORD) if is_whole else None
    return is_plain or _has_letters(head) or (word is not None and word.search(head) is not None)


def begins_with_wide_text(head: bytes) -> bool:
    """Whether these are the first bytes of a text in UTF-16 or UTF-32."""
    return wide_text_detection.begins_with_text(head[:TELLING_BYTES])


def ends_with_text(tail: bytes) -> bool:
    """Whether these last bytes are the end of a text."""
    tail = tail[-_TAIL_BYTES:]
    text = _without_padding(tail)
    return (
        _is_plain(tail[-TELLING_BYTES:])
        or _ends_in_letters(tail)
        or ends_with_message(tail)
        or _ends_in_utf8(text)
        or _ends_in_east_asian(text)
        or _ends_in_letters_of_a_byte(text)
        or wide_text_detection.ends_with_text(tail)
    )


def ends_with_message(tail: bytes) -> bool:
    """Whether these last bytes, of samples in any encoding, end in JSON, an event, a page or a traceback."""
    text = _without_padding(tail)
    return any(_is_message(text[found.start() :]) for found in _MESSAGE.finditer(text)) or any(
        _is_object(each[found.start() :])
        for each in wide_text_detection.texts_at_end(tail[-_TAIL_BYTES:])
        for found in _OBJECT.finditer(each)
    )


def _without_padding(tail: bytes) -> bytes:
    return tail[-_TAIL_BYTES:].rstrip(b"\0\t\r\n ")


def _plain_end(raw: bytes) -> bytes:
    """Return the last bytes among which is no control character."""
    found = _PLAIN.search(raw)
    return found.group() if found else b""


def _is_plain(raw: bytes) -> bool:
    return len(raw) == TELLING_BYTES == len(_plain_end(raw)) and not _is_of_8_bits(raw)


def _has_letters(raw: bytes) -> bool:
    return any(map(_is_in_letters, _IN_LETTERS.findall(raw)))


def _ends_in_letters(tail: bytes) -> bool:
    found = _IN_LETTERS.findall(tail)
    if found and tail.endswith(found[-1]):
        return _is_in_letters(found[-1])
    if (words := _IN_WORDS.search(_without_padding(tail))) is not None:
        return not _is_of_8_bits(words.group())
    latin = _IN_LATIN.search(_ACCENTED.sub(b"e", tail))
    return latin is not None and len(_HIGH.findall(latin.group())) <= _MOST_HIGH and _is_in_letters(latin.group())


def _is_in_letters(text: bytes) -> bool:
    return len(_LETTERS.findall(text)) >= _MOSTLY * len(text) and not _is_of_8_bits(text)


def _is_message(raw: bytes) -> bool:
    for encoding in ("utf-8", "gb18030", "latin-1"):
        with suppress(UnicodeDecodeError):
            text = raw.decode(encoding)
            if _is_object(text) or (
                len(raw) >= _LEAST_MESSAGE
                and not _is_of_8_bits(raw)
                and all(each.isprintable() or each in "\t\r\n" for each in text)
            ):
                return True
    return False


def _is_object(text: str) -> bool:
    with suppress(msgspec.DecodeError, UnicodeEncodeError):
        return type(msgspec.json.decode(text.strip("\0\t\r\n "))) is dict
    return False


def _ends_in_utf8(text: bytes) -> bool:
    """Whether the last bytes are letters of a script that is not Latin, with the characters between words."""
    with suppress(UnicodeDecodeError):
        words = text[-_WORDS_BYTES:].lstrip(_CONTINUES).decode()
        foreign = [each for each in words if not each.isascii() and unicodedata.category(each)[0] in "LM"]
        return (
            len(text) >= _WORDS_BYTES
            and words.isprintable()
            and len(foreign) >= max(_LEAST_FOREIGN, len(words) - _MOST_BETWEEN)
            and len(set(foreign)) * 2 > len(foreign)
        )
    return False


def _ends_in_east_asian(text: bytes) -> bool:
    last = text[-_WORDS_BYTES:]
    parts = ((encoding, start) for encoding in _EAST_ASIAN_ENCODINGS for start in (0, 1))
    return len(last) == _WORDS_BYTES and any(_is_east_asian(last[start:], encoding) for encoding, start in parts)


def _is_east_asian(raw: bytes, encoding: str) -> bool:
    with suppress(UnicodeDecodeError):
        text = raw.decode(encoding)
        others = len(text) - len(_EAST_ASIAN.findall(text))
        return others <= _MOST_ASCII and len(set(text)) * 2 > len(text) and is_rough(raw)
    return False


def _ends_in_letters_of_a_byte(text: bytes) -> bool:
    last = text[-_WORDS_BYTES:]
    return _HIGH_LETTERS.fullmatch(last) is not None and not _is_of_8_bits(last) and is_rough(last)


def _is_of_8_bits(raw: bytes) -> bool:
    """Whether these are samples of 8 bits, made wider, or all near one value."""
    repeated = sum(abs(low - high) <= 1 for low, high in zip(raw[::2], raw[1::2], strict=False))
    held = sum(raw[at : at + 2] == raw[at + 2 : at + 4] for at in range(0, len(raw) - 3, 2))  # clipped sound
    return max(repeated, held) * 4 > len(raw) or min(len(set(raw[::2])), len(set(raw[1::2]))) < _LEAST_DIFFERENT
