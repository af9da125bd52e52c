"""Decoding in a subprocess, for files from strangers: a hostile file can harm that process alone."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import msgspec
import numpy as np

from sayonce.audio.decode import subprocess_worker as worker
from sayonce.audio.samples import Block
from sayonce.errors import BadAudio, DecodersBusy

_SECONDS: Final = 4
_BYTES_PER_SECOND: Final = 1_000_000
"""Of the file: a decoder has a second more of processor time for each million bytes."""
_MEMORY_BYTES: Final = 256_000_000
_COPIES: Final = 4
"""How many copies of a file may be in memory beside that."""
_MOST_FRAME_BYTES: Final = 64_000_000
_TYPES: Final = {np.dtype(name).char.encode(): np.dtype(name) for name in ("u1", "i2", "i4", "f4", "f8")}


class SubprocessSound:
    """A ``sayonce.audio.decode.door.Sound`` that another process reads; its blocks can be read once."""

    def __init__(self, line: socket.socket, seconds: int) -> None:
        self._line = line
        self._seconds = seconds
        try:
            self.media_type, self.decoder_version, self.joined = _opened(self._next(worker.OPENED) or b"")
        except msgspec.MsgspecError:
            raise self._broken() from None

    def blocks(self, most_samples: int) -> Iterator[Block]:
        """Yield the decoded blocks: read to their end, they are every sample of every frame.

        Raises:
            BadAudio: as ``sayonce.audio.decode.door.Sound.blocks``, or the decoder crashed or needed too much time or memory.

        """
        total = 0
        with self._line:
            with suppress(OSError):  # it has broken off, which is seen when it is read from
                self._line.sendall(worker.MOST_SAMPLES.pack(most_samples))
            while (payload := self._next(worker.BLOCK)) is not None:
                block = self._unpacked(payload)
                total += block.samples.size
                if total > most_samples:
                    raise self._broken()
                yield block

    def _unpacked(self, payload: bytes) -> Block:
        try:
            code, channels, rate = worker.SHAPE.unpack_from(payload)
            samples = np.frombuffer(payload, _TYPES[code], offset=worker.SHAPE.size)
            return Block(samples.reshape(-1, channels), rate)
        except (struct.error, KeyError, ValueError):
            raise self._broken() from None

    def _next(self, wanted: bytes) -> bytes | None:
        """Return the payload of the next frame, None at the end: a hostile file may make its decoder send anything."""
        try:
            kind, length = worker.FRAME.unpack(self._read(worker.FRAME.size))
            payload = self._read(length) if length <= _MOST_FRAME_BYTES else b""
        except (EOFError, OSError):
            raise self._broken() from None
        if length > _MOST_FRAME_BYTES or kind not in (wanted, worker.DONE, worker.FAILED):
            raise self._broken()
        if kind == worker.FAILED:
            raise BadAudio(payload.decode(errors="replace"))
        return payload if kind == wanted else None

    def _broken(self) -> BadAudio:
        return BadAudio(
            f"The audio cannot be decoded: its decoder broke off, or would need more than {self._seconds} s or "
            f"{_MEMORY_BYTES // 1_000_000} MB"
        )

    def _read(self, count: int) -> bytes:
        data = bytearray(count)
        view, got = memoryview(data), 0
        while got < count:
            more = self._line.recv_into(view[got:])
            if not more:
                raise EOFError
            got += more
        return bytes(data)


_opened = msgspec.msgpack.Decoder(tuple[str, int, bool]).decode


class _DecoderProcess:
    """The process that forks itself for each file; the first file starts it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._of = 0

    def line(self) -> socket.socket:
        """Have a process forked, and return the socket to it."""
        ours, its = socket.socketpair()
        with self._lock, its:
            try:
                socket.send_fds(self._running(), [b"+"], [its.fileno()])
            except OSError as error:
                ours.close()
                raise DecodersBusy(f"no process to decode sound can be started: {error}") from None
        return ours

    def _running(self) -> socket.socket:
        alive = self._of == os.getpid() and self._process is not None and self._process.poll() is None
        if self._control is None or not alive:
            if self._control is not None:
                self._control.close()
            self._control, its = socket.socketpair()
            with its:
                self._process = subprocess.Popen(  # noqa: S603 (our own module)
                    [sys.executable, "-P", "-m", worker.__name__],  # -P: imports nothing from the working directory
                    stdin=its.fileno(),
                    start_new_session=True,
                )
            self._of = os.getpid()
        return self._control

    def close(self) -> None:
        """End the process, and every decoding that runs."""
        with self._lock:
            process, self._process = self._process, None
            if process is None or self._of != os.getpid():
                return
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if self._control is not None:
                self._control.close()


_decoder = _DecoderProcess()
close = _decoder.close
atexit.register(close)


def open_in_subprocess(body: bytes) -> SubprocessSound:
    """Open sound as ``sayonce.audio.decode.door.open_sound`` does, in a process with a bound on time and memory.

    Raises:
        BadAudio: it is no audio that is understood, or its structure takes too much time or memory to read.
        DecodersBusy: no process can be started, which is no fault of the file.

    """
    line, seconds = _decoder.line(), _SECONDS + len(body) // _BYTES_PER_SECOND
    line.settimeout(worker.WAITS_PER_SECOND * seconds + _SECONDS)  # longer than the process may exist
    try:
        _wait_for_begin(line)
        with suppress(OSError):  # it has broken off, which is seen when it is read from
            line.sendall(worker.REQUEST.pack(len(body), _MEMORY_BYTES + _COPIES * len(body), seconds))
            line.sendall(body)
        return SubprocessSound(line, seconds)
    except BaseException:
        line.close()
        raise


def _wait_for_begin(line: socket.socket) -> None:
    try:
        begun = line.recv(len(worker.BEGUN))
    except OSError:
        begun = b""
    if begun != worker.BEGUN:
        raise DecodersBusy("no process to decode sound could be started; ask again")
