"""A real browser: Debian's Chromium, driven through Playwright."""

import os
import re
import shutil
from contextlib import asynccontextmanager

import pytest

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--mute-audio", "--autoplay-policy=no-user-gesture-required"]  # fmt: skip
PATIENCE_MS = 30_000


@asynccontextmanager
async def chromium(*arguments):
    """Yield a browser; skips where there is none, and fails in CI."""
    path = shutil.which("chromium")
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail("chromium is not installed: apt-get install chromium")
        pytest.skip("chromium is not installed")
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS, *arguments], timeout=60_000)
        yield browser
        await browser.close()


@asynccontextmanager
async def opened(browser, client, *, width=1440, **options):
    """Yield a page of a gateway's dashboard, with what its console complained of in ``page.complaints``.

    ``SAYONCE_SCREENSHOTS`` names a directory where each test leaves a picture of the page at its end.
    """
    url = f"http://127.0.0.1:{client.port}/"
    context = await browser.new_context(viewport={"width": width, "height": 900}, **{"locale": "en-GB", **options})
    page = await context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.complaints, page.elsewhere = [], []
    page.on("console", lambda message: message.type in ("error", "warning") and page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: request.url.startswith((url, "blob:")) or page.elsewhere.append(request.url))
    await page.goto(url)
    try:
        yield page
        if directory := os.environ.get("SAYONCE_SCREENSHOTS"):
            test = re.sub(r"\W+", "-", os.environ["PYTEST_CURRENT_TEST"].partition("::")[2].partition(" ")[0])
            await page.screenshot(path=f"{directory}/{test}-{width}.png", full_page=True)
    finally:
        await context.close()


async def shows(page, text, selector="body"):
    """Wait until a part of the page shows a text."""
    await page.locator(selector).filter(has_text=text).first.wait_for()


async def fits(page):
    """Whether nothing sticks out at the side."""
    return await page.evaluate("document.scrollingElement.scrollWidth <= window.innerWidth")
