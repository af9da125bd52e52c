"""The protocol of a connection to Redis: commands, answers, and errors as those of redis-py.

RESP2, see https://redis.io/docs/latest/develop/reference/protocol-spec/.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from redis import exceptions

from sayonce._version import __version__

T = TypeVar("T")
Login = tuple[str | None, str | None]
Value = bytes | bytearray | memoryview
Read = Callable[[Value], T]
"""Reads something out of a value, at once: its memory is used again for the next. It may raise ``Refused``."""

MAX_VALUE_BYTES: Final = 64_000_000
"""The longest sealed entry: a longer value is another program's, and no memory is taken for it."""

_NO_CLIENTS: Final = "ERR max number of clients reached"
_ERRORS: Final[dict[str, type[exceptions.RedisError]]] = {
    "ASK": exceptions.AskError,
    "CLUSTERDOWN": exceptions.ClusterDownError,
    "LOADING": exceptions.BusyLoadingError,
    "MASTERDOWN": exceptions.MasterDownError,
    "MOVED": exceptions.MovedError,
    "NOAUTH": exceptions.AuthenticationError,
    "NOPERM": exceptions.NoPermissionError,
    "NOSCRIPT": exceptions.NoScriptError,
    "OOM": exceptions.OutOfMemoryError,
    "READONLY": exceptions.ReadOnlyError,
    "TRYAGAIN": exceptions.TryAgainError,
    "WRONGPASS": exceptions.AuthenticationError,
}


class ValueTooLarge(exceptions.InvalidResponse):
    """A value is longer than any entry."""


class InTheWay(exceptions.ConnectionError):
    """The connection was closed, as a value that is too long to be read came before the answer."""


def hello(login: Login, db: int) -> list[tuple[bytes, bool]]:
    """Return the commands that begin a connection, and whether each has to succeed."""
    username, password = login
    commands: list[tuple[bytes, bool]] = []
    if username or password:
        commands.append((command_of("AUTH", *([username] if username else []), password or ""), True))
    if db:
        commands.append((command_of("SELECT", str(db)), True))
    # Servers before 7.2, and users without the right, only refuse it.
    return [
        *commands,
        (command_of("CLIENT", "SETINFO", "LIB-NAME", "sayonce"), False),
        (command_of("CLIENT", "SETINFO", "LIB-VER", __version__), False),
    ]


def command_of(*words: str | bytes) -> bytes:
    """Return a command in the protocol's words."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        encoded = word.encode() if isinstance(word, str) else word
        parts += (b"$%d\r\n" % len(encoded), encoded, b"\r\n")  # a clip is copied once
    return b"".join(parts)


def error_of(line: str) -> exceptions.RedisError:
    """Return the client's exception for an error that the server sent."""
    code, _, message = line.partition(" ")
    known = _ERRORS.get(code)
    if known is not None:
        return known(message)
    return exceptions.ConnectionError(line) if line == _NO_CLIENTS else exceptions.ResponseError(line)


def is_wrong_type(error: Exception) -> bool:
    """Whether another program's list or hash is under the name, which makes it a miss."""
    return str(error).startswith("WRONGTYPE")


def result_of(answer: T | Exception | None) -> T | None:
    """Return an answer, None for a value of another type than a string; raise an error."""
    if isinstance(answer, Exception):
        if is_wrong_type(answer):
            return None
        raise answer
    return answer
