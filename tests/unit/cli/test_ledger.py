"""Commands write to the ledger too: each answer of ``say`` and each computation of ``warm``, beside other writers."""

import asyncio
import json
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from sayonce.cache import Cache
from sayonce.core.outcome import Outcome
from sayonce.observe import ledger_writer
from sayonce.observe.ledger import Ledger, number_of, table_of
from sayonce.observe.ledger_export import lines
from sayonce.observe.ledger_writer import write_once
from sayonce.speech.catalogue import Catalogue
from sayonce.speech.synthesis import Synthesizer
from sayonce.stores import open_store
from sayonce.testing import StubEngine
from tests.helpers.commandline import COMMAND, CommandLine, stop

ESPEAK = ("--engine", "espeak")


@pytest.fixture(params=["sqlite", "valkey"])
def url(request, tmp_path):
    return f"sqlite:///{tmp_path}/clips.db" if request.param == "sqlite" else request.getfixturevalue("valkey").url


@pytest.fixture
def plan():
    synthesizer = Synthesizer(Cache(), Catalogue([StubEngine()]))
    return synthesizer.plan(synthesizer.parse({"input": "Hello."}))


def opened(url, sealer):
    return Cache(open_store(url, sealer=sealer), budget_seconds=5)


async def parts(cache):
    assert cache.store is not None
    return await cache.store.read_table(table_of(number_of(datetime.now(UTC).date())))


async def requests(cache):
    today = datetime.now(UTC).date()
    return sum(line.requests for line in await lines(Ledger(cache.now), cache.store, today, today))


# -- the commands -------------------------------------------------------------------------------------------------------


def test_say_warm_and_serve_at_once_are_all_in_one_ledger(tmp_path, url):
    sayonce = CommandLine(tmp_path)
    store = ("--store", url, *ESPEAK)
    (tmp_path / "a.txt").write_text("\n".join(f"Phrase number {number}." for number in range(30)))
    with sayonce.serving(*store) as server, ThreadPoolExecutor(4) as threads:
        warming = [sayonce_begins(sayonce, "warm", "a.txt", *store, "--json") for _ in range(2)]
        said = [
            threads.submit(sayonce, "say", f"Text {number % 3}.", *store, "-o", f"{number}.wav", "--json")
            for number in range(8)
        ]
        reports = [each.result().json for each in said]
        computed = sum(json.loads(process.communicate(timeout=60)[0])["computed"] for process in warming)
        assert stop(server)[0] == 0
    assert computed == 30
    found = sayonce("ledger", "--store", url, "--json").json
    outcomes = Counter(report["outcome"] for report in reports)
    assert sum(line["requests"] for line in found) == 8
    assert sum(line["hits"] for line in found) == outcomes["hit"]
    assert sum(line["joined"] for line in found) == outcomes["joined"]
    assert outcomes["led"] == 3
    saved = sum(report["compute_seconds"] for report in reports if report["outcome"] != "led")
    assert sum(line["saved_seconds"] for line in found) == pytest.approx(saved, rel=0.01)
    lifetime = sayonce("stats", "--store", url, "--json").json["lifetime"]
    assert lifetime["engine calls"] == 33
    assert sum(line["compute_seconds"] for line in found) == pytest.approx(lifetime["engine seconds"], rel=0.01)


def sayonce_begins(sayonce, *arguments):
    return subprocess.Popen(
        [*COMMAND, *arguments], cwd=sayonce.directory, env=sayonce.environment, stdout=subprocess.PIPE
    )


def test_the_ledger_counts_warmed_clips_as_computed_and_as_no_requests(quick):
    (quick.directory / "sayonce.toml").write_text('[engines.espeak]\nkind = "espeak"\ncost_per_1k_chars = 100\n')
    (quick.directory / "a.txt").write_text("Hello.\nHello.\n")
    quick("warm", "a.txt")
    quick("warm", "a.txt")
    [line] = quick("ledger", "--json").json
    assert (line["requests"], line["sent_bytes"], line["saved_seconds"]) == (0, 0, 0)
    assert line["compute_seconds"] > 0
    assert line["cost"] == pytest.approx(100 * len("Hello.") / 1000)
    quick("say", "Hello.", "-o", "a.wav")
    [line] = quick("ledger", "--json").json
    assert (line["requests"], line["hits"], line["saved_cost"]) == (1, 1, pytest.approx(0.6))


# -- one part for all who end at once -----------------------------------------------------------------------------------


async def test_commands_that_end_at_once_share_one_part_of_the_ledger(url, sealer, plan, make_entry):
    for number in range(1, 6):
        async with opened(url, sealer) as cache:
            ledger = Ledger(cache.now)
            ledger.charge(plan, Outcome.HIT, make_entry())
            await write_once(cache, ledger)
            assert (len(await parts(cache)), await requests(cache)) == (1, number)


async def test_commands_that_end_at_the_same_moment_are_each_counted_once_in_the_ledger(url, sealer, plan, make_entry):
    async def one():
        async with opened(url, sealer) as cache:
            ledger = Ledger(cache.now)
            ledger.charge(plan, Outcome.HIT, make_entry())
            await write_once(cache, ledger)

    await asyncio.gather(*(one() for _ in range(12)))
    async with opened(url, sealer) as cache:
        assert await requests(cache) == 12


async def test_a_dead_holder_of_the_ledgers_lease_keeps_no_command_from_writing(url, sealer, plan, make_entry):
    async with opened(url, sealer) as cache:
        assert cache.store is not None
        assert cache.store.leases is not None
        await cache.store.leases.acquire(ledger_writer._LEASE, "dead", 60)
        for number in range(2):
            ledger = Ledger(cache.now)
            ledger.charge(plan, Outcome.HIT, make_entry())
            await write_once(cache, ledger)
            assert (len(await parts(cache)), await requests(cache)) == (number + 1, number + 1)


async def test_a_command_that_ends_while_the_store_does_not_answer_raises_no_error(plan, make_entry, sealer):
    async with Cache(open_store("redis://127.0.0.1:1", sealer=sealer)) as cache:
        ledger = Ledger(cache.now)
        ledger.charge(plan, Outcome.HIT, make_entry())
        await write_once(cache, ledger)
