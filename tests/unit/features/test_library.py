"""What ``import sayonce`` offers: lazily, completely, and to plain code as well."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from datetime import timedelta

import numpy as np
import pytest

import sayonce
from sayonce.cache import Made
from sayonce.cache.lookup import never
from sayonce.core.cache_control import DEFAULT
from tests.helpers.paths import ROOT

HEAVY = ("numpy", "redis", "soundfile", "starlette", "httpx", "cryptography", "msgspec", "asyncio", "torch")


def run_python(code, **options):
    """Run a program of its own; a hang is a failure."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=False, capture_output=True, text=True, timeout=30, **options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_everything_public_is_named_in_order_and_resolves():
    assert sayonce.__all__ == sorted(sayonce.__all__)
    assert all(getattr(sayonce, name) is not None for name in sayonce.__all__)
    assert set(sayonce.__all__) <= set(dir(sayonce))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = sayonce.nothing


def test_every_error_is_public():
    from sayonce import errors

    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert kinds <= set(sayonce.__all__)
    assert all(getattr(sayonce, name) is getattr(errors, name) for name in kinds)


def test_importing_the_library_loads_nothing_that_is_not_used():
    loaded = run_python("import sys, sayonce; print(*sys.modules)").split()
    assert not set(HEAVY) & set(loaded)


def test_importing_the_library_takes_less_than_150_ms():
    code = "import time; t = time.process_time(); import sayonce; print(time.process_time() - t)"
    assert min(float(run_python(code)) for _ in range(3)) < 0.15


def test_the_store_that_is_not_used_is_not_loaded():
    code = "import sys, sayonce; sayonce.open('memory://'); print(*sys.modules)"
    assert "redis" not in run_python(code).split()


async def test_open_gives_a_cache_for_async_code(tmp_path):
    url = f"sqlite:///{tmp_path}/c.db"
    async with sayonce.open(url, namespace="n", secret="s", ttl=timedelta(hours=1), memory_bytes=1000) as cache:
        assert isinstance(cache, sayonce.Cache)
        assert (await cache.fetch({"text": "hello"}, lambda: b"sound")).body == b"sound"
        assert (cache.namespace, cache.ttl, cache.memory._entries.max_bytes) == ("n", timedelta(hours=1), 1000)
        await cache.settle()
    for secret, namespace, found in ((b"s", "n", b"sound"), ("other", "n", b"new"), ("s", "m", b"new")):
        async with sayonce.open(url, secret=secret, namespace=namespace) as cache:
            assert (await cache.fetch({"text": "hello"}, lambda: b"new")).body == found


@pytest.mark.parametrize("opened", [sayonce.open, sayonce.open_sync])
def test_a_wrong_url_says_what_is_right(opened):
    with pytest.raises(sayonce.ConfigError, match="valid store URLs"):
        opened("reddis://localhost")


@pytest.mark.parametrize("opened", [sayonce.open, sayonce.open_sync])
@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("url", "sqlite:///a\0b", "a text such as sqlite"),
        ("url", "sqlite:///\udcff.db", "a text such as sqlite"),
        ("secret", "\udcff", "bytes or a text"),
        ("ttl", timedelta.max, "up to a million days"),
        ("url", 5, "a text such as sqlite:///"),
        ("namespace", 5, "a text, not 5"),
        ("secret", 5, "bytes or a text"),
        ("secret", b"", "not empty"),
        ("secret", "", "not empty"),
        ("memory_bytes", "256 MB", r"a number of bytes \(int\)"),
        ("memory_bytes", -1, "at least 0, not -1"),
        ("memory_bytes", True, "a number of bytes"),
        ("ttl", 60, "a timedelta above 0"),
        ("ttl", None, "a timedelta above 0"),
        ("ttl", timedelta(0), "a timedelta above 0"),
    ],
)
def test_a_wrong_argument_of_a_cache_is_refused_when_it_is_opened(opened, name, wrong, right):
    with pytest.raises(sayonce.InvalidRequest, match=f"'{name}' must be .*{right}") as refused:
        opened(**{"url": "memory://", name: wrong})
    assert refused.value.param == name


