"""How much a request may say: each string, the number of values and their depth; and nobody waits for what is large."""

import asyncio
import base64
import contextlib
import json
import sys
import time
from importlib import import_module
from typing import Any

import msgspec
import pytest

from sayonce.audio.decode.thread_pool import DecoderThreads
from sayonce.errors import DecodersBusy, InvalidRequest
from sayonce.speech.engines import KINDS
from sayonce.speech.engines.bounds import (
    MAX_DEPTH,
    MAX_FIELDS,
    MAX_NAME,
    MAX_TEXT,
    MAX_VALUES,
    check_number_of_values,
    is_large,
)
from sayonce.speech.request import parse_json
from tests.helpers.landed import Landed, run_without_collector, without_collector
from tests.helpers.serving import serving, speak, until
from tests.helpers.stub_engines import Passing
from tests.helpers.voice_samples import reference

MEGABYTES = 7_900_000


@pytest.fixture
async def client():
    async with serving(Passing()) as client:
        yield client


def nested(depth: int, value: Any = 1) -> Any:
    for _ in range(depth):
        value = [value]
    return value


LARGE = "x" * MEGABYTES


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"instructions": LARGE}, "instructions"),
        ({"instructions": "data:" + LARGE}, "instructions"),
        ({"voice": LARGE}, "voice"),
        ({"voice": {"id": LARGE}}, "voice"),
        ({"model": LARGE}, "model"),
        ({"input": LARGE}, "input"),
        ({"input": " " * MEGABYTES}, "input"),
        ({"input": "a\u0301" * 900_000}, "input"),
        ({"response_format": LARGE}, "response_format"),
        ({"stream_format": LARGE}, "stream_format"),
        ({"ref_text": LARGE}, "ref_text"),
        ({"references": [{"audio_path": "data:,", "text": LARGE}]}, "text"),
        ({"passed_on": LARGE}, "passed_on"),
        ({"passed_on": {"deep": [LARGE]}}, "passed_on"),
        ({"passed_on": {LARGE: 1}}, "passed_on"),
        ({LARGE: 1}, "x" * 256),
        ({"passed_on": nested(MAX_DEPTH + 1)}, "passed_on"),
        ({"passed_on": [1] * (MAX_VALUES + 1)}, "passed_on"),
        ({f"f{number}": 1 for number in range(MAX_FIELDS + 1)}, None),
        ({"passed_on": {f"f{number}": 1 for number in range(MAX_VALUES)}}, "passed_on"),
        ({"passed_on": nested(30, [[]] * 15_000)}, "passed_on"),
        ({"passed_on": ["abc"] * 600_000}, None),
    ],
)
async def test_every_string_has_a_bound_and_its_error_names_the_field_and_sends_nothing_back(client, fields, param):
    answer = await speak(client, **{"text": "Hello."} | fields) if "input" not in fields else await client.post(
        "/v1/audio/speech", json={"model": "stub", **fields}
    )  # fmt: skip
    assert answer.status_code in (400, 404), answer.text[:300]
    error = answer.json()["error"]
    assert param in (None, error["param"])
    assert len(answer.content) < 1500
    assert client.service.synthesizer.catalogue.engines[0].calls == []


async def test_a_request_within_the_bounds_is_taken(client):
    sound = "data:audio/wav;base64," + base64.b64encode(reference()).decode()
    within = {"instructions": "i" * MAX_TEXT, "voice": "v" * MAX_NAME, "passed_on": "p" * MAX_TEXT, "n" * MAX_NAME: 1}
    assert (await speak(client, **within)).status_code == 200
    assert (await speak(client, passed_on=nested(MAX_DEPTH - 1), passed_on_sound=sound)).status_code == 200
    assert (await speak(client, ref_audio=sound, ref_text="r" * MAX_TEXT)).status_code == 200


