"""``sayonce serve``: it starts, answers, and ends without cutting anybody off."""

import gc
import os
import re
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from sayonce.cli import serve
from sayonce.gateway.app import Gateway
from tests.helpers.commandline import stop
from tests.helpers.deployments import wait_until

TEXT = "It was the best of times, it was the worst of times, it was the age of wisdom. " * 12
SHORT = {"input": "Hello there.", "response_format": "wav"}


def test_a_signal_lets_serve_finish_its_flights_and_exit_with_0(sayonce):
    with sayonce.serving() as server:
        speech = {"input": TEXT, "response_format": "pcm"}
        with httpx.stream("POST", f"{server.url}/v1/audio/speech", json=speech, timeout=30) as response:
            chunks = response.iter_raw()
            body = next(chunks)
            server.send_signal(signal.SIGTERM)
            rest = list(chunks)
        assert response.headers["cache-status"] == "sayonce; fwd=miss; stored"
        assert len(rest) > 1  # so it was indeed under way
        code, _ = stop(server)
    assert code == 0
    again = sayonce("say", TEXT, "-o", "again.pcm", "--json").json
    assert again["outcome"] == "hit"
    assert (sayonce.directory / "again.pcm").read_bytes() == body + b"".join(rest)


NEVER_RETURNS = """
import time
from sayonce.speech.engines.hibari import HibariEngine

def speak(self, utterance, emit):
    if "begin" in utterance.text:
        emit(b"\\1\\2" * 24_000)
    time.sleep(3600)

HibariEngine.speak = speak
"""


@pytest.fixture
def stuck(sayonce):
    """The command where hibari begins to speak at most, and never returns."""
    (sayonce.directory / "sitecustomize.py").write_text(NEVER_RETURNS)
    sayonce.environment["PYTHONPATH"] = str(sayonce.directory)
    return sayonce


@contextmanager
def begun(server):
    """Ask for a clip that never ends; yields its chunks, of which one has come."""
    speech = {"input": "Please begin.", "response_format": "pcm"}
    with httpx.stream("POST", f"{server.url}/v1/audio/speech", json=speech, timeout=30) as response:
        chunks = response.iter_raw()
        next(chunks)
        yield chunks


def under_way(server):
    """Return how many requests an engine speaks, or has in its queue."""
    figures = re.findall(
        r'^sayonce_engine_(?:speaking|waiting){engine="hibari"} (\d+)',
        httpx.get(f"{server.url}/metrics").text,
        re.MULTILINE,
    )
    return sum(map(int, figures))


def refused(url):
    """Whether a server listens no more."""
    try:
        httpx.get(url)
    except httpx.ConnectError:
        return True
    return False


@pytest.mark.parametrize("workers", [1, 2])
def test_a_signal_ends_serve_also_where_an_engine_never_returns(stuck, workers):
    soon = {"SAYONCE_SERVER__SHUTDOWN_TIMEOUT": "1s", "SAYONCE_SERVER__WORKERS": str(workers)}
    with stuck.serving(**soon) as server, ThreadPoolExecutor(1) as clients, begun(server) as chunks:
        waiting = clients.submit(httpx.post, f"{server.url}/v1/audio/speech", json=SHORT, timeout=30)
        wait_until(lambda: under_way(server) == 2)
        asked = time.monotonic()
        server.send_signal(signal.SIGTERM)
        with pytest.raises(httpx.RemoteProtocolError):
            list(chunks)
        answer = waiting.result()
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "stopping"
        code, talk = stop(server)
    assert code == (1 if workers == 1 else 0), talk  # workers end by the signal itself, which waits for no thread
    assert time.monotonic() - asked < 1 + 10 + 5, talk


@pytest.mark.parametrize("waits", [0, 2.5], ids=["while answers are open", "while Python waits for its threads"])
def test_a_second_interrupt_ends_serve_at_once(stuck, waits):
    with stuck.serving(SAYONCE_SERVER__SHUTDOWN_TIMEOUT="1s" if waits else "30s") as server, begun(server):
        server.send_signal(signal.SIGINT)
        wait_until(lambda: refused(server.url))
        time.sleep(waits)
        asked = time.monotonic()
        code, _ = stop(server, signal.SIGINT)
    assert code == 128 + signal.SIGINT
    assert time.monotonic() - asked < 2


