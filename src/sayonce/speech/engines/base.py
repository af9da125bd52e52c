"""What an engine is: it declares what changes its sound, and turns an utterance into PCM as it makes it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from sayonce.speech.parameters import Parameter


class Voice(msgspec.Struct, frozen=True):
    """A voice that an engine offers; ``language`` is a BCP 47 tag where the engine knows it."""

    id: str
    language: str | None = None
    description: str = ""


class Utterance(msgspec.Struct, frozen=True):
    """One thing to say, with every parameter filled in and at its bucket's representative value."""

    text: str
    voice: str
    model: str
    parameters: dict[str, Any]


class AudioStart(msgspec.Struct, frozen=True):
    """The first thing that an engine yields: what its bytes will be.

    ``media_type`` is ``audio/pcm`` for little-endian signed 16-bit interleaved samples, the form of every engine that
    can give it; anything else is audio "as it came", such as ``audio/mpeg``.
    """

    sample_rate_hz: int
    channels: int = 1
    media_type: str = "audio/pcm"


class Engine(ABC):
    """A source of speech. Subclasses declare; the gateway, the key and ``lint-key`` read the declarations."""

    name: str
    """The name under which it is configured, and which requests give as ``model``."""
    kind: str
    models: tuple[str, ...] = ()
    """Further values of ``model`` that it serves; ``utterance.model`` is the one that was asked for."""
    parameters: tuple[Parameter, ...] = ()
    passes_unknown: bool = False
    """Whether fields that it did not declare are handed on (and keyed whole) instead of refused."""
    default_voice: str | None = None
    max_characters: int = 4096

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.failed: Exception | None = None

    @abstractmethod
    async def load(self) -> None:
        """Make the engine able to speak; slow, and run in the background.

        Raises:
            EngineError, MissingExtra: it never will.

        """

    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """Return what distinguishes this engine's sound from every other's: kind, model revision, address, options.

        Known without loading the model, so that stored clips are served before it is ready.
        """

    @abstractmethod
    def voices(self) -> tuple[Voice, ...]:
        """Return the voices it knows without loading the model; empty when only the far side knows."""

    def resolve_voice(self, voice: str) -> str:
        """Return the canonical id of a voice.

        Raises:
            NotFound: naming some that exist.

        """
        raise NotImplementedError

    def canonical_text(self, text: str, voice: str, parameters: Mapping[str, Any]) -> Any:  # noqa: ARG002
        """Return the text as the model itself tells texts apart (token ids, phonemes); by default the text."""
        return text

    @abstractmethod
    def synthesize(self, utterance: Utterance) -> AsyncIterator[AudioStart | bytes]:
        """Yield an ``AudioStart``, then the audio as it is made; a normal end means that it is whole.

        Raises:
            EngineError: it failed; what was yielded so far is not kept.

        """

    async def close(self) -> None:  # noqa: B027 (not every engine holds something)
        """Release the model, threads or connections; idempotent."""
