"""Nothing says that all is well where a part fails: each place names the trouble, or is documented not to look at it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Any

import httpx
import pytest

from sayonce.cache.purge_table import TABLE as PURGES
from sayonce.errors import EngineError
from sayonce.speech.engines import build_engine
from sayonce.speech.voice_names import TABLE as VOICES
from sayonce.stores.redis.names import table_name
from sayonce.stores.tables import BOUNDS
from sayonce.testing import StubEngine
from tests.helpers.redis_stores import fill_table
from tests.helpers.serving import serving, speak
from tests.helpers.sqlite_files import is_full
from tests.helpers.stub_engines import Cloner
from tests.helpers.uploaded_voices import upload

SAID_SECONDS = 20.0
LOUD = 1000
"""Bytes of a body that lies outside the store."""


@dataclass
class Trouble:
    """What a gateway in trouble has to say, and with which settings the commands look at its store."""

    client: httpx.AsyncClient
    state: str = "ok"
    why: str | None = None
    """A part of the sentence that says what is wrong with the store."""
    engines: dict[str, str] = field(default_factory=lambda: {"stub": "ready"})
    stats: str | None = None
    """What ``sayonce stats`` says; None where it does not look."""
    doctor: str | None = None
    """How a line of ``sayonce doctor`` begins; None where only a running server can know."""
    settings: dict[str, str] = field(default_factory=dict)


async def ask(client, *, new: list[int] = [0]) -> None:  # noqa: B006 (a number that was not asked for yet)
    """Ask for something new, which every trouble lets be heard."""
    new[0] += 1
    assert (await speak(client, f"Text {new[0]}.")).status_code == 200


def fill_disk(place: Path) -> None:
    with (place / "filler").open("wb") as file:
        while not is_full(file.fileno()):
            pass


# -- the troubles -------------------------------------------------------------------------------------------------------

Scene = Callable[[AsyncExitStack, Any], Any]


async def full_redis(stack, request):
    node = request.getfixturevalue("node")
    client = await stack.enter_async_context(serving(StubEngine(), store=node.url))
    node.call("CONFIG", "SET", "maxmemory", "1")
    return Trouble(client, "unwritable", "maxmemory", doctor="fail  store: ", settings={"STORE__URL": node.url})


async def full_disk(stack, request):
    place = request.getfixturevalue("disk")
    url = f"sqlite:///{place}/clips.db"
    client = await stack.enter_async_context(serving(StubEngine(), store=url))
    await ask(client)
    fill_disk(place)
    return Trouble(client, "unwritable", "disk is full", doctor="fail  store: ", settings={"STORE__URL": url})


async def store_away(stack, request):
    node = request.getfixturevalue("node")
    client = await stack.enter_async_context(serving(StubEngine(), store=node.url))
    node.kill()
    told = "Connect call failed"
    return Trouble(client, "failing", "", stats=told, doctor="fail  store: ", settings={"STORE__URL": node.url})


async def unreadable_names(stack, request):
    node = request.getfixturevalue("node")
    async with serving(Cloner(), store=node.url, security__key_secret="first") as client:
        await upload(client)
    client = await stack.enter_async_context(serving(Cloner(), store=node.url))
    lost = "1 records of uploaded voices cannot be read"
    settings = {"STORE__URL": node.url}
    return Trouble(client, "incomplete", lost, stats=lost, doctor=f"warn  voices: {lost}", settings=settings)


async def lost_names(stack, request):
    node = request.getfixturevalue("node")
    client = await stack.enter_async_context(serving(Cloner(), store=node.url))
    await upload(client)
    node.call("DEL", table_name(VOICES))
    await client.service.synthesizer.learn_voices()
    return Trouble(client, "incomplete", "records of uploaded voices", settings={"STORE__URL": node.url})


async def purges_beyond_their_bound(stack, request):
    node = request.getfixturevalue("node")
    client = await stack.enter_async_context(serving(StubEngine(), store=node.url))
    with node.client() as redis:
        fill_table(redis, PURGES, BOUNDS[PURGES].fields + 1)
    return beyond(client, node, "20,000 fields")


def beyond(client, node, why):
    return Trouble(client, "failing", why, stats=why, doctor="fail  store: ", settings={"STORE__URL": node.url})


async def purges_that_may_not_be_read(stack, request):
    node = request.getfixturevalue("node")
    client = await stack.enter_async_context(serving(StubEngine(), store=node.url))
    node.call("ACL", "SETUSER", "default", "-hlen")
    stack.callback(node.call, "ACL", "SETUSER", "default", "+hlen")
    why = "what was purged elsewhere cannot be read"
    return Trouble(client, "incomplete", why, doctor="warn  store: ", settings={"STORE__URL": node.url})


async def server_of_an_engine_down(stack, _):
    options = {"KIND": "openai", "MODEL": "m", "BASE_URL": "http://127.0.0.1:1/v1"}
    engine = build_engine("far", {name.lower(): value for name, value in options.items()})
    client = await stack.enter_async_context(serving(StubEngine(), engine))
    assert (await speak(client, model="far")).status_code == 502
    settings = {f"ENGINES__FAR__{name}": value for name, value in options.items()}
    engines = {"stub": "ready", "far": "down"}
    return Trouble(client, "none", engines=engines, doctor="fail  engine far: ", settings=settings)


async def engine_that_failed_to_load(stack, _):
    class Ill(StubEngine):
        async def load(self):
            raise EngineError("no weights")

    client = await stack.enter_async_context(serving(StubEngine(), Ill("ill")))
    engines = {"stub": "ready", "ill": "failed"}
    settings = {"ENGINES__ILL__KIND": "indextts2", "ENGINES__ILL__MODEL_DIR": "/nowhere"}
    return Trouble(client, "none", engines=engines, doctor="fail  engine", settings=settings)


async def damaged_file(stack, request):
    path = request.getfixturevalue("tmp_path") / "clips.db"
    url = f"sqlite:///{path}"
    async with serving(Cloner(), store=url) as client:
        await upload(client)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(bytes(path.stat().st_size - 4096))
    client = await stack.enter_async_context(serving(Cloner(), store=url))
    why = "file was damaged"
    doctor = "warn  store: the file was damaged"
    return Trouble(client, "incomplete", why, stats=why, doctor=doctor, settings={"STORE__URL": url})


async def bodies_on_a_full_disk(stack, request):
    place = request.getfixturevalue("disk")
    client, settings = await with_bodies(stack, request, place / "bodies")
    fill_disk(place)
    return Trouble(client, "unwritable", "bodies", doctor="fail  bodies: ", settings=settings)


async def bodies_whose_place_is_gone(stack, request):
    place = request.getfixturevalue("tmp_path") / "bodies"
    client, settings = await with_bodies(stack, request, place)
    rmtree(place)
    place.write_text("something else")
    return Trouble(client, "incomplete", "bodies", stats="bodies.url", doctor="fail  bodies: ", settings=settings)


async def with_bodies(stack, request, place):
    url = f"sqlite:///{request.getfixturevalue('tmp_path')}/clips.db"
    outside = {"bodies__url": f"file://{place}", "bodies__inline_max_bytes": LOUD}
    client = await stack.enter_async_context(serving(StubEngine(), store=url, memory__max_bytes=0, **outside))
    return client, {"STORE__URL": url, "BODIES__URL": f"file://{place}"}


SCENES = [
    full_redis, full_disk, store_away, unreadable_names, lost_names, purges_beyond_their_bound,
    purges_that_may_not_be_read, server_of_an_engine_down, engine_that_failed_to_load, damaged_file,
    bodies_on_a_full_disk, bodies_whose_place_is_gone,
]  # fmt: skip


@asynccontextmanager
async def in_trouble(scene: Scene, request: Any) -> AsyncIterator[Trouble]:
    """Bring a gateway into trouble, ask until it knows, and yield what it has to say."""
    async with AsyncExitStack() as stack:
        trouble = await scene(stack, request)
        async with asyncio.timeout(SAID_SECONDS):
            while (await ready(trouble.client))["store"] != trouble.state:
                await ask(trouble.client)
        yield trouble


async def ready(client):
    answer = await client.get("/health/ready")
    assert answer.status_code == 200  # trouble alone sends nobody elsewhere
    return answer.json()


# -- what is said of them -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
async def test_health_stats_overview_metrics_and_doctor_all_tell_of_a_part_that_fails(scene, request, sayonce):
    async with in_trouble(scene, request) as trouble:
        client = trouble.client
        said = await ready(client)
        assert (said["store"], said["engines"]) == (trouble.state, trouble.engines)
        stats = (await client.get("/v1/cache/stats")).json()
        overview = (await client.get("/v1/cache/overview")).json()
        for store in (stats, overview["store"]):
            assert store["state"] == trouble.state
            assert (store["trouble"] is None) == (trouble.why is None)
            assert (trouble.why or "") in (store["trouble"] or "")
        assert {each["name"]: each["state"] for each in overview["engines"]} == trouble.engines
        metrics = (await client.get("/metrics")).text.splitlines()
        if trouble.why is not None:
            assert f'sayonce_store_state{{state="{trouble.state}"}} 1.0' in metrics
        for name, state in trouble.engines.items():
            assert f'sayonce_engine_ready{{engine="{name}"}} {float(state == "ready")}' in metrics
        assert (await client.get("/health/live")).json() == {"status": "live"}  # the process answers: it says no more
        await said_by_commands(trouble, sayonce)


async def said_by_commands(trouble, sayonce):
    settings = {f"SAYONCE_{name}": value for name, value in trouble.settings.items()}
    if trouble.stats is not None:
        told = await asyncio.to_thread(sayonce, "stats", **settings)
        assert trouble.stats in told.out + told.err
    if trouble.doctor is not None:
        told = await asyncio.to_thread(sayonce, "doctor", **settings)
        found = [line for line in told.out.splitlines() if line.startswith(trouble.doctor)]
        assert found, told.out
        assert told.code == trouble.doctor.startswith("fail")
