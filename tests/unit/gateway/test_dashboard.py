"""The dashboard in a real Chromium, on a gateway over real sockets: empty, under load, with Redis stopped, behind keys."""

import asyncio
import os
import re
import shlex
import signal
from contextlib import asynccontextmanager
from importlib.resources import files

import pytest
import pytest_asyncio

from sayonce.errors import EngineError
from sayonce.gateway.access import new_key
from sayonce.speech.engines import build_engine
from sayonce.testing import StubEngine
from tests.helpers.browser import chromium, fits, opened, shows
from tests.helpers.equal_servers import replicas
from tests.helpers.serving import serving, speak

pytestmark = pytest.mark.asyncio(loop_scope="module")

STATIC = {file.name: file.read_text() for file in (files("sayonce.gateway.dashboard") / "static").iterdir()}
ADMIN, ADMIN_LINE = new_key("shop", admin=True)
GUEST, GUEST_LINE = new_key("guest")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser():
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def client():
    async with serving(StubEngine(), StubEngine("other")) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def guarded(tmp_path):
    (tmp_path / "keys.txt").write_text(f"{ADMIN_LINE}\n{GUEST_LINE}\n")
    async with serving(StubEngine(), security__api_keys_file=str(tmp_path / "keys.txt")) as client:
        yield client


@asynccontextmanager
async def load(client):
    """Ask for a few texts again and again, and for a voice that is not there."""
    stop = asyncio.Event()

    async def run():
        number = 0
        while not stop.is_set():
            number += 1
            await speak(client, f"Text {number % 4}", voice="nobody" if number % 20 == 0 else "anna")
            await asyncio.sleep(0.01)

    task = asyncio.create_task(run())
    yield
    stop.set()
    await task


