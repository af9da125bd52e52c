"""An upstream server's audio is heard whole and in its true format under any label, or is an error with a reason."""

import bz2
import gzip
import io
import logging
import lzma
import pickle
import tarfile
import zlib

import numpy as np
import pytest
import soundfile

from sayonce.audio.decode.whole_file import decode
from sayonce.errors import BadAudio, EngineError
from sayonce.speech.engines import build_engine
from tests.helpers.audio_files import KINDS, likeness, made, speech
from tests.helpers.engine_speech import hear, pcm
from tests.helpers.serving import serving as gateway
from tests.helpers.serving import speak
from tests.helpers.upstream import Upstream, head, raw_upstream, wav

VOICE = speech(1, 1.0, 24_000)
RAW = VOICE.tobytes()


@pytest.fixture(scope="module")
def serving():
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(serving):
    serving.heard.clear()
    serving._answer = None
    return serving


@pytest.fixture
async def connect(upstream):
    engines = []

    async def connect(**options):
        section = {"kind": "openai", "base_url": upstream.url, "model": "m", "default_voice": "a", **options}
        engines.append(build_engine("far", section))
        await engines[-1].load()
        return engines[-1]

    yield connect
    for engine in engines:
        await engine.close()


@pytest.mark.parametrize(
    ("label", "rate", "channels"),
    [
        ("audio/pcm;rate=16000", 16_000, 1),
        ("audio/pcm; rate=22050; channels=1", 22_050, 1),
        ('Audio/PCM;RATE="8000"', 8_000, 1),
        ("audio/pcm;rate=24000;channels=2", 24_000, 2),
        ("audio/L16;rate=16000;channels=1;endianness=little-endian", 16_000, 1),
        ("audio/pcm", 24_000, 1),
        ("application/octet-stream", 24_000, 1),
        ("audio/pcm; sample_rate=16000", 16_000, 1),
        ("audio/pcm;samplerate=16000;ch=1", 16_000, 1),
        ("audio/pcm;Sample-Rate=44100;bit_depth=16", 44_100, 1),
        ("audio/L16;codec=pcm;rate=16000;endian=little", 16_000, 1),
        ("audio/pcm;rate=16000;rate=16000;format=s16le;charset=utf-8", 16_000, 1),
    ],
)
async def test_raw_samples_have_the_rate_and_channels_that_their_label_says(upstream, connect, label, rate, channels):
    upstream.answer(200, RAW, label)
    start, audio = await hear(await connect(response_format="pcm"), "Hello.")
    assert (start.sample_rate_hz, start.channels, audio) == (rate, channels, RAW)


@pytest.mark.parametrize("order", ["<i2", ">i2"])
async def test_l16_is_read_in_the_byte_order_in_which_it_is_sound(upstream, connect, order):
    quiet = np.concatenate([np.zeros(3_000, "<i2"), VOICE])
    upstream.answer(
        200,
        [quiet.astype(order).tobytes()[start:][:777] for start in range(0, 2 * len(quiet), 777)],
        "audio/L16;rate=24000",
    )
    assert await pcm(await connect(response_format="pcm"), "Hello.") == quiet.tobytes()


@pytest.mark.parametrize(("label", "kind"), [("audio/basic", "ULAW"), ("audio/PCMA;rate=8000", "ALAW")])
async def test_the_samples_of_telephones_are_read_by_their_label(upstream, connect, label, kind):
    from sayonce.audio.decode.g711 import ALAW, MULAW

    codes = np.arange(256, dtype=np.uint8).tobytes() * 10
    upstream.answer(200, codes, label)
    start, audio = await hear(await connect(response_format="pcm"), "Hello.")
    assert (start.sample_rate_hz, start.channels) == (8_000, 1)
    assert audio == np.tile({"ULAW": MULAW, "ALAW": ALAW}[kind], 10).tobytes()


