"""The dashboard's "Say" card in a real Chromium: heard while it is made, told how it was answered, by mouse and by keyboard."""

import asyncio
from pathlib import Path

import pytest
import pytest_asyncio

from sayonce.speech.engines import build_engine
from sayonce.testing import StubEngine
from tests.helpers.browser import chromium, fits, shows
from tests.helpers.say_card import SOUND, Speaker, card, ended, figure, say
from tests.helpers.serving import serving, speak, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHOWN = {"en-GB": ("Synthesized and kept", "Hit: from memory"), "zh-CN": ("已合成并保存", "命中：内存")}


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


# -- for someone who has just begun ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
@pytest.mark.parametrize(("width", "scheme"), [(375, "light"), (375, "dark"), (1440, "light"), (1440, "dark")])
async def test_the_say_card_speaks_a_strangers_text_and_plays_it_again_from_memory(
    browser, client, engine, width, scheme, locale
):
    made, hit = SHOWN[locale]
    async with card(browser, client, width=width, color_scheme=scheme, locale=locale) as page:
        await page.locator("#first").wait_for()
        assert await fits(page)
        await page.locator("#say-button").click()
        await shows(page, made, "#said-outcome")
        await ended(page)
        await page.locator("#say-again").click()
        await shows(page, hit, "#said-outcome")
        await ended(page)
        await shows(page, hit, "#say-status")
        await shows(page, hit, "#said-before tbody tr:first-child")
        await shows(page, made, "#said-before tbody tr:last-child")
        await page.locator("#first").wait_for(state="hidden")
        assert await fits(page)
        assert (page.complaints, page.elsewhere) == ([], [])
    assert len(engine.calls) == 1


@pytest.mark.parametrize("width", [320, 600, 1000, 1030, 2560])
async def test_the_say_card_fits_at_every_width(browser, client, engine, width):
    text = "A_text_of_one_word_that_no_line_is_long_enough_for_" * 3
    async with card(browser, client, width=width) as page:
        await say(page, text)
        await figure(page, "Whole clip")
        engine.gate.clear()
        other = asyncio.ensure_future(speak(client, f"{text}.", response_format="mp3"))
        await until(lambda: len(engine.calls) == 2)
        await say(page, f"{text}.")
        await shows(page, "Joined", "#said-outcome")
        engine.gate.set()
        await shows(page, "Joined", "#said-before")
        assert await fits(page)
        inside = await page.evaluate(
            "[...document.querySelectorAll('#say *')].filter((one) => !one.matches('#say-status, bdi') && one.getBoundingClientRect()"
            ".right > document.getElementById('say').getBoundingClientRect().right).map((one) => one.outerHTML)"
        )
        assert inside == []
        await other


async def test_the_say_card_shows_the_figures_that_the_server_says(browser, client):
    async with card(browser, client) as page:
        await say(page, "Hello there.")
        paid = await figure(page, "Computing paid")
        await ended(page)
        assert await figure(page, "Length") in ("3.0 s", "3.1 s")
        for name in ("First sound", "Whole clip"):
            await figure(page, name)
        answer = await speak(client, "Hello there.", response_format="mp3")
        assert answer.headers["cache-status"] == "sayonce; hit; detail=memory"
        assert await page.locator("#said-key").inner_text() == answer.headers["x-sayonce-key"]
        await page.locator("#say-again").click()
        await shows(page, "Hit", "#said-outcome")
        await shows(page, f"Save ({len(answer.content) / 1000:.0f} kB)", "#said-save")
        assert await figure(page, "Computing saved") == paid


async def test_the_say_cards_example_is_chinese_where_a_voice_speaks_it_and_else_english(browser):
    async with serving(Speaker(), StubEngine("english")) as client, card(browser, client, locale="zh-CN") as page:
        assert "您好" in await page.locator("#say-text").input_value()
        assert await page.locator("#say-voice").input_value() == "lin"
        await page.locator("#say-engine").select_option("english")
        assert "Hello" in await page.locator("#say-text").input_value()
        assert await page.locator("#say-voice").input_value() == ""
        await page.locator("#say-text").fill("一二三")
        await page.locator("#say-engine").select_option("stub")
        assert await page.locator("#say-text").input_value() == "一二三", "what was written stays"


