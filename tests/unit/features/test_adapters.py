"""What holds for the adapters of all engines; the engines are bare stand-ins, so that no test needs torch."""

import asyncio
import copy
import io
import multiprocessing
import os
import pickle

import pytest

import sayonce
from sayonce import adapters
from sayonce.features import travel as travelling
from sayonce.features.adapters._compiled import compiled
from tests.helpers.bare_engines import WRAPS, Engine


@pytest.fixture
def cache():
    with sayonce.open_sync("memory://") as cache:
        yield cache


@pytest.mark.parametrize("name", WRAPS)
def test_an_engine_that_is_wrapped_again_is_refused_and_stays_as_it_is(cache, name):
    wrap, engine = WRAPS[name], Engine()
    assert wrap(engine, cache, revision="1") is engine
    methods = dict(vars(engine))
    assert methods
    with pytest.raises(RuntimeError, match="remembers its values already: wrap it once"):
        wrap(engine, cache, revision="1")
    assert vars(engine) == methods
    wrap(Engine(), cache, revision="1")


def test_every_adapter_is_tested_for_being_wrapped_twice():
    assert set(WRAPS) == {name for name in adapters.__all__ if hasattr(getattr(adapters, name), "wrap")}


def test_a_function_that_is_wrapped_again_is_refused(cache):
    wrapped = adapters.generic.wrap(len, cache, revision="1")
    with pytest.raises(RuntimeError, match="wrap it once"):
        adapters.generic.wrap(wrapped, cache, revision="1")


def test_a_reference_that_cannot_be_identified_goes_to_any_engine_with_one_warning(cache, caplog):
    engine = Engine()
    seen = []
    engine.get_conditioning_latents = lambda audio_path, gpt_cond_len=30: seen.append(audio_path) or b"latents"
    engine.embed_utterance = lambda wav, *_: seen.append(wav) or 1.0
    adapters.xtts.wrap(engine, cache, revision="1")
    adapters.resemblyzer.wrap(engine, cache, revision="1")
    for odd in (("a.wav", "b.wav"), io.BytesIO(b"RIFF"), b"no sound", object()):
        assert engine.get_conditioning_latents(odd) == b"latents"
        assert seen[-1] is odd
    assert engine.get_conditioning_latents([b"no sound"]) == b"latents"
    assert engine.embed_utterance(seen[-2]) == 1.0
    assert len([each for each in caplog.messages if each.startswith("xtts: computed each time")]) == 1


@pytest.mark.parametrize("name", WRAPS)
@pytest.mark.parametrize(
    "travel", [copy.deepcopy, lambda engine: pickle.loads(pickle.dumps(engine))], ids=["copy", "pickle"]
)
def test_a_wrapped_engine_travels_and_is_wrapped_again_where_it_arrives(cache, name, travel):
    here = WRAPS[name](Engine(), cache, revision="1")
    there = travel(travel(here))
    assert there is not here
    assert set(vars(there)) == set(vars(here))
    with pytest.raises(RuntimeError, match="wrap it once"):
        WRAPS[name](there, cache, revision="1")


def test_an_engine_remembers_where_it_arrives_and_its_own_methods_stay_its_own(tmp_path):
    with sayonce.open_sync(f"sqlite:///{tmp_path}/cache.db") as cache:
        here = adapters.generic.wrap(Speaker(), cache, "embed", revision="1")
        assert here.embed(b"x") == os.getpid()
        assert elsewhere(here, "embed", b"x") == [os.getpid()] * 2
        first, second = elsewhere(here, "embed", b"y")
        assert first == second != os.getpid()
        assert here.embed(b"y") == first


async def test_an_engine_that_was_wrapped_with_an_async_cache_blocks_where_it_arrives(tmp_path):
    async with sayonce.open(f"sqlite:///{tmp_path}/cache.db") as cache:
        engine = adapters.generic.wrap(Speaker(), cache, "embed", revision="1")
        first, second = await asyncio.to_thread(elsewhere, engine, "embed", b"x")
        assert first == second != os.getpid()
        assert await asyncio.to_thread(engine.embed, b"x") == first


def test_the_secret_does_not_travel_with_an_engine(tmp_path):
    with sayonce.open_sync(f"sqlite:///{tmp_path}/cache.db", secret="it stays here") as cache:
        engine = adapters.generic.wrap(Speaker(), cache, "embed", revision="1")
        assert b"it stays here" not in pickle.dumps(engine)
        assert pickle.loads(pickle.dumps(engine)).embed(b"x") == os.getpid()


class Speaker:
    def embed(self, data: bytes) -> int:
        return os.getpid()


def elsewhere(engine, method, argument):
    """Call a method twice in a spawned process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(call_twice, (engine, method, argument))


def call_twice(engine, method, argument):
    values = [getattr(engine, method)(argument) for _ in range(2)]
    for cache in travelling._here.values():
        cache.settle()  # the pool ends this process at once, in the middle of a write
    return values


NOTEBOOK = """
import sayonce
class Base:
    device = "cpu"
    def embed_utterance(self, wav, return_partials=False, rate=1.3, min_coverage=0.75):
        return helper()
class Encoder(Base):
    pass
def helper():
    return {value}
"""


def test_the_code_of_a_notebook_is_told_apart_as_it_is_compiled(cache):
    heard = []
    for value in (1.0, 2.0, 1.0):
        cells = {"__name__": "no_such_module"}
        exec(NOTEBOOK.format(value=value), cells)
        encoder = adapters.resemblyzer.wrap(cells["Encoder"](), cache, revision="1")
        heard += [encoder.embed_utterance(b"x"), compiled(cells["Encoder"])]
    assert heard[0::2] == [1.0, 2.0, 1.0]
    assert heard[1] != heard[3]
    assert heard[1] == heard[5]


@pytest.mark.parametrize(
    ("adapter", "param"),
    [
        ("chatterbox", "engine"),
        ("cosyvoice", "engine"),
        ("index_tts_onnx", "engine"),
        ("indextts2", "engine"),
        ("resemblyzer", "encoder"),
        ("xtts", "model"),
    ],
)
def test_an_object_that_an_adapter_is_not_for_is_refused_and_the_right_kind_named(adapter, param):
    cache = sayonce.open_sync("memory://")
    with cache, pytest.raises(sayonce.InvalidRequest, match=f"'{param}' must be .* has no method") as refused:
        getattr(sayonce.adapters, adapter).wrap(object(), cache)
    assert refused.value.param == param


def test_a_wrong_target_or_cache_of_the_generic_adapter_is_refused():
    with sayonce.open_sync("memory://") as cache:
        for target, given, method, param in (
            (3, cache, None, "target"),
            (object(), cache, "embed", "target"),
            (len, None, None, "cache"),
        ):
            with pytest.raises(sayonce.InvalidRequest, match=f"'{param}' must be ") as refused:
                sayonce.adapters.generic.wrap(target, given, method, revision="1")
            assert refused.value.param == param
