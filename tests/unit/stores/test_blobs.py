"""Large bodies lie outside: found by a pointer, proven by its seal, and a miss when anything is wrong with them."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from sayonce.cache import Cache
from sayonce.config import Settings, load_settings
from sayonce.core.envelope import Entry, Pointer, Refused, Sealer, address_in
from sayonce.core.key import Secret
from sayonce.core.outcome import Refusal
from sayonce.errors import ConfigError, Failure, StoreError
from sayonce.service import build_cache
from sayonce.stores.base import SealedStore
from sayonce.stores.blobs.store import BlobStore, address_of, name_of
from sayonce.stores.blobs.url import open_blob_store
from sayonce.stores.memory import MemoryStore
from sayonce.stores.sqlite.store import SQLiteStore
from sayonce.testing import FakeClock
from tests.helpers.paths import TESTS

MakeEntry = Callable[..., Entry]
SECRET = Secret(b"a secret for tests")
LARGE = os.urandom(1001)
GOLDEN = json.loads((TESTS / "golden" / "pointers.json").read_text())


@pytest.fixture
async def store(tmp_path: Path, sealer: Sealer, clock: FakeClock) -> AsyncIterator[SQLiteStore]:
    """A store that keeps bodies of more than 1,000 bytes in files."""
    store = SQLiteStore(tmp_path / "clips.db", sealer=sealer, clock=clock)
    store.bodies = open_blob_store(f"file://{tmp_path}/bodies", secret=SECRET, clock=clock, inline_max_bytes=1000)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def cache(store: SQLiteStore, clock: FakeClock) -> AsyncIterator[Cache]:
    """A cache without a memory tier that would hide what the store does."""
    async with Cache(store, memory=MemoryStore(0), clock=clock) as cache:
        yield cache


def files(directory: Path) -> list[Path]:
    return sorted(path for path in (directory / "bodies").rglob("*") if path.is_file())


async def refusal(store: SealedStore, key: bytes) -> Refusal:
    with pytest.raises(Refused) as refused:
        await store.get(key)
    return refused.value.reason


# -- where bodies lie --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "outside"), [(0, False), (1000, False), (1001, True), (5_000_000, True)])
async def test_only_a_body_above_the_bound_lies_outside(
    store: SQLiteStore, make_entry: MakeEntry, tmp_path: Path, size: int, outside: bool
) -> None:
    entry = make_entry(1, body=os.urandom(size))
    assert await store.put(entry)
    assert [path.stat().st_size for path in files(tmp_path)] == ([size] if outside else [])
    assert await store.get(entry.key) == entry


async def test_what_an_entry_takes_of_the_index_does_not_depend_on_its_size(
    store: SQLiteStore, make_entry: MakeEntry
) -> None:
    used = []
    for number, size in enumerate((1001, 100_000, 3_000_000)):
        before = (await store.stats()).used_bytes or 0
        await store.put(make_entry(number, body=bytes(size)))
        used.append(((await store.stats()).used_bytes or 0) - before)
    assert max(used) <= min(used) + 8  # the digits of the length
    assert max(used) < 600


async def test_equal_bodies_of_an_hour_are_kept_once(
    store: SQLiteStore, make_entry: MakeEntry, tmp_path: Path, clock: FakeClock
) -> None:
    clock.now -= clock.now % 3600
    await asyncio.gather(*(store.put(make_entry(number, body=LARGE)) for number in range(20)))
    clock.advance(3599)
    await store.put(make_entry(20, body=LARGE))
    assert len(files(tmp_path)) == 1
    assert [(await store.get(make_entry(number).key)).body for number in range(21)] == [LARGE] * 21  # type: ignore[union-attr]


async def test_the_name_of_a_body_tells_its_hour_and_a_digest_that_needs_the_secret(
    tmp_path: Path, clock: FakeClock
) -> None:
    names = []
    for secret in (b"one", b"one", b"another"):
        bodies = open_blob_store(f"file://{tmp_path}/bodies", secret=Secret(secret), clock=clock)
        names.append(name_of(await bodies.put(LARGE)))
    assert names[0] == names[1] != names[2]
    assert all(name.startswith("2023-11-14T22/") and len(name) == 14 + 64 for name in names)
    assert [name_of(address_of(name) or b"") for name in names] == names


async def test_only_their_owner_can_read_the_files_of_bodies(tmp_path: Path) -> None:
    open_blob_store(f"file://{tmp_path}/bodies", secret=SECRET)
    assert (tmp_path / "bodies").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("vector", GOLDEN, ids=lambda vector: vector["name"])
async def test_pointers_to_bodies_are_those_of_the_golden_vectors(vector: dict[str, Any], tmp_path: Path) -> None:
    """A change would make every stored pointer a miss."""
    secret, fields = Secret(vector["secret"].encode()), vector["entry"]
    bodies = open_blob_store(f"file://{tmp_path}/bodies", secret=secret, clock=lambda: fields["created"])
    address = await bodies.put(bytes.fromhex(fields.pop("body")))
    assert (address.hex(), name_of(address)) == (vector["address"], vector["body_name"])
    entry = Entry(**fields | {"key": bytes.fromhex(fields["key"]), "body": bytes(vector["body_bytes"]), "tags": ()})
    sealed = Sealer(secret).seal(entry, address=address, nonce=bytes.fromhex(vector["nonce"]))
    assert sealed.hex() == vector["envelope"]
    found = Sealer(secret).unseal(entry.key, sealed)
    assert isinstance(found, Pointer)
    assert (found.address, found.body_bytes, found.entry(entry.body)) == (address, vector["body_bytes"], entry)
    assert address_in(sealed) == address


# -- a body that is not what it was ------------------------------------------------------------------------------------


async def test_a_lost_body_is_a_miss_that_heals(
    cache: Cache, store: SQLiteStore, make_entry: MakeEntry, tmp_path: Path
) -> None:
    entry = make_entry(1, body=LARGE)
    await store.put(entry)
    files(tmp_path)[0].unlink()
    assert await cache.find(entry.key) is None
    assert cache.counters["refused: body lost"] == 1
    assert (await store.stats()).entries == 0
    await store.put(entry)
    assert await store.get(entry.key) == entry


def flipped(body: bytes) -> bytes:
    return body[:500] + bytes([body[500] ^ 1]) + body[501:]


@pytest.mark.parametrize(
    "damage",
    [flipped, lambda body: body[:-1], lambda body: body + b"\0", lambda _: b"", lambda _: os.urandom(1001)],
    ids=["flipped", "truncated", "lengthened", "emptied", "swapped"],
)
async def test_an_altered_body_is_a_miss_that_heals(
    cache: Cache, store: SQLiteStore, make_entry: MakeEntry, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    entry = make_entry(1, body=LARGE)
    await store.put(entry)
    files(tmp_path)[0].write_bytes(damage(LARGE))
    assert await cache.find(entry.key) is None
    assert cache.counters["refused: body altered"] == 1
    assert files(tmp_path) == []
    assert (await cache.fetch(cache_key(entry), lambda: LARGE)).body == LARGE
    await cache.settle()
    assert [path.read_bytes() for path in files(tmp_path)] == [LARGE]
    answer = await cache.find(entry.key)
    assert answer is not None
    assert answer.tier == "sqlite"


def cache_key(entry: Entry) -> Any:
    from sayonce.core.key import Digest

    return Digest(entry.key)


async def test_two_bodies_that_change_places_are_both_misses(
    store: SQLiteStore, make_entry: MakeEntry, tmp_path: Path
) -> None:
    entries = [make_entry(number, body=os.urandom(2000)) for number in (1, 2)]
    for entry in entries:
        await store.put(entry)
    one, other = files(tmp_path)
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    assert [await refusal(store, entry.key) for entry in entries] == [Refusal.ALTERED] * 2


async def test_a_pointer_that_leads_to_another_body_is_refused(
    store: SQLiteStore, make_entry: MakeEntry, sealer: Sealer
) -> None:
    one, other = (make_entry(number, body=os.urandom(2000)) for number in (1, 2))
    assert store.bodies is not None
    addresses = [await store.bodies.put(entry.body) for entry in (one, other)]
    sealed = sealer.seal(one, address=addresses[0])
    assert sealer.unseal(one.key, sealed).expires == one.expires
    with pytest.raises(Refused, match="seal"):
        sealer.unseal(one.key, sealed.replace(addresses[0], addresses[1]))
    with pytest.raises(Refused, match="seal"):
        sealer.unseal(other.key, sealed)


async def test_a_far_larger_file_in_the_place_of_a_body_is_not_read(
    store: SQLiteStore, make_entry: MakeEntry, tmp_path: Path
) -> None:
    await store.put(make_entry(1, body=LARGE))
    with files(tmp_path)[0].open("r+b") as file:
        file.truncate(10**13)  # sparse: whoever reads it runs out of memory
    assert await refusal(store, make_entry(1).key) is Refusal.ALTERED


async def test_a_pointer_without_a_body_store_is_a_miss_that_leaves_it_to_others(
    store: SQLiteStore, make_entry: MakeEntry
) -> None:
    entry, bodies = make_entry(1, body=LARGE), store.bodies
    await store.put(entry)
    store.bodies = None
    assert await refusal(store, entry.key) is Refusal.UNREACHABLE
    store.bodies = bodies
    assert await store.get(entry.key) == entry


# -- the order of the two writes ---------------------------------------------------------------------------------------


async def test_a_body_that_cannot_be_written_leaves_no_pointer(
    store: SQLiteStore, make_entry: MakeEntry, tmp_path: Path
) -> None:
    (tmp_path / "bodies").rmdir()
    (tmp_path / "bodies").touch()
    with pytest.raises(StoreError):
        await store.put(make_entry(1, body=LARGE))
    assert (await store.stats()).entries == 0


async def test_a_pointer_that_cannot_be_written_leaves_a_body_that_nothing_points_to(
    store: SQLiteStore, make_entry: MakeEntry, tmp_path: Path
) -> None:
    entry = make_entry(1, body=LARGE)
    await store.put_body(entry)  # and then the process is killed
    assert await store.get(entry.key) is None
    assert len(files(tmp_path)) == 1


async def test_an_entry_that_has_expired_leaves_no_body(
    store: SQLiteStore, make_entry: MakeEntry, tmp_path: Path, clock: FakeClock
) -> None:
    assert not await store.put(make_entry(1, body=LARGE, expires=clock()))
    assert files(tmp_path) == []


async def test_bodies_are_still_read_from_a_full_disk(
    cache: Cache, store: SQLiteStore, make_entry: MakeEntry, tmp_path: Path
) -> None:
    entry = make_entry(1, body=LARGE)
    await store.put(entry)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, unlimited[1]))
    try:
        with pytest.raises(StoreError) as failed:
            await store.put(make_entry(2, body=os.urandom(2_000_000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert failed.value.failure is Failure.FULL
    assert len(files(tmp_path)) == 1
    assert await store.get(entry.key) == entry


# -- settings ----------------------------------------------------------------------------------------------------------


def settings(tmp_path: Path, **bodies: str) -> Settings:
    variables = {f"SAYONCE_BODIES__{name.upper()}": value for name, value in bodies.items()}
    return load_settings(environment={"SAYONCE_STORE__URL": f"sqlite:///{tmp_path}/clips.db", **variables})


def bodies_of(settings: Settings) -> BlobStore | None:
    store = build_cache(settings).store
    assert isinstance(store, SealedStore)
    return store.bodies


def test_without_a_url_for_bodies_every_body_lies_in_the_store(tmp_path: Path) -> None:
    assert bodies_of(settings(tmp_path)) is None


async def test_bodies_lie_in_a_folder_of_their_store_and_its_layout(
    tmp_path: Path, make_entry: MakeEntry, clock: FakeClock
) -> None:
    store = build_cache(settings(tmp_path, url=f"file://{tmp_path}/bodies", inline_max_bytes="0"), clock).store
    assert isinstance(store, SealedStore)
    await store.open()
    await store.put(make_entry())
    await store.close()
    [body] = files(tmp_path)
    assert body.relative_to(tmp_path / "bodies").parts[0] == f"sqlite-{store.layout}"


@pytest.mark.parametrize(
    ("bound", "within", "outside"),
    [(None, 65_536, 65_537), ("0", 0, 1), ("1 MB", 10**6, 10**6 + 1), ("none", 10**15, None)],
)
def test_the_largest_body_that_stays_in_the_store_is_a_setting(
    tmp_path: Path, bound: str | None, within: int, outside: int | None
) -> None:
    given = {} if bound is None else {"inline_max_bytes": bound}
    bodies = bodies_of(settings(tmp_path, url=f"file://{tmp_path}/bodies", **given))
    assert bodies is not None
    assert not bodies.takes(within)
    assert outside is None or bodies.takes(outside)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("bodies", "there is no scheme"),
        ("ftp://host/bodies", "the scheme is unknown"),
        ("file://relative/bodies", "absolute path"),
        ("file:///", "absolute path"),
        ("file:///nowhere/at/all", "No such file or directory; name a directory whose parent exists"),
        ("file:///proc/bodies", "name a directory whose parent exists"),
        ("file:///dev/null", "File exists"),
        ("s3://", "the bucket is missing"),
        ("s3://id:hunter2@bucket", "credentials do not belong in the URL"),
        ("s3://bucket?secret_access_key=hunter2", "the options of s3:// are allow_http, endpoint"),
        ("s3://bucket?endpoint=http://127.0.0.1:9000", "add &allow_http=true"),
        ("gs://bucket?endpoint=https://127.0.0.1", "the options of gs:// are none"),
        ("az://container", "Account must be specified"),
    ],
)
def test_a_wrong_url_for_bodies_is_told_with_what_would_be_right_and_without_secrets(
    tmp_path: Path, url: str, message: str
) -> None:
    with pytest.raises(ConfigError) as wrong:
        build_cache(settings(tmp_path, url=url))
    assert message in wrong.value.message
    assert wrong.value.message.startswith("bodies.url: ")
    assert "hunter2" not in wrong.value.message


@pytest.mark.parametrize("url", ["s3://bucket/prefix", "gs://bucket/prefix", "az://container/prefix"])
def test_the_bodies_of_every_cloud_are_opened_without_a_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    assert repr(bodies_of(settings(tmp_path, url=url))) == f"BlobStore({url!r})"


def test_without_the_library_for_bodies_the_error_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['obstore'] = None\n"
        "from sayonce.service import build_cache\nfrom sayonce.config import load_settings\n"
        "build_cache(load_settings(environment={'SAYONCE_STORE__URL': 'sqlite:///clips.db'}))\n"
        "build_cache(load_settings(environment={'SAYONCE_BODIES__URL': 'file:///tmp/bodies'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=tmp_path)
    assert "MissingExtra: bodies.url needs an optional part: pip install 'sayonce[objects]'" in done.stderr
