"""Bodies on the command line: --bodies, gc, and what doctor and serve say of a body store."""

import json

import httpx
import pytest

from tests.helpers.commandline import CommandLine, InProcess, hide, stop

TEXT = "It was the best of times, it was the worst of times, it was the age of wisdom. " * 3
ORPHAN = f"sqlite-2/2001-01-01T00/{'0' * 64}"


@pytest.fixture
def quick(tmp_path, monkeypatch, capsys):
    (tmp_path / "sayonce.toml").write_text('[server]\nengine = "espeak"\n')  # it loads at once
    return InProcess(tmp_path, monkeypatch, capsys)


@pytest.fixture
def bodies(tmp_path):
    return tmp_path / "bodies"


def files(directory):
    return [path for path in directory.rglob("*") if path.is_file()]


def leave_orphan(directory):
    (directory / ORPHAN).parent.mkdir(parents=True)
    (directory / ORPHAN).write_bytes(bytes(2000))


def test_a_large_clip_lies_in_the_body_store_and_is_found_again(quick, bodies):
    url = f"file://{bodies}"
    said = quick("say", TEXT, "--bodies", url, "--json").json
    assert (said["outcome"], said["stored"]) == ("led", "sqlite")
    assert [path.stat().st_size > 65_536 for path in files(bodies)] == [True]
    assert quick("say", TEXT, "--bodies", url, "--json").json["outcome"] == "hit"
    quick("say", "Hi.", "--bodies", url)
    assert len(files(bodies)) == 1
    files(bodies)[0].write_bytes(b"something else")
    assert quick("say", TEXT, "--bodies", url, "--json").json["outcome"] == "led"
    assert quick("say", TEXT, "--bodies", url, "--json").json["outcome"] == "hit"


def test_gc_removes_what_nothing_points_to(quick, bodies):
    url = f"file://{bodies}"
    quick("say", TEXT, "--bodies", url)
    leave_orphan(bodies)
    assert quick("gc", "--bodies", url, "--dry-run").out.startswith("would remove 1 of 2 bodies (2.0 kB of ")
    assert (bodies / ORPHAN).exists()
    swept = quick("gc", "--bodies", url, "--json").json
    assert (swept["removed"], swept["removed_bytes"], swept["bodies"], swept["pointers"]) == (1, 2000, 2, 1)
    assert not (bodies / ORPHAN).exists()
    assert quick("gc", SAYONCE_BODIES__URL=url).out.startswith("removed 0 of 1 bodies")
    assert quick("say", TEXT, "--bodies", url, "--json").json["outcome"] == "hit"


def test_gc_with_the_wrong_store_removes_nothing_and_fails(quick, bodies):
    bodies.mkdir()
    leave_orphan(bodies)
    options = ("--bodies", f"file://{bodies}", "--store", "sqlite:///other.db")
    failed = quick("gc", *options)
    assert failed.code == 1
    assert "other.db points to no body at all: is it the right store?" in failed.err
    assert (bodies / ORPHAN).exists()
    assert quick("gc", *options, "--yes").out.startswith("removed 1 of 1 bodies")


def test_gc_without_a_body_store_says_what_to_set(quick):
    assert "set bodies.url, or give --bodies" in quick.fails(2, "gc")


def test_doctor_tells_of_the_body_store(quick, bodies, bucket):
    good = quick("doctor", "--bodies", f"file://{bodies}").out
    assert f"ok    bodies: {bodies} is written to, read and cleared" in good
    assert files(bodies) == []
    bodies.chmod(0o755)
    assert f"→ chmod 700 {bodies}" in quick("doctor", "--bodies", f"file://{bodies}").out
    missing = quick("doctor", "--bodies", f"file://{bodies}/no/where").out
    assert "ok    store: " in missing
    assert "fail  bodies: bodies.url: " in missing
    assert (
        "bucket/some/prefix: NoSuchBucket; create it, or correct"
        in quick("doctor", "--bodies", bucket.url_of("no-bucket")).out
    )
    assert "name a prefix that no other store uses" in quick("doctor", "--bodies", bucket.url).out


def test_doctor_finds_that_there_are_no_credentials(quick, monkeypatch, bucket):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    incomplete = quick("doctor", "--bodies", bucket.url).out
    assert (
        f"fail  bodies: bodies.url: s3://{bucket.name}/some/prefix: Generic S3 error: Missing AccessKeyId" in incomplete
    )
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"{bucket.server.endpoint}/169.254.169.254")
    found = {each["check"]: each for each in json.loads(quick("doctor", "--json", "--bodies", bucket.url).out)}
    assert "no credentials in the environment, such as AWS_ACCESS_KEY_ID" in found["bodies"]["message"]


def test_serve_names_the_body_store_and_keeps_clips_in_it(tmp_path, bodies):
    command_line = CommandLine(tmp_path)
    speech = {"input": TEXT, "response_format": "pcm"}
    with command_line.serving("--engine", "espeak", "--bodies", f"file://{bodies}", "--workers", "2") as server:
        first = httpx.post(f"{server.url}/v1/audio/speech", json=speech, timeout=30)
        code, talk = stop(server)
    assert code == 0
    assert f"large clips: {bodies}" in talk
    assert len(files(bodies)) == 1
    with command_line.serving("--engine", "espeak", "--bodies", f"file://{bodies}") as server:
        second = httpx.post(f"{server.url}/v1/audio/speech", json=speech, timeout=30)
        stop(server)
    assert second.headers["cache-status"] == "sayonce; hit; detail=sqlite"
    assert second.content == first.content


def test_serve_starts_without_its_bucket_and_says_so(tmp_path, bucket):
    command_line = CommandLine(tmp_path)
    with command_line.serving("--engine", "espeak", "--bodies", bucket.url_of("no-bucket")) as server:
        answer = httpx.post(f"{server.url}/v1/audio/speech", json={"input": TEXT}, timeout=30)
        code, talk = stop(server)
    assert (answer.status_code, code) == (200, 0)
    assert (
        "warning: large clips are not remembered until this is mended: s3://no-bucket/some/prefix: NoSuchBucket" in talk
    )


def test_commands_that_need_the_extra_for_bodies_name_it(tmp_path, bodies):
    sayonce = CommandLine(tmp_path)
    hide(sayonce, "obstore")
    url = ("--bodies", f"file://{bodies}")
    for command in (("gc",), ("say", "Hi.", "--engine", "espeak"), ("warm", "-"), ("serve",)):
        assert "pip install 'sayonce[objects]'" in sayonce.fails(2, *command, *url, stdin=b"Hi.")
    told = sayonce("doctor", "--engine", "espeak", *url)
    assert told.code == 1
    assert "pip install 'sayonce[objects]'" in told.out
    assert "no body store is configured" in sayonce.fails(2, "gc")
