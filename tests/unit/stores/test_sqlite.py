"""What the SQLite store promises beyond the contract: processes, crashes, trouble with the file."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from sayonce.core.envelope import Entry, Sealer
from sayonce.errors import ConfigError, Failure, StoreError
from sayonce.stores import open_store
from sayonce.stores.sqlite import connection
from sayonce.stores.sqlite.file import damaged_beside
from sayonce.stores.sqlite.store import SQLiteStore
from sayonce.testing import FakeClock

MakeEntry = Callable[..., Entry]

PRELUDE = """
import asyncio, sys, time
from pathlib import Path
from sayonce.core.envelope import Entry, Sealer
from sayonce.core.key import Secret
from sayonce.stores.sqlite.store import SQLiteStore

def entry(number):
    body = number.to_bytes(4) * 15_000
    return Entry(key=number.to_bytes(32), body=body, media_type="audio/flac", created=0, expires=time.time() + 3600)

async def main():
    store = SQLiteStore(Path(sys.argv[1]), sealer=Sealer(Secret(b"a secret for tests")))
"""
"""The secret is that of the ``sealer`` fixture; the test's code follows, indented."""


def run(path: Path, code: str, *arguments: str) -> subprocess.Popen[str]:
    program = PRELUDE + "".join(f"    {line}\n" for line in code.splitlines()) + "asyncio.run(main())\n"
    command = [sys.executable, "-c", program, str(path), *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str], text: str = "") -> str:
    output, _ = process.communicate(text, timeout=60)
    assert process.returncode == 0
    return output


# -- processes and crashes ---------------------------------------------------------------------------------------------

WRITES = """
await store.open()
for number in range(1000):
    await store.put(entry(number))
    print(number, flush=True)
"""


@pytest.mark.parametrize("written", [1, 40, 150])
async def test_after_kill_9_among_a_thousand_writes_the_file_opens_and_no_entry_is_half_there(
    tmp_path: Path, sealer: Sealer, written: int
) -> None:
    path = tmp_path / "clips.db"
    with run(path, WRITES) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            if int(line) >= written:
                writer.send_signal(signal.SIGKILL)
                break
        confirmed = [int(line) for line in writer.stdout if line.endswith("\n")]
    last = max([written, *confirmed])
    assert writer.returncode == -signal.SIGKILL
    assert last < 999

    store = SQLiteStore(path, sealer=sealer)
    await store.open()
    there = [number for number in range(1000) if await store.get(number.to_bytes(32)) is not None]
    assert there in (list(range(last + 1)), list(range(last + 2)))  # the last one perhaps unconfirmed
    assert (await store.stats()).entries == len(there)
    assert await store.put(entry := make_plain_entry(5000))
    assert await store.get(entry.key) == entry
    await store.close()
    assert integrity(path) == (len(there) + 1, "ok")


def make_plain_entry(number: int) -> Entry:
    return Entry(key=number.to_bytes(32), body=b"x", media_type="a/b", created=0, expires=time.time() + 3600)


def integrity(path: Path) -> tuple[int, str]:
    db = sqlite3.connect(path)
    (checked,) = db.execute("PRAGMA integrity_check").fetchone()
    (bodies,) = db.execute("SELECT count(*) FROM bodies").fetchone()
    db.close()
    return bodies, checked


SHARED = """
sys.stdin.readline()
await store.open()
for number in range(int(sys.argv[2]), 200, 2):
    assert await store.put(entry(number))
    await store.count({"written": 1})
    while True:
        last = await store.read_field("purges", "tag")
        if await store.swap_field("purges", "tag", last, b"%d" % (int(last or 0) + 1)):
            break
    assert (await store.get(entry(number).key)).body == entry(number).body
await store.close()
"""


async def test_two_processes_write_and_count_into_one_file_and_nothing_is_lost(tmp_path: Path, sealer: Sealer) -> None:
    path = tmp_path / "clips.db"
    processes = [run(path, SHARED, str(offset)) for offset in (0, 1)]
    await asyncio.gather(*(asyncio.to_thread(finish, process, "go\n") for process in processes))
    store = SQLiteStore(path, sealer=sealer)
    await store.open()
    assert all([await store.get(number.to_bytes(32)) for number in range(200)])
    stats = await store.stats()
    assert stats.entries == 200
    assert stats.used_bytes == sum_of_sizes(path)
    assert await store.totals() == {"written": 200}
    assert await store.read_field("purges", "tag") == b"200"
    await store.close()


