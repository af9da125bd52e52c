"""Text where samples of 16 bits should be: errors in any encoding, told by what sound never looks like.

- Bytes without a control character: 256 bytes of sound have one in eight, unless it stays louder than an eighth of full
  scale on one side; a quiet sample's high byte is 0 or 255. Samples made of 8 bits repeat a byte to within one, or have zeros.
- 32 printable ASCII bytes at the end, mostly letters: 16 samples in a row above a quarter of full scale, on one side,
  whose low bytes are letters too, are one in 10^13 in the loudest noise.
- At the end, what begins like JSON, an event, a page or a traceback and goes on as text; and 24 bytes of Chinese: in
  UTF-8 no sound has them, in GBK twelve samples in a row would be loud, on one side, and rough.
- UTF-16: units that are all ASCII letters and spaces, or all Chinese, Japanese or Korean; sound passes through zero, or
  through what is no character.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final

import msgspec

TELLING_BYTES: Final = 256
_TAIL_BYTES: Final = 512
_LEAST_BYTES: Final = 24
_LEAST_UNITS: Final = 12
_LEAST_DIFFERENT: Final = 4
_LEAST_JUMP: Final = 8
"""Of either byte from one unit to the next, on average: a tone of full scale and 100 Hz at 24 kHz moves by 3 at most."""
_PLAIN: Final = re.compile(rb"[^\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]*")
_TAIL: Final = re.compile(rb"[\t\r\n -~]{32,}\Z")
_MESSAGE: Final = re.compile(
    rb'\{\s*"[A-Za-z_]|(?:data|event|retry): ?|</?[A-Za-z]{2,10}[ />]|<!DOCTYPE |Traceback |[A-Za-z]{3}Error:|Error: '
)
_LEAST_MESSAGE: Final = 9
_WORDS_BYTES: Final = 24
_MOST_ASCII: Final = 3
_CHINESE: Final = re.compile("[\u3000-\u303f\u4e00-\u9fff\uff01-\uff5e]")
_LETTERS: Final = re.compile(rb"[A-Za-z0-9 ]")
_MOSTLY: Final = 0.6
_WIDE: Final = re.compile("[\\t\\r\\n -~\u3000-\u30ff\u4e00-\u9fff\uac00-\ud7a3\uff01-\uff5e]*")
_WORD: Final = re.compile(r"[A-Za-z]{2}")
_BOMS: Final = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


def begins(head: bytes) -> bool:
    """Whether these are the first bytes of a text in an encoding that has ASCII in it, as GBK, Latin-1 and UTF-8 have."""
    head = head[:TELLING_BYTES]
    return len(head) >= _LEAST_BYTES and _PLAIN.fullmatch(head) is not None and not _is_of_8_bits(head)


def begins_wide(head: bytes) -> bool:
    """Whether these are the first bytes of a text in UTF-16."""
    head = head[: min(len(head), TELLING_BYTES) & ~1]
    if (encoding := _BOMS.get(head[:2])) is not None:
        return _is_wide(head[2:], encoding, 4)
    return any(_is_wide(head, encoding, _LEAST_UNITS) for encoding in _BOMS.values())


def ends(tail: bytes) -> bool:
    """Whether these last bytes are the end of a text."""
    return _ends_in_letters(tail) or ends_in_message(tail) or _ends_in_chinese(tail)


def ends_in_message(tail: bytes) -> bool:
    """Whether these last bytes, of samples in any encoding, end in JSON, an event, a page or a traceback."""
    tail = _without_padding(tail)
    return any(_is_message(tail[found.start() :]) for found in _MESSAGE.finditer(tail))


def _without_padding(tail: bytes) -> bytes:
    return tail[-_TAIL_BYTES:].rstrip(b"\0\t\r\n ")


def _ends_in_letters(tail: bytes) -> bool:
    found = _TAIL.search(tail[-_TAIL_BYTES:])
    if found is None:
        return False
    text = found.group()
    return len(_LETTERS.findall(text)) >= _MOSTLY * len(text) and not _is_of_8_bits(text)


def _is_message(raw: bytes) -> bool:
    for encoding in ("utf-8", "gb18030"):
        with suppress(UnicodeDecodeError):
            text = raw.decode(encoding)
            return _is_object(text) or (
                len(raw) >= _LEAST_MESSAGE
                and not _is_of_8_bits(raw)
                and all(each.isprintable() or each in "\t\r\n" for each in text)
            )
    return False


def _is_object(text: str) -> bool:
    with suppress(msgspec.DecodeError):
        return type(msgspec.json.decode(text)) is dict
    return False


def _ends_in_chinese(tail: bytes) -> bool:
    tail = _without_padding(tail)[-_WORDS_BYTES:]
    if len(tail) < _WORDS_BYTES:
        return False
    parts = (("utf-8", 0), ("utf-8", 1), ("utf-8", 2), ("gb2312", 0), ("gb2312", 1))
    return any(_is_chinese(tail[start:], encoding) for encoding, start in parts)  # a character may have begun before


def _is_chinese(raw: bytes, encoding: str) -> bool:
    with suppress(UnicodeDecodeError):
        text = raw.decode(encoding)
        others = len(text) - len(_CHINESE.findall(text))
        return others <= _MOST_ASCII and len(set(text)) * 2 > len(text) and _is_rough(raw)
    return False


def _is_of_8_bits(raw: bytes) -> bool:
    """Whether these are samples of 8 bits, made wider, or all near one value."""
    repeated = sum(abs(low - high) <= 1 for low, high in zip(raw[::2], raw[1::2], strict=False))
    held = sum(raw[at : at + 2] == raw[at + 2 : at + 4] for at in range(0, len(raw) - 3, 2))  # clipped sound
    return max(repeated, held) * 4 > len(raw) or min(len(set(raw[::2])), len(set(raw[1::2]))) < _LEAST_DIFFERENT


def _is_wide(raw: bytes, encoding: str, least_units: int) -> bool:
    text = raw.decode(encoding, "replace")
    if len(text) < least_units or not _WIDE.fullmatch(text) or len(set(text)) < least_units // 2:
        return False
    ascii_only = "".join(each for each in text if each.isascii())
    if len(ascii_only) * 2 < len(text):
        return _is_rough(raw)
    letters = sum(each.isalnum() or each == " " for each in ascii_only)
    is_spaced = " " in ascii_only or '"' in ascii_only
    return is_spaced and _WORD.search(ascii_only) is not None and letters >= _MOSTLY * len(ascii_only)


def _is_rough(raw: bytes) -> bool:
    """Tell ideographs, which jump to and fro in both bytes, from loud low tones and from quiet sound in the other order."""
    jumps = [abs(one - other) for one, other in zip(raw[:-2], raw[2:], strict=True)]
    return min(sum(jumps[half::2]) / len(jumps[half::2]) for half in (0, 1)) >= _LEAST_JUMP