@pytest.mark.parametrize(
    ("label", "told"),
    [
        ("audio/pcm;rate=16000", r"rate=16000.*16000 Hz.*engines\.far\.sample_rate_hz says 24000"),
        ("audio/pcm;rate=24000;channels=6", "6 channels cannot be read"),
        ("audio/pcm;rate=1", r"engines\.far\.sample_rate_hz"),
        ("audio/pcm;rate=fast", "rate is no number"),
        ("audio/L24;rate=24000", "16 bits only"),
        ("audio/pcm;rate=24000;format=f32le", "format 'f32le' are not read"),
        ("audio/pcm;encoding=float", "format 'float' are not read"),
        ("audio/pcm;rate=24000;rate=16000", "rate has two values"),
        ("audio/pcm;rate=24000;sample_rate=16000", "rate has two values"),
        ("audio/pcm;format=s16be;endian=little", "endianness is not understood"),
        ("audio/pcm;speed=2", "parameter 'speed' is not understood"),
        ("audio/pcm;16000", "parameter '16000' is not understood"),
    ],
)
async def test_a_label_that_contradicts_the_configuration_is_an_error_that_names_both(upstream, connect, label, told):
    upstream.answer(200, RAW, label)
    with pytest.raises(EngineError, match=told):
        await pcm(await connect(response_format="pcm", sample_rate_hz=24_000), "Hello.")


@pytest.mark.parametrize("zeros", [0, 8_000])
async def test_samples_without_a_rate_where_a_file_was_asked_for_are_an_error_that_says_what_to_set(
    upstream, connect, zeros
):
    upstream.answer(200, bytes(zeros) + RAW, "audio/pcm")
    with pytest.raises(EngineError, match=r"asked for wav.*set engines\.far\.response_format to 'pcm'"):
        await pcm(await connect(), "Hello.")


def tar(content):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("audio.raw")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def varint(number):
    return bytes([number & 127 | 128, number >> 7]) if number > 127 else bytes([number])


RPC_STATUS = "\b\r\x12\x27模型正在加载，请稍后再试吗".encode()


