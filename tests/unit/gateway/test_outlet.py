"""The header of an answer goes out with the beginning of its body, in one system call, and never later than by itself."""

import asyncio

import pytest

from sayonce.gateway.outlet import Outlet
from sayonce.testing import StubEngine
from tests.helpers.serving import serving, speak


class Transport:
    """Notes what is sent, each system call by itself."""

    def __init__(self):
        self.calls = []

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
async def outlet():
    outlet = Outlet(Transport(), asyncio.get_running_loop())
    outlet.calls = outlet._transport.calls
    outlet.header_next = True
    return outlet


async def test_a_header_goes_out_with_the_body_behind_it_in_one_call(outlet):
    outlet.write(b"header")
    outlet.write(b"body")
    outlet.write(b"more")
    await asyncio.sleep(0)
    assert outlet.calls == [[b"header", b"body"], [b"more"]]


async def test_a_header_whose_body_is_not_there_yet_does_not_wait_for_it(outlet):
    outlet.write(b"header")
    await asyncio.sleep(0)
    assert outlet.calls == [[b"header"]]
    outlet.write(b"body")
    assert outlet.calls == [[b"header"], [b"body"]]


@pytest.mark.parametrize(("end", "seen"), [("close", "close"), ("write_eof", "end")])
async def test_what_is_held_goes_out_before_the_end(outlet, end, seen):
    outlet.write(b"header")
    getattr(outlet, end)()
    await asyncio.sleep(0)
    assert outlet.calls == [[b"header"], seen]


async def test_the_headers_of_two_answers_go_out_in_their_order(outlet):
    outlet.write(b"one")
    outlet.header_next = True
    outlet.write(b"body")
    outlet.write(b"two")
    await asyncio.sleep(0)
    assert outlet.calls == [[b"one", b"body"], [b"two"]]
    outlet.write(b"its body")
    assert outlet.calls[2:] == [[b"its body"]]


async def test_everything_else_is_the_transports(outlet):
    assert outlet.get_write_buffer_size() == 5


# -- whole answers ------------------------------------------------------------------------------------------------------


async def test_a_whole_answer_goes_out_in_one_call_behind_what_was_held(outlet):
    outlet.write(b"continue")
    outlet.header_next = True
    outlet.answer(b"header", b"body")
    assert outlet.calls == [[b"continue"], [b"header", b"body"]]
    assert not outlet.header_next


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
