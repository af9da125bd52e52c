import asyncio
import hashlib
import json
import re
import shutil
import socket
import wave
from importlib.metadata import version
from importlib.resources import files
from io import BytesIO

import pytest
from hibari import Hibari, write_wav

from sayonce.errors import EngineError, InvalidRequest, NotFound
from sayonce.speech.engines import build_engine, fingerprint
from tests.helpers.engine_speech import digests_in_another_process, hear, pcm, unkeyed, utterance

TEXT = "Welcome back. It is 7:30, and Mr. Quokkazzle has 3 new messages, hasn't he?"


@pytest.fixture(scope="module")
def loaded():
    engine = build_engine("hibari", {"concurrency": 4})
    asyncio.run(engine.load())
    yield engine
    asyncio.run(engine.close())


async def test_hibari_speaks_the_very_samples_that_its_package_makes(loaded):
    start, audio = await hear(loaded, TEXT, seed=3, speed=1.2)
    assert (start.sample_rate_hz, start.channels, start.media_type) == (24_000, 1, "audio/pcm")
    file = BytesIO()
    write_wav(file, Hibari()(TEXT, speed=1.2, seed=3))
    with wave.open(BytesIO(file.getvalue())) as its:
        assert its.readframes(its.getnframes()) == audio


async def test_hibari_makes_the_same_sound_of_a_request_whatever_is_spoken_before_or_meanwhile(loaded):
    first = await pcm(loaded, TEXT)
    texts = [TEXT if number % 2 else f"Something else, number {number}." for number in range(16)]
    spoken = await asyncio.gather(*(pcm(loaded, text) for text in texts))
    assert set(spoken[1::2]) == {first}
    assert len(set(spoken[::2])) == 8


async def test_hibari_makes_the_same_sound_of_a_request_in_every_process(loaded):
    here = hashlib.sha256(await pcm(loaded, TEXT)).hexdigest()
    assert digests_in_another_process("hibari", TEXT, ["heart"]) == [here]


async def test_every_declared_parameter_of_hibari_is_heard(loaded):
    assert await unkeyed(loaded, TEXT) == []


async def test_sentences_of_hibari_are_heard_as_they_are_made(loaded):
    speech = loaded.synthesize(utterance(loaded, "This is a sentence. " * 100))
    chunks = [await anext(speech) for _ in range(3)][1:]
    assert all(len(chunk) < 24_000 * 2 * 3 for chunk in chunks)  # one sentence each, of a hundred
    await speech.aclose()


@pytest.mark.parametrize("run", ["&", "a-", "a1", "@", "a&", "&&b-", "x@y.", "Tag/", "’&0", "3rd’", "AaE", "Ax", "./a"])
async def test_no_characters_without_a_blank_keep_hibari_busy_for_minutes(loaded, monkeypatch, run):
    """Its package reads a run in time that grows with the cube of its length: 300 characters took minutes."""
    model, read = loaded._models["heart"], []
    phonemize = model.phonemize
    monkeypatch.setattr(model, "phonemize", lambda text: read.append(text) or phonemize(text))
    assert await pcm(loaded, (run * 1024)[:1024])
    assert max(map(len, re.sub(r" +(?=[,.;:!?])", "", read[0]).split())) <= 32  # as the package draws them together
    assert read[0].replace(" ", "") == (run * 1024)[:1024]


@pytest.mark.parametrize(
    "text", ["1234567890" * 3, "123456", "pneumonoultramicroscopicsilicovolcanoconiosis", "1,000,000"]
)
async def test_figures_and_words_of_any_length_are_read_as_hibaris_package_reads_them(loaded, monkeypatch, text):
    model, read = loaded._models["heart"], []
    phonemize = model.phonemize
    monkeypatch.setattr(model, "phonemize", lambda text: read.append(text) or phonemize(text))
    await pcm(loaded, text)
    assert read == [loaded.read(text, "heart").text]


async def test_words_with_blanks_before_their_commas_are_no_word_of_thousands_of_characters(loaded, monkeypatch):
    model, read = loaded._models["heart"], []
    phonemize = model.phonemize
    monkeypatch.setattr(model, "phonemize", lambda text: read.append(text) or phonemize(text))
    await pcm(loaded, "we ,you " * 3)
    await pcm(loaded, "a ," * 500)
    assert read[0] == "we ,you we ,you we ,you "
    assert max(map(len, re.sub(r" +(?=[,.;:!?])", "", read[1]).split())) <= 32


async def test_hibaris_network_gets_a_bounded_piece_at_once_and_no_word_is_lost(loaded, monkeypatch):
    model, lengths, heard = loaded._models["heart"], [], []
    from_ids = model.from_ids
    monkeypatch.setattr(
        model, "from_ids", lambda ids, *rest: lengths.append(len(ids)) or heard.extend(ids) or from_ids(ids, *rest)
    )
    await pcm(loaded, "word " * 300)
    assert max(lengths) <= 402  # with a pad before and behind
    one = [each for each in model.ids(model.phonemize("word")[0]) if each]
    blank = model.ids(" ")[1:-1]
    assert [each for each in heard if each and each not in blank] == 300 * one