async def test_the_say_card_lets_espeak_speak_chinese_to_a_chinese_browser(browser):
    async with (
        serving(build_engine("espeak", {"kind": "espeak"})) as client,
        card(browser, client, locale="zh-CN", width=375) as page,
    ):
        assert await page.locator("#say-voice").input_value() == "cmn"
        await say(page)
        await shows(page, "已合成并保存", "#said-outcome")
        assert await fits(page)
        assert page.complaints == []


# -- while it is made ---------------------------------------------------------------------------------------------------


async def test_the_say_card_plays_before_the_synthesis_has_ended(browser, client, engine):
    engine.gate.clear()
    async with card(browser, client) as page:
        await say(page)
        await figure(page, "First sound")
        await shows(page, "Being synthesized", "#said-outcome")
        assert engine.finished == 0
        assert not await page.locator("#said-save").is_visible()
        engine.gate.set()
        await shows(page, "Synthesized and kept", "#said-outcome")
        await ended(page)
        assert (await page.evaluate(SOUND))["currentTime"] == pytest.approx(3.0, abs=0.15)
        assert page.complaints == []


async def test_the_say_card_plays_the_whole_clip_where_the_browser_cannot_stream(browser, client):
    async with card(browser, client) as page:
        await page.evaluate("delete window.MediaSource")
        await say(page)
        await ended(page)
        assert (await page.evaluate(SOUND))["currentTime"] == pytest.approx(3.0, abs=0.15)
        await figure(page, "First sound")
        assert page.complaints == []


async def test_the_say_card_plays_the_whole_clip_where_the_browser_has_no_room_for_pieces(browser, client):
    async with card(browser, client) as page:
        await page.evaluate(
            "() => { const append = SourceBuffer.prototype.appendBuffer; let calls = 0;"
            " SourceBuffer.prototype.appendBuffer = function (bytes) {"
            " if (++calls > 2) throw new DOMException('full', 'QuotaExceededError'); return append.call(this, bytes); }; }"
        )
        await say(page)
        await figure(page, "Whole clip")
        await ended(page)
        assert (await page.evaluate(SOUND))["currentTime"] == pytest.approx(3.0, abs=0.15)
        assert page.complaints == []


async def test_the_say_card_says_that_the_browser_wants_play_to_be_pressed(browser, client):
    async with card(browser, client) as page:
        await page.evaluate(
            "() => { const play = HTMLMediaElement.prototype.play; HTMLMediaElement.prototype.play = function () {"
            " HTMLMediaElement.prototype.play = play; return Promise.reject(new DOMException('', 'NotAllowedError')); }; }"
        )
        await say(page)
        await shows(page, "waits for you to press play", "#said-note")
        await page.evaluate("document.getElementById('said-player').play()")
        await page.wait_for_function("document.getElementById('said-player').currentTime > 0")
        assert await page.locator("#said-figures dd").first.inner_text() == "–", "the user's pause is no latency"
        assert page.complaints == []


@pytest.mark.parametrize("how", ["button", "Escape"])
async def test_stop_on_the_say_card_ends_the_request_and_the_sound(browser, client, engine, how):
    engine.gate.clear()
    async with card(browser, client) as page:
        await say(page)
        await figure(page, "First sound")
        failed = asyncio.ensure_future(page.wait_for_event("requestfailed"))
        await asyncio.sleep(0)
        if how == "button":
            await page.locator("#say-stop").focus()
            await page.keyboard.press("Enter")
        else:
            await page.keyboard.press(how)
        await shows(page, "Stopped", "#said-outcome")
        assert (await failed).url.endswith("/v1/audio/speech")
        assert (await page.evaluate(SOUND))["paused"]
        assert await page.evaluate("document.activeElement.id") == "say-button", "the focus is not lost with the button"
        assert not await page.locator("#said-clip").is_visible()
        engine.gate.set()
        assert page.complaints == []


