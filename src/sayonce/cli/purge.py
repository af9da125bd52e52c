"""``sayonce purge``: remove clips from the store."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable
from typing import Any, Final

import msgspec
import typer

from sayonce.cache import Obeyed
from sayonce.cli.explain import plan_of
from sayonce.cli.language import phrase
from sayonce.cli.options import wrong
from sayonce.cli.output import address, data
from sayonce.cli.requests import Said, read_request, utf8
from sayonce.cli.which_store import lasting
from sayonce.config import Settings
from sayonce.core.key import DIGEST_BYTES
from sayonce.errors import MissingExtra, StoreError
from sayonce.gateway.admin import check_tag
from sayonce.service import Service, build_cache, build_engines
from sayonce.speech import purging
from sayonce.speech.catalogue import Catalogue
from sayonce.speech.identity import TAGS
from sayonce.speech.request import parse_json
from sayonce.speech.synthesis import Synthesizer
from sayonce.stores.url import parse_url

_KEY: Final = re.compile(f"[0-9A-Fa-f]{{{2 * DIGEST_BYTES}}}")


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """The clips that the command line asks to remove."""

    digest: str | None
    key: str | None
    said: Said | None
    request: str | None
    tenant: str | None
    tag: str | None
    everything: bool
    yes: bool


def said_before(
    text: str | None, *, voice: str | None, audio_format: str | None, params: list[str], model: str | None
) -> Said | None:
    """Return the request of the clip to remove, or None where no text is given.

    Raises:
        BadParameter: an option that goes with the text is given without it.

    """
    if text is not None:
        return Said(text, voice, audio_format, params, model)
    if voice or model or audio_format or params:
        raise wrong("--voice, --model, --format and --param go with --text")
    return None


def run(job: Job, settings_of: Callable[[], Settings]) -> None:
    """Remove the clips that exactly one option names; the settings are asked for once the options are right.

    Raises:
        CallerError: the tag, the key or the request is malformed.
        StoreError: the store did not do it.

    """
    given = (job.digest, job.key, job.said, job.request, job.tag, job.everything or None)
    if sum(each is not None for each in given) != 1:
        raise wrong("give exactly one of KEY, --text, --request, --tag and --all")
    digest = _digest(job)
    if job.tag is not None:
        _check_tag(job.tag)
    settings = settings_of()
    lasting(settings)
    if job.said is not None or job.request is not None:
        if settings.security.api_keys_file is not None and job.tenant is None:
            raise wrong("with API keys each clip belongs to a tenant: name it with --tenant")
        asyncio.run(_purge_request(job, settings))
        return
    if job.everything and not job.yes:
        _confirm(settings)
    asyncio.run(_purge(settings, job.tag, digest))


def _digest(job: Job) -> bytes | None:
    key = job.key if job.digest is None else job.digest
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise wrong("KEY is 64 hexadecimal digits, as in X-Sayonce-Key; for a text, write --text TEXT")
    return bytes.fromhex(key)


def _check_tag(tag: str) -> None:
    name, separator, _ = tag.partition("=")
    if name not in TAGS or not separator:
        names = ", ".join(f"{each}=…" for each in TAGS)
        raise wrong("--tag {tag}: begin it with one of {names}", tag=tag, names=names)
    check_tag(utf8(tag, "--tag"), "--tag")


def _confirm(settings: Settings) -> None:
    if sys.stdin is None or not sys.stdin.isatty():
        raise wrong("--all removes every clip: confirm it with --yes")
    if not typer.confirm(phrase("Remove every clip from {store}?", store=_store(settings)), err=True):
        raise typer.Exit(1)


def _store(settings: Settings) -> str:
    return address(parse_url(settings.store_url))


def _catalogue(settings: Settings) -> Catalogue:
    """Return the configured engines, as a tag may name their aliases; none where none is installed."""
    try:
        return Catalogue(build_engines(settings), openai_names=settings.server.openai_names)
    except MissingExtra:
        return Catalogue(())


async def _purge(settings: Settings, tag: str | None, digest: bytes | None) -> None:
    async with build_cache(settings) as cache:
        if tag is not None:
            told = phrase("purged {tag}: nothing that was stored under it before now is used any more", tag=tag)
            obeyed = await purging.purge(Synthesizer(cache, _catalogue(settings)), tag)
        elif digest is not None:
            entries, obeyed = await Synthesizer(cache, Catalogue(())).forget(digest)
            told = phrase("removed") if entries else phrase("nothing was stored under this key")
        else:
            entries, obeyed = await cache.remove_all()
            told = phrase("removed {entries} entries", entries=entries)
    _tell(settings, obeyed, told)


async def _purge_request(job: Job, settings: Settings) -> None:
    service = Service(settings)
    async with service.cache:  # and the engines stay unloaded
        synthesizer = service.synthesizer
        await synthesizer.learn_voices()
        plan = plan_of(service, *_fields(job, synthesizer.catalogue), job.tenant or "")
        entries, obeyed = await synthesizer.forget(plan.take_key)
    key = plan.take_key.hex()
    told = phrase("removed {key}", key=key) if entries else phrase("nothing was stored under {key}", key=key)
    _tell(settings, obeyed, told)


def _fields(job: Job, catalogue: Catalogue) -> tuple[str, Callable[[], dict[str, Any]]]:
    """Return the name of the request for messages, and a function that reads it."""
    name, said = phrase("the request"), job.said
    if said is not None:
        return name, lambda: said.fields(catalogue.find(said.model))
    assert job.request is not None
    name, body = read_request(job.request, name)
    return name, lambda: parse_json(body)


def _tell(settings: Settings, obeyed: Obeyed, told: str) -> None:
    if obeyed is Obeyed.HERE:
        raise StoreError(phrase("{store} does not answer: nothing was purged", store=_store(settings)))
    data(told)
