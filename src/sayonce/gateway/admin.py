"""The routes for operators: health, statistics, explain and purge."""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sayonce.cache import Removed, stats
from sayonce.core.key import DIGEST_BYTES
from sayonce.core.purges import check_tags
from sayonce.errors import InvalidRequest
from sayonce.gateway import answers
from sayonce.gateway.access import Access
from sayonce.gateway.answers import Status
from sayonce.gateway.figures import Stats
from sayonce.gateway.http import (
    as_object,
    check_json,
    headers_of,
    json_response,
    parse_wait,
    query_of,
    read_body,
    status_of,
)
from sayonce.speech import explain, purging
from sayonce.speech.engines import State
from sayonce.speech.engines.bounds import MAX_NAME, check_length
from sayonce.speech.explain import Difference
from sayonce.speech.identity import TAGS
from sayonce.speech.plan import plays_on
from sayonce.speech.request import parse_json
from sayonce.speech.synthesis import Synthesizer

_STATUSES: Final[tuple[Status, ...]] = ("ready", "loading", "failed")


class Admin:
    """The routes for operators."""

    def __init__(self, synthesizer: Synthesizer, access: Access, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._synthesizer = synthesizer
        self._cache = synthesizer.cache
        self._access = access

    def routes(self) -> list[Route]:
        return [
            Route("/health/live", self.live),
            Route("/health/ready", self.ready),
            Route("/v1/cache/stats", self.stats),
            Route("/v1/cache/explain", self.explain, methods=["POST"]),
            Route("/v1/cache/purge", self.purge, methods=["POST"]),
        ]

    async def live(self, _: Request) -> Response:
        return json_response(answers.Live())

    async def ready(self, _: Request) -> Response:
        """Answer 200 as soon as an engine can speak.

        Trouble of the store or of an engine's servers changes nothing: a load balancer that sent clients elsewhere for it
        would have them miss the clips that this instance holds.
        """
        engines: dict[str, State] = {engine.name: engine.state for engine in self._synthesizer.catalogue.engines}
        loaded = {"ready" if state == "down" else state for state in engines.values()}
        status = next(state for state in _STATUSES if state in loaded)
        body = answers.Ready(status=status, engines=engines, store=self._cache.store_state, offline=self._offline())
        return json_response(body, 200 if status == "ready" else 503)

    async def stats(self, request: Request) -> Response:
        self._access.authorise_admin(request.scope["headers"])
        return json_response(Stats(**await stats.collect(self._cache)))

    async def explain(self, request: Request) -> Response:
        """Explain a request, or ``{"request": …, "other": …}``; without another, against the nearest recent take."""
        client = self._access.authorise(request.scope["headers"])
        fields = await self._fields(request)
        asked = as_object(fields["request"]) if "request" in fields else fields
        plan = await self._synthesizer.plan_fields(asked, client.tenant)
        stored = answers.Stored(take=await self._tier(plan.take_key), clip=await self._tier(plan.clip_key))
        answer = answers.Manifest(**explain.manifest(self._synthesizer, plan), stored=stored)
        if "other" in fields:
            other = await self._synthesizer.plan_fields(as_object(fields["other"]), client.tenant)
            found = explain.manifest(self._synthesizer, other)
            answer.differences = explain.differences(answer.document, found["document"])
        else:
            answer.nearest = self._nearest(plan.take_key, answer.document)
        return json_response(answer)

    async def purge(self, request: Request) -> Response:
        """Remove one key, tags, or everything: ``{"key": …}``, ``{"tags": ["voice=alice"]}`` or ``{"all": true}``."""
        self._access.authorise_admin(request.scope["headers"])
        query = query_of(request, "wait")
        fields = await self._fields(request)
        wait = parse_wait(fields.pop("wait", query.get("wait", True)))
        if len(fields) != 1:
            raise InvalidRequest('the body must have exactly one of "key", "tag", "tags" and "all"')
        [(what, value)] = fields.items()
        if what == "key":
            return _purged(await self._synthesizer.forget(parse_digest(value), wait=wait))
        if what in ("tag", "tags"):
            obeyed = await purging.purge(self._synthesizer, *parse_tags(what, value), wait=wait)
            return json_response(answers.Purged(obeyed=obeyed), status_of(obeyed))
        if what == "all" and value is True:
            return _purged(await self._cache.remove_all(wait=wait))
        raise InvalidRequest(
            'the body must be {"key": …}, {"tag": "voice=alice"}, {"tags": […]} or {"all": true}', param=what
        )

    def _offline(self) -> answers.Offline | UnsetType:
        view = self._cache.view
        if not view.away_seconds:
            return UNSET
        return answers.Offline(
            seconds=round(view.away_seconds, 1), hits_end_in_seconds=round(view.offline_seconds_left, 1)
        )

    def _nearest(self, key: bytes, document: dict[str, Any]) -> list[Difference] | None:
        recent = self._synthesizer.takes.recent
        others = [each for other, each in recent if other != key and each["tenant"] == document["tenant"]]
        return explain.nearest(document, others)

    async def _tier(self, key: bytes) -> str | None:
        found = await self._cache.find(key, stale=plays_on)
        return found.tier if found is not None else None

    async def _fields(self, request: Request) -> dict[str, Any]:
        headers = headers_of(request.scope)
        check_json(headers, declared=self._access.open)
        return parse_json(await read_body(headers, request.receive, self._max_body_bytes))


def _purged(removed: Removed) -> Response:
    return json_response(answers.Purged(obeyed=removed.obeyed, removed=removed.entries), status_of(removed.obeyed))


def parse_tags(what: str, value: Any) -> list[str]:
    """Read one tag, or a list of them.

    Raises:
        InvalidRequest: one is none, or there is none, or there are too many.

    """
    tags = [value] if what == "tag" else value
    if type(tags) is not list or not tags:
        raise InvalidRequest("'tags' must be a list with one tag or more, such as \"voice=alice\"", param="tags")
    return list(check_tags([check_tag(each, what) for each in tags], what))


def parse_digest(value: Any) -> bytes:
    """Read a key in hexadecimal.

    Raises:
        InvalidRequest: it is not one.

    """
    try:
        digest = bytes.fromhex(value)
    except (TypeError, ValueError):
        digest = b""
    if len(digest) != DIGEST_BYTES:
        raise InvalidRequest("'key' must be 64 hexadecimal digits, as in X-Sayonce-Key", param="key")
    return digest


def check_tag(value: Any, param: str = "tag") -> str:
    """Check a tag's form.

    Raises:
        InvalidRequest: it is not ``name=value`` with a name that entries carry.

    """
    if type(value) is not str or value.partition("=")[0] not in TAGS or "=" not in value:
        raise InvalidRequest(f"'{param}' must begin with one of {', '.join(f'{name}=…' for name in TAGS)}", param=param)
    check_length(param, value, 2 * MAX_NAME)
    return value
