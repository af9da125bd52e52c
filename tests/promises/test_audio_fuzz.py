"""Two thousand files that are whole, cut, joined, surrounded by junk, or lie about their length or their kind.

Each gives every sample of every frame that is in it, or is refused. None is shorter and called whole.
"""

import asyncio
import random
import struct
from functools import cache

import pytest

from sayonce.audio.decode.media_type import media_type_of
from sayonce.audio.decode.whole_file import decode
from sayonce.audio.pcm import Pcm
from sayonce.errors import BadAudio, EngineError
from sayonce.speech.engines import AudioStart
from sayonce.speech.engines.openai import answers
from tests.helpers.audio_files import KINDS, decoded_by_others, likeness, made, speech

CASES = 2_000
EACH = -(-CASES // len(KINDS))
SECONDS = (0.35, 0.8, 1.3)
ID3V2 = b"ID3\4\0\0\0\0\1\0" + b"title".ljust(128, b"\0")
ID3V1 = b"TAG" + b"title".ljust(125, b"\0")
APE = b"APETAGEX" + struct.pack("<IIII8x", 2000, 32, 0, 0)
BEFORE = (b"\0", bytes(700), ID3V2, bytes(33) + ID3V2, b"\r\n", b"hello there ", b"HTTP/1.1 200 OK\r\n\r\n")
AFTER = (b"\0", bytes(700), ID3V1, APE + ID3V1, b"\n", b'{"error": "timeout"}', b"noise \xfe\xff\x01")
LABELS = (
    "audio/pcm",
    "application/octet-stream",
    "audio/wav",
    "audio/mpeg",
    "audio/flac",
    "text/plain",
    "",
    "audio/L16;rate=16000",
)


@cache
def sources(name):
    return [speech(hash_of(name) + number, seconds, KINDS[name].rate) for number, seconds in enumerate(SECONDS)]


def hash_of(name):
    return sum(map(ord, name)) * 1_000


@cache
def files(name):
    return [made(KINDS[name], samples) for samples in sources(name)]


@cache
def by_others(name, number):
    return decoded_by_others(files(name)[number])


def heard(body):
    """Return what the door gives, None if it refuses."""
    try:
        return decode(body)
    except BadAudio:
        return None


def check_whole(name, pcm, numbers, extra=0):
    """Check that everything of these files was heard, and no more than codecs and ``extra`` samples add."""
    kind, rate = KINDS[name], pcm.sample_rate_hz
    source = sum(len(sources(name)[number]) for number in numbers) * rate / kind.rate
    surplus = kind.surplus * rate / kind.rate if kind.surplus else 0.06 * rate * kind.lossless
    assert -1 <= pcm.frames - source <= len(numbers) * surplus + 1 + extra
    begin = 0
    for count, number in enumerate(numbers, 1):  # each has a delay of its own
        length = len(sources(name)[number]) * rate // kind.rate
        span = pcm.samples[2 * begin : 2 * (begin + length + count * int(surplus) + extra)]
        part = Pcm(span, rate, 1, len(span) // 2)
        assert likeness(part, *by_others(name, number)) >= 0.98
        begin += length


def whole(name, dice):
    number = dice.randrange(3)
    pcm = heard(files(name)[number])
    assert pcm is not None
    check_whole(name, pcm, [number])


def cut(name, dice):
    """Only where the container states neither a length nor an end may a cut pass, with all frames before it."""
    body = files(name)[dice.randrange(3)]
    end = dice.choice((dice.randrange(1, len(body)), len(body) - 1, len(body) - dice.randrange(1, min(400, len(body)))))
    pcm = heard(body[:end])
    if pcm is None:
        return
    assert not KINDS[name].states_end, f"cut at {end} of {len(body)}"
    theirs, rate = decoded_by_others(body[:end])
    assert pcm.frames / pcm.sample_rate_hz >= len(theirs) / rate - KINDS[name].surplus / KINDS[name].rate - 0.001


def joined(name, dice):
    numbers = [dice.randrange(3) for _ in range(dice.choice((2, 3)))]
    between = dice.choice((b"", b"", b"", bytes(dice.randrange(1, 500)), ID3V2))
    pcm = heard(between.join(files(name)[number] for number in numbers))
    if pcm is not None:
        extra = len(between) * len(numbers) if not KINDS[name].states_end else 0
        check_whole(name, pcm, numbers, extra)


def joined_to_another_kind(name, dice):
    kind = media_type_of(files(name)[0])
    other = dice.choice([each for each in KINDS if media_type_of(files(each)[0]) != kind])
    pcm = heard(files(name)[0] + files(other)[0])
    if pcm is not None:  # what has no length of its own may go on into what follows, and then lasts longer
        assert pcm.frames >= len(sources(name)[0]) * pcm.sample_rate_hz // KINDS[name].rate
        assert not KINDS[name].states_end


def junk_before(name, dice):
    number, junk = dice.randrange(3), dice.choice(BEFORE)
    pcm = heard(junk + files(name)[number])
    assert pcm is None or check_whole(name, pcm, [number]) is None


def junk_after(name, dice):
    number, junk = dice.randrange(3), dice.choice(AFTER)
    pcm = heard(files(name)[number] + junk)
    assert pcm is None or check_whole(name, pcm, [number], len(junk)) is None


LENGTHS = {
    b"RIFF": ("<I", 4),
    b"data": ("<I", 4),
    b"fLaC": (">I", 22 - 0),
    b"COMM": (">I", 10),
    b"SSND": (">I", 4),
    b"FORM": (">I", 4),
    b"mdat": (">I", -4),
    b"stsz": (">I", 12),
    b"mdhd": (">I", 20),
    b"Info": (">I", 8),
    b"OpusHead": ("<H", 10),
    b"\x18\x53\x80\x67": (">Q", 4),
}


def wrong_length(name, dice):
    """A length that lies is noticed, unless nothing depends on it: then all is heard all the same."""
    number = dice.randrange(3)
    body = bytearray(files(name)[number])
    marks = [mark for mark in LENGTHS if mark in body]
    if not marks:
        return
    mark = dice.choice(marks)
    form, offset = LENGTHS[mark]
    at = body.index(mark) + offset
    old = struct.unpack_from(form, body, at)[0]
    top = (1 << 8 * struct.calcsize(form)) - 1
    new = dice.choice(
        (
            0,
            top,
            0x7FFF_FFFF & top,
            2_000_000_000 & top,
            max(0, old - dice.randrange(1, 2_000)),
            old + dice.randrange(1, 2_000),
        )
    )
    struct.pack_into(form, body, at, new & top)
    pcm = heard(bytes(body))
    if pcm is not None and mark != b"OpusHead":  # how much of the start is left out is what that one says
        check_whole(name, pcm, [number], 1_000)


def wrong_label(name, dice):
    number, asked = dice.randrange(3), dice.choice(("wav", "pcm", "mp3", "flac"))
    body = files(name)[number]
    pcm = asyncio.run(answered(pieces(body, dice), dice.choice(LABELS), asked))
    assert pcm is None or check_whole(name, pcm, [number]) is None


def pieces(body, dice):
    position, found = 0, []
    while position < len(body):
        size = dice.choice((1, 7, 100, 4_096, 65_536))
        found.append(body[position : position + size])
        position += size
    return found


async def answered(chunks, label, asked):
    """Return what an upstream's answer is heard as, None if it is refused."""

    async def arriving():
        for chunk in chunks:
            yield chunk

    answer = await answers.recognise("far", label, asked, arriving(), framed=True)
    if answer.media_type == "no audio":
        return None
    try:
        items = [item async for item in answers.audio(answer, None, lambda: None)]
        start = next(item for item in items if isinstance(item, AudioStart))
        body = b"".join(item for item in items if isinstance(item, bytes))
        if start.media_type != "audio/pcm":
            return decode(body)
        return Pcm(body, start.sample_rate_hz, start.channels, len(body) // 2 // start.channels)
    except EngineError:
        return None


KINDS_OF_TROUBLE = (
    whole, cut, cut, cut, cut, joined, joined, joined_to_another_kind, junk_before, junk_after, wrong_length, wrong_label
)  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_a_file_gives_every_sample_of_every_frame_or_is_refused(name):
    for number in range(EACH):
        dice = random.Random(f"{name} {number}")
        trouble = KINDS_OF_TROUBLE[number % len(KINDS_OF_TROUBLE)]
        try:
            trouble(name, dice)
        except BaseException as error:
            error.add_note(f"{name}: {trouble.__name__}, case {number}")
            raise
