"""Any speech server that speaks OpenAI's API, by its ``base_url``, or several that are equal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import httpx

from sayonce.audio.decode import mpeg
from sayonce.core.audio_start import AudioStart
from sayonce.errors import EngineBusy, EngineError
from sayonce.speech.engines.base import Engine
from sayonce.speech.engines.copies.keeper import CopyKeeper
from sayonce.speech.engines.copies.known import Copy
from sayonce.speech.engines.copies.names import names_a_copy
from sayonce.speech.engines.copies.server import ServerVoices
from sayonce.speech.engines.declaration import Voice
from sayonce.speech.engines.openai import checks
from sayonce.speech.engines.openai.address import api_key, base_url, base_urls
from sayonce.speech.engines.openai.body import body_of, speaker_of
from sayonce.speech.engines.openai.client import open_client
from sayonce.speech.engines.openai.fields import checked_defaults, checked_drop
from sayonce.speech.engines.openai.label import DEFAULT_RATE_HZ
from sayonce.speech.engines.openai.options import OpenAIOptions
from sayonce.speech.engines.openai.reader import Reader
from sayonce.speech.engines.parameters import Parameter
from sayonce.speech.engines.runtime.balance import Balance, Failures, Upstream
from sayonce.speech.engines.runtime.http_errors import translated
from sayonce.speech.engines.runtime.retry_after import retry_after_seconds
from sayonce.speech.engines.utterance import Utterance

if TYPE_CHECKING:
    from sayonce.speech.engines.copies.table import CopyTable

_TRIES_BY_NAME: Final = 2
"""A server that has forgotten a voice once gets it again; one that does so at once is sent the reference."""
_MAYBE_OF_VOICE: Final = (400, 404, 410, 422)
"""How a server may refuse a voice that it does not know, and much else."""


class OpenAIEngine(Engine):
    """A client of one server, or of several equal ones. What is undeclared is handed on and keyed whole."""

    kind = "openai"
    options = OpenAIOptions
    passes_unknown = True
    clones = True
    also_voice = "speaker"  # vLLM-Omni's
    concurrency = 16
    parameters: tuple[Parameter, ...] = (
        Parameter(name="speed", type=float, default=1.0, minimum=0.25, maximum=4.0),
        Parameter(name="instructions", type=str, default="", description="how to speak, for models that follow it"),
        # Each end user would have clips of their own, were it keyed.
        Parameter(name="user", type=str, default="", heard=False, description="who asks, passed on by drop = []"),
    )

    def __init__(self, name: str, options: OpenAIOptions) -> None:
        super().__init__(name)
        self.models = options.models
        self.upstream_model = options.model
        self.drop = checked_drop(self, options.drop)
        self.parameters = tuple(each for each in self.parameters if each.name not in self.drop)
        self.defaults = checked_defaults(self, options.defaults, self.drop)
        self.passes_unknown_voices = not options.voices and options.unknown_voices == "pass"
        self._options = options
        urls = base_urls(name, options.base_url)
        self._keyed_as = urls[0] if options.keyed_as is None else base_url(name, options.keyed_as, "keyed_as")
        self._balance = Balance(name, urls, self._check, lambda: self.resized(self.capacity))
        self.upstreams = self._balance.upstreams
        self._key = api_key(name, options.api_key_env)
        self._client: httpx.AsyncClient | None = None
        self._copies: CopyTable | None = None
        self._kept: CopyKeeper | None = None
        self._reader = Reader(name, options.response_format, options.sample_rate_hz, self._key)
        self.take_format = None if options.response_format in ("wav", "pcm") else options.response_format

    def identity(self) -> Mapping[str, Any]:
        return self._identity

    @cached_property
    def _identity(self) -> Mapping[str, Any]:
        asked = self._options.response_format
        more: dict[str, Any] = {}
        if asked == "pcm":
            more = {"sample_rate_hz": self._options.sample_rate_hz or DEFAULT_RATE_HZ}
        elif asked == "mp3":
            more = {"decoding": mpeg.DECODER_VERSION}  # what is derived from a take in MP3 is decoded first
        return {
            "kind": self.kind,
            "base_url": self._keyed_as,
            "revision": self._options.revision,
            "format": asked,
        } | more

    def voices(self) -> tuple[Voice, ...]:
        return self._voices

    @cached_property
    def _voices(self) -> tuple[Voice, ...]:
        return tuple(map(Voice, self._options.voices))

    def resolve_voice(self, voice: str) -> str:
        refused = self._options.unknown_voices == "refuse" or names_a_copy(voice)
        if refused and voice != self.default_voice and not self.offers(voice):
            raise self._no_such_voice(voice)
        return super().resolve_voice(voice)

    def resolve_model(self, model: str | None) -> str:
        return model if model in self._options.models else self._options.model

    def attach_copies(self, copies: CopyTable) -> None:
        self._copies = copies

    async def load(self) -> None:
        addresses = [upstream.url for upstream in self.upstreams]
        self._client = open_client(addresses, self._key, self._options.timeout_seconds)
        if self._copies is not None:
            servers = [ServerVoices(self.name, self._client, upstream.url) for upstream in self.upstreams]
            self._kept = CopyKeeper(
                self.name, servers, self._copies, time.monotonic, send=self._options.upstream_voices == "auto"
            )

    @property
    def capacity(self) -> int:
        return self._balance.capacity(self.concurrency)

    async def check(self) -> Mapping[str, str]:
        servers = [checks.examine(self.name, self._loaded, each.url) for each in self.upstreams]
        found = zip(self.upstreams, await asyncio.gather(*servers), strict=True)
        return {each.url: error.message for each, error in found if error is not None}

    async def _check(self, upstream: Upstream) -> EngineError | None:
        return await checks.check(self.name, self._loaded, upstream.url)

    async def synthesize(self, utterance: Utterance) -> AsyncGenerator[AudioStart | bytes, None]:
        client, failures = self._loaded, Failures()
        while True:
            upstream = await self._balance.choose(failures, self.concurrency, self.queue_seconds)
            heard = False
            try:
                with self._balance.asking(upstream, failures):
                    async with aclosing(_once_audible(self._ask(client, upstream, utterance))) as audio:
                        async for item in audio:
                            heard = True
                            yield item
            except EngineError as error:
                if heard:
                    raise  # two servers' takes are never spliced
                failures[upstream] = error
            else:
                return

    async def _ask(
        self, client: httpx.AsyncClient, upstream: Upstream, utterance: Utterance
    ) -> AsyncGenerator[AudioStart | bytes, None]:
        """Yield what one server says: asked by the name of the copy that it has of a reference, else with the reference."""
        blamed: Copy | None = None
        with translated(self.name):
            for _ in range(_TRIES_BY_NAME):
                copy = await self._copy(upstream, utterance)
                if copy is None:
                    break
                async with self._asking(client, upstream, utterance, {"voice": copy.name}) as response:
                    knew = await self._knew(upstream, copy, response)
                    if knew and response.status_code not in _MAYBE_OF_VOICE:
                        async for item in self._reader.audio(response):
                            yield item
                        return
                if knew is not False:
                    blamed = copy if knew else None
                    break
            async with self._asking(client, upstream, utterance, speaker_of(utterance)) as response:
                if blamed is not None and response.is_success and self._kept is not None:
                    self._kept.refused(upstream.url, blamed)
                async for item in self._reader.audio(response):
                    yield item

    async def _copy(self, upstream: Upstream, utterance: Utterance) -> Copy | None:
        if self._kept is None or utterance.reference is None:
            return None
        return await self._kept.at(upstream.url, utterance.reference)

    async def _knew(self, upstream: Upstream, copy: Copy, response: httpx.Response) -> bool | None:
        """Whether a server had a copy when it began to answer, as far as its answer can have to do with that; None if unknown."""
        assert self._kept is not None
        if not response.is_success and response.status_code not in _MAYBE_OF_VOICE:
            return True
        held = await self._kept.holds(upstream.url, copy)
        if held is False:
            self._kept.lost(upstream.url, copy)
        return held

    @asynccontextmanager
    async def _asking(
        self, client: httpx.AsyncClient, upstream: Upstream, utterance: Utterance, speaker: dict[str, Any]
    ) -> AsyncIterator[httpx.Response]:
        headers = {**self.context_headers()}
        if utterance.cache_control:
            headers["Cache-Control"] = utterance.cache_control
        url, body = (
            f"{upstream.url}/audio/speech",
            body_of(utterance, self.parameters, self._options.response_format) | speaker,
        )
        async with client.stream("POST", url, json=body, headers=headers) as response:
            try:
                yield response
            except EngineBusy:
                if not response.is_success:
                    self._balance.rest(upstream, retry_after_seconds(response.headers))
                raise

    @property
    def _loaded(self) -> httpx.AsyncClient:
        if self._client is None:
            raise EngineError(f"{self.name!r} is not loaded")
        return self._client

    async def close(self) -> None:
        await self._balance.close()
        if self._kept is not None:
            await self._kept.close()
            self._kept = None
        if self._client is not None:
            await self._client.aclose()
            self._client = None


async def _once_audible(
    items: AsyncGenerator[AudioStart | bytes, None],
) -> AsyncGenerator[AudioStart | bytes, None]:
    """Keep the start back until there is something to hear: until then another server may be asked."""
    start: AudioStart | None = None
    async with aclosing(items):
        async for item in items:
            if isinstance(item, AudioStart):
                start = item
            elif item:
                if start is not None:
                    yield start
                    start = None
                yield item
