"""The trace: what is recorded, what is not, and what it foretells."""

import asyncio
import gzip
import multiprocessing
import os
import random
import re
from bisect import bisect
from itertools import accumulate

import msgspec
import pytest

from sayonce.config import load_settings
from sayonce.core.envelope import Entry
from sayonce.core.outcome import Outcome
from sayonce.errors import ConfigError
from sayonce.gateway.access import load_access
from sayonce.gateway.app import Gateway
from sayonce.observe.simulate import footprint, simulate
from sayonce.observe.trace import HEADER, Recorder, append
from sayonce.observe.trace_reader import read_traces
from sayonce.service import Service
from sayonce.speech.engines import AudioStart
from sayonce.testing import FakeClock, StubEngine
from tests.helpers.commandline import CommandLine, stop
from tests.helpers.serving import serving, speak

LINE = re.compile(r"\d+\.\d{3},[0-9a-f]{24},\d+,(store|memory),([0-9a-f]{24})?,\d+,[\d.e+-]+,[a-z: -]+,[0-9a-f]{8}\n")


VALUE, BYTES, KEPT, TAKE, TAKE_BYTES, COST, OUTCOME, TENANT = range(1, 9)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "requests.trace"


def lines_of(file):
    header, *lines = file.read_text().splitlines(keepends=True)
    assert header == f"{HEADER}\n"
    return lines


def split(line):
    return line.rstrip("\n").split(",")


# -- what is recorded ---------------------------------------------------------------------------------------------------


async def test_each_answer_is_a_line_of_the_trace_with_its_sizes_cost_and_outcome(file):
    engine = StubEngine()
    async with serving(engine, trace__file=str(file)) as client:
        for audio_format in ("flac", "flac", "wav", "mp3"):
            await speak(client, response_format=audio_format)
        await speak(client, headers={"cache-control": "no-store"})
        await speak(client, voice="nobody")
    flac, again, wav, mp3, unkept = (split(line) for line in lines_of(file))
    assert [line[OUTCOME] for line in (flac, again, wav, mp3, unkept)] == [
        "led",
        "hit",
        "hit",
        "hit",
        "bypass: no-store",
    ]
    assert flac[1:COST] == again[1:COST]
    assert flac[KEPT:COST] == ["store", "", "0"]  # it is the take
    assert wav[KEPT:COST] == ["memory", flac[VALUE], flac[BYTES]]
    assert mp3[KEPT:COST] == ["store", flac[VALUE], flac[BYTES]]
    assert len({flac[VALUE], wav[VALUE], mp3[VALUE]}) == 3
    assert {line[COST] for line in (again, wav, mp3)} == {flac[COST]}  # a format saves what its take did


async def test_a_trace_holds_no_text_no_voice_and_no_tenant(file):
    async with serving(StubEngine(), trace__file=str(file)) as client:
        answer = await speak(client, "My account number is 4711.")
    lines = lines_of(file)
    assert len(lines) == 1
    assert all(LINE.fullmatch(line) for line in lines)
    assert answer.headers["x-sayonce-key"][:24] not in lines[0]
    assert file.stat().st_mode & 0o077 == 0


async def test_each_recording_has_a_key_of_its_own_so_that_traces_cannot_be_joined(file):
    for _ in range(2):
        async with serving(StubEngine(), trace__file=str(file)) as client:
            await speak(client)
    (first, second) = (split(line) for line in lines_of(file))
    assert first[VALUE] != second[VALUE]
    assert first[TENANT] != second[TENANT]


async def test_recording_a_hit_waits_for_no_disk_and_keeps_no_sound(file, make_entry):
    async with Recorder(str(file), 10_000_000, FakeClock()) as recorder:
        plan, entry = a_plan(), make_entry(body=bytes(100_000))
        for _ in range(1000):
            recorder.note(plan, Outcome.HIT, entry)
        assert file.read_bytes() == b""
        assert not any(isinstance(each, Entry) for note in recorder._waiting for each in note)
        await recorder.flush()
        assert len(lines_of(file)) == 1000


def a_plan(text="Hello."):
    service = Service(load_settings(environment={}, overrides={"store.url": "memory://"}), [StubEngine()])
    return service.synthesizer.plan(service.synthesizer.parse({"input": text, "response_format": "flac"}))


async def test_a_trace_ends_at_its_bound_with_a_whole_line_and_says_so(file, make_entry, caplog):
    async with Recorder(str(file), 2000, FakeClock()) as recorder:
        for _ in range(100):
            recorder.note(a_plan(), Outcome.HIT, make_entry())
        await recorder.flush()
        recorder.note(a_plan(), Outcome.HIT, make_entry())
    assert 1800 < file.stat().st_size <= 2000
    lines = lines_of(file)
    assert all(LINE.fullmatch(line) for line in lines)
    assert [record.message.partition(": ")[2] for record in caplog.records] == [
        "the trace ends here: it has reached 2000 bytes",
        f"{101 - len(lines)} requests are not in the trace",
    ]