def sum_of_sizes(path: Path) -> int:
    db = sqlite3.connect(path)
    (total,) = db.execute("SELECT sum(size) FROM entries").fetchone()
    db.close()
    return int(total)


def test_many_processes_may_make_the_file_at_the_same_moment(tmp_path: Path) -> None:
    start = threading.Barrier(8, timeout=10)

    def make(path: Path) -> None:
        start.wait()
        connection.prepare(path)

    with ThreadPoolExecutor(8) as threads:
        for number in range(10):
            path = tmp_path / f"{number}.db"
            list(threads.map(make, [path] * 8))
            assert version(path) == connection.SCHEMA_VERSION


def version(path: Path) -> int:
    db = sqlite3.connect(path)
    (found,) = db.execute("PRAGMA user_version").fetchone()
    db.close()
    return int(found)


# -- what is kept, and how much ----------------------------------------------------------------------------------------


async def test_entries_counters_and_tables_survive_closing(
    tmp_path: Path, sealer: Sealer, clock: FakeClock, make_entry: MakeEntry
) -> None:
    entry = make_entry(1)
    for _ in range(2):
        store = SQLiteStore(tmp_path / "clips.db", sealer=sealer, clock=clock)
        await store.open()
        await store.put(entry)
        await store.count({"hits": 1})
        await store.write_field("purges", "tag", b"record")
        await store.close()
    await store.open()
    assert await store.get(entry.key) == entry
    assert (await store.totals(), await store.read_table("purges")) == ({"hits": 2}, {"tag": b"record"})
    await store.close()


async def test_uses_of_entries_are_remembered_after_the_file_is_closed(
    tmp_path: Path, sealer: Sealer, clock: FakeClock, make_entry: MakeEntry
) -> None:
    first, second = (SQLiteStore(tmp_path / "clips.db", sealer=sealer, clock=clock, max_bytes=35_000) for _ in range(2))
    await first.open()
    for number in (1, 2, 3):
        clock.advance(1)
        await first.put(make_entry(number, body=bytes(10_000)))
    clock.advance(1)
    await first.get(make_entry(1).key)
    await first.close()
    await second.open()
    await second.put(make_entry(4, body=bytes(10_000)))
    there = [number for number in (1, 2, 3, 4) if await second.get(make_entry(number).key) is not None]
    await second.close()
    assert there == [1, 3, 4]


async def test_a_read_of_sqlite_writes_nothing(sqlite_store: SQLiteStore, make_entry: MakeEntry) -> None:
    await sqlite_store.put(make_entry(1))
    wal = sqlite_store.path.with_name("clips.db-wal")
    before = wal.stat().st_size
    for _ in range(50):
        await sqlite_store.get(make_entry(1).key)
    assert wal.stat().st_size == before


async def test_expired_entries_make_room_with_the_next_write(
    sqlite_store: SQLiteStore, make_entry: MakeEntry, clock: FakeClock
) -> None:
    for number in range(5):
        await sqlite_store.put(make_entry(number, expires=clock() + 10))
    clock.advance(10)
    await sqlite_store.put(make_entry(9))
    assert (await sqlite_store.stats()).entries == 1


async def test_the_file_is_hardly_larger_than_the_bound_and_shrinks_when_cleared(
    tmp_path: Path, sealer: Sealer, clock: FakeClock, make_entry: MakeEntry
) -> None:
    path = tmp_path / "clips.db"
    store = SQLiteStore(path, sealer=sealer, clock=clock, max_bytes=3_000_000)
    await store.open()
    for number in range(200):
        await store.put(make_entry(number, body=os.urandom(60_000)))
    await store.close()
    assert path.stat().st_size < 3_000_000 * 1.1
    await store.open()
    await store.clear()
    await store.close()
    assert path.stat().st_size < 100_000


