"""Voices of references at servers elsewhere, in vLLM-Omni's fields: what is sent to them, and what is in the key."""

import base64
import io

import pytest
import soundfile

from sayonce.speech.engines import build_engine
from tests.helpers.serving import serving
from tests.helpers.uploaded_voices import reference, upload

HIT = "sayonce; hit; detail=memory"
MISS = "sayonce; fwd=miss; stored"


def far(upstream, **options):
    section = {"kind": "openai", "base_url": upstream.url, "model": "tts", "default_voice": "vivian", **options}
    return build_engine("far", section)


@pytest.fixture
async def client(upstream):
    async with serving(far(upstream)) as client:
        yield client


async def speak(client, text="Hello.", **fields):
    answer = await client.post(
        "/v1/audio/speech", json={"model": "far", "input": text, "response_format": "wav", **fields}
    )
    return answer.headers.get("cache-status") or answer.json()["error"]


def data_url(seed=1, container="WAV"):
    return f"data:audio/{container.lower()};base64,{base64.b64encode(reference(seed, container)).decode()}"


def sent(said):
    """Return the reference that a server was given, and what is said in it."""
    assert "voice" not in said
    assert said["ref_audio"].startswith("data:audio/")
    return base64.b64decode(said["ref_audio"].partition(",")[2]), said.get("ref_text")


async def test_an_uploaded_voice_is_sent_as_its_reference_and_transcript(client, upstream):
    await upload(client, ref_text="one two")
    assert await speak(client, voice="alice") == MISS
    assert sent(upstream.heard[0]) == (reference(), "one two")
    await upload(client, audio=reference(2))
    assert await speak(client, voice="alice") == MISS
    assert sent(upstream.heard[1]) == (reference(2), None)


@pytest.mark.parametrize("voice", [{"voice": {"id": "alice"}}, {"voice": "alice", "ref_text": "one two"}])
async def test_an_uploaded_name_is_its_reference_however_a_request_gives_it(client, upstream, voice):
    await upload(client, ref_text="one two")
    assert await speak(client, voice="alice") == MISS
    assert await speak(client, **voice) == HIT
    assert sent(upstream.heard[0]) == (reference(), "one two")


@pytest.mark.parametrize(
    ("container", "media_type"),
    [
        ("WAV", "audio/wav"),
        ("FLAC", "audio/flac"),
        ("AIFF", "audio/aiff"),
        ("OGG", "audio/ogg"),
        ("MP3", "audio/mpeg"),
    ],
)
async def test_a_reference_is_sent_as_what_it_is_whatever_it_was_called(client, upstream, container, media_type):
    file = io.BytesIO()
    soundfile.write(file, soundfile.read(io.BytesIO(reference()))[0], 16_000, format=container)
    await upload(client, audio=file.getvalue())
    assert await speak(client, voice="alice") == MISS
    misnamed = f"data:audio/wav;base64,{base64.b64encode(file.getvalue()).decode()}"
    assert await speak(client, "Another.", ref_audio=misnamed) == MISS
    for said in upstream.heard:
        assert said["ref_audio"].startswith(f"data:{media_type};base64,")
        assert sent(said)[0] == file.getvalue()


WRITTEN = {
    "lines": lambda audio: "\n".join(audio[start : start + 76] for start in range(0, len(audio), 76)),
    "CRLF": lambda audio: "\r\n".join(audio[start : start + 64] for start in range(0, len(audio), 64)) + "\r\n",
    "no padding": lambda audio: audio.rstrip("="),
    "URL-safe": lambda audio: audio.replace("+", "-").replace("/", "_"),
    "upper case": lambda audio: "DATA:AUDIO/WAV;BASE64," + audio,
    "parameters": lambda audio: "data:audio/wav;charset=utf-8;base64," + audio,
}


@pytest.mark.parametrize("way", WRITTEN)
async def test_a_reference_is_the_same_voice_however_its_base64_is_written(client, upstream, way):
    audio = reference(seconds=0.5001)
    assert await speak(client, ref_audio=f"data:audio/wav;base64,{base64.b64encode(audio).decode()}") == MISS
    text = WRITTEN[way](base64.b64encode(audio).decode())
    assert await speak(client, ref_audio=text) == HIT
    assert await speak(client, references=[{"audio_path": text}]) == HIT
    assert sent(upstream.heard[0]) == (audio, None)
    form = {"name": (None, "alice"), "audio_sample": (None, text)}  # a field of the form, and no file
    made = await client.post("/v1/audio/voices", files=form)
    assert made.status_code == 201, made.text
    assert await speak(client, voice="alice") == HIT


async def test_a_form_whose_reference_is_no_reference_is_told_what_and_where(client):
    form = {"name": (None, "alice"), "audio_sample": (None, "/home/me/clip.wav")}
    error = (await client.post("/v1/audio/voices", files=form)).json()["error"]
    assert (error["param"], "'.' as character 14" in error["message"]) == ("audio_sample", True)


