"""Any exception of a remembered function reaches every caller, and the cache stays usable."""

import asyncio
import contextlib
import logging
import threading
from concurrent.futures import CancelledError as FutureCancelledError
from concurrent.futures import ThreadPoolExecutor

import pytest

import sayonce
from sayonce import adapters

SIGNALS = [StopIteration, StopAsyncIteration, GeneratorExit, SystemExit, KeyboardInterrupt, asyncio.CancelledError]
PATIENCE = 10


class Unusual(BaseException):
    """Cannot be pickled, copied or made anew."""

    def __init__(self, one, other):
        super().__init__()
        self.held = one, other, threading.Lock()


def raising(kind, ready=None):
    """A function that raises while others wait for it, and later gives a value."""

    def function(fail: bool) -> int:
        if not fail:
            return 1
        if ready is not None:
            assert ready.wait(PATIENCE)
        raise kind(1, 2) if kind is Unusual else kind("why")

    return function


def caught(function, *args):
    try:
        return function(*args)
    except BaseException as error:  # noqa: BLE001 (they are what is tested)
        return type(error)


@pytest.mark.parametrize("kind", [*SIGNALS, Unusual, FutureCancelledError])
def test_any_exception_of_a_plain_function_reaches_every_thread_that_asked(kind, caplog):
    ready = threading.Event()
    with sayonce.open_sync("memory://") as cache, ThreadPoolExecutor(4) as threads, caplog.at_level(logging.ERROR):
        function = cache.remember("f", revision="1")(raising(kind, ready))
        asked = [threads.submit(caught, function, True) for _ in range(4)]
        ready.set()
        assert {each.result(PATIENCE) for each in asked} == {kind}
        assert function(False) == 1
        assert caught(cache.fetch, "key", lambda: raising(kind)(True)) is kind
        assert caught(function.batch, [True]) is kind
        together = cache.remember("g", revision="1", batch=True)(lambda fails: [raising(kind)(each) for each in fails])
        assert caught(together, [True]) is kind
        assert function.batch([False]) == [1]
    assert not caplog.records


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, Unusual])
def test_any_exception_of_an_async_function_reaches_the_plain_caller(kind):
    with sayonce.open_sync("memory://") as cache:

        @cache.remember("f", revision="1")
        async def function(fail: bool) -> int:
            return raising(kind)(fail)

        assert caught(function, True) is kind
        assert function(False) == 1


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, asyncio.CancelledError, Unusual, StopAsyncIteration])
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_any_exception_of_a_function_reaches_the_tasks_that_asked(kind, asynchronous):
    async with sayonce.open("memory://") as cache, asyncio.timeout(PATIENCE):
        plain = raising(kind)

        async def coroutine(fail: bool) -> int:
            return plain(fail)

        function = cache.remember("f", revision="1")(coroutine if asynchronous else plain)

        async def ask():
            try:
                await function(True)
            except BaseException as error:  # noqa: BLE001 (they are what is tested)
                return type(error)

        assert await asyncio.gather(ask(), ask()) == [kind, kind]
        assert await function(False) == 1


async def test_stop_iteration_of_a_function_arrives_as_python_turns_it_in_a_coroutine():
    async with sayonce.open("memory://") as cache, asyncio.timeout(PATIENCE):
        function = cache.remember("f", revision="1")(raising(StopIteration))
        with pytest.raises(RuntimeError, match="StopIteration") as told:
            await function(True)
        assert isinstance(told.value.__cause__, StopIteration)
        assert await function(False) == 1


@pytest.mark.parametrize("kind", SIGNALS)
def test_any_exception_of_a_wrapped_engine_reaches_its_caller(kind):
    with sayonce.open_sync("memory://") as cache:
        assert caught(adapters.generic.wrap(raising(kind), cache, revision="1"), True) is kind


def test_an_exception_keeps_its_cause_and_context():
    with sayonce.open_sync("memory://") as cache:

        @cache.remember("f", revision="1")
        def function() -> int:
            try:
                raise KeyError("first")  # noqa: TRY301
            except KeyError:
                raise ValueError("second")  # noqa: B904

        with pytest.raises(ValueError, match="second") as told:
            function()
        assert isinstance(told.value.__context__, KeyError)
        assert told.value.__cause__ is None


async def test_a_caller_that_leaves_is_no_exception_of_the_computation():
    async with sayonce.open("memory://") as cache:
        begun, go_on = asyncio.Event(), asyncio.Event()

        @cache.remember("f", revision="1")
        async def function() -> int:
            begun.set()
            await go_on.wait()
            return 1

        first, second = asyncio.create_task(function()), asyncio.create_task(function())
        await begun.wait()
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await first
        go_on.set()
        assert await second == 1


def test_a_plain_function_that_asks_for_its_own_value_is_an_error():
    with sayonce.open_sync("memory://") as cache, ThreadPoolExecutor(2) as threads:
        meet = threading.Barrier(2)

        @cache.remember("itself", revision="1")
        def itself(x: int) -> int:
            return itself(x)

        @cache.remember("count", revision="1")
        def count(x: int) -> int:
            return 1 + count(x - 1) if x else 0

        @cache.remember("one", revision="1")
        def one(x: int) -> int:
            meet.wait(PATIENCE)
            return other(x)

        @cache.remember("other", revision="1")
        def other(x: int) -> int:
            meet.wait(PATIENCE)
            return one(x)

        @cache.remember("items", revision="1", batch=True)
        def items(xs: list[int]) -> list[int]:
            return items(xs)

        for each in (itself, items):
            with pytest.raises(RecursionError, match="asks for the value that it computes"):
                each([1] if each is items else 1)
        assert count(20) == 20
        asked = [threads.submit(caught, each, 1) for each in (one, other)]
        assert {each.result(PATIENCE) for each in asked} == {RecursionError}
        assert cache.fetch("key", lambda: b"value").body == b"value"


async def test_an_async_function_that_asks_for_its_own_value_is_an_error():
    async with sayonce.open("memory://") as cache, asyncio.timeout(PATIENCE):

        @cache.remember("itself", revision="1")
        async def itself(x: int) -> int:
            return await asyncio.create_task(via(x))

        @cache.remember("via", revision="1")
        async def via(x: int) -> int:
            return await itself(x)

        with pytest.raises(RecursionError, match="asks for the value that it computes"):
            await itself(1)
        with pytest.raises(RecursionError):
            await cache.fetch("key", lambda: cache.fetch("key", lambda: b""))
