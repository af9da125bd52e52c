"""``sayonce explain``: why a request has its key, or in which fields two requests differ."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from sayonce.cli.code_points import changes
from sayonce.cli.language import phrase
from sayonce.cli.options import wrong
from sayonce.cli.output import data, data_json, shown, table, talk
from sayonce.cli.requests import STDIN, read_request
from sayonce.config import Settings
from sayonce.core.counters import Counter
from sayonce.errors import ConfigError, InvalidRequest, NotFound
from sayonce.service import Service
from sayonce.speech.explain import Difference, differences, manifest
from sayonce.speech.plan import Plan, plays_on
from sayonce.speech.request import parse_json

_UNKNOWN: Final = "unknown"


def run(request: str, other: str | None, settings: Settings, *, tenant: str | None, as_json: bool) -> None:
    """Print a request's manifest, or the differences of two requests.

    Raises:
        ConfigError: a request is none that is valid.

    """
    if request == other == STDIN:
        raise wrong("only one of the two requests can come from stdin")
    bodies = [read_request(request, phrase("the first request") if other else phrase("the request"))]
    if other is not None:
        bodies.append(read_request(other, phrase("the second request")))
    tell_tenant(settings, tenant)
    found = asyncio.run(_explain(settings, bodies, tenant or ""))
    if as_json:
        data_json(found)
    elif other is None:
        table(_manifest_rows(found))
    else:
        table([(name, each["key"]) for (name, _), each in zip(bodies, (found, found["other"]), strict=True)])
        _show(found["differences"], *(parse_json(body).get("input") for _, body in bodies))


def tell_tenant(settings: Settings, tenant: str | None) -> None:
    """Tell that with API keys each clip belongs to a tenant, where none is named."""
    if settings.security.api_keys_file is not None and tenant is None:
        talk("with API keys each clip belongs to a tenant, and this one to none: name it with --tenant")


async def _explain(settings: Settings, bodies: Sequence[tuple[str, bytes]], tenant: str) -> dict[str, Any]:
    service = Service(settings)
    async with service.cache:  # and the engines stay unloaded
        await service.synthesizer.learn_voices()
        found, *others = [await _explain_one(service, *body, tenant) for body in bodies]
    if others:
        found["other"] = others[0]
        found["differences"] = differences(found["document"], others[0]["document"])
    return found


async def _explain_one(service: Service, name: str, body: bytes, tenant: str) -> dict[str, Any]:
    plan = plan_of(service, name, lambda: parse_json(body), tenant)
    stored = {"take": await _tier(service, plan.take_key), "clip": await _tier(service, plan.clip_key)}
    return {**manifest(service.synthesizer, plan), "stored": stored}


def plan_of(service: Service, name: str, fields: Callable[[], dict[str, Any]], tenant: str) -> Plan:
    """Return the plan of a request.

    Raises:
        ConfigError: it is no valid request; the message has its name.

    """
    try:
        synthesizer = service.synthesizer
        return synthesizer.plan(synthesizer.parse(fields(), tenant), tenant)
    except (InvalidRequest, NotFound) as error:
        raise ConfigError(f"{name}: {error.message}") from None


async def _tier(service: Service, key: bytes) -> str | None:
    """Return the name of the store that answers for the key; ``unknown`` when it cannot be asked."""
    cache = service.cache
    if cache.store is not None and await cache.find(key, stale=plays_on) is not None:
        return cache.store.name
    return _UNKNOWN if any(counter is Counter.STORE_ERRORS for counter, *_ in cache.counts) else None


# -- what it prints -----------------------------------------------------------------------------------------------------


def _show(found: Sequence[Difference], this: Any, other: Any) -> None:
    if not found:
        data(phrase("equal: both are the same sound, and have one key"))
        for line in changes(this, other):
            data(phrase("not heard: {difference}", difference=line))
        return
    width = max(len(each.field) for each in found)
    for each in found:
        data(f"{each.field:{width}}  {shown(each.this)} → {shown(each.other)}")
        if type(each.this) is str and type(each.other) is str:
            for line in changes(each.this, each.other):
                data(f"{'':{width}}  {line}")


def _manifest_rows(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    take, clip = found["stored"]["take"], found["stored"]["clip"]
    rate = found["sample_rate"]
    yield phrase("key"), found["key"]
    yield phrase("stored"), _stored_in(take)
    if rate:
        yield phrase("as {format} at {rate} Hz", format=found["format"], rate=rate), _stored_in(clip)
    else:
        yield phrase("as {format}", format=found["format"]), _stored_in(clip)
    for difference in differences(found["document"], {}):
        yield from _fields(difference.field, difference.this)


def _stored_in(tier: str | None) -> str:
    if tier == _UNKNOWN:
        return phrase("unknown: the store does not answer")
    return phrase("yes, in {tier}", tier=tier) if tier else phrase("no")


def _fields(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for inner, item in sorted(value.items()):
            yield from _fields(f"{name}.{inner}", item)
    else:
        yield name, shown(value)
