"""State the length of a file that was written to a pipe, in the header, where its format has a field for it.

Players and libraries believe the header: without a length libsndfile does not read FLAC at once, and the duration of an
MP3 of variable rate is a guess from its first frame.
"""

from __future__ import annotations

from typing import Final

from sayonce.audio.decode import mpeg, tags

_FLAC_TOTAL: Final = slice(21, 26)
"""The last bytes of STREAMINFO's total, behind the mark and a block's header; four bits before it are another field's."""


def stated(body: bytes, media_type: str, frames: int) -> bytes:
    """Return a whole file with its length in its header; the same file where it says so already, or cannot.

    Args:
        body: one file, which was decoded to its end.
        media_type: its media type.
        frames: the samples a channel that it has.

    """
    if media_type == "audio/flac":
        return _flac(body, frames)
    return _mp3(body) if media_type == "audio/mpeg" else body


def _flac(body: bytes, frames: int) -> bytes:
    start = tags.skip(body)
    total = slice(start + _FLAC_TOTAL.start, start + _FLAC_TOTAL.stop)
    said = int.from_bytes(body[total], "big")
    if said & (1 << 36) - 1 or body[start + 4] & 0x7F:
        return body
    return body[: total.start] + (said | frames).to_bytes(5, "big") + body[total.stop :]


def _mp3(body: bytes) -> bytes:
    """Put a Xing header before frames of variable rate that have none."""
    start = tags.skip(body)
    first = mpeg.frame_at(body, start)
    if first is None or mpeg.is_header(body[start : start + first.size]):
        return body
    position, number, rates = start, 0, set[int]()
    while (frame := mpeg.frame_at(body, position)) is not None:
        rates.add(body[position + 2] >> 4)
        position, number = position + frame.size, number + 1
    if len(rates) == 1:
        return body
    head = mpeg.header(body[start : start + 4], number, position - start)
    return body[:start] + head + body[start:]
