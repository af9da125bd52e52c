"""espeak-ng: robotic, instant, deterministic, and in more than a hundred languages (extra ``espeak``)."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final

from sayonce.errors import EngineError, InvalidRequest, MissingExtra
from sayonce.speech.engines import _espeak_worker as worker
from sayonce.speech.engines._espeak_voices import EspeakVoices
from sayonce.speech.engines._fingerprint import below, digest_of, versions
from sayonce.speech.engines.base import AudioStart, Engine, EngineOptions, Utterance, Voice
from sayonce.speech.parameters import Parameter

_WORDS_PER_MINUTE: Final = 175
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
"""The library takes commands behind U+0001, and a text ends for it at U+0000."""


class EspeakOptions(EngineOptions, frozen=True, kw_only=True):
    """``[engines.NAME]`` of kind ``espeak``: nothing beyond what every engine has."""


class EspeakEngine(Engine):
    """Formant speech at 22.05 kHz. Voices are espeak-ng's languages (``en-us``, ``cmn``, ``yue``), each alone or with one
    of its variants (``en-us+f3``); texts are literal: neither SSML nor phonemes nor embedded commands are understood.
    """

    kind = "espeak"
    options: ClassVar = EspeakOptions
    default_voice = "en-us"
    concurrency = 4
    parameters = (
        # 80 to 450 words a minute is what the library takes unchanged.
        Parameter(
            name="speed", type=float, default=1.0, minimum=0.5, maximum=2.5, description="1 is 175 words a minute"
        ),
        Parameter(name="pitch", type=int, default=50, minimum=0, maximum=99, description="50 is the voice's own"),
    )

    def __init__(self, name: str, options: EspeakOptions) -> None:  # noqa: ARG002
        super().__init__()
        self.name = name
        try:
            import espeakng_loader  # noqa: PLC0415 (an optional part)
        except ModuleNotFoundError:
            raise MissingExtra("the espeak engine", "espeak") from None
        self._library = Path(espeakng_loader.get_library_path())
        self._data = Path(espeakng_loader.get_data_path())
        self._speaker: _Speaker | None = None
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

    async def load(self) -> None:
        first = Utterance("a", "en-us", self.name, {"speed": 1.0, "pitch": 50})
        async for _ in self.synthesize(first):
            pass

    async def synthesize(self, utterance: Utterance) -> AsyncGenerator[AudioStart | bytes, None]:
        speaker = await self._running()
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

    async def close(self) -> None:
        if self._speaker is not None:
            await asyncio.to_thread(self._speaker.close)
            self._speaker = None

    async def _running(self) -> _Speaker:
        async with self._starting:
            if self._speaker is None or not self._speaker.alive:
                await self.close()
                self._speaker = await asyncio.to_thread(_Speaker, self._library, self._data.parent)
            return self._speaker

    def _request(self, utterance: Utterance) -> bytes:
        request = {
            "voice": self._voices.file(utterance.voice),
            "text": _CONTROLS.sub(" ", utterance.text),
            "words_per_minute": round(_WORDS_PER_MINUTE * utterance.parameters["speed"]),
            "pitch": utterance.parameters["pitch"],
        }
        return json.dumps(request).encode() + b"\n"


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
