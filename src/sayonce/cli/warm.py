"""``sayonce warm``: make clips, or the features of voices, before anybody asks for them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import httpx
import msgspec
import typer

from sayonce.cache import Cache
from sayonce.cli.exit_codes import FAILED, INTERRUPTED
from sayonce.cli.language import phrase
from sayonce.cli.options import wrong
from sayonce.cli.output import data_json, seconds, table, talk
from sayonce.cli.progress import progress
from sayonce.cli.running import gateways, shareable
from sayonce.cli.warm_rows import Rows
from sayonce.cli.which_store import lasting
from sayonce.config import ByteSize, Settings, parse_duration
from sayonce.errors import ConfigError
from sayonce.observe.ledger import Ledger
from sayonce.observe.ledger_writer import LedgerWriter
from sayonce.service import Service
from sayonce.warm.gateway import GatewayTarget
from sayonce.warm.rows import Row
from sayonce.warm.runner import Summary, Target, Warmer
from sayonce.warm.store import StoreTarget

_SHOWN_FAILURES: Final = 20
_BUDGET_MS: Final = 10_000.0
"""The store's budget here: no listener waits for an answer, and a look-up that is given up would be a synthesis."""
_GATEWAY_SECONDS: Final = 600.0


class Remote(msgspec.Struct, frozen=True):
    """The gateway that is to be warmed."""

    url: str
    api_key_env: str | None
    model: str | None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """The clips, or the features of reference audio, that the command line asks for."""

    rows: Rows
    references: Path | None
    """The directory with reference audio: features are computed then, and no clips."""
    tenant: str | None
    concurrency: int
    rate: float | None
    refresh: bool
    older_than: str | None
    remote: Remote | None
    json: bool

    @property
    def since(self) -> float:
        """The time since the epoch before which a clip is made anew."""
        if self.older_than is not None:
            try:
                return time.time() - parse_duration(self.older_than).total_seconds()
            except ValueError as error:
                raise wrong("--older-than {error}", error=error) from None
        return time.time() if self.refresh else 0.0


# -- what the command does ----------------------------------------------------------------------------------------------


def run(job: Job, settings_of: Callable[[], Settings]) -> None:
    """Make clips or features; the settings are asked for once the options are right.

    Raises:
        ConfigError: a file is wrong, the store would not outlive this, the tenant is not named, or there is
            no gateway where one is named.
        StoreError: the store does not answer.
        MissingExtra: the speaker encoder is not installed.

    """
    if (job.references is None) == (not job.rows.files) or (job.references and job.remote):
        raise wrong("give either files, or --voices with a directory")
    if job.references and (job.refresh or job.older_than is not None):
        raise wrong("--refresh and --older-than are for clips, and not for --voices")
    if job.remote is not None:
        _run_in_gateway(job, job.remote)
    elif job.references is not None:
        _run_features(job, job.references, settings_of())
    else:
        _run_in_store(job, settings_of())


def _run_in_store(job: Job, settings: Settings) -> None:
    """Make the clips with this process's engines, and keep them in the store."""
    lasting(settings)
    if settings.security.api_keys_file is not None and job.tenant is None:
        raise wrong("with API keys each clip belongs to a tenant: name with --tenant the one to make clips for")
    since, rows = job.since, job.rows.read({})
    if since:
        _tell_of_memory(settings)
    _finish(job, asyncio.run(_in_store(job, settings, rows, since)))


def _tell_of_memory(settings: Settings) -> None:
    store, _ = shareable(settings.store_url)
    for gateway in gateways():
        if gateway.store == store:
            talk(
                "the gateway on {url} goes on with the clips in its memory: to renew those too, add --url",
                url=gateway.url,
            )


def _run_in_gateway(job: Job, remote: Remote) -> None:
    """Have a gateway make the clips."""
    if job.tenant is not None:
        raise wrong("--tenant: the gateway takes the tenant from the API key; name that with --api-key-env")
    since, rows = job.since, job.rows.read({"model": remote.model})
    _finish(job, asyncio.run(_in_gateway(job, remote, rows, since)))


def _run_features(job: Job, directory: Path, settings: Settings) -> None:
    """Compute the speaker features of every audio file in a directory."""
    from sayonce.warm.features import references_in

    lasting(settings)
    _finish(job, asyncio.run(_features(job, settings, list(references_in(directory)))))


