"""The header of an answer goes out with the beginning of its body, in one system call, and never later than by itself."""

import asyncio

import pytest

from sayonce.gateway.transports import CoalescingTransport, Outbox
from sayonce.testing import StubEngine
from tests.helpers.serving import serving, speak


class Transport:
    """Notes what is sent, each system call by itself."""

    def __init__(self):
        self.calls = []
        self.lost = False

    def is_closing(self):
        return self.lost

    def write(self, data):
        self.calls.append([data])

    def writelines(self, parts):
        self.calls.append(list(parts))

    def close(self):
        self.calls.append("close")

    def write_eof(self):
        self.calls.append("end")

    def get_write_buffer_size(self):
        return 5


@pytest.fixture
async def transport():
    return made(Transport(), Outbox())


def made(below, outbox):
    transport = CoalescingTransport(below, asyncio.get_running_loop(), outbox)
    transport.calls = below.calls
    transport.header_next = True
    return transport


async def test_a_header_goes_out_with_the_body_behind_it_in_one_call(transport):
    transport.write(b"header")
    transport.write(b"body")
    transport.write(b"more")
    await asyncio.sleep(0)
    assert transport.calls == [[b"header", b"body"], [b"more"]]


async def test_nothing_is_sent_together_on_a_connection_that_is_lost(transport):
    """asyncio would watch its descriptor, which may be another connection's by then."""
    transport._transport.lost = True
    transport.write(b"header")
    transport.write(b"body")
    transport.answer(b"header", b"body")
    assert transport.calls == []


async def test_a_header_whose_body_is_not_there_yet_does_not_wait_for_it(transport):
    transport.write(b"header")
    await asyncio.sleep(0)
    assert transport.calls == [[b"header"]]
    transport.write(b"body")
    assert transport.calls == [[b"header"], [b"body"]]


@pytest.mark.parametrize(("end", "seen"), [("close", "close"), ("write_eof", "end")])
async def test_a_held_header_goes_out_before_the_connection_ends(transport, end, seen):
    transport.write(b"header")
    getattr(transport, end)()
    await asyncio.sleep(0)
    assert transport.calls == [[b"header"], seen]


async def test_the_headers_of_two_answers_go_out_in_their_order(transport):
    transport.write(b"one")
    transport.header_next = True
    transport.write(b"body")
    transport.write(b"two")
    await asyncio.sleep(0)
    assert transport.calls == [[b"one", b"body"], [b"two"]]
    transport.write(b"its body")
    assert transport.calls[2:] == [[b"its body"]]


async def test_the_transport_passes_on_whatever_it_does_not_replace(transport):
    assert transport.get_write_buffer_size() == 5


# -- whole answers ------------------------------------------------------------------------------------------------------


async def test_a_whole_answer_goes_out_in_one_call_behind_a_held_header(transport):
    transport.write(b"continue")
    transport.header_next = True
    transport.answer(b"header", b"body")
    await asyncio.sleep(0)
    assert transport.calls == [[b"continue"], [b"header", b"body"]]
    assert not transport.header_next


async def test_the_answers_of_one_round_of_the_event_loop_go_out_together():
    """One wake-up of a client that has asked several times at once, and not one for each."""
    below, outbox = Transport(), Outbox()
    for number in (b"1", b"2", b"3"):
        made(below, outbox).answer(b"header", number)
        assert below.calls == []
    await asyncio.sleep(0)
    assert below.calls == [[b"header", b"1"], [b"header", b"2"], [b"header", b"3"]]


async def test_an_answer_that_cannot_be_sent_keeps_back_no_other():
    class Broken(Transport):
        def writelines(self, parts):
            raise RuntimeError("cannot write after the end")

        def abort(self):
            self.calls.append("abort")

    broken, below, outbox = Broken(), Transport(), Outbox()
    for each in (broken, below):
        made(each, outbox).answer(b"header", b"body")
    await asyncio.sleep(0)
    assert (broken.calls, below.calls) == (["abort"], [[b"header", b"body"]])


@pytest.mark.parametrize(("end", "seen"), [("close", "close"), ("write_eof", "end")])
async def test_a_whole_answer_goes_out_before_the_connection_ends(transport, end, seen):
    transport.answer(b"header", b"body")
    getattr(transport, end)()
    await asyncio.sleep(0)
    assert transport.calls == [[b"header", b"body"], seen]


async def test_a_clip_from_memory_has_the_very_headers_that_it_has_when_something_stands_between():
    """Such as a tracer: then it goes the usual way."""
    async with serving(StubEngine()) as client:
        await speak(client)
        at_once = await speak(client, headers={"x-request-id": "mine"})
        speech = client.gateway._speech

        async def between(scope, receive, send):
            async def passing(message):
                await send(message)

            await speech(scope, receive, passing)

        client.gateway._speech = between
        usual = await speak(client, headers={"x-request-id": "mine"})
        assert at_once.headers["cache-status"].startswith("sayonce; hit")
        unlike = {"date", "age"}
        assert sorted(each for each in at_once.headers.multi_items() if each[0] not in unlike) == sorted(
            each for each in usual.headers.multi_items() if each[0] not in unlike
        )
        assert at_once.content == usual.content


async def test_a_client_that_closes_its_connection_gets_the_clip_and_the_end():
    async with serving(StubEngine()) as client:
        await speak(client)
        answer = await speak(client, headers={"Connection": "close"})
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert len(answer.content) == int(answer.headers["content-length"])
