"""What ``sayonce doctor`` checks; each check yields findings, and none of them raises for what it is there to find."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import stat
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec

from sayonce._version import __version__
from sayonce.cache.invalidation import TABLE as PURGES
from sayonce.cli.output import place, seconds, size
from sayonce.config import Settings, misspelt
from sayonce.core.envelope import Entry
from sayonce.core.key import DIGEST_BYTES
from sayonce.errors import Failure, SayonceError, StoreError
from sayonce.gateway.access import load_access
from sayonce.speech.engines import Engine
from sayonce.speech.service import build_cache, build_engines
from sayonce.speech.voice_names import TABLE as VOICES
from sayonce.speech.voice_names import VoiceNames
from sayonce.stores.base import Store
from sayonce.stores.redis_health import Health
from sayonce.stores.sqlite_file import damaged_beside
from sayonce.stores.url import RedisURL, SQLiteURL, parse_url

_LOADING_SECONDS: Final = 60.0
_CLOCKS_APART_SECONDS: Final = 2.0
_PROBE_SECONDS: Final = 5.0
_LOCAL: Final = ("localhost", "127.0.0.1", "::1")


class Grade(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(msgspec.Struct, frozen=True):
    """One line of the report; ``advice`` says what to do."""

    check: str
    grade: Grade
    message: str
    advice: str = ""


def ok(check: str, message: str) -> Finding:
    return Finding(check, Grade.OK, message)


def warn(check: str, message: str, advice: str) -> Finding:
    return Finding(check, Grade.WARN, message, advice)


def fail(check: str, message: str, advice: str = "") -> Finding:
    return Finding(check, Grade.FAIL, message, advice)


def versions() -> Iterator[Finding]:
    import soundfile

    yield ok("versions", f"sayonce {__version__}, Python {platform.python_version()}")
    yield ok("versions", f"libsndfile {soundfile.__libsndfile_version__}, redis client {version('redis')}")


def environment(variables: Mapping[str, str]) -> Iterator[Finding]:
    """Find variables that look like settings and are none, for want of the second underscore."""
    for variable, right in misspelt(variables):
        yield warn("configuration", f"{variable} has no effect", f"call it {right}")


def secrets(settings: Settings) -> Iterator[Finding]:
    try:
        configured = bool(settings.key_secret())
    except SayonceError as error:
        yield fail("secret", error.message)
        return
    file = settings.security.key_secret_file
    if configured and file is not None and _others_have_rights(Path(file)):
        yield warn("secret", f"other users have rights to {file}", f"chmod 600 {file}")
    elif configured:
        yield ok("secret", "keys and seals are made with your secret")
    else:
        yield warn(
            "secret",
            "none is configured: who can write to the store can forge clips, and who can read it can guess texts",
            "set security.key_secret_file to a file of random bytes, the same for every server that shares the store",
        )


def _others_have_rights(path: Path) -> bool:
    return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def access(settings: Settings) -> Iterator[Finding]:
    try:
        loaded = load_access(settings)
    except SayonceError as error:
        yield fail("API keys", error.message)
        return
    if loaded.open:
        yield ok("API keys", "none: only this machine is served")
    else:
        yield ok("API keys", f"read from {settings.security.api_keys_file}")


async def store(settings: Settings) -> AsyncIterator[Finding]:
    """Check that the store opens and answers, then what its own kind can get wrong."""
    where = parse_url(settings.store_url)
    try:
        opened = build_cache(settings).store
        if opened is None or where is None:
            yield warn("store", "memory:// is lost when the server ends", "name a file or a Redis in store.url")
            return
        latency_seconds = await _latency(opened)
    except SayonceError as error:
        yield fail("store", f"{error}", "mend it, or name another in store.url; until then nothing is remembered")
        return
    yield _prompt(place(where), latency_seconds, settings.store.budget_ms / 1000)
    found = _sqlite(where, settings) if isinstance(where, SQLiteURL) else await _redis(where, settings)
    for finding in (*found, *await _names(settings)):
        yield finding


async def _latency(opened: Store) -> float:
    """Write an entry, and return how long it takes to read it.

    Raises:
        StoreError: it cannot be written, or not be read again.

    """
    now = time.time()
    probe = Entry(key=os.urandom(DIGEST_BYTES), body=b"", media_type="", created=now, expires=now + _PROBE_SECONDS)
    try:
        await opened.open()
        kept = await opened.put(probe)
        started = time.perf_counter()
        found = await opened.get(probe.key)
        elapsed_seconds = time.perf_counter() - started
        await opened.delete(probe.key)
    finally:
        await opened.close()
    if not kept or found is None:
        raise StoreError("does not keep what is written to it")
    return elapsed_seconds


def _prompt(where: str, latency_seconds: float, budget_seconds: float) -> Finding:
    answers = f"{where} answers in {1000 * latency_seconds:.1f} ms"
    if latency_seconds < budget_seconds:
        return ok("store", answers)
    return warn("store", f"{answers}, and its budget is {seconds(budget_seconds)}", "raise store.budget_ms, or move it")


def _sqlite(where: SQLiteURL, settings: Settings) -> list[Finding]:
    facts = where.path.stat()
    used, bound, free = facts.st_size, settings.store.max_bytes, shutil.disk_usage(where.path.parent).free
    holds = f"the file has {size(used)} of {size(bound)}; the disk has {size(free)} free"
    roomy = free > bound - used
    found = [ok("store", holds) if roomy else warn("store", holds, "free some space, or lower store.max_bytes")]
    for kept in damaged_beside(where.path):
        message = f"the file was damaged: it is kept as {kept.name}, and names of voices in it may be missing"
        found.append(warn("store", message, "upload missing voices again, and move it to another directory"))
    if _others_have_rights(where.path):
        found.append(warn("store", "other users have rights to the file", f"chmod 600 {where.path}"))
    return found


async def _names(settings: Settings) -> list[Finding]:
    """Find records of uploaded voices that cannot be read: those voices are not spoken in."""
    async with build_cache(settings) as cache:
        assert cache.store is not None
        assert cache.health is not None
        with suppress(StoreError):  # of a table that is beyond its bound it was told before
            await VoiceNames(cache, cache.store).learn()
        advice = "or set the secret with which they were uploaded"
        return [warn("voices", why, advice) for why in cache.health.lost.values()]


async def _redis(where: RedisURL, settings: Settings) -> list[Finding]:
    from sayonce.stores.redis import RedisStore

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
        message = f"INFO and TIME are refused: {error}"
        found.append(warn("store", message, "allow them to this user, to have memory and clock checked"))
    finally:
        await opened.close()
    return found


async def _table(opened: Store, name: str) -> Mapping[str, bytes]:
    """Return a table; nothing of one that is beyond its bound, which the store then tells of."""
    try:
        return await opened.registry(name)
    except StoreError as error:
        if error.failure is not Failure.BEYOND:
            raise
        return {}


def _beyond(why: str) -> Finding:
    advice = "remove from it what is not of this program, or all of it: running servers put back what they know"
    return fail("store", why, advice)


def _exposure(where: RedisURL) -> Iterator[Finding]:
    if where.host in _LOCAL:
        return
    if where.password is None:
        yield warn("store", "Redis is reached without a password", "set one, and write it into store.url")
    if not where.tls:
        yield warn("store", "Redis is reached without TLS", "use rediss:// where the network is not yours alone")


def _lasting(servers: Sequence[Health], settings: Settings, *, uploaded: int) -> Iterator[Finding]:
    """Find uploaded voices that a restart of the store would lose, where their names would then be passed on."""
    passing = [engine.name for engine in build_engines(settings) if engine.passes_unknown_voices]
    if not (uploaded and passing) or all(health.logs_writes for health in servers):
        return
    yield warn(
        "voices",
        f"Redis may lose uploaded voices when it restarts (appendonly no); a server that starts after one passes the names of lost voices on to "
        f"the engine {passing[0]!r}, which may speak in another voice",
        f'set appendonly yes in Redis, or unknown_voices = "refuse" in [engines.{passing[0]}]',
    )


def _memory(health: Health) -> Finding:
    if health.warning is not None:
        return warn("store", *health.warning)
    return ok("store", f"{health.address} keeps at most {size(health.max_bytes)}, and evicts by {health.policy}")


def _clock(health: Health) -> Finding:
    apart_seconds = abs(time.time() - health.clock)
    if apart_seconds <= _CLOCKS_APART_SECONDS:
        return ok("clock", f"agrees with that of {health.address}")
    return warn(
        "clock",
        f"is {apart_seconds:.0f} s from that of {health.address}",
        "synchronize both (NTP): ages and expiry depend on it",
    )


async def engines(settings: Settings) -> AsyncIterator[Finding]:
    try:
        built = build_engines(settings)
    except SayonceError as error:
        yield fail("engine", error.message)
        return
    for engine in built:
        for finding in await _engine(engine):
            yield finding


async def _engine(engine: Engine) -> list[Finding]:
    """Load an engine, and ask the servers that speak for it."""
    try:
        loaded = await _load(engine)
        return [loaded] if loaded.grade is Grade.FAIL else [loaded, *_servers(engine, await engine.check())]
    finally:
        await engine.close()


def _servers(engine: Engine, wrong: Mapping[str, str]) -> Iterator[Finding]:
    """Find the servers that do not answer: a failure only when there is no other."""
    check, found = f"engine {engine.name}", fail if len(wrong) == len(engine.upstreams) else warn
    for upstream in engine.upstreams:
        if upstream.url in wrong:
            advice = f"start it, or name another address in engines.{engine.name}.base_url"
            yield found(check, f"{upstream.url}: {wrong[upstream.url]}", advice)
        else:
            yield ok(check, f"{upstream.url} answers")


async def _load(engine: Engine) -> Finding:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(_LOADING_SECONDS):
            await engine.load()
    except SayonceError as error:
        return fail(f"engine {engine.name}", error.message)
    except TimeoutError:
        return fail(f"engine {engine.name}", f"does not load within {_LOADING_SECONDS:g} s")
    voices = len(engine.voices())
    heard = f"{voices} voice{'s' if voices != 1 else ''}" if voices else "voices known to its server alone"
    return ok(f"engine {engine.name}", f"loads in {seconds(time.perf_counter() - started)}, {heard}")
