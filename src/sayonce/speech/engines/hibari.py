"""The embedded voice: Hibari, a small English neural model that brings its weights with its package (extra ``voice``)."""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sayonce._telemetry import keep_quiet
from sayonce.errors import EngineError, InvalidRequest, MissingExtra
from sayonce.speech.engines._reading import read_text, unread_script
from sayonce.speech.engines.declaration import Voice
from sayonce.speech.engines.fingerprint import below, digest_of, versions
from sayonce.speech.engines.local import Emit, LocalEngine
from sayonce.speech.engines.options import EngineOptions
from sayonce.speech.engines.parameters import Parameter
from sayonce.speech.engines.utterance import Utterance
from sayonce.text.latin import plain_letters
from sayonce.text.reading import Reading
from sayonce.text.sign_words import VERSION

if TYPE_CHECKING:
    from hibari import Hibari

_OWN_MONEY: Final = "$£€"
"""Currencies that the package reads by itself: $5.50 as five dollars and fifty cents."""
_NO_LINKS: Final = str.maketrans("[]", "()")
"""The package reads ``[word](phonemes)`` as the phonemes, and leaves out what it cannot read as such."""
_MICRO: Final = "\N{GREEK SMALL LETTER MU}"
_LONGEST: Final = 24
"""So many letters of a word that is in no lexicon are read."""
_LONG: Final = re.compile(rf"[^\W\d_]{{{_LONGEST + 1},}}")
_LONGEST_WORD: Final = 48
"""A longer word is read in pieces without asking the package whether it reads it whole: that takes too long."""
_LONGEST_RUN: Final = 32
"""So many characters without a blank reach the package, whose time grows with their cube: to minutes at 300."""
_QUICK_RUN: Final = re.compile(r"[\d.,:$%#+]+|[^\W\d_]+")
"""Runs of figures, which take no longer than others, or of letters, which are cut into words of their own."""
_DRAWN: Final = ",.;:!?"
"""The package draws these to what stands before, over blanks."""
_BLANKS_BEFORE: Final = re.compile(rf"\s+(?=[{_DRAWN}])")
_LONG_RUN: Final = re.compile(rf"(?:\S|{_BLANKS_BEFORE.pattern}){{{_LONGEST_RUN + 1},}}")
_MOST_PHONEMES: Final = 400
"""The network takes so many at once. The package keeps to it where there is a comma; its time and memory grow with the square."""
_SPEAKING: Final = 2
"""Raised when the same text would be spoken in another way."""
_SPOKEN_ELSEWHERE: Final = "another engine, such as espeak, speaks it"


class HibariOptions(EngineOptions, frozen=True, kw_only=True):
    """``[engines.NAME]`` of kind ``hibari``: nothing beyond what every engine has."""


class HibariEngine(LocalEngine):
    """English neural speech at 24 kHz, about a hundred times faster than it is heard, on one core.

    ``canonical_text`` stays the text. The model tells texts apart by their phonemes, but finding those takes the loaded
    pronunciation model and about a millisecond: a hit would wait for loading, and cost several times what it does.
    """

    kind = "hibari"
    options = HibariOptions
    sample_rate_hz = 24_000
    default_voice = "heart"
    pauses = True
    concurrency = max(1, (os.cpu_count() or 1) - 1)
    parameters = (
        # The model's own range: outside it, the durations no longer follow.
        Parameter(name="speed", type=float, default=1.0, minimum=0.5, maximum=2.0, description="pace"),
        # Never left to chance: the same request is the same sound, on every instance.
        Parameter(name="seed", type=int, default=0, minimum=0, description="of the noise in the voice"),
    )

    def __init__(self, name: str, options: HibariOptions) -> None:  # noqa: ARG002
        super().__init__(name)
        try:
            from hibari import voices  # noqa: PLC0415 (an optional part)
        except ModuleNotFoundError:
            raise MissingExtra("the hibari engine", "voice") from None
        self._registry: dict[str, dict[str, Any]] = voices.VOICES
        self._assets = Path(voices.ASSETS)
        self._files = dict(_at_hand(self._registry, self._assets, Path(voices.cache_dir())))
        self._models: dict[str, Hibari] = {}

    def identity(self) -> Mapping[str, Any]:
        return self._identity

    @cached_property
    def _identity(self) -> Mapping[str, Any]:
        # The registry among these files holds the digest of every voice's weights, and no others are offered; the rest
        # are lexicons and the small networks that tell how words are pronounced.
        voices = {file.name for file in self._files.values()}
        files = [file for file in below(self._assets) if file.name not in voices]
        # The noise is numpy's, and with scipy at hand the package filters with that: other bits, if not another sound.
        libraries = versions("hibari-tts", "numpy", "onnxruntime", "scipy")
        return {
            "kind": self.kind,
            **libraries,
            "assets": digest_of(self._assets, files),
            "signs": VERSION,
            "speaking": _SPEAKING,
        }

    def read(self, text: str, voice: str) -> Reading:  # noqa: ARG002
        reading = read_text(text, "en", engine=self.name, own_money=_OWN_MONEY, figures=True)
        reading = Reading(reading.text.translate(_NO_LINKS), reading.ignored)
        if reading.text.isascii():
            return reading
        unread = unread_script(reading.text.replace(_MICRO, ""), ())
        if unread is not None:
            raise _not_english(unread[1])
        plain = plain_letters(reading.text, self._letters)
        strange = next((each for each in plain if each.isalpha() and each not in self._letters), None)
        if strange is not None:
            raise _not_english(strange)
        return Reading(plain, reading.ignored)

    @cached_property
    def _letters(self) -> frozenset[str]:
        """The letters that every accent's network for unknown words reads; it passes over all others."""
        tables = [json.loads((self._assets / name).read_bytes()) for name in ("oov.json", "oov_gb.json")]
        return frozenset.intersection(*(frozenset(table["in"]) for table in tables)) | {_MICRO}

    def voices(self) -> tuple[Voice, ...]:
        return self._voices

    @cached_property
    def _voices(self) -> tuple[Voice, ...]:
        return tuple(self._voice(name) for name in self._files)

    def _voice(self, name: str) -> Voice:
        facts = self._registry[name]
        return Voice(name, facts["language"], f"{facts['accent']}, {facts['gender']}")

    def load_model(self) -> None:
        keep_quiet()
        from hibari import Hibari  # noqa: PLC0415

        if not self._files:
            raise EngineError("the hibari package is damaged: its weights are not those it was published with")
        for voice, file in self._files.items():
            # One thread each: sums in another order are another sound.
            model = Hibari(voice, model=str(file), threads=1)
            model(
                "Ready, quokkazzle.", seed=0
            )  # loads what it would load lazily, and unguarded, in the middle of speech
            self._models[voice] = model

    def speak(self, utterance: Utterance, emit: Emit) -> None:
        import numpy as np  # noqa: PLC0415

        model = self._models[utterance.voice]
        random = np.random.default_rng(utterance.parameters["seed"])
        for phonemes in _phonemes(model, utterance.text):
            audio = model.from_ids(model.ids(phonemes), utterance.parameters["speed"], random)
            emit((np.clip(audio, -1.0, 1.0) * 32767.0).astype("<i2").tobytes())


