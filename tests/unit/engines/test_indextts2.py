"""IndexTTS2 behind the gateway: its own code, with stand-ins for its networks that count how often they run."""

import base64
import sys

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from sayonce.errors import ConfigError
from sayonce.speech.engines import build_engine
from tests.engines.indextts2 import EDITIONS, build, loaded
from tests.helpers.serving import serving
from tests.helpers.uploaded_voices import reference, upload

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(params=EDITIONS, ids=lambda edition: f"{edition.package}-{edition.module[-4:]}")
def made(request, monkeypatch, tmp_path):
    """The engines that were built, and the configuration that builds them."""
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "config.yaml").touch()
    version = "2.5" if request.param.lang else "2"
    instances = []
    with loaded(request.param) as edition:

        def construct(**_):
            instances.append(build(edition.cls))
            return instances[-1]

        monkeypatch.setattr(sys.modules[edition.module], "IndexTTS2", construct)
        yield instances, {"model_dir": str(weights), "version": version}, edition


def engine_of(options):
    return build_engine("indextts2", options)


async def speak(client, text="one two three", **fields):
    if len(client.service.synthesizer.catalogue.engines[0].parameters) > 16:
        fields |= {"lang": "en", "text_normalization": False}  # what the stand-ins of version 2.5 know
    asked = {"model": "indextts2", "input": text, "response_format": "pcm", **fields}
    return await client.post("/v1/audio/speech", json=asked)


def runs(instance):
    return instance.counts["loads"], instance.counts["encodes"]


async def test_indextts2_encodes_a_voice_once_for_all_its_texts_and_not_again_after_a_restart(made, tmp_path):
    instances, options, edition = made
    store = f"sqlite:///{tmp_path}/clips.db"
    async with serving(engine_of(options), store=store) as client:
        await upload(client)
        for text in ("one two three", "four five", "six"):
            answer = await speak(client, text, voice="alice")
            assert (answer.status_code, len(answer.content) > 1000) == (200, True), answer.text
        assert runs(instances[0]) == edition.cold
    async with serving(engine_of(options), store=store) as client:
        assert (await speak(client, "seven", voice="alice")).status_code == 200
        assert runs(instances[1]) == (0, 0)


async def test_indextts2_makes_the_same_sound_of_a_request_and_another_of_another_seed(made):
    _, options, _ = made
    async with serving(engine_of(options)) as client:
        await upload(client)
        one = await speak(client, voice="alice", seed=1)
        await client.post("/v1/cache/purge", json={"all": True})
        again = await speak(client, voice="alice", seed=1)
        assert again.headers["cache-status"] == "sayonce; fwd=miss; stored"
        assert one.content == again.content
        other = await speak(client, voice="alice", seed=2)
        assert other.headers["cache-status"] == "sayonce; fwd=miss; stored"


async def test_a_reference_sent_along_with_a_request_is_the_voice_that_was_uploaded(made):
    instances, options, edition = made
    async with serving(engine_of(options)) as client:
        await upload(client)
        await speak(client, voice="alice")
        sent = base64.b64encode(reference(container="FLAC")).decode()
        assert (await speak(client, ref_audio=sent)).headers["cache-status"].startswith("sayonce; hit")
        assert (await speak(client, "another text", ref_audio=sent)).status_code == 200
        assert runs(instances[0]) == edition.cold


async def test_indextts2_without_a_reference_says_how_to_give_one(made):
    _, options, _ = made
    async with serving(engine_of(options)) as client:
        answer = await speak(client, voice="nobody")
        assert (answer.status_code, answer.json()["error"]["param"]) == (404, "voice")
        assert "/v1/audio/voices" in answer.json()["error"]["message"]


@pytest.mark.parametrize("vector", [[1], [0] * 7, [0] * 9, ["a"] * 8, "happy", 1])
async def test_an_emotion_vector_has_eight_numbers(made, vector):
    _, options, _ = made
    async with serving(engine_of(options)) as client:
        await upload(client)
        answer = await speak(client, voice="alice", emo_vector=vector)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "emo_vector")
        assert "8 numbers" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("emotion", "told"),
    [("https://example.org/a.wav", "the audio itself"), (base64.b64encode(b"no audio").decode(), "cannot be decoded")],
)
async def test_an_emotion_that_is_no_reference_is_refused_by_its_field(made, emotion, told):
    _, options, _ = made
    async with serving(engine_of(options)) as client:
        await upload(client)
        answer = await speak(client, voice="alice", emo_audio=emotion)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "emo_audio")
        assert told in answer.json()["error"]["message"]


def test_a_folder_without_weights_of_indextts2_is_a_clear_error(tmp_path):
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        build_engine("indextts2", {"model_dir": str(tmp_path)})
