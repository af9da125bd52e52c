"""Whether a speech server is there, found out by requests that cost it nothing."""

from __future__ import annotations

from typing import Final

import httpx

from sayonce.errors import EngineError
from sayonce.speech.engines.openai import refusals
from sayonce.speech.engines.runtime.http_errors import translated

_SECONDS: Final = 5.0


async def check(name: str, client: httpx.AsyncClient, url: str) -> EngineError | None:
    """Ask a server for its models: every one that answers is there, also one that lists none."""
    return (await _ask_for_models(name, client, url))[1]


async def examine(name: str, client: httpx.AsyncClient, url: str) -> EngineError | None:
    """Check a server, and where it has no models also that there is a speech API at this address."""
    status, error = await _ask_for_models(name, client, url)
    if error is not None or status != httpx.codes.NOT_FOUND:
        return error
    try:
        with translated(name):
            async with client.stream("POST", f"{url}/audio/speech", json={}, timeout=_SECONDS) as response:
                refused = refusals.refusal(name, response, await refusals.read_error(response.aiter_bytes()))
    except EngineError as failed:
        return failed
    if response.status_code != httpx.codes.NOT_FOUND or not isinstance(refused, EngineError):
        return None  # it is there, and finds fault with a request that says nothing
    return EngineError(
        f"{name!r} answered 404 to everything, to /models as to /audio/speech: its speech API is elsewhere, perhaps at an "
        "address that ends in /v1"
    )


async def _ask_for_models(name: str, client: httpx.AsyncClient, url: str) -> tuple[int, EngineError | None]:
    try:
        with translated(name):
            async with client.stream("GET", f"{url}/models", timeout=_SECONDS) as response:
                return response.status_code, refusals.unfit(name, response)
    except EngineError as error:
        return 0, error
