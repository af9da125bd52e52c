"""``sayonce purge``."""

from __future__ import annotations

import asyncio
import sys

import typer

from sayonce.cache import Obeyed
from sayonce.cli.inspect import lasting
from sayonce.cli.options import wrong
from sayonce.cli.output import data, place
from sayonce.config import Settings
from sayonce.errors import MissingExtra, StoreError
from sayonce.gateway.admin import check_tag, parse_digest
from sayonce.speech import purging
from sayonce.speech.request import Catalogue
from sayonce.speech.service import build_cache, build_engines
from sayonce.speech.synthesis import Synthesizer
from sayonce.stores.url import parse_url


def run(settings: Settings, *, tag: str | None, key: str | None, everything: bool, yes: bool) -> None:
    """Remove what exactly one of the options names.

    Raises:
        InvalidRequest: the tag or the key is malformed.
        StoreError: the store did not do it.

    """
    if [tag is not None, key is not None, everything].count(True) != 1:
        raise wrong("give exactly one of --tag, --key and --all")
    lasting(settings)
    if tag is not None:
        check_tag(tag)
    digest = None if key is None else parse_digest(key)
    if everything and not yes:
        _confirm(settings)
    asyncio.run(_purge(settings, tag, digest))


def _confirm(settings: Settings) -> None:
    if not sys.stdin.isatty():
        raise wrong("--all removes every clip: confirm it with --yes")
    if not typer.confirm(f"Remove every clip from {place(parse_url(settings.store_url))}?", err=True):
        raise typer.Exit(1)


def _catalogue(settings: Settings) -> Catalogue:
    """Return the engines that are configured, whose aliases a tag may name; none where none is installed."""
    try:
        return Catalogue(build_engines(settings))
    except MissingExtra:
        return Catalogue(())


async def _purge(settings: Settings, tag: str | None, digest: bytes | None) -> None:
    async with build_cache(settings) as cache:
        if tag is not None:
            told, obeyed = (
                f"purged {tag}: what was stored under it before now is no longer answered",
                await purging.purge(Synthesizer(cache, _catalogue(settings)), tag),
            )
        elif digest is not None:
            entries, obeyed = await Synthesizer(cache, Catalogue(())).forget(digest)
            told = "removed" if entries else "nothing was stored under this key"
        else:
            entries, obeyed = await cache.remove_all()
            told = f"removed {entries} entries"
    if obeyed is Obeyed.HERE:
        raise StoreError(f"{place(parse_url(settings.store_url))} does not answer: nothing was purged")
    data(told)
