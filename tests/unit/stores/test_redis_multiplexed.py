"""Multiplexed connections keep their promises, in whichever pieces the answers come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import exceptions

from sayonce.core.envelope import Refused
from sayonce.core.outcome import Refusal
from sayonce.stores.redis.connection import _BUFFER_BYTES, _TICK_SECONDS, MultiplexedConnection
from sayonce.stores.redis.multiplexed import MultiplexedConnections
from sayonce.stores.redis.protocol import MAX_VALUE_BYTES, result_of
from sayonce.stores.redis.server import Get
from tests.helpers.redis_server import Server
from tests.helpers.serving import until

SIZES = st.one_of(st.integers(0, 40), st.sampled_from([_BUFFER_BYTES - 9, _BUFFER_BYTES, _BUFFER_BYTES + 1, 700_000]))
ANSWER_SECONDS = 1.0
GET = Get(b"name", bytes).command


class Far:
    """A transport that keeps what is sent."""

    def __init__(self) -> None:
        self.sent = b""
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.sent += data

    def abort(self) -> None:
        self.aborted = True

    def get_extra_info(self, _: str) -> Any:
        return self

    def setsockopt(self, *_: int) -> None: ...


class Time:
    """An event loop's clock and timers, moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self.create_future = asyncio.get_running_loop().create_future
        self.call_soon = asyncio.get_running_loop().call_soon

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._timers.append((self.now + seconds, callback))

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [callback for when, callback in self._timers if when <= self.now]
        self._timers = [timer for timer in self._timers if timer[0] > self.now]
        for callback in due:
            callback()


def connected() -> tuple[MultiplexedConnection, Far]:
    connection, far = MultiplexedConnection(ANSWER_SECONDS), Far()
    connection.connection_made(far)  # type: ignore[arg-type]
    return connection, far


def receive(connection: MultiplexedConnection, data: bytes) -> None:
    """Hand data over as an event loop does: into the buffers that the protocol gives."""
    while data and connection.open:
        buffer = connection.get_buffer(-1)
        taken = min(len(buffer), len(data))
        buffer[:taken], data = data[:taken], data[taken:]
        del buffer
        connection.buffer_updated(taken)


def on_the_wire(value: bytes | None) -> bytes:
    return b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.none() | SIZES, min_size=1, max_size=8),
    cuts=st.lists(st.floats(0, 1), max_size=8),
    data=st.data(),
)
def test_answers_of_redis_of_any_size_in_any_pieces_reach_the_caller_that_asked(
    sizes: list[int | None], cuts: list[float], data: st.DataObject
) -> None:
    values = [None if size is None else bytes([number + 1]) * size for number, size in enumerate(sizes)]
    stream = b"".join(map(on_the_wire, values))
    ends = sorted({int(cut * len(stream)) for cut in cuts} | {len(stream)})
    left = data.draw(st.sets(st.integers(0, len(values) - 1)))

    async def exchange() -> None:
        connection, far = connected()
        asked = [connection.ask(b"GET %d" % number, bytes) for number in range(len(values))]
        await asyncio.sleep(0)
        assert far.sent == b"".join(b"GET %d" % number for number in range(len(values)))
        for number in left:
            asked[number].cancel()
        for start, end in zip([0, *ends], ends, strict=False):
            receive(connection, stream[start:end])
        for number, value in enumerate(values):
            if number not in left:
                assert asked[number].result() == value
        assert connection.open
        assert not connection.waiting

    asyncio.run(exchange())


async def test_memory_for_a_value_from_redis_grows_as_its_bytes_come() -> None:
    value = bytes(range(250)) * 20_004
    connection, _ = connected()
    asked = connection.ask(GET, bytes)
    receive(connection, on_the_wire(value)[:1000])
    assert len(connection.get_buffer(-1)) < 2_000_000
    receive(connection, on_the_wire(value)[1000:])
    assert asked.result() == value
    assert connection.open