@pytest.mark.parametrize("label", ["audio/pcm", "application/octet-stream", "audio/pcm;rate=24000", ""])
@pytest.mark.parametrize(
    "body",
    [
        b"The model is loading, come back later.",
        b'data: {"type": "speech.audio.delta", "audio": "AAAA"}\n\n',
        b"event: error\ndata: quota\n\n",
        "模型正在加载，请稍后再试。".encode(),
        b"HTTP/1.1 502 Bad Gateway\r\nServer: x\r\n\r\n" + bytes(500),
        b"\x1f\x8b\x08" + bytes(range(200)),
        b"\x89PNG\r\n\x1a\n" + bytes(200),
        b"PK\3\4" + bytes(200),
        b"busy",
        "服务器内部错误，请稍后再试。模型过载".encode("gbk"),
        ("服务器内部错误，请稍后再试。" * 20).encode("gbk"),
        ("Le modèle n’est pas chargé, réessayez. " * 9).encode("cp1252"),
        "Internal Server Error: out of memory".encode("utf-16"),
        ("Internal Server Error: out of memory. " * 9).encode("utf-16-le"),
        ("Internal Server Error: out of memory. " * 9).encode("utf-16-be"),
        ("服务器内部错误，请稍后再试。" * 20).encode("utf-16-le"),
        b'\x1e{"error": "busy"}\n\x1e{"error": "busy"}\n',
        b"\x82\xa5error\xaaout of mem\xa6status\xcd\x01\xf4" + bytes(500),
        b"\x93NUMPY\1\0v\0{'descr': '<f4'}" + RAW,
        b"RIFF\xe8\3\0\0WEBPVP8 " + RAW,
        b"RIFF\xe8\3\0\0AVI LIST" + RAW,
        b"BM\x36\0\3\0\0\0\0\0\x36\0\0\0\x28\0\0\0" + RAW,
        b"SQLite format 3\0\x10\0\1\1\0" + RAW,
        bz2.compress(RAW),
        lzma.compress(RAW),
        pickle.dumps({"audio": RAW}),
        b"II*\0\x08\0\0\0" + RAW,
        tar(RAW),
        ("Внутренняя ошибка сервера: память кончилась. " * 9).encode("utf-16-le"),
        "Внутренняя ошибка сервера".encode("utf-16"),
        ("Σφάλμα διακομιστή, δοκιμάστε ξανά. " * 9).encode("utf-16-be"),
        ("ข้อผิดพลาดภายในเซิร์ฟเวอร์" * 9).encode("utf-16-le"),
        ("Lỗi máy chủ nội bộ: không đủ bộ nhớ. " * 9).encode("utf-16-le"),
        "Internal Server Error: out of memory".encode("utf-32"),
        ("Internal Server Error: out of memory. " * 9).encode("utf-32-be"),
        "Ошибка сервера".encode("cp1251"),
        "ошибка сервера".encode("koi8-r"),
        b"\x08\r\x12\x0einternal error",  # google.rpc.Status
        b"\x08\r\x12\x0einternal error\x1a\x35\n\x28type.googleapis.com/google.rpc.ErrorInfo\x12\x09\n\x07BLOCKED",
        b"\n" + varint(len(RPC_STATUS)) + RPC_STATUS,
        b"\0" + len(RPC_STATUS).to_bytes(4, "big") + RPC_STATUS,
        b"\x80\0\0\0\x1fgrpc-status:13\r\ngrpc-message:oom\r\n",
        b"\x1e\0\0\0\x02error\0\x0e\0\0\0out of memory\0\0",  # BSON
        zlib.compress(RAW),
        b"\x04\x22\x4d\x18\x64\x40\xa7" + RAW,
        pickle.dumps({"audio": RAW}, 2),
        pickle.dumps(RAW, 3),
        b"\x40\0\0\0\0\0\0\0" + b'{"audio":{"dtype":"F32","shape":[24000],"data_offsets":[0,96000]}}' + RAW,
        b"\x02#!SILK_V3" + RAW,
        b"wvpk\x10\0\0\0\x10\4" + RAW,
        b"MThd\0\0\0\6\0\1\0\2\1\xe0MTrk" + RAW,
        b"FLV\1\5\0\0\0\x09" + RAW,
        b"\0\0\0\x68moof\0\0\0\x10mfhd" + RAW,
        b"\0asm\1\0\0\0" + RAW,
        b"\x15\x03\x03\0\2\2\x28",  # an alert of TLS
        b" " * 500,
        b"\r\n" * 500,
    ],
)
async def test_an_answer_that_is_no_audio_is_never_played_as_samples(upstream, connect, label, body):
    upstream.answer(200, [body[:3], body[3:]], label)
    with pytest.raises(EngineError, match=r"instead of audio|with an error"):
        await pcm(await connect(response_format="pcm"), "Hello.")


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(RAW[: len(RAW) // 2]) + gzip.compress(RAW[len(RAW) // 2 :])),
        ("gzip", gzip.compress(RAW)[:-100]),
        ("x-gzip", gzip.compress(RAW)),
        ("identity, DEFLATE", zlib.compress(RAW)),
        ("br", RAW),
        ("zstd", RAW),
    ],
)
async def test_a_compressed_answer_is_an_error_that_names_its_coding_and_never_sound(upstream, connect, coding, body):
    upstream.answer(200, body, "audio/pcm", content_encoding=coding)
    with pytest.raises(EngineError, match=f"Content-Encoding: {coding}"):
        await pcm(await connect(response_format="pcm"), "Hello.")


async def test_an_answer_that_says_it_is_uncompressed_is_heard(upstream, connect):
    upstream.answer(200, RAW, "audio/pcm", content_encoding="Identity")
    assert await pcm(await connect(response_format="pcm"), "Hello.") == RAW


@pytest.mark.parametrize("label", ["audio/pcm", "application/octet-stream"])
@pytest.mark.parametrize("name", ["mp3", "mp3 without a header", "aac", "ogg/opus", "flac", "wav", "m4a", "webm"])
async def test_files_that_are_labelled_as_samples_are_played_as_what_they_are(upstream, label, name):
    upstream.answer(200, made(KINDS[name], speech(1, 1.0, KINDS[name].rate)), label)
    section = {"kind": "openai", "base_url": upstream.url, "model": "m", "response_format": "pcm"}
    async with gateway(build_engine("stub", section)) as client:
        answer = await speak(client, response_format="wav")
    sound = decode(answer.content)
    assert likeness(sound, VOICE.astype(float), 24_000) > 0.95
    assert 1.0 <= sound.frames / sound.sample_rate_hz <= 1.2


async def test_a_sample_that_looks_like_a_frame_of_mp3_is_a_sample(upstream, connect):
    body = b"\xff\xfb\x90\x64" + RAW
    upstream.answer(200, [body[:2], body[2:9], body[9:]], "audio/pcm")
    assert await pcm(await connect(response_format="pcm"), "Hello.") == body