def test_no_password_of_a_wrong_argument_is_repeated():
    for wrong in ({"url": b"redis://:hidden@h"}, {"secret": ["hidden"]}):
        with pytest.raises(sayonce.InvalidRequest) as refused:
            sayonce.open(**{"url": "memory://", **wrong})
        assert "hidden" not in refused.value.message


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("revision", 3, "a text, not 3"),
        ("revision", "\udcff", "a text, not "),
        ("name", "\udcff", "a text, not "),
        ("ttl", timedelta.max, "a timedelta above 0 and up to a million days"),
        ("ttl", "7d", "a timedelta above 0"),
        ("ttl", timedelta(seconds=-1), "a timedelta above 0"),
        ("tags", 5, "in a tuple such as"),
        ("tags", "ab", "in a tuple such as"),
        ("tags", [5], "in a tuple such as"),
        ("tags", iter([5]), "in a tuple such as"),
        ("ignore", "x", "names of parameters"),
        ("content", 5, "names of parameters"),
        ("batch", "yes", "True or False"),
        ("spec", 5, "types and shapes"),
        ("spec", {"style": ("float33", (1,))}, "types and shapes"),
        ("spec", {"style": ("float32", 192)}, "types and shapes"),
        ("expected_bytes", "5 MB", "a number of bytes"),
        ("device", 3, "a device of torch, such as 'cuda:0'"),
        ("device", "graphics card", "a device of torch, such as 'cuda:0'"),
        ("returns", 3, "a type, such as np.ndarray"),
        ("storage", "float8", "'float16', or left out, not 'float8'"),
    ],
)
def test_a_wrong_option_of_a_function_is_refused_when_it_is_remembered(cache, name, wrong, right):
    with pytest.raises(sayonce.InvalidRequest, match=f"'{name}' must be .*{right}") as refused:
        cache.remember(**{"name": "f", "revision": "1", name: wrong})(lambda x: x)
    assert refused.value.param == name


def test_an_option_that_there_is_not_is_refused_and_the_others_named(cache):
    for name in ("tag", "wanted", "given"):
        with pytest.raises(sayonce.InvalidRequest, match=rf"'{name}' is no argument here; .*\btags\b"):
            cache.remember("f", revision="1", **{name: ("a",)})(lambda x: x)


async def test_a_wrong_argument_of_fetch_is_refused_before_anything_is_computed(cache):
    def compute():
        raise AssertionError

    for wrong in ({"ttl": 60}, {"tags": "ab"}, {"compute": b"a value"}):
        given = {"compute": compute, **wrong}
        with pytest.raises(sayonce.InvalidRequest, match="must be"):
            cache.fetch("k", **given)
        async with sayonce.open("memory://") as other:
            with pytest.raises(sayonce.InvalidRequest, match="must be"):
                await other.fetch("k", **given)


def test_every_valid_option_of_a_remembered_function_is_taken(cache):
    tags = (tag for tag in ("a", "b"))
    spec = {"style": ("float32", (1, None)), "all": [(np.float16, [3]), ("bfloat16", ())]}
    options = {"ignore": ["x"], "spec": spec, "copy": True, "device": "cpu", "expected_bytes": np.int64(5)}
    task = cache.remember("f", revision="1", tags=tags, ttl=timedelta(1), storage="float16", **options)(
        lambda x: x
    )._task
    lookup = task.lookup(task.key(cache, (1,), {}), DEFAULT, never)
    assert (lookup.ttl, lookup.tags) == (timedelta(1), ("a", "b"))


def test_a_store_that_cannot_be_opened_leaves_no_thread_behind(tmp_path):
    before = threading.active_count()
    with pytest.raises(sayonce.ConfigError, match="directory"):
        sayonce.open_sync(f"sqlite:///{tmp_path}/missing/c.db")
    assert threading.active_count() == before


