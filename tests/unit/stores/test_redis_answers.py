"""Answers of a Redis, or of another server in its place: memory is bounded by what was asked for, and only the store fails."""

import asyncio
import logging
import re
import time
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import exceptions

from sayonce.core.envelope import Refused, Sealer
from sayonce.core.key import Secret
from sayonce.errors import StoreError
from sayonce.speech.voice_names import TABLE as VOICES
from sayonce.stores import open_store
from sayonce.stores.redis.parser import MAX_ANSWER_BYTES, MAX_ELEMENTS, Announced
from tests.helpers.serving import serving, speak
from tests.helpers.stub_engines import Cloner
from tests.helpers.uploaded_voices import upload

COMMAND = re.compile(rb"(?:^|\r\n)\*\d+\r\n")
SIMPLE = st.sampled_from([b"+OK\r\n", b":-7\r\n", b"$-1\r\n", b"*-1\r\n", b"*0\r\n"])
VALUES = SIMPLE | st.binary(max_size=30).map(lambda value: b"$%d\r\n%b\r\n" % (len(value), value))
ANSWERS = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=4).map(lambda each: b"*%d\r\n%b" % (len(each), b"".join(each)))
)


@given(st.lists(ANSWERS, min_size=1, max_size=6), st.lists(st.floats(0, 1), max_size=6))
def test_the_parser_follows_answers_of_redis_of_any_shape_in_any_pieces_to_their_end(answers, cuts):
    stream, announced = b"".join(answers), Announced()
    ends = sorted({int(cut * len(stream)) for cut in cuts} | {len(stream)})
    for start, end in zip([0, *ends], ends, strict=False):
        announced.look(stream[start:end])
    announced.look(b"*%d\r\n" % MAX_ELEMENTS)  # at the beginning of an answer nothing was counted yet
    with pytest.raises(exceptions.InvalidResponse):
        announced.look(b"*1\r\n")


def look_at(answer, announced):
    for start in range(0, len(answer), 65_536):
        announced.look(answer[start : start + 65_536])


@pytest.mark.parametrize(
    "answer",
    [
        b"*2147483647\r\n",
        b"*2\r\n*%d\r\n" % MAX_ELEMENTS,
        b"*1000\r\n" * 600,
        b"$536870911\r\n",
        b"*2\r\n$60000000\r\n" + bytes(60_000_000) + b"\r\n$%d\r\n" % (MAX_ANSWER_BYTES - 60_000_000),
        b"+" + bytes(100_000),
    ],
)
def test_an_answer_of_redis_beyond_the_bound_is_refused_when_it_is_announced(answer):
    with pytest.raises(exceptions.InvalidResponse):
        look_at(answer, Announced())


@asynccontextmanager
async def answering(answer):
    """Stand in the place of a Redis, and answer every command with the same."""

    writers = []

    async def serve(reader, writer):
        writers.append(writer)
        try:
            while asked := await reader.read(65_536):
                writer.write(answer * len(COMMAND.findall(asked)))
                await writer.drain()
        except ConnectionError:
            pass

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)


GARBAGE = {
    "an array of two thousand millions": b"*2147483647\r\n",
    "arrays within arrays": b"*1\r\n" * 200_000,
    "a value of half a gigabyte": b"$536870911\r\n" + bytes(1000),
    "a map": b"%3\r\n+a\r\n+b\r\n",
    "a map of maps": b"%1\r\n%1\r\n+a\r\n+b\r\n+c\r\n",
    "a number": b":1\r\n",
    "a word": b"+OK\r\n",
    "an empty array": b"*0\r\n",
    "an array of numbers": b"*2\r\n:1\r\n:2\r\n",
    "lengths below nothing": b"$-9999999\r\n*-5\r\n",
    "no place to go to": b"-MOVED\r\n",
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
}
READS = [
    lambda store: store.get(bytes(32)),
    lambda store: store.read_table(VOICES),
    lambda store: store.read_field(VOICES, "alice"),
    lambda store: store.totals(),
    lambda store: store.stats(),
    lambda store: store.health(),
    lambda store: store.swap_field(VOICES, "alice", None, b"record"),
    lambda store: store.count({"hit": 1}),
    lambda store: store.leases.renew(bytes(32), "owner", 1),
]


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE)
@pytest.mark.parametrize("url", ["redis://{}", "redis+cluster://{}", "redis+sentinel://{}/primary"])
async def test_garbage_from_redis_is_an_error_of_the_store_and_holds_up_no_caller(answer, url):
    async with answering(answer) as place:
        store = open_store(url.format(place), sealer=Sealer(Secret()), budget_seconds=0.2)
        await store.open()
        started = time.monotonic()
        for found in await asyncio.gather(
            *(asyncio.wait_for(read(store), 1) for read in READS), return_exceptions=True
        ):
            assert not isinstance(found, Exception) or isinstance(found, StoreError | Refused | TimeoutError), found
        assert time.monotonic() - started < 2
        await store.close()


@pytest.mark.parametrize("what", ["an array of two thousand millions", "a map", "a map of maps", "a number"])
async def test_a_gateway_whose_redis_answers_garbage_starts_speaks_and_tells_it_without_a_traceback(what, caplog):
    async with answering(GARBAGE[what]) as place, serving(Cloner(), store=f"redis://{place}") as client:
        assert (await speak(client)).status_code in (200, 503)
        assert (await upload(client)).status_code == 503
        assert (await client.get("/v1/cache/stats")).status_code == 200
        assert (await client.get("/health/live")).status_code == 200
    assert not [record for record in caplog.records if record.exc_info or record.levelno > logging.ERROR]
