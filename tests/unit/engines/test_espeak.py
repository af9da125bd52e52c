import asyncio
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sayonce.errors import EngineError, InvalidRequest, NotFound
from sayonce.speech.engines import build_engine
from sayonce.speech.engines.espeak import engine as espeak_module
from tests.helpers.engine_speech import digests_in_another_process, hear, pcm, unkeyed, utterance

TEXT = "Hello there, how are you today?"


@pytest.fixture
async def espeak():
    engine = build_engine("espeak", {})
    await engine.load()
    yield engine
    await engine.close()


async def test_espeak_makes_the_same_sound_of_a_request_whatever_was_spoken_before(espeak):
    """A, B, A: the library's own state (phases, gain, flutter) would be heard in the second A."""
    first = await pcm(espeak, TEXT)
    await pcm(espeak, "你好，世界", "cmn", speed=2.0, pitch=90)
    await pcm(espeak, "Whisper this.", "en-us+whisper")
    assert await pcm(espeak, TEXT) == first


async def test_espeak_makes_the_same_sound_of_a_request_in_every_process(espeak):
    voices = ["en-us", "cmn", "de", "en-us+whisper", "fr-fr+f3", "en-gb+klatt4"]
    here = [hashlib.sha256(await pcm(espeak, TEXT, voice)).hexdigest() for voice in voices]
    assert digests_in_another_process("espeak", TEXT, voices) == here


async def test_espeak_makes_the_same_sound_of_a_request_at_every_time(espeak):
    """The library seeds the noise of breathy voices with the clock's whole seconds, which nobody can fake for it."""
    first = await pcm(espeak, TEXT, "en-us+whisper")
    await asyncio.sleep(1.01 - time.time() % 1)
    assert await pcm(espeak, TEXT, "en-us+whisper") == first


async def test_concurrent_requests_to_espeak_do_not_disturb_each_other(espeak):
    texts = [f"This is the number {number}." for number in range(8)]
    alone = [await pcm(espeak, text) for text in texts]
    assert await asyncio.gather(*(pcm(espeak, text) for text in texts)) == alone
    assert len(set(alone)) == len(texts)


async def test_two_engines_speak_at_once(espeak):
    other = build_engine("second", {"kind": "espeak"})
    await other.load()
    one, two = await asyncio.gather(pcm(espeak, TEXT), pcm(other, TEXT))
    await other.close()
    assert one == two


async def test_every_declared_parameter_of_espeak_is_heard(espeak):
    assert await unkeyed(espeak, TEXT) == []


async def test_every_listed_voice_of_espeak_speaks(espeak):
    for voice in espeak.voices():
        assert len(await pcm(espeak, "abc, 123", voice.id)) > 4000, voice


async def test_chinese_and_english_are_spoken_at_the_stated_rate(espeak):
    start, chinese = await hear(espeak, "你好，世界", "cmn")
    assert (start.sample_rate_hz, start.channels, start.media_type) == (22_050, 1, "audio/pcm")
    assert 0.8 < len(chinese) / 2 / start.sample_rate_hz < 2.0


@pytest.mark.parametrize(
    ("name", "voice"), [("zh", "cmn"), ("EN_us", "en-us"), ("en", "en-gb"), ("yue", "yue"), ("en-us+f3", "en-us+f3")]
)
async def test_names_of_one_voice_of_espeak_are_one_voice(espeak, name, voice):
    assert espeak.resolve_voice(name) == voice


@pytest.mark.parametrize("name", ["alloy", "en-us+nobody", "", "../../etc/passwd", "en-us+../../lang/gmw/de", "fo"])
async def test_an_unknown_voice_of_espeak_is_refused_naming_some_that_exist(espeak, name):
    with pytest.raises(NotFound, match=r"has no voice .* it has af, .* and \d+ more"):
        espeak.resolve_voice(name)


@pytest.mark.parametrize("text", ["...", "(", "\x01"])
async def test_espeak_refuses_a_text_with_nothing_to_speak(espeak, text):
    with pytest.raises(InvalidRequest, match="nothing to speak") as refused:
        await pcm(espeak, text)
    assert refused.value.param == "input"


@pytest.mark.parametrize(
    ("text", "misread"),
    [
        ("\x0150S test", "test"),  # the library's own command: speed 50
        ("a\x00b", "a"),
        ("<speak>word</speak>", "word"),
        ("[[h@l'oU]]", "hello"),
        ("&amp;", "&"),
    ],
)
async def test_espeak_speaks_markup_and_commands_as_text(espeak, text, misread):
    assert len(await pcm(espeak, text)) > len(await pcm(espeak, misread))


async def test_a_long_text_is_heard_before_it_is_finished(espeak):
    speech = espeak.synthesize(utterance(espeak, "One more sentence is spoken. " * 140))
    chunks = [await anext(speech) for _ in range(3)][1:]
    assert 0 < len(b"".join(chunks)) < 22_050 * 2 * 2  # two of some three hundred seconds
    await speech.aclose()


async def test_an_abandoned_utterance_ends_its_process(espeak):
    parent = espeak._speaker._process.pid
    speech = espeak.synthesize(utterance(espeak, "One more sentence is spoken. " * 140))
    assert [await anext(speech) for _ in range(2)]
    assert _children(parent)
    await speech.aclose()
    await _until(lambda: not _children(parent))


