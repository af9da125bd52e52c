"""Open sound from outside: recognise it by its content, check that it is whole, and decode it in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from sayonce.audio.decode import aiff, caf, flac, frames, mp4, mpeg, ogg, tags, telephony, wav, webm
from sayonce.audio.decode.container import Container
from sayonce.audio.decode.media_type import UNKNOWN, media_type_of
from sayonce.audio.samples import Block
from sayonce.errors import BadAudio

Walk = Callable[[bytes, int], Container]

UNDERSTOOD: Final = (
    "WAV, FLAC, Ogg (Opus, Vorbis), MP3, AAC, M4A, MP4, 3GP, WebM, CAF, AIFF, AU, W64 and AMR are understood"
)
_MOST_JOINED: Final = 1000
_HEAD_BYTES: Final = 64

_WALKS: Final[dict[str, Walk]] = {
    "audio/wav": wav.walk,
    "audio/flac": flac.walk,
    "audio/ogg": ogg.walk,
    "audio/mpeg": mpeg.walk,
    "audio/aac": frames.walk_adts,
    "audio/mp4": mp4.walk,
    "audio/3gpp": mp4.walk,
    "audio/webm": webm.walk,
    "audio/x-matroska": webm.walk,
    "audio/x-caf": caf.walk,
    "audio/amr": frames.walk_amr,
    "audio/amr-wb": frames.walk_amr,
    "audio/aiff": aiff.walk_aiff,
    "audio/basic": aiff.walk_au,
    "audio/x-w64": aiff.walk_w64,
}


class Sound(msgspec.Struct, frozen=True):
    """An audio file, or several of one format that were joined; their structure was checked and is whole."""

    media_type: str
    containers: tuple[Container, ...]

    @property
    def decoder_version(self) -> int:
        """The version of the decoder, which is raised when it gives other samples; always 1 where nothing is lost."""
        return max(container.decoder_version for container in self.containers)

    @property
    def joined(self) -> bool:
        """Whether these are several files: then the header of the first says less than there is."""
        return len(self.containers) > 1

    def blocks(self, most_samples: int) -> Iterator[Block]:
        """Decode: the blocks, read to their end, are every sample of every frame.

        Raises:
            BadAudio: it cannot be decoded, is shorter than its container says, changes its rate or channels on the way,
                holds no sample, or more than ``most_samples``.

        """
        shape, total = None, 0
        for container in self.containers:
            heard, rate = 0, 1
            for block in container.blocks():
                shape = shape or _shape(block)
                if _shape(block) != shape:
                    raise BadAudio("The audio changes its rate or channels on the way")
                heard, rate, total = heard + len(block.samples), block.sample_rate_hz, total + block.samples.size
                if total > most_samples:
                    raise BadAudio(f"The audio has more than {most_samples:,} samples")
                yield block
            container.check(heard, rate)
        if not total:
            raise BadAudio("The audio is empty: it holds no samples")


def open_sound(body: bytes) -> Sound:
    """Read the structure of an audio file, by its content alone: its name and its sender are not believed.

    Zeros, line ends and tags before, between and behind are skipped. Files of one kind may be joined.

    Raises:
        BadAudio: it is no audio that is understood, is cut off, or has something else in it.

    """
    position = tags.skip(body)
    if position >= len(body):
        raise BadAudio("The audio is empty")
    media_type, containers = _kind(body, position), list[Container]()
    if media_type not in _WALKS:
        raise BadAudio("The audio is in no format that is known")
    while position < len(body):
        if len(containers) == _MOST_JOINED or _kind(body, position) != media_type:
            raise BadAudio(f"The audio has something behind its first {position} bytes that is not {media_type}")
        containers.append(_walk(media_type, body, position))
        position = tags.skip(body, containers[-1].end)
    return Sound(media_type, tuple(containers))


def _shape(block: Block) -> tuple[int, int]:
    return block.sample_rate_hz, block.samples.shape[1]


def _kind(body: bytes, position: int) -> str:
    kind = media_type_of(body[position : position + _HEAD_BYTES])
    return "audio/mp4" if kind == UNKNOWN and body[position + 4 : position + 8] in mp4.QUICKTIME else kind


def _walk(media_type: str, body: bytes, position: int) -> Container:
    if media_type == "audio/wav" and telephony.tag(body, position) in telephony.NAMES:
        return telephony.walk(body, position)
    return _WALKS[media_type](body, position)
