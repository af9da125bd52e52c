"""Write the golden store of this release: ``python -m tests.golden.make``; needs ``redis-server``.

Once a release is out its store stays as it is: every later release reads it.
"""

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import soundfile

from sayonce import __version__
from sayonce.observe.trace_reader import read_traces
from tests.golden import content
from tests.golden.content import ASKED, DEPLOYMENTS, FEATURES, FOLDER, OUTDATED
from tests.golden.identities import IDENTITIES
from tests.golden.opening import as_tenant, ask, cache_of, export, gateway, load, place, sqlite_url, totals_of
from tests.helpers.redis_server import run_redis_server
from tests.helpers.upstream import Upstream, wav


async def fill(url: str, folder: Path) -> None:
    """Do with a gateway and a library all that leaves something in a store."""
    with Upstream() as engine:
        async with gateway(url, folder, base_url=engine.url) as client:
            await outdate(client, engine)
            await upload_voices(client)
            purged = await client.post("/v1/cache/purge", json={"tag": "voice=cleo"}, headers=as_tenant("operator"))
            assert purged.status_code == 200, purged.text
            await speak_all(client, engine, "flac")
            await speak_all(client, engine, "flac")  # hits, for the ledger
        for deployment in DEPLOYMENTS.keys() - {"flac"}:
            async with gateway(url, folder, deployment, engine.url) as client:
                await speak_all(client, engine, deployment)
    async with cache_of(url) as cache:
        await remember(cache)


async def outdate(client: httpx.AsyncClient, engine: Upstream) -> None:
    """Leave takes in the store that purges have outdated; those that a purge removes are put back."""
    store = client.service.cache.store
    for fields, purge in zip(OUTDATED, ({"all": True}, None, "key"), strict=True):
        answer = await speak(client, engine, "acme", fields)
        if purge is None:
            continue
        key = answer.headers["x-sayonce-key"]
        entry = await store.get(bytes.fromhex(key))
        body = {"key": key} if purge == "key" else purge
        purged = await client.post("/v1/cache/purge", json=body, headers=as_tenant("operator"))
        assert purged.status_code == 200, purged.text
        assert await store.get(entry.key) is None
        assert await store.put(entry)


async def upload_voices(client: httpx.AsyncClient) -> None:
    voices = [("acme", "Ada", 220), ("acme", "Ada again", 220), ("acme", content.REMOVED_VOICE, 260)]
    for tenant, name, pitch_hz in [*voices, ("globex", content.GLOBEX_VOICE, 330)]:
        data = {"name": name, "ref_text": content.REFERENCE_TEXT}
        files = {"audio_sample": ("reference.wav", content.reference(pitch_hz))}
        answer = await client.post("/v1/audio/voices", data=data, files=files, headers=as_tenant(tenant))
        assert answer.status_code == 201, answer.text
    answer = await client.delete(f"/v1/audio/voices/{content.REMOVED_VOICE}", headers=as_tenant("acme"))
    assert answer.status_code == 200, answer.text
    synthesizer = client.service.synthesizer
    assert await synthesizer.voices.copies.note(content.copy_of(synthesizer), "the mark of a copy")


async def speak_all(client: httpx.AsyncClient, engine: Upstream, deployment: str) -> None:
    for of, tenant, fields in ASKED:
        if of == deployment:
            await speak(client, engine, tenant, fields)


async def speak(client: httpx.AsyncClient, engine: Upstream, tenant: str, fields: dict[str, Any]) -> httpx.Response:
    file = wav(content.sound(fields))
    if client.service.synthesizer.catalogue.engines[0].take_format == "mp3":
        engine.answer(200, as_mp3(file), "audio/mpeg")
    else:
        engine.answer(200, file, "audio/wav")
    answer = await ask(client, tenant, fields)
    assert answer.status_code == 200, answer.text
    await client.service.cache.settle()
    return answer


def as_mp3(file: bytes) -> bytes:
    with tempfile.NamedTemporaryFile(suffix=".wav") as whole, tempfile.NamedTemporaryFile(suffix=".mp3") as made:
        Path(whole.name).write_bytes(file)
        samples, rate = soundfile.read(whole.name)
        soundfile.write(made.name, samples, rate, format="MP3")
        return Path(made.name).read_bytes()


async def remember(cache: Any) -> None:
    for function, options, arguments in FEATURES:
        await cache.remember(function.__name__, revision="golden", **options)(function)(*arguments)
    prompt, options = content.FORGOTTEN
    await cache.remember("conditioning", revision="golden", **options)(content.conditioning)(prompt)
    await cache.purge(*options["tags"])
    await cache.fetch(content.DOCUMENT, lambda: content.VALUE)
    await cache.settle()


async def read(url: str, folder: Path) -> dict[str, Any]:
    """Return what this release answers from the store it has written; nothing is spoken for it."""
    found: dict[str, Any] = {"answers": [], "totals": await totals_of(url)}
    async with gateway(url, folder) as client:
        day = {"from": content.DAY, "to": content.DAY}
        ledger = await client.get("/v1/cache/ledger", params=day, headers=as_tenant("operator"))
        found["ledger"] = ledger.json()["lines"]
    for deployment in DEPLOYMENTS:
        async with gateway(url, folder, deployment) as client:
            for of, tenant, fields in ASKED:
                if of == deployment:
                    found["answers"].append(
                        {"deployment": of, "tenant": tenant, **told(await ask(client, tenant, fields), fields)}
                    )
    return found


def told(answer: httpx.Response, fields: dict[str, Any]) -> dict[str, Any]:
    assert answer.status_code == 200, (fields, answer.text)
    return {
        "asked": fields,
        "key": answer.headers["x-sayonce-key"],
        "media_type": answer.headers["content-type"],
        "bytes": len(answer.content),
        "sha256": sha256(answer.content).hexdigest(),
    }


async def make(golden: Path) -> None:
    expected: dict[str, Any] = {"release": __version__, "versions": content.versions()}
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        for store in content.STORES:
            (work / store).mkdir()
        await fill(sqlite_url(work / "sqlite"), work / "sqlite")
        for name in ("clips.db", "trace"):
            shutil.copy(work / "sqlite" / name, golden / name)
        with run_redis_server(work) as server:
            await fill(server.url, work / "redis")
            with server.client() as client:
                (golden / "redis.json").write_text(export(client))
        expected["requests traced"] = len(read_traces([golden / "trace"]).accesses)
        for store in content.STORES:
            shutil.copytree(work / store / "bodies", golden / f"bodies-of-{store}")
            again = work / f"{store} again"
            again.mkdir()
            place(golden, store, again)
            with run_redis_server(again) as server, server.client() as client:
                load(client, golden / "redis.json")
                url = server.url if store == "redis" else sqlite_url(again)
                expected[store] = await read(url, again)
    (golden / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")


def identities() -> Iterator[tuple[str, Any]]:
    for name, find in IDENTITIES.items():
        with tempfile.TemporaryDirectory() as folder:
            yield name, find(Path(folder))


def main() -> None:
    golden = FOLDER / __version__
    shutil.rmtree(golden, ignore_errors=True)
    golden.mkdir(parents=True)
    asyncio.run(make(golden))
    (golden / "identities.json").write_text(json.dumps(dict(identities()), indent=1, ensure_ascii=False) + "\n")
    size = sum(file.stat().st_size for file in golden.rglob("*") if file.is_file())
    sys.stdout.write(f"{golden}: {size:,} bytes\n")


if __name__ == "__main__":
    main()
