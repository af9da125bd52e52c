"""The savings ledger: exact over processes and restarts, also while the store fails."""

import csv
import io
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial

import httpx
import msgspec
import pytest

from sayonce.cache.cache import Cache
from sayonce.core.counters import Counts
from sayonce.core.outcome import Outcome
from sayonce.gateway.access import new_key
from sayonce.observe.hits import Hits
from sayonce.observe.ledger import OTHER, Figures, Ledger
from sayonce.observe.ledger_export import LedgerLine, as_csv, lines, period
from sayonce.observe.metrics import Histogram
from sayonce.observe.recent import Clip
from sayonce.speech.catalogue import Catalogue
from sayonce.speech.synthesis import Synthesizer
from sayonce.stores import open_store
from sayonce.testing import FaultyStore, StubEngine
from tests.helpers.commandline import CommandLine, stop
from tests.helpers.serving import serving, speak

DAY = date(2023, 11, 14)  # the fake clock's


@pytest.fixture
def charge(make_entry):
    engine = StubEngine()
    engine.cost_per_hour, engine.cost_per_1k_chars = 3.6, 10.0
    synthesizer = Synthesizer(Cache(), Catalogue([engine]))

    def charge(ledger, outcome=Outcome.HIT, *, tenant="acme", voice="anna", seconds=2.0, body=b"sound"):
        plan = synthesizer.plan(synthesizer.parse({"input": "x" * 100, "voice": voice}, tenant), tenant)
        ledger.charge(plan, outcome, make_entry(body=body, compute_seconds=seconds))

    return charge


@pytest.fixture(params=["sqlite", "valkey"])
async def store(request, tmp_path, sealer, clock):
    url = f"sqlite:///{tmp_path}/clips.db" if request.param == "sqlite" else request.getfixturevalue("valkey").url
    store = open_store(url, sealer=sealer, clock=clock)
    await store.open()
    yield store
    await store.close()


async def directly(operation):
    await operation()
    return True


async def read(store, clock, first=DAY, last=DAY):
    return await lines(Ledger(clock), store, first, last)


# -- figures ----------------------------------------------------------------------------------------------------------------


async def test_an_answer_is_charged_with_what_it_cost_or_saved(charge, store, clock):
    ledger = Ledger(clock)
    charge(ledger, Outcome.LED, seconds=3.0)
    charge(ledger, Outcome.HIT, seconds=3.0)
    charge(ledger, Outcome.JOINED, seconds=3.0)
    await ledger.write(store, directly)
    [line] = await read(store, clock)
    assert msgspec.to_builtins(line) == {
        "day": "2023-11-14", "tenant": "acme", "engine": "stub", "model": "stub", "voice": "anna",
        "requests": 3, "hits": 1, "joined": 1, "compute_seconds": 3.0, "saved_seconds": 6.0,
        "cost": pytest.approx(0.003 + 1), "saved_cost": pytest.approx(2 * (0.003 + 1)), "sent_bytes": 15, "saved_bytes": 10,
    }  # fmt: skip


async def test_the_ledgers_of_processes_add_up_and_a_restart_forgets_nothing(charge, store, clock):
    for _ in range(3):
        ledger = Ledger(clock)
        for _ in range(4):
            charge(ledger)
            await ledger.write(store, directly)
    [line] = await read(store, clock)
    assert (line.requests, line.saved_seconds) == (12, 24.0)


async def test_a_write_of_the_ledger_without_an_answer_counts_nothing_twice(charge, store, clock):
    async def lost_answer(operation):
        await operation()
        return False

    ledger = Ledger(clock)
    charge(ledger)
    assert not await ledger.write(store, lost_answer)
    assert not await ledger.write(store, lost_answer)
    charge(ledger)
    assert await ledger.write(store, directly)
    assert [line.requests for line in await read(store, clock)] == [2]


async def test_figures_that_a_store_in_trouble_did_not_take_are_written_later_under_their_own_day(charge, clock):
    store = FaultyStore()
    ledger = Ledger(clock)

    async def never(_):
        return False

    charge(ledger)
    assert not await ledger.write(store, never)
    clock.advance(86_400)
    charge(ledger)
    charge(ledger)
    assert await ledger.write(store, directly)
    found = await read(store, clock, DAY, date(2023, 11, 16))
    assert [(line.day, line.requests) for line in found] == [("2023-11-14", 1), ("2023-11-15", 2)]


