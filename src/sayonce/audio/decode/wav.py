"""WAV that arrives in chunks of any size, as samples: one file, or several of one format that were joined."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import numpy as np

from sayonce.audio.decode import tags, text_detection
from sayonce.audio.decode.container import Container
from sayonce.audio.decode.wav_format import WavFormat, read_fmt
from sayonce.audio.samples import Block, Samples, to_pcm16
from sayonce.errors import BadAudio

LONGEST_BYTES: Final = 256_000_000
"""About 90 minutes at 24 kHz: a greater length stands for one that was not known."""
_CHUNK: Final = struct.Struct("<4sI")
_DS64: Final = struct.Struct("<QQ")
_RIFF_BYTES: Final = 12
_LONGEST_HEADER_BYTES: Final = 1 << 20
_FEED_BYTES: Final = 1 << 20
_TAIL_BYTES: Final = 512
_IN_DS64: Final = 0xFFFF_FFFF
_FILE: Final = re.compile(rb"(?:RIFF|RF64|BW64)....WAVE", re.DOTALL)
_FILE_BEGINS: Final = re.compile(
    rb"(?:R(?:I(?:F(?:F.{0,4}|F.{4}(?:W|WA|WAV))?)?|F(?:6(?:4.{0,7})?)?)?|B(?:W(?:6(?:4.{0,7})?)?)?)\Z", re.DOTALL
)
"""The bytes that may become the first twelve of a file."""
_NAME: Final = re.compile(rb"[ -~]{4}")
_METADATA: Final = frozenset((b"LIST", b"id3 ", b"ID3 ", b"bext", b"fact", b"JUNK", b"junk", b"PAD ", b"cue ", b"smpl"))
"""Chunks behind the samples that are often cut, or have a wrong length: nothing of the sound is lost with them."""
_NOTHING: Final[Samples] = np.empty(0, np.int16)


class WavReader:
    """Reads WAV (also RF64) into samples: PCM of 8 to 32 bits, floating point, A-law and mu-law.

    ``sample_rate_hz`` and ``channels`` are None until the header has come. A length of 0, or beyond ``LONGEST_BYTES``,
    means that the samples go on up to the end or the next file's header.
    """

    def __init__(self) -> None:
        self._format: WavFormat | None = None
        self._held = bytearray()
        self._step: Callable[[], bytes | None] = self._read_header
        self._rest: int | None = None
        self._skipped = 0
        self._came = 0
        self._is_metadata = False
        self._ragged = b""
        self._tail = b""
        self.odd_bytes = 0
        """Bytes behind the last whole sample, which were dropped."""

    @property
    def sample_rate_hz(self) -> int | None:
        return self._format.sample_rate_hz if self._format else None

    @property
    def channels(self) -> int | None:
        return self._format.channels if self._format else None

    @property
    def says_length(self) -> bool:
        """Whether the header promised a number of bytes, so that a missing end is noticed."""
        return self._rest is not None

    def feed(self, raw: bytes) -> bytes:
        """Return the samples that are whole by now as PCM16, possibly none; see ``read``."""
        return to_pcm16(self.read(raw)).tobytes()

    def read(self, raw: bytes) -> Samples:
        """Return the samples that are whole by now as they are encoded, interleaved, possibly none.

        Raises:
            BadAudio: it is no WAV, in an encoding that is not read, or followed by bytes that are neither WAV nor a chunk.

        """
        self._held += raw
        parts = [_NOTHING]
        while (samples := self._step()) is not None:
            if samples:
                parts.append(self._convert(samples))
        return parts[-1] if len(parts) <= 2 else np.concatenate(parts[1:])  # noqa: PLR2004 (there is nothing to join)

    def finish(self) -> bytes:
        """Return the last samples as PCM16, usually none; see ``end``."""
        return to_pcm16(self.end()).tobytes()

    def end(self) -> Samples:
        """Check that all has come that the headers promised; return the last bytes, which could have been the next header.

        Raises:
            BadAudio: it has not, or there is no sample at all.

        """
        if self._format is None or (self._step == self._read_header and self._held):
            raise BadAudio("The WAV audio ends inside its header")
        rest = _NOTHING
        if self._step == self._read_samples:
            if self._rest:
                raise BadAudio(f"The WAV audio is cut off: {self._rest} bytes are missing behind {self._came}")
            self._came += len(self._held)
            raw = self._take(len(self._held))
            self._check_tail(raw)
            rest = self._convert(raw)
        elif self._behind() > (self._format.block_bytes > 1):  # one byte may be the padding of a chunk
            raise _followed()
        self._end_file()
        if self._came < self._format.block_bytes:
            raise BadAudio("The WAV audio is empty: it holds no samples")
        return rest

    def _check_tail(self, raw: bytes) -> None:
        """Refuse samples of unstated number that end with the text of an error: a server broke off, and said so."""
        assert self._format is not None
        is_text = text_detection.ends_with_text if self._format.is_pcm16 else text_detection.ends_with_message
        if self._rest is None and is_text(self._tail + raw):
            raise BadAudio("The WAV audio ends with the text of an error")

    def _behind(self) -> int:
        """Return how many bytes are behind the samples, or missing there, that may have been sound."""
        if self._step == self._skip_chunk:
            return 0 if self._is_metadata else self._skipped
        return len(self._held)

    def _convert(self, raw: bytes) -> Samples:
        assert self._format is not None
        raw = self._ragged + raw
        whole = len(raw) - len(raw) % self._format.block_bytes
        self._ragged = raw[whole:]
        return self._format.samples(raw[:whole])

    def _take(self, size: int) -> bytes:
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken

    def _read_header(self) -> bytes | None:
        """Walk the chunks up to the samples."""
        start = tags.skip(self._held)
        if start > len(self._held) - _RIFF_BYTES:
            self._check_beginning()
            return None
        if not _FILE.match(self._held, start):
            raise BadAudio("The audio is no WAV")
        position, found, long = start + _RIFF_BYTES, None, None
        while position + _CHUNK.size <= len(self._held):
            name, size = _CHUNK.unpack_from(self._held, position)
            position += _CHUNK.size
            if name == b"data":
                return self._begin_samples(found, long if long and size == _IN_DS64 else size, position)
            content = bytes(self._held[position : position + size])
            if name == b"fmt " and len(content) == size:
                found = read_fmt(content)
                self._format = self._format or found
            if name == b"ds64" and len(content) >= _DS64.size:
                long = _DS64.unpack_from(content)[1]
            position += size + size % 2  # chunks are padded to even lengths
        self._check_beginning()
        return None

    def _check_beginning(self) -> None:
        if len(self._held) > _LONGEST_HEADER_BYTES:
            raise BadAudio("The WAV audio has no samples in its first megabyte")
        head = bytes(self._held.lstrip(b"\0\r\n\t ")[:_RIFF_BYTES])
        if head[:3] != b"ID3"[: len(head)] and not _may_be_file(head):
            raise BadAudio("The audio is no WAV")

    def _begin_samples(self, found: WavFormat | None, size: int, position: int) -> bytes:
        if found is None:
            raise BadAudio("The WAV audio does not say what its samples are")
        if found != self._format:
            raise BadAudio("The WAV audio changes its rate, channels or encoding on the way")
        self._rest = size if 0 < size <= LONGEST_BYTES else None
        self._step = self._read_samples
        del self._held[:position]
        return b""

    def _read_samples(self) -> bytes | None:
        if self._rest is None:
            return self._read_up_to_next_file()
        if not self._rest:
            self._end_file()
            self._step = self._read_chunk
            return b""
        raw = self._take(self._rest)
        self._rest -= len(raw)
        self._came += len(raw)
        return raw or None

    def _read_up_to_next_file(self) -> bytes | None:
        """Without a length, everything is samples up to another header."""
        following = _FILE.search(self._held)
        begins = following or _FILE_BEGINS.search(self._held, max(0, len(self._held) - _RIFF_BYTES))
        raw = self._take(begins.start() if begins else len(self._held))
        self._came += len(raw)
        self._tail = (self._tail + raw[-_TAIL_BYTES:])[-_TAIL_BYTES:]
        if following and not raw:
            self._end_file()
            self._step = self._read_header
            return b""
        return raw or None

    def _read_chunk(self) -> bytes | None:
        """Read on behind the samples: another file, more samples, a chunk, or nothing that is sound."""
        del self._held[: tags.skip(self._held)]
        if self._held and _may_be_file(self._held):
            self._step = self._read_header
            return b""
        if len(self._held) < _CHUNK.size:
            return None
        name, size = _CHUNK.unpack(self._take(_CHUNK.size))
        if not _NAME.fullmatch(name):
            raise _followed()
        if name == b"data":
            self._rest, self._step = size, self._read_samples
            return b""
        self._skipped, self._step = size + size % 2, self._skip_chunk
        self._is_metadata = name in _METADATA
        return b""

    def _skip_chunk(self) -> bytes | None:
        self._skipped -= len(self._take(self._skipped))
        if not self._skipped:
            self._step = self._read_chunk
            return b""
        return None

    def _end_file(self) -> None:
        self.odd_bytes += len(self._ragged)
        self._ragged = b""


def _may_be_file(head: bytes | bytearray) -> bool:
    return not head or bool(_FILE.match(head) or _FILE_BEGINS.match(head))


def _followed() -> BadAudio:
    return BadAudio("The WAV audio is followed by what is neither a chunk nor another WAV")


def walk(body: bytes, start: int) -> Container:
    """Describe a WAV and those that are joined to it."""
    return Container(name="WAV", end=len(body), blocks=partial(_blocks, body, start))


def _blocks(body: bytes, start: int) -> Iterator[Block]:
    reader = WavReader()
    for position in range(start, len(body), _FEED_BYTES):
        yield from _block(reader, reader.read(body[position : position + _FEED_BYTES]))
    yield from _block(reader, reader.end())


def _block(reader: WavReader, samples: Samples) -> Iterator[Block]:
    if len(samples):
        yield Block(samples.reshape(-1, reader.channels or 1), reader.sample_rate_hz or 0)
