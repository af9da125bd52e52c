"""The bounds of all connections together: how long they may take, how much they may hold, and how many there may be."""

import asyncio
import json
import logging
import socket
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayonce.gateway.access import new_key
from sayonce.gateway.connection import Held
from sayonce.gateway.unread import Unread
from sayonce.testing import StubEngine
from tests.helpers.raw_requests import CHUNKS, LIVE, SPEECH, alive, answer, connected, ends, post, trickle
from tests.helpers.serving import serving, speak


@pytest.fixture
async def client(caplog):
    async with serving(StubEngine()) as client:
        yield client
    assert not [record for record in caplog.records if record.exc_info or record.levelno > logging.WARNING]


# -- time ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def hasty(caplog):
    bounds = {"server__header_seconds": 0.5, "server__request_seconds": 1, "server__unread_seconds": 1}
    async with serving(StubEngine(), **bounds) as client:
        yield client
    assert not [record for record in caplog.records if record.exc_info or record.levelno > logging.WARNING]


async def test_a_header_that_does_not_end_in_time_is_a_408_however_it_trickles(hasty):
    async with connected(hasty) as (reader, writer):
        trickling = asyncio.create_task(trickle(writer, LIVE[:-2] + b"X-Slow: " + b"a" * 1000))
        status, headers, body = await answer(reader)
        assert (status, headers["connection"]) == (408, "close")
        assert b"server.header_seconds" in body
        assert await ends(reader)
        trickling.cancel()


async def test_a_connection_that_says_nothing_is_closed(hasty):
    async with connected(hasty) as (reader, _):
        assert await reader.read() == b""


async def test_the_next_header_of_a_connection_has_its_time_too(hasty):
    async with connected(hasty, LIVE) as (reader, writer):
        assert (await answer(reader))[0] == 200
        await asyncio.sleep(1.5)  # idle between requests is no trouble
        writer.write(LIVE)
        assert (await answer(reader))[0] == 200
        writer.write(LIVE[:10])
        assert (await answer(reader))[0] == 408


async def test_a_body_that_does_not_end_in_time_is_a_408(hasty):
    async with connected(hasty, post(length=1000)) as (reader, writer):
        trickling = asyncio.create_task(trickle(writer, b" " * 1000))
        status, _, body = await answer(reader)
        assert status == 408
        assert b"server.request_seconds" in body
        trickling.cancel()
    await alive(hasty)


async def test_no_timeout_cuts_an_answer_that_takes_long_to_compute(hasty):
    engine = hasty.service.synthesizer.catalogue.engines[0]
    engine.gate.clear()
    async with connected(hasty, post()) as (reader, _):
        asyncio.get_running_loop().call_later(1.2, engine.gate.set)
        assert (await answer(reader))[0] == 200


# -- memory -------------------------------------------------------------------------------------------------------------


async def test_unfinished_bodies_of_all_connections_have_one_bound_and_the_silent_go_first(caplog):
    async with serving(StubEngine(), server__buffered_max_bytes="1 MB") as client:
        silent = [await asyncio.open_connection("127.0.0.1", client.port) for _ in range(8)]
        for _, writer in silent:
            writer.write(post(b"{" + b" " * 300_000, length=400_000))
            await writer.drain()
            await asyncio.sleep(0.05)
        for reader, _ in silent[:4]:
            status, headers, body = await answer(reader)
            assert (status, headers["retry-after"]) == (503, "1")
            assert json.loads(body)["error"]["type"] == "server_error"
        assert (await speak(client)).status_code == 200
        body = SPEECH[:-1] + b" " * 600_000 + b"}"
        async with connected(client, post(body)) as (reader, _):
            assert (await answer(reader))[0] == 200
        for _, writer in silent:
            writer.transport.abort()
        while client.bounds.buffered_bytes:  # what ended gives back what it had
            await asyncio.sleep(0.01)
    assert caplog.text.count("unfinished requests take as much memory") == 1