@pytest.fixture
def cache():
    with sayonce.open_sync("memory://") as cache:
        yield cache


def test_the_cache_for_plain_code_has_the_methods_of_the_async_one(cache):
    entry = cache.fetch("k", lambda: Made(body=b"v", media_type="text/plain"), tags=["t"], ttl=timedelta(1))
    assert (entry.body, entry.media_type) == (b"v", "text/plain")
    assert cache.fetch(cache.key("k"), lambda: b"other").body == b"v"
    cache.settle()
    assert cache.counters["hit"] == 1
    assert cache.purge("t") == "every instance"
    assert cache.fetch("k", lambda: b"new").body == b"new"
    cache.settle()
    assert (cache.delete(cache.key("k")), cache.delete(cache.key("k"))) == (True, False)
    cache.fetch("k", lambda: b"v")
    assert cache.clear() == 1


def test_the_cache_for_plain_code_has_everything_that_users_call():
    used = {"fetch", "remember", "key", "purge", "delete", "clear", "settle", "close", "counters"}
    assert used <= set(dir(sayonce.SyncCache))
    assert used - {"counters"} <= set(dir(sayonce.Cache))


def test_fifty_threads_that_ask_for_a_cold_value_compute_it_once(cache):
    runs, start = [], threading.Barrier(50)

    @cache.remember("f", revision="1")
    def encode(image: bytes):
        runs.append(image)
        return np.frombuffer(image, np.uint8)

    def ask(_):
        start.wait(10)
        return encode(b"image").tobytes()

    with ThreadPoolExecutor(50) as threads:
        assert set(threads.map(ask, range(50))) == {b"image"}
    assert runs == [b"image"]


def test_remembered_functions_of_plain_code_are_plain(cache):
    @cache.remember("plain", revision="1")
    def plain(x: int) -> int:
        return x + 1

    @cache.remember("async", revision="1")
    async def asynchronous(x: int) -> int:
        await asyncio.sleep(0)
        return x + 2

    @cache.remember("batch", revision="1", batch=True)
    def batch(items: list) -> list:
        return [item * 2 for item in items]

    assert (plain(1), asynchronous(1), batch([1, 2]), plain.batch([1, 2, 3])) == (2, 3, [2, 4], [2, 3, 4])
    assert (plain.cached(1), plain.cached(9), plain.forget(1), plain.cached(1)) == (True, False, True, False)
    assert len(plain.key(1)) == 32

    class Model:
        @cache.remember("method", revision="1", ignore=("self",))
        def encode(self, x: int) -> int:
            return x * 3

    assert Model().encode(2) == 6


def test_errors_of_a_computation_arrive_as_they_were_raised(cache):
    class OwnError(Exception):
        pass

    def fails():
        raise OwnError("mine")

    with pytest.raises(OwnError, match="mine"):
        cache.fetch("k", fails)
    with pytest.raises(sayonce.Unkeyable):
        cache.fetch({1, 2}, lambda: b"")


def test_a_computation_may_ask_for_another_one(cache):
    @cache.remember("inner", revision="1")
    def inner(x: int) -> int:
        return x + 1

    @cache.remember("outer", revision="1")
    def outer(x: int) -> int:
        return inner(x) * 10

    with ThreadPoolExecutor(40) as threads:
        assert list(threads.map(outer, range(40))) == [(x + 1) * 10 for x in range(40)]


def test_waiting_for_oneself_is_an_error_and_no_deadlock(cache):
    async def within():
        return cache.fetch("inner", lambda: b"v").body

    with pytest.raises(RuntimeError, match="would wait for itself"):
        cache.fetch("outer", within)


async def test_plain_code_within_a_running_event_loop_does_not_deadlock():
    with sayonce.open_sync("memory://") as cache:
        assert cache.fetch("k", lambda: b"v").body == b"v"


