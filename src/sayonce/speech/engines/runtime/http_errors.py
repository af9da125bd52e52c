"""The failures of the HTTP client, as failures of the engine that it asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from sayonce.errors import BadAudio, EngineError, EngineTimeout


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn every failure of the HTTP client into ours."""
    try:
        yield
    except httpx.ConnectTimeout:
        raise EngineTimeout(f"{name!r} cannot be reached: no connection in time") from None
    except httpx.TimeoutException:
        raise EngineTimeout(f"{name!r} did not answer in time") from None
    except (httpx.ConnectError, httpx.ProxyError) as error:
        raise EngineError(f"{name!r} cannot be reached: {error}") from None
    except (httpx.ReadError, httpx.RemoteProtocolError) as error:
        raise BadAudio(f"{name!r} broke its answer off: {str(error) or 'the connection was reset'}") from None
    except httpx.DecodingError as error:
        raise EngineError(f"{name!r} answered with an error that cannot be read: {error}") from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise EngineError(f"{name!r} cannot be asked: {str(error) or type(error).__name__}") from None
