"""IndexTTS2's own code, its networks replaced by stand-ins that count: the encoders run once a voice."""

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

import sayonce
from tests.helpers.paths import ROOT
from tests.helpers.voice_samples import alike, reference

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("default")

from tests.engines.indextts2 import EDITIONS, SLOTS, build, loaded  # noqa: E402 (needs torch)

RATE = 22_050


def noise(seed, seconds=1.0):
    return (np.random.default_rng(seed).normal(size=int(seconds * RATE)) * 6_000).astype(np.int16)


def name_of(edition):
    return f"{edition.package}-{edition.module[-4:]}"


def of(editions):
    """Run a test with some of the editions alone."""
    return pytest.mark.parametrize("edition", editions, ids=name_of, indirect=True, scope="module")


STREAMING = [edition for edition in EDITIONS if edition.streams]


@pytest.fixture(scope="module", params=EDITIONS, ids=name_of)
def edition(request):
    with loaded(request.param) as edition:
        yield edition


@pytest.fixture
def cache():
    with sayonce.open_sync("memory://") as cache:
        yield cache


@pytest.fixture
def voices(tmp_path):
    """Two references of different voices."""
    for name, seed in (("alice", 1), ("bob", 2)):
        (tmp_path / f"{name}.wav").write_bytes(reference(noise(seed), rate=RATE))
    return tmp_path / "alice.wav", tmp_path / "bob.wav"


def wrapped(edition, cache, **options):
    return sayonce.adapters.indextts2.wrap(build(edition.cls), cache, **options)


def speak(tts, edition, voice, text="one two three", **options):
    """Return the samples of a synthesis at a fixed seed."""
    torch.manual_seed(7)
    args, kwargs = edition.arguments(str(voice), text, None, **options)
    return tts.infer(*args, **kwargs)[1]


def alone(edition, voice, **options):
    """Return what an engine without the cache makes of a voice that its own slots hold.

    The first time its encoders draw random numbers, too, and so a seed gives another sound.
    """
    tts = build(edition.cls)
    speak(tts, edition, voice, **options)
    return speak(tts, edition, voice, **options)


def stream(tts, edition, voice):
    torch.manual_seed(7)
    args, kwargs = edition.arguments(str(voice), "one, two, three.", None, max_text_tokens_per_segment=3)
    return tts.infer_generator(*args, stream_return=True, **kwargs)


def runs(tts):
    return tts.counts["loads"], tts.counts["encodes"]


def test_a_cold_voice_is_encoded_as_the_engine_does_and_a_warm_one_not_at_all(edition, cache, voices):
    tts = wrapped(edition, cache)
    speak(tts, edition, voices[0])
    assert runs(tts) == edition.cold
    for _ in range(3):
        speak(tts, edition, voices[0], "other words")
    assert runs(tts) == edition.cold


def test_alternating_voices_stay_warm(edition, cache, voices):
    tts = wrapped(edition, cache)
    for voice in voices * 3:
        speak(tts, edition, voice)
    assert runs(tts) == (2 * edition.cold[0], 2 * edition.cold[1])


def test_wrapped_indextts2_sounds_as_it_does_unwrapped_bit_for_bit(edition, cache, voices):
    tts = wrapped(edition, cache)
    for voice in (*voices, *voices):
        np.testing.assert_array_equal(speak(tts, edition, voice), alone(edition, voice))
    assert len({speak(tts, edition, voice).tobytes() for voice in voices}) == 2


@of(STREAMING)
def test_wrapped_indextts2_streams_as_it_does_unwrapped_bit_for_bit(edition, cache, voices):
    tts = wrapped(edition, cache)
    engine = build(edition.cls)
    expected = [list(stream(engine, edition, voices[0])) for _ in range(2)][1]
    for _ in range(2):
        heard = list(stream(tts, edition, voices[0]))
        assert len(heard) == len(expected) > 2
        assert all(map(torch.equal, heard, expected))


@of(STREAMING)
def test_a_stream_holds_the_engine_until_it_is_closed(edition, cache, voices):
    tts = wrapped(edition, cache)
    speak(tts, edition, voices[1])
    heard = stream(tts, edition, voices[0])
    next(heard)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(speak, tts, edition, voices[1])
        with pytest.raises(TimeoutError):
            other.result(0.2)
        heard.close()
        assert other.result(10).size


def test_a_copy_under_another_name_and_in_another_container_is_the_same_voice(edition, cache, voices, tmp_path):
    tts = wrapped(edition, cache)
    speak(tts, edition, voices[0])
    (tmp_path / "renamed.flac").write_bytes(reference(noise(1), "FLAC", rate=RATE, title="Another title"))
    speak(tts, edition, tmp_path / "renamed.flac")
    assert runs(tts) == edition.cold


