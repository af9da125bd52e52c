"""The checks of ``sayonce doctor`` on Redis."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sayonce.cache.purge_table import TABLE as PURGES
from sayonce.cli.findings import Finding, fail, ok, warn
from sayonce.cli.language import phrase
from sayonce.cli.output import size
from sayonce.config import Settings
from sayonce.errors import Failure, StoreError
from sayonce.service import build_cache, build_engines
from sayonce.speech.voice_names import TABLE as VOICES
from sayonce.stores.base import Store
from sayonce.stores.redis.health import Health
from sayonce.stores.url import RedisURL

_CLOCKS_APART_SECONDS: Final = 2.0
_LOCAL: Final = ("localhost", "127.0.0.1", "::1")


async def check_redis(where: RedisURL, settings: Settings) -> list[Finding]:
    """Check the settings, the tables and the clock of a Redis that answers."""
    from sayonce.stores.redis.store import RedisStore

    found = list(_exposure(where))
    opened = build_cache(settings).store
    assert isinstance(opened, RedisStore)
    try:
        servers = await opened.health()
        for health in servers:
            found += [_memory(health), _clock(health)]
        _, uploaded = [len(await _table(opened, name)) for name in (PURGES, VOICES)]
        found += [_beyond(why) for why in opened.unread.values()]
        found += _lasting(servers, settings, uploaded=uploaded)
    except StoreError as error:
        message = phrase("INFO and TIME are refused: {error}", error=error)
        found.append(warn("store", message, phrase("allow them to this user, to have memory and clock checked")))
    finally:
        await opened.close()
    return found


async def _table(opened: Store, name: str) -> Mapping[str, bytes]:
    """Return a table, or nothing where it is beyond its bound: the store then has it in ``unread``."""
    try:
        return await opened.read_table(name)
    except StoreError as error:
        if error.failure is not Failure.BEYOND:
            raise
        return {}


def _beyond(why: str) -> Finding:
    advice = phrase(
        "remove the fields that other programs wrote, or the whole table: running servers write their own back"
    )
    return fail("store", why, advice)


def _exposure(where: RedisURL) -> Iterator[Finding]:
    if where.host in _LOCAL:
        return
    if where.password is None:
        message = phrase("Redis is reached without a password")
        yield warn("store", message, phrase("set one, and write it into store.url"))
    if not where.tls:
        message = phrase("Redis is reached without TLS")
        yield warn("store", message, phrase("use rediss:// where the network is not yours alone"))


def _lasting(servers: Sequence[Health], settings: Settings, *, uploaded: int) -> Iterator[Finding]:
    """Find whether a restart of the store loses uploaded voices, and their names then go on to an engine."""
    passing = [engine.name for engine in build_engines(settings) if engine.passes_unknown_voices]
    if not (uploaded and passing) or all(health.logs_writes for health in servers):
        return
    yield warn(
        "voices",
        phrase(
            "Redis may lose uploaded voices when it restarts (appendonly no); a server that starts after one passes the "
            "names of lost voices on to the engine {engine!r}, which may speak in another voice",
            engine=passing[0],
        ),
        phrase('set appendonly yes in Redis, or unknown_voices = "refuse" in [engines.{engine}]', engine=passing[0]),
    )


def _memory(health: Health) -> Finding:
    if health.warning is not None:
        message, advice = health.warning
        return warn("store", phrase(message), phrase(advice))
    message = phrase(
        "{server} keeps at most {size}, and evicts by {policy}",
        server=health.address,
        size=size(health.max_bytes),
        policy=health.policy,
    )
    return ok("store", message)


def _clock(health: Health) -> Finding:
    apart_seconds = abs(time.time() - health.clock)
    if apart_seconds <= _CLOCKS_APART_SECONDS:
        return ok("clock", phrase("agrees with that of {server}", server=health.address))
    return warn(
        "clock",
        phrase("is {seconds:.0f} s from that of {server}", seconds=apart_seconds, server=health.address),
        phrase("synchronize both (NTP): ages and expiry depend on it"),
    )