async def test_an_uploaded_voice_may_be_the_default(upstream):
    async with serving(far(upstream, default_voice="alice")) as client:
        await upload(client)
        assert await speak(client) == MISS
        assert sent(upstream.heard[0]) == (reference(), None)


ALONG = [
    lambda audio: {"ref_audio": audio, "ref_text": "one two"},
    lambda audio: {"references": [{"audio_path": audio, "text": "one two"}]},
    lambda audio: {"references": [{"audio_path": audio}], "ref_text": "one two", "voice": "vivian"},
]


@pytest.mark.parametrize("fields", ALONG)
async def test_a_reference_that_is_sent_along_is_keyed_by_its_samples_and_transcript(client, upstream, fields):
    assert await speak(client, **fields(data_url())) == MISS
    assert sent(upstream.heard[0]) == (reference(), "one two")
    for same in ALONG:
        assert await speak(client, **same(data_url(container="FLAC"))) == HIT
    assert await speak(client, **fields(data_url(2))) == MISS
    assert await speak(client, ref_audio=data_url(), ref_text="one too") == MISS
    assert "references" not in upstream.heard[0]


@pytest.mark.parametrize(
    ("fields", "param", "told"),
    [
        ({"ref_audio": "https://example.org/a.wav"}, "ref_audio", "addresses and paths are not taken"),
        ({"ref_audio": [data_url(), data_url(2)]}, "ref_audio", "must be a string"),
        ({"references": "alice"}, "references", "one object with 'audio_path'"),
        ({"references": []}, "references", "one object with 'audio_path'"),
        ({"references": [{"text": "one"}]}, "references", "one object with 'audio_path'"),
        ({"references": [{"audio_path": data_url()}] * 2}, "references", "one object with 'audio_path'"),
        ({"references": [{"audio_path": "file:///a.wav"}]}, "references", "addresses and paths are not taken"),
        ({"references": [{"audio_path": data_url(), "text": 1}]}, "text", "must be a string"),
        ({"references": [{"audio_path": data_url(), "voice": "x"}]}, "references", "one object with 'audio_path'"),
        ({"references": [{"audio_path": data_url()}], "ref_audio": data_url()}, "references", "not both"),
        ({"references": [{"audio_path": data_url(), "text": "a"}], "ref_text": "b"}, "references", "not both"),
        ({"ref_audio_2": "https://example.org/a.wav"}, "ref_audio_2", "holds the address"),
        ({"extra_params": {"emo_audio": "file:///a.wav"}}, "extra_params", "holds the address"),
    ],
)  # fmt: skip
async def test_a_value_that_is_no_reference_is_refused_by_its_field(client, upstream, fields, param, told):
    error = await speak(client, **fields)
    assert (error["param"], told in error["message"]) == (param, True), error
    assert upstream.heard == []


@pytest.mark.parametrize(
    "more", [{"ref_audio_2": data_url(2)}, {"extra_params": {"emo_audio": data_url(2), "emo_alpha": 0.5}}]
)
async def test_further_references_are_handed_on_and_keyed(client, upstream, more):
    assert await speak(client, ref_audio=data_url()) == MISS
    assert await speak(client, ref_audio=data_url(), **more) == MISS
    assert await speak(client, ref_audio=data_url(), **more) == HIT
    assert more.items() <= upstream.heard[1].items()


# -- vLLM-Omni's name for the voice -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["vivian", {"id": "vivian"}])
async def test_speaker_is_the_voice_in_the_key_and_to_the_server(client, upstream, given):
    assert await speak(client, speaker=given) == MISS
    assert await speak(client, voice="vivian") == HIT
    assert await speak(client, voice="vivian", speaker=given) == HIT
    assert await speak(client, voice="ryan") == MISS
    assert [said["voice"] for said in upstream.heard] == ["vivian", "ryan"]
    assert not any("speaker" in said for said in upstream.heard)


async def test_an_uploaded_voice_speaks_as_speaker_too(client, upstream):
    await upload(client)
    assert await speak(client, speaker="alice") == MISS
    assert await speak(client, voice="alice") == HIT
    assert sent(upstream.heard[0]) == (reference(), None)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"voice": "ryan", "speaker": "vivian"}, "'voice' says 'ryan', and 'speaker' says 'vivian'"),
        ({"speaker": 7}, "'speaker' must be a string"),
        ({"speaker": {"name": "vivian"}}, "'speaker' as an object needs a string 'id'"),
    ],
)
async def test_a_speaker_that_contradicts_the_voice_or_is_no_name_is_refused(client, upstream, fields, told):
    error = await speak(client, **fields)
    assert (error["param"], told in error["message"]) == ("speaker", True), error
    assert upstream.heard == []