def test_a_file_overwritten_in_place_is_another_voice(edition, cache, voices):
    tts = wrapped(edition, cache)
    alice, bob = voices
    before = speak(tts, edition, alice)
    times = alice.stat()
    alice.write_bytes(bob.read_bytes())
    os.utime(alice, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = speak(tts, edition, alice)
    np.testing.assert_array_equal(after, alone(edition, bob))
    assert not np.array_equal(before, after)


def test_references_of_the_same_shape_head_and_tail_are_not_confused(edition, cache, voices, tmp_path):
    tts = wrapped(edition, cache)
    speak(tts, edition, voices[0])
    (tmp_path / "alike.wav").write_bytes(reference(alike(noise(1)), rate=RATE))
    speak(tts, edition, tmp_path / "alike.wav")
    assert runs(tts) == (2 * edition.cold[0], 2 * edition.cold[1])


def test_speaker_and_emotion_of_a_reference_are_separate_entries(edition, cache, voices):
    tts = wrapped(edition, cache)
    alice, bob = voices
    heard = speak(tts, edition, alice, emo_audio_prompt=str(bob), emo_alpha=0.5)
    assert runs(tts) == edition.cold
    np.testing.assert_array_equal(heard, alone(edition, alice, emo_audio_prompt=str(bob), emo_alpha=0.5))
    speak(tts, edition, bob, emo_audio_prompt=str(alice))
    assert runs(tts) == (2 * edition.cold[0], 2 * edition.cold[1])
    for voice, emotion in ((alice, alice), (bob, bob), (bob, alice)):
        speak(tts, edition, voice, emo_audio_prompt=str(emotion))
    assert runs(tts) == (2 * edition.cold[0], 2 * edition.cold[1])


def test_the_emotion_reference_of_indextts2_is_heard(edition, cache, voices):
    tts = wrapped(edition, cache)
    alice, bob = voices
    assert not np.array_equal(
        speak(tts, edition, alice), speak(tts, edition, alice, emo_audio_prompt=str(bob), emo_alpha=0.9)
    )


def test_an_emotion_reference_that_the_engine_drops_is_not_read(edition, cache, voices):
    tts = wrapped(edition, cache)
    options = {"emo_audio_prompt": "nowhere.wav", "emo_vector": [0.1] * 8}
    heard = speak(tts, edition, voices[0], **options)
    np.testing.assert_array_equal(heard, alone(edition, voices[0], **options))
    assert runs(tts) == edition.cold


def test_other_weights_have_entries_of_their_own(edition, cache, voices):
    speak(wrapped(edition, cache), edition, voices[0])
    other = sayonce.adapters.indextts2.wrap(build(edition.cls, seed=1), cache)
    speak(other, edition, voices[0])
    assert runs(other) == edition.cold


def test_a_given_revision_stands_for_the_weights(edition, cache, voices):
    speak(wrapped(edition, cache, revision="1"), edition, voices[0])
    same, other = wrapped(edition, cache, revision="1"), wrapped(edition, cache, revision="2")
    speak(same, edition, voices[0])
    speak(other, edition, voices[0])
    assert (runs(same), runs(other)) == ((0, 0), edition.cold)


def test_features_hold_no_autograd_graph(edition, cache, voices):
    tts = wrapped(edition, cache)
    seen, gradients = [], []
    merge = tts.gpt.merge_emovec
    tts.gpt.merge_emovec = lambda *args, **kwargs: seen.extend(args[:2]) or merge(*args, **kwargs)
    tts.campplus_model.register_forward_pre_hook(lambda *_: gradients.append(torch.is_grad_enabled()))
    for _ in range(2):
        speak(tts, edition, voices[0])
    if hasattr(tts, SLOTS[0]):
        seen += [
            getattr(tts, name) for name in SLOTS if name not in ("cache_spk_audio_prompt", "cache_emo_audio_prompt")
        ]
    assert gradients == [False]
    assert len(seen) >= 2
    assert not any(tensor.requires_grad or tensor.grad_fn for tensor in seen)


def test_what_the_engine_does_to_its_tensors_changes_no_entry(edition, cache, voices):
    tts = wrapped(edition, cache)
    seen = []
    merge = tts.gpt.merge_emovec
    tts.gpt.merge_emovec = lambda *args, **kwargs: seen.extend(args[:2]) or merge(*args, **kwargs)
    first = speak(tts, edition, voices[0])
    for tensor in seen:
        tensor.zero_()
    again = wrapped(edition, cache)
    np.testing.assert_array_equal(speak(again, edition, voices[0]), first)
    assert runs(again) == (0, 0)


def test_fifty_threads_that_ask_for_a_cold_voice_encode_it_once(edition, cache, voices):
    tts = wrapped(edition, cache)
    args, kwargs = edition.arguments(str(voices[0]), "one", None)
    with ThreadPoolExecutor(50) as pool:
        heard = list(pool.map(lambda _: tts.infer(*args, **kwargs), range(50)))
    assert len(heard) == 50
    assert runs(tts) == edition.cold


def test_engines_that_share_a_cache_encode_a_cold_voice_once(edition, cache, voices):
    engines = [wrapped(edition, cache) for _ in range(4)]
    args, kwargs = edition.arguments(str(voices[0]), "one", None)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: engines[number % 4].infer(*args, **kwargs), range(16)))
    assert sum(tts.counts["encodes"] for tts in engines) == edition.cold[1]


