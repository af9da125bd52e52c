"""The checks of ``sayonce doctor``; each yields findings, and none raises for the trouble that it looks for."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import stat
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Final

from sayonce._version import __version__
from sayonce.cli.check_redis import check_redis
from sayonce.cli.findings import Finding, Grade, fail, ok, warn
from sayonce.cli.language import phrase
from sayonce.cli.output import address, seconds, size
from sayonce.config import Settings, misspelt
from sayonce.core.envelope import Entry
from sayonce.core.key import DIGEST_BYTES
from sayonce.errors import SayonceError, StoreError
from sayonce.gateway.access import load_access
from sayonce.service import build_cache, build_engines
from sayonce.speech.engines import Engine
from sayonce.speech.voice_names import VoiceNames
from sayonce.stores.base import Store
from sayonce.stores.sqlite.file import damaged_beside
from sayonce.stores.url import SQLiteURL, parse_url

_LOADING_SECONDS: Final = 60.0
_PROBE_SECONDS: Final = 5.0


def versions() -> Iterator[Finding]:
    import soundfile

    yield ok("versions", f"sayonce {__version__}, Python {platform.python_version()}")
    yield ok("versions", f"libsndfile {soundfile.__libsndfile_version__}, redis client {version('redis')}")


def environment(variables: Mapping[str, str]) -> Iterator[Finding]:
    """Find variables that look like settings and are none, as they lack the second underscore."""
    for variable, right in misspelt(variables):
        message = phrase("{variable} has no effect", variable=variable)
        yield warn("configuration", message, phrase("call it {name}", name=right))


def secrets(settings: Settings) -> Iterator[Finding]:
    try:
        configured = bool(settings.key_secret())
    except SayonceError as error:
        yield fail("secret", error.message)
        return
    file = settings.security.key_secret_file
    if configured and file is not None and _others_have_rights(Path(file)):
        yield warn("secret", phrase("other users have rights to {file}", file=file), f"chmod 600 {file}")
    elif configured:
        yield ok("secret", phrase("keys and seals are made with your secret"))
    else:
        yield warn(
            "secret",
            phrase(
                "none is configured: write access to the store is enough to forge clips, and read access to guess texts"
            ),
            phrase(
                "set security.key_secret_file to a file of random bytes, the same for every server that shares the store"
            ),
        )


def _others_have_rights(path: Path) -> bool:
    return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def access(settings: Settings) -> Iterator[Finding]:
    try:
        loaded = load_access(settings)
    except SayonceError as error:
        yield fail("API keys", error.message)
        return
    if loaded.open and settings.server.origins:
        yield warn(
            "API keys",
            phrase("none: web pages of {origins} may do everything", origins=", ".join(settings.server.origins)),
            phrase("set security.api_keys_file, so that a page may do what its key may"),
        )
    elif loaded.open:
        yield ok("API keys", phrase("none: only this machine is served"))
    else:
        yield ok("API keys", phrase("read from {file}", file=settings.security.api_keys_file))


async def store(settings: Settings) -> AsyncIterator[Finding]:
    """Check that the store opens and answers, and then by its kind."""
    where = parse_url(settings.store_url)
    try:
        opened = build_cache(settings).store
        if opened is None or where is None:
            message = phrase("memory:// is lost when the server ends")
            yield warn("store", message, phrase("name a file or a Redis in store.url"))
            return
        latency_seconds = await _latency(opened)
    except SayonceError as error:
        advice = phrase("mend it, or name another in store.url; until then nothing is remembered")
        yield fail("store", f"{error}", advice)
        return
    yield _prompt(address(where), latency_seconds, settings.store.budget_ms / 1000)
    found = _sqlite(where, settings) if isinstance(where, SQLiteURL) else await check_redis(where, settings)
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
        raise StoreError(phrase("does not keep what is written to it"))
    return elapsed_seconds


def _prompt(where: str, latency_seconds: float, budget_seconds: float) -> Finding:
    latency_ms = f"{1000 * latency_seconds:.1f} ms"
    if latency_seconds < budget_seconds:
        return ok("store", phrase("{store} answers in {time}", store=where, time=latency_ms))
    budget = seconds(budget_seconds)
    message = phrase(
        "{store} answers in {time}, and its budget is {budget}", store=where, time=latency_ms, budget=budget
    )
    return warn("store", message, phrase("raise store.budget_ms, or move it"))


def _sqlite(where: SQLiteURL, settings: Settings) -> list[Finding]:
    facts = where.path.stat()
    used, bound, free = facts.st_size, settings.store.max_bytes, shutil.disk_usage(where.path.parent).free
    holds = phrase(
        "the file has {used} of {bound}; the disk has {free} free", used=size(used), bound=size(bound), free=size(free)
    )
    roomy = free > bound - used
    advice = phrase("free some space, or lower store.max_bytes")
    found = [ok("store", holds) if roomy else warn("store", holds, advice)]
    for kept in damaged_beside(where.path):
        message = phrase(
            "the file was damaged: it is kept as {name}, and names of voices in it may be missing", name=kept.name
        )
        found.append(warn("store", message, phrase("upload missing voices again, and move it to another directory")))
    if _others_have_rights(where.path):
        found.append(warn("store", phrase("other users have rights to the file"), f"chmod 600 {where.path}"))
    return found


async def _names(settings: Settings) -> list[Finding]:
    """Find records of uploaded voices that cannot be read: no request can use those voices."""
    async with build_cache(settings) as cache:
        assert cache.store is not None
        assert cache.health is not None
        with suppress(StoreError):  # of a table that is beyond its bound it was told before
            await VoiceNames(cache, cache.store).learn()
        advice = phrase("or set the secret with which they were uploaded")
        return [warn("voices", why, advice) for why in cache.health.lost.values()]


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
    found = fail if len(wrong) == len(engine.upstreams) else warn
    check = phrase("engine {name}", name=engine.name)
    for upstream in engine.upstreams:
        if upstream.url in wrong:
            advice = phrase("start it, or name another address in engines.{name}.base_url", name=engine.name)
            yield found(check, f"{upstream.url}: {wrong[upstream.url]}", advice)
        else:
            yield ok(check, phrase("{url} answers", url=upstream.url))


async def _load(engine: Engine) -> Finding:
    started, check = time.perf_counter(), phrase("engine {name}", name=engine.name)
    try:
        async with asyncio.timeout(_LOADING_SECONDS):
            await engine.load()
    except SayonceError as error:
        return fail(check, error.message)
    except TimeoutError:
        return fail(check, phrase("does not load within {seconds:g} s", seconds=_LOADING_SECONDS))
    took = seconds(time.perf_counter() - started)
    if not engine.voices():
        return ok(check, phrase("loads in {time}, voices known to its server alone", time=took))
    return ok(check, phrase("loads in {time}, voices: {count}", time=took, count=len(engine.voices())))
