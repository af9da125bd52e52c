"""Bodies in a real server of the S3 protocol, and every kind of trouble with it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sayonce.cache import Cache
from sayonce.core.envelope import Entry, Refused
from sayonce.core.key import Secret
from sayonce.core.outcome import Refusal
from sayonce.errors import Failure, StoreError
from sayonce.stores import open_store
from sayonce.stores.base import SealedStore
from sayonce.stores.blobs.store import BlobStore, name_of
from sayonce.stores.blobs.url import open_blob_store
from sayonce.stores.memory import MemoryStore
from tests.helpers.deployments import free_port
from tests.helpers.object_server import Bucket, run_object_server
from tests.helpers.redis_server import Server

MakeEntry = Callable[..., Entry]
LARGE = os.urandom(100_000)
SMALL = b"a small one"
BUDGET_SECONDS = 0.25


@asynccontextmanager
async def opened(valkey: Server, url: str, sealer: Any) -> AsyncIterator[Cache]:
    """A cache over Valkey and an S3 server, without a memory tier that would hide them."""
    store = open_store(valkey.url, sealer=sealer)
    assert isinstance(store, SealedStore)
    store.bodies = open_blob_store(url, secret=Secret(), budget_seconds=BUDGET_SECONDS)
    async with Cache(store, memory=MemoryStore(0)) as cache:
        yield cache


@pytest.fixture
async def cache(valkey: Server, bucket: Bucket, sealer: Any) -> AsyncIterator[Cache]:
    async with opened(valkey, bucket.url, sealer) as cache:
        yield cache


async def fetched(cache: Cache, number: int, body: bytes) -> tuple[bytes, bool]:
    """Fetch a value, and tell whether it had to be computed."""
    computed = []

    def compute() -> bytes:
        computed.append(True)
        return body

    entry = await cache.fetch(cache.key(number), compute)
    await cache.settle()
    return entry.body, bool(computed)


async def hits(cache: Cache, number: int, body: bytes) -> bool:
    found, computed = await fetched(cache, number, body)
    assert found == body
    return not computed


async def address_of(cache: Cache, number: int) -> str:
    """Return the path in the bucket of a key's body."""
    assert isinstance(cache.store, SealedStore)
    pointer = await cache.store.find(cache.key(number))
    return f"some/prefix/{name_of(pointer.address)}"  # type: ignore[union-attr]


async def test_a_large_body_lies_in_the_bucket_and_a_small_one_in_the_index(
    cache: Cache, bucket: Bucket, valkey: Server
) -> None:
    assert [await hits(cache, 1, LARGE), await hits(cache, 2, SMALL)] == [False, False]
    assert [await hits(cache, 1, LARGE), await hits(cache, 2, SMALL)] == [True, True]
    assert bucket.read(await address_of(cache, 1)) == LARGE
    with valkey.client() as client:
        assert client.strlen(f"sayonce:2:{{{cache.key(1).hex()}}}") < 400


@pytest.mark.parametrize("trouble", ["deleted", "truncated", "flipped", "swapped"])
async def test_an_altered_body_in_the_bucket_is_a_miss_that_heals(cache: Cache, bucket: Bucket, trouble: str) -> None:
    await hits(cache, 1, LARGE)
    path = await address_of(cache, 1)
    if trouble == "deleted":
        bucket.delete(path)
    else:
        other = os.urandom(len(LARGE))
        changed = {"truncated": LARGE[:-1], "flipped": LARGE[:-1] + bytes([LARGE[-1] ^ 1]), "swapped": other}
        bucket.write(path, changed[trouble])
    assert not await hits(cache, 1, LARGE)
    reason = Refusal.LOST if trouble == "deleted" else Refusal.ALTERED
    assert cache.counters[f"refused: {reason.value}"] == 1
    assert await hits(cache, 1, LARGE)
    assert bucket.read(path) == LARGE


