"""The voices that a server keeps: vLLM-Omni's ``/audio/voices``, which lists, takes and removes references by name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
import msgspec

from sayonce.audio.decode.media_type import media_type_of
from sayonce.cache.shared_reading import SharedReading
from sayonce.errors import EngineError, EngineTimeout
from sayonce.speech.engines.runtime.http_errors import translated

_LOOK_SECONDS: Final = 5.0
_SEND_SECONDS: Final = 20.0
_LIST_BYTES: Final = 16_000_000
"""A thousand voices, the most that vLLM-Omni keeps, with transcripts of 16 kB."""
_ANSWER_BYTES: Final = 65_536
_CONSENT: Final = "sayonce"
"""vLLM-Omni wants the id of a consent, which the client that uploads a voice here has."""
_NO_ROUTE: Final = (401, 403, 404, 405, 409, 501)
"""No such route, none for us, or (409) none that the server's processes share."""
_GONE: Final = (404, 410)


class NotKept(EngineError):
    """A server does not keep this reference, and says so each time."""


class NothingKept(EngineError):
    """A server keeps no voices."""


class Listed(msgspec.Struct, frozen=True):
    """A server's account of an uploaded voice."""

    name: str = ""
    created_at: int | float | str | None = None
    file_size: int | None = None

    @property
    def mark(self) -> str:
        """A text that differs between two uploads under one name."""
        return f"{self.created_at} {self.file_size}"

    def contradicts(self, other: Listed | None) -> bool:
        """Whether this is another upload than ``other``, as far as both tell."""
        return (
            other is not None
            and None not in (self.created_at, other.created_at)
            and self.created_at != other.created_at
        )


class _List(msgspec.Struct, frozen=True):
    uploaded_voices: list[Listed]


class _Uploaded(msgspec.Struct, frozen=True):
    voice: Listed


class ServerVoices:
    """One server's uploaded voices."""

    def __init__(self, name: str, client: httpx.AsyncClient, url: str) -> None:
        self._name = name
        self._client = client
        self.url = url
        self._listing = SharedReading(self._look)

    async def look(self) -> Mapping[str, Listed]:
        """Return the voices that the server lists, by name, as it does after this was called.

        Raises:
            NothingKept: it has no such list.
            EngineError: it did not answer.

        """
        return await self._listing()

    async def _look(self) -> Mapping[str, Listed]:
        async with self._asking("GET", "", _LOOK_SECONDS) as response:
            if response.is_client_error and response.status_code not in (408, 429):
                raise NothingKept(f"{self._name!r} lists no voices")
            self._check(response)
            body = await _read(self._name, response, _LIST_BYTES)
        try:
            listed = msgspec.json.decode(body, type=_List).uploaded_voices
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise NothingKept(f"{self._name!r} lists no uploaded voices") from None
        return {voice.name: voice for voice in listed}

    async def send(self, name: str, audio: bytes, transcript: str) -> Listed | None:
        """Give the server a reference to keep; returns what it tells of it, if anything.

        Raises:
            NotKept: it refuses the reference.
            NothingKept: it takes none.
            EngineError: it may not have it.

        """
        media_type = media_type_of(audio)
        form = {"name": name, "consent": _CONSENT} | ({"ref_text": transcript} if transcript else {})
        files = {"audio_sample": (f"{name}.{_ending(media_type)}", audio, media_type)}
        async with self._asking("POST", "", _SEND_SECONDS, data=form, files=files) as response:
            if response.status_code in _NO_ROUTE:
                raise NothingKept(f"{self._name!r} answered {response.status_code}: it takes no voices")
            if response.is_client_error and response.status_code not in (408, 429):
                raise NotKept(f"{self._name!r} answered {response.status_code}: it does not take this voice")
            self._check(response)
            body = await _read(self._name, response, _ANSWER_BYTES)
        try:
            return msgspec.json.decode(body, type=_Uploaded).voice
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    async def remove(self, name: str) -> None:
        """Have the server forget a voice, also one that it does not know.

        Raises:
            EngineError: it may still have it.

        """
        async with self._asking("DELETE", f"/{name}", _LOOK_SECONDS) as response:
            if response.status_code not in _GONE:
                self._check(response)

    def _check(self, response: httpx.Response) -> None:
        if not response.is_success:
            raise EngineError(f"{self._name!r} answered {response.status_code} for its voices")

    @asynccontextmanager
    async def _asking(self, method: str, path: str, seconds: float, **body: Any) -> AsyncIterator[httpx.Response]:
        url = f"{self.url}/audio/voices{path}"
        try:
            with translated(self._name):
                async with asyncio.timeout(seconds), self._client.stream(method, url, **body) as response:
                    yield response
        except TimeoutError:
            raise EngineTimeout(f"{self._name!r} did not answer for its voices within {seconds:g} s") from None


async def _read(name: str, response: httpx.Response, most_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > most_bytes:
            raise EngineError(f"{name!r} answered for its voices with more than {most_bytes} bytes")
    return bytes(body)


def _ending(media_type: str) -> str:
    return media_type.partition("/")[2].removeprefix("x-") or "wav"
