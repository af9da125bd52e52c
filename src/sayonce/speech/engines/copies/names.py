"""How a copy of an uploaded voice is called at a server, and how such a name is found in text from outside."""

from __future__ import annotations

import re
from typing import Final

_PREFIX: Final = "sayonce-"
_DIGITS: Final = 40
"""160 bits, in lower case, since servers do not tell it from upper case."""
_NAME: Final = re.compile(f"{_PREFIX}[0-9a-f]{{{_DIGITS}}}")
_NAMED: Final = re.compile(_NAME.pattern, re.IGNORECASE)
_TOLD: Final = re.compile(rf"(,\s*)?['\"]?{_PREFIX}[0-9a-f]+['\"]?", re.IGNORECASE)
"""In a server's words, which may be cut; the comma before it where it is one of a list."""


def copy_name(digest: bytes) -> str:
    """Return the name of the copy with this digest."""
    return _PREFIX + digest.hex()[:_DIGITS]


def is_copy_name(name: str) -> bool:
    """Whether a name is one that only Sayonce gives: a voice of any other name at a server is somebody else's."""
    return _NAME.fullmatch(name) is not None


def names_a_copy(text: str) -> bool:
    """Whether a text from outside names a copy: only Sayonce may ask for one, since it is some tenant's voice."""
    return _NAMED.search(text) is not None


def without_copies(text: str) -> str:
    """Return a server's words without the names of copies, which are of all tenants."""
    return _TOLD.sub(lambda found: "" if found[1] else "an uploaded voice", text)