async def test_memory_that_requests_hold_is_given_back_to_the_bound(client):
    for _ in range(3):
        async with connected(client, post(SPEECH[:-1] + b" " * 100_000 + b"}")) as (reader, _):
            assert (await answer(reader))[0] == 200
        async with connected(client, post(b" " * 100_000, length=200_000)):
            await asyncio.sleep(0.05)
        async with connected(client, post(b"", length=9_000_000) + b" " * 100_000) as (reader, _):
            assert (await answer(reader))[0] == 413
    while client.bounds.connections.keys() - set(client.bounds.heads) and client.bounds.buffered_bytes:
        await asyncio.sleep(0.01)
    assert client.bounds.buffered_bytes == 0


async def test_an_early_refusal_is_read_although_the_body_still_comes(tmp_path):
    key, line = new_key("school")
    (tmp_path / "keys").write_text(line)
    async with serving(StubEngine(), security__api_keys_file=str(tmp_path / "keys")) as client:
        for extra, status in ((), 401), ((f"Authorization: Bearer {key}",), 413):
            for more in ((), ("Connection: close",)):
                async with connected(client, post(b"", *extra, *more, length=20_000_000)) as (reader, writer):
                    writer.write(b" " * 20_000_000)
                    assert (await answer(reader))[0] == status
        assert client.bounds.buffered_bytes == 0


async def test_clips_that_nobody_reads_have_one_bound():
    async with serving(StubEngine(chunks=CHUNKS), server__unread_max_bytes="50 MB") as client:
        unread = []
        for number in range(6):
            body = SPEECH.replace(b"Hello", b"Hello %d" % number)
            unread.append(await asyncio.open_connection("127.0.0.1", client.port, limit=2**16))
            unread[-1][1].write(post(body))
        deadline = asyncio.get_running_loop().time() + 20
        while len(client.bounds.connections) > 3:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.05)
        assert (await speak(client)).status_code == 200
        for _, writer in unread:
            writer.transport.abort()


@pytest.mark.parametrize("stored", [False, True], ids=["streamed", "whole"])
async def test_of_an_answer_that_is_not_read_the_system_holds_little_and_the_bound_counts_the_rest(stored):
    async with serving(StubEngine(chunks=CHUNKS)) as client:
        size = len((await speak(client)).content) if stored else 4800 * CHUNKS
        with socket.socket() as unread:
            unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            unread.connect(("127.0.0.1", client.port))
            unread.sendall(post())
            deadline = asyncio.get_running_loop().time() + 20
            while client.bounds.unread.bytes < size - 2_000_000:
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.05)


async def test_an_answer_that_is_not_read_is_cut_after_a_while_and_one_that_is_read_slowly_is_not(hasty):
    hasty.service.synthesizer.catalogue.engines[0].chunks = CHUNKS
    async with connected(hasty, post()) as (slow, _), connected(hasty, post()) as (never, _):
        await slow.readuntil(b"\r\n\r\n")
        for _ in range(30):
            assert await slow.read(50_000)
            await asyncio.sleep(0.1)
        received = b""
        with suppress(ConnectionResetError):
            while piece := await never.read(1_000_000):
                received += piece
        assert not received.endswith(b"0\r\n\r\n")
        assert await slow.read(50_000)


# -- connections --------------------------------------------------------------------------------------------------------


async def test_half_requests_give_way_to_whole_ones(caplog):
    async with serving(StubEngine(), server__connections=5) as client:
        half = [await asyncio.open_connection("127.0.0.1", client.port) for _ in range(20)]
        for _, writer in half:
            writer.write(LIVE[:20])
        for _ in range(10):
            async with connected(client, LIVE) as (reader, _):
                assert (await answer(reader))[0] == 200
        for _, writer in half:
            writer.transport.abort()


