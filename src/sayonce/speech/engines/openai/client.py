"""The HTTP client by which an engine's servers are asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import httpx

from sayonce._version import __version__
from sayonce.speech.engines.openai.address import is_loopback

_CONNECT_SECONDS: Final = 5.0


def open_client(urls: Iterable[str], key: str | None, timeout_seconds: float) -> httpx.AsyncClient:
    """Return a client of these servers; ``timeout_seconds`` is for the first byte, and between any two."""
    headers = {"User-Agent": f"sayonce/{__version__}", "Accept-Encoding": "identity"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    return httpx.AsyncClient(
        headers=headers,
        timeout=httpx.Timeout(timeout_seconds, connect=_CONNECT_SECONDS, pool=None),
        limits=httpx.Limits(max_connections=None),  # the engine's slots are the bound
        follow_redirects=False,  # a redirect would take the text, and the key, to another server
        # The environment's proxies are for servers elsewhere.
        mounts={_origin(url): None for url in urls if is_loopback(url)},
    )


def _origin(url: str) -> str:
    """Return the pattern of everything at a server's host and port, as the HTTP client takes it."""
    return f"all://{httpx.URL(url).netloc.decode()}"
