"""The process that decodes files from strangers: forked anew for each file, with a bound on its memory and its time.

Decoders are written in C, and believe what a file claims: a few hundred bytes may crash one, fill the memory or keep it
busy for hours. Here that ends a process which has this one file. A fork of a process in which the libraries are loaded
costs a few milliseconds.

Standard input is a socket, over which the parent passes one more socket for each file. On that one the parent sends the
bounds, the file, and then the most samples that it wants. The fork answers with one byte once it runs, and then with
frames of (kind, length, payload).
"""

from __future__ import annotations

import gc
import importlib
import os
import resource
import signal
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from sayonce.audio.decode.door import open_sound
from sayonce.errors import BadAudio

if TYPE_CHECKING:
    from sayonce.audio.samples import Block

BEGUN: Final = b"!"
FRAME: Final = struct.Struct("!cI")
OPENED, BLOCK, DONE, FAILED = b"o", b"b", b"d", b"f"
REQUEST: Final = struct.Struct("!QQI")
"""Bytes of the file, of memory, and seconds of processor time."""
MOST_SAMPLES: Final = struct.Struct("!Q")
SHAPE: Final = struct.Struct("!cBI")
"""Of a block: the code of NumPy's type, channels, sample rate."""
_LIBRARIES: Final = ("av", "soundfile")
WAITS_PER_SECOND: Final = 10
"""So much longer than its processor time a process may exist, as the machine has other work."""


def _decode(line: socket.socket) -> None:
    """Decode one file; when the reader has closed its socket, SIGPIPE ends this process."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    with line, line.makefile("rb") as given:
        line.sendall(BEGUN)
        body_bytes, memory_bytes, seconds = REQUEST.unpack(given.read(REQUEST.size))
        _bound(memory_bytes, seconds)
        try:
            sound = open_sound(given.read(body_bytes))
            _send(line, OPENED, msgspec.msgpack.encode((sound.media_type, sound.decoder_version, sound.joined)))
            (most_samples,) = MOST_SAMPLES.unpack(given.read(MOST_SAMPLES.size))
            for block in sound.blocks(most_samples):
                _send(line, BLOCK, _packed(block))
            _send(line, DONE)
        except BadAudio as error:
            _send(line, FAILED, error.message.encode())


def _bound(memory_bytes: int, seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    signal.alarm(WAITS_PER_SECOND * seconds)
    with suppress(ValueError, OSError):  # not every system has such a bound
        resource.setrlimit(resource.RLIMIT_AS, (_size_bytes() + memory_bytes,) * 2)


def _size_bytes() -> int:
    """Return how large this process's address space is now; see proc(5)."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        return int(file.read().split()[0]) * resource.getpagesize()


def _packed(block: Block) -> bytes:
    samples = block.samples
    shape = SHAPE.pack(samples.dtype.char.encode(), samples.shape[1], block.sample_rate_hz)
    return shape + samples.tobytes()


def _send(line: socket.socket, kind: bytes, payload: bytes = b"") -> None:
    line.sendall(FRAME.pack(kind, len(payload)) + payload)


def main() -> None:
    for library in _LIBRARIES:
        importlib.import_module(library)
    gc.freeze()  # memory that is shared with the forks stays shared
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
    for ending in (signal.SIGINT, signal.SIGTERM):  # sent to all processes of a terminal; the parent ends this one
        signal.signal(ending, signal.SIG_IGN)
    control = socket.socket(fileno=0)
    while True:
        asked, lines, _, _ = socket.recv_fds(control, 1, 1)
        if not asked:
            return  # the parent has ended
        with suppress(OSError):  # no memory or no more processes: the caller sees its socket close, and may ask again
            if not os.fork():
                try:
                    _decode(socket.socket(fileno=lines[0]))
                finally:
                    os._exit(0)
        os.close(lines[0])


if __name__ == "__main__":
    main()
