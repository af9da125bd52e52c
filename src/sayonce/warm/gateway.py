"""Warm a running gateway: ask its cache for each clip first, and have missing ones made."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import httpx
import msgspec

from sayonce.core.cache_control import FOREVER_SECONDS
from sayonce.errors import BadAudio, EngineBusy, EngineError, InvalidRequest, NotCached
from sayonce.speech.engines.parameters import read_value
from sayonce.speech.engines.runtime.retry_after import retry_after_seconds
from sayonce.warm.rows import Row
from sayonce.warm.runner import DEFAULT_FORMAT, Make

_PATH: Final = "/v1/audio/speech"
_NOT_STALE: Final = f"max-age={FOREVER_SECONDS}"
"""Whatever its age, but not past its time to live."""
_BUSY: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_NOT_COMPUTED: Final = ("hit", "collapsed")


class GatewayTarget:
    """Clips made and kept by a gateway; ``client`` has its address and credentials.

    A clip made before ``since`` is made anew.
    """

    def __init__(self, client: httpx.AsyncClient, *, since: float = 0.0) -> None:
        self._client = client
        self._since = since
        self._turns: dict[bytes, asyncio.Lock] = {}

    async def look(self, row: Row) -> Make | None:
        cells = {name: read_value(text, None) for name, text in row.cells.items()}
        request = {"response_format": DEFAULT_FORMAT, **cells, **row.fields}
        if await self._has(request):
            return None
        return partial(self._renew if self._since else self._make, request)

    async def _has(self, request: dict[str, Any]) -> bool:
        age = f"max-age={math.ceil(time.time() - self._since)}" if self._since else _NOT_STALE
        try:
            await self._ask(request, {"cache-control": f"only-if-cached, {age}"})
        except NotCached:
            return False
        return True

    async def _renew(self, request: dict[str, Any]) -> bool:
        """Have the gateway make a clip anew, once for all rows that differ in their format alone."""
        said = msgspec.msgpack.encode({**request, "response_format": ""}, order="deterministic")
        async with self._turns.setdefault(said, asyncio.Lock()):
            return not await self._has(request) and await self._make(request, "no-cache")

    async def _make(self, request: dict[str, Any], directive: str = _NOT_STALE) -> bool:
        status = await self._ask(request, {"cache-control": directive})
        return not any(part.strip() in _NOT_COMPUTED for part in status.split(";"))

    async def unkept(self) -> list[Row]:
        """Return none: the gateway itself tells what its store kept, under ``/v1/cache/stats``."""
        return []

    async def _ask(self, request: dict[str, Any], headers: Mapping[str, str]) -> str:
        """Receive a clip to its end, and return its ``Cache-Status``.

        Raises:
            NotCached, EngineBusy, InvalidRequest, EngineError: the gateway said so, or did not answer.

        """
        try:
            async with self._client.stream("POST", _PATH, json=request, headers=headers) as response:
                if response.is_success:
                    async for _ in response.aiter_raw():
                        pass
                else:
                    await response.aread()
        except httpx.HTTPError as error:
            raise EngineError(f"the gateway did not answer whole: {error or type(error).__name__}") from None
        _check(response)
        return _cache_status(response)


def _check(response: httpx.Response) -> None:
    if response.is_success:
        return
    message, code = _told(response)
    if response.status_code == NotCached.status and code == NotCached.code:
        raise NotCached(message)
    if response.status_code in _BUSY:
        raise EngineBusy(message, retry_after_seconds=retry_after_seconds(response.headers) or 1)
    raise InvalidRequest(message) if response.is_client_error else EngineError(message)


def _told(response: httpx.Response) -> tuple[str, str | None]:
    """Return the message and the code of an error in OpenAI's form."""
    try:
        error = msgspec.json.decode(response.content)["error"]
        return str(error["message"]), error.get("code")
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        return f"the gateway answered {response.status_code}", None


def _cache_status(response: httpx.Response) -> str:
    status = response.headers.get("cache-status", "")
    if not status.startswith("sayonce;"):
        raise BadAudio("what answers there is no Sayonce gateway: it sends no Cache-Status")
    return str(status)
