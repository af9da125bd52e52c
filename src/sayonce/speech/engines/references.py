"""Reference audio, from which a voice is cloned, and how a request carries it as text."""

from __future__ import annotations

import binascii
import re
import string
from collections.abc import Iterator
from typing import Final

import msgspec

from sayonce.errors import InvalidRequest

_LONGEST_HEADER: Final = 200
_SCHEME: Final = re.compile(r"\s{0,20}data:", re.IGNORECASE)
_HEADER: Final = re.compile(
    rf"\s{{0,20}}data:(?:.{{0,{_LONGEST_HEADER}}}?;\s{{0,20}}base64\s{{0,20}},|[^,]{{0,{_LONGEST_HEADER}}},)",
    re.IGNORECASE | re.DOTALL,
)
"""Of a data URL (RFC 2397): any media type with any parameters, also those that hold a comma in quotes."""
_WHITE: Final = string.whitespace.encode()
_ALPHABETS: Final = (string.ascii_letters + string.digits + "+/-_").encode()
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_ESCAPED: Final = {f"%{ord(each):02X}": each for each in "+/=\r\n "}
_SLICE: Final = 1 << 20
"""A call that works through megabytes keeps the event loop from running, also from another thread."""


class Reference(msgspec.Struct, frozen=True):
    """The audio that a voice is cloned from: ``id`` is the digest of its samples, ``text`` the words spoken in it.

    ``audio`` is the file's bytes. Until an engine needs them it is None, and ``address`` tells under which name they are kept.
    ``copy`` is the reference's name at a server that keeps it; empty when the reference came along with the request.
    """

    id: str
    text: str = ""
    audio: bytes | None = None
    address: str = ""
    copy: str = ""

    @property
    def voice(self) -> str:
        """The voice's name while nobody has named it; clips made from it carry this name as a tag in any case."""
        return voice_of_reference(self.id)


def voice_of_reference(reference_id: str) -> str:
    """Return the name that a reference's samples give to its voice."""
    return f"clip:{reference_id[:16]}"


def decode_reference(value: str, field: str) -> bytes:
    """Return the bytes of an audio file given as a data URL or in base64.

    Line breaks, the URL-safe alphabet (RFC 4648 section 5) and missing padding are taken, as clients' encoders differ.

    Raises:
        InvalidRequest: it is something else. An address is refused too, as what is behind it may change.

    """
    header = _HEADER.match(value)
    start = header.end() if header else 0
    if header is None and _SCHEME.match(value):
        raise _wrong(field, f"it begins as a data URL and has no comma in its first {_LONGEST_HEADER} characters")
    encoded = _unescaped(value[start:]) if header else value
    try:
        return _decoded(encoded.encode("ascii"))
    except UnicodeEncodeError as error:
        raise _foreign(field, encoded[error.start], start + error.start) from None
    except binascii.Error:
        raise _misplaced(field, encoded.encode(), start) from None


def _unescaped(data: str) -> str:
    """Return what a URL has escaped, as far as base64 can have it."""
    for escape, character in _ESCAPED.items() if "%" in data else ():
        data = data.replace(escape, character).replace(escape.lower(), character)
    return data


def _decoded(encoded: bytes) -> bytes:
    digits = b"".join(each.translate(_STANDARD, _WHITE) for each in _slices(encoded)).rstrip(b"=")
    if b"=" in digits:
        raise binascii.Error("padding before the end")
    digits += b"=" * (-len(digits) % 4)
    return b"".join(binascii.a2b_base64(each, strict_mode=True) for each in _slices(digits))


def _slices(data: bytes) -> Iterator[bytes]:
    return (data[start : start + _SLICE] for start in range(0, len(data), _SLICE))


def _misplaced(field: str, encoded: bytes, start: int) -> InvalidRequest:
    """Say what is no base64: a character and its place, or a number of characters."""
    stripped = encoded.rstrip(_WHITE + b"=")
    foreign = b"".join(each.translate(None, _ALPHABETS + _WHITE) for each in _slices(stripped))
    if foreign:
        return _foreign(field, chr(foreign[0]), start + stripped.find(foreign[:1]))
    count = sum(len(each.translate(None, _WHITE)) for each in _slices(stripped))
    return _wrong(field, f"its {count:,} characters are one more than whole bytes have: some are missing")


def _foreign(field: str, character: str, index: int) -> InvalidRequest:
    return _wrong(field, f"it has {character!r} as character {index + 1:,}")


def _wrong(field: str, what: str) -> InvalidRequest:
    return InvalidRequest(
        f"{field!r} must be the audio itself, as a data URL or in base64, and {what}; addresses and paths are not taken, "
        "as what is behind them may change",
        param=field,
    )
