"""The media type of an audio file, told by its first bytes and not by its name or its sender."""

from __future__ import annotations

from typing import Final

from sayonce.audio.decode.tags import ID3V2_HEADER_BYTES, id3v2_bytes

_MAGIC: Final = (
    (0, b"fLaC", "audio/flac"),
    (0, b"OggS", "audio/ogg"),
    (8, b"WAVE", "audio/wav"),  # RIFF, RF64 or BW64 before it
    (8, b"AIFF", "audio/aiff"),
    (8, b"AIFC", "audio/aiff"),
    (4, b"ftyp3g", "audio/3gpp"),
    (4, b"ftyp", "audio/mp4"),
    (0, b"caff", "audio/x-caf"),
    (0, b"#!AMR-WB", "audio/amr-wb"),
    (0, b"#!AMR", "audio/amr"),
    (0, b".snd", "audio/basic"),
    (0, b"riff\x2e\x91\xcf\x11", "audio/x-w64"),
)
_EBML: Final = b"\x1a\x45\xdf\xa3"
_EBML_HEAD_BYTES: Final = 64
UNKNOWN: Final = "application/octet-stream"


def media_type_of(file: bytes) -> str:
    """Return the media type of an audio file by its content; ``UNKNOWN`` where it has no known signature.

    Zeros and an ID3 tag before the sound are skipped: recorders write both before MP3, and taggers before FLAC and AAC.
    """
    found = _by_signature(file)
    if found is not None:
        return found
    head = file.lstrip(b"\0")
    if head.startswith(b"ID3"):
        return _by_signature(head[ID3V2_HEADER_BYTES + id3v2_bytes(head) :].lstrip(b"\0")) or "audio/mpeg"
    return _by_signature(head) or UNKNOWN


def _by_signature(head: bytes) -> str | None:
    for offset, magic, media_type in _MAGIC:
        if head.startswith(magic, offset):
            return media_type
    if head.startswith(_EBML):
        return "audio/webm" if b"webm" in head[:_EBML_HEAD_BYTES] else "audio/x-matroska"
    if head[:1] == b"\xff" and head[1:2] >= b"\xe0":  # eleven bits of sync, then the layer (ISO 11172-3): AAC says 0
        return "audio/mpeg" if head[1] & 0x06 else "audio/aac"
    return None
