"""From the answers of one engine's servers to audio, or to the errors that they stand for."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Final

import httpx

from sayonce.core.audio_start import AudioStart
from sayonce.errors import SayonceError
from sayonce.speech.engines.openai import answers, content, events, refusals

log = logging.getLogger("sayonce.speech")

_MASK: Final = b"[key]"


class Reader:
    """Reads answers in which ``response_format`` was asked for; ``key`` is masked where a server repeats it."""

    def __init__(self, name: str, response_format: str, sample_rate_hz: int | None, key: str | None) -> None:
        self._name = name
        self._asked = response_format
        self._sample_rate_hz = sample_rate_hz
        self._key = key
        self._told_of_odd_bytes = False

    async def audio(self, response: httpx.Response) -> AsyncIterator[AudioStart | bytes]:
        """Yield what a server says.

        Raises:
            SayonceError: it refused, or sent something else.

        """
        if response.status_code != httpx.codes.OK:
            raise refusals.refusal(
                self._name, response, self._masked(await refusals.read_error(response.aiter_bytes()))
            )
        refusals.refuse_compressed(self._name, response)
        content_type = response.headers.get("content-type", "")
        framed, chunks = refusals.is_framed(response), response.aiter_bytes()
        if events.are_events(content_type):  # the last of them proves the end
            framed, chunks, content_type = True, events.audio_of(self._name, chunks, self._failure), ""
        answer = await answers.recognise(self._name, content_type, self._asked, chunks, framed=framed)
        if answer.media_type == content.NO_AUDIO:
            raise refusals.not_audio(self._name, self._masked(await refusals.read_error(answer.chunks, answer.head)))
        async for item in answers.audio(answer, self._sample_rate_hz, self._tell_of_odd_bytes):
            yield item

    def _tell_of_odd_bytes(self) -> None:
        if not self._told_of_odd_bytes:
            self._told_of_odd_bytes = True
            log.warning(
                "%r ends its audio inside a sample: the bytes behind the last whole one are dropped", self._name
            )

    def _failure(self, event: bytes) -> SayonceError:
        return refusals.failure(self._name, self._masked(event[: refusals.LONGEST_ERROR_BYTES]))

    def _masked(self, body: bytes) -> bytes:
        return body.replace(self._key.encode(), _MASK) if self._key else body