async def test_a_server_whose_greeting_is_a_value_too_long_is_asked_once_and_no_more() -> None:
    connections = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await reader.read(1000)
        writer.write(b"$%d\r\n" % (MAX_VALUE_BYTES + 1))

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()[:2]
    multiplexed = MultiplexedConnections(
        address, login=(None, None), db=0, tls=lambda: None, answer_seconds=ANSWER_SECONDS
    )
    with pytest.raises(exceptions.ConnectionError):
        await multiplexed.run(GET, bytes)
    assert len(connections) == 1
    await multiplexed.close()
    for connection in connections:
        connection.close()
        await connection.wait_closed()
    server.close()


@settings(deadline=None)
@given(st.binary(max_size=60) | st.from_regex(rb"[$*+:-][0-9 a-z-]{0,12}\r\n.{0,20}", fullmatch=True))
def test_a_server_that_is_no_redis_gives_every_caller_an_answer_or_an_error(garbage: bytes) -> None:
    async def exchange() -> None:
        connection, far = connected()
        asked = connection.ask(b"GET x", bytes)
        receive(connection, garbage)
        connection.connection_lost(None)
        assert asked.done()
        assert asked.exception() is None
        assert far.aborted

    asyncio.run(exchange())


@pytest.mark.parametrize(
    "answer",
    [b"$x\r\n", b":1\r\n", b"*1\r\n$1\r\na\r\n", b"HTTP/1.1 400 Bad Request\r\n", b"$%d\r\n" % (MAX_VALUE_BYTES + 1)],
)
async def test_an_answer_in_another_protocol_than_resp_is_an_error_of_its_own(answer: bytes) -> None:
    connection, _ = connected()
    asked = connection.ask(GET, bytes)
    receive(connection, answer)
    with pytest.raises(exceptions.InvalidResponse):
        result_of(await asked)


async def test_a_line_without_end_is_no_redis() -> None:
    connection, _ = connected()
    asked = connection.ask(b"GET x", bytes)
    receive(connection, b"$" + b"1" * _BUFFER_BYTES)
    assert isinstance(asked.result(), exceptions.InvalidResponse)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"-MOVED 3999 127.0.0.1:6381", exceptions.MovedError),
        (b"-ASK 3999 127.0.0.1:6381", exceptions.AskError),
        (b"-TRYAGAIN Multiple keys request", exceptions.TryAgainError),
        (b"-CLUSTERDOWN Hash slot not served", exceptions.ClusterDownError),
        (b"-LOADING Redis is loading the dataset in memory", exceptions.BusyLoadingError),
        (b"-NOAUTH Authentication required.", exceptions.AuthenticationError),
        (b"-NOPERM this user has no permissions", exceptions.NoPermissionError),
        (b"-ERR max number of clients reached", exceptions.ConnectionError),
        (b"-ERR unknown command", exceptions.ResponseError),
    ],
)
async def test_errors_that_redis_answers_become_those_of_the_redis_client(line: bytes, error: type[Exception]) -> None:
    connection, _ = connected()
    asked = connection.ask(GET, bytes)
    receive(connection, line + b"\r\n")
    with pytest.raises(error) as raised:
        result_of(await asked)
    assert type(raised.value) is error
    assert connection.open


@pytest.mark.parametrize("split", [False, True], ids=["at once", "in parts"])
async def test_a_refused_value_leaves_the_answers_behind_it_to_their_callers(split: bool) -> None:
    def refuse(_: object) -> bytes:
        raise Refused(Refusal.SEAL)

    connection, _ = connected()
    refused, good = connection.ask(b"GET 1", refuse), connection.ask(b"GET 2", bytes)
    answers = on_the_wire(b"bad") + on_the_wire(b"good")
    for part in (answers[:6], answers[6:]) if split else (answers,):
        receive(connection, part)
    with pytest.raises(Refused):
        result_of(await refused)
    assert (await good, connection.open) == (b"good", True)


async def test_no_answer_is_read_out_of_a_value_whose_caller_has_left() -> None:
    connection, _ = connected()
    left, good = connection.ask(b"GET 1", pytest.fail), connection.ask(b"GET 2", bytes)
    left.cancel()
    receive(connection, on_the_wire(b"late") + on_the_wire(b"good"))
    assert await good == b"good"