async def test_the_say_card_plays_the_second_text_when_it_is_said_while_the_first_plays(browser, client, engine):
    engine.gate.clear()
    async with card(browser, client) as page:
        await say(page, "The first.")
        await figure(page, "First sound")
        async with page.expect_event("requestfailed") as ended_early:
            await say(page, "The second.")
        assert (await ended_early.value).post_data_json["input"] == "The first."
        await until(lambda: len(engine.calls) == 2)
        engine.gate.set()
        await shows(page, "Synthesized and kept", "#said-outcome")
        await ended(page)
        answer = await speak(client, "The second.")
        assert await page.locator("#said-key").inner_text() == answer.headers["x-sayonce-key"]
        assert await page.evaluate("document.querySelectorAll('audio').length") == 1
        assert page.complaints == []


async def test_the_say_card_ends_with_the_last_text_when_say_is_pressed_again_and_again(browser, client):
    async with card(browser, client) as page:
        for number in range(8):
            await say(page, f"Number {number}.")
        await ended(page)
        answer = await speak(client, "Number 7.")
        assert await page.locator("#said-key").inner_text() == answer.headers["x-sayonce-key"]
        assert (await page.evaluate(SOUND))["currentTime"] == pytest.approx(3.0, abs=0.15)
        assert page.complaints == []


async def test_the_say_card_tells_that_it_joined_a_synthesis_under_way(browser, client, engine):
    engine.gate.clear()
    other = asyncio.ensure_future(speak(client, "Hello there.", response_format="mp3"))
    await until(lambda: engine.calls)
    async with card(browser, client) as page:
        await say(page, "Hello there.")
        await shows(page, "Joined a synthesis under way", "#said-outcome")
        engine.gate.set()
        await figure(page, "Computing saved")
        assert (await other).status_code == 200
    assert len(engine.calls) == 1


async def test_the_page_plays_one_clip_at_a_time(browser, client, engine):
    engine.chunks = 100  # longer than anything here waits
    for _ in range(2):
        await speak(client)
    async with card(browser, client) as page:
        await say(page)
        await figure(page, "First sound")
        await figure(page, "Whole clip")
        await page.locator("button.play").click()
        await ended(page)
        assert (await page.evaluate(SOUND))["paused"]
        await shows(page, "Stop", "button.play")
        await page.evaluate("document.getElementById('said-player').play()")
        await shows(page, "Play", "button.play")
        await page.locator("button.play").click()
        await shows(page, "Stop", "button.play")
        await page.locator("#say-again").click()
        await shows(page, "Play", "button.play")


# -- formats ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mp3", "opus", "aac", "flac", "wav", "pcm", "mulaw"])
async def test_the_say_card_saves_a_clip_in_the_format_that_was_asked_for(browser, client, name):
    heard = name not in ("pcm", "mulaw")
    async with card(browser, client, accept_downloads=True) as page:
        await page.locator("#say-format").select_option(name)
        await say(page, "Hello there.")
        await figure(page, "First sound" if heard else "Whole clip")
        await ended(page)
        if heard:
            assert (await page.evaluate(SOUND))["currentTime"] == pytest.approx(3.0, abs=0.3)
        else:
            await shows(page, "does not play this format", "#said-note")
        if name == "mp3":  # of a miss its header has no length
            await page.locator("#say-again").click()
            await shows(page, "Hit", "#said-outcome")
            await page.locator("#said-save").wait_for()
        async with page.expect_download() as waiting:
            await page.locator("#said-save").click()
        download = await waiting.value
        answer = await speak(client, "Hello there.", response_format=name)
        assert download.suggested_filename == f"sayonce-{answer.headers['x-sayonce-key'][:12]}.{name}"
        assert Path(await download.path()).read_bytes() == answer.content
        assert page.complaints == []
