"""The tree of errors: branches for the caller, for the operator of the engine, and for that of the store.

::

    SayonceError
    ├── CallerError            the request, the call or the configuration has to change
    │   ├── InvalidRequest     400, names the parameter
    │   │   └── Unkeyable      a value that has no exact identity
    │   ├── Unauthorized       401
    │   ├── Forbidden          403
    │   ├── NotFound           404
    │   ├── TooLarge           413
    │   ├── UnsupportedMedia   415
    │   ├── NotCached          504, only-if-cached and nothing stored
    │   └── ConfigError        names the file and the key
    │       └── MissingExtra   names what to install
    ├── Stopping               503, the server ends before the answer does
    ├── EngineError            502, the engine failed
    │   ├── BadAudio           it answered with something that is not whole, audible speech
    │   ├── EngineTimeout      504
    │   ├── EngineBusy         503, with the seconds after which to try again
    │   │   └── DecodersBusy   the same of the threads that decode reference audio
    │   └── VoicesUnavailable  503, the store that has the names of uploaded voices does not answer
    └── StoreError             503, the store did not do what it was asked to

A caller that asks for a value never gets a ``StoreError``: the value is computed. It is for calls that need the store,
such as ``Cache.delete`` and the upload of a voice.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Final, Self

_LONGEST_QUOTED: Final = 80


def quoted(text: str) -> str:
    """Return a text as a message quotes it: shortened, as a caller may have sent a megabyte."""
    return repr(text if len(text) <= _LONGEST_QUOTED else f"{text[:_LONGEST_QUOTED]}…")


def with_article(noun: str) -> str:
    """Return the name of a type, or another noun, behind its indefinite article."""
    return f"{'an' if noun[:1].lower() in 'aeio' else 'a'} {noun}"  # of u both are heard: a uint8, an undo


def logged(error: BaseException) -> bool:
    """Return whether an unexpected error was logged before; from now on it was.

    Several handlers log unforeseen errors and pass them on: the flight of a take, that of a clip, and each listener.
    """
    before = "logged" in error.__dict__
    error.__dict__["logged"] = True
    return before


class SayonceError(Exception):
    """Root of every error that Sayonce raises on purpose."""

    status: ClassVar[int] = 500
    kind: ClassVar[str] = "server_error"
    code: ClassVar[str | None] = None
    retry_after_seconds: int | None = None

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    def twin(self) -> Self:
        """Return the same error without its traceback, as the frames of that hold all data of the request."""
        twin = type(self).__new__(type(self), *self.args)
        twin.__dict__.update(self.__dict__)
        return twin


class CallerError(SayonceError):
    """The caller's mistake: the same call fails again until it is changed."""

    status = 400
    kind = "invalid_request_error"


class InvalidRequest(CallerError):
    """A parameter is missing, unknown, of the wrong type or out of range."""

    code = "invalid_parameter"


class Unkeyable(InvalidRequest):
    """A value has no exact identity, so nothing may be cached under it."""

    code = "unkeyable"


class Unauthorized(CallerError):
    """There is no API key, or none that is known."""

    status = 401
    code = "invalid_api_key"


class Forbidden(CallerError):
    """The API key, or the web page that asks, has no right to this."""

    status = 403
    code = "forbidden"


class NotFound(CallerError):
    """There is no such path, engine, voice or clip."""

    status = 404
    code = "not_found"


class TooLarge(CallerError):
    """The body, or a file in it, is larger than its bound."""

    status = 413
    code = "too_large"


class UnsupportedMedia(CallerError):
    """The body is in a form that is not read, such as a compressed one."""

    status = 415
    code = "unsupported_media_type"


class NotCached(CallerError):
    """``only-if-cached`` was asked for and nothing is stored (RFC 9111 section 5.2.1.7)."""

    status = 504
    code = "not_cached"


class ConfigError(CallerError):
    """The configuration is wrong; the message names the place and what would be right."""

    code = "configuration"


class MissingExtra(ConfigError):
    """An optional part is not installed; the message is the command that installs it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional part: pip install 'sayonce[{extra}]'")


class Stopping(SayonceError):
    """The server ends, and an answer was not whole within the time that it had for that."""

    status = 503
    code = "stopping"
    retry_after_seconds = 1

    def __init__(self) -> None:
        super().__init__("the server ends; ask it, or another, again")


class EngineError(SayonceError):
    """The engine failed; the same request may succeed later."""

    status = 502
    kind = "engine_error"
    code = "engine_failed"
    answered = False
    """Whether a server answered in full that it could not speak this: that may be the request's fault as well."""


class BadAudio(EngineError):
    """The engine's answer is not whole, audible speech: it is neither played to the end nor stored."""

    code = "bad_audio"


class EngineTimeout(EngineError):
    """The engine, or its server, did not answer in time."""

    status = 504
    code = "engine_timeout"


class EngineBusy(EngineError):
    """Every slot at the engine, and every place in its queue, is taken."""

    status = 503
    code = "engine_busy"
    retry_after_seconds: int

    def __init__(self, message: str, *, retry_after_seconds: int = 1) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class DecodersBusy(EngineBusy):
    """Too much reference audio is being decoded."""

    code = "decoders_busy"


class VoicesUnavailable(EngineError):
    """It cannot be known now which reference the name of a voice stands for, and another voice is never spoken instead."""

    status = 503
    code = "voices_unavailable"
    retry_after_seconds = 1

    def __init__(self, message: str) -> None:
        super().__init__(message, param="voice")


class Failure(StrEnum):
    """Why a store could not answer, as far as it changes what to do about it."""

    TIMEOUT = "timeout"  # asked, and no answer in time
    BUSY = "busy"  # not asked: every connection is in use, the file is locked, too much is waiting
    FULL = "full"  # answers, and takes no new values: out of memory, read-only
    REFUSED = "refused"  # answered with an error: loading, wrong credentials, no rights
    LOST = "lost"  # unreachable, or the connection broke
    LOCKED = "locked"  # readable, and another program holds the lock that writing needs
    DAMAGED = "damaged"  # a file that does not have the pages that were written
    BEYOND = "beyond"  # a table that is larger than any of ours: another program has written into it
    BROKEN = "broken"  # anything else: a protocol error, an error of the disk


class StoreError(SayonceError):
    """The store could not answer: unreachable, full, read-only, refusing or broken."""

    status = 503
    code = "store_failed"
    retry_after_seconds = 1

    def __init__(self, message: str, *, failure: Failure = Failure.BROKEN) -> None:
        super().__init__(message)
        self.failure = failure
