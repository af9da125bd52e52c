"""espeak-ng: robotic, instant, deterministic, and in more than a hundred languages (extra ``espeak``)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from sayonce.core.audio_start import AudioStart
from sayonce.errors import EngineError, InvalidRequest, MissingExtra
from sayonce.speech.engines._reading import named, read_text, silent_sign, unread_script
from sayonce.speech.engines.base import Engine
from sayonce.speech.engines.declaration import Voice
from sayonce.speech.engines.espeak import worker
from sayonce.speech.engines.espeak.hanzi import (
    prepare,
    read_by_none,
    unread_character,
    write_apart,
    write_syllables,
)
from sayonce.speech.engines.espeak.numbers import unread_digit, write_numbers
from sayonce.speech.engines.espeak.scripts import scripts_read, voice_for
from sayonce.speech.engines.espeak.voices import EspeakVoices
from sayonce.speech.engines.fingerprint import below, digest_of, versions
from sayonce.speech.engines.options import EngineOptions
from sayonce.speech.engines.parameters import Parameter
from sayonce.speech.engines.utterance import Utterance
from sayonce.text.reading import Reading
from sayonce.text.scripts import script_name, scripts_of
from sayonce.text.sign_words import LANGUAGES, VERSION
from sayonce.text.signs import signs_of

_WORDS_PER_MINUTE: Final = 175
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
"""The library takes commands behind U+0001, and a text ends for it at U+0000."""


_OTHER_WRITING: Final = frozenset(("cmn-latn-pinyin", "en-shaw"))
"""Voices for texts that are not written as their language is: signs are left to the library."""
_SPOKEN_THERE: Final = {"zh-hk": "yue", "zh-mo": "yue"}
"""The language that is spoken in a region's Chinese, where that is not Mandarin; there are other voices for these tags in no list."""
_ALONE: Final = re.compile(r"(?<![\u0370-\u03ff\u1f00-\u1fff])[\u0370-\u03ff](?![\u0370-\u03ff\u1f00-\u1fff])")
"""A Greek letter by itself is a sign, and its name what it is read as."""


class EspeakOptions(EngineOptions, frozen=True, kw_only=True):
    """``[engines.NAME]`` of kind ``espeak``: nothing beyond what every engine has."""