async def test_a_full_disk_ends_the_trace_and_nothing_else(caplog):
    async with serving(StubEngine(), trace__file="/dev/full") as client:
        for _ in range(2):
            answer = await speak(client)
            assert answer.status_code == 200
    assert "the trace ends here: No space left on device" in caplog.text


def test_a_trace_file_that_cannot_be_written_is_told_at_the_start(quick):
    assert "trace.file: cannot write nowhere/x.trace" in quick.fails(2, "serve", "--trace", "nowhere/x.trace")


def test_several_processes_append_whole_lines_and_one_header_to_a_trace(file):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=append_many, args=(file, number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    lines = lines_of(file)
    assert sorted(lines) == sorted(f"{number} {count}\n" for number in range(4) for count in range(1000))
    assert file.read_text().count(HEADER) == 1


def append_many(file, number):
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for start in range(0, 1000, 10):
        append(descriptor, [f"{number} {count}\n" for count in range(start, start + 10)], 10**9)


def test_workers_record_one_trace_under_one_key(tmp_path):
    import httpx

    sayonce = CommandLine(tmp_path)
    with sayonce.serving("--workers", "2", "--engine", "espeak", "--trace", "x.trace") as process:
        request = {"input": "Hello there.", "response_format": "flac"}
        for _ in range(40):  # each on a new connection, so that both have some
            assert httpx.post(f"{process.url}/v1/audio/speech", json=request, timeout=30).status_code == 200
        code, _ = stop(process)
    assert code == 0
    found = [split(line) for line in lines_of(tmp_path / "x.trace")]
    assert len(found) == 40
    assert len({line[VALUE] for line in found}) == 1
    assert [line[OUTCOME] for line in found].count("led") == 1


# -- what is read -------------------------------------------------------------------------------------------------------


def write(file, *lines):
    file.write_text("".join(f"{line}\n" for line in (HEADER, *lines)))


GOOD = [
    f"{1000 + number}.000,{'0' * 23}{number % 3},300,memory,{'a' * 23}{number % 3},200,0.5,{'led' if number < 3 else 'hit'},0"
    for number in range(6)
]


def test_traces_are_replayed_in_the_order_of_their_times(file, tmp_path):
    other = tmp_path / "other.trace"
    write(file, *GOOD[3:])
    write(other, *GOOD[:3])
    trace = read_traces([file, other])
    assert [access.time for access in trace.accesses] == [1000, 1001, 1002, 1003, 1004, 1005]
    assert {access.size_bytes for access in trace.accesses} == {200}
    assert {access.parent for access in trace.accesses} == {b""}
    in_memory = read_traces([file], "memory").accesses
    assert {(access.size_bytes, access.parent_bytes) for access in in_memory} == {(300, 200)}
    assert trace.hit_rate == 0.5


def test_a_packed_trace_is_read_as_it_is(file):
    write(file, *GOOD)
    file.write_bytes(gzip.compress(file.read_bytes()))
    assert len(read_traces([file]).accesses) == 6


def test_lines_of_a_trace_that_are_no_request_are_counted_and_left_out(file):
    bad = [
        "",
        "1,2",
        GOOD[0][:-30],
        GOOD[0].replace("0.5", "nan"),
        GOOD[0].replace("led", "bought"),
        "é" * 40,
        GOOD[0].replace(",200,", ",-2,"),
    ]
    write(file, GOOD[0], *bad, "# a comment", GOOD[1].replace("led", "bypass: no-store"), GOOD[2])
    trace = read_traces([file])
    assert (len(trace.accesses), trace.unreadable, trace.not_cacheable) == (2, 7, 1)


@pytest.mark.parametrize("content", [b"", b"# sayonce trace 2\n", b"\x1f\x8bnot packed", b"\x00\xff"])
def test_a_file_that_is_no_trace_is_refused(file, content):
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"requests\.trace"):
        read_traces([file])


# -- what it foretells --------------------------------------------------------------------------------------------------


