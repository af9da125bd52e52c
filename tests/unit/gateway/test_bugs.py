"""A bug of ours, and trouble of a store, are errors in the API's form, and logged once."""

import logging
import re

import httpx
import pytest

import sayonce
from sayonce import errors
from sayonce.errors import StoreError
from sayonce.gateway import headers
from sayonce.gateway.paths import SPEECH
from sayonce.testing import StubEngine
from tests.helpers.raw_requests import answer, connected, post
from tests.helpers.serving import serving, speak, until


def test_the_error_tree_names_every_public_error_once():
    public = {getattr(sayonce, name) for name in sayonce.__all__}
    tree = descendants(errors.SayonceError)
    named = {kind for kind in public if isinstance(kind, type) and issubclass(kind, Exception)}
    assert named == {kind for kind in tree if kind.__module__ == errors.__name__}
    drawing = errors.__doc__.split("::")[1].split("\n\n")[1]
    drawn = re.findall(r"^[ │├└─]*(\w+)", drawing, re.MULTILINE)
    assert sorted(drawn) == sorted(kind.__name__ for kind in named)


def descendants(kind):
    return {kind}.union(*map(descendants, kind.__subclasses__()))


SECRET = "a secret of the code"


def bug(*_, **__):
    raise RuntimeError(SECRET)


async def async_bug(*_, **__):
    raise RuntimeError(SECRET)


@pytest.fixture
def logged(caplog):
    """The bugs that were logged with their traceback: by us, or by the server under us."""

    def bugs():
        found = [record for record in caplog.records if record.exc_info and SECRET in str(record.exc_info[1])]
        caplog.clear()
        return len(found)

    yield bugs
    logging.getLogger("uvicorn").removeHandler(caplog.handler)


def listen(caplog):
    """Hear what the server logs: it keeps it from the root's handlers, and each start sets its levels."""
    logging.getLogger("uvicorn").addHandler(caplog.handler)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)


def routes_of(gateway):
    """Return what a router leads to: all but speech, which the tests below are about."""
    for route in gateway._others.routes:
        if route.path == SPEECH:
            continue
        for method in sorted(route.methods - {"HEAD"}):
            yield method, route


async def test_a_bug_on_any_route_is_a_500_in_the_apis_form_and_logged_once(monkeypatch, caplog, logged):
    async with serving(StubEngine()) as client:
        listen(caplog)
        found = list(routes_of(client.gateway))
        assert len(found) > 12
        for method, route in found:
            monkeypatch.setattr(route, "app", async_bug)
            path = route.path.replace("{name}", "alice").replace("{path:path}", "x")
            answer = await client.request(method, path, headers={"content-type": "application/json"}, content=b"{}")
            assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error"), (method, path)
            assert "secret" not in answer.text
            assert logged() == 1, (method, path)


BEFORE_THE_HEADER = {
    "access": lambda client: (client.access, "authorise", bug),
    "planning": lambda client: (client.service.synthesizer, "plan_fields", async_bug),
    "lookup": lambda client: (client.service.synthesizer, "lookup", bug),
    "store": lambda client: (client.service.cache._tiers, "look", async_bug),
    "turn": lambda client: (client.service.cache._road, "_turn", async_bug),
    "take": lambda client: (client.service.synthesizer.takes, "make", async_bug),
    "clip": lambda client: (client.service.synthesizer._clips, "make", async_bug),
    "engine": lambda client: (client.service.synthesizer.catalogue.engines[0], "synthesize", bug),
    "headers": lambda client: (headers, "_headers", bug),
}


@pytest.mark.parametrize("where", BEFORE_THE_HEADER)
async def test_a_bug_before_speech_begins_is_a_500_in_the_apis_form_and_logged_once(where, monkeypatch, caplog, logged):
    async with serving(StubEngine()) as client:
        listen(caplog)
        monkeypatch.setattr(*BEFORE_THE_HEADER[where](client))
        for fields in ({}, {"response_format": "mp3"}, {"stream_format": "sse"}):
            answer = await speak(client, **fields)
            assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")
            assert "secret" not in answer.text
            assert logged() == 1
        assert client.service.cache.counters["failed"] == 3


async def test_a_bug_on_the_short_way_of_a_hit_is_a_warning_and_the_usual_way_answers(monkeypatch, caplog):
    async with serving(StubEngine()) as client:
        await speak(client)
        async with connected(client, post()) as (reader, writer):
            _, _, clip = await answer(reader)
            monkeypatch.setattr(client.service.synthesizer, "peek", bug)
            writer.write(post())
            status, headers, again = await answer(reader)
        assert (status, headers["cache-status"], again) == (200, "sayonce; hit; detail=memory", clip)
        assert caplog.text.count("a hit could not be answered at once") == 1


async def test_a_bug_while_speech_is_sent_cuts_it_and_is_logged_once(caplog, logged):
    engine = StubEngine()
    engine.fails_at = 2
    async with serving(engine) as client:
        listen(caplog)
        for fields in ({}, {"response_format": "mp3"}, {"stream_format": "sse"}):
            engine.failure = RuntimeError(SECRET)
            with pytest.raises(httpx.RemoteProtocolError):
                await speak(client, "Cut.", **fields)
            await client.service.cache.settle()
            assert logged() == 1
        assert client.service.cache.counters["failed"] == 3


@pytest.mark.parametrize("answer", ["computed", "hit"])
async def test_a_bug_after_speech_was_sent_harms_no_one_and_is_logged_once(answer, monkeypatch, caplog, logged):
    async with serving(StubEngine()) as client:
        if answer == "hit":
            await speak(client)
            await client.service.cache.settle()
        listen(caplog)
        monkeypatch.setattr(client.observer, "answered", bug)
        assert (await speak(client)).status_code == 200
        await until(lambda: client.service.cache.counters["failed"])
        assert logged() == 1


async def test_a_bug_in_the_trace_harms_no_one_and_is_logged_once(tmp_path, monkeypatch, caplog, logged):
    async with serving(StubEngine(), trace__file=str(tmp_path / "requests.trace")) as client:
        listen(caplog)
        monkeypatch.setattr(client.gateway._trace, "note", bug)
        for number, fields in enumerate(({}, {}, {"response_format": "mp3"}, {"stream_format": "sse"}), 1):
            assert (await speak(client, **fields)).status_code == 200
            await until(lambda: client.service.cache.counters["failed"] == number)  # noqa: B023 (called at once)
            assert logged() == 1


async def test_a_failure_of_the_store_that_reaches_a_request_is_a_503_with_a_time_to_come_back(monkeypatch):
    async def away(*_):
        raise StoreError("the store is away")

    async with serving(StubEngine()) as client:
        monkeypatch.setattr(client.service.synthesizer, "plan_fields", away)
        answer = await speak(client)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["code"] == "store_failed"
