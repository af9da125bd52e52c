"""A setting that makes no sense is refused at the start, with the variable that set it and what would be right."""

import pytest

from sayonce.config import load_settings
from sayonce.errors import ConfigError
from sayonce.speech.engines import build_engine


@pytest.mark.parametrize(
    ("variable", "value", "right"),
    [
        ("SAYONCE_SERVR__PORT", "1", "servr is no setting; there is: server, store"),
        ("SAYONCE_SERVER__PROT", "1", "server.prot is no setting; there is: host, port"),
        ("SAYONCE_LOG__HITS", "perhaps", "log.hits must be true or false, not 'perhaps'"),
        ("SAYONCE_LOG__LEVEL", "INFO", "log.level must be one of debug, error, info, warning, not 'INFO'"),
        ("SAYONCE_STORE__POLICY", "fifo", "store.policy must be one of gdsf, lru, not 'fifo'"),
        ("SAYONCE_SERVER__PORT", "http", "server.port must be a whole number, not 'http'"),
        ("SAYONCE_SERVER__PORT", "99999", "server.port must be between 0 and 65535, not '99999'"),
        ("SAYONCE_SERVER__HOST", "", "server.host must be an address such as 127.0.0.1, not ''"),
        (
            "SAYONCE_TRACING__ENDPOINT",
            "far:4318",
            "tracing.endpoint must be like http://localhost:4318, not 'far:4318'",
        ),
        ("SAYONCE_SERVER__PORT__X", "1", "server.port must be a whole number, not a table"),
        ("SAYONCE_STORE__BUDGET_MS", "fast", "store.budget_ms must be a number, not 'fast'"),
        ("SAYONCE_STORE__TTL", "a week", "store.ttl must be a time such as 24h, 7d, 30m, 15s or a number of seconds"),
        ("SAYONCE_STORE__TTL", "a week", "not 'a week'"),
        ("SAYONCE_STORE__TTL", "0", "store.ttl must be more than 0, such as 24h, or none, not '0'"),
        ("SAYONCE_STORE__STALE", "a week", "15s or a number of seconds, or none, not 'a week'"),
        ("SAYONCE_STORE__STALE", "-1d", "store.stale must be a time such as 24h"),
        ("SAYONCE_STORE__OFFLINE", "none", "store.offline must be a time such as 24h"),
        ("SAYONCE_STORE__TTL", "99999999999999d", "store.ttl must be less than '99999999999999d'"),
        ("SAYONCE_STORE__MAX_BYTES", "0", "store.max_bytes must be a size above 0, such as 2 GB, not '0'"),
        ("SAYONCE_MEMORY__MAX_BYTES", "much", "memory.max_bytes must be a size such as 256 MB, 2 GiB or a number of"),
        ("SAYONCE_BODIES__MAX_BYTES", "0", "bodies.max_bytes must be a size above 0, such as 10 GB, or none, not '0'"),
        ("SAYONCE_TRACE__MAX_BYTES", "0", "trace.max_bytes must be a size above 0, such as 100 MB, not '0'"),
        ("SAYONCE_SERVER__BUFFERED_MAX_BYTES", "0", "buffered_max_bytes must be a number of bytes above 0, not '0'"),
        ("SAYONCE_SERVER__UNREAD_MAX_BYTES", "0", "unread_max_bytes must be a number of bytes above 0, not '0'"),
        ("SAYONCE_ENGINES__HIBARI", "1", "engines.hibari must be a section of its own, not '1'"),
        ("SAYONCE_SERVER__REQUEST_TIMEOUT", "0", "request_timeout must be more than 0"),
        ("SAYONCE_SERVER__MAX_BODY_BYTES", "0", "max_body_bytes must be a number of bytes above 0"),
        ("SAYONCE_SERVER__HEADER_MAX_BYTES", "0", "header_max_bytes must be a number of bytes above 0"),
        (
            "SAYONCE_SERVER__SLOWEST_BYTES_PER_SECOND",
            "-1",
            "slowest_bytes_per_second must be a number of bytes above 0",
        ),
    ],
)
def test_a_setting_that_makes_no_sense_names_its_variable_and_what_would_be_right(variable, value, right):
    with pytest.raises(ConfigError) as refused:
        load_settings(environment={variable: value})
    assert str(refused.value).startswith(f"{variable}: ")
    assert right in str(refused.value)


def test_an_engines_wrong_option_names_its_variable_too(monkeypatch):
    monkeypatch.setenv("SAYONCE_ENGINES__ESPEAK__QUEUE", "long")
    with pytest.raises(ConfigError) as refused:
        build_engine("espeak", load_settings().engines["espeak"])
    told = "engines.espeak.queue must be a whole number of at least 0, not 'long'"
    assert str(refused.value) == f"SAYONCE_ENGINES__ESPEAK__QUEUE: {told}"


@pytest.mark.parametrize(
    ("toml", "right"),
    [
        ("log = { hits = 2 }", "log.hits must be true or false, not 2"),
        ("store = { max_bytes = true }", "not true"),
        ("server = { allowed_hosts = ['a.example', 1] }", "server.allowed_hosts[1] must be a text, not 1"),
        ("server = 3", "server must be a section of its own, not 3"),
        ("security = 'word'", "security must be a section of its own, not what was given"),
    ],
)
def test_a_wrong_setting_of_the_file_is_named_with_what_would_be_right(tmp_path, toml, right):
    file = tmp_path / "sayonce.toml"
    file.write_text(toml)
    with pytest.raises(ConfigError) as refused:
        load_settings(str(file), environment={})
    assert str(refused.value).startswith(f"{file}: ")
    assert right in str(refused.value)


def test_a_refusal_tells_no_password():
    """What has parts is not shown."""
    url = "redis://:word@cache.internal"
    with pytest.raises(ConfigError) as refused:
        load_settings(environment={}, overrides={"store.url": [url]})
    assert "store.url must be a text, not a list" in str(refused.value)


@pytest.mark.parametrize(
    ("toml", "right"),
    [
        ("[server]\nport = " + "9" * 5000, "not TOML: "),
        ("a = " + "[" * 3000 + "]" * 3000, "not TOML: too many levels"),
    ],
    ids=["digits", "levels"],
)
def test_a_file_that_the_parser_gives_up_on_is_named(tmp_path, toml, right):
    file = tmp_path / "sayonce.toml"
    file.write_text(toml)
    with pytest.raises(ConfigError, match=right) as refused:
        load_settings(str(file), environment={})
    assert str(refused.value).startswith(f"{file}: ")


def test_a_name_that_no_file_has_and_a_variable_that_is_no_text_are_named():
    with pytest.raises(ConfigError, match=r"--config: no file can be called 'a\\x00b'"):
        load_settings("a\0b", environment={})
    with pytest.raises(ConfigError, match=r"SAYONCE_SERVER__PORT: must be in UTF-8"):
        load_settings(environment={"SAYONCE_SERVER__PORT": "\udcff"})
