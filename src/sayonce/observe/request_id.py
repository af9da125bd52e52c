"""The id of a request, by which a client finds it in our log: its own ``x-request-id``, or one that is made."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final

HEADER: Final = b"x-request-id"
current: Final[ContextVar[bytes]] = ContextVar("request_id", default=b"")
"""That of the request which is being answered; its log lines have it."""

_ID: Final = re.compile(rb"[0-9A-Za-z._:/+=@~,;-]{1,128}")
_bits: Final = random.Random().getrandbits  # noqa: S311 (it names a request, and guards nothing)


def of(headers: Mapping[bytes, bytes]) -> bytes:
    """Return the id that a client gave, where it can stand in a log line, else a new one."""
    given = headers.get(HEADER)
    return given if given is not None and _ID.fullmatch(given) else b"req_%016x" % _bits(64)
