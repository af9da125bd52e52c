"""Requests as the command line gives them: by options, as JSON, or in a file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from sayonce.cli.language import phrase
from sayonce.cli.options import pairs
from sayonce.errors import ConfigError, InvalidRequest
from sayonce.speech.engines import Engine
from sayonce.speech.engines.fields import TOLERATED
from sayonce.speech.engines.parameters import read_value
from sayonce.warm.text_files import decode

STDIN: Final = "-"
_JSON: Final = "{"
_MAX_BYTES: Final = 100_000_000
"""Larger than any request: a voice may be sent along."""
_OWN_OPTIONS: Final = {
    "input": "TEXT",
    "voice": "--voice",
    "response_format": "--format",
    "stream": "-o -",
    "stream_format": "-o -",
}


class Said(msgspec.Struct, frozen=True):
    """A request as options give it."""

    text: str
    voice: str | None
    format: str | None
    params: list[str]
    model: str | None = None

    def fields(self, engine: Engine) -> dict[str, Any]:
        """Return the request; ``engine`` is the one that it is for, and knows the types of parameters."""
        text = read_stdin_text() if self.text == STDIN else utf8(self.text, "TEXT")
        given = {"input": text, "voice": self.voice, "response_format": self.format}
        declared = TOLERATED | {parameter.name: parameter for parameter in engine.parameters}
        params = {
            name: read_value(value, declared.get(name)) for name, value in pairs(self.params, _OWN_OPTIONS).items()
        }
        return {"model": self.model or engine.name, **params, **{k: v for k, v in given.items() if v is not None}}


def read_stdin_text() -> str:
    """Return the text that comes from stdin.

    Raises:
        InvalidRequest: it is not UTF-8.

    """
    try:
        return read_stdin().decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(phrase("stdin is not UTF-8 at byte {at}", at=error.start), param="input") from None


def utf8(argument: str, name: str) -> str:
    """Return an argument of the command line; Python gives bytes that are not UTF-8 as lone surrogates.

    Raises:
        InvalidRequest: it has any.

    """
    try:
        argument.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            phrase("{name} is not UTF-8 behind its first {count} characters", name=name, count=error.start)
        ) from None
    return argument


def read_request(argument: str, name: str) -> tuple[str, bytes]:
    """Return the name and the body of a request on the command line; ``name`` is for one that has no file.

    Raises:
        ConfigError: the file cannot be read.

    """
    if argument.lstrip().startswith(_JSON):
        return name, argument.encode(errors="surrogateescape")
    name, content = ("stdin", read_stdin()) if argument == STDIN else (argument, read_bytes(argument))
    return name, decode(content, name)[0].encode(errors="surrogateescape")  # so that a message says that it is no UTF-8


def read_stdin() -> bytes:
    """Return all of stdin; see ``read_bytes``."""
    if sys.stdin is None:
        raise ConfigError(phrase("cannot read {file}: {reason}", file="stdin", reason=phrase("it is closed")))
    return _read(lambda: nullcontext(sys.stdin.buffer), "stdin")


def read_bytes(path: str) -> bytes:
    """Return a file's content.

    Raises:
        ConfigError: it cannot be read, or is too large to be a request or a list of texts.

    """
    return _read(lambda: Path(path).open("rb"), path)


def _read(opened: Callable[[], AbstractContextManager[BinaryIO]], name: str) -> bytes:
    try:
        with opened() as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        reason = phrase(error.strerror or str(error))
        raise ConfigError(phrase("cannot read {file}: {reason}", file=name, reason=reason)) from None
    if len(content) > _MAX_BYTES:
        raise ConfigError(phrase("cannot read {file}: it has more than {size} MB", file=name, size=_MAX_BYTES // 10**6))
    return content
