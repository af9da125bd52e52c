"""The commands that look, check and clean up."""

import json
import re
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing

import httpx

from tests.helpers.commandline import stop
from tests.helpers.upstream import Upstream

TEXT = "Hello, how are you today?"
COMMANDS = ["say", "serve", "stats", "explain", "lint-key", "purge", "doctor", "new-key", "version"]


def test_help_names_every_command_and_imports_no_heavy_library():
    code = "import sys; sys.argv = ['sayonce', '--help']\nfrom sayonce import cli\ntry: cli.main()\nexcept SystemExit: print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(f"  {command} " in out for command in COMMANDS)
    imported = set(out.splitlines()[-1].split())
    assert "sayonce.cli.app" in imported
    assert not imported & {"redis", "numpy", "starlette", "onnxruntime", "uvicorn", "soundfile", "rich", "asyncio"}


def test_output_that_is_no_terminal_has_no_colour_and_no_boxes(quick):
    shown = quick("say", "--help").out + quick.fails(2, "serve", "--port", "many")
    assert shown.isascii()
    assert "\x1b" not in shown


def test_both_spellings_of_version_print_the_version_number(quick):
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", quick("version").out)
    assert quick("--version").out == quick("version").out


def test_an_unknown_command_suggests_the_right_one(quick):
    assert "stats" in quick.fails(2, "stat")


def test_stats_explain_and_purge_agree_about_what_is_stored(quick):
    (quick.directory / "sayonce.toml").write_text('[server]\nengine = "espeak"\n')  # it loads at once
    key = quick("say", TEXT, "--json").json["key"]
    quick("say", TEXT)
    figures = quick("stats", "--json").json
    assert figures["store"]["entries"] == 1
    assert (figures["lifetime"]["led"], figures["lifetime"]["hit"], figures["lifetime"]["hit_rate"]) == (1, 1, 0.5)
    assert figures["lifetime"]["saved_seconds"] > 0
    assert re.search(r"^hit rate +50\.0 %$", quick("stats").out, re.MULTILINE)

    request = {"input": TEXT, "response_format": "wav"}
    body = json.dumps(request).encode()
    explained = quick("explain", "-", "--json", stdin=body).json
    assert explained["key"] == key
    assert explained["stored"] == {"take": "sqlite", "clip": None}

    (quick.directory / "one.json").write_bytes(body)
    (quick.directory / "two.json").write_text(json.dumps(request | {"speed": 1.5}))
    difference = quick("explain", "one.json", "two.json").out
    assert re.search(r"^parameters\.speed +1\.0 → 1\.5$", difference, re.MULTILINE)
    assert "have one key" in quick("explain", "one.json", "one.json").out

    assert quick("purge", "--tag", "voice=en-us").code == 0
    assert re.search(r"^stored +no$", quick("explain", "one.json").out, re.MULTILINE)
    assert quick("say", TEXT, "--json").json["outcome"] == "led"
    assert quick("purge", "--key", key).out == "removed\n"
    assert quick("say", TEXT, "--json").json["outcome"] == "led"
    assert quick("purge", "--all", "--yes").out == "removed 1 entries\n"


def test_a_store_that_does_not_answer_fails_the_command(quick):
    for command in (["stats"], ["purge", "--tag", "voice=a"]):
        assert "redis://127.0.0.1:1/0" in quick.fails(1, *command, "--store", "redis://127.0.0.1:1")


def test_lint_key_finds_every_parameter_keyed(quick):
    findings = quick("lint-key", "--engine", "hibari", "--json").json
    fields = {"input", "voice", "model", "speed", "seed", "instructions", "user", "tenant"}
    assert fields == {finding["field"] for finding in findings}
    assert {finding["field"] for finding in findings if not finding["heard"]} == {"instructions", "user"}
    assert all(finding["keyed"] is finding["heard"] for finding in findings)


def test_lint_key_fails_when_a_heard_parameter_is_not_keyed(sayonce):
    (sayonce.directory / "sitecustomize.py").write_text(
        "from sayonce.speech.engines.hibari import HibariEngine\nHibariEngine.unheard = frozenset({'seed'})\n"
    )
    result = sayonce("lint-key", "--engine", "hibari", PYTHONPATH=str(sayonce.directory))
    assert result.code == 1
    assert re.search(r"^hibari\.seed +WRONG: 0 → 1 is heard", result.out, re.MULTILINE)
    assert re.search(r"^hibari\.speed +ok", result.out, re.MULTILINE)


def test_a_command_tells_of_a_variable_that_names_no_store(quick):
    result = quick("purge", "--tag", "voice=a", SAYONCE_STORE_URL="redis://elsewhere")
    assert "warning: SAYONCE_STORE_URL has no effect: call it SAYONCE_STORE__URL\n" in result.err


def test_doctor_is_content_with_the_defaults_but_for_the_secret(quick):
    result = quick("doctor", "--json", SAYONCE_STORE_URL="redis://ignored")
    assert "SAYONCE_STORE_URL" not in result.err  # as it is a finding
    findings = result.json
    assert {finding["grade"] for finding in findings} == {"ok", "warn"}
    warned = {finding["check"]: finding["advice"] for finding in findings if finding["grade"] == "warn"}
    assert warned.keys() == {"secret", "configuration"}
    assert warned["configuration"] == "call it SAYONCE_STORE__URL"
    assert {"store", "engine hibari", "API keys", "versions"} <= {finding["check"] for finding in findings}


