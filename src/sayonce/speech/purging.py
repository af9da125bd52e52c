"""Purges by name: each name stands for all that a request with that name would be answered with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sayonce.cache import Obeyed
from sayonce.core.purges import MAX_TAGS, check_tags
from sayonce.errors import NotFound

if TYPE_CHECKING:
    from sayonce.speech.catalogue import Catalogue
    from sayonce.speech.engines import Engine
    from sayonce.speech.synthesis import Synthesizer
    from sayonce.speech.voice_names import VoiceNames


async def purge(synthesizer: Synthesizer, *tags: str, wait: bool = True) -> Obeyed:
    """Outdate all that requests with these names would be answered with; see ``Cache.purge``.

    While the names of uploaded voices cannot be read, other instances may mean other references by them.

    Raises:
        InvalidRequest: the tags are too many, or too long.

    """
    check_tags(tags)
    cache, names = synthesizer.cache, synthesizer.voices.names
    await cache.settle_view()
    if not names.read:
        await synthesizer.learn_voices()
    found = reached(tags, synthesizer.catalogue, names)
    for start in range(MAX_TAGS, len(found), MAX_TAGS):  # many tenants may have a voice of that name
        await cache.purge(*found[start : start + MAX_TAGS], wait=False)
    known = not synthesizer.catalogue.clones or (names.read and names.current())
    obeyed = await cache.purge(*found[:MAX_TAGS], wait=wait)
    return obeyed if known else Obeyed.HERE


def reached(tags: Iterable[str], catalogue: Catalogue, names: VoiceNames) -> list[str]:
    """Return the tags, and those that clips carry which were made under another name of the same engine, model or voice.

    An uploaded name, of whichever tenant, stands for its reference as well: other names may have it, too.
    """
    found: dict[str, None] = {}
    for tag in tags:
        kind, _, name = tag.partition("=")
        found |= dict.fromkeys(f"{kind}={each}" for each in (name, *_called(kind, name, catalogue, names)))
    return list(found)


def _called(kind: str, name: str, catalogue: Catalogue, names: VoiceNames) -> list[str]:
    match kind:
        case "engine":
            return _engines(name, catalogue)
        case "model":
            return _models(name, catalogue)
        case "voice":
            return _voices(name, catalogue, names)
        case _:
            return []


def _engines(name: str, catalogue: Catalogue) -> list[str]:
    """Return the engines with the identity of this one, which share its clips."""
    for engine in catalogue.engines:
        if engine.name == name:
            return [each.name for each in catalogue.engines if each.identity() == engine.identity()]
    return []


def _models(name: str, catalogue: Catalogue) -> list[str]:
    engine = catalogue.models.get(name)
    return [] if engine is None else [engine.resolve_model(name)]


def _voices(name: str, catalogue: Catalogue, names: VoiceNames) -> list[str]:
    own = [voice for engine in catalogue.engines if (voice := _own_voice(name, engine, catalogue)) is not None]
    return [*own, *names.references({name, *own})]


def _own_voice(name: str, engine: Engine, catalogue: Catalogue) -> str | None:
    try:
        return catalogue.resolve_voice(name, engine)
    except NotFound:
        return engine.voice_aliases.get(name)
