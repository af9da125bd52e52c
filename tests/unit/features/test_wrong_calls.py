"""A caller's mistake is told to the caller in words of the library's, and logged nowhere."""

import pytest

import sayonce


@pytest.fixture
def cache():
    with sayonce.open_sync("memory://") as cache:
        yield cache


@pytest.mark.parametrize("opened", [sayonce.open, sayonce.open_sync])
def test_an_argument_of_a_cache_that_there_is_not_is_refused_and_the_others_named(opened):
    with pytest.raises(sayonce.InvalidRequest, match=r"'foo' is no argument here; .*\bnamespace\b") as refused:
        opened("memory://", foo=1)
    assert refused.value.param == "foo"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_computation_that_returns_another_type_than_bytes_is_told_to_its_caller_and_not_logged(
    cache, caplog, asynchronous
):
    async def later():
        return "text"

    with pytest.raises(TypeError, match=r"'compute' must return bytes.* a str"):
        cache.fetch("k", later if asynchronous else lambda: "text")
    assert not caplog.records


def test_a_batch_that_returns_too_few_values_is_told_to_its_caller_and_not_logged(cache, caplog):
    first = cache.remember("first", revision="1", batch=True)(lambda items: items[:1])
    with pytest.raises(TypeError, match="1 values for 2 items"):
        first([1, 2])
    assert not caplog.records


async def test_after_closing_a_remembered_function_says_that_its_cache_is_closed(caplog, tmp_path):
    (tmp_path / "file").write_bytes(b"content")

    async def later(x):
        return x

    async with sayonce.open("memory://") as cache:
        plain = cache.remember("plain", revision="1")(lambda x: x)
        coroutine = cache.remember("async", revision="1")(later)
        of_file = cache.remember("file", revision="1", content=("x",))(lambda x: 1)
    for call in (plain(1), coroutine(1), plain.batch([1]), of_file(tmp_path / "file"), cache.fetch("k", bytes)):
        with pytest.raises(RuntimeError, match="the cache is closed"):
            await call
    assert not caplog.records
