import asyncio
import gc
import threading

import pytest

from sayonce.errors import EngineError, InvalidRequest
from sayonce.speech.engines import Voice
from sayonce.speech.engines.local import CHUNKS_AHEAD, Abandoned, LocalEngine
from tests.helpers.engine_speech import hear, pcm, utterance


class Model(LocalEngine):
    """A model that a test holds by the hand."""

    kind = "model"
    sample_rate_hz = 8_000
    default_voice = "one"

    def __init__(self) -> None:
        super().__init__("model")
        self.go = threading.Event()
        self.made = 0
        self.begun: list[str] = []
        self.gone = threading.Event()
        self.threads: set[str] = set()
        self.fails: Exception | None = None

    def identity(self):
        return {}

    def voices(self):
        return (Voice("one"),)

    def load_model(self):
        if self.fails:
            raise self.fails
        self.threads.add(threading.current_thread().name)

    def speak(self, utterance, emit):
        self.threads.add(threading.current_thread().name)
        self.begun.append(utterance.text)
        emit(b"first")
        self.go.wait()
        if self.fails:
            raise self.fails
        try:
            for number in range(int(utterance.text)):
                emit(b"%d" % number)
                self.made += 1
        except Abandoned:
            self.gone.set()
            raise


@pytest.fixture
async def model():
    engine = Model()
    await engine.load()
    yield engine
    engine.go.set()
    await engine.close()


async def test_a_chunk_of_a_local_engine_is_heard_while_the_model_still_works(model):
    speech = model.synthesize(utterance(model, "2"))
    assert (await anext(speech)).sample_rate_hz == 8_000
    assert await anext(speech) == b"first"
    model.go.set()
    assert [chunk async for chunk in speech] == [b"0", b"1"]


async def test_the_event_loop_runs_while_the_model_works(model):
    speech = asyncio.create_task(pcm(model, "1"))
    for _ in range(100):
        await asyncio.sleep(0)
    model.go.set()
    assert await speech == b"first0"
    assert threading.current_thread().name not in model.threads


async def test_the_model_is_only_so_far_ahead_of_its_listener(model):
    model.go.set()
    speech = model.synthesize(utterance(model, "1000"))
    assert [await anext(speech) for _ in range(3)][-1] == b"0"
    assert model.made <= CHUNKS_AHEAD + 3
    assert len([chunk async for chunk in speech]) == 999


async def test_a_model_whose_listener_has_gone_stops_soon(model):
    model.go.set()
    speech = model.synthesize(utterance(model, "1000000"))
    assert [await anext(speech) for _ in range(2)]
    await speech.aclose()
    assert await asyncio.to_thread(model.gone.wait, 10)
    assert model.made < 1000


async def test_an_utterance_that_is_cancelled_while_it_waits_for_a_thread_is_never_spoken(model):
    first = asyncio.create_task(pcm(model, "1"))
    second = asyncio.create_task(pcm(model, "1000"))
    for _ in range(10):
        await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    model.go.set()
    assert await first == b"first0"
    await model.load()  # runs behind it, in the one thread
    assert model.begun == ["1"]


async def test_a_models_exception_is_the_engines_error_and_says_what_it_was(model):
    model.fails = RuntimeError("out of memory")
    model.go.set()
    with pytest.raises(EngineError, match="'model' failed: RuntimeError: out of memory"):
        await hear(model, "1")


async def test_a_model_that_cannot_be_loaded_is_the_engines_error(model):
    model.fails = OSError("no weights")
    with pytest.raises(EngineError, match="'model' failed: OSError: no weights"):
        await model.load()


async def test_an_error_of_ours_that_a_model_raises_stays_what_it_is(model):
    model.fails = InvalidRequest("nothing to speak", param="input")
    model.go.set()
    with pytest.raises(InvalidRequest):
        await hear(model, "1")


async def test_the_failure_of_an_abandoned_utterance_is_not_logged(model, caplog):
    model.fails = RuntimeError("too late")
    speech = model.synthesize(utterance(model, "1"))
    assert [await anext(speech) for _ in range(2)]
    model.go.set()
    with pytest.raises(EngineError):
        await model.load()  # runs behind it, in the one thread
    await speech.aclose()
    del speech
    gc.collect()
    assert not caplog.records


async def test_closing_a_local_engine_twice_is_harmless(model):
    await model.close()
    await model.close()
