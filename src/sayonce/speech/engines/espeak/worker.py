"""A process that speaks with espeak-ng, forked anew for each utterance. Run as a script; the standard library alone.

The library keeps state between utterances (phases, gain, flutter, random numbers) that neither a voice nor
``espeak_Terminate`` resets, so the second time a text sounds different. A fork of a process in which the library is
loaded and has not spoken yet always begins alike, costs 2 ms, and a crash in it is one utterance's.

Arguments: the library, and the directory of its data. Standard input is a socket over which each utterance's own
socket is passed; on that one, a request comes as ``Request`` and frames go out as (kind, length, payload).
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import struct
import sys
from typing import Any, Final

FRAME: Final = struct.Struct("!cI")
AUDIO, DONE, SILENT, FAILED, PASSED_OVER = b"a", b"d", b"s", b"f", b"p"
SAMPLE_RATE_HZ: Final = 22_050

_CPU_SECONDS: Final = 60
"""It speaks a thousand times faster than it is heard, so a process that takes longer has hung."""
_BUFFER_MS: Final = 100
_SYNCHRONOUS, _NO_EXIT, _UTF8, _BY_CHARACTER = 2, 0x8000, 1, 1
_RATE, _PITCH = 1, 3
_WORD: Final = 1
_PHONEMES_IN_ASCII: Final = 0
_BESIDE: Final = 24
"""So many characters on each side of a sign are compared with and without it."""


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))


class _Failed(Exception):
    pass


class _Voice:
    """The library, in a process in which it speaks once."""

    def __init__(self, library: ctypes.CDLL, line: socket.socket) -> None:
        self._library = library
        self._line = line
        self._held = b""
        self._heard = False
        self._ended = False
        self._callback = _Callback(self._hear)

    def speak(self, request: dict[str, Any]) -> bytes:
        """Send the audio as it is made, and return how it ended."""
        self._begin(request["voice"])
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(0))  # the clock, otherwise: heard in breathy voices
        self._library.espeak_SetSynthCallback(self._callback)
        self._do("espeak_SetParameter", _RATE, request["words_per_minute"], 0)
        self._do("espeak_SetParameter", _PITCH, request["pitch"], 0)
        text = request["text"].encode()
        self._do("espeak_Synth", text, ctypes.c_size_t(len(text) + 1), 0, _BY_CHARACTER, 0, _UTF8, None, None)
        if not self._ended:
            raise _Failed("it was interrupted")
        return DONE if self._heard else SILENT

    def check(self, request: dict[str, Any]) -> tuple[bytes, bytes]:
        """Return whether the library passes over one of the signs, and which."""
        self._begin(request["voice"])
        text = request["text"]
        for at in request["signs"]:
            before, after = text[max(0, at - _BESIDE) : at], text[at + 1 : at + 1 + _BESIDE]
            if self._phonemes(before + text[at] + after) in (
                self._phonemes(f"{before} {after}"),
                self._phonemes(before + after),
            ):
                return PASSED_OVER, str(at).encode()
        return DONE, b""

    def _begin(self, voice: str) -> None:
        if self._library.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, b".", _NO_EXIT) != SAMPLE_RATE_HZ:
            raise _Failed("it does not find its data")
        self._do("espeak_SetVoiceByName", voice.encode())

    def _phonemes(self, text: str) -> list[bytes]:
        """Return the phonemes of each clause."""
        tell = self._library.espeak_TextToPhonemes
        tell.restype = ctypes.c_char_p
        buffer = ctypes.create_string_buffer(text.encode())
        rest, told = ctypes.c_void_p(ctypes.addressof(buffer)), []
        while rest.value:
            told.append(tell(ctypes.byref(rest), _UTF8, _PHONEMES_IN_ASCII) or b"")
        return told

    def send(self, kind: bytes, payload: bytes = b"") -> None:
        self._line.sendall(FRAME.pack(kind, len(payload)) + payload)

    def _do(self, function: str, *arguments: object) -> None:
        status = self._library[function](*arguments)
        if status:
            raise _Failed(f"{function} returned {status}")

    def _hear(self, samples: int | None, count: int, events: Any) -> int:
        """Take the next samples; what comes before the first word is silence, and sent with it."""
        if samples is None:
            self._ended = True
            return 0
        self._heard = self._heard or _has_word(events)
        self._held += ctypes.string_at(samples, 2 * count)
        if self._heard and self._held:
            self.send(AUDIO, self._held)
            self._held = b""
        return 0


def _has_word(events: Any) -> bool:
    index = 0
    while events[index].type:
        if events[index].type == _WORD:
            return True
        index += 1
    return False


def _serve(library: ctypes.CDLL, line: socket.socket) -> None:
    """Speak one utterance; a listener that leaves ends this process by SIGPIPE."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    with line.makefile("rb") as lines:
        request = json.loads(lines.readline())
    voice = _Voice(library, line)
    try:
        if request["signs"]:
            voice.send(*voice.check(request))
        else:
            voice.send(voice.speak(request))
    except _Failed as error:
        voice.send(FAILED, str(error).encode())


def main(library_path: str, data_parent: str) -> None:
    os.chdir(data_parent)  # the library keeps its data's path in 160 bytes
    library = ctypes.CDLL(library_path)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
    for name in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # sent to all processes of a terminal or service; the gateway ends this one
        signal.signal(name, signal.SIG_IGN)
    control = socket.socket(fileno=0)
    while True:
        asked, lines, _, _ = socket.recv_fds(control, 1, 1)
        if not asked:
            return  # the gateway has ended
        if not os.fork():
            _serve(library, socket.socket(fileno=lines[0]))
            os._exit(0)
        os.close(lines[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
