"""``stream: false``: the whole clip with its length and a true header, also where it has to be made first."""

import asyncio
import base64
import io
import json
import subprocess
import tempfile
import wave

import av
import pytest
import soundfile
from mutagen.aac import AAC
from mutagen.flac import FLAC
from mutagen.mp3 import MP3
from mutagen.oggopus import OggOpus
from mutagen.wave import WAVE

from sayonce.audio.formats import FORMATS
from sayonce.cache import Answer
from sayonce.core.envelope import Entry
from sayonce.core.outcome import Outcome
from sayonce.errors import EngineError
from sayonce.gateway import sse
from sayonce.speech.engines import build_engine
from sayonce.testing import StubEngine
from tests.helpers.browser import chromium, opened
from tests.helpers.serving import serving, speak, until
from tests.helpers.upstream import Upstream

TAKE_SECONDS = 2.0
MS = 0.001
ANEW = {"cache-control": "no-cache"}
OPUS_SKIPPED_SECONDS = 312 / 48_000
HEADED = ("wav", "flac", "opus", "mp3", "aac")


@pytest.fixture
async def engine():
    return StubEngine(chunks=20)


@pytest.fixture
async def client(engine, tmp_path):
    async with serving(engine, store=f"sqlite:///{tmp_path}/clips.db") as client:
        yield client


def by_wave(body):
    with wave.open(io.BytesIO(body)) as file:
        frames = len(file.readframes(file.getnframes())) // file.getsampwidth() // file.getnchannels()
        assert frames == file.getnframes()
        return frames / file.getframerate()


def by_soundfile(body):
    with soundfile.SoundFile(io.BytesIO(body)) as file:
        assert len(file.read()) == file.frames
        return file.frames / file.samplerate


def by_pyav(body):
    with av.open(io.BytesIO(body)) as file:
        track = file.streams.audio[0]
        return sum(frame.samples for frame in file.decode(track)) / track.codec_context.sample_rate


def by_mutagen(body):
    kinds = {b"RIFF": WAVE, b"fLaC": FLAC, b"OggS": OggOpus, b"\xff\xf1": AAC}
    kind = next((kind for head, kind in kinds.items() if body.startswith(head)), MP3)
    return kind(io.BytesIO(body)).info.length


def by_ffprobe(body, *, packets=False):
    """How long FFmpeg says that it is; of ADTS, which states nothing, by its packets."""
    asked = "packet=duration_time" if packets else "format=duration"
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        command = ["ffprobe", "-v", "error", "-show_entries", asked, "-of", "csv=p=0", file.name]
        told = subprocess.run(command, capture_output=True, check=True).stdout
    return sum(float(line.split(b",")[0]) for line in told.split())


def by_ffprobe_packets(body):
    return by_ffprobe(body, packets=True)


def by_ffprobe_opus(body):
    """How long FFmpeg says that it is, which counts what a decoder skips first (RFC 7845 section 4.2), also in its own files."""
    return by_ffprobe(body) - OPUS_SKIPPED_SECONDS


LIBRARIES = {
    "wav": (by_wave, by_soundfile, by_pyav, by_mutagen, by_ffprobe),
    "flac": (by_soundfile, by_pyav, by_mutagen, by_ffprobe),
    "opus": (by_soundfile, by_pyav, by_mutagen, by_ffprobe_opus),
    "mp3": (by_soundfile, by_pyav, by_mutagen, by_ffprobe),
    "aac": (by_pyav, by_mutagen, by_ffprobe_packets),
}
FRAME_SECONDS = {"mp3": 576 / 24_000, "aac": 1024 / 24_000}
SLACK_SECONDS = dict.fromkeys(HEADED, MS) | {name: 3 * frame for name, frame in FRAME_SECONDS.items()}
"""Two frames, and the encoder's delay, which is about one."""


@pytest.mark.parametrize("form", HEADED)
async def test_every_library_finds_the_take_in_a_whole_file_on_a_miss_and_on_a_hit(client, form):
    missed = await speak(client, response_format=form, stream=False)
    hit = await speak(client, response_format=form, stream=False)
    assert [each.headers["cache-status"].split("; ")[1] for each in (missed, hit)] == ["fwd=miss", "hit"]
    assert missed.content == hit.content
    for reader in LIBRARIES[form]:
        assert reader(missed.content) == pytest.approx(TAKE_SECONDS, abs=SLACK_SECONDS[form]), reader.__name__


def heard_by_wave(body):
    with wave.open(io.BytesIO(body)) as file:
        return len(file.readframes(file.getnframes())) / 2 / file.getframerate()


def heard_by_soundfile(body):
    samples, rate = soundfile.read(io.BytesIO(body))
    return len(samples) / rate


HEARD = {
    "wav": (heard_by_wave, heard_by_soundfile, by_pyav),
    "flac": (by_pyav,),  # of which libsndfile reads none whose length is not stated
    "opus": (heard_by_soundfile, by_pyav),
    "mp3": (heard_by_soundfile, by_pyav),
    "aac": (by_pyav,),
}