MESSAGES = [
    b'{"error": {"message": "out of memory"}}',
    b'{"error": "CUDA out of memory"} ',
    b'{"error":"oom"}',
    b'{"error":"oom"}\0\0',
    b'\n{"code":500,"msg":"oom"}\n',
    b'{"code":500}',
    b'data: {"error":"oom"}\n\n',
    b"data: [DONE]\n\n",
    b"event: error\r\n\r\n",
    b"<html>502</html>",
    b"<!DOCTYPE html>\n<title>502 Bad Gateway</title>",
    b'\nTraceback (most recent call last):\n  File "x.py"\nOOM\n',
    b"RuntimeError: CUDA error",
    '{"error":"模型正在加载，请稍后再试"}'.encode(),
    '{"error":"模型正在加载，请稍后再试"}'.encode("gbk"),
    "错误：模型正在加载，请稍后再试".encode(),
    "错误：模型正在加载，请稍后再试".encode("gbk"),
    "錯誤：模型正在載入，請稍後再試".encode("big5"),
    "오류: 잠시후다시시도해주세요제발".encode("euc-kr"),
    '{"error":"오류가 발생했습니다"}'.encode("euc-kr"),
    '{"error":"Ошибка сервера"}'.encode("cp1251"),
    '{"error":"Ошибка сервера"}'.encode("koi8-r"),
    "Внутренняя ошибка сервера".encode(),
    "Внутренняя ошибка сервера".encode("cp1251"),
    "ข้อผิดพลาดภายในเซิร์ฟเวอร์".encode(),
    "Zu wenig Speicher, bitte später noch einmal versuchen".encode(),
    "Zu wenig Speicher, bitte später noch einmal versuchen".encode("latin-1"),
    '{"error":"oom"}'.encode("utf-16-le"),
    '{"error":{"message":"oom"}}\n'.encode("utf-16-be"),
    '{"error":"oom"}'.encode("utf-32-le"),
    "Internal Server Error: out of memory".encode("utf-16-le"),
    "Internal Server Error: out of memory".encode("utf-16-be") + b"\0\0",
    "Внутренняя ошибка сервера, повторите позже".encode("utf-16-le"),
    '{"error":"服务器内部错误"}'.encode("utf-16-le"),
    "Internal Server Error: out of memory".encode("utf-32-le"),
    ("Модель не загружена. " * 15).encode("cp866"),
]


@pytest.mark.parametrize("text", MESSAGES)
@pytest.mark.parametrize("label", ["audio/pcm", "audio/L16;rate=24000"])
async def test_an_error_behind_the_samples_is_no_part_of_them(upstream, connect, label, text):
    upstream.answer(200, [RAW, text], label)
    with pytest.raises(BadAudio, match="text of an error"):
        await pcm(await connect(response_format="pcm"), "Hello.")


async def test_the_odd_byte_is_dropped_and_told_once(upstream, connect, caplog):
    caplog.set_level(logging.WARNING)
    upstream.answer(200, [RAW[:1001], RAW[1001:] + b"\x07"], "audio/pcm")
    engine = await connect(response_format="pcm")
    for _ in range(3):
        assert await pcm(engine, "Hello.") == RAW
    assert sum("inside a sample" in line for line in caplog.messages) == 1


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in ("m4a", "mp4 in fragments", "webm", "aiff", "caf", "3gp", "amr", "m4a in ALAC", "wav in A-law")
        if name in KINDS
    ],
)
async def test_answers_in_files_that_clients_cannot_be_sent_are_decoded(upstream, connect, name):
    rate = KINDS[name].rate
    upstream.answer(200, made(KINDS[name], speech(1, 1.0, rate)), "audio/wav")
    start, audio = await hear(await connect(), "Hello.")
    assert start.media_type == "audio/pcm"
    assert 1.0 <= len(audio) / 2 / start.sample_rate_hz <= 1.2


