"""``sayonce gc``: remove bodies without a pointer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from sayonce.cli.language import phrase
from sayonce.cli.output import address, data, data_json, size, talk
from sayonce.cli.which_store import lasting
from sayonce.config import Settings
from sayonce.errors import ConfigError
from sayonce.service import build_cache
from sayonce.stores.base import SealedStore
from sayonce.stores.url import parse_url

if TYPE_CHECKING:
    from sayonce.stores.blobs.sweep import Swept


def run(settings: Settings, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove the bodies that nothing points to; exit with 1 where there is no pointer at all, as the store may be wrong.

    Raises:
        ConfigError: there is no body store.
        StoreError: the store or the body store did not answer.

    """
    lasting(settings)
    if settings.bodies.url is None:
        raise ConfigError(phrase("no body store is configured: set bodies.url, or give --bodies"))
    swept = asyncio.run(_sweep(settings, dry_run=dry_run, yes=yes))
    if as_json:
        data_json(swept)
    else:
        data(_told(swept))
    if swept.dry and not dry_run and swept.removed:
        store = address(parse_url(settings.store_url))
        talk(
            "nothing was removed, as {store} points to no body at all: is it the right store? --yes removes them",
            store=store,
        )
        raise typer.Exit(1)


async def _sweep(settings: Settings, *, dry_run: bool, yes: bool) -> Swept:
    async with build_cache(settings) as cache:  # which tells of a missing extra
        from sayonce.stores.blobs.sweep import sweep

        assert isinstance(cache.store, SealedStore)
        assert cache.store.bodies is not None
        bound = settings.bodies.max_bytes
        return await sweep(
            cache.store.addresses(), cache.store.bodies, max_bytes=bound, dry=dry_run, without_pointers=yes
        )


def _told(swept: Swept) -> str:
    figures = {
        "removed": f"{swept.removed:,}",
        "bodies": f"{swept.bodies:,}",
        "removed_size": size(swept.removed_bytes),
        "size": size(swept.bytes),
        "pointers": f"{swept.pointers:,}",
    }
    if swept.dry:
        return phrase(
            "would remove {removed} of {bodies} bodies ({removed_size} of {size}), to which {pointers} entries point",
            **figures,
        )
    return phrase(
        "removed {removed} of {bodies} bodies ({removed_size} of {size}), to which {pointers} entries point", **figures
    )
