"""The card of the dashboard that speaks a text: engines, voices, keys, paths of proxies, and its use by keyboard."""

import asyncio
import shlex

import pytest
import pytest_asyncio

from sayonce.gateway.access import new_key
from sayonce.speech.engines import build_engine
from tests.helpers.browser import chromium, opened, shows
from tests.helpers.equal_servers import replicas
from tests.helpers.say_card import SOUND, Speaker, card, ended, figure, say
from tests.helpers.serving import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN, ADMIN_LINE = new_key("shop", admin=True)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser():
    async with chromium() as browser:
        yield browser


@pytest.fixture
def engine():
    return Speaker(chunks=3)


@pytest_asyncio.fixture(loop_scope="module")
async def client(engine):
    async with serving(engine) as client:
        yield client
        engine.gate.set()


# -- engines, voices, keys, places --------------------------------------------------------------------------------------


async def test_the_say_card_takes_the_name_of_a_voice_that_only_the_upstream_server_knows(browser):
    async with replicas(1) as [server]:
        far = build_engine("far", {"kind": "openai", "model": "m", "base_url": server.url, "default_voice": "fay"})
        async with serving(far) as client, card(browser, client) as page:
            assert not await page.locator("#say-voice").is_visible()
            assert await page.locator("#say-voice-name").get_attribute("placeholder") == "fay"
            await page.locator("#say-voice-name").fill("flora")
            await page.keyboard.press("Enter")
            await shows(page, "Synthesized", "#said-outcome")
            assert server.said[-1]["voice"] == "flora"
            assert page.complaints == []


async def test_the_say_card_lists_aliases_last_with_what_they_mean(browser, client, engine):
    async with card(browser, client) as page:
        assert await page.locator("#say-engine option").all_inner_texts() == [
            "stub", "tts-1 → stub", "tts-1-hd → stub", "gpt-4o-mini-tts → stub",
        ]  # fmt: skip
        voices = await page.locator("#say-voice option").all_inner_texts()
        assert voices[:5] == ["Default (anna)", "anna", "ben", "lin · Mandarin", "alloy → anna"]
        await say(page, "Hello there.")
        await shows(page, "Synthesized", "#said-outcome")
        await page.locator("#say-engine").select_option("tts-1")
        await page.locator("#say-voice").select_option("alloy")
        await say(page)
        await shows(page, "Hit: from memory", "#said-outcome")
        assert page.complaints == []
        assert "alloy" not in await page.locator("#voices").inner_text(), "that lists what there is"


async def test_the_say_card_asks_with_the_key_and_forgets_its_clip_with_the_key(browser, tmp_path, engine):
    (tmp_path / "keys.txt").write_text(f"{ADMIN_LINE}\n")
    async with (
        serving(engine, security__api_keys_file=str(tmp_path / "keys.txt")) as client,
        opened(browser, client) as page,
    ):
        await page.locator("#key").fill(ADMIN)
        await page.keyboard.press("Enter")
        await say(page, "A secret.")
        await shows(page, "Synthesized and kept", "#said-outcome")
        command = await page.locator("#say-command").text_content()
        assert "Bearer $API_KEY" in command
        assert ADMIN not in await page.content()
        await page.locator("#forget").click()
        await page.locator("#key").fill(ADMIN)
        await page.keyboard.press("Enter")
        await page.locator("#say-intro").wait_for()
        assert not await page.locator("#said").is_visible()
        assert "Hello" in await page.locator("#say-text").input_value()
        assert "secret" not in await page.content()
        assert (await page.evaluate(SOUND))["src"] == ""
        assert page.complaints == []


async def test_the_say_card_works_under_a_path_of_a_proxy(browser, client):
    here = f"http://127.0.0.1:{client.port}/tools/speech/"
    context = await browser.new_context()
    page, complaints, elsewhere = await context.new_page(), [], []
    page.on("console", lambda message: message.type in ("error", "warning") and complaints.append(message.text))
    page.on("request", lambda request: request.url.startswith((here, "blob:")) or elsewhere.append(request.url))
    await page.route(f"{here}**", lambda route: route.continue_(url=route.request.url.replace("/tools/speech/", "/")))
    await page.goto(here)
    await say(page)
    await shows(page, "Synthesized and kept", "#said-outcome")
    await figure(page, "Computing paid")
    assert f"{here}v1/audio/speech " in await page.locator("#say-command").text_content()
    await context.close()
    assert (complaints, elsewhere) == ([], [])


async def test_the_command_on_the_say_card_speaks_what_the_form_speaks(browser, client):
    async with card(browser, client) as page:
        await page.locator("#say-text").fill('It\'s "so" — \\ 你好 $HOME `ls`\n!')
        await page.locator("#say-voice").select_option("ben")
        await page.locator("#say-format").select_option("wav")
        _, url, _, header, _, body, _, file = shlex.split(await page.locator("#say-command").text_content())
        sent = await client.post(url, content=body.encode(), headers=dict([header.split(": ")]))
        assert (file, sent.headers["content-type"]) == ("hello.wav", "audio/wav")
        await say(page)
        await shows(page, "Hit: from memory", "#said-outcome")


# -- by keyboard --------------------------------------------------------------------------------------------------------


async def test_the_say_card_is_used_by_keyboard_in_its_order(browser, client):
    async with card(browser, client) as page:
        await page.locator("#say-text").focus()
        await page.keyboard.press("Enter")  # a line of the text
        await page.keyboard.press("Control+Enter")
        await shows(page, "Synthesized and kept", "#said-outcome")
        await ended(page)
        assert await page.evaluate("document.activeElement.id") == "say-text"
        reached = []
        for _ in range(20):
            name = await page.evaluate("document.activeElement.id || document.activeElement.localName")
            if name not in reached[-1:]:
                reached.append(name)
            outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none" or name == "said-player", name  # the browser draws that of its player's parts
            if name == "summary":
                break
            await page.keyboard.press("Tab")
        assert reached == [
            "say-text", "say-engine", "say-voice", "say-format", "say-button", "said-player", "say-again", "said-save",
            "summary",
        ]  # fmt: skip
        assert page.complaints == []


async def test_the_say_card_announces_what_happens_once_to_screen_readers(browser, client):
    async with card(browser, client) as page:
        told = await page.evaluate_handle(
            "() => { const told = []; const place = document.getElementById('say-status');"
            " new MutationObserver(() => told.push(place.textContent)).observe(place, { childList: true }); return told; }"
        )
        await say(page)
        await ended(page)
        await asyncio.sleep(0)
        assert await told.json_value() == ["Synthesized and kept"]