@pytest.mark.parametrize("name", ["m4a", "aiff", "ogg/opus", "mp3"])
async def test_a_cut_answer_is_neither_whole_nor_kept(upstream, name):
    body = made(KINDS[name], speech(1, 1.0, KINDS[name].rate))
    upstream.answer(200, body[: len(body) * 2 // 3], "audio/wav")
    section = {"kind": "openai", "base_url": upstream.url, "model": "m"}
    async with gateway(build_engine("stub", section)) as client:
        for _ in range(2):
            assert (await speak(client, response_format="wav", stream=False)).status_code == 502
        assert len(upstream.heard) == 2


async def test_zeros_before_an_mp3_are_not_sent_on(upstream, connect):
    body = made(KINDS["mp3"], VOICE)
    upstream.answer(200, [bytes(500), bytes(100) + body[:50], body[50:]], "audio/mpeg")
    start, audio = await hear(await connect(response_format="mp3"), "Hello.")
    assert (start.media_type, audio) == ("audio/mpeg", body)


async def test_joined_wavs_are_heard_while_they_come_and_kept_whole(upstream):
    bodies = [wav(RAW[:20_000], 24_000), wav(RAW[20_000:], 24_000)]
    upstream.answer(200, b"".join(bodies), "audio/wav")
    section = {"kind": "openai", "base_url": upstream.url, "model": "m"}
    async with gateway(build_engine("stub", section)) as client:
        said = [await speak(client, response_format="pcm") for _ in range(2)]
    assert [each.content for each in said] == [RAW, RAW]
    assert len(upstream.heard) == 1


async def test_raw_samples_are_heard_before_the_server_has_ended():
    answer = head("Transfer-Encoding: chunked").replace(b"audio/wav", b"audio/pcm;rate=16000")
    async with raw_upstream(answer + b"1f4\r\n" + RAW[4_000:4_500] + b"\r\n", hang=True) as url:
        engine = build_engine("far", {"kind": "openai", "base_url": url, "model": "m", "response_format": "pcm"})
        await engine.load()
        from tests.helpers.engine_speech import utterance

        heard = engine.synthesize(utterance(engine, "Hello.", "a"))
        assert (await anext(heard)).sample_rate_hz == 16_000
        assert await anext(heard) == RAW[4_000:4_500]
        await heard.aclose()
        await engine.close()


@pytest.mark.parametrize("samples", [bytes(48_000), b"\1\2"])
async def test_an_inaudible_answer_is_sent_kept_for_a_moment_and_counted(upstream, samples):
    upstream.answer(200, wav(samples, 24_000), "audio/wav")
    section = {"kind": "openai", "base_url": upstream.url, "model": "m"}
    async with gateway(build_engine("stub", section)) as client:
        for _ in range(2):
            assert (await speak(client, response_format="pcm")).content == samples
        cache = client.service.cache
        assert cache.counters["silent takes: stub"] == len(upstream.heard) == 1
        take = cache.peek(client.service.synthesizer.takes.recent[0][0])
        assert 0 < take.expires - take.created <= 60


JOINABLE = {
    "mp3": ("mp3", "audio/mpeg"),
    "flac": ("flac", "audio/flac"),
    "ogg/opus": ("opus", "audio/ogg"),
}


@pytest.mark.parametrize("name", JOINABLE)
async def test_joined_files_are_kept_as_one_file_that_every_player_plays_whole(upstream, name):
    asked, label = JOINABLE[name]
    upstream.answer(200, 3 * made(KINDS[name], VOICE), label)
    section = {"kind": "openai", "base_url": upstream.url, "model": "m", "response_format": asked}
    async with gateway(build_engine("stub", section)) as client:
        await speak(client, response_format=asked)
        again = await speak(client, response_format=asked)
    assert "hit" in again.headers["cache-status"]
    heard, rate = soundfile.read(io.BytesIO(again.content))
    assert 3.0 <= len(heard) / rate <= 3.3


@pytest.mark.parametrize("text", MESSAGES)
@pytest.mark.parametrize("samples", [b"", RAW], ids=["header alone", "samples"])
async def test_an_error_behind_the_header_of_a_wav_of_unknown_length_is_never_kept_as_sound(
    upstream, connect, samples, text
):
    streamed = wav(b"", 24_000)[:40] + b"\xff\xff\xff\xff"
    upstream.answer(200, [streamed, samples, text], "audio/wav")
    with pytest.raises(BadAudio, match="text of an error"):
        await pcm(await connect(), "Hello.")