def test_a_signal_while_serve_starts_ends_it(sayonce):
    for _ in range(3):
        with sayonce.serving("--engine", "espeak") as server:  # which has said so, and begins now
            assert stop(server)[0] == 0


def test_serve_says_its_address_its_engines_and_its_clients(sayonce):
    with sayonce.serving("--engine", "hibari") as server:
        answer = httpx.post(f"{server.url}/v1/audio/speech", json=SHORT, timeout=60)
        assert answer.headers["content-type"] == "audio/wav"
        assert "server" not in answer.headers
        assert httpx.get(f"{server.url}/v1/models").json()["data"][0]["id"] == "hibari"
        code, talk = stop(server, signal.SIGINT)
    assert code == 0
    assert "engines: hibari" in talk
    assert f"store: {sayonce.directory / 'cache/sayonce/clips.db'}" in talk
    assert "only this machine is served" in talk
    assert "new-key" in talk


def test_ctrl_c_in_a_terminal_ends_all_its_processes_without_a_traceback(sayonce):
    with sayonce.serving("--engine", "espeak", prefix=("setsid",)) as server:
        assert httpx.post(f"{server.url}/v1/audio/speech", json=SHORT, timeout=30).status_code == 200
        os.killpg(server.pid, signal.SIGINT)
        _, talk = server.communicate(timeout=30)
    assert server.returncode == 0
    assert b"Traceback" not in talk


def test_a_variable_that_lacks_an_underscore_is_told_with_its_right_name(sayonce):
    """It is no error: a Kubernetes service that is called ``sayonce-server`` sets the second."""
    wrong = {"SAYONCE_STORE_URL": "redis://far", "SAYONCE_SERVER_PORT": "tcp://10.0.0.1", "SAYONCE_ENGINES_HIBARI": "x"}
    with sayonce.serving("--engine", "espeak", **wrong) as server:
        assert httpx.get(f"{server.url}/health/live").status_code == 200
        code, talk = stop(server)
    assert code == 0
    for variable, right in zip(wrong, ("STORE__URL", "SERVER__PORT", "ENGINES__NAME__OPTION"), strict=True):
        assert talk.count(f"warning: {variable} has no effect: call it SAYONCE_{right}\n") == 1


def test_workers_take_over_the_command_line(sayonce):
    (sayonce.directory / "other.toml").write_text("[server]\nmax_body_bytes = 1000\n")
    store = sayonce.directory / "kept.db"
    options = ("--workers", "2", "--config", "other.toml", "--store", f"sqlite:///{store}", "--engine", "espeak")
    with sayonce.serving(*options) as server:
        answer = httpx.post(f"{server.url}/v1/audio/speech", json=SHORT, timeout=30)
        assert answer.status_code == 200
        assert httpx.post(f"{server.url}/v1/audio/speech", json={"input": "x" * 1000}).status_code == 413
        assert {each["owned_by"] for each in httpx.get(f"{server.url}/v1/models").json()["data"]} == {"espeak"}
        code, _ = stop(server)
    assert code == 0
    assert store.stat().st_size > 0
    assert not (sayonce.directory / "cache").exists()


def test_serve_names_a_port_that_is_in_use(sayonce):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = sayonce.fails(1, "serve", "--port", port)
    assert error == f"sayonce: port {port} on 127.0.0.1 is in use: choose another with --port\n"


