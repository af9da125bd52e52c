"""SQLite in trouble with the path of its file: foreign files at it, its log, its directory, its disk, its clock."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Final

import httpx
import pytest

from sayonce.cache import stats
from sayonce.cache.invalidation import Obeyed
from sayonce.core.outcome import Outcome
from sayonce.stores.sqlite.file import damaged_beside
from tests.helpers.commandline import CommandLine, stop
from tests.helpers.deployments import wait_until
from tests.helpers.paths import ROOT
from tests.helpers.serving import until
from tests.helpers.sqlite_files import NEW, checkpoint, is_full, purges, told, url, whole
from tests.helpers.store_in_trouble import BOUND_SECONDS, KNOWN, SLACK_SECONDS, Stand, standing

DAY_SECONDS: Final = 86_400.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clips.db"


@asynccontextmanager
async def two(path: Path) -> AsyncIterator[tuple[Stand, Stand]]:
    """Two caches over one file, in which one purge is written."""
    async with standing(url(path)) as one, standing(url(path)) as other:
        await one.fill()
        await other.fill()
        assert await one.cache.purge("voice=alice") is Obeyed.EVERYWHERE
        yield one, other
        assert max(one.slowest_seconds, other.slowest_seconds) < BOUND_SECONDS + SLACK_SECONDS


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


# -- what is not ours --------------------------------------------------------------------------------------------------


def put_a_text(path: Path) -> None:
    path.unlink()
    path.write_text("to do: buy milk\n" * 1000)


def put_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def put_another_programs_file(path: Path) -> None:
    beside = path.with_name("other")
    with closing(sqlite3.connect(beside)) as db:
        db.execute("CREATE TABLE bookmarks (url)")
    beside.rename(path)


def remove_the_directory(path: Path) -> None:
    shutil.rmtree(path.parent)


@pytest.mark.parametrize("spoil", [put_a_text, put_a_directory, put_another_programs_file, remove_the_directory])
async def test_while_something_foreign_has_the_files_name_requests_are_computed_and_one_warning_is_logged(
    tmp_path: Path, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "data" / "clips.db"
    path.parent.mkdir()
    async with two(path) as (one, other):
        purged = await purges(one)
        spoil(path)
        for stand in (one, other):
            await until(lambda stand=stand: stand.cache.store_state == "failing")
        until_moment = time.monotonic() + 1.2  # two times it is looked at again
        while time.monotonic() < until_moment:
            for stand in (one, other):
                assert await stand.ask(0) is Outcome.LED
                assert stand.cache.store_state == "failing"
            await asyncio.sleep(0.05)
        figures = await stats.collect(one.cache)
        assert (figures["state"], figures["store"]["entries"]) == ("failing", None)
        assert str(path) in str(figures["trouble"])
        assert await one.cache.purge("voice=bob") is Obeyed.HERE
        assert told(caplog, "circuit breaker opened") == 2  # once for each
        if path.exists():
            remove(path)
        path.parent.mkdir(exist_ok=True)
        for stand in (one, other):
            await until(lambda stand=stand: stand.cache.store_state == "ok")
            await stand.hits_all_again()
        await until(lambda: len(other.cache._invalidation._table.epochs) >= 2)
        assert (await purges(other)).items() >= purged.items()
    assert told(caplog, "answers again") == 2
    assert told(caplog, "was removed: a new file goes on") == 1
    assert told(caplog, "unexpected failure") == 0


async def test_an_empty_file_that_replaces_the_stores_file_is_filled_and_told_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with two(path) as (one, other):
        purged = await purges(one)
        empty = path.with_name("empty")
        empty.touch()
        empty.rename(path)
        for stand in (one, other):
            await stand.hits_all_again(NEW)
        assert await purges(other) == purged
    warned = [record for record in caplog.records if "another file has taken the place" in record.getMessage()]
    assert sorted(record.levelname for record in warned) in (["INFO", "WARNING"], ["WARNING"])
    assert whole(path)


# -- the log and its index ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", [("-wal",), ("-shm",), ("-wal", "-shm")])
async def test_a_removed_write_ahead_log_makes_a_new_file_before_two_processes_write_into_one(
    path: Path, gone: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    async with two(path) as (one, other):
        purged = await purges(one)
        for end in gone:
            path.with_name(path.name + end).unlink()
        await until(lambda: damaged_beside(path))  # also where nobody writes
        async with standing(url(path)) as late:  # as a command does meanwhile
            for stand in (one, other, late):
                await stand.hits_all_again(NEW)
            assert await purges(late) == purged
        assert (one.cache.store_state, other.cache.store_state) == ("ok", "ok")
    assert told(caplog, "is damaged: it is kept as") == 1
    assert whole(path)
    (kept,) = damaged_beside(path)
    assert whole(kept)
    with closing(sqlite3.connect(kept)) as db:
        (entries,) = db.execute("SELECT count(*) FROM entries").fetchone()
    assert entries >= len(KNOWN)  # also what only the log had


async def test_a_write_ahead_log_that_is_cut_while_in_use_makes_a_new_file(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with two(path) as (one, other):
        purged = await purges(one)
        os.truncate(path.with_name("clips.db-wal"), 0)
        for stand in (one, other):
            await stand.hits_all_again(NEW)
        assert await purges(other) == purged
        assert len(damaged_beside(path)) == 1
    assert told(caplog, "is damaged: it is kept as") == 1
    assert whole(path)


# -- crashes -----------------------------------------------------------------------------------------------------------

CRASHES = """
import asyncio, os, random, signal, sys, time
from pathlib import Path
from tests.helpers.store_in_trouble import standing

