"""Many requests for a few voices: each is answered rightly, and encodes once, while Redis hangs and after it is gone."""

import asyncio
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import sayonce
from sayonce.features.library import SyncCache
from tests.helpers.deployments import Node, wait_until
from tests.helpers.instances import patient_cache
from tests.helpers.voice_samples import SAMPLES, reference

VOICES = 30
REFERENCES = [reference(SAMPLES + number) for number in range(VOICES)]
ASKED = random.Random(1).choices(range(VOICES), [1 / rank for rank in range(1, VOICES + 1)], k=400)


class Encoder:
    """Embeds a reference as something that only this reference gives, and counts its runs."""

    def __init__(self):
        self.runs = Counter()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, audio: bytes):
        self.runs[audio] += 1
        assert self.gate.wait(20)
        return embedding(audio)


def embedding(audio):
    return np.random.default_rng(list(audio[-400:])).standard_normal(256, np.float32)


@pytest.mark.parametrize("trouble", [Node.stop, Node.kill])
async def test_a_redis_in_trouble_amid_hot_voices_costs_no_answer_and_no_second_run(tmp_path, trouble):
    encoder, asked = Encoder(), iter(list(enumerate(ASKED)))
    troubled_at = len(ASKED) // 4
    with Node(tmp_path).running() as node:
        async with sayonce.open(node.url) as cache:
            embed = cache.remember("speaker", revision="1", audio=("audio",))(encoder)

            async def client():
                for number, voice in asked:
                    if number == troubled_at:
                        trouble(node)
                    np.testing.assert_array_equal(await embed(REFERENCES[voice]), embedding(REFERENCES[voice]))

            await asyncio.gather(*(client() for _ in range(16)))
            assert cache.counters["store skipped"]
            before_trouble, all_voices = set(ASKED[:troubled_at]), set(ASKED)
            assert before_trouble < all_voices
            assert encoder.runs == dict.fromkeys((REFERENCES[voice] for voice in all_voices), 1)


def test_threads_are_answered_while_redis_hangs_and_hit_again_once_it_goes_on(tmp_path):
    encoder = Encoder()
    with (
        Node(tmp_path).running() as node,
        sayonce.open_sync(node.url, memory_bytes=0) as cache,
        ThreadPoolExecutor(16) as threads,
    ):
        embed = cache.remember("speaker", revision="1", audio=("audio",))(encoder)
        happens = {len(ASKED) // 4: node.stop, 3 * len(ASKED) // 4: node.cont}

        def ask(number):
            happens.get(number, int)()
            audio = REFERENCES[ASKED[number]]
            np.testing.assert_array_equal(embed(audio), embedding(audio))

        list(threads.map(ask, range(len(ASKED))))
        assert cache.counters["store skipped"]
        assert cache.counters["hit"] + cache.counters.get("joined", 0) + cache.counters["led"] == len(ASKED)
        wait_until(lambda: is_hit(cache, embed, REFERENCES[0]))


def is_hit(cache, embed, audio):
    before = cache.counters["hit"]
    embed(audio)
    return cache.counters["hit"] > before


async def test_fifty_threads_and_fifty_tasks_that_ask_for_a_cold_voice_encode_it_once(valkey):
    encoder, options = Encoder(), {"revision": "1", "audio": ("audio",)}
    encoder.gate.clear()
    with SyncCache(lambda: patient_cache(valkey.url)) as plain, ThreadPoolExecutor(50) as threads:
        async with patient_cache(valkey.url) as cache:
            of_threads, of_tasks = (each.remember("speaker", **options)(encoder) for each in (plain, cache))

            def counted(name):
                return sum(each.counters.get(name, 0) for each in (plain, cache))

            asked = [asyncio.wrap_future(threads.submit(of_threads, REFERENCES[0])) for _ in range(50)]
            asked += [asyncio.create_task(of_tasks(REFERENCES[0])) for _ in range(50)]
            async with asyncio.timeout(20):
                while (counted("flights: joined"), counted("flights: followed")) != (
                    98,
                    1,
                ) and encoder.runs.total() < 2:
                    await asyncio.sleep(0.01)
            encoder.gate.set()
            found = await asyncio.gather(*asked)
    assert encoder.runs == {REFERENCES[0]: 1}
    assert all(np.array_equal(each, embedding(REFERENCES[0])) for each in found)
