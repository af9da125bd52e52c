"""What an engine is: it declares what changes its sound, and turns an utterance into PCM as it makes it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from sayonce.errors import NotFound, quoted
from sayonce.speech.engines.nearest import nearest, shorter_tags
from sayonce.speech.engines.parameters import Parameter
from sayonce.text.reading import Reading

if TYPE_CHECKING:
    from sayonce.speech.engines.balance import Upstream
    from sayonce.speech.voice_copies import VoiceCopies

_SOME: Final = 12

Count = Annotated[int, msgspec.Meta(ge=1)]
State = Literal["ready", "loading", "down", "failed"]
"""What an engine can do: speak; not yet; not now, as each of its servers has failed; never."""


class EngineOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every ``[engines.NAME]`` section may set; None leaves the engine's own."""

    kind: str
    concurrency: Count | None = None
    queue: Annotated[int, msgspec.Meta(ge=0)] | None = None
    queue_seconds: Annotated[float, msgspec.Meta(gt=0)] | None = None
    max_characters: Count | None = None
    default_voice: str | None = None
    aliases: tuple[str, ...] = ()
    voice_aliases: dict[str, str] = {}
    tolerance: dict[str, float] = {}
    text: Literal["plain", "markdown"] | None = None
    """Whether a text is Markdown, as language models write it, and is read as a person would read it aloud."""
    empty: Literal["refuse", "silence"] | None = None
    """What becomes of a text that has nothing to speak; punctuation alone is a pause to some engines in any case."""
    cost_per_hour: Annotated[float, msgspec.Meta(ge=0)] | None = None
    cost_per_1k_chars: Annotated[float, msgspec.Meta(ge=0)] | None = None


class Voice(msgspec.Struct, frozen=True):
    """A voice that an engine offers; ``language`` is a BCP 47 tag where the engine knows it."""

    id: str
    language: str | None = None
    description: str = ""


class Reference(msgspec.Struct, frozen=True):
    """The audio in whose voice is to be spoken: ``id`` is the digest of its samples, ``text`` what is said in it.

    ``audio`` is the file's bytes; None until an engine needs them, and ``address`` is then what they are kept under.
    ``copy`` is what the reference is called at a server that keeps one; empty where it was sent along with the request.
    """

    id: str
    text: str = ""
    audio: bytes | None = None
    address: str = ""
    copy: str = ""

    @property
    def voice(self) -> str:
        """What the voice is called where nobody has named it, and in the tags of its clips whatever it is called."""
        return voice_of_reference(self.id)


def voice_of_reference(reference_id: str) -> str:
    """Return what the voice of a reference is called by what it is."""
    return f"clip:{reference_id[:16]}"


class Utterance(msgspec.Struct, frozen=True):
    """One thing to say, with every parameter filled in and at its bucket's representative value."""

    text: str
    voice: str
    model: str
    parameters: dict[str, Any]
    reference: Reference | None = None
    cache_control: str = ""
    """What a server that remembers, too, is told of this request: ``no-cache`` or ``no-store``, as it was asked here."""


class AudioStart(msgspec.Struct, frozen=True):
    """The first thing that an engine yields: what its bytes will be.

    ``media_type`` is ``audio/pcm`` for little-endian signed 16-bit interleaved samples, the form of every engine that
    can give it; anything else is audio "as it came", such as ``audio/mpeg``, whose container says the rate and the
    channels: here they are 0.

    ``proves_end`` False says that a normal end may be a connection that broke: such audio is heard and not kept.
    """

    sample_rate_hz: int
    channels: int = 1
    media_type: str = "audio/pcm"
    proves_end: bool = True