async def write(path, seed):
    chance = random.Random(seed)
    async with standing(f"sqlite:///{path}", max_bytes=1_000_000) as stand:
        while True:
            await stand.ask_all(range(first := chance.randrange(60), first + 4))  # fails where a sound is wrong
            await stand.cache.settle()

def child(path, seed):
    number = os.fork()
    if not number:
        asyncio.run(write(path, seed))
    return number

chance = random.Random(1)
beside = child(sys.argv[1], 1000)
for seed in range(20):
    killed, beside = beside, child(sys.argv[1], seed)
    time.sleep(chance.uniform(0.05, 0.3))
    os.kill(killed, signal.SIGKILL)
    _, status = os.waitpid(killed, 0)
    assert os.WIFSIGNALED(status), "it had failed by itself"
os.kill(beside, signal.SIGKILL)
os.waitpid(beside, 0)
"""


async def test_after_twenty_kills_amid_writes_no_answer_is_wrong_and_the_file_is_whole(path: Path) -> None:
    command = [sys.executable, "-c", CRASHES, str(path)]
    done = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    async with standing(url(path)) as stand:
        assert Outcome.HIT in await stand.ask_all(range(64))
        await stand.hits_all_again()
        assert stand.cache.counters["refused: seal"] == 0
    assert damaged_beside(path) == []
    assert whole(path)


# -- the start, and the clock ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [False, True])
async def test_a_disk_that_is_full_at_the_start_keeps_nobody_waiting_and_is_used_once_there_is_room(
    disk: Path, known: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path = disk / "clips.db"
    if known:
        async with standing(url(path)) as stand:
            await stand.fill()
    filler = disk / "filler"
    with filler.open("wb") as file:
        while not is_full(file.fileno()):
            pass
    async with standing(url(path)) as stand:
        assert await stand.ask_all(KNOWN) == {Outcome.LED}
        await until(lambda: stand.cache.store_state == "failing")
        assert stand.slowest_seconds < BOUND_SECONDS + SLACK_SECONDS
        assert "clips.db" in str(stand.cache.trouble)
        filler.unlink()
        await until(lambda: stand.cache.store_state == "ok")
        if known:
            await until(lambda: stand.cache.view.fresh)
            assert await stand.ask_all(KNOWN) == {Outcome.HIT}
        await stand.hits_all_again(NEW)
    assert (told(caplog, "circuit breaker opened"), told(caplog, "answers again")) == (1, 1)


@pytest.mark.parametrize("jump_seconds", [-DAY_SECONDS, DAY_SECONDS])
async def test_a_clock_that_jumps_costs_no_request_and_no_purge(path: Path, jump_seconds: float) -> None:
    jumped = 0.0

    def clock() -> float:
        return time.time() + jumped

    async with standing(url(path), clock=clock) as one:
        await one.fill()
        key = one.cache.key("tagged")
        await one.cache.fetch(key, lambda: b"sound", tags=["voice=alice"])
        await one.cache.settle()
        jumped = jump_seconds
        async with standing(url(path), clock=clock) as other:
            expected = {Outcome.HIT} if jump_seconds < 0 else {Outcome.LED}
            assert await other.ask_all(KNOWN) == expected
            await one.hits_all_again(NEW)
            await other.hits_all_again(NEW)
            assert await one.cache.purge("voice=alice") is Obeyed.EVERYWHERE
            assert await other.cache.find(key) is None
            assert max(one.slowest_seconds, other.slowest_seconds) < BOUND_SECONDS + SLACK_SECONDS


# -- the whole server --------------------------------------------------------------------------------------------------


def test_two_workers_whose_directory_is_removed_answer_and_say_so_everywhere_until_it_is_back(tmp_path: Path) -> None:
    sayonce = CommandLine(tmp_path)
    path = tmp_path / "data" / "clips.db"
    path.parent.mkdir()
    options = ("--workers", "2", "--engine", "espeak", "--store", url(path))
    with sayonce.serving(*options, SAYONCE_MEMORY__MAX_BYTES="0") as server:

        def ask(number: int) -> str:
            speech = {"input": f"This is number {number}.", "response_format": "wav"}
            answer = httpx.post(f"{server.url}/v1/audio/speech", json=speech, timeout=30)
            assert answer.status_code == 200
            return answer.headers["cache-status"]

        def figures() -> dict[str, object]:
            return httpx.get(f"{server.url}/v1/cache/stats", timeout=30).json()

        def metric() -> str:
            return httpx.get(f"{server.url}/metrics", timeout=30).text

        wait_until(lambda: "hit" in ask(0))
        wait_until(lambda: "sayonce_workers 2.0" in metric())
        checkpoint(path)
        shutil.rmtree(path.parent)
        wait_until(lambda: ask(0) and 'sayonce_store_breaker_open{part="store"} 2.0' in metric())
        assert [ask(number) for number in range(10)] == ["sayonce; fwd=miss"] * 10
        assert figures()["state"] == "failing"
        assert "clips.db" in str(figures()["trouble"])
        assert "fail  store" in sayonce("doctor", "--store", url(path)).out
        asked = httpx.post(f"{server.url}/v1/cache/purge", json={"tag": "voice=en-us"}, timeout=30)
        assert (asked.status_code, asked.json()["obeyed"]) == (202, "this instance")
        path.parent.mkdir()
        wait_until(lambda: [ask(0) for _ in range(8)] == ["sayonce; hit; detail=sqlite"] * 8)
        code, talk = stop(server)
    assert code == 0
    assert talk.count("circuit breaker opened") == talk.count("answers again") == 2
    assert talk.count("was removed: a new file goes on") == 1
    assert whole(path)


def test_a_worker_that_starts_while_the_directory_is_gone_does_not_end_the_server(tmp_path: Path) -> None:
    sayonce = CommandLine(tmp_path)
    path = tmp_path / "data" / "clips.db"
    path.parent.mkdir()
    with sayonce.serving("--workers", "2", "--engine", "espeak", "--store", url(path)) as server:
        shutil.rmtree(path.parent)  # no worker is up yet
        speech = {"input": "Here we are.", "response_format": "wav"}

        def ask() -> str:
            answer = httpx.post(f"{server.url}/v1/audio/speech", json=speech, timeout=60)
            assert answer.status_code == 200
            return answer.headers["cache-status"]

        def metric() -> str:
            return httpx.get(f"{server.url}/metrics", timeout=60).text

        wait_until(lambda: 'sayonce_store_breaker_open{part="store"} 2.0' in metric())
        assert ask()
        path.parent.mkdir()
        wait_until(lambda: 'sayonce_store_breaker_open{part="store"} 0.0' in metric())
        code, talk = stop(server)
    assert code == 0
    assert talk.count("circuit breaker opened") == talk.count("answers again") == 2
    assert whole(path)
