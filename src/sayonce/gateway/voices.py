"""The routes of ``/v1/audio/voices``: list all voices, the engines' own and uploaded ones; add and remove uploaded ones."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from typing import Any, Final

import msgspec
from msgspec import UNSET
from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sayonce.cache import Obeyed
from sayonce.core.eviction import LRU
from sayonce.errors import InvalidRequest, UnsupportedMedia
from sayonce.gateway import answers
from sayonce.gateway.access import Access
from sayonce.gateway.http import headers_of, json_response, parse_wait, query_of, read_body, status_of
from sayonce.speech.engines import Engine
from sayonce.speech.engines.bounds import MAX_TEXT, check_length
from sayonce.speech.engines.references import decode_reference
from sayonce.speech.synthesis import Synthesizer
from sayonce.speech.voice_names import NamedVoice
from sayonce.speech.voices import MAX_REFERENCE_BYTES

_FORM_BYTES: Final = 65_536
"""The bytes that a form may have beside the audio."""
_LISTS_BYTES: Final = 16_000_000
_STRANGER: Final = b"\0"
"""Stands for no tenant, and can be no tenant's name."""
_BODY_BYTES: Final = MAX_REFERENCE_BYTES + _FORM_BYTES


class Voices:
    """The voices that there are: the engines' own, and those that were uploaded."""

    def __init__(self, synthesizer: Synthesizer, access: Access) -> None:
        self._synthesizer = synthesizer
        self._voices = synthesizer.voices
        self._access = access
        self._listed: LRU[tuple[int, bytes]] = LRU(_LISTS_BYTES)
        """The lists of tenants as they were sent last, and the names' version then: a thousand take some milliseconds."""

    def routes(self) -> list[Route]:
        return [
            Route("/v1/audio/voices", self.list, methods=["GET"]),
            Route("/v1/audio/voices", self.add, methods=["POST"]),
            Route("/v1/audio/voices/{name}", self.remove, methods=["DELETE"]),
        ]

    async def list(self, request: Request) -> Response:
        client = self._access.authorise_reader(request.scope["headers"])
        if client is not None and not self._voices.names.read:
            await self._synthesizer.learn_voices()
        version, listed_for = self._voices.names.version, _STRANGER if client is None else client.tenant.encode()
        listed = self._listed.get(listed_for)
        if listed is None or listed[0] != version:
            listed = version, self._list(None if client is None else client.tenant)
            self._listed.put(listed_for, listed, len(listed[1]))
        return Response(listed[1], media_type="application/json")

    def _list(self, tenant: str | None) -> bytes:
        """Return the list of a tenant; a stranger's has the engines' own voices alone."""
        uploaded = [] if tenant is None else self._voices.of(tenant)
        clones = self._synthesizer.catalogue.clones
        names = frozenset(voice.name for voice in uploaded)
        data = [answers.Voice(**_facts(voice, clones=clones)) for voice in uploaded]
        for engine in self._synthesizer.catalogue.engines:
            data += [
                answers.Voice(id=voice.id, model=engine.name, language=voice.language, name=voice.description)
                for voice in engine.voices()
            ]
            data += self._openais(engine, names)
        named = {voice.id: answers.Named(id=voice.id, name=voice.name or voice.id) for voice in reversed(data)}
        return msgspec.json.encode(answers.Voices(data=data, voices=[*reversed(named.values())]))

    def _openais(self, engine: Engine, uploaded: Collection[str]) -> Iterator[answers.Voice]:
        """Yield OpenAI's names as an engine understands them, but for those under which it finds an uploaded voice."""
        for name, voice in self._synthesizer.catalogue.openai_voices(engine).items():
            if not (engine.clones and name in uploaded):
                language = engine.language_of(voice)
                yield answers.Voice(id=name, model=engine.name, language=language, name=name, means=voice)

    async def add(self, request: Request) -> Response:
        """Keep a reference under a name; the answer gives the content's id, by which the voice is keyed."""
        client = self._access.authorise(request.scope["headers"])
        wait = parse_wait(query_of(request, "wait").get("wait", True))
        name, audio, ref_text = await _fields(request)
        self._check_free(name)
        voice, obeyed = await self._voices.add(client.tenant, name, audio, ref_text, wait=wait)
        body = answers.UploadedVoice(**_facts(voice, clones=self._synthesizer.catalogue.clones), obeyed=obeyed)
        return json_response(body, 201 if obeyed is Obeyed.EVERYWHERE else 202)

    async def remove(self, request: Request) -> Response:
        client = self._access.authorise(request.scope["headers"])
        name = request.path_params["name"]
        wait = parse_wait(query_of(request, "wait").get("wait", True))
        obeyed = await self._voices.remove(client.tenant, name, wait=wait)
        return json_response(answers.DeletedVoice(name=name, deleted=True, obeyed=obeyed), status_of(obeyed))

    def _check_free(self, name: str) -> None:
        for engine in self._synthesizer.catalogue.engines:
            if engine.offers(name):
                raise InvalidRequest(
                    f"{name!r} is a voice of the engine {engine.name!r}; choose another name", param="name"
                )