class EspeakEngine(Engine):
    """Formant speech at 22.05 kHz. Voices are espeak-ng's languages (``en-us``, ``cmn``, ``yue``), each alone or with one
    of its variants (``en-us+f3``); texts are literal: neither SSML nor phonemes nor embedded commands are understood.
    """

    kind = "espeak"
    options = EspeakOptions
    default_voice = "en-us"
    pauses = True
    concurrency = 4
    parameters = (
        # 80 to 450 words a minute is what the library takes unchanged.
        Parameter(
            name="speed", type=float, default=1.0, minimum=0.5, maximum=2.5, description="1 is 175 words a minute"
        ),
        Parameter(name="pitch", type=int, default=50, minimum=0, maximum=99, description="50 is the voice's own"),
    )

    def __init__(self, name: str, options: EspeakOptions) -> None:  # noqa: ARG002
        super().__init__(name)
        try:
            import espeakng_loader  # noqa: PLC0415 (an optional part)
        except ModuleNotFoundError:
            raise MissingExtra("the espeak engine", "espeak") from None
        self._library = Path(espeakng_loader.get_library_path())
        self._data = Path(espeakng_loader.get_data_path())
        self._speaker: _Speaker | None = None
        self._opening: asyncio.Future[_Speaker] | None = None
        self._starting = asyncio.Lock()

    def identity(self) -> Mapping[str, Any]:
        return self._identity

    @cached_property
    def _identity(self) -> Mapping[str, Any]:
        # Dictionaries are data, and operators compile their own.
        return {
            "kind": self.kind,
            **versions("espeakng-loader"),
            "library": digest_of(self._library.parent, [self._library]),
            "data": digest_of(self._data, below(self._data)),
            "signs": VERSION,
        }

    @cached_property
    def _voices(self) -> EspeakVoices:
        return EspeakVoices(self._data)

    def voices(self) -> tuple[Voice, ...]:
        return self._voices.listed

    def resolve_voice(self, voice: str) -> str:
        voice = self.voice_aliases.get(voice, voice)
        found = self._voices.resolve(voice)
        if found is None:
            raise self._no_such_voice(voice)
        return found

    def language_of(self, voice: str) -> str | None:
        return super().language_of(voice.partition("+")[0])

    def _voice_in(self, language: str) -> str | None:
        return self._voices.resolve(_SPOKEN_THERE.get(language, language))

    def voice_for(self, text: str) -> str | None:
        """Return the default voice, or for a text that it cannot read one that can."""
        voice, scripts = self.default_voice, scripts_of(_ALONE.sub("", text))
        if voice is None or scripts.keys() <= scripts_read(self.resolve_voice(voice)):
            return voice
        return voice_for(scripts) or voice

    def read(self, text: str, voice: str) -> Reading:
        reading = read_text(text, _language(voice), engine=self.name)
        self._check_letters(unread_digit(reading.text, voice), reading.text, voice)
        reading = Reading(write_numbers(reading.text, voice), reading.ignored)
        if reading.text.isascii():
            return reading
        spoken = write_apart(reading.text, voice)
        self._check_letters(read_by_none(spoken), spoken, voice)
        self._check_scripts(spoken, voice, asked=text)
        self._check_letters(unread_character(spoken, voice, self._data), spoken, voice)
        return Reading(write_syllables(spoken, voice, self._data), reading.ignored)

    def _check_letters(self, unread: str | None, text: str, voice: str) -> None:
        """Refuse a letter that the voice would name, spell by its code point or leave out."""
        if unread is None:
            return
        scripts = scripts_of(text).keys()
        other = next(
            (
                each
                for each in ("cmn", "yue", "ko")
                if scripts <= scripts_read(each) and unread_character(text, each, self._data) is None
            ),
            None,
        )
        advice = f"the voice {other!r} does" if other else "write it in another way, or leave it out"
        raise InvalidRequest(
            f"'input' has {named(unread)}: the voice {voice!r} does not read it; {advice}", param="input"
        )

    def _check_scripts(self, text: str, voice: str, *, asked: str) -> None:
        """Refuse a text when the voice would say the names of its letters; ``asked`` is without the words of its signs."""
        unread = unread_script(_ALONE.sub("", text), scripts_read(voice))
        if unread is None:
            return
        other = voice_for(scripts_of(_ALONE.sub("", asked)))
        advice = f"the voice {other!r} does" if other else "no voice of this engine reads all scripts of this text"
        raise InvalidRequest(
            f"'input' has {unread[1]!r}, which is {script_name(unread[0])}: the voice {voice!r} does not read it; {advice}",
            param="input",
        )

    async def load(self) -> None:
        await asyncio.to_thread(prepare, self._data)
        first = Utterance("a", "en-us", self.name, {"speed": 1.0, "pitch": 50})
        async for _ in self.synthesize(first):
            pass

    async def synthesize(self, utterance: Utterance) -> AsyncGenerator[AudioStart | bytes, None]:
        speaker = await self._running()
        if _language(utterance.voice) is None and (signs := signs_of(utterance.text)):
            await self._check_signs(speaker, utterance, signs)
        reader, writer = await asyncio.open_connection(sock=speaker.line())
        try:
            writer.write(self._request(utterance))
            yield AudioStart(worker.SAMPLE_RATE_HZ)
            while (audio := await _next(reader)) is not None:
                yield audio
        except (asyncio.IncompleteReadError, ConnectionError):
            raise EngineError("espeak-ng ended in the middle of its speech") from None
        finally:
            writer.close()  # which ends the process too

    async def _check_signs(self, speaker: _Speaker, utterance: Utterance, signs: list[int]) -> None:
        """Refuse a sign that the library passes over: its phonemes are the same without it.

        A process of its own tells, since the library's state after that would be heard in what it speaks.
        """
        reader, writer = await asyncio.open_connection(sock=speaker.line())
        try:
            writer.write(self._request(utterance, signs))
            kind, length = worker.FRAME.unpack(await reader.readexactly(worker.FRAME.size))
            payload = await reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise EngineError("espeak-ng ended while it told phonemes") from None
        finally:
            writer.close()
        if kind == worker.PASSED_OVER:
            raise silent_sign(utterance.text[int(payload)], self.name)
        if kind == worker.FAILED:
            raise EngineError(f"espeak-ng failed: {payload.decode()}")

    async def close(self) -> None:
        if self._opening is not None:
            opening, self._opening, self._speaker = self._opening, None, None
            with contextlib.suppress(EngineError):
                await asyncio.to_thread((await opening).close)  # also when its opener was cancelled meanwhile

    async def _running(self) -> _Speaker:
        async with self._starting:
            if self._speaker is None or not self._speaker.alive:
                await self.close()
                loop = asyncio.get_running_loop()
                self._opening = loop.run_in_executor(None, _Speaker, self._library, self._data.parent)
                self._speaker = await asyncio.shield(self._opening)
            return self._speaker

    def _request(self, utterance: Utterance, signs: list[int] | None = None) -> bytes:
        request = {
            "voice": self._voices.file(utterance.voice),
            "text": _CONTROLS.sub(" ", utterance.text),
            "words_per_minute": round(_WORDS_PER_MINUTE * utterance.parameters["speed"]),
            "pitch": utterance.parameters["pitch"],
            "signs": signs,
        }
        return json.dumps(request).encode() + b"\n"


def _language(voice: str) -> str | None:
    """Return the language that has a voice's words for signs; None where there are none."""
    voice = voice.partition("+")[0]
    language = voice.partition("-")[0]
    return language if language in LANGUAGES and voice not in _OTHER_WRITING else None


class _Speaker:
    """The process that is forked for each utterance."""

    def __init__(self, library: Path, data_parent: Path) -> None:
        self._control, its = socket.socketpair()
        command = [sys.executable, "-I", "-S", worker.__file__, str(library), str(data_parent)]
        with its:
            try:
                self._process = subprocess.Popen(command, stdin=its.fileno())  # noqa: S603 (our own script)
            except OSError as error:
                self._control.close()
                raise EngineError(f"espeak-ng's process cannot be started: {error}") from None

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def line(self) -> socket.socket:
        """Begin an utterance, and return the socket over which it is had."""
        ours, its = socket.socketpair()
        with its:
            try:
                socket.send_fds(self._control, [b"+"], [its.fileno()])
            except OSError as error:
                ours.close()
                raise EngineError(f"espeak-ng's process is gone: {error}") from None
        ours.setblocking(False)
        return ours

    def close(self) -> None:
        self._control.close()
        self._process.wait()


async def _next(reader: asyncio.StreamReader) -> bytes | None:
    """Return the next audio, or None at its good end.

    Raises:
        EngineError: the library failed.
        InvalidRequest: it found nothing to speak.

    """
    kind, length = worker.FRAME.unpack(await reader.readexactly(worker.FRAME.size))
    payload = await reader.readexactly(length)
    if kind == worker.FAILED:
        raise EngineError(f"espeak-ng failed: {payload.decode()}")
    if kind == worker.SILENT:
        raise InvalidRequest("'input' has nothing to speak", param="input")
    return payload if kind == worker.AUDIO else None
