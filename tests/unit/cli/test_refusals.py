"""Wrong usage of the command line: exit code 2, one clear message, nothing done. Run in this process, for speed."""

from functools import partial

import pytest

from tests.helpers.commandline import InProcess

KEY = "0" * 64
TEXT = "Hello."


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Run a command that must be refused; returns what it says on stderr."""
    (tmp_path / "file").write_text("[1]")
    (tmp_path / "directory").mkdir()
    return partial(InProcess(tmp_path, monkeypatch, capsys).fails, 2)


@pytest.mark.parametrize("text", ["-5 degrees", "-hello", "--5 degrees"])
def test_a_text_that_begins_like_an_option_is_told_how_to_be_given(refused, text):
    assert "A text that begins with - goes behind --" in refused("say", text, "-o", "q.wav")


def test_a_misspelt_option_is_told_nothing_of_texts(refused):
    told = refused("say", TEXT, "--voise", "heart")
    assert "--voice" in told
    assert "goes behind" not in told


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([""], "'input' is empty"),
        (["x" * 5000], "at most 4096"),
        (["caf\udce9"], "TEXT is not UTF-8 behind its first 3 characters"),
        (["你好"], "not English"),
        ([TEXT, "--voice", "nobody"], "heart"),
        ([TEXT, "--engine", "nothing"], "hibari"),
        ([TEXT, "--format", "midi"], "mp3, opus"),
        ([TEXT, "-o", "a.xyz"], "-o a.xyz: the format must be one of"),
        ([TEXT, "--param", "speed=fast"], "'speed' must be a number"),
        ([TEXT, "--param", "speed=9"], "between 0.5 and 2"),
        ([TEXT, "--param", "colour=red"], "'colour'"),
        ([TEXT, "--param", "speed"], "NAME=VALUE"),
        ([TEXT, "--param", "voice=heart"], "use --voice"),
        ([TEXT, "-o", "-", "--json"], "both want stdout"),
        ([TEXT, "--store", "rediss:/host"], "valid store URLs"),
        ([TEXT, "--wrong"], "--wrong"),
        ([TEXT, "-o", "missing/a.wav"], "missing/a.wav: No such file or directory"),
        ([TEXT, "-o", "file/a.wav"], "file/a.wav: Not a directory"),
        ([TEXT, "-o", "directory", "--format", "wav"], "directory: Is a directory"),
        ([TEXT, "--store", "sqlite:///file/clips.db"], "name a file in a directory that exists and is writable"),
        ([TEXT, "--config", "missing.toml"], "--config: cannot read missing.toml"),
    ],
)
def test_bad_input_of_say_is_named_and_nothing_is_written(tmp_path, refused, arguments, named):
    assert named in refused("say", *arguments)
    assert not list(tmp_path.rglob("*.wav"))
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["purge"], "exactly one of KEY, --text, --request, --tag and --all"),
        (["purge", "--all", "--key", KEY], "exactly one of KEY, --text, --request, --tag and --all"),
        (["purge", KEY, "--key", KEY], "exactly one of KEY, --text, --request, --tag and --all"),
        (["purge", "Hello there."], "KEY is 64 hexadecimal digits, as in X-Sayonce-Key; for a text, write --text TEXT"),
        (["purge", KEY, "--voice", "anna"], "--voice, --model, --format and --param go with --text"),
        (["purge", "--text", TEXT, "--voice", "nobody"], "heart"),
        (["purge", "--text", TEXT, "--param", "speed=fast"], "'speed' must be a number"),
        (["purge", "--text", TEXT, "--format", "midi"], "'response_format' must be one of mp3"),
        (["purge", "--tag", "voice=caf\udce9"], "--tag is not UTF-8 behind its first 9 characters"),
        (["purge", "--text", "caf\udce9"], "TEXT is not UTF-8 behind its first 3 characters"),
        (["purge", "--request", "{"], "the request: the body is not JSON"),
        (["purge", "--request", "missing.json"], "cannot read missing.json: No such file"),
        (["purge", "--key", "abc"], "64 hexadecimal digits"),
        (["purge", "--tag", "colour=red"], "tenant=…, engine=…, model=…, voice=…"),
        (["purge", "--all"], "confirm it with --yes"),
        (["purge", "--all", "--yes", "--store", "memory://"], "ask that server"),
        (["stats", "--store", "memory://"], "ask that server"),
        (["stats", "--store", "mysql://host"], "the scheme 'mysql' is unknown"),
        (["explain", "missing.json"], "cannot read missing.json: No such file"),
        (["explain", "file"], "file: the body must be a JSON object"),
        (["explain", "-", "-"], "only one of the two"),
        (["explain", "directory"], "cannot read directory: Is a directory"),
        (["explain", '{"input": "a"}', "{"], "the second request: the body is not JSON"),
        (["explain", "x" * 5000], "File name too long"),
        (["serve", "--port", "70000"], "--port: server.port must be between 0 and 65535"),
        (["serve", "--workers", "0"], "workers must be at least 1"),
        (["serve", "--host", "256.1.1.1"], "no API keys"),
        (["warm", "file", "--as", "txt", "--param", "stream=true"], "stream: leave it out, as nobody listens"),
        (["warm", "file", "--as", "txt", "--url", "caf\udce9"], "an argument is not UTF-8"),
        (["new-key", "a:b"], "a tenant's name"),
        (["new-key", "acme", "--file", "directory"], "cannot write directory"),
        (["new-key", "acme", "--file", "file/keys.txt"], "cannot write file/keys.txt"),
    ],
)
def test_wrong_usage_of_a_command_is_named(refused, arguments, named):
    assert named in refused(*arguments)


@pytest.mark.parametrize(
    ("toml", "named"),
    [
        ("[store\n", "sayonce.toml: not TOML"),
        ('[store]\nurl = "sqlite:///a\\u0000b"\n', "sayonce.toml: store.url has a NUL character"),
        ("security = 5\n", "sayonce.toml: security must be a section of its own, not what was given"),
        ("[store]\nurl = 5\n", "sayonce.toml: store.url must be a text, not 5"),
        ("[store]\nttl = '99999999999999d'\n", "sayonce.toml: store.ttl must be less than '99999999999999d'"),
        ("[store]\nbudget_ms = nan\n", "sayonce.toml: store.budget_ms must be"),
        ("[server]\nprot = 80\n", "there is: host, port, workers"),
        ("[security]\nkey_secret = 's3cret'\n", "use security.key_secret_file"),
        ("[security]\nkey_secret_file = 'missing'\n", "security.key_secret_file: cannot read missing"),
        ("[engines.hibari]\nkind = 'hibary'\n", "engines.hibari.kind must be one of espeak, hibari"),
        ("[engines.hibari]\nspeed = 1\n", "engines.hibari.speed is not an option"),
        ("[engines.hibari.tolerance]\npitch = 1\n", "engines.hibari.tolerance.pitch is not a number"),
    ],
)
def test_a_wrong_setting_is_named_with_its_file_and_what_would_be_right(tmp_path, refused, toml, named):
    (tmp_path / "sayonce.toml").write_text(toml)
    message = refused("say", TEXT)
    assert named in message
    assert "s3cret" not in message


def test_the_environment_may_name_the_configuration_file(refused, monkeypatch):
    monkeypatch.setenv("SAYONCE_CONFIG", "elsewhere.toml")
    assert "SAYONCE_CONFIG: cannot read elsewhere.toml" in refused("stats")
