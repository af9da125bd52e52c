"""The kind of a server's answer, by its first bytes; its label counts only where these cannot tell."""

from __future__ import annotations

import codecs
import re
import zlib
from typing import Final

from sayonce.audio.decode import frames, mpeg, tags, text_detection
from sayonce.audio.decode.media_type import UNKNOWN, media_type_of
from sayonce.speech.engines.openai.label import Label

PCM: Final = "audio/pcm"
WAV: Final = "audio/wav"
NO_AUDIO: Final = "no audio"
MOST_HEAD_BYTES: Final = 1 << 20
"""How much may come before it is clear what it is: the pictures in some tags are large."""
_HEAD_BYTES: Final = 64
_SAMPLES_BYTES: Final = 262
"""The mark of a tar archive ends there, and ``text_detection`` needs nearly as many."""
_MOST_ZEROS: Final = 4096
_TEXT_BYTES: Final = 32
_VORBIS: Final = b"\x01vorbis"
_VORBIS_AT: Final = 28
_MARKUP: Final = re.compile(rb'[\s\x1e]*(?:(?:\[\s*)?\{\s*"[A-Za-z]|<!?[A-Za-z]{2})')
_NO_AUDIO: Final = re.compile(
    rb"\x1f\x8b\x08|PK\x03\x04|\x28\xb5\x2f\xfd|BZh[1-9]1AY&SY|\xfd7zXZ\0|7z\xbc\xaf\x27\x1c|Rar!\x1a\x07|\xff\x06\0\0sNaPpY"
    rb"|\x04\x22\x4d\x18|LZIP|\x5d\0\0.{2}\xff{8}|MSCF|!<arch>|07070[12]|\xed\xab\xee\xdb"
    rb"|\x89PNG|\xff\xd8\xff|GIF8|RIFF.{4}(?!WAVE)|BM.{4}\0{4}.{4}[\x0c\x28\x40\x6c\x7c]\0{3}|II\*\0|MM\0\*"
    rb"|8BPS|DDS \x7c|\x76\x2f\x31\x01|\x0c(?:jP|JXL) |glTF|wOF[F2]|OTTO"
    rb"|%PDF|%!PS|\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1|SQLite format 3\0|.{257}ustar|bplist0|\x89HDF|PAR1|ARROW1|Obj\x01"
    rb"|\x7fELF|MZ\x90\0|asm\x01\0\0\0|\xca\xfe\xba\xbe|[\xce\xcf]\xfa\xed\xfe|\xac\xed\0\x05|\x15\x03[\0-\x04]\0\x02|\x16\x03[\0-\x04].{2}[\x01\x02]\0"
    rb"|GGUF|.{4}TFL3|.{3}\0{5}\{\"|\x93NUMPY|\x80[\x02-\x05]\x95.{3}\0{5}|\x80[\x03-\x05]B.{3}\0|\x80[\x02\x03](?:\}q\0|\]q\0|c[a-z_]{4}|\x8a\nl\xfc\x9c)"
    rb"|\x02?#!SILK_V3|OpusHead|Speex   |wvpk|MAC |TTA1|MPCK|MP\+[\x07\x17]|DSD \x1c|FRM8|FORM.{4}(?!AIF)|MThd\0{3}\x06|Creative Voice|NIST_1A"
    rb"|\x7f\xfe\x80\x01|qoaf|FLV\x01|DKIF|\.RMF|\x30\x26\xb2\x75|\x01\xba[\x21\x44]|G[\0-\x5f].[\x10-\x3f].{184}G|.{1,4}(?:moov|moof|mdat|styp|sidx)",
    re.DOTALL,
)
"""Behind zeros that files begin with: archives and compressed files; pictures and fonts; documents and data; programs, what
they write and how they talk; weights and what Python writes; and sound and films in containers that are not read."""
_DEFLATED: Final = re.compile(rb"\x78[\x01\x5e\x9c\xda]")
_LEAST_INFLATED: Final = 64
_PACKED: Final = re.compile(rb"(?:[\x81-\x8f][\xa4-\xb4]|[\xa1-\xaf][\x64-\x74])[a-z_]{4}")
"""A map with a word as its first key, in MessagePack or CBOR."""
_utf8: Final = codecs.getincrementaldecoder("utf-8")


def tell(head: bytes, label: Label, asked: str, *, ended: bool) -> str | None:
    """Return the media type of an answer, ``NO_AUDIO``, or None when more has to come to know it.

    Samples have no mark, and can look like the beginning of an MPEG frame: there three frames in a row are the mark.
    """
    begin = tags.skip(head)
    body = head[begin:]
    is_samples = label.is_of_samples(asked)
    if len(body) < (_SAMPLES_BYTES if is_samples else _HEAD_BYTES) and not ended:
        return PCM if is_samples and len(head) >= _MOST_ZEROS and not head.strip(b"\0") else None
    if (
        _is_text(body)
        or text_detection.begins_with_wide_text(head)
        or _NO_AUDIO.match(body)
        or _PACKED.match(body)
        or _is_deflated(body)
    ):
        return NO_AUDIO
    kind = media_type_of(body)
    if kind in ("audio/mpeg", "audio/aac") and is_samples and not head.startswith(b"ID3"):
        in_a_row = _is_run_of_frames(body, kind, ended=ended)
        return None if in_a_row is None else kind if in_a_row else _samples(body, label)
    if kind != UNKNOWN:
        is_vorbis = body.startswith(_VORBIS, _VORBIS_AT) and kind == "audio/ogg"
        return f"{kind};codecs=vorbis" if is_vorbis else kind
    is_blank = not body and head.strip(b"\0")
    return _samples(body, label) if is_samples and head and not is_blank else NO_AUDIO


def _samples(body: bytes, label: Label) -> str:
    return NO_AUDIO if label.is_linear and text_detection.begins_with_text(body) else PCM


def _is_text(head: bytes) -> bool:
    """Whether the first bytes are text: sixteen samples in a row that are all letters occur in no sound."""
    if _MARKUP.match(head):
        return True
    try:
        text = _utf8().decode(head[:_TEXT_BYTES])
    except UnicodeDecodeError:
        return False
    return bool(text.strip()) and all(each.isprintable() or each in "\t\r\n" for each in text)


def _is_deflated(head: bytes) -> bool:
    """Whether the first bytes are a compressed file without another mark than its two bytes of zlib."""
    if not _DEFLATED.match(head):
        return False
    try:
        return len(zlib.decompressobj().decompress(head, _LEAST_INFLATED)) == _LEAST_INFLATED
    except zlib.error:
        return False


def _is_run_of_frames(body: bytes, kind: str, *, ended: bool) -> bool | None:
    """Tell whether three frames, or all there are, follow one another; None when more has to come."""
    position, first = 0, mpeg.frame_at(body, 0)
    for _ in range(3):
        if position + frames.ADTS_BYTES > len(body):
            return position == len(body) if ended else None
        size = _frame_bytes(body, position, kind, first)
        if not size:
            return False
        position += size
    return position <= len(body) or not ended


def _frame_bytes(body: bytes, position: int, kind: str, first: mpeg.Frame | None) -> int:
    if kind == "audio/aac":
        return frames.adts_bytes(body, position)
    frame = mpeg.frame_at(body, position)
    if frame is None or first is None or frame.sample_rate_hz != first.sample_rate_hz:
        return 0
    return frame.size