class Reader(StubEngine):
    """Speaks longer texts longer."""

    async def synthesize(self, utterance):
        yield AudioStart(8000)
        for number in range(1 + len(utterance.text) // 8):
            yield self.sound(utterance, number)


def zipf(requests, phrases=150, skew=0.9, seed=1):
    draw = random.Random(seed)
    texts = [f"Phrase {number}: " + "more " * draw.randrange(20) for number in range(phrases)]
    weights = list(accumulate(rank**-skew for rank in range(1, phrases + 1)))
    return [texts[bisect(weights, draw.random() * weights[-1], hi=phrases - 1)] for _ in range(requests)]


async def load(texts, audio_format, **overrides):
    """Ask the gateway for every text, one after the other, and return the hit rate as its clients see it."""
    names = {name.replace("__", "."): value for name, value in overrides.items()}
    settings = load_settings(environment={}, overrides={"store.url": "memory://", **names})
    gateway = Gateway(Service(settings, [Reader(sample_rate_hz=8000)]), load_access(settings))
    async with gateway._lifespan(None):
        reused = [await is_reused(gateway, text, audio_format) for text in texts]
    return sum(reused) / len(reused)


async def is_reused(gateway, text, audio_format):
    body = msgspec.json.encode({"input": text, "response_format": audio_format})
    sent = []

    async def receive():
        if sent:
            await asyncio.Event().wait()  # the client stays
        sent.append(None)
        return {"type": "http.request", "body": body}

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v1/audio/speech", "headers": headers, "http_version": "1.1"}
    await gateway(scope, receive, send)
    assert sent[1]["status"] == 200, sent[2]
    await gateway.service.cache.settle()  # or the next request might join what is still being stored
    return b"; hit" in dict(sent[1]["headers"])[b"cache-status"]


@pytest.mark.parametrize(
    ("tier", "policy", "audio_format"),
    [("memory", "gdsf", "flac"), ("memory", "lru", "wav"), ("memory", "gdsf", "mp3"), ("store", "gdsf", "wav")],
)
async def test_a_recorded_trace_foretells_the_hit_rate_of_another_size_within_two_points(
    file, tmp_path, tier, policy, audio_format
):
    texts = zipf(600)

    def sizes(bound, name):
        if tier == "memory":
            return {"memory__max_bytes": bound, "memory__policy": policy}
        store = {"store__url": f"sqlite:///{tmp_path / name}.db", "store__max_bytes": bound, "store__policy": policy}
        return {"memory__max_bytes": 0, **store}

    small = 100_000
    recorded = await load(texts, audio_format, trace__file=str(file), **sizes(small, "small"))
    trace = read_traces([file], tier)
    assert trace.hit_rate == pytest.approx(recorded)
    whole = footprint(trace.accesses)
    assert small < 0.2 * whole  # what is foretold is another cache than the one that was recorded
    other = int(0.25 * whole)
    foretold = simulate(trace.accesses, policy, other).hit_rate
    had = await load(texts, audio_format, **sizes(other, "other"))
    assert foretold == pytest.approx(had, abs=0.02)
    assert had - recorded > 0.05


# -- the command --------------------------------------------------------------------------------------------------------


def test_the_table_of_simulate_has_a_line_for_every_policy_and_size(quick, tmp_path):
    write(tmp_path / "x.trace", *GOOD)
    sizes = ("--size", "400", "--size", "1kB")
    done = quick("simulate", "x.trace", "--policy", "lru", *sizes, "--ttl", "1h", "--ttl", "none")
    assert done.code == 0
    head, recorded, _, columns, *rows = done.out.splitlines()
    assert head == "6 requests in 5.0 s, for 3 clips, 600 bytes in all"
    assert recorded == "answered from the cache when it was recorded: 50.0 %"
    assert columns.split()[:3] == ["policy", "ttl", "size"]
    assert [row.split()[:4] for row in rows] == [
        ["lru", "1.0", "h", "400"],
        ["lru", "1.0", "h", "1.0"],
        ["lru", "none", "400", "bytes"],
        ["lru", "none", "1.0", "kB"],
    ]
    assert "50.0 %" in rows[1]


def test_json_of_simulate_tells_what_its_table_tells(quick, tmp_path):
    write(tmp_path / "x.trace", *GOOD)
    report = quick("simulate", "x.trace", "--json").json
    assert (report["requests"], report["values"], report["footprint_bytes"]) == (6, 3, 600)
    assert {each["policy"] for each in report["forecasts"]} == {"gdsf", "lru"}
    whole = [each for each in report["forecasts"] if each["max_bytes"] == 600]
    assert all(each["hit_rate"] == 0.5 and each["saved_seconds"] == 1.5 for each in whole)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either traces, or --synthetic"),
        (("nowhere.trace",), "cannot read nowhere.trace"),
        (("x.trace", "--synthetic", "5"), "give either"),
        (("x.trace", "--policy", "fifo"), "gdsf, lru"),
        (("x.trace", "--size", "much"), "256 MB"),
        (("x.trace", "--ttl", "long"), "none keeps for ever"),
        (("empty.trace",), "no requests"),
    ],
)
def test_wrong_usage_of_simulate_says_what_would_be_right(quick, tmp_path, arguments, message):
    write(tmp_path / "x.trace", *GOOD)
    write(tmp_path / "empty.trace")
    said = " ".join(quick.fails(2, "simulate", *arguments).replace("│", " ").split())
    assert message in said
