"""Open a golden store: put it where a gateway or a library finds it, by a clock that stands where it was written."""

import json
import shutil
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import redis

from sayonce.core.envelope import Sealer
from sayonce.features import library
from sayonce.stores import open_store
from sayonce.stores.memory import MemoryStore
from sayonce.testing import FakeClock
from tests.golden.content import KEYS, MOMENT, NAMESPACE, SECRET, keys_file, settings
from tests.helpers.serving import serving

NOWHERE = "http://127.0.0.1:9/v1"
"""Where no server is: what is heard has not been spoken now."""


@asynccontextmanager
async def gateway(
    url: str, folder: Path, deployment: str = "flac", base_url: str = NOWHERE
) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of a gateway over the store at ``url``; the bodies are in ``folder``."""
    keys = folder / "keys"
    keys.write_text(keys_file())
    overrides = settings(deployment, str(folder), str(keys), base_url)
    async with serving(store=url, clock=FakeClock(MOMENT), **overrides) as client:
        yield client


@asynccontextmanager
async def cache_of(url: str) -> AsyncIterator[library.Cache]:
    """Yield a cache of the library over the store."""
    clock = FakeClock(MOMENT)
    store = open_store(url, sealer=Sealer(SECRET), clock=clock, budget_seconds=2)
    async with library.Cache(
        store, memory=MemoryStore(clock=clock), secret=SECRET, namespace=NAMESPACE, budget_seconds=2, clock=clock
    ) as cache:
        yield cache


async def totals_of(url: str) -> dict[str, float]:
    """Return the totals before a gateway adds its own to them, which it does within a moment."""
    store = open_store(url, sealer=Sealer(SECRET), budget_seconds=2)
    assert store is not None
    await store.open()
    try:
        return await store.totals()
    finally:
        await store.close()


def as_tenant(tenant: str) -> dict[str, str]:
    return {"authorization": f"Bearer {KEYS[tenant]}"}


async def ask(client: httpx.AsyncClient, tenant: str, fields: dict[str, Any]) -> httpx.Response:
    return await client.post(
        "/v1/audio/speech", json={"model": "far", "stream": False, **fields}, headers=as_tenant(tenant)
    )


# -- SQLite and bodies ------------------------------------------------------------------------------------------------


def place(golden: Path, store: str, folder: Path) -> None:
    """Copy a golden store's files: the bodies, and of SQLite the file."""
    shutil.copytree(golden / f"bodies-of-{store}", folder / "bodies")
    if store == "sqlite":
        shutil.copy(golden / "clips.db", folder / "clips.db")


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder}/clips.db"


# -- Redis ------------------------------------------------------------------------------------------------------------


def export(client: redis.Redis) -> str:
    """Return all that lasts in a Redis as JSON: names, types, values and the time to live of entries, in seconds.

    Neither an RDB file nor the payload of DUMP: both have the version of the server that wrote them, and older ones
    refuse them. These are the arguments of SET and HSET, which every server takes and everybody can read.
    """
    kept = sorted(
        name for name in client.scan_iter() if name.endswith(b"}")
    )  # what lasts for minutes has more behind it
    return json.dumps([_exported(client, name) for name in kept], indent=1, ensure_ascii=False) + "\n"


def _exported(client: redis.Redis, name: bytes) -> dict[str, Any]:
    if client.type(name) == b"hash":
        fields = {field.decode(): b64encode(value).decode() for field, value in sorted(client.hgetall(name).items())}
        return {"name": name.decode(), "fields": fields}
    value = b64encode(client.get(name)).decode()
    return {"name": name.decode(), "ttl_seconds": round(client.pttl(name) / 1000), "value": value}


def load(client: redis.Redis, exported: Path) -> None:
    """Write what was exported into a Redis."""
    for each in json.loads(exported.read_text()):
        if "fields" in each:
            client.hset(each["name"], mapping={name: b64decode(value) for name, value in each["fields"].items()})
        else:
            client.set(each["name"], b64decode(each["value"]), ex=each["ttl_seconds"])


def contents(client: redis.Redis, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield the names and the values that lie under a prefix."""
    for name in sorted(client.scan_iter(f"{prefix}*")):
        yield name.decode(), client.hgetall(name) if client.type(name) == b"hash" else client.dump(name)