class Engine(ABC):
    """A source of speech. Subclasses declare; the gateway, the key and ``lint-key`` read the declarations."""

    name: str
    """The name under which it is configured, and which requests give as ``model``."""
    kind: str
    models: tuple[str, ...] = ()
    """Further values of ``model`` that it serves."""
    upstream_model: str | None = None
    """What its server calls the model that speaks, and requests may, too, unless an engine was given that name."""
    parameters: tuple[Parameter, ...] = ()
    passes_unknown: bool = False
    """Whether fields that it did not declare are handed on (and keyed whole) instead of refused."""
    defaults: Mapping[str, Any] = MappingProxyType({})
    """Fields for requests that do not give them: heard and keyed as if they did."""
    drop: Collection[str] = frozenset()
    """Fields that are left out of what is heard and keyed."""
    clones: bool = False
    """Whether it speaks in the voice of a reference."""
    also_voice: str | None = None
    """Another field in which its clients name the voice."""
    passes_unknown_voices: bool = False
    """Whether a voice that nobody here knows is left to the server, which may speak in another one's place."""
    default_voice: str | None = None
    voice_aliases: Mapping[str, str] = MappingProxyType({})
    """Further names of voices, resolved before the key."""
    max_characters: int = 4096
    concurrency: int = 1
    """How many utterances it speaks at once; where others speak for it, how many each of them does."""
    queue: int = 256
    """How many may wait for their turn."""
    queue_seconds: float = 60
    """How long they wait before they are told to come back."""
    text: Literal["plain", "markdown"] = "plain"
    empty: Literal["refuse", "silence"] = "refuse"
    pauses: bool = False
    """Whether punctuation alone is a pause, for which the engine is not asked; else it is a text as any other."""
    cost_per_hour: float | None = None
    """What an hour of its computing costs, in the operator's currency."""
    cost_per_1k_chars: float | None = None
    """What a thousand characters of text cost, beside its computing."""
    context_headers: Callable[[], Mapping[str, str]] = staticmethod(dict)
    """What a call to another server takes along, such as the trace that it belongs to."""
    take_format: str | None = None
    """The format in which its takes arrive and are kept, where that is not PCM."""
    upstreams: Sequence[Upstream] = ()
    """The servers that speak for it."""
    resized: Callable[[int], None] = staticmethod(lambda _: None)
    """Told of its ``capacity`` when that may have changed."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.failed: Exception | None = None

    def attach_copies(self, copies: VoiceCopies) -> None:  # noqa: B027 (few have servers that keep voices)
        """Take the table of the copies of uploaded voices that are kept at servers."""

    @abstractmethod
    async def load(self) -> None:
        """Make the engine able to speak; slow, and run in the background.

        Raises:
            EngineError, MissingExtra: it never will.

        """

    @property
    def state(self) -> State:
        if not self.ready.is_set():
            return "loading"
        if self.failed is not None:
            return "failed"
        return "ready" if any(each.up for each in self.upstreams) or not self.upstreams else "down"

    @property
    def capacity(self) -> int:
        """How many utterances it can speak at once now."""
        return self.concurrency

    async def check(self) -> Mapping[str, str]:
        """Return what is wrong with each of its servers that does not answer."""
        return {}

    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """Return what distinguishes this engine's sound from every other's: kind, model revision, address, options.

        Known without loading the model, so that stored clips are served before it is ready.
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
        """Return the voice for a text whose request names none."""
        return self.default_voice

    def canonical_text(self, text: str, voice: str, parameters: Mapping[str, Any]) -> Any:  # noqa: ARG002
        """Return the text as the model itself tells texts apart (token ids, phonemes); by default the text."""
        return text

    @abstractmethod
    def synthesize(self, utterance: Utterance) -> AsyncGenerator[AudioStart | bytes, None]:
        """Yield an ``AudioStart``, then the audio as it is made; a normal end means that it is whole.

        Raises:
            EngineError: it failed; what was yielded so far is not kept.

        """

    def _no_such_voice(self, voice: str) -> NotFound:
        known = [offered.id for offered in self.voices()]
        some = ", ".join(sorted({*known[:_SOME], *self.voice_aliases}))
        more = f" and {len(known) - _SOME} more" if len(known) > _SOME else ""
        return NotFound(
            f"{self.name!r} has no voice {quoted(voice)}; it has {some or 'none but those that are uploaded'}{more}",
            param="voice",
        )

    async def close(self) -> None:  # noqa: B027 (not every engine holds something)
        """Release the model, threads or connections; idempotent."""
