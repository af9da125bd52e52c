"""Remembered functions go to other processes by pickle, and use a cache of their own there."""

import asyncio
import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import sayonce
from sayonce.cache.lookup import never
from sayonce.core.cache_control import DEFAULT
from tests.helpers.paths import ROOT

URL = os.environ.get("SAYONCE_TEST_URL", "memory://")
cache = sayonce.open_sync(URL)


@cache.remember("process", revision="1")
def process(x: int) -> int:
    return os.getpid()


def plain(x: int) -> int:
    return os.getpid()


class Model:
    factor = 3

    @cache.remember("method", revision="1", ignore=("self",))
    def scale(self, x: int) -> int:
        return x * self.factor


PROGRAM = """
import os, pickle, sys
print(pickle.loads(sys.stdin.buffer.read())(1), os.getpid())
"""


def call_elsewhere(pickled, **environment):
    """Call a pickled function in a new process; return what it gives, and the process."""
    path = os.pathsep.join([str(ROOT), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=pickled,
        capture_output=True,
        check=False,
        timeout=60,
        env=os.environ | {"PYTHONPATH": path} | environment,
    )
    return done.stdout.decode().split() or done.stderr.decode()


def open_files(directory):
    """Return the names of the files below a directory that this process has open."""
    links = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [link for link in links if link.is_relative_to(directory)]


def test_a_spawned_process_calls_a_remembered_function(tmp_path):
    with sayonce.open_sync(f"sqlite:///{tmp_path}/cache.db") as shared:
        remembered = shared.remember("pid", revision="1")(plain)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            first = pool.apply(remembered, (1,))
            assert first != os.getpid()
            assert pool.apply(process, (1,)) not in (os.getpid(), None)
        assert remembered(1) == first, "what the other process computed is shared through the store"


def test_functions_methods_and_copies_travel_by_pickle():
    assert pickle.loads(pickle.dumps(process))(1) == process(1)
    assert pickle.loads(pickle.dumps(process)).key(1) == process.key(1)
    assert pickle.loads(pickle.dumps(Model().scale))(2) == 6
    assert copy.deepcopy(process)(1) == copy.copy(process)(1) == process(1)
    value, pid = call_elsewhere(pickle.dumps(process))
    assert value == pid


def test_options_of_a_remembered_function_that_can_be_read_only_once_travel_with_it():
    options = {"tags": iter(["voice=anna"]), "ignore": map(str, ["x"])}
    travelled = pickle.loads(pickle.dumps(cache.remember("once", revision="1", **options)(plain)))
    assert travelled._task.lookup(travelled.key(1), DEFAULT, never).tags == ("voice=anna",)
    assert travelled.key(1) == travelled.key(2)


def test_closures_travel_by_cloudpickle(tmp_path):
    cloudpickle = pytest.importorskip("cloudpickle")
    with sayonce.open_sync(f"sqlite:///{tmp_path}/cache.db") as shared:
        factor = 5

        @shared.remember("closure", revision="1")
        def scale(x: int) -> int:
            return x * factor * os.getpid()

        value, pid = call_elsewhere(cloudpickle.dumps(scale))
        assert int(value) == 5 * int(pid)
        assert scale(1) == int(value)


def test_an_async_function_opens_its_cache_in_the_event_loop_where_it_arrives(tmp_path):
    cloudpickle = pytest.importorskip("cloudpickle")

    async def dump():
        async with sayonce.open(f"sqlite:///{tmp_path}/cache.db") as shared:

            @shared.remember("async", revision="1")
            async def pid(x: int) -> int:
                return os.getpid()

            return cloudpickle.dumps(lambda x: asyncio.run(pid(x))), cloudpickle.dumps(pid)

    program, function = asyncio.run(dump())
    value, pid = call_elsewhere(program)
    assert value == pid
    again = pickle.loads(function)
    for _ in range(2):  # each in an event loop of its own
        assert asyncio.run(again(1)) == int(value)
    assert not open_files(tmp_path), "the cache of an event loop that ended is closed"


def test_a_cache_that_could_not_be_opened_where_it_arrived_is_tried_again(tmp_path):
    async def dump():
        async with sayonce.open(f"sqlite:///{tmp_path}/there/cache.db") as shared:
            return pickle.dumps(shared.remember("pid", revision="1")(plain))

    (tmp_path / "there").mkdir()
    arrived = pickle.loads(asyncio.run(dump()))

    async def call():
        (tmp_path / "there").rename(tmp_path / "away")
        with pytest.raises(sayonce.ConfigError):
            await arrived(1)
        (tmp_path / "away").rename(tmp_path / "there")
        return await arrived(1)

    assert asyncio.run(call()) == os.getpid()


def test_a_secret_stays_behind_and_is_needed_where_the_function_arrives(tmp_path):
    with sayonce.open_sync(f"sqlite:///{tmp_path}/cache.db", secret="a long secret") as shared:
        pickled = pickle.dumps(shared.remember("pid", revision="1")(plain))
    assert b"a long secret" not in pickled
    assert "set SAYONCE_SECRET to the secret there" in call_elsewhere(pickled)
    value, pid = call_elsewhere(pickled, SAYONCE_SECRET="a long secret")
    assert value == pid
