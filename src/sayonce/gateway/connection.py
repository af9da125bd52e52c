"""The side of a connection that its bounds, its answers and its parsers see; `protocol` has the connection itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final
from typing import Protocol as Interface

import httptools

from sayonce.gateway.refusals import RequestRefusal

HELD: Final = "sayonce.held"
"""The key of a connection's ``Held`` in a request's scope."""
AT_ONCE: Final = "sayonce.at_once"
"""The key of the function that sends a whole answer by one call: ``BoundedProtocol.answer_at_once``."""

AnswerNow = Callable[[Any, bytes, Any], bool]
"""Answers a request that has come whole, given as its scope, its body and uvicorn's ``send``, and returns True; False where
that takes more than a moment."""


class Held:
    """The memory that an answer holds while its client reads: a body that several clients read is held once.

    Attributes:
        of: an object that is the same for all clients that read the same body.
        count: returns the bytes that the answer holds now; None while it holds nothing but what is unsent.

    """

    __slots__ = ("count", "of")

    def __init__(self) -> None:
        self.of: object = None
        self.count: Callable[[], int] | None = None


class Connection(Interface):
    """A connection as the bounds of all connections see it."""

    held: Held
    last: float
    """When its last byte came."""
    read_at: float
    """When its client last read."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...

    @property
    def transport(self) -> asyncio.Transport: ...

    @property
    def unfinished(self) -> bool:
        """Whether a request has begun and is not whole."""

    @property
    def waits(self) -> bool:
        """Whether ending the connection loses nothing but time: it is idle, refused, or its request is not whole."""

    def check_times(self, now: float) -> None:
        """End a request or an answer that takes too long."""

    def refuse(self, refusal: RequestRefusal) -> None:
        """Answer in the application's place and end the connection; an answer under way is broken off instead."""

    def give_way(self) -> None:
        """End for another connection's sake."""

    def cut(self) -> None:
        """End at once."""


class ParserCallbacks(Interface):
    """A connection as an HTTP parser sees it."""

    scope: Any
    parser: httptools.HttpRequestParser

    def on_message_begin(self) -> None: ...
    def on_url(self, url: bytes) -> None: ...
    def on_header(self, name: bytes, value: bytes) -> None: ...
    def on_headers_complete(self) -> None: ...
    def on_body(self, body: bytes) -> None: ...
    def on_message_complete(self) -> None: ...