async def test_an_object_store_that_hangs_costs_the_budget_and_no_small_hit(
    cache: Cache, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    await hits(cache, 1, LARGE)
    await hits(cache, 2, SMALL)
    with bucket.server.stopped():
        added = []
        for _ in range(12):
            started = time.perf_counter()
            assert await cache.find(cache.key(1)) is None
            added.append(time.perf_counter() - started)
            assert await cache.find(cache.key(2)) is not None
        assert max(added) < BUDGET_SECONDS + len(LARGE) / 20_000_000 + 0.1
        assert added[-1] < 0.02  # its breaker is open
        assert await hits(cache, 2, SMALL)
        assert cache.store_state == "incomplete"  # large clips are not to be had, small ones are
    assert cache.counters["bodies errors: timeout"] >= 1
    assert cache.counters["bodies skipped"] >= 1
    assert not any(name.startswith("store errors") for name in cache.counters)
    assert caplog.text.count("bodies: circuit breaker opened") == 1
    started = time.monotonic()
    while await cache.find(cache.key(1)) is None:
        assert time.monotonic() < started + 5
        await asyncio.sleep(0.05)
    assert "bodies: circuit breaker closed" in caplog.text


async def test_an_object_store_that_comes_back_empty_is_filled_anew(
    valkey: Server, sealer: Any, tmp_path: Path, bucket: Bucket
) -> None:
    port = free_port()
    with run_object_server(tmp_path, port) as server:
        own = Bucket.new(server)
        async with opened(valkey, own.url, sealer) as cache:
            await hits(cache, 1, LARGE)
            await hits(cache, 2, SMALL)
    async with opened(valkey, own.url, sealer) as cache:
        for number in range(1, 12):
            assert not await hits(cache, 1, LARGE)
            assert await hits(cache, 2, SMALL)
            assert not await hits(cache, 100 + number, LARGE)
        assert cache.counters["bodies errors: lost"] >= 1
        with run_object_server(tmp_path, port):
            own.make()
            deadline = time.monotonic() + 5
            while not await hits(cache, 1, LARGE):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)


async def test_a_slow_object_store_is_waited_for_within_the_budget_alone(
    valkey: Server, bucket: Bucket, sealer: Any
) -> None:
    async with delaying(bucket.server.port) as proxy:
        url = bucket.url.replace(str(bucket.server.port), str(proxy.port))
        async with opened(valkey, url, sealer) as cache:
            await hits(cache, 1, LARGE)
            proxy.delay_seconds = 0.03
            assert await cache.find(cache.key(1)) is not None
            proxy.delay_seconds = 5
            started = time.perf_counter()
            assert await cache.find(cache.key(1)) is None
            assert time.perf_counter() - started < BUDGET_SECONDS + 0.2
            proxy.delay_seconds = 0
            assert await hits(cache, 1, LARGE)


async def test_a_bucket_that_is_missing_is_no_lost_body(cache: Cache, bucket: Bucket) -> None:
    """Else every pointer that is read would be removed, for a mistake that is soon corrected."""
    await hits(cache, 1, LARGE)
    store = cache.store
    assert isinstance(store, SealedStore)
    right = store.bodies
    store.bodies = open_blob_store(bucket.url_of("no-such-bucket"), secret=Secret())
    with pytest.raises(StoreError, match="NoSuchBucket; create it, or correct") as failed:
        await store.get(cache.key(1))
    assert failed.value.failure is Failure.REFUSED
    with pytest.raises(StoreError, match="NoSuchBucket"):
        await store.put(Entry(key=bytes(32), body=LARGE, media_type="", created=0, expires=1e12))
    with pytest.raises(StoreError, match="no-such-bucket/some/prefix: NoSuchBucket"):
        await store.bodies.check()
    store.bodies = right
    assert await hits(cache, 1, LARGE)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bucket, dict[str, str], dict[str, str]]]:
    """A bucket that checks credentials, those that may all, and those that may only read."""
    policy = '{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"{}","Resource":"*"}}]}}'
    with run_object_server(tmp_path_factory.mktemp("guarded"), INITIAL_NO_AUTH_ACTION_COUNT="7") as server:
        iam = server.client("iam")
        users = []
        for user, action in (("writer", "s3:*"), ("reader", "s3:Get*")):
            iam.create_user(UserName=user)
            iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=policy.format(action))
            key = iam.create_access_key(UserName=user)["AccessKey"]
            users.append({"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]})
        yield Bucket.new(server), users[0], users[1]


def bodies_as(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, credentials: dict[str, str]) -> BlobStore:
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)
    return open_blob_store(bucket.url, secret=Secret())


async def test_credentials_for_the_bucket_come_from_the_environment(
    guarded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, writer, _ = guarded
    bodies = bodies_as(bucket, monkeypatch, writer)
    await bodies.check()
    assert await bodies.get(await bodies.put(LARGE), len(LARGE)) == LARGE


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "hunter2"}, "SignatureDoesNotMatch"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "InvalidAccessKeyId"),
    ],
)
async def test_wrong_credentials_for_the_bucket_are_told_with_what_to_do_and_not_repeated(
    guarded: Any, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str], code: str
) -> None:
    bucket, writer, _ = guarded
    bodies = bodies_as(bucket, monkeypatch, writer | wrong)
    with pytest.raises(StoreError, match=f"{code}; correct the credentials in the environment") as failed:
        await bodies.check()
    assert "hunter2" not in str(failed.value)
    assert writer["AWS_ACCESS_KEY_ID"] not in str(failed.value)


