"""Store URLs: what they mean, and what is said of wrong ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sayonce.core.envelope import Sealer
from sayonce.errors import ConfigError
from sayonce.stores import open_store
from sayonce.stores.redis.store import RedisStore
from sayonce.stores.url import RedisURL

PASSWORD = "pa/ss:wo@rd?#%,"
QUOTED = "pa%2Fss%3Awo%40rd%3F%23%25%2C"
TWO = {"host": "a", "others": (("b", 7001),)}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost", RedisURL(host="localhost")),
        ("redis://localhost/", RedisURL(host="localhost")),
        ("redis://[::1]:7000/3", RedisURL(host="::1", port=7000, db=3)),
        (f"redis://u:{QUOTED}@h", RedisURL(host="h", username="u", password=PASSWORD)),
        ("redis://:p@h", RedisURL(host="h", password="p")),
        ("rediss://h?ssl_ca_certs=/a%20b.pem", RedisURL(host="h", tls=True, ssl_ca_certs="/a b.pem")),
        (
            "rediss://h?ssl_certfile=/c.pem&ssl_keyfile=/k.pem",
            RedisURL(host="h", tls=True, ssl_certfile="/c.pem", ssl_keyfile="/k.pem"),
        ),
        ("redis+cluster://a,b:7001", RedisURL(**TWO, topology="cluster")),
        (
            f"rediss+cluster://u:{QUOTED}@[::1]:1/0",
            RedisURL(host="::1", port=1, topology="cluster", username="u", password=PASSWORD, tls=True),
        ),
        (
            "redis+sentinel://a,b:7001/mymaster/2",
            RedisURL(**TWO, port=26379, topology="sentinel", service="mymaster", db=2),
        ),
        (
            f"rediss+sentinel://:{QUOTED}@a/my%20service?sentinel_username=s&sentinel_password={QUOTED}&ssl_ca_certs=/c",
            RedisURL(
                host="a",
                port=26379,
                topology="sentinel",
                service="my service",
                password=PASSWORD,
                sentinel_username="s",
                sentinel_password=PASSWORD,
                tls=True,
                ssl_ca_certs="/c",
            ),
        ),
    ],
)
def test_a_url_of_redis_gives_host_port_database_and_options(url: str, expected: RedisURL, sealer: Sealer) -> None:
    store = open_store(url, sealer=sealer)
    assert isinstance(store, RedisStore)
    assert store.url == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [("sqlite:///a/b.db", "a/b.db"), ("sqlite:////var/b.db", "/var/b.db"), ("sqlite:///a b%20.db", "a b%20.db")],
)
def test_a_url_of_sqlite_gives_the_path_of_its_file(url: str, expected: str, sealer: Sealer) -> None:
    assert repr(open_store(url, sealer=sealer)) == f"SQLiteStore({expected!r})"


async def test_the_bound_of_a_sqlite_file_is_the_one_that_was_asked_for(tmp_path: Path, sealer: Sealer) -> None:
    store = open_store(f"sqlite:///{tmp_path}/clips.db", sealer=sealer, max_bytes=5_000_000)
    assert store is not None
    await store.open()
    assert (await store.stats()).max_bytes == 5_000_000
    await store.close()


def test_memory_alone_is_no_store(sealer: Sealer) -> None:
    assert open_store("memory://", sealer=sealer) is None


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("", "no '://'"),
        ("clips.db", "no '://'"),
        ("rediss//:hunter2@localhost", "no '://'"),
        ("reddis://:hunter2@localhost", "the scheme 'reddis' is unknown"),
        ("postgres://u:hunter2@localhost/0", "the scheme 'postgres' is unknown"),
        ("hunter2@redis://localhost", "the scheme is unknown"),
        ("redis://", "the host is missing"),
        ("redis://:hunter2@:6379", "the host is missing"),
        ("redis:///0", "the host is missing"),
        ("redis://:hunter2@localhost:port", "the port must be a number"),
        ("redis://localhost:0", "the port must be a number"),
        ("redis://localhost:65536", "the port must be a number"),
        ("redis://:hunter2/x@localhost", "percent-encode the user name and password: write '/' as %2F"),
        ("redis://u:hunter2?#x@localhost:6379/0", "write '#' as %23, '?' as %3F"),
        ("redis://u:h[unter2@localhost", "write '[' as %5B"),
        ("redis+sentinel://:hunter2/x@a,b:7001/mymaster?sentinel_password=hunter2@", "write '/' as %2F"),
        ("redis://[::1", "the port must be a number"),
        ("redis://:hunter2@localhost/clips", "must be a database number"),
        ("redis://localhost/-1", "must be a database number"),
        ("redis://localhost/0/1", "must be a database number"),
        ("redis://:hunter2@localhost?db=hunter2", "takes no options"),
        ("redis://localhost?ssl_ca_certs=/ca.pem", "takes no options"),
        ("rediss://localhost?ssl_cert_reqs=none", "the only options are ssl_ca_certs, ssl_certfile, ssl_keyfile"),
        ("rediss://localhost?ssl_keyfile=/k.pem", "ssl_certfile, which is missing"),
        ("redis://:hunter2@a,b", "several hosts are for"),
        ("redis+sentinel://:hunter2@a,b:1", "needs the name of the service"),
        ("redis+sentinel://a,:hunter2@b/s", "the login comes before the first host"),
        ("redis+sentinel://a/s/x", "must be a database number"),
        ("redis+sentinel://a/s?sentinel_password=", "sentinel_password needs a value"),
        ("redis+sentinel://a/s?password=hunter2", "the only options are sentinel_username, sentinel_password"),
        ("redis+cluster://:hunter2@a,,b", "the host is missing"),
        ("redis+cluster://a:hunter2", "the port must be a number"),
        ("redis+cluster://a/1", "no database but 0"),
        ("redis+cluster://a?ssl_ca_certs=/ca.pem", "takes no options"),
        ("redis+proxy://:hunter2@a", "the scheme 'redis+proxy' is unknown"),
        ("rediss://localhost?ssl_ca_certs=", "needs the path"),
        ("redis://localhost#1", "takes no options"),
        ("memory://x", "nothing follows"),
        ("sqlite://clips.db", "three slashes"),
        ("sqlite:///", "needs the name of a file"),
        ("sqlite:////var/lib/", "needs the name of a file"),
        ("sqlite:///:memory:", "use memory://"),
        ("sqlite:///clips.db?mode=ro", "no options"),
    ],
)
def test_a_wrong_url_of_a_store_is_explained_with_the_valid_forms_and_without_the_password(
    url: str, what: str, sealer: Sealer
) -> None:
    with pytest.raises(ConfigError) as failed:
        open_store(url, sealer=sealer)
    assert what in str(failed.value)
    assert "rediss://" in str(failed.value)
    assert "hunter2" not in str(failed.value)


def test_importing_the_stores_loads_no_client() -> None:
    code = "import sys, sayonce.stores; print(sorted({'redis', 'sqlite3'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rediss://u:hunter2@[::1]/3", "rediss://[::1]:6379/3"),
        ("redis+sentinel://u:hunter2@a,b:1/s?sentinel_password=hunter2", "redis+sentinel://a:26379,b:1/s/0"),
        ("rediss+cluster://u:hunter2@a,b:1", "rediss+cluster://a:6379,b:1"),
    ],
)
def test_a_url_is_shown_without_its_passwords(url: str, shown: str, sealer: Sealer) -> None:
    store = open_store(url, sealer=sealer)
    assert repr(store) == f"RedisStore({shown!r})"
    assert "hunter2" not in repr(store.url)  # type: ignore[union-attr]
