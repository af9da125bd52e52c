"""``GET /metrics`` for Prometheus, and the savings ledger: both need the right ``admin`` where API keys are configured."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sayonce.cache import Cache
from sayonce.errors import InvalidRequest, quoted
from sayonce.gateway import answers
from sayonce.gateway.access import Access
from sayonce.gateway.http import json_response, query_of
from sayonce.observe.ledger_export import as_csv, lines, period
from sayonce.observe.observer import Observer


class Metrics:
    """The figures of all requests, for monitoring and for bills."""

    def __init__(self, observer: Observer, cache: Cache, access: Access) -> None:
        self._observer = observer
        self._cache = cache
        self._access = access

    def routes(self) -> list[Route]:
        return [Route("/metrics", self.metrics), Route("/v1/cache/ledger", self.ledger)]

    async def metrics(self, request: Request) -> Response:
        from sayonce.observe.exposition import render  # noqa: PLC0415 (the client takes long to import)

        self._access.authorise_admin(request.scope["headers"])
        body, content_type = render(await self._observer.samples(), request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    async def ledger(self, request: Request) -> Response:
        """Return the lines of the days ``from`` to ``to``, as ``format`` json or csv."""
        self._access.authorise_admin(request.scope["headers"])
        asked = query_of(request, "from", "to", "format")
        first, last = period(asked.get("from"), asked.get("to"), self._cache.now())
        form = asked.get("format", "json")
        if form not in ("json", "csv"):
            raise InvalidRequest(f"'format' must be json or csv, not {quoted(form)}", param="format")
        found = await lines(self._observer.ledger, self._cache.store, first, last)
        if form == "json":
            return json_response(answers.Ledger(first=first, last=last, lines=found))
        name = f"attachment; filename=sayonce-{first}-{last}.csv"
        return Response(as_csv(found), media_type="text/csv", headers={"content-disposition": name})
