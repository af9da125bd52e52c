"""The card of the dashboard that speaks a text tells what went wrong, and where."""

import pytest
import pytest_asyncio

from sayonce.errors import EngineBusy, EngineError
from tests.helpers.browser import chromium, fits, shows
from tests.helpers.say_card import SOUND, Speaker, card, figure, say
from tests.helpers.serving import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")


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


# -- what goes wrong ----------------------------------------------------------------------------------------------------


async def test_the_say_card_tells_before_it_asks_that_a_text_cannot_be_spoken(browser, client, engine):
    async with card(browser, client) as page:
        for text, told in (("  ", "Write what is to be said"), ("é" * 4097, "at most 4,096 characters")):
            await say(page, text)
            await shows(page, told, "#say-text-error")
            assert await page.evaluate("document.activeElement.id") == "say-text"
            assert await page.locator("#say-text").get_attribute("aria-invalid") == "true"
        await shows(page, "4,097 of 4,096", "#say-count")
        await say(page, "e\u0301" * 4096)  # composed, as the server counts, it is just short enough
        await shows(page, "Synthesized", "#said-outcome")
        assert await page.locator("#say-text").get_attribute("aria-invalid") is None
        assert page.complaints == []


@pytest.mark.parametrize(("locale", "told"), [("en-GB", "This voice cannot say it."), ("zh-CN", "这个音色无法朗读。")])
async def test_the_say_card_tells_an_error_at_its_field_in_plain_words(browser, client, locale, told):
    async with card(browser, client, locale=locale, width=375) as page:
        await page.evaluate("document.getElementById('say-voice').append(new Option('nobody'))")
        await page.locator("#say-voice").select_option("nobody")
        await say(page)
        await shows(page, told, "#say-voice-error")
        await shows(page, "has no voice 'nobody'", "#say-voice-error")
        assert await page.evaluate("document.activeElement.id") == "say-voice"
        assert await page.locator("#say-voice").get_attribute("aria-invalid") == "true"
        assert await fits(page)
        await page.locator("#say-voice").select_option("ben")
        await say(page)
        await page.locator("#say-again").wait_for()
        assert await page.locator("#say-voice-error").inner_text() == ""


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (EngineError("the weights are gone"), "The engine failed."),
        (EngineBusy("the queue is full", retry_after_seconds=7), "try again in 7 s"),
    ],
)
async def test_the_say_card_tells_an_engines_failure_as_the_engines(browser, client, engine, failure, told):
    engine.failure = failure
    async with card(browser, client) as page:
        await say(page)
        await shows(page, told, "#say-form-error")
        await shows(page, failure.message, "#say-form-error")
        await shows(page, "Not said", "#said-outcome")
        assert not await page.locator("#said-clip").is_visible()
        await page.locator("#language").select_option("zh")
        await shows(page, "引擎", "#say-form-error")


async def test_the_say_card_does_not_offer_a_clip_that_broke_off(browser, client, engine):
    engine.gate.clear()
    async with card(browser, client) as page:
        await say(page)
        await figure(page, "First sound")
        engine.failure, engine.fails_at = EngineError("burnt"), 1
        engine.gate.set()
        await shows(page, "Broken off", "#said-outcome")
        await shows(page, "is not the whole of it", "#say-form-error")
        assert not await page.locator("#said-clip").is_visible()
        assert (await page.evaluate(SOUND))["src"] == ""
