"""The options that every engine has, whatever its kind; a kind adds its own in a subclass."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1)]


class EngineOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of every ``[engines.NAME]`` section; None leaves the engine's own."""

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
    """The answer to a text that has nothing to speak; punctuation alone is a pause to some engines in any case."""
    cost_per_hour: Annotated[float, msgspec.Meta(ge=0)] | None = None
    cost_per_1k_chars: Annotated[float, msgspec.Meta(ge=0)] | None = None
