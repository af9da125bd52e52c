"""SQLite in trouble: no request fails, none is wrong, none is later than the bound, and it is told once."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import cast

import httpx
import pytest

from sayonce.cache import stats
from sayonce.cache.invalidation import Obeyed
from sayonce.core.outcome import Outcome
from sayonce.stores.sqlite.file import damaged_beside
from sayonce.stores.sqlite.store import SQLiteStore
from tests.helpers.commandline import CommandLine, stop
from tests.helpers.deployments import wait_until
from tests.helpers.serving import until
from tests.helpers.sqlite_files import NEW, checkpoint, is_full, purges, told, url, whole
from tests.helpers.steady_load import Load
from tests.helpers.store_in_trouble import BOUND_SECONDS, KNOWN, SLACK_SECONDS, Stand, standing

LOADED = range(40)
RATE_HZ = 60
MAX_BYTES = 2_000_000

HOLDS = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE" if sys.argv[2] == "write" else "BEGIN")
db.execute("SELECT count(*) FROM entries").fetchone()
print("holds", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_program(path: Path, what: str) -> Iterator[None]:
    """Have another process hold a transaction on the file: one that reads, or one that writes."""
    command = [sys.executable, "-c", HOLDS, str(path), what]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holds\n"
        yield
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clips.db"


@asynccontextmanager
async def two_workers(path: Path) -> AsyncIterator[tuple[Stand, Stand, Load]]:
    """Two caches over one file, asked in turn for sounds of which some are new."""
    async with standing(url(path)) as one, standing(url(path)) as other:
        await one.fill()
        asked = 0

        async def ask(number: int) -> bool:
            nonlocal asked
            asked += 1
            new = asked % 5 == 0
            stand = (one, other)[asked % 2]
            return await stand.ask(1000 + asked if new else number) is Outcome.HIT

        yield one, other, Load(ask, rate_hz=RATE_HZ)
        assert max(one.slowest_seconds, other.slowest_seconds) < BOUND_SECONDS + SLACK_SECONDS


def garbage_amid(path: Path) -> None:
    """Write garbage over all pages but the first few, as a failing disk or a stray program does."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))


# -- no room -----------------------------------------------------------------------------------------------------------


