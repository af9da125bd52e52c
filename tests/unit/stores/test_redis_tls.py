"""Redis over TLS: the server proves its identity, and so can the client."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from sayonce.core.envelope import Entry, Sealer
from sayonce.errors import ConfigError, Failure, StoreError
from sayonce.stores import open_store
from sayonce.stores.redis.server import tls_context
from tests.helpers.certificates import issue, make_ca, pem
from tests.helpers.deployments import free_port, wait_until
from tests.helpers.redis_server import Server, run_redis_server
from tests.helpers.redis_stores import PASSWORD, QUOTED, opened

MakeEntry = Callable[..., Entry]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a CA, ``server`` and ``client`` certificates with their keys, and ``stranger.pem``, another CA."""
    directory = tmp_path_factory.mktemp("certificates")
    ca_key, ca = make_ca("tests")
    _, stranger = make_ca("strangers")
    (directory / "ca.pem").write_bytes(pem(ca))
    (directory / "stranger.pem").write_bytes(pem(stranger))
    for name in ("server", "client"):
        issue(directory / name, name, ca_key, ca)
    return directory


def tls_options(certificates: Path, *, clients: str = "no") -> list[str]:
    files = [("cert", "server.pem"), ("key", "server.key"), ("ca-cert", "ca.pem")]
    options = [part for name, file in files for part in (f"--tls-{name}-file", f"{certificates}/{file}")]
    return ["--port", "0", "--tls-port", "{port}", "--tls-auth-clients", clients, *options]


@pytest.fixture
def tls_server(tmp_path: Path, certificates: Path) -> Iterator[Server]:
    """A Redis that speaks TLS alone, with a password."""

    def ready(port: int) -> redis.Redis:
        return redis.Redis(
            port=port, password=PASSWORD, ssl=True, ssl_ca_certs=f"{certificates}/ca.pem", host="127.0.0.1"
        )

    options = [*tls_options(certificates), "--requirepass", PASSWORD]
    with run_redis_server(tmp_path, *options, ready=ready) as server:
        yield server


@pytest.fixture
def strict_server(tmp_path: Path, certificates: Path) -> Iterator[Server]:
    """A Cluster of one node that speaks TLS alone, and only to clients with a certificate of its CA."""

    def ready(port: int) -> redis.Redis:
        return redis.Redis(
            port=port,
            ssl=True,
            host="127.0.0.1",
            ssl_ca_certs=f"{certificates}/ca.pem",
            ssl_certfile=f"{certificates}/client.pem",
            ssl_keyfile=f"{certificates}/client.key",
        )

    options = [*tls_options(certificates, clients="yes"), "--cluster-enabled", "yes", "--tls-cluster", "yes"]
    with run_redis_server(tmp_path, *options, "--cluster-port", str(free_port()), ready=ready) as server:
        with ready(server.port) as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            wait_until(lambda: client.cluster("INFO")["cluster_state"] == "ok")
        yield server


async def test_tls_with_the_right_ca_and_password_is_accepted(
    tls_server: Server, certificates: Path, sealer: Sealer, make_entry: MakeEntry, clock: Callable[[], float]
) -> None:
    url = f"rediss://default:{QUOTED}@127.0.0.1:{tls_server.port}/0?ssl_ca_certs={certificates}/ca.pem"
    async with opened(url, sealer, clock=clock) as store:
        assert await store.put(make_entry(1))
        assert await store.get(make_entry(1).key) == make_entry(1)


@pytest.mark.parametrize(
    ("host", "option"),
    [("127.0.0.1", "?ssl_ca_certs={}/stranger.pem"), ("127.0.0.1", ""), ("localhost", "?ssl_ca_certs={}/ca.pem")],
    ids=["another CA", "the system's CAs", "another host's certificate"],
)
async def test_tls_refuses_a_server_that_does_not_prove_who_it_is(
    tls_server: Server, certificates: Path, sealer: Sealer, clock: Callable[[], float], host: str, option: str
) -> None:
    url = f"rediss://:{QUOTED}@{host}:{tls_server.port}/0" + option.format(certificates)
    async with opened(url, sealer, clock=clock) as store:
        with pytest.raises(StoreError, match="certificate verify failed") as failed:
            await store.write_field("purges", "tag", b"record")
    assert failed.value.failure is Failure.LOST


async def test_tls_does_not_replace_the_password(
    tls_server: Server, certificates: Path, sealer: Sealer, clock: Callable[[], float]
) -> None:
    url = f"rediss://127.0.0.1:{tls_server.port}/0?ssl_ca_certs={certificates}/ca.pem"
    async with opened(url, sealer, clock=clock) as store:
        with pytest.raises(StoreError, match="AuthenticationError"):
            await store.write_field("purges", "tag", b"record")


async def test_a_client_certificate_is_shown_also_to_the_nodes_of_a_cluster(
    strict_server: Server, certificates: Path, sealer: Sealer, make_entry: MakeEntry, clock: Callable[[], float]
) -> None:
    files = f"ssl_ca_certs={certificates}/ca.pem&ssl_certfile={certificates}/client.pem"
    url = f"rediss+cluster://127.0.0.1:{strict_server.port}?{files}&ssl_keyfile={certificates}/client.key"
    async with opened(url, sealer, clock=clock) as store:
        assert await store.put(make_entry(1))
        assert await store.get(make_entry(1).key) == make_entry(1)


async def test_a_missing_client_certificate_is_told_where_redis_asks_for_one(
    strict_server: Server, certificates: Path, sealer: Sealer, clock: Callable[[], float]
) -> None:
    url = f"rediss+cluster://127.0.0.1:{strict_server.port}?ssl_ca_certs={certificates}/ca.pem"
    async with opened(url, sealer, clock=clock) as store:
        with pytest.raises(StoreError, match=r"(?i)certificate required|closed|reset"):
            await store.write_field("purges", "tag", b"record")


async def test_many_tls_connections_share_one_context(
    tls_server: Server, certificates: Path, sealer: Sealer, clock: Callable[[], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    create = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda **options: made.append(options) or create(**options))
    tls_context.cache_clear()
    url = f"rediss://:{QUOTED}@127.0.0.1:{tls_server.port}/0?ssl_ca_certs={certificates}/ca.pem"
    async with opened(url, sealer, clock=clock) as store:
        await asyncio.gather(*(store.read_field("table", "name") for _ in range(20)))
    assert made == [{"cafile": f"{certificates}/ca.pem"}]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (
            "ssl_ca_certs=/nowhere/ca.pem",
            r"/nowhere/ca\.pem: there is no such file; ssl_ca_certs names a PEM file of CA",
        ),
        ("ssl_certfile=/nowhere/c.pem", r"/nowhere/c\.pem: there is no such file; ssl_certfile names"),
        ("ssl_ca_certs={}/client.key", r"ssl_ca_certs \S+client\.key: not PEM files that fit together"),
        (
            "ssl_certfile={0}/client.pem&ssl_keyfile={0}/server.key",
            r"ssl_keyfile \S+server\.key: not PEM files that fit",
        ),
    ],
)
async def test_missing_or_wrong_certificate_files_are_refused_at_once(
    certificates: Path, sealer: Sealer, options: str, what: str
) -> None:
    store = open_store(f"rediss://localhost?{options.format(certificates)}", sealer=sealer)
    assert store is not None
    with pytest.raises(ConfigError, match=what):
        await store.open()