async def test_a_redis_that_owes_an_answer_and_is_silent_is_given_up() -> None:
    connection, far = connected()
    time = connection._loop = Time()  # type: ignore[assignment]
    first, second = connection.ask(b"GET 1", bytes), connection.ask(b"GET 2", bytes)
    for _ in range(round(ANSWER_SECONDS / _TICK_SECONDS) + 1):
        assert not far.aborted or first.done()
        time.advance(_TICK_SECONDS)
    assert isinstance(first.result(), exceptions.TimeoutError)
    assert isinstance(second.result(), exceptions.TimeoutError)
    assert far.aborted
    with pytest.raises(exceptions.TimeoutError):
        connection.ask(b"GET 3", bytes)


async def test_an_event_loop_that_is_late_is_no_silence_of_the_server() -> None:
    connection, far = connected()
    time = connection._loop = Time()  # type: ignore[assignment]
    asked = connection.ask(b"GET 1", bytes)
    time.advance(10 * ANSWER_SECONDS)  # in which nobody read what had come
    receive(connection, b"$2\r\nhi\r\n")
    assert (asked.result(), far.aborted) == (b"hi", False)


async def test_a_large_value_of_redis_may_take_long_while_its_bytes_come() -> None:
    connection, _ = connected()
    time = connection._loop = Time()  # type: ignore[assignment]
    asked = connection.ask(b"GET 1", bytes)
    receive(connection, b"$1000000\r\n")
    for _ in range(10):
        time.advance(0.9 * ANSWER_SECONDS)
        receive(connection, bytes(100_000))
    assert asked.result() == bytes(1_000_000)
    time.advance(10 * ANSWER_SECONDS)  # idle, which is no silence
    assert connection.open


async def test_a_caller_that_waits_for_a_given_up_connection_gets_an_error_and_is_not_cancelled() -> None:
    async with await asyncio.start_server(_silent, "127.0.0.1", 0) as server:
        address = server.sockets[0].getsockname()
        multiplexed = MultiplexedConnections(
            address, login=(None, None), db=0, tls=lambda: None, answer_seconds=ANSWER_SECONDS
        )
        asked = [asyncio.create_task(multiplexed.run(GET, bytes)) for _ in range(3)]
        await asyncio.sleep(0.05)
        await multiplexed.close()
        answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers] == [exceptions.ConnectionError] * 3


async def test_a_connection_that_is_ready_in_the_moment_of_closing_is_closed_too(
    redis_session: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    multiplexed = MultiplexedConnections(
        ("127.0.0.1", redis_session.port), login=(None, None), db=0, tls=lambda: None, answer_seconds=1
    )
    closing: list[asyncio.Task[None]] = []
    log_in = MultiplexedConnections._log_in

    async def log_in_as_it_closes(self: MultiplexedConnections, connection: MultiplexedConnection) -> None:
        await log_in(self, connection)
        closing.append(asyncio.create_task(self.close()))  # begins before anyone is told of the new connection

    with redis_session.client() as client:
        before = len(client.client_list())
        monkeypatch.setattr(MultiplexedConnections, "_log_in", log_in_as_it_closes)
        with pytest.raises(exceptions.ConnectionError):
            await multiplexed.run(GET, bytes)
        await asyncio.gather(*closing)
        await until(lambda: len(client.client_list()) == before)


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


@pytest.mark.parametrize("pieces", [1, 3, 40])
async def test_two_commands_in_one_round_trip_have_each_its_own_answer(pieces: int) -> None:
    connection, far = connected()
    first = connection.ask(b"SET NX|GET", bytes)
    also, third = connection.ask_also(len), connection.ask(GET, bytes)
    await asyncio.sleep(0)
    assert far.sent == b"SET NX|GET" + GET
    stream = b"+OK\r\n$5\r\nvalue\r\n$3\r\nend\r\n"
    size = -(-len(stream) // pieces)
    for start in range(0, len(stream), size):
        receive(connection, stream[start : start + size])
    assert (await first, await also, await third) == (b"OK", 5, b"end")
