"""Any function or method, wrapped: it runs once, and no two calls are confused."""

import asyncio
import threading

import numpy as np
import pytest

import sayonce
from sayonce.errors import InvalidRequest
from sayonce.features.adapters._reference import Reference
from tests.helpers.voice_samples import SAMPLES, alike, reference


class Encoder:
    def __init__(self):
        self.runs = 0

    def embed(self, path, scale=1.0):
        self.runs += 1
        return np.full(4, scale, np.float32)


@pytest.fixture
def cache():
    with sayonce.open_sync("memory://") as cache:
        yield cache


def test_a_method_of_one_object_is_replaced_and_the_object_returned(cache, tmp_path):
    (tmp_path / "a.wav").write_bytes(reference())
    (tmp_path / "b.flac").write_bytes(reference(container="FLAC"))
    encoder, other = Encoder(), Encoder()
    assert sayonce.adapters.generic.wrap(encoder, cache, "embed", revision="1", audio=("path",)) is encoder
    for name in ("a.wav", "b.flac"):
        np.testing.assert_array_equal(encoder.embed(tmp_path / name, scale=2.0), np.full(4, 2, np.float32))
    encoder.embed(tmp_path / "a.wav")
    other.embed(tmp_path / "a.wav")
    assert (encoder.runs, other.runs) == (2, 1)


def test_neither_name_nor_shape_nor_transcript_alone_is_a_voice(cache, tmp_path):
    runs = []

    def encode(path, transcript):
        runs.append((path.read_bytes(), transcript))
        return np.zeros(4)

    remembered = sayonce.adapters.generic.wrap(encode, cache, revision="1", audio=("path",))
    path = tmp_path / "alice.wav"
    asked = [(reference(samples), text) for samples in (SAMPLES, alike(SAMPLES), -SAMPLES) for text in ("sead", "said")]
    for audio, transcript in asked * 2:
        path.write_bytes(audio)
        remembered(path, transcript)
    assert runs == asked


def test_the_generic_adapter_wraps_a_function(cache):
    runs = []

    def encode(data: bytes) -> np.ndarray:
        runs.append(data)
        return np.frombuffer(data, np.uint8).copy()

    remembered = sayonce.adapters.generic.wrap(encode, cache, revision="1")
    assert [remembered(data).tolist() for data in (b"ab", b"ab", b"cd")] == [[97, 98], [97, 98], [99, 100]]
    assert runs == [b"ab", b"cd"]


def test_an_argument_without_exact_identity_reaches_the_function_each_time_with_one_warning(cache, caplog):
    given = []
    functions = [
        sayonce.adapters.generic.wrap(lambda thing: given.append(thing) or b"made", cache, name=name, revision="1")
        for name in ("one", "two")
    ]
    thing = object()
    assert [function(thing) for function in functions for _ in range(2)] == [b"made"] * 4
    assert given == [thing] * 4
    assert [record.message.partition(":")[0] for record in caplog.records] == ["one", "two"]


async def test_a_full_pool_of_waiting_callers_does_not_starve_the_computation():
    begin = threading.Event()

    def encode(data: bytes) -> bytes:
        begin.wait(10)
        return data

    async with sayonce.open("memory://") as cache:
        remembered = sayonce.adapters.generic.wrap(encode, cache, revision="1")
        waiting = [asyncio.create_task(asyncio.to_thread(remembered, b"same")) for _ in range(100)]
        await asyncio.sleep(0)
        begin.set()
        assert await asyncio.wait_for(asyncio.gather(*waiting), 10) == [b"same"] * 100
        assert cache.counters["led"] == 1


def test_a_reference_that_is_overwritten_meanwhile_is_an_error_and_not_another_voice(tmp_path):
    path = tmp_path / "voice.wav"
    path.write_bytes(reference())
    looked_at = Reference.of(path)
    path.write_bytes(reference(SAMPLES[::-1]))
    with pytest.raises(InvalidRequest, match="overwritten"), looked_at.file():
        pass


def test_a_reference_given_as_bytes_is_lent_as_a_file():
    with Reference.of(reference()).file() as path:
        assert sayonce.Voice.from_audio(path) == sayonce.Voice.from_audio(reference())
