"""Which of espeak-ng's voices reads which script; of all others it says the names of the letters, or nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_EVERY_VOICE: Final = frozenset(
    (
        "ARMENIAN", "GEORGIAN", "DEVANAGARI", "BENGALI", "GURMUKHI", "GUJARATI", "TAMIL", "KANNADA", "MALAYALAM",
        "SINHALA", "HANGUL",
    )
)  # fmt: skip
"""Beside Latin: words in these are spoken by the voice of their language, whatever voice was asked for."""

_VOICES: Final = {
    "CJK": ("cmn", "yue", "cmn-latn-pinyin", "yue-latn-jyutping"),
    "BOPOMOFO": ("cmn", "cmn-latn-pinyin"),
    "HIRAGANA": ("ja",),
    "KATAKANA": ("ja",),
    "CYRILLIC": (
        "ru", "uk", "bg", "be", "sr", "mk", "kk", "ky", "tt", "ba", "cv", "nog", "uz", "bs", "hr", "ru-cl", "ru-lv", "ka",
        "lv", "ltg", "lfn",
    ),
    "ARABIC": ("ar", "fa", "ur", "sd", "fa-latn"),
    "HEBREW": ("he",),
    "THAI": ("th",),
    "MYANMAR": ("my", "shn"),
    "TELUGU": ("te",),
    "ORIYA": ("or",),
    "ETHIOPIC": ("am", "ti"),
}  # fmt: skip
"""The voices that read a script, the one to choose first."""
_NO_GREEK_WORDS: Final = frozenset(("en", "vi", "af", "lt", "bs", "hr", "mk", "sr"))
"""Languages in which voices spell Greek words; the others speak them in Greek."""
_GREEK: Final = "GREEK"


def scripts_read(voice: str) -> frozenset[str]:
    """Return the scripts beside Latin in which a voice speaks words."""
    voice = voice.partition("+")[0]
    greek = () if voice.partition("-")[0] in _NO_GREEK_WORDS else (_GREEK,)
    return _EVERY_VOICE.union(greek, (script for script, voices in _VOICES.items() if voice in voices))


def voice_for(scripts: Iterable[str]) -> str | None:
    """Return a voice that reads all of some scripts."""
    wanted = set(scripts)
    offered = dict.fromkeys(voices[0] for script, voices in _VOICES.items() if script in wanted) | {"el": None}
    return next((voice for voice in offered if wanted <= scripts_read(voice)), None)