def test_closing_a_cache_is_idempotent_and_finishes_computations_under_way(tmp_path):
    url = f"sqlite:///{tmp_path}/c.db"
    cache = sayonce.open_sync(url)
    begun, gate = threading.Event(), threading.Event()

    def slow():
        begun.set()
        assert gate.wait(10)
        return b"slow"

    with ThreadPoolExecutor(3) as threads:
        asked = threads.submit(cache.fetch, "k", slow)
        assert begun.wait(10)
        closing = [threads.submit(cache.close) for _ in range(2)]
        gate.set()
        assert asked.result(10).body == b"slow"
        for each in closing:
            each.result(10)
    cache.close()
    with pytest.raises(RuntimeError, match="the cache is closed"):
        cache.fetch("k", slow)
    with sayonce.open_sync(url) as again:
        assert again.fetch("k", lambda: b"lost").body == b"slow"


def test_an_interrupted_caller_leaves_and_the_value_is_still_kept(cache):
    gate, caller = threading.Event(), threading.main_thread().ident
    # As in any program: an event loop of an earlier test may have left it so that it interrupts no wait (siginterrupt).
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def work():
        while sys._current_frames()[caller].f_code.co_name != "wait":
            time.sleep(0.01)
        time.sleep(0.1)  # Python looks for signals before it waits, and misses one that comes in between
        signal.pthread_kill(caller, signal.SIGINT)
        assert gate.wait(10)
        return b"v"

    with pytest.raises(KeyboardInterrupt):
        cache.fetch("k", work)
    gate.set()
    assert cache.fetch("k", lambda: b"other").body == b"v"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_computation_that_exits_leaves_nobody_waiting():
    cache = sayonce.open_sync("memory://")
    with pytest.raises((SystemExit, CancelledError)):
        cache.fetch("k", sys.exit)
    cache.close()
    with pytest.raises(RuntimeError, match="the cache is closed"):
        cache.fetch("k", sys.exit)


CHILD = """
import os, sayonce
cache = sayonce.open_sync({url!r})
@cache.remember("f", revision="1")
def f(x: int) -> int:
    return os.getpid()
parent = f(1)
cache.settle()
child = os.fork()
if child == 0:
    try:
        assert f(1) == parent
        assert f(2) == os.getpid()
        cache.close()
        os._exit(0)
    finally:
        os._exit(1)
assert os.waitpid(child, 0)[1] == 0
assert f(2) == child
assert f(3) == parent
cache.close()
print("ok")
"""


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_a_forked_child_works_and_leaves_its_parent_working(tmp_path, valkey, store):
    url = f"sqlite:///{tmp_path}/c.db" if store == "sqlite" else valkey.url
    assert run_python(CHILD.format(url=url)) == "ok"


@pytest.mark.parametrize("url", ["memory://", "sqlite:///c.db"])
def test_an_interpreter_that_exits_without_closing_does_not_hang(tmp_path, url):
    code = f"import sayonce; c = sayonce.open_sync({url!r}); print(c.fetch('k', lambda: b'v').body)"
    assert run_python(code, cwd=tmp_path) == "b'v'"


def test_types_are_what_strict_users_expect():
    mypy = pytest.importorskip("mypy.api")
    out, err, status = mypy.run(
        ["--strict", "--config-file", os.fspath(ROOT / "pyproject.toml"), os.fspath(ROOT / "tests/typing/library.py")]
    )
    assert status == 0, out + err


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_cache_keeps_in_its_store_in_one_event_loop_after_the_other(kind, tmp_path, valkey):
    """As ``asyncio.run`` makes them, and notebooks; it is entered and left in each."""
    url = f"sqlite:///{tmp_path}/c.db" if kind == "sqlite" else valkey.url
    computed = []

    async def fetched(cache, number):
        async with cache:
            await cache.fetch([number], lambda: computed.append(number) or b"value")
            await cache.settle()

    cache = sayonce.open(url, memory_bytes=0)
    for number in (0, 1, 2, 0, 1, 2):
        asyncio.run(fetched(cache, number))
    for number in (0, 1, 2):
        asyncio.run(fetched(sayonce.open(url, memory_bytes=0), number))
    assert computed == [0, 1, 2]
