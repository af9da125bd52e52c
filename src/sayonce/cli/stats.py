"""``sayonce stats``: print the figures of a store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from sayonce.cache.stats import stored
from sayonce.cli.language import phrase
from sayonce.cli.output import data_json, seconds, size, table, talk
from sayonce.cli.which_store import lasting
from sayonce.config import Settings
from sayonce.errors import StoreError
from sayonce.service import build_cache
from sayonce.speech.voice_names import VoiceNames


def stats(settings: Settings, *, as_json: bool) -> None:
    """Print the store's figures, and the parts that cannot be read; do not try whether it takes new values.

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
            talk("the store is in trouble: {trouble}", trouble=figures["trouble"])


async def _collect(settings: Settings) -> dict[str, Any]:
    async with build_cache(settings) as cache:
        assert cache.store is not None
        figures = await stored(cache.store)
        with suppress(StoreError):  # which the cache then tells of
            await VoiceNames(cache, cache.store).learn()
        return {**figures, "trouble": cache.trouble}


def _rows(store: dict[str, Any], lifetime: dict[str, Any]) -> Iterator[tuple[str, str]]:
    bound = store["max_bytes"]
    at_most = phrase("no bound") if bound is None else phrase("at most {size}", size=size(bound))
    rate = lifetime["hit_rate"]
    yield phrase("store"), store["name"]
    yield phrase("entries"), f"{store['entries']:,}"
    yield phrase("size"), f"{size(store['used_bytes'])} ({at_most})"
    yield phrase("requests"), f"{lifetime['requests']:,.0f}"
    yield phrase("hits"), f"{lifetime.get('hit', 0):,.0f}"
    yield phrase("joined"), f"{lifetime.get('joined', 0):,.0f}"
    yield phrase("hit rate"), phrase("no requests yet") if rate is None else f"{100 * rate:.1f} %"
    yield phrase("engine calls"), f"{lifetime.get('engine calls', 0):,.0f}"
    yield phrase("engine time"), seconds(lifetime.get("engine seconds", 0))
    yield phrase("time saved"), seconds(lifetime.get("saved_seconds", 0))