async def test_a_crash_of_espeak_fails_one_utterance_and_no_other(espeak):
    speech = espeak.synthesize(utterance(espeak, "One more sentence is spoken. " * 140))
    assert [await anext(speech) for _ in range(2)]
    for child in _children(espeak._speaker._process.pid):
        os.kill(child, signal.SIGKILL)
    with pytest.raises(EngineError, match="ended in the middle"):
        assert [chunk async for chunk in speech]
    assert await pcm(espeak, TEXT)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_to_all_processes_lets_espeak_finish_its_speech(espeak, how):
    """A terminal sends Ctrl-C to all of a command, and a service manager SIGTERM to all of a service."""
    asked = utterance(espeak, "One more sentence is spoken. " * 140)
    whole, speaker = await pcm(espeak, asked.text), espeak._speaker._process.pid
    speech = espeak.synthesize(asked)
    begun = [await anext(speech) for _ in range(2)][1:]
    for process in (speaker, *_children(speaker)):
        os.kill(process, how)
    assert b"".join([*begun, *[chunk async for chunk in speech]]) == whole
    assert await pcm(espeak, asked.text) == whole
    assert espeak._speaker._process.pid == speaker


async def test_a_process_that_was_being_started_when_the_engine_is_closed_ends_too(monkeypatch):
    started, go_on, speakers = threading.Event(), threading.Event(), []

    class Slow(espeak_module._Speaker):
        def __init__(self, *arguments):
            started.set()
            go_on.wait()
            super().__init__(*arguments)
            speakers.append(self)

    monkeypatch.setattr(espeak_module, "_Speaker", Slow)
    engine = build_engine("espeak", {})
    loading = asyncio.create_task(engine.load())
    await asyncio.to_thread(started.wait)
    loading.cancel()
    await asyncio.wait([loading])
    closing = asyncio.create_task(engine.close())
    await asyncio.sleep(0)
    go_on.set()
    await closing
    assert [each.alive for each in speakers] == [False]


async def test_a_killed_speaker_process_is_replaced(espeak):
    before = await pcm(espeak, TEXT)
    espeak._speaker._process.kill()
    espeak._speaker._process.wait()
    assert await pcm(espeak, TEXT) == before


async def test_no_speaker_process_is_left_when_the_gateway_is_killed():
    script = (
        "import asyncio, time; from sayonce.speech.engines import build_engine\n"
        "async def main():\n engine = build_engine('espeak', {})\n await engine.load()\n"
        " print(engine._speaker._process.pid, flush=True)\n await asyncio.sleep(60)\nasyncio.run(main())"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as gateway:
        speaker = int(gateway.stdout.readline())
        gateway.kill()
    await _until(lambda: not _alive(speaker))


async def test_a_process_that_cannot_be_started_is_the_engines_error(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(EngineError, match="cannot be started"):
        await build_engine("espeak", {}).load()


async def test_a_library_that_cannot_be_loaded_is_the_engines_error(tmp_path):
    engine = build_engine("espeak", {})
    engine._library = tmp_path / "libespeak-ng.so"
    with pytest.raises(EngineError):
        await engine.load()
    await engine.close()


async def test_closing_espeak_twice_is_harmless(espeak):
    await espeak.close()
    await espeak.close()


def test_identity_and_voices_of_espeak_are_known_without_loading_it():
    engine = build_engine("espeak", {})
    assert engine.identity()["kind"] == "espeak"
    assert len(engine.voices()) > 100
    assert engine._speaker is None


async def test_a_dictionary_of_ones_own_is_another_sound_and_another_identity(espeak, tmp_path, monkeypatch):
    """The same package, of the same version: ``espeak-ng --compile`` writes into its data."""
    import espeakng_loader

    data = tmp_path / "espeak-ng-data"
    shutil.copytree(espeakng_loader.get_data_path(), data)
    monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(data))
    same = build_engine("espeak", {})
    shutil.copyfile(data / "de_dict", data / "en_dict")
    other = build_engine("espeak", {})
    assert await pcm(other, TEXT) != await pcm(espeak, TEXT)
    assert other.identity() != espeak.identity()
    shutil.copyfile(Path(espeak._data, "en_dict"), data / "en_dict")
    assert same.identity() == espeak.identity()
    await other.close()


async def test_espeak_sounds_the_same_in_every_environment(espeak, monkeypatch, tmp_path):
    """What is not in the key may not be heard: neither another directory of data nor the locale."""
    shutil.copytree(espeak._data, tmp_path / "espeak-ng-data")
    shutil.copyfile(espeak._data / "de_dict", tmp_path / "espeak-ng-data" / "en_dict")
    monkeypatch.setenv("ESPEAK_DATA_PATH", str(tmp_path))
    monkeypatch.setenv("LC_ALL", "C")
    other = build_engine("espeak", {})
    assert other.identity() == espeak.identity()
    for voice, text in (("en-us", TEXT), ("de", "Über die Brücke"), ("cmn", "你好")):
        assert await pcm(other, text, voice) == await pcm(espeak, text, voice)
    await other.close()


def _children(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def _alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


async def _until(true) -> None:
    """Wait for another process, whose end the system does not report to this one."""
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