def test_serve_listens_for_other_machines_only_with_api_keys(sayonce):
    assert "sayonce new-key TENANT" in sayonce.fails(2, "serve", "--host", "0.0.0.0", "--port", "0")
    key = sayonce("new-key", "acme", "--file", "keys.txt").out.strip()
    with sayonce.serving("--host", "0.0.0.0", SAYONCE_SECURITY__API_KEYS_FILE="keys.txt") as server:
        url = f"{server.url}/v1/audio/speech".replace("0.0.0.0", "127.0.0.1")
        assert httpx.post(url, json=SHORT).status_code == 401
        with_key = {"Authorization": f"Bearer {key}"}
        assert httpx.post(url, json=SHORT, headers=with_key, timeout=60).status_code == 200
        _, talk = stop(server)
    assert "only this machine" not in talk


def test_serve_starts_while_the_store_is_down_and_says_so(sayonce):
    with sayonce.serving("--store", "redis://127.0.0.1:1") as server:
        assert "warning: the store does not answer" in server.talk
        deadline = time.monotonic() + 30
        while httpx.get(f"{server.url}/health/ready", timeout=30).status_code != 200:
            assert time.monotonic() < deadline
        assert httpx.post(f"{server.url}/v1/audio/speech", json=SHORT, timeout=30).status_code == 200


@pytest.mark.parametrize("workers", [1, 2])
def test_sighup_has_the_keys_read_again_and_a_broken_file_changes_nothing(sayonce, workers):
    old = sayonce("new-key", "school", "--file", "keys.txt").out.strip()
    with sayonce.serving("--workers", workers, SAYONCE_SECURITY__API_KEYS_FILE="keys.txt") as server:
        server.send_signal(signal.SIGHUP)  # also while it starts
        until_status(server, old, 200)
        new = sayonce("new-key", "school", "--file", "keys.txt").out.strip()
        assert status(server, new) == 401
        server.send_signal(signal.SIGHUP)
        until_status(server, new, 200)
        (sayonce.directory / "keys.txt").write_bytes(b"\xff\xfe")
        server.send_signal(signal.SIGHUP)
        time.sleep(1.5)  # the supervisor looks for signals twice a second
        assert status(server, new) == 200
        code, talk = stop(server)
    assert code == 0
    assert talk.count("the API keys were not read again") == workers
    assert "line 1: byte 1 is not UTF-8" in talk


def test_sighup_does_not_end_a_server_without_keys(sayonce):
    with sayonce.serving() as server:
        until_status(server, "any", 200)
        server.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        until_status(server, "any", 200)
        code, _ = stop(server)
    assert code == 0


def status(server, key):
    answers = {
        httpx.get(f"{server.url}/v1/models", headers={"Authorization": f"Bearer {key}"}, timeout=30).status_code
        for _ in range(20)  # so that every worker is asked
    }
    return answers.pop() if len(answers) == 1 else answers


def until_status(server, key, wanted):
    deadline = time.monotonic() + 30
    while status(server, key) != wanted:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_objects_of_a_started_server_are_out_of_garbage_collection(monkeypatch):
    """Otherwise a body of 15,000 empty lists has the collector look through all of it: 30 ms of everybody's time."""
    monkeypatch.setenv("SAYONCE_STORE__URL", "memory://")
    try:
        app = serve.worker()
        assert len(gc.get_objects()) < 1000
        assert isinstance(app, Gateway)
    finally:
        gc.unfreeze()


def test_every_answer_that_is_not_there_at_the_end_is_a_503(sayonce):
    with sayonce.serving("--engine", "espeak", SAYONCE_SERVER__SHUTDOWN_TIMEOUT="1s") as server:
        address = httpx.URL(server.url)
        with socket.create_connection((address.host, address.port), timeout=20) as connection:
            head = f"POST /v1/audio/voices HTTP/1.1\r\nHost: {address.host}\r\nContent-Length: 9\r\n"
            connection.sendall(f"{head}Content-Type: multipart/form-data; boundary=a\r\n\r\n--a".encode())
            time.sleep(0.5)  # until the route reads the body
            server.send_signal(signal.SIGTERM)
            answer = connection.makefile("rb").read()
        code, talk = stop(server)
    assert answer.startswith(b"HTTP/1.1 503"), answer
    assert b'"code":"stopping"' in answer
    assert code == 0, talk