async def figures(client, **headers):
    answer = await client.get("/v1/cache/overview", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


# -- in the browser -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("width", [375, 1440])
async def test_the_dashboard_shows_an_empty_store(browser, client, width, scheme):
    async with opened(browser, client, width=width, color_scheme=scheme) as page:
        await shows(page, "idle", "#chart-hit-rate .value")
        await shows(page, "None yet.", "#clips")
        await shows(page, "ready", "#engines")
        await shows(page, "anna", "#voices")
        await shows(page, "All is well", "#well")
        assert await fits(page)
        assert (page.complaints, page.elsewhere) == ([], [])
        dark = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (dark == "rgb(20, 23, 27)") == (scheme == "dark")


@pytest.mark.parametrize("width", [375, 1440])
async def test_the_dashboard_shows_load_as_it_comes(browser, client, width):
    async with load(client), opened(browser, client, width=width) as page:
        await shows(page, re.compile(r"\d %"), "#chart-hit-rate .value")
        await shows(page, "hit · memory", "#latency")
        await shows(page, "not_found", "#errors")
        await shows(page, "refused", "#latest")
        await shows(page, "anna", "#clips")
        await page.locator("#chart-per-second polyline").first.wait_for(state="attached")
        await page.locator("#chart-per-second summary").click()
        assert await page.locator("#chart-per-second tbody tr").count() >= 2
        assert await fits(page)
        assert (page.complaints, page.elsewhere) == ([], [])


async def test_the_dashboard_shows_texts_where_the_operator_allows_it_and_never_as_markup(browser):
    async with serving(StubEngine(), dashboard__texts=True) as client, opened(browser, client, width=375) as page:
        await shows(page, "since its start.", "#clips-note")
        for _ in range(2):
            await speak(client, "<b>Welcome</b> to the course.")
        await shows(page, "<b>Welcome</b> to the course.", "#clips")
        assert await fits(page)
        assert page.complaints == []


async def test_a_clips_key_on_the_dashboard_leads_to_the_form_that_purges_it(browser, client):
    for _ in range(2):
        key = (await speak(client)).headers["x-sayonce-key"]
    async with opened(browser, client) as page:
        await shows(page, "dashboard.texts", "#clips-note")
        await page.locator("button.key").click()
        assert await page.locator("#purge-value").input_value() == key
        await page.keyboard.press("Enter")
        await shows(page, key, "#confirm-text")


async def test_the_dashboard_tells_a_new_user_what_to_send(browser, client):
    async with opened(browser, client) as page:
        await page.locator("#first").wait_for()
        _, url, _, header, _, body, *_ = shlex.split(await page.locator("#say-command").text_content())
        sent = await client.post(url, content=body, headers=dict([header.split(": ")]))
        assert sent.headers["content-type"] == "audio/mpeg"
        await page.locator("#first").wait_for(state="hidden")
        assert page.complaints == []


async def test_the_dashboard_tells_at_the_top_of_an_engine_that_cannot_speak(browser):
    async with serving(StubEngine(), StubEngine("ill")) as client, opened(browser, client) as page:
        await page.locator("#well").wait_for()
        client.service.synthesizer.catalogue.find("ill").failed = EngineError("no weights")
        await shows(page, "Cannot speak: ill", "#state")
        assert not await page.locator("#well").is_visible()
        assert "Cannot speak: ill" in await page.title()


async def test_a_clip_can_be_played_on_the_dashboard(browser, client):
    await speak(client)
    await speak(client)
    async with opened(browser, client) as page:
        await page.evaluate(
            "() => { const play = HTMLMediaElement.prototype.play; window.heard = new Promise((tell) => {"
            " HTMLMediaElement.prototype.play = function () {"
            " this.addEventListener('ended', () => tell(this.duration)); return play.call(this); }; }); }"
        )
        await page.locator("button.play").click()
        async with asyncio.timeout(30):
            assert await page.evaluate("window.heard") == pytest.approx(0.4, abs=0.01)
        await shows(page, "Play", "button.play")
        assert page.complaints == []


async def test_the_dashboard_says_that_a_clip_is_gone(browser, client):
    await speak(client)
    await speak(client)
    async with opened(browser, client) as page:
        await page.locator("button.play").wait_for()
        await client.post("/v1/cache/purge", json={"all": True})
        await page.locator("button.play").click()
        await shows(page, "no clip is stored under this key", "#clip-error")


@pytest.mark.parametrize(("width", "scheme"), [(375, "light"), (1440, "dark")])
async def test_the_dashboard_shows_a_stopped_redis_and_its_return(browser, valkey, width, scheme):
    options = {"width": width, "color_scheme": scheme}
    async with (
        serving(StubEngine(), store=valkey.url) as client,
        opened(browser, client, **options) as page,
        load(client),
    ):
        await shows(page, "The store answers.", "#store-state")
        os.kill(valkey.pid, signal.SIGSTOP)
        try:
            await shows(page, "The store does not answer", "#store-state")
            await shows(page, "does not answer", "#chart-store .note")
            await shows(page, "The store does not answer", "#state")
            assert await fits(page)
            assert (await speak(client, "Said without a store.")).status_code == 200
        finally:
            os.kill(valkey.pid, signal.SIGCONT)
        await shows(page, "The store answers.", "#store-state")
        await page.locator("#well").wait_for()
        assert page.complaints == []


async def test_the_dashboard_names_the_failed_server_of_an_engine(browser):
    async with replicas(2) as servers:
        options = {"kind": "openai", "model": "m", "base_url": [server.url for server in servers]}
        engine = build_engine("far", options)
        servers[0].does, servers[0].passes_checks = 500, False
        async with serving(engine) as client:
            await speak(client, model="far")
            async with opened(browser, client) as page:
                await shows(page, "ready (1 of 2 servers)", "#engines")
                servers[1].does, servers[1].passes_checks = 500, False
                await speak(client, "Another.", model="far")
                await shows(page, "down (0 of 2 servers)", "#engines")


async def test_the_dashboard_asks_for_a_key_and_keeps_it_in_the_tab(browser, guarded):
    async with opened(browser, guarded) as page:
        await page.locator("#key").wait_for()
        assert not await page.locator("#figures").is_visible()
        assert page.complaints == []
        for key, answer in (("so-wrong", "this API key is not valid"), (GUEST, "needs a key with the 'admin' right")):
            await page.locator("#key").fill(key)
            await page.keyboard.press("Enter")
            await shows(page, answer, "#key-error")
        await page.locator("#key").fill(ADMIN)
        await page.keyboard.press("Enter")
        await shows(page, "ready", "#engines")
        await page.reload()
        await shows(page, "ready", "#engines")
        assert await page.evaluate("[...Object.values(localStorage)].join()") == ""
        assert ADMIN not in page.url
        await page.locator("#well").wait_for()
        await page.locator("#forget").click()
        await page.locator("#key").wait_for()
        assert not await page.locator("#well").is_visible()
        assert await page.evaluate("sessionStorage.length") == 0


@pytest.mark.parametrize("width", [375, 1440])
async def test_the_dashboard_speaks_the_browsers_language_and_it_can_be_changed(browser, client, width):
    async with opened(browser, client, width=width, locale="zh-CN") as page:
        await shows(page, "命中率", "#chart-hit-rate h3")
        assert await page.evaluate("document.documentElement.lang") == "zh-Hans"
        assert await fits(page)
        await page.locator("#language").select_option("en")
        await shows(page, "Hit rate", "#chart-hit-rate h3")
        await page.reload()
        await shows(page, "Hit rate", "#chart-hit-rate h3")
        assert page.complaints == []


async def test_every_text_of_the_dashboard_is_there_in_every_language(browser, client):
    async with opened(browser, client) as page:
        texts = await page.evaluate("import('./dashboard/texts.js').then(({ TEXTS }) => TEXTS)")
        marked = set(await page.eval_on_selector_all("[data-t]", "all => all.map((one) => one.dataset.t)"))
    used = set(re.findall(r'\bt\("(\w+)"', "".join(STATIC.values())))
    assert texts["en"].keys() == texts["zh"].keys() >= used | marked
    for name, text in texts["en"].items():
        assert text
        assert sorted(re.findall(r"{\d}", text)) == sorted(re.findall(r"{\d}", texts["zh"][name])), name


async def test_the_dashboard_purges_nothing_without_a_confirmation(browser, client):
    key = (await speak(client)).headers["x-sayonce-key"]
    async with opened(browser, client) as page:
        await page.locator("#purge-value").fill(key)
        await page.locator("#purge-form button").click()
        await shows(page, key, "#confirm-text")
        await page.keyboard.press("Enter")  # the focus is on the harmless button
        await page.locator("#confirm").wait_for(state="hidden")
        assert (await speak(client)).headers["cache-status"].startswith("sayonce; hit")
        for what, value, done in (
            ("key", key, "1 removed"),
            ("tag", "voice=anna", "what was stored before is no longer played"),
            ("all", "", "removed"),
        ):
            await speak(client)
            await page.locator("#purge-what").select_option(what)
            if value:
                await page.locator("#purge-value").fill(value)
            await page.locator("#purge-form button").click()
            await page.locator("#confirm-yes").click()
            await shows(page, done, "#purge-result")
            assert (await speak(client)).headers["cache-status"] == "sayonce; fwd=miss; stored"
        assert page.complaints == []


async def test_the_dashboard_explains_and_compares_requests(browser, client):
    await speak(client, "Hello there.")
    async with opened(browser, client) as page:
        await page.locator("#asked").fill('{"input": "Hello there.", "model": "stub", "voice": "ben"}')
        await page.locator("#explain-form button").click()
        await shows(page, "nearest recent request", "#differences-title")
        await shows(page, re.compile("voice.*ben.*anna", re.DOTALL), "#differences")
        await page.locator("#other").fill('{"input": "Hello there.", "model": "stub", "voice": "ben", "speed": 1}')
        await page.locator("#explain-form button").click()
        await shows(page, "No difference", "#differences")
        await page.locator("#other").fill("{")
        await page.locator("#explain-form button").click()
        await shows(page, "is not JSON", "#explain-error")
        assert page.complaints == []


async def test_every_control_of_the_dashboard_has_a_name_and_the_keyboard_reaches_it(browser, client):
    await speak(client)
    await speak(client)
    async with opened(browser, client) as page:
        await page.locator("button.play").wait_for()
        nameless = await page.evaluate(
            "[...document.querySelectorAll('input, select, textarea, button, section, article, [role=img], [role=region], dialog')]"
            ".filter((one) => !(one.labels?.length || one.ariaLabel || one.textContent.trim() && one.matches('button')"
            " || document.getElementById(one.getAttribute('aria-labelledby')))).map((one) => one.outerHTML)"
        )
        assert nameless == []
        reached = []
        for _ in range(45):
            await page.keyboard.press("Tab")
            reached.append(await page.evaluate("document.activeElement.id || document.activeElement.className"))
        assert reached[0] == "skip"
        assert {"pause", "language", "play", "asked", "other", "purge-what", "purge-value"} < set(reached)


async def test_changing_figures_of_the_dashboard_are_not_read_aloud(browser, client):
    async with opened(browser, client) as page:
        await shows(page, "requests since the start: 0", "#counts")
        loud = ":is([role=status], [role=alert], [aria-live])"
        await speak(client)
        await shows(page, "requests since the start: 1", "#counts")
        assert "".join(await page.locator(loud).all_inner_texts()) == ""
        assert await page.locator(f"{loud} :is(table, svg, dl)").count() == 0


async def test_a_paused_dashboard_stands_still(browser, client):
    async with opened(browser, client) as page:
        await shows(page, "None yet.", "#latest")
        await page.locator("#pause").click()
        await shows(page, "Paused", "#state")
        await speak(client)
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        await page.locator("#pause").click()
        await shows(page, "led", "#latest")
        assert len(asked) == 1
