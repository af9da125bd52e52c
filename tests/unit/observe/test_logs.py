"""Logs: one line a request, none for a hit, and no text or key in any."""

import io
import json
import logging

import httpx
import pytest

from sayonce.errors import EngineError
from sayonce.gateway.access import new_key
from sayonce.observe.logs import formatter, logging_config
from sayonce.testing import StubEngine
from tests.helpers.commandline import CommandLine, stop
from tests.helpers.serving import serving, speak

SECRET = "The launch code is seven."


@pytest.fixture
def logged(monkeypatch):
    """Log as a server with ``log.format = "json"`` does, and return where to."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter("json"))
    ours = logging.getLogger("sayonce")
    monkeypatch.setattr(ours, "handlers", [handler])
    monkeypatch.setattr(ours, "propagate", False)
    level = ours.level
    ours.setLevel(logging.DEBUG)
    yield stream
    ours.setLevel(level)


@pytest.fixture
def lines(logged):
    """Return what was logged since the last time."""
    read = 0

    def unread():
        nonlocal read
        new, read = logged.getvalue()[read:], len(logged.getvalue())
        return [json.loads(line) for line in new.splitlines()]

    return unread


async def test_a_request_has_one_log_line_and_a_hit_in_memory_none(lines):
    async with serving(StubEngine()) as client:
        answer = await speak(client, SECRET)
        [line] = lines()
        for _ in range(3):
            await speak(client, SECRET)
        assert lines() == []
    assert (line["outcome"], line["level"], line["engine"], line["format"]) == ("led", "info", "stub", "wav")
    assert (line["characters"], line["bytes"]) == (len(SECRET), len(answer.content))
    assert line["key"] == answer.headers["x-sayonce-key"][:16]
    assert line["ms"] > 0


async def test_a_hit_has_a_log_line_when_the_setting_asks_for_it(lines):
    async with serving(StubEngine(), log__hits=True) as client:
        await speak(client)
        await speak(client)
    assert [(line["outcome"], line.get("tier")) for line in lines()] == [("led", None), ("hit", "memory")]


async def test_a_hit_in_the_store_has_no_log_line(lines, tmp_path):
    async with serving(StubEngine(), store=f"sqlite:///{tmp_path}/clips.db") as client:
        await speak(client, response_format="flac")
        await client.service.cache.settle()
        await client.service.cache.memory.clear()
        await speak(client, response_format="flac")
    assert [(line["outcome"], line.get("tier")) for line in lines()] == [("led", None)]


async def test_a_failed_request_is_one_warning_with_its_reason(lines):
    engine = StubEngine()
    engine.failure = EngineError(f"cannot say {SECRET!r}")
    async with serving(engine) as client:
        await speak(client, SECRET)
        engine.fails_at = 2
        with pytest.raises(httpx.RemoteProtocolError):
            await speak(client, SECRET, response_format="pcm")
        await speak(client, SECRET, voice="nobody")
    told = [(line["outcome"], line["level"], line["reason"]) for line in lines()]
    assert told == [
        ("failed", "warning", "engine_failed"),
        ("failed", "warning", "engine_failed"),
        ("refused", "info", "not_found"),
    ]


async def test_log_lines_have_the_id_of_their_request(lines):
    engine = StubEngine()
    async with serving(engine) as client:
        await speak(client, headers={"x-request-id": "one"})
        refused = await speak(client, voice="nobody")
        engine.failure = RuntimeError("a bug")
        await speak(client, "Another.", headers={"x-request-id": "three"})
    told = [(line["outcome"], line["request_id"]) for line in lines() if line["event"] == "speech"]
    assert told == [("led", "one"), ("refused", refused.headers["x-request-id"]), ("failed", "three")]


async def test_no_text_and_no_key_is_in_any_log_line(logged, tmp_path):
    key, line = new_key("acme", admin=True)
    (tmp_path / "keys").write_text(line)
    engine = StubEngine()
    async with serving(engine, log__hits=True, security__api_keys_file=str(tmp_path / "keys")) as client:
        bearer = {"Authorization": f"Bearer {key}"}
        for fields in (
            {},
            {},
            {"voice": SECRET},
            {"speed": SECRET},
            {"model": SECRET},
            {SECRET: 1},
            {"stream_format": "sse"},
        ):
            await speak(client, SECRET, headers=bearer, **fields)
        await speak(client, SECRET, headers={"Authorization": "Bearer so-a-wrong-key"})
        await client.post("/v1/audio/speech", content=f'{{"input": "{SECRET}', headers=bearer)
        engine.failure = RuntimeError("a bug")
        await speak(client, f"{SECRET} Again.", headers=bearer)
    told = logged.getvalue()
    assert told.count("\n") >= 10
    for secret in ("launch", key, "so-a-wrong-key", "Bearer"):
        assert secret not in told


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_a_server_logs_in_the_form_that_is_set(tmp_path, log_format):
    environment = {"SAYONCE_LOG__FORMAT": log_format}
    with CommandLine(tmp_path).serving("--store", "memory://", "--engine", "espeak", **environment) as server:
        fields = {"input": SECRET, "response_format": "wav"}
        assert httpx.post(f"{server.url}/v1/audio/speech", json=fields, timeout=60).status_code == 200
        code, talk = stop(server)
    assert code == 0
    assert "launch" not in talk
    line = next(line for line in talk.splitlines() if "characters" in line)
    if log_format == "json":
        assert json.loads(line)["logger"] == "sayonce.request"
    else:
        assert "outcome=led" in line
        assert "\x1b" not in line


def test_an_unknown_log_level_is_refused(tmp_path):
    error = CommandLine(tmp_path).fails(2, "serve", SAYONCE_LOG__LEVEL="chatty")
    assert "SAYONCE_LOG__LEVEL" in error


def test_other_libraries_are_logged_from_warnings_on():
    config = logging_config("json", "debug")
    assert (config["root"]["level"], config["loggers"]["sayonce"]["level"]) == ("WARNING", "DEBUG")


async def test_an_only_if_cached_of_what_is_not_stored_is_no_failure(lines):
    async with serving(StubEngine()) as client:
        answer = await speak(client, headers={"cache-control": "only-if-cached"})
        metrics = (await client.get("/metrics")).text
        latest = (await client.get("/v1/cache/overview")).json()["latest"]
    assert answer.status_code == 504
    assert [(line["outcome"], line["level"], line["reason"]) for line in lines()] == [("refused", "info", "not_cached")]
    assert 'sayonce_request_errors_total{outcome="refused",reason="not_cached"} 1' in metrics
    failed = [line for line in metrics.splitlines() if 'outcome="failed"' in line]
    assert {line.rpartition(" ")[2] for line in failed} <= {"0.0"}
    assert [each["outcome"] for each in latest] == ["refused"]
