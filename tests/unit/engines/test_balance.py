"""Which of several servers is asked, and when one that has failed is asked again: without servers, and without time."""

import asyncio
import logging

import pytest

from sayonce.errors import BadAudio, EngineBusy, EngineError, EngineTimeout, InvalidRequest
from sayonce.speech.engines.runtime.balance import Balance

EACH = 4


class Pauses:
    """A sleep that lasts until the test ends it."""

    def __init__(self):
        self.seconds = []
        self._ends = []

    async def __call__(self, seconds):
        self.seconds.append(seconds)
        self._ends.append(asyncio.Event())
        await self._ends[-1].wait()

    async def end(self):
        await settle()
        for end in self._ends:
            end.set()
        self._ends.clear()
        await settle()


class Bench:
    """A balance over servers ``a``, ``b``, …, its checks, pauses and clock in the test's hands."""

    def __init__(self, clock, number=2):
        self.wrong = {}
        self.checked = []
        self.pauses = Pauses()
        self.capacities = []
        self.balance = Balance("far", "abc"[:number], self._check, self._changed, clock=clock, sleep=self.pauses)
        self.servers = self.balance.upstreams

    async def _check(self, upstream):
        self.checked.append(upstream.url)
        return self.wrong.get(upstream)

    def _changed(self):
        self.capacities.append(self.balance.capacity(EACH))

    async def choose(self, failures=None, wait_seconds=1.0):
        return await self.balance.choose(failures or {}, EACH, wait_seconds)

    async def ask(self, error=None, failures=None):
        """Ask once, and return the name of the server that was asked."""
        chosen = await self.choose(failures)
        try:
            with self.balance.asking(chosen):
                if error is not None:
                    raise error
        except type(error or Exception()):
            pass
        return chosen.url

    async def fail(self, url, error=None):
        failures = {each: EngineError("not this one") for each in self.servers if each.url != url}
        assert await self.ask(error or EngineError("'far' answered 500: no"), failures) == url

    async def close(self):
        await self.balance.close()


@pytest.fixture
async def bench(clock):
    bench = Bench(clock)
    yield bench
    await bench.close()


@pytest.fixture
async def three(clock):
    bench = Bench(clock, 3)
    yield bench
    await bench.close()


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


async def test_equal_servers_take_turns(three):
    assert "".join([await three.ask() for _ in range(9)]) == "abcabcabc"


async def test_the_server_with_the_fewest_requests_under_way_is_asked(three):
    first, second, third = [await three.choose() for _ in range(3)]
    assert first is second is third  # nothing is under way before somebody asks
    with three.balance.asking(first), three.balance.asking(first), three.balance.asking(three.servers[2]):
        assert [await three.ask() for _ in range(4)] == ["b"] * 4


async def test_no_server_has_more_than_its_own_under_way(bench):
    asking = [bench.balance.asking(server) for server in bench.servers for _ in range(EACH)]
    for each in asking:
        each.__enter__()
    with pytest.raises(EngineBusy, match="no server became free"):
        await bench.choose(wait_seconds=0.01)
    waiting = asyncio.create_task(bench.choose())
    await settle()
    assert not waiting.done()
    asking.pop().__exit__(None, None, None)
    assert (await waiting).url == "b"


@pytest.mark.parametrize("error", [EngineError("no"), EngineTimeout("no"), BadAudio("no")])
async def test_a_server_that_failed_is_left_out_until_it_passes_a_check(bench, error):
    await bench.fail("a", error)
    assert {await bench.ask() for _ in range(5)} == {"b"}
    bench.wrong = {bench.servers[0]: EngineError("still down")}
    await bench.pauses.end()
    assert {await bench.ask() for _ in range(5)} == {"b"}
    bench.wrong = {}
    await bench.pauses.end()
    assert {await bench.ask() for _ in range(2)} == {"a", "b"}


@pytest.mark.parametrize("error", [InvalidRequest("No such voice."), EngineBusy("Too many."), asyncio.CancelledError()])
async def test_a_refusal_or_a_caller_who_leaves_says_nothing_of_a_server(bench, error):
    for _ in range(10):
        await bench.ask(error)
    assert [server.up for server in bench.servers] == [True, True]
    assert bench.pauses.seconds == []


async def test_a_good_server_is_never_checked(bench, clock):
    for _ in range(10):
        await bench.ask()
        clock.advance(100)
    assert bench.checked == []


async def test_the_pauses_between_checks_grow_to_half_a_minute_and_are_jittered(bench):
    bench.wrong = {bench.servers[0]: EngineError("still down")}
    await bench.fail("a")
    for _ in range(1200):  # ten hours
        await bench.pauses.end()
    for seconds, middle in zip(bench.pauses.seconds, [1, 2, 4, 8, 16, 30, 30, 30], strict=False):
        assert 0.75 * middle <= seconds <= 1.25 * middle
    assert max(bench.pauses.seconds) <= 37.5
    assert len(set(bench.pauses.seconds)) > 1000