def test_doctor_warns_of_a_redis_without_a_bound(quick, valkey):
    result = quick("doctor", "--engine", "hibari", SAYONCE_STORE__URL=valkey.url)
    assert result.code == 0
    assert re.search(r"^warn +store: Redis has no memory bound\n +→ set its maxmemory", result.out, re.MULTILINE)
    assert re.search(r"^ok +clock:", result.out, re.MULTILINE)


def test_doctor_warns_of_web_pages_that_may_do_everything_as_there_are_no_keys(quick):
    result = quick("doctor", "--json", "--engine", "espeak", SAYONCE_SERVER__CORS_ORIGINS="https://app.example.com")
    [keys] = [finding for finding in result.json if finding["check"] == "API keys"]
    assert keys["grade"] == "warn"
    assert "https://app.example.com" in keys["message"]
    assert "security.api_keys_file" in keys["advice"]


def test_doctor_warns_of_a_secret_that_others_may_read(quick):
    (quick.directory / "secret").write_text("a secret")
    for mode, grade in ((0o644, "warn"), (0o600, "ok")):
        (quick.directory / "secret").chmod(mode)
        result = quick("doctor", "--engine", "espeak", SAYONCE_SECURITY__KEY_SECRET_FILE="secret")
        assert re.search(rf"^{grade} +secret:", result.out, re.MULTILINE)
        assert ("chmod 600 secret" in result.out) == (grade == "warn")


def test_a_redis_without_a_memory_bound_is_told_once_by_serve_warm_and_doctor_and_by_no_short_command(sayonce, valkey):
    (sayonce.directory / "a.txt").write_text("Good bye.")
    store = ("--store", valkey.url)
    for arguments in (("say", "Hello.", "-o", "a.wav", "--engine", "espeak"), ("stats",), ("ledger",)):
        assert "memory bound" not in sayonce(*arguments, *store).err
    assert sayonce("warm", "a.txt", "--engine", "espeak", *store).err.count("Redis has no memory bound") == 1
    told = sayonce("doctor", "--engine", "espeak", *store)
    assert (told.out + told.err).count("Redis has no memory bound") == 1
    with sayonce.serving("--engine", "espeak", *store) as server:
        fields = {"input": "Hello.", "response_format": "wav"}
        assert httpx.post(f"{server.url}/v1/audio/speech", json=fields, timeout=60).status_code == 200
        assert "Redis has no memory bound" in stop(server)[1]


def test_doctor_finds_a_store_that_cannot_be_written(quick):
    assert quick("stats").code == 0
    with closing(sqlite3.connect(quick.directory / "cache/sayonce/clips.db")) as db:
        db.execute("DROP TABLE bodies")
    result = quick("doctor", "--engine", "espeak")
    assert result.code == 1
    assert re.search(
        r"^fail +store: .*clips\.db: the table 'bodies' is not as this program makes it", result.out, re.MULTILINE
    )


def test_doctor_fails_where_something_does_not_work(quick):
    result = quick("doctor", "--store", "redis://127.0.0.1:1", "--engine", "zap", SAYONCE_SERVER__HOST="0.0.0.0")
    assert result.code == 1
    failed = set(re.findall(r"^fail +(.+?):", result.out, re.MULTILINE))
    assert failed == {"store", "engine", "API keys"}
    broken = quick("doctor", SAYONCE_SERVER__PORT="99999")
    assert broken.code == 1
    assert "SAYONCE_SERVER__PORT: server.port must be between 0 and 65535, not '99999'" in broken.out


def test_doctor_says_which_server_of_an_engine_does_not_answer(quick):
    gone = "http://127.0.0.1:1/v1"
    with Upstream() as upstream:
        section = {"KIND": "openai", "MODEL": "m", "BASE_URL": f"{upstream.url},{gone}"}
        variables = {f"SAYONCE_ENGINES__FAR__{name}": value for name, value in section.items()}
        one_of_two = quick("doctor", **variables)
        none = quick("doctor", **variables | {"SAYONCE_ENGINES__FAR__BASE_URL": gone})
    assert one_of_two.code == 0
    assert f"ok    engine far: {upstream.url} answers" in one_of_two.out
    assert f"warn  engine far: {gone}: 'far' cannot be reached" in one_of_two.out
    assert "→ start it, or name another address in engines.far.base_url" in one_of_two.out
    assert (none.code, f"fail  engine far: {gone}: 'far' cannot be reached" in none.out) == (1, True)


def test_a_new_key_is_shown_once_and_its_digest_is_kept_from_others(quick):
    file = quick.directory / "keys.txt"
    first, second = (quick("new-key", tenant, "--file", file, "--admin") for tenant in ("acme", "other"))
    assert re.fullmatch(r"so-\S{43}\n", first.out)
    assert first.out != second.out
    assert re.fullmatch(r"(acme|other):[0-9a-f]{64}:admin", file.read_text().splitlines()[1])
    assert len(file.read_text().splitlines()) == 2
    assert first.out.strip() not in file.read_text() + first.err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
