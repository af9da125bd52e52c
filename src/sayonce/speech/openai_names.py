"""OpenAI's names of models and voices, which its clients send to whatever server they ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sayonce.speech.engines import Engine

MODELS: Final = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
VOICES: Final = (
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse",
)  # fmt: skip


def meanings(engine: Engine) -> dict[str, str]:
    """Return the engine's voice that each name stands for there, but for names that the engine has itself.

    The voices are those of the default voice's language: the default first, then the others in the engine's own order,
    and again from the first where there are fewer than names. Empty where only its server knows its voices.
    """
    voices = engine.voices()
    if not voices:
        return {}
    default = voices[0].id if engine.default_voice is None else engine.resolve_voice(engine.default_voice)
    language = _language(engine.language_of(default))
    others = (voice.id for voice in voices if _language(voice.language) == language and voice.id != default)
    meant = [default, *others]
    return {
        name: meant[number % len(meant)] for number, name in enumerate(VOICES) if not engine.offers(name)
    }  # a name keeps its place, whichever of them the engine has itself


def _language(tag: str | None) -> tuple[str, str] | None:
    """Return the language of a BCP 47 tag, and its script where it says one: English in Shavian letters is another."""
    if tag is None:
        return None
    language, *more = tag.lower().split("-")
    script = next((subtag for subtag in more if len(subtag) == _SCRIPT and subtag.isalpha()), "")
    return language, script


_SCRIPT: Final = 4
"""Letters of a subtag that names a script (RFC 5646 section 2.2.3); no other has as many and no digit."""