async def test_on_a_disk_that_is_too_small_for_the_bound_old_entries_make_room(
    disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with standing(url(disk / "clips.db")) as stand:
        for first in range(0, 500, 20):  # ten megabytes
            await stand.ask_all(range(first, first + 20))
            await stand.cache.settle()
        assert await stand.ask_all(range(495, 500)) >= {Outcome.HIT}
        assert stand.cache.store_state == "ok"
        assert stand.cache.counters["store errors: full"] == 0
    assert told(caplog, "takes no new values") == 0


async def test_a_disk_that_others_have_filled_is_told_once_and_still_gives_hits(
    disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with standing(url(disk / "clips.db")) as stand:
        await stand.fill()
        filler = disk / "filler"
        with filler.open("wb") as file:
            while not is_full(file.fileno()):
                pass
        for _ in range(3):
            assert await stand.ask_all(KNOWN) == {Outcome.HIT}
            assert await stand.ask_all(NEW) == {Outcome.LED}
            await stand.cache.settle()
        assert stand.cache.store_state == "unwritable"
        assert "disk is full" in str((await stats.collect(stand.cache))["trouble"])
        assert told(caplog, "takes no new values") == 1
        filler.unlink()
        await asyncio.sleep(0.6)  # every half second it looks whether the log can be emptied
        await stand.hits_all_again(NEW)
        assert stand.cache.store_state == "ok"
        assert told(caplog, "takes new values again") == 1
        assert stand.slowest_seconds < BOUND_SECONDS + SLACK_SECONDS


async def test_a_file_that_may_only_be_read_still_gives_hits_and_is_told_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with standing(url(path)) as stand:
        await stand.fill()
        writer = cast("SQLiteStore", stand.cache.store)._database.writer
        await writer.run(lambda db: db.execute("PRAGMA query_only = 1"))
        for _ in range(3):
            assert await stand.ask_all(KNOWN) == {Outcome.HIT}
            assert await stand.ask_all(NEW) == {Outcome.LED}
            await stand.cache.settle()
        assert stand.cache.store_state == "unwritable"
        await writer.run(lambda db: db.execute("PRAGMA query_only = 0"))
        await stand.ask(100)
        await stand.cache.settle()
        assert stand.cache.store_state == "ok"
    assert (told(caplog, "takes no new values"), told(caplog, "takes new values again")) == (1, 1)


# -- other programs ----------------------------------------------------------------------------------------------------


async def test_another_programs_write_lock_costs_the_bound_once_and_then_nothing(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with standing(url(path)) as stand:
        await stand.fill()
        with another_program(path, "write"):
            assert await stand.ask_all(KNOWN) == {Outcome.HIT}
            for number in NEW:
                assert await stand.ask(number) is Outcome.LED
            assert stand.slowest_seconds < BOUND_SECONDS + SLACK_SECONDS
            await stand.cache.settle()
            stand.slowest_seconds = 0.0
            assert await stand.ask_all(NEW) == {Outcome.LED}
            assert stand.slowest_seconds < BOUND_SECONDS
            await stand.cache.settle()
            assert stand.cache.store_state == "unwritable"
            assert "locked" in str((await stats.collect(stand.cache))["trouble"])
        await stand.hits_all_again(NEW)
        assert stand.cache.store_state == "ok"
    assert (told(caplog, "takes no new values"), told(caplog, "takes new values again")) == (1, 1)


async def test_a_purge_is_obeyed_though_another_program_holds_the_write_lock(path: Path) -> None:
    async with standing(url(path)) as stand:
        await stand.fill()
        key = stand.cache.key("tagged")
        await stand.cache.fetch(key, lambda: b"sound", tags=["voice=alice"])
        await stand.cache.settle()
        with another_program(path, "write"):
            assert await stand.cache.purge("voice=alice") is Obeyed.HERE
            assert await stand.cache.find(key) is None
        assert await stand.cache.find(key) is None
        await stand.hits_all_again()


async def test_while_a_reader_stays_a_hundred_megabytes_pass_and_the_files_stay_bounded(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with standing(url(path), max_bytes=MAX_BYTES) as stand:
        await stand.fill()

        async def make(number: int) -> None:
            body = number.to_bytes(4) * 25_000
            assert (await stand.cache.fetch(f"large {number}", lambda: body)).body == body

        largest = 0
        with another_program(path, "read"):
            for first in range(0, 1000, 20):
                await asyncio.gather(*map(make, range(first, first + 20)))
                await stand.cache.settle()
                largest = max(largest, sum(file.stat().st_size for file in path.parent.iterdir()))
            assert stand.cache.store_state == "unwritable"
            assert await stand.ask(0) is Outcome.HIT
        assert largest < 2 * MAX_BYTES
        await asyncio.sleep(0.6)  # it looks every half second whether the log can be emptied
        await stand.ask(500)
        await stand.cache.settle()
        assert stand.cache.store_state == "ok"
        assert path.with_name("clips.db-wal").stat().st_size < MAX_BYTES / 2
    assert (told(caplog, "takes no new values"), told(caplog, "takes new values again")) == (1, 1)


# -- a file that is gone, or damaged -----------------------------------------------------------------------------------


async def test_a_file_that_is_damaged_under_load_is_kept_and_a_new_one_goes_on(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with two_workers(path) as (one, other, load):
        await one.cache.purge("voice=alice")
        purged = await purges(one)
        checkpoint(path)
        await load.run(3, [(1.0, lambda: garbage_amid(path))])
        await one.hits_all_again()
        await other.hits_all_again()
        assert (one.cache.store_state, other.cache.store_state) == ("incomplete", "incomplete")
        assert purged
        assert await purges(other) == purged
        assert len(damaged_beside(path)) == 1
    assert told(caplog, "is damaged: it is kept as") == 1
    assert whole(path)


@pytest.mark.parametrize("how", ["removed", "moved"])
async def test_a_file_that_goes_away_under_load_is_made_anew_and_told_once(
    path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with two_workers(path) as (one, other, load):
        await one.cache.purge("voice=alice")
        purged = await purges(one)
        go = path.unlink if how == "removed" else lambda: path.rename(path.with_name("elsewhere.db"))
        await load.run(3, [(1.0, go)])
        await one.hits_all_again()
        await other.hits_all_again()
        assert purged
        assert await purges(other) == purged
    assert told(caplog, "was removed: a new file goes on") == 1
    assert whole(path)
    assert how == "removed" or whole(path.with_name("elsewhere.db"))


@pytest.mark.parametrize("seed", range(12))
async def test_damaged_pages_never_give_a_wrong_answer_or_another_name(
    path: Path, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(seed)
    async with standing(url(path)) as stand:
        await stand.fill(range(20))
        for number in range(60):
            await register(stand, number)
        checkpoint(path)
    with path.open("r+b") as file:
        for _ in range(chance.randint(1, 6)):
            file.seek(4096 + chance.randrange(path.stat().st_size - 4096))
            file.write(chance.randbytes(chance.choice([1, 16, 500, 5000])))
    async with standing(url(path)) as stand:
        await stand.ask_all(range(40))  # which compares what is heard
        await stand.hits_all_again(range(40))
        assert stand.cache.store is not None
        await stand.cache.store.totals()
        await stand.cache.store.stats()
        names = await stand.cache.store.read_table("voices")
        for number in range(60):
            assert names.get(f"voice {number}") not in {value(other) for other in range(60) if other != number}
    assert told(caplog, "unexpected failure") == 0


def value(number: int) -> bytes:
    return number.to_bytes(2) * 100


async def register(stand: Stand, number: int) -> None:
    assert stand.cache.store is not None
    await stand.cache.store.write_field("voices", f"voice {number}", value(number))


async def test_the_default_directory_of_the_file_is_made_again_when_it_is_removed_while_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    async with standing("sqlite://") as stand:
        await stand.fill()
        shutil.rmtree(tmp_path / "sayonce")
        await until((tmp_path / "sayonce" / "clips.db").is_file)
        await stand.hits_all_again()
        assert stand.cache.store_state == "ok"


async def test_a_file_that_goes_away_is_noticed_within_a_second_though_nobody_writes(path: Path) -> None:
    async with standing(url(path)) as stand:
        await stand.fill()
        path.unlink()
        await until(path.exists)


def test_two_workers_whose_file_is_removed_and_later_damaged_fail_no_request_and_tell_it_once(tmp_path: Path) -> None:
    sayonce = CommandLine(tmp_path)
    path = tmp_path / "kept.db"
    with sayonce.serving("--workers", "2", "--engine", "espeak", "--store", url(path)) as server:
        right: dict[int, bytes] = {}

        def ask(number: int) -> str:
            speech = {"input": f"This is number {number}.", "response_format": "wav"}
            answer = httpx.post(f"{server.url}/v1/audio/speech", json=speech, timeout=30)  # a connection of its own
            assert answer.status_code == 200
            samples = answer.content[44:]  # after the header, which has the length only where it is known
            assert right.setdefault(number, samples) == samples
            return answer.headers["cache-status"]

        for trouble in (None, path.unlink, lambda: garbage_amid(path)):
            if trouble is not None:
                checkpoint(path)
                trouble()
            for number in [*range(12), *range(20 + len(right), 32 + len(right))]:
                ask(number)
            wait_until(lambda: [ask(0) for _ in range(12)] == ["sayonce; hit; detail=memory"] * 12)
        wait_until(lambda: len(damaged_beside(path)) == 1)
        code, talk = stop(server)
    assert code == 0
    assert talk.count("was removed: a new file goes on") == 1
    assert talk.count("is damaged: it is kept as") == 1
    assert whole(path)