async def test_when_all_connections_are_busy_the_next_is_told_to_come_back():
    engine = StubEngine()
    async with serving(engine, server__connections=3) as client:
        engine.gate.clear()
        busy = [await asyncio.open_connection("127.0.0.1", client.port) for _ in range(3)]
        for number, (reader, writer) in enumerate(busy):
            writer.write(post(SPEECH.replace(b"Hello", b"Hello %d" % number)))
            await reader.readuntil(b"\r\n\r\n")
        async with connected(client, LIVE) as (reader, _):
            status, headers, body = await answer(reader)
            assert (status, headers["retry-after"]) == (503, "1")
            assert json.loads(body)["error"]["type"] == "server_error"
        engine.gate.set()
        for reader, writer in busy:
            await reader.readuntil(b"\r\n0\r\n\r\n")
            writer.transport.abort()


async def test_clients_that_read_slowly_give_way_when_they_have_taken_every_connection():
    async with serving(StubEngine(chunks=CHUNKS), server__connections=5, server__unread_max_bytes="1 GB") as client:
        slow = [await asyncio.open_connection("127.0.0.1", client.port, limit=1024) for _ in range(5)]
        for _, writer in slow:
            writer.write(post())
        while len(client.bounds.unread) < 5:
            await asyncio.sleep(0.01)
        for _ in range(3):
            async with connected(client, LIVE) as (reader, _):
                assert (await answer(reader))[0] == 200
        for _, writer in slow:
            writer.transport.abort()


class Reader:
    """A connection whose client reads, as far as ``Unread`` knows it."""

    def __init__(self, held):
        self.held, self.transport, self.unsent, self.asked = held, self, 0, 0

    def get_write_buffer_size(self):
        self.asked += 1
        return self.unsent


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["pause", "resume", "end", "count"]), st.integers(0, 99))))
def test_unread_bytes_are_counted_right_through_pauses_and_ends(steps):
    body = Held()
    readers, unread, known = [Reader(Held() if number % 2 else body) for number in range(6)], Unread(), {}
    body.of, body.count = body, lambda: 1000
    for number, step, size in steps:
        reader = readers[number]
        if step == "pause":
            reader.unsent = known[number] = size
            unread.note(reader)
        elif step == "resume":
            known.pop(number, None)
            unread.forget(reader)
        elif step == "end":
            reader.held = Held()
        else:
            unread.recount()
    unread.recount()
    sharing = any(readers[number].held is body for number in known)
    assert (len(unread), unread.bytes) == (len(known), sum(known.values()) + 1000 * sharing)
    for reader in readers:
        unread.forget(reader)
    assert (len(unread), unread.bytes) == (0, 0)


def test_a_pause_costs_the_same_however_many_do_not_read():
    readers, unread = [Reader(Held()) for _ in range(1000)], Unread()
    for reader in readers:
        unread.note(reader)
    assert {reader.asked for reader in readers} == {1}


async def test_streams_leave_the_event_loop_to_others_after_each_slice():
    """The system takes megabytes without a pause: a thousand clients would have a whole clip each before anyone else."""
    async with serving(StubEngine(chunks=100)) as client:
        await speak(client)
        sent, most, rounds, loop = 0, 0, [], asyncio.get_running_loop()

        def tick():
            nonlocal sent, most
            most, sent = max(most, sent), 0
            rounds.append(loop.call_soon(tick))

        async def send(message):
            nonlocal sent
            sent += bool(message.get("more_body"))

        async def ask():
            body = json.dumps(json.loads(SPEECH) | {"stream_format": "sse"}).encode()
            scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/v1/audio/speech"}
            headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
            messages = iter([{"type": "http.request", "body": body}])
            await client.gateway(scope | {"headers": headers}, lambda: asyncio.sleep(0, next(messages)), send)

        tick()
        await asyncio.gather(*(ask() for _ in range(20)))
        rounds[-1].cancel()
        assert most <= 20 * 3  # at first each has a slice, of two or three events
        assert len(rounds) > 20 * 5
