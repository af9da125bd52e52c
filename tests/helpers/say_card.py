"""The dashboard's "Say" card in a browser: an engine to speak, and what a user does there."""

import re
from contextlib import asynccontextmanager

from sayonce.speech.engines import Voice
from sayonce.testing import StubEngine
from tests.helpers.browser import opened

SOUND = "() => { const { paused, currentTime, src } = document.getElementById('said-player'); return { paused, currentTime, src }; }"


class Speaker(StubEngine):
    """Speaks for a second each time that it is let; a Chinese voice beside the English ones."""

    def voices(self):
        return (*super().voices(), Voice("lin", "zh-CN", "Mandarin"))

    def sound(self, utterance, number):
        return super().sound(utterance, number) * 10


@asynccontextmanager
async def card(browser, client, **options):
    async with opened(browser, client, **options) as page:
        await page.locator("#say-button").wait_for()
        yield page


async def say(page, text=None):
    if text is not None:
        await page.locator("#say-text").fill(text)
    await page.locator("#say-button").click()


async def figure(page, name):
    """Return a figure of the result, once it is there."""
    value = page.locator(f"#said-figures div:has(dt:text-is('{name}')) dd")
    await value.filter(has_text=re.compile(r"\d")).wait_for()
    return await value.inner_text()


async def ended(page):
    await page.locator("#say-stop").wait_for(state="hidden")
