"""``sayonce stats``, ``explain`` and ``lint-key``: looking, without changing anything."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import typer

from sayonce.cache.stats import stored
from sayonce.cli.options import wrong
from sayonce.cli.output import data_json, seconds, size, table, talk
from sayonce.config import Settings
from sayonce.errors import ConfigError, InvalidRequest, NotFound, StoreError
from sayonce.speech.explain import differences, manifest
from sayonce.speech.lint import Finding, lint_engine
from sayonce.speech.request import parse_json
from sayonce.speech.service import Service, build_cache
from sayonce.speech.voice_names import VoiceNames

_STDIN: Final = "-"
_UNKNOWN: Final = "unknown"


def lasting(settings: Settings) -> None:
    """Refuse a store that ends with the process.

    Raises:
        ConfigError: it is ``memory://``.

    """
    if settings.store_url == "memory://":
        raise ConfigError(
            "memory:// is the memory of one running server: ask that server, under /v1/cache, or name another --store"
        )


# -- stats --------------------------------------------------------------------------------------------------------------


def stats(settings: Settings, *, as_json: bool) -> None:
    """Print the store's figures, and what of it cannot be read; whether it takes new values is not tried.

    Raises:
        StoreError: it did not answer.

    """
    lasting(settings)
    figures = asyncio.run(_collect(settings))
    if as_json:
        data_json(figures)
    else:
        table(_rows(figures["store"], figures["lifetime"]))
        if figures["trouble"] is not None:
            talk(f"the store is in trouble: {figures['trouble']}")


async def _collect(settings: Settings) -> dict[str, Any]:
    async with build_cache(settings) as cache:
        assert cache.store is not None
        figures = await stored(cache.store)
        with suppress(StoreError):  # which the cache then tells of
            await VoiceNames(cache, cache.store).learn()
        return {**figures, "trouble": cache.trouble}


def _rows(store: dict[str, Any], lifetime: dict[str, Any]) -> Iterator[tuple[str, str]]:
    bound = "no bound" if store["max_bytes"] is None else f"at most {size(store['max_bytes'])}"
    rate = lifetime["hit_rate"]
    yield "store", store["name"]
    yield "entries", f"{store['entries']:,}"
    yield "size", f"{size(store['used_bytes'])} ({bound})"
    yield "requests", f"{lifetime['requests']:,.0f}"
    yield "hits", f"{lifetime.get('hit', 0):,.0f}"
    yield "joined", f"{lifetime.get('joined', 0):,.0f}"
    yield "hit rate", "no requests yet" if rate is None else f"{100 * rate:.1f} %"
    yield "engine calls", f"{lifetime.get('engine calls', 0):,.0f}"
    yield "engine time", seconds(lifetime.get("engine seconds", 0))
    yield "time saved", seconds(lifetime.get("saved_seconds", 0))


# -- explain ------------------------------------------------------------------------------------------------------------


def explain(request: str, other: str | None, settings: Settings, *, as_json: bool) -> None:
    """Print a request's manifest, or the differences of two requests.

    Raises:
        InvalidRequest: a file holds no valid request.

    """
    if request == other == _STDIN:
        raise wrong("only one of the two requests can come from stdin")
    bodies = [_read(path) for path in (request, other) if path is not None]
    found = asyncio.run(_explain(settings, bodies))
    if as_json:
        data_json(found)
    elif other is None:
        table(_manifest_rows(found))
    else:
        table([(request, found["key"]), (other, found["other"]["key"])])
        rows = [(each.field, f"{_shown(each.this)} → {_shown(each.other)}") for each in found["differences"]]
        table(rows or [("equal:", "both are the same sound, and have one key")])


def _read(path: str) -> tuple[str, bytes]:
    if path == _STDIN:
        return "stdin", sys.stdin.buffer.read()
    try:
        return path, Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None


async def _explain(settings: Settings, bodies: list[tuple[str, bytes]]) -> dict[str, Any]:
    service = Service(settings)
    async with service.cache:  # and the engines stay unloaded
        await service.synthesizer.learn_voices()
        found, *others = [await _explain_one(service, *body) for body in bodies]
    if others:
        found["other"] = others[0]
        found["differences"] = differences(found["document"], others[0]["document"])
    return found


async def _explain_one(service: Service, name: str, body: bytes) -> dict[str, Any]:
    try:
        plan = service.synthesizer.plan(service.synthesizer.parse(parse_json(body)))
    except (InvalidRequest, NotFound) as error:
        raise ConfigError(f"{name}: {error.message}") from None
    stored = {"take": await _tier(service, plan.take_key), "clip": await _tier(service, plan.clip_key)}
    return {**manifest(service.synthesizer, plan), "stored": stored}


async def _tier(service: Service, key: bytes) -> str | None:
    """Return the name of the store that answers for the key; ``unknown`` when it cannot be asked."""
    cache = service.cache
    if cache.store is not None and await cache.lookup(key) is not None:
        return cache.store.name
    return _UNKNOWN if cache.counters["store errors"] else None


def _manifest_rows(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    take, clip = found["stored"]["take"], found["stored"]["clip"]
    yield "key", found["key"]
    yield "stored", _place(take)
    rate = found["sample_rate"]
    yield f"as {found['format']}" + (f" at {rate} Hz" if rate else ""), _place(clip)
    for difference in differences(found["document"], {}):
        yield from _fields(difference.field, difference.this)


def _place(tier: str | None) -> str:
    if tier == _UNKNOWN:
        return "unknown: the store does not answer"
    return f"yes, in {tier}" if tier else "no"


def _fields(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for inner, item in sorted(value.items()):
            yield from _fields(f"{name}.{inner}", item)
    else:
        yield name, _shown(value)


def _shown(value: Any) -> str:
    return msgspec.json.encode(value).decode()


# -- lint-key -----------------------------------------------------------------------------------------------------------


def lint_key(settings: Settings, *, as_json: bool) -> None:
    """Print what each flip did to the key, and exit with 1 when something that is heard did not change it."""
    synthesizer = Service(settings).synthesizer
    findings = [finding for engine in synthesizer.catalogue.engines for finding in lint_engine(synthesizer, engine)]
    if as_json:
        data_json(findings)
    else:
        table((f"{each.engine}.{each.field}", _verdict(each)) for each in findings)
    if any(finding.heard and not finding.keyed for finding in findings):
        raise typer.Exit(1)


def _verdict(finding: Finding) -> str:
    flip = f"{_shown(finding.before)} → {_shown(finding.after)}"
    if finding.keyed == finding.heard:
        return f"ok: {flip} {'changes' if finding.keyed else 'is not heard and does not change'} the key"
    return f"WRONG: {flip} is heard and does not change the key" if finding.heard else f"waste: {flip} is not heard"
