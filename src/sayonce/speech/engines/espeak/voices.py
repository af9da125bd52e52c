"""The voices in espeak-ng's data directory: a file for each language, and variants that go with every one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sayonce.speech.engines.declaration import Voice

_USUAL_PRIORITY: Final = 5


class EspeakVoices:
    """Voices by the first language code of their file; the file's other codes and its name are further names."""

    def __init__(self, data: Path) -> None:
        self._variants = frozenset(file.name for file in (data / "voices" / "!v").iterdir())
        self._files: dict[str, str] = {}
        listed: list[Voice] = []
        other: list[tuple[int, str, str]] = []
        for file in sorted(path for path in (data / "lang").rglob("*") if path.is_file()):
            name, codes, dictionary = _read(file)
            if not (data / f"{dictionary}_dict").is_file():
                continue  # a language that the package names and does not have
            voice = codes[0][1] if codes[0][1] not in self._files else file.name.lower()
            self._files[voice] = file.relative_to(data / "lang").as_posix()
            listed.append(Voice(voice, voice, name))
            other += [(priority, code, voice) for priority, code in (*codes, (0, file.name.lower()))]
        self.listed = tuple(sorted(listed, key=lambda voice: voice.id))
        self._names = {voice: voice for voice in self._files}
        for _, code, voice in sorted(other, key=lambda entry: entry[0]):
            self._names.setdefault(code, voice)

    def resolve(self, name: str) -> str | None:
        """Return the canonical id of a voice, with its variant if it names one."""
        language, plus, variant = name.partition("+")
        voice = self._names.get(language.lower().replace("_", "-"))
        if voice is None or (plus and variant not in self._variants):
            return None
        return voice + plus + variant

    def file(self, voice: str) -> str:
        """Return the name under which the library finds a voice without a search."""
        language, plus, variant = voice.partition("+")
        return self._files[language] + plus + variant


def _read(file: Path) -> tuple[str, list[tuple[int, str]], str]:
    """Return a voice file's name, its language codes with their priorities (the lowest wins), and its dictionary."""
    name, codes, dictionary = file.name, [], ""
    for key, *words in _lines(file):
        if key == "name":
            name = " ".join(words)
        elif key == "dictionary":
            dictionary = words[0]
        elif key == "language":
            codes.append((int(words[1]) if words[1:] else _USUAL_PRIORITY, words[0].lower()))
    codes = codes or [(_USUAL_PRIORITY, file.name.lower())]
    return name, codes, dictionary or codes[0][1].partition("-")[0]


def _lines(file: Path) -> Iterator[list[str]]:
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():  # comments are in any encoding
        if words := line.partition("//")[0].split():
            yield words