async def test_only_its_owner_can_read_the_file(sqlite_store: SQLiteStore, make_entry: MakeEntry) -> None:
    await sqlite_store.put(make_entry(1))
    files = list(sqlite_store.path.parent.iterdir())
    assert len(files) == 3  # with the write-ahead log and its index
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


# -- trouble with the file -------------------------------------------------------------------------------------------


async def test_a_missing_directory_is_named_with_what_to_do(tmp_path: Path, sealer: Sealer) -> None:
    path = tmp_path / "missing" / "clips.db"
    with pytest.raises(ConfigError, match=r"missing/clips\.db: No such file or directory; name a file in a directory"):
        await SQLiteStore(path, sealer=sealer).open()


async def test_an_unwritable_directory_is_named(sealer: Sealer) -> None:
    with pytest.raises(ConfigError, match=r"/proc/clips\.db: .*; name a file in a directory"):
        await SQLiteStore(Path("/proc/clips.db"), sealer=sealer).open()


async def test_the_directories_of_the_default_file_are_made(
    tmp_path: Path, sealer: Sealer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new" / "cache"))
    store = open_store("sqlite://", sealer=sealer)
    assert store is not None
    await store.open()
    await store.close()
    assert (tmp_path / "new" / "cache" / "sayonce" / "clips.db").is_file()


async def test_a_default_directory_that_cannot_be_made_is_named(
    tmp_path: Path, sealer: Sealer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    store = open_store("sqlite://", sealer=sealer)
    assert store is not None
    with pytest.raises(ConfigError, match=r"file/sayonce: Not a directory; name a file"):
        await store.open()


async def test_a_directory_in_place_of_the_file_is_named(tmp_path: Path, sealer: Sealer) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path}: unable to open"):
        await SQLiteStore(tmp_path, sealer=sealer).open()


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, sealer: Sealer) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, not a database\n" * 100)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"notes\.txt: file is not a database; move it away or name another"):
        await SQLiteStore(path, sealer=sealer).open()
    assert path.read_bytes() == before


async def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path, sealer: Sealer) -> None:
    path = tmp_path / "other.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE entries (anything)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="another program's database"):
        await SQLiteStore(path, sealer=sealer).open()
    assert path.read_bytes() == before


SWALLOW = "CREATE TRIGGER ours BEFORE INSERT ON books BEGIN SELECT RAISE(IGNORE); END"
CHANGES = {
    "the trigger 'ours'": SWALLOW,
    "the table 'books'": "ALTER TABLE books RENAME TO old; CREATE VIEW books AS SELECT * FROM old",
    "the trigger 'entry_removed'": "DROP TRIGGER entry_removed",
    "the table 'totals'": "DROP TABLE totals; CREATE TABLE totals (name, value CHECK (value < 3))",
    "the index 'slow'": "CREATE INDEX slow ON books (length(hex(value)))",
}