async def test_megabytes_that_are_refused_or_passed_on_are_not_remembered(client):
    for number in range(3):
        assert (await speak(client, instructions=LARGE[number:])).status_code == 400
        answer = await speak(client, f"Text {number}", sound="data:audio/wav;base64," + LARGE[number:])
        assert answer.status_code == 200
    await speak(client)
    remembered = [document for _, document in client.service.synthesizer.takes.recent]
    assert len(remembered) == 1
    assert len(msgspec.json.encode(remembered)) < 10_000


def times_a_blank_body(parse):
    """Return how many times as long a call takes as the decoder alone for 8 MB of spaces: the least of seven pairs.

    Each is measured right beside the other, in processor time, so that a busy machine slows both.
    """

    return min(seconds_of(parse) / seconds_of(decode_blank_body) for _ in range(7))


def decode_blank_body():
    with contextlib.suppress(msgspec.DecodeError):
        msgspec.json.decode(b" " * 8_000_000)


def seconds_of(call):
    started = time.thread_time()
    call()
    return time.thread_time() - started


@pytest.mark.parametrize(
    "body",
    [
        b"{" + b",".join(b'"f%d":1' % number for number in range(600_000)) + b"}",
        b'{"a":[' + b"1," * 2_000_000 + b"1]}",
        b'{"a":"' + b"\\u4e2d" * 1_300_000 + b'"}',
        b'{"a":"' + "中".encode() * 2_600_000 + b'"}',
        b" " * 8_000_000,
        b"[" * 1_000_000,
        b'{"a":' * 1_000_000,
        b'{"a":' + b"1" * 8_000_000 + b"}",
        b'{"a":"\\ud800' + b"x" * 8_000_000,
    ],
)
def test_no_body_is_parsed_more_slowly_than_a_blank_one_of_the_largest_size(body):
    """Which takes 16 ms of a quiet machine, so that none holds the event loop for long."""

    refusals = []

    def parse():
        try:
            parse_json(body)
        except InvalidRequest as error:
            refusals.append(error.message)

    assert times_a_blank_body(parse) < 2
    assert all(len(refusal) < 500 for refusal in refusals)


@pytest.mark.parametrize(
    "content",
    [nested(29, [[]] * 4000), [{}] * 4000, [1] * 4000, {f"{number}": 1 for number in range(4000)}, ["x" * 15] * 4000],
)
async def test_no_request_within_the_bounds_is_looked_at_longer_than_the_largest_blank_body(client, content):
    """In all that is done with it; its voice is not known, so that it is looked at twice."""
    body = json.dumps({"model": "stub", "input": "Hello.", "voice": "nobody", "passed_on": content}).encode()
    ratios = []
    for _ in range(7):
        started = time.thread_time()
        await client.gateway._speech._plans.make(body, "")
        ratios.append((time.thread_time() - started) / seconds_of(decode_blank_body))
    assert min(ratios) < 2


def test_small_bodies_are_not_counted_and_texts_may_have_commas():
    check_number_of_values(b"," * 60_000)
    check_number_of_values(b'{"input": "' + b"a, b, " * 5_000 + b" " * 70_000 + b'"}')
    with pytest.raises(InvalidRequest):
        check_number_of_values(b"," * 70_000)


def test_a_request_counts_as_large_by_all_its_strings_together():
    assert not is_large({"a": "abc", "b": ["de", {"c": "f" * 60_000}], "n": 1, "none": None})
    assert is_large({"a": "a" * 30_000, "b": ["b" * 30_000, {"c": "c" * 10_000}]})


@pytest.mark.parametrize("place", KINDS.values())
def test_every_declared_text_of_every_engine_has_a_bound(place):
    module, _, name = place.partition(":")
    for parameter in getattr(import_module(module), name).parameters:
        if parameter.type is str and parameter.name != "emo_audio":  # audio
            with pytest.raises(InvalidRequest) as told:
                parameter.accept(LARGE)
            assert told.value.param == parameter.name
            assert len(told.value.message) < 500


# -- decoding -----------------------------------------------------------------------------------------------------------


