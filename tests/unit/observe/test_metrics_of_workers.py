"""The metrics of several processes of one server are those of one server."""

import os
import signal
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from sayonce.observe.metrics import add
from sayonce.observe.recent import Shown
from sayonce.observe.workers import Workers
from tests.helpers.commandline import CommandLine, stop
from tests.helpers.deployments import free_port
from tests.helpers.metering import Scraped, program
from tests.helpers.paths import ROOT

PROMETHEUS = ROOT / "deploy/prometheus"


# -- several processes ------------------------------------------------------------------------------------------------------


def held(number, counted):
    samples = {}
    add(samples, "sayonce_engine_calls", ("stub",), counted)
    add(samples, "sayonce_engine_waiting", ("stub",), number)
    return samples


def test_counters_of_a_process_outlive_it_and_its_gauges_do_not(tmp_path, clock):
    one, killed, ended = (Workers(tmp_path, clock=clock) for _ in range(3))
    killed.leave(held(3, 10), Shown())
    ended.end(held(4, 20))
    alive = one.sum(held(1, 5))
    assert alive["sayonce_engine_calls"]["stub",] == [35]
    assert (alive["sayonce_engine_waiting"]["stub",], alive["sayonce_workers"][()]) == ([4], [2])
    clock.advance(60)
    later = one.sum(held(1, 5))
    assert later["sayonce_engine_calls"]["stub",] == [35]
    assert (later["sayonce_engine_waiting"]["stub",], later["sayonce_workers"][()]) == ([1], [1])


def test_of_several_processes_timestamps_the_latest_counts_also_of_a_process_that_has_ended(tmp_path, clock):
    def swept(moment):
        return {"sayonce_bodies_last_sweep_timestamp_seconds": {(): [moment]}}

    one, other, ended = (Workers(tmp_path, clock=clock) for _ in range(3))
    other.leave(swept(100.0), Shown())
    assert one.sum(swept(50.0))["sayonce_bodies_last_sweep_timestamp_seconds"] == {(): [100.0]}
    ended.end(swept(200.0))
    clock.advance(60)
    assert one.sum({})["sayonce_bodies_last_sweep_timestamp_seconds"] == {(): [200.0]}


def test_the_newest_samples_of_a_process_replace_its_older_ones(tmp_path, clock):
    one, other = (Workers(tmp_path, clock=clock) for _ in range(2))
    for counted in (1, 2, 3):
        other.leave(held(0, counted), Shown())
    assert one.sum(held(0, 5))["sayonce_engine_calls"]["stub",] == [8]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with CommandLine(tmp_path_factory.mktemp("server")).serving("--workers", "4", "--engine", "espeak") as server:
        deadline = time.monotonic() + 60
        while scraped(server.url)("sayonce_workers") < 4:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield server


def scraped(url):
    return Scraped(httpx.get(f"{url}/metrics", timeout=60).text)


def ask(url, number):
    """Ask on a connection of its own, so that the load spreads over the workers."""
    fields = {"input": f"Number {number}.", "response_format": "wav"}
    headers = httpx.post(f"{url}/v1/audio/speech", json=fields, timeout=60).headers
    return headers["cache-status"].partition("; ")[2].partition("; detail")[0]


def load(url, requests):
    with ThreadPoolExecutor(8) as threads:
        return Counter(threads.map(lambda number: ask(url, number % 10), range(requests)))


def eventually(read, expected):
    deadline = time.monotonic() + 10
    while read() != expected:
        assert time.monotonic() < deadline, (read(), expected)
        time.sleep(0.05)


def test_the_metrics_of_any_of_four_workers_are_those_of_all_and_prometheus_agrees_with_the_client(server, tmp_path):
    target = server.url.removeprefix("http://")
    config = (PROMETHEUS / "prometheus.yml").read_text().replace("127.0.0.1:8080", target).replace("15s", "200ms")
    (tmp_path / "prometheus.yml").write_text(config)
    (tmp_path / "sayonce-alerts.yml").write_bytes((PROMETHEUS / "sayonce-alerts.yml").read_bytes())
    port = free_port()
    command = [
        program("prometheus"),
        "--config.file=prometheus.yml",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--storage.tsdb.path={tmp_path}/data",
    ]
    with (tmp_path / "prometheus.log").open("wb") as log:
        watching = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
    try:
        counted = load(server.url, 120)
        # Every scrape goes to whichever worker takes the connection.
        for _ in range(10):
            eventually(lambda: scraped(server.url)("sayonce_requests_total"), 120)
        assert scraped(server.url)("sayonce_requests_total", outcome="hit") == counted["hit"]
        eventually(lambda: asked(port, "sum(sayonce_requests_total)"), 120)
        assert asked(port, 'sum(sayonce_requests_total{outcome="hit"})') == counted["hit"]
        assert asked(port, "sum(sayonce_engine_calls_total)") == counted["fwd=miss; stored"]
        assert asked(port, "sayonce_workers") == 4
    finally:
        watching.terminate()
        watching.wait()


def asked(port, expression):
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": expression}, timeout=60).json()
    except httpx.ConnectError:
        return None  # it starts
    result = answer["data"]["result"]
    return float(result[0]["value"][1]) if result else None


def test_counters_do_not_fall_when_a_worker_is_killed_and_their_directory_goes_with_the_server(server):
    def answered():
        return sum(each.value for each in scraped(server.url).samples if each.name == "sayonce_requests_total")

    before = answered()
    load(server.url, 60)
    eventually(answered, before + 60)
    [directory] = shared_directories(server.pid)
    worker = int(next(path.name for path in directory.iterdir() if not path.name.startswith(".")).partition("-")[0])
    os.kill(worker, signal.SIGKILL)
    load(server.url, 20)
    eventually(answered, before + 80)
    assert stop(server)[0] == 0
    assert not directory.exists()


def shared_directories(process):
    """Return the directories that a server's workers were given."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    environments = [Path(f"/proc/{child}/environ").read_bytes().split(b"\0") for child in children]
    found = {each for environment in environments for each in environment if each.startswith(b"SAYONCE_WORKERS=")}
    return {Path(each.decode().partition("=")[2]) for each in found}
