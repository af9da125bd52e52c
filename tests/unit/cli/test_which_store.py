"""Every command says which store it uses, and finds that of the gateway that runs."""

import json
import stat
from contextlib import contextmanager

import httpx
import pytest

from sayonce.cli.running import describe, recorded
from sayonce.config import load_settings
from tests.helpers.commandline import CommandLine, stop

TEXT = "Hello there."
REQUEST = {"input": TEXT, "response_format": "wav"}
URL = "http://127.0.0.1:8080"


@pytest.fixture
def sayonce(tmp_path):
    """The shell in which a gateway is started."""
    (tmp_path / "one").mkdir()
    return CommandLine(tmp_path / "one")


@pytest.fixture
def other(tmp_path, sayonce):
    """Another shell of the same user, elsewhere."""
    (tmp_path / "two").mkdir()
    other = CommandLine(tmp_path / "two")
    other.environment |= {name: sayonce.environment[name] for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME")}
    return other


@pytest.fixture
def records(sayonce, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", sayonce.environment["XDG_STATE_HOME"])
    return sayonce.directory / "state/sayonce/gateways"


@contextmanager
def running(url=URL, config=None, environment=None, **settings):
    """Leave the record of a gateway, as one that runs does."""
    names = {name.replace("__", "."): value for name, value in settings.items()}
    environment = environment or {}
    loaded = load_settings(config, environment=environment, overrides=names)
    with recorded(describe(loaded, url, config, environment)):
        yield


def store_line(result):
    return next(line for line in result.err.splitlines() if line.startswith("store: "))


def test_commands_in_another_shell_use_the_store_of_the_gateway_and_say_so(sayonce, other, records):
    store = sayonce.directory / "clips.db"
    (sayonce.directory / "secret").write_text("a secret")
    (sayonce.directory / "sayonce.toml").write_text(
        '[store]\nurl = "sqlite:///clips.db"\nnamespace = "n"\n[security]\nkey_secret_file = "secret"\n'
        '[engines.voice]\nkind = "espeak"\n'
    )
    with sayonce.serving() as server:
        answer = httpx.post(f"{server.url}/v1/audio/speech", json=REQUEST, timeout=30)
        key = answer.headers["x-sayonce-key"]
        line = f"store: {store} (of the gateway on {server.url})"
        for arguments in (
            ("stats",),
            ("explain", json.dumps(REQUEST)),
            ("say", TEXT),
            ("warm", "-"),
            ("purge", "--tag", "voice=x"),
        ):
            assert store_line(other(*arguments, stdin=b"Good bye.\n")) == line
        assert other("say", TEXT, "--json").json["key"] == key
        explained = other("explain", json.dumps(REQUEST), "--json")
        assert (explained.json["key"], explained.json["stored"]["take"]) == (key, "sqlite")
        assert "store:" not in explained.err
        assert other("stats", "--json").json["store"]["entries"] == 2
        assert other("purge", "--text", TEXT).out == f"removed {key}\n"
        code, talk = stop(server)
    assert code == 0
    assert f"store: {store} (sayonce.toml)" in talk
    assert not list(records.iterdir())
    assert store_line(other("stats")).endswith("clips.db (the default)")


def test_a_store_named_by_option_environment_or_file_counts_before_the_gateways_and_is_told(sayonce, other, records):
    with running(store__url="sqlite:////elsewhere/a.db"):
        (other.directory / "named.toml").write_text('[store]\nurl = "sqlite:///c.db"\n')
        assert store_line(other("stats", "--store", "sqlite:///b.db")) == f"store: {other.directory}/b.db (--store)"
        assert (
            store_line(other("stats", SAYONCE_STORE__URL="sqlite:///b.db"))
            == f"store: {other.directory}/b.db (SAYONCE_STORE__URL)"
        )
        assert store_line(other("stats", "--config", "named.toml")) == f"store: {other.directory}/c.db (named.toml)"
        (other.directory / "named.toml").write_text('[log]\nlevel = "info"\n')
        assert store_line(other("stats", "--config", "named.toml")).endswith("(the default: named.toml names none)")


def test_a_relative_path_in_the_settings_file_of_a_gateway_is_where_the_gateway_has_it(sayonce, other, records):
    file = sayonce.directory / "sayonce.toml"
    file.write_text('[store]\nurl = "sqlite:///clips.db"\n')
    there = {"config": str(file), "store__url": f"sqlite:///{sayonce.directory}/clips.db"}
    with running(**there):
        line = f"store: {sayonce.directory}/clips.db (of the gateway on {URL})"
        assert store_line(other("stats", "--config", str(file))) == line
        assert store_line(other("stats", SAYONCE_CONFIG=str(file))) == line
        assert store_line(other("stats", "--config", str(file), "--store", "sqlite:///b.db")).endswith("b.db (--store)")
        with running("http://127.0.0.1:8081", **there | {"store__url": f"sqlite:///{other.directory}/three.db"}):
            assert other("stats", "--config", str(file)).code == 2
    assert not (other.directory / "clips.db").exists()


def test_doctor_tells_of_the_store_of_the_gateway(sayonce, other, records):
    with running(store__url=f"sqlite:///{sayonce.directory}/a.db"):
        told = other("doctor", "--engine", "espeak").out
    assert f"configuration: store: {sayonce.directory}/a.db (of the gateway on {URL})" in told


def test_only_its_user_can_read_a_gateways_record_and_it_holds_no_secret(sayonce, records):
    secrets = {"SAYONCE_SECURITY__KEY_SECRET": "hunter2", "SAYONCE_ENGINES__FAR__API_KEY": "hunter2"}
    url = "redis+sentinel://u:hunter2@127.0.0.1:1/s?sentinel_password=hunter2"
    with running(store__url=url, environment=secrets | {"SAYONCE_ENGINES__FAR__KIND": "espeak"}):
        [record] = records.iterdir()
        assert stat.S_IMODE(record.stat().st_mode) == 0o600
        assert stat.S_IMODE(records.stat().st_mode) == 0o700
        assert "hunter2" not in record.read_text()
    assert not list(records.iterdir())


def test_refreshing_beside_a_gateway_tells_that_its_memory_is_another_matter(sayonce, other, records):
    with running(store__url=f"sqlite:///{sayonce.directory}/a.db"):
        told = other("warm", "-", "--engine", "espeak", "--refresh", stdin=b"Hello.")
        assert f"the gateway on {URL} goes on with the clips in its memory: to renew those too, add --url" in told.err
        assert "memory" not in other("warm", "-", "--engine", "espeak", stdin=b"Hello.").err


def test_a_missing_settings_file_of_the_gateway_is_told_as_the_gateways(sayonce, other, records):
    file = sayonce.directory / "sayonce.toml"
    file.write_text('[store]\nurl = "sqlite:///a.db"\n')
    with running(config=str(file)):
        file.unlink()
        assert f"the settings of the gateway on {URL}: --config: cannot read {file}" in other.fails(2, "stats")
        assert "the default: the settings of the gateway" in other("doctor", "--engine", "espeak").out


def test_a_store_with_a_password_is_found_by_the_settings_file_and_otherwise_asked_for(sayonce, other, records):
    url = "redis://:hunter2@127.0.0.1:1"
    with running(store__url=url):
        told = other.fails(2, "stats")
        assert f"the gateway on {URL} logs in to redis://127.0.0.1:1/0" in told
        assert "SAYONCE_STORE__URL or --store" in told
    file = sayonce.directory / "sayonce.toml"
    file.write_text(f'[store]\nurl = "{url}"\n')
    with running(config=str(file)):
        told = other.fails(1, "stats")  # as nothing answers there
        assert f"store: redis://127.0.0.1:1/0 (of the gateway on {URL})" in told
        assert "hunter2" not in told


def test_a_secret_that_this_shell_lacks_is_named(sayonce, other, records):
    store = f"sqlite:///{sayonce.directory}/a.db"
    secret = {"SAYONCE_SECURITY__KEY_SECRET": "a secret"}
    with running(store__url=store, environment=secret):
        for arguments in (("explain", json.dumps(REQUEST)), ("purge", "--text", TEXT), ("stats",)):
            assert "set SAYONCE_SECURITY__KEY_SECRET as it is there" in other.fails(2, *arguments)
        assert other("stats", **secret).code == 0
        named = other("stats", "--store", store)
        assert named.code == 0
        assert f"warning: the gateway on {URL} makes its keys with a secret that this shell has not" in named.err
    with running(store__url=store):
        assert "without a secret, and this shell has one" in other.fails(2, "stats", **secret)


def test_of_several_gateways_one_has_to_be_named(sayonce, other, records):
    first, second = (f"sqlite:///{sayonce.directory}/{name}.db" for name in "ab")
    with running(store__url=first), running(url="http://127.0.0.1:8081", store__url=first):
        assert store_line(other("stats")).startswith(f"store: {sayonce.directory}/a.db (of the gateway on ")
        with running(url="http://127.0.0.1:8082", store__url=second):
            told = other.fails(2, "stats")
            assert "several gateways run; say with --store or --config" in told
            assert "http://127.0.0.1:8082" in told
            assert f"{sayonce.directory}/b.db" in told
            assert other("stats", "--store", second).code == 0
            said = other("say", TEXT, "--engine", "espeak")
            assert said.code == 0
            assert "clips.db (the default: several gateways run; say with --store or --config which" in store_line(said)
            (other.directory / "sayonce.toml").write_text('[engines.voice]\nkind = "espeak"\n')
            mine = str(other.directory / "sayonce.toml")
            with running(url="http://127.0.0.1:8083", config=mine, store__url=second):
                assert store_line(other("stats")).endswith("(of the gateway on http://127.0.0.1:8083)")


def test_a_gateway_that_was_killed_is_not_taken_for_one_that_runs(sayonce, other, records):
    with sayonce.serving("--store", f"sqlite:///{sayonce.directory}/a.db", "--engine", "espeak") as server:
        [record] = records.iterdir()
        server.kill()
        server.wait()
    assert record.exists()
    assert store_line(other("stats")).endswith("clips.db (the default)")
    assert not record.exists()


def test_a_gateway_whose_clips_are_in_its_memory_is_told_of(sayonce, other, records):
    with running(store__url="memory://"):
        told = store_line(other("stats"))
    assert told.endswith(f"(the default: the gateway on {URL} keeps its clips in its own memory, see there)")


def test_files_that_are_no_record_of_a_gateway_are_passed_over(sayonce, other, records):
    records.mkdir(parents=True)
    (records / "1-1.json").mkdir()
    (records / "2-2.json").symlink_to("/etc/passwd")
    (records / "3-3.json").write_bytes(b"\xff" * 100_000)
    assert store_line(other("stats")).endswith("clips.db (the default)")


def test_variables_of_engines_that_this_shell_lacks_are_named(sayonce, other, records):
    environment = {"SAYONCE_ENGINES__FAR__KIND": "espeak"}
    with running(store__url=f"sqlite:///{sayonce.directory}/a.db", environment=environment):
        assert "has SAYONCE_ENGINES__FAR__KIND in its environment" in other("stats").err
        assert "SAYONCE_ENGINES" not in other("stats", **environment).err


def test_a_gateway_that_cannot_leave_a_record_runs_all_the_same(sayonce):
    (sayonce.directory / "state").write_text("a file")
    with sayonce.serving("--engine", "espeak") as server:
        assert "name them the store" in server.talk + stop(server)[1]