async def test_decoding_has_its_own_threads_and_a_full_queue_is_told_to_come_back():
    import threading

    held, decoding = threading.Event(), DecoderThreads(threads=1, queue=2)
    names = []
    waiting = [
        asyncio.ensure_future(decoding.run(who, lambda: (held.wait(), names.append(threading.current_thread().name))))
        for who in ("a", "a", "b")
    ]
    await asyncio.sleep(0)
    with pytest.raises(DecodersBusy) as told:
        await decoding.run("c", int)
    assert (told.value.status, told.value.retry_after_seconds) == (503, 1)
    waiting[1].cancel()  # who leaves makes room at once
    held.set()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert await decoding.run("c", int) == 0
    assert all(name.startswith("sayonce-decode") for name in names)
    decoding.close()


async def test_long_references_that_are_sent_along_make_no_other_synthesis_wait(client, monkeypatch):
    """A reference that takes minutes to decode takes none of the threads that encoders need."""
    import threading

    from sayonce.audio.voice import Voice

    held, honest = threading.Event(), Voice.from_audio
    monkeypatch.setattr(Voice, "from_audio", lambda data, **more: held.wait(20) and honest(data, **more))
    sound = base64.b64encode(reference()).decode()
    async with asyncio.TaskGroup() as group:
        cloning = [group.create_task(speak(client, f"Clone {number}", ref_audio=sound)) for number in range(12)]
        await asyncio.sleep(0.1)
        answers = [await speak(client, f"Other {number}", response_format="mp3") for number in range(5)]
        assert {answer.status_code for answer in answers} == {200}
        assert not any(task.done() for task in cloning)
        held.set()
    assert {task.result().status_code for task in cloning} == {200}


async def test_uploads_are_refused_when_the_decoders_queue_is_full(client, monkeypatch):
    decoding = client.service.synthesizer.decoding
    decoding._free_slots = decoding._queue = 0
    answer = await client.post(
        "/v1/audio/voices", data={"name": "alice"}, files={"audio_sample": ("a.wav", reference())}
    )
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    answer = await speak(client, ref_audio=base64.b64encode(reference()).decode())
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "decoders_busy")
    assert (await speak(client)).status_code == 200


async def test_the_fields_of_an_upload_have_bounds(client):
    for field, value in (("name", "n" * 60_000), ("ref_text", "r" * (MAX_TEXT + 1))):
        data = {"name": "alice"} | {field: value}
        answer = await client.post("/v1/audio/voices", data=data, files={"audio_sample": ("a.wav", reference())})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)
        assert len(answer.content) < 500


async def test_a_tag_of_a_request_has_a_bound(client):
    answer = await client.post("/v1/cache/purge", json={"tag": "voice=" + LARGE})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tag")


def test_an_error_that_is_remembered_holds_nothing_of_the_request():
    with pytest.raises(InvalidRequest) as told:
        parse_json(b"[]")
    twin = told.value.twin()
    assert twin.__traceback__ is None
    assert (type(twin), twin.message, twin.param, str(twin)) == (
        InvalidRequest,
        told.value.message,
        None,
        str(told.value),
    )


def test_memory_of_a_flight_is_free_as_soon_as_it_has_landed():
    """Its megabytes do not wait for the garbage collector."""
    run_without_collector(landed_flights_are_free())


async def landed_flights_are_free():
    async with serving(Passing()) as client:
        await speak(client)
        landed = Landed()
        for number in range(5):
            assert (await speak(client, f"Text {number}")).status_code == 200
        await client.service.cache.settle()
        assert await landed.left() == []


async def test_a_refused_request_is_free_as_soon_as_it_is_answered():
    """No cycle of errors and frames holds what it brought along until the garbage is collected."""
    text = "y" * MEGABYTES
    with without_collector():
        async with serving(Passing()) as client:
            references = sys.getrefcount(text)
            fields = {"model": "stub", "input": "Hello.", "instructions": text}
            assert await refusal(client.service.synthesizer, fields) == "instructions"
            del fields
            await until(lambda: sys.getrefcount(text) == references)


async def refusal(synthesizer, fields):
    try:
        await synthesizer.plan_fields(fields)
    except InvalidRequest as error:
        return error.param
