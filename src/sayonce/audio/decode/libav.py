"""Decoding by FFmpeg's libraries (PyAV): MPEG audio, AAC, AMR, and the tracks of MP4, WebM and Core Audio files.

PyAV is imported when the first such file comes: its import takes longer than all other work on a cached clip.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from sayonce.audio.samples import Block
from sayonce.errors import BadAudio


def packet_blocks(name: str, codec: str, packets: Iterable[bytes]) -> Iterator[Block]:
    """Decode frames that were cut out of their stream; each must give sound.

    Raises:
        BadAudio: a frame gives none.

    """
    import av  # noqa: PLC0415

    with _translated(name):
        context: Any = av.CodecContext.create(codec, "r")
        for number, packet in enumerate(packets):
            frames = context.decode(av.Packet(packet))
            if not frames:
                raise BadAudio(f"The {name} audio has a frame that cannot be decoded: number {number}")
            yield from map(_block, frames)
        yield from map(_block, context.decode(None))


def container_blocks(name: str, container: str, body: bytes, size: int = 0) -> Iterator[Block]:
    """Decode the first audio track of a file, and check that its packets have at least ``size`` bytes.

    Raises:
        BadAudio: it cannot be decoded, or there are fewer bytes.

    """
    import av  # noqa: PLC0415

    with _translated(name), av.open(io.BytesIO(body), "r", format=container) as file:
        if not file.streams.audio:
            raise BadAudio(f"The {name} file has no audio")
        packets, frames, found = 0, 0, 0
        for packet in file.demux(file.streams.audio[0]):
            if packet.is_corrupt:
                raise BadAudio(f"The {name} audio is cut off inside a packet")
            packets, found = packets + (packet.size > 0), found + packet.size
            for frame in packet.decode():
                frames += 1
                yield _block(frame)
        if found < size:
            raise BadAudio(f"The {name} audio is cut off: {found} of {size} bytes")
        if frames < packets - 1:  # the first packet may be nothing but the encoder's delay
            raise BadAudio(f"The {name} audio cannot be decoded: {frames} of {packets} packets")


def _block(frame: Any) -> Block:
    samples = frame.to_ndarray()
    channels = frame.layout.nb_channels
    planar = samples.T if frame.format.is_planar else samples.reshape(-1, channels)
    return Block(planar, frame.sample_rate)


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Turn FFmpeg's errors into ours; ValueError is PyAV's for a stream that it has no decoder for."""
    import av  # noqa: PLC0415

    try:
        yield
    except (av.FFmpegError, ValueError) as trouble:
        told = getattr(trouble, "strerror", None) or trouble
        raise BadAudio(f"The {name} audio cannot be decoded: {told}") from None