@pytest.mark.parametrize("form", HEADED)
async def test_libraries_hear_what_a_miss_streams_to_its_end(client, form):
    streamed = await speak(client, response_format=form)
    assert "content-length" not in streamed.headers
    for reader in HEARD[form]:
        assert reader(streamed.content) == pytest.approx(TAKE_SECONDS, abs=SLACK_SECONDS[form]), reader.__name__


IN_A_BROWSER = """
async ({form, stream}) => {
  const answer = await fetch("/v1/audio/speech", {
    method: "POST", headers: {"content-type": "application/json"},
    body: JSON.stringify({model: "stub", input: "In " + form, voice: "anna", response_format: form, stream}),
  });
  const blob = await answer.blob(), audio = new Audio(URL.createObjectURL(blob));
  await new Promise((resolve, reject) => { audio.onloadedmetadata = resolve; audio.onerror = reject; });
  const decoded = await new OfflineAudioContext(1, 1, 48000).decodeAudioData(await blob.arrayBuffer());
  return {cache: answer.headers.get("cache-status"), shown: audio.duration, decoded: decoded.duration};
}
"""


async def test_a_browser_finds_the_take_in_a_whole_file_on_a_miss_and_on_a_hit(client):
    async with chromium() as browser, opened(browser, client) as page:
        for form in HEADED:
            for outcome in ("miss", "hit"):
                told = await page.evaluate(IN_A_BROWSER, {"form": form, "stream": False})
                assert outcome in told["cache"]
                assert told["decoded"] == pytest.approx(TAKE_SECONDS, abs=SLACK_SECONDS[form]), form
                shown = told["shown"] - OPUS_SKIPPED_SECONDS * (form == "opus")
                if form != "aac":  # which states no length, so that it is estimated
                    assert shown == pytest.approx(TAKE_SECONDS, abs=SLACK_SECONDS[form]), form


async def test_a_browser_hears_what_a_miss_streams_to_its_end(client):
    async with chromium() as browser, opened(browser, client) as page:
        for form in HEADED:
            await client.service.cache.remove_all()
            told = await page.evaluate(IN_A_BROWSER, {"form": form, "stream": True})
            assert "miss" in told["cache"]
            assert told["decoded"] == pytest.approx(TAKE_SECONDS, abs=SLACK_SECONDS[form]), form


@pytest.mark.parametrize("form", FORMATS)
async def test_a_whole_miss_has_its_length_and_the_headers_of_a_file(client, engine, form):
    missed = await speak(client, response_format=form, stream=False)
    assert missed.headers["content-length"] == str(len(missed.content))
    assert "transfer-encoding" not in missed.headers
    assert missed.headers["cache-status"] == "sayonce; fwd=miss; stored"
    assert float(missed.headers["x-sayonce-compute-ms"]) >= 0
    hit = await speak(client, response_format=form, stream=True)
    assert hit.headers["etag"] == missed.headers["etag"]
    assert not hit.headers["etag"].startswith("W/")
    assert (len(engine.calls), hit.content) == (1, missed.content)


async def test_how_a_clip_is_sent_is_not_in_its_key_and_not_passed_on():
    with Upstream() as upstream:
        engine = build_engine("far", {"kind": "openai", "base_url": upstream.url, "model": "tts"})
        async with serving(engine) as client:
            sent = ({}, {"stream": None}, {"stream": True}, {"stream": False})
            answers = [await speak(client, model="far", headers=ANEW, **fields) for fields in sent]
    keys = {answer.headers["x-sayonce-key"] for answer in answers}
    assert len(keys) == 1
    assert len(upstream.heard) == len(sent)
    assert not any("stream" in said for said in upstream.heard)


@pytest.mark.parametrize("wrong", ["true", "false", "", 0, 1, [], {}])
async def test_stream_is_true_or_false_and_nothing_else(client, engine, wrong):
    answer = await speak(client, stream=wrong)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "stream")
    assert "true or false" in answer.json()["error"]["message"]
    assert engine.calls == []


async def test_a_whole_file_that_fails_in_the_middle_is_an_error_and_no_half_clip(client, engine):
    engine.failure, engine.fails_at = EngineError("broke"), 2
    answer = await speak(client, stream=False)
    assert (answer.status_code, answer.json()["error"]["message"]) == (502, "broke")
    engine.failure = None
    assert (await speak(client, stream=False)).headers["cache-status"] == "sayonce; fwd=miss; stored"


@pytest.mark.parametrize("form", ["wav", "mp3"])
async def test_a_whole_file_that_is_kept_nowhere_has_its_length_too(client, engine, form):
    headers = {"cache-control": "no-store"}
    first, second = [await speak(client, response_format=form, stream=False, headers=headers) for _ in range(2)]
    assert first.headers["cache-status"] == second.headers["cache-status"] == "sayonce; fwd=bypass"
    assert first.headers["content-length"] == str(len(second.content))
    assert len(engine.calls) == 2


