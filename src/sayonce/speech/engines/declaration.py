"""The declaration of an engine: everything that is known of it before its model is loaded or its server asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal

import msgspec

from sayonce.errors import NotFound, quoted
from sayonce.speech.engines.nearest import nearest, shorter_tags
from sayonce.speech.engines.options import EngineOptions
from sayonce.speech.engines.parameters import Parameter
from sayonce.text.reading import Reading

_SOME: Final = 12


class Voice(msgspec.Struct, frozen=True):
    """A voice that an engine offers; ``language`` is a BCP 47 tag, None when the engine does not know it."""

    id: str
    language: str | None = None
    description: str = ""


class Declaration(ABC):
    """An engine's own account of what changes its sound; the gateway, the key and ``lint-key`` read nothing else."""

    name: str
    """The engine's name in the settings, which requests give as ``model``."""
    kind: str
    """The engine's class, as ``kind`` of the settings says it."""
    options: ClassVar[type[EngineOptions]] = EngineOptions
    """The options that an ``[engines.NAME]`` section of this kind may set."""
    models: tuple[str, ...] = ()
    """Further values of ``model`` that mean this engine."""
    upstream_model: str | None = None
    """The model's name at the engine's server. Requests may give it, too, unless another engine has that name."""
    parameters: tuple[Parameter, ...] = ()
    passes_unknown: bool = False
    """Whether undeclared fields are handed on (and keyed whole) instead of refused."""
    defaults: Mapping[str, Any] = MappingProxyType({})
    """Fields for requests that do not give them: heard and keyed as if they did."""
    drop: Collection[str] = frozenset()
    """Fields that are left out of what is heard and keyed."""
    clones: bool = False
    """Whether the engine speaks in the voice of a reference."""
    also_voice: str | None = None
    """Another field in which clients name the voice."""
    passes_unknown_voices: bool = False
    """Whether an unknown voice is left to the server, which may then speak in another voice."""
    default_voice: str | None = None
    voice_aliases: Mapping[str, str] = MappingProxyType({})
    """Further names of voices, resolved before the key."""
    max_characters: int = 4096
    text: Literal["plain", "markdown"] = "plain"
    empty: Literal["refuse", "silence"] = "refuse"
    pauses: bool = False
    """Whether punctuation alone is a pause, for which the engine is not asked; else it is a text like any other."""
    cost_per_hour: float | None = None
    """The price of an hour of computing, in the operator's currency."""
    cost_per_1k_chars: float | None = None
    """The price of a thousand characters of text, on top of the computing."""
    take_format: str | None = None
    """The format in which takes arrive and are kept; None for PCM."""

    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """Return everything that distinguishes this engine's sound from any other's: kind, model revision, address, options.

        It is known without loading the model, so that stored clips are served before the model is ready.
        """

    @abstractmethod
    def voices(self) -> tuple[Voice, ...]:
        """Return the voices it knows without loading the model; empty when only its server knows."""

    def resolve_voice(self, voice: str) -> str:
        """Return the canonical id of a voice; any string where only its server knows its voices.

        Raises:
            NotFound: naming some that exist.

        """
        voice = self.voice_aliases.get(voice, voice)
        if self._voice_ids and voice not in self._voice_ids:
            raise self._no_such_voice(voice)
        return voice

    def offers(self, voice: str) -> bool:
        """Whether a voice is one of its own, by id or by alias."""
        return voice in self._voice_ids or voice in self.voice_aliases

    def language_of(self, voice: str) -> str | None:
        """Return the language of a voice, by its canonical id."""
        return next((each.language for each in self.voices() if each.id == voice), None)

    def nearest_voice(self, asked: str, others: Iterable[str] = ()) -> str | None:
        """Return the voice that was probably meant by a name that there is not; ``others`` are names that there are."""
        spoken = next(filter(None, map(self._voice_in, shorter_tags(asked))), None)
        return spoken or nearest(asked, (*others, *self.voice_aliases, *self._voice_ids))

    def _voice_in(self, language: str) -> str | None:
        """Return a voice of a language, by its BCP 47 tag in lower case."""
        languages = {voice.id: f"{voice.language}-".lower() for voice in self.voices() if voice.language}
        return next((voice for voice, its in languages.items() if its.startswith(f"{language}-")), None)

    def resolve_model(self, model: str | None) -> str:  # noqa: ARG002
        """Return the model that speaks when a request says ``model``: this engine's one, whatever it was called."""
        return self.name

    @cached_property
    def _voice_ids(self) -> frozenset[str]:
        return frozenset(voice.id for voice in self.voices())

    @cached_property
    def unheard(self) -> frozenset[str]:
        """The names of the parameters that cannot change the waveform."""
        return frozenset(parameter.name for parameter in self.parameters if not parameter.heard)

    def cost(self, seconds: float, text: str) -> float:
        """Return what speaking a text cost that took ``seconds``, in the operator's currency."""
        return (self.cost_per_hour or 0) * seconds / 3600 + (self.cost_per_1k_chars or 0) * len(text) / 1000

    def read(self, text: str, voice: str) -> Reading:  # noqa: ARG002
        """Return what is to be spoken of a text in a voice, and so is keyed; by default the text, untouched.

        Raises:
            InvalidRequest: a part of it would be left out of what is heard.

        """
        return Reading(text)

    def voice_for(self, text: str) -> str | None:  # noqa: ARG002
        """Return the voice for a text when its request names none."""
        return self.default_voice

    def canonical_text(self, text: str, voice: str, parameters: Mapping[str, Any]) -> Any:  # noqa: ARG002
        """Return the text as the model itself tells texts apart (token ids, phonemes); by default the text."""
        return text

    def _no_such_voice(self, voice: str) -> NotFound:
        known = [offered.id for offered in self.voices()]
        some = ", ".join(sorted({*known[:_SOME], *self.voice_aliases}))
        more = f" and {len(known) - _SOME} more" if len(known) > _SOME else ""
        return NotFound(
            f"{self.name!r} has no voice {quoted(voice)}; it has {some or 'none but those that are uploaded'}{more}",
            param="voice",
        )