async def test_a_clock_that_is_set_back_overwrites_no_day_of_the_ledger(charge, store, clock):
    ledger = Ledger(clock)
    for seconds in (0, 86_400, -86_400):
        clock.advance(seconds)
        charge(ledger)
        await ledger.write(store, directly)
    found = await read(store, clock, DAY, date(2023, 11, 15))
    assert [(line.day, line.requests) for line in found] == [("2023-11-14", 2), ("2023-11-15", 1)]


async def test_the_ledger_writes_nothing_while_nothing_changes(charge, clock):
    ledger, written = Ledger(clock), []

    async def count(operation):
        written.append(operation)
        return await directly(operation)

    store = FaultyStore()
    charge(ledger)
    for _ in range(3):
        await ledger.write(store, count)
    assert len(written) == 1


async def test_accounts_of_the_ledger_are_bounded_and_nothing_is_lost(charge, clock):
    ledger = Ledger(clock, max_accounts=3)
    for number in range(50):
        charge(ledger, tenant=f"tenant-{number % 2}", voice=("anna", "ben")[number // 2 % 2])
    found = await lines(ledger, None, DAY, DAY)
    assert sum(line.requests for line in found) == 50
    assert {line.voice for line in found} == {"anna", "ben", OTHER}
    assert len(found) == 4  # three, and what the others share


async def test_a_process_keeps_a_thousand_accounts_of_a_day_apart(charge, clock):
    ledger = Ledger(clock)
    for number in range(1500):
        charge(ledger, tenant=f"tenant-{number}")
    found = await lines(ledger, None, DAY, DAY)
    assert sum(line.voice != OTHER for line in found) == 1000
    assert sum(line.requests for line in found) == 1500


async def test_hits_of_a_clip_that_was_made_anew_are_charged_with_what_it_took(make_entry):
    synthesizer = Synthesizer(Cache(), Catalogue([StubEngine()]))
    plan = synthesizer.plan(synthesizer.parse({"input": "Hello."}))
    charged = []
    hits = Hits(
        lambda _, __, worth, times: charged.append((worth.seconds, times)),
        lambda *_: Histogram(),
        lambda *_: Clip(),
        synthesizer.in_use,
        latest=deque(),
        counts=Counts(),
    )
    for seconds, times in ((1.0, 3), (2.0, 2)):
        entry = make_entry(created=seconds, compute_seconds=seconds)
        for _ in range(times):
            hits.note(plan, entry, "memory", time.perf_counter())
    hits.charge()
    hits.charge()
    assert charged == [(1.0, 3), (2.0, 2)]


async def test_the_ledgers_metrics_go_on_over_midnight(charge, clock):
    ledger = Ledger(clock)
    for _ in range(3):
        charge(ledger)
        clock.advance(86_400)
    assert ledger.samples()["sayonce_saved_compute_seconds"]["stub",] == [6.0]


# -- over HTTP, and the command line ------------------------------------------------------------------------------------------


async def test_the_ledger_is_exported_by_day_as_json_and_csv_to_those_with_the_right(tmp_path):
    keys = {tenant: new_key(tenant, admin=tenant == "boss") for tenant in ("acme", "globex", "boss")}
    (tmp_path / "keys").write_text("\n".join(line for _, line in keys.values()))
    bearer = {tenant: {"Authorization": f"Bearer {key}"} for tenant, (key, _) in keys.items()}
    options = {"store": f"sqlite:///{tmp_path}/clips.db", "security__api_keys_file": str(tmp_path / "keys")}
    async with serving(StubEngine(), **options) as client:
        for tenant in ("acme", "acme", "globex"):
            await speak(client, headers=bearer[tenant])
        refused = [
            (await client.get("/v1/cache/ledger", headers=headers)).status_code for headers in ({}, bearer["acme"])
        ]
        found = (await client.get("/v1/cache/ledger", headers=bearer["boss"])).json()["lines"]
        text = await client.get("/v1/cache/ledger?format=csv", headers=bearer["boss"])
        none = await client.get("/v1/cache/ledger?from=2020-01-01&to=2020-01-31", headers=bearer["boss"])
        wrong = [
            (await client.get(f"/v1/cache/ledger?{query}", headers=bearer["boss"])).json()["error"]["param"]
            for query in ("from=yesterday", "to=2020-13-01", "from=2020-01-02&to=2020-01-01", "format=xls")
        ]
    assert refused == [401, 403]
    assert [(line["tenant"], line["requests"], line["hits"]) for line in found] == [("acme", 2, 1), ("globex", 1, 0)]
    assert text.headers["content-type"].startswith("text/csv")
    assert [row["requests"] for row in csv.DictReader(io.StringIO(text.text))] == ["2", "1"]
    assert none.json()["lines"] == []
    assert wrong == ["from", "to", "from", "format"]


def test_a_name_in_the_ledger_that_a_spreadsheet_would_run_is_quoted():
    figures = msgspec.structs.asdict(Figures())
    line = LedgerLine(day="2026-01-01", tenant="acme", engine="e", model="m", voice="=HYPERLINK(1)", **figures)
    assert "'=HYPERLINK(1)" in as_csv([line])


def test_the_ledgers_default_period_is_the_last_31_days(clock):
    assert period(None, None, clock()) == (date(2023, 10, 15), DAY)


async def test_the_ledger_tells_of_a_store_that_is_down_and_fails_no_request(tmp_path):
    async with serving(StubEngine(), store="redis://127.0.0.1:1") as client:
        assert (await speak(client)).status_code == 200
        assert (await client.get("/v1/cache/ledger")).status_code == 503


# -- real processes -----------------------------------------------------------------------------------------------------------


class Workload:
    """Asks one server after another, and keeps accounts of its own from what the answers say."""

    def __init__(self, requests):
        self.requests = requests
        self.accounts = Figures()

    def run(self, servers):
        with ThreadPoolExecutor(6) as threads:
            jobs = [(servers[number % len(servers)].url, number) for number in range(self.requests)]
            for answer in threads.map(lambda job: self.ask(*job), jobs):
                self.note(answer)

    def ask(self, url, number):
        fields = {"model": "espeak", "input": f"Number {number % 15}. " * 30, "response_format": "wav"}
        answer = httpx.post(f"{url}/v1/audio/speech", json=fields, timeout=60)
        if "x-sayonce-compute-ms" not in answer.headers:  # it was being made: what that took is told afterwards
            again = httpx.post(f"{url}/v1/audio/speech", json=fields, timeout=60)
            assert "hit" in again.headers["cache-status"]
            self.note(again)
            answer.headers["x-sayonce-compute-ms"] = again.headers["x-sayonce-compute-ms"]
        return answer

    def note(self, answer):
        seconds = float(answer.headers["x-sayonce-compute-ms"]) / 1000
        self.accounts.requests += 1
        self.accounts.sent_bytes += len(answer.content)
        if "stored" in answer.headers["cache-status"]:
            self.accounts.compute_seconds += seconds
        else:
            self.accounts.saved_seconds += seconds
            self.accounts.hits += "hit" in answer.headers["cache-status"]
            self.accounts.saved_bytes += len(answer.content)


@pytest.mark.parametrize("where", ["sqlite", "valkey"])
def test_the_ledger_of_three_processes_and_a_restart_agrees_with_the_workload(tmp_path, request, where):
    url = f"sqlite:///{tmp_path}/clips.db" if where == "sqlite" else request.getfixturevalue("valkey").url
    serve = partial(CommandLine(tmp_path).serving, "--store", url, "--engine", "espeak")
    workload = Workload(60)
    with serve() as one, serve() as two, serve() as three:
        workload.run([one, two, three])
        assert stop(three)[0] == 0
        with serve() as again:
            workload.run([one, two, again])
            for server in (one, two, again):
                assert stop(server)[0] == 0
    printed = CommandLine(tmp_path)("ledger", "--store", url, "--json").json
    own = workload.accounts
    assert [(line["engine"], line["requests"], line["hits"]) for line in printed] == [
        ("espeak", own.requests, own.hits)
    ]
    for field in ("compute_seconds", "saved_seconds", "sent_bytes", "saved_bytes"):
        assert printed[0][field] == pytest.approx(getattr(own, field), rel=0.01), field
    rows = list(csv.DictReader(io.StringIO(CommandLine(tmp_path)("ledger", "--store", url).out)))
    assert [int(row["requests"]) for row in rows] == [own.requests]
