"""The routes behind the dashboard: its figures, the clips, and the right that they need."""

import re
from importlib.resources import files

import pytest
import pytest_asyncio

from sayonce.core.envelope import Entry
from sayonce.gateway.access import new_key
from sayonce.gateway.dashboard import overview
from sayonce.observe import recent
from sayonce.observe.metrics import BUCKET_SECONDS, Histogram
from sayonce.testing import StubEngine
from tests.helpers.serving import serving, speak

pytestmark = pytest.mark.asyncio(loop_scope="module")

STATIC = {file.name: file.read_text() for file in (files("sayonce.gateway.dashboard") / "static").iterdir()}
ADMIN, ADMIN_LINE = new_key("shop", admin=True)
GUEST, GUEST_LINE = new_key("guest")


@pytest_asyncio.fixture(loop_scope="module")
async def client():
    async with serving(StubEngine(), StubEngine("other")) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def guarded(tmp_path):
    (tmp_path / "keys.txt").write_text(f"{ADMIN_LINE}\n{GUEST_LINE}\n")
    async with serving(StubEngine(), security__api_keys_file=str(tmp_path / "keys.txt")) as client:
        yield client


async def figures(client, **headers):
    answer = await client.get("/v1/cache/overview", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


# -- what it asks for ---------------------------------------------------------------------------------------------------


async def test_the_overview_agrees_with_what_a_client_counted(client):
    for text in ("One.", "Two.", "One.", "One."):
        await speak(client, text)
    await speak(client, voice="nobody")
    found = await figures(client)
    requests = found["requests"]
    assert (requests["requests"], requests["hit"], requests["led"], requests["hit_rate"]) == (4, 2, 2, 0.5)
    assert [(each["outcome"], each["requests"]) for each in found["latency"]] == [("hit", 2), ("led", 2)]
    assert found["errors"] == [{"outcome": "refused", "reason": "not_found", "requests": 1}]
    assert [(each["name"], each["calls"]) for each in found["engines"]] == [("stub", 2), ("other", 0)]
    assert [each["outcome"] for each in found["latest"]] == ["refused", "hit", "hit", "led", "led"]
    [clip] = found["clips"]
    assert (clip["hits"], clip["voice"], clip["seconds"]) == (2, "anna", 0.4)
    assert found["savings"]["saved_seconds"] == pytest.approx(2 * clip["saved_seconds"])


async def test_the_overview_holds_no_text(client):
    for _ in range(2):
        await speak(client, "A secret that nobody may read.")
    assert "secret" not in (await client.get("/v1/cache/overview")).text


async def test_the_route_of_clips_gives_a_clip_as_it_is_kept_or_as_wav(client):
    first = await speak(client)
    kept = await client.get(f"/v1/cache/clips/{first.headers['x-sayonce-key']}")
    assert (kept.headers["content-type"], kept.content[:4]) == ("audio/flac", b"fLaC")
    wav = await client.get(f"/v1/cache/clips/{first.headers['x-sayonce-key']}", params={"format": "wav"})
    hit = await speak(client)
    assert (wav.headers["content-type"], wav.content) == ("audio/wav", hit.content)
    cost = await client.head(f"/v1/cache/clips/{first.headers['x-sayonce-key']}")
    assert cost.headers["x-sayonce-compute-ms"] == hit.headers["x-sayonce-compute-ms"]


async def test_the_route_of_clips_gives_clips_and_nothing_else(client):
    cache = client.service.cache
    cache.memory.keep(Entry(key=bytes(32), body=b"tensor", media_type="application/x-tensor", created=0, expires=9e9))
    for key, status in (("00" * 32, 404), ("11" * 32, 404), ("short", 400)):
        assert (await client.get(f"/v1/cache/clips/{key}")).status_code == status
    assert (await client.get(f"/v1/cache/clips/{'11' * 32}", params={"format": "mp3"})).status_code == 400


@pytest.mark.parametrize("path", ["/v1/cache/overview", f"/v1/cache/clips/{'00' * 32}"])
async def test_the_dashboards_figures_and_clips_need_the_right_admin(guarded, path):
    assert (await guarded.get(path)).status_code == 401
    assert (await guarded.get(path, headers={"authorization": f"Bearer {GUEST}"})).status_code == 403
    assert (await guarded.get(path, headers={"authorization": f"Bearer {ADMIN}"})).status_code in (200, 404)


async def test_the_dashboard_may_load_only_its_own_files(client):
    page = await client.get("/")
    assert page.headers["content-security-policy"].startswith("default-src 'self';")
    assert "unsafe" not in page.headers["content-security-policy"]
    assert not re.search(r"<style|style=|<script(?![^>]*src=)|\son\w+=", page.text)
    for text in STATIC.values():
        assert set(re.findall(r"https?://[\w./]+", text)) <= {"http://www.w3.org/2000/svg"}
    for name in re.findall(r'(?:href|src)="(dashboard/[^"]+)"', page.text):
        assert (await client.get(f"/{name}")).status_code == 200
    for name in ("index.html", "nothing.js", "..%2froutes.py"):
        assert (await client.get(f"/dashboard/{name}")).status_code == 404


async def test_what_a_process_remembers_for_the_dashboard_is_bounded(client, monkeypatch):
    monkeypatch.setattr(recent, "_CLIPS", 4)
    for number in range(9):
        for _ in range(4 if number == 0 else 2):
            await speak(client, f"Text {number}")
    clips = (await figures(client))["clips"]
    assert len(clips) <= 4
    assert clips[0]["hits"] == 3, "the favourite stays"


async def test_quantiles_of_the_dashboard_are_those_of_the_buckets():
    histogram = Histogram()
    assert overview.quantile(histogram.numbers(), 0.5) is None
    for seconds in (0.02, 0.02, 0.02, 60.0):
        histogram.observe(seconds)
    assert overview.quantile(histogram.numbers(), 0.5) == pytest.approx(0.01 + (0.025 - 0.01) * 2 / 3)
    assert overview.quantile(histogram.numbers(), 0.99) == BUCKET_SECONDS[-1]