async def _in_store(job: Job, settings: Settings, rows: Sequence[Row], since: float) -> Summary:
    service = Service(_with_large_budget(settings))
    async with service.cache:
        await _ask_store(service.cache)
        await service.synthesizer.learn_voices()
        ledger = Ledger(service.cache.now)
        writer = LedgerWriter(service.cache, lambda: ledger)
        charge = ledger.charge_computing
        target = StoreTarget(service.synthesizer, job.tenant or "", since=since, computed=charge)
        writer.start()
        try:
            return await _warm(job, target, rows)
        finally:
            await service.synthesizer.close()
            await writer.stop()


async def _in_gateway(job: Job, remote: Remote, rows: Sequence[Row], since: float) -> Summary:
    concurrency = min(job.concurrency, len(rows))
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    client = httpx.AsyncClient(
        base_url=remote.url.rstrip("/"), headers=_credentials(remote), timeout=_GATEWAY_SECONDS, limits=limits
    )
    async with client:
        try:
            await client.get("/health/live")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise ConfigError(phrase("--url: {url} does not answer: {reason}", url=remote.url, reason=reason)) from None
        return await _warm(job, GatewayTarget(client, since=since), rows)


async def _features(job: Job, settings: Settings, rows: Sequence[Row]) -> Summary:
    from sayonce.features.speaker_encoder import SpeakerEncoder
    from sayonce.service import build_cache
    from sayonce.warm.features import VoiceTarget, remembered

    encoder = SpeakerEncoder()
    async with build_cache(_with_large_budget(settings)) as cache:
        await _ask_store(cache)
        return await _warm(job, VoiceTarget(cache, remembered(cache, encoder)), rows)


async def _ask_store(cache: Cache) -> None:
    """Ask the store once, so that one that does not answer fails here and not at each row."""
    if cache.store is not None:
        await cache.store.totals()


def _with_large_budget(settings: Settings) -> Settings:
    """Return the settings with a large budget, as no listener waits, and no memory, as no clip is needed again."""
    store = msgspec.structs.replace(settings.store, budget_ms=max(settings.store.budget_ms, _BUDGET_MS))
    memory = msgspec.structs.replace(settings.memory, max_bytes=ByteSize(0))
    return msgspec.structs.replace(settings, store=store, memory=memory)


def _credentials(remote: Remote) -> dict[str, str]:
    if remote.api_key_env is None:
        return {}
    key = os.environ.get(remote.api_key_env)
    if not key:
        raise ConfigError(phrase("--api-key-env: the environment has no {name}", name=remote.api_key_env))
    return {"authorization": f"Bearer {key}"}


async def _warm(job: Job, target: Target, rows: Sequence[Row]) -> Summary:
    with progress(len(rows)) as advance:
        warmer = Warmer(target, concurrency=min(job.concurrency, len(rows)), per_second=job.rate, progress=advance)
        loop = asyncio.get_running_loop()

        def stop() -> None:
            loop.remove_signal_handler(signal.SIGINT)  # so that the next one ends it at once
            talk("interrupted: clips under way are finished and kept; interrupt again to leave at once")
            warmer.stop()

        loop.add_signal_handler(signal.SIGINT, stop)
        try:
            return await warmer.run(rows)
        finally:
            loop.remove_signal_handler(signal.SIGINT)


# -- what it prints -----------------------------------------------------------------------------------------------------


def _finish(job: Job, summary: Summary) -> None:
    if job.json:
        data_json(summary)
    else:
        for failure in summary.failures[:_SHOWN_FAILURES]:
            talk(f"{failure.place}: {f'{failure.text!r}: ' if failure.text else ''}{failure.reason}")
        if summary.failed > _SHOWN_FAILURES:
            talk("and {count} more; --json lists them all", count=summary.failed - _SHOWN_FAILURES)
        table(_figures(summary))
    if summary.interrupted:
        talk("not all was done: the same command goes on where this one ended")
        raise typer.Exit(INTERRUPTED)
    if summary.failed:
        raise typer.Exit(FAILED)


def _figures(summary: Summary) -> list[tuple[str, str]]:
    return [
        (phrase("computed"), f"{summary.computed:,}"),
        (phrase("already there"), f"{summary.already_there:,}"),
        (phrase("failed"), f"{summary.failed:,}"),
        (phrase("time"), seconds(summary.seconds)),
    ]