@pytest.mark.parametrize("value", [0.49, 2.01, 0.0, -1.0])
async def test_hibari_refuses_a_speed_out_of_range_naming_the_range(loaded, value):
    with pytest.raises(InvalidRequest, match=r"'speed' must be between 0\.5 and 2") as refused:
        utterance(loaded, TEXT, speed=value)
    assert refused.value.param == "speed"


@pytest.mark.parametrize("seed", [-1, 0.5, "7"])
async def test_hibari_refuses_a_wrong_seed(loaded, seed):
    with pytest.raises(InvalidRequest, match="'seed' must be"):
        utterance(loaded, TEXT, seed=seed)


@pytest.mark.parametrize("text", ["...", "( )", "!?", "™"])
async def test_hibari_refuses_a_text_with_nothing_to_speak(loaded, text):
    with pytest.raises(InvalidRequest, match="nothing to speak") as refused:
        await pcm(loaded, text)
    assert refused.value.param == "input"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("你好世界", "你"),
        ("Hello 你好 world.", "你"),
        ("Привет", "П"),
        ("Hello日本", "日"),
        ("Hi, こんにちは", "こ"),
        ("the Ð rune", "Ð"),
    ],
)
async def test_hibari_refuses_characters_that_its_model_leaves_out_and_names_a_voice_that_speaks_them(
    loaded, text, named
):
    with pytest.raises(InvalidRequest, match=rf"has '{named}', which is not English; .* espeak") as refused:
        await pcm(loaded, text)
    assert refused.value.param == "input"


@pytest.mark.parametrize(
    "text", ["naïve café, señor", "“Hi”, she said…", "€5 – or 20 °C?", "5 µm ½ x²", "Łódź", "Hi 😀!", "ﬁne", "Ｈｉ"]
)
async def test_hibari_speaks_every_character_that_english_texts_hold(loaded, text):
    assert len(await pcm(loaded, text)) > 10_000


def test_hibari_offers_only_voices_with_weights_on_this_machine(tmp_path, monkeypatch):
    """No voice is ever downloaded, and a file that is not the published one is not used."""
    monkeypatch.setenv("HIBARI_HOME", str(tmp_path))
    (tmp_path / "bf_emma.int8.onnx").write_bytes(b"not the weights")
    engine = build_engine("hibari", {})
    assert [voice.id for voice in engine.voices()] == ["heart"]
    with pytest.raises(NotFound, match="has no voice 'emma'; it has heart"):
        engine.resolve_voice("emma")


async def test_a_voice_in_the_cache_of_hibaris_package_is_offered_and_speaks(tmp_path, monkeypatch):
    """The packaged weights stand in for downloaded ones: same form, and a registry that names their digest."""
    from hibari import voices

    weights = files("hibari").joinpath("assets/hibari.onnx").read_bytes()
    entry = voices.VOICES["emma"] | {"sha256": hashlib.sha256(weights).hexdigest()}
    monkeypatch.setitem(voices.VOICES, "emma", entry)
    monkeypatch.setenv("HIBARI_HOME", str(tmp_path))
    (tmp_path / "bf_emma.int8.onnx").write_bytes(weights)
    engine = build_engine("hibari", {})
    await engine.load()
    assert [voice.language for voice in engine.voices()] == ["en-US", "en-GB"]
    assert await pcm(engine, "The bath.", "emma") != await pcm(engine, "The bath.", "heart")
    await engine.close()


async def test_a_damaged_package_of_hibari_fails_loading_and_says_so(monkeypatch):
    from hibari import voices

    monkeypatch.setitem(voices.VOICES, "heart", voices.VOICES["heart"] | {"sha256": "0" * 64})
    engine = build_engine("hibari", {"default_voice": "heart"})
    with pytest.raises(EngineError, match="damaged"):
        await engine.load()
    await engine.close()


async def test_hibari_sends_nothing_to_the_network(monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError

    engine = build_engine("hibari", {})
    monkeypatch.setattr(socket.socket, "connect", refuse)
    await engine.load()
    assert await pcm(engine, TEXT)
    await engine.close()


def test_the_identity_of_hibari_is_known_without_loading_and_names_the_weights(loaded):
    identity = build_engine("hibari", {}).identity()
    assert identity == loaded.identity()
    assert {"kind", "hibari-tts", "numpy", "onnxruntime", "scipy", "assets", "signs", "speaking"} == set(identity)
    assert json.dumps(identity)


@pytest.mark.parametrize("package", ["hibari-tts", "numpy", "onnxruntime", "scipy"])
def test_another_version_of_a_library_that_makes_the_sound_is_another_identity(loaded, monkeypatch, package):
    today = loaded.identity()
    monkeypatch.setattr(fingerprint, "version", lambda name: "0.0.1" if name == package else version(name))
    assert build_engine("hibari", {}).identity() != today


@pytest.mark.parametrize("asset", ["voices.json", "lexicon_us_gold.json.gz", "oov.onnx", "vocab.json"])
def test_another_lexicon_or_network_of_hibari_is_another_identity(loaded, monkeypatch, tmp_path, asset):
    from hibari import voices

    assets = tmp_path / "assets"
    shutil.copytree(voices.ASSETS, assets)
    monkeypatch.setattr(voices, "ASSETS", str(assets))
    same, other = build_engine("hibari", {}), build_engine("hibari", {})
    assert same.identity() == loaded.identity()
    (assets / asset).write_bytes((assets / asset).read_bytes() + b"\n")
    assert other.identity() != loaded.identity()
