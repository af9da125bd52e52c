"""The errors that a speech server's answers without audio stand for: the client's mistake or the server's failure."""

from __future__ import annotations

import codecs
import re
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import msgspec

from sayonce.errors import (
    BadAudio,
    CallerError,
    EngineBusy,
    EngineError,
    EngineTimeout,
    InvalidRequest,
    NotFound,
    SayonceError,
    TooLarge,
    UnsupportedMedia,
)
from sayonce.speech.engines.copies.names import without_copies
from sayonce.speech.engines.runtime.retry_after import retry_after_seconds

LONGEST_ERROR_BYTES: Final = 65_536
_LONGEST_MESSAGE: Final = 300
_LONGEST_PARAM: Final = 64
_LONGEST_PLAIN_BYTES: Final = 2000
_DEFAULT_RETRY_SECONDS: Final = 1

_OF_THE_REQUEST: Final[dict[int, type[CallerError]]] = {
    **dict.fromkeys((400, 406, 414, 422, 431, 451), InvalidRequest),
    413: TooLarge,
    415: UnsupportedMedia,
}
"""Statuses with which a server speaks of what it was asked, and which say nothing against it."""
_MISSING: Final = (404, 410)
_ELSEWHERE: Final = (*_MISSING, 405)
_OF_THE_PATH: Final = re.compile(
    r"\s*(?:\Z|not found\W*\Z|there is no path |invalid url|cannot post /|no route matched|route post:|unknown endpoint|"
    r"the requested (?:url|path|resource|endpoint)\b)",
    re.IGNORECASE,
)
"""How frameworks, and gateways like this one, begin to say that they do not serve an address. Further on in a message may
stand what the caller wrote, such as the name of a voice."""
_ESCAPE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~])?")
"""Colours and cursor movements of a terminal (ECMA-48 section 5.4)."""
_RETRY: Final = frozenset(("retry-after", "retry-after-ms"))
_utf8: Final = codecs.getincrementaldecoder("utf-8")


async def read_error(chunks: AsyncIterator[bytes], body: bytes = b"") -> bytes:
    """Read an error, as much of one as is sensible."""
    async for chunk in chunks:
        body += chunk
        if len(body) > LONGEST_ERROR_BYTES:
            break
    return body


def refusal(name: str, response: httpx.Response, body: bytes) -> SayonceError:
    """Return the error that a server's status and body stand for: the caller's where it speaks of the request."""
    status = response.status_code
    message, param = _told(body)
    reason = _shown(message or _plain(body))
    told = f"{name!r} answered {status}: {reason}" if reason else f"{name!r} answered {status}"
    if status in _OF_THE_REQUEST or (status in _MISSING and _is_about_the_request(message)):
        kind = _OF_THE_REQUEST.get(status, NotFound)
        return kind(told, param=param or ("input" if kind is TooLarge else None))
    if status in (401, 403):
        return EngineError(f"{name!r} answered {status}: it wants another key; check engines.{name}.api_key_env")
    if status in _ELSEWHERE or 300 <= status < 400:  # noqa: PLR2004
        error = EngineError(f"{name!r} answered {status}: its speech API is elsewhere; check engines.{name}.base_url")
        error.answered = status in _MISSING  # some say no more of a voice that is missing
        return error
    if status == 429 or (status == 503 and not _RETRY.isdisjoint(response.headers)):  # noqa: PLR2004
        return EngineBusy(told, retry_after_seconds=retry_after_seconds(response.headers) or _DEFAULT_RETRY_SECONDS)
    if status in (408, 504):
        return EngineTimeout(told)
    error = EngineError(told)
    error.answered = status == httpx.codes.INTERNAL_SERVER_ERROR
    return error


def failure(name: str, body: bytes) -> SayonceError:
    """Return the error that an event of a server's stands for: the caller's where its code is a status that says so."""
    message, param = _told(body)
    told = f"{name!r} answered with an error: {_shown(message or _plain(body))}"
    kind = _OF_THE_REQUEST.get(_code(body))
    if kind is not None:
        return kind(told, param=param)
    error = EngineError(told)
    error.answered = True
    return error