@pytest.mark.parametrize(("told", "change"), CHANGES.items(), ids=CHANGES)
async def test_a_file_whose_tables_others_have_changed_is_refused_and_left_alone(
    sqlite_store: SQLiteStore, told: str, change: str
) -> None:
    await sqlite_store.close()
    with closing(sqlite3.connect(sqlite_store.path)) as db:
        db.executescript(change)
    before = sqlite_store.path.read_bytes()
    with pytest.raises(ConfigError, match=r"not as this program makes it; move the file away") as refused:
        await sqlite_store.open()
    assert told in str(refused.value)
    assert sqlite_store.path.read_bytes() == before


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_when_another_program_changes_the_tables_of_a_file_in_use_a_new_file_goes_on_and_nothing_is_lost(
    sqlite_store: SQLiteStore, sealer: Sealer, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    other = SQLiteStore(sqlite_store.path, sealer=sealer)
    await other.open()
    await sqlite_store.write_field("purges", "voice=alice", b"1")
    await sqlite_store.read_table("purges")
    with closing(sqlite3.connect(sqlite_store.path)) as db:
        db.executescript(change)
    await sqlite_store.write_field("purges", "voice=bob", b"2")
    assert await other.read_table("purges") == {"voice=alice": b"1", "voice=bob": b"2"}
    await other.close()
    assert len(damaged_beside(sqlite_store.path)) == 1
    assert sum("another program has changed" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_changed_tables_of_a_file_in_use_are_noticed_also_where_nothing_is_written(
    sqlite_store: SQLiteStore, change: str
) -> None:
    await sqlite_store.write_field("purges", "voice=alice", b"1")
    await sqlite_store.read_table("purges")
    with closing(sqlite3.connect(sqlite_store.path)) as db:
        db.executescript(change)
    assert await sqlite_store.read_table("purges") == {"voice=alice": b"1"}
    assert len(damaged_beside(sqlite_store.path)) == 1


async def test_maintenance_of_the_file_by_an_operator_changes_nothing_that_is_stored(
    sqlite_store: SQLiteStore, make_entry: MakeEntry
) -> None:
    await sqlite_store.put(make_entry(1))
    with closing(sqlite3.connect(sqlite_store.path)) as db:
        db.executescript("ANALYZE; VACUUM; REINDEX")
    assert await sqlite_store.put(make_entry(2))
    await sqlite_store.close()
    await sqlite_store.open()
    assert await sqlite_store.get(make_entry(1).key) == make_entry(1)
    assert damaged_beside(sqlite_store.path) == []


async def test_nothing_in_a_foreign_file_makes_sqlite_call_a_function(sqlite_store: SQLiteStore) -> None:
    for opened in sqlite_store._database.opened:
        assert await opened.run(lambda db: db.execute("PRAGMA trusted_schema").fetchone()) == (0,)


async def test_a_newer_schema_is_refused(sqlite_store: SQLiteStore, sealer: Sealer) -> None:
    await sqlite_store.close()
    db = sqlite3.connect(sqlite_store.path)
    db.execute("PRAGMA user_version = 3")
    db.close()
    with pytest.raises(ConfigError, match=r"newer release \(schema 3, this one knows 2\)"):
        await sqlite_store.open()


async def test_a_locked_file_is_a_store_error(
    tmp_path: Path, sealer: Sealer, make_entry: MakeEntry, clock: FakeClock
) -> None:
    store = SQLiteStore(tmp_path / "clips.db", sealer=sealer, clock=clock)
    await store.open()
    await store.put(make_entry(1))
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=r"clips\.db: database is locked") as failed:
        await store.put(make_entry(2))
    assert failed.value.failure is Failure.LOCKED
    assert await store.get(make_entry(1).key) is not None  # reading does not wait for writing
    other.close()
    assert await store.put(make_entry(2))
    await store.close()


async def test_a_full_disk_is_a_store_error_and_leaves_the_rest_readable(
    sqlite_store: SQLiteStore, make_entry: MakeEntry
) -> None:
    await sqlite_store.put(make_entry(1))
    await sqlite_store._database.writer.run(lambda db: db.execute("PRAGMA max_page_count = 40").fetchone())
    with pytest.raises(StoreError, match=r"clips\.db: database or disk is full") as failed:
        await sqlite_store.put(make_entry(2, body=os.urandom(1_000_000)))
    assert failed.value.failure is Failure.FULL
    assert await sqlite_store.get(make_entry(1).key) == make_entry(1)
    assert (await sqlite_store.stats()).entries == 1
    assert await sqlite_store.put(make_entry(3))


async def test_a_file_that_becomes_read_only_is_a_store_error(sqlite_store: SQLiteStore, make_entry: MakeEntry) -> None:
    await sqlite_store.put(make_entry(1))
    await sqlite_store._database.writer.run(lambda db: db.execute("PRAGMA query_only = 1"))
    with pytest.raises(StoreError, match="readonly") as failed:
        await sqlite_store.put(make_entry(2))
    assert failed.value.failure is Failure.FULL
    assert await sqlite_store.get(make_entry(1).key) == make_entry(1)
    await sqlite_store._database.writer.run(lambda db: db.execute("PRAGMA query_only = 0"))


async def test_a_damaged_file_is_kept_beside_a_new_one_that_goes_on(
    sqlite_store: SQLiteStore, make_entry: MakeEntry, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(50):
        await sqlite_store.put(make_entry(number, body=os.urandom(10_000)))
    await sqlite_store.close()
    garbage = os.urandom(200_000)
    with sqlite_store.path.open("r+b") as file:
        file.seek(4096)
        file.write(garbage)
    await sqlite_store.open()
    assert await sqlite_store.get(make_entry(1).key) is None
    assert await sqlite_store.put(make_entry(1))
    assert await sqlite_store.get(make_entry(1).key) == make_entry(1)
    [kept] = damaged_beside(sqlite_store.path)
    assert garbage in kept.read_bytes()
    [told] = [record.message for record in caplog.records if "is damaged" in record.message]
    assert f"{sqlite_store.path} is damaged: it is kept as {kept.name}, and a new file goes on" in told
    assert told.endswith("unknown ones are refused until that file is moved away")
    assert sqlite_store.incomplete


async def test_a_store_counts_as_incomplete_until_its_damaged_file_is_moved_away(sqlite_store: SQLiteStore) -> None:
    await sqlite_store.close()
    with sqlite_store.path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(200_000))
    await sqlite_store.open()
    assert sqlite_store.incomplete
    await sqlite_store.close()
    await sqlite_store.open()
    assert sqlite_store.incomplete
    await sqlite_store.close()
    for kept in damaged_beside(sqlite_store.path):
        kept.rename(kept.with_name("elsewhere"))
    await sqlite_store.open()
    assert not sqlite_store.incomplete


async def test_a_running_store_takes_over_what_it_knows_from_a_damaged_file(
    sqlite_store: SQLiteStore, make_entry: MakeEntry
) -> None:
    for number in range(50):
        await sqlite_store.put(make_entry(number, body=os.urandom(10_000)))
    await sqlite_store.write_field("purges", "voice=alice", b"record")
    await sqlite_store.read_table("purges")
    await sqlite_store.write_field("voices", "alice", b"a record")
    await sqlite_store.read_table("voices")
    await sqlite_store.count({"hit": 3})
    await sqlite_store.totals()
    await sqlite_store._database.writer.run(lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())
    size = sqlite_store.path.stat().st_size
    with sqlite_store.path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    await sqlite_store._database.reader.run(lambda db: db.execute("PRAGMA shrink_memory"))
    await sqlite_store._database.writer.run(lambda db: db.execute("PRAGMA shrink_memory"))
    assert await sqlite_store.put(make_entry(99))
    assert await sqlite_store.read_table("purges") == {"voice=alice": b"record"}
    assert await sqlite_store.read_table("voices") == {"alice": b"a record"}
    assert await sqlite_store.totals() == {"hit": 3}
    assert not sqlite_store.incomplete
    assert len(damaged_beside(sqlite_store.path)) == 1


@pytest.mark.parametrize("how", ["removed", "moved", "removed with its log", "replaced"])
async def test_stores_whose_file_is_gone_go_on_in_one_new_file_with_all_that_is_kept_for_good(
    tmp_path: Path, sealer: Sealer, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    path, other = tmp_path / "clips.db", tmp_path / "other.db"
    stores = [SQLiteStore(path, sealer=sealer) for _ in range(2)]
    for store in stores:
        await store.open()
    await stores[0].write_field("purges", "voice=alice", b"record")
    await asyncio.gather(*(store.read_table("purges") for store in stores))
    await stores[0].write_field("voice clips", "alice", bytes(1_000_000))
    await stores[0].count({"hit": 3})
    if how == "replaced":
        replacement = SQLiteStore(other, sealer=sealer)
        await replacement.open()
        await replacement.close()
        other.rename(path)
    else:
        path.rename(other) if how == "moved" else path.unlink()
    if how == "removed with its log":
        path.with_name("clips.db-wal").unlink()
        path.with_name("clips.db-shm").unlink()
    entry = make_plain_entry(1)
    assert await stores[0].put(entry)
    assert await stores[1].read_table("purges") == {"voice=alice": b"record"}
    assert await stores[1].get(entry.key) == entry
    assert await stores[1].read_field("voice clips", "alice") == bytes(1_000_000)
    assert await stores[1].totals() == ({} if how == "replaced" else {"hit": 3})
    for store in stores:
        await store.close()
    assert integrity(path) == (1, "ok")
    told = [record.message for record in caplog.records]
    assert sum("was removed: a new file" in message for message in told) == (how != "replaced")


async def test_an_older_copy_that_replaces_the_file_undoes_no_purge(tmp_path: Path, sealer: Sealer) -> None:
    path, copy = tmp_path / "clips.db", tmp_path / "copy.db"
    stores = [SQLiteStore(path, sealer=sealer) for _ in range(2)]
    for store in stores:
        await store.open()
    await stores[0].write_field("purges", "alice", b"1")
    with closing(sqlite3.connect(path)) as db:
        db.execute("VACUUM INTO ?", (str(copy),))
    await stores[0].write_field("purges", "alice", b"2")
    copy.rename(path)
    assert await stores[0].read_table("purges") == {"alice": b"2"}
    await stores[0].write_field("purges", "alice", b"3")
    assert await stores[1].read_table("purges") == {"alice": b"3"}
    assert await stores[1]._database.writer.run(lambda db: db.execute("PRAGMA journal_mode").fetchone()) == ("wal",)
    for store in stores:
        await store.close()
    assert integrity(path) == (0, "ok")


async def test_a_file_of_an_older_layout_is_set_aside_and_left_alone(
    sqlite_store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    await sqlite_store.close()
    db = sqlite3.connect(sqlite_store.path)
    db.execute("PRAGMA user_version = 1")
    db.close()
    await sqlite_store.open()
    assert await sqlite_store.read_table("purges") == {}
    [old] = sqlite_store.path.parent.glob("clips.db.layout-1-*")
    assert version(old) == 1
    assert f"has the layout of another release: it is kept as {old.name}" in caplog.text


async def test_a_store_that_is_not_open_says_so(tmp_path: Path, sealer: Sealer, make_entry: MakeEntry) -> None:
    store = SQLiteStore(tmp_path / "clips.db", sealer=sealer)
    with pytest.raises(StoreError, match="is not open"):
        await store.get(make_entry(1).key)


# -- a slow disk -----------------------------------------------------------------------------------------------------


async def test_a_disk_that_hangs_blocks_neither_the_event_loop_nor_memory(
    sqlite_store: SQLiteStore, make_entry: MakeEntry
) -> None:
    disk = threading.Event()
    hanging = asyncio.create_task(sqlite_store._database.writer.run(lambda _: disk.wait(10)))
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(sqlite_store.put(make_entry(number))) for number in range(400)]
    await asyncio.sleep(0)
    refused = [task for task in waiting if task.done() and isinstance(task.exception(), StoreError)]
    assert len(refused) == 400 - 255
    assert {task.exception().failure for task in refused} == {Failure.BUSY}  # type: ignore[union-attr]
    assert await sqlite_store.get(make_entry(1).key) is None  # reading goes on
    disk.set()
    await hanging
    assert sum([await task for task in waiting if task not in refused]) == 255


async def test_a_write_whose_caller_has_left_still_lands(sqlite_store: SQLiteStore, make_entry: MakeEntry) -> None:
    disk = threading.Event()
    hanging = asyncio.create_task(sqlite_store._database.writer.run(lambda _: disk.wait(10)))
    put = asyncio.create_task(sqlite_store.put(make_entry(1)))
    await asyncio.sleep(0)
    put.cancel()
    with pytest.raises(asyncio.CancelledError):
        await put
    disk.set()
    await hanging
    await sqlite_store._database.writer.run(lambda _: None)  # what was waiting is done
    assert await sqlite_store.get(make_entry(1).key) == make_entry(1)


async def test_no_thread_resets_a_statement_that_another_runs(sqlite_store: SQLiteStore) -> None:
    for _ in range(20):
        await asyncio.gather(*(sqlite_store.count({"hits": 1, "saved seconds": 0.25}) for _ in range(40)))
    assert await sqlite_store.totals() == {"hits": 800, "saved seconds": 200}
