"""``GET /`` and the requests of its page: one document of figures, and the clips to listen to."""

from __future__ import annotations

import asyncio
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sayonce.audio.encode.encoders import transcode
from sayonce.audio.formats import FORMATS
from sayonce.cache import saved_seconds
from sayonce.errors import InvalidRequest, NotFound, quoted
from sayonce.gateway.access import Access
from sayonce.gateway.admin import parse_digest
from sayonce.gateway.dashboard.overview import overview
from sayonce.gateway.http import json_response, query_of
from sayonce.observe.observer import Observer
from sayonce.speech.plan import plays_on
from sayonce.speech.synthesis import Synthesizer

_MEDIA_TYPES: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_SECURITY: Final = {
    "content-security-policy": "default-src 'self'; media-src blob:; object-src 'none'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-cache",
}
"""A clip is fetched with the API key and played as a blob, as no address of it may hold the key."""


class Dashboard:
    """The page, which tells nothing by itself, and its routes, which need the right ``admin``."""

    def __init__(self, synthesizer: Synthesizer, observer: Observer, access: Access) -> None:
        self._synthesizer = synthesizer
        self._observer = observer
        self._access = access
        folder = files(__package__) / "static"
        self._static = {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}

    def routes(self) -> list[Route]:
        return [
            Route("/", self.page),
            Route("/dashboard/{name}", self.static),
            Route("/v1/cache/overview", self.overview),
            Route("/v1/cache/clips/{key}", self.clip),
        ]

    async def page(self, _: Request) -> Response:
        """Return the page; it says whether a key is needed, so that none has to be tried."""
        text = self._static["index.html"].replace("{keys}", "none" if self._access.open else "needed")
        return _document("index.html", text)

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._static or name == "index.html":
            raise NotFound(f"the dashboard has no {quoted(name)}")
        return _document(name, self._static[name])

    async def overview(self, request: Request) -> Response:
        self._access.authorise_admin(request.scope["headers"])
        samples, shown = await self._observer.samples(), self._observer.shown()
        return json_response(overview(samples, shown, self._synthesizer, texts=self._observer.texts))

    async def clip(self, request: Request) -> Response:
        """Return the audio under a key as it is kept, or as ``format=wav``, which every browser plays."""
        self._access.authorise_admin(request.scope["headers"])
        form = query_of(request, "format").get("format")
        if form not in (None, "wav"):
            raise InvalidRequest("'format' must be wav, or left out for the format that is kept", param="format")
        found = await self._synthesizer.cache.find(parse_digest(request.path_params["key"]), stale=plays_on)
        entry = found.entry if found is not None else None
        if entry is None or not entry.media_type.startswith("audio/"):
            raise NotFound("no clip is stored under this key, or the store does not answer", param="key")
        headers = {"cache-control": "no-store", "x-sayonce-compute-ms": f"{1000 * saved_seconds(entry):.1f}"}
        if form is None or entry.media_type == "audio/wav":
            return Response(entry.body, media_type=entry.media_type, headers=headers)
        wav = await asyncio.to_thread(transcode, entry.body, FORMATS[form])
        return Response(wav, media_type="audio/wav", headers=headers)


def _document(name: str, text: str) -> Response:
    return Response(text, media_type=_MEDIA_TYPES[name.rpartition(".")[2]], headers=_SECURITY)