def unfit(name: str, response: httpx.Response) -> EngineError | None:
    """Return what an answer to anything but speech says against a server: it fails, or would not take our key."""
    if response.status_code in (401, 403) or response.is_server_error:
        error = refusal(name, response, b"")
        return error if isinstance(error, EngineError) else None
    return None


def not_audio(name: str, body: bytes) -> EngineError:
    """Return the error for a good status with something else than audio."""
    error = _not_audio(name, body)
    error.answered = True
    return error


def _not_audio(name: str, body: bytes) -> EngineError:
    message, _ = _told(body)
    if message:
        return EngineError(f"{name!r} answered with an error: {_shown(message)}")
    if text := _shown(_plain(body)):
        return BadAudio(f"{name!r} answered with text instead of audio: {text}")
    what = "an empty body" if not body else "a web page" if body.lstrip()[:1] == b"<" else "no known audio"
    return BadAudio(f"{name!r} answered with {what} instead of audio")


def refuse_compressed(name: str, response: httpx.Response) -> None:
    """Refuse a content coding that we did not ask for: what is left out or undone by half would be played as sound.

    The HTTP client passes on codings that it does not know, ends gzip at its first member, and takes an unfinished one
    for whole.

    Raises:
        EngineError: the body is not sent as it is.

    """
    codings = response.headers.get("content-encoding", "")
    if any(each.strip().lower() not in ("", "identity") for each in codings.split(",")):
        raise EngineError(
            f"{name!r} answered with Content-Encoding: {_shown(codings)}, though 'identity' was asked for: "
            "let it, or the proxy before it, send audio uncompressed"
        )


def is_framed(response: httpx.Response) -> bool:
    """Whether the end of a body is told from a connection that broke: by a length or chunks (RFC 9112 section 6.3)."""
    return "content-length" in response.headers or "transfer-encoding" in response.headers


def _told(body: bytes) -> tuple[str, str | None]:
    """Return the message of an error body, and the parameter that it names: OpenAI's form, FastAPI's, or plain."""
    try:
        told: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "", None
    if isinstance(told, dict):
        told = told.get("error") or told.get("detail") or told.get("message")
    if isinstance(told, list) and told:  # FastAPI: one entry for each wrong field
        told = told[0]
    if isinstance(told, dict):
        param = told.get("param") or next(iter(reversed(told.get("loc") or [])), None)
        told = told.get("message") or told.get("msg")
        named = isinstance(param, str) and len(param) <= _LONGEST_PARAM
        return (told, param if named else None) if isinstance(told, str) else ("", None)
    return (told, None) if isinstance(told, str) else ("", None)


def _code(body: bytes) -> int:
    """Return the status that an error body names; 0 where it names none."""
    try:
        return msgspec.json.decode(body, type=_Coded).error.code
    except (msgspec.DecodeError, UnicodeDecodeError):
        return 0


class _Code(msgspec.Struct, frozen=True):
    code: int = 0


class _Coded(msgspec.Struct, frozen=True):
    error: _Code


def _plain(body: bytes) -> str:
    """Return the beginning of an error that is text of no known form; empty where it is a page, or no text at all."""
    try:
        text = _utf8().decode(body[:_LONGEST_PLAIN_BYTES])  # the cut may be within a character
    except UnicodeDecodeError:
        return ""
    return "" if "\0" in text or text.lstrip().startswith("<") else text


def _shown(message: str) -> str:
    """Return a server's words as a message quotes them: short, in one line, and without what would steer a terminal."""
    text = without_copies(_ESCAPE.sub("", message[:_LONGEST_PLAIN_BYTES]))
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= _LONGEST_MESSAGE else f"{line[:_LONGEST_MESSAGE]}…"


def _is_about_the_request(message: str) -> bool:
    """Return whether a 404 is about a model or a voice, and not about the path."""
    return _OF_THE_PATH.match(message[:_LONGEST_PLAIN_BYTES]) is None