def _at_hand(registry: Mapping[str, Mapping[str, Any]], assets: Path, cache: Path) -> Iterator[tuple[str, Path]]:
    """Find the voices that have their weights here, as the registry has them; nothing is downloaded."""
    for name, facts in registry.items():
        file = (assets if facts.get("bundled") else cache) / facts["file"]
        if file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == facts["sha256"]:
            yield name, file


def _phonemes(model: Hibari, text: str) -> list[str]:
    """Return the phonemes of each sentence.

    Raises:
        InvalidRequest: there is nothing to speak, or the model would leave a part out without a word.

    """
    text = _LONG_RUN.sub(lambda match: _with_blanks(match[0]), text)
    text = _LONG.sub(lambda match: _in_pieces(model, match[0]), text)
    if not text.isascii():
        _refuse_silenced(model, text)
    sentences: list[str] = model.phonemize(text)
    if not any(map(_audible, sentences)):
        raise InvalidRequest("'input' has nothing to speak", param="input")
    return [part for sentence in sentences for part in _parts(sentence)]


def _with_blanks(run: str) -> str:
    """Return characters without a blank with some, behind signs where there are any."""
    run = _BLANKS_BEFORE.sub("", run)
    if _QUICK_RUN.fullmatch(run):
        return run
    pieces = []
    while len(run) > _LONGEST_RUN:
        places = [place for place in range(_LONGEST_RUN, 0, -1) if run[place] not in _DRAWN] or [_LONGEST_RUN]
        end = next((place for place in places if not run[place - 1].isalnum()), places[0])
        pieces.append(run[:end])
        run = run[end:]
    return " ".join([*pieces, run])


def _parts(phonemes: str) -> Iterator[str]:
    """Cut phonemes between words into what the network takes at once."""
    while len(phonemes) > _MOST_PHONEMES:
        end = phonemes.rfind(" ", 1, _MOST_PHONEMES + 1)
        end = _MOST_PHONEMES if end < 0 else end
        yield phonemes[:end]
        phonemes = phonemes[end:].lstrip(" ")
    yield phonemes


def _in_pieces(model: Hibari, word: str) -> str:
    """Return a long word so that it is read to its end: in pieces where the network would end before."""
    if len(word) <= _LONGEST_WORD and model.g2p(word) != model.g2p(word[:_LONGEST]):
        return word
    return " ".join(word[start : start + _LONGEST] for start in range(0, len(word), _LONGEST))


def _refuse_silenced(model: Hibari, text: str) -> None:
    for character in unicodedata.normalize("NFKD", text):
        if unicodedata.category(character) in ("Lo", "Lu", "Ll", "Lt") and not _latin(character):
            raise _not_english(character)
    for word in text.split():
        if not word.isascii() and any(map(str.isalnum, word)) and not _audible(model.g2p(word)):
            raise _not_english(word)


def _not_english(part: str) -> InvalidRequest:
    return InvalidRequest(f"'input' has {part!r}, which is not English; {_SPOKEN_ELSEWHERE}", param="input")


def _latin(character: str) -> bool:
    return character == _MICRO or unicodedata.name(character, "").startswith("LATIN")  # µ: a unit


def _audible(phonemes: str) -> bool:
    return any(map(str.isalpha, phonemes))
