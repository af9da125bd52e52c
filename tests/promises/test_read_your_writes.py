"""Once an upload, a removal or a purge is answered 200, no instance says the old: under load, and in trouble."""

import asyncio

import pytest

from tests.helpers.read_your_writes import SUBJECTS, Teller, Town, configured, serving
from tests.helpers.tcp_proxy import far_wire_to


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("requests", "changes", "rounds"),
    [(800, 24, 1), pytest.param(10_000, 200, 4, marks=pytest.mark.slow)],
    ids=["short", "full"],
)
async def test_after_a_confirmed_purge_no_process_plays_the_old_clip_though_one_was_stopped_and_one_cut_off(
    tmp_path, valkey, requests, changes, rounds
):
    """Four workers behind a connection that is cut for a while, and one process that is stopped for a while.

    A name is 404 only from its removal to its next upload, and 503 only where the store is away. No answer is cut.
    """
    with Teller() as teller, far_wire_to(valkey.port) as wire:
        sayonce = configured(tmp_path, teller, "0s")
        with serving(sayonce, wire.url, "--workers", "4") as four, serving(sayonce, valkey.url) as single:
            town = Town(teller, [four.url, single.url])
            await begin(town)
            clients = [asyncio.create_task(town.ask_on(url, 0.02)) for url in town.urls * 5]
            made = 0

            async def change_on(url):
                nonlocal made
                while made < changes:
                    confirmed = await town.change(url)
                    made += confirmed

            changing = [asyncio.create_task(change_on(url)) for url in town.urls * 2]
            for number in range(rounds):
                await until(lambda number=number: made >= changes * (number + 0.2) / rounds)
                await town.cut_off(four.url, wire, 3)
                await until(lambda number=number: made >= changes * (number + 0.7) / rounds)
                await town.stopped(single.url, single, 3)
            await asyncio.gather(*changing)
            await until(lambda: town.asked >= requests)
            town.over = True
            await asyncio.gather(*clients)
            await town.client.aclose()
    print(f"{town.asked} requests around {made} changes: {dict(sorted(town.seen.items()))}")  # noqa: T201 (figures: shown with -s)
    assert not town.wrong, "\n".join(map(repr, town.wrong[:10]))
    assert town.seen["200 hit"] > town.asked / 5, town.seen


async def begin(town):
    """Upload every name, and learn the keys."""
    town.teller.seconds = 0.02
    await asyncio.gather(*(town.change(town.urls[0], each) for each in SUBJECTS if each[0] == "n"))
    await asyncio.gather(*(town.speak(subject, url) for subject in SUBJECTS for url in town.urls))
    assert not town.wrong, town.wrong


async def until(condition):
    while not condition():
        await asyncio.sleep(0.05)
