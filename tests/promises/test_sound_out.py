"""What clients hear of raw PCM and WAV: the rate that they asked for, the length of the take, and no click."""

import asyncio
import base64
import io
import json
import wave

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sayonce.audio.encode.encoders import encode, open_encoder
from sayonce.audio.formats import FORMATS, SAMPLE_RATES, format_named
from sayonce.audio.pcm import Pcm
from sayonce.speech.engines import build_engine
from sayonce.testing import StubEngine
from tests.helpers.audio_samples import murmur, pieces, stream
from tests.helpers.commandline import CommandLine
from tests.helpers.serving import serving, speak
from tests.helpers.upstream import wav

HZ = 1_000
SHAPES = [(16_000, 1), (22_050, 1), (24_000, 1), (44_100, 2)]
"""A speech server's, espeak's, hibari's, and a studio's."""


def tone(seconds, rate, channels=1, hz=HZ):
    sound = np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate) / 3
    return np.repeat(np.rint(sound * 32_767).astype("<i2"), channels).tobytes()


def heard_hz(samples, rate):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 1 << 19))
    return np.argmax(spectrum) * rate / (1 << 19)


def beside_the_tone(samples, rate):
    """Return what is not the tone, as a part of it: a click at each joint would be a thousandth or more."""
    time = np.arange(len(samples)) / rate
    basis = np.stack([np.sin(2 * np.pi * HZ * time), np.cos(2 * np.pi * HZ * time)], axis=1)
    inner = slice(rate // 20, -rate // 20)  # where the tone begins and ends, it is more than one tone
    fit, *_ = np.linalg.lstsq(basis[inner], samples[inner], rcond=None)
    return np.abs(samples - basis @ fit)[inner].max() / np.abs(samples).max()


def samples_of(body, form):
    """Return (samples as frames by channels, rate), as a client reads them."""
    if form == "pcm":
        return np.frombuffer(body, "<i2").reshape(-1, 1).astype(float), 24_000
    with wave.open(io.BytesIO(body)) as file:
        sound = np.frombuffer(body[44:], "<i2").reshape(-1, file.getnchannels())
        return sound.astype(float), file.getframerate()


# -- encoding -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", SAMPLE_RATES)
@pytest.mark.parametrize(("source", "channels"), [*SHAPES, (8_000, 1), (48_000, 2)])
@pytest.mark.parametrize("form", ["pcm", "wav"])
def test_a_tone_keeps_its_pitch_and_its_length_at_every_rate_and_has_no_clicks(form, source, channels, rate):
    take = Pcm(tone(1.0, source, channels), source, channels, source)
    heard, file = stream(open_encoder(format_named(form, rate), source, channels), take, 1_777)
    for body in (heard[44:], file[44:]) if form == "wav" else (heard, file):
        sound = np.frombuffer(body, "<i2").reshape(-1, channels if form == "wav" else 1).astype(float)
        assert abs(len(sound) - rate) <= 1
        for side in sound.T:
            assert heard_hz(side, rate) == pytest.approx(HZ, rel=1e-3)
            assert beside_the_tone(side, rate) < 3e-4


@settings(max_examples=60, deadline=None)
@given(
    source=st.sampled_from((8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)),
    rate=st.sampled_from(SAMPLE_RATES),
    channels=st.sampled_from((1, 2)),
    size=st.integers(1, 9_000),
    form=st.sampled_from(("pcm", "wav")),
)
def test_resampling_in_chunks_gives_what_resampling_at_once_gives(source, rate, channels, size, form):
    take, chosen = murmur(0.3, source, channels), format_named(form, rate)
    heard, file = stream(open_encoder(chosen, source, channels), take, size)
    assert file == encode(take, chosen)
    assert heard[44:] == file[44:]  # the header of a streamed WAV does not know the length


def test_two_channels_are_mixed_into_one_for_pcm_and_stay_two_in_wav():
    left, right = np.full(4_800, 8_000, "<i2"), np.full(4_800, -2_000, "<i2")
    take = Pcm(np.stack([left, right], axis=1).tobytes(), 24_000, 2, 4_800)
    assert encode(take, FORMATS["pcm"]) == np.full(4_800, 3_000, "<i2").tobytes()
    sound, rate = samples_of(encode(take, format_named("wav", 48_000)), "wav")
    assert (sound.shape, rate) == ((9_600, 2), 48_000)
    assert np.allclose(sound[2_000:-2_000], (8_000, -2_000), atol=1)


# -- over HTTP ----------------------------------------------------------------------------------------------------------


def far(upstream, **options):
    kind = {"kind": "openai", "base_url": upstream.url, "model": "far", "voices": ["v"]}
    return build_engine("far", kind | options)


async def ask(client, **fields):
    answer = await speak(client, model="far", voice="v", **fields)
    assert answer.status_code == 200, answer.text
    return answer


async def by_http_1_0(client, **fields):
    """Return the body of an answer to a client that cannot take chunks."""
    body = json.dumps({"model": "far", "input": "Hello there.", "voice": "v", **fields}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    head = "POST /v1/audio/speech HTTP/1.0\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n"
    writer.write(head.format(len(body)).encode() + body)
    answer = await reader.read()
    writer.close()
    return answer.partition(b"\r\n\r\n")[2]


def by_sse(answer):
    events = [json.loads(line[6:]) for line in answer.text.split("\n\n") if line]
    return b"".join(base64.b64decode(event["audio"]) for event in events if event["type"] == "speech.audio.delta")


@pytest.mark.parametrize(("rate", "channels"), SHAPES)
async def test_a_take_of_any_rate_lasts_as_long_and_sounds_as_high_in_pcm_as_in_wav(upstream, rate, channels):
    body = wav(tone(2.0, rate, channels), rate, channels)
    upstream.answer(200, pieces(body, 3_001), "audio/wav", content_length=str(len(body)))
    async with serving(far(upstream)) as client:
        await ask(client, input="Another.", response_format="wav")
        for form in ("pcm", "wav"):
            miss, hit = [await ask(client, response_format=form) for _ in range(2)]
            assert "hit" in hit.headers["cache-status"]
            told = "audio/pcm;rate=24000;channels=1" if form == "pcm" else "audio/wav"
            assert miss.headers["content-type"] == hit.headers["content-type"] == told
            assert miss.content[44:] == hit.content[44:]
            sound, own_rate = samples_of(hit.content, form)
            assert own_rate == (24_000 if form == "pcm" else rate)
            assert len(sound) / own_rate == pytest.approx(2.0, rel=0.01)
            assert heard_hz(sound[:, 0], own_rate) == pytest.approx(HZ, rel=1e-3)
            assert beside_the_tone(sound[:, 0], own_rate) < 3e-4


@pytest.mark.parametrize("seconds", [0.01, 0.1, 3.0])
async def test_a_miss_streams_what_is_resampled_of_the_whole_however_long_the_engines_chunks_are(seconds):
    engine = StubEngine(sample_rate_hz=22_050, chunks=3)
    chunk = murmur(seconds, 22_050).samples
    engine.sound = lambda *_: chunk
    whole = Pcm(chunk * 3, 22_050, 1, len(chunk) * 3 // 2)
    async with serving(engine) as client:
        for rate in (8_000, 24_000, 48_000):
            expected = encode(whole, format_named("pcm", rate))
            for status in ("sayonce; fwd=miss; stored", "sayonce; hit; detail=memory"):
                answer = await speak(client, f"At {rate}.", response_format="pcm", sample_rate=rate)
                assert (answer.headers["cache-status"], answer.content) == (status, expected)


@pytest.mark.parametrize("rate", SAMPLE_RATES)
async def test_sample_rate_is_what_is_heard_on_misses_and_hits_in_every_kind_of_answer(upstream, rate):
    body = wav(tone(1.0, 22_050), 22_050)
    upstream.answer(200, pieces(body, 2_205), "audio/wav", content_length=str(len(body)))
    async with serving(far(upstream)) as client:
        miss, hit = [await ask(client, response_format="pcm", sample_rate=rate) for _ in range(2)]
        assert (miss.headers["cache-status"], hit.headers["cache-status"]) == (
            "sayonce; fwd=miss; stored",
            "sayonce; hit; detail=memory",
        )
        for answer in (miss, hit):
            assert answer.headers["content-type"] == f"audio/pcm;rate={rate};channels=1"
        events = await ask(client, response_format="pcm", sample_rate=rate, stream_format="sse")
        old = await by_http_1_0(client, response_format="pcm", sample_rate=rate)
        assert miss.content == hit.content == by_sse(events) == old
        sound = np.frombuffer(hit.content, "<i2").astype(float)
        assert abs(len(sound) - rate) <= 1
        assert heard_hz(sound, rate) == pytest.approx(HZ, rel=1e-3)
        assert beside_the_tone(sound, rate) < 3e-4


async def test_a_hit_has_a_true_header_at_every_rate_and_the_take_is_made_once(upstream):
    body = wav(tone(1.0, 22_050), 22_050)
    upstream.answer(200, body, "audio/wav")
    async with serving(far(upstream)) as client:
        etags = set()
        for rate in (None, *SAMPLE_RATES):
            fields = {} if rate is None else {"sample_rate": rate}
            await ask(client, response_format="wav", **fields)
            hit = await ask(client, response_format="wav", **fields)
            sound, told = samples_of(hit.content, "wav")
            assert told == (rate or 22_050)
            assert abs(len(sound) - told) <= 1
            assert int.from_bytes(hit.content[4:8], "little") == len(hit.content) - 8
            assert int.from_bytes(hit.content[40:44], "little") == len(hit.content) - 44
            etags.add(hit.headers["etag"])
        assert len(etags) == 1 + len(SAMPLE_RATES)
        flac = [await ask(client, response_format="flac") for _ in range(2)][-1].content
        assert int.from_bytes(flac[21:26], "big") % 2**36 == 22_050  # the total of RFC 9639 section 8.2
    assert len(upstream.heard) == 1


async def test_sample_rate_is_never_handed_to_a_server_whatever_it_would_make_of_it(upstream):
    """vLLM-Omni knows a field of this name: its take would be another one, and could not serve another rate."""
    async with serving(far(upstream)) as client:
        await ask(client, response_format="pcm", sample_rate=8_000)
        await ask(client, response_format="wav", sample_rate=48_000)
    assert len(upstream.heard) == 1
    assert "sample_rate" not in upstream.heard[0]


@pytest.mark.parametrize("take", ["flac", "as-is", "opus"])
@pytest.mark.parametrize("given", ["wav", "mp3", "flac"])
async def test_every_way_in_which_takes_are_kept_gives_the_rate_that_is_asked_for(upstream, take, given):
    sound = Pcm(tone(1.0, 16_000), 16_000, 1, 16_000)
    upstream.answer(200, encode(sound, FORMATS[given]), FORMATS[given].media_type)
    async with serving(far(upstream, response_format=given), audio__take=take) as client:
        for rate in (None, 8_000, 44_100):
            fields = {} if rate is None else {"sample_rate": rate}
            for _ in range(2):
                answer = await ask(client, response_format="wav", **fields)
                assert len(answer.content) == pytest.approx(44 + 2 * (rate or 16_000), rel=0.01)
        assert len((await ask(client, response_format="pcm")).content) == pytest.approx(2 * 24_000, rel=0.01)
    assert len(upstream.heard) == 1


@pytest.mark.parametrize(
    ("fields", "right"),
    [
        ({"sample_rate": 11_025}, "one of 8000, 16000, 22050, 24000, 44100, 48000, not 11025"),
        ({"sample_rate": 0}, "8000"),
        ({"sample_rate": -8_000}, "8000"),
        ({"sample_rate": 10**30}, "at most 64 bits"),
        ({"sample_rate": "16000"}, "whole number"),
        ({"sample_rate": True}, "whole number"),
        ({"sample_rate": 16_000.5}, "whole number"),
        ({"sample_rate": [16_000]}, "whole number"),
        ({"sample_rate": 16_000, "response_format": "mp3"}, "pcm and wav"),
        ({"sample_rate": 16_000, "response_format": None}, "pcm and wav"),
        ({"sample_rate": 8_000, "response_format": "mulaw"}, "pcm and wav"),
    ],
)
async def test_an_unknown_sample_rate_or_one_for_a_format_without_choice_is_refused_by_name(fields, right):
    engine = StubEngine()
    async with serving(engine) as client:
        answer = await speak(client, **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "sample_rate")
    assert right in answer.json()["error"]["message"]
    assert not engine.calls


async def test_a_sample_rate_of_null_is_none_and_one_with_a_decimal_point_is_the_same_rate():
    async with serving(StubEngine()) as client:
        plain = await speak(client, response_format="pcm")
        for rate in (None, 24_000, 24_000.0):
            again = await speak(client, response_format="pcm", sample_rate=rate)
            assert again.headers["etag"] == plain.headers["etag"]


async def test_no_cache_and_a_purge_by_key_reach_the_clip_at_every_sample_rate():
    engine = StubEngine()
    async with serving(engine) as client:
        ways = [{"response_format": form, "sample_rate": rate} for form in ("pcm", "wav") for rate in (8_000, 48_000)]
        old = [(await speak(client, **way)).content for way in ways]
        engine.sound = lambda *_: b"\1\0" * 2_400  # a sampling model's other take
        first = await speak(client, headers={"cache-control": "no-cache"}, **ways[0])
        new = [(await speak(client, **way)).content for way in ways]
        assert not {*old} & {*new}
        await client.post("/v1/cache/purge", json={"key": first.headers["x-sayonce-key"]})
        for way in ways:
            only = await speak(client, headers={"cache-control": "only-if-cached"}, **way)
            assert only.status_code == 504


async def test_explain_tells_the_rate_and_the_take_is_the_same_for_all():
    async with serving(StubEngine()) as client:
        request = {"model": "stub", "input": "Hello", "response_format": "pcm"}
        low, usual = [
            (await client.post("/v1/cache/explain", json=request | more)).json()
            for more in ({"sample_rate": 8_000}, {})
        ]
    assert (low["sample_rate"], usual["sample_rate"]) == (8_000, 24_000)
    assert low["key"] == usual["key"]
    assert low["clip_key"] != usual["clip_key"]


# -- the embedded engines -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["espeak", "hibari"])
def test_an_embedded_voice_lasts_as_long_in_pcm_as_in_wav(kind, tmp_path):
    sayonce = CommandLine(tmp_path)
    for form in ("wav", "pcm"):
        assert sayonce("say", "Please hold the line.", "--engine", kind, "-o", f"take.{form}").code == 0
    lasts = {form: samples_of((tmp_path / f"take.{form}").read_bytes(), form) for form in ("wav", "pcm")}
    seconds = {form: len(sound) / rate for form, (sound, rate) in lasts.items()}
    assert seconds["pcm"] == pytest.approx(seconds["wav"], rel=0.01)


def test_say_speaks_at_the_rate_that_is_asked_for_and_names_one_that_there_is_not(tmp_path):
    sayonce = CommandLine(tmp_path)
    assert sayonce("say", "Hello.", "--engine", "espeak", "--param", "sample_rate=8000", "-o", "low.wav").code == 0
    with wave.open(str(tmp_path / "low.wav")) as file:
        assert file.getframerate() == 8_000
    said = sayonce.fails(2, "say", "Hello.", "--engine", "espeak", "--param", "sample_rate=1", "-o", "no.wav")
    assert "8000, 16000" in said