async def test_a_client_that_leaves_while_its_file_is_made_for_it_alone_frees_the_engine(client, engine):
    engine.gate.clear()
    leaving = asyncio.create_task(speak(client, stream=False, headers={"cache-control": "no-store"}))
    await until(lambda: engine.calls)
    leaving.cancel()
    await until(lambda: client.service.synthesizer.takes.slots["stub"].taken == 0)
    assert (engine.finished, client.service.cache.counters["left"]) == (0, 1)


async def test_a_whole_file_joins_a_stream_under_way_and_the_other_way_round(client, engine):
    engine.gate.clear()
    asked = [asyncio.create_task(speak(client, stream=each)) for each in (True, False, True)]
    await until(lambda: engine.calls)
    engine.gate.set()
    answers = [await each for each in asked]
    assert len(engine.calls) == 1
    sounds = {soundfile.read(io.BytesIO(each.content))[0].tobytes() for each in answers}
    assert len(sounds) == 1
    whole = next(each for each in answers if "content-length" in each.headers)
    assert by_soundfile(whole.content) == TAKE_SECONDS


async def test_a_client_that_leaves_while_its_file_is_made_is_counted_and_the_clip_is_kept(client, engine):
    engine.gate.clear()
    leaving = asyncio.create_task(speak(client, stream=False))
    await until(lambda: engine.calls)
    leaving.cancel()
    await until(lambda: client.service.cache.counters["left"] == 1)
    engine.gate.set()
    await client.service.cache.settle()
    assert (await speak(client, stream=False)).headers["cache-status"].startswith("sayonce; hit")
    assert len(engine.calls) == 1


async def test_a_file_whose_engine_is_silent_too_long_is_a_504():
    engine = StubEngine()
    engine.ready.clear()
    async with serving(engine, server__request_timeout="10ms") as client:
        engine.ready.clear()
        answer = await speak(client, stream=False)
        assert answer.status_code == 504
        assert "server.request_timeout" in answer.json()["error"]["message"]
        engine.ready.set()


@pytest.mark.parametrize("form", ["wav", "mp3"])
async def test_events_of_a_whole_file_have_their_length_and_make_up_that_file(client, form):
    missed = await speak(client, response_format=form, stream=False, stream_format="sse")
    hit = await speak(client, response_format=form, stream=False, stream_format="sse")
    assert missed.headers["cache-status"] == "sayonce; fwd=miss; stored"
    assert missed.headers["content-type"] == "text/event-stream"
    assert missed.headers["content-length"] == hit.headers["content-length"] == str(len(missed.content))
    assert missed.content == hit.content
    told = [json.loads(line.removeprefix("data: ")) for line in missed.text.split("\n\n") if line]
    assert told.pop()["type"] == "speech.audio.done"
    body = b"".join(base64.b64decode(each["audio"]) for each in told)
    assert body == (await speak(client, response_format=form)).content


async def test_events_of_a_file_that_fails_are_an_error_and_no_events(client, engine):
    engine.failure, engine.fails_at = EngineError("broke"), 2
    answer = await speak(client, stream=False, stream_format="sse")
    assert (answer.status_code, answer.headers["content-type"]) == (502, "application/json")


@pytest.mark.parametrize("size", [1, 2, 3, 24_575, 24_576, 24_577, 100_000])
async def test_the_length_of_events_is_known_before_they_are_made(size):
    entry = Entry(key=b"", body=bytes(size), media_type="audio/wav", created=0.0, expires=0.0)
    assert len(b"".join([each async for each in sse.events(Answer(Outcome.HIT, entry))])) == sse.length(entry.body)


def piped(form, *options):
    """Return seven seconds, two of which at each end are a tone, as FFmpeg writes them to a pipe: without their length."""
    tone = "sine=1000:duration=2:sample_rate=24000"
    quiet = "anullsrc=channel_layout=mono:sample_rate=24000:duration=3"
    sources = [each for source in (tone, quiet, tone) for each in ("-f", "lavfi", "-i", source)]
    command = ["ffmpeg", "-v", "error", *sources, "-filter_complex", "concat=n=3:v=0:a=1", *options, "-f", form, "-"]
    return subprocess.run(command, capture_output=True, check=True).stdout


PIPED = {"mp3": ("audio/mpeg", "-c:a", "libmp3lame", "-q:a", "4"), "flac": ("audio/flac", "-c:a", "flac")}


@pytest.mark.parametrize("form", PIPED)
async def test_a_file_that_an_upstream_server_wrote_to_a_pipe_is_sent_with_its_length(form):
    media_type, *options = PIPED[form]
    file = piped(form, *options)
    with Upstream() as upstream:
        upstream.answer(200, file, media_type)
        engine = build_engine(
            "far", {"kind": "openai", "base_url": upstream.url, "model": "tts", "response_format": form}
        )
        async with serving(engine) as client:
            missed, hit = [await speak(client, model="far", response_format=form, stream=False) for _ in range(2)]
    assert missed.content == hit.content
    assert "hit" in hit.headers["cache-status"]
    slack = SLACK_SECONDS[form]
    assert any(abs(reader(file) - 7) > slack for reader in (by_mutagen, by_ffprobe))
    for reader in LIBRARIES[form]:
        assert reader(hit.content) == pytest.approx(7, abs=slack), reader.__name__