async def _fields(request: Request) -> tuple[str, bytes, str]:
    """Read name, audio and transcript from a multipart form, its size being bounded before it is parsed.

    Raises:
        UnsupportedMedia: it is no multipart form.
        InvalidRequest: it is malformed, or a part is missing.
        TooLarge: the audio is too large.

    """
    content_type = request.headers.get("content-type", "")
    if not content_type.startswith("multipart/form-data"):
        raise UnsupportedMedia(
            "the body must be multipart/form-data with 'name' and 'audio_sample'", param="Content-Type"
        )
    if "boundary=" not in content_type:
        raise InvalidRequest("the form cannot be read: its Content-Type names no boundary", param="Content-Type")
    body = await read_body(headers_of(request.scope), request.receive, _BODY_BYTES)

    async def replay() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        async with Request(request.scope, replay).form(max_files=1, max_fields=8, max_part_size=_BODY_BYTES) as form:
            return await _parts(form)
    except HTTPException as error:  # Starlette raises it for a MultiPartException
        raise InvalidRequest(f"the form cannot be read: {error.detail}") from None
    except FormParserError as error:  # its parser's own, which older versions of Starlette let through
        raise InvalidRequest(f"the form cannot be read: {error}") from None


async def _parts(form: FormData) -> tuple[str, bytes, str]:
    name, audio, ref_text = form.get("name"), form.get("audio_sample"), form.get("ref_text", "")
    if not isinstance(name, str):
        raise InvalidRequest("'name' is missing: what the voice will be called", param="name")
    if audio is None:
        raise InvalidRequest("'audio_sample' is missing: the file with the reference audio", param="audio_sample")
    if not isinstance(ref_text, str):
        raise InvalidRequest("'ref_text' must be text: what is said in the reference audio", param="ref_text")
    check_length("ref_text", ref_text, MAX_TEXT)
    return name, await _audio(audio), ref_text


async def _audio(part: UploadFile | str) -> bytes:
    """Return the audio of a form: a file, or a field with the audio as text, as in ``ref_audio``."""
    if isinstance(part, UploadFile):
        return await part.read()
    return await asyncio.to_thread(decode_reference, part, "audio_sample")


def _facts(voice: NamedVoice, *, clones: bool) -> dict[str, Any]:
    """Return what is told of an uploaded voice; ``clones`` is whether any engine here can speak in it."""
    warnings = [voice.warning] if voice.warning else []
    if not clones:
        warnings.append("no engine here speaks in the voice of a reference, so no request can have this voice")
    return {
        "id": voice.id,
        "name": voice.name,
        "ref_text": voice.ref_text,
        "seconds": voice.seconds,
        "warning": "; ".join(warnings) or UNSET,
        "created": int(voice.created),
    }