async def test_credentials_that_may_only_read_still_give_hits(guarded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket, writer, reader = guarded
    address = await bodies_as(bucket, monkeypatch, writer).put(LARGE)
    reading = bodies_as(bucket, monkeypatch, reader)
    with pytest.raises(StoreError, match="AccessDenied") as failed:
        await reading.put(b"new")
    assert failed.value.failure is Failure.FULL
    assert await reading.get(address, len(LARGE)) == LARGE
    with pytest.raises(Refused, match="body altered"):  # and it cannot be removed
        await reading.get(address, len(LARGE) - 1)


async def test_a_lost_body_is_told_from_one_that_never_was_by_nothing_but_its_pointer(bucket: Bucket) -> None:
    bodies = open_blob_store(bucket.url, secret=Secret())
    with pytest.raises(Refused, match="body lost"):
        await bodies.get(bytes(36), 10)


async def test_the_endpoint_of_the_bucket_can_come_from_the_environment(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.server.endpoint)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    await open_blob_store(f"s3://{bucket.name}", secret=Secret()).check()


# -- many processes ----------------------------------------------------------------------------------------------------

WORKER = """
import asyncio, sys, hashlib
from sayonce.config import load_settings
from sayonce.service import build_cache

def clip(number):
    return hashlib.shake_128(b"%d" % number).digest(2_000)

async def main(first, last):
    computed = 0
    async with build_cache(load_settings()) as cache:
        for number in range(first, last):
            def compute():
                nonlocal computed
                computed += 1
                return clip(number)
            assert (await cache.fetch(cache.key(number), compute)).body == clip(number)
            await cache.settle()
    print(computed)

asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
"""


def test_a_thousand_clips_of_four_processes_are_all_found_again(valkey: Server, bucket: Bucket) -> None:
    environment = os.environ | {
        "SAYONCE_STORE__URL": valkey.url,
        "SAYONCE_STORE__BUDGET_MS": "5000",
        "SAYONCE_BODIES__URL": bucket.url,
        "SAYONCE_BODIES__BUDGET_MS": "10000",
        "SAYONCE_BODIES__INLINE_MAX_BYTES": "1000",
        "SAYONCE_MEMORY__MAX_BYTES": "0",
    }

    def computed(*ranges: tuple[int, int]) -> int:
        command = [sys.executable, "-c", WORKER]
        workers = [
            subprocess.Popen([*command, str(first), str(last)], env=environment, stdout=subprocess.PIPE, text=True)
            for first, last in ranges
        ]
        try:
            return sum(int(worker.communicate(timeout=60)[0]) for worker in workers)
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()

    quarters = [(0, 250), (250, 500), (500, 750), (750, 1000)]
    assert computed(*quarters) == 1000
    assert computed((500, 1000), (0, 500)) == 0


# -- a proxy that delays -----------------------------------------------------------------------------------------------


class Delaying:
    port = 0
    delay_seconds = 0.0


@asynccontextmanager
async def delaying(target: int) -> AsyncIterator[Delaying]:
    """Relay TCP to a port, every answer so much later."""
    proxy = Delaying()
    relays: set[asyncio.Task[None]] = set()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        try:
            while data := await reader.read(65_536):
                if answers:
                    await asyncio.sleep(proxy.delay_seconds)
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", target)
        relays.add(asyncio.create_task(relay(reader, forth, answers=False)))
        relays.add(asyncio.create_task(relay(back, writer, answers=True)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for task in relays:
            task.cancel()
        await asyncio.gather(*relays, return_exceptions=True)