async def test_a_server_on_trial_gets_one_request_at_a_time_until_one_is_whole(bench):
    await bench.fail("a")
    await bench.pauses.end()
    trial = await bench.choose({bench.servers[1]: EngineBusy("busy")})
    with bench.balance.asking(trial):
        # Where another is good it is spared; the fewest under way are not enough.
        assert {await bench.ask() for _ in range(5)} == {"b"}
    assert {await bench.ask() for _ in range(2)} == {"a", "b"}
    assert bench.balance.capacity(EACH) == 2 * EACH


async def test_a_server_that_passes_its_checks_and_fails_its_requests_is_tried_ever_less(bench):
    asked = []
    for _ in range(6):
        await bench.fail("a")
        asked += [await bench.ask() for _ in range(10)]
        await bench.pauses.end()
    assert set(asked) == {"b"}
    assert bench.pauses.seconds[-1] >= 0.75 * 30
    not_b = {bench.servers[1]: EngineError("not this one")}
    assert await bench.ask(failures=not_b) == "a"
    await bench.fail("a")
    await settle()
    assert bench.pauses.seconds[-1] <= 1.25


async def test_requests_that_began_before_a_server_failed_or_returned_change_nothing(bench):
    early = [bench.balance.asking(bench.servers[0]) for _ in range(2)]
    for each in early:
        each.__enter__()
    await bench.fail("a")
    early.pop().__exit__(None, None, None)  # it finished what it had, and takes nothing new
    assert not bench.servers[0].up
    await bench.pauses.end()
    assert bench.servers[0].up
    early.pop().__exit__(EngineTimeout, EngineTimeout("late"), None)
    assert bench.servers[0].up


async def test_when_all_servers_have_failed_they_are_asked_all_the_same_and_a_whole_answer_brings_one_back(bench):
    await bench.fail("a")
    await bench.fail("b")
    assert bench.balance.capacity(EACH) == 2 * EACH
    back = await bench.ask()
    assert [server.up for server in bench.servers] == [server.url == back for server in bench.servers]
    await bench.pauses.end()
    assert bench.checked == ["b" if back == "a" else "a"]


async def test_a_server_that_hangs_is_nobodys_second_choice(bench):
    refused = {bench.servers[0]: EngineError("'far' cannot be reached")}
    await bench.fail("b", EngineError("'far' answered 500"))
    assert (await bench.choose(refused)).url == "b"
    bench.wrong = {bench.servers[1]: EngineTimeout("'far' did not answer in time")}
    await bench.pauses.end()
    with pytest.raises(EngineError, match="cannot be reached"):
        await bench.choose(refused)
    bench.wrong = {}
    await bench.pauses.end()
    assert (await bench.choose(refused)).url == "b"


async def test_when_all_servers_hang_one_is_asked(three):
    for url in "abc":
        await three.fail(url, EngineTimeout("'far' did not answer in time"))
    chosen = await three.choose()
    timeout = EngineTimeout("'far' did not answer in time again")
    with pytest.raises(EngineTimeout, match="again"):
        await three.choose({chosen: timeout})


async def test_when_no_server_is_left_the_latest_failure_is_told(bench):
    failures = {server: EngineError(server.url) for server in bench.servers}
    with pytest.raises(EngineError, match=r"^b$"):
        await bench.choose(failures)


async def test_a_server_that_asks_for_a_pause_gets_it(bench, clock):
    bench.balance.rest(bench.servers[0], 20)
    assert {await bench.ask() for _ in range(5)} == {"b"}
    assert bench.servers[0].up
    bench.balance.rest(bench.servers[1], 30)
    with pytest.raises(EngineBusy, match="asked for a pause") as busy:
        await bench.choose()
    assert busy.value.retry_after_seconds == 20
    clock.advance(12.5)
    with pytest.raises(EngineBusy) as busy:
        await bench.choose({bench.servers[1]: EngineError("down")})
    assert busy.value.retry_after_seconds == 8
    clock.advance(7.5)
    assert await bench.ask() == "a"


async def test_a_pause_that_a_server_asks_for_is_bounded(bench, clock):
    bench.balance.rest(bench.servers[0], 86_400)
    clock.advance(60)
    assert {await bench.ask() for _ in range(2)} == {"a", "b"}


async def test_the_capacity_of_an_engine_is_that_of_its_good_servers(three):
    assert three.balance.capacity(EACH) == 3 * EACH
    await three.fail("a")
    assert three.balance.capacity(EACH) == three.capacities[-1] == 2 * EACH
    three.balance.rest(three.servers[1], 5)
    assert three.balance.capacity(EACH) == EACH
    await three.pauses.end()
    assert three.balance.capacity(EACH) == three.capacities[-1] == EACH + 1


async def test_each_change_of_a_servers_state_is_one_log_line_that_holds_no_text(bench, caplog):
    caplog.set_level(logging.INFO)
    for _ in range(3):
        await bench.fail("a", EngineError("'far' answered 500: cannot say 'The secret text.'"))
    await bench.pauses.end()
    await bench.ask()
    await bench.ask()
    assert [record.getMessage() for record in caplog.records] == [
        "engine far: a has failed: 'far' answered 500",
        "engine far: a answers again",
    ]


async def test_closing_an_engine_ends_the_checks_of_its_servers(bench):
    await bench.fail("a")
    await bench.close()
    await bench.pauses.end()
    assert bench.checked == []