def test_features_of_indextts2_survive_a_restart(edition, voices, tmp_path):
    counts = []
    for _ in range(2):
        with sayonce.open_sync(f"sqlite:///{tmp_path}/features.db") as cache:
            tts = wrapped(edition, cache)
            speak(tts, edition, voices[0])
            counts.append(runs(tts))
    assert counts == [edition.cold, (0, 0)]


def test_an_undecodable_reference_is_the_engines_own_matter(edition, cache, tmp_path, voices):
    (tmp_path / "voice.wav").write_bytes(b"no audio at all")
    tts, errors = wrapped(edition, cache), []
    for engine in (build(edition.cls), tts):
        with pytest.raises(Exception) as raised:
            speak(engine, edition, tmp_path / "voice.wav")
        errors.append(raised.type)
    assert errors[0] is errors[1]
    np.testing.assert_array_equal(speak(tts, edition, voices[0]), alone(edition, voices[0]))


def test_a_reference_that_cannot_be_identified_is_spoken_as_by_the_engine_alone(
    edition, cache, tmp_path, voices, caplog
):
    long = tmp_path / "long.wav"
    tts = wrapped(edition, cache)
    for voice in voices:
        speak(tts, edition, voices[0])
        data, rate = soundfile.read(voice)
        soundfile.write(long, np.tile(data, 1 + int(601 * rate / len(data))), rate, subtype="PCM_16")
        np.testing.assert_array_equal(speak(tts, edition, long), speak(build(edition.cls), edition, long))
    assert len([each for each in caplog.messages if each.startswith("indextts2: computed each time")]) == 1


async def test_an_async_cache_serves_engines_in_threads(edition, voices):
    async with sayonce.open("memory://") as cache:
        tts = wrapped(edition, cache)
        heard = await asyncio.gather(*(asyncio.to_thread(speak, tts, edition, voices[0]) for _ in range(40)))
        assert len(heard) == 40
        assert runs(tts) == edition.cold
        with pytest.raises(RuntimeError, match="from a thread"):
            speak(tts, edition, voices[0])


def test_an_async_cache_is_wrapped_within_its_loop(edition):
    with pytest.raises(RuntimeError, match="event loop"):
        wrapped(edition, sayonce.open("memory://"))


PROGRAM = """
import sys
import sayonce
from tests.engines.indextts2 import EDITIONS, build, loaded
from tests.unit.features.test_adapter_indextts2 import runs, speak
from tests.helpers.instances import patient_cache
for number in (0, 2):
    with loaded(EDITIONS[number]) as edition, sayonce.SyncCache(lambda: patient_cache(sys.argv[1])) as cache:
        tts = sayonce.adapters.indextts2.wrap(build(edition.cls), cache)
        print("ready", flush=True)
        sys.stdin.readline()
        speak(tts, edition, sys.argv[2])
        print(*runs(tts), flush=True)
"""


class Speaker:
    """A process of its own that speaks once with each of two editions, when it is told to, and says what it ran."""

    def __init__(self, url, voice):
        command = [sys.executable, "-c", PROGRAM, url, str(voice)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=ROOT)

    def line(self):
        found = self._process.stdout.readline().strip()
        assert found or self._process.poll() is None, self._process.communicate()[1]
        return found if found == "ready" or found[:1].isdigit() else self.line()

    def begin(self):
        assert self.line() == "ready"
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def runs(self):
        return tuple(map(int, self.line().split()))

    def end(self):
        _, told = self._process.communicate(timeout=60)
        assert self._process.returncode == 0, told


def spoken(url, voice, processes):
    """Let processes speak at the same moments; return what each ran for each edition."""
    speakers = [Speaker(url, voice) for _ in range(processes)]
    said = []
    for _ in range(2):
        for speaker in speakers:
            speaker.begin()
        said.append([speaker.runs() for speaker in speakers])
    for speaker in speakers:
        speaker.end()
    return said


@pytest.mark.timeout(300)
def test_processes_that_share_a_redis_encode_a_voice_once_and_after_a_restart_not_at_all(valkey, voices):
    with loaded(EDITIONS[0]), loaded(EDITIONS[2]):
        pass  # skipped, where they are not installed
    cold = spoken(valkey.url, voices[0], 2)
    assert [tuple(map(sum, zip(*runs, strict=True))) for runs in cold] == [(2, 2), (2, 2)]
    assert spoken(valkey.url, voices[0], 1) == [[(0, 0)], [(0, 0)]]


@of([edition for edition in EDITIONS if not edition.lang])
def test_the_example_of_indextts2_clones_voices(edition, cache, voices):
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("clone_voices", ROOT / "examples" / "clone_voices.py")
    example = module_from_spec(spec)
    spec.loader.exec_module(example)
    tts = wrapped(edition, cache)
    infer = tts.infer
    tts.infer = lambda voice, text, path: infer(voice, text, None)  # writing files needs FFmpeg's libraries
    assert len(example.clone(tts, list(voices), ["one", "two"])) == 4
    assert runs(tts) == (2 * edition.cold[0], 2 * edition.cold[1])
